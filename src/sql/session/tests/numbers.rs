//! AUTO_INCREMENT: counted by a node that is alone, and from blocks, with a decider that lets every draw through (or none).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use starling_apply::engine::Planned;
use starling_apply::lane::Numbering;
use starling_log::{Body, ChangeRef, Changes, Draft, Op, Place, Placed, Row, Stamp, TableRef};

use super::*;
use crate::txn::decide::{Decided, Decider, Deciding, Level, Proposal, Refused};
use crate::txn::locks::core::Age;

struct Draws {
    engine: Arc<Engine>,
    refusals: Mutex<VecDeque<Refused>>,
    draws: Mutex<usize>,
}

impl Decider for Draws {
    fn is_needed(&self, _: Level) -> bool {
        false
    }
    fn decide(&self, proposal: Proposal) -> Deciding<'_> {
        let refused = self.refusals.lock().pop_front();
        Box::pin(async move {
            if let Some(refused) = refused {
                return Err(refused);
            }
            *self.draws.lock() += 1;
            tokio::task::block_in_place(|| come(&self.engine, proposal.body));
            Ok(Decided {
                placed: Placed {
                    place: Place { origin: 2, seq: 1 },
                    stamp: Stamp::default(),
                },
            })
        })
    }
    fn alter(&self, _: Planned, _: Age, _: Duration) -> Deciding<'_> {
        Box::pin(async { Err(Refused::Other("not asked for".to_owned())) })
    }
}

/// An entry as if another node had written it.
fn come(engine: &Engine, changes: Changes) {
    let origin = engine.origin().unwrap();
    let draft = Draft {
        causes: engine.applied(),
        schema: engine.catalog().version,
        body: Body::Rows(changes),
    };
    let placed = engine.log().append(origin, vec![draft]).unwrap();
    let entries = engine.log().read(origin, placed[0].place.seq, 1).unwrap();
    engine.apply(entries).unwrap();
}

