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
fn check_numbering(text: &[u8]) {
    use crate::sql::fingerprint::scan;
    let mode = LexMode::default();
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
        check_numbering(text.trim().as_bytes());
    }
}
