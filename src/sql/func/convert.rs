//! Conversions between MySQL's types as SQLite text: what `bind` wraps around an expression so that its value has the form
//! the place asks for.
//!
//! Promises: the identity (no text added) where nothing can differ; else built-in SQLite casts where they are exact, else
//! our functions. Must not know: where the expression came from.

use starling_apply::types::FLEXIBLE;
use starling_apply::{BaseType, Column, ColumnType};

use super::Kind;
use super::rule;
use crate::sql::types::{Coercibility, Ty};

pub use super::cast::BODIES;

/// A SQLite text literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A type as an argument of our functions: compact JSON, parsed once per statement.
pub fn spec(ty: &ColumnType) -> String {
    serde_json::to_string(ty).unwrap_or_default()
}

/// How a type's values are stored: what a conversion starts from or aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Null,
    Int,
    Unsigned,
    Real,
    Decimal,
    Text,
    Blob,
    Date,
    DateTime,
    Time,
    Json,
    /// ENUM, SET, BIT, VECTOR: text (or bytes) only by the type itself.
    Special,
}

pub fn form(ty: &Ty) -> Form {
    use BaseType::*;
    if ty.is_null {
        return Form::Null;
    }
    match ty.ty.base {
        BigInt if ty.ty.unsigned => Form::Unsigned,
        TinyInt | SmallInt | MediumInt | Int | BigInt | Year => Form::Int,
        Float | Double => Form::Real,
        Decimal => Form::Decimal,
        Char | VarChar | TinyText | Text | MediumText | LongText => Form::Text,
        Binary | VarBinary | TinyBlob | Blob | MediumBlob | LongBlob => Form::Blob,
        Date => Form::Date,
        DateTime | Timestamp => Form::DateTime,
        Time => Form::Time,
        Json => Form::Json,
        Enum | Set | Bit | Vector => Form::Special,
    }
}

/// The collation that holds for several operands; `binary` if one is a byte string.
pub fn collation_of(types: &[&Ty]) -> String {
    if types.iter().any(|t| rule::is_binary(t)) {
        return "binary".to_string();
    }
    collation_and_strength(types).0
}

/// The strongest collation and its strength. Two different ones of equal strength: a `_bin` one wins, else the first
/// (`bind` refuses such mixes with 1267 where MySQL does).
pub fn collation_and_strength(types: &[&Ty]) -> (String, Coercibility) {
    let mut best: Option<(&str, Coercibility)> = None;
    for ty in types.iter().filter(|t| !t.is_null) {
        let Some(collation) = &ty.ty.collation else { continue };
        let better = match best {
            None => true,
            Some((held, strength)) => {
                ty.coercibility < strength || (ty.coercibility == strength && collation.ends_with("_bin") && !held.ends_with("_bin"))
            }
        };
        if better {
            best = Some((collation, ty.coercibility));
        }
    }
    match best {
        Some((collation, strength)) => (collation.to_string(), strength),
        None => (rule::CONNECTION_COLLATION.to_string(), Coercibility::Coercible),
    }
}

