//! Statements run on SQLite, with the functions and collations they call.

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use starling_log::Value;

use super::{catalog, plan_of};
use crate::sql::ast::{Expr, Literal, Parsed};
use crate::sql::func::{self, context};
use crate::sql::parse::{LexMode, parse_expr};
use crate::sql::plan::{Arg, Context};
use crate::sql::session::input::literal_value;

/// A node in small: one database, its tables as `physical` makes them, a few rows.
fn shop() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    func::register(&connection).unwrap();
    starling_apply::collate::register(&connection).unwrap();
    connection.execute_batch("ATTACH ':memory:' AS shop").unwrap();
    for table in catalog().databases["shop"].tables.values() {
        let sql = starling_apply::physical::create_sql("shop", &table.name, table);
        connection.execute_batch(&sql).unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO shop.t VALUES
                (1,'Apple','1.50','2020-01-01','2020-01-01 10:00:00',1,x'00ff',10,'2020-01-01 10:00:00',0.5),
                (2,'banana','20.00','2020-02-01','2020-02-01 00:00:00',2,NULL,NULL,NULL,NULL),
                (3,'ÄPPLE','3.00',NULL,NULL,NULL,NULL,-7,NULL,2.5);
             INSERT INTO shop.u VALUES (1,1,'one',5),(2,1,'two',7),(3,3,'three',NULL),(4,9,'lost',1);
             INSERT INTO shop.sbtest1 VALUES (5,50,'c5','p5'),(6,60,'c6','p6');",
        )
        .unwrap();
    connection
}

fn literal(text: &str, parsed: &Parsed, slot: u32) -> Literal {
    let span = parsed.literals[slot as usize];
    match parse_expr(&text.as_bytes()[span.start as usize..span.end as usize], LexMode::default()).unwrap() {
        Expr::Literal { value, .. } => value,
        other => panic!("{other:?}"),
    }
}

fn argument(arg: &Arg, text: &str, parsed: &Parsed) -> Value {
    match arg {
        Arg::Constant(value) => value.clone(),
        Arg::Slot { slot, ty, how } => literal_value(&literal(text, parsed, *slot), ty, *how, 0).unwrap(),
        Arg::Context(Context::CurDate) => Value::Text(b"2020-06-01".to_vec()),
        Arg::Context(Context::Now(_)) => Value::Text(b"2020-06-01 12:00:00".to_vec()),
        Arg::Context(Context::Database) => Value::Text(b"shop".to_vec()),
        other => panic!("{other:?}"),
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".into(),
        ValueRef::Integer(v) => v.to_string(),
        ValueRef::Real(v) => format!("{v:?}"),
        ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
        ValueRef::Blob(b) => format!("x{}", hex::encode(b)),
    }
}

/// Rows as text: columns by `|`, rows by `;`. An error as its code.
fn rows(connection: &Connection, text: &str) -> String {
    let (plan, _, parsed) = match plan_of(text, &[]) {
        Ok(done) => done,
        Err(error) => return format!("{} {}", error.code, error.message),
    };
    let sql = &plan.lowered.sql;
    let mut statement = connection.prepare(sql).unwrap_or_else(|e| panic!("{text}\n{sql}\n{e}"));
    for (index, arg) in plan.lowered.args.iter().enumerate() {
        let value = match argument(arg, text, &parsed) {
            Value::Null => rusqlite::types::Value::Null,
            Value::Int(v) => v.into(),
            Value::Real(v) => v.into(),
            Value::Text(t) => String::from_utf8(t).unwrap().into(),
            Value::Blob(b) => b.into(),
        };
        statement.raw_bind_parameter(index + 1, value).unwrap();
    }
    let width = statement.column_count();
    assert_eq!(width, plan.columns.len(), "{text}");
    let mut found = statement.raw_query();
    let mut out = Vec::new();
    loop {
        match found.next() {
            Ok(Some(row)) => {
                let cells: Vec<String> = (0..width).map(|i| shown(row.get_ref(i).unwrap())).collect();
                out.push(cells.join("|"));
            }
            Ok(None) => return out.join(";"),
            Err(error) => {
                return match context::parse_error(&error) {
                    Some(error) => format!("{} {}", error.code, error.message),
                    None => panic!("{text}\n{sql}\n{error}"),
                };
            }
        }
    }
}

