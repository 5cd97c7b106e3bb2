//! What is logged: one entry is one transaction, schema change or control change.
//!
//! Promises: an entry is immutable and self-describing (its table headers name the columns of its row images by id, so it
//! can be applied to any later schema). Must not know: SQL. Schema and control payloads are opaque JSON, written and read
//! by `apply` and `cluster`.

use crate::clock::Stamp;
use crate::value::{Malformed, Row, RowRef};
use crate::varint;
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

impl Op {
    fn from_bits(bits: u8) -> Option<Op> {
        match bits {
            1 => Some(Op::Insert),
            2 => Some(Op::Update),
            3 => Some(Op::Delete),
            _ => None,
        }
    }
}

const OP_BITS: u8 = 0b0000_0011;
const HAS_BEFORE: u8 = 0b0000_0100;
const HAS_AFTER: u8 = 0b0000_1000;
const HAS_CHANGED: u8 = 0b0001_0000;

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// Appends one change. `before`/`after`/`changed` as in [`ChangeRef`].
    pub fn push(&mut self, change: ChangeRef<'_>) {
        let flag = |present: bool, bit: u8| if present { bit } else { 0 };
        let head = change.op as u8
            | flag(change.before.is_some(), HAS_BEFORE)
            | flag(change.after.is_some(), HAS_AFTER)
            | flag(change.changed.is_some(), HAS_CHANGED);
        self.bytes.push(head);
        varint::put(&mut self.bytes, change.table as u64);
        varint::put_slice(&mut self.bytes, change.key.0);
        for part in [change.before.map(|r| r.0), change.after.map(|r| r.0), change.changed]
            .into_iter()
            .flatten()
        {
            varint::put_slice(&mut self.bytes, part);
        }
        self.count += 1;
    }
    /// Checks every byte once; called on append and on decode, so that `iter` may trust them.
    pub fn validate(&self) -> Result<(), Malformed> {
        for table in &self.tables {
            if table.key.iter().any(|k| usize::from(*k) >= table.columns.len()) {
                return Err(Malformed);
            }
        }
        let mut rest = &self.bytes[..];
        for _ in 0..self.count {
            let change = take_change(&mut rest)?;
            let table = self.tables.get(change.table).ok_or(Malformed)?;
            change.validate(table)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
    pub fn iter(&self) -> ChangeIter<'_> {
        ChangeIter {
            left: self.count,
            rest: &self.bytes,
        }
    }
}

impl ChangeRef<'_> {
    fn validate(&self, table: &TableRef) -> Result<(), Malformed> {
        let shape = match self.op {
            Op::Insert => self.after.is_some() && self.before.is_none() && self.changed.is_none(),
            Op::Update => self.after.is_some(),
            Op::Delete => self.after.is_none() && self.changed.is_none(),
        };
        let width = |row: Option<RowRef<'_>>| row.map_or(Ok(true), |r| Ok(r.validate()? == table.columns.len()));
        let bitmap = self.changed.is_none_or(|b| b.len() == table.columns.len().div_ceil(8));
        if shape && bitmap && self.key.validate()? == table.key.len() && width(self.before)? && width(self.after)? {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

pub struct ChangeIter<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for ChangeIter<'a> {
    type Item = ChangeRef<'a>;
    #[inline]
    fn next(&mut self) -> Option<ChangeRef<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        match take_change(&mut self.rest) {
            Ok(change) => Some(change),
            Err(Malformed) => {
                self.left = 0;
                None
            }
        }
    }
}

#[inline]
fn take_change<'a>(rest: &mut &'a [u8]) -> Result<ChangeRef<'a>, Malformed> {
    let Some((head, tail)) = rest.split_first() else {
        return Err(Malformed);
    };
    *rest = tail;
    if head & !(OP_BITS | HAS_BEFORE | HAS_AFTER | HAS_CHANGED) != 0 {
        return Err(Malformed);
    }
    let op = Op::from_bits(head & OP_BITS).ok_or(Malformed)?;
    let table = usize::try_from(varint::take(rest)?).map_err(|_| Malformed)?;
    let key = RowRef(varint::take_slice(rest)?);
    let mut part = |bit: u8| -> Result<Option<&'a [u8]>, Malformed> {
        if head & bit == 0 {
            return Ok(None);
        }
        varint::take_slice(rest).map(Some)
    };
    Ok(ChangeRef {
        op,
        table,
        key,
        before: part(HAS_BEFORE)?.map(RowRef),
        after: part(HAS_AFTER)?.map(RowRef),
        changed: part(HAS_CHANGED)?,
    })
}

