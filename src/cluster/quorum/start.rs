//! After a start: what the pending tree says, and what others remember of this node (PROTOCOL 2, 4).
//!
//! Promises: nothing is issued, voted, promised or accepted before enough others have confirmed that this log has lost nothing;
//! every place reserved before the start is settled by a ballot. Must not know: where records are kept.

use starling_log::{Origin, Place};

use super::ids::{Outcome, Voter};
use super::message::{Head, Message, Vote};
use super::node::Effect;
use super::plant::Plant;
use super::record::Record;
use super::state::{Cx, Fence, Hold, Node};

/// Others are asked again after this many silences.
const ASK_AGAIN: u64 = 5;

impl Node {
    pub(super) fn recover_record(&mut self, record: Record) {
        match record {
            Record::Own(own) => self.own = own,
            Record::Epoch(epoch) => {
                self.epochs.insert(epoch.number, epoch);
            }
            Record::Fence { origin, last, by, decided } => {
                self.fences.insert(origin, Fence { last, by, decided });
            }
            Record::Peer(voter, kept) => {
                let peer = self.peers.entry(voter).or_default();
                peer.kept = kept;
                peer.before = kept.flush;
            }
            Record::State(place, state) => {
                let hold = self.recovered_hold(place, state.epoch);
                hold.vote = state.vote;
                hold.promised = state.promised;
                hold.accepted = state.accepted;
                hold.saved = 1;
            }
            Record::Prepare(prepare) => {
                let hold = self.recovered_hold(prepare.place, prepare.epoch);
                hold.prepare = Some(prepare);
                hold.prepare_saved = true;
            }
        }
    }

    fn recovered_hold(&mut self, place: Place, epoch: u64) -> &mut Hold {
        let hold = self.hold(place, epoch);
        hold.epoch = epoch;
        // Open since before the start.
        hold.since_ms = 0;
        hold
    }

    pub(super) fn begin(&mut self, cx: &mut Cx) {
        // Writes of before the start are durable; numbers go on from 1.
        self.next_write = 1;
        self.flushed = 1;
        self.own.start += 1;
        self.floor = Default::default();
        let places: Vec<Place> = self.holds.keys().copied().collect();
        for place in places {
            if self.is_beyond(place) {
                self.forget(place, cx);
            } else {
                self.relock(place, cx);
            }
        }
        for (origin, fence) in &self.fences {
            cx.out.push(Effect::Fence {
                origin: *origin,
                last: Some(fence.last),
                decided: fence.decided,
            });
        }
        self.reopen_reserved(cx);
        self.save_own(cx);
        self.word = if self.epochs.len() == 1 && self.holds.is_empty() {
            self.epoch().number
        } else {
            0
        };
        if self.epoch().len() <= 1 && self.epoch().has(self.me) {
            self.check.done = true;
        }
    }

    /// Puts a recovered transaction's keys back; what stands in the log is decided.
    fn relock(&mut self, place: Place, cx: &mut Cx) {
        let logged = self.is_settled(place);
        let outcome = if logged { cx.world.outcome(place) } else { None };
        let Some(hold) = self.holds.get_mut(&place) else { return };
        let commits = hold.vote == Some(Vote::Yes) || hold.accepted.is_some_and(|(_, outcome)| outcome == Outcome::Commit);
        hold.decided = if logged { outcome.or(Some(Outcome::Void)) } else { None };
        hold.round = hold.promised.round;
        let (decided, prepare) = (hold.decided, hold.prepare.clone());
        if let Some(prepare) = prepare
            && decided != Some(Outcome::Void)
            && (commits || decided.is_some())
        {
            self.keys.add(&prepare, decided.is_some());
        }
    }

