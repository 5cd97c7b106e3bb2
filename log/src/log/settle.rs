//! Entries that were decided elsewhere, made ready in their caller's thread.
//!
//! Promises: an entry is written with the same bytes on every node that settles it, however it learned of it.

use std::sync::Arc;

use super::commit::{Done, Prepared, Settle, Work, mismatch, plain, without};
use super::pending::{KEY_MAX, PendingOp, VALUE_MAX};
use super::{AppendError, Log};
use crate::clock::Stamp;
use crate::entry::{Body, Entry};
use crate::segment::{self, ENTRY_MAX};
use crate::vector::{Place, VersionVector};

impl Entry {
    /// What stands at the place of a transaction that was aborted.
    pub fn void(place: Place) -> Entry {
        Entry {
            place,
            // Given by the log: that of the entry before.
            stamp: Stamp {
                origin: place.origin,
                ..Stamp::default()
            },
            causes: VersionVector::new(),
            schema: 0,
            body: Body::Void,
        }
    }
}

impl Log {
    pub(super) fn submit_settle(
        &self,
        ops: Vec<PendingOp>,
        learned: Vec<Entry>,
        sync: bool,
    ) -> Result<(Vec<Arc<Entry>>, u64), AppendError> {
        ops.iter().try_for_each(check_op)?;
        let mut archives = Vec::new();
        let mut prepared = Vec::with_capacity(learned.len());
        for entry in learned {
            prepared.push(prepare(entry, &mut archives)?);
        }
        let work = Work::Settle(Settle {
            ops,
            learned: prepared,
            archives,
            sync,
        });
        match self.submit(work).map_err(plain)? {
            Done::Settled(entries, flush) => Ok((entries, flush)),
            _ => Err(mismatch()),
        }
    }
}

fn check_op(op: &PendingOp) -> Result<(), AppendError> {
    let (key, value) = match op {
        PendingOp::Put(key, value) => (key.len(), value.len()),
        PendingOp::Remove(key) => (key.len(), 0),
    };
    match (key > KEY_MAX, value > VALUE_MAX) {
        (true, _) => Err(AppendError::TooLarge { size: key, max: KEY_MAX }),
        (_, true) => Err(AppendError::TooLarge {
            size: value,
            max: VALUE_MAX,
        }),
        _ => Ok(()),
    }
}

fn prepare(entry: Entry, archives: &mut Vec<u8>) -> Result<Prepared, AppendError> {
    let start = archives.len();
    let origin = entry.place.origin;
    let entry = match entry.body {
        Body::Void => Entry::void(entry.place),
        _ => Entry {
            causes: without(&entry.causes, origin),
            ..entry
        },
    };
    segment::encode_body(archives, entry.schema, &entry.body).map_err(|_| AppendError::Malformed)?;
    let size = archives.len() - start;
    if size > ENTRY_MAX {
        return Err(AppendError::TooLarge { size, max: ENTRY_MAX });
    }
    Ok(Prepared {
        entry: Arc::new(entry),
        end: archives.len(),
    })
}
