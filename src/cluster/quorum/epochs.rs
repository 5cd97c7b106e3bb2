//! Membership: one seat at a time, words, fences (PROTOCOL 17, 18).
//!
//! Promises: nobody votes in an epoch before it has resolved and applied what it held of earlier ones; a fence's final numbers are
//! at least what its voters hold. Must not know: addresses, names.

use starling_log::{Origin, Place, VersionVector};

use bytes::Bytes;

use super::ids::{Epoch, Outcome, Seat, Version, Voter};
use super::message::{Change, Claim, Kind, Level, Mode, No, Prepare, Proposal, Vote};
use super::node::{Effect, Ticket};
use super::plant::Plant;
use super::record::{Record, RecordKey};
use super::state::{Cx, Fence, Node};

/// The key that every change of members holds exclusively.
pub const MEMBERSHIP: u128 = u128::MAX;
/// Epochs that are remembered for answering about old transactions.
const EPOCHS_MAX: usize = 64;

impl Node {
    pub(super) fn admit(&mut self, ticket: Ticket, seat: Seat, cx: &mut Cx) {
        if self.epochs.values().any(|e| e.has(seat.voter)) {
            return self.refuse(ticket, "this voter is or was a member", cx);
        }
        let mut seats = self.epoch().seats.clone();
        seats.push(seat);
        self.change(ticket, seats, Vec::new(), cx);
    }

    pub(super) fn remove(&mut self, ticket: Ticket, voter: Voter, cx: &mut Cx) {
        let Some(gone) = self.epoch().seat(voter).copied() else {
            return self.refuse(ticket, "it is not a member", cx);
        };
        let seats: Vec<Seat> = self.epoch().seats.iter().filter(|s| s.voter != voter).copied().collect();
        if seats.is_empty() {
            return self.refuse(ticket, "the last member stays", cx);
        }
        // PROTOCOL 18: at least all that anybody is known to hold.
        let fences = [gone.voter, gone.one].map(|origin| (origin, self.final_number(origin, gone.voter)));
        if fences.iter().any(|(origin, last)| self.logged.get(*origin) < *last) {
            self.resolve_origin(gone.voter, cx);
            return self.refuse(ticket, "places of the removed member are still open", cx);
        }
        self.change(ticket, seats, fences.to_vec(), cx);
    }

    fn change(&mut self, ticket: Ticket, seats: Vec<Seat>, fences: Vec<(Origin, u64)>, cx: &mut Cx) {
        let now = self.epoch().clone();
        // PROTOCOL 17: words from a quorum of the epoch before and of this one; their vectors are causes.
        let Some(words) = self.epoch().words.clone().or_else(|| self.words(&now)) else {
            return self.refuse(ticket, "too few have finished with the epoch before", cx);
        };
        let mut causes = self.applied.clone();
        causes.merge(&words);
        // PROTOCOL 18: the final places are causes.
        for (origin, last) in &fences {
            causes.advance(*origin, *last);
        }
        let epoch = Epoch::new(now.number + 1, seats, Version::default());
        let age = now.made.stamp;
        let proposal = Proposal {
            kind: Kind::Change(Change {
                epoch: Some(epoch),
                fences,
            }),
            body: Bytes::new(),
            claims: vec![Claim {
                key: MEMBERSHIP,
                mode: Mode::Exclusive,
                base: now.made,
                at: Bytes::new(),
            }],
            causes,
            stable: self.stable,
            age,
            level: Level::Quorum,
            patience_ms: 0,
        };
        self.propose(ticket, proposal, cx);
    }

    /// The union of the vectors of those who have entered the epoch, when they are enough.
    fn words(&self, now: &Epoch) -> Option<VersionVector> {
        if now.made.place.seq == 0 || self.plant(Plant::NoWords) {
            return Some(VersionVector::new());
        }
        // Who does not know the epoch before cannot tell, and hears it from the others.
        let before = self.epochs.get(&now.number.wrapping_sub(1))?;
        let mut union = VersionVector::new();
        let mut given: Vec<Voter> = Vec::new();
        if self.word >= now.number {
            given.push(self.me);
            union.merge(&self.applied);
        }
        for (voter, peer) in &self.peers {
            if let Some(gossip) = peer.gossip.as_ref().filter(|g| g.word >= now.number) {
                given.push(*voter);
                union.merge(&gossip.applied);
            }
        }
        let enough = |epoch: &Epoch| given.iter().filter(|v| epoch.has(**v)).count() >= epoch.quorum();
        (enough(now) && enough(before)).then_some(union)
    }

