use starling_apply::layout::Key as RowKey;

use super::*;
use crate::cluster::commit::Homing;
use crate::cluster::quorum::{Ask, Told};

fn row(n: i64, mode: Mode) -> Wanted {
    let key = ClaimKey::Row {
        table: 7,
        key: RowKey::Int(n),
    };
    (LockKey::Data(key), Modes::from(mode))
}

fn patience(ms: u64) -> Patience {
    Patience {
        wait: Duration::from_millis(ms),
        interrupt: Arc::default(),
    }
}

fn two() -> (Arc<Locks>, Party, Party) {
    let locks = Arc::new(Locks::default());
    let old = locks.join(locks.age(1), 1, Kind::Transaction(Isolation::RepeatableRead), None);
    let young = locks.join(locks.age(1), 2, Kind::Transaction(Isolation::RepeatableRead), None);
    (locks, old, young)
}

#[tokio::test]
async fn a_release_ends_the_waiting() {
    let (locks, old, young) = two();
    old.take(&[row(1, Mode::Exclusive)], &patience(1)).await.unwrap();
    assert!(!locks.no_data());
    assert!(!locks.are_free(&[row(1, Mode::Shared)]) && locks.are_free(&[row(2, Mode::Exclusive)]));
    assert_eq!(young.take(&[row(1, Mode::Shared)], &patience(5)).await, Err(Denied::Timeout));
    let waiting = tokio::spawn(async move {
        let taken = young.take(&[row(1, Mode::Shared)], &patience(60_000)).await;
        (young, taken)
    });
    while locks.waits_for(2).is_none() {
        tokio::task::yield_now().await;
    }
    drop(old);
    let (young, taken) = waiting.await.unwrap();
    assert_eq!(taken, Ok(()));
    drop(young);
    assert!(locks.no_data());
}

#[tokio::test]
async fn kill_ends_the_waiting_and_keeps_the_rest() {
    let (locks, old, young) = two();
    old.take(&[row(1, Mode::Exclusive)], &patience(1)).await.unwrap();
    young.take(&[row(2, Mode::Exclusive)], &patience(1)).await.unwrap();
    let patience = patience(60_000);
    let interrupt = patience.interrupt.clone();
    let waiting = tokio::spawn(async move {
        let taken = young.take(&[row(1, Mode::Exclusive)], &patience).await;
        (young, taken)
    });
    while locks.waits_for(2).is_none() {
        tokio::task::yield_now().await;
    }
    interrupt.raise();
    let (young, taken) = waiting.await.unwrap();
    assert_eq!(taken, Err(Denied::Interrupted));
    assert!(!young.is_wounded());
    assert_eq!(young.holds(&row(2, Mode::Shared).0), Modes::from(Mode::Exclusive));
}

#[tokio::test]
async fn the_wounded_hear_of_it() {
    let (locks, old, young) = two();
    young.take(&[row(1, Mode::Exclusive)], &patience(1)).await.unwrap();
    old.take(&[row(1, Mode::Exclusive)], &patience(1)).await.unwrap();
    assert!(young.is_wounded() && !young.make_firm());
    assert_eq!(young.take(&[row(2, Mode::Shared)], &patience(1)).await, Err(Denied::Wounded));
    let (count, last) = locks.wounds();
    assert_eq!((count, last.map(|(w, _)| (w.victim.session, w.by.session))), (1, Some((2, 1))));
}

