//! The fast way: an entry behind which nothing later stands is written change by change, without looking anything up.
//!
//! Promises: either the tables are as the fold says, or `false`, and the caller undoes what was written and takes the slow way
//! (`refold`): a unique value was taken, or a row to update was not there. Must not know: how conflicts are settled.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, ffi};
use smallvec::SmallVec;
use starling_log::{ChangeRef, Changes, Entry, Op, Row, RowRef, Value, ValueRef};

use crate::history::{Kind, Recorder, Store};
use crate::layout::{Bind, Key, Layout, from_sql};
use crate::mapping::{Mapped, Mapping, Values};
use crate::materialize::FoldError;
use crate::numbers::counted;

/// One table of an entry, ready to be written.
pub struct Plan {
    pub layout: Arc<Layout>,
    pub mapping: Arc<Mapping>,
}

/// AUTO_INCREMENT high-water by table and origin.
pub type Counters = HashMap<(u64, u16), i64>;

/// Statements held over the changes of one entry.
#[derive(Default)]
struct Statements<'c> {
    insert: Option<CachedStatement<'c>>,
    delete: Option<CachedStatement<'c>>,
    update: Option<Update<'c>>,
    /// The largest AUTO_INCREMENT value written.
    auto: Option<i64>,
}

struct Update<'c> {
    bits: SmallVec<[u8; 16]>,
    set: SmallVec<[usize; 16]>,
    keeps_key: bool,
    statement: CachedStatement<'c>,
}

pub struct Writer<'c, 'e> {
    conn: &'c Connection,
    plans: &'e [Option<Plan>],
    statements: Vec<Statements<'c>>,
    recorder: Recorder<'c>,
    /// `false`: the effects are in the tables already, only records are made.
    writing: bool,
    scratch: Vec<u8>,
}

/// Is it the error of a taken unique value?
pub fn is_taken(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(e, _) if [
        ffi::SQLITE_CONSTRAINT_UNIQUE,
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
        ffi::SQLITE_CONSTRAINT_ROWID,
    ].contains(&e.extended_code))
}

impl<'c, 'e> Writer<'c, 'e> {
    pub fn new(conn: &'c Connection, store: &Store, entry: &Entry, plans: &'e [Option<Plan>], writing: bool) -> Result<Self, FoldError> {
        Ok(Writer {
            conn,
            plans,
            statements: plans.iter().map(|_| Statements::default()).collect(),
            recorder: store.recorder(conn, entry.stamp, entry.place)?,
            writing,
            scratch: Vec::new(),
        })
    }

