//! What is captured of each kind of statement.

use starling_apply::catalog::{FkAction, ForeignKey, Generated, IndexKind};
use starling_apply::lane::Counts;
use starling_log::{Body, Change, Op, Value};

use crate::kit::{Node, column, index, int, primary, run, t, table, text};

/// The changes of the newest entry, with table names left to the test.
fn newest(node: &Node) -> Vec<Change> {
    let seq = node.log.held().get(node.origin);
    let entries = node.log.read(node.origin, seq, usize::MAX).unwrap();
    let Body::Rows(changes) = &entries[0].body else {
        panic!("not rows")
    };
    changes
        .iter()
        .map(|c| Change {
            op: c.op,
            table: c.table,
            key: c.key.to_owned(),
            before: c.before.map(|r| r.to_owned()),
            after: c.after.map(|r| r.to_owned()),
            changed: c.changed.map(<[u8]>::to_vec),
        })
        .collect()
}

fn brief(node: &Node) -> String {
    let list: Vec<String> = newest(node)
        .iter()
        .map(|c| {
            let row = |r: &starling_log::Row| {
                let cells: Vec<String> = r
                    .as_ref()
                    .iter()
                    .map(|v| match v.to_owned() {
                        None => "-".into(),
                        Some(Value::Null) => "N".into(),
                        Some(Value::Int(i)) => i.to_string(),
                        Some(Value::Real(f)) => f.to_string(),
                        Some(Value::Text(t) | Value::Blob(t)) => String::from_utf8(t).unwrap(),
                    })
                    .collect();
                cells.join("/")
            };
            let op = match c.op {
                Op::Insert => "+",
                Op::Update => "~",
                Op::Delete => "-",
            };
            let image = |r: &Option<starling_log::Row>| r.as_ref().map_or(String::new(), row);
            format!("{op}{}[{}>{}]", row(&c.key), image(&c.before), image(&c.after))
        })
        .collect();
    list.join(" ")
}

fn counts(node: &Node, sql: &'static str) -> Counts {
    node.write(
        "d",
        Box::new(move |t| {
            let mark = t.mark();
            run(t, sql)?;
            Ok(t.counts_since(mark))
        }),
    )
    .unwrap()
    .0
}

fn with_unique() -> Node {
    let node = Node::new(1);
    node.create_database("d");
    let mut table = t();
    table.indexes.push(index(101, "v", IndexKind::Unique, &[2]));
    node.create_table("d", table);
    node.exec("d", "INSERT INTO d.t VALUES(1,'a'),(2,'b'),(3,'c')");
    node
}

#[test]
fn inserts_updates_and_deletes() {
    let node = with_unique();
    assert_eq!(brief(&node), "+1[>1/a] +2[>2/b] +3[>3/c]");
    let c = counts(&node, "UPDATE d.t SET v = CASE id WHEN 2 THEN 'x' ELSE v END");
    assert_eq!((c.matched, c.updated), (3, 1));
    assert_eq!(brief(&node), "~2[2/b>2/x]");
    assert_eq!(newest(&node)[0].changed, Some(vec![0b10]));
    assert_eq!(counts(&node, "DELETE FROM d.t").deleted, 3);
    assert_eq!(brief(&node), "-1[1/a>] -2[2/x>] -3[3/c>]");
}

#[test]
fn an_update_of_the_key_names_the_old_one() {
    let node = with_unique();
    node.exec("d", "UPDATE d.t SET id = 9 WHERE id = 2");
    assert_eq!(brief(&node), "~2[2/b>9/b]");
    assert_eq!(newest(&node)[0].changed, Some(vec![0b01]));
}

#[test]
fn replace_deletes_its_victims_first() {
    let node = with_unique();
    let c = counts(&node, "REPLACE INTO d.t VALUES(1,'c')");
    assert_eq!((c.inserted, c.deleted), (1, 2));
    let brief = brief(&node);
    assert!(
        brief.ends_with("+1[>1/c]") && brief.contains("-1[1/a>]") && brief.contains("-3[3/c>]"),
        "{brief}"
    );
}

#[test]
fn upserts_are_updates() {
    let node = with_unique();
    let c = counts(
        &node,
        "INSERT INTO d.t VALUES(1,'z'),(4,'d') ON CONFLICT(id) DO UPDATE SET v = excluded.v",
    );
    assert_eq!((c.inserted, c.updated, c.matched), (1, 1, 1));
    assert_eq!(brief(&node), "~1[1/a>1/z] +4[>4/d]");
    let before = node.log.held();
    assert_eq!(counts(&node, "INSERT OR IGNORE INTO d.t VALUES(1,'q')"), Counts::default());
    assert_eq!(node.log.held(), before);
}

#[test]
fn a_failed_statement_leaves_nothing_in_the_capture() {
    let node = with_unique();
    let inserted = node.write(
        "d",
        Box::new(|t| {
            run(t, "INSERT INTO d.t VALUES(7,'g')")?;
            // The second row fails, after the first was captured.
            let failed = t.savepoint(|t| run(t, "INSERT INTO d.t VALUES(8,'h'),(1,'i')"));
            assert!(failed.is_err());
            Ok(())
        }),
    );
    inserted.unwrap();
    assert_eq!(brief(&node), "+7[>7/g]");
}

