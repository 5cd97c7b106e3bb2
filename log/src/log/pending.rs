//! Pending records (prepared transactions, votes, promises, outcomes): a small journal of its own within the store.
//!
//! Why a journal: thousands of small records come and go in a second; one value of the store for a chunk of them costs a tenth of
//! one value for each. All live records are known in memory (large values stand in the store alone).
//! Promises: after a crash a prefix of what was put and removed is there, value by value whole; space is taken back from the oldest
//! chunk on, and live records that stand in its way are written anew. Must not know: what records mean. Bytes: `log/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::{Log, ReadError, keys};
use crate::segment::{BODY_MAX, ENTRY_MAX};
use crate::store::{Key, Op, Record, Store, Tree};
use crate::value::Malformed;
use crate::varint;

/// One change of the pending records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingOp {
    /// Key and value; replaces.
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

impl PendingOp {
    pub(super) fn bytes(&self) -> usize {
        match self {
            PendingOp::Put(key, value) => key.len() + value.len() + 8,
            PendingOp::Remove(key) => key.len() + 4,
        }
    }
}

pub(super) const KEY_MAX: usize = 1 << 10;
/// The largest entry, and what is said about it.
pub(super) const VALUE_MAX: usize = ENTRY_MAX + (16 << 20);
/// Larger values stand on their own, in parts.
const INLINE_MAX: usize = 4 << 10;
/// Dead bytes that may stand among the live ones before live ones are written anew.
const SLACK_BYTES: usize = 256 << 10;

/// Mark, flush number, checksum.
const HEAD: usize = 4 + 8 + 4;
const PUT: u8 = 1;
const PUT_BLOB: u8 = 2;
const REMOVE: u8 = 3;

#[derive(Clone, Debug)]
enum Value {
    Inline(Bytes),
    Blob(Blob),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blob {
    number: u64,
    length: u32,
    sum: u32,
}

impl Blob {
    fn parts(self) -> u32 {
        (self.length as usize).div_ceil(BODY_MAX) as u32
    }
}

struct Live {
    chunk: u64,
    value: Value,
}

#[derive(Default)]
struct Chunk {
    bytes: usize,
    live: usize,
    /// Whatever was put here, live or not.
    keys: Vec<Arc<[u8]>>,
}

/// What is pending, and where it stands.
#[derive(Default)]
pub(super) struct Journal {
    live: BTreeMap<Arc<[u8]>, Live>,
    chunks: BTreeMap<u64, Chunk>,
    /// Sizes of all chunks and of the live records in them.
    bytes: usize,
    live_bytes: usize,
    next_blob: u64,
    /// Found at the start.
    flush: u64,
}

/// One round's changes, on their way into chunks.
struct Writer<'a> {
    journal: &'a mut Journal,
    ops: &'a mut Vec<Op>,
    number: u64,
    body: Vec<u8>,
    /// Blobs nobody refers to any more.
    gone: Vec<Blob>,
    /// Removals of dead chunks: written behind everything that made them dead.
    dropped: Vec<Op>,
}

fn record_bytes(key: &[u8], value: &Value) -> usize {
    let value = match value {
        Value::Inline(bytes) => bytes.len(),
        Value::Blob(_) => 20,
    };
    key.len() + value + 5
}

impl Journal {
    /// The highest flush number it speaks of.
    pub(super) fn flush(&self) -> u64 {
        self.flush
    }

    /// Takes the changes in and appends what has to be written, in order; `flush` is what its last chunk says. Returns whether one is
    /// written.
    pub(super) fn absorb(&mut self, changes: Vec<PendingOp>, flush: u64, ops: &mut Vec<Op>) -> bool {
        let before = ops.len();
        let mut writer = Writer {
            number: self.chunks.last_key_value().map_or(1, |(n, _)| n + 1),
            journal: self,
            ops,
            body: vec![0; HEAD],
            gone: Vec::new(),
            dropped: Vec::new(),
        };
        for change in changes {
            writer.change(change, flush);
        }
        if writer.body.len() == HEAD && writer.ops.len() == before {
            return false;
        }
        writer.compact(flush);
        writer.close(flush);
        let (gone, mut dropped) = (writer.gone, writer.dropped);
        self.drop_dead(&mut dropped);
        ops.append(&mut dropped);
        for blob in gone {
            ops.extend((0..blob.parts()).map(|part| Op::Remove(Tree::Pending, keys::blob(blob.number, part))));
        }
        true
    }

    /// Forgets one live record; its chunk's bytes stay until the chunk goes.
    fn release(&mut self, key: &[u8], live: &Live) {
        if let Some(chunk) = self.chunks.get_mut(&live.chunk) {
            chunk.live -= 1;
        }
        self.live_bytes -= record_bytes(key, &live.value);
    }

