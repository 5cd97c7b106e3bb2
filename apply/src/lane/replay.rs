//! An overlay put in place on the try connection again, change by change as it was captured.
//!
//! Promises: afterwards the tables are as the transaction left them; where somebody else changed the same rows or took the same
//! unique values meanwhile, the overlay's own rows win. Nothing is captured, no foreign key acts or is checked: their effects stand in
//! the overlay already. Must not know: when and why it is done.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection};
use smallvec::SmallVec;
use starling_log::{ChangeRef, Op, RowRef};

use super::desk::Bench;
use super::work::Failure;
use crate::catalog::Catalog;
use crate::layout::{Bind, Layout};
use crate::materialize::FoldError;
use crate::overlay::{Content, OverlayMark};
use crate::shape::{Image, bit, value};

/// Statements of one table, held over the overlay.
pub(crate) struct Plan<'c> {
    layout: &'c Layout,
    /// By column of the layout: its position in images.
    at: &'c [usize],
    insert: Option<CachedStatement<'c>>,
    delete: Option<CachedStatement<'c>>,
    update: Option<Update<'c>>,
}

struct Update<'c> {
    bits: SmallVec<[u8; 16]>,
    /// Columns of the layout.
    set: SmallVec<[usize; 16]>,
    statement: CachedStatement<'c>,
}

/// Are the overlay's tables what they were?
pub(crate) fn check_tables(content: &Content, catalog: &Catalog) -> Result<(), Failure> {
    for changed in &content.tables {
        let now = catalog.table(&changed.schema, &changed.table.name);
        let same = now.is_some_and(|t| Arc::ptr_eq(t, &changed.table) || **t == *changed.table);
        if !same {
            return Err(Failure::Changed(changed.table.name.clone()));
        }
    }
    Ok(())
}

/// Inside the transaction that is to have the overlay.
pub(super) fn replay(bench: &mut Bench, conn: &Connection, catalog: &Catalog, content: &Content) -> Result<(), Failure> {
    check_tables(content, catalog)?;
    let mut shapes = Vec::with_capacity(content.tables.len());
    for changed in &content.tables {
        let shape = bench.shapes.get(changed.header.table)?;
        shapes.push(shape.ok_or_else(|| Failure::Changed(changed.table.name.clone()))?);
    }
    let mut plans: Vec<Plan<'_>> = shapes.iter().map(|s| Plan::new(&s.layout, &s.at)).collect();
    bench.capture.enable(false);
    let related = shapes.iter().any(|s| s.related);
    let outcome = (|| {
        if related {
            bench.set_foreign_keys(conn, false)?;
        }
        content.each(OverlayMark::default(), |_, change| match plans.get_mut(change.table) {
            Some(plan) => plan.write(conn, &change),
            None => Err(FoldError::Broken("an overlay without its table".to_owned())),
        })
    })();
    drop(plans);
    let restored = bench.set_foreign_keys(conn, true);
    bench.capture.enable(true);
    outcome?;
    Ok(restored?)
}

impl<'c> Plan<'c> {
    pub fn new(layout: &'c Layout, at: &'c [usize]) -> Plan<'c> {
        Plan {
            layout,
            at,
            insert: None,
            delete: None,
            update: None,
        }
    }

    pub fn write(&mut self, conn: &'c Connection, change: &ChangeRef<'_>) -> Result<(), FoldError> {
        let broken = || FoldError::Broken("a change without its row".to_owned());
        match change.op {
            Op::Delete => self.delete(conn, change.key),
            Op::Insert => self.insert(conn, &change.after.ok_or_else(broken)?.iter().collect()),
            Op::Update => {
                let after: Image<'_> = change.after.ok_or_else(broken)?.iter().collect();
                let bits = change.changed.ok_or_else(broken)?;
                if !self.update(conn, change.key, &after, bits)? {
                    self.insert(conn, &after)?;
                }
                Ok(())
            }
        }
    }

    fn insert(&mut self, conn: &'c Connection, image: &Image<'_>) -> Result<(), FoldError> {
        let statement = match &mut self.insert {
            Some(statement) => statement,
            slot => slot.insert(conn.prepare_cached(&or_replace(&self.layout.insert))?),
        };
        for (i, at) in self.at.iter().enumerate() {
            statement.raw_bind_parameter(i + 1, Bind(value(image, *at)))?;
        }
        statement.raw_execute()?;
        Ok(())
    }

    fn delete(&mut self, conn: &'c Connection, key: RowRef<'_>) -> Result<(), FoldError> {
        let statement = match &mut self.delete {
            Some(statement) => statement,
            slot => slot.insert(conn.prepare_cached(&self.layout.delete)?),
        };
        for (i, part) in key.iter().enumerate() {
            statement.raw_bind_parameter(i + 1, Bind(part))?;
        }
        statement.raw_execute()?;
        Ok(())
    }

    /// False: there is no such row.
    fn update(&mut self, conn: &'c Connection, key: RowRef<'_>, image: &Image<'_>, bits: &[u8]) -> Result<bool, FoldError> {
        let (layout, at) = (self.layout, self.at);
        if self.update.as_ref().is_none_or(|u| u.bits.as_slice() != bits) {
            let set: SmallVec<[usize; 16]> = (0..at.len()).filter(|i| bit(bits, at[*i])).collect();
            if set.is_empty() {
                // Only generated columns: SQLite computes them.
                return Ok(true);
            }
            self.update = Some(Update {
                bits: bits.into(),
                statement: conn.prepare_cached(&or_replace(&layout.update(&set)))?,
                set,
            });
        }
        let Some(update) = &mut self.update else { return Ok(false) };
        for (i, column) in update.set.iter().enumerate() {
            update.statement.raw_bind_parameter(i + 1, Bind(value(image, at[*column])))?;
        }
        for (i, part) in key.iter().enumerate() {
            update.statement.raw_bind_parameter(update.set.len() + i + 1, Bind(part))?;
        }
        Ok(update.statement.raw_execute()? > 0)
    }
}

fn or_replace(sql: &str) -> String {
    let (verb, rest) = sql.split_once(' ').unwrap_or((sql, ""));
    format!("{verb} OR REPLACE {rest}")
}
