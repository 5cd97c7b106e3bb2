//! What a running function may know of its statement, and the warnings it leaves: per thread, since SQLite calls
//! functions on the thread that steps the statement.
//!
//! Promises: without [`enter`] functions behave as in a SELECT under MySQL's default sql_mode with time zone UTC.
//! Must not know: sessions.

use std::cell::{Cell, RefCell};

use crate::sql::error::SqlError;

/// Set around each statement by whoever steps it, on the thread that steps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Bad values are errors, not warnings (an INSERT, UPDATE … without IGNORE in strict mode).
    pub strict: bool,
    /// Division by zero is an error too (strict and ERROR_FOR_DIVISION_BY_ZERO).
    pub strict_division: bool,
    pub no_zero_date: bool,
    pub no_zero_in_date: bool,
    pub allow_invalid_dates: bool,
    pub no_unsigned_subtraction: bool,
    pub pad_char_to_full_length: bool,
    /// Session time zone, seconds east of UTC.
    pub zone_seconds: i32,
    pub group_concat_max_len: usize,
    pub max_allowed_packet: usize,
    /// Number of the row being stored, for messages (`at row 3`); `store` counts it up where the statement has several.
    pub row: u64,
}

impl Default for Context {
    fn default() -> Context {
        Context {
            strict: false,
            strict_division: false,
            no_zero_date: true,
            no_zero_in_date: true,
            allow_invalid_dates: false,
            no_unsigned_subtraction: false,
            pad_char_to_full_length: false,
            zone_seconds: 0,
            group_concat_max_len: 1024,
            max_allowed_packet: 64 << 20,
            row: 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Note,
    Warning,
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub level: Level,
    pub code: u16,
    pub message: String,
}

/// As `max_error_count`: what is kept of one statement's warnings; all are counted.
pub const WARNINGS_MAX: usize = 1024;

/// What a statement's functions leave in its session.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// `@x := e`, the last value of each.
    pub variables: Vec<Assigned>,
    /// LAST_INSERT_ID(e)
    pub last_insert_id: Option<u64>,
}

/// A user variable that the running statement assigned.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// Lower case.
    pub name: String,
    /// The type of `value` (`convert::spec`).
    pub spec: String,
    pub value: rusqlite::types::Value,
    /// The same in the form in which this statement reads the variable.
    pub read: rusqlite::types::Value,
}

thread_local! {
    /// Is there anything in `EFFECTS`?
    static SPOKEN: Cell<bool> = const { Cell::new(false) };
    static EFFECTS: RefCell<Effects> = const { RefCell::new(Effects { variables: Vec::new(), last_insert_id: None }) };
    static FRESH: Cell<bool> = const { Cell::new(true) };
    static CONTEXT: Cell<Context> = Cell::new(Context::default());
    static WARNINGS: RefCell<(Vec<Warning>, u64)> = const { RefCell::new((Vec::new(), 0)) };
}

/// Puts the former context back when dropped.
pub struct Entered(Context);

impl Drop for Entered {
    fn drop(&mut self) {
        CONTEXT.set(self.0);
    }
}

#[must_use]
pub fn enter(context: Context) -> Entered {
    FRESH.set(true);
    if SPOKEN.get() {
        take_effects();
    }
    Entered(CONTEXT.replace(context))
}

/// True once after each [`enter`]: a statement begins (seeded sequences start again).
pub fn take_fresh() -> bool {
    FRESH.replace(false)
}

pub fn current() -> Context {
    CONTEXT.get()
}

/// The row number in messages, from now on.
pub fn set_row(row: u64) {
    let mut context = CONTEXT.get();
    context.row = row;
    CONTEXT.set(context);
}

pub fn warn(level: Level, code: u16, message: impl Into<String>) {
    WARNINGS.with_borrow_mut(|(kept, count)| {
        *count += 1;
        if kept.len() < WARNINGS_MAX {
            kept.push(Warning {
                level,
                code,
                message: message.into(),
            });
        }
    });
}

/// This thread's warnings since the last call, and how many there were in all.
pub fn take_warnings() -> (Vec<Warning>, u64) {
    WARNINGS.take()
}

/// Notes what the session is to keep of this statement.
pub fn leave(note: impl FnOnce(&mut Effects)) {
    SPOKEN.set(true);
    EFFECTS.with_borrow_mut(note);
}

/// What the running statement assigned to this variable so far.
pub fn assigned(name: &str) -> Option<rusqlite::types::Value> {
    if !SPOKEN.get() {
        return None;
    }
    EFFECTS.with_borrow(|e| e.variables.iter().find(|v| v.name == name).map(|v| v.read.clone()))
}

/// What this thread's statement left for its session.
pub fn take_effects() -> Effects {
    if !SPOKEN.replace(false) {
        return Effects::default();
    }
    EFFECTS.take()
}

/// A MySQL error on its way through SQLite's error text.
#[derive(Debug)]
pub struct Raised {
    pub code: u16,
    pub message: String,
}

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "starling:{}:{}", self.code, self.message)
    }
}

impl std::error::Error for Raised {}

/// The MySQL error that a function raised, if `error` is one.
pub fn parse_error(error: &rusqlite::Error) -> Option<SqlError> {
    let text = match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::UserFunctionError(inner) => inner.to_string(),
        _ => return None,
    };
    let rest = &text[text.find("starling:")? + "starling:".len()..];
    let (code, message) = rest.split_once(':')?;
    Some(SqlError::new(code.parse().ok()?, message.to_string()))
}

/// A bad value: an error in strict statements, else a warning (and the caller goes on with what it could make of it).
pub fn complain(code: u16, message: impl Into<String>) -> Result<(), Raised> {
    let message = message.into();
    if current().strict {
        return Err(Raised { code, message });
    }
    warn(Level::Warning, code, message);
    Ok(())
}
