//! A node's own transactions: places, prepares, counting votes, deciding.
//!
//! Promises: a place is durably reserved before a prepare uses it (PROTOCOL 4); a decision rests on durable yes votes of all, or on
//! a quorum's durable accepts (PROTOCOL 7); an abort without a ballot only where no commit is possible (PROTOCOL 8).
//! Must not know: how ballots run (`recovery`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_log::{Place, Stamp, VersionVector};

use super::ids::{Ballot, Outcome, Voter};
use super::message::{Level, Message, No, OpenPlace, Prepare, Proposal, Vote};
use super::node::{Answer, Effect, Refusal, Ticket};
use super::plant::Plant;
use super::record::Block;
use super::state::{Cx, Node, PeerState};

/// Changes of this many bytes are on their way for a millisecond longer.
const BYTES_PER_MS: usize = 10_000;

#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub prepare: Arc<Prepare>,
    pub ticket: Option<Ticket>,
    pub votes: BTreeMap<Voter, Vote>,
    pub parked: BTreeSet<Voter>,
    /// Ballot 0's accepts were sent.
    pub accepting: bool,
    pub accepted: BTreeSet<Voter>,
    pub begun_ms: u64,
    pub sent_ms: u64,
    /// Silences since the last thing that was said about it.
    pub rounds: u32,
    /// A member has promised a higher ballot: somebody settles it.
    pub contested: bool,
}

impl Node {
    pub(super) fn propose(&mut self, ticket: Ticket, proposal: Proposal, cx: &mut Cx) {
        if !self.is_ready() {
            return self.refuse(ticket, "its log is not known to be whole and applied yet", cx);
        }
        let epoch = self.epoch().number;
        if !self.epoch().has(self.me) {
            return self.refuse(ticket, "it is not a member", cx);
        }
        if self.word < epoch && !self.plant(Plant::NoResolve) {
            return self.refuse(ticket, "it resolves what is open of an earlier epoch", cx);
        }
        let stamp = Stamp {
            hlc: cx.world.tick(),
            origin: self.me,
        };
        let seq = self.next_place(epoch, cx);
        let prepare = Arc::new(Prepare {
            place: Place { origin: self.me, seq },
            start: self.own.start,
            epoch,
            stamp,
            stable: proposal.stable,
            age: proposal.age,
            level: proposal.level,
            open: self.open_below(seq),
            causes: proposal.causes,
            claims: proposal.claims,
            kind: proposal.kind,
            body: proposal.body,
            patience_ms: proposal.patience_ms,
        });
        // Nothing was sent yet: a no of its own needs no place (PROTOCOL 8).
        match self.judge(&prepare, cx) {
            None => self.refuse(ticket, "it resolves what is open behind a fence", cx),
            Some(Vote::No(no)) => {
                self.reserve_for(&prepare, &no);
                self.answer(Some(ticket), Answer::Refused(Refusal::No(no)), cx);
            }
            Some(Vote::Yes) => self.launch(ticket, prepare, cx),
        }
    }

    fn launch(&mut self, ticket: Ticket, prepare: Arc<Prepare>, cx: &mut Cx) {
        let place = prepare.place;
        self.next_seq = place.seq + 1;
        let attempt = Attempt {
            prepare: prepare.clone(),
            ticket: Some(ticket),
            votes: BTreeMap::new(),
            parked: BTreeSet::new(),
            accepting: false,
            accepted: BTreeSet::new(),
            begun_ms: self.now_ms,
            sent_ms: self.now_ms,
            rounds: 0,
            contested: false,
        };
        self.attempts.insert(place.seq, attempt);
        // PROTOCOL 5: the coordinator is a member like the others and votes durably too.
        self.cast(&prepare, Vote::Yes, cx);
        self.send_prepare(&prepare, &BTreeSet::new(), cx);
    }

    fn send_prepare(&mut self, prepare: &Arc<Prepare>, but: &BTreeSet<Voter>, cx: &mut Cx) {
        // PROTOCOL 4: start number and reservation are durable before the first prepare that uses them.
        let after = if self.plant(Plant::ReservationNotDurable) {
            0
        } else {
            self.own_saved
        };
        for voter in self.voters(prepare.epoch) {
            if voter != self.me && !but.contains(&voter) {
                self.send(voter, Message::Prepare(prepare.clone()), after, cx);
            }
        }
    }

