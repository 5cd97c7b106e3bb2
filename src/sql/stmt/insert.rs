//! INSERT and REPLACE: from the tree to a plan.
//!
//! Every form becomes the same thing: a source of rows (constants, expressions, a query) and one prepared SQLite INSERT that runs
//! once a row, on the lane. Constants are converted in Rust, before the lane is asked; the lane only fills in defaults, numbers
//! and hidden keys. Must not know: how rows are captured.

mod apply;
mod rows;

use std::collections::HashSet;
use std::sync::Arc;

use starling_apply::catalog::DefaultValue;
use starling_apply::types::store::{Input, StoreMode, store};
use starling_apply::{BaseType, Column, Database, Table};
use starling_log::Value;

use crate::sql::ast::{self, Expr, InsertSource, Literal, NO_SLOT, SetItem, UnaryOp};
use crate::sql::bind::{self, Binder, Pins, Scope};
use crate::sql::error::{Result, SqlError};
use crate::sql::parse;
use crate::sql::plan::{Arg, Context, Lowered};
use crate::sql::session::args::literal_at;
use crate::sql::session::input::literal_value;
use crate::sql::types::Ty;

use super::write::{Returning, WritePlan, qualified, quote, returning};

pub use rows::Rows;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plain,
    Ignore,
    Replace,
    Upsert,
}

#[derive(Debug)]
pub struct InsertPlan {
    /// Lower case.
    pub db: String,
    pub table: Arc<Table>,
    pub mode: Mode,
    /// One row's INSERT: `?1` … are the stored columns in order (behind the hidden key, if there is one), then `extra`.
    sql: String,
    /// One for each stored column.
    targets: Vec<Target>,
    source: Source,
    /// Arguments of ON DUPLICATE KEY UPDATE.
    extra: Vec<Arg>,
    pub returning: Option<Returning>,
}

#[derive(Debug)]
struct Target {
    /// Position in `table.columns`.
    column: usize,
    /// Position in the source's rows.
    given: Option<usize>,
    default: Fallback,
}

/// What a column takes when nothing is given.
#[derive(Debug)]
enum Fallback {
    Value(Value),
    /// CURRENT_TIMESTAMP of the column's precision.
    Now,
    /// DEFAULT (expr): run on the lane for each row.
    Expr(Lowered, Box<Ty>),
    /// 1364 in strict mode, else this.
    Missing(Value),
    Auto,
}

#[derive(Debug)]
enum Source {
    Values(Vec<Vec<Cell>>),
    Query {
        lowered: Lowered,
        types: Vec<Ty>,
        reads_target: bool,
    },
}

/// One value of a VALUES list.
#[derive(Debug)]
enum Cell {
    Default,
    Constant(Literal, bool),
    Slot(u32, bool),
    Param(u32),
    Expr(Lowered, Box<Ty>),
}

/// An INSERT of more rows is not short.
const SHORT_ROWS: usize = 8;

pub fn plan(scope: &Scope<'_>, insert: &ast::Insert, pins: &mut Pins) -> Result<WritePlan> {
    let (db, table) = resolve(scope, &insert.table)?;
    let mode = match (insert.replace, insert.ignore, insert.on_duplicate.is_empty()) {
        (true, _, _) => Mode::Replace,
        (_, _, false) => Mode::Upsert,
        (_, true, _) => Mode::Ignore,
        _ => Mode::Plain,
    };
    let columns = target_columns(&table, insert)?;
    let source = source(scope, insert, &table, &columns, pins)?;
    let mut targets = Vec::new();
    for (at, column) in table.columns.iter().enumerate().filter(|(_, c)| c.generated.is_none()) {
        let given = columns.iter().position(|c| *c == at);
        targets.push(Target {
            column: at,
            given,
            default: fallback(scope, &table, column)?,
        });
    }
    let names: Vec<String> = hidden(&table)
        .into_iter()
        .chain(targets.iter().map(|t| quote(&table.columns[t.column].name)))
        .collect();
    let marks: Vec<String> = (1..=names.len()).map(|i| format!("?{i}")).collect();
    let verb = if mode == Mode::Replace {
        "INSERT OR REPLACE INTO"
    } else {
        "INSERT INTO"
    };
    let mut binder = Binder::new(scope);
    // The row's own parameters come first.
    binder.out.args = vec![Arg::Constant(Value::Null); names.len()];
    binder.add_table(&db, &table, None, &quote(&table.name));
    let tail = upsert(&mut binder, insert, &db, &table)?;
    let returning = returning(&mut binder, &insert.returning, &table)?;
    let sql = format!(
        "{verb} {} AS {} ({}) VALUES ({}){tail}{}",
        qualified(&db.name.to_lowercase(), &table.name),
        quote(&table.name),
        names.join(", "),
        marks.join(", "),
        returning.as_ref().map_or("", |r| r.sql.as_str())
    );
    pins.0.extend(&binder.pins.0);
    let extra = binder.out.args.split_off(names.len());
    Ok(WritePlan::Insert(Box::new(InsertPlan {
        db: db.name.to_lowercase(),
        table,
        mode,
        sql,
        targets,
        source,
        extra,
        returning,
    })))
}

