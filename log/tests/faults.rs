//! Law 3: what was acknowledged is there after any crash; a failed sync is final; a full disk is not.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use common::{Hand, T, all, draft, forgetful, reopen, sim};
use proptest::prelude::*;
use starling_log::store::sim::{Faults, SimStore};
use starling_log::{AppendError, Log, Stamp, TimeSource, VersionVector};

/// What a history does, one after the other.
#[derive(Clone, Debug)]
enum Step {
    Append { origin: u16, sizes: Vec<usize> },
    Ingest { upto: u64 },
    Prune { below: u64 },
    Meta(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u16..3, proptest::collection::vec(prop_oneof![9 => 0usize..300, 1 => 100_000usize..210_000], 1..4))
            .prop_map(|(origin, sizes)| Step::Append { origin, sizes }),
        2 => (1u64..30).prop_map(|upto| Step::Ingest { upto }),
        1 => (1u64..20).prop_map(|below| Step::Prune { below }),
        1 => any::<u8>().prop_map(Step::Meta),
    ]
}

/// Another node's log, from which histories ingest as origin 7.
fn other_node() -> Arc<Log> {
    static OTHER: OnceLock<Arc<Log>> = OnceLock::new();
    let make = || {
        let (_, log) = sim();
        for n in 0..30 {
            log.append(7, vec![draft(n, 40)]).unwrap();
        }
        log
    };
    OTHER.get_or_init(make).clone()
}

/// What was acknowledged.
#[derive(Default)]
struct Acked {
    held: VersionVector,
    pruned: VersionVector,
    last: Stamp,
    meta: Option<u8>,
    flush: u64,
}

fn run(log: &Log, other: &Log, steps: &[Step]) -> Acked {
    let mut acked = Acked::default();
    for step in steps {
        let done = match step {
            Step::Append { origin, sizes } => {
                let drafts = sizes.iter().map(|s| draft(*s as u64, *s)).collect();
                log.append(*origin, drafts).map(|placed| {
                    placed.iter().for_each(|p| acked.held.advance(p.place.origin, p.place.seq));
                    acked.last = acked.last.max(placed.last().unwrap().stamp);
                })
            }
            Step::Ingest { upto } => {
                let have = log.held().get(7);
                let segments = if have < *upto {
                    other.segments(7, have + 1, 200 * (upto - have) as usize).unwrap()
                } else {
                    Vec::new()
                };
                log.ingest(&segments)
                    .map(|new| {
                        new.iter().for_each(|e| acked.held.advance(e.place.origin, e.place.seq));
                    })
                    .map_err(|_| AppendError::Malformed)
            }
            Step::Prune { below } => {
                let below = VersionVector([(1, *below)].into());
                log.prune(&below).map(|()| acked.pruned.merge(&log.pruned()))
            }
            Step::Meta(value) => log.put_meta("key", &[*value]).map(|()| acked.meta = Some(*value)),
        };
        if done.is_err() {
            break;
        }
        acked.flush = log.flush_number();
    }
    acked
}

