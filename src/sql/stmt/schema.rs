//! Running schema statements: what is open commits, each database's part goes through the log (where several members vote, by
//! their decision), CREATE … SELECT is filled.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use starling_apply::Catalog;
use starling_apply::engine::Planned;
use starling_apply::schema::SchemaChange;
use starling_log::Value;

use crate::cluster::commit::Refused;
use crate::sql::ast::{Insert, InsertSource, Statement, TableName};
use crate::sql::error::{Result, SqlError};
use crate::sql::plan::Arg;
use crate::sql::result::{Done, Sink};
use crate::sql::session::errors::{from_failed_empty, from_write, read_only};
use crate::sql::session::{Inputs, Plan, Session, args};
use crate::sql::types::Ty;
use crate::txn::freeze::Pass;

use super::ddl::{self, DdlScope, DdlStep, Piece};
use super::{freeze, insert, lock, transaction, write};

/// How long the server waits for what it needs itself.
const MAKE_WAIT: Duration = Duration::from_secs(60);

pub async fn run(session: &mut Session, text: &[u8], statement: &Statement, inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    transaction::end(session).await?;
    may_alter(session)?;
    let pieces = ddl::pieces(statement, session.database.as_deref())?;
    let mut affected = 0;
    for piece in &pieces {
        let passing = freeze::pass(session, Pass::Statement).await?;
        let step = decided(session, text, piece, inputs).await?;
        drop(passing);
        affected += step.affected;
        for (level, code, message) in step.warnings {
            session.diagnostics.push(level, code, message);
        }
        if let (Some(columns), Statement::CreateTable(create)) = (step.fill, &piece.statement) {
            affected += fill(session, text, create, columns, inputs, sink).await?;
        }
    }
    forget_dropped(session, statement);
    session.row_count = affected as i64;
    Ok(Done {
        affected,
        ..Done::default()
    })
}

fn may_alter(session: &Session) -> Result<()> {
    session.server.cluster.may_alter().map_err(|why| match why {
        Refused::NoQuorum(why) => SqlError::new(1047, format!("node has no quorum ({why})")),
        why => read_only(&why.to_string()),
    })
}

/// Runs one piece: alone, or by the decision of a quorum, as often as others are first.
async fn decided(session: &mut Session, text: &[u8], piece: &Piece, inputs: &Inputs<'_>) -> Result<DdlStep> {
    let mut attempts = session.transaction.attempts(lock::wait_of(session));
    loop {
        let alone = lock::before_alter(session, piece).await?;
        if !session.transaction.alters_together() {
            return tokio::task::block_in_place(|| alter(session, text, piece, inputs));
        }
        attempts.begin();
        let (step, planned) = tokio::task::block_in_place(|| plan(session, text, piece, inputs))?;
        let Some(planned) = planned else { return Ok(step) };
        let committed = session.transaction.alter_together(planned, &mut attempts).await;
        if committed.map_err(from_failed_empty)?.is_some() {
            return Ok(step);
        }
        // Meanwhile nobody waits for this one.
        drop(alone);
        session.transaction.pause(&mut attempts).await.map_err(from_failed_empty)?;
        may_alter(session)?;
    }
}

