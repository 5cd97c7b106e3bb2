//! Explicit conversions: the types that CAST, CONVERT and COLLATE name.

use starling_apply::{BaseType, ColumnType};

use super::Binder;
use super::value::{Ex, default_collation};
use crate::sql::ast::CastType;
use crate::sql::error::{Result, SqlError};
use crate::sql::func::{convert, rule};
use crate::sql::types::{Coercibility, Ty};

/// Digits that DECIMAL can have, and behind the point.
const PRECISION_MAX: u32 = 65;
const SCALE_MAX: u8 = 30;

fn typed(base: BaseType) -> Ty {
    Ty::of(ColumnType::new(base), true)
}

fn fraction(base: BaseType, decimals: Option<u8>) -> Result<Ty> {
    let decimals = decimals.unwrap_or(0);
    if decimals > 6 {
        return Err(SqlError::new(
            1426,
            format!("Too-big precision {decimals} specified for 'CAST'. Maximum is 6."),
        ));
    }
    Ok(Ty::temporal(base, decimals, true))
}

pub(crate) fn cast_type(to: &CastType, connection: &str) -> Result<Ty> {
    Ok(match to {
        CastType::Signed => Ty::int(true),
        CastType::Unsigned => Ty::unsigned(true),
        CastType::Char { length, charset } => {
            let collation = match charset {
                Some(charset) => known_charset(charset)?,
                None => connection,
            };
            let mut ty = Ty::text(0, collation, true);
            ty.ty.length = *length;
            ty
        }
        CastType::Binary { length } => {
            let mut ty = Ty::binary(0, true);
            // CAST(x AS BINARY(n)) pads with zero bytes, as the type does.
            ty.ty.base = if length.is_some() { BaseType::Binary } else { BaseType::VarBinary };
            ty.ty.length = *length;
            ty
        }
        CastType::Decimal { precision, scale } => {
            let (p, s) = (precision.unwrap_or(10), scale.unwrap_or(0));
            if p > PRECISION_MAX {
                return Err(SqlError::new(
                    1426,
                    format!("Too-big precision {p} specified for 'CAST'. Maximum is {PRECISION_MAX}."),
                ));
            }
            if s > SCALE_MAX {
                return Err(SqlError::new(
                    1425,
                    format!("Too big scale {s} specified for column 'CAST'. Maximum is {SCALE_MAX}."),
                ));
            }
            let p = if p == 0 { 10 } else { p };
            if u32::from(s) > p {
                return Err(SqlError::new(
                    1427,
                    "For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column 'CAST').",
                ));
            }
            Ty::decimal(p, s, true)
        }
        CastType::Float => typed(BaseType::Float),
        CastType::Double => Ty::double(true),
        CastType::Date => Ty::temporal(BaseType::Date, 0, true),
        CastType::Time { decimals } => fraction(BaseType::Time, *decimals)?,
        CastType::DateTime { decimals } => fraction(BaseType::DateTime, *decimals)?,
        CastType::Year => typed(BaseType::Year),
        CastType::Json => Ty::json(true),
    })
}

fn known_charset(charset: &str) -> Result<&'static str> {
    let known = matches!(
        charset.to_ascii_lowercase().as_str(),
        "utf8mb4" | "utf8" | "utf8mb3" | "latin1" | "ascii" | "ucs2" | "utf16" | "utf32" | "binary"
    );
    if known {
        return Ok(default_collation(charset));
    }
    Err(SqlError::new(1115, format!("Unknown character set: '{charset}'")))
}

/// CONVERT(e USING charset)
pub(crate) fn using_type(charset: &str) -> Result<Ty> {
    let collation = known_charset(charset)?;
    let mut ty = if collation == "binary" {
        Ty::binary(0, true)
    } else {
        Ty::text(0, collation, true)
    };
    ty.ty.length = None;
    Ok(ty)
}

/// 1253 when the collation is of another charset than the expression.
pub(crate) fn check_collation(collation: &str, ty: &Ty) -> Result<()> {
    let charset = |c: &str| c.split('_').next().unwrap_or(c).to_ascii_lowercase();
    let given = match ty.ty.collation.as_deref() {
        Some(own) => charset(own),
        None if rule::is_binary(ty) => "binary".to_string(),
        None => return Ok(()),
    };
    let wanted = charset(collation);
    let same = |c: &str| if c == "utf8" { "utf8mb3".to_string() } else { c.to_string() };
    if same(&given) == same(&wanted) {
        return Ok(());
    }
    Err(SqlError::new(
        1253,
        format!("COLLATION '{collation}' is not valid for CHARACTER SET '{given}'"),
    ))
}

impl Binder<'_> {
    pub(crate) fn cast_to(&mut self, ex: &Ex, mut to: Ty) -> Ex {
        let number = matches!(
            convert::form(&to),
            convert::Form::Int | convert::Form::Unsigned | convert::Form::Real | convert::Form::Decimal
        );
        let (sql, from) = if number { self.number_text(ex) } else { self.text(ex) };
        let sql = convert::cast(&sql, &from, &to);
        let certain = from.ty.is_integer() || from.ty.is_character() || from.ty.is_binary() || from.ty.base == BaseType::Decimal;
        let parses = to.ty.is_temporal() || to.ty.base == BaseType::Json;
        to.nullable = from.nullable || (parses && from.ty != to.ty) || !certain;
        if to.ty.length.is_none() && (to.ty.is_character() || to.ty.is_binary()) {
            let collation = to.ty.collation.take();
            let sized = rule::sized(&[], rule::chars(&from), to.nullable);
            to = match collation {
                Some(collation) => {
                    let mut text = sized;
                    text.ty.collation = Some(collation);
                    text
                }
                None => rule::binary(
                    rule::chars(&from).saturating_mul(if from.ty.is_binary() { 1 } else { 4 }),
                    to.nullable,
                ),
            };
        }
        to.coercibility = if to.ty.collation.is_some() {
            Coercibility::Implicit
        } else {
            to.coercibility
        };
        Ex::sql(sql, to)
    }
}
