//! Generated numbers (AUTO_INCREMENT), the pure part: series, how far a type counts, blocks of numbers and how large the next one is
//! to be, compact numbers; and how the drawing of a block stands in the log.
//!
//! Between nodes numbers come in *blocks*: an entry says that all numbers of a table up to some last one are taken, and its author
//! gives out those behind the last one before. Which entry comes first is decided by the quorum like any other change, so blocks
//! never overlap. A block is dropped where a statement needs more numbers in a row than it has left, where an explicit number
//! lies behind it, and by a restart: that leaves gaps, as in MySQL.
//!
//! Compact numbers need no blocks. They have 53 bits, so that every client can hold them:
//!
//! ```text
//! 52                                              14 13          5 4        0
//! │ 4 ms since 2024-01-01 00:00 UTC, 39 bits (till 2093) │ node, 9 bits │ count, 5 bits │
//! ```
//!
//! The time is the hybrid clock's; more than 32 numbers in 4 ms run ahead of it. Up to when numbers may be given out is made durable
//! before they are, and whoever starts gives out later ones only: what was given out before a crash may stand in a transaction that is
//! decided yet.
//! The node is the ordinal of its origins, which stand for one incarnation of its log.
//!
//! Promises: a [`Supply`] gives every number it was granted at most once, in rising order. Must not know: SQLite, who decides.

use starling_log::{ChangeRef, Changes, Op, Origin, Row, TableRef, ValueRef};

use crate::catalog::Column;
use crate::types::BaseType;

/// Stands where an entry's changes name their table; no table has that id. Its rows: (id of a table, its last number taken).
pub const COUNTERS: u64 = u64::MAX;

/// The first block of a table, and the smallest that an idle one falls back to.
const BLOCK_FIRST: i64 = 4;
/// No block is larger, unless a statement needs more numbers in a row.
const BLOCK_MOST: i64 = 65_536;
/// A block that lasted less is followed by one twice as large …
const FAST_MS: u64 = 1_000;
/// … and one that lasted longer by half of it.
const SLOW_MS: u64 = 10_000;
/// A block takes at most that part of the numbers that are left.
const SHARE: i64 = 64;

const COMPACT_EPOCH_MS: u64 = 1_704_067_200_000;
const COMPACT_TICK_MS: u64 = 4;
/// So much time is reserved at once; a start skips what is left of it. Whole ticks: numbers of the next one begin with it.
const COMPACT_RESERVE_MS: u64 = 4_000 * COMPACT_TICK_MS;
const COMPACT_TICK_BITS: u32 = 39;
const COMPACT_NODE_BITS: u32 = 9;
const COMPACT_COUNT_BITS: u32 = 5;

/// `auto_increment_increment` and `auto_increment_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    increment: i64,
    /// 0 to `increment` - 1.
    offset: i64,
}

impl Default for Series {
    fn default() -> Series {
        Series { increment: 1, offset: 0 }
    }
}

impl Series {
    pub fn new(increment: u16, offset: u16) -> Series {
        let increment = i64::from(increment.max(1));
        Series {
            increment,
            offset: i64::from(offset) % increment,
        }
    }
    /// The lowest number of the series from `from` on.
    pub fn from(self, from: i64) -> Option<i64> {
        let from = from.max(1);
        let behind = (from - self.offset).rem_euclid(self.increment);
        if behind == 0 {
            return Some(from);
        }
        from.checked_add(self.increment - behind)
    }
    /// The last of `count` numbers from `first` (one of the series) on.
    fn last(self, first: i64, count: i64) -> Option<i64> {
        first.checked_add(self.increment.checked_mul(count - 1)?)
    }
    /// Plain numbers that surely hold `count` of the series.
    pub fn span(self, count: i64) -> i64 {
        self.increment.saturating_mul(count)
    }
}

/// How a session wants its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub series: Series,
    pub compact: bool,
}

/// Largest number that is given out for a column of the type. (MySQL never gives out the very last BIGINT UNSIGNED either; ours ends at
/// 2^63 - 2.)
pub fn type_max(column: &Column) -> i64 {
    let wide = u32::from(column.ty.unsigned);
    match column.ty.base {
        BaseType::TinyInt => (1 << (7 + wide)) - 1,
        BaseType::SmallInt => (1 << (15 + wide)) - 1,
        BaseType::MediumInt => (1 << (23 + wide)) - 1,
        BaseType::Int => (1 << (31 + wide)) - 1,
        BaseType::Float => 1 << 24,
        BaseType::Double => 1 << 53,
        _ => i64::MAX - i64::from(wide),
    }
}

