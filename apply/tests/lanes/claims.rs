//! What each kind of statement claims.

use starling_apply::catalog::{FkAction, ForeignKey, Generated, IndexKind, Table};
use starling_apply::claim::{Claim, ClaimKey, Mode, Version};
use starling_apply::lane::Try;
use starling_apply::layout::Key;
use starling_apply::overlay::Overlay;
use starling_log::{Row, ValueRef};

use crate::kit::{Node, column, index, int, primary, run, table, text, wait};

/// `u(id PRIMARY KEY, v, a UNIQUE, g UNIQUE AS (a + 1000))`, `c(id PRIMARY KEY, u REFERENCES u(id))`, `d(x → u(a))` without a key.
fn node() -> Node {
    let node = Node::new(1);
    node.create_database("d");
    let mut columns = vec![
        column(1, "id", int()),
        column(2, "v", text()),
        column(3, "a", int()),
        column(4, "g", int()),
    ];
    columns[3].generated = Some(Generated {
        expr: "a + 1000".into(),
        lowered: "\"a\" + 1000".into(),
        stored: false,
    });
    let uniques = vec![
        primary(&[1]),
        index(7, "a", IndexKind::Unique, &[3]),
        index(8, "g", IndexKind::Unique, &[4]),
    ];
    node.create_table("d", table("u", columns, uniques));
    node.create_table("d", child("c", true, "id"));
    node.create_table("d", child("k", false, "a"));
    node.exec("d", "INSERT INTO d.u(id, v, a) VALUES(1,'x',11),(2,'y',12),(3,'z',NULL)");
    node
}

fn child(name: &str, keyed: bool, parent: &str) -> Table {
    let keys = if keyed { vec![primary(&[1])] } else { Vec::new() };
    let mut child = table(name, vec![column(1, "id", int()), column(2, "u", int())], keys);
    child.foreign_keys.push(ForeignKey {
        name: format!("fk_{name}"),
        columns: vec![2],
        parent: "U".into(),
        parent_columns: vec![parent.into()],
        on_delete: FkAction::Cascade,
        on_update: FkAction::Cascade,
    });
    child
}

fn claims(node: &Node, sql: &str) -> Vec<Claim> {
    let sql = sql.to_owned();
    let job = Box::new(move |t: &mut Try<'_>| {
        run(t, &sql)?;
        let claims = t.claims().map_err(|e| e.to_string())?;
        assert_eq!(t.claims().map_err(|e| e.to_string())?, claims, "asking twice changes nothing");
        Ok::<_, String>(claims)
    });
    wait(node.engine.try_out(starling_apply::engine::Size::Any, "d", 1_000, job))
        .unwrap()
        .0
}

/// `R1x` row 1 exclusive, `Us` … in short, tables by name, sorted; with `!` where the base is not the default.
fn brief(node: &Node, claims: &[Claim]) -> String {
    let catalog = node.engine.catalog();
    let name = |id: u64| catalog.table_by_id(id).unwrap().1.name.clone();
    let mut out: Vec<String> = claims
        .iter()
        .map(|c| {
            let mode = match c.mode {
                Mode::IntentShared => "is",
                Mode::IntentExclusive => "ix",
                Mode::Shared => "s",
                Mode::Exclusive => "x",
            };
            let known = if c.base == Version::default() { "" } else { "!" };
            let what = match &c.key {
                ClaimKey::Schema { .. } => "S".to_owned(),
                ClaimKey::Database { name } | ClaimKey::Control { kind: name } => name.clone(),
                ClaimKey::Table { table } => name(*table),
                ClaimKey::Row { table, key: Key::Int(i) } if *i < 1 << 40 => format!("{}{i}", name(*table)),
                ClaimKey::Row { table, .. } => format!("{}?", name(*table)),
                ClaimKey::Unique { table, index, .. } => format!("{}#{index}", name(*table)),
                ClaimKey::Counter { table } => format!("{}+", name(*table)),
            };
            format!("{what}:{mode}{known}")
        })
        .collect();
    out.sort();
    out.join(" ")
}

fn check(node: &Node, sql: &str, expected: &str) {
    assert_eq!(brief(node, &claims(node, sql)), expected, "{sql}");
}

