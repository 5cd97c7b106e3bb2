//! What voters say to each other.
//!
//! Promises: nothing here decides anything. Bodies are shared, never copied. Must not know: how messages travel.

use std::sync::Arc;

use bytes::Bytes;
use starling_log::{Hlc, Origin, Place, Stamp, VersionVector};

use super::home::HomeMessage;
use super::ids::{Ballot, Epoch, Outcome, Version, Voter};

/// How a transaction holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Announcements on tables and schemas: based on nothing.
    IntentShared,
    IntentExclusive,
    /// Read: the newest version is to be `base`.
    Shared,
    /// Read by a row that points here (parent of a foreign key): like `Shared`, and it leaves a mark, on which every later
    /// `Exclusive` claim of the key is to be based. Without the mark a parent could be deleted under a child never seen.
    Reference,
    /// Read as a whole (a table by a schema change): all that was ever written to it is to be within the transaction's causes.
    Seen,
    Exclusive,
}

/// A key that a transaction locks, and the version its work is based on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Hash of the key: the same on every node.
    pub key: u128,
    pub mode: Mode,
    /// The default for intents.
    pub base: Version,
    /// Says to the world's version lookup what the key is; opaque here.
    pub at: Bytes,
}

/// What a transaction is about, as far as the deciding code must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows, schemas, control: opaque.
    Data,
    /// Another epoch, fences, or both (PROTOCOL 17, 18).
    Change(Change),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The epoch to come (`made` is filled in by whoever learns the entry).
    pub epoch: Option<Epoch>,
    /// Final numbers of origins that no longer count.
    pub fences: Vec<(Origin, u64)>,
}

/// How much must be in before the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Quorum,
    /// All members' yes.
    All,
}

/// What a coordinator is asked to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub kind: Kind,
    /// The entry's body, opaque here.
    pub body: Bytes,
    pub claims: Vec<Claim>,
    /// What the transaction has seen: its snapshot's applied vector, and what its statements saw since.
    pub causes: VersionVector,
    /// The stable stamp of its snapshot.
    pub stable: Stamp,
    /// When its first attempt began: the older wins (PROTOCOL 12).
    pub age: Stamp,
    pub level: Level,
    /// So long its keys are kept for it when it was refused, that others come and go and it never does; 0: not at all.
    pub patience_ms: u32,
}

impl Proposal {
    /// What this was made of.
    pub fn of(prepare: &Prepare) -> Proposal {
        Proposal {
            kind: prepare.kind.clone(),
            body: prepare.body.clone(),
            claims: prepare.claims.clone(),
            causes: prepare.causes.clone(),
            stable: prepare.stable,
            age: prepare.age,
            level: prepare.level,
            patience_ms: prepare.patience_ms,
        }
    }
}

/// A lower place of the same coordinator that is still open, and the epoch it is decided in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPlace {
    pub seq: u64,
    pub epoch: u64,
}

/// PROTOCOL 5. The place is the transaction's id: places are never reused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    pub place: Place,
    /// Which start of the coordinator made it.
    pub start: u32,
    pub epoch: u64,
    pub stamp: Stamp,
    pub stable: Stamp,
    pub age: Stamp,
    pub level: Level,
    /// Lower places of the coordinator whose outcome it did not know.
    pub open: Vec<OpenPlace>,
    pub causes: VersionVector,
    pub claims: Vec<Claim>,
    pub kind: Kind,
    pub body: Bytes,
    /// See `Proposal`.
    pub patience_ms: u32,
}

/// A vote: durable before it is sent, and binding (PROTOCOL 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vote {
    Yes,
    No(No),
}

/// Why a member votes no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    /// Another prepared transaction holds this key.
    Held { key: u128, by: Place },
    /// The key has a newer version than the claim is based on.
    Changed { key: u128, newest: Version },
    /// The key is kept here for somebody else: an older local transaction, or a prepared XA branch.
    QueueAtHome { key: u128 },
    /// The stamp is not above this.
    Restamp { above: Hlc },
    /// Row stamps above the transaction's stable stamp are dropped here: a newer snapshot is needed.
    Dropped { below: Stamp },
    /// The stamp is further ahead than clocks may be.
    Early { ms: u64 },
    /// The member is in a later epoch.
    Epoch { now: u64 },
    /// A later start of the coordinator is known.
    Start { now: u32 },
    /// The place lies beyond its origin's final number.
    Fenced { last: u64 },
    /// Final numbers are lower than what is held here.
    Final { origin: Origin, held: u64 },
}