    /// Keeps the words of the newest epoch when they are enough.
    fn tick_words(&mut self, cx: &mut Cx) {
        let now = self.epoch().clone();
        if self.word >= now.number
            && now.words.is_none()
            && let Some(words) = self.words(&now)
        {
            self.keep_words(words, cx);
        }
    }

    pub(super) fn keep_words(&mut self, words: VersionVector, cx: &mut Cx) {
        let number = self.epoch().number;
        let Some(epoch) = self.epochs.get_mut(&number) else { return };
        epoch.words = Some(words);
        let record = Record::Epoch(epoch.clone());
        self.write(record, cx);
        self.void_closed(cx);
    }

    /// What is gone may itself have known of places that nobody else ever heard of: those do not count.
    fn final_number(&self, origin: Origin, gone: Voter) -> u64 {
        let others = self.epoch().voters().filter(|v| *v != gone && *v != self.me);
        let said = others.filter_map(|v| Some(self.peers.get(&v)?.gossip.as_ref()?.seen.get(origin)));
        said.fold(self.bound(origin), u64::max)
    }

    /// The highest place of an origin that this node knows of, open ones included.
    pub(super) fn highest(&self, origin: Origin) -> u64 {
        let range = Place { origin, seq: 0 }..=Place { origin, seq: u64::MAX };
        let open = self.holds.range(range).next_back().map_or(0, |(place, _)| place.seq);
        open.max(self.logged.get(origin))
    }

    /// The highest place of an origin that a fence has to include: voids above it lie as well behind the fence.
    fn bound(&self, origin: Origin) -> u64 {
        let range = Place { origin, seq: 0 }..=Place { origin, seq: u64::MAX };
        let kept = self.holds.range(range).rev().find(|(_, hold)| hold.decided != Some(Outcome::Void));
        kept.map_or(0, |(place, _)| place.seq).max(self.logged.get(origin))
    }

    /// Opens ballots for what is open of an origin, without waiting.
    pub(super) fn resolve_origin(&mut self, origin: Origin, cx: &mut Cx) {
        let range = Place { origin, seq: 0 }..=Place { origin, seq: u64::MAX };
        let open = self.holds.range(range).filter(|(_, hold)| hold.decided.is_none());
        let open: Vec<(Place, u64)> = open.map(|(place, hold)| (*place, hold.epoch)).collect();
        for (place, epoch) in open {
            self.contest(place, epoch, cx);
        }
    }

    /// PROTOCOL 18. `None`: what is held behind the fence is to be resolved first.
    pub(super) fn judge_change(&mut self, change: &Change) -> Option<Vote> {
        if change.epoch.as_ref().is_some_and(|e| e.number != self.epoch().number + 1) {
            return Some(Vote::No(No::Epoch { now: self.epoch().number }));
        }
        for (origin, last) in &change.fences {
            let held = self.bound(*origin);
            if held > *last && !self.plant(Plant::FenceTooLow) {
                return Some(Vote::No(No::Final { origin: *origin, held }));
            }
            let range = Place { origin: *origin, seq: 0 }..=Place {
                origin: *origin,
                seq: u64::MAX,
            };
            let open = self.holds.range(range).any(|(_, hold)| hold.decided.is_none());
            if open {
                return None;
            }
        }
        Some(Vote::Yes)
    }

    /// From its vote on a member takes nothing beyond the final numbers (PROTOCOL 18).
    pub(super) fn fence_by(&mut self, prepare: &Prepare, decided: bool, cx: &mut Cx) {
        let Kind::Change(change) = &prepare.kind else { return };
        for (origin, last) in &change.fences {
            self.fence(*origin, *last, prepare.place, decided, cx);
        }
    }

    fn fence(&mut self, origin: Origin, last: u64, by: Place, decided: bool, cx: &mut Cx) {
        if self.fences.get(&origin).is_some_and(|f| f.decided) {
            return;
        }
        self.fences.insert(origin, Fence { last, by, decided });
        self.write(Record::Fence { origin, last, by, decided }, cx);
        cx.out.push(Effect::Fence {
            origin,
            last: Some(last),
            decided,
        });
        if decided {
            self.void_beyond(origin, last, cx);
        }
    }

