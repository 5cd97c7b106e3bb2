//! Reads that nobody knows to be quick: tried on the connection's own thread first, because most are.
//!
//! Promises: what takes longer than [`BUDGET`] goes on (or begins anew, if nothing was sent) where blocking is allowed, so no read
//! holds a runtime worker for more than about a millisecond; handing every read over would cost more than most of them take.
//! Must not know: sessions, transactions.

use rusqlite::{Connection, Rows, Statement};
use smallvec::SmallVec;
use starling_apply::budget::Budget;
use starling_log::{Value, ValueRef};

use crate::sql::error::{Result, SqlError};
use crate::sql::func::context;
use crate::sql::plan::SelectPlan;
use crate::sql::result::Sink;
use crate::sql::session::args;
use crate::sql::session::errors::from_sqlite;

use super::select::borrow;

/// Steps of SQLite's virtual machine: a few thousand rows at most.
const BUDGET: i32 = 20_000;

/// One read.
pub struct Read<'a> {
    pub connection: &'a Connection,
    pub plan: &'a SelectPlan,
    pub values: &'a [Value],
    pub limit: u64,
}

/// How far a walk got.
enum Reached {
    End(u64),
    /// The sink wants to send first.
    Full,
}

impl Read<'_> {
    /// `blocking` runs what it is given where it may block. Counts the rows.
    pub fn run(
        &self,
        sink: &mut dyn Sink,
        may_try: bool,
        blocking: impl FnOnce(&mut dyn FnMut() -> Result<u64>) -> Result<u64>,
    ) -> Result<u64> {
        let mut statement = self
            .connection
            .prepare_cached(&self.plan.lowered.sql)
            .map_err(|e| from_sqlite(&e))?;
        args::bind(&mut statement, self.values).map_err(|e| from_sqlite(&e))?;
        if may_try && let Some(mark) = sink.mark() {
            let mut walk = Walk::new(&mut statement, self.plan, self.limit);
            // Nobody else interrupts the read while it is here: it is not registered to be killed.
            let budget = Budget::new(self.connection, BUDGET);
            let reached = walk.until_full(sink);
            drop(budget);
            match reached {
                Ok(Reached::End(count)) => return Ok(count),
                Ok(Reached::Full) => return blocking(&mut || walk.go(sink, true)),
                Err(error) if is_over(&error) => {
                    drop(walk);
                    sink.rewind(mark);
                    context::take_warnings();
                }
                Err(error) => return Err(error),
            }
        }
        blocking(&mut || Walk::new(&mut statement, self.plan, self.limit).go(sink, true))
    }
}

fn is_over(error: &SqlError) -> bool {
    error.code == 1317
}

/// A statement being stepped through.
pub struct Walk<'s> {
    rows: Rows<'s>,
    plan: &'s SelectPlan,
    limit: u64,
    begun: bool,
    count: u64,
}

impl<'s> Walk<'s> {
    /// The statement's arguments are bound.
    pub fn new(statement: &'s mut Statement<'_>, plan: &'s SelectPlan, limit: u64) -> Walk<'s> {
        Walk {
            rows: statement.raw_query(),
            plan,
            limit,
            begun: false,
            count: 0,
        }
    }

    /// To the end. `may_block`: the sink may send (and wait) when it is full.
    pub fn go(&mut self, sink: &mut dyn Sink, may_block: bool) -> Result<u64> {
        loop {
            match self.until_full(sink)? {
                Reached::End(count) => return Ok(count),
                Reached::Full if may_block => sink.flush_blocking()?,
                Reached::Full => {}
            }
        }
    }

    fn until_full(&mut self, sink: &mut dyn Sink) -> Result<Reached> {
        let width = self.plan.columns.len();
        loop {
            let row = self.rows.next().map_err(|e| from_sqlite(&e))?;
            // Errors of the first step (a bad CAST, an interrupt) come before any packet.
            if !std::mem::replace(&mut self.begun, true) {
                sink.columns(&self.plan.columns)?;
            }
            let Some(row) = row else { return Ok(Reached::End(self.count)) };
            if self.count >= self.limit {
                return Ok(Reached::End(self.count));
            }
            let mut cells: SmallVec<[ValueRef<'_>; 16]> = SmallVec::with_capacity(width);
            for i in 0..width {
                cells.push(borrow(row.get_ref(i).map_err(|e| from_sqlite(&e))?));
            }
            sink.row(&cells)?;
            self.count += 1;
            if sink.is_full() {
                return Ok(Reached::Full);
            }
        }
    }
}
