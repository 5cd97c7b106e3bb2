//! Ballots: settling a place whose coordinator is silent, or in doubt itself (PROTOCOL 9).
//!
//! Promises: an outcome is proposed only after a quorum's promises, chosen as they demand, and acted on only after a quorum has
//! accepted it; always with the members of the transaction's own epoch. Must not know: why somebody is in doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starling_log::Place;

use super::coordinator::on_the_way_ms;
use super::ids::{Ballot, Outcome, Voter};
use super::message::{Message, Prepare};
use super::plant::Plant;
use super::state::{Cx, Node};

/// A ballot without a quorum is asked for again after this many silences, and given up for a higher one after more.
const GIVE_UP: u64 = 8;
/// Ballots begun at once.
const CONTESTS_MAX: usize = 512;

#[derive(Clone, Debug)]
struct Reply {
    vote: Option<bool>,
    accepted: Option<(Ballot, Outcome)>,
}

#[derive(Clone, Debug)]
pub(super) struct Contest {
    epoch: u64,
    ballot: Ballot,
    /// The write that reserves the ballot.
    after: u64,
    replies: BTreeMap<Voter, Reply>,
    holders: BTreeSet<Voter>,
    outcome: Option<Outcome>,
    accepted: BTreeSet<Voter>,
    begun_ms: u64,
    sent_ms: u64,
}

impl Node {
    /// Whose members are asked: those of the transaction's own epoch.
    fn asked(&self, epoch: u64) -> u64 {
        if self.plant(Plant::NewestEpoch) {
            self.epoch().number
        } else {
            epoch
        }
    }

    pub(super) fn contest(&mut self, place: Place, epoch: u64, cx: &mut Cx) {
        let ready = self.check.done && !self.check.lost;
        if !ready || self.is_settled(place) || !self.epochs.contains_key(&epoch) || self.contests.contains_key(&place) {
            return;
        }
        let now_ms = self.now_ms;
        let me = self.me;
        let closed = self.is_closed(place, epoch);
        let hold = self.hold(place, epoch);
        if closed && hold.decided.is_none() {
            return self.decide(place, Outcome::Void, cx);
        }
        if hold.decided.is_some() || hold.not_before_ms > now_ms {
            return;
        }
        hold.round = hold.round.max(hold.promised.round) + 1;
        let ballot = Ballot {
            round: hold.round,
            voter: me,
        };
        // A ballot is its owner's once only, over restarts too: its own promise is durable before anybody hears of it.
        let reused = self.plant(Plant::BallotNotDurable);
        let mut after = 0;
        if !reused && let Some(hold) = self.holds.get_mut(&place) {
            hold.promised = ballot;
            after = self.save(place, cx);
        }
        let contest = Contest {
            after,
            epoch: self.asked(epoch),
            ballot,
            replies: BTreeMap::new(),
            holders: BTreeSet::new(),
            outcome: None,
            accepted: BTreeSet::new(),
            begun_ms: now_ms,
            sent_ms: now_ms,
        };
        self.contests.insert(place, contest);
        self.ask_contest(place, cx);
    }

    fn ask_contest(&mut self, place: Place, cx: &mut Cx) {
        let Some(contest) = self.contests.get(&place) else { return };
        let (epoch, ballot, outcome, after) = (contest.epoch, contest.ballot, contest.outcome, contest.after);
        let (accepted, replied, holders) = (
            contest.accepted.clone(),
            contest.replies.keys().copied().collect::<BTreeSet<_>>(),
            contest.holders.clone(),
        );
        let prepare = self.holds.get(&place).and_then(|hold| hold.prepare.clone());
        for voter in self.voters(epoch) {
            match outcome {
                None if !replied.contains(&voter) => {
                    let want = prepare.is_none();
                    let message = Message::Recover {
                        place,
                        epoch,
                        ballot,
                        want,
                    };
                    self.send(voter, message, after, cx);
                }
                Some(outcome) if !accepted.contains(&voter) => {
                    let lacks = outcome == Outcome::Commit && !holders.contains(&voter);
                    let message = Message::Accept {
                        place,
                        epoch,
                        ballot,
                        outcome,
                        prepare: prepare.clone().filter(|_| lacks),
                    };
                    self.send(voter, message, 0, cx);
                }
                _ => {}
            }
        }
    }

    pub(super) fn on_promise(&mut self, from: Voter, message: Message, cx: &mut Cx) {
        let Message::Promise {
            place,
            ballot,
            vote,
            accepted,
            prepare,
        } = message
        else {
            return;
        };
        let Some(contest) = self.contests.get_mut(&place) else { return };
        if contest.ballot != ballot || contest.outcome.is_some() {
            return;
        }
        if vote == Some(true) || prepare.is_some() {
            contest.holders.insert(from);
        }
        contest.replies.insert(from, Reply { vote, accepted });
        let epoch = contest.epoch;
        let Some(quorum) = self.epochs.get(&epoch).filter(|e| e.has(from)).map(|e| e.quorum()) else {
            return;
        };
        self.keep_changes(place, prepare);
        let Some(contest) = self.contests.get(&place) else { return };
        if contest.replies.len() < quorum {
            return;
        }
        let outcome = self.choose(contest);
        if outcome == Outcome::Commit && self.holds.get(&place).is_some_and(|h| h.prepare.is_none()) {
            // Somebody voted yes before this one asked for the changes; whoever has them will be among the next replies.
            return;
        }
        let now_ms = self.now_ms;
        if let Some(contest) = self.contests.get_mut(&place) {
            contest.outcome = Some(outcome);
            contest.sent_ms = now_ms;
        }
        if self.plant(Plant::ActBeforeAccepted) {
            return self.decide(place, outcome, cx);
        }
        self.ask_contest(place, cx);
    }

