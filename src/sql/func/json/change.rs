//! Building and changing documents.

use starling_apply::types::json::Json;

use super::path::{Leg, Path};
use super::read::path;
use super::{document, item, printed};
use crate::sql::func::context::Raised;
use crate::sql::func::run::{Args, Body, NULL, Outcome, raise};

pub const BODIES: &[Body] = &[
    Body::new("starling_json_array", array),
    Body::new("starling_json_object", object),
    Body::new("starling_json_set", |args| {
        each_pair(args, |doc, path, value| set(doc, path, value, true, true))
    }),
    Body::new("starling_json_insert", |args| {
        each_pair(args, |doc, path, value| set(doc, path, value, true, false))
    }),
    Body::new("starling_json_replace", |args| {
        each_pair(args, |doc, path, value| set(doc, path, value, false, true))
    }),
    Body::new("starling_json_array_append", |args| each_pair(args, append)),
    Body::new("starling_json_array_insert", |args| each_pair(args, insert_cell)),
    Body::new("starling_json_remove", remove),
    Body::new("starling_json_merge_patch", |args| merge(args, patch)),
    Body::new("starling_json_merge_preserve", |args| merge(args, preserve)),
];

fn array(args: &Args<'_, '_>) -> Outcome {
    let items = (0..args.len()).map(|i| item(args, i)).collect::<Result<Vec<_>, _>>()?;
    printed(&Json::Array(items))
}

fn object(args: &Args<'_, '_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(raise(
            1582,
            "Incorrect parameter count in the call to native function 'json_object'",
        ));
    }
    let mut members = serde_json::Map::new();
    for index in (0..args.len()).step_by(2) {
        let Some(key) = args.text(index) else {
            return Err(raise(3158, "JSON documents may not contain NULL member names."));
        };
        members.insert(key.into_owned(), item(args, index + 1)?);
    }
    printed(&Json::Object(members))
}

/// Applies `change` for each (path, value) behind the document.
fn each_pair(args: &Args<'_, '_>, change: fn(&mut Json, &Path, Json) -> Result<(), Raised>) -> Outcome {
    let Some(mut doc) = document(args, 0)? else { return NULL };
    for index in (1..args.len()).step_by(2) {
        if args.is_null(index) {
            return NULL;
        }
        let path = path(args, index)?;
        path.refuse_wildcard()?;
        change(&mut doc, &path, item(args, index + 1)?)?;
    }
    printed(&doc)
}

/// SET, INSERT and REPLACE: `create` what is not there, `overwrite` what is.
fn set(doc: &mut Json, path: &Path, value: Json, create: bool, overwrite: bool) -> Result<(), Raised> {
    if let Some(place) = path.find_mut(doc) {
        if overwrite {
            *place = value;
        }
        return Ok(());
    }
    let (true, Some((parent, last))) = (create, path.split()) else {
        return Ok(());
    };
    let Some(parent) = parent.find_mut(doc) else { return Ok(()) };
    match (last, parent) {
        (Leg::Member(key), Json::Object(members)) => {
            members.insert(key.clone(), value);
        }
        (Leg::Cell(index), Json::Array(items)) => match index.resolve(items.len()) {
            Some(_) => items.push(value),
            None => items.insert(0, value),
        },
        // a value that is no array becomes one
        (Leg::Cell(index), other) if !other.is_object() || path.0.len() == 1 || index.resolve(1).is_some() => {
            let first = other.take();
            *other = match index.resolve(1) {
                Some(_) => Json::Array(vec![first, value]),
                None => Json::Array(vec![value, first]),
            };
        }
        _ => {}
    }
    Ok(())
}

fn append(doc: &mut Json, path: &Path, value: Json) -> Result<(), Raised> {
    if let Some(place) = path.find_mut(doc) {
        match place {
            Json::Array(items) => items.push(value),
            other => {
                let first = other.take();
                *other = Json::Array(vec![first, value]);
            }
        }
    }
    Ok(())
}

fn insert_cell(doc: &mut Json, path: &Path, value: Json) -> Result<(), Raised> {
    let Some((parent, Leg::Cell(index))) = path.split() else {
        return Err(raise(3165, "A path expression is not a path to a cell in an array."));
    };
    if let Some(Json::Array(items)) = parent.find_mut(doc) {
        let at = index.resolve(items.len()).unwrap_or(0).min(items.len());
        items.insert(at, value);
    }
    Ok(())
}

fn remove(args: &Args<'_, '_>) -> Outcome {
    let Some(mut doc) = document(args, 0)? else { return NULL };
    for index in 1..args.len() {
        if args.is_null(index) {
            return NULL;
        }
        let path = path(args, index)?;
        path.refuse_wildcard()?;
        let Some((parent, last)) = path.split() else {
            return Err(raise(3153, "The path expression '$' is not allowed in this context."));
        };
        match (last, parent.find_mut(&mut doc)) {
            (Leg::Member(key), Some(Json::Object(members))) => {
                members.shift_remove(key);
            }
            (Leg::Cell(cell), Some(Json::Array(items))) => {
                if let Some(at) = cell.resolve(items.len()).filter(|at| *at < items.len()) {
                    items.remove(at);
                }
            }
            _ => {}
        }
    }
    printed(&doc)
}

fn merge(args: &Args<'_, '_>, combine: fn(Json, Json) -> Json) -> Outcome {
    let Some(mut doc) = document(args, 0)? else { return NULL };
    for index in 1..args.len() {
        let Some(next) = document(args, index)? else { return NULL };
        doc = combine(doc, next);
    }
    printed(&doc)
}

/// RFC 7396.
fn patch(target: Json, patch_with: Json) -> Json {
    let Json::Object(changes) = patch_with else { return patch_with };
    let mut members = match target {
        Json::Object(members) => members,
        _ => serde_json::Map::new(),
    };
    for (key, change) in changes {
        if change.is_null() {
            members.shift_remove(&key);
            continue;
        }
        let held = members.shift_remove(&key).unwrap_or(Json::Null);
        members.insert(key, patch(held, change));
    }
    Json::Object(members)
}

fn preserve(left: Json, right: Json) -> Json {
    match (left, right) {
        (Json::Object(mut members), Json::Object(others)) => {
            for (key, value) in others {
                let merged = match members.shift_remove(&key) {
                    Some(held) => preserve(held, value),
                    None => value,
                };
                members.insert(key, merged);
            }
            Json::Object(members)
        }
        (left, right) => {
            let list = |v: Json| match v {
                Json::Array(items) => items,
                other => vec![other],
            };
            let mut items = list(left);
            items.extend(list(right));
            Json::Array(items)
        }
    }
}
