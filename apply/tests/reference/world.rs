//! Random histories: several origins, each writing on what it has seen, with clocks that drift apart.

use std::collections::BTreeMap;

use starling_apply::catalog::{Column, DefaultValue, Index, IndexKind, KeyPart, Table};
use starling_apply::schema::SchemaChange;
use starling_apply::types::{BaseType, ColumnType};
use starling_log::entry::object_id;
use starling_log::{Body, ChangeRef, Changes, Entry, Hlc, Op, Place, Row, Schema, Stamp, TableRef, Value, ValueRef, VersionVector};

use super::model::{Cells, State, clash, fold};

/// Small and seeded: a failing seed is the bug report.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            return None;
        }
        let at = usize::try_from(self.roll(from.len() as u64)).expect("small");
        from.get(at)
    }
}

pub const DATABASE: Place = Place { origin: 1, seq: 1 };

pub fn database() -> u64 {
    object_id(DATABASE, 0)
}

pub fn column(id: u32, name: &str, base: BaseType, nullable: bool) -> Column {
    let mut ty = ColumnType::new(base);
    if base == BaseType::VarChar {
        ty.length = Some(20);
        ty.collation = Some("utf8mb4_0900_ai_ci".into());
    }
    Column {
        id,
        name: name.into(),
        ty,
        nullable,
        default: DefaultValue::None,
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    }
}

pub fn index(id: u32, kind: IndexKind, columns: &[u32]) -> Index {
    let part = |c: &u32| KeyPart {
        column: *c,
        prefix: None,
        descending: false,
    };
    Index {
        id,
        name: format!("i{id}"),
        kind,
        parts: columns.iter().map(part).collect(),
        comment: String::new(),
        invisible: false,
    }
}

