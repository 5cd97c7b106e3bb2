//! Reading dates and times from text and numbers, as leniently as MySQL.
//!
//! Promises: field bounds are checked here (month ≤ 12, hour ≤ 23 …); zero dates and day-of-month are the caller's
//! (`DateTime::is_valid`). Must not know: sql_mode.

use super::{DateTime, MICROS, TIME_MAX_MICROS, time_micros};

/// Why a text is no date or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Malformed,
    /// A TIME beyond ±838:59:59 (the bound it is clipped to, negative or not).
    Range(bool),
}

/// A date and time as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub value: DateTime,
    pub had_time: bool,
    /// Something stood behind it.
    pub truncated: bool,
    /// A time zone offset (`+05:30`) in seconds.
    pub offset: Option<i32>,
    /// The seventh fractional digit rounds up: one microsecond more.
    pub round_up: bool,
}

impl Read {
    /// The value with its seventh fractional digit rounded in, and brought to the zone `zone_seconds` if it named another.
    pub fn settle(&self, zone_seconds: i32) -> Option<DateTime> {
        let mut value = self.value;
        if self.round_up && !value.has_zero_part() {
            value = value.plus(1)?;
        }
        match self.offset {
            Some(offset) if !value.has_zero_part() => value.plus(i64::from(zone_seconds - offset) * MICROS),
            _ => Some(value),
        }
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }
    /// At most `max` digits.
    fn number(&mut self, max: usize) -> Option<(u64, usize)> {
        let start = self.at;
        let mut value = 0u64;
        while self.at - start < max
            && let Some(b @ b'0'..=b'9') = self.peek()
        {
            value = value.saturating_mul(10).saturating_add(u64::from(b - b'0'));
            self.at += 1;
        }
        (self.at > start).then_some((value, self.at - start))
    }
    /// Digits behind a point: microseconds, and whether the seventh rounds up.
    fn fraction(&mut self) -> (u32, bool) {
        let (mut micros, mut count, mut round_up) = (0u32, 0, false);
        while let Some(b @ b'0'..=b'9') = self.peek() {
            match count {
                0..=5 => micros = micros * 10 + u32::from(b - b'0'),
                6 => round_up = b >= b'5',
                _ => {}
            }
            count += 1;
            self.at += 1;
        }
        (micros * 10u32.pow(6u32.saturating_sub(count)), round_up)
    }
}

pub fn two_digit_year(year: u64) -> u64 {
    match year {
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        _ => year,
    }
}

/// `2024-1-2 3:04:05.6`, `20240102030405`, `24-01-02`, `2024-01-02T03:04:05+02:00` …
pub fn read_datetime(text: &[u8]) -> Result<Read, Flaw> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.skip_blanks();
    let start = cursor.at;
    let run = text[start..].iter().take_while(|b| b.is_ascii_digit() || **b == b'T').count();
    if run == 0 {
        return Err(Flaw::Malformed);
    }
    let compact = matches!(text.get(start + run), None | Some(b'.')) || (run >= 6 && text[start + run].is_ascii_whitespace() && run != 4);
    if compact {
        read_compact(cursor, run)
    } else {
        read_delimited(cursor)
    }
}

/// Digits without delimiters: YYMMDD, YYYYMMDD, YYMMDDhhmmss, YYYYMMDDhhmmss.
fn read_compact(mut cursor: Cursor<'_>, run: usize) -> Result<Read, Flaw> {
    let year_digits = if run == 4 || run == 8 || run >= 14 { 4 } else { 2 };
    let (year, _) = cursor.number(year_digits).ok_or(Flaw::Malformed)?;
    let year = if year_digits == 2 { two_digit_year(year) } else { year };
    let mut fields = [year, 0, 0, 0, 0, 0];
    let mut count = 1;
    while count < 6 {
        if cursor.peek() == Some(b'T') {
            cursor.at += 1;
        }
        let Some((value, _)) = cursor.number(2) else { break };
        fields[count] = value;
        count += 1;
    }
    if count < 3 {
        return Err(Flaw::Malformed);
    }
    finish(cursor, fields, count)
}