    /// PROTOCOL 4: the next place of a block that is reserved for this epoch.
    fn next_place(&mut self, epoch: u64, cx: &mut Cx) -> u64 {
        let fits = |block: &Block| block.epoch == epoch && block.to >= self.next_seq;
        if !self.own.blocks.last().is_some_and(fits) {
            self.reserve(epoch, cx);
        }
        self.next_seq
    }

    fn reserve(&mut self, epoch: u64, cx: &mut Cx) {
        let last = self.own.blocks.last().map_or(0, |block| block.to);
        // Places of another epoch's block that no prepare ever used: void, alone (PROTOCOL 8).
        let unused = self.next_seq..=last;
        let settled = self.logged.get(self.me);
        self.own.blocks.retain(|block| block.to > settled);
        let from = last.max(self.next_seq.saturating_sub(1)).max(settled) + 1;
        self.own.blocks.push(Block {
            from,
            to: from + self.settings.block - 1,
            epoch,
        });
        self.save_own(cx);
        for seq in unused {
            let place = Place { origin: self.me, seq };
            self.hold(place, epoch);
            self.decide(place, Outcome::Void, cx);
        }
        self.next_seq = from;
    }

    /// Everything of its own below this stands in every member's log, durably (PROTOCOL 9).
    pub(super) fn settled_below(&self) -> u64 {
        let others = self.epoch().voters().filter(|v| *v != self.me);
        let held = others.map(|v| {
            self.peers
                .get(&v)
                .and_then(|p| p.gossip.as_ref())
                .map_or(0, |g| g.held.get(self.me))
        });
        held.fold(self.held.get(self.me), u64::min) + 1
    }

    /// Own places below `seq` whose outcome is open.
    fn open_below(&self, seq: u64) -> Vec<OpenPlace> {
        let own = Place { origin: self.me, seq: 0 }..Place { origin: self.me, seq };
        let open = self.holds.range(own).filter(|(_, hold)| hold.decided.is_none());
        let open = open.map(|(place, hold)| OpenPlace {
            seq: place.seq,
            epoch: hold.epoch,
        });
        open.collect()
    }

    // ---- counting ------------------------------------------------------------------------------------------------------------

    pub(super) fn on_vote(&mut self, from: Voter, place: Place, vote: Vote, cx: &mut Cx) {
        if place.origin != self.me || self.contests.contains_key(&place) {
            return;
        }
        let Some(attempt) = self.attempts.get_mut(&place.seq) else { return };
        if !self.epochs.get(&attempt.prepare.epoch).is_some_and(|e| e.has(from)) {
            return;
        }
        attempt.parked.remove(&from);
        attempt.votes.entry(from).or_insert(vote);
        let prompt = self.now_ms.saturating_sub(attempt.begun_ms) < self.settings.silent_ms;
        if prompt && let Some(peer) = self.peers.get_mut(&from) {
            peer.slow = false;
        }
        self.count(place, false, cx);
    }

    pub(super) fn on_parked(&mut self, from: Voter, place: Place, have: VersionVector, cx: &mut Cx) {
        if place.origin != self.me {
            return;
        }
        let Some(attempt) = self.attempts.get_mut(&place.seq) else { return };
        attempt.parked.insert(from);
        let mut upto = attempt.prepare.causes.clone();
        upto.advance(self.me, u64::MAX);
        let missing = !have.covers(&attempt.prepare.causes);
        self.supply(from, &have, &upto, missing, cx);
    }

    /// Sends along what a member lacks (PROTOCOL 6): decided places from here, the rest by the ordinary stream.
    fn supply(&mut self, to: Voter, have: &VersionVector, upto: &VersionVector, all: bool, cx: &mut Cx) {
        let mut learns = Vec::new();
        for (origin, last) in upto.iter() {
            let first = have.get(origin) + 1;
            if first > last {
                continue;
            }
            let lacked = Place { origin, seq: first }..=Place { origin, seq: last };
            let decided = self.holds.range(lacked);
            learns.extend(decided.filter_map(|(place, hold)| Some((*place, hold.decided?, hold.prepare.clone()))));
        }
        for (place, outcome, prepare) in learns {
            let prepare = prepare.filter(|_| outcome == Outcome::Commit);
            self.send(to, Message::Learn { place, outcome, prepare }, 0, cx);
        }
        if all {
            cx.out.push(Effect::Supply { to, have: have.clone() });
        }
    }

