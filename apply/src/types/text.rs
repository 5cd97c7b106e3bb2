//! Values as MySQL's text protocol shows them, and types as SHOW COLUMNS prints them.
//!
//! Promises: `write` allocates nothing but what `out` needs to grow; what it writes is what MySQL 8 sends for the same value.
//! Must not know: packets, time zones (TIMESTAMP is written as it is stored, in UTC; see `temporal::shift`).

use std::io::Write as _;

use starling_log::ValueRef;

use super::{BaseType, ColumnType, FLEXIBLE};

impl ColumnType {
    /// `int unsigned`, `varchar(20)`, `decimal(10,2)`, `enum('a','b')`, `datetime(6)`.
    pub fn sql_name(&self) -> String {
        let base = self.base_name();
        let length = self.length;
        let mut out = match (self.base, length, self.decimals) {
            (BaseType::TinyInt, Some(1), _) if !self.unsigned => "tinyint(1)".to_string(),
            (BaseType::TinyInt | BaseType::SmallInt | BaseType::MediumInt | BaseType::Int | BaseType::BigInt, Some(n), _)
                if self.zerofill =>
            {
                format!("{base}({n})")
            }
            (BaseType::Decimal, n, d) => format!("decimal({},{})", n.unwrap_or(10), d.unwrap_or(0)),
            (BaseType::Float | BaseType::Double, Some(n), Some(d)) => format!("{base}({n},{d})"),
            (BaseType::Bit, n, _) => format!("bit({})", n.unwrap_or(1)),
            (BaseType::Char | BaseType::Binary, n, _) => format!("{base}({})", n.unwrap_or(1)),
            (BaseType::VarChar | BaseType::VarBinary, Some(n), _) => format!("{base}({n})"),
            (BaseType::Vector, n, _) => format!("vector({})", n.unwrap_or(2048)),
            (BaseType::Time | BaseType::DateTime | BaseType::Timestamp, _, Some(d)) if d > 0 => format!("{base}({d})"),
            (BaseType::Enum | BaseType::Set, _, _) => {
                let labels: Vec<String> = self.labels.iter().map(|l| format!("'{}'", l.replace('\'', "''"))).collect();
                format!("{base}({})", labels.join(","))
            }
            _ => base.to_string(),
        };
        if self.unsigned {
            out.push_str(" unsigned");
        }
        if self.zerofill {
            out.push_str(" zerofill");
        }
        out
    }

    /// DATA_TYPE of information_schema: the name alone.
    pub fn base_name(&self) -> &'static str {
        match self.base {
            BaseType::TinyInt => "tinyint",
            BaseType::SmallInt => "smallint",
            BaseType::MediumInt => "mediumint",
            BaseType::Int => "int",
            BaseType::BigInt => "bigint",
            BaseType::Float => "float",
            BaseType::Double => "double",
            BaseType::Decimal => "decimal",
            BaseType::Bit => "bit",
            BaseType::Year => "year",
            BaseType::Date => "date",
            BaseType::Time => "time",
            BaseType::DateTime => "datetime",
            BaseType::Timestamp => "timestamp",
            BaseType::Char => "char",
            BaseType::VarChar => "varchar",
            BaseType::Binary => "binary",
            BaseType::VarBinary => "varbinary",
            BaseType::TinyText => "tinytext",
            BaseType::Text => "text",
            BaseType::MediumText => "mediumtext",
            BaseType::LongText => "longtext",
            BaseType::TinyBlob => "tinyblob",
            BaseType::Blob => "blob",
            BaseType::MediumBlob => "mediumblob",
            BaseType::LongBlob => "longblob",
            BaseType::Enum => "enum",
            BaseType::Set => "set",
            BaseType::Json => "json",
            BaseType::Vector => "vector",
        }
    }
}

/// Appends a stored value's MySQL text. NULL (and an absent value) appends nothing: the caller marks it.
pub fn write(out: &mut Vec<u8>, ty: &ColumnType, value: ValueRef<'_>) {
    match value {
        ValueRef::Absent | ValueRef::Null => {}
        ValueRef::Int(v) => write_int_value(out, ty, v),
        ValueRef::Real(v) => write_real(out, ty, v),
        ValueRef::Text(t) => write_text_value(out, ty, t),
        ValueRef::Blob(b) => out.extend_from_slice(b),
    }
}

