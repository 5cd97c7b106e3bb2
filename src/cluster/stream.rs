//! What peers get: a live stream of this node's own sequences, and ranges of any.
//!
//! Promises: an entry is on its way as soon as it is durable (the log wakes the stream, nothing polls); memory per stream is
//! bounded (a frame is made when the last one was taken); a heartbeat goes out in every interval, busy or idle.
//! Must not know: HTTP.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};
use starling_log::{Origin, VersionVector};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::Cluster;
use super::members::Id;
use super::peers::Hint;
use super::wire::{Encoder, Kind, WireError, groups, pack_segments};

pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// Segments in one frame, about.
const FRAME_BYTES: usize = 1 << 20;
/// A reader this many entries behind is served from disk: off the runtime's workers.
const BEHIND: u64 = 2_000;

/// The first frame of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub identity: Id,
    pub origins: Vec<Origin>,
    pub hint: Hint,
}

/// Why a stream ends on purpose.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Farewell {
    pub reason: String,
}

/// The state of one stream to one follower.
struct Sender {
    cluster: Arc<Cluster>,
    to: Id,
    encoder: Encoder,
    position: VersionVector,
    grown: watch::Receiver<u64>,
    beat: Interval,
    ready: VecDeque<Bytes>,
    shutdown: watch::Receiver<bool>,
    ended: bool,
}

enum Woken {
    Grown,
    Beat,
    Down,
}

/// Frames for follower `to`, which holds everything up to `after`; ends at shutdown.
pub fn stream(cluster: Arc<Cluster>, to: Id, after: VersionVector, key: [u8; 32]) -> impl Stream<Item = Result<Bytes, WireError>> + Send {
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sender = Sender {
        grown: cluster.log.watch(),
        shutdown: cluster.shutdown.clone(),
        to,
        encoder: Encoder::new(key),
        position: after,
        beat,
        ready: VecDeque::new(),
        ended: false,
        cluster,
    };
    let hello = Hello {
        identity: sender.cluster.node_id(),
        origins: sender.cluster.origins().map(|o| o.to_vec()).unwrap_or_default(),
        hint: sender.cluster.own_hint(),
    };
    let first = sender.json(Kind::Hello, &hello);
    futures::stream::unfold((sender, Some(first)), |(mut sender, first)| async move {
        if let Some(first) = first {
            return Some((first, (sender, None)));
        }
        let next = sender.next().await?;
        Some((next, (sender, None)))
    })
}

impl Sender {
    fn json(&mut self, kind: Kind, value: &impl Serialize) -> Result<Bytes, WireError> {
        let payload = serde_json::to_vec(value).map_err(|_| WireError::Contents)?;
        self.encoder.encode(kind, &payload)
    }

    async fn next(&mut self) -> Option<Result<Bytes, WireError>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(Ok(frame));
            }
            if self.ended {
                return None;
            }
            // Mark before reading: what comes in between wakes again.
            self.grown.borrow_and_update();
            match self.fill().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(reason) => {
                    self.ended = true;
                    return Some(self.json(Kind::End, &Farewell { reason }));
                }
            }
            let woken = tokio::select! {
                biased;
                changed = self.grown.changed() => if changed.is_err() { Woken::Down } else { Woken::Grown },
                _ = self.beat.tick() => Woken::Beat,
                _ = self.shutdown.wait_for(|down| *down) => Woken::Down,
            };
            match woken {
                Woken::Grown => {}
                Woken::Beat => {
                    let heartbeat = self.cluster.heartbeat(self.to);
                    return Some(self.json(Kind::Heartbeat, &heartbeat));
                }
                Woken::Down => {
                    self.ended = true;
                    let reason = "shutting down".to_owned();
                    return Some(self.json(Kind::End, &Farewell { reason }));
                }
            }
        }
    }

    /// Makes frames of what the log has beyond the position; `false`: nothing new.
    async fn fill(&mut self) -> Result<bool, String> {
        let Some(origins) = self.cluster.origins() else {
            return Ok(false);
        };
        let held = self.cluster.log.held();
        let mut any = false;
        for origin in origins {
            let from = self.position.get(origin) + 1;
            if held.get(origin) < from {
                continue;
            }
            let (segments, upto) = read(&self.cluster, origin, from, held.get(origin)).await?;
            if segments.is_empty() {
                continue;
            }
            self.position.advance(origin, upto);
            for group in groups(&segments, FRAME_BYTES) {
                let frame = self
                    .encoder
                    .encode(Kind::Segments, &pack_segments(group))
                    .map_err(|e| e.to_string())?;
                self.ready.push_back(frame);
            }
            any = true;
        }
        // A busy stream still has to say that it lives, and what time it is.
        if any && futures::FutureExt::now_or_never(self.beat.tick()).is_some() {
            let heartbeat = self.cluster.heartbeat(self.to);
            let frame = self.json(Kind::Heartbeat, &heartbeat).map_err(|e| e.to_string())?;
            self.ready.push_back(frame);
        }
        Ok(any)
    }
}

/// Whole segments from `from` on, and the last place they complete.
async fn read(cluster: &Arc<Cluster>, origin: Origin, from: u64, held: u64) -> Result<(Vec<Bytes>, u64), String> {
    let log = cluster.log.clone();
    let job = move || {
        let segments = log.segments(origin, from, FRAME_BYTES).map_err(|e| e.to_string())?;
        let upto = last_place(&segments, from)?;
        Ok((segments, upto))
    };
    if held - from < BEHIND {
        return job();
    }
    tokio::task::spawn_blocking(job).await.map_err(|e| e.to_string())?
}

/// The highest sequence number that these segments complete (`from - 1`: none).
pub fn last_place(segments: &[Bytes], from: u64) -> Result<u64, String> {
    let mut last = from.saturating_sub(1);
    for segment in segments {
        let header = starling_log::segment::header(segment).map_err(|e| e.to_string())?;
        if header.commits() {
            last = last.max(header.last());
        }
    }
    Ok(last)
}

/// A bounded answer: segments of `origin` from `from` on, at most about `max_bytes`, then a farewell.
pub fn range(cluster: &Arc<Cluster>, origin: Origin, from: u64, max_bytes: usize, key: [u8; 32]) -> Result<Vec<Bytes>, String> {
    let mut encoder = Encoder::new(key);
    let mut frames = Vec::new();
    let mut next = from;
    let mut bytes = 0;
    while bytes < max_bytes {
        let segments = cluster
            .log
            .segments(origin, next, FRAME_BYTES.min(max_bytes - bytes))
            .map_err(|e| e.to_string())?;
        if segments.is_empty() {
            break;
        }
        bytes += segments.iter().map(Bytes::len).sum::<usize>();
        next = last_place(&segments, next)? + 1;
        for group in groups(&segments, FRAME_BYTES) {
            frames.push(encoder.encode(Kind::Segments, &pack_segments(group)).map_err(|e| e.to_string())?);
        }
    }
    let farewell = serde_json::to_vec(&Farewell {
        reason: "range".to_owned(),
    })
    .map_err(|e| e.to_string())?;
    frames.push(encoder.encode(Kind::End, &farewell).map_err(|e| e.to_string())?);
    Ok(frames)
}
