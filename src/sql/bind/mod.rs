//! Bind: every name resolved against the catalog, every expression given a MySQL type.
//!
//! The doors of it: `select` for whole queries; `Binder` for expressions over one table (DML, defaults, checks, generated columns).
//!
//! Inside: [`scope`] (what a name means) · [`value`] and [`emit`] (expressions, constants into arguments) · [`expr`], [`compare`],
//! [`call`], [`cast`], [`aggregate`], [`subquery`] (expressions by kind) · [`from`], [`select`], [`group`], [`query`] (query
//! blocks from the inside out) · [`quick`] (what may run in place) · [`meta`] (result columns).

mod aggregate;
mod call;
mod cast;
mod compare;
mod emit;
mod expr;
mod from;
mod group;
mod group_concat;
mod locking;
mod meta;
mod query;
mod quick;
mod rollup;
mod scope;
mod select;
mod subquery;
#[cfg(test)]
mod tests;
mod value;
mod variable;

use std::collections::HashMap;
use std::sync::Arc;

use starling_apply::{Catalog, Database, Table};

use super::ast;
use super::error::{Result, SqlError};
use super::func::convert;
use super::plan::{Lowered, SelectPlan};
use super::types::Ty;
use query::{CteDef, Names};
use scope::{Aliases, Frame, Source};

/// What binding needs to know of the session.
pub struct Scope<'a> {
    pub catalog: &'a Catalog,
    /// As given by USE; `None`: no database selected.
    pub database: Option<&'a str>,
    pub mode: SqlMode,
    /// Connection's charset and collation (`utf8mb4`, `utf8mb4_0900_ai_ci`).
    pub collation: &'a str,
    /// The statement's text (select expressions are named by it).
    pub text: &'a [u8],
    /// Types of `?` where the client gave them (EXECUTE); empty at PREPARE.
    pub params: &'a [Ty],
    /// Types of system and user variables.
    pub vars: &'a dyn VarTypes,
}

pub trait VarTypes {
    /// `Err` 1193 when there is no such variable.
    fn system(&self, scope: Option<&str>, name: &str) -> Result<Ty>;
    fn user(&self, name: &str) -> Ty;
}

/// The parts of sql_mode that change meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SqlMode {
    pub ansi_quotes: bool,
    pub pipes_as_concat: bool,
    pub no_backslash_escapes: bool,
    pub ignore_space: bool,
    pub high_not_precedence: bool,
    pub real_as_float: bool,
    pub only_full_group_by: bool,
    pub strict: bool,
    pub no_zero_date: bool,
    pub no_zero_in_date: bool,
    pub error_for_division_by_zero: bool,
    pub no_auto_value_on_zero: bool,
    pub no_unsigned_subtraction: bool,
    pub pad_char_to_full_length: bool,
    pub allow_invalid_dates: bool,
}

/// Literal slots that a plan pinned: its cache entry holds only for the same text there.
#[derive(Clone, Debug, Default)]
pub struct Pins(pub Vec<u32>);

/// How a query is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reads<'a> {
    /// Tables that the transaction changed: they are read as it sees them.
    pub own: &'a [u64],
    /// It locks what it reads, shared, if it does not say otherwise (SERIALIZABLE).
    pub share: bool,
}

/// A whole query, bound and lowered. `literals` are in the AST; slots it had to pin are added to `pins`.
pub fn select(scope: &Scope<'_>, query: &ast::Query, pins: &mut Pins) -> Result<SelectPlan> {
    select_as(scope, query, pins, Reads::default())
}

/// The same, by a transaction.
pub fn select_as(scope: &Scope<'_>, query: &ast::Query, pins: &mut Pins, reads: Reads<'_>) -> Result<SelectPlan> {
    let mut binder = Binder::new(scope);
    if assigning(scope.text) {
        // What is assigned later on is read before: its types must be known.
        let mut first = Binder::new(scope);
        first.first = true;
        first.query(query, Names::Matter)?;
        binder.assigned = first.assigned;
    }
    binder.first = true;
    let locks = locking::wanted(query, reads.share);
    binder.lifts_limit = locks.iter().any(|l| l.wait == ast::LockWait::SkipLocked);
    // What locks is read on the lane, where the transaction's own changes are in place.
    binder.own = if locks.is_empty() { reads.own.to_vec() } else { Vec::new() };
    let mut bound = binder.query(query, Names::Matter)?;
    let locking = binder.locking(&mut bound, locks, reads.share)?;
    let sql = binder.write(&bound, None, false);
    let found = match query.limit {
        Some(_) if counts_all(&query.body) => {
            if locking.is_some() {
                return Err(SqlError::unsupported("SQL_CALC_FOUND_ROWS in a locking read"));
            }
            sql.rfind(" LIMIT ").map(|at| format!("SELECT count(*) FROM ({})", &sql[..at]))
        }
        _ => None,
    };
    let columns = binder.result_columns(&bound.columns).into();
    let short = bound.quick && !binder.waits;
    let waits = binder.waits;
    let lowered = binder.finish(sql, pins);
    Ok(SelectPlan {
        lowered,
        columns,
        short,
        waits,
        locking,
        found,
    })
}

