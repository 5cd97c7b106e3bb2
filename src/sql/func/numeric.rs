//! Mathematical functions.
//!
//! Promises: integers and DECIMALs stay exact where MySQL keeps them (ABS, ROUND, TRUNCATE, CEIL, FLOOR, SIGN); what is no number
//! is NULL.

use std::cell::Cell;

use rusqlite::types::{Value, ValueRef};
use starling_apply::types::decimal::Decimal;

use super::cast::{decimal_value, exact};
use super::context::{self, Level};
use super::convert::{Form, form};
use super::operator::real;
use super::rule;
use super::run::{Args, Body, NULL, Outcome, double, int, raise, unsigned};
use super::{Family, Function, Kind};
use crate::sql::types::Ty;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Numeric, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("abs", (1, 1), &[Number], same, "starling_abs"),
    row("sign", (1, 1), &[Number], rule::int, "starling_sign"),
    row("ceil", (1, 1), &[Number], whole, "starling_ceil"),
    row("ceiling", (1, 1), &[Number], whole, "starling_ceil"),
    row("floor", (1, 1), &[Number], whole, "starling_floor"),
    row("round", (1, 2), &[Number, Int], rounded, "starling_round"),
    row("truncate", (2, 2), &[Number, Int], rounded, "starling_truncate"),
    row("sqrt", (1, 1), &[Double], rule::double_nullable, "starling_sqrt"),
    row("pow", (2, 2), &[Double], rule::double, "starling_pow"),
    row("power", (2, 2), &[Double], rule::double, "starling_pow"),
    row("exp", (1, 1), &[Double], rule::double, "starling_exp"),
    row("ln", (1, 1), &[Double], rule::double_nullable, "starling_ln"),
    row("log", (1, 2), &[Double], rule::double_nullable, "starling_log"),
    row("log2", (1, 1), &[Double], rule::double_nullable, "starling_log2"),
    row("log10", (1, 1), &[Double], rule::double_nullable, "starling_log10"),
    row("sin", (1, 1), &[Double], rule::double, "starling_sin"),
    row("cos", (1, 1), &[Double], rule::double, "starling_cos"),
    row("tan", (1, 1), &[Double], rule::double, "starling_tan"),
    row("cot", (1, 1), &[Double], rule::double, "starling_cot"),
    row("asin", (1, 1), &[Double], rule::double_nullable, "starling_asin"),
    row("acos", (1, 1), &[Double], rule::double_nullable, "starling_acos"),
    row("atan", (1, 2), &[Double], rule::double, "starling_atan"),
    row("atan2", (1, 2), &[Double], rule::double, "starling_atan"),
    row("degrees", (1, 1), &[Double], rule::double, "starling_degrees"),
    row("radians", (1, 1), &[Double], rule::double, "starling_radians"),
    row("pi", (0, 0), &[], pi, "starling_pi"),
    row("rand", (0, 1), &[Int], rule::double_not_null, "starling_rand").volatile(),
    row("crc32", (1, 1), &[Text], rule::int, "starling_crc32"),
];

pub const BODIES: &[Body] = &[
    Body::new("starling_abs", abs),
    Body::new("starling_sign", sign),
    Body::new("starling_ceil", |args| integral(args, true)),
    Body::new("starling_floor", |args| integral(args, false)),
    Body::new("starling_round", |args| round(args, false)),
    Body::new("starling_truncate", |args| round(args, true)),
    Body::new("starling_sqrt", |args| unary(args, f64::sqrt)),
    Body::new("starling_pow", pow),
    Body::new("starling_exp", |args| {
        args.double(0).map_or(NULL, |v| real(v.exp(), || format!("exp({v})")))
    }),
    Body::new("starling_ln", |args| logarithm(args, 0, f64::ln)),
    Body::new("starling_log", log),
    Body::new("starling_log2", |args| logarithm(args, 0, f64::log2)),
    Body::new("starling_log10", |args| logarithm(args, 0, f64::log10)),
    Body::new("starling_sin", |args| unary(args, f64::sin)),
    Body::new("starling_cos", |args| unary(args, f64::cos)),
    Body::new("starling_tan", |args| unary(args, f64::tan)),
    Body::new("starling_cot", |args| {
        args.double(0).map_or(NULL, |v| real(1.0 / v.tan(), || format!("cot({v})")))
    }),
    Body::new("starling_asin", |args| unary(args, f64::asin)),
    Body::new("starling_acos", |args| unary(args, f64::acos)),
    Body::new("starling_atan", atan),
    Body::new("starling_degrees", |args| unary(args, f64::to_degrees)),
    Body::new("starling_radians", |args| unary(args, f64::to_radians)),
    Body::new("starling_pi", |_| double(std::f64::consts::PI)),
    Body::new("starling_rand", random).volatile(),
    Body::new("starling_crc32", |args| {
        args.bytes(0).map_or(NULL, |b| int(crc32fast::hash(&b).into()))
    }),
];

