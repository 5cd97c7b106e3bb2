//! What the threads of the engine share: log, catalog, files, lanes, gate, progress.
//!
//! Promises: nothing becomes visible in one file of several before it does in all (the gate); nothing is published before it is
//! visible. Must not know: who asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::{Mutex, MutexGuard};
use starling_log::{AppendError, Body, Draft, Entry, Log, Origin, Place, VersionVector};

use super::checkpoint::{CUT_EVERY, WAL_WAIT_PAGES};
use super::file::{Epoch, FileSide};
use super::files::Files;
use super::intake::Intake;
use super::progress::Progress;
use super::system::System;
use super::tables::TableVersions;
use crate::catalog::{Catalog, Database};
use crate::lane::autos::Autos;
use crate::lane::floor::FloorLock;
use crate::lane::runner::{Command, Runner};
use crate::lane::work::{Failure, Ticket};
use crate::materialize::{EntrySource, FoldError};
use crate::numbers::CompactTime;
use crate::physical::quote;
use crate::readers::{Gate, Pool, RestingPlaces};

/// Changes of that many bytes are copied on their way to the log; larger ones are read back from there.
const COPY_BYTES: usize = 4 << 20;

/// A database's lane, seen from outside.
pub(crate) struct Lane {
    pub name: String,
    pub id: u64,
    /// The statement that takes the file's write lock, and does nothing else.
    pub write_lock: String,
    queue: Sender<Command>,
    waiting: Arc<AtomicUsize>,
    /// Grow with every commit to the file, and with every change of its shape: each connection's fold finds out what the other did.
    commits: AtomicU64,
    shapes: AtomicU64,
    /// The applied vector as the file holds it.
    stored: Mutex<VersionVector>,
    file: Mutex<FileSide>,
    pub(crate) floor: FloorLock,
    thread: Mutex<Option<JoinHandle<()>>>,
    last_cut: Mutex<Option<Instant>>,
}

impl Lane {
    /// A lane that is gone drops the command, and with it the way to answer.
    pub fn send(&self, command: Command) {
        let _ = self.queue.send(command);
    }
    pub fn ticket(&self) -> Option<Ticket> {
        Ticket::take(&self.waiting)
    }
    pub fn epoch(&self) -> Epoch {
        Epoch {
            commits: self.commits.load(Ordering::Acquire),
            shapes: self.shapes.load(Ordering::Acquire),
        }
    }
    /// The file was committed with that vector.
    pub fn committed(&self, applied: &VersionVector) -> Epoch {
        self.stored.lock().clone_from(applied);
        self.commits.fetch_add(1, Ordering::AcqRel);
        self.epoch()
    }
    /// The same for a schema change.
    pub fn reshaped(&self, applied: &VersionVector) -> Epoch {
        self.shapes.fetch_add(1, Ordering::AcqRel);
        self.committed(applied)
    }
    pub fn stored(&self) -> VersionVector {
        self.stored.lock().clone()
    }
    /// Only for whoever holds the lane.
    pub fn file(&self) -> MutexGuard<'_, FileSide> {
        self.file.lock()
    }
    pub fn stop(&self, why: Failure) {
        self.send(Command::Stop(why));
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(db = self.name, "the lane's thread panicked");
        }
    }
}

pub(crate) struct Core {
    pub log: Arc<Log>,
    /// The log's identity: files made from another one are not trusted.
    pub identity: Vec<u8>,
    pub files: Files,
    pub gate: Gate,
    pub pool: Arc<Pool>,
    pub resting: RestingPlaces,
    pub progress: Progress,
    pub autos: Mutex<Autos>,
    pub tables: TableVersions,
    pub full_row_image: bool,
    pub system: Mutex<System>,
    pub intake: Mutex<Intake>,
    /// What the intake holds, for whoever must not wait for it.
    pub held: Mutex<(usize, Option<String>)>,
    pub held_wake: Sender<()>,
    /// One schema change at a time.
    pub ddl: Mutex<()>,
    pub closed: AtomicBool,
    catalog: ArcSwap<Catalog>,
    lanes: ArcSwap<BTreeMap<String, Arc<Lane>>>,
    /// 0: not admitted yet (no origin has that number).
    origin: AtomicU32,
    control_feeds: Mutex<Vec<Sender<Arc<Entry>>>>,
    /// Applied late, not yet visible everywhere.
    unpublished: Mutex<Vec<Place>>,
    /// Bytes of entries made visible.
    written: AtomicU64,
}

/// What `Core::new` is made of.
pub(crate) struct Parts {
    pub log: Arc<Log>,
    pub identity: Vec<u8>,
    pub files: Files,
    pub applied: VersionVector,
    pub system: System,
    pub intake: Intake,
    pub catalog: Catalog,
    pub full_row_image: bool,
    pub held_wake: Sender<()>,
}