    /// PROTOCOL 4: it begins above its reservation and settles every reserved place below it by a ballot.
    fn reopen_reserved(&mut self, cx: &mut Cx) {
        let settled = self.logged.get(self.me);
        self.own.blocks.retain(|block| block.to > settled);
        let blocks = self.own.blocks.clone();
        for block in &blocks {
            for seq in block.from.max(settled + 1)..=block.to {
                let place = Place { origin: self.me, seq };
                let hold = self.recovered_hold(place, block.epoch);
                hold.epoch = block.epoch;
                if hold.vote.is_none() && self.plant(Plant::ReservedAreVoid) {
                    self.decide(place, Outcome::Void, cx);
                }
            }
        }
        self.next_seq = blocks.last().map_or(settled, |block| block.to).max(settled) + 1;
    }

    // ---- what others remember --------------------------------------------------------------------------------------------------

    pub(super) fn note_head(&mut self, head: &Head) {
        let peer = self.peers.entry(head.from).or_default();
        if head.start > peer.kept.start {
            peer.before = peer.kept.flush;
            peer.kept.start = head.start;
            peer.dirty = true;
        }
        if head.flush > peer.kept.flush {
            peer.kept.flush = head.flush;
            peer.dirty = true;
        }
        if head.settled_below > peer.kept.settled_below {
            peer.kept.settled_below = head.settled_below;
            peer.dirty = true;
        }
    }

    pub(super) fn tick_check(&mut self, cx: &mut Cx) {
        if !self.check.done && !self.check.lost && !self.check.answers.is_empty() {
            // The epoch may have changed since.
            self.count_check();
        }
        let again_ms = self.settings.silent_ms * ASK_AGAIN;
        if self.check.done || self.check.lost || self.check.asked_ms.is_some_and(|at| self.now_ms - at < again_ms) {
            return;
        }
        if self.plant(Plant::NoAmnesiaCheck) {
            self.check.done = true;
            return;
        }
        self.check.asked_ms = Some(self.now_ms);
        let flush = self.check.flush;
        let others: Vec<Voter> = self
            .epoch()
            .voters()
            .filter(|v| *v != self.me && !self.check.answers.contains(v))
            .collect();
        for voter in others {
            self.send(voter, Message::Check { flush }, 0, cx);
        }
    }

    /// Answered by anybody, whatever it may do itself: what it remembers is true.
    pub(super) fn on_check(&mut self, from: Voter, flush: u64, cx: &mut Cx) {
        let one = self.epochs.values().find_map(|e| e.seat(from)).map(|seat| seat.one);
        let remembered = self
            .peers
            .get(&from)
            .map_or(0, |p| if p.kept.flush > flush { p.kept.flush } else { p.before });
        let answer = Message::CheckAnswer {
            flush: remembered,
            quorum: self.highest(from),
            one: one.map_or(0, |origin| self.logged.get(origin)),
        };
        self.send(from, answer, 0, cx);
    }

    pub(super) fn on_check_answer(&mut self, from: Voter, flush: u64, quorum: u64, one: u64, cx: &mut Cx) {
        if self.check.done || self.check.lost {
            return;
        }
        let reserved = self.own.blocks.last().map_or(0, |block| block.to).max(self.logged.get(self.me));
        let ours: Origin = self.seat.one;
        let why = if flush > self.check.flush {
            Some(format!("member {from} remembers flush {flush}, this log had {}", self.check.flush))
        } else if quorum > reserved {
            Some(format!("member {from} knows place {quorum}, this log reserved {reserved}"))
        } else if one > self.held.get(ours) {
            Some(format!(
                "member {from} holds {one} entries of origin {ours}, this log {}",
                self.held.get(ours)
            ))
        } else {
            None
        };
        if let Some(why) = why {
            self.check.lost = true;
            return cx.out.push(Effect::Amnesia(why));
        }
        self.check.answers.insert(from);
        self.count_check();
    }

    fn count_check(&mut self) {
        // PROTOCOL 2: a quorum without counting itself, or everybody else where they are fewer.
        let needed = self.epoch().quorum().min(self.epoch().len().saturating_sub(1));
        let counted = self.check.answers.iter().filter(|v| self.epoch().has(**v)).count();
        if counted >= needed {
            self.check.done = true;
        }
    }
}
