//! Conversions at run time: what the functions named in `convert` do.
//!
//! Promises: implicit conversions never fail (a bad number is 0, a bad date NULL, each with MySQL's warning 1292); `store` raises
//! MySQL's errors when the statement is strict. Must not know: how a conversion was decided on.

use std::cmp::Ordering;
use std::sync::Arc;

use rusqlite::types::{Value, ValueRef};
use starling_apply::types::decimal::{self, Decimal};
use starling_apply::types::store::{self, Input, Issue, StoreError, StoreMode};
use starling_apply::types::temporal::{self, DateRules, DateTime};
use starling_apply::types::{FLEXIBLE, json, text};
use starling_apply::{BaseType, ColumnType, collate};
use starling_log::ValueRef as Cell;

use super::context::{self, Level, Raised, complain};
use super::run::{Args, Body, NULL, Outcome, boolean, int, raise, string, unsigned};

pub const BODIES: &[Body] = &[
    Body::new("starling_double", |args| {
        Ok(number(args.get(0), "DOUBLE")?.map_or(Value::Null, |d| Value::Real(d.to_f64())))
    }),
    Body::new("starling_int", |args| integer(args.get(0))),
    Body::new("starling_decimal", to_decimal),
    Body::new("starling_truth", truth),
    Body::new("starling_temporal_number", temporal_number),
    Body::new("starling_time_number", time_number),
    Body::new("starling_json_number", json_number),
    Body::new("starling_utf8", |args| {
        args.bytes(0).map_or(NULL, |b| string(b.into_owned(), false))
    }),
    Body::new("starling_text", |args| shown(args, false)),
    Body::new("starling_bytes", |args| shown(args, true)),
    Body::new("starling_convert", implicit),
    Body::new("starling_cast", explicit),
    Body::new("starling_store", assign),
    Body::new("starling_local", local),
    Body::new("starling_utc", utc),
    Body::new("starling_raise", |args| {
        Err(raise(args.int(0).unwrap_or(1105) as u16, args.text(1).unwrap_or_default()))
    }),
];

/// A type given as a (constant) argument, parsed once per statement.
pub fn type_argument(args: &Args<'_, '_>, index: usize) -> Result<Arc<ColumnType>, Raised> {
    args.cached(index, |value| {
        let text = value.as_str().map_err(|e| raise(1105, e.to_string()))?;
        serde_json::from_str(text).map_err(|e| raise(1105, e.to_string()))
    })
}

pub fn cell(value: ValueRef<'_>) -> Cell<'_> {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(v) => Cell::Int(v),
        ValueRef::Real(v) => Cell::Real(v),
        ValueRef::Text(t) => Cell::Text(t),
        ValueRef::Blob(b) => Cell::Blob(b),
    }
}

fn value(stored: store::Stored<'_>) -> Outcome {
    match stored {
        store::Stored::Null => NULL,
        store::Stored::Int(v) => Ok(Value::Integer(v)),
        store::Stored::Real(v) => Ok(Value::Real(v)),
        store::Stored::Text(t) => string(t.into_owned(), false),
        store::Stored::Blob(b) => Ok(Value::Blob(b.into_owned())),
    }
}

/// The running statement's mode, as `store` takes it.
pub fn store_mode() -> StoreMode {
    let context = context::current();
    StoreMode {
        strict: context.strict,
        dates: date_rules(),
        zone_seconds: context.zone_seconds,
    }
}

pub fn date_rules() -> DateRules {
    let context = context::current();
    DateRules {
        no_zero_date: context.no_zero_date,
        no_zero_in_date: context.no_zero_in_date,
        allow_invalid: context.allow_invalid_dates,
    }
}

