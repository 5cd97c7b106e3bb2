//! Dates and times into their columns.

use std::borrow::Cow;

use super::{Assign, Input, StoreError, Stored, input_text, shown};
use crate::types::temporal::read::{read_time_number, time_bound};
use crate::types::temporal::{self, DateTime, Flaw, MICROS, Read, read_datetime, read_number, read_time, round_time};
use crate::types::{BaseType, ColumnType};

type Outcome<'a> = Result<Stored<'a>, StoreError>;

const ZERO_DATE: &[u8] = b"0000-00-00";
/// TIMESTAMP's range in seconds since 1970, both ends included.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = 1..=2_147_483_647;

impl Assign<'_> {
    fn incorrect(&mut self, what: &'static str, input: &Input<'_>) -> Result<(), StoreError> {
        self.complain(StoreError::IncorrectTemporal {
            what,
            value: shown(&input_text(input)),
        })
    }

    /// What the input says, before rounding; `None` if it is no date (a TIME alone has no date here: `bind` adds today's).
    fn read(&self, input: &Input<'_>) -> Option<Read> {
        match input {
            Input::Text(t) => read_datetime(t).ok(),
            Input::DateTime(t) | Input::Bytes(t) => read_datetime(t).ok(),
            Input::Int(v) => read_number(*v).ok(),
            Input::UInt(v) => read_number(i64::try_from(*v).ok()?).ok(),
            Input::Double(v) => read_number(v.trunc() as i64).ok(),
            Input::Decimal(t) => read_datetime(t).ok().or_else(|| {
                let whole = t.split(|b| *b == b'.').next()?;
                read_number(std::str::from_utf8(whole).ok()?.parse().ok()?).ok()
            }),
            Input::Json([b'"', inner @ .., b'"']) => read_datetime(inner).ok(),
            _ => None,
        }
    }

    pub(super) fn date<'a>(&mut self, input: Input<'a>) -> Outcome<'a> {
        if let Input::Text(Cow::Borrowed(t)) | Input::DateTime(t) = input
            && t.len() == 10
            && DateTime::from_text(t).is_some_and(|d| d.is_valid(self.mode.dates) && d.date_text() == t)
        {
            return Ok(Stored::Text(Cow::Borrowed(t)));
        }
        let read = self.read(&input);
        let value = read
            .and_then(|r| r.settle(self.mode.zone_seconds))
            .filter(|d| d.is_valid(self.mode.dates));
        let (Some(read), Some(value)) = (read, value) else {
            self.incorrect("date", &input)?;
            return Ok(Stored::Text(Cow::Borrowed(ZERO_DATE)));
        };
        if read.truncated {
            self.incorrect("date", &input)?;
        } else if value.time_micros() != 0 {
            self.note();
        }
        Ok(Stored::Text(Cow::Owned(value.date_text())))
    }

    pub(super) fn datetime<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let decimals = ty.decimals.unwrap_or(0).min(6);
        let is_timestamp = ty.base == BaseType::Timestamp;
        if !is_timestamp
            && let Input::Text(Cow::Borrowed(t)) | Input::DateTime(t) = input
            && is_canonical(t, decimals)
            && DateTime::from_text(t).is_some_and(|d| d.is_valid(self.mode.dates))
        {
            return Ok(Stored::Text(Cow::Borrowed(t)));
        }
        let read = self.read(&input);
        let value = read
            .and_then(|r| r.settle(self.mode.zone_seconds))
            .filter(|d| d.is_valid(self.mode.dates))
            .and_then(|d| d.rounded(decimals))
            .and_then(|d| if is_timestamp { self.to_utc(d) } else { Some(d) });
        let (Some(read), Some(value)) = (read, value) else {
            self.incorrect("datetime", &input)?;
            return Ok(Stored::Text(Cow::Owned(DateTime::default().to_text(decimals))));
        };
        if read.truncated {
            self.incorrect("datetime", &input)?;
        }
        Ok(Stored::Text(Cow::Owned(value.to_text(decimals))))
    }

    /// A session's local time as UTC; `None` beyond TIMESTAMP's range.
    fn to_utc(&self, local: DateTime) -> Option<DateTime> {
        if local.is_zero_date() {
            return Some(local);
        }
        if local.has_zero_part() {
            return None;
        }
        let utc = local.plus(-i64::from(self.mode.zone_seconds) * MICROS)?;
        TIMESTAMP_SECONDS.contains(&utc.unix_micros().div_euclid(MICROS)).then_some(utc)
    }

    pub(super) fn time<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let decimals = ty.decimals.unwrap_or(0).min(6);
        let read = match &input {
            Input::Time(v) => Ok((*v, false)),
            Input::Text(t) => read_time(t),
            Input::Bytes(t) => read_time(t),
            Input::DateTime(t) => DateTime::from_text(t).map(|d| (d.time_micros(), false)).ok_or(Flaw::Malformed),
            Input::Int(v) => read_time_number(*v).map(|t| (t, false)),
            Input::Double(v) => read_time_number(v.trunc() as i64).map(|t| (t + ((v.fract() * MICROS as f64).round() as i64), false)),
            Input::Decimal(t) => read_time(t),
            Input::Json([b'"', inner @ .., b'"']) => read_time(inner),
            _ => Err(Flaw::Malformed),
        };
        let value = match read {
            Ok((value, false)) => value,
            Ok((value, true)) => {
                self.incorrect("time", &input)?;
                value
            }
            Err(Flaw::Range(negative)) => {
                self.incorrect("time", &input)?;
                time_bound(negative)
            }
            Err(Flaw::Malformed) => {
                self.incorrect("time", &input)?;
                0
            }
        };
        Ok(Stored::Int(round_time(value, decimals)))
    }
}

/// `YYYY-MM-DD HH:MM:SS[.f]` with exactly so many decimals?
fn is_canonical(text: &[u8], decimals: u8) -> bool {
    let length = if decimals == 0 { 19 } else { 20 + decimals as usize };
    text.len() == length && text[4] == b'-' && text[7] == b'-' && text[10] == b' ' && text[13] == b':' && temporal::shift(text, 0).is_some()
}
