//! Decided transactions: told to all, written at their places, shown, cleared.
//!
//! Promises: entries of an origin are handed to the log in place order (PROTOCOL 7); a pending record is cleared only behind a later
//! fsync, and its decided versions are kept until the entry is applied (PROTOCOL 10). Must not know: how it was decided.

use std::sync::Arc;

use starling_log::{Origin, Place, VersionVector};

use super::ids::{Outcome, Version, Voter};
use super::message::{Kind, Message, Prepare, Settled};
use super::node::{Answer, Effect, Refusal};
use super::plant::Plant;
use super::record::RecordKey;
use super::state::{Cx, Node};

impl Node {
    /// This voter knows the outcome first: it tells the others.
    pub(super) fn decide(&mut self, place: Place, outcome: Outcome, cx: &mut Cx) {
        let Some(hold) = self.holds.get(&place) else { return };
        if hold.decided.is_some() {
            return;
        }
        let (epoch, prepare) = (hold.epoch, hold.prepare.clone());
        let yes = self.attempts.get(&place.seq).filter(|_| place.origin == self.me);
        let yes: Vec<Voter> = yes
            .map(|a| a.votes.iter().filter(|(_, v)| **v == super::Vote::Yes).map(|(v, _)| *v).collect())
            .unwrap_or_default();
        for voter in self.audience(epoch) {
            // Who has the changes needs only the word.
            let lacks = outcome == Outcome::Commit && !yes.contains(&voter);
            let prepare = prepare.clone().filter(|_| lacks);
            self.send(voter, Message::Learn { place, outcome, prepare }, 0, cx);
        }
        self.note_decided(place, outcome, cx);
    }

    pub(super) fn on_learn(&mut self, from: Voter, place: Place, outcome: Outcome, prepare: Option<Arc<Prepare>>, cx: &mut Cx) {
        if self.is_settled(place) || self.is_beyond(place) {
            return;
        }
        let epoch = prepare.as_ref().map_or(0, |p| p.epoch);
        let hold = self.hold(place, epoch);
        if hold.prepare.is_none() {
            hold.prepare = prepare;
        }
        if hold.prepare.is_none() && outcome == Outcome::Commit {
            self.send(from, Message::Ask { place, want: true }, 0, cx);
        }
        self.note_decided(place, outcome, cx);
    }

    pub(super) fn on_ask(&mut self, from: Voter, place: Place, want: bool, cx: &mut Cx) {
        let Some(hold) = self.holds.get(&place) else {
            if self.answer_settled(from, place, cx) && want {
                let have = self.peers.get(&from).and_then(|p| p.gossip.as_ref()).map(|g| g.held.clone());
                cx.out.push(Effect::Supply {
                    to: from,
                    have: have.unwrap_or_default(),
                });
            }
            return;
        };
        match hold.decided {
            Some(outcome) => {
                let prepare = hold.prepare.clone().filter(|_| want && outcome == Outcome::Commit);
                self.send(from, Message::Learn { place, outcome, prepare }, 0, cx);
            }
            // A ballot's accept came to somebody without the changes.
            None if want => {
                let contest = self.contests.contains_key(&place);
                let prepare = hold.prepare.clone();
                if let (true, Some(prepare)) = (contest, prepare) {
                    self.resend_accept(from, place, prepare, cx);
                }
            }
            None => {}
        }
    }

    pub(super) fn on_settled(&mut self, from: Voter, place: Place, settled: Settled, cx: &mut Cx) {
        if self.is_settled(place) {
            return;
        }
        match settled {
            Settled::Known(outcome) => {
                let hold = self.hold(place, 0);
                let lacks = outcome == Outcome::Commit && hold.prepare.is_none();
                self.note_decided(place, outcome, cx);
                if lacks {
                    let mut upto = VersionVector::new();
                    upto.advance(place.origin, place.seq);
                    cx.out.push(Effect::Fetch { from, upto });
                }
            }
            Settled::Pruned => cx.out.push(Effect::TakeSnapshot { from }),
        }
    }

    fn note_decided(&mut self, place: Place, outcome: Outcome, cx: &mut Cx) {
        let Some(hold) = self.holds.get_mut(&place) else { return };
        if hold.decided.is_some() {
            return self.settle_origin(place.origin, cx);
        }
        hold.decided = Some(outcome);
        let prepare = hold.prepare.clone();
        self.contests.remove(&place);
        self.parked.remove(&place);
        match (outcome, prepare) {
            // PROTOCOL 10: the decided stamps of its keys count until the entry is applied.
            (Outcome::Commit, Some(prepare)) => {
                self.keys.add(&prepare, true);
                self.reserved.end(&prepare, self.now_ms);
            }
            (Outcome::Void, Some(prepare)) => {
                self.keys.remove(&prepare);
                self.unfence(&prepare, cx);
            }
            _ => {}
        }
        self.conclude(place, outcome, cx);
        if self.is_beyond(place) {
            return self.forget(place, cx);
        }
        self.settle_origin(place.origin, cx);
    }

