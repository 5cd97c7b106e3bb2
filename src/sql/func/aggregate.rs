//! Aggregates that SQLite does not have in MySQL's form: exact sums, variances, bits, GROUP_CONCAT, JSON collections.
//!
//! Promises: SUM and AVG of integers and DECIMALs are exact; all of them work as window functions where MySQL allows it
//! and the step can be undone. COUNT, MIN, MAX are SQLite's own.

use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context as SqliteContext, FunctionFlags, WindowAggregate};
use rusqlite::types::{Value, ValueRef};
use starling_apply::types::decimal::{DIVISION_INCREMENT, Decimal, SCALE_MAX};
use starling_apply::types::json::{self, Json};

use super::cast::exact;
use super::context::{self, Level};
use super::convert::{self, Form, form};
use super::rule;
use super::run::raise;
use super::{Class, Extra, Family, Function, Kind};
use crate::sql::types::Ty;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Aggregate, args, params, result, sqlite).class(Class::Aggregate)
}

pub const FUNCTIONS: &[Function] = &[
    row("count", (1, 1), &[Any], |_| Ty::int(false), "count"),
    row("min", (1, 1), &[Any], first, "min"),
    row("max", (1, 1), &[Any], first, "max"),
    row("any_value", (1, 1), &[Any], first, "min"),
    row("sum", (1, 1), &[Number], sum, "starling_sum"),
    row("avg", (1, 1), &[Number], average, "starling_avg").extra(Extra::Scale),
    row("std", (1, 1), &[Double], rule::double_nullable, "starling_stddev_pop"),
    row("stddev", (1, 1), &[Double], rule::double_nullable, "starling_stddev_pop"),
    row("stddev_pop", (1, 1), &[Double], rule::double_nullable, "starling_stddev_pop"),
    row("stddev_samp", (1, 1), &[Double], rule::double_nullable, "starling_stddev_samp"),
    row("variance", (1, 1), &[Double], rule::double_nullable, "starling_var_pop"),
    row("var_pop", (1, 1), &[Double], rule::double_nullable, "starling_var_pop"),
    row("var_samp", (1, 1), &[Double], rule::double_nullable, "starling_var_samp"),
    row("bit_and", (1, 1), &[Int], |_| Ty::unsigned(false), "starling_bit_and"),
    row("bit_or", (1, 1), &[Int], |_| Ty::unsigned(false), "starling_bit_or"),
    row("bit_xor", (1, 1), &[Int], |_| Ty::unsigned(false), "starling_bit_xor"),
    row("group_concat", (1, 2), &[Text], concatenated, "starling_group_concat"),
    row("json_arrayagg", (1, 1), &[JsonValue], rule::json, "starling_json_arrayagg"),
    row("json_objectagg", (2, 2), &[Text, JsonValue], rule::json, "starling_json_objectagg"),
];

fn first(args: &[Ty]) -> Ty {
    let mut ty = args.first().cloned().unwrap_or_else(Ty::null);
    ty.nullable = true;
    ty
}

fn sum(args: &[Ty]) -> Ty {
    let Some(ty) = args.first().map(|t| convert::number("", t).1) else {
        return Ty::null();
    };
    match form(&ty) {
        Form::Int | Form::Unsigned | Form::Decimal => {
            let (digits, scale) = rule::digits_and_scale(&ty);
            Ty::decimal((digits + 22 + u32::from(scale)).min(65), scale, true)
        }
        _ => Ty::double(true),
    }
}

fn average(args: &[Ty]) -> Ty {
    let Some(ty) = args.first().map(|t| convert::number("", t).1) else {
        return Ty::null();
    };
    match form(&ty) {
        Form::Int | Form::Unsigned | Form::Decimal => {
            let (digits, scale) = rule::digits_and_scale(&ty);
            let scale = (u32::from(scale) + DIVISION_INCREMENT).min(SCALE_MAX);
            Ty::decimal((digits + scale).min(65), scale as u8, true)
        }
        _ => Ty::double(true),
    }
}

fn concatenated(args: &[Ty]) -> Ty {
    rule::sized(&args[..1.min(args.len())], u64::from(u32::MAX), true)
}

/// A running sum: exact while all are exact.
#[derive(Default)]
pub struct Sum {
    count: i64,
    exact: Option<Decimal>,
    real: f64,
    reals: i64,
}

