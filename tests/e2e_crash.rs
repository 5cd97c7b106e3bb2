//! What was acknowledged survives SIGKILL, and loss of everything that was never synced; nothing is ever half there.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use support::Node;

const WRITERS: u64 = 8;

fn long() -> bool {
    std::env::var_os("STARLING_TEST_LONG").is_some()
}

/// One writer: a transaction of two rows each time (`a` and `b` with the same number), or one autocommit row; until the node dies.
/// Returns the numbers acknowledged.
async fn write(url: String, next: Arc<AtomicU64>) -> Vec<(u64, bool)> {
    let mut acknowledged = Vec::new();
    let Ok(mut connection) = mysql_async::Conn::from_url(&url).await else {
        return acknowledged;
    };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let pair = number.is_multiple_of(4);
        let done = if pair {
            connection
                .query_drop(format!(
                    "BEGIN; INSERT INTO a VALUES ({number}, 'x'); INSERT INTO b VALUES ({number}, 'y'); COMMIT"
                ))
                .await
        } else {
            connection.query_drop(format!("INSERT INTO a VALUES ({number}, 'x')")).await
        };
        match done {
            Ok(()) => acknowledged.push((number, pair)),
            Err(_) => return acknowledged,
        }
    }
}

/// Writes from several clients until the node is killed after `millis`.
async fn storm(node: &mut Node, next: &Arc<AtomicU64>, millis: u64) -> Vec<(u64, bool)> {
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(write(node.url("crash"), next.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(millis)).await;
    node.kill();
    let mut all = Vec::new();
    for writer in writers {
        all.extend(writer.await.expect("a writer"));
    }
    all
}

async fn numbers(node: &Node, table: &str) -> BTreeSet<u64> {
    let mut connection = mysql_async::Conn::from_url(node.url("crash")).await.expect("connects");
    connection
        .query(format!("SELECT id FROM {table}"))
        .await
        .expect("reads")
        .into_iter()
        .collect()
}

/// Everything acknowledged is there; a pair is there whole or not at all.
async fn check(node: &Node, acknowledged: &[(u64, bool)]) {
    let (a, b) = (numbers(node, "a").await, numbers(node, "b").await);
    for (number, pair) in acknowledged {
        assert!(a.contains(number), "{number} was acknowledged and is gone");
        assert!(!pair || b.contains(number), "{number} is half there");
    }
    let halves: Vec<_> = a
        .iter()
        .filter(|n| n.is_multiple_of(4) && !b.contains(n))
        .chain(b.difference(&a))
        .collect();
    assert!(halves.is_empty(), "half transactions: {halves:?}");
}

async fn rounds(node: &mut Node, count: u64, after_kill: impl Fn(&Path)) {
    node.start();
    node.sql(
        "CREATE DATABASE crash; CREATE TABLE crash.a (id BIGINT PRIMARY KEY, t TEXT); CREATE TABLE crash.b (id BIGINT PRIMARY KEY, t TEXT)",
    );
    let next = Arc::new(AtomicU64::new(1));
    let mut acknowledged = Vec::new();
    for round in 0..count {
        let moment = 20 + (round * 7919) % 180;
        acknowledged.extend(storm(node, &next, moment).await);
        after_kill(&node.dir);
        node.start();
        check(node, &acknowledged).await;
    }
    assert!(
        acknowledged.len() as u64 > count * 4,
        "too few writes to say anything: {}",
        acknowledged.len()
    );
    let (code, text) = support::starling(&["verify", "--against-log", "--http-addr", &node.http_addr()]);
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_sigkill() {
    let under = tempfile::tempdir().expect("a directory");
    let mut node = Node::new("killed", under.path());
    rounds(&mut node, if long() { 300 } else { 30 }, |_| {}).await;
}

/// Compiles the preload library.
fn shim(under: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/unsynced.c");
    let library = under.join("unsynced.so");
    let status = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status();
    assert!(status.expect("cc is installed").success());
    library
}

/// Puts back what every journal under `log` remembers, last write first.
fn lose_unsynced(log: &Path) -> usize {
    let mut undone = 0;
    for entry in std::fs::read_dir(log).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            undone += lose_unsynced(&path);
        } else if path.extension().is_some_and(|e| e == "undo") {
            undone += play_back(&path);
            std::fs::remove_file(&path).expect("removes");
        }
    }
    undone
}

fn play_back(journal: &Path) -> usize {
    use std::os::unix::fs::FileExt;
    let bytes = std::fs::read(journal).expect("reads");
    let mut records = Vec::new();
    let mut rest = bytes.as_slice();
    while rest.len() >= 24 {
        let word = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().expect("8 bytes"));
        let (offset, size, count) = (word(0), word(8), word(16) as usize);
        if rest.len() < 24 + count {
            break;
        }
        records.push((offset, size, &rest[24..24 + count]));
        rest = &rest[24 + count..];
    }
    let Ok(file) = std::fs::OpenOptions::new().write(true).open(journal.with_extension("")) else {
        return 0;
    };
    for (offset, size, old) in records.iter().rev() {
        file.write_all_at(old, *offset).expect("writes");
        file.set_len(*size).expect("truncates");
    }
    records.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_losing_what_was_not_synced() {
    let under = tempfile::tempdir().expect("a directory");
    let library = shim(under.path());
    let mut node = Node::new("unsynced", under.path());
    let watched = node.dir.join("log");
    node = node
        .env("LD_PRELOAD", &library.to_string_lossy())
        .env("UNSYNCED_UNDER", &watched.to_string_lossy());
    let lost = AtomicU64::new(0);
    rounds(&mut node, if long() { 100 } else { 10 }, |dir| {
        lost.fetch_add(lose_unsynced(&dir.join("log")) as u64, Ordering::Relaxed);
    })
    .await;
    assert!(
        lost.load(Ordering::Relaxed) > 0,
        "the shim saw no unsynced write: it watches the wrong files"
    );
}
