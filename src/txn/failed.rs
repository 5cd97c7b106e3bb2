//! Why a statement or a commit did not come to pass, and what that means for the transaction around it.

use starling_apply::engine::{ApplyError, WriteError};

use super::decide::Refused;
use super::locks::Denied;

#[derive(Debug)]
pub enum Failed<E> {
    Write(WriteError<E>),
    Denied(Denied),
    /// It would change a row that somebody changed since its snapshot. 1213.
    Stale,
    /// A table is not what it was when the snapshot was taken. 1412.
    Changed,
    Read(ApplyError),
    Refused(Refused),
    /// Its statement needs AUTO_INCREMENT numbers, and none can be drawn.
    NoNumbers(Refused),
}

impl<E> Failed<E> {
    /// Is the whole transaction over with it?
    pub fn ends_transaction(&self) -> bool {
        match self {
            Failed::Denied(denied) => *denied == Denied::Wounded,
            Failed::Stale | Failed::Refused(_) => true,
            Failed::Write(error) => !matches!(error, WriteError::Job(_) | WriteError::Timeout | WriteError::NoDatabase),
            // Its own changes cannot be told from others' any more.
            Failed::Read(_) => true,
            Failed::Changed | Failed::NoNumbers(_) => false,
        }
    }
    /// Did it only lose against others, so that the same again may succeed?
    pub fn lost(&self) -> bool {
        matches!(
            self,
            Failed::Denied(Denied::Wounded) | Failed::Stale | Failed::Refused(Refused::Conflict | Refused::Schema)
        )
    }
    /// The same under another job's error type; `job` for the job's own.
    pub fn map<F>(self, job: impl FnOnce(E) -> F) -> Failed<F> {
        match self {
            Failed::Write(error) => Failed::Write(map(error, job)),
            Failed::Denied(denied) => Failed::Denied(denied),
            Failed::Stale => Failed::Stale,
            Failed::Changed => Failed::Changed,
            Failed::Read(error) => Failed::Read(error),
            Failed::Refused(refused) => Failed::Refused(refused),
            Failed::NoNumbers(refused) => Failed::NoNumbers(refused),
        }
    }
}

impl<E> From<Denied> for Failed<E> {
    fn from(denied: Denied) -> Failed<E> {
        Failed::Denied(denied)
    }
}

impl<E> From<ApplyError> for Failed<E> {
    fn from(error: ApplyError) -> Failed<E> {
        Failed::Read(error)
    }
}

fn map<E, F>(error: WriteError<E>, job: impl FnOnce(E) -> F) -> WriteError<F> {
    match error {
        WriteError::Job(e) => WriteError::Job(job(e)),
        WriteError::Append(e) => WriteError::Append(e),
        WriteError::Sqlite(e) => WriteError::Sqlite(e),
        WriteError::Timeout => WriteError::Timeout,
        WriteError::NoDatabase => WriteError::NoDatabase,
        WriteError::Unapplied(why) => WriteError::Unapplied(why),
        WriteError::Changed(table) => WriteError::Changed(table),
        WriteError::Closed => WriteError::Closed,
    }
}
