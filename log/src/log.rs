//! The log itself: group commit, reading by place and by stamp, following, pruning.
//!
//! Promises: `append` returns only when its entries are durable (one fsync may serve many callers, none is skipped); after a
//! failed sync nothing is acknowledged any more (poisoned); a full disk is an error of that append alone. Sequences are dense.

mod commit;
pub(crate) mod keys;
mod open;
mod pending;
mod prune;
mod read;
mod recent;
mod round;
mod scan;
mod settle;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::clock::{Clock, Hlc, Stamp, TimeSource};
use crate::entry::{Body, Entry};
use crate::merkle;
use crate::segment::SegmentError;
use crate::store::{Store, StoreError};
use crate::vector::{Origin, Place, VersionVector};

pub use pending::PendingOp;
pub use scan::Scan;

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Directory of the log (created if missing).
    pub dir: PathBuf,
    /// sled's cache (default 16 MiB: an idle node stays small).
    pub cache_bytes: u64,
    pub drift_ms: u64,
    /// Entries kept decoded in memory for followers and feeds (default 4 MiB).
    pub recent_bytes: usize,
}

impl LogOptions {
    pub fn new(dir: impl Into<PathBuf>) -> LogOptions {
        LogOptions {
            dir: dir.into(),
            cache_bytes: 16 << 20,
            drift_ms: 500,
            recent_bytes: 4 << 20,
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
    /// The flush of this very append failed: it may last or not, which is known after a restart. Never to be told as a refusal.
    #[error("the log failed while this was written ({0}); whether it lasts is known after a restart")]
    Unknown(String),
    /// Nothing was written; works again when there is space.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    #[error("the clock is off: {0}")]
    Clock(String),
    #[error("an entry of {size} bytes is larger than the {max} that the log takes")]
    TooLarge { size: usize, max: usize },
    /// An image does not fit its table header: a bug of the caller, caught before it is written for ever.
    #[error("a malformed entry was refused")]
    Malformed,
    /// Decided entries come in the order of their places: those from `have + 1` on come first.
    #[error("gap at origin {origin}: have {have}, got {got}")]
    Gap { origin: Origin, have: u64, got: u64 },
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Pruned: everything after `oldest` is still there.
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

impl From<SegmentError> for IngestError {
    fn from(error: SegmentError) -> IngestError {
        match error {
            SegmentError::Version(version) => IngestError::Version(version),
            SegmentError::Damaged(why) => IngestError::Damaged(why.to_owned()),
        }
    }
}

impl From<SegmentError> for ReadError {
    fn from(error: SegmentError) -> ReadError {
        ReadError::Damaged(error.to_string())
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> ReadError {
        ReadError::Damaged(error.to_string())
    }
}

/// What readers see; changed only after a sync, or (decided entries) after a write.
struct Visible {
    held: VersionVector,
    pruned: VersionVector,
    recent: recent::Recent,
}

pub struct Log {
    store: Arc<dyn Store>,
    clock: Clock,
    /// Waiting for the next flush.
    queue: commit::Queue,
    /// Whoever holds it leads a flush: taken before `committer`, and kept while the sync is under way.
    flushing: Mutex<()>,
    /// Whoever holds it writes.
    committer: Mutex<commit::Committer>,
    visible: RwLock<Visible>,
    /// Leaves already read from the store, by origin.
    merkle: Mutex<merkle::Cache>,
    /// Parts of large entries that came in without their last one.
    partial: Mutex<commit::Partial>,
    pruning: Mutex<()>,
    grown: watch::Sender<u64>,
    flush: std::sync::atomic::AtomicU64,
    /// The durable high-water mark of the clock.
    mark: std::sync::atomic::AtomicU64,
    /// Before the first stamp of the flush under way: the clock's last; 0 when none is.
    on_the_way: std::sync::atomic::AtomicU64,
    poison: OnceLock<String>,
}

impl Log {
    pub fn open(options: LogOptions, time: Arc<dyn TimeSource>) -> Result<Arc<Log>, OpenError> {
        let store = crate::store::sled::SledStore::open(&options.dir, options.cache_bytes)?;
        Log::with_store(Arc::new(store), options, time)
    }
    /// Over any store (the simulated twin in tests).
    pub fn with_store(store: Arc<dyn Store>, options: LogOptions, time: Arc<dyn TimeSource>) -> Result<Arc<Log>, OpenError> {
        open::open(store, &options, time).map(Arc::new)
    }
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
    /// Appends to one of this node's own sequences, all drafts in this order, and returns when they are durable. Blocking;
    /// many threads may call at once and share one segment and one fsync (whoever comes first leads; the queue is bounded).
    pub fn append(&self, origin: Origin, drafts: Vec<Draft>) -> Result<Vec<Placed>, AppendError> {
        self.submit_append(origin, drafts)
    }
    /// Takes segments of other nodes' sequences as they travel; verifies all, skips what is held, durable on return.
    /// Returns the new entries, decoded, in order. All or nothing is taken. The parts of a large entry may come in several
    /// calls. The clock follows what came in, as far as it is not too early (rule 20): whoever applies entries holds those.
    pub fn ingest(&self, segments: &[Bytes]) -> Result<Vec<Arc<Entry>>, IngestError> {
        self.submit_ingest(segments)
    }
    /// One piece of group commit work: pending records, and entries that were decided elsewhere. Their place and stamp are given; of
    /// each origin they are dense and in place order behind what is held (what is held already is skipped; a gap refuses all). A void
    /// gets the stamp of the entry before it, here, so that it is the same on every node. Entries stand before records: whatever
    /// prefix a crash leaves, a record that was to explain an entry is not gone before the entry is there.
    ///
    /// With `sync` all of it is durable on return (and shares the sync of everything that waits). Without, it is written and visible on
    /// return and durable with the next flush; alone it costs no sync. After a crash a prefix of what was written that way is there.
    /// Returns the new entries, and the number of the flush that makes this durable (see [`Log::flush_number`]).
    pub fn settle(&self, ops: Vec<PendingOp>, learned: Vec<Entry>, sync: bool) -> Result<(Vec<Arc<Entry>>, u64), AppendError> {
        self.submit_settle(ops, learned, sync)
    }
    /// The pending records whose keys begin with `prefix`, by key. Waits for a flush under way.
    pub fn pending(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, ReadError> {
        self.read_pending(prefix)
    }
    /// Everything held here: durable, or decided elsewhere and written (durable with the next flush).
    pub fn held(&self) -> VersionVector {
        self.visible.read().held.clone()
    }
    /// The first kept seq - 1 by origin (what was pruned).
    pub fn pruned(&self) -> VersionVector {
        self.visible.read().pruned.clone()
    }
    /// Entries of one origin, from `from` (inclusive) on, at most about `max_bytes` of them; empty at the end. Recent entries come from memory.
    pub fn read(&self, origin: Origin, from: u64, max_bytes: usize) -> Result<Vec<Arc<Entry>>, ReadError> {
        self.read_entries(origin, from, max_bytes)
    }
    /// The same as segments for the wire (whole segments, as stored; the first may begin below `from`; all parts of a large entry together).
    pub fn segments(&self, origin: Origin, from: u64, max_bytes: usize) -> Result<Vec<Bytes>, ReadError> {
        self.read_segments(origin, from, max_bytes)
    }
    /// All entries in (`after`, `upto`] by place, over all origins, merged in stamp order; a bounded-memory iterator.
    pub fn scan(self: &Arc<Self>, after: &VersionVector, upto: &VersionVector) -> Scan {
        Scan::by_place(self.clone(), after, upto)
    }
    /// Entries with `from` <= stamp < `to`, in stamp order.
    pub fn scan_stamps(self: &Arc<Self>, from: Stamp, to: Option<Stamp>) -> Scan {
        Scan::by_stamp(self.clone(), from, to)
    }
    /// Wakes whenever `held` grew by what was appended or ingested (of what is settled, who settles it knows); the value is a counter. Works in async and (by `blocking_*`) in plain threads.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
    /// Drops whole segments at or below `below`.
    pub fn prune(&self, below: &VersionVector) -> Result<(), AppendError> {
        self.prune_segments(below)
    }
    /// Small durable values of the node (identity, members as last known …); durable on return, at most 7 KiB.
    pub fn meta(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.store.get(crate::store::Tree::Meta, &keys::user(key));
        found.ok().flatten().map(|v| v.to_vec())
    }
    pub fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        self.submit_meta(keys::user(key), value.to_vec())
    }
    /// PROTOCOL rule 2: the number of the last durable flush.
    pub fn flush_number(&self) -> u64 {
        self.flush.load(std::sync::atomic::Ordering::Acquire)
    }
    /// No entry that was numbered and is not shown yet has a stamp at or below it; `None`: there is no such entry.
    pub fn on_the_way(&self) -> Option<Hlc> {
        Some(Hlc(self.on_the_way.load(std::sync::atomic::Ordering::Acquire))).filter(|hlc| hlc.0 > 0)
    }
    /// No stamp above it has been given out durably: what is at or below is never issued again, even after a crash.
    pub fn high_water(&self) -> Hlc {
        Hlc(self.mark.load(std::sync::atomic::Ordering::Acquire))
    }
    /// PROTOCOL rule 2, for the node whose origin it is: the flush its last entry held here rests on (0: none held).
    pub fn flush_of(&self, origin: Origin) -> u64 {
        self.committer.lock().flush_of(origin)
    }
    /// Why nothing is acknowledged any more, if so.
    pub fn poisoned(&self) -> Option<String> {
        self.poison.get().cloned()
    }
    /// The hashes over all entries of an origin, as far as durable.
    pub fn merkle(&self, origin: Origin) -> Result<merkle::Tree, ReadError> {
        self.merkle_tree(origin)
    }
    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.store.disk_bytes()
    }
}
