//! Retention: whole segments go, what was said to be kept stays, and the log goes on behind an empty beginning.

mod common;

use common::{all, draft, reopen, sim};
use starling_log::VersionVector;
use starling_log::log::ReadError;

fn below(seq: u64) -> VersionVector {
    VersionVector([(1, seq)].into())
}

#[test]
fn only_whole_segments_go() {
    let (_, log) = sim();
    for n in 0..6 {
        log.append(1, (0..10).map(|i| draft(n * 10 + i, 20)).collect()).unwrap();
    }
    log.prune(&below(25)).unwrap();
    assert_eq!(log.pruned(), below(20));
    assert_eq!(all(&log).len(), 40);
    log.prune(&below(5)).unwrap();
    assert_eq!(log.pruned(), below(20), "never back");
    assert!(matches!(log.read(1, 20, 1), Err(ReadError::Pruned { oldest }) if oldest == below(20)));
    assert!(matches!(log.segments(1, 1, 1), Err(ReadError::Pruned { .. })));
    assert_eq!(
        log.scan(&below(19), &log.held()).next().unwrap().unwrap_err().to_string(),
        "pruned; the oldest kept is VersionVector({1: 20})"
    );
}

#[test]
fn all_of_it_may_go_and_nothing_is_forgotten() {
    let (store, log) = sim();
    for n in 0..700 {
        log.append(1, vec![draft(n, 20)]).unwrap();
    }
    log.append(1, vec![draft(1, 250_000)]).unwrap();
    let (merkle, last) = (log.merkle(1).unwrap(), log.read(1, 701, 1).unwrap()[0].stamp);
    log.prune(&below(u64::MAX)).unwrap();
    assert_eq!(log.held(), below(701));
    assert_eq!(log.pruned(), below(701));
    let flush = log.flush_number();
    log.put_meta("x", b"y").unwrap();
    let (_, log) = reopen(store.crash(0));
    assert_eq!((log.held(), log.pruned()), (below(701), below(701)));
    assert!(log.flush_number() > flush);
    assert_eq!(log.merkle(1).unwrap(), merkle);
    let placed = log.append(1, vec![draft(2, 2)]).unwrap()[0];
    assert_eq!(placed.place.seq, 702);
    assert!(placed.stamp > last);
    assert_eq!(all(&log).len(), 1);
}

#[test]
fn a_crash_in_the_middle_of_it_loses_nothing_that_is_kept() {
    for kept in 0..40 {
        let (store, log) = sim();
        for n in 0..30 {
            log.append(1, vec![draft(n, 20)]).unwrap();
        }
        log.prune(&below(20)).unwrap();
        let (_, log) = reopen(store.crash(kept));
        assert_eq!(log.pruned(), below(20));
        assert_eq!(all(&log).len(), 10);
        log.prune(&below(25)).unwrap();
        assert_eq!(all(&log).len(), 5);
    }
}

#[test]
fn other_origins_stay() {
    let (_, log) = sim();
    for n in 0..20 {
        log.append((n % 2) as u16 + 1, vec![draft(n, 20)]).unwrap();
    }
    log.prune(&below(10)).unwrap();
    assert_eq!(log.read(2, 1, usize::MAX).unwrap().len(), 10);
    assert!(log.read(1, 11, 1).unwrap().is_empty());
}
