//! Changes of definition that the random histories leave out: names that are swapped, foreign keys that follow, primary keys that
//! come and go. Every table ends in the shape SQLite would have been given at once, with its rows.

#[path = "reference/model.rs"]
#[allow(dead_code)]
mod model;
#[path = "reference/replica.rs"]
#[allow(dead_code)]
mod replica;
#[path = "reference/world.rs"]
#[allow(dead_code)]
mod world;

use replica::Replica;
use starling_apply::catalog::{DefaultValue, FkAction, ForeignKey, IndexKind, Table};
use starling_apply::schema::{Rename, SchemaChange};
use starling_apply::types::BaseType;
use starling_log::entry::object_id;
use starling_log::{Body, ChangeRef, Changes, Entry, Hlc, Op, Place, Row, Schema, Stamp, TableRef, ValueRef, VersionVector};
use world::{World, column, database, index};

fn table(name: &str) -> Table {
    Table {
        id: 0,
        db: database(),
        name: name.into(),
        columns: vec![column(1, "id", BaseType::Int, false), column(2, "a", BaseType::Int, true)],
        indexes: vec![index(50, IndexKind::Primary, &[1])],
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

fn id(seq: u64) -> u64 {
    object_id(Place { origin: 1, seq }, 0)
}

/// Entries of origin 1, one after the other.
fn story(bodies: Vec<Body>) -> Vec<Entry> {
    let numbered = (1u64..).zip(bodies);
    numbered
        .map(|(seq, body)| Entry {
            place: Place { origin: 1, seq },
            stamp: Stamp {
                hlc: Hlc(seq * 10),
                origin: 1,
            },
            causes: VersionVector::new(),
            schema: 0,
            body,
        })
        .collect()
}

fn ddl(change: &SchemaChange) -> Body {
    let db = if matches!(change, SchemaChange::CreateDatabase { .. }) {
        0
    } else {
        database()
    };
    Body::Schema(Schema {
        db,
        payload: change.to_payload(),
    })
}

fn create(name: &str) -> Body {
    ddl(&SchemaChange::CreateTable {
        table: Box::new(table(name)),
    })
}

fn start() -> Body {
    ddl(&SchemaChange::CreateDatabase {
        name: "shop".into(),
        collation: "utf8mb4_0900_ai_ci".into(),
    })
}

fn row(cells: &[i64]) -> Row {
    Row::from_values(cells.iter().map(|c| ValueRef::Int(*c)))
}

fn insert(table: u64, rows: &[[i64; 2]]) -> Body {
    let mut changes = Changes {
        tables: vec![TableRef {
            db: database(),
            table,
            columns: vec![1, 2],
            key: vec![0],
        }],
        ..Changes::default()
    };
    for cells in rows {
        changes.push(ChangeRef {
            op: Op::Insert,
            table: 0,
            key: row(&cells[..1]).as_ref(),
            before: None,
            after: Some(row(cells).as_ref()),
            changed: None,
        });
    }
    Body::Rows(changes)
}

fn replay(entries: &[Entry]) -> Replica {
    let mut replica = Replica::new(&World::of(entries.to_vec()));
    for entry in entries {
        replica.apply(entry);
        replica.commit();
    }
    replica
}

fn some(cells: [i64; 4]) -> [Option<i64>; 4] {
    cells.map(Some)
}

#[test]
fn swapped_names_keep_their_rows_and_foreign_keys_follow() {
    let mut child = table("child");
    child.foreign_keys.push(ForeignKey {
        name: "fk".into(),
        columns: vec![2],
        parent: "a".into(),
        parent_columns: vec!["id".into()],
        on_delete: FkAction::Cascade,
        on_update: FkAction::NoAction,
    });
    let rename = |seq, to: &str| Rename {
        table: id(seq),
        to_db: database(),
        to_name: to.into(),
    };
    let entries = story(vec![
        start(),
        create("a"),
        create("b"),
        ddl(&SchemaChange::CreateTable { table: Box::new(child) }),
        insert(id(2), &[[1, 10]]),
        insert(id(3), &[[2, 20]]),
        insert(id(4), &[[3, 1]]),
        ddl(&SchemaChange::RenameTables {
            renames: vec![rename(2, "b"), rename(3, "a")],
        }),
        insert(id(2), &[[5, 50]]),
    ]);
    let replica = replay(&entries);
    assert_eq!(
        replica.ints("SELECT id, a, 0, 0 FROM shop.b ORDER BY id"),
        [some([1, 10, 0, 0]), some([5, 50, 0, 0])]
    );
    assert_eq!(replica.ints("SELECT id, a, 0, 0 FROM shop.a"), [some([2, 20, 0, 0])]);
    assert_eq!(replica.text("SELECT \"table\" FROM shop.pragma_foreign_key_list('child')"), "b");
    assert_eq!(replica.ints("SELECT id, a, 0, 0 FROM shop.child"), [some([3, 1, 0, 0])]);
}

#[test]
fn a_primary_key_goes_and_another_comes() {
    let mut keyless = table("t");
    keyless.id = id(2);
    keyless.indexes.clear();
    let mut other = keyless.clone();
    other.columns[1].nullable = false;
    other.indexes.push(index(101, IndexKind::Primary, &[2]));
    let entries = story(vec![
        start(),
        create("t"),
        insert(id(2), &[[1, 10], [2, 20]]),
        ddl(&SchemaChange::AlterTable { table: Box::new(keyless) }),
        ddl(&SchemaChange::AlterTable { table: Box::new(other) }),
    ]);
    let without = replay(&entries[..4]);
    assert_eq!(
        without.ints("SELECT id, a, rowid < 0, 0 FROM shop.t ORDER BY id"),
        [some([1, 10, 1, 0]), some([2, 20, 1, 0])]
    );
    let with = replay(&entries);
    // The key is the rowid again.
    assert_eq!(
        with.ints("SELECT id, a, rowid, 0 FROM shop.t ORDER BY id"),
        [some([1, 10, 10, 0]), some([2, 20, 20, 0])]
    );
}

#[test]
fn a_writer_that_did_not_know_of_the_lost_key_meets_the_same_rows() {
    let mut keyless = table("t");
    keyless.id = id(2);
    keyless.indexes.clear();
    let mut entries = story(vec![
        start(),
        create("t"),
        insert(id(2), &[[1, 10], [2, 20]]),
        ddl(&SchemaChange::AlterTable { table: Box::new(keyless) }),
    ]);
    // Origin 2 had seen the rows, not the change; its stamp is before it once, and behind it once.
    for at in [35, 45] {
        let mut changes = Changes {
            tables: vec![TableRef {
                db: database(),
                table: id(2),
                columns: vec![1, 2],
                key: vec![0],
            }],
            ..Changes::default()
        };
        changes.push(ChangeRef {
            op: Op::Update,
            table: 0,
            key: row(&[1]).as_ref(),
            before: Some(row(&[1, 10]).as_ref()),
            after: Some(row(&[1, 11]).as_ref()),
            changed: Some(&[2]),
        });
        entries.push(Entry {
            place: Place { origin: 2, seq: 1 },
            stamp: Stamp { hlc: Hlc(at), origin: 2 },
            causes: VersionVector([(1, 3)].into_iter().collect()),
            schema: 0,
            body: Body::Rows(changes),
        });
        let late = replay(&entries);
        assert_eq!(
            late.ints("SELECT id, a, rowid < 0, 0 FROM shop.t ORDER BY id"),
            [some([1, 11, 1, 0]), some([2, 20, 1, 0])],
            "stamp {at}"
        );
        let mut sorted = entries.clone();
        sorted.sort_by_key(|e| e.stamp);
        assert_eq!(late.dump(), replay(&sorted).dump(), "stamp {at}");
        entries.pop();
    }
}

#[test]
fn columns_stand_in_catalog_order_whichever_way_they_came() {
    let mut def = table("t");
    def.id = id(2);
    let mut last = column(100, "z", BaseType::VarChar, false);
    last.default = DefaultValue::Literal("it's".into());
    def.columns.push(last);
    let mut middle = def.clone();
    middle.columns.insert(1, column(101, "m", BaseType::Int, true));
    middle.columns[3].name = "zz".into();
    let entries = story(vec![
        start(),
        create("t"),
        insert(id(2), &[[1, 10]]),
        ddl(&SchemaChange::AlterTable { table: Box::new(def) }),
        ddl(&SchemaChange::AlterTable { table: Box::new(middle) }),
    ]);
    let added = replay(&entries[..4]);
    assert_eq!(added.text("SELECT group_concat(name) FROM shop.pragma_table_info('t')"), "id,a,z");
    assert_eq!(added.text("SELECT z FROM shop.t"), "it's");
    let copied = replay(&entries);
    assert_eq!(
        copied.text("SELECT group_concat(name) FROM shop.pragma_table_info('t')"),
        "id,m,a,zz"
    );
    assert_eq!(copied.text("SELECT zz FROM shop.t"), "it's");
}

#[test]
fn the_auto_increment_high_water_survives_deletes_and_restarts_with_truncate() {
    let mut auto = table("t");
    auto.columns[0].auto_increment = true;
    auto.auto_increment = 5;
    let entries = story(vec![
        start(),
        ddl(&SchemaChange::CreateTable { table: Box::new(auto) }),
        insert(id(2), &[[7, 0]]),
        ddl(&SchemaChange::TruncateTable { table: id(2) }),
    ]);
    assert_eq!(replay(&entries[..2]).next_auto(id(2)), 5);
    let mut used = replay(&entries[..3]);
    assert_eq!(used.next_auto(id(2)), 8);
    used.crash();
    assert_eq!(used.next_auto(id(2)), 8);
    assert_eq!(replay(&entries).next_auto(id(2)), 1);
}
