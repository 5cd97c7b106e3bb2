//! Rows by their keys: for UPDATE and DELETE that SQLite cannot say itself (ORDER BY, LIMIT, several tables).
//!
//! The rows are chosen first (keys, and for UPDATE the new values, read on the lane), then written one by one in that order: what
//! the statement chose does not change while it writes.

use rusqlite::Connection;
use starling_apply::{Database, Table};
use starling_log::{Row, Value, ValueRef};

use crate::sql::ast::{Name, TableRef};
use crate::sql::error::{Result, SqlError};
use crate::sql::session::args;
use crate::sql::session::errors::from_sqlite;

use super::write::quote;

/// Do foreign keys point to the table?
pub fn is_referenced(db: &Database, table: &str) -> bool {
    let mut keys = db.tables.values().flat_map(|t| &t.foreign_keys);
    keys.any(|k| k.parent.eq_ignore_ascii_case(table) || k.parent.to_lowercase() == table.to_lowercase())
}

/// SQLite text of a table's key columns, each under `qualifier`.
pub fn key_list(table: &Table, qualifier: &str) -> Vec<String> {
    match table.primary() {
        None => vec![format!("{qualifier}.rowid")],
        Some(primary) => primary
            .parts
            .iter()
            .filter_map(|p| table.column_by_id(p.column))
            .map(|c| format!("{qualifier}.{}", quote(&c.name)))
            .collect(),
    }
}

/// `"a" = ?n AND "b" = ?n+1`, from parameter `first` on.
pub fn key_condition(table: &Table, first: usize) -> String {
    let names: Vec<String> = match table.primary() {
        None => vec!["rowid".into()],
        Some(primary) => primary
            .parts
            .iter()
            .filter_map(|p| table.column_by_id(p.column))
            .map(|c| quote(&c.name))
            .collect(),
    };
    names
        .iter()
        .enumerate()
        .map(|(i, n)| format!("{n} IS ?{}", first + i))
        .collect::<Vec<_>>()
        .join(" AND ")
}

pub fn values_of(row: &Row) -> Vec<Value> {
    row.as_ref().iter().filter_map(ValueRef::to_owned).collect()
}

/// The rows of a choosing SELECT.
pub fn choose(connection: &Connection, sql: &str, arguments: &[Value]) -> Result<Vec<Row>> {
    super::select::collect(connection, sql, arguments, u64::MAX)
}

/// Runs a prepared statement once with these values.
pub fn run_once(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> rusqlite::Result<usize> {
    args::bind(statement, values)?;
    statement.raw_execute()
}

/// Prepares on the lane.
pub fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<rusqlite::CachedStatement<'c>> {
    connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))
}

/// The one plain table of a single-table statement.
pub fn single_table(from: &[TableRef]) -> Option<(&crate::sql::ast::TableName, Option<&Name>)> {
    match from {
        [TableRef::Table { name, alias, .. }] => Some((name, alias.as_ref())),
        _ => None,
    }
}

pub fn no_such_target(name: &str, statement: &str) -> SqlError {
    SqlError::new(1109, format!("Unknown table '{name}' in {statement}"))
}
