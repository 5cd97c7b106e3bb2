//! What the system tables ask of the server.
//!
//! Connections are made before the server is (the engine opens first), so the provider knows it by a weak reference that is set later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use starling_apply::Catalog;
use starling_apply::claim::ClaimKey;
use starling_apply::engine::{OnConnect, Role};
use starling_log::Value;

use crate::cluster::accounts::Account;
use crate::sql::func;
use crate::sql::meta::{self, Process, Provider, View};
use crate::sql::vars::Globals;
use crate::txn::locks::{LockKey, Locks};

use super::{Server, Session, tables};

/// Made before the engine; [`Hooks::attach`] gives it the server.
#[derive(Default)]
pub struct Hooks {
    server: OnceLock<Weak<Server>>,
}

impl Hooks {
    pub fn new() -> Arc<Hooks> {
        Arc::default()
    }
    pub fn attach(&self, server: &Arc<Server>) {
        let _ = self.server.set(Arc::downgrade(server));
    }
    /// For `EngineOptions::on_connect`: MySQL's functions and the system tables, on every connection.
    pub fn on_connect(self: &Arc<Self>) -> OnConnect {
        let provider: Arc<dyn Provider> = self.clone();
        Arc::new(move |connection, role| {
            func::register(connection)?;
            if role != Role::Apply {
                meta::register(connection, &provider)?;
            }
            Ok(())
        })
    }
    fn server(&self) -> Option<Arc<Server>> {
        self.server.get()?.upgrade()
    }
}

impl Provider for Hooks {
    fn catalog(&self) -> Option<Arc<Catalog>> {
        self.server().map(|s| s.engine.catalog())
    }
    fn globals(&self) -> Option<Arc<Globals>> {
        self.server().map(|s| s.globals.clone())
    }
    fn status(&self) -> Vec<(String, String)> {
        self.server().map(|s| status(&s)).unwrap_or_default()
    }
    fn processes(&self) -> Vec<Process> {
        let Some(server) = self.server() else { return Vec::new() };
        let locks = &server.transactions.locks;
        server.registry.list().iter().map(|e| process(e, locks)).collect()
    }
    fn auto_increment(&self, table: u64) -> Option<u64> {
        let server = self.server()?;
        server.engine.next_number(table)
    }
    fn table_rows(&self, database: &str, table: &str) -> Option<u64> {
        let server = self.server()?;
        let reader = server.engine.reader(&[&database.to_lowercase()]).ok()?;
        let name = crate::sql::stmt::write::qualified(&database.to_lowercase(), table);
        // An estimate from the last key is quick and, as in MySQL, only about right.
        let sql = format!("SELECT coalesce(max(rowid), 0) FROM {name}");
        let counted = reader
            .query_row(&sql, [], |row| row.get::<_, i64>(0))
            .or_else(|_| reader.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get::<_, i64>(0)));
        counted.ok().and_then(|n| u64::try_from(n).ok())
    }
    fn locks(&self) -> Option<(Arc<Locks>, u64)> {
        let server = self.server()?;
        Some((server.transactions.locks.clone(), server.engine.log().clock().now_ms()))
    }
    fn accounts(&self) -> Vec<Account> {
        self.server().map(|s| s.cluster.accounts().list.clone()).unwrap_or_default()
    }
    fn starling(&self, table: &str) -> Vec<Vec<Value>> {
        self.server().map(|s| tables::rows(&s, table)).unwrap_or_default()
    }
}

fn process(entry: &super::registry::Entry, locks: &Locks) -> Process {
    let state = entry.state();
    let waits = if state.statement.is_some() {
        locks.waits_for(entry.id)
    } else {
        None
    };
    Process {
        id: entry.id,
        user: state.user,
        host: state.host,
        db: state.database,
        command: if state.statement.is_some() { "Query" } else { "Sleep" },
        seconds: state.since.elapsed().as_secs(),
        state: waits.map_or("", waiting).to_string(),
        info: state.statement.map(|text| String::from_utf8_lossy(&text).into_owned()),
    }
}

fn waiting(key: LockKey) -> &'static str {
    match key {
        LockKey::Meta(_) => "Waiting for table metadata lock",
        LockKey::Data(ClaimKey::Table { .. }) => "Waiting for table lock",
        LockKey::Data(_) => "Waiting for row lock",
    }
}

/// SHOW GLOBAL STATUS.
fn status(server: &Server) -> Vec<(String, String)> {
    let counters = &server.counters;
    let load = |c: &AtomicU64| c.load(Ordering::Relaxed);
    let running = server.registry.list().iter().filter(|e| e.state().statement.is_some()).count() as u64;
    [
        ("Com_begin", load(&counters.begins)),
        ("Com_commit", load(&counters.commits)),
        ("Com_delete", load(&counters.deletes)),
        ("Com_insert", load(&counters.inserts)),
        ("Com_rollback", load(&counters.rollbacks)),
        ("Com_select", load(&counters.selects)),
        ("Com_stmt_execute", load(&counters.executes)),
        ("Com_stmt_prepare", load(&counters.prepares)),
        ("Com_update", load(&counters.updates)),
        ("Connections", u64::from(server.registry.total())),
        ("Max_used_connections", u64::from(server.registry.most())),
        ("Queries", load(&counters.questions)),
        ("Questions", load(&counters.questions)),
        ("Slow_queries", 0),
        ("Threads_connected", server.registry.count() as u64),
        ("Threads_running", running),
        ("Uptime", server.started.elapsed().as_secs()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .collect()
}

impl Session {
    /// What system tables show of this session.
    pub fn view(&self) -> Arc<View> {
        Arc::new(View {
            connection_id: self.entry.id,
            user: self.identity.user.clone(),
            host: self.identity.host.clone(),
            variables: self.vars.listing(),
            status: Vec::new(),
        })
    }
}
