//! Schema and control entries: logged here, or come from another node, they are applied by the same steps.
//!
//! Promises: one schema change at a time; it has its database's lane to itself; catalog, file and list of databases agree when
//! it is published. (Changes that a quorum decides on are only checked here, by [`super::plan`], and come back as others' do.) Must not
//! know: SQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use starling_log::entry::object_id;
use starling_log::{Body, Control, Draft, Entry, Schema};

use super::core::{Core, Lane};
use super::file::{Epoch, FileSide, Identity};
use super::files::{self, MAX_ATTACHED};
use super::{ApplyError, Committed, WriteError, intake, placed, system};
use crate::catalog::Catalog;
use crate::lane::runner::{Parked, park};
use crate::lane::work::Failure;
use crate::materialize::{FoldError, load_database};
use crate::readers::Reader;
use crate::schema::SchemaChange;

/// Decides on a schema change: what it is on this catalog, with this view of its database's rows (none where there is no database yet);
/// `None`: nothing to do.
pub type Check<'c, E> = Box<dyn FnOnce(&Catalog, Option<&Connection>) -> Result<Option<Wish>, E> + 'c>;

/// A schema change that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    pub change: SchemaChange,
    /// Tables whose rows were looked at: what was seen of them must still hold when it commits.
    pub rests_on: Vec<u64>,
}

impl From<SchemaChange> for Wish {
    fn from(change: SchemaChange) -> Wish {
        Wish {
            change,
            rests_on: Vec::new(),
        }
    }
}

pub(crate) fn alter<E>(core: &Arc<Core>, db: Option<&str>, wait_ms: u64, check: Check<'_, E>) -> Result<Committed, WriteError<E>> {
    let deadline = super::deadline(wait_ms);
    let Some(_ddl) = core.ddl.try_lock_for(Duration::from_millis(wait_ms)) else {
        return Err(WriteError::Timeout);
    };
    let parked = match db {
        Some(name) => vec![hold(core, name, deadline)?],
        None => Vec::new(),
    };
    // The lane stands still: what is read now stays so.
    let reader = match db {
        Some(name) => Some(Reader::open(core, &[name]).map_err(Failure::from)?),
        None => None,
    };
    let Some(wish) = check(&core.catalog(), reader.as_deref()).map_err(WriteError::Job)? else {
        return Ok(Committed::default());
    };
    drop(reader);
    let draft = Draft {
        causes: core.progress.seen(),
        schema: core.catalog().version,
        body: body(core, parked.first().map_or(0, |p| p.lane.id), &wish.change)?,
    };
    let entries = core.append(vec![draft])?;
    for entry in &entries {
        apply_schema(core, entry, &parked).map_err(|e| {
            tracing::error!(error = %e, "a logged schema change cannot be applied");
            if let Some(parked) = parked.first() {
                parked.lane.file().behind.push(Arc::clone(entry));
            }
            WriteError::Unapplied(e.to_string())
        })?;
    }
    Ok(Committed {
        placed: entries.first().map(|e| placed(e)),
    })
}

fn hold(core: &Core, name: &str, deadline: Option<Instant>) -> Result<Parked, Failure> {
    let lane = core.lane(name).ok_or(Failure::NoDatabase)?;
    let (parked, answer) = park(&lane, deadline);
    answer.blocking_recv().unwrap_or(Err(Failure::NoDatabase))?;
    core.catch_up(&lane)?;
    Ok(parked)
}

/// The entry's body; refused where it could be logged but not applied.
pub(super) fn body(core: &Core, db: u64, change: &SchemaChange) -> Result<Body, Failure> {
    refuse_impossible(core, db, change)?;
    let payload = serde_json::to_vec(change).map_err(|e| Failure::text(rusqlite::ErrorCode::Unknown, e.to_string()))?;
    Ok(Body::Schema(Schema { db, payload }))
}

/// What would be logged and then could not be applied anywhere.
fn refuse_impossible(core: &Core, db: u64, change: &SchemaChange) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::text(rusqlite::ErrorCode::Unknown, why));
    match change {
        SchemaChange::CreateDatabase { name, .. } => {
            let name = name.to_lowercase();
            let catalog = core.catalog();
            if catalog.databases.len() >= MAX_ATTACHED {
                return refuse(format!("there are {MAX_ATTACHED} databases already, more are not supported"));
            }
            if matches!(name.as_str(), "main" | "temp") || name == system::SYSTEM {
                return refuse(format!("database name '{name}' is reserved"));
            }
            if db != 0 || catalog.database(&name).is_some() {
                return refuse(format!("database '{name}' exists"));
            }
            Ok(())
        }
        _ if db == 0 => refuse("a schema change needs its database".to_owned()),
        SchemaChange::RenameTables { renames } if renames.iter().any(|r| r.to_db != db) => {
            refuse("renaming a table into another database is not supported".to_owned())
        }
        _ => Ok(()),
    }
}

/// Applies a schema entry that is durable. The caller holds `core.ddl`, and (by `parked`) the lane if it is one's own entry.
pub(crate) fn apply_schema(core: &Arc<Core>, entry: &Arc<Entry>, parked: &[Parked]) -> Result<(), ApplyError> {
    let Body::Schema(schema) = &entry.body else {
        return Err(ApplyError::Other("not a schema entry".to_owned()));
    };
    let change = system::parse(&schema.payload)?;
    if let SchemaChange::CreateDatabase { name, .. } = &change {
        return create_database(core, entry, &name.to_lowercase());
    }
    let Some(lane) = core.lane_by_id(schema.db) else {
        // Its database is gone: a later entry that came first dropped it.
        return publish(core, entry);
    };
    let _parked = if parked.is_empty() {
        intake::park_all(core, &[Arc::clone(&lane)])?
    } else {
        Vec::new()
    };
    change_database(core, &lane, entry)?;
    forget_numbers(core, &change);
    Ok(())
}

