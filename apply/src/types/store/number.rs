//! Numbers into number columns: integers, DECIMAL, FLOAT and DOUBLE, BIT, YEAR.

use std::borrow::Cow;

use super::{Assign, Input, StoreError, Stored, input_text, shown, unsigned};
use crate::types::decimal::Decimal;
use crate::types::temporal::{self, DateTime};
use crate::types::{BaseType, ColumnType};

type Outcome<'a> = Result<Stored<'a>, StoreError>;

/// Bounds of an integer type.
pub(crate) fn bounds(ty: &ColumnType) -> (i128, i128) {
    let bits = match ty.base {
        BaseType::TinyInt => 8,
        BaseType::SmallInt => 16,
        BaseType::MediumInt => 24,
        BaseType::Int => 32,
        _ => 64,
    };
    if ty.unsigned {
        (0, (1i128 << bits) - 1)
    } else {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    }
}

impl Assign<'_> {
    pub(super) fn integer<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        if let Input::Int(v) = input
            && ty.base == BaseType::BigInt
            && !ty.unsigned
        {
            return Ok(Stored::Int(v));
        }
        let value = match &input {
            Input::Int(v) => i128::from(*v),
            Input::UInt(v) => i128::from(*v),
            Input::Text(t) => self.integer_from_text(t)?,
            other => self.integer_from_other(other)?,
        };
        let (low, high) = bounds(ty);
        if value >= low && value <= high {
            return Ok(match i64::try_from(value) {
                Ok(v) => Stored::Int(v),
                Err(_) => unsigned(value as u64),
            });
        }
        self.complain(StoreError::OutOfRange)?;
        let clipped = value.clamp(low, high);
        Ok(i64::try_from(clipped).map_or_else(|_| unsigned(clipped as u64), Stored::Int))
    }

    fn integer_from_text(&mut self, text: &[u8]) -> Result<i128, StoreError> {
        if let Some(v) = plain_integer(text) {
            return Ok(i128::from(v));
        }
        let prefix = Decimal::parse_prefix(text);
        if prefix.used == 0 {
            self.complain(StoreError::Incorrect {
                what: "integer",
                value: shown(text),
            })?;
            return Ok(0);
        }
        if !is_blank(&text[prefix.used..]) {
            self.complain(StoreError::Truncated)?;
        }
        Ok(wide(&prefix.value))
    }

    fn integer_from_other(&mut self, input: &Input<'_>) -> Result<i128, StoreError> {
        Ok(match input {
            Input::Double(v) if v.is_nan() => 0,
            // `as` saturates; halves go to the even neighbour, as C's rint does
            Input::Double(v) => v.round_ties_even() as i128,
            Input::Decimal(t) => Decimal::parse(t).map_or(0, |d| wide(&d)),
            Input::DateTime(t) => temporal_number(t),
            Input::Time(v) => i128::from(temporal::time_number(temporal::round_time(*v, 0))),
            Input::Bytes(b) => return self.integer_from_text(b),
            Input::Json(t) => match json_number(t) {
                Some(d) => wide(&d),
                None => {
                    self.complain(StoreError::Incorrect {
                        what: "integer",
                        value: shown(t),
                    })?;
                    0
                }
            },
            Input::Null | Input::Int(_) | Input::UInt(_) | Input::Text(_) => 0,
        })
    }

    pub(super) fn decimal<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let (precision, scale) = (ty.length.unwrap_or(10), u32::from(ty.decimals.unwrap_or(0)));
        match input {
            Input::Text(Cow::Borrowed(t)) | Input::Decimal(t) if is_canonical(t, precision, scale, ty.unsigned) => {
                return Ok(Stored::Text(Cow::Borrowed(t)));
            }
            _ => {}
        }
        let (value, exact) = self.decimal_value(&input)?;
        let (mut fitted, clipped) = value.fit(precision, scale);
        let negative = ty.unsigned && fitted.is_negative();
        if clipped || negative {
            self.complain(StoreError::OutOfRange)?;
        } else if exact && value.scale() > scale && fitted.compare(&value).is_ne() {
            self.note();
        }
        if negative {
            fitted = Decimal::ZERO.round(scale);
        }
        Ok(Stored::Text(Cow::Owned(fitted.to_bytes())))
    }

    /// The number, and whether digits lost from it are worth a note.
    fn decimal_value(&mut self, input: &Input<'_>) -> Result<(Decimal, bool), StoreError> {
        let text: &[u8] = match input {
            Input::Int(v) => return Ok((Decimal::from(*v), false)),
            Input::UInt(v) => return Ok((Decimal::from(*v), false)),
            Input::Double(v) => return Ok((Decimal::from_f64(*v), true)),
            Input::DateTime(t) => return Ok((temporal_decimal(t), false)),
            Input::Time(v) => return Ok((time_decimal(*v), false)),
            Input::Json(t) => return Ok((json_number(t).unwrap_or(Decimal::ZERO), true)),
            Input::Null => return Ok((Decimal::ZERO, false)),
            Input::Text(t) => t,
            Input::Decimal(t) | Input::Bytes(t) => t,
        };
        let prefix = Decimal::parse_prefix(text);
        if prefix.used == 0 {
            self.complain(StoreError::Incorrect {
                what: "decimal",
                value: shown(text),
            })?;
        } else if !is_blank(&text[prefix.used..]) {
            self.complain(StoreError::Truncated)?;
        }
        Ok((prefix.value, true))
    }

    pub(super) fn real<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let mut value = self.real_value(&input)?;
        if !value.is_finite() {
            self.complain(StoreError::OutOfRange)?;
            value = if value.is_nan() { 0.0 } else { f64::MAX.copysign(value) };
        }
        if ty.unsigned && value < 0.0 {
            self.complain(StoreError::OutOfRange)?;
            value = 0.0;
        }
        if let (Some(digits), Some(decimals)) = (ty.length, ty.decimals) {
            let scale = 10f64.powi(i32::from(decimals));
            let bound = (10f64.powi(digits as i32) - 1.0) / scale;
            // whole and fraction apart: the product alone would lose large values' last digits
            value = value.trunc() + (value.fract() * scale).round_ties_even() / scale;
            if value.abs() > bound {
                self.complain(StoreError::OutOfRange)?;
                value = bound.copysign(value);
            }
        }
        if ty.base == BaseType::Float {
            let mut narrow = value as f32;
            if narrow.is_infinite() {
                self.complain(StoreError::OutOfRange)?;
                narrow = f32::MAX.copysign(narrow);
            }
            value = f64::from(narrow);
        }
        Ok(Stored::Real(value))
    }

    fn real_value(&mut self, input: &Input<'_>) -> Result<f64, StoreError> {
        let text: &[u8] = match input {
            Input::Int(v) => return Ok(*v as f64),
            Input::UInt(v) => return Ok(*v as f64),
            Input::Double(v) => return Ok(*v),
            Input::DateTime(t) => return Ok(temporal_decimal(t).to_f64()),
            Input::Time(v) => return Ok(time_decimal(*v).to_f64()),
            Input::Json(t) => return Ok(json_number(t).unwrap_or(Decimal::ZERO).to_f64()),
            Input::Null => return Ok(0.0),
            Input::Text(t) => t,
            Input::Decimal(t) | Input::Bytes(t) => t,
        };
        let (value, used) = double_prefix(text);
        if used == 0 || !is_blank(&text[used..]) {
            self.complain(StoreError::Truncated)?;
        }
        Ok(value)
    }

    pub(super) fn bit<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let width = ty.length.unwrap_or(1).clamp(1, 64);
        let largest = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        let value = match &input {
            Input::Int(v) => Some(*v as u64),
            Input::UInt(v) => Some(*v),
            Input::Text(t) => big_endian(t),
            Input::Bytes(t) => big_endian(t),
            other => u64::try_from(self.integer_from_other(other)?).ok(),
        };
        match value {
            Some(v) if v <= largest => Ok(unsigned(v)),
            _ => {
                self.complain(StoreError::TooLong)?;
                Ok(unsigned(largest))
            }
        }
    }

    pub(super) fn year<'a>(&mut self, input: Input<'a>) -> Outcome<'a> {
        let (value, text) = match &input {
            Input::DateTime(t) => (DateTime::from_text(t).map_or(0, |d| i128::from(d.year)), false),
            Input::Text(t) => (self.integer_from_text(t)?, true),
            Input::Bytes(t) => (self.integer_from_text(t)?, true),
            Input::Int(v) => (i128::from(*v), false),
            other => (self.integer_from_other(other)?, false),
        };
        let short_zero = text && input_text(&input).len() < 4;
        Ok(Stored::Int(match value {
            0 if short_zero => 2000,
            0 => 0,
            1..=69 => value as i64 + 2000,
            70..=99 => value as i64 + 1900,
            1901..=2155 => value as i64,
            _ => {
                self.complain(StoreError::OutOfRange)?;
                0
            }
        }))
    }
}

