//! What is known of the other nodes right now: addresses, how far they are, their clocks. All of it hints or measurements.
//!
//! Promises: of two addresses of a node the one with the higher version wins; nothing here decides who is a member.
//! Must not know: sockets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use starling_log::{Origin, VersionVector};
use tokio::sync::Notify;

use super::clocks::{Echo, Offset, quorum_offset};
use super::members::Id;

/// A peer whose stream has been silent this long counts as gone.
pub const SILENT: Duration = Duration::from_secs(3);

/// An address as it is gossiped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    pub identity: Id,
    pub name: String,
    pub addr: String,
    #[serde(default)]
    pub mysql_addr: String,
    pub version: u64,
}

impl Hint {
    /// A follower's request says less of it than its heartbeats do later.
    fn is_newer_than(&self, other: &Hint) -> bool {
        self.version > other.version || (self.version == other.version && other.name.is_empty() && !self.name.is_empty())
    }
}

fn yes() -> bool {
    true
}

/// What a node says on its streams, several times a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    pub now_ms: u64,
    pub held: Vec<(Origin, u64)>,
    pub applied: Vec<(Origin, u64)>,
    pub flush: u64,
    /// It takes part in decisions; `false`: it has not for a while (its log is not known to be whole yet, for one).
    #[serde(default = "yes")]
    pub votes: bool,
    /// The last heartbeat that the speaker got from the listener.
    pub echo: Option<Echo>,
    pub hints: Vec<Hint>,
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub hint: Hint,
    /// Since when its stream flows.
    pub connected: Option<Instant>,
    /// Sequences that it said its stream brings. (A node that was removed brings none.)
    pub streams: Vec<Origin>,
    pub heard: Option<Instant>,
    pub held: VersionVector,
    pub applied: VersionVector,
    pub flush: u64,
    pub votes: bool,
    pub offset: Offset,
    /// Its last heartbeat, for the echo.
    echo: Option<Echo>,
    /// Since when this node has not shown everything that the peer holds.
    pub behind_since: Option<Instant>,
}

#[derive(Default)]
pub struct Peers {
    map: Mutex<BTreeMap<Id, Peer>>,
}

pub fn vector(list: &[(Origin, u64)]) -> VersionVector {
    VersionVector(list.iter().copied().collect())
}

pub fn list(vector: &VersionVector) -> Vec<(Origin, u64)> {
    vector.iter().collect()
}

impl Peer {
    fn new(hint: Hint) -> Peer {
        Peer {
            hint,
            connected: None,
            streams: Vec::new(),
            heard: None,
            held: VersionVector::new(),
            applied: VersionVector::new(),
            flush: 0,
            votes: true,
            offset: Offset::default(),
            echo: None,
            behind_since: None,
        }
    }

    pub fn is_alive(&self, now: Instant) -> bool {
        self.connected.is_some() && self.heard.is_some_and(|at| now.duration_since(at) < SILENT)
    }
}

impl Peers {
    /// Takes hints in; returns whether anything is new.
    pub fn learn(&self, hints: &[Hint], me: Id) -> bool {
        let mut map = self.map.lock();
        let mut new = false;
        for hint in hints.iter().filter(|h| h.identity != me && !h.addr.is_empty()) {
            match map.get_mut(&hint.identity) {
                Some(peer) if !hint.is_newer_than(&peer.hint) => {}
                Some(peer) => {
                    peer.hint = hint.clone();
                    new = true;
                }
                None => {
                    map.insert(hint.identity, Peer::new(hint.clone()));
                    new = true;
                }
            }
        }
        new
    }

    pub fn hints(&self) -> Vec<Hint> {
        self.map.lock().values().map(|p| p.hint.clone()).collect()
    }

    pub fn get(&self, identity: Id) -> Option<Peer> {
        self.map.lock().get(&identity).cloned()
    }

    pub fn snapshot(&self) -> BTreeMap<Id, Peer> {
        self.map.lock().clone()
    }

    pub fn addr(&self, identity: Id) -> Option<String> {
        self.map.lock().get(&identity).map(|p| p.hint.addr.clone())
    }

    pub fn connected(&self, identity: Id, now: Instant, streams: Vec<Origin>) {
        if let Some(peer) = self.map.lock().get_mut(&identity) {
            peer.connected = Some(now);
            peer.streams = streams;
            peer.heard = Some(now);
        }
    }

    /// Its stream flows, though this node is too slow to hear what it says.
    pub fn still_there(&self, identity: Id, now: Instant) {
        if let Some(peer) = self.map.lock().get_mut(&identity) {
            peer.heard = Some(now);
        }
    }

