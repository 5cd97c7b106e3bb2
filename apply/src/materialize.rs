//! The fold: log entries into the rows of one database file, last writer wins.
//!
//! Promises: after any sequence of `apply`/`note` calls closed by `finish`, the tables equal the fold of those entries in stamp
//! order (law 2; the merge rule stands in `apply/README.md`), whatever order they came in. Nothing is kept outside the caller's
//! open transaction: progress and rows commit together (law 5). After a rollback the caller says `rolled_back`.
//! Must not know: lanes, the network, SQL of clients. Foreign keys and triggers are off on the connection given, and
//! `ignore_check_constraints` on (their effects are in the entries already).

use std::sync::Arc;

use rusqlite::Connection;
use starling_log::{Entry, Place, VersionVector};

use crate::catalog::Database;

/// Where a late entry's neighbours are fetched from: the log.
pub trait EntrySource {
    /// The entry at a place that has been applied here before (so it is held).
    fn entry(&self, place: Place) -> Result<Arc<Entry>, FoldError>;
    /// All entries covered by `upto`, in stamp order.
    fn scan<'a>(&'a self, upto: &VersionVector) -> Box<dyn Iterator<Item = Result<Arc<Entry>, FoldError>> + 'a>;
}

#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Read(#[from] starling_log::log::ReadError),
    /// `note` of an entry that is older than something already in the file: roll back and `apply` it instead.
    #[error("an entry whose effects were kept is older than what is in the file")]
    NotNewest,
    /// An entry that cannot be understood, or a file that contradicts the log: the file must be rebuilt.
    #[error("{0}")]
    Broken(String),
}

/// What one entry did to this database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Row changes of this database in the entry.
    pub rows: u32,
    /// It came behind a later stamp.
    pub late: bool,
    /// The database's definition changed: `load_database` anew.
    pub schema_changed: bool,
    /// The database was dropped: the caller removes the file after its commit.
    pub dropped: bool,
}

/// The fold's state for one database file on one connection.
pub struct Materializer {
    db: u64,
    schema: String,
}

impl Materializer {
    /// `schema`: the name under which the file is attached (the database's lower-case name).
    pub fn new(db: u64, schema: &str) -> Materializer {
        Materializer {
            db,
            schema: schema.to_owned(),
        }
    }
    pub fn db(&self) -> u64 {
        self.db
    }
    pub fn schema(&self) -> &str {
        &self.schema
    }
    /// Creates the internal tables where they are missing. Call once per connection, inside a transaction.
    pub fn init(&mut self, conn: &Connection) -> Result<(), FoldError> {
        let _ = conn;
        todo!("fold helper")
    }
    /// Folds the entry's part for this database in. Its effects are complete only after `finish`. The entry must be in `log`.
    pub fn apply(&mut self, conn: &Connection, entry: &Entry, log: &dyn EntrySource) -> Result<Outcome, FoldError> {
        let _ = (conn, entry, log);
        todo!("fold helper")
    }
    /// The entry's effects are in the tables already (a dry run that was kept): history, stamps and counters only.
    pub fn note(&mut self, conn: &Connection, entry: &Entry) -> Result<(), FoldError> {
        let _ = (conn, entry);
        todo!("fold helper")
    }
    /// Before every COMMIT that applied or noted something: settles what was put off, and stores `applied` with the rows.
    pub fn finish(&mut self, conn: &Connection, applied: &VersionVector, log: &dyn EntrySource) -> Result<(), FoldError> {
        let _ = (conn, applied, log);
        todo!("fold helper")
    }
    /// The caller's transaction (or a savepoint around `apply`/`note`) was rolled back: forget what was cached.
    pub fn rolled_back(&mut self) {}
    /// The next AUTO_INCREMENT number of a table (1 for one without rows).
    pub fn auto_counter(&mut self, conn: &Connection, table: u64) -> Result<u64, FoldError> {
        let _ = (conn, table);
        todo!("fold helper")
    }
    /// Raises a table's AUTO_INCREMENT high-water (numbers handed out and not used count as well); kept with `finish`.
    pub fn raise_auto_counter(&mut self, table: u64, next: u64) {
        let _ = (table, next);
    }
}

/// How far the file got; empty for a file without our tables.
pub fn read_applied(conn: &Connection, schema: &str) -> Result<VersionVector, FoldError> {
    let _ = (conn, schema);
    todo!("fold helper")
}

/// The database's definition with all its tables, as the file holds it; `None` for a file that holds none yet.
pub fn load_database(conn: &Connection, schema: &str) -> Result<Option<Arc<Database>>, FoldError> {
    let _ = (conn, schema);
    todo!("fold helper")
}
