//! JSON functions: the table; paths stand in [`path`], what runs in [`read`] and [`change`].
//!
//! Promises: documents are normalized text going in and coming out; a SQL NULL document gives NULL.
//! Limits: a DECIMAL inside a document becomes a double; TRUE and FALSE of SQL are the numbers 1 and 0.

use base64::Engine as _;
use rusqlite::types::{Value, ValueRef};
use starling_apply::types::json::{self, Json};
use starling_apply::types::text;
use starling_apply::{BaseType, ColumnType};

use super::cast::{cell, type_argument};
use super::context::Raised;
use super::rule;
use super::run::{Args, Body, NULL, Outcome, raise, text as text_value};
use super::{Family, Function, Kind, MANY};
use crate::sql::types::Ty;

mod change;
mod path;
mod read;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Json, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("json_extract", (2, MANY), &[Json, Text], rule::json, "starling_json_extract"),
    row("json_value", (2, 2), &[Json, Text], text_512, "starling_json_scalar"),
    row("json_unquote", (1, 1), &[Text], unquoted, "starling_json_unquote"),
    row("json_quote", (1, 1), &[Text], rule::longtext, "starling_json_quote"),
    row("json_array", (0, MANY), &[JsonValue], rule::json, "starling_json_array"),
    row("json_object", (0, MANY), &[Text, JsonValue], rule::json, "starling_json_object").repeat(2),
    row("json_set", (3, MANY), &[Json, Text, JsonValue], rule::json, "starling_json_set").repeat(2),
    row(
        "json_insert",
        (3, MANY),
        &[Json, Text, JsonValue],
        rule::json,
        "starling_json_insert",
    )
    .repeat(2),
    row(
        "json_replace",
        (3, MANY),
        &[Json, Text, JsonValue],
        rule::json,
        "starling_json_replace",
    )
    .repeat(2),
    row("json_remove", (2, MANY), &[Json, Text], rule::json, "starling_json_remove"),
    row(
        "json_array_append",
        (3, MANY),
        &[Json, Text, JsonValue],
        rule::json,
        "starling_json_array_append",
    )
    .repeat(2),
    row(
        "json_array_insert",
        (3, MANY),
        &[Json, Text, JsonValue],
        rule::json,
        "starling_json_array_insert",
    )
    .repeat(2),
    row("json_merge_patch", (2, MANY), &[Json], rule::json, "starling_json_merge_patch"),
    row(
        "json_merge_preserve",
        (2, MANY),
        &[Json],
        rule::json,
        "starling_json_merge_preserve",
    ),
    row("json_merge", (2, MANY), &[Json], rule::json, "starling_json_merge_preserve"),
    row(
        "json_contains",
        (2, 3),
        &[Json, Json, Text],
        rule::int_nullable,
        "starling_json_contains",
    ),
    row(
        "json_contains_path",
        (3, MANY),
        &[Json, Text],
        rule::int_nullable,
        "starling_json_contains_path",
    ),
    row("json_overlaps", (2, 2), &[Json], rule::int_nullable, "starling_json_overlaps"),
    row("json_search", (3, MANY), &[Json, Text], rule::json, "starling_json_search"),
    row("json_length", (1, 2), &[Json, Text], rule::int_nullable, "starling_json_length"),
    row("json_depth", (1, 1), &[Json], rule::int_nullable, "starling_json_depth"),
    row("json_keys", (1, 2), &[Json, Text], rule::json, "starling_json_keys"),
    row("json_type", (1, 1), &[Json], rule::text_nullable::<51>, "starling_json_type"),
    row("json_valid", (1, 1), &[Any], rule::boolean, "").custom(valid),
    row("json_pretty", (1, 1), &[Json], rule::longtext, "starling_json_pretty"),
    row("json_storage_size", (1, 1), &[Json], rule::int_nullable, "starling_length"),
    row(
        "json_storage_free",
        (1, 1),
        &[Json],
        rule::int_nullable,
        "starling_json_storage_free",
    ),
    // `x MEMBER OF (array)`
    row(
        "member of",
        (2, 2),
        &[JsonValue, Json],
        rule::int_nullable,
        "starling_json_member_of",
    ),
    row(
        "json_member_of",
        (2, 2),
        &[JsonValue, Json],
        rule::int_nullable,
        "starling_json_member_of",
    ),
];

pub const BODIES: &[&[Body]] = &[OWN, read::BODIES, change::BODIES];

const OWN: &[Body] = &[
    Body::new("starling_json_doc", |args| match args.bytes(0) {
        None => NULL,
        Some(text) => normalized(&text, 1, "json"),
    }),
    Body::new("starling_json_value", |args| {
        let ty = type_argument(args, 1)?;
        cast_value(args.get(0), &ty)
    }),
    Body::new("starling_json_unquote", unquote),
    Body::new("starling_json_quote", |args| {
        args.text(0)
            .map_or(NULL, |t| text_value(json::to_string(&Json::String(t.into_owned()))))
    }),
    Body::new("starling_json_valid", |args| {
        args.bytes(0).map_or(NULL, |t| super::run::boolean(json::parse(&t).is_ok()))
    }),
];

