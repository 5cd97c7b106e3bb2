//! All origins merged in stamp order, in bounded memory: one block of entries of each origin at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::{Log, ReadError};
use crate::clock::Stamp;
use crate::entry::Entry;
use crate::vector::{Origin, VersionVector};

/// Read ahead of each origin, about.
const BLOCK_BYTES: usize = 256 << 10;

/// Entries in stamp order. Yields `Err` once and ends on damage.
pub struct Scan {
    log: Arc<Log>,
    lanes: Vec<Lane>,
    /// The next stamp of each lane that has one.
    heads: BinaryHeap<Reverse<(Stamp, usize)>>,
    to: Option<Stamp>,
    failed: Option<ReadError>,
    ended: bool,
}

struct Lane {
    origin: Origin,
    next: u64,
    upto: u64,
    block: VecDeque<Arc<Entry>>,
}

impl Scan {
    pub(super) fn by_place(log: Arc<Log>, after: &VersionVector, upto: &VersionVector) -> Scan {
        let lanes = upto.iter().map(|(origin, upto)| (origin, after.get(origin) + 1, upto)).collect();
        Scan::over(log, lanes, None)
    }

    pub(super) fn by_stamp(log: Arc<Log>, from: Stamp, to: Option<Stamp>) -> Scan {
        let held = log.held();
        let mut lanes = Vec::new();
        let mut failed = None;
        for (origin, upto) in held.iter() {
            match log.seek(origin, from, upto) {
                Ok(next) => lanes.push((origin, next, upto)),
                Err(error) => failed = Some(error),
            }
        }
        let mut scan = Scan::over(log, lanes, to);
        scan.failed = failed.or(scan.failed);
        scan
    }

    fn over(log: Arc<Log>, lanes: Vec<(Origin, u64, u64)>, to: Option<Stamp>) -> Scan {
        let mut scan = Scan {
            log,
            lanes: Vec::with_capacity(lanes.len()),
            heads: BinaryHeap::new(),
            to,
            failed: None,
            ended: false,
        };
        let held = scan.log.held();
        for (origin, next, upto) in lanes {
            let upto = upto.min(held.get(origin));
            scan.lanes.push(Lane {
                origin,
                next,
                upto,
                block: VecDeque::new(),
            });
            scan.refill(scan.lanes.len() - 1);
        }
        scan
    }

    /// Puts the lane's next entry among the heads, reading on where its block is used up.
    fn refill(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if lane.block.is_empty() && lane.next <= lane.upto {
            match self.log.read(lane.origin, lane.next, BLOCK_BYTES) {
                Ok(entries) => {
                    lane.next += entries.len() as u64;
                    lane.block.extend(entries.into_iter().filter(|e| e.place.seq <= lane.upto));
                }
                Err(error) => self.failed = Some(error),
            }
        }
        if let Some(entry) = lane.block.front() {
            self.heads.push(Reverse((entry.stamp, index)));
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Arc<Entry>, ReadError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if let Some(error) = self.failed.take() {
            self.ended = true;
            return Some(Err(error));
        }
        let Reverse((stamp, index)) = self.heads.pop()?;
        if self.to.is_some_and(|to| stamp >= to) {
            self.ended = true;
            return None;
        }
        let entry = self.lanes[index].block.pop_front()?;
        self.refill(index);
        Some(Ok(entry))
    }
}

impl Log {
    /// The first seq of an origin whose stamp is at or above `from`; `held + 1` if none is.
    fn seek(&self, origin: Origin, from: Stamp, held: u64) -> Result<u64, ReadError> {
        let (mut low, mut high) = (self.pruned().get(origin) + 1, held + 1);
        while low < high {
            let decoded = self.segment_of(origin, low + (high - low) / 2)?;
            let entries = &decoded.entries;
            let below = entries.partition_point(|e| e.stamp < from) as u64;
            if below == entries.len() as u64 {
                low = decoded.header.last() + 1;
            } else if below == 0 {
                high = decoded.header.first;
            } else {
                return Ok(decoded.header.first + below);
            }
        }
        Ok(low)
    }
}
