//! Statements that are neither queries nor rows nor schema: transactions, SET, SHOW, USE, KILL, PREPARE …, and what is refused.

use starling_log::Value;

use crate::sql::ast::{Expr, Parsed, PrepareSource, Statement};
use crate::sql::bind::Binder;
use crate::sql::error::{Result, SqlError};
use crate::sql::result::{Done, Param, ResultColumn, Sink};
use crate::sql::session::{Counters, Inputs, Prepared, Session, args};
use crate::sql::types::Ty;
use crate::sql::vars::VarValue;

use super::{assign, ddl, freeze, lock, present, schema, select, transaction, xa};

pub async fn run(session: &mut Session, text: &[u8], parsed: &Parsed, inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    let statement = &parsed.statement;
    // SHOW WARNINGS shows the statement before it.
    if !matches!(statement, Statement::Show(show) if present::is_diagnostic(show)) {
        session.diagnostics.clear();
    }
    if ddl::is_ddl(statement) {
        Counters::add(&session.server.counters.others);
        return schema::run(session, text, statement, inputs, sink).await;
    }
    match statement {
        Statement::Query(query) => select::run_into(session, text, query, inputs).await,
        Statement::Begin { read_only, snapshot } => transaction::begin(session, *read_only, *snapshot).await,
        Statement::Commit { chain, release } => transaction::commit(session, *chain, *release).await,
        Statement::Rollback { chain, release } => transaction::rollback(session, *chain, *release).await,
        Statement::Savepoint(name) => transaction::savepoint(session, name).await,
        Statement::RollbackTo(name) => transaction::rollback_to(session, name).await,
        Statement::ReleaseSavepoint(name) => transaction::release(session, name).await,
        other => {
            Counters::add(&session.server.counters.others);
            session_statement(session, text, other, inputs, sink).await
        }
    }
}

async fn session_statement(
    session: &mut Session,
    text: &[u8],
    statement: &Statement,
    inputs: &Inputs<'_>,
    sink: &mut dyn Sink,
) -> Result<Done> {
    match statement {
        Statement::Use(name) => session.use_database(name).map(|()| Done::default()),
        Statement::Set(list) => assign::run(session, text, list, inputs).await,
        Statement::Show(show) => present::run(session, text, show, inputs, sink).await,
        Statement::Describe { table, column } => present::describe(session, text, table, column.as_deref(), inputs, sink).await,
        Statement::Prepare { name, source } => prepare(session, name, source),
        Statement::Execute { name, using } => Box::pin(execute(session, name, using, sink)).await,
        Statement::Deallocate(name) => match session.named.remove(&name.to_lowercase()) {
            Some(_) => Ok(Done::default()),
            None => Err(unknown_statement(name, "DEALLOCATE PREPARE")),
        },
        Statement::Do(list) => {
            for expr in list {
                select::value_by_query(session, text, expr, inputs).await?;
            }
            Ok(Done::default())
        }
        Statement::Kill { query, id } => {
            let id = value_of(session, text, id, inputs)?.0;
            kill(session, &id, *query)
        }
        Statement::Flush(what) => flush(what),
        Statement::FlushTables { names, read_lock } => freeze::flush(session, names, *read_lock).await,
        Statement::Xa(statement) => xa::run(session, statement, sink).await,
        Statement::UnlockTables => Ok(lock::unlock(session)),
        Statement::LockTables(list) => lock::lock(session, list).await,
        Statement::Explain { .. } => Err(SqlError::unsupported("EXPLAIN")),
        Statement::TableMaintenance { verb, names } => present::maintenance(session, verb, names, inputs, sink).await,
        Statement::LoadData { .. } => Err(SqlError::unsupported("LOAD DATA")),
        Statement::Refused(name) => Err(SqlError::unsupported(name)),
        _ => Err(SqlError::internal("a statement nobody runs")),
    }
}

/// Result columns at PREPARE, of what is not planned.
pub fn describe(session: &Session, statement: &Statement) -> Result<Vec<ResultColumn>> {
    match statement {
        Statement::Show(show) => present::columns(session, show),
        Statement::Xa(statement) => Ok(xa::describe(statement)),
        _ => Ok(Vec::new()),
    }
}

/// The value of an expression over no table, and its type.
pub fn value_of(session: &Session, text: &[u8], expr: &Expr, inputs: &Inputs<'_>) -> Result<(Value, Ty)> {
    let catalog = session.server.engine.catalog();
    let params: Vec<Ty> = Vec::new();
    let scope = session.scope(&catalog, text, &params);
    let mut binder = Binder::new(&scope);
    let (sql, ty) = binder.expr(expr, "field list")?;
    let values = args::values(session, &binder.out.args, inputs)?;
    let dbs: Vec<&str> = binder
        .out
        .dbs
        .iter()
        .map(String::as_str)
        .filter(|d| !crate::sql::meta::is_system(d))
        .collect();
    if session.transaction.has_written() && binder.out.tables.iter().any(|t| session.transaction.has_changed(t.id)) {
        return Err(SqlError::unsupported(
            "a subquery in SET or DO over a table that the open transaction changed (use SELECT ... INTO)",
        ));
    }
    let reader = session
        .server
        .engine
        .reader(&dbs)
        .map_err(|e| crate::sql::session::errors::from_apply(&e))?;
    let _functions = crate::sql::func::context::enter(super::write::function_context(session, false));
    let _asked = binder.waits.then(|| crate::sql::func::ask::enter(session.asked()));
    let rows = tokio::task::block_in_place(|| select::collect(&reader, &format!("SELECT {sql}"), &values, 1))?;
    let value = rows
        .first()
        .and_then(|row| row.as_ref().iter().next())
        .and_then(starling_log::ValueRef::to_owned);
    Ok((value.unwrap_or(Value::Null), ty))
}

