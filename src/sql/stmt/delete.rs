//! DELETE: one SQLite statement where it can be; else the rows are chosen first and deleted by key.

use std::sync::Arc;

use starling_apply::Table;
use starling_apply::lane::Try;
use starling_log::Value;

use crate::sql::ast;
use crate::sql::bind::{Binder, Joined, Pins, Scope};
use crate::sql::error::{Result, SqlError};
use crate::sql::plan::Arg;
use crate::sql::session::errors::from_sqlite;

use super::insert::resolve;
use super::write::{JobSettings, Outcome, Returning, WritePlan, qualified, quote, returning};
use super::{duplicate, keys, select};

#[derive(Debug)]
pub struct DeletePlan {
    pub db: String,
    way: Way,
    reads: Vec<String>,
    /// Tables that it reads in joins and subqueries.
    used: Vec<Arc<Table>>,
    /// It names one row by its key, and reads nothing else.
    pub point: bool,
    /// That, and nothing follows from it in other tables.
    pub short: bool,
    args: Vec<Arg>,
    pub returning: Option<Returning>,
}

#[derive(Debug)]
enum Way {
    Direct {
        sql: String,
        table: Arc<Table>,
    },
    /// By key, each target: SELECT of its keys, DELETE of one.
    Chosen(Vec<Target>),
}

#[derive(Debug)]
struct Target {
    table: Arc<Table>,
    choose: String,
    delete: String,
}

pub fn plan(scope: &Scope<'_>, delete: &ast::Delete, pins: &mut Pins) -> Result<WritePlan> {
    if delete.with.is_some() {
        return Err(SqlError::unsupported("WITH before DELETE"));
    }
    let single = keys::single_table(&delete.from).filter(|_| delete.targets.is_empty());
    let Some((name, alias)) = single else {
        return many(scope, delete, pins);
    };
    let (db, table) = resolve(scope, name)?;
    let alias = alias.unwrap_or(&table.name).clone();
    let qualifier = quote(&alias);
    let mut binder = Binder::new(scope);
    binder.add_table(&db, &table, Some(&alias), &qualifier);
    let filter = match &delete.filter {
        Some(filter) => format!(" WHERE {}", binder.condition(filter, "where clause")?),
        None => String::new(),
    };
    let order = binder.order_by(&delete.order_by)?;
    let limit = delete.limit.as_ref().map(|l| binder.limit(l)).transpose()?.unwrap_or_default();
    let schema = db.name.to_lowercase();
    let target = format!("{} AS {qualifier}", qualified(&schema, &table.name));
    let returning = returning(&mut binder, &delete.returning, &table)?;
    let way = if delete.limit.is_none() && delete.order_by.is_empty() {
        let tail = returning.as_ref().map_or("", |r| r.sql.as_str());
        Way::Direct {
            sql: format!("DELETE FROM {target}{filter}{tail}"),
            table,
        }
    } else if returning.is_some() {
        return Err(SqlError::unsupported("DELETE ... ORDER BY or LIMIT ... RETURNING"));
    } else {
        let list = keys::key_list(&table, &qualifier).join(", ");
        let choose = format!("SELECT {list} FROM {target}{filter} {order} {limit}");
        Way::Chosen(vec![Target {
            delete: delete_one(&schema, &table),
            choose,
            table,
        }])
    };
    let point = binder.out.tables.is_empty() && binder.is_point(delete.filter.as_ref());
    pins.0.extend(&binder.pins.0);
    Ok(WritePlan::Delete(Box::new(DeletePlan {
        db: schema,
        way,
        reads: std::mem::take(&mut binder.out.dbs),
        point,
        short: point && !binder.waits && !keys::is_referenced(&db, &name.name),
        used: std::mem::take(&mut binder.out.tables),
        args: binder.out.args,
        returning,
    })))
}

fn delete_one(schema: &str, table: &Table) -> String {
    format!(
        "DELETE FROM {} WHERE {}",
        qualified(schema, &table.name),
        keys::key_condition(table, 1)
    )
}

/// DELETE a, b FROM … JOIN …
fn many(scope: &Scope<'_>, delete: &ast::Delete, pins: &mut Pins) -> Result<WritePlan> {
    if !delete.returning.is_empty() {
        return Err(SqlError::unsupported("multi-table DELETE ... RETURNING"));
    }
    if delete.limit.is_some() || !delete.order_by.is_empty() {
        return Err(SqlError::new(1221, "Incorrect usage of DELETE and LIMIT"));
    }
    let mut binder = Binder::new(scope);
    let from = binder.from(&delete.from)?;
    let tables = binder.tables();
    let filter = match &delete.filter {
        Some(filter) => format!(" WHERE {}", binder.condition(filter, "where clause")?),
        None => String::new(),
    };
    let mut targets = Vec::new();
    let mut first_db = None;
    for target in &delete.targets {
        let found = tables.iter().find(|t| t.alias.eq_ignore_ascii_case(&target.name));
        let Joined { db, table, qualifier, .. } = found.ok_or_else(|| keys::no_such_target(&target.name, "MULTI DELETE"))?.clone();
        let schema = db.to_lowercase();
        if *first_db.get_or_insert_with(|| schema.clone()) != schema {
            return Err(SqlError::unsupported("DELETE from tables of several databases"));
        }
        let list = keys::key_list(&table, &qualifier);
        let present = format!("{} IS NOT NULL", list[0]);
        let glue = if filter.is_empty() { " WHERE" } else { " AND" };
        let choose = format!("SELECT DISTINCT {} FROM {from}{filter}{glue} {present}", list.join(", "));
        targets.push(Target {
            delete: delete_one(&schema, &table),
            choose,
            table,
        });
    }
    pins.0.extend(&binder.pins.0);
    let db = first_db.ok_or_else(SqlError::no_database)?;
    Ok(WritePlan::Delete(Box::new(DeletePlan {
        db,
        way: Way::Chosen(targets),
        reads: std::mem::take(&mut binder.out.dbs),
        point: false,
        short: false,
        used: std::mem::take(&mut binder.out.tables),
        args: binder.out.args,
        returning: None,
    })))
}

impl DeletePlan {
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
    pub fn apply(&self, lane: &mut Try<'_>, values: &[Value], _: JobSettings) -> Result<Outcome> {
        let mark = lane.mark();
        let mut outcome = Outcome::default();
        match &self.way {
            Way::Direct { sql, table } => {
                let explain = |e: &rusqlite::Error| duplicate::from_statement(lane.connection, lane.catalog, table, e, true);
                let mut statement = keys::prepare(lane.connection, sql)?;
                crate::sql::session::args::bind(&mut statement, values).map_err(|e| from_sqlite(&e))?;
                if self.returning.is_some() {
                    drop(statement);
                    outcome.returned = select::collect(lane.connection, sql, values, u64::MAX)?;
                } else {
                    statement.raw_execute().map_err(|e| explain(&e))?;
                }
            }
            Way::Chosen(targets) => {
                let connection = lane.connection;
                let chosen: Vec<_> = targets
                    .iter()
                    .map(|t| keys::choose(connection, &t.choose, values))
                    .collect::<Result<_>>()?;
                for (target, rows) in targets.iter().zip(&chosen) {
                    let mut statement = keys::prepare(connection, &target.delete)?;
                    for row in rows {
                        let done = keys::run_once(&mut statement, &keys::values_of(row));
                        done.map_err(|e| duplicate::from_statement(connection, lane.catalog, &target.table, &e, true))?;
                    }
                }
            }
        }
        outcome.affected = lane.counts_since(mark).deleted;
        Ok(outcome)
    }
}
