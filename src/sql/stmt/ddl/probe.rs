//! What the rows of a table must fulfil before its definition may change: asked of the data while the change waits.
//!
//! Promises: a change that passed its probes can be applied to every row. Must not know: how it is applied.

use rusqlite::Connection;
use starling_apply::catalog::{Index, IndexKind};
use starling_apply::{Column, Table};

use super::Build;
use crate::sql::bind::{Binder, SqlMode};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::context;
use crate::sql::types::Ty;

/// A query over the old table that must give no row.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub sql: String,
    pub fails: Fails,
    mode: SqlMode,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Fails {
    /// NULL in a column that becomes NOT NULL: 1138.
    Null,
    /// Rows alike in a new unique key (`table.key`): 1062; the query gives the key's values.
    Duplicate(String),
    /// Rows that break a new CHECK: 3819.
    Check(String),
    /// Rows without a parent: 1452, with its text.
    Orphan(String),
    /// Runs for its errors (values that do not convert).
    Convert,
}

impl Probe {
    /// On a connection that sees the database attached.
    pub fn run(&self, connection: &Connection) -> Result<()> {
        let _strict = context::enter(context::Context {
            strict: true,
            no_zero_date: self.mode.no_zero_date,
            no_zero_in_date: self.mode.no_zero_in_date,
            allow_invalid_dates: self.mode.allow_invalid_dates,
            ..context::Context::default()
        });
        let result = self.ask(connection);
        context::take_warnings();
        result
    }
    fn ask(&self, connection: &Connection) -> Result<()> {
        let failed = |e: rusqlite::Error| context::parse_error(&e).unwrap_or_else(|| SqlError::internal(e));
        let mut statement = connection.prepare(&self.sql).map_err(failed)?;
        let columns = statement.column_count();
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            return Err(match &self.fails {
                Fails::Convert => continue,
                Fails::Null => SqlError::new(1138, "Invalid use of NULL value"),
                Fails::Check(name) => SqlError::new(3819, format!("Check constraint '{name}' is violated.")),
                Fails::Orphan(text) => SqlError::new(
                    1452,
                    format!("Cannot add or update a child row: a foreign key constraint fails ({text})"),
                ),
                Fails::Duplicate(key) => {
                    let values: Vec<String> = (0..columns).map(|i| shown(row.get_ref(i))).collect();
                    SqlError::new(1062, format!("Duplicate entry '{}' for key '{key}'", values.join("-")))
                }
            });
        }
        Ok(())
    }
}

fn shown(value: rusqlite::Result<rusqlite::types::ValueRef<'_>>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        Ok(ValueRef::Integer(v)) => v.to_string(),
        Ok(ValueRef::Real(v)) => v.to_string(),
        Ok(ValueRef::Text(v) | ValueRef::Blob(v)) => String::from_utf8_lossy(v).into_owned(),
        Ok(ValueRef::Null) => "NULL".into(),
        Err(_) => String::new(),
    }
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn source(build: &Build<'_>, table: &Table) -> String {
    format!("{}.{}", quoted(&build.database.name.to_lowercase()), quoted(&table.name))
}

/// The probes between two definitions of a table.
pub fn between(build: &Build<'_>, old: &Table, new: &Table) -> Result<Vec<Probe>> {
    let from = source(build, old);
    let mut probes = Vec::new();
    for column in &new.columns {
        let Some(before) = old.column_by_id(column.id) else {
            continue;
        };
        if before.generated.is_none() && column.generated.is_none() {
            probes.extend(of_column(build, old, before, column, &from)?);
        }
    }
    for index in new.indexes.iter().filter(|i| is_unique(i)) {
        let known = old.indexes.iter().any(|o| is_unique(o) && o.parts == index.parts);
        let retyped = index.parts.iter().any(|p| {
            let ty = |t: &Table| t.column_by_id(p.column).map(|c| c.ty.clone());
            ty(old) != ty(new)
        });
        if !known || retyped {
            probes.extend(of_index(old, new, index, &from));
        }
    }
    for check in new.checks.iter().filter(|c| c.enforced) {
        let known = old.checks.iter().any(|o| o.enforced && o.lowered == check.lowered);
        let old_columns_only = new
            .columns
            .iter()
            .filter(|c| super::keys::uses(&check.lowered, &c.name))
            .all(|c| old.column_by_id(c.id).is_some_and(|o| o.name == c.name));
        if !known && old_columns_only {
            probes.push(Probe {
                sql: format!("SELECT 1 FROM {from} WHERE NOT ({}) LIMIT 1", check.lowered),
                fails: Fails::Check(check.name.clone()),
                mode: build.scope().mode,
            });
        }
    }
    if build.ddl.foreign_key_checks {
        probes.extend(of_foreign_keys(build, old, new, &from));
    }
    Ok(probes)
}

