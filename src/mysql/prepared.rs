//! Prepared statements of a connection: their ids, their long data, and the parameters of an EXECUTE.
//!
//! Promises: every parameter type of the protocol is understood; what is malformed is 1210, never a panic.

use std::collections::HashMap;

use opensrv_mysql::ColumnType as Code;

use crate::sql::Prepared;
use crate::sql::error::{Result, SqlError};
use crate::sql::result::Param;

use super::wire::{Malformed, Reader};

/// Statements a connection may hold (MySQL's `max_prepared_stmt_count` is for the whole server).
const STATEMENTS_MAX: usize = 16_382;

/// One prepared statement and what the client bound to it.
pub struct Statement {
    pub prepared: Prepared,
    pub params: u16,
    /// Types of the last EXECUTE that sent them: (code, unsigned).
    types: Vec<(u8, bool)>,
    long: HashMap<u16, Vec<u8>>,
    /// Long data that went wrong is told at EXECUTE (SEND_LONG_DATA has no answer).
    failed: Option<SqlError>,
}

#[derive(Default)]
pub struct Statements {
    map: HashMap<u32, Statement>,
    last: u32,
}

impl Statements {
    pub fn add(&mut self, prepared: Prepared, params: u16) -> Result<u32> {
        if self.map.len() >= STATEMENTS_MAX {
            return Err(SqlError::new(
                1461,
                format!("Can't create more than max_prepared_stmt_count statements (current value: {STATEMENTS_MAX})"),
            ));
        }
        self.last = self.last.wrapping_add(1).max(1);
        let statement = Statement {
            prepared,
            params,
            types: Vec::new(),
            long: HashMap::new(),
            failed: None,
        };
        self.map.insert(self.last, statement);
        Ok(self.last)
    }
    pub fn get(&mut self, id: u32, caller: &str) -> Result<&mut Statement> {
        self.map.get_mut(&id).ok_or_else(|| unknown(id, caller))
    }
    pub fn close(&mut self, id: u32) {
        self.map.remove(&id);
    }
    pub fn clear(&mut self) {
        self.map.clear();
    }
    /// COM_STMT_SEND_LONG_DATA: no answer, so errors wait for EXECUTE.
    pub fn long_data(&mut self, id: u32, param: u16, data: &[u8], limit: usize) {
        let Some(statement) = self.map.get_mut(&id) else { return };
        if param >= statement.params {
            statement.failed = Some(SqlError::new(1210, "Incorrect arguments to mysqld_stmt_send_long_data"));
            return;
        }
        let total: usize = statement.long.values().map(Vec::len).sum();
        if total + data.len() > limit {
            statement.failed = Some(SqlError::new(
                1301,
                format!("Result of mysqld_stmt_send_long_data() was larger than max_allowed_packet ({limit}) - truncated"),
            ));
            return;
        }
        statement.long.entry(param).or_default().extend_from_slice(data);
    }
    pub fn reset(&mut self, id: u32) -> Result<()> {
        let statement = self.get(id, "mysqld_stmt_reset")?;
        statement.long.clear();
        statement.failed = None;
        Ok(())
    }
}

pub fn unknown(id: u32, caller: &str) -> SqlError {
    SqlError::new(1243, format!("Unknown prepared statement handler ({id}) given to {caller}"))
}

impl Statement {
    /// The parameters of an EXECUTE's body (behind id, flags and iteration count). Long data is used up.
    pub fn bind(&mut self, body: &[u8]) -> Result<Vec<Param>> {
        let long = std::mem::take(&mut self.long);
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.parse(body, long)
            .map_err(|_| SqlError::new(1210, "Incorrect arguments to mysqld_stmt_execute"))
    }
    fn parse(&mut self, body: &[u8], mut long: HashMap<u16, Vec<u8>>) -> super::wire::Result<Vec<Param>> {
        let count = usize::from(self.params);
        let mut values = Vec::with_capacity(count);
        if count == 0 {
            return Ok(values);
        }
        let mut reader = Reader::new(body);
        let nulls = reader.bytes(count.div_ceil(8))?;
        if reader.u8()? == 1 {
            let block = reader.bytes(count * 2)?;
            self.types = block.chunks_exact(2).map(|t| (t[0], t[1] & 0x80 != 0)).collect();
        }
        if self.types.len() != count {
            return Err(Malformed);
        }
        for (i, (code, unsigned)) in self.types.iter().enumerate() {
            let value = match long.remove(&(i as u16)) {
                Some(data) if is_blob(*code) => Param::Bytes(data),
                Some(data) => Param::Text(data),
                None if nulls[i / 8] & (1 << (i % 8)) != 0 => Param::Null,
                None => value(&mut reader, *code, *unsigned)?,
            };
            values.push(value);
        }
        Ok(values)
    }
}

fn is_blob(code: u8) -> bool {
    (Code::MYSQL_TYPE_TINY_BLOB as u8..=Code::MYSQL_TYPE_BLOB as u8).contains(&code)
}

/// Widens `bits` of a signed or unsigned integer.
fn integer(signed: i64, unsigned_value: u64, unsigned: bool) -> Param {
    if unsigned {
        Param::UInt(unsigned_value)
    } else {
        Param::Int(signed)
    }
}

