//! From the engine's and SQLite's errors to MySQL's: the one place.
//!
//! | what happened | MySQL hears |
//! |---|---|
//! | the disk is full | 1021 |
//! | the flush of this very write failed | nothing: the connection closes (outcome unknown) |
//! | the log is poisoned, the clock is off, the node is not admitted | 1290, with the reason |
//! | the lane was held too long | 1205 |
//! | the database is gone | 1049 |
//! | an entry larger than the log takes | 1301-like: 1197 (transaction too large) |
//! | an older transaction took its locks; a row changed since its snapshot | 1213 |
//! | logged, but not applied here | nothing: the connection closes (outcome unknown to the client) |
//! | SQLite: a table or column is gone since the statement was planned | 1412 |
//! | SQLite: interrupted | 1317; too big 1153; constraint: by its kind; anything else 1105 |

use starling_apply::engine::{ApplyError, WriteError};
use starling_log::AppendError;

use crate::sql::error::SqlError;
use crate::sql::func::context::parse_error;
use crate::txn::Failed;
use crate::txn::decide::Refused;
use crate::txn::locks::Denied;

/// Why a statement of a transaction, or its commit, did not come to pass.
pub fn from_failed(failed: Failed<SqlError>) -> SqlError {
    match failed {
        Failed::Write(error) => from_write(error),
        Failed::Denied(Denied::Wounded) | Failed::Stale | Failed::Refused(Refused::Conflict | Refused::Schema) => deadlock(),
        Failed::Denied(Denied::Timeout) => lock_timeout(),
        Failed::Denied(Denied::Busy) => SqlError::new(
            3572,
            "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set.",
        ),
        Failed::Denied(Denied::Interrupted) => SqlError::new(1317, "Query execution was interrupted"),
        Failed::Changed => SqlError::new(1412, "Table definition has changed, please retry transaction"),
        Failed::Read(error) => from_apply(&error),
        Failed::Refused(Refused::NoQuorum(why)) | Failed::NoNumbers(Refused::NoQuorum(why)) => {
            SqlError::new(1047, format!("node has no quorum ({why})"))
        }
        Failed::Refused(Refused::Unknown(why)) => SqlError::unknown_outcome(why),
        Failed::Refused(Refused::Other(why)) => SqlError::internal(why),
        Failed::NoNumbers(refused) => {
            tracing::warn!(?refused, "no AUTO_INCREMENT numbers were drawn");
            no_number()
        }
    }
}

/// The same where no job could run.
pub fn from_failed_empty(failed: Failed<()>) -> SqlError {
    from_failed(failed.map(|()| SqlError::internal("no job ran")))
}

pub fn deadlock() -> SqlError {
    SqlError::new(1213, "Deadlock found when trying to get lock; try restarting transaction")
}

/// AUTO_INCREMENT has no further number.
pub fn no_number() -> SqlError {
    SqlError::new(1467, "Failed to read auto-increment value from storage engine")
}

pub fn lock_timeout() -> SqlError {
    SqlError::new(1205, "Lock wait timeout exceeded; try restarting transaction")
}

pub fn from_write(error: WriteError<SqlError>) -> SqlError {
    match error {
        WriteError::Job(error) => error,
        WriteError::Append(error) => from_append(&error),
        WriteError::Sqlite(error) => from_sqlite(&error),
        WriteError::Timeout => lock_timeout(),
        WriteError::NoDatabase => SqlError::new(1049, "Unknown database: it was dropped meanwhile"),
        WriteError::Unapplied(why) => SqlError::unknown_outcome(why),
        WriteError::Changed(_) => SqlError::new(1412, "Table definition has changed, please retry transaction"),
        WriteError::Closed => SqlError::new(1053, "Server shutdown in progress"),
    }
}

pub fn from_append(error: &AppendError) -> SqlError {
    match error {
        AppendError::DiskFull(why) => SqlError::new(1021, format!("Disk full ({why}); waiting for someone to free some space...")),
        AppendError::TooLarge { size, max } => SqlError::new(
            1197,
            format!("The transaction's changes take {size} bytes, more than the {max} that one entry of the log takes; split it"),
        ),
        AppendError::Malformed | AppendError::Gap { .. } => SqlError::internal(error),
        AppendError::Unknown(_) => SqlError::unknown_outcome(error),
        AppendError::Poisoned(_) | AppendError::Clock(_) => read_only(&error.to_string()),
    }
}

/// Writes are refused now, reads go on.
pub fn read_only(why: &str) -> SqlError {
    SqlError::new(
        1290,
        format!("The MySQL server is running with the --read-only option so it cannot execute this statement ({why})"),
    )
}

pub fn from_apply(error: &ApplyError) -> SqlError {
    match error {
        ApplyError::Sqlite(error) => from_sqlite(error),
        ApplyError::Changed(_) => SqlError::new(1412, "Table definition has changed, please retry transaction"),
        ApplyError::SnapshotEnded => SqlError::new(
            1213,
            "The transaction's snapshot was ended, because it kept the write-ahead log from being cut; try restarting transaction",
        ),
        other => SqlError::internal(other),
    }
}

/// Plans name only what the catalog has: another node's schema change came between plan and run.
fn names_unknown(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) | rusqlite::Error::SqlInputError { msg: text, .. } => {
            text.starts_with("no such table") || text.starts_with("no such column")
        }
        _ => false,
    }
}

pub fn from_sqlite(error: &rusqlite::Error) -> SqlError {
    use rusqlite::ErrorCode;
    if let Some(raised) = parse_error(error) {
        return raised;
    }
    if names_unknown(error) {
        return SqlError::new(1412, "Table definition has changed, please retry transaction");
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => SqlError::new(1317, "Query execution was interrupted"),
        Some(ErrorCode::TooBig) => SqlError::new(1301, "Result was larger than max_allowed_packet - truncated"),
        Some(ErrorCode::DiskFull) => SqlError::new(1021, "Disk full; waiting for someone to free some space..."),
        Some(ErrorCode::OutOfMemory) => SqlError::new(1037, "Out of memory; restart server and try again"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => SqlError::new(
            1034,
            "Incorrect key file: a database file is damaged; restart the node, it is rebuilt from the log",
        ),
        _ => SqlError::internal(error),
    }
}
