//! What the server tells about itself: `information_schema`, `performance_schema` and `starling` as virtual tables, and the
//! text of SHOW CREATE.
//!
//! Promises: one set of tables serves SELECT and SHOW; a statement sees each table once made (its rows do not change while
//! it runs). A table is an eponymous virtual table of SQLite: it needs no ATTACH and no file, and is called
//! `"information_schema"."TABLES"` like any other. Must not know: sessions beyond what a [`View`] shows, the engine beyond
//! what the [`Provider`] tells.

pub mod create;
mod define;
pub mod rows_locks;
mod rows_schema;
mod rows_server;
mod vtab;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use starling_apply::{Catalog, Database, Table};
use starling_log::Value;

use super::vars::Globals;
use crate::cluster::accounts::Account;
use crate::txn::locks::Locks;

pub use define::{is_hidden, is_system, system_database, system_databases, system_table, user_database};

/// A connected client, for SHOW PROCESSLIST.
#[derive(Clone, Debug, Default)]
pub struct Process {
    pub id: u32,
    pub user: String,
    pub host: String,
    pub db: Option<String>,
    /// `Query`, `Sleep` …
    pub command: &'static str,
    pub seconds: u64,
    pub state: String,
    pub info: Option<String>,
}

/// What the virtual tables need of the server.
pub trait Provider: Send + Sync + 'static {
    /// `None` while the server is not up.
    fn catalog(&self) -> Option<Arc<Catalog>>;
    fn globals(&self) -> Option<Arc<Globals>>;
    /// Global status counters.
    fn status(&self) -> Vec<(String, String)>;
    fn processes(&self) -> Vec<Process>;
    /// The next AUTO_INCREMENT number of a table.
    fn auto_increment(&self, table: u64) -> Option<u64>;
    /// About how many rows (names as the catalog has them).
    fn table_rows(&self, database: &str, table: &str) -> Option<u64>;
    fn accounts(&self) -> Vec<Account>;
    /// Rows of a table of the `starling` database (lower-case name), in the order of its columns.
    fn starling(&self, table: &str) -> Vec<Vec<Value>>;
    /// Who locks what, and the time now in milliseconds since the epoch.
    fn locks(&self) -> Option<(Arc<Locks>, u64)> {
        None
    }
}

/// What the statement's own session shows of itself.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub connection_id: u32,
    pub user: String,
    pub host: String,
    /// Session values by name (`SessionVars::listing`).
    pub variables: Vec<(&'static str, Option<String>)>,
    /// Session status counters; what is missing shows its global value.
    pub status: Vec<(String, String)>,
}

thread_local! {
    static CURRENT: RefCell<(u64, Option<Arc<View>>)> = const { RefCell::new((0, None)) };
}
static STATEMENT: AtomicU64 = AtomicU64::new(0);

/// Ends the statement when dropped.
pub struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set((0, None));
    }
}

/// Around each statement that reads a system table, on the thread that steps it.
#[must_use]
pub fn enter(view: Arc<View>) -> Entered {
    CURRENT.set((STATEMENT.fetch_add(1, Ordering::Relaxed) + 1, Some(view)));
    Entered(())
}

fn current() -> (u64, Option<Arc<View>>) {
    CURRENT.with_borrow(Clone::clone)
}

/// Makes the system tables known to a connection.
pub fn register(connection: &Connection, provider: &Arc<dyn Provider>) -> rusqlite::Result<()> {
    vtab::register(connection, provider)
}

/// The rows of a system table.
fn rows(database: &Database, table: &Table, provider: &dyn Provider, view: &View) -> Vec<Vec<Value>> {
    if database.name == "starling" {
        return provider.starling(&table.name.to_lowercase());
    }
    rows_schema::rows(&table.name, provider)
        .or_else(|| rows_server::rows(&table.name, provider, view))
        .or_else(|| rows_locks::rows(&table.name, provider))
        .unwrap_or_default()
}

#[cfg(test)]
pub(in crate::sql) mod tests;
