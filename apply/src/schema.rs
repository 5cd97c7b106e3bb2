//! Schema changes as they stand in entries: the JSON payload of `log::Schema`, and the pure step from one catalog to the next.
//!
//! Promises: `step` is a pure function; the same entries give the same catalog everywhere. A definition always travels
//! whole (not as a difference), so a change needs nothing but the ids to be understood.
//! Ids: a new database or table takes `object_id(place, index)` of its entry: in the payload its id is 0.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use starling_log::Place;
use starling_log::entry::object_id;

use crate::catalog::{Catalog, Database, Table};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum SchemaChange {
    CreateDatabase {
        name: String,
        collation: String,
    },
    AlterDatabase {
        collation: String,
    },
    /// Of `Schema::db`.
    DropDatabase,
    /// `table.id` is 0: made from the place.
    CreateTable {
        table: Box<Table>,
    },
    /// Several tables of one database in one entry.
    DropTables {
        tables: Vec<u64>,
    },
    /// `table` whole, as it is to be; columns are matched with the old ones by id (new ids: new columns, filled with their
    /// default), values converted where the type differs. Indexes likewise by id.
    AlterTable {
        table: Box<Table>,
    },
    /// Within the database (`to_db` = its id; a table does not move between files). Several renames happen at once.
    RenameTables {
        renames: Vec<Rename>,
    },
    /// All rows go, and the AUTO_INCREMENT counter starts again.
    TruncateTable {
        table: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rename {
    pub table: u64,
    pub to_db: u64,
    pub to_name: String,
}

impl SchemaChange {
    pub fn to_payload(&self) -> Vec<u8> {
        // A definition has no map with keys that JSON refuses, so this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
    pub fn from_payload(payload: &[u8]) -> Result<SchemaChange, serde_json::Error> {
        serde_json::from_slice(payload)
    }
}

/// The catalog after `change` (of database `db`, by the entry at `place`). Unknown objects make it a no-op: the entry that
/// dropped them came later in stamp order. A name that is taken makes it a no-op too.
pub fn step(catalog: &Catalog, db: u64, change: &SchemaChange, place: Place) -> Catalog {
    let mut next = catalog.clone();
    next.version += 1;
    if let SchemaChange::CreateDatabase { name, collation } = change {
        next.databases
            .entry(name.to_lowercase())
            .or_insert_with(|| Arc::new(new_database(name, collation, place)));
        return next;
    }
    let Some((key, old)) = next.databases.iter().find(|(_, d)| d.id == db) else {
        return next;
    };
    let (key, old) = (key.clone(), old.clone());
    match step_database(&old, change, place) {
        Some(new) => next.databases.insert(key, Arc::new(new)),
        None => next.databases.remove(&key),
    };
    next
}

/// The database that a CREATE DATABASE at `place` makes.
pub fn new_database(name: &str, collation: &str, place: Place) -> Database {
    Database {
        id: object_id(place, 0),
        name: name.to_owned(),
        collation: collation.to_owned(),
        tables: Default::default(),
    }
}

/// The same step within one database; `None`: it is dropped.
pub fn step_database(old: &Database, change: &SchemaChange, place: Place) -> Option<Database> {
    let mut next = old.clone();
    match change {
        SchemaChange::CreateDatabase { .. } => {}
        SchemaChange::AlterDatabase { collation } => next.collation.clone_from(collation),
        SchemaChange::DropDatabase => return None,
        SchemaChange::CreateTable { table } => create(&mut next, table, place),
        SchemaChange::DropTables { tables } => next.tables.retain(|_, t| !tables.contains(&t.id)),
        SchemaChange::AlterTable { table } => alter(&mut next, table),
        SchemaChange::RenameTables { renames } => rename(&mut next, renames),
        SchemaChange::TruncateTable { .. } => {}
    }
    Some(next)
}

fn create(db: &mut Database, table: &Table, place: Place) {
    let mut table = table.clone();
    table.id = object_id(place, 0);
    table.db = db.id;
    db.tables.entry(table.name.to_lowercase()).or_insert_with(|| Arc::new(table));
}

fn alter(db: &mut Database, table: &Table) {
    let Some((key, old)) = db
        .tables
        .iter()
        .find(|(_, t)| t.id == table.id)
        .map(|(k, t)| (k.clone(), t.clone()))
    else {
        return;
    };
    let mut new = table.clone();
    new.db = db.id;
    // A new name inside the definition is a rename, and gives way to a table that has that name.
    let wanted = new.name.to_lowercase();
    let renamed = wanted != key && !db.tables.contains_key(&wanted);
    if wanted != key && !renamed {
        new.name.clone_from(&old.name);
    }
    db.tables.remove(&key);
    db.tables.insert(new.name.to_lowercase(), Arc::new(new.clone()));
    if renamed {
        rename_parents(db, &[(old.name.clone(), new.name.clone())]);
    }
    rename_parent_columns(db, &old, &new);
}

fn rename(db: &mut Database, renames: &[Rename]) {
    let mut tables = db.tables.clone();
    let mut taken = Vec::new();
    for r in renames.iter().filter(|r| r.to_db == db.id) {
        let Some(key) = tables.iter().find(|(_, t)| t.id == r.table).map(|(k, _)| k.clone()) else {
            continue;
        };
        if let Some(table) = tables.remove(&key) {
            taken.push((table, r.to_name.clone()));
        }
    }
    let mut names = Vec::new();
    for (table, to) in taken {
        if tables.contains_key(&to.to_lowercase()) {
            return;
        }
        names.push((table.name.clone(), to.clone()));
        let mut table = Table::clone(&table);
        table.name.clone_from(&to);
        tables.insert(to.to_lowercase(), Arc::new(table));
    }
    db.tables = tables;
    rename_parents(db, &names);
}

/// Foreign keys name their parents: they follow a rename, as in MySQL.
fn rename_parents(db: &mut Database, names: &[(String, String)]) {
    for table in db.tables.values_mut() {
        let mut new = Table::clone(table);
        for fk in &mut new.foreign_keys {
            if let Some((_, to)) = names.iter().find(|(from, _)| from.to_lowercase() == fk.parent.to_lowercase()) {
                fk.parent.clone_from(to);
            }
        }
        if new != **table {
            *table = Arc::new(new);
        }
    }
}

fn rename_parent_columns(db: &mut Database, old: &Table, new: &Table) {
    let renamed: Vec<(&str, &str)> = old
        .columns
        .iter()
        .filter_map(|c| Some((c.name.as_str(), new.column_by_id(c.id)?.name.as_str())))
        .filter(|(from, to)| from != to)
        .collect();
    if renamed.is_empty() {
        return;
    }
    for table in db.tables.values_mut() {
        let mut child = Table::clone(table);
        let references = |parent: &str| parent.to_lowercase() == new.name.to_lowercase();
        for fk in child.foreign_keys.iter_mut().filter(|fk| references(&fk.parent)) {
            for column in &mut fk.parent_columns {
                if let Some((_, to)) = renamed.iter().find(|(from, _)| from.to_lowercase() == column.to_lowercase()) {
                    *column = (*to).to_owned();
                }
            }
        }
        if child != **table {
            *table = Arc::new(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{column, int, table};

    const PLACE: Place = Place { origin: 1, seq: 7 };

    fn shop() -> Catalog {
        let create = SchemaChange::CreateDatabase {
            name: "Shop".into(),
            collation: "utf8mb4_0900_ai_ci".into(),
        };
        step(&Catalog::default(), 0, &create, PLACE)
    }
    fn with_table(catalog: &Catalog, name: &str, seq: u64) -> Catalog {
        let made = SchemaChange::CreateTable {
            table: Box::new(table(name, vec![column(1, "id", int())], &[1])),
        };
        step(catalog, object_id(PLACE, 0), &made, Place { origin: 1, seq })
    }

    #[test]
    fn ids_come_from_the_place_and_names_compare_without_case() {
        let catalog = with_table(&shop(), "Items", 8);
        let t = catalog.table("SHOP", "items").expect("there");
        assert_eq!(t.id, object_id(Place { origin: 1, seq: 8 }, 0));
        assert_eq!((t.name.as_str(), catalog.version), ("Items", 2));
        // A taken name: nothing but the version moves.
        let again = with_table(&catalog, "ITEMS", 9);
        assert_eq!(again.table("shop", "items"), Some(t));
    }

    #[test]
    fn renames_happen_at_once_and_foreign_keys_follow() {
        let catalog = with_table(&with_table(&shop(), "a", 8), "b", 9);
        let db = object_id(PLACE, 0);
        let (a, b) = (object_id(Place { origin: 1, seq: 8 }, 0), object_id(Place { origin: 1, seq: 9 }, 0));
        let mut child = table("c", vec![column(1, "id", int())], &[1]);
        child.foreign_keys.push(crate::catalog::ForeignKey {
            name: "fk".into(),
            columns: vec![1],
            parent: "A".into(),
            parent_columns: vec!["id".into()],
            on_delete: crate::catalog::FkAction::NoAction,
            on_update: crate::catalog::FkAction::NoAction,
        });
        let catalog = step(
            &catalog,
            db,
            &SchemaChange::CreateTable { table: Box::new(child) },
            Place { origin: 1, seq: 10 },
        );
        let swap = SchemaChange::RenameTables {
            renames: vec![
                Rename {
                    table: a,
                    to_db: db,
                    to_name: "b".into(),
                },
                Rename {
                    table: b,
                    to_db: db,
                    to_name: "a".into(),
                },
            ],
        };
        let after = step(&catalog, db, &swap, Place { origin: 1, seq: 11 });
        assert_eq!(after.table("shop", "b").map(|t| t.id), Some(a));
        assert_eq!(after.table("shop", "a").map(|t| t.id), Some(b));
        assert_eq!(after.table("shop", "c").map(|t| t.foreign_keys[0].parent.clone()), Some("b".into()));
    }

    #[test]
    fn what_is_unknown_changes_nothing() {
        let catalog = with_table(&shop(), "a", 8);
        let gone = step(&catalog, object_id(PLACE, 0), &SchemaChange::DropTables { tables: vec![42] }, PLACE);
        assert_eq!(gone.databases, catalog.databases);
        let payload = SchemaChange::TruncateTable { table: 5 }.to_payload();
        assert_eq!(
            SchemaChange::from_payload(&payload).ok(),
            Some(SchemaChange::TruncateTable { table: 5 })
        );
    }
}