    pub fn disconnected(&self, identity: Id) {
        if let Some(peer) = self.map.lock().get_mut(&identity) {
            peer.connected = None;
            peer.offset.forget();
            peer.echo = None;
        }
    }

    pub fn alive(&self, identity: Id, now: Instant) -> bool {
        self.map.lock().get(&identity).is_some_and(|p| p.is_alive(now))
    }

    /// What to echo to a peer in the next heartbeat to it.
    pub fn echo(&self, identity: Id) -> Option<Echo> {
        self.map.lock().get(&identity)?.echo
    }

    pub fn note(&self, identity: Id, heartbeat: &Heartbeat, now_ms: u64, now: Instant, applied: &VersionVector) {
        let mut map = self.map.lock();
        let Some(peer) = map.get_mut(&identity) else {
            return;
        };
        peer.heard = Some(now);
        peer.held = vector(&heartbeat.held);
        peer.applied = vector(&heartbeat.applied);
        peer.flush = peer.flush.max(heartbeat.flush);
        peer.votes = heartbeat.votes;
        if let Some(echo) = heartbeat.echo {
            peer.offset.note(echo, heartbeat.now_ms, now_ms);
        }
        peer.echo = Some(Echo {
            sent_ms: heartbeat.now_ms,
            received_ms: now_ms,
        });
        if applied.covers(&peer.held) {
            peer.behind_since = None;
        } else if peer.behind_since.is_none() {
            peer.behind_since = Some(now);
        }
    }

    /// Called when this node has applied more.
    pub fn caught_up(&self, applied: &VersionVector) {
        for peer in self.map.lock().values_mut() {
            if peer.behind_since.is_some() && applied.covers(&peer.held) {
                peer.behind_since = None;
            }
        }
    }

    /// Does it say that it takes part in decisions?
    pub fn votes(&self, identity: Id) -> bool {
        self.map.lock().get(&identity).is_none_or(|p| p.votes)
    }

    /// The offset to a quorum of those that are measured.
    pub fn quorum_offset(&self, now: Instant) -> Option<i64> {
        let map = self.map.lock();
        let offsets: Vec<i64> = map
            .values()
            .filter(|p| p.is_alive(now))
            .filter_map(|p| p.offset.offset_ms())
            .collect();
        quorum_offset(&offsets)
    }

    /// How many entries of `ours` a peer had not applied when it last said so; `None`: it never said.
    pub fn behind(&self, identity: Id, ours: &VersionVector) -> Option<u64> {
        let map = self.map.lock();
        let peer = map.get(&identity).filter(|p| p.heard.is_some())?;
        Some(ours.iter().map(|(origin, seq)| seq.saturating_sub(peer.applied.get(origin))).sum())
    }

    /// The union of what live peers hold, and how many they are.
    pub fn held_by_live(&self, now: Instant) -> (VersionVector, usize) {
        let map = self.map.lock();
        let mut union = VersionVector::new();
        let mut live = 0;
        for peer in map.values().filter(|p| p.is_alive(now)) {
            union.merge(&peer.held);
            live += 1;
        }
        (union, live)
    }

    /// For how long this node has not shown everything that some live peer holds; `None`: no live peer, so nobody knows.
    pub fn lag(&self, now: Instant) -> Option<Duration> {
        let map = self.map.lock();
        map.values()
            .filter(|p| p.is_alive(now))
            .map(|p| p.behind_since.map_or(Duration::ZERO, |since| now.duration_since(since)))
            .max()
    }
}

/// A range to be fetched from `from` because its own node does not deliver it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub origin: Origin,
    pub have: u64,
    pub want: u64,
    pub from: Id,
}

/// Entries that somebody has said to hold, and that this node needs soon.
#[derive(Default)]
pub struct Wants {
    map: Mutex<BTreeMap<Origin, (u64, Id)>>,
    asked: Notify,
}

impl Wants {
    pub fn ask(&self, from: Id, upto: &VersionVector) {
        let mut map = self.map.lock();
        for (origin, seq) in upto.iter() {
            let want = map.entry(origin).or_insert((seq, from));
            if seq >= want.0 {
                *want = (seq, from);
            }
        }
        drop(map);
        self.asked.notify_one();
    }

