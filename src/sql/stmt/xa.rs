//! XA: the states of a session's branch, and what each statement may do in them.
//!
//! ```text
//!            XA START            XA END            XA PREPARE
//! (none) ──────────────▶ ACTIVE ────────▶ IDLE ──────────────▶ (none; prepared, anybody's)
//!    ▲      lost its locks │    XA START RESUME │ XA COMMIT … ONE PHASE, XA ROLLBACK
//!    └──── XA ROLLBACK ── ROLLBACK ONLY         └──▶ (none)
//! ```
//!
//! As in MySQL 8 a prepared branch leaves its session (`xa_detach_on_prepare`): the session is free, and whoever connects to any node may
//! end it. Promises: MySQL's codes and texts; what is refused changes nothing. Must not know: how branches are kept.

use starling_log::{Value, ValueRef};

use crate::sql::ast::{Xa, Xid};
use crate::sql::error::{Result, SqlError};
use crate::sql::result::{Done, ResultColumn, Sink};
use crate::sql::session::errors::{from_apply, from_failed_empty, from_sqlite, lock_timeout, read_only};
use crate::sql::session::{Counters, Session};
use crate::txn::Failed;
use crate::txn::decide::Refused;
use crate::txn::freeze::Pass;
use crate::txn::xa::record::{RecordError, missing};
use crate::txn::xa::{Taken, XaError};

use super::{freeze, transaction};

/// The branch that a session works on.
pub struct Branch {
    xid: Xid,
    phase: Phase,
    /// Its name is taken on this node.
    _taken: Taken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Active,
    Idle,
    /// Its work is undone, for the reason that this error says.
    RollbackOnly(u16),
}

impl Branch {
    fn state(&self) -> &'static str {
        match self.phase {
            Phase::Active => "ACTIVE",
            Phase::Idle => "IDLE",
            Phase::RollbackOnly(_) => "ROLLBACK ONLY",
        }
    }
    fn wrong_state(&self) -> SqlError {
        rm_fail(self.state())
    }
}

fn rm_fail(state: &str) -> SqlError {
    let text = format!("XAER_RMFAIL: The command cannot be executed when global transaction is in the  {state} state");
    SqlError::new(1399, text)
}
fn unknown() -> SqlError {
    SqlError::new(1397, "XAER_NOTA: Unknown XID")
}
fn invalid() -> SqlError {
    SqlError::new(1398, "XAER_INVAL: Invalid arguments (or unsupported command)")
}
fn exists() -> SqlError {
    SqlError::new(1440, "XAER_DUPID: The XID already exists")
}
/// Why the work of a branch is gone.
fn rolled_back(code: u16) -> SqlError {
    match code {
        1613 => SqlError::new(1613, "XA_RBTIMEOUT: Transaction branch was rolled back: took too long"),
        1614 => SqlError::new(1614, "XA_RBDEADLOCK: Transaction branch was rolled back: deadlock was detected"),
        _ => SqlError::new(1402, "XA_RBROLLBACK: Transaction branch was rolled back"),
    }
}

/// Before a statement that uses tables, or a savepoint.
pub fn check_work(session: &Session) -> Result<()> {
    match session.xa.as_ref().map(|b| (b.phase, b)) {
        None | Some((Phase::Active, _)) => Ok(()),
        Some((Phase::Idle, branch)) => Err(branch.wrong_state()),
        Some((Phase::RollbackOnly(code), _)) => Err(rolled_back(code)),
    }
}

/// Before whatever ends a transaction by other means.
pub fn check_none(session: &Session) -> Result<()> {
    session.xa.as_ref().map_or(Ok(()), |branch| Err(branch.wrong_state()))
}

/// A statement failed: did the branch lose its work with it?
pub fn after_error(session: &mut Session, error: &SqlError) {
    let lost = !session.transaction.is_open();
    if let Some(branch) = session.xa.as_mut().filter(|b| lost && b.phase == Phase::Active) {
        branch.phase = Phase::RollbackOnly(match error.code {
            1205 => 1613,
            1213 => 1614,
            _ => 1402,
        });
    }
}

pub async fn run(session: &mut Session, xa: &Xa, sink: &mut dyn Sink) -> Result<Done> {
    match xa {
        Xa::Start { xid, join, resume } => start(session, xid, *join, *resume),
        Xa::End { xid, suspend } => end(session, xid, *suspend),
        Xa::Prepare(xid) => prepare(session, xid).await,
        Xa::Commit { xid, one_phase } => commit(session, xid, *one_phase).await,
        Xa::Rollback(xid) => rollback(session, xid).await,
        Xa::Recover { convert } => recover(session, *convert, sink).await,
    }
}

