//! Functions that ask their session: named locks, and waiting for a position. And sets of GTIDs, which ask nobody.
//!
//! Promises: they wait only where blocking is allowed, and end when their statement is interrupted; on a lane, where waiting would hold
//! up everybody, they are refused by name. Must not know: who answers.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::context::{Raised, complain};
use super::rule;
use super::run::{Args, Body, NULL, Outcome, boolean, int, raise, text};
use super::{Family, Function, Kind};
use crate::sql::error::SqlError;
use crate::sql::gtid::GtidSet;
use crate::sql::types::Ty;

use Kind::*;

/// Names of locks are at most so long (MySQL's limit).
const NAME_MAX: usize = 64;

/// Functions that wait, or ask other nodes: a statement with one is never run in place.
pub const WAITING: &[&str] = &[
    "sleep",
    "benchmark",
    "get_lock",
    "release_lock",
    "release_all_locks",
    "is_free_lock",
    "is_used_lock",
    "wait_for_executed_gtid_set",
    "last_insert_id",
];

/// Tells whether the statement was interrupted.
pub type Interrupted<'a> = &'a dyn Fn() -> bool;

/// A session, as functions know it. All of it may block.
pub trait Asked: Send + Sync {
    /// `wait`: `None` is for ever.
    fn get_lock(&self, name: &str, wait: Option<Duration>, interrupted: Interrupted<'_>) -> Result<bool, SqlError>;
    /// `Some(false)`: another session has it; `None`: nobody.
    fn release_lock(&self, name: &str) -> Result<Option<bool>, SqlError>;
    fn release_all_locks(&self) -> u64;
    /// The connection that has it.
    fn lock_holder(&self, name: &str) -> Result<Option<u32>, SqlError>;
    /// `false`: the time was up.
    fn wait_for(&self, set: &GtidSet, wait: Option<Duration>, interrupted: Interrupted<'_>) -> Result<bool, SqlError>;
}

thread_local! {
    static ASKED: RefCell<Option<Arc<dyn Asked>>> = const { RefCell::new(None) };
}

/// Puts the former one back when dropped.
pub struct Entered(Option<Arc<dyn Asked>>);

impl Drop for Entered {
    fn drop(&mut self) {
        ASKED.set(self.0.take());
    }
}

/// Functions on this thread ask `asked` until the guard is dropped.
#[must_use]
pub fn enter(asked: Arc<dyn Asked>) -> Entered {
    Entered(ASKED.replace(Some(asked)))
}

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Misc, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("get_lock", (2, 2), &[Text, Double], rule::int_nullable, "starling_get_lock").volatile(),
    row("release_lock", (1, 1), &[Text], rule::int_nullable, "starling_release_lock").volatile(),
    row("release_all_locks", (0, 0), &[], rule::unsigned, "starling_release_all_locks").volatile(),
    row("is_free_lock", (1, 1), &[Text], rule::int_nullable, "starling_is_free_lock").volatile(),
    row("is_used_lock", (1, 1), &[Text], |_| Ty::unsigned(true), "starling_is_used_lock").volatile(),
    row(
        "wait_for_executed_gtid_set",
        (1, 2),
        &[Text, Double],
        rule::int_nullable,
        "starling_wait_for_gtids",
    )
    .volatile(),
    row("gtid_subset", (2, 2), &[Text], rule::int_nullable, "starling_gtid_subset"),
    row(
        "gtid_subtract",
        (2, 2),
        &[Text],
        rule::like_first_nullable,
        "starling_gtid_subtract",
    ),
];

pub const BODIES: &[Body] = &[
    Body::new("starling_get_lock", get_lock).volatile(),
    Body::new("starling_release_lock", |args| {
        let name = lock_name(args)?;
        match asked("RELEASE_LOCK")?.release_lock(&name).map_err(raised)? {
            Some(released) => boolean(released),
            None => NULL,
        }
    })
    .volatile(),
    Body::new("starling_release_all_locks", |_| {
        int(asked("RELEASE_ALL_LOCKS")?.release_all_locks() as i64)
    })
    .volatile(),
    Body::new("starling_is_free_lock", |args| {
        let name = lock_name(args)?;
        boolean(asked("IS_FREE_LOCK")?.lock_holder(&name).map_err(raised)?.is_none())
    })
    .volatile(),
    Body::new("starling_is_used_lock", |args| {
        let name = lock_name(args)?;
        let holder = asked("IS_USED_LOCK")?.lock_holder(&name).map_err(raised)?;
        holder.map_or(NULL, |session| int(i64::from(session)))
    })
    .volatile(),
    Body::new("starling_wait_for_gtids", wait_for).volatile(),
    Body::new("starling_gtid_subset", |args| match (args.text(0), args.text(1)) {
        (Some(small), Some(large)) => boolean(set(&small)?.is_subset(&set(&large)?)),
        _ => NULL,
    }),
    Body::new("starling_gtid_subtract", |args| match (args.text(0), args.text(1)) {
        (Some(from), Some(what)) => text(set(&from)?.without(&set(&what)?).to_string()),
        _ => NULL,
    }),
];

fn raised(error: SqlError) -> Raised {
    raise(error.code, error.message.to_string())
}

fn set(given: &str) -> Result<GtidSet, Raised> {
    GtidSet::parse(given).map_err(raised)
}

fn asked(function: &str) -> Result<Arc<dyn Asked>, Raised> {
    ASKED.with_borrow(Clone::clone).ok_or_else(|| {
        let what = format!("{function} in a statement that changes or locks rows");
        raise(1235, format!("This version of MySQL doesn't yet support '{what}'"))
    })
}

/// 3057 for what is no name.
fn lock_name(args: &Args<'_, '_>) -> Result<String, Raised> {
    let name = args.text(0);
    match name {
        Some(name) if !name.is_empty() && name.chars().count() <= NAME_MAX => Ok(name.into_owned()),
        other => {
            let shown: String = other.map_or_else(|| "NULL".into(), |n| n.chars().take(192).collect());
            Err(raise(3057, format!("Incorrect user-level lock name '{shown}'.")))
        }
    }
}

/// Seconds as a time to wait; negative is for ever.
fn patience(seconds: f64) -> Option<Duration> {
    if seconds < 0.0 {
        None
    } else {
        Duration::try_from_secs_f64(seconds).ok()
    }
}

fn get_lock(args: &Args<'_, '_>) -> Outcome {
    let name = lock_name(args)?;
    let wait = patience(args.double(1).unwrap_or(0.0));
    boolean(
        asked("GET_LOCK")?
            .get_lock(&name, wait, &|| args.is_interrupted())
            .map_err(raised)?,
    )
}

/// 0: all of it is applied here; 1: the time was up.
fn wait_for(args: &Args<'_, '_>) -> Outcome {
    let Some(given) = args.text(0) else {
        return Err(raise(1772, "Malformed GTID set specification 'NULL'."));
    };
    let wanted = set(&given)?;
    let wait = match args.len() {
        1 => None,
        _ => match args.double(1) {
            Some(seconds) if seconds >= 0.0 => (seconds > 0.0).then(|| patience(seconds)).flatten(),
            _ => {
                complain(1210, "Incorrect arguments to WAIT_FOR_EXECUTED_GTID_SET.")?;
                return NULL;
            }
        },
    };
    let asked = asked("WAIT_FOR_EXECUTED_GTID_SET")?;
    boolean(!asked.wait_for(&wanted, wait, &|| args.is_interrupted()).map_err(raised)?)
}
