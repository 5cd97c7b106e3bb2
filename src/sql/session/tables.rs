//! Rows of the `starling` database: what this node alone knows.
//!
//! Promises: a table that cannot be read shows what could be. Must not know: how the fold decides who lost.

use starling_apply::Database;
use starling_log::Value;

use crate::sql::stmt::write::quote;

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
