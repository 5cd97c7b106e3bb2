//! Literals and parameters into the values of a plan's arguments.
//!
//! Promises: `How::Cast` yields a value of the argument's type; `How::Compare` one that compares with stored values of that
//! type as MySQL compares them, without rounding: shorter or longer than a stored value where that keeps the order.
//! Must not know: where the input came from.
//!
//! Why that works: dates and times are compared as text, and a text that goes on (`… 10:00:00.5`) sorts behind its beginning; integers
//! compare with REALs by value; DECIMAL's collation compares by value.

use starling_apply::types::store::{Input, StoreMode, store};
use starling_apply::types::{decimal::Decimal, temporal, text};
use starling_apply::{BaseType, ColumnType};
use starling_log::Value;

use crate::sql::error::{Result, SqlError};
use crate::sql::plan::How;
use crate::sql::types::Ty;

/// The value of an argument of type `ty`. `zone_seconds`: the session's time zone, east of UTC.
pub fn value(input: Input<'_>, ty: &Ty, how: How, zone_seconds: i32) -> Result<Value> {
    if input == Input::Null {
        return Ok(Value::Null);
    }
    match how {
        How::Cast => cast(input, &ty.ty, zone_seconds),
        How::Compare => comparable(input, &ty.ty, zone_seconds),
    }
}

/// The value of x'…' and b'…': a number where numbers are, bytes elsewhere.
pub fn bits(bytes: &[u8], ty: &Ty, how: How, zone_seconds: i32) -> Result<Value> {
    if !is_number(&ty.ty) {
        return value(Input::Bytes(bytes), ty, how, zone_seconds);
    }
    // MySQL takes the last eight bytes of a longer one.
    let tail = &bytes[bytes.len().saturating_sub(8)..];
    let number = tail.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    value(Input::UInt(number), ty, how, zone_seconds)
}

fn is_number(ty: &ColumnType) -> bool {
    use BaseType::*;
    ty.is_integer() || matches!(ty.base, Float | Double | Decimal | Bit | Year | Enum | Set)
}

fn mode(zone_seconds: i32, strict: bool) -> StoreMode {
    StoreMode {
        strict,
        zone_seconds,
        ..StoreMode::LENIENT
    }
}

fn cast(input: Input<'_>, ty: &ColumnType, zone_seconds: i32) -> Result<Value> {
    // A plan's type knows the length of the text it was made for; the value may be any other one.
    if ty.is_character() {
        return Ok(Value::Text(characters(&input)));
    }
    if ty.is_binary() && ty.base != BaseType::Binary {
        return Ok(Value::Blob(characters(&input)));
    }
    let mut issue = None;
    store(ty, input, &mode(zone_seconds, false), &mut issue).map_err(|e| SqlError::new(e.code(), e.message("?", 1)))
}

/// MySQL's text of an input.
fn characters(input: &Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match input {
        Input::Null => {}
        Input::Int(v) => text::write_i64(&mut out, *v),
        Input::UInt(v) => out.extend(v.to_string().as_bytes()),
        Input::Double(v) => text::write_double(&mut out, *v),
        Input::Text(t) => out.extend_from_slice(t),
        Input::Decimal(t) | Input::Bytes(t) | Input::DateTime(t) | Input::Json(t) => out.extend_from_slice(t),
        Input::Time(v) => text::write_time(&mut out, *v, if v % 1_000_000 == 0 { 0 } else { 6 }),
    }
    out
}

fn comparable(input: Input<'_>, ty: &ColumnType, zone_seconds: i32) -> Result<Value> {
    use BaseType::*;
    match ty.base {
        TinyInt | SmallInt | MediumInt | Int | BigInt | Year | Bit => Ok(integer(&input)),
        Float | Double => Ok(Value::Real(number(&input))),
        Decimal => Ok(Value::Text(decimal(&input))),
        Date => datetime(input, 0, 0).map(date_part),
        DateTime => datetime(input, ty.decimals.unwrap_or(0), 0),
        Timestamp => datetime(input, ty.decimals.unwrap_or(0), zone_seconds),
        Time => time(input),
        Enum => Ok(Value::Int(label(&input, ty))),
        Set => Ok(Value::Int(members(&input, ty))),
        Json | Vector => cast(input, ty, zone_seconds),
        Binary => {
            // Stored padded: a shorter constant is not the same, a longer one neither.
            Ok(Value::Blob(characters(&input)))
        }
        _ => cast(input, ty, zone_seconds),
    }
}

/// An integer where the input is one, else a REAL between the integers.
fn integer(input: &Input<'_>) -> Value {
    match input {
        Input::Int(v) => Value::Int(*v),
        Input::UInt(v) => unsigned(i128::from(*v)),
        Input::Double(v) => real(*v),
        Input::Decimal(t) => exact(t),
        Input::Time(v) => Value::Int(temporal::time_number(*v)),
        other => {
            let text = characters(other);
            match std::str::from_utf8(&text).ok().and_then(|t| t.trim().parse::<i128>().ok()) {
                Some(whole) if (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&whole) => unsigned(whole),
                _ => real(number(other)),
            }
        }
    }
}

