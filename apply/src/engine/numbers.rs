//! The engine's door for AUTO_INCREMENT between nodes: who counts, which block is next, what is granted.
//!
//! Promises: from the moment at which numbers are closed none is counted any more, and an entry says how far counting got
//! (PROTOCOL 22). Must not know: how blocks are decided on, who else draws.

use std::collections::HashMap;
use std::sync::Arc;

use starling_log::{Body, Changes, Draft, TableRef};

use super::core::{Core, Lane};
use super::{ApplyError, Engine, intake};
use crate::catalog::{Database, Table};
use crate::claim::{Claim, ClaimKey, Mode, Version};
use crate::drawn;
use crate::history::Store;
use crate::lane::Numbering;
use crate::lane::autos::OnLow;
use crate::materialize::FoldError;
use crate::newest::Newest;
use crate::numbers::{Block, block_size, counted, taken, type_max};
use crate::readers::Reader;

/// A block that may be drawn, as a transaction to be decided on.
#[derive(Debug)]
pub struct Draw {
    pub table: u64,
    pub block: Block,
    pub changes: Changes,
    pub claims: Vec<Claim>,
    forgotten: u64,
}

/// What a file knows of a table's numbers.
struct Known {
    /// The highest one in entries, or handed out here.
    counted: i64,
    drawn: i64,
    /// The entry that says how far is drawn.
    version: Version,
}

impl Known {
    fn of(reader: &Reader, schema: &str, table: &Table) -> Result<Known, ApplyError> {
        let counters = Store::new(schema).counters_of(reader, table.id)?;
        let (drawn, version) = drawn::of(reader, schema, table.id)?;
        let option = i64::try_from(table.auto_increment).unwrap_or(i64::MAX);
        Ok(Known {
            counted: counters.max(option.saturating_sub(1)),
            drawn,
            version,
        })
    }
}

impl Engine {
    /// Where AUTO_INCREMENT numbers come from now on.
    pub fn set_numbering(&self, numbering: Numbering) {
        self.core.autos.lock().set_numbering(numbering);
    }
    /// Who is told (once, until more is granted) that a table's numbers run low. It must not block.
    pub fn on_low_numbers(&self, told: OnLow) {
        self.core.autos.lock().on_low(told);
    }

    /// A transaction is prepared that makes these changes: its numbers are not counted again. For a start, before anybody writes.
    pub fn keep_prepared(&self, changes: &Changes) {
        let catalog = self.core.catalog();
        let auto = |header: &TableRef| {
            let column = catalog.table_by_id(header.table)?.1.auto_column()?;
            header.columns.iter().position(|c| *c == column.id)
        };
        let places: Vec<Option<usize>> = changes.tables.iter().map(auto).collect();
        let mut autos = self.core.autos.lock();
        for change in changes.iter() {
            let (Some(header), Some(Some(at))) = (changes.tables.get(change.table), places.get(change.table)) else {
                continue;
            };
            if let Some(number) = change.after.and_then(|after| after.iter().nth(*at)).and_then(counted) {
                autos.prepared(header.table, number);
            }
        }
    }

    /// From now on no number is counted: all come from blocks. When it returns, entries of this node that are durable and applied
    /// here tell how far counting got, so that whoever has applied them draws behind it. Blocking.
    pub fn close_numbers(&self) -> Result<(), ApplyError> {
        let core = &self.core;
        let mut highest = {
            let mut autos = core.autos.lock();
            autos.set_numbering(Numbering::Granted);
            autos.all_highest()
        };
        let catalog = core.catalog();
        // In name order, as the catalog is.
        let mut lanes = Vec::new();
        let mut positions = Vec::new();
        for (name, database) in &catalog.databases {
            let Some(lane) = core.lane(name) else { continue };
            let found = self.positions(name, database, &mut highest)?;
            if !found.is_empty() {
                positions.extend(found);
                lanes.push(lane);
            }
        }
        if positions.is_empty() {
            return Ok(());
        }
        self.write_positions(&lanes, &positions)
    }