/// Does the type say that a number cannot be read (1467), where others give out their largest one again?
pub fn ends_hard(column: &Column) -> bool {
    column.ty.base == BaseType::BigInt && column.ty.unsigned
}

/// How far a value in an AUTO_INCREMENT column pushes the counter.
pub fn counted(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Int(number) => Some(number),
        // From 2^63 on unsigned numbers are texts.
        ValueRef::Text(_) => Some(i64::MAX),
        ValueRef::Real(number) => Some(number as i64),
        _ => None,
    }
}

/// Numbers from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub first: i64,
    pub last: i64,
}

impl Block {
    fn len(self) -> i64 {
        (self.last - self.first).saturating_add(1).max(0)
    }
    /// The first of so many numbers of the series, if it has them.
    fn holds(self, count: i64, series: Series) -> Option<i64> {
        let first = series.from(self.first)?;
        (series.last(first, count)? <= self.last).then_some(first)
    }
}

/// A node's numbers of one table: what is left of its block, and the block behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supply {
    now: Option<Block>,
    ahead: Option<Block>,
    /// Of the block granted last.
    size: i64,
    /// Somebody was told that more is needed.
    asked: bool,
}

impl Supply {
    pub fn take(&mut self, series: Series) -> Option<i64> {
        while let Some(block) = self.now {
            if let Some(number) = block.holds(1, series) {
                let first = number.saturating_add(1);
                let rest = Some(Block { first, ..block }).filter(|b| number < b.last);
                self.now = rest.or_else(|| self.ahead.take());
                return Some(number);
            }
            self.now = self.ahead.take();
        }
        None
    }
    /// Whether the next `count` numbers are there, in a row. What stands in front of such a row is dropped.
    pub fn reserve(&mut self, count: i64, series: Series) -> bool {
        let holds = |block: Option<Block>| block.is_some_and(|b| b.holds(count, series).is_some());
        if !holds(self.now) && holds(self.ahead) {
            self.now = self.ahead.take();
        }
        holds(self.now)
    }
    pub fn grant(&mut self, block: Block) {
        self.asked = false;
        self.size = block.len();
        let slot = match (&mut self.now, &mut self.ahead) {
            (None, _) => &mut self.now,
            (Some(_), None) => &mut self.ahead,
            (now, ahead) => {
                *now = ahead.take();
                &mut self.ahead
            }
        };
        *slot = Some(block);
        if let (Some(now), Some(ahead)) = (self.now, self.ahead)
            && now.last.checked_add(1) == Some(ahead.first)
        {
            self.now = Some(Block {
                first: now.first,
                last: ahead.last,
            });
            self.ahead = None;
        }
    }
    /// An explicit number: only higher ones are given out from here on.
    pub fn push(&mut self, number: i64) {
        let above = |block: Block| {
            let first = block.first.max(number.saturating_add(1));
            Some(Block { first, ..block }).filter(|b| number < b.last && b.len() > 0)
        };
        self.now = self.now.and_then(above);
        self.ahead = self.ahead.and_then(above);
        if self.now.is_none() {
            self.now = self.ahead.take();
        }
    }
    pub fn left(&self) -> i64 {
        let len = |block: Option<Block>| block.map_or(0, Block::len);
        len(self.now).saturating_add(len(self.ahead))
    }
    /// Half of it is used, and nobody was told: true once.
    pub fn runs_low(&mut self) -> bool {
        let low = !self.asked && self.left() <= self.size / 2;
        self.asked |= low;
        low
    }
    /// Whoever was told did not get any.
    pub fn not_granted(&mut self) {
        self.asked = false;
    }
}

/// How fast a table's numbers are used, and so how large its next block is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Demand {
    size: i64,
    /// When the last block was drawn.
    drawn_ms: Option<u64>,
}

impl Demand {
    /// So many should be there.
    pub fn half(&self) -> i64 {
        self.size / 2 + 1
    }
    /// The size of a block that is drawn now.
    pub fn next(&mut self, now_ms: u64) -> i64 {
        let lasted = self.drawn_ms.map(|then| now_ms.saturating_sub(then));
        self.size = match lasted {
            Some(ms) if ms < FAST_MS => self.size.saturating_mul(2),
            Some(ms) if ms > SLOW_MS => self.size / 2,
            _ => self.size,
        }
        .clamp(BLOCK_FIRST, BLOCK_MOST);
        self.drawn_ms = Some(now_ms);
        self.size
    }
}

/// How large a block really is. `needed`: a statement waits for so many in a row. `left`: how many the type still has.
pub fn block_size(wanted: i64, needed: i64, left: i64) -> i64 {
    let share = (left / SHARE).max(1);
    wanted.min(share).max(needed).min(left)
}

