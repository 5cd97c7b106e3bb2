//! What a database file remembers beside its rows: which entries touched a row, which unique values it ever held, which changes
//! lost, how far AUTO_INCREMENT got, which schema entries there were.
//!
//! Promises: every row change applied to the file has its record, in the same transaction. Must not know: how rows are written.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use starling_log::{Hlc, Place, Row, Stamp, VersionVector};
use xxhash_rust::xxh3::xxh3_128;

use crate::inorder::Counters;
use crate::layout::Key;
use crate::materialize::FoldError;
use crate::physical::quote;

/// What an entry did to the row at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The row is whole from here on, whatever was there.
    Insert = 1,
    Update = 2,
    Delete = 3,
    /// An update took the row to another key …
    Left = 4,
    /// … and here it came.
    Came = 5,
    /// The primary key changed by ALTER: what was before stands under other keys.
    Rekeyed = 6,
}

impl Kind {
    fn from_i64(kind: i64) -> Result<Kind, FoldError> {
        use Kind::*;
        [Insert, Update, Delete, Left, Came, Rekeyed]
            .into_iter()
            .find(|k| *k as i64 == kind)
            .ok_or_else(|| FoldError::Broken(format!("row history holds the unknown kind {kind}")))
    }
}

/// One record of a row.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub stamp: Stamp,
    pub place: Place,
    /// Position of the (last) change in the entry.
    pub index: u32,
    pub kind: Kind,
}

/// Why a change lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Later stamps had already written or deleted all that it wrote.
    Later = 1,
    /// Its row was displaced by a later one with the same key.
    Key = 2,
    /// Its row was displaced by a later one with the same unique value.
    Unique = 3,
}

/// A change that lost.
#[derive(Clone, Debug)]
pub struct Conflict {
    pub key: Key,
    pub loser: (Place, u32),
    pub winner: Stamp,
    pub why: Lost,
}

/// A row that went because a unique value of its was taken.
#[derive(Clone, Debug)]
pub struct Displaced {
    pub key: Key,
    pub stamp: Stamp,
    /// The row that took it; `None`: a new definition let only one of them be.
    pub winner: Option<Key>,
}

/// The internal tables of one file, as SQL.
#[derive(Clone, Debug)]
pub struct Store {
    schema: String,
    insert_record: String,
    insert_unique: String,
    put_state: String,
}

