//! AUTO_INCREMENT over several nodes, as processes: nobody gives out a number twice, whoever joins, dies, leaves or comes back.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use support::{Node, SECRET, get, json, starling, until, verify};

const SHOP: &str = "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(40), INDEX (who))";

fn founder(under: &std::path::Path) -> Node {
    let mut node = Node::new("one", under).args(&["--cluster-secret", SECRET]);
    node.start();
    node
}

fn joined(name: &str, under: &std::path::Path, to: &Node) -> Node {
    let mut node = Node::new(name, under).args(&["--cluster-secret", SECRET, "--join", &to.http_addr()]);
    node.start();
    until(&format!("{name} is writable"), || writable(&node));
    node
}

fn writable(node: &Node) -> bool {
    get(node.http, "/readyz").is_some_and(|(status, body)| status == 200 && json(&body, "writable") == true)
}

fn epoch(node: &Node) -> u64 {
    json(&get(node.http, "/v1/members").map(|r| r.1).unwrap_or_default(), "epoch")
        .as_u64()
        .unwrap_or(0)
}

/// What was acknowledged: the number that the OK told, by what stands in the row.
type Given = BTreeMap<String, u64>;

/// Inserts one row after the other at this consistency until it is told to stop. Errors are fine (nodes die), answers count.
fn writer(url: String, level: &'static str, name: String, stop: &'static AtomicBool) -> std::thread::JoinHandle<Given> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let given = runtime.block_on(async move {
            let mut given = Given::new();
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut conn) = mysql_async::Conn::from_url(&url).await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let _ = conn.query_drop(format!("SET starling_write_consistency = '{level}'")).await;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let who = format!("{name} {number}");
                    let many = number % 7 == 0;
                    let sql = if many {
                        format!("INSERT INTO orders (who) VALUES ('{who}'), ('{who} b'), ('{who} c')")
                    } else {
                        format!("INSERT INTO orders (who) VALUES ('{who}')")
                    };
                    if conn.query_drop(sql).await.is_err() {
                        break;
                    }
                    let first = conn.last_insert_id().expect("a number");
                    for (at, end) in ["", " b", " c"].iter().enumerate().take(if many { 3 } else { 1 }) {
                        given.insert(format!("{who}{end}"), first + at as u64);
                    }
                }
            }
            given
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        given
    })
}

fn rows(node: &Node) -> BTreeMap<String, u64> {
    let text = node.sql("SELECT who, id FROM shop.orders");
    let split = |line: &str| {
        let (who, id) = line.split_once('\t').unwrap();
        (who.to_owned(), id.parse().unwrap())
    };
    text.lines().map(split).collect()
}

/// Every acknowledged row is there under its number, on this node; no number was acknowledged twice.
fn check(node: &Node, given: &[Given]) {
    let rows = rows(node);
    let mut numbers = BTreeSet::new();
    let mut lost = Vec::new();
    for (who, id) in given.iter().flatten() {
        assert!(numbers.insert(*id), "{id} was given out twice, the second time for {who}");
        if rows.get(who) != Some(id) {
            lost.push((who, id));
        }
    }
    assert!(
        lost.is_empty(),
        "{} lost of {}: {:?}",
        lost.len(),
        numbers.len(),
        &lost[..lost.len().min(5)]
    );
    println!("{} acknowledged, highest number {:?}", numbers.len(), rows.values().max());
}

#[test]
fn numbers_are_unique_through_joins_kills_and_removals() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let under = tempfile::tempdir().unwrap();
    let one = founder(under.path());
    one.sql(SHOP);
    let mut writers = Vec::new();
    let mut write =
        |node: &Node, level, name: &str| writers.push(writer(node.url("shop"), level, format!("{} {level} {name}", node.name), &STOP));
    // While a second and a third node come in, the first one writes.
    write(&one, "QUORUM", "a");
    write(&one, "ONE", "b");
    let two = joined("two", under.path(), &one);
    write(&two, "QUORUM", "a");
    write(&two, "ONE", "b");
    let mut three = joined("three", under.path(), &one);
    until("three vote", || [&one, &two, &three].iter().all(|n| epoch(n) == 3));
    write(&three, "QUORUM", "a");
    std::thread::sleep(Duration::from_millis(1500));
    three.kill();
    std::thread::sleep(Duration::from_millis(1000));
    three.start();
    until("it writes again", || writable(&three));
    std::thread::sleep(Duration::from_millis(1000));
    // The third leaves for good, a fourth comes.
    until("it is removed", || {
        starling(&["members", "remove", "three", "--http-addr", &one.http_addr()]).0 == 0
    });
    until("two vote", || epoch(&one) == 4);
    let four = joined("four", under.path(), &one);
    until("three vote again", || epoch(&four) == 5);
    write(&four, "QUORUM", "a");
    write(&four, "ONE", "b");
    std::thread::sleep(Duration::from_millis(1500));
    STOP.store(true, Ordering::Relaxed);
    let given: Vec<Given> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    assert!(
        given.iter().all(|g| g.len() > 5),
        "{:?}",
        given.iter().map(BTreeMap::len).collect::<Vec<_>>()
    );
    let nodes = [&one, &two, &four];
    until("all are equal", || verify(&nodes).0 == 0);
    for node in nodes {
        check(node, &given);
    }
    let next: u64 = one
        .sql("SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_NAME = 'orders'")
        .trim()
        .parse()
        .unwrap();
    assert!(next > *rows(&one).values().max().unwrap());
}

#[test]
fn one_counts_and_others_go_on_behind_it() {
    let under = tempfile::tempdir().unwrap();
    let one = founder(under.path());
    one.sql(SHOP);
    let insert = "INSERT INTO shop.orders (who) VALUES ('x'); SELECT LAST_INSERT_ID()";
    for number in 1..=3 {
        assert_eq!(one.sql(insert).trim(), number.to_string());
    }
    // Handed out and not used: nobody else gives it out either.
    one.sql("BEGIN; INSERT INTO shop.orders (who) VALUES ('gone'), ('gone'); ROLLBACK");
    let two = joined("two", under.path(), &one);
    until("two vote", || epoch(&one) == 2 && epoch(&two) == 2);
    assert_eq!(two.sql(insert).trim(), "6");
    assert_eq!(two.sql(insert).trim(), "7");
    let mine: u64 = one.sql(insert).trim().parse().unwrap();
    assert!(mine > 7, "{mine}");
    // Explicit numbers of another node are skipped, whatever its consistency.
    two.sql_at_one(&format!("INSERT INTO shop.orders VALUES ({}, 'explicit')", mine + 1));
    until("it is there", || {
        one.sql(&format!("SELECT COUNT(*) FROM shop.orders WHERE id = {}", mine + 1)).trim() == "1"
    });
    let next: u64 = one.sql(insert).trim().parse().unwrap();
    assert!(next > mine + 1);
    // A lone survivor of two has no quorum: what is left of its block is given out at ONE, and then it says so.
    two.sql(insert);
    drop(two);
    until("it knows", || {
        get(one.http, "/readyz").is_some_and(|(_, body)| json(&body, "quorum") == false)
    });
    let mut left = 0;
    let refused = loop {
        let (good, text) = one.try_sql(&format!("SET starling_write_consistency = 'ONE'; {insert}"));
        if !good {
            break text;
        }
        left += 1;
        assert!(left < 1000, "blocks are small here");
    };
    assert!(refused.contains("1047"), "{refused}");
    println!("{left} numbers were left");
}
