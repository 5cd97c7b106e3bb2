//! Dates and times out of numbers, and time zones.

use rusqlite::types::{Value, ValueRef};
use starling_apply::types::FLEXIBLE;
use starling_apply::types::decimal::Decimal;
use starling_apply::types::temporal::{
    DAY_MAX, DateTime, EPOCH_DAY, MICROS, TIME_MAX_MICROS, day_number, read::parse_offset, read::two_digit_year,
};

use super::arith::write;
use crate::sql::func::cast::{decimal_value, exact};
use crate::sql::func::context;
use crate::sql::func::run::{Args, Body, NULL, Outcome, int, raise, string};

pub const BODIES: &[Body] = &[
    Body::new("starling_from_days", from_days),
    Body::new("starling_makedate", makedate),
    Body::new("starling_maketime", maketime),
    Body::new("starling_sec_to_time", sec_to_time),
    Body::new("starling_period_add", |args| match (args.int(0), args.int(1)) {
        (Some(period), Some(months)) => period_months(period)?.checked_add(months).map_or(NULL, |m| int(period_of(m))),
        _ => NULL,
    }),
    Body::new("starling_period_diff", |args| match (args.int(0), args.int(1)) {
        (Some(a), Some(b)) => int(period_months(a)? - period_months(b)?),
        _ => NULL,
    }),
    Body::new("starling_unix_timestamp", unix_timestamp),
    Body::new("starling_from_unixtime", from_unixtime),
    Body::new("starling_convert_tz", convert_tz),
];

/// The last second of FROM_UNIXTIME: 3001-01-18 23:59:59 UTC.
const UNIX_MAX_SECONDS: i64 = 32_536_771_199;

fn from_days(args: &Args<'_, '_>) -> Outcome {
    let Some(day) = args.int(0) else { return NULL };
    let date = if (366..=DAY_MAX).contains(&day) {
        DateTime::from_day(day, 0)
    } else {
        Some(DateTime::default())
    };
    date.map_or(NULL, |d| string(d.date_text(), false))
}

fn makedate(args: &Args<'_, '_>) -> Outcome {
    let (Some(year), Some(day)) = (args.int(0), args.int(1)) else {
        return NULL;
    };
    let Ok(year) = u64::try_from(year) else { return NULL };
    let year = if year < 100 { two_digit_year(year) } else { year };
    if day <= 0 || year > 9999 {
        return NULL;
    }
    let date = day_number(year as u16, 1, 1)
        .checked_add(day - 1)
        .and_then(|d| DateTime::from_day(d, 0));
    date.map_or(NULL, |d| string(d.date_text(), false))
}

/// Seconds in any form of number, as microseconds.
fn micros(value: ValueRef<'_>) -> Option<i64> {
    let micros = exact(value)?.mul(&Decimal::from(MICROS)).to_i128()?;
    i64::try_from(micros.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).ok()
}

fn maketime(args: &Args<'_, '_>) -> Outcome {
    let (Some(hour), Some(minute), Some(second)) = (args.int(0), args.int(1), micros(args.get(2))) else {
        return NULL;
    };
    if !(0..60).contains(&minute) || !(0..60 * MICROS).contains(&second) {
        return NULL;
    }
    let hours = hour.unsigned_abs().min(1_000_000) as i64;
    let total = ((hours * 60 + minute) * 60 * MICROS + second).min(TIME_MAX_MICROS);
    int(if hour < 0 { -total } else { total })
}

fn sec_to_time(args: &Args<'_, '_>) -> Outcome {
    let Some(total) = micros(args.get(0)) else { return NULL };
    if total.abs() > TIME_MAX_MICROS {
        context::complain(
            1292,
            format!("Truncated incorrect time value: '{}'", args.text(0).unwrap_or_default()),
        )?;
    }
    int(total.clamp(-TIME_MAX_MICROS, TIME_MAX_MICROS))
}

/// YYYYMM or YYMM as months.
fn period_months(period: i64) -> Result<i64, context::Raised> {
    let month = period % 100;
    if period < 0 || !(1..=12).contains(&month) {
        return Err(raise(1210, "Incorrect arguments to period_add"));
    }
    let year = (period / 100) as u64;
    let year = if year < 100 { two_digit_year(year) } else { year };
    Ok(year as i64 * 12 + month - 1)
}

fn period_of(months: i64) -> i64 {
    months.div_euclid(12) * 100 + months.rem_euclid(12) + 1
}

/// starling_unix_timestamp(datetime, scale)
fn unix_timestamp(args: &Args<'_, '_>) -> Outcome {
    let Some(given) = args.bytes(0) else { return NULL };
    let scale = args.int(1).unwrap_or(0) as u32;
    let zero = || {
        if scale == 0 {
            int(0)
        } else {
            decimal_value(Decimal::ZERO.round(scale))
        }
    };
    let Some(date) = DateTime::from_text(&given).filter(|d| !d.has_zero_part()) else {
        return zero();
    };
    let micros = date.unix_micros() - i64::from(context::current().zone_seconds) * MICROS;
    if !(0..=UNIX_MAX_SECONDS).contains(&micros.div_euclid(MICROS)) {
        return zero();
    }
    if scale == 0 {
        return int(micros / MICROS);
    }
    // a scale of 6 stands for text too, whose fraction shows only if there is one
    let scale = if scale == 6 && !given.contains(&b'.') { 0 } else { scale };
    decimal_value(Decimal::small(micros.into(), 6).truncate(scale))
}

/// starling_from_unixtime(seconds, decimals)
fn from_unixtime(args: &Args<'_, '_>) -> Outcome {
    let Some(total) = micros(args.get(0)) else { return NULL };
    if !(0..=UNIX_MAX_SECONDS).contains(&total.div_euclid(MICROS)) {
        return NULL;
    }
    let decimals = args.int(1).unwrap_or(0) as u8;
    let local = DateTime::from_day(EPOCH_DAY, total + i64::from(context::current().zone_seconds) * MICROS);
    match local.and_then(|d| d.rounded(if decimals == FLEXIBLE { 6 } else { decimals })) {
        Some(date) => string(write(&date, decimals), false),
        None => NULL,
    }
}

/// Seconds east of UTC of a zone's name: an offset, `UTC`, `SYSTEM`.
pub fn zone_seconds(name: &str) -> Option<i32> {
    match name.to_ascii_uppercase().as_str() {
        "UTC" | "GMT" | "SYSTEM" | "ETC/UTC" | "+00:00" => Some(0),
        offset => parse_offset(offset.as_bytes()),
    }
}

fn convert_tz(args: &Args<'_, '_>) -> Outcome {
    let (Some(given), Some(from), Some(to)) = (args.bytes(0), args.text(1), args.text(2)) else {
        return NULL;
    };
    let (Some(from), Some(to)) = (zone_seconds(&from), zone_seconds(&to)) else {
        return NULL;
    };
    let decimals = args.int(3).unwrap_or(0) as u8;
    let Some(date) = DateTime::from_text(&given).filter(|d| !d.has_zero_part()) else {
        return NULL;
    };
    let utc = date.unix_micros() - i64::from(from) * MICROS;
    // beyond TIMESTAMP's range nothing is converted
    if !(MICROS..=UNIX_MAX_SECONDS * MICROS).contains(&utc) {
        return Ok(Value::Text(String::from_utf8_lossy(&write(&date, decimals)).into_owned()));
    }
    match date.plus(i64::from(to - from) * MICROS) {
        Some(moved) => string(write(&moved, decimals), false),
        None => NULL,
    }
}
