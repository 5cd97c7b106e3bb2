//! What goes into a voter, what comes out, and what it asks of its node.
//!
//! The contract with the driver:
//! * Effects are carried out in order. `Write` and `Erase` go to the pending tree, `Learn` appends to the log; none of them
//!   needs an fsync of its own. One flush makes everything before it durable; then the driver says `Flushed` with the number of
//!   the last write it covers, and the number of the flush.
//! * `Send { after }` may leave once `Flushed { upto ≥ after }` (0: at once). Messages to one peer may share a frame, in order.
//! * `Answer` may go to the client at once: what it rests on is durable and applied by then.
//! * At a start, after `Node::new`, every change of epochs or fences in the log is said again by `Changed`.
//! * Messages may be lost, late, doubled or swapped. Effects may not.

use std::sync::Arc;

use starling_log::{Hlc, Origin, Place, Stamp, VersionVector};

use super::home;
use super::ids::{Epoch, Outcome, Seat, Version, Voter, WriteNo};
use super::message::{Change, Claim, Frame, Message, No, Prepare, Proposal};
use super::plant::Plant;
use super::record::{Record, RecordKey};

/// Names a proposal to whoever made it.
pub type Ticket = u64;

#[derive(Clone, Debug)]
pub enum Input {
    Propose {
        ticket: Ticket,
        proposal: Box<Proposal>,
    },
    /// Admit this seat, or remove this voter (PROTOCOL 17, 18). Answered like a proposal.
    Admit {
        ticket: Ticket,
        seat: Seat,
    },
    Remove {
        ticket: Ticket,
        voter: Voter,
    },
    Frame(Frame),
    /// Everything up to this write is durable, by this flush (PROTOCOL 2).
    Flushed {
        upto: WriteNo,
        flush: u64,
    },
    /// What the log holds durably, dense by origin: after a flush, and after entries of others were taken in.
    Held(VersionVector),
    /// What the tables show.
    Applied(VersionVector),
    /// An entry that changes epochs or fences was taken in by a stream.
    Changed {
        version: Version,
        causes: VersionVector,
        change: Change,
    },
    /// Failure detection: do not wait for this one (or do again).
    Silent {
        voter: Voter,
        silent: bool,
    },
    /// The operator answers for those who cannot be asked (PROTOCOL 2).
    Trusted,
    /// About a lock at a key's home (PROTOCOL 14).
    Home(home::Ask),
    /// Time has passed; every few milliseconds.
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Write {
        no: WriteNo,
        record: Record,
    },
    /// As soon as it suits.
    Erase(RecordKey),
    Send {
        to: Voter,
        message: Message,
        after: WriteNo,
    },
    /// Append to the log at this place (dense by origin) and apply; `None`: a void. Its changes are durable in `pending` by now.
    Learn {
        place: Place,
        prepare: Option<Arc<Prepare>>,
    },
    /// Send a peer the entries it lacks, by the ordinary stream.
    Supply {
        to: Voter,
        have: VersionVector,
    },
    /// This node lacks entries up to here: get them from `from`.
    Fetch {
        from: Voter,
        upto: VersionVector,
    },
    Answer {
        ticket: Ticket,
        answer: Answer,
    },
    /// About a lock at a key's home (PROTOCOL 14).
    Home(home::Told),
    /// Entries of this origin beyond this number are not to be taken; `None`: the fence did not come to be. `decided`: what the log
    /// holds beyond it is void, and is taken out before the fold (PROTOCOL 18).
    Fence {
        origin: Origin,
        last: Option<u64>,
        decided: bool,
    },
    /// A new epoch counts from here on.
    Epoch(Epoch),
    /// Others know of things this log has lost: come back under new origins (PROTOCOL 1).
    Amnesia(String),
    /// The log of others no longer reaches back to this place.
    TakeSnapshot {
        from: Voter,
    },
}

