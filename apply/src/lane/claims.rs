//! Claims of a job: what its captured changes lock, and the versions these are based on.
//!
//! Promises: each key once, in the strongest mode; nothing per row but lookups of prepared statements. A statement that changes
//! more than [`ROWS_BEFORE_TABLE`] rows of a table claims the table. Must not know: who holds which lock.

use std::collections::HashMap;

use rusqlite::Connection;
use starling_log::{ChangeRef, Changes, Op, Row, Value, ValueRef};

use super::desk::Bench;
use crate::catalog::Catalog;
use crate::claim::{Claim, ClaimKey, Mode, Version};
use crate::history::hashed;
use crate::layout::{Key, Unique};
use crate::materialize::FoldError;
use crate::newest::{Newest, later};
use crate::references;
use crate::shape::{Image, Parent, Shape, Shapes, bit, value};

/// A statement that changes (or points to) more rows of a table claims all of it.
pub const ROWS_BEFORE_TABLE: usize = 50_000;

/// Keys in the order they were met, each with its strongest mode.
#[derive(Default)]
struct Set {
    at: HashMap<ClaimKey, usize>,
    list: Vec<(ClaimKey, Mode)>,
}

impl Set {
    fn add(&mut self, key: ClaimKey, mode: Mode) {
        match self.at.get(&key) {
            Some(at) => {
                let slot = &mut self.list[*at].1;
                *slot = stronger(*slot, mode);
            }
            None => {
                self.at.insert(key.clone(), self.list.len());
                self.list.push((key, mode));
            }
        }
    }
}

/// The weakest mode that covers both.
fn stronger(a: Mode, b: Mode) -> Mode {
    match (a.min(b), a.max(b)) {
        (Mode::IntentExclusive, Mode::Shared) => Mode::Exclusive,
        (_, stronger) => stronger,
    }
}

struct Finder<'a> {
    conn: &'a Connection,
    set: Set,
    scratch: Vec<u8>,
}

impl Bench {
    pub fn claims(&mut self, conn: &Connection, catalog: &Catalog) -> Result<Vec<Claim>, FoldError> {
        let found = self.find(conn)?;
        self.resolve(conn, catalog, found)
    }

    pub fn claim_rows(
        &mut self,
        conn: &Connection,
        catalog: &Catalog,
        table: u64,
        mode: Mode,
        keys: &[Row],
    ) -> Result<Vec<Claim>, FoldError> {
        let shape = known(&mut self.shapes, table)?;
        let mut set = Set::default();
        stand_in(&mut set, &shape, intent(mode));
        if keys.len() > ROWS_BEFORE_TABLE {
            set.add(ClaimKey::Table { table }, mode);
        } else {
            for key in keys {
                let key = shape.packed_key(key.as_ref());
                set.add(ClaimKey::Row { table, key }, mode);
            }
        }
        self.resolve(conn, catalog, set)
    }

    pub fn claim_table(&mut self, conn: &Connection, catalog: &Catalog, table: u64, mode: Mode) -> Result<Claim, FoldError> {
        let mut set = Set::default();
        set.add(ClaimKey::Table { table }, mode);
        let mut claims = self.resolve(conn, catalog, set)?;
        claims.pop().ok_or_else(|| unknown(table))
    }

    /// The same without the versions, which cost lookups.
    pub fn claim_keys(&mut self, conn: &Connection) -> Result<Vec<(ClaimKey, Mode)>, FoldError> {
        self.find(conn).map(|set| set.list)
    }

    fn find(&mut self, conn: &Connection) -> Result<Set, FoldError> {
        let (changes, touched) = (self.capture.lend(), self.capture.lend_touched());
        let found = find(&mut self.shapes, conn, &changes).and_then(|mut set| {
            touch(&mut self.shapes, &mut set, &touched)?;
            Ok(set)
        });
        self.capture.give_back(changes);
        self.capture.give_back_touched(touched);
        found
    }

    /// Looks the versions up.
    fn resolve(&mut self, conn: &Connection, catalog: &Catalog, set: Set) -> Result<Vec<Claim>, FoldError> {
        let mut claims = Vec::with_capacity(set.list.len());
        for (key, mode) in set.list {
            let base = if mode.is_intent() {
                Version::default()
            } else {
                self.version(conn, catalog, &key, mode)?
            };
            claims.push(Claim { key, mode, base });
        }
        Ok(claims)
    }

