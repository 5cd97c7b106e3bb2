//! Nodes as processes: joining, catching up, losing tables, logs and peers; feeds over several nodes; verify.

mod support;

use std::collections::HashSet;

use serde_json::Value;
use support::{Node, SECRET, cli, cluster, delete_tables, feed};

const TABLE: &str = "CREATE TABLE shop.items (id INT PRIMARY KEY, label VARCHAR(100))";

async fn shop(node: &Node) {
    node.run(&["CREATE DATABASE shop", TABLE]).await;
}

async fn fill(node: &Node, from: i64, to: i64) {
    let mut conn = node.connect().await;
    for id in from..to {
        use mysql_async::prelude::Queryable;
        let statement = format!("INSERT INTO shop.items VALUES ({id}, 'row {id}')");
        conn.query_drop(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    conn.disconnect().await.unwrap();
}

const COUNT: &str = "SELECT COUNT(*) FROM shop.items";

fn verify(node: &Node) -> (i32, String, String) {
    cli(&["verify", "--http-addr", &node.http_addr(), "--timeout", "30"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_serves_stops_cleanly_and_keeps_its_rows() {
    let mut node = Node::new("one").start().await;
    shop(&node).await;
    fill(&node, 0, 10).await;
    assert_eq!(node.terminate().code(), Some(0), "{}", node.logged());
    node.spawn();
    node.ready().await;
    assert_eq!(node.number(COUNT).await, Some(10));
    let (status, out, err) = cli(&["verify", "--against-log", "--http-addr", &node.http_addr()]);
    assert_eq!(status, 0, "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_written_anywhere_are_seen_everywhere() {
    let nodes = cluster(2).await;
    shop(&nodes[0]).await;
    for (number, node) in nodes.iter().enumerate() {
        node.sees(COUNT, 10 * number as i64).await;
        fill(node, 10 * number as i64, 10 * number as i64 + 10).await;
        for other in &nodes {
            other.sees(COUNT, 10 * number as i64 + 10).await;
        }
    }
    let (status, out, err) = verify(&nodes[0]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("equal: 3 nodes"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_catches_up_and_deleted_tables_are_rebuilt() {
    let mut nodes = cluster(2).await;
    shop(&nodes[0]).await;
    fill(&nodes[0], 0, 20).await;
    nodes[1].sees(COUNT, 20).await;
    nodes[2].sees(COUNT, 20).await;
    nodes[1].kill();
    nodes[2].kill();
    delete_tables(&nodes[2]);
    fill(&nodes[0], 20, 40).await;
    for number in [1, 2] {
        nodes[number].spawn();
        nodes[number].ready().await;
        nodes[number].sees(COUNT, 40).await;
    }
    let (status, out, err) = verify(&nodes[0]);
    assert_eq!(status, 0, "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_wrote_comes_through_a_third() {
    let mut nodes = cluster(2).await;
    shop(&nodes[0]).await;
    nodes[1].sees(COUNT, 0).await;
    nodes[2].sees(COUNT, 0).await;
    nodes[2].kill();
    fill(&nodes[1], 0, 15).await;
    nodes[0].sees(COUNT, 15).await;
    nodes[1].kill();
    nodes[2].spawn();
    nodes[2].sees(COUNT, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_log_comes_back_under_new_origins() {
    let mut nodes = cluster(1).await;
    shop(&nodes[0]).await;
    nodes[1].sees(COUNT, 0).await;
    fill(&nodes[1], 0, 5).await;
    assert!(nodes[1].terminate().success());
    // A backup of the whole directory, restored after more was written.
    let copy = nodes[1].dir.with_extension("copy");
    copy_dir(&nodes[1].dir, &copy);
    nodes[1].spawn();
    nodes[1].ready().await;
    fill(&nodes[1], 5, 10).await;
    nodes[0].sees(COUNT, 10).await;
    nodes[1].kill();
    std::fs::remove_dir_all(&nodes[1].dir).unwrap();
    std::fs::rename(&copy, &nodes[1].dir).unwrap();
    let before = origins(&nodes[0], "two").await;
    nodes[1].spawn();
    nodes[1].ready().await;
    nodes[1].sees(COUNT, 10).await;
    nodes[1].until("writing again", async || matches!(nodes[1].get("/readyz").await, Ok((_, body)) if body["writable"] == true)).await;
    let after = origins(&nodes[0], "two").await;
    assert_ne!(before, after);
    fill(&nodes[1], 10, 12).await;
    nodes[0].sees(COUNT, 12).await;
    assert_eq!(verify(&nodes[0]).0, 0);
}

async fn origins(node: &Node, name: &str) -> Value {
    let (_, members) = node.get("/v1/members").await.unwrap();
    let list = members["members"].as_array().unwrap();
    list.iter().find(|m| m["name"] == name).unwrap()["origins"].clone()
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_cut_again_and_again_and_resumed_elsewhere_gives_everything_once() {
    let nodes = cluster(2).await;
    shop(&nodes[0]).await;
    nodes[1].sees(COUNT, 0).await;
    nodes[2].sees(COUNT, 0).await;
    let writers = async {
        tokio::join!(fill(&nodes[0], 0, 60), fill(&nodes[1], 100, 160), fill(&nodes[2], 200, 260));
    };
    let reader = async {
        let (mut cursor, mut events, mut turn) = (String::new(), Vec::new(), 0);
        let mut rows = 0;
        while rows < 180 {
            let mut left = 7;
            let query = format!("heartbeat_ms=20&cursor={cursor}");
            let got = feed(&nodes[turn % 3], &query, |_| {
                left -= 1;
                left == 0
            })
            .await;
            turn += 1;
            if let Some(last) = got.last() {
                cursor = last["cursor"].as_str().unwrap().to_owned();
            }
            rows += got.iter().filter(|e| e["op"] == "c").count();
            events.extend(got);
        }
        events
    };
    let (events, ()) = tokio::join!(reader, writers);
    let places: Vec<String> = events
        .iter()
        .filter(|e| e["op"] == "c")
        .map(|e| format!("{} {} {}", e["origin"], e["seq"], e["index"]))
        .collect();
    let different: HashSet<&String> = places.iter().collect();
    assert_eq!((places.len(), different.len()), (180, 180));
    let ids: HashSet<i64> = events.iter().filter_map(|e| e["after"]["id"].as_i64()).collect();
    assert_eq!(ids.len(), 180);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_changed_behind_the_back_is_named() {
    let nodes = cluster(1).await;
    shop(&nodes[0]).await;
    fill(&nodes[0], 0, 50).await;
    nodes[1].sees(COUNT, 50).await;
    assert_eq!(verify(&nodes[0]).0, 0);
    let file = rusqlite::Connection::open(nodes[1].dir.join("db").join("shop.db")).unwrap();
    file.execute("UPDATE items SET label = 'forged' WHERE id = 7", []).unwrap();
    drop(file);
    let (status, out, err) = verify(&nodes[0]);
    assert_eq!(status, 1, "{out}{err}");
    assert!(out.contains("shop.items") && out.contains('7'), "{out}");
    let (status, out, err) = cli(&["verify", "--against-log", "--http-addr", &nodes[1].http_addr()]);
    assert_eq!(status, 1, "{out}{err}");
    assert!(out.contains("shop.items") && out.contains('7'), "{out}");
    assert_eq!(cli(&["verify", "--against-log", "--http-addr", &nodes[0].http_addr()]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_founder_takes_schema_changes() {
    use mysql_async::prelude::Queryable;
    let nodes = cluster(1).await;
    let mut conn = nodes[1].connect().await;
    let refused = conn.query_drop("CREATE DATABASE elsewhere").await.unwrap_err().to_string();
    assert!(refused.contains("one"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_refused_with_one_line() {
    let node = Node::new("one").start().await;
    let stranger = Node::new("two").join(&node);
    let output = stranger
        .command()
        .args(["--cluster-secret", "another"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "clap refuses the flag given twice: {said}");
    let mut command = support::program();
    let output = command
        .args(["serve", "--join", &node.http_addr(), "--cluster-secret", "another", "--data-dir"])
        .arg(&stranger.dir)
        .args(["--mysql-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("secret"), "{said}");
    assert!(node.logged().contains("refused"), "{}", node.logged());
    assert!(!said.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why_and_changes_nothing() {
    let node = Node::new("one").start().await;
    let fails = |args: &[&str]| {
        let (status, _, said) = cli(args);
        assert_eq!(status, 1, "{said}");
        assert_eq!(said.lines().filter(|l| l.starts_with("starling: ")).count(), 1, "{said}");
        said
    };
    let elsewhere = node.dir.with_extension("elsewhere");
    let (dir, other) = (node.dir.to_str().unwrap(), elsewhere.to_str().unwrap());
    let taken = fails(&["serve", "--data-dir", other, "--http-addr", &node.http_addr(), "--mysql-addr", "127.0.0.1:0"]);
    assert!(taken.contains("--http-addr"), "{taken}");
    let mysql = format!("127.0.0.1:{}", node.mysql);
    let taken = fails(&["serve", "--data-dir", other, "--http-addr", "127.0.0.1:0", "--mysql-addr", &mysql]);
    assert!(taken.contains("--mysql-addr"), "{taken}");
    assert!(!support::exists(&elsewhere), "nothing is made before it is known to work");
    let used = fails(&["serve", "--data-dir", dir, "--http-addr", "127.0.0.1:0", "--mysql-addr", "127.0.0.1:0"]);
    assert!(used.contains("in use"), "{used}");
    let (status, _, said) = cli(&["serve", "--join", "127.0.0.1:1", "--data-dir", other]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("--cluster-secret"), "{said}");
}
