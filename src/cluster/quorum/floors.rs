//! Floors and the stable stamp, and what members tell each other about them (PROTOCOL 15, 16).
//!
//! Promises: a gossiped floor is durable, never falls, and stays below everything of this node that is open or not yet applied.
//! Must not know: votes.

use starling_log::{Hlc, Place, Stamp, VersionVector};

use super::acceptor::just_below;
use super::ids::{Outcome, Voter};
use super::message::{Gossip, Message, Vote};
use super::node::Effect;
use super::plant::Plant;
use super::record::Record;
use super::state::{Cx, Node};

/// A peer is sent missing entries no more often than this many rounds of gossip.
const HELP_ROUNDS: u64 = 3;

impl Node {
    pub(super) fn tick_gossip(&mut self, cx: &mut Cx) {
        let due = self
            .gossiped_ms
            .is_none_or(|at| self.now_ms.saturating_sub(at) >= self.settings.gossip_ms);
        if !due {
            return;
        }
        self.gossiped_ms = Some(self.now_ms);
        self.save_peers(cx);
        let after = if self.is_ready() { self.raise_floor(cx) } else { 0 };
        self.gossips += 1;
        let gossip = Gossip {
            start: self.own.start,
            number: self.gossips,
            epoch: self.epoch().number,
            word: self.word,
            words: self.epoch().words.clone(),
            floor: self.floor,
            applied: self.applied.clone(),
            held: self.held.clone(),
            seen: self.seen(),
            oldest: cx.world.oldest_snapshot(),
        };
        let epoch = self.epoch().number;
        for voter in self.audience(epoch) {
            self.send(voter, Message::Gossip(Box::new(gossip.clone())), after, cx);
        }
        self.count_floors();
    }

    /// PROTOCOL 15: f trails the clock, never passes the durable high-water mark, and stays below what is open or not applied.
    fn raise_floor(&mut self, cx: &mut Cx) -> u64 {
        let trailing = Hlc::from_ms(cx.world.now_ms().saturating_sub(self.settings.floor_ms));
        // Where nothing happens it rises in steps: each costs a flush.
        let quiet = self.floor_at == self.applied;
        if quiet && trailing.ms() < self.floor.hlc.ms().saturating_add(self.settings.floor_ms) {
            return self.own_saved;
        }
        if trailing > cx.world.high_water() {
            // Nobody writes here: the next flush takes the mark along, so that the floor goes on rising.
            cx.world.tick();
            self.save_own(cx);
            return self.own_saved;
        }
        let mut floor = Stamp {
            hlc: trailing.min(cx.world.high_water()),
            origin: 0,
        };
        if !self.plant(Plant::FloorPassesOpen) {
            let voted = self.holds.values().filter(|hold| {
                let helps = hold.vote == Some(Vote::Yes) || hold.accepted.is_some_and(|(_, outcome)| outcome == Outcome::Commit);
                (helps || hold.decided == Some(Outcome::Commit)) && hold.decided != Some(Outcome::Void)
            });
            let open = voted.filter_map(|hold| hold.prepare.as_ref().map(|p| p.stamp)).min();
            for bound in [open, cx.world.lowest_unapplied()].into_iter().flatten() {
                floor = floor.min(just_below(bound));
            }
        }
        if floor > self.floor {
            self.floor = floor;
            // A clock that is set back would issue below it.
            cx.world.keep_above(floor.hlc);
        }
        self.floor_at.clone_from(&self.applied);
        if self.floor > self.own.floor {
            // After a restart nothing at or below it is voted for either.
            self.own.floor = self.floor;
            self.save_own(cx);
        }
        self.own_saved
    }

    /// Highest places of any sequence that a fence would have to include.
    fn seen(&self) -> VersionVector {
        let mut seen = self.logged.clone();
        for (place, hold) in &self.holds {
            if hold.decided != Some(Outcome::Void) {
                seen.advance(place.origin, place.seq);
            }
        }
        seen
    }

    /// What is remembered of others goes along with the next flush (PROTOCOL 2).
    fn save_peers(&mut self, cx: &mut Cx) {
        let dirty: Vec<Voter> = self.peers.iter().filter(|(_, p)| p.dirty).map(|(v, _)| *v).collect();
        for voter in dirty {
            if let Some(peer) = self.peers.get_mut(&voter) {
                peer.dirty = false;
                let kept = peer.kept;
                self.write(Record::Peer(voter, kept), cx);
            }
        }
    }

