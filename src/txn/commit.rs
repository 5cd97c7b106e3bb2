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
use super::shared::Shared;

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

pub async fn commit(shared: &Shared, finished: Finished) -> Result<Committed, Failed<()>> {
    if finished.party.as_ref().is_some_and(|p| !p.make_firm()) {
        return Err(Failed::Denied(Denied::Wounded));
    }
    // Read no more: a snapshot keeps the write-ahead log from being cut.
    drop(finished.snapshot);
    if finished.overlay.is_empty() {
        return Ok(Committed::default());
    }
    let outcome = match shared.decider.get() {
        Some(decider) if decider.is_needed(finished.level) => {
            let body = finished
                .overlay
                .changes()
                .map_err(|e| Failed::Refused(Refused::Other(e.to_string())))?;
            let proposal = Proposal {
                body,
                claims: finished.claims.into_vec(),
                age: finished.age,
                level: finished.level,
            };
            let decided = decider.decide(proposal).await.map_err(Failed::Refused)?;
            Ok(Committed {
                placed: Some(decided.placed),
            })
        }
        _ => shared.engine.commit(finished.overlay).await.map_err(Failed::Write),
    };
    drop(finished.party);
    outcome
}
