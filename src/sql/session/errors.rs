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
//! | logged, but not applied here | nothing: the connection closes (outcome unknown to the client) |
//! | SQLite: interrupted | 1317; too big 1153; constraint: by its kind; anything else 1105 |

use starling_apply::engine::{ApplyError, WriteError};
use starling_log::AppendError;

use crate::sql::error::SqlError;
use crate::sql::func::context::parse_error;

pub fn from_write(error: WriteError<SqlError>) -> SqlError {
    match error {
        WriteError::Job(error) => error,
        WriteError::Append(error) => from_append(&error),
        WriteError::Sqlite(error) => from_sqlite(&error),
        WriteError::Timeout => SqlError::new(1205, "Lock wait timeout exceeded; try restarting transaction"),
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
        other => SqlError::internal(other),
    }
}

pub fn from_sqlite(error: &rusqlite::Error) -> SqlError {
    use rusqlite::ErrorCode;
    if let Some(raised) = parse_error(error) {
        return raised;
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