impl Sum {
    fn add(&mut self, value: ValueRef<'_>, sign: i64) {
        match value {
            ValueRef::Null => return,
            ValueRef::Real(v) => {
                self.real += v * sign as f64;
                self.reals += sign;
            }
            other => {
                let value = exact(other).unwrap_or(Decimal::ZERO);
                let held = self.exact.take().unwrap_or(Decimal::ZERO);
                self.exact = Some(if sign > 0 { held.add(&value) } else { held.sub(&value) });
            }
        }
        self.count += sign;
    }
    fn total(&self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let exact = self.exact.clone().unwrap_or(Decimal::ZERO);
        if self.reals > 0 {
            Value::Real(self.real + exact.to_f64())
        } else {
            Value::Text(exact.to_string())
        }
    }
    fn mean(&self, scale: u32) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let exact = self.exact.clone().unwrap_or(Decimal::ZERO);
        if self.reals > 0 {
            return Value::Real((self.real + exact.to_f64()) / self.count as f64);
        }
        exact
            .div(&Decimal::from(self.count), scale)
            .map_or(Value::Null, |m| Value::Text(m.to_string()))
    }
}

struct SumOf;

impl Aggregate<Sum, Value> for SumOf {
    fn init(&self, _: &mut SqliteContext<'_>) -> rusqlite::Result<Sum> {
        Ok(Sum::default())
    }
    fn step(&self, context: &mut SqliteContext<'_>, sum: &mut Sum) -> rusqlite::Result<()> {
        sum.add(context.get_raw(0), 1);
        Ok(())
    }
    fn finalize(&self, _: &mut SqliteContext<'_>, sum: Option<Sum>) -> rusqlite::Result<Value> {
        Ok(sum.map_or(Value::Null, |s| s.total()))
    }
}

impl WindowAggregate<Sum, Value> for SumOf {
    fn value(&self, sum: Option<&mut Sum>) -> rusqlite::Result<Value> {
        Ok(sum.map_or(Value::Null, |s| s.total()))
    }
    fn inverse(&self, context: &mut SqliteContext<'_>, sum: &mut Sum) -> rusqlite::Result<()> {
        sum.add(context.get_raw(0), -1);
        Ok(())
    }
}

/// AVG(x, scale): the scale is remembered from the rows.
struct MeanOf;

impl Aggregate<(Sum, u32), Value> for MeanOf {
    fn init(&self, _: &mut SqliteContext<'_>) -> rusqlite::Result<(Sum, u32)> {
        Ok((Sum::default(), DIVISION_INCREMENT))
    }
    fn step(&self, context: &mut SqliteContext<'_>, state: &mut (Sum, u32)) -> rusqlite::Result<()> {
        state.0.add(context.get_raw(0), 1);
        state.1 = context.get::<u32>(1).unwrap_or(DIVISION_INCREMENT);
        Ok(())
    }
    fn finalize(&self, _: &mut SqliteContext<'_>, state: Option<(Sum, u32)>) -> rusqlite::Result<Value> {
        Ok(state.map_or(Value::Null, |(sum, scale)| sum.mean(scale)))
    }
}

impl WindowAggregate<(Sum, u32), Value> for MeanOf {
    fn value(&self, state: Option<&mut (Sum, u32)>) -> rusqlite::Result<Value> {
        Ok(state.map_or(Value::Null, |(sum, scale)| sum.mean(*scale)))
    }
    fn inverse(&self, context: &mut SqliteContext<'_>, state: &mut (Sum, u32)) -> rusqlite::Result<()> {
        state.0.add(context.get_raw(0), -1);
        Ok(())
    }
}

/// Mean and spread by Welford's recurrence, which can be undone.
#[derive(Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, v: f64) {
        self.count += 1.0;
        let delta = v - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (v - self.mean);
    }
    fn remove(&mut self, v: f64) {
        if self.count <= 1.0 {
            *self = Spread::default();
            return;
        }
        let before = (self.count * self.mean - v) / (self.count - 1.0);
        self.squares -= (v - self.mean) * (v - before);
        self.mean = before;
        self.count -= 1.0;
    }
}

/// `sample`: divided by n - 1. `root`: the deviation.
struct SpreadOf {
    sample: bool,
    root: bool,
}

impl SpreadOf {
    fn of(&self, spread: &Spread) -> Value {
        let divisor = if self.sample { spread.count - 1.0 } else { spread.count };
        if divisor <= 0.0 {
            return Value::Null;
        }
        let variance = (spread.squares / divisor).max(0.0);
        Value::Real(if self.root { variance.sqrt() } else { variance })
    }
}

