//! A statement's rows, converted as far as they can be before the lane is asked.

use std::borrow::Cow;

use starling_apply::types::store::{Input, Issue, StoreMode, store};
use starling_apply::types::temporal::DateRules;
use starling_apply::{BaseType, Column, Table};
use starling_log::Value;

use crate::sql::ast::Literal;
use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::{self, Level};
use crate::sql::result::Param;
use crate::sql::session::{Inputs, Session, args, input};

use super::{Cell, Fallback, InsertPlan, Source};

/// Rows converted on a runtime worker before others get their turn.
const ROWS_IN_PLACE: usize = 64;

/// What the lane's job carries: values, or what it has to ask SQLite for.
pub struct Rows {
    pub source: Ready,
    /// Arguments of ON DUPLICATE KEY UPDATE.
    pub extra: Vec<Value>,
    /// One for each target: the session's moment for DEFAULT CURRENT_TIMESTAMP, arguments of expressions.
    pub defaults: Vec<DefaultReady>,
    pub mode: StoreMode,
}

pub enum Ready {
    /// Row after row, `width` values each.
    Values {
        width: usize,
        values: Vec<Given>,
    },
    Query(Vec<Value>),
}

/// A value of a VALUES list, ready to be bound or to be asked for.
pub enum Given {
    Value(Value),
    Default,
    /// Arguments of the cell's expression.
    Ask(Vec<Value>),
}

pub enum DefaultReady {
    Value(Value),
    Ask(Vec<Value>),
    Missing(Value),
    Auto,
}

impl InsertPlan {
    /// Converts what is constant; `Err` is the error of the first bad row.
    pub fn rows(&self, session: &Session, inputs: &Inputs<'_>) -> Result<Rows> {
        let mode = store_mode(session);
        let defaults = self
            .targets
            .iter()
            .map(|t| self.default_ready(session, inputs, &t.default, t.column))
            .collect::<Result<_>>()?;
        let source = match &self.source {
            Source::Query { lowered, .. } => Ready::Query(args::values(session, &lowered.args, inputs)?),
            Source::Values(rows) if rows.len() > ROWS_IN_PLACE => {
                tokio::task::block_in_place(|| self.convert(session, rows, inputs, &mode))?
            }
            Source::Values(rows) => self.convert(session, rows, inputs, &mode)?,
        };
        Ok(Rows {
            source,
            extra: args::values(session, &self.extra, inputs)?,
            defaults,
            mode,
        })
    }

    fn default_ready(&self, session: &Session, inputs: &Inputs<'_>, fallback: &Fallback, column: usize) -> Result<DefaultReady> {
        Ok(match fallback {
            Fallback::Value(value) => DefaultReady::Value(value.clone()),
            Fallback::Missing(value) => DefaultReady::Missing(value.clone()),
            Fallback::Auto => DefaultReady::Auto,
            Fallback::Now => {
                let arg = crate::sql::plan::Arg::Context(super::now(&self.table.columns[column]));
                DefaultReady::Value(args::values(session, &[arg], inputs)?.swap_remove(0))
            }
            Fallback::Expr(lowered, _) => DefaultReady::Ask(args::values(session, &lowered.args, inputs)?),
        })
    }

    fn convert(&self, session: &Session, rows: &[Vec<Cell>], inputs: &Inputs<'_>, mode: &StoreMode) -> Result<Ready> {
        let width = rows.first().map_or(0, Vec::len);
        let columns = self.given_columns(width);
        let mut values = Vec::with_capacity(rows.len() * width);
        for (number, row) in rows.iter().enumerate() {
            for (cell, column) in row.iter().zip(&columns) {
                let place = Place {
                    table: &self.table,
                    column: &self.table.columns[*column],
                    row: number as u64 + 1,
                };
                values.push(match cell {
                    Cell::Default => Given::Default,
                    Cell::Constant(literal, negative) => Given::Value(place.literal(literal, *negative, mode)?),
                    Cell::Slot(slot, negative) => Given::Value(place.literal(&(inputs.literal)(*slot)?, *negative, mode)?),
                    Cell::Param(index) => Given::Value(place.param(inputs.params.get(*index as usize), mode)?),
                    Cell::Expr(lowered, _) => Given::Ask(args::values(session, &lowered.args, inputs)?),
                });
            }
        }
        Ok(Ready::Values { width, values })
    }

    /// By position in a row: the column (position in the table) that it is for.
    fn given_columns(&self, width: usize) -> Vec<usize> {
        let mut columns = vec![0; width];
        for target in &self.targets {
            if let Some(given) = target.given.filter(|g| *g < width) {
                columns[given] = target.column;
            }
        }
        columns
    }
}

pub fn store_mode(session: &Session) -> StoreMode {
    let settings = session.settings();
    StoreMode {
        strict: settings.mode.strict,
        dates: DateRules {
            no_zero_date: settings.mode.no_zero_date,
            no_zero_in_date: settings.mode.no_zero_in_date,
            allow_invalid: settings.mode.allow_invalid_dates,
        },
        zone_seconds: args::zone_seconds(&settings.time_zone) as i32,
    }
}

/// Where a value is going, for messages.
pub struct Place<'a> {
    pub table: &'a Table,
    pub column: &'a Column,
    pub row: u64,
}

impl Place<'_> {
    /// Converts for the column; issues become this thread's warnings.
    pub fn store(&self, input: Input<'_>, mode: &StoreMode) -> Result<Value> {
        let mut issue = None;
        let value =
            store(&self.column.ty, input, mode, &mut issue).map_err(|e| SqlError::new(e.code(), e.message(&self.name(), self.row)))?;
        if let Some(Issue { error, note }) = issue {
            let level = if note { Level::Note } else { Level::Warning };
            context::warn(level, error.code(), error.message(&self.name(), self.row));
        }
        Ok(value)
    }
    /// JSON's messages name the table too.
    fn name(&self) -> Cow<'_, str> {
        if self.column.ty.base == BaseType::Json {
            format!("{}.{}", self.table.name, self.column.name).into()
        } else {
            self.column.name.as_str().into()
        }
    }
    fn literal(&self, literal: &Literal, negative: bool, mode: &StoreMode) -> Result<Value> {
        match literal {
            Literal::Hex { bytes, .. } | Literal::Bits { bytes, .. } => self.store(binary(self.column, bytes), mode),
            other => self.store(input::literal(other, negative, &mut input::Digits::new()), mode),
        }
    }
    fn param(&self, param: Option<&Param>, mode: &StoreMode) -> Result<Value> {
        let param = param.ok_or_else(|| SqlError::new(1210, "Incorrect arguments to EXECUTE"))?;
        self.store(input::param(param, !self.column.ty.is_binary()), mode)
    }
}

/// Hexadecimal and bit literals are numbers for number columns, bytes for all others.
fn binary<'a>(column: &Column, bytes: &'a [u8]) -> Input<'a> {
    let number = column.ty.is_integer()
        || matches!(
            column.ty.base,
            BaseType::Decimal | BaseType::Float | BaseType::Double | BaseType::Bit
        );
    if !number || bytes.len() > 8 {
        return Input::Bytes(bytes);
    }
    let value = bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    i64::try_from(value).map_or(Input::UInt(value), Input::Int)
}
