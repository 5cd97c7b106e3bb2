//! Messages to other nodes: an outbox for each peer, emptied by its open stream.
//!
//! Why over the streams and not by requests of their own (`POST /v1/txn/…`): every node holds a stream to every other one open
//! anyway, with its key, its numbers and its place in the kernel; a message on it costs one small frame and no request, and what
//! waits goes out together. Promises: order among the messages to one peer; a message is delivered at most once, and whole; whoever
//! is told `false` knows that it is lost (no stream open, or the outbox is full); one that was taken in may be lost with its stream;
//! memory is bounded. Must not know: what messages mean.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use starling_log::Origin;
use tokio::sync::Notify;

use super::Cluster;
use super::members::Id;
use super::wire::WireError;

/// Bytes waiting for one peer, at most; a single larger message is let in alone.
pub const OUTBOX_BYTES_MAX: usize = 32 << 20;
/// A message, at most: the largest entry, and what is said about it.
pub const MESSAGE_BYTES_MAX: usize = 272 << 20;
/// Datagrams of the failure detector waiting for one peer; beyond them the oldest are lost.
const GOSSIP_MAX: usize = 64;
/// Bytes in one frame, about: larger messages are cut, so that heartbeats and entries get in between.
const FRAME_BYTES: usize = 1 << 20;
/// In the length of a piece: the message goes on in the next one.
const MORE: u32 = 1 << 31;
/// Quorum entries are learned by every member itself. Only a follower that has not reported them this long after this node had them
/// gets them by the stream, so that nothing travels twice as a rule.
pub const LEARN_AFTER: Duration = Duration::from_millis(50);
/// Times at which this node's own place is remembered: this far apart, and so many.
const SAMPLE_EVERY: Duration = Duration::from_millis(25);
const SAMPLES: usize = 16;

/// Called for each message, on the task that reads the peer's stream: it must hand work over, not do it.
pub type Handler = Arc<dyn Fn(Id, Bytes) + Send + Sync>;

/// Messages since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    pub sent: AtomicU64,
    pub frames: AtomicU64,
    /// Lost here: outbox full, or its stream ended before they left.
    pub dropped: AtomicU64,
    pub received: AtomicU64,
}

#[derive(Default)]
pub struct Links {
    map: Mutex<HashMap<Id, Arc<Link>>>,
    handler: OnceLock<Handler>,
    /// (when, this node's place in its quorum sequence), oldest first.
    own: Mutex<VecDeque<(Instant, u64)>>,
    pub counts: Arc<Counts>,
}

/// The outbox of one peer.
pub struct Link {
    state: Mutex<State>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    gossip: VecDeque<Bytes>,
    /// Of the stream that empties it; an older one that lingers gets nothing more.
    generation: u64,
    /// Wakes that stream, and no other.
    wake: Arc<Notify>,
    open: bool,
    reported: Option<Reported>,
}

/// What the peer said last of this node's quorum sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reported {
    seq: u64,
    /// It lacked what this node had for a while.
    lags: bool,
}

impl Links {
    pub fn link(&self, peer: Id) -> Arc<Link> {
        let fresh = || {
            Arc::new(Link {
                state: Mutex::default(),
                counts: self.counts.clone(),
            })
        };
        self.map.lock().entry(peer).or_insert_with(fresh).clone()
    }

    fn open(&self) -> BTreeSet<Id> {
        let map = self.map.lock();
        map.iter().filter(|(_, link)| link.state.lock().open).map(|(id, _)| *id).collect()
    }

    /// Hands a datagram of the failure detector over; `false`: no stream is open.
    pub fn gossip(&self, peer: Id, datagram: Bytes) -> bool {
        let Some(link) = self.map.lock().get(&peer).cloned() else {
            return false;
        };
        let mut state = link.state.lock();
        if !state.open {
            return false;
        }
        if state.gossip.len() == GOSSIP_MAX {
            state.gossip.pop_front();
        }
        state.gossip.push_back(datagram);
        state.wake.notify_one();
        true
    }

    /// This node's quorum sequence is at `seq` now.
    pub fn sample(&self, seq: u64, now: Instant) {
        let mut own = self.own.lock();
        if own.back().is_some_and(|(at, _)| now.duration_since(*at) < SAMPLE_EVERY) {
            return;
        }
        if own.len() == SAMPLES {
            own.pop_front();
        }
        own.push_back((now, seq));
    }

    /// Where it was a while ago.
    pub fn settled(&self, now: Instant) -> u64 {
        let own = self.own.lock();
        let old = own.iter().rev().find(|(at, _)| now.duration_since(*at) >= LEARN_AFTER);
        old.map_or(0, |(_, seq)| *seq)
    }

