//! MySQL text → SQLite text.

use starling_apply::BaseType;

use super::{lowered, plan_of};
use crate::sql::plan::{Arg, How};
use crate::sql::types::Ty;

fn check(cases: &[(&str, &str)]) {
    for (mysql, sqlite) in cases {
        assert_eq!(lowered(mysql), *sqlite, "\n{mysql}");
    }
}

#[test]
fn the_hot_path_is_plain_sqlite() {
    check(&[(
        "SELECT c FROM sbtest1 WHERE id=5",
        r#"SELECT "sbtest1"."c" FROM "shop"."sbtest1" WHERE ("sbtest1"."id" = ?1)"#,
    )]);
    let (plan, pins, _) = plan_of("SELECT c FROM sbtest1 WHERE id=5", &[]).unwrap();
    assert!(plan.short);
    assert!(pins.0.is_empty(), "the literal must stay open");
    let Arg::Slot { slot: 0, ty, how } = &plan.lowered.args[0] else {
        panic!("{:?}", plan.lowered.args)
    };
    assert_eq!((ty.ty.base, *how), (BaseType::Int, How::Compare));
    assert_eq!(plan.lowered.dbs, ["shop"]);
}

#[test]
fn constants_take_the_columns_form() {
    check(&[
        (
            "SELECT id FROM t WHERE price = 5 AND name = 'x' AND day >= '2020-01-01'",
            r#"SELECT "t"."id" FROM "shop"."t" WHERE (("t"."price" = ?1) AND ("t"."name" = ?2) AND ("t"."day" >= ?3))"#,
        ),
        (
            "SELECT id FROM t WHERE id BETWEEN 1 AND 9 OR id IN (3, NULL, 4)",
            r#"SELECT "t"."id" FROM "shop"."t" WHERE (("t"."id" BETWEEN ?1 AND ?2) OR ("t"."id" IN (?3,NULL,?4)))"#,
        ),
        (
            "SELECT id FROM t WHERE 5 < id AND color = 'red'",
            r#"SELECT "t"."id" FROM "shop"."t" WHERE ((?1 < "t"."id") AND ("t"."color" = ?2))"#,
        ),
    ]);
}

#[test]
fn collations_are_written_where_sqlite_does_not_know_them() {
    check(&[
        (
            "SELECT id FROM t WHERE name COLLATE utf8mb4_bin = 'x'",
            r#"SELECT "t"."id" FROM "shop"."t" WHERE ("t"."name" COLLATE "utf8mb4_bin" = ?1)"#,
        ),
        (
            "SELECT d.name FROM (SELECT name FROM t) d WHERE d.name = 'x' ORDER BY d.name",
            concat!(
                r#"SELECT "d"."name" FROM (SELECT "t"."name" AS "name" FROM "shop"."t") AS "d" "#,
                r#"WHERE ("d"."name" COLLATE "utf8mb4_0900_ai_ci" = ?1) ORDER BY "d"."name" COLLATE "utf8mb4_0900_ai_ci""#
            ),
        ),
        ("SELECT DISTINCT name FROM t", r#"SELECT DISTINCT "t"."name" FROM "shop"."t""#),
    ]);
}

#[test]
fn joins_keep_their_meaning() {
    check(&[
        (
            "SELECT t.id FROM t LEFT JOIN u ON u.t_id = t.id WHERE u.id IS NULL",
            r#"SELECT "t"."id" FROM "shop"."t" LEFT JOIN "shop"."u" ON ("u"."t_id" = "t"."id") WHERE ("u"."id" IS NULL)"#,
        ),
        (
            "SELECT u.id FROM t RIGHT JOIN u ON u.t_id = t.id",
            r#"SELECT "u"."id" FROM "shop"."u" LEFT JOIN "shop"."t" ON ("u"."t_id" = "t"."id")"#,
        ),
        (
            "SELECT * FROM u a JOIN u b USING (id)",
            concat!(
                r#"SELECT "a"."id", "a"."t_id", "a"."name", "a"."n", "b"."t_id", "b"."name", "b"."n" "#,
                r#"FROM "shop"."u" AS "a" JOIN "shop"."u" AS "b" ON ("a"."id" = "b"."id")"#
            ),
        ),
        (
            "SELECT 1 x FROM t WHERE EXISTS (SELECT * FROM t WHERE t.id = 1)",
            r#"SELECT ?2 FROM "shop"."t" WHERE EXISTS (SELECT "t~2"."id", "t~2"."name", "t~2"."price", "t~2"."day", "t~2"."at", "t~2"."color", "t~2"."bin", "t~2"."big", "t~2"."stamp", "t~2"."x" FROM "shop"."t" AS "t~2" WHERE ("t~2"."id" = ?1))"#,
        ),
    ]);
}

#[test]
fn set_operations_take_one_type() {
    check(&[
        (
            "SELECT id FROM t UNION SELECT n FROM u ORDER BY id LIMIT 3",
            r#"SELECT "t"."id" FROM "shop"."t" UNION SELECT "u"."n" FROM "shop"."u" ORDER BY 1 LIMIT min(?1,9223372036854775807)"#,
        ),
        (
            "(SELECT id FROM t LIMIT 1) UNION ALL SELECT n FROM u",
            concat!(
                r#"SELECT * FROM (SELECT "t"."id" FROM "shop"."t" LIMIT min(?1,9223372036854775807)) "#,
                r#"UNION ALL SELECT "u"."n" FROM "shop"."u""#
            ),
        ),
    ]);
}

#[test]
fn common_tables() {
    check(&[(
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i FROM n WHERE i < 5) SELECT i FROM n",
        concat!(
            r#"WITH RECURSIVE "n" AS (SELECT ?2 AS "i" UNION ALL SELECT "n~2"."i" FROM "n" AS "n~2" WHERE ("n~2"."i" < ?1)) "#,
            r#"SELECT "n~3"."i" FROM "n" AS "n~3""#
        ),
    )]);
}

