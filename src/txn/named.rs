//! Named locks (GET_LOCK): held by sessions of any node, one at a time in the whole cluster.
//!
//! A lock is held by whoever has the votes of a quorum of members for its name. Every member has one vote for a name and gives it to the
//! oldest that asks; who holds too few asks again after having given back what it had, so that all votes meet at the oldest. Votes are
//! leases of five seconds in memory, asked for again every second; a member that has just started gives none for that long.
//!
//! Promises: two sessions never hold a name at once, as long as clocks run at about the same rate; a session's locks end with it, and,
//! where its node dies or loses the quorum, five seconds later (its own node then knows of them no more). Advisory: no write is
//! refused because of them. In a cluster of one all of it happens in this process. Must not know: SQL.
//!
//! Reading order: [`voter`] (a member's votes; pure) → [`message`] → this page (who wants and who holds) → [`wait`] (waiting for one).

pub mod message;
pub mod voter;
mod wait;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::message::{Kind, Message, NOBODY};
use self::voter::{Age, Granted, LEASE_MS, Owner, Voter};
use crate::cluster::Cluster;
use crate::cluster::members::Id;

/// Votes are asked for again this often.
const RENEW: Duration = Duration::from_secs(1);

/// Why a lock was neither had nor refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlocked {
    NoQuorum(String),
    /// The session that has it waits for one of the asker's.
    Deadlock,
    Interrupted,
}

#[derive(Default)]
struct State {
    voter: Voter,
    /// What sessions of this node hold and want.
    claims: HashMap<(u32, String), Claim>,
    /// Questions after the holder of a name.
    questions: HashMap<u64, Question>,
    counted: u64,
}

struct Claim {
    age: Age,
    /// 0: only wanted.
    count: u64,
    /// Who voted for it, and when that vote was asked for.
    votes: HashMap<Id, u64>,
    /// When each voter was asked last.
    asked: HashMap<Id, u64>,
    answered: BTreeSet<Id>,
    /// Who has a vote that it was refused.
    holder: Option<Owner>,
    wake: Arc<Notify>,
}

struct Question {
    answers: HashMap<Id, Owner>,
    wake: Arc<Notify>,
}

/// Who votes now.
struct Seats {
    voters: BTreeSet<Id>,
    needed: usize,
    alone: bool,
}

pub struct Named {
    cluster: Arc<Cluster>,
    me: Id,
    state: Mutex<State>,
    renewing: AtomicBool,
}

impl Claim {
    /// Votes that count still.
    fn votes(&self, seats: &Seats, now_ms: u64) -> usize {
        let counts = |voter: &Id, sent: &u64| seats.alone || (seats.voters.contains(voter) && sent + LEASE_MS > now_ms);
        self.votes.iter().filter(|(voter, sent)| counts(voter, sent)).count()
    }
    fn is_held(&self, seats: &Seats, now_ms: u64) -> bool {
        self.votes(seats, now_ms) >= seats.needed
    }
}