/// In the log's settings: until when compact numbers may be given out.
const COMPACT_UNTIL: &str = "compact/until";

fn compact_time(log: &Log) -> CompactTime {
    let saved = log.meta(COMPACT_UNTIL).and_then(|bytes| bytes.try_into().ok());
    CompactTime::new(saved.map_or(0, u64::from_le_bytes))
}

impl Core {
    pub fn new(parts: Parts) -> Arc<Core> {
        let compact = compact_time(&parts.log);
        Arc::new(Core {
            log: parts.log,
            identity: parts.identity,
            files: parts.files,
            gate: Gate::default(),
            pool: Arc::default(),
            resting: RestingPlaces::default(),
            tables: TableVersions::new(parts.applied.clone()),
            progress: Progress::new(parts.applied),
            autos: Mutex::new(Autos::new(compact)),
            full_row_image: parts.full_row_image,
            system: Mutex::new(parts.system),
            intake: Mutex::new(parts.intake),
            held: Mutex::default(),
            held_wake: parts.held_wake,
            ddl: Mutex::new(()),
            closed: AtomicBool::new(false),
            catalog: ArcSwap::from_pointee(parts.catalog),
            lanes: ArcSwap::default(),
            origin: AtomicU32::new(0),
            control_feeds: Mutex::default(),
            unpublished: Mutex::default(),
            written: AtomicU64::new(0),
        })
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }
    pub fn origin(&self) -> Option<Origin> {
        Origin::try_from(self.origin.load(Ordering::Acquire)).ok().filter(|o| *o != 0)
    }
    pub fn set_origin(&self, origin: Origin) {
        self.origin.store(u32::from(origin), Ordering::Release);
    }
    /// Compact numbers may be given out until then. Waits for the log.
    pub fn save_compact(&self, until_ms: u64) -> bool {
        let saved = self.log.put_meta(COMPACT_UNTIL, &until_ms.to_le_bytes());
        if let Err(error) = &saved {
            tracing::warn!(%error, "the time of compact numbers was not saved");
        }
        saved.is_ok()
    }
    /// Counters are pushed by what these entries of ours wrote. `counted`: the highest number of a table that an origin wrote. Gives the
    /// next numbers of those of the lane's database that moved since the last call, to be stored with the rows.
    pub fn meet(&self, lane: &Lane, entries: &[Arc<Entry>], counted: impl Fn(u64, Origin) -> Option<i64>) -> Vec<(u64, u64)> {
        let catalog = self.catalog();
        let mut autos = self.autos.lock();
        for entry in entries {
            let Body::Rows(changes) = &entry.body else { continue };
            for table in &changes.tables {
                if let Some(highest) = counted(table.table, entry.place.origin) {
                    autos.met(table.table, highest);
                }
            }
        }
        autos.take_moved(|table| catalog.table_by_id(table).is_some_and(|(db, _)| db.id == lane.id))
    }