/// What the proposer hears. Never an error for what may have committed (law 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Decided and applied here.
    Committed(Version),
    /// Void for sure.
    Refused(Refusal),
    /// `ALL` was asked for, and it committed without having been in all members' hands.
    NotAll(Version),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not (yet) able to vote or issue: why.
    NotReady(&'static str),
    /// A voter's reason (the first of those that matter).
    No(No),
    /// A ballot decided against it.
    Ballot,
    /// For a reason that passes: the same may be proposed once more.
    Again(Box<Proposal>),
}

/// What the deciding code asks of its node.
pub trait World {
    /// Guarded wall time.
    fn now_ms(&self) -> u64;
    /// Time that only grows, for waiting.
    fn monotonic_ms(&self) -> u64;
    /// A stamp's time, later than all given or seen; durable high-water mark included.
    fn tick(&mut self) -> Hlc;
    /// The highest time that is durable as never to be issued again.
    fn high_water(&self) -> Hlc;
    /// Appends the newest version of each claim's key as the tables show it; for `Exclusive` claims marks included (see `Mode`).
    fn newest(&mut self, claims: &[Claim], out: &mut Vec<Version>);
    /// For `Seen` claims: a change of the key that the tables show and `causes` does not cover.
    fn unseen(&mut self, claim: &Claim, causes: &VersionVector) -> Option<Version>;
    /// Row stamps at or below this may have been dropped.
    fn dropped(&self) -> Stamp;
    /// The oldest snapshot open here.
    fn oldest_snapshot(&self) -> Stamp;
    /// From now on no stamp at or below this is issued, wherever the wall clock goes (PROTOCOL 15).
    fn keep_above(&mut self, floor: Hlc);
    /// The lowest stamp of this node's own entries that its tables do not show yet, those on their way into the log included.
    fn lowest_unapplied(&self) -> Option<Stamp>;
    /// What stands at a place of the log; `None`: pruned.
    fn outcome(&self, place: Place) -> Option<Outcome>;
    /// Local, unprepared holders of these keys lose them (1213 at their next statement). `Err(key)`: it is kept for somebody else,
    /// whoever proposes this.
    fn wound(&mut self, prepare: &Prepare) -> Result<(), u128>;
}

/// A transaction whose outcome is not known here; for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    pub place: Place,
    /// For how long it has been heard of.
    pub ms: u64,
    pub keys: usize,
    /// How this member voted, if it did.
    pub yes: Option<bool>,
    /// Its proposer here, if it was proposed since the start.
    pub ticket: Option<Ticket>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// A member that has not answered for this long is silent.
    pub silent_ms: u64,
    /// Votes of fewer than a quorum are waited for this many silences before a ballot settles the place: a slow disk is no reason to
    /// abort.
    pub vote_rounds: u32,
    /// An accept that is not answered is said again for this many silences before a ballot takes its place.
    pub accept_rounds: u32,
    /// Others resolve a transaction whose coordinator has been silent for this long.
    pub recover_ms: u64,
    pub gossip_ms: u64,
    /// The floor trails the clock by this much.
    pub floor_ms: u64,
    pub drift_ms: u64,
    /// Places reserved at once.
    pub block: u64,
    pub seed: u64,
    /// For tests only: the rule to leave out.
    #[doc(hidden)]
    pub plant: Option<Plant>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            silent_ms: 100,
            vote_rounds: 10,
            accept_rounds: 5,
            recover_ms: 1000,
            gossip_ms: 200,
            floor_ms: 1000,
            drift_ms: 500,
            block: 256,
            seed: 1,
            plant: None,
        }
    }
}

/// What a node starts from: the pending tree and the log as they are after a start.
#[derive(Clone, Debug)]
pub struct Recovered {
    pub me: Seat,
    pub records: Vec<Record>,
    /// Used when no record of an epoch is there.
    pub epoch: Epoch,
    pub held: VersionVector,
    pub applied: VersionVector,
    /// The log's last durable flush.
    pub flush: u64,
    /// This node's first start: nobody can know anything of it.
    pub first: bool,
}
