//! Calls as they stand in MySQL's manual and as MySQL answers them.

use rusqlite::Connection;
use starling_apply::types::text;
use starling_apply::{BaseType, collate};

use super::context::{self, Context};
use super::{cast, convert, lookup, register};
use crate::sql::types::Ty;

fn connection() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    collate::register(&connection).unwrap();
    register(&connection).unwrap();
    connection
}

/// A literal of the notation below, as SQLite text and type.
fn literal(text: &str) -> (String, Ty) {
    let text = text.trim();
    let quoted = |prefix: &str| {
        let inner = text.strip_prefix(prefix)?.strip_prefix('\'')?.strip_suffix('\'')?;
        Some(inner.replace("''", "'").replace("\\\\", "\\"))
    };
    let fraction = |t: &str| t.rsplit_once('.').map_or(0, |(_, f)| f.len() as u8);
    if text == "NULL" {
        return ("NULL".into(), Ty::null());
    }
    if let Some(t) = quoted("") {
        return (
            convert::literal(&t),
            Ty::text(t.chars().count() as u32, "utf8mb4_0900_ai_ci", false),
        );
    }
    if let Some(t) = quoted("_binary") {
        return (format!("CAST({} AS BLOB)", convert::literal(&t)), Ty::binary(t.len() as u32, false));
    }
    if let Some(t) = quoted("DATE") {
        return (convert::literal(&t), Ty::temporal(BaseType::Date, 0, false));
    }
    if let Some(t) = quoted("TIMESTAMP") {
        return (convert::literal(&t), Ty::temporal(BaseType::DateTime, fraction(&t), false));
    }
    if let Some(t) = quoted("TIME") {
        let (micros, _) = starling_apply::types::temporal::read_time(t.as_bytes()).unwrap();
        return (micros.to_string(), Ty::temporal(BaseType::Time, fraction(&t), false));
    }
    if let Some(t) = quoted("JSON") {
        return (convert::literal(&t), Ty::json(false));
    }
    if text.contains(['e', 'E']) {
        return (format!("CAST({text} AS REAL)"), Ty::double(false));
    }
    if text.contains('.') {
        let digits = text.trim_start_matches('-').len() as u32 - 1;
        return (convert::literal(text), Ty::decimal(digits, fraction(text), false));
    }
    match text.parse::<i64>() {
        Ok(_) => (text.to_string(), Ty::int(false)),
        Err(_) => (format!("'{:0>20}'", text), Ty::unsigned(false)),
    }
}

