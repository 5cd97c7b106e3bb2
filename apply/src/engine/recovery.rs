//! Opening: which files can be trusted, and what the log holds beyond them.
//!
//! Promises: a file that is missing, damaged, ahead of the log or made from another log is rebuilt from the log, with a warning
//! that says why; only the tail beyond the files' positions is read. Entries whose causes are missing stay with the intake.
//! Must not know: lanes (they start when this is done).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crossbeam::channel::{Receiver, bounded};
use starling_log::entry::object_id;
use starling_log::log::ReadError;
use starling_log::{Body, Entry, Log, Place, VersionVector};

use super::core::{entry_at, scan_log};
use super::file::{Epoch, FileSide, Identity};
use super::files::Files;
use super::intake::{Intake, databases, missing_cause};
use super::system::{self, System};
use super::trust::{check_structure, damage_mark, peek, remove_file, stray_files};
use super::{OnProgress, OpenError, ddl};
use crate::catalog::Catalog;
use crate::materialize::{EntrySource, FoldError, load_database};
use crate::schema::SchemaChange;

/// Replayed changes are committed in pieces of that many bytes.
const REPLAY_BYTES: usize = 8 << 20;
/// Entries decoded ahead of the replay: batches, and entries and bytes in each.
const AHEAD: usize = 4;
const AHEAD_ENTRIES: usize = 512;
const AHEAD_BYTES: usize = 2 << 20;

/// A database while it is being recovered.
pub(crate) struct Recovered {
    pub id: u64,
    pub name: String,
    /// `None`: the log has not created it yet.
    pub file: Option<FileSide>,
    pub applied: VersionVector,
    /// Bytes applied since the last commit; `None`: no transaction is open.
    open: Option<usize>,
}

pub(crate) struct Recovery<'a> {
    log: &'a Arc<Log>,
    files: &'a Files,
    identity: Vec<u8>,
    system: System,
    databases: BTreeMap<u64, Recovered>,
    done: VersionVector,
    intake: Intake,
    progress: Option<OnProgress>,
}

/// What recovery leaves behind.
pub(crate) struct Found {
    pub system: System,
    pub databases: Vec<Recovered>,
    pub applied: VersionVector,
    pub intake: Intake,
    pub catalog: Catalog,
}

struct LogSource<'a>(&'a Arc<Log>);

impl EntrySource for LogSource<'_> {
    fn entry(&self, place: Place) -> Result<Arc<Entry>, FoldError> {
        entry_at(self.0, place)
    }
    fn scan<'a>(&'a self, upto: &VersionVector) -> Box<dyn Iterator<Item = Result<Arc<Entry>, FoldError>> + 'a> {
        scan_log(self.0, upto)
    }
}

pub(crate) fn recover(log: &Arc<Log>, files: &Files, identity: Vec<u8>, progress: Option<OnProgress>) -> Result<Found, OpenError> {
    let fail = |e: FoldError| OpenError::from_fold(files.dir(), e);
    let held = log.held();
    let system = System::open(files.dir(), &identity, &held).map_err(fail)?;
    let listed = system.databases().map_err(fail)?;
    let mut recovery = Recovery {
        log,
        files,
        identity,
        system,
        databases: BTreeMap::new(),
        done: VersionVector::new(),
        intake: Intake::default(),
        progress,
    };
    for (id, name) in listed {
        recovery.admit(id, name, &held);
    }
    recovery.admit_strays(&held);
    recovery.replay(&held).map_err(fail)?;
    recovery.finish().map_err(fail)
}

