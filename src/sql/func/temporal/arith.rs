//! Adding to dates and times, and taking them from each other.

use rusqlite::types::{Value, ValueRef};
use starling_apply::types::FLEXIBLE;
use starling_apply::types::decimal::Decimal;
use starling_apply::types::temporal::{DAY_MICROS, DateTime, MICROS, TIME_MAX_MICROS, days_in_month, read_datetime, read_time};

use crate::sql::func::context::{self, Level};
use crate::sql::func::run::{Args, Body, NULL, Outcome, int, raise, string};

pub const BODIES: &[Body] = &[
    Body::new("starling_date_add", |args| add(args, 1)),
    Body::new("starling_date_sub", |args| add(args, -1)),
    Body::new("starling_addtime", |args| add_time(args, 1)),
    Body::new("starling_subtime", |args| add_time(args, -1)),
    Body::new("starling_timestamp", timestamp),
    Body::new("starling_datediff", datediff),
    Body::new("starling_timediff", timediff),
    Body::new("starling_timestampdiff", timestampdiff),
];

/// A point in time, or a span of it.
#[derive(Clone, Copy)]
pub enum Moment {
    Date(DateTime),
    Time(i64),
}

/// An interval: months and microseconds (days included); they do not mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    pub months: i64,
    pub micros: i128,
    /// A unit without a time of day.
    pub days_only: bool,
}

/// Microseconds of the simple units, biggest first; months and their multiples apart.
fn unit_micros(unit: &str) -> Option<i128> {
    Some(match unit {
        "microsecond" => 1,
        "second" => 1_000_000,
        "minute" => 60_000_000,
        "hour" => 3_600_000_000,
        "day" => 86_400_000_000,
        "week" => 7 * 86_400_000_000,
        _ => return None,
    })
}

impl Interval {
    /// `amount` is MySQL's text: a number, or for compound units numbers with anything between them.
    pub fn parse(amount: &str, unit: &str) -> Option<Interval> {
        if let Some(scale) = unit_micros(unit) {
            let value = Decimal::parse_prefix(amount.as_bytes()).value;
            let micros = if unit == "second" {
                value.mul(&Decimal::from(MICROS)).to_i128()?
            } else {
                value.to_i128()?.checked_mul(scale)?
            };
            return Some(Interval {
                micros,
                days_only: matches!(unit, "day" | "week"),
                ..Interval::default()
            });
        }
        let whole = || {
            Decimal::parse_prefix(amount.as_bytes())
                .value
                .to_i128()
                .and_then(|v| i64::try_from(v).ok())
        };
        let months = match unit {
            "month" => Some(1),
            "quarter" => Some(3),
            "year" => Some(12),
            _ => None,
        };
        if let Some(months) = months {
            return Some(Interval {
                months: whole()?.checked_mul(months)?,
                micros: 0,
                days_only: true,
            });
        }
        compound(amount, unit)
    }
}

/// `day_second` and the like: the last numbers belong to the smallest parts.
fn compound(amount: &str, unit: &str) -> Option<Interval> {
    let parts: &[i128] = match unit {
        "year_month" => &[12, 1],
        "day_hour" => &[86_400_000_000, 3_600_000_000],
        "day_minute" => &[86_400_000_000, 3_600_000_000, 60_000_000],
        "day_second" => &[86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000],
        "day_microsecond" => &[86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1],
        "hour_minute" => &[3_600_000_000, 60_000_000],
        "hour_second" => &[3_600_000_000, 60_000_000, 1_000_000],
        "hour_microsecond" => &[3_600_000_000, 60_000_000, 1_000_000, 1],
        "minute_second" => &[60_000_000, 1_000_000],
        "minute_microsecond" => &[60_000_000, 1_000_000, 1],
        "second_microsecond" => &[1_000_000, 1],
        _ => return None,
    };
    let amount = amount.trim_start();
    let (sign, digits) = amount.strip_prefix('-').map_or((1, amount), |rest| (-1, rest));
    let mut numbers: Vec<&str> = digits.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).collect();
    if numbers.len() > parts.len() {
        return None;
    }
    let fraction;
    if unit.ends_with("microsecond") && numbers.len() > 1 {
        // digits of a fraction: '1.5' is half a second
        if let Some(last) = numbers.pop() {
            fraction = format!("{last:0<6}");
            numbers.push(&fraction[..6.max(last.len())]);
        }
    }
    let mut total: i128 = 0;
    for (number, scale) in numbers.iter().rev().zip(parts.iter().rev()) {
        total = total.checked_add(number.parse::<i128>().ok()?.checked_mul(*scale)?)?;
    }
    total *= sign;
    Some(if unit == "year_month" {
        Interval {
            months: i64::try_from(total).ok()?,
            micros: 0,
            days_only: true,
        }
    } else {
        Interval {
            months: 0,
            micros: total,
            days_only: false,
        }
    })
}