fn write_int_value(out: &mut Vec<u8>, ty: &ColumnType, v: i64) {
    match ty.base {
        BaseType::Time => match ty.decimals.unwrap_or(0) {
            FLEXIBLE if v % 1_000_000 == 0 => write_time(out, v, 0),
            decimals => write_time(out, v, decimals),
        },
        BaseType::Enum => {
            if let Some(label) = usize::try_from(v - 1).ok().and_then(|i| ty.labels.get(i)) {
                out.extend_from_slice(label.as_bytes());
            }
        }
        BaseType::Set => write_set(out, ty, v as u64),
        BaseType::Bit => write_bits(out, ty, v as u64),
        BaseType::Year => pad_number(out, v as u64, 4),
        BaseType::Decimal => {
            write_i64(out, v);
            push_zeros_fraction(out, ty.decimals.unwrap_or(0));
        }
        BaseType::Float | BaseType::Double => write_real(out, ty, v as f64),
        _ if ty.zerofill && v >= 0 => pad_number(out, v as u64, display_width(ty)),
        _ => write_i64(out, v),
    }
}

fn write_text_value(out: &mut Vec<u8>, ty: &ColumnType, text: &[u8]) {
    match ty.base {
        BaseType::BigInt => {
            let digits = strip_zeros(text);
            if ty.zerofill {
                let missing = display_width(ty).saturating_sub(digits.len());
                out.resize(out.len() + missing, b'0');
            }
            out.extend_from_slice(digits);
        }
        BaseType::Bit => write_bits(out, ty, parse_u64(text)),
        BaseType::Set => write_set(out, ty, parse_u64(text)),
        _ => out.extend_from_slice(text),
    }
}

/// A stored unsigned number in its 20-digit form (or any digits).
pub fn parse_u64(text: &[u8]) -> u64 {
    text.iter()
        .filter(|b| b.is_ascii_digit())
        .fold(0u64, |n, b| n.wrapping_mul(10).wrapping_add(u64::from(b - b'0')))
}

fn strip_zeros(text: &[u8]) -> &[u8] {
    let zeros = text.iter().take(text.len().saturating_sub(1)).take_while(|b| **b == b'0').count();
    &text[zeros..]
}

pub fn write_i64(out: &mut Vec<u8>, v: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes());
}

fn push_zeros_fraction(out: &mut Vec<u8>, decimals: u8) {
    if decimals > 0 {
        out.push(b'.');
        out.resize(out.len() + decimals as usize, b'0');
    }
}

/// The width to which ZEROFILL pads.
fn display_width(ty: &ColumnType) -> usize {
    ty.length.map_or(
        match ty.base {
            BaseType::TinyInt => 3,
            BaseType::SmallInt => 5,
            BaseType::MediumInt => 8,
            BaseType::Int => 10,
            _ => 20,
        },
        |n| n as usize,
    )
}

fn pad_number(out: &mut Vec<u8>, v: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(v);
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits.as_bytes());
}

fn write_set(out: &mut Vec<u8>, ty: &ColumnType, bits: u64) {
    let mut first = true;
    for (index, label) in ty.labels.iter().enumerate().take(64) {
        if bits >> index & 1 == 1 {
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(label.as_bytes());
        }
    }
}

fn write_bits(out: &mut Vec<u8>, ty: &ColumnType, bits: u64) {
    let bytes = (ty.length.unwrap_or(1) as usize).div_ceil(8).clamp(1, 8);
    out.extend_from_slice(&bits.to_be_bytes()[8 - bytes..]);
}

/// Signed microseconds as `[-]HH:MM:SS[.fraction]`, hours with at least two digits.
pub fn write_time(out: &mut Vec<u8>, micros: i64, decimals: u8) {
    if micros < 0 {
        out.push(b'-');
    }
    let total = micros.unsigned_abs();
    let seconds = total / 1_000_000;
    pad_number(out, seconds / 3600, 2);
    out.push(b':');
    pad_number(out, seconds / 60 % 60, 2);
    out.push(b':');
    pad_number(out, seconds % 60, 2);
    write_fraction(out, (total % 1_000_000) as u32, decimals);
}

