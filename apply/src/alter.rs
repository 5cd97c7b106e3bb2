//! Schema entries in the fold: the definition changes, and SQLite's shapes follow.
//!
//! Promises: a schema entry may come behind rows of later stamps; where that can matter (what is unique changed, a table was
//! truncated) the table is marked to be folded from the log, else conversions and row changes commute by construction.
//! Must not know: how rows are merged.

use std::collections::BTreeSet;

use rusqlite::Connection;
use starling_log::entry::object_id;
use starling_log::{Entry, Place, Schema, Stamp, Value};

use crate::catalog::{Database, Table};
use crate::drawn;
use crate::history::{Displaced, Kind, Store};
use crate::inorder::{evaluate, is_taken, read_row};
use crate::layout::{Layout, from_sql};
use crate::materialize::{FoldError, Materializer, Outcome};
use crate::physical::quote;
use crate::reshape::{self, Shape, reshape};
use crate::schema::SchemaChange;
use crate::versions::{Schemas, Step, key_shape, uniqueness};

impl Materializer {
    pub(crate) fn apply_schema(&mut self, conn: &Connection, entry: &Entry, schema: &Schema) -> Result<Outcome, FoldError> {
        let change = SchemaChange::from_payload(&schema.payload).map_err(|e| FoldError::Broken(format!("a schema entry: {e}")))?;
        let creates = matches!(change, SchemaChange::CreateDatabase { .. }) && object_id(entry.place, 0) == self.db;
        if schema.db != self.db && !creates {
            return Ok(Outcome::default());
        }
        self.store.put_step(conn, entry.stamp, entry.place, &schema.payload)?;
        let before = self.schemas.clone();
        let in_order = self.schemas.insert(Step {
            stamp: entry.stamp,
            place: entry.place,
            change: change.clone(),
        });
        let mut outcome = Outcome {
            schema_changed: true,
            ..Outcome::default()
        };
        let Some(database) = self.schemas.database.clone() else {
            outcome.dropped = before.database.is_some();
            return Ok(outcome);
        };
        let json = serde_json::to_vec(&*database).map_err(|e| FoldError::Broken(e.to_string()))?;
        self.store.put_meta(conn, "database", &json)?;
        self.layouts.clear();
        self.mappings.clear();
        self.mark_dirty(conn, entry.stamp, &before, &change, in_order)?;
        self.follow(conn, entry, &before)?;
        if let SchemaChange::TruncateTable { table } = &change
            && !self.dirty.contains(table)
            && let Some(layout) = self.layout(*table)?
        {
            conn.execute_batch(&format!("DELETE FROM {}.{}", quote(&self.schema), quote(&layout.table.name)))?;
            self.forget_table(conn, *table)?;
        }
        if let SchemaChange::TruncateTable { table } = &change {
            drawn::forget(conn, &self.schema, *table, Some(entry.stamp))?;
        }
        Ok(outcome)
    }

    /// Tables that this entry, coming out of order, may leave other than the fold says.
    fn mark_dirty(
        &mut self,
        conn: &Connection,
        stamp: Stamp,
        before: &Schemas,
        change: &SchemaChange,
        in_order: bool,
    ) -> Result<(), FoldError> {
        if stamp > self.newest {
            return Ok(());
        }
        let truncated = match change {
            SchemaChange::TruncateTable { table } => Some(*table),
            _ => None,
        };
        let tables: Vec<u64> = self.schemas.tables.keys().copied().collect();
        for table in tables {
            let Some(old) = before.tables.get(&table) else { continue };
            let new = &self.schemas.tables[&table];
            let changed = old.all.len() != new.all.len() || old.current() != new.current();
            let matters = truncated == Some(table) || new.barrier == Some(stamp) || (changed && !in_order);
            if matters && self.store.table_touched_after(conn, table, stamp)? {
                self.dirty.insert(table);
            }
        }
        Ok(())
    }

    /// Brings SQLite's shapes from the tables `before` to the present ones.
    fn follow(&mut self, conn: &Connection, entry: &Entry, before: &Schemas) -> Result<(), FoldError> {
        let schema = self.schema.clone();
        let gone: Vec<u64> = before
            .tables
            .keys()
            .filter(|id| !self.schemas.tables.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            reshape::drop(conn, &schema, &before.tables[&id].current().name)?;
            self.forget_table(conn, id)?;
            drawn::forget(conn, &schema, id, None)?;
            self.dirty.remove(&id);
        }
        for id in &self.dirty {
            if let Some(old) = before.tables.get(id) {
                reshape::drop(conn, &schema, &old.current().name)?;
            }
        }
        self.rename_tables(conn, before)?;
        let parents = [database(before), database(&self.schemas)];
        let mut ids: BTreeSet<u64> = self.schemas.tables.keys().copied().collect();
        ids.retain(|id| !self.dirty.contains(id));
        for id in ids {
            let new = self.schemas.tables[&id].current().clone();
            let shape = Shape {
                schema: &schema,
                name: &new.name,
                table: &new,
                ms: entry.stamp.hlc.0 >> 16,
            };
            match before.tables.get(&id).map(|v| v.current().clone()) {
                None => reshape::create(conn, shape)?,
                Some(old) if *old != *new => {
                    let from = Shape { table: &old, ..shape };
                    change_shape(conn, &self.store, from, shape, &parents, (entry.stamp, entry.place))?;
                }
                Some(_) => {}
            }
            let old_start = before.tables.get(&id).map(|v| v.current().auto_increment);
            if old_start.unwrap_or(0) != new.auto_increment {
                self.start_numbers(conn, &new, old_start.is_some(), entry.place)?;
            }
        }
        Ok(())
    }

