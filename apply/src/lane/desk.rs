//! The desk: a lane's try connection with its capture, and the four things done on it: run captured, undo, keep, settle.
//!
//! Promises: what a job changed in SQLite and what was captured of it always agree; after `settle` rows, history and progress are
//! committed together (law 5), several files behind the gate. Must not know: who waits for the result.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};
use starling_log::{Changes, Entry, VersionVector};

use super::Try;
use super::autos::{Lookup, Maker, NoNumber, Short};
use super::replay::replay;
use super::work::{Failure, Work};
use crate::capture::{Capture, Position};
use crate::catalog::Catalog;
use crate::engine::Role;
use crate::engine::core::{Core, Lane};
use crate::engine::file::Epoch;
use crate::engine::files::{self, Attached};
use crate::materialize::{FoldError, Materializer};
use crate::numbers::Rule;
use crate::overlay::Content;
use crate::shape::Shapes;

pub(crate) fn savepoint(conn: &Connection) -> rusqlite::Result<()> {
    files::run(conn, "SAVEPOINT job")
}

pub(crate) fn end_savepoint(conn: &Connection, undo: bool) -> rusqlite::Result<()> {
    if undo {
        files::run(conn, "ROLLBACK TO job")?;
    }
    files::run(conn, "RELEASE job")
}

/// The fold of one file on this connection; `epoch` tells whether another connection changed the file meanwhile.
struct Fold {
    name: String,
    epoch: Epoch,
    fold: Materializer,
}

/// All of the desk but the connection.
pub(crate) struct Bench {
    pub capture: Capture,
    pub marks: Vec<Position>,
    core: Arc<Core>,
    /// Databases this transaction may change.
    held: Vec<String>,
    folds: Vec<Fold>,
    pinned: Vec<String>,
    /// SQLite refused something between statements: the job cannot be kept.
    spoilt: Option<String>,
    unchecked: bool,
    /// Numbers that the job had too few of.
    pub short: Option<Short>,
    pub shapes: Shapes,
}

pub(crate) struct Desk {
    // Before `bench`: the connection goes before its capture does.
    conn: Attached,
    bench: Bench,
    catalog: Arc<Catalog>,
    settling: bool,
}

/// What became of a job that was run.
pub(crate) enum Ran {
    Kept,
    /// Undone; `Some`: not by the job's own error.
    Undone(Option<Failure>),
    /// SQLite rolled back the whole transaction.
    Lost,
}

impl Bench {
    pub fn core(&self) -> &Core {
        &self.core
    }
    pub fn spoil(&mut self, error: &rusqlite::Error) {
        self.spoilt.get_or_insert_with(|| error.to_string());
    }

    /// Changing it makes SQLite prepare every statement again, so it is touched only where it differs.
    pub fn set_foreign_keys(&mut self, conn: &Connection, on: bool) -> rusqlite::Result<()> {
        if self.unchecked == on {
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, on)?;
            self.unchecked = !on;
        }
        Ok(())
    }

    pub fn pin(&mut self, conn: &Connection, dbs: &[&str]) -> rusqlite::Result<()> {
        let fresh: Vec<&str> = dbs
            .iter()
            .copied()
            .filter(|d| !self.held.iter().any(|h| h == d) && !self.pinned.iter().any(|p| p == d))
            .collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let _gate = self.core.gate.exclusive();
        for db in fresh {
            files::touch(conn, db)?;
            self.pinned.push(db.to_owned());
        }
        Ok(())
    }

    fn lookup<R>(&mut self, conn: &Connection, catalog: &Catalog, table: u64, f: impl FnOnce(&Core, &mut Lookup<'_>) -> R) -> R {
        let Bench { core, folds, .. } = self;
        let found = || catalog.table_by_id(table).map(|(db, table)| (db.name.to_lowercase(), &**table));
        // The counter in the file is read with the capture running: reading changes nothing.
        let mut stored = |schema: &str| match folds.iter_mut().find(|f| f.name == schema) {
            Some(fold) => fold.fold.auto_counter(conn, table),
            None => Err(FoldError::Broken("a number was asked for a table that is not held".to_owned())),
        };
        let mut lookup = Lookup {
            conn,
            table: &found,
            stored: &mut stored,
        };
        f(core, &mut lookup)
    }
    pub fn next_auto(&mut self, conn: &Connection, catalog: &Catalog, table: u64, rule: Rule) -> Result<i64, NoNumber> {
        let found = self.lookup(conn, catalog, table, |core, l| {
            let maker = Maker {
                // Only compact numbers are made of time.
                now_ms: if rule.compact { core.log.clock().tick().ms() } else { 0 },
                origin: core.origin().unwrap_or(0),
                save: &|until_ms| core.save_compact(until_ms),
            };
            core.autos.lock().next(table, rule, &maker, l)
        });
        self.note_short(found)
    }
    pub fn reserve_auto(&mut self, conn: &Connection, catalog: &Catalog, table: u64, count: i64, rule: Rule) -> Result<(), NoNumber> {
        let found = self.lookup(conn, catalog, table, |core, l| core.autos.lock().reserve(table, count, rule, l));
        self.note_short(found)
    }
    /// Whoever ran the job asks for what it lacked.
    fn note_short<T>(&mut self, found: Result<T, NoNumber>) -> Result<T, NoNumber> {
        if let Err(NoNumber::Short(short)) = &found {
            self.short = Some(*short);
        }
        found
    }
    pub fn push_auto(&mut self, conn: &Connection, catalog: &Catalog, table: u64, value: i64) {
        self.lookup(conn, catalog, table, |core, l| core.autos.lock().push(table, value, l));
    }
    pub fn next_hidden(&mut self, conn: &Connection, catalog: &Catalog, table: u64) -> i64 {
        self.lookup(conn, catalog, table, |core, l| {
            core.autos.lock().next_hidden(table, core.origin().unwrap_or(0), l)
        })
    }
}

