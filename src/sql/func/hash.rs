//! Digests and UUIDs.

use rusqlite::types::Value;
use sha1::Digest as _;

use super::rule;
use super::run::{Args, Body, NULL, Outcome, boolean, raise, text};
use super::{Family, Function, Kind};
use crate::sql::types::Ty;

use Kind::*;

mod md5;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::Hash, args, params, result, sqlite)
}

pub const FUNCTIONS: &[Function] = &[
    row("md5", (1, 1), &[Text], rule::text::<32>, "starling_md5"),
    row("sha", (1, 1), &[Text], rule::text::<40>, "starling_sha1"),
    row("sha1", (1, 1), &[Text], rule::text::<40>, "starling_sha1"),
    row("sha2", (2, 2), &[Text, Int], rule::text_nullable::<128>, "starling_sha2"),
    row("uuid", (0, 0), &[], rule::text::<36>, "starling_uuid").volatile(),
    row("uuid_short", (0, 0), &[], rule::unsigned, "starling_uuid_short").volatile(),
    row(
        "uuid_to_bin",
        (1, 2),
        &[Text, Int],
        |_| Ty::binary(16, true),
        "starling_uuid_to_bin",
    ),
    row(
        "bin_to_uuid",
        (1, 2),
        &[Binary, Int],
        rule::text_nullable::<36>,
        "starling_bin_to_uuid",
    ),
    row("is_uuid", (1, 1), &[Text], rule::boolean, "starling_is_uuid"),
    row("random_bytes", (1, 1), &[Int], |_| Ty::binary(1024, true), "starling_random_bytes").volatile(),
];

pub const BODIES: &[Body] = &[
    Body::new("starling_md5", |args| {
        args.bytes(0).map_or(NULL, |b| text(hex::encode(md5::digest(&b))))
    }),
    Body::new("starling_sha1", |args| {
        args.bytes(0).map_or(NULL, |b| text(hex::encode(sha1::Sha1::digest(b.as_ref()))))
    }),
    Body::new("starling_sha2", sha2_text),
    Body::new("starling_uuid", |_| text(time_uuid())).volatile(),
    Body::new("starling_uuid_short", |_| Ok(Value::Integer((rand::random::<u64>() >> 2) as i64))).volatile(),
    Body::new("starling_uuid_to_bin", uuid_to_bin),
    Body::new("starling_bin_to_uuid", bin_to_uuid),
    Body::new("starling_is_uuid", |args| {
        args.text(0).map_or(NULL, |t| boolean(parse_uuid(&t).is_some()))
    }),
    Body::new("starling_random_bytes", random_bytes).volatile(),
];

fn sha2_text(args: &Args<'_, '_>) -> Outcome {
    let (Some(bytes), Some(bits)) = (args.bytes(0), args.int(1)) else {
        return NULL;
    };
    text(match bits {
        224 => hex::encode(sha2::Sha224::digest(bytes.as_ref())),
        0 | 256 => hex::encode(sha2::Sha256::digest(bytes.as_ref())),
        384 => hex::encode(sha2::Sha384::digest(bytes.as_ref())),
        512 => hex::encode(sha2::Sha512::digest(bytes.as_ref())),
        _ => return NULL,
    })
}

/// MySQL's UUIDs are of version 1; ours keep that layout with a random clock, node and time (no address leaks, no clock is read).
fn time_uuid() -> String {
    let mut bytes = *uuid::Uuid::new_v4().as_bytes();
    bytes[6] = bytes[6] & 0x0F | 0x10;
    // the multicast bit says that the node is no real address
    bytes[10] |= 0x01;
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// With or without dashes and braces.
fn parse_uuid(given: &str) -> Option<[u8; 16]> {
    let inner = given.strip_prefix('{').and_then(|g| g.strip_suffix('}')).unwrap_or(given);
    let shape = inner.len() == 32 || (inner.len() == 36 && [8, 13, 18, 23].iter().all(|i| inner.as_bytes()[*i] == b'-'));
    if !shape {
        return None;
    }
    let digits: String = inner.chars().filter(|c| *c != '-').collect();
    hex::decode(digits).ok()?.try_into().ok()
}

fn uuid_to_bin(args: &Args<'_, '_>) -> Outcome {
    let Some(given) = args.text(0) else { return NULL };
    let Some(mut bytes) = parse_uuid(&given) else {
        return Err(raise(1411, format!("Incorrect string value: '{given}' for function uuid_to_bin")));
    };
    if args.int(1).unwrap_or(0) != 0 {
        // time-high, time-mid, time-low: so that ids in sequence sort in sequence
        bytes = swap(bytes, [6, 7, 4, 5, 0, 1, 2, 3]);
    }
    Ok(Value::Blob(bytes.to_vec()))
}

fn swap(bytes: [u8; 16], order: [usize; 8]) -> [u8; 16] {
    let mut out = bytes;
    for (to, from) in order.into_iter().enumerate() {
        out[to] = bytes[from];
    }
    out
}

fn bin_to_uuid(args: &Args<'_, '_>) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return NULL };
    let Ok(mut bytes) = <[u8; 16]>::try_from(bytes.as_ref()) else {
        return Err(raise(1411, "Incorrect string value for function bin_to_uuid"));
    };
    if args.int(1).unwrap_or(0) != 0 {
        bytes = swap(bytes, [4, 5, 6, 7, 2, 3, 0, 1]);
    }
    text(uuid::Uuid::from_bytes(bytes).to_string())
}

fn random_bytes(args: &Args<'_, '_>) -> Outcome {
    let Some(length) = args.int(0) else { return NULL };
    if !(1..=1024).contains(&length) {
        return Err(raise(1690, "length value is out of range in 'random_bytes'"));
    }
    Ok(Value::Blob((0..length).map(|_| rand::random::<u8>()).collect()))
}
