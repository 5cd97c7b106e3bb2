//! Content digests: are two copies of the tables equal, and if not, which row differs?
//!
//! Promises: a digest depends on the rows alone (values byte for byte, columns by id), not on their order in the file, nor on
//! how they came there. Must not know: who compares.

use std::io::Write;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use starling_log::value::put_value;
use xxhash_rust::xxh3::xxh3_128;

use crate::catalog::{Database, Table};
use crate::layout::from_sql;
use crate::materialize::{FoldError, load_database};
use crate::physical::{self, quote};

/// Digests of all tables at one applied vector. Order of rows does not matter to a table's digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The applied vector, as (origin, seq).
    pub at: Vec<(u16, u64)>,
    pub tables: Vec<TableDigest>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDigest {
    pub db: String,
    pub table: String,
    pub rows: u64,
    /// Hex.
    pub digest: String,
}

/// The digest of one table, by scanning it: the sum of its rows' hashes. `schema`: the name its file is attached under.
pub fn table(conn: &Connection, schema: &str, db: &Database, table: &Table) -> Result<TableDigest, FoldError> {
    let (mut rows, mut sum) = (0u64, 0u128);
    scan(conn, schema, table, "", &mut |_, packed| {
        rows += 1;
        sum = sum.wrapping_add(xxh3_128(packed));
        Ok(())
    })?;
    Ok(TableDigest {
        db: db.name.clone(),
        table: table.name.clone(),
        rows,
        digest: format!("{sum:032x}"),
    })
}

/// Key (for people) and digest of every row in key order, to narrow a difference down.
pub fn rows(conn: &Connection, schema: &str, table: &Table, each: &mut dyn FnMut(&str, u128)) -> Result<(), FoldError> {
    let mut text = String::new();
    scan(conn, schema, table, &order(table), &mut |row, packed| {
        text.clear();
        for (i, id) in table.key_columns().iter().enumerate() {
            let at = position(table, *id);
            let value = match row.get_ref(at)? {
                rusqlite::types::ValueRef::Null => "NULL".into(),
                rusqlite::types::ValueRef::Integer(v) => v.to_string(),
                rusqlite::types::ValueRef::Real(v) => v.to_string(),
                rusqlite::types::ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
                rusqlite::types::ValueRef::Blob(b) => format!("x'{}'", hex::encode(b)),
            };
            text.push_str(if i == 0 { "" } else { "," });
            text.push_str(&value);
        }
        each(&text, xxh3_128(packed));
        Ok(())
    })
}

/// The canonical dump of one database: its definition, and every row in key order, values byte for byte.
pub fn dump(conn: &Connection, schema: &str, out: &mut dyn Write) -> Result<(), FoldError> {
    let io = |e: std::io::Error| FoldError::Broken(format!("writing the dump: {e}"));
    let Some(database) = load_database(conn, schema)? else {
        return Ok(());
    };
    let json = serde_json::to_string(&*database).map_err(|e| FoldError::Broken(e.to_string()))?;
    writeln!(out, "{json}").map_err(io)?;
    for table in database.tables.values() {
        writeln!(out, "table {} {}", table.id, table.name).map_err(io)?;
        scan(conn, schema, table, &order(table), &mut |_, packed| {
            writeln!(out, "{}", hex::encode(packed)).map_err(io)
        })?;
    }
    Ok(())
}

/// The hidden key stands first where there is one.
fn position(table: &Table, id: u32) -> usize {
    let hidden = usize::from(table.primary().is_none());
    table.columns.iter().position(|c| c.id == id).map_or(0, |i| i + hidden)
}

/// Key order by bytes, so that it does not hang on collations.
fn order(table: &Table) -> String {
    let name = |id: &u32| match table.column_by_id(*id) {
        Some(c) => format!("{} COLLATE BINARY", quote(&c.name)),
        None => physical::hidden_key(table).to_owned(),
    };
    let keys: Vec<String> = table.key_columns().iter().map(name).collect();
    format!(" ORDER BY {}", keys.join(", "))
}

type Each<'a> = &'a mut dyn FnMut(&rusqlite::Row<'_>, &[u8]) -> Result<(), FoldError>;

/// Every row with its packed form: pairs of column id and value, in the order of ids.
fn scan(conn: &Connection, schema: &str, table: &Table, order: &str, each: Each<'_>) -> Result<(), FoldError> {
    let hidden = table.primary().is_none().then(|| (0u32, physical::hidden_key(table).to_owned()));
    let columns: Vec<(u32, String)> = hidden
        .into_iter()
        .chain(table.columns.iter().map(|c| (c.id, quote(&c.name))))
        .collect();
    let names: Vec<&str> = columns.iter().map(|(_, n)| n.as_str()).collect();
    let mut by_id: Vec<usize> = (0..columns.len()).collect();
    by_id.sort_by_key(|i| columns[*i].0);
    let sql = format!("SELECT {} FROM {}.{}{order}", names.join(", "), quote(schema), quote(&table.name));
    let mut stmt = conn.prepare(&sql)?;
    let mut rows = stmt.query([])?;
    let mut packed = Vec::new();
    while let Some(row) = rows.next()? {
        packed.clear();
        for i in &by_id {
            packed.extend_from_slice(&columns[*i].0.to_be_bytes());
            put_value(&mut packed, from_sql(row.get_ref(*i)?));
        }
        each(row, &packed)?;
    }
    Ok(())
}
