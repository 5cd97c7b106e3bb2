//! Open transactions as overlays: trials, retention, commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use starling_apply::engine::{Committed, WriteError};
use starling_apply::overlay::Overlay;
use starling_apply::schema::SchemaChange;

use crate::kit::{Node, column, int, run, show, statement, t, wait};

pub fn exec(node: &Node, overlay: &mut Overlay, db: &str, sql: &str) -> Result<usize, WriteError<String>> {
    wait(node.engine.trial(db, 5_000, overlay, statement(sql)))
}

/// What the transaction sees on the lane.
pub fn seen(node: &Node, overlay: &mut Overlay, db: &str, sql: &str) -> String {
    let sql = sql.to_owned();
    let job = Box::new(move |t: &mut starling_apply::lane::Try<'_>| Ok::<_, String>(show(t.connection, &sql)));
    wait(node.engine.trial(db, 5_000, overlay, job)).unwrap()
}

pub fn commit(node: &Node, overlay: Overlay) -> Committed {
    wait(node.engine.commit(overlay)).unwrap()
}

/// Whoever takes the lane makes what is in place go.
pub fn evict(node: &Node, db: &str) {
    wait(node.engine.pass(&[db.to_owned()], 5_000)).unwrap();
}

fn rebuilt(node: Node, db: &str, sql: &str) -> String {
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join(format!("{db}.db"))).unwrap());
    node.query(&[db], sql)
}

const ALL: &str = "SELECT * FROM a.t ORDER BY id";

#[test]
fn commit_is_one_entry_and_nothing_shows_before() {
    for evicted in [false, true] {
        let node = Node::new(1).with_t("a");
        let before = node.log.held().get(1);
        let mut open = Overlay::new();
        exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(1,'x')").unwrap();
        if evicted {
            evict(&node, "a");
        }
        exec(&node, &mut open, "a", "INSERT INTO a.t SELECT id + 1, 'y' FROM a.t").unwrap();
        if evicted {
            evict(&node, "a");
        }
        exec(
            &node,
            &mut open,
            "a",
            "UPDATE a.t SET v = 'z' WHERE id = 1; DELETE FROM a.t WHERE id = 2; INSERT INTO a.t VALUES(3,'w')",
        )
        .unwrap();
        assert_eq!(node.query(&["a"], "SELECT count(*) FROM a.t"), "0");
        assert_eq!(seen(&node, &mut open, "a", ALL), "1,z;3,w");
        assert_eq!(node.log.held().get(1), before);
        assert_eq!(open.rows(), 5);
        let committed = commit(&node, open);
        assert_eq!(committed.placed.unwrap().place.seq, before + 1);
        assert_eq!(node.query(&["a"], ALL), "1,z;3,w");
        assert_eq!(rebuilt(node, "a", ALL), "1,z;3,w");
    }
}

#[test]
fn nothing_changed_is_nothing_logged() {
    let node = Node::new(1).with_t("a");
    let before = node.log.held();
    let mut open = Overlay::new();
    exec(&node, &mut open, "a", "DELETE FROM a.t").unwrap();
    assert!(open.is_empty());
    assert_eq!(commit(&node, open).placed, None);
    let mut open = Overlay::new();
    exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(1,'x')").unwrap();
    drop(open);
    assert_eq!(node.log.held(), before);
    node.exec("a", "INSERT INTO a.t VALUES(1,'y')");
    assert_eq!(node.query(&["a"], ALL), "1,y");
}

#[test]
fn an_open_transaction_holds_no_lane() {
    let node = Node::new(1).with_t("a");
    let mut one = Overlay::new();
    let mut two = Overlay::new();
    exec(&node, &mut one, "a", "INSERT INTO a.t VALUES(1,'one')").unwrap();
    node.exec("a", "INSERT INTO a.t VALUES(5,'kept')");
    exec(&node, &mut two, "a", "INSERT INTO a.t VALUES(2,'two')").unwrap();
    exec(&node, &mut one, "a", "INSERT INTO a.t VALUES(3,'one')").unwrap();
    assert_eq!(seen(&node, &mut one, "a", ALL), "1,one;3,one;5,kept");
    assert_eq!(seen(&node, &mut two, "a", ALL), "2,two;5,kept");
    node.alter(
        "a",
        SchemaChange::CreateTable {
            table: Box::new({
                let mut other = t();
                other.name = "other".into();
                other
            }),
        },
    );
    commit(&node, two);
    assert_eq!(seen(&node, &mut one, "a", ALL), "1,one;2,two;3,one;5,kept");
    commit(&node, one);
    assert_eq!(rebuilt(node, "a", ALL), "1,one;2,two;3,one;5,kept");
}

