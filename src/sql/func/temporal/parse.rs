//! STR_TO_DATE.

use starling_apply::types::temporal::{DateRules, DateTime, day_number, read::two_digit_year, time_micros};

use super::part::{DAYS, MONTHS};
use crate::sql::func::cast::date_rules;
use crate::sql::func::context::complain;
use crate::sql::func::run::{Args, Body, NULL, Outcome, string};

pub const BODIES: &[Body] = &[Body::new("starling_str_to_date", str_to_date)];

/// What was read so far.
#[derive(Default)]
struct Fields {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    micros: u64,
    afternoon: Option<bool>,
    day_of_year: Option<u64>,
    week: Option<(u64, WeekRule)>,
    week_year: Option<u64>,
    /// 0 is Sunday.
    weekday: Option<u64>,
    has_date: bool,
    has_time: bool,
    has_fraction: bool,
}

/// How weeks are numbered: %U, %u, %V, %v.
#[derive(Clone, Copy)]
struct WeekRule {
    monday: bool,
    iso: bool,
}

struct Text<'a> {
    rest: &'a str,
}

impl Text<'_> {
    fn number(&mut self, max: usize) -> Option<u64> {
        let digits = self.rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
        let value = self.rest[..digits].parse().ok()?;
        self.rest = &self.rest[digits..];
        Some(value)
    }
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }
    fn word(&mut self, words: &[&str], shortest: Option<usize>) -> Option<usize> {
        let found = words.iter().position(|w| {
            let w = shortest.map_or(*w, |n| &w[..n]);
            self.rest.get(..w.len()).is_some_and(|r| r.eq_ignore_ascii_case(w))
        })?;
        self.rest = &self.rest[shortest.unwrap_or(words[found].len())..];
        Some(found)
    }
}

fn str_to_date(args: &Args<'_, '_>) -> Outcome {
    let (Some(given), Some(pattern)) = (args.text(0), args.text(1)) else {
        return NULL;
    };
    let mut fields = Fields::default();
    let mut input = Text { rest: &given };
    let read = read(&mut input, &pattern, &mut fields).and_then(|()| written(&fields, date_rules()));
    match read {
        Some(out) => {
            if !input.rest.trim_start().is_empty() {
                complain(1292, format!("Truncated incorrect datetime value: '{given}'"))?;
            }
            string(out, false)
        }
        None => {
            complain(1411, format!("Incorrect datetime value: '{given}' for function str_to_date"))?;
            NULL
        }
    }
}

fn read(input: &mut Text<'_>, pattern: &str, fields: &mut Fields) -> Option<()> {
    let mut specs = pattern.chars();
    while let Some(c) = specs.next() {
        if c.is_whitespace() {
            input.blanks();
            continue;
        }
        input.blanks();
        if c != '%' {
            input.rest = input.rest.strip_prefix(c)?;
            continue;
        }
        match specs.next()? {
            '%' => input.rest = input.rest.strip_prefix('%')?,
            'r' => {
                read(input, "%I:%i:%S %p", fields)?;
            }
            'T' => {
                read(input, "%H:%i:%S", fields)?;
            }
            '.' => input.rest = input.rest.trim_start_matches(|c: char| c.is_ascii_punctuation()),
            '@' => input.rest = input.rest.trim_start_matches(char::is_alphabetic),
            '#' => input.rest = input.rest.trim_start_matches(|c: char| c.is_ascii_digit()),
            spec => field(spec, input, fields)?,
        }
    }
    Some(())
}

