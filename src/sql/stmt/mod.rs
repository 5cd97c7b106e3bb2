//! Statements, by kind: what each becomes and how it runs.
//!
//! SELECT and the row statements (INSERT, REPLACE, UPDATE, DELETE) become plans, which are cached; everything else runs from its
//! tree. Reading order: this file (who goes where) → [`origin`] (the plan that its
//! transaction needs) → [`select`] ([`locking`]) → [`write`] ([`insert`], [`update`], [`delete`], [`keys`]) →
//! [`transaction`] → [`schema`] ([`ddl`]) → [`show`], [`set`], [`admin`].

pub mod admin;
pub mod assign;
pub mod ddl;
pub mod delete;
pub mod duplicate;
pub mod freeze;
pub mod insert;
pub mod keys;
pub mod lock;
pub mod locking;
pub mod origin;
pub mod present;
mod quick;
pub mod schema;
pub mod select;
pub mod set;
pub mod show;
pub mod transaction;
pub mod update;
pub mod write;
pub mod xa;

use std::sync::Arc;

use crate::sql::ast::{NO_SLOT, Parsed, Statement};
use crate::sql::bind::{self, Pins};
use crate::sql::error::{Result, SqlError};
use crate::sql::fingerprint::RawLiteral;
use crate::sql::plan::Key;
use crate::sql::result::{Done, ResultColumn, Sink};
use crate::sql::session::{Counters, Inputs, Plan, Session};
use crate::sql::types::Ty;

use origin::Origin;

/// The plan of a statement that has one, and the literal slots it pinned.
pub fn plan(session: &Session, text: &[u8], parsed: &Parsed, params: &[Ty]) -> Result<Option<(Plan, Pins)>> {
    let catalog = session.server.engine.catalog();
    let scope = session.scope(&catalog, text, params);
    let mut pins = Pins(parsed.pinned.clone());
    let plan = match &parsed.statement {
        Statement::Query(query) if query.into.is_none() => Plan::Select(bind::select(&scope, query, &mut pins)?),
        Statement::Insert(insert) => Plan::Write(insert::plan(&scope, insert, &mut pins)?),
        Statement::Update(update) => Plan::Write(update::plan(&scope, update, &mut pins)?),
        Statement::Delete(delete) => Plan::Write(delete::plan(&scope, delete, &mut pins)?),
        _ => return Ok(None),
    };
    Ok(Some((plan, pins)))
}

/// The result columns of a statement, for COM_STMT_PREPARE.
pub fn describe(session: &Session, text: &[u8], parsed: &Parsed) -> Result<Vec<ResultColumn>> {
    let params = vec![Ty::text(65_535, "utf8mb4_0900_ai_ci", true); parsed.params as usize];
    match plan(session, text, parsed, &params)? {
        Some((Plan::Select(select), _)) => Ok(select.columns.to_vec()),
        Some((Plan::Write(write), _)) => Ok(write.returning_columns()),
        None => admin::describe(session, &parsed.statement),
    }
}

/// Runs a plan: SELECT or row statement.
pub async fn run_plan(
    session: &mut Session,
    plan: &Arc<Plan>,
    origin: &Origin<'_>,
    inputs: &Inputs<'_>,
    sink: &mut dyn Sink,
    more: bool,
) -> Result<()> {
    session.diagnostics.clear();
    if session.xa.is_some() && !plan.tables().is_empty() {
        xa::check_work(session)?;
    }
    transaction::open_implicitly(session)?;
    if matches!(&**plan, Plan::Select(select) if !select.lowered.tables.is_empty()) {
        session.before_read().await?;
    }
    let alone = !session.transaction.is_open();
    let mut overtaken = 0;
    let done = loop {
        match run_settled(session, plan, origin, inputs, sink).await {
            // Another node's schema change came between plan and run; nothing was done yet.
            Err(error) if error.code == CHANGED && overtaken < origin::REPLANS && alone => overtaken += 1,
            done => break done?,
        }
    };
    finish(session, done, sink, more)
}

/// Table definition has changed, please retry transaction
const CHANGED: u16 = 1412;

