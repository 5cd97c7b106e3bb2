//! Nodes as processes: joining, catching up, losing tables, logs and peers; feeds over several nodes; verify.

mod support;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{Node, SECRET, cluster, get, json, lines, starling, until, verify};

const SHOP: &str = "CREATE DATABASE shop; CREATE TABLE shop.items (id INT PRIMARY KEY, label VARCHAR(100))";
const COUNT: &str = "SELECT COUNT(*) FROM shop.items";

fn all(nodes: &[Node]) -> Vec<&Node> {
    nodes.iter().collect()
}

fn fill(node: &Node, from: i64, to: i64) {
    let statements: Vec<String> = (from..to)
        .map(|id| format!("INSERT INTO shop.items VALUES ({id}, 'row {id}')"))
        .collect();
    node.sql_at_one(&statements.join(";"));
}

fn sees(node: &Node, rows: i64) {
    until(&format!("{} shows {rows} rows", node.name), || {
        let (good, text) = node.try_sql(COUNT);
        good && text.trim() == rows.to_string()
    });
}

fn writable(node: &Node) -> bool {
    get(node.http, "/readyz").is_some_and(|(status, body)| status == 200 && json(&body, "writable") == true)
}

fn founder_with_secret(under: &Path) -> Node {
    let mut node = Node::new("one", under).args(&["--cluster-secret", SECRET]);
    node.start();
    node
}

#[test]
fn a_single_node_stops_cleanly_and_keeps_its_rows() {
    let under = tempfile::tempdir().unwrap();
    let mut node = Node::new("one", under.path());
    node.start();
    node.sql(SHOP);
    fill(&node, 0, 10);
    assert_eq!(node.term().code(), Some(0), "{}", node.log());
    node.start();
    sees(&node, 10);
    let (status, text) = starling(&["verify", "--against-log", "--http-addr", &node.http_addr()]);
    assert_eq!(status, 0, "{text}");
}

#[test]
fn rows_written_anywhere_are_seen_everywhere() {
    let under = tempfile::tempdir().unwrap();
    let nodes = cluster(&["one", "two", "three"], under.path());
    nodes[0].sql(SHOP);
    for (number, node) in (0..).zip(&nodes) {
        sees(node, 10 * number);
        fill(node, 10 * number, 10 * number + 10);
        for other in &nodes {
            sees(other, 10 * number + 10);
        }
    }
    let (status, text) = starling(&["verify", "--http-addr", &nodes[1].http_addr()]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("equal: 3 nodes"), "{text}");
}

#[test]
fn a_killed_node_catches_up_and_deleted_tables_are_rebuilt() {
    let under = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&["one", "two", "three"], under.path());
    nodes[0].sql(SHOP);
    fill(&nodes[0], 0, 20);
    sees(&nodes[1], 20);
    sees(&nodes[2], 20);
    nodes[1].kill();
    nodes[2].kill();
    std::fs::remove_dir_all(nodes[2].dir.join("db")).unwrap();
    fill(&nodes[0], 20, 40);
    for number in [1, 2] {
        nodes[number].start();
        sees(&nodes[number], 40);
    }
    let (status, text) = verify(&all(&nodes));
    assert_eq!(status, 0, "{text}");
}

#[test]
fn what_a_dead_node_wrote_comes_through_a_third() {
    let under = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&["one", "two", "three"], under.path());
    nodes[0].sql(SHOP);
    sees(&nodes[1], 0);
    sees(&nodes[2], 0);
    nodes[2].kill();
    fill(&nodes[1], 0, 15);
    sees(&nodes[0], 15);
    nodes[1].kill();
    nodes[2].spawn();
    sees(&nodes[2], 15);
}

#[test]
fn a_node_with_an_old_log_comes_back_under_new_origins() {
    let under = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&["one", "two"], under.path());
    nodes[0].sql(SHOP);
    sees(&nodes[1], 0);
    fill(&nodes[1], 0, 5);
    // A backup of the whole directory, put back after more was written.
    assert!(nodes[1].term().success());
    let copy = nodes[1].dir.with_extension("copy");
    copy_dir(&nodes[1].dir, &copy);
    nodes[1].start();
    fill(&nodes[1], 5, 10);
    sees(&nodes[0], 10);
    nodes[1].kill();
    std::fs::remove_dir_all(&nodes[1].dir).unwrap();
    std::fs::rename(&copy, &nodes[1].dir).unwrap();
    let before = origins(&nodes[0], 1);
    nodes[1].start();
    sees(&nodes[1], 10);
    until("it may write again", || writable(&nodes[1]));
    until("the founder shows new origins", || origins(&nodes[0], 1) != before);
    fill(&nodes[1], 10, 12);
    sees(&nodes[0], 12);
    assert_eq!(verify(&all(&nodes)).0, 0);
}

