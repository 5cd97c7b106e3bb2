//! The one place where open transactions commit.
//!
//! Promises: from the first step on nobody takes the transaction's locks away, and they are given back only when its outcome is
//! visible here (or it is sure that there is none). Must not know: SQL.

use starling_apply::engine::Committed;
use starling_apply::overlay::Overlay;
use starling_apply::readers::Reader;

use super::claims::Claims;
use super::decide::{Level, Proposal, Refused};
use super::failed::Failed;
use super::locks::core::Age;
use super::locks::{Denied, Seat};
use super::schema;
use super::shared::Home;

/// A transaction that has nothing more to do but commit.
pub struct Finished {
    pub overlay: Overlay,
    /// Each with the version it was first based on.
    pub claims: Claims,
    /// Of its first attempt.
    pub age: Age,
    /// Its locks; `None`: it never locked anything.
    pub party: Option<Seat>,
    /// What it read, if it read on a snapshot.
    pub snapshot: Option<Reader>,
    pub level: Level,
}

pub async fn commit(home: &Home, finished: Finished) -> Result<Committed, Failed<()>> {
    let shared = &home.shared;
    if finished.party.as_ref().is_some_and(|p| !p.make_firm()) {
        return Err(Failed::Denied(Denied::Wounded));
    }
    // Read no more: a snapshot keeps the write-ahead log from being cut.
    drop(finished.snapshot);
    if finished.overlay.is_empty() {
        return Ok(Committed::default());
    }
    let outcome = match shared.decider.get() {
        // Begun when nothing was decided between nodes here: as any transaction that lost a race, it may be tried again.
        Some(decider) if decider.is_needed(finished.level) && !finished.claims.are_versioned() => Err(Failed::Refused(Refused::Conflict)),
        Some(decider) if decider.is_needed(finished.level) => {
            let (age, level) = (finished.age, finished.level);
            let proposal = |claims| {
                let body = finished.overlay.changes();
                let body = body.map_err(|e| Failed::Refused(Refused::Other(e.to_string())))?;
                Ok(Proposal { body, claims, age, level })
            };
            let decided = schema::decide(shared, &**decider, &home.interrupt, finished.claims.into_vec(), proposal).await?;
            Ok(Committed {
                placed: Some(decided.placed),
            })
        }
        _ => shared.engine.commit(finished.overlay).await.map_err(Failed::Write),
    };
    drop(finished.party);
    outcome
}
