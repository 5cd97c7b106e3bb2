//! Who is there: failure detection and its spreading, by foca (SWIM), whose datagrams travel on our streams.
//!
//! Promises: a killed member is suspected within 300 ms and down within 2 s on every node; a paused one comes back by itself; who
//! ends on purpose is down at once. What is said here is never a decision: who counts is said by the members' epochs alone.
//! Datagrams go over the keyed stream to the peer where one is open, else as a keyed request; no port of their own. One that is lost
//! is lost: the protocol lives with that. Must not know: members, epochs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foca::{AccumulatingRuntime, Config, Foca, Member, PeriodicParams, PostcardCodec, State, Timer};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::Cluster;
use super::members::Id;

/// One peer is asked in each period: with three nodes each of them every 200 ms.
const PROBE: Duration = Duration::from_millis(100);
/// After that others are asked to ask it.
const ANSWER: Duration = Duration::from_millis(40);
/// A suspected member has this long to say that it lives.
const REFUTE: Duration = Duration::from_millis(1_400);
const SPREAD: Duration = Duration::from_millis(100);
/// Who is down is greeted this often: after a partition both sides find each other again.
const GREET_DOWN: Duration = Duration::from_secs(1);
const ANNOUNCE: Duration = Duration::from_secs(10);
const DATAGRAM_MAX: usize = 8 << 10;
/// Events waiting for the detector; beyond them datagrams are lost.
const INBOX: usize = 1024;

/// How a node seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Up,
    /// It does not answer.
    Suspect,
    /// It has not answered for long, or has said that it ends.
    Down,
}

impl Health {
    pub fn name(self) -> &'static str {
        match self {
            Health::Up => "up",
            Health::Suspect => "suspect",
            Health::Down => "down",
        }
    }
}

pub type HealthMap = Arc<BTreeMap<Id, Health>>;

/// A node as the detector knows it. A process that starts again, or was taken for dead, is a new one of the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    node: u128,
    /// When the process started.
    start_ms: u64,
    revived: u32,
}

impl Speaker {
    fn new(node: Id, start_ms: u64) -> Speaker {
        Speaker {
            node: node.0,
            start_ms,
            revived: 0,
        }
    }
}

impl foca::Identity for Speaker {
    type Addr = u128;

    fn renew(&self) -> Option<Speaker> {
        Some(Speaker {
            revived: self.revived.saturating_add(1),
            ..*self
        })
    }

    fn addr(&self) -> u128 {
        self.node
    }

    fn win_addr_conflict(&self, other: &Speaker) -> bool {
        (self.start_ms, self.revived) > (other.start_ms, other.revived)
    }
}

enum Event {
    Datagram(Bytes),
    /// A stream to or from it has begun.
    Met(Id),
    /// Its stream was cut: it may have been killed.
    Lost(Id),
    /// It has said that it ends.
    Ended(Id),
}

/// What the rest of the node sees of the detector.
pub struct Gossip {
    inbox: mpsc::Sender<Event>,
    /// For the detector's task, which takes it when it starts.
    events: Mutex<Option<mpsc::Receiver<Event>>>,
    health: watch::Sender<HealthMap>,
    /// Peers to whom a datagram is under way as a request.
    posting: Mutex<BTreeSet<Id>>,
}

impl Default for Gossip {
    fn default() -> Self {
        let (inbox, events) = mpsc::channel(INBOX);
        Gossip {
            inbox,
            events: Mutex::new(Some(events)),
            health: watch::channel(HealthMap::default()).0,
            posting: Mutex::default(),
        }
    }
}

impl Gossip {
    /// A datagram came in. When too many wait it is lost, as on any network.
    pub fn datagram(&self, datagram: Bytes) {
        let _ = self.inbox.try_send(Event::Datagram(datagram));
    }

    pub(super) fn met(&self, peer: Id) {
        let _ = self.inbox.try_send(Event::Met(peer));
    }

    pub(super) fn lost(&self, peer: Id) {
        let _ = self.inbox.try_send(Event::Lost(peer));
    }

    pub(super) fn ended(&self, peer: Id) {
        let _ = self.inbox.try_send(Event::Ended(peer));
    }
}

impl Cluster {
    /// How a node seems to be; one that was never heard of is down.
    pub fn health(&self, node: Id) -> Health {
        if node == self.node_id() {
            return Health::Up;
        }
        self.gossip.health.borrow().get(&node).copied().unwrap_or(Health::Down)
    }

    /// Every node ever heard of since the start, but this one; changes wake.
    pub fn watch_health(&self) -> watch::Receiver<HealthMap> {
        self.gossip.health.subscribe()
    }

    fn post_gossip(self: &Arc<Self>, to: Id, datagram: Bytes) {
        let Some(addr) = self.peers.addr(to) else { return };
        if !self.gossip.posting.lock().insert(to) {
            return;
        }
        let cluster = self.clone();
        tokio::spawn(async move {
            if let Some(client) = &cluster.client {
                // Whether it arrives shows in what is answered.
                let _ = client.post(&addr, "/v1/gossip", datagram).await;
            }
            cluster.gossip.posting.lock().remove(&to);
        });
    }
}

type Swim = Foca<Speaker, PostcardCodec, rand::rngs::SmallRng, foca::NoCustomBroadcast>;