#[test]
fn of_each_statement() {
    let node = node();
    check(&node, "INSERT INTO d.u(id,v) VALUES(9,'n')", "S:s! u9:x u:ix");
    check(&node, "INSERT INTO d.u(id,a) VALUES(9,5)", "S:s! u#7:x u#8:x u9:x u:ix");
    check(&node, "UPDATE d.u SET v = 'q' WHERE id = 1", "S:s! u1:x! u:ix");
    check(&node, "UPDATE d.u SET v = v", "S:s! u1:x! u2:x! u3:x! u:ix");
    check(&node, "UPDATE d.u SET a = 20 WHERE id = 3", "S:s! u#7:x u#8:x u3:x! u:ix");
    check(
        &node,
        "UPDATE d.u SET a = 20 WHERE id = 1",
        "S:s! u#7:x u#7:x! u#8:x u#8:x! u1:x! u:ix",
    );
    check(&node, "UPDATE d.u SET id = 10 WHERE id = 1", "S:s! u10:x u1:x! u:ix");
    check(&node, "DELETE FROM d.u WHERE id = 1", "S:s! u#7:x! u#8:x! u1:x! u:ix");
    check(&node, "DELETE FROM d.u WHERE id = 3", "S:s! u3:x! u:ix");
    // REPLACE takes row 2 away for its unique value.
    check(
        &node,
        "INSERT OR REPLACE INTO d.u(id,a) VALUES(1,12)",
        "S:s! u#7:x! u#7:x! u#8:x! u#8:x! u1:x! u2:x! u:ix",
    );
    check(
        &node,
        "INSERT INTO d.u(id,v,a) VALUES(1,'n',30) ON CONFLICT(id) DO UPDATE SET v = excluded.v",
        "S:s! u1:x! u:ix",
    );
}

#[test]
fn of_foreign_keys() {
    let node = node();
    check(&node, "INSERT INTO d.c VALUES(1, 2)", "S:s! c1:x c:ix u2:s! u:is");
    check(&node, "INSERT INTO d.c VALUES(1, NULL)", "S:s! c1:x c:ix u:is");
    node.exec("d", "INSERT INTO d.c VALUES(1, 2)");
    check(&node, "UPDATE d.c SET u = 1 WHERE id = 1", "S:s! c1:x! c:ix u1:s! u:is");
    check(&node, "UPDATE d.c SET id = 5 WHERE id = 1", "S:s! c1:x! c5:x c:ix u:is");
    check(&node, "DELETE FROM d.c", "S:s! c1:x! c:ix u:is");
    check(&node, "DELETE FROM d.u WHERE id = 2", "S:s! c1:x! c:ix u#7:x! u#8:x! u2:x! u:ix");
    // By a unique column of the parent, from a table without a key.
    check(
        &node,
        "INSERT INTO d.k(_rowid_, id, u) VALUES(77, 1, 12)",
        "S:s! k77:x k:ix u2:s! u:is",
    );
    // A parent made by the same statement is locked more strongly already.
    check(
        &node,
        "INSERT INTO d.u(id) VALUES(50); INSERT INTO d.c VALUES(9, 50)",
        "S:s! c9:x c:ix u50:x u:ix",
    );
}

#[test]
fn bases_are_the_newest_versions() {
    let node = node();
    let placed = node.exec("d", "UPDATE d.u SET v = 'q', a = 99 WHERE id = 1").placed.unwrap();
    let base = |claims: &[Claim], f: &dyn Fn(&ClaimKey) -> bool| claims.iter().find(|c| f(&c.key)).unwrap().base;
    let found = claims(&node, "UPDATE d.u SET a = 11 WHERE id = 1");
    let row = base(&found, &|k| matches!(k, ClaimKey::Row { .. }));
    assert_eq!((row.stamp, row.place), (placed.stamp, placed.place));
    for claim in found.iter().filter(|c| matches!(c.key, ClaimKey::Unique { .. })) {
        assert_eq!(claim.base, row, "11 was given up by the row, 99 taken");
    }
    // As votes see it.
    let keys: Vec<(ClaimKey, Mode)> = found.iter().map(|c| (c.key.clone(), c.mode)).collect();
    let versions = node.engine.versions(&keys).unwrap();
    for (claim, version) in found.iter().zip(versions) {
        if !claim.mode.is_intent() {
            assert_eq!(claim.base, version, "{:?}", claim.key);
        }
    }
    assert_eq!(
        node.engine.versions(&[(ClaimKey::Table { table: 1 }, Mode::Shared)]).unwrap(),
        [Version::default()]
    );
    // Restarted, nothing is forgotten.
    let node = node.restart();
    let again = claims(&node, "UPDATE d.u SET a = 11 WHERE id = 1");
    assert_eq!(again, found);
}

#[test]
fn an_overlay_is_in_no_later_claim() {
    let node = node();
    let mut open = Overlay::new();
    for (sql, expected) in [
        ("UPDATE d.u SET v = 'q' WHERE id = 1", "S:s! u1:x! u:ix"),
        ("UPDATE d.u SET v = 'r' WHERE id < 3", "S:s! u1:x! u2:x! u:ix"),
        ("INSERT INTO d.u(id) VALUES(8)", "S:s! u8:x u:ix"),
        ("DELETE FROM d.u WHERE id = 8", "S:s! u8:x u:ix"),
    ] {
        let job = Box::new(move |t: &mut Try<'_>| {
            run(t, sql)?;
            t.claims().map_err(|e| e.to_string())
        });
        let found = wait(node.engine.trial("d", 1_000, &mut open, job)).unwrap();
        assert_eq!(brief(&node, &found), expected, "{sql}");
    }
}

