//! One client's session: its variables, its transaction, and one statement's way from text to result.
//!
//! Promises: a statement that fails leaves nothing behind but its error; warnings are those of the last statement; a plan is
//! used only for the text shape, modes and catalog it was made for. Must not know: packets.

pub mod args;
mod asked;
mod charset;
pub mod errors;
pub mod input;
mod position;
pub mod prepared;
pub mod provider;
pub mod registry;
pub mod server;
pub mod tables;
pub mod track;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use starling_log::Value;
use tokio_util::sync::CancellationToken;

use super::ast::Literal;
use super::bind::{Scope, VarTypes};
use super::error::{Result, SqlError};
use super::fingerprint::{self, RawLiteral};
use super::func::context::{Effects, Level, Warning};
use super::lex::LexMode;
use super::parse;
use super::plan::{Key, Sight};
use super::result::{Param, PreparedInfo, ResultColumn, Sink, Status};
use super::stmt;
use super::stmt::origin::Origin;
use super::types::Ty;
use super::vars::{self, SessionVars, Settings};
use crate::txn::Transaction;

pub use prepared::Prepared;
pub use server::{Counters, Plan, Server};

/// Who the session belongs to, after authentication.
#[derive(Clone, Debug)]
pub struct Identity {
    pub user: String,
    /// The client's address as MySQL shows it.
    pub host: String,
    /// `user@hostpattern` of the account that matched.
    pub account: String,
    pub attributes: Vec<(String, String)>,
}

pub struct Session {
    pub server: Arc<Server>,
    pub entry: Arc<registry::Entry>,
    pub identity: Identity,
    /// CLIENT_FOUND_ROWS: UPDATE counts the rows it matched.
    pub found_rows: bool,
    pub vars: SessionVars,
    pub user_vars: HashMap<String, (Value, Ty)>,
    /// As the catalog writes it.
    pub database: Option<Arc<str>>,
    pub transaction: Transaction,
    pub diagnostics: Diagnostics,
    pub last_insert_id: u64,
    /// ROW_COUNT(): of the statement before.
    pub row_count: i64,
    /// FOUND_ROWS(): of the last SELECT.
    pub rows_found: u64,
    /// SQL-level PREPARE.
    pub named: HashMap<String, Prepared>,
    /// `collation_connection`, shared with plan keys.
    collation: Arc<str>,
    /// Isolation for the next transaction only (SET TRANSACTION without a scope).
    pub next_transaction: stmt::transaction::Next,
    pub track: track::Track,
    /// The branch of an XA transaction that it works on.
    pub xa: Option<stmt::xa::Branch>,
    /// FLUSH TABLES WITH READ LOCK of this session.
    pub frozen: Option<crate::txn::freeze::Frozen>,
}

/// What SHOW WARNINGS shows.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    pub list: Vec<Warning>,
    pub count: u64,
}

impl Diagnostics {
    pub fn clear(&mut self) {
        self.list.clear();
        self.count = 0;
    }
    pub fn add(&mut self, warnings: (Vec<Warning>, u64)) {
        self.count += warnings.1;
        self.list.extend(warnings.0);
    }
    pub fn push(&mut self, level: Level, code: u16, message: impl Into<String>) {
        self.count += 1;
        self.list.push(Warning {
            level,
            code,
            message: message.into(),
        });
    }
    pub fn count16(&self) -> u16 {
        u16::try_from(self.count).unwrap_or(u16::MAX)
    }
}

/// A statement's literals and client parameters, for plans that take them as arguments.
pub struct Inputs<'a> {
    pub literal: &'a (dyn Fn(u32) -> Result<Literal> + Sync),
    pub params: &'a [Param],
}

impl Drop for Session {
    fn drop(&mut self) {
        self.server.named.release_all(self.entry.id);
        self.server.registry.remove(self.entry.id);
    }
}