    /// PROTOCOL 7 and 8. `late`: somebody has been silent for long enough.
    fn count(&mut self, place: Place, late: bool, cx: &mut Cx) {
        let Some(attempt) = self.attempts.get(&place.seq) else { return };
        let Some(epoch) = self.epochs.get(&attempt.prepare.epoch) else {
            return;
        };
        let yes = attempt.votes.values().filter(|v| **v == Vote::Yes).count();
        let no = attempt.votes.len() - yes;
        let (all, quorum) = (epoch.len(), epoch.quorum());
        let quick = attempt.prepare.level == Level::Quorum;
        if yes == all || (quick && yes >= quorum && self.plant(Plant::QuorumYesDecides)) {
            return self.decide(place, Outcome::Commit, cx);
        }
        // No quorum can be without one of them.
        if no > all - quorum || (late && no + yes < all && self.plant(Plant::AbortAlone)) {
            return self.decide(place, Outcome::Void, cx);
        }
        if attempt.accepting {
            return self.count_accepts(place, cx);
        }
        let unanswered: Vec<Voter> = epoch.voters().filter(|v| !attempt.votes.contains_key(v)).collect();
        let rounds = attempt.rounds;
        let epoch = attempt.prepare.epoch;
        let is = |what: fn(&PeerState) -> bool| unanswered.iter().all(|v| self.peers.get(v).is_some_and(what));
        if yes >= quorum && quick {
            if no > 0 || late || is(|p| p.silent || p.slow) {
                if late {
                    self.note_slow(&unanswered);
                }
                self.accept_zero(place, cx);
            }
            return;
        }
        // Decided for sure only by a ballot: whoever can answer has done so, and neither all nor a quorum agree.
        let split = no > 0 && (late || is(|p| p.silent || p.slow));
        if split || is(|p| p.silent) || (late && rounds >= self.settings.vote_rounds) {
            if late && yes + no >= quorum {
                self.note_slow(&unanswered);
            }
            self.contest(place, epoch, cx);
        } else if late && rounds.is_power_of_two() {
            // It may have been lost with its stream; who has voted says so again.
            self.remind(place, &unanswered, cx);
        }
    }

    /// These are not waited for again until they are prompt.
    fn note_slow(&mut self, voters: &[Voter]) {
        for voter in voters.iter().filter(|v| **v != self.me) {
            self.peers.entry(*voter).or_default().slow = true;
        }
    }

    fn remind(&mut self, place: Place, unanswered: &[Voter], cx: &mut Cx) {
        let Some(attempt) = self.attempts.get(&place.seq) else { return };
        let (prepare, answered) = (attempt.prepare.clone(), attempt.votes.keys().copied().collect());
        if !unanswered.is_empty() {
            self.send_prepare(&prepare, &answered, cx);
        }
    }

    /// The slow path: ballot 0's accepts, sent once a quorum voted yes.
    fn accept_zero(&mut self, place: Place, cx: &mut Cx) {
        let Some(attempt) = self.attempts.get_mut(&place.seq) else { return };
        attempt.accepting = true;
        attempt.sent_ms = self.now_ms;
        attempt.rounds = 0;
        self.send_accepts(place, cx);
    }

    fn send_accepts(&mut self, place: Place, cx: &mut Cx) {
        let Some(attempt) = self.attempts.get(&place.seq) else { return };
        let (prepare, votes, accepted) = (attempt.prepare.clone(), attempt.votes.clone(), attempt.accepted.clone());
        for voter in self.voters(prepare.epoch).into_iter().filter(|v| !accepted.contains(v)) {
            let holds_it = votes.get(&voter) == Some(&Vote::Yes);
            let message = Message::Accept {
                place,
                epoch: prepare.epoch,
                ballot: Ballot::zero(self.me),
                outcome: Outcome::Commit,
                prepare: if holds_it { None } else { Some(prepare.clone()) },
            };
            self.send(voter, message, 0, cx);
        }
    }

