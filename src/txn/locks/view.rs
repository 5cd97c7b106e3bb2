//! What people may see of the lock table: who holds and waits for what, and the last wound.
//!
//! Promises: one call shows one moment. Must not know: how it is printed.

use std::time::Duration;

use tokio::time::Instant;

use super::core::{Age, PartyId, Wound};
use super::mode::Modes;
use super::{LockKey, Locks, State, Who};

/// One party and all that it has.
#[derive(Clone, Debug)]
pub struct PartySeen {
    pub id: PartyId,
    pub who: Who,
    pub age: Age,
    /// Row changes that it made.
    pub rows: u64,
    /// Since when it exists.
    pub open: Duration,
    /// How long it has been waiting.
    pub waiting: Option<Duration>,
    /// Key, modes, granted (or waited for).
    pub locks: Vec<(LockKey, Modes, bool)>,
    /// Whom it waits for, and where.
    pub blockers: Vec<(LockKey, PartyId)>,
}

/// An older transaction took its locks from a younger one.
#[derive(Clone, Debug)]
pub struct WoundSeen {
    pub victim: Who,
    pub by: Who,
    pub key: LockKey,
}

pub(super) fn seen(state: &State, wound: &Wound<LockKey>) -> Option<WoundSeen> {
    Some(WoundSeen {
        victim: state.known.get(&wound.victim)?.who,
        by: state.known.get(&wound.by)?.who,
        key: wound.key.clone(),
    })
}

impl Locks {
    /// All parties, oldest place first.
    pub fn view(&self) -> Vec<PartySeen> {
        let state = self.state.lock();
        let mut out: Vec<PartySeen> = state
            .known
            .iter()
            .map(|(id, known)| PartySeen {
                id: *id,
                who: known.who,
                rows: known.rows,
                open: known.who.since.elapsed(),
                age: state.core.age(*id).unwrap_or_default(),
                waiting: known.waiting_since.map(|at| at.elapsed()),
                locks: state.core.of(*id).into_iter().map(|(k, m, g)| (k.clone(), m, g)).collect(),
                blockers: state.core.blockers(*id).into_iter().map(|(k, b)| (k.clone(), b)).collect(),
            })
            .collect();
        out.sort_by_key(|p| p.id);
        out
    }
    /// Is the session waiting, and for what?
    pub fn waits_for(&self, session: u32) -> Option<LockKey> {
        let state = self.state.lock();
        let waiting = state
            .known
            .iter()
            .find(|(_, k)| k.who.session == session && k.waiting_since.is_some())?;
        let all = state.core.of(*waiting.0);
        all.into_iter().find(|(_, _, granted)| !granted).map(|(k, _, _)| k.clone())
    }
    /// How many transactions were wounded so far, and the last of them.
    pub fn wounds(&self) -> (u64, Option<(WoundSeen, Instant)>) {
        let state = self.state.lock();
        (state.wounds, state.last_wound.clone())
    }
}
