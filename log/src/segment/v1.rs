//! The archived form of an entry, format version 1. FROZEN: golden bytes in `fixtures/log/` hold it in place.
//!
//! Promises: what this module wrote, this module reads, for ever; a change of any type below is a new version in a new
//! module. Bytes are checked (by rkyv, and by [`Body::validate`]) before anything of them is believed.

use rkyv::rancor::Failure;
use rkyv::with::InlineAsBox;

use crate::entry::{Body, Changes, Control, Schema, TableRef};
use crate::value::Malformed;

pub(super) const VERSION: u8 = 1;

/// Borrowed from an [`crate::entry::Entry`], so that writing one copies nothing twice.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct EntryV1<'a> {
    schema: u64,
    body: BodyV1<'a>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
enum BodyV1<'a> {
    Void,
    Rows {
        tables: Vec<TableV1<'a>>,
        count: u32,
        #[rkyv(with = InlineAsBox)]
        bytes: &'a [u8],
    },
    Schema {
        db: u64,
        #[rkyv(with = InlineAsBox)]
        payload: &'a [u8],
    },
    Control {
        #[rkyv(with = InlineAsBox)]
        kind: &'a str,
        #[rkyv(with = InlineAsBox)]
        payload: &'a [u8],
    },
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct TableV1<'a> {
    db: u64,
    table: u64,
    #[rkyv(with = InlineAsBox)]
    columns: &'a [u32],
    #[rkyv(with = InlineAsBox)]
    key: &'a [u16],
}

/// Appends the archive of an entry's body to `out`. Fails only on bodies beyond rkyv's 32-bit offsets.
pub(super) fn put_body(out: &mut Vec<u8>, schema: u64, body: &Body) -> Result<(), Malformed> {
    let entry = EntryV1 {
        schema,
        body: borrow(body),
    };
    rkyv::api::high::to_bytes_in::<_, Failure>(&entry, out).map_err(|_| Malformed)?;
    Ok(())
}

fn borrow(body: &Body) -> BodyV1<'_> {
    match body {
        Body::Void => BodyV1::Void,
        Body::Rows(changes) => BodyV1::Rows {
            tables: changes.tables.iter().map(borrow_table).collect(),
            count: changes.count,
            bytes: &changes.bytes,
        },
        Body::Schema(schema) => BodyV1::Schema {
            db: schema.db,
            payload: &schema.payload,
        },
        Body::Control(control) => BodyV1::Control {
            kind: &control.kind,
            payload: &control.payload,
        },
    }
}

fn borrow_table(table: &TableRef) -> TableV1<'_> {
    TableV1 {
        db: table.db,
        table: table.table,
        columns: &table.columns,
        key: &table.key,
    }
}

/// Reads an archive back: (schema version, body), every byte of it checked.
pub(super) fn read_body(bytes: &[u8]) -> Result<(u64, Body), Malformed> {
    let entry = rkyv::access::<ArchivedEntryV1<'_>, Failure>(bytes).map_err(|_| Malformed)?;
    let body = match &entry.body {
        ArchivedBodyV1::Void => Body::Void,
        ArchivedBodyV1::Rows { tables, count, bytes } => Body::Rows(Changes {
            tables: tables.iter().map(own_table).collect(),
            count: count.to_native(),
            bytes: bytes.to_vec(),
        }),
        ArchivedBodyV1::Schema { db, payload } => Body::Schema(Schema {
            db: db.to_native(),
            payload: payload.to_vec(),
        }),
        ArchivedBodyV1::Control { kind, payload } => Body::Control(Control {
            kind: kind.to_string(),
            payload: payload.to_vec(),
        }),
    };
    body.validate()?;
    Ok((entry.schema.to_native(), body))
}

fn own_table(table: &ArchivedTableV1<'_>) -> TableRef {
    TableRef {
        db: table.db.to_native(),
        table: table.table.to_native(),
        columns: table.columns.iter().map(|c| c.to_native()).collect(),
        key: table.key.iter().map(|k| k.to_native()).collect(),
    }
}
