//! SELECT … FOR UPDATE and FOR SHARE, and all reads of SERIALIZABLE transactions: read on the lane, the newest state under the
//! transaction's own changes, and what is returned is locked.
//!
//! Promises: a row that is returned is locked in its version returned; SKIP LOCKED leaves out what others hold, and counts LIMIT without it.
//! Outside a transaction it waits as inside, and locks nothing. Must not know: the lock table.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use starling_apply::claim::{Claim, ClaimKey, Mode, Version};
use starling_apply::engine::Size;
use starling_apply::lane::Try;
use starling_log::{Row, Value, ValueRef};

use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::{self, Effects, Warning};
use crate::sql::meta;
use crate::sql::plan::{LockedTable, Locks, SelectPlan};
use crate::sql::result::{Done, Sink};
use crate::sql::session::errors::{from_failed, from_sqlite};
use crate::sql::session::{Inputs, Plan, Session, args};
use crate::txn::{Asked, Call};

use super::select;
use super::write::function_context;

/// Rows that one locking read may return: they are held until they are sent.
const ROWS_MAX: usize = 1_000_000;

/// Rows copied off the lane, with the keys behind the columns.
struct Copied {
    rows: Vec<Row>,
    warnings: (Vec<Warning>, u64),
    effects: Effects,
}

pub async fn run(session: &mut Session, shared: &Arc<Plan>, plan: &SelectPlan, inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    let Some(locks) = &plan.locking else {
        return Err(SqlError::internal("a read that locks nothing"));
    };
    let values = args::values(session, &plan.lowered.args, inputs)?;
    let functions = function_context(session, false);
    let view = plan.lowered.dbs.iter().any(|d| meta::is_system(d)).then(|| session.view());
    let dbs: Vec<String> = plan.lowered.dbs.iter().filter(|d| !meta::is_system(d)).cloned().collect();
    let db = home(session, locks)
        .or_else(|| dbs.first().cloned())
        .ok_or_else(SqlError::no_database)?;
    let limit = session.settings().sql_select_limit;
    let (lane_db, job_plan) = (db.clone(), Arc::clone(shared));
    let work = Box::new(move |lane: &mut Try<'_>, asked: &mut Asked<'_>| {
        let Plan::Select(plan) = &*job_plan else {
            return Err(SqlError::internal("not a query"));
        };
        let others: Vec<&str> = dbs.iter().map(String::as_str).filter(|d| *d != lane_db).collect();
        if !others.is_empty() {
            lane.reads(&others).map_err(|e| from_sqlite(&e))?;
        }
        let _functions = context::enter(functions);
        let _view = view.clone().map(meta::enter);
        context::take_warnings();
        let rows = locked(lane, asked, plan, &values, limit)?;
        Ok(Copied {
            rows,
            warnings: context::take_warnings(),
            effects: context::take_effects(),
        })
    });
    let call = Call {
        db: &db,
        tables: &plan.lowered.tables,
        wait: Duration::from_millis(session.settings().lock_wait_ms),
        at_once: locks.at_once,
        level: session.level(),
        size: if locks.point && !plan.waits && plan.lowered.tables.len() == 1 {
            Size::Point
        } else {
            Size::Any
        },
    };
    let copied = session.transaction.run(&call, work).await.map_err(from_failed)?;
    session.diagnostics.add(copied.warnings);
    session.keep(copied.effects);
    let rows = send(plan, &copied.rows, sink)?;
    session.track.read(rows);
    Ok(select::done(session, rows))
}

/// The lane of the first table that it locks.
fn home(session: &Session, locks: &Locks) -> Option<String> {
    let catalog = session.server.engine.catalog();
    let table = locks.tables.first()?;
    catalog.database_by_id(table.table.db).map(|d| d.name.to_lowercase())
}