/// `.` and the first `decimals` (at most 6) digits of `micros`; nothing for 0.
pub fn write_fraction(out: &mut Vec<u8>, micros: u32, decimals: u8) {
    let decimals = usize::from(decimals.min(6));
    if decimals > 0 {
        out.push(b'.');
        let start = out.len();
        pad_number(out, u64::from(micros), 6);
        out.truncate(start + decimals);
    }
}

fn write_real(out: &mut Vec<u8>, ty: &ColumnType, v: f64) {
    match (ty.decimals.filter(|d| *d < 31), ty.base) {
        (Some(d), BaseType::Float | BaseType::Double) => {
            let start = out.len();
            // Infallible: the sink is a Vec.
            let _ = write!(out, "{v:.*}", d as usize);
            if ty.zerofill {
                let width = ty.length.unwrap_or(0) as usize;
                let missing = width.saturating_sub(out.len() - start);
                out.splice(start..start, std::iter::repeat_n(b'0', missing));
            }
        }
        (_, BaseType::Float) => write_float(out, v),
        (_, BaseType::Decimal) => {
            let _ = write!(out, "{v:.*}", ty.decimals.unwrap_or(0) as usize);
        }
        _ => write_double(out, v),
    }
}

/// A DOUBLE: the shortest digits that read back the same, with an exponent where MySQL takes one.
pub fn write_double(out: &mut Vec<u8>, v: f64) {
    if !v.is_finite() {
        out.extend_from_slice(if v.is_nan() {
            b"nan"
        } else if v > 0.0 {
            b"inf"
        } else {
            b"-inf"
        });
        return;
    }
    if v.fract() == 0.0 && v.abs() < 1e15 {
        if v == 0.0 && v.is_sign_negative() {
            out.push(b'-');
        }
        return write_i64(out, v as i64);
    }
    let mut buffer = ryu::Buffer::new();
    write_digits(out, buffer.format_finite(v).as_bytes());
}

/// A FLOAT: six significant digits.
pub fn write_float(out: &mut Vec<u8>, v: f64) {
    if !v.is_finite() {
        return write_double(out, v);
    }
    let mut buffer = [0u8; 32];
    let mut rest = &mut buffer[..];
    if write!(rest, "{v:.5e}").is_err() {
        return write_double(out, v);
    }
    let left = rest.len();
    let used = buffer.len() - left;
    write_digits(out, &buffer[..used]);
}

/// Beyond this many digits before the point (or zeros behind it) MySQL switches to an exponent.
const FIXED_POINT_MAX: i32 = 15;

/// Rewrites `[-]d[.ddd][e[-]x]` in MySQL's manner.
fn write_digits(out: &mut Vec<u8>, number: &[u8]) {
    let (negative, number) = match number.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = match memchr::memchr(b'e', number) {
        Some(at) => (&number[..at], parse_exponent(&number[at + 1..])),
        None => (number, 0),
    };
    let mut digits = [0u8; 32];
    let mut count = 0;
    let mut point = exponent;
    let mut before_point = true;
    for &byte in mantissa {
        if byte == b'.' {
            before_point = false;
            continue;
        }
        // leading zeros carry no digit, but behind the point they move it
        if count == 0 && byte == b'0' {
            point -= i32::from(!before_point);
            continue;
        }
        point += i32::from(before_point);
        if count < digits.len() {
            digits[count] = byte;
            count += 1;
        }
    }
    while count > 0 && digits[count - 1] == b'0' {
        count -= 1;
    }
    if negative {
        out.push(b'-');
    }
    place_point(out, &digits[..count], point);
}

/// `0.digits × 10^point`
fn place_point(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    let length = digits.len() as i32;
    if length == 0 {
        out.push(b'0');
    } else if point > -FIXED_POINT_MAX && (point <= FIXED_POINT_MAX || length > point) {
        if point <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-point) as usize, b'0');
            out.extend_from_slice(digits);
        } else if length <= point {
            out.extend_from_slice(digits);
            out.resize(out.len() + (point - length) as usize, b'0');
        } else {
            out.extend_from_slice(&digits[..point as usize]);
            out.push(b'.');
            out.extend_from_slice(&digits[point as usize..]);
        }
    } else {
        out.push(digits[0]);
        if length > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        write_i64(out, i64::from(point - 1));
    }
}

