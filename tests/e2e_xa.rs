//! XA with real processes and clients: what is prepared survives SIGKILL, on one node and on three, and nobody overtakes it; and what
//! `starling.transactions` says of what is not over.

mod support;

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use support::{Node, cluster};

async fn connect(node: &Node, db: &str) -> Conn {
    Conn::from_url(node.url(db)).await.expect("connects")
}

async fn run(conn: &mut Conn, list: &[&str]) {
    for sql in list {
        conn.query_drop(*sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

async fn code(conn: &mut Conn, sql: &str) -> u16 {
    match conn.query_drop(sql).await {
        Err(Error::Server(error)) => error.code,
        other => panic!("{sql}: {other:?}"),
    }
}

async fn recover(conn: &mut Conn) -> Vec<(i64, i64, i64, Vec<u8>)> {
    conn.query("XA RECOVER").await.expect("XA RECOVER")
}

async fn values(conn: &mut Conn) -> Vec<(i32, i32)> {
    conn.query("SELECT id, v FROM shop.t ORDER BY id").await.expect("reads")
}

const SCHEMA: [&str; 3] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)",
    "INSERT INTO shop.t VALUES (1, 10), (2, 20)",
];

/// Waits for locks for a second, not for fifty.
const SHORT: &str = "SET innodb_lock_wait_timeout = 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_branch_survives_sigkill() {
    let under = tempfile::tempdir().expect("a directory");
    let mut node = Node::new("alone", under.path());
    node.start();
    let mut a = connect(&node, "").await;
    run(&mut a, &SCHEMA).await;
    run(
        &mut a,
        &[
            "CREATE TABLE shop.n (id INT AUTO_INCREMENT PRIMARY KEY)",
            "XA START 'keep', 'b', 5",
            "UPDATE shop.t SET v = 11 WHERE id = 1",
            "INSERT INTO shop.n VALUES (), ()",
            "INSERT INTO shop.t VALUES (3, 30)",
            "XA END 'keep', 'b', 5",
            "XA PREPARE 'keep', 'b', 5",
            "XA START 'drop'",
            "DELETE FROM shop.t WHERE id = 2",
            "XA END 'drop'",
            "XA PREPARE 'drop'",
            "XA START 'open'",
            "INSERT INTO shop.t VALUES (9, 90)",
            "XA END 'open'",
        ],
    )
    .await;
    node.kill();
    node.start();
    let mut b = connect(&node, "").await;
    assert_eq!(
        recover(&mut b).await,
        [(1, 4, 0, b"drop".to_vec()), (5, 4, 1, b"keepb".to_vec())],
        "what was not prepared is gone"
    );
    run(&mut b, &[SHORT]).await;
    for locked in [
        "UPDATE shop.t SET v = 0 WHERE id = 1",
        "UPDATE shop.t SET v = 0 WHERE id = 2",
        "INSERT INTO shop.t VALUES (3, 0)",
    ] {
        assert_eq!(code(&mut b, locked).await, 1205, "{locked}");
    }
    run(
        &mut b,
        &[
            "INSERT INTO shop.t VALUES (9, 91)",
            "INSERT INTO shop.n VALUES ()",
            "XA COMMIT 'keep', 'b', 5",
            "XA ROLLBACK 'drop'",
        ],
    )
    .await;
    assert_eq!(values(&mut b).await, [(1, 11), (2, 20), (3, 30), (9, 91)]);
    let numbers: Vec<i32> = b.query("SELECT id FROM shop.n ORDER BY id").await.expect("reads");
    assert_eq!(numbers, [1, 2, 3], "a branch's numbers are its own");
    run(&mut b, &["UPDATE shop.t SET v = v + 1"]).await;
    node.kill();
    node.start();
    let mut c = connect(&node, "").await;
    assert_eq!(recover(&mut c).await, []);
    assert_eq!(values(&mut c).await, [(1, 12), (2, 21), (3, 31), (9, 92)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_keep_what_one_of_them_prepared() {
    let under = tempfile::tempdir().expect("a directory");
    let mut nodes = cluster(&["first", "second", "third"], under.path());
    let mut a = connect(&nodes[0], "").await;
    support::until("three vote", || {
        nodes[0]
            .sql("SELECT COUNT(*) FROM starling.members WHERE state = 'up' OR state = 'member'")
            .trim()
            == "3"
    });
    run(&mut a, &SCHEMA).await;
    let prepare = |name: &str, work: &str| {
        [
            format!("XA START '{name}'"),
            work.into(),
            format!("XA END '{name}'"),
            format!("XA PREPARE '{name}'"),
        ]
    };
    for (name, work) in [
        ("one", "UPDATE shop.t SET v = 11 WHERE id = 1"),
        ("two", "UPDATE shop.t SET v = 22 WHERE id = 2"),
    ] {
        for sql in prepare(name, work) {
            run(&mut a, &[&sql]).await;
        }
    }
    nodes[0].kill();
    let mut b = connect(&nodes[1], "").await;
    let mut c = connect(&nodes[2], "").await;
    support::until("the others know of it", || nodes[1].sql("XA RECOVER").lines().count() == 2);
    run(&mut b, &[SHORT]).await;
    run(&mut c, &[SHORT]).await;
    assert_eq!(code(&mut b, "UPDATE shop.t SET v = 0 WHERE id = 1").await, 1205);
    assert_eq!(code(&mut c, "UPDATE shop.t SET v = 0 WHERE id = 2").await, 1205);
    assert_eq!(code(&mut c, "XA START 'one'").await, 1440);
    // Its coordinator is away: another member ends it.
    run(&mut b, &["XA COMMIT 'one'"]).await;
    assert_eq!(values(&mut b).await, [(1, 11), (2, 20)]);
    nodes[0].start();
    let mut a = connect(&nodes[0], "").await;
    support::until("it hears of the end", || nodes[0].sql("XA RECOVER").lines().count() == 1);
    run(&mut a, &[SHORT]).await;
    assert_eq!(code(&mut a, "UPDATE shop.t SET v = 0 WHERE id = 2").await, 1205);
    run(&mut c, &["XA ROLLBACK 'two'"]).await;
    run(&mut c, &["UPDATE shop.t SET v = v + 1"]).await;
    support::until("all are equal", || {
        nodes.iter().all(|n| n.sql("SELECT SUM(v) FROM shop.t").trim() == "33")
    });
    let (code, text) = support::verify(&nodes.iter().collect::<Vec<_>>());
    assert_eq!(code, 0, "{text}");
}

/// A branch prepared on one node and ended on another, again and again; how many were committed.
async fn branches(urls: [String; 2], name: usize, until: Instant) -> i64 {
    let mut here = Conn::from_url(&urls[0]).await.expect("connects");
    let mut there = Conn::from_url(&urls[1]).await.expect("connects");
    let mut committed = 0;
    for number in 0.. {
        if Instant::now() > until {
            break;
        }
        let (xid, id) = (format!("'{name}-{number}'"), number % 3 + 1);
        let work = [
            format!("XA START {xid}"),
            format!("UPDATE shop.c SET n = n + 1 WHERE id = {id}"),
            format!("XA END {xid}"),
            format!("XA PREPARE {xid}"),
        ];
        let mut prepared = true;
        for sql in &work {
            prepared &= prepared && here.query_drop(sql).await.is_ok();
        }
        if !prepared {
            // It lost a race before anything was promised.
            let _ = here.query_drop(format!("XA END {xid}")).await;
            let _ = here.query_drop(format!("XA ROLLBACK {xid}")).await;
            continue;
        }
        let commit = number % 4 != 3;
        let end = if commit { "XA COMMIT" } else { "XA ROLLBACK" };
        run(&mut there, &[&format!("{end} {xid}")]).await;
        committed += i64::from(commit);
    }
    committed
}

async fn increments(url: String, until: Instant) -> i64 {
    let mut conn = Conn::from_url(&url).await.expect("connects");
    run(&mut conn, &[SHORT]).await;
    let mut done = 0;
    while Instant::now() < until {
        done += i64::from(conn.query_drop("UPDATE shop.c SET n = n + 1 WHERE id = 1 OR id = 3").await.is_ok()) * 2;
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_overtakes_a_prepared_branch() {
    let under = tempfile::tempdir().expect("a directory");
    let nodes = cluster(&["first", "second", "third"], under.path());
    let mut conn = connect(&nodes[0], "").await;
    for sql in [
        "CREATE DATABASE shop",
        "CREATE TABLE shop.c (id INT PRIMARY KEY, n INT)",
        "INSERT INTO shop.c VALUES (1, 0), (2, 0), (3, 0)",
        // Its table is made by whoever may change the schema.
        "XA START 'x'; XA END 'x'; XA PREPARE 'x'; XA ROLLBACK 'x'",
    ] {
        run(&mut conn, &[sql]).await;
    }
    support::until("all have the table", || {
        nodes.iter().all(|n| n.try_sql("SELECT COUNT(*) FROM shop.c").1.trim() == "3")
    });
    let until = Instant::now() + Duration::from_secs(5);
    let mut tasks = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        let urls = [node.url(""), nodes[(i + 1) % 3].url("")];
        tasks.push(tokio::spawn(branches(urls, i, until)));
        tasks.push(tokio::spawn(increments(node.url(""), until)));
    }
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.push(task.await.expect("no end of a branch is refused"));
    }
    println!("branches and increments, node by node: {acknowledged:?}");
    assert!(acknowledged.iter().step_by(2).all(|n| *n > 0), "{acknowledged:?}");
    let wanted = acknowledged.iter().sum::<i64>().to_string();
    support::until("all are equal", || {
        nodes.iter().all(|n| n.sql("SELECT SUM(n) FROM shop.c").trim() == wanted)
    });
    assert_eq!(recover(&mut conn).await, []);
}

fn signal(node: &Node, signal: i32) {
    // SAFETY: the pid is our own living child's.
    unsafe { libc::kill(node.pid() as i32, signal) };
}

fn states(node: &Node) -> String {
    node.sql("SELECT state, coordinator FROM starling.transactions ORDER BY state")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_over_is_shown_until_it_is() {
    let under = tempfile::tempdir().expect("a directory");
    let nodes = cluster(&["first", "second", "third"], under.path());
    let mut conn = connect(&nodes[0], "").await;
    run(&mut conn, &SCHEMA).await;
    let settled = "UPDATE shop.t SET v = v + 1";
    support::until("three vote", || nodes[2].try_sql(settled).0 && nodes[0].try_sql(settled).0);
    run(&mut conn, &["BEGIN", "UPDATE shop.t SET v = 0 WHERE id = 2"]).await;
    assert_eq!(states(&nodes[0]), "open\t1\n");
    run(&mut conn, &["ROLLBACK"]).await;
    assert_eq!(states(&nodes[0]), "");
    // Two of three hear of it, or do not, and say nothing.
    signal(&nodes[1], libc::SIGSTOP);
    signal(&nodes[2], libc::SIGSTOP);
    let lost = conn.query_drop("INSERT INTO shop.t VALUES (7, 70)").await;
    match &lost {
        Err(Error::Server(error)) => assert_eq!(error.code, 1047, "it was not even proposed"),
        Err(_) => support::until("the outcome is unknown", || states(&nodes[0]) == "unknown\t1\n"),
        Ok(()) => panic!("nobody can have decided that"),
    }
    signal(&nodes[1], libc::SIGCONT);
    signal(&nodes[2], libc::SIGCONT);
    support::until("it is decided", || nodes.iter().all(|n| states(n).is_empty()));
    let count = |n: &Node| n.sql("SELECT COUNT(*) FROM shop.t WHERE id = 7");
    support::until("all say the same", || nodes.iter().all(|n| count(n) == count(&nodes[0])));
    assert!(
        matches!(lost, Err(ref e) if !matches!(e, Error::Server(_))),
        "this was to show an unknown outcome: {lost:?}"
    );
}
