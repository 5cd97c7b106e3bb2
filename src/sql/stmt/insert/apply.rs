//! The lane's side of INSERT: defaults, numbers, hidden keys; one prepared statement, run once a row.

mod numbers;

use rusqlite::Statement;
use starling_apply::lane::Try;
use starling_apply::types::store::from_stored;
use starling_log::{Row, Value, ValueRef};

use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::{self, Level};
use crate::sql::session::args::{self, Bind};
use crate::sql::session::errors::from_sqlite;
use crate::sql::stmt::duplicate::{self, Violated, violated};
use crate::sql::stmt::select::{borrow, collect};
use crate::sql::stmt::write::{JobSettings, Outcome};

use super::rows::{DefaultReady, Given, Place, Ready, Rows};
use super::{Cell, Fallback, InsertPlan, Mode, Source};

/// One statement's work on the lane.
struct Run<'p, 'l, 't> {
    plan: &'p InsertPlan,
    lane: &'l mut Try<'t>,
    rows: &'p Rows,
    settings: JobSettings,
    outcome: Outcome,
    number: u64,
    records: u64,
    duplicates: u64,
    generated: numbers::Generated,
}

/// What a column is about to hold: a value, or nothing given.
enum Held<'a> {
    Given(&'a Value),
    Made(Value),
    Default,
}

/// A row holds the generated number already.
struct Taken;

impl InsertPlan {
    pub fn apply(&self, lane: &mut Try<'_>, rows: &Rows, settings: JobSettings) -> Result<Outcome> {
        let connection = lane.connection;
        let mut statement = connection.prepare_cached(&self.sql).map_err(|e| from_sqlite(&e))?;
        let mut run = Run {
            plan: self,
            lane,
            rows,
            settings,
            outcome: Outcome::default(),
            number: 0,
            records: 0,
            duplicates: 0,
            generated: numbers::Generated::default(),
        };
        match (&self.source, &rows.source) {
            (Source::Values(cells), Ready::Values { width, values }) => {
                for (at, shape) in cells.iter().enumerate() {
                    run.values_row(&mut statement, shape, &values[at * width..(at + 1) * width])?;
                }
            }
            (
                Source::Query {
                    lowered,
                    types,
                    reads_target,
                },
                Ready::Query(arguments),
            ) => {
                run.query_rows(&mut statement, &lowered.sql, arguments, types, *reads_target)?;
            }
            _ => return Err(SqlError::internal("plan and rows do not fit")),
        }
        Ok(run.finish())
    }
}

