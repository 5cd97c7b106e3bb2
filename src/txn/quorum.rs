//! Transactions decided between nodes: this node's side of `cluster::commit`, as `txn` sees it.
//!
//! Promises: where fewer than two members vote there is nothing to decide; locks of local transactions give way to what is prepared
//! for other nodes, and come back when that is applied. Must not know: how it is decided.

use std::sync::Arc;

use starling_apply::Engine;
use starling_apply::claim::{Claim, Version};
use starling_log::{Body, Hlc, Placed, Stamp, VersionVector};

use super::decide::{Decided, Decider, Deciding, Level, Proposal, Refused};
use super::locks::core::Age;
use super::locks::{self, Locks};
use crate::cluster::Cluster;
use crate::cluster::commit::{self, Guard};

pub struct ClusterDecider {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
}

impl ClusterDecider {
    /// Also has local transactions give way to those of other nodes.
    pub fn new(cluster: Arc<Cluster>, engine: Arc<Engine>, locks: Arc<Locks>) -> Arc<ClusterDecider> {
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
            let party = locks.force(age_of(age), &wanted)?;
            Some(Box::new(party) as Guard)
        }));
        Arc::new(ClusterDecider { cluster, engine })
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

impl Decider for ClusterDecider {
    fn is_needed(&self, level: Level) -> bool {
        level != Level::One && self.cluster.commit().is_shared()
    }

    fn decide(&self, proposal: Proposal) -> Deciding<'_> {
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
            };
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
                Ok(Err(why)) => Err(refused(why)),
                Err(_) => Err(Refused::Unknown("the quorum was lost while the transaction was decided".to_owned())),
            }
        })
    }
}

fn refused(why: commit::Refused) -> Refused {
    match why {
        commit::Refused::NoQuorum(why) => Refused::NoQuorum(why),
        commit::Refused::Conflict { .. } | commit::Refused::Schema => Refused::Conflict,
        commit::Refused::Other(why) => Refused::Other(why),
    }
}
