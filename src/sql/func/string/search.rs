//! Finding and comparing under a collation.

use rusqlite::types::ValueRef;
use starling_apply::collate::{self, CollationInfo};

use super::edit::{count, offset};
use crate::sql::func::cast;
use crate::sql::func::run::{Args, Body, NULL, Outcome, int, string};

pub const BODIES: &[Body] = &[
    Body::new("starling_instr", |args| find(args, 1, 0, 1, 2)),
    Body::new("starling_locate", |args| match args.int(2) {
        Some(position) => find(args, 0, 1, position, 3),
        None => NULL,
    }),
    Body::new("starling_field", field),
    Body::new("starling_find_in_set", find_in_set),
    Body::new("starling_strcmp", strcmp),
    Body::new("starling_substring_index", substring_index),
    Body::new("starling_weight_string", weight_string),
];

/// The collation given as the (hidden) last argument; `None` compares bytes.
pub fn collation(args: &Args<'_, '_>, index: usize) -> Option<&'static CollationInfo> {
    let ValueRef::Text(name) = args.get(index) else { return None };
    let info = collate::collation_info(std::str::from_utf8(name).ok()?)?;
    (info.charset != "binary").then_some(info)
}

/// Byte position of `needle` in `text`, and the length of what matched.
pub fn position(text: &[u8], needle: &[u8], collation: Option<&CollationInfo>) -> Option<(usize, usize)> {
    let plain = |_: ()| memchr::memmem::find(text, needle).map(|at| (at, needle.len()));
    let Some(collation) = collation else { return plain(()) };
    if needle.is_empty() || collation.is_binary() {
        return plain(());
    }
    let ends_in_cs = collation.name.ends_with("_cs");
    if text.is_ascii() && needle.is_ascii() {
        let found = text
            .windows(needle.len())
            .position(|w| if ends_in_cs { w == needle } else { w.eq_ignore_ascii_case(needle) });
        return found.map(|at| (at, needle.len()));
    }
    let (text_str, needle_str) = (std::str::from_utf8(text).ok()?, std::str::from_utf8(needle).ok()?);
    let width = needle_str.chars().count();
    text_str.char_indices().find_map(|(at, _)| {
        let rest = &text_str[at..];
        let window = &rest[..offset(rest.as_bytes(), false, width)];
        collation.equal(window, needle_str).then_some((at, window.len()))
    })
}

fn find(args: &Args<'_, '_>, needle: usize, text: usize, from: i64, collation_at: usize) -> Outcome {
    let (Some(needle_bytes), Some(bytes)) = (args.bytes(needle), args.bytes(text)) else {
        return NULL;
    };
    let binary = args.is_blob(text) || args.is_blob(needle);
    let total = count(&bytes, binary) as i64;
    if from < 1 || from > total + 1 {
        return int(0);
    }
    let start = offset(&bytes, binary, (from - 1) as usize);
    let rule = if binary { None } else { collation(args, collation_at) };
    match position(&bytes[start..], &needle_bytes, rule) {
        Some((at, _)) => int(from + count(&bytes[start..start + at], binary) as i64),
        None => int(0),
    }
}

/// FIELD(x, a, b, …, type)
fn field(args: &Args<'_, '_>) -> Outcome {
    let last = args.len().saturating_sub(1);
    if args.is_null(0) {
        return int(0);
    }
    let ty = cast::type_argument(args, last)?;
    let found = (1..last).find(|i| !args.is_null(*i) && cast::compare(args.get(0), args.get(*i), &ty).is_eq());
    int(found.map_or(0, |i| i as i64))
}

fn same(left: &[u8], right: &[u8], collation: Option<&CollationInfo>) -> bool {
    compare(left, right, collation).is_eq()
}

fn compare(left: &[u8], right: &[u8], collation: Option<&CollationInfo>) -> std::cmp::Ordering {
    match (collation, std::str::from_utf8(left), std::str::from_utf8(right)) {
        (Some(collation), Ok(left), Ok(right)) => collation.compare(left, right),
        _ => left.cmp(right),
    }
}

fn find_in_set(args: &Args<'_, '_>) -> Outcome {
    let (Some(needle), Some(list)) = (args.bytes(0), args.bytes(1)) else {
        return NULL;
    };
    if list.is_empty() || needle.contains(&b',') {
        return int(0);
    }
    let rule = collation(args, 2);
    let found = list.split(|b| *b == b',').position(|part| same(part, &needle, rule));
    int(found.map_or(0, |i| i as i64 + 1))
}

fn strcmp(args: &Args<'_, '_>) -> Outcome {
    let (Some(left), Some(right)) = (args.bytes(0), args.bytes(1)) else {
        return NULL;
    };
    int(compare(&left, &right, collation(args, 2)) as i64)
}

fn substring_index(args: &Args<'_, '_>) -> Outcome {
    let (Some(bytes), Some(delimiter), Some(n)) = (args.bytes(0), args.bytes(1), args.int(2)) else {
        return NULL;
    };
    let binary = args.is_blob(0);
    if n == 0 || delimiter.is_empty() || bytes.is_empty() {
        return string(Vec::new(), binary);
    }
    let wanted = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
    let cut = if n > 0 {
        memchr::memmem::find_iter(&bytes, delimiter.as_ref())
            .nth(wanted - 1)
            .map(|at| &bytes[..at])
    } else {
        memchr::memmem::rfind_iter(&bytes, delimiter.as_ref())
            .nth(wanted - 1)
            .map(|at| &bytes[at + delimiter.len()..])
    };
    string(cut.unwrap_or(&bytes).to_vec(), binary)
}

fn weight_string(args: &Args<'_, '_>) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return NULL };
    let key = match (collation(args, 1), std::str::from_utf8(&bytes)) {
        (Some(collation), Ok(text)) => collation.sort_key(text),
        _ => bytes.into_owned(),
    };
    string(key, true)
}
