//! LOCK TABLES and UNLOCK TABLES, and how other statements respect them.
//!
//! Interim rule until locks go through the cluster: they hold between the sessions of this node.

use std::time::Duration;

use crate::sql::ast::{Name, TableName};
use crate::sql::error::{Result, SqlError};
use crate::sql::meta;
use crate::sql::result::Done;
use crate::sql::session::Session;
use crate::sql::session::errors::from_write;
use crate::txn::retype;
use crate::txn::tables::{Access, TableLocks, Wanted};

use super::transaction;

pub fn timeout() -> SqlError {
    SqlError::new(1205, "Lock wait timeout exceeded; try restarting transaction")
}

fn wait_of(session: &Session) -> Duration {
    Duration::from_millis(session.settings().lock_wait_ms)
}

pub async fn lock(session: &mut Session, list: &[(TableName, Option<Name>, bool)]) -> Result<Done> {
    transaction::end(session).await?;
    session.server.tables.release(session.connection_id());
    let mut wanted = Vec::with_capacity(list.len());
    let mut dbs = Vec::new();
    {
        let catalog = session.server.engine.catalog();
        for (name, _, write) in list {
            let db = name
                .db
                .as_deref()
                .or(session.database.as_deref())
                .ok_or_else(SqlError::no_database)?;
            if meta::system_table(db, &name.name).is_some() {
                continue;
            }
            let database = catalog.database(db).ok_or_else(|| SqlError::unknown_database(db))?;
            let table = database
                .table(&name.name)
                .ok_or_else(|| SqlError::unknown_table(&database.name, &name.name))?;
            let db = database.name.to_lowercase();
            wanted.push(Wanted {
                table: table.id,
                db: db.clone(),
                write: *write,
            });
            dbs.push(db);
        }
    }
    let wait = wait_of(session);
    let server = session.server.clone();
    if !server.tables.lock(session.connection_id(), &wanted, wait).await {
        return Err(timeout());
    }
    // What writes already, ends first: whoever comes after this turn on the lanes sees the locks.
    let turn = server.engine.begin(&dbs, session.settings().lock_wait_ms).await;
    match turn {
        Ok(lanes) => lanes.rollback().await,
        Err(error) => {
            server.tables.release(session.connection_id());
            return Err(from_write(retype(error)));
        }
    }
    Ok(Done::default())
}

pub async fn unlock(session: &mut Session) -> Result<Done> {
    session.server.tables.release(session.connection_id());
    Ok(Done::default())
}

/// Inside a writing job: `Ok(false)` when another session's lock is in the way.
pub fn may_write(locks: &TableLocks, session: u32, table: u64, name: &str) -> Result<bool> {
    match locks.for_write(session, table) {
        Access::Free => Ok(true),
        Access::Held => Ok(false),
        Access::NotLocked => Err(SqlError::new(1100, format!("Table '{name}' was not locked with LOCK TABLES"))),
        Access::ReadOnly => Err(SqlError::new(
            1099,
            format!("Table '{name}' was locked with a READ lock and can't be updated"),
        )),
    }
}

/// Before a read: waits for other sessions' write locks in these databases.
pub async fn before_read(session: &mut Session, dbs: &[&str]) -> Result<()> {
    let locks = session.server.tables.clone();
    if locks.is_idle() {
        return Ok(());
    }
    let (id, wait) = (session.connection_id(), wait_of(session));
    let ready = locks.until(wait, || locks.may_read(id, dbs)).await;
    if ready { Ok(()) } else { Err(timeout()) }
}

/// Before a schema change: waits for other sessions' locks in the database.
pub async fn before_alter(session: &mut Session, db: &str) -> Result<()> {
    let locks = session.server.tables.clone();
    if locks.is_idle() {
        return Ok(());
    }
    let (id, wait) = (session.connection_id(), wait_of(session));
    let ready = locks.until(wait, || locks.may_alter(id, db)).await;
    if ready { Ok(()) } else { Err(timeout()) }
}