impl Run<'_, '_, '_> {
    fn values_row(&mut self, statement: &mut Statement<'_>, shape: &[Cell], given: &[Given]) -> Result<()> {
        self.number += 1;
        let plan = self.plan;
        let mut held = Vec::with_capacity(plan.targets.len());
        for target in &plan.targets {
            held.push(match target.given.map(|g| (&given[g], &shape[g])) {
                None | Some((Given::Default, _)) => Held::Default,
                Some((Given::Value(value), _)) => Held::Given(value),
                Some((Given::Ask(arguments), Cell::Expr(lowered, ty))) => {
                    let value = self.ask(&lowered.sql, arguments)?;
                    Held::Made(
                        self.place(target.column)
                            .store(from_stored(&ty.ty, value.as_ref()), &self.rows.mode)?,
                    )
                }
                Some(_) => return Err(SqlError::internal("a value has no expression")),
            });
        }
        self.row(statement, held)
    }

    fn query_rows(
        &mut self,
        statement: &mut Statement<'_>,
        sql: &str,
        arguments: &[Value],
        types: &[crate::sql::types::Ty],
        reads_target: bool,
    ) -> Result<()> {
        let connection = self.lane.connection;
        if reads_target {
            // Read all before the first is written.
            let rows = collect(connection, sql, arguments, u64::MAX)?;
            for row in &rows {
                let values: Vec<ValueRef<'_>> = row.as_ref().iter().collect();
                self.query_row(statement, &values, types)?;
            }
            return Ok(());
        }
        let mut source = connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
        args::bind(&mut source, arguments).map_err(|e| from_sqlite(&e))?;
        let mut rows = source.raw_query();
        while let Some(row) = rows.next().map_err(|e| from_sqlite(&e))? {
            let values: Vec<ValueRef<'_>> = (0..types.len())
                .map(|i| row.get_ref(i).map(borrow))
                .collect::<rusqlite::Result<_>>()
                .map_err(|e| from_sqlite(&e))?;
            self.query_row(statement, &values, types)?;
        }
        Ok(())
    }

    fn query_row(&mut self, statement: &mut Statement<'_>, values: &[ValueRef<'_>], types: &[crate::sql::types::Ty]) -> Result<()> {
        self.number += 1;
        let plan = self.plan;
        let mut held = Vec::with_capacity(plan.targets.len());
        for target in &plan.targets {
            held.push(match target.given {
                None => Held::Default,
                Some(at) => Held::Made(
                    self.place(target.column)
                        .store(from_stored(&types[at].ty, values[at]), &self.rows.mode)?,
                ),
            });
        }
        self.row(statement, held)
    }

    fn place(&self, column: usize) -> Place<'_> {
        Place {
            table: &self.plan.table,
            column: &self.plan.table.columns[column],
            row: self.number,
        }
    }

    /// The one value of a query over no table.
    fn ask(&self, sql: &str, arguments: &[Value]) -> Result<Value> {
        let mut statement = self.lane.connection.prepare_cached(sql).map_err(|e| from_sqlite(&e))?;
        args::bind(&mut statement, arguments).map_err(|e| from_sqlite(&e))?;
        let mut rows = statement.raw_query();
        let row = rows.next().map_err(|e| from_sqlite(&e))?;
        let value = row.map(|r| r.get_ref(0)).transpose().map_err(|e| from_sqlite(&e))?;
        Ok(value.map(borrow).and_then(ValueRef::to_owned).unwrap_or(Value::Null))
    }

    /// Completes a row and inserts it.
    fn row(&mut self, statement: &mut Statement<'_>, mut held: Vec<Held<'_>>) -> Result<()> {
        self.records += 1;
        let mut generated = None;
        let mut numbered = 0;
        for (at, slot) in held.iter_mut().enumerate() {
            let target = &self.plan.targets[at];
            let column = &self.plan.table.columns[target.column];
            if column.auto_increment {
                generated = self.number_row(slot)?;
                numbered = at;
                continue;
            }
            if matches!(slot, Held::Default) {
                *slot = Held::Made(self.default(at)?);
            }
            let null = matches!(slot, Held::Given(Value::Null) | Held::Made(Value::Null));
            if null && !column.nullable {
                *slot = Held::Made(self.null_into(at)?);
            }
        }
        while let Err(Taken) = self.insert(statement, &held, generated)? {
            generated = Some(self.draw(&mut held[numbered])?);
        }
        Ok(())
    }

    fn default(&self, at: usize) -> Result<Value> {
        let target = &self.plan.targets[at];
        let column = &self.plan.table.columns[target.column];
        match (&self.rows.defaults[at], &target.default) {
            (DefaultReady::Value(value), _) => Ok(value.clone()),
            (DefaultReady::Ask(arguments), Fallback::Expr(lowered, ty)) => {
                let value = self.ask(&lowered.sql, arguments)?;
                self.place(target.column)
                    .store(from_stored(&ty.ty, value.as_ref()), &self.rows.mode)
            }
            (DefaultReady::Missing(implicit), _) => {
                let message = format!("Field '{}' doesn't have a default value", column.name);
                if self.rows.mode.strict && self.plan.mode != Mode::Ignore {
                    return Err(SqlError::new(1364, message));
                }
                context::warn(Level::Warning, 1364, message);
                Ok(implicit.clone())
            }
            _ => Ok(Value::Null),
        }
    }

    /// NULL for a NOT NULL column: an error, but a warning where MySQL clips (IGNORE, several rows without strict mode).
    fn null_into(&self, at: usize) -> Result<Value> {
        let column = &self.plan.table.columns[self.plan.targets[at].column];
        let error = duplicate::cannot_be_null(&column.name);
        let many = match &self.rows.source {
            Ready::Values { width, values } => values.len() > *width,
            Ready::Query(_) => true,
        };
        if self.plan.mode == Mode::Ignore || (!self.rows.mode.strict && many) {
            context::warn(Level::Warning, error.code, error.message.clone());
            return Ok(super::implicit(column));
        }
        Err(error)
    }

    /// `Err` inside: its generated number is taken.
    fn insert(
        &mut self,
        statement: &mut Statement<'_>,
        held: &[Held<'_>],
        generated: Option<u64>,
    ) -> Result<std::result::Result<(), Taken>> {
        let bound = self.bind(statement, held);
        bound.map_err(|e| from_sqlite(&e))?;
        let mark = self.lane.mark();
        let returned = &mut self.outcome.returned;
        let stepped = (|| -> rusqlite::Result<()> {
            let width = statement.column_count();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                let mut packed = Row::new();
                for i in 0..width {
                    packed.push(borrow(row.get_ref(i)?));
                }
                returned.push(packed);
            }
            Ok(())
        })();
        if let Err(error) = stepped {
            if generated.is_some() && self.is_number_taken(&error)? {
                return Ok(Err(Taken));
            }
            return self.violated(held, &error).map(Ok);
        }
        let counts = self.lane.counts_since(mark);
        self.outcome.affected += match self.plan.mode {
            Mode::Upsert if counts.inserted == 0 => {
                self.duplicates += 1;
                match (counts.updated > 0, self.settings.found_rows) {
                    (true, _) => 2,
                    (false, found_rows) => u64::from(found_rows),
                }
            }
            Mode::Replace => {
                self.duplicates += counts.deleted;
                counts.inserted + counts.deleted
            }
            _ => 1,
        };
        if let Some(number) = generated.filter(|_| counts.inserted > 0) {
            self.outcome.generated.get_or_insert(number);
            self.outcome.insert_id = self.outcome.generated.unwrap_or(number);
        }
        Ok(Ok(()))
    }

    fn bind(&mut self, statement: &mut Statement<'_>, held: &[Held<'_>]) -> rusqlite::Result<()> {
        let mut at = 0;
        if self.plan.table.primary().is_none() {
            at += 1;
            statement.raw_bind_parameter(at, self.lane.next_hidden(self.plan.table.id))?;
        }
        for slot in held {
            at += 1;
            match slot {
                Held::Given(value) => statement.raw_bind_parameter(at, Bind(value))?,
                Held::Made(value) => statement.raw_bind_parameter(at, Bind(value))?,
                Held::Default => statement.raw_bind_parameter(at, Bind(&Value::Null))?,
            }
        }
        for value in &self.rows.extra {
            at += 1;
            statement.raw_bind_parameter(at, Bind(value))?;
        }
        Ok(())
    }

    /// A constraint said no: MySQL's error, or (IGNORE) a warning and the next row.
    fn violated(&mut self, held: &[Held<'_>], error: &rusqlite::Error) -> Result<()> {
        let table = &self.plan.table;
        let value = |id: u32| {
            let at = self.plan.targets.iter().position(|t| table.columns[t.column].id == id)?;
            match &held[at] {
                Held::Given(value) => Some((*value).clone()),
                Held::Made(value) => Some(value.clone()),
                Held::Default => None,
            }
        };
        let explained = match violated(table, error) {
            Some(Violated::Unique(index)) => duplicate::duplicate_entry(table, index, value),
            Some(Violated::NotNull(column)) => duplicate::cannot_be_null(&column.name),
            Some(Violated::Check(name)) => duplicate::check_violated(&name),
            Some(Violated::ForeignKey) => match self.lane.catalog.database_by_id(table.db) {
                Some(db) => duplicate::no_parent(self.lane.connection, db, table, value),
                None => from_sqlite(error),
            },
            _ => return Err(from_sqlite(error)),
        };
        if self.plan.mode == Mode::Ignore {
            self.duplicates += 1;
            context::warn(Level::Warning, explained.code, explained.message);
            return Ok(());
        }
        Err(explained)
    }

    fn finish(mut self) -> Outcome {
        let many = match &self.rows.source {
            Ready::Values { width, values } => values.len() > (*width).max(1),
            Ready::Query(_) => true,
        };
        if many {
            self.outcome.info = format!("Records: {}  Duplicates: {}  Warnings: {{w}}", self.records, self.duplicates);
        }
        self.outcome
    }
}