/// Order of two stored values of one type.
pub fn compare(left: ValueRef<'_>, right: ValueRef<'_>, ty: &ColumnType) -> Ordering {
    match (left, right) {
        (ValueRef::Integer(a), ValueRef::Integer(b)) => a.cmp(&b),
        (ValueRef::Text(a), ValueRef::Text(b)) if ty.base == BaseType::Decimal => decimal::compare_text(a, b),
        (ValueRef::Text(a), ValueRef::Text(b)) => match (&ty.collation, std::str::from_utf8(a), std::str::from_utf8(b)) {
            (Some(collation), Ok(a), Ok(b)) => collate::compare(collation, a, b),
            _ => a.cmp(b),
        },
        (ValueRef::Blob(a), ValueRef::Blob(b)) => a.cmp(b),
        _ => match (exact(left), exact(right)) {
            (Some(a), Some(b)) => a.compare(&b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        },
    }
}

/// A stored number exactly (text: its leading number); `None` for NULL.
pub fn exact(value: ValueRef<'_>) -> Option<Decimal> {
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(v) => Decimal::from(v),
        ValueRef::Real(v) => Decimal::from_f64(v),
        ValueRef::Text(t) | ValueRef::Blob(t) => Decimal::parse_prefix(t).value,
    })
}

/// A number from text that may be none: 1292 `Truncated incorrect … value` then. Doubles beyond DECIMAL pass as their shortest digits.
fn number(value: ValueRef<'_>, what: &str) -> Result<Option<Decimal>, Raised> {
    let (ValueRef::Text(t) | ValueRef::Blob(t)) = value else {
        return Ok(exact(value));
    };
    let prefix = Decimal::parse_prefix(t);
    if prefix.used == 0 || !t[prefix.used..].iter().all(u8::is_ascii_whitespace) {
        truncated(what, t)?;
    }
    Ok(Some(prefix.value))
}

pub fn truncated(what: &str, text: &[u8]) -> Result<(), Raised> {
    let shown = String::from_utf8_lossy(&text[..text.len().min(128)]);
    complain(1292, format!("Truncated incorrect {what} value: '{shown}'"))
}

fn integer(value: ValueRef<'_>) -> Outcome {
    let rounded = match value {
        ValueRef::Null => return NULL,
        ValueRef::Integer(v) => return int(v),
        ValueRef::Real(v) => return int(v.round_ties_even() as i64),
        other => number(other, "INTEGER")?.and_then(|d| d.to_i128()),
    };
    let v = rounded.unwrap_or(i128::from(i64::MAX));
    match (i64::try_from(v), u64::try_from(v)) {
        (Ok(v), _) => int(v),
        (_, Ok(v)) => unsigned(v),
        _ => int(if v < 0 { i64::MIN } else { i64::MAX }),
    }
}

fn to_decimal(args: &Args<'_, '_>) -> Outcome {
    let Some(value) = number(args.get(0), "DECIMAL")? else {
        return NULL;
    };
    let (precision, scale) = (args.int(1).unwrap_or(65), args.int(2).unwrap_or(0));
    decimal_value(value.fit(precision as u32, scale as u32).0)
}

pub fn decimal_value(value: Decimal) -> Outcome {
    Ok(Value::Text(value.to_string()))
}

fn truth(args: &Args<'_, '_>) -> Outcome {
    match args.get(0) {
        ValueRef::Null => NULL,
        ValueRef::Integer(v) => boolean(v != 0),
        ValueRef::Real(v) => boolean(v != 0.0),
        other => boolean(number(other, "DOUBLE")?.is_some_and(|d| !d.is_zero())),
    }
}

fn temporal_number(args: &Args<'_, '_>) -> Outcome {
    let Some(text) = args.bytes(0) else { return NULL };
    let Some(value) = DateTime::from_text(&text) else { return int(0) };
    match text.len() {
        0..=10 => int(value.date_number()),
        11..=19 => int(value.number()),
        length => {
            let digits = Decimal::small(i128::from(value.number()) * 1_000_000 + i128::from(value.micros), 6);
            decimal_value(digits.truncate((length as u32 - 20).min(6)))
        }
    }
}

fn time_number(args: &Args<'_, '_>) -> Outcome {
    let Some(micros) = args.int(0) else { return NULL };
    match args.int(1).unwrap_or(0) {
        0 => int(temporal::time_number(micros)),
        decimals => {
            let whole = i128::from(temporal::time_number(micros)) * 1_000_000 + i128::from(micros % temporal::MICROS);
            decimal_value(Decimal::small(whole, 6).truncate(decimals as u32))
        }
    }
}

