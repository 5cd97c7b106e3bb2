//! Are the tables equal? Digests of all tables, of a table's buckets, of a bucket's rows; and of a fresh fold of the log.
//!
//! A table is narrowed down in two steps: its rows fall into buckets by their key, each with a digest; the rows of a bucket that
//! differs are listed. Promises: what is compared belongs to one position, which is said. Must not know: other nodes.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};
use starling_apply::digest::{self, Report};
use starling_apply::engine::OnConnect;
use starling_apply::{Engine, EngineOptions};
use starling_log::VersionVector;

use super::App;
use super::error::{Failure, Query};
use super::guard::{Admin, Reader};

pub const BUCKETS: usize = 1024;
/// Rows listed for a bucket, at most.
const ROWS_MAX: usize = 100_000;
/// Entries applied at once in a fresh fold.
const CHUNK: usize = 2_000;

/// `GET /v1/state/merkle` · `?db=&table=` (buckets) · `?db=&table=&bucket=` (rows)
pub async fn merkle(_: Reader, State(app): State<App>, RawQuery(query): RawQuery) -> Result<Json<Value>, Failure> {
    let query = Query::parse(query.as_deref(), &["db", "table", "bucket"])?;
    let engine = app
        .cluster
        .engine()
        .ok_or_else(|| Failure::not_now("this node is starting"))?
        .clone();
    let made = match (query.get("db"), query.get("table")) {
        (None, None) => tokio::task::spawn_blocking(move || all(&engine)).await,
        (Some(db), Some(table)) => {
            let (db, table) = (db.to_owned(), table.to_owned());
            let bucket = query.number("bucket")?.and_then(|b| usize::try_from(b).ok());
            tokio::task::spawn_blocking(move || one(&engine, &db, &table, bucket)).await
        }
        _ => return Err(Failure::bad("db and table go together")),
    };
    made.map_err(Failure::internal)?.map(Json)
}

fn all(engine: &Engine) -> Result<Value, Failure> {
    let report = engine.digests().map_err(Failure::internal)?;
    serde_json::to_value(report).map_err(Failure::internal)
}

/// Which bucket a row's key falls into: the same on every node.
pub fn bucket_of(key: &str) -> usize {
    (xxhash_rust::xxh3::xxh3_64(key.as_bytes()) % BUCKETS as u64) as usize
}

fn one(engine: &Engine, db: &str, table: &str, bucket: Option<usize>) -> Result<Value, Failure> {
    let catalog = engine.catalog();
    let definition = catalog
        .table(db, table)
        .ok_or_else(|| Failure::not_found(format!("there is no table {db}.{table}")))?;
    let schema = db.to_lowercase();
    let reader = engine.snapshot().map_err(Failure::internal)?;
    let at = starling_apply::materialize::read_applied(&reader, &schema).map_err(Failure::internal)?;
    let mut sums = vec![0u128; if bucket.is_none() { BUCKETS } else { 0 }];
    let mut rows: Vec<(String, String)> = Vec::new();
    digest::rows(&reader, &schema, definition, &mut |key, hash| {
        let of = bucket_of(key);
        match bucket {
            // A sum does not depend on the order of rows.
            None => sums[of] = sums[of].wrapping_add(hash),
            Some(wanted) if wanted == of && rows.len() < ROWS_MAX => rows.push((key.to_owned(), format!("{hash:032x}"))),
            Some(_) => {}
        }
    })
    .map_err(Failure::internal)?;
    let at: Vec<(u16, u64)> = at.iter().collect();
    Ok(match bucket {
        None => json!({"at": at, "buckets": sums.iter().map(|s| format!("{s:032x}")).collect::<Vec<_>>()}),
        Some(_) => json!({"at": at, "rows": rows}),
    })
}

/// `POST /v1/state/verify`: folds the log anew beside the tables and compares. Lines of progress, then the result.
pub async fn verify(_: Admin, State(app): State<App>) -> Result<Response, Failure> {
    let engine = app
        .cluster
        .engine()
        .ok_or_else(|| Failure::not_now("this node is starting"))?
        .clone();
    let dir = app.data_dir.join("verify");
    let on_connect = app.on_connect.clone();
    let (lines, received) = tokio::sync::mpsc::channel::<String>(64);
    tokio::task::spawn_blocking(move || {
        let progress = lines.clone();
        // A reader that is gone, or slow, misses progress, not the result.
        let say = move |done: u64, of: u64| drop(progress.try_send(json!({"done": done, "all": of}).to_string()));
        let line = match against_log(&engine, &dir, on_connect, Arc::new(say)) {
            Ok(result) => result,
            Err(reason) => json!({"error": "verify", "message": reason}),
        };
        let _ = lines.blocking_send(line.to_string());
    });
    let body = futures::stream::unfold(received, |mut received| async move {
        let line = received.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line + "\n"), received))
    });
    Response::builder()
        .header("content-type", "application/x-ndjson")
        .body(axum::body::Body::from_stream(body))
        .map_err(Failure::internal)
}

