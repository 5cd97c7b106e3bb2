mod numbers;
mod queries;

use std::sync::Arc;

use starling_apply::{ColumnType, Engine, EngineOptions};
use starling_log::{Log, LogOptions, ValueRef};

use super::provider::Hooks;
use super::*;
use crate::cluster::Cluster;
use crate::sql::result::Done;
use crate::sql::vars::Facts;

/// Rows as text, cells joined by `|`; a closing OK as `ok affected last_id info`.
#[derive(Default)]
struct Record {
    lines: Vec<String>,
    types: Vec<ColumnType>,
    rows: bool,
}

impl Sink for Record {
    fn columns(&mut self, columns: &[ResultColumn]) -> Result<()> {
        self.rows = true;
        self.types = columns.iter().map(|c| c.ty.clone()).collect();
        Ok(())
    }
    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        let cells: Vec<String> = values
            .iter()
            .zip(&self.types)
            .map(|(v, ty)| match v {
                ValueRef::Null => "NULL".to_string(),
                v => {
                    let mut out = Vec::new();
                    starling_apply::types::text::write(&mut out, ty, *v);
                    String::from_utf8_lossy(&out).into_owned()
                }
            })
            .collect();
        self.lines.push(cells.join("|"));
        Ok(())
    }
    fn done(&mut self, done: &Done, _: Status, _: bool) -> Result<()> {
        if !std::mem::take(&mut self.rows) {
            self.lines.push(
                format!("ok {} {} {}", done.affected, done.last_insert_id, done.info)
                    .trim_end()
                    .to_string(),
            );
        }
        Ok(())
    }
    fn is_full(&self) -> bool {
        false
    }
    fn flush_blocking(&mut self) -> Result<()> {
        Ok(())
    }
}

struct World {
    session: Session,
    server: Arc<Server>,
    _dir: tempfile::TempDir,
}

