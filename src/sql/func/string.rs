//! String functions.

use super::rule;
use super::run::{Args, Body, NULL, Outcome, int, string};
use super::{Family, Function, Kind, MANY};
use crate::sql::types::Ty;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::String, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("concat", (1, MANY), &[Text], rule::sum_of_lengths, "starling_concat"),
    row("length", (1, 1), &[Text], rule::int, "starling_length"),
    row("octet_length", (1, 1), &[Text], rule::int, "starling_length"),
];

pub const BODIES: &[Body] = &[Body::new("starling_concat", concat), Body::new("starling_length", length)];

fn concat(args: &Args<'_, '_>) -> Outcome {
    let mut out = Vec::new();
    let mut binary = false;
    for index in 0..args.len() {
        let Some(bytes) = args.bytes(index) else { return NULL };
        binary |= args.is_blob(index);
        out.extend_from_slice(&bytes);
    }
    string(out, binary)
}

fn length(args: &Args<'_, '_>) -> Outcome {
    args.bytes(0).map_or(NULL, |b| int(b.len() as i64))
}
