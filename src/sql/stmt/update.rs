//! UPDATE: one SQLite statement where it can be; else rows and their new values are chosen first and written by key.

use std::sync::Arc;

use starling_apply::Table;
use starling_apply::lane::Try;
use starling_log::Value;

use crate::sql::ast;
use crate::sql::bind::{Binder, Joined, Pins, Scope};
use crate::sql::error::{Result, SqlError};
use crate::sql::plan::Arg;
use crate::sql::session::errors::from_sqlite;

use super::duplicate::{self, Violated, violated};
use super::insert::{assignments, resolve};
use super::keys;
use super::write::{JobSettings, Outcome, WritePlan, qualified, quote};

#[derive(Debug)]
pub struct UpdatePlan {
    pub db: String,
    ignore: bool,
    way: Way,
    reads: Vec<String>,
    /// Tables that it reads in joins and subqueries.
    used: Vec<Arc<Table>>,
    /// It names one row by its key, and reads nothing else.
    pub point: bool,
    /// That, and nothing follows from it in other tables.
    pub short: bool,
    args: Vec<Arg>,
}

#[derive(Debug)]
enum Way {
    /// `probe`: SELECT of the new values, to name the one that collided.
    Direct {
        sql: String,
        probe: String,
        columns: Vec<u32>,
        table: Arc<Table>,
    },
    /// By key, each target.
    Chosen(Vec<Target>),
}

#[derive(Debug)]
struct Target {
    table: Arc<Table>,
    /// Keys, then new values.
    choose: String,
    keys: usize,
    update: String,
    columns: Vec<u32>,
}

/// An UPDATE's assignments, by target table.
struct Assigned {
    /// `"c" = value`
    parts: Vec<String>,
    columns: Vec<u32>,
}

impl Assigned {
    fn new(table: &Table, parts: Vec<String>) -> Assigned {
        let columns = parts.iter().filter_map(|p| column_of(table, p)).collect();
        Assigned { parts, columns }
    }
    fn values(&self) -> Vec<&str> {
        self.parts.iter().filter_map(|p| p.split_once(" = ")).map(|(_, v)| v).collect()
    }
}

fn column_of(table: &Table, part: &str) -> Option<u32> {
    let name = part.split_once(" = ")?.0;
    table.columns.iter().find(|c| quote(&c.name) == name).map(|c| c.id)
}

pub fn plan(scope: &Scope<'_>, update: &ast::Update, pins: &mut Pins) -> Result<WritePlan> {
    if update.with.is_some() {
        return Err(SqlError::unsupported("WITH before UPDATE"));
    }
    if !update.returning.is_empty() {
        return Err(SqlError::unsupported("UPDATE ... RETURNING"));
    }
    let Some((name, alias)) = keys::single_table(&update.from) else {
        return many(scope, update, pins);
    };
    let (db, table) = resolve(scope, name)?;
    check_qualifiers(update, &table, alias.map(String::as_str))?;
    let mut binder = Binder::new(scope);
    // Assignments name the table by its own name, whatever the alias.
    let qualifier = quote(&table.name);
    binder.add_table(&db, &table, alias.map(String::as_str), &qualifier);
    let assigned = Assigned::new(&table, assignments(&mut binder, &update.set, &table, &qualifier)?);
    let filter = match &update.filter {
        Some(filter) => format!(" WHERE {}", binder.condition(filter, "where clause")?),
        None => String::new(),
    };
    let order = binder.order_by(&update.order_by)?;
    let limit = update.limit.as_ref().map(|l| binder.limit(l)).transpose()?.unwrap_or_default();
    let schema = db.name.to_lowercase();
    let target = format!("{} AS {qualifier}", qualified(&schema, &table.name));
    let way = if update.limit.is_none() && update.order_by.is_empty() && !update.ignore {
        Way::Direct {
            sql: format!("UPDATE {target} SET {}{filter}", assigned.parts.join(", ")),
            probe: format!(
                "SELECT {}, {} FROM {target}{filter}",
                keys::key_list(&table, &qualifier).join(", "),
                assigned.values().join(", ")
            ),
            columns: assigned.columns,
            table,
        }
    } else {
        let tail = format!("FROM {target}{filter} {order} {limit}");
        Way::Chosen(vec![chosen(&schema, table, &qualifier, assigned, &tail)])
    };
    let point = binder.out.tables.is_empty() && binder.is_point(update.filter.as_ref());
    pins.0.extend(&binder.pins.0);
    Ok(WritePlan::Update(Box::new(UpdatePlan {
        db: schema,
        ignore: update.ignore,
        way,
        reads: std::mem::take(&mut binder.out.dbs),
        point,
        short: point && !binder.waits && !keys::is_referenced(&db, &name.name),
        used: std::mem::take(&mut binder.out.tables),
        args: binder.out.args,
    })))
}

