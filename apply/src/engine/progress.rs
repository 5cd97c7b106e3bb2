//! How far this node got, in memory: what readers see, and what an author may have seen.
//!
//! Promises: `applied` is dense by origin and only grows; nothing is in it before it is visible in every file it concerns.
//! Must not know: files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use starling_log::{Origin, Place, VersionVector};
use tokio::sync::watch;

pub struct Progress {
    applied: ArcSwap<VersionVector>,
    /// `applied`, and what is about to become visible: the causes of what is written now. Announced before a commit, because a
    /// job may read a row between its commit and its publication.
    seen: ArcSwap<VersionVector>,
    /// Places done beyond the dense prefix (lanes finish in any order).
    ahead: Mutex<BTreeMap<Origin, BTreeSet<u64>>>,
    watch: watch::Sender<u64>,
}

impl Progress {
    pub fn new(applied: VersionVector) -> Progress {
        Progress {
            seen: ArcSwap::from_pointee(applied.clone()),
            applied: ArcSwap::from_pointee(applied),
            ahead: Mutex::default(),
            watch: watch::Sender::new(0),
        }
    }
    pub fn applied(&self) -> Arc<VersionVector> {
        self.applied.load_full()
    }
    pub fn seen(&self) -> Arc<VersionVector> {
        self.seen.load_full()
    }
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.watch.subscribe()
    }
    /// Nothing is visible beyond `applied`.
    pub fn is_dense(&self) -> bool {
        self.ahead.lock().is_empty()
    }
    /// What a commit is about to make visible.
    pub fn announce(&self, places: &VersionVector) {
        self.seen.rcu(|old| {
            let mut new = VersionVector::clone(old);
            new.merge(places);
            new
        });
    }
    /// These places are visible now.
    pub fn complete(&self, places: impl IntoIterator<Item = Place>) {
        let mut ahead = self.ahead.lock();
        let mut applied = VersionVector::clone(&self.applied.load());
        let before = applied.clone();
        for place in places {
            let next = applied.get(place.origin) + 1;
            if place.seq == next {
                applied.advance(place.origin, next);
            } else if place.seq > next {
                ahead.entry(place.origin).or_default().insert(place.seq);
            }
        }
        ahead.retain(|origin, waiting| {
            while waiting.first() == Some(&(applied.get(*origin) + 1)) {
                let next = applied.get(*origin) + 1;
                waiting.pop_first();
                applied.advance(*origin, next);
            }
            !waiting.is_empty()
        });
        if applied != before {
            self.announce(&applied);
            self.applied.store(Arc::new(applied));
            self.watch.send_modify(|n| *n += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        Place { origin: 1, seq }
    }

    #[test]
    fn a_gap_holds_back_what_is_behind_it() {
        let progress = Progress::new(VersionVector::new());
        progress.complete([place(2), place(3)]);
        assert_eq!(progress.applied().get(1), 0);
        assert!(!progress.is_dense());
        progress.complete([place(1)]);
        assert_eq!(progress.applied().get(1), 3);
        assert!(progress.is_dense());
        progress.complete([place(2)]);
        assert_eq!(progress.applied().get(1), 3);
    }
}