#[test]
fn a_failing_statement_undoes_itself_alone() {
    for evicted in [false, true] {
        let node = Node::new(1).with_t("a");
        let mut open = Overlay::new();
        assert!(matches!(
            exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(7,'x'),(7,'x')"),
            Err(WriteError::Job(_))
        ));
        exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(1,'x')").unwrap();
        if evicted {
            evict(&node, "a");
        }
        let failed = exec(
            &node,
            &mut open,
            "a",
            "INSERT INTO a.t VALUES(2,'x'); INSERT INTO a.t VALUES(1,'x')",
        );
        assert!(matches!(failed, Err(WriteError::Job(_))));
        assert_eq!(open.rows(), 1);
        exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(3,'x')").unwrap();
        let lost = exec(&node, &mut open, "a", "INSERT OR ROLLBACK INTO a.t VALUES(3,'x')");
        assert!(lost.is_err());
        exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(4,'x')").unwrap();
        commit(&node, open);
        assert_eq!(rebuilt(node, "a", "SELECT id FROM a.t ORDER BY id"), "1;3;4");
    }
}

#[test]
fn back_to_a_mark() {
    for evicted in [false, true] {
        let node = Node::new(1).with_t("a").with_t("b");
        let mut open = Overlay::new();
        exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(1,'x')").unwrap();
        let mark = open.mark();
        exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(2,'x')").unwrap();
        exec(&node, &mut open, "b", "INSERT INTO b.t VALUES(2,'x')").unwrap();
        assert_eq!(open.tables().count(), 2);
        if evicted {
            evict(&node, "a");
        }
        open.truncate(mark);
        assert_eq!(open.tables().count(), 1);
        exec(&node, &mut open, "a", "INSERT INTO a.t SELECT 3, count(*) FROM a.t").unwrap();
        commit(&node, open);
        assert_eq!(node.query(&["a"], ALL), "1,x;3,1");
        assert_eq!(node.query(&["b"], "SELECT count(*) FROM b.t"), "0");
    }
}

#[test]
fn several_databases_become_visible_at_once() {
    let node = Arc::new(Node::new(1).with_t("a").with_t("b").with_t("c"));
    for db in ["a", "b", "c"] {
        node.exec(db, &format!("INSERT INTO {db}.t VALUES(1, '0')"));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let sql = "SELECT a.t.v, b.t.v, c.t.v FROM a.t, b.t, c.t";
                let seen = show(&node.engine.snapshot().unwrap(), sql);
                let parts: Vec<&str> = seen.split(',').collect();
                assert!(parts.iter().all(|p| *p == parts[0]), "half a transaction: {seen}");
            }
        });
        for i in 1..=50 {
            let mut open = Overlay::new();
            for db in ["b", "a", "c"] {
                exec(&node, &mut open, db, &format!("UPDATE {db}.t SET v = '{i}'")).unwrap();
            }
            assert_eq!(
                seen(&node, &mut open, "a", "SELECT a.t.v || b.t.v || c.t.v FROM a.t, b.t, c.t"),
                format!("{i}{i}{i}")
            );
            commit(&node, open);
        }
        stop.store(true, Ordering::Release);
    });
    let node = Arc::into_inner(node).unwrap();
    let dump = node.dump();
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("b.db")).unwrap());
    assert_eq!(node.dump(), dump);
}

#[test]
fn a_table_altered_under_the_overlay_ends_it() {
    let node = Node::new(1).with_t("a");
    let mut open = Overlay::new();
    exec(&node, &mut open, "a", "INSERT INTO a.t VALUES(1,'x')").unwrap();
    let mut table = starling_apply::Table::clone(node.engine.catalog().table("a", "t").unwrap());
    table.columns.push(column(9, "more", int()));
    node.alter("a", SchemaChange::AlterTable { table: Box::new(table) });
    let refused = exec(&node, &mut open, "a", "INSERT INTO a.t(id,v,more) VALUES(2,'x',1)");
    assert!(matches!(refused, Err(WriteError::Changed(name)) if name == "t"));
    assert!(matches!(wait(node.engine.commit(open)), Err(WriteError::Changed(_))));
    node.exec("a", "INSERT INTO a.t(id,v,more) VALUES(3,'x',1)");
    assert_eq!(node.query(&["a"], ALL), "3,x,1");
}