    pub(super) fn on_gossip(&mut self, from: Voter, gossip: Gossip, cx: &mut Cx) {
        let every_ms = self.settings.gossip_ms * HELP_ROUNDS;
        let now_ms = self.now_ms;
        let epoch_news = gossip.epoch > self.epoch().number;
        self.fetch(from, &gossip.held, epoch_news, cx);
        let peer = self.peers.entry(from).or_default();
        let behind = gossip.held.get(self.me) < self.logged.get(self.me);
        let help = behind && now_ms.saturating_sub(peer.supplied_ms) >= every_ms;
        if help {
            peer.supplied_ms = now_ms;
        }
        let held = gossip.held.clone();
        let words = gossip
            .words
            .clone()
            .filter(|_| gossip.epoch == self.epoch().number && self.epoch().words.is_none());
        let peer = self.peers.entry(from).or_default();
        // Gossip may overtake itself: only what is newer is kept.
        let newer = |old: &Gossip| (gossip.start, gossip.number) > (old.start, old.number);
        if peer.gossip.as_ref().is_none_or(newer) {
            peer.gossip = Some(gossip);
        }
        if let Some(words) = words {
            self.keep_words(words, cx);
        }
        if help {
            self.relearn(from, &held, cx);
        }
        self.count_floors();
    }

    /// Entries that `from` has and this voter lacks are to be fetched.
    pub(super) fn fetch(&mut self, from: Voter, upto: &VersionVector, anyhow: bool, cx: &mut Cx) {
        if self.logged.covers(upto) && !anyhow {
            return;
        }
        let (now_ms, every_ms) = (self.now_ms, self.settings.gossip_ms);
        let peer = self.peers.entry(from).or_default();
        if now_ms.saturating_sub(peer.fetched_ms) >= every_ms {
            peer.fetched_ms = now_ms;
            cx.out.push(Effect::Fetch { from, upto: upto.clone() });
        }
    }

    /// Tells a peer again what was decided of this node's own places.
    fn relearn(&mut self, to: Voter, held: &VersionVector, cx: &mut Cx) {
        let from = held.get(self.me) + 1;
        let range = Place {
            origin: self.me,
            seq: from,
        }..Place {
            origin: self.me,
            seq: u64::MAX,
        };
        let known: Vec<_> = self
            .holds
            .range(range)
            .filter_map(|(p, h)| Some((*p, h.decided?, h.prepare.clone())))
            .collect();
        let whole = known.first().is_some_and(|(place, ..)| place.seq == from);
        for (place, outcome, prepare) in known {
            let prepare = prepare.filter(|_| outcome == Outcome::Commit);
            self.send(to, Message::Learn { place, outcome, prepare }, 0, cx);
        }
        if !whole {
            cx.out.push(Effect::Supply { to, have: held.clone() });
        }
    }

    /// PROTOCOL 16: the lowest floor over all members, each counted only when it is covered.
    fn count_floors(&mut self) {
        // A removed member counts until the entry that removed it is applied here.
        let shown = self
            .epochs
            .values()
            .rev()
            .find(|e| e.made.place.seq == 0 || self.applied.contains(e.made.place));
        let since = shown.map_or(0, |e| e.number);
        let members: std::collections::BTreeSet<Voter> = self.epochs.range(since..).flat_map(|(_, e)| e.voters()).collect();
        // Its own floor counts as soon as it is durable.
        if !members.contains(&self.me) || self.own_saved > self.flushed {
            return;
        }
        let quorum = self.epoch().quorum();
        let mut vectors: Vec<&VersionVector> = vec![&self.applied];
        vectors.extend(
            members
                .iter()
                .filter(|v| **v != self.me)
                .filter_map(|v| Some(&self.peers.get(v)?.gossip.as_ref()?.applied)),
        );
        let uncovered = self.plant(Plant::StableUncovered);
        let counts = |v: &VersionVector| uncovered || (self.applied.covers(v) && vectors.iter().filter(|a| a.covers(v)).count() >= quorum);
        let mut lowest = self.floor;
        let mut counted = Vec::new();
        for voter in members.iter().filter(|v| **v != self.me) {
            let peer = self.peers.get(voter);
            let fresh = peer.and_then(|p| p.gossip.as_ref()).filter(|g| counts(&g.applied)).map(|g| g.floor);
            let floor = fresh.max(peer.and_then(|p| p.counted)).unwrap_or_default();
            counted.push((*voter, floor));
            lowest = lowest.min(floor);
        }
        for (voter, floor) in counted {
            self.peers.entry(voter).or_default().counted = Some(floor);
        }
        self.stable = self.stable.max(lowest);
    }

    /// The oldest snapshot open anywhere: row history is kept from there on.
    pub fn oldest_snapshot(&self, own: Stamp) -> Stamp {
        let members = self.epoch().voters().filter(|v| *v != self.me);
        let oldest = members.map(|v| {
            self.peers
                .get(&v)
                .and_then(|p| p.gossip.as_ref())
                .map_or(Stamp::default(), |g| g.oldest)
        });
        oldest.fold(own, Stamp::min)
    }
}
