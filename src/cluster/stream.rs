//! What peers get: a live stream of this node's own sequences, and ranges of any.
//!
//! Promises: an entry is on its way as soon as it is durable (the log wakes the stream, nothing polls); memory per stream is
//! bounded (a frame is made when the last one was taken); messages of transactions overtake entries; a heartbeat goes out in every interval, busy or idle.
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
use super::links::Outlet;
use super::members::Id;
use super::peers::Hint;
use super::wire::{Encoder, Kind, WireError, groups, pack_segments};

pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// Segments in one frame, about.
const FRAME_BYTES: usize = 1 << 20;
/// A reader this many entries behind is served from disk: off the runtime's workers.
const BEHIND: u64 = 2_000;

/// Why a stream ends when its node does.
pub const STOPPING: &str = "shutting down";

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
    outlet: Outlet,
    /// The last frame carried messages: something else has its turn.
    yields: bool,
    /// The log may have more.
    more: bool,
    shutdown: watch::Receiver<bool>,
    ended: bool,
}

enum Woken {
    Grown,
    Messages,
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
        outlet: cluster.links.link(to).attach(),
        yields: false,
        more: true,
        ended: false,
        cluster,
    };
    sender.cluster.gossip.met(to);
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
            let yielded = std::mem::take(&mut self.yields);
            if !yielded && let Some(messages) = self.outlet.take() {
                self.yields = true;
                return Some(self.encoder.encode(Kind::Txn, &messages));
            }
            if let Some(datagram) = self.outlet.take_gossip() {
                return Some(self.encoder.encode(Kind::Gossip, &datagram));
            }
            // Mark before reading: what comes in between wakes again.
            if std::mem::take(&mut self.more) | self.grown.has_changed().unwrap_or(true) {
                self.grown.borrow_and_update();
                match self.fill().await {
                    Ok(any) => self.more = any,
                    Err(reason) => match self.farewell(reason) {
                        Ok(frame) => {
                            self.ready.push_back(frame);
                            continue;
                        }
                        Err(error) => return Some(Err(error)),
                    },
                }
            }
            // A busy stream still has to say that it lives, and what time it is.
            if futures::FutureExt::now_or_never(self.beat.tick()).is_some() {
                // Behind what waits already: frames leave in the order of their numbers.
                match self.heartbeat() {
                    Ok(frame) => self.ready.push_back(frame),
                    Err(error) => return Some(Err(error)),
                }
            }
            if yielded || self.more || !self.ready.is_empty() {
                continue;
            }
            let woken = tokio::select! {
                biased;
                () = self.outlet.woken() => Woken::Messages,
                changed = self.grown.changed() => if changed.is_err() { Woken::Down } else { Woken::Grown },
                _ = self.beat.tick() => Woken::Beat,
                _ = self.shutdown.wait_for(|down| *down) => Woken::Down,
            };
            match woken {
                Woken::Grown => self.more = true,
                Woken::Messages if self.outlet.superseded() => return Some(self.farewell("another stream took over".to_owned())),
                // Or the follower has said how far it is.
                Woken::Messages => self.more = true,
                Woken::Beat if self.cluster.is_removed(self.to) => return Some(self.farewell("removed".to_owned())),
                Woken::Beat => {
                    self.more = true;
                    return Some(self.heartbeat());
                }
                Woken::Down => return Some(self.farewell(STOPPING.to_owned())),
            }
        }
    }

    fn heartbeat(&mut self) -> Result<Bytes, WireError> {
        let heartbeat = self.cluster.heartbeat(self.to);
        self.json(Kind::Heartbeat, &heartbeat)
    }

    fn farewell(&mut self, reason: String) -> Result<Bytes, WireError> {
        self.ended = true;
        self.json(Kind::End, &Farewell { reason })
    }

    /// Makes frames of what the log has beyond the position; `false`: nothing new.
    async fn fill(&mut self) -> Result<bool, String> {
        let Some([one, quorum]) = self.cluster.origins() else {
            return Ok(false);
        };
        let mut any = self.fill_from(one, self.position.get(one)).await?;
        let held = self.cluster.sample_own(quorum);
        let position = self.position.get(quorum);
        // Members learn these by themselves; the stream is for who did not.
        if held > position {
            let settled = self.cluster.links.settled(std::time::Instant::now());
            if let Some(from) = self.outlet.behind(position, settled) {
                any |= self.fill_from(quorum, from).await?;
            }
        }
        Ok(any)
    }

    async fn fill_from(&mut self, origin: Origin, position: u64) -> Result<bool, String> {
        let held = self.cluster.log.held_of(origin);
        let from = position + 1;
        if held < from {
            return Ok(false);
        }
        let (segments, upto) = read(&self.cluster, origin, from, held).await?;
        self.position.advance(origin, upto);
        for group in groups(&segments, FRAME_BYTES) {
            let frame = self
                .encoder
                .encode(Kind::Segments, &pack_segments(group))
                .map_err(|e| e.to_string())?;
            self.ready.push_back(frame);
        }
        Ok(!segments.is_empty())
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