fn locked(lane: &mut Try<'_>, asked: &mut Asked<'_>, plan: &SelectPlan, values: &[Value], limit: u64) -> Result<Vec<Row>> {
    let Some(locks) = &plan.locking else { return Ok(Vec::new()) };
    let rows = select::collect(lane.connection, &plan.lowered.sql, values, limit)?;
    if rows.len() > ROWS_MAX {
        return Err(SqlError::unsupported(format!("a locking read of more than {ROWS_MAX} rows")));
    }
    if locks.skip {
        return skipping(lane, asked, locks, rows, values);
    }
    let whole = locks.phantoms && !(locks.point && rows.len() == 1);
    for table in &locks.tables {
        let keys = table.keys.as_ref().filter(|_| !whole);
        match keys {
            Some(range) => {
                let keys = keys_of(&rows, range);
                claim_rows(lane, asked, table, &keys)?;
            }
            None => asked.claims.push(lane.claim_table(table.table.id, mode(table)).map_err(broken)?),
        }
    }
    Ok(rows)
}

/// Row by row: what somebody else holds is left out, as if it were not there.
fn skipping(lane: &mut Try<'_>, asked: &mut Asked<'_>, locks: &Locks, rows: Vec<Row>, values: &[Value]) -> Result<Vec<Row>> {
    let number = |at: usize| match values.get(at) {
        Some(Value::Int(n)) => usize::try_from(*n).unwrap_or(0),
        _ => usize::MAX,
    };
    let count = locks.limit.map_or(usize::MAX, |(count, _)| number(count));
    let mut offset = locks.limit.and_then(|(_, offset)| offset).map_or(0, number);
    let mut out = Vec::new();
    for row in rows {
        if out.len() >= count {
            break;
        }
        let mut own = Asked::none(asked);
        for table in &locks.tables {
            if let Some(range) = &table.keys {
                let keys = keys_of(std::slice::from_ref(&row), range);
                claim_rows(lane, &mut own, table, &keys)?;
            }
        }
        let claims = own.claims;
        if !asked.is_free(&claims) {
            continue;
        }
        asked.claims.extend(claims);
        if offset > 0 {
            offset -= 1;
            continue;
        }
        out.push(row);
    }
    Ok(out)
}

fn claim_rows(lane: &mut Try<'_>, asked: &mut Asked<'_>, table: &LockedTable, keys: &[Row]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    asked.claims.push(Claim {
        key: ClaimKey::Table { table: table.table.id },
        mode: if table.exclusive {
            Mode::IntentExclusive
        } else {
            Mode::IntentShared
        },
        base: Version::default(),
    });
    let claims = lane.claim_rows(table.table.id, mode(table), keys).map_err(broken)?;
    asked.claims.extend(claims);
    Ok(())
}

fn mode(table: &LockedTable) -> Mode {
    if table.exclusive { Mode::Exclusive } else { Mode::Shared }
}

/// The keys of the rows, without those that an outer join filled with NULL.
fn keys_of(rows: &[Row], range: &std::ops::Range<usize>) -> Vec<Row> {
    let key = |row: &Row| {
        let cells = row.as_ref().iter().skip(range.start).take(range.len());
        let cells: SmallVec<[ValueRef<'_>; 4]> = cells.collect();
        let there = !cells.iter().any(|c| matches!(c, ValueRef::Null));
        there.then(|| Row::from_values(cells))
    };
    rows.iter().filter_map(key).collect()
}

fn broken(error: starling_apply::materialize::FoldError) -> SqlError {
    SqlError::internal(error)
}

fn send(plan: &SelectPlan, rows: &[Row], sink: &mut dyn Sink) -> Result<u64> {
    sink.columns(&plan.columns)?;
    let width = plan.columns.len();
    for row in rows {
        let cells: SmallVec<[ValueRef<'_>; 16]> = row.as_ref().iter().take(width).collect();
        sink.row(&cells)?;
        if sink.is_full() {
            tokio::task::block_in_place(|| sink.flush_blocking())?;
        }
    }
    Ok(rows.len() as u64)
}