impl World {
    /// A row (number, 0) of table `t` that another node wrote.
    fn foreign(&self, number: i64) {
        let catalog = self.server.engine.catalog();
        let table = catalog.table("shop", "t").unwrap();
        let header = TableRef {
            db: table.db,
            table: table.id,
            columns: table.columns.iter().map(|c| c.id).collect(),
            key: vec![0],
        };
        let mut changes = Changes {
            tables: vec![header],
            ..Changes::default()
        };
        let (key, row) = (
            Row::from_values([ValueRef::Int(number)]),
            Row::from_values([ValueRef::Int(number), ValueRef::Int(0)]),
        );
        changes.push(ChangeRef {
            op: Op::Insert,
            table: 0,
            key: key.as_ref(),
            before: None,
            after: Some(row.as_ref()),
            changed: None,
        });
        tokio::task::block_in_place(|| come(&self.server.engine, changes));
    }
    /// From now on numbers come from blocks.
    fn granted(&self) -> Arc<Draws> {
        let draws = Arc::new(Draws {
            engine: self.server.engine.clone(),
            refusals: Mutex::default(),
            draws: Mutex::default(),
        });
        assert!(self.server.transactions.decider.set(draws.clone()).is_ok());
        self.server.engine.set_numbering(Numbering::Granted);
        draws
    }
    async fn ids(&mut self) -> Vec<i64> {
        let ids = self.run("select id from t order by id").await;
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }
    async fn message(&mut self, sql: &str) -> String {
        self.try_run(sql).await.unwrap_err().message.into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_width_ends_as_mysql_says() {
    let mut w = World::new().await;
    for (ty, max) in [
        ("tinyint", 127_u64),
        ("tinyint unsigned", 255),
        ("smallint", 32_767),
        ("smallint unsigned", 65_535),
        ("mediumint", (1 << 23) - 1),
        ("mediumint unsigned", (1 << 24) - 1),
        ("int", i32::MAX as u64),
        ("int unsigned", u64::from(u32::MAX)),
        ("bigint", i64::MAX as u64),
    ] {
        w.run(&format!("create table t (id {ty} auto_increment primary key, x int)")).await;
        w.run(&format!("insert into t values ({}, 1)", max - 2)).await;
        assert_eq!(
            w.fails("insert into t (x) values (1), (2), (3)").await,
            if ty == "bigint" { 1062 } else { 1264 },
            "{ty}"
        );
        w.run(&format!("alter table t auto_increment = {max}")).await;
        w.run("insert into t (x) values (2)").await;
        assert_eq!(w.fails("insert into t (x) values (3)").await, 1062, "{ty}");
        assert_eq!(
            w.message("insert into t (x) values (3)").await,
            format!("Duplicate entry '{max}' for key 't.PRIMARY'"),
            "{ty}"
        );
        w.run("drop table t").await;
    }
    w.run("create table t (id bigint unsigned auto_increment primary key, x int)").await;
    w.run("insert into t values (18446744073709551614, 1)").await;
    assert_eq!(w.fails("insert into t (x) values (3)").await, 1467);
}

#[tokio::test(flavor = "multi_thread")]
async fn explicit_numbers_and_updates_push_and_increments_are_honoured() {
    let mut w = World::new().await;
    w.run("create table t (id int auto_increment primary key, x int)").await;
    w.run("insert into t (x) values (1), (2)").await;
    w.run("update t set id = 5 where id = 2").await;
    w.run("insert into t (x) values (3)").await;
    assert_eq!(w.ids().await, [1, 5, 6]);
    w.run("insert into t values (10, 1), (null, 2), (7, 3), (null, 4)").await;
    assert_eq!(w.run("select last_insert_id()").await, ["11"]);
    assert_eq!(w.ids().await, [1, 5, 6, 7, 10, 11, 12]);
    w.run("insert into t values (-5, 0)").await;
    w.run("set auto_increment_increment = 10, auto_increment_offset = 3").await;
    assert_eq!(
        w.run("insert into t (x) values (1), (2), (3)").await[0].split(' ').nth(2),
        Some("13")
    );
    assert_eq!(w.run("select max(id) from t").await, ["33"]);
    w.run("set auto_increment_increment = 5, auto_increment_offset = 10").await;
    w.run("insert into t (x) values (1), (2)").await;
    assert_eq!(w.run("select max(id) from t").await, ["40"]);
    w.run("set auto_increment_increment = default, auto_increment_offset = default")
        .await;
    w.run("begin").await;
    w.run("insert into t (x) values (1)").await;
    w.run("rollback").await;
    w.run("insert into t (x) values (77)").await;
    assert_eq!(
        w.run("select id from t where x = 77").await,
        ["42"],
        "what was rolled back leaves a gap"
    );
    assert!(w.run("show create table t").await[0].contains("AUTO_INCREMENT=43 "));
    assert_eq!(
        w.run("select auto_increment from information_schema.tables where table_name = 't'")
            .await,
        ["43"]
    );
    w.run("truncate t").await;
    w.run("insert into t (x) values (1)").await;
    assert_eq!(w.ids().await, [1]);
    for _ in 0..2 {
        w.run("insert into t (x) values (1), (2), (3)").await;
        w.run("delete from t where id > 2").await;
        w.run("alter table t auto_increment = 1").await;
        w.run("insert into t (x) values (4)").await;
        assert_eq!(w.ids().await, [1, 2, 3], "behind the largest number there is");
        w.run("delete from t where id > 1").await;
        w.run("alter table t auto_increment = 1").await;
    }
    w.run("alter table t auto_increment = 9").await;
    w.run("insert into t (x) values (4)").await;
    assert_eq!(w.ids().await, [1, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_give_dense_numbers_in_a_row() {
    let mut w = World::new().await;
    w.run("create table t (id int auto_increment primary key, x int)").await;
    let draws = w.granted();
    w.server.transactions.draw_ahead(tokio::runtime::Handle::current());
    for i in 1..=30_i64 {
        assert_eq!(w.run("insert into t (x) values (1)").await, [format!("ok 1 {i}")]);
    }
    let rows = vec!["(1)"; 500].join(",");
    w.run(&format!("insert into t (x) values {rows}")).await;
    let first: i64 = w.run("select last_insert_id()").await[0].parse().unwrap();
    assert_eq!(w.run("select max(id) from t").await, [(first + 499).to_string()], "in a row");
    w.run("insert into t (x) select x from t").await;
    let ids = w.ids().await;
    assert_eq!(ids.len(), 1060);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1060);
    assert!(*draws.draws.lock() < 25, "{} draws", draws.draws.lock());
    let next: i64 = ids[1059] + 1;
    assert!(w.run("show create table t").await[0].contains(&format!("AUTO_INCREMENT={next} ")));
    // An explicit number that was pushed is not met again, nor what lies below.
    w.run("insert into t values (100000, 1)").await;
    w.run("insert into t (x) values (1)").await;
    assert_eq!(w.run("select max(id) from t").await, ["100001"]);
    w.run("truncate t").await;
    w.run("insert into t (x) values (1)").await;
    assert_eq!(w.ids().await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_numbers_are_skipped_and_their_rows_stay() {
    let mut w = World::new().await;
    w.run("create table t (id int auto_increment primary key, x int)").await;
    w.granted();
    w.run("insert into t (x) values (1)").await;
    w.foreign(2);
    w.run("insert into t (x) values (1), (1)").await;
    assert_eq!(w.ids().await, [1, 2, 3, 4]);
    for (at, sql) in [
        (5, "insert ignore into t (x) values (1)"),
        (7, "replace into t (x) values (1)"),
        (9, "insert into t (x) values (1) on duplicate key update x = 9"),
    ] {
        // The block's numbers are known by now: they are written behind its back.
        let next: i64 = w.run("select max(id) + 1 from t").await[0].parse().unwrap();
        assert_eq!(next, at);
        w.foreign(next);
        w.run(sql).await;
        assert_eq!(w.run(&format!("select x from t where id = {next}")).await, ["0"], "{sql}");
        assert_eq!(w.run("select max(id) from t").await, [(next + 1).to_string()], "{sql}");
    }
    assert_eq!(
        w.fails("insert into t values (1, 5)").await,
        1062,
        "explicit numbers are not skipped"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_what_is_left_is_given_out_and_then_1047() {
    let mut w = World::new().await;
    w.run("create table t (id int auto_increment primary key, x int)").await;
    let draws = w.granted();
    w.run("insert into t (x) values (1)").await;
    let none = || Refused::NoQuorum("1 of 3".into());
    draws.refusals.lock().extend([none(), none(), Refused::Conflict, Refused::Conflict]);
    for _ in 0..3 {
        w.run("insert into t (x) values (1)").await;
    }
    assert_eq!(w.fails("insert into t (x) values (1)").await, 1047);
    w.run("begin").await;
    w.run("insert into t values (50, 1)").await;
    assert_eq!(w.fails("insert into t (x) values (1)").await, 1047);
    // The transaction goes on; who comes second tries again.
    w.run("insert into t (x) values (1)").await;
    w.run("commit").await;
    assert_eq!(w.ids().await, [1, 2, 3, 4, 50, 51]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_type_says_so_among_several_nodes() {
    let mut w = World::new().await;
    w.run("create table t (id tinyint auto_increment primary key, x int)").await;
    w.granted();
    w.run("insert into t values (120, 1)").await;
    for _ in 121..=127 {
        w.run("insert into t (x) values (1)").await;
    }
    assert_eq!(w.fails("insert into t (x) values (1)").await, 1062);
    assert_eq!(w.fails("replace into t (x) values (1)").await, 1467);
    w.run("delete from t where id = 127").await;
    assert_eq!(w.fails("insert into t (x) values (1)").await, 1467, "another node may have it");
    w.run("truncate t").await;
    w.run("insert into t (x) values (1)").await;
    assert_eq!(w.ids().await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn compact_numbers_fit_into_53_bits_and_are_for_bigint() {
    let mut w = World::new().await;
    w.run("create table t (id bigint auto_increment primary key, x int)").await;
    w.run("create table narrow (id int auto_increment primary key, x int)").await;
    w.run("set starling_auto_increment_mode = 'compact'").await;
    assert_eq!(w.run("select @@starling_auto_increment_mode").await, ["COMPACT"]);
    for _ in 0..3 {
        w.run("insert into t (x) values (1), (2), (3)").await;
    }
    let rows = vec!["(1)"; 2000].join(",");
    w.run(&format!("insert into t (x) values {rows}")).await;
    let ids = w.run("select id from t order by id").await;
    assert_eq!(ids.len(), 2009);
    let first: i64 = ids[0].parse().unwrap();
    let last: i64 = ids[2008].parse().unwrap();
    assert!(first > 1 << 48 && last < 1 << 53);
    assert_eq!(w.fails("insert into narrow (x) values (1)").await, 1235);
    w.run("set starling_auto_increment_mode = default").await;
    w.run("insert into narrow (x) values (1)").await;
    w.run("insert into t (x) values (1)").await;
    assert_eq!(
        w.run("select max(id) from t").await,
        [(last + 1).to_string()],
        "as after any explicit number"
    );
}
