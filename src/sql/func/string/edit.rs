//! Cutting, joining, padding.

use rusqlite::types::Value;

use crate::sql::func::context::{self, Level};
use crate::sql::func::run::{Args, Body, NULL, Outcome, int, string, text};

pub const BODIES: &[Body] = &[
    Body::new("starling_concat", concat),
    Body::new("starling_concat_ws", concat_ws),
    Body::new("starling_length", |args| args.bytes(0).map_or(NULL, |b| int(b.len() as i64))),
    Body::new("starling_bit_length", |args| {
        args.bytes(0).map_or(NULL, |b| int(b.len() as i64 * 8))
    }),
    Body::new("starling_char_length", |args| {
        args.bytes(0).map_or(NULL, |b| int(count(&b, args.is_blob(0)) as i64))
    }),
    Body::new("starling_upper", |args| case(args, |c| single(c.to_uppercase(), c))),
    Body::new("starling_lower", |args| case(args, |c| single(c.to_lowercase(), c))),
    Body::new("starling_substring", substring),
    Body::new("starling_left", |args| side(args, true)),
    Body::new("starling_right", |args| side(args, false)),
    Body::new("starling_trim", |args| trim(args, true, true)),
    Body::new("starling_ltrim", |args| trim(args, true, false)),
    Body::new("starling_rtrim", |args| trim(args, false, true)),
    Body::new("starling_lpad", |args| pad(args, true)),
    Body::new("starling_rpad", |args| pad(args, false)),
    Body::new("starling_replace", replace),
    Body::new("starling_repeat", repeat),
    Body::new("starling_space", space),
    Body::new("starling_reverse", reverse),
    Body::new("starling_insert", insert),
    Body::new("starling_elt", elt),
    Body::new("starling_make_set", make_set),
    Body::new("starling_export_set", export_set),
    Body::new("starling_join", join),
];

/// Characters of a text, bytes of a byte string.
pub fn count(bytes: &[u8], binary: bool) -> usize {
    if binary {
        bytes.len()
    } else {
        bytes.iter().filter(|b| **b & 0xC0 != 0x80).count()
    }
}

/// Where character `n` begins (or the end).
pub fn offset(bytes: &[u8], binary: bool, n: usize) -> usize {
    if binary || bytes.len() <= n && bytes.is_ascii() {
        return n.min(bytes.len());
    }
    bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b & 0xC0 != 0x80)
        .nth(n)
        .map_or(bytes.len(), |(at, _)| at)
}

/// `length` characters from character `start` on.
fn slice(bytes: &[u8], binary: bool, start: usize, length: usize) -> &[u8] {
    let from = offset(bytes, binary, start);
    let rest = &bytes[from..];
    &rest[..offset(rest, binary, length)]
}

fn concat(args: &Args<'_, '_>) -> Outcome {
    let mut out = Vec::new();
    let mut binary = false;
    for index in 0..args.len() {
        let Some(bytes) = args.bytes(index) else { return NULL };
        binary |= args.is_blob(index);
        out.extend_from_slice(&bytes);
    }
    limited(out, binary, "concat")
}

fn concat_ws(args: &Args<'_, '_>) -> Outcome {
    let Some(separator) = args.bytes(0) else { return NULL };
    let mut out = Vec::new();
    let mut binary = args.is_blob(0);
    let mut first = true;
    for index in 1..args.len() {
        let Some(bytes) = args.bytes(index) else { continue };
        if !first {
            out.extend_from_slice(&separator);
        }
        first = false;
        binary |= args.is_blob(index);
        out.extend_from_slice(&bytes);
    }
    limited(out, binary, "concat_ws")
}

/// A result beyond max_allowed_packet is NULL, with warning 1301.
fn limited(out: Vec<u8>, binary: bool, function: &str) -> Outcome {
    if too_large(out.len(), function) {
        NULL
    } else {
        string(out, binary)
    }
}

fn too_large(length: usize, function: &str) -> bool {
    let max = context::current().max_allowed_packet;
    if length > max {
        context::warn(
            Level::Warning,
            1301,
            format!("Result of {function}() was larger than max_allowed_packet ({max}) - truncated"),
        );
    }
    length > max
}

/// Character by character: what has no single counterpart (ß) stays.
fn case(args: &Args<'_, '_>, change: fn(char) -> char) -> Outcome {
    if args.is_blob(0) {
        return Ok(args.value(0));
    }
    args.text(0).map_or(NULL, |t| text(t.chars().map(change).collect::<String>()))
}

fn single(mut mapped: impl Iterator<Item = char>, original: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => original,
    }
}

fn substring(args: &Args<'_, '_>) -> Outcome {
    let (Some(bytes), Some(position)) = (args.bytes(0), args.int(1)) else {
        return NULL;
    };
    let binary = args.is_blob(0);
    let length = match args.len() {
        2 => i64::MAX,
        _ => match args.int(2) {
            Some(length) => length,
            None => return NULL,
        },
    };
    let total = count(&bytes, binary) as i64;
    let start = if position > 0 { position - 1 } else { total + position };
    if position == 0 || length <= 0 || start < 0 || start >= total {
        return string(Vec::new(), binary);
    }
    string(slice(&bytes, binary, start as usize, length as usize).to_vec(), binary)
}

fn side(args: &Args<'_, '_>, left: bool) -> Outcome {
    let (Some(bytes), Some(n)) = (args.bytes(0), args.int(1)) else {
        return NULL;
    };
    let binary = args.is_blob(0);
    let n = n.max(0) as usize;
    let start = if left { 0 } else { count(&bytes, binary).saturating_sub(n) };
    string(slice(&bytes, binary, start, n).to_vec(), binary)
}

