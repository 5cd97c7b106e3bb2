//! Date and time functions: the table; what runs stands in [`part`], [`arith`], [`format`] and [`make`].
//!
//! Promises: no clock is read (NOW and its kin are arguments made by `bind`); the session's time zone comes from the context.
//! Limit: time zones are offsets (and UTC), as in a MySQL without its time zone tables.

use starling_apply::BaseType;
use starling_apply::types::FLEXIBLE;

use super::convert::{self, Form, form};
use super::rule;
use super::run::Body;
use super::{Extra, Family, Function, Kind};
use crate::sql::ast::IntervalUnit;
use crate::sql::types::Ty;

pub(super) mod arith;
mod format;
mod make;
mod parse;
mod part;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Temporal, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("date", (1, 1), &[Date], date, "").custom(|args, _, _| args[0].clone()),
    row("time", (1, 1), &[Time], time, "").custom(|args, _, _| args[0].clone()),
    row("timestamp", (1, 2), &[DateTime, Time], datetime, "starling_timestamp").extra(Extra::Scale),
    row("year", (1, 1), &[Temporal], year, "starling_year"),
    row("month", (1, 1), &[Temporal], rule::int_nullable, "starling_month"),
    row("day", (1, 1), &[Temporal], rule::int_nullable, "starling_day"),
    row("dayofmonth", (1, 1), &[Temporal], rule::int_nullable, "starling_day"),
    row("quarter", (1, 1), &[Temporal], rule::int_nullable, "starling_quarter"),
    row("dayofweek", (1, 1), &[Temporal], rule::int_nullable, "starling_dayofweek"),
    row("weekday", (1, 1), &[Temporal], rule::int_nullable, "starling_weekday"),
    row("dayofyear", (1, 1), &[Temporal], rule::int_nullable, "starling_dayofyear"),
    row("week", (1, 2), &[Temporal, Int], rule::int_nullable, "starling_week"),
    row("weekofyear", (1, 1), &[Temporal], rule::int_nullable, "").custom(|args, _, _| format!("starling_week({},3)", args[0])),
    row("yearweek", (1, 2), &[Temporal, Int], rule::int_nullable, "starling_yearweek"),
    row("hour", (1, 1), &[Clock], rule::int_nullable, "starling_hour"),
    row("minute", (1, 1), &[Clock], rule::int_nullable, "starling_minute"),
    row("second", (1, 1), &[Clock], rule::int_nullable, "starling_second"),
    row("microsecond", (1, 1), &[Clock], rule::int_nullable, "starling_microsecond"),
    row("dayname", (1, 1), &[Temporal], rule::text_nullable::<9>, "starling_dayname"),
    row("monthname", (1, 1), &[Temporal], rule::text_nullable::<9>, "starling_monthname"),
    row("extract", (2, 2), &[Text, Any], rule::int_nullable, "starling_extract").custom(extract),
    row("to_days", (1, 1), &[Temporal], rule::int_nullable, "starling_to_days"),
    row("to_seconds", (1, 1), &[Temporal], rule::int_nullable, "starling_to_seconds"),
    row("from_days", (1, 1), &[Int], date, "starling_from_days"),
    row("last_day", (1, 1), &[Temporal], date, "starling_last_day"),
    row("time_to_sec", (1, 1), &[Clock], rule::int_nullable, "starling_time_to_sec"),
    row("sec_to_time", (1, 1), &[Number], time, "starling_sec_to_time"),
    row("makedate", (2, 2), &[Int], date, "starling_makedate"),
    row("maketime", (3, 3), &[Int, Int, Number], made_time, "starling_maketime"),
    row("period_add", (2, 2), &[Int], rule::int, "starling_period_add"),
    row("period_diff", (2, 2), &[Int], rule::int, "starling_period_diff"),
    row("unix_timestamp", (1, 1), &[DateTime], seconds, "starling_unix_timestamp").extra(Extra::Scale),
    row("from_unixtime", (1, 2), &[Number, Text], from_unixtime, "starling_from_unixtime").custom(call_from_unixtime),
    row("convert_tz", (3, 3), &[DateTime, Text, Text], datetime, "starling_convert_tz").extra(Extra::Scale),
    row(
        "date_format",
        (2, 2),
        &[DateTime, Text],
        rule::text_nullable::<255>,
        "starling_date_format",
    ),
    row(
        "time_format",
        (2, 2),
        &[Clock, Text],
        rule::text_nullable::<255>,
        "starling_time_format",
    ),
    row("str_to_date", (2, 2), &[Text], rule::text_nullable::<26>, "starling_str_to_date"),
    row("get_format", (2, 2), &[Text], rule::text_nullable::<20>, "starling_get_format"),
    row("datediff", (2, 2), &[Temporal], rule::int_nullable, "starling_datediff"),
    row("timediff", (2, 2), &[Any], differing, "starling_timediff").custom(|a, t, r| with_clocks("starling_timediff", a, t, r)),
    row("addtime", (2, 2), &[Any, Time], moved, "").custom(|a, t, r| with_text("starling_addtime", a, t, r)),
    row("subtime", (2, 2), &[Any, Time], moved, "").custom(|a, t, r| with_text("starling_subtime", a, t, r)),
    row(
        "timestampdiff",
        (3, 3),
        &[Text, DateTime, DateTime],
        rule::int_nullable,
        "starling_timestampdiff",
    ),
    // DATE_ADD and DATE_SUB by the parts of their unit: see `interval_function`
    row("date_add", (3, 3), &[Any, Text, Text], |t| shifted(t, Unit::Days), "").custom(|a, t, r| with_text("starling_date_add", a, t, r)),
    row("date_sub", (3, 3), &[Any, Text, Text], |t| shifted(t, Unit::Days), "").custom(|a, t, r| with_text("starling_date_sub", a, t, r)),
    row("date_add_time", (3, 3), &[Any, Text, Text], |t| shifted(t, Unit::Time), "")
        .custom(|a, t, r| with_text("starling_date_add", a, t, r)),
    row("date_sub_time", (3, 3), &[Any, Text, Text], |t| shifted(t, Unit::Time), "")
        .custom(|a, t, r| with_text("starling_date_sub", a, t, r)),
    row("date_add_micro", (3, 3), &[Any, Text, Text], |t| shifted(t, Unit::Micro), "")
        .custom(|a, t, r| with_text("starling_date_add", a, t, r)),
    row("date_sub_micro", (3, 3), &[Any, Text, Text], |t| shifted(t, Unit::Micro), "")
        .custom(|a, t, r| with_text("starling_date_sub", a, t, r)),
];