    /// PROTOCOL 7: hands the log what is decided, in place order.
    pub(super) fn settle_origin(&mut self, origin: Origin, cx: &mut Cx) {
        loop {
            let next = self.logged.get(origin) + 1;
            let mut place = Place { origin, seq: next };
            if self.plant(Plant::AnyPlaceOrder) {
                let from = place;
                let last = Place { origin, seq: u64::MAX };
                let ready = |h: &super::state::Hold| h.decided == Some(Outcome::Void) || h.decided.is_some() && h.prepare.is_some();
                match self.holds.range(from..last).find(|(_, h)| ready(h)) {
                    Some((found, _)) => place = *found,
                    None => return,
                }
            }
            let Some(hold) = self.holds.get(&place) else { return };
            let prepare = match hold.decided {
                None => return,
                Some(Outcome::Void) => None,
                Some(Outcome::Commit) if hold.prepare.is_none() => return,
                Some(Outcome::Commit) => hold.prepare.clone(),
            };
            if self.is_beyond(place) {
                return;
            }
            if prepare.is_some() && !self.is_explained(place, cx) {
                return;
            }
            if let Some(prepare) = &prepare {
                self.keys.add(prepare, true);
            }
            self.logged.advance(origin, place.seq);
            self.grown = true;
            cx.out.push(Effect::Learn {
                place,
                prepare: prepare.clone(),
            });
            if let Some(prepare) = prepare
                && let Kind::Change(change) = &prepare.kind
            {
                let version = Version {
                    stamp: prepare.stamp,
                    place,
                };
                self.changed(version, &prepare.causes, change, cx);
            }
        }
    }

    /// PROTOCOL 11: tables may be ahead of a synced log only by what `pending` explains, so nothing is handed on before its changes
    /// are durable there. (Where this voter's own yes is, they are; who learns without having voted writes them now.)
    fn is_explained(&mut self, place: Place, cx: &mut Cx) -> bool {
        let Some(hold) = self.holds.get(&place) else { return false };
        let saved = if hold.prepare_saved { hold.saved } else { self.save(place, cx) };
        if saved > self.flushed {
            self.unexplained.insert(place.origin);
        }
        saved <= self.flushed
    }

    /// More is durable: what waited for it goes on.
    pub(super) fn on_flushed(&mut self, cx: &mut Cx) {
        for origin in std::mem::take(&mut self.unexplained) {
            self.settle_origin(origin, cx);
        }
    }

    /// The log is durable up to here; entries that came by streams are among them.
    pub(super) fn on_held(&mut self, vector: &VersionVector, cx: &mut Cx) {
        self.held.merge(vector);
        let news: Vec<(Origin, u64)> = vector.iter().filter(|(origin, seq)| *seq > self.logged.get(*origin)).collect();
        self.logged.merge(vector);
        self.grown |= !news.is_empty();
        for (origin, seq) in news {
            let streamed = self.holds.range(Place { origin, seq: 0 }..=Place { origin, seq });
            let streamed: Vec<Place> = streamed
                .filter(|(_, hold)| hold.decided.is_none())
                .map(|(place, _)| *place)
                .collect();
            for place in streamed {
                match cx.world.outcome(place) {
                    Some(outcome) => self.note_decided(place, outcome, cx),
                    // A snapshot has it in it; how it was decided is no longer known.
                    None => {
                        self.contests.remove(&place);
                        self.forget(place, cx);
                    }
                }
            }
            self.settle_origin(origin, cx);
        }
        self.clear(cx);
    }

    pub(super) fn on_applied(&mut self, vector: &VersionVector, cx: &mut Cx) {
        self.applied.merge(vector);
        self.home_applied(cx);
        let told: Vec<Place> = self
            .waiting
            .keys()
            .filter(|place| self.applied.contains(**place))
            .copied()
            .collect();
        for place in told {
            if let Some((ticket, answer)) = self.waiting.remove(&place) {
                self.answer(Some(ticket), answer, cx);
            }
        }
        self.clear(cx);
    }

    /// PROTOCOL 10: a pending record goes only when its entry is durable in the log and applied.
    fn clear(&mut self, cx: &mut Cx) {
        let early = self.plant(Plant::ClearEarly);
        let durable = if early { &self.logged } else { &self.held };
        let mut cleared: Vec<Place> = Vec::new();
        for (origin, seq) in self.applied.iter() {
            let done = Place { origin, seq: 0 }..=Place {
                origin,
                seq: seq.min(durable.get(origin)),
            };
            cleared.extend(
                self.holds
                    .range(done)
                    .filter(|(_, hold)| hold.decided.is_some())
                    .map(|(place, _)| *place),
            );
        }
        for place in cleared {
            self.forget(place, cx);
        }
    }

    pub(super) fn forget(&mut self, place: Place, cx: &mut Cx) {
        let Some(hold) = self.holds.remove(&place) else { return };
        if let Some(prepare) = &hold.prepare {
            self.keys.remove(prepare);
        }
        if hold.saved > 0 {
            self.erase(RecordKey::State(place), cx);
        }
        if hold.prepare_saved {
            self.erase(RecordKey::Prepare(place), cx);
        }
    }

    /// PROTOCOL 18: beyond a fence there is nothing.
    pub(super) fn is_beyond(&self, place: Place) -> bool {
        !self.plant(Plant::FenceIgnored) && self.fences.get(&place.origin).is_some_and(|f| f.decided && place.seq > f.last)
    }

    /// A fence was decided: what is held beyond it is void, and stands nowhere.
    pub(super) fn void_beyond(&mut self, origin: Origin, last: u64, cx: &mut Cx) {
        if self.plant(Plant::FenceIgnored) {
            return;
        }
        for vector in [&mut self.logged, &mut self.held, &mut self.applied, &mut self.target] {
            if vector.get(origin) > last {
                vector.0.insert(origin, last);
            }
        }
        let beyond = Place { origin, seq: last + 1 }..=Place { origin, seq: u64::MAX };
        let beyond: Vec<Place> = self.holds.range(beyond).map(|(place, _)| *place).collect();
        for place in beyond {
            self.contests.remove(&place);
            self.parked.remove(&place);
            if let Some((ticket, _)) = self.waiting.remove(&place) {
                self.answer(Some(ticket), Answer::Refused(Refusal::Ballot), cx);
            }
            self.conclude(place, Outcome::Void, cx);
            self.forget(place, cx);
        }
    }
}
