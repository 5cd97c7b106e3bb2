//! Readers: pooled read-only connections; pinned snapshots behind the gate.
//!
//! Promises: a reader never blocks a write nor the reverse; a snapshot over several databases shows each transaction whole or
//! not at all. A snapshot at rest (between statements) that keeps a WAL beyond its bound is ended, the oldest first. Must not know:
//! what is read.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use rusqlite::Connection;
use starling_log::{Place, VersionVector};

use crate::catalog::Catalog;
use crate::engine::core::Core;
use crate::engine::files::{self, Attached, Files};
use crate::engine::{ApplyError, Role};
use crate::materialize::read_applied;
use crate::overlay::Overlay;
use crate::shadow::Shadow;

pub use crate::shadow::shadow_name;

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
    core: Weak<Core>,
    pool: Arc<Pool>,
    /// Since when a snapshot is pinned.
    pinned: Option<Instant>,
    /// What the snapshot's files say they hold, as far as it was asked for.
    applied: HashMap<String, VersionVector>,
    shadow: Shadow,
}

impl Reader {
    pub(crate) fn open(core: &Arc<Core>, dbs: &[&str]) -> Result<Reader, ApplyError> {
        let mut reader = Reader::unpinned(core)?;
        reader.attach(&core.files, dbs)?;
        if dbs.len() > 1 {
            reader.pin(&core.gate, dbs)?;
        } else {
            core.gate.pass();
        }
        Ok(reader)
    }