impl Desk {
    pub fn open(core: &Arc<Core>) -> rusqlite::Result<Desk> {
        let conn = core.files.connect(Role::Try)?;
        let capture = Capture::install(&conn, core.full_row_image);
        Ok(Desk {
            conn,
            bench: Bench {
                capture,
                marks: Vec::new(),
                core: Arc::clone(core),
                held: Vec::new(),
                folds: Vec::new(),
                pinned: Vec::new(),
                spoilt: None,
                unchecked: false,
                short: None,
                shapes: Shapes::default(),
            },
            catalog: Arc::default(),
            settling: false,
        })
    }

    /// Begins a transaction over the databases of `lanes`, which the caller holds.
    pub fn begin(&mut self, lanes: &[Arc<Lane>]) -> Result<(), Failure> {
        let core = Arc::clone(&self.bench.core);
        self.conn.refresh_all(&core.files)?;
        for lane in lanes {
            self.conn.need(&core.files, &lane.name)?;
        }
        self.catalog = core.catalog();
        self.bench.shapes.follow(&self.catalog);
        files::run(&self.conn, "BEGIN")?;
        let names: Vec<String> = lanes.iter().map(|l| l.name.clone()).collect();
        self.bench.capture.begin(&self.catalog, &names);
        self.bench.held = names;
        self.bench.pinned.clear();
        let prepared = lanes.iter().try_for_each(|l| {
            // Before the first read: a checkpoint that cuts the WAL holds the lock while it waits for readers, and whoever reads already
            // is refused at once instead of waiting for it. (`BEGIN IMMEDIATE` would take it of every attached file.)
            files::run(&self.conn, &l.write_lock)?;
            self.prepare_fold(l)
        });
        prepared.map_err(|e| {
            self.rollback();
            Failure::from(e)
        })
    }

    fn prepare_fold(&mut self, lane: &Lane) -> Result<(), FoldError> {
        let epoch = lane.epoch();
        let folds = &mut self.bench.folds;
        if let Some(known) = folds.iter_mut().find(|f| f.name == lane.name && f.fold.db() == lane.id) {
            epoch.tell(&mut known.epoch, &mut known.fold);
            return Ok(());
        }
        folds.retain(|f| f.name != lane.name);
        let mut fold = Materializer::new(lane.id, &lane.name);
        self.bench.capture.enable(false);
        fold.init(&self.conn)?;
        self.bench.capture.enable(true);
        folds.push(Fold {
            name: lane.name.clone(),
            epoch,
            fold,
        });
        Ok(())
    }