    /// `peer` reports to hold `seq` of this node's quorum sequence (`None`: its reports have ended).
    pub fn reported(&self, peer: Id, seq: Option<u64>, now: Instant) {
        let settled = self.settled(now);
        let link = self.link(peer);
        let mut state = link.state.lock();
        state.reported = seq.map(|seq| Reported { seq, lags: seq < settled });
        if state.reported.is_some_and(|r| r.lags) {
            state.wake.notify_one();
        }
    }
}

/// The stream that empties an outbox; closes it when it is dropped.
pub struct Outlet {
    link: Arc<Link>,
    generation: u64,
    wake: Arc<Notify>,
}

impl Link {
    /// `false`: it is lost.
    fn send(&self, message: Bytes) -> bool {
        let mut state = self.state.lock();
        let fits = state.waiting.is_empty() || state.bytes + message.len() <= OUTBOX_BYTES_MAX;
        if !state.open || !fits || message.len() > MESSAGE_BYTES_MAX {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        state.bytes += message.len();
        state.waiting.push_back(message);
        if state.waiting.len() == 1 {
            state.wake.notify_one();
        }
        drop(state);
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// From now on this stream empties the outbox. What waited for the one before is lost, as what it had taken may be.
    pub fn attach(self: &Arc<Self>) -> Outlet {
        let mut state = self.state.lock();
        state.generation += 1;
        state.open = true;
        self.clear(&mut state);
        // The one before finds out that it is over.
        std::mem::take(&mut state.wake).notify_one();
        Outlet {
            link: self.clone(),
            generation: state.generation,
            wake: state.wake.clone(),
        }
    }

    fn clear(&self, state: &mut State) {
        self.counts.dropped.fetch_add(state.waiting.len() as u64, Ordering::Relaxed);
        state.waiting.clear();
        state.gossip.clear();
        state.bytes = 0;
    }
}

impl Outlet {
    /// Returns when there is something to do.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The next datagram of the failure detector.
    pub fn take_gossip(&self) -> Option<Bytes> {
        let mut state = self.link.state.lock();
        let mine = state.generation == self.generation;
        if mine { state.gossip.pop_front() } else { None }
    }

    /// The follower has opened another stream since.
    pub fn superseded(&self) -> bool {
        self.link.state.lock().generation != self.generation
    }

    /// The payload of the next frame, if anything waits.
    pub fn take(&self) -> Option<BytesMut> {
        let mut state = self.link.state.lock();
        if state.generation != self.generation || state.waiting.is_empty() {
            return None;
        }
        let mut out = BytesMut::with_capacity((state.bytes + 4 * state.waiting.len()).min(FRAME_BYTES));
        while out.len() < FRAME_BYTES {
            let Some(mut message) = state.waiting.pop_front() else { break };
            let room = FRAME_BYTES - out.len();
            let piece = message.split_to(message.len().min(room));
            let more = if message.is_empty() { 0 } else { MORE };
            out.put_u32_le(piece.len() as u32 | more);
            out.put_slice(&piece);
            state.bytes -= piece.len();
            if more != 0 {
                state.waiting.push_front(message);
            }
        }
        self.link.counts.frames.fetch_add(1, Ordering::Relaxed);
        Some(out)
    }

    /// Where to go on with the quorum sequence for this follower, which got it up to `position`; `None`: it needs nothing.
    /// `settled`: see [`Links::settled`].
    pub fn behind(&self, position: u64, settled: u64) -> Option<u64> {
        match self.link.state.lock().reported {
            Some(reported) => (reported.lags && position.max(reported.seq) < settled).then(|| position.max(reported.seq)),
            None => (position < settled).then_some(position),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut state = self.link.state.lock();
        if state.generation == self.generation {
            state.open = false;
            self.link.clear(&mut state);
        }
    }
}

/// Puts the pieces of one stream together.
#[derive(Default)]
pub struct Inlet {
    begun: BytesMut,
}

impl Inlet {
    /// Calls `each` for every message that is whole with this frame.
    pub fn take(&mut self, mut payload: Bytes, mut each: impl FnMut(Bytes)) -> Result<(), WireError> {
        while !payload.is_empty() {
            if payload.len() < 4 {
                return Err(WireError::Contents);
            }
            let head = payload.get_u32_le();
            let length = (head & !MORE) as usize;
            if payload.len() < length {
                return Err(WireError::Contents);
            }
            let piece = payload.split_to(length);
            if self.begun.len() + length > MESSAGE_BYTES_MAX {
                return Err(WireError::TooLarge(self.begun.len() + length));
            }
            match (head & MORE != 0, self.begun.is_empty()) {
                (true, _) => self.begun.extend_from_slice(&piece),
                (false, true) => each(piece),
                (false, false) => {
                    self.begun.extend_from_slice(&piece);
                    each(std::mem::take(&mut self.begun).freeze());
                }
            }
        }
        Ok(())
    }
}

impl Cluster {
    /// Sends a message of transactions to a member; `false`: it is lost (no stream is open to it now, or it takes in too slowly).
    pub fn send(&self, to: Id, message: Bytes) -> bool {
        let link = self.links.map.lock().get(&to).cloned();
        match link {
            Some(link) => link.send(message),
            None => {
                self.links.counts.dropped.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Who is called for each message that comes in. Set once, before [`Cluster::run`]; `false`: somebody is already.
    pub fn on_txn(&self, handler: Handler) -> bool {
        self.links.handler.set(handler).is_ok()
    }

    pub(super) fn received(&self, from: Id, message: Bytes) {
        self.links.counts.received.fetch_add(1, Ordering::Relaxed);
        if let Some(handler) = self.links.handler.get() {
            handler(from, message);
        }
    }

    pub fn message_counts(&self) -> &Counts {
        &self.links.counts
    }

    /// Peers with a live stream in both directions.
    pub fn connected(&self) -> BTreeSet<Id> {
        let now = Instant::now();
        let open = self.links.open();
        open.into_iter().filter(|id| self.peers.alive(*id, now)).collect()
    }

    /// This node's place in its quorum sequence, remembered.
    pub(super) fn sample_own(&self, origin: Origin) -> u64 {
        let seq = self.log.held_of(origin);
        self.links.sample(seq, Instant::now());
        seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(outlet: &Outlet, inlet: &mut Inlet) -> Vec<Bytes> {
        let mut all = Vec::new();
        while let Some(frame) = outlet.take() {
            assert!(frame.len() <= FRAME_BYTES + 8);
            inlet.take(frame.freeze(), |m| all.push(m)).unwrap();
        }
        all
    }

    #[test]
    fn messages_come_whole_and_in_order_and_several_in_a_frame() {
        let links = Links::default();
        let link = links.link(Id(2));
        assert!(!link.send(Bytes::from_static(b"nobody listens")));
        let outlet = link.attach();
        let large = Bytes::from(vec![7u8; 3 * FRAME_BYTES + 5]);
        let messages = [Bytes::from_static(b"a"), Bytes::new(), large, Bytes::from_static(b"b")];
        for message in &messages {
            assert!(link.send(message.clone()));
        }
        assert_eq!(received(&outlet, &mut Inlet::default()), messages);
        assert!(outlet.take().is_none());
        assert_eq!(links.counts.frames.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_full_outbox_loses_the_newest_and_says_so() {
        let links = Links::default();
        let link = links.link(Id(2));
        let outlet = link.attach();
        let half = Bytes::from(vec![1u8; OUTBOX_BYTES_MAX / 2]);
        assert!(link.send(half.clone()) && link.send(half.clone()));
        assert!(!link.send(Bytes::from_static(b"x")));
        assert_eq!(links.counts.dropped.load(Ordering::Relaxed), 1);
        assert_eq!(received(&outlet, &mut Inlet::default()).len(), 2);
        // Alone, even a message larger than the box gets through.
        assert!(link.send(Bytes::from(vec![1u8; OUTBOX_BYTES_MAX + 1])));
    }

    #[test]
    fn a_new_stream_takes_over_and_the_old_one_closes_nothing() {
        let links = Links::default();
        let link = links.link(Id(2));
        let old = link.attach();
        assert!(link.send(Bytes::from_static(b"lost")));
        let new = link.attach();
        drop(old);
        assert!(link.send(Bytes::from_static(b"kept")));
        assert_eq!(received(&new, &mut Inlet::default()), [Bytes::from_static(b"kept")]);
        assert_eq!(links.open(), [Id(2)].into());
        drop(new);
        assert!(links.open().is_empty() && !link.send(Bytes::new()));
        assert_eq!(links.counts.dropped.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_malformed_frame_is_refused() {
        for bad in [&[1u8, 0, 0][..], &[5, 0, 0, 0, 1]] {
            assert_eq!(Inlet::default().take(Bytes::copy_from_slice(bad), |_| {}), Err(WireError::Contents));
        }
    }

    #[test]
    fn only_who_lags_for_a_while_gets_quorum_entries() {
        let links = Links::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let outlet = links.link(Id(2)).attach();
        links.sample(5, at(0));
        links.sample(6, at(10));
        links.sample(9, at(40));
        assert_eq!((links.settled(at(30)), links.settled(at(60)), links.settled(at(100))), (0, 5, 9));
        // Nothing is known of it: it gets what is old enough.
        assert_eq!(outlet.behind(3, 5), Some(3));
        links.reported(Id(2), Some(5), at(60));
        assert_eq!(
            outlet.behind(3, links.settled(at(100))),
            None,
            "it had all that was old enough when it spoke"
        );
        links.reported(Id(2), Some(6), at(100));
        assert_eq!(outlet.behind(3, 9), Some(6));
        assert_eq!(outlet.behind(9, 9), None, "it was sent already");
    }
}
