//! Numbers given out by this node: AUTO_INCREMENT, and the hidden keys of tables without a primary key.
//!
//! Promises: two nodes never generate the same number. A node that is alone, or the founder, numbers densely from 1; once
//! numbers are shared, the founder keeps the lower half of a type's range and every other node has a block of its own in the
//! upper half (within 2^53 for BIGINT, so that every client can hold the number). A used-up range gives a number outside of the
//! column's type, which is refused as such. Hidden keys carry the origin in their high bits. Must not know: SQL statements.

use std::collections::HashMap;

use rusqlite::Connection;
use starling_log::Origin;

use crate::catalog::{Column, Table};
use crate::materialize::FoldError;
use crate::physical::{hidden_key, quote};
use crate::types::BaseType;

/// Which numbers are this node's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoBlock {
    /// All: nobody else writes.
    #[default]
    Whole,
    /// The lower half (the founder, once there are others).
    Lower,
    /// Block `ordinal` (from 1) of the upper half.
    Block(u16),
}

impl AutoBlock {
    /// Each node has two origins, handed out in order: the founder 1 and 2, the next 3 and 4 …
    pub fn of_origin(origin: Origin) -> AutoBlock {
        match origin.saturating_sub(1) / 2 {
            0 => AutoBlock::Whole,
            ordinal => AutoBlock::Block(ordinal),
        }
    }
}

/// Bits of an origin's hidden keys left for its counter; with 16 bits of origin a key is never negative.
const HIDDEN_BITS: u32 = 47;

/// Largest number of a column's type, as far as it is given out.
fn type_max(column: &Column) -> i64 {
    let wide = u32::from(column.ty.unsigned);
    match column.ty.base {
        BaseType::TinyInt => (1 << (7 + wide)) - 1,
        BaseType::SmallInt => (1 << (15 + wide)) - 1,
        BaseType::MediumInt => (1 << (23 + wide)) - 1,
        BaseType::Int => (1 << (31 + wide)) - 1,
        BaseType::Float => 1 << 24,
        BaseType::Double => 1 << 53,
        _ => i64::MAX,
    }
}

/// First and last number of this node (`None`: it has no block in so small a type).
fn range(block: AutoBlock, max: i64) -> Option<(i64, i64)> {
    // The upper half begins at a power of two.
    let half = if max > 1 << 53 { 1 << 52 } else { (max / 2 + 1).max(1) };
    let blocks: i64 = if half >= 1 << 30 << 15 {
        1 << 15
    } else if half >= 1 << 10 {
        64
    } else {
        16
    };
    match block {
        AutoBlock::Whole => Some((1, max)),
        AutoBlock::Lower => Some((1, half - 1)),
        AutoBlock::Block(ordinal) => {
            let size = half / blocks;
            let number = i64::from(ordinal) - 1;
            (number < blocks && size > 0).then(|| (half + number * size, half + (number + 1) * size - 1))
        }
    }
}

struct Counter {
    next: i64,
    low: i64,
    high: i64,
    max: i64,
    /// Rows came from elsewhere: look again before the next number.
    stale: bool,
    moved: bool,
}

/// All counters of the node, by table id.
#[derive(Default)]
pub struct Autos {
    block: AutoBlock,
    numbers: HashMap<u64, Counter>,
    hidden: HashMap<u64, i64>,
}

/// Where a counter is looked up that is not in memory.
pub struct Lookup<'a> {
    pub conn: &'a Connection,
    /// Schema name and definition of the table.
    pub table: Option<(&'a str, &'a Table)>,
    /// The durable high-water mark of the table (next number), as the fold keeps it.
    pub stored: &'a mut dyn FnMut() -> Result<u64, FoldError>,
}

impl Autos {
    pub fn set_block(&mut self, block: AutoBlock) {
        if self.block != block {
            self.block = block;
            self.numbers.clear();
        }
    }
    pub fn block(&self) -> AutoBlock {
        self.block
    }
    /// Rows of these tables came from elsewhere.
    pub fn distrust(&mut self, table: u64) {
        if let Some(counter) = self.numbers.get_mut(&table) {
            counter.stale = true;
        }
    }
    /// The table was emptied, altered or dropped: its counters start again from what is stored.
    pub fn forget(&mut self, table: u64) {
        self.numbers.remove(&table);
        self.hidden.remove(&table);
    }