#[test]
fn a_founder_with_an_old_log_helps_itself() {
    let under = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&["one", "two"], under.path());
    nodes[0].sql(SHOP);
    assert!(nodes[0].term().success());
    let copy = nodes[0].dir.with_extension("copy");
    copy_dir(&nodes[0].dir, &copy);
    nodes[0].start();
    fill(&nodes[0], 0, 10);
    sees(&nodes[1], 10);
    nodes[0].kill();
    std::fs::remove_dir_all(&nodes[0].dir).unwrap();
    std::fs::rename(&copy, &nodes[0].dir).unwrap();
    nodes[0].start();
    until("it may write again", || writable(&nodes[0]));
    until("the other knows the new origins", || {
        origins(&nodes[1], 0) != serde_json::json!([1, 2])
    });
    fill(&nodes[0], 10, 12);
    sees(&nodes[1], 12);
    assert_eq!(verify(&all(&nodes)).0, 0);
    // It still hands out numbers that nobody had.
    let mut third = Node::new("three", under.path()).args(&["--cluster-secret", SECRET, "--join", &nodes[1].http_addr()]);
    third.spawn();
    sees(&third, 12);
    assert_eq!(origins(&nodes[1], 2), serde_json::json!([7, 8]));
    // But it gets no vote: of the two voters that could give it one, one has lost its memory.
    assert_eq!(get(third.http, "/readyz").unwrap().0, 503);
}

fn origins(node: &Node, member: usize) -> Value {
    json(&get(node.http, "/v1/members").unwrap().1, &format!("members.{member}.origins"))
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[test]
fn a_node_that_moves_to_another_address_is_found() {
    let under = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&["one", "two"], under.path());
    nodes[0].sql(SHOP);
    sees(&nodes[1], 0);
    nodes[1].kill();
    nodes[1].http = support::free_port();
    nodes[1].start();
    fill(&nodes[1], 0, 3);
    sees(&nodes[0], 3);
}

#[test]
fn a_feed_cut_again_and_again_and_resumed_elsewhere_gives_everything_once() {
    let under = tempfile::tempdir().unwrap();
    let nodes = cluster(&["one", "two", "three"], under.path());
    nodes[0].sql(SHOP);
    sees(&nodes[1], 0);
    sees(&nodes[2], 0);
    let events = std::thread::scope(|scope| {
        for (number, node) in (0..).zip(&nodes) {
            scope.spawn(move || fill(node, 100 * number, 100 * number + 60));
        }
        let (mut cursor, mut rows, mut events) = (String::new(), 0, Vec::new());
        for node in nodes.iter().cycle() {
            for line in lines(node.http, &format!("/v1/changes?heartbeat_ms=20&cursor={cursor}")).take(7) {
                let event: Value = serde_json::from_str(&line).unwrap();
                cursor = event["cursor"].as_str().unwrap().to_owned();
                rows += i32::from(event["op"] == "c");
                events.push(event);
            }
            if rows >= 180 {
                break;
            }
        }
        events
    });
    let rows: Vec<&Value> = events.iter().filter(|e| e["op"] == "c").collect();
    let places: HashSet<String> = rows
        .iter()
        .map(|e| format!("{} {} {}", e["origin"], e["seq"], e["index"]))
        .collect();
    let ids: HashSet<i64> = rows.iter().filter_map(|e| e["after"]["id"].as_i64()).collect();
    assert_eq!((rows.len(), places.len(), ids.len()), (180, 180, 180));
}