fn table(name: &str, columns: Vec<Column>, indexes: Vec<Index>) -> Table {
    Table {
        id: 0,
        db: database(),
        name: name.into(),
        columns,
        indexes,
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: "utf8mb4_0900_ai_ci".into(),
        engine: "InnoDB".into(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
        next_id: 100,
    }
}

/// An integer key with two unique indexes; a text key; no key.
fn tables() -> Vec<Table> {
    use BaseType::{Int, VarChar};
    vec![
        table(
            "plain",
            vec![
                column(1, "id", Int, false),
                column(2, "a", Int, true),
                column(3, "b", VarChar, true),
                column(4, "c", Int, true),
            ],
            vec![
                index(50, IndexKind::Primary, &[1]),
                index(51, IndexKind::Unique, &[2]),
                index(52, IndexKind::Unique, &[3, 4]),
                index(53, IndexKind::Plain, &[4]),
            ],
        ),
        table(
            "words",
            vec![
                column(1, "w", VarChar, false),
                column(2, "n", Int, false),
                column(3, "v", Int, true),
                column(4, "x", VarChar, true),
            ],
            vec![index(50, IndexKind::Primary, &[1, 2]), index(51, IndexKind::Plain, &[3])],
        ),
        table(
            "keyless",
            vec![column(1, "a", Int, true), column(2, "b", VarChar, true)],
            vec![index(51, IndexKind::Unique, &[2])],
        ),
    ]
}

struct Node {
    origin: u16,
    seen: VersionVector,
    clock: u64,
    hidden: i64,
}

pub struct World {
    pub entries: Vec<Entry>,
    nodes: Vec<Node>,
    dice: Dice,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut world = World {
            entries: Vec::new(),
            nodes: (1..=3)
                .map(|origin| Node {
                    origin,
                    seen: VersionVector::new(),
                    clock: 1000,
                    hidden: i64::from(origin) * 1000,
                })
                .collect(),
            dice: Dice(seed),
        };
        world.schema(SchemaChange::CreateDatabase {
            name: "shop".into(),
            collation: "utf8mb4_0900_ai_ci".into(),
        });
        for table in tables() {
            world.schema(SchemaChange::CreateTable { table: Box::new(table) });
        }
        world
    }

    /// A history made by hand.
    pub fn of(entries: Vec<Entry>) -> World {
        World {
            entries,
            nodes: Vec::new(),
            dice: Dice(0),
        }
    }

    /// A history of about `steps` entries.
    pub fn history(seed: u64, steps: usize) -> World {
        let mut world = World::new(seed);
        for _ in 0..steps {
            let node = usize::try_from(world.dice.roll(3)).expect("small");
            match world.dice.roll(20) {
                0..=6 => world.sync(node),
                7..=8 => world.alter(),
                _ => world.write(node),
            }
        }
        world
    }

    pub fn view(&self, node: usize) -> State {
        let seen = &self.nodes[node].seen;
        fold(self.entries.iter().filter(|e| seen.contains(e.place)))
    }

    fn append(&mut self, node: usize, body: Body) {
        let skew = 1 + self.dice.roll(30);
        let n = &mut self.nodes[node];
        n.clock += skew;
        let place = Place {
            origin: n.origin,
            seq: n.seen.get(n.origin) + 1,
        };
        let mut causes = n.seen.clone();
        causes.0.remove(&n.origin);
        let stamp = Stamp {
            hlc: Hlc(n.clock),
            origin: n.origin,
        };
        n.seen.advance(n.origin, place.seq);
        self.entries.push(Entry {
            place,
            stamp,
            causes,
            schema: 0,
            body,
        });
    }

    /// The node takes some of what another has seen (causally closed, because it takes all of it or the log up to a point).
    fn sync(&mut self, node: usize) {
        let other = usize::try_from(self.dice.roll(3)).expect("small");
        let theirs = self.nodes[other].seen.clone();
        self.nodes[node].seen.merge(&theirs);
        let newest = self
            .entries
            .iter()
            .filter(|e| theirs.contains(e.place))
            .map(|e| e.stamp.hlc.0)
            .max();
        let n = &mut self.nodes[node];
        n.clock = n.clock.max(newest.unwrap_or(0));
    }

    fn schema(&mut self, change: SchemaChange) {
        let db = if self.entries.is_empty() { 0 } else { database() };
        let payload = serde_json::to_vec(&change).expect("payload");
        self.append(0, Body::Schema(Schema { db, payload }));
    }

    /// Only the founder changes the schema.
    fn alter(&mut self) {
        let view = self.view(0);
        let Some(t) = self.dice.pick(&view.tables) else { return };
        let mut def = t.def.clone();
        def.id = t.id;
        let id = def.next_id;
        def.next_id += 1;
        let key: Vec<u32> = def.indexes.iter().flat_map(|i| i.parts.iter().map(|p| p.column)).collect();
        match self.dice.roll(8) {
            0 => return self.schema(SchemaChange::TruncateTable { table: t.id }),
            1 | 2 => {
                let mut c = column(id, &format!("n{id}"), BaseType::Int, self.dice.roll(2) == 0);
                if self.dice.roll(2) == 0 {
                    c.default = DefaultValue::Literal("7".into());
                }
                let at = usize::try_from(self.dice.roll(def.columns.len() as u64 + 1)).expect("small");
                def.columns.insert(at, c);
            }
            3 => {
                if def.columns.len() == 1 {
                    return;
                }
                let Some(gone) = def.columns.iter().rposition(|c| !key.contains(&c.id)) else {
                    return;
                };
                def.columns.remove(gone);
            }
            4 => {
                let Some(last) = def.columns.last_mut() else { return };
                last.name = format!("r{id}");
            }
            5 => {
                // INT to VARCHAR and back, key or not.
                let at = usize::try_from(self.dice.roll(def.columns.len() as u64)).expect("small");
                let c = &mut def.columns[at];
                let base = if c.ty.base == BaseType::Int {
                    BaseType::VarChar
                } else {
                    BaseType::Int
                };
                let fresh = column(c.id, &c.name, base, c.nullable);
                if base == BaseType::VarChar {
                    *c = fresh;
                } else {
                    return;
                }
            }
            6 => {
                let Some(c) = self.dice.pick(&def.columns) else { return };
                let mut unique = index(id, IndexKind::Unique, &[c.id]);
                // As at a real node, refused where rows the founder sees exclude each other.
                unique.id = id;
                def.indexes.push(unique);
                let clashes = |(i, a): (usize, &super::model::RefRow)| t.rows[..i].iter().any(|b| clash(&def, &a.cells, &b.cells));
                if t.rows.iter().enumerate().any(clashes) {
                    return;
                }
            }
            _ => {
                let Some(at) = def.indexes.iter().position(|i| i.kind == IndexKind::Unique) else {
                    return;
                };
                def.indexes.remove(at);
            }
        }
        self.schema(SchemaChange::AlterTable { table: Box::new(def) });
    }

    fn value(&mut self, c: &Column) -> Value {
        if c.nullable && self.dice.roll(4) == 0 {
            return Value::Null;
        }
        let n = self.dice.roll(4);
        match c.ty.base {
            BaseType::VarChar => {
                let word = ["a", "A", "b", "Bee"][usize::try_from(n).expect("small")];
                Value::Text(word.as_bytes().to_vec())
            }
            _ => Value::Int(n.cast_signed()),
        }
    }

    /// One transaction of a few changes, on what the node has seen.
    fn write(&mut self, node: usize) {
        let view = self.view(node);
        let Some(t) = self.dice.pick(&view.tables).cloned() else { return };
        let mut changes = Changes::default();
        let keyless = !t.def.indexes.iter().any(|i| i.kind == IndexKind::Primary);
        let mut columns: Vec<u32> = if keyless { vec![0] } else { Vec::new() };
        columns.extend(t.def.columns.iter().map(|c| c.id));
        let key: Vec<u32> = match t.def.indexes.iter().find(|i| i.kind == IndexKind::Primary) {
            Some(i) => i.parts.iter().map(|p| p.column).collect(),
            None => vec![0],
        };
        let at = |id: &u32| u16::try_from(columns.iter().position(|c| c == id).expect("column")).expect("small");
        changes.tables.push(TableRef {
            db: database(),
            table: t.id,
            columns: columns.clone(),
            key: key.iter().map(at).collect(),
        });
        let mut rows: Vec<Cells> = t.rows.iter().map(|r| r.cells.clone()).collect();
        for _ in 0..=self.dice.roll(4) {
            self.one(node, &t.def, &columns, &key, &mut rows, &mut changes);
        }
        if changes.count > 0 {
            self.append(node, Body::Rows(changes));
        }
    }

    fn one(&mut self, node: usize, def: &Table, columns: &[u32], key: &[u32], rows: &mut Vec<Cells>, out: &mut Changes) {
        let pack = |ids: &[u32], cells: &Cells| Row::from_values(ids.iter().map(|id| cells.get(id).map_or(ValueRef::Null, Value::as_ref)));
        let victim = self.dice.roll(rows.len().max(1) as u64);
        let victim = usize::try_from(victim).expect("small");
        match self.dice.roll(5) {
            0 | 1 => {
                let mut cells = Cells::new();
                if key == [0] {
                    self.nodes[node].hidden += 1;
                    cells.insert(0, Value::Int(self.nodes[node].hidden));
                }
                for c in &def.columns {
                    let value = self.value(c);
                    cells.insert(c.id, value);
                }
                if rows.iter().any(|r| clash(def, r, &cells)) {
                    return;
                }
                out.push(ChangeRef {
                    op: Op::Insert,
                    table: 0,
                    key: pack(key, &cells).as_ref(),
                    before: None,
                    after: Some(pack(columns, &cells).as_ref()),
                    changed: None,
                });
                rows.push(cells);
            }
            2 | 3 if !rows.is_empty() => {
                let old = rows[victim].clone();
                let mut new = old.clone();
                for c in &def.columns {
                    if self.dice.roll(3) == 0 {
                        let value = self.value(c);
                        new.insert(c.id, value);
                    }
                }
                let others = rows.iter().enumerate().filter(|(i, _)| *i != victim);
                if new == old || others.clone().any(|(_, r)| clash(def, r, &new)) {
                    return;
                }
                let mut bits = vec![0u8; columns.len().div_ceil(8)];
                for (i, id) in columns.iter().enumerate() {
                    if old.get(id) != new.get(id) {
                        bits[i / 8] |= 1 << (i % 8);
                    }
                }
                out.push(ChangeRef {
                    op: Op::Update,
                    table: 0,
                    key: pack(key, &old).as_ref(),
                    before: Some(pack(columns, &old).as_ref()),
                    after: Some(pack(columns, &new).as_ref()),
                    changed: Some(&bits),
                });
                rows[victim] = new;
            }
            4 if !rows.is_empty() => {
                let old = rows.remove(victim);
                out.push(ChangeRef {
                    op: Op::Delete,
                    table: 0,
                    key: pack(key, &old).as_ref(),
                    before: Some(pack(columns, &old).as_ref()),
                    after: None,
                    changed: None,
                });
            }
            _ => {}
        }
    }

    /// An order of arrival at the author of `origin`: before each entry of its own just what it had seen.
    pub fn authored_order(&self, origin: u16, dice: &mut Dice) -> Vec<&Entry> {
        let mut out: Vec<&Entry> = Vec::new();
        let own = self.entries.iter().filter(|e| e.place.origin == origin);
        let all = self.arrival(dice);
        let mut have = VersionVector::new();
        for entry in own {
            for e in &all {
                if entry.causes.contains(e.place) && e.place.origin != origin && !have.contains(e.place) {
                    have.advance(e.place.origin, e.place.seq);
                    out.push(e);
                }
            }
            have.advance(origin, entry.place.seq);
            out.push(entry);
        }
        out.extend(all.into_iter().filter(|e| !have.contains(e.place)));
        out
    }

    /// The entries in some order in which each comes after its causes.
    pub fn arrival(&self, dice: &mut Dice) -> Vec<&Entry> {
        let mut left: Vec<&Entry> = self.entries.iter().collect();
        let mut have = VersionVector::new();
        let mut out = Vec::new();
        while !left.is_empty() {
            let ready: Vec<usize> = (0..left.len())
                .filter(|i| have.get(left[*i].place.origin) + 1 == left[*i].place.seq && have.covers(&left[*i].causes))
                .collect();
            let at = *dice.pick(&ready).expect("causes are acyclic");
            let entry = left.remove(at);
            have.advance(entry.place.origin, entry.place.seq);
            out.push(entry);
        }
        out
    }
}