/// Digits (and a sign) alone, within 18 digits.
fn plain_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(if negative { -value } else { value })
}

/// The number at the front as a double, and how many bytes it took.
pub fn double_prefix(text: &[u8]) -> (f64, usize) {
    let used = Decimal::parse_prefix(text).used;
    let number = std::str::from_utf8(&text[..used]).unwrap_or("").trim();
    (number.parse().unwrap_or(0.0), used)
}

/// Canonical text of DECIMAL(precision, scale)?
fn is_canonical(text: &[u8], precision: u32, scale: u32, unsigned: bool) -> bool {
    let digits = match text {
        [b'-', rest @ ..] if !unsigned => rest,
        _ => text,
    };
    let scale = scale as usize;
    let whole = if scale == 0 {
        digits.len()
    } else {
        digits.len().saturating_sub(scale + 1)
    };
    let point_right = scale == 0 || digits.get(whole) == Some(&b'.');
    let room = precision as usize - scale.min(precision as usize);
    let digits_only = digits
        .iter()
        .enumerate()
        .all(|(i, b)| b.is_ascii_digit() || (i == whole && scale > 0));
    if whole == 0 || !point_right || !digits_only {
        return false;
    }
    // "0.50" has no digit before the point as DECIMAL counts, "00.50" is not canonical
    let leading_zero = digits[0] == b'0';
    let shape = if whole == 1 {
        leading_zero || room >= 1
    } else {
        whole <= room && !leading_zero
    };
    // "-0.00" is no canonical zero
    shape && (digits.len() == text.len() || digits.iter().any(|b| matches!(b, b'1'..=b'9')))
}

