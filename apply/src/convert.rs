//! Values under another definition: what a stored value becomes when its column's type changes, and what fills a new column.
//!
//! Promises: pure and total, so that every node converts alike: there is no error, only the nearest value (clamped, cut).
//! Whether a statement may do it at all was decided when the change was made. Must not know: SQLite.

use std::borrow::Cow;

use starling_log::{Value, ValueRef};

use crate::catalog::{Column, DefaultValue};
use crate::types::store::{Input, StoreMode, convert_stored, store};
use crate::types::temporal::DateTime;
use crate::types::{BaseType, ColumnType};

/// The value of `column` in rows that were written before it was there. `ms`: when it came to be, milliseconds since the epoch.
pub fn default_stored(column: &Column, ms: u64) -> Value {
    let text = |text: &str| given(&column.ty, Input::Text(Cow::Borrowed(text.as_bytes())));
    let constant = match &column.default {
        DefaultValue::Literal(literal) => text(literal),
        DefaultValue::Bytes(bytes) => given(&column.ty, Input::Bytes(bytes)),
        DefaultValue::Now => text(&utc(ms)),
        DefaultValue::Null | DefaultValue::None | DefaultValue::Expr(_) => Value::Null,
    };
    if constant == Value::Null && !column.nullable {
        implicit(&column.ty)
    } else {
        constant
    }
}

fn given(ty: &ColumnType, input: Input<'_>) -> Value {
    store(ty, input, &StoreMode::LENIENT, &mut None).unwrap_or(Value::Null)
}

fn utc(ms: u64) -> String {
    let micros = i64::try_from(ms).unwrap_or(0).saturating_mul(1000);
    let time = DateTime::from_unix_micros(micros).map(|t| t.to_text(6));
    String::from_utf8(time.unwrap_or_default()).unwrap_or_default()
}

/// What NOT NULL without DEFAULT falls back to.
pub fn implicit(ty: &ColumnType) -> Value {
    use BaseType::*;
    match ty.base {
        TinyInt | SmallInt | MediumInt | Int | BigInt | Year | Time | Bit | Set => Value::Int(0),
        Enum => Value::Int(1),
        Float | Double => Value::Real(0.0),
        Decimal => given(ty, Input::Int(0)),
        Date => Value::Text(b"0000-00-00".to_vec()),
        DateTime | Timestamp => {
            let digits = usize::from(ty.decimals.unwrap_or(0));
            let fraction = if digits > 0 { format!(".{:0digits$}", 0) } else { String::new() };
            Value::Text(format!("0000-00-00 00:00:00{fraction}").into_bytes())
        }
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
        _ => match convert_stored(value, &from.ty, &to.ty) {
            Value::Null if !to.nullable => implicit(&to.ty),
            converted => converted,
        },
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
        assert_eq!(default_stored(&c, 0), Value::Null);
        c.nullable = false;
        assert_eq!(default_stored(&c, 0), Value::Int(0));
        c.default = DefaultValue::Literal("7".into());
        assert_eq!(default_stored(&c, 0), Value::Int(7));
        let mut when = of(sized(BaseType::DateTime, 0, 2));
        when.default = DefaultValue::Now;
        assert_eq!(
            default_stored(&when, 951_782_400_120),
            Value::Text(b"2000-02-29 00:00:00.12".to_vec())
        );
    }
}
