//! Row history: which entries touched a row and which unique values it held, so that a late entry finds what it must re-fold;
//! and the list of changes that lost.
//!
//! Promises: every row change applied to the file has its record, in the same transaction. Must not know: how rows are written.

use rusqlite::Connection;
use starling_log::Place;

use crate::materialize::FoldError;

/// Did the change at (`place`, `index`) lose to a later stamp before it could be seen here, or was its row displaced?
pub fn superseded(conn: &Connection, schema: &str, place: Place, index: u32) -> Result<bool, FoldError> {
    let _ = (conn, schema, place, index);
    todo!("fold helper")
}
