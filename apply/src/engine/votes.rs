//! Versions for votes: what is the newest change of a key, as applied here?
//!
//! Promises: read on a pinned snapshot that holds all that was applied before the call; it serves many calls, as long as nothing new
//! is applied and until [`Votes::rest`]; lanes are not disturbed. Must not know: transactions, who asks.

use std::collections::HashMap;
use std::sync::Arc;

use starling_log::VersionVector;

use super::ApplyError;
use super::core::Core;
use crate::catalog::Catalog;
use crate::claim::{ClaimKey, Mode, Version};
use crate::lane::claims::version_of;
use crate::newest::Newest;
use crate::readers::Reader;

/// Whoever votes keeps one.
pub struct Votes {
    core: Arc<Core>,
    /// By database; made anew when the catalog changes.
    files: HashMap<u64, File>,
    catalog: Option<Arc<Catalog>>,
    pinned: Option<Pinned>,
}

struct File {
    name: String,
    newest: Newest,
}

struct Pinned {
    reader: Reader,
    /// What was applied when it was pinned.
    applied: Arc<VersionVector>,
    dbs: Vec<u64>,
}

impl Votes {
    pub(crate) fn new(core: Arc<Core>) -> Votes {
        Votes {
            core,
            files: HashMap::new(),
            catalog: None,
            pinned: None,
        }
    }

    /// The newest versions of these keys for claims of these modes, as applied here, in their order. Blocking.
    pub fn versions(&mut self, keys: &[(ClaimKey, Mode)]) -> Result<Vec<Version>, ApplyError> {
        let catalog = self.core.catalog();
        if !self.catalog.as_ref().is_some_and(|known| Arc::ptr_eq(known, &catalog)) {
            self.rest();
            self.files.clear();
            self.catalog = Some(Arc::clone(&catalog));
        }
        let mut dbs: Vec<Option<u64>> = Vec::with_capacity(keys.len());
        for (key, _) in keys {
            let database = match key {
                ClaimKey::Schema { db } => catalog.database_by_id(*db),
                ClaimKey::Table { table } | ClaimKey::Counter { table } | ClaimKey::Row { table, .. } | ClaimKey::Unique { table, .. } => {
                    catalog.table_by_id(*table).map(|(database, _)| database)
                }
                ClaimKey::Database { name } => catalog.database(name),
                ClaimKey::Control { .. } => None,
            };
            if let Some(database) = database {
                self.files.entry(database.id).or_insert_with(|| {
                    let name = database.name.to_lowercase();
                    let newest = Newest::new(&name);
                    File { name, newest }
                });
            }
            dbs.push(database.map(|d| d.id));
        }
        self.pin(&dbs)?;
        let Some(pinned) = &self.pinned else {
            return Ok(vec![Version::default(); keys.len()]);
        };
        let mut out = Vec::with_capacity(keys.len());
        for ((key, mode), db) in keys.iter().zip(dbs) {
            if let ClaimKey::Control { kind } = key {
                out.push(self.core.system.lock().newest(kind));
                continue;
            }
            // A table or database that is not there has no version.
            let Some(file) = db.and_then(|db| self.files.get(&db)) else {
                out.push(Version::default());
                continue;
            };
            let newest = &file.newest;
            out.push(match key {
                ClaimKey::Schema { .. } | ClaimKey::Database { .. } => newest.schema(&pinned.reader)?,
                ClaimKey::Table { table } => self.core.tables.version(*table, || newest.file(&pinned.reader))?,
                ClaimKey::Row { .. } | ClaimKey::Unique { .. } | ClaimKey::Counter { .. } => {
                    version_of(newest, &pinned.reader, key, *mode)?
                }
                ClaimKey::Control { .. } => Version::default(),
            });
        }
        Ok(out)
    }

    /// Lets the snapshot go: for when nothing is to be voted on.
    pub fn rest(&mut self) {
        self.pinned = None;
    }

    /// One snapshot over all of `dbs`, taken after whatever is applied by now.
    fn pin(&mut self, dbs: &[Option<u64>]) -> Result<(), ApplyError> {
        let applied = self.core.progress.applied();
        let fresh = self.pinned.as_ref().is_some_and(|pinned| {
            Arc::ptr_eq(&pinned.applied, &applied)
                && dbs.iter().flatten().all(|db| pinned.dbs.contains(db))
                && self.core.progress.is_dense()
        });
        if fresh {
            return Ok(());
        }
        self.rest();
        let mut wanted: Vec<u64> = dbs.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let names: Vec<&str> = wanted.iter().filter_map(|db| self.files.get(db)).map(|f| &*f.name).collect();
        let mut reader = Reader::unpinned(&self.core)?;
        reader.attach(&self.core.files, &names)?;
        match names.len() {
            // Nothing else can be half done there.
            1 => reader.pin_inside(&names)?,
            _ => reader.pin(&self.core.gate, &names)?,
        }
        self.pinned = Some(Pinned {
            reader,
            applied,
            dbs: wanted,
        });
        Ok(())
    }
}
