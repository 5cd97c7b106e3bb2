//! The lane: the one writer of a database, a thread with two connections used in turn (*try* and *apply*). Short statements of open
//! transactions run in their session's thread when it leaves the floor to them.
//!
//! Promises: statements of a group see each other's kept effects; what is acknowledged is in the log (law 3) and in the file
//! (law 5). See `engine` for the door.
//!
//! Reading order: this page (what a job sees) → `work` (jobs without their types) → `desk` (the try connection: run captured,
//! keep, undo, settle) → `claims` (what a job locks) → `group` (autocommit jobs and commits share an fsync) → `trial` and `replay` (a
//! statement of an open transaction) → `floor` (who writes now: the thread, or a session with a short trial) → `runner` (the thread). The
//! apply connection is `engine::file`'s: whoever has the lane parked may use it.

pub(crate) mod autos;
pub(crate) mod claims;
pub(crate) mod desk;
pub(crate) mod floor;
mod group;
pub(crate) mod replay;
pub(crate) mod runner;
pub(crate) mod trial;
pub(crate) mod work;

use rusqlite::Connection;
use starling_log::Row;

use crate::capture::Position;
use crate::catalog::Catalog;
use crate::claim::{Claim, ClaimKey, Mode};
use crate::materialize::FoldError;
use crate::numbers::Rule;
use desk::Bench;

pub use autos::{NoNumber, Numbering, Short};

/// A job runs on the lane's thread inside a savepoint.
pub type Job<T, E> = Box<dyn FnMut(&mut Try<'_>) -> Result<T, E> + Send>;

/// What a job sees: the try connection (databases attached under their names), the capture so far, and the counters.
pub struct Try<'a> {
    pub connection: &'a Connection,
    pub catalog: &'a Catalog,
    pub(crate) bench: &'a mut Bench,
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

/// A position in the capture of the running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub usize);

impl Try<'_> {
    /// Counts of row changes captured since `mark` (depth 0 only: not by cascades and triggers).
    pub fn counts_since(&self, mark: Mark) -> Counts {
        let now = self.bench.capture.position().counts;
        let then = self.bench.marks.get(mark.0).map_or_else(Counts::default, |p| p.counts);
        Counts {
            inserted: now.inserted.saturating_sub(then.inserted),
            updated: now.updated.saturating_sub(then.updated),
            matched: now.matched.saturating_sub(then.matched),
            deleted: now.deleted.saturating_sub(then.deleted),
        }
    }
    /// Position in the capture, for `counts_since`.
    pub fn mark(&mut self) -> Mark {
        self.bench.marks.push(self.bench.capture.position());
        Mark(self.bench.marks.len() - 1)
    }
    /// The next AUTO_INCREMENT number of a table (by id), and the counter moves on.
    pub fn next_auto(&mut self, table: u64, rule: Rule) -> Result<i64, NoNumber> {
        self.bench.next_auto(self.connection, self.catalog, table, rule)
    }
    /// Has the next `count` numbers of a table come in a row.
    pub fn reserve_auto(&mut self, table: u64, count: i64, rule: Rule) -> Result<(), NoNumber> {
        self.bench.reserve_auto(self.connection, self.catalog, table, count, rule)
    }
    /// The numbers of which this job had too few (it failed for that): it is to be run again once they are granted.
    pub fn short(&self) -> Option<Short> {
        self.bench.short
    }
    /// An explicit number pushes the counter.
    pub fn push_auto(&mut self, table: u64, value: i64) {
        self.bench.push_auto(self.connection, self.catalog, table, value);
    }
    /// The next hidden key of a table without a primary key.
    pub fn next_hidden(&mut self, table: u64) -> i64 {
        self.bench.next_hidden(self.connection, self.catalog, table)
    }
    /// To be called before a statement reads databases that the job does not hold (its own, and those that its overlay changed):
    /// they are pinned at one common snapshot, as new as this call.
    pub fn reads(&mut self, dbs: &[&str]) -> rusqlite::Result<()> {
        self.bench.pin(self.connection, dbs)
    }
    /// What the changes of this job so far lock, and on which versions they are based (an open transaction's earlier changes
    /// are not in it). Each key once.
    pub fn claims(&mut self) -> Result<Vec<Claim>, FoldError> {
        self.bench.claims(self.connection, self.catalog)
    }
    /// The same for whoever needs no versions, which cost lookups: based on nothing.
    pub fn unversioned_claims(&mut self) -> Result<Vec<Claim>, FoldError> {
        let keys = self.bench.claim_keys(self.connection)?;
        let base = crate::claim::Version::default();
        Ok(keys.into_iter().map(|(key, mode)| Claim { key, mode, base }).collect())
    }
    /// What [`Try::claims`] locks, for whoever does not ask on which versions it is based.
    pub fn claim_keys(&mut self) -> Result<Vec<(ClaimKey, Mode)>, FoldError> {
        self.bench.claim_keys(self.connection)
    }
    /// Claims on rows that a statement read to lock them. `keys`: the values of the table's key columns in the key's order
    /// (the hidden key of a table without one).
    pub fn claim_rows(&mut self, table: u64, mode: Mode, keys: &[Row]) -> Result<Vec<Claim>, FoldError> {
        self.bench.claim_rows(self.connection, self.catalog, table, mode, keys)
    }
    /// A claim on a whole table.
    pub fn claim_table(&mut self, table: u64, mode: Mode) -> Result<Claim, FoldError> {
        self.bench.claim_table(self.connection, self.catalog, table, mode)
    }
    /// `foreign_key_checks` of the session; on at the start of every job.
    pub fn set_foreign_keys(&mut self, on: bool) -> rusqlite::Result<()> {
        self.bench.set_foreign_keys(self.connection, on)
    }
    /// Runs `f` inside a savepoint; on `Err` its SQLite effects and its captured changes are undone together.
    pub fn savepoint<T, E>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let position: Position = self.bench.capture.position();
        if let Err(error) = desk::savepoint(self.connection) {
            self.bench.spoil(&error);
            return f(self);
        }
        let result = f(self);
        let undo = result.is_err();
        if undo {
            self.bench.capture.truncate(position);
        }
        if let Err(error) = desk::end_savepoint(self.connection, undo) {
            self.bench.spoil(&error);
        }
        result
    }
}
