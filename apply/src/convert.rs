//! Values under another definition: what a stored value becomes when its column's type changes, and what fills a new column.
//!
//! Promises: pure and total, so that every node converts alike: there is no error, only the nearest value (clamped, cut).
//! Whether a statement may do it at all was decided when the change was made. Must not know: SQLite.

use starling_log::{Value, ValueRef};

use crate::catalog::{Column, DefaultValue};
use crate::types::{BaseType, ColumnType};

/// The value of `column` in rows that were written before it was there.
pub fn default_stored(column: &Column) -> Value {
    let constant = match &column.default {
        DefaultValue::Literal(text) => Some(parse(&Value::Text(text.clone().into_bytes()), &column.ty)),
        DefaultValue::Bytes(bytes) => Some(parse(&Value::Blob(bytes.clone()), &column.ty)),
        DefaultValue::Null | DefaultValue::None | DefaultValue::Now | DefaultValue::Expr(_) => None,
    };
    match constant {
        Some(value) => value,
        None if column.nullable => Value::Null,
        None => implicit(&column.ty),
    }
}

/// What NOT NULL without DEFAULT falls back to.
pub fn implicit(ty: &ColumnType) -> Value {
    use BaseType::*;
    match ty.base {
        TinyInt | SmallInt | MediumInt | Int | BigInt | Year | Time | Bit | Set => Value::Int(0),
        Enum => Value::Int(1),
        Float | Double => Value::Real(0.0),
        Decimal => Value::Text(decimal("0", ty)),
        Date => Value::Text(b"0000-00-00".to_vec()),
        DateTime | Timestamp => Value::Text(with_fraction("0000-00-00 00:00:00", ty)),
        Char | VarChar | TinyText | Text | MediumText | LongText => Value::Text(Vec::new()),
        Json => Value::Text(b"null".to_vec()),
        Binary => Value::Blob(vec![0; ty.length.unwrap_or(1) as usize]),
        VarBinary | TinyBlob | Blob | MediumBlob | LongBlob | Vector => Value::Blob(Vec::new()),
    }
}

/// `value` of a column as it was, as the column is to be.
pub fn convert(value: ValueRef<'_>, from: &Column, to: &Column) -> Value {
    match value {
        ValueRef::Absent | ValueRef::Null if !to.nullable && to.generated.is_none() => implicit(&to.ty),
        ValueRef::Absent | ValueRef::Null => Value::Null,
        _ if keeps_values(&from.ty, &to.ty) => value.to_owned().unwrap_or(Value::Null),
        _ => parse(&shown(value, &from.ty), &to.ty),
    }
}

/// Is every canonical value of `from` the same canonical value of `to`?
pub fn keeps_values(from: &ColumnType, to: &ColumnType) -> bool {
    use BaseType::*;
    if from == to {
        return true;
    }
    let longer = from.length.unwrap_or(0) <= to.length.unwrap_or(u32::MAX);
    let text = |t: &ColumnType| t.is_character();
    match (from.base, to.base) {
        _ if from.is_integer() && to.is_integer() => {
            let ((a, b), (c, d)) = (range(from), range(to));
            c <= a && b <= d && (from.base == BigInt && from.unsigned) == (to.base == BigInt && to.unsigned)
        }
        _ if text(from) && text(to) => longer && to.base != Char,
        (Char, Char) => longer,
        (VarBinary | TinyBlob | Blob | MediumBlob | LongBlob, VarBinary | TinyBlob | Blob | MediumBlob | LongBlob) => longer,
        (Float, Double) => true,
        (Enum, Enum) | (Set, Set) => to.labels.starts_with(&from.labels),
        (Decimal, Decimal) => from.decimals == to.decimals && longer,
        (Json, Json) => true,
        _ => false,
    }
}

fn range(ty: &ColumnType) -> (i128, i128) {
    use BaseType::*;
    let bits = match ty.base {
        TinyInt => 8,
        SmallInt => 16,
        MediumInt => 24,
        Int => 32,
        _ => 64,
    };
    if ty.unsigned {
        (0, (1i128 << bits) - 1)
    } else {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    }
}

/// The value as text, number or bytes without its type: labels for ENUM and SET, `HH:MM:SS` for TIME.
fn shown(value: ValueRef<'_>, ty: &ColumnType) -> Value {
    use BaseType::*;
    let owned = value.to_owned().unwrap_or(Value::Null);
    match (ty.base, &owned) {
        (Enum, Value::Int(i)) => {
            let label = usize::try_from(*i - 1).ok().and_then(|i| ty.labels.get(i));
            Value::Text(label.cloned().unwrap_or_default().into_bytes())
        }
        (Set, Value::Int(bits)) => {
            let chosen: Vec<&str> = ty
                .labels
                .iter()
                .enumerate()
                .filter(|(i, _)| *i < 63 && bits >> i & 1 == 1)
                .map(|(_, l)| l.as_str())
                .collect();
            Value::Text(chosen.join(",").into_bytes())
        }
        (Time, Value::Int(micros)) => Value::Text(time_text(*micros, ty).into_bytes()),
        _ => owned,
    }
}