impl Recovery<'_> {
    /// Opens a database's file if it can be trusted, else has it rebuilt.
    fn admit(&mut self, id: u64, name: String, held: &VersionVector) {
        self.files.add(&name, id);
        let (file, applied) = match self.examine(id, &name, held) {
            Ok((file, applied)) => (Some(file), applied),
            Err(reason) => {
                tracing::warn!(db = name, reason, "the database file cannot be trusted: it is rebuilt from the log");
                (None, VersionVector::new())
            }
        };
        let recovered = Recovered {
            id,
            name,
            file,
            applied,
            open: None,
        };
        self.databases.insert(id, recovered);
    }

    fn examine(&self, id: u64, name: &str, held: &VersionVector) -> Result<(FileSide, VersionVector), String> {
        let path = self.files.path(name);
        if damage_mark(&path).exists() {
            return Err("it was found damaged".to_owned());
        }
        let found = peek(&path)?;
        let wanted = Identity {
            log: self.identity.clone(),
            db: id,
        };
        if found.log != wanted.log {
            return Err("it was made from another log".to_owned());
        }
        if found.db != wanted.db {
            return Err("it belongs to another database of the same name".to_owned());
        }
        let file = FileSide::open(self.files, name, id).map_err(|e| e.to_string())?;
        let applied = file.stored().map_err(|e| e.to_string())?;
        if !held.covers(&applied) {
            return Err(format!("it is ahead of the log ({applied:?}, the log holds {held:?})"));
        }
        check_structure(&file, name)?;
        Ok((file, applied))
    }

    /// Files that the system file does not list: it was lost, and they may be good.
    fn admit_strays(&mut self, held: &VersionVector) {
        if !self.system.applied().0.is_empty() {
            return;
        }
        for (path, name) in stray_files(self.files, |p| self.owns(p)) {
            match peek(&path) {
                Ok(identity) if identity.log == self.identity => self.admit(identity.db, name, held),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn owns(&self, path: &Path) -> bool {
        self.databases.values().any(|d| self.files.path(&d.name) == path)
    }

    /// The position that everything has reached.
    fn start(&self) -> VersionVector {
        let mut start = self.system.applied().clone();
        for database in self.databases.values() {
            start.0.retain(|origin, seq| {
                *seq = (*seq).min(database.applied.get(*origin));
                *seq > 0
            });
        }
        start
    }

    fn replay(&mut self, held: &VersionVector) -> Result<(), FoldError> {
        self.done = self.start();
        let pruned = self.log.pruned();
        if !self.done.covers(&pruned) {
            return Err(FoldError::Read(ReadError::Pruned { oldest: pruned }));
        }
        let total: u64 = held.iter().map(|(o, s)| s - self.done.get(o).min(s)).sum();
        if total == 0 {
            return Ok(());
        }
        let scan = self.log.scan(&self.done, held);
        let (batches, entries) = bounded(AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut batch = Vec::with_capacity(AHEAD_ENTRIES);
                let mut bytes = 0;
                for entry in scan {
                    bytes += entry.as_ref().map_or(AHEAD_BYTES, |e| e.weight());
                    batch.push(entry);
                    if batch.len() == AHEAD_ENTRIES || bytes >= AHEAD_BYTES {
                        bytes = 0;
                        if batches.send(std::mem::take(&mut batch)).is_err() {
                            return;
                        }
                    }
                }
                // The receiver left early only after an error of its own.
                let _ = batches.send(batch);
            });
            self.replay_from(&entries, total)
        })
    }

    fn replay_from(&mut self, batches: &Receiver<Vec<Result<Arc<Entry>, ReadError>>>, total: u64) -> Result<(), FoldError> {
        let mut count = 0;
        for batch in batches {
            for entry in batch {
                self.replay_entry(entry?)?;
                count += 1;
            }
            if let Some(progress) = &self.progress {
                progress(count, total);
            }
        }
        let done = self.done.clone();
        self.databases
            .values_mut()
            .try_for_each(|d| d.commit(&done, &LogSource(self.log)))?;
        self.system.apply(&[], &done)
    }

    fn replay_entry(&mut self, entry: Arc<Entry>) -> Result<(), FoldError> {
        let next = self.done.get(entry.place.origin) + 1;
        if entry.place.seq < next {
            return Ok(());
        }
        if entry.place.seq > next || missing_cause(&entry, &self.done).is_some() {
            self.intake.add(entry);
            return Ok(());
        }
        self.done.advance(entry.place.origin, entry.place.seq);
        match &entry.body {
            Body::Void => Ok(()),
            Body::Control(_) => self.replay_system(&entry),
            Body::Rows(_) => self.replay_rows(&entry),
            Body::Schema(_) => self.replay_schema(&entry),
        }
    }

    fn replay_system(&mut self, entry: &Arc<Entry>) -> Result<(), FoldError> {
        if self.system.applied().contains(entry.place) {
            return Ok(());
        }
        let mut applied = self.system.applied().clone();
        applied.merge(&self.done);
        self.system.apply(std::slice::from_ref(entry), &applied)
    }

    fn replay_rows(&mut self, entry: &Arc<Entry>) -> Result<(), FoldError> {
        for id in databases(entry) {
            if let Some(database) = self.databases.get_mut(&id) {
                database.apply(entry, &self.done, &LogSource(self.log))?;
            }
        }
        Ok(())
    }

    fn replay_schema(&mut self, entry: &Arc<Entry>) -> Result<(), FoldError> {
        let Body::Schema(schema) = &entry.body else {
            return Ok(());
        };
        let change = system::parse(&schema.payload)?;
        let id = match &change {
            SchemaChange::CreateDatabase { .. } => object_id(entry.place, 0),
            _ => schema.db,
        };
        if let SchemaChange::CreateDatabase { name, .. } = &change {
            self.create(id, &name.to_lowercase())?;
        }
        let source = LogSource(self.log);
        let dropped = match self.databases.get_mut(&id) {
            Some(database) => {
                let dropped = database.apply(entry, &self.done, &source)?;
                // The shape changed: a position of its own, so that a crash never repeats half of it.
                database.commit(&self.done, &source)?;
                dropped
            }
            None => false,
        };
        if dropped {
            self.remove(id)?;
        }
        self.replay_system(entry)
    }

    fn create(&mut self, id: u64, name: &str) -> Result<(), FoldError> {
        if self.databases.get(&id).is_some_and(|d| d.file.is_some()) {
            return Ok(());
        }
        if self.databases.values().any(|d| d.name == name && d.id != id && d.file.is_some()) {
            // A later database of that name has its file already: this one is dropped further on.
            return Ok(());
        }
        self.files.add(name, id);
        let file = ddl::new_file(self.files, &self.identity, name, id)?;
        let recovered = Recovered {
            id,
            name: name.to_owned(),
            file: Some(file),
            applied: VersionVector::new(),
            open: None,
        };
        self.databases.insert(id, recovered);
        Ok(())
    }

    fn remove(&mut self, id: u64) -> Result<(), FoldError> {
        let Some(gone) = self.databases.remove(&id) else {
            return Ok(());
        };
        self.files.remove(&gone.name);
        let path = self.files.path(&gone.name);
        drop(gone);
        remove_file(&path)
    }

    fn finish(mut self) -> Result<Found, FoldError> {
        let mut catalog = Catalog {
            version: self.system.schema_version,
            ..Catalog::default()
        };
        let listed = self.system.databases()?;
        let stale: Vec<u64> = self
            .databases
            .keys()
            .copied()
            .filter(|id| !listed.iter().any(|(l, _)| l == id))
            .collect();
        for id in stale {
            tracing::warn!(id, "a file of a database that does not exist any more is removed");
            self.remove(id)?;
        }
        for (path, name) in stray_files(self.files, |p| self.owns(p)) {
            tracing::warn!(db = name, "a file of no database is removed");
            remove_file(&path)?;
        }
        let mut databases = Vec::new();
        for (id, database) in self.databases {
            let loaded = match &database.file {
                Some(file) => load_database(file.connection(), &database.name)?,
                None => None,
            };
            let Some(loaded) = loaded else {
                return Err(FoldError::Broken(format!(
                    "the log does not tell how database {} ({id}) was made",
                    database.name
                )));
            };
            let mark = damage_mark(&self.files.path(&database.name));
            if mark.exists() {
                remove_file(&mark)?;
            }
            catalog.databases.insert(database.name.clone(), loaded);
            databases.push(database);
        }
        Ok(Found {
            system: self.system,
            databases,
            applied: self.done,
            intake: self.intake,
            catalog,
        })
    }
}