fn read_delimited(mut cursor: Cursor<'_>) -> Result<Read, Flaw> {
    let (year, digits) = cursor.number(4).ok_or(Flaw::Malformed)?;
    let mut fields = [if digits <= 2 { two_digit_year(year) } else { year }, 0, 0, 0, 0, 0];
    let mut count = 1;
    while count < 6 {
        let before = cursor.at;
        match cursor.peek() {
            Some(b'T' | b't') if count == 3 => cursor.at += 1,
            Some(b) if count == 3 && b.is_ascii_whitespace() => cursor.skip_blanks(),
            // a point before the time of day is a delimiter too; behind the seconds it is the fraction's
            Some(b) if b.is_ascii_punctuation() => cursor.at += 1,
            _ => break,
        }
        let Some((value, _)) = cursor.number(2) else {
            cursor.at = before;
            break;
        };
        fields[count] = value;
        count += 1;
    }
    if count < 3 {
        return Err(Flaw::Malformed);
    }
    finish(cursor, fields, count)
}

/// Fraction, zone and rest; bounds.
fn finish(mut cursor: Cursor<'_>, fields: [u64; 6], count: usize) -> Result<Read, Flaw> {
    let mut micros = 0;
    let mut round_up = false;
    if count == 6 && cursor.peek() == Some(b'.') {
        cursor.at += 1;
        (micros, round_up) = cursor.fraction();
    }
    let offset = if count >= 5 { zone(&mut cursor) } else { None };
    cursor.skip_blanks();
    let [year, month, day, hour, minute, second] = fields;
    if year > 9999 || month > 12 || day > 31 || hour > 23 || minute > 59 || second > 59 {
        return Err(Flaw::Malformed);
    }
    Ok(Read {
        value: DateTime {
            year: year as u16,
            month: month as u8,
            day: day as u8,
            hour: hour as u8,
            minute: minute as u8,
            second: second as u8,
            micros,
        },
        had_time: count > 3,
        truncated: cursor.at < cursor.text.len(),
        offset,
        round_up,
    })
}

/// `+hh:mm` or `-hh:mm`, up to 14 hours.
fn zone(cursor: &mut Cursor<'_>) -> Option<i32> {
    let rest = &cursor.text[cursor.at..];
    let seconds = parse_offset(rest.get(..6)?)?;
    cursor.at += 6;
    Some(seconds)
}

