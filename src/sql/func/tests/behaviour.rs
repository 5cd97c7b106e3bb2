//! Casts, strictness, warnings, aggregates, and the table itself.

use rusqlite::Connection;
use starling_apply::BaseType;

use super::{connection, literal, run, shown};
use crate::sql::func::context::{self, Context};
use crate::sql::func::{convert, functions, lookup};
use crate::sql::types::Ty;

fn converted(sql: &str, to: Ty) -> String {
    let (sql, from) = literal(sql);
    let connection = connection();
    let out = shown(&connection, &convert::cast(&sql, &from, &to), &to);
    context::take_warnings();
    out
}

#[test]
fn casts() {
    let decimal = |p, s| Ty::decimal(p, s, true);
    assert_eq!(converted("'12abc'", Ty::int(true)), "12");
    assert_eq!(converted("'1e3'", Ty::int(true)), "1");
    assert_eq!(converted("-1", Ty::unsigned(true)), "18446744073709551615");
    assert_eq!(converted("2.5", Ty::int(true)), "3");
    assert_eq!(converted("'1.234'", decimal(10, 2)), "1.23");
    assert_eq!(converted("12345", decimal(4, 1)), "999.9");
    assert_eq!(converted("1.5e0", decimal(10, 2)), "1.50");
    assert_eq!(converted("20240102", Ty::temporal(BaseType::Date, 0, true)), "2024-01-02");
    assert_eq!(
        converted("'2024-01-02 03:04:05.6'", Ty::temporal(BaseType::DateTime, 0, true)),
        "2024-01-02 03:04:06"
    );
    assert_eq!(converted("'abc'", Ty::temporal(BaseType::Date, 0, true)), "NULL");
    assert_eq!(converted("'10:11'", Ty::temporal(BaseType::Time, 0, true)), "10:11:00");
    assert_eq!(converted("'[1,2]'", Ty::json(true)), "[1, 2]");
    assert_eq!(converted("'{'", Ty::json(true)), "ERROR 3141");
    assert_eq!(converted("12", Ty::json(true)), "12");
    assert_eq!(converted("'abc'", Ty::text(2, "utf8mb4_0900_ai_ci", true)), "ab");
    assert_eq!(converted("TIME'10:11:12'", Ty::text(20, "utf8mb4_0900_ai_ci", true)), "10:11:12");
    let mut padded = Ty::binary(4, true);
    padded.ty.base = BaseType::Binary;
    assert_eq!(converted("'a'", padded), "a\0\0\0");
}

#[test]
fn strict_statements_get_errors() {
    let connection = connection();
    let _guard = context::enter(Context {
        strict: true,
        strict_division: true,
        ..Context::default()
    });
    assert_eq!(run(&connection, "/(1, 0)"), "ERROR 1365");
    assert_eq!(run(&connection, "+('1x', 1)"), "ERROR 1292");
    let column = starling_apply::Column {
        id: 1,
        name: "c".into(),
        ty: {
            let mut ty = starling_apply::ColumnType::new(BaseType::TinyInt);
            ty.unsigned = true;
            ty
        },
        nullable: true,
        default: Default::default(),
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    };
    let sql = convert::assign("300", &Ty::int(false), &column);
    let error = connection.query_row(&format!("SELECT {sql}"), [], |_| Ok(())).unwrap_err();
    let error = context::parse_error(&error).unwrap();
    assert_eq!(
        (error.code, error.message.as_ref()),
        (1264, "Out of range value for column 'c' at row 1")
    );
}

#[test]
fn warnings_are_kept() {
    let connection = connection();
    context::take_warnings();
    assert_eq!(run(&connection, "+('1x', 1)"), "2");
    let (kept, count) = context::take_warnings();
    assert_eq!(count, 1);
    assert_eq!(
        (kept[0].code, kept[0].message.as_str()),
        (1292, "Truncated incorrect DOUBLE value: '1x'")
    );
}

fn aggregate(connection: &Connection, name: &str, column: &str, ty: Ty) -> String {
    let function = lookup(name).unwrap();
    let (sql, ty) = function.lower(&[(column.to_string(), ty)]);
    let sql = format!("(SELECT {sql} FROM t)");
    shown(connection, &sql, &ty)
}

#[test]
fn aggregates() {
    let connection = connection();
    connection
        .execute_batch("CREATE TABLE t(i, d, r, s); INSERT INTO t VALUES (1,'1.10',1.5,'a'),(2,'2.20',2.5,'b'),(NULL,NULL,NULL,NULL),(4,'-0.05',8,'c')")
        .unwrap();
    let int = || Ty::int(true);
    assert_eq!(aggregate(&connection, "sum", "i", int()), "7");
    assert_eq!(aggregate(&connection, "avg", "i", int()), "2.3333");
    assert_eq!(aggregate(&connection, "sum", "d", Ty::decimal(10, 2, true)), "3.25");
    assert_eq!(aggregate(&connection, "avg", "d", Ty::decimal(10, 2, true)), "1.083333");
    assert_eq!(aggregate(&connection, "sum", "r", Ty::double(true)), "12");
    assert_eq!(aggregate(&connection, "bit_or", "i", int()), "7");
    assert_eq!(aggregate(&connection, "bit_and", "i", int()), "0");
    assert_eq!(aggregate(&connection, "bit_xor", "i", int()), "7");
    assert_eq!(aggregate(&connection, "var_pop", "r", Ty::double(true)), "8.166666666666666");
    assert_eq!(
        aggregate(&connection, "group_concat", "s", Ty::text(1, "utf8mb4_bin", true)),
        "a,b,c"
    );
    assert_eq!(aggregate(&connection, "json_arrayagg", "i", int()), "[1, 2, null, 4]");
    assert_eq!(aggregate(&connection, "max", "i", int()), "4");
    let running: String = connection
        .query_row(
            "SELECT group_concat(v) FROM (SELECT starling_sum(i) OVER (ORDER BY rowid ROWS 1 PRECEDING) AS v FROM t)",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(running, "1,3,2,4");
    let none: Option<String> = connection
        .query_row("SELECT starling_sum(i) FROM t WHERE 0", [], |r| r.get(0))
        .unwrap();
    assert_eq!(none, None);
}

#[test]
fn the_table_is_sound() {
    let connection = connection();
    let mut names = std::collections::HashSet::new();
    for function in functions() {
        assert!(names.insert(function.name), "{} twice", function.name);
        assert!(function.min_args <= function.max_args);
        if function.sqlite.is_empty() || function.custom.is_some() {
            continue;
        }
        let known: i64 = connection
            .query_row("SELECT count(*) FROM pragma_function_list WHERE name = ?", [function.sqlite], |r| {
                r.get(0)
            })
            .unwrap();
        assert!(
            known > 0 || function.sqlite == "iif" || function.sqlite == "coalesce" || function.sqlite == "ifnull",
            "{}",
            function.sqlite
        );
    }
}