impl InsertPlan {
    /// Databases that its query reads.
    pub fn reads(&self) -> &[String] {
        if let Source::Query { lowered, .. } = &self.source {
            &lowered.dbs
        } else {
            &[]
        }
    }
    /// A few rows of values that are given.
    pub fn is_short(&self) -> bool {
        let Source::Values(rows) = &self.source else { return false };
        let plain = matches!(self.mode, Mode::Plain | Mode::Ignore) && self.returning.is_none();
        let defaults = !self.targets.iter().any(|t| matches!(t.default, Fallback::Expr(..)));
        plain && defaults && rows.len() <= SHORT_ROWS && !rows.iter().flatten().any(|c| matches!(c, Cell::Expr(..)))
    }
    /// Tables that it reads.
    pub fn used(&self) -> impl Iterator<Item = &Arc<Table>> {
        let rows: &[Vec<Cell>] = if let Source::Values(rows) = &self.source { rows } else { &[] };
        let cells = rows.iter().flatten().filter_map(|cell| {
            if let Cell::Expr(lowered, _) = cell {
                Some(&lowered.tables)
            } else {
                None
            }
        });
        let query = if let Source::Query { lowered, .. } = &self.source {
            Some(&lowered.tables)
        } else {
            None
        };
        cells.chain(query).flatten()
    }
    /// All arguments of it: of the rows' expressions, the query, the upsert.
    pub fn args(&self) -> impl Iterator<Item = &Arg> {
        let rows: &[Vec<Cell>] = if let Source::Values(rows) = &self.source { rows } else { &[] };
        let asked = rows.iter().flatten().filter_map(|cell| {
            if let Cell::Expr(lowered, _) = cell {
                Some(&lowered.args)
            } else {
                None
            }
        });
        let query = if let Source::Query { lowered, .. } = &self.source {
            Some(&lowered.args)
        } else {
            None
        };
        asked.chain(query).chain([&self.extra]).flatten()
    }
}

/// SQLite's own key, where the table has no primary key of MySQL's.
fn hidden(table: &Table) -> Option<String> {
    table.primary().is_none().then(|| "rowid".to_string())
}

pub fn resolve(scope: &Scope<'_>, name: &ast::TableName) -> Result<(Arc<Database>, Arc<Table>)> {
    let db_name = name.db.as_deref().or(scope.database).ok_or_else(SqlError::no_database)?;
    if crate::sql::meta::system_database(db_name).is_some() {
        return Err(SqlError::new(1044, format!("Access denied for user to database '{db_name}'")));
    }
    let db = crate::sql::meta::user_database(scope.catalog, db_name).ok_or_else(|| SqlError::unknown_database(db_name))?;
    let table = db.table(&name.name).ok_or_else(|| SqlError::unknown_table(&db.name, &name.name))?;
    Ok((db.clone(), table.clone()))
}

/// Positions (in `table.columns`) of the columns that the rows' values are for.
fn target_columns(table: &Table, insert: &ast::Insert) -> Result<Vec<usize>> {
    let named: Vec<&str> = match (&insert.columns, &insert.source) {
        (Some(names), _) => names.iter().map(String::as_str).collect(),
        (None, InsertSource::Set(items)) => items.iter().map(|i| i.column.as_str()).collect(),
        (None, _) => {
            let visible = |c: &&Column| !c.invisible;
            return Ok(table
                .columns
                .iter()
                .filter(visible)
                .map(|c| position(table, &c.name))
                .collect::<Option<_>>()
                .unwrap_or_default());
        }
    };
    let mut seen = HashSet::new();
    let mut out = Vec::with_capacity(named.len());
    for name in named {
        let at = position(table, name).ok_or_else(|| SqlError::unknown_column(name, "field list"))?;
        if !seen.insert(at) {
            return Err(SqlError::new(1110, format!("Column '{name}' specified twice")));
        }
        out.push(at);
    }
    // INSERT INTO t () VALUES ()
    Ok(out)
}