impl Named {
    pub fn new(cluster: Arc<Cluster>) -> Arc<Named> {
        let state = State {
            voter: Voter::new(LEASE_MS),
            ..State::default()
        };
        let named = Arc::new(Named {
            me: cluster.node_id(),
            cluster,
            state: Mutex::new(state),
            renewing: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&named);
        named.cluster.on_told(Arc::new(move |from, payload| {
            if let Some(named) = weak.upgrade() {
                named.received(from, payload);
            }
        }));
        named
    }

    fn seats(&self) -> Seats {
        if self.cluster.has_others() {
            return Seats {
                voters: self.cluster.voters(),
                needed: self.cluster.commit().epoch().quorum(),
                alone: false,
            };
        }
        Seats {
            voters: [self.me].into(),
            needed: 1,
            alone: true,
        }
    }
    fn now_ms(&self) -> u64 {
        self.cluster.process_ms()
    }
    fn owner(&self, session: u32) -> Owner {
        Owner { node: self.me, session }
    }

    /// Asks all voters for their vote, or for its lease to begin anew.
    fn ask(&self, seats: &Seats, key: &(u32, String), claim: &mut Claim, voter: &mut Voter, out: &mut Vec<Granted>) {
        let now_ms = self.now_ms();
        let want = Message {
            number: now_ms,
            session: key.0,
            age: claim.age,
            ..Message::new(Kind::Want, &key.1)
        };
        let bytes = want.encode();
        for id in &seats.voters {
            claim.asked.insert(*id, now_ms);
            if *id != self.me {
                // Not taken means lost: it is asked again.
                self.cluster.tell(*id, &bytes);
                continue;
            }
            let until_ms = if seats.alone { u64::MAX } else { now_ms + LEASE_MS };
            let has = voter.want(&key.1, (self.owner(key.0), claim.age), now_ms, until_ms, out);
            claim.heard(self.me, has, self.owner(key.0), now_ms);
        }
    }

    /// Tells all voters something about a name.
    fn say(&self, seats: &Seats, kind: Kind, key: &(u32, String), state: &mut State) {
        let message = Message {
            session: key.0,
            ..Message::new(kind, &key.1)
        };
        let bytes = message.encode();
        let mut out = Vec::new();
        for id in &seats.voters {
            if *id != self.me {
                self.cluster.tell(*id, &bytes);
            }
        }
        let now_ms = self.now_ms();
        match kind {
            Kind::Later => state.voter.later(&key.1, self.owner(key.0), now_ms, &mut out),
            _ => state.voter.let_go(&key.1, self.owner(key.0), now_ms, &mut out),
        }
        self.granted(state, out);
    }

    /// Votes of this node that went to somebody.
    fn granted(&self, state: &mut State, out: Vec<Granted>) {
        for (name, owner) in out {
            if owner.node != self.me {
                let yes = Message {
                    session: owner.session,
                    ..Message::new(Kind::Yes, &name)
                };
                self.cluster.tell(owner.node, &yes.encode());
            } else if let Some(claim) = state.claims.get_mut(&(owner.session, name)) {
                let asked = claim.asked.get(&self.me).copied().unwrap_or(0);
                claim.heard(self.me, Some(owner), owner, asked);
            }
        }
    }

    fn received(self: &Arc<Self>, from: Id, payload: Bytes) {
        let Some(message) = Message::decode(payload) else {
            tracing::warn!(peer = %from, "a message about a named lock does not decode");
            return;
        };
        let mut state = self.state.lock();
        let now_ms = self.now_ms();
        let theirs = Owner {
            node: from,
            session: message.session,
        };
        let mut out = Vec::new();
        match message.kind {
            Kind::Want => {
                let has = state
                    .voter
                    .want(&message.name, (theirs, message.age), now_ms, now_ms + LEASE_MS, &mut out);
                let answer = Message {
                    number: message.number,
                    session: message.session,
                    owner: has.unwrap_or(NOBODY),
                    ..Message::new(if has == Some(theirs) { Kind::Yes } else { Kind::No }, &message.name)
                };
                self.cluster.tell(from, &answer.encode());
            }
            Kind::LetGo => state.voter.let_go(&message.name, theirs, now_ms, &mut out),
            Kind::Later => state.voter.later(&message.name, theirs, now_ms, &mut out),
            Kind::Yes | Kind::No => self.answered(&mut state, from, &message),
            Kind::Who => {
                let has = Message {
                    number: message.number,
                    owner: state.voter.holder(&message.name).unwrap_or(NOBODY),
                    ..Message::new(Kind::Has, &message.name)
                };
                self.cluster.tell(from, &has.encode());
            }
            Kind::Has => {
                if let Some(question) = state.questions.get_mut(&message.number) {
                    question.answers.insert(from, message.owner);
                    question.wake.notify_one();
                }
            }
        }
        self.granted(&mut state, out);
        drop(state);
        self.keep_renewing();
    }

    fn answered(&self, state: &mut State, from: Id, message: &Message) {
        let key = (message.session, message.name.clone());
        let own = self.owner(message.session);
        match (message.kind, state.claims.get_mut(&key)) {
            (Kind::Yes, Some(claim)) => {
                let asked = claim.asked.get(&from).copied().unwrap_or(0);
                let sent = if message.number == 0 { asked } else { message.number.min(asked) };
                claim.heard(from, Some(own), own, sent);
            }
            (_, Some(claim)) => claim.heard(from, Some(message.owner), own, 0),
            // Given to somebody who does not want it any more.
            (Kind::Yes, None) => {
                let back = Message {
                    session: message.session,
                    ..Message::new(Kind::LetGo, &message.name)
                };
                self.cluster.tell(from, &back.encode());
            }
            (_, None) => {}
        }
    }

    /// How often the session holds it; it may have been lost with the quorum.
    fn held(&self, state: &mut State, seats: &Seats, key: &(u32, String)) -> u64 {
        let Some(claim) = state.claims.get(key) else { return 0 };
        if claim.count > 0 && !claim.is_held(seats, self.now_ms()) {
            tracing::warn!(session = key.0, name = key.1, "a named lock was lost: its leases ran out");
            state.claims.remove(key);
            return 0;
        }
        claim.count
    }

    /// `Some(true)`: given back; `Some(false)`: another session has it; `None`: nobody has.
    pub async fn release(self: &Arc<Self>, session: u32, name: &str) -> Result<Option<bool>, Unlocked> {
        let key = (session, folded(name));
        {
            let seats = self.seats();
            let mut state = self.state.lock();
            if self.held(&mut state, &seats, &key) > 0 {
                let last = state.claims.get_mut(&key).is_none_or(|claim| {
                    claim.count -= 1;
                    claim.count == 0
                });
                if last {
                    state.claims.remove(&key);
                    self.say(&seats, Kind::LetGo, &key, &mut state);
                }
                return Ok(Some(true));
            }
        }
        Ok(self.holder(name).await?.map(|_| false))
    }

    /// All locks of a session; how many there were, counted as often as they were taken.
    pub fn release_all(&self, session: u32) -> u64 {
        let mut state = self.state.lock();
        let keys: Vec<_> = state.claims.keys().filter(|(of, _)| *of == session).cloned().collect();
        if keys.is_empty() {
            return 0;
        }
        let seats = self.seats();
        let mut released = 0;
        for key in keys {
            released += self.held(&mut state, &seats, &key);
            state.claims.remove(&key);
            self.say(&seats, Kind::LetGo, &key, &mut state);
        }
        released
    }

    /// A task that asks again for what is held and wanted, as long as there is anything.
    fn keep_renewing(self: &Arc<Self>) {
        if self.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW).await;
                if !renew(&weak) {
                    return;
                }
            }
        });
    }
}

/// `false`: there is nothing to renew.
fn renew(named: &Weak<Named>) -> bool {
    let Some(named) = named.upgrade() else { return false };
    let mut guard = named.state.lock();
    let state = &mut *guard;
    if state.claims.is_empty() && state.voter.is_empty() {
        named.renewing.store(false, Ordering::Release);
        return false;
    }
    let mut out = Vec::new();
    let seats = named.seats();
    for (key, claim) in &mut state.claims {
        named.ask(&seats, key, claim, &mut state.voter, &mut out);
    }
    state.voter.tick(named.now_ms(), &mut out);
    named.granted(state, out);
    true
}

impl Claim {
    /// A voter said who has its vote; `sent`: when the question it answers was asked.
    fn heard(&mut self, voter: Id, has: Option<Owner>, own: Owner, sent: u64) {
        self.answered.insert(voter);
        if has == Some(own) {
            let slot = self.votes.entry(voter).or_insert(sent);
            *slot = (*slot).max(sent);
        } else {
            self.votes.remove(&voter);
            self.holder = has.filter(|h| *h != NOBODY);
        }
        self.wake.notify_one();
    }
}

/// Names are compared without case.
fn folded(name: &str) -> String {
    name.to_lowercase()
}
