//! The system file `starling.db`: which databases there are, the control entries, and how far it got itself.
//!
//! Promises: what it holds is made from log entries alone, in one transaction with its own applied vector; a file of another
//! log, or one that is ahead, is thrown away. Must not know: what control entries mean.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use starling_log::entry::object_id;
use starling_log::{Body, Control, Entry, Hlc, Place, Stamp, VersionVector};

use super::files;
use crate::claim::Version;
use crate::materialize::FoldError;
use crate::schema::SchemaChange;

/// The name of the internal database.
pub const SYSTEM: &str = "starling";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS __starling_meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS __starling_databases(id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS __starling_controls(
        hlc INTEGER NOT NULL, origin INTEGER NOT NULL, seq INTEGER NOT NULL, schema INTEGER NOT NULL, causes TEXT NOT NULL,
        kind TEXT NOT NULL, payload BLOB NOT NULL, PRIMARY KEY(origin, seq)) STRICT, WITHOUT ROWID;";

pub(crate) struct System {
    conn: Connection,
    applied: VersionVector,
    /// Schema entries applied so far: the catalog's version.
    pub schema_version: u64,
    /// All control entries, in stamp order.
    controls: Vec<Arc<Entry>>,
}

impl System {
    /// Opens it, or begins anew if it cannot be trusted (`held`: what the log holds).
    pub fn open(dir: &Path, identity: &[u8], held: &VersionVector) -> Result<System, FoldError> {
        let path = dir.join(format!("{SYSTEM}.db"));
        match System::load(&path, identity) {
            Ok(system) if held.covers(&system.applied) => return Ok(system),
            Ok(_) => tracing::warn!(path = %path.display(), "the system file is ahead of the log: it is rebuilt"),
            Err(error) if path.exists() => {
                tracing::warn!(path = %path.display(), %error, "the system file cannot be trusted: it is rebuilt");
            }
            Err(_) => {}
        }
        let gone = files::delete(&path);
        gone.map_err(|e| FoldError::Broken(format!("cannot remove {}: {e}", path.display())))?;
        files::create(&path)?;
        let conn = Connection::open(&path)?;
        conn.execute_batch(SCHEMA)?;
        put_meta(&conn, "identity", identity)?;
        drop(conn);
        System::load(&path, identity)
    }

    fn load(path: &Path, identity: &[u8]) -> Result<System, FoldError> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.execute_batch("PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=1000;")?;
        if meta(&conn, "identity")?.as_deref() != Some(identity) {
            return Err(FoldError::Broken("it was made from another log".to_owned()));
        }
        let applied = match meta(&conn, "applied")? {
            Some(text) => vector_from(&text)?,
            None => VersionVector::new(),
        };
        let schema_version = match meta(&conn, "schema_version")? {
            Some(bytes) => u64::from_le_bytes(
                bytes
                    .try_into()
                    .map_err(|_| FoldError::Broken("its version is unreadable".to_owned()))?,
            ),
            None => 0,
        };
        let controls = load_controls(&conn)?;
        Ok(System {
            conn,
            applied,
            schema_version,
            controls,
        })
    }

    pub fn applied(&self) -> &VersionVector {
        &self.applied
    }
    pub fn controls(&self) -> Vec<Arc<Entry>> {
        self.controls.clone()
    }
    /// The newest control entry of a kind.
    pub fn newest(&self, kind: &str) -> Version {
        let of_kind = |e: &&Arc<Entry>| matches!(&e.body, Body::Control(control) if control.kind == kind);
        let found = self.controls.iter().rev().find(of_kind);
        found.map_or_else(Version::default, |e| Version {
            stamp: e.stamp,
            place: e.place,
        })
    }
    /// Id and lower-case name of every database.
    pub fn databases(&self) -> Result<Vec<(u64, String)>, FoldError> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT id, name FROM __starling_databases ORDER BY name")?;
        let rows = statement.query_map([], |r| Ok((r.get::<_, i64>(0)?.cast_unsigned(), r.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Applies schema and control entries (others only move the vector), and stores `applied` with them.
    pub fn apply(&mut self, entries: &[Arc<Entry>], applied: &VersionVector) -> Result<(), FoldError> {
        let mut schema_version = self.schema_version;
        let transaction = self.conn.transaction()?;
        for entry in entries.iter().filter(|e| !self.applied.contains(e.place)) {
            match &entry.body {
                Body::Schema(change) => {
                    schema_version += 1;
                    apply_schema(&transaction, entry.place, change.db, &change.payload)?;
                }
                Body::Control(control) => store_control(&transaction, entry, control)?,
                Body::Void | Body::Rows(_) => {}
            }
        }
        put_meta(&transaction, "applied", &vector_to(applied)?)?;
        put_meta(&transaction, "schema_version", &schema_version.to_le_bytes())?;
        transaction.commit()?;
        for entry in entries.iter().filter(|e| !self.applied.contains(e.place)) {
            // Entries beyond the vector are stored again when a log is replayed.
            if matches!(entry.body, Body::Control(_)) && !self.controls.iter().any(|c| c.place == entry.place) {
                let at = self.controls.partition_point(|c| c.stamp < entry.stamp);
                self.controls.insert(at, Arc::clone(entry));
            }
        }
        self.schema_version = schema_version;
        self.applied.clone_from(applied);
        Ok(())
    }

    pub fn checkpoint(&self) -> Result<(), FoldError> {
        Ok(self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

fn apply_schema(conn: &Connection, place: Place, db: u64, payload: &[u8]) -> Result<(), FoldError> {
    match parse(payload)? {
        SchemaChange::CreateDatabase { name, .. } => {
            conn.execute(
                "INSERT OR REPLACE INTO __starling_databases VALUES(?1, ?2)",
                params![object_id(place, 0).cast_signed(), name.to_lowercase()],
            )?;
        }
        SchemaChange::DropDatabase => {
            conn.execute("DELETE FROM __starling_databases WHERE id = ?1", [db.cast_signed()])?;
        }
        _ => {}
    }
    Ok(())
}

pub(crate) fn parse(payload: &[u8]) -> Result<SchemaChange, FoldError> {
    serde_json::from_slice(payload).map_err(|e| FoldError::Broken(format!("a schema entry cannot be understood: {e}")))
}

fn store_control(conn: &Connection, entry: &Entry, control: &Control) -> Result<(), FoldError> {
    let causes = String::from_utf8_lossy(&vector_to(&entry.causes)?).into_owned();
    conn.execute(
        "INSERT OR IGNORE INTO __starling_controls VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            entry.stamp.hlc.0.cast_signed(),
            entry.place.origin,
            entry.place.seq.cast_signed(),
            entry.schema.cast_signed(),
            causes,
            control.kind,
            control.payload,
        ],
    )?;
    Ok(())
}

fn load_controls(conn: &Connection) -> Result<Vec<Arc<Entry>>, FoldError> {
    let mut statement =
        conn.prepare("SELECT hlc, origin, seq, schema, causes, kind, payload FROM __starling_controls ORDER BY hlc, origin")?;
    let mut rows = statement.query([])?;
    let mut controls = Vec::new();
    while let Some(row) = rows.next()? {
        let origin = row.get(1)?;
        let causes: String = row.get(4)?;
        controls.push(Arc::new(Entry {
            place: Place {
                origin,
                seq: row.get::<_, i64>(2)?.cast_unsigned(),
            },
            stamp: Stamp {
                hlc: Hlc(row.get::<_, i64>(0)?.cast_unsigned()),
                origin,
            },
            causes: vector_from(causes.as_bytes())?,
            schema: row.get::<_, i64>(3)?.cast_unsigned(),
            body: Body::Control(Control {
                kind: row.get(5)?,
                payload: row.get(6)?,
            }),
        }));
    }
    Ok(controls)
}

fn meta(conn: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.query_row("SELECT value FROM __starling_meta WHERE key = ?1", [key], |r| r.get(0))
        .optional()
}

fn put_meta(conn: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    conn.execute("INSERT OR REPLACE INTO __starling_meta VALUES(?1, ?2)", params![key, value])
        .map(drop)
}

fn vector_to(vector: &VersionVector) -> Result<Vec<u8>, FoldError> {
    let pairs: Vec<(u16, u64)> = vector.iter().collect();
    serde_json::to_vec(&pairs).map_err(|e| FoldError::Broken(e.to_string()))
}

fn vector_from(text: &[u8]) -> Result<VersionVector, FoldError> {
    let pairs: Vec<(u16, u64)> = serde_json::from_slice(text).map_err(|e| FoldError::Broken(format!("an unreadable vector: {e}")))?;
    Ok(VersionVector(pairs.into_iter().collect()))
}