    /// All changes of the planned tables; `false`: not so simple.
    pub fn write(&mut self, changes: &Changes) -> Result<bool, FoldError> {
        for (index, change) in changes.iter().enumerate() {
            let plans = self.plans;
            let Some(plan) = plans.get(change.table).and_then(Option::as_ref) else {
                continue;
            };
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let simple = match change.op {
                Op::Insert => self.insert(plan, index, &change)?,
                Op::Update => self.update(plan, index, &change)?,
                Op::Delete => self.delete(plan, index, &change)?,
            };
            if !simple {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Raises the counters by what was written.
    pub fn count(&self, origin: u16, counters: &mut Counters) {
        for (plan, statements) in self.plans.iter().zip(&self.statements) {
            if let (Some(plan), Some(value)) = (plan, statements.auto) {
                let slot = counters.entry((plan.layout.table.id, origin)).or_insert(0);
                *slot = (*slot).max(value);
            }
        }
    }

    fn insert(&mut self, plan: &Plan, index: u32, change: &ChangeRef<'_>) -> Result<bool, FoldError> {
        let Some(after) = change.after else {
            return Err(FoldError::Broken("an insert without its row".into()));
        };
        let image: Values<'_> = after.iter().collect();
        let (layout, mapping) = (&*plan.layout, &*plan.mapping);
        if self.writing {
            let slot = &mut self.statements[change.table].insert;
            let statement = match slot {
                Some(s) => s,
                None => slot.insert(self.conn.prepare_cached(&layout.insert)?),
            };
            for at in 0..layout.columns.len() {
                statement.raw_bind_parameter(at + 1, Bind(mapping.value(at, &image).as_ref()))?;
            }
            match statement.raw_execute() {
                Err(e) if is_taken(&e) => return Ok(false),
                done => done?,
            };
        }
        let key = mapping.new_key(layout, &image);
        self.record(plan, &key, index, Kind::Insert, || {
            Row::from_values(raw(plan, &image).iter().map(Mapped::as_ref))
        })?;
        self.raise(plan, change.table, &image);
        self.uniques(plan, &key, &image, None)
    }

    fn update(&mut self, plan: &Plan, index: u32, change: &ChangeRef<'_>) -> Result<bool, FoldError> {
        let (Some(after), Some(bits)) = (change.after, change.changed) else {
            return Err(FoldError::Broken("an update without its row".into()));
        };
        let image: Values<'_> = after.iter().collect();
        let (layout, mapping) = (&*plan.layout, &*plan.mapping);
        let Some(old) = mapping.old_key(layout, change) else {
            return Ok(false);
        };
        let known = self.statements[change.table]
            .update
            .as_ref()
            .is_some_and(|u| u.bits.as_slice() == bits);
        if !known {
            let set: SmallVec<[usize; 16]> = (0..layout.columns.len()).filter(|at| mapping.changed(*at, bits)).collect();
            if set.is_empty() {
                return Ok(false);
            }
            self.statements[change.table].update = Some(Update {
                keeps_key: mapping.keeps_key(layout, bits),
                statement: self.conn.prepare_cached(&layout.update(&set))?,
                set,
                bits: bits.into(),
            });
        }
        let Some(update) = &mut self.statements[change.table].update else {
            return Ok(false);
        };
        let keeps_key = update.keeps_key;
        if self.writing {
            let statement = &mut update.statement;
            for (i, at) in update.set.iter().enumerate() {
                statement.raw_bind_parameter(i + 1, Bind(mapping.value(*at, &image).as_ref()))?;
            }
            for (i, part) in old.iter().enumerate() {
                statement.raw_bind_parameter(update.set.len() + i + 1, Bind(part.as_ref()))?;
            }
            match statement.raw_execute() {
                Ok(0) => return Ok(false),
                Err(e) if is_taken(&e) => return Ok(false),
                done => done?,
            };
        }
        let old_key = layout.key_of(old.iter().map(Mapped::as_ref));
        let new_key = if keeps_key {
            old_key.clone()
        } else {
            mapping.new_key(layout, &image)
        };
        let new_raw = || Row::from_values(raw(plan, &image).iter().map(Mapped::as_ref));
        if new_key == old_key {
            self.record(plan, &new_key, index, Kind::Update, new_raw)?;
        } else {
            let old_raw = || Row::from_values(old.iter().map(Mapped::as_ref));
            self.record(plan, &old_key, index, Kind::Left, old_raw)?;
            self.record(plan, &new_key, index, Kind::Came, new_raw)?;
        }
        self.raise(plan, change.table, &image);
        let moved = new_key != old_key;
        self.uniques(plan, &new_key, &image, Some((bits, moved)))
    }

    fn delete(&mut self, plan: &Plan, index: u32, change: &ChangeRef<'_>) -> Result<bool, FoldError> {
        let layout = &*plan.layout;
        // Not to be found under the present primary key: nothing to delete.
        let Some(old) = plan.mapping.old_key(layout, change) else {
            return Ok(true);
        };
        if self.writing {
            let slot = &mut self.statements[change.table].delete;
            let statement = match slot {
                Some(s) => s,
                None => slot.insert(self.conn.prepare_cached(&layout.delete)?),
            };
            for (i, part) in old.iter().enumerate() {
                statement.raw_bind_parameter(i + 1, Bind(part.as_ref()))?;
            }
            statement.raw_execute()?;
        }
        let key = layout.key_of(old.iter().map(Mapped::as_ref));
        self.record(plan, &key, index, Kind::Delete, || Row::from_values(old.iter().map(Mapped::as_ref)))?;
        Ok(true)
    }

    fn record(&mut self, plan: &Plan, key: &Key, index: u32, kind: Kind, raw: impl FnOnce() -> Row) -> Result<(), FoldError> {
        let table = plan.layout.table.id;
        match key {
            Key::Int(_) => self.recorder.record(table, key, index, kind, None)?,
            Key::Bytes(_) => self.recorder.record(table, key, index, kind, Some(&raw().0))?,
        }
        Ok(())
    }

    fn raise(&mut self, plan: &Plan, table: usize, image: &[ValueRef<'_>]) {
        if let Some(at) = plan.layout.auto
            && let Some(value) = counted(plan.mapping.value(at, image).as_ref())
        {
            let slot = &mut self.statements[table].auto;
            *slot = Some(slot.map_or(value, |v| v.max(value)));
        }
    }

    /// Records the unique values of a row just written. `update`: the changed columns (values of other indexes are on record), and
    /// whether the row came to a new key (then all of them are news). Where an update did not change every column of an
    /// index the row is read back: the others may differ from the author's image.
    fn uniques(&mut self, plan: &Plan, key: &Key, image: &[ValueRef<'_>], update: Option<(&[u8], bool)>) -> Result<bool, FoldError> {
        let (layout, mapping) = (&*plan.layout, &*plan.mapping);
        if layout.uniques.is_empty() {
            return Ok(true);
        }
        let changed = |at: usize| update.is_none_or(|(bits, _)| at >= layout.columns.len() || mapping.changed(at, bits));
        let moved = update.is_some_and(|(_, moved)| moved);
        let mut whole: Option<Vec<Value>> = None;
        for unique in &layout.uniques {
            if !moved && !unique.parts.iter().any(|p| changed(p.at)) {
                continue;
            }
            let simple = unique.parts.iter().all(|p| p.at < layout.columns.len() && changed(p.at)) && mapping.plain;
            let there = if simple {
                let value = |at: usize| match mapping.value(at, image) {
                    Mapped::Borrowed(v) => v,
                    Mapped::Owned(_) => ValueRef::Null,
                };
                unique.value(value, &mut self.scratch)
            } else {
                if whole.is_none() {
                    let row = mapping.row(image);
                    let raw = layout.raw_key(&row);
                    whole = read_row(self.conn, layout, raw.as_ref())?;
                }
                let Some(row) = &whole else { continue };
                unique.value(|at| row[at].as_ref(), &mut self.scratch)
            };
            if there {
                self.recorder.unique(layout.table.id, unique.id, &self.scratch, key)?;
            }
        }
        Ok(true)
    }
}

fn raw<'a>(plan: &Plan, image: &[ValueRef<'a>]) -> SmallVec<[Mapped<'a>; 4]> {
    plan.layout.key.iter().map(|p| plan.mapping.value(p.at, image)).collect()
}

/// The row as SQLite has it, with the generated columns that unique indexes need behind.
pub fn read_row(conn: &Connection, layout: &Layout, raw_key: RowRef<'_>) -> Result<Option<Vec<Value>>, FoldError> {
    let mut stmt = conn.prepare_cached(&layout.select)?;
    for (i, part) in raw_key.iter().enumerate() {
        stmt.raw_bind_parameter(i + 1, Bind(part))?;
    }
    let mut rows = stmt.raw_query();
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut values = Vec::with_capacity(layout.columns.len());
    for i in 0..layout.columns.len() {
        values.push(from_sql(row.get_ref(i)?).to_owned().unwrap_or(Value::Null));
    }
    drop(rows);
    evaluate(conn, layout, &mut values)?;
    Ok(Some(values))
}

/// Appends the generated columns that unique indexes need.
pub fn evaluate(conn: &Connection, layout: &Layout, row: &mut Vec<Value>) -> Result<(), FoldError> {
    let Some(sql) = &layout.evaluate else { return Ok(()) };
    let mut stmt = conn.prepare_cached(sql)?;
    let count = stmt.parameter_count().min(layout.columns.len());
    for (i, value) in row.iter().take(count).enumerate() {
        stmt.raw_bind_parameter(i + 1, Bind(value.as_ref()))?;
    }
    let width = stmt.column_count();
    let mut rows = stmt.raw_query();
    if let Some(computed) = rows.next()? {
        for i in 0..width {
            row.push(from_sql(computed.get_ref(i)?).to_owned().unwrap_or(Value::Null));
        }
    }
    Ok(())
}

/// Writes one whole row.
pub fn insert_row(conn: &Connection, layout: &Layout, row: &[Value]) -> Result<(), FoldError> {
    let mut stmt = conn.prepare_cached(&layout.insert)?;
    for (i, value) in row.iter().take(layout.columns.len()).enumerate() {
        stmt.raw_bind_parameter(i + 1, Bind(value.as_ref()))?;
    }
    stmt.raw_execute()?;
    Ok(())
}

pub fn delete_row(conn: &Connection, layout: &Layout, raw_key: RowRef<'_>) -> Result<(), FoldError> {
    let mut stmt = conn.prepare_cached(&layout.delete)?;
    for (i, part) in raw_key.iter().enumerate() {
        stmt.raw_bind_parameter(i + 1, Bind(part))?;
    }
    stmt.raw_execute()?;
    Ok(())
}
