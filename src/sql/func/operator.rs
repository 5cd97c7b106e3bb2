//! Arithmetic and bit operators.
//!
//! Promises: integers are exact or refused (1690), DECIMALs exact with MySQL's scale rules, all else DOUBLE.

use rusqlite::types::{Value, ValueRef};
use starling_apply::types::decimal::{DIVISION_INCREMENT, Decimal, PRECISION_MAX, SCALE_MAX};

use super::cast::{decimal_value, exact};
use super::context::{self, Level, Raised};
use super::convert::{self, Form, form};
use super::rule;
use super::run::{Args, Body, NULL, Outcome, int, raise, string, unsigned};
use super::{Extra, Family, Function, Kind};
use crate::sql::types::Ty;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Operator, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("+", (2, 2), &[Number], sum, "starling_add").custom(|a, t, r| arithmetic("add", a, t, r)),
    row("-", (2, 2), &[Number], sum, "starling_sub").custom(|a, t, r| arithmetic("sub", a, t, r)),
    row("*", (2, 2), &[Number], product, "starling_mul").custom(|a, t, r| arithmetic("mul", a, t, r)),
    row("/", (2, 2), &[Number], quotient, "starling_div").extra(Extra::Scale),
    row("div", (2, 2), &[Number], integer_quotient, "starling_intdiv"),
    row("%", (2, 2), &[Number], remainder, "starling_mod"),
    row("mod", (2, 2), &[Number], remainder, "starling_mod"),
    row("neg", (1, 1), &[Number], negated, "starling_neg"),
    row("&", (2, 2), &[Any], bits, "starling_bitand").custom(bitwise),
    row("|", (2, 2), &[Any], bits, "starling_bitor").custom(bitwise_or),
    row("^", (2, 2), &[Any], bits, "starling_bitxor").custom(bitwise_xor),
    row("<<", (2, 2), &[Int], rule::unsigned, "starling_shl"),
    row(">>", (2, 2), &[Int], rule::unsigned, "starling_shr"),
    row("~", (1, 1), &[Int], rule::unsigned, "starling_bitnot"),
    row("bit_count", (1, 1), &[Int], rule::int, "starling_bit_count"),
];

pub const BODIES: &[Body] = &[
    Body::new("starling_add_int", |args| integers(args, "+", false, i128::checked_add)),
    Body::new("starling_sub_int", |args| integers(args, "-", false, i128::checked_sub)),
    Body::new("starling_mul_int", |args| integers(args, "*", false, i128::checked_mul)),
    Body::new("starling_add_unsigned", |args| integers(args, "+", true, i128::checked_add)),
    Body::new("starling_sub_unsigned", |args| integers(args, "-", true, i128::checked_sub)),
    Body::new("starling_mul_unsigned", |args| integers(args, "*", true, i128::checked_mul)),
    Body::new("starling_add_decimal", |args| decimals(args, Decimal::add)),
    Body::new("starling_sub_decimal", |args| decimals(args, Decimal::sub)),
    Body::new("starling_mul_decimal", |args| decimals(args, Decimal::mul)),
    Body::new("starling_add_double", |args| doubles(args, "+", |a, b| a + b)),
    Body::new("starling_sub_double", |args| doubles(args, "-", |a, b| a - b)),
    Body::new("starling_mul_double", |args| doubles(args, "*", |a, b| a * b)),
    Body::new("starling_div", divide),
    Body::new("starling_intdiv", divide_whole),
    Body::new("starling_mod", modulo),
    Body::new("starling_neg", negate),
    Body::new("starling_bitand", |args| bit_operation(args, |a, b| a & b)),
    Body::new("starling_bitor", |args| bit_operation(args, |a, b| a | b)),
    Body::new("starling_bitxor", |args| bit_operation(args, |a, b| a ^ b)),
    Body::new("starling_shl", |args| shift(args, u64::checked_shl)),
    Body::new("starling_shr", |args| shift(args, u64::checked_shr)),
    Body::new("starling_bitnot", |args| args.bits(0).map_or(NULL, |v| unsigned(!v))),
    Body::new("starling_bit_count", |args| {
        args.bits(0).map_or(NULL, |v| int(i64::from(v.count_ones())))
    }),
];