fn unsigned(v: i128) -> Value {
    match i64::try_from(v) {
        Ok(v) => Value::Int(v),
        Err(_) => Value::Text(format!("{v:020}").into_bytes()),
    }
}

/// Integers from 2^63 on are stored as text, behind all numbers: a REAL there must be text as well.
fn real(v: f64) -> Value {
    const EDGE: f64 = 9_223_372_036_854_775_808.0;
    if v >= EDGE {
        return unsigned((v as i128).min(99_999_999_999_999_999_999));
    }
    if v.fract() == 0.0 && v >= -EDGE {
        return Value::Int(v as i64);
    }
    Value::Real(v)
}

fn exact(digits: &[u8]) -> Value {
    let parsed = Decimal::parse_prefix(digits).value;
    let whole = parsed.truncate(0);
    match whole.to_i128() {
        Some(v) if whole.compare(&parsed).is_eq() && (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&v) => unsigned(v),
        _ => real(parsed.to_f64()),
    }
}

fn number(input: &Input<'_>) -> f64 {
    match input {
        Input::Int(v) => *v as f64,
        Input::UInt(v) => *v as f64,
        Input::Double(v) => *v,
        Input::Time(v) => temporal::time_number(*v) as f64,
        Input::DateTime(t) => digits_only(t),
        other => leading_number(&characters(other)),
    }
}

/// A date's number: `2020-01-02 03:04:05` is 20200102030405.
fn digits_only(text: &[u8]) -> f64 {
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(at) => text.split_at(at),
        None => (text, &[][..]),
    };
    let digits: String = whole.iter().filter(|b| b.is_ascii_digit()).map(|b| char::from(*b)).collect();
    format!("{digits}{}", String::from_utf8_lossy(fraction)).parse().unwrap_or(0.0)
}

/// The number that a text begins with; 0 without one.
pub(crate) fn leading_number(text: &[u8]) -> f64 {
    let start = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let text = &text[start..];
    let mut end = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let run = |from: usize| text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = run(end);
    end += whole;
    let mut fraction = 0;
    if text.get(end) == Some(&b'.') {
        fraction = run(end + 1);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return 0.0;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let digits = text.get(end + 1 + sign..).map_or(0, |_| run(end + 1 + sign));
        if digits > 0 {
            end += 1 + sign + digits;
        }
    }
    std::str::from_utf8(&text[..end]).ok().and_then(|t| t.parse().ok()).unwrap_or(0.0)
}

fn decimal(input: &Input<'_>) -> Vec<u8> {
    match input {
        Input::Double(v) => Decimal::from_f64(*v).to_bytes(),
        Input::Time(v) => temporal::time_number(*v).to_string().into_bytes(),
        Input::DateTime(t) => Decimal::from_f64(digits_only(t)).to_bytes(),
        other => {
            let text = characters(other);
            let trimmed = text.trim_ascii();
            match Decimal::parse(trimmed) {
                Some(exact) => exact.to_bytes(),
                None => Decimal::from_f64(leading_number(trimmed)).to_bytes(),
            }
        }
    }
}

/// A DATETIME's text with as many digits as it needs, but no fewer than the column has.
fn datetime(input: Input<'_>, decimals: u8, zone_seconds: i32) -> Result<Value> {
    let shown = String::from_utf8_lossy(&characters(&input)).into_owned();
    let mut ty = ColumnType::new(BaseType::DateTime);
    ty.decimals = Some(6);
    let mut issue = None;
    let stored = store(&ty, input, &mode(0, true), &mut issue);
    let Ok(Value::Text(text)) = stored else {
        return Err(SqlError::new(1525, format!("Incorrect DATETIME value: '{shown}'")));
    };
    let mut text = if zone_seconds == 0 {
        text
    } else {
        temporal::shift(&text, -zone_seconds).unwrap_or(text)
    };
    let least = 19 + if decimals > 0 { usize::from(decimals) + 1 } else { 0 };
    while text.len() > least && matches!(text.last(), Some(b'0')) {
        text.pop();
    }
    if text.last() == Some(&b'.') {
        text.pop();
    }
    Ok(Value::Text(text))
}

/// What compares with DATEs: a DATETIME at midnight is the date itself, any other one sorts behind it.
fn date_part(value: Value) -> Value {
    match value {
        Value::Text(mut text) => {
            if text.ends_with(b" 00:00:00") {
                text.truncate(10);
            }
            Value::Text(text)
        }
        other => other,
    }
}

fn time(input: Input<'_>) -> Result<Value> {
    let shown = String::from_utf8_lossy(&characters(&input)).into_owned();
    let mut ty = ColumnType::new(BaseType::Time);
    ty.decimals = Some(6);
    let mut issue = None;
    store(&ty, input, &mode(0, true), &mut issue).map_err(|_| SqlError::new(1525, format!("Incorrect TIME value: '{shown}'")))
}

