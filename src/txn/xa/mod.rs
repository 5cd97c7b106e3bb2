//! XA: branches of distributed transactions, prepared for whatever their coordinator decides.
//!
//! ```text
//! session ─ XA PREPARE ─▶ record (locks, changes) as a row that all members have ─▶ locks and bars on every node
//! anybody ─ XA COMMIT ──▶ the changes, and the row deleted, in one entry ─▶ locks and bars are gone
//! ```
//!
//! Promises: what XA PREPARE said yes to commits whenever XA COMMIT says so, from any node, after any crash that leaves a quorum its
//! logs. At QUORUM the preparation is itself a transaction decided by quorum: it holds the claims of the branch, so that nobody is in
//! between, and from its decision on every member that has it votes no to whoever else wants these keys ([`held`]); any two quorums share
//! a member, so none can overtake it. Only writes at ONE go by no vote: one that was on its way from another node may change a row of
//! a prepared branch, and then loses to the branch, whose commit is the later one. Branches are decided by quorum wherever there is
//! one, whatever the session's consistency. Must not know: SQL, sessions' states ([`crate::sql::stmt::xa`]).
//!
//! Reading order: [`xid`] → [`record`] (what is kept) → [`held`] (what is locked) → this page (prepare, end).

pub mod held;
pub mod record;
pub mod xid;

use std::sync::Arc;
use std::time::{Duration, Instant};

use starling_apply::claim::{Claim, ClaimKey, Mode};
use starling_apply::engine::{Committed, WriteError};
use starling_apply::overlay::Overlay;
use starling_log::{Body, Changes, segment};

use super::commit::Finished;
use super::decide::{Decider, Level, Proposal, Refused};
use super::locks::{Denied, Interrupt, Isolation, Kind, Seat};
use super::schema;
use super::{Failed, Shared, Transaction};

pub use held::{Held, Taken};
pub use record::{Record, read as changes};
pub use xid::Xid;

use record::RecordError;

/// How long jobs on the records wait for their lane.
const LANE_WAIT_MS: u64 = 60_000;
/// So long a branch's end is tried again when it meets others on its own record, or a member that is behind.
const END_WITHIN: Duration = Duration::from_secs(20);
const END_AGAIN: Duration = Duration::from_millis(20);

/// Why a branch was not prepared or ended, beside what stops any transaction.
#[derive(Debug)]
pub enum XaError {
    /// There is one of that name already.
    Exists,
    /// There is none.
    Unknown,
    /// Another session is at it.
    Busy,
    /// Its record would be larger than an entry may be.
    TooLarge(usize),
    Record(RecordError),
}

type Result<T> = std::result::Result<T, Failed<XaError>>;

fn failed(error: XaError) -> Failed<XaError> {
    Failed::Write(WriteError::Job(error))
}

fn job(error: WriteError<RecordError>) -> Failed<XaError> {
    Failed::Write(error).map(|error| match error {
        RecordError::Exists => XaError::Exists,
        RecordError::Gone => XaError::Unknown,
        other => XaError::Record(other),
    })
}

fn unreadable(error: std::io::Error) -> Failed<XaError> {
    Failed::Refused(Refused::Other(error.to_string()))
}

impl Transaction {
    /// XA PREPARE of what is open: afterwards this session has nothing to do with it. An error means that it is rolled back.
    pub async fn prepare(&mut self, xid: &Xid, member: u32, level: Level) -> Result<()> {
        let Some(finished) = self.finished(level) else { return Ok(()) };
        let party = match finished.party {
            Some(party) => party,
            None => Seat::new(self.home.join(finished.age, Kind::Transaction(Isolation::RepeatableRead))),
        };
        let shared = Arc::clone(&self.home.shared);
        let finished = Finished { party: None, ..finished };
        let committed = prepare(&shared, xid, member, finished, party).await?;
        self.places.extend(committed.placed.map(|p| p.place));
        Ok(())
    }
    /// XA COMMIT or XA ROLLBACK of a branch that is prepared, whoever did it.
    pub async fn end_prepared(&mut self, xid: &Xid, commit: bool, level: Level) -> Result<()> {
        let shared = Arc::clone(&self.home.shared);
        let committed = end(&shared, xid, commit, level).await?;
        self.places.extend(committed.placed.map(|p| p.place));
        Ok(())
    }
}