    /// Chunks go from the oldest on: what a chunk removes may stand in an older one. The newest stays; its numbers go on.
    fn drop_dead(&mut self, ops: &mut Vec<Op>) {
        while self.chunks.len() > 1
            && let Some(oldest) = self.chunks.first_entry()
            && oldest.get().live == 0
        {
            let (number, chunk) = oldest.remove_entry();
            self.bytes -= chunk.bytes;
            ops.push(Op::Remove(Tree::Pending, keys::chunk(number)));
        }
    }
}

impl Writer<'_> {
    fn change(&mut self, change: PendingOp, flush: u64) {
        match change {
            PendingOp::Put(key, value) => {
                let value = self.place(value);
                self.put(Arc::from(key), value, flush);
            }
            PendingOp::Remove(key) => {
                let Some(old) = self.journal.live.remove(&key[..]) else { return };
                self.forget(&key, old);
                self.room(key.len() + 4, flush);
                self.body.push(REMOVE);
                varint::put_slice(&mut self.body, &key);
            }
        }
    }

    /// Writes a large value down; nothing speaks of it yet.
    fn place(&mut self, value: Vec<u8>) -> Value {
        if value.len() <= INLINE_MAX {
            return Value::Inline(Bytes::from(value));
        }
        let blob = Blob {
            number: self.journal.next_blob,
            length: value.len() as u32,
            sum: crc32c::crc32c(&value),
        };
        self.journal.next_blob += 1;
        let value = Bytes::from(value);
        for (part, at) in (0..value.len()).step_by(BODY_MAX).enumerate() {
            let record = Record {
                body: value.slice(at..value.len().min(at + BODY_MAX)),
                ..Record::default()
            };
            self.ops.push(Op::Put(Tree::Pending, keys::blob(blob.number, part as u32), record));
        }
        Value::Blob(blob)
    }

    fn put(&mut self, key: Arc<[u8]>, value: Value, flush: u64) {
        self.room(record_bytes(&key, &value), flush);
        match &value {
            Value::Inline(bytes) => {
                self.body.push(PUT);
                varint::put_slice(&mut self.body, &key);
                varint::put_slice(&mut self.body, bytes);
            }
            Value::Blob(blob) => {
                self.body.push(PUT_BLOB);
                varint::put_slice(&mut self.body, &key);
                varint::put(&mut self.body, blob.number);
                varint::put(&mut self.body, u64::from(blob.length));
                self.body.extend_from_slice(&blob.sum.to_le_bytes());
            }
        }
        self.journal.live_bytes += record_bytes(&key, &value);
        let chunk = self.journal.chunks.entry(self.number).or_default();
        chunk.live += 1;
        chunk.keys.push(key.clone());
        let live = Live { chunk: self.number, value };
        if let Some(old) = self.journal.live.insert(key.clone(), live) {
            self.forget(&key, old);
        }
    }

    fn forget(&mut self, key: &[u8], old: Live) {
        self.journal.release(key, &old);
        // Moved, not gone, if it is still spoken of.
        if let Value::Blob(blob) = old.value
            && !matches!(self.journal.live.get(key), Some(Live { value: Value::Blob(now), .. }) if *now == blob)
        {
            self.gone.push(blob);
        }
    }

    fn room(&mut self, bytes: usize, flush: u64) {
        if self.body.len() + bytes > BODY_MAX {
            // Not the last of this flush.
            self.close(flush.saturating_sub(1));
        }
    }

    /// Live records in the oldest chunks are written anew while dead ones take more room than they should.
    fn compact(&mut self, flush: u64) {
        loop {
            self.journal.drop_dead(&mut self.dropped);
            if self.journal.bytes <= SLACK_BYTES + 2 * self.journal.live_bytes {
                return;
            }
            let Some(mut oldest) = self.journal.chunks.first_entry().filter(|c| *c.key() < self.number) else {
                return;
            };
            let number = *oldest.key();
            let keys = std::mem::take(&mut oldest.get_mut().keys);
            for key in keys {
                let value = match self.journal.live.get(&key) {
                    Some(live) if live.chunk == number => live.value.clone(),
                    _ => continue,
                };
                self.put(key, value, flush);
            }
        }
    }

    fn close(&mut self, flush: u64) {
        if self.body.len() == HEAD {
            return;
        }
        let mut body = std::mem::replace(&mut self.body, vec![0; HEAD]);
        body[..4].copy_from_slice(keys::FLUSH_MARK);
        body[4..12].copy_from_slice(&flush.to_le_bytes());
        let sum = checksum(&body);
        body[12..HEAD].copy_from_slice(&sum.to_le_bytes());
        let chunk = self.journal.chunks.entry(self.number).or_default();
        chunk.bytes = body.len();
        self.journal.bytes += body.len();
        self.ops.push(Op::Put(Tree::Pending, keys::chunk(self.number), body.into()));
        self.number += 1;
    }
}

/// Over everything but itself.
fn checksum(chunk: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&chunk[..HEAD - 4]), &chunk[HEAD..])
}

