//! DATE_FORMAT, TIME_FORMAT, GET_FORMAT.

use rusqlite::types::ValueRef;
use starling_apply::types::temporal::{DateTime, MICROS};

use super::part::{DAYS, MONTHS, week, whole};
use crate::sql::func::run::{Args, Body, NULL, Outcome, text};

pub const BODIES: &[Body] = &[
    Body::new("starling_date_format", date_format),
    Body::new("starling_time_format", time_format),
    Body::new("starling_get_format", get_format),
];

fn date_format(args: &Args<'_, '_>) -> Outcome {
    let (Some(given), Some(pattern)) = (args.bytes(0), args.text(1)) else {
        return NULL;
    };
    let Some(date) = DateTime::from_text(&given) else { return NULL };
    expand(&pattern, |spec, out| of_date(spec, &date, out))
}

/// Of a TIME (or the time of day of a date): only hours and below, hours beyond 24 too.
fn time_format(args: &Args<'_, '_>) -> Outcome {
    let Some(pattern) = args.text(1) else { return NULL };
    let micros = match args.get(0) {
        ValueRef::Integer(micros) => micros,
        ValueRef::Text(t) => match DateTime::from_text(t) {
            Some(date) => date.time_micros(),
            None => return NULL,
        },
        _ => return NULL,
    };
    let sign = if micros < 0 { "-" } else { "" };
    let total = micros.abs();
    let hours = total / (3600 * MICROS);
    let clock = DateTime {
        hour: (hours % 24) as u8,
        minute: (total / (60 * MICROS) % 60) as u8,
        second: (total / MICROS % 60) as u8,
        micros: (total % MICROS) as u32,
        ..DateTime::default()
    };
    expand(&pattern, |spec, out| {
        let piece = match spec {
            'H' => format!("{sign}{hours:02}"),
            'k' => format!("{sign}{hours}"),
            'T' => format!("{sign}{hours:02}:{:02}:{:02}", clock.minute, clock.second),
            'h' | 'I' | 'i' | 'l' | 'p' | 'r' | 'S' | 's' | 'f' => return of_date(spec, &clock, out),
            'd' | 'm' | 'y' => "00".to_string(),
            'Y' => "0000".to_string(),
            'c' | 'e' => "0".to_string(),
            _ => return None,
        };
        out.push_str(&piece);
        Some(())
    })
}

/// Runs through a pattern; `None` from a specifier makes the whole NULL.
fn expand(pattern: &str, of: impl Fn(char, &mut String) -> Option<()>) -> Outcome {
    let mut out = String::with_capacity(pattern.len() * 2);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            None => out.push('%'),
            Some('%') => out.push('%'),
            Some(spec) if "aAbBcDdefHhIijklMmprSsTUuVvWwXxYy".contains(spec) => {
                if of(spec, &mut out).is_none() {
                    return NULL;
                }
            }
            Some(other) => out.push(other),
        }
    }
    text(out)
}

fn of_date(spec: char, d: &DateTime, out: &mut String) -> Option<()> {
    let hour12 = (d.hour + 11) % 12 + 1;
    let half = if d.hour % 24 < 12 { "AM" } else { "PM" };
    let named = |names: &[&str], index: usize, cut: usize| names.get(index).map(|n| n[..cut.min(n.len())].to_string());
    let month_name = |cut: usize| named(&MONTHS, usize::from(d.month).checked_sub(1)?, cut);
    let day_name = |cut: usize| if whole(d) { named(&DAYS, d.weekday().into(), cut) } else { None };
    let weeks = |mode: i64, keep: bool| whole(d).then(|| week(d, mode, keep));
    let piece = match spec {
        'a' => day_name(3)?,
        'b' => month_name(3)?,
        'c' => d.month.to_string(),
        'D' => format!("{}{}", d.day, ordinal(d.day)),
        'd' => format!("{:02}", d.day),
        'e' => d.day.to_string(),
        'f' => format!("{:06}", d.micros),
        'H' => format!("{:02}", d.hour),
        'h' | 'I' => format!("{hour12:02}"),
        'i' => format!("{:02}", d.minute),
        'j' => format!("{:03}", whole(d).then(|| d.day_of_year())?),
        'k' => d.hour.to_string(),
        'l' => hour12.to_string(),
        'M' => month_name(usize::MAX)?,
        'm' => format!("{:02}", d.month),
        'p' => half.to_string(),
        'r' => format!("{hour12:02}:{:02}:{:02} {half}", d.minute, d.second),
        'S' | 's' => format!("{:02}", d.second),
        'T' => format!("{:02}:{:02}:{:02}", d.hour, d.minute, d.second),
        'U' => format!("{:02}", weeks(0, false)?.0),
        'u' => format!("{:02}", weeks(1, false)?.0),
        'V' => format!("{:02}", weeks(2, true)?.0),
        'v' => format!("{:02}", weeks(3, true)?.0),
        'W' => day_name(usize::MAX)?,
        'w' => whole(d).then(|| (d.weekday() + 1) % 7)?.to_string(),
        'X' => format!("{:04}", weeks(2, true)?.1),
        'x' => format!("{:04}", weeks(3, true)?.1),
        'Y' => format!("{:04}", d.year),
        'y' => format!("{:02}", d.year % 100),
        other => other.to_string(),
    };
    out.push_str(&piece);
    Some(())
}

fn ordinal(day: u8) -> &'static str {
    match day {
        11..=13 => "th",
        d if d % 10 == 1 => "st",
        d if d % 10 == 2 => "nd",
        d if d % 10 == 3 => "rd",
        _ => "th",
    }
}

fn get_format(args: &Args<'_, '_>) -> Outcome {
    let (Some(kind), Some(region)) = (args.text(0), args.text(1)) else {
        return NULL;
    };
    let kind = kind.to_ascii_lowercase();
    let region = region.to_ascii_lowercase();
    text(match (kind.as_str(), region.as_str()) {
        ("date", "usa") => "%m.%d.%Y",
        ("date", "jis" | "iso") => "%Y-%m-%d",
        ("date", "eur") => "%d.%m.%Y",
        ("date", "internal") => "%Y%m%d",
        ("datetime" | "timestamp", "usa" | "eur") => "%Y-%m-%d %H.%i.%s",
        ("datetime" | "timestamp", "jis" | "iso") => "%Y-%m-%d %H:%i:%s",
        ("datetime" | "timestamp", "internal") => "%Y%m%d%H%i%s",
        ("time", "usa") => "%h:%i:%s %p",
        ("time", "jis" | "iso") => "%H:%i:%s",
        ("time", "eur") => "%H.%i.%s",
        ("time", "internal") => "%H%i%s",
        _ => return NULL,
    })
}