fn is_blank(rest: &[u8]) -> bool {
    rest.iter().all(u8::is_ascii_whitespace)
}

/// Rounded to an integer, clipped far beyond 64 bits.
fn wide(value: &Decimal) -> i128 {
    value.to_i128().unwrap_or(if value.is_negative() { i128::MIN } else { i128::MAX })
}

fn big_endian(bytes: &[u8]) -> Option<u64> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let rest = &bytes[zeros..];
    (rest.len() <= 8).then(|| rest.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// A DATE as YYYYMMDD, a DATETIME as YYYYMMDDhhmmss (fraction rounded).
fn temporal_number(text: &[u8]) -> i128 {
    let Some(value) = DateTime::from_text(text) else { return 0 };
    if text.len() <= 10 {
        return i128::from(value.date_number());
    }
    i128::from(value.rounded(0).unwrap_or(value).number())
}

/// The same with its fraction.
pub fn temporal_decimal(text: &[u8]) -> Decimal {
    let Some(value) = DateTime::from_text(text) else {
        return Decimal::ZERO;
    };
    if text.len() <= 10 {
        return Decimal::from(value.date_number());
    }
    let decimals = text.len().saturating_sub(20).min(6) as u32;
    Decimal::small(i128::from(value.number()) * 1_000_000 + i128::from(value.micros), 6).truncate(decimals)
}

fn time_decimal(micros: i64) -> Decimal {
    let fraction = i128::from(micros % temporal::MICROS);
    let value = Decimal::small(i128::from(temporal::time_number(micros)) * 1_000_000 + fraction, 6);
    if fraction == 0 { value.truncate(0) } else { value }
}

fn json_number(text: &[u8]) -> Option<Decimal> {
    match text {
        b"true" => Some(Decimal::from(1i64)),
        b"false" => Some(Decimal::ZERO),
        [b'"', inner @ .., b'"'] => Decimal::parse(inner),
        _ => Decimal::parse(text),
    }
}