#[test]
fn cascades_are_captured_but_not_counted() {
    let node = Node::new(1);
    node.create_database("d");
    node.create_table("d", t());
    let mut child = table(
        "child",
        vec![column(1, "id", int()), column(2, "parent", int())],
        vec![primary(&[1]), index(101, "p", IndexKind::Plain, &[2])],
    );
    child.foreign_keys.push(ForeignKey {
        name: "f".into(),
        columns: vec![2],
        parent: "t".into(),
        parent_columns: vec!["id".into()],
        on_delete: FkAction::Cascade,
        on_update: FkAction::Cascade,
    });
    node.create_table("d", child);
    node.exec("d", "INSERT INTO d.t VALUES(1,'a'); INSERT INTO d.child VALUES(10,1),(11,1)");
    let orphan = |t: &mut starling_apply::lane::Try<'_>| run(t, "INSERT INTO d.child VALUES(12, 99)");
    assert!(node.write("d", Box::new(orphan)).is_err());
    let unchecked = node.write(
        "d",
        Box::new(move |t| {
            t.set_foreign_keys(false).map_err(|e| e.to_string())?;
            orphan(t)
        }),
    );
    assert_eq!(unchecked.unwrap().0, 1);
    assert!(
        node.write("d", Box::new(|t| run(t, "INSERT INTO d.child VALUES(13, 99)"))).is_err(),
        "checked again"
    );
    node.exec("d", "DELETE FROM d.child WHERE id = 12");
    assert_eq!(counts(&node, "DELETE FROM d.t").deleted, 1);
    assert_eq!(newest(&node).len(), 3);
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("d.db")).unwrap());
    assert_eq!(node.query(&["d"], "SELECT count(*) FROM d.child"), "0");
}

#[test]
fn a_table_without_key_is_known_by_its_rowid() {
    let node = Node::new(1);
    node.create_database("d");
    node.create_table("d", table("h", vec![column(1, "v", text())], vec![]));
    let keys = node.write(
        "d",
        Box::new(|t| {
            let id = t.catalog.table("d", "h").unwrap().id;
            let (a, b) = (t.next_hidden(id), t.next_hidden(id));
            run(t, &format!("INSERT INTO d.h(rowid, v) VALUES({a},'x'),({b},'x')"))?;
            Ok((a, b))
        }),
    );
    let (a, b) = keys.unwrap().0;
    assert!(b == a + 1 && a >> 47 == 1);
    assert_eq!(brief(&node), format!("+{a}[>{a}/x] +{b}[>{b}/x]"));
    node.exec("d", &format!("UPDATE d.h SET v = 'y' WHERE rowid = {a}"));
    assert_eq!(brief(&node), format!("~{a}[{a}/x>{a}/y]"));
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("d.db")).unwrap());
    assert_eq!(node.query(&["d"], "SELECT v FROM d.h ORDER BY rowid"), "y;x");
}

#[test]
fn a_composite_key_of_any_order_is_taken_from_its_columns() {
    let node = Node::new(1);
    node.create_database("d");
    let columns = vec![column(1, "a", text()), column(2, "b", int()), column(3, "c", int())];
    node.create_table("d", table("k", columns, vec![primary(&[3, 1])]));
    node.exec("d", "INSERT INTO d.k VALUES('x', 1, 5)");
    assert_eq!(brief(&node), "+5/x[>x/1/5]");
    node.exec("d", "UPDATE d.k SET b = 2, c = 6");
    assert_eq!(brief(&node), "~5/x[x/1/5>x/2/6]");
    node.exec("d", "DELETE FROM d.k");
    assert_eq!(brief(&node), "-6/x[x/2/6>]");
}

#[test]
fn virtual_columns_stand_in_no_image() {
    let node = Node::new(1);
    node.create_database("d");
    let generated = |stored| {
        Some(Generated {
            expr: "`id` + 1".into(),
            lowered: "\"id\" + 1".into(),
            stored,
        })
    };
    let mut columns = vec![
        column(1, "id", int()),
        column(2, "g", int()),
        column(3, "v", text()),
        column(4, "s", int()),
    ];
    columns[1].generated = generated(false);
    columns[3].generated = generated(true);
    node.create_table("d", table("g", columns, vec![primary(&[1])]));
    node.exec("d", "INSERT INTO d.g(id, v) VALUES(1, 'x')");
    assert_eq!(brief(&node), "+1[>1/x/2]");
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("d.db")).unwrap());
    assert_eq!(node.query(&["d"], "SELECT id, g, v, s FROM d.g"), "1,2,x,2");
}

#[test]
fn minimal_images_hold_the_key_and_what_changed() {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let store = std::sync::Arc::new(starling_log::store::sim::SimStore::new());
    let log = crate::kit::open_log(store.clone());
    let mut options = crate::kit::options(dir.path(), 1);
    options.full_row_image = false;
    let engine = starling_apply::Engine::open(options, log.clone()).unwrap();
    let node = Node {
        engine,
        log,
        store,
        dir,
        origin: 1,
    };
    node.create_database("d");
    node.create_table(
        "d",
        table(
            "w",
            vec![column(1, "id", int()), column(2, "v", text()), column(3, "w", text())],
            vec![primary(&[1])],
        ),
    );
    node.exec("d", "INSERT INTO d.w VALUES(1,'a','b')");
    node.exec("d", "UPDATE d.w SET w = 'c'");
    assert_eq!(brief(&node), "~1[1/-/b>1/a/c]");
    node.exec("d", "DELETE FROM d.w");
    assert_eq!(brief(&node), "-1[>]");
}

#[test]
fn temporary_tables_are_not_captured() {
    let node = with_unique();
    let before = node.log.held();
    node.exec("d", "CREATE TEMP TABLE x(a); INSERT INTO x VALUES(1); DROP TABLE x");
    assert_eq!(node.log.held(), before);
}
