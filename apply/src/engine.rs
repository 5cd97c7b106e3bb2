//! All of `apply` behind one door: open (and rebuild what cannot be trusted), read, write, apply, follow the catalog.
//!
//! Promises: laws 1, 2, 3, 5, 6 of the design for this node. Must not know: SQL text beyond what callers run in their jobs.

//!
//! Reading order: `files` (files and connections) → `progress` and `tables` (how far) → `core` (what the threads share) → `file` (a database
//! file and the fold on it) → `system` (the list of databases, control entries) → `trust` and `recovery` (open) → `intake` (other nodes'
//! entries) → `ddl` (schema and control entries) → `plan` (schema changes for others to decide on) → `transact` (trials and overlays) →
//! `numbers` (AUTO_INCREMENT between nodes) → `checkpoint` (upkeep).

mod checkpoint;
pub(crate) mod core;
mod ddl;
pub(crate) mod file;
pub(crate) mod files;
mod intake;
mod numbers;
mod plan;
mod progress;
mod recovery;
mod system;
mod tables;
mod transact;
mod trust;
pub mod votes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use rusqlite::Connection;
use starling_log::{Entry, Log, Origin, Placed, Stamp, VersionVector};
use tokio::sync::oneshot;

pub use ddl::{Check, Wish};
pub use numbers::Draw;
pub use plan::{Planned, Since};
pub use transact::Size;

use self::core::{Core, Parts};
use self::files::{Files, WalWatch};
use crate::catalog::Catalog;
use crate::digest;
use crate::lane::Job;
use crate::lane::runner::Command;
use crate::lane::work::{Failure, Task};
use crate::materialize::FoldError;
use crate::readers::Reader;

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

/// (entries done, entries in all)
pub type OnProgress = Arc<dyn Fn(u64, u64) + Send + Sync>;

pub struct EngineOptions {
    /// `<data-dir>/db`.
    pub dir: PathBuf,
    /// The origin that this node's own changes at `ONE` go to; set (once) when the node is admitted.
    pub origin: Option<Origin>,
    pub on_connect: OnConnect,
    /// `binlog_row_image`: full before images, or only the key and what changed.
    pub full_row_image: bool,
    /// Progress of a rebuild or replay, for people: (entries done, entries in all).
    pub on_progress: Option<OnProgress>,
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
    /// Waited longer than asked for the lane: MySQL's 1205.
    #[error("lock wait timeout")]
    Timeout,
    /// No such database (dropped meanwhile).
    #[error("no such database")]
    NoDatabase,
    /// It is durable in the log, but the local apply failed: the outcome is committed, the lane re-applies by itself.
    #[error("committed, but applying it here failed: {0}")]
    Unapplied(String),
    /// A table that the open transaction changed is not what it was (a schema change): MySQL's 1412. The transaction is to be rolled back.
    #[error("table {0} has changed")]
    Changed(String),
    #[error("the node is shutting down")]
    Closed,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Fold(FoldError),
    #[error("no database '{0}'")]
    NoDatabase(String),
    /// The snapshot was too old, and in the way of a checkpoint: its transaction is to be started again.
    #[error("the snapshot was ended because it kept the write-ahead log from being cut")]
    SnapshotEnded,
    /// A table that the open transaction changed is not what it was: MySQL's 1412.
    #[error("table {0} has changed")]
    Changed(String),
    #[error("{0}")]
    Other(String),
}

/// What a durable, applied write leaves behind for its caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Committed {
    /// `None`: nothing changed, nothing was logged.
    pub placed: Option<Placed>,
}

impl From<FoldError> for ApplyError {
    fn from(e: FoldError) -> ApplyError {
        match e {
            FoldError::Sqlite(e) => ApplyError::Sqlite(e),
            e => ApplyError::Fold(e),
        }
    }
}

