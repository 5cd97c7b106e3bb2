//! Blocks of numbers that were drawn, as a file remembers them: for each table how far they reach, and by which entry.
//!
//! Promises: the highest number and the latest stamp count, whatever order entries came in (a node that stops counting may say less
//! than a block drawn a moment before reaches); what was drawn before a TRUNCATE is forgotten with it.
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
         SET last = max(last, excluded.last), hlc = excluded.hlc, origin = excluded.origin, place = excluded.place, seq = excluded.seq
         WHERE (excluded.hlc, excluded.origin) > (hlc, origin)",
        quote(schema)
    ))?;
    let mut raise = conn.prepare_cached(&format!(
        "UPDATE {}.__starling_drawn SET last = ?2 WHERE tbl = ?1 AND last < ?2",
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
        raise.execute(params![table.cast_signed(), last])?;
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

#[cfg(test)]
mod tests {
    use starling_log::{Body, VersionVector};

    use super::*;

    fn entry(ms: u64, origin: u16, seq: u64, last: i64) -> Entry {
        let stamp = Stamp {
            hlc: Hlc::from_ms(ms),
            origin,
        };
        Entry {
            place: Place { origin, seq },
            stamp,
            causes: VersionVector::new(),
            schema: 1,
            body: Body::Rows(numbers::taken(&[(1, 7, last)])),
        }
    }

    #[test]
    fn a_later_word_never_takes_back_what_an_earlier_draw_gave_in_any_order() {
        // A block to 104 is drawn while the node stops counting at 100.
        let (draw, position) = (entry(10, 2, 1, 104), entry(11, 1, 1, 100));
        for entries in [[&draw, &position], [&position, &draw]] {
            let conn = Connection::open_in_memory().expect("memory");
            create(&conn, "main").expect("table");
            for entry in entries {
                let Body::Rows(changes) = &entry.body else { unreachable!() };
                apply(&conn, "main", 1, entry, changes, |_| true).expect("applied");
            }
            let (last, version) = of(&conn, "main", 7).expect("read");
            assert_eq!((last, version.place), (104, position.place));
        }
    }
}
