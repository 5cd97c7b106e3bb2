//! Blocks of numbers that were drawn, as a file remembers them: for each table how far they reach, and by which entry.
//!
//! Promises: the latest stamp counts, whatever order entries came in; what was drawn before a TRUNCATE is forgotten with it.
//! Must not know: who gives out numbers.

use rusqlite::{Connection, OptionalExtension, params};
use starling_log::{Changes, Entry, Hlc, Place, Stamp};

use crate::claim::Version;
use crate::materialize::FoldError;
use crate::numbers;
use crate::physical::quote;

/// Made in the file if it is not there.
pub(crate) fn create(conn: &Connection, schema: &str) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {}.__starling_drawn (tbl INTEGER PRIMARY KEY, last INTEGER NOT NULL, hlc INTEGER NOT NULL,
           origin INTEGER NOT NULL, place INTEGER NOT NULL, seq INTEGER NOT NULL)",
        quote(schema)
    ))
}

/// Takes in what an entry says of this database. `lives`: is the table there, and was it not emptied behind the entry's stamp?
pub(crate) fn apply(
    conn: &Connection,
    schema: &str,
    db: u64,
    entry: &Entry,
    changes: &Changes,
    lives: impl Fn(u64) -> bool,
) -> Result<(), FoldError> {
    if !changes.tables.iter().any(|t| t.table == numbers::COUNTERS) {
        return Ok(());
    }
    let mut put = conn.prepare_cached(&format!(
        "INSERT INTO {}.__starling_drawn VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
         SET last = excluded.last, hlc = excluded.hlc, origin = excluded.origin, place = excluded.place, seq = excluded.seq
         WHERE (excluded.hlc, excluded.origin) > (hlc, origin)",
        quote(schema)
    ))?;
    for (table, last) in numbers::taken_in(changes, db).filter(|(table, _)| lives(*table)) {
        put.execute(params![
            table.cast_signed(),
            last,
            entry.stamp.hlc.0.cast_signed(),
            entry.stamp.origin,
            entry.place.origin,
            entry.place.seq.cast_signed()
        ])?;
    }
    Ok(())
}

/// The table was emptied by an entry of that stamp (`None`: it is gone).
pub(crate) fn forget(conn: &Connection, schema: &str, table: u64, before: Option<Stamp>) -> Result<(), FoldError> {
    let before = before.map_or((i64::MAX, 0), |s| (s.hlc.0.cast_signed(), s.origin));
    conn.prepare_cached(&format!(
        "DELETE FROM {}.__starling_drawn WHERE tbl = ?1 AND (hlc, origin) < (?2, ?3)",
        quote(schema)
    ))?
    .execute(params![table.cast_signed(), before.0, before.1])?;
    Ok(())
}

/// The last number drawn of a table (0: none), and the entry that says so.
pub(crate) fn of(conn: &Connection, schema: &str, table: u64) -> Result<(i64, Version), FoldError> {
    let sql = format!(
        "SELECT last, hlc, origin, place, seq FROM {}.__starling_drawn WHERE tbl = ?1",
        quote(schema)
    );
    let found = conn
        .prepare_cached(&sql)?
        .query_row([table.cast_signed()], |row| {
            let stamp = Stamp {
                hlc: Hlc(row.get::<_, i64>(1)?.cast_unsigned()),
                origin: row.get(2)?,
            };
            let place = Place {
                origin: row.get(3)?,
                seq: row.get::<_, i64>(4)?.cast_unsigned(),
            };
            Ok((row.get(0)?, Version { stamp, place }))
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}