fn session(server: &Arc<Server>) -> Session {
    let identity = Identity {
        user: "root".into(),
        host: "localhost".into(),
        account: "root@localhost".into(),
        attributes: Vec::new(),
    };
    Session::new(server.clone(), server.next_connection_id(), identity, false, 255)
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        let server = tokio::task::spawn_blocking(move || {
            let log = Log::open(LogOptions::new(path.join("log")), Arc::new(starling_log::SystemTime)).unwrap();
            let hooks = Hooks::new();
            let options = EngineOptions {
                dir: path.join("db"),
                origin: None,
                on_connect: hooks.on_connect(),
                full_row_image: true,
                on_progress: None,
            };
            let engine = Engine::open(options, log).unwrap();
            let cluster = Cluster::alone(&engine).unwrap();
            let server = Server::new(engine, cluster, &Facts::default());
            hooks.attach(&server);
            server
        })
        .await
        .unwrap();
        let mut world = World {
            session: session(&server),
            server,
            _dir: dir,
        };
        world.run("CREATE DATABASE shop").await;
        world.run("USE shop").await;
        world
    }
    async fn run(&mut self, sql: &str) -> Vec<String> {
        self.try_run(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }
    async fn try_run(&mut self, sql: &str) -> Result<Vec<String>> {
        let mut record = Record::default();
        self.session.query(sql.as_bytes(), true, &mut record).await?;
        Ok(record.lines)
    }
    async fn fails(&mut self, sql: &str) -> u16 {
        match self.try_run(sql).await {
            Ok(lines) => panic!("{sql}: accepted, {lines:?}"),
            Err(error) => error.code,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_as_they_were_written() {
    let mut w = World::new().await;
    w.run("create table t (id int auto_increment primary key, a varchar(20), b decimal(8,2) default 1.5, c datetime default '2020-01-01')")
        .await;
    assert_eq!(
        w.run("insert into t (a) values ('x'), ('y'), ('z')").await,
        ["ok 3 1 Records: 3  Duplicates: 0  Warnings: 0"]
    );
    assert_eq!(
        w.run("update t set a = 'q', b = b + 1 where id > 1").await,
        ["ok 2 0 Rows matched: 2  Changed: 2  Warnings: 0"]
    );
    assert_eq!(w.run("delete from t where id = 2").await, ["ok 1 0"]);
    assert_eq!(
        w.run("select * from t order by id").await,
        ["1|x|1.50|2020-01-01 00:00:00", "3|q|2.50|2020-01-01 00:00:00"]
    );
    assert_eq!(w.run("show tables").await, ["t"]);
    assert_eq!(w.run("select last_insert_id(), found_rows()").await, ["1|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_changes_reach_the_tables() {
    let mut w = World::new().await;
    w.run("create table t (id int primary key, a int)").await;
    w.run("insert into t values (1, 5), (2, null)").await;
    assert_eq!(w.fails("alter table t modify a int not null").await, 1138);
    w.run("update t set a = 5 where id = 2").await;
    assert_eq!(w.fails("alter table t add unique (a)").await, 1062);
    w.run("alter table t add column name varchar(10) not null default 'n' after id, modify a bigint not null, add key (a)")
        .await;
    assert_eq!(w.run("select * from t order by id").await, ["1|n|5", "2|n|5"]);
    assert_eq!(w.fails("alter table t modify name varchar(0)").await, 1406);
    w.run("alter table t change name label varchar(30), drop key a, add unique u (label, id)")
        .await;
    assert_eq!(w.run("select label from t").await, ["n", "n"]);
    w.run("rename table t to s").await;
    w.run("truncate table s").await;
    assert_eq!(w.run("select count(*) from s").await, ["0"]);
    w.run("create table c as select id, label as l from s").await;
    w.run("create table d like s").await;
    assert_eq!(w.run("show tables").await, ["c", "d", "s"]);
    w.run("drop table c, d").await;
    w.run("drop database shop").await;
    assert_eq!(w.fails("select * from s").await, 1046);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_checks_and_generated_columns_hold() {
    let mut w = World::new().await;
    w.run("create table p (id int primary key)").await;
    w.run("create table c (id int primary key, pid int, n int check (n > 0), g int as (n * 2) stored, foreign key (pid) references p (id) on delete cascade)")
        .await;
    w.run("insert into p values (1), (2)").await;
    w.run("insert into c (id, pid, n) values (1, 1, 4)").await;
    assert_eq!(w.run("select g from c").await, ["8"]);
    assert_eq!(w.fails("insert into c (id, pid, n) values (2, 9, 4)").await, 1452);
    assert_eq!(w.fails("insert into c (id, pid, n) values (2, 1, 0)").await, 3819);
    w.run("set foreign_key_checks = 0").await;
    w.run("insert into c (id, pid, n) values (2, 9, 4)").await;
    w.run("set foreign_key_checks = 1").await;
    w.run("delete from p where id = 1").await;
    assert_eq!(w.run("select id from c").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_tells_about_itself() {
    let mut w = World::new().await;
    w.run("create table Users (id int auto_increment primary key, name varchar(20), key k (name))")
        .await;
    w.run("insert into users (name) values ('a'), ('b')").await;
    assert_eq!(
        w.run("show create table users").await,
        [
            "Users|CREATE TABLE `Users` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `name` varchar(20) DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  KEY `k` (`name`)\n) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
        ]
    );
    assert_eq!(w.run("describe users").await[0], "id|int|NO|PRI|NULL|auto_increment");
    assert_eq!(w.run("show tables like 'u%'").await, ["Users"]);
    assert_eq!(
        w.run("select table_name, engine from information_schema.tables where table_schema = database()")
            .await,
        ["Users|InnoDB"]
    );
    assert_eq!(w.run("show variables like 'version_comment'").await, ["version_comment|Starling"]);
    w.run("set @x = 5, session sql_mode = '', @@session.wait_timeout = 10").await;
    assert_eq!(w.run("select @x + 1, @@wait_timeout, @@sql_mode").await, ["6|10|"]);
    assert_eq!(
        w.run("show variables where Variable_name = 'wait_timeout'").await,
        ["wait_timeout|10"]
    );
    w.run("drop table if exists nope").await;
    assert_eq!(w.run("show warnings").await, ["Note|1051|Unknown table 'shop.nope'"]);
    assert_eq!(w.run("show warnings").await.len(), 1);
    assert_eq!(w.run("show processlist").await.len(), 1);
    assert_eq!(w.run("analyze table users").await, ["shop.users|analyze|status|OK"]);
    assert!(w.run("show grants").await[0].starts_with("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost`"));
    assert_eq!(w.fails("set global version = 1").await, 1238);
    assert!(w.run("show status like 'Threads_connected'").await[0].ends_with("|1"));
    let _ = &w.server;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_show_their_own_changes_first() {
    let mut w = World::new().await;
    let mut other = session(&w.server);
    other.use_database("shop").unwrap();
    w.run("create table t (id int primary key, a int)").await;
    w.run("begin").await;
    w.run("insert into t values (1, 1)").await;
    assert_eq!(w.run("select * from t").await, ["1|1"]);
    let mut record = Record::default();
    other.query(b"select count(*) from t", false, &mut record).await.unwrap();
    assert_eq!(record.lines, ["0"]);
    assert_eq!(w.fails("insert into t values (1, 2)").await, 1062);
    assert_eq!(w.run("show tables").await, ["t"]);
    w.run("savepoint s").await;
    w.run("update t set a = 9").await;
    w.run("rollback to s").await;
    w.run("commit").await;
    assert_eq!(w.run("select * from t").await, ["1|1"]);
    w.run("set autocommit = 0").await;
    w.run("delete from t").await;
    w.run("rollback").await;
    w.run("set autocommit = 1").await;
    assert_eq!(w.run("select count(*) from t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_tables_are_left_alone_by_others() {
    let mut w = World::new().await;
    let mut other = session(&w.server);
    other.use_database("shop").unwrap();
    w.run("create table t (id int primary key)").await;
    w.run("create table u (id int primary key)").await;
    w.run("lock tables t write").await;
    w.run("insert into t values (1)").await;
    assert_eq!(w.fails("insert into u values (1)").await, 1100);
    let waiting = tokio::spawn(async move {
        let mut record = Record::default();
        other.query(b"insert into t values (2)", false, &mut record).await.unwrap();
        other.query(b"lock tables t read", false, &mut record).await.unwrap();
        assert_eq!(other.query(b"delete from t", false, &mut record).await.unwrap_err().code, 1099);
        other.query(b"unlock tables", false, &mut record).await.unwrap();
        record.lines
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(w.run("select count(*) from t").await, ["1"]);
    w.run("unlock tables").await;
    assert_eq!(waiting.await.unwrap()[0], "ok 1 0");
    assert_eq!(w.run("select count(*) from t").await, ["2"]);
}

mod asking;
mod deciding;
mod transactions;
mod xa;
