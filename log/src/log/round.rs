//! One flush in the making: numbers drafts, checks what came from others, and lays out the operations in their order.
//!
//! Promises: a piece of work that is refused leaves no trace; operations stand in the order mark, settings, leaves, segments,
//! pending records, so that whatever prefix of them a crash leaves is sound; only the last of them carries the flush's number. Must not do: touch the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commit::{Answer, Committer, Done, Incoming, Prepared, Settle, Tail, Work};
use super::pending::PendingOp;
use super::{AppendError, IngestError, Log, Placed, keys};
use crate::clock::{Clock, Hlc, Stamp};
use crate::entry::{Body, Entry};
use crate::merkle;
use crate::segment::{Builder, Built, Frame};
use crate::store::{Key, Op, Record, Tree};
use crate::vector::{Origin, Place};

/// The author's flush in segments of decided entries: they rest on the flushes of a quorum, and are the same on every node.
const DECIDED_FLUSH: u64 = 0;
/// How far ahead of the clock the persisted mark is put.
const MARK_AHEAD_MS: u64 = 100;

pub(super) struct Round<'a> {
    clock: &'a Clock,
    committer: &'a mut Committer,
    /// Number of the flush that makes it durable.
    flush: u64,
    sync: bool,
    /// Somebody wants everything written so far durable.
    barrier: bool,
    tails: BTreeMap<Origin, Tail>,
    builders: BTreeMap<Origin, Builder>,
    built: Vec<Built>,
    /// By origin the chain behind each new entry, from the first new seq on.
    chains: BTreeMap<Origin, (u64, Vec<u128>)>,
    /// The leaves of each origin's last block, where this round adds some.
    blocks: BTreeMap<Origin, Vec<u8>>,
    leaves: Vec<Op>,
    settings: Vec<Op>,
    segments: Vec<Op>,
    /// Were they decided elsewhere (and so need no sync to be shown)?
    entries: Vec<(Arc<Entry>, bool)>,
    pending: Vec<PendingOp>,
    scratch: Vec<u8>,
}

/// What is to be written, and what is true once it is.
pub(super) struct Finished<'a> {
    pub committer: &'a mut Committer,
    pub ops: Vec<Op>,
    pub mark: Hlc,
    pub tails: BTreeMap<Origin, Tail>,
    pub blocks: BTreeMap<Origin, Vec<u8>>,
    /// To be shown when written.
    pub early: Vec<Arc<Entry>>,
    /// All that needs no sync is among `early`.
    pub lazy_are_shown: bool,
    /// To be shown when synced.
    pub entries: Vec<Arc<Entry>>,
    pub sync: bool,
}

