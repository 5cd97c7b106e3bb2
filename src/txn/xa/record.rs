//! A prepared branch as it is kept: a row of a table that every node has, in a database nobody sees.
//!
//! Promises: the row says all that is needed to end the branch after any crash, on any node: its locks and its changes. It is written and
//! deleted like any other row, so what deletes it may change other rows in the same entry. Must not know: votes, sessions.

use std::sync::Arc;

use starling_apply::catalog::{DefaultValue, IndexKind, KeyPart};
use starling_apply::claim::{Claim, ClaimKey, Mode};
use starling_apply::engine::ApplyError;
use starling_apply::lane::{Job, Try};
use starling_apply::layout::Layout;
use starling_apply::materialize::FoldError;
use starling_apply::schema::SchemaChange;
use starling_apply::{BaseType, Catalog, Column, ColumnType, Engine, Index, Table};
use starling_log::{Body, Changes, ValueRef, segment};

use super::Xid;

/// Lower case, as all names of lanes are.
pub const DATABASE: &str = "__starling_xa";
pub const TABLE: &str = "prepared";
/// A record and its deletion (which has it as its before image) go into one entry together with the changes.
pub const BODY_MAX: usize = segment::ENTRY_MAX / 2 - (16 << 20);

const COLLATION: &str = "binary";

/// What a branch locks.
pub type Lock = (ClaimKey, Mode);

#[derive(Clone, Debug)]
pub struct Record {
    pub xid: Xid,
    /// The member that prepared it.
    pub member: u32,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    pub locks: Vec<Lock>,
}

/// What became of a job on the record.
#[derive(Debug)]
pub enum RecordError {
    Exists,
    Gone,
    Sqlite(rusqlite::Error),
    Fold(FoldError),
}

impl From<rusqlite::Error> for RecordError {
    fn from(error: rusqlite::Error) -> RecordError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => RecordError::Exists,
            _ => RecordError::Sqlite(error),
        }
    }
}

pub fn table(catalog: &Catalog) -> Option<&Arc<Table>> {
    catalog.database(DATABASE)?.table(TABLE)
}

/// What whoever writes or deletes the record of a branch locks.
pub fn key(table: &Arc<Table>, xid: &Xid) -> Option<ClaimKey> {
    let layout = Layout::new(DATABASE, TABLE, table).ok()?;
    Some(ClaimKey::Row {
        table: table.id,
        key: layout.key_of([ValueRef::Blob(&xid.encode())]),
    })
}

/// The changes that make the database and its table, in order; those that are left to do.
pub fn missing(catalog: &Catalog) -> Option<(Option<&'static str>, SchemaChange)> {
    let Some(database) = catalog.database(DATABASE) else {
        let change = SchemaChange::CreateDatabase {
            name: DATABASE.to_owned(),
            collation: COLLATION.to_owned(),
        };
        return Some((None, change));
    };
    if database.table(TABLE).is_some() {
        return None;
    }
    let table = Box::new(definition(database.id));
    Some((Some(DATABASE), SchemaChange::CreateTable { table }))
}

fn definition(db: u64) -> Table {
    let column = |id: u32, name: &str, base: BaseType, length: Option<u32>| Column {
        id,
        name: name.to_owned(),
        ty: ColumnType {
            length,
            ..ColumnType::new(base)
        },
        nullable: false,
        default: DefaultValue::None,
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    };
    let key = KeyPart {
        column: 1,
        prefix: None,
        descending: false,
    };
    Table {
        id: 0,
        db,
        name: TABLE.to_owned(),
        columns: vec![
            column(1, "xid", BaseType::VarBinary, Some(160)),
            column(2, "member", BaseType::BigInt, None),
            column(3, "at_ms", BaseType::BigInt, None),
            column(4, "locks", BaseType::LongBlob, None),
            column(5, "body", BaseType::LongBlob, None),
        ],
        indexes: vec![Index {
            id: 6,
            name: "PRIMARY".to_owned(),
            kind: IndexKind::Primary,
            parts: vec![key],
            comment: String::new(),
            invisible: false,
        }],
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: COLLATION.to_owned(),
        engine: "InnoDB".to_owned(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
        next_id: 7,
    }
}

/// Writes the row; gives what it locks itself.
pub fn insert(record: Record, body: Vec<u8>) -> Job<Vec<Claim>, RecordError> {
    let (xid, locks) = (record.xid.encode(), encode(&record.locks));
    let (member, at_ms) = (i64::from(record.member), record.at_ms.cast_signed());
    Box::new(move |lane: &mut Try<'_>| {
        let sql = format!("INSERT INTO \"{DATABASE}\".\"{TABLE}\" (xid, member, at_ms, locks, body) VALUES (?1, ?2, ?3, ?4, ?5)");
        let mut statement = lane.connection.prepare_cached(&sql)?;
        statement.execute(rusqlite::params![xid, member, at_ms, locks, body])?;
        drop(statement);
        lane.claims().map_err(RecordError::Fold)
    })
}

