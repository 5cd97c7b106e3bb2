//! Rows of the tables that show transactions and their locks: `INNODB_TRX`, `data_locks`, `data_lock_waits`, `metadata_locks`, and the
//! text of SHOW ENGINE INNODB STATUS.
//!
//! Promises: one statement shows one moment of the lock table. A transaction is listed from its first lock on (plain reads share the
//! definitions of their tables, which is one). Must not know: how locks are decided on.

use std::sync::Arc;
use std::time::Duration;

use starling_apply::Catalog;
use starling_apply::claim::ClaimKey;
use starling_apply::layout::Key;
use starling_log::Value;

use super::Provider;
use super::rows_schema::{datetime, int, maybe, text};
use crate::txn::locks::mode::Modes;
use crate::txn::locks::view::PartySeen;
use crate::txn::locks::{Isolation, Kind, LockKey, Locks};

type Row = Vec<Value>;

/// About what one lock takes.
const LOCK_BYTES: u64 = 200;

struct Seen {
    parties: Vec<PartySeen>,
    catalog: Arc<Catalog>,
    now_ms: u64,
}

pub fn rows(table: &str, provider: &dyn Provider) -> Option<Vec<Row>> {
    let make: fn(&Seen, &dyn Provider) -> Vec<Row> = match table {
        "INNODB_TRX" => transactions,
        "data_locks" => data_locks,
        "data_lock_waits" => data_lock_waits,
        "metadata_locks" => metadata_locks,
        _ => return None,
    };
    let (locks, now_ms) = provider.locks()?;
    let seen = Seen {
        parties: locks.view(),
        catalog: provider.catalog().unwrap_or_default(),
        now_ms,
    };
    Some(make(&seen, provider))
}

fn ago(now_ms: u64, passed: Duration) -> Value {
    datetime(now_ms.saturating_sub(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)))
}

fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    }
}

/// What a lock is called in the tables: the party, and its key.
fn lock_id(party: u64, key: &LockKey) -> String {
    let (LockKey::Data(claim) | LockKey::Meta(claim)) = key;
    format!("{party}:{:x}", claim.hash128() as u64)
}

fn is_row(key: &LockKey) -> bool {
    matches!(key, LockKey::Data(ClaimKey::Row { .. } | ClaimKey::Unique { .. }))
}

fn count(party: &PartySeen, what: impl Fn(&LockKey) -> bool) -> u64 {
    party.locks.iter().filter(|(k, _, granted)| *granted && what(k)).count() as u64
}

fn transactions(seen: &Seen, provider: &dyn Provider) -> Vec<Row> {
    let processes = provider.processes();
    let mut out = Vec::new();
    for party in &seen.parties {
        let Kind::Transaction(level) = party.who.kind else { continue };
        let rows = count(party, is_row);
        let waits = party.locks.iter().find(|(_, _, granted)| !granted);
        let query = processes.iter().find(|p| p.id == party.who.session).and_then(|p| p.info.clone());
        let state = if party.waiting.is_some() { "LOCK WAIT" } else { "RUNNING" };
        out.push(vec![
            int(party.id),
            text(state),
            ago(seen.now_ms, party.open),
            maybe(waits.map(|(k, _, _)| lock_id(party.id, k))),
            party.waiting.map_or(Value::Null, |w| ago(seen.now_ms, w)),
            int(rows + party.rows),
            int(party.who.session),
            maybe(query),
            Value::Null,
            int(count(party, |k| matches!(k, LockKey::Meta(ClaimKey::Table { .. })))),
            int(count(party, |k| matches!(k, LockKey::Data(ClaimKey::Table { .. })))),
            int(party.locks.len() as u64),
            int(party.locks.len() as u64 * LOCK_BYTES),
            int(rows),
            int(party.rows),
            int(0),
            text(isolation(level)),
            int(1),
            int(1),
            Value::Null,
            int(0),
            int(0),
            int(0),
            int(0),
            Value::Null,
        ]);
    }
    out
}

/// A key for people: its database, table and index, its kind, and its value.
struct Named {
    db: Option<String>,
    table: Option<String>,
    index: Option<String>,
    kind: &'static str,
    data: Option<String>,
}

fn named(catalog: &Catalog, key: &ClaimKey) -> Named {
    let table = key.table().and_then(|id| catalog.table_by_id(id));
    let db = match key {
        ClaimKey::Schema { db } => catalog.database_by_id(*db).map(|d| d.name.clone()),
        _ => table.map(|(d, _)| d.name.clone()),
    };
    let (kind, index, data) = match key {
        ClaimKey::Schema { .. } | ClaimKey::Database { .. } => ("SCHEMA", None, None),
        ClaimKey::Control { .. } => ("CONTROL", None, None),
        ClaimKey::Table { .. } => ("TABLE", None, None),
        ClaimKey::Row { key, .. } => ("RECORD", Some("PRIMARY".to_string()), Some(row_key(key))),
        ClaimKey::Counter { .. } => ("AUTO_INC", None, None),
        ClaimKey::Unique { index, value, .. } => {
            let found = table.and_then(|(_, t)| t.indexes.iter().find(|i| i.id == *index));
            ("RECORD", found.map(|i| i.name.clone()), Some(format!("0x{}", hex::encode(value))))
        }
    };
    Named {
        db,
        table: table.map(|(_, t)| t.name.clone()),
        index,
        kind,
        data,
    }
}

