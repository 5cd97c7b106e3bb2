//! Start: where every origin ends is found without reading the log.
//!
//! Promises: a gigabyte of log opens as fast as a small one (one look at the last segment of each origin); the tails'
//! checksums are verified; parts of a large entry whose last one is missing are taken away; a log that lost flushes it
//! had acknowledged is called damaged, not shorter.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::commit::{Committer, Tail};
use super::pending::Journal;
use super::prune::take_cuts;
use super::{Log, LogOptions, OpenError, Visible, keys, recent};
use crate::clock::{Clock, Hlc, TimeSource};
use crate::merkle;
use crate::segment::{self, VERSION_MAX};
use crate::store::{Op, Store, StoreError, Tree, Witness};
use crate::vector::{Origin, VersionVector};

struct Opening<'a> {
    store: &'a dyn Store,
}

impl Opening<'_> {
    fn damaged(&self, reason: impl Into<String>) -> OpenError {
        OpenError::Damaged {
            path: self.store.path(),
            reason: reason.into(),
        }
    }

    fn failed(&self, error: StoreError) -> OpenError {
        self.damaged(error.to_string())
    }

    /// A number behind a mark (which may be empty); 0 if there is none.
    fn number(&self, key: &[u8], mark: &[u8]) -> Result<u64, OpenError> {
        match self.store.get(Tree::Meta, key).map_err(|e| self.failed(e))? {
            None => Ok(0),
            Some(bytes) => match <[u8; 8]>::try_from(bytes.strip_prefix(mark).unwrap_or_default()) {
                Ok(bytes) => Ok(u64::from_le_bytes(bytes)),
                Err(_) => Err(self.damaged("a number in meta has the wrong length")),
            },
        }
    }

    fn origins(&self) -> Result<Vec<Origin>, OpenError> {
        let mut found = Vec::new();
        let mut from = Some(0u16);
        while let Some(origin) = from {
            let mut next = None;
            let start = keys::segment(origin, 0, 0);
            let walked = self.store.range(Tree::Log, &start, &[0xff; 13], &mut |key, _| {
                next = keys::parse_segment(key);
                false
            });
            walked.map_err(|e| self.failed(e))?;
            from = next.and_then(|(origin, _, _)| {
                found.push(origin);
                origin.checked_add(1)
            });
        }
        Ok(found)
    }

    /// The last whole segment of an origin. Parts without their last one behind it are removed, and what a crash left of an entry of
    /// several parts that was being pruned (`cut`: the highest number pruned).
    fn tail(&self, origin: Origin, cut: u64, flush: &mut u64) -> Result<Option<Tail>, OpenError> {
        let mut above = keys::segment(origin, u64::MAX, u16::MAX);
        loop {
            let Some((key, record)) = self.store.before(Tree::Log, &above).map_err(|e| self.failed(e))? else {
                return Ok(None);
            };
            let Some((_, first, _)) = keys::parse_segment(&key).filter(|(o, _, _)| *o == origin) else {
                return Ok(None);
            };
            let header = self.header(origin, &record)?;
            let start = keys::segment(origin, first, 0);
            let mut found = Vec::new();
            let mut records = Vec::new();
            let walked = self.store.range(Tree::Log, &start, &above, &mut |key, value| {
                found.push(crate::store::Key::from_slice(key));
                records.push(value);
                true
            });
            walked.map_err(|e| self.failed(e))?;
            if header.commits() {
                if let Some((number, _)) = keys::record_head(&record) {
                    *flush = (*flush).max(number);
                }
                match tail_of(&records) {
                    Some((_, tail)) => return Ok(Some(tail)),
                    None if first <= cut => {}
                    None => return Err(self.damaged(format!("the last segment of origin {origin}"))),
                }
            }
            let ops = found.into_iter().map(|key| Op::Remove(Tree::Log, key)).collect();
            self.store.write(ops).map_err(|e| self.failed(e))?;
            above = start;
        }
    }

    /// The Merkle leaves of an origin's last block, without those of entries that a crash took away.
    fn block(&self, origin: Origin, seq: u64) -> Result<Vec<u8>, OpenError> {
        let leaves = seq / merkle::LEAF_ENTRIES;
        let want = (leaves % merkle::BLOCK_LEAVES) as usize * size_of::<merkle::Hash>();
        if want == 0 {
            return Ok(Vec::new());
        }
        let key = keys::leaves(origin, leaves / merkle::BLOCK_LEAVES);
        let found = self.store.get(Tree::Merkle, &key).map_err(|e| self.failed(e))?;
        match found.as_ref().and_then(|b| b.get(..want)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(self.damaged(format!("hashes of origin {origin} are missing"))),
        }
    }

    fn header(&self, origin: Origin, record: &Bytes) -> Result<segment::Header, OpenError> {
        let bytes = &record[keys::HEAD.min(record.len())..];
        match segment::header(bytes) {
            Ok(header) if header.origin == origin => Ok(header),
            Ok(_) => Err(self.damaged(format!("a foreign segment under origin {origin}"))),
            Err(segment::SegmentError::Version(found)) => Err(OpenError::Newer {
                path: self.store.path(),
                found: u32::from(found),
                known: u32::from(VERSION_MAX),
            }),
            Err(error) => Err(self.damaged(format!("the last segment of origin {origin}: {error}"))),
        }
    }
}

