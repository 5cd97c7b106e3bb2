//! Stored values as JSON: numbers where every reader keeps them exact, text where not.
//!
//! | MySQL type | JSON |
//! |---|---|
//! | integers up to 2^53, YEAR, FLOAT, DOUBLE, BIT up to 2^53 | number |
//! | larger integers, DECIMAL | text |
//! | DATE, DATETIME, TIMESTAMP (UTC), TIME | text as MySQL writes it |
//! | character types, ENUM, SET (labels, commas between) | text |
//! | BINARY, VARBINARY, BLOB | base64 text |
//! | JSON | embedded |
//! | VECTOR | array of numbers |
//!
//! Must not know: feeds.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use starling_apply::{BaseType, ColumnType};
use starling_log::ValueRef;

/// The largest integer that a double holds exactly, and with it most JSON readers.
const SAFE: u64 = 1 << 53;

pub fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends `value` of a column of type `ty` (`None`: the column is gone) as JSON.
pub fn put(out: &mut Vec<u8>, ty: Option<&ColumnType>, value: ValueRef<'_>) {
    match value {
        ValueRef::Absent | ValueRef::Null => out.extend_from_slice(b"null"),
        ValueRef::Int(v) => integer(out, ty, v),
        ValueRef::Real(v) => real(out, ty, v),
        ValueRef::Text(v) => text(out, ty, v),
        ValueRef::Blob(v) => blob(out, ty, v),
    }
}

fn integer(out: &mut Vec<u8>, ty: Option<&ColumnType>, v: i64) {
    match ty.map(|t| t.base) {
        Some(BaseType::Enum) => {
            let labels = ty.map_or(&[][..], |t| &t.labels);
            let label = usize::try_from(v).ok().and_then(|v| v.checked_sub(1)).and_then(|i| labels.get(i));
            string(out, label.map_or("", String::as_str));
        }
        Some(BaseType::Set) => set(out, ty, v as u64),
        Some(BaseType::Time) => string(out, &time(v, ty.and_then(|t| t.decimals).unwrap_or(0))),
        Some(BaseType::Decimal) => string(out, &v.to_string()),
        _ if v.unsigned_abs() <= SAFE => {
            let _ = write!(out, "{v}");
        }
        _ => string(out, &v.to_string()),
    }
}

fn set(out: &mut Vec<u8>, ty: Option<&ColumnType>, mask: u64) {
    let labels = ty.map_or(&[][..], |t| &t.labels);
    let chosen: Vec<&str> = labels
        .iter()
        .enumerate()
        .filter(|(i, _)| *i < 64 && mask >> i & 1 == 1)
        .map(|(_, l)| l.as_str())
        .collect();
    string(out, &chosen.join(","));
}

fn real(out: &mut Vec<u8>, ty: Option<&ColumnType>, v: f64) {
    if !v.is_finite() {
        return out.extend_from_slice(b"null");
    }
    let mut buffer = ryu::Buffer::new();
    let text = match ty.map(|t| t.base) {
        // Its shortest form as the 32 bits it is.
        Some(BaseType::Float) => buffer.format_finite(v as f32),
        _ => buffer.format_finite(v),
    };
    out.extend_from_slice(text.as_bytes());
}

fn text(out: &mut Vec<u8>, ty: Option<&ColumnType>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match ty.map(|t| t.base) {
        // A line of the feed must stay a line, and JSON.
        Some(BaseType::Json) if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() && !bytes.contains(&b'\n') => {
            out.extend_from_slice(bytes);
        }
        Some(BaseType::BigInt | BaseType::Bit) => string(out, text.trim_start_matches('0')),
        Some(BaseType::Set) => set(out, ty, text.parse().unwrap_or(0)),
        _ => string(out, &text),
    }
}

fn blob(out: &mut Vec<u8>, ty: Option<&ColumnType>, bytes: &[u8]) {
    if ty.is_some_and(|t| t.base == BaseType::Vector) && bytes.len().is_multiple_of(4) {
        out.push(b'[');
        for (i, four) in bytes.chunks_exact(4).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let v = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            if v.is_finite() {
                out.extend_from_slice(ryu::Buffer::new().format_finite(v).as_bytes());
            } else {
                out.extend_from_slice(b"null");
            }
        }
        return out.push(b']');
    }
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

/// Microseconds as `[-]HH:MM:SS[.ffffff]`.
fn time(micros: i64, decimals: u8) -> String {
    let total = micros.unsigned_abs();
    let (seconds, fraction) = (total / 1_000_000, total % 1_000_000);
    let sign = if micros < 0 { "-" } else { "" };
    let mut text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if decimals > 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(&digits[..usize::from(decimals.min(6))]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(base: BaseType, value: ValueRef<'_>) -> String {
        let mut ty = ColumnType::new(base);
        ty.labels = vec!["a".into(), "b".into(), "c".into()];
        ty.decimals = matches!(base, BaseType::Time).then_some(3);
        let mut out = Vec::new();
        put(&mut out, Some(&ty), value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_type_has_its_form() {
        use BaseType as T;
        let cases = [
            (T::Int, ValueRef::Int(-5), "-5"),
            (T::BigInt, ValueRef::Int(1 << 53), "9007199254740992"),
            (T::BigInt, ValueRef::Int((1 << 53) + 1), "\"9007199254740993\""),
            (T::BigInt, ValueRef::Text(b"09223372036854775808"), "\"9223372036854775808\""),
            (T::Decimal, ValueRef::Text(b"-12.50"), "\"-12.50\""),
            (T::Decimal, ValueRef::Int(3), "\"3\""),
            (T::Double, ValueRef::Real(0.1), "0.1"),
            (T::Float, ValueRef::Real(f64::from(0.1f32)), "0.1"),
            (T::VarChar, ValueRef::Text("a\"\n€".as_bytes()), "\"a\\\"\\n€\""),
            (T::Enum, ValueRef::Int(2), "\"b\""),
            (T::Enum, ValueRef::Int(0), "\"\""),
            (T::Set, ValueRef::Int(5), "\"a,c\""),
            (T::Time, ValueRef::Int(-3_661_500_000), "\"-01:01:01.500\""),
            (T::Date, ValueRef::Text(b"2026-01-02"), "\"2026-01-02\""),
            (T::Blob, ValueRef::Blob(&[0, 255]), "\"AP8=\""),
            (T::Json, ValueRef::Text(b"{\"a\": [1, null]}"), "{\"a\": [1, null]}"),
            (T::Json, ValueRef::Text(b"{broken"), "\"{broken\""),
            (T::Vector, ValueRef::Blob(&[0, 0, 128, 63, 0, 0, 0, 64]), "[1.0,2.0]"),
            (T::Int, ValueRef::Null, "null"),
        ];
        for (base, value, expected) in cases {
            assert_eq!(json(base, value), expected, "{base:?}");
        }
    }

    #[test]
    fn a_column_that_is_gone_keeps_its_storage_class() {
        let mut out = Vec::new();
        put(&mut out, None, ValueRef::Int(7));
        put(&mut out, None, ValueRef::Text(b"x"));
        assert_eq!(out, b"7\"x\"");
    }
}
