//! One statement that locks what it touches: run on the lane, asked for its locks there, and if they are taken, undone, waited
//! for off the lane, and run again.
//!
//! Promises: nothing waits on a lane; whoever waits stands in the queues from the moment it was refused. Must not know: overlays.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use starling_apply::Table;
use starling_apply::claim::{Claim, ClaimKey, Mode};
use starling_apply::engine::{Size, WriteError};
use starling_apply::lane::{Job, Short, Try};
use starling_apply::materialize::FoldError;

use super::decide::Level;
use super::failed::Failed;
use super::locks::core::Answer;
use super::locks::mode::Modes;
use super::locks::{Denied, LockKey, Locks, Party, Wanted, wanted};

/// What a statement does on the lane. It may be run several times; what it reads to lock, it adds to `asked`.
pub type Work<T, E> = Box<dyn FnMut(&mut Try<'_>, &mut Asked<'_>) -> Result<T, E> + Send>;

/// How a statement runs.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Lower-case name of the database whose lane it takes.
    pub db: &'a str,
    /// All tables it uses.
    pub tables: &'a [Arc<Table>],
    /// How long it waits for the lane, and for each lock.
    pub wait: Duration,
    /// Refused instead of waiting (NOWAIT).
    pub at_once: bool,
    pub level: Level,
    pub size: Size,
}

impl Call<'_> {
    pub fn wait_ms(&self) -> u64 {
        u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What a statement wants to lock beside what it changes.
pub struct Asked<'a> {
    pub claims: Vec<Claim>,
    party: Option<&'a Party>,
    locks: &'a Locks,
}

impl<'a> Asked<'a> {
    /// Nothing asked yet, by whoever has this party.
    pub(super) fn by(party: &'a Party, locks: &'a Locks) -> Asked<'a> {
        Asked {
            claims: Vec::new(),
            party: Some(party),
            locks,
        }
    }
    /// Nothing asked yet, by the same one.
    pub fn none(other: &Asked<'a>) -> Asked<'a> {
        Asked {
            claims: Vec::new(),
            party: other.party,
            locks: other.locks,
        }
    }
    /// Can it be locked at once? (SKIP LOCKED)
    pub fn is_free(&self, claims: &[Claim]) -> bool {
        let wanted: Vec<Wanted> = claims.iter().map(wanted).collect();
        match self.party {
            Some(party) => party.free(&wanted).iter().all(|f| *f),
            None => self.locks.are_free(&wanted),
        }
    }
}

/// What a job on the lane answers besides its own error.
pub(super) enum Inner<E> {
    Job(E),
    /// Somebody holds some of it. With a party: it stands in the queues already.
    Blocked(Vec<Wanted>),
    Busy,
    Wounded,
    Claims(FoldError),
    /// It needs more AUTO_INCREMENT numbers than there are.
    Short(Short),
}

/// Why a job is to run again, once that is over.
pub(super) enum Again {
    /// Somebody holds some of these.
    Locks(Vec<Wanted>),
    Numbers(Short),
}

impl<E> Inner<E> {
    /// What a job's own error means.
    fn of(lane: &Try<'_>, error: E) -> Inner<E> {
        lane.short().map_or(Inner::Job(error), Inner::Short)
    }
    /// As the failure of the statement; `Err`: it is to wait for these, and to run again.
    pub fn into_failed(error: WriteError<Inner<E>>) -> Result<Failed<E>, Again> {
        Ok(match error {
            WriteError::Job(Inner::Blocked(wanted)) => return Err(Again::Locks(wanted)),
            WriteError::Job(Inner::Short(short)) => return Err(Again::Numbers(short)),
            WriteError::Job(Inner::Job(e)) => Failed::Write(WriteError::Job(e)),
            WriteError::Job(Inner::Busy) => Failed::Denied(Denied::Busy),
            WriteError::Job(Inner::Wounded) => Failed::Denied(Denied::Wounded),
            WriteError::Job(Inner::Claims(FoldError::Sqlite(e))) => Failed::Write(WriteError::Sqlite(e)),
            WriteError::Job(Inner::Claims(e)) => Failed::Read(e.into()),
            WriteError::Append(e) => Failed::Write(WriteError::Append(e)),
            WriteError::Sqlite(e) => Failed::Write(WriteError::Sqlite(e)),
            WriteError::Timeout => Failed::Write(WriteError::Timeout),
            WriteError::NoDatabase => Failed::Write(WriteError::NoDatabase),
            WriteError::Unapplied(why) => Failed::Write(WriteError::Unapplied(why)),
            WriteError::Changed(table) => Failed::Write(WriteError::Changed(table)),
            WriteError::Closed => Failed::Write(WriteError::Closed),
        })
    }
}

/// The work, shared by its attempts.
pub(super) type Shared<T, E> = Arc<Mutex<Work<T, E>>>;

