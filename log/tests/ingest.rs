//! What comes from other nodes is verified, taken whole or not at all, and the same everywhere afterwards.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{T, all, draft, sim};
use proptest::prelude::*;
use starling_log::log::IngestError;
use starling_log::{Hlc, Log, VersionVector};

fn source(entries: u64) -> Arc<Log> {
    let (_, log) = sim();
    for n in 0..entries {
        log.append(1, vec![draft(n, 100)]).unwrap();
    }
    log
}

/// One segment of `count` entries.
fn together(count: u64) -> (Arc<Log>, Bytes) {
    let (_, log) = sim();
    log.append(1, (0..count).map(|n| draft(n, 60)).collect()).unwrap();
    let segments = log.segments(1, 1, usize::MAX).unwrap();
    assert_eq!(segments.len(), 1);
    (log, segments[0].clone())
}

#[test]
fn a_log_is_the_same_on_another_node() {
    let from = source(600);
    let (store, to) = sim();
    let new = to.ingest(&from.segments(1, 1, usize::MAX).unwrap()).unwrap();
    assert_eq!(new.len(), 600);
    assert_eq!(store.syncs(), 1, "one flush for all of it");
    assert_eq!(all(&to), all(&from));
    assert_eq!(to.merkle(1).unwrap(), from.merkle(1).unwrap());
    assert_eq!(
        to.segments(1, 1, usize::MAX).unwrap(),
        from.segments(1, 1, usize::MAX).unwrap(),
        "they travel as they are stored"
    );
    assert_eq!(to.flush_of(1), 600, "the author's own flush number came along");
    assert_eq!(to.flush_number(), 1);
}

#[test]
fn what_is_held_is_skipped() {
    let from = source(20);
    let (store, to) = sim();
    let segments = from.segments(1, 1, usize::MAX).unwrap();
    to.ingest(&segments[..10]).unwrap();
    assert_eq!(to.ingest(&segments).unwrap().len(), 10);
    let syncs = store.syncs();
    assert!(to.ingest(&segments).unwrap().is_empty());
    assert_eq!(store.syncs(), syncs, "nothing new, nothing flushed");
}

#[test]
fn a_gap_is_refused_with_all_that_came_with_it() {
    let from = source(20);
    let (_, to) = sim();
    let mut segments = from.segments(1, 1, usize::MAX).unwrap();
    segments.remove(5);
    match to.ingest(&segments) {
        Err(IngestError::Gap {
            origin: 1,
            have: 5,
            got: 7,
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(to.held(), VersionVector::new());
}

#[test]
fn a_segment_that_begins_below_is_cut() {
    let (from, whole) = together(40);
    // The receiver got the first 15 in segments of their own: the same entries, cut otherwise.
    let (_, to) = sim();
    let entries = from.read(1, 1, usize::MAX).unwrap();
    let (_, middle) = sim();
    middle.ingest(std::slice::from_ref(&whole)).unwrap();
    assert_eq!(middle.read(1, 16, usize::MAX).unwrap(), entries[15..]);
    to.ingest(&[cut(&from, 15)]).unwrap();
    assert_eq!(to.held().get(1), 15);
    let new = to.ingest(&[whole]).unwrap();
    assert_eq!(new, entries[15..]);
    assert_eq!(all(&to), all(&from));
    assert_eq!(
        to.merkle(1).unwrap(),
        from.merkle(1).unwrap(),
        "hashes do not depend on how entries were cut"
    );
}

/// The first `count` entries of a log as a segment, made through a log that was pruned of nothing but held less.
fn cut(from: &Arc<Log>, count: u64) -> Bytes {
    let whole = from.segments(1, 1, usize::MAX).unwrap().remove(0);
    starling_log::segment::prefix(&whole, count).unwrap()
}

#[test]
fn damage_is_noticed_anywhere() {
    let (_, whole) = together(5);
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 4;
        let (_, to) = sim();
        let refused = to.ingest(&[Bytes::from(bytes)]);
        assert!(
            matches!(refused, Err(IngestError::Damaged(_) | IngestError::Version(_))),
            "byte {at}"
        );
        assert_eq!(to.held(), VersionVector::new());
    }
    for length in 0..whole.len() {
        let (_, to) = sim();
        assert!(matches!(to.ingest(&[whole.slice(..length)]), Err(IngestError::Damaged(_))));
    }
}

#[test]
fn an_unknown_version_is_named() {
    let (_, whole) = together(1);
    let mut bytes = whole.to_vec();
    bytes[4] = 2;
    let (_, to) = sim();
    assert!(matches!(to.ingest(&[Bytes::from(bytes)]), Err(IngestError::Version(2))));
}

#[test]
fn the_clock_follows_what_came_in_unless_it_is_too_early() {
    let from = source(1);
    let (_, ahead) = sim();
    ahead.clock().observe(Hlc::from_ms(T + 400));
    ahead.append(2, vec![draft(1, 1)]).unwrap();
    let (_, to) = sim();
    let came = to.ingest(&ahead.segments(2, 1, 1).unwrap()).unwrap()[0].stamp;
    assert!(to.append(3, vec![draft(1, 1)]).unwrap()[0].stamp > came);
    // Another program's clock, an hour ahead: its entry is held, the clock stays.
    let hand = common::Hand::new();
    hand.pass(3_600_000);
    let store = Arc::new(starling_log::store::sim::SimStore::new());
    let early = Log::with_store(store, common::forgetful(), hand).unwrap();
    early.append(4, vec![draft(1, 1)]).unwrap();
    let came = to.ingest(&early.segments(4, 1, 1).unwrap()).unwrap()[0].stamp;
    assert!(to.append(3, vec![draft(1, 1)]).unwrap()[0].stamp < came);
    drop(from);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever order and pieces segments come in, duplicates included: in the end the logs are equal.
    #[test]
    fn any_delivery_ends_in_the_same_log(
        groups in proptest::collection::vec((1u16..4, 1u64..30), 1..30),
        picks in proptest::collection::vec((1u16..4, any::<prop::sample::Index>(), 1usize..4), 0..60),
    ) {
        let (_, from) = sim();
        for (origin, count) in groups {
            from.append(origin, (0..count).map(|n| draft(n, 30)).collect()).unwrap();
        }
        let (_, to) = sim();
        for (origin, at, count) in picks {
            let all = from.segments(origin, 1, usize::MAX).unwrap();
            if all.is_empty() {
                continue;
            }
            let at = at.index(all.len());
            match to.ingest(&all[at..(at + count).min(all.len())]) {
                Ok(_) | Err(IngestError::Gap { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        for (origin, _) in from.held().iter() {
            loop {
                let next = from.segments(origin, to.held().get(origin) + 1, 500).unwrap();
                if next.is_empty() {
                    break;
                }
                to.ingest(&next).unwrap();
            }
            prop_assert_eq!(to.merkle(origin).unwrap().root(), from.merkle(origin).unwrap().root());
        }
        prop_assert_eq!(all(&to), all(&from));
    }
}
