//! Locks at a key's home member: advisory, in memory, lost with it (PROTOCOL 12, 14). No decision ever rests on them.
//!
//! A vote compares versions, so of two nodes that change one row at once only one commits. For most rows that is cheap: conflicts are
//! rare, and one round is all there is. Rows that all want (*hot*: see `txn::locks::away`) go through their home first:
//!
//! ```text
//!  session ─▶ lock table: hot, and another node's ─▶ Want ─▶ [desk] ─Lock(age)─▶ home: [table], a queue by age
//!                                                                                  │ Granted(newest), when it is this node's turn
//!  runs on the newest version ◀── Had, once that version is applied here ◀─ [desk] ◀┘
//!  … commits; nobody here waits, or somebody older waits elsewhere (Awaited) ─▶ Give ─▶ [desk] ─Release(newest)─▶ home
//! ```
//!
//! * The home is a *node's* lock: whoever has it serves its own sessions by its own lock table, by age; where an older one waits
//!   elsewhere, that node's wish stands in the lock table as a party of that age. So wound-wait holds on every edge (PROTOCOL 12).
//! * The home is the voter with the highest hash of (key, voter) among those of the newest epoch that do not look silent. Views may
//!   differ for a while: then two have the lock, and the votes decide, as they do without any lock.
//! * Every message may be lost, late or doubled: a `Lock` is said again until it is answered, an `Awaited` until it is released;
//!   who is told of a lock it does not know releases it. A home that does not answer for [`desk::GIVE_UP_MS`] is done without.
//! * Locks of a voter that looks silent, or is in the epoch no more, are dropped. One that is idle is asked back by the next who
//!   wants it; who does not answer to that for a while (a node that stands still) has it no more.
//!
//! Promises: the older goes first, whatever node it is at; nobody waits for a member that is gone. Must not know: votes, ballots,
//! what keys mean.

pub(super) mod desk;
pub(super) mod table;

use std::collections::BTreeMap;

use starling_log::Stamp;

use self::desk::{Desk, Granted};
use self::table::Table;
use super::ids::{Epoch, Outcome, Version, Voter};
use super::message::{Message, Prepare};
use super::node::Effect;
use super::state::{Cx, Node, PeerState};

/// Which request of which member; only that member gives it a meaning. Later ones are higher.
pub type RequestNo = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeMessage {
    /// Queue me for this key, by age.
    Lock { request: RequestNo, key: u128, age: Stamp },
    /// You stand in the queue; from a holder: it is in use here.
    Queued { request: RequestNo, key: u128 },
    /// You have it; what is known to be the newest version. `contended`: others had it, or wait.
    Granted {
        request: RequestNo,
        key: u128,
        newest: Version,
        contended: bool,
    },
    /// Somebody of this age waits for it: let go when those before it are done, unless a prepare of yours may already be decided.
    Awaited { request: RequestNo, key: u128, age: Stamp },
    /// I have it no more (or never asked for it), and know of this version.
    Release { request: RequestNo, key: u128, newest: Version },
}

/// What a node asks its desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Somebody here waits for it; `age`: of the oldest.
    Want { key: u128, age: Stamp },
    /// Nobody here uses it any more.
    Give { key: u128 },
}

/// What a node is told by its desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is this node's, and its newest version is applied here.
    Had { key: u128, contended: bool },
    /// Its holder here has made a new version of it, and somebody waits elsewhere: it may go at once, with that version.
    Decided { key: u128 },
    /// Somebody of this age waits for it elsewhere; `None`: its home is another by now, so it is to be asked for anew.
    Awaited { key: u128, age: Option<Stamp> },
}

/// What either side wants said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Mail(Voter, HomeMessage),
    Told(Told),
}

/// Both sides of it at one node.
#[derive(Debug, Default)]
pub(super) struct Homes {
    table: Table,
    desk: Desk,
    said: Vec<Said>,
}

