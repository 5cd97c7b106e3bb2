use starling_apply::schema::step;
use starling_log::Place;

use super::*;
use crate::sql::bind::{SqlMode, VarTypes};
use crate::sql::lex::LexMode;
use crate::sql::meta::create as print;
use crate::sql::plan::Arg;
use crate::sql::{parse, vars};

struct NoVars;
impl VarTypes for NoVars {
    fn system(&self, _: Option<&str>, name: &str) -> Result<Ty> {
        Ok(vars::ty(vars::find(name)?))
    }
    fn user(&self, _: &str) -> Ty {
        Ty::null()
    }
}

struct World {
    catalog: Catalog,
    seq: u64,
    steps: Vec<DdlStep>,
}

impl World {
    fn new() -> World {
        let mut world = World {
            catalog: Catalog::default(),
            seq: 0,
            steps: Vec::new(),
        };
        world.run("CREATE DATABASE shop").unwrap();
        world
    }
    fn run(&mut self, sql: &str) -> Result<()> {
        self.steps.clear();
        let parsed = parse::parse_one(sql.as_bytes(), LexMode::default())?;
        for piece in pieces(&parsed.statement, Some("shop"))? {
            let done = {
                let scope = Scope {
                    catalog: &self.catalog,
                    database: Some("shop"),
                    mode: SqlMode {
                        strict: true,
                        no_zero_date: true,
                        no_zero_in_date: true,
                        ..SqlMode::default()
                    },
                    collation: "utf8mb4_0900_ai_ci",
                    text: sql.as_bytes(),
                    params: &[],
                    vars: &NoVars,
                };
                let text = |arg: &Arg| match arg {
                    Arg::Constant(value) => Ok(literal_text(value)),
                    Arg::Slot { slot, .. } => {
                        let span = parsed.literals[*slot as usize];
                        Ok(sql[span.start as usize..span.end as usize].to_string())
                    }
                    _ => Err(SqlError::new(3102, "Expression contains a disallowed function.")),
                };
                let ddl = DdlScope {
                    scope: &scope,
                    foreign_key_checks: true,
                    server_collation: "utf8mb4_0900_ai_ci",
                    created_ms: 0,
                    inline: &text,
                };
                change(&ddl, &piece)?
            };
            if let Some(change) = &done.change {
                self.seq += 1;
                let place = Place { origin: 1, seq: self.seq };
                let db = piece.db.as_ref().and_then(|d| self.catalog.database(d)).map_or(0, |d| d.id);
                self.catalog = step(&self.catalog, db, change, place);
            }
            self.steps.push(done);
        }
        Ok(())
    }
    fn fails(&mut self, sql: &str) -> u16 {
        match self.run(sql) {
            Ok(()) => panic!("accepted: {sql}"),
            Err(error) => error.code,
        }
    }
    fn shown(&self, table: &str) -> String {
        print::table(self.catalog.table("shop", table).unwrap(), None)
    }
}

#[test]
fn a_table_comes_back_as_mysql_prints_it() {
    let mut w = World::new();
    w.run(
        "create table Orders (id bigint unsigned auto_increment primary key, code char(8) character set latin1 not null,
         price decimal(10,2) default 1.5, flags bit(3) default b'101', state enum('new','paid') default 'new',
         note text, at timestamp(3) not null default current_timestamp(3) on update current_timestamp(3),
         n int default -5 comment 'it''s', unique (code), key (price, n desc), key note (note(20))) comment='all'",
    )
    .unwrap();
    assert_eq!(
        w.shown("orders"),
        "CREATE TABLE `Orders` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `code` char(8) CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL,
  `price` decimal(10,2) DEFAULT '1.50',
  `flags` bit(3) DEFAULT b'101',
  `state` enum('new','paid') DEFAULT 'new',
  `note` text,
  `at` timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  `n` int DEFAULT '-5' COMMENT 'it''s',
  PRIMARY KEY (`id`),
  UNIQUE KEY `code` (`code`),
  KEY `price` (`price`,`n` DESC),
  KEY `note` (`note`(20))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='all'"
    );
}

