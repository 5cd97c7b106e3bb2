//! Rows of the `starling` database: what this node alone knows.
//!
//! Promises: a table that cannot be read shows what could be. Must not know: how the fold decides who lost.

use starling_apply::Database;
use starling_log::Value;

use crate::sql::stmt::write::quote;
use crate::txn::locks::Kind;

use super::Server;
use super::args::datetime_text;

/// The rows of a table, in the order of its columns (`meta` defines them).
pub fn rows(server: &Server, table: &str) -> Vec<Vec<Value>> {
    match table {
        "conflicts" => server
            .engine
            .catalog()
            .databases
            .values()
            .flat_map(|db| conflicts(server, db))
            .collect(),
        "members" => members(server),
        "status" => status(server),
        "transactions" => transactions(server),
        _ => Vec::new(),
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into().into_bytes())
}

fn number(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Changes that lost to later ones, with who won. Each once, by its most telling reason: a node where it came late may note more than one,
/// and all nodes are to show the same.
fn conflicts(server: &Server, db: &Database) -> Vec<Vec<Value>> {
    let schema = db.name.to_lowercase();
    let sql = format!(
        "SELECT tbl, quote(key), origin, seq, idx, max(kind), worigin, whlc FROM {}.__starling_conflicts GROUP BY origin, seq, idx ORDER BY whlc",
        quote(&schema)
    );
    let read = || -> Option<Vec<Vec<Value>>> {
        let reader = server.engine.reader(&[&schema]).ok()?;
        let mut statement = reader.prepare(&sql).ok()?;
        let one = |row: &rusqlite::Row<'_>| {
            let id: i64 = row.get(0)?;
            let table = db.tables.values().find(|t| t.id == id.cast_unsigned());
            let reason = match row.get::<_, i64>(5)? {
                1 => "a later change of the row",
                2 => "a later row of the same key",
                _ => "a later row of the same unique value",
            };
            let won_us = (row.get::<_, i64>(7)? >> 16).saturating_mul(1000);
            Ok(vec![
                text(&db.name),
                text(table.map_or_else(|| format!("#{id}"), |t| t.name.clone())),
                text(row.get::<_, String>(1)?),
                Value::Int(row.get(2)?),
                Value::Int(row.get(3)?),
                Value::Int(row.get(4)?),
                text(reason),
                Value::Int(row.get(6)?),
                text(datetime_text(won_us, 3)),
            ])
        };
        statement.query_map([], one).ok()?.collect::<Result<_, _>>().ok()
    };
    read().unwrap_or_default()
}

fn members(server: &Server) -> Vec<Vec<Value>> {
    let now = std::time::Instant::now();
    let or_null = |n: Option<u64>| n.map_or(Value::Null, number);
    let row = |seen: crate::cluster::propose::Seen| {
        let member = &seen.member;
        vec![
            number(u64::from(member.member)),
            text(&member.name),
            text(seen.state()),
            text(&seen.http_addr),
            text(&member.mysql_addr),
            number(u64::from(member.origins[0])),
            or_null(if seen.me { Some(0) } else { seen.heard_ms_ago(now) }),
            or_null(seen.lag),
        ]
    };
    server.cluster.seen().into_iter().map(row).collect()
}

/// What is not over: open here, prepared for a decision between nodes, prepared by XA, and what nobody could say the outcome of. Such a one
/// stands here until it is known, and then in its tables or not.
fn transactions(server: &Server) -> Vec<Vec<Value>> {
    let now_ms = server.engine.log().clock().now_ms();
    let members = &server.cluster.view().members;
    let me = server.cluster.identity().member.map_or(Value::Null, |m| number(u64::from(m)));
    let coordinator = |origin: starling_log::Origin| {
        let found = members.iter().find(|m| m.origins.contains(&origin));
        found.map_or(Value::Null, |m| number(u64::from(m.member)))
    };
    let row = |id: String, state: &str, ms: u64, by: Value, keys: u64, rows: Value, session: Value| {
        let since = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000);
        vec![
            text(id),
            text(state),
            text(datetime_text(since, 0)),
            by,
            number(keys),
            rows,
            session,
        ]
    };
    let mut out = Vec::new();
    for party in server.transactions.locks.view() {
        if let Kind::Transaction(_) = party.who.kind {
            let state = if party.waiting.is_some() { "waiting" } else { "open" };
            let since = now_ms.saturating_sub(u64::try_from(party.open.as_millis()).unwrap_or(0));
            let (keys, session) = (party.locks.len() as u64, number(u64::from(party.who.session)));
            out.push(row(
                format!("local:{}", party.id),
                state,
                since,
                me.clone(),
                keys,
                number(party.rows),
                session,
            ));
        }
    }
    for (seen, waits) in server.cluster.commit().undecided() {
        let own = server.cluster.origins().is_some_and(|o| o[1] == seen.place.origin);
        // Its client heard nothing, or was told nothing: the connection was closed.
        let state = if own && !waits { "unknown" } else { "prepared" };
        let (id, since) = (format!("{}:{}", seen.place.origin, seen.place.seq), now_ms.saturating_sub(seen.ms));
        let by = coordinator(seen.place.origin);
        out.push(row(id, state, since, by, seen.keys as u64, Value::Null, Value::Null));
    }
    for record in server.transactions.xa.list() {
        let xid = &record.xid;
        let id = format!("xa:{}:{}:{}", hex::encode(&xid.gtrid), hex::encode(&xid.bqual), xid.format);
        let by = number(u64::from(record.member));
        out.push(row(
            id,
            "xa prepared",
            record.at_ms,
            by,
            record.locks.len() as u64,
            Value::Null,
            Value::Null,
        ));
    }
    out
}

fn status(server: &Server) -> Vec<Vec<Value>> {
    let (held, why) = server.engine.held();
    let applied: Vec<String> = server.engine.applied().iter().map(|(o, s)| format!("{o}:{s}")).collect();
    let can_write = server.cluster.may_write().err().unwrap_or_else(|| "yes".to_string());
    [
        ("node", server.cluster.node_name().to_string()),
        ("applied", applied.join(",")),
        ("held_entries", held.to_string()),
        ("held_because", why.unwrap_or_default()),
        ("writable", can_write),
        ("log_bytes", server.engine.log().disk_bytes().to_string()),
    ]
    .into_iter()
    .map(|(name, value)| vec![text(name), text(value)])
    .collect()
}
