//! Result types: the rules that functions are declared with.
//!
//! Promises: pure functions of the arguments' types; lengths are upper bounds as MySQL reports them.
//! Must not know: which function asks.

use starling_apply::{BaseType, ColumnType};

use super::convert;
use crate::sql::types::Ty;

pub const CONNECTION_COLLATION: &str = "utf8mb4_0900_ai_ci";
/// Lengths beyond this are reported as LONGTEXT or LONGBLOB.
const VARCHAR_MAX: u64 = 16383;

pub fn any_nullable(args: &[Ty]) -> bool {
    args.iter().any(|a| a.nullable)
}

/// BIGINT; NULL only from NULL.
pub fn int(args: &[Ty]) -> Ty {
    Ty::int(any_nullable(args))
}
pub fn int_nullable(_: &[Ty]) -> Ty {
    Ty::int(true)
}
/// 0 or 1, never NULL.
pub fn bool_not_null(_: &[Ty]) -> Ty {
    let mut ty = Ty::int(false);
    ty.ty.base = BaseType::Int;
    ty.ty.length = Some(1);
    ty
}
pub fn boolean(args: &[Ty]) -> Ty {
    let mut ty = bool_not_null(args);
    ty.nullable = any_nullable(args);
    ty
}
pub fn unsigned(args: &[Ty]) -> Ty {
    Ty::unsigned(any_nullable(args))
}
pub fn double(args: &[Ty]) -> Ty {
    Ty::double(any_nullable(args))
}
pub fn double_nullable(_: &[Ty]) -> Ty {
    Ty::double(true)
}
pub fn double_not_null(_: &[Ty]) -> Ty {
    Ty::double(false)
}
pub fn json(_: &[Ty]) -> Ty {
    Ty::json(true)
}
pub fn longtext(args: &[Ty]) -> Ty {
    sized(args, u64::from(u32::MAX), true)
}
/// Text as long as the first argument, in the collation of all text arguments.
pub fn like_first(args: &[Ty]) -> Ty {
    sized(args, args.first().map_or(0, chars), any_nullable(args))
}
/// The same, but NULL is always possible.
pub fn like_first_nullable(args: &[Ty]) -> Ty {
    sized(args, args.first().map_or(0, chars), true)
}
pub fn sum_of_lengths(args: &[Ty]) -> Ty {
    sized(args, args.iter().map(chars).sum(), any_nullable(args))
}
pub fn common(args: &[Ty]) -> Ty {
    convert::common(&args.iter().collect::<Vec<_>>())
}
/// Text of a fixed bound in the connection's collation.
pub fn text<const LENGTH: u32>(args: &[Ty]) -> Ty {
    Ty::text(LENGTH, CONNECTION_COLLATION, any_nullable(args))
}
pub fn text_nullable<const LENGTH: u32>(_: &[Ty]) -> Ty {
    Ty::text(LENGTH, CONNECTION_COLLATION, true)
}
pub fn binary_of_first(args: &[Ty]) -> Ty {
    let length = args.first().map_or(0, |a| chars(a).saturating_mul(4));
    binary(length, true)
}

/// A string type of `length` characters: binary if an argument is, else in the arguments' collation.
pub fn sized(args: &[Ty], length: u64, nullable: bool) -> Ty {
    let refs: Vec<&Ty> = args.iter().collect();
    if args.iter().any(is_binary) {
        return binary(length, nullable);
    }
    let (collation, strength) = convert::collation_and_strength(&refs);
    let mut ty = if length > VARCHAR_MAX {
        let mut ty = ColumnType::new(BaseType::LongText);
        ty.collation = Some(collation);
        Ty::of(ty, nullable)
    } else {
        Ty::text(length as u32, &collation, nullable)
    };
    ty.coercibility = strength;
    ty
}

pub fn binary(length: u64, nullable: bool) -> Ty {
    if length > 65535 {
        return Ty::of(ColumnType::new(BaseType::LongBlob), nullable);
    }
    Ty::binary(length as u32, nullable)
}

/// A byte string (not the NULL literal).
pub fn is_binary(ty: &Ty) -> bool {
    !ty.is_null && ty.ty.is_binary()
}

/// How many characters a value's text may have.
pub fn chars(ty: &Ty) -> u64 {
    use BaseType::*;
    if ty.is_null {
        return 0;
    }
    let t = &ty.ty;
    let decimals = u64::from(t.decimals.unwrap_or(0).min(6));
    let fraction = if decimals > 0 { decimals + 1 } else { 0 };
    match t.base {
        TinyInt | SmallInt | MediumInt | Int | BigInt => u64::from(t.length.unwrap_or(0)).max(integer_digits(t) + 1),
        Float => 12,
        Double => 22,
        Decimal => u64::from(t.length.unwrap_or(10)) + 2,
        Bit => u64::from(t.length.unwrap_or(1)).div_ceil(8),
        Year => 4,
        Date => 10,
        Time => 10 + fraction,
        DateTime | Timestamp => 19 + fraction,
        Char | Binary => u64::from(t.length.unwrap_or(1)),
        VarChar | VarBinary => u64::from(t.length.unwrap_or(0)),
        TinyText | TinyBlob => 255,
        Text | Blob => 65535,
        MediumText | MediumBlob => 16_777_215,
        LongText | LongBlob | Json => u64::from(u32::MAX),
        Enum => t.labels.iter().map(|l| l.chars().count() as u64).max().unwrap_or(0),
        Set => t.labels.iter().map(|l| l.chars().count() as u64 + 1).sum::<u64>().saturating_sub(1),
        Vector => u64::from(t.length.unwrap_or(0)) * 4,
    }
}

/// Decimal digits of an integer type.
pub fn integer_digits(ty: &ColumnType) -> u64 {
    match ty.base {
        BaseType::TinyInt => 3,
        BaseType::SmallInt => 5,
        BaseType::MediumInt => 8,
        BaseType::Int => 10,
        BaseType::Year => 4,
        _ => {
            if ty.unsigned {
                20
            } else {
                19
            }
        }
    }
}

/// Integer digits and scale of a number's type, as DECIMAL sees it.
pub fn digits_and_scale(ty: &Ty) -> (u32, u8) {
    use BaseType::*;
    let t = &ty.ty;
    match t.base {
        Decimal => {
            let scale = t.decimals.unwrap_or(0);
            (t.length.unwrap_or(10).saturating_sub(u32::from(scale)), scale)
        }
        TinyInt | SmallInt | MediumInt | Int | BigInt | Year => {
            let literal = t.length.filter(|_| t.base == BigInt).unwrap_or(u32::MAX);
            ((integer_digits(t) as u32).min(literal), 0)
        }
        Date => (8, 0),
        Time => (7, t.decimals.unwrap_or(0).min(6)),
        DateTime | Timestamp => (14, t.decimals.unwrap_or(0).min(6)),
        _ => (35, 30),
    }
}