fn text_512(_: &[Ty]) -> Ty {
    Ty::text(512, rule::CONNECTION_COLLATION, true)
}

/// Text out of a document compares by its bytes, as in MySQL.
fn unquoted(args: &[Ty]) -> Ty {
    let mut ty = rule::longtext(args);
    ty.ty.collation = Some("utf8mb4_bin".to_string());
    ty
}

fn valid(args: &[String], types: &[Ty], _: &Ty) -> String {
    use super::convert::{Form, form};
    match form(&types[0]) {
        Form::Json => format!("iif(({}) IS NULL,NULL,1)", args[0]),
        Form::Text => format!("starling_json_valid({})", args[0]),
        _ => format!("iif(({}) IS NULL,NULL,0)", args[0]),
    }
}

/// The document of argument `index`; `None` for NULL.
fn document(args: &Args<'_, '_>, index: usize) -> Result<Option<Json>, Raised> {
    match args.bytes(index) {
        None => Ok(None),
        Some(text) => json::parse(&text).map(Some).map_err(|e| invalid(&e, index + 1, "json")),
    }
}

/// A value to be put into a document: SQL's NULL is JSON's.
fn item(args: &Args<'_, '_>, index: usize) -> Result<Json, Raised> {
    Ok(document(args, index)?.unwrap_or(Json::Null))
}

fn printed(document: &Json) -> Outcome {
    text_value(json::to_string(document))
}

fn invalid(error: &json::JsonError, argument: usize, function: &str) -> Raised {
    raise(
        3141,
        format!(
            "Invalid JSON text in argument {argument} to function {function}: \"{}\" at position {}.",
            error.message, error.position
        ),
    )
}

fn normalized(input: &[u8], argument: usize, function: &str) -> Outcome {
    match json::normalize(input) {
        Ok(out) => super::run::string(out, false),
        Err(error) => Err(invalid(&error, argument, function)),
    }
}

/// CAST(x AS JSON): text is parsed.
pub fn cast(value: ValueRef<'_>, from: &ColumnType) -> Outcome {
    match value {
        ValueRef::Text(t) if from.is_character() => normalized(t, 1, "cast_as_json"),
        other => cast_value(other, from),
    }
}

/// A value as a JSON document by its type: text becomes a JSON string.
fn cast_value(value: ValueRef<'_>, from: &ColumnType) -> Outcome {
    use BaseType::*;
    if matches!(value, ValueRef::Null) {
        return NULL;
    }
    let mut shown = Vec::new();
    match from.base {
        Json => return Ok(value.try_into().unwrap_or(Value::Null)),
        TinyInt | SmallInt | MediumInt | Int | BigInt | Year | Decimal => text::write(&mut shown, from, cell(value)),
        Float | Double => {
            let number = value.as_f64().unwrap_or(0.0);
            json::write(&mut shown, &json::Json::from(number));
        }
        Binary | VarBinary | TinyBlob | Blob | MediumBlob | LongBlob | Bit | Vector => {
            let mut bytes = Vec::new();
            text::write(&mut bytes, from, cell(value));
            let kind = if from.base == Bit { 16 } else { 252 };
            let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
            json::write_string(&mut shown, &format!("base64:type{kind}:{encoded}"));
        }
        Time | DateTime | Timestamp => {
            let mut full = from.clone();
            full.decimals = Some(6);
            let mut plain = Vec::new();
            text::write(&mut plain, &full, cell(value));
            if from.base != Time {
                if !plain.contains(&b'.') {
                    plain.push(b'.');
                }
                plain.resize(26, b'0');
            }
            json::write_string(&mut shown, &String::from_utf8_lossy(&plain));
        }
        _ => {
            let mut plain = Vec::new();
            text::write(&mut plain, from, cell(value));
            json::write_string(&mut shown, &String::from_utf8_lossy(&plain));
        }
    }
    super::run::string(shown, false)
}

/// A JSON string without its quotes; anything else as it is.
fn unquote(args: &Args<'_, '_>) -> Outcome {
    let Some(text) = args.bytes(0) else { return NULL };
    if text.len() >= 2 && text.starts_with(b"\"") && text.ends_with(b"\"") {
        return match json::parse(&text) {
            Ok(Json::String(inner)) => text_value(inner),
            Ok(_) => Ok(args.value(0)),
            Err(error) => Err(invalid(&error, 1, "json_unquote")),
        };
    }
    super::run::string(text.into_owned(), false)
}
