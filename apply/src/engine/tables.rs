//! The newest version of each table, in memory since the start.
//!
//! Promises: never behind what is visible (it is told before a commit). Must not know: rows.

use std::collections::HashMap;

use parking_lot::Mutex;
use starling_log::{Body, Entry};

use crate::claim::Version;
use crate::materialize::FoldError;
use crate::newest::later;

#[derive(Default)]
pub(crate) struct TableVersions {
    known: Mutex<HashMap<u64, Version>>,
}

impl TableVersions {
    /// These entries are about to become visible.
    pub fn tell<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) {
        let mut known = self.known.lock();
        for entry in entries {
            let Body::Rows(changes) = &entry.body else { continue };
            let version = Version {
                stamp: entry.stamp,
                place: entry.place,
            };
            for table in &changes.tables {
                let slot = known.entry(table.table).or_insert(version);
                *slot = later(*slot, version);
            }
        }
    }
    /// The newest change since the start.
    pub fn known(&self, table: u64) -> Option<Version> {
        self.known.lock().get(&table).copied()
    }
    /// A table that nothing was written to since the start is as new as its file was when it was first asked for.
    pub fn version(&self, table: u64, file: impl FnOnce() -> Result<Version, FoldError>) -> Result<Version, FoldError> {
        if let Some(known) = self.known.lock().get(&table) {
            return Ok(*known);
        }
        let found = file()?;
        Ok(*self.known.lock().entry(table).or_insert(found))
    }
}