/// Until when a node's compact numbers may be given out, of all tables.
#[derive(Clone, Copy, Debug)]
pub struct CompactTime {
    /// Those before may have been given out by an earlier run.
    from_ms: u64,
    /// Those from here on are not to be given out yet. Durable.
    until_ms: u64,
}

impl CompactTime {
    /// `durable`: what the last [`CompactTime::reserve`] made durable (0: none ever did).
    pub fn new(durable: u64) -> CompactTime {
        CompactTime {
            from_ms: durable,
            until_ms: durable,
        }
    }
    /// The time that the next number is made of.
    pub fn now(&self, now_ms: u64) -> u64 {
        now_ms.max(self.from_ms)
    }
    /// A number is about to be given out. `save` makes a time durable; false: it could not, and the number is not to be used.
    pub fn reserve(&mut self, number: i64, save: impl FnOnce(u64) -> bool) -> bool {
        let tick = number.cast_unsigned() >> (COMPACT_NODE_BITS + COMPACT_COUNT_BITS);
        let at_ms = COMPACT_EPOCH_MS + tick * COMPACT_TICK_MS;
        if at_ms < self.until_ms {
            return true;
        }
        let until_ms = at_ms + COMPACT_RESERVE_MS;
        let saved = save(until_ms);
        if saved {
            self.until_ms = until_ms;
        }
        saved
    }
}

/// A node's compact numbers of one table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compact {
    /// The number before, without its node.
    last: Option<(u64, u64)>,
}

impl Compact {
    /// A node's place in its numbers; `None`: there were more incarnations of nodes than have one.
    pub fn node(origin: Origin) -> Option<u64> {
        let ordinal = u64::from(origin.checked_sub(1)? / 2);
        (ordinal < 1 << COMPACT_NODE_BITS).then_some(ordinal)
    }
    /// The next number, behind `floor` (the highest one known). `None`: that time has no number.
    pub fn next(&mut self, now_ms: u64, node: u64, floor: i64) -> Option<i64> {
        let now = now_ms.saturating_sub(COMPACT_EPOCH_MS) / COMPACT_TICK_MS;
        let floor = u64::try_from(floor).unwrap_or(0) >> (COMPACT_NODE_BITS + COMPACT_COUNT_BITS);
        // Numbers that no clock has made say nothing of time.
        let floor = if floor >> COMPACT_TICK_BITS == 0 { floor } else { 0 };
        let (tick, count) = match self.last {
            Some((tick, count)) if tick >= now && count + 1 < 1 << COMPACT_COUNT_BITS => (tick, count + 1),
            Some((tick, _)) if tick >= now => (tick + 1, 0),
            Some(_) => (now, 0),
            // Since a start: what ran ahead of the clock before may have been this node's.
            None if floor >= now && floor > 0 => (floor + 1, 0),
            None => (now, 0),
        };
        if tick >> COMPACT_TICK_BITS != 0 {
            return None;
        }
        self.last = Some((tick, count));
        let number = (tick << COMPACT_NODE_BITS | node) << COMPACT_COUNT_BITS | count;
        i64::try_from(number).ok().filter(|n| *n > 0)
    }
}

/// The changes of an entry that says: all numbers of these tables (by database and id) up to these are taken.
pub fn taken(tables: &[(u64, u64, i64)]) -> Changes {
    let mut changes = Changes::default();
    for (db, table, last) in tables {
        let header = TableRef {
            db: *db,
            table: COUNTERS,
            columns: vec![1, 2],
            key: vec![0],
        };
        let at = changes.tables.iter().position(|t| *t == header).unwrap_or_else(|| {
            changes.tables.push(header);
            changes.tables.len() - 1
        });
        let id = ValueRef::Int(table.cast_signed());
        let (key, after) = (Row::from_values([id]), Row::from_values([id, ValueRef::Int(*last)]));
        changes.push(ChangeRef {
            op: Op::Insert,
            table: at,
            key: key.as_ref(),
            before: None,
            after: Some(after.as_ref()),
            changed: None,
        });
    }
    changes
}

/// What [`taken`] says of a database: tables, and their last numbers taken.
pub fn taken_in(changes: &Changes, db: u64) -> impl Iterator<Item = (u64, i64)> + '_ {
    let ours = move |at: usize| changes.tables.get(at).is_some_and(|t| t.table == COUNTERS && t.db == db);
    changes.iter().filter(move |c| ours(c.table)).filter_map(|change| {
        let mut values = change.after?.iter();
        match (values.next()?, values.next()?) {
            (ValueRef::Int(table), ValueRef::Int(last)) => Some((table.cast_unsigned(), last)),
            _ => None,
        }
    })
}

#[cfg(test)]
#[path = "numbers_tests.rs"]
mod tests;