#[tokio::test]
async fn many_rows_become_the_table() {
    let (locks, old, young) = two();
    let all: Vec<Wanted> = (0..ROWS_MAX as i64).map(|n| row(n, Mode::Exclusive)).collect();
    old.take(&all, &patience(1)).await.unwrap();
    let table = LockKey::Data(ClaimKey::Table { table: 7 });
    assert_eq!(old.holds(&table), Modes::NONE);
    old.take(&[row(-1, Mode::Shared)], &patience(1)).await.unwrap();
    assert_eq!(old.holds(&table), Modes::from(Mode::Exclusive), "some of its rows were");
    assert_eq!(locks.view()[0].locks.len(), 1);
    let intent = [(table, Modes::from(Mode::IntentExclusive)), row(-5, Mode::Exclusive)];
    assert_eq!(young.take(&intent, &patience(1)).await, Err(Denied::Timeout));
    old.take(&[row(-2, Mode::Exclusive)], &patience(1)).await.unwrap();
    assert_eq!(locks.view()[0].locks.len(), 1, "it is covered");
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_that_want_the_same_take_turns() {
    let locks = Arc::new(Locks::default());
    let counter = Arc::new(Mutex::new((0_u64, false)));
    let one = |who: u32| {
        let (locks, counter) = (locks.clone(), counter.clone());
        async move {
            for _ in 0..200 {
                let age = locks.age(0);
                loop {
                    let party = locks.join(age, who, Kind::Transaction(Isolation::RepeatableRead), None);
                    let keys = [
                        row(i64::from(who % 2), Mode::Exclusive),
                        row(i64::from(1 - who % 2), Mode::Exclusive),
                    ];
                    let first = party.take(&keys[..1], &patience(60_000)).await;
                    let second = match first {
                        Ok(()) => party.take(&keys[1..], &patience(60_000)).await,
                        denied => denied,
                    };
                    match second {
                        Ok(()) if party.make_firm() => {}
                        Ok(()) | Err(Denied::Wounded) => continue,
                        Err(other) => panic!("{other:?}"),
                    }
                    assert!(!std::mem::replace(&mut counter.lock().1, true), "two at once");
                    tokio::task::yield_now().await;
                    let mut inside = counter.lock();
                    inside.0 += 1;
                    inside.1 = false;
                    break;
                }
            }
        }
    };
    let all: Vec<_> = (0..8).map(|n| tokio::spawn(one(n))).collect();
    for task in all {
        task.await.unwrap();
    }
    assert_eq!(counter.lock().0, 1600);
    assert!(locks.no_data() && locks.view().is_empty());
}

#[tokio::test]
async fn changing_a_definition_is_seen_by_all() {
    let (locks, old, young) = two();
    let definition = LockKey::definition(7);
    old.take(&[(definition.clone(), Modes::from(Mode::Shared))], &patience(1))
        .await
        .unwrap();
    assert!(locks.all_share());
    young.make_open();
    assert_eq!(young.request(&[(definition, Modes::from(Mode::Exclusive))], true), Answer::Waiting);
    assert!(!locks.all_share());
    drop(young);
    assert!(locks.all_share());
}

#[tokio::test]
async fn a_client_that_leaves_waits_no_longer() {
    let (_locks, old, young) = two();
    old.take(&[row(1, Mode::Exclusive)], &patience(1)).await.unwrap();
    let patience = patience(60_000);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    patience.interrupt.watch(move || count.fetch_add(1, Ordering::Relaxed) > 0);
    let taken = young.take(&[row(1, Mode::Exclusive)], &patience).await;
    assert_eq!((taken, asked.load(Ordering::Relaxed)), (Err(Denied::Interrupted), 2));
}

#[tokio::test]
async fn who_has_left_can_lock_nothing_any_more() {
    let (locks, old, young) = two();
    old.take(&[row(1, Mode::Exclusive)], &patience(1)).await.unwrap();
    let job = Seat::new(old);
    let kept = Arc::clone(&*job);
    drop(job);
    assert!(locks.no_data());
    assert_eq!(kept.request(&[row(2, Mode::Exclusive)], true), Answer::Wounded);
    drop(kept);
    young.take(&[row(1, Mode::Exclusive)], &patience(1)).await.unwrap();
}

#[tokio::test]
async fn a_hot_key_is_asked_for_at_home_and_passed_on_in_time() {
    let (locks, first, second) = two();
    let asked: Arc<Mutex<Vec<Ask>>> = Arc::default();
    let to = Arc::clone(&asked);
    locks.on_hot(Box::new(move |ask| {
        to.lock().push(ask);
        true
    }));
    let (LockKey::Data(key), _) = row(1, Mode::Exclusive) else {
        panic!()
    };
    let id = key.hash128();
    locks.heat(&key);
    assert!(locks.is_hot(&key));
    // Who only shares it, or writes at ONE, asks nobody.
    second.take(&[row(1, Mode::Shared)], &patience(1)).await.unwrap();
    second.leave();
    assert_eq!(asked.lock().len(), 0);
    assert_eq!(first.request(&[row(1, Mode::Exclusive)], true), Answer::Waiting);
    assert!(matches!(asked.lock()[..], [Ask::Want { key, .. }] if key == id));
    locks.homing(Homing::Told(Told::Had { key: id, contended: true }));
    first.settled(&patience(1)).await.unwrap();
    // Somebody younger elsewhere waits; somebody still younger here.
    let elsewhere = Some(away::stamp_of(locks.age(2)));
    locks.homing(Homing::Told(Told::Awaited { key: id, age: elsewhere }));
    let third = locks.join(locks.age(3), 3, Kind::Statement, None);
    assert_eq!(third.request(&[row(1, Mode::Exclusive)], true), Answer::Waiting);
    assert_eq!(asked.lock().len(), 1, "it is in use");
    assert!(first.make_firm());
    locks.homing(Homing::Told(Told::Decided { key: id }));
    assert!(
        matches!(asked.lock()[1..], [Ask::Give { .. }, Ask::Want { .. }]),
        "what is decided goes on at once"
    );
    first.leave();
    assert_eq!(third.settled(&patience(1)).await, Err(Denied::Timeout));
    locks.homing(Homing::Told(Told::Had { key: id, contended: true }));
    third.take(&[row(1, Mode::Exclusive)], &patience(1)).await.unwrap();
}