/// A date's text with `decimals`, or with as many as it needs.
pub fn write(date: &DateTime, decimals: u8) -> Vec<u8> {
    match decimals {
        FLEXIBLE if date.micros == 0 => date.to_text(0),
        FLEXIBLE => date.to_text(6),
        decimals => date.to_text(decimals),
    }
}

/// starling_date_add(value, amount, unit, decimals): value is a TIME (integer), a date, or text.
fn add(args: &Args<'_, '_>, sign: i64) -> Outcome {
    let (Some(amount), Some(unit)) = (args.text(1), args.text(2)) else {
        return NULL;
    };
    if args.is_null(0) {
        return NULL;
    }
    let decimals = args.int(3).unwrap_or(0) as u8;
    let Some(interval) = Interval::parse(&amount, &unit.to_ascii_lowercase()) else {
        return NULL;
    };
    match args.get(0) {
        ValueRef::Integer(micros) => {
            let sum = i128::from(micros) + interval.micros * i128::from(sign);
            match i64::try_from(sum) {
                Ok(sum) if interval.months == 0 && sum.abs() <= TIME_MAX_MICROS => int(sum),
                _ => NULL,
            }
        }
        ValueRef::Text(t) => add_to_date(t, &interval, sign, decimals),
        _ => NULL,
    }
}

fn add_to_date(given: &[u8], interval: &Interval, sign: i64, decimals: u8) -> Outcome {
    let Ok(read) = read_datetime(given) else {
        return incorrect_date(given);
    };
    let Some(date) = read
        .settle(context::current().zone_seconds)
        .filter(|d| !d.has_zero_part() && d.day <= days_in_month(d.year, d.month))
    else {
        return incorrect_date(given);
    };
    let moved = if interval.months != 0 {
        date.plus_months(interval.months.saturating_mul(sign))
    } else {
        i64::try_from(interval.micros * i128::from(sign))
            .ok()
            .and_then(|micros| date.plus(micros))
    };
    let Some(moved) = moved else {
        context::warn(Level::Warning, 1441, "Datetime function: datetime field overflow");
        return NULL;
    };
    if !read.had_time && interval.days_only && given.len() <= 10 {
        return string(moved.date_text(), false);
    }
    string(write(&moved, decimals), false)
}

fn incorrect_date(given: &[u8]) -> Outcome {
    crate::sql::func::context::complain(1292, format!("Incorrect datetime value: '{}'", String::from_utf8_lossy(given)))?;
    NULL
}

/// What an argument is: TIME by its storage, text by its looks.
pub fn moment(value: ValueRef<'_>) -> Option<Moment> {
    match value {
        ValueRef::Integer(micros) => Some(Moment::Time(micros)),
        ValueRef::Text(t) => {
            let looks_like_date = t.iter().filter(|b| **b == b'-').count() >= 2 || t.len() >= 14 && !t.contains(&b':');
            if looks_like_date && let Some(date) = DateTime::from_text(t) {
                return Some(Moment::Date(date));
            }
            read_time(t).ok().map(|(micros, _)| Moment::Time(micros))
        }
        _ => None,
    }
}

/// starling_addtime(value, time, decimals)
fn add_time(args: &Args<'_, '_>, sign: i64) -> Outcome {
    let (Some(value), ValueRef::Integer(span)) = (moment(args.get(0)), args.get(1)) else {
        return NULL;
    };
    let decimals = args.int(2).unwrap_or(0) as u8;
    let is_text = matches!(args.get(0), ValueRef::Text(_));
    match value {
        Moment::Date(date) => match date.plus(span * sign) {
            Some(sum) if !date.has_zero_part() => string(write(&sum, decimals), false),
            _ => NULL,
        },
        Moment::Time(micros) => {
            let sum = (micros + span * sign).clamp(-TIME_MAX_MICROS, TIME_MAX_MICROS);
            if !is_text {
                return int(sum);
            }
            let mut out = Vec::new();
            starling_apply::types::text::write_time(&mut out, sum, if sum % MICROS == 0 { 0 } else { 6 });
            string(out, false)
        }
    }
}

