//! A bound expression: SQLite text, or a constant whose form is not settled yet.
//!
//! Promises: a literal or parameter stays open until its neighbour's type is known, so that `column = literal` compares in
//! the column's own form. Must not know: name resolution.

use starling_apply::BaseType;

use crate::sql::ast::Literal;
use crate::sql::func::convert::{Form, form};
use crate::sql::types::{Coercibility, Ty};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Code {
    Sql(String),
    Literal { value: Literal, slot: u32 },
    Param(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Ex {
    pub code: Code,
    pub ty: Ty,
    /// The column it is, nothing around it: index into `Binder::sources` and into its columns.
    pub col: Option<(usize, usize)>,
}

impl Ex {
    pub fn sql(sql: impl Into<String>, ty: Ty) -> Ex {
        Ex {
            code: Code::Sql(sql.into()),
            ty,
            col: None,
        }
    }
    /// 0, 1 or NULL; `sql` is an operator's text, put in parentheses.
    pub fn boolean(sql: impl AsRef<str>, nullable: bool) -> Ex {
        Ex::sql(format!("({})", sql.as_ref()), boolean(nullable))
    }
    pub fn is_null(&self) -> bool {
        matches!(self.code, Code::Literal { value: Literal::Null, .. })
    }
    pub fn is_constant(&self) -> bool {
        !matches!(self.code, Code::Sql(_))
    }
}

pub(crate) fn boolean(nullable: bool) -> Ty {
    let mut ty = Ty::int(nullable);
    ty.ty.length = Some(1);
    ty
}

/// The type of a literal whose text may be another one when the plan is used again: as wide as any of its kind.
pub(crate) fn open_type(value: &Literal, connection: &str) -> (Ty, bool) {
    let (mut ty, pinned) = literal_type(value, connection);
    match value {
        Literal::Integer(_) => ty.ty.length = None,
        Literal::String { .. } | Literal::National(_) | Literal::Hex { .. } | Literal::Bits { .. } => {
            ty.ty.base = if ty.ty.is_binary() {
                BaseType::LongBlob
            } else {
                BaseType::LongText
            };
            ty.ty.length = None;
        }
        _ => {}
    }
    (ty, pinned)
}

/// A literal's own type. The flag: the type depends on the text (a plan made with it holds for this text only).
pub(crate) fn literal_type(value: &Literal, connection: &str) -> (Ty, bool) {
    match value {
        Literal::Null => (Ty::null(), false),
        Literal::Bool(_) => (boolean(false), false),
        Literal::Integer(v) => integer_type(*v),
        Literal::Decimal(text) => (decimal_type(text), true),
        Literal::Float(_) => (Ty::double(false), false),
        Literal::String { bytes, charset } => match charset.as_deref() {
            Some(c) if c.eq_ignore_ascii_case("binary") => (Ty::binary(bytes.len() as u32, false), false),
            Some(c) => (Ty::text(chars(bytes), default_collation(c), false), false),
            None => (Ty::text(chars(bytes), connection, false), false),
        },
        Literal::National(bytes) => (Ty::text(chars(bytes), "utf8mb3_general_ci", false), false),
        Literal::Hex { bytes, charset } | Literal::Bits { bytes, charset } => match charset.as_deref() {
            Some(c) if !c.eq_ignore_ascii_case("binary") => (Ty::text(chars(bytes), default_collation(c), false), false),
            _ => (Ty::binary(bytes.len() as u32, false), false),
        },
        Literal::Date(_) => (Ty::temporal(BaseType::Date, 0, false), false),
        Literal::Time(text) => (Ty::temporal(BaseType::Time, fraction_digits(text), false), text.contains('.')),
        Literal::Timestamp(text) => (Ty::temporal(BaseType::DateTime, fraction_digits(text), false), text.contains('.')),
    }
}

fn integer_type(value: u64) -> (Ty, bool) {
    let mut ty = match i64::try_from(value) {
        Ok(_) => Ty::int(false),
        Err(_) => Ty::unsigned(false),
    };
    ty.ty.length = Some(value.checked_ilog10().unwrap_or(0) + 1);
    let large = ty.ty.unsigned;
    (ty, large)
}

/// DECIMAL as wide as it is written; more than 65 digits are cut as MySQL does.
fn decimal_type(text: &str) -> Ty {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0').len().max(1) as u32;
    let scale = fraction.len().min(30) as u8;
    Ty::decimal((whole + u32::from(scale)).min(65), scale, false)
}

fn fraction_digits(text: &str) -> u8 {
    text.rsplit_once('.').map_or(0, |(_, f)| f.len().min(6) as u8)
}

fn chars(bytes: &[u8]) -> u32 {
    String::from_utf8_lossy(bytes).chars().count() as u32
}

/// The default collation of a charset, as MySQL 8.0 has it.
pub(crate) fn default_collation(charset: &str) -> &'static str {
    match charset.to_ascii_lowercase().as_str() {
        "latin1" => "latin1_swedish_ci",
        "ascii" => "ascii_general_ci",
        "utf8" | "utf8mb3" => "utf8mb3_general_ci",
        "ucs2" => "ucs2_general_ci",
        "utf16" => "utf16_general_ci",
        "utf32" => "utf32_general_ci",
        "binary" => "binary",
        _ => "utf8mb4_0900_ai_ci",
    }
}

/// Can a constant be brought into a form that compares with values of `ty` (which then need no conversion)?
pub(crate) fn fits(code: &Code, ty: &Ty, equality: bool) -> bool {
    let literal = match code {
        Code::Sql(_) => return false,
        Code::Param(_) if form(ty) == Form::DateTime && flexible(ty) => return false,
        Code::Param(_) => {
            return form(ty) != Form::Json
                && form(ty) != Form::Null
                && (equality || form(ty) != Form::Special || ty.ty.base == BaseType::Bit);
        }
        Code::Literal { value, .. } => value,
    };
    let textual = matches!(literal, Literal::String { .. } | Literal::National(_));
    let bytes = matches!(literal, Literal::Hex { .. } | Literal::Bits { .. });
    match form(ty) {
        Form::Int | Form::Unsigned | Form::Real | Form::Decimal => true,
        Form::DateTime if flexible(ty) => false,
        Form::Date | Form::DateTime | Form::Time => !bytes && !matches!(literal, Literal::Float(_) | Literal::Bool(_)),
        // Byte strings compare as bytes, not by the column's collation.
        Form::Text => textual && !matches!(literal, Literal::String { charset: Some(_), .. }),
        Form::Blob => textual || bytes,
        Form::Special => match ty.ty.base {
            BaseType::Enum | BaseType::Set => matches!(literal, Literal::Integer(_)) || (equality && textual),
            BaseType::Bit => !textual,
            _ => false,
        },
        Form::Json | Form::Null => false,
    }
}

/// A computed DATETIME has a fraction only where there is one: what compares with it is brought to six digits first.
fn flexible(ty: &Ty) -> bool {
    ty.ty.decimals.is_some_and(|d| d > 6)
}

/// The type of a conversion's result keeps how strongly its collation holds.
pub(crate) fn column_type(ty: &starling_apply::ColumnType, nullable: bool) -> Ty {
    let mut out = Ty::of(ty.clone(), nullable);
    if ty.collation.is_some() || ty.is_binary() {
        out.coercibility = Coercibility::Implicit;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_have_the_types_mysql_gives_them() {
        let c = "utf8mb4_0900_ai_ci";
        assert_eq!(literal_type(&Literal::Integer(5), c).0.ty.length, Some(1));
        assert!(literal_type(&Literal::Integer(u64::MAX), c).0.ty.unsigned);
        let (ty, pinned) = literal_type(&Literal::Decimal("12.50".into()), c);
        assert_eq!((ty.ty.length, ty.ty.decimals, pinned), (Some(4), Some(2), true));
        assert_eq!(decimal_type("0.5"), Ty::decimal(2, 1, false));
    }
}
