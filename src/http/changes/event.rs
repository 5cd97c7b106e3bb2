//! One entry as events: a line for each row change, or for a schema change.
//!
//! Promises: the cursor of an event points just behind it; rendering starts anywhere inside a transaction. Control entries (members,
//! accounts) are no events: they hold what is nobody's business. A change that lost to a later stamp says so (`superseded`). Must not know: who reads.

use std::io::Write;
use std::sync::Arc;

use starling_apply::catalog::Column;
use starling_apply::numbers::COUNTERS;
use starling_apply::{Catalog, ColumnType};
use starling_log::{Body, ChangeRef, Changes, Cursor, Entry, Op, Place, RowRef, Stamp, ValueRef, VersionVector};

use super::names::{Filter, Names};
use super::value;

/// How events are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Lines,
    ServerSent,
}

/// Sortable as text: 16 hexadecimal digits of time, 4 of origin.
pub fn stamp_text(stamp: Stamp) -> String {
    format!("{:016x}-{:04x}", stamp.hlc.0, stamp.origin)
}

/// Writes one event (a whole JSON object) in its frame.
pub fn frame(out: &mut Vec<u8>, framing: Framing, kind: &str, cursor: &str, json: &[u8]) {
    match framing {
        Framing::Lines => {
            out.extend_from_slice(json);
            out.push(b'\n');
        }
        Framing::ServerSent => {
            let _ = write!(out, "id: {cursor}\nevent: {kind}\ndata: ");
            out.extend_from_slice(json);
            out.extend_from_slice(b"\n\n");
        }
    }
}

/// Tells an idle reader how far it is.
pub fn heartbeat(out: &mut Vec<u8>, framing: Framing, cursor: &Cursor, now_ms: u64) {
    let cursor = cursor.to_string();
    let json = format!("{{\"op\":\"heartbeat\",\"cursor\":\"{cursor}\",\"ts_ms\":{now_ms}}}");
    frame(out, framing, "heartbeat", &cursor, json.as_bytes());
}

/// The end of a stream that could not go on.
pub fn failure(out: &mut Vec<u8>, framing: Framing, cursor: &Cursor, body: &serde_json::Value) {
    let cursor = cursor.to_string();
    let mut json = body.clone();
    json["op"] = "error".into();
    json["cursor"] = cursor.as_str().into();
    frame(out, framing, "error", &cursor, json.to_string().as_bytes());
}

/// How to render the images of one table of an entry.
struct Shape {
    shown: bool,
    db: String,
    table: String,
    /// By position in an image; `None`: the hidden key.
    columns: Vec<Option<(Vec<u8>, Option<ColumnType>)>>,
    key: Vec<u16>,
}

/// What is needed to render entries for one reader.
pub struct Renderer<'a> {
    pub catalog: &'a Catalog,
    pub names: &'a Names,
    pub filter: &'a Filter,
    pub framing: Framing,
    /// Did a change (of that database) lose to a later stamp?
    pub lost: &'a dyn Fn(&str, Place, u32) -> bool,
}

/// Where rendering of an entry stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All of it is out (or filtered).
    Done,
    /// `index` changes are out; the chunk or the limit is full.
    At(u32),
}

/// How much more may be written.
pub struct Budget {
    pub bytes: usize,
    /// Events still wanted.
    pub events: u64,
}

