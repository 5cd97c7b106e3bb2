//! What was decided elsewhere and what is pending: durable where asked, a prefix where not, the same on every node.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Hand, T, all, draft, forgetful, reopen, sim};
use proptest::prelude::*;
use starling_log::store::sim::{Faults, SimStore};
use starling_log::store::{Key, Op, Store, StoreError, Tree};
use starling_log::{AppendError, Body, Entry, Hlc, Log, LogOptions, PendingOp, Place, Stamp, SystemTime};

const QUORUM: u16 = 2;

fn decided(seq: u64, size: usize) -> Entry {
    let draft = draft(seq, size);
    Entry {
        place: Place { origin: QUORUM, seq },
        stamp: Stamp {
            hlc: Hlc::from_ms(T + seq),
            origin: QUORUM,
        },
        causes: Arc::unwrap_or_clone(draft.causes),
        schema: draft.schema,
        body: draft.body,
    }
}

/// Every fourth place is void.
fn history(seq: u64) -> Entry {
    match seq % 4 {
        3 => Entry::void(Place { origin: QUORUM, seq }),
        _ => decided(seq, 40),
    }
}

fn put(key: &str, value: &[u8]) -> PendingOp {
    PendingOp::Put(key.into(), value.to_vec())
}

fn remove(key: &str) -> PendingOp {
    PendingOp::Remove(key.into())
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn records(log: &Log) -> Records {
    let found = log.pending(b"").unwrap();
    found.into_iter().map(|(k, v)| (k, v.to_vec())).collect()
}

#[test]
fn records_come_back_by_prefix_in_order_of_their_keys() {
    let (store, log) = sim();
    let large: Vec<u8> = (0..50_000u32).map(|i| (i * i % 251) as u8).collect();
    let ops = vec![
        put("t/2", b"two"),
        put("t/1", &large),
        put("u/1", b"other"),
        put("t/3", b""),
        put("t/2", b"again"),
    ];
    let (_, flush) = log.settle(ops, Vec::new(), true).unwrap();
    assert_eq!((flush, log.flush_number(), store.syncs()), (1, 1, 1));
    let expect = |log: &Log| {
        let found = log.pending(b"t/").unwrap();
        let found: Vec<(&[u8], &[u8])> = found.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        let want: [(&[u8], &[u8]); 3] = [(b"t/1", &large), (b"t/2", b"again"), (b"t/3", b"")];
        assert_eq!(found, want);
    };
    expect(&log);
    let (store, log) = reopen(store.crash(0));
    expect(&log);
    assert_eq!(log.flush_number(), 1);
    log.settle(vec![remove("t/1"), remove("t/9"), put("t/2", &large)], Vec::new(), true)
        .unwrap();
    let (_, log) = reopen(store.crash(0));
    assert_eq!(log.pending(b"t/").unwrap()[0].1, large);
    assert_eq!(log.pending(b"t/").unwrap().len(), 2);
}

#[test]
fn lazy_work_costs_no_sync_and_is_durable_with_the_next_flush() {
    let (store, log) = sim();
    log.append(1, vec![draft(1, 10)]).unwrap();
    let (new, flush) = log.settle(vec![remove("nothing")], vec![decided(1, 10)], false).unwrap();
    assert_eq!((new.len(), flush, log.flush_number(), store.syncs()), (1, 2, 1, 1));
    assert_eq!(log.held().get(QUORUM), 1);
    assert_eq!(log.read(QUORUM, 1, 1).unwrap().len(), 1);
    assert!(store.unsynced() > 0);
    // A sync of nothing new is a barrier for what was lazy, once.
    assert_eq!(log.settle(Vec::new(), Vec::new(), true).unwrap().1, 2);
    assert_eq!((log.flush_number(), store.syncs(), store.unsynced()), (2, 2, 0));
    assert_eq!(log.settle(Vec::new(), Vec::new(), true).unwrap().1, 2);
    assert_eq!(store.syncs(), 2);
    let (_, log) = reopen(store.crash(0));
    assert_eq!((log.held().get(QUORUM), log.flush_number()), (1, 2));
}

#[test]
fn what_was_lazy_may_be_gone_after_a_crash_and_comes_again() {
    let (store, log) = sim();
    log.settle(vec![put("vote", b"yes")], (1..=4).map(history).collect(), true).unwrap();
    let (_, flush) = log.settle(Vec::new(), (5..=9).map(history).collect(), false).unwrap();
    assert_eq!((flush, log.flush_number()), (2, 1));
    let (_, log) = reopen(store.crash(0));
    assert_eq!((log.held().get(QUORUM), log.flush_number()), (4, 1));
    assert_eq!(log.settle(Vec::new(), (1..=9).map(history).collect(), false).unwrap().0.len(), 5);
    assert_eq!(log.held().get(QUORUM), 9);
    log.append(1, vec![draft(1, 1)]).unwrap();
}

#[test]
fn lazy_work_without_end_is_synced_now_and_then() {
    let (store, log) = sim();
    for seq in 1..=400 {
        log.settle(Vec::new(), vec![decided(seq, 2_000)], false).unwrap();
    }
    assert!((1..10).contains(&store.syncs()), "{}", store.syncs());
}

#[test]
fn a_gap_or_a_stamp_out_of_order_is_refused_without_a_trace() {
    let (store, log) = sim();
    log.settle(Vec::new(), vec![history(1), history(2)], true).unwrap();
    match log.settle(vec![put("a", b"b")], vec![history(4)], true) {
        Err(AppendError::Gap {
            origin: QUORUM,
            have: 2,
            got: 4,
        }) => {}
        other => panic!("{other:?}"),
    }
    let late = Entry {
        stamp: Stamp {
            hlc: Hlc::from_ms(T + 2),
            origin: QUORUM,
        },
        ..decided(3, 1)
    };
    assert!(matches!(
        log.settle(vec![put("a", b"b")], vec![late], false),
        Err(AppendError::Malformed)
    ));
    assert_eq!((records(&log).len(), log.held().get(QUORUM), store.unsynced()), (0, 2, 0));
    assert_eq!(log.poisoned(), None);
}

#[test]
fn a_void_repeats_the_stamp_before_it() {
    let (_, log) = sim();
    let void = |seq| Entry::void(Place { origin: QUORUM, seq });
    let (new, _) = log
        .settle(Vec::new(), vec![void(1), decided(2, 1), void(3), void(4), decided(5, 1)], true)
        .unwrap();
    let stamps: Vec<Hlc> = new.iter().map(|e| e.stamp.hlc).collect();
    let ms = |n| Hlc::from_ms(T + n);
    assert_eq!(stamps, [Hlc(0), ms(2), ms(2), ms(2), ms(5)]);
    assert_eq!(all(&log), new);
    let from = log.scan_stamps(new[1].stamp, None).map(|e| e.unwrap().place.seq);
    assert_eq!(from.collect::<Vec<_>>(), [2, 3, 4, 5]);
    // Elsewhere it comes by a stream, from any place on.
    let (_, other) = sim();
    other
        .settle(Vec::new(), new[..3].iter().map(|e| Entry::clone(e)).collect(), false)
        .unwrap();
    other.ingest(&log.segments(QUORUM, 4, usize::MAX).unwrap()).unwrap();
    assert_eq!(all(&other), new);
    assert_eq!(other.merkle(QUORUM).unwrap(), log.merkle(QUORUM).unwrap());
}

#[test]
fn space_of_records_is_taken_back() {
    let (store, log) = sim();
    log.settle(vec![put("stays", b"for ever")], Vec::new(), true).unwrap();
    for round in 0..300 {
        let keys: Vec<String> = (0..100).map(|n| format!("{round}/{n}")).collect();
        log.settle(keys.iter().map(|k| put(k, &[7; 200])).collect(), Vec::new(), true)
            .unwrap();
        log.settle(keys.iter().map(|k| remove(k)).collect(), Vec::new(), false).unwrap();
    }
    assert!(log.disk_bytes() < 600_000, "{}", log.disk_bytes());
    let (_, log) = reopen(store.crash(usize::MAX));
    assert_eq!(records(&log), [(b"stays".to_vec(), b"for ever".to_vec())].into());
}

#[test]
fn a_record_is_gone_only_where_the_entry_of_its_call_is_there() {
    for kept in 0..8 {
        let (store, log) = sim();
        log.settle(vec![put("prepared", b"1")], Vec::new(), true).unwrap();
        log.settle(vec![remove("prepared")], vec![decided(1, 20_000)], false).unwrap();
        let (_, log) = reopen(store.crash(kept));
        let (explained, there) = (!records(&log).is_empty(), log.held().get(QUORUM) == 1);
        assert!(explained || there, "{kept} operations kept");
    }
}

#[test]
fn damaged_records_stop_the_start() {
    let (store, log) = sim();
    log.settle(vec![put("vote", b"yes")], Vec::new(), true).unwrap();
    let store = store.crash(0);
    store.damage(Tree::Pending, |_, bytes| bytes[20] ^= 1);
    assert!(Log::with_store(Arc::new(store), forgetful(), Hand::new()).is_err());
}

#[test]
fn on_disk_all_of_it_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::new(dir.path().join("log"));
    let log = Log::open(options.clone(), Arc::new(SystemTime)).unwrap();
    let large = vec![5; 3_000_000];
    for n in 0..200u64 {
        log.settle(vec![put(&format!("v/{n}"), &[n as u8; 300])], vec![decided(n + 1, 20)], n % 3 == 0)
            .unwrap();
        log.settle(vec![remove(&format!("v/{}", n / 2))], Vec::new(), false).unwrap();
    }
    log.settle(vec![put("large", &large)], Vec::new(), true).unwrap();
    let (before, held, flush) = (records(&log), log.held(), log.flush_number());
    assert_eq!(before.len(), 101);
    drop(log);
    assert_eq!(
        std::fs::read_dir(dir.path().join("log/blobs")).unwrap().count(),
        0,
        "sled's blobs are never synced"
    );
    let log = Log::open(options, Arc::new(SystemTime)).unwrap();
    assert_eq!((records(&log), log.held(), log.flush_number()), (before, held, flush));
}

