//! Schema changes and control changes by the decision of a quorum, from any node, under load, through crashes.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::prelude::Queryable;
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
                    let began = std::time::Instant::now();
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
                    eprintln!("node {who} has changed it all after {:?}", began.elapsed());
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

#[test]
fn a_schema_change_of_another_table_leaves_open_transactions_alone() {
    let under = tempfile::tempdir().unwrap();
    let nodes = three(under.path());
    nodes[0].sql("CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v INT); CREATE TABLE shop.other (id INT PRIMARY KEY)");
    until("the tables are everywhere", || {
        nodes.iter().all(|n| n.try_sql("SELECT * FROM shop.other").0)
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ask = |conn: &mut mysql_async::Conn, text: &str| runtime.block_on(conn.query_drop(text));
    let mut conn = runtime.block_on(mysql_async::Conn::from_url(nodes[0].url("shop"))).unwrap();
    for text in ["BEGIN", "INSERT INTO t VALUES (1, 1)"] {
        ask(&mut conn, text).unwrap();
    }
    nodes[1].sql("ALTER TABLE shop.other ADD COLUMN v INT; CREATE TABLE shop.more (id INT, FOREIGN KEY (id) REFERENCES t (id))");
    until("it is known here", || nodes[0].try_sql("SELECT v FROM shop.other").0);
    ask(&mut conn, "INSERT INTO t VALUES (2, 2)").unwrap();
    ask(&mut conn, "COMMIT").expect("the change was of other tables");
    // One of its own table.
    for text in ["BEGIN", "INSERT INTO t VALUES (3, 3)"] {
        ask(&mut conn, text).unwrap();
    }
    nodes[1].sql("ALTER TABLE shop.t ADD COLUMN w INT");
    until("it is known here", || nodes[0].try_sql("SELECT w FROM shop.t").0);
    let error = ask(&mut conn, "COMMIT").unwrap_err();
    assert!(
        matches!(&error, mysql_async::Error::Server(e) if [1213, 1412].contains(&e.code)),
        "{error:?}"
    );
    ask(&mut conn, "INSERT INTO t VALUES (4, 4, 4)").unwrap();
    assert_eq!(nodes[0].sql("SELECT GROUP_CONCAT(id) FROM shop.t").trim(), "1,2,4");
    // On its own node a change waits for whoever has used the table.
    for text in ["BEGIN", "INSERT INTO t VALUES (5, 5, 5)"] {
        ask(&mut conn, text).unwrap();
    }
    let (done, said) = nodes[0].try_sql("SET lock_wait_timeout = 1; ALTER TABLE shop.t DROP COLUMN w");
    assert!(!done && said.contains("ERROR 1205"), "{said}");
    ask(&mut conn, "COMMIT").unwrap();
    nodes[0].sql("ALTER TABLE shop.t DROP COLUMN w");
    runtime.block_on(conn.disconnect()).unwrap();
    equal(&nodes);
}

#[test]
fn who_dies_while_it_changes_schemas_holds_nobody_up_and_a_minority_refuses() {
    let under = tempfile::tempdir().unwrap();
    let mut nodes = three(under.path());
    nodes[0].sql("CREATE DATABASE shop; CREATE TABLE shop.log (id INT PRIMARY KEY, n INT)");
    until("the table is everywhere", || {
        nodes.iter().all(|n| n.try_sql("SELECT * FROM shop.log").0)
    });
    // The founder, in the midst of it.
    let made = std::thread::scope(|scope| {
        let node = &nodes[0];
        let making = scope.spawn(move || {
            (0..)
                .take_while(|n| node.try_sql(&format!("CREATE TABLE shop.t{n} (id INT)")).0)
                .count()
        });
        until("it is at it", || nodes[1].try_sql("SELECT * FROM shop.t3").0);
        // SAFETY: the pid is that of a child of this test.
        unsafe { libc::kill(node.pid() as i32, libc::SIGKILL) };
        making.join().expect("made")
    });
    nodes[0].kill();
    let began = std::time::Instant::now();
    nodes[1].sql("CREATE TABLE shop.afterwards (id INT); ALTER TABLE shop.log ADD COLUMN m INT");
    nodes[2].sql("INSERT INTO shop.log VALUES (1, 1, 1); DROP TABLE shop.t0");
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    nodes[2].kill();
    until("a minority says that it is one", || {
        let (done, said) = nodes[1].try_sql("CREATE TABLE shop.alone (id INT)");
        assert!(!done, "one of three has decided");
        said.contains("ERROR 1047")
    });
    nodes[0].start();
    nodes[2].start();
    until("they decide again", || {
        nodes[0].try_sql("CREATE TABLE IF NOT EXISTS shop.together (id INT)").0
    });
    until("the founder has caught up", || nodes[0].try_sql("SELECT m FROM shop.log").0);
    for n in 1..made {
        nodes[2].sql(&format!("INSERT INTO shop.t{n} VALUES (1)"));
    }
    equal(&nodes);
}