/// May the text hold an assignment to a user variable?
fn assigning(text: &[u8]) -> bool {
    text.windows(2).any(|w| w == b":=")
}

/// SQL_CALC_FOUND_ROWS stands in the first block only.
fn counts_all(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.calc_found_rows,
        ast::SetExpr::SetOp { left, .. } => counts_all(left),
        ast::SetExpr::Query(query) => counts_all(&query.body),
        ast::SetExpr::Values(_) | ast::SetExpr::Table(_) => false,
    }
}

/// A query as the source of INSERT … SELECT or CREATE TABLE … SELECT: its SQL (to embed) and its column names and types.
pub fn source(scope: &Scope<'_>, query: &ast::Query, pins: &mut Pins) -> Result<(Lowered, Vec<(String, Ty)>)> {
    let mut binder = Binder::new(scope);
    let bound = binder.query(query, Names::Matter)?;
    let sql = binder.write(&bound, None, true);
    let columns = bound.columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
    Ok((binder.finish(sql, pins), columns))
}

/// Lowers expressions over tables into pieces of one SQLite statement, collecting arguments and databases.
pub struct Binder<'a> {
    pub scope: &'a Scope<'a>,
    /// Arguments so far: `?1` is `args[0]`.
    pub out: Lowered,
    pub pins: Pins,
    /// A function was called that may wait (SLEEP, GET_LOCK …).
    pub waits: bool,
    /// All tables of the statement, never forgotten (indexes into it stay good).
    sources: Vec<Source>,
    /// Query blocks, innermost last.
    frames: Vec<Frame>,
    ctes: Vec<CteDef>,
    windows: Vec<(String, aggregate::Window)>,
    /// How often each qualifier is in use, by its lower case.
    qualifiers: HashMap<String, u32>,
    /// For error 1054.
    clause: &'static str,
    aliases: Aliases,
    in_aggregate: bool,
    aggregates_allowed: bool,
    windows_allowed: bool,
    subqueries: u32,
    depth: usize,
    /// Literals have the exact type of their text (and are pinned): in select lists, whose columns are described by it. Elsewhere
    /// a plan serves any literal of the kind, and types must hold for all of them.
    exact: bool,
    /// Slots of the literals bound with `exact`.
    seen: Vec<u32>,
    /// Tables that are read as the transaction sees them.
    own: Vec<u64>,
    /// The outermost LIMIT is not SQLite's to count (SKIP LOCKED), and where its arguments are.
    lifts_limit: bool,
    lifted: Option<(usize, Option<usize>)>,
    /// FOR UPDATE and the like inside subqueries.
    inner_locks: Vec<ast::Locking>,
    /// User variables that the statement assigns, with the types they get.
    assigned: Vec<(String, Ty)>,
    /// The level of WITH ROLLUP that is being bound.
    rolled: Option<rollup::Rolled>,
    /// The next block may say SQL_CALC_FOUND_ROWS: it is the statement's first.
    first: bool,
}

