//! What was written to each table, in memory since the start.
//!
//! Promises: never behind what is visible (it is told before a commit). Must not know: rows.

use std::collections::HashMap;

use parking_lot::Mutex;
use smallvec::SmallVec;
use starling_log::{Body, Entry, Origin, Place, Stamp, VersionVector};

use crate::claim::Version;
use crate::materialize::FoldError;
use crate::newest::later;

#[derive(Default)]
struct Known {
    newest: Version,
    /// Entries that wrote to it, in whatever order they came: the newest stamp may be that of an earlier one.
    arrivals: u64,
    /// The last entry of each origin that wrote to it.
    last: SmallVec<[(Origin, u64, Stamp); 4]>,
}

pub(crate) struct TableVersions {
    known: Mutex<HashMap<u64, Known>>,
    /// What was applied at the start: any of it may have written to any table.
    start: VersionVector,
}

impl TableVersions {
    pub fn new(start: VersionVector) -> TableVersions {
        TableVersions {
            known: Mutex::default(),
            start,
        }
    }
    /// These entries are about to become visible.
    pub fn tell<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) {
        let mut known = self.known.lock();
        for entry in entries {
            let Body::Rows(changes) = &entry.body else { continue };
            let (place, stamp) = (entry.place, entry.stamp);
            for table in &changes.tables {
                let known = known.entry(table.table).or_default();
                known.newest = later(known.newest, Version { stamp, place });
                known.arrivals += 1;
                match known.last.iter_mut().find(|(origin, _, _)| *origin == place.origin) {
                    Some(last) if last.1 < place.seq => *last = (place.origin, place.seq, stamp),
                    Some(_) => {}
                    None => known.last.push((place.origin, place.seq, stamp)),
                }
            }
        }
    }
    /// Changes since the start.
    pub fn arrivals(&self, table: u64) -> u64 {
        self.known.lock().get(&table).map_or(0, |k| k.arrivals)
    }
    /// A table that nothing was written to since the start is as new as its file was when it was first asked for.
    pub fn version(&self, table: u64, file: impl FnOnce() -> Result<Version, FoldError>) -> Result<Version, FoldError> {
        if let Some(known) = self.known.lock().get(&table) {
            return Ok(known.newest);
        }
        let newest = file()?;
        let fresh = || Known {
            newest,
            arrivals: 0,
            last: SmallVec::new(),
        };
        Ok(self.known.lock().entry(table).or_insert_with(fresh).newest)
    }
    /// Something that may have written to the table and that is not within `causes`.
    pub fn unseen(&self, table: u64, causes: &VersionVector) -> Option<Version> {
        let before = self.start.iter().find(|(origin, seq)| causes.get(*origin) < *seq);
        if let Some((origin, seq)) = before {
            let place = Place { origin, seq };
            let stamp = Stamp::default();
            return Some(Version { stamp, place });
        }
        let known = self.known.lock();
        let last = known.get(&table)?.last.iter();
        let mut beyond = last.filter(|(origin, seq, _)| causes.get(*origin) < *seq);
        beyond.next().map(|(origin, seq, stamp)| Version {
            stamp: *stamp,
            place: Place {
                origin: *origin,
                seq: *seq,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use starling_log::{Changes, Hlc, TableRef};

    use super::*;

    fn entry(origin: Origin, seq: u64, table: u64) -> Entry {
        let header = TableRef {
            db: 1,
            table,
            columns: Vec::new(),
            key: Vec::new(),
        };
        Entry {
            place: Place { origin, seq },
            stamp: Stamp { hlc: Hlc(seq), origin },
            causes: VersionVector::new(),
            schema: 0,
            body: Body::Rows(Changes {
                tables: vec![header],
                ..Changes::default()
            }),
        }
    }

    fn vector(list: &[(Origin, u64)]) -> VersionVector {
        VersionVector(list.iter().copied().collect())
    }

    #[test]
    fn every_origin_counts_whatever_its_stamps() {
        let tables = TableVersions::new(vector(&[(1, 5)]));
        tables.tell([&entry(2, 9, 7), &entry(4, 3, 7), &entry(6, 50, 8)]);
        let unseen = |list: &[(Origin, u64)]| tables.unseen(7, &vector(list)).map(|v| v.place.origin);
        assert_eq!(unseen(&[(1, 5), (2, 9), (4, 3)]), None);
        assert_eq!(unseen(&[(1, 5), (2, 9), (4, 2)]), Some(4), "an older stamp than the newest");
        assert_eq!(unseen(&[(1, 4), (2, 9), (4, 3)]), Some(1), "from before the start");
        assert_eq!(tables.unseen(9, &vector(&[(1, 5)])), None);
        assert_eq!(
            (tables.arrivals(7), tables.arrivals(9)),
            (2, 0),
            "one with an older stamp is a change too"
        );
    }
}