fn value(reader: &mut Reader<'_>, code: u8, unsigned: bool) -> super::wire::Result<Param> {
    let code = Code::try_from(code).map_err(|_| Malformed)?;
    Ok(match code {
        Code::MYSQL_TYPE_NULL => Param::Null,
        Code::MYSQL_TYPE_TINY => {
            let v = reader.u8()?;
            integer(i64::from(v as i8), u64::from(v), unsigned)
        }
        Code::MYSQL_TYPE_SHORT | Code::MYSQL_TYPE_YEAR => {
            let v = reader.u16()?;
            integer(i64::from(v as i16), u64::from(v), unsigned)
        }
        Code::MYSQL_TYPE_LONG | Code::MYSQL_TYPE_INT24 => {
            let v = reader.u32()?;
            integer(i64::from(v as i32), u64::from(v), unsigned)
        }
        Code::MYSQL_TYPE_LONGLONG => {
            let v = reader.u64()?;
            integer(v as i64, v, unsigned)
        }
        Code::MYSQL_TYPE_FLOAT => Param::Float(f32::from_bits(reader.u32()?)),
        Code::MYSQL_TYPE_DOUBLE => Param::Double(f64::from_bits(reader.u64()?)),
        Code::MYSQL_TYPE_DATE | Code::MYSQL_TYPE_NEWDATE => date_time(reader, true)?,
        Code::MYSQL_TYPE_DATETIME | Code::MYSQL_TYPE_TIMESTAMP => date_time(reader, false)?,
        Code::MYSQL_TYPE_TIME => time(reader)?,
        Code::MYSQL_TYPE_DECIMAL | Code::MYSQL_TYPE_NEWDECIMAL => {
            Param::Decimal(std::str::from_utf8(reader.lenenc_bytes()?).map_err(|_| Malformed)?.to_string())
        }
        Code::MYSQL_TYPE_TINY_BLOB
        | Code::MYSQL_TYPE_MEDIUM_BLOB
        | Code::MYSQL_TYPE_LONG_BLOB
        | Code::MYSQL_TYPE_BLOB
        | Code::MYSQL_TYPE_BIT => Param::Bytes(reader.lenenc_bytes()?.to_vec()),
        Code::MYSQL_TYPE_VARCHAR
        | Code::MYSQL_TYPE_VAR_STRING
        | Code::MYSQL_TYPE_STRING
        | Code::MYSQL_TYPE_ENUM
        | Code::MYSQL_TYPE_SET
        | Code::MYSQL_TYPE_JSON => Param::Text(reader.lenenc_bytes()?.to_vec()),
        _ => return Err(Malformed),
    })
}

fn date_time(reader: &mut Reader<'_>, date_only: bool) -> super::wire::Result<Param> {
    let length = reader.u8()?;
    let (mut year, mut month, mut day) = (0, 0, 0);
    let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0);
    if !matches!(length, 0 | 4 | 7 | 11) {
        return Err(Malformed);
    }
    if length >= 4 {
        (year, month, day) = (reader.u16()?, reader.u8()?, reader.u8()?);
    }
    if length >= 7 {
        (hour, minute, second) = (reader.u8()?, reader.u8()?, reader.u8()?);
    }
    if length == 11 {
        micros = reader.u32()?;
    }
    if date_only && length <= 4 {
        return Ok(Param::Date(format!("{year:04}-{month:02}-{day:02}")));
    }
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if micros > 0 {
        text.push_str(&format!(".{micros:06}"));
    }
    Ok(Param::DateTime(text))
}

fn time(reader: &mut Reader<'_>) -> super::wire::Result<Param> {
    let length = reader.u8()?;
    if length == 0 {
        return Ok(Param::Time(0));
    }
    if !matches!(length, 8 | 12) {
        return Err(Malformed);
    }
    let negative = reader.u8()? != 0;
    let days = i64::from(reader.u32()?);
    let (hour, minute, second) = (i64::from(reader.u8()?), i64::from(reader.u8()?), i64::from(reader.u8()?));
    let micros = if length == 12 { i64::from(reader.u32()?) } else { 0 };
    let total = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros;
    Ok(Param::Time(if negative { -total } else { total }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(code: Code, unsigned: bool, bytes: &[u8]) -> super::super::wire::Result<Param> {
        value(&mut Reader::new(bytes), code as u8, unsigned)
    }

    #[test]
    fn integers_keep_their_sign() {
        assert_eq!(one(Code::MYSQL_TYPE_TINY, false, &[0xff]), Ok(Param::Int(-1)));
        assert_eq!(one(Code::MYSQL_TYPE_TINY, true, &[0xff]), Ok(Param::UInt(255)));
        assert_eq!(one(Code::MYSQL_TYPE_LONGLONG, true, &[0xff; 8]), Ok(Param::UInt(u64::MAX)));
    }

    #[test]
    fn temporal_values_of_every_length() {
        assert_eq!(
            one(Code::MYSQL_TYPE_DATE, false, &[4, 0xea, 7, 11, 22]),
            Ok(Param::Date("2026-11-22".into()))
        );
        assert_eq!(
            one(Code::MYSQL_TYPE_DATETIME, false, &[7, 0xea, 7, 11, 22, 1, 2, 3]),
            Ok(Param::DateTime("2026-11-22 01:02:03".into()))
        );
        assert_eq!(
            one(Code::MYSQL_TYPE_DATETIME, false, &[0]),
            Ok(Param::DateTime("0000-00-00 00:00:00".into()))
        );
        assert_eq!(
            one(Code::MYSQL_TYPE_TIME, false, &[8, 1, 1, 0, 0, 0, 1, 1, 1]),
            Ok(Param::Time(-90_061_000_000))
        );
        assert_eq!(one(Code::MYSQL_TYPE_TIME, false, &[9, 1]), Err(Malformed));
    }

    #[test]
    fn unknown_types_are_errors() {
        assert_eq!(value(&mut Reader::new(&[0; 16]), 200, false), Err(Malformed));
        assert_eq!(one(Code::MYSQL_TYPE_STRING, false, &[9, b'x']), Err(Malformed));
    }
}