fn start(session: &mut Session, xid: &Xid, join: bool, resume: bool) -> Result<Done> {
    if let Some(branch) = &mut session.xa {
        if !resume || branch.phase != Phase::Idle {
            return Err(branch.wrong_state());
        }
        if branch.xid != *xid {
            return Err(unknown());
        }
        branch.phase = Phase::Active;
        return Ok(Done::default());
    }
    if join || resume {
        return Err(invalid());
    }
    if session.transaction.is_open() || session.transaction.has_locked_tables() {
        return Err(SqlError::new(1400, "XAER_OUTSIDE: Some work is done outside global transaction"));
    }
    let taken = session.server.transactions.xa.start(xid).ok_or_else(exists)?;
    Counters::add(&session.server.counters.begins);
    transaction::open(session, None);
    session.xa = Some(Branch {
        xid: xid.clone(),
        phase: Phase::Active,
        _taken: taken,
    });
    Ok(Done::default())
}

fn end(session: &mut Session, xid: &Xid, suspend: bool) -> Result<Done> {
    if suspend {
        return Err(invalid());
    }
    let Some(branch) = &mut session.xa else {
        return Err(rm_fail("NON-EXISTING"));
    };
    if let Phase::RollbackOnly(code) = branch.phase
        && branch.xid == *xid
    {
        return Err(rolled_back(code));
    }
    if branch.phase != Phase::Active {
        return Err(branch.wrong_state());
    }
    if branch.xid != *xid {
        return Err(unknown());
    }
    branch.phase = Phase::Idle;
    Ok(Done::default())
}

async fn prepare(session: &mut Session, xid: &Xid) -> Result<Done> {
    let Some(branch) = &session.xa else {
        return Err(rm_fail("NON-EXISTING"));
    };
    if branch.phase != Phase::Idle {
        return Err(branch.wrong_state());
    }
    if branch.xid != *xid {
        return Err(unknown());
    }
    session.server.cluster.may_write().map_err(|why| read_only(&why))?;
    make_table(session).await?;
    let _passing = freeze::pass(session, Pass::Commit).await?;
    let level = session.level();
    let member = session.server.cluster.identity().member.unwrap_or(0);
    let prepared = session.transaction.prepare(xid, member, level).await;
    // From here on the branch is either prepared, and anybody's, or rolled back.
    session.transaction.rollback();
    session.xa = None;
    prepared.map_err(|e| refused(e, "XA PREPARE")).map(|()| Done::default())
}

async fn commit(session: &mut Session, xid: &Xid, one_phase: bool) -> Result<Done> {
    let Some(branch) = session.xa.as_ref().filter(|b| b.xid == *xid) else {
        return end_prepared(session, xid, true, one_phase).await;
    };
    if let Phase::RollbackOnly(code) = branch.phase {
        session.transaction.rollback();
        session.xa = None;
        return Err(rolled_back(code));
    }
    if branch.phase != Phase::Idle || !one_phase {
        return Err(branch.wrong_state());
    }
    Counters::add(&session.server.counters.commits);
    let _passing = freeze::pass(session, Pass::Commit).await?;
    let level = session.level();
    let committed = session.transaction.commit(level).await;
    session.xa = None;
    match committed {
        Ok(_) => Ok(Done::default()),
        Err(failed) if failed.lost() => Err(rolled_back(1614)),
        Err(failed) => Err(from_failed_empty(failed)),
    }
}

async fn rollback(session: &mut Session, xid: &Xid) -> Result<Done> {
    let Some(branch) = session.xa.as_ref().filter(|b| b.xid == *xid) else {
        return end_prepared(session, xid, false, false).await;
    };
    if branch.phase == Phase::Active {
        return Err(branch.wrong_state());
    }
    Counters::add(&session.server.counters.rollbacks);
    session.transaction.rollback();
    session.xa = None;
    Ok(Done::default())
}

/// What was prepared or ended on any member before now is known here from then on.
async fn learn(session: &mut Session) -> Result<()> {
    if !session.server.cluster.has_others() {
        return Ok(());
    }
    session.catch_up().await?;
    let transactions = session.server.transactions.clone();
    tokio::task::block_in_place(|| transactions.recall()).map_err(|e| from_apply(&e))
}

/// A branch that is no session's any more.
async fn end_prepared(session: &mut Session, xid: &Xid, commit: bool, one_phase: bool) -> Result<Done> {
    let held = session.server.transactions.xa.clone();
    if !held.knows(xid) {
        // It may have been prepared elsewhere just now: a coordinator would take "unknown" for "ended".
        learn(session).await?;
        if !held.knows(xid) {
            return Err(unknown());
        }
    }
    check_none(session)?;
    if session.transaction.is_open() {
        return Err(rm_fail("NON-EXISTING"));
    }
    if one_phase {
        return Err(invalid());
    }
    let counters = &session.server.counters;
    Counters::add(if commit { &counters.commits } else { &counters.rollbacks });
    session.server.cluster.may_write().map_err(|why| read_only(&why))?;
    let _passing = freeze::pass(session, Pass::Commit).await?;
    let level = session.level();
    let ended = session.transaction.end_prepared(xid, commit, level).await;
    ended
        .map_err(|e| not_ended(e, if commit { "XA COMMIT" } else { "XA ROLLBACK" }))
        .map(|()| Done::default())
}