/// Deletes the row; gives what that locks.
pub fn delete(xid: &Xid) -> Job<Vec<Claim>, RecordError> {
    let xid = xid.encode();
    Box::new(move |lane: &mut Try<'_>| {
        let sql = format!("DELETE FROM \"{DATABASE}\".\"{TABLE}\" WHERE xid = ?1");
        let mut statement = lane.connection.prepare_cached(&sql)?;
        if statement.execute([&xid])? == 0 {
            return Err(RecordError::Gone);
        }
        drop(statement);
        lane.claims().map_err(RecordError::Fold)
    })
}

/// All branches that are prepared, as this node's tables show them. Blocking.
pub fn list(engine: &Engine) -> Result<Vec<Record>, ApplyError> {
    if table(&engine.catalog()).is_none() {
        return Ok(Vec::new());
    }
    let reader = engine.reader(&[DATABASE])?;
    let mut statement = reader.prepare(&format!(
        "SELECT xid, member, at_ms, locks FROM \"{DATABASE}\".\"{TABLE}\" ORDER BY xid"
    ))?;
    let mut rows = statement.query([])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.extend(record(row)?);
    }
    Ok(out)
}

/// One branch with its changes. Blocking.
pub fn read(engine: &Engine, xid: &Xid) -> Result<Option<(Record, Changes)>, ApplyError> {
    if table(&engine.catalog()).is_none() {
        return Ok(None);
    }
    let reader = engine.reader(&[DATABASE])?;
    let mut statement = reader.prepare(&format!(
        "SELECT xid, member, at_ms, locks, body FROM \"{DATABASE}\".\"{TABLE}\" WHERE xid = ?1"
    ))?;
    let mut rows = statement.query([xid.encode()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let Some(record) = record(row)? else { return Ok(None) };
    let body: Vec<u8> = row.get(4)?;
    match segment::unpack_body(&body) {
        Ok((_, Body::Rows(changes))) => Ok(Some((record, changes))),
        _ => Err(ApplyError::Other("the record of a prepared transaction does not decode".to_owned())),
    }
}

fn record(row: &rusqlite::Row<'_>) -> Result<Option<Record>, ApplyError> {
    let (xid, locks): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(3)?);
    let (Some(xid), Some(locks)) = (Xid::decode(&xid), decode(&locks)) else {
        return Err(ApplyError::Other("the record of a prepared transaction does not decode".to_owned()));
    };
    Ok(Some(Record {
        xid,
        member: u32::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        at_ms: row.get::<_, i64>(2)?.cast_unsigned(),
        locks,
    }))
}

const MODES: [Mode; 4] = [Mode::IntentShared, Mode::IntentExclusive, Mode::Shared, Mode::Exclusive];

fn encode(locks: &[Lock]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, mode) in locks {
        let key = key.encode();
        out.push(MODES.iter().position(|m| m == mode).unwrap_or(3) as u8);
        out.extend_from_slice(&(key.len() as u32).to_be_bytes());
        out.extend_from_slice(&key);
    }
    out
}

fn decode(mut bytes: &[u8]) -> Option<Vec<Lock>> {
    let mut out = Vec::new();
    while let Some((mode, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        out.push((ClaimKey::decode(key)?, *MODES.get(usize::from(*mode))?));
        bytes = rest;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use starling_apply::layout::Key;

    use super::*;

    #[test]
    fn locks_come_back_from_their_record() {
        let row = |key| ClaimKey::Row { table: 9, key };
        let locks = vec![
            (ClaimKey::Schema { db: 1 }, Mode::Shared),
            (ClaimKey::Table { table: 9 }, Mode::IntentExclusive),
            (row(Key::Int(-4)), Mode::Exclusive),
            (row(Key::Bytes(vec![])), Mode::Shared),
        ];
        let bytes = encode(&locks);
        assert_eq!(decode(&bytes), Some(locks));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(&[]), Some(Vec::new()));
    }
}
