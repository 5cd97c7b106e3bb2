//! Constraint errors of SQLite as MySQL words them, with the key and the value that collided.

use rusqlite::Connection;
use rusqlite::ffi;
use starling_apply::catalog::{ForeignKey, IndexKind};
use starling_apply::types::text;
use starling_apply::{Catalog, Column, Database, Index, Table};
use starling_log::{Value, ValueRef};

use crate::sql::error::SqlError;
use crate::sql::session::args;
use crate::sql::session::errors::from_sqlite;

use super::write::{qualified, quote};

/// Which constraint failed.
pub enum Violated<'t> {
    Unique(&'t Index),
    NotNull(&'t Column),
    Check(String),
    ForeignKey,
    Other,
}

/// What `error` says about `table`; `None`: it is no constraint's error.
pub fn violated<'t>(table: &'t Table, error: &rusqlite::Error) -> Option<Violated<'t>> {
    let rusqlite::Error::SqliteFailure(code, Some(message)) = error else {
        return None;
    };
    if code.code != rusqlite::ErrorCode::ConstraintViolation {
        return None;
    }
    let detail = message.split_once("constraint failed: ").map_or("", |(_, d)| d);
    Some(match code.extended_code {
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_ROWID => {
            unique_index(table, detail).map_or(Violated::Other, Violated::Unique)
        }
        ffi::SQLITE_CONSTRAINT_NOTNULL => {
            let name = detail.rsplit('.').next().unwrap_or_default();
            table.column(name).map_or(Violated::Other, Violated::NotNull)
        }
        ffi::SQLITE_CONSTRAINT_CHECK => Violated::Check(detail.to_string()),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Violated::ForeignKey,
        _ => Violated::Other,
    })
}

/// SQLite names the columns (`t.a, t.b`), or the index where it is one of expressions (`index 'i_…_3'`: the id is its end).
fn unique_index<'t>(table: &'t Table, detail: &str) -> Option<&'t Index> {
    let unique = || {
        table
            .indexes
            .iter()
            .filter(|i| matches!(i.kind, IndexKind::Primary | IndexKind::Unique))
    };
    if let Some(name) = detail.strip_prefix("index '") {
        let id: u32 = name.trim_end_matches('\'').rsplit('_').next()?.parse().ok()?;
        return unique().find(|i| i.id == id);
    }
    let prefix = format!("{}.", table.name);
    let names: Vec<&str> = detail.split(", ").map(|n| n.strip_prefix(prefix.as_str()).unwrap_or(n)).collect();
    unique().find(|i| {
        i.parts.len() == names.len()
            && i.parts
                .iter()
                .zip(&names)
                .all(|(p, n)| table.column_by_id(p.column).is_some_and(|c| c.name.eq_ignore_ascii_case(n)))
    })
}

/// 1062. `value`: what a column (by id) was to hold.
pub fn duplicate_entry(table: &Table, index: &Index, value: impl Fn(u32) -> Option<Value>) -> SqlError {
    let parts: Vec<String> = index
        .parts
        .iter()
        .map(|part| match (table.column_by_id(part.column), value(part.column)) {
            (Some(column), Some(v)) => shown(column, v.as_ref(), part.prefix),
            _ => String::new(),
        })
        .collect();
    // MySQL's own limit of what it shows.
    const SHOWN: usize = 192;
    let entry: String = parts.join("-").chars().take(SHOWN).collect();
    SqlError::new(1062, format!("Duplicate entry '{entry}' for key '{}.{}'", table.name, index.name))
}

fn shown(column: &Column, value: ValueRef<'_>, prefix: Option<u32>) -> String {
    if value == ValueRef::Null {
        return "NULL".into();
    }
    let mut out = Vec::new();
    text::write(&mut out, &column.ty, value);
    let text = String::from_utf8_lossy(&out);
    match prefix {
        Some(n) => text.chars().take(n as usize).collect(),
        None => text.into_owned(),
    }
}

pub fn cannot_be_null(column: &str) -> SqlError {
    SqlError::new(1048, format!("Column '{column}' cannot be null"))
}

pub fn check_violated(name: &str) -> SqlError {
    SqlError::new(3819, format!("Check constraint '{name}' is violated."))
}

