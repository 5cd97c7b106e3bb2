//! The grammar: what is accepted, what tree it gives, what is refused.

use super::*;
use crate::sql::ast::*;

fn parse(text: &str) -> Statement {
    match parse_one(text.as_bytes(), LexMode::default()) {
        Ok(parsed) => parsed.statement,
        Err(e) => panic!("{text}: {e}"),
    }
}

fn error(text: &str) -> SqlError {
    match parse_one(text.as_bytes(), LexMode::default()) {
        Ok(parsed) => panic!("{text}: {parsed:?}"),
        Err(e) => e,
    }
}

#[test]
fn every_form_is_accepted() {
    for text in include_str!("tests/accepted.sql").split(";\n") {
        let text = text.trim();
        if !text.is_empty() {
            parse(text);
        }
    }
}

#[test]
fn errors_are_mysqls() {
    let e = error("SELECT 1 +\n FROM t");
    assert_eq!(e.code, 1064);
    assert!(e.message.ends_with("near 'FROM t' at line 2"), "{}", e.message);
    assert!(error("SELECT (1").message.ends_with("near '' at line 1"));
    assert_eq!(error("").code, 1065);
    assert_eq!(error(" ; ").code, 1065);
    assert_eq!(parse("/*!100301 SET a = 1 */;"), Statement::Do(Vec::new()));
    assert_eq!(error("SHOW frobs").code, 1064);
    assert!(error("SELECT CAST(a AS frob)").message.contains("near 'frob)'"));
    assert_eq!(error("frobnicate").code, 1064);
    assert_eq!(error("SELECT count (*) FROM t").code, 1064);
    assert_eq!(error("SELECT sum (a) FROM t").code, 1630);
    assert_eq!(error("SELECT 1e999").code, 1367);
}

#[test]
fn several_statements_one_by_one() {
    let text = b"SELECT 1; SELECT ';' ;  ";
    let (_, rest) = parse_first(text, LexMode::default()).unwrap();
    assert_eq!(&text[rest..], b" SELECT ';' ;  ");
    let (_, end) = parse_first(&text[rest..], LexMode::default()).unwrap();
    assert_eq!(rest + end, text.len());
}

mod corpus;
mod precedence;

/// A small generator: the tests need no good randomness, but the same one each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Parses and scans: where both succeed, they number the same literals with the same values.
fn check_numbering(text: &[u8], mode: LexMode) {
    use crate::sql::fingerprint::scan;
    let mut raw = Vec::new();
    let scanned = scan(text, mode, &mut raw);
    let Ok(parsed) = parse_one(text, mode) else { return };
    if scanned.is_none() {
        return;
    }
    let shown = String::from_utf8_lossy(text);
    assert_eq!(raw.len(), parsed.literals.len(), "{shown}");
    for (literal, span) in raw.iter().zip(&parsed.literals) {
        let whole = &text[span.start as usize..span.end as usize];
        assert!(memchr::memmem::find(whole, literal.bytes).is_some(), "{shown}");
    }
    // the tree's own literals, found through its debug form: slot by slot the value that scanning gives
    let tree = format!("{:?}", parsed.statement);
    for (slot, literal) in raw.iter().enumerate() {
        if parsed.pinned.contains(&(slot as u32)) {
            continue;
        }
        let value = literal.decode(mode).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let wanted = format!("Literal {{ value: {value:?}, slot: {slot} }}");
        assert!(tree.contains(&wanted), "{shown}: slot {slot} is not {value:?}");
        let span = parsed.literals[slot];
        match parse_expr(&text[span.start as usize..span.end as usize], mode) {
            Ok(Expr::Literal { value: again, .. }) => assert_eq!(again, value, "{shown}"),
            other => panic!("{shown}: slot {slot} alone gives {other:?}"),
        }
    }
}

