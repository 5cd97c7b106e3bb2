//! The plan cache's key: one pass over a statement's text that hashes it without its literals, and lists those.
//!
//! Promises: literals are numbered exactly as the parser numbers them (`Parsed::literals`); two texts with one fingerprint have the same
//! tree but for literal values, and the same text between literals in every select expression (columns are named by it). Costs well
//! under a microsecond for a short statement, allocates nothing but `out`.
//! Must not know: the grammar, plans.

use std::cell::RefCell;

use super::ast::Literal;
use super::error::Result;
use super::lex::{LexMode, Lexer, Tok, is_charset};
use super::parse::literal_of;

/// Texts longer than this are not worth a cache entry.
pub const MAX_TEXT: usize = 4096;

/// Identifies a statement but for its literals' values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u128);

/// A word before a string that makes it something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix<'a> {
    None,
    Charset(&'a [u8]),
    Date,
    Time,
    Timestamp,
}

/// A literal as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawLiteral<'a> {
    /// The token, quotes included: what pinned literals are compared by.
    pub bytes: &'a [u8],
    tok: Tok,
    plain: bool,
    prefix: Prefix<'a>,
}

impl RawLiteral<'_> {
    /// What the parser makes of it.
    pub fn decode(&self, mode: LexMode) -> Result<Literal> {
        let charset = match self.prefix {
            Prefix::Charset(name) => Some(String::from_utf8_lossy(name).to_ascii_lowercase()),
            _ => None,
        };
        let literal = literal_of(self.tok, self.bytes, self.plain, charset, mode)?;
        let Literal::String { bytes, charset } = literal else {
            return Ok(literal);
        };
        let text = |bytes: Vec<u8>| super::parse::utf8(bytes);
        Ok(match self.prefix {
            Prefix::Date => Literal::Date(text(bytes)?),
            Prefix::Time => Literal::Time(text(bytes)?),
            Prefix::Timestamp => Literal::Timestamp(text(bytes)?),
            _ => Literal::String { bytes, charset },
        })
    }
}

thread_local! {
    static SKELETON: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Hashes `text` without its literals, which go to `out`. `None`: not for the cache (several statements, executable comments, too
/// long, not lexable).
pub fn scan<'a>(text: &'a [u8], mode: LexMode, out: &mut Vec<RawLiteral<'a>>) -> Option<Fingerprint> {
    out.clear();
    if text.len() > MAX_TEXT {
        return None;
    }
    SKELETON.with_borrow_mut(|skeleton| {
        skeleton.clear();
        build(text, mode, out, skeleton)?;
        Some(Fingerprint(xxhash_rust::xxh3::xxh3_128(skeleton)))
    })
}

/// Stands for the gap behind the first token: tracing comments go there, and no name comes from it.
const FIRST_GAP: u8 = 0;
/// Stands for a literal, with its class.
const LITERAL: u8 = 1;

fn build<'a>(text: &'a [u8], mode: LexMode, out: &mut Vec<RawLiteral<'a>>, skeleton: &mut Vec<u8>) -> Option<()> {
    let mut lexer = Lexer::without_keywords(text, mode);
    let mut last_end = 0;
    // where the bytes begin that are not in the skeleton yet
    let mut from = 0;
    let mut tokens = 0u32;
    let mut prefix = Prefix::None;
    let mut before = Tok::End;
    let mut ended = false;
    loop {
        let token = lexer.next_token();
        if lexer.versioned || token.tok == Tok::Bad {
            return None;
        }
        let (start, end) = (token.start as usize, token.end as usize);
        match token.tok {
            Tok::End => break,
            _ if ended => return None,
            Tok::Semicolon => {
                ended = true;
                continue;
            }
            _ => {}
        }
        match tokens {
            0 => from = start,
            1 => {
                skeleton.extend_from_slice(&text[from..last_end]);
                skeleton.push(FIRST_GAP);
                from = start;
            }
            _ => {}
        }
        tokens += 1;
        if token.tok.is_literal() {
            skeleton.extend_from_slice(&text[from..start]);
            from = end;
            let prefixed =
                matches!(token.tok, Tok::Str) || (matches!(prefix, Prefix::Charset(_)) && matches!(token.tok, Tok::Hex | Tok::Bits));
            let literal = RawLiteral {
                bytes: &text[start..end],
                tok: token.tok,
                plain: token.plain,
                prefix: if prefixed { prefix } else { Prefix::None },
            };
            skeleton.extend([LITERAL, class(&literal)]);
            out.push(literal);
        }
        prefix = match token.tok {
            Tok::Word if before != Tok::Dot => prefix_of(&text[start..end], before == Tok::LBrace),
            _ => Prefix::None,
        };
        before = token.tok;
        last_end = end;
    }
    skeleton.extend_from_slice(&text[from..last_end.max(from)]);
    Some(())
}

