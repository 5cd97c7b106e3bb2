//! Conversions at run time: what the functions named in `convert` do.

use std::cmp::Ordering;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use starling_apply::ColumnType;

use super::context::Raised;
use super::run::{Args, Body, raise};

pub const BODIES: &[Body] = &[];

/// A type given as a (constant) argument, parsed once per statement.
pub fn type_argument(args: &Args<'_, '_>, index: usize) -> Result<Arc<ColumnType>, Raised> {
    args.cached(index, |value| {
        let text = value.as_str().map_err(|e| raise(1105, e.to_string()))?;
        serde_json::from_str(text).map_err(|e| raise(1105, e.to_string()))
    })
}

/// Order of two stored values of one type.
pub fn compare(left: ValueRef<'_>, right: ValueRef<'_>, _ty: &ColumnType) -> Ordering {
    match (left, right) {
        (ValueRef::Integer(a), ValueRef::Integer(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    }
}
