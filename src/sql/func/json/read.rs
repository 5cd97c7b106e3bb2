//! Looking into documents.

use std::cmp::Ordering;
use std::sync::Arc;

use rusqlite::types::Value;
use starling_apply::types::json::{self, Json, key_order};

use super::path::Path;
use super::{document, item, printed};
use crate::sql::func::context::Raised;
use crate::sql::func::run::{Args, Body, NULL, Outcome, boolean, int, raise, text};

pub const BODIES: &[Body] = &[
    Body::new("starling_json_extract", extract),
    Body::new("starling_json_scalar", scalar),
    Body::new("starling_json_contains", contains),
    Body::new("starling_json_contains_path", contains_path),
    Body::new("starling_json_overlaps", overlaps),
    Body::new("starling_json_member_of", member_of),
    Body::new("starling_json_search", search),
    Body::new("starling_json_length", length),
    Body::new("starling_json_depth", |args| document(args, 0)?.map_or(NULL, |d| int(depth(&d)))),
    Body::new("starling_json_keys", keys),
    Body::new("starling_json_type", |args| {
        document(args, 0)?.map_or(NULL, |d| text(type_name(&d)))
    }),
    Body::new("starling_json_pretty", pretty),
    Body::new("starling_json_storage_free", |args| if args.is_null(0) { NULL } else { int(0) }),
    Body::new("starling_json_compare", |args| match (document(args, 0)?, document(args, 1)?) {
        (Some(a), Some(b)) => int(compare(&a, &b) as i64),
        _ => NULL,
    }),
];

/// A path argument, parsed once per statement when it is constant.
pub fn path(args: &Args<'_, '_>, index: usize) -> Result<Arc<Path>, Raised> {
    args.cached(index, |value| Path::parse(value.as_str().unwrap_or("")))
}

fn extract(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let Some(doc) = document(args, 0)? else { return NULL };
    let mut found = Vec::new();
    let mut many = args.len() > 2;
    for index in 1..args.len() {
        let path = path(args, index)?;
        many |= path.has_wildcard();
        found.extend(path.find(&doc));
    }
    match found.as_slice() {
        [] => NULL,
        [one] if !many => printed(one),
        several => printed(&Json::Array(several.iter().map(|v| (*v).clone()).collect())),
    }
}

/// JSON_VALUE without RETURNING: a scalar's text.
fn scalar(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let Some(doc) = document(args, 0)? else { return NULL };
    match path(args, 1)?.find(&doc).as_slice() {
        [Json::String(s)] => text(s.clone()),
        [Json::Array(_) | Json::Object(_) | Json::Null] => NULL,
        [one] => printed(one),
        _ => NULL,
    }
}

/// The document at an optional path argument.
fn target(args: &Args<'_, '_>, at: usize) -> Result<Option<Json>, Raised> {
    let Some(doc) = document(args, 0)? else { return Ok(None) };
    if args.len() <= at {
        return Ok(Some(doc));
    }
    if args.is_null(at) {
        return Ok(None);
    }
    let path = path(args, at)?;
    path.refuse_wildcard()?;
    Ok(path.find(&doc).first().map(|v| (*v).clone()))
}

fn contains(args: &Args<'_, '_>) -> Outcome {
    match (target(args, 2)?, document(args, 1)?) {
        (Some(target), Some(candidate)) => boolean(holds(&target, &candidate)),
        _ => NULL,
    }
}

fn holds(target: &Json, candidate: &Json) -> bool {
    match (target, candidate) {
        (Json::Array(items), Json::Array(wanted)) => wanted.iter().all(|w| items.iter().any(|i| holds(i, w))),
        (Json::Array(items), one) => items.iter().any(|i| holds(i, one)),
        (Json::Object(members), Json::Object(wanted)) => wanted.iter().all(|(k, w)| members.get(k).is_some_and(|v| holds(v, w))),
        (a, b) => compare(a, b).is_eq(),
    }
}

fn one_or_all(args: &Args<'_, '_>) -> Result<Option<bool>, Raised> {
    let Some(word) = args.text(1) else { return Ok(None) };
    match word.to_ascii_lowercase().as_str() {
        "one" => Ok(Some(true)),
        "all" => Ok(Some(false)),
        _ => Err(raise(
            3154,
            "The oneOrAll argument to json_contains_path may take these values: 'one' or 'all'.",
        )),
    }
}

fn contains_path(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let (Some(doc), Some(one)) = (document(args, 0)?, one_or_all(args)?) else {
        return NULL;
    };
    let mut hits = 0;
    for index in 2..args.len() {
        hits += usize::from(!path(args, index)?.find(&doc).is_empty());
    }
    boolean(if one { hits > 0 } else { hits == args.len() - 2 })
}

fn overlaps(args: &Args<'_, '_>) -> Outcome {
    let (Some(a), Some(b)) = (document(args, 0)?, document(args, 1)?) else {
        return NULL;
    };
    boolean(match (&a, &b) {
        (Json::Object(x), Json::Object(y)) => x.iter().any(|(k, v)| y.get(k).is_some_and(|w| compare(v, w).is_eq())),
        (Json::Array(x), Json::Array(y)) => x.iter().any(|v| y.iter().any(|w| compare(v, w).is_eq())),
        (Json::Array(x), one) | (one, Json::Array(x)) => x.iter().any(|v| compare(v, one).is_eq()),
        (x, y) => compare(x, y).is_eq(),
    })
}

fn member_of(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let (value, array) = (item(args, 0)?, item(args, 1)?);
    boolean(match &array {
        Json::Array(items) => items.iter().any(|i| compare(i, &value).is_eq()),
        one => compare(one, &value).is_eq(),
    })
}