fn json_number(args: &Args<'_, '_>) -> Outcome {
    let Some(text) = args.bytes(0) else { return NULL };
    Ok(match json::parse(&text) {
        Ok(json::Json::Bool(b)) => Value::Integer(b.into()),
        Ok(json::Json::String(s)) => Value::Text(s),
        Ok(json::Json::Number(n)) => match (n.as_i64(), n.as_u64()) {
            (Some(v), _) => Value::Integer(v),
            (_, Some(v)) => return unsigned(v),
            _ => Value::Real(n.as_f64().unwrap_or(0.0)),
        },
        _ => Value::Integer(0),
    })
}

/// MySQL's text (or bytes) of a value, by its type.
fn shown(args: &Args<'_, '_>, binary: bool) -> Outcome {
    if args.is_null(0) {
        return NULL;
    }
    let ty = type_argument(args, 1)?;
    let mut out = Vec::new();
    text::write(&mut out, &ty, cell(args.get(0)));
    string(out, binary)
}

/// Implicit conversion.
fn implicit(args: &Args<'_, '_>) -> Outcome {
    convert(args, false)
}

/// CAST.
fn explicit(args: &Args<'_, '_>) -> Outcome {
    convert(args, true)
}

fn convert(args: &Args<'_, '_>, is_cast: bool) -> Outcome {
    if args.is_null(0) {
        return NULL;
    }
    let (from, to) = (type_argument(args, 1)?, type_argument(args, 2)?);
    let input = numbered(&from, &to, cell(args.get(0)));
    match to.base {
        BaseType::Date | BaseType::DateTime | BaseType::Timestamp | BaseType::Time => to_temporal(&to, input),
        BaseType::BigInt if is_cast => cast_integer(&to, input, args.get(0)),
        BaseType::Json => super::json::cast(args.get(0), &from),
        _ => {
            let mut issue = None;
            let stored = store::store_ref(&to, input, &StoreMode::LENIENT, &mut issue).map_err(|e| raise(e.code(), e.message("", 1)))?;
            if let Some(Issue { note: false, error }) = issue {
                cast_warning(&to, &error, args)?;
            }
            value(stored)
        }
    }
}

/// ENUM, SET and BIT are numbers where a number is wanted.
fn numbered<'a>(from: &ColumnType, to: &ColumnType, value: Cell<'a>) -> Input<'a> {
    let numeric = to.is_integer() || matches!(to.base, BaseType::Decimal | BaseType::Float | BaseType::Double | BaseType::Year);
    match (from.base, value) {
        (BaseType::Enum | BaseType::Set | BaseType::Bit, Cell::Int(v)) if numeric => Input::Int(v),
        _ => store::from_stored(from, value),
    }
}

fn cast_warning(to: &ColumnType, error: &StoreError, args: &Args<'_, '_>) -> Result<(), Raised> {
    let shown = args.bytes(0).unwrap_or_default();
    let what = match to.base {
        BaseType::Decimal => "DECIMAL".to_string(),
        BaseType::Float | BaseType::Double => "DOUBLE".to_string(),
        BaseType::Char | BaseType::VarChar => format!("CHAR({})", to.length.unwrap_or(0)),
        BaseType::Binary | BaseType::VarBinary => format!("BINARY({})", to.length.unwrap_or(0)),
        _ => "INTEGER".to_string(),
    };
    match error {
        StoreError::OutOfRange if to.base == BaseType::Decimal => complain(1264, "Out of range value for column 'CAST' at row 1"),
        _ => truncated(&what, &shown),
    }
}