    /// How far the tables of a database got beyond what was drawn of them.
    fn positions(&self, name: &str, database: &Database, highest: &mut HashMap<u64, i64>) -> Result<Vec<(u64, u64, i64)>, ApplyError> {
        let mut out = Vec::new();
        let mut tables = database.tables.values().filter(|t| t.auto_column().is_some()).peekable();
        if tables.peek().is_none() {
            return Ok(out);
        }
        let reader = self.reader(&[name])?;
        for table in tables {
            let known = Known::of(&reader, name, table)?;
            let last = known.counted.max(highest.remove(&table.id).unwrap_or(0));
            if last > known.drawn {
                out.push((database.id, table.id, last));
            }
        }
        Ok(out)
    }

    fn write_positions(&self, lanes: &[Arc<Lane>], positions: &[(u64, u64, i64)]) -> Result<(), ApplyError> {
        let core: &Arc<Core> = &self.core;
        let _parked = intake::park_all(core, lanes)?;
        let draft = Draft {
            causes: core.progress.seen(),
            schema: core.catalog().version,
            body: Body::Rows(taken(positions)),
        };
        let entries = core.append(vec![draft]).map_err(|e| ApplyError::Other(e.to_string()))?;
        core.apply_own(lanes, &entries).map_err(|f| ApplyError::Other(format!("{f:?}")))
    }

    /// The next block of a table, about `wanted` numbers, for a statement that needs `needed` of them in a row (0: for none). `None`:
    /// nothing is left, as statements are told from now on. Blocking.
    pub fn plan_draw(&self, table: u64, wanted: i64, needed: i64) -> Result<Option<Draw>, ApplyError> {
        let core = &self.core;
        let (forgotten, highest) = {
            let autos = core.autos.lock();
            (autos.forgotten(), autos.highest(table))
        };
        let catalog = core.catalog();
        let gone = || FoldError::Broken("a number was asked for a table that is gone".to_owned());
        let (database, definition) = catalog.table_by_id(table).ok_or_else(gone)?;
        let column = definition.auto_column().ok_or_else(gone)?;
        let schema = database.name.to_lowercase();
        let mut reader = self.reader(&[&schema])?;
        reader.pin_inside(&[&schema])?;
        let known = Known::of(&reader, &schema, definition)?;
        let floor = known.drawn.max(known.counted).max(highest).max(0);
        let left = type_max(column).saturating_sub(floor);
        if left <= 0 {
            core.autos.lock().grant(table, None, forgotten);
            return Ok(None);
        }
        let count = block_size(wanted, needed, left);
        let block = Block {
            first: floor + 1,
            last: floor + count,
        };
        let claim = |key, mode, base| Claim { key, mode, base };
        let claims = vec![
            // A schema change in between may begin anew.
            claim(
                ClaimKey::Schema { db: database.id },
                Mode::Shared,
                Newest::new(&schema).schema(&reader)?,
            ),
            claim(ClaimKey::Counter { table }, Mode::Exclusive, known.version),
        ];
        Ok(Some(Draw {
            table,
            block,
            changes: taken(&[(database.id, table, block.last)]),
            claims,
            forgotten,
        }))
    }
    /// It was decided, and is applied here.
    pub fn grant(&self, draw: &Draw) {
        self.core.autos.lock().grant(draw.table, Some(draw.block), draw.forgotten);
    }
    /// Nobody could decide on one.
    pub fn not_granted(&self, table: u64) {
        self.core.autos.lock().not_granted(table);
    }
    /// Would a statement get so many numbers in a row?
    pub fn has_numbers(&self, table: u64, count: i64) -> bool {
        self.core.autos.lock().has(table, count)
    }

    /// What SHOW calls a table's AUTO_INCREMENT: behind all numbers in its rows so far, and all that this node gave out.
    pub fn next_number(&self, table: u64) -> Option<u64> {
        let catalog = self.catalog();
        let (database, definition) = catalog.table_by_id(table)?;
        definition.auto_column()?;
        let schema = database.name.to_lowercase();
        let known = Known::of(&self.reader(&[&schema]).ok()?, &schema, definition).ok()?;
        let highest = self.core.autos.lock().highest(table);
        Some(known.counted.max(highest).max(0).cast_unsigned() + 1)
    }
}