fn chosen(schema: &str, table: Arc<Table>, qualifier: &str, assigned: Assigned, tail: &str) -> Target {
    let list = keys::key_list(&table, qualifier);
    let set: Vec<String> = assigned
        .columns
        .iter()
        .filter_map(|id| table.column_by_id(*id))
        .enumerate()
        .map(|(i, c)| format!("{} = ?{}", quote(&c.name), list.len() + i + 1))
        .collect();
    Target {
        choose: format!("SELECT {}, {} {tail}", list.join(", "), assigned.values().join(", ")),
        update: format!(
            "UPDATE {} SET {} WHERE {}",
            qualified(schema, &table.name),
            set.join(", "),
            keys::key_condition(&table, 1)
        ),
        keys: list.len(),
        columns: assigned.columns,
        table,
    }
}

/// `SET t.c = …` must name the table that is updated.
fn check_qualifiers(update: &ast::Update, table: &Table, alias: Option<&str>) -> Result<()> {
    let own = alias.unwrap_or(&table.name);
    match update
        .set
        .iter()
        .find(|i| i.table.as_deref().is_some_and(|t| !t.eq_ignore_ascii_case(own)))
    {
        Some(item) => {
            let name = format!("{}.{}", item.table.as_deref().unwrap_or_default(), item.column);
            Err(SqlError::unknown_column(&name, "field list"))
        }
        None => Ok(()),
    }
}

/// UPDATE a JOIN b … SET a.x = …, b.y = …
fn many(scope: &Scope<'_>, update: &ast::Update, pins: &mut Pins) -> Result<WritePlan> {
    if update.limit.is_some() || !update.order_by.is_empty() {
        return Err(SqlError::new(1221, "Incorrect usage of UPDATE and LIMIT"));
    }
    let mut binder = Binder::new(scope);
    let from = binder.from(&update.from)?;
    let tables = binder.tables();
    let mut targets = Vec::new();
    let mut first_db = None;
    for Joined {
        alias,
        db,
        table,
        qualifier,
    } in &tables
    {
        let unqualified_here = |i: &ast::SetItem| i.table.is_none() && table.column(&i.column).is_some();
        let items: Vec<ast::SetItem> = update
            .set
            .iter()
            .filter(|i| unqualified_here(i) || i.table.as_deref().is_some_and(|t| t.eq_ignore_ascii_case(alias)))
            .cloned()
            .collect();
        if items.is_empty() {
            continue;
        }
        let schema = db.to_lowercase();
        if *first_db.get_or_insert_with(|| schema.clone()) != schema {
            return Err(SqlError::unsupported("UPDATE of tables in several databases"));
        }
        let assigned = Assigned::new(table, assignments(&mut binder, &items, table, qualifier)?);
        targets.push((schema, table.clone(), qualifier.clone(), assigned));
    }
    check_items(update, &tables)?;
    let filter = match &update.filter {
        Some(filter) => format!(" WHERE {}", binder.condition(filter, "where clause")?),
        None => String::new(),
    };
    let tail = format!("FROM {from}{filter}");
    let targets = targets
        .into_iter()
        .map(|(schema, table, qualifier, assigned)| chosen(&schema, table, &qualifier, assigned, &tail))
        .collect();
    pins.0.extend(&binder.pins.0);
    let db = first_db.ok_or_else(SqlError::no_database)?;
    Ok(WritePlan::Update(Box::new(UpdatePlan {
        db,
        ignore: update.ignore,
        way: Way::Chosen(targets),
        reads: std::mem::take(&mut binder.out.dbs),
        point: false,
        short: false,
        used: std::mem::take(&mut binder.out.tables),
        args: binder.out.args,
    })))
}

/// Each assignment of a multi-table UPDATE is for exactly one table.
fn check_items(update: &ast::Update, tables: &[Joined]) -> Result<()> {
    for item in &update.set {
        let named = |t: &&Joined| item.table.as_deref().is_none_or(|name| name.eq_ignore_ascii_case(&t.alias));
        let holders = tables
            .iter()
            .filter(named)
            .filter(|t| t.table.column(&item.column).is_some())
            .count();
        match holders {
            0 => return Err(SqlError::unknown_column(&item.column, "field list")),
            1 => {}
            _ => return Err(SqlError::new(1052, format!("Column '{}' in field list is ambiguous", item.column))),
        }
    }
    Ok(())
}