fn check(log: &Arc<Log>, acked: &Acked) {
    assert!(log.held().covers(&acked.held), "{:?} lost of {:?}", log.held(), acked.held);
    assert!(log.flush_number() >= acked.flush);
    if acked.meta.is_some() {
        assert!(log.meta("key").is_some());
    }
    let entries = all(log);
    let mut next = log.pruned();
    for entry in &entries {
        let want = next.get(entry.place.origin) + 1;
        assert_eq!(entry.place.seq, want, "not dense");
        next.advance(entry.place.origin, want);
    }
    assert_eq!(next, log.held());
    for (origin, held) in log.held().iter() {
        assert_eq!(log.merkle(origin).unwrap().held, held);
    }
    // Goes on, with later stamps than ever.
    let placed = log.append(1, vec![draft(1, 300_000), draft(2, 2)]).unwrap();
    assert!(placed[0].stamp > acked.last);
    assert_eq!(log.read(1, placed[0].place.seq, usize::MAX).unwrap().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// The machine stops between any two operations of the store, and of what was not synced any prefix survives.
    #[test]
    fn what_was_acknowledged_survives_a_crash_anywhere(
        steps in proptest::collection::vec(any_step(), 1..25),
        ops in 0u64..120,
        kept in any::<prop::sample::Index>(),
    ) {
        let other = other_node();
        let store = Arc::new(SimStore::new());
        store.set_faults(Faults { ops_left: Some(ops), ..Faults::default() });
        let log = Log::with_store(store.clone(), forgetful(), Hand::new()).unwrap();
        let acked = run(&log, &other, &steps);
        let kept = kept.index(store.unsynced() + 1);
        let (_, log) = reopen(store.crash(kept));
        check(&log, &acked);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_acknowledged(steps in proptest::collection::vec(any_step(), 1..12), syncs in 0u64..8) {
        let other = other_node();
        let store = Arc::new(SimStore::new());
        store.set_faults(Faults { syncs_left: Some(syncs), ..Faults::default() });
        let log = Log::with_store(store.clone(), forgetful(), Hand::new()).unwrap();
        let acked = run(&log, &other, &steps);
        if log.poisoned().is_some() {
            prop_assert_eq!(log.held(), acked.held.clone());
            // The disk works again; the log does not, until it is opened anew. Reads go on.
            store.set_faults(Faults::default());
            prop_assert!(matches!(log.append(1, vec![draft(1, 1)]), Err(AppendError::Poisoned(_))));
            prop_assert!(matches!(log.put_meta("x", b"y"), Err(AppendError::Poisoned(_))));
            prop_assert!(log.ingest(&other.segments(7, 1, usize::MAX).unwrap()).is_err());
            prop_assert_eq!(log.held(), acked.held.clone());
            let _ = all(&log);
        }
        let (_, log) = reopen(store.crash(0));
        check(&log, &acked);
    }
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let (store, log) = sim();
    log.append(1, vec![draft(1, 1)]).unwrap();
    store.set_faults(Faults {
        full: true,
        ..Faults::default()
    });
    assert!(matches!(log.append(1, vec![draft(2, 1)]), Err(AppendError::DiskFull(_))));
    assert!(matches!(log.put_meta("a", b"b"), Err(AppendError::DiskFull(_))));
    assert_eq!(all(&log).len(), 1);
    assert_eq!(log.poisoned(), None);
    store.set_faults(Faults::default());
    assert_eq!(log.append(1, vec![draft(2, 1)]).unwrap()[0].place.seq, 2);
}

#[test]
fn one_sync_for_each_flush_and_none_without_work() {
    let (store, log) = sim();
    for n in 1..=20 {
        log.append(1, vec![draft(n, 10)]).unwrap();
        assert_eq!((store.syncs(), log.flush_number()), (n, n));
    }
    log.append(1, Vec::new()).unwrap();
    log.ingest(&[]).unwrap();
    assert_eq!(store.syncs(), 20);
}

#[test]
fn a_wall_clock_set_back_never_repeats_a_stamp() {
    struct Wall(AtomicU64);
    impl TimeSource for Wall {
        fn wall_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
        fn monotonic(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }
    let wall = Arc::new(Wall(AtomicU64::new(T)));
    let mut store = SimStore::new();
    let mut last = Stamp::default();
    for restart in 0..20u64 {
        let current = Arc::new(store);
        let log = Log::with_store(current.clone(), forgetful(), wall.clone()).unwrap();
        for n in 0..5 {
            let stamp = log.append(1, vec![draft(n, 1)]).unwrap()[0].stamp;
            assert!(stamp > last);
            last = stamp;
            wall.0.store(T + (restart * 7919 + n * 104_729) % 3_000, Ordering::SeqCst);
        }
        store = current.crash(0);
    }
}

#[test]
fn a_clock_too_far_from_its_peers_refuses_writes() {
    let (_, log) = sim();
    log.clock().set_peer_offset(Some(10_000));
    assert!(matches!(log.append(1, vec![draft(1, 1)]), Err(AppendError::Clock(_))));
    log.put_meta("a", b"b").unwrap();
    log.clock().set_peer_offset(Some(10));
    log.append(1, vec![draft(1, 1)]).unwrap();
}

#[test]
fn malformed_changes_are_refused_before_they_are_written() {
    let (store, log) = sim();
    let mut bad = draft(1, 1);
    if let starling_log::Body::Rows(changes) = &mut bad.body {
        changes.tables[0].columns.push(3);
    }
    assert!(matches!(log.append(1, vec![bad]), Err(AppendError::Malformed)));
    assert_eq!(store.unsynced(), 0);
}

/// Whose own flush failed must not be told "refused": after the crash it may be there.
#[test]
fn a_failed_flush_is_unknown_to_its_own_callers() {
    let store = Arc::new(SimStore::new());
    let log = Log::with_store(store.clone(), forgetful(), Hand::new()).unwrap();
    store.set_faults(Faults {
        syncs_left: Some(0),
        ..Faults::default()
    });
    assert!(matches!(log.append(1, vec![draft(1, 1)]), Err(AppendError::Unknown(_))));
    assert!(matches!(log.append(1, vec![draft(1, 1)]), Err(AppendError::Poisoned(_))));
}
