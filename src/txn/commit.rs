//! The one place where open transactions commit.
//!
//! Promises: from the first step on nobody takes the transaction's locks away, and they are given back only when its outcome is
//! visible here (or it is sure that there is none). Must not know: SQL.

use std::sync::Arc;
use std::time::Duration;

use starling_apply::claim::Claim;
use starling_apply::engine::Committed;
use starling_apply::overlay::Overlay;
use starling_apply::readers::Reader;

use super::claims::Claims;
use super::decide::{Decided, Decider, Level, Proposal, Refused};
use super::failed::Failed;
use super::locks::core::Age;
use super::locks::{Denied, Seat};
use super::schema::{self, Pauses};
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

/// How long a commit waits for a schema change of another node.
const SCHEMA_WAIT: Duration = Duration::from_secs(50);

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
        Some(decider) if decider.is_needed(finished.level) => {
            let claims = Arc::new(finished.claims.into_vec());
            let proposal = |claims| proposal(&finished.overlay, claims, finished.age, finished.level);
            let decided = match decider.decide(proposal(Arc::clone(&claims))?).await {
                Err(Refused::Schema) => after_schema(home, &**decider, &claims, &proposal).await?,
                other => other.map_err(Failed::Refused)?,
            };
            Ok(Committed {
                placed: Some(decided.placed),
            })
        }
        _ => shared.engine.commit(finished.overlay).await.map_err(Failed::Write),
    };
    drop(finished.party);
    outcome
}

fn proposal(overlay: &Overlay, claims: Arc<Vec<Claim>>, age: Age, level: Level) -> Result<Proposal, Failed<()>> {
    let body = overlay.changes().map_err(|e| Failed::Refused(Refused::Other(e.to_string())))?;
    Ok(Proposal { body, claims, age, level })
}

/// A schema change of another node came first: it is waited for. If it is about other tables, the transaction goes on on top of it.
async fn after_schema(
    home: &Home,
    decider: &dyn Decider,
    claims: &[Claim],
    proposal: &impl Fn(Arc<Vec<Claim>>) -> Result<Proposal, Failed<()>>,
) -> Result<Decided, Failed<()>> {
    let mut pauses = Pauses::new(SCHEMA_WAIT);
    loop {
        pauses.pause(&home.interrupt).await?;
        let mut claims = claims.to_vec();
        if !tokio::task::block_in_place(|| schema::rebase(&home.shared, &mut claims))? {
            return Err(Failed::Refused(Refused::Conflict));
        }
        match decider.decide(proposal(Arc::new(claims))?).await {
            Err(Refused::Schema) => {}
            other => return other.map_err(Failed::Refused),
        }
    }
}