    /// The change it voted for did not come to be.
    pub(super) fn unfence(&mut self, prepare: &Prepare, cx: &mut Cx) {
        let Kind::Change(change) = &prepare.kind else { return };
        for (origin, _) in &change.fences {
            let mine = |f: &&Fence| !f.decided && f.by == prepare.place;
            if self.fences.get(origin).filter(mine).is_some() {
                self.fences.remove(origin);
                self.erase(RecordKey::Fence(*origin), cx);
                cx.out.push(Effect::Fence {
                    origin: *origin,
                    last: None,
                    decided: false,
                });
            }
        }
    }

    /// A change was decided: this voter has heard of it.
    pub(super) fn changed(&mut self, version: Version, causes: &VersionVector, change: &Change, cx: &mut Cx) {
        for (origin, last) in &change.fences {
            self.fence(*origin, *last, version.place, true, cx);
        }
        let Some(epoch) = &change.epoch else { return };
        if self.epochs.contains_key(&epoch.number) {
            return;
        }
        let was = self.epoch().has(self.me);
        let mut epoch = epoch.clone();
        epoch.made = version;
        epoch.causes = causes.clone();
        // Places of one origin are applied in order: its lower ones are causes without being named.
        epoch.causes.advance(version.place.origin, version.place.seq);
        if epoch.has(self.me) && !was {
            // PROTOCOL 15: an admitted member issues nothing at or below the stamp of its admission, and its f starts there.
            self.floor = self.floor.max(version.stamp);
            self.own.floor = self.own.floor.max(version.stamp);
            self.save_own(cx);
        }
        for seat in &epoch.seats {
            if !self.epochs.values().any(|e| e.has(seat.voter)) {
                self.peers.entry(seat.voter).or_default().counted = Some(version.stamp);
            }
        }
        self.write(Record::Epoch(epoch.clone()), cx);
        self.epochs.insert(epoch.number, epoch.clone());
        self.forget_epochs(cx);
        cx.out.push(Effect::Epoch(epoch));
        self.void_closed(cx);
        self.tick_word(cx);
    }

    /// Is this place void for sure because its epoch is over? Words for e+1 are those of a quorum of e, each given after its member
    /// had heard of e+1, voted on nothing of e any more, and applied all of e it held. A transaction of e that committed had a
    /// quorum's yes, one of them among those words, and so their vectors cover it: what they do not cover has never had a quorum's
    /// yes, and never will.
    pub(super) fn is_closed(&self, place: Place, epoch: u64) -> bool {
        let later = self.epochs.range(epoch + 1..).map(|(_, e)| e);
        let uncovered = |words: &VersionVector| !words.contains(place);
        // The words for e+1 are among the causes of the change to e+2.
        let by_words = later.clone().any(|e| e.words.as_ref().is_some_and(uncovered));
        epoch > 0 && (by_words || later.skip_while(|e| e.number < epoch + 2).any(|e| uncovered(&e.causes)))
    }

    /// Without this, places of an epoch whose quorum is gone would stay open for ever.
    fn void_closed(&mut self, cx: &mut Cx) {
        let open = self.holds.iter().filter(|(_, hold)| hold.decided.is_none());
        let closed: Vec<Place> = open
            .filter(|(place, hold)| self.is_closed(**place, hold.epoch))
            .map(|(place, _)| *place)
            .collect();
        for place in closed {
            self.decide(place, Outcome::Void, cx);
        }
    }

    fn forget_epochs(&mut self, cx: &mut Cx) {
        while self.epochs.len() > EPOCHS_MAX {
            let Some((number, _)) = self.epochs.pop_first() else { return };
            self.erase(RecordKey::Epoch(number), cx);
        }
    }

    /// PROTOCOL 17: resolves and applies all it holds of any earlier epoch, and then says so.
    pub(super) fn tick_word(&mut self, cx: &mut Cx) {
        let (now, made) = (self.epoch().number, self.epoch().made.place);
        if self.word >= now || !self.check.done {
            return self.tick_words(cx);
        }
        let earlier: Vec<(Place, u64, bool)> = self
            .holds
            .iter()
            .filter(|(_, hold)| hold.epoch < now)
            .map(|(place, hold)| (*place, hold.epoch, hold.decided.is_none()))
            .collect();
        for (place, epoch, open) in &earlier {
            let mine = self.attempts.contains_key(&place.seq) && place.origin == self.me;
            if *open && !mine {
                self.contest(*place, *epoch, cx);
            }
        }
        let unapplied = earlier.iter().any(|(place, ..)| !self.applied.contains(*place)) && !self.plant(Plant::NoResolve);
        if !unapplied && (made.seq == 0 || self.applied.contains(made)) {
            self.word = now;
        }
    }
}
