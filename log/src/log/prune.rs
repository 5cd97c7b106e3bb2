//! Retention: whole segments at the beginning of origins are dropped.
//!
//! Promises: what was pruned is durable before anything is removed, so that a crash in the middle leaves only some bytes
//! more; readers are told `Pruned` from then on. Writers are not held up by it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::commit::Tail;
use super::{AppendError, Log, keys};
use crate::clock::Hlc;
use crate::segment;
use crate::store::{Key, Op, Tree};
use crate::vector::{Origin, VersionVector};

/// Removals handed to the store at once.
const REMOVE_BATCH: usize = 512;

/// The tails at which origins were cut.
pub(super) type Cuts = BTreeMap<Origin, Tail>;

pub(super) fn put_cuts(cuts: &Cuts) -> Vec<u8> {
    let mut out = Vec::new();
    for (origin, tail) in cuts {
        out.extend_from_slice(&origin.to_le_bytes());
        out.extend_from_slice(&tail.seq.to_le_bytes());
        out.extend_from_slice(&tail.hlc.0.to_le_bytes());
        out.extend_from_slice(&tail.open_leaf.to_le_bytes());
        out.extend_from_slice(&tail.author_flush.to_le_bytes());
    }
    out
}

const CUT: usize = 2 + 8 + 8 + 16 + 8;

pub(super) fn take_cuts(bytes: &[u8]) -> Option<Cuts> {
    if !bytes.len().is_multiple_of(CUT) {
        return None;
    }
    let mut cuts = Cuts::new();
    for row in bytes.chunks_exact(CUT) {
        let (origin, row) = row.split_first_chunk::<2>()?;
        let (seq, row) = row.split_first_chunk::<8>()?;
        let (hlc, row) = row.split_first_chunk::<8>()?;
        let (leaf, row) = row.split_first_chunk::<16>()?;
        let (flush, _) = row.split_first_chunk::<8>()?;
        let tail = Tail {
            seq: u64::from_le_bytes(*seq),
            hlc: Hlc(u64::from_le_bytes(*hlc)),
            open_leaf: u128::from_le_bytes(*leaf),
            author_flush: u64::from_le_bytes(*flush),
        };
        cuts.insert(u16::from_le_bytes(*origin), tail);
    }
    Some(cuts)
}

impl Log {
    pub(super) fn prune_segments(&self, below: &VersionVector) -> Result<(), AppendError> {
        let _one_at_a_time = self.pruning.lock();
        let mut cuts = self.stored_cuts()?;
        let before = cuts.clone();
        let mut gone: Vec<Key> = Vec::new();
        for (origin, below) in below.iter() {
            self.cut(origin, below, &mut cuts, &mut gone)?;
        }
        if cuts != before {
            self.submit_meta(Key::from_slice(keys::PRUNED), put_cuts(&cuts))?;
            let mut visible = self.visible.write();
            cuts.iter().for_each(|(origin, tail)| visible.pruned.advance(*origin, tail.seq));
        }
        for batch in gone.chunks(REMOVE_BATCH) {
            let ops = batch.iter().map(|key| Op::Remove(Tree::Log, key.clone())).collect();
            self.store.write(ops).map_err(|e| self.poison_with(&e))?;
        }
        Ok(())
    }

    pub(super) fn stored_cuts(&self) -> Result<Cuts, AppendError> {
        let bytes = self.store.get(Tree::Meta, keys::PRUNED).map_err(|e| self.poison_with(&e))?;
        Ok(bytes.and_then(|b| take_cuts(&b)).unwrap_or_default())
    }

    /// Finds what may go of one origin: the keys of whole segments, and the tail of the last of them.
    fn cut(&self, origin: Origin, below: u64, cuts: &mut Cuts, gone: &mut Vec<Key>) -> Result<(), AppendError> {
        let below = below.min(self.visible.read().held.get(origin));
        // The records of the last segment that may go (several for a large entry).
        let mut last: Vec<Bytes> = Vec::new();
        let (from, to) = (keys::segment(origin, 0, 0), keys::segment(origin, below.saturating_add(1), 0));
        let walked = self.store.range(Tree::Log, &from, &to, &mut |key, value| {
            let Some(header) = segment::peek(&value[keys::HEAD.min(value.len())..]) else {
                return false;
            };
            if header.last() > below {
                return false;
            }
            if header.part == 0 {
                last.clear();
            }
            gone.push(Key::from_slice(key));
            last.push(value);
            true
        });
        walked.map_err(|e| self.poison_with(&e))?;
        if let Some((_, tail)) = super::open::tail_of(&last)
            && cuts.get(&origin).is_none_or(|t| t.seq < tail.seq)
        {
            cuts.insert(origin, tail);
        }
        Ok(())
    }
}
