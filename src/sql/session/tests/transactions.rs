//! Transactions of several sessions on one node, statement by statement.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::*;

pub(super) struct Client {
    pub(super) session: Session,
}

impl Client {
    pub(super) fn of(world: &World) -> Client {
        let mut session = session(&world.server);
        session.use_database("shop").unwrap();
        Client { session }
    }
    pub(super) async fn try_run(&mut self, sql: &str) -> Result<Vec<String>> {
        let mut record = Record::default();
        self.session.query(sql.as_bytes(), true, &mut record).await?;
        Ok(record.lines)
    }
    pub(super) async fn run(&mut self, sql: &str) -> Vec<String> {
        self.try_run(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }
    pub(super) async fn fails(&mut self, sql: &str) -> u16 {
        match self.try_run(sql).await {
            Ok(lines) => panic!("{sql}: accepted, {lines:?}"),
            Err(error) => error.code,
        }
    }
    /// Runs it beside, once it is sure to wait for a lock.
    pub(super) async fn waits(mut self, sql: &'static str) -> JoinHandle<(Client, Result<Vec<String>>)> {
        let (id, locks) = (self.session.connection_id(), self.session.server.transactions.locks.clone());
        let task = tokio::spawn(async move {
            let result = self.try_run(sql).await;
            (self, result)
        });
        while locks.waits_for(id).is_none() {
            assert!(!task.is_finished(), "{sql} did not wait");
            tokio::task::yield_now().await;
        }
        task
    }
}

pub(super) async fn shop() -> (World, Client, Client) {
    let mut world = World::new().await;
    world.run("create table t (id int primary key, v int, u int unique)").await;
    world.run("insert into t values (1, 10, 100), (2, 20, 200), (3, 30, 300)").await;
    let (a, b) = (Client::of(&world), Client::of(&world));
    (world, a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_to_the_same_value_counts_on_its_row_too() {
    let (_w, mut a, mut b) = shop().await;
    for client in [&mut a, &mut b] {
        client.run("begin").await;
        assert_eq!(client.run("select v from t where id = 1").await, ["10"]);
    }
    a.run("update t set v = 11 where id = 1").await;
    let b = b.waits("update t set v = 11 where id = 1").await;
    a.run("commit").await;
    assert_eq!(b.await.unwrap().1.unwrap_err().code, 1213, "both would have counted from 10 to 11");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost() {
    let (mut w, mut a, mut b) = shop().await;
    a.run("begin").await;
    b.run("begin").await;
    assert_eq!(a.run("select v from t where id = 1").await, ["10"]);
    assert_eq!(b.run("select v from t where id = 1").await, ["10"]);
    a.run("update t set v = 11 where id = 1").await;
    a.run("commit").await;
    assert_eq!(
        b.fails("update t set v = 12 where id = 1").await,
        1213,
        "changed since its snapshot"
    );
    assert!(!b.session.transaction.is_open());
    b.run("set innodb_snapshot_isolation = 0").await;
    a.run("begin").await;
    b.run("begin").await;
    b.run("select * from t").await;
    a.run("update t set v = v + 1 where id = 1").await;
    a.run("commit").await;
    b.run("update t set v = v + 1 where id = 1").await;
    b.run("commit").await;
    assert_eq!(
        w.run("select v from t where id = 1").await,
        ["13"],
        "the older behaviour, on request"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_repeatable_and_never_dirty() {
    let (_w, mut a, mut b) = shop().await;
    a.run("begin").await;
    assert_eq!(a.run("select sum(v) from t").await, ["60"]);
    b.run("begin").await;
    b.run("update t set v = 0").await;
    b.run("insert into t values (4, 40, 400)").await;
    assert_eq!(a.run("select sum(v) from t").await, ["60"], "nothing dirty");
    b.run("commit").await;
    assert_eq!(a.run("select sum(v), count(*) from t").await, ["60|3"], "no phantom, nothing else");
    a.run("commit").await;
    assert_eq!(a.run("select sum(v), count(*) from t").await, ["40|4"]);
    a.run("set transaction isolation level read committed").await;
    a.run("begin").await;
    assert_eq!(a.run("select count(*) from t").await, ["4"]);
    b.run("delete from t where id = 4").await;
    assert_eq!(a.run("select count(*) from t").await, ["3"]);
    a.run("update t set v = 5 where id = 1").await;
    b.run("update t set v = 6 where id = 2").await;
    assert_eq!(
        a.run("select id, v from t order by id").await,
        ["1|5", "2|6", "3|0"],
        "its own and the newest"
    );
    a.run("rollback").await;
    a.run("set transaction isolation level read uncommitted").await;
    b.run("begin").await;
    b.run("update t set v = 77 where id = 3").await;
    a.run("begin").await;
    assert_eq!(a.run("select v from t where id = 3").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_snapshot_is_of_its_start() {
    let (_w, mut a, mut b) = shop().await;
    a.run("start transaction with consistent snapshot").await;
    b.run("update t set v = 99 where id = 1").await;
    assert_eq!(a.run("select v from t where id = 1").await, ["10"]);
    a.run("commit").await;
    a.run("begin").await;
    b.run("update t set v = 98 where id = 1").await;
    assert_eq!(a.run("select @@autocommit").await, ["1"], "no table");
    b.run("update t set v = 97 where id = 1").await;
    assert_eq!(a.run("select v from t where id = 1").await, ["97"], "of its first read");
    a.run("commit").await;
    a.run("start transaction read only").await;
    assert_eq!(a.fails("delete from t").await, 1792);
    a.run("commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_changes_are_read_everywhere() {
    let (mut w, mut a, mut b) = shop().await;
    w.run("create table s (id int primary key, t_id int, name varchar(10), key (t_id))")
        .await;
    w.run("insert into s values (1, 1, 'one'), (2, 2, 'two')").await;
    a.run("begin").await;
    a.run("insert into t values (9, 90, 900)").await;
    a.run("update t set v = 21 where id = 2").await;
    a.run("delete from t where id = 3").await;
    a.run("insert into s values (3, 9, 'Nine')").await;
    b.run("update t set v = 11 where id = 1").await;
    assert_eq!(a.run("select id, v from t order by id").await, ["1|11", "2|21", "9|90"]);
    b.run("update t set v = 12 where id = 1").await;
    assert_eq!(
        a.run("select sum(v), count(*), max(u) from t").await,
        ["122|3|900"],
        "on its snapshot"
    );
    let joined = "select s.name, x.v from s join t x on x.id = s.t_id where x.v > 15 order by x.v desc";
    assert_eq!(a.run(joined).await, ["Nine|90", "two|21"]);
    assert_eq!(
        a.run("select name from s where name = 'NINE'").await,
        ["Nine"],
        "the column's collation"
    );
    assert_eq!(
        a.run("select (select v from t where id = 9), exists (select 1 from t where id = 3)")
            .await,
        ["90|0"]
    );
    a.run("prepare p from 'select v from t where id = ?'").await;
    a.run("set @id = 9").await;
    assert_eq!(a.run("execute p using @id").await, ["90"]);
    assert_eq!(a.run("select v from t where id = 9").await, ["90"]);
    a.run("rollback").await;
    assert_eq!(a.run("execute p using @id").await, [""; 0]);
    assert_eq!(a.run("select v from t where id = 9").await, [""; 0]);
    assert_eq!(a.run(joined).await, ["two|20"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_row_wait_for_each_other() {
    let (mut w, mut a, b) = shop().await;
    a.run("begin").await;
    a.run("update t set v = v + 1 where id = 1").await;
    w.run("update t set v = v + 1 where id = 2").await;
    let waiting = b.waits("update t set v = v * 2 where id = 1").await;
    assert_eq!(w.run("select v from t where id = 1").await, ["10"]);
    a.run("commit").await;
    let (mut b, result) = waiting.await.unwrap();
    result.unwrap();
    assert_eq!(w.run("select v from t where id = 1").await, ["22"]);
    b.run("set innodb_lock_wait_timeout = 1").await;
    a.run("begin").await;
    a.run("update t set v = 0 where id = 1").await;
    b.run("begin").await;
    b.run("update t set v = 7 where id = 3").await;
    assert_eq!(b.fails("update t set v = 8 where id = 1").await, 1205);
    assert!(b.session.transaction.is_open(), "the statement alone is rolled back");
    assert_eq!(b.run("select v from t where id = 3").await, ["7"]);
    a.run("rollback").await;
    b.run("commit").await;
    assert_eq!(w.run("select v from t order by id").await, ["22", "21", "7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unique_values_and_parents_are_locked_too() {
    let (mut w, mut a, mut b) = shop().await;
    w.run("create table c (id int primary key, t_id int, foreign key (t_id) references t (id))")
        .await;
    a.run("begin").await;
    a.run("insert into t values (4, 0, 400)").await;
    let waiting = b.waits("insert into t values (5, 0, 400)").await;
    a.run("commit").await;
    let (b2, result) = waiting.await.unwrap();
    assert_eq!(result.unwrap_err().code, 1062);
    b = b2;
    a.run("begin").await;
    a.run("insert into c values (1, 2)").await;
    b.run("begin").await;
    b.run("insert into c values (2, 2)").await;
    b.run("rollback").await;
    let waiting = b.waits("delete from t where id = 2").await;
    a.run("rollback").await;
    let (mut b, result) = waiting.await.unwrap();
    result.unwrap();
    b.run("insert into c values (3, 3)").await;
    assert_eq!(b.fails("delete from t where id = 3").await, 1451);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_wait_for_each_other_one_is_told_so() {
    let (mut w, mut a, mut b) = shop().await;
    a.run("begin").await;
    a.run("update t set v = 1 where id = 1").await;
    b.run("begin").await;
    b.run("update t set v = 2 where id = 2").await;
    let waiting = b.waits("update t set v = 2 where id = 1").await;
    a.run("update t set v = 1 where id = 2").await;
    let (mut b, result) = waiting.await.unwrap();
    assert_eq!(result.unwrap_err().code, 1213);
    assert!(!b.session.transaction.is_open());
    a.run("commit").await;
    b.run("begin").await;
    b.run("update t set v = v + 1 where id in (1, 2)").await;
    b.run("commit").await;
    assert_eq!(w.run("select v from t order by id").await, ["2", "2", "30"]);
    // The idle younger one loses without being asked, and hears of it at its next statement.
    a.run("begin").await;
    a.run("select * from t for update").await;
    let older = a.session.transaction.party();
    a.run("rollback").await;
    a.run("begin").await;
    a.run("update t set v = 0 where id = 3").await;
    b.run("begin").await;
    b.run("update t set v = 5 where id = 1").await;
    a.run("update t set v = 6 where id = 1").await;
    assert!(older.is_some());
    assert_eq!(b.fails("commit").await, 1213);
    a.run("commit").await;
    assert_eq!(w.run("select v from t order by id").await, ["6", "2", "0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn locking_reads_lock_what_they_return() {
    let (mut w, mut a, mut b) = shop().await;
    a.run("begin").await;
    assert_eq!(a.run("select v from t where id = 1 for update").await, ["10"]);
    b.run("begin").await;
    assert_eq!(b.fails("select v from t where id = 1 for update nowait").await, 3572);
    assert_eq!(b.fails("select v from t where id = 1 lock in share mode nowait").await, 1064);
    assert_eq!(
        b.run("select id from t order by id limit 2 for update skip locked").await,
        ["2", "3"]
    );
    assert_eq!(b.run("select v from t where id = 1").await, ["10"], "a plain read does not care");
    b.run("rollback").await;
    b.run("begin").await;
    assert_eq!(
        b.run("select id from t order by id limit 1 offset 1 for share skip locked").await,
        ["3"]
    );
    b.run("rollback").await;
    let waiting = b.waits("select v from t where id = 1 for share").await;
    a.run("update t set v = 15 where id = 1").await;
    a.run("commit").await;
    let (mut b, result) = waiting.await.unwrap();
    assert_eq!(result.unwrap(), ["15"], "the newest");
    a.run("begin").await;
    b.run("begin").await;
    assert_eq!(a.run("select v from t where id = 1 for share").await, ["15"]);
    assert_eq!(b.run("select v from t where id = 1 for share").await, ["15"]);
    a.run("rollback").await;
    b.run("update t set v = 16 where id = 1").await;
    b.run("commit").await;
    w.run("create table s (id int primary key, t_id int)").await;
    w.run("insert into s values (1, 1), (2, 9)").await;
    a.run("begin").await;
    let join = "select s.id, t.v from s left join t on t.id = s.t_id order by s.id for update of t";
    assert_eq!(a.run(join).await, ["1|16", "2|NULL"]);
    b.run("update s set t_id = 2 where id = 1").await;
    assert_eq!(b.fails("select 1 from t where id = 1 for update nowait").await, 3572);
    assert_eq!(a.run("select count(*) from t for update").await, ["3"], "the whole table");
    assert_eq!(b.fails("select 1 from t where id = 3 for update nowait").await, 3572);
    assert_eq!(a.fails("select 1 from t for update of x").await, 3568);
    a.run("commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable_reads_keep_phantoms_away() {
    let (mut w, mut a, mut b) = shop().await;
    for c in [&mut a, &mut b] {
        c.run("set session transaction isolation level serializable").await;
        c.run("begin").await;
    }
    // Write skew: each reads what the other is about to change.
    assert_eq!(a.run("select sum(v) from t").await, ["60"]);
    assert_eq!(b.run("select sum(v) from t").await, ["60"]);
    let waiting = b.waits("update t set v = 0 where id = 1").await;
    a.run("update t set v = 0 where id = 2").await;
    let (mut b, result) = waiting.await.unwrap();
    assert_eq!(result.unwrap_err().code, 1213);
    a.run("commit").await;
    b.run("begin").await;
    assert_eq!(b.run("select v from t where id = 3").await, ["30"]);
    w.run("insert into t values (7, 0, 700)").await;
    assert_eq!(b.run("select count(*) from t where v > 5").await, ["2"]);
    w.run("set innodb_lock_wait_timeout = 1").await;
    assert_eq!(w.fails("insert into t values (8, 8, 800)").await, 1205);
    b.run("commit").await;
    assert_eq!(b.run("select count(*) from t").await, ["4"]);
    b.run("begin").await;
    b.run("update t set v = 31 where id = 3").await;
    w.run("update t set v = 32 where id = 7").await;
    assert_eq!(b.run("delete from t where v > 1000").await, ["ok 0 0"]);
    assert_eq!(w.fails("update t set v = 2000 where id = 7").await, 1205, "it looked for such");
    b.run("commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_go_back_and_keep_their_locks() {
    let (mut w, mut a, mut b) = shop().await;
    a.run("begin").await;
    a.run("update t set v = 1 where id = 1").await;
    a.run("savepoint one").await;
    a.run("update t set v = 2 where id = 2").await;
    a.run("savepoint two").await;
    a.run("delete from t").await;
    assert_eq!(a.run("select count(*) from t").await, ["0"]);
    a.run("rollback to TWO").await;
    assert_eq!(a.run("select id, v from t order by id").await, ["1|1", "2|2", "3|30"]);
    a.run("rollback to one").await;
    assert_eq!(a.fails("rollback to two").await, 1305);
    assert_eq!(
        b.fails("select 1 from t where id = 2 for update nowait").await,
        3572,
        "locks are kept"
    );
    assert_eq!(a.fails("insert into t values (1, 1, 1)").await, 1062);
    a.run("release savepoint one").await;
    assert_eq!(a.fails("rollback to one").await, 1305);
    a.run("commit").await;
    assert_eq!(w.run("select id, v from t order by id").await, ["1|1", "2|20", "3|30"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_changes_wait_for_open_transactions() {
    let (mut w, mut a, b) = shop().await;
    a.run("begin").await;
    a.run("select * from t").await;
    let altering = b.waits("alter table t add column extra int default 5").await;
    let c = Client::of(&w);
    let late = c.waits("select * from t where id = 2").await;
    w.run("set lock_wait_timeout = 1").await;
    assert_eq!(w.fails("truncate table t").await, 1205);
    a.run("update t set v = 0 where id = 1").await;
    a.run("commit").await;
    let (_b, result) = altering.await.unwrap();
    result.unwrap();
    let (_c, result) = late.await.unwrap();
    assert_eq!(result.unwrap(), ["2|20|200|5"], "planned anew");
    assert_eq!(w.run("select v, extra from t where id = 1").await, ["0|5"]);
    a.run("create table other (id int)").await;
    a.run("begin").await;
    a.run("select * from other").await;
    w.run("alter table t drop column extra").await;
    assert_eq!(a.fails("select * from t").await, 1412, "its snapshot is older");
    a.run("rollback").await;
    a.run("select * from t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_change_commits_what_is_open() {
    let (mut w, mut a, _b) = shop().await;
    a.run("begin").await;
    a.run("update t set v = 0 where id = 1").await;
    a.run("create table n (id int)").await;
    assert!(!a.session.transaction.is_open());
    assert_eq!(w.run("select v from t where id = 1").await, ["0"]);
    a.run("begin").await;
    a.run("update t set v = 1 where id = 1").await;
    a.run("begin").await;
    assert_eq!(w.run("select v from t where id = 1").await, ["1"]);
    a.run("set autocommit = 0").await;
    a.run("update t set v = 2 where id = 1").await;
    a.run("set autocommit = 1").await;
    assert_eq!(w.run("select v from t where id = 1").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_tables_wait_for_transactions_and_keep_them_out() {
    let (mut w, mut a, b) = shop().await;
    w.run("create table s (id int primary key)").await;
    a.run("begin").await;
    a.run("update t set v = 0 where id = 1").await;
    let locking = b.waits("lock tables t write").await;
    a.run("commit").await;
    let (mut b, result) = locking.await.unwrap();
    result.unwrap();
    assert_eq!(b.fails("select * from s").await, 1100);
    b.run("update t set v = 1 where id = 1").await;
    let reading = a.waits("select v from t where id = 1").await;
    w.run("insert into s values (1)").await;
    b.run("unlock tables").await;
    let (mut a, result) = reading.await.unwrap();
    assert_eq!(result.unwrap(), ["1"]);
    b.run("lock tables t read").await;
    assert_eq!(b.fails("delete from t").await, 1099);
    assert_eq!(a.run("select v from t where id = 1").await, ["1"]);
    let writing = a.waits("delete from t where id = 1").await;
    drop(b);
    writing.await.unwrap().1.unwrap();
    assert_eq!(w.run("select count(*) from t").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_over_two_databases_is_one() {
    let (mut w, mut a, mut b) = shop().await;
    w.run("create database bank").await;
    w.run("create table bank.m (id int primary key, v int)").await;
    w.run("insert into bank.m values (1, 5)").await;
    a.run("begin").await;
    a.run("update t set v = 9 where id = 1").await;
    a.run("update bank.m set v = 6 where id = 1").await;
    assert_eq!(a.run("select t.v, m.v from t join bank.m m on m.id = t.id").await, ["9|6"]);
    assert_eq!(b.run("select t.v, m.v from t join bank.m m on m.id = t.id").await, ["10|5"]);
    assert_eq!(b.fails("select * from bank.m for update nowait").await, 3572);
    a.run("commit").await;
    assert_eq!(b.run("select t.v, m.v from t join bank.m m on m.id = t.id").await, ["9|6"]);
    b.run("begin").await;
    b.run("insert into bank.m select id + 100, v from t").await;
    b.run("rollback").await;
    assert_eq!(w.run("select count(*) from bank.m").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_session_stops_waiting_and_a_gone_one_lets_go() {
    let (mut w, mut a, mut b) = shop().await;
    a.run("begin").await;
    a.run("update t set v = 0 where id = 1").await;
    b.run("begin").await;
    b.run("update t set v = 0 where id = 2").await;
    let id = b.session.connection_id();
    let waiting = b.waits("update t set v = 0 where id = 1").await;
    w.run(&format!("kill query {id}")).await;
    let (b, result) = waiting.await.unwrap();
    assert_eq!(result.unwrap_err().code, 1317);
    assert_eq!(
        w.fails("select 1 from t where id = 2 for update nowait").await,
        3572,
        "its transaction is open"
    );
    drop(b);
    w.run("update t set v = 3 where id = 2").await;
    drop(a);
    w.run("update t set v = 3 where id = 1").await;
    assert!(w.server.transactions.locks.no_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_count_without_losing_one() {
    let (mut w, _a, _b) = shop().await;
    let server = Arc::clone(&w.server);
    let one = |n: usize| {
        let mut client = Client {
            session: {
                let mut s = session(&server);
                s.use_database("shop").unwrap();
                s
            },
        };
        tokio::spawn(async move {
            let mut done = 0;
            while done < 25 {
                let (first, second) = if n.is_multiple_of(2) { (1, 2) } else { (2, 1) };
                let all = [
                    "begin".to_string(),
                    format!("update t set v = v + 1 where id = {first}"),
                    format!("select v from t where id = {second}"),
                    format!("update t set v = v - 1 where id = {second}"),
                    "commit".to_string(),
                ];
                let mut failed = None;
                for sql in &all {
                    if let Err(error) = client.try_run(sql).await {
                        failed = Some(error.code);
                        break;
                    }
                }
                match failed {
                    None => done += 1,
                    Some(1213) => assert!(!client.session.transaction.is_open()),
                    Some(code) => panic!("{code}"),
                }
            }
        })
    };
    let tasks: Vec<_> = (0..6).map(one).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(w.run("select id, v from t order by id").await, ["1|10", "2|20", "3|30"]);
    assert!(w.server.transactions.locks.no_data() && w.server.transactions.locks.view().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_locks_and_who_waits_is_shown() {
    let (mut w, mut a, b) = shop().await;
    a.run("begin").await;
    a.run("update t set v = 0 where id = 1").await;
    let id = b.session.connection_id();
    let waiting = b.waits("update t set v = 0 where id = 1").await;
    let locks = "select object_name, index_name, lock_type, lock_mode, lock_status, lock_data from performance_schema.data_locks \
                 where lock_type = 'RECORD' order by lock_status";
    assert_eq!(
        w.run(locks).await,
        [
            "t|PRIMARY|RECORD|X,REC_NOT_GAP|GRANTED|1",
            "t|PRIMARY|RECORD|X,REC_NOT_GAP|WAITING|1"
        ]
    );
    let trx =
        "select trx_state, trx_mysql_thread_id, trx_rows_locked, trx_rows_modified, trx_isolation_level from information_schema.innodb_trx";
    let own = a.session.connection_id();
    assert_eq!(w.run(trx).await, [format!("RUNNING|{own}|1|1|REPEATABLE READ")]);
    let waits = "select requesting_thread_id, blocking_thread_id from performance_schema.data_lock_waits";
    assert_eq!(w.run(waits).await, [format!("{id}|{own}")]);
    let state = format!("select state from information_schema.processlist where id = {id}");
    assert_eq!(w.run(&state).await, ["Waiting for row lock"]);
    let status = w.run("show engine innodb status").await.join("\n");
    assert!(
        status.contains("shop.t PRIMARY 1") && status.contains("LATEST DETECTED DEADLOCK"),
        "{status}"
    );
    let definitions = "select count(*) from performance_schema.metadata_locks where object_name = 't' and lock_status = 'GRANTED'";
    assert_eq!(w.run(definitions).await, ["2"]);
    a.run("commit").await;
    waiting.await.unwrap().1.unwrap();
    assert_eq!(w.run(trx).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_locks_its_table() {
    let (mut w, mut a, mut b) = shop().await;
    w.run("create table big (id int primary key, v int)").await;
    a.run("begin").await;
    for chunk in 0..13 {
        let rows: Vec<String> = (0..5000).map(|n| format!("({}, 1)", chunk * 5000 + n)).collect();
        a.run(&format!("insert into big values {}", rows.join(","))).await;
        if chunk == 0 {
            b.run("insert into big values (900000, 1)").await;
        }
    }
    assert_eq!(w.server.transactions.locks.view()[0].locks.len(), 3, "the table, and what it uses");
    b.run("set innodb_lock_wait_timeout = 1").await;
    assert_eq!(b.fails("insert into big values (900001, 1)").await, 1205);
    assert_eq!(a.run("select count(*), sum(v) from big").await, ["65001|65001"]);
    a.run("commit").await;
    assert_eq!(b.run("select count(*) from big").await, ["65001"]);
}