#[test]
fn cursors_inside_a_transaction_and_below_what_is_kept() {
    let under = tempfile::tempdir().unwrap();
    let mut node = Node::new("one", under.path());
    node.start();
    node.sql(SHOP);
    node.sql("INSERT INTO shop.items VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    let read = |node: &Node, query: &str| -> Vec<Value> {
        let (status, body) = get(node.http, &format!("/v1/changes?follow=false&{query}")).unwrap();
        assert_eq!(status, 200, "{body}");
        body.lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
            .filter(|e| e["op"] == "c")
            .collect()
    };
    let one = read(&node, "tables=shop.*&limit=3");
    assert_eq!(one.len(), 1, "two schema changes come first");
    let rest = read(&node, &format!("cursor={}", one[0]["cursor"].as_str().unwrap()));
    assert_eq!(rest.iter().map(|e| e["key"]["id"].as_i64().unwrap()).collect::<Vec<_>>(), [2, 3]);
    assert!(read(&node, "cursor=now").is_empty());
    assert_eq!(get(node.http, "/v1/changes?cursor=nonsense").unwrap().0, 400);
    assert_eq!(get(node.http, "/v1/changes?order=stamp").unwrap().0, 501);
    assert!(node.term().success());
    prune(&node);
    node.start();
    let (status, body) = get(node.http, &format!("/v1/changes?cursor={}", one[0]["cursor"].as_str().unwrap())).unwrap();
    assert_eq!(status, 410, "{body}");
    let oldest = json(&body, "oldest").as_str().unwrap().to_owned();
    fill(&node, 10, 11);
    assert_eq!(read(&node, &format!("cursor={oldest}")).last().unwrap()["key"]["id"], 10);
}

/// Through the library, as retention will do it.
fn prune(node: &Node) {
    let log = starling_log::Log::open(
        starling_log::LogOptions::new(node.dir.join("log")),
        std::sync::Arc::new(starling_log::SystemTime),
    )
    .unwrap();
    log.prune(&log.held()).unwrap();
    assert!(log.pruned().iter().any(|(_, seq)| seq > 0));
}

#[test]
fn a_row_changed_behind_the_back_is_named() {
    let under = tempfile::tempdir().unwrap();
    let nodes = cluster(&["one", "two"], under.path());
    nodes[0].sql(SHOP);
    fill(&nodes[0], 0, 50);
    sees(&nodes[1], 50);
    assert_eq!(verify(&all(&nodes)).0, 0);
    let file = rusqlite::Connection::open(nodes[1].dir.join("db").join("shop.db")).unwrap();
    file.execute("UPDATE items SET label = 'forged' WHERE id = 37", []).unwrap();
    drop(file);
    let (status, text) = verify(&all(&nodes));
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("shop.items") && text.contains("key 37"), "{text}");
    let (status, text) = starling(&["verify", "--against-log", "--http-addr", &nodes[1].http_addr()]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("shop.items") && text.contains("key 37"), "{text}");
    assert_eq!(starling(&["verify", "--against-log", "--http-addr", &nodes[0].http_addr()]).0, 0);
}

#[test]
fn replay_builds_the_tables_from_a_log() {
    let under = tempfile::tempdir().unwrap();
    let mut node = Node::new("one", under.path());
    node.start();
    node.sql(SHOP);
    fill(&node, 0, 20);
    let (from, into) = (node.dir.to_str().unwrap().to_owned(), under.path().join("into"));
    let replay = |into: &Path| starling(&["replay", "--data-dir", &from, "--into", into.to_str().unwrap()]);
    assert_eq!(replay(&into).0, 1, "a running node's log is its own");
    assert!(node.term().success());
    let (status, text) = replay(&into);
    assert_eq!(status, 0, "{text}");
    let file = rusqlite::Connection::open(into.join("shop.db")).unwrap();
    let rows: i64 = file.query_row("SELECT COUNT(*) FROM items", [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 20);
    assert_eq!(replay(&into).0, 1, "not into a directory that holds something");
}

#[test]
fn a_wrong_secret_is_refused_with_one_line() {
    let under = tempfile::tempdir().unwrap();
    let node = founder_with_secret(under.path());
    let stranger = Node::new("two", under.path()).args(&["--cluster-secret", "another", "--join", &node.http_addr()]);
    let output = stranger.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("secret is another one") && !said.contains(SECRET), "{said}");
    let refused = node.log().lines().filter(|l| l.contains("refused")).count();
    assert_eq!(refused, 1, "{}", node.log());
}