/// JSON_SEARCH(doc, 'one'|'all', pattern[, escape[, path …]])
fn search(args: &Args<'_, '_>) -> Outcome {
    let (Some(doc), Some(one), Some(pattern)) = (document(args, 0)?, one_or_all(args)?, args.text(2)) else {
        return NULL;
    };
    let escape = args.text(3).and_then(|e| e.chars().next()).unwrap_or('\\');
    let mut found = Vec::new();
    if args.len() > 4 {
        for index in 4..args.len() {
            let path = path(args, index)?;
            path.refuse_wildcard()?;
            let prefix = args.text(index).unwrap_or_default().into_owned();
            path.find(&doc)
                .into_iter()
                .for_each(|v| collect(v, &prefix, &pattern, escape, &mut found));
        }
    } else {
        collect(&doc, "$", &pattern, escape, &mut found);
    }
    let mut found: Vec<Json> = found.into_iter().map(Json::String).collect();
    match found.len() {
        0 => NULL,
        1 => printed(&found.remove(0)),
        _ if one => printed(&found.remove(0)),
        _ => printed(&Json::Array(found)),
    }
}

fn collect(value: &Json, at: &str, pattern: &str, escape: char, out: &mut Vec<String>) {
    match value {
        Json::String(s) if crate::sql::func::pattern::like_text(s, pattern, escape) => out.push(at.to_string()),
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{at}[{index}]"), pattern, escape, out);
            }
        }
        Json::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by(|a, b| key_order(a.0, b.0));
            for (key, item) in sorted {
                let plain = key.chars().all(|c| c.is_alphanumeric() || c == '_')
                    && !key.starts_with(|c: char| c.is_ascii_digit())
                    && !key.is_empty();
                let leg = if plain {
                    key.clone()
                } else {
                    json::to_string(&Json::String(key.clone()))
                };
                collect(item, &format!("{at}.{leg}"), pattern, escape, out);
            }
        }
        _ => {}
    }
}

fn length(args: &Args<'_, '_>) -> Outcome {
    match target(args, 1)? {
        None => NULL,
        Some(Json::Array(items)) => int(items.len() as i64),
        Some(Json::Object(members)) => int(members.len() as i64),
        Some(_) => int(1),
    }
}

fn depth(value: &Json) -> i64 {
    1 + match value {
        Json::Array(items) => items.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn keys(args: &Args<'_, '_>) -> Outcome {
    let Some(Json::Object(members)) = target(args, 1)? else {
        return NULL;
    };
    let mut keys: Vec<String> = members.keys().cloned().collect();
    keys.sort_unstable_by(|a, b| key_order(a, b));
    printed(&Json::Array(keys.into_iter().map(Json::String).collect()))
}

fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "NULL",
        Json::Bool(_) => "BOOLEAN",
        Json::Number(n) if n.is_i64() => "INTEGER",
        Json::Number(n) if n.is_u64() => "UNSIGNED INTEGER",
        Json::Number(_) => "DOUBLE",
        Json::String(_) => "STRING",
        Json::Array(_) => "ARRAY",
        Json::Object(_) => "OBJECT",
    }
}

fn pretty(args: &Args<'_, '_>) -> Outcome {
    let Some(doc) = document(args, 0)? else { return NULL };
    let mut out = String::new();
    indent(&doc, 0, &mut out);
    Ok(Value::Text(out))
}

fn indent(value: &Json, level: usize, out: &mut String) {
    let line = |out: &mut String, level: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(level));
    };
    match value {
        Json::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, level + 1);
                indent(item, level + 1, out);
            }
            line(out, level);
            out.push(']');
        }
        Json::Object(members) if !members.is_empty() => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by(|a, b| key_order(a.0, b.0));
            out.push('{');
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, level + 1);
                out.push_str(&json::to_string(&Json::String(key.clone())));
                out.push_str(": ");
                indent(item, level + 1, out);
            }
            line(out, level);
            out.push('}');
        }
        other => out.push_str(&json::to_string(other)),
    }
}

/// MySQL's order of JSON values: first by kind, then within it.
pub fn compare(a: &Json, b: &Json) -> Ordering {
    let rank = |v: &Json| match v {
        Json::Null => 0,
        Json::Number(_) => 1,
        Json::String(_) => 2,
        Json::Object(_) => 3,
        Json::Array(_) => 4,
        Json::Bool(_) => 5,
    };
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Json::Number(x), Json::Number(y)) => compare_numbers(x, y),
        (Json::String(x), Json::String(y)) => x.cmp(y),
        (Json::Bool(x), Json::Bool(y)) => x.cmp(y),
        (Json::Array(x), Json::Array(y)) => {
            let first = x.iter().zip(y).map(|(p, q)| compare(p, q)).find(|o| o.is_ne());
            first.unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        (Json::Object(x), Json::Object(y)) => {
            let same = x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| compare(v, w).is_eq()));
            if same {
                Ordering::Equal
            } else {
                json::to_string(a).cmp(&json::to_string(b)).then(Ordering::Less)
            }
        }
        _ => Ordering::Equal,
    })
}

fn compare_numbers(x: &serde_json::Number, y: &serde_json::Number) -> Ordering {
    let integer = |n: &serde_json::Number| n.as_i64().map(i128::from).or(n.as_u64().map(i128::from));
    match (integer(x), integer(y)) {
        (Some(x), Some(y)) => x.cmp(&y),
        _ => x.as_f64().unwrap_or(0.0).total_cmp(&y.as_f64().unwrap_or(0.0)),
    }
}
