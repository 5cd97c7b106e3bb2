//! Wishes about members: removing, allowing; and the one door for control entries.
//!
//! Promises: every control change goes through [`Cluster::propose_control`], one at a time; it is appended by the founder, and refused
//! elsewhere naming it. (Seats are given and taken by quorum, see [`super::commit`].) Who was removed notices, and takes no writes
//! until it is let in again. Must not know: HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use starling_log::VersionVector;

use super::admit::AdmitError;
use super::gossip::Health;
use super::members::{ALLOW, Id, Member, REMOVE, Standing};
use super::peers;
use super::{Cluster, ClusterError};

/// How long whoever asks is kept waiting for the entry to be folded.
pub(super) const FOLD_WAIT: Duration = Duration::from_secs(5);
/// How long whoever removes a member is kept waiting for the quorum.
const SEAT_WAIT: Duration = Duration::from_secs(3);
/// A node that was never heard of since this one started may only be late: so long it is given.
const SIGHT_AFTER: Duration = Duration::from_secs(5);

/// What is to be done about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Remove,
    Allow,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub id: u32,
    pub name: String,
    pub standing: Standing,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Remove => "remove",
            Action::Allow => "allow",
        }
    }
}

impl Cluster {
    /// Proposes a control change and waits until it is folded here. Blocking. The one place where control changes begin.
    pub fn propose_control(&self, kind: &str, payload: Vec<u8>) -> Result<(), ClusterError> {
        if !self.is_founder() {
            let founder = self.view().members.founder().map(|f| f.name.clone()).unwrap_or_default();
            return Err(ClusterError::Write(format!("only the founding node '{founder}' changes members")));
        }
        let engine = self
            .engine()
            .ok_or_else(|| ClusterError::Write("the node is starting".to_owned()))?;
        let committed = engine
            .control::<String>(kind, payload)
            .map_err(|e| ClusterError::Write(format!("a control entry cannot be written: {e}")))?;
        match committed.placed {
            Some(placed) => self.wait_folded(placed.place, FOLD_WAIT),
            None => Ok(()),
        }
    }

    /// The same for anything that serializes. Blocking.
    pub(super) fn control(&self, kind: &str, payload: &impl Serialize) -> Result<(), ClusterError> {
        self.propose_control(kind, serde_json::to_vec(payload)?)
    }