#[test]
fn what_cannot_start_says_why_and_changes_nothing() {
    let under = tempfile::tempdir().unwrap();
    let node = founder_with_secret(under.path());
    let fails = |args: &[&str], word: &str| {
        let (status, said) = starling(args);
        assert_eq!(status, 1, "{said}");
        assert_eq!(said.lines().filter(|l| l.starts_with("starling: ")).count(), 1, "{said}");
        assert!(said.contains(word), "{said}");
    };
    let elsewhere = under.path().join("elsewhere");
    let (dir, other, any) = (node.dir.to_str().unwrap(), elsewhere.to_str().unwrap(), "127.0.0.1:0");
    let mysql = format!("127.0.0.1:{}", node.mysql);
    fails(
        &["serve", "--data-dir", other, "--http-addr", &node.http_addr(), "--mysql-addr", any],
        "--http-addr",
    );
    fails(
        &["serve", "--data-dir", other, "--http-addr", any, "--mysql-addr", &mysql],
        "--mysql-addr",
    );
    assert!(!elsewhere.exists(), "nothing is made before it is known to work");
    fails(&["serve", "--data-dir", dir, "--http-addr", any, "--mysql-addr", any], "in use");
    let (status, said) = starling(&["serve", "--join", "127.0.0.1:1", "--data-dir", other]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("--cluster-secret"), "{said}");
}

#[test]
fn a_daemon_says_when_it_is_up_and_when_not() {
    let under = tempfile::tempdir().unwrap();
    let node = Node::new("one", under.path());
    let pid_file = under.path().join("pid");
    let launch = || {
        node.command()
            .args(["--daemon", "--pid-file"])
            .arg(&pid_file)
            .stdout(std::process::Stdio::piped())
            .output()
            .unwrap()
    };
    let up = launch();
    assert!(up.status.success(), "{up:?}");
    assert!(String::from_utf8_lossy(&up.stdout).contains("is up"), "{up:?}");
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let again = launch();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("in use"), "{again:?}");
    // SAFETY: the pid is that of the daemon started above.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    until("the daemon has ended", || !pid_file.exists());
}

#[test]
fn of_two_writes_of_a_row_the_later_wins_and_the_loser_says_so() {
    let under = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&["one", "two"], under.path());
    nodes[0].sql(SHOP);
    fill(&nodes[0], 1, 2);
    sees(&nodes[1], 1);
    // Apart: two writes first, one writes later; then they meet.
    assert!(nodes[0].term().success());
    nodes[1].sql_at_one("UPDATE shop.items SET label = 'earlier' WHERE id = 1");
    assert!(nodes[1].term().success());
    nodes[0].start();
    nodes[0].sql_at_one("UPDATE shop.items SET label = 'later' WHERE id = 1");
    nodes[1].start();
    for node in &nodes {
        until("the later write is there", || {
            node.sql("SELECT label FROM shop.items").trim() == "later"
        });
    }
    until("both are at one position", || verify(&all(&nodes)).0 == 0);
    let events = get(nodes[0].http, "/v1/changes?follow=false&tables=shop.items").unwrap().1;
    let updates: Vec<(Value, Value)> = events
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        .filter(|e| e["op"] == "u")
        .map(|e| (e["after"]["label"].clone(), e["superseded"].clone()))
        .collect();
    assert!(updates.contains(&("earlier".into(), true.into())), "{updates:?}");
    assert!(updates.contains(&("later".into(), Value::Null)), "{updates:?}");
}

#[test]
fn a_majority_goes_on_and_a_minority_refuses_at_once() {
    let under = tempfile::tempdir().unwrap();
    let mut nodes = cluster(&["one", "two", "three"], under.path());
    nodes[0].sql(SHOP);
    let votes =
        |node: &Node| get(node.http, "/readyz").is_some_and(|(_, body)| json(&body, "members") == 3 && json(&body, "quorum") == true);
    until("all of them vote", || nodes.iter().all(votes));
    for (id, node) in nodes.iter().enumerate() {
        until("the table is there", || node.try_sql(COUNT).0);
        node.sql(&format!("INSERT INTO shop.items VALUES ({id}, 'of {}')", node.name));
    }
    nodes[2].kill();
    nodes[0].sql("UPDATE shop.items SET label = 'by two of three' WHERE id = 0");
    nodes[1].kill();
    until("a minority says that it is one", || {
        let (done, text) = nodes[0].try_sql("UPDATE shop.items SET label = 'alone' WHERE id = 1");
        assert!(!done, "one of three has decided");
        text.contains("ERROR 1047")
    });
    assert_eq!(nodes[0].sql("SELECT label FROM shop.items WHERE id = 0").trim(), "by two of three");
    nodes[1].start();
    nodes[2].start();
    until("they decide again", || {
        nodes[0].try_sql("INSERT INTO shop.items VALUES (9, 'together')").0
    });
    until("all are equal", || verify(&all(&nodes)).0 == 0);
}
