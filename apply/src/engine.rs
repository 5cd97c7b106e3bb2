//! All of `apply` behind one door: open (and rebuild what cannot be trusted), read, write, apply, follow the catalog.
//!
//! Promises: laws 1, 2, 3, 5, 6 of the design for this node. Must not know: SQL text beyond what callers run in their jobs.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use starling_log::{Entry, Log, Origin, Placed, VersionVector};

use crate::catalog::Catalog;
use crate::lane::{Interactive, Job, Kept};
use crate::readers::Reader;
use crate::schema::SchemaChange;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A lane's dry runs (foreign keys and triggers on).
    Try,
    /// A lane's applying (both off).
    Apply,
    /// A reader (read-only).
    Read,
}

/// Called once for every connection: registers the caller's SQL functions and virtual tables.
pub type OnConnect = Arc<dyn Fn(&Connection, Role) -> rusqlite::Result<()> + Send + Sync>;

pub struct EngineOptions {
    /// `<data-dir>/db`.
    pub dir: PathBuf,
    /// The origin that this node's own changes at `ONE` go to; set (once) when the node is admitted.
    pub origin: Option<Origin>,
    pub on_connect: OnConnect,
    /// `binlog_row_image`: full before images, or only the key and what changed.
    pub full_row_image: bool,
    /// Progress of a rebuild or replay, for people: (entries done, entries in all).
    pub on_progress: Option<Arc<dyn Fn(u64, u64) + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open {path}: {reason}")]
    Io { path: PathBuf, reason: String },
    #[error("this sqlite lacks {0}: build with the repository's .cargo/config.toml")]
    Build(String),
    #[error(transparent)]
    Log(#[from] starling_log::log::ReadError),
}

/// Why a write did not happen. `Job` carries the caller's own error through unchanged.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The job failed; its effects are rolled back.
    #[error("{0}")]
    Job(E),
    /// The log did not take it; rolled back.
    #[error(transparent)]
    Append(#[from] starling_log::AppendError),
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Waited longer than asked for the lane (an open transaction has it): MySQL's 1205.
    #[error("lock wait timeout")]
    Timeout,
    /// No such database (dropped meanwhile).
    #[error("no such database")]
    NoDatabase,
    /// It is durable in the log, but the local apply failed: the outcome is committed, the lane re-applies by itself.
    #[error("committed, but applying it here failed: {0}")]
    Unapplied(String),
    #[error("the node is shutting down")]
    Closed,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Read(#[from] starling_log::log::ReadError),
    #[error("{0}")]
    Other(String),
}

/// What a durable, applied write leaves behind for its caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Committed {
    /// `None`: nothing changed, nothing was logged.
    pub placed: Option<Placed>,
}

pub struct Engine {
    // lane helper: fields
}

impl Engine {
    /// Opens every database, replays what the log holds beyond each file's applied vector, rebuilds what is damaged or ahead.
    /// Ready when it returns. Blocking.
    pub fn open(options: EngineOptions, log: Arc<Log>) -> Result<Arc<Engine>, OpenError> {
        let _ = (options, log);
        todo!("lane helper")
    }
    pub fn log(&self) -> &Arc<Log> {
        todo!("lane helper")
    }
    pub fn catalog(&self) -> Arc<Catalog> {
        todo!("lane helper")
    }
    /// Everything visible to readers.
    pub fn applied(&self) -> Arc<VersionVector> {
        todo!("lane helper")
    }
    /// Wakes whenever `applied` grew.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        todo!("lane helper")
    }
    /// The origin of this node's own writes; `None` before admission (writes are refused with `AppendError::Clock`-like errors by the caller).
    pub fn origin(&self) -> Option<Origin> {
        todo!("lane helper")
    }
    pub fn set_origin(&self, origin: Origin) {
        let _ = origin;
        todo!("lane helper")
    }

    /// A pooled read-only connection. `dbs`: lower-case names of the databases the statement reads (attached when it returns,
    /// under their names as schema names). Outside a transaction: each statement sees the newest state (one snapshot over all
    /// `dbs` if there is more than one).
    pub fn reader(&self, dbs: &[&str]) -> Result<Reader, ApplyError> {
        let _ = dbs;
        todo!("lane helper")
    }
    /// A pinned snapshot of ALL databases (REPEATABLE READ); lives until dropped.
    pub fn snapshot(&self) -> Result<Reader, ApplyError> {
        todo!("lane helper")
    }

    /// Runs `job` on the lane of `db` (lower-case name) as one transaction: dry run, capture, log (shared fsync), keep, commit.
    /// Resolves when it is durable AND visible. A job must be short; it may be run again if the group fell back
    /// (so it is `FnMut`). Dropping the future does not cancel the job.
    pub fn write<T: Send + 'static, E: Send + 'static>(
        &self,
        db: &str,
        wait_ms: u64,
        job: Job<T, E>,
    ) -> impl Future<Output = Result<(T, Committed), WriteError<E>>> + Send + use<T, E> {
        let _ = (db, wait_ms, job);
        std::future::ready(todo!("lane helper"))
    }
    /// An explicit transaction that writes: takes the lanes of `dbs` (lower-case names; taken in name order) and holds them
    /// until commit or rollback (dropped: rolled back). Its connection has all databases attached under their names.
    pub fn begin(&self, dbs: &[String], wait_ms: u64) -> impl Future<Output = Result<Interactive, WriteError<()>>> + Send + use<> {
        let _ = (dbs, wait_ms);
        std::future::ready(todo!("lane helper"))
    }
    /// Logs and applies one schema change (exclusive on its database; waits for open transactions there at most `wait_ms`).
    /// `check` runs once exclusive, on the newest catalog: returns the change to log, or the caller's error. Blocking.
    pub fn alter<E: Send + 'static>(
        &self,
        db: Option<&str>,
        wait_ms: u64,
        check: Box<dyn FnOnce(&Catalog) -> Result<Option<SchemaChange>, E> + '_>,
    ) -> Result<Committed, WriteError<E>> {
        let _ = (db, wait_ms, check);
        todo!("lane helper")
    }
    /// Logs one control change in this node's own sequence. Blocking.
    pub fn control<E>(&self, kind: &str, payload: Vec<u8>) -> Result<Committed, WriteError<E>> {
        let _ = (kind, payload);
        todo!("lane helper")
    }
    /// Control entries applied so far, in stamp order, for `cluster` and accounts to fold; and a channel for those to come.
    pub fn controls(&self) -> (Vec<Arc<Entry>>, crossbeam::channel::Receiver<Arc<Entry>>) {
        todo!("lane helper")
    }
    /// Applies entries that the log already holds durably (from `Log::ingest`). Those whose causes are missing, or that are too early, are
    /// held and applied by themselves later. Blocking; batches are atomic across databases.
    pub fn apply(&self, entries: Vec<Arc<Entry>>) -> Result<(), ApplyError> {
        let _ = entries;
        todo!("lane helper")
    }
    /// How many entries are held, and why the first one is (for the status).
    pub fn held(&self) -> (usize, Option<String>) {
        todo!("lane helper")
    }
    /// Digests of all tables at one position (pinned).
    pub fn digests(&self) -> Result<crate::digest::Report, ApplyError> {
        todo!("lane helper")
    }
    /// Checkpoints all files, stops the lanes. Blocking; idempotent.
    pub fn close(&self) {
        todo!("lane helper")
    }
    /// Kept to name the type in signatures above.
    #[doc(hidden)]
    pub fn _kept(_: Kept) {}
}