/// A time zone given as an offset: `+05:30`.
pub fn parse_offset(text: &[u8]) -> Option<i32> {
    let (sign, rest) = match text {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let colon = rest.iter().position(|b| *b == b':')?;
    let (hours, minutes) = (&rest[..colon], &rest[colon + 1..]);
    if !(1..=2).contains(&hours.len()) || minutes.len() != 2 {
        return None;
    }
    let value = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u8>().ok().map(i32::from);
    let (hours, minutes) = (value(hours)?, value(minutes)?);
    let total = hours * 3600 + minutes * 60;
    (minutes < 60 && total <= 14 * 3600).then_some(sign * total)
}

/// As [`read_datetime`], the time of day dropped.
pub fn read_date(text: &[u8]) -> Result<Read, Flaw> {
    let mut read = read_datetime(text)?;
    read.value = DateTime::date(read.value.year, read.value.month, read.value.day);
    read.round_up = false;
    Ok(read)
}

/// A number as a date and time: YYMMDD, YYYYMMDD, YYMMDDhhmmss, YYYYMMDDhhmmss; 0 is the zero date.
pub fn read_number(number: i64) -> Result<Read, Flaw> {
    let full = match number {
        0 => 0,
        101..=691_231 => (number + 20_000_000) * 1_000_000,
        700_101..=991_231 => (number + 19_000_000) * 1_000_000,
        10_000_101..=99_991_231 => number * 1_000_000,
        101_000_000..=691_231_235_959 => number + 20_000_000_000_000,
        700_101_000_000..=991_231_235_959 => number + 19_000_000_000_000,
        10_000_101_000_000..=99_991_231_235_959 => number,
        _ => return Err(Flaw::Malformed),
    };
    let part = |divisor: i64, modulus: i64| (full / divisor % modulus) as u64;
    let cursor = Cursor { text: b"", at: 0 };
    let fields = [
        part(10_000_000_000, 10_000),
        part(100_000_000, 100),
        part(1_000_000, 100),
        part(10_000, 100),
        part(100, 100),
        part(1, 100),
    ];
    finish(cursor, fields, 6)
}

/// `[-][D ]HH:MM:SS[.f]`, `HH:MM`, `[[HH]MM]SS`, or the time of a full date: microseconds, and whether something stood behind it.
pub fn read_time(text: &[u8]) -> Result<(i64, bool), Flaw> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.skip_blanks();
    let negative = cursor.peek() == Some(b'-');
    if negative {
        cursor.at += 1;
    }
    let body = &text[cursor.at..];
    // a full date has a blank (or T) before its time of day, or is digits alone
    let separated =
        body.iter().skip(5).any(|b| matches!(b, b' ' | b'T' | b't')) || body.iter().take_while(|b| b.is_ascii_digit()).count() >= 12;
    if !negative
        && separated
        && body.len() >= 12
        && let Ok(read) = read_datetime(text)
        && read.had_time
    {
        return Ok((read.value.time_micros() + i64::from(read.round_up), read.truncated));
    }
    let (first, digits) = cursor.number(20).ok_or(Flaw::Malformed)?;
    let (days, hours, minutes, seconds) = match cursor.peek() {
        Some(b':') => clock(&mut cursor, 0, first)?,
        Some(b' ') if text.get(cursor.at + 1).is_some_and(u8::is_ascii_digit) => {
            cursor.at += 1;
            let (hours, _) = cursor.number(20).ok_or(Flaw::Malformed)?;
            clock(&mut cursor, first, hours)?
        }
        _ if digits <= 20 => (0, first / 10_000, first / 100 % 100, first % 100),
        _ => return Err(Flaw::Malformed),
    };
    let (micros, round_up) = if cursor.peek() == Some(b'.') {
        cursor.at += 1;
        cursor.fraction()
    } else {
        (0, false)
    };
    cursor.skip_blanks();
    let truncated = cursor.at < text.len();
    if minutes > 59 || seconds > 59 {
        return Err(Flaw::Malformed);
    }
    if days > 35 || hours > 1_000_000 {
        return Err(Flaw::Range(negative));
    }
    let micros = u64::from(micros) + u64::from(round_up);
    match time_micros(negative, days * 24 + hours, minutes, seconds, micros) {
        Some(value) => Ok((value, truncated)),
        None => Err(Flaw::Range(negative)),
    }
}

/// Behind the hours: `:MM[:SS]`.
fn clock(cursor: &mut Cursor<'_>, days: u64, hours: u64) -> Result<(u64, u64, u64, u64), Flaw> {
    let mut parts = [0, 0];
    for part in &mut parts {
        if cursor.peek() != Some(b':') {
            break;
        }
        cursor.at += 1;
        *part = cursor.number(20).ok_or(Flaw::Malformed)?.0;
    }
    Ok((days, hours, parts[0], parts[1]))
}

/// A number as a TIME: hhmmss; larger ones as a full date.
pub fn read_time_number(number: i64) -> Result<i64, Flaw> {
    let n = number.unsigned_abs();
    if n > 8_385_959 {
        return match read_number(number) {
            Ok(read) if n >= 10_000_000_000 => Ok(read.value.time_micros()),
            _ => Err(Flaw::Range(number < 0)),
        };
    }
    let (hours, minutes, seconds) = (n / 10_000, n / 100 % 100, n % 100);
    if minutes > 59 || seconds > 59 {
        return Err(Flaw::Malformed);
    }
    time_micros(number < 0, hours, minutes, seconds, 0).ok_or(Flaw::Range(number < 0))
}

