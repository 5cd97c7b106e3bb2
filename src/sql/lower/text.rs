//! Identifiers and constants inside SQLite text.
//!
//! Promises: nothing that a client wrote reaches SQLite's parser except quoted.

/// A name in double quotes.
pub fn identifier(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    push_identifier(&mut out, name);
    out
}

pub fn push_identifier(out: &mut String, name: &str) {
    out.push('"');
    for c in name.chars() {
        // SQLite's text ends at a NUL: MySQL refuses it in names, and so it cannot stand for anything here.
        match c {
            '"' => out.push_str("\"\""),
            '\0' => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A string constant.
pub fn string(value: &str) -> String {
    if value.contains('\0') {
        return format!("CAST(x'{}' AS TEXT)", hex::encode(value));
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('\'');
    for c in value.chars() {
        if c == '\'' {
            out.push('\'');
        }
        out.push(c);
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(string("it's"), "'it''s'");
    }
}