impl Journal {
    /// Reads all of it back; what a crash left half written or half removed is taken away. `Err(why)`: damaged.
    pub(super) fn open(store: &dyn Store) -> Result<Journal, String> {
        let failed = |e: crate::store::StoreError| e.to_string();
        let mut journal = Journal::default();
        let mut bad = None;
        let walked = store.range(Tree::Pending, &keys::chunk(0), &keys::chunk(u64::MAX), &mut |key, value| {
            let read = keys::parse_chunk(key)
                .ok_or(Malformed)
                .and_then(|number| journal.replay(number, &value));
            bad = read.is_err().then(|| Key::from_slice(key));
            bad.is_none()
        });
        walked.map_err(failed)?;
        if let Some(key) = bad {
            return Err(format!("pending records in chunk {}", keys::parse_chunk(&key).unwrap_or_default()));
        }
        journal.tidy(store)?;
        Ok(journal)
    }

    fn replay(&mut self, number: u64, bytes: &Bytes) -> Result<(), Malformed> {
        let follows = self.chunks.last_key_value().is_none_or(|(last, _)| last + 1 == number);
        if !follows || bytes.len() < HEAD || bytes[..4] != *keys::FLUSH_MARK || checksum(bytes).to_le_bytes() != bytes[12..HEAD] {
            return Err(Malformed);
        }
        let (flush, _) = bytes[4..].split_first_chunk::<8>().ok_or(Malformed)?;
        self.flush = self.flush.max(u64::from_le_bytes(*flush));
        self.bytes += bytes.len();
        let chunk = self.chunks.entry(number).or_default();
        chunk.bytes = bytes.len();
        let mut rest = &bytes[HEAD..];
        while let Some((tag, tail)) = rest.split_first() {
            rest = tail;
            let key: Arc<[u8]> = Arc::from(varint::take_slice(&mut rest)?);
            let value = match *tag {
                REMOVE => {
                    if let Some(old) = self.live.remove(&key) {
                        self.release(&key, &old);
                    }
                    continue;
                }
                PUT => Value::Inline(Bytes::copy_from_slice(varint::take_slice(&mut rest)?)),
                PUT_BLOB => Value::Blob(take_blob(&mut rest)?),
                _ => return Err(Malformed),
            };
            self.live_bytes += record_bytes(&key, &value);
            let chunk = self.chunks.entry(number).or_default();
            chunk.live += 1;
            chunk.keys.push(key.clone());
            if let Some(old) = self.live.insert(key.clone(), Live { chunk: number, value }) {
                self.release(&key, &old);
            }
        }
        Ok(())
    }

    /// Parts that no live record speaks of are removed.
    fn tidy(&mut self, store: &dyn Store) -> Result<(), String> {
        let spoken: BTreeSet<u64> = self.live.values().filter_map(Live::blob).map(|b| b.number).collect();
        let mut stray = Vec::new();
        let walked = store.range(Tree::Pending, &keys::blob(0, 0), &keys::blob(u64::MAX, u32::MAX), &mut |key, _| {
            if let Some((number, _)) = keys::parse_blob(key) {
                self.next_blob = self.next_blob.max(number + 1);
                if !spoken.contains(&number) {
                    stray.push(Op::Remove(Tree::Pending, Key::from_slice(key)));
                }
            }
            true
        });
        walked.map_err(|e| e.to_string())?;
        store.write(stray).map_err(|e| e.to_string())
    }

    fn find(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Value)> {
        let from = self
            .live
            .range::<[u8], _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, live)| (key.to_vec(), live.value.clone()))
            .collect()
    }
}

impl Live {
    fn blob(&self) -> Option<Blob> {
        match self.value {
            Value::Blob(blob) => Some(blob),
            Value::Inline(_) => None,
        }
    }
}

fn take_blob(rest: &mut &[u8]) -> Result<Blob, Malformed> {
    let number = varint::take(rest)?;
    let length = u32::try_from(varint::take(rest)?).map_err(|_| Malformed)?;
    let (sum, tail) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
    *rest = tail;
    Ok(Blob {
        number,
        length,
        sum: u32::from_le_bytes(*sum),
    })
}

impl Log {
    pub(super) fn read_pending(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, ReadError> {
        // Under the leader's lock: what is spoken of is there, and stays while it is read.
        let committer = self.committer.lock();
        let found = committer.pending.find(prefix).into_iter();
        found
            .map(|(key, value)| match value {
                Value::Inline(bytes) => Ok((key, bytes)),
                Value::Blob(blob) => Ok((key, self.read_blob(blob)?)),
            })
            .collect()
    }

    fn read_blob(&self, blob: Blob) -> Result<Bytes, ReadError> {
        let mut whole = Vec::with_capacity(blob.length as usize);
        let (from, to) = (keys::blob(blob.number, 0), keys::blob(blob.number, blob.parts()));
        self.store.range(Tree::Pending, &from, &to, &mut |_, part| {
            whole.extend_from_slice(&part);
            true
        })?;
        if whole.len() != blob.length as usize || crc32c::crc32c(&whole) != blob.sum {
            return Err(ReadError::Damaged("a part of a pending record".to_owned()));
        }
        Ok(Bytes::from(whole))
    }
}