/// What two operands make: integers stay, one DECIMAL makes DECIMAL, anything else DOUBLE.
fn class(args: &[Ty]) -> Form {
    let forms: Vec<Form> = args.iter().map(|t| form(&convert::number("", t).1)).collect();
    let only = |allowed: &[Form]| forms.iter().all(|f| allowed.contains(f));
    if only(&[Form::Int, Form::Null]) {
        Form::Int
    } else if only(&[Form::Int, Form::Unsigned, Form::Null]) {
        Form::Unsigned
    } else if only(&[Form::Int, Form::Unsigned, Form::Decimal, Form::Null]) {
        Form::Decimal
    } else {
        Form::Real
    }
}

/// Digits before and behind the point of both operands, as numbers.
fn shapes(args: &[Ty]) -> Vec<(u32, u8)> {
    args.iter().map(|t| rule::digits_and_scale(&convert::number("", t).1)).collect()
}

fn nullable(args: &[Ty]) -> bool {
    rule::any_nullable(args)
}

fn sum(args: &[Ty]) -> Ty {
    match class(args) {
        Form::Int => Ty::int(nullable(args)),
        Form::Unsigned => Ty::unsigned(nullable(args)),
        Form::Decimal => {
            let shapes = shapes(args);
            let digits = shapes.iter().map(|s| s.0).max().unwrap_or(0);
            let scale = shapes.iter().map(|s| s.1).max().unwrap_or(0);
            Ty::decimal((digits + 1 + u32::from(scale)).min(PRECISION_MAX), scale, nullable(args))
        }
        _ => Ty::double(nullable(args)),
    }
}

fn product(args: &[Ty]) -> Ty {
    match class(args) {
        Form::Decimal => {
            let shapes = shapes(args);
            let digits: u32 = shapes.iter().map(|s| s.0).sum();
            let scale: u32 = shapes.iter().map(|s| u32::from(s.1)).sum::<u32>().min(SCALE_MAX);
            Ty::decimal((digits + scale).min(PRECISION_MAX), scale as u8, nullable(args))
        }
        _ => sum(args),
    }
}

fn quotient(args: &[Ty]) -> Ty {
    if class(args) == Form::Real {
        return Ty::double(true);
    }
    let shapes = shapes(args);
    let (first, second) = (
        shapes.first().copied().unwrap_or((10, 0)),
        shapes.get(1).copied().unwrap_or((10, 0)),
    );
    let scale = (u32::from(first.1) + DIVISION_INCREMENT).min(SCALE_MAX);
    Ty::decimal((first.0 + u32::from(second.1) + scale).min(PRECISION_MAX), scale as u8, true)
}

fn integer_quotient(args: &[Ty]) -> Ty {
    if args.iter().any(|t| t.ty.unsigned) {
        Ty::unsigned(true)
    } else {
        Ty::int(true)
    }
}

fn remainder(args: &[Ty]) -> Ty {
    let mut ty = match class(args) {
        Form::Int => Ty::int(true),
        // the dividend's sign decides
        Form::Unsigned if args.first().is_some_and(|t| t.ty.unsigned) => Ty::unsigned(true),
        Form::Unsigned => Ty::int(true),
        Form::Decimal => {
            let shapes = shapes(args);
            let digits = shapes.iter().map(|s| s.0).max().unwrap_or(10);
            let scale = shapes.iter().map(|s| s.1).max().unwrap_or(0);
            Ty::decimal((digits + u32::from(scale)).min(PRECISION_MAX), scale, true)
        }
        _ => Ty::double(true),
    };
    ty.nullable = true;
    ty
}

fn negated(args: &[Ty]) -> Ty {
    match class(args) {
        Form::Int | Form::Unsigned => Ty::int(nullable(args)),
        Form::Decimal => {
            let (digits, scale) = shapes(args)[0];
            Ty::decimal((digits + u32::from(scale)).min(PRECISION_MAX), scale, nullable(args))
        }
        _ => Ty::double(nullable(args)),
    }
}

/// Byte strings combine byte by byte, everything else as 64 bits.
fn bits(args: &[Ty]) -> Ty {
    if args.iter().all(rule::is_binary) {
        return rule::binary(args.iter().map(rule::chars).max().unwrap_or(0), nullable(args));
    }
    rule::unsigned(args)
}

