//! The founder's side of membership: founding, admitting, handing out origins, the accounts of the first start.
//!
//! Promises: every number handed out stands in a durable control entry before anybody uses it; admissions happen one at a time;
//! the first accounts are made once. Until quorums decide, only the founder does this; others forward to it, or refuse naming it.
//! Must not know: HTTP.

use serde::{Deserialize, Serialize};
use starling_apply::schema::SchemaChange;
use starling_log::Origin;
use std::sync::Arc;

use super::accounts::{ACCOUNT, BOOTSTRAPPED, first_accounts};
use super::admission::{Admission, Applicant};
use super::members::{ADMIT, Id, Member, Members, REMOVE, REORIGIN, Reorigin};
use super::peers::{self, Hint};
use super::propose::FOLD_WAIT;
use super::{Cluster, ClusterError};
use crate::config::Bootstrap;

const DEFAULT_COLLATION: &str = "utf8mb4_0900_ai_ci";

/// The answer to an applicant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub cluster: Id,
    pub member: Member,
    pub hints: Vec<Hint>,
    /// What the admitting node holds: the newcomer is ready when it has applied that.
    pub held: Vec<(Origin, u64)>,
    /// The newcomer issues no stamp at or below this time.
    pub after_hlc: u64,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum AdmitError {
    #[error("{0}")]
    Refused(String),
    /// Not this node's decision; the founder cannot be asked now.
    #[error("{0}")]
    Elsewhere(String),
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    Removed(String),
    #[error("{0}")]
    Unknown(String),
}

impl Cluster {
    /// A founder's first entry is its own admission; after it lost its log, that of its new origins.
    pub(super) fn found(&self) -> Result<(), ClusterError> {
        let identity = self.identity();
        let (true, Some(origins)) = (identity.is_founder(), identity.whole_origins()) else {
            return Ok(());
        };
        let view = self.view();
        match view.members.by_identity(identity.node) {
            None => {
                let member = Member {
                    origins,
                    ..Members::found(&self.applicant())
                };
                self.control(ADMIT, &member)
            }
            Some(member) if member.incarnation != identity.incarnation => self.control(
                REORIGIN,
                &Reorigin {
                    member: member.member,
                    identity: identity.node,
                    origins,
                    incarnation: identity.incarnation,
                    closed: member.origins,
                },
            ),
            Some(_) => Ok(()),
        }
    }

    /// What this node says of itself when it asks to be let in.
    pub(super) fn applicant(&self) -> Applicant {
        let identity = self.identity();
        Applicant {
            identity: identity.node,
            incarnation: identity.incarnation,
            name: self.settings.name.clone(),
            addr: identity.addr.clone(),
            mysql_addr: self.settings.mysql_addr.clone(),
            held: identity.lost.iter().flatten().map(|o| (*o, self.log.held_of(*o))).collect(),
            lost: identity.lost,
        }
    }

    /// Decides about an applicant. Only on the founder.
    pub async fn admit(self: &Arc<Self>, applicant: Applicant) -> Result<Welcome, AdmitError> {
        let _one = self.admitting.lock().await;
        self.may_write().map_err(AdmitError::NotNow)?;
        let mut decision = self.decide(&applicant);
        if let Admission::Replace(dead) = decision {
            tracing::warn!(member = dead.member, name = %applicant.name, "a newcomer takes the seat of a dead member");
            self.propose(REMOVE, *dead).await?;
            decision = self.decide(&applicant);
        }
        let member = match decision {
            Admission::Known(member) => *member,
            Admission::Refused(why) => return Err(AdmitError::Refused(why)),
            Admission::Removed(why) => return Err(AdmitError::Removed(why)),
            Admission::Later(why) => return Err(AdmitError::NotNow(why)),
            Admission::Replace(_) => return Err(AdmitError::NotNow("another seat is to be taken first; ask again".to_owned())),
            Admission::Admit(member) => {
                tracing::info!(member = member.member, name = %member.name, addr = %member.addr, "admitting a node");
                self.append_member(ADMIT, *member, applicant.incarnation).await?
            }
            Admission::Reorigin(change) => {
                tracing::warn!(member = change.member, old = ?change.closed, new = ?change.origins, "a member comes back: new origins for it");
                self.append_member(REORIGIN, *change, applicant.incarnation).await?
            }
        };
        let identity = self.identity();
        let cluster = identity
            .cluster
            .ok_or_else(|| AdmitError::NotNow("this node has no cluster".to_owned()))?;
        let mut hints = self.peers.hints();
        hints.push(self.own_hint());
        Ok(Welcome {
            cluster,
            member,
            hints,
            held: peers::list(&self.log.held()),
            after_hlc: self.log.clock().now_ms() << 16,
        })
    }

