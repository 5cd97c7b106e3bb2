//! Readers: pooled read-only connections; pinned snapshots behind the gate.
//!
//! Promises: a reader never blocks a write nor the reverse; a snapshot over several databases shows each transaction whole or
//! not at all. Must not know: what is read.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use rusqlite::Connection;
use starling_log::Place;

use crate::catalog::Catalog;
use crate::engine::files::{self, Attached, Files};
use crate::engine::{ApplyError, Role};
use crate::overlay::Overlay;

/// Idle readers kept; those beyond are closed on return.
const IDLE_READERS: usize = 16;

/// Orders commits and snapshots. A commit of one database holds the shared side; a commit of several, and the opening of a
/// snapshot over several, the exclusive one, for as long as SQLite takes to switch.
#[derive(Default)]
pub struct Gate {
    lock: RwLock<()>,
    /// A commit of several databases is under way.
    switching: AtomicBool,
}

pub struct Exclusive<'a> {
    gate: &'a Gate,
    _guard: RwLockWriteGuard<'a, ()>,
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.gate.switching.store(false, Ordering::Release);
    }
}

impl Gate {
    pub fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read()
    }
    pub fn exclusive(&self) -> Exclusive<'_> {
        let guard = self.lock.write();
        self.switching.store(true, Ordering::Release);
        Exclusive { gate: self, _guard: guard }
    }
    /// Waits while a commit of several databases is half done: whoever saw one half in an earlier statement sees the other now.
    #[inline]
    pub fn pass(&self) {
        if self.switching.load(Ordering::Acquire) {
            drop(self.lock.read());
        }
    }
}

/// The idle connections.
#[derive(Default)]
pub struct Pool {
    idle: Mutex<Vec<Attached>>,
    used: AtomicBool,
}

impl Pool {
    fn take(&self, files: &Files) -> rusqlite::Result<Attached> {
        let idle = self.idle.lock().pop();
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        match idle {
            Some(conn) => Ok(conn),
            None => files.connect(Role::Read),
        }
    }
    fn put(&self, conn: Attached) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_READERS {
            idle.push(conn);
        }
    }
    /// Closes idle readers if none was used since the last call.
    pub fn relax(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            self.clear();
        }
    }
    pub fn clear(&self) {
        self.idle.lock().clear();
    }
}

/// A read-only connection, back to the pool when dropped.
pub struct Reader {
    /// Taken in `drop` and nowhere else.
    conn: ManuallyDrop<Attached>,
    pool: Arc<Pool>,
    pinned: bool,
}

impl Reader {
    pub(crate) fn open(pool: &Arc<Pool>, files: &Files, gate: &Gate, dbs: &[&str]) -> Result<Reader, ApplyError> {
        let mut reader = Reader::unpinned(pool, files)?;
        reader.attach(files, dbs)?;
        if dbs.len() > 1 {
            reader.pin(gate, dbs)?;
        } else {
            gate.pass();
        }
        Ok(reader)
    }

    pub(crate) fn unpinned(pool: &Arc<Pool>, files: &Files) -> Result<Reader, ApplyError> {
        let mut conn = pool.take(files)?;
        conn.refresh(files)?;
        Ok(Reader {
            conn: ManuallyDrop::new(conn),
            pool: Arc::clone(pool),
            pinned: false,
        })
    }

    pub(crate) fn attach(&mut self, files: &Files, dbs: &[&str]) -> Result<(), ApplyError> {
        for db in dbs {
            if !self.conn.need(files, db)? {
                return Err(ApplyError::NoDatabase((*db).to_owned()));
            }
        }
        Ok(())
    }

    /// Does the pinned snapshot show the entry at `place`, as the file of `db` (lower-case name) says?
    pub fn snapshot_contains(&mut self, db: &str, place: Place) -> Result<bool, ApplyError> {
        let _ = (db, place);
        Err(ApplyError::Other("snapshot_contains: not built yet".to_owned()))
    }
    /// Lets the snapshot go and pins the newest state of all databases, on the same connection (READ COMMITTED; shadows stay).
    pub fn renew(&mut self) -> Result<(), ApplyError> {
        Err(ApplyError::Other("renew: not built yet".to_owned()))
    }
    /// Brings [`shadow_name`]'s views up to date with the overlay: each shows its table as the transaction sees it.
    pub fn shadow(&mut self, overlay: &Overlay, catalog: &Catalog) -> Result<(), ApplyError> {
        let _ = (overlay, catalog);
        Err(ApplyError::Other("shadow: not built yet".to_owned()))
    }
    /// The snapshot was ended because it stood in the way of a checkpoint: reading gives [`ApplyError::SnapshotEnded`].
    pub fn ended(&self) -> bool {
        false
    }

    /// Opens one snapshot over `dbs`, which are attached.
    pub(crate) fn pin(&mut self, gate: &Gate, dbs: &[&str]) -> Result<(), ApplyError> {
        let _exclusive = gate.exclusive();
        self.pin_inside(dbs)
    }

    /// The same for callers that hold the gate.
    pub(crate) fn pin_inside(&mut self, dbs: &[&str]) -> Result<(), ApplyError> {
        files::run(self, "BEGIN")?;
        self.pinned = true;
        for db in dbs {
            files::touch(self, db)?;
        }
        Ok(())
    }
}

/// Schema and name of the view that shows a table as an open transaction sees it (after [`Reader::shadow`]).
pub fn shadow_name(table: u64) -> String {
    format!("\"temp\".\"__own_{table}\"")
}

impl std::ops::Deref for Reader {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.conn
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once, and nothing uses the field after it.
        let conn = unsafe { ManuallyDrop::take(&mut self.conn) };
        if (self.pinned || !conn.is_autocommit()) && files::run(&conn, "ROLLBACK").is_err() {
            return;
        }
        self.pool.put(conn);
    }
}