pub const BODIES: &[&[Body]] = &[part::BODIES, arith::BODIES, format::BODIES, make::BODIES, parse::BODIES];

/// What a unit has: only whole days, a time of day, microseconds.
#[derive(Clone, Copy)]
enum Unit {
    Days,
    Time,
    Micro,
}

/// The row of the table that adds (or subtracts) an interval of this unit: the type of the sum depends on the unit.
pub fn interval_function(unit: IntervalUnit, subtract: bool) -> &'static str {
    use IntervalUnit::*;
    let class = match unit {
        Day | Week | Month | Quarter | Year | YearMonth => Unit::Days,
        Microsecond | SecondMicrosecond | MinuteMicrosecond | HourMicrosecond | DayMicrosecond => Unit::Micro,
        _ => Unit::Time,
    };
    match (class, subtract) {
        (Unit::Days, false) => "date_add",
        (Unit::Days, true) => "date_sub",
        (Unit::Time, false) => "date_add_time",
        (Unit::Time, true) => "date_sub_time",
        (Unit::Micro, false) => "date_add_micro",
        (Unit::Micro, true) => "date_sub_micro",
    }
}

/// Fractional digits that a value brings along.
fn fraction(ty: &Ty) -> u8 {
    match form(ty) {
        Form::DateTime | Form::Time => ty.ty.decimals.unwrap_or(0),
        Form::Decimal => ty.ty.decimals.unwrap_or(0).min(6),
        Form::Date | Form::Int | Form::Unsigned | Form::Null => 0,
        _ => FLEXIBLE,
    }
}

fn widest(args: &[Ty]) -> u8 {
    args.iter().map(fraction).max().unwrap_or(0)
}