fn field(spec: char, input: &mut Text<'_>, f: &mut Fields) -> Option<()> {
    match spec {
        'Y' | 'X' | 'x' | 'y' => {
            let before = input.rest.len();
            let value = input.number(if spec == 'y' { 2 } else { 4 })?;
            let short = before - input.rest.len() <= 2;
            let year = if short { two_digit_year(value) } else { value };
            if matches!(spec, 'X' | 'x') {
                f.week_year = Some(year);
            } else {
                f.year = year;
            }
        }
        'm' | 'c' => f.month = input.number(2)?,
        'M' => f.month = input.word(&MONTHS, None)? as u64 + 1,
        'b' => f.month = input.word(&MONTHS, Some(3))? as u64 + 1,
        'd' | 'e' => f.day = input.number(2)?,
        'D' => {
            f.day = input.number(2)?;
            input.rest = input.rest.get(2..)?;
        }
        'j' => f.day_of_year = Some(input.number(3)?),
        'W' => f.weekday = Some((input.word(&DAYS, None)? as u64 + 1) % 7),
        'a' => f.weekday = Some((input.word(&DAYS, Some(3))? as u64 + 1) % 7),
        'w' => f.weekday = Some(input.number(1)?),
        'U' | 'u' | 'V' | 'v' => {
            let rule = WeekRule {
                monday: matches!(spec, 'u' | 'v'),
                iso: matches!(spec, 'V' | 'v'),
            };
            f.week = Some((input.number(2)?, rule));
        }
        'H' | 'k' => f.hour = input.number(2)?,
        'h' | 'I' | 'l' => {
            f.hour = input.number(2).filter(|h| (1..=12).contains(h))?;
            f.afternoon = f.afternoon.or(Some(false));
        }
        'i' => f.minute = input.number(2)?,
        's' | 'S' => f.second = input.number(2)?,
        'f' => {
            let before = input.rest.len();
            let value = input.number(6)?;
            f.micros = value * 10u64.pow((6 - (before - input.rest.len())) as u32);
            f.has_fraction = true;
        }
        'p' => f.afternoon = Some(input.word(&["AM", "PM"], None)? == 1),
        _ => return None,
    }
    match spec {
        'H' | 'k' | 'h' | 'I' | 'l' | 'i' | 's' | 'S' | 'f' | 'p' => f.has_time = true,
        _ => f.has_date = true,
    }
    Some(())
}

/// The text of what was read: a date, a time, or both, by the specifiers that stood in the pattern.
fn written(f: &Fields, rules: DateRules) -> Option<Vec<u8>> {
    let hour = match f.afternoon {
        Some(afternoon) => f.hour % 12 + if afternoon { 12 } else { 0 },
        None => f.hour,
    };
    if f.minute > 59 || f.second > 59 {
        return None;
    }
    let decimals = if f.has_fraction { 6 } else { 0 };
    if !f.has_date && f.has_time {
        let micros = time_micros(false, hour, f.minute, f.second, f.micros)?;
        let mut out = Vec::new();
        starling_apply::types::text::write_time(&mut out, micros, decimals);
        return Some(out);
    }
    if hour > 23 || f.year > 9999 || f.month > 12 || f.day > 31 {
        return None;
    }
    let mut date = DateTime::date(f.year as u16, f.month as u8, f.day as u8);
    if let Some(day) = f.day_of_year.filter(|d| *d > 0) {
        date = DateTime::from_day(day_number(date.year, 1, 1) + day as i64 - 1, 0)?;
    }
    if let (Some((week, rule)), Some(weekday)) = (f.week, f.weekday) {
        date = of_week(f.week_year.unwrap_or(f.year) as u16, week as i64, rule, weekday as i64)?;
    }
    (date.hour, date.minute, date.second, date.micros) = (hour as u8, f.minute as u8, f.second as u8, f.micros as u32);
    if !date.is_valid(rules) {
        return None;
    }
    Some(if f.has_time { date.to_text(decimals) } else { date.date_text() })
}

/// The day of a week of a year; `weekday` 0 is Sunday.
fn of_week(year: u16, week: i64, rule: WeekRule, weekday: i64) -> Option<DateTime> {
    let first = day_number(year, 1, 1);
    // 0 is the day on which weeks begin
    let begins = (first + if rule.monday { 5 } else { 6 }).rem_euclid(7);
    let late = if rule.iso == rule.monday { begins >= 4 } else { begins != 0 };
    let start = if late { first + 7 - begins } else { first - begins };
    let within = if rule.monday { (weekday + 6) % 7 } else { weekday };
    DateTime::from_day(start + (week - 1) * 7 + within, 0)
}
