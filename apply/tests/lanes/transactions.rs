//! Explicit transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use starling_apply::engine::WriteError;
use starling_apply::lane::Interactive;

use crate::kit::{Node, run, show, statement, wait};

fn begin(node: &Node, dbs: &[&str]) -> Interactive {
    let dbs: Vec<String> = dbs.iter().map(|d| (*d).to_owned()).collect();
    wait(node.engine.begin(&dbs, 1_000)).unwrap()
}

fn exec(open: &mut Interactive, sql: &str) -> Result<usize, WriteError<String>> {
    wait(open.run(statement(sql)))
}

#[test]
fn commit_is_one_entry_and_rollback_none() {
    let node = Node::new(1).with_t("a");
    let before = node.log.held().get(1);
    let mut open = begin(&node, &["a"]);
    exec(&mut open, "INSERT INTO a.t VALUES(1,'x')").unwrap();
    exec(&mut open, "INSERT INTO a.t VALUES(2,'y')").unwrap();
    assert_eq!(node.query(&["a"], "SELECT count(*) FROM a.t"), "0", "nobody sees it yet");
    let committed = wait(open.commit()).unwrap();
    assert_eq!(committed.placed.unwrap().place.seq, before + 1);
    let mut open = begin(&node, &["a"]);
    exec(&mut open, "DELETE FROM a.t").unwrap();
    wait(open.rollback());
    let mut open = begin(&node, &["a"]);
    exec(&mut open, "DELETE FROM a.t").unwrap();
    drop(open);
    node.exec("a", "INSERT INTO a.t VALUES(3,'z')");
    assert_eq!(node.query(&["a"], "SELECT id FROM a.t ORDER BY id"), "1;2;3");
    assert_eq!(node.log.held().get(1), before + 2);
}

#[test]
fn a_failing_statement_undoes_itself_alone() {
    let node = Node::new(1).with_t("a");
    let mut open = begin(&node, &["a"]);
    exec(&mut open, "INSERT INTO a.t VALUES(1,'x')").unwrap();
    let error = exec(&mut open, "INSERT INTO a.t VALUES(2,'x'),(1,'x')");
    assert!(matches!(error, Err(WriteError::Job(_))));
    exec(&mut open, "INSERT INTO a.t VALUES(3,'x')").unwrap();
    wait(open.commit()).unwrap();
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("a.db")).unwrap());
    assert_eq!(node.query(&["a"], "SELECT id FROM a.t ORDER BY id"), "1;3");
}

#[test]
fn savepoints_by_name() {
    let node = Node::new(1).with_t("a");
    let mut open = begin(&node, &["a"]);
    exec(&mut open, "INSERT INTO a.t VALUES(1,'x')").unwrap();
    wait(open.savepoint("One")).unwrap();
    exec(&mut open, "INSERT INTO a.t VALUES(2,'x')").unwrap();
    wait(open.savepoint("two")).unwrap();
    exec(&mut open, "INSERT INTO a.t VALUES(3,'x')").unwrap();
    assert!(wait(open.rollback_to("TWO")).unwrap());
    exec(&mut open, "INSERT INTO a.t VALUES(4,'x')").unwrap();
    assert!(wait(open.rollback_to("one")).unwrap());
    assert!(!wait(open.rollback_to("two")).unwrap(), "gone with what came before it");
    exec(&mut open, "INSERT INTO a.t VALUES(5,'x')").unwrap();
    assert!(wait(open.release("one")).unwrap());
    assert!(!wait(open.release("one")).unwrap());
    wait(open.commit()).unwrap();
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("a.db")).unwrap());
    assert_eq!(node.query(&["a"], "SELECT id FROM a.t ORDER BY id"), "1;5");
}

#[test]
fn who_waits_too_long_is_told_and_never_run() {
    let node = Node::new(1).with_t("a");
    let mut open = begin(&node, &["a"]);
    exec(&mut open, "INSERT INTO a.t VALUES(1,'x')").unwrap();
    let start = Instant::now();
    let late = wait(node.engine.write("a", 50, statement("INSERT INTO a.t VALUES(2,'x')")));
    assert!(matches!(late, Err(WriteError::Timeout)));
    assert!(start.elapsed() >= Duration::from_millis(50));
    let other = wait(node.engine.begin(&["a".to_owned()], 50));
    assert!(matches!(other, Err(WriteError::Timeout)));
    let altered = node.engine.alter::<()>(Some("a"), 50, Box::new(|_| Ok(None)));
    assert!(matches!(altered, Err(WriteError::Timeout)));
    wait(open.commit()).unwrap();
    assert_eq!(node.query(&["a"], "SELECT id FROM a.t"), "1");
}