    pub fn connection(&self) -> &Connection {
        &self.conn
    }
    /// Gives back what memory it can.
    pub fn relax(&self) {
        if let Err(error) = self.conn.release_memory() {
            tracing::debug!(%error, "memory of an idle lane was not released");
        }
    }
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }
    /// Other databases were read: what comes next must see newer ones.
    pub fn has_pins(&self) -> bool {
        !self.bench.pinned.is_empty()
    }

    /// Runs a job inside a savepoint (`bare`: in a transaction that holds nothing else, which is then begun anew on failure).
    /// What it changed stays in the capture until `take`.
    pub fn run(&mut self, work: &mut dyn Work, bare: bool) -> Result<Ran, Failure> {
        let position = self.bench.capture.position();
        if !bare {
            savepoint(&self.conn)?;
        }
        self.bench.marks.clear();
        self.bench.spoilt = None;
        self.bench.short = None;
        let mut t = Try {
            connection: &self.conn,
            catalog: &self.catalog,
            bench: &mut self.bench,
        };
        // A job that panics is its author's mistake; the lane and everybody else's changes survive it.
        let ok = catch_unwind(AssertUnwindSafe(|| work.run(&mut t))).unwrap_or(false);
        if let Err(error) = self.bench.set_foreign_keys(&self.conn, true) {
            self.bench.spoil(&error);
        }
        if self.conn.is_autocommit() {
            return Ok(Ran::Lost);
        }
        let fault = self.bench.capture.fault().map(str::to_owned).or_else(|| self.bench.spoilt.take());
        if ok && fault.is_none() {
            if !bare {
                end_savepoint(&self.conn, false)?;
            }
            return Ok(Ran::Kept);
        }
        self.note_damage();
        self.bench.capture.truncate(position);
        if bare {
            files::run(&self.conn, "ROLLBACK")?;
            files::run(&self.conn, "BEGIN")?;
            self.bench.pinned.clear();
        } else {
            end_savepoint(&self.conn, true)?;
        }
        Ok(Ran::Undone(fault.map(|f| Failure::text(rusqlite::ErrorCode::Unknown, f))))
    }

    /// SQLite found its file damaged: say so, and have it rebuilt at the next start.
    fn note_damage(&self) {
        // SAFETY: the handle is live.
        let code = unsafe { ffi::sqlite3_errcode(self.conn.handle()) };
        if matches!(code, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB) {
            for name in &self.bench.held {
                self.bench.core.mark_damaged(name);
            }
        }
    }

    /// The changes captured since the last call.
    pub fn take(&mut self) -> Changes {
        self.bench.capture.take()
    }

    pub fn rollback(&mut self) {
        self.bench.capture.end();
        if !self.conn.is_autocommit()
            && let Err(error) = files::run(&self.conn, "ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
        // Before `settle` the folds know nothing of this transaction.
        if std::mem::take(&mut self.settling) {
            self.bench.folds.iter_mut().for_each(|f| f.fold.rolled_back());
        }
    }

    /// Puts an overlay in place, inside the transaction just begun.
    pub fn replay(&mut self, content: &Content) -> Result<(), Failure> {
        replay(&mut self.bench, &self.conn, &self.catalog, content)
    }

    /// Commits a transaction in which nothing was changed.
    pub fn finish_unchanged(&mut self) -> Result<(), Failure> {
        self.bench.capture.end();
        files::run(&self.conn, "COMMIT").map_err(|e| {
            self.rollback();
            Failure::Sqlite(e)
        })
    }

    /// Commits what was kept, now that `entries` are durable: history, counters, progress and rows in one transaction.
    /// `lanes`: those whose databases changed, all held.
    pub fn settle(&mut self, lanes: &[Arc<Lane>], entries: &[Arc<Entry>]) -> Result<(), FoldError> {
        let core = Arc::clone(&self.bench.core);
        self.settling = true;
        self.bench.capture.end();
        let applied = progress_after(&core.progress.applied(), entries);
        for lane in lanes {
            let Some(fold) = self.bench.folds.iter_mut().find(|f| f.name == lane.name) else {
                return Err(FoldError::Broken(format!("database {} is not held", lane.name)));
            };
            for entry in entries {
                fold.fold.note(&self.conn, entry)?;
            }
            let moved = core.meet(lane, entries, |table, origin| fold.fold.counted(table, origin));
            for (table, next) in moved {
                fold.fold.raise_auto_counter(table, next);
            }
            fold.fold.finish(&self.conn, &applied, &*core)?;
        }
        core.commit(lanes, entries, || files::run(&self.conn, "COMMIT"))?;
        for lane in lanes {
            let epoch = lane.committed(&applied);
            if let Some(fold) = self.bench.folds.iter_mut().find(|f| f.name == lane.name) {
                fold.epoch = epoch;
            }
        }
        self.settling = false;
        Ok(())
    }
}

/// What a file holds once `entries` (of this node, the newest of their lane) are in it, where `applied` already is.
pub(crate) fn progress_after(applied: &VersionVector, entries: &[Arc<Entry>]) -> VersionVector {
    let mut after = applied.clone();
    for entry in entries {
        after.advance(entry.place.origin, entry.place.seq);
    }
    after
}