fn date(_: &[Ty]) -> Ty {
    Ty::temporal(BaseType::Date, 0, true)
}
fn time(args: &[Ty]) -> Ty {
    Ty::temporal(BaseType::Time, args.first().map_or(0, fraction), true)
}
fn made_time(args: &[Ty]) -> Ty {
    Ty::temporal(BaseType::Time, args.get(2).map_or(0, fraction), true)
}
fn datetime(args: &[Ty]) -> Ty {
    let seconds = &args[..args.len().min(if args.len() == 3 { 1 } else { 2 })];
    Ty::temporal(BaseType::DateTime, widest(seconds), true)
}
fn year(_: &[Ty]) -> Ty {
    let mut ty = Ty::int(true);
    ty.ty.base = BaseType::Int;
    ty
}
fn differing(args: &[Ty]) -> Ty {
    Ty::temporal(BaseType::Time, widest(args), true)
}

/// UNIX_TIMESTAMP: an integer of whole seconds, a DECIMAL otherwise.
fn seconds(args: &[Ty]) -> Ty {
    match args.first().map_or(0, fraction) {
        0 => Ty::int(true),
        FLEXIBLE => Ty::decimal(18, 6, true),
        decimals => Ty::decimal(12 + u32::from(decimals), decimals, true),
    }
}

fn from_unixtime(args: &[Ty]) -> Ty {
    if args.len() == 2 {
        return Ty::text(255, rule::CONNECTION_COLLATION, true);
    }
    Ty::temporal(BaseType::DateTime, args.first().map_or(0, fraction), true)
}

fn call_from_unixtime(args: &[String], _: &[Ty], result: &Ty) -> String {
    match args {
        [seconds, format] => format!("starling_date_format(starling_from_unixtime({seconds},{FLEXIBLE}),{format})"),
        _ => format!("starling_from_unixtime({},{})", args[0], result.ty.decimals.unwrap_or(0)),
    }
}

fn extract(args: &[String], types: &[Ty], _: &Ty) -> String {
    // text may be a date or a time: the unit decides
    let value = match form(&types[1]) {
        Form::Date | Form::DateTime | Form::Time => args[1].clone(),
        _ => convert::to_text(&args[1], &types[1]),
    };
    format!("starling_extract({},{value})", args[0])
}

/// ADDTIME, SUBTIME: as the first argument; text stays text.
fn moved(args: &[Ty]) -> Ty {
    let decimals = widest(args);
    match args.first().map(form) {
        Some(Form::Date | Form::DateTime) => Ty::temporal(BaseType::DateTime, decimals, true),
        Some(Form::Time) => Ty::temporal(BaseType::Time, decimals, true),
        _ => Ty::text(29, rule::CONNECTION_COLLATION, true),
    }
}

fn shifted(args: &[Ty], unit: Unit) -> Ty {
    let Some(first) = args.first() else { return Ty::null() };
    let amount = args.get(1).map_or(0, |a| match form(a) {
        Form::Decimal => a.ty.decimals.unwrap_or(0).min(6),
        Form::Real => 6,
        _ => 0,
    });
    let decimals = match unit {
        Unit::Days => fraction(first),
        Unit::Time => fraction(first).max(amount),
        Unit::Micro => 6,
    };
    match (form(first), unit) {
        (Form::Date, Unit::Days) => Ty::temporal(BaseType::Date, 0, true),
        (Form::Date | Form::DateTime, _) => Ty::temporal(BaseType::DateTime, decimals, true),
        (Form::Time, _) => Ty::temporal(BaseType::Time, decimals, true),
        _ => Ty::text(29, rule::CONNECTION_COLLATION, true),
    }
}

/// The first argument as date or time, or as text; behind the others the result's fraction (`FLEXIBLE` for text).
fn with_text(name: &str, args: &[String], types: &[Ty], result: &Ty) -> String {
    let first = match form(&types[0]) {
        Form::Date | Form::DateTime | Form::Time => args[0].clone(),
        _ => convert::to_text(&args[0], &types[0]),
    };
    let decimals = if result.ty.is_temporal() {
        result.ty.decimals.unwrap_or(0)
    } else {
        FLEXIBLE
    };
    format!("{name}({first},{},{decimals})", args[1..].join(","))
}

/// Both as dates or times, or as text.
fn with_clocks(name: &str, args: &[String], types: &[Ty], _: &Ty) -> String {
    let side = |i: usize| match form(&types[i]) {
        Form::Date | Form::DateTime | Form::Time => args[i].clone(),
        _ => convert::to_text(&args[i], &types[i]),
    };
    format!("{name}({},{})", side(0), side(1))
}