/// Literals of one class give the same types: a plan for one fits the other.
fn class(literal: &RawLiteral<'_>) -> u8 {
    match literal.tok {
        Tok::Integer => match literal.bytes.len() {
            0..=18 => 0,
            _ => match std::str::from_utf8(literal.bytes).ok().and_then(|d| d.parse::<u64>().ok()) {
                Some(value) if value <= i64::MAX as u64 => 0,
                Some(_) => 1,
                None => 2,
            },
        },
        Tok::Decimal => 3,
        Tok::Float => 4,
        Tok::Hex => 5,
        Tok::Bits => 6,
        Tok::National => 7,
        _ => 8,
    }
}

/// `odbc`: right behind a `{`.
fn prefix_of(word: &[u8], odbc: bool) -> Prefix<'_> {
    match word {
        [b'_', name @ ..] if is_charset(name) => Prefix::Charset(name),
        [b'd' | b'D'] if odbc => Prefix::Date,
        [b't' | b'T'] if odbc => Prefix::Time,
        [b't' | b'T', b's' | b'S'] if odbc => Prefix::Timestamp,
        [first, ..] if !matches!(first, b'd' | b'D' | b't' | b'T') => Prefix::None,
        // `{date '…'}` is the string alone
        _ if odbc => Prefix::None,
        _ if word.eq_ignore_ascii_case(b"date") => Prefix::Date,
        _ if word.eq_ignore_ascii_case(b"time") => Prefix::Time,
        _ if word.eq_ignore_ascii_case(b"timestamp") => Prefix::Timestamp,
        _ => Prefix::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str) -> Option<Fingerprint> {
        scan(text.as_bytes(), LexMode::default(), &mut Vec::new())
    }

    #[test]
    fn literals_spaces_at_the_ends_and_leading_comments_do_not_count() {
        let one = print("SELECT a FROM t WHERE b = 1 AND c = 'x'");
        assert!(one.is_some());
        for same in [
            "SELECT a FROM t WHERE b = 22 AND c = 'it''s'",
            "  SELECT   a FROM t WHERE b = 1 AND c = '' ; ",
            "/* trace=7 */ SELECT /* trace=8 */ a FROM t WHERE b = 1 AND c = \"x\" -- end",
        ] {
            assert_eq!(print(same), one, "{same}");
        }
    }

    #[test]
    fn everything_else_does() {
        let texts = [
            "SELECT a FROM t WHERE b = 1",
            "SELECT A FROM t WHERE b = 1",
            "SELECT a FROM t WHERE b = '1'",
            "SELECT a FROM t WHERE b = 1.0",
            "SELECT a FROM t WHERE b = 1e0",
            "SELECT a FROM t WHERE b = 9223372036854775808",
            "SELECT a FROM t WHERE b = 99999999999999999999",
            "SELECT a FROM t WHERE b = x'01'",
            "SELECT a FROM t WHERE b = b'01'",
            "SELECT a FROM t WHERE b = N'1'",
            "SELECT a FROM t WHERE b = DATE '1'",
            "SELECT a FROM t WHERE b = _latin1'1'",
            "SELECT a FROM t WHERE b = NULL",
            "SELECT a FROM t WHERE b = TRUE",
            "SELECT a FROM t WHERE b = -1",
            "SELECT a FROM t WHERE b = (1)",
            "SELECT a FROM t WHERE b IN (1, 1)",
            "SELECT a FROM t WHERE b IN (1)",
            "SELECT a  FROM t WHERE b = 1",
            "SELECTa FROM t WHERE b = 1",
            "SELECT a FROM t WHERE b = ?",
            "SELECT a FROM t WHERE b = `1`",
            "SELECT a FROM t WHERE b = @a",
            "SELECT a FROM t WHERE b = @'1'",
        ];
        let mut seen = std::collections::HashMap::new();
        for text in texts {
            let found = print(text);
            assert!(found.is_some(), "{text}");
            if let Some(other) = seen.insert(found, text) {
                panic!("{text} = {other}");
            }
        }
    }

    #[test]
    fn some_texts_are_not_for_the_cache() {
        for text in ["SELECT 1; SELECT 2", "/*!40000 SELECT */ 1", "SELECT 'open", "SELECT 1 /* open"] {
            assert_eq!(print(text), None, "{text}");
        }
        assert_eq!(print(&format!("SELECT '{}'", "x".repeat(MAX_TEXT))), None);
        assert!(print("SELECT ';' ;").is_some());
    }

    #[test]
    fn literals_come_back_as_the_parser_has_them() {
        let mut raw = Vec::new();
        let mode = LexMode::default();
        scan(
            br"SELECT 1, 'a\n' 'b', _latin1'c', DATE '2020-01-01', t.date 'd', {t '10:00:00'}, 0x41",
            mode,
            &mut raw,
        )
        .unwrap();
        let values: Vec<Literal> = raw.iter().map(|r| r.decode(mode).unwrap()).collect();
        let string = |text: &str, charset: Option<&str>| Literal::String {
            bytes: text.as_bytes().to_vec(),
            charset: charset.map(str::to_string),
        };
        assert_eq!(
            values,
            vec![
                Literal::Integer(1),
                string("a\nb", None),
                string("c", Some("latin1")),
                Literal::Date("2020-01-01".into()),
                string("d", None),
                Literal::Time("10:00:00".into()),
                Literal::Hex {
                    bytes: b"A".to_vec(),
                    charset: None
                },
            ]
        );
    }
}
