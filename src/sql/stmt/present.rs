//! Running SHOW and DESCRIBE: a SELECT over the system tables, or rows made on the spot.

use smallvec::SmallVec;
use starling_log::ValueRef;

use crate::sql::ast::{Query, Show, ShowKind, TableName};
use crate::sql::bind::{self, Pins};
use crate::sql::error::Result;
use crate::sql::func::context::Level;
use crate::sql::plan::SelectPlan;
use crate::sql::result::{Done, Param, ResultColumn, Sink};
use crate::sql::session::provider::Hooks;
use crate::sql::session::{Inputs, Session};
use crate::sql::types::Ty;

use super::select;
use super::show::{self, Rows, ShowPlan, ShowScope};

/// SHOW WARNINGS and its kin show the statement before them, and leave it to be shown again.
pub fn is_diagnostic(show: &Show) -> bool {
    matches!(
        show.kind,
        ShowKind::Warnings { .. } | ShowKind::Errors { .. } | ShowKind::CountWarnings | ShowKind::CountErrors
    )
}

pub async fn run(session: &mut Session, text: &[u8], show: &Show, inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    let plan = planned(session, |scope| show::plan(show, scope))?;
    give(session, text, plan, inputs, sink).await
}

pub async fn describe(
    session: &mut Session,
    text: &[u8],
    table: &TableName,
    column: Option<&[u8]>,
    inputs: &Inputs<'_>,
    sink: &mut dyn Sink,
) -> Result<Done> {
    let plan = planned(session, |scope| show::describe(table, column, scope))?;
    give(session, text, plan, inputs, sink).await
}

/// ANALYZE, OPTIMIZE, REPAIR, CHECK TABLE.
pub async fn maintenance(session: &mut Session, verb: &str, names: &[TableName], inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    let plan = planned(session, |scope| show::maintenance(verb, names, scope).map(ShowPlan::Rows))?;
    give(session, b"", plan, inputs, sink).await
}

/// The columns a SHOW will have, for COM_STMT_PREPARE.
pub fn columns(session: &Session, show: &Show) -> Result<Vec<ResultColumn>> {
    Ok(match planned(session, |scope| show::plan(show, scope))? {
        ShowPlan::Rows(rows) => rows.columns,
        ShowPlan::Query { query, params } => bound(session, b"", &query, &params)?.columns.to_vec(),
    })
}

fn planned<T>(session: &Session, make: impl FnOnce(&ShowScope<'_>) -> Result<T>) -> Result<T> {
    let hooks = Hooks::new();
    hooks.attach(&session.server);
    let catalog = session.server.engine.catalog();
    let diagnostics = &session.diagnostics;
    make(&ShowScope {
        catalog: &catalog,
        database: session.database.as_deref(),
        provider: hooks.as_ref(),
        warnings: &diagnostics.list,
        warning_count: diagnostics.count,
        error_count: diagnostics.list.iter().filter(|w| w.level == Level::Error).count() as u64,
        account: &session.identity.account,
    })
}

fn bound(session: &Session, text: &[u8], query: &Query, params: &[Param]) -> Result<SelectPlan> {
    let types: Vec<Ty> = params
        .iter()
        .map(|p| match p {
            Param::Int(_) => Ty::int(false),
            _ => Ty::text(1024, "utf8mb4_0900_ai_ci", false),
        })
        .collect();
    let catalog = session.server.engine.catalog();
    let scope = session.scope(&catalog, text, &types);
    bind::select(&scope, query, &mut Pins::default())
}

async fn give(session: &mut Session, text: &[u8], plan: ShowPlan, inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    match plan {
        ShowPlan::Rows(rows) => send(&rows, sink),
        ShowPlan::Query { query, params } => {
            let select = bound(session, text, &query, &params)?;
            let inputs = Inputs {
                literal: inputs.literal,
                params: &params,
            };
            select::read(session, &select, &inputs, sink)
        }
    }
}

fn send(rows: &Rows, sink: &mut dyn Sink) -> Result<Done> {
    sink.columns(&rows.columns)?;
    for row in &rows.rows {
        let cells: SmallVec<[ValueRef<'_>; 16]> = row.iter().map(starling_log::Value::as_ref).collect();
        sink.row(&cells)?;
    }
    Ok(Done::default())
}