    pub(super) fn count_accepts(&mut self, place: Place, cx: &mut Cx) {
        let Some(attempt) = self.attempts.get(&place.seq) else { return };
        let quorum = self.epochs.get(&attempt.prepare.epoch).map_or(usize::MAX, |e| e.quorum());
        if attempt.accepted.len() >= quorum {
            self.decide(place, Outcome::Commit, cx);
        }
    }

    /// PROTOCOL 7: on without a member as soon as it has been silent for long enough.
    pub(super) fn tick_attempts(&mut self, cx: &mut Cx) {
        let me = self.me;
        let due: Vec<u64> = self
            .attempts
            .iter()
            .filter(|(seq, a)| {
                let contested = self.contests.contains_key(&Place { origin: me, seq: **seq });
                self.now_ms.saturating_sub(a.sent_ms) >= self.settings.silent_ms + on_the_way_ms(&a.prepare) && !contested
            })
            .map(|(seq, _)| *seq)
            .collect();
        for seq in due {
            let place = Place { origin: self.me, seq };
            let Some(attempt) = self.attempts.get_mut(&seq) else { continue };
            attempt.sent_ms = self.now_ms;
            attempt.rounds += 1;
            let (epoch, accepting, rounds) = (attempt.prepare.epoch, attempt.accepting, attempt.rounds);
            if attempt.contested || (accepting && rounds >= self.settings.accept_rounds) {
                self.contest(place, epoch, cx);
            } else if accepting {
                self.send_accepts(place, cx);
            } else {
                self.count(place, true, cx);
            }
        }
    }

    /// The outcome of an own transaction is known.
    pub(super) fn conclude(&mut self, place: Place, outcome: Outcome, cx: &mut Cx) {
        if place.origin != self.me {
            return;
        }
        let Some(attempt) = self.attempts.remove(&place.seq) else { return };
        self.home_decided(&attempt.prepare, outcome, cx);
        let Some(ticket) = attempt.ticket else { return };
        let version = super::ids::Version {
            stamp: attempt.prepare.stamp,
            place,
        };
        if outcome == Outcome::Commit {
            let all = attempt.votes.values().filter(|v| **v == Vote::Yes).count();
            let members = self.epochs.get(&attempt.prepare.epoch).map_or(0, |e| e.len());
            let whole = attempt.prepare.level == Level::Quorum || all == members;
            let answer = if whole {
                Answer::Committed(version)
            } else {
                Answer::NotAll(version)
            };
            if self.applied.contains(place) {
                self.answer(Some(ticket), answer, cx);
            } else {
                self.waiting.insert(place, (ticket, answer));
            }
            return;
        }
        let refusal = worst(&attempt.votes).map_or(Refusal::Ballot, Refusal::No);
        if let Refusal::No(no) = &refusal
            && is_passing(no)
        {
            if let No::Restamp { above } = no {
                cx.world.keep_above(*above);
            }
            let again = Refusal::Again(Box::new(Proposal::of(&attempt.prepare)));
            return self.answer(Some(ticket), Answer::Refused(again), cx);
        }
        self.answer(Some(ticket), Answer::Refused(refusal), cx);
    }
}

/// How long changes of this size may be on their way.
pub(super) fn on_the_way_ms(prepare: &Prepare) -> u64 {
    (prepare.body.len() / BYTES_PER_MS) as u64
}

/// It says nothing of what the transaction is based on: the same may well be proposed again.
fn is_passing(no: &No) -> bool {
    matches!(no, No::Epoch { .. } | No::Restamp { .. } | No::Start { .. })
}

/// Of several reasons the one that says most about what to do next.
fn worst(votes: &BTreeMap<Voter, Vote>) -> Option<No> {
    let rank = |no: &No| match no {
        No::Changed { .. } | No::Dropped { .. } => 0,
        No::QueueAtHome { .. } => 1,
        No::Held { .. } => 2,
        _ => 3,
    };
    let nos = votes.values().filter_map(|vote| match vote {
        Vote::No(no) => Some(no),
        Vote::Yes => None,
    });
    nos.min_by_key(|no| rank(no)).cloned()
}
