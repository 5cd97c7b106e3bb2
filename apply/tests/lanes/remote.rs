//! Entries of other nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use starling_apply::schema::SchemaChange;

use starling_apply::overlay::Overlay;

use crate::kit::Node;
use crate::overlays::{commit, exec};

fn eventually(what: &str, f: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !f() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn two_nodes_end_up_equal() {
    let one = Node::new(1).with_t("a").with_t("b");
    let two = Node::new(3);
    two.pull(&one);
    for i in 0..30 {
        one.exec("a", &format!("INSERT INTO a.t VALUES({i}, 'one')"));
        if i % 2 == 0 {
            two.exec("a", &format!("REPLACE INTO a.t VALUES({}, 'two')", i / 2));
        }
        if i % 7 == 0 {
            one.pull(&two);
            two.pull(&one);
        }
        two.exec("b", &format!("INSERT INTO b.t VALUES({i}, 'two')"));
    }
    one.pull(&two);
    two.pull(&one);
    assert_eq!(one.engine.applied(), two.engine.applied());
    assert_eq!(one.dump(), two.dump());
    assert_eq!(one.engine.digests().unwrap(), two.engine.digests().unwrap());
    let dump = one.dump();
    let one = one.restart_after(|dir| {
        for file in ["a.db", "b.db", "starling.db"] {
            std::fs::remove_file(dir.join(file)).unwrap();
        }
    });
    assert_eq!(one.dump(), dump, "a rebuild from the log alone is the same");
}

#[test]
fn an_entry_waits_for_its_causes() {
    let one = Node::new(1).with_t("a");
    let two = Node::new(3);
    two.pull(&one);
    one.exec("a", "INSERT INTO a.t VALUES(1, 'cause')");
    two.pull(&one);
    two.exec("a", "UPDATE a.t SET v = 'effect'");
    // The third hears of the effect first.
    let three = Node::new(5);
    let effect = two.log.segments(3, 1, usize::MAX).unwrap();
    three.engine.apply(three.log.ingest(&effect).unwrap()).unwrap();
    let (held, why) = three.engine.held();
    assert_eq!(held, 1);
    assert!(why.unwrap().contains("cause"));
    // A restart must not forget it.
    let three = three.restart();
    assert_eq!(three.engine.held().0, 1);
    three.pull(&one);
    assert_eq!(three.engine.held(), (0, None));
    assert_eq!(three.query(&["a"], "SELECT * FROM a.t"), "1,effect");
    assert_eq!(three.dump(), two.dump());
}

#[test]
fn batches_over_several_databases_are_atomic_for_readers() {
    let one = Node::new(1).with_t("a").with_t("b");
    for db in ["a", "b"] {
        one.exec(db, &format!("INSERT INTO {db}.t VALUES(1,'0')"));
    }
    let two = Node::new(3);
    two.pull(&one);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let seen = two.query(&["a", "b"], "SELECT a.t.v, b.t.v FROM a.t, b.t");
                let (a, b) = seen.split_once(',').unwrap();
                assert_eq!(a, b, "half a transaction");
            }
        });
        for i in 1..=50 {
            let mut open = Overlay::new();
            for db in ["a", "b"] {
                exec(&one, &mut open, db, &format!("UPDATE {db}.t SET v = '{i}'")).unwrap();
            }
            commit(&one, open);
            two.pull(&one);
        }
        stop.store(true, Ordering::Release);
    });
    assert_eq!(one.dump(), two.dump());
}

#[test]
fn schema_and_control_entries_travel() {
    let one = Node::new(1).with_t("a").with_t("b");
    one.exec("a", "INSERT INTO a.t VALUES(1,'x')");
    one.engine.control::<()>("members", b"{}".to_vec()).unwrap();
    one.alter("b", SchemaChange::DropDatabase);
    let id = one.engine.catalog().table("a", "t").unwrap().id;
    one.alter("a", SchemaChange::TruncateTable { table: id });
    one.exec("a", "INSERT INTO a.t VALUES(2,'y')");
    let two = Node::new(3);
    let (_, feed) = two.engine.controls();
    two.pull(&one);
    assert_eq!(two.dump(), one.dump());
    assert_eq!(two.query(&["a"], "SELECT id FROM a.t"), "2");
    assert_eq!(feed.try_recv().unwrap().place.origin, 1);
    assert!(two.engine.catalog().database("b").is_none());
}

#[test]
fn remote_entries_wait_for_no_open_transaction() {
    let one = Node::new(1).with_t("a").with_t("b");
    let two = Arc::new(Node::new(3));
    two.pull(&one);
    one.exec("a", "INSERT INTO a.t VALUES(1,'x')");
    let mut open = Overlay::new();
    exec(&two, &mut open, "a", "INSERT INTO a.t VALUES(2,'y')").unwrap();
    two.pull(&one);
    two.exec("b", "INSERT INTO b.t VALUES(1,'meanwhile')");
    assert_eq!(two.query(&["a"], "SELECT id FROM a.t ORDER BY id"), "1");
    commit(&two, open);
    assert_eq!(two.query(&["a"], "SELECT id FROM a.t ORDER BY id"), "1;2");
    eventually("the vector", || two.engine.applied().get(1) == one.log.held().get(1));
}

#[test]
fn local_writes_after_remote_ones_name_them_as_causes() {
    let one = Node::new(1).with_t("a");
    let two = Node::new(3);
    two.pull(&one);
    let seen = one.log.held().get(1);
    two.exec("a", "INSERT INTO a.t VALUES(1,'x')");
    let entry = two.log.read(3, 1, usize::MAX).unwrap().remove(0);
    assert_eq!(entry.causes.get(1), seen);
}