/// TIMESTAMP(date[, time]) with the result's decimals behind.
fn timestamp(args: &Args<'_, '_>) -> Outcome {
    let decimals = args.int(args.len() - 1).unwrap_or(0) as u8;
    let Some(date) = args.bytes(0).and_then(|t| DateTime::from_text(&t)) else {
        return NULL;
    };
    let span = match (args.len(), args.get(1)) {
        (2, _) => 0,
        (_, ValueRef::Integer(span)) => span,
        _ => return NULL,
    };
    match if span == 0 { Some(date) } else { date.plus(span) } {
        Some(sum) => string(write(&sum, decimals), false),
        None => NULL,
    }
}

fn datediff(args: &Args<'_, '_>) -> Outcome {
    let date = |i: usize| match args.get(i) {
        ValueRef::Text(t) => DateTime::from_text(t).filter(|d| !d.has_zero_part()),
        _ => None,
    };
    match (date(0), date(1)) {
        (Some(a), Some(b)) => int(a.day_number() - b.day_number()),
        _ => NULL,
    }
}

/// Only two of a kind have a difference.
fn timediff(args: &Args<'_, '_>) -> Outcome {
    let difference = match (moment(args.get(0)), moment(args.get(1))) {
        (Some(Moment::Date(a)), Some(Moment::Date(b))) => {
            (a.day_number() - b.day_number()) * DAY_MICROS + a.time_micros() - b.time_micros()
        }
        (Some(Moment::Time(a)), Some(Moment::Time(b))) => a - b,
        _ => return NULL,
    };
    if difference.abs() > TIME_MAX_MICROS {
        let mut shown = Vec::new();
        starling_apply::types::text::write_time(&mut shown, difference, 0);
        context::warn(
            Level::Warning,
            1292,
            format!("Truncated incorrect time value: '{}'", String::from_utf8_lossy(&shown)),
        );
    }
    Ok(Value::Integer(difference.clamp(-TIME_MAX_MICROS, TIME_MAX_MICROS)))
}

/// TIMESTAMPDIFF(unit, from, to): whole units.
fn timestampdiff(args: &Args<'_, '_>) -> Outcome {
    let Some(unit) = args.text(0) else { return NULL };
    let unit = unit.to_ascii_lowercase();
    let date = |i: usize| args.bytes(i).and_then(|t| DateTime::from_text(&t)).filter(|d| !d.has_zero_part());
    let (Some(from), Some(to)) = (date(1), date(2)) else { return NULL };
    let micros =
        i128::from(to.day_number() - from.day_number()) * i128::from(DAY_MICROS) + i128::from(to.time_micros() - from.time_micros());
    if let Some(scale) = unit_micros(&unit) {
        return int((micros / scale) as i64);
    }
    let months = months_between(&from, &to);
    match unit.as_str() {
        "month" => int(months),
        "quarter" => int(months / 3),
        "year" => int(months / 12),
        _ => Err(raise(1105, format!("unknown unit {unit}"))),
    }
}

fn months_between(from: &DateTime, to: &DateTime) -> i64 {
    let (early, late, sign) = if from <= to { (from, to, 1) } else { (to, from, -1) };
    let months = (i64::from(late.year) - i64::from(early.year)) * 12 + i64::from(late.month) - i64::from(early.month);
    let rest = |d: &DateTime| (d.day, d.time_micros());
    sign * if rest(late) < rest(early) { months - 1 } else { months }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read() {
        let micros = |amount: &str, unit: &str| Interval::parse(amount, unit).unwrap().micros;
        assert_eq!(micros("1.5", "second"), 1_500_000);
        assert_eq!(micros("1:30", "minute_second"), 90_000_000);
        assert_eq!(micros("-1 02:00", "day_minute"), -26 * 3_600_000_000);
        assert_eq!(micros("1.5", "second_microsecond"), 1_500_000);
        assert_eq!(micros("1.5", "hour"), 2 * 3_600_000_000);
        assert_eq!(Interval::parse("1-2", "year_month").unwrap().months, 14);
        assert_eq!(Interval::parse("2", "quarter").unwrap().months, 6);
    }
}
