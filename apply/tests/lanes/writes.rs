//! Autocommit jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use starling_apply::engine::WriteError;
use starling_log::store::sim::Faults;

use crate::kit::{Node, run, statement, wait};

#[test]
fn a_write_is_logged_visible_and_counted() {
    let node = Node::new(1).with_t("shop");
    let committed = node.exec("shop", "INSERT INTO shop.t VALUES(1,'a'),(2,'b')");
    let placed = committed.placed.unwrap();
    assert_eq!(placed.place.origin, 1);
    assert!(node.engine.applied().contains(placed.place));
    assert_eq!(node.query(&["shop"], "SELECT * FROM shop.t ORDER BY id"), "1,a;2,b");
    assert_eq!(node.log.held().get(1), placed.place.seq);
}

#[test]
fn what_changes_nothing_is_not_logged() {
    let node = Node::new(1).with_t("shop");
    node.exec("shop", "INSERT INTO shop.t VALUES(1,'a')");
    let before = node.log.held();
    assert_eq!(node.exec("shop", "UPDATE shop.t SET v = 'a'").placed, None);
    assert_eq!(node.exec("shop", "DELETE FROM shop.t WHERE id = 9").placed, None);
    assert_eq!(node.log.held(), before);
}

#[test]
fn a_failing_job_of_a_group_leaves_the_others_whole() {
    let node = Arc::new(Node::new(1).with_t("shop"));
    node.exec("shop", "INSERT INTO shop.t VALUES(0,'zero')");
    let syncs = node.store.syncs();
    // The first job holds the lane until all are queued: they become one group.
    let gate = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&gate);
    let first = node.engine.write::<usize, String>(
        "shop",
        5_000,
        Box::new(move |t| {
            while seen.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            run(t, "INSERT INTO shop.t VALUES(1,'one')")
        }),
    );
    let bad = node.engine.write(
        "shop",
        5_000,
        statement("INSERT INTO shop.t VALUES(2,'two'); INSERT INTO shop.t VALUES(0,'dup')"),
    );
    let last = node
        .engine
        .write("shop", 5_000, statement("INSERT INTO shop.t SELECT 3, count(*) FROM shop.t"));
    gate.store(1, Ordering::Release);
    wait(first).unwrap();
    assert!(matches!(wait(bad), Err(WriteError::Job(_))));
    wait(last).unwrap();
    assert_eq!(node.query(&["shop"], "SELECT * FROM shop.t ORDER BY id"), "0,zero;1,one;3,2");
    assert_eq!(node.store.syncs(), syncs + 1, "one group, one sync");
    let node = Arc::into_inner(node)
        .unwrap()
        .restart_after(|dir| std::fs::remove_file(dir.join("shop.db")).unwrap());
    assert_eq!(node.query(&["shop"], "SELECT * FROM shop.t ORDER BY id"), "0,zero;1,one;3,2");
}

#[test]
fn a_first_job_that_fails_does_not_harm_the_next() {
    let node = Node::new(1).with_t("shop");
    let error = node.write(
        "shop",
        statement("INSERT INTO shop.t VALUES(1,'a'); INSERT INTO shop.t VALUES(1,'b')"),
    );
    assert!(matches!(error, Err(WriteError::Job(_))));
    node.exec("shop", "INSERT INTO shop.t VALUES(2,'b')");
    assert_eq!(node.query(&["shop"], "SELECT * FROM shop.t"), "2,b");
}

#[test]
fn savepoints_inside_a_job_take_back_rows_and_capture_together() {
    let node = Node::new(1).with_t("shop");
    let result = node.write(
        "shop",
        Box::new(|t| {
            run(t, "INSERT INTO shop.t VALUES(1,'a')")?;
            let mark = t.mark();
            let failed: Result<(), String> = t.savepoint(|t| {
                run(t, "INSERT INTO shop.t VALUES(2,'b')")?;
                Err("no".into())
            });
            assert!(failed.is_err());
            assert_eq!(t.counts_since(mark).inserted, 0);
            run(t, "INSERT INTO shop.t VALUES(3,'c')")?;
            Ok(t.counts_since(mark).inserted)
        }),
    );
    assert_eq!(result.unwrap().0, 1);
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("shop.db")).unwrap());
    assert_eq!(node.query(&["shop"], "SELECT id FROM shop.t ORDER BY id"), "1;3");
}

#[test]
fn a_write_that_the_log_refuses_leaves_no_trace() {
    let node = Node::new(1).with_t("shop");
    node.store.set_faults(Faults {
        full: true,
        ..Faults::default()
    });
    let refused = node.write("shop", statement("INSERT INTO shop.t VALUES(1,'a')"));
    assert!(matches!(refused, Err(WriteError::Append(_))));
    assert_eq!(node.query(&["shop"], "SELECT count(*) FROM shop.t"), "0");
    node.store.set_faults(Faults::default());
    node.exec("shop", "INSERT INTO shop.t VALUES(2,'b')");
    assert_eq!(node.query(&["shop"], "SELECT id FROM shop.t"), "2");
}

