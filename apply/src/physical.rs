//! The shape of a catalog table in SQLite, and how that shape changes.
//!
//! Promises: declared types keep canonical storage exact; the statements made here depend on nothing but the definitions.
//! Must not know: entries, stamps.

use crate::catalog::Table;

/// The name by which the hidden key of a table without PRIMARY KEY is addressed (`rowid`, unless a column has that name).
pub fn hidden_key(table: &Table) -> &'static str {
    ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|n| table.column(n).is_none())
        .unwrap_or("rowid")
}

/// An identifier in double quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Is the primary key SQLite's rowid (one integer column that fits 64 signed bits)?
pub fn rowid_key(table: &Table) -> Option<u32> {
    let primary = table.primary()?;
    let [part] = primary.parts.as_slice() else { return None };
    let column = table.column_by_id(part.column)?;
    let wide = column.ty.base == crate::types::BaseType::BigInt && column.ty.unsigned;
    (column.ty.is_integer() && !wide && column.generated.is_none()).then_some(column.id)
}