async fn run_settled(
    session: &mut Session,
    plan: &Arc<Plan>,
    origin: &Origin<'_>,
    inputs: &Inputs<'_>,
    sink: &mut dyn Sink,
) -> Result<Done> {
    let (plan, using) = origin.settle(session, plan).await?;
    // What locks takes the definitions itself, and notices if they are others by then. Held twice they could not be had: whoever wants
    // them for himself stands in between.
    let locks = match &*plan {
        Plan::Select(select) => select.locking.is_some(),
        Plan::Write(_) => true,
    };
    let _using = (!locks).then_some(using);
    match &*plan {
        Plan::Select(select) => {
            Counters::add(&session.server.counters.selects);
            select::run(session, &plan, select, inputs, sink).await
        }
        Plan::Write(write) => {
            write.count(&session.server.counters);
            let done = write::run(session, &plan, inputs, sink).await?;
            session.track.wrote();
            Ok(done)
        }
    }
}

/// Runs a parsed statement; makes (and, under `cached`, keeps) its plan if it has one.
pub async fn run_parsed(
    session: &mut Session,
    text: &[u8],
    parsed: &Parsed,
    cached: Option<(Key, &[RawLiteral<'_>])>,
    inputs: &Inputs<'_>,
    sink: &mut dyn Sink,
    more: bool,
) -> Result<()> {
    if parsed.params as usize > inputs.params.len() {
        return Err(SqlError::syntax(b"?", 1));
    }
    let types: Vec<Ty> = Vec::new();
    let catalog = session.server.engine.catalog().version;
    if let Some((plan, pins)) = plan_or_clear(session, text, parsed, &types)? {
        let plan = Arc::new(plan);
        if let Some((key, raws)) = &cached {
            keep(session, key.clone(), raws, pins, &plan);
        }
        let origin = Origin::parsed(text, parsed, catalog, cached);
        return run_plan(session, &plan, &origin, inputs, sink, more).await;
    }
    let done = admin::run(session, text, parsed, inputs, sink).await?;
    finish(session, done, sink, more)
}

/// A statement that cannot be planned leaves its own error as the only diagnostic.
fn plan_or_clear(session: &mut Session, text: &[u8], parsed: &Parsed, types: &[Ty]) -> Result<Option<(Plan, Pins)>> {
    let planned = plan(session, text, parsed, types);
    if planned.is_err() {
        session.diagnostics.clear();
    }
    planned
}

pub(crate) fn keep(session: &Session, key: Key, raws: &[RawLiteral<'_>], pins: Pins, plan: &Arc<Plan>) {
    // A plan made under another catalog than the key says is not kept, nor one with a user variable's type in it.
    if session.server.engine.catalog().version != key.catalog || plan.reads_user_variables() {
        return;
    }
    let mut slots: Vec<u32> = pins.0.into_iter().filter(|s| *s != NO_SLOT).collect();
    slots.sort_unstable();
    slots.dedup();
    let pinned = slots
        .into_iter()
        .filter_map(|slot| raws.get(slot as usize).map(|raw| (slot, Box::from(raw.bytes))))
        .collect();
    session.server.plans.put(key, pinned, plan.clone());
}

/// The closing OK; `None`: rows were sent and counted by the statement itself.
fn finish(session: &mut Session, mut done: Done, sink: &mut dyn Sink, more: bool) -> Result<()> {
    done.warnings = session.diagnostics.count16();
    // What an EXECUTE'd statement changed is in there already.
    done.changes = session.take_changes().or(done.changes);
    let status = session.status();
    sink.done(&done, status, more)
}

/// SQL's LIKE without escapes, for names (both sides in lower case).
pub fn like(text: &str, pattern: &str) -> bool {
    fn matches(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|skip| matches(&text[skip..], rest)),
            Some(('_', rest)) => !text.is_empty() && matches(&text[1..], rest),
            Some((c, rest)) => text.first() == Some(c) && matches(&text[1..], rest),
        }
    }
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    matches(&text, &pattern)
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn like_matches_names() {
        assert!(like("orders", "ord%"));
        assert!(like("orders", "_rders"));
        assert!(!like("orders", "rd%"));
        assert!(like("", "%"));
    }
}
