//! Parts of dates and times.

use rusqlite::types::ValueRef;
use starling_apply::types::temporal::{self, DateTime, MICROS, day_number, days_in_month, is_leap, read_time};

use super::arith::Moment;
use crate::sql::func::run::{Args, Body, NULL, Outcome, int, string, text};

pub const BODIES: &[Body] = &[
    Body::new("starling_year", |args| part(args, |d| Some(d.year.into()))),
    Body::new("starling_month", |args| part(args, |d| Some(d.month.into()))),
    Body::new("starling_day", |args| part(args, |d| Some(d.day.into()))),
    Body::new("starling_quarter", |args| part(args, |d| Some(quarter(d)))),
    Body::new("starling_dayofweek", |args| {
        part(args, |d| whole(d).then(|| (i64::from(d.weekday()) + 1) % 7 + 1))
    }),
    Body::new("starling_weekday", |args| part(args, |d| whole(d).then(|| d.weekday().into()))),
    Body::new("starling_dayofyear", |args| part(args, |d| whole(d).then(|| d.day_of_year()))),
    Body::new("starling_to_days", |args| part(args, |d| whole(d).then(|| d.day_number()))),
    Body::new("starling_to_seconds", |args| {
        part(args, |d| whole(d).then(|| d.day_number() * 86_400 + d.time_micros() / MICROS))
    }),
    Body::new("starling_week", |args| {
        let mode = args.int(1).unwrap_or(0);
        part(args, |d| whole(d).then(|| week(d, mode, mode & 2 != 0).0))
    }),
    Body::new("starling_yearweek", |args| {
        let mode = args.int(1).unwrap_or(0);
        part(args, |d| {
            whole(d).then(|| {
                let (week, year) = week(d, mode, true);
                year * 100 + week
            })
        })
    }),
    Body::new("starling_hour", |args| clock(args, |t| t / (3600 * MICROS))),
    Body::new("starling_minute", |args| clock(args, |t| t / (60 * MICROS) % 60)),
    Body::new("starling_second", |args| clock(args, |t| t / MICROS % 60)),
    Body::new("starling_microsecond", |args| clock(args, |t| t % MICROS)),
    Body::new("starling_time_to_sec", |args| clock_signed(args).map_or(NULL, |t| int(t / MICROS))),
    Body::new("starling_dayname", |args| name(args, |d| DAYS[usize::from(d.weekday())])),
    Body::new("starling_monthname", |args| {
        name(args, |d| MONTHS[usize::from(d.month.clamp(1, 12)) - 1])
    }),
    Body::new("starling_last_day", last_day),
    Body::new("starling_extract", extract),
];

pub const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// No zero month or day.
pub fn whole(date: &DateTime) -> bool {
    !date.has_zero_part()
}

fn quarter(date: &DateTime) -> i64 {
    (i64::from(date.month) + 2) / 3
}

fn date_argument(args: &Args<'_, '_>) -> Option<DateTime> {
    match args.get(0) {
        ValueRef::Text(t) => DateTime::from_text(t),
        _ => None,
    }
}

fn part(args: &Args<'_, '_>, of: impl Fn(&DateTime) -> Option<i64>) -> Outcome {
    date_argument(args).and_then(|d| of(&d)).map_or(NULL, int)
}

/// A TIME, or the time of day of a date.
fn clock_signed(args: &Args<'_, '_>) -> Option<i64> {
    match args.get(0) {
        ValueRef::Integer(micros) => Some(micros),
        ValueRef::Text(t) => DateTime::from_text(t).map(|d| d.time_micros()),
        _ => None,
    }
}

fn clock(args: &Args<'_, '_>, of: fn(i64) -> i64) -> Outcome {
    clock_signed(args).map_or(NULL, |t| int(of(t.abs())))
}

fn name(args: &Args<'_, '_>, of: fn(&DateTime) -> &'static str) -> Outcome {
    date_argument(args).filter(whole).map_or(NULL, |d| text(of(&d)))
}

fn last_day(args: &Args<'_, '_>) -> Outcome {
    let Some(date) = date_argument(args).filter(|d| d.month != 0) else {
        return NULL;
    };
    string(
        DateTime::date(date.year, date.month, days_in_month(date.year, date.month)).date_text(),
        false,
    )
}