    fn version(&mut self, conn: &Connection, catalog: &Catalog, key: &ClaimKey, mode: Mode) -> Result<Version, FoldError> {
        match key {
            ClaimKey::Schema { db } => {
                if let Some(known) = self.shapes.schemas.get(db) {
                    return Ok(*known);
                }
                let database = catalog.database_by_id(*db).ok_or_else(|| unknown(*db))?;
                let version = self.shapes.newest(database).schema(conn)?;
                self.shapes.schemas.insert(*db, version);
                Ok(version)
            }
            ClaimKey::Table { table } => {
                let shape = known(&mut self.shapes, *table)?;
                self.core().tables.version(*table, || shape.newest.file(conn))
            }
            ClaimKey::Row { table, .. } | ClaimKey::Unique { table, .. } | ClaimKey::Counter { table } => {
                let shape = known(&mut self.shapes, *table)?;
                version_of(&shape.newest, conn, key, mode)
            }
            // No row change claims these.
            ClaimKey::Database { .. } | ClaimKey::Control { .. } => Ok(Version::default()),
        }
    }
}

/// The newest version of a row or a unique value, for a claim of that mode: whoever wants a row for himself must have seen what points
/// to it.
pub(crate) fn version_of(newest: &Newest, conn: &Connection, key: &ClaimKey, mode: Mode) -> Result<Version, FoldError> {
    match key {
        ClaimKey::Row { table, key } => {
            let row = newest.row(conn, *table, key)?;
            if mode != Mode::Exclusive {
                return Ok(row);
            }
            Ok(later(row, newest.reference(conn, *table, key)?))
        }
        ClaimKey::Unique { table, index, value } => newest.unique(conn, *table, *index, value),
        ClaimKey::Counter { table } => newest.drawn(conn, *table),
        ClaimKey::Schema { .. } | ClaimKey::Table { .. } | ClaimKey::Database { .. } | ClaimKey::Control { .. } => Ok(Version::default()),
    }
}

fn unknown(id: u64) -> FoldError {
    FoldError::Broken(format!("a claim on an unknown table or database ({id})"))
}

fn known(shapes: &mut Shapes, table: u64) -> Result<std::sync::Arc<Shape>, FoldError> {
    shapes.get(table)?.ok_or_else(|| unknown(table))
}

fn intent(mode: Mode) -> Mode {
    match mode {
        Mode::Shared | Mode::IntentShared => Mode::IntentShared,
        Mode::Exclusive | Mode::IntentExclusive => Mode::IntentExclusive,
    }
}

/// What whoever locks rows of a table holds on all of it.
fn stand_in(set: &mut Set, shape: &Shape, mode: Mode) {
    set.add(ClaimKey::Schema { db: shape.table.db }, Mode::Shared);
    set.add(ClaimKey::Table { table: shape.table.id }, mode);
}

fn find(shapes: &mut Shapes, conn: &Connection, changes: &Changes) -> Result<Set, FoldError> {
    let tables: Vec<_> = changes.tables.iter().map(|t| known(shapes, t.table)).collect::<Result<_, _>>()?;
    let mut counts = vec![0_usize; tables.len()];
    let mut pointing = vec![0_usize; tables.len()];
    for change in changes.iter() {
        counts[change.table] += 1;
        pointing[change.table] += usize::from(change.op != Op::Delete);
    }
    let mut finder = Finder {
        conn,
        set: Set::default(),
        scratch: Vec::new(),
    };
    for ((shape, count), pointing) in tables.iter().zip(&counts).zip(&pointing) {
        stand_in(&mut finder.set, shape, Mode::IntentExclusive);
        let table = shape.table.id;
        if *count > ROWS_BEFORE_TABLE {
            finder.set.add(ClaimKey::Table { table }, Mode::Exclusive);
        }
        for parent in &shape.parents {
            let many = *pointing > ROWS_BEFORE_TABLE;
            let mode = if many { Mode::Shared } else { Mode::IntentShared };
            finder.set.add(ClaimKey::Table { table: parent.table }, mode);
        }
    }
    // Pointing rows beyond the bound have the parents' tables.
    for change in changes.iter().filter(|c| counts[c.table] <= ROWS_BEFORE_TABLE) {
        finder.change(&tables[change.table], &change)?;
    }
    Ok(finder.set)
}

