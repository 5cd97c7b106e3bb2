//! Functions that leave something in their session: assignments to user variables, LAST_INSERT_ID(e).
//!
//! Promises: a statement reads what it assigned itself, in the form in which it was bound to read it; the session learns of it
//! when the statement is over (`context::take_effects`). Must not know: sessions.

use rusqlite::types::Value;

use super::context::{self, Assigned};
use super::run::{Args, Body, NULL, Outcome};
use super::{Family, Function, Kind};
use crate::sql::types::Ty;

pub const FUNCTIONS: &[Function] = &[Function::new(
    "last_insert_id",
    Family::Misc,
    (1, 1),
    &[Kind::Int],
    |_| Ty::unsigned(true),
    "starling_last_id",
)
.volatile()];

pub const BODIES: &[Body] = &[
    Body::new("starling_assign", assign).volatile(),
    Body::new("starling_variable", variable).volatile(),
    Body::new("starling_last_id", last_id).volatile(),
];

/// name, type of the value, value, the value as this statement reads it (where that differs)
fn assign(args: &Args<'_, '_>) -> Outcome {
    let (Some(name), Some(spec)) = (args.text(0), args.text(1)) else {
        return NULL;
    };
    let value = args.value(2);
    let read = if args.len() > 3 { args.value(3) } else { value.clone() };
    context::leave(|effects| match effects.variables.iter_mut().find(|v| v.name == *name) {
        Some(held) => {
            if held.spec != *spec {
                held.spec = spec.into_owned();
            }
            held.value = value.clone();
            held.read = read;
        }
        None => effects.variables.push(Assigned {
            name: name.into_owned(),
            spec: spec.into_owned(),
            value: value.clone(),
            read,
        }),
    });
    Ok(value)
}

/// name, what the session held of it when the statement began
fn variable(args: &Args<'_, '_>) -> Outcome {
    let assigned = args.text(0).and_then(|name| context::assigned(&name));
    Ok(assigned.unwrap_or_else(|| args.value(1)))
}

fn last_id(args: &Args<'_, '_>) -> Outcome {
    let id = args.bits(0);
    context::leave(|effects| effects.last_insert_id = Some(id.unwrap_or(0)));
    match id {
        None => NULL,
        Some(_) => Ok(match args.value(0) {
            // Negative numbers count as the unsigned ones of the same bits.
            Value::Integer(v) if v < 0 => Value::Text(format!("{:020}", v as u64)),
            other => other,
        }),
    }
}
