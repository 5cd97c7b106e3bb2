//! Keyed requests to other nodes: calls with one answer, and streams of frames.
//!
//! Promises: an answer that does not prove itself is an error; a stale challenge is renewed once, silently; every call has a
//! deadline. Must not know: what is asked.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::keyed::{
    Answer, Ask, HEADER_CHALLENGE, HEADER_CLUSTER, HEADER_MAC, HEADER_NODE, HEADER_NONCE, HEADER_PROOF, NO_CLUSTER, Remembered, Secret,
};
use super::members::Id;
use super::wire::{Decoder, Frame, WireError};

/// The word with which a removed node is refused.
pub const REMOVED: &str = "removed";
const CONNECT: Duration = Duration::from_secs(2);
/// For calls that answer at once (an admission may wait for the founder's disk).
pub const CALL: Duration = Duration::from_secs(10);
/// Heartbeats come several times a second; a stream silent for this long is dead.
pub const STREAM_SILENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// Try again later.
    #[error("{addr} cannot be reached: {reason}")]
    Unreachable { addr: String, reason: String },
    /// It answered no, with a word for programs (`secret`, `cluster`, …).
    #[error("{addr} refuses: {message}")]
    Refused {
        addr: String,
        status: u16,
        word: String,
        message: String,
    },
    #[error("{addr} gave an answer that does not prove to be of this cluster")]
    Forged { addr: String },
    #[error("{addr}: {source}")]
    Frame { addr: String, source: WireError },
}

impl CallError {
    /// The node that asks was removed from the cluster.
    pub fn is_removal(&self) -> bool {
        matches!(self, CallError::Refused { word, .. } if word == REMOVED)
    }
    /// Asking again will not help before somebody changes a setting.
    pub fn is_final(&self) -> bool {
        match self {
            CallError::Refused { word, .. } => matches!(word.as_str(), "secret" | "cluster" | "no_secret" | "not_joinable" | "unkeyed"),
            CallError::Forged { .. } => true,
            CallError::Unreachable { .. } | CallError::Frame { .. } => false,
        }
    }
}

pub struct Client {
    http: reqwest::Client,
    secret: Secret,
    node: Id,
    cluster: RwLock<String>,
    remembered: Mutex<HashMap<String, Remembered>>,
    started: Instant,
}

/// A proven answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Who answered.
    pub node: Id,
    pub cluster: String,
    pub body: Bytes,
}