async fn prepare(shared: &Shared, xid: &Xid, member: u32, finished: Finished, party: Seat) -> Result<Committed> {
    if !party.make_firm() {
        return Err(Failed::Denied(Denied::Wounded));
    }
    drop(finished.snapshot);
    let engine = &shared.engine;
    let changes = finished.overlay.changes().map_err(unreadable)?;
    if decider(shared).is_some() && !finished.claims.are_versioned() {
        // Begun when nothing was decided between nodes here.
        return Err(Failed::Refused(Refused::Conflict));
    }
    let own = finished.claims.into_vec();
    let record = Record {
        xid: xid.clone(),
        member,
        at_ms: engine.log().clock().now_ms(),
        locks: own.iter().map(|c| (c.key.clone(), c.mode)).collect(),
    };
    let body = segment::pack_body(engine.catalog().version, &Body::Rows(changes))
        .map_err(|_| Failed::Refused(Refused::Other("the transaction is malformed".to_owned())))?;
    if body.len() > record::BODY_MAX {
        return Err(failed(XaError::TooLarge(body.len())));
    }
    drop(finished.overlay);
    let mut overlay = Overlay::new();
    let insert = record::insert(record.clone(), body);
    let claims = engine
        .trial(record::DATABASE, LANE_WAIT_MS, &mut overlay, insert)
        .await
        .map_err(job)?;
    let committed = match decider(shared) {
        Some(decider) => {
            let (age, level) = (finished.age, finished.level.max(Level::Quorum));
            let proposal = |claims| {
                let body = overlay.changes().map_err(unreadable)?;
                Ok(Proposal { body, claims, age, level })
            };
            let claims = [own, claims].concat();
            let decided = schema::decide(shared, &**decider, &Interrupt::default(), claims, proposal).await?;
            Committed {
                placed: Some(decided.placed),
            }
        }
        None => engine
            .commit(overlay)
            .await
            .map_err(|e| Failed::Write(e).map(|()| XaError::Unknown))?,
    };
    tokio::task::block_in_place(|| {
        shared.xa.put(engine, record, party);
        // Another member may have ended it meanwhile. Where this fails every vote is no, and it is tried again.
        if decider(shared).is_some()
            && let Err(error) = shared.xa.refresh(engine)
        {
            tracing::error!(%error, "the records of prepared XA transactions cannot be read");
        }
    });
    Ok(committed)
}

async fn end(shared: &Shared, xid: &Xid, commit: bool, level: Level) -> Result<Committed> {
    let Some(_ending) = shared.xa.end(xid) else {
        return Err(failed(XaError::Busy));
    };
    let until = Instant::now() + END_WITHIN;
    loop {
        match attempt(shared, xid, commit, level).await {
            // Nobody else can have its keys: a member was behind, or somebody else ended it.
            Err(Failed::Refused(Refused::Conflict | Refused::Schema)) if Instant::now() < until => tokio::time::sleep(END_AGAIN).await,
            other => {
                if other.is_ok() {
                    shared.xa.remove(xid);
                }
                return other;
            }
        }
    }
}

async fn attempt(shared: &Shared, xid: &Xid, commit: bool, level: Level) -> Result<Committed> {
    let engine = &shared.engine;
    let found = tokio::task::block_in_place(|| record::read(engine, xid)).map_err(Failed::Read)?;
    let Some((record, changes)) = found else {
        return Err(failed(XaError::Unknown));
    };
    let mut gone = Overlay::new();
    let delete = record::delete(xid);
    let mut claims = engine.trial(record::DATABASE, LANE_WAIT_MS, &mut gone, delete).await.map_err(job)?;
    let mut parts = vec![gone.changes().map_err(unreadable)?];
    drop(gone);
    if commit {
        parts.insert(0, changes);
    }
    let body = joined(parts);
    match decider(shared) {
        Some(decider) => {
            if commit {
                // What a write at ONE changed meanwhile is overwritten; nobody else can have changed anything.
                let newest = tokio::task::block_in_place(|| engine.versions(&record.locks)).map_err(Failed::Read)?;
                let own = record.locks.into_iter().zip(newest);
                claims.extend(own.map(|((key, mode), newest)| based(key, mode, newest)));
            }
            let proposal = Proposal {
                body,
                claims: claims.into(),
                age: shared.age(),
                level: level.max(Level::Quorum),
            };
            let decided = decider.decide(proposal).await.map_err(Failed::Refused)?;
            Ok(Committed {
                placed: Some(decided.placed),
            })
        }
        None => {
            let overlay = engine.overlay(&body).map_err(unreadable)?;
            engine
                .commit(overlay)
                .await
                .map_err(|e| Failed::Write(e).map(|()| XaError::Unknown))
        }
    }
}

fn based(key: ClaimKey, mode: Mode, newest: starling_apply::claim::Version) -> Claim {
    let base = if mode.is_intent() { Default::default() } else { newest };
    Claim { key, mode, base }
}

/// Whoever decides, if there is more than one member.
fn decider(shared: &Shared) -> Option<&Arc<dyn Decider>> {
    shared.decider.get().filter(|d| d.is_needed(Level::Quorum))
}

/// One body of several, in their order.
fn joined(parts: Vec<Changes>) -> Changes {
    let mut parts = parts.into_iter();
    let Some(mut out) = parts.next() else { return Changes::default() };
    for part in parts {
        let slots: Vec<usize> = part
            .tables
            .iter()
            .map(|table| match out.tables.iter().position(|t| t == table) {
                Some(at) => at,
                None => {
                    out.tables.push(table.clone());
                    out.tables.len() - 1
                }
            })
            .collect();
        for change in part.iter() {
            let table = slots[change.table];
            out.push(starling_log::ChangeRef { table, ..change });
        }
    }
    out
}