impl Node {
    pub(super) fn ask_home(&mut self, ask: Ask, cx: &mut Cx) {
        let said = &mut self.homes.said;
        match ask {
            Ask::Want { key, age } => match home_of(&self.epochs, &self.peers, key) {
                Some(home) => {
                    let first = u64::from(self.own.start) << 32;
                    self.homes.desk.want(key, age, home, first, self.now_ms, said);
                }
                // Nobody is there to ask.
                None => said.push(Said::Told(Told::Had { key, contended: false })),
            },
            Ask::Give { key } => self.homes.desk.give(key, said),
        }
        self.say_home(cx);
    }

    pub(super) fn on_home(&mut self, from: Voter, message: HomeMessage, cx: &mut Cx) {
        let Homes { table, desk, said } = &mut self.homes;
        match message {
            HomeMessage::Lock { request, key, age } => table.lock(from, request, key, age, self.now_ms, said),
            HomeMessage::Release { request, key, newest } => table.release(from, request, key, newest, self.now_ms, said),
            HomeMessage::Queued { request, key } => {
                desk.queued(from, request, key, self.now_ms);
                table.holding(from, request, key, self.now_ms);
            }
            HomeMessage::Granted {
                request,
                key,
                newest,
                contended,
            } => {
                let shown = newest == Version::default() || self.applied.contains(newest.place);
                let granted = Granted { newest, contended, shown };
                desk.granted(from, request, key, granted, self.now_ms, said);
            }
            HomeMessage::Awaited { request, key, age } => desk.awaited(from, request, key, age, said),
        }
        self.say_home(cx);
    }

    /// More is shown: keys whose newest version waited for it are to be had.
    pub(super) fn home_applied(&mut self, cx: &mut Cx) {
        if self.homes.desk.is_idle() {
            return;
        }
        self.homes.desk.applied(&self.applied, &mut self.homes.said);
        self.say_home(cx);
    }

    /// A transaction of this node is decided: whoever has its keys next is to start from it.
    pub(super) fn home_decided(&mut self, prepare: &Prepare, outcome: Outcome, cx: &mut Cx) {
        if outcome == Outcome::Void || self.homes.desk.is_idle() {
            return;
        }
        let version = Version {
            stamp: prepare.stamp,
            place: prepare.place,
        };
        for claim in prepare.claims.iter().filter(|c| c.mode.writes()) {
            self.homes.desk.decided(claim.key, version, &mut self.homes.said);
        }
        self.say_home(cx);
    }

    pub(super) fn tick_home(&mut self, cx: &mut Cx) {
        let (epochs, peers) = (&self.epochs, &self.peers);
        let Homes { table, desk, said } = &mut self.homes;
        if !desk.is_idle() {
            desk.tick(self.now_ms, |key| home_of(epochs, peers, key), said);
        }
        if !table.is_idle() {
            table.tick(self.now_ms, |voter| is_there(epochs, peers, voter), said);
        }
        self.say_home(cx);
    }

    fn say_home(&mut self, cx: &mut Cx) {
        let mut said = std::mem::take(&mut self.homes.said);
        for said in said.drain(..) {
            match said {
                Said::Mail(to, message) => self.send(to, Message::Home(message), 0, cx),
                Said::Told(told) => cx.out.push(Effect::Home(told)),
            }
        }
        self.homes.said = said;
    }
}

fn is_there(epochs: &BTreeMap<u64, Epoch>, peers: &BTreeMap<Voter, PeerState>, voter: Voter) -> bool {
    let votes = epochs.last_key_value().is_some_and(|(_, epoch)| epoch.has(voter));
    votes && !peers.get(&voter).is_some_and(|peer| peer.silent)
}

/// The key's home, as it looks from here.
fn home_of(epochs: &BTreeMap<u64, Epoch>, peers: &BTreeMap<Voter, PeerState>, key: u128) -> Option<Voter> {
    let (_, epoch) = epochs.last_key_value()?;
    let there = epoch.voters().filter(|v| is_there(epochs, peers, *v));
    there.max_by_key(|voter| {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&key.to_le_bytes());
        bytes[16..].copy_from_slice(&voter.to_le_bytes());
        xxhash_rust::xxh3::xxh3_64(&bytes)
    })
}

#[cfg(test)]
mod tests;