/// Rows that were set to what they were: nobody else may have changed them all the same.
fn touch(shapes: &mut Shapes, set: &mut Set, touched: &Changes) -> Result<(), FoldError> {
    let tables: Vec<_> = touched.tables.iter().map(|t| known(shapes, t.table)).collect::<Result<_, _>>()?;
    for shape in &tables {
        stand_in(set, shape, Mode::IntentExclusive);
    }
    let many = touched.count as usize > ROWS_BEFORE_TABLE;
    for change in touched.iter() {
        let shape = &tables[change.table];
        let table = shape.table.id;
        if many {
            set.add(ClaimKey::Table { table }, Mode::Exclusive);
        } else {
            let key = shape.packed_key(change.key);
            set.add(ClaimKey::Row { table, key }, Mode::Exclusive);
        }
    }
    Ok(())
}

impl Finder<'_> {
    fn change(&mut self, shape: &Shape, change: &ChangeRef<'_>) -> Result<(), FoldError> {
        let table = shape.table.id;
        let before: Option<Image<'_>> = change.before.map(|r| r.iter().collect());
        let after: Option<Image<'_>> = change.after.map(|r| r.iter().collect());
        let bits = change.changed.filter(|_| change.op == Op::Update);
        let mut row = |key: Key| self.set.add(ClaimKey::Row { table, key }, Mode::Exclusive);
        row(shape.packed_key(change.key));
        let moved = bits.is_some_and(|bits| shape.header.key.iter().any(|k| bit(bits, usize::from(*k))));
        if let Some(after) = after.as_ref().filter(|_| moved) {
            row(shape.key_of(after));
        }
        self.uniques(shape, before.as_ref(), after.as_ref(), bits)?;
        if let Some(after) = &after {
            for parent in &shape.parents {
                if bits.is_none_or(|bits| parent.columns.iter().any(|c| bit(bits, *c))) {
                    self.parent(parent, after)?;
                }
            }
        }
        Ok(())
    }

    /// Values taken, and given up.
    fn uniques(
        &mut self,
        shape: &Shape,
        before: Option<&Image<'_>>,
        after: Option<&Image<'_>>,
        bits: Option<&[u8]>,
    ) -> Result<(), FoldError> {
        let mut rows = [None, None];
        for unique in &shape.layout.uniques {
            if bits.is_some_and(|bits| !unique.parts.iter().any(|p| shape.changed(p.at, bits))) {
                continue;
            }
            let old = before
                .map(|image| self.value(shape, unique, image, &mut rows[0]))
                .transpose()?
                .flatten();
            let new = after
                .map(|image| self.value(shape, unique, image, &mut rows[1]))
                .transpose()?
                .flatten();
            if old == new {
                continue;
            }
            for value in old.into_iter().chain(new) {
                let key = ClaimKey::Unique {
                    table: shape.table.id,
                    index: unique.id,
                    value,
                };
                self.set.add(key, Mode::Exclusive);
            }
        }
        Ok(())
    }

    /// The value that a row holds in the index, hashed. `row`: the whole row, once it was needed.
    fn value(
        &mut self,
        shape: &Shape,
        unique: &Unique,
        image: &Image<'_>,
        row: &mut Option<Vec<Value>>,
    ) -> Result<Option<[u8; 16]>, FoldError> {
        let there = if shape.is_stored(unique) {
            unique.value(|at| value(image, shape.at[at]), &mut self.scratch)
        } else {
            let row = match row {
                Some(row) => row,
                None => row.insert(shape.row(self.conn, image)?),
            };
            unique.value(|at| row.get(at).map_or(ValueRef::Null, |v| v.as_ref()), &mut self.scratch)
        };
        Ok(there.then(|| hashed(&self.scratch)))
    }

    fn parent(&mut self, parent: &Parent, image: &Image<'_>) -> Result<(), FoldError> {
        if let Some(key) = references::find(self.conn, parent, parent.columns.iter().map(|c| value(image, *c)))? {
            let key = ClaimKey::Row { table: parent.table, key };
            self.set.add(key, Mode::Shared);
        }
        Ok(())
    }
}
