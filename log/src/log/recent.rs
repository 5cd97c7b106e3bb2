//! The latest entries, decoded, in bounded memory: followers and feeds rarely touch the store.
//!
//! Promises: of each origin a dense run that ends at the newest entry, or nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::entry::Entry;
use crate::vector::Origin;

pub(super) struct Recent {
    max: usize,
    used: usize,
    runs: BTreeMap<Origin, VecDeque<Arc<Entry>>>,
    /// In the order they came: the oldest leaves first.
    order: VecDeque<Origin>,
}

impl Recent {
    pub(super) fn new(max: usize) -> Recent {
        Recent {
            max,
            used: 0,
            runs: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        let origin = entry.place.origin;
        self.used += entry.weight();
        self.order.push_back(origin);
        self.runs.entry(origin).or_default().push_back(entry);
        while self.used > self.max {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(gone) = self.runs.get_mut(&oldest).and_then(VecDeque::pop_front) {
                self.used -= gone.weight();
            }
        }
    }

    /// From `from` on, at most about `max_bytes`; `None` if `from` is not in memory.
    pub(super) fn read(&self, origin: Origin, from: u64, max_bytes: usize) -> Option<Vec<Arc<Entry>>> {
        let run = self.runs.get(&origin)?;
        let first = run.front()?.place.seq;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut out = Vec::new();
        let mut size = 0;
        for entry in run.iter().skip(skip) {
            out.push(entry.clone());
            size += entry.weight();
            if size >= max_bytes {
                break;
            }
        }
        (!out.is_empty()).then_some(out)
    }
}