/// `name(arg, …)`, arguments being literals.
fn parse(call: &str) -> (String, Vec<(String, Ty)>) {
    let open = call.find('(').unwrap();
    let (mut args, mut start, mut inside) = (Vec::new(), open + 1, false);
    let end = call.rfind(')').unwrap();
    for (at, c) in call.char_indices().skip(open + 1) {
        match c {
            '\'' => inside = !inside,
            ',' if !inside => {
                args.push(literal(&call[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    if !call[start..end].trim().is_empty() {
        args.push(literal(&call[start..end]));
    }
    (call[..open].trim().to_lowercase(), args)
}

fn run(connection: &Connection, call: &str) -> String {
    let (name, args) = parse(call);
    let function = lookup(&name).unwrap_or_else(|| panic!("no function {name}"));
    assert!(function.takes(args.len()), "{call}");
    let (sql, ty) = function.lower(&args);
    shown(connection, &sql, &ty)
}

fn shown(connection: &Connection, sql: &str, ty: &Ty) -> String {
    let result = connection.query_row(&format!("SELECT {sql}"), [], |row| {
        let value = row.get_ref(0)?;
        if matches!(value, rusqlite::types::ValueRef::Null) {
            return Ok("NULL".to_string());
        }
        let mut out = Vec::new();
        text::write(&mut out, &ty.ty, cast::cell(value));
        Ok(String::from_utf8(out).unwrap_or_else(|e| format!("x{}", hex::encode(e.as_bytes()))))
    });
    result.unwrap_or_else(|error| match context::parse_error(&error) {
        Some(error) => format!("ERROR {}", error.code),
        None => format!("{error} in {sql}"),
    })
}

fn check(cases: &[(&str, &str)]) {
    let connection = connection();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(call, expected)| {
            let got = run(&connection, call);
            (got != *expected).then(|| format!("{call} = {got:?}, not {expected:?}"))
        })
        .collect();
    context::take_warnings();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn arithmetic() {
    check(&[
        ("+(1, 2)", "3"),
        ("+(9223372036854775807, 1)", "ERROR 1690"),
        ("+(1, 1.50)", "2.50"),
        ("+('3 apples', 1)", "4"),
        ("-(1, 0.1)", "0.9"),
        ("*(1.10, 1.1)", "1.210"),
        ("*(2, 1.5e0)", "3"),
        ("/(1, 3)", "0.3333"),
        ("/(1.00, 3)", "0.333333"),
        ("/(1, 0)", "NULL"),
        ("/(1e0, 4)", "0.25"),
        ("div(7, 2)", "3"),
        ("div(-7, 2)", "-3"),
        ("%(-7, 3)", "-1"),
        ("%(7.5, 2)", "1.5"),
        ("%(5, 0)", "NULL"),
        ("neg(5)", "-5"),
        ("neg(1.50)", "-1.50"),
        ("&(29, 15)", "13"),
        ("|(29, 15)", "31"),
        ("^(11, 3)", "8"),
        ("~(0)", "18446744073709551615"),
        ("<<(1, 2)", "4"),
        ("<<(1, 64)", "0"),
        (">>(4, 2)", "1"),
        ("bit_count(64)", "1"),
        ("+(18446744073709551614, 1)", "18446744073709551615"),
        ("-(1, 18446744073709551615)", "ERROR 1690"),
        ("+(NULL, 1)", "NULL"),
        ("+(DATE'2024-01-02', 1)", "20240103"),
        ("+(TIME'10:11:12.5', 0)", "101112.5"),
    ]);
}

#[test]
fn strings() {
    check(&[
        ("concat('My', 'S', 'QL')", "MySQL"),
        ("concat('a', NULL)", "NULL"),
        ("concat(14.30, 'x')", "14.30x"),
        ("concat_ws(',', 'First', NULL, 'Last')", "First,Last"),
        ("length('äb')", "3"),
        ("char_length('äb')", "2"),
        ("upper('straße')", "STRAßE"),
        ("lower('QUADRATICALLY')", "quadratically"),
        ("substring('Quadratically', 5)", "ratically"),
        ("substring('Quadratically', 5, 6)", "ratica"),
        ("substring('Sakila', -3)", "ila"),
        ("substring('Sakila', -5, 3)", "aki"),
        ("substring('Sakila', 0)", ""),
        ("left('foobarbar', 5)", "fooba"),
        ("right('foobarbär', 4)", "rbär"),
        ("trim('  bar   ')", "bar"),
        ("trim_leading('xxxbarxxx', 'x')", "barxxx"),
        ("trim_both('xxxbarxxx', 'x')", "bar"),
        ("trim_trailing('barxxyz', 'xyz')", "barx"),
        ("lpad('hi', 4, '??')", "??hi"),
        ("lpad('hi', 1, '??')", "h"),
        ("rpad('hi', 5, 'ab')", "hiaba"),
        ("replace('www.mysql.com', 'w', 'Ww')", "WwWwWw.mysql.com"),
        ("repeat('MySQL', 3)", "MySQLMySQLMySQL"),
        ("repeat('x', 0)", ""),
        ("space(3)", "   "),
        ("reverse('abä')", "äba"),
        ("insert('Quadratic', 3, 4, 'What')", "QuWhattic"),
        ("insert('Quadratic', -1, 4, 'What')", "Quadratic"),
        ("insert('Quadratic', 3, 100, 'What')", "QuWhat"),
        ("instr('foobarbar', 'BAR')", "4"),
        ("locate('bar', 'foobarbar', 5)", "7"),
        ("locate('xbar', 'foobar')", "0"),
        ("locate('É', 'café')", "4"),
        ("field('Bb', 'Aa', 'bb', 'Cc')", "2"),
        ("field(2, 1, 2.0)", "2"),
        ("find_in_set('b', 'a,b,c,d')", "2"),
        ("elt(2, 'Aa', 'Bb')", "Bb"),
        ("elt(3, 'Aa', 'Bb')", "NULL"),
        ("strcmp('text', 'text2')", "-1"),
        ("strcmp('A', 'a')", "0"),
        ("substring_index('www.mysql.com', '.', 2)", "www.mysql"),
        ("substring_index('www.mysql.com', '.', -2)", "mysql.com"),
        ("make_set(5, 'hello', 'nice', 'world')", "hello,world"),
        ("export_set(5, 'Y', 'N', ',', 4)", "Y,N,Y,N"),
        ("hex(255)", "FF"),
        ("hex('abc')", "616263"),
        ("unhex('4D7953514C')", "MySQL"),
        ("unhex('GG')", "NULL"),
        ("ascii('dx')", "100"),
        ("ord('ä')", "50084"),
        ("char(77, 121, 83)", "MyS"),
        ("format(12332.123456, 4)", "12,332.1235"),
        ("format(12332.2, 0)", "12,332"),
        ("quote('Don''t!')", "'Don\\'t!'"),
        ("bin(12)", "1100"),
        ("oct(12)", "14"),
        ("conv('a', 16, 2)", "1010"),
        ("conv('6E', 18, 8)", "172"),
        ("conv(-17, 10, -18)", "-H"),
        ("to_base64('abc')", "YWJj"),
        ("from_base64('YWJj')", "abc"),
        ("soundex('Hello')", "H400"),
        ("soundex('Quadratically')", "Q36324"),
        ("charset('a')", "utf8mb4"),
        ("coercibility('a')", "4"),
    ]);
}

#[test]
fn patterns() {
    check(&[
        ("like('David!', 'David_')", "1"),
        ("like('David!', '%D%v%')", "1"),
        ("like('abc', 'ABC')", "1"),
        ("like('abc', 'ab')", "0"),
        ("like('a%c', 'a\\\\%c')", "1"),
        ("like('abc', 'a\\\\%c')", "0"),
        ("like('David_', 'David|_', '|')", "1"),
        ("like('é', 'E')", "1"),
        ("like('aab', '%ab')", "1"),
        ("like('mississippi', 'm%iss%pi')", "1"),
        ("like('mississippi', '%x%')", "0"),
        ("like('', '%')", "1"),
        ("like('a', '')", "0"),
        ("like(_binary'abc', 'ABC')", "0"),
        ("like(NULL, 'a')", "NULL"),
        ("regexp('Michael!', '.*')", "1"),
        ("regexp('a', '^[A-Z]')", "1"),
        ("regexp_like('abc', 'ABC', 'c')", "0"),
        ("regexp('a', '(')", "ERROR 3691"),
        ("regexp_instr('dog cat dog', 'dog', 2)", "9"),
        ("regexp_substr('abc def ghi', '[a-z]+', 1, 3)", "ghi"),
        ("regexp_replace('a b c', 'b', 'X')", "a X c"),
        ("regexp_replace('abc def ghi', '[a-z]+', 'X', 1, 3)", "abc def X"),
        ("regexp_replace('john smith', '(\\\\w+) (\\\\w+)', '$2 $1')", "smith john"),
    ]);
}

#[test]
fn numbers() {
    check(&[
        ("abs(-32)", "32"),
        ("abs(-1.50)", "1.50"),
        ("sign(-32)", "-1"),
        ("ceil(1.23)", "2"),
        ("ceil(-1.23)", "-1"),
        ("floor(-1.23)", "-2"),
        ("floor(1.5e0)", "1"),
        ("round(-1.58)", "-2"),
        ("round(1.298, 1)", "1.3"),
        ("round(23.298, -1)", "20"),
        ("round(25e-1)", "2"),
        ("round(2.5)", "3"),
        ("round(150, -2)", "200"),
        ("truncate(1.999, 1)", "1.9"),
        ("truncate(122, -2)", "100"),
        ("truncate(-1.999, 1)", "-1.9"),
        ("sqrt(20)", "4.47213595499958"),
        ("sqrt(-16)", "NULL"),
        ("pow(2, -2)", "0.25"),
        ("ln(0)", "NULL"),
        ("log(2, 65536)", "16"),
        ("log10(100)", "2"),
        ("pi()", "3.141593"),
        ("degrees(3.141592653589793e0)", "180"),
        ("atan(-2, 2)", "-0.7853981633974483"),
        ("crc32('MySQL')", "3259397556"),
        ("mod(234, 10)", "4"),
        ("mod(34.5, 3)", "1.5"),
    ]);
}

#[test]
fn control() {
    check(&[
        ("if(1, 'a', 'b')", "a"),
        ("if(NULL, 1, 2.5)", "2.5"),
        ("if('abc', 1, 0)", "0"),
        ("ifnull(NULL, 10)", "10"),
        ("ifnull(1, 'x')", "1"),
        ("coalesce(NULL, NULL, 3)", "3"),
        ("nullif(1, 1)", "NULL"),
        ("nullif('a', 'A')", "NULL"),
        ("nullif(1, '2')", "1"),
        ("isnull(NULL)", "1"),
        ("greatest(2, 0)", "2"),
        ("greatest(34.0, 3.0, 5.0)", "34.0"),
        ("greatest('B', 'a', 'C')", "C"),
        ("least(1, NULL)", "NULL"),
        ("least(2, 1.5)", "1.5"),
        ("interval(23, 1, 15, 17, 30, 44, 200)", "3"),
        ("interval(10, 1, 10, 100, 1000)", "2"),
    ]);
}

#[test]
fn digests_and_addresses() {
    check(&[
        ("md5('testing')", "ae2b1fca515949e5d54fb22b8ed95575"),
        ("sha1('abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha2('abc', 224)", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ("sha2('abc', 1)", "NULL"),
        ("inet_aton('10.0.5.9')", "167773449"),
        ("inet_ntoa(167773449)", "10.0.5.9"),
        ("is_uuid('6ccd780c-baba-1026-9564-5b8c656024db')", "1"),
        ("format_bytes(512)", " 512 bytes"),
        ("format_bytes(18446644073709551615)", "16.00 EiB"),
        ("is_ipv4('10.0.5.256')", "0"),
    ]);
    let connection = connection();
    let id = "6ccd780c-baba-1026-9564-5b8c656024db";
    let round: String = connection
        .query_row(&format!("SELECT starling_bin_to_uuid(starling_uuid_to_bin('{id}',1),1)"), [], |r| {
            r.get(0)
        })
        .unwrap();
    assert_eq!(round, id);
    let swapped: Vec<u8> = connection
        .query_row(&format!("SELECT starling_uuid_to_bin('{id}',1)"), [], |r| r.get(0))
        .unwrap();
    assert_eq!(hex::encode(swapped), "1026baba6ccd780c95645b8c656024db");
}

#[test]
fn json() {
    check(&[
        ("json_extract('[10, 20, [30, 40]]', '$[1]')", "20"),
        ("json_extract('[10, 20, [30, 40]]', '$[2][*]')", "[30, 40]"),
        ("json_extract('{\"a\":{\"b\":\"x\"}}', '$.a.b')", "\"x\""),
        ("json_extract('{\"a\":1}', '$.a', '$.b')", "[1]"),
        ("json_extract('{\"a\":1}', '$.b')", "NULL"),
        ("json_extract('[1,2,3]', '$[last]')", "3"),
        ("json_extract('[1,2,3]', '$[0 to 1]')", "[1, 2]"),
        ("json_extract('{\"a\":{\"c\":1},\"b\":{\"c\":2}}', '$**.c')", "[1, 2]"),
        ("json_extract('x', '$')", "ERROR 3141"),
        ("json_extract('{}', 'a')", "ERROR 3143"),
        ("json_unquote('\"a\\\\tb\"')", "a\tb"),
        ("json_quote('a\"b')", "\"a\\\"b\""),
        ("json_array(1, 'abc', NULL, 1.5)", "[1, \"abc\", null, 1.5]"),
        ("json_object('id', 87, 'name', 'carrot')", "{\"id\": 87, \"name\": \"carrot\"}"),
        ("json_object('a', 1, NULL, 2)", "ERROR 3158"),
        (
            "json_set('{\"a\":1,\"b\":[2,3]}', '$.a', 10, '$.c', 'x')",
            "{\"a\": 10, \"b\": [2, 3], \"c\": \"x\"}",
        ),
        ("json_insert('{\"a\":1}', '$.a', 10, '$.c', 2)", "{\"a\": 1, \"c\": 2}"),
        ("json_replace('{\"a\":1}', '$.a', 10, '$.c', 2)", "{\"a\": 10}"),
        ("json_remove('[\"a\", [\"b\", \"c\"], \"d\"]', '$[1]')", "[\"a\", \"d\"]"),
        (
            "json_array_append('[\"a\", [\"b\", \"c\"], \"d\"]', '$[1]', 1)",
            "[\"a\", [\"b\", \"c\", 1], \"d\"]",
        ),
        ("json_array_insert('[1,2]', '$[1]', 9)", "[1, 9, 2]"),
        ("json_merge_patch('{\"a\":1,\"b\":2}', '{\"a\":3,\"b\":null}')", "{\"a\": 3}"),
        ("json_merge_preserve('[1, 2]', '[true]')", "[1, 2, true]"),
        ("json_contains('{\"a\":1,\"b\":[1,2]}', '1', '$.a')", "1"),
        ("json_contains('[1,2,[3]]', '[1,3]')", "1"),
        ("json_contains_path('{\"a\":1}', 'one', '$.a', '$.e')", "1"),
        ("json_contains_path('{\"a\":1}', 'all', '$.a', '$.e')", "0"),
        ("json_overlaps('[1,3]', '[3,4]')", "1"),
        ("json_search('[\"abc\", {\"x\":\"abc\"}]', 'all', 'abc')", "[\"$[0]\", \"$[1].x\"]"),
        ("json_length('{\"a\":1,\"b\":{\"c\":30}}')", "2"),
        ("json_depth('[10, {\"a\": 20}]')", "3"),
        ("json_keys('{\"bb\":1,\"a\":{\"c\":30}}')", "[\"a\", \"bb\"]"),
        ("json_type('[1]')", "ARRAY"),
        ("json_valid('{\"a\": 1}')", "1"),
        ("json_valid('hello')", "0"),
        ("json_valid(1)", "0"),
        ("json_value('{\"fname\":\"Joe\"}', '$.fname')", "Joe"),
        ("member of(17, '[23, \"abc\", 17]')", "1"),
        ("json_pretty('{\"a\":[1]}')", "{\n  \"a\": [\n    1\n  ]\n}"),
    ]);
}

#[test]
fn dates() {
    check(&[
        ("date('2003-12-31 01:02:03')", "2003-12-31"),
        ("time('2003-12-31 01:02:03.000123')", "01:02:03.000123"),
        ("time('10:11:12')", "10:11:12"),
        ("timestamp('2003-12-31')", "2003-12-31 00:00:00"),
        ("timestamp('2003-12-31 12:00:00', '12:00:00')", "2004-01-01 00:00:00"),
        ("year('1987-01-01')", "1987"),
        ("month('2008-02-03')", "2"),
        ("dayofmonth(DATE'2007-02-03')", "3"),
        ("quarter('2008-04-01')", "2"),
        ("dayofweek('2007-02-03')", "7"),
        ("weekday('2008-02-03 22:23:00')", "6"),
        ("dayofyear('2007-02-03')", "34"),
        ("week('2008-02-20')", "7"),
        ("week('2008-02-20', 0)", "7"),
        ("week('2008-02-20', 1)", "8"),
        ("week('2008-12-31', 1)", "53"),
        ("week('2000-01-01', 0)", "0"),
        ("week('2000-01-01', 2)", "52"),
        ("yearweek('1987-01-01')", "198652"),
        ("weekofyear('2008-02-20')", "8"),
        ("hour('272:59:59')", "272"),
        ("hour(TIMESTAMP'2008-02-03 10:05:03')", "10"),
        ("minute('2008-02-03 10:05:03')", "5"),
        ("microsecond('12:00:00.123456')", "123456"),
        ("dayname('2007-02-03')", "Saturday"),
        ("monthname('2008-02-03')", "February"),
        ("extract('year', '2019-07-02')", "2019"),
        ("extract('year_month', '2019-07-02 01:02:03')", "201907"),
        ("extract('day_minute', '2019-07-02 01:02:03')", "20102"),
        ("extract('microsecond', '2003-01-02 10:30:00.000123')", "123"),
        ("extract('hour', TIME'-26:00:00')", "-26"),
        ("to_days('2007-10-07')", "733321"),
        ("to_seconds('2009-11-29')", "63426672000"),
        ("from_days(730669)", "2000-07-03"),
        ("last_day('2004-02-05')", "2004-02-29"),
        ("last_day('2003-03-32')", "NULL"),
        ("time_to_sec('22:23:00')", "80580"),
        ("sec_to_time(2378)", "00:39:38"),
        ("makedate(2011, 32)", "2011-02-01"),
        ("makedate(2014, 0)", "NULL"),
        ("maketime(12, 15, 30)", "12:15:30"),
        ("period_add(200801, 2)", "200803"),
        ("period_diff(200802, 200703)", "11"),
        ("unix_timestamp('2015-11-13 10:20:19')", "1447410019"),
        ("unix_timestamp(TIMESTAMP'2015-11-13 10:20:19')", "1447410019"),
        ("unix_timestamp(TIMESTAMP'2015-11-13 10:20:19.012')", "1447410019.012"),
        ("from_unixtime(1447430881)", "2015-11-13 16:08:01"),
        ("from_unixtime(1447430881.5)", "2015-11-13 16:08:01.5"),
        ("from_unixtime(1447430881, '%Y %D %M %h:%i:%s')", "2015 13th November 04:08:01"),
        ("convert_tz('2004-01-01 12:00:00', '+00:00', '+10:00')", "2004-01-01 22:00:00"),
        ("date_format('2009-10-04 22:23:00', '%W %M %Y')", "Sunday October 2009"),
        (
            "date_format('1900-10-04 22:23:00', '%D %y %a %d %m %b %j')",
            "4th 00 Thu 04 10 Oct 277",
        ),
        (
            "date_format('1997-10-04 22:23:00', '%H %k %I %r %T %S %w')",
            "22 22 10 10:23:00 PM 22:23:00 00 6",
        ),
        ("date_format('1999-01-01', '%X %V')", "1998 52"),
        ("time_format('100:00:00', '%H %k %h %I %l')", "100 100 04 04 4"),
        ("str_to_date('01,5,2013', '%d,%m,%Y')", "2013-05-01"),
        ("str_to_date('May 1, 2013', '%M %d,%Y')", "2013-05-01"),
        ("str_to_date('09:30:17', '%h:%i:%s')", "09:30:17"),
        ("str_to_date('abc', 'abc')", "NULL"),
        ("str_to_date('200442 Monday', '%X%V %W')", "2004-10-18"),
        ("datediff('2007-12-31 23:59:59', '2007-12-30')", "1"),
        (
            "timediff('2008-12-31 23:59:59.000001', '2008-12-30 01:01:01.000002')",
            "46:58:57.999999",
        ),
        ("timediff('10:00:00', '09:00:00')", "01:00:00"),
        (
            "timediff(TIMESTAMP'2024-01-02 00:00:00', TIMESTAMP'2024-01-01 12:00:00')",
            "12:00:00",
        ),
        ("timestampdiff('month', '2003-02-01', '2003-05-01')", "3"),
        ("timestampdiff('year', '2002-05-01', '2001-01-01')", "-1"),
        ("timestampdiff('minute', '2003-02-01', '2003-05-01 12:05:55')", "128885"),
        (
            "addtime('2007-12-31 23:59:59.999999', '1 1:1:1.000002')",
            "2008-01-02 01:01:01.000001",
        ),
        ("addtime('01:00:00.999999', '02:00:00.999998')", "03:00:01.999997"),
        ("subtime(TIME'10:00:00', '01:00:00')", "09:00:00"),
        ("date_add('2018-05-01', 1, 'day')", "2018-05-02"),
        ("date_sub('2018-05-01', 1, 'year')", "2017-05-01"),
        ("date_add(DATE'2024-01-31', 1, 'month')", "2024-02-29"),
        ("date_add_time('2020-12-31 23:59:59', 1, 'second')", "2021-01-01 00:00:00"),
        ("date_add_time(DATE'2024-01-01', '1:30', 'hour_minute')", "2024-01-01 01:30:00"),
        (
            "date_add_time('2100-12-31 23:59:59', '1:1', 'minute_second')",
            "2101-01-01 00:01:00",
        ),
        (
            "date_sub_time('2025-01-01 00:00:00', '1 1:1:1', 'day_second')",
            "2024-12-30 22:58:59",
        ),
        (
            "date_add_micro('1992-12-31 23:59:59.000002', '1.999999', 'second_microsecond')",
            "1993-01-01 00:00:01.000001",
        ),
        (
            "date_add_time(TIMESTAMP'2024-01-01 00:00:00', 1.5, 'second')",
            "2024-01-01 00:00:01.5",
        ),
        ("date_add(NULL, 1, 'day')", "NULL"),
        ("date_add('9999-12-31', 1, 'day')", "NULL"),
        ("date_add('x', 1, 'day')", "NULL"),
    ]);
}

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
    for function in super::functions() {
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