/// CAST AS SIGNED / UNSIGNED: text up to its first odd character, negative numbers into unsigned by two's complement.
fn cast_integer(to: &ColumnType, input: Input<'_>, raw: ValueRef<'_>) -> Outcome {
    let wide = match (&input, raw) {
        (Input::Text(_) | Input::Bytes(_), ValueRef::Text(t) | ValueRef::Blob(t)) => {
            let prefix = Decimal::parse_prefix(t);
            let digits = t[..prefix.used]
                .iter()
                .all(|b| b.is_ascii_digit() || b.is_ascii_whitespace() || matches!(b, b'-' | b'+'));
            if prefix.used == 0 || !digits || !t[prefix.used..].iter().all(u8::is_ascii_whitespace) {
                truncated("INTEGER", t)?;
            }
            // no exponent and no fraction in an integer's text
            let whole = t[..prefix.used].split(|b| matches!(b, b'.' | b'e' | b'E')).next().unwrap_or(b"");
            Decimal::parse_prefix(whole).value.to_i128()
        }
        (Input::Int(v), _) => Some(i128::from(*v)),
        (Input::UInt(v), _) => Some(i128::from(*v)),
        _ => {
            let mut big = ColumnType::new(BaseType::BigInt);
            big.unsigned = matches!(&input, Input::Double(v) if *v > 0.0);
            let stored = store::store_ref(&big, input, &StoreMode::LENIENT, &mut None).map_err(|e| raise(e.code(), e.message("", 1)))?;
            match stored {
                store::Stored::Int(v) => Some(i128::from(v)),
                store::Stored::Text(t) => Some(i128::from(text::parse_u64(&t))),
                _ => None,
            }
        }
    };
    let v = wide.unwrap_or(i128::MAX);
    let clipped = v.clamp(i128::from(i64::MIN), i128::from(u64::MAX));
    if clipped != v {
        truncated("INTEGER", raw.as_bytes_or_null().ok().flatten().unwrap_or(b""))?;
    }
    if to.unsigned {
        unsigned(clipped as u64)
    } else {
        int(clipped as u64 as i64)
    }
}

/// Without a fraction of zeros where the type leaves it open.
fn settled(to: &ColumnType, stored: store::Stored<'_>) -> Outcome {
    match stored {
        store::Stored::Text(t) if to.decimals == Some(FLEXIBLE) && t.ends_with(b".000000") => string(t[..t.len() - 7].to_vec(), false),
        other => value(other),
    }
}

/// To a date or time; what is none becomes NULL with 1292.
fn to_temporal(to: &ColumnType, input: Input<'_>) -> Outcome {
    let mut mode = StoreMode {
        strict: true,
        dates: date_rules(),
        ..StoreMode::STRICT
    };
    mode.dates.no_zero_in_date &= context::current().no_zero_in_date;
    match store::store_ref(to, input.clone(), &mode, &mut None) {
        Ok(stored) => settled(to, stored),
        Err(StoreError::IncorrectTemporal { what, value: shown }) => {
            mode.strict = false;
            let readable = store::store_ref(to, input, &mode, &mut None).ok();
            // something readable with a tail: keep it; else NULL
            let kept =
                readable.filter(|s| !matches!(s, store::Stored::Text(t) if t.starts_with(b"0000-00-00")) && to.base != BaseType::Time);
            match kept {
                Some(stored) => {
                    truncated(what, shown.as_bytes())?;
                    settled(to, stored)
                }
                None if to.base == BaseType::Time => {
                    truncated(what, shown.as_bytes())?;
                    NULL
                }
                None => {
                    complain(1292, format!("Incorrect {what} value: '{shown}'"))?;
                    NULL
                }
            }
        }
        Err(error) => Err(raise(error.code(), error.message("", 1))),
    }
}

/// starling_store(value, from, to, column)
fn assign(args: &Args<'_, '_>) -> Outcome {
    if args.is_null(0) {
        return NULL;
    }
    let (from, to) = (type_argument(args, 1)?, type_argument(args, 2)?);
    let input = numbered(&from, &to, cell(args.get(0)));
    let mut issue = None;
    let row = context::current().row;
    let column = args.text(3).unwrap_or_default();
    let stored = store::store_ref(&to, input, &store_mode(), &mut issue).map_err(|e| raise(e.code(), e.message(&column, row)))?;
    if let Some(issue) = issue {
        let level = if issue.note { Level::Note } else { Level::Warning };
        context::warn(level, issue.error.code(), issue.error.message(&column, row));
    }
    value(stored)
}

/// A DATETIME's text of the session's zone in UTC.
fn utc(args: &Args<'_, '_>) -> Outcome {
    let Some(local) = args.bytes(0) else { return NULL };
    match temporal::shift(&local, -context::current().zone_seconds) {
        Some(shifted) => string(shifted, false),
        None => Ok(args.value(0)),
    }
}

/// A TIMESTAMP's text (UTC) in the session's zone.
fn local(args: &Args<'_, '_>) -> Outcome {
    let Some(stored) = args.bytes(0) else { return NULL };
    match temporal::shift(&stored, context::current().zone_seconds) {
        Some(shifted) => string(shifted, false),
        None => Ok(args.value(0)),
    }
}
