//! A member's part in everybody's transactions: votes, accepts and promises.
//!
//! Promises: what is said is durable first and binding (PROTOCOL 6, 7, 9); a vote is yes only when every reason of rule 6 allows it.
//! Must not know: how votes are counted.

use std::sync::Arc;

use starling_log::{Hlc, Place, Stamp};

use super::ids::{Ballot, Outcome, Version, Voter};
use super::message::{Kind, Message, Mode, No, Prepare, Settled, Vote};
use super::plant::Plant;
use super::state::{Cx, Node};

impl Node {
    pub(super) fn on_prepare(&mut self, from: Voter, prepare: Arc<Prepare>, cx: &mut Cx) {
        let place = prepare.place;
        if place.origin != from || !self.is_ready() || self.answer_settled(from, place, cx) {
            return;
        }
        // Lower places that are open are known of from now on: somebody may have to settle them.
        for open in &prepare.open {
            let lower = Place {
                origin: place.origin,
                seq: open.seq,
            };
            if !self.is_settled(lower) && !self.is_beyond(lower) && open.seq < place.seq {
                self.hold(lower, open.epoch);
            }
        }
        if let Some(hold) = self.holds.get_mut(&place) {
            // PROTOCOL 9: a promise binds ballot 0 too, also where the prepare was never seen.
            if hold.promised.round > 0 && self.settings.plant != Some(Plant::VoteAfterPromise) {
                let promised = hold.promised;
                let keep = hold.prepare.is_none();
                if keep {
                    hold.prepare = Some(prepare);
                }
                return self.send(from, Message::Refused { place, promised }, 0, cx);
            }
            if let Some(vote) = hold.vote.clone()
                && self.settings.plant != Some(Plant::VoteNotBinding)
            {
                let after = hold.saved;
                return self.send(from, Message::Vote { place, vote }, after, cx);
            }
            if hold.decided.is_some() {
                hold.prepare.get_or_insert(prepare);
                return self.settle_origin(place.origin, cx);
            }
        }
        self.consider(from, prepare, cx);
    }

    /// Votes, or puts the prepare aside until what it waits for is here.
    pub(super) fn consider(&mut self, from: Voter, prepare: Arc<Prepare>, cx: &mut Cx) {
        let place = prepare.place;
        let now = self.epoch().number;
        if prepare.epoch < now {
            // PROTOCOL 17: who hears of e+1 votes on no new transaction of e.
            if self.epochs.get(&prepare.epoch).is_some_and(|e| e.has(self.me)) {
                return self.cast(&prepare, Vote::No(No::Epoch { now }), cx);
            }
            return;
        }
        let waits = !self.has_causes(&prepare) || prepare.epoch > now || (self.word < now && !self.plant(Plant::NoResolve));
        let verdict = if waits { None } else { self.judge(&prepare, cx) };
        match verdict {
            Some(vote) if self.epoch().has(self.me) => {
                self.parked.remove(&place);
                self.cast(&prepare, vote, cx);
            }
            Some(_) => {}
            None => {
                let have = self.logged.clone();
                self.fetch(from, &prepare.causes, false, cx);
                self.send(from, Message::Parked { place, have }, 0, cx);
                self.park(prepare, from);
            }
        }
    }

    /// PROTOCOL 6: it durably holds all causes. What was handed to the log before the vote's write is covered by the same flush.
    fn has_causes(&self, prepare: &Prepare) -> bool {
        if self.plant(Plant::NoCauses) {
            return true;
        }
        let place = prepare.place;
        let logged = self.logged.get(place.origin);
        let gap = place.seq.saturating_sub(logged + 1) as usize;
        let open = prepare.open.iter().filter(|o| o.seq > logged && o.seq < place.seq).count();
        open >= gap && self.logged.covers(&prepare.causes)
    }

