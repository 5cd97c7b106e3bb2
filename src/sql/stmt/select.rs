//! Running a SELECT: in place when it is bound to be quick, else where blocking is allowed; inside a transaction on what it sees.
//!
//! Promises: rows are handed on one by one, borrowed from SQLite; a long result holds one bounded buffer; KILL QUERY and
//! `max_execution_time` end a long read. Must not know: packets.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::ValueRef as SqliteRef;
use smallvec::SmallVec;
use starling_log::{Value, ValueRef};

use crate::sql::ast::{Expr, Into, Parsed, Query, Select, SelectItem, SetExpr, Span, Statement};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::{ask, context};
use crate::sql::meta;
use crate::sql::plan::SelectPlan;
use crate::sql::result::{Done, Sink};
use crate::sql::session::errors::{from_failed_empty, from_sqlite};
use crate::sql::session::{Inputs, Plan, Session, args};
use crate::sql::types::Ty;
use crate::txn::Source;

use super::origin::Origin;
use super::quick::{self, Walk};
use super::write::function_context;
use super::{locking, transaction};

/// Runs a select plan and counts its rows.
pub async fn run(session: &mut Session, shared: &Arc<Plan>, plan: &SelectPlan, inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    if plan.locking.is_some() {
        return locking::run(session, shared, plan, inputs, sink).await;
    }
    read(session, plan, inputs, sink)
}

/// A plain read: of the newest state, or of what its transaction sees.
pub fn read(session: &mut Session, plan: &SelectPlan, inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    let values = args::values(session, &plan.lowered.args, inputs)?;
    let functions = function_context(session, false);
    let dbs: SmallVec<[&str; 4]> = plan
        .lowered
        .dbs
        .iter()
        .map(String::as_str)
        .filter(|d| !meta::is_system(d))
        .collect();
    let limit = Limits {
        rows: session.settings().sql_select_limit,
        millis: session.settings().max_execution_ms,
    };
    let short = plan.short;
    let asked = plan.waits.then(|| session.asked());
    let view = (dbs.len() < plan.lowered.dbs.len()).then(|| session.view());
    let entry = session.entry.clone();
    let source = session.transaction.source(&dbs).map_err(from_failed_empty)?;
    let connection: &Connection = match &source {
        Source::Pooled(reader) => reader,
        Source::Held(reader) => reader,
    };
    let counted = {
        let _view = view.map(meta::enter);
        let _functions = context::enter(functions);
        let _asked = asked.map(ask::enter);
        if short && limit.millis == 0 {
            step(connection, plan, &values, sink, limit.rows, false)
        } else {
            let read = quick::Read {
                connection,
                plan,
                values: &values,
                limit: limit.rows,
            };
            let may_try = !plan.waits && limit.millis == 0;
            read.run(sink, may_try, |rest| {
                tokio::task::block_in_place(|| {
                    let _reading = entry.reading(connection);
                    let _deadline = limit.arm(connection);
                    rest()
                })
            })
        }
    };
    let found = match (&counted, &plan.found) {
        (Ok(_), Some(sql)) => tokio::task::block_in_place(|| count_all(connection, sql, &values)).map(Some),
        _ => Ok(None),
    };
    drop(source);
    session.keep(context::take_effects());
    session.diagnostics.add(context::take_warnings());
    let rows = counted.map_err(|e| limit.explain(e))?;
    if !plan.lowered.tables.is_empty() {
        session.track.read(rows);
    }
    let done = done(session, rows);
    if let Some(found) = found? {
        session.rows_found = found;
    }
    Ok(done)
}

/// The rows there are without LIMIT.
fn count_all(connection: &Connection, sql: &str, values: &[Value]) -> Result<u64> {
    let rows = collect(connection, sql, values, 1)?;
    match rows.first().and_then(|row| row.as_ref().iter().next()) {
        Some(ValueRef::Int(n)) => Ok(u64::try_from(n).unwrap_or(0)),
        _ => Err(SqlError::internal("a count is no number")),
    }
}

pub fn done(session: &mut Session, rows: u64) -> Done {
    session.rows_found = rows;
    session.row_count = -1;
    Done::default()
}

/// A running `max_execution_time`.
struct Deadline {
    over: Arc<parking_lot::Mutex<bool>>,
    timer: tokio::task::JoinHandle<()>,
}

impl Drop for Deadline {
    fn drop(&mut self) {
        *self.over.lock() = true;
        self.timer.abort();
    }
}

#[derive(Clone, Copy)]
struct Limits {
    rows: u64,
    millis: u64,
}

impl Limits {
    /// Ends the read when its time is up; the guard calls it off.
    fn arm(self, connection: &Connection) -> Option<Deadline> {
        if self.millis == 0 {
            return None;
        }
        let over = Arc::new(parking_lot::Mutex::new(false));
        let (handle, ended) = (connection.get_interrupt_handle(), over.clone());
        let timer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(self.millis)).await;
            // Under the lock: the connection may serve somebody else as soon as the guard is gone.
            let over = ended.lock();
            if !*over {
                handle.interrupt();
            }
        });
        Some(Deadline { over, timer })
    }
    fn explain(self, error: SqlError) -> SqlError {
        if error.code == 1317 && self.millis > 0 {
            return SqlError::new(3024, "Query execution was interrupted, maximum statement execution time exceeded");
        }
        error
    }
}

