//! AUTO_INCREMENT of an INSERT: which rows draw a number, and what becomes of numbers that are taken or used up.
//!
//! | the type's last number is out | MySQL hears |
//! |---|---|
//! | the statement's first number | 1062 for that last number, if it is there (a node that is alone gives it out again) |
//! | a later one of the statement, strict mode | 1264 |
//! | BIGINT UNSIGNED; among several nodes, where nobody has the last number in a row | 1467 |
//!
//! Promises: a number that another row holds already (an explicit one of another node, say) is skipped, so that no generated number
//! ever updates, replaces or drops a row. Must not know: where numbers come from.

use starling_apply::catalog::IndexKind;
use starling_apply::lane::NoNumber;
use starling_apply::numbers::{counted, ends_hard, type_max};
use starling_apply::types::store::{Input, StoreMode};
use starling_apply::{BaseType, Column, Index};
use starling_log::Value;

use crate::sql::error::{Result, SqlError};
use crate::sql::session::errors::{from_sqlite, no_number};
use crate::sql::stmt::duplicate::{Violated, violated};
use crate::sql::stmt::write::{qualified, quote};

use super::{Held, InsertPlan, Mode, Place, Ready, Run};

/// A query's rows are asked for in twice as many numbers each time it runs again.
const QUERY_GROWS: i64 = 2;

/// What a statement's numbers have come to.
#[derive(Default)]
pub(super) struct Generated {
    count: i64,
    /// The type's last number was given out: behind it there is none to skip to.
    last: bool,
    /// Looks for a row that holds a number already; empty: nothing forbids two of them.
    taken: Option<String>,
}

impl<'p> Run<'p, '_, '_> {
    /// NULL, nothing and (usually) 0 draw the next number, anything else pushes the counter.
    pub(super) fn number_row(&mut self, slot: &mut Held<'_>) -> Result<Option<u64>> {
        let explicit = match &*slot {
            Held::Given(value) => Some(*value),
            Held::Made(value) => Some(value),
            Held::Default => None,
        };
        let draws = match explicit {
            None | Some(Value::Null) => true,
            Some(Value::Int(0)) => !self.settings.zero_is_value,
            Some(Value::Real(number)) => *number == 0.0 && !self.settings.zero_is_value,
            _ => false,
        };
        if draws {
            return self.draw(slot).map(Some);
        }
        if let Some(value) = explicit {
            if let Some(number) = counted(value.as_ref()) {
                self.lane.push_auto(self.plan.table.id, number);
            }
            // The OK packet carries an explicit number, too, if none was generated.
            if self.outcome.generated.is_none() {
                self.outcome.insert_id = shown(value).unwrap_or(self.outcome.insert_id);
            }
        }
        Ok(None)
    }

    /// Fills in the next number that no row holds.
    pub(super) fn draw(&mut self, slot: &mut Held<'_>) -> Result<u64> {
        let column = self.auto_column()?;
        let number = self.generate(column)?;
        let place = Place {
            table: &self.plan.table,
            column,
            row: self.number,
        };
        *slot = Held::Made(place.store(Input::Int(number), &StoreMode::STRICT).map_err(|_| no_number())?);
        Ok(number as u64)
    }

    /// Was the row refused because its generated number is taken, so that the next one may do? (Not where it is the last one.)
    pub(super) fn is_number_taken(&self, error: &rusqlite::Error) -> Result<bool> {
        if self.plan.mode != Mode::Plain || self.generated.last {
            return Ok(false);
        }
        let column = self.auto_column()?;
        Ok(matches!(violated(&self.plan.table, error), Some(Violated::Unique(index)) if holds(index, column)))
    }

