//! A simulated disk: what was written, and what a flush has made durable.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use starling::cluster::quorum::{Change, Record, RecordKey};
use starling_log::{Origin, Place, Stamp, VersionVector};

/// What stands in a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub place: Place,
    pub stamp: Stamp,
    pub causes: VersionVector,
    /// `None`: a void.
    pub txn: Option<u64>,
    pub change: Option<Change>,
    pub by_quorum: bool,
}

#[derive(Clone, Debug)]
pub enum Op {
    Put(Record),
    Erase(RecordKey),
    Append(Arc<Entry>),
    Drop(Origin, u64),
}

#[derive(Clone, Debug, Default)]
pub struct Image {
    pub records: BTreeMap<RecordKey, Record>,
    pub log: BTreeMap<Origin, Vec<Arc<Entry>>>,
    pub flush: u64,
}

#[derive(Debug, Default)]
pub struct Disk {
    pub written: Image,
    pub synced: Image,
    /// Pending records and log entries wait apart: of what was not flushed, a crash may leave either without the other.
    unsynced: [VecDeque<Op>; 2],
    /// Older copies of what was durable, for those who restore one.
    pub copies: Vec<Image>,
}

impl Image {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(record) => {
                self.records.insert(record.key(), record.clone());
            }
            Op::Erase(key) => {
                self.records.remove(key);
            }
            Op::Append(entry) => {
                let list = self.log.entry(entry.place.origin).or_default();
                if list.len() as u64 + 1 == entry.place.seq {
                    list.push(entry.clone());
                }
            }
            Op::Drop(origin, last) => {
                if let Some(list) = self.log.get_mut(origin) {
                    list.truncate(*last as usize);
                }
            }
        }
    }

    pub fn end(&self, origin: Origin) -> u64 {
        self.log.get(&origin).map_or(0, |list| list.len() as u64)
    }

    pub fn vector(&self) -> VersionVector {
        let mut vector = VersionVector::new();
        for (origin, list) in self.log.iter().filter(|(_, list)| !list.is_empty()) {
            vector.advance(*origin, list.len() as u64);
        }
        vector
    }

    pub fn entry(&self, place: Place) -> Option<&Arc<Entry>> {
        self.log.get(&place.origin)?.get((place.seq as usize).wrapping_sub(1))
    }
}

impl Disk {
    pub fn write(&mut self, op: Op) {
        self.written.apply(&op);
        let kind = usize::from(matches!(op, Op::Append(_) | Op::Drop(..)));
        self.unsynced[kind].push_back(op);
    }

    pub fn unsynced(&self) -> [usize; 2] {
        [self.unsynced[0].len(), self.unsynced[1].len()]
    }

    /// The first operations of each kind become durable.
    pub fn flush(&mut self, counts: [usize; 2]) {
        for (queue, count) in self.unsynced.iter_mut().zip(counts) {
            for op in queue.drain(..count.min(queue.len())) {
                self.synced.apply(&op);
            }
        }
        self.synced.flush += 1;
        self.written.flush = self.synced.flush;
    }

    /// Power is lost: of what was not flushed, the first operations of each kind happen to be there.
    pub fn crash(&mut self, kept: [usize; 2]) {
        for (queue, kept) in self.unsynced.iter_mut().zip(kept) {
            for op in queue.drain(..).take(kept) {
                self.synced.apply(&op);
            }
        }
        self.written = self.synced.clone();
    }

    pub fn copy(&mut self) {
        if self.copies.len() < 8 {
            self.copies.push(self.synced.clone());
        }
    }

    pub fn restore(&mut self, image: Image) {
        self.unsynced.iter_mut().for_each(VecDeque::clear);
        self.synced = image.clone();
        self.written = image;
        self.copies.clear();
    }
}
