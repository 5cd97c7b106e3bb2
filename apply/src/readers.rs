//! Readers: pooled read-only connections; pinned snapshots behind the gate.

use rusqlite::Connection;

/// A read-only connection, back to the pool when dropped.
pub struct Reader {
    // lane helper: fields
}

impl std::ops::Deref for Reader {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        todo!("lane helper")
    }
}
