//! What was acknowledged can be read: by place, by stamp, live, as segments, after a restart, on another node.

mod common;

use common::{Hand, all, draft, forgetful, sim};
use starling_log::log::ReadError;
use starling_log::{Log, LogOptions, Place, Stamp, SystemTime, VersionVector};
use std::sync::Arc;

#[test]
fn an_entry_comes_back_as_it_was_given() {
    let (_, log) = sim();
    let given = draft(1, 50);
    let placed = log.append(1, vec![given.clone()]).unwrap();
    assert_eq!(placed[0].place, Place { origin: 1, seq: 1 });
    let read = log.read(1, 1, 1).unwrap();
    assert_eq!(read[0].place, placed[0].place);
    assert_eq!(read[0].stamp, placed[0].stamp);
    assert_eq!(read[0].causes, *given.causes);
    assert_eq!((read[0].schema, &read[0].body), (given.schema, &given.body));
    assert!(log.read(1, 2, 1).unwrap().is_empty());
    assert!(log.read(7, 1, 1).unwrap().is_empty());
}

#[test]
fn memory_and_store_answer_alike() {
    let store = Arc::new(starling_log::store::sim::SimStore::new());
    let log = Log::with_store(store.clone(), common::options(), Hand::new()).unwrap();
    for n in 0..40 {
        log.append(1, vec![draft(n, 300), draft(n + 100, 3)]).unwrap();
    }
    let cold = Log::with_store(store, forgetful(), Hand::new()).unwrap();
    for from in 1..=81 {
        let (warm, cold) = (log.read(1, from, usize::MAX).unwrap(), cold.read(1, from, usize::MAX).unwrap());
        assert_eq!(warm, cold, "from {from}");
        assert_eq!(warm.len() as u64, 81 - from);
    }
}

#[test]
fn sequences_are_dense_and_stamps_grow_with_many_writers() {
    let (_, log) = sim();
    let threads: Vec<_> = (0..8u64)
        .map(|t| {
            let log = log.clone();
            std::thread::spawn(move || {
                for n in 0..50 {
                    let placed = log.append((t % 2) as u16 + 1, vec![draft(n, 20), draft(n, 30)]).unwrap();
                    assert_eq!(placed[1].place.seq, placed[0].place.seq + 1);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(log.held(), VersionVector([(1, 400), (2, 400)].into()));
    for origin in [1, 2] {
        let entries = log.read(origin, 1, usize::MAX).unwrap();
        assert!(entries.iter().zip(1..).all(|(e, seq)| e.place.seq == seq));
        assert!(entries.windows(2).all(|w| w[0].stamp < w[1].stamp));
    }
}

#[test]
fn scans_merge_all_origins_by_stamp() {
    let (_, log) = sim();
    for n in 0..300 {
        log.append((n % 3) as u16 + 1, vec![draft(n, 900)]).unwrap();
    }
    let entries = all(&log);
    assert_eq!(entries.len(), 300);
    assert!(entries.windows(2).all(|w| w[0].stamp < w[1].stamp));
    let after = VersionVector([(1, 90), (3, 100)].into());
    let upto = VersionVector([(1, 95), (2, 2), (3, 100)].into());
    let places: Vec<Place> = log.scan(&after, &upto).map(|e| e.unwrap().place).collect();
    assert_eq!(places.len(), 7);
    for (from, to) in [(0, 300), (10, 200), (299, 300), (150, 150)] {
        let end = entries.get(to).map(|e| e.stamp);
        let found: Vec<Stamp> = log
            .scan_stamps(entries[from.min(299)].stamp, end)
            .map(|e| e.unwrap().stamp)
            .collect();
        let want: Vec<Stamp> = entries[from..to].iter().map(|e| e.stamp).collect();
        assert_eq!(found, want, "{from}..{to}");
    }
}

#[test]
fn a_large_entry_spans_parts() {
    let (_, log) = sim();
    let (small, large) = (draft(1, 10), draft(2, 700_000));
    log.append(1, vec![small.clone(), large.clone(), small.clone()]).unwrap();
    let read = log.read(1, 1, usize::MAX).unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read[1].body, large.body);
    assert_eq!(log.read(1, 2, 1).unwrap()[0].body, large.body);
    let segments = log.segments(1, 2, 1).unwrap();
    assert!(segments.len() > 1 && segments.iter().all(|s| s.len() <= 8 << 10));
    // The parts may arrive one by one; the last one makes them count.
    let (_, other) = sim();
    other.ingest(&log.segments(1, 1, 1).unwrap()[..1]).unwrap();
    for (i, part) in segments.iter().enumerate() {
        let new = other.ingest(std::slice::from_ref(part)).unwrap();
        assert_eq!(new.len(), usize::from(i + 1 == segments.len()));
    }
    assert_eq!(other.read(1, 2, 1).unwrap()[0].body, large.body);
}

#[test]
fn a_watch_wakes_when_something_was_appended() {
    let (_, log) = sim();
    let mut watch = log.watch();
    watch.mark_unchanged();
    log.append(1, vec![draft(1, 1)]).unwrap();
    assert!(watch.has_changed().unwrap());
}

#[test]
fn on_disk_everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::new(dir.path().join("log"));
    let log = Log::open(options.clone(), Arc::new(SystemTime)).unwrap();
    for n in 0..600 {
        log.append((n % 2) as u16 + 1, vec![draft(n, 100)]).unwrap();
    }
    log.append(1, vec![draft(1000, 300_000)]).unwrap();
    log.put_meta("name", b"value").unwrap();
    let (held, flush, before) = (log.held(), log.flush_number(), all(&log));
    let merkle = log.merkle(1).unwrap();
    assert_eq!(flush, 602);
    drop(log);
    let log = Log::open(options, Arc::new(SystemTime)).unwrap();
    assert_eq!((log.held(), log.flush_number()), (held, flush));
    assert_eq!(all(&log), before);
    assert_eq!(log.meta("name").as_deref(), Some(&b"value"[..]));
    assert_eq!(log.meta("other"), None);
    assert_eq!(log.merkle(1).unwrap(), merkle);
    assert!(log.append(1, vec![draft(1, 1)]).unwrap()[0].stamp > before.last().unwrap().stamp);
}

#[test]
fn reading_below_the_beginning_says_what_is_left() {
    let (_, log) = sim();
    for n in 0..10 {
        log.append(1, vec![draft(n, 10)]).unwrap();
    }
    log.prune(&VersionVector([(1, 4)].into())).unwrap();
    match log.read(1, 4, 1) {
        Err(ReadError::Pruned { oldest }) => assert_eq!(oldest.get(1), 4),
        other => panic!("{other:?}"),
    }
    assert_eq!(log.read(1, 5, usize::MAX).unwrap().len(), 6);
    assert_eq!(log.pruned().get(1), 4);
}