impl UpdatePlan {
    pub fn tables(&self) -> Vec<&Arc<Table>> {
        match &self.way {
            Way::Direct { table, .. } => vec![table],
            Way::Chosen(targets) => targets.iter().map(|t| &t.table).collect(),
        }
    }
    pub fn used(&self) -> &[Arc<Table>] {
        &self.used
    }
    pub fn reads(&self) -> &[String] {
        &self.reads
    }
    pub fn args(&self) -> &[Arg] {
        &self.args
    }
    pub fn apply(&self, lane: &mut Try<'_>, values: &[Value], settings: JobSettings) -> Result<Outcome> {
        let mark = lane.mark();
        match &self.way {
            Way::Direct {
                sql,
                probe,
                columns,
                table,
            } => {
                let mut statement = keys::prepare(lane.connection, sql)?;
                crate::sql::session::args::bind(&mut statement, values).map_err(|e| from_sqlite(&e))?;
                if let Err(error) = statement.raw_execute() {
                    drop(statement);
                    return Err(self.explain(lane, table, probe, columns, values, &error));
                }
            }
            Way::Chosen(targets) => self.by_key(lane, targets, values)?,
        }
        let counts = lane.counts_since(mark);
        let affected = if settings.found_rows { counts.matched } else { counts.updated };
        let info = format!("Rows matched: {}  Changed: {}  Warnings: {{w}}", counts.matched, counts.updated);
        Ok(Outcome {
            affected,
            info,
            ..Outcome::default()
        })
    }

    fn by_key(&self, lane: &mut Try<'_>, targets: &[Target], values: &[Value]) -> Result<()> {
        let connection = lane.connection;
        let chosen: Vec<_> = targets
            .iter()
            .map(|t| keys::choose(connection, &t.choose, values))
            .collect::<Result<_>>()?;
        for (target, rows) in targets.iter().zip(&chosen) {
            let mut seen = std::collections::HashSet::new();
            let mut statement = keys::prepare(connection, &target.update)?;
            for row in rows {
                let row = keys::values_of(row);
                // A row that a join finds several times is updated once; NULL keys are of outer joins without a row.
                let key = starling_log::Row::from_values(row[..target.keys].iter().map(Value::as_ref));
                if row[0] == Value::Null || !seen.insert(key) {
                    continue;
                }
                // What IGNORE passes over leaves nothing behind, in the file or in the capture.
                let run = if self.ignore {
                    lane.savepoint(|_| keys::run_once(&mut statement, &row))
                } else {
                    keys::run_once(&mut statement, &row)
                };
                let Err(error) = run else {
                    continue;
                };
                let explained = match violated(&target.table, &error) {
                    Some(Violated::Unique(index)) => duplicate::duplicate_entry(&target.table, index, |id| {
                        target.columns.iter().position(|c| *c == id).map(|at| row[target.keys + at].clone())
                    }),
                    _ => duplicate::from_statement(connection, lane.catalog, &target.table, &error, false),
                };
                if !self.ignore {
                    return Err(explained);
                }
                use crate::sql::func::context::{Level, warn};
                warn(Level::Warning, explained.code, explained.message);
            }
        }
        Ok(())
    }

    /// Names the value that collided: the first new key that is there already, or comes twice.
    fn explain(&self, lane: &Try<'_>, table: &Table, probe: &str, columns: &[u32], values: &[Value], error: &rusqlite::Error) -> SqlError {
        let Some(Violated::Unique(index)) = violated(table, error) else {
            return duplicate::from_statement(lane.connection, lane.catalog, table, error, false);
        };
        let keys = table.key_columns().len();
        let parts: Option<Vec<usize>> = index.parts.iter().map(|p| columns.iter().position(|c| *c == p.column)).collect();
        let rows = super::select::collect(lane.connection, probe, values, u64::MAX).unwrap_or_default();
        let collided = parts.and_then(|parts| {
            let mut seen = std::collections::HashSet::new();
            rows.iter().map(keys::values_of).find(|row| {
                let new: Vec<Value> = parts.iter().map(|at| row[keys + at].clone()).collect();
                let packed = starling_log::Row::from_values(new.iter().map(Value::as_ref));
                !seen.insert(packed) || self.taken(lane, table, index, &new, &row[..keys])
            })
        });
        let value = |id: u32| {
            let row = collided.as_ref()?;
            columns.iter().position(|c| *c == id).map(|at| row[keys + at].clone())
        };
        duplicate::duplicate_entry(table, index, value)
    }

    /// Does another row hold these values of `index`?
    fn taken(&self, lane: &Try<'_>, table: &Table, index: &starling_apply::Index, new: &[Value], key: &[Value]) -> bool {
        let conditions: Vec<String> = index
            .parts
            .iter()
            .filter_map(|p| table.column_by_id(p.column))
            .enumerate()
            .map(|(i, c)| format!("{} = ?{}", quote(&c.name), i + 1))
            .collect();
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} AND NOT ({})",
            qualified(&self.db, &table.name),
            conditions.join(" AND "),
            keys::key_condition(table, new.len() + 1)
        );
        let all: Vec<Value> = new.iter().chain(key).cloned().collect();
        super::select::collect(lane.connection, &sql, &all, 1).is_ok_and(|rows| !rows.is_empty())
    }
}
