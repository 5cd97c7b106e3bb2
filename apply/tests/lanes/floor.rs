//! Short trials in their callers' threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use starling_apply::WriteError;
use starling_apply::engine::Size;
use starling_apply::lane::{Job, Try};
use starling_apply::overlay::Overlay;

use crate::kit::{Node, wait};

/// Runs the statement, and tells in which thread.
fn named(sql: &'static str) -> Job<String, String> {
    Box::new(move |t: &mut Try<'_>| {
        t.connection.execute(sql, []).map_err(|e| e.to_string())?;
        Ok(std::thread::current().name().unwrap_or_default().to_owned())
    })
}

fn short(node: &Node, overlay: &mut Overlay, sql: &'static str) -> Result<String, WriteError<String>> {
    wait(node.engine.trial_as(Size::Point, "a", 5_000, overlay, named(sql)))
}

#[test]
fn a_short_trial_runs_where_it_is_asked_for() {
    let node = Node::new(1).with_t("a");
    node.exec("a", "INSERT INTO a.t VALUES(1,'x')");
    let here = std::thread::current().name().unwrap_or_default().to_owned();
    let (mut one, mut other) = (Overlay::new(), Overlay::new());
    assert_eq!(short(&node, &mut one, "UPDATE a.t SET v = 'one' WHERE id = 1").unwrap(), here);
    assert_eq!(short(&node, &mut other, "INSERT INTO a.t VALUES(2,'other')").unwrap(), here);
    // On top of its own changes, and not of others'.
    assert!(short(&node, &mut one, "INSERT INTO a.t VALUES(2,'one')").is_ok());
    assert!(short(&node, &mut other, "INSERT INTO a.t VALUES(2,'again')").is_err());
    assert_eq!((one.rows(), other.rows()), (2, 1));
    let long = wait(node.engine.trial("a", 5_000, &mut one, named("DELETE FROM a.t WHERE id = 1"))).unwrap();
    assert_ne!(long, here, "what may take long does not");
    wait(node.engine.commit(one)).unwrap();
    assert_eq!(node.query(&["a"], "SELECT group_concat(id || v) FROM a.t"), "2one");
}

#[test]
fn what_a_caller_leaves_in_place_is_let_go() {
    let node = Node::new(1).with_t("a");
    node.exec("a", "INSERT INTO a.t VALUES(1,'x')");
    let mut open = Overlay::new();
    short(&node, &mut open, "UPDATE a.t SET v = 'y' WHERE id = 1").unwrap();
    let file = rusqlite::Connection::open(node.dir.path().join("db").join("a.db")).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    file.execute_batch("BEGIN IMMEDIATE; ROLLBACK;").unwrap();
    short(&node, &mut open, "UPDATE a.t SET v = v || 'z' WHERE id = 1").unwrap();
    wait(node.engine.commit(open)).unwrap();
    assert_eq!(node.query(&["a"], "SELECT v FROM a.t"), "yz");
}

#[test]
fn short_trials_wait_for_jobs_that_are_kept_and_commits_go_on_among_them() {
    let node = Arc::new(Node::new(1).with_t("a"));
    node.exec("a", "INSERT INTO a.t VALUES(0,'x')");
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (1..=4_i64)
        .map(|i| {
            let (node, over) = (Arc::clone(&node), Arc::clone(&over));
            std::thread::spawn(move || {
                let mut rounds = 0;
                while !over.load(Ordering::Acquire) {
                    let mut open = Overlay::new();
                    for _ in 0..3 {
                        let add: Job<usize, String> = Box::new(move |t: &mut Try<'_>| {
                            let sql = "INSERT INTO a.t VALUES(?1,'1') ON CONFLICT DO UPDATE SET v = v + 1";
                            t.connection.execute(sql, [i]).map_err(|e| e.to_string())
                        });
                        wait(node.engine.trial_as(Size::Point, "a", 60_000, &mut open, add)).unwrap();
                    }
                    wait(node.engine.commit(open)).unwrap();
                    rounds += 1;
                }
                (i, rounds)
            })
        })
        .collect();
    for _ in 0..200 {
        node.exec("a", "UPDATE a.t SET v = v || 'x' WHERE id = 0");
    }
    over.store(true, Ordering::Release);
    for thread in threads {
        let (i, rounds) = thread.join().unwrap();
        let found = node.query(&["a"], &format!("SELECT coalesce((SELECT v FROM a.t WHERE id = {i}), 0)"));
        assert_eq!(found, (3 * rounds).to_string(), "no update is lost");
    }
    assert_eq!(node.query(&["a"], "SELECT length(v) FROM a.t WHERE id = 0"), "201");
}
