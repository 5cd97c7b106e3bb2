//! What other nodes ask: streams, ranges, places, Merkle nodes, admission. Keyed requests only.
//!
//! Must not know: what is done with the answers.

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::json;
use starling_log::{Cursor, Origin};

use super::App;
use super::error::{Failure, Query};
use super::guard::{Admin, Keyed, is_keyed, keyed};
use crate::cluster::admission::Applicant;
use crate::cluster::admit::AdmitError;
use crate::cluster::client::REMOVED;
use crate::cluster::peers::Hint;
use crate::cluster::propose::Action;
use crate::cluster::stream;

/// Bytes in one answer to a range, at most.
const RANGE_MAX: u64 = 32 << 20;
/// Merkle nodes in one answer, at most.
const NODES_MAX: u64 = 4096;

/// `GET /v1/log/stream?after=CURSOR&addr=…&version=…`
pub async fn stream(State(app): State<App>, request: Request) -> Response {
    let asked = match keyed(&app, request, false).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let parse = || -> Result<Cursor, Failure> {
        let query = Query::parse(Some(&asked.query), &["after", "addr", "version"])?;
        learn(&app, &asked, &query)?;
        let after = query.get("after").unwrap_or("");
        after.parse().map_err(|e| Failure::bad(format!("after: {e}")))
    };
    let after = match parse() {
        Ok(after) => after,
        Err(failure) => return asked.refuse(&app, &failure),
    };
    let (head, key) = asked.stream(&app);
    let frames = stream::stream(app.cluster.clone(), asked.node, after.vector, key);
    head.body(Body::from_stream(frames))
        .unwrap_or_else(|e| Failure::internal(e).into_response())
}

/// A follower says where it is to be reached: so it is followed in turn.
fn learn(app: &App, asked: &Keyed, query: &Query) -> Result<(), Failure> {
    let Some(addr) = query.get("addr").filter(|a| !a.is_empty()) else {
        return Ok(());
    };
    let hint = Hint {
        identity: asked.node,
        name: String::new(),
        addr: addr.to_owned(),
        mysql_addr: String::new(),
        version: query.number("version")?.unwrap_or(0),
    };
    if app.cluster.peers.learn(&[hint], app.cluster.node_id()) {
        app.cluster.peers_changed.notify_waiters();
        // Durable: after a restart this node has to know whom to ask. A disk write is nothing for a runtime's worker.
        let cluster = app.cluster.clone();
        tokio::task::spawn_blocking(move || cluster.remember_hints());
    }
    Ok(())
}

/// `GET /v1/log/ranges?origin=&from=&max_bytes=`
pub async fn ranges(State(app): State<App>, request: Request) -> Response {
    let asked = match keyed(&app, request, false).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let parse = || -> Result<(Origin, u64, u64), Failure> {
        let query = Query::parse(Some(&asked.query), &["origin", "from", "max_bytes"])?;
        let origin = query.number("origin")?.and_then(|o| Origin::try_from(o).ok());
        let origin = origin.ok_or_else(|| Failure::bad("origin: a number of an origin is needed"))?;
        Ok((
            origin,
            query.number("from")?.unwrap_or(1),
            query.number("max_bytes")?.unwrap_or(RANGE_MAX).min(RANGE_MAX),
        ))
    };
    let (origin, from, max_bytes) = match parse() {
        Ok(parsed) => parsed,
        Err(failure) => return asked.refuse(&app, &failure),
    };
    let (head, key) = asked.stream(&app);
    let cluster = app.cluster.clone();
    let max_bytes = usize::try_from(max_bytes).unwrap_or(0);
    let made = tokio::task::spawn_blocking(move || stream::range(&cluster, origin, from, max_bytes, key)).await;
    match made {
        Ok(Ok(frames)) => {
            let frames = futures::stream::iter(frames).map(Ok::<_, std::convert::Infallible>);
            head.body(Body::from_stream(frames))
                .unwrap_or_else(|e| Failure::internal(e).into_response())
        }
        Ok(Err(why)) => asked.refuse(&app, &Failure::new(410, "pruned", why)),
        Err(error) => asked.refuse(&app, &Failure::internal(error)),
    }
}

/// `POST /v1/gossip`: a datagram of the failure detector, for want of a stream.
pub async fn gossip(State(app): State<App>, request: Request) -> Response {
    match keyed(&app, request, false).await {
        Ok(asked) => {
            app.cluster.gossip().datagram(asked.body.clone());
            asked.answer(&app, &json!({}))
        }
        Err(answer) => answer,
    }
}

/// `GET /v1/log/places?origins=1,2`: what this node holds of the asker's sequences.
pub async fn places(State(app): State<App>, request: Request) -> Response {
    let asked = match keyed(&app, request, false).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let parse = || -> Result<Vec<Origin>, Failure> {
        let query = Query::parse(Some(&asked.query), &["origins"])?;
        let list = query.get("origins").unwrap_or("");
        let number = |s: &str| s.parse().map_err(|_| Failure::bad("origins: not a list of numbers"));
        list.split(',').filter(|s| !s.is_empty()).map(number).collect()
    };
    match parse() {
        Ok(origins) => asked.answer(&app, &app.cluster.places(&origins)),
        Err(failure) => asked.refuse(&app, &failure),
    }
}

