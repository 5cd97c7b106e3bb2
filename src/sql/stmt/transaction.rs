//! BEGIN, COMMIT, ROLLBACK, savepoints; what opens a transaction by itself, and what ends it.

use crate::sql::ast;
use crate::sql::error::{Result, SqlError};
use crate::sql::result::Done;
use crate::sql::session::errors::{from_apply, from_failed_empty};
use crate::sql::session::{Counters, Session};
use crate::sql::vars::Isolation;
use crate::txn::Options;
use crate::txn::freeze::Pass;

use super::{freeze, xa};

/// What SET TRANSACTION (without a scope) asked for the next transaction only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Next {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
}

fn options(session: &mut Session, read_only: Option<bool>) -> Options {
    let next = std::mem::take(&mut session.next_transaction);
    let settings = session.settings();
    let isolation = next.isolation.unwrap_or(settings.isolation);
    Options {
        read_only: read_only.or(next.read_only).unwrap_or(settings.read_only),
        newest: isolation == Isolation::ReadCommitted,
        serializable: isolation == Isolation::Serializable,
        strict: settings.snapshot_isolation,
    }
}

/// With autocommit off every statement on tables opens a transaction, if none is open.
pub fn open_implicitly(session: &mut Session) -> Result<()> {
    if !session.settings().autocommit && !session.transaction.is_open() {
        let opening = session.opening(None, false);
        let options = options(session, None);
        session.transaction.begin(options);
        session.track.opened(false, opening);
    }
    Ok(())
}

pub async fn begin(session: &mut Session, read_only: Option<bool>, snapshot: bool) -> Result<Done> {
    Counters::add(&session.server.counters.begins);
    end(session).await?;
    session.transaction.unlock_tables();
    let options = open_as(session, read_only, snapshot);
    // Only a snapshot that reads go by is worth pinning.
    if snapshot && !options.newest && !options.serializable {
        session.before_read().await?;
        session.transaction.pin().map_err(|e| from_apply(&e))?;
    }
    Ok(Done::default())
}

fn open_as(session: &mut Session, read_only: Option<bool>, snapshot: bool) -> Options {
    let opening = session.opening(read_only, snapshot);
    let options = options(session, read_only);
    session.transaction.begin(options);
    session.track.opened(true, opening);
    options
}

/// Opens one where none is.
pub fn open(session: &mut Session, read_only: Option<bool>) {
    open_as(session, read_only, false);
}

/// Commits what is open (COMMIT, BEGIN, schema changes …).
pub async fn end(session: &mut Session) -> Result<()> {
    xa::check_none(session)?;
    let level = session.level();
    let _passing = match session.transaction.has_written() {
        true => Some(freeze::pass(session, Pass::Commit).await?),
        false => None,
    };
    session.transaction.commit(level).await.map(|_| ()).map_err(from_failed_empty)
}

pub async fn commit(session: &mut Session, chain: bool, release: bool) -> Result<Done> {
    Counters::add(&session.server.counters.commits);
    let ended = session.transaction.options();
    end(session).await?;
    after(session, ended, chain, release)
}

pub async fn rollback(session: &mut Session, chain: bool, release: bool) -> Result<Done> {
    xa::check_none(session)?;
    Counters::add(&session.server.counters.rollbacks);
    let ended = session.transaction.options();
    session.transaction.rollback();
    after(session, ended, chain, release)
}

/// CHAIN opens the next one as the last was opened.
fn after(session: &mut Session, ended: Option<Options>, chain: bool, release: bool) -> Result<Done> {
    if chain {
        let opening = session.opening(ended.map(|o| o.read_only).filter(|only| *only), false);
        let options = ended.unwrap_or_else(|| options(session, None));
        session.transaction.begin(options);
        session.track.opened(true, opening);
    }
    if release {
        session.entry.killed.cancel();
    }
    Ok(Done::default())
}

fn no_savepoint(name: &str) -> SqlError {
    SqlError::new(1305, format!("SAVEPOINT {name} does not exist"))
}

pub async fn savepoint(session: &mut Session, name: &str) -> Result<Done> {
    xa::check_work(session)?;
    open_implicitly(session)?;
    session.transaction.savepoint(name).map_err(from_failed_empty)?;
    Ok(Done::default())
}

pub async fn rollback_to(session: &mut Session, name: &str) -> Result<Done> {
    xa::check_work(session)?;
    match session.transaction.rollback_to(name) {
        Ok(true) => Ok(Done::default()),
        Ok(false) => Err(no_savepoint(name)),
        Err(e) => Err(from_failed_empty(e)),
    }
}

pub async fn release(session: &mut Session, name: &str) -> Result<Done> {
    xa::check_work(session)?;
    match session.transaction.release(name) {
        Ok(true) => Ok(Done::default()),
        Ok(false) => Err(no_savepoint(name)),
        Err(e) => Err(from_failed_empty(e)),
    }
}

/// SET TRANSACTION: for the next one (`scope` None), or as variables.
pub fn set(session: &mut Session, isolation: Option<ast::Isolation>, read_only: Option<bool>) -> Result<()> {
    if session.transaction.is_open() {
        return Err(SqlError::new(
            1568,
            "Transaction characteristics can't be changed while a transaction is in progress",
        ));
    }
    let isolation = isolation.map(|i| match i {
        ast::Isolation::ReadUncommitted | ast::Isolation::ReadCommitted => Isolation::ReadCommitted,
        ast::Isolation::RepeatableRead => Isolation::RepeatableRead,
        ast::Isolation::Serializable => Isolation::Serializable,
    });
    session.next_transaction = Next {
        isolation: isolation.or(session.next_transaction.isolation),
        read_only: read_only.or(session.next_transaction.read_only),
    };
    Ok(())
}
