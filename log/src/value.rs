//! Values and packed rows: the bytes of a row image inside an entry.
//!
//! Promises: a packed row is read without allocating; encode and decode are exact inverses for every value (NaN and -0.0
//! bit for bit). Must not know: SQL types. The five classes are SQLite's storage classes; what they mean is the catalog's.
//! The byte format stands in `log/README.md`, section "Rows".

use crate::varint;

/// An owned value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    /// UTF-8 text.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// A borrowed value. `Absent` stands for a column that a minimal image leaves out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Absent,
    Null,
    Int(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl Value {
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::Null => ValueRef::Null,
            Value::Int(v) => ValueRef::Int(*v),
            Value::Real(v) => ValueRef::Real(*v),
            Value::Text(v) => ValueRef::Text(v),
            Value::Blob(v) => ValueRef::Blob(v),
        }
    }
}

impl ValueRef<'_> {
    /// `None` for `Absent`.
    pub fn to_owned(self) -> Option<Value> {
        Some(match self {
            ValueRef::Absent => return None,
            ValueRef::Null => Value::Null,
            ValueRef::Int(v) => Value::Int(v),
            ValueRef::Real(v) => Value::Real(v),
            ValueRef::Text(v) => Value::Text(v.to_vec()),
            ValueRef::Blob(v) => Value::Blob(v.to_vec()),
        })
    }
}

/// An owned packed row (a sequence of values).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row(pub Vec<u8>);

/// A borrowed packed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef<'a>(pub &'a [u8]);

/// The bytes do not form a packed row or change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packed row")]
pub struct Malformed;

impl Row {
    pub fn new() -> Row {
        Row(Vec::new())
    }
    pub fn from_values<'a>(values: impl IntoIterator<Item = ValueRef<'a>>) -> Row {
        let mut row = Row::new();
        for value in values {
            row.push(value);
        }
        row
    }
    pub fn push(&mut self, value: ValueRef<'_>) {
        put_value(&mut self.0, value);
    }
    pub fn as_ref(&self) -> RowRef<'_> {
        RowRef(&self.0)
    }
}

impl<'a> RowRef<'a> {
    /// The values in order; a malformed tail ends the iteration (entries are validated once, on decode).
    pub fn iter(self) -> RowIter<'a> {
        RowIter { rest: self.0 }
    }
    pub fn to_owned(self) -> Row {
        Row(self.0.to_vec())
    }
    /// Checks every byte; the number of values.
    pub fn validate(self) -> Result<usize, Malformed> {
        let mut rest = self.0;
        let mut count = 0;
        while !rest.is_empty() {
            take_value(&mut rest)?;
            count += 1;
        }
        Ok(count)
    }
}

pub struct RowIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RowIter<'a> {
    type Item = ValueRef<'a>;
    #[inline]
    fn next(&mut self) -> Option<ValueRef<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        match take_value(&mut self.rest) {
            Ok(value) => Some(value),
            Err(Malformed) => {
                self.rest = &[];
                None
            }
        }
    }
}

const TAG_ABSENT: u8 = 0;
const TAG_NULL: u8 = 1;
const TAG_INT: u8 = 2;
const TAG_REAL: u8 = 3;
const TAG_TEXT: u8 = 4;
const TAG_BLOB: u8 = 5;

/// Appends one value's packed form to `out` (the capture hook's hot path: no allocation of its own).
#[inline]
pub fn put_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Absent => out.push(TAG_ABSENT),
        ValueRef::Null => out.push(TAG_NULL),
        ValueRef::Int(v) => {
            out.push(TAG_INT);
            varint::put(out, varint::zigzag(v));
        }
        ValueRef::Real(v) => {
            out.push(TAG_REAL);
            out.extend_from_slice(&v.to_bits().to_le_bytes());
        }
        ValueRef::Text(v) => {
            out.push(TAG_TEXT);
            varint::put_slice(out, v);
        }
        ValueRef::Blob(v) => {
            out.push(TAG_BLOB);
            varint::put_slice(out, v);
        }
    }
}

#[inline]
fn take_value<'a>(rest: &mut &'a [u8]) -> Result<ValueRef<'a>, Malformed> {
    let Some((tag, tail)) = rest.split_first() else {
        return Err(Malformed);
    };
    *rest = tail;
    Ok(match *tag {
        TAG_ABSENT => ValueRef::Absent,
        TAG_NULL => ValueRef::Null,
        TAG_INT => ValueRef::Int(varint::unzigzag(varint::take(rest)?)),
        TAG_REAL => {
            let Some((bits, tail)) = rest.split_first_chunk::<8>() else {
                return Err(Malformed);
            };
            *rest = tail;
            ValueRef::Real(f64::from_bits(u64::from_le_bytes(*bits)))
        }
        TAG_TEXT => ValueRef::Text(varint::take_slice(rest)?),
        TAG_BLOB => ValueRef::Blob(varint::take_slice(rest)?),
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_value() -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            Just(None),
            Just(Some(Value::Null)),
            any::<i64>().prop_map(|v| Some(Value::Int(v))),
            (-300i64..300).prop_map(|v| Some(Value::Int(v))),
            any::<u64>().prop_map(|v| Some(Value::Real(f64::from_bits(v)))),
            proptest::collection::vec(any::<u8>(), 0..200).prop_map(|v| Some(Value::Text(v))),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|v| Some(Value::Blob(v))),
        ]
    }

    fn same(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
        match (a, b) {
            (ValueRef::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }

    proptest! {
        #[test]
        fn rows_come_back_bit_for_bit(values in proptest::collection::vec(any_value(), 0..12)) {
            let refs: Vec<ValueRef<'_>> = values.iter().map(|v| v.as_ref().map_or(ValueRef::Absent, Value::as_ref)).collect();
            let row = Row::from_values(refs.iter().copied());
            prop_assert_eq!(row.as_ref().validate(), Ok(refs.len()));
            let back: Vec<ValueRef<'_>> = row.as_ref().iter().collect();
            prop_assert_eq!(back.len(), refs.len());
            prop_assert!(back.iter().zip(&refs).all(|(a, b)| same(*a, *b)));
        }

        #[test]
        fn garbage_never_panics_and_valid_bytes_have_one_form(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let row = RowRef(&bytes);
            let seen = row.iter().count();
            if let Ok(n) = row.validate() {
                prop_assert_eq!(n, seen);
                prop_assert_eq!(Row::from_values(row.iter()).0, bytes.clone());
            }
        }
    }
}