/// An ENUM's number; -1, which no row has, for a text that is none of its labels.
fn label(input: &Input<'_>, ty: &ColumnType) -> i64 {
    if let Input::Int(v) = input {
        return *v;
    }
    if let Input::UInt(v) = input {
        return i64::try_from(*v).unwrap_or(-1);
    }
    let text = characters(input);
    if text.is_empty() {
        return 0;
    }
    position(&text, ty).map_or(-1, |p| p as i64 + 1)
}

fn position(text: &[u8], ty: &ColumnType) -> Option<usize> {
    let text = String::from_utf8_lossy(text);
    let binary = ty.collation.as_deref().is_some_and(|c| c.ends_with("_bin"));
    let folded = text.to_lowercase();
    ty.labels
        .iter()
        .position(|l| if binary { *l == text } else { l.to_lowercase() == folded })
}

/// A SET's mask; -1 for a text with anything that is no member.
fn members(input: &Input<'_>, ty: &ColumnType) -> i64 {
    if let Input::Int(v) = input {
        return *v;
    }
    let text = characters(input);
    if text.is_empty() {
        return 0;
    }
    let mut mask = 0i64;
    for part in text.split(|b| *b == b',') {
        match position(part, ty) {
            Some(bit) if bit < 63 => mask |= 1 << bit,
            _ => return -1,
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn compare(base: BaseType, input: Input<'_>) -> Value {
        let ty = Ty::of(ColumnType::new(base), false);
        value(input, &ty, How::Compare, 0).unwrap()
    }

    fn words(text: &str) -> Input<'_> {
        Input::Text(Cow::Borrowed(text.as_bytes()))
    }

    fn stored(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn integers_are_never_rounded_for_comparison() {
        assert_eq!(compare(BaseType::Int, Input::Decimal(b"5.5")), Value::Real(5.5));
        assert_eq!(compare(BaseType::Int, Input::Decimal(b"5.0")), Value::Int(5));
        assert_eq!(compare(BaseType::Int, words("12abc")), Value::Int(12));
        assert_eq!(
            compare(BaseType::BigInt, words("9007199254740993")),
            Value::Int(9_007_199_254_740_993)
        );
        assert_eq!(compare(BaseType::BigInt, Input::UInt(u64::MAX)), stored("18446744073709551615"));
    }

    #[test]
    fn dates_keep_what_the_column_has_no_room_for() {
        assert_eq!(compare(BaseType::Date, words("2020-01-02")), stored("2020-01-02"));
        assert_eq!(compare(BaseType::Date, words("2020-01-02 10:00:00")), stored("2020-01-02 10:00:00"));
        assert_eq!(
            compare(BaseType::DateTime, words("2020-01-02 10:00:00.50")),
            stored("2020-01-02 10:00:00.5")
        );
        assert_eq!(compare(BaseType::DateTime, words("2020-01-02")), stored("2020-01-02 00:00:00"));
        assert_eq!(compare(BaseType::DateTime, Input::Int(20_200_102)), stored("2020-01-02 00:00:00"));
    }

    #[test]
    fn a_text_that_is_no_date_is_refused() {
        let ty = Ty::temporal(BaseType::Date, 0, false);
        assert_eq!(value(words("soon"), &ty, How::Compare, 0).unwrap_err().code, 1525);
    }

    #[test]
    fn timestamps_are_sought_in_utc() {
        let ty = Ty::of(ColumnType::new(BaseType::Timestamp), false);
        let found = value(words("2020-01-02 10:00:00"), &ty, How::Compare, 3600).unwrap();
        assert_eq!(found, stored("2020-01-02 09:00:00"));
    }

    #[test]
    fn enums_by_label_or_number() {
        let mut ty = ColumnType::new(BaseType::Enum);
        ty.labels = vec!["red".into(), "green".into()];
        let ty = Ty::of(ty, false);
        let find = |input| value(input, &ty, How::Compare, 0).unwrap();
        assert_eq!(find(words("GREEN")), Value::Int(2));
        assert_eq!(find(words("blue")), Value::Int(-1));
        assert_eq!(find(Input::Int(1)), Value::Int(1));
    }

    #[test]
    fn a_cast_keeps_texts_of_any_length() {
        let ty = Ty::text(3, "utf8mb4_0900_ai_ci", false);
        assert_eq!(value(words("longer"), &ty, How::Cast, 0).unwrap(), stored("longer"));
        assert_eq!(bits(b"\x01\x00", &Ty::unsigned(false), How::Cast, 0).unwrap(), Value::Int(256));
    }

    #[test]
    fn numbers_in_front_of_text() {
        for (text, expected) in [
            ("12abc", 12.0),
            ("  -1.5e2x", -150.0),
            ("abc", 0.0),
            (".5", 0.5),
            ("1e", 1.0),
            ("", 0.0),
        ] {
            assert_eq!(leading_number(text.as_bytes()), expected, "{text}");
        }
    }
}
