//! Waiting for a named lock, and asking who has it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::message::{Kind, Message, NOBODY};
use super::voter::Owner;
use super::{Claim, Named, Question, Seats, State, Unlocked, folded};
use crate::txn::locks::Interrupt;

/// Who has some votes, but too few, gives them back after this (and up to as much again, by chance).
const TURN: Duration = Duration::from_millis(100);
/// How long voters have to answer whom nobody waits for otherwise.
const ROUND: Duration = Duration::from_secs(1);

/// What one look at a claim says.
enum Look {
    Held,
    /// All voters have answered.
    Refused,
    Waiting,
}

/// Takes the wish back if nobody waits for it any more.
struct Wish<'a> {
    named: &'a Arc<Named>,
    key: &'a (u32, String),
    kept: bool,
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let mut state = self.named.state.lock();
            state.claims.remove(self.key);
            self.named.say(&self.named.seats(), Kind::LetGo, self.key, &mut state);
        }
    }
}

impl Named {
    /// Takes a lock (again), or waits for it, for ever without `wait`. `false`: the time was up.
    pub async fn take(self: &Arc<Self>, session: u32, name: &str, wait: Option<Duration>, interrupt: &Interrupt) -> Result<bool, Unlocked> {
        let key = (session, folded(name));
        let begun = Instant::now();
        let Some(wake) = self.wish(&key)? else { return Ok(true) };
        self.keep_renewing();
        let mut wish = Wish {
            named: self,
            key: &key,
            kept: false,
        };
        let deadline = wait.and_then(|w| begun.checked_add(w));
        let mut turn = begun + self.turn();
        loop {
            match self.look(&key)? {
                Look::Held => {
                    wish.kept = true;
                    return Ok(true);
                }
                Look::Refused if deadline.is_some_and(|d| Instant::now() >= d) => return Ok(false),
                Look::Waiting if deadline.is_some_and(|d| Instant::now() >= d.max(begun + ROUND)) => return Ok(false),
                Look::Refused | Look::Waiting => {}
            }
            let until = match deadline {
                Some(deadline) if deadline > Instant::now() => turn.min(deadline),
                _ => turn,
            };
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
                () = interrupt.raised() => return Err(Unlocked::Interrupted),
            }
            if Instant::now() >= turn {
                self.give_back_if_too_few(&key);
                turn = Instant::now() + self.turn();
            }
        }
    }

    fn turn(&self) -> Duration {
        TURN + TURN.mul_f64(rand::random())
    }

    /// Begins to want it; `None`: the session has it already.
    fn wish(&self, key: &(u32, String)) -> Result<Option<Arc<Notify>>, Unlocked> {
        let seats = self.seats();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if self.held(state, &seats, key) > 0 {
            if let Some(claim) = state.claims.get_mut(key) {
                claim.count += 1;
            }
            return Ok(None);
        }
        if seats.alone {
            state.voter.is_alone();
        } else {
            self.cluster.commit().has_quorum().map_err(Unlocked::NoQuorum)?;
        }
        state.counted += 1;
        let wake = Arc::new(Notify::new());
        let mut claim = Claim {
            age: (self.cluster.log().clock().now_ms(), state.counted),
            count: 0,
            votes: HashMap::new(),
            asked: HashMap::new(),
            answered: BTreeSet::new(),
            holder: None,
            wake: Arc::clone(&wake),
        };
        let mut out = Vec::new();
        self.ask(&seats, key, &mut claim, &mut state.voter, &mut out);
        state.claims.insert(key.clone(), claim);
        self.granted(state, out);
        Ok(Some(wake))
    }

    fn look(&self, key: &(u32, String)) -> Result<Look, Unlocked> {
        let seats = self.seats();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let now_ms = self.now_ms();
        let Some(claim) = state.claims.get_mut(key) else {
            return Err(Unlocked::Interrupted);
        };
        if claim.is_held(&seats, now_ms) {
            claim.count = 1;
            return Ok(Look::Held);
        }
        let answered = seats.voters.is_subset(&claim.answered);
        if !seats.alone {
            self.cluster.commit().has_quorum().map_err(Unlocked::NoQuorum)?;
        }
        if self.is_deadlock(state, key) {
            return Err(Unlocked::Deadlock);
        }
        Ok(if answered { Look::Refused } else { Look::Waiting })
    }

    /// Does the one that has it wait, over any number of others on this node, for this session?
    fn is_deadlock(&self, state: &State, key: &(u32, String)) -> bool {
        let waits_for = |session: u32| {
            let waiting = state.claims.iter().find(|((of, _), claim)| *of == session && claim.count == 0);
            let ((_, name), claim) = waiting?;
            // Who has one vote may be waiting as well: only who has the lock holds anybody up.
            let has = |of: u32| state.claims.get(&(of, name.clone())).is_some_and(|c| c.count > 0);
            claim.holder.filter(|h| h.node == self.me && has(h.session))
        };
        let mut at = waits_for(key.0);
        for _ in 0..state.claims.len() {
            match at {
                Some(holder) if holder.session == key.0 => return true,
                Some(holder) => at = waits_for(holder.session),
                None => return false,
            }
        }
        false
    }

    fn give_back_if_too_few(&self, key: &(u32, String)) {
        let seats = self.seats();
        let mut state = self.state.lock();
        let now_ms = self.now_ms();
        let Some(claim) = state.claims.get_mut(key) else { return };
        if !claim.votes.is_empty() && !claim.is_held(&seats, now_ms) {
            claim.votes.clear();
            self.say(&seats, Kind::Later, key, &mut state);
        }
    }

    /// Does a session of this node wait for a lock?
    pub fn is_waiting(&self, session: u32) -> bool {
        let state = self.state.lock();
        state.claims.iter().any(|((of, _), claim)| *of == session && claim.count == 0)
    }

    /// Who has it: the one that a quorum of members voted for.
    pub async fn holder(self: &Arc<Self>, name: &str) -> Result<Option<Owner>, Unlocked> {
        let name = folded(name);
        let seats = self.seats();
        let wake = Arc::new(Notify::new());
        let number = {
            let mut state = self.state.lock();
            let own = state.voter.holder(&name);
            if seats.alone {
                return Ok(own);
            }
            self.cluster.commit().has_quorum().map_err(Unlocked::NoQuorum)?;
            state.counted += 1;
            let question = Question {
                answers: [(self.me, own.unwrap_or(NOBODY))].into(),
                wake: Arc::clone(&wake),
            };
            let number = state.counted;
            state.questions.insert(number, question);
            number
        };
        let who = Message {
            number,
            ..Message::new(Kind::Who, &name)
        };
        let bytes = who.encode();
        for voter in seats.voters.iter().filter(|v| **v != self.me) {
            self.cluster.tell(*voter, &bytes);
        }
        let end = Instant::now() + ROUND;
        let found = loop {
            match self.counted(number, &seats) {
                Some(found) => break Ok(found),
                None if Instant::now() >= end => break Err(Unlocked::NoQuorum("too few members answer".to_owned())),
                None => {
                    tokio::select! {
                        () = wake.notified() => {}
                        () = tokio::time::sleep_until(end) => {}
                    }
                }
            }
        };
        self.state.lock().questions.remove(&number);
        found
    }

    /// `None`: too few have answered to say.
    fn counted(&self, number: u64, seats: &Seats) -> Option<Option<Owner>> {
        let state = self.state.lock();
        let answers = &state.questions.get(&number)?.answers;
        let counted: Vec<Owner> = answers.iter().filter(|(v, _)| seats.voters.contains(v)).map(|(_, o)| *o).collect();
        let votes = |owner: Owner| counted.iter().filter(|o| **o == owner).count();
        if let Some(owner) = counted.iter().find(|o| **o != NOBODY && votes(**o) >= seats.needed) {
            return Some(Some(*owner));
        }
        // Those that are missing could not make a quorum of anybody any more.
        let missing = seats.voters.len().saturating_sub(counted.len());
        let most = counted.iter().filter(|o| **o != NOBODY).map(|o| votes(*o)).max().unwrap_or(0);
        let enough = counted.len() >= seats.needed && most + missing < seats.needed;
        (enough || missing == 0).then_some(None)
    }
}
