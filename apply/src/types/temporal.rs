//! Dates and times as MySQL reads, checks, rounds and counts them.
//!
//! Promises: reading accepts what MySQL's lenient parser accepts (any punctuation between fields, two-digit years, digits
//! without delimiters); nothing here looks at a clock. Must not know: columns, time zone names.

pub mod read;

pub use read::{Flaw, Read, read_date, read_datetime, read_number, read_time};

use super::text;

/// TIME's bound: 838:59:59.
pub const TIME_MAX_MICROS: i64 = (838 * 3600 + 59 * 60 + 59) * MICROS;
pub const MICROS: i64 = 1_000_000;
pub const DAY_MICROS: i64 = 86_400 * MICROS;
/// TO_DAYS('1970-01-01')
pub const EPOCH_DAY: i64 = 719_528;
/// TO_DAYS('9999-12-31')
pub const DAY_MAX: i64 = 3_652_424;

/// A date with a time of day. Month and day may be 0 (zero dates).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
}

/// What sql_mode says about odd dates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DateRules {
    pub no_zero_date: bool,
    pub no_zero_in_date: bool,
    pub allow_invalid: bool,
}

impl DateTime {
    pub fn date(year: u16, month: u8, day: u8) -> DateTime {
        DateTime {
            year,
            month,
            day,
            ..DateTime::default()
        }
    }
    /// From a day number (TO_DAYS) and microseconds within (or around) that day; `None` outside years 0 to 9999.
    pub fn from_day(day: i64, micros: i64) -> Option<DateTime> {
        let day = day.checked_add(micros.div_euclid(DAY_MICROS))?;
        let rest = micros.rem_euclid(DAY_MICROS);
        let (year, month, mday) = civil(day)?;
        let seconds = rest / MICROS;
        Some(DateTime {
            year,
            month,
            day: mday,
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
            micros: (rest % MICROS) as u32,
        })
    }
    /// Canonical text (or anything that reads as a date); `None` if it does not.
    pub fn from_text(text: &[u8]) -> Option<DateTime> {
        canonical(text).or_else(|| read_datetime(text).ok().map(|read| read.value))
    }
    /// Seconds since 1970 in UTC, plus microseconds.
    pub fn from_unix_micros(micros: i64) -> Option<DateTime> {
        DateTime::from_day(EPOCH_DAY, micros)
    }
    pub fn unix_micros(&self) -> i64 {
        (self.day_number() - EPOCH_DAY) * DAY_MICROS + self.time_micros()
    }

