//! Following one peer: its stream, again and again.
//!
//! Promises: reconnects with growing, jittered, bounded pauses, at once when a new address is learnt; a stream that turns out to
//! speak for somebody else is dropped; ranges that no stream brings are fetched from whoever holds them.
//! Must not know: what entries mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use starling_log::Cursor;
use tokio::sync::{mpsc, oneshot};

use super::Cluster;
use super::client::{CallError, Client, Frames};
use super::ingest::Batch;
use super::links::Inlet;
use super::members::Id;
use super::peers::{Heartbeat, Need};
use super::stream::{Farewell, Hello, STOPPING};
use super::wire::{Frame, Kind, WireError, unpack_segments};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// While entries wait for a place in the queue, their sender is called alive this often.
const STILL: Duration = Duration::from_secs(1);
/// Bytes asked for in one range.
const RANGE_BYTES: usize = 8 << 20;

/// Follows `peer` until shutdown.
pub async fn follow(cluster: Arc<Cluster>, peer: Id, queue: mpsc::Sender<Batch>) {
    let Some(client) = &cluster.client else { return };
    let mut shutdown = cluster.shutdown.clone();
    let mut pause = PAUSE_MIN;
    loop {
        tokio::select! {
            () = removal(&cluster, peer, false) => {}
            _ = shutdown.wait_for(|down| *down) => return,
        }
        let began = Instant::now();
        let ended = tokio::select! {
            ended = once(&cluster, client, peer, &queue) => ended,
            () = removal(&cluster, peer, true) => Ok(()),
            _ = shutdown.wait_for(|down| *down) => return,
        };
        cluster.peers.disconnected(peer);
        cluster.links.reported(peer, None, Instant::now());
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        match ended {
            Ok(()) => pause = PAUSE_MIN,
            Err(error) => {
                cluster.complain(&error);
                if error.is_removal() {
                    let cluster = cluster.clone();
                    let _ = tokio::task::spawn_blocking(move || cluster.expelled()).await;
                }
            }
        }
        let jitter = 0.5 + rand::random::<f64>();
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(jitter)) => pause = (pause * 2).min(PAUSE_MAX),
            () = cluster.peers_changed.notified() => pause = PAUSE_MIN,
            _ = shutdown.wait_for(|down| *down) => return,
        }
    }
}