    fn keep_changes(&mut self, place: Place, prepare: Option<Arc<Prepare>>) {
        if let Some(hold) = self.holds.get_mut(&place)
            && hold.prepare.is_none()
        {
            hold.prepare = prepare;
        }
    }

    /// PROTOCOL 9: the accepted outcome of the highest ballot; else commit if every reply is a yes; else abort.
    fn choose(&self, contest: &Contest) -> Outcome {
        let accepts = contest.replies.values().filter_map(|reply| reply.accepted);
        let accepted = if self.plant(Plant::LowestBallot) {
            accepts.min()
        } else {
            accepts.max()
        };
        let unanimous = contest.replies.values().all(|reply| reply.vote == Some(true));
        match accepted.filter(|_| !self.plant(Plant::AcceptsIgnored)) {
            Some((_, outcome)) => outcome,
            None if unanimous && !self.plant(Plant::YesIgnored) => Outcome::Commit,
            None => Outcome::Void,
        }
    }

    pub(super) fn on_accepted(&mut self, from: Voter, place: Place, ballot: Ballot, cx: &mut Cx) {
        if let Some(contest) = self.contests.get_mut(&place)
            && contest.ballot == ballot
            && let Some(outcome) = contest.outcome
        {
            contest.accepted.insert(from);
            let quorum = self.epochs.get(&contest.epoch).map_or(usize::MAX, |e| e.quorum());
            if contest.accepted.len() >= quorum {
                self.decide(place, outcome, cx);
            }
        } else if ballot == Ballot::zero(self.me)
            && place.origin == self.me
            && let Some(attempt) = self.attempts.get_mut(&place.seq)
        {
            attempt.accepted.insert(from);
            self.count_accepts(place, cx);
        }
    }

    /// Somebody else is at it with a higher ballot: wait, then try above it.
    pub(super) fn on_refused(&mut self, place: Place, promised: Ballot) {
        let wait = self.settings.silent_ms + self.random(self.settings.silent_ms * 4);
        let now_ms = self.now_ms;
        if place.origin == self.me
            && let Some(attempt) = self.attempts.get_mut(&place.seq)
        {
            attempt.contested = true;
        }
        let Some(hold) = self.holds.get_mut(&place) else { return };
        hold.round = hold.round.max(promised.round);
        if self.contests.get(&place).is_some_and(|c| c.ballot < promised) {
            self.contests.remove(&place);
            hold.not_before_ms = now_ms + wait;
        }
    }

    /// A ballot's accept found no changes: once more, with them.
    pub(super) fn resend_accept(&mut self, to: Voter, place: Place, prepare: Arc<Prepare>, cx: &mut Cx) {
        let Some(contest) = self.contests.get(&place) else { return };
        let Some(outcome) = contest.outcome else { return };
        let message = Message::Accept {
            place,
            epoch: contest.epoch,
            ballot: contest.ballot,
            outcome,
            prepare: Some(prepare),
        };
        self.send(to, message, 0, cx);
    }

    pub(super) fn tick_contests(&mut self, cx: &mut Cx) {
        let silent_ms = self.settings.silent_ms;
        let due: Vec<Place> = self
            .contests
            .iter()
            .filter(|(_, c)| self.now_ms - c.sent_ms >= silent_ms)
            .map(|(p, _)| *p)
            .collect();
        for place in due {
            let Some(contest) = self.contests.get_mut(&place) else { continue };
            contest.sent_ms = self.now_ms;
            if self.now_ms - contest.begun_ms < silent_ms * GIVE_UP {
                self.ask_contest(place, cx);
                continue;
            }
            self.contests.remove(&place);
            let wait = self.random(silent_ms * 4);
            let now_ms = self.now_ms;
            if let Some(hold) = self.holds.get_mut(&place) {
                hold.not_before_ms = now_ms + wait;
            }
        }
    }

    /// Places that have been open for too long. The coordinator minds its own first; others take over one after the other.
    pub(super) fn tick_holds(&mut self, cx: &mut Cx) {
        if !self.check.done || self.check.lost {
            return;
        }
        let is_there = |v: &Voter| *v == self.me || !self.peers.get(v).is_some_and(|p| p.silent);
        let rank = self.epoch().voters().filter(is_there).position(|v| v == self.me).unwrap_or(0) as u64;
        let turn = rank * self.settings.silent_ms * 2;
        let mut due = Vec::new();
        for (place, hold) in &self.holds {
            let own = place.origin == self.me;
            let silent = self.peers.get(&place.origin).is_some_and(|p| p.silent);
            let limit = match (own, silent) {
                (true, _) => self.settings.silent_ms,
                (false, true) => self.settings.silent_ms + turn,
                (false, false) => self.settings.recover_ms + turn + hold.prepare.as_deref().map_or(0, on_the_way_ms),
            };
            let open = hold.decided.is_none() && !self.contests.contains_key(place);
            let mine = own && self.attempts.contains_key(&place.seq) && hold.promised.round == 0;
            if open && !mine && self.now_ms.saturating_sub(hold.since_ms) >= limit && hold.not_before_ms <= self.now_ms {
                due.push((*place, hold.epoch));
            }
        }
        let room = CONTESTS_MAX.saturating_sub(self.contests.len());
        for (place, epoch) in due.into_iter().take(room) {
            self.contest(place, epoch, cx);
        }
    }
}