/// Counters of tables that are not what they were.
fn forget_numbers(core: &Core, change: &SchemaChange) {
    let mut autos = core.autos.lock();
    match change {
        SchemaChange::TruncateTable { table } => autos.forget(*table),
        SchemaChange::AlterTable { table } => autos.forget(table.id),
        SchemaChange::DropTables { tables } => tables.iter().for_each(|t| autos.forget(*t)),
        _ => {}
    }
}

fn create_database(core: &Arc<Core>, entry: &Arc<Entry>, name: &str) -> Result<(), ApplyError> {
    let id = object_id(entry.place, 0);
    if let Some(other) = core.lane(name) {
        // Only concurrent founders could do that; the older one keeps the name.
        tracing::error!(
            db = name,
            other = other.id,
            "a database of that name exists already, the second one is ignored"
        );
        return publish(core, entry);
    }
    let mut applied = (*core.progress.applied()).clone();
    applied.advance(entry.place.origin, entry.place.seq);
    core.files.add(name, id);
    let outcome = create_file(core, name, id).and_then(|mut file| {
        file.begin(Epoch::default())?;
        file.apply(entry, &**core)?;
        file.finish(&applied, &**core)?;
        file.commit()?;
        let database = load_database(file.connection(), name)?;
        Ok((file, database))
    });
    let (file, database) = match outcome {
        Ok(made) => made,
        Err(error) => {
            core.files.remove(name);
            return Err(error.into());
        }
    };
    core.start_lane(name, id, file, applied)
        .map_err(|e| ApplyError::Other(format!("cannot start a lane: {e}")))?;
    core.change_catalog(name, database);
    publish(core, entry)
}

/// A new file of a database, empty but for its identity.
pub(crate) fn create_file(core: &Core, name: &str, id: u64) -> Result<FileSide, FoldError> {
    new_file(&core.files, &core.identity, name, id)
}

pub(crate) fn new_file(all: &files::Files, log: &[u8], name: &str, id: u64) -> Result<FileSide, FoldError> {
    let path = all.path(name);
    files::delete(&path).map_err(|e| FoldError::Broken(format!("cannot remove {}: {e}", path.display())))?;
    files::create(&path)?;
    let file = FileSide::open(all, name, id)?;
    let identity = Identity { log: log.to_vec(), db: id };
    identity.write(file.connection(), name)?;
    Ok(file)
}

fn change_database(core: &Arc<Core>, lane: &Arc<Lane>, entry: &Arc<Entry>) -> Result<(), ApplyError> {
    let mut applied = lane.stored();
    applied.merge(&core.progress.applied());
    applied.advance(entry.place.origin, entry.place.seq);
    let mut file = lane.file();
    let outcome = file.begin(lane.epoch()).and_then(|()| {
        let outcome = file.apply(entry, &**core)?;
        file.finish(&applied, &**core)?;
        file.commit()?;
        Ok(outcome)
    });
    let outcome = outcome.inspect_err(|_| file.rollback())?;
    let epoch = lane.reshaped(&applied);
    file.set_epoch(epoch);
    if outcome.dropped {
        drop(file);
        return drop_database(core, lane, entry);
    }
    if outcome.schema_changed {
        let database = load_database(file.connection(), &lane.name)?;
        core.change_catalog(&lane.name, database);
    }
    drop(file);
    publish(core, entry)
}

/// The file says that it is dropped: what is left to do is to forget it.
fn drop_database(core: &Arc<Core>, lane: &Arc<Lane>, entry: &Arc<Entry>) -> Result<(), ApplyError> {
    core.change_catalog(&lane.name, None);
    core.forget_lane(&lane.name);
    core.files.remove(&lane.name);
    lane.stop(Failure::NoDatabase);
    // Idle readers have it attached still; those at work keep their snapshot of the removed file.
    core.pool.clear();
    publish(core, entry)?;
    let path = core.files.path(&lane.name);
    files::delete(&path).map_err(|e| ApplyError::Other(format!("cannot remove {}: {e}", path.display())))
}

/// Into the system file, and visible.
fn publish(core: &Core, entry: &Arc<Entry>) -> Result<(), ApplyError> {
    let mut system = core.system.lock();
    store(core, &mut system, entry)
}

fn store(core: &Core, system: &mut system::System, entry: &Arc<Entry>) -> Result<(), ApplyError> {
    let mut applied = system.applied().clone();
    applied.merge(&core.progress.applied());
    // Beyond a gap the vector must not go: what stands in the gap may concern this file too. It catches up later.
    if applied.get(entry.place.origin) + 1 == entry.place.seq {
        applied.advance(entry.place.origin, entry.place.seq);
    }
    system.apply(std::slice::from_ref(entry), &applied)?;
    if matches!(entry.body, Body::Control(_)) {
        core.publish_control(entry);
    }
    core.progress.complete([entry.place]);
    Ok(())
}

pub(crate) fn apply_control(core: &Core, entry: &Arc<Entry>) -> Result<(), ApplyError> {
    publish(core, entry)
}

pub(crate) fn control<E>(core: &Core, kind: &str, payload: Vec<u8>) -> Result<Committed, WriteError<E>> {
    let draft = Draft {
        causes: core.progress.seen(),
        schema: core.catalog().version,
        body: Body::Control(Control {
            kind: kind.to_owned(),
            payload,
        }),
    };
    let mut system = core.system.lock();
    let entries = core.append(vec![draft])?;
    for entry in &entries {
        store(core, &mut system, entry).map_err(|e| WriteError::Unapplied(e.to_string()))?;
    }
    Ok(Committed {
        placed: entries.first().map(|e| placed(e)),
    })
}