/// As the argument, once it is a number.
fn same(args: &[Ty]) -> Ty {
    let Some(first) = args.first() else { return Ty::null() };
    let mut ty = super::convert::number("", first).1;
    if form(&ty) == Form::Int {
        ty = Ty::int(ty.nullable);
    }
    ty.nullable = rule::any_nullable(args);
    ty
}

/// Shown with six decimals, kept with all.
fn pi(_: &[Ty]) -> Ty {
    let mut ty = Ty::double(false);
    ty.ty.decimals = Some(6);
    ty
}

/// CEIL and FLOOR: integers of what fits, else DECIMAL without decimals or DOUBLE.
fn whole(args: &[Ty]) -> Ty {
    let ty = same(args);
    match form(&ty) {
        Form::Decimal => {
            let digits = rule::digits_and_scale(&ty).0;
            if digits <= 17 {
                Ty::int(ty.nullable)
            } else {
                Ty::decimal(digits + 1, 0, ty.nullable)
            }
        }
        _ => ty,
    }
}

fn rounded(args: &[Ty]) -> Ty {
    let mut ty = same(&args[..1.min(args.len())]);
    if form(&ty) == Form::Decimal && args.len() == 1 {
        let digits = rule::digits_and_scale(&ty).0;
        ty = Ty::decimal((digits + 1).min(65), 0, ty.nullable);
    }
    ty.nullable = rule::any_nullable(args);
    ty
}

/// Is the text an unsigned integer in its 20-digit form?
fn is_unsigned(value: &[u8]) -> bool {
    value.len() == 20 && value.iter().all(u8::is_ascii_digit)
}

fn abs(args: &Args<'_, '_>) -> Outcome {
    match args.get(0) {
        ValueRef::Null => NULL,
        ValueRef::Integer(v) => match v.checked_abs() {
            Some(v) => int(v),
            None => Err(raise(1690, format!("BIGINT value is out of range in 'abs({v})'"))),
        },
        ValueRef::Real(v) => Ok(Value::Real(v.abs())),
        ValueRef::Text(t) if !is_unsigned(t) => decimal_value(exact(args.get(0)).unwrap_or(Decimal::ZERO).abs()),
        _ => Ok(args.value(0)),
    }
}

fn sign(args: &Args<'_, '_>) -> Outcome {
    match args.get(0) {
        ValueRef::Null => NULL,
        ValueRef::Real(v) => int(if v > 0.0 {
            1
        } else if v < 0.0 {
            -1
        } else {
            0
        }),
        other => int(exact(other).map_or(0, |d| {
            if d.is_zero() {
                0
            } else if d.is_negative() {
                -1
            } else {
                1
            }
        })),
    }
}

/// Integer digits beyond which CEIL and FLOOR of a DECIMAL give a DECIMAL: the type says so already.
fn integral(args: &Args<'_, '_>, up: bool) -> Outcome {
    match args.get(0) {
        ValueRef::Null => NULL,
        ValueRef::Integer(v) => int(v),
        ValueRef::Real(v) => Ok(Value::Real(if up { v.ceil() } else { v.floor() })),
        ValueRef::Text(t) if is_unsigned(t) => Ok(args.value(0)),
        other => {
            let value = exact(other).unwrap_or(Decimal::ZERO).to_integer(up);
            match value.to_i128().and_then(|v| i64::try_from(v).ok()) {
                Some(v) if v.unsigned_abs() < 1_000_000_000_000_000_000 => int(v),
                _ => decimal_value(value),
            }
        }
    }
}