fn arithmetic(operation: &str, args: &[String], types: &[Ty], result: &Ty) -> String {
    let suffix = match form(result) {
        Form::Int => "int",
        Form::Unsigned => "unsigned",
        Form::Decimal => "decimal",
        _ => return double_arithmetic(operation, args, types),
    };
    format!("starling_{operation}_{suffix}({},{})", args[0], args[1])
}

fn double_arithmetic(operation: &str, args: &[String], types: &[Ty]) -> String {
    let converted: Vec<String> = args
        .iter()
        .zip(types)
        .map(|(sql, ty)| {
            let number = convert::number("", ty).1;
            convert::to_type(sql, &number, &Ty::double(true))
        })
        .collect();
    format!("starling_{operation}_double({},{})", converted[0], converted[1])
}

fn bitwise(args: &[String], types: &[Ty], result: &Ty) -> String {
    bit_call("starling_bitand", args, types, result)
}
fn bitwise_or(args: &[String], types: &[Ty], result: &Ty) -> String {
    bit_call("starling_bitor", args, types, result)
}
fn bitwise_xor(args: &[String], types: &[Ty], result: &Ty) -> String {
    bit_call("starling_bitxor", args, types, result)
}

fn bit_call(name: &str, args: &[String], types: &[Ty], result: &Ty) -> String {
    let binary = rule::is_binary(result);
    let side = |i: usize| {
        if binary {
            args[i].clone()
        } else {
            convert::to_kind(&args[i], &types[i], Kind::Int).0
        }
    };
    format!("{name}({},{})", side(0), side(1))
}

/// Largest text of an operand in an error message.
fn shown(args: &Args<'_, '_>, operator: &str) -> String {
    let side = |i: usize| match args.get(i) {
        ValueRef::Text(t) => String::from_utf8_lossy(t).trim_start_matches('0').to_string(),
        _ => args.text(i).unwrap_or_default().into_owned(),
    };
    format!("({} {operator} {})", side(0), side(1))
}

fn integers(args: &Args<'_, '_>, operator: &str, is_unsigned: bool, operation: fn(i128, i128) -> Option<i128>) -> Outcome {
    let (Some(a), Some(b)) = (args.wide(0), args.wide(1)) else {
        return NULL;
    };
    let value = operation(a, b);
    let signed_ok = !is_unsigned || context::current().no_unsigned_subtraction;
    if let Some(v) = value {
        match (i64::try_from(v), u64::try_from(v)) {
            (Ok(v), _) if v >= 0 || signed_ok => return int(v),
            (_, Ok(v)) if is_unsigned => return unsigned(v),
            _ => {}
        }
    }
    let what = if is_unsigned { "BIGINT UNSIGNED" } else { "BIGINT" };
    Err(raise(1690, format!("{what} value is out of range in '{}'", shown(args, operator))))
}

fn decimals(args: &Args<'_, '_>, operation: fn(&Decimal, &Decimal) -> Decimal) -> Outcome {
    let (Some(a), Some(b)) = (exact(args.get(0)), exact(args.get(1))) else {
        return NULL;
    };
    let value = operation(&a, &b);
    if value.integer_digits() > PRECISION_MAX {
        return Err(raise(1690, "DECIMAL value is out of range".to_string()));
    }
    decimal_value(value)
}

fn doubles(args: &Args<'_, '_>, operator: &str, operation: fn(f64, f64) -> f64) -> Outcome {
    let (Some(a), Some(b)) = (args.double(0), args.double(1)) else {
        return NULL;
    };
    real(operation(a, b), || shown(args, operator))
}

/// Infinity is out of range.
pub fn real(value: f64, expression: impl FnOnce() -> String) -> Outcome {
    if value.is_finite() {
        return Ok(Value::Real(value));
    }
    Err(raise(1690, format!("DOUBLE value is out of range in '{}'", expression())))
}

/// Division by zero: NULL with warning 1365, an error where the statement is strict about it.
pub fn division_by_zero() -> Result<Value, Raised> {
    if context::current().strict_division {
        return Err(raise(1365, "Division by 0"));
    }
    context::warn(Level::Warning, 1365, "Division by 0");
    NULL
}

fn is_real(args: &Args<'_, '_>) -> bool {
    (0..2).any(|i| matches!(args.get(i), ValueRef::Real(_)))
}

