//! The worked conflicts of `apply/README.md`, each in every order of arrival.

#[path = "reference/model.rs"]
#[allow(dead_code)]
mod model;
#[path = "reference/replica.rs"]
#[allow(dead_code)]
mod replica;
#[path = "reference/world.rs"]
#[allow(dead_code)]
mod world;

use model::fold;
use replica::Replica;
use starling_apply::catalog::{IndexKind, Table};
use starling_apply::schema::SchemaChange;
use starling_apply::types::BaseType;
use starling_log::entry::object_id;
use starling_log::{Body, ChangeRef, Changes, Entry, Hlc, Op, Place, Row, Schema, Stamp, TableRef, ValueRef, VersionVector};
use world::{column, database, index, rows_of};

const TABLE: Place = Place { origin: 1, seq: 2 };

fn table() -> Table {
    let columns = ["id", "a", "b", "u"].iter().zip(1u32..);
    Table {
        id: 0,
        db: database(),
        name: "t".into(),
        columns: columns.map(|(name, id)| column(id, name, BaseType::Int, id != 1)).collect(),
        indexes: vec![index(50, IndexKind::Primary, &[1]), index(51, IndexKind::Unique, &[4])],
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

type Cells = [Option<i64>; 4];

enum Do {
    Insert(Cells),
    /// The old row and the new one, as the author has them.
    Update(Cells, Cells),
    Delete(Cells),
}
use Do::{Delete, Insert, Update};

fn pack(cells: &[Option<i64>]) -> Row {
    Row::from_values(cells.iter().map(|c| c.map_or(ValueRef::Null, ValueRef::Int)))
}

/// A history in the making.
struct Story(Vec<Entry>);

impl Story {
    fn new() -> Story {
        let mut story = Story(Vec::new());
        let create = SchemaChange::CreateDatabase {
            name: "shop".into(),
            collation: "utf8mb4_0900_ai_ci".into(),
        };
        let made = SchemaChange::CreateTable { table: Box::new(table()) };
        for (at, db, change) in [(1, 0, create), (2, database(), made)] {
            let payload = change.to_payload();
            story.push(1, at, Body::Schema(Schema { db, payload }), &[]);
        }
        story
    }
    /// `seen`: places (besides the table's) that the author had applied.
    fn push(&mut self, origin: u16, at: u64, body: Body, seen: &[Place]) -> Place {
        let seq = self.0.iter().filter(|e| e.place.origin == origin).count() as u64 + 1;
        let mut causes = VersionVector::new();
        for place in seen.iter().chain((seq > 2 || origin != 1).then_some(&TABLE)) {
            causes.advance(place.origin, place.seq);
        }
        causes.0.remove(&origin);
        let place = Place { origin, seq };
        self.0.push(Entry {
            place,
            stamp: Stamp { hlc: Hlc(at), origin },
            causes,
            schema: 0,
            body,
        });
        place
    }
    fn rows(&mut self, origin: u16, at: u64, seen: &[Place], list: &[Do]) -> Place {
        let mut changes = Changes {
            tables: vec![TableRef {
                db: database(),
                table: object_id(TABLE, 0),
                columns: vec![1, 2, 3, 4],
                key: vec![0],
            }],
            ..Changes::default()
        };
        for one in list {
            let (op, old, new) = match one {
                Insert(new) => (Op::Insert, None, Some(new)),
                Update(old, new) => (Op::Update, Some(old), Some(new)),
                Delete(old) => (Op::Delete, Some(old), None),
            };
            let bits = old
                .zip(new)
                .map(|(a, b)| [(0..4).filter(|i| a[*i] != b[*i]).fold(0u8, |bits, i| bits | 1 << i)]);
            changes.push(ChangeRef {
                op,
                table: 0,
                key: pack(&[old.or(new).expect("a row")[0]]).as_ref(),
                before: old.map(|o| pack(o)).as_ref().map(Row::as_ref),
                after: new.map(|n| pack(n)).as_ref().map(Row::as_ref),
                changed: bits.as_ref().map(|b| b.as_slice()),
            });
        }
        self.push(origin, at, Body::Rows(changes), seen)
    }
    /// Every order of arrival in which each entry comes after its causes gives these rows (and the reference's).
    fn gives(&self, expected: &[Cells]) -> Vec<Replica> {
        let world = world::World::of(self.0.clone());
        let mut replicas = Vec::new();
        for order in orders(&self.0) {
            let mut replica = Replica::new(&world);
            for entry in &order {
                replica.apply(entry);
                replica.commit();
            }
            let arrived: Vec<u64> = order.iter().map(|e| e.stamp.hlc.0).collect();
            assert_eq!(replica.rows(), rows_of(&fold(&self.0)), "arrival {arrived:?}");
            assert_eq!(
                replica.ints("SELECT id, a, b, u FROM shop.t ORDER BY id"),
                expected,
                "arrival {arrived:?}"
            );
            replicas.push(replica);
        }
        replicas
    }
}

fn orders(entries: &[Entry]) -> Vec<Vec<&Entry>> {
    let mut out = Vec::new();
    grow(entries, &mut Vec::new(), &mut out);
    out
}

fn grow<'a>(all: &'a [Entry], so_far: &mut Vec<&'a Entry>, out: &mut Vec<Vec<&'a Entry>>) {
    if so_far.len() == all.len() {
        out.push(so_far.clone());
        return;
    }
    let mut have = VersionVector::new();
    for e in so_far.iter() {
        have.advance(e.place.origin, e.place.seq);
    }
    for e in all {
        if have.get(e.place.origin) + 1 == e.place.seq && have.covers(&e.causes) {
            so_far.push(e);
            grow(all, so_far, out);
            so_far.pop();
        }
    }
}

fn r(id: i64, a: i64, b: i64, u: impl Into<Option<i64>>) -> Cells {
    [Some(id), Some(a), Some(b), u.into()]
}

/// Node 1 inserts `rows` at 5, and everybody sees it.
fn with_rows(rows: &[Cells]) -> (Story, Place) {
    let mut story = Story::new();
    let inserts: Vec<Do> = rows.iter().map(|c| Insert(*c)).collect();
    let place = story.rows(1, 5, &[], &inserts);
    (story, place)
}

#[test]
fn two_columns_of_one_row_both_survive() {
    let old = r(1, 0, 0, None);
    let (mut s, base) = with_rows(&[old]);
    s.rows(1, 10, &[base], &[Update(old, r(1, 1, 0, None))]);
    s.rows(2, 11, &[base], &[Update(old, r(1, 0, 2, None))]);
    s.gives(&[r(1, 1, 2, None)]);
}

#[test]
fn of_one_column_the_later_value_stays_and_the_late_change_is_superseded() {
    let old = r(1, 0, 0, None);
    let (mut s, base) = with_rows(&[old]);
    let loser = s.rows(1, 10, &[base], &[Update(old, r(1, 1, 0, None))]);
    let winner = s.rows(2, 11, &[base], &[Update(old, r(1, 2, 0, None))]);
    let replicas = s.gives(&[r(1, 2, 0, None)]);
    assert!(replicas.iter().any(|replica| replica.superseded(loser, 0)), "where it came late");
    assert!(replicas.iter().all(|replica| !replica.superseded(winner, 0)));
}

#[test]
fn an_update_later_than_a_delete_brings_the_row_back_and_an_earlier_one_does_not() {
    let old = r(1, 0, 3, None);
    for (delete, update, left) in [(10, 11, vec![r(1, 2, 3, None)]), (11, 10, vec![])] {
        let (mut s, base) = with_rows(&[old]);
        s.rows(1, delete, &[base], &[Delete(old)]);
        s.rows(2, update, &[base], &[Update(old, r(1, 2, 3, None))]);
        s.gives(&left);
    }
}

#[test]
fn of_two_inserts_of_one_key_the_later_is_whole() {
    let mut s = Story::new();
    let loser = s.rows(1, 10, &[], &[Insert(r(1, 1, 1, None))]);
    s.rows(2, 11, &[], &[Insert(r(1, 2, 2, 5))]);
    for replica in s.gives(&[r(1, 2, 2, 5)]) {
        assert!(replica.superseded(loser, 0));
    }
}

#[test]
fn a_unique_value_goes_to_the_later_row() {
    let mut s = Story::new();
    let loser = s.rows(1, 10, &[], &[Insert(r(1, 0, 0, 7))]);
    let winner = s.rows(2, 11, &[], &[Insert(r(2, 0, 0, 7))]);
    for replica in s.gives(&[r(2, 0, 0, 7)]) {
        assert!(replica.superseded(loser, 0));
        assert!(!replica.superseded(winner, 0));
    }
}

#[test]
fn a_displaced_row_comes_back_with_a_later_write_of_its_own() {
    let mut s = Story::new();
    let first = s.rows(1, 10, &[], &[Insert(r(1, 0, 0, 7))]);
    let second = s.rows(2, 11, &[], &[Insert(r(2, 0, 0, 7))]);
    s.rows(1, 12, &[first], &[Update(r(1, 0, 0, 7), r(1, 5, 0, 7))]);
    for replica in s.gives(&[r(1, 5, 0, 7)]) {
        assert!(replica.superseded(second, 0));
    }
}

#[test]
fn a_late_entry_that_frees_a_value_undoes_the_displacement() {
    let mut s = Story::new();
    let first = s.rows(1, 10, &[], &[Insert(r(1, 0, 0, 7))]);
    s.rows(1, 11, &[first], &[Update(r(1, 0, 0, 7), r(1, 0, 0, 8))]);
    s.rows(2, 12, &[], &[Insert(r(2, 0, 0, 7))]);
    for replica in s.gives(&[r(1, 0, 0, 8), r(2, 0, 0, 7)]) {
        assert!(!replica.superseded(first, 0));
    }
}

#[test]
fn unique_values_are_swapped_inside_a_transaction() {
    let (one, two) = (r(1, 0, 0, 1), r(2, 0, 0, 2));
    let (mut s, base) = with_rows(&[one, two]);
    let swap = [
        Update(one, r(1, 0, 0, 9)),
        Update(two, r(2, 0, 0, 1)),
        Update(r(1, 0, 0, 9), r(1, 0, 0, 2)),
    ];
    s.rows(2, 10, &[base], &swap);
    // Behind it a change of another column, and before it one that arrives whenever.
    s.rows(3, 9, &[base], &[Update(one, r(1, 4, 0, 1))]);
    s.gives(&[r(1, 4, 0, 2), r(2, 0, 0, 1)]);
}

#[test]
fn truncate_takes_what_is_earlier_and_leaves_what_is_later() {
    let (mut s, base) = with_rows(&[r(9, 0, 0, None)]);
    let truncate = SchemaChange::TruncateTable {
        table: object_id(TABLE, 0),
    };
    let body = Body::Schema(Schema {
        db: database(),
        payload: truncate.to_payload(),
    });
    s.push(1, 10, body, &[base]);
    s.rows(2, 9, &[base], &[Insert(r(1, 0, 0, None))]);
    s.rows(3, 11, &[base], &[Insert(r(2, 0, 0, None))]);
    s.gives(&[r(2, 0, 0, None)]);
}

#[test]
fn an_image_is_not_trusted_whose_author_missed_an_earlier_change() {
    // The state before 12 is not node 2's image at 11, because node 2 had not seen 10.
    let old = r(1, 0, 0, None);
    let (mut s, base) = with_rows(&[old]);
    s.rows(1, 10, &[base], &[Update(old, r(1, 1, 0, None))]);
    s.rows(2, 11, &[base], &[Update(old, r(1, 0, 2, None))]);
    s.rows(3, 12, &[base], &[Update(old, r(1, 0, 0, 3))]);
    s.rows(4, 13, &[base], &[Update(old, r(1, 0, 0, 4))]);
    s.gives(&[r(1, 1, 2, 4)]);
}

#[test]
fn a_row_stands_again_when_its_displacer_never_had_the_value() {
    // At 13 row 1 came back whole, with u=7, and took it from row 2; with the insert at 12 it only changes b.
    let old = r(1, 0, 0, 7);
    let (mut s, base) = with_rows(&[old]);
    let moved = s.rows(1, 10, &[base], &[Update(old, r(2, 0, 0, 7))]);
    s.rows(3, 12, &[moved], &[Insert(r(1, 5, 5, None))]);
    s.rows(2, 13, &[base], &[Update(old, r(1, 0, 3, 7))]);
    s.gives(&[r(1, 5, 3, None), r(2, 0, 0, 7)]);
}