impl Change {
    pub fn as_ref(&self) -> ChangeRef<'_> {
        ChangeRef {
            op: self.op,
            table: self.table,
            key: self.key.as_ref(),
            before: self.before.as_ref().map(Row::as_ref),
            after: self.after.as_ref().map(Row::as_ref),
            changed: self.changed.as_deref(),
        }
    }
}

impl Body {
    /// Every byte of it is well-formed.
    pub fn validate(&self) -> Result<(), Malformed> {
        match self {
            Body::Rows(changes) => changes.validate(),
            Body::Void | Body::Schema(_) | Body::Control(_) => Ok(()),
        }
    }
}

impl Entry {
    /// About how much memory it takes.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        let body = match &self.body {
            Body::Void => 0,
            Body::Rows(c) => c.bytes.capacity() + c.tables.iter().map(|t| 80 + t.columns.len() * 4 + t.key.len() * 2).sum::<usize>(),
            Body::Schema(s) => s.payload.capacity(),
            Body::Control(c) => c.kind.capacity() + c.payload.capacity(),
        };
        FIXED + body + self.causes.0.len() * 24
    }
}

/// Ids of databases and tables are made from the place of the entry that created them: unique without asking anybody.
/// `index` tells apart several objects of one entry. Layout: origin 16 bits, seq 40 bits, index 8 bits.
pub fn object_id(place: Place, index: u8) -> u64 {
    (u64::from(place.origin) << 48) | ((place.seq & 0xff_ffff_ffff) << 8) | u64::from(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ValueRef;
    use proptest::prelude::*;

    fn table() -> TableRef {
        TableRef {
            db: 7,
            table: 9,
            columns: vec![1, 2, 3],
            key: vec![0],
        }
    }

    fn row(values: &[i64]) -> Row {
        Row::from_values(values.iter().map(|v| ValueRef::Int(*v)))
    }

    fn any_change() -> impl Strategy<Value = Change> {
        (1u8..4, any::<i64>(), any::<[i64; 3]>(), any::<[i64; 3]>(), any::<bool>()).prop_map(|(op, k, a, b, minimal)| {
            let op = Op::from_bits(op).unwrap();
            let before = if minimal {
                Row::from_values([ValueRef::Int(b[0]), ValueRef::Absent, ValueRef::Absent])
            } else {
                row(&b)
            };
            Change {
                op,
                table: 0,
                key: row(&[k]),
                before: (op != Op::Insert).then_some(before),
                after: (op != Op::Delete).then(|| row(&a)),
                changed: (op == Op::Update).then(|| vec![0b101]),
            }
        })
    }

    proptest! {
        #[test]
        fn changes_come_back_as_they_were(list in proptest::collection::vec(any_change(), 0..20)) {
            let mut changes = Changes { tables: vec![table()], ..Changes::default() };
            for change in &list {
                changes.push(change.as_ref());
            }
            prop_assert_eq!(changes.validate(), Ok(()));
            let back: Vec<ChangeRef<'_>> = changes.iter().collect();
            let want: Vec<ChangeRef<'_>> = list.iter().map(Change::as_ref).collect();
            prop_assert_eq!(back, want);
        }

        #[test]
        fn damaged_changes_never_panic(list in proptest::collection::vec(any_change(), 1..4), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut changes = Changes { tables: vec![table()], ..Changes::default() };
            for change in &list {
                changes.push(change.as_ref());
            }
            let i = at.index(changes.bytes.len());
            changes.bytes[i] = byte;
            let _ = changes.validate();
            for change in changes.iter() {
                let _ = change.key.iter().count();
            }
        }
    }

    #[test]
    fn a_change_of_the_wrong_shape_is_refused() {
        let good = ChangeRef {
            op: Op::Insert,
            table: 0,
            key: RowRef(&[2, 2]),
            before: None,
            after: Some(RowRef(&[1, 1, 1])),
            changed: None,
        };
        let check = |change: ChangeRef<'_>| {
            let mut changes = Changes {
                tables: vec![table()],
                ..Changes::default()
            };
            changes.push(change);
            changes.validate()
        };
        assert_eq!(check(good), Ok(()));
        assert_eq!(check(ChangeRef { after: None, ..good }), Err(Malformed));
        assert_eq!(
            check(ChangeRef {
                after: Some(RowRef(&[1, 1])),
                ..good
            }),
            Err(Malformed)
        );
        assert_eq!(check(ChangeRef { table: 1, ..good }), Err(Malformed));
        assert_eq!(check(ChangeRef { key: RowRef(&[]), ..good }), Err(Malformed));
        assert_eq!(check(ChangeRef { op: Op::Delete, ..good }), Err(Malformed));
        assert_eq!(
            check(ChangeRef {
                op: Op::Update,
                changed: Some(&[1, 2]),
                ..good
            }),
            Err(Malformed)
        );
    }
}
