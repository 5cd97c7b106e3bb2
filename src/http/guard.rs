//! Who may ask: users by loopback or bearer token, nodes by keyed requests.
//!
//! Promises: a request from another machine is answered only with a token derived from the cluster's secret, or a key; without a
//! secret only loopback is answered. A browser on this machine that was sent here by some web page counts as another machine.
//! Must not know: what is asked.

use std::net::{IpAddr, SocketAddr};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::Failure;
use crate::cluster::client::REMOVED;
use crate::cluster::keyed::{
    Answer, Ask, HEADER_CHALLENGE, HEADER_CLUSTER, HEADER_MAC, HEADER_NODE, HEADER_NONCE, HEADER_PROOF, NO_CLUSTER, Refusal, Scope, Secret,
    Signed,
};
use crate::cluster::members::Id;

/// The body of a keyed request.
const BODY_MAX: usize = 1 << 20;

/// A user with this much right: an extractor for handlers.
pub struct Reader;
pub struct Admin;

impl FromRequestParts<App> for Reader {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Reader, Failure> {
        allow(parts, app, Scope::Read).map(|()| Reader)
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Admin, Failure> {
        allow(parts, app, Scope::Admin).map(|()| Admin)
    }
}

fn allow(parts: &Parts, app: &App, scope: Scope) -> Result<(), Failure> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
    let hint = app.cluster.own_hint();
    let own = [hint.addr.rsplit_once(':').map_or("", |(host, _)| host), &hint.name];
    judge(peer, &parts.headers, &own, app.cluster.secret(), scope)
}

/// May somebody at `peer` with these headers do what needs `scope`? `own`: names of this machine.
fn judge(peer: Option<IpAddr>, headers: &HeaderMap, own: &[&str], secret: Option<&Secret>, scope: Scope) -> Result<(), Failure> {
    let local = peer.is_some_and(|ip| ip.to_canonical().is_loopback());
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(given) = text(AUTHORIZATION) {
        // Who shows a token is judged by it, wherever it comes from.
        let token = given
            .strip_prefix("Bearer ")
            .or_else(|| given.strip_prefix("bearer "))
            .unwrap_or("");
        return match secret.and_then(|s| s.scope_of(token.trim())) {
            Some(held) if held >= scope => Ok(()),
            Some(_) => Err(Failure::new(403, "scope", "this token may only read; see 'starling token --admin'")),
            None => Err(Failure::new(
                401,
                "token",
                "this token is not of this cluster; see 'starling token'",
            )),
        };
    }
    let forwarded = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
    // A page of another site may send a browser here, by name (rebinding) or with its own origin.
    let lured = headers.contains_key(ORIGIN) || text(HOST).is_some_and(|host| !is_plain_host(host, own));
    match (local && !forwarded && !lured, secret) {
        (true, _) => Ok(()),
        (false, Some(_)) => Err(Failure::new(
            401,
            "token",
            "from elsewhere a bearer token is needed; see 'starling token'",
        )),
        (false, None) => Err(Failure::new(
            403,
            "no_secret",
            "without a cluster secret this port answers only on loopback",
        )),
    }
}

/// `localhost`, an address or a name of this machine, with or without a port.
fn is_plain_host(host: &str, own: &[&str]) -> bool {
    let bare = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    let named = own.iter().any(|name| !name.is_empty() && bare.eq_ignore_ascii_case(name));
    named || bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// A request of another node that proved to know the secret.
pub struct Keyed {
    pub node: Id,
    pub body: Bytes,
    pub query: String,
    nonce: String,
}

/// Does another node ask, and not a user?
pub fn is_keyed(request: &Request) -> bool {
    request.headers().contains_key(HEADER_MAC)
}

/// Checks a keyed request. `Err` is the answer to send.
pub async fn keyed(app: &App, request: Request, any_cluster: bool) -> Result<Keyed, Response> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0);
    let Some(secret) = app.cluster.secret() else {
        return Err(Failure::new(
            403,
            "no_secret",
            "this node has no cluster secret: it takes no requests of other nodes",
        )
        .into_response());
    };
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let Some(signed) = signed(&parts.headers) else {
        return Err(Failure::new(401, "unkeyed", "this is for other nodes: keyed requests only").into_response());
    };
    let body = match axum::body::to_bytes(body, BODY_MAX).await {
        Ok(body) => body,
        Err(_) => return Err(Failure::new(413, "too_large", "the body is too large").into_response()),
    };
    let ask = Ask {
        method: parts.method.as_str(),
        path: &path,
        body: &body,
    };
    let ours = app.cluster.cluster_id().map_or_else(|| NO_CLUSTER.to_owned(), |c| c.to_string());
    let checked = app
        .cluster
        .verifier
        .check(secret, &ask, &signed, &ours, any_cluster, app.cluster.process_ms());
    let node = signed.node.parse();
    match (checked, node) {
        // Who applies for a seat is told by those who decide about it.
        (Ok(()), Ok(node)) if !any_cluster && app.cluster.is_removed(node) => {
            let why = "this node was removed from the cluster; see 'starling members allow'";
            Err(refuse(app, &signed.nonce, &Failure::new(403, REMOVED, why)))
        }
        (Ok(()), Ok(node)) => Ok(Keyed {
            node,
            body,
            query: parts.uri.query().unwrap_or("").to_owned(),
            nonce: signed.nonce,
        }),
        (Ok(()), Err(_)) => Err(Failure::bad("no identity of a node").into_response()),
        (Err(refusal), _) => {
            note(app, &refusal, peer);
            let status = if matches!(refusal, Refusal::Cluster { .. }) { 403 } else { 401 };
            Err(refuse(
                app,
                &signed.nonce,
                &Failure::new(status, refusal.word(), refusal.to_string()),
            ))
        }
    }
}

