//! The log itself: group commit, reading by place and by stamp, following, pruning.
//!
//! Promises: `append` returns only when its entries are durable (one fsync may serve many callers, none is skipped); after a
//! failed sync nothing is acknowledged any more (poisoned); a full disk is an error of that append alone. Sequences are dense.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Clock, Stamp, TimeSource};
use crate::entry::{Body, Entry};
use crate::vector::{Origin, Place, VersionVector};

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Directory of the log (created if missing).
    pub dir: PathBuf,
    /// sled's cache (default 16 MiB: an idle node stays small).
    pub cache_bytes: u64,
    pub drift_ms: u64,
}

impl LogOptions {
    pub fn new(dir: impl Into<PathBuf>) -> LogOptions {
        LogOptions {
            dir: dir.into(),
            cache_bytes: 16 << 20,
            drift_ms: 500,
        }
    }
}

/// A transaction handed to the log; place and stamp are given by the log.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The author's applied vector (its own origin's component is ignored).
    pub causes: Arc<VersionVector>,
    pub schema: u64,
    pub body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub place: Place,
    pub stamp: Stamp,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the log in {0} is in use by another process")]
    InUse(PathBuf),
    #[error("the log in {path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("the log in {path} has format {found}, this program knows up to {known}: start a newer starling")]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("cannot open the log in {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// A sync failed earlier: nothing is acknowledged until a restart.
    #[error("the log is poisoned: {0}; restart the node")]
    Poisoned(String),
    /// Nothing was written; works again when there is space.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    #[error("the clock is off: {0}")]
    Clock(String),
    #[error("an entry of {size} bytes is larger than the {max} that the log takes")]
    TooLarge { size: usize, max: usize },
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Pruned: `oldest` is what is still there.
    #[error("pruned; the oldest kept is {oldest:?}")]
    Pruned { oldest: VersionVector },
    #[error("damaged log: {0}")]
    Damaged(String),
}

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Not dense: fetch from `have + 1` on.
    #[error("gap at origin {origin}: have {have}, got {got}")]
    Gap { origin: Origin, have: u64, got: u64 },
    #[error("damaged segment: {0}")]
    Damaged(String),
    #[error("segment format {0} is unknown")]
    Version(u8),
    #[error(transparent)]
    Append(#[from] AppendError),
}

pub struct Log {
    // log helper: fields
}

impl Log {
    pub fn open(options: LogOptions, time: Arc<dyn TimeSource>) -> Result<Arc<Log>, OpenError> {
        let _ = (options, time);
        todo!("log helper")
    }
    /// Over any store (the simulated twin in tests).
    pub fn with_store(store: Arc<dyn crate::store::Store>, options: LogOptions, time: Arc<dyn TimeSource>) -> Result<Arc<Log>, OpenError> {
        let _ = (store, options, time);
        todo!("log helper")
    }
    pub fn clock(&self) -> &Clock {
        todo!("log helper")
    }
    /// Appends to one of this node's own sequences, all drafts in this order, and returns when they are durable. Blocking;
    /// many threads may call at once and share one segment and one fsync (whoever comes first leads; the queue is bounded).
    pub fn append(&self, origin: Origin, drafts: Vec<Draft>) -> Result<Vec<Placed>, AppendError> {
        let _ = (origin, drafts);
        todo!("log helper")
    }
    /// Takes segments of other nodes' sequences as they travel; verifies all, skips what is held, durable on return.
    /// Returns the new entries, decoded, in order.
    pub fn ingest(&self, segments: &[Bytes]) -> Result<Vec<Arc<Entry>>, IngestError> {
        let _ = segments;
        todo!("log helper")
    }
    /// Everything durable here.
    pub fn held(&self) -> VersionVector {
        todo!("log helper")
    }
    /// The first kept seq - 1 by origin (what was pruned).
    pub fn pruned(&self) -> VersionVector {
        todo!("log helper")
    }
    /// Entries of one origin, from `from` (inclusive) on, at most about `max_bytes` of them; empty at the end. Recent entries come from memory.
    pub fn read(&self, origin: Origin, from: u64, max_bytes: usize) -> Result<Vec<Arc<Entry>>, ReadError> {
        let _ = (origin, from, max_bytes);
        todo!("log helper")
    }
    /// The same as segments for the wire (whole segments, as stored; the first may begin below `from`).
    pub fn segments(&self, origin: Origin, from: u64, max_bytes: usize) -> Result<Vec<Bytes>, ReadError> {
        let _ = (origin, from, max_bytes);
        todo!("log helper")
    }
    /// All entries in (`after`, `upto`] by place, over all origins, merged in stamp order; a bounded-memory iterator.
    pub fn scan(self: &Arc<Self>, after: &VersionVector, upto: &VersionVector) -> Scan {
        let _ = (after, upto);
        todo!("log helper")
    }
    /// Entries with `from` <= stamp < `to`, in stamp order.
    pub fn scan_stamps(self: &Arc<Self>, from: Stamp, to: Option<Stamp>) -> Scan {
        let _ = (from, to);
        todo!("log helper")
    }
    /// Wakes whenever `held` grew; the value is a counter. Works in async and (by `blocking_*`) in plain threads.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        todo!("log helper")
    }
    /// Drops whole segments at or below `below`.
    pub fn prune(&self, below: &VersionVector) -> Result<(), AppendError> {
        let _ = below;
        todo!("log helper")
    }
    /// Small durable values of the node (identity, members as last known …); durable on return.
    pub fn meta(&self, key: &str) -> Option<Vec<u8>> {
        let _ = key;
        todo!("log helper")
    }
    pub fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        let _ = (key, value);
        todo!("log helper")
    }
    /// PROTOCOL rule 2: the number of the last durable flush.
    pub fn flush_number(&self) -> u64 {
        todo!("log helper")
    }
    /// Why nothing is acknowledged any more, if so.
    pub fn poisoned(&self) -> Option<String> {
        todo!("log helper")
    }
    pub fn merkle(&self, origin: Origin) -> crate::merkle::Tree {
        let _ = origin;
        todo!("log helper")
    }
    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        todo!("log helper")
    }
}

/// Entries in stamp order. Yields `Err` once and ends on damage.
pub struct Scan {
    // log helper: fields
}

impl Iterator for Scan {
    type Item = Result<Arc<Entry>, ReadError>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!("log helper")
    }
}