    /// PROTOCOL 6. `None`: something is to be resolved first (PROTOCOL 18).
    pub(super) fn judge(&mut self, prepare: &Prepare, cx: &mut Cx) -> Option<Vote> {
        let no = |no| Some(Vote::No(no));
        let start = self.peers.get(&prepare.place.origin).map_or(0, |p| p.kept.start);
        if prepare.start < start {
            return no(No::Start { now: start });
        }
        if let Some(fence) = self.fences.get(&prepare.place.origin)
            && prepare.place.seq > fence.last
            && !self.plant(Plant::FenceIgnored)
        {
            return no(No::Fenced { last: fence.last });
        }
        let ms = prepare.stamp.hlc.ms();
        let latest = cx.world.now_ms() + self.settings.drift_ms;
        if ms > latest {
            return no(No::Early { ms: ms - latest });
        }
        // PROTOCOL 15.
        if prepare.stamp <= self.own.floor && !self.plant(Plant::FloorIgnored) {
            return no(No::Restamp { above: self.own.floor.hlc });
        }
        let below = cx.world.dropped();
        let rows = prepare.kind == Kind::Data;
        if rows && below > prepare.stable && !self.plant(Plant::DroppedIgnored) {
            return no(No::Dropped { below });
        }
        if let Some((key, by)) = self.reserved.in_the_way(prepare, self.now_ms) {
            return no(No::Held { key, by });
        }
        if let Some((key, by)) = self.keys.conflict(prepare)
            && !self.plant(Plant::NoConflicts)
        {
            return no(No::Held { key, by });
        }
        if let Some(refusal) = self.versions(prepare, cx) {
            return no(refusal);
        }
        if let Kind::Change(change) = &prepare.kind {
            match self.judge_change(change) {
                Some(Vote::Yes) => {}
                other => return other,
            }
        }
        match cx.world.wound(prepare) {
            Err(key) => no(No::QueueAtHome { key }),
            Ok(()) => Some(Vote::Yes),
        }
    }

    /// Every key's newest version is the claim's base; below the transaction's stable stamp all are the same.
    fn versions(&mut self, prepare: &Prepare, cx: &mut Cx) -> Option<No> {
        let mut newest = Vec::with_capacity(prepare.claims.len());
        if matches!(prepare.kind, Kind::Change(_)) {
            newest.resize(prepare.claims.len(), self.epoch().made);
        } else {
            cx.world.newest(&prepare.claims, &mut newest);
        }
        for (claim, shown) in prepare.claims.iter().zip(newest) {
            if !claim.mode.is_based() {
                continue;
            }
            if claim.mode == Mode::Seen {
                let unseen = self
                    .keys
                    .unseen(claim, &prepare.causes)
                    .or_else(|| cx.world.unseen(claim, &prepare.causes));
                if let Some(newest) = unseen
                    && !self.plant(Plant::NoVersions)
                    && !self.plant(Plant::UnseenIgnored)
                {
                    return Some(No::Changed { key: claim.key, newest });
                }
                continue;
            }
            let mut newest = shown;
            if !self.plant(Plant::ForgetDecided) {
                newest = newest.max(self.keys.newest(claim));
            }
            if self.plant(Plant::NoVersions) || (claim.mode == Mode::Exclusive && self.plant(Plant::NoMark)) && newest.place != shown.place
            {
                continue;
            }
            if !is_same(claim.base, newest, prepare.stable) {
                return Some(No::Changed { key: claim.key, newest });
            }
            // The fold goes by stamp: what comes after is to be stamped after.
            if claim.mode == Mode::Exclusive && newest.stamp >= prepare.stamp {
                return Some(No::Restamp { above: newest.stamp.hlc });
            }
        }
        None
    }

    /// Others are not let in before it, if that is all it lacks.
    pub(super) fn reserve_for(&mut self, prepare: &Prepare, no: &No) {
        let waits = match no {
            No::Held { .. } => true,
            No::Changed { key, .. } => prepare.claims.iter().any(|c| c.key == *key && c.mode == Mode::Seen),
            _ => false,
        };
        if waits {
            self.reserved.keep(prepare, self.now_ms);
        }
    }

    /// Makes a vote durable and sends it then.
    pub(super) fn cast(&mut self, prepare: &Arc<Prepare>, vote: Vote, cx: &mut Cx) {
        let place = prepare.place;
        if let Vote::No(no) = &vote {
            self.reserve_for(prepare, no);
        }
        let hold = self.hold(place, prepare.epoch);
        hold.epoch = prepare.epoch;
        hold.vote = Some(vote.clone());
        if vote == Vote::Yes {
            hold.prepare = Some(prepare.clone());
            self.keys.add(prepare, false);
            self.fence_by(prepare, false, cx);
        }
        let saved = self.save(place, cx);
        let after = if self.plant(Plant::VoteNotDurable) { 0 } else { saved };
        self.send(place.origin, Message::Vote { place, vote }, after, cx);
    }

