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
use starling_log::{Body, Placed, Stamp, VersionVector};

use super::decide::{Decided, Decider, Deciding, Level, Proposal, Refused};
use super::locks::away::{age_of, stamp_of};
use super::locks::core::Age;
use super::locks::{self, Locks};
use super::shared::Shared;
use super::xa::Held;
use crate::cluster::Cluster;
use crate::cluster::commit::{self, Bars, Guard};

/// Of a larger transaction only the first of its keys may become hot.
const HEATED_MAX: usize = 64;

/// Whoever lost a race waits this long for the winner to be applied here.
const BEHIND: Duration = Duration::from_millis(100);

pub struct ClusterDecider {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
    locks: Arc<Locks>,
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
        let asked = Arc::downgrade(&cluster);
        locks.on_hot(Box::new(move |ask| {
            asked.upgrade().is_some_and(|cluster| cluster.commit().home(ask))
        }));
        let told = Arc::clone(&locks);
        cluster.commit().on_homing(Box::new(move |said| told.homing(said)));
        let forced = Arc::clone(&locks);
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
            let party = forced.force(age_of(age), &wanted, locks::Kind::Peer)?;
            Some(Box::new(party) as Guard)
        }));
        Arc::new(ClusterDecider { cluster, engine, locks })
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

impl ClusterDecider {
    /// Another transaction was first: the key is asked for at its home from now on, and whoever tries again starts from that one.
    async fn lost(&self, why: &commit::Refused, keys: &[ClaimKey]) {
        let commit::Refused::Conflict { key, behind } = why else { return };
        if let Some(key) = key.and_then(|hash| keys.iter().find(|k| k.hash128() == hash)) {
            self.locks.heat(key);
        }
        let Some(place) = *behind else { return };
        let mut applied = self.engine.watch();
        let shown = async { while !self.engine.applied().contains(place) && applied.changed().await.is_ok() {} };
        // It may be that nobody ever knows what became of it.
        let _ = tokio::time::timeout(BEHIND, shown).await;
    }
}

impl ClusterDecider {
    /// `keys`: those that may become hot.
    async fn propose(&self, proposal: commit::Proposal, keys: &[ClaimKey], is_schema: impl Fn(u128) -> bool) -> Result<Decided, Refused> {
        self.cluster.commit().begun().await.map_err(Refused::NoQuorum)?;
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
            Ok(Err(commit::Refused::Conflict { key: Some(key), .. })) if is_schema(key) => Err(Refused::Schema),
            Ok(Err(why)) => {
                self.lost(&why, keys).await;
                Err(refused(why))
            }
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
            let keys: Vec<ClaimKey> = writes(&proposal.claims);
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
            self.propose(proposal, &keys, is_schema).await
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
            self.propose(proposal, &[], |_| false).await
        })
    }
}

/// What another transaction may have been first to: it is asked for at its home from then on.
fn writes(claims: &[Claim]) -> Vec<ClaimKey> {
    let exclusive = claims.iter().filter(|c| c.mode == Mode::Exclusive).take(HEATED_MAX);
    exclusive.map(|c| c.key.clone()).collect()
}

fn refused(why: commit::Refused) -> Refused {
    match why {
        commit::Refused::NoQuorum(why) => Refused::NoQuorum(why),
        commit::Refused::Conflict { .. } => Refused::Conflict,
        commit::Refused::Other(why) => Refused::Other(why),
    }
}