impl OpenError {
    fn from_fold(path: &Path, e: FoldError) -> OpenError {
        match e {
            FoldError::Read(e) => OpenError::Log(e),
            e => OpenError::io(path, e),
        }
    }
    fn io(path: &Path, reason: impl std::fmt::Display) -> OpenError {
        OpenError::Io {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

pub(crate) fn placed(entry: &Entry) -> Placed {
    Placed {
        place: entry.place,
        stamp: entry.stamp,
    }
}

/// Key of the log's identity among its small values.
const IDENTITY: &str = "log_identity";

struct Helpers {
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

pub struct Engine {
    core: Arc<Core>,
    /// Dropped to end the upkeep and retry threads.
    helpers: Mutex<Option<Helpers>>,
}

impl Engine {
    /// Opens every database, replays what the log holds beyond each file's applied vector, rebuilds what is damaged or ahead.
    /// Ready when it returns. Blocking.
    pub fn open(options: EngineOptions, log: Arc<Log>) -> Result<Arc<Engine>, OpenError> {
        check_build()?;
        std::fs::create_dir_all(&options.dir).map_err(|e| OpenError::io(&options.dir, e))?;
        let identity = log_identity(&log).map_err(|e| OpenError::io(&options.dir, e))?;
        let (kick, kicks) = bounded(1);
        let (held_wake, held_wakes) = bounded(1);
        let files = Files::new(options.dir, options.on_connect, WalWatch::new(kick));
        let found = recovery::recover(&log, &files, identity.clone(), options.on_progress)?;
        let dir = files.dir().to_owned();
        let core = Core::new(Parts {
            log,
            identity,
            files,
            applied: found.applied.clone(),
            system: found.system,
            intake: found.intake,
            catalog: found.catalog,
            full_row_image: options.full_row_image,
            held_wake,
        });
        if let Some(origin) = options.origin {
            core.set_origin(origin);
        }
        for database in found.databases {
            if let Some(file) = database.file {
                core.start_lane(&database.name, database.id, file, database.applied)
                    .map_err(|e| OpenError::io(&dir, e))?;
            }
        }
        // What waits for causes is tried once, and by the retrying thread from then on; a failure stands in the status.
        if let Err(error) = intake::apply(&core, Vec::new()) {
            tracing::error!(%error, "held entries cannot be applied");
        }
        let helpers = start_helpers(&core, kicks, held_wakes).map_err(|e| OpenError::io(&dir, e))?;
        Ok(Arc::new(Engine {
            core,
            helpers: Mutex::new(Some(helpers)),
        }))
    }
    #[cfg(test)]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
    pub fn log(&self) -> &Arc<Log> {
        &self.core.log
    }
    pub fn catalog(&self) -> Arc<Catalog> {
        self.core.catalog()
    }
    /// Everything visible to readers.
    pub fn applied(&self) -> Arc<VersionVector> {
        self.core.progress.applied()
    }
    /// Wakes whenever `applied` grew.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<u64> {
        self.core.progress.watch()
    }
    /// The origin of this node's own writes; `None` before admission (writes are then refused).
    pub fn origin(&self) -> Option<Origin> {
        self.core.origin()
    }
    pub fn set_origin(&self, origin: Origin) {
        self.core.set_origin(origin);
    }

    /// A pooled read-only connection. `dbs`: lower-case names of the databases the statement reads (attached when it returns,
    /// under their names as schema names). Outside a transaction: each statement sees the newest state (one snapshot over all
    /// `dbs` if there is more than one).
    pub fn reader(&self, dbs: &[&str]) -> Result<Reader, ApplyError> {
        Reader::open(&self.core, dbs)
    }
    /// A pinned snapshot of ALL databases (REPEATABLE READ); lives until dropped.
    pub fn snapshot(&self) -> Result<Reader, ApplyError> {
        let mut reader = Reader::unpinned(&self.core)?;
        reader.pin_all(&self.core)?;
        Ok(reader)
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
        let submitted = self.submit(db, wait_ms, job);
        async move {
            match submitted {
                Ok(answer) => answer.await.unwrap_or(Err(WriteError::Closed)),
                Err(failure) => Err(failure.into()),
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn submit<T: Send + 'static, E: Send + 'static>(
        &self,
        db: &str,
        wait_ms: u64,
        job: Job<T, E>,
    ) -> Result<oneshot::Receiver<Result<(T, Committed), WriteError<E>>>, Failure> {
        self.refuse_closed()?;
        let lane = self.core.lane(db).ok_or(Failure::NoDatabase)?;
        let ticket = lane.ticket().ok_or(Failure::Timeout)?;
        let (reply, answer) = oneshot::channel();
        lane.send(Command::Job(Box::new(Task {
            job,
            result: None,
            reply,
            deadline: deadline(wait_ms),
            _ticket: Some(ticket),
        })));
        Ok(answer)
    }

    fn refuse_closed(&self) -> Result<(), Failure> {
        if self.core.closed.load(Ordering::Acquire) {
            return Err(Failure::Closed);
        }
        Ok(())
    }

    /// Logs and applies one schema change (exclusive on its database; waits for open transactions there at most `wait_ms`).
    /// `check` runs once exclusive, on the newest catalog: returns the change to log, or the caller's error. Blocking.
    pub fn alter<E: Send + 'static>(&self, db: Option<&str>, wait_ms: u64, check: Check<'_, E>) -> Result<Committed, WriteError<E>> {
        self.refuse_closed()?;
        ddl::alter(&self.core, db, wait_ms, check)
    }
    /// Checks one schema change for others to decide on; nothing is logged, and nothing is held. `None`: there is nothing to do. Blocking.
    pub fn plan_alter<E: Send + 'static>(&self, db: Option<&str>, check: Check<'_, E>) -> Result<Option<Planned>, WriteError<E>> {
        self.refuse_closed()?;
        plan::plan(&self.core, db, check)
    }
    /// What was done to the definition of a database since it was at `base`; `None`: it is gone. Blocking.
    pub fn schema_since(&self, db: u64, base: Stamp) -> Result<Option<Since>, ApplyError> {
        plan::since(&self.core, db, base)
    }
    /// Logs one control change in this node's own sequence. Blocking.
    pub fn control<E>(&self, kind: &str, payload: Vec<u8>) -> Result<Committed, WriteError<E>> {
        self.refuse_closed()?;
        ddl::control(&self.core, kind, payload)
    }
    /// Control entries applied so far, in stamp order, for `cluster` and accounts to fold; and a channel for those to come.
    pub fn controls(&self) -> (Vec<Arc<Entry>>, Receiver<Arc<Entry>>) {
        self.core.controls()
    }
    /// Applies entries that the log already holds durably (from `Log::ingest`). Those whose causes are missing, or that are too early, are
    /// held and applied by themselves later. Blocking; batches are atomic across databases.
    pub fn apply(&self, entries: Vec<Arc<Entry>>) -> Result<(), ApplyError> {
        intake::apply(&self.core, entries)
    }
    /// How many entries are held, and why the first one is (for the status).
    pub fn held(&self) -> (usize, Option<String>) {
        self.core.held.lock().clone()
    }
    /// Digests of all tables at one position (pinned).
    pub fn digests(&self) -> Result<digest::Report, ApplyError> {
        let (reader, applied, catalog) = self.pin_position()?;
        let mut tables = Vec::new();
        for (name, database) in &catalog.databases {
            for table in database.tables.values() {
                tables.push(digest::table(&reader, name, database, table)?);
            }
        }
        Ok(digest::Report {
            at: applied.iter().collect(),
            tables,
        })
    }

    /// A snapshot of all databases that shows exactly the applied vector, and the catalog of that moment.
    pub fn pin_position(&self) -> Result<(Reader, Arc<VersionVector>, Arc<Catalog>), ApplyError> {
        loop {
            let catalog = self.core.catalog();
            let names: Vec<&str> = catalog.databases.keys().map(String::as_str).collect();
            let mut reader = Reader::unpinned(&self.core)?;
            reader.attach(&self.core.files, &names)?;
            let gate = self.core.gate.exclusive();
            // A lane may have committed an entry before another lane's earlier one: such a moment is not a position.
            if self.core.progress.is_dense() && Arc::ptr_eq(&catalog, &self.core.catalog()) {
                reader.pin_inside(&names)?;
                let applied = self.core.progress.applied();
                drop(gate);
                return Ok((reader, applied, catalog));
            }
            drop(gate);
            std::thread::yield_now();
        }
    }
    /// Checkpoints all files, stops the lanes. Blocking; idempotent.
    pub fn close(&self) {
        if self.core.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let helpers = self.helpers.lock().take();
        // The lanes first: a helper may be waiting for one.
        for lane in self.core.lanes().values() {
            lane.stop(Failure::Closed);
        }
        if let Some(Helpers { stop, threads }) = helpers {
            drop(stop);
            if threads.into_iter().any(|t| t.join().is_err()) {
                tracing::error!("a helping thread panicked");
            }
        }
        // Whoever still changes files from outside of the lanes ends first.
        let _ddl = self.core.ddl.lock();
        let _intake = self.core.intake.lock();
        checkpoint::close_files(&self.core);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// `None`: longer than any clock runs.
pub(crate) fn deadline(wait_ms: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(wait_ms))
}

fn start_helpers(core: &Arc<Core>, kicks: Receiver<()>, held_wakes: Receiver<()>) -> std::io::Result<Helpers> {
    let (stop, stopped) = bounded(0);
    let (weak, ends) = (Arc::downgrade(core), stopped.clone());
    let upkeep = std::thread::Builder::new()
        .name("upkeep".to_owned())
        .spawn(move || checkpoint::run(&weak, &kicks, &ends))?;
    let weak = Arc::downgrade(core);
    let retry = std::thread::Builder::new()
        .name("held".to_owned())
        .spawn(move || intake::retry(&weak, &held_wakes, &stopped))?;
    Ok(Helpers {
        stop,
        threads: vec![upkeep, retry],
    })
}

fn check_build() -> Result<(), OpenError> {
    const NEEDED: &str = "ENABLE_PREUPDATE_HOOK";
    let options = || -> rusqlite::Result<Vec<String>> {
        let conn = Connection::open_in_memory()?;
        let mut statement = conn.prepare("PRAGMA compile_options")?;
        let rows = statement.query_map([], |r| r.get(0))?;
        rows.collect()
    };
    match options() {
        Ok(options) if options.iter().any(|o| o == NEEDED) => Ok(()),
        Ok(_) => Err(OpenError::Build(NEEDED.to_owned())),
        Err(e) => Err(OpenError::Build(e.to_string())),
    }
}

/// The log's identity, made at its first use: files say which log they were made from.
fn log_identity(log: &Log) -> Result<Vec<u8>, starling_log::AppendError> {
    use std::hash::{BuildHasher, RandomState};
    if let Some(identity) = log.meta(IDENTITY) {
        return Ok(identity);
    }
    // The standard library's only source of randomness: keys of its hash maps.
    let random = || RandomState::new().hash_one(IDENTITY).to_le_bytes();
    let identity = [random(), random()].concat();
    log.put_meta(IDENTITY, &identity)?;
    Ok(identity)
}
