//! Numbers given out by this node: AUTO_INCREMENT, and the hidden keys of tables without a primary key.
//!
//! Promises: two nodes never generate the same number. A node that is alone counts from 1; where several vote, numbers come from
//! blocks that the quorum granted (`numbers`), and a statement for which there are too few is told how many are missing. Used-up
//! types are reported. Hidden keys carry the origin in their high bits. Must not know: SQL statements, how blocks are drawn.

use std::collections::HashMap;

use rusqlite::Connection;
use starling_log::Origin;

use crate::catalog::Table;
use crate::materialize::FoldError;
use crate::numbers::{Block, Compact, CompactTime, Rule, Series, Supply, ends_hard, type_max};
use crate::physical::{hidden_key, quote};

/// Where AUTO_INCREMENT numbers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// Counted: nobody else writes.
    #[default]
    Counted,
    /// From blocks that were granted.
    Granted,
}

/// Why there is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoNumber {
    /// The job is to be run again when so many are granted.
    Short(Short),
    /// The type has no further one; `max` is its last. `again`: MySQL tries that one once more, and nobody else gives it out.
    UsedUp {
        max: i64,
        again: bool,
    },
    /// Compact numbers have no place for this node, or for this time.
    NoCompact,
    /// That compact numbers are given out could not be made durable.
    Unsaved,
    Unknown,
}

/// Numbers that a statement needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    pub table: u64,
    pub count: i64,
}

/// Bits of an origin's hidden keys left for its counter; with 16 bits of origin a key is never negative.
const HIDDEN_BITS: u32 = 47;

struct Counter {
    max: i64,
    ends_hard: bool,
    /// Counted: the next number.
    next: i64,
    supply: Supply,
    /// Nothing of the type is left to be drawn.
    used_up: bool,
    /// The highest number given out or met here.
    highest: i64,
    compact: Compact,
    /// Rows came from elsewhere: look again before the next number.
    stale: bool,
    moved: bool,
}

/// Told (once, until more is granted) that a table's numbers run low. Must not block.
pub type OnLow = Box<dyn Fn(u64) + Send + Sync>;

/// All counters of the node, by table id.
pub struct Autos {
    numbering: Numbering,
    numbers: HashMap<u64, Counter>,
    hidden: HashMap<u64, i64>,
    /// Numbers of prepared transactions, which no file's counter knows yet.
    prepared: HashMap<u64, i64>,
    compact: CompactTime,
    /// Counts what was forgotten: a block that was asked for before is not taken in.
    forgotten: u64,
    on_low: Option<OnLow>,
}

/// Where a counter is looked up that is not in memory.
pub struct Lookup<'a> {
    pub conn: &'a Connection,
    /// Schema name and definition of the table.
    pub table: &'a dyn Fn() -> Option<(String, &'a Table)>,
    /// The durable high-water mark of the table (next number), as the fold of that schema keeps it.
    pub stored: &'a mut dyn FnMut(&str) -> Result<u64, FoldError>,
}

/// Who a compact number is for.
pub struct Maker<'a> {
    pub now_ms: u64,
    pub origin: Origin,
    /// Makes durable until when compact numbers may be given out; false: it could not.
    pub save: &'a dyn Fn(u64) -> bool,
}

impl Autos {
    pub fn new(compact: CompactTime) -> Autos {
        Autos {
            numbering: Numbering::default(),
            numbers: HashMap::new(),
            hidden: HashMap::new(),
            prepared: HashMap::new(),
            compact,
            forgotten: 0,
            on_low: None,
        }
    }
    pub fn set_numbering(&mut self, numbering: Numbering) {
        if self.numbering == numbering {
            return;
        }
        self.numbering = numbering;
        self.forgotten += 1;
        match numbering {
            // Counted from what is stored, which is behind all blocks.
            Numbering::Counted => self.numbers.values_mut().for_each(|c| {
                c.supply = Supply::default();
                c.stale = true;
            }),
            Numbering::Granted => self
                .numbers
                .values_mut()
                .for_each(|c| c.highest = c.highest.max(c.next.saturating_sub(1))),
        }
    }
    pub fn on_low(&mut self, told: OnLow) {
        self.on_low = Some(told);
    }
    /// Rows of these tables came from elsewhere.
    pub fn distrust(&mut self, table: u64) {
        if let Some(counter) = self.numbers.get_mut(&table) {
            counter.stale = true;
        }
    }
    /// The table was emptied, altered or dropped: its counters start again from what is stored.
    pub fn forget(&mut self, table: u64) {
        self.forgotten += 1;
        self.numbers.remove(&table);
        self.hidden.remove(&table);
        self.prepared.remove(&table);
    }