fn position(table: &Table, name: &str) -> Option<usize> {
    let id = table.column(name)?.id;
    table.columns.iter().position(|c| c.id == id)
}

fn source(scope: &Scope<'_>, insert: &ast::Insert, table: &Table, columns: &[usize], pins: &mut Pins) -> Result<Source> {
    match &insert.source {
        InsertSource::Values(rows) => {
            let mut out = Vec::with_capacity(rows.len());
            for (number, row) in rows.iter().enumerate() {
                // VALUES () means all defaults.
                if row.is_empty() && (insert.columns.is_none() || columns.is_empty()) {
                    out.push((0..columns.len()).map(|_| Cell::Default).collect());
                    continue;
                }
                if row.len() != columns.len() {
                    return Err(SqlError::new(
                        1136,
                        format!("Column count doesn't match value count at row {}", number + 1),
                    ));
                }
                out.push(
                    row.iter()
                        .zip(columns)
                        .map(|(e, c)| cell(scope, e, &table.columns[*c], pins))
                        .collect::<Result<_>>()?,
                );
            }
            Ok(Source::Values(out))
        }
        InsertSource::Set(items) => {
            let row = items
                .iter()
                .zip(columns)
                .map(|(i, c)| cell(scope, &i.value, &table.columns[*c], pins))
                .collect::<Result<_>>()?;
            Ok(Source::Values(vec![row]))
        }
        InsertSource::Query(query) => {
            let (lowered, named) = bind::source(scope, query, pins)?;
            if named.len() != columns.len() {
                return Err(SqlError::new(1136, "Column count doesn't match value count at row 1"));
            }
            if let Some(column) = columns.iter().map(|c| &table.columns[*c]).find(|c| c.generated.is_some()) {
                return Err(generated_given(column, table));
            }
            // Conservative: its name anywhere in the text means that rows must be read before the first is written.
            let reads_target = lowered.sql.to_lowercase().contains(&quote(&table.name).to_lowercase());
            Ok(Source::Query {
                lowered,
                types: named.into_iter().map(|(_, ty)| ty).collect(),
                reads_target,
            })
        }
    }
}

fn generated_given(column: &Column, table: &Table) -> SqlError {
    SqlError::new(
        3105,
        format!(
            "The value specified for generated column '{}' in table '{}' is not allowed.",
            column.name, table.name
        ),
    )
}

fn cell(scope: &Scope<'_>, expr: &Expr, column: &Column, pins: &mut Pins) -> Result<Cell> {
    if column.generated.is_some() && !matches!(expr, Expr::Default(None)) {
        return Err(SqlError::new(
            3105,
            format!("The value specified for generated column '{}' is not allowed.", column.name),
        ));
    }
    Ok(match expr {
        Expr::Default(None) => Cell::Default,
        Expr::Default(Some(name)) if name.eq_ignore_ascii_case(&column.name) => Cell::Default,
        Expr::Literal { value, slot } if plain(value) => constant(value, *slot, false),
        Expr::Unary { op: UnaryOp::Minus, expr } => match &**expr {
            Expr::Literal {
                value: value @ (Literal::Integer(_) | Literal::Decimal(_) | Literal::Float(_)),
                slot,
            } => constant(value, *slot, true),
            _ => expression(
                scope,
                &Expr::Unary {
                    op: UnaryOp::Minus,
                    expr: expr.clone(),
                },
                pins,
            )?,
        },
        Expr::Param(index) => Cell::Param(*index),
        other => expression(scope, other, pins)?,
    })
}

/// Literals that are converted without asking the binder (introducers of other charsets go through it).
fn plain(value: &Literal) -> bool {
    match value {
        Literal::String { charset, .. } | Literal::Hex { charset, .. } | Literal::Bits { charset, .. } => charset.is_none(),
        _ => true,
    }
}

fn constant(value: &Literal, slot: u32, negative: bool) -> Cell {
    if slot == NO_SLOT {
        Cell::Constant(value.clone(), negative)
    } else {
        Cell::Slot(slot, negative)
    }
}

/// An expression over no table, as a query of one value.
fn expression(scope: &Scope<'_>, expr: &Expr, pins: &mut Pins) -> Result<Cell> {
    let (lowered, ty) = lone(scope, expr, pins)?;
    Ok(Cell::Expr(lowered, Box::new(ty)))
}