impl Renderer<'_> {
    /// Renders `entry` from its change number `from` on. `before` is the vector in front of the entry.
    pub fn entry(&self, out: &mut Vec<u8>, entry: &Entry, from: u32, before: &VersionVector, budget: &mut Budget) -> Stop {
        match &entry.body {
            Body::Rows(changes) => self.rows(out, entry, changes, from, before, budget),
            Body::Schema(schema) => {
                if from == 0 && self.schema(out, entry, schema, before) {
                    budget.events = budget.events.saturating_sub(1);
                }
                Stop::Done
            }
            Body::Control(_) | Body::Void => Stop::Done,
        }
    }

    fn rows(&self, out: &mut Vec<u8>, entry: &Entry, changes: &Changes, from: u32, before: &VersionVector, budget: &mut Budget) -> Stop {
        let shapes: Vec<Shape> = changes.tables.iter().map(|t| self.shape(t)).collect();
        if shapes.iter().all(|s| !s.shown) {
            return Stop::Done;
        }
        let cursors = Cursors::new(entry, changes.count, before);
        let mut line = Vec::with_capacity(512);
        for (index, change) in (0u32..).zip(changes.iter()).skip(from as usize) {
            if budget.events == 0 || out.len() >= budget.bytes {
                return Stop::At(index);
            }
            let Some(shape) = shapes.get(change.table).filter(|s| s.shown) else {
                continue;
            };
            let cursor = cursors.behind(index);
            line.clear();
            self.head(&mut line, entry, &cursor, index, changes.count, op_text(change.op));
            row_change(&mut line, shape, &change);
            if (self.lost)(&shape.db, entry.place, index) {
                line.extend_from_slice(b",\"superseded\":true");
            }
            line.push(b'}');
            frame(out, self.framing, "change", &cursor, &line);
            budget.events -= 1;
        }
        Stop::Done
    }

    fn head(&self, line: &mut Vec<u8>, entry: &Entry, cursor: &str, index: u32, count: u32, op: &str) {
        let _ = write!(
            line,
            "{{\"cursor\":\"{cursor}\",\"stamp\":\"{}\",\"ts_ms\":{},\"origin\":{},\"seq\":{},\"index\":{index},\"count\":{count},\"op\":\"{op}\"",
            stamp_text(entry.stamp),
            entry.stamp.hlc.ms(),
            entry.place.origin,
            entry.place.seq,
        );
    }

    fn shape(&self, table: &starling_log::TableRef) -> Shape {
        let named = self.names.table(self.catalog, table.db, table.table);
        let column = |id: &u32| {
            if *id == 0 {
                return None;
            }
            let found: Option<&Column> = named.definition.as_ref().and_then(|d| d.column_by_id(*id));
            let mut name = Vec::new();
            value::string(&mut name, &found.map_or_else(|| format!("#{id}"), |c| c.name.clone()));
            Some((name, found.map(|c| c.ty.clone())))
        };
        Shape {
            // Blocks of numbers that nodes drew are no rows of anybody's.
            shown: table.table != COUNTERS && self.filter.lets(&named.db, Some(&named.table)),
            columns: table.columns.iter().map(column).collect(),
            key: table.key.clone(),
            db: named.db,
            table: named.table,
        }
    }

    /// `true`: an event was written.
    fn schema(&self, out: &mut Vec<u8>, entry: &Entry, schema: &starling_log::Schema, before: &VersionVector) -> bool {
        let payload: serde_json::Value = serde_json::from_slice(&schema.payload).unwrap_or_default();
        let db = match payload.get("name").and_then(|n| n.as_str()) {
            Some(name) if schema.db == 0 => name.to_owned(),
            _ => self.names.database(self.catalog, schema.db),
        };
        let table = self.schema_table(schema.db, &payload);
        if !self.filter.lets(&db, table.as_deref()) {
            return false;
        }
        let cursor = Cursors::new(entry, 1, before).behind(0);
        let mut line = Vec::new();
        self.head(&mut line, entry, &cursor, 0, 1, "ddl");
        line.extend_from_slice(b",\"db\":");
        value::string(&mut line, &db);
        line.extend_from_slice(b",\"table\":");
        match &table {
            Some(table) => value::string(&mut line, table),
            None => line.extend_from_slice(b"null"),
        }
        line.extend_from_slice(b",\"ddl\":");
        let _ = serde_json::to_writer(&mut line, &payload);
        line.push(b'}');
        frame(out, self.framing, "change", &cursor, &line);
        true
    }

    /// The one table a schema change is about, if it is one.
    fn schema_table(&self, db: u64, payload: &serde_json::Value) -> Option<String> {
        if let Some(name) = payload.get("table").and_then(|t| t.get("name")).and_then(|n| n.as_str()) {
            return Some(name.to_owned());
        }
        let id = match (
            payload.get("table"),
            payload.get("tables").and_then(|t| t.as_array()).map(Vec::as_slice),
        ) {
            (Some(id), _) => id.as_u64()?,
            (None, Some([one])) => one.as_u64()?,
            _ => return None,
        };
        Some(self.names.table(self.catalog, db, id).table)
    }
}

fn op_text(op: Op) -> &'static str {
    match op {
        Op::Insert => "c",
        Op::Update => "u",
        Op::Delete => "d",
    }
}

fn row_change(line: &mut Vec<u8>, shape: &Shape, change: &ChangeRef<'_>) {
    line.extend_from_slice(b",\"db\":");
    value::string(line, &shape.db);
    line.extend_from_slice(b",\"table\":");
    value::string(line, &shape.table);
    line.extend_from_slice(b",\"key\":");
    let positions = shape
        .key
        .iter()
        .map(|p| shape.columns.get(usize::from(*p)).and_then(Option::as_ref));
    object(line, positions.zip(change.key.iter()), true);
    for (name, image) in [(&b",\"before\":"[..], change.before), (&b",\"after\":"[..], change.after)] {
        line.extend_from_slice(name);
        match image {
            Some(row) => image_object(line, shape, row),
            None => line.extend_from_slice(b"null"),
        }
    }
}

fn image_object(line: &mut Vec<u8>, shape: &Shape, row: RowRef<'_>) {
    object(line, shape.columns.iter().map(Option::as_ref).zip(row.iter()), false);
}

type Named = (Vec<u8>, Option<ColumnType>);

/// `hidden`: a hidden key is shown, as `_rowid`.
fn object<'a, 'b>(line: &mut Vec<u8>, columns: impl Iterator<Item = (Option<&'a Named>, ValueRef<'b>)>, hidden: bool) {
    line.push(b'{');
    let mut first = true;
    for (column, value) in columns {
        if value == ValueRef::Absent || (column.is_none() && !hidden) {
            continue;
        }
        if !first {
            line.push(b',');
        }
        first = false;
        match column {
            Some((name, ty)) => {
                line.extend_from_slice(name);
                line.push(b':');
                value::put(line, ty.as_ref(), value);
            }
            None => {
                line.extend_from_slice(b"\"_rowid\":");
                value::put(line, None, value);
            }
        }
    }
    line.push(b'}');
}

/// The cursors behind the changes of one entry.
struct Cursors {
    inside: Cursor,
    after: String,
    count: u32,
}

impl Cursors {
    fn new(entry: &Entry, count: u32, before: &VersionVector) -> Cursors {
        let mut vector = before.clone();
        vector.advance(entry.place.origin, entry.place.seq);
        let after = Cursor { vector, partial: None }.to_string();
        Cursors {
            inside: Cursor {
                vector: before.clone(),
                partial: Some((entry.place, 0)),
            },
            after,
            count,
        }
    }

    fn behind(&self, index: u32) -> String {
        if index + 1 >= self.count {
            return self.after.clone();
        }
        let mut cursor = self.inside.clone();
        if let Some((_, emitted)) = &mut cursor.partial {
            *emitted = index + 1;
        }
        cursor.to_string()
    }
}

/// Kept by feeds between chunks.
#[derive(Clone, Debug)]
pub struct Rest {
    pub entry: Arc<Entry>,
    pub from: u32,
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
