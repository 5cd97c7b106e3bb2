//! Assignment: any value a client can send, brought into the canonical form of a column's type, with MySQL's checks.
//!
//! Promises: strict mode fails exactly where MySQL's strict mode fails, otherwise the value is clipped and the issue reported; a
//! value that already is canonical is borrowed, not copied. Must not know: NOT NULL, keys, column names (messages take them).

use std::borrow::Cow;

use starling_log::{Value, ValueRef};

use super::temporal::DateRules;
use super::{BaseType, ColumnType, text};

mod number;
mod string;
mod time;

/// A value on its way into a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<'a> {
    Null,
    Int(i64),
    UInt(u64),
    Double(f64),
    /// Decimal digits.
    Decimal(&'a [u8]),
    /// Characters (to be checked: UTF-8).
    Text(Cow<'a, [u8]>),
    Bytes(&'a [u8]),
    /// `YYYY-MM-DD` or `YYYY-MM-DD HH:MM:SS[.f]`
    DateTime(&'a [u8]),
    /// Signed microseconds.
    Time(i64),
    /// A JSON document, already normalized.
    Json(&'a [u8]),
}

/// A value in canonical form, borrowed where it came in that form.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(Cow<'a, [u8]>),
    Blob(Cow<'a, [u8]>),
}

/// How strict the statement is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreMode {
    pub strict: bool,
    pub dates: DateRules,
    /// Session time zone: what TIMESTAMP values are given in, seconds east of UTC.
    pub zone_seconds: i32,
}

impl StoreMode {
    /// MySQL 8's default sql_mode in UTC.
    pub const STRICT: StoreMode = StoreMode {
        strict: true,
        dates: DateRules {
            no_zero_date: true,
            no_zero_in_date: true,
            allow_invalid: false,
        },
        zone_seconds: 0,
    };
    /// Nothing is an error, nothing odd is refused.
    pub const LENIENT: StoreMode = StoreMode {
        strict: false,
        dates: DateRules {
            no_zero_date: false,
            no_zero_in_date: false,
            allow_invalid: false,
        },
        zone_seconds: 0,
    };
}

/// Why a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// 1264
    OutOfRange,
    /// 1406
    TooLong,
    /// 1265
    Truncated,
    /// 1366: `integer`, `decimal`, `string` …
    Incorrect { what: &'static str, value: String },
    /// 1292: `date`, `datetime`, `time`
    IncorrectTemporal { what: &'static str, value: String },
    /// 3140
    InvalidJson { message: &'static str, position: usize },
    /// 3144
    BinaryJson,
}

impl StoreError {
    pub fn code(&self) -> u16 {
        match self {
            StoreError::OutOfRange => 1264,
            StoreError::TooLong => 1406,
            StoreError::Truncated => 1265,
            StoreError::Incorrect { .. } => 1366,
            StoreError::IncorrectTemporal { .. } => 1292,
            StoreError::InvalidJson { .. } => 3140,
            StoreError::BinaryJson => 3144,
        }
    }
    /// MySQL's words. `column`: its name (`table.column` for JSON, as MySQL has it).
    pub fn message(&self, column: &str, row: u64) -> String {
        match self {
            StoreError::OutOfRange => format!("Out of range value for column '{column}' at row {row}"),
            StoreError::TooLong => format!("Data too long for column '{column}' at row {row}"),
            StoreError::Truncated => format!("Data truncated for column '{column}' at row {row}"),
            StoreError::Incorrect { what, value } | StoreError::IncorrectTemporal { what, value } => {
                format!("Incorrect {what} value: '{value}' for column '{column}' at row {row}")
            }
            StoreError::InvalidJson { message, position } => {
                format!("Invalid JSON text: \"{message}\" at position {position} in value for column '{column}'.")
            }
            StoreError::BinaryJson => "Cannot create a JSON value from a string with CHARACTER SET 'binary'.".to_string(),
        }
    }
}

/// What happened on the way, when it was no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub error: StoreError,
    /// A note (1265 for digits rounded away), not a warning.
    pub note: bool,
}

/// One assignment: mode, and room for its one issue.
struct Assign<'m> {
    mode: &'m StoreMode,
    issue: Option<Issue>,
}

impl Assign<'_> {
    /// Strict: the error. Else a warning, and the caller stores what it can.
    fn complain(&mut self, error: StoreError) -> Result<(), StoreError> {
        if self.mode.strict {
            return Err(error);
        }
        let error = match error {
            StoreError::IncorrectTemporal { .. } => StoreError::Truncated,
            StoreError::TooLong => StoreError::Truncated,
            other => other,
        };
        self.issue = Some(Issue { error, note: false });
        Ok(())
    }
    fn note(&mut self) {
        if self.issue.is_none() {
            self.issue = Some(Issue {
                error: StoreError::Truncated,
                note: true,
            });
        }
    }
}

/// Converts `input` for a column of type `ty`. `issue` receives a warning or note, if any.
pub fn store_ref<'a>(ty: &ColumnType, input: Input<'a>, mode: &StoreMode, issue: &mut Option<Issue>) -> Result<Stored<'a>, StoreError> {
    use BaseType::*;
    let mut assign = Assign { mode, issue: None };
    let stored = match (ty.base, input) {
        (_, Input::Null) => return Ok(Stored::Null),
        (TinyInt | SmallInt | MediumInt | Int | BigInt, input) => assign.integer(ty, input),
        (VarChar | Char | TinyText | Text | MediumText | LongText, input) => assign.characters(ty, input),
        (Binary | VarBinary | TinyBlob | Blob | MediumBlob | LongBlob, input) => assign.bytes(ty, input),
        (Decimal, input) => assign.decimal(ty, input),
        (Float | Double, input) => assign.real(ty, input),
        (Date, input) => assign.date(input),
        (DateTime | Timestamp, input) => assign.datetime(ty, input),
        (Time, input) => assign.time(ty, input),
        (Year, input) => assign.year(input),
        (Bit, input) => assign.bit(ty, input),
        (Enum, input) => assign.enumeration(ty, input),
        (Set, input) => assign.set(ty, input),
        (Json, input) => assign.json(input),
        (Vector, input) => assign.vector(ty, input),
    }?;
    if assign.issue.is_some() {
        *issue = assign.issue;
    }
    Ok(stored)
}