impl Session {
    /// Registers it under `id` (from `Server::next_connection_id`; dropping it takes it off the list). `found_rows`: CLIENT_FOUND_ROWS;
    /// `collation`: number of the handshake.
    pub fn new(server: Arc<Server>, id: u32, identity: Identity, found_rows: bool, collation: u16) -> Session {
        let mut vars = SessionVars::new(server.globals.clone());
        charset::from_handshake(&mut vars, collation);
        let entry = server.registry.add(id, &identity.user, &identity.host);
        let transaction = Transaction::new(server.transactions.clone(), id, entry.interrupt.clone());
        let collation = Arc::from(vars.settings().collation.as_str());
        Session {
            server,
            entry,
            identity,
            found_rows,
            vars,
            user_vars: HashMap::new(),
            database: None,
            transaction,
            diagnostics: Diagnostics::default(),
            last_insert_id: 0,
            row_count: -1,
            rows_found: 0,
            named: HashMap::new(),
            collation,
            next_transaction: stmt::transaction::Next::default(),
            track: track::Track::default(),
            xa: None,
            frozen: None,
        }
    }
    pub fn connection_id(&self) -> u32 {
        self.entry.id
    }
    pub fn settings(&self) -> &Settings {
        self.vars.settings()
    }
    pub fn lex_mode(&self) -> LexMode {
        LexMode::from(self.settings().mode)
    }

    /// COM_QUERY: all statements of the text (more than one only if `multi`).
    pub async fn query(&mut self, text: &[u8], multi: bool, sink: &mut dyn Sink) -> Result<()> {
        Counters::add(&self.server.counters.questions);
        self.begin_statement(text);
        let result = self.query_all(text, multi, sink).await;
        self.end_statement(result.as_ref().err());
        result
    }

    async fn query_all(&mut self, text: &[u8], multi: bool, sink: &mut dyn Sink) -> Result<()> {
        let mode = self.lex_mode();
        let mut raws = Vec::new();
        let scanned = fingerprint::scan(text, mode, &mut raws);
        if let Some(found) = scanned {
            let key = self.plan_key(found.0);
            let literal = |slot: u32| decode(&raws, slot, mode);
            let inputs = Inputs {
                literal: &literal,
                params: &[],
            };
            if let Some(plan) = self.server.plans.get(&key, |slot| raws.get(slot as usize).map(|r| r.bytes)) {
                let origin = Origin::cached(text, key, &raws);
                return stmt::run_plan(self, &plan, &origin, &inputs, sink, false).await;
            }
            let (parsed, rest) = parse::parse_first(text, mode)?;
            self.refuse_rest(text, rest)?;
            return stmt::run_parsed(self, text, &parsed, Some((key, raws.as_slice())), &inputs, sink, false).await;
        }
        let mut at = 0;
        loop {
            let part = &text[at..];
            let (parsed, end) = parse::parse_first(part, mode)?;
            let rest = &part[end..];
            let more = !is_blank(rest);
            if more && !multi {
                return self.refuse_rest(part, end);
            }
            let statement = &part[..end];
            let literal = |slot: u32| args::literal_at(statement, &parsed.literals, slot, mode);
            let inputs = Inputs {
                literal: &literal,
                params: &[],
            };
            stmt::run_parsed(self, statement, &parsed, None, &inputs, sink, more).await?;
            if !more {
                return Ok(());
            }
            at += end;
        }
    }

    /// Text behind the one statement that a client may send at a time.
    fn refuse_rest(&self, text: &[u8], rest: usize) -> Result<()> {
        if is_blank(&text[rest..]) {
            return Ok(());
        }
        let line = 1 + text[..rest].iter().filter(|b| **b == b'\n').count();
        let near = text[rest..].trim_ascii_start();
        Err(SqlError::syntax(near, line))
    }

    pub fn plan_key(&self, fingerprint: u128) -> Key {
        Key {
            fingerprint,
            database: self.database.clone(),
            mode: self.settings().mode,
            collation: self.collation.clone(),
            catalog: self.server.engine.catalog().version,
            sight: Sight::default(),
        }
    }