    /// Has `count` numbers come in a row.
    pub fn reserve(&mut self, table: u64, count: i64, rule: Rule, lookup: &mut Lookup<'_>) -> Result<(), NoNumber> {
        let granted = self.numbering == Numbering::Granted && !rule.compact;
        let Some(counter) = self.counter(table, lookup) else {
            return Err(NoNumber::Unknown);
        };
        if !granted || counter.used_up || counter.supply.reserve(count, rule.series) {
            return Ok(());
        }
        Err(NoNumber::Short(Short {
            table,
            count: rule.series.span(count),
        }))
    }

    pub fn next(&mut self, table: u64, rule: Rule, maker: &Maker<'_>, lookup: &mut Lookup<'_>) -> Result<i64, NoNumber> {
        let (numbering, compact_ms) = (self.numbering, self.compact.now(maker.now_ms));
        let Some(counter) = self.counter(table, lookup) else {
            return Err(NoNumber::Unknown);
        };
        let number = match (rule.compact, numbering) {
            (true, _) => counter.compact(compact_ms, maker.origin)?,
            (false, Numbering::Counted) => counter.count(rule.series)?,
            (false, Numbering::Granted) => counter.take(table, rule.series)?,
        };
        counter.highest = counter.highest.max(number);
        let low = numbering == Numbering::Granted && !rule.compact && !counter.used_up && counter.supply.runs_low();
        if low && let Some(told) = &self.on_low {
            told(table);
        }
        if rule.compact && !self.compact.reserve(number, maker.save) {
            return Err(NoNumber::Unsaved);
        }
        Ok(number)
    }
    pub fn push(&mut self, table: u64, value: i64, lookup: &mut Lookup<'_>) {
        if let Some(counter) = self.counter(table, lookup) {
            counter.push(value);
        }
    }
    /// A change that was kept wrote this number.
    pub fn met(&mut self, table: u64, value: i64) {
        if let Some(counter) = self.numbers.get_mut(&table) {
            counter.push(value);
        }
    }
    /// A prepared transaction has this number, as found at the start.
    pub fn prepared(&mut self, table: u64, value: i64) {
        let highest = self.prepared.entry(table).or_insert(value);
        *highest = (*highest).max(value);
        if let Some(counter) = self.numbers.get_mut(&table) {
            counter.stale = true;
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

    /// How often something was forgotten by now, for [`Autos::grant`].
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
    /// The highest number that was given out or met here (0: none).
    pub fn highest(&self, table: u64) -> i64 {
        self.numbers.get(&table).map_or(0, |c| c.highest.max(c.next.saturating_sub(1)))
    }
    /// Highest numbers of all tables that are in memory, prepared ones included.
    pub fn all_highest(&self) -> HashMap<u64, i64> {
        let mut all = self.prepared.clone();
        for table in self.numbers.keys() {
            let highest = all.entry(*table).or_insert(0);
            *highest = (*highest).max(self.highest(*table));
        }
        all
    }
    /// Are there so many left, in a row?
    pub fn has(&self, table: u64, count: i64) -> bool {
        let Some(counter) = self.numbers.get(&table) else { return false };
        counter.used_up || { counter.supply }.reserve(count, Series::default())
    }
    /// A block was drawn (`None`: there is nothing left to draw). `forgotten`: when it was asked for.
    pub fn grant(&mut self, table: u64, block: Option<Block>, forgotten: u64) {
        if self.forgotten != forgotten || self.numbering != Numbering::Granted {
            return;
        }
        let Some(counter) = self.numbers.get_mut(&table) else { return };
        match block {
            // What was written meanwhile pushes it, too.
            Some(block) if counter.highest < block.last => counter.supply.grant(Block {
                first: block.first.max(counter.highest + 1),
                ..block
            }),
            Some(_) => counter.supply.not_granted(),
            None => counter.used_up = true,
        }
    }
    /// Nobody could draw one.
    pub fn not_granted(&mut self, table: u64) {
        if let Some(counter) = self.numbers.get_mut(&table) {
            counter.supply.not_granted();
        }
    }

    fn counter(&mut self, table: u64, lookup: &mut Lookup<'_>) -> Option<&mut Counter> {
        let counted = self.numbering == Numbering::Counted;
        let usable = self.numbers.get(&table).is_some_and(|c| !(c.stale && counted));
        if !usable {
            let (schema, definition) = (lookup.table)()?;
            let column = definition.auto_column()?;
            let stored = i64::try_from((lookup.stored)(&schema).ok()?).unwrap_or(i64::MAX);
            let option = i64::try_from(definition.auto_increment).unwrap_or(i64::MAX);
            let found = stored.max(option).max(1);
            let counter = self.numbers.entry(table).or_insert_with(|| Counter {
                max: type_max(column),
                ends_hard: ends_hard(column),
                next: 1,
                supply: Supply::default(),
                used_up: false,
                highest: 0,
                compact: Compact::default(),
                stale: false,
                moved: false,
            });
            counter.next = counter.next.max(found);
            counter.stale = false;
            if counted && let Some(prepared) = self.prepared.remove(&table) {
                counter.push(prepared);
            }
            if !counted {
                // What is stored pushes nobody's blocks.
                counter.highest = counter.highest.max(found - 1);
            }
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
        let Some((schema, definition)) = (lookup.table)() else {
            return 0;
        };
        let low = i64::from(origin) << HIDDEN_BITS;
        let high = low + ((1 << HIDDEN_BITS) - 1);
        let key = hidden_key(definition);
        let found = largest_of(lookup.conn, &schema, definition, key, low, high).unwrap_or(None);
        let number = found.map_or(low + 1, |f| f + 1);
        self.hidden.insert(table, number + 1);
        number
    }
}

impl Counter {
    fn count(&mut self, series: Series) -> Result<i64, NoNumber> {
        let number = series.from(self.next).filter(|n| *n <= self.max);
        let number = number.ok_or(NoNumber::UsedUp {
            max: self.max,
            again: !self.ends_hard,
        })?;
        self.next = number.saturating_add(1);
        self.moved = true;
        Ok(number)
    }
    fn take(&mut self, table: u64, series: Series) -> Result<i64, NoNumber> {
        let number = self.supply.take(series).filter(|n| *n <= self.max);
        number.ok_or(if self.used_up {
            NoNumber::UsedUp {
                max: self.max,
                again: false,
            }
        } else {
            NoNumber::Short(Short {
                table,
                count: series.span(1),
            })
        })
    }
    fn compact(&mut self, now_ms: u64, origin: Origin) -> Result<i64, NoNumber> {
        let node = Compact::node(origin).ok_or(NoNumber::NoCompact)?;
        let floor = self.highest.max(self.next.saturating_sub(1));
        let number = self.compact.next(now_ms, node, floor).ok_or(NoNumber::NoCompact)?;
        self.push(number);
        Ok(number)
    }
    fn push(&mut self, value: i64) {
        self.highest = self.highest.max(value);
        if value >= self.next {
            self.next = value.saturating_add(1);
            self.moved = true;
        }
        self.supply.push(value);
    }
}

fn largest_of(conn: &Connection, schema: &str, table: &Table, column: &str, low: i64, high: i64) -> rusqlite::Result<Option<i64>> {
    let sql = format!(
        "SELECT max({column}) FROM {}.{} WHERE {column} BETWEEN ?1 AND ?2",
        quote(schema),
        quote(&table.name)
    );
    conn.query_row(&sql, [low, high], |row| row.get(0))
}
