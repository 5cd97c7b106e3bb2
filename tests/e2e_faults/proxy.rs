//! A TCP proxy in front of one node's HTTP address that does what networks do to others.
//!
//! Promises: faults are set for one follower (by the address it says of itself) or for all; what is on its way when a connection is
//! torn arrives in part. Must not know: what travels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing passes, in either direction, and nobody is told.
    Silent,
    /// Connections are closed, new ones at once.
    Cut,
    /// Half of the next piece passes, then the connection is closed; once a connection.
    Torn,
    /// Each piece takes this long.
    Delay(Duration),
    /// Bytes a second.
    Slow(usize),
}

/// Faults by follower; those under the empty name hold for everybody.
type Rules = BTreeMap<String, Fault>;

pub struct Proxy {
    pub port: u16,
    rules: watch::Sender<Rules>,
}

/// What is known of one connection.
struct Line {
    rules: watch::Receiver<Rules>,
    follower: Arc<Mutex<String>>,
}

impl Proxy {
    /// Before the node at `target`.
    pub async fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let rules = watch::Sender::new(Rules::new());
        let seen = rules.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = Line {
                    rules: seen.clone(),
                    follower: Arc::default(),
                };
                tokio::spawn(carry(client, target, line));
            }
        });
        Proxy { port, rules }
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on, for this follower's connections (empty: everybody's).
    pub fn set(&self, follower: &str, fault: Option<Fault>) {
        self.rules.send_modify(|rules| {
            match fault {
                Some(fault) => rules.insert(follower.to_owned(), fault),
                None => rules.remove(follower),
            };
        });
    }

    pub fn heal(&self) {
        self.rules.send_modify(Rules::clear);
    }
}

impl Line {
    fn fault(&self) -> Option<Fault> {
        let rules = self.rules.borrow();
        let follower = self.follower.lock().expect("no panic");
        rules.get(follower.as_str()).or_else(|| rules.get("")).copied()
    }

    /// Returns when its connection is to be closed.
    async fn until_cut(mut self) {
        while self.fault() != Some(Fault::Cut) {
            if self.rules.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn twin(&self) -> Line {
        Line {
            rules: self.rules.clone(),
            follower: self.follower.clone(),
        }
    }

    /// A follower says in its request where it is reached itself.
    fn learn(&self, piece: &[u8]) {
        let text = String::from_utf8_lossy(&piece[..piece.len().min(4096)]);
        if let Some((_, rest)) = text.split_once("addr=") {
            let addr = rest.split(['&', ' ']).next().unwrap_or_default();
            *self.follower.lock().expect("no panic") = addr.replace("%3A", ":");
        }
    }
}

async fn carry(client: TcpStream, target: u16, line: Line) {
    if line.fault() == Some(Fault::Cut) {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, line.twin(), true) => {}
        () = pump(from_server, to_client, line.twin(), false) => {}
        () = line.until_cut() => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: Line, asks: bool) {
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        let piece = match from.read(&mut buffer).await {
            Ok(count) if count > 0 => &buffer[..count],
            _ => return,
        };
        if asks {
            line.learn(piece);
        }
        while line.fault() == Some(Fault::Silent) {
            if line.rules.changed().await.is_err() {
                return;
            }
        }
        let sent = match line.fault() {
            Some(Fault::Torn) if !asks => {
                let _ = to.write_all(&piece[..piece.len() / 2]).await;
                return;
            }
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                to.write_all(piece).await
            }
            Some(Fault::Slow(rate)) => {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
                to.write_all(piece).await
            }
            _ => to.write_all(piece).await,
        };
        if sent.is_err() {
            return;
        }
    }
}