    pub fn is_zero_date(&self) -> bool {
        self.year == 0 && self.month == 0 && self.day == 0
    }
    pub fn has_zero_part(&self) -> bool {
        self.month == 0 || self.day == 0
    }
    /// TO_DAYS: day 1 is 0000-01-01.
    pub fn day_number(&self) -> i64 {
        day_number(self.year, self.month, self.day)
    }
    /// Microseconds of the time of day.
    pub fn time_micros(&self) -> i64 {
        (i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second)) * MICROS + i64::from(self.micros)
    }
    /// 0 = Monday.
    pub fn weekday(&self) -> u8 {
        ((self.day_number() + 5).rem_euclid(7)) as u8
    }
    pub fn day_of_year(&self) -> i64 {
        self.day_number() - day_number(self.year, 1, 1) + 1
    }
    /// Moved by microseconds.
    pub fn plus(&self, micros: i64) -> Option<DateTime> {
        DateTime::from_day(self.day_number(), self.time_micros().checked_add(micros)?)
    }
    /// By `months`; the day is clipped to the month's last.
    pub fn plus_months(&self, months: i64) -> Option<DateTime> {
        let total = (i64::from(self.year) * 12 + i64::from(self.month) - 1).checked_add(months)?;
        let year = u16::try_from(total.div_euclid(12)).ok().filter(|y| *y <= 9999)?;
        let month = total.rem_euclid(12) as u8 + 1;
        Some(DateTime {
            year,
            month,
            day: self.day.min(days_in_month(year, month)),
            ..*self
        })
    }
    /// Seconds rounded to `decimals`, half up, carried into the date.
    pub fn rounded(&self, decimals: u8) -> Option<DateTime> {
        let unit = 10u32.pow(u32::from(6 - decimals.min(6)));
        let rest = self.micros % unit;
        if rest == 0 {
            return Some(*self);
        }
        let cut = DateTime {
            micros: self.micros - rest,
            ..*self
        };
        if rest * 2 < unit {
            return Some(cut);
        }
        if cut.micros + unit < MICROS as u32 {
            return Some(DateTime {
                micros: cut.micros + unit,
                ..cut
            });
        }
        // a zero date has no day number to carry into
        if self.has_zero_part() {
            Some(cut)
        } else {
            cut.plus(i64::from(unit))
        }
    }
    /// Is it a date under these rules?
    pub fn is_valid(&self, rules: DateRules) -> bool {
        if self.year > 9999 || self.month > 12 || self.day > 31 || self.hour > 23 || self.minute > 59 || self.second > 59 {
            return false;
        }
        if self.is_zero_date() {
            return !rules.no_zero_date;
        }
        if self.has_zero_part() {
            return !rules.no_zero_in_date;
        }
        rules.allow_invalid || self.day <= days_in_month(self.year, self.month)
    }

    pub fn write_date(&self, out: &mut Vec<u8>) {
        let (y, m, d) = (self.year, self.month, self.day);
        out.extend_from_slice(&[
            b'0' + (y / 1000 % 10) as u8,
            b'0' + (y / 100 % 10) as u8,
            b'0' + (y / 10 % 10) as u8,
            b'0' + (y % 10) as u8,
            b'-',
            b'0' + m / 10,
            b'0' + m % 10,
            b'-',
            b'0' + d / 10,
            b'0' + d % 10,
        ]);
    }
    pub fn write(&self, out: &mut Vec<u8>, decimals: u8) {
        self.write_date(out);
        let (h, m, s) = (self.hour, self.minute, self.second);
        out.extend_from_slice(&[
            b' ',
            b'0' + h / 10,
            b'0' + h % 10,
            b':',
            b'0' + m / 10,
            b'0' + m % 10,
            b':',
            b'0' + s / 10,
            b'0' + s % 10,
        ]);
        text::write_fraction(out, self.micros, decimals);
    }
    pub fn date_text(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(10);
        self.write_date(&mut out);
        out
    }
    pub fn to_text(&self, decimals: u8) -> Vec<u8> {
        let mut out = Vec::with_capacity(26);
        self.write(&mut out, decimals);
        out
    }
    /// YYYYMMDD
    pub fn date_number(&self) -> i64 {
        i64::from(self.year) * 10_000 + i64::from(self.month) * 100 + i64::from(self.day)
    }
    /// YYYYMMDDhhmmss
    pub fn number(&self) -> i64 {
        self.date_number() * 1_000_000 + i64::from(self.hour) * 10_000 + i64::from(self.minute) * 100 + i64::from(self.second)
    }
}

/// The canonical form, read fast: `YYYY-MM-DD[ HH:MM:SS[.f]]`.
fn canonical(text: &[u8]) -> Option<DateTime> {
    let pair = |at: usize| -> Option<u8> {
        let (a, b) = (text.get(at)?.wrapping_sub(b'0'), text.get(at + 1)?.wrapping_sub(b'0'));
        (a < 10 && b < 10).then_some(a * 10 + b)
    };
    if text.len() < 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = u16::from(pair(0)?) * 100 + u16::from(pair(2)?);
    let mut value = DateTime::date(year, pair(5)?, pair(8)?);
    if value.month > 12 || value.day > 31 {
        return None;
    }
    if text.len() == 10 {
        return Some(value);
    }
    if text.len() < 19 || text[10] != b' ' || text[13] != b':' || text[16] != b':' {
        return None;
    }
    (value.hour, value.minute, value.second) = (pair(11)?, pair(14)?, pair(17)?);
    if value.hour > 23 || value.minute > 59 || value.second > 59 {
        return None;
    }
    if text.len() > 19 {
        let fraction = &text[20..];
        if text[19] != b'.' || fraction.is_empty() || fraction.len() > 6 || !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = fraction.iter().fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
        value.micros = digits * 10u32.pow(6 - fraction.len() as u32);
    }
    Some(value)
}

/// A stored DATETIME moved by `seconds` (a TIMESTAMP into a session's zone, or back); zero dates stay.
pub fn shift(stored: &[u8], seconds: i32) -> Option<Vec<u8>> {
    let value = canonical(stored)?;
    let decimals = stored.len().saturating_sub(20) as u8;
    if seconds == 0 || value.has_zero_part() {
        return Some(stored.to_vec());
    }
    Some(value.plus(i64::from(seconds) * MICROS)?.to_text(decimals))
}

