//! XA and FLUSH TABLES WITH READ LOCK on one node.

use std::sync::Arc;

use starling_apply::Engine;
use starling_log::{Body, Changes, Entry, Place, Stamp};

use super::transactions::{Client, shop};
use crate::txn::Shared;

async fn state(client: &mut Client, sql: &str) -> String {
    let error = client.try_run(sql).await.expect_err(sql);
    assert_eq!((error.code, &error.state), (1399, b"XAE07"), "{sql}: {error}");
    let text = error.message.split_once("is in the  ").expect("a state").1;
    text.trim_end_matches(" state").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_goes_through_its_states() {
    let (_w, mut a, _) = shop().await;
    assert_eq!(state(&mut a, "xa end 'x'").await, "NON-EXISTING");
    assert_eq!(state(&mut a, "xa prepare 'x'").await, "NON-EXISTING");
    assert_eq!(a.fails("xa commit 'x'").await, 1397);
    assert_eq!(a.fails("xa start 'x' join").await, 1398);
    a.run("xa start 'x', 'b', 3").await;
    for refused in [
        "begin",
        "commit",
        "rollback",
        "create table q (a int)",
        "lock tables t read",
        "flush tables with read lock",
        "xa start 'y'",
        "xa prepare 'x', 'b', 3",
        "xa commit 'x', 'b', 3",
        "xa rollback 'x', 'b', 3",
    ] {
        assert_eq!(state(&mut a, refused).await, "ACTIVE", "{refused}");
    }
    a.run("savepoint s").await;
    a.run("update t set v = 11 where id = 1").await;
    a.run("rollback to s").await;
    a.run("update t set v = 12 where id = 1").await;
    assert_eq!(a.fails("xa end 'x', 'b'").await, 1397, "another format");
    assert_eq!(a.fails("xa end 'x', 'b', 3 suspend for migrate").await, 1398);
    a.run("xa end 'x', 'b', 3").await;
    for refused in [
        "select * from t",
        "update t set v = 0",
        "savepoint s",
        "begin",
        "xa end 'x', 'b', 3",
        "xa commit 'x', 'b', 3",
    ] {
        assert_eq!(state(&mut a, refused).await, "IDLE", "{refused}");
    }
    assert_eq!(a.run("select 1").await, ["1"]);
    assert_eq!(a.fails("xa start 'y' resume").await, 1397);
    a.run("xa start 'x', 'b', 3 resume").await;
    assert_eq!(a.run("select v from t where id = 1").await, ["12"]);
    a.run("xa end 'x', 'b', 3").await;
    a.run("xa commit 'x', 'b', 3 one phase").await;
    assert_eq!(a.run("select v from t where id = 1").await, ["12"]);
    a.run("begin").await;
    assert_eq!(a.fails("xa start 'x'").await, 1400);
    a.run("commit").await;
    a.run("xa start 'r'; update t set v = 99; xa end 'r'; xa rollback 'r'").await;
    assert_eq!(a.run("select v from t where id = 1").await, ["12"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_branch_is_anybodys_and_keeps_its_locks() {
    let (w, mut a, mut b) = shop().await;
    a.run("xa start x'01ff'; update t set v = v + 1 where id = 1; insert into t values (4, 40, 400); xa end x'01ff'")
        .await;
    assert_eq!(b.fails("xa start x'01ff'").await, 1440, "at work");
    a.run("xa prepare x'01ff'").await;
    assert_eq!(
        a.run("select v from t where id = 1").await,
        ["10"],
        "its session is free, and sees what all see"
    );
    a.run("update t set v = 21 where id = 2").await;
    assert_eq!(b.fails("xa start x'01ff'").await, 1440, "prepared");
    assert_eq!(b.run("xa recover convert xid").await, ["1|2|0|0x01FF"]);
    a.run("set innodb_lock_wait_timeout = 1").await;
    assert_eq!(a.fails("update t set v = 5 where id = 1").await, 1205);
    assert_eq!(a.fails("insert into t values (5, 50, 400)").await, 1205, "the unique value too");
    a.run("set lock_wait_timeout = 1").await;
    assert_eq!(a.fails("alter table t add x int").await, 1205, "and the definition");
    a.run("create table other (id int primary key)").await;
    drop(a);
    assert_eq!(b.fails("xa commit x'01ff' one phase").await, 1398);
    b.run("begin").await;
    assert_eq!(b.fails("xa commit x'01ff'").await, 1399, "outside of transactions only");
    b.run("rollback").await;
    b.run("xa commit x'01ff'").await;
    assert_eq!(b.fails("xa commit x'01ff'").await, 1397);
    assert_eq!(b.run("select v from t order by id").await, ["11", "21", "30", "40"]);
    assert!(w.server.transactions.locks.no_data());
    assert_eq!(b.run("xa recover").await, [""; 0]);
    b.run("xa start 'gone'; delete from t; xa end 'gone'; xa prepare 'gone'; xa rollback 'gone'")
        .await;
    assert_eq!(b.run("select count(*) from t").await, ["4"]);
    assert!(w.server.transactions.locks.no_data());
    assert!(w.server.transactions.locks.view().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_is_remembered_after_a_start() {
    let (w, mut a, mut b) = shop().await;
    a.run("xa start 'x'; update t set v = 11 where id = 1; select * from t where id = 2 for update; xa end 'x'; xa prepare 'x'")
        .await;
    a.run("xa start 'empty'; xa end 'empty'; xa prepare 'empty'").await;
    // What a start makes of the same tables.
    let shared = Shared::new(Arc::clone(&w.server.engine));
    shared.recall().unwrap();
    let names: Vec<Vec<u8>> = shared.xa.list().into_iter().map(|r| r.xid.data()).collect();
    assert_eq!(names, [b"empty".to_vec(), b"x".to_vec()]);
    let keys = |locks: &crate::txn::locks::Locks| {
        let mut all: Vec<_> = locks.view().into_iter().flat_map(|p| p.locks).map(|(k, m, _)| (k, m)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup();
        all
    };
    assert_eq!(keys(&shared.locks), keys(&w.server.transactions.locks));
    b.run("xa commit 'empty'").await;
    b.run("xa rollback 'x'").await;
    shared.recall().unwrap();
    assert!(shared.xa.list().is_empty() && shared.locks.view().is_empty());
}

/// What the newest entry of this node changed.
fn newest(engine: &Engine) -> Changes {
    let origin = engine.origin().unwrap();
    let entries = engine.log().read(origin, engine.log().held().get(origin), 1).unwrap();
    match &entries[0].body {
        Body::Rows(changes) => changes.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_are_known_in_whatever_order_their_stamps_come() {
    let (w, mut a, _b) = shop().await;
    let engine = &w.server.engine;
    let mut made = Vec::new();
    for sql in [
        "xa start 'one'; update t set v = 11 where id = 1; xa end 'one'; xa prepare 'one'",
        "xa rollback 'one'",
        "xa start 'two'; update t set v = 21 where id = 2; xa end 'two'; xa prepare 'two'",
        "xa rollback 'two'",
    ] {
        a.run(sql).await;
        made.push(newest(engine));
    }
    let ticks = [(); 3].map(|()| engine.log().clock().tick());
    let shared = Shared::new(Arc::clone(engine));
    shared.recall().unwrap();
    // The same from two other nodes: the newest stamp comes first.
    for (changes, origin, seq, tick, known) in [(0, 8, 1, 2, &["one"][..]), (2, 7, 1, 0, &["one", "two"]), (3, 7, 2, 1, &["one"])] {
        let entry = Entry {
            place: Place { origin, seq },
            stamp: Stamp { hlc: ticks[tick], origin },
            causes: engine.applied().as_ref().clone(),
            schema: engine.catalog().version,
            body: Body::Rows(made[changes].clone()),
        };
        let (entries, _) = engine.log().settle(Vec::new(), vec![entry], true).unwrap();
        tokio::task::block_in_place(|| engine.apply(entries)).unwrap();
        shared.recall().unwrap();
        let names: Vec<Vec<u8>> = shared.xa.list().into_iter().map(|r| r.xid.data()).collect();
        assert_eq!(names, known.iter().map(|n| n.as_bytes().to_vec()).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_lost_its_locks_can_only_be_rolled_back() {
    let (_w, mut a, mut b) = shop().await;
    b.run("begin; update t set v = 1 where id = 3").await;
    a.run("xa start 'x'").await;
    a.run("update t set v = 1 where id = 2").await;
    // The older one wants what the younger one has.
    b.run("update t set v = 1 where id = 2").await;
    assert_eq!(a.fails("update t set v = 2 where id = 2").await, 1213);
    assert_eq!(a.fails("select * from t").await, 1614);
    assert_eq!(state(&mut a, "xa prepare 'x'").await, "ROLLBACK ONLY");
    assert_eq!(a.fails("xa end 'x'").await, 1614);
    a.run("xa rollback 'x'").await;
    b.run("commit").await;
    a.run("xa start 'x'; update t set v = 2 where id = 2; xa end 'x'; xa prepare 'x'; xa commit 'x'")
        .await;
    assert_eq!(a.run("select v from t where id > 1").await, ["2", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_global_read_lock_keeps_changes_out() {
    let (_w, mut a, mut b) = shop().await;
    b.run("begin; update t set v = 11 where id = 1").await;
    a.run("flush tables; flush tables with read lock").await;
    assert_eq!(a.fails("update t set v = 0").await, 1223);
    assert_eq!(a.fails("create table q (a int)").await, 1223);
    assert_eq!(a.fails("lock tables t write").await, 1223);
    a.run("start transaction with consistent snapshot").await;
    b.run("set lock_wait_timeout = 1").await;
    assert_eq!(b.run("select count(*) from t").await, ["3"]);
    assert_eq!(b.fails("update t set v = 0 where id = 2").await, 1205);
    assert_eq!(b.fails("create table q (a int)").await, 1205, "it commits first, or it would");
    assert_eq!(b.fails("commit").await, 1205);
    b.run("set lock_wait_timeout = 100").await;
    let id = b.session.connection_id();
    let waiting = tokio::spawn(async move {
        b.run("commit").await;
        b
    });
    assert_eq!(a.run("select v from t where id = 1").await, ["10"]);
    assert!(!waiting.is_finished(), "{id}");
    a.run("unlock tables").await;
    let mut b = waiting.await.unwrap();
    assert_eq!(b.run("select v from t where id = 1").await, ["11"]);
    assert_eq!(a.run("select v from t where id = 1").await, ["10"], "its snapshot stays");
    a.run("commit; flush tables t with read lock").await;
    assert_eq!(a.fails("update t set v = 0").await, 1099);
    assert_eq!(a.fails("flush tables with read lock").await, 1192);
    b.run("set lock_wait_timeout = 1; set innodb_lock_wait_timeout = 1").await;
    assert_eq!(b.fails("update t set v = 0").await, 1205);
    drop(a);
    b.run("update t set v = 0").await;
}
