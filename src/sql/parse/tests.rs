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
    assert_eq!(error(" /* nothing */ ;").code, 1065);
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
