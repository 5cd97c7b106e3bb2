//! Values as the wire wants them: canonical storage form in, text or binary protocol out.
//!
//! The common cases (text, blobs, integers) write straight into the packet; the rest goes through `types::text`.

use std::io::{self, Write};

use opensrv_mysql::{Column, ColumnType as Code, ToMysqlValue};
use starling_apply::types::text;
use starling_apply::{BaseType, ColumnType};
use starling_log::ValueRef;

use super::wire::{put_lenenc, put_lenenc_bytes};

const NULL: u8 = 0xfb;

/// A value with its type.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    pub ty: &'a ColumnType,
    pub value: ValueRef<'a>,
}

/// Does the value's storage form equal its text form (for values of class TEXT and BLOB)?
fn plain_text(ty: &ColumnType) -> bool {
    use BaseType::*;
    !matches!(ty.base, BigInt | Bit | Set | Enum | Time | Decimal | Vector | Float | Double)
}

/// Appends a cell of a text row. `scratch` is reused between cells.
pub fn put_text(out: &mut Vec<u8>, cell: Cell<'_>, scratch: &mut Vec<u8>) {
    match cell.value {
        ValueRef::Null | ValueRef::Absent => out.push(NULL),
        ValueRef::Int(v) if cell.ty.is_integer() && !cell.ty.zerofill => {
            let mut digits = itoa::Buffer::new();
            put_lenenc_bytes(out, digits.format(v).as_bytes());
        }
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) if plain_text(cell.ty) => put_lenenc_bytes(out, bytes),
        value => {
            scratch.clear();
            text::write(scratch, cell.ty, value);
            put_lenenc_bytes(out, scratch);
        }
    }
}

/// Appends a (not NULL) cell of a binary row; `code` is the column's type code.
pub fn put_binary(out: &mut Vec<u8>, cell: Cell<'_>, code: Code, scratch: &mut Vec<u8>) {
    match code {
        Code::MYSQL_TYPE_TINY => out.push(integer(cell, scratch) as u8),
        Code::MYSQL_TYPE_SHORT | Code::MYSQL_TYPE_YEAR => out.extend_from_slice(&(integer(cell, scratch) as u16).to_le_bytes()),
        Code::MYSQL_TYPE_LONG | Code::MYSQL_TYPE_INT24 => out.extend_from_slice(&(integer(cell, scratch) as u32).to_le_bytes()),
        Code::MYSQL_TYPE_LONGLONG => out.extend_from_slice(&integer(cell, scratch).to_le_bytes()),
        Code::MYSQL_TYPE_FLOAT => out.extend_from_slice(&(real(cell, scratch) as f32).to_le_bytes()),
        Code::MYSQL_TYPE_DOUBLE => out.extend_from_slice(&real(cell, scratch).to_le_bytes()),
        Code::MYSQL_TYPE_DATE | Code::MYSQL_TYPE_DATETIME | Code::MYSQL_TYPE_TIMESTAMP => put_datetime(out, cell, scratch),
        Code::MYSQL_TYPE_TIME => put_time(out, cell),
        _ => put_text(out, cell, scratch),
    }
}

/// The 64 bits of an integer value (two's complement, or unsigned from its 20-digit text).
fn integer(cell: Cell<'_>, scratch: &mut Vec<u8>) -> u64 {
    match cell.value {
        ValueRef::Int(v) => v as u64,
        ValueRef::Real(v) => v as i64 as u64,
        _ => {
            let text = as_text(cell, scratch);
            text.parse::<u64>().or_else(|_| text.parse::<i64>().map(|v| v as u64)).unwrap_or(0)
        }
    }
}

fn real(cell: Cell<'_>, scratch: &mut Vec<u8>) -> f64 {
    match cell.value {
        ValueRef::Int(v) => v as f64,
        ValueRef::Real(v) => v,
        _ => as_text(cell, scratch).parse().unwrap_or(0.0),
    }
}

fn as_text<'s>(cell: Cell<'_>, scratch: &'s mut Vec<u8>) -> &'s str {
    scratch.clear();
    text::write(scratch, cell.ty, cell.value);
    std::str::from_utf8(scratch).unwrap_or_default()
}

/// `YYYY-MM-DD[ HH:MM:SS[.ffffff]]` as the binary protocol's shortest form.
fn put_datetime(out: &mut Vec<u8>, cell: Cell<'_>, scratch: &mut Vec<u8>) {
    scratch.clear();
    text::write(scratch, cell.ty, cell.value);
    let number = |from: usize, to: usize| {
        scratch.get(from..to).map_or(0, |digits| {
            digits.iter().fold(0u32, |n, d| n * 10 + u32::from(d.wrapping_sub(b'0') % 10))
        })
    };
    let (year, month, day) = (number(0, 4) as u16, number(5, 7) as u8, number(8, 10) as u8);
    let (hour, minute, second) = (number(11, 13) as u8, number(14, 16) as u8, number(17, 19) as u8);
    let fraction = scratch.get(20..).unwrap_or_default();
    let micros = number(20, scratch.len()) * 10u32.pow(6u32.saturating_sub(fraction.len() as u32));
    let with_micros = !fraction.is_empty() && micros > 0;
    let length = match (with_micros, (hour, minute, second), (year, month, day)) {
        (true, _, _) => 11,
        (_, time, _) if time != (0, 0, 0) => 7,
        (_, _, date) if date != (0, 0, 0) => 4,
        _ => 0,
    };
    out.push(length);
    if length >= 4 {
        out.extend_from_slice(&year.to_le_bytes());
        out.extend_from_slice(&[month, day]);
    }
    if length >= 7 {
        out.extend_from_slice(&[hour, minute, second]);
    }
    if length == 11 {
        out.extend_from_slice(&micros.to_le_bytes());
    }
}

