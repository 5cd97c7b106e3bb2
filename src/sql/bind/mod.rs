//! Bind: every name resolved against the catalog, every expression given a MySQL type.
//!
//! The doors of it: `select` for whole queries; `Binder` for expressions over one table (DML, defaults, checks, generated columns).

use starling_apply::Catalog;

use super::ast;
use super::error::Result;
use super::plan::{Lowered, SelectPlan};
use super::types::Ty;

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

/// A whole query, bound and lowered. `literals` are in the AST; slots it had to pin are added to `pins`.
pub fn select(scope: &Scope<'_>, query: &ast::Query, pins: &mut Pins) -> Result<SelectPlan> {
    let _ = (scope, query, pins);
    todo!("query helper")
}

/// A query as the source of INSERT … SELECT or CREATE TABLE … SELECT: its SQL (to embed) and its column names and types.
pub fn source(scope: &Scope<'_>, query: &ast::Query, pins: &mut Pins) -> Result<(Lowered, Vec<(String, Ty)>)> {
    let _ = (scope, query, pins);
    todo!("query helper")
}

/// Lowers expressions over tables into pieces of one SQLite statement, collecting arguments and databases.
pub struct Binder<'a> {
    pub scope: &'a Scope<'a>,
    /// Arguments so far: `?1` is `args[0]`.
    pub out: Lowered,
    pub pins: Pins,
    // query helper: the name scope
}

impl<'a> Binder<'a> {
    /// No tables: only constants, variables and functions can be bound.
    pub fn new(scope: &'a Scope<'a>) -> Binder<'a> {
        Binder {
            scope,
            out: Lowered::default(),
            pins: Pins::default(),
        }
    }
    /// Adds a table to the name scope: `qualifier` is how its columns are called in the SQLite text (quoted: `"t"`; for upserts `excluded`).
    pub fn add_table(
        &mut self,
        db: &starling_apply::Database,
        table: &std::sync::Arc<starling_apply::Table>,
        alias: Option<&str>,
        qualifier: &str,
    ) {
        let _ = (db, table, alias, qualifier);
        todo!("query helper")
    }
    /// FROM clause with joins (multi-table UPDATE/DELETE): SQLite text, and the tables come into scope.
    pub fn from(&mut self, from: &[ast::TableRef]) -> Result<String> {
        let _ = from;
        todo!("query helper")
    }
    /// An expression's SQLite text (canonical form of its type) and type. `clause` for error 1054.
    pub fn expr(&mut self, expr: &ast::Expr, clause: &'static str) -> Result<(String, Ty)> {
        let _ = (expr, clause);
        todo!("query helper")
    }
    /// A condition: SQLite text that is true, false or NULL.
    pub fn condition(&mut self, expr: &ast::Expr, clause: &'static str) -> Result<String> {
        let _ = (expr, clause);
        todo!("query helper")
    }
    /// ORDER BY list (empty text for an empty list).
    pub fn order_by(&mut self, order: &[ast::OrderBy]) -> Result<String> {
        let _ = order;
        todo!("query helper")
    }
    /// LIMIT clause text.
    pub fn limit(&mut self, limit: &ast::Limit) -> Result<String> {
        let _ = limit;
        todo!("query helper")
    }
    /// Wraps `sql` of type `from` so that it yields what storing it into a column of type `to` yields (assignment conversion, with
    /// MySQL's errors in strict mode): the identity where nothing can differ. `column` for messages.
    pub fn assign(&mut self, sql: &str, from: &Ty, to: &starling_apply::Column) -> Result<String> {
        let _ = (sql, from, to);
        todo!("query helper")
    }
}