fn divide(args: &Args<'_, '_>) -> Outcome {
    if args.is_null(0) || args.is_null(1) {
        return NULL;
    }
    if is_real(args) {
        let (a, b) = (args.double(0).unwrap_or(0.0), args.double(1).unwrap_or(0.0));
        return if b == 0.0 {
            division_by_zero()
        } else {
            real(a / b, || shown(args, "/"))
        };
    }
    let (Some(a), Some(b)) = (exact(args.get(0)), exact(args.get(1))) else {
        return NULL;
    };
    let scale = args.int(2).unwrap_or(4).clamp(0, i64::from(SCALE_MAX)) as u32;
    match a.div(&b, scale) {
        Some(quotient) => decimal_value(quotient),
        None => division_by_zero(),
    }
}

fn divide_whole(args: &Args<'_, '_>) -> Outcome {
    if args.is_null(0) || args.is_null(1) {
        return NULL;
    }
    let (Some(a), Some(b)) = (exact(args.get(0)), exact(args.get(1))) else {
        return NULL;
    };
    let Some(quotient) = a.div_integer(&b) else {
        return division_by_zero();
    };
    match quotient.to_i128() {
        Some(v) if v >= 0 && v <= i128::from(u64::MAX) => unsigned(v as u64),
        Some(v) if v >= i128::from(i64::MIN) && v < 0 => int(v as i64),
        _ => Err(raise(1690, format!("BIGINT value is out of range in '{}'", shown(args, "DIV")))),
    }
}

fn modulo(args: &Args<'_, '_>) -> Outcome {
    if args.is_null(0) || args.is_null(1) {
        return NULL;
    }
    if is_real(args) {
        let (a, b) = (args.double(0).unwrap_or(0.0), args.double(1).unwrap_or(0.0));
        return if b == 0.0 { division_by_zero() } else { Ok(Value::Real(a % b)) };
    }
    let is_integer = |i: usize| match args.get(i) {
        ValueRef::Integer(_) => true,
        ValueRef::Text(t) => t.len() == 20 && !t.contains(&b'.') && t[0] != b'-',
        _ => false,
    };
    if is_integer(0) && is_integer(1) {
        let (a, b) = (args.wide(0).unwrap_or(0), args.wide(1).unwrap_or(0));
        return match a.checked_rem(b) {
            None => division_by_zero(),
            Some(v) if v >= 0 => unsigned(v as u64),
            Some(v) => int(v as i64),
        };
    }
    let (Some(a), Some(b)) = (exact(args.get(0)), exact(args.get(1))) else {
        return NULL;
    };
    match a.rem(&b) {
        Some(rest) => decimal_value(rest),
        None => division_by_zero(),
    }
}

fn negate(args: &Args<'_, '_>) -> Outcome {
    match args.get(0) {
        ValueRef::Null => NULL,
        ValueRef::Real(v) => Ok(Value::Real(-v)),
        ValueRef::Text(t) if t.contains(&b'.') || t.len() != 20 => decimal_value(exact(args.get(0)).unwrap_or(Decimal::ZERO).neg()),
        _ => match args.wide(0).and_then(|v| i64::try_from(-v).ok()) {
            Some(v) => int(v),
            None => Err(raise(
                1690,
                format!("BIGINT value is out of range in '-({})'", args.text(0).unwrap_or_default()),
            )),
        },
    }
}

fn bit_operation(args: &Args<'_, '_>, operation: fn(u64, u64) -> u64) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    if let (ValueRef::Blob(a), ValueRef::Blob(b)) = (args.get(0), args.get(1)) {
        if a.len() != b.len() {
            return Err(raise(3513, "Binary operands of bitwise operators must be of equal length"));
        }
        let out = a
            .iter()
            .zip(b)
            .map(|(x, y)| operation(u64::from(*x), u64::from(*y)) as u8)
            .collect();
        return string(out, true);
    }
    match (args.bits(0), args.bits(1)) {
        (Some(a), Some(b)) => unsigned(operation(a, b)),
        _ => NULL,
    }
}

fn shift(args: &Args<'_, '_>, operation: fn(u64, u32) -> Option<u64>) -> Outcome {
    let (Some(a), Some(by)) = (args.bits(0), args.bits(1)) else {
        return NULL;
    };
    unsigned(u32::try_from(by).ok().and_then(|by| operation(a, by)).unwrap_or(0))
}