#[test]
fn scanning_and_parsing_number_alike() {
    for text in include_str!("tests/accepted.sql").split(";\n") {
        check_numbering(text.trim().as_bytes(), LexMode::default());
    }
}

fn query(text: &str) -> Query {
    match parse(text) {
        Statement::Query(query) => *query,
        other => panic!("{text}: {other:?}"),
    }
}

fn select(text: &str) -> Select {
    match query(text).body {
        SetExpr::Select(select) => *select,
        other => panic!("{text}: {other:?}"),
    }
}

/// How tables nest: `(a LEFT b)`.
fn joins(table: &TableRef) -> String {
    match table {
        TableRef::Table { name, .. } => name.name.clone(),
        TableRef::Derived { query, alias, .. } => {
            let shape = sets(&query.body);
            format!("{shape}:{}", alias.clone().unwrap_or_default())
        }
        TableRef::List(list) => format!("[{}]", list.iter().map(joins).collect::<Vec<_>>().join(" ")),
        TableRef::JsonTable { alias, .. } => alias.clone(),
        TableRef::Join { kind, left, right, on } => {
            let on = match on {
                JoinOn::None => String::new(),
                JoinOn::On(on) => format!(" {}", print::expr(on, None).unwrap()),
                JoinOn::Using(names) => format!(" using {}", names.join(" ")),
                JoinOn::Natural => " natural".into(),
            };
            format!("({} {kind:?} {}{on})", joins(left), joins(right))
        }
    }
}

fn sets(body: &SetExpr) -> String {
    match body {
        SetExpr::Select(select) => match &select.items[0] {
            SelectItem::Expr { expr, .. } => print::expr(expr, None).unwrap(),
            _ => "*".into(),
        },
        SetExpr::Query(query) => format!("<{}>", sets(&query.body)),
        SetExpr::SetOp { op, all, left, right } => {
            let all = if *all { " all" } else { "" };
            format!("({} {op:?}{all} {})", sets(left), sets(right))
        }
        SetExpr::Values(rows) => format!("{} rows", rows.len()),
        SetExpr::Table(name) => name.name.clone(),
    }
}

#[test]
fn joins_nest_as_in_mysql() {
    for (text, wanted) in [
        ("a JOIN b ON 1 JOIN c ON 2", "((a Inner b 1) Inner c 2)"),
        ("a LEFT JOIN b LEFT JOIN c ON 1 ON 2", "(a Left (b Left c 1) 2)"),
        ("a JOIN b JOIN c ON 1 ON 2", "(a Inner (b Inner c 1) 2)"),
        ("a JOIN b JOIN c JOIN d", "(((a Inner b) Inner c) Inner d)"),
        ("a JOIN b JOIN c LEFT JOIN d ON 1", "(((a Inner b) Inner c) Left d 1)"),
        ("a CROSS JOIN b LEFT JOIN c ON 1", "((a Inner b) Left c 1)"),
        ("a JOIN (b JOIN c ON 1) ON 2", "(a Inner (b Inner c 1) 2)"),
        (
            "a NATURAL LEFT JOIN b JOIN c USING (x, y)",
            "((a Left b natural) Inner c using x y)",
        ),
        ("a STRAIGHT_JOIN b RIGHT OUTER JOIN c ON 1", "((a Straight b) Right c 1)"),
        ("(a, b) JOIN c ON 1", "([a b] Inner c 1)"),
        ("((a JOIN b ON 1) JOIN c ON 2)", "((a Inner b 1) Inner c 2)"),
        ("((SELECT 1) UNION (SELECT 2)) x JOIN (((SELECT 3))) y", "((1 Union 2):x Inner 3:y)"),
        ("((SELECT 1) x JOIN b ON 1)", "(1:x Inner b 1)"),
    ] {
        let select = select(&format!("SELECT * FROM {text}"));
        assert_eq!(select.from.len(), 1, "{text}");
        assert_eq!(joins(&select.from[0]), wanted, "{text}");
    }
    assert_eq!(select("SELECT * FROM a, b JOIN c ON 1, d").from.len(), 3);
    assert!(error("SELECT * FROM a LEFT JOIN b").code == 1064);
}