impl Aggregate<Spread, Value> for SpreadOf {
    fn init(&self, _: &mut SqliteContext<'_>) -> rusqlite::Result<Spread> {
        Ok(Spread::default())
    }
    fn step(&self, context: &mut SqliteContext<'_>, spread: &mut Spread) -> rusqlite::Result<()> {
        if let Some(v) = exact_double(context.get_raw(0)) {
            spread.add(v);
        }
        Ok(())
    }
    fn finalize(&self, _: &mut SqliteContext<'_>, spread: Option<Spread>) -> rusqlite::Result<Value> {
        Ok(spread.map_or(Value::Null, |s| self.of(&s)))
    }
}

impl WindowAggregate<Spread, Value> for SpreadOf {
    fn value(&self, spread: Option<&mut Spread>) -> rusqlite::Result<Value> {
        Ok(spread.map_or(Value::Null, |s| self.of(s)))
    }
    fn inverse(&self, context: &mut SqliteContext<'_>, spread: &mut Spread) -> rusqlite::Result<()> {
        if let Some(v) = exact_double(context.get_raw(0)) {
            spread.remove(v);
        }
        Ok(())
    }
}

fn exact_double(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Null => None,
        ValueRef::Real(v) => Some(v),
        other => exact(other).map(|d| d.to_f64()),
    }
}

/// How often each of the 64 bits was set, so that rows can leave a window again.
struct Bits {
    rows: i64,
    set: [i64; 64],
}

#[derive(Clone, Copy)]
enum BitsOf {
    And,
    Or,
    Xor,
}

impl BitsOf {
    fn of(self, bits: &Bits) -> Value {
        let mut out = 0u64;
        for (index, count) in bits.set.iter().enumerate() {
            let set = match self {
                BitsOf::And => *count == bits.rows,
                BitsOf::Or => *count > 0,
                BitsOf::Xor => count % 2 != 0,
            };
            out |= u64::from(set) << index;
        }
        i64::try_from(out).map_or_else(|_| Value::Text(format!("{out:020}")), Value::Integer)
    }
    fn count(bits: &mut Bits, value: ValueRef<'_>, sign: i64) {
        let Some(value) = exact(value).and_then(|d| d.to_i128()) else {
            return;
        };
        bits.rows += sign;
        for (index, count) in bits.set.iter_mut().enumerate() {
            *count += sign * (value as u64 >> index & 1) as i64;
        }
    }
    fn none() -> Bits {
        Bits { rows: 0, set: [0; 64] }
    }
}

impl Aggregate<Bits, Value> for BitsOf {
    fn init(&self, _: &mut SqliteContext<'_>) -> rusqlite::Result<Bits> {
        Ok(BitsOf::none())
    }
    fn step(&self, context: &mut SqliteContext<'_>, bits: &mut Bits) -> rusqlite::Result<()> {
        BitsOf::count(bits, context.get_raw(0), 1);
        Ok(())
    }
    fn finalize(&self, _: &mut SqliteContext<'_>, bits: Option<Bits>) -> rusqlite::Result<Value> {
        Ok(self.of(&bits.unwrap_or_else(BitsOf::none)))
    }
}

impl WindowAggregate<Bits, Value> for BitsOf {
    fn value(&self, bits: Option<&mut Bits>) -> rusqlite::Result<Value> {
        Ok(bits.map_or_else(|| self.of(&BitsOf::none()), |b| self.of(b)))
    }
    fn inverse(&self, context: &mut SqliteContext<'_>, bits: &mut Bits) -> rusqlite::Result<()> {
        BitsOf::count(bits, context.get_raw(0), -1);
        Ok(())
    }
}

/// Cuts a text at group_concat_max_len bytes (on a character), with warning 1260.
pub fn cut_to_max(joined: &mut String) {
    let max = context::current().group_concat_max_len;
    if joined.len() > max {
        let at = (0..=max).rev().find(|at| joined.is_char_boundary(*at)).unwrap_or(0);
        joined.truncate(at);
        context::warn(Level::Warning, 1260, "Row 1 was cut by GROUP_CONCAT()");
    }
}

/// GROUP_CONCAT(text, separator)
struct Concatenation;