fn lone(scope: &Scope<'_>, expr: &Expr, pins: &mut Pins) -> Result<(Lowered, Ty)> {
    let mut binder = Binder::new(scope);
    let (sql, ty) = binder.expr(expr, "field list")?;
    pins.0.extend(&binder.pins.0);
    let mut lowered = binder.out;
    lowered.sql = format!("SELECT {sql}");
    Ok((lowered, ty))
}

fn fallback(scope: &Scope<'_>, table: &Table, column: &Column) -> Result<Fallback> {
    if column.auto_increment {
        return Ok(Fallback::Auto);
    }
    Ok(match &column.default {
        DefaultValue::Null => Fallback::Value(Value::Null),
        DefaultValue::None if column.nullable => Fallback::Value(Value::Null),
        // The first label is an ENUM's own default.
        DefaultValue::None if column.ty.base == BaseType::Enum => Fallback::Value(Value::Int(1)),
        DefaultValue::None => Fallback::Missing(implicit(column)),
        DefaultValue::Literal(text) => Fallback::Value(literal_default(table, column, text)?),
        DefaultValue::Bytes(bytes) => Fallback::Value(stored(table, column, Input::Bytes(bytes))?),
        DefaultValue::Now => Fallback::Now,
        DefaultValue::Expr(text) => {
            let own = OwnText::parse(scope, text)?;
            let (mut lowered, ty) = lone(scope, &own.expr, &mut Pins::default())?;
            own.freeze(&mut lowered.args)?;
            Fallback::Expr(lowered, Box::new(ty))
        }
    })
}

/// An expression that stands in the catalog: its literals are its own, not the statement's.
struct OwnText {
    text: Vec<u8>,
    expr: Expr,
    literals: Vec<ast::Span>,
    mode: crate::sql::lex::LexMode,
}

impl OwnText {
    fn parse(scope: &Scope<'_>, expr: &str) -> Result<OwnText> {
        let (text, mode) = (format!("DO {expr}").into_bytes(), scope.mode.into());
        let parsed = parse::parse_one(&text, mode)?;
        match parsed.statement {
            ast::Statement::Do(mut list) if list.len() == 1 => Ok(OwnText {
                text,
                expr: list.swap_remove(0),
                literals: parsed.literals,
                mode,
            }),
            _ => Err(SqlError::internal("a default in the catalog is no expression")),
        }
    }
    /// Its literals become constants.
    fn freeze(&self, args: &mut [Arg]) -> Result<()> {
        for arg in args {
            if let Arg::Slot { slot, ty, how } = arg {
                let literal = literal_at(&self.text, &self.literals, *slot, self.mode)?;
                *arg = Arg::Constant(literal_value(&literal, ty, *how, 0)?);
            }
        }
        Ok(())
    }
}

fn literal_default(table: &Table, column: &Column, text: &str) -> Result<Value> {
    stored(table, column, Input::Text(text.as_bytes().into()))
}

fn stored(table: &Table, column: &Column, input: Input<'_>) -> Result<Value> {
    store(&column.ty, input, &StoreMode::LENIENT, &mut None)
        .map_err(|e| SqlError::new(e.code(), format!("{} (default of `{}`)", e.message(&column.name, 1), table.name)))
}

/// MySQL's implicit default of a NOT NULL column.
pub fn implicit(column: &Column) -> Value {
    use BaseType::*;
    let zero = match column.ty.base {
        Char | VarChar | TinyText | Text | MediumText | LongText => Input::Text(b"".as_slice().into()),
        Binary | VarBinary | TinyBlob | Blob | MediumBlob | LongBlob | Vector => Input::Bytes(b""),
        Date => return Value::Text(b"0000-00-00".to_vec()),
        DateTime | Timestamp => return Value::Text(zero_datetime(column.ty.decimals.unwrap_or(0))),
        Enum => return Value::Int(1),
        Json => Input::Json(b"null"),
        Time => Input::Time(0),
        _ => Input::Int(0),
    };
    store(&column.ty, zero, &StoreMode::LENIENT, &mut None).unwrap_or(Value::Null)
}

fn zero_datetime(decimals: u8) -> Vec<u8> {
    let fraction = if decimals > 0 {
        format!(".{}", "0".repeat(usize::from(decimals)))
    } else {
        String::new()
    };
    format!("0000-00-00 00:00:00{fraction}").into_bytes()
}