impl<'a> Binder<'a> {
    /// No tables: only constants, variables and functions can be bound.
    pub fn new(scope: &'a Scope<'a>) -> Binder<'a> {
        Binder {
            scope,
            out: Lowered::default(),
            pins: Pins::default(),
            waits: false,
            sources: Vec::new(),
            frames: Vec::new(),
            ctes: Vec::new(),
            windows: Vec::new(),
            qualifiers: HashMap::new(),
            clause: "field list",
            aliases: Aliases::No,
            in_aggregate: false,
            aggregates_allowed: false,
            windows_allowed: false,
            subqueries: 0,
            depth: 0,
            exact: false,
            seen: Vec::new(),
            own: Vec::new(),
            lifts_limit: false,
            lifted: None,
            inner_locks: Vec::new(),
            assigned: Vec::new(),
            rolled: None,
            first: false,
        }
    }

    fn finish(mut self, sql: String, pins: &mut Pins) -> Lowered {
        self.out.sql = sql;
        for slot in self.pins.0 {
            if !pins.0.contains(&slot) {
                pins.0.push(slot);
            }
        }
        self.out
    }

    /// Adds a table to the name scope: `qualifier` is how its columns are called in the SQLite text (quoted: `"t"`; for upserts `excluded`).
    /// What is called `excluded` is seen as VALUES(col) and through its alias only.
    pub fn add_table(&mut self, db: &Database, table: &Arc<Table>, alias: Option<&str>, qualifier: &str) {
        let mut frame = self.frames.pop().unwrap_or_default();
        let excluded = is_excluded(qualifier);
        let before = frame.visible.len();
        let mut source = Source::base(db, table, alias, qualifier.to_string(), true);
        if excluded {
            source.db = None;
            source.alias = alias.unwrap_or("").to_string();
        }
        self.push_source(source, &mut frame);
        if excluded {
            frame.visible.truncate(before);
        }
        *self.qualifiers.entry(qualifier.trim_matches('"').to_lowercase()).or_insert(0) += 1;
        self.frames.push(frame);
    }

    /// FROM clause with joins (multi-table UPDATE/DELETE): SQLite text, and the tables come into scope.
    pub fn from(&mut self, from: &[ast::TableRef]) -> Result<String> {
        let mut frame = Frame::default();
        let sql = self.bind_from(from, &mut frame)?;
        let mut held = self.frames.pop().unwrap_or_default();
        held.visible.extend(frame.visible);
        held.tables.extend(frame.tables);
        self.frames.push(held);
        Ok(sql)
    }

    /// The tables that `from` brought into scope, in order: alias, database, table and qualifier of each base table.
    pub fn tables(&self) -> Vec<Joined> {
        let tables = self.frames.first().map(|f| f.tables.as_slice()).unwrap_or_default();
        tables
            .iter()
            .map(|t| &self.sources[*t])
            .filter_map(|s| {
                Some(Joined {
                    alias: s.alias.clone(),
                    db: s.db.clone()?,
                    table: Arc::clone(s.table.as_ref()?),
                    qualifier: s.qualifier.clone(),
                })
            })
            .collect()
    }

    /// An expression's SQLite text (canonical form of its type) and type. `clause` for error 1054.
    pub fn expr(&mut self, expr: &ast::Expr, clause: &'static str) -> Result<(String, Ty)> {
        self.clause = clause;
        let ex = self.bind(expr)?;
        Ok(self.stored(&ex))
    }

    /// A condition: SQLite text that is true, false or NULL.
    pub fn condition(&mut self, expr: &ast::Expr, clause: &'static str) -> Result<String> {
        self.clause = clause;
        let ex = self.bind(expr)?;
        Ok(self.truth(&ex))
    }

    /// ORDER BY list (empty text for an empty list).
    pub fn order_by(&mut self, order: &[ast::OrderBy]) -> Result<String> {
        self.clause = "order clause";
        let terms = self.order_by_terms(order, &[], &[])?;
        Ok(if terms.is_empty() {
            String::new()
        } else {
            format!(" ORDER BY {}", terms.join(","))
        })
    }

    /// LIMIT clause text.
    pub fn limit(&mut self, limit: &ast::Limit) -> Result<String> {
        self.limit_text(limit)
    }

    /// Wraps `sql` of type `from` so that it yields what storing it into a column of type `to` yields (assignment conversion, with
    /// MySQL's errors in strict mode): the identity where nothing can differ. `column` for messages.
    pub fn assign(&mut self, sql: &str, from: &Ty, to: &starling_apply::Column) -> Result<String> {
        use starling_apply::BaseType::Timestamp;
        let (stamp, into_stamp) = (from.ty.base == Timestamp && !from.is_null, to.ty.base == Timestamp);
        if stamp && into_stamp && from.ty.decimals == to.ty.decimals {
            return Ok(sql.to_string());
        }
        if !stamp {
            return Ok(convert::assign(sql, from, to));
        }
        let mut local = from.clone();
        local.ty.base = starling_apply::BaseType::DateTime;
        Ok(convert::assign(&format!("starling_local({sql})"), &local, to))
    }
}

/// A base table of a join.
#[derive(Clone, Debug)]
pub struct Joined {
    pub alias: String,
    pub db: String,
    pub table: Arc<Table>,
    /// As SQLite's text calls it, quoted.
    pub qualifier: String,
}

fn is_excluded(qualifier: &str) -> bool {
    // A real table of that name comes in quotes.
    qualifier == "excluded"
}