    /// AUTO_INCREMENT = n counts on from there, or (given by ALTER TABLE) behind the largest number there is. Blocks that were drawn
    /// stay drawn.
    fn start_numbers(&mut self, conn: &Connection, table: &Table, altered: bool, place: Place) -> Result<(), FoldError> {
        let start = i64::try_from(table.auto_increment.saturating_sub(1)).unwrap_or(i64::MAX);
        let mut used = self.counters.get(&(table.id, place.origin)).copied().unwrap_or(0).max(start);
        if altered && let Some(column) = table.auto_column() {
            let (column, from) = (quote(&column.name), format!("{}.{}", quote(&self.schema), quote(&table.name)));
            let sql = format!("SELECT CAST(coalesce(max({column}), 0) AS INTEGER) FROM {from}");
            used = conn.query_row(&sql, [], |row| row.get::<_, i64>(0))?.max(start);
            self.forget_counters(conn, table.id)?;
        }
        self.counters.insert((table.id, place.origin), used);
        Ok(())
    }

    /// Over temporary names, because names may be swapped.
    fn rename_tables(&self, conn: &Connection, before: &Schemas) -> Result<(), FoldError> {
        let mut renamed = Vec::new();
        for (id, versions) in &self.schemas.tables {
            let Some(old) = before.tables.get(id) else { continue };
            if old.current().name != versions.current().name && !self.dirty.contains(id) {
                renamed.push((
                    old.current().name.clone(),
                    format!("__starling_name_{id:x}"),
                    versions.current().name.clone(),
                ));
            }
        }
        for (from, between, _) in &renamed {
            reshape::rename(conn, &self.schema, from, between)?;
        }
        for (_, between, to) in &renamed {
            reshape::rename(conn, &self.schema, between, to)?;
        }
        Ok(())
    }
}

fn database(schemas: &Schemas) -> Database {
    match &schemas.database {
        Some(database) => Database::clone(database),
        None => Database {
            id: 0,
            name: String::new(),
            collation: String::new(),
            tables: Default::default(),
        },
    }
}

/// Reshapes one table, and its history where what is unique changed. Rows that exclude each other under the new definition
/// (written elsewhere at the same time as the change): the one written last stays.
pub(crate) fn change_shape(
    conn: &Connection,
    store: &Store,
    old: Shape<'_>,
    new: Shape<'_>,
    parents: &[Database; 2],
    at: (Stamp, Place),
) -> Result<(), FoldError> {
    conn.execute_batch("SAVEPOINT starling_shape")?;
    match reshape(conn, old, new, parents, None) {
        Err(e) if is_taken(&e) => {
            conn.execute_batch("ROLLBACK TO starling_shape")?;
            displace(conn, store, old, new, parents, at.0)?;
        }
        done => done?,
    }
    conn.execute_batch("RELEASE starling_shape")?;
    if uniqueness(old.table) == uniqueness(new.table) {
        return Ok(());
    }
    let table = new.table.id;
    let rekeyed = key_shape(old.table) != key_shape(new.table);
    if rekeyed {
        store.forget_records(conn, table)?;
    }
    store.forget_uniques(conn, table)?;
    let layout = layout(new)?;
    let mut recorder = store.recorder(conn, at.0, at.1)?;
    for_rows(conn, &layout, |row| {
        let key = layout.key_of_row(row);
        if rekeyed {
            recorder.record(table, &key, 0, Kind::Rekeyed, Some(&layout.raw_key(row).0))?;
        }
        let mut value = Vec::new();
        for unique in &layout.uniques {
            if unique.value(|i| row[i].as_ref(), &mut value) {
                recorder.unique(table, unique.id, &value, &key)?;
            }
        }
        Ok(())
    })
}

fn displace(
    conn: &Connection,
    store: &Store,
    old: Shape<'_>,
    new: Shape<'_>,
    parents: &[Database; 2],
    stamp: Stamp,
) -> Result<(), FoldError> {
    let before = layout(old)?;
    let mut all = Vec::new();
    let table = old.table.id;
    let mut rank = |row: &[Value]| {
        let key = before.key_of_row(row);
        let rank = store.last_record(conn, table, &key)?;
        all.push((key, before.raw_key(row)));
        Ok(rank)
    };
    reshape(conn, old, new, parents, Some(&mut rank))?;
    if key_shape(old.table) != key_shape(new.table) {
        return Ok(());
    }
    let after = layout(new)?;
    let mut gone = Vec::new();
    for (key, raw) in all {
        if read_row(conn, &after, raw.as_ref())?.is_none() {
            gone.push(Displaced { key, stamp, winner: None });
        }
    }
    store.put_displaced(conn, table, &[], stamp, &gone)
}

fn layout(shape: Shape<'_>) -> Result<Layout, FoldError> {
    Layout::new(shape.schema, shape.name, &std::sync::Arc::new(Table::clone(shape.table))).map_err(FoldError::Broken)
}

fn for_rows(conn: &Connection, layout: &Layout, mut each: impl FnMut(&[Value]) -> Result<(), FoldError>) -> Result<(), FoldError> {
    let mut stmt = conn.prepare(&layout.select_all)?;
    let mut rows = stmt.query([])?;
    let mut values: Vec<Value> = Vec::new();
    while let Some(row) = rows.next()? {
        values.clear();
        for i in 0..layout.columns.len() {
            values.push(from_sql(row.get_ref(i)?).to_owned().unwrap_or(Value::Null));
        }
        evaluate(conn, layout, &mut values)?;
        each(&values)?;
    }
    Ok(())
}
