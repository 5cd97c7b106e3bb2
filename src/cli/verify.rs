//! `starling verify`: do all nodes hold the same rows? Do a node's tables say what its log says?
//!
//! Nodes are compared at one position. While they move, they are asked again; a difference is narrowed down to tables, buckets of rows,
//! and keys. Must not know: how digests are made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use starling_apply::digest::Report;

use super::client::{Key, Lines, Node, block_on, encode};
use super::replay::{on_connect, open_engine, open_log, progress};
use super::{Outcome, complain, print_json};
use crate::config::DEFAULT_HTTP_ADDR;
use crate::http::state::{against_log, differing_tables};

const AGAIN: Duration = Duration::from_millis(200);
/// Keys named for one table, at most.
const KEYS_MAX: usize = 20;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// HTTP addresses of the nodes to compare; of one node: all members it knows
    #[arg(long, env = "STARLING_HTTP_ADDR", value_name = "A[,B…]", value_delimiter = ',', default_value = DEFAULT_HTTP_ADDR)]
    http_addr: Vec<String>,
    /// Compare one node's tables with a fresh fold of its own log
    #[arg(long)]
    against_log: bool,
    /// With --against-log: the data directory of a node that is not running
    #[arg(long, value_name = "DIR", requires = "against_log")]
    data_dir: Option<PathBuf>,
    /// Repair what differs
    #[arg(long)]
    repair: bool,
    /// How long to wait for moving nodes to meet at one position
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    #[command(flatten)]
    key: Key,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// A row that is not the same everywhere.
struct Difference {
    db: String,
    table: String,
    keys: Vec<String>,
    /// Between whom.
    nodes: String,
}

pub fn run(flags: &Flags) -> Outcome {
    if flags.repair {
        complain("--repair is not there yet: delete the SQLite files of the node that is wrong, and start it again");
        return Outcome::BadUsage;
    }
    match (&flags.data_dir, flags.against_log) {
        (Some(dir), _) => offline(flags, dir),
        (None, true) => block_on(fold_of_node(flags)),
        (None, false) => block_on(between_nodes(flags)),
    }
}

fn offline(flags: &Flags, dir: &std::path::Path) -> Outcome {
    let compared = open_log(dir).and_then(|log| {
        let engine = open_engine(&log, &dir.join("db"))?;
        let compared = against_log(&engine, &dir.join("verify"), on_connect(), progress("folding the log"));
        engine.close();
        compared
    });
    match compared {
        Ok(result) => tell_fold(flags, &result, &dir.display().to_string()),
        Err(error) => {
            complain(error);
            Outcome::Failed
        }
    }
}

async fn fold_of_node(flags: &Flags) -> Result<Outcome, String> {
    let addr = flags.http_addr.first().map_or(DEFAULT_HTTP_ADDR, String::as_str);
    let node = Node::new(addr, &flags.key)?;
    let mut lines = Lines::new(node.send(reqwest::Method::POST, "/v1/state/verify").await?);
    let mut told = Instant::now();
    while let Some(line) = lines.next().await? {
        let value: Value = serde_json::from_str(&line).map_err(|e| format!("{addr}: {e}"))?;
        if value.get("equal").is_some() {
            return Ok(tell_fold(flags, &value, addr));
        }
        if let Some(message) = value["message"].as_str() {
            return Err(format!("{addr}: {message}"));
        }
        if told.elapsed() > Duration::from_millis(500) {
            told = Instant::now();
            eprintln!("folding the log: {} of {} entries", value["done"], value["all"]);
        }
    }
    Err(format!("{addr} broke off"))
}

