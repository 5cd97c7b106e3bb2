//! How a function's body meets SQLite: arguments in, one value out.
//!
//! Promises: bodies are plain functions over [`Args`]; a panic-free body cannot bring down a connection.
//! Must not know: which functions there are.

use std::borrow::Cow;

use rusqlite::Connection;
use rusqlite::functions::{Context as SqliteContext, FunctionFlags};
use rusqlite::types::{Value, ValueRef};

use super::context::Raised;

pub type Outcome = Result<Value, Raised>;

/// A SQLite function: name and what runs.
pub struct Body {
    pub name: &'static str,
    pub run: fn(&Args<'_, '_>) -> Outcome,
    pub deterministic: bool,
}

impl Body {
    pub const fn new(name: &'static str, run: fn(&Args<'_, '_>) -> Outcome) -> Body {
        Body {
            name,
            run,
            deterministic: true,
        }
    }
    pub const fn volatile(mut self) -> Body {
        self.deterministic = false;
        self
    }
    pub fn register(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        if self.deterministic {
            flags |= FunctionFlags::SQLITE_DETERMINISTIC;
        }
        let run = self.run;
        connection.create_scalar_function(self.name, -1, flags, move |context| {
            run(&Args(context)).map_err(|raised| rusqlite::Error::UserFunctionError(Box::new(raised)))
        })
    }
}

/// The arguments of one call.
pub struct Args<'a, 'b>(&'a SqliteContext<'b>);

impl<'b> Args<'_, 'b> {
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Was the statement interrupted?
    pub fn is_interrupted(&self) -> bool {
        // SAFETY: the connection runs this very call, so it is alive and used by this thread alone.
        unsafe { self.0.get_connection().is_ok_and(|c| c.is_interrupted()) }
    }
    /// NULL when there is no such argument.
    pub fn get(&self, index: usize) -> ValueRef<'_> {
        if index < self.0.len() {
            self.0.get_raw(index)
        } else {
            ValueRef::Null
        }
    }
    pub fn is_null(&self, index: usize) -> bool {
        matches!(self.get(index), ValueRef::Null)
    }
    pub fn any_null(&self) -> bool {
        (0..self.len()).any(|i| self.is_null(i))
    }
    /// The argument unchanged.
    pub fn value(&self, index: usize) -> Value {
        match self.get(index) {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(v) => Value::Integer(v),
            ValueRef::Real(v) => Value::Real(v),
            ValueRef::Text(t) => Value::Text(String::from_utf8_lossy(t).into_owned()),
            ValueRef::Blob(b) => Value::Blob(b.to_vec()),
        }
    }
    /// The bytes of a text or blob; numbers by their decimal text.
    pub fn bytes(&self, index: usize) -> Option<Cow<'_, [u8]>> {
        Some(match self.get(index) {
            ValueRef::Null => return None,
            ValueRef::Text(t) | ValueRef::Blob(t) => Cow::Borrowed(t),
            ValueRef::Integer(v) => Cow::Owned(v.to_string().into_bytes()),
            ValueRef::Real(v) => Cow::Owned(real_text(v).into_bytes()),
        })
    }
    pub fn text(&self, index: usize) -> Option<Cow<'_, str>> {
        Some(match self.bytes(index)? {
            Cow::Borrowed(b) => String::from_utf8_lossy(b),
            Cow::Owned(b) => Cow::Owned(String::from_utf8_lossy(&b).into_owned()),
        })
    }
    pub fn is_blob(&self, index: usize) -> bool {
        matches!(self.get(index), ValueRef::Blob(_))
    }
    /// An integer argument (Kind::Int): what does not fit i64 is clipped.
    pub fn int(&self, index: usize) -> Option<i64> {
        Some(match self.get(index) {
            ValueRef::Null => return None,
            ValueRef::Integer(v) => v,
            ValueRef::Real(v) => v.round() as i64,
            ValueRef::Text(t) | ValueRef::Blob(t) => {
                let text = String::from_utf8_lossy(t);
                match text.trim().parse::<i128>() {
                    Ok(v) => v.clamp(i64::MIN as i128, i64::MAX as i128) as i64,
                    Err(_) => text.trim().parse::<f64>().unwrap_or(0.0).round() as i64,
                }
            }
        })
    }
    /// An integer argument as 64 bits (Kind::Int): unsigned values whole, negative ones in two's complement.
    pub fn bits(&self, index: usize) -> Option<u64> {
        Some(self.wide(index)? as u64)
    }
    /// An integer argument, signed or unsigned, exactly.
    pub fn wide(&self, index: usize) -> Option<i128> {
        Some(match self.get(index) {
            ValueRef::Text(t) => match std::str::from_utf8(t).unwrap_or("").trim().parse::<i128>() {
                Ok(v) => v,
                Err(_) => self.int(index)? as i128,
            },
            _ => self.int(index)? as i128,
        })
    }
    pub fn double(&self, index: usize) -> Option<f64> {
        Some(match self.get(index) {
            ValueRef::Null => return None,
            ValueRef::Integer(v) => v as f64,
            ValueRef::Real(v) => v,
            ValueRef::Text(t) | ValueRef::Blob(t) => String::from_utf8_lossy(t).trim().parse().unwrap_or(0.0),
        })
    }
    /// What was made of a constant argument (a pattern, a type), kept for the next rows of the statement.
    pub fn cached<T: Send + Sync + 'static>(
        &self,
        index: usize,
        make: impl FnOnce(ValueRef<'_>) -> Result<T, Raised>,
    ) -> Result<std::sync::Arc<T>, Raised> {
        let made = self.0.get_or_create_aux(index as std::os::raw::c_int, |value| {
            make(value).map_err(|e| Box::new(e) as Box<dyn std::error::Error + Send + Sync>)
        });
        made.map_err(|error| match error {
            rusqlite::Error::UserFunctionError(inner) => match inner.downcast::<Raised>() {
                Ok(raised) => *raised,
                Err(other) => raise(1105, other.to_string()),
            },
            other => raise(1105, other.to_string()),
        })
    }
}

pub fn raise(code: u16, message: impl Into<String>) -> Raised {
    Raised {
        code,
        message: message.into(),
    }
}

pub fn text(value: impl Into<String>) -> Outcome {
    Ok(Value::Text(value.into()))
}

pub fn int(value: i64) -> Outcome {
    Ok(Value::Integer(value))
}

/// An unsigned integer in canonical form.
pub fn unsigned(value: u64) -> Outcome {
    Ok(match i64::try_from(value) {
        Ok(v) => Value::Integer(v),
        Err(_) => Value::Text(format!("{value:020}")),
    })
}

/// NULL for what is no number (MySQL's answer to SQRT(-1) and the like).
pub fn double(value: f64) -> Outcome {
    Ok(if value.is_finite() { Value::Real(value) } else { Value::Null })
}

pub fn boolean(value: bool) -> Outcome {
    Ok(Value::Integer(value as i64))
}

pub const NULL: Outcome = Ok(Value::Null);

/// Bytes as BLOB, or as TEXT if they are characters and the inputs were not binary.
pub fn string(bytes: Vec<u8>, binary: bool) -> Outcome {
    if binary {
        return Ok(Value::Blob(bytes));
    }
    Ok(Value::Text(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }))
}

/// A DOUBLE as MySQL prints it.
pub fn real_text(value: f64) -> String {
    let mut out = Vec::new();
    starling_apply::types::text::write_double(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}
