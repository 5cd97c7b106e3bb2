//! A statement's result as packets: the sink that `sql` writes into.
//!
//! Promises: a result of any size costs one bounded buffer; status flags are true in every closing packet.

use opensrv_mysql::{CapabilityFlags as Cap, StatusFlags};
use starling_apply::ColumnType;
use starling_log::ValueRef;
use tokio::io::AsyncWriteExt;

use crate::sql::error::{Result, SqlError};
use crate::sql::result::{Changes, Done, Mark, ResultColumn, Sink, Status};

use super::cell::{self, Cell};
use super::column::{Described, ResultCharset, describe, put_definition};
use super::connection::{Stream, Wire};
use super::packet::PacketWriter;
use super::wire::{put_lenenc, put_lenenc_bytes};

/// Bytes of a result that wait before they are sent.
const SEND_AT: usize = 32 * 1024;

/// Writes results of one command.
pub struct Rows<'a, S> {
    wire: &'a mut Wire<S>,
    binary: bool,
    charset: ResultCharset,
    /// `Some(ascii)`: text is converted to one byte a character.
    single_byte: Option<bool>,
    columns: Vec<(Described, ColumnType)>,
    scratch: Vec<u8>,
}

impl<'a, S: Stream> Rows<'a, S> {
    pub fn new(wire: &'a mut Wire<S>, binary: bool, results: Option<&str>) -> Rows<'a, S> {
        let single_byte = match results {
            Some("latin1") => Some(false),
            Some("ascii") => Some(true),
            _ => None,
        };
        Rows {
            wire,
            binary,
            charset: ResultCharset::named(results),
            single_byte,
            columns: Vec::new(),
            scratch: Vec::new(),
        }
    }
    fn text_row(&mut self, values: &[ValueRef<'_>]) {
        let out = self.wire.out.begin();
        for ((described, ty), value) in self.columns.iter().zip(values) {
            match (self.single_byte, value) {
                (Some(ascii), ValueRef::Text(bytes)) if described.charset != 63 => cell::put_converted(out, bytes, ascii),
                _ => cell::put_text(out, Cell { ty, value: *value }, &mut self.scratch),
            }
        }
        self.wire.out.end();
    }
    fn binary_row(&mut self, values: &[ValueRef<'_>]) {
        let out = self.wire.out.begin();
        out.push(0);
        let nulls = out.len();
        out.resize(nulls + (values.len() + 9) / 8, 0);
        for (i, ((described, ty), value)) in self.columns.iter().zip(values).enumerate() {
            match (self.single_byte, value) {
                (_, ValueRef::Null | ValueRef::Absent) => out[nulls + (i + 2) / 8] |= 1 << ((i + 2) % 8),
                (Some(ascii), ValueRef::Text(bytes)) if described.charset != 63 => cell::put_converted(out, bytes, ascii),
                _ => cell::put_binary(out, Cell { ty, value: *value }, described.code, &mut self.scratch),
            }
        }
        self.wire.out.end();
    }
}

impl<S: Stream> Sink for Rows<'_, S> {
    fn columns(&mut self, columns: &[ResultColumn]) -> Result<()> {
        self.columns = columns.iter().map(|c| (describe(c, self.charset), c.ty.clone())).collect();
        put_lenenc(self.wire.out.begin(), columns.len() as u64);
        self.wire.out.end();
        for (column, (described, _)) in columns.iter().zip(&self.columns) {
            put_definition(self.wire.out.begin(), column, described);
            self.wire.out.end();
        }
        if !self.wire.capabilities.contains(Cap::CLIENT_DEPRECATE_EOF) {
            put_eof(&mut self.wire.out, 0, flags(self.wire.status, false));
        }
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        if self.wire.broken {
            return Err(SqlError::new(1160, "Got an error writing communication packets"));
        }
        if self.binary {
            self.binary_row(values)
        } else {
            self.text_row(values)
        }
        Ok(())
    }

    fn done(&mut self, done: &Done, status: Status, more: bool) -> Result<()> {
        self.wire.status = status;
        let rows = !self.columns.is_empty();
        self.columns.clear();
        let flags = flags(status, more);
        let modern = self.wire.capabilities.contains(Cap::CLIENT_DEPRECATE_EOF);
        match (rows, modern) {
            (true, false) => {
                put_eof(&mut self.wire.out, done.warnings, flags);
                self.wire.untold = done.changes.clone().or(self.wire.untold.take());
            }
            (true, true) => {
                let end = Done {
                    affected: 0,
                    last_insert_id: 0,
                    ..done.clone()
                };
                self.wire.ok(0xfe, &end, flags);
            }
            (false, _) => self.wire.ok(0, done, flags),
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.wire.out.len() >= SEND_AT
    }

    fn flush_blocking(&mut self) -> Result<()> {
        let wire = &mut *self.wire;
        let sent = tokio::runtime::Handle::current().block_on(wire.stream.write_all(wire.out.bytes()));
        wire.out.clear();
        sent.map_err(|_| {
            wire.broken = true;
            SqlError::new(1160, "Got an error writing communication packets")
        })
    }

    fn mark(&self) -> Option<Mark> {
        Some(Mark {
            length: self.wire.out.len(),
            sequence: self.wire.out.sequence(),
        })
    }

    fn rewind(&mut self, mark: Mark) {
        self.columns.clear();
        self.wire.out.rewind(mark.length, mark.sequence);
    }
}

/// Status flags on the wire.
pub fn flags(status: Status, more: bool) -> StatusFlags {
    [
        (status.autocommit, StatusFlags::SERVER_STATUS_AUTOCOMMIT),
        (status.in_transaction, StatusFlags::SERVER_STATUS_IN_TRANS),
        (
            status.in_transaction && status.read_only_transaction,
            StatusFlags::SERVER_STATUS_IN_TRANS_READONLY,
        ),
        (status.no_backslash_escapes, StatusFlags::SERVER_STATUS_NO_BACKSLASH_ESCAPES),
        (more, StatusFlags::SERVER_MORE_RESULTS_EXISTS),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(StatusFlags::empty(), |all, (_, flag)| all | flag)
}

/// An OK packet (header 0x00, or 0xfe where it ends rows). `changes`: for clients that take what changed in their session.
pub fn put_ok(writer: &mut PacketWriter, header: u8, done: &Done, flags: StatusFlags, changes: Option<&Changes>) {
    let flags = match changes {
        Some(_) => flags | StatusFlags::SERVER_SESSION_STATE_CHANGED,
        None => flags,
    };
    let out = writer.begin();
    out.push(header);
    put_lenenc(out, done.affected);
    put_lenenc(out, done.last_insert_id);
    out.extend_from_slice(&flags.bits().to_le_bytes());
    out.extend_from_slice(&done.warnings.to_le_bytes());
    if !done.info.is_empty() || changes.is_some() {
        put_lenenc_bytes(out, done.info.as_bytes());
    }
    if let Some(changes) = changes {
        put_lenenc_bytes(out, &super::track::encode(changes));
    }
    writer.end();
}

pub fn put_eof(writer: &mut PacketWriter, warnings: u16, flags: StatusFlags) {
    let out = writer.begin();
    out.push(0xfe);
    out.extend_from_slice(&warnings.to_le_bytes());
    out.extend_from_slice(&flags.bits().to_le_bytes());
    writer.end();
}

pub fn put_error(writer: &mut PacketWriter, error: &SqlError) {
    let out = writer.begin();
    out.push(0xff);
    out.extend_from_slice(&error.code.to_le_bytes());
    out.push(b'#');
    out.extend_from_slice(&error.state);
    // MySQL's own limit of a message.
    let message = error.message.as_bytes();
    out.extend_from_slice(&message[..message.len().min(512)]);
    writer.end();
}