#[test]
fn what_is_printed_makes_the_same_table_again() {
    let mut w = World::new();
    w.run("create table p (id int primary key)").unwrap();
    w.run(
        "create table t (id int not null, a varchar(20) collate utf8mb4_bin default 'x', b int as (ifnull(id, 1)) stored, c int check (c > 0),
         d datetime(6) default now(6), e json, f int default (ifnull(1, 2)), primary key (id),
         constraint fk foreign key (id) references p (id) on delete cascade, check (a <> 'z'))",
    )
    .unwrap();
    let text = w.shown("t");
    w.run("drop table t").unwrap();
    w.run(&text).unwrap();
    assert_eq!(w.shown("t"), text);
}

#[test]
fn mistakes_in_create_table_have_mysqls_codes() {
    let mut w = World::new();
    w.run("create table t (id int primary key, a text)").unwrap();
    for (sql, code) in [
        ("create table t (a int)", 1050),
        ("create table u (a int, A int)", 1060),
        ("create table u (a int, key k (a), key K (a))", 1061),
        ("create table u (a int primary key, b int, primary key (b))", 1068),
        ("create table u (a int, key (b))", 1072),
        ("create table u (a int auto_increment)", 1075),
        (
            "create table u (a int auto_increment, b int auto_increment, key (a), key (b))",
            1075,
        ),
        ("create table u (a int not null default null)", 1067),
        ("create table u (a int default 'x')", 1067),
        ("create table u (a date default '2020-02-31')", 1067),
        ("create table u (a datetime(3) default now())", 1067),
        ("create table u (a text default 'x')", 1101),
        ("create table u (a int, b int default (a + 1))", 1235),
        ("create table u (a int default (nonsense(1)))", 1305),
        ("create table u (a text, key (a))", 1170),
        ("create table u (a json, key (a))", 3152),
        ("create table u (a int, key (a(3)))", 1089),
        ("create table u (a int null, primary key (a))", 1171),
        ("create table u (a varchar(20) auto_increment primary key)", 1063),
        ("create table u (a int) engine=bogus", 1286),
        ("create table u (a int) charset=bogus", 1115),
        ("create table u (a int, foreign key (a) references nope (id))", 1824),
        ("create table u (a bigint, foreign key (a) references t (id))", 3780),
        ("create table u (a int, foreign key (a) references t (zz))", 3734),
        ("create table u (a int, foreign key (a) references other.t (id))", 1235),
        ("create temporary table u (a int)", 1235),
        ("create table nope.u (a int)", 1049),
        ("create table information_schema.u (a int)", 1044),
        ("create table u (a int) partition by hash(a)", 1235),
        ("create database shop", 1007),
        ("drop database nope", 1008),
        ("drop table nope", 1051),
        ("truncate table nope", 1146),
        ("create view v as select 1", 1235),
    ] {
        assert_eq!(w.fails(sql), code, "{sql}");
    }
}

#[test]
fn if_exists_leaves_notes() {
    let mut w = World::new();
    w.run("create table if not exists t (a int)").unwrap();
    w.run("create table if not exists t (a int)").unwrap();
    assert_eq!(w.steps[0].warnings[0].1, 1050);
    w.run("drop table if exists t, u").unwrap();
    assert_eq!(w.steps[0].warnings, [(Level::Note, 1051, "Unknown table 'shop.u'".to_string())]);
    assert!(w.catalog.table("shop", "t").is_none());
}

#[test]
fn alter_keeps_ids_and_order() {
    let mut w = World::new();
    w.run("create table t (id int primary key, a int, b int, key ab (a, b))").unwrap();
    let id_of = |w: &World, name: &str| w.catalog.table("shop", "t").unwrap().column(name).unwrap().id;
    let b = id_of(&w, "b");
    w.run("alter table t add column c varchar(5) not null default 'q' after id, change b bb bigint first, drop column a")
        .unwrap();
    assert_eq!(id_of(&w, "bb"), b);
    let table = w.catalog.table("shop", "t").unwrap();
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["bb", "id", "c"]);
    assert_eq!(table.indexes[1].parts.len(), 1);
    w.run("alter table t rename index ab to x, add unique u (c), alter c drop default")
        .unwrap();
    assert!(w.shown("t").contains("UNIQUE KEY `u` (`c`),\n  KEY `x` (`bb`)"));
    w.run("create index i on t (c desc)").unwrap();
    w.run("drop index i on t").unwrap();
    assert!(!w.shown("t").contains("`i`"));
}

