//! Locks at a key's home member: advisory, in memory, lost with it (PROTOCOL 12, 14). No decision ever rests on them.
//!
//! Must not know: votes, ballots.

use starling_log::Stamp;

use super::ids::Version;

/// Which request of which member; only that member gives it a meaning.
pub type RequestNo = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeMessage {
    /// Queue me for these keys, by age.
    Lock {
        request: RequestNo,
        key: u128,
        age: Stamp,
    },
    /// You have it; what is known to be the newest version.
    Granted {
        request: RequestNo,
        key: u128,
        newest: Version,
    },
    /// An older one waits: let go, unless a prepare of yours may already be decided.
    Wound {
        request: RequestNo,
        key: u128,
    },
    Release {
        request: RequestNo,
        key: u128,
    },
}
