//! The MySQL-level catalog: what SHOW CREATE TABLE knows, as data. Immutable snapshots behind an `Arc`; a schema entry makes
//! the next one. SQLite's own schema is only the physical shape of it (`physical`).
//!
//! Promises: ids never change and are never reused; names compare without case (`lower_case_table_names = 2`), and are kept
//! as given. Must not know: SQL syntax (expressions stand in it as MySQL text, made by `sql`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::ColumnType;

/// All databases of the node. `version` grows with every schema entry applied (plan caches key on it).
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub version: u64,
    /// By lower-case name.
    pub databases: BTreeMap<String, Arc<Database>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    pub id: u64,
    pub name: String,
    /// Default collation for new tables (the charset is its prefix).
    pub collation: String,
    /// By lower-case name.
    #[serde(default)]
    pub tables: BTreeMap<String, Arc<Table>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub id: u64,
    pub db: u64,
    pub name: String,
    pub columns: Vec<Column>,
    /// The first one is PRIMARY if there is one.
    #[serde(default)]
    pub indexes: Vec<Index>,
    #[serde(default)]
    pub foreign_keys: Vec<ForeignKey>,
    #[serde(default)]
    pub checks: Vec<Check>,
    pub collation: String,
    /// As given (`InnoDB` …); kept for SHOW CREATE TABLE.
    pub engine: String,
    #[serde(default)]
    pub comment: String,
    /// Start of AUTO_INCREMENT as asked for by a table option (0: none).
    #[serde(default)]
    pub auto_increment: u64,
    #[serde(default)]
    pub row_format: Option<String>,
    /// Milliseconds since the epoch.
    #[serde(default)]
    pub created_ms: u64,
    /// Next column and index id to give out (ids start at 1; 0 is the hidden key).
    pub next_id: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub id: u32,
    pub name: String,
    pub ty: ColumnType,
    pub nullable: bool,
    #[serde(default)]
    pub default: DefaultValue,
    #[serde(default)]
    pub auto_increment: bool,
    /// ON UPDATE CURRENT_TIMESTAMP (of the column's own precision).
    #[serde(default)]
    pub on_update_now: bool,
    #[serde(default)]
    pub comment: String,
    #[serde(default)]
    pub generated: Option<Generated>,
    #[serde(default)]
    pub invisible: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum DefaultValue {
    /// No DEFAULT clause (a NOT NULL column then needs a value).
    #[default]
    None,
    Null,
    /// A constant, in MySQL's text form for the column's type (`0`, `abc`, `1970-01-01`).
    Literal(String),
    /// A constant of binary bytes.
    Bytes(Vec<u8>),
    /// CURRENT_TIMESTAMP of the column's own precision.
    Now,
    /// DEFAULT (expr), MySQL text.
    Expr(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// MySQL text.
    pub expr: String,
    /// The same lowered to SQLite (columns by name, quoted with double quotes).
    pub lowered: String,
    pub stored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexKind {
    Primary,
    Unique,
    Plain,
    FullText,
    Spatial,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    pub id: u32,
    /// `PRIMARY` for the primary key.
    pub name: String,
    pub kind: IndexKind,
    pub parts: Vec<KeyPart>,
    #[serde(default)]
    pub comment: String,
    #[serde(default)]
    pub invisible: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyPart {
    pub column: u32,
    /// Prefix length in characters (bytes for binary types).
    #[serde(default)]
    pub prefix: Option<u32>,
    #[serde(default)]
    pub descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FkAction {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<u32>,
    /// Parent table by name (in the same database); it need not exist while `foreign_key_checks = 0`.
    pub parent: String,
    pub parent_columns: Vec<String>,
    pub on_delete: FkAction,
    pub on_update: FkAction,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// MySQL text.
    pub expr: String,
    /// Lowered to SQLite.
    pub lowered: String,
    #[serde(default = "yes")]
    pub enforced: bool,
}

fn yes() -> bool {
    true
}

impl Catalog {
    pub fn database(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.get(&name.to_lowercase())
    }
    pub fn table(&self, db: &str, table: &str) -> Option<&Arc<Table>> {
        self.database(db)?.table(table)
    }
    pub fn database_by_id(&self, id: u64) -> Option<&Arc<Database>> {
        self.databases.values().find(|d| d.id == id)
    }
    pub fn table_by_id(&self, id: u64) -> Option<(&Arc<Database>, &Arc<Table>)> {
        self.databases
            .values()
            .find_map(|d| d.tables.values().find(|t| t.id == id).map(|t| (d, t)))
    }
}

impl Database {
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(&name.to_lowercase())
    }
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns
            .iter()
            .find(|c| c.name.eq_ignore_ascii_case(name) || c.name.to_lowercase() == name.to_lowercase())
    }
    pub fn column_by_id(&self, id: u32) -> Option<&Column> {
        self.columns.iter().find(|c| c.id == id)
    }
    pub fn primary(&self) -> Option<&Index> {
        self.indexes.iter().find(|i| i.kind == IndexKind::Primary)
    }
    /// Column ids of the key of row images: the primary key, or `[0]` (the hidden key).
    pub fn key_columns(&self) -> Vec<u32> {
        self.primary()
            .map_or_else(|| vec![0], |p| p.parts.iter().map(|k| k.column).collect())
    }
    pub fn auto_column(&self) -> Option<&Column> {
        self.columns.iter().find(|c| c.auto_increment)
    }
}