#[test]
fn rows_and_tables_that_are_only_read() {
    let node = node();
    let u = node.engine.catalog().table("d", "u").unwrap().id;
    let job = Box::new(move |t: &mut Try<'_>| {
        let keys: Vec<Row> = [1, 9].map(|i| Row::from_values([ValueRef::Int(i)])).into();
        let shared = t.claim_rows(u, Mode::Shared, &keys).map_err(|e| e.to_string())?;
        let exclusive = t.claim_rows(u, Mode::Exclusive, &keys).map_err(|e| e.to_string())?;
        let table = t.claim_table(u, Mode::Shared).map_err(|e| e.to_string())?;
        Ok::<_, String>((shared, exclusive, table))
    });
    let ((shared, exclusive, table), changes) = wait(node.engine.try_out(starling_apply::engine::Size::Any, "d", 1_000, job)).unwrap();
    assert!(changes.is_empty());
    assert_eq!(brief(&node, &shared), "S:s! u1:s! u9:s u:is");
    assert_eq!(brief(&node, &exclusive), "S:s! u1:x! u9:x u:ix");
    assert_eq!(brief(&node, std::slice::from_ref(&table)), "u:s!");
    let placed = node.exec("d", "DELETE FROM d.u WHERE id = 3").placed.unwrap();
    assert_eq!(node.engine.versions(&[(table.key, Mode::Shared)]).unwrap()[0].place, placed.place);
}

#[test]
fn minimal_images_claim_the_same() {
    let node = node();
    let full = claims(&node, "DELETE FROM d.u WHERE id = 1");
    let node = node.minimal();
    assert_eq!(claims(&node, "DELETE FROM d.u WHERE id = 1"), full);
}

#[test]
fn very_many_rows_claim_their_table() {
    let node = node();
    let many = "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 50200) INSERT INTO d.c SELECT i, 1 FROM n";
    check(&node, many, "S:s! c:x! u:s!");
}

/// Puts a tried statement into the log as a decided entry, and applies it.
fn decide(node: &Node, sql: &str) -> starling_log::Placed {
    let (_, changes) = wait(
        node.engine
            .try_out(starling_apply::engine::Size::Any, "d", 1_000, crate::kit::statement(sql)),
    )
    .unwrap();
    let draft = starling_log::Draft {
        causes: node.engine.applied(),
        schema: node.engine.catalog().version,
        body: starling_log::Body::Rows(changes),
    };
    let placed = node.log.append(2, vec![draft]).unwrap().remove(0);
    node.engine.apply(node.log.read(2, placed.place.seq, usize::MAX).unwrap()).unwrap();
    placed
}

#[test]
fn who_takes_a_parent_away_must_have_seen_its_children() {
    let node = node();
    let u = node.engine.catalog().table("d", "u").unwrap().id;
    let row = |mode| {
        (
            ClaimKey::Row {
                table: u,
                key: Key::Int(2),
            },
            mode,
        )
    };
    let versions = |node: &Node| node.engine.versions(&[row(Mode::Exclusive), row(Mode::Shared)]).unwrap();
    let before = versions(&node);
    assert_eq!(before[0], before[1]);
    node.exec("d", "INSERT INTO d.c VALUES(1, 2)");
    assert_eq!(versions(&node), before, "at ONE nobody is asked");
    let placed = decide(&node, "INSERT INTO d.c VALUES(2, 2)");
    let after = versions(&node);
    assert_eq!((after[0].place, after[1]), (placed.place, before[1]));
    let found = claims(&node, "UPDATE d.u SET id = 22 WHERE id = 2");
    let base = found.iter().find(|c| c.key == row(Mode::Exclusive).0).unwrap().base;
    assert_eq!(base, after[0]);
    // By another unique column, and by an update that turns to it.
    let by_a = decide(&node, "INSERT INTO d.k(_rowid_, id, u) VALUES(5, 1, 12)");
    assert_eq!(versions(&node)[0].place, by_a.place);
    decide(&node, "INSERT INTO d.c VALUES(3, 1)");
    decide(&node, "UPDATE d.c SET id = 33 WHERE id = 3");
    assert_eq!(versions(&node)[0].place, by_a.place);
    let turned = decide(&node, "UPDATE d.c SET u = 2 WHERE id = 33");
    assert_eq!(versions(&node)[0].place, turned.place);
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("d.db")).unwrap());
    assert_eq!(versions(&node)[0].place, turned.place);
}
