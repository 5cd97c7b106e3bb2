//! Row statements: what INSERT, UPDATE and DELETE share on their way to the lane.
//!
//! Promises: arguments are evaluated once, before the job; the job itself touches nothing of the session, so that it may run
//! again if its group fell back. Must not know: how the lane groups jobs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use starling_apply::claim::Mode;
use starling_apply::engine::Size;
use starling_apply::lane::{Mark, Try};
use starling_apply::numbers::Rule;
use starling_apply::{Catalog, Table};
use starling_log::Row;

use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::{self, Context, Effects, Warning};
use crate::sql::plan::Arg;
use crate::sql::result::{Done, ResultColumn, Sink};
use crate::sql::session::errors::{from_failed, from_sqlite, read_only};
use crate::sql::session::{Counters, Inputs, Plan, Session, args};
use crate::sql::types::Ty;
use crate::txn::freeze::Pass;
use crate::txn::{Asked, Call};

use super::delete::DeletePlan;
use super::freeze;
use super::insert::InsertPlan;
use super::update::UpdatePlan;

#[derive(Debug)]
pub enum WritePlan {
    Insert(Box<InsertPlan>),
    Update(Box<UpdatePlan>),
    Delete(Box<DeletePlan>),
}

/// RETURNING: what a row statement gives back.
#[derive(Debug)]
pub struct Returning {
    /// ` RETURNING a, b` in SQLite's text.
    pub sql: String,
    pub columns: Arc<[ResultColumn]>,
}

/// What a job did.
#[derive(Debug, Default)]
pub struct Outcome {
    pub affected: u64,
    /// The first generated number (what LAST_INSERT_ID() says from now on).
    pub generated: Option<u64>,
    /// What the OK packet says: the generated number, or the explicit one of the last row.
    pub insert_id: u64,
    pub info: String,
    pub warnings: (Vec<Warning>, u64),
    pub returned: Vec<Row>,
    pub effects: Effects,
}

impl WritePlan {
    pub fn db(&self) -> &str {
        match self {
            WritePlan::Insert(plan) => &plan.db,
            WritePlan::Update(plan) => &plan.db,
            WritePlan::Delete(plan) => &plan.db,
        }
    }
    /// The tables it changes.
    pub fn tables(&self) -> Vec<&Arc<Table>> {
        match self {
            WritePlan::Insert(plan) => vec![&plan.table],
            WritePlan::Update(plan) => plan.tables(),
            WritePlan::Delete(plan) => plan.tables(),
        }
    }
    /// The tables it changes or reads.
    pub fn used(&self) -> Vec<Arc<Table>> {
        let mut out: Vec<Arc<Table>> = self.tables().into_iter().cloned().collect();
        let mut add = |table: &Arc<Table>| {
            if !out.iter().any(|t| t.id == table.id) {
                out.push(Arc::clone(table));
            }
        };
        match self {
            WritePlan::Insert(plan) => plan.used().for_each(&mut add),
            WritePlan::Update(plan) => plan.used().iter().for_each(&mut add),
            WritePlan::Delete(plan) => plan.used().iter().for_each(&mut add),
        }
        out
    }
    /// SERIALIZABLE: the tables whose rows it looked for, which must stay as they are. `one`: it changed a row.
    fn looked_at(&self, one: bool) -> Vec<u64> {
        match self {
            WritePlan::Insert(plan) => plan.used().map(|t| t.id).collect(),
            WritePlan::Update(plan) if plan.point && one => Vec::new(),
            WritePlan::Delete(plan) if plan.point && one => Vec::new(),
            _ => self.used().iter().map(|t| t.id).collect(),
        }
    }
    /// Does it change a few rows that are named by their keys, and nothing else?
    fn size(&self) -> Size {
        let short = match self {
            WritePlan::Insert(plan) => plan.is_short(),
            WritePlan::Update(plan) => plan.short,
            WritePlan::Delete(plan) => plan.short,
        };
        if short { Size::Point } else { Size::Any }
    }
    /// Other databases that it reads: to be pinned at one point before it runs.
    fn reads(&self) -> Vec<&str> {
        let dbs = match self {
            WritePlan::Insert(plan) => plan.reads(),
            WritePlan::Update(plan) => plan.reads(),
            WritePlan::Delete(plan) => plan.reads(),
        };
        let foreign = |db: &&str| *db != self.db() && !crate::sql::meta::is_system(db);
        dbs.iter().map(String::as_str).filter(foreign).collect()
    }
    /// A schema change may have overtaken the statement on its way to the lane: its values were converted for the table as it was.
    fn check_tables(&self, now: &Catalog) -> Result<()> {
        let same = |t: &&Arc<Table>| now.table_by_id(t.id).is_some_and(|(_, n)| Arc::ptr_eq(n, t) || **n == ***t);
        if self.tables().iter().all(same) {
            return Ok(());
        }
        Err(SqlError::new(1412, "Table definition has changed, please retry transaction"))
    }
    /// Arguments of the whole plan.
    pub fn args(&self) -> Box<dyn Iterator<Item = &Arg> + '_> {
        match self {
            WritePlan::Insert(plan) => Box::new(plan.args()),
            WritePlan::Update(plan) => Box::new(plan.args().iter()),
            WritePlan::Delete(plan) => Box::new(plan.args().iter()),
        }
    }
    fn returning(&self) -> Option<&Returning> {
        match self {
            WritePlan::Insert(plan) => plan.returning.as_ref(),
            WritePlan::Update(_) => None,
            WritePlan::Delete(plan) => plan.returning.as_ref(),
        }
    }
    pub fn returning_columns(&self) -> Vec<ResultColumn> {
        self.returning().map(|r| r.columns.to_vec()).unwrap_or_default()
    }
    pub fn count(&self, counters: &Counters) {
        let counter: &AtomicU64 = match self {
            WritePlan::Insert(_) => &counters.inserts,
            WritePlan::Update(_) => &counters.updates,
            WritePlan::Delete(_) => &counters.deletes,
        };
        Counters::add(counter);
    }
}

