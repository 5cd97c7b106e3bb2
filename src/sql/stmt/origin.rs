//! Where a plan came from, so that it can be made anew: when the catalog changed while the statement waited, or for what its
//! transaction needs (its own changes in what it reads, locks on all it reads).
//!
//! Promises: a plan that runs was made for the catalog under which the statement holds its tables' definitions. Must not know: how plans run.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::sql::ast::{Parsed, Statement};
use crate::sql::bind::{self, Pins, Reads};
use crate::sql::error::{Result, SqlError};
use crate::sql::fingerprint::RawLiteral;
use crate::sql::parse;
use crate::sql::plan::{Key, Sight};
use crate::sql::session::errors::from_failed_empty;
use crate::sql::session::{Plan, Session};
use crate::sql::types::Ty;
use crate::txn::Using;

use super::lock;

/// How often a statement is planned anew because schema changes overtake it.
pub const REPLANS: usize = 16;

/// A prepared statement's plan for its transaction's sight: made for which key and types.
pub type Slot = Mutex<Option<(Key, Vec<Ty>, Arc<Plan>)>>;

/// Where plans made for a transaction's sight are kept.
enum Keep<'a> {
    Nowhere,
    Cache(Key, &'a [RawLiteral<'a>]),
    Slot(Key, &'a Slot),
}

pub struct Origin<'a> {
    text: &'a [u8],
    parsed: Option<&'a Parsed>,
    params: &'a [Ty],
    /// The catalog that the plan was made for.
    catalog: u64,
    keep: Keep<'a>,
}

impl<'a> Origin<'a> {
    /// A plan from the cache.
    pub fn cached(text: &'a [u8], key: Key, raws: &'a [RawLiteral<'a>]) -> Origin<'a> {
        Origin {
            text,
            parsed: None,
            params: &[],
            catalog: key.catalog,
            keep: Keep::Cache(key, raws),
        }
    }
    /// A plan made for this text just now, under `catalog`.
    pub fn parsed(text: &'a [u8], parsed: &'a Parsed, catalog: u64, cached: Option<(Key, &'a [RawLiteral<'a>])>) -> Origin<'a> {
        Origin {
            text,
            parsed: Some(parsed),
            params: &[],
            catalog,
            keep: cached.map_or(Keep::Nowhere, |(key, raws)| Keep::Cache(key, raws)),
        }
    }
    pub fn prepared(text: &'a [u8], parsed: &'a Parsed, params: &'a [Ty], key: Key, slot: &'a Slot) -> Origin<'a> {
        Origin {
            text,
            parsed: Some(parsed),
            params,
            catalog: key.catalog,
            keep: Keep::Slot(key, slot),
        }
    }

    /// The plan to run, and the definitions of its tables held.
    pub async fn settle(&self, session: &mut Session, plan: &Arc<Plan>) -> Result<(Arc<Plan>, Using)> {
        let mut plan = Arc::clone(plan);
        let mut version = self.catalog;
        for _ in 0..REPLANS {
            let tables = plan.tables();
            lock::check(session, &plan)?;
            let wait = std::time::Duration::from_millis(session.settings().definition_wait_ms);
            let using = session.transaction.using(&tables, wait).await.map_err(from_failed_empty)?;
            let now = session.server.engine.catalog().version;
            if now == version {
                return Ok((self.sighted(session, plan)?, using));
            }
            version = now;
            plan = self.again(session)?;
        }
        Err(SqlError::new(1412, "Table definition has changed, please retry transaction"))
    }

    fn with_parsed<T>(&self, session: &Session, f: impl FnOnce(&Parsed) -> Result<T>) -> Result<T> {
        match self.parsed {
            Some(parsed) => f(parsed),
            None => f(&parse::parse_first(self.text, session.lex_mode())?.0),
        }
    }

    fn again(&self, session: &Session) -> Result<Arc<Plan>> {
        let made = self.with_parsed(session, |parsed| super::plan(session, self.text, parsed, self.params))?;
        made.map(|(plan, _)| Arc::new(plan))
            .ok_or_else(|| SqlError::internal("a plan cannot be made again"))
    }

    /// The same as its transaction sees it.
    fn sighted(&self, session: &Session, plan: Arc<Plan>) -> Result<Arc<Plan>> {
        let Some(sight) = sight(session, &plan) else { return Ok(plan) };
        if let Some(found) = self.find(session, &sight) {
            return Ok(found);
        }
        let catalog = session.server.engine.catalog();
        let scope = session.scope(&catalog, self.text, self.params);
        let reads = Reads {
            own: sight.own.as_deref().unwrap_or_default(),
            share: sight.share,
        };
        let (made, pins) = self.with_parsed(session, |parsed| {
            let Statement::Query(query) = &parsed.statement else {
                return Err(SqlError::internal("not a query"));
            };
            let mut pins = Pins(parsed.pinned.clone());
            let made = bind::select_as(&scope, query, &mut pins, reads)?;
            Ok((Arc::new(Plan::Select(made)), pins))
        })?;
        match &self.keep {
            Keep::Cache(key, raws) if key.catalog == catalog.version => {
                super::keep(session, Key { sight, ..key.clone() }, raws, pins, &made);
            }
            Keep::Slot(key, slot) if key.catalog == catalog.version && !made.reads_user_variables() => {
                *slot.lock() = Some((Key { sight, ..key.clone() }, self.params.to_vec(), Arc::clone(&made)));
            }
            _ => {}
        }
        Ok(made)
    }

    fn find(&self, session: &Session, sight: &Sight) -> Option<Arc<Plan>> {
        let wanted = |key: &Key| Key {
            sight: sight.clone(),
            ..key.clone()
        };
        let now = session.server.engine.catalog().version;
        match &self.keep {
            Keep::Cache(key, raws) if key.catalog == now => session
                .server
                .plans
                .get(&wanted(key), |slot| raws.get(slot as usize).map(|r| r.bytes)),
            Keep::Slot(key, slot) if key.catalog == now => match &*slot.lock() {
                Some((made_for, types, plan)) if *made_for == wanted(key) && types == self.params => Some(Arc::clone(plan)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What the plan must know of the open transaction; `None`: nothing.
fn sight(session: &Session, plan: &Plan) -> Option<Sight> {
    let Plan::Select(select) = plan else { return None };
    let tables = &select.lowered.tables;
    if select.locking.is_some() || tables.is_empty() {
        return None;
    }
    if session.transaction.locks_reads() {
        return Some(Sight { own: None, share: true });
    }
    if !session.transaction.has_written() {
        return None;
    }
    let mut own: Vec<u64> = tables
        .iter()
        .map(|t| t.id)
        .filter(|t| session.transaction.has_changed(*t))
        .collect();
    own.sort_unstable();
    (!own.is_empty()).then(|| Sight {
        own: Some(own.into()),
        share: false,
    })
}