/// The tables as lists of rows, sorted: what must be equal.
pub fn rows_of(state: &State) -> BTreeMap<u64, Vec<String>> {
    let table = |t: &super::model::RefTable| {
        let mut rows: Vec<String> = t.rows.iter().map(|r| format!("{:?}", r.cells)).collect();
        rows.sort();
        (t.id, rows)
    };
    state.tables.iter().map(table).collect()
}

/// One line for people.
pub fn describe(entry: &Entry) -> String {
    let mut out = format!("{:?} at {} causes {:?}", entry.place, entry.stamp.hlc.0, entry.causes.0);
    match &entry.body {
        Body::Schema(s) => out.push_str(&format!(" {}", String::from_utf8_lossy(&s.payload))),
        Body::Rows(changes) => {
            for c in changes.iter() {
                let list = |r: starling_log::RowRef<'_>| r.iter().map(|v| format!("{:?}", v.to_owned())).collect::<Vec<_>>().join(" ");
                out.push_str(&format!(
                    "\n    {:?} of {:x} {:?} key {} after {} changed {:?}",
                    c.op,
                    changes.tables[c.table].table,
                    changes.tables[c.table].columns,
                    list(c.key),
                    c.after.map(list).unwrap_or_default(),
                    c.changed
                ));
            }
        }
        _ => {}
    }
    out
}