/// Steps through the rows on `connection`. `may_block`: the sink may send (and wait) when it is full.
fn step(connection: &Connection, plan: &SelectPlan, values: &[Value], sink: &mut dyn Sink, limit: u64, may_block: bool) -> Result<u64> {
    let mut statement = connection.prepare_cached(&plan.lowered.sql).map_err(|e| from_sqlite(&e))?;
    args::bind(&mut statement, values).map_err(|e| from_sqlite(&e))?;
    Walk::new(&mut statement, plan, limit).go(sink, may_block)
}

pub fn borrow(value: SqliteRef<'_>) -> ValueRef<'_> {
    match value {
        SqliteRef::Null => ValueRef::Null,
        SqliteRef::Integer(v) => ValueRef::Int(v),
        SqliteRef::Real(v) => ValueRef::Real(v),
        SqliteRef::Text(v) => ValueRef::Text(v),
        SqliteRef::Blob(v) => ValueRef::Blob(v),
    }
}

/// All rows of a statement, packed: for what must leave its thread, or outlive it.
pub fn collect(connection: &Connection, sql: &str, values: &[Value], limit: u64) -> Result<Vec<starling_log::Row>> {
    let mut statement = connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
    args::bind(&mut statement, values).map_err(|e| from_sqlite(&e))?;
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(|e| from_sqlite(&e))? {
        if out.len() as u64 >= limit {
            break;
        }
        let mut packed = starling_log::Row::new();
        for i in 0..width {
            packed.push(borrow(row.get_ref(i).map_err(|e| from_sqlite(&e))?));
        }
        out.push(packed);
    }
    Ok(out)
}

/// Runs a query that stands inside of another statement, as its transaction sees things.
async fn gather(session: &mut Session, text: &[u8], query: Query, inputs: &Inputs<'_>) -> Result<(Vec<starling_log::Row>, Vec<Ty>)> {
    let parsed = Parsed {
        statement: Statement::Query(Box::new(query)),
        params: inputs.params.len() as u32,
        literals: Vec::new(),
        pinned: Vec::new(),
    };
    transaction::open_implicitly(session)?;
    let catalog = session.server.engine.catalog().version;
    let Some((plan, _)) = super::plan(session, text, &parsed, &[])? else {
        return Err(SqlError::internal("not a query"));
    };
    let origin = Origin::parsed(text, &parsed, catalog, None);
    if !matches!(&plan, Plan::Select(select) if select.lowered.tables.is_empty()) {
        session.before_read().await?;
    }
    let (shared, _using) = origin.settle(session, &Arc::new(plan)).await?;
    let Plan::Select(plan) = &*shared else {
        return Err(SqlError::internal("not a query"));
    };
    let mut kept = Keep::default();
    run(session, &shared, plan, inputs, &mut kept).await?;
    let types = plan.columns.iter().map(|c| Ty::of(c.ty.clone(), true)).collect();
    Ok((kept.rows, types))
}

/// The value of an expression with subqueries (SET @x = (SELECT …), DO …), read as any query is.
pub async fn value_by_query(session: &mut Session, text: &[u8], expr: &Expr, inputs: &Inputs<'_>) -> Result<(Value, Ty)> {
    let item = SelectItem::Expr {
        expr: expr.clone(),
        alias: Some("value".into()),
        text: Span::default(),
    };
    let select = Select {
        items: vec![item],
        ..Select::default()
    };
    let query = Query {
        with: None,
        body: SetExpr::Select(Box::new(select)),
        order_by: Vec::new(),
        limit: None,
        locking: Vec::new(),
        into: None,
    };
    let (rows, mut types) = gather(session, text, query, inputs).await?;
    let value = rows.first().and_then(|row| row.as_ref().iter().next()).and_then(ValueRef::to_owned);
    let ty = types.pop().ok_or_else(|| SqlError::internal("a value without a type"))?;
    Ok((value.unwrap_or(Value::Null), ty))
}

/// SELECT … INTO @a, @b.
pub async fn run_into(session: &mut Session, text: &[u8], query: &Query, inputs: &Inputs<'_>) -> Result<Done> {
    let Some(Into::Vars(names)) = &query.into else {
        return Err(SqlError::unsupported("SELECT ... INTO OUTFILE"));
    };
    let mut plain = query.clone();
    plain.into = None;
    let (rows, types) = gather(session, text, plain, inputs).await?;
    if types.len() != names.len() {
        return Err(SqlError::new(1222, "The used SELECT statements have a different number of columns"));
    }
    match rows.as_slice() {
        [] => session
            .diagnostics
            .push(context::Level::Warning, 1329, "No data - zero rows fetched, selected, or processed"),
        [row] => {
            for ((name, value), ty) in names.iter().zip(row.as_ref().iter()).zip(types) {
                let value = value.to_owned().unwrap_or(Value::Null);
                session.user_vars.insert(name.to_lowercase(), (value, ty));
            }
        }
        _ => return Err(SqlError::new(1172, "Result consisted of more than one row")),
    }
    session.row_count = rows.len() as i64;
    Ok(Done {
        affected: rows.len() as u64,
        ..Done::default()
    })
}

/// A sink that keeps rows (for INTO, and for statements that read through a SELECT).
#[derive(Default)]
pub struct Keep {
    pub rows: Vec<starling_log::Row>,
}

impl Sink for Keep {
    fn columns(&mut self, _: &[crate::sql::result::ResultColumn]) -> Result<()> {
        Ok(())
    }
    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        self.rows.push(starling_log::Row::from_values(values.iter().copied()));
        Ok(())
    }
    fn done(&mut self, _: &Done, _: crate::sql::result::Status, _: bool) -> Result<()> {
        Ok(())
    }
    fn is_full(&self) -> bool {
        false
    }
    fn flush_blocking(&mut self) -> Result<()> {
        Ok(())
    }
}