pub fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

pub fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 0,
    }
}

/// TO_DAYS of a date; month or day 0 count back from the first.
pub fn day_number(year: u16, month: u8, day: u8) -> i64 {
    if year == 0 && month == 0 {
        return 0;
    }
    let (mut y, mut m) = (i64::from(year), i64::from(month));
    if m <= 2 {
        y -= 1;
        m += 12;
    }
    // days since 0000-03-01, which is day 60
    365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * (m - 3) + 2) / 5 + i64::from(day) - 1 + 60
}

/// Year, month, day of a day number.
fn civil(day: i64) -> Option<(u16, u8, u8)> {
    if !(0..=DAY_MAX).contains(&day) {
        return None;
    }
    // days since 0000-03-01, in 400-year eras
    let z = day - 60;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let d = doy - (153 * mp + 2) / 5 + 1;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    let y = yoe + era * 400 + i64::from(m <= 2);
    Some((u16::try_from(y).ok()?, m as u8, d as u8))
}

/// TIME from its parts; `None` beyond 838:59:59.
pub fn time_micros(negative: bool, hours: u64, minutes: u64, seconds: u64, micros: u64) -> Option<i64> {
    let total = i64::try_from(((hours * 60 + minutes) * 60 + seconds) * MICROS as u64 + micros).ok()?;
    (total <= TIME_MAX_MICROS).then_some(if negative { -total } else { total })
}

/// A TIME rounded to `decimals`, half away from zero, clipped to the bound.
pub fn round_time(micros: i64, decimals: u8) -> i64 {
    let unit = 10i64.pow(u32::from(6 - decimals.min(6)));
    let rounded = (micros.abs() + unit / 2) / unit * unit;
    let rounded = if unit == 1 { micros.abs() } else { rounded };
    rounded.min(TIME_MAX_MICROS) * micros.signum()
}

/// hhmmss of a TIME (signed).
pub fn time_number(micros: i64) -> i64 {
    let seconds = micros.abs() / MICROS;
    (seconds / 3600 * 10_000 + seconds / 60 % 60 * 100 + seconds % 60) * micros.signum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_as_mysql_counts() {
        assert_eq!(day_number(1970, 1, 1), EPOCH_DAY);
        assert_eq!(day_number(2007, 10, 7), 733_321);
        assert_eq!(day_number(1995, 5, 1), 728_779);
        assert_eq!(day_number(9999, 12, 31), DAY_MAX);
        for day in [366, 719_528, 733_321, 728_779, DAY_MAX, 730_485, 730_544] {
            let date = DateTime::from_day(day, 0).unwrap();
            assert_eq!(date.day_number(), day);
        }
        assert_eq!(DateTime::date(2024, 2, 29).weekday(), 3);
        assert_eq!(DateTime::date(2024, 12, 31).day_of_year(), 366);
        assert_eq!(DateTime::from_day(DAY_MAX, DAY_MICROS), None);
    }

    #[test]
    fn rounding_carries() {
        let last = DateTime::from_text(b"2023-12-31 23:59:59.999999").unwrap();
        assert_eq!(last.rounded(3).unwrap().to_text(3), b"2024-01-01 00:00:00.000");
        assert_eq!(last.rounded(6).unwrap(), last);
        assert_eq!(round_time(1_500_000, 0), 2_000_000);
        assert_eq!(round_time(-1_499_999, 0), -1_000_000);
    }

    #[test]
    fn months_clip_days() {
        let jan = DateTime::date(2024, 1, 31);
        assert_eq!(jan.plus_months(1).unwrap(), DateTime::date(2024, 2, 29));
        assert_eq!(jan.plus_months(-2).unwrap(), DateTime::date(2023, 11, 30));
        assert_eq!(DateTime::date(9999, 12, 1).plus_months(1), None);
    }

    #[test]
    fn shifting_keeps_the_form() {
        assert_eq!(shift(b"2024-01-01 00:30:00.25", -3600).unwrap(), b"2023-12-31 23:30:00.25");
        assert_eq!(shift(b"0000-00-00 00:00:00", 3600).unwrap(), b"0000-00-00 00:00:00");
    }
}