/// Kinds of rows in `__starling_state`. What changes with every commit stands in one table, so that it dirties one page.
const APPLIED: i64 = 0;
const NEWEST: i64 = 1;
const COUNTER: i64 = 2;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS {s}.__starling_meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {s}.__starling_state (kind INTEGER, a INTEGER, b INTEGER, value INTEGER NOT NULL, PRIMARY KEY (kind, a, b)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {s}.__starling_schema (hlc INTEGER, origin INTEGER, seq INTEGER, payload BLOB, PRIMARY KEY (hlc, origin)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {s}.__starling_history (tbl INTEGER, key, hlc INTEGER, origin INTEGER, seq INTEGER, idx INTEGER, kind INTEGER,
  raw BLOB, PRIMARY KEY (tbl, key, hlc, origin)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {s}.__starling_displaced (tbl INTEGER, key, hlc INTEGER, origin INTEGER, winner,
  PRIMARY KEY (tbl, key, hlc, origin)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {s}.__starling_displaced_winner ON __starling_displaced (tbl, winner);
CREATE TABLE IF NOT EXISTS {s}.__starling_unique (tbl INTEGER, idx INTEGER, val BLOB, key, PRIMARY KEY (tbl, idx, val, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {s}.__starling_conflicts (origin INTEGER, seq INTEGER, idx INTEGER, kind INTEGER, tbl INTEGER, key, whlc INTEGER,
  worigin INTEGER, PRIMARY KEY (origin, seq, idx, kind)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS {s}.__starling_conflicts_key ON __starling_conflicts (tbl, key);
";

/// HLCs stay below 2^63 for the next four thousand years.
fn hlc(stamp: Stamp) -> i64 {
    i64::try_from(stamp.hlc.0).unwrap_or(i64::MAX)
}
fn int(value: u64) -> i64 {
    value.cast_signed()
}
fn stamp_at(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Stamp> {
    Ok(Stamp {
        hlc: Hlc(row.get::<_, i64>(at)?.cast_unsigned()),
        origin: row.get(at + 1)?,
    })
}

/// Unique values are kept as hashes: they only lead to candidates.
pub(crate) fn hashed(value: &[u8]) -> [u8; 16] {
    xxh3_128(value).to_be_bytes()
}

impl Store {
    pub fn new(schema: &str) -> Store {
        let s = quote(schema);
        Store {
            insert_record: format!(
                "INSERT INTO {s}.__starling_history VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET idx = excluded.idx,
                 kind = CASE WHEN kind IN (1, 5) AND excluded.kind = 2 THEN kind ELSE excluded.kind END, raw = excluded.raw"
            ),
            insert_unique: format!("INSERT OR IGNORE INTO {s}.__starling_unique VALUES (?1, ?2, ?3, ?4)"),
            put_state: format!("INSERT OR REPLACE INTO {s}.__starling_state VALUES (?1, ?2, ?3, ?4)"),
            schema: s,
        }
    }
    pub fn create(&self, conn: &Connection) -> Result<(), FoldError> {
        Ok(conn.execute_batch(&TABLES.replace("{s}", &self.schema))?)
    }
    pub fn exists(&self, conn: &Connection) -> Result<bool, FoldError> {
        let sql = format!("SELECT 1 FROM {}.sqlite_master WHERE name = '__starling_conflicts'", self.schema);
        Ok(conn.query_row(&sql, [], |_| Ok(())).optional()?.is_some())
    }
    fn sql(&self, sql: &str) -> String {
        sql.replace("{s}", &self.schema)
    }

    pub fn meta(&self, conn: &Connection, name: &str) -> Result<Option<Vec<u8>>, FoldError> {
        let mut stmt = conn.prepare_cached(&self.sql("SELECT value FROM {s}.__starling_meta WHERE name = ?1"))?;
        Ok(stmt.query_row([name], |r| r.get(0)).optional()?)
    }
    pub fn put_meta(&self, conn: &Connection, name: &str, value: &[u8]) -> Result<(), FoldError> {
        let mut stmt = conn.prepare_cached(&self.sql("INSERT OR REPLACE INTO {s}.__starling_meta VALUES (?1, ?2)"))?;
        stmt.execute(params![name, value])?;
        Ok(())
    }
    fn state<T>(
        &self,
        conn: &Connection,
        kind: i64,
        mut each: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, FoldError> {
        let mut stmt = conn.prepare_cached(&self.sql("SELECT a, b, value FROM {s}.__starling_state WHERE kind = ?1"))?;
        let rows = stmt.query_map([kind], |r| each(r))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
    fn put_state(&self, conn: &Connection, kind: i64, a: i64, b: u16, value: i64) -> Result<(), FoldError> {
        let mut stmt = conn.prepare_cached(&self.put_state)?;
        stmt.execute(params![kind, a, b, value])?;
        Ok(())
    }
    pub fn applied(&self, conn: &Connection) -> Result<VersionVector, FoldError> {
        let pairs = self.state(conn, APPLIED, |r| Ok((r.get(0)?, r.get::<_, i64>(2)?.cast_unsigned())))?;
        Ok(VersionVector(pairs.into_iter().collect()))
    }
    /// Writes only what differs from `before`.
    pub fn put_applied(&self, conn: &Connection, before: &VersionVector, applied: &VersionVector) -> Result<(), FoldError> {
        for (origin, seq) in applied.iter().filter(|(o, s)| before.get(*o) != *s) {
            self.put_state(conn, APPLIED, i64::from(origin), 0, int(seq))?;
        }
        Ok(())
    }
    /// The latest stamp in the file.
    pub fn newest(&self, conn: &Connection) -> Result<Stamp, FoldError> {
        let found = self.state(conn, NEWEST, |r| {
            Ok(Stamp {
                hlc: Hlc(r.get::<_, i64>(2)?.cast_unsigned()),
                origin: r.get(1)?,
            })
        })?;
        Ok(found.into_iter().max().unwrap_or_default())
    }
    /// One row by origin: the latest of them counts.
    pub fn put_newest(&self, conn: &Connection, newest: Stamp) -> Result<(), FoldError> {
        self.put_state(conn, NEWEST, 0, newest.origin, hlc(newest))
    }
    pub fn put_step(&self, conn: &Connection, stamp: Stamp, place: Place, payload: &[u8]) -> Result<(), FoldError> {
        let mut stmt = conn.prepare_cached(&self.sql("INSERT OR REPLACE INTO {s}.__starling_schema VALUES (?1, ?2, ?3, ?4)"))?;
        stmt.execute(params![hlc(stamp), stamp.origin, int(place.seq), payload])?;
        Ok(())
    }
    /// Schema entries in stamp order. (A place's origin is its stamp's.)
    pub fn steps(&self, conn: &Connection) -> Result<Vec<(Stamp, Place, Vec<u8>)>, FoldError> {
        let mut stmt =
            conn.prepare_cached(&self.sql("SELECT hlc, origin, seq, payload FROM {s}.__starling_schema ORDER BY hlc, origin"))?;
        let rows = stmt.query_map([], |r| {
            let stamp = stamp_at(r, 0)?;
            let place = Place {
                origin: stamp.origin,
                seq: r.get::<_, i64>(2)?.cast_unsigned(),
            };
            Ok((stamp, place, r.get(3)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
    pub fn counters(&self, conn: &Connection) -> Result<Counters, FoldError> {
        let pairs = self.state(conn, COUNTER, |r| Ok(((r.get::<_, i64>(0)?.cast_unsigned(), r.get(1)?), r.get(2)?)))?;
        Ok(pairs.into_iter().collect())
    }
    /// The highest number of one table in entries, or handed out here.
    pub fn counters_of(&self, conn: &Connection, table: u64) -> Result<i64, FoldError> {
        let sql = self.sql("SELECT coalesce(max(value), 0) FROM {s}.__starling_state WHERE kind = ?1 AND a = ?2");
        Ok(conn
            .prepare_cached(&sql)?
            .query_row(params![COUNTER, int(table)], |row| row.get(0))?)
    }
    pub fn put_counter(&self, conn: &Connection, table: u64, origin: u16, value: i64) -> Result<(), FoldError> {
        self.put_state(conn, COUNTER, int(table), origin, value)
    }

    /// Held over the rows of one entry.
    pub fn recorder<'c>(&self, conn: &'c Connection, stamp: Stamp, place: Place) -> Result<Recorder<'c>, FoldError> {
        Ok(Recorder {
            records: conn.prepare_cached(&self.insert_record)?,
            uniques: conn.prepare_cached(&self.insert_unique)?,
            stamp,
            place,
        })
    }

    /// All that is known of a row, in stamp order, and a raw key it was seen under.
    pub fn records(&self, conn: &Connection, table: u64, key: &Key) -> Result<(Vec<Record>, Option<Row>), FoldError> {
        let sql = self
            .sql("SELECT hlc, origin, seq, idx, kind, raw FROM {s}.__starling_history WHERE tbl = ?1 AND key = ?2 ORDER BY hlc, origin");
        let mut stmt = conn.prepare_cached(&sql)?;
        let mut rows = stmt.query(params![int(table), key])?;
        let (mut records, mut raw) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            let stamp = stamp_at(row, 0)?;
            let place = Place {
                origin: stamp.origin,
                seq: row.get::<_, i64>(2)?.cast_unsigned(),
            };
            records.push(Record {
                stamp,
                place,
                index: row.get(3)?,
                kind: Kind::from_i64(row.get(4)?)?,
            });
            raw = row.get::<_, Option<Vec<u8>>>(5)?.map(Row).or(raw);
        }
        Ok((records, raw))
    }
    pub fn last_record(&self, conn: &Connection, table: u64, key: &Key) -> rusqlite::Result<(u64, u16, u32)> {
        let sql = self
            .sql("SELECT hlc, origin, idx FROM {s}.__starling_history WHERE tbl = ?1 AND key = ?2 ORDER BY hlc DESC, origin DESC LIMIT 1");
        let found = conn
            .prepare_cached(&sql)?
            .query_row(params![int(table), key], |r| {
                Ok((r.get::<_, i64>(0)?.cast_unsigned(), r.get(1)?, r.get(2)?))
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }
    pub fn displacements(&self, conn: &Connection, table: u64, key: &Key) -> Result<Vec<Stamp>, FoldError> {
        let sql = self.sql("SELECT hlc, origin FROM {s}.__starling_displaced WHERE tbl = ?1 AND key = ?2 ORDER BY hlc, origin");
        let mut stmt = conn.prepare_cached(&sql)?;
        let rows = stmt.query_map(params![int(table), key], |r| stamp_at(r, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
    /// Rows that lost a unique value to this one: should it turn out never to have had the value, they stand.
    pub fn victims(&self, conn: &Connection, table: u64, winner: &Key) -> Result<Vec<Key>, FoldError> {
        let sql = self.sql("SELECT key FROM {s}.__starling_displaced WHERE tbl = ?1 AND winner = ?2");
        let mut stmt = conn.prepare_cached(&sql)?;
        let rows = stmt.query_map(params![int(table), winner], |r| r.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
    /// Did anything happen to the row at `stamp` or later? (An entry that is only coming has left no record at its own stamp.)
    pub fn touched_since(&self, conn: &Connection, table: u64, key: &Key, stamp: Stamp) -> Result<bool, FoldError> {
        for name in ["history", "displaced"] {
            let sql = format!(
                "SELECT 1 FROM {}.__starling_{name} WHERE tbl = ?1 AND key = ?2 AND (hlc, origin) >= (?3, ?4) LIMIT 1",
                self.schema
            );
            if conn
                .prepare_cached(&sql)?
                .exists(params![int(table), key, hlc(stamp), stamp.origin])?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
    /// The same for any row of the table.
    pub fn table_touched_after(&self, conn: &Connection, table: u64, stamp: Stamp) -> Result<bool, FoldError> {
        let sql = self.sql("SELECT 1 FROM {s}.__starling_history WHERE tbl = ?1 AND (hlc, origin) > (?2, ?3) LIMIT 1");
        Ok(conn.prepare_cached(&sql)?.exists(params![int(table), hlc(stamp), stamp.origin])?)
    }
    /// Rows that ever held the value.
    pub fn holders(&self, conn: &Connection, table: u64, index: u32, value: &[u8]) -> Result<Vec<Key>, FoldError> {
        let sql = self.sql("SELECT key FROM {s}.__starling_unique WHERE tbl = ?1 AND idx = ?2 AND val = ?3");
        let mut stmt = conn.prepare_cached(&sql)?;
        let rows = stmt.query_map(params![int(table), index, hashed(value)], |r| r.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Replaces what is known of displacements and lost rows from `from` on, for rows that were folded anew.
    pub fn put_displaced(
        &self,
        conn: &Connection,
        table: u64,
        keys: &[&Key],
        from: Stamp,
        displaced: &[Displaced],
    ) -> Result<(), FoldError> {
        let mut clear = conn
            .prepare_cached(&self.sql("DELETE FROM {s}.__starling_displaced WHERE tbl = ?1 AND key = ?2 AND (hlc, origin) >= (?3, ?4)"))?;
        let mut forget = conn.prepare_cached(
            &self.sql("DELETE FROM {s}.__starling_conflicts WHERE tbl = ?1 AND key = ?2 AND kind > 1 AND (whlc, worigin) >= (?3, ?4)"),
        )?;
        for key in keys {
            clear.execute(params![int(table), key, hlc(from), from.origin])?;
            forget.execute(params![int(table), key, hlc(from), from.origin])?;
        }
        let mut put = conn.prepare_cached(&self.sql("INSERT OR IGNORE INTO {s}.__starling_displaced VALUES (?1, ?2, ?3, ?4, ?5)"))?;
        for d in displaced {
            put.execute(params![int(table), d.key, hlc(d.stamp), d.stamp.origin, d.winner])?;
        }
        Ok(())
    }
    pub fn put_conflicts(&self, conn: &Connection, table: u64, conflicts: &[Conflict]) -> Result<(), FoldError> {
        let mut put =
            conn.prepare_cached(&self.sql("INSERT OR REPLACE INTO {s}.__starling_conflicts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?;
        for c in conflicts {
            let (place, index) = c.loser;
            let (wall, origin) = (hlc(c.winner), c.winner.origin);
            put.execute(params![
                place.origin,
                int(place.seq),
                index,
                c.why as i64,
                int(table),
                c.key,
                wall,
                origin
            ])?;
        }
        Ok(())
    }
    /// A change that was listed as lost to later ones shows after all.
    pub fn stands_again(&self, conn: &Connection, table: u64, key: &Key, place: Place) -> Result<(), FoldError> {
        let sql = "DELETE FROM {s}.__starling_conflicts WHERE tbl = ?1 AND key = ?2 AND kind = 1 AND origin = ?3 AND seq = ?4";
        conn.prepare_cached(&self.sql(sql))?
            .execute(params![int(table), key, place.origin, int(place.seq)])?;
        Ok(())
    }
    /// Forgets a table: dropped, truncated, or about to be rebuilt.
    pub fn forget(&self, conn: &Connection, table: u64) -> Result<(), FoldError> {
        for name in ["history", "displaced", "unique", "conflicts", "references"] {
            conn.execute(
                &format!("DELETE FROM {}.__starling_{name} WHERE tbl = ?1", self.schema),
                [int(table)],
            )?;
        }
        Ok(())
    }
    pub fn forget_counters(&self, conn: &Connection, table: u64) -> Result<(), FoldError> {
        let sql = self.sql("DELETE FROM {s}.__starling_state WHERE kind = ?1 AND a = ?2");
        conn.execute(&sql, params![COUNTER, int(table)])?;
        Ok(())
    }
    pub fn forget_uniques(&self, conn: &Connection, table: u64) -> Result<(), FoldError> {
        conn.execute(&self.sql("DELETE FROM {s}.__starling_unique WHERE tbl = ?1"), [int(table)])?;
        Ok(())
    }
    /// Takes out a table's records (its primary key changes, and with it what they are found by).
    pub fn forget_records(&self, conn: &Connection, table: u64) -> Result<(), FoldError> {
        for name in ["history", "displaced", "conflicts", "references"] {
            conn.execute(
                &format!("DELETE FROM {}.__starling_{name} WHERE tbl = ?1", self.schema),
                [int(table)],
            )?;
        }
        Ok(())
    }
}

/// Writes the records of one entry.
pub struct Recorder<'c> {
    records: CachedStatement<'c>,
    uniques: CachedStatement<'c>,
    stamp: Stamp,
    place: Place,
}

impl Recorder<'_> {
    /// `raw`: the key's values, where the key itself is not enough to find the row by.
    pub fn record(&mut self, table: u64, key: &Key, index: u32, kind: Kind, raw: Option<&[u8]>) -> rusqlite::Result<()> {
        let s = &mut self.records;
        s.raw_bind_parameter(1, int(table))?;
        s.raw_bind_parameter(2, key)?;
        s.raw_bind_parameter(3, hlc(self.stamp))?;
        s.raw_bind_parameter(4, self.stamp.origin)?;
        s.raw_bind_parameter(5, int(self.place.seq))?;
        s.raw_bind_parameter(6, index)?;
        s.raw_bind_parameter(7, kind as i64)?;
        s.raw_bind_parameter(8, raw)?;
        s.raw_execute()?;
        Ok(())
    }
    pub fn unique(&mut self, table: u64, index: u32, value: &[u8], key: &Key) -> rusqlite::Result<()> {
        let s = &mut self.uniques;
        s.raw_bind_parameter(1, int(table))?;
        s.raw_bind_parameter(2, index)?;
        s.raw_bind_parameter(3, hashed(value))?;
        s.raw_bind_parameter(4, key)?;
        s.raw_execute()?;
        Ok(())
    }
}

/// Did the change at (`place`, `index`) lose to a later stamp before it could be seen here, or was its row displaced?
pub fn superseded(conn: &Connection, schema: &str, place: Place, index: u32) -> Result<bool, FoldError> {
    let sql = format!(
        "SELECT 1 FROM {}.__starling_conflicts WHERE origin = ?1 AND seq = ?2 AND idx = ?3",
        quote(schema)
    );
    Ok(conn.prepare_cached(&sql)?.exists(params![place.origin, int(place.seq), index])?)
}