#[test]
fn several_databases_become_visible_at_once() {
    let node = Arc::new(Node::new(1).with_t("a").with_t("b").with_t("c"));
    for db in ["a", "b", "c"] {
        node.exec(db, &format!("INSERT INTO {db}.t VALUES(1, '0')"));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    let sql = "SELECT a.t.v, b.t.v, c.t.v FROM a.t, b.t, c.t";
                    let seen = node.query(&["a", "b", "c"], sql);
                    let pinned = show(&node.engine.snapshot().unwrap(), sql);
                    for seen in [seen, pinned] {
                        let parts: Vec<&str> = seen.split(',').collect();
                        assert!(parts.iter().all(|p| *p == parts[0]), "half a transaction: {seen}");
                    }
                    // One after the other, too.
                    let first: u64 = node.query(&["a"], "SELECT v FROM a.t").parse().unwrap();
                    let second: u64 = node.query(&["c"], "SELECT v FROM c.t").parse().unwrap();
                    assert!(second >= first, "{first} then {second}");
                }
            });
        }
        for i in 1..=100 {
            let mut open = begin(&node, &["c", "a", "b"]);
            for db in ["b", "a", "c"] {
                exec(&mut open, &format!("UPDATE {db}.t SET v = '{i}'")).unwrap();
            }
            wait(open.commit()).unwrap();
        }
        stop.store(true, Ordering::Release);
    });
    let node = Arc::into_inner(node).unwrap();
    let dump = node.dump();
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("b.db")).unwrap());
    assert_eq!(node.dump(), dump);
}

#[test]
fn transactions_over_several_databases_do_not_lock_each_other_out() {
    let node = Arc::new(Node::new(1).with_t("a").with_t("b"));
    std::thread::scope(|scope| {
        for w in 0..4 {
            let node = Arc::clone(&node);
            scope.spawn(move || {
                let dbs = if w % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
                for i in 0..20 {
                    let mut open = wait(node.engine.begin(&dbs.map(str::to_owned), 20_000)).unwrap();
                    for db in dbs {
                        exec(&mut open, &format!("INSERT INTO {db}.t VALUES({}, 'x')", w * 100 + i)).unwrap();
                    }
                    wait(open.commit()).unwrap();
                }
            });
        }
    });
    assert_eq!(
        node.query(&["a", "b"], "SELECT (SELECT count(*) FROM a.t), (SELECT count(*) FROM b.t)"),
        "80,80"
    );
}

#[test]
fn a_lost_transaction_answers_every_act() {
    let node = Node::new(1).with_t("a");
    let mut open = begin(&node, &["a"]);
    exec(&mut open, "INSERT INTO a.t VALUES(1,'x')").unwrap();
    assert!(exec(&mut open, "INSERT OR ROLLBACK INTO a.t VALUES(1,'x')").is_err());
    assert!(matches!(
        exec(&mut open, "INSERT INTO a.t VALUES(2,'x')"),
        Err(WriteError::Sqlite(_))
    ));
    assert!(wait(open.commit()).is_err());
    assert_eq!(node.query(&["a"], "SELECT count(*) FROM a.t"), "0");
    node.exec("a", "INSERT INTO a.t VALUES(3,'x')");
}

#[test]
fn reading_other_databases_is_pinned() {
    let node = Node::new(1).with_t("a").with_t("b");
    node.exec("b", "INSERT INTO b.t VALUES(1,'x')");
    let copied = node.write(
        "a",
        Box::new(|t| {
            t.reads(&["b"]).map_err(|e| e.to_string())?;
            run(t, "INSERT INTO a.t SELECT * FROM b.t")
        }),
    );
    assert_eq!(copied.unwrap().0, 1);
    node.exec("b", "INSERT INTO b.t VALUES(2,'y')");
    node.write(
        "a",
        Box::new(|t| {
            t.reads(&["b"]).map_err(|e| e.to_string())?;
            run(t, "INSERT INTO a.t SELECT * FROM b.t WHERE id = 2")
        }),
    )
    .unwrap();
    assert_eq!(node.query(&["a"], "SELECT id FROM a.t ORDER BY id"), "1;2");
}
