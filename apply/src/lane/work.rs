//! Jobs without their types: what the lane runs and answers.
//!
//! Promises: every job is answered exactly once, also when the lane dies. Must not know: SQLite, the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use starling_log::{AppendError, Changes};
use tokio::sync::oneshot;

use super::{Job, Try};
use crate::catalog::Catalog;
use crate::engine::{ApplyError, Committed, WriteError};
use crate::materialize::FoldError;
use crate::overlay::Content;

/// Why the lane did not do it; the caller's own error stays inside its work.
#[derive(Debug)]
pub(crate) enum Failure {
    Append(AppendError),
    Sqlite(rusqlite::Error),
    Timeout,
    NoDatabase,
    Unapplied(String),
    Changed(String),
    Closed,
}

impl Failure {
    pub fn text(code: rusqlite::ErrorCode, message: impl Into<String>) -> Failure {
        let error = rusqlite::ffi::Error {
            code,
            extended_code: rusqlite::ffi::SQLITE_ERROR,
        };
        Failure::Sqlite(rusqlite::Error::SqliteFailure(error, Some(message.into())))
    }
    pub fn aborted() -> Failure {
        Failure::text(
            rusqlite::ErrorCode::OperationAborted,
            "the transaction was rolled back after an error",
        )
    }
    /// The same for another waiter (SQLite's errors cannot be cloned whole).
    pub fn again(&self) -> Failure {
        match self {
            Failure::Append(e) => Failure::Append(e.clone()),
            Failure::Sqlite(rusqlite::Error::SqliteFailure(code, text)) => {
                Failure::Sqlite(rusqlite::Error::SqliteFailure(*code, text.clone()))
            }
            Failure::Sqlite(e) => Failure::text(rusqlite::ErrorCode::Unknown, e.to_string()),
            Failure::Timeout => Failure::Timeout,
            Failure::NoDatabase => Failure::NoDatabase,
            Failure::Unapplied(s) => Failure::Unapplied(s.clone()),
            Failure::Changed(s) => Failure::Changed(s.clone()),
            Failure::Closed => Failure::Closed,
        }
    }
}

impl<E> From<Failure> for WriteError<E> {
    fn from(failure: Failure) -> WriteError<E> {
        match failure {
            Failure::Append(e) => WriteError::Append(e),
            Failure::Sqlite(e) => WriteError::Sqlite(e),
            Failure::Timeout => WriteError::Timeout,
            Failure::NoDatabase => WriteError::NoDatabase,
            Failure::Unapplied(s) => WriteError::Unapplied(s),
            Failure::Changed(s) => WriteError::Changed(s),
            Failure::Closed => WriteError::Closed,
        }
    }
}

impl From<FoldError> for Failure {
    fn from(e: FoldError) -> Failure {
        match e {
            FoldError::Sqlite(e) => Failure::Sqlite(e),
            other => Failure::text(rusqlite::ErrorCode::Unknown, other.to_string()),
        }
    }
}

