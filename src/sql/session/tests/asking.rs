//! Positions, session tracking and named locks of one node.

use super::*;

impl World {
    fn other(&self) -> World {
        World {
            session: session(&self.server),
            server: self.server.clone(),
            _dir: tempfile::tempdir().unwrap(),
        }
    }
    /// What an OK tells of the session.
    async fn changes(&mut self, sql: &str) -> crate::sql::result::Changes {
        let mut last = Last::default();
        self.session
            .query(sql.as_bytes(), true, &mut last)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        last.0.map(|c| *c).unwrap_or_default()
    }
}

/// Keeps the last closing's changes.
#[derive(Default)]
struct Last(Option<Box<crate::sql::result::Changes>>);

impl Sink for Last {
    fn columns(&mut self, _: &[ResultColumn]) -> Result<()> {
        Ok(())
    }
    fn row(&mut self, _: &[ValueRef<'_>]) -> Result<()> {
        Ok(())
    }
    fn done(&mut self, done: &Done, _: Status, _: bool) -> Result<()> {
        self.0 = done.changes.clone();
        Ok(())
    }
    fn is_full(&self) -> bool {
        false
    }
    fn flush_blocking(&mut self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_executed_is_a_set_that_grows() {
    let mut w = World::new().await;
    let before = w.run("select @@gtid_executed").await.join("\n");
    w.run("create table t (id int primary key)").await;
    w.run("insert into t values (1)").await;
    let after = w.run("select @@global.gtid_executed").await.join("\n");
    assert_ne!(before, after);
    assert_eq!(
        w.run(&format!(
            "select gtid_subset('{before}', '{after}'), gtid_subset('{after}', '{before}')"
        ))
        .await,
        ["1|0"]
    );
    let gained = w.run(&format!("select gtid_subtract('{after}', '{before}')")).await.join("");
    let (set, last) = gained.rsplit_once('-').unwrap();
    assert_eq!(w.run(&format!("select wait_for_executed_gtid_set('{after}')")).await, ["0"]);
    let later = format!("{set}-9{last}");
    assert_eq!(w.run(&format!("select wait_for_executed_gtid_set('{later}', 0.05)")).await, ["1"]);
    assert_eq!(
        w.run("select @@gtid_mode, @@gtid_purged, gtid_subset(null, 'x')").await,
        ["ON||NULL"]
    );
    assert_eq!(w.fails("select wait_for_executed_gtid_set('nonsense', 1)").await, 1772);
    assert_eq!(
        w.fails("select gtid_subset('3e11fa47-71ca-11e1-9e33-c80aa9429562', '')").await,
        1772
    );
    assert_eq!(w.fails("set gtid_executed = ''").await, 1238);
    assert!(
        w.run("show variables like 'gtid_executed'")
            .await
            .join("")
            .contains(&after.replace("\\n", "\n"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_position_ends_when_it_is_applied_or_killed() {
    let mut w = World::new().await;
    w.run("create table t (id int primary key)").await;
    let now = w.run("select @@gtid_executed").await.join("\n");
    let (uuid, last) = now.rsplit_once('-').unwrap();
    let next = last.parse::<u64>().unwrap() + 1;
    let mut other = w.other();
    let sql = format!("select wait_for_executed_gtid_set('{uuid}-{next}', 60)");
    let waiting = tokio::spawn(async move { other.run(&sql).await });
    w.run("insert into t values (1)").await;
    assert_eq!(waiting.await.unwrap(), ["0"]);
    let mut other = w.other();
    let (id, sql) = (
        other.session.connection_id(),
        format!("select wait_for_executed_gtid_set('{uuid}:{}')", next + 5),
    );
    let waiting = tokio::spawn(async move { other.fails(&sql).await });
    while !waiting.is_finished() {
        // It may have ended just now.
        let _ = w.try_run(&format!("kill query {id}")).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(waiting.await.unwrap(), 1317);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_wait_for_the_position_they_are_given() {
    let mut w = World::new().await;
    w.run("create table t (id int primary key)").await;
    let now = w.run("select @@gtid_executed").await.join("\n");
    let (uuid, last) = now.rsplit_once('-').unwrap();
    let next = last.parse::<u64>().unwrap() + 1;
    let mut other = w.other();
    other.run("use shop").await;
    assert_eq!(other.fails("set starling_read_after = 'nonsense'").await, 1772);
    other
        .run(&format!(
            "set starling_read_after = '{uuid}-{next}', starling_read_wait_timeout = 1"
        ))
        .await;
    // OFF does not wait.
    assert_eq!(other.run("select count(*) from t").await, ["0"]);
    other.run("set starling_read_wait = 'session'").await;
    assert_eq!(other.run("select 1").await, ["1"]);
    assert_eq!(other.fails("select count(*) from t").await, 1205);
    w.run("insert into t values (1)").await;
    assert_eq!(other.run("select count(*) from t").await, ["1"]);
    for how in ["cluster", "stable"] {
        // Alone there is nobody to ask.
        other.run(&format!("set starling_read_wait = {how}")).await;
        assert_eq!(other.run("select count(*) from t").await, ["1"]);
    }
    assert_eq!(other.fails("set starling_read_wait = 'always'").await, 1231);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_track_are_told_what_changed() {
    let mut w = World::new().await;
    assert_eq!(w.changes("set autocommit = 1").await, Default::default());
    w.session.track.turn_on();
    let told = w.changes("use shop").await;
    assert_eq!((told.schema.as_deref(), told.state), (Some("shop"), false));
    let told = w
        .changes("set autocommit = 0, names latin1, @x = 1, sort_buffer_size = 40000")
        .await;
    let names: Vec<_> = told.variables.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(
        names.join(" "),
        "autocommit=OFF character_set_client=latin1 character_set_connection=latin1 character_set_results=latin1"
    );
    assert_eq!(w.changes("select 1").await, Default::default());
    w.changes("set autocommit = 1, session_track_state_change = 1, session_track_system_variables = '*'")
        .await;
    let told = w.changes("set sort_buffer_size = 50000").await;
    assert_eq!(
        (told.variables, told.state),
        (vec![("sort_buffer_size", "50000".to_string())], true)
    );
    w.run("create table t (id int primary key)").await;
    w.changes("set session_track_gtids = own_gtid").await;
    let own = w.changes("insert into t values (1)").await.gtids.unwrap();
    let executed = w.run("select @@gtid_executed").await.join("\n");
    assert!(
        executed.ends_with(&format!("-{}", own.rsplit_once(':').unwrap().1)),
        "{own} in {executed}"
    );
    assert_eq!(w.changes("begin").await.gtids, None);
    assert_eq!(w.changes("insert into t values (2)").await.gtids, None);
    assert!(w.changes("commit").await.gtids.is_some());
    assert!(w.changes("create table u (id int)").await.gtids.is_some());
    assert_eq!(w.changes("select * from t").await.gtids, None);
    w.changes("set session_track_gtids = all_gtids").await;
    let executed = w.run("select @@gtid_executed").await.join("\n");
    assert_eq!(w.changes("select * from t").await.gtids.as_deref(), Some(executed.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_of_their_transaction() {
    let mut w = World::new().await;
    w.run("create table t (id int primary key)").await;
    w.session.track.turn_on();
    w.changes("set session_track_transaction_info = 'CHARACTERISTICS'").await;
    let told = |c: crate::sql::result::Changes| {
        let state = c.transaction.map(|s| String::from_utf8_lossy(&s).into_owned());
        (state.unwrap_or_default(), c.opening)
    };
    let some = |text: &str| Some(text.to_string());
    assert_eq!(told(w.changes("select * from t").await), (String::new(), None));
    assert_eq!(
        told(w.changes("set transaction read only").await),
        (String::new(), some("SET TRANSACTION READ ONLY;"))
    );
    assert_eq!(
        told(w.changes("begin").await),
        ("T_______".into(), some("START TRANSACTION READ ONLY;"))
    );
    assert_eq!(told(w.changes("select * from t").await), ("T_R_____".into(), None));
    assert_eq!(told(w.changes("commit").await), ("________".into(), some("")));
    assert_eq!(
        told(w.changes("start transaction with consistent snapshot, read write").await),
        ("T_______".into(), some("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE;"))
    );
    assert_eq!(told(w.changes("insert into t values (1)").await), ("T___W___".into(), None));
    assert_eq!(told(w.changes("select * from t").await), ("T_R_W_S_".into(), None));
    assert_eq!(told(w.changes("rollback").await).0, "________");
    w.changes("set autocommit = 0").await;
    assert_eq!(
        told(w.changes("select * from t").await),
        ("I_R_____".into(), some("START TRANSACTION;"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn named_locks_are_held_by_one_session_at_a_time() {
    let (mut a, id) = {
        let w = World::new().await;
        let id = w.session.connection_id();
        (w, id)
    };
    let mut b = a.other();
    assert_eq!(
        a.run("select get_lock('Job', 0), get_lock('job', 10), get_lock('other', -1)").await,
        ["1|1|1"]
    );
    assert_eq!(b.run("select get_lock('JOB', 0), get_lock('job', 0.05)").await, ["0|0"]);
    let used = format!("0|{id}|1|NULL");
    assert_eq!(
        b.run("select is_free_lock('job'), is_used_lock('job'), is_free_lock('x'), is_used_lock('x')")
            .await,
        [used]
    );
    assert_eq!(b.run("select release_lock('job'), release_lock('x')").await, ["0|NULL"]);
    // As often as it was taken.
    assert_eq!(
        a.run("select release_lock('job'), is_free_lock('job'), release_lock('job'), is_free_lock('job')")
            .await,
        ["1|0|1|1"]
    );
    assert_eq!(
        b.run("select get_lock('job', 0), get_lock('job', 0), get_lock('mine', 0)").await,
        ["1|1|1"]
    );
    assert_eq!(b.run("select release_all_locks(), release_all_locks()").await, ["3|0"]);
    for sql in [
        "select get_lock('', 0)",
        "select get_lock(null, 0)",
        "select release_lock(repeat('x', 65))",
    ] {
        assert_eq!(a.fails(sql).await, 3057, "{sql}");
    }
    // DO and SET wait, too; a statement on a lane must not.
    b.run("do get_lock('job', 1)").await;
    assert_eq!(a.run("set @got = get_lock('job', 0.05); select @got").await.last().unwrap(), "0");
    a.run("create table t (id int)").await;
    assert_eq!(a.fails("insert into t values (get_lock('y', 0))").await, 1235);
    drop(b);
    assert_eq!(a.run("select get_lock('job', 5)").await, ["1"]);
    a.session.reset().await;
    assert_eq!(a.other().run("select get_lock('job', 0), get_lock('other', 0)").await, ["1|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_named_lock_ends_with_it_with_a_deadlock_or_killed() {
    let mut a = World::new().await;
    let mut b = a.other();
    let id = b.session.connection_id();
    a.run("select get_lock('one', 0)").await;
    b.run("select get_lock('two', 0)").await;
    let waiting = tokio::spawn(async move {
        let got = b.run("select get_lock('one', 60)").await;
        (b, got)
    });
    a.until_waiting(id).await;
    assert_eq!(a.fails("select get_lock('two', 60)").await, 3058);
    assert_eq!(a.run("select release_lock('one')").await, ["1"]);
    let (mut b, got) = waiting.await.unwrap();
    assert_eq!(got, ["1"]);
    a.run("select get_lock('three', 0)").await;
    let first = a.session.connection_id();
    let waiting = tokio::spawn(async move {
        let code = a.fails("select get_lock('two', 60)").await;
        (a, code)
    });
    while !waiting.is_finished() {
        b.run(&format!("kill query {first}")).await;
        tokio::task::yield_now().await;
    }
    let (mut a, code) = waiting.await.unwrap();
    assert_eq!(code, 1317);
    // Who gave up stands in nobody's way.
    b.run("select release_all_locks()").await;
    assert_eq!(
        a.run("select get_lock('two', 0), is_used_lock('two') = connection_id()").await,
        ["1|1"]
    );
}

impl World {
    /// Until that session waits for a named lock.
    async fn until_waiting(&self, id: u32) {
        while !self.server.named.is_waiting(id) {
            tokio::task::yield_now().await;
        }
    }
}