/// (this node's flush number, the tail) at the end of a segment, given its records.
pub(super) fn tail_of(records: &[Bytes]) -> Option<(u64, Tail)> {
    let (flush, open_leaf) = keys::record_head(records.last()?)?;
    let parts: Vec<Bytes> = records.iter().map(|r| r.slice(keys::HEAD.min(r.len())..)).collect();
    let decoded = segment::decode(&parts).ok()?;
    let last = decoded.entries.last()?;
    let tail = Tail {
        seq: last.place.seq,
        hlc: last.stamp.hlc,
        open_leaf,
        author_flush: decoded.header.flush,
    };
    Some((flush, tail))
}

pub(super) fn open(store: Arc<dyn Store>, options: &LogOptions, time: Arc<dyn TimeSource>) -> Result<Log, OpenError> {
    let opening = Opening { store: &*store };
    let mark = Hlc(opening.number(keys::CLOCK, &[])?);
    let mut flush = opening.number(keys::FLUSH, keys::FLUSH_MARK)?;
    let cuts = match store.get(Tree::Meta, keys::PRUNED).map_err(|e| opening.failed(e))? {
        Some(bytes) => take_cuts(&bytes).ok_or_else(|| opening.damaged("the record of what was pruned"))?,
        None => BTreeMap::new(),
    };
    let pruned = VersionVector(cuts.iter().map(|(origin, tail)| (*origin, tail.seq)).collect());
    let mut tails = cuts;
    for origin in opening.origins()? {
        let cut = tails.get(&origin).map_or(0, |t| t.seq);
        let Some(tail) = opening.tail(origin, cut, &mut flush)? else {
            continue;
        };
        let slot = tails.entry(origin).or_default();
        if slot.seq < tail.seq {
            *slot = tail;
        }
    }
    let mut blocks = BTreeMap::new();
    for (origin, tail) in &tails {
        blocks.insert(*origin, opening.block(*origin, tail.seq)?);
    }
    let pending = Journal::open(&*store).map_err(|why| opening.damaged(why))?;
    flush = flush.max(pending.flush());
    let witness = store.witness();
    if witness.flush > flush {
        let reason = format!("flush {} was acknowledged, but only {flush} are there", witness.flush);
        return Err(opening.damaged(reason));
    }
    store.set_witness(Witness { flush, base: flush });
    let clock = Clock::new(time, mark, options.drift_ms);
    for tail in tails.values() {
        clock.observe(tail.hlc);
    }
    let visible = Visible {
        held: VersionVector(tails.iter().map(|(origin, tail)| (*origin, tail.seq)).collect()),
        pruned,
        recent: recent::Recent::new(options.recent_bytes),
    };
    Ok(Log {
        clock,
        queue: Default::default(),
        flushing: Mutex::new(()),
        committer: Mutex::new(Committer {
            tails,
            blocks,
            flush,
            mark,
            base: flush,
            pending,
            ..Committer::default()
        }),
        visible: RwLock::new(visible),
        merkle: Default::default(),
        partial: Default::default(),
        pruning: Mutex::new(()),
        grown: watch::Sender::new(0),
        flush: AtomicU64::new(flush),
        mark: AtomicU64::new(mark.0),
        on_the_way: AtomicU64::new(0),
        poison: OnceLock::new(),
        store,
    })
}