/// The bound a TIME is clipped to.
pub fn time_bound(negative: bool) -> i64 {
    if negative { -TIME_MAX_MICROS } else { TIME_MAX_MICROS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let read = read_datetime(text.as_bytes()).unwrap();
        String::from_utf8(read.settle(0).unwrap().to_text(6)).unwrap()
    }

    #[test]
    fn dates_are_read_leniently() {
        assert_eq!(shown("2024-1-2"), "2024-01-02 00:00:00.000000");
        assert_eq!(shown("20240102"), "2024-01-02 00:00:00.000000");
        assert_eq!(shown("240102"), "2024-01-02 00:00:00.000000");
        assert_eq!(shown("20240102030405"), "2024-01-02 03:04:05.000000");
        assert_eq!(shown("20240102T030405"), "2024-01-02 03:04:05.000000");
        assert_eq!(shown("240102030405.5"), "2024-01-02 03:04:05.500000");
        assert_eq!(shown("2024-01-02T03:04:05"), "2024-01-02 03:04:05.000000");
        assert_eq!(shown("2024/01/02 3.4.5.678"), "2024-01-02 03:04:05.678000");
        assert_eq!(shown("70-01-02"), "1970-01-02 00:00:00.000000");
        assert_eq!(shown("69-01-02 10:11"), "2069-01-02 10:11:00.000000");
        assert_eq!(shown("2024-01-02 03:04:05.1234567"), "2024-01-02 03:04:05.123457");
        assert_eq!(shown("2024-01-02 03:04:05+02:00"), "2024-01-02 01:04:05.000000");
        assert_eq!(shown("0000-00-00"), "0000-00-00 00:00:00.000000");
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "abc",
            "2024",
            "2024-13-01",
            "2024-01-32",
            "2024-01-02 24:00:00",
            "2024-01",
            "12:00:00x",
        ] {
            let read = read_datetime(text.as_bytes());
            assert!(read.is_err() || read.unwrap().truncated, "{text}");
        }
        assert!(read_datetime(b"2024-01-02x").unwrap().truncated);
        assert!(!read_datetime(b"2024-01-02 ").unwrap().truncated);
    }

    #[test]
    fn times() {
        let time = |text: &str| read_time(text.as_bytes()).map(|(micros, _)| micros);
        assert_eq!(time("10:11:12"), Ok((10 * 3600 + 11 * 60 + 12) * MICROS));
        assert_eq!(time("10:11"), Ok((10 * 3600 + 11 * 60) * MICROS));
        assert_eq!(time("1112"), Ok((11 * 60 + 12) * MICROS));
        assert_eq!(time("-1 2:00:00.5"), Ok(-(26 * 3600 * MICROS + 500_000)));
        assert_eq!(time("839:00:00"), Err(Flaw::Range(false)));
        assert_eq!(time("10:60:00"), Err(Flaw::Malformed));
        assert_eq!(time("2024-01-02 03:04:05"), Ok((3 * 3600 + 4 * 60 + 5) * MICROS));
        assert_eq!(time("12:00:00.123456"), Ok(12 * 3600 * MICROS + 123_456));
        assert_eq!(time("20240102030405"), Ok((3 * 3600 + 4 * 60 + 5) * MICROS));
        assert_eq!(read_time_number(101112), Ok((10 * 3600 + 11 * 60 + 12) * MICROS));
    }

    #[test]
    fn numbers() {
        assert_eq!(read_number(20240102).unwrap().value, DateTime::date(2024, 1, 2));
        assert_eq!(read_number(240102).unwrap().value, DateTime::date(2024, 1, 2));
        assert!(read_number(1).is_err());
        assert!(read_number(0).unwrap().value.is_zero_date());
    }
}