    /// Returns when something was asked for since the last time.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// What of it is still missing; nothing is remembered.
    pub fn take(&self, held: &VersionVector) -> Vec<Need> {
        let map = std::mem::take(&mut *self.map.lock());
        let missing = map.into_iter().filter(|(origin, (seq, _))| *seq > held.get(*origin));
        missing
            .map(|(origin, (want, from))| Need {
                origin,
                have: held.get(origin),
                want,
                from,
            })
            .collect()
    }
}

/// What to fetch by ranges. `holders`: live peers, what they hold, and which origins they stream themselves. An origin that its own
/// node streams up to the highest place anybody holds is left to that stream.
pub fn needs(held: &VersionVector, holders: &[(Id, VersionVector, Vec<Origin>)]) -> Vec<Need> {
    let mut best: BTreeMap<Origin, (u64, Id)> = BTreeMap::new();
    for (id, vector, _) in holders {
        for (origin, seq) in vector.iter() {
            let entry = best.entry(origin).or_insert((seq, *id));
            if seq > entry.0 {
                *entry = (seq, *id);
            }
        }
    }
    best.into_iter()
        .filter(|(origin, (seq, _))| {
            let streamed = holders
                .iter()
                .any(|(_, vector, streams)| streams.contains(origin) && vector.get(*origin) >= *seq);
            *seq > held.get(*origin) && !streamed
        })
        .map(|(origin, (want, from))| Need {
            origin,
            have: held.get(origin),
            want,
            from,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(list: &[(Origin, u64)]) -> VersionVector {
        vector(list)
    }

    #[test]
    fn only_what_no_stream_brings_is_fetched() {
        let (a, b) = (Id(1), Id(2));
        // a streams 1; b streams 3; origin 5 belongs to a node that is gone, b holds the most of it.
        let holders = [
            (a, v(&[(1, 10), (3, 4), (5, 2)]), vec![1, 2]),
            (b, v(&[(1, 9), (3, 6), (5, 7)]), vec![3, 4]),
        ];
        let mine = v(&[(1, 3), (3, 6)]);
        assert_eq!(
            needs(&mine, &holders),
            [Need {
                origin: 5,
                have: 0,
                want: 7,
                from: b
            }]
        );
        // b's stream is gone: a's copy of its sequence has to do, as far as it reaches.
        let alone = [holders[0].clone()];
        let mine = v(&[(1, 10), (3, 1), (5, 2)]);
        assert_eq!(
            needs(&mine, &alone).iter().map(|n| (n.origin, n.want)).collect::<Vec<_>>(),
            [(3, 4)]
        );
    }

    #[test]
    fn a_node_that_forgot_its_own_entries_is_not_waited_for() {
        let (a, b) = (Id(1), Id(2));
        let holders = [(a, v(&[(1, 5)]), vec![1]), (b, v(&[(1, 9)]), vec![3])];
        assert_eq!(needs(&v(&[(1, 5)]), &holders)[0].from, b);
    }

    #[test]
    fn newer_addresses_win() {
        let peers = Peers::default();
        let hint = |addr: &str, version| Hint {
            identity: Id(2),
            name: "two".into(),
            addr: addr.into(),
            mysql_addr: String::new(),
            version,
        };
        assert!(peers.learn(&[hint("a:1", 1)], Id(1)));
        assert!(peers.learn(&[hint("a:2", 3)], Id(1)));
        assert!(!peers.learn(&[hint("a:1", 2)], Id(1)));
        assert_eq!(peers.addr(Id(2)).as_deref(), Some("a:2"));
        assert!(!peers.learn(&[hint("me:1", 9)], Id(2)), "a node learns nothing of itself");
    }

    #[test]
    fn lag_is_known_only_from_live_peers() {
        let peers = Peers::default();
        let now = Instant::now();
        assert_eq!(peers.lag(now), None);
        peers.learn(
            &[Hint {
                identity: Id(2),
                name: String::new(),
                addr: "a:1".into(),
                mysql_addr: String::new(),
                version: 1,
            }],
            Id(1),
        );
        peers.connected(Id(2), now, vec![3, 4]);
        let heartbeat = Heartbeat {
            now_ms: 0,
            held: vec![(3, 5)],
            applied: vec![],
            flush: 0,
            votes: true,
            echo: None,
            hints: vec![],
        };
        peers.note(Id(2), &heartbeat, 0, now, &VersionVector::new());
        let later = now + Duration::from_secs(1);
        assert_eq!(peers.lag(later), Some(Duration::from_secs(1)));
        peers.caught_up(&v(&[(3, 5)]));
        assert_eq!(peers.lag(later), Some(Duration::ZERO));
        assert_eq!(peers.lag(now + SILENT), None);
    }
}