#[test]
fn set_operations_have_their_precedence() {
    for (text, wanted) in [
        ("SELECT 1 UNION SELECT 2 INTERSECT SELECT 3", "(1 Union (2 Intersect 3))"),
        ("SELECT 1 INTERSECT SELECT 2 UNION ALL SELECT 3", "((1 Intersect 2) Union all 3)"),
        ("SELECT 1 UNION SELECT 2 EXCEPT SELECT 3", "((1 Union 2) Except 3)"),
        ("SELECT 1 UNION (SELECT 2 UNION ALL SELECT 3)", "(1 Union (2 Union all 3))"),
        ("(SELECT 1 LIMIT 1) UNION (SELECT 2)", "(<1> Union 2)"),
        ("((SELECT 1) UNION SELECT 2) INTERSECT TABLE t", "((1 Union 2) Intersect t)"),
    ] {
        assert_eq!(sets(&query(text).body), wanted, "{text}");
    }
    let both = query("(SELECT a FROM t ORDER BY b LIMIT 1) ORDER BY c LIMIT 2");
    assert!(matches!(both.body, SetExpr::Query(_)) && both.limit.is_some());
    assert_eq!(query("(((SELECT 1 LIMIT 1)))").limit, query("SELECT 1 LIMIT 1").limit);
    assert!(query("SELECT 1 UNION SELECT 2 LIMIT 1").limit.is_some());
}

#[test]
fn select_items_know_their_text_and_name() {
    let text = "SELECT a + 1 , 'x' 'y', now( ) AS n, b c, count(*) 'all', t.* FROM t";
    let got: Vec<_> = select(text)
        .items
        .iter()
        .filter_map(|item| match item {
            SelectItem::Expr { alias, text: span, .. } => Some((text[span.start as usize..span.end as usize].to_string(), alias.clone())),
            _ => None,
        })
        .collect();
    let name = |n: &str| Some(n.to_string());
    assert_eq!(
        got,
        vec![
            ("a + 1".to_string(), None),
            ("'x' 'y'".into(), None),
            ("now( )".into(), name("n")),
            ("b".into(), name("c")),
            ("count(*)".into(), name("all")),
        ]
    );
}

#[test]
fn literals_that_syntax_consumed_are_pinned() {
    let parsed = parse_one(
        b"SELECT 1 'a', CAST(b AS CHAR(5)), 'c' FROM t WHERE d = 6 LIMIT 7",
        LexMode::default(),
    )
    .unwrap();
    assert_eq!(parsed.literals.len(), 6);
    assert_eq!(parsed.pinned, vec![1, 2]);
}

