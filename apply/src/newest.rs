//! The newest versions of rows, unique values and definitions, as a file's history has them.
//!
//! Promises: what is under way in a transaction that was not committed has no version (history is written with the commit).
//! Must not know: what claims are made for.

use rusqlite::{Connection, OptionalExtension, Row, params};
use smallvec::SmallVec;
use starling_log::{Hlc, Place, Stamp};

use crate::claim::Version;
use crate::drawn;
use crate::layout::Key;
use crate::materialize::FoldError;
use crate::physical::quote;

/// Looks versions up in one attached file.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    name: String,
    record: String,
    displaced: String,
    reference: String,
    holders: String,
    schema: String,
    file: String,
}

fn version(row: &Row<'_>) -> rusqlite::Result<Version> {
    let stamp = Stamp {
        hlc: Hlc(row.get::<_, i64>(0)?.cast_unsigned()),
        origin: row.get(1)?,
    };
    // A place's origin is its stamp's.
    let place = Place {
        origin: stamp.origin,
        seq: row.get::<_, i64>(2)?.cast_unsigned(),
    };
    Ok(Version { stamp, place })
}

fn find(conn: &Connection, sql: &str, table: u64, key: &Key) -> rusqlite::Result<Version> {
    let mut statement = conn.prepare_cached(sql)?;
    let found = statement.query_row(params![table.cast_signed(), key], version).optional()?;
    Ok(found.unwrap_or_default())
}

/// The later of two.
pub(crate) fn later(a: Version, b: Version) -> Version {
    if b.stamp > a.stamp { b } else { a }
}

impl Newest {
    pub fn new(schema: &str) -> Newest {
        let s = quote(schema);
        Newest {
            name: schema.to_owned(),
            record: format!(
                "SELECT hlc, origin, seq FROM {s}.__starling_history WHERE tbl = ?1 AND key = ?2 ORDER BY hlc DESC, origin DESC LIMIT 1"
            ),
            // The entry that took a row's unique value stands in the history of the row that has it now, or is a schema change.
            displaced: format!(
                "SELECT d.hlc, d.origin, coalesce(
                   (SELECT h.seq FROM {s}.__starling_history h WHERE h.tbl = d.tbl AND h.key = d.winner AND h.hlc = d.hlc AND h.origin = d.origin),
                   (SELECT x.seq FROM {s}.__starling_schema x WHERE x.hlc = d.hlc AND x.origin = d.origin), 0)
                 FROM {s}.__starling_displaced d WHERE d.tbl = ?1 AND d.key = ?2 ORDER BY d.hlc DESC, d.origin DESC LIMIT 1"
            ),
            reference: format!("SELECT hlc, origin, seq FROM {s}.__starling_references WHERE tbl = ?1 AND key = ?2"),
            holders: format!("SELECT key FROM {s}.__starling_unique WHERE tbl = ?1 AND idx = ?2 AND val = ?3"),
            schema: format!("SELECT hlc, origin, seq FROM {s}.__starling_schema ORDER BY hlc DESC, origin DESC LIMIT 1"),
            file: format!(
                "SELECT n.value, n.b, coalesce((SELECT a.value FROM {s}.__starling_state a WHERE a.kind = 0 AND a.a = n.b), 0)
                 FROM {s}.__starling_state n WHERE n.kind = 1 ORDER BY n.value DESC, n.b DESC LIMIT 1"
            ),
        }
    }

    /// Of a row.
    pub fn row(&self, conn: &Connection, table: u64, key: &Key) -> Result<Version, FoldError> {
        let record = find(conn, &self.record, table, key)?;
        let displaced = find(conn, &self.displaced, table, key)?;
        Ok(later(record, displaced))
    }
    /// Of what points to a row (as far as it was decided on).
    pub fn reference(&self, conn: &Connection, table: u64, key: &Key) -> Result<Version, FoldError> {
        Ok(find(conn, &self.reference, table, key)?)
    }

    /// Of what was drawn of a table's numbers.
    pub fn drawn(&self, conn: &Connection, table: u64) -> Result<Version, FoldError> {
        Ok(drawn::of(conn, &self.name, table)?.1)
    }

    /// Of a unique value: the newest of all rows that ever held it.
    pub fn unique(&self, conn: &Connection, table: u64, index: u32, value: &[u8; 16]) -> Result<Version, FoldError> {
        let mut statement = conn.prepare_cached(&self.holders)?;
        let keys: SmallVec<[Key; 2]> = statement
            .query_map(params![table.cast_signed(), index, value], |r| r.get(0))?
            .collect::<Result<_, _>>()?;
        let mut newest = Version::default();
        for key in &keys {
            newest = later(newest, self.row(conn, table, key)?);
        }
        Ok(newest)
    }

    /// Of the database's definition.
    pub fn schema(&self, conn: &Connection) -> Result<Version, FoldError> {
        let found = conn.prepare_cached(&self.schema)?.query_row([], version).optional()?;
        Ok(found.unwrap_or_default())
    }

    /// Of anything in the file.
    pub fn file(&self, conn: &Connection) -> Result<Version, FoldError> {
        let found = conn.prepare_cached(&self.file)?.query_row([], version).optional()?;
        Ok(found.unwrap_or_default())
    }
}
