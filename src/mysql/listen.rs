//! Accepting clients: one task for each, at most `max_connections` of them.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::auth::sha2;
use crate::sql::Server;
use crate::sql::error::SqlError;

use super::connection;
use super::packet::PacketWriter;
use super::rows::put_error;

/// How long a shutdown waits for statements that run.
const DRAIN: Duration = Duration::from_secs(10);

/// What all connections share.
pub struct Shared {
    pub server: Arc<Server>,
    pub sha2: sha2::Cache,
    open: AtomicUsize,
}

/// Accepts clients on `listener` until `shutdown` turns true, then lets running statements end.
pub fn serve(listener: TcpListener, server: Arc<Server>, shutdown: watch::Receiver<bool>) -> JoinHandle<()> {
    let shared = Arc::new(Shared {
        server,
        sha2: sha2::Cache::default(),
        open: AtomicUsize::new(0),
    });
    tokio::spawn(accept_loop(listener, shared, shutdown))
}

async fn accept_loop(listener: TcpListener, shared: Arc<Shared>, mut shutdown: watch::Receiver<bool>) {
    let for_clients = shutdown.clone();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(stream, &shared, &for_clients, &mut tasks).await,
                // Out of descriptors: the open connections will give some back.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => report(ended),
            () = stopped(&mut shutdown) => break,
        }
    }
    drop(listener);
    // Who waits for a lock would wait longer than there is time.
    shared.server.registry.end_waits();
    let drained = tokio::time::timeout(DRAIN, async {
        while let Some(ended) = tasks.join_next().await {
            report(ended)
        }
    })
    .await;
    if drained.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "closing connections whose statements did not end in time"
        );
    }
}

/// Resolves when the server stops.
pub async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // A sender that is gone stops it, too.
    let _ = shutdown.wait_for(|down| *down).await.map(|_| ());
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; only that connection ended");
    }
}

async fn admit(mut stream: TcpStream, shared: &Arc<Shared>, shutdown: &watch::Receiver<bool>, tasks: &mut JoinSet<()>) {
    let Ok(peer) = stream.peer_addr() else { return };
    let _ = stream.set_nodelay(true);
    if shared.open.fetch_add(1, Ordering::Relaxed) >= shared.server.max_connections() {
        shared.open.fetch_sub(1, Ordering::Relaxed);
        let mut out = PacketWriter::default();
        put_error(&mut out, &SqlError::new(1040, "Too many connections"));
        // A fresh socket's buffer takes these few bytes at once.
        let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(out.bytes())).await;
        return;
    }
    let slot = Slot(shared.clone());
    let (shared, shutdown) = (shared.clone(), shutdown.clone());
    tasks.spawn(async move {
        let _slot = slot;
        let gone = is_gone(&stream);
        connection::run(stream, peer.ip(), shared, shutdown, gone).await;
    });
}

/// Tells whether the client has closed its side. Asked only while the connection's task holds the stream.
fn is_gone(stream: &TcpStream) -> impl Fn() -> bool + Send + Sync + 'static {
    let fd = stream.as_raw_fd();
    move || {
        let mut byte = 0_u8;
        // SAFETY: one byte is looked at, in a buffer of one; a descriptor that is closed is an error, not undefined.
        let seen = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
        seen == 0
    }
}

/// An open connection's place; given back however its task ends.
struct Slot(Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