/// Week and the year it belongs to, in one of MySQL's eight modes.
/// Bit 0: weeks begin on Monday; bit 1: weeks 1 to 53 (else 0 to 53); bit 2: week 1 is the first with that weekday (Sunday-first
/// modes mean the opposite by this bit: the first with four days).
pub fn week(date: &DateTime, mode: i64, keep_year: bool) -> (i64, i64) {
    let monday = mode & 1 != 0;
    let by_weekday = (mode & 4 != 0) == monday;
    let mut year = i64::from(date.year);
    // 0 is the day on which weeks begin
    let weekday = |day: i64| (day + if monday { 5 } else { 6 }).rem_euclid(7);
    let days_in = |y: i64| if is_leap(y.clamp(0, 9999) as u16) { 366 } else { 365 };
    // Does the week in which the year begins belong to the year before?
    let starts_late = |first: i64| if by_weekday { weekday(first) != 0 } else { weekday(first) >= 4 };
    let start_of = |first: i64| {
        if starts_late(first) {
            first + 7 - weekday(first)
        } else {
            first - weekday(first)
        }
    };
    let day = date.day_number();
    let first = day_number(date.year, 1, 1);
    let mut start = start_of(first);
    if day < start {
        if !keep_year {
            return (0, year);
        }
        year -= 1;
        start = start_of(first - days_in(year));
    } else if keep_year {
        let next = start_of(first + days_in(year));
        if day >= next {
            return (1, year + 1);
        }
    }
    ((day - start) / 7 + 1, year)
}

/// EXTRACT(unit FROM value): parts side by side as digits.
fn extract(args: &Args<'_, '_>) -> Outcome {
    let Some(unit) = args.text(0) else { return NULL };
    let unit = unit.to_ascii_lowercase();
    let needs_date = matches!(unit.as_str(), "year" | "month" | "day" | "week" | "quarter" | "year_month") || unit.starts_with("day_");
    let moment = match args.get(1) {
        ValueRef::Null => return NULL,
        ValueRef::Integer(micros) => Some(Moment::Time(micros)),
        ValueRef::Text(t) => {
            let date = DateTime::from_text(t);
            // text without a date is a time of day; `day_…` units take both
            match (date, read_time(t)) {
                (_, Ok((micros, _))) if t.contains(&b':') && !t.contains(&b'-') => Some(Moment::Time(micros)),
                (Some(date), _) => Some(Moment::Date(date)),
                (None, Ok((micros, _))) if !needs_date => Some(Moment::Time(micros)),
                _ => None,
            }
        }
        _ => None,
    };
    match moment {
        Some(Moment::Date(date)) => int(of_unit(&unit, &date, i64::from(date.day), date.time_micros())),
        Some(Moment::Time(micros)) => {
            let (days, rest) = if unit.starts_with("day_") || unit == "day" {
                (micros.abs() / temporal::DAY_MICROS, micros.abs() % temporal::DAY_MICROS)
            } else {
                (0, micros.abs())
            };
            int(of_unit(&unit, &DateTime::default(), days, rest) * micros.signum())
        }
        None => NULL,
    }
}

fn of_unit(unit: &str, date: &DateTime, days: i64, micros: i64) -> i64 {
    let (h, m, s, f) = (
        micros / (3600 * MICROS),
        micros / (60 * MICROS) % 60,
        micros / MICROS % 60,
        micros % MICROS,
    );
    match unit {
        "year" => date.year.into(),
        "quarter" => quarter(date),
        "month" => date.month.into(),
        "week" => week(date, 0, false).0,
        "day" => days,
        "hour" => h,
        "minute" => m,
        "second" => s,
        "microsecond" => f,
        "year_month" => i64::from(date.year) * 100 + i64::from(date.month),
        "day_hour" => days * 100 + h,
        "day_minute" => days * 10_000 + h * 100 + m,
        "day_second" => days * 1_000_000 + h * 10_000 + m * 100 + s,
        "day_microsecond" => (days * 1_000_000 + h * 10_000 + m * 100 + s) * MICROS + f,
        "hour_minute" => h * 100 + m,
        "hour_second" => h * 10_000 + m * 100 + s,
        "hour_microsecond" => (h * 10_000 + m * 100 + s) * MICROS + f,
        "minute_second" => m * 100 + s,
        "minute_microsecond" => (m * 100 + s) * MICROS + f,
        "second_microsecond" => s * MICROS + f,
        _ => 0,
    }
}
