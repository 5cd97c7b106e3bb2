//! LOCK TABLES and UNLOCK TABLES, and the definitions that schema changes take for themselves.

use std::time::Duration;

use starling_apply::{Catalog, Database, Table};

use crate::sql::ast::{Name, Statement, TableName};
use crate::sql::error::{Result, SqlError};
use crate::sql::meta;
use crate::sql::result::Done;
use crate::sql::session::errors::from_failed_empty;
use crate::sql::session::{Plan, Session};
use crate::txn::locks::{LockKey, Party};
use crate::txn::tables::{Access, Table as Wanted};

use super::ddl::Piece;
use super::{freeze, transaction};

pub fn wait_of(session: &Session) -> Duration {
    Duration::from_millis(session.settings().definition_wait_ms)
}

pub async fn lock(session: &mut Session, list: &[(TableName, Option<Name>, bool)]) -> Result<Done> {
    transaction::end(session).await?;
    session.transaction.unlock_tables();
    if session.frozen.is_some() && list.iter().any(|(_, _, write)| *write) {
        return Err(freeze::conflicting());
    }
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
            let database = meta::user_database(&catalog, db).ok_or_else(|| SqlError::unknown_database(db))?;
            let table = database
                .table(&name.name)
                .ok_or_else(|| SqlError::unknown_table(&database.name, &name.name))?;
            wanted.push(Wanted {
                table: table.id,
                db: database.id,
                write: *write,
                named: true,
            });
            parents(database, table, &mut wanted);
            dbs.push(database.name.to_lowercase());
        }
    }
    let wait = wait_of(session);
    session
        .transaction
        .lock_tables(&wanted, &dbs, wait)
        .await
        .map_err(from_failed_empty)?;
    Ok(Done::default())
}

/// Writing to a table looks at the parents of its foreign keys.
fn parents(database: &Database, table: &Table, wanted: &mut Vec<Wanted>) {
    for key in &table.foreign_keys {
        if let Some(parent) = database.table(&key.parent) {
            wanted.push(Wanted {
                table: parent.id,
                db: database.id,
                write: false,
                named: false,
            });
        }
    }
}

pub fn unlock(session: &mut Session) -> Done {
    session.frozen = None;
    session.transaction.unlock_tables();
    Done::default()
}

/// Under LOCK TABLES a session uses only what it locked: 1100, 1099.
pub fn check(session: &Session, plan: &Plan) -> Result<()> {
    if !session.transaction.has_locked_tables() {
        return Ok(());
    }
    let changed: Vec<u64> = match plan {
        Plan::Write(write) => write.tables().iter().map(|t| t.id).collect(),
        Plan::Select(_) => Vec::new(),
    };
    for table in plan.tables() {
        let name = &table.name;
        match session.transaction.access(table.id, changed.contains(&table.id)) {
            Access::Free => {}
            Access::NotLocked => return Err(SqlError::new(1100, format!("Table '{name}' was not locked with LOCK TABLES"))),
            Access::ReadOnly => {
                return Err(SqlError::new(
                    1099,
                    format!("Table '{name}' was locked with a READ lock and can't be updated"),
                ));
            }
        }
    }
    Ok(())
}

/// Before a schema change: the definitions it changes, for itself alone. Waits for open transactions that use them.
pub async fn before_alter(session: &mut Session, piece: &Piece) -> Result<Option<Party>> {
    let keys = definitions(&session.server.engine.catalog(), piece);
    if keys.is_empty() {
        return Ok(None);
    }
    let wait = wait_of(session);
    let party = session.transaction.alter(&keys, wait).await.map_err(from_failed_empty)?;
    Ok(Some(party))
}

/// What a schema statement changes of what is there; new objects are in nobody's way.
fn definitions(catalog: &Catalog, piece: &Piece) -> Vec<LockKey> {
    use Statement::*;
    let Some(database) = piece.db.as_deref().and_then(|db| catalog.database(db)) else {
        return Vec::new();
    };
    let names: Vec<&TableName> = match &piece.statement {
        AlterTable { name, .. } => vec![name],
        CreateIndex { table, .. } | DropIndex { table, .. } => vec![table],
        TruncateTable(name) => vec![name],
        DropTables { names, .. } => names.iter().collect(),
        RenameTables(list) => list.iter().map(|(from, _)| from).collect(),
        DropDatabase { .. } => return vec![LockKey::database(database.id)],
        _ => Vec::new(),
    };
    let found = names.into_iter().filter_map(|n| database.table(&n.name));
    found.map(|t| LockKey::definition(t.id)).collect()
}