impl Client {
    pub fn new(secret: Secret, node: Id, cluster: Option<Id>) -> Result<Client, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .build()?;
        Ok(Client {
            http,
            secret,
            node,
            cluster: RwLock::new(cluster.map_or_else(|| NO_CLUSTER.to_owned(), |c| c.to_string())),
            remembered: Mutex::new(HashMap::new()),
            started: Instant::now(),
        })
    }

    pub fn set_cluster(&self, cluster: Id) {
        *self.cluster.write() = cluster.to_string();
    }

    pub async fn get(&self, addr: &str, path: &str) -> Result<Reply, CallError> {
        self.call(addr, "GET", path, Bytes::new()).await
    }

    pub async fn post(&self, addr: &str, path: &str, body: impl Into<Bytes>) -> Result<Reply, CallError> {
        self.call(addr, "POST", path, body.into()).await
    }

    async fn call(&self, addr: &str, method: &'static str, path: &str, body: Bytes) -> Result<Reply, CallError> {
        let answer = tokio::time::timeout(CALL, self.exchange(addr, method, path, &body, false)).await;
        let (answer, _) = answer.map_err(|_| unreachable(addr, "no answer in time"))??;
        match answer {
            Answered::Whole(reply) => Ok(reply),
            Answered::Stream(..) => Err(CallError::Forged { addr: addr.to_owned() }),
        }
    }

    /// Opens a stream of frames.
    pub async fn open(&self, addr: &str, path: &str) -> Result<Frames, CallError> {
        let opened = tokio::time::timeout(CALL, self.exchange(addr, "GET", path, &Bytes::new(), true)).await;
        let (answer, key) = opened.map_err(|_| unreachable(addr, "no answer in time"))??;
        match answer {
            Answered::Stream(node, response) => Ok(Frames {
                addr: addr.to_owned(),
                node,
                response: *response,
                decoder: Decoder::new(key),
            }),
            Answered::Whole(_) => Err(CallError::Forged { addr: addr.to_owned() }),
        }
    }

    async fn exchange(
        &self,
        addr: &str,
        method: &'static str,
        path: &str,
        body: &Bytes,
        stream: bool,
    ) -> Result<(Answered, [u8; 32]), CallError> {
        for attempt in 0..2 {
            match self.attempt(addr, method, path, body, stream).await {
                Err(CallError::Refused { word, .. }) if word == "challenge" && attempt == 0 => {}
                other => return other,
            }
        }
        Err(unreachable(addr, "it renews its challenge without end"))
    }

    async fn attempt(
        &self,
        addr: &str,
        method: &'static str,
        path: &str,
        body: &Bytes,
        stream: bool,
    ) -> Result<(Answered, [u8; 32]), CallError> {
        let cluster = self.cluster.read().clone();
        let challenge = match self.remembered.lock().get(addr) {
            Some(remembered) => remembered.challenge(self.now_ms()),
            None => "-".to_owned(),
        };
        let ask = Ask { method, path, body };
        let signed = self.secret.sign(&ask, &cluster, &self.node.to_string(), &challenge);
        let url = format!("http://{addr}{path}");
        let request = match method {
            "POST" => self.http.post(url).body(body.clone()),
            _ => self.http.get(url),
        };
        let response = request
            .header(HEADER_CLUSTER, &signed.cluster)
            .header(HEADER_NODE, &signed.node)
            .header(HEADER_CHALLENGE, &signed.challenge)
            .header(HEADER_NONCE, &signed.nonce)
            .header(HEADER_MAC, &signed.mac)
            .send()
            .await
            .map_err(|e| unreachable(addr, &root_cause(&e)))?;
        self.take(addr, &signed.nonce, response, stream).await
    }

    /// Checks the proof and sorts the answer.
    async fn take(&self, addr: &str, nonce: &str, response: reqwest::Response, stream: bool) -> Result<(Answered, [u8; 32]), CallError> {
        let forged = || CallError::Forged { addr: addr.to_owned() };
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let (proof, node, cluster, challenge) = (
            header(HEADER_PROOF),
            header(HEADER_NODE),
            header(HEADER_CLUSTER),
            header(HEADER_CHALLENGE),
        );
        let streaming = stream && status == 200;
        let (body, response) = if streaming {
            (Bytes::new(), Some(response))
        } else {
            (response.bytes().await.map_err(|e| unreachable(addr, &root_cause(&e)))?, None)
        };
        let proven = self.secret.proves(
            &Answer {
                nonce,
                status,
                cluster: &cluster,
                node: &node,
                challenge: &challenge,
                body: &body,
            },
            &proof,
        );
        if !proven {
            // Somebody with another secret cannot prove anything, but a plain no is worth showing.
            return Err(if status == 200 { forged() } else { refused(addr, status, &body) });
        }
        if let Some(remembered) = Remembered::from_challenge(&challenge, self.now_ms()) {
            self.remembered.lock().insert(addr.to_owned(), remembered);
        }
        if status != 200 {
            return Err(refused(addr, status, &body));
        }
        let node: Id = node.parse().map_err(|_| forged())?;
        let key = self.secret.stream_key(nonce, &proof);
        Ok(match response {
            Some(response) => (Answered::Stream(node, Box::new(response)), key),
            None => (Answered::Whole(Reply { node, cluster, body }), key),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

enum Answered {
    Whole(Reply),
    Stream(Id, Box<reqwest::Response>),
}

fn unreachable(addr: &str, reason: &str) -> CallError {
    CallError::Unreachable {
        addr: addr.to_owned(),
        reason: reason.to_owned(),
    }
}

fn refused(addr: &str, status: u16, body: &[u8]) -> CallError {
    #[derive(serde::Deserialize)]
    struct Said {
        error: String,
        message: String,
    }
    let said = serde_json::from_slice::<Said>(body).unwrap_or_else(|_| Said {
        error: "http".to_owned(),
        message: format!("it answers with HTTP status {status}"),
    });
    CallError::Refused {
        addr: addr.to_owned(),
        status,
        word: said.error,
        message: said.message,
    }
}

/// The innermost reason: "connection refused" says more than "error sending request".
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The frames of an open stream.
pub struct Frames {
    addr: String,
    /// Who speaks.
    pub node: Id,
    response: reqwest::Response,
    decoder: Decoder,
}

impl Frames {
    /// The next frame; `None`: the stream was cut.
    pub async fn next(&mut self) -> Result<Option<Frame>, CallError> {
        loop {
            let frame = self.decoder.take().map_err(|source| CallError::Frame {
                addr: self.addr.clone(),
                source,
            })?;
            if frame.is_some() {
                return Ok(frame);
            }
            let chunk = tokio::time::timeout(STREAM_SILENCE, self.response.chunk())
                .await
                .map_err(|_| unreachable(&self.addr, "its stream is silent"))?
                .map_err(|e| unreachable(&self.addr, &root_cause(&e)))?;
            match chunk {
                Some(chunk) => self.decoder.push(&chunk),
                None => return Ok(None),
            }
        }
    }
}
