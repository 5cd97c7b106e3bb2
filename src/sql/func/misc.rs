//! The rest: network addresses, byte sizes, and functions that are refused by name.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use rusqlite::types::Value;

use super::context::complain;
use super::rule;
use super::run::{Args, Body, NULL, Outcome, boolean, int, raise, text};
use super::{Family, Function, Kind};
use crate::sql::types::Ty;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Misc, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("sleep", (1, 1), &[Double], rule::bool_not_null, "starling_sleep").volatile(),
    row("benchmark", (2, 2), &[Int, Any], rule::int, "starling_refused").custom(|_, _, _| "starling_refused('BENCHMARK')".to_string()),
    row("load_file", (1, 1), &[Text], rule::binary_of_first, "").custom(|_, _, _| "starling_refused('LOAD_FILE')".to_string()),
    row("inet_aton", (1, 1), &[Text], |_| Ty::unsigned(true), "starling_inet_aton"),
    row("inet_ntoa", (1, 1), &[Int], rule::text_nullable::<31>, "starling_inet_ntoa"),
    row("inet6_aton", (1, 1), &[Text], |_| Ty::binary(16, true), "starling_inet6_aton"),
    row("inet6_ntoa", (1, 1), &[Binary], rule::text_nullable::<39>, "starling_inet6_ntoa"),
    row("is_ipv4", (1, 1), &[Text], rule::bool_not_null, "starling_is_ipv4"),
    row("is_ipv6", (1, 1), &[Text], rule::bool_not_null, "starling_is_ipv6"),
    row(
        "format_bytes",
        (1, 1),
        &[Double],
        rule::text_nullable::<20>,
        "starling_format_bytes",
    ),
    row(
        "format_pico_time",
        (1, 1),
        &[Double],
        rule::text_nullable::<20>,
        "starling_format_pico_time",
    ),
    row(
        "name_const",
        (2, 2),
        &[Text, Any],
        |args| args.get(1).cloned().unwrap_or_else(Ty::null),
        "",
    )
    .custom(|args, _, _| args[1].clone()),
];

pub const BODIES: &[Body] = &[
    Body::new("starling_sleep", sleep).volatile(),
    Body::new("starling_refused", |args| {
        Err(raise(
            1235,
            format!("This version of MySQL doesn't yet support '{}'", args.text(0).unwrap_or_default()),
        ))
    })
    .volatile(),
    Body::new("starling_inet_aton", inet_aton),
    Body::new("starling_inet_ntoa", |args| {
        let address = args.wide(0).and_then(|v| u32::try_from(v).ok());
        address.map_or(NULL, |v| text(Ipv4Addr::from(v).to_string()))
    }),
    Body::new("starling_inet6_aton", inet6_aton),
    Body::new("starling_inet6_ntoa", inet6_ntoa),
    Body::new("starling_is_ipv4", |args| {
        boolean(args.text(0).is_some_and(|t| t.parse::<Ipv4Addr>().is_ok()))
    }),
    Body::new("starling_is_ipv6", |args| {
        boolean(args.text(0).is_some_and(|t| t.parse::<Ipv6Addr>().is_ok()))
    }),
    Body::new("starling_format_bytes", |args| {
        args.double(0).map_or(NULL, |v| text(scaled(v, 1024.0, BYTE_UNITS, true)))
    }),
    Body::new("starling_format_pico_time", |args| {
        args.double(0).map_or(NULL, |v| text(pico_time(v)))
    }),
];

/// A SLEEP() ends by itself after so long; longer ones are refused (they would hold a thread).
const SLEEP_MAX_SECONDS: f64 = 3600.0;
/// How often a sleeping statement looks whether it was interrupted.
const SLEEP_STEP: Duration = Duration::from_millis(50);

/// Runs where blocking is allowed; it is the statement itself that waits here.
fn sleep(args: &Args<'_, '_>) -> Outcome {
    let seconds = args.double(0).unwrap_or(-1.0);
    if !(0.0..=SLEEP_MAX_SECONDS).contains(&seconds) {
        complain(1210, "Incorrect arguments to sleep.")?;
        return int(0);
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|l| !l.is_zero()) {
        if args.is_interrupted() {
            return int(1);
        }
        std::thread::park_timeout(left.min(SLEEP_STEP));
    }
    int(0)
}

/// `a.b.c.d`, or MySQL's short forms `a.d`, `a.b.d`.
fn inet_aton(args: &Args<'_, '_>) -> Outcome {
    let Some(given) = args.text(0) else { return NULL };
    let parts: Option<Vec<u8>> = given.split('.').map(|p| p.parse().ok()).collect();
    let Some(parts) = parts.filter(|p| (1..=4).contains(&p.len())) else {
        complain(1411, format!("Incorrect string value: '{given}' for function inet_aton"))?;
        return NULL;
    };
    let last = parts.len() - 1;
    let value = parts.iter().enumerate().fold(0u32, |n, (i, p)| {
        let shift = if i == last { 0 } else { 24 - 8 * i as u32 };
        n | u32::from(*p) << shift
    });
    int(value.into())
}

fn inet6_aton(args: &Args<'_, '_>) -> Outcome {
    let Some(given) = args.text(0) else { return NULL };
    if let Ok(v4) = given.parse::<Ipv4Addr>() {
        return Ok(Value::Blob(v4.octets().to_vec()));
    }
    match given.parse::<Ipv6Addr>() {
        Ok(v6) => Ok(Value::Blob(v6.octets().to_vec())),
        Err(_) => {
            complain(1411, format!("Incorrect string value: '{given}' for function inet6_aton"))?;
            NULL
        }
    }
}

fn inet6_ntoa(args: &Args<'_, '_>) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return NULL };
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_ref()) {
        return text(Ipv4Addr::from(v4).to_string());
    }
    match <[u8; 16]>::try_from(bytes.as_ref()) {
        Ok(v6) => text(Ipv6Addr::from(v6).to_string()),
        Err(_) => NULL,
    }
}

const BYTE_UNITS: &[&str] = &["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

fn scaled(value: f64, base: f64, units: &[&str], whole_first: bool) -> String {
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    match (unit, whole_first) {
        (0, true) => format!("{value:4.0} {}", units[0]),
        _ => format!("{value:.2} {}", units[unit]),
    }
}

fn pico_time(picos: f64) -> String {
    const STEPS: &[(f64, &str)] = &[
        (1000.0, "ps"),
        (1000.0, "ns"),
        (1000.0, "us"),
        (1000.0, "ms"),
        (60.0, "s"),
        (60.0, "min"),
        (24.0, "h"),
        (f64::INFINITY, "d"),
    ];
    let mut value = picos;
    for (index, (next, unit)) in STEPS.iter().enumerate() {
        if value.abs() < *next {
            return if index == 0 {
                format!("{value:3.0} {unit}")
            } else {
                format!("{value:.2} {unit}")
            };
        }
        value /= next;
    }
    format!("{value:.2} d")
}