    pub fn next(&mut self, table: u64, lookup: &mut Lookup<'_>) -> i64 {
        let Some(counter) = self.counter(table, lookup) else {
            return i64::MAX;
        };
        if counter.next > counter.high {
            return counter.max.saturating_add(1);
        }
        let number = counter.next;
        counter.next = number.saturating_add(1);
        counter.moved = true;
        number
    }
    pub fn push(&mut self, table: u64, value: i64, lookup: &mut Lookup<'_>) {
        let whole = self.block == AutoBlock::Whole;
        if let Some(counter) = self.counter(table, lookup)
            && value >= counter.next
            && (whole || (counter.low..=counter.high).contains(&value))
        {
            counter.next = value.saturating_add(1);
            counter.moved = true;
        }
    }
    /// Next numbers of counters that moved since the last call, to be stored with the rows.
    pub fn take_moved(&mut self, wanted: impl Fn(u64) -> bool) -> Vec<(u64, u64)> {
        let mut moved = Vec::new();
        for (table, counter) in &mut self.numbers {
            if counter.moved && wanted(*table) {
                counter.moved = false;
                moved.push((*table, u64::try_from(counter.next).unwrap_or(0)));
            }
        }
        moved
    }

    fn counter(&mut self, table: u64, lookup: &mut Lookup<'_>) -> Option<&mut Counter> {
        let block = self.block;
        let usable = self.numbers.get(&table).is_some_and(|c| !c.stale);
        if !usable {
            let (_, definition) = lookup.table?;
            let column = definition.auto_column()?;
            let max = type_max(column);
            let (low, high) = range(block, max).unwrap_or((1, 0));
            let found = largest(block, low, high, column, lookup).ok()?;
            let option = i64::try_from(definition.auto_increment).unwrap_or(0);
            let start = if (low..=high).contains(&option) { option } else { low };
            let known = self.numbers.get(&table).map_or(0, |c| c.next);
            let next = found.max(start).max(known);
            let counter = Counter {
                next,
                low,
                high,
                max,
                stale: false,
                moved: false,
            };
            self.numbers.insert(table, counter);
        }
        self.numbers.get_mut(&table)
    }

    /// The next hidden key. Zero (which no node generates) if the table is unknown.
    pub fn next_hidden(&mut self, table: u64, origin: Origin, lookup: &Lookup<'_>) -> i64 {
        if let Some(next) = self.hidden.get_mut(&table) {
            let number = *next;
            *next += 1;
            return number;
        }
        let Some((schema, definition)) = lookup.table else {
            return 0;
        };
        let low = i64::from(origin) << HIDDEN_BITS;
        let high = low + ((1 << HIDDEN_BITS) - 1);
        let key = hidden_key(definition);
        let found = largest_of(lookup.conn, schema, definition, key, low, high).unwrap_or(None);
        let number = found.map_or(low + 1, |f| f + 1);
        self.hidden.insert(table, number + 1);
        number
    }
}

/// The next number after the largest used one of this node's.
fn largest(block: AutoBlock, low: i64, high: i64, column: &Column, lookup: &mut Lookup<'_>) -> Result<i64, FoldError> {
    let stored = i64::try_from((lookup.stored)()?).unwrap_or(i64::MAX);
    if block == AutoBlock::Whole || (low..=high.saturating_add(1)).contains(&stored) {
        return Ok(stored);
    }
    let Some((schema, table)) = lookup.table else {
        return Ok(low);
    };
    let found = largest_of(lookup.conn, schema, table, &quote(&column.name), low, high)?;
    Ok(found.map_or(low, |f| f.saturating_add(1)))
}

fn largest_of(conn: &Connection, schema: &str, table: &Table, column: &str, low: i64, high: i64) -> rusqlite::Result<Option<i64>> {
    let sql = format!(
        "SELECT max({column}) FROM {}.{} WHERE {column} BETWEEN ?1 AND ?2",
        quote(schema),
        quote(&table.name)
    );
    conn.query_row(&sql, [low, high], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_different_nodes_never_meet() {
        for max in [
            127,
            255,
            32_767,
            65_535,
            (1 << 23) - 1,
            (1 << 31) - 1,
            (1_i64 << 32) - 1,
            1 << 53,
            i64::MAX,
        ] {
            let mut last = 0;
            for block in std::iter::once(AutoBlock::Lower).chain((1..200).map(AutoBlock::Block)) {
                let Some((low, high)) = range(block, max) else { break };
                assert!(
                    low > last && high >= low && high <= max,
                    "{block:?} of {max}: {low}..{high} after {last}"
                );
                last = high;
            }
            assert!(last > max / 2 || max > 1 << 52);
        }
    }

    #[test]
    fn numbers_of_bigint_stay_within_what_clients_hold() {
        let (_, high) = range(AutoBlock::Block(32_767), i64::MAX).unwrap();
        assert!(high < 1 << 53);
    }

    #[test]
    fn the_founder_alone_numbers_through_the_whole_type() {
        assert_eq!(AutoBlock::of_origin(1), AutoBlock::Whole);
        assert_eq!(AutoBlock::of_origin(2), AutoBlock::Whole);
        assert_eq!(AutoBlock::of_origin(3), AutoBlock::Block(1));
        assert_eq!(range(AutoBlock::Whole, 127), Some((1, 127)));
    }
}
