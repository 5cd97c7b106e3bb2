//! Deciding between nodes, as transactions see it: a proposal goes out, a decision or a refusal comes back.
//!
//! Promises: a refusal says whether the outcome is known; only `Unknown` leaves it open. Must not know: how it is decided.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use starling_apply::claim::Claim;
use starling_apply::engine::Planned;
use starling_log::{Changes, Placed};

use super::locks::core::Age;

/// How many members must have it before the client is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    One,
    Quorum,
    All,
}

/// A transaction to be decided on.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub body: Changes,
    pub claims: Arc<Vec<Claim>>,
    /// Of its first attempt.
    pub age: Age,
    pub level: Level,
}

/// It is committed, and visible here.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    pub placed: Placed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another transaction was first: tried again on its outcome, it may succeed. 1213.
    Conflict,
    /// A schema change of its database is under way, or was made since. Waited for, and tried again.
    Schema,
    /// Too few members answer. 1047.
    NoQuorum(String),
    /// Nobody can say yet. The connection closes without an answer.
    Unknown(String),
    /// Refused for sure, for another reason.
    Other(String),
}

pub type Deciding<'a> = Pin<Box<dyn Future<Output = Result<Decided, Refused>> + Send + 'a>>;

/// Whoever decides; resolves once the outcome is visible here.
pub trait Decider: Send + Sync {
    /// Is there anything to decide at this level now?
    fn is_needed(&self, level: Level) -> bool;
    fn decide(&self, proposal: Proposal) -> Deciding<'_>;
    /// The same for a schema change of this age. Refused for others' sake, its keys are kept for it as long as `patience`.
    fn alter(&self, planned: Planned, age: Age, patience: Duration) -> Deciding<'_>;
}