/// What functions may know of a statement; `writing`: bad values are errors (strict mode).
pub fn function_context(session: &Session, writing: bool) -> Context {
    let settings = session.settings();
    let mode = settings.mode;
    let strict = writing && mode.strict;
    Context {
        strict,
        strict_division: strict && mode.error_for_division_by_zero,
        no_zero_date: mode.no_zero_date,
        no_zero_in_date: mode.no_zero_in_date,
        allow_invalid_dates: mode.allow_invalid_dates,
        no_unsigned_subtraction: mode.no_unsigned_subtraction,
        pad_char_to_full_length: mode.pad_char_to_full_length,
        zone_seconds: args::zone_seconds(&settings.time_zone) as i32,
        group_concat_max_len: settings.group_concat_max_len as usize,
        max_allowed_packet: settings.max_allowed_packet,
        row: 1,
    }
}

/// May this session write now?
pub fn may_write(session: &Session) -> Result<()> {
    if session.transaction.is_read_only() {
        return Err(SqlError::new(1792, "Cannot execute statement in a READ ONLY transaction."));
    }
    session.server.cluster.may_write().map_err(|why| read_only(&why))
}

/// Settings of the session that a job carries with it.
#[derive(Clone, Copy, Debug)]
pub struct JobSettings {
    pub functions: Context,
    pub found_rows: bool,
    pub zero_is_value: bool,
    /// `foreign_key_checks`
    pub foreign_keys: bool,
    /// How it wants its AUTO_INCREMENT numbers.
    pub numbers: Rule,
}

/// Runs a row statement's plan.
pub async fn run(session: &mut Session, plan: &Arc<Plan>, inputs: &Inputs<'_>, sink: &mut dyn Sink) -> Result<Done> {
    let Plan::Write(write) = &**plan else {
        return Err(SqlError::internal("not a row statement"));
    };
    may_write(session)?;
    let settings = JobSettings {
        functions: function_context(session, true),
        found_rows: session.found_rows,
        zero_is_value: session.settings().mode.no_auto_value_on_zero,
        foreign_keys: session.settings().foreign_key_checks,
        numbers: session.settings().numbers,
    };
    let passing = freeze::pass(session, Pass::Statement).await?;
    let outcome = attempt(session, plan, write, settings, inputs).await?;
    drop(passing);
    conclude(session, write, outcome, sink)
}

/// On the lane, as often as locks are in its way.
async fn attempt(
    session: &mut Session,
    plan: &Arc<Plan>,
    write: &WritePlan,
    settings: JobSettings,
    inputs: &Inputs<'_>,
) -> Result<Outcome> {
    let mut prepared = prepare(session, write, settings, inputs)?;
    let shared = plan.clone();
    let serializable = session.transaction.locks_reads();
    let work = Box::new(move |lane: &mut Try<'_>, asked: &mut Asked<'_>| {
        let mark = lane.mark();
        if let Plan::Write(write) = &*shared {
            write.check_tables(lane.catalog)?;
            let reads = write.reads();
            if !reads.is_empty() {
                lane.reads(&reads).map_err(|e| from_sqlite(&e))?;
            }
        }
        let _functions = context::enter(settings.functions);
        context::take_warnings();
        lane.set_foreign_keys(settings.foreign_keys).map_err(|e| from_sqlite(&e))?;
        let outcome = match (&*shared, &mut prepared) {
            (Plan::Write(WritePlan::Insert(plan)), Ready::Insert(rows)) => plan.apply(lane, rows, settings),
            (Plan::Write(WritePlan::Update(plan)), Ready::Values(values)) => plan.apply(lane, values, settings),
            (Plan::Write(WritePlan::Delete(plan)), Ready::Values(values)) => plan.apply(lane, values, settings),
            _ => Err(SqlError::internal("plan and arguments do not fit")),
        };
        let warnings = context::take_warnings();
        let effects = context::take_effects();
        if let Plan::Write(write) = &*shared
            && serializable
        {
            stay(lane, asked, write, mark)?;
        }
        outcome.map(|mut outcome| {
            outcome.effects = effects;
            outcome.warnings.1 += warnings.1;
            outcome.warnings.0.extend(warnings.0);
            outcome
        })
    });
    let tables = write.used();
    let call = Call {
        db: write.db(),
        tables: &tables,
        wait: Duration::from_millis(session.settings().lock_wait_ms),
        at_once: false,
        level: session.level(),
        size: write.size(),
    };
    session.transaction.run(&call, work).await.map_err(from_failed)
}