/// The type that holds the values of all (CASE, IF, COALESCE, UNION).
pub fn common(types: &[&Ty]) -> Ty {
    let nullable = types.iter().any(|t| t.nullable);
    let given: Vec<&Ty> = types.iter().copied().filter(|t| !t.is_null).collect();
    let Some(first) = given.first() else { return Ty::null() };
    if given.iter().all(|t| t.ty == first.ty) {
        let mut ty = (*first).clone();
        ty.nullable = nullable;
        ty.coercibility = given.iter().map(|t| t.coercibility).min().unwrap_or(ty.coercibility);
        return ty;
    }
    let forms: Vec<Form> = given.iter().map(|t| form(t)).collect();
    let all = |allowed: &[Form]| forms.iter().all(|f| allowed.contains(f));
    if all(&[Form::Int, Form::Unsigned]) {
        return common_integer(&given, nullable);
    }
    if all(&[Form::Int, Form::Unsigned, Form::Decimal]) {
        let digits = given.iter().map(|t| rule::digits_and_scale(t).0).max().unwrap_or(10);
        let scale = given.iter().map(|t| rule::digits_and_scale(t).1).max().unwrap_or(0);
        return Ty::decimal((digits + u32::from(scale)).min(65), scale, nullable);
    }
    if all(&[Form::Int, Form::Unsigned, Form::Decimal, Form::Real]) {
        return Ty::double(nullable);
    }
    if all(&[Form::Date, Form::DateTime, Form::Time]) {
        let decimals = given.iter().map(|t| t.ty.decimals.unwrap_or(0)).max().unwrap_or(0);
        return match (all(&[Form::Date]), all(&[Form::Time])) {
            (true, _) => Ty::temporal(BaseType::Date, 0, nullable),
            (_, true) => Ty::temporal(BaseType::Time, decimals, nullable),
            _ => Ty::temporal(BaseType::DateTime, decimals, nullable),
        };
    }
    if all(&[Form::Json]) {
        return Ty::json(nullable);
    }
    let owned: Vec<Ty> = given.iter().map(|t| (*t).clone()).collect();
    rule::sized(&owned, owned.iter().map(rule::chars).max().unwrap_or(0), nullable)
}

fn common_integer(given: &[&Ty], nullable: bool) -> Ty {
    let size = |t: &Ty| match t.ty.base {
        BaseType::TinyInt => 1,
        BaseType::SmallInt | BaseType::Year => 2,
        BaseType::MediumInt => 3,
        BaseType::Int => 4,
        _ => 5,
    };
    let widest = given.iter().map(|t| size(t)).max().unwrap_or(5);
    let unsigned_widest = given.iter().filter(|t| t.ty.unsigned).map(|t| size(t)).max().unwrap_or(0);
    let all_unsigned = given.iter().all(|t| t.ty.unsigned);
    let needed = if !all_unsigned && unsigned_widest == widest {
        widest + 1
    } else {
        widest
    };
    let base = match needed {
        1 => BaseType::TinyInt,
        2 => BaseType::SmallInt,
        3 => BaseType::MediumInt,
        4 => BaseType::Int,
        5 => BaseType::BigInt,
        _ => return Ty::decimal(20, 0, nullable),
    };
    let mut ty = Ty::int(nullable);
    ty.ty.base = base;
    ty.ty.unsigned = all_unsigned;
    ty
}

/// The type in which operands are compared. Values brought there by [`to_type`] compare right with SQLite's operators, under
/// the type's collation (text), under `STARLING_DECIMAL` (DECIMAL), plainly otherwise.
pub fn comparison(types: &[&Ty]) -> Ty {
    let nullable = types.iter().any(|t| t.nullable);
    let given: Vec<&Ty> = types.iter().copied().filter(|t| !t.is_null).collect();
    if given.is_empty() {
        return Ty::null();
    }
    let forms: Vec<Form> = given.iter().map(|t| form(t)).collect();
    let all = |allowed: &[Form]| forms.iter().all(|f| allowed.contains(f));
    let has = |f: Form| forms.contains(&f);
    let strings = given
        .iter()
        .all(|t| matches!(form(t), Form::Text | Form::Blob) || matches!(t.ty.base, BaseType::Enum | BaseType::Set));
    if strings {
        let owned: Vec<Ty> = given.iter().map(|t| (*t).clone()).collect();
        return rule::sized(&owned, owned.iter().map(rule::chars).max().unwrap_or(0), nullable);
    }
    if all(&[Form::Int, Form::Unsigned]) {
        return if has(Form::Unsigned) {
            Ty::unsigned(nullable)
        } else {
            Ty::int(nullable)
        };
    }
    if all(&[Form::Int, Form::Unsigned, Form::Decimal]) {
        let scale = given.iter().map(|t| rule::digits_and_scale(t).1).max().unwrap_or(0);
        return Ty::decimal(65, scale, nullable);
    }
    if has(Form::Json) {
        return Ty::json(nullable);
    }
    let decimals = given.iter().map(|t| t.ty.decimals.unwrap_or(0)).max().unwrap_or(0);
    let temporal = |f: &Form| matches!(f, Form::Date | Form::DateTime | Form::Time);
    if forms.iter().any(temporal) && forms.iter().all(|f| temporal(f) || *f == Form::Text) {
        return match (has(Form::Date), has(Form::DateTime), has(Form::Time)) {
            (true, false, false) if !has(Form::Text) => Ty::temporal(BaseType::Date, 0, nullable),
            (false, false, true) => Ty::temporal(BaseType::Time, 6, nullable),
            _ => Ty::temporal(BaseType::DateTime, if has(Form::Text) { 6 } else { decimals }, nullable),
        };
    }
    Ty::double(nullable)
}