impl<'a> Round<'a> {
    pub(super) fn new(clock: &'a Clock, committer: &'a mut Committer, sync: bool) -> Round<'a> {
        Round {
            clock,
            flush: committer.flush + 1,
            sync,
            barrier: false,
            committer,
            tails: BTreeMap::new(),
            builders: BTreeMap::new(),
            built: Vec::new(),
            chains: BTreeMap::new(),
            blocks: BTreeMap::new(),
            leaves: Vec::new(),
            settings: Vec::new(),
            segments: Vec::new(),
            entries: Vec::new(),
            pending: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// `may_write`: may this node give out stamps of its own?
    pub(super) fn take_in(&mut self, work: Work, may_write: &Result<(), String>) -> Answer {
        match (work, may_write) {
            (Work::Append { .. }, Err(why)) => Err(AppendError::Clock(why.clone()).into()),
            (
                Work::Append {
                    origin,
                    prepared,
                    archives,
                },
                Ok(()),
            ) => Ok(Done::Placed(self.append(origin, prepared, &archives))),
            (Work::Ingest(incoming), _) => self.ingest(incoming).map(Done::Entries),
            (Work::Meta(key, value), _) => {
                self.meta(key, value);
                Ok(Done::Meta)
            }
            (Work::Settle(settle), _) => self.settle(settle),
        }
    }

    fn tail(&self, origin: Origin) -> Tail {
        let new = self.tails.get(&origin);
        new.or_else(|| self.committer.tails.get(&origin)).copied().unwrap_or_default()
    }

    fn meta(&mut self, key: Key, value: Vec<u8>) {
        self.settings.push(Op::Put(Tree::Meta, key, value.into()));
    }

    fn append(&mut self, origin: Origin, prepared: Vec<Prepared>, archives: &[u8]) -> Vec<Placed> {
        let mut placed = Vec::with_capacity(prepared.len());
        let mut start = 0;
        for Prepared { mut entry, end } in prepared {
            let place = Place {
                origin,
                seq: self.tail(origin).seq + 1,
            };
            let stamp = Stamp {
                hlc: self.clock.tick(),
                origin,
            };
            // Nobody else has seen it yet, so this never copies.
            let fresh = Arc::make_mut(&mut entry);
            fresh.place = place;
            fresh.stamp = stamp;
            let frame = Frame {
                place,
                hlc: stamp.hlc,
                causes: &entry.causes,
                archive: &archives[start..end],
            };
            self.advance(&frame, self.flush);
            let flush = self.flush;
            let builder = self.builders.entry(origin).or_insert_with(|| Builder::new(origin, flush));
            builder.push(frame, &mut self.built);
            self.entries.push((entry, false));
            placed.push(Placed { place, stamp });
            start = end;
        }
        placed
    }

    /// Moves the origin's tail and Merkle chain over one entry.
    fn advance(&mut self, frame: &Frame<'_>, author_flush: u64) {
        let Place { origin, seq } = frame.place;
        let mut tail = self.tail(origin);
        let mut chain = merkle::chain(tail.open_leaf, frame.hash(&mut self.scratch));
        if let Some(index) = merkle::completes(seq) {
            self.leaf(origin, index, chain);
            chain = 0;
        }
        tail = Tail {
            seq,
            hlc: frame.hlc,
            open_leaf: chain,
            author_flush,
        };
        self.tails.insert(origin, tail);
        self.chains.entry(origin).or_insert_with(|| (seq, Vec::new())).1.push(chain);
    }

    /// Adds a leaf to its block; the block is written as it then is.
    fn leaf(&mut self, origin: Origin, index: u64, hash: u128) {
        let old = self.committer.blocks.get(&origin);
        let block = self.blocks.entry(origin).or_insert_with(|| old.cloned().unwrap_or_default());
        if index.is_multiple_of(merkle::BLOCK_LEAVES) {
            block.clear();
        }
        block.extend_from_slice(&hash.to_le_bytes());
        let key = keys::leaves(origin, index / merkle::BLOCK_LEAVES);
        let value = block.clone();
        match self.leaves.last_mut() {
            Some(Op::Put(_, last, record)) if *last == key => *record = value.into(),
            _ => self.leaves.push(Op::Put(Tree::Merkle, key, value.into())),
        }
    }

    /// Takes all of `incoming`, or refuses all of it.
    fn ingest(&mut self, incoming: Vec<Incoming>) -> Result<Vec<Arc<Entry>>, IngestError> {
        self.check(&incoming)?;
        let mut taken = Vec::new();
        for segment in &incoming {
            self.take(segment, &mut taken);
        }
        Log::follow(self.clock, &taken);
        Ok(taken)
    }

    /// Dense and in stamp order, the segments among themselves and behind what is held?
    fn check(&self, incoming: &[Incoming]) -> Result<(), IngestError> {
        let mut ends: BTreeMap<Origin, (u64, Hlc)> = BTreeMap::new();
        for segment in incoming {
            let header = segment.decoded.header;
            let tail = self.tail(header.origin);
            let (have, hlc) = *ends.entry(header.origin).or_insert((tail.seq, tail.hlc));
            if header.last() <= have {
                continue;
            }
            if header.first > have + 1 {
                return Err(IngestError::Gap {
                    origin: header.origin,
                    have,
                    got: header.first,
                });
            }
            let fresh = segment.decoded.entries.iter().find(|e| e.place.seq == have + 1);
            let last = segment.decoded.entries.last();
            let (Some(fresh), Some(last)) = (fresh, last) else {
                return Err(IngestError::Damaged("entries missing".into()));
            };
            if !in_order(hlc, fresh) {
                return Err(IngestError::Damaged(format!("stamps out of order at {:?}", fresh.place)));
            }
            ends.insert(header.origin, (header.last(), last.stamp.hlc));
        }
        Ok(())
    }

    fn take(&mut self, segment: &Incoming, taken: &mut Vec<Arc<Entry>>) {
        let header = segment.decoded.header;
        let have = self.tail(header.origin).seq;
        if header.last() <= have {
            return;
        }
        // Appends to the same origin earlier in this round come first.
        self.close(header.origin);
        let whole = header.first == have + 1;
        let mut builder = Builder::new(header.origin, header.flush);
        for (index, entry) in segment.decoded.entries.iter().enumerate() {
            let Some(frame) = segment.decoded.frame(index).filter(|f| f.place.seq > have) else {
                continue;
            };
            self.advance(&frame, header.flush);
            if !whole {
                builder.push(frame, &mut self.built);
            }
            self.entries.push((entry.clone(), false));
            taken.push(entry.clone());
        }
        if whole {
            for (part, bytes) in segment.parts.iter().enumerate() {
                self.store(header.origin, header.first, part as u16, header.last(), bytes.clone());
            }
        } else {
            builder.finish(&mut self.built);
            self.collect();
        }
    }

    fn settle(&mut self, settle: Settle) -> Answer {
        let Settle {
            ops,
            learned,
            archives,
            sync,
        } = settle;
        self.check_learned(&learned)?;
        let mut fresh = Vec::with_capacity(learned.len());
        let mut start = 0;
        for Prepared { mut entry, end } in learned {
            let archive = &archives[std::mem::replace(&mut start, end)..end];
            let origin = entry.place.origin;
            let tail = self.tail(origin);
            if entry.place.seq <= tail.seq {
                continue;
            }
            if entry.body == Body::Void {
                // Nobody else has seen it yet, so this never copies.
                Arc::make_mut(&mut entry).stamp = Stamp { hlc: tail.hlc, origin };
            }
            let frame = Frame {
                place: entry.place,
                hlc: entry.stamp.hlc,
                causes: &entry.causes,
                archive,
            };
            self.advance(&frame, DECIDED_FLUSH);
            let builder = self.builders.entry(origin).or_insert_with(|| Builder::new(origin, DECIDED_FLUSH));
            builder.push(frame, &mut self.built);
            self.entries.push((entry.clone(), true));
            fresh.push(entry);
        }
        Log::follow(self.clock, &fresh);
        self.pending.extend(ops);
        self.barrier |= sync;
        let untouched = fresh.is_empty() && self.pending.is_empty() && self.committer.lazy_bytes == 0;
        let flush = if untouched { self.committer.flush } else { self.flush };
        Ok(Done::Settled(fresh, flush))
    }

    /// Dense and in stamp order behind what is held?
    fn check_learned(&self, learned: &[Prepared]) -> Result<(), AppendError> {
        let mut ends: BTreeMap<Origin, (u64, Hlc)> = BTreeMap::new();
        for Prepared { entry, .. } in learned {
            let Place { origin, seq } = entry.place;
            let tail = self.tail(origin);
            let end = ends.entry(origin).or_insert((tail.seq, tail.hlc));
            if seq <= end.0 {
                continue;
            }
            if seq > end.0 + 1 {
                return Err(AppendError::Gap {
                    origin,
                    have: end.0,
                    got: seq,
                });
            }
            if entry.body != Body::Void {
                if entry.stamp.hlc <= end.1 || entry.stamp.origin != origin {
                    return Err(AppendError::Malformed);
                }
                end.1 = entry.stamp.hlc;
            }
            end.0 = seq;
        }
        Ok(())
    }

    fn close(&mut self, origin: Origin) {
        if let Some(mut builder) = self.builders.remove(&origin) {
            builder.finish(&mut self.built);
        }
        self.collect();
    }

    fn collect(&mut self) {
        for built in std::mem::take(&mut self.built) {
            let header = built.header;
            self.store(header.origin, header.first, header.part, header.last(), built.bytes);
        }
    }

    fn store(&mut self, origin: Origin, first: u64, part: u16, last: u64, bytes: bytes::Bytes) {
        let chain = self.chains.get(&origin).and_then(|(from, chains)| {
            let at = usize::try_from(last.checked_sub(*from)?).ok()?;
            chains.get(at)
        });
        // All but the last operation of a flush carry the number of the one before: a number that is there speaks for everything before it.
        let record = keys::record(self.flush - 1, chain.copied().unwrap_or_default(), bytes);
        self.segments.push(Op::Put(Tree::Log, keys::segment(origin, first, part), record));
    }

    /// `None` if there is nothing to write.
    pub(super) fn finish(mut self) -> Option<Finished<'a>> {
        for origin in self.builders.keys().copied().collect::<Vec<_>>() {
            self.close(origin);
        }
        self.collect();
        let barrier = self.barrier && self.committer.lazy_bytes > 0;
        let mut pending = Vec::new();
        // What is written without a sync rests on the flush before.
        let last = if self.sync { self.flush } else { self.flush - 1 };
        let carried = self.committer.pending.absorb(std::mem::take(&mut self.pending), last, &mut pending);
        if self.segments.is_empty() && self.settings.is_empty() && !carried && !barrier {
            return None;
        }
        let mut ops = Vec::with_capacity(self.segments.len() + self.settings.len() + self.leaves.len() + pending.len() + 2);
        let mut mark = self.committer.mark;
        if self.clock.last() > mark {
            mark = Hlc::from_ms(self.clock.last().ms() + MARK_AHEAD_MS);
            ops.push(number(keys::CLOCK, &[], mark.0));
        }
        if let (Some(Op::Put(_, _, record)), true, false) = (self.segments.last_mut(), self.sync, carried) {
            keys::set_record_flush(record, self.flush);
        }
        ops.append(&mut self.settings);
        ops.append(&mut self.leaves);
        if self.segments.is_empty() && !carried && self.sync {
            ops.push(number(keys::FLUSH, keys::FLUSH_MARK, self.flush));
        }
        ops.append(&mut self.segments);
        ops.append(&mut pending);
        let decided: Vec<Origin> = self.entries.iter().filter(|e| e.1).map(|e| e.0.place.origin).collect();
        // Entries of one origin are shown in their order: where some of them need the sync, all wait for it.
        let mixed = self.entries.iter().any(|(e, early)| !early && decided.contains(&e.place.origin));
        let (early, entries): (Vec<_>, Vec<_>) = self.entries.into_iter().partition(|(_, early)| *early && !mixed);
        Some(Finished {
            committer: self.committer,
            ops,
            mark,
            tails: self.tails,
            blocks: self.blocks,
            early: early.into_iter().map(|(e, _)| e).collect(),
            lazy_are_shown: !mixed,
            entries: entries.into_iter().map(|(e, _)| e).collect(),
            sync: self.sync,
        })
    }
}

/// Stamps of an origin grow with its places; a void repeats the one before it.
fn in_order(before: Hlc, entry: &Entry) -> bool {
    entry.stamp.hlc > before || (entry.stamp.hlc == before && entry.body == Body::Void)
}

fn number(key: &[u8], mark: &[u8], value: u64) -> Op {
    let bytes = [mark, &value.to_le_bytes()].concat();
    Op::Put(Tree::Meta, Key::from_slice(key), Record::from(bytes))
}
