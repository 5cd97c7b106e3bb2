//! The collations as SQLite calls them.
//!
//! Promises: a comparison of two valid texts copies nothing and checks their encoding once, many bytes at a time (the door of
//! rusqlite goes over every byte by itself, which made up half of the time of a sort). Must not know: orders.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::{CString, c_int, c_void};

use rusqlite::{Connection, ffi};

use super::{COLLATIONS, CollationInfo, DECIMAL};
use crate::types::decimal;

/// Registers all of them (and `STARLING_DECIMAL`) on a connection, `utf8_…` names included.
pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    for info in COLLATIONS {
        add(connection, info.name, info)?;
        if let Some(rest) = info.name.strip_prefix("utf8mb3_") {
            add(connection, &format!("utf8_{rest}"), info)?;
        }
    }
    connection.create_collation(DECIMAL, |left, right| decimal::compare_text(left.as_bytes(), right.as_bytes()))
}

fn add(connection: &Connection, name: &str, info: &'static CollationInfo) -> rusqlite::Result<()> {
    let name = CString::new(name).map_err(rusqlite::Error::NulError)?;
    let context = std::ptr::from_ref(info).cast_mut().cast::<c_void>();
    // SAFETY: the handle is live; the context is a static, which nobody has to free.
    let code =
        unsafe { ffi::sqlite3_create_collation_v2(connection.handle(), name.as_ptr(), ffi::SQLITE_UTF8, context, Some(compare), None) };
    if code == ffi::SQLITE_OK {
        return Ok(());
    }
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
}

unsafe extern "C" fn compare(context: *mut c_void, left_len: c_int, left: *const c_void, right_len: c_int, right: *const c_void) -> c_int {
    // SAFETY: the context given at registration; SQLite's texts live as long as the call.
    let (info, left, right) = unsafe { (&*context.cast::<CollationInfo>(), bytes(left, left_len), bytes(right, right_len)) };
    match order(info, left, right) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

fn order(info: &CollationInfo, left: &[u8], right: &[u8]) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    info.compare(&text(left), &text(right))
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// SAFETY: `len` bytes at `start` must live as long as the result is used.
unsafe fn bytes<'a>(start: *const c_void, len: c_int) -> &'a [u8] {
    match usize::try_from(len) {
        // SAFETY: by the caller's word.
        Ok(len) if len > 0 && !start.is_null() => unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) },
        _ => &[],
    }
}
