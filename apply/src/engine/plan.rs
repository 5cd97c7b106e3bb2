//! Schema changes that others decide on: checked here, on a snapshot, with what the outcome rests on.
//!
//! Promises: definition, rows and versions are those of one moment; nothing is held afterwards and nothing is logged, so whoever
//! decides has to see that the claims still hold. Must not know: SQL, who decides.

use std::sync::Arc;

use starling_log::{Body, Schema, Stamp, VersionVector};

use super::core::Core;
use super::ddl::{self, Check};
use super::{ApplyError, WriteError};
use crate::catalog::{Catalog, Database};
use crate::claim::{Claim, ClaimKey, Mode, Version};
use crate::history::Store;
use crate::lane::work::Failure;
use crate::materialize::{FoldError, load_database};
use crate::newest::Newest;
use crate::readers::Reader;
use crate::schema::SchemaChange;

/// A schema change to be decided on.
#[derive(Clone, Debug)]
pub struct Planned {
    pub body: Body,
    /// The definition for itself; tables whose rows it rests on shared, based on whatever `causes` covers.
    pub claims: Vec<Claim>,
    pub causes: VersionVector,
    pub schema: u64,
}

/// One moment of one database.
struct Moment {
    reader: Reader,
    database: Arc<Database>,
    version: Version,
    /// All of it is in the snapshot.
    applied: Arc<VersionVector>,
}

pub(crate) fn plan<E>(core: &Arc<Core>, db: Option<&str>, check: Check<'_, E>) -> Result<Option<Planned>, WriteError<E>> {
    let Some(name) = db else {
        return create(core, check);
    };
    let moment = moment(core, name)?.ok_or(Failure::NoDatabase)?;
    let catalog = with(&core.catalog(), name, &moment.database);
    let Some(wish) = check(&catalog, Some(&moment.reader)).map_err(WriteError::Job)? else {
        return Ok(None);
    };
    let id = moment.database.id;
    let body = ddl::body(core, id, &wish.change)?;
    let exclusive = |key| Claim {
        key,
        mode: Mode::Exclusive,
        base: moment.version,
    };
    let mut claims = vec![exclusive(ClaimKey::Schema { db: id })];
    if matches!(wish.change, SchemaChange::DropDatabase) {
        claims.push(exclusive(ClaimKey::Database { name: name.to_owned() }));
    }
    claims.extend(wish.rests_on.iter().map(|table| Claim {
        key: ClaimKey::Table { table: *table },
        mode: Mode::Shared,
        base: Version::default(),
    }));
    Ok(Some(Planned {
        body,
        claims,
        causes: VersionVector::clone(&moment.applied),
        schema: catalog.version,
    }))
}

/// CREATE DATABASE: the claim is on the name, which nobody has.
fn create<E>(core: &Arc<Core>, check: Check<'_, E>) -> Result<Option<Planned>, WriteError<E>> {
    let applied = core.progress.applied();
    let catalog = core.catalog();
    let Some(wish) = check(&catalog, None).map_err(WriteError::Job)? else {
        return Ok(None);
    };
    let body = ddl::body(core, 0, &wish.change)?;
    let name = match &wish.change {
        SchemaChange::CreateDatabase { name, .. } => name.to_lowercase(),
        _ => String::new(),
    };
    Ok(Some(Planned {
        body,
        claims: vec![Claim {
            key: ClaimKey::Database { name },
            mode: Mode::Exclusive,
            base: Version::default(),
        }],
        causes: VersionVector::clone(&applied),
        schema: catalog.version,
    }))
}

/// `None`: there is no such database.
fn moment(core: &Arc<Core>, name: &str) -> Result<Option<Moment>, Failure> {
    loop {
        let applied = core.progress.applied();
        let mut reader = Reader::unpinned(core).map_err(Failure::from)?;
        match reader.attach(&core.files, &[name]) {
            Err(ApplyError::NoDatabase(_)) => return Ok(None),
            other => other.map_err(Failure::from)?,
        }
        reader.pin(&core.gate, &[name]).map_err(Failure::from)?;
        let Some(database) = load_database(&reader, name)? else {
            return Ok(None);
        };
        let version = Newest::new(name).schema(&reader)?;
        if version.place.seq == 0 || applied.contains(version.place) {
            return Ok(Some(Moment {
                reader,
                database,
                version,
                applied,
            }));
        }
        // A schema change is in the file and about to be published.
        std::thread::yield_now();
    }
}

/// The catalog with one database as a snapshot shows it.
fn with(catalog: &Arc<Catalog>, name: &str, database: &Arc<Database>) -> Arc<Catalog> {
    if catalog.databases.get(name).is_some_and(|known| known == database) {
        return Arc::clone(catalog);
    }
    let mut patched = Catalog::clone(catalog);
    patched.databases.insert(name.to_owned(), Arc::clone(database));
    Arc::new(patched)
}

/// A database's definition now, and what was done to it since it was at `base`, in order. `None`: it is gone.
#[derive(Clone, Debug)]
pub struct Since {
    pub database: Arc<Database>,
    pub version: Version,
    pub changes: Vec<SchemaChange>,
}

pub(crate) fn since(core: &Arc<Core>, db: u64, base: Stamp) -> Result<Option<Since>, ApplyError> {
    let Some(lane) = core.lane_by_id(db) else { return Ok(None) };
    let moment = moment(core, &lane.name).map_err(|f| ApplyError::Other(format!("{f:?}")))?;
    let Some(moment) = moment.filter(|m| m.database.id == db) else {
        return Ok(None);
    };
    let mut changes = Vec::new();
    for (stamp, _, payload) in Store::new(&lane.name).steps(&moment.reader)? {
        if stamp > base {
            changes.push(SchemaChange::from_payload(&payload).map_err(|e| FoldError::Broken(format!("a schema entry: {e}")))?);
        }
    }
    Ok(Some(Since {
        database: Arc::clone(&moment.database),
        version: moment.version,
        changes,
    }))
}

impl Since {
    /// Do these tables mean what they meant? (A new table that points to one of them is empty when it is made.)
    pub fn leaves(&self, tables: &[u64]) -> bool {
        let ours = |id: &u64| tables.contains(id);
        self.changes.iter().all(|change| match change {
            SchemaChange::CreateDatabase { .. } | SchemaChange::AlterDatabase { .. } | SchemaChange::CreateTable { .. } => true,
            SchemaChange::DropDatabase => false,
            SchemaChange::DropTables { tables } => !tables.iter().any(ours),
            SchemaChange::TruncateTable { table } => !ours(table),
            SchemaChange::RenameTables { renames } => !renames.iter().any(|r| ours(&r.table)),
            SchemaChange::AlterTable { table } => {
                let parent = |name: &str| self.database.table(name).is_none_or(|t| ours(&t.id));
                !ours(&table.id) && !table.foreign_keys.iter().any(|f| parent(&f.parent))
            }
        })
    }
}

impl Planned {
    /// The database that it changes; 0: one to be made.
    pub fn db(&self) -> u64 {
        match &self.body {
            Body::Schema(Schema { db, .. }) => *db,
            _ => 0,
        }
    }
}
