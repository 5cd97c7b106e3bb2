//! Own writes, read on a snapshot.

use proptest::prelude::*;
use starling_apply::catalog::{Generated, Table};
use starling_apply::overlay::{Overlay, OverlayMark};
use starling_apply::readers::{Reader, shadow_name};
use starling_apply::types::{BaseType, ColumnType};

use crate::kit::{Node, column, int, primary, show, table, text};
use crate::overlays::{commit, evict, exec, seen};

fn follow(node: &Node, reader: &mut Reader, overlay: &Overlay) {
    reader.shadow(overlay, &node.engine.catalog()).unwrap();
}

fn view(node: &Node, name: &str) -> String {
    shadow_name(node.engine.catalog().table("a", name).unwrap().id)
}

#[test]
fn a_snapshot_shows_itself_and_own_writes() {
    let node = Node::new(1).with_t("a");
    node.exec("a", "INSERT INTO a.t VALUES(1,'one'),(2,'two'),(3,'three')");
    let mut reader = node.engine.snapshot().unwrap();
    let mut open = Overlay::new();
    exec(&node, &mut open, "a", "UPDATE a.t SET v = 'own' WHERE id = 2").unwrap();
    node.exec(
        "a",
        "INSERT INTO a.t VALUES(4,'later'); UPDATE a.t SET v = 'later' WHERE id = 3; DELETE FROM a.t WHERE id = 1",
    );
    follow(&node, &mut reader, &open);
    let sql = format!("SELECT * FROM {} ORDER BY id", view(&node, "t"));
    assert_eq!(show(&reader, &sql), "1,one;2,own;3,three");
    // Rows that the snapshot does not know may be changed all the same.
    exec(
        &node,
        &mut open,
        "a",
        "UPDATE a.t SET v = v || '!' WHERE id > 2; INSERT INTO a.t VALUES(1,'again')",
    )
    .unwrap();
    follow(&node, &mut reader, &open);
    assert_eq!(show(&reader, &sql), "1,again;2,own;3,later!;4,later!");
    // Newest state, shadows kept.
    node.exec("a", "INSERT INTO a.t VALUES(5,'newer')");
    reader.renew().unwrap();
    follow(&node, &mut reader, &open);
    assert_eq!(show(&reader, &sql), "1,again;2,own;3,later!;4,later!;5,newer");
    assert_eq!(show(&reader, "SELECT count(*) FROM a.t"), "4", "the table itself is the snapshot's");
    drop(reader);
    let reader = node.engine.reader(&["a"]).unwrap();
    assert_eq!(
        show(&reader, "SELECT count(*) FROM temp.sqlite_schema"),
        "0",
        "the connection came back clean"
    );
    drop(reader);
    commit(&node, open);
}

#[test]
fn conditions_reach_both_arms() {
    let node = Node::new(1).with_t("a");
    node.exec("a", "INSERT INTO a.t VALUES(1,'one')");
    let mut open = Overlay::new();
    exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(2,'two')").unwrap();
    let mut reader = node.engine.snapshot().unwrap();
    follow(&node, &mut reader, &open);
    let name = view(&node, "t");
    for sql in [
        format!("SELECT v FROM {name} WHERE id = 2"),
        format!("SELECT count(*), max(v) FROM {name} AS o WHERE o.id = 2"),
    ] {
        let plan = show(&reader, &format!("EXPLAIN QUERY PLAN {sql}"));
        let searches = plan.matches("INTEGER PRIMARY KEY (rowid=?)").count();
        // The base, the keys touched, the rows written.
        assert!(searches >= 3, "{sql}: {plan}");
        assert!(!plan.contains("SCAN b") && !plan.contains("SCAN __own"), "{sql}: {plan}");
    }
    let join = format!("EXPLAIN QUERY PLAN SELECT o.v FROM a.t AS x JOIN {name} AS o ON o.id = x.id");
    let plan = show(&reader, &join);
    assert!(plan.contains("SEARCH temp.__own_rows") && !plan.contains("MATERIALIZE"), "{plan}");
}

#[test]
fn snapshots_know_what_they_show() {
    let node = Node::new(1).with_t("a").with_t("b");
    let first = node.exec("a", "INSERT INTO a.t VALUES(1,'x')").placed.unwrap().place;
    let mut reader = node.engine.snapshot().unwrap();
    let second = node.exec("a", "INSERT INTO a.t VALUES(2,'x')").placed.unwrap().place;
    assert!(reader.snapshot_contains("a", first).unwrap());
    assert!(!reader.snapshot_contains("a", second).unwrap());
    assert!(!reader.snapshot_contains("a", second).unwrap());
    let _node = node.with_t("c");
    assert!(!reader.snapshot_contains("c", second).unwrap(), "a database that came later");
    reader.renew().unwrap();
    assert!(reader.snapshot_contains("a", second).unwrap());
    assert_eq!(show(&reader, "SELECT count(*) FROM c.t"), "0");
}

