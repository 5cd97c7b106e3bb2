//! Plans: what a statement becomes once bound and lowered, and the bounded cache of them.
//!
//! A plan is keyed by the statement's fingerprint (its tokens with literals left out), the current database, the sql_mode
//! and the catalog version. Literals reach it as arguments (`Arg::Slot`); those that change its shape (ORDER BY 1, LIMIT where
//! pinned, a literal in the select list that gives its column type) are *pinned*: a fingerprint may have several plans, one for each set of pinned values.

mod cache;

use std::sync::Arc;

use starling_apply::Table;
use starling_log::Value;

use super::result::ResultColumn;
use super::types::Ty;

pub use cache::{Key, PlanCache, Sight};

/// Where a lowered statement's parameter (`?1` … in order of this list) comes from at run time.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    Constant(Value),
    /// Literal `slot` of the text, converted to the canonical form of `ty`.
    Slot {
        slot: u32,
        ty: Ty,
        how: How,
    },
    /// Client parameter `index`, converted to the canonical form of `ty` (`None`: as it comes).
    Param {
        index: u32,
        ty: Option<Ty>,
        how: How,
    },
    UserVar {
        name: String,
        ty: Ty,
    },
    SysVar {
        scope: Option<String>,
        name: String,
        ty: Ty,
    },
    Context(Context),
}

/// How a constant reaches the form of its argument's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As a value of that type (rounded, cut: what a CAST does).
    Cast,
    /// As something to compare with values of that type: never rounded, so that `int_column < 5.5` and
    /// `datetime_column = '2020-01-01 10:00:00.5'` stay true to their text (`lower::args::comparable`).
    Compare,
}

/// Session values, fixed for one statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Context {
    /// NOW(f): DATETIME in the session's time zone.
    Now(u8),
    UtcNow(u8),
    CurDate,
    UtcDate,
    CurTime(u8),
    UtcTime(u8),
    LastInsertId,
    RowCount,
    FoundRows,
    ConnectionId,
    Database,
    /// USER(), SESSION_USER(): user@host as given
    User,
    CurrentUser,
    Version,
}

/// SQLite text, its arguments, and what it touches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lowered {
    pub sql: String,
    pub args: Vec<Arg>,
    /// Lower-case names of databases (schema names of SQLite) it reads, `information_schema` and the like included.
    pub dbs: Vec<String>,
    /// The base tables it reads (not the system's).
    pub tables: Vec<Arc<Table>>,
}

/// A SELECT ready to run.
#[derive(Clone, Debug)]
pub struct SelectPlan {
    pub lowered: Lowered,
    pub columns: Arc<[ResultColumn]>,
    /// Bound to be quick (point or small range by key, no table): may run in place on the connection's thread.
    pub short: bool,
    /// It waits (SLEEP and the like): never on the connection's thread.
    pub waits: bool,
    /// FOR UPDATE, FOR SHARE, or any read of a SERIALIZABLE transaction: what it locks.
    pub locking: Option<Locks>,
    /// SQL_CALC_FOUND_ROWS: counts the rows as if there were no LIMIT (same arguments).
    pub found: Option<String>,
}

/// What a SELECT locks, where it locks anything (in an open transaction).
#[derive(Clone, Debug)]
pub struct Locks {
    pub tables: Vec<LockedTable>,
    /// NOWAIT
    pub at_once: bool,
    /// SERIALIZABLE: what is not there must stay away too, so tables are locked whole, unless the read is of one row by its key, which
    /// is there.
    pub phantoms: bool,
    pub point: bool,
    /// SKIP LOCKED: rows that others hold are left out.
    pub skip: bool,
    /// SKIP LOCKED counts what is left: arguments that hold LIMIT's count and its offset. SQLite's own limit is lifted.
    pub limit: Option<(usize, Option<usize>)>,
}

#[derive(Clone, Debug)]
pub struct LockedTable {
    pub table: Arc<Table>,
    pub exclusive: bool,
    /// Where its key stands, behind the columns of the result (NULL: no row of it). `None`: the whole table is locked.
    pub keys: Option<std::ops::Range<usize>>,
}