#[test]
fn a_transaction_that_sqlite_rolls_back_takes_nobody_else_with_it() {
    let node = Node::new(1).with_t("shop");
    let gate = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&gate);
    let first = node.engine.write::<usize, String>(
        "shop",
        5_000,
        Box::new(move |t| {
            while seen.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            run(t, "INSERT INTO shop.t VALUES(1,'one')")
        }),
    );
    let hard = node.engine.write(
        "shop",
        5_000,
        statement("INSERT INTO shop.t VALUES(2,'two'); INSERT OR ROLLBACK INTO shop.t VALUES(2,'x')"),
    );
    let last = node.engine.write("shop", 5_000, statement("INSERT INTO shop.t VALUES(3,'three')"));
    gate.store(1, Ordering::Release);
    wait(first).unwrap();
    assert!(matches!(wait(hard), Err(WriteError::Job(_))));
    wait(last).unwrap();
    assert_eq!(node.query(&["shop"], "SELECT id FROM shop.t ORDER BY id"), "1;3");
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("shop.db")).unwrap());
    assert_eq!(node.query(&["shop"], "SELECT id FROM shop.t ORDER BY id"), "1;3");
}

#[test]
fn an_unknown_database_and_a_closed_engine_are_told() {
    let node = Node::new(1).with_t("shop");
    assert!(matches!(node.write("nowhere", statement("SELECT 1")), Err(WriteError::NoDatabase)));
    node.engine.close();
    assert!(matches!(node.write("shop", statement("SELECT 1")), Err(WriteError::Closed)));
}

#[test]
fn writes_to_a_database_that_is_not_held_are_refused() {
    let node = Node::new(1).with_t("a").with_t("b");
    let refused = node.write("a", statement("INSERT INTO b.t VALUES(1,'x')"));
    assert!(matches!(refused, Err(WriteError::Sqlite(_))), "{refused:?}");
    assert_eq!(node.query(&["b"], "SELECT count(*) FROM b.t"), "0");
}

#[test]
fn a_node_without_origin_does_not_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(starling_log::store::sim::SimStore::new());
    let mut options = crate::kit::options(dir.path(), 1);
    options.origin = None;
    let engine = starling_apply::Engine::open(options, crate::kit::open_log(store)).unwrap();
    let made = engine.control::<()>("x", b"{}".to_vec());
    assert!(matches!(made, Err(WriteError::Append(_))));
}

#[test]
fn many_writers_all_land() {
    let node = Arc::new(Node::new(1).with_t("shop"));
    std::thread::scope(|scope| {
        for w in 0..8 {
            let node = Arc::clone(&node);
            scope.spawn(move || {
                for i in 0..50 {
                    let id = w * 1000 + i;
                    node.exec("shop", &format!("INSERT INTO shop.t VALUES({id},'x')"));
                    assert_eq!(node.query(&["shop"], &format!("SELECT v FROM shop.t WHERE id={id}")), "x");
                }
            });
        }
    });
    assert_eq!(node.query(&["shop"], "SELECT count(*) FROM shop.t"), "400");
    let mut grown = node.engine.watch();
    let all = grown.wait_for(|_| *node.engine.applied() == node.log.held());
    wait(all).unwrap();
}

#[test]
fn a_job_that_panics_harms_nobody_else() {
    let node = Node::new(1).with_t("shop");
    let panicked = node.write::<()>(
        "shop",
        Box::new(|t| {
            run(t, "INSERT INTO shop.t VALUES(1,'x')")?;
            panic!("a bug")
        }),
    );
    assert!(panicked.is_err());
    node.exec("shop", "INSERT INTO shop.t VALUES(2,'y')");
    assert_eq!(node.query(&["shop"], "SELECT id FROM shop.t"), "2");
}

#[test]
fn a_statement_waits_for_whoever_holds_the_file_for_a_moment() {
    let node = Node::new(1).with_t("a");
    node.exec("a", "INSERT INTO \"a\".t VALUES (1, 'x')");
    // As a checkpoint does that cuts the WAL while somebody reads.
    let other = rusqlite::Connection::open(node.file("a")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        // It reads before it writes, as most do that look for a number or a row first.
        let sql = "SELECT * FROM \"a\".t; INSERT INTO \"a\".t VALUES (2, 'y')";
        let writer = scope.spawn(|| node.write("a", statement(sql)).map(|(n, _)| n));
        // Long enough for the statement to begin; what it meets then does not depend on it.
        let (_open, never) = std::sync::mpsc::channel::<()>();
        assert!(never.recv_timeout(Duration::from_millis(100)).is_err());
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(writer.join().unwrap().unwrap(), 1);
    });
}
