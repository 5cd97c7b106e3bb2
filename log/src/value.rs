//! Values and packed rows: the bytes of a row image inside an entry.
//!
//! Promises: a packed row is read without allocating; encode and decode are exact inverses for every value (NaN and -0.0
//! bit for bit). Must not know: SQL types. The five classes are SQLite's storage classes; what they mean is the catalog's.
//! The byte format stands in `log/README.md`, section "Rows".

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
        todo!("log helper")
    }
    pub fn from_values<'a>(values: impl IntoIterator<Item = ValueRef<'a>>) -> Row {
        let _ = values.into_iter();
        todo!("log helper")
    }
    pub fn push(&mut self, value: ValueRef<'_>) {
        let _ = value;
        todo!("log helper")
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
}

pub struct RowIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RowIter<'a> {
    type Item = ValueRef<'a>;
    fn next(&mut self) -> Option<ValueRef<'a>> {
        let _ = self.rest;
        todo!("log helper")
    }
}

/// Appends one value's packed form to `out` (the capture hook's hot path: no allocation of its own).
pub fn put_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    let _ = (out, value);
    todo!("log helper")
}