#[test]
fn special_functions_arrive_under_one_name() {
    for (text, wanted) in [
        ("SUBSTR(a FROM 1 FOR 2)", "substring 3"),
        ("MID(a, 1)", "substring 2"),
        ("TRIM(LEADING 'x' FROM a)", "trim_leading 2"),
        ("TRIM(a)", "trim 1"),
        ("TRIM('x' FROM a)", "trim_both 2"),
        ("POSITION('a' IN b)", "locate 2"),
        ("LOCALTIMESTAMP", "now 0"),
        ("CURRENT_TIMESTAMP(3)", "now 1"),
        ("CURRENT_DATE", "curdate 0"),
        ("SCHEMA()", "database 0"),
        ("SESSION_USER()", "user 0"),
        ("STD(a)", "stddev_pop 1"),
        ("EXTRACT(DAY FROM a)", "extract 2"),
        ("Sleep(1)", "sleep 1"),
        ("REPLACE(a, b, c)", "replace 3"),
        ("VALUES(a)", "values 1"),
    ] {
        match parse_expr(text.as_bytes(), LexMode::default()).unwrap() {
            Expr::Function(call) => assert_eq!(format!("{} {}", call.name, call.args.len()), wanted, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn names_of_branches_take_all_their_forms() {
    use crate::sql::ast::{Xa, Xid};
    let xid = |gtrid: &[u8], bqual: &[u8], format| Xid {
        gtrid: gtrid.to_vec(),
        bqual: bqual.to_vec(),
        format,
    };
    for (text, wanted) in [
        ("'a'", xid(b"a", b"", 1)),
        ("'a', ''", xid(b"a", b"", 1)),
        ("0x6162, x'ff', 7", xid(b"ab", b"\xff", 7)),
        ("b'1', 'q', 2147483647", xid(&[1], b"q", 2_147_483_647)),
        ("0x61,x'',0xffffffff", xid(b"a", b"", 0xffff_ffff)),
    ] {
        assert_eq!(parse(&format!("XA PREPARE {text}")), Statement::Xa(Xa::Prepare(wanted.clone())));
        let start = Xa::Start {
            xid: wanted,
            join: false,
            resume: true,
        };
        assert_eq!(parse(&format!("xa begin {text} resume")), Statement::Xa(start));
    }
    let long = "x".repeat(65);
    for bad in [format!("XA START '{long}'"), format!("XA START 'a', '{long}'")] {
        assert!(parse_first(bad.as_bytes(), LexMode::default()).is_err(), "{bad}");
    }
    for bad in [
        "XA START",
        "XA START 'a', 'b', -1",
        "XA END 'a' SUSPEND FOR",
        "XA COMMIT 'a' ONE",
        "XA FORGET 'a'",
    ] {
        assert!(parse_first(bad.as_bytes(), LexMode::default()).is_err(), "{bad}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (text, wanted) in [
        ("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", "CREATE PROCEDURE"),
        ("CREATE DEFINER=`a`@`%` FUNCTION f() RETURNS INT RETURN 1", "CREATE FUNCTION"),
        ("ALTER EVENT e DISABLE", "ALTER EVENT"),
        ("FLUSH TABLES t FOR EXPORT", "FLUSH TABLES ... FOR EXPORT"),
        ("GRANT SELECT ON a.* TO b", "GRANT"),
        ("CREATE ROLE r", "CREATE ROLE"),
        ("ALTER VIEW v AS SELECT 1", "ALTER VIEW"),
        ("CREATE OR REPLACE TABLE t (a INT)", "CREATE OR REPLACE TABLE"),
        ("HELP 'x'", "HELP"),
    ] {
        assert_eq!(parse(text), Statement::Refused(wanted), "{text}");
    }
    assert_eq!(error("SELECT sum(a) OVER (ORDER BY b GROUPS 1 PRECEDING) FROM t").code, 1235);
}

#[test]
fn sql_modes_change_what_tokens_mean() {
    let mode = |mode: LexMode, text: &str| parse_one(text.as_bytes(), mode);
    let ignore_space = LexMode {
        ignore_space: true,
        ..LexMode::default()
    };
    assert!(mode(ignore_space, "SELECT count (*), now () FROM t").is_ok());
    assert!(mode(ignore_space, "CREATE TABLE count (a INT)").is_err());
    assert!(mode(LexMode::default(), "CREATE TABLE count (a INT)").is_ok());
    assert!(mode(LexMode::default(), "CREATE TABLE count(a INT)").is_err());
    let real = LexMode {
        real_as_float: true,
        ..LexMode::default()
    };
    for (lex_mode, wanted) in [(LexMode::default(), "double"), (real, "float")] {
        let Ok(parsed) = mode(lex_mode, "CREATE TABLE t (a REAL)") else {
            panic!()
        };
        let Statement::CreateTable(create) = parsed.statement else {
            panic!()
        };
        assert!(matches!(&create.elements[0], TableElement::Column(c) if c.ty.name == wanted));
    }
}