/// Signed microseconds as the binary protocol's shortest form.
fn put_time(out: &mut Vec<u8>, cell: Cell<'_>) {
    let total = match cell.value {
        ValueRef::Int(v) => v,
        _ => 0,
    };
    let micros = (total.unsigned_abs() % 1_000_000) as u32;
    let seconds = total.unsigned_abs() / 1_000_000;
    if total == 0 {
        out.push(0);
        return;
    }
    out.push(if micros > 0 { 12 } else { 8 });
    out.push(u8::from(total < 0));
    out.extend_from_slice(&((seconds / 86_400) as u32).to_le_bytes());
    out.extend_from_slice(&[(seconds / 3600 % 24) as u8, (seconds / 60 % 60) as u8, (seconds % 60) as u8]);
    if micros > 0 {
        out.extend_from_slice(&micros.to_le_bytes());
    }
}

/// The value trait of opensrv-mysql, for whoever writes through its types.
impl ToMysqlValue for Cell<'_> {
    fn to_mysql_text<W: Write>(&self, w: &mut W) -> io::Result<()> {
        let mut out = Vec::new();
        put_text(&mut out, *self, &mut Vec::new());
        w.write_all(&out)
    }
    fn to_mysql_bin<W: Write>(&self, w: &mut W, column: &Column) -> io::Result<()> {
        let mut out = Vec::new();
        put_binary(&mut out, *self, column.coltype, &mut Vec::new());
        w.write_all(&out)
    }
    fn is_null(&self) -> bool {
        matches!(self.value, ValueRef::Null | ValueRef::Absent)
    }
}

/// Appends text converted from UTF-8 to a result charset of one byte (`latin1`: Windows-1252 as in MySQL; `ascii`); what it lacks is `?`.
pub fn put_converted(out: &mut Vec<u8>, utf8: &[u8], ascii: bool) {
    let text = String::from_utf8_lossy(utf8);
    put_lenenc(out, text.chars().count() as u64);
    out.extend(text.chars().map(|c| to_single_byte(c, ascii)));
}

fn to_single_byte(c: char, ascii: bool) -> u8 {
    /// Windows-1252's 0x80..0x9f.
    const UPPER: [u32; 32] = [
        0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f, 0x90, 0x2018,
        0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
    ];
    let code = u32::from(c);
    match code {
        0..=0x7f => code as u8,
        0xa0..=0xff if !ascii => code as u8,
        _ if ascii => b'?',
        _ => UPPER.iter().position(|u| *u == code).map_or(b'?', |i| 0x80 + i as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(base: BaseType, value: ValueRef<'_>) -> Vec<u8> {
        let mut ty = ColumnType::new(base);
        ty.decimals = Some(6);
        let mut out = Vec::new();
        put_binary(&mut out, Cell { ty: &ty, value }, super::super::column::code(&ty), &mut Vec::new());
        out
    }

    #[test]
    fn dates_take_their_shortest_form() {
        assert_eq!(binary(BaseType::Date, ValueRef::Text(b"2026-11-22")), [4, 0xea, 0x07, 11, 22]);
        assert_eq!(
            binary(BaseType::DateTime, ValueRef::Text(b"2026-11-22 01:02:03.000000")),
            [7, 0xea, 0x07, 11, 22, 1, 2, 3]
        );
        assert_eq!(
            binary(BaseType::DateTime, ValueRef::Text(b"2026-11-22 01:02:03.000005")),
            [11, 0xea, 0x07, 11, 22, 1, 2, 3, 5, 0, 0, 0]
        );
        assert_eq!(binary(BaseType::DateTime, ValueRef::Text(b"0000-00-00 00:00:00.000000")), [0]);
    }

    #[test]
    fn times_are_signed_and_long() {
        assert_eq!(binary(BaseType::Time, ValueRef::Int(-90_061_000_000)), [8, 1, 1, 0, 0, 0, 1, 1, 1]);
        assert_eq!(binary(BaseType::Time, ValueRef::Int(0)), [0]);
    }

    #[test]
    fn unsigned_beyond_i64_comes_from_its_text() {
        assert_eq!(binary(BaseType::BigInt, ValueRef::Text(b"18446744073709551615")), [0xff; 8]);
    }

    #[test]
    fn latin1_is_windows_1252() {
        let mut out = Vec::new();
        put_converted(&mut out, "aä€日".as_bytes(), false);
        assert_eq!(out, [4, b'a', 0xe4, 0x80, b'?']);
    }
}
