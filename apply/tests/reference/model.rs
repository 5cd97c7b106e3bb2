//! The reference fold: slow, obvious, on lists. Shares nothing with `apply/` but the entry type and the definitions as data.

use std::collections::BTreeMap;

use starling_apply::catalog::{Column, DefaultValue, Index, IndexKind, Table};
use starling_apply::schema::SchemaChange;
use starling_apply::types::BaseType;
use starling_log::entry::object_id;
use starling_log::{Body, Entry, Op, Place, Row, Stamp, Value, ValueRef};

pub type Cells = BTreeMap<u32, Value>;

#[derive(Clone, Debug)]
pub struct RefRow {
    pub cells: Cells,
    /// When it was written last: stamp, position in the entry, and something stable for ties.
    pub last: (Stamp, usize),
}

#[derive(Clone, Debug)]
pub struct RefTable {
    pub id: u64,
    pub def: Table,
    /// All definitions it had, and the places of the entries that made them.
    pub versions: Vec<(Place, Table)>,
    pub rows: Vec<RefRow>,
}

#[derive(Clone, Debug, Default)]
pub struct State {
    pub tables: Vec<RefTable>,
}

fn knows(entry: &Entry, place: Place) -> bool {
    if entry.place.origin == place.origin {
        place.seq < entry.place.seq
    } else {
        entry.causes.get(place.origin) >= place.seq
    }
}

/// Folds entries in stamp order.
pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> State {
    let mut sorted: Vec<&Entry> = entries.into_iter().collect();
    sorted.sort_by_key(|e| e.stamp);
    let mut state = State::default();
    for entry in sorted {
        match &entry.body {
            Body::Schema(s) => {
                let change: SchemaChange = serde_json::from_slice(&s.payload).expect("payload");
                schema(&mut state, entry, change);
            }
            Body::Rows(_) => rows(&mut state, entry),
            _ => {}
        }
    }
    state
}

fn same_text(column: &Column, a: &[u8], b: &[u8]) -> bool {
    match column.ty.collation.as_deref() {
        Some(name) if name.ends_with("_ci") => a.eq_ignore_ascii_case(b),
        _ => a == b,
    }
}

/// NULLs are never equal.
fn equal(def: &Table, id: u32, a: &Value, b: &Value) -> bool {
    match (def.columns.iter().find(|c| c.id == id), a, b) {
        (_, Value::Null, _) | (_, _, Value::Null) => false,
        (Some(c), Value::Text(a), Value::Text(b)) => same_text(c, a, b),
        _ => a == b,
    }
}

fn key_ids(def: &Table) -> Vec<u32> {
    match def.indexes.iter().find(|i| i.kind == IndexKind::Primary) {
        Some(i) => i.parts.iter().map(|p| p.column).collect(),
        None => vec![0],
    }
}

pub fn same_on(def: &Table, ids: &[u32], a: &Cells, b: &Cells) -> bool {
    ids.iter().all(|id| match (a.get(id), b.get(id)) {
        (Some(a), Some(b)) => equal(def, *id, a, b),
        _ => false,
    })
}

fn uniques(def: &Table) -> Vec<Vec<u32>> {
    let unique = |i: &&Index| i.kind == IndexKind::Unique;
    def.indexes
        .iter()
        .filter(unique)
        .map(|i| i.parts.iter().map(|p| p.column).collect())
        .collect()
}

/// Do two rows exclude each other, by key or unique value?
pub fn clash(def: &Table, a: &Cells, b: &Cells) -> bool {
    same_on(def, &key_ids(def), a, b) || uniques(def).iter().any(|ids| same_on(def, ids, a, b))
}

fn cast(value: &Value, from: &Column, to: &Column) -> Value {
    match (value, to.ty.base) {
        (Value::Null, _) if !to.nullable => zero(to),
        (Value::Int(i), BaseType::VarChar) => Value::Text(i.to_string().into_bytes()),
        (Value::Text(t), BaseType::Int) if from.ty.base == BaseType::VarChar => {
            let digits: String = String::from_utf8_lossy(t)
                .chars()
                .enumerate()
                .take_while(|(i, c)| c.is_ascii_digit() || (*i == 0 && *c == '-'))
                .map(|(_, c)| c)
                .collect();
            Value::Int(digits.parse().unwrap_or(0))
        }
        _ => value.clone(),
    }
}

fn zero(column: &Column) -> Value {
    match column.ty.base {
        BaseType::VarChar => Value::Text(Vec::new()),
        _ => Value::Int(0),
    }
}

fn default(column: &Column) -> Value {
    match (&column.default, column.ty.base) {
        (DefaultValue::Literal(t), BaseType::VarChar) => Value::Text(t.clone().into_bytes()),
        (DefaultValue::Literal(t), _) => Value::Int(t.parse().unwrap_or(0)),
        _ if column.nullable => Value::Null,
        _ => zero(column),
    }
}