    /// PROTOCOL 7: accepts only what it holds; a promise binds.
    pub(super) fn on_accept(
        &mut self,
        from: Voter,
        place: Place,
        epoch: u64,
        (ballot, outcome): (Ballot, Outcome),
        prepare: Option<Arc<Prepare>>,
        cx: &mut Cx,
    ) {
        if !self.may_answer(epoch) || self.answer_settled(from, place, cx) {
            return;
        }
        let zero_passes = ballot.round == 0 && self.plant(Plant::PromiseLeavesZero);
        let hold = self.hold(place, epoch);
        hold.epoch = epoch;
        if hold.promised > ballot && hold.promised.round > 0 && !zero_passes {
            let promised = hold.promised;
            return self.send(from, Message::Refused { place, promised }, 0, cx);
        }
        if hold.prepare.is_none() {
            hold.prepare = prepare;
        }
        if hold.prepare.is_none() && outcome == Outcome::Commit {
            return self.send(from, Message::Ask { place, want: true }, 0, cx);
        }
        hold.promised = hold.promised.max(ballot);
        let again = hold.accepted == Some((ballot, outcome)) && hold.saved > 0;
        hold.accepted = Some((ballot, outcome));
        let lock = if outcome == Outcome::Commit { hold.prepare.clone() } else { None };
        let saved = if again { hold.saved } else { self.save(place, cx) };
        if let Some(prepare) = lock {
            self.keys.add(&prepare, false);
        }
        let after = if self.plant(Plant::AcceptNotDurable) { 0 } else { saved };
        self.send(from, Message::Accepted { place, ballot }, after, cx);
    }

    /// PROTOCOL 9: a promise is durable before its reply and binds ballot 0 too.
    pub(super) fn on_recover(&mut self, from: Voter, place: Place, epoch: u64, ballot: Ballot, want: bool, cx: &mut Cx) {
        if !self.may_answer(epoch) || (self.answer_settled(from, place, cx) && !self.plant(Plant::PromiseSettled)) {
            return;
        }
        self.parked.remove(&place);
        let hold = self.hold(place, epoch);
        hold.epoch = epoch;
        hold.round = hold.round.max(ballot.round);
        if ballot < hold.promised {
            let promised = hold.promised;
            return self.send(from, Message::Refused { place, promised }, 0, cx);
        }
        let again = hold.promised == ballot && hold.saved > 0;
        hold.promised = ballot;
        let reply = Message::Promise {
            place,
            ballot,
            vote: hold.vote.as_ref().map(|vote| *vote == Vote::Yes),
            accepted: hold.accepted,
            prepare: if want { hold.prepare.clone() } else { None },
        };
        let saved = if again { hold.saved } else { self.save(place, cx) };
        let after = if self.plant(Plant::PromiseNotDurable) { 0 } else { saved };
        self.send(from, reply, after, cx);
    }

    /// PROTOCOL 4: accept, promise, learn and recover are answered for any epoch the member belonged to.
    fn may_answer(&self, epoch: u64) -> bool {
        self.check.done && !self.check.lost && self.epochs.get(&epoch).is_some_and(|e| e.has(self.me))
    }

    /// PROTOCOL 9: for a place that is cleared, or settled everywhere and not held, nothing is promised or voted any more.
    pub(super) fn answer_settled(&mut self, from: Voter, place: Place, cx: &mut Cx) -> bool {
        let fenced = self.fences.get(&place.origin).is_some_and(|f| f.decided && place.seq > f.last);
        let settled = if self.is_settled(place) {
            match self
                .holds
                .get(&place)
                .and_then(|hold| hold.decided)
                .or_else(|| cx.world.outcome(place))
            {
                Some(outcome) => Settled::Known(outcome),
                None => Settled::Pruned,
            }
        } else if fenced && !self.plant(Plant::FenceIgnored) {
            // PROTOCOL 18: what anyone holds beyond a fence is void.
            Settled::Known(Outcome::Void)
        } else if self.below_k(place) && !self.holds.contains_key(&place) {
            Settled::Pruned
        } else {
            return false;
        };
        self.send(from, Message::Settled { place, settled }, 0, cx);
        true
    }

    fn below_k(&self, place: Place) -> bool {
        self.peers.get(&place.origin).is_some_and(|p| place.seq < p.kept.settled_below)
    }

    pub(super) fn tick_parked(&mut self, cx: &mut Cx) {
        if self.parked.is_empty() {
            return;
        }
        for (_, (prepare, from)) in std::mem::take(&mut self.parked) {
            let place = prepare.place;
            let known = self
                .holds
                .get(&place)
                .is_some_and(|h| h.vote.is_some() || h.promised.round > 0 || h.decided.is_some());
            if known || self.is_settled(place) {
                continue;
            }
            if !self.has_causes(&prepare) || prepare.epoch > self.epoch().number || self.word < self.epoch().number {
                self.park(prepare, from);
            } else {
                self.consider(from, prepare, cx);
            }
        }
    }
}

/// All versions at or below the transaction's stable stamp count as the same, absent included.
fn is_same(base: Version, newest: Version, stable: Stamp) -> bool {
    base == newest || (base.stamp <= stable && newest.stamp <= stable)
}

/// The latest stamp below this one.
pub(super) fn just_below(stamp: Stamp) -> Stamp {
    Stamp {
        hlc: Hlc(stamp.hlc.0.saturating_sub(1)),
        origin: u16::MAX,
    }
}
