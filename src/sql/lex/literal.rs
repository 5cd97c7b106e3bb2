//! What literal tokens mean: escapes, hexadecimal digits, bits, charset names.
//!
//! Promises: decoding what the lexer accepted cannot fail. Must not know: charsets beyond their names (bytes stay as sent).

use super::{LexMode, Lexer};

/// The value of a string token (`raw`: from quote to quote, several adjacent strings allowed, `N` before them allowed).
pub fn decode_string(raw: &[u8], plain: bool, mode: LexMode) -> Vec<u8> {
    let raw = match raw.first() {
        Some(b'n' | b'N') => &raw[1..],
        _ => raw,
    };
    if plain && raw.len() >= 2 {
        return raw[1..raw.len() - 1].to_vec();
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut lexer = Lexer::new(raw, mode);
    while lexer.skip_gap().is_ok() && lexer.pos < raw.len() {
        let start = lexer.pos;
        if lexer.one_string().is_none() {
            break;
        }
        unescape(&raw[start..lexer.pos], mode, &mut out);
    }
    out
}

/// One quoted part: doubled quotes, and backslash escapes unless the mode has none.
fn unescape(part: &[u8], mode: LexMode, out: &mut Vec<u8>) {
    let (Some(&quote), true) = (part.first(), part.len() >= 2) else {
        return;
    };
    let inner = &part[1..part.len() - 1];
    let mut at = 0;
    while at < inner.len() {
        let b = inner[at];
        at += 1;
        if b == quote {
            at += 1;
            out.push(quote);
        } else if b == b'\\' && !mode.no_backslash_escapes && at < inner.len() {
            let escaped = inner[at];
            at += 1;
            match escaped {
                b'0' => out.push(0),
                b'b' => out.push(8),
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'Z' => out.push(26),
                // patterns keep these for LIKE
                b'%' | b'_' => out.extend([b'\\', escaped]),
                other => out.push(other),
            }
        } else {
            out.push(b);
        }
    }
}

/// A quoted identifier's name.
pub fn decode_ident(raw: &[u8], plain: bool) -> Vec<u8> {
    let (Some(&quote), true) = (raw.first(), raw.len() >= 2) else {
        return raw.to_vec();
    };
    let inner = &raw[1..raw.len() - 1];
    if plain {
        return inner.to_vec();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut at = 0;
    while at < inner.len() {
        out.push(inner[at]);
        at += if inner[at] == quote { 2 } else { 1 };
    }
    out
}

/// The digits of `x'…'`, `0x…`, `b'…'`, `0b…`.
fn digits(raw: &[u8]) -> &[u8] {
    let inner = raw.get(2..).unwrap_or(&[]);
    inner.strip_suffix(b"'").unwrap_or(inner)
}

pub fn decode_hex(raw: &[u8]) -> Vec<u8> {
    let digits = digits(raw);
    let value = |d: u8| (d as char).to_digit(16).unwrap_or(0) as u8;
    let odd = digits.len() % 2;
    let mut out = Vec::with_capacity(digits.len() / 2 + 1);
    if odd == 1 {
        out.push(value(digits[0]));
    }
    out.extend(digits[odd..].chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])));
    out
}

pub fn decode_bits(raw: &[u8]) -> Vec<u8> {
    digits(raw)
        .rchunks(8)
        .rev()
        .map(|chunk| chunk.iter().fold(0u8, |byte, d| byte << 1 | (d - b'0')))
        .collect()
}

/// Whether a word like `_utf8mb4` (without the underscore) names a charset: only then it introduces a string.
pub fn is_charset(name: &[u8]) -> bool {
    const CHARSETS: [&str; 43] = [
        "armscii8", "ascii", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932", "dec8",
        "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1",
        "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8",
        "utf8mb3", "utf8mb4", "filename",
    ];
    name.len() >= 3 && CHARSETS.iter().any(|c| c.as_bytes().eq_ignore_ascii_case(name))
}