/// A prepared branch stays prepared: no code may say that it is rolled back, or broken. A coordinator is to ask again.
fn not_ended(error: Failed<XaError>, what: &str) -> SqlError {
    use starling_apply::engine::WriteError;
    match error {
        Failed::Write(WriteError::Job(XaError::Unknown)) => unknown(),
        Failed::Write(WriteError::Job(XaError::Busy)) => rm_fail("PREPARED"),
        failed if failed.lost() => lock_timeout(),
        why @ (Failed::Write(WriteError::Job(_)) | Failed::Read(_) | Failed::Changed | Failed::Refused(Refused::Other(_))) => {
            tracing::warn!(?why, "{what} failed, the branch stays prepared");
            rm_fail("PREPARED")
        }
        failed => from_failed_empty(failed.map(|_| ())),
    }
}

/// The branch was not prepared, and is rolled back.
fn refused(error: Failed<XaError>, what: &str) -> SqlError {
    use starling_apply::engine::WriteError;
    let fatal = |why: String| {
        tracing::error!("{what} failed: {why}");
        SqlError::new(
            1401,
            "XAER_RMERR: Fatal error occurred in the transaction branch - check your data for consistency",
        )
    };
    match error {
        Failed::Write(WriteError::Job(error)) => match error {
            XaError::Exists => exists(),
            XaError::Unknown => unknown(),
            XaError::Busy => rm_fail("PREPARED"),
            XaError::TooLarge(size) => SqlError::new(
                1197,
                format!(
                    "The branch's changes take {size} bytes, more than the {} that its record may take; it is rolled back, split it",
                    crate::txn::xa::record::BODY_MAX
                ),
            ),
            XaError::Record(RecordError::Sqlite(error)) => from_sqlite(&error),
            XaError::Record(why) => fatal(format!("{why:?}")),
        },
        // It lost against others, and is undone.
        failed if failed.lost() => rolled_back(1614),
        Failed::Refused(Refused::Other(why)) => fatal(why),
        Failed::Read(error) => from_apply(&error),
        failed => from_failed_empty(failed.map(|_| ())),
    }
}

/// Where branches are kept, made when the first one is prepared.
async fn make_table(session: &mut Session) -> Result<()> {
    super::schema::make(session, missing).await
}

fn columns(convert: bool) -> Vec<ResultColumn> {
    use starling_apply::{BaseType, ColumnType};
    let number = |name: &str| ResultColumn::named(name, ColumnType::new(BaseType::BigInt));
    let mut data = ColumnType::new(BaseType::VarChar);
    data.length = Some(if convert { 258 } else { 128 });
    data.collation = Some("utf8mb3_general_ci".to_owned());
    vec![
        number("formatID"),
        number("gtrid_length"),
        number("bqual_length"),
        ResultColumn::named("data", data),
    ]
}

async fn recover(session: &mut Session, convert: bool, sink: &mut dyn Sink) -> Result<Done> {
    learn(session).await?;
    sink.columns(&columns(convert))?;
    for record in session.server.transactions.xa.list() {
        let xid = &record.xid;
        let data = if convert {
            format!("0x{}", hex::encode_upper(xid.data())).into_bytes()
        } else {
            xid.data()
        };
        let length = |part: &[u8]| Value::Int(part.len() as i64);
        let row = [Value::Int(xid.format), length(&xid.gtrid), length(&xid.bqual), Value::Text(data)];
        let cells: Vec<ValueRef<'_>> = row.iter().map(Value::as_ref).collect();
        sink.row(&cells)?;
    }
    Ok(Done::default())
}

/// For COM_STMT_PREPARE.
pub fn describe(xa: &Xa) -> Vec<ResultColumn> {
    match xa {
        Xa::Recover { convert } => columns(*convert),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use starling_apply::engine::{ApplyError, WriteError};

    use super::*;

    #[test]
    fn what_stays_prepared_is_never_called_rolled_back() {
        let job = |why| Failed::Write(WriteError::Job(why));
        for (why, code) in [
            (Failed::Refused(Refused::Conflict), 1205),
            (Failed::Refused(Refused::Schema), 1205),
            (Failed::Stale, 1205),
            (Failed::Write(WriteError::Timeout), 1205),
            (Failed::Refused(Refused::NoQuorum(String::new())), 1047),
            (Failed::Refused(Refused::Other("too many transactions wait".into())), 1399),
            (Failed::Read(ApplyError::SnapshotEnded), 1399),
            (job(XaError::Record(RecordError::Exists)), 1399),
            (job(XaError::Busy), 1399),
            (job(XaError::Unknown), 1397),
        ] {
            let text = format!("{why:?}");
            assert_eq!(not_ended(why, "XA COMMIT").code, code, "{text}");
        }
        assert_eq!(
            refused(Failed::Refused(Refused::Conflict), "XA PREPARE").code,
            1614,
            "that one is rolled back"
        );
    }
}