fn is_unique(index: &Index) -> bool {
    matches!(index.kind, IndexKind::Primary | IndexKind::Unique)
}

fn of_column(build: &Build<'_>, old: &Table, before: &Column, after: &Column, from: &str) -> Result<Vec<Probe>> {
    let mut probes = Vec::new();
    let name = quoted(&before.name);
    if before.nullable && !after.nullable {
        probes.push(Probe {
            sql: format!("SELECT 1 FROM {from} WHERE {name} IS NULL LIMIT 1"),
            fails: Fails::Null,
            mode: build.scope().mode,
        });
    }
    // without strict mode values are cut as they come, as in MySQL
    if before.ty != after.ty && build.scope().mode.strict {
        let mut binder = Binder::new(build.scope());
        let itself = std::sync::Arc::new(old.clone());
        binder.add_table(build.database, &itself, None, super::SELF);
        let ty = Ty::of(before.ty.clone(), before.nullable);
        let converted = binder.assign(&name, &ty, after)?;
        if converted != name {
            probes.push(Probe {
                sql: format!("SELECT count({converted}) FROM {from}"),
                fails: Fails::Convert,
                mode: build.scope().mode,
            });
        }
    }
    Ok(probes)
}

/// Old names of the key's columns; `None` where one of them is new (its rows are all alike, MySQL finds that too).
fn of_index(old: &Table, new: &Table, index: &Index, from: &str) -> Option<Probe> {
    let mut keys = Vec::new();
    for part in &index.parts {
        let before = old.column_by_id(part.column)?;
        let after = new.column_by_id(part.column)?;
        let mut key = quoted(&before.name);
        if let Some(prefix) = part.prefix {
            key = format!("substr({key}, 1, {prefix})");
        }
        if let Some(collation) = after.ty.collation.as_ref().filter(|_| after.ty.collation != before.ty.collation) {
            key = format!("{key} COLLATE {}", quoted(collation));
        }
        keys.push(key);
    }
    let list = keys.join(", ");
    let filter = keys.iter().map(|k| format!("{k} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
    Some(Probe {
        sql: format!("SELECT {list} FROM {from} WHERE {filter} GROUP BY {list} HAVING count(*) > 1 LIMIT 1"),
        fails: Fails::Duplicate(format!("{}.{}", new.name, index.name)),
        mode: SqlMode::default(),
    })
}

fn of_foreign_keys(build: &Build<'_>, old: &Table, new: &Table, from: &str) -> Vec<Probe> {
    let mut probes = Vec::new();
    for foreign in &new.foreign_keys {
        if old.foreign_keys.iter().any(|f| f.name == foreign.name) {
            continue;
        }
        let names: Option<Vec<String>> = foreign
            .columns
            .iter()
            .map(|id| old.column_by_id(*id).map(|c| quoted(&c.name)))
            .collect();
        let (Some(names), Some(parent)) = (names, build.database.table(&foreign.parent)) else {
            continue;
        };
        let parent_source = source(build, parent);
        let join: Vec<String> = names
            .iter()
            .zip(&foreign.parent_columns)
            .map(|(c, p)| format!("p.{} = c.{c}", quoted(p)))
            .collect();
        let given: Vec<String> = names.iter().map(|c| format!("c.{c} IS NOT NULL")).collect();
        probes.push(Probe {
            sql: format!(
                "SELECT 1 FROM {from} AS c WHERE {} AND NOT EXISTS (SELECT 1 FROM {parent_source} AS p WHERE {}) LIMIT 1",
                given.join(" AND "),
                join.join(" AND ")
            ),
            fails: Fails::Orphan(format!(
                "`{}`.`{}`, {}",
                build.database.name,
                new.name,
                crate::sql::meta::create::foreign_key(new, foreign)
            )),
            mode: build.scope().mode,
        });
    }
    probes
}