impl From<ApplyError> for Failure {
    fn from(e: ApplyError) -> Failure {
        match e {
            ApplyError::Sqlite(e) => Failure::Sqlite(e),
            ApplyError::NoDatabase(_) => Failure::NoDatabase,
            other => Failure::text(rusqlite::ErrorCode::Unknown, other.to_string()),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(e: rusqlite::Error) -> Failure {
        Failure::Sqlite(e)
    }
}

/// What the lane does with a piece of work.
pub(crate) enum Kind {
    /// Run, and keep what it changed.
    Kept,
    /// Run on top of the overlay (if there is one), and undo.
    Trial(Option<Arc<Mutex<Content>>>),
    /// Make the overlay an entry, and apply that.
    Commit(Arc<Mutex<Content>>),
}

/// How work ended that did not fail for the lane's reasons.
pub(crate) enum Ended {
    Committed(Committed),
    /// Undone: what it changed, under which catalog, and the token of the state that it left in place.
    Tried(Changes, Arc<Catalog>, u64),
}

impl Default for Ended {
    fn default() -> Ended {
        Ended::Committed(Committed::default())
    }
}

pub(crate) trait Work: Send {
    fn kind(&self) -> Kind {
        Kind::Kept
    }
    /// False: the job returned its own error, which it will be answered with.
    fn run(&mut self, t: &mut Try<'_>) -> bool;
    /// `Ok`: with what the job returned, its own error included.
    fn finish(self: Box<Self>, outcome: Result<Ended, Failure>);
    /// SQLite rolled back everything: the job's own error if it has one, since it tells more than we could.
    fn lost(self: Box<Self>);
    fn deadline(&self) -> Option<Instant>;
}

/// Jobs waiting in one lane at most; more are told at once that they waited too long.
pub(crate) const QUEUE: usize = 65_536;

/// A place in a lane's queue, given back when dropped.
pub(crate) struct Ticket(Arc<AtomicUsize>);

impl Ticket {
    pub fn take(waiting: &Arc<AtomicUsize>) -> Option<Ticket> {
        let ticket = Ticket(Arc::clone(waiting));
        (waiting.fetch_add(1, Ordering::Relaxed) < QUEUE).then_some(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) struct Task<T, E> {
    pub job: Job<T, E>,
    pub result: Option<Result<T, E>>,
    pub reply: oneshot::Sender<Result<(T, Committed), WriteError<E>>>,
    pub deadline: Option<Instant>,
    pub _ticket: Option<Ticket>,
}

impl<T: Send, E: Send> Work for Task<T, E> {
    fn run(&mut self, t: &mut Try<'_>) -> bool {
        let result = (self.job)(t);
        let ok = result.is_ok();
        self.result = Some(result);
        ok
    }
    fn finish(self: Box<Self>, outcome: Result<Ended, Failure>) {
        let answer = match (self.result, outcome) {
            (Some(Err(own)), Ok(_)) => Err(WriteError::Job(own)),
            (Some(Ok(value)), Ok(Ended::Committed(committed))) => Ok((value, committed)),
            (Some(Ok(_)) | None, Ok(_)) => Err(WriteError::Closed),
            (_, Err(failure)) => Err(failure.into()),
        };
        // Nobody waits any more: a client that went away.
        let _ = self.reply.send(answer);
    }
    fn lost(self: Box<Self>) {
        let outcome = if matches!(self.result, Some(Err(_))) {
            Ok(Ended::default())
        } else {
            Err(Failure::aborted())
        };
        self.finish(outcome);
    }
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// What a trial leaves behind: the job's value, its changes, their catalog and token.
pub(crate) type Tried<T> = (T, Changes, Arc<Catalog>, u64);

pub(crate) struct Trial<T, E> {
    pub job: Job<T, E>,
    pub overlay: Option<Arc<Mutex<Content>>>,
    pub result: Option<Result<T, E>>,
    pub reply: oneshot::Sender<Result<Tried<T>, WriteError<E>>>,
    pub deadline: Option<Instant>,
    pub _ticket: Option<Ticket>,
}

impl<T: Send, E: Send> Work for Trial<T, E> {
    fn kind(&self) -> Kind {
        Kind::Trial(self.overlay.clone())
    }
    fn run(&mut self, t: &mut Try<'_>) -> bool {
        let result = (self.job)(t);
        let ok = result.is_ok();
        self.result = Some(result);
        ok
    }
    fn finish(self: Box<Self>, outcome: Result<Ended, Failure>) {
        let answer = match (self.result, outcome) {
            (Some(Err(own)), Ok(_)) => Err(WriteError::Job(own)),
            (Some(Ok(value)), Ok(Ended::Tried(changes, catalog, token))) => Ok((value, changes, catalog, token)),
            (Some(Ok(_)) | None, Ok(_)) => Err(WriteError::Closed),
            (_, Err(failure)) => Err(failure.into()),
        };
        // Nobody waits any more: a client that went away.
        let _ = self.reply.send(answer);
    }
    fn lost(self: Box<Self>) {
        let own = matches!(self.result, Some(Err(_)));
        self.finish(if own { Ok(Ended::default()) } else { Err(Failure::aborted()) });
    }
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

pub(crate) struct Commit {
    pub overlay: Arc<Mutex<Content>>,
    pub reply: oneshot::Sender<Result<Committed, WriteError<()>>>,
    pub _ticket: Option<Ticket>,
}

impl Work for Commit {
    fn kind(&self) -> Kind {
        Kind::Commit(Arc::clone(&self.overlay))
    }
    fn run(&mut self, _: &mut Try<'_>) -> bool {
        true
    }
    fn finish(self: Box<Self>, outcome: Result<Ended, Failure>) {
        let answer = match outcome {
            Ok(Ended::Committed(committed)) => Ok(committed),
            Ok(Ended::Tried(..)) => Err(WriteError::Closed),
            Err(failure) => Err(failure.into()),
        };
        let _ = self.reply.send(answer);
    }
    fn lost(self: Box<Self>) {
        self.finish(Err(Failure::aborted()));
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
}