    /// What a statement's functions left: variables it assigned, LAST_INSERT_ID(e).
    pub fn keep(&mut self, effects: Effects) {
        for assigned in effects.variables {
            let Ok(ty) = serde_json::from_str(&assigned.spec) else { continue };
            let value = match assigned.value {
                rusqlite::types::Value::Null => Value::Null,
                rusqlite::types::Value::Integer(v) => Value::Int(v),
                rusqlite::types::Value::Real(v) => Value::Real(v),
                rusqlite::types::Value::Text(v) => Value::Text(v.into_bytes()),
                rusqlite::types::Value::Blob(v) => Value::Blob(v),
            };
            self.user_vars.insert(assigned.name, (value, Ty::of(ty, true)));
        }
        if let Some(id) = effects.last_insert_id {
            self.last_insert_id = id;
        }
    }

    fn begin_statement(&mut self, text: &[u8]) {
        self.entry.interrupt.clear();
        // What SHOW PROCESSLIST shows of a long text.
        const SHOWN: usize = 1024;
        let shown: Arc<[u8]> = Arc::from(&text[..text.len().min(SHOWN)]);
        self.entry.update(|s| {
            s.statement = Some(shown);
            s.since = Instant::now();
        });
    }
    fn end_statement(&mut self, error: Option<&SqlError>) {
        self.transaction.rest();
        self.entry.update(|s| {
            s.statement = None;
            s.since = Instant::now();
        });
        if let Some(error) = error {
            Counters::add(&self.server.counters.errors);
            self.row_count = -1;
            stmt::xa::after_error(self, error);
            self.diagnostics.push(Level::Error, error.code, error.message.clone());
        }
    }