/// One log line for who knocks with the wrong key, not one per knock.
fn note(app: &App, refusal: &Refusal, peer: Option<SocketAddr>) {
    let ip = peer.map_or_else(|| "?".to_owned(), |p| p.ip().to_string());
    if !matches!(refusal, Refusal::Challenge) && app.cluster.quiet.lets(&format!("refused {} {ip}", refusal.word())) {
        tracing::warn!(from = %ip, "a node's request is refused: {refusal}");
    }
}

fn signed(headers: &HeaderMap) -> Option<Signed> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    Some(Signed {
        cluster: text(HEADER_CLUSTER)?,
        node: text(HEADER_NODE)?,
        challenge: text(HEADER_CHALLENGE)?,
        nonce: text(HEADER_NONCE)?,
        mac: text(HEADER_MAC)?,
    })
}

/// A proven answer that is an error.
pub fn refuse(app: &App, nonce: &str, failure: &Failure) -> Response {
    let body = failure.body().to_string();
    proven(app, nonce, failure.status, Bytes::from(body)).0
}

impl Keyed {
    pub fn answer(&self, app: &App, value: &impl serde::Serialize) -> Response {
        match serde_json::to_vec(value) {
            Ok(body) => proven(app, &self.nonce, 200, Bytes::from(body)).0,
            Err(error) => self.refuse(app, &Failure::internal(error)),
        }
    }
    pub fn refuse(&self, app: &App, failure: &Failure) -> Response {
        refuse(app, &self.nonce, failure)
    }
    /// The head of an answer whose frames prove themselves with the key returned.
    pub fn stream(&self, app: &App) -> (axum::http::response::Builder, [u8; 32]) {
        let (response, proof) = proven(app, &self.nonce, 200, Bytes::new());
        let key = app.cluster.secret().map(|s| s.stream_key(&self.nonce, &proof)).unwrap_or_default();
        let mut builder = Response::builder().status(StatusCode::OK);
        for (name, value) in response.headers() {
            builder = builder.header(name, value);
        }
        (builder, key)
    }
}

fn proven(app: &App, nonce: &str, status: u16, body: Bytes) -> (Response, String) {
    let cluster = app.cluster.cluster_id().map_or_else(|| NO_CLUSTER.to_owned(), |c| c.to_string());
    let node = app.cluster.node_id().to_string();
    let challenge = app.cluster.verifier.challenge(app.cluster.process_ms());
    let answer = Answer {
        nonce,
        status,
        cluster: &cluster,
        node: &node,
        challenge: &challenge,
        body: &body,
    };
    let proof = app.cluster.secret().map(|s| s.prove(&answer)).unwrap_or_default();
    let response = Response::builder()
        .status(status)
        .header(HEADER_CLUSTER, &cluster)
        .header(HEADER_NODE, &node)
        .header(HEADER_CHALLENGE, &challenge)
        .header(HEADER_PROOF, &proof)
        .body(Body::from(body));
    (response.unwrap_or_else(|e| Failure::internal(e).into_response()), proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect()
    }

    fn status(ip: &str, list: &[(&'static str, &str)], secret: Option<&Secret>, scope: Scope) -> u16 {
        judge(Some(ip.parse().unwrap()), &headers(list), &["myhost"], secret, scope).map_or_else(|f| f.status, |()| 200)
    }

    #[test]
    fn loopback_needs_nothing_others_a_token() {
        let secret = Secret::new("s");
        for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(status(ip, &[("host", "localhost:8080")], None, Scope::Admin), 200);
        }
        assert_eq!(status("10.0.0.1", &[], None, Scope::Read), 403);
        assert_eq!(status("10.0.0.1", &[], Some(&secret), Scope::Read), 401);
        let bearer = |scope| format!("Bearer {}", secret.token(scope));
        let (read, admin) = (bearer(Scope::Read), bearer(Scope::Admin));
        assert_eq!(status("10.0.0.1", &[("authorization", &read)], Some(&secret), Scope::Read), 200);
        assert_eq!(status("10.0.0.1", &[("authorization", &read)], Some(&secret), Scope::Admin), 403);
        assert_eq!(status("10.0.0.1", &[("authorization", &admin)], Some(&secret), Scope::Admin), 200);
        assert_eq!(
            status("10.0.0.1", &[("authorization", "Bearer s")], Some(&secret), Scope::Read),
            401
        );
        assert_eq!(
            status("127.0.0.1", &[("authorization", "Bearer s")], Some(&secret), Scope::Read),
            401
        );
    }

    #[test]
    fn who_was_sent_by_somebody_else_is_not_at_home() {
        assert_eq!(status("127.0.0.1", &[("x-forwarded-for", "8.8.8.8")], None, Scope::Read), 403);
        assert_eq!(status("127.0.0.1", &[("host", "evil.example:8080")], None, Scope::Read), 403);
        assert_eq!(status("127.0.0.1", &[("origin", "http://evil.example")], None, Scope::Read), 403);
        assert_eq!(status("127.0.0.1", &[("host", "[::1]:8080")], None, Scope::Read), 200);
        assert_eq!(status("127.0.0.1", &[("host", "MyHost:8080")], None, Scope::Read), 200);
        assert_eq!(status("127.0.0.1", &[("host", "127.0.0.1")], None, Scope::Read), 200);
    }
}
