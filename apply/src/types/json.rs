//! JSON documents: reading, and printing them as MySQL does (keys by length, then by bytes; `, ` and `: `).
//!
//! Promises: equal documents print equally (whatever order their keys came in); the last of equal keys wins.
//! Limit: numbers are 64-bit integers or doubles (a DECIMAL inside a document is a double). Must not know: paths, functions.

pub use serde_json::Value as Json;

use super::text;

/// Why a text is not JSON, in MySQL's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    pub message: &'static str,
    pub position: usize,
}

pub fn parse(input: &[u8]) -> Result<Json, JsonError> {
    serde_json::from_slice(input).map_err(|error| describe(input, &error))
}

fn describe(input: &[u8], error: &serde_json::Error) -> JsonError {
    let line_start: usize = input
        .split_inclusive(|b| *b == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let position = (line_start + error.column()).saturating_sub(1).min(input.len());
    if input.iter().all(u8::is_ascii_whitespace) {
        return JsonError {
            message: "The document is empty.",
            position: input.len(),
        };
    }
    let text = error.to_string();
    let message = if text.starts_with("trailing characters") {
        "The document root must not follow by other values."
    } else if text.starts_with("expected `:`") {
        "Missing a colon after a name of object member."
    } else if text.starts_with("key must be a string") || text.starts_with("trailing comma") {
        "Missing a name for object member."
    } else if text.starts_with("expected `,` or `}`") || text.starts_with("EOF while parsing an object") {
        "Missing a comma or } after an object member."
    } else if text.starts_with("expected `,` or `]`") || text.starts_with("EOF while parsing a list") {
        "Missing a comma or ] after an array element."
    } else if text.starts_with("EOF while parsing a string") {
        "Missing a closing quotation mark in string."
    } else if text.starts_with("invalid escape") {
        "Invalid escape character in string."
    } else if text.starts_with("control character") {
        "Invalid encoding in string."
    } else {
        "Invalid value."
    };
    JsonError { message, position }
}

/// The text as MySQL would print it.
pub fn normalize(input: &[u8]) -> Result<Vec<u8>, JsonError> {
    let document = parse(input)?;
    let mut out = Vec::with_capacity(input.len() + 16);
    write(&mut out, &document);
    Ok(out)
}

pub fn to_string(document: &Json) -> String {
    let mut out = Vec::new();
    write(&mut out, document);
    String::from_utf8_lossy(&out).into_owned()
}

pub fn write(out: &mut Vec<u8>, document: &Json) {
    match document {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Number(n) => write_number(out, n),
        Json::String(s) => write_string(out, s),
        Json::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                write(out, item);
            }
            out.push(b']');
        }
        Json::Object(members) => {
            let mut sorted: Vec<(&String, &Json)> = members.iter().collect();
            sorted.sort_unstable_by(|a, b| key_order(a.0, b.0));
            out.push(b'{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                write_string(out, key);
                out.extend_from_slice(b": ");
                write(out, value);
            }
            out.push(b'}');
        }
    }
}

/// MySQL's order of an object's keys.
pub fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn write_number(out: &mut Vec<u8>, number: &serde_json::Number) {
    if let Some(v) = number.as_i64() {
        return text::write_i64(out, v);
    }
    if let Some(v) = number.as_u64() {
        return out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes());
    }
    let start = out.len();
    text::write_double(out, number.as_f64().unwrap_or(0.0));
    // a double stays one when it is read again
    if !out[start..].iter().any(|b| matches!(b, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

/// With quotes and escapes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(normalize(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn printed_as_mysql_prints() {
        assert_eq!(
            shown(r#"{"bb":1,"a":[1,2.0,1e20],"c":null}"#),
            r#"{"a": [1, 2.0, 1e20], "c": null, "bb": 1}"#
        );
        assert_eq!(shown(r#"{"a":1,"a":2}"#), r#"{"a": 2}"#);
        assert_eq!(shown("\"a\\u0001\\n\\/é\""), "\"a\\u0001\\n/é\"");
        assert_eq!(shown("18446744073709551615"), "18446744073709551615");
        assert_eq!(shown("-0.5"), "-0.5");
        assert_eq!(shown(" [ ] "), "[]");
    }

    #[test]
    fn errors_name_the_place() {
        assert_eq!(
            parse(b"abc").unwrap_err(),
            JsonError {
                message: "Invalid value.",
                position: 0
            }
        );
        assert_eq!(parse(b"").unwrap_err().message, "The document is empty.");
        assert_eq!(
            parse(b"{\"a\" 1}").unwrap_err().message,
            "Missing a colon after a name of object member."
        );
        assert_eq!(parse(b"[1 2]").unwrap_err().message, "Missing a comma or ] after an array element.");
    }
}