/// What it changed and asked for is locked by the party.
pub(super) struct Done<T> {
    pub value: T,
    /// Asked for by the statement itself (FOR UPDATE …).
    pub asked: Vec<Claim>,
    /// Follows from its changes.
    pub changed: Vec<Claim>,
}

/// One attempt of somebody who has a party. `versions`: it is to be known what its changes are based on.
pub(super) fn locking<T: Send + 'static, E: Send + 'static>(
    work: &Shared<T, E>,
    party: &Arc<Party>,
    locks: &Arc<Locks>,
    at_once: bool,
    versions: bool,
) -> Job<Done<T>, Inner<E>> {
    let (work, party, locks) = (Arc::clone(work), Arc::clone(party), Arc::clone(locks));
    Box::new(move |lane| {
        let mut asked = Asked {
            claims: Vec::new(),
            party: Some(&party),
            locks: &locks,
        };
        let value = (work.lock())(lane, &mut asked).map_err(|e| Inner::of(lane, e))?;
        let asked = asked.claims;
        let changed = if versions { lane.claims() } else { lane.unversioned_claims() };
        let changed = changed.map_err(Inner::Claims)?;
        let wanted = data(asked.iter().chain(&changed));
        match party.request(&wanted, !at_once) {
            Answer::Granted => Ok(Done { value, asked, changed }),
            Answer::Waiting => Err(Inner::Blocked(wanted)),
            Answer::Refused => Err(Inner::Busy),
            Answer::Wounded => Err(Inner::Wounded),
        }
    })
}

/// Locks a whole table, and changes nothing.
pub(super) fn claiming<E: Send + 'static>(
    work: &Shared<(), E>,
    party: &Arc<Party>,
    locks: &Arc<Locks>,
    table: u64,
) -> Job<Done<()>, Inner<E>> {
    let work = Arc::clone(work);
    let with_table: Work<(), Inner<E>> = Box::new(move |lane, asked| {
        let claim = lane.claim_table(table, Mode::Exclusive).map_err(Inner::Claims)?;
        asked.claims.push(claim);
        (work.lock())(lane, asked).map_err(Inner::Job)
    });
    let mut job = locking(&Arc::new(Mutex::new(with_table)), party, locks, false, true);
    Box::new(move |lane| {
        job(lane).map_err(|error| match error {
            Inner::Job(inner) => inner,
            Inner::Blocked(wanted) => Inner::Blocked(wanted),
            Inner::Busy => Inner::Busy,
            Inner::Wounded => Inner::Wounded,
            Inner::Claims(e) => Inner::Claims(e),
            Inner::Short(short) => Inner::Short(short),
        })
    })
}

/// One attempt of an autocommit statement that holds nothing: it only looks whether anybody is in its way.
pub(super) fn looking<T: Send + 'static, E: Send + 'static>(
    work: &Shared<T, E>,
    locks: &Arc<Locks>,
    tables: Vec<Wanted>,
    at_once: bool,
) -> Job<T, Inner<E>> {
    let (work, locks) = (Arc::clone(work), Arc::clone(locks));
    Box::new(move |lane| {
        if !locks.all_share() && !locks.are_free(&tables) {
            return Err(if at_once { Inner::Busy } else { Inner::Blocked(tables.clone()) });
        }
        let mut asked = Asked {
            claims: Vec::new(),
            party: None,
            locks: &locks,
        };
        let value = (work.lock())(lane, &mut asked).map_err(|e| Inner::of(lane, e))?;
        if locks.no_data() {
            return Ok(value);
        }
        let mut wanted = data(asked.claims.iter());
        wanted.extend(keys(lane.claim_keys().map_err(Inner::Claims)?));
        if locks.are_free(&wanted) {
            return Ok(value);
        }
        Err(if at_once { Inner::Busy } else { Inner::Blocked(wanted) })
    })
}

/// Claims as locks. The schema's key is for deciding between nodes; here definitions are locked by themselves.
pub(super) fn data<'a>(claims: impl Iterator<Item = &'a Claim>) -> Vec<Wanted> {
    let here = |c: &&Claim| !matches!(c.key, ClaimKey::Schema { .. });
    claims.filter(here).map(wanted).collect()
}

pub(super) fn keys(keys: Vec<(ClaimKey, Mode)>) -> impl Iterator<Item = Wanted> {
    let here = |k: &ClaimKey| !matches!(k, ClaimKey::Schema { .. });
    keys.into_iter()
        .filter(move |(k, _)| here(k))
        .map(|(k, m)| (LockKey::Data(k), Modes::from(m)))
}

/// Sharing the definitions of these tables.
pub(super) fn definitions<'a>(tables: impl Iterator<Item = &'a Arc<Table>>) -> Vec<Wanted> {
    let mut out = Vec::new();
    for table in tables {
        out.push((LockKey::definition(table.id), Modes::from(Mode::Shared)));
        let database = (LockKey::database(table.db), Modes::from(Mode::IntentShared));
        if !out.contains(&database) {
            out.push(database);
        }
    }
    out
}