/// ` ON CONFLICT DO UPDATE SET …`.
fn upsert(binder: &mut Binder<'_>, insert: &ast::Insert, db: &Arc<Database>, table: &Arc<Table>) -> Result<String> {
    if insert.on_duplicate.is_empty() {
        return Ok(String::new());
    }
    let alias = insert.row_alias.as_ref().map(|(name, _)| name.as_str());
    if insert.row_alias.as_ref().is_some_and(|(_, columns)| !columns.is_empty()) {
        return Err(SqlError::unsupported("column aliases of the new row (AS new(a, b))"));
    }
    binder.add_table(db, table, alias, "excluded");
    let parts = assignments(binder, &insert.on_duplicate, table, &quote(&table.name))?;
    Ok(format!(" ON CONFLICT DO UPDATE SET {}", parts.join(", ")))
}

/// `"c" = value` for each assignment, from left to right as MySQL: a later one sees what an earlier one set. `qualifier`: how
/// SQLite's text calls the table.
pub fn assignments(binder: &mut Binder<'_>, items: &[SetItem], table: &Table, qualifier: &str) -> Result<Vec<String>> {
    let mut set: Vec<(String, String, String)> = Vec::new();
    for item in items {
        let column = table
            .column(&item.column)
            .ok_or_else(|| SqlError::unknown_column(&item.column, "field list"))?;
        if column.generated.is_some() && !matches!(item.value, Expr::Default(None)) {
            return Err(generated_given(column, table));
        }
        let own = format!("{qualifier}.{}", quote(&column.name));
        let mut value = match &item.value {
            Expr::Default(None) => default_sql(binder, table, column)?,
            value => {
                let (sql, ty) = binder.expr(value, "field list")?;
                binder.assign(&sql, &ty, column)?
            }
        };
        for (name, _, earlier) in &set {
            value = value.replace(name.as_str(), earlier);
        }
        set.retain(|(name, _, _)| *name != own);
        set.push((own, quote(&column.name), format!("({value})")));
    }
    if let Some(touched) = update_timestamps(binder, table, qualifier, &set) {
        set.extend(touched);
    }
    Ok(set.into_iter().map(|(_, name, value)| format!("{name} = {value}")).collect())
}

/// ON UPDATE CURRENT_TIMESTAMP: only when something else really changes.
fn update_timestamps(
    binder: &mut Binder<'_>,
    table: &Table,
    qualifier: &str,
    set: &[(String, String, String)],
) -> Option<Vec<(String, String, String)>> {
    let changed: Vec<String> = set.iter().map(|(own, _, value)| format!("{own} IS NOT {value}")).collect();
    let columns = table
        .columns
        .iter()
        .filter(|c| c.on_update_now && !set.iter().any(|(_, name, _)| *name == quote(&c.name)));
    let out: Vec<_> = columns
        .map(|column| {
            let own = format!("{qualifier}.{}", quote(&column.name));
            binder.out.args.push(Arg::Context(now(column)));
            let value = format!("CASE WHEN {} THEN ?{} ELSE {own} END", changed.join(" OR "), binder.out.args.len());
            (own, quote(&column.name), value)
        })
        .collect();
    (!out.is_empty() && !set.is_empty()).then_some(out)
}

/// The time that a column takes by itself: TIMESTAMP is stored in UTC.
pub fn now(column: &Column) -> Context {
    let decimals = column.ty.decimals.unwrap_or(0);
    if column.ty.base == BaseType::Timestamp {
        Context::UtcNow(decimals)
    } else {
        Context::Now(decimals)
    }
}

/// `SET c = DEFAULT`.
fn default_sql(binder: &mut Binder<'_>, table: &Table, column: &Column) -> Result<String> {
    let arg = match &column.default {
        DefaultValue::Now => Arg::Context(now(column)),
        DefaultValue::Expr(text) => {
            let own = OwnText::parse(binder.scope, text)?;
            let before = binder.out.args.len();
            let (sql, ty) = binder.expr(&own.expr, "field list")?;
            own.freeze(&mut binder.out.args[before..])?;
            return binder.assign(&sql, &ty, column);
        }
        DefaultValue::Literal(text) => Arg::Constant(literal_default(table, column, text)?),
        DefaultValue::Bytes(bytes) => Arg::Constant(stored(table, column, Input::Bytes(bytes))?),
        DefaultValue::Null => Arg::Constant(Value::Null),
        DefaultValue::None if column.nullable => Arg::Constant(Value::Null),
        DefaultValue::None => return Err(SqlError::new(1364, format!("Field '{}' doesn't have a default value", column.name))),
    };
    binder.out.args.push(arg);
    Ok(format!("?{}", binder.out.args.len()))
}