    pub fn lane(&self, name: &str) -> Option<Arc<Lane>> {
        self.lanes.load().get(name).cloned()
    }
    pub fn lane_by_id(&self, id: u64) -> Option<Arc<Lane>> {
        self.lanes.load().values().find(|l| l.id == id).cloned()
    }
    pub fn lanes(&self) -> Arc<BTreeMap<String, Arc<Lane>>> {
        self.lanes.load_full()
    }
    /// Starts the lane of a database whose file is open.
    pub fn start_lane(self: &Arc<Core>, name: &str, id: u64, file: FileSide, stored: VersionVector) -> std::io::Result<()> {
        let (queue, commands) = unbounded();
        let lane = Arc::new(Lane {
            name: name.to_owned(),
            id,
            write_lock: format!("DELETE FROM {}.__starling_state WHERE 0", quote(name)),
            queue,
            waiting: Arc::default(),
            commits: AtomicU64::new(0),
            shapes: AtomicU64::new(0),
            stored: Mutex::new(stored),
            file: Mutex::new(file),
            floor: FloorLock::default(),
            thread: Mutex::new(None),
            last_cut: Mutex::new(None),
        });
        let runner = Runner::new(Arc::clone(self), Arc::clone(&lane), commands);
        let thread = std::thread::Builder::new()
            .name(format!("lane {name}"))
            .spawn(move || runner.run())?;
        *lane.thread.lock() = Some(thread);
        self.lanes.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.insert(name.to_owned(), Arc::clone(&lane));
            new
        });
        Ok(())
    }
    pub fn forget_lane(&self, name: &str) {
        self.lanes.rcu(|old| {
            let mut new = BTreeMap::clone(old);
            new.remove(name);
            new
        });
    }
    /// The catalog with one database replaced (or, with `None`, gone), one version on.
    pub fn change_catalog(&self, name: &str, database: Option<Arc<Database>>) {
        self.catalog.rcu(|old| {
            let mut new = Catalog::clone(old);
            new.version += 1;
            match &database {
                Some(d) => drop(new.databases.insert(name.to_owned(), Arc::clone(d))),
                None => drop(new.databases.remove(name)),
            }
            new
        });
    }

    /// Appends this node's own entries; durable on return.
    pub fn append(&self, drafts: Vec<Draft>) -> Result<Vec<Arc<Entry>>, AppendError> {
        let Some(origin) = self.origin() else {
            return Err(AppendError::Clock("this node has not been admitted to a cluster yet".to_owned()));
        };
        let bytes: usize = drafts.iter().map(|d| body_bytes(&d.body)).sum();
        if bytes > COPY_BYTES {
            // Twice in memory would be too much: what is large is read back.
            let placed = self.log.append(origin, drafts)?;
            let entries = placed.iter().map(|p| entry_at(&self.log, p.place)).collect::<Result<_, _>>();
            return entries.map_err(|e| AppendError::Unknown(e.to_string()));
        }
        let copies = drafts.clone();
        let placed = self.log.append(origin, drafts)?;
        let entries = copies.into_iter().zip(placed).map(|(draft, placed)| {
            let mut causes = VersionVector::clone(&draft.causes);
            causes.0.remove(&origin);
            Arc::new(Entry {
                place: placed.place,
                stamp: placed.stamp,
                causes,
                schema: draft.schema,
                body: draft.body,
            })
        });
        Ok(entries.collect())
    }

    /// Makes entries visible: runs SQLite's commit behind the gate and publishes them.
    pub fn commit(
        &self,
        lanes: &[Arc<Lane>],
        entries: &[Arc<Entry>],
        commit: impl FnOnce() -> rusqlite::Result<()>,
    ) -> Result<(), FoldError> {
        self.count(entries);
        let places = entries.iter().map(|e| e.place);
        if lanes.len() > 1 {
            let _gate = self.gate.exclusive();
            commit()?;
            self.progress.complete(places);
        } else {
            let _gate = self.gate.shared();
            commit()?;
            self.progress.complete(places);
        }
        Ok(())
    }

    /// Before entries become visible: what their tables' versions are, and how much a restart would have to read again if nobody
    /// stored a position.
    pub fn count(&self, entries: &[Arc<Entry>]) {
        self.tables.tell(entries.iter().map(|e| &**e));
        let bytes: usize = entries.iter().map(|e| e.weight()).sum();
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Applies entries of ours that are durable and in no file yet. The caller holds `lanes`.
    pub fn apply_own(&self, lanes: &[Arc<Lane>], entries: &[Arc<Entry>]) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        super::intake::apply_own(self, lanes, entries).or_else(|error| self.reapply(lanes, entries, &error))
    }

    /// These entries of ours are durable, but their transaction could not be committed: they are applied from the log. The
    /// caller holds `lanes` and has rolled back.
    pub fn reapply(&self, lanes: &[Arc<Lane>], entries: &[Arc<Entry>], why: &FoldError) -> Result<(), Failure> {
        tracing::warn!(error = %why, "a logged transaction could not be committed, it is applied from the log");
        lanes.iter().for_each(|lane| self.note_damage(&lane.name, why));
        self.put_behind(lanes, entries);
        for lane in lanes {
            self.catch_up(lane).map_err(|f| Failure::Unapplied(format!("{f:?}")))?;
        }
        Ok(())
    }

    /// These entries are durable, and are to be applied before anything else is written there.
    pub fn put_behind(&self, lanes: &[Arc<Lane>], entries: &[Arc<Entry>]) {
        for lane in lanes {
            lane.file().behind.extend_from_slice(entries);
        }
    }

    /// Applies what is durable but not yet in the file. The caller holds the lane.
    pub fn catch_up(&self, lane: &Arc<Lane>) -> Result<(), Failure> {
        let mut file = lane.file();
        if file.behind.is_empty() {
            return Ok(());
        }
        let entries = file.behind.clone();
        let places: Vec<Place> = entries.iter().map(|e| e.place).collect();
        let stored = file.stored()?;
        let missing: Vec<Arc<Entry>> = entries.into_iter().filter(|e| !stored.contains(e.place)).collect();
        let applied = crate::lane::desk::progress_after(&stored, &missing);
        self.tables.tell(missing.iter().map(|e| &**e));
        file.begin(lane.epoch())?;
        let outcome = missing
            .iter()
            .try_for_each(|e| file.apply(e, self).map(drop))
            .and_then(|()| file.finish(&applied, self))
            .and_then(|()| {
                let _gate = self.gate.shared();
                file.commit()
            });
        if let Err(error) = outcome {
            file.rollback();
            tracing::error!(db = lane.name, %error, "entries that are in the log cannot be applied");
            return Err(error.into());
        }
        let reshaped = missing.iter().any(|e| matches!(e.body, Body::Schema(_)));
        let epoch = if reshaped {
            lane.reshaped(&applied)
        } else {
            lane.committed(&applied)
        };
        file.set_epoch(epoch);
        file.behind.clear();
        if reshaped {
            let database = crate::materialize::load_database(file.connection(), &lane.name)?;
            self.change_catalog(&lane.name, database);
            let mut system = self.system.lock();
            let position = system.applied().clone();
            system.apply(&missing, &position)?;
        }
        drop(file);
        self.caught_up(lane, places);
        Ok(())
    }

    /// Before anything is written: entries that are durable but could not be applied come first, and a WAL beyond its bound waits. The
    /// caller holds the lane.
    pub fn ready(&self, lane: &Arc<Lane>) -> Result<(), Failure> {
        self.wait_for_wal(lane);
        self.catch_up(lane)
    }
    /// Would `ready` have anything to do?
    pub fn is_ready(&self, lane: &Lane) -> bool {
        self.files.wal().pages(&lane.name) < WAL_WAIT_PAGES && lane.file().behind.is_empty()
    }

    /// Publishes what was behind, once no database is: an entry may concern several.
    fn caught_up(&self, lane: &Lane, places: Vec<Place>) {
        let mut unpublished = self.unpublished.lock();
        unpublished.extend(places);
        let elsewhere = self.lanes().values().any(|l| l.id != lane.id && !l.file().behind.is_empty());
        if !elsewhere {
            self.progress.complete(unpublished.drain(..));
        }
    }

    /// Waits while the file's WAL is beyond its bound and a checkpoint may still shorten it.
    pub fn wait_for_wal(&self, lane: &Lane) {
        if self.files.wal().pages(&lane.name) < WAL_WAIT_PAGES {
            return;
        }
        // Where an open snapshot keeps the WAL, waiting before every write would help nobody.
        let mut last = lane.last_cut.lock();
        if last.is_none_or(|l| l.elapsed() >= CUT_EVERY) {
            super::checkpoint::shorten(self, &lane.name);
            *last = Some(Instant::now());
        }
    }

    pub fn note_damage(&self, name: &str, error: &FoldError) {
        let damaged = match error {
            FoldError::Sqlite(e) => matches!(
                e.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ),
            FoldError::Broken(_) => true,
            FoldError::Read(_) | FoldError::Spill(_) | FoldError::NotNewest => false,
        };
        if damaged {
            self.mark_damaged(name);
        }
    }
    /// The next start rebuilds this file from the log.
    pub fn mark_damaged(&self, name: &str) {
        let path = super::trust::damage_mark(&self.files.path(name));
        if !path.exists() {
            tracing::error!(
                db = name,
                "the database file is damaged: it is rebuilt from the log at the next start"
            );
            if let Err(error) = std::fs::write(&path, b"") {
                tracing::error!(%error, db = name, "the damaged file could not be marked");
            }
        }
    }

    pub fn publish_control(&self, entry: &Arc<Entry>) {
        self.control_feeds.lock().retain(|feed| feed.send(Arc::clone(entry)).is_ok());
    }
    pub fn controls(&self) -> (Vec<Arc<Entry>>, Receiver<Arc<Entry>>) {
        // The system file is locked while an entry is stored and published: nothing is missed and nothing comes twice.
        let system = self.system.lock();
        let (feed, events) = unbounded();
        self.control_feeds.lock().push(feed);
        (system.controls(), events)
    }
}