fn composite() -> Table {
    let mut columns = vec![
        column(1, "k", text()),
        column(2, "n", int()),
        column(3, "v", text()),
        column(4, "g", int()),
    ];
    columns[3].generated = Some(Generated {
        expr: "n + 1".into(),
        lowered: "\"n\" + 1".into(),
        stored: false,
    });
    table("composite", columns, vec![primary(&[1, 2])])
}

fn prefixed() -> Table {
    let mut long = column(1, "k", text());
    long.ty = ColumnType {
        collation: Some("utf8mb4_0900_ai_ci".into()),
        ..ColumnType::new(BaseType::Text)
    };
    let mut key = primary(&[1]);
    key.parts[0].prefix = Some(2);
    table("prefixed", vec![long, column(2, "n", int()), column(3, "v", text())], vec![key])
}

fn bare() -> Table {
    table(
        "bare",
        vec![column(1, "k", text()), column(2, "n", int()), column(3, "v", text())],
        Vec::new(),
    )
}

fn plain() -> Table {
    table(
        "plain",
        vec![column(1, "n", int()), column(2, "k", text()), column(3, "v", text())],
        vec![primary(&[1])],
    )
}

#[derive(Clone, Debug)]
enum Step {
    Exec(String),
    Mark,
    Back(prop::sample::Index),
    Evict,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let table = prop::sample::select(vec!["plain", "composite", "prefixed", "bare"]);
    let key = prop::sample::select(vec!["a", "A", "bx", "BY", "c", "cc"]);
    let statement = (table, key, 1..6_i32, 1..6_i32, 0..6_u8).prop_map(|(table, k, n, m, kind)| match kind {
        0 | 1 => format!("INSERT OR IGNORE INTO a.{table}(k, n, v) VALUES('{k}', {n}, 'i{m}')"),
        2 => format!("INSERT OR REPLACE INTO a.{table}(k, n, v) VALUES('{k}', {n}, 'r{m}')"),
        3 => format!("UPDATE OR IGNORE a.{table} SET n = {m}, v = v || '{m}' WHERE n = {n}"),
        4 => format!("UPDATE OR IGNORE a.{table} SET k = '{k}' WHERE n = {n}"),
        _ => format!("DELETE FROM a.{table} WHERE n = {n} OR k = '{k}'"),
    });
    prop_oneof![
        12 => statement.prop_map(Step::Exec),
        1 => Just(Step::Mark),
        1 => any::<prop::sample::Index>().prop_map(Step::Back),
        2 => Just(Step::Evict),
        4 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nobody else writes: the snapshot with own writes is what the lane sees.
    #[test]
    fn shadows_show_what_the_lane_sees(seed in prop::collection::vec(step(), 0..12), steps in prop::collection::vec(step(), 1..30)) {
        let node = Node::new(1);
        node.create_database("a");
        for table in [plain(), composite(), prefixed(), bare()] {
            node.create_table("a", table);
        }
        for step in seed {
            if let Step::Exec(sql) = step {
                node.exec("a", &sql);
            }
        }
        let mut reader = node.engine.snapshot().unwrap();
        let mut open = Overlay::new();
        let mut marks: Vec<OverlayMark> = vec![open.mark()];
        for step in steps.into_iter().chain([Step::Look]) {
            match step {
                Step::Exec(sql) => drop(exec(&node, &mut open, "a", &sql).unwrap()),
                Step::Mark => marks.push(open.mark()),
                Step::Back(at) => {
                    let at = at.index(marks.len());
                    open.truncate(marks[at]);
                    marks.truncate(at + 1);
                }
                Step::Evict => evict(&node, "a"),
                Step::Look => {
                    follow(&node, &mut reader, &open);
                    for (_, table) in open.tables() {
                        let name = node.engine.catalog().table_by_id(table).unwrap().1.name.clone();
                        let rows = "ORDER BY k COLLATE BINARY, n, v";
                        let hidden = if name == "bare" { ", rowid" } else { "" };
                        let own = show(&reader, &format!("SELECT *{} FROM {} {rows}", "", view(&node, &name)));
                        let lane = seen(&node, &mut open, "a", &format!("SELECT *{hidden} FROM a.{name} {rows}"));
                        prop_assert_eq!(&own, &lane, "{}", &name);
                        let one = "WHERE k = 'a' AND n > 2 ORDER BY n, v, k COLLATE BINARY";
                        let own = show(&reader, &format!("SELECT k, typeof(n), n, v FROM {} {one}", view(&node, &name)));
                        let lane = seen(&node, &mut open, "a", &format!("SELECT k, typeof(n), n, v FROM a.{name} {one}"));
                        prop_assert_eq!(own, lane);
                    }
                }
            }
        }
        let last = seen(&node, &mut open, "a", "SELECT * FROM a.composite ORDER BY k COLLATE BINARY, n");
        commit(&node, open);
        prop_assert_eq!(node.query(&["a"], "SELECT * FROM a.composite ORDER BY k COLLATE BINARY, n"), last);
        let dump = node.dump();
        let node = node.restart_after(|dir| std::fs::remove_file(dir.join("a.db")).unwrap());
        prop_assert_eq!(node.dump(), dump);
    }
}
