//! Schema changes and control changes by the decision of a quorum, from any node, under load, through crashes.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Node, cluster, get, json, until, verify};

fn votes(node: &Node) -> bool {
    let ready = get(node.http, "/readyz");
    ready.is_some_and(|(_, body)| json(&body, "members") == 3 && json(&body, "quorum") == true)
}

fn three(under: &Path) -> Vec<Node> {
    let nodes = cluster(&["one", "two", "three"], under);
    until("all of them vote", || nodes.iter().all(votes));
    nodes
}

fn equal(nodes: &[Node]) {
    let all: Vec<&Node> = nodes.iter().collect();
    until("all are equal", || verify(&all).0 == 0);
}

/// The same statement on every node at once; how each ended.
fn at_once(nodes: &[Node], text: &str) -> Vec<(bool, String)> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = nodes.iter().map(|n| scope.spawn(|| n.try_sql(text))).collect();
        asked.into_iter().map(|a| a.join().expect("asked")).collect()
    })
}

fn one_of_three(nodes: &[Node], text: &str, code: &str) {
    let ended = at_once(nodes, text);
    assert_eq!(ended.iter().filter(|(done, _)| *done).count(), 1, "{text}: {ended:?}");
    assert_eq!(ended.iter().filter(|(_, said)| said.contains(code)).count(), 2, "{text}: {ended:?}");
}

#[test]
fn every_node_takes_schema_changes_and_names_are_given_once() {
    let under = tempfile::tempdir().unwrap();
    let nodes = three(under.path());
    one_of_three(&nodes, "CREATE DATABASE shop", "ERROR 1007");
    let ended = at_once(&nodes, "CREATE DATABASE IF NOT EXISTS other");
    assert!(ended.iter().all(|(done, _)| *done), "{ended:?}");
    one_of_three(
        &nodes,
        "CREATE TABLE shop.items (id INT PRIMARY KEY, label VARCHAR(50))",
        "ERROR 1050",
    );
    let ended = at_once(&nodes, "CREATE TABLE IF NOT EXISTS shop.parts (id INT PRIMARY KEY, item INT)");
    assert!(ended.iter().all(|(done, _)| *done), "{ended:?}");
    one_of_three(&nodes, "ALTER TABLE shop.items ADD COLUMN price DECIMAL(8,2)", "ERROR 1060");
    // Each sees its own change at once; the others see it soon.
    nodes[2].sql(
        "USE shop; INSERT INTO items VALUES (1, 'tea', 4.20), (2, 'tea', 1); ALTER TABLE items MODIFY label VARCHAR(80) NOT NULL; \
         CREATE INDEX by_label ON items (label); RENAME TABLE parts TO pieces; INSERT INTO pieces VALUES (1, 1); \
         ALTER TABLE pieces ADD FOREIGN KEY (item) REFERENCES items (id)",
    );
    until("the other has it", || nodes[0].try_sql("SELECT * FROM shop.pieces").1.contains('1'));
    let (done, said) = nodes[0].try_sql("ALTER TABLE shop.items ADD UNIQUE (label)");
    assert!(!done && said.contains("ERROR 1062"), "{said}");
    nodes[0].sql("DELETE FROM shop.items WHERE id = 2; ALTER TABLE shop.items ADD UNIQUE (label)");
    nodes[1].sql("SET starling_write_consistency = 'ONE'; TRUNCATE shop.pieces; DROP TABLE shop.pieces; DROP DATABASE other");
    one_of_three(&nodes, "DROP DATABASE shop", "ERROR 1008");
    one_of_three(&nodes, "CREATE DATABASE shop", "ERROR 1007");
    equal(&nodes);
}

#[test]
fn schema_changes_from_three_nodes_queue_while_rows_are_written() {
    let under = tempfile::tempdir().unwrap();
    let nodes = three(under.path());
    nodes[1].sql("CREATE DATABASE shop; CREATE TABLE shop.log (id INT AUTO_INCREMENT PRIMARY KEY, who INT, n INT)");
    until("the table is everywhere", || {
        nodes.iter().all(|n| n.try_sql("SELECT COUNT(*) FROM shop.log").0)
    });
    let over = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writers: Vec<_> = nodes
            .iter()
            .enumerate()
            .flat_map(|w| [w, w])
            .map(|(who, node)| {
                let over = &over;
                scope.spawn(move || {
                    let statements = (0..25).map(|n| format!("INSERT INTO shop.log (who, n) VALUES ({who}, {n})"));
                    let text = statements.collect::<Vec<_>>().join(";");
                    let mut rounds = 0;
                    while !over.load(Ordering::Acquire) {
                        node.sql(&text);
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        let changers: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(who, node)| {
                scope.spawn(move || {
                    for n in 0..4 {
                        node.sql(&format!(
                            "CREATE TABLE shop.t{who}_{n} (id INT PRIMARY KEY, v INT); ALTER TABLE shop.t{who}_{n} ADD COLUMN w INT; \
                             ALTER TABLE shop.log ADD COLUMN c{who}_{n} INT; INSERT INTO shop.t{who}_{n} VALUES (1, 2, 3)"
                        ));
                    }
                    node.sql(&format!("ALTER TABLE shop.log ADD UNIQUE u{who} (id, who), ADD CHECK (n >= 0)"));
                    for n in 0..4 {
                        node.sql(&format!("DROP TABLE shop.t{who}_{n}; ALTER TABLE shop.log DROP COLUMN c{who}_{n}"));
                    }
                })
            })
            .collect();
        let changed: Vec<_> = changers.into_iter().map(|c| c.join()).collect();
        over.store(true, Ordering::Release);
        assert!(changed.iter().all(Result::is_ok));
        writers.into_iter().map(|w| w.join().expect("written")).sum::<i32>()
    });
    assert!(written > 0);
    until("all rows are everywhere", || {
        nodes
            .iter()
            .all(|n| n.sql("SELECT COUNT(*) FROM shop.log").trim() == (written * 25).to_string())
    });
    equal(&nodes);
}