/// As [`store_ref`], owned.
pub fn store(ty: &ColumnType, input: Input<'_>, mode: &StoreMode, issue: &mut Option<Issue>) -> Result<Value, StoreError> {
    store_ref(ty, input, mode, issue).map(Stored::into_value)
}

impl Stored<'_> {
    pub fn into_value(self) -> Value {
        match self {
            Stored::Null => Value::Null,
            Stored::Int(v) => Value::Int(v),
            Stored::Real(v) => Value::Real(v),
            Stored::Text(t) => Value::Text(t.into_owned()),
            Stored::Blob(b) => Value::Blob(b.into_owned()),
        }
    }
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Stored::Null => ValueRef::Null,
            Stored::Int(v) => ValueRef::Int(*v),
            Stored::Real(v) => ValueRef::Real(*v),
            Stored::Text(t) => ValueRef::Text(t),
            Stored::Blob(b) => ValueRef::Blob(b),
        }
    }
}

/// An unsigned number in canonical form.
pub fn unsigned<'a>(v: u64) -> Stored<'a> {
    match i64::try_from(v) {
        Ok(v) => Stored::Int(v),
        Err(_) => Stored::Text(Cow::Owned(format!("{v:020}").into_bytes())),
    }
}

/// A stored value of type `from`, ready to be stored elsewhere.
pub fn from_stored<'a>(from: &ColumnType, value: ValueRef<'a>) -> Input<'a> {
    use BaseType::*;
    match (from.base, value) {
        (_, ValueRef::Absent | ValueRef::Null) => Input::Null,
        (Time, ValueRef::Int(v)) => Input::Time(v),
        (Enum | Set, value) => {
            let mut out = Vec::new();
            text::write(&mut out, from, value);
            Input::Text(Cow::Owned(out))
        }
        (_, ValueRef::Int(v)) => Input::Int(v),
        (_, ValueRef::Real(v)) => Input::Double(v),
        (Decimal, ValueRef::Text(t)) => Input::Decimal(t),
        (BigInt | Bit, ValueRef::Text(t)) => Input::UInt(text::parse_u64(t)),
        (Date | DateTime | Timestamp, ValueRef::Text(t)) => Input::DateTime(t),
        (Json, ValueRef::Text(t)) => Input::Json(t),
        (_, ValueRef::Text(t)) => Input::Text(Cow::Borrowed(t)),
        (_, ValueRef::Blob(b)) => Input::Bytes(b),
    }
}

/// A stored value when its column's type changes (ALTER TABLE … MODIFY, applied from the log): total and deterministic.
/// What cannot be converted becomes what MySQL's non-strict mode makes of it; JSON that cannot be had becomes NULL.
pub fn convert_stored(value: ValueRef<'_>, from: &ColumnType, to: &ColumnType) -> Value {
    if from == to {
        return value.to_owned().unwrap_or(Value::Null);
    }
    // ENUM and BIT numbers go to number columns as numbers
    let numeric = to.is_integer() || matches!(to.base, BaseType::Decimal | BaseType::Float | BaseType::Double);
    let input = match (from.base, value) {
        (BaseType::Enum | BaseType::Set, ValueRef::Int(v)) if numeric => Input::Int(v),
        _ => from_stored(from, value),
    };
    store(to, input, &StoreMode::LENIENT, &mut None).unwrap_or(Value::Null)
}

/// A value shown in a message: UTF-8, at most so many bytes.
const SHOWN_MAX: usize = 128;

fn shown(value: &[u8]) -> String {
    let cut = &value[..value.len().min(SHOWN_MAX)];
    let mut out = String::new();
    for chunk in cut.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02X}"));
        }
    }
    out
}

/// The input's text, for messages and text columns.
fn input_text<'a>(input: &Input<'a>) -> Cow<'a, [u8]> {
    let made = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::with_capacity(24);
        write(&mut out);
        Cow::Owned(out)
    };
    match input {
        Input::Null => Cow::Borrowed(b""),
        Input::Int(v) => made(&|out| text::write_i64(out, *v)),
        Input::UInt(v) => made(&|out| out.extend_from_slice(itoa::Buffer::new().format(*v).as_bytes())),
        Input::Double(v) => made(&|out| text::write_double(out, *v)),
        Input::Time(v) => {
            let decimals = if v % super::temporal::MICROS == 0 { 0 } else { 6 };
            made(&|out| text::write_time(out, *v, decimals))
        }
        Input::Text(t) => t.clone(),
        Input::Decimal(t) | Input::Bytes(t) | Input::DateTime(t) | Input::Json(t) => Cow::Borrowed(t),
    }
}

#[cfg(test)]
mod tests;
