//! FLUSH TABLES … WITH READ LOCK, and whoever changes something while somebody has it.
//!
//! It stands for this node's clients alone: what other nodes decide or write goes on coming in, as in MySQL a replica's applier does not.

use std::time::Duration;

use crate::sql::ast::TableName;
use crate::sql::error::{Result, SqlError};
use crate::sql::result::Done;
use crate::sql::session::Session;
use crate::sql::session::errors::from_failed_empty;
use crate::txn::freeze::{Pass, Passing};
use crate::txn::locks::Patience;

use super::{lock, transaction};

fn patience(session: &Session) -> Patience {
    Patience {
        wait: Duration::from_millis(session.settings().definition_wait_ms),
        interrupt: session.entry.interrupt.clone(),
    }
}

/// Before anything is changed; kept as long as that takes.
pub async fn pass(session: &mut Session, pass: Pass) -> Result<Passing> {
    if session.frozen.is_some() {
        return Err(conflicting());
    }
    let gate = session.server.transactions.gate.clone();
    let patience = patience(session);
    gate.pass(pass, &patience).await.map_err(|e| from_failed_empty(e.into()))
}

/// It would change what the session itself keeps from being changed.
pub fn conflicting() -> SqlError {
    SqlError::new(1223, "Can't execute the query because you have a conflicting read lock")
}

/// FLUSH TABLES, with names or without, that lock or do not.
pub async fn flush(session: &mut Session, names: &[TableName], read_lock: bool) -> Result<Done> {
    if session.transaction.has_locked_tables() && read_lock {
        return Err(SqlError::new(
            1192,
            "Can't execute the given command because you have active locked tables or an active transaction",
        ));
    }
    transaction::end(session).await?;
    if !read_lock {
        // Nothing is cached that it would have to drop.
        return Ok(Done::default());
    }
    if !names.is_empty() {
        let list: Vec<_> = names.iter().map(|name| (name.clone(), None, false)).collect();
        return lock::lock(session, &list).await;
    }
    if session.frozen.is_none() {
        let gate = session.server.transactions.gate.clone();
        let patience = patience(session);
        let frozen = gate.freeze(&patience).await.map_err(|e| from_failed_empty(e.into()))?;
        session.frozen = Some(frozen);
    }
    Ok(Done::default())
}
