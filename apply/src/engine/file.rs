//! A database file as the appliers see it: the apply connection and the fold on it.
//!
//! Promises: rows, history and progress of a batch are committed together (law 5); entries that are durable but could not be
//! applied come before anything newer. Used only by whoever holds the lane. Must not know: where entries come from.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use starling_log::{Entry, Origin, VersionVector};

use super::Role;
use super::files::{self, Attached, Files};
use crate::materialize::{EntrySource, FoldError, Materializer, Outcome};
use crate::physical::quote;

/// How often a file was committed, and its shape changed, since its lane started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub commits: u64,
    pub shapes: u64,
}

impl Epoch {
    /// Tells a connection's fold what happened since `known`.
    pub fn tell(self, known: &mut Epoch, fold: &mut Materializer) {
        if self.shapes != known.shapes {
            fold.rolled_back();
        } else if self.commits != known.commits {
            fold.moved_on();
        }
        *known = self;
    }
}

pub(crate) struct FileSide {
    conn: Attached,
    fold: Materializer,
    epoch: Epoch,
    /// Durable in the log, but applying them failed.
    pub behind: Vec<Arc<Entry>>,
}

impl FileSide {
    pub fn open(files: &Files, name: &str, id: u64) -> Result<FileSide, FoldError> {
        let mut conn = files.connect(Role::Apply)?;
        if !conn.need(files, name)? {
            return Err(FoldError::Broken(format!("database {name} has no file")));
        }
        let mut fold = Materializer::new(id, name);
        files::run(&conn, "BEGIN IMMEDIATE")?;
        fold.init(&conn)?;
        files::run(&conn, "COMMIT")?;
        Ok(FileSide {
            conn,
            fold,
            epoch: Epoch::default(),
            behind: Vec::new(),
        })
    }
    pub fn connection(&self) -> &Connection {
        &self.conn
    }
    /// `epoch`: the lane's; another than last time means that the try connection wrote meanwhile.
    pub fn begin(&mut self, epoch: Epoch) -> Result<(), FoldError> {
        epoch.tell(&mut self.epoch, &mut self.fold);
        Ok(files::run(&self.conn, "BEGIN IMMEDIATE")?)
    }
    pub fn apply(&mut self, entry: &Entry, log: &dyn EntrySource) -> Result<Outcome, FoldError> {
        self.fold.apply(&self.conn, entry, log)
    }
    /// Next numbers of tables, to be kept with `finish`.
    pub fn raise_auto_counters(&mut self, next: &[(u64, u64)]) {
        for (table, next) in next {
            self.fold.raise_auto_counter(*table, *next);
        }
    }
    /// The highest number that entries of this origin wrote.
    pub fn counted(&self, table: u64, origin: Origin) -> Option<i64> {
        self.fold.counted(table, origin)
    }
    pub fn finish(&mut self, applied: &VersionVector, log: &dyn EntrySource) -> Result<(), FoldError> {
        self.fold.finish(&self.conn, applied, log)
    }
    pub fn commit(&mut self) -> Result<(), FoldError> {
        Ok(files::run(&self.conn, "COMMIT")?)
    }
    /// After `commit`: the lane's epoch now.
    pub fn set_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }
    pub fn rollback(&mut self) {
        if !self.conn.is_autocommit()
            && let Err(error) = files::run(&self.conn, "ROLLBACK")
        {
            tracing::error!(%error, db = self.fold.schema(), "a batch could not be rolled back");
        }
        self.fold.rolled_back();
    }
    pub fn stored(&self) -> Result<VersionVector, FoldError> {
        crate::materialize::read_applied(&self.conn, self.fold.schema())
    }
}

/// Whose file it is: the log it was made from, and the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub log: Vec<u8>,
    pub db: u64,
}

impl Identity {
    pub fn write(&self, conn: &Connection, schema: &str) -> rusqlite::Result<()> {
        let table = format!("{}.__starling_identity", quote(schema));
        conn.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {table}(one INTEGER PRIMARY KEY CHECK(one = 1), log BLOB NOT NULL, db INTEGER NOT NULL) STRICT"
        ))?;
        conn.execute(
            &format!("INSERT OR REPLACE INTO {table} VALUES(1, ?1, ?2)"),
            (&self.log, self.db.cast_signed()),
        )?;
        Ok(())
    }
    pub fn read(conn: &Connection, schema: &str) -> rusqlite::Result<Option<Identity>> {
        conn.query_row(&format!("SELECT log, db FROM {}.__starling_identity", quote(schema)), [], |row| {
            Ok(Identity {
                log: row.get(0)?,
                db: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        })
        .optional()
    }
}