/// True if a value of `from` already is in the form of `to`.
pub fn identity(from: &Ty, to: &Ty) -> bool {
    match (form(from), form(to)) {
        (Form::Null, _) => true,
        (Form::Int, Form::Int | Form::Unsigned) | (Form::Unsigned, Form::Unsigned) => true,
        (Form::Real, Form::Real) => true,
        (Form::Decimal, Form::Decimal) => from.ty.decimals.unwrap_or(0) == to.ty.decimals.unwrap_or(0),
        (Form::Text, Form::Text) | (Form::Blob, Form::Blob) => {
            from.ty.base != BaseType::Binary || to.ty.base != BaseType::Binary || from.ty.length == to.ty.length
        }
        (Form::Date, Form::Date) | (Form::Time, Form::Time) | (Form::Json, Form::Json) => true,
        (Form::DateTime, Form::DateTime) => from.ty.decimals.unwrap_or(0) == to.ty.decimals.unwrap_or(0),
        _ => from.ty == to.ty,
    }
}

/// Implicit conversion (of a function's argument, a branch of CASE, a side of a comparison). TIMESTAMP columns must have been brought
/// into the session's zone before: here TIMESTAMP is DATETIME.
pub fn to_type(sql: &str, from: &Ty, to: &Ty) -> String {
    if identity(from, to) {
        return sql.to_string();
    }
    match (form(from), form(to)) {
        (_, Form::Text) => to_text(sql, from),
        (Form::Int | Form::Unsigned | Form::Decimal, Form::Real) => format!("CAST({sql} AS REAL)"),
        (_, Form::Real) => format!("starling_double({})", number_source(sql, from)),
        (_, Form::Blob) => to_blob(sql, from),
        (Form::Date, Form::DateTime) => match to.ty.decimals.unwrap_or(0) {
            0 | FLEXIBLE => format!("({sql}||' 00:00:00')"),
            d => format!("({sql}||' 00:00:00.{}')", "0".repeat(d as usize)),
        },
        (Form::DateTime, Form::Date) => format!("substr({sql},1,10)"),
        (Form::Int | Form::Unsigned, Form::Decimal) => match to.ty.decimals.unwrap_or(0) {
            0 if form(from) == Form::Int => format!("CAST({sql} AS TEXT)"),
            s => format!("starling_decimal({sql},65,{s})"),
        },
        (Form::Decimal, Form::Decimal) => format!("starling_decimal({sql},65,{})", to.ty.decimals.unwrap_or(0)),
        (Form::Text | Form::Blob | Form::Special, Form::Json) => format!("starling_json_value({},{})", sql, literal(&spec(&from.ty))),
        _ => format!("starling_convert({sql},{},{})", literal(&spec(&from.ty)), literal(&spec(&to.ty))),
    }
}