    pub(crate) fn unpinned(core: &Arc<Core>) -> Result<Reader, ApplyError> {
        let mut conn = core.pool.take(&core.files)?;
        conn.refresh(&core.files)?;
        Ok(Reader {
            conn: ManuallyDrop::new(conn),
            core: Arc::downgrade(core),
            pool: Arc::clone(&core.pool),
            pinned: None,
            applied: HashMap::new(),
            shadow: Shadow::default(),
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

    /// Pins all databases of the node.
    pub(crate) fn pin_all(&mut self, core: &Core) -> Result<(), ApplyError> {
        let lanes = core.lanes();
        let names: Vec<&str> = lanes.keys().map(String::as_str).collect();
        self.attach(&core.files, &names)?;
        self.pin(&core.gate, &names)
    }

    /// Does the snapshot show the entry at `place`, as the file of `db` (lower-case name) says? A database that came later holds
    /// nothing that the snapshot shows.
    pub fn snapshot_contains(&mut self, db: &str, place: Place) -> Result<bool, ApplyError> {
        if let Some(known) = self.applied.get(db) {
            return Ok(known.contains(place));
        }
        if !self.conn.has(db) {
            return Ok(false);
        }
        let applied = read_applied(&self.conn, db)?;
        let contains = applied.contains(place);
        if self.pinned.is_some() {
            self.applied.insert(db.to_owned(), applied);
        }
        Ok(contains)
    }

    /// Lets the snapshot go and pins the newest state of all databases, on the same connection (READ COMMITTED; shadows stay).
    pub fn renew(&mut self) -> Result<(), ApplyError> {
        let core = self
            .core
            .upgrade()
            .ok_or_else(|| ApplyError::Other("the node is shutting down".to_owned()))?;
        self.let_go()?;
        self.conn.refresh(&core.files)?;
        self.pin_all(&core)
    }

    /// Ends the snapshot. (COMMIT, because a rollback would take the shadows with it, and every parsed schema.)
    fn let_go(&mut self) -> rusqlite::Result<()> {
        self.applied.clear();
        if self.pinned.take().is_some() || !self.conn.is_autocommit() {
            files::run(&self.conn, "COMMIT")?;
        }
        Ok(())
    }

    /// Brings [`shadow_name`]'s views up to date with the overlay: each shows its table as the transaction sees it.
    pub fn shadow(&mut self, overlay: &Overlay, catalog: &Catalog) -> Result<(), ApplyError> {
        self.shadow.follow(&self.conn, &overlay.content().lock(), catalog)
    }

    /// Always false: a reader in use is never ended, see [`Reader::rest`].
    pub fn ended(&self) -> bool {
        false
    }

    /// Puts the reader aside between statements: while it rests, its snapshot may be ended if it keeps a WAL from being cut.
    pub fn rest(self) -> Resting {
        let slot = Arc::new(Slot {
            since: self.pinned,
            reader: Mutex::new(None),
        });
        if let (Some(core), Some(_)) = (self.core.upgrade(), self.pinned) {
            core.resting.add(&slot);
        }
        *slot.reader.lock() = Some(self);
        Resting { slot }
    }

    /// Opens one snapshot over `dbs`, which are attached.
    pub(crate) fn pin(&mut self, gate: &Gate, dbs: &[&str]) -> Result<(), ApplyError> {
        let _exclusive = gate.exclusive();
        self.pin_inside(dbs)
    }

    /// The same for callers that hold the gate.
    pub(crate) fn pin_inside(&mut self, dbs: &[&str]) -> Result<(), ApplyError> {
        files::run(self, "BEGIN")?;
        self.pinned = Some(Instant::now());
        for db in dbs {
            files::touch(self, db)?;
        }
        Ok(())
    }
}

impl std::ops::Deref for Reader {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.conn
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let clean = self.let_go().and_then(|()| self.shadow.clear(&self.conn));
        // SAFETY: `drop` runs once, and nothing uses the field after it.
        let conn = unsafe { ManuallyDrop::take(&mut self.conn) };
        if clean.is_ok() {
            self.pool.put(conn);
        }
    }
}

/// A reader between statements.
pub struct Resting {
    slot: Arc<Slot>,
}

struct Slot {
    since: Option<Instant>,
    /// `None`: ended.
    reader: Mutex<Option<Reader>>,
}

impl Resting {
    /// The reader, unless its snapshot was ended meanwhile.
    pub fn wake(self) -> Result<Reader, ApplyError> {
        self.slot.reader.lock().take().ok_or(ApplyError::SnapshotEnded)
    }
    pub fn ended(&self) -> bool {
        self.slot.reader.lock().is_none()
    }
}

/// All snapshots at rest.
#[derive(Default)]
pub(crate) struct RestingPlaces {
    slots: Mutex<Vec<Weak<Slot>>>,
}

impl RestingPlaces {
    fn add(&self, slot: &Arc<Slot>) {
        let mut slots = self.slots.lock();
        if slots.len() == slots.capacity() {
            slots.retain(|s| s.strong_count() > 0);
        }
        slots.push(Arc::downgrade(slot));
    }
    /// Ends the oldest one that has been pinned for `age`; false: there is none.
    pub fn end_oldest(&self, age: Duration) -> bool {
        let mut slots = self.slots.lock();
        slots.retain(|s| s.strong_count() > 0);
        let resting = slots.iter().filter_map(Weak::upgrade).filter(|s| s.reader.lock().is_some());
        let oldest = resting
            .filter_map(|s| s.since.map(|since| (since, s)))
            .min_by_key(|(since, _)| *since);
        drop(slots);
        let ended = match oldest {
            Some((since, slot)) if since.elapsed() >= age => slot.reader.lock().take(),
            _ => None,
        };
        ended.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineOptions};
    use starling_log::store::sim::SimStore;
    use starling_log::{Log, LogOptions, SystemTime};

    #[test]
    fn the_oldest_snapshot_at_rest_is_ended() {
        let dir = tempfile::tempdir().expect("dir");
        let log = Log::with_store(Arc::new(SimStore::new()), LogOptions::new("/nowhere"), Arc::new(SystemTime)).expect("log");
        let options = EngineOptions {
            dir: dir.path().to_owned(),
            origin: Some(1),
            on_connect: Arc::new(|_, _| Ok(())),
            full_row_image: true,
            on_progress: None,
        };
        let engine = Engine::open(options, log).expect("engine");
        let resting = &engine.core().resting;
        let (oldest, older, active) = (engine.snapshot(), engine.snapshot(), engine.snapshot());
        let (oldest, older) = (oldest.expect("one").rest(), older.expect("two").rest());
        let unpinned = engine.reader(&[]).expect("reader").rest();
        assert!(!resting.end_oldest(Duration::from_secs(3_600)), "none is that old");
        let oldest = oldest.wake().expect("awake");
        assert!(resting.end_oldest(Duration::ZERO), "the older one: the oldest is in use");
        assert!(older.ended());
        assert!(matches!(older.wake(), Err(ApplyError::SnapshotEnded)));
        let oldest = oldest.rest();
        assert!(resting.end_oldest(Duration::ZERO));
        assert!(!resting.end_oldest(Duration::ZERO), "an unpinned one is in nobody's way");
        assert!(oldest.wake().is_err() && unpinned.wake().is_ok());
        drop(active);
    }
}