/// The detector's task: foca, its timers, and what it wants sent.
struct Detector {
    cluster: Arc<Cluster>,
    swim: Swim,
    wishes: AccumulatingRuntime<Speaker>,
    /// By time; the number keeps the order of those of one time.
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    due: BTreeMap<u64, Timer<Speaker>>,
    next: u64,
}

fn config() -> Config {
    let some = |frequency, members| {
        Some(PeriodicParams {
            frequency,
            num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN),
        })
    };
    Config {
        probe_period: PROBE,
        probe_rtt: ANSWER,
        num_indirect_probes: NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN),
        max_transmissions: NonZeroU8::new(8).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: REFUTE,
        max_packet_size: NonZeroUsize::new(DATAGRAM_MAX).unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: some(ANNOUNCE, 1),
        periodic_announce_to_down_members: some(GREET_DOWN, 2),
        periodic_gossip: some(SPREAD, 3),
        ..Config::simple()
    }
}

/// Runs until shutdown, and then says goodbye.
pub async fn run(cluster: Arc<Cluster>) {
    let Some(mut events) = cluster.gossip.events.lock().take() else {
        return;
    };
    let mut shutdown = cluster.shutdown.clone();
    let me = Speaker::new(cluster.node_id(), cluster.log.clock().now_ms());
    let rng = rand::make_rng();
    let mut detector = Detector {
        swim: Foca::new(me, config(), rng, PostcardCodec),
        cluster,
        wishes: AccumulatingRuntime::new(),
        timers: BinaryHeap::new(),
        due: BTreeMap::new(),
        next: 0,
    };
    loop {
        let first = detector.timers.peek().map(|Reverse((at, _))| *at);
        let first = first.unwrap_or_else(|| Instant::now() + GREET_DOWN);
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => detector.take(event),
                None => return,
            },
            () = tokio::time::sleep_until(first.into()) => detector.ring(Instant::now()),
            _ = shutdown.wait_for(|down| *down) => return detector.leave(),
        }
        detector.grant(Instant::now());
        detector.publish();
    }
}

impl Detector {
    fn take(&mut self, event: Event) {
        let done = match event {
            Event::Datagram(datagram) => self.swim.handle_data(&datagram, &mut self.wishes),
            Event::Met(peer) => {
                let known = self.swim.iter_members().any(|m| m.id().node == peer.0);
                match known {
                    true => Ok(()),
                    // Addressed to whichever start of it listens.
                    false => self.swim.announce(Speaker::new(peer, 0), &mut self.wishes),
                }
            }
            Event::Lost(peer) => self.tell(peer, State::Suspect),
            Event::Ended(peer) => self.tell(peer, State::Down),
        };
        self.note(done);
    }

    /// What was learned otherwise than by asking. A suspicion made so is followed up by the next question.
    fn tell(&mut self, peer: Id, state: State) -> Result<(), foca::Error> {
        let known = self.swim.iter_members().find(|m| m.id().node == peer.0);
        let update = known.map(|m| Member::new(*m.id(), m.incarnation(), state));
        self.swim.apply_many(update.into_iter(), true, &mut self.wishes)
    }

    fn note(&self, done: Result<(), foca::Error>) {
        if let Err(error) = done
            && self.cluster.quiet.lets("gossip")
        {
            tracing::debug!(%error, "the failure detector");
        }
    }

    /// Hands over the timers that are due: late ones together, in the order in which they make sense.
    fn ring(&mut self, now: Instant) {
        let mut ringing = Vec::new();
        while let Some(Reverse((at, number))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            ringing.extend(self.due.remove(&number));
        }
        ringing.sort();
        for timer in ringing {
            let done = self.swim.handle_timer(timer, &mut self.wishes);
            self.note(done);
        }
    }

    /// Does what foca asked for.
    fn grant(&mut self, now: Instant) {
        while let Some((after, timer)) = self.wishes.to_schedule() {
            self.next += 1;
            self.timers.push(Reverse((now + after, self.next)));
            self.due.insert(self.next, timer);
        }
        while let Some((to, datagram)) = self.wishes.to_send() {
            let to = Id(to.node);
            if !self.cluster.links.gossip(to, datagram.clone()) {
                self.cluster.post_gossip(to, datagram);
            }
        }
        while self.wishes.to_notify().is_some() {}
    }

    fn publish(&self) {
        let me = self.cluster.node_id();
        let now = self.swim.iter_membership_state().map(|m| {
            let health = match m.state() {
                State::Alive => Health::Up,
                State::Suspect => Health::Suspect,
                State::Down => Health::Down,
            };
            (Id(m.id().node), health)
        });
        let now: BTreeMap<Id, Health> = now.filter(|(id, _)| *id != me).collect();
        self.cluster.gossip.health.send_if_modified(|before| {
            if **before == now {
                return false;
            }
            for (id, health) in now.iter().filter(|(id, h)| before.get(*id) != Some(*h)) {
                let name = self.cluster.name_of(*id);
                match health {
                    Health::Up => tracing::info!(%name, "up"),
                    Health::Suspect => tracing::debug!(%name, "does not answer"),
                    Health::Down => tracing::warn!(%name, "down"),
                }
            }
            *before = Arc::new(now);
            true
        });
    }

    /// The others need not find out.
    fn leave(mut self) {
        let done = self.swim.leave_cluster(&mut self.wishes);
        self.note(done);
        self.grant(Instant::now());
    }
}
