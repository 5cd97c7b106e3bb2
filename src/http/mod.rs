//! The HTTP face: change feeds, the streams between nodes, status, metrics.
//!
//! Promises: every answer that is an error is JSON with a word for programs and a sentence for people; from other machines
//! nothing is answered without a token or a key, and without a cluster secret nothing at all; endless answers are pulled by the
//! reader and end at shutdown. Must not know: SQL, MySQL's packets.
//!
//! Reading order: [`guard`] (who may ask) → [`changes`] (the feed) → [`peers`] (between nodes) → [`state`] (digests) →
//! [`status`], [`metrics`].

pub mod changes;
pub mod error;
pub mod guard;
pub mod metrics;
pub mod page;
pub mod peers;
pub mod state;
pub mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::Router;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::cluster::Cluster;

use error::Failure;

/// Requests being worked on at once (an open feed or stream is not one of them); others wait.
const HANDLERS_MAX: usize = 256;

/// What all handlers share.
pub struct Inner {
    pub cluster: Arc<Cluster>,
    pub progress: Arc<Progress>,
    pub shutdown: watch::Receiver<bool>,
    pub data_dir: PathBuf,
    pub mysql_addr: SocketAddr,
    pub names: changes::names::Names,
    pub feeds: changes::Feeds,
    /// For the connections of a fold made on request.
    pub on_connect: starling_apply::engine::OnConnect,
    /// More of the status than this room can know (sessions, statements …), as lines of Prometheus' text.
    pub more_metrics: metrics::More,
}

pub type App = Arc<Inner>;

/// How far a rebuild is.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    all: AtomicU64,
    /// MySQL clients are let in.
    serving: AtomicBool,
}

impl Progress {
    pub fn serve(&self) {
        self.serving.store(true, Ordering::Release);
    }
    pub fn serves(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }
    pub fn set(&self, done: u64, all: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.all.store(all, Ordering::Relaxed);
    }
    pub fn get(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }
}

pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/v1/changes", get(changes::changes))
        .route("/v1/status", get(status::status))
        .route("/v1/members", get(status::members))
        .route("/v1/members/join", post(peers::join))
        .route("/v1/members/{id}/remove", post(peers::remove))
        .route("/v1/members/{id}/allow", post(peers::allow))
        .route("/v1/log/stream", get(peers::stream))
        .route("/v1/gossip", post(peers::gossip))
        .route("/v1/log/ranges", get(peers::ranges))
        .route("/v1/log/places", get(peers::places))
        .route("/v1/log/merkle", get(peers::merkle))
        .route("/v1/state/merkle", get(state::merkle))
        .route("/v1/state/verify", post(state::verify))
        .route("/metrics", get(metrics::metrics))
        .layer(GlobalConcurrencyLimitLayer::new(HANDLERS_MAX))
        // Whoever asks whether the node lives does not wait behind others.
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .fallback(|| async { Failure::not_found("there is nothing here") })
        .method_not_allowed_fallback(|| async { Failure::new(405, "method", "not with this method") })
        .with_state(app)
}

/// Answers on `listener` until shutdown, then lets running answers end.
pub fn serve(listener: TcpListener, app: App) -> JoinHandle<()> {
    let mut shutdown = app.shutdown.clone();
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| {
        // Entries must not wait for more entries.
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move {
        let served = axum::serve(listener, service)
            .with_graceful_shutdown(async move {
                let _ = shutdown.wait_for(|down| *down).await.map(|_| ());
            })
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "HTTP has ended");
        }
    })
}
