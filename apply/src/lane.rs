//! The lane: the one writer of a database, a thread with two connections used in turn (*try* and *apply*).
//!
//! Promises: statements of a group see each other's kept effects; what is acknowledged is in the log (law 3) and in the file
//! (law 5). See `engine` for the door.

use rusqlite::Connection;
use starling_log::Changes;

use crate::catalog::Catalog;
use crate::engine::{Committed, WriteError};

/// A job runs on the lane's thread inside a savepoint.
pub type Job<T, E> = Box<dyn FnMut(&mut Try<'_>) -> Result<T, E> + Send>;

/// What a job sees: the try connection (databases attached under their names), the capture so far, and the counters.
pub struct Try<'a> {
    pub connection: &'a Connection,
    pub catalog: &'a Catalog,
    #[allow(dead_code)]
    inner: &'a mut (),
}

/// What the statements of this job did so far, counted as MySQL counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub inserted: u64,
    /// Rows that an UPDATE really changed.
    pub updated: u64,
    /// Rows an UPDATE touched, changed or not.
    pub matched: u64,
    pub deleted: u64,
}

impl Try<'_> {
    /// Counts of row changes captured since `mark` (depth 0 only: not by cascades and triggers).
    pub fn counts_since(&self, mark: Mark) -> Counts {
        let _ = mark;
        todo!("lane helper")
    }
    /// Position in the capture, for `counts_since` and `rollback_to`.
    pub fn mark(&mut self) -> Mark {
        todo!("lane helper")
    }
    /// The next AUTO_INCREMENT number of a table (by id), and the counter moves on.
    pub fn next_auto(&mut self, table: u64) -> i64 {
        let _ = table;
        todo!("lane helper")
    }
    /// An explicit number pushes the counter.
    pub fn push_auto(&mut self, table: u64, value: i64) {
        let _ = (table, value);
        todo!("lane helper")
    }
    /// The next hidden key of a table without a primary key.
    pub fn next_hidden(&mut self, table: u64) -> i64 {
        let _ = table;
        todo!("lane helper")
    }
    /// Runs `f` inside a savepoint; on `Err` its SQLite effects and its captured changes are undone together.
    pub fn savepoint<T, E>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let _ = f;
        todo!("lane helper")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub usize);

/// Changes of a job that was kept.
pub struct Kept {
    pub changes: Changes,
}

/// An explicit transaction holding its lanes.
pub struct Interactive {
    // lane helper: fields
}

impl Interactive {
    /// Runs one statement's job inside the transaction; on `Err` the statement alone is rolled back.
    pub fn run<T: Send + 'static, E: Send + 'static>(
        &mut self,
        job: Job<T, E>,
    ) -> impl Future<Output = Result<T, WriteError<E>>> + Send + use<T, E> {
        let _ = job;
        std::future::ready(todo!("lane helper"))
    }
    /// SAVEPOINT name / ROLLBACK TO name / RELEASE name.
    pub fn savepoint(&mut self, name: &str) -> impl Future<Output = Result<(), WriteError<()>>> + Send + use<> {
        let _ = name;
        std::future::ready(todo!("lane helper"))
    }
    pub fn rollback_to(&mut self, name: &str) -> impl Future<Output = Result<bool, WriteError<()>>> + Send + use<> {
        let _ = name;
        std::future::ready(todo!("lane helper"))
    }
    pub fn release(&mut self, name: &str) -> impl Future<Output = Result<bool, WriteError<()>>> + Send + use<> {
        let _ = name;
        std::future::ready(todo!("lane helper"))
    }
    pub fn commit(self) -> impl Future<Output = Result<Committed, WriteError<()>>> + Send + use<> {
        std::future::ready(todo!("lane helper"))
    }
    pub fn rollback(self) -> impl Future<Output = ()> + Send + use<> {
        std::future::ready(todo!("lane helper"))
    }
}