    fn decide(&self, applicant: &Applicant) -> Admission {
        let view = self.view();
        view.members.decide(applicant, &|id| self.sight(id))
    }

    /// Appends, and waits until the fold shows the applicant in this incarnation.
    async fn append_member<P: Serialize + Send + 'static>(
        self: &Arc<Self>,
        kind: &'static str,
        payload: P,
        incarnation: Id,
    ) -> Result<Member, AdmitError> {
        let mut changed = self.watch_view();
        self.propose(kind, payload).await?;
        let folded = async {
            loop {
                changed.borrow_and_update();
                if let Some(member) = self.view().members.iter().find(|m| m.incarnation == incarnation) {
                    return Some(member.clone());
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(FOLD_WAIT, folded)
            .await
            .ok()
            .flatten()
            .ok_or_else(|| AdmitError::NotNow("the admission is written but not applied yet; ask again".to_owned()))
    }

    /// Admits here, or lets the founder do it.
    pub async fn admit_or_forward(self: &Arc<Self>, applicant: Applicant) -> Result<Welcome, AdmitError> {
        if self.is_founder() {
            return self.admit(applicant).await;
        }
        let (addr, name) = self.founder_addr()?;
        let body = serde_json::to_vec(&applicant).map_err(|e| AdmitError::Refused(e.to_string()))?;
        let reply = self.forward(&addr, &name, "/v1/members/join", body).await?;
        serde_json::from_slice(&reply).map_err(|e| AdmitError::NotNow(format!("the founding node's answer does not decode: {e}")))
    }

    /// The accounts and the database of the first start, made once by the founder. `root_password` may be a random one. Blocking.
    pub fn bootstrap(&self, bootstrap: &Bootstrap, root_password: &str) -> Result<(), ClusterError> {
        let view = self.view();
        if view.bootstrapped || !self.is_founder() || self.may_write().is_err() {
            return Ok(());
        }
        if let Some(name) = &bootstrap.database {
            self.create_database(name)?;
        }
        let hash = |password: &str| crate::auth::sha2::caching_sha2_hash(password, &crate::auth::scramble());
        for account in first_accounts(bootstrap, root_password, hash) {
            self.control(ACCOUNT, &account)?;
        }
        self.control(BOOTSTRAPPED, &serde_json::json!({}))
    }

    fn create_database(&self, name: &str) -> Result<(), ClusterError> {
        let engine = self
            .engine()
            .ok_or_else(|| ClusterError::Write("the node is starting".to_owned()))?;
        let wanted = name.to_owned();
        let check = move |catalog: &starling_apply::Catalog, _: Option<&_>| {
            let missing = catalog.database(&wanted).is_none();
            Ok::<_, String>(missing.then(|| {
                let create = SchemaChange::CreateDatabase {
                    name: wanted.clone(),
                    collation: DEFAULT_COLLATION.to_owned(),
                };
                create.into()
            }))
        };
        engine
            .alter::<String>(None, 10_000, Box::new(check))
            .map(|_| ())
            .map_err(|e| ClusterError::Write(format!("MYSQL_DATABASE {name}: {e}")))
    }
}