impl Aggregate<Option<Vec<u8>>, Value> for Concatenation {
    fn init(&self, _: &mut SqliteContext<'_>) -> rusqlite::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    fn step(&self, context: &mut SqliteContext<'_>, held: &mut Option<Vec<u8>>) -> rusqlite::Result<()> {
        let (ValueRef::Text(value) | ValueRef::Blob(value)) = context.get_raw(0) else {
            return Ok(());
        };
        match held {
            None => *held = Some(value.to_vec()),
            // beyond the bound nothing more is kept: it will be cut anyway
            Some(out) if out.len() > context::current().group_concat_max_len => {}
            Some(out) => {
                if context.len() < 2 {
                    out.push(b',');
                } else if let ValueRef::Text(separator) | ValueRef::Blob(separator) = context.get_raw(1) {
                    out.extend_from_slice(separator);
                }
                out.extend_from_slice(value);
            }
        }
        Ok(())
    }
    fn finalize(&self, _: &mut SqliteContext<'_>, held: Option<Option<Vec<u8>>>) -> rusqlite::Result<Value> {
        let Some(bytes) = held.flatten() else { return Ok(Value::Null) };
        match String::from_utf8(bytes) {
            Ok(mut joined) => {
                cut_to_max(&mut joined);
                Ok(Value::Text(joined))
            }
            Err(error) => {
                let mut bytes = error.into_bytes();
                bytes.truncate(context::current().group_concat_max_len);
                Ok(Value::Blob(bytes))
            }
        }
    }
}

fn document(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Text(t) => json::parse(t).unwrap_or(Json::Null),
        ValueRef::Integer(v) => Json::from(v),
        ValueRef::Real(v) => Json::from(v),
        _ => Json::Null,
    }
}

struct JsonArray;

impl Aggregate<Vec<Json>, Value> for JsonArray {
    fn init(&self, _: &mut SqliteContext<'_>) -> rusqlite::Result<Vec<Json>> {
        Ok(Vec::new())
    }
    fn step(&self, context: &mut SqliteContext<'_>, items: &mut Vec<Json>) -> rusqlite::Result<()> {
        items.push(document(context.get_raw(0)));
        Ok(())
    }
    fn finalize(&self, _: &mut SqliteContext<'_>, items: Option<Vec<Json>>) -> rusqlite::Result<Value> {
        Ok(items
            .filter(|i| !i.is_empty())
            .map_or(Value::Null, |items| Value::Text(json::to_string(&Json::Array(items)))))
    }
}

struct JsonObject;

impl Aggregate<serde_json::Map<String, Json>, Value> for JsonObject {
    fn init(&self, _: &mut SqliteContext<'_>) -> rusqlite::Result<serde_json::Map<String, Json>> {
        Ok(serde_json::Map::new())
    }
    fn step(&self, context: &mut SqliteContext<'_>, members: &mut serde_json::Map<String, Json>) -> rusqlite::Result<()> {
        let key = match context.get_raw(0) {
            ValueRef::Text(t) | ValueRef::Blob(t) => String::from_utf8_lossy(t).into_owned(),
            _ => {
                let error = raise(3158, "JSON documents may not contain NULL member names.");
                return Err(rusqlite::Error::UserFunctionError(Box::new(error)));
            }
        };
        members.insert(key, document(context.get_raw(1)));
        Ok(())
    }
    fn finalize(&self, _: &mut SqliteContext<'_>, members: Option<serde_json::Map<String, Json>>) -> rusqlite::Result<Value> {
        Ok(members
            .filter(|m| !m.is_empty())
            .map_or(Value::Null, |members| Value::Text(json::to_string(&Json::Object(members)))))
    }
}

pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_window_function("starling_sum", -1, flags, SumOf)?;
    connection.create_window_function("starling_avg", -1, flags, MeanOf)?;
    for (name, sample, root) in [
        ("starling_var_pop", false, false),
        ("starling_var_samp", true, false),
        ("starling_stddev_pop", false, true),
        ("starling_stddev_samp", true, true),
    ] {
        connection.create_window_function(name, -1, flags, SpreadOf { sample, root })?;
    }
    connection.create_window_function("starling_bit_and", -1, flags, BitsOf::And)?;
    connection.create_window_function("starling_bit_or", -1, flags, BitsOf::Or)?;
    connection.create_window_function("starling_bit_xor", -1, flags, BitsOf::Xor)?;
    connection.create_aggregate_function("starling_group_concat", -1, flags, Concatenation)?;
    connection.create_aggregate_function("starling_json_arrayagg", -1, flags, JsonArray)?;
    connection.create_aggregate_function("starling_json_objectagg", -1, flags, JsonObject)
}
