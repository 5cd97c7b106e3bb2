//! Comparison and control functions: IF, IFNULL, COALESCE, NULLIF, GREATEST, LEAST, ISNULL, INTERVAL.

use super::convert;
use super::rule;
use super::run::{Args, Body, NULL, Outcome, int};
use super::{Extra, Family, Function, Kind, MANY};
use crate::sql::types::Ty;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Control, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("if", (3, 3), &[Bool, Common, Common], of_branches, "iif"),
    row("ifnull", (2, 2), &[Common], not_null_if_last, "ifnull"),
    row("nvl", (2, 2), &[Common], not_null_if_last, "ifnull"),
    row("coalesce", (1, MANY), &[Common], not_null_if_any, "coalesce").custom(coalesce),
    row("nullif", (2, 2), &[Any], first_nullable, "").custom(nullif),
    row("isnull", (1, 1), &[Any], rule::bool_not_null, "").custom(|args, _, _| format!("(({}) IS NULL)", args[0])),
    row("greatest", (2, MANY), &[Common], rule::common, "starling_greatest").extra(Extra::Result),
    row("least", (2, MANY), &[Common], rule::common, "starling_least").extra(Extra::Result),
    row("interval", (2, MANY), &[Double], rule::bool_not_null, "starling_interval"),
];

pub const BODIES: &[Body] = &[
    Body::new("starling_greatest", |args| extreme(args, std::cmp::Ordering::Greater)),
    Body::new("starling_least", |args| extreme(args, std::cmp::Ordering::Less)),
    Body::new("starling_interval", interval),
];

fn of_branches(args: &[Ty]) -> Ty {
    rule::common(&args[1.min(args.len())..])
}

fn not_null_if_last(args: &[Ty]) -> Ty {
    let mut ty = rule::common(args);
    ty.nullable = args.iter().all(|a| a.nullable);
    ty
}

fn not_null_if_any(args: &[Ty]) -> Ty {
    not_null_if_last(args)
}

fn first_nullable(args: &[Ty]) -> Ty {
    let mut ty = args.first().cloned().unwrap_or_else(Ty::null);
    ty.nullable = true;
    ty
}

fn coalesce(args: &[String], _: &[Ty], _: &Ty) -> String {
    match args {
        [one] => one.clone(),
        _ => format!("coalesce({})", args.join(",")),
    }
}

fn nullif(args: &[String], types: &[Ty], _: &Ty) -> String {
    let compare = convert::comparison(&[&types[0], &types[1]]);
    let left = convert::to_type(&args[0], &types[0], &compare);
    let right = convert::to_type(&args[1], &types[1], &compare);
    let collate = match convert::form(&compare) {
        convert::Form::Text => format!(" COLLATE \"{}\"", convert::collation_of(&[&compare])),
        convert::Form::Decimal => " COLLATE STARLING_DECIMAL".to_string(),
        _ => String::new(),
    };
    format!("CASE WHEN ({left})=({right}){collate} THEN NULL ELSE {} END", args[0])
}

fn extreme(args: &Args<'_, '_>, wanted: std::cmp::Ordering) -> Outcome {
    let last = args.len().saturating_sub(1);
    let ty = super::cast::type_argument(args, last)?;
    let mut best = 0;
    for index in 0..last {
        if args.is_null(index) {
            return NULL;
        }
        if super::cast::compare(args.get(index), args.get(best), &ty) == wanted {
            best = index;
        }
    }
    Ok(args.value(best))
}

/// INTERVAL(n, a, b, …): how many of the sorted list are not above n; -1 for NULL.
fn interval(args: &Args<'_, '_>) -> Outcome {
    let Some(n) = args.double(0) else { return int(-1) };
    let above = (1..args.len()).find(|i| args.double(*i).is_some_and(|v| v > n));
    int(above.map_or(args.len() as i64 - 1, |i| i as i64 - 1))
}