/// A row under the next definition.
fn carry(cells: &Cells, old: &Table, new: &Table) -> Cells {
    let mut out = Cells::new();
    if let Some(hidden) = cells.get(&0) {
        out.insert(0, hidden.clone());
    }
    for column in &new.columns {
        let was = old.columns.iter().find(|c| c.id == column.id);
        let value = match (was, cells.get(&column.id)) {
            (Some(was), Some(value)) => cast(value, was, column),
            _ => default(column),
        };
        out.insert(column.id, value);
    }
    out
}

fn schema(state: &mut State, entry: &Entry, change: SchemaChange) {
    match change {
        SchemaChange::CreateTable { table } => state.tables.push(RefTable {
            id: object_id(entry.place, 0),
            versions: vec![(entry.place, (*table).clone())],
            def: *table,
            rows: Vec::new(),
        }),
        SchemaChange::DropTables { tables } => state.tables.retain(|t| !tables.contains(&t.id)),
        SchemaChange::TruncateTable { table } => {
            for t in state.tables.iter_mut().filter(|t| t.id == table) {
                t.rows.clear();
            }
        }
        SchemaChange::AlterTable { table } => {
            for t in state.tables.iter_mut().filter(|t| t.id == table.id) {
                let old = std::mem::replace(&mut t.def, (*table).clone());
                if old == *table {
                    continue;
                }
                t.versions.push((entry.place, (*table).clone()));
                let mut rows = std::mem::take(&mut t.rows);
                rows.sort_by_key(|r| r.last);
                for row in rows {
                    let cells = carry(&row.cells, &old, &t.def);
                    t.rows.retain(|r| !clash(&t.def, &r.cells, &cells));
                    t.rows.push(RefRow { cells, last: row.last });
                }
            }
        }
        _ => {}
    }
}

fn cells_of(columns: &[u32], row: &Row) -> Cells {
    let mut cells = Cells::new();
    for (id, value) in columns.iter().zip(row.as_ref().iter()) {
        if value != ValueRef::Absent {
            cells.insert(*id, value.to_owned().expect("value"));
        }
    }
    cells
}

struct Mapped {
    op: Op,
    old: Option<Cells>,
    after: Option<Cells>,
    changed: Vec<u32>,
}

/// A row change under the table's present definition.
fn mapped(table: &RefTable, entry: &Entry, change: &starling_log::Change, columns: &[u32], key: &[u16]) -> Mapped {
    let author = table.versions.iter().rposition(|(place, _)| knows(entry, *place)).unwrap_or(0);
    let through = |cells: Cells| {
        let chain = &table.versions[author..];
        let mut cells = cells;
        for pair in chain.windows(2) {
            cells = carry(&cells, &pair[0].1, &pair[1].1);
        }
        cells
    };
    let key_columns: Vec<u32> = key.iter().map(|k| columns[usize::from(*k)]).collect();
    let known = |id: &u32| *id == 0 || table.def.columns.iter().any(|c| c.id == *id);
    let changed = change.changed.iter().flat_map(|bits| {
        columns
            .iter()
            .enumerate()
            .filter(|(i, _)| bits[i / 8] >> (i % 8) & 1 == 1)
            .map(|(_, id)| *id)
    });
    Mapped {
        op: change.op,
        old: (change.op != Op::Insert).then(|| through(cells_of(&key_columns, &change.key))),
        after: change.after.as_ref().map(|a| through(cells_of(columns, a))),
        changed: changed.filter(known).collect(),
    }
}

fn rows(state: &mut State, entry: &Entry) {
    let Body::Rows(changes) = &entry.body else { return };
    let headers = &changes.tables;
    for table in &mut state.tables {
        // Rows this entry wrote, in the order of their last change.
        let mut written: Vec<RefRow> = Vec::new();
        let key = key_ids(&table.def);
        for (index, change) in changes.iter().enumerate() {
            let header = &headers[change.table];
            if header.table != table.id {
                continue;
            }
            let change = starling_log::Change {
                op: change.op,
                table: change.table,
                key: change.key.to_owned(),
                before: change.before.map(|b| b.to_owned()),
                after: change.after.map(|a| a.to_owned()),
                changed: change.changed.map(<[u8]>::to_vec),
            };
            let m = mapped(table, entry, &change, &header.columns, &header.key);
            let mut take = |cells: &Cells| {
                let at = |rows: &[RefRow]| rows.iter().position(|r| same_on(&table.def, &key, &r.cells, cells));
                if let Some(i) = at(&written) {
                    return Some(written.remove(i));
                }
                at(&table.rows).map(|i| table.rows.remove(i))
            };
            let base = m.old.as_ref().and_then(&mut take);
            let Some(after) = m.after.filter(|_| m.op != Op::Delete) else {
                continue;
            };
            take(&after);
            let cells = match base {
                Some(base) => {
                    let mut cells = base.cells;
                    for id in &m.changed {
                        cells.insert(*id, after[id].clone());
                    }
                    cells
                }
                None => after,
            };
            written.push(RefRow {
                cells,
                last: (entry.stamp, index),
            });
        }
        for row in written {
            table.rows.retain(|r| !clash(&table.def, &r.cells, &row.cells));
            table.rows.push(row);
        }
    }
}