/// What stands at a settled place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Known(Outcome),
    /// Settled, but the log here no longer reaches back: take a snapshot.
    Pruned,
}

/// What each member tells all others now and then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gossip {
    /// The sender's start, and a number that goes up: the later one counts.
    pub start: u32,
    pub number: u64,
    /// The newest epoch it knows.
    pub epoch: u64,
    /// It has resolved and applied all it held of epochs before this one, and `applied` has it in it (PROTOCOL 17).
    pub word: u64,
    /// Of its newest epoch: see `Epoch::words`.
    pub words: Option<VersionVector>,
    /// PROTOCOL 15: nothing at or below `floor` that is not within `applied` will be issued or voted for.
    pub floor: Stamp,
    pub applied: VersionVector,
    /// Durable in its log.
    pub held: VersionVector,
    /// Highest places of any sequence that are not void, open ones included.
    pub seen: VersionVector,
    /// Its oldest open snapshot: row history is kept from there on.
    pub oldest: Stamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Prepare(Arc<Prepare>),
    Vote {
        place: Place,
        vote: Vote,
    },
    /// Not voted yet: what it has so far, for the coordinator to send along what is missing.
    Parked {
        place: Place,
        have: VersionVector,
    },
    Accept {
        place: Place,
        epoch: u64,
        ballot: Ballot,
        outcome: Outcome,
        /// For those who may not hold it.
        prepare: Option<Arc<Prepare>>,
    },
    Accepted {
        place: Place,
        ballot: Ballot,
    },
    /// Asks for a promise (PROTOCOL 9).
    Recover {
        place: Place,
        epoch: u64,
        ballot: Ballot,
        /// The sender does not hold the changes.
        want: bool,
    },
    Promise {
        place: Place,
        ballot: Ballot,
        vote: Option<bool>,
        accepted: Option<(Ballot, Outcome)>,
        prepare: Option<Arc<Prepare>>,
    },
    /// A higher ballot is promised.
    Refused {
        place: Place,
        promised: Ballot,
    },
    Learn {
        place: Place,
        outcome: Outcome,
        prepare: Option<Arc<Prepare>>,
    },
    /// What was decided? `want`: the changes too.
    Ask {
        place: Place,
        want: bool,
    },
    Settled {
        place: Place,
        settled: Settled,
    },
    Gossip(Box<Gossip>),
    /// PROTOCOL 2: what do you know of me? (The asker's last durable flush as it started.)
    Check {
        flush: u64,
    },
    CheckAnswer {
        /// The highest flush of the asker that is remembered.
        flush: u64,
        /// Places of the asker's origins, open ones included.
        quorum: u64,
        one: u64,
    },
    Home(HomeMessage),
}

/// What goes in front of the messages of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub from: Voter,
    pub start: u32,
    /// The sender's last durable flush (PROTOCOL 2).
    pub flush: u64,
    /// Everything of the sender's own sequence below this is settled (PROTOCOL 4).
    pub settled_below: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub head: Head,
    pub messages: Vec<Message>,
}

impl Mode {
    pub fn is_compatible(self, other: Mode) -> bool {
        use Mode::*;
        let excludes = |a: Mode, b: Mode| a == Exclusive || (matches!(a, Shared | Reference | Seen) && b == IntentExclusive);
        !excludes(self, other) && !excludes(other, self)
    }
    /// Does it rest on what the key is now?
    pub fn is_based(self) -> bool {
        matches!(self, Mode::Shared | Mode::Reference | Mode::Seen | Mode::Exclusive)
    }
    /// Does the commit make a new version of the key?
    pub fn writes(self) -> bool {
        matches!(self, Mode::Exclusive | Mode::IntentExclusive)
    }
}
