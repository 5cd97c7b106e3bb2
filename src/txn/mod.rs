//! What a session's transaction holds: nothing, a pinned snapshot, or its lanes.
//!
//! Promises: outside a transaction every statement is one of its own; inside, reads see one snapshot (REPEATABLE READ) until the
//! first write, which takes the lanes: from then on the transaction sees its own writes and nobody else writes beside it. Dropped
//! means rolled back. Must not know: SQL text, MySQL's errors.
//!
//! Interim rule until transactions are overlays: the first write takes the lanes of all databases (in name order, so that no two
//! transactions wait for each other), and holds them until the end.

pub mod locks;
pub mod tables;

use std::sync::Arc;

use starling_apply::Engine;
use starling_apply::engine::{ApplyError, Committed, WriteError};
use starling_apply::lane::{Interactive, Job};
use starling_apply::readers::Reader;

/// How a transaction was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub read_only: bool,
    /// Reads see the newest state, statement by statement (READ COMMITTED).
    pub newest: bool,
    /// Reads lock what they read (SERIALIZABLE): the first one takes the lanes.
    pub serializable: bool,
}

struct Open {
    options: Options,
    snapshot: Option<Reader>,
    lanes: Option<Interactive>,
    /// Savepoints made before the first write: nothing to roll back to but their names.
    early: Vec<String>,
}

pub struct Transaction {
    engine: Arc<Engine>,
    open: Option<Open>,
}

/// Where a read runs.
pub enum Source<'a> {
    /// A reader of its own, back to the pool afterwards.
    Pooled(Reader),
    /// The transaction's snapshot.
    Pinned(&'a Reader),
    /// The transaction's own connection: it wrote.
    Own(&'a mut Interactive),
}

impl Transaction {
    pub fn new(engine: Arc<Engine>) -> Transaction {
        Transaction { engine, open: None }
    }
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
    /// How the open one was opened.
    pub fn options(&self) -> Option<Options> {
        self.open.as_ref().map(|o| o.options)
    }
    pub fn is_read_only(&self) -> bool {
        self.open.as_ref().is_some_and(|o| o.options.read_only)
    }
    /// Is a read to take the lanes before it runs?
    pub fn locks_reads(&self) -> bool {
        self.open.as_ref().is_some_and(|o| o.options.serializable && o.lanes.is_none())
    }
    pub fn has_written(&self) -> bool {
        self.open.as_ref().is_some_and(|o| o.lanes.is_some())
    }
    /// Opens one; an open one must have been ended before.
    pub fn begin(&mut self, options: Options) {
        self.open = Some(Open {
            options,
            snapshot: None,
            lanes: None,
            early: Vec::new(),
        });
    }
    /// Pins the snapshot now (START TRANSACTION WITH CONSISTENT SNAPSHOT).
    pub fn pin(&mut self) -> Result<(), ApplyError> {
        if let Some(open) = &mut self.open
            && open.snapshot.is_none()
        {
            open.snapshot = Some(self.engine.snapshot()?);
        }
        Ok(())
    }
    /// Where a read of `dbs` runs.
    pub fn source(&mut self, dbs: &[&str]) -> Result<Source<'_>, ApplyError> {
        let Some(open) = &mut self.open else {
            return Ok(Source::Pooled(self.engine.reader(dbs)?));
        };
        if let Some(lanes) = &mut open.lanes {
            return Ok(Source::Own(lanes));
        }
        if open.options.newest {
            return Ok(Source::Pooled(self.engine.reader(dbs)?));
        }
        let reader = match open.snapshot.take() {
            Some(reader) => reader,
            None => self.engine.snapshot()?,
        };
        Ok(Source::Pinned(open.snapshot.insert(reader)))
    }
    /// Takes the lanes, so that what is read from now on cannot change (FOR UPDATE) and writes may follow.
    pub async fn lock(&mut self, wait_ms: u64) -> Result<(), WriteError<()>> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.lanes.is_none() {
            let dbs: Vec<String> = self.engine.catalog().databases.keys().cloned().collect();
            let mut lanes = self.engine.begin(&dbs, wait_ms).await?;
            for name in open.early.drain(..) {
                lanes.savepoint(&name).await?;
            }
            // From here on the transaction reads on its own connection.
            open.snapshot = None;
            open.lanes = Some(lanes);
        }
        Ok(())
    }
    /// Runs a writing job: as a transaction of its own, or inside the open one (where an error undoes the job alone).
    pub async fn write<T, E>(&mut self, db: &str, wait_ms: u64, job: Job<T, E>) -> Result<T, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        if self.open.is_none() {
            return self.engine.write(db, wait_ms, job).await.map(|(value, _)| value);
        }
        self.lock(wait_ms).await.map_err(retype)?;
        match self.open.as_mut().and_then(|o| o.lanes.as_mut()) {
            Some(lanes) => lanes.run(job).await,
            None => Err(WriteError::Closed),
        }
    }
    /// Commits; nothing open is fine.
    pub async fn commit(&mut self) -> Result<Committed, WriteError<()>> {
        match self.open.take().and_then(|o| o.lanes) {
            Some(lanes) => lanes.commit().await,
            None => Ok(Committed::default()),
        }
    }
    pub async fn rollback(&mut self) {
        if let Some(lanes) = self.open.take().and_then(|o| o.lanes) {
            lanes.rollback().await;
        }
    }
    /// SAVEPOINT: an older one of the same name is forgotten.
    pub async fn savepoint(&mut self, name: &str) -> Result<(), WriteError<()>> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match &mut open.lanes {
            Some(lanes) => lanes.savepoint(name).await,
            None => {
                open.early.retain(|n| !n.eq_ignore_ascii_case(name));
                open.early.push(name.to_string());
                Ok(())
            }
        }
    }
    /// `false`: there is no such savepoint.
    pub async fn rollback_to(&mut self, name: &str) -> Result<bool, WriteError<()>> {
        let Some(open) = &mut self.open else { return Ok(false) };
        match &mut open.lanes {
            Some(lanes) => lanes.rollback_to(name).await,
            None => Ok(truncate(&mut open.early, name, 1)),
        }
    }
    /// `false`: there is no such savepoint.
    pub async fn release(&mut self, name: &str) -> Result<bool, WriteError<()>> {
        let Some(open) = &mut self.open else { return Ok(false) };
        match &mut open.lanes {
            Some(lanes) => lanes.release(name).await,
            None => Ok(truncate(&mut open.early, name, 0)),
        }
    }
}

/// Forgets what is behind `name`, and `name` itself if `keep` is 0.
fn truncate(names: &mut Vec<String>, name: &str, keep: usize) -> bool {
    let found = names.iter().position(|n| n.eq_ignore_ascii_case(name));
    if let Some(at) = found {
        names.truncate(at + keep);
    }
    found.is_some()
}

/// The same failure under another job's error type (no job ran).
pub fn retype<E>(error: WriteError<()>) -> WriteError<E> {
    match error {
        WriteError::Job(()) => WriteError::Closed,
        WriteError::Append(e) => WriteError::Append(e),
        WriteError::Sqlite(e) => WriteError::Sqlite(e),
        WriteError::Timeout => WriteError::Timeout,
        WriteError::NoDatabase => WriteError::NoDatabase,
        WriteError::Unapplied(why) => WriteError::Unapplied(why),
        WriteError::Changed(table) => WriteError::Changed(table),
        WriteError::Closed => WriteError::Closed,
    }
}