#[test]
fn try_out_leaves_nothing() {
    let node = Node::new(1).with_t("a");
    let tried = wait(node.engine.try_out(
        starling_apply::engine::Size::Any,
        "a",
        1_000,
        statement("INSERT INTO a.t VALUES(1,'x')"),
    ));
    let (rows, changes) = tried.unwrap();
    assert_eq!((rows, changes.count, changes.tables.len()), (1, 1, 1));
    let failed = wait(node.engine.try_out(
        starling_apply::engine::Size::Any,
        "a",
        1_000,
        statement("INSERT INTO a.t VALUES(1,'x'),(1,'y')"),
    ));
    assert!(matches!(failed, Err(WriteError::Job(_))));
    assert_eq!(node.query(&["a"], ALL), "");
}

#[test]
fn commits_and_jobs_share_a_sync() {
    let node = Arc::new(Node::new(1).with_t("a"));
    let mut open: Vec<Overlay> = (0..8).map(|_| Overlay::new()).collect();
    for (i, overlay) in open.iter_mut().enumerate() {
        exec(&node, overlay, "a", &format!("INSERT INTO a.t VALUES({i},'x')")).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (syncs, held) = (node.store.syncs(), node.log.held().get(1));
    let gate = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&gate);
    let first = node.engine.write::<usize, String>(
        "a",
        5_000,
        Box::new(move |t| {
            while !seen.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            run(t, "INSERT INTO a.t VALUES(100,'first')")
        }),
    );
    let mut trial = Overlay::new();
    runtime.block_on(async {
        let commits = open.into_iter().map(|o| node.engine.commit(o));
        let all = futures(commits.collect(), &gate);
        let (_, tried) = tokio::join!(
            all,
            node.engine
                .trial("a", 5_000, &mut trial, statement("INSERT INTO a.t VALUES(200,'trial')"))
        );
        tried.unwrap();
        first.await.unwrap();
    });
    assert_eq!(node.store.syncs(), syncs + 1, "one group, one sync");
    assert_eq!(node.log.held().get(1), held + 9);
    assert_eq!(node.query(&["a"], "SELECT count(*) FROM a.t"), "9");
    assert_eq!(trial.rows(), 1);
}

/// Polls all once (they are queued then), opens the gate, and waits for them.
async fn futures<F: Future<Output = Result<Committed, WriteError<()>>>>(commits: Vec<F>, gate: &AtomicBool) {
    let mut commits: Vec<_> = commits.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        for commit in &mut commits {
            assert!(commit.as_mut().poll(cx).is_pending());
        }
        std::task::Poll::Ready(())
    })
    .await;
    tokio::task::yield_now().await;
    gate.store(true, Ordering::Release);
    for commit in commits {
        commit.await.unwrap();
    }
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

#[test]
fn who_waits_too_long_is_told_and_never_run() {
    let node = Node::new(1).with_t("a").with_t("b");
    let mut both = Overlay::new();
    exec(&node, &mut both, "b", "INSERT INTO b.t VALUES(1,'x')").unwrap();
    let gate = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&gate);
    // A statement over two databases: it stands on the lane of the one, and the other's stands still.
    let job = Box::new(move |t: &mut starling_apply::lane::Try<'_>| {
        while !seen.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        run(t, "INSERT INTO a.t VALUES(1,'x')")
    });
    std::thread::scope(|scope| {
        let both = scope.spawn(|| {
            let done = wait(node.engine.trial("a", 5_000, &mut both, job));
            done.map(|_| wait(node.engine.commit(both)).unwrap()).unwrap()
        });
        // It may come before the lane is taken.
        let mut id = 10;
        let late = loop {
            let wrote = wait(node.engine.write("b", 50, statement(&format!("INSERT INTO b.t VALUES({id},'x')"))));
            match wrote {
                Ok(_) => id += 1,
                Err(late) => break late,
            }
        };
        assert!(matches!(late, WriteError::Timeout));
        let altered = node.engine.alter::<()>(Some("b"), 50, Box::new(|_, _| Ok(None)));
        assert!(matches!(altered, Err(WriteError::Timeout)));
        gate.store(true, Ordering::Release);
        both.join().unwrap();
        assert_eq!(node.query(&["b"], &format!("SELECT count(*) FROM b.t WHERE id = {id}")), "0");
    });
    assert_eq!(node.query(&["a", "b"], "SELECT a.t.id FROM a.t, b.t WHERE b.t.id = 1"), "1");
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
                    let mut open = Overlay::new();
                    for db in dbs {
                        exec(&node, &mut open, db, &format!("INSERT INTO {db}.t VALUES({}, 'x')", w * 100 + i)).unwrap();
                    }
                    commit(&node, open);
                }
            });
        }
    });
    assert_eq!(
        node.query(&["a", "b"], "SELECT (SELECT count(*) FROM a.t), (SELECT count(*) FROM b.t)"),
        "80,80"
    );
}
