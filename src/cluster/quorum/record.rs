//! What a voter keeps in the pending tree of its log.
//!
//! Promises: after a crash, the records that were durable are all a node needs to keep its votes, promises and accepts.
//! Must not know: how they are stored.

use std::sync::Arc;

use starling_log::{Hlc, Origin, Place, Stamp};

use super::ids::{Ballot, Epoch, Outcome, Voter};
use super::message::{Prepare, Vote};

/// What a record is about; a later record of the same key replaces the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// This node's start number, reservation and floor.
    Own,
    Epoch(u64),
    Fence(Origin),
    Peer(Voter),
    /// Vote, promise, accept.
    State(Place),
    /// The changes.
    Prepare(Place),
}

/// Places `from..=to` of this node's sequence, to be used in `epoch` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub from: u64,
    pub to: u64,
    pub epoch: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    pub voter: Voter,
    pub start: u32,
    /// Blocks with places that are not settled; the last may be in use.
    pub blocks: Vec<Block>,
    /// The gossiped floor never exceeds this.
    pub floor: Stamp,
    /// Nothing is issued or voted for at or below this: the admission's stamp.
    pub admitted: Hlc,
}

/// What is remembered of another voter (PROTOCOL 2, 4, 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub flush: u64,
    pub start: u32,
    pub settled_below: u64,
}

/// What this voter said about a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub epoch: u64,
    pub vote: Option<Vote>,
    pub promised: Ballot,
    pub accepted: Option<(Ballot, Outcome)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Own(Own),
    Epoch(Epoch),
    /// The origin's final number, and the fence (its place) that says so; a fence only voted for may still be void.
    Fence {
        origin: Origin,
        last: u64,
        by: Place,
        decided: bool,
    },
    Peer(Voter, Peer),
    State(Place, State),
    Prepare(Arc<Prepare>),
}

impl Record {
    pub fn key(&self) -> RecordKey {
        match self {
            Record::Own(_) => RecordKey::Own,
            Record::Epoch(epoch) => RecordKey::Epoch(epoch.number),
            Record::Fence { origin, .. } => RecordKey::Fence(*origin),
            Record::Peer(voter, _) => RecordKey::Peer(*voter),
            Record::State(place, _) => RecordKey::State(*place),
            Record::Prepare(prepare) => RecordKey::Prepare(prepare.place),
        }
    }
}