/// As a variable's value.
pub fn variable_value(value: &Value, ty: &Ty) -> VarValue {
    match value {
        Value::Null => VarValue::Null,
        Value::Int(v) => VarValue::Int(*v),
        Value::Real(v) => VarValue::Real(*v),
        Value::Text(_) | Value::Blob(_) => {
            let mut out = Vec::new();
            starling_apply::types::text::write(&mut out, &ty.ty, value.as_ref());
            let text = String::from_utf8_lossy(&out).into_owned();
            match ty.ty.base {
                starling_apply::BaseType::Decimal => text.parse().map_or(VarValue::Null, VarValue::Real),
                starling_apply::BaseType::BigInt => text.parse().map_or(VarValue::Null, VarValue::UInt),
                _ => VarValue::text(&text),
            }
        }
    }
}

fn prepare(session: &mut Session, name: &str, source: &PrepareSource) -> Result<Done> {
    let text = match source {
        PrepareSource::Text(text) => text.clone(),
        PrepareSource::Var(var) => match session.user_vars.get(&var.to_lowercase()) {
            Some((Value::Text(text) | Value::Blob(text), _)) => text.clone(),
            _ => b"NULL".to_vec(),
        },
    };
    session.named.remove(&name.to_lowercase());
    let (prepared, _) = Prepared::new(session, &text)?;
    session.named.insert(name.to_lowercase(), prepared);
    session.track.prepared();
    Ok(Done {
        info: "Statement prepared".into(),
        ..Done::default()
    })
}

async fn execute(session: &mut Session, name: &str, using: &[String], sink: &mut dyn Sink) -> Result<Done> {
    let key = name.to_lowercase();
    let mut prepared = session.named.remove(&key).ok_or_else(|| unknown_statement(name, "EXECUTE"))?;
    let params: Vec<Param> = using.iter().map(|var| param(session, var)).collect();
    let mut inner = Inner {
        sink,
        done: Done::default(),
    };
    let result = prepared.run(session, &params, &mut inner, false).await;
    let done = inner.done;
    session.named.insert(key, prepared);
    result.map(|()| done)
}

/// The executed statement's own closing is ours to send.
struct Inner<'a> {
    sink: &'a mut dyn Sink,
    done: Done,
}

impl Sink for Inner<'_> {
    fn columns(&mut self, columns: &[ResultColumn]) -> Result<()> {
        self.sink.columns(columns)
    }
    fn row(&mut self, values: &[starling_log::ValueRef<'_>]) -> Result<()> {
        self.sink.row(values)
    }
    fn done(&mut self, done: &Done, _: crate::sql::result::Status, _: bool) -> Result<()> {
        self.done = done.clone();
        Ok(())
    }
    fn is_full(&self) -> bool {
        self.sink.is_full()
    }
    fn flush_blocking(&mut self) -> Result<()> {
        self.sink.flush_blocking()
    }
}

fn unknown_statement(name: &str, caller: &str) -> SqlError {
    SqlError::new(1243, format!("Unknown prepared statement handler ({name}) given to {caller}"))
}

/// A user variable as a parameter.
fn param(session: &Session, name: &str) -> Param {
    let Some((value, ty)) = session.user_vars.get(&name.to_lowercase()) else {
        return Param::Null;
    };
    match value {
        Value::Null => Param::Null,
        Value::Int(v) => Param::Int(*v),
        Value::Real(v) => Param::Double(*v),
        Value::Text(text) if ty.ty.base == starling_apply::BaseType::Decimal => Param::Decimal(String::from_utf8_lossy(text).into_owned()),
        Value::Text(text) => Param::Text(text.clone()),
        Value::Blob(bytes) => Param::Bytes(bytes.clone()),
    }
}

fn kill(session: &Session, id: &Value, query: bool) -> Result<Done> {
    let number = match id {
        Value::Int(v) => u32::try_from(*v).ok(),
        _ => None,
    };
    match number.filter(|id| session.server.registry.kill(*id, query)) {
        Some(id) if id == session.connection_id() => Err(SqlError::new(1317, "Query execution was interrupted")),
        Some(_) => Ok(Done::default()),
        None => Err(SqlError::new(1094, format!("Unknown thread id: {}", number.map_or(-1, i64::from)))),
    }
}

/// What FLUSH may promise here: nothing is cached that these would have to drop. What would lock is refused.
fn flush(what: &str) -> Result<Done> {
    let words = what.to_uppercase();
    if words.contains("LOCK") || words.contains("EXPORT") {
        return Err(SqlError::unsupported(format!("FLUSH {words}")));
    }
    Ok(Done::default())
}
