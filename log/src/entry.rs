//! What is logged: one entry is one transaction, schema change or control change.
//!
//! Promises: an entry is immutable and self-describing (its table headers name the columns of its row images by id, so it
//! can be applied to any later schema). Must not know: SQL. Schema and control payloads are opaque JSON, written and read
//! by `apply` and `cluster`.

use crate::clock::Stamp;
use crate::value::{Malformed, Row, RowRef};
use crate::vector::{Place, VersionVector};

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub place: Place,
    pub stamp: Stamp,
    /// What its author had applied when it was made; `causes[origin]` of its own origin is `seq - 1` by definition and not stored.
    pub causes: VersionVector,
    /// The catalog version it was made under.
    pub schema: u64,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A place that holds nothing.
    Void,
    Rows(Changes),
    Schema(Schema),
    Control(Control),
}

/// The row changes of one transaction, over one or more databases, in the order they happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub tables: Vec<TableRef>,
    pub count: u32,
    /// `count` packed changes (log/README.md, section "Changes"); `table` in them is an index into `tables`.
    pub bytes: Vec<u8>,
}

/// The header of a table's row images inside an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRef {
    pub db: u64,
    pub table: u64,
    /// Column ids in the order of the values in images. Id 0 is the hidden key of a table without a primary key.
    pub columns: Vec<u32>,
    /// Positions (into `columns`) of the key.
    pub key: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    Insert = 1,
    Update = 2,
    Delete = 3,
}

/// One row change, borrowed from an entry.
/// * Insert: `after` is whole, `before` empty; `key` is the new key.
/// * Update: `key` is the OLD key; `after` is whole; `before` may have `Absent` values (minimal image) or be whole.
///   `changed` says by position which columns differ.
/// * Delete: `key` is the old key; `before` is whole or holds only the key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangeRef<'a> {
    pub op: Op,
    /// Index into `Changes::tables`.
    pub table: usize,
    pub key: RowRef<'a>,
    pub before: Option<RowRef<'a>>,
    pub after: Option<RowRef<'a>>,
    /// Bitmap, least significant bit of byte 0 = column position 0; updates only.
    pub changed: Option<&'a [u8]>,
}

/// The same, owned (tests, tools).
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub op: Op,
    pub table: usize,
    pub key: Row,
    pub before: Option<Row>,
    pub after: Option<Row>,
    pub changed: Option<Vec<u8>>,
}

/// A schema change: `payload` is `apply`'s JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The database it concerns (0: none yet, as in CREATE DATABASE: the new database's id is made from the entry's place).
    pub db: u64,
    pub payload: Vec<u8>,
}

/// A control change (members, accounts, settings): `kind` names it, `payload` is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub kind: String,
    pub payload: Vec<u8>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// Appends one change. `before`/`after`/`changed` as in [`ChangeRef`].
    pub fn push(&mut self, change: ChangeRef<'_>) {
        let _ = change;
        todo!("log helper")
    }
    /// Checks every byte once; called on decode, so that `iter` may trust them.
    pub fn validate(&self) -> Result<(), Malformed> {
        todo!("log helper")
    }
    pub fn iter(&self) -> ChangeIter<'_> {
        ChangeIter {
            tables: self.tables.len(),
            left: self.count,
            rest: &self.bytes,
        }
    }
}

pub struct ChangeIter<'a> {
    #[allow(dead_code)]
    tables: usize,
    #[allow(dead_code)]
    left: u32,
    #[allow(dead_code)]
    rest: &'a [u8],
}

impl<'a> Iterator for ChangeIter<'a> {
    type Item = ChangeRef<'a>;
    fn next(&mut self) -> Option<ChangeRef<'a>> {
        todo!("log helper")
    }
}

/// Ids of databases and tables are made from the place of the entry that created them: unique without asking anybody.
/// `index` tells apart several objects of one entry. Layout: origin 16 bits, seq 40 bits, index 8 bits.
pub fn object_id(place: Place, index: u8) -> u64 {
    (u64::from(place.origin) << 48) | ((place.seq & 0xff_ffff_ffff) << 8) | u64::from(index)
}