#[test]
fn settling_and_appending_threads_share_flushes() {
    let (store, log) = sim();
    let threads: Vec<_> = (0..6u64)
        .map(|t| {
            let log = log.clone();
            std::thread::spawn(move || {
                for n in 0..60 {
                    match t {
                        0 => drop(log.settle(Vec::new(), vec![history(n + 1)], false).unwrap()),
                        1 => drop(log.append(1, vec![draft(n, 20)]).unwrap()),
                        _ => drop(log.settle(vec![put(&format!("{t}/{n}"), b"yes")], Vec::new(), n % 2 == 0).unwrap()),
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!((log.held().get(1), log.held().get(QUORUM)), (60, 60));
    assert_eq!(records(&log).len(), 240);
    assert!(store.syncs() <= 60 + 4 * 30);
    let (_, log) = reopen(store.crash(usize::MAX));
    assert_eq!(records(&log).len(), 240);
}

/// One call.
#[derive(Clone, Debug)]
struct Step {
    ops: Vec<(bool, u8, usize)>,
    learned: u64,
    append: bool,
    sync: bool,
}

fn any_step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![6 => 0usize..200, 1 => 5_000usize..20_000];
    let op = (proptest::bool::weighted(0.6), 0u8..12, size);
    (proptest::collection::vec(op, 0..12), 0u64..4, any::<bool>(), any::<bool>()).prop_map(|(ops, learned, append, sync)| Step {
        ops,
        learned,
        append: append && sync,
        sync,
    })
}

fn op_of((put, key, size): (bool, u8, usize), step: usize) -> PendingOp {
    let key = format!("k{key}").into_bytes();
    if put {
        PendingOp::Put(key, vec![step as u8; size])
    } else {
        PendingOp::Remove(key)
    }
}

fn change(records: &mut Records, op: &PendingOp) {
    match op {
        PendingOp::Put(key, value) => records.insert(key.clone(), value.clone()),
        PendingOp::Remove(key) => records.remove(key),
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// The machine stops anywhere, and any prefix of what was not synced survives.
    #[test]
    fn after_a_crash_a_prefix_is_there_and_all_that_was_synced(
        steps in proptest::collection::vec(any_step(), 1..25),
        stop in 0u64..200,
        kept in any::<prop::sample::Index>(),
    ) {
        let store = Arc::new(SimStore::new());
        store.set_faults(Faults { ops_left: Some(stop), ..Faults::default() });
        let log = Log::with_store(store.clone(), forgetful(), Hand::new()).unwrap();
        // The records after each single change, and how much is certain.
        let mut images = vec![Records::new()];
        let (mut synced, mut seq, mut synced_seq, mut flush) = (0, 0, 0, 0);
        for (n, step) in steps.iter().enumerate() {
            let ops: Vec<PendingOp> = step.ops.iter().map(|op| op_of(*op, n)).collect();
            for op in &ops {
                let mut next = images.last().unwrap().clone();
                change(&mut next, op);
                images.push(next);
            }
            let learned = (seq + 1..=seq + step.learned).map(history).collect();
            seq += step.learned;
            let Ok((_, number)) = log.settle(ops, learned, step.sync) else { break };
            if step.append && log.append(1, vec![draft(1, 10)]).is_err() {
                break;
            }
            if log.flush_number() >= number {
                (synced, synced_seq, flush) = (images.len() - 1, seq, log.flush_number());
            }
        }
        let kept = kept.index(store.unsynced() + 1);
        let (_, log) = reopen(store.crash(kept));
        let found = records(&log);
        prop_assert!(images[synced..].contains(&found), "{found:?}");
        let held = log.held().get(QUORUM);
        prop_assert!((synced_seq..=seq).contains(&held));
        prop_assert!(log.flush_number() >= flush);
        prop_assert_eq!(log.merkle(QUORUM).unwrap().held, held);
        let entries = log.read(QUORUM, 1, usize::MAX).unwrap();
        prop_assert!(entries.iter().all(|e| (e.body == Body::Void) == (e.place.seq % 4 == 3)));
        // Goes on.
        log.settle(vec![put("k1", b"after")], (held + 1..=held + 5).map(history).collect(), true).unwrap();
        prop_assert_eq!(&records(&log)[&b"k1"[..]], b"after");
    }

    /// However the entries came, in whatever groups: the logs are equal, and each understands the other's segments.
    #[test]
    fn settled_and_streamed_entries_are_the_same(groups in proptest::collection::vec((1u64..40, any::<bool>()), 1..20)) {
        let (_, from) = sim();
        let total: u64 = groups.iter().map(|(n, _)| n).sum();
        from.settle(Vec::new(), (1..=total).map(history).collect(), true).unwrap();
        let (_, to) = sim();
        let mut seq = 0;
        for (count, streamed) in groups {
            // A stream may bring more than was asked for: whole segments.
            if streamed {
                let came = to.ingest(&from.segments(QUORUM, seq + 1, 1).unwrap()).unwrap();
                seq += came.len() as u64;
            } else {
                let upto = (seq + count).min(total);
                to.settle(Vec::new(), (seq.saturating_sub(1).max(1)..=upto).map(history).collect(), false).unwrap();
                seq = upto;
            }
        }
        to.settle(Vec::new(), (1..=total).map(history).collect(), true).unwrap();
        prop_assert_eq!(all(&to), all(&from));
        prop_assert_eq!(to.merkle(QUORUM).unwrap(), from.merkle(QUORUM).unwrap());
        let (_, third) = sim();
        third.ingest(&to.segments(QUORUM, 1, usize::MAX).unwrap()).unwrap();
        prop_assert_eq!(third.merkle(QUORUM).unwrap(), from.merkle(QUORUM).unwrap());
    }
}

/// A store whose syncs wait to be let through.
struct Slow {
    inner: SimStore,
    begun: std::sync::mpsc::SyncSender<()>,
    end: parking_lot::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Store for Slow {
    fn write(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        self.inner.write(ops)
    }
    fn sync(&self) -> Result<(), StoreError> {
        let _ = self.begun.send(());
        let _ = self.end.lock().recv();
        self.inner.sync()
    }
    fn room(&self, bytes: usize) -> Result<(), StoreError> {
        self.inner.room(bytes)
    }
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        self.inner.get(tree, key)
    }
    fn before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Key, bytes::Bytes)>, StoreError> {
        self.inner.before(tree, key)
    }
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], bytes::Bytes) -> bool) -> Result<(), StoreError> {
        self.inner.range(tree, from, to, each)
    }
    fn disk_bytes(&self) -> u64 {
        0
    }
    fn path(&self) -> std::path::PathBuf {
        "(slow)".into()
    }
}

#[test]
fn lazy_work_does_not_wait_for_the_sync_under_way_and_is_not_taken_for_synced() {
    let (begun, begins) = std::sync::mpsc::sync_channel(0);
    let (ends, end) = std::sync::mpsc::channel();
    let slow = Arc::new(Slow {
        inner: SimStore::new(),
        begun,
        end: parking_lot::Mutex::new(end),
    });
    let log = Log::with_store(slow.clone(), LogOptions::new("/nowhere"), Arc::new(SystemTime)).expect("log");
    let first = {
        let log = log.clone();
        std::thread::spawn(move || log.settle(vec![put("a", b"vote")], vec![], true).expect("synced").1)
    };
    begins.recv().expect("the sync began");
    // On this thread: it returns although the sync waits.
    let (taken, rests_on) = log.settle(vec![], vec![decided(1, 40)], false).expect("lazy");
    assert_eq!(taken.len(), 1);
    assert_eq!(log.held().get(QUORUM), 1, "shown");
    assert_eq!(log.flush_number(), 0, "the sync has not ended");
    ends.send(()).expect("end");
    assert_eq!(first.join().expect("thread"), 1);
    assert_eq!((log.flush_number(), rests_on), (1, 2));
    // It may have come too late for that sync: a barrier makes another.
    let barrier = {
        let log = log.clone();
        std::thread::spawn(move || log.settle(vec![], vec![], true).expect("barrier").1)
    };
    begins.recv().expect("a second sync");
    ends.send(()).expect("end");
    assert_eq!(barrier.join().expect("thread"), 2);
}