fn parse_exponent(text: &[u8]) -> i32 {
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(v: f64) -> String {
        let mut out = Vec::new();
        write_double(&mut out, v);
        String::from_utf8(out).unwrap()
    }
    fn float(v: f32) -> String {
        let mut out = Vec::new();
        write_float(&mut out, f64::from(v));
        String::from_utf8(out).unwrap()
    }
    fn shown(ty: &ColumnType, value: ValueRef<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, ty, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_look_as_in_mysql() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (1e20, "1e20"),
            (1.5e20, "1.5e20"),
            (123456789012345680.0, "1.2345678901234568e17"),
            (1234567890123456.7, "1234567890123456.8"),
            (0.00001, "0.00001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (-2.5e-20, "-2.5e-20"),
            (f64::MAX, "1.7976931348623157e308"),
            (2.65359, "2.65359"),
            (100.25, "100.25"),
        ];
        for (value, text) in cases {
            assert_eq!(double(*value), *text);
        }
    }

    #[test]
    fn floats_have_six_digits() {
        assert_eq!(float(0.1), "0.1");
        assert_eq!(float(16777216.0), "16777200");
        assert_eq!(float(123456.7), "123457");
        assert_eq!(float(1e20), "1e20");
        assert_eq!(float(2.6535927), "2.65359");
        assert_eq!(float(0.0), "0");
    }

    #[test]
    fn stored_values_by_their_type() {
        let mut ty = ColumnType::new(BaseType::Int);
        ty.zerofill = true;
        ty.unsigned = true;
        ty.length = Some(5);
        assert_eq!(shown(&ty, ValueRef::Int(42)), "00042");
        let mut ty = ColumnType::new(BaseType::BigInt);
        ty.unsigned = true;
        assert_eq!(shown(&ty, ValueRef::Text(b"09223372036854775808")), "9223372036854775808");
        let mut ty = ColumnType::new(BaseType::Enum);
        ty.labels = vec!["a".into(), "b".into()];
        assert_eq!(shown(&ty, ValueRef::Int(2)), "b");
        assert_eq!(shown(&ty, ValueRef::Int(0)), "");
        ty.base = BaseType::Set;
        assert_eq!(shown(&ty, ValueRef::Int(3)), "a,b");
        let mut ty = ColumnType::new(BaseType::Time);
        ty.decimals = Some(3);
        assert_eq!(
            shown(&ty, ValueRef::Int(-(838 * 3600 + 59 * 60 + 59) * 1_000_000 - 250_000)),
            "-838:59:59.250"
        );
        let mut ty = ColumnType::new(BaseType::Decimal);
        ty.decimals = Some(2);
        assert_eq!(shown(&ty, ValueRef::Int(7)), "7.00");
        let mut ty = ColumnType::new(BaseType::Bit);
        ty.length = Some(10);
        assert_eq!(shown(&ty, ValueRef::Int(0x141)), "\u{1}A");
        assert_eq!(shown(&ColumnType::new(BaseType::Year), ValueRef::Int(0)), "0000");
    }

    #[test]
    fn type_names() {
        let mut ty = ColumnType::new(BaseType::TinyInt);
        ty.length = Some(1);
        assert_eq!(ty.sql_name(), "tinyint(1)");
        let mut ty = ColumnType::new(BaseType::Enum);
        ty.labels = vec!["a".into(), "it's".into()];
        assert_eq!(ty.sql_name(), "enum('a','it''s')");
        let mut ty = ColumnType::new(BaseType::Decimal);
        ty.unsigned = true;
        assert_eq!(ty.sql_name(), "decimal(10,0) unsigned");
        let mut ty = ColumnType::new(BaseType::DateTime);
        ty.decimals = Some(6);
        assert_eq!(ty.sql_name(), "datetime(6)");
    }
}
