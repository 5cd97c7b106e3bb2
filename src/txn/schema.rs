//! Schema changes between nodes: one attempt after the other until one is decided; and row changes that such a change got in the way of.
//!
//! Promises: of several changes of one database the oldest goes first, and row changes that never end do not keep it out; row changes
//! wait for a schema change instead of failing, and fail only if it changed what they are about. Must not know: SQL, how it is decided.

use std::sync::Arc;
use std::time::{Duration, Instant};

use starling_apply::claim::{Claim, ClaimKey};
use starling_apply::engine::{ApplyError, Committed, Planned};

use super::Transaction;
use super::decide::{Decided, Decider, Level, Proposal, Refused};
use super::failed::Failed;
use super::locks::core::Age;
use super::locks::{Denied, Interrupt};
use super::shared::Shared;

/// The first and the longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// So long others are kept out between two attempts of a schema change, and as long again as it takes to check it, twice.
const PATIENCE: Duration = Duration::from_millis(250);
const PATIENCE_MAX: Duration = Duration::from_secs(30);

/// Growing pauses, up to a point in time.
pub(super) struct Pauses {
    next: Duration,
    until: Option<Instant>,
}

impl Pauses {
    pub fn new(wait: Duration) -> Pauses {
        Pauses {
            next: PAUSE,
            until: Instant::now().checked_add(wait),
        }
    }
    pub async fn pause(&mut self, interrupt: &Interrupt) -> Result<(), Denied> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(Denied::Timeout);
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = interrupt.raised() => Err(Denied::Interrupted),
        }
    }
}

/// A schema change on its way, over all its attempts.
pub struct Attempts {
    age: Age,
    pauses: Pauses,
    began: Instant,
}

impl Attempts {
    pub fn new(shared: &Shared, wait: Duration) -> Attempts {
        Attempts {
            age: shared.age(),
            pauses: Pauses::new(wait),
            began: Instant::now(),
        }
    }
    /// The next attempt is being checked from now on.
    pub fn begin(&mut self) {
        self.began = Instant::now();
    }
}

impl Shared {
    /// Are schema changes decided between nodes now (whatever the session's level)?
    pub fn alters_together(&self) -> bool {
        self.decider.get().is_some_and(|d| d.is_needed(Level::Quorum))
    }
}

impl Transaction {
    pub fn attempts(&self, wait: Duration) -> Attempts {
        Attempts::new(&self.home.shared, wait)
    }
    pub fn alters_together(&self) -> bool {
        self.home.shared.alters_together()
    }
    /// Proposes what was planned. `None`: others were first; after the pause that was made here it is to be planned anew.
    pub async fn alter_together(&mut self, planned: Planned, attempts: &mut Attempts) -> Result<Option<Committed>, Failed<()>> {
        let Some(decider) = self.home.shared.decider.get() else {
            return Err(Failed::Refused(Refused::NoQuorum("this node takes no part in votes".to_owned())));
        };
        let patience = (PATIENCE + attempts.began.elapsed() * 2).min(PATIENCE_MAX);
        match decider.alter(planned, attempts.age, patience).await {
            Ok(decided) => {
                self.places.push(decided.placed.place);
                let placed = Some(decided.placed);
                Ok(Some(Committed { placed }))
            }
            Err(Refused::Conflict | Refused::Schema) => Ok(None),
            Err(refused) => Err(Failed::Refused(refused)),
        }
    }
    /// Before the next attempt.
    pub async fn pause(&mut self, attempts: &mut Attempts) -> Result<(), Failed<()>> {
        Ok(attempts.pauses.pause(&self.home.interrupt).await?)
    }
}

/// How long a commit waits for a schema change of another node.
const COMMIT_WAIT: Duration = Duration::from_secs(50);

/// Proposes a transaction. If a schema change of another node comes first, it is waited for; if that is about other tables, the
/// transaction goes on on top of it, else it is a conflict.
pub(super) async fn decide<E>(
    shared: &Shared,
    decider: &dyn Decider,
    interrupt: &Interrupt,
    claims: Vec<Claim>,
    proposal: impl Fn(Arc<Vec<Claim>>) -> Result<Proposal, Failed<E>>,
) -> Result<Decided, Failed<E>> {
    let claims = Arc::new(claims);
    match decider.decide(proposal(Arc::clone(&claims))?).await {
        Err(Refused::Schema) => {}
        other => return other.map_err(Failed::Refused),
    }
    let mut pauses = Pauses::new(COMMIT_WAIT);
    loop {
        pauses.pause(interrupt).await?;
        let mut claims = claims.to_vec();
        if !tokio::task::block_in_place(|| rebase(shared, &mut claims))? {
            return Err(Failed::Refused(Refused::Conflict));
        }
        match decider.decide(proposal(Arc::new(claims))?).await {
            Err(Refused::Schema) => {}
            other => return other.map_err(Failed::Refused),
        }
    }
}

/// A transaction made before a schema change, on what came after it: `false` if the change was of one of its tables.
fn rebase(shared: &Shared, claims: &mut [Claim]) -> Result<bool, ApplyError> {
    let tables: Vec<u64> = claims.iter().filter_map(|c| c.key.table()).collect();
    for claim in claims {
        if let ClaimKey::Schema { db } = claim.key {
            match shared.engine.schema_since(db, claim.base.stamp)? {
                Some(since) if since.leaves(&tables) => claim.base = since.version,
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}