/// An argument in the form a function asks for, and the type it has then (`Common` and `Compare` are for `Function::lower`).
pub fn to_kind(sql: &str, ty: &Ty, kind: Kind) -> (String, Ty) {
    let as_type = |to: Ty| (to_type(sql, ty, &to), to);
    let n = ty.nullable;
    let decimals = ty.ty.decimals.unwrap_or(0);
    match kind {
        Kind::Any | Kind::Common | Kind::Compare => (sql.to_string(), ty.clone()),
        _ if ty.is_null => (sql.to_string(), ty.clone()),
        Kind::Text => match form(ty) {
            Form::Text | Form::Blob => (sql.to_string(), ty.clone()),
            _ if matches!(ty.ty.base, BaseType::Bit | BaseType::Vector) => (to_blob(sql, ty), Ty::binary(rule::chars(ty) as u32, n)),
            _ => (to_text(sql, ty), text_type(ty)),
        },
        Kind::Int => match form(ty) {
            Form::Int | Form::Unsigned => (sql.to_string(), ty.clone()),
            _ => (format!("starling_int({})", number_source(sql, ty)), Ty::int(n)),
        },
        Kind::Double => as_type(Ty::double(n)),
        Kind::Decimal => match form(ty) {
            Form::Int | Form::Unsigned | Form::Decimal => (sql.to_string(), ty.clone()),
            _ => as_type(Ty::decimal(65, 30, n)),
        },
        Kind::Number => number(sql, ty),
        Kind::Bool => match form(ty) {
            Form::Int | Form::Real | Form::Time => (sql.to_string(), ty.clone()),
            _ => (format!("starling_truth({})", number_source(sql, ty)), Ty::int(n)),
        },
        Kind::Temporal => match form(ty) {
            Form::Date | Form::DateTime | Form::Time => (sql.to_string(), ty.clone()),
            _ => as_type(Ty::temporal(BaseType::DateTime, FLEXIBLE, true)),
        },
        Kind::Date => as_type(Ty::temporal(BaseType::Date, 0, true)),
        Kind::Clock if matches!(form(ty), Form::Date | Form::DateTime | Form::Time) => (sql.to_string(), ty.clone()),
        Kind::Time | Kind::Clock => match form(ty) {
            Form::Text | Form::Int | Form::Unsigned | Form::Real | Form::Decimal => as_type(Ty::temporal(BaseType::Time, FLEXIBLE, true)),
            _ => as_type(Ty::temporal(BaseType::Time, decimals, true)),
        },
        Kind::DateTime => match form(ty) {
            Form::Date | Form::DateTime | Form::Time => as_type(Ty::temporal(BaseType::DateTime, decimals, true)),
            _ => as_type(Ty::temporal(BaseType::DateTime, FLEXIBLE, true)),
        },
        Kind::Json => match form(ty) {
            Form::Json => (sql.to_string(), ty.clone()),
            _ => (format!("starling_json_doc({})", sql), Ty::json(true)),
        },
        Kind::JsonValue => match form(ty) {
            Form::Json => (sql.to_string(), ty.clone()),
            _ => (format!("starling_json_value({sql},{})", literal(&spec(&ty.ty))), Ty::json(true)),
        },
        Kind::Binary => (to_blob(sql, ty), Ty::binary(rule::chars(ty).saturating_mul(4).min(65535) as u32, n)),
    }
}

/// What arithmetic takes: integers, DECIMAL, DOUBLE.
pub fn number(sql: &str, ty: &Ty) -> (String, Ty) {
    let decimals = ty.ty.decimals.unwrap_or(0);
    match form(ty) {
        Form::Null | Form::Int | Form::Unsigned | Form::Real | Form::Decimal => (sql.to_string(), ty.clone()),
        Form::Date | Form::DateTime | Form::Time => {
            let to = if decimals == 0 {
                Ty::int(ty.nullable)
            } else {
                Ty::decimal(14 + u32::from(decimals), decimals, ty.nullable)
            };
            (number_source(sql, ty), to)
        }
        Form::Special if ty.ty.base == BaseType::Bit => (sql.to_string(), Ty::unsigned(ty.nullable)),
        Form::Special if ty.ty.base != BaseType::Vector => (format!("CAST({sql} AS REAL)"), Ty::double(ty.nullable)),
        _ => (format!("starling_double({sql})"), Ty::double(ty.nullable)),
    }
}

/// The value as a number in whatever form (temporals as YYYYMMDDhhmmss), or as text to be parsed.
fn number_source(sql: &str, ty: &Ty) -> String {
    match form(ty) {
        Form::Date | Form::DateTime => format!("starling_temporal_number({sql})"),
        Form::Time => format!("starling_time_number({sql},{})", ty.ty.decimals.unwrap_or(0)),
        Form::Json => format!("starling_json_number({sql})"),
        _ => sql.to_string(),
    }
}