/// SERIALIZABLE: what the statement looked for stays as it is.
fn stay(lane: &mut Try<'_>, asked: &mut Asked<'_>, write: &WritePlan, mark: Mark) -> Result<()> {
    let counts = lane.counts_since(mark);
    for table in write.looked_at(counts.updated + counts.deleted > 0) {
        let claim = lane.claim_table(table, Mode::Shared).map_err(SqlError::internal)?;
        asked.claims.push(claim);
    }
    Ok(())
}

/// A statement's arguments, evaluated.
enum Ready {
    Insert(super::insert::Rows),
    Values(Vec<starling_log::Value>),
}

fn prepare(session: &Session, plan: &WritePlan, settings: JobSettings, inputs: &Inputs<'_>) -> Result<Ready> {
    let _functions = context::enter(settings.functions);
    context::take_warnings();
    Ok(match plan {
        WritePlan::Insert(plan) => Ready::Insert(plan.rows(session, inputs)?),
        WritePlan::Update(plan) => Ready::Values(args::values(session, plan.args(), inputs)?),
        WritePlan::Delete(plan) => Ready::Values(args::values(session, plan.args(), inputs)?),
    })
}

fn conclude(session: &mut Session, plan: &WritePlan, outcome: Outcome, sink: &mut dyn Sink) -> Result<Done> {
    session.diagnostics.add(outcome.warnings);
    session.row_count = outcome.affected as i64;
    if let Some(generated) = outcome.generated {
        session.last_insert_id = generated;
    }
    let given = outcome.effects.last_insert_id;
    session.keep(outcome.effects);
    if let Some(returning) = plan.returning() {
        sink.columns(&returning.columns)?;
        for row in &outcome.returned {
            let cells: Vec<_> = row.as_ref().iter().collect();
            sink.row(&cells)?;
        }
        session.rows_found = outcome.returned.len() as u64;
    }
    let info = outcome.info.replace("{w}", &session.diagnostics.count.to_string());
    Ok(Done {
        affected: outcome.affected,
        last_insert_id: given.unwrap_or(outcome.insert_id),
        info,
        ..Done::default()
    })
}

/// A RETURNING list over the table in `binder`'s scope.
pub fn returning(
    binder: &mut crate::sql::bind::Binder<'_>,
    items: &[crate::sql::ast::SelectItem],
    table: &starling_apply::Table,
) -> Result<Option<Returning>> {
    use crate::sql::ast::{Expr, SelectItem};
    if items.is_empty() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    let mut columns = Vec::new();
    for item in items {
        match item {
            SelectItem::Wildcard | SelectItem::TableWildcard(_) => {
                for column in table.columns.iter().filter(|c| !c.invisible) {
                    parts.push(quote(&column.name));
                    columns.push(ResultColumn::named(column.name.clone(), column.ty.clone()));
                }
            }
            SelectItem::Expr { expr, alias, text } => {
                let (sql, ty): (String, Ty) = binder.expr(expr, "field list")?;
                let name = match (alias, expr) {
                    (Some(alias), _) => alias.clone(),
                    (None, Expr::Column { name, .. }) => name.clone(),
                    _ => String::from_utf8_lossy(&binder.scope.text[text.start as usize..text.end as usize]).into_owned(),
                };
                parts.push(sql);
                columns.push(ResultColumn::named(name, ty.ty));
            }
        }
    }
    Ok(Some(Returning {
        sql: format!(" RETURNING {}", parts.join(", ")),
        columns: columns.into(),
    }))
}

/// A name quoted for SQLite.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"db"."table"`.
pub fn qualified(db: &str, table: &str) -> String {
    format!("{}.{}", quote(db), quote(table))
}