fn check(cases: &[(&str, &str)]) {
    let connection = shop();
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let found = rows(&connection, text);
        if found != *expected {
            let sql = plan_of(text, &[]).map(|p| p.0.lowered.sql).unwrap_or_default();
            wrong.push(format!("{text}\n  expected {expected}\n  found    {found}\n  {sql}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn constants_meet_columns_in_the_columns_form() {
    check(&[
        ("SELECT c FROM sbtest1 WHERE id=5", "c5"),
        ("SELECT id FROM t WHERE price = 1.5", "1"),
        ("SELECT id FROM t WHERE price > 2 ORDER BY price", "3;2"),
        ("SELECT id FROM t WHERE price > '2'", "2;3"),
        ("SELECT id FROM t WHERE name = 'APPLE'", "1;3"),
        ("SELECT id FROM t WHERE name COLLATE utf8mb4_bin = 'Apple'", "1"),
        ("SELECT id FROM t WHERE day = '2020-01-01'", "1"),
        ("SELECT id FROM t WHERE day < '2020-01-01 10:00:00'", "1"),
        ("SELECT id FROM t WHERE at = '2020-02-01'", "2"),
        ("SELECT id FROM t WHERE at >= 20200115", "2"),
        ("SELECT id FROM t WHERE id < 2.5", "1;2"),
        ("SELECT id FROM t WHERE id = '2'", "2"),
        ("SELECT id FROM t WHERE id = '2x'", "2"),
        ("SELECT id FROM t WHERE color = 'RED'", "1"),
        ("SELECT id FROM t WHERE color = 2", "2"),
        ("SELECT id FROM t WHERE color <> 'blue'", "1;2"),
        ("SELECT id FROM t WHERE color > 'green'", "1"),
        ("SELECT id FROM t WHERE bin = x'00ff'", "1"),
        ("SELECT id FROM t WHERE big = -7", "3"),
        ("SELECT id FROM t WHERE big <=> NULL", "2"),
        ("SELECT id FROM t WHERE x > 1", "3"),
        ("SELECT id FROM t WHERE name IN ('apple', 'x')", "1;3"),
        ("SELECT id FROM t WHERE day BETWEEN '2020-01-01' AND '2020-01-31'", "1"),
        ("SELECT id FROM t WHERE day NOT BETWEEN '2020-01-01' AND '2020-01-31'", "2"),
        ("SELECT id FROM t WHERE stamp = '2020-01-01 10:00:00'", "1"),
        ("SELECT id FROM t WHERE name = 0", "1;2;3"),
    ]);
}

#[test]
fn truth_has_three_values() {
    check(&[
        (
            "SELECT 1 AND NULL, 0 AND NULL, 1 OR NULL, NOT NULL, 1 XOR NULL",
            "NULL|0|1|NULL|NULL",
        ),
        ("SELECT 1 XOR 1, 1 XOR 0, NOT 5, !0, 2 AND 3", "0|1|0|1|1"),
        (
            "SELECT NULL IS UNKNOWN, 1 IS TRUE, 2 IS TRUE, 0 IS NOT FALSE, NULL IS TRUE",
            "1|1|1|0|0",
        ),
        ("SELECT NULL <=> NULL, 1 <=> NULL, NULL = NULL, 1 <=> 1", "1|0|NULL|1"),
        ("SELECT 2 IN (1, NULL), 1 IN (1, NULL), 2 NOT IN (1, 3)", "NULL|1|1"),
        ("SELECT 'a' = 'A', 'a' = BINARY 'A', 'b' > 'A'", "1|0|1"),
        ("SELECT '1abc' = 1, '10' > 9, 'x' = 0", "1|1|1"),
        ("SELECT id FROM t WHERE 'abc'", ""),
        ("SELECT id FROM t WHERE '1abc' AND id = 1", "1"),
    ]);
}

#[test]
fn arithmetic_is_mysqls() {
    check(&[
        ("SELECT 1+1, 5-7, 2*3, 7 DIV 2, 7 % 3, -5 DIV 2", "2|-2|6|3|1|-2"),
        ("SELECT 1/3, 7/2, 1/0, 5 MOD 0, 1.5*2, 0.1+0.2", "0.3333|3.5000|NULL|NULL|3.0|0.3"),
        ("SELECT 1e0/4, 1.5e0+1", "0.25|2.5"),
        ("SELECT '3' + 4, '1.5x' + 1", "7.0|2.5"),
        ("SELECT 5 & 3, 5 | 3, 5 ^ 3, 1 << 3, 16 >> 2", "1|7|6|8|4"),
        (
            "SELECT 9223372036854775807 + 1",
            "1690 BIGINT value is out of range in '(9223372036854775807 + 1)'",
        ),
        ("SELECT -9223372036854775808", "-9223372036854775808"),
        ("SELECT price * 2, price / 3, price + id FROM t WHERE id = 1", "3.00|0.500000|2.50"),
        ("SELECT id, -id, - - id FROM t WHERE id = 2", "2|-2|2"),
        ("SELECT day + 0 FROM t WHERE id = 1", "20200101"),
    ]);
}

#[test]
fn branches_share_a_type() {
    check(&[
        ("SELECT CASE WHEN 1 THEN 1 ELSE 2.5 END", "1.0"),
        ("SELECT CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END", "b"),
        (
            "SELECT IF(1, 'x', 5), IFNULL(NULL, 3), COALESCE(NULL, NULL, 'z'), NULLIF(1, 1), NULLIF('a', 'A')",
            "x|3|z|NULL|NULL",
        ),
        ("SELECT CASE name WHEN 'apple' THEN 1 ELSE 0 END FROM t", "1;0;1"),
        ("SELECT IF(id > 1, price, id) FROM t ORDER BY id", "1.00;20.00;3.00"),
    ]);
}

#[test]
fn joins() {
    check(&[
        ("SELECT t.id, u.id FROM t JOIN u ON u.t_id = t.id ORDER BY 1, 2", "1|1;1|2;3|3"),
        (
            "SELECT t.id, u.id FROM t LEFT JOIN u ON u.t_id = t.id ORDER BY 1, 2",
            "1|1;1|2;2|NULL;3|3",
        ),
        (
            "SELECT t.id, u.id FROM t RIGHT JOIN u ON u.t_id = t.id ORDER BY 2",
            "1|1;1|2;3|3;NULL|4",
        ),
        ("SELECT COUNT(*) FROM t, u", "12"),
        ("SELECT a.id FROM u a JOIN u b USING (id, name) WHERE id > 2 ORDER BY id", "3;4"),
        ("SELECT * FROM (SELECT 1 a, 2 b) x NATURAL JOIN (SELECT 1 a, 3 c) y", "1|2|3"),
        (
            "SELECT COUNT(*) FROM t LEFT JOIN (u a JOIN u b ON a.id = b.id) ON a.t_id = t.id",
            "4",
        ),
        ("SELECT x.id FROM t x STRAIGHT_JOIN u y ON x.id = y.t_id WHERE y.n = 7", "1"),
        ("SELECT COUNT(*) FROM t a, t b LEFT JOIN u ON u.t_id = b.id WHERE a.id = 1", "4"),
    ]);
}

#[test]
fn subqueries() {
    check(&[
        (
            "SELECT id, (SELECT name FROM u WHERE u.id = t.id) FROM t ORDER BY id",
            "1|one;2|two;3|three",
        ),
        ("SELECT (SELECT id FROM t)", "1242 Subquery returns more than 1 row"),
        ("SELECT (SELECT id FROM t WHERE 0)", "NULL"),
        (
            "SELECT (SELECT MAX(n) FROM u WHERE u.t_id = t.id) m FROM t ORDER BY t.id",
            "7;NULL;NULL",
        ),
        ("SELECT id FROM t WHERE id IN (SELECT t_id FROM u) ORDER BY id", "1;3"),
        (
            "SELECT id FROM t WHERE id NOT IN (SELECT t_id FROM u WHERE t_id IS NOT NULL) ORDER BY id",
            "2",
        ),
        ("SELECT id FROM t WHERE (id, 'ONE') IN (SELECT t_id, name FROM u)", "1"),
        ("SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.t_id = t.id AND n > 6)", "1"),
        ("SELECT id FROM t WHERE id > ALL (SELECT id FROM u WHERE id < 3)", "3"),
        (
            "SELECT id FROM t WHERE id >= ANY (SELECT id FROM u WHERE id IN (2, 9)) ORDER BY id",
            "2;3",
        ),
        (
            "SELECT 1 > ALL (SELECT 1 FROM t WHERE 0), 1 > ANY (SELECT 1 FROM t WHERE 0), 2 > ALL (SELECT n FROM u)",
            "1|0|0",
        ),
        (
            "SELECT (1, 2) < (1, 3), (2, 1) > (1, 5), (1, NULL) = (1, 2), (1, 2) <=> (1, 2)",
            "1|1|NULL|1",
        ),
        ("SELECT id FROM u WHERE (id, name) IN ((1, 'ONE'), (2, 'x'))", "1"),
        ("SELECT (1, 'a') = (SELECT 1, 'A')", "1"),
        (
            "SELECT price FROM t WHERE price IN (SELECT 3 UNION SELECT 20) ORDER BY id",
            "20.00;3.00",
        ),
    ]);
}

#[test]
fn groups_and_windows() {
    check(&[
        (
            "SELECT t_id, COUNT(*), SUM(n), AVG(n), MIN(name), MAX(n) FROM u GROUP BY t_id ORDER BY t_id",
            "1|2|12|6.0000|one|7;3|1|NULL|NULL|three|NULL;9|1|1|1.0000|lost|1",
        ),
        ("SELECT name, COUNT(*) FROM t GROUP BY name ORDER BY 2 DESC", "Apple|2;banana|1"),
        ("SELECT COUNT(DISTINCT name), COUNT(DISTINCT t_id, name) FROM u", "4|4"),
        ("SELECT COUNT(DISTINCT name) FROM t", "2"),
        ("SELECT DISTINCT name FROM t ORDER BY name", "Apple;banana"),
        (
            "SELECT SUM(price), AVG(price), MAX(price), MIN(price) FROM t",
            "24.50|8.166667|20.00|1.50",
        ),
        ("SELECT t_id % 2 p, COUNT(*) c FROM u GROUP BY p HAVING c > 1 AND p = 1", "1|4"),
        ("SELECT id FROM u HAVING id > 3", "4"),
        ("SELECT id AS k FROM u HAVING k = 2", "2"),
        ("SELECT COUNT(*) FROM t HAVING COUNT(*) > 5", ""),
        (
            "SELECT GROUP_CONCAT(name ORDER BY id DESC SEPARATOR '-') FROM u",
            "lost-three-two-one",
        ),
        ("SELECT AVG(DISTINCT t_id) FROM u", "4.3333"),
        (
            "SELECT id, ROW_NUMBER() OVER (ORDER BY n DESC), SUM(n) OVER (PARTITION BY t_id) FROM u ORDER BY id",
            "1|2|12;2|1|12;3|4|NULL;4|3|1",
        ),
        (
            "SELECT id, LAG(id, 1, 0) OVER w, RANK() OVER w FROM u WINDOW w AS (ORDER BY id) ORDER BY id",
            "1|0|1;2|1|2;3|2|3;4|3|4",
        ),
        (
            "SELECT SUM(n) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM u ORDER BY id",
            "5;12;7;1",
        ),
    ]);
}

#[test]
fn set_operations_and_common_tables() {
    check(&[
        ("SELECT 1 UNION SELECT 1 UNION ALL SELECT 1", "1;1"),
        ("SELECT 'a' UNION SELECT 'A'", "a"),
        ("SELECT 1 UNION SELECT 1.5", "1.0;1.5"),
        ("SELECT 1 UNION ALL SELECT 'x'", "1;x"),
        ("SELECT 1 INTERSECT SELECT 1", "1"),
        ("SELECT 1 UNION SELECT 2 EXCEPT SELECT 2", "1"),
        ("SELECT id FROM t UNION SELECT n FROM u ORDER BY id DESC LIMIT 2", "7;5"),
        ("SELECT id FROM t UNION SELECT n FROM u WHERE n > 2 ORDER BY -id", "7;5;3;2;1"),
        (
            "(SELECT id FROM u ORDER BY id DESC LIMIT 1) UNION ALL (SELECT id FROM t ORDER BY id LIMIT 1)",
            "4;1",
        ),
        ("(SELECT id FROM u ORDER BY id DESC LIMIT 2) ORDER BY id", "3;4"),
        ("VALUES ROW(1, 'a'), ROW(2, 'b')", "1|a;2|b"),
        (
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 4) SELECT SUM(i) FROM n",
            "10",
        ),
        (
            "WITH a AS (SELECT id FROM t), b (k) AS (SELECT id FROM a WHERE id > 1) SELECT * FROM b, a WHERE b.k = a.id ORDER BY 1",
            "2|2;3|3",
        ),
        ("SELECT d.k, d.v FROM (SELECT id, name FROM u) AS d (k, v) WHERE k = 2", "2|two"),
        ("SELECT id FROM u ORDER BY id LIMIT 1, 2", "2;3"),
        ("SELECT id FROM u ORDER BY id LIMIT 18446744073709551615 OFFSET 3", "4"),
        ("TABLE sbtest1 ORDER BY id LIMIT 1", "5|50|c5|p5"),
        ("SELECT * FROM (VALUES ROW(1, 2)) AS v", "1|2"),
    ]);
}

#[test]
fn order_and_names() {
    check(&[
        ("SELECT id AS name, name AS id FROM t ORDER BY name DESC LIMIT 1", "3|ÄPPLE"),
        ("SELECT id FROM t ORDER BY color DESC, id", "2;1;3"),
        ("SELECT name FROM t ORDER BY name COLLATE utf8mb4_bin", "Apple;banana;ÄPPLE"),
        ("SELECT id FROM t ORDER BY NULL, 1 DESC", "3;2;1"),
        ("SELECT id FROM t ORDER BY price + 0 DESC", "2;3;1"),
        ("SELECT DATABASE(), CURDATE()", "shop|2020-06-01"),
        ("SELECT id FROM t WHERE stamp <= NOW() ORDER BY id", "1"),
        ("SELECT id FROM t WHERE price > -1.555 AND price < -(-2.5)", "1"),
        (
            "SELECT REGEXP_LIKE(name, '^a'), name LIKE '%PP%', name NOT LIKE 'b%' FROM t ORDER BY id",
            "1|1|1;0|0|0;0|1|1",
        ),
        ("SELECT id FROM t WHERE bin & 255 = 0", "1"),
    ]);
}

#[test]
fn dates() {
    check(&[
        ("SELECT id FROM t WHERE stamp > NOW() - INTERVAL 1 YEAR", "1"),
        (
            "SELECT DATE_ADD('2020-01-31', INTERVAL 1 MONTH), DATE('2020-01-01 10:00:00') + INTERVAL 1 HOUR",
            "2020-02-29|2020-01-01 01:00:00",
        ),
        (
            "SELECT TIMESTAMPDIFF(DAY, '2020-01-01', '2020-03-01'), EXTRACT(YEAR FROM day), YEAR(at) FROM t WHERE id = 1",
            "60|2020|2020",
        ),
        ("SELECT id FROM t WHERE day + INTERVAL 1 DAY = '2020-01-02'", "1"),
        ("SELECT id FROM t WHERE at + INTERVAL 1 SECOND = '2020-01-01 10:00:01'", "1"),
        (
            "SELECT id FROM t WHERE at BETWEEN '2019-12-31' AND CURDATE() - INTERVAL 100 DAY ORDER BY 1",
            "1;2",
        ),
        ("SELECT UNIX_TIMESTAMP()", "1591012800"),
    ]);
}

#[test]
fn casts() {
    check(&[
        (
            "SELECT CAST('12abc' AS SIGNED), CAST(2.5 AS SIGNED), CAST('1.45' AS DECIMAL(5,1))",
            "12|3|1.5",
        ),
        ("SELECT CAST('2020-01-02 03:04:05' AS DATE), CAST(5 AS CHAR)", "2020-01-02|5"),
        ("SELECT CAST(-1 AS UNSIGNED)", "18446744073709551615"),
        ("SELECT CONVERT('abc' USING latin1), HEX(CAST('ab' AS BINARY(3)))", "abc|616200"),
        (
            "SELECT CAST(price AS CHAR), CAST(day AS CHAR) FROM t WHERE id = 1",
            "1.50|2020-01-01",
        ),
    ]);
}

/// What a statement does with the keys of its tables.
#[test]
fn keys_serve() {
    let connection = shop();
    connection
        .execute_batch(
            "CREATE INDEX shop.ix_name ON t (name); CREATE INDEX shop.ix_price ON t (price); CREATE INDEX shop.ix_day ON t (day);
             CREATE INDEX shop.ix_at ON t (at); CREATE INDEX shop.ix_stamp ON t (stamp); CREATE INDEX shop.ix_color ON t (color);
             CREATE INDEX shop.ix_t_id ON u (t_id);",
        )
        .unwrap();
    for (text, expected) in [
        (
            "SELECT c FROM sbtest1 WHERE id=5",
            "SEARCH sbtest1 USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            "SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN 5 AND 9",
            "SEARCH sbtest1 USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            "SELECT c FROM sbtest1 WHERE id = '5'",
            "SEARCH sbtest1 USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            "SELECT id FROM t WHERE name = 'apple'",
            "SEARCH t USING COVERING INDEX ix_name (name=?)",
        ),
        (
            "SELECT id FROM t WHERE name IN ('a', 'b')",
            "SEARCH t USING COVERING INDEX ix_name (name=?)",
        ),
        (
            "SELECT id FROM t WHERE price > 1.25",
            "SEARCH t USING COVERING INDEX ix_price (price>?)",
        ),
        (
            "SELECT id FROM t WHERE price > -1.25",
            "SEARCH t USING COVERING INDEX ix_price (price>?)",
        ),
        (
            "SELECT id FROM t WHERE day >= '2020-01-01'",
            "SEARCH t USING COVERING INDEX ix_day (day>?)",
        ),
        (
            "SELECT id FROM t WHERE day = CURDATE()",
            "SEARCH t USING COVERING INDEX ix_day (day=?)",
        ),
        ("SELECT id FROM t WHERE at < NOW()", "SEARCH t USING COVERING INDEX ix_at (at<?)"),
        (
            "SELECT id FROM t WHERE stamp < NOW()",
            "SEARCH t USING COVERING INDEX ix_stamp (stamp<?)",
        ),
        (
            "SELECT id FROM t WHERE color = 'red'",
            "SEARCH t USING COVERING INDEX ix_color (color=?)",
        ),
        (
            "SELECT t.name FROM u JOIN t ON t.id = u.t_id",
            "SEARCH t USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            "SELECT id FROM t WHERE id IN (SELECT t_id FROM u)",
            "SEARCH t USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        ("SELECT id FROM t ORDER BY name LIMIT 1", "SCAN t USING COVERING INDEX ix_name"),
    ] {
        let sql = plan_of(text, &[]).unwrap().0.lowered.sql;
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut found = statement.raw_query();
        let mut lines: Vec<String> = Vec::new();
        while let Some(row) = found.next().unwrap() {
            lines.push(row.get::<_, String>(3).unwrap().replace("shop.", ""));
        }
        assert!(lines.iter().any(|l| l.contains(expected)), "{text}\n{sql}\n{lines:?}");
    }
}

/// The deepest text of this shape that the parser lets through.
fn deepest(shape: impl Fn(usize) -> String) -> String {
    let fits = |text: &String| crate::sql::parse::parse_one(text.as_bytes(), LexMode::default()).is_ok();
    (1..400).rev().map(shape).find(fits).unwrap()
}

/// Whatever the parser lets through is bound on an ordinary thread's stack.
#[test]
fn deep_statements_fit_the_stack() {
    let nested = deepest(|n| format!("SELECT {}1{}", "(1+".repeat(n), ")".repeat(n)));
    let chain = deepest(|n| format!("SELECT 1{}", "+1".repeat(n)));
    let negated = deepest(|n| format!("SELECT {}1", "NOT ".repeat(n)));
    let calls = deepest(|n| format!("SELECT {}1{}", "ABS(".repeat(n), ")".repeat(n)));
    let queries = deepest(|n| format!("SELECT {}1{}", "(SELECT 1+".repeat(n), ")".repeat(n)));
    let derived = deepest(|n| format!("SELECT * FROM {} t {}", "(SELECT * FROM ".repeat(n), ") d ".repeat(n)));
    let wide = format!("SELECT 1 FROM t WHERE {}", vec!["id = 1"; 5000].join(" OR "));
    for text in [nested, chain, negated, calls, queries, derived, wide] {
        let outcome = plan_of(&text, &[]);
        let fine = outcome.as_ref().map_or_else(|e| e.code == 1436, |_| true);
        assert!(fine, "{}: {:?}", &text[..30], outcome.err());
    }
}