/// `GET /v1/log/merkle` (roots of all origins), `?origin=&level=&from=&to=` (nodes of one tree).
pub async fn merkle(State(app): State<App>, request: Request) -> Response {
    let asked = match keyed(&app, request, false).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let query = match Query::parse(Some(&asked.query), &["origin", "level", "from", "to"]) {
        Ok(query) => query,
        Err(failure) => return asked.refuse(&app, &failure),
    };
    let log = app.cluster.log().clone();
    let made = tokio::task::spawn_blocking(move || -> Result<serde_json::Value, Failure> {
        let hex = |hash: u128| format!("{hash:032x}");
        match query.number("origin")? {
            None => {
                let mut roots = Vec::new();
                for (origin, seq) in log.held().iter() {
                    let tree = log.merkle(origin).map_err(Failure::internal)?;
                    roots.push(json!({"origin": origin, "held": seq, "root": hex(tree.root())}));
                }
                Ok(json!({ "roots": roots }))
            }
            Some(origin) => {
                let origin = Origin::try_from(origin).map_err(|_| Failure::bad("origin: no such origin"))?;
                let tree = log.merkle(origin).map_err(Failure::internal)?;
                let level = u8::try_from(query.number("level")?.unwrap_or(0)).map_err(|_| Failure::bad("level: too high"))?;
                let from = query.number("from")?.unwrap_or(0);
                let to = query.number("to")?.unwrap_or(u64::MAX).min(from.saturating_add(NODES_MAX));
                let nodes: Vec<String> = tree.nodes(level, from..to).iter().map(|h| hex(*h)).collect();
                Ok(json!({"origin": origin, "level": level, "levels": tree.levels(), "open": hex(tree.open()), "nodes": nodes}))
            }
        }
    })
    .await;
    match made {
        Ok(Ok(value)) => asked.answer(&app, &value),
        Ok(Err(failure)) => asked.refuse(&app, &failure),
        Err(error) => asked.refuse(&app, &Failure::internal(error)),
    }
}

/// `POST /v1/members/join`: from nodes that have no cluster yet, or lost entries, or forward for one of these.
pub async fn join(State(app): State<App>, request: Request) -> Response {
    let asked = match keyed(&app, request, true).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let applicant: Applicant = match serde_json::from_slice(&asked.body) {
        Ok(applicant) => applicant,
        Err(error) => return asked.refuse(&app, &Failure::bad(format!("not a request to join: {error}"))),
    };
    let forwarded = asked.query.contains("forwarded=1");
    let admitted = if forwarded && !app.cluster.is_founder() {
        Err(AdmitError::Elsewhere("this is not the founding node".to_owned()))
    } else {
        app.cluster.admit_or_forward(applicant).await
    };
    match admitted {
        Ok(welcome) => asked.answer(&app, &welcome),
        Err(error) => asked.refuse(&app, &failure(&error)),
    }
}

fn failure(error: &AdmitError) -> Failure {
    let (status, word) = match error {
        AdmitError::Refused(_) => (403, "not_joinable"),
        AdmitError::Removed(_) => (403, REMOVED),
        AdmitError::Unknown(_) => (404, "unknown"),
        AdmitError::Elsewhere(_) => (503, "founder"),
        AdmitError::NotNow(_) => (503, "not_now"),
    };
    Failure::new(status, word, error.to_string())
}

/// `POST /v1/members/{id}/remove`
pub async fn remove(State(app): State<App>, Path(who): Path<String>, request: Request) -> Response {
    change(app, who, Action::Remove, request).await
}

/// `POST /v1/members/{id}/allow`
pub async fn allow(State(app): State<App>, Path(who): Path<String>, request: Request) -> Response {
    change(app, who, Action::Allow, request).await
}

/// From an administrator, or (forwarded) from another node.
async fn change(app: App, who: String, action: Action, request: Request) -> Response {
    if !is_keyed(&request) {
        let (mut parts, _) = request.into_parts();
        if let Err(refused) = Admin::from_request_parts(&mut parts, &app).await {
            return refused.into_response();
        }
        return match app.cluster.change_member(&who, action).await {
            Ok(member) => Json(member).into_response(),
            Err(error) => failure(&error).into_response(),
        };
    }
    let asked = match keyed(&app, request, false).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    // Only the founder decides, and nobody sends it on for ever.
    let changed = if app.cluster.is_founder() {
        app.cluster.change_member(&who, action).await
    } else {
        Err(AdmitError::Elsewhere("this is not the founding node".to_owned()))
    };
    match changed {
        Ok(member) => asked.answer(&app, &member),
        Err(error) => asked.refuse(&app, &failure(&error)),
    }
}