/// Makes what the server itself needs: as long as something is missing (in this database; `None`: a database itself). Others may be at
/// it, too.
pub async fn make(session: &mut Session, missing: impl Fn(&Catalog) -> Option<(Option<&'static str>, SchemaChange)>) -> Result<()> {
    let engine = session.server.engine.clone();
    let mut attempts = session.transaction.attempts(MAKE_WAIT);
    while let Some((db, _)) = missing(&engine.catalog()) {
        may_alter(session)?;
        let check = |catalog: &Catalog, _: Option<&Connection>| {
            let found = missing(catalog).filter(|(d, _)| *d == db);
            Ok::<_, SqlError>(found.map(|(_, change)| change.into()))
        };
        if !session.transaction.alters_together() {
            let wait_ms = u64::try_from(MAKE_WAIT.as_millis()).unwrap_or(u64::MAX);
            tokio::task::block_in_place(|| engine.alter(db, wait_ms, Box::new(check))).map_err(from_write)?;
            continue;
        }
        attempts.begin();
        let planned = tokio::task::block_in_place(|| engine.plan_alter(db, Box::new(check))).map_err(from_write)?;
        let Some(planned) = planned else { continue };
        let committed = session.transaction.alter_together(planned, &mut attempts).await;
        if committed.map_err(from_failed_empty)?.is_none() {
            session.transaction.pause(&mut attempts).await.map_err(from_failed_empty)?;
        }
    }
    Ok(())
}

/// What the piece comes to, and whether the rows allow it.
fn check(
    session: &Session,
    text: &[u8],
    piece: &Piece,
    inputs: &Inputs<'_>,
    catalog: &Catalog,
    rows: Option<&Connection>,
) -> Result<DdlStep> {
    let collation = session.vars.named("collation_server").as_str().to_string();
    let step = step(session, catalog, text, piece, inputs, &collation)?;
    if let Some(rows) = rows {
        step.probes.iter().try_for_each(|probe| probe.run(rows))?;
    }
    Ok(step)
}

/// Here and now, where nobody else is to be asked. Blocking.
fn alter(session: &mut Session, text: &[u8], piece: &Piece, inputs: &Inputs<'_>) -> Result<DdlStep> {
    let wait_ms = session.vars.named("lock_wait_timeout").as_u64().saturating_mul(1000);
    let mut kept = DdlStep::default();
    let check = |catalog: &Catalog, rows: Option<&Connection>| {
        kept = check(session, text, piece, inputs, catalog, rows)?;
        Ok(kept.wish())
    };
    let committed = session.server.engine.alter(piece.db.as_deref(), wait_ms, Box::new(check));
    let committed = committed.map_err(|e| missing_database(from_write(e), piece))?;
    session.track.committed(committed.placed.map(|p| p.place));
    Ok(kept)
}

/// Only checked, to be decided on by others. Blocking.
fn plan(session: &Session, text: &[u8], piece: &Piece, inputs: &Inputs<'_>) -> Result<(DdlStep, Option<Planned>)> {
    let mut kept = DdlStep::default();
    let check = |catalog: &Catalog, rows: Option<&Connection>| {
        kept = check(session, text, piece, inputs, catalog, rows)?;
        Ok(kept.wish())
    };
    let planned = session.server.engine.plan_alter(piece.db.as_deref(), Box::new(check));
    let planned = planned.map_err(|e| missing_database(from_write(e), piece))?;
    Ok((kept, planned))
}

/// The engine knows no name for what is not there: MySQL's words.
fn missing_database(error: SqlError, piece: &Piece) -> SqlError {
    match (&piece.db, &piece.statement) {
        (Some(_), Statement::DropDatabase { name, .. }) if error.code == 1049 => {
            SqlError::new(1008, format!("Can't drop database '{name}'; database doesn't exist"))
        }
        (Some(db), _) if error.code == 1049 => SqlError::unknown_database(db),
        _ => error,
    }
}

fn step(session: &Session, catalog: &Catalog, text: &[u8], piece: &Piece, inputs: &Inputs<'_>, collation: &str) -> Result<DdlStep> {
    let params: Vec<Ty> = Vec::new();
    let scope = session.scope(catalog, text, &params);
    let inline = |arg: &Arg| args::values(session, std::slice::from_ref(arg), inputs).map(|v| literal(&v[0]));
    let ddl = DdlScope {
        scope: &scope,
        foreign_key_checks: session.settings().foreign_key_checks,
        server_collation: collation,
        created_ms: session.server.engine.log().clock().now_ms(),
        inline: &inline,
    };
    ddl::change(&ddl, piece)
}

/// A value as SQLite writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Int(v) => v.to_string(),
        Value::Real(v) => format!("{v:e}"),
        Value::Text(v) => format!("'{}'", String::from_utf8_lossy(v).replace('\'', "''")),
        Value::Blob(v) => format!("x'{}'", hex::encode(v)),
    }
}

/// CREATE TABLE … SELECT: the rows, as an INSERT of their own.
async fn fill(
    session: &mut Session,
    text: &[u8],
    create: &crate::sql::ast::CreateTable,
    columns: Vec<String>,
    inputs: &Inputs<'_>,
    sink: &mut dyn Sink,
) -> Result<u64> {
    let Some(query) = &create.query else { return Ok(0) };
    let statement = Insert {
        replace: create.query_replace,
        ignore: create.query_ignore,
        table: TableName {
            db: create.name.db.clone(),
            name: create.name.name.clone(),
        },
        columns: Some(columns),
        source: InsertSource::Query(query.clone()),
        row_alias: None,
        on_duplicate: Vec::new(),
        returning: Vec::new(),
    };
    let catalog = session.server.engine.catalog();
    let plan = {
        let params: Vec<Ty> = Vec::new();
        let scope = session.scope(&catalog, text, &params);
        insert::plan(&scope, &statement, &mut crate::sql::bind::Pins::default())?
    };
    let done = write::run(session, &Arc::new(Plan::Write(plan)), inputs, sink).await?;
    Ok(done.affected)
}

/// A session whose database was dropped has none.
fn forget_dropped(session: &mut Session, statement: &Statement) {
    if let Statement::DropDatabase { name, .. } = statement
        && session.database.as_deref().is_some_and(|d| d.eq_ignore_ascii_case(name))
    {
        session.track.used();
        session.database = None;
        session.entry.update(|s| s.database = None);
    }
}