#[test]
fn mistakes_in_alter_table_have_mysqls_codes() {
    let mut w = World::new();
    w.run("create table p (id int primary key, k int unique)").unwrap();
    w.run(
        "create table t (id int primary key, a int, g int as (ifnull(a, 1)), pid int, check (id > 0), foreign key (pid) references p (id))",
    )
    .unwrap();
    for (sql, code) in [
        ("alter table t drop column zz", 1091),
        ("alter table t drop key zz", 1091),
        ("alter table t modify zz int", 1054),
        ("alter table t add column a int", 1060),
        ("alter table t change a id int", 1060),
        ("alter table t add primary key (a)", 1068),
        ("alter table t drop column a", 3108),
        ("alter table t rename column a to b", 3108),
        ("alter table t drop column pid", 1828),
        ("alter table t drop key pid", 1553),
        ("alter table p drop primary key", 1553),
        ("alter table p drop column id", 1829),
        ("alter table t rename key zz to y", 1176),
        ("alter table t drop check zz", 3940),
        ("drop table p", 3730),
        ("truncate table p", 1701),
        ("alter table nope add x int", 1146),
        ("alter table p drop column id, drop column k", 1829),
        ("rename table t to p", 1050),
    ] {
        assert_eq!(w.fails(sql), code, "{sql}");
    }
    w.run("drop table t, p").unwrap();
}

#[test]
fn changes_that_rows_could_break_come_with_probes() {
    let mut w = World::new();
    w.run("create table t (id int primary key, a int, b varchar(20))").unwrap();
    w.run("alter table t modify a int not null, add unique (b), add check (a > 0)")
        .unwrap();
    let fails: Vec<_> = w.steps[0].probes.iter().map(|p| p.fails.clone()).collect();
    assert_eq!(
        fails,
        [
            probe::Fails::Null,
            probe::Fails::Duplicate("t.b".into()),
            probe::Fails::Check("t_chk_1".into())
        ]
    );
    w.run("alter table t modify b varchar(10)").unwrap();
    assert!(w.steps[0].probes.iter().any(|p| p.fails == probe::Fails::Convert));
}

#[test]
fn names_are_given_as_mysql_gives_them() {
    let mut w = World::new();
    w.run("create table p (id int primary key)").unwrap();
    w.run(
        "create table t (a int, b int, key (a), key (a, b), unique (a), foreign key (b) references p (id), check (a > 1), check (b > 1))",
    )
    .unwrap();
    let table = w.catalog.table("shop", "t").unwrap();
    let names: Vec<&str> = table.indexes.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["a_3", "a", "a_2", "b"]);
    assert_eq!(table.foreign_keys[0].name, "t_ibfk_1");
    let checks: Vec<&str> = table.checks.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(checks, ["t_chk_1", "t_chk_2"]);
    assert_eq!(table.checks[0].lowered.matches("~self").count(), 0);
}

#[test]
fn create_like_and_create_select_define_columns() {
    let mut w = World::new();
    w.run("create table t (id int primary key auto_increment, name varchar(7))")
        .unwrap();
    w.run("create table l like t").unwrap();
    assert_eq!(w.shown("l"), w.shown("t").replace("`t`", "`l`"));
    w.run("create table s (extra int) as select id, name as n, 1 as one from t")
        .unwrap();
    assert_eq!(w.steps[0].fill.as_deref().unwrap(), ["id", "n", "one"]);
    let table = w.catalog.table("shop", "s").unwrap();
    assert_eq!(table.columns[2].ty.length, Some(7));
    assert!(table.indexes.is_empty());
}

#[test]
fn renames_happen_from_left_to_right() {
    let mut w = World::new();
    w.run("create table a (x int)").unwrap();
    w.run("create table b (y int)").unwrap();
    w.run("rename table a to tmp, b to a, tmp to b").unwrap();
    assert!(w.catalog.table("shop", "b").unwrap().column("x").is_some());
    assert!(w.catalog.table("shop", "a").unwrap().column("y").is_some());
}
