//! Calls as they stand in MySQL's manual and as MySQL answers them.

use rusqlite::Connection;
use starling_apply::types::text;
use starling_apply::{BaseType, collate};

use super::context;
use super::{cast, convert, lookup, register};
use crate::sql::types::Ty;

mod behaviour;
mod calls;
mod documents;
mod moments;

fn connection() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    collate::register(&connection).unwrap();
    register(&connection).unwrap();
    connection
}

/// A literal of the notation below, as SQLite text and type.
fn literal(text: &str) -> (String, Ty) {
    let text = text.trim();
    let quoted = |prefix: &str| {
        let inner = text.strip_prefix(prefix)?.strip_prefix('\'')?.strip_suffix('\'')?;
        Some(inner.replace("''", "'").replace("\\\\", "\\"))
    };
    let fraction = |t: &str| t.rsplit_once('.').map_or(0, |(_, f)| f.len() as u8);
    if text == "NULL" {
        return ("NULL".into(), Ty::null());
    }
    if let Some(t) = quoted("") {
        return (
            convert::literal(&t),
            Ty::text(t.chars().count() as u32, "utf8mb4_0900_ai_ci", false),
        );
    }
    if let Some(t) = quoted("_binary") {
        return (format!("CAST({} AS BLOB)", convert::literal(&t)), Ty::binary(t.len() as u32, false));
    }
    if let Some(t) = quoted("DATE") {
        return (convert::literal(&t), Ty::temporal(BaseType::Date, 0, false));
    }
    if let Some(t) = quoted("TIMESTAMP") {
        return (convert::literal(&t), Ty::temporal(BaseType::DateTime, fraction(&t), false));
    }
    if let Some(t) = quoted("TIME") {
        let (micros, _) = starling_apply::types::temporal::read_time(t.as_bytes()).unwrap();
        return (micros.to_string(), Ty::temporal(BaseType::Time, fraction(&t), false));
    }
    if let Some(t) = quoted("JSON") {
        return (convert::literal(&t), Ty::json(false));
    }
    if text.contains(['e', 'E']) {
        return (format!("CAST({text} AS REAL)"), Ty::double(false));
    }
    if text.contains('.') {
        let digits = text.trim_start_matches('-').len() as u32 - 1;
        return (convert::literal(text), Ty::decimal(digits, fraction(text), false));
    }
    match text.parse::<i64>() {
        Ok(_) => (text.to_string(), Ty::int(false)),
        Err(_) => (format!("'{:0>20}'", text), Ty::unsigned(false)),
    }
}

/// `name(arg, …)`, arguments being literals.
fn parse(call: &str) -> (String, Vec<(String, Ty)>) {
    let open = call.find('(').unwrap();
    let (mut args, mut start, mut inside) = (Vec::new(), open + 1, false);
    let end = call.rfind(')').unwrap();
    for (at, c) in call.char_indices().skip(open + 1) {
        match c {
            '\'' => inside = !inside,
            ',' if !inside => {
                args.push(literal(&call[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    if !call[start..end].trim().is_empty() {
        args.push(literal(&call[start..end]));
    }
    (call[..open].trim().to_lowercase(), args)
}

fn run(connection: &Connection, call: &str) -> String {
    let (name, args) = parse(call);
    let function = lookup(&name).unwrap_or_else(|| panic!("no function {name}"));
    assert!(function.takes(args.len()), "{call}");
    let (sql, ty) = function.lower(&args);
    shown(connection, &sql, &ty)
}

fn shown(connection: &Connection, sql: &str, ty: &Ty) -> String {
    let result = connection.query_row(&format!("SELECT {sql}"), [], |row| {
        let value = row.get_ref(0)?;
        if matches!(value, rusqlite::types::ValueRef::Null) {
            return Ok("NULL".to_string());
        }
        let mut out = Vec::new();
        text::write(&mut out, &ty.ty, cast::cell(value));
        Ok(String::from_utf8(out).unwrap_or_else(|e| format!("x{}", hex::encode(e.as_bytes()))))
    });
    result.unwrap_or_else(|error| match context::parse_error(&error) {
        Some(error) => format!("ERROR {}", error.code),
        None => format!("{error} in {sql}"),
    })
}

fn check(cases: &[(&str, &str)]) {
    let connection = connection();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(call, expected)| {
            let got = run(&connection, call);
            (got != *expected).then(|| format!("{call} = {got:?}, not {expected:?}"))
        })
        .collect();
    context::take_warnings();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