/// Returns when the peer is (`removed`) or is not removed from the cluster.
async fn removal(cluster: &Cluster, peer: Id, removed: bool) {
    let mut view = cluster.watch_view();
    while cluster.is_removed(peer) != removed {
        if view.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// One connection, until it ends.
async fn once(cluster: &Arc<Cluster>, client: &Client, peer: Id, queue: &mpsc::Sender<Batch>) -> Result<(), CallError> {
    let Some(addr) = cluster.peers.addr(peer) else {
        return Ok(());
    };
    let after = Cursor {
        vector: cluster.log.held(),
        partial: None,
    };
    let hint = cluster.own_hint();
    let path = format!("/v1/log/stream?after={after}&addr={}&version={}", hint.addr, hint.version);
    let mut frames = client.open(&addr, &path).await?;
    let strange = |reason: String| CallError::Unreachable {
        addr: addr.clone(),
        reason,
    };
    if frames.node != peer {
        return Err(strange(format!("another node ({}) answers there", frames.node)));
    }
    let failed = Arc::new(AtomicBool::new(false));
    let mut inlet = Inlet::default();
    while let Some(frame) = next(cluster, peer, &mut frames).await? {
        match frame.kind {
            Kind::Txn => {
                let taken = inlet.take(frame.payload, |message| cluster.received(peer, message));
                taken.map_err(|source| CallError::Frame {
                    addr: addr.clone(),
                    source,
                })?;
            }
            Kind::Gossip => cluster.gossip.datagram(frame.payload),
            Kind::Hello => {
                let hello: Hello = decode(&frame.payload, &addr)?;
                cluster.peers.connected(peer, Instant::now(), hello.origins);
                cluster.gossip.met(peer);
                cluster.quiet.forget(&format!("unreachable {addr}"));
                tracing::info!(peer = %hello.hint.name, %addr, "following");
            }
            Kind::Heartbeat => {
                let heartbeat: Heartbeat = decode(&frame.payload, &addr)?;
                cluster.heard(peer, &heartbeat);
            }
            Kind::Segments => {
                let segments = unpack_segments(frame.payload).map_err(|source| CallError::Frame {
                    addr: addr.clone(),
                    source,
                })?;
                let batch = Batch {
                    segments,
                    failed: failed.clone(),
                    done: None,
                };
                if !hand_over(cluster, peer, queue, batch).await {
                    return Ok(());
                }
            }
            Kind::End => {
                let farewell: Farewell = decode(&frame.payload, &addr)?;
                if farewell.reason == STOPPING {
                    cluster.gossip.ended(peer);
                }
                return Ok(());
            }
        }
        if failed.load(Ordering::Acquire) {
            return Err(strange("its entries were not taken; beginning again".to_owned()));
        }
    }
    cluster.gossip.lost(peer);
    Err(strange("its stream was cut".to_owned()))
}

async fn next(cluster: &Cluster, peer: Id, frames: &mut Frames) -> Result<Option<Frame>, CallError> {
    let frame = frames.next().await;
    if let Err(CallError::Unreachable { .. }) = &frame {
        cluster.gossip.lost(peer);
    }
    frame
}

/// Waits for a place in the queue; `false`: the node stops. Who is waited for is still there.
async fn hand_over(cluster: &Cluster, peer: Id, queue: &mpsc::Sender<Batch>, batch: Batch) -> bool {
    loop {
        match tokio::time::timeout(STILL, queue.reserve()).await {
            Ok(Ok(place)) => {
                place.send(batch);
                return true;
            }
            Ok(Err(_)) => return false,
            Err(_) => cluster.peers.still_there(peer, Instant::now()),
        }
    }
}

fn decode<T: serde::de::DeserializeOwned>(payload: &[u8], addr: &str) -> Result<T, CallError> {
    serde_json::from_slice(payload).map_err(|_| CallError::Frame {
        addr: addr.to_owned(),
        source: WireError::Contents,
    })
}

/// Fetches one range, piece by piece, until `need.want` is held or the peer has no more.
pub async fn fetch(cluster: &Arc<Cluster>, need: Need, queue: &mpsc::Sender<Batch>) -> Result<(), CallError> {
    let (Some(client), Some(addr)) = (&cluster.client, cluster.peers.addr(need.from)) else {
        return Ok(());
    };
    loop {
        let have = cluster.log.held().get(need.origin);
        if have >= need.want {
            return Ok(());
        }
        let path = format!("/v1/log/ranges?origin={}&from={}&max_bytes={RANGE_BYTES}", need.origin, have + 1);
        let mut frames = client.open(&addr, &path).await?;
        if !take_range(&addr, &mut frames, queue).await? || cluster.log.held().get(need.origin) <= have {
            return Ok(());
        }
    }
}

/// Hands the frames of a range over; `true`: all of them are in, and there were some.
async fn take_range(addr: &str, frames: &mut Frames, queue: &mpsc::Sender<Batch>) -> Result<bool, CallError> {
    let failed = Arc::new(AtomicBool::new(false));
    let mut last = None;
    while let Some(frame) = frames.next().await? {
        match frame.kind {
            Kind::Segments => {
                let segments = unpack_segments(frame.payload).map_err(|source| CallError::Frame {
                    addr: addr.to_owned(),
                    source,
                })?;
                let (told, done) = oneshot::channel();
                let batch = Batch {
                    segments,
                    failed: failed.clone(),
                    done: Some(told),
                };
                if queue.send(batch).await.is_err() {
                    return Ok(false);
                }
                last = Some(done);
            }
            Kind::End => {
                return Ok(match last {
                    Some(done) => done.await.unwrap_or(false) && !failed.load(Ordering::Acquire),
                    None => false,
                });
            }
            Kind::Hello | Kind::Heartbeat | Kind::Txn | Kind::Gossip => {}
        }
    }
    Err(CallError::Unreachable {
        addr: addr.to_owned(),
        reason: "the range was cut".to_owned(),
    })
}