    /// COM_STMT_PREPARE. 1295 for what cannot be prepared.
    pub fn prepare(&mut self, text: &[u8]) -> Result<(Prepared, PreparedInfo)> {
        Counters::add(&self.server.counters.prepares);
        self.diagnostics.clear();
        Prepared::new(self, text)
    }
    /// COM_STMT_EXECUTE.
    pub async fn execute(&mut self, prepared: &mut Prepared, params: &[Param], sink: &mut dyn Sink) -> Result<()> {
        Counters::add(&self.server.counters.questions);
        Counters::add(&self.server.counters.executes);
        let text = prepared.text.clone();
        self.begin_statement(&text);
        let result = prepared.run(self, params, sink, false).await;
        self.end_statement(result.as_ref().err());
        result
    }
    /// COM_INIT_DB.
    pub fn use_database(&mut self, name: &str) -> Result<()> {
        let catalog = self.server.engine.catalog();
        let found = match super::meta::user_database(&catalog, name) {
            Some(db) => Arc::from(db.name.as_str()),
            None => Arc::from(
                super::meta::system_database(name)
                    .ok_or_else(|| SqlError::unknown_database(name))?
                    .name
                    .as_str(),
            ),
        };
        self.entry.update(|s| s.database = Some(String::from(&*found)));
        if let Some(db) = catalog.database(name) {
            charset::of_database(&mut self.vars, &db.collation);
        }
        self.database = Some(found);
        self.track.used();
        Ok(())
    }
    /// COM_FIELD_LIST.
    pub fn field_list(&mut self, table: &str, wildcard: &[u8]) -> Result<Vec<ResultColumn>> {
        let quoted = table.replace('`', "``");
        let text = format!("SELECT * FROM `{quoted}` LIMIT 0");
        let (_, info) = self.prepare(text.as_bytes())?;
        let like = String::from_utf8_lossy(wildcard).to_lowercase();
        Ok(info
            .columns
            .into_iter()
            .filter(|c| like.is_empty() || stmt::like(&c.name.to_lowercase(), &like))
            .collect())
    }
    /// COM_STATISTICS.
    pub fn statistics(&self) -> String {
        let uptime = self.server.started.elapsed().as_secs();
        let questions = self.server.counters.questions.load(std::sync::atomic::Ordering::Relaxed);
        format!(
            "Uptime: {uptime}  Threads: {}  Questions: {questions}  Slow queries: 0  Opens: 0  Flush tables: 0  Open tables: 0  Queries per second avg: {:.3}",
            self.server.registry.count(),
            questions as f64 / uptime.max(1) as f64
        )
    }
    /// COM_RESET_CONNECTION: rolls back, forgets variables and prepared statements; also the first half of COM_CHANGE_USER.
    pub async fn reset(&mut self) {
        self.transaction.rollback();
        self.xa = None;
        self.frozen = None;
        self.transaction.unlock_tables();
        self.vars = SessionVars::new(self.server.globals.clone());
        self.refresh();
        self.server.named.release_all(self.entry.id);
        self.track.reset();
        self.user_vars.clear();
        self.named.clear();
        self.diagnostics.clear();
        self.last_insert_id = 0;
        self.row_count = -1;
        self.next_transaction = stmt::transaction::Next::default();
    }
    /// COM_CHANGE_USER, second half.
    pub fn become_user(&mut self, identity: Identity) {
        self.entry.update(|s| {
            s.user = identity.user.clone();
            s.host = identity.host.clone();
            s.database = None;
        });
        self.identity = identity;
        self.database = None;
    }
    /// After SET: what is kept beside the variables follows them.
    pub fn refresh(&mut self) {
        self.collation = Arc::from(self.settings().collation.as_str());
    }
    /// Fires when the session is killed (KILL CONNECTION); cheap to clone.
    pub fn killed(&self) -> CancellationToken {
        self.entry.killed.clone()
    }
    pub fn status(&self) -> Status {
        let settings = self.settings();
        Status {
            autocommit: settings.autocommit,
            in_transaction: self.transaction.is_open(),
            read_only_transaction: self.transaction.is_read_only(),
            no_backslash_escapes: settings.mode.no_backslash_escapes,
        }
    }
    /// How many members must have a write before it is answered (`starling_write_consistency`).
    pub fn level(&self) -> crate::txn::Level {
        self.settings().level
    }
    /// Charset of results on the wire (`character_set_results`; `None`: no conversion), as a charset name.
    pub fn results_charset(&self) -> Option<&str> {
        self.settings().results_charset.as_deref()
    }
    pub fn max_allowed_packet(&self) -> usize {
        self.settings().max_allowed_packet
    }
    /// Seconds an idle connection lives (`wait_timeout`).
    pub fn wait_timeout(&self) -> u64 {
        self.settings().wait_timeout
    }
    /// What binding needs; `catalog` must outlive the scope.
    pub fn scope<'a>(&'a self, catalog: &'a starling_apply::Catalog, text: &'a [u8], params: &'a [Ty]) -> Scope<'a> {
        Scope {
            catalog,
            database: self.database.as_deref(),
            mode: self.settings().mode,
            collation: &self.collation,
            text,
            params,
            vars: self,
        }
    }
}

impl VarTypes for Session {
    fn system(&self, scope: Option<&str>, name: &str) -> Result<Ty> {
        let index = vars::find(name)?;
        vars::check_read_scope(scope, index)?;
        Ok(vars::ty(index))
    }
    fn user(&self, name: &str) -> Ty {
        self.user_vars.get(&name.to_lowercase()).map_or_else(Ty::null, |(_, ty)| ty.clone())
    }
}

fn decode(raws: &[RawLiteral<'_>], slot: u32, mode: LexMode) -> Result<Literal> {
    raws.get(slot as usize)
        .ok_or_else(|| SqlError::internal("a literal is missing"))?
        .decode(mode)
}

/// Nothing but spaces, comments to nothing, and semicolons.
fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|b| b.is_ascii_whitespace() || *b == b';' || *b == 0)
}

#[cfg(test)]
mod tests;
