//! Who votes, in which epoch, and at which ballot.
//!
//! Promises: a voter is one incarnation of one log (PROTOCOL 1), so whoever lost its log can never answer for its old votes.
//! Must not know: messages, transactions.

use starling_log::{Origin, Stamp, VersionVector};

/// A voter is named by its quorum sequence: numbers of origins are never reused and stand for one incarnation (PROTOCOL 1, 3).
pub type Voter = Origin;

/// Numbers writes of the pending tree in the order they were asked for; 0: nothing to wait for.
pub type WriteNo = u64;

/// A ballot of a place. Round 0 belongs to the coordinator; nobody needs a promise for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    pub round: u32,
    pub voter: Voter,
}

/// What was decided of a transaction. Final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Commit,
    Void,
}

/// A member as an epoch counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    /// Its number in `cluster::members`.
    pub member: u32,
    /// Its quorum sequence, by which it is named here.
    pub voter: Voter,
    /// Its sequence for `ONE`.
    pub one: Origin,
}

/// Who counts. Epoch e+1 differs from e by one seat (PROTOCOL 17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    pub number: u64,
    /// Ascending by voter.
    pub seats: Vec<Seat>,
    /// The entry that made it; the default for the first.
    pub made: Version,
    /// What that entry was caused by: the words of those who had finished with the epoch before the last (PROTOCOL 17).
    pub causes: VersionVector,
    /// What all those had applied who finished with the epochs before this one, once they were enough for the next change
    /// (PROTOCOL 17). Kept: who said so may be lost later.
    pub words: Option<VersionVector>,
}

/// The newest change of a key that is known; the default stands for one never seen (absent, or long stable).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub stamp: Stamp,
    pub place: starling_log::Place,
}

impl Default for Version {
    fn default() -> Version {
        Version {
            stamp: Stamp::default(),
            place: starling_log::Place { origin: 0, seq: 0 },
        }
    }
}

impl Epoch {
    pub fn new(number: u64, mut seats: Vec<Seat>, made: Version) -> Epoch {
        seats.sort_by_key(|seat| seat.voter);
        Epoch {
            number,
            seats,
            made,
            causes: VersionVector::new(),
            words: None,
        }
    }
    pub fn len(&self) -> usize {
        self.seats.len()
    }
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
    pub fn quorum(&self) -> usize {
        self.seats.len() / 2 + 1
    }
    pub fn has(&self, voter: Voter) -> bool {
        self.seats.iter().any(|seat| seat.voter == voter)
    }
    pub fn voters(&self) -> impl Iterator<Item = Voter> + '_ {
        self.seats.iter().map(|seat| seat.voter)
    }
    pub fn seat(&self, voter: Voter) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.voter == voter)
    }
}

impl Ballot {
    /// The coordinator's own, which needs no promise.
    pub fn zero(coordinator: Voter) -> Ballot {
        Ballot {
            round: 0,
            voter: coordinator,
        }
    }
}
