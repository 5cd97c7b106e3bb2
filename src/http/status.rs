//! How this node is: for people, scripts and load balancers.
//!
//! Promises: `/healthz` answers as long as the process does; `/readyz` is 200 only when the node is a member and has applied what it
//! knew of at start, and says why not. Both answer without a token (where there is a secret): they say nothing of the data.
//! Must not know: how any of it is decided.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use starling_log::VersionVector;

use super::App;
use super::error::{Failure, Query};
use super::guard::Reader;
use crate::cluster::Cluster;
use crate::cluster::gossip::Health;
use crate::cluster::members::Standing;
use crate::cluster::propose::Seen;

/// `{"1": 42, …}`
fn vector(vector: &VersionVector) -> Value {
    Value::Object(vector.iter().map(|(o, s)| (o.to_string(), s.into())).collect())
}

pub async fn healthz(State(app): State<App>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    match open_to(&app, peer) {
        Ok(()) => Json(json!({"alive": true, "uptime_ms": app.cluster.process_ms()})).into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// Probes of a balancer cannot carry tokens; but without a secret nobody from elsewhere is answered.
fn open_to(app: &App, peer: SocketAddr) -> Result<(), Failure> {
    if peer.ip().to_canonical().is_loopback() || app.cluster.secret().is_some() {
        return Ok(());
    }
    Err(Failure::new(
        403,
        "no_secret",
        "without a cluster secret this port answers only on loopback",
    ))
}

/// Why the node is not ready, if so. `max_lag`: how far behind live peers it may be.
pub fn unready(app: &App, max_lag: Option<Duration>) -> Option<String> {
    let cluster = &app.cluster;
    if let Some(why) = cluster.log().poisoned() {
        return Some(format!("the log is poisoned: {why}; restart the node"));
    }
    let Some(engine) = cluster.engine() else {
        let (done, all) = app.progress.get();
        return Some(if all > 0 {
            format!("rebuilding: {done} of {all} entries")
        } else if cluster.cluster_id().is_none() {
            "joining: not admitted yet".to_owned()
        } else {
            "starting".to_owned()
        });
    };
    let identity = cluster.identity();
    let view = cluster.view();
    if identity.removed {
        return Some("removed from the cluster; see 'starling members allow'".to_owned());
    }
    if identity.lost.is_none() && view.members.by_identity(identity.node).is_none() {
        return Some("joining: replaying the log".to_owned());
    }
    let (applied, target) = (engine.applied(), cluster.target());
    if !applied.covers(&target) {
        let missing: u64 = target.iter().map(|(o, s)| s.saturating_sub(applied.get(o))).sum();
        return Some(format!("catching up: {missing} entries to go"));
    }
    if !app.progress.serves() {
        return Some("starting: MySQL clients are let in next".to_owned());
    }
    let me = view.members.by_identity(identity.node);
    if me.is_some_and(|m| view.members.standing(m) == Standing::Joining && m.closed.is_empty()) {
        return Some("joining: caught up, waiting for its vote".to_owned());
    }
    let max_lag = max_lag?;
    if view.members.voters().len() < 2 {
        return None;
    }
    match cluster.peers().lag(Instant::now()) {
        None => Some("no peer is connected: the lag is unknown".to_owned()),
        Some(lag) if lag > max_lag => Some(format!("behind for {} ms", lag.as_millis())),
        Some(_) => None,
    }
}

/// Members with whom this node can make a quorum, and whether that is one.
fn quorum(cluster: &Cluster) -> (usize, usize) {
    let view = cluster.view();
    let connected = cluster.connected();
    let there = |id| id == cluster.node_id() || (connected.contains(&id) && cluster.health(id) != Health::Down);
    let voters = view.members.voters();
    voters
        .into_iter()
        .fold((0, 0), |(present, all), m| (present + usize::from(there(m.identity)), all + 1))
}

pub async fn readyz(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    open_to(&app, peer)?;
    let max_lag = Query::parse(query.as_deref(), &["max_lag_ms"])?
        .number("max_lag_ms")?
        .map(Duration::from_millis);
    let why = unready(&app, max_lag);
    let writable = app.cluster.may_write();
    let (present, members) = quorum(&app.cluster);
    let body = json!({
        "ready": why.is_none(),
        "why": why,
        "writable": writable.is_ok(),
        "why_not_writable": writable.err(),
        "quorum": members > 0 && present * 2 > members,
        "members": members,
        "present": present,
    });
    let status = if why.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok((status, Json(body)).into_response())
}

pub async fn status(_: Reader, State(app): State<App>) -> Json<Value> {
    Json(describe(&app))
}

/// Everything there is to say about this node.
pub fn describe(app: &App) -> Value {
    let cluster = &app.cluster;
    let log = cluster.log();
    let identity = cluster.identity();
    let engine = cluster.engine();
    let writable = cluster.may_write();
    let (waiting, first) = engine.map_or((0, None), |e| e.held());
    let (done, all) = app.progress.get();
    let why = unready(app, None);
    json!({
        "node": {
            "name": cluster.node_name(),
            "identity": identity.node,
            "member": identity.member,
            "origins": identity.origins,
            "founder": identity.is_founder(),
            "http_addr": identity.addr,
            "mysql_addr": app.mysql_addr.to_string(),
            "data_dir": app.data_dir.display().to_string(),
            "pid": std::process::id(),
        },
        "cluster": identity.cluster,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": cluster.process_ms(),
        "ready": why.is_none(),
        "why_not_ready": why,
        "writable": writable.is_ok(),
        "why_not_writable": writable.err(),
        "progress": if all > done { json!({"done": done, "all": all}) } else { Value::Null },
        "log": {
            "held": vector(&log.held()),
            "pruned": vector(&log.pruned()),
            "flushes": log.flush_number(),
            "disk_bytes": log.disk_bytes(),
            "poisoned": log.poisoned(),
            "clock_ms": log.clock().now_ms(),
        },
        "applied": engine.map(|e| vector(&e.applied())),
        "catalog_version": engine.map(|e| e.catalog().version),
        "waiting": {"entries": waiting, "why": first},
        "feeds": app.feeds.count(),
        "members": list(cluster),
    })
}

pub async fn members(_: Reader, State(app): State<App>) -> Json<Value> {
    let cluster = &app.cluster;
    Json(json!({"cluster": cluster.cluster_id(), "epoch": cluster.view().members.epoch().number, "members": list(cluster)}))
}

fn list(cluster: &Cluster) -> Vec<Value> {
    let now = Instant::now();
    let one = |seen: Seen| {
        let member = &seen.member;
        let behind = seen.peer.as_ref().and_then(|p| p.behind_since);
        json!({
            "id": member.member,
            "name": member.name,
            "identity": member.identity,
            "state": seen.state(),
            "membership": seen.standing,
            "health": seen.health,
            "http_addr": seen.http_addr,
            "mysql_addr": member.mysql_addr,
            "origins": member.origins,
            "closed_origins": member.closed,
            "founder": member.member == 1,
            "self": seen.me,
            "held": vector(&seen.held),
            "applied": vector(&seen.applied),
            "lag_entries": seen.lag,
            "clock_offset_ms": seen.peer.as_ref().and_then(|p| p.offset.offset_ms()),
            "heard_ms_ago": seen.heard_ms_ago(now),
            "behind_ms": seen.peer.as_ref().map(|_| behind.map_or(0, |since| now.duration_since(since).as_millis() as u64)),
        })
    };
    cluster.seen().into_iter().map(one).collect()
}
