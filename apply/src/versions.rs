//! The schema's own fold: every schema change of a database in stamp order, and the versions of each table that follow.
//!
//! Promises: pure. A table's versions are in stamp order; the last one is the present. What an entry's author had seen is
//! told from its causes, so an image is always read by the definition it was made under. Must not know: SQLite.

use std::collections::HashMap;
use std::sync::Arc;

use starling_log::{Entry, Place, Stamp};

use crate::catalog::{Database, IndexKind, Table};
use crate::physical;
use crate::schema::{SchemaChange, new_database, step_database};

/// One schema entry of this database.
#[derive(Clone, Debug)]
pub struct Step {
    pub stamp: Stamp,
    pub place: Place,
    pub change: SchemaChange,
}

/// A table from one schema change to the next.
#[derive(Clone, Debug)]
pub struct Version {
    pub stamp: Stamp,
    pub place: Place,
    pub table: Arc<Table>,
}

#[derive(Clone, Debug)]
pub struct Versions {
    pub all: Vec<Version>,
    /// Stamp of the last TRUNCATE: rows of earlier stamps are gone for good.
    pub truncated: Option<Stamp>,
    /// Stamp of the last change of what is unique: an entry below it met other rules than the present ones.
    pub barrier: Option<Stamp>,
}

#[derive(Clone, Debug, Default)]
pub struct Schemas {
    pub steps: Vec<Step>,
    pub database: Option<Arc<Database>>,
    /// Of the tables that exist.
    pub tables: HashMap<u64, Versions>,
}

/// Had the author of `entry` applied the entry at `place`?
pub fn seen(entry: &Entry, place: Place) -> bool {
    if place.origin == entry.place.origin {
        place.seq < entry.place.seq
    } else {
        entry.causes.contains(place)
    }
}

impl Versions {
    pub fn current(&self) -> &Arc<Table> {
        // A table comes into being with its first version.
        &self.all[self.all.len() - 1].table
    }
    /// Had the author of `entry` the present definition?
    pub fn is_current(&self, entry: &Entry) -> bool {
        self.all.last().is_some_and(|v| seen(entry, v.place))
    }
    /// Index of the version that `entry` was made under: the last one its author had seen.
    pub fn author(&self, entry: &Entry) -> usize {
        self.all.iter().rposition(|v| seen(entry, v.place)).unwrap_or(0)
    }
}

impl Schemas {
    pub fn fold(steps: Vec<Step>) -> Schemas {
        let mut schemas = Schemas::default();
        for step in steps {
            schemas.push(step);
        }
        schemas
    }

    /// The next step in stamp order.
    pub fn push(&mut self, step: Step) {
        let next = match (&self.database, &step.change) {
            (None, SchemaChange::CreateDatabase { name, collation }) => Some(new_database(name, collation, step.place)),
            (None, _) => None,
            (Some(old), change) => step_database(old, change, step.place),
        };
        let next = next.map(Arc::new);
        self.follow_tables(next.as_deref(), &step);
        self.database = next;
        self.steps.push(step);
    }

    fn follow_tables(&mut self, next: Option<&Database>, step: &Step) {
        let present: HashMap<u64, &Arc<Table>> = next.iter().flat_map(|d| d.tables.values()).map(|t| (t.id, t)).collect();
        self.tables.retain(|id, _| present.contains_key(id));
        for (id, table) in present {
            let version = || Version {
                stamp: step.stamp,
                place: step.place,
                table: table.clone(),
            };
            match self.tables.get_mut(&id) {
                None => {
                    let first = Versions {
                        all: vec![version()],
                        truncated: None,
                        barrier: None,
                    };
                    self.tables.insert(id, first);
                }
                Some(versions) if **versions.current() != **table => {
                    if uniqueness(versions.current()) != uniqueness(table) {
                        versions.barrier = Some(step.stamp);
                    }
                    versions.all.push(version());
                }
                Some(_) => {}
            }
        }
        if let SchemaChange::TruncateTable { table } = &step.change
            && let Some(versions) = self.tables.get_mut(table)
        {
            versions.truncated = Some(step.stamp);
        }
    }

    /// Adds a step anywhere; `true` if it was the newest.
    pub fn insert(&mut self, step: Step) -> bool {
        if self.steps.last().is_none_or(|last| last.stamp < step.stamp) {
            self.push(step);
            return true;
        }
        let mut steps = std::mem::take(&mut self.steps);
        let at = steps.partition_point(|s| s.stamp < step.stamp);
        steps.insert(at, step);
        *self = Schemas::fold(steps);
        false
    }
}

/// All that decides whether two rows exclude each other.
pub fn uniqueness(table: &Table) -> Vec<String> {
    let unique = |i: &&crate::catalog::Index| matches!(i.kind, IndexKind::Primary | IndexKind::Unique);
    let part = |p: &crate::catalog::KeyPart| {
        let column = table.column_by_id(p.column);
        let ty = column.map(|c| &c.ty);
        format!(
            "{} {:?} {ty:?} {:?}",
            p.column,
            physical::prefix(table, p),
            column.map(|c| &c.generated)
        )
    };
    let mut all: Vec<String> = table
        .indexes
        .iter()
        .filter(unique)
        .map(|i| {
            let id = if i.kind == IndexKind::Primary { 0 } else { i.id };
            format!("{id} {:?}", i.parts.iter().map(part).collect::<Vec<_>>())
        })
        .collect();
    all.sort();
    all
}

/// The same for the primary key alone.
pub fn key_shape(table: &Table) -> Option<String> {
    uniqueness(table).into_iter().find(|s| s.starts_with("0 "))
}
