//! Asking a node over HTTP, for the commands that do.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{Outcome, complain};
use crate::cluster::client::root_cause;
use crate::cluster::keyed::{Scope, Secret};
use crate::config::{DEFAULT_HTTP_ADDR, host_port, secret_of};

#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
pub struct Flags {
    /// The node's HTTP address
    #[arg(long, env = "STARLING_HTTP_ADDR", value_name = "HOST:PORT", default_value = DEFAULT_HTTP_ADDR)]
    pub http_addr: String,
    #[command(flatten)]
    pub key: Key,
    /// JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// What lets a request from another machine in.
#[derive(clap::Args, Debug, Clone, Default)]
#[group(skip)]
pub struct Key {
    /// A bearer token ('starling token'); needed from another machine only
    #[arg(long, env = "STARLING_TOKEN", value_name = "T", hide_env_values = true)]
    pub token: Option<String>,
    /// Instead of a token
    #[arg(long, env = "STARLING_CLUSTER_SECRET", value_name = "S", hide_env_values = true)]
    pub cluster_secret: Option<String>,
    /// Where the secret may stand
    #[arg(long, env = "STARLING_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why a request failed, for people.
pub type Trouble = String;

pub struct Node {
    http: reqwest::Client,
    pub addr: String,
    token: Option<String>,
}

/// Runs a command's requests on a small runtime of its own.
pub fn block_on(work: impl Future<Output = Result<Outcome, Trouble>>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.to_string()),
    };
    done.unwrap_or_else(|trouble| {
        complain(trouble);
        Outcome::Failed
    })
}

impl Node {
    pub fn new(addr: &str, key: &Key) -> Result<Node, Trouble> {
        let addr = host_port("--http-addr", addr).map_err(|e| e.to_string())?;
        // The address of a server that listens everywhere: here it is this machine.
        let addr = addr.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
        let secret = secret_of(key.cluster_secret.as_ref(), key.config.as_deref()).map_err(|e| e.to_string())?;
        // Where nothing is needed nothing is sent: the node may have no secret at all.
        let local = addr.starts_with("127.") || addr.starts_with("localhost:") || addr.starts_with("[::1]:");
        let derived = secret.filter(|_| !local).map(|s| Secret::new(&s).token(Scope::Admin));
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Node {
            http,
            addr,
            token: key.token.clone().filter(|t| !t.is_empty()).or(derived),
        })
    }

    pub async fn send(&self, method: reqwest::Method, path: &str) -> Result<reqwest::Response, Trouble> {
        let mut request = self.http.request(method, format!("http://{}{path}", self.addr));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|e| format!("{} cannot be reached: {}", self.addr, root_cause(&e)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        let message = body["message"]
            .as_str()
            .map_or_else(|| format!("HTTP status {status}"), str::to_owned);
        let oldest = body["oldest"]
            .as_str()
            .map(|c| format!(" (oldest cursor: {c})"))
            .unwrap_or_default();
        Err(format!("{}: {message}{oldest}", self.addr))
    }

    /// Does it answer that all is well?
    pub async fn probe(&self, path: &str) -> bool {
        let asked = self.http.get(format!("http://{}{path}", self.addr)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    pub async fn get(&self, path: &str) -> Result<Value, Trouble> {
        let response = self.send(reqwest::Method::GET, path).await?;
        response.json().await.map_err(|e| format!("{}: {}", self.addr, root_cause(&e)))
    }
}

/// A value for a query: everything but the plainest characters is encoded.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The lines of a response as they come.
pub struct Lines {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Lines {
    pub fn new(response: reqwest::Response) -> Lines {
        Lines {
            response,
            buffer: Vec::new(),
        }
    }
    /// The next line, without its end; `None`: the response is over.
    pub async fn next(&mut self) -> Result<Option<String>, Trouble> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..=end);
                return Ok(Some(line));
            }
            match self.response.chunk().await.map_err(|e| root_cause(&e))? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