fn foreign_key_text(db: &str, table: &Table, key: &ForeignKey) -> String {
    let names: Vec<String> = key
        .columns
        .iter()
        .filter_map(|id| table.column_by_id(*id))
        .map(|c| format!("`{}`", c.name))
        .collect();
    let parents: Vec<String> = key.parent_columns.iter().map(|c| format!("`{c}`")).collect();
    let mut text = format!(
        "`{db}`.`{}`, CONSTRAINT `{}` FOREIGN KEY ({}) REFERENCES `{}` ({})",
        table.name,
        key.name,
        names.join(", "),
        key.parent,
        parents.join(", ")
    );
    for (event, action) in [(" ON DELETE ", key.on_delete), (" ON UPDATE ", key.on_update)] {
        let word = match action {
            starling_apply::catalog::FkAction::NoAction => continue,
            starling_apply::catalog::FkAction::Restrict => "RESTRICT",
            starling_apply::catalog::FkAction::Cascade => "CASCADE",
            starling_apply::catalog::FkAction::SetNull => "SET NULL",
            starling_apply::catalog::FkAction::SetDefault => "SET DEFAULT",
        };
        text.push_str(event);
        text.push_str(word);
    }
    text
}

/// 1452: a child row without its parent. `value`: what the child's column (by id) was to hold, where that is known.
pub fn no_parent(connection: &Connection, db: &Database, table: &Table, value: impl Fn(u32) -> Option<Value>) -> SqlError {
    let key = table
        .foreign_keys
        .iter()
        .find(|k| !has_parent(connection, db, k, &value))
        .or(table.foreign_keys.first());
    match key {
        Some(key) => SqlError::new(
            1452,
            format!(
                "Cannot add or update a child row: a foreign key constraint fails ({})",
                foreign_key_text(&db.name, table, key)
            ),
        ),
        None => is_parent(db, table),
    }
}

fn has_parent(connection: &Connection, db: &Database, key: &ForeignKey, value: impl Fn(u32) -> Option<Value>) -> bool {
    let values: Option<Vec<Value>> = key.columns.iter().map(|c| value(*c)).collect();
    let Some(values) = values else { return true };
    if values.contains(&Value::Null) {
        return true;
    }
    let conditions: Vec<String> = key
        .parent_columns
        .iter()
        .enumerate()
        .map(|(i, c)| format!("{} = ?{}", quote(c), i + 1))
        .collect();
    let sql = format!(
        "SELECT 1 FROM {} WHERE {}",
        qualified(&db.name.to_lowercase(), &key.parent),
        conditions.join(" AND ")
    );
    let found = connection.prepare(&sql).and_then(|mut statement| {
        args::bind(&mut statement, &values)?;
        statement.raw_query().next().map(|row| row.is_some())
    });
    found.unwrap_or(true)
}

/// 1451: a parent row that children still need (the first foreign key that points here is named).
pub fn is_parent(db: &Database, table: &Table) -> SqlError {
    let child = db.tables.values().find_map(|t| {
        t.foreign_keys
            .iter()
            .find(|k| k.parent.eq_ignore_ascii_case(&table.name))
            .map(|k| foreign_key_text(&db.name, t, k))
    });
    let detail = child.unwrap_or_else(|| format!("`{}`.`{}`", db.name, table.name));
    SqlError::new(
        1451,
        format!("Cannot delete or update a parent row: a foreign key constraint fails ({detail})"),
    )
}

/// Any constraint's error of a statement over many rows (the row is not known).
pub fn from_statement(connection: &Connection, catalog: &Catalog, table: &Table, error: &rusqlite::Error, deleting: bool) -> SqlError {
    let db = catalog.database_by_id(table.db);
    match (violated(table, error), db) {
        (Some(Violated::NotNull(column)), _) => cannot_be_null(&column.name),
        (Some(Violated::Check(name)), _) => check_violated(&name),
        (Some(Violated::ForeignKey), Some(db)) if deleting || table.foreign_keys.is_empty() => is_parent(db, table),
        (Some(Violated::ForeignKey), Some(db)) => no_parent(connection, db, table, |_| None),
        (Some(Violated::Unique(index)), _) => duplicate_entry(table, index, |_| None),
        _ => from_sqlite(error),
    }
}
