//! Transactions decided between nodes: this node's side of `cluster::commit`, as `txn` sees it.
//!
//! Promises: where fewer than two members vote there is nothing to decide; locks of local transactions give way to what is prepared
//! for other nodes, and come back when that is applied. Must not know: how it is decided.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use starling_apply::Engine;
use starling_apply::claim::{Claim, ClaimKey, Mode, Version};
use starling_apply::engine::Planned;
use starling_log::{Body, Hlc, Placed, Stamp, VersionVector};

use super::decide::{Decided, Decider, Deciding, Level, Proposal, Refused};
use super::locks::core::Age;
use super::locks::{self, Locks};
use super::shared::Shared;
use crate::cluster::Cluster;
use crate::cluster::commit::{self, Bars, Guard};

use super::xa::Held;

pub struct ClusterDecider {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
}

impl ClusterDecider {
    /// Also has local transactions give way to those of other nodes, and votes keep what is prepared by XA.
    pub fn new(cluster: Arc<Cluster>, shared: &Shared) -> Arc<ClusterDecider> {
        let (engine, locks) = (Arc::clone(&shared.engine), Arc::clone(&shared.locks));
        cluster.commit().on_bars(Arc::new(Kept {
            held: Arc::clone(&shared.xa),
            engine: Arc::clone(&engine),
            locks: Arc::clone(&locks),
        }));
        cluster.commit().on_wound(Arc::new(move |claims, age| {
            let wanted: Vec<locks::Wanted> = claims
                .iter()
                .map(|(key, mode)| {
                    locks::wanted(&Claim {
                        key: key.clone(),
                        mode: *mode,
                        base: Version::default(),
                    })
                })
                .collect();
            // Where somebody commits already, the votes tell which of the two was first.
            let party = locks.force(age_of(age), &wanted, locks::Kind::Peer)?;
            Some(Box::new(party) as Guard)
        }));
        Arc::new(ClusterDecider { cluster, engine })
    }
}

/// What prepared branches keep, as votes see it.
struct Kept {
    held: Arc<Held>,
    engine: Arc<Engine>,
    locks: Arc<Locks>,
}

impl Bars for Kept {
    fn refresh(&self) {
        if let Err(error) = self.held.refresh(&self.engine) {
            tracing::error!(%error, "the records of prepared XA transactions cannot be read");
        }
    }
    fn settle(&self) {
        if self.held.is_blind() {
            self.refresh();
        }
        self.held.settle(&self.engine, &self.locks);
    }
    fn barred(&self, claims: &mut dyn Iterator<Item = (u128, Mode)>) -> Option<u128> {
        self.held.barred(claims)
    }
}

/// Ages go between nodes as stamps: milliseconds, and who came first within one.
fn stamp_of(age: Age) -> Stamp {
    let low = age.1.min(u64::from(u16::MAX));
    Stamp {
        hlc: Hlc(Hlc::from_ms(age.0).0 | low),
        origin: 0,
    }
}

fn age_of(stamp: Stamp) -> Age {
    Age(stamp.hlc.ms(), stamp.hlc.0 & u64::from(u16::MAX))
}

impl ClusterDecider {
    async fn propose(&self, proposal: commit::Proposal, is_schema: impl Fn(u128) -> bool) -> Result<Decided, Refused> {
        self.cluster.commit().begun().await.map_err(refused)?;
        let verdict = self.cluster.commit().propose(proposal).map_err(refused)?;
        match verdict.await {
            // It is committed: no error may say otherwise, and no OK may say that all have it.
            Ok(Ok(decided)) if decided.not_all => Err(Refused::Unknown("committed, but not all members had voted for it".to_owned())),
            Ok(Ok(decided)) => Ok(Decided {
                placed: Placed {
                    place: decided.version.place,
                    stamp: decided.version.stamp,
                },
            }),
            Ok(Err(commit::Refused::Conflict { key: Some(key) })) if is_schema(key) => Err(Refused::Schema),
            Ok(Err(why)) => Err(refused(why)),
            Err(_) => Err(Refused::Unknown("the quorum was lost while the transaction was decided".to_owned())),
        }
    }
}

impl Decider for ClusterDecider {
    fn is_needed(&self, level: Level) -> bool {
        let commit = self.cluster.commit();
        // A node that starts does not know yet who votes: what its log says of members has to do.
        level != Level::One && (commit.is_shared() || (!commit.is_running() && self.cluster.has_others()))
    }

    fn decide(&self, proposal: Proposal) -> Deciding<'_> {
        let schema = |c: &Claim| matches!(c.key, ClaimKey::Schema { .. }).then(|| c.key.clone());
        let schemas: SmallVec<[ClaimKey; 2]> = proposal.claims.iter().filter_map(schema).collect();
        Box::pin(async move {
            let proposal = commit::Proposal {
                schema: self.engine.catalog().version,
                body: Body::Rows(proposal.body),
                claims: proposal.claims,
                causes: VersionVector::clone(&self.engine.applied()),
                // Nothing drops row stamps yet, so every version is compared as it is.
                stable: Stamp::default(),
                age: stamp_of(proposal.age),
                all: proposal.level == Level::All,
                patience: Duration::ZERO,
            };
            let is_schema = |key: u128| schemas.iter().any(|s| s.hash128() == key);
            self.propose(proposal, is_schema).await
        })
    }

    fn alter(&self, planned: Planned, age: Age, patience: Duration) -> Deciding<'_> {
        Box::pin(async move {
            let proposal = commit::Proposal {
                schema: planned.schema,
                body: planned.body,
                claims: Arc::new(planned.claims),
                causes: planned.causes,
                stable: Stamp::default(),
                age: stamp_of(age),
                all: false,
                patience,
            };
            self.propose(proposal, |_| false).await
        })
    }
}

fn refused(why: commit::Refused) -> Refused {
    match why {
        commit::Refused::NoQuorum(why) => Refused::NoQuorum(why),
        commit::Refused::Conflict { .. } => Refused::Conflict,
        commit::Refused::Other(why) => Refused::Other(why),
    }
}