    fn auto_column(&self) -> Result<&'p Column> {
        let plan: &'p InsertPlan = self.plan;
        plan.table
            .auto_column()
            .ok_or_else(|| SqlError::internal("no AUTO_INCREMENT column"))
    }

    fn generate(&mut self, column: &Column) -> Result<i64> {
        let (table, rule) = (self.plan.table.id, self.settings.numbers);
        if rule.compact && column.ty.base != BaseType::BigInt {
            let what = format!(
                "starling_auto_increment_mode = 'compact' for a column narrower than BIGINT: {}",
                column.name
            );
            return Err(SqlError::unsupported(what));
        }
        let rows = self.rows_to_come();
        if self.generated.count == 0
            && rows > 1
            && let Err(none) = self.lane.reserve_auto(table, rows, rule)
        {
            return self.none(column, none);
        }
        loop {
            let number = match self.lane.next_auto(table, rule) {
                Ok(number) => number,
                Err(none) => return self.none(column, none),
            };
            let last = number >= type_max(column);
            // A plain INSERT finds out by itself.
            if self.plan.mode == Mode::Plain || !self.holds_number(column, number)? {
                self.generated.count += 1;
                self.generated.last |= last;
                return Ok(number);
            }
            if last {
                return self.used_up(column, number, false);
            }
            self.generated.count += 1;
        }
    }

    /// Rows of a VALUES list from this one on.
    fn rows_to_come(&self) -> i64 {
        match &self.rows.source {
            Ready::Values { width, values } => {
                let all = values.len().checked_div(*width).unwrap_or(1);
                i64::try_from(all).unwrap_or(i64::MAX) - self.number.cast_signed() + 1
            }
            Ready::Query(_) => 1,
        }
    }

    fn none(&mut self, column: &Column, none: NoNumber) -> Result<i64> {
        match none {
            NoNumber::Short(_) => {
                // Nobody sees this error: the statement runs again when there are more.
                let more = self.generated.count * QUERY_GROWS;
                if more > 0 && matches!(self.rows.source, Ready::Query(_)) {
                    let _ = self.lane.reserve_auto(self.plan.table.id, more, self.settings.numbers);
                }
                Err(no_number())
            }
            NoNumber::UsedUp { max, again } => self.used_up(column, max, again),
            NoNumber::NoCompact => Err(SqlError::unsupported(
                "starling_auto_increment_mode = 'compact' on a node of more than 512 that were ever admitted, or after 2093",
            )),
            NoNumber::Unsaved => Err(SqlError::internal("the log could not save how far compact numbers are given out")),
            NoNumber::Unknown => Err(SqlError::internal("the table of an AUTO_INCREMENT number is gone")),
        }
    }

    fn used_up(&mut self, column: &Column, max: i64, again: bool) -> Result<i64> {
        if self.generated.count > 0 && self.rows.mode.strict && !ends_hard(column) {
            let message = format!("Out of range value for column '{}' at row {}", column.name, self.number);
            return Err(SqlError::new(1264, message));
        }
        let refused = matches!(self.plan.mode, Mode::Plain | Mode::Ignore);
        if again || (refused && !ends_hard(column) && self.holds_number(column, max)?) {
            self.generated.last = true;
            self.generated.count += 1;
            return Ok(max);
        }
        Err(no_number())
    }

    /// Does a row hold this number, where there may be one only?
    fn holds_number(&mut self, column: &Column, number: i64) -> Result<bool> {
        let table = &self.plan.table;
        let sql = self.generated.taken.get_or_insert_with(|| {
            if table.indexes.iter().any(|i| holds(i, column)) {
                let name = qualified(&self.plan.db, &table.name);
                format!("SELECT 1 FROM {name} WHERE {} = ?1 LIMIT 1", quote(&column.name))
            } else {
                String::new()
            }
        });
        if sql.is_empty() {
            return Ok(false);
        }
        let found = self.lane.connection.prepare_cached(sql).and_then(|mut s| s.exists([number]));
        found.map_err(|e| from_sqlite(&e))
    }
}

/// Is it an index in which one number can stand once?
fn holds(index: &Index, column: &Column) -> bool {
    matches!(index.kind, IndexKind::Primary | IndexKind::Unique) && index.parts.iter().any(|p| p.column == column.id)
}

/// An explicit number as the OK packet has it.
fn shown(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => Some(*number as u64),
        Value::Text(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}