impl Recovered {
    /// True: the entry dropped the database.
    fn apply(&mut self, entry: &Arc<Entry>, done: &VersionVector, log: &dyn EntrySource) -> Result<bool, FoldError> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        if self.applied.contains(entry.place) {
            return Ok(false);
        }
        if self.open.is_none() {
            file.begin(Epoch::default())?;
            self.open = Some(0);
        }
        let outcome = file.apply(entry, log)?;
        let bytes = self.open.unwrap_or(0) + entry.weight();
        self.open = Some(bytes);
        if bytes >= REPLAY_BYTES {
            self.commit(done, log)?;
        }
        Ok(outcome.dropped)
    }

    /// Stores `done` with what was applied.
    fn commit(&mut self, done: &VersionVector, log: &dyn EntrySource) -> Result<(), FoldError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut applied = self.applied.clone();
        applied.merge(done);
        if self.open.is_none() {
            if applied == self.applied {
                return Ok(());
            }
            file.begin(Epoch::default())?;
        }
        file.finish(&applied, log)?;
        file.commit()?;
        self.applied = applied;
        self.open = None;
        checkpoint_if_long(file, &self.name)
    }
}

/// Nobody else checkpoints during a replay.
fn checkpoint_if_long(file: &FileSide, name: &str) -> Result<(), FoldError> {
    let sql = format!("PRAGMA {}.wal_checkpoint(PASSIVE)", crate::physical::quote(name));
    file.connection().query_row(&sql, [], |_| Ok(()))?;
    Ok(())
}
