//! Rendering of entries, with a catalog made by hand.

use starling_apply::{BaseType, Database, Table};
use starling_log::{Hlc, Place, Row, TableRef};

use super::*;

fn catalog() -> Catalog {
    let column = |id: u32, name: &str, base: BaseType| {
        serde_json::from_value::<Column>(serde_json::json!({
            "id": id, "name": name, "ty": serde_json::to_value(ColumnType::new(base)).unwrap(), "nullable": true
        }))
        .unwrap()
    };
    let table = Table {
        id: 20,
        db: 10,
        name: "Items".into(),
        columns: vec![column(1, "id", BaseType::Int), column(2, "label", BaseType::VarChar)],
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: String::new(),
        engine: "InnoDB".into(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
        next_id: 3,
    };
    let database = Database {
        id: 10,
        name: "shop".into(),
        collation: String::new(),
        tables: [("items".to_owned(), Arc::new(table))].into(),
    };
    Catalog {
        version: 1,
        databases: [("shop".to_owned(), Arc::new(database))].into(),
    }
}

fn row(values: &[ValueRef<'_>]) -> Row {
    Row::from_values(values.iter().copied())
}

fn entry(columns: Vec<u32>, key: Vec<u16>) -> Entry {
    let mut changes = Changes {
        tables: vec![TableRef {
            db: 10,
            table: 20,
            columns,
            key,
        }],
        ..Changes::default()
    };
    let (old, new) = (
        row(&[ValueRef::Int(1), ValueRef::Text(b"a")]),
        row(&[ValueRef::Int(1), ValueRef::Text(b"b")]),
    );
    let (partial, key) = (row(&[ValueRef::Absent, ValueRef::Text(b"a")]), row(&[ValueRef::Int(1)]));
    let change =
        |op, before: Option<&Row>, after: Option<&Row>, changed: Option<&'static [u8]>| (op, before.cloned(), after.cloned(), changed);
    for (op, before, after, changed) in [
        change(Op::Insert, None, Some(&old), None),
        change(Op::Update, Some(&partial), Some(&new), Some(&[2])),
        change(Op::Delete, Some(&new), None, None),
    ] {
        changes.push(ChangeRef {
            op,
            table: 0,
            key: key.as_ref(),
            before: before.as_ref().map(Row::as_ref),
            after: after.as_ref().map(Row::as_ref),
            changed,
        });
    }
    Entry {
        place: Place { origin: 1, seq: 6 },
        stamp: Stamp {
            hlc: Hlc::from_ms(1000),
            origin: 1,
        },
        causes: VersionVector::new(),
        schema: 1,
        body: Body::Rows(changes),
    }
}

fn lines(entry: &Entry, from: u32, filter: &str, budget: &mut Budget) -> (Vec<serde_json::Value>, Stop) {
    let (catalog, names, filter) = (catalog(), Names::default(), Filter::parse(filter).unwrap());
    let renderer = Renderer {
        catalog: &catalog,
        names: &names,
        filter: &filter,
        framing: Framing::Lines,
        lost: &|db, place, index| db == "shop" && place.seq == 6 && index == 1,
    };
    let mut before = VersionVector::new();
    before.advance(1, 5);
    before.advance(3, 9);
    let mut out = Vec::new();
    let stop = renderer.entry(&mut out, entry, from, &before, budget);
    let text = String::from_utf8(out).unwrap();
    (text.lines().map(|l| serde_json::from_str(l).unwrap()).collect(), stop)
}

fn plenty() -> Budget {
    Budget {
        bytes: usize::MAX,
        events: u64::MAX,
    }
}

#[test]
fn row_changes_by_name() {
    let (events, stop) = lines(&entry(vec![1, 2], vec![0]), 0, "", &mut plenty());
    assert_eq!(stop, Stop::Done);
    let ops: Vec<&str> = events.iter().map(|e| e["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["c", "u", "d"]);
    assert_eq!(events[0]["after"], serde_json::json!({"id": 1, "label": "a"}));
    assert_eq!(events[0]["before"], serde_json::Value::Null);
    assert_eq!(events[1]["before"], serde_json::json!({"label": "a"}), "absent values stay away");
    assert_eq!(events[1]["key"], serde_json::json!({"id": 1}));
    assert_eq!(events[2]["after"], serde_json::Value::Null);
    let superseded: Vec<bool> = events.iter().map(|e| e["superseded"] == true).collect();
    assert_eq!(superseded, [false, true, false]);
    assert_eq!((&events[2]["db"], &events[2]["table"]), (&"shop".into(), &"Items".into()));
    assert_eq!(
        (&events[1]["index"], &events[1]["count"], &events[1]["seq"]),
        (&1.into(), &3.into(), &6.into())
    );
}

#[test]
fn cursors_point_just_behind() {
    let (events, _) = lines(&entry(vec![1, 2], vec![0]), 0, "", &mut plenty());
    let cursor = |i: usize| events[i]["cursor"].as_str().unwrap().parse::<Cursor>().unwrap();
    assert_eq!(cursor(0).vector.get(1), 5);
    assert_eq!(cursor(0).partial, Some((Place { origin: 1, seq: 6 }, 1)));
    assert_eq!(cursor(2).partial, None);
    assert_eq!((cursor(2).vector.get(1), cursor(2).vector.get(3)), (6, 9));
    let (rest, _) = lines(&entry(vec![1, 2], vec![0]), 1, "", &mut plenty());
    assert_eq!(rest, events[1..]);
}

#[test]
fn budgets_stop_inside_a_transaction() {
    let mut budget = plenty();
    budget.events = 2;
    let (events, stop) = lines(&entry(vec![1, 2], vec![0]), 0, "", &mut budget);
    assert_eq!((events.len(), stop, budget.events), (2, Stop::At(2), 0));
}

#[test]
fn filters_and_gone_columns() {
    assert!(lines(&entry(vec![1, 2], vec![0]), 0, "other.*", &mut plenty()).0.is_empty());
    assert_eq!(lines(&entry(vec![1, 2], vec![0]), 0, "SHOP.items", &mut plenty()).0.len(), 3);
    let (events, _) = lines(&entry(vec![1, 7], vec![0]), 0, "", &mut plenty());
    assert_eq!(events[0]["after"], serde_json::json!({"id": 1, "#7": "a"}));
    let (hidden, _) = lines(&entry(vec![0, 2], vec![0]), 0, "", &mut plenty());
    assert_eq!(hidden[0]["key"], serde_json::json!({"_rowid": 1}));
    assert_eq!(hidden[0]["after"], serde_json::json!({"label": "a"}));
}

#[test]
fn schema_changes_are_events_and_control_is_not() {
    let mut entry = entry(vec![1, 2], vec![0]);
    entry.body = Body::Schema(starling_log::Schema {
        db: 10,
        payload: br#"{"op":"truncate_table","table":20}"#.to_vec(),
    });
    let (events, _) = lines(&entry, 0, "shop.items", &mut plenty());
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["op"], &events[0]["table"]), (&"ddl".into(), &"Items".into()));
    entry.body = Body::Control(starling_log::Control {
        kind: "account".into(),
        payload: b"{}".to_vec(),
    });
    assert!(lines(&entry, 0, "", &mut plenty()).0.is_empty());
}

#[test]
fn server_sent_events_carry_their_cursor_as_id() {
    let mut out = Vec::new();
    frame(&mut out, Framing::ServerSent, "change", "C", b"{}");
    assert_eq!(out, b"id: C\nevent: change\ndata: {}\n\n");
}