#[test]
fn parameters_follow_their_neighbour() {
    let (plan, ..) = plan_of("SELECT id FROM t WHERE day = ? AND id = ? LIMIT ?", &[]).unwrap();
    let types: Vec<Option<BaseType>> = plan
        .lowered
        .args
        .iter()
        .map(|a| match a {
            Arg::Param { ty, .. } => ty.as_ref().map(|t| t.ty.base),
            _ => None,
        })
        .collect();
    assert_eq!(types, [Some(BaseType::Date), Some(BaseType::Int), Some(BaseType::BigInt)]);
    // A number beside characters compares as a number.
    let given = [Ty::int(false)];
    let (plan, ..) = plan_of("SELECT id FROM t WHERE name = ?", &given).unwrap();
    assert!(plan.lowered.sql.contains("starling_double"), "{}", plan.lowered.sql);
}

#[test]
fn only_what_is_sure_to_be_quick_is_short() {
    for (text, short) in [
        ("SELECT 1", true),
        ("SELECT c FROM sbtest1 WHERE id IN (1, 2, 3)", true),
        ("SELECT c FROM sbtest1 WHERE id = 1 OR k = 2", false),
        ("SELECT c FROM sbtest1 WHERE k = 2", false),
        ("SELECT c FROM sbtest1 WHERE id = k", false),
        ("SELECT c FROM sbtest1 WHERE id = (SELECT 1)", false),
        ("SELECT a.c FROM sbtest1 a, sbtest1 b WHERE a.id = 1", false),
    ] {
        assert_eq!(plan_of(text, &[]).unwrap().0.short, short, "{text}");
    }
}

#[test]
fn columns_are_described() {
    let (plan, pins, _) = plan_of("SELECT ID, x.name AS label, 1+1, 'text', id a FROM t x", &[]).unwrap();
    let names: Vec<&str> = plan.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["ID", "label", "1+1", "text", "a"]);
    let label = &plan.columns[1];
    assert_eq!(
        (
            label.schema.as_str(),
            label.table.as_str(),
            label.org_table.as_str(),
            label.org_name.as_str()
        ),
        ("shop", "x", "t", "name")
    );
    assert!(plan.columns[0].primary_key && plan.columns[0].not_null);
    assert_eq!(pins.0, [0, 1, 2], "what names a column is pinned");
}

#[test]
fn invisible_tables_names_do_not_mix() {
    check(&[(
        "SELECT (SELECT name FROM u WHERE u.id = t.id) n FROM t",
        r#"SELECT (SELECT "u"."name" FROM "shop"."u" WHERE ("u"."id" = "t"."id")) FROM "shop"."t""#,
    )]);
}

/// A plan that may serve other literals must not rely on the length of this one.
#[test]
fn open_literals_have_open_types() {
    use super::{Scope, SqlMode, Vars, catalog};
    use crate::sql::bind::Binder;
    let catalog = catalog();
    let scope = Scope {
        catalog: &catalog,
        database: Some("shop"),
        mode: SqlMode::default(),
        collation: super::COLLATION,
        text: b"",
        params: &[],
        vars: &Vars,
    };
    let mut binder = Binder::new(&scope);
    let database = &catalog.databases["shop"];
    let table = &database.tables["t"];
    binder.add_table(database, table, None, "\"t\"");
    let expr = crate::sql::parse::parse_expr(b"CONCAT('abc', 'd')", Default::default()).unwrap();
    let (sql, ty) = binder.expr(&expr, "field list").unwrap();
    let stored = binder.assign(&sql, &ty, table.column("name").unwrap()).unwrap();
    assert!(stored.contains("starling_store"), "{stored}");
}