fn body_bytes(body: &Body) -> usize {
    match body {
        Body::Rows(changes) => changes.bytes.len(),
        Body::Void | Body::Schema(_) | Body::Control(_) => 0,
    }
}

impl EntrySource for Core {
    fn entry(&self, place: Place) -> Result<Arc<Entry>, FoldError> {
        entry_at(&self.log, place)
    }
    fn scan<'a>(&'a self, upto: &VersionVector) -> Box<dyn Iterator<Item = Result<Arc<Entry>, FoldError>> + 'a> {
        scan_log(&self.log, upto)
    }
}

pub(crate) fn entry_at(log: &Arc<Log>, place: Place) -> Result<Arc<Entry>, FoldError> {
    let found = log.read(place.origin, place.seq, 1)?;
    match found.into_iter().next() {
        Some(entry) if entry.place == place => Ok(entry),
        _ => Err(FoldError::Broken(format!(
            "the log does not hold entry {} of origin {}",
            place.seq, place.origin
        ))),
    }
}

pub(crate) fn scan_log<'a>(log: &'a Arc<Log>, upto: &VersionVector) -> Box<dyn Iterator<Item = Result<Arc<Entry>, FoldError>> + 'a> {
    Box::new(log.scan(&VersionVector::new(), upto).map(|e| e.map_err(FoldError::from)))
}