/// MySQL's text of a value.
pub fn to_text(sql: &str, from: &Ty) -> String {
    match form(from) {
        Form::Text | Form::Decimal | Form::Date | Form::DateTime | Form::Json | Form::Null => sql.to_string(),
        Form::Int if !from.ty.zerofill && from.ty.base != BaseType::Year => format!("CAST({sql} AS TEXT)"),
        Form::Blob => format!("starling_utf8({sql})"),
        _ => format!("starling_text({sql},{})", literal(&spec(&from.ty))),
    }
}

fn to_blob(sql: &str, from: &Ty) -> String {
    match form(from) {
        Form::Blob | Form::Null => sql.to_string(),
        Form::Special if matches!(from.ty.base, BaseType::Bit | BaseType::Vector) => {
            format!("starling_bytes({sql},{})", literal(&spec(&from.ty)))
        }
        _ => format!("CAST({} AS BLOB)", to_text(sql, from)),
    }
}

/// The type of [`to_text`].
pub fn text_type(from: &Ty) -> Ty {
    let (collation, strength) = match &from.ty.collation {
        Some(collation) => (collation.as_str(), from.coercibility),
        None => (rule::CONNECTION_COLLATION, Coercibility::Coercible),
    };
    let mut ty = rule::sized(&[], rule::chars(from), from.nullable);
    ty.ty.collation = Some(collation.to_string());
    ty.coercibility = strength;
    ty
}

/// Explicit CAST and CONVERT to the (catalog-like) type `to`: warnings 1292 where MySQL gives them.
pub fn cast(sql: &str, from: &Ty, to: &Ty) -> String {
    let unbounded = to.ty.length.is_none();
    match (form(from), form(to)) {
        (Form::Null, _) => sql.to_string(),
        (Form::Int, Form::Int) if to.ty.base == BaseType::BigInt => sql.to_string(),
        (Form::Date, Form::Date) | (Form::Json, Form::Json) => sql.to_string(),
        (Form::Text, Form::Text) | (Form::Blob, Form::Blob) if unbounded => sql.to_string(),
        (_, Form::Text) if unbounded => to_text(sql, from),
        (_, Form::Blob) if unbounded => to_blob(sql, from),
        _ => format!("starling_cast({sql},{},{})", literal(&spec(&from.ty)), literal(&spec(&to.ty))),
    }
}

/// Assignment of a value to a column, with MySQL's checks and errors; the identity where they cannot fail.
pub fn assign(sql: &str, from: &Ty, to: &Column) -> String {
    if from.is_null || never_fails(from, &to.ty) {
        return sql.to_string();
    }
    format!(
        "starling_store({sql},{},{},{})",
        literal(&spec(&from.ty)),
        literal(&spec(&to.ty)),
        literal(&to.name)
    )
}

fn never_fails(from: &Ty, to: &ColumnType) -> bool {
    use BaseType::*;
    if from.ty == *to && !matches!(to.base, Json | Vector) {
        return true;
    }
    match (form(from), to.base) {
        (Form::Int, BigInt) => !to.unsigned || from.ty.unsigned,
        (Form::Text, LongText) => true,
        (Form::Blob, LongBlob) => true,
        (Form::Text, VarChar) => from.ty.base == VarChar && from.ty.length <= to.length && from.ty.length.is_some(),
        (Form::Blob, VarBinary) => from.ty.length <= to.length && from.ty.length.is_some(),
        (Form::Real, Double) => !to.unsigned && to.decimals.is_none(),
        (Form::Int, Int) => rank(from.ty.base) <= rank(Int) && from.ty.unsigned == to.unsigned,
        _ => false,
    }
}

fn rank(base: BaseType) -> u8 {
    match base {
        BaseType::TinyInt => 1,
        BaseType::SmallInt => 2,
        BaseType::MediumInt => 3,
        BaseType::Int => 4,
        _ => 5,
    }
}