fn time_text(micros: i64, ty: &ColumnType) -> String {
    let (sign, m) = if micros < 0 {
        ("-", micros.unsigned_abs())
    } else {
        ("", micros.unsigned_abs())
    };
    let s = m / 1_000_000;
    let mut text = format!("{sign}{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
    let digits = usize::from(ty.decimals.unwrap_or(0)).min(6);
    if digits > 0 {
        let fraction = format!("{:06}", m % 1_000_000);
        text.push('.');
        text.push_str(&fraction[..digits]);
    }
    text
}

/// The nearest canonical value of `ty`.
fn parse(value: &Value, ty: &ColumnType) -> Value {
    use BaseType::*;
    match ty.base {
        TinyInt | SmallInt | MediumInt | Int | BigInt | Bit | Year => integer(value, ty),
        Float => Value::Real(f64::from(number(value) as f32)),
        Double => Value::Real(number(value)),
        Decimal => Value::Text(decimal(&text(value), ty)),
        Enum => Value::Int(label(value, &ty.labels)),
        Set => Value::Int(set(&text(value), &ty.labels)),
        Time => Value::Int(time(&text(value))),
        Date => Value::Text(date(&text(value)).into_bytes()),
        DateTime | Timestamp => Value::Text(datetime(&text(value), ty)),
        Char => Value::Text(cut(text(value).trim_end_matches(' '), ty.length).into_bytes()),
        VarChar | TinyText | Text | MediumText | LongText => Value::Text(cut(&text(value), ty.length).into_bytes()),
        Json => Value::Text(text(value).into_bytes()),
        Binary => {
            let mut bytes = bytes(value);
            bytes.resize(ty.length.unwrap_or(1) as usize, 0);
            Value::Blob(bytes)
        }
        VarBinary | TinyBlob | Blob | MediumBlob | LongBlob | Vector => {
            let mut bytes = bytes(value);
            if let (VarBinary, Some(n)) = (ty.base, ty.length) {
                bytes.truncate(n as usize);
            }
            Value::Blob(bytes)
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Int(i) => i.to_string(),
        Value::Real(r) => format!("{r}"),
        Value::Text(b) | Value::Blob(b) => String::from_utf8_lossy(b).into_owned(),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(b) | Value::Blob(b) => b.clone(),
        other => text(other).into_bytes(),
    }
}

/// The leading number of a text, as MySQL reads it in a numeric context.
fn number(value: &Value) -> f64 {
    match value {
        Value::Int(i) => *i as f64,
        Value::Real(r) => *r,
        other => leading(text(other).trim_start()).parse().unwrap_or(0.0),
    }
}

/// The longest prefix that reads as `[+-]digits[.digits][e[+-]digits]`.
fn leading(text: &str) -> &str {
    let b = text.as_bytes();
    let digits = |mut i: usize| {
        while b.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let start = usize::from(matches!(b.first(), Some(b'+' | b'-')));
    let mut end = digits(start);
    if b.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(b.get(end), Some(b'e' | b'E')) && end > start {
        let sign = end + 1 + usize::from(matches!(b.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(sign);
        if exponent > sign {
            end = exponent;
        }
    }
    &text[..end]
}

fn integer(value: &Value, ty: &ColumnType) -> Value {
    let exact = match value {
        Value::Int(i) => i128::from(*i),
        other => {
            let text = text(other);
            let lead = leading(text.trim_start());
            lead.parse::<i128>().unwrap_or_else(|_| number(other).round() as i128)
        }
    };
    let (low, high) = match ty.base {
        BaseType::Year => (0, 2155),
        BaseType::Bit => (0, (1i128 << ty.length.unwrap_or(1).clamp(1, 64)) - 1),
        _ => range(ty),
    };
    let clamped = exact.clamp(low, high);
    i64::try_from(clamped).map_or_else(|_| Value::Text(format!("{clamped:020}").into_bytes()), Value::Int)
}

/// Exactly `ty.decimals` decimals, rounded half away from zero, clamped to the precision.
fn decimal(text: &str, ty: &ColumnType) -> Vec<u8> {
    use bigdecimal::{BigDecimal, RoundingMode};
    let scale = i64::from(ty.decimals.unwrap_or(0));
    let precision = i64::from(ty.length.unwrap_or(10));
    let lead = leading(text.trim_start());
    let parsed = lead.parse::<BigDecimal>().unwrap_or_default();
    let mut rounded = parsed.with_scale_round(scale, RoundingMode::HalfUp);
    let limit = BigDecimal::new(
        bigdecimal::num_bigint::BigInt::from(10).pow(u32::try_from(precision).unwrap_or(65)) - 1,
        scale,
    );
    if rounded > limit {
        rounded = limit;
    } else if rounded < -limit.clone() {
        rounded = -limit;
    }
    rounded.to_plain_string().into_bytes()
}

fn label(value: &Value, labels: &[String]) -> i64 {
    if let Value::Int(i) = value {
        return if usize::try_from(*i).is_ok_and(|i| i <= labels.len()) {
            *i
        } else {
            0
        };
    }
    let text = text(value).to_lowercase();
    let found = labels.iter().position(|l| l.to_lowercase() == text);
    found.and_then(|i| i64::try_from(i + 1).ok()).unwrap_or(0)
}

fn set(text: &str, labels: &[String]) -> i64 {
    let mut bits = 0;
    for item in text.split(',') {
        if let Some(i) = labels
            .iter()
            .position(|l| l.to_lowercase() == item.to_lowercase())
            .filter(|i| *i < 63)
        {
            bits |= 1 << i;
        }
    }
    bits
}

fn time(text: &str) -> i64 {
    let clock = text.rsplit(' ').next().unwrap_or_default();
    let (negative, clock) = clock.strip_prefix('-').map_or((false, clock), |c| (true, c));
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut seconds = 0i64;
    for part in whole.split(':').take(3) {
        seconds = seconds.saturating_mul(60).saturating_add(part.parse().unwrap_or(0));
    }
    let micros: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    let all = seconds.saturating_mul(1_000_000).saturating_add(micros.parse().unwrap_or(0));
    let all = all.min(3_020_399_000_000);
    if negative { -all } else { all }
}

fn date(text: &str) -> String {
    let day: String = text.chars().take(10).collect();
    if day.len() == 10
        && day
            .bytes()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() })
    {
        day
    } else {
        "0000-00-00".into()
    }
}

fn datetime(text: &str, ty: &ColumnType) -> Vec<u8> {
    let day = date(text);
    let clock = text.get(11..).unwrap_or_default();
    let whole = clock.get(..8).unwrap_or("00:00:00");
    let fraction = clock.get(9..).unwrap_or_default();
    with_fraction(&format!("{day} {whole}.{fraction}"), ty)
}

/// `… HH:MM:SS[.digits]` with exactly the fraction digits of the type.
fn with_fraction(text: &str, ty: &ColumnType) -> Vec<u8> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = usize::from(ty.decimals.unwrap_or(0)).min(6);
    let mut out = whole.to_owned();
    if digits > 0 {
        out.push('.');
        out.extend(fraction.chars().chain(std::iter::repeat('0')).take(digits));
    }
    out.into_bytes()
}

fn cut(text: &str, length: Option<u32>) -> String {
    match length {
        Some(n) => text.chars().take(n as usize).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{column, int, text};

    fn of(ty: ColumnType) -> Column {
        column(1, "c", ty)
    }
    fn sized(base: BaseType, length: u32, decimals: u8) -> ColumnType {
        ColumnType {
            length: Some(length),
            decimals: Some(decimals),
            ..ColumnType::new(base)
        }
    }

    #[test]
    fn numbers_are_clamped_and_texts_are_cut() {
        let tiny = of(ColumnType::new(BaseType::TinyInt));
        assert_eq!(convert(ValueRef::Int(300), &of(int()), &tiny), Value::Int(127));
        let words = of(text("utf8mb4_bin"));
        assert_eq!(convert(ValueRef::Text(b" 12.6 apples"), &words, &tiny), Value::Int(13));
        let short = of(sized(BaseType::VarChar, 3, 0));
        assert_eq!(
            convert(ValueRef::Text("äöüß".as_bytes()), &words, &short),
            Value::Text("äöü".into())
        );
        let dec = of(sized(BaseType::Decimal, 4, 2));
        assert_eq!(convert(ValueRef::Int(1234), &of(int()), &dec), Value::Text(b"99.99".to_vec()));
        assert_eq!(convert(ValueRef::Text(b"-1.005"), &words, &dec), Value::Text(b"-1.01".to_vec()));
    }

    #[test]
    fn labels_travel_by_name() {
        let letters = |l: &[&str]| {
            of(ColumnType {
                labels: l.iter().map(|s| (*s).to_owned()).collect(),
                ..ColumnType::new(BaseType::Enum)
            })
        };
        let (from, to) = (letters(&["a", "b"]), letters(&["b", "c"]));
        assert_eq!(convert(ValueRef::Int(2), &from, &to), Value::Int(1));
        assert_eq!(convert(ValueRef::Int(1), &from, &to), Value::Int(0));
    }

    #[test]
    fn a_new_column_takes_its_default() {
        let mut c = of(int());
        assert_eq!(default_stored(&c), Value::Null);
        c.nullable = false;
        assert_eq!(default_stored(&c), Value::Int(0));
        c.default = DefaultValue::Literal("7".into());
        assert_eq!(default_stored(&c), Value::Int(7));
    }
}