fn trim(args: &Args<'_, '_>, leading: bool, trailing: bool) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return NULL };
    let what = match args.len() {
        1 => b" ".to_vec(),
        _ => match args.bytes(1) {
            Some(what) => what.into_owned(),
            None => return NULL,
        },
    };
    let mut rest: &[u8] = &bytes;
    if !what.is_empty() {
        while leading && let Some(shorter) = rest.strip_prefix(what.as_slice()) {
            rest = shorter;
        }
        while trailing && let Some(shorter) = rest.strip_suffix(what.as_slice()) {
            rest = shorter;
        }
    }
    string(rest.to_vec(), args.is_blob(0))
}

fn pad(args: &Args<'_, '_>, left: bool) -> Outcome {
    let (Some(bytes), Some(length), Some(fill)) = (args.bytes(0), args.int(1), args.bytes(2)) else {
        return NULL;
    };
    let binary = args.is_blob(0) || args.is_blob(2);
    let Ok(length) = usize::try_from(length) else { return NULL };
    let have = count(&bytes, binary);
    if length <= have {
        return string(slice(&bytes, binary, 0, length).to_vec(), binary);
    }
    let fill_count = count(&fill, binary);
    if fill_count == 0 {
        return string(Vec::new(), binary);
    }
    let missing = length - have;
    if too_large(missing.saturating_add(bytes.len()), if left { "lpad" } else { "rpad" }) {
        return NULL;
    }
    let mut padding = fill.repeat(missing / fill_count);
    padding.extend_from_slice(slice(&fill, binary, 0, missing % fill_count));
    string(
        if left {
            [padding.as_slice(), &bytes].concat()
        } else {
            [&bytes, padding.as_slice()].concat()
        },
        binary,
    )
}

fn replace(args: &Args<'_, '_>) -> Outcome {
    let (Some(bytes), Some(from), Some(to)) = (args.bytes(0), args.bytes(1), args.bytes(2)) else {
        return NULL;
    };
    let binary = (0..3).any(|i| args.is_blob(i));
    if from.is_empty() {
        return string(bytes.into_owned(), binary);
    }
    let finder = memchr::memmem::Finder::new(from.as_ref());
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest: &[u8] = &bytes;
    while let Some(at) = finder.find(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    limited(out, binary, "replace")
}

fn repeat(args: &Args<'_, '_>) -> Outcome {
    let (Some(bytes), Some(n)) = (args.bytes(0), args.int(1)) else {
        return NULL;
    };
    let n = n.max(0) as usize;
    if too_large(bytes.len().saturating_mul(n), "repeat") {
        return NULL;
    }
    string(bytes.repeat(n), args.is_blob(0))
}

fn space(args: &Args<'_, '_>) -> Outcome {
    let Some(n) = args.int(0) else { return NULL };
    let n = n.max(0) as usize;
    if too_large(n, "space") { NULL } else { text(" ".repeat(n)) }
}

fn reverse(args: &Args<'_, '_>) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return NULL };
    if args.is_blob(0) {
        return Ok(Value::Blob(bytes.iter().rev().copied().collect()));
    }
    text(String::from_utf8_lossy(&bytes).chars().rev().collect::<String>())
}

fn insert(args: &Args<'_, '_>) -> Outcome {
    let (Some(bytes), Some(position), Some(length), Some(new)) = (args.bytes(0), args.int(1), args.int(2), args.bytes(3)) else {
        return NULL;
    };
    let binary = args.is_blob(0) || args.is_blob(3);
    let total = count(&bytes, binary) as i64;
    if position < 1 || position > total {
        return string(bytes.into_owned(), binary);
    }
    let start = (position - 1) as usize;
    let removed = if length < 0 || length > total - position + 1 {
        total as usize - start
    } else {
        length as usize
    };
    let (head, tail) = (offset(&bytes, binary, start), offset(&bytes, binary, start + removed));
    string([&bytes[..head], &new, &bytes[tail..]].concat(), binary)
}

fn elt(args: &Args<'_, '_>) -> Outcome {
    match args.int(0) {
        Some(n) if n >= 1 && (n as usize) < args.len() => Ok(args.value(n as usize)),
        _ => NULL,
    }
}

fn make_set(args: &Args<'_, '_>) -> Outcome {
    let Some(bits) = args.bits(0) else { return NULL };
    let chosen: Vec<Vec<u8>> = (1..args.len().min(65))
        .filter(|i| bits >> (i - 1) & 1 == 1)
        .filter_map(|i| args.bytes(i).map(|b| b.into_owned()))
        .collect();
    string(chosen.join(&b','), false)
}

fn export_set(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let (Some(bits), Some(on), Some(off)) = (args.bits(0), args.text(1), args.text(2)) else {
        return NULL;
    };
    let separator = args.text(3).unwrap_or_else(|| ",".into());
    let count = args.int(4).filter(|n| (0..=64).contains(n)).unwrap_or(64);
    let parts: Vec<&str> = (0..count)
        .map(|i| if bits >> i & 1 == 1 { on.as_ref() } else { off.as_ref() })
        .collect();
    text(parts.join(&separator))
}

/// starling_join(json array of texts, separator): GROUP_CONCAT(DISTINCT …), cut at group_concat_max_len.
fn join(args: &Args<'_, '_>) -> Outcome {
    let (Some(list), Some(separator)) = (args.bytes(0), args.text(1)) else {
        return NULL;
    };
    let parts: Vec<Option<String>> = serde_json::from_slice(&list).unwrap_or_default();
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return NULL;
    }
    let mut joined = parts.join(&separator);
    crate::sql::func::aggregate::cut_to_max(&mut joined);
    text(joined)
}