fn tell_fold(flags: &Flags, result: &Value, node: &str) -> Outcome {
    let equal = result["equal"] == Value::Bool(true);
    if flags.json {
        print_json(result);
    } else if equal {
        println!("equal: {} tables of {node} are what its log says", result["tables"]);
    } else {
        for item in result["differences"].as_array().into_iter().flatten() {
            let keys: Vec<&str> = item["keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .take(KEYS_MAX)
                .collect();
            let (db, table) = (item["db"].as_str().unwrap_or("?"), item["table"].as_str().unwrap_or("?"));
            println!("different: {db}.{table} of {node} is not what its log says, {}", keys_text(&keys));
        }
    }
    if equal { Outcome::Done } else { Outcome::Failed }
}

fn keys_text<S: AsRef<str>>(keys: &[S]) -> String {
    match keys {
        [] => "as a whole".to_owned(),
        keys => format!("key {}", keys.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")),
    }
}

/// The nodes to compare: those named, or all members of the one that is named.
async fn nodes(flags: &Flags) -> Result<Vec<Node>, String> {
    let named = flags
        .http_addr
        .iter()
        .map(|addr| Node::new(addr, &flags.key))
        .collect::<Result<Vec<_>, _>>()?;
    let [one] = named.as_slice() else {
        return Ok(named);
    };
    let members = one.get("/v1/members").await?;
    let addrs: Vec<&str> = members["members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|m| m["http_addr"].as_str())
        .collect();
    if addrs.len() < 2 {
        return Err("this cluster has one member: there is nothing to compare it with (see --against-log)".to_owned());
    }
    addrs.iter().map(|addr| Node::new(addr, &flags.key)).collect()
}

async fn between_nodes(flags: &Flags) -> Result<Outcome, String> {
    let nodes = nodes(flags).await?;
    let deadline = Instant::now() + Duration::from_secs(flags.timeout);
    let mut rounds = 0u32;
    let (reports, differences) = loop {
        rounds += 1;
        let reports = reports(&nodes).await?;
        if reports.windows(2).all(|pair| pair[0].at == pair[1].at) {
            match narrow(&nodes, &reports).await? {
                Some(differences) => break (reports, differences),
                None => eprintln!("the nodes moved on; asking again"),
            }
        } else if rounds % 10 == 1 {
            eprintln!("the nodes are not at one position yet; asking again");
        }
        if Instant::now() > deadline {
            return Err(format!(
                "the nodes did not come to one position within {} s; stop the writes, or raise --timeout",
                flags.timeout
            ));
        }
        tokio::time::sleep(AGAIN).await;
    };
    Ok(tell(flags, &nodes, &reports, &differences))
}

async fn reports(nodes: &[Node]) -> Result<Vec<Report>, String> {
    let asked = nodes.iter().map(|node| async move {
        let value = node.get("/v1/state/merkle").await?;
        serde_json::from_value::<Report>(value).map_err(|e| format!("{}: {e}", node.addr))
    });
    futures::future::join_all(asked).await.into_iter().collect()
}

/// What differs between the first node and each other; `None`: they moved meanwhile.
async fn narrow(nodes: &[Node], reports: &[Report]) -> Result<Option<Vec<Difference>>, String> {
    let mut differences = Vec::new();
    let (Some(first), Some(first_report)) = (nodes.first(), reports.first()) else {
        return Ok(Some(differences));
    };
    for (node, report) in nodes.iter().zip(reports).skip(1) {
        for (db, table) in differing_tables(first_report, report) {
            let both = [first_report, report]
                .iter()
                .all(|r| r.tables.iter().any(|t| t.db == db && t.table == table));
            let keys = if both {
                match keys(first, node, &db, &table).await? {
                    Some(keys) => keys,
                    None => return Ok(None),
                }
            } else {
                Vec::new()
            };
            differences.push(Difference {
                db,
                table,
                keys,
                nodes: format!("{} and {}", first.addr, node.addr),
            });
        }
    }
    Ok(Some(differences))
}

/// Keys whose rows differ between two nodes; `None`: they moved meanwhile, or differ no more.
async fn keys(a: &Node, b: &Node, db: &str, table: &str) -> Result<Option<Vec<String>>, String> {
    let path = format!("/v1/state/merkle?db={}&table={}", encode(db), encode(table));
    let (of_a, of_b) = (a.get(&path).await?, b.get(&path).await?);
    if of_a["at"] != of_b["at"] {
        return Ok(None);
    }
    let sums = |value: &Value| value["buckets"].as_array().cloned().unwrap_or_default();
    let different: Vec<usize> = sums(&of_a)
        .iter()
        .zip(sums(&of_b))
        .enumerate()
        .filter(|(_, (x, y))| *x != y)
        .map(|(i, _)| i)
        .collect();
    let mut keys = BTreeSet::new();
    for bucket in different {
        let path = format!("{path}&bucket={bucket}");
        let (of_a, of_b) = (a.get(&path).await?, b.get(&path).await?);
        if of_a["at"] != of_b["at"] {
            return Ok(None);
        }
        keys.extend(differing_keys(&rows(&of_a), &rows(&of_b)));
        if keys.len() >= KEYS_MAX {
            break;
        }
    }
    if keys.is_empty() {
        Ok(None)
    } else {
        Ok(Some(keys.into_iter().take(KEYS_MAX).collect()))
    }
}

fn rows(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value::<Vec<(String, String)>>(value["rows"].clone())
        .unwrap_or_default()
        .into_iter()
        .collect()
}

fn differing_keys(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> BTreeSet<String> {
    let one_way = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| -> Vec<String> {
        a.iter().filter(|(k, v)| b.get(*k) != Some(v)).map(|(k, _)| k.clone()).collect()
    };
    one_way(a, b).into_iter().chain(one_way(b, a)).collect()
}

fn tell(flags: &Flags, nodes: &[Node], reports: &[Report], differences: &[Difference]) -> Outcome {
    let (tables, rows) = reports
        .first()
        .map_or((0, 0), |r| (r.tables.len(), r.tables.iter().map(|t| t.rows).sum::<u64>()));
    let equal = differences.is_empty();
    if flags.json {
        let list: Vec<Value> = differences
            .iter()
            .map(|d| json!({"db": d.db, "table": d.table, "keys": d.keys, "nodes": d.nodes}))
            .collect();
        let at = reports.first().map(|r| r.at.clone());
        let addrs: Vec<&str> = nodes.iter().map(|n| n.addr.as_str()).collect();
        print_json(&json!({"equal": equal, "nodes": addrs, "at": at, "tables": tables, "rows": rows, "differences": list}));
    } else if equal {
        println!("equal: {} nodes, {tables} tables, {rows} rows", nodes.len());
    } else {
        for d in differences {
            println!("different: {}.{} between {}, {}", d.db, d.table, d.nodes, keys_text(&d.keys));
        }
    }
    if equal { Outcome::Done } else { Outcome::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_hash_or_absence() {
        let map = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let found = differing_keys(
            &map(&[("1", "a"), ("2", "b"), ("3", "c")]),
            &map(&[("1", "a"), ("2", "x"), ("4", "d")]),
        );
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["2", "3", "4"]);
    }

    #[test]
    fn differences_name_their_keys() {
        assert_eq!(keys_text(&["1", "2"]), "key 1, 2");
        assert_eq!(keys_text::<&str>(&[]), "as a whole");
    }
}