type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Compares the tables with a fresh fold of the log, made in `dir` (which is removed before and after).
pub fn against_log(engine: &Arc<Engine>, dir: &std::path::Path, on_connect: OnConnect, progress: Progress) -> Result<Value, String> {
    let clear = || match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("cannot clear {}: {e}", dir.display())),
        _ => Ok(()),
    };
    clear()?;
    let fresh = Engine::open(
        EngineOptions {
            dir: dir.to_owned(),
            origin: None,
            on_connect,
            full_row_image: true,
            on_progress: Some(progress),
        },
        engine.log().clone(),
    )
    .map_err(|e| e.to_string())?;
    let compared = compare(engine, &fresh);
    fresh.close();
    drop(fresh);
    clear()?;
    compared
}

fn compare(engine: &Arc<Engine>, fresh: &Arc<Engine>) -> Result<Value, String> {
    let ours = engine.digests().map_err(|e| e.to_string())?;
    let at = VersionVector(ours.at.iter().copied().collect());
    let mut chunk = Vec::new();
    for entry in engine.log().scan(&fresh.applied(), &at) {
        chunk.push(entry.map_err(|e| e.to_string())?);
        if chunk.len() >= CHUNK {
            fresh.apply(std::mem::take(&mut chunk)).map_err(|e| e.to_string())?;
        }
    }
    fresh.apply(chunk).map_err(|e| e.to_string())?;
    let theirs = fresh.digests().map_err(|e| e.to_string())?;
    if theirs.at != ours.at {
        return Err(format!("the fold reached {:?} instead of {:?}", theirs.at, ours.at));
    }
    let mut differences = Vec::new();
    for (db, table) in differing_tables(&ours, &theirs) {
        let keys = differing_rows(engine, fresh, &db, &table);
        differences.push(json!({"db": db, "table": table, "keys": keys}));
    }
    Ok(json!({"equal": differences.is_empty(), "at": ours.at, "tables": ours.tables.len(), "differences": differences}))
}

/// Tables that are not in both, or not alike.
pub fn differing_tables(a: &Report, b: &Report) -> Vec<(String, String)> {
    let mut names = Vec::new();
    for (one, other) in [(a, b), (b, a)] {
        for table in &one.tables {
            let name = (table.db.clone(), table.table.clone());
            if !other.tables.contains(table) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Keys whose rows differ, at most a hundred.
fn differing_rows(a: &Engine, b: &Engine, db: &str, table: &str) -> Vec<String> {
    let list = |engine: &Engine| -> Option<std::collections::BTreeMap<String, u128>> {
        let catalog = engine.catalog();
        let reader = engine.snapshot().ok()?;
        let mut rows = std::collections::BTreeMap::new();
        digest::rows(&reader, &db.to_lowercase(), catalog.table(db, table)?, &mut |key, hash| {
            rows.insert(key.to_owned(), hash);
        })
        .ok()?;
        Some(rows)
    };
    let (a, b) = (list(a).unwrap_or_default(), list(b).unwrap_or_default());
    let mut keys: Vec<String> = a.iter().filter(|(k, h)| b.get(*k) != Some(h)).map(|(k, _)| k.clone()).collect();
    keys.extend(b.keys().filter(|k| !a.contains_key(*k)).cloned());
    keys.sort();
    keys.truncate(100);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_apply::digest::TableDigest;

    #[test]
    fn tables_differ_by_digest_or_absence() {
        let table = |name: &str, digest: &str| TableDigest {
            db: "shop".into(),
            table: name.into(),
            rows: 1,
            digest: digest.into(),
        };
        let report = |tables: Vec<TableDigest>| Report { at: vec![(1, 5)], tables };
        let a = report(vec![table("x", "1"), table("y", "2")]);
        let b = report(vec![table("x", "1"), table("y", "3"), table("z", "4")]);
        let names: Vec<_> = differing_tables(&a, &b).into_iter().map(|(_, t)| t).collect();
        assert_eq!(names, ["y", "z"]);
        assert!(differing_tables(&a, &a).is_empty());
    }

    #[test]
    fn buckets_are_the_same_everywhere() {
        assert!(bucket_of("1") < BUCKETS);
        assert_eq!(bucket_of("a"), bucket_of("a"));
    }
}
