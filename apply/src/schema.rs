//! Schema changes as they stand in entries: the JSON payload of `log::Schema`, and the pure step from one catalog to the next.
//!
//! Promises: `step` is a pure function; the same entries give the same catalog everywhere. A definition always travels
//! whole (not as a difference), so a change needs nothing but the ids to be understood.
//! Ids: a new database or table takes `object_id(place, index)` of its entry: in the payload its id is 0.

use serde::{Deserialize, Serialize};
use starling_log::Place;

use crate::catalog::{Catalog, Table};

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
    /// Within or between databases (`to_db` = the database's id). Several renames happen at once.
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

/// The catalog after `change` (of database `db`, by the entry at `place`). Unknown objects make it a no-op: the entry that
/// dropped them came later in stamp order.
pub fn step(catalog: &Catalog, db: u64, change: &SchemaChange, place: Place) -> Catalog {
    let _ = (catalog, db, change, place);
    todo!("fold helper")
}