fn row_key(key: &Key) -> String {
    match key {
        Key::Int(n) => n.to_string(),
        Key::Bytes(bytes) => format!("0x{}", hex::encode(bytes)),
    }
}

fn data_locks(seen: &Seen, _: &dyn Provider) -> Vec<Row> {
    let mut out = Vec::new();
    for party in &seen.parties {
        for (key, modes, granted) in &party.locks {
            let LockKey::Data(claim) = key else { continue };
            let named = named(&seen.catalog, claim);
            out.push(vec![
                text("INNODB"),
                text(lock_id(party.id, key)),
                int(party.id),
                int(party.who.session),
                int(0),
                maybe(named.db),
                maybe(named.table),
                Value::Null,
                Value::Null,
                maybe(named.index),
                int(0),
                text(named.kind),
                text(mode_text(*modes, named.kind)),
                text(if *granted { "GRANTED" } else { "WAITING" }),
                maybe(named.data),
            ]);
        }
    }
    out
}

/// Rows are locked without the gaps between them.
fn mode_text(modes: Modes, kind: &str) -> String {
    if kind == "RECORD" {
        format!("{},REC_NOT_GAP", modes.text())
    } else {
        modes.text().to_string()
    }
}

fn data_lock_waits(seen: &Seen, _: &dyn Provider) -> Vec<Row> {
    let session = |id: u64| seen.parties.iter().find(|p| p.id == id).map_or(0, |p| p.who.session);
    let mut out = Vec::new();
    for party in &seen.parties {
        for (key, blocker) in party.blockers.iter().filter(|(k, _)| matches!(k, LockKey::Data(_))) {
            out.push(vec![
                text("INNODB"),
                text(lock_id(party.id, key)),
                int(party.id),
                int(party.who.session),
                int(0),
                int(0),
                text(lock_id(*blocker, key)),
                int(*blocker),
                int(session(*blocker)),
                int(0),
                int(0),
            ]);
        }
    }
    out
}

fn metadata_locks(seen: &Seen, _: &dyn Provider) -> Vec<Row> {
    let mut out = Vec::new();
    for party in &seen.parties {
        for (key, modes, granted) in &party.locks {
            let LockKey::Meta(claim) = key else { continue };
            let named = named(&seen.catalog, claim);
            let kind = match modes.text() {
                "X" => "EXCLUSIVE",
                "IS" => "INTENTION_EXCLUSIVE",
                _ => "SHARED_READ",
            };
            let duration = if party.who.kind == Kind::Tables {
                "EXPLICIT"
            } else {
                "TRANSACTION"
            };
            out.push(vec![
                text(named.kind),
                maybe(named.db),
                maybe(named.table),
                Value::Null,
                int(0),
                text(kind),
                text(duration),
                text(if *granted { "GRANTED" } else { "PENDING" }),
                Value::Null,
                int(party.who.session),
                int(0),
            ]);
        }
    }
    out
}

/// The transactions' part of SHOW ENGINE INNODB STATUS.
pub fn engine_status(locks: &Locks, catalog: &Catalog) -> String {
    let mut out = String::from("------------\nTRANSACTIONS\n------------\n");
    for party in &locks.view() {
        out.push_str(&format!(
            "---{} {}, session {}, open {} s, {} lock(s), {} row lock(s), {} row change(s)\n",
            kind_text(party.who.kind),
            party.id,
            party.who.session,
            party.open.as_secs(),
            party.locks.len(),
            count(party, is_row),
            party.rows
        ));
        for (key, blocker) in &party.blockers {
            let waited = party.waiting.unwrap_or_default().as_secs();
            out.push_str(&format!("   waits {waited} s for {blocker}: {}\n", describe(catalog, key)));
        }
    }
    let (wounds, last) = locks.wounds();
    out.push_str("------------------------\nLATEST DETECTED DEADLOCK\n------------------------\n");
    out.push_str(&format!("{wounds} transaction(s) lost their locks to older ones\n"));
    if let Some((wound, at)) = last {
        out.push_str(&format!(
            "{} s ago session {} lost its locks to session {}, which needs {}\n",
            at.elapsed().as_secs(),
            wound.victim.session,
            wound.by.session,
            describe(catalog, &wound.key)
        ));
    }
    out
}

fn describe(catalog: &Catalog, key: &LockKey) -> String {
    let (LockKey::Data(claim) | LockKey::Meta(claim)) = key;
    let named = named(catalog, claim);
    let what = if matches!(key, LockKey::Meta(_)) { "definition of " } else { "" };
    let name = [named.db, named.table].into_iter().flatten().collect::<Vec<_>>().join(".");
    let at = named
        .data
        .map_or_else(String::new, |d| format!(" {} {d}", named.index.unwrap_or_default()));
    format!("{what}{name}{at}")
}

fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Transaction(_) => "TRANSACTION",
        Kind::Statement => "STATEMENT",
        Kind::Tables => "LOCK TABLES",
        Kind::Alter => "SCHEMA CHANGE",
        Kind::Peer => "PREPARED FOR A PEER",
        Kind::Prepared => "PREPARED BY XA",
    }
}
