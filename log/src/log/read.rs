//! Reading by place: from memory where it is recent, else segment by segment from the store.

use std::sync::Arc;

use bytes::Bytes;

use super::{Log, ReadError, keys};
use crate::entry::Entry;
use crate::merkle;
use crate::segment::{self, Decoded};
use crate::store::Tree;
use crate::vector::Origin;

/// A segment as stored: the parts of a large entry together.
pub(super) type Stored = Vec<Bytes>;

impl Log {
    /// What [`Log::held`] says of one origin.
    pub fn held_of(&self, origin: Origin) -> u64 {
        self.visible.read().held.get(origin)
    }

    pub(super) fn read_entries(&self, origin: Origin, from: u64, max_bytes: usize) -> Result<Vec<Arc<Entry>>, ReadError> {
        let from = from.max(1);
        let held = {
            let visible = self.visible.read();
            if from > visible.held.get(origin) {
                return Ok(Vec::new());
            }
            if let Some(found) = visible.recent.read(origin, from, max_bytes) {
                return Ok(found);
            }
            visible.held.get(origin)
        };
        let mut out = Vec::new();
        let mut size = 0;
        let mut failed = None;
        self.walk(origin, from, held, &mut |_, stored| {
            match segment::decode(&stored) {
                Ok(decoded) => {
                    size += stored.iter().map(Bytes::len).sum::<usize>();
                    out.extend(decoded.entries.into_iter().filter(|e| (from..=held).contains(&e.place.seq)));
                }
                Err(error) => failed = Some(error),
            }
            failed.is_none() && size < max_bytes
        })?;
        match failed {
            Some(error) => Err(error.into()),
            None => self.dense(origin, from, out),
        }
    }

    /// Guards against a store that lost something in the middle.
    fn dense(&self, origin: Origin, from: u64, entries: Vec<Arc<Entry>>) -> Result<Vec<Arc<Entry>>, ReadError> {
        let mut next = from;
        for entry in &entries {
            if entry.place.seq != next {
                break;
            }
            next += 1;
        }
        if next == from || next != from + entries.len() as u64 {
            return Err(self.missing(origin, next));
        }
        Ok(entries)
    }

    pub(super) fn missing(&self, origin: Origin, seq: u64) -> ReadError {
        let pruned = self.pruned();
        if seq <= pruned.get(origin) {
            return ReadError::Pruned { oldest: pruned };
        }
        ReadError::Damaged(format!("entry {seq} of origin {origin} is missing"))
    }

    pub(super) fn read_segments(&self, origin: Origin, from: u64, max_bytes: usize) -> Result<Vec<Bytes>, ReadError> {
        let from = from.max(1);
        let held = self.visible.read().held.get(origin);
        if from > held {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        let mut size = 0;
        let mut next = None;
        let mut failed = None;
        self.walk(origin, from, held, &mut |first, stored| {
            match stored.first().map(|s| segment::header(s)) {
                Some(Ok(header)) if first <= next.unwrap_or(from) && next.is_none_or(|n| n == first) => next = Some(header.last() + 1),
                Some(Err(error)) => failed = Some(error.into()),
                _ => failed = Some(self.missing(origin, next.unwrap_or(from))),
            }
            size += stored.iter().map(Bytes::len).sum::<usize>();
            out.extend(stored);
            failed.is_none() && size < max_bytes
        })?;
        match (failed, next) {
            (Some(error), _) => Err(error),
            (None, Some(next)) if next > from => Ok(out),
            _ => Err(self.missing(origin, from)),
        }
    }

    /// Calls `each` with (first seq, parts) of every segment that holds something of `from..=held`, until it says no.
    pub(super) fn walk(&self, origin: Origin, from: u64, held: u64, each: &mut dyn FnMut(u64, Stored) -> bool) -> Result<(), ReadError> {
        if from <= self.visible.read().pruned.get(origin) {
            return Err(self.missing(origin, from));
        }
        let behind = keys::segment(origin, from.saturating_add(1), 0);
        let start = match self.store.before(Tree::Log, &behind)? {
            Some((key, _)) => keys::parse_segment(&key)
                .filter(|(o, _, _)| *o == origin)
                .map(|(_, first, _)| first),
            None => None,
        };
        let start = start.ok_or_else(|| self.missing(origin, from))?;
        let end = keys::segment(origin, held.saturating_add(1), 0);
        let mut parts: Stored = Vec::new();
        let mut under = None;
        let mut going = true;
        self.store
            .range(Tree::Log, &keys::segment(origin, start, 0), &end, &mut |key, value| {
                let Some((_, first, _)) = keys::parse_segment(key) else {
                    return true;
                };
                if let Some(done) = under.filter(|f| *f != first) {
                    going = each(done, std::mem::take(&mut parts));
                }
                under = Some(first);
                parts.push(value.slice(keys::HEAD.min(value.len())..));
                going
            })?;
        if let Some(last) = under.filter(|_| going && !parts.is_empty()) {
            each(last, parts);
        }
        Ok(())
    }

    /// The segment that holds an entry.
    pub(super) fn segment_of(&self, origin: Origin, seq: u64) -> Result<Decoded, ReadError> {
        let mut found = None;
        self.walk(origin, seq, seq, &mut |_, stored| {
            found = Some(segment::decode(&stored));
            false
        })?;
        let decoded = found.ok_or_else(|| self.missing(origin, seq))??;
        if decoded.header.last() < seq {
            return Err(self.missing(origin, seq));
        }
        Ok(decoded)
    }

    pub(super) fn merkle_tree(&self, origin: Origin) -> Result<merkle::Tree, ReadError> {
        // Under the leader's lock, so that tail and leaves belong together.
        let tail = self.committer.lock().tails.get(&origin).copied().unwrap_or_default();
        let mut cache = self.merkle.lock();
        let want = tail.seq / merkle::LEAF_ENTRIES;
        let have = cache.leaves(origin);
        let mut next = have;
        let mut fresh = Vec::new();
        let from = keys::leaves(origin, have / merkle::BLOCK_LEAVES);
        let to = keys::leaves(origin, want.div_ceil(merkle::BLOCK_LEAVES));
        self.store.range(Tree::Merkle, &from, &to, &mut |key, block| {
            if key != &keys::leaves(origin, next / merkle::BLOCK_LEAVES)[..] {
                return false;
            }
            let known = (next % merkle::BLOCK_LEAVES) as usize;
            let (hashes, _) = block.as_chunks::<16>();
            let take = usize::try_from(want - next).unwrap_or(usize::MAX);
            fresh.extend(hashes.iter().skip(known).take(take).map(|h| u128::from_le_bytes(*h)));
            next = have + fresh.len() as u64;
            next < want
        })?;
        if next < want {
            return Err(ReadError::Damaged(format!("hash {next} of origin {origin} is missing")));
        }
        cache.extend(origin, fresh);
        Ok(cache.tree(origin, tail.seq, tail.open_leaf))
    }
}
