//! Numbers as text and bytes as text: HEX, CONV, FORMAT, BASE64, SOUNDEX …

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rusqlite::types::{Value, ValueRef};

use crate::sql::func::cast::exact;
use crate::sql::func::context::complain;
use crate::sql::func::run::{Args, Body, NULL, Outcome, int, string, text};

pub const BODIES: &[Body] = &[
    Body::new("starling_hex_int", |args| args.bits(0).map_or(NULL, |v| text(format!("{v:X}")))),
    Body::new("starling_bin", |args| args.bits(0).map_or(NULL, |v| text(format!("{v:b}")))),
    Body::new("starling_oct", |args| args.bits(0).map_or(NULL, |v| text(format!("{v:o}")))),
    Body::new("starling_unhex", unhex),
    Body::new("starling_ascii", |args| {
        args.bytes(0).map_or(NULL, |b| int(b.first().copied().unwrap_or(0).into()))
    }),
    Body::new("starling_ord", ord),
    Body::new("starling_char", char_bytes),
    Body::new("starling_format", format_number),
    Body::new("starling_quote", quote),
    Body::new("starling_conv", conv),
    Body::new("starling_to_base64", to_base64),
    Body::new("starling_from_base64", from_base64),
    Body::new("starling_soundex", soundex),
];

/// MySQL breaks base64 lines after so many characters.
const BASE64_LINE: usize = 76;

fn unhex(args: &Args<'_, '_>) -> Outcome {
    let Some(digits) = args.bytes(0) else { return NULL };
    let padded = if digits.len() % 2 == 1 {
        [b"0", digits.as_ref()].concat()
    } else {
        digits.into_owned()
    };
    Ok(hex::decode(padded).map_or(Value::Null, Value::Blob))
}

/// Leftmost character: its UTF-8 bytes as one number.
fn ord(args: &Args<'_, '_>) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return NULL };
    let length = if args.is_blob(0) {
        1
    } else {
        super::edit::offset(&bytes, false, 1)
    };
    int(bytes.iter().take(length).fold(0, |n, b| n << 8 | i64::from(*b)))
}

fn char_bytes(args: &Args<'_, '_>) -> Outcome {
    let mut out = Vec::new();
    for value in (0..args.len()).filter_map(|i| args.bits(i)) {
        let bytes = (value as u32).to_be_bytes();
        let zeros = bytes.iter().take(3).take_while(|b| **b == 0).count();
        out.extend_from_slice(&bytes[zeros..]);
    }
    string(out, true)
}

/// FORMAT(x, decimals[, locale]): thousands in groups. Only en_US and its likes.
fn format_number(args: &Args<'_, '_>) -> Outcome {
    let (Some(value), Some(decimals)) = (exact(args.get(0)), args.int(1)) else {
        return NULL;
    };
    let rounded = value.round(decimals.clamp(0, 30) as u32).to_string();
    let (sign, digits) = rounded.strip_prefix('-').map_or(("", rounded.as_str()), |d| ("-", d));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let mut out = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    text(out)
}

fn quote(args: &Args<'_, '_>) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return text("NULL") };
    let mut out = vec![b'\''];
    for byte in bytes.iter() {
        match byte {
            b'\'' => out.extend_from_slice(b"\\'"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0 => out.extend_from_slice(b"\\0"),
            0x1a => out.extend_from_slice(b"\\Z"),
            b => out.push(*b),
        }
    }
    out.push(b'\'');
    string(out, args.is_blob(0))
}

/// CONV(n, from, to): a negative base means signed.
fn conv(args: &Args<'_, '_>) -> Outcome {
    let (Some(number), Some(from), Some(to)) = (args.text(0), args.int(1), args.int(2)) else {
        return NULL;
    };
    let legal = |base: i64| (2..=36).contains(&base.abs());
    if !legal(from) || !legal(to) {
        return NULL;
    }
    let number = number.trim_start();
    let (negative, digits) = number.strip_prefix('-').map_or((false, number), |d| (true, d));
    let base = from.unsigned_abs() as u32;
    let mut value: u128 = 0;
    for digit in digits.chars().map_while(|c| c.to_digit(base)) {
        value = (value * u128::from(base) + u128::from(digit)).min(u128::from(u64::MAX));
    }
    let mut value = value as u64;
    if negative {
        value = value.wrapping_neg();
    }
    if to < 0 && (value as i64) < 0 {
        return text(format!("-{}", in_base(value.wrapping_neg(), to.unsigned_abs())));
    }
    text(in_base(value, to.unsigned_abs()))
}

fn in_base(mut value: u64, base: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = char::from_digit((value % base) as u32, base as u32).unwrap_or('0');
        digits.push(digit.to_ascii_uppercase());
        value /= base;
        if value == 0 {
            break;
        }
    }
    digits.iter().rev().collect()
}

fn to_base64(args: &Args<'_, '_>) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return NULL };
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes.as_ref());
    let mut out = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE);
    for (index, c) in encoded.chars().enumerate() {
        if index > 0 && index % BASE64_LINE == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    text(out)
}

fn from_base64(args: &Args<'_, '_>) -> Outcome {
    let Some(bytes) = args.bytes(0) else { return NULL };
    let compact: Vec<u8> = bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, config);
    match engine.decode(&compact) {
        Ok(decoded) => Ok(Value::Blob(decoded)),
        Err(_) => {
            complain(1958, "Bad base64 data")?;
            NULL
        }
    }
}

fn soundex(args: &Args<'_, '_>) -> Outcome {
    if matches!(args.get(0), ValueRef::Null) {
        return NULL;
    }
    let Some(input) = args.text(0) else { return NULL };
    // one digit a letter, A to Z; 0: not coded, and it does not separate
    const CODES: &[u8; 26] = b"01230120022455012623010202";
    let code = |c: char| -> u8 {
        if c.is_ascii_uppercase() {
            CODES[(c as u8 - b'A') as usize]
        } else {
            b'0'
        }
    };
    let mut out = String::new();
    let mut last = b'0';
    for c in input.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_uppercase) {
        if out.is_empty() {
            out.push(c);
            last = code(c);
            continue;
        }
        let digit = code(c);
        if digit != b'0' && digit != last {
            out.push(digit as char);
        }
        if digit != b'0' {
            last = digit;
        }
    }
    while !out.is_empty() && out.chars().count() < 4 {
        out.push('0');
    }
    text(out)
}
