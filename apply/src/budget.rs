//! A bound on the work of one read.
//!
//! Promises: a statement that takes more than so many steps of SQLite's virtual machine ends with SQLITE_INTERRUPT; nothing is
//! allocated. Must not know: what the caller does then.

use std::ffi::{c_int, c_void};

use rusqlite::{Connection, ffi};

/// Bounds every statement on the connection from now on; dropped, the bound is gone.
pub struct Budget<'c>(&'c Connection);

impl<'c> Budget<'c> {
    pub fn new(connection: &'c Connection, steps: i32) -> Budget<'c> {
        // SAFETY: the handle is live; the handler needs no context.
        unsafe { ffi::sqlite3_progress_handler(connection.handle(), steps, Some(over), std::ptr::null_mut()) };
        Budget(connection)
    }
}

impl Drop for Budget<'_> {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { ffi::sqlite3_progress_handler(self.0.handle(), 0, None, std::ptr::null_mut()) };
    }
}

unsafe extern "C" fn over(_: *mut c_void) -> c_int {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_statement_ends_and_the_next_one_does_not() {
        let connection = Connection::open_in_memory().unwrap();
        let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT count(*) FROM n";
        let run = || connection.query_row(long, [], |r| r.get::<_, i64>(0));
        let bounded = {
            let _budget = Budget::new(&connection, 10_000);
            run()
        };
        assert!(bounded.is_err());
        assert_eq!(run().unwrap(), 100_000);
    }
}