    /// The same from a task.
    pub(super) async fn propose<P: Serialize + Send + 'static>(self: &Arc<Self>, kind: &'static str, payload: P) -> Result<(), AdmitError> {
        let cluster = self.clone();
        let proposed = tokio::task::spawn_blocking(move || cluster.control(kind, &payload)).await;
        proposed
            .map_err(|e| AdmitError::NotNow(e.to_string()))?
            .map_err(|e| AdmitError::NotNow(e.to_string()))
    }

    /// How a node seems to be; `None`: not known yet.
    pub(super) fn sight(&self, node: Id) -> Option<Health> {
        let seen = self.watch_health().borrow().get(&node).copied();
        let long = self.uptime() > SIGHT_AFTER;
        seen.or_else(|| (long && !self.peers.alive(node, Instant::now())).then_some(Health::Down))
    }

    /// Removes or allows a member, here or through the founder. `who`: its number, name or identity.
    pub async fn change_member(self: &Arc<Self>, who: &str, action: Action) -> Result<Changed, AdmitError> {
        let view = self.view();
        let member = view.members.find(who).cloned();
        let member = member.ok_or_else(|| AdmitError::Unknown(format!("there is no member '{who}'; see 'starling members'")))?;
        if !self.is_founder() {
            return self.forward_change(&member, action).await;
        }
        let one = self.admitting.lock().await;
        let members = &self.view().members;
        let member = members.get(member.member).cloned().unwrap_or(member);
        match action {
            Action::Remove => {
                let remove = members.decide_removal(&member);
                if let Some(remove) = remove.map_err(AdmitError::Refused)? {
                    tracing::warn!(member = member.member, name = %member.name, "a member is to be removed");
                    self.propose(REMOVE, remove).await?;
                }
            }
            Action::Allow => {
                if let Some(allow) = members.decide_allowance(&member) {
                    tracing::info!(member = member.member, name = %member.name, "a removed member may come back");
                    self.propose(ALLOW, allow).await?;
                }
            }
        }
        drop(one);
        Ok(Changed {
            id: member.member,
            standing: self.settled(member.member).await,
            name: member.name,
        })
    }

    /// Where a member stands when a quorum has had its time to take the seat of who is leaving.
    async fn settled(&self, member: u32) -> Standing {
        let mut changed = self.watch_view();
        let standing = || {
            let view = self.view();
            view.members.get(member).map_or(Standing::Removed, |m| view.members.standing(m))
        };
        let gone = async { while standing() == Standing::Leaving && changed.changed().await.is_ok() {} };
        // Without a quorum it stays so.
        let _ = tokio::time::timeout(SEAT_WAIT, gone).await;
        standing()
    }

    async fn forward_change(&self, member: &Member, action: Action) -> Result<Changed, AdmitError> {
        let (addr, name) = self.founder_addr()?;
        let path = format!("/v1/members/{}/{}", member.identity, action.name());
        let reply = self.forward(&addr, &name, &path, Vec::new()).await?;
        serde_json::from_slice(&reply).map_err(|e| AdmitError::NotNow(format!("the founding node's answer does not decode: {e}")))
    }

    pub(super) fn founder_addr(&self) -> Result<(String, String), AdmitError> {
        let view = self.view();
        let founder = view
            .members
            .founder()
            .ok_or_else(|| AdmitError::NotNow("this node is not a member itself yet".to_owned()))?;
        let addr = self.peers.addr(founder.identity).unwrap_or_else(|| founder.addr.clone());
        Ok((addr, founder.name.clone()))
    }

    /// Lets the founder decide.
    pub(super) async fn forward(&self, addr: &str, name: &str, path: &str, body: Vec<u8>) -> Result<bytes::Bytes, AdmitError> {
        let client = self
            .client
            .as_ref()
            .ok_or_else(|| AdmitError::Refused("this node has no cluster secret".to_owned()))?;
        let reply = client.post(addr, &format!("{path}?forwarded=1"), body).await;
        reply.map(|r| r.body).map_err(|e| match e {
            super::client::CallError::Refused { word, message, .. } if word == "removed" => AdmitError::Removed(message),
            super::client::CallError::Refused {
                word,
                message,
                status: 403,
                ..
            } if word == "not_joinable" => AdmitError::Refused(message),
            super::client::CallError::Refused { word, message, .. } if word == "not_now" => AdmitError::NotNow(message),
            e => AdmitError::Elsewhere(format!(
                "only the founding node '{name}' ({addr}) decides about members, and it did not: {e}"
            )),
        })
    }

    pub fn is_removed(&self, node: Id) -> bool {
        self.view.load().members.is_removed(node)
    }

    /// Somebody who knows says that this node was removed: its origins are closed. Blocking (durable).
    pub(super) fn expelled(&self) {
        let identity = self.identity();
        if identity.lost.is_some() || identity.origins.is_none() {
            return;
        }
        let member = identity.member.unwrap_or_default();
        tracing::error!(
            "this node was removed from its cluster: it shows what it has and takes no writes; 'starling members allow {member}' on a \
             member lets it in again"
        );
        let closed = self.change_identity(|identity| {
            identity.lost = identity.origins;
            identity.incarnation = Id::random();
            identity.removed = true;
        });
        if let Err(error) = closed {
            tracing::error!(%error, "that is not written down");
        }
        self.regain_wanted.notify_one();
    }

    /// The control entries say that this node was removed?
    pub(super) fn notice_removal(&self) {
        let identity = self.identity();
        let view = self.view();
        let me = view.members.by_identity(identity.node);
        let gone = |m| matches!(view.members.standing(m), Standing::Removed | Standing::Allowed);
        if me.is_some_and(|m| gone(m) && m.incarnation == identity.incarnation) {
            self.expelled();
        }
    }
}

/// A member as this node sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub member: Member,
    pub standing: Standing,
    pub me: bool,
    pub health: Health,
    pub http_addr: String,
    pub peer: Option<peers::Peer>,
    pub held: VersionVector,
    pub applied: VersionVector,
    /// Entries that this node holds and that one does not show.
    pub lag: Option<u64>,
}

impl Seen {
    /// In one word: its standing, or (of a member) how it seems to be.
    pub fn state(&self) -> &'static str {
        match self.standing {
            Standing::Member => self.health.name(),
            other => other.name(),
        }
    }
    pub fn heard_ms_ago(&self, now: Instant) -> Option<u64> {
        let heard = self.peer.as_ref()?.heard?;
        u64::try_from(now.duration_since(heard).as_millis()).ok()
    }
}

impl Cluster {
    /// All who were ever admitted, as this node sees them.
    pub fn seen(&self) -> Vec<Seen> {
        let (me, held, view) = (self.node_id(), self.log.held(), self.view());
        let applied = self.engine().map(|e| VersionVector::clone(&e.applied())).unwrap_or_default();
        let mut peers = self.peers.snapshot();
        let seen = |member: &Member| {
            let own = member.identity == me;
            let peer = peers.remove(&member.identity);
            let (its, shows) = match &peer {
                _ if own => (held.clone(), applied.clone()),
                Some(peer) => (peer.held.clone(), peer.applied.clone()),
                None => Default::default(),
            };
            let known = own || peer.as_ref().is_some_and(|p| p.heard.is_some());
            Seen {
                member: member.clone(),
                standing: view.members.standing(member),
                me: own,
                health: self.health(member.identity),
                http_addr: match &peer {
                    _ if own => self.own_hint().addr,
                    Some(peer) => peer.hint.addr.clone(),
                    None => member.addr.clone(),
                },
                lag: known.then(|| held.iter().map(|(o, s)| s.saturating_sub(shows.get(o))).sum()),
                held: its,
                applied: shows,
                peer,
            }
        };
        view.members.iter().map(seen).collect()
    }
}