fn round(args: &Args<'_, '_>, cut: bool) -> Outcome {
    let places = match args.len() {
        1 => 0,
        _ => match args.int(1) {
            Some(places) => places,
            None => return NULL,
        },
    };
    match args.get(0) {
        ValueRef::Null => NULL,
        ValueRef::Integer(_) if places >= 0 => Ok(args.value(0)),
        ValueRef::Real(v) => Ok(Value::Real(round_double(v, places, cut))),
        ValueRef::Text(t) if !is_unsigned(t) => decimal_value(exact(args.get(0)).unwrap_or(Decimal::ZERO).round_places(places, cut)),
        other => {
            let value = exact(other)
                .unwrap_or(Decimal::ZERO)
                .round_places(places, cut)
                .to_i128()
                .unwrap_or(0);
            match (i64::try_from(value), u64::try_from(value)) {
                (Ok(v), _) => int(v),
                (_, Ok(v)) => unsigned(v),
                _ => Err(raise(1690, "BIGINT value is out of range in 'round'".to_string())),
            }
        }
    }
}

/// Halves go to the even neighbour (C's rint), as MySQL's doubles do.
fn round_double(value: f64, places: i64, cut: bool) -> f64 {
    let places = places.clamp(-400, 400) as i32;
    let power = 10f64.powi(places.abs());
    if places >= 0 && (!power.is_finite() || !(value * power).is_finite()) {
        return value;
    }
    if places < 0 && !power.is_finite() {
        return 0.0;
    }
    let scaled = if places >= 0 { value * power } else { value / power };
    let near = if cut { scaled.trunc() } else { scaled.round_ties_even() };
    if places >= 0 { near / power } else { near * power }
}

fn unary(args: &Args<'_, '_>, function: fn(f64) -> f64) -> Outcome {
    args.double(0).map_or(NULL, |v| double(function(v)))
}

fn pow(args: &Args<'_, '_>) -> Outcome {
    let (Some(base), Some(exponent)) = (args.double(0), args.double(1)) else {
        return NULL;
    };
    real(base.powf(exponent), || format!("pow({base},{exponent})"))
}

fn logarithm(args: &Args<'_, '_>, index: usize, function: fn(f64) -> f64) -> Outcome {
    match args.double(index) {
        None => NULL,
        Some(v) if v <= 0.0 => {
            context::warn(Level::Warning, 3020, "Invalid argument for logarithm");
            NULL
        }
        Some(v) => double(function(v)),
    }
}

fn log(args: &Args<'_, '_>) -> Outcome {
    if args.len() == 1 {
        return logarithm(args, 0, f64::ln);
    }
    let (Some(base), Some(value)) = (args.double(0), args.double(1)) else {
        return NULL;
    };
    if base <= 0.0 || base == 1.0 || value <= 0.0 {
        context::warn(Level::Warning, 3020, "Invalid argument for logarithm");
        return NULL;
    }
    double(value.ln() / base.ln())
}

fn atan(args: &Args<'_, '_>) -> Outcome {
    match (args.double(0), args.len()) {
        (Some(v), 1) => double(v.atan()),
        (Some(y), _) => args.double(1).map_or(NULL, |x| double(y.atan2(x))),
        _ => NULL,
    }
}

/// RAND(seed): MySQL's own generator, so that seeded sequences are the same (one sequence per thread and seed).
fn random(args: &Args<'_, '_>) -> Outcome {
    const MODULUS: u64 = 0x3FFF_FFFF;
    thread_local! {
        static SEEDED: Cell<(i64, u64, u64)> = const { Cell::new((i64::MIN, 0, 0)) };
    }
    if args.is_empty() {
        return double(rand::random::<f64>());
    }
    let seed = args.int(0).unwrap_or(0);
    let (held, mut one, mut two) = SEEDED.get();
    if held != seed || context::take_fresh() {
        let low = seed as u32 as u64;
        one = (low.wrapping_mul(0x10001).wrapping_add(55_555_555) & 0xFFFF_FFFF) % MODULUS;
        two = (low.wrapping_mul(0x1000_0001) & 0xFFFF_FFFF) % MODULUS;
    }
    one = (one * 3 + two) % MODULUS;
    two = (one + two + 33) % MODULUS;
    SEEDED.set((seed, one, two));
    double(one as f64 / MODULUS as f64)
}
