//! Before the first write: joining a cluster, and the question whether this log is whole (PROTOCOL 1, 2).
//!
//! Promises: a node asks every peer it knows what they hold of its origins before it appends anything; if one of them holds more,
//! the origins are closed durably before anything else happens. Must not know: how entries are applied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use starling_log::{Origin, PendingOp, VersionVector};

use super::admission::Admission;
use super::admit::Welcome;
use super::client::{CallError, Client};
use super::identity::{Holding, lost_entries};
use super::members::Id;
use super::peers::{self, Hint};
use super::{Cluster, ClusterError};

/// How long a node waits for the first peer to answer before it goes on alone.
const ALONE_AFTER: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(200);
const JOIN_AGAIN: Duration = Duration::from_millis(500);
const HINTS: &str = "peers";

/// The answer to "what do you hold of my origins?".
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Places {
    #[serde(flatten)]
    pub holding: Holding,
    /// Everything the answering node holds.
    pub held: Vec<(Origin, u64)>,
    pub hints: Vec<Hint>,
}

impl Cluster {
    /// What this node holds of another's `origins`.
    pub fn places(&self, origins: &[Origin]) -> Places {
        let held = self.log.held();
        let mut hints = self.peers.hints();
        hints.push(self.own_hint());
        // Segments carry the number of the flush they came with, so it is as durable here as they are.
        let flush = origins.iter().map(|o| self.log.flush_of(*o)).max().unwrap_or(0);
        Places {
            holding: Holding {
                places: origins.iter().map(|o| (*o, held.get(*o))).collect(),
                flush,
            },
            held: peers::list(&held),
            hints,
        }
    }

    /// Joins, or asks the peers whether this log is whole. Returns when the node knows who it is.
    pub async fn settle(self: &Arc<Self>) -> Result<(), ClusterError> {
        if self.cluster_id().is_none() {
            return self.join().await;
        }
        let Some(client) = &self.client else {
            return Ok(());
        };
        let answers = self.ask_peers(client).await;
        let held = self.log.held();
        for places in &answers {
            self.raise_target(&peers::vector(&places.held));
            if self.peers.learn(&places.hints, self.node_id()) {
                self.remember_hints();
            }
        }
        let identity = self.identity();
        let Some(origins) = identity.whole_origins() else {
            return Ok(());
        };
        let mine = Holding {
            places: vec![(origins[0], held.get(origins[0]))],
            flush: self.log.flush_number(),
        };
        let others: Vec<Holding> = answers.into_iter().map(|p| p.holding).collect();
        if let Some(why) = lost_entries(&mine, &others) {
            tracing::error!("this log has lost entries ({why}): the node comes back under new origins");
            self.change_identity(|identity| {
                identity.lost = identity.origins;
                identity.incarnation = Id::random();
            })?;
        }
        Ok(())
    }

    /// Addresses worth asking: known peers, and those of `--join`.
    fn addresses(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = self.peers.hints().into_iter().map(|h| h.addr).collect();
        all.extend(self.settings.join.iter().cloned());
        all.remove(&self.identity().addr);
        all
    }

    async fn ask_peers(&self, client: &Client) -> Vec<Places> {
        let addresses = self.addresses();
        if addresses.is_empty() {
            return Vec::new();
        }
        let identity = self.identity();
        let one = identity.origins.map(|o| o[0].to_string()).unwrap_or_default();
        let path = format!("/v1/log/places?origins={one}");
        let deadline = Instant::now() + ALONE_AFTER;
        loop {
            let asked = addresses.iter().map(|addr| client.get(addr, &path));
            let mut answers = Vec::new();
            let mut removed = false;
            for answer in join_all(asked).await {
                match answer {
                    // A `--join` address may be this node's own under another name.
                    Ok(reply) if reply.node == identity.node => {}
                    Ok(reply) => match serde_json::from_slice(&reply.body) {
                        Ok(places) => answers.push(places),
                        Err(error) => tracing::warn!(node = %reply.node, %error, "a peer's answer does not decode"),
                    },
                    Err(error) => {
                        removed |= error.is_removal();
                        self.complain(&error);
                    }
                }
            }
            if removed {
                self.expelled();
                return Vec::new();
            }
            if !answers.is_empty() {
                return answers;
            }
            if Instant::now() > deadline {
                tracing::warn!(peers = ?addresses, "no peer answers: going on without having asked whether this log is whole");
                return answers;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// One line for each kind of trouble with each peer, not one for each attempt.
    pub(crate) fn complain(&self, error: &CallError) {
        let (addr, word) = match error {
            CallError::Unreachable { addr, .. } => (addr, "unreachable"),
            CallError::Refused { addr, word, .. } => (addr, word.as_str()),
            CallError::Forged { addr } => (addr, "forged"),
            CallError::Frame { addr, .. } => (addr, "frame"),
        };
        if self.quiet.lets(&format!("{word} {addr}")) {
            tracing::warn!("{error}");
        }
    }

    /// Asks the addresses of `--join` in turn until one lets this node in.
    async fn join(self: &Arc<Self>) -> Result<(), ClusterError> {
        let client = self
            .client
            .as_ref()
            .ok_or_else(|| ClusterError::Refused("there is no cluster secret".to_owned()))?;
        let body = serde_json::to_vec(&self.applicant())?;
        loop {
            for addr in &self.settings.join {
                match client.post(addr, "/v1/members/join", body.clone()).await {
                    Ok(reply) => match serde_json::from_slice::<Welcome>(&reply.body) {
                        Ok(welcome) => return self.welcomed(&welcome),
                        Err(error) => tracing::warn!(%addr, %error, "the answer to the request to join does not decode"),
                    },
                    Err(error) if error.is_final() => return Err(ClusterError::Refused(error.to_string())),
                    Err(error) => self.complain(&error),
                }
            }
            let mut shutdown = self.shutdown.clone();
            tokio::select! {
                () = tokio::time::sleep(JOIN_AGAIN) => {}
                _ = shutdown.wait_for(|down| *down) => return Err(ClusterError::Refused("stopped before it was let in".to_owned())),
            }
        }
    }

    fn welcomed(&self, welcome: &Welcome) -> Result<(), ClusterError> {
        if self.identity().lost.is_some() {
            self.forget_votes()?;
        }
        self.change_identity(|identity| {
            identity.cluster = Some(welcome.cluster);
            identity.member = Some(welcome.member.member);
            identity.origins = Some(welcome.member.origins);
            identity.lost = None;
            identity.removed = false;
        })?;
        if let Some(client) = &self.client {
            client.set_cluster(welcome.cluster);
        }
        // Stamps of this node have to lie behind its admission; the entry itself comes by the stream.
        let _ = self.log.clock().observe(starling_log::Hlc(welcome.after_hlc));
        self.raise_target(&peers::vector(&welcome.held));
        self.peers.learn(&welcome.hints, self.node_id());
        self.remember_hints();
        self.peers_changed.notify_waiters();
        tracing::info!(cluster = %welcome.cluster, member = welcome.member.member, origins = ?welcome.member.origins, "admitted");
        Ok(())
    }

    /// What the voter that this node was has promised binds nobody any more: it has no seat, and never answers again.
    fn forget_votes(&self) -> Result<(), ClusterError> {
        let pending = self.log.pending(b"").map_err(|e| ClusterError::Write(e.to_string()))?;
        let gone = pending.into_iter().map(|(key, _)| PendingOp::Remove(key)).collect();
        self.log.settle(gone, Vec::new(), true)?;
        Ok(())
    }

    /// A node whose log lost entries, or that was removed: gets new origins, from the founder or (being it) from itself.
    pub(super) async fn regain(self: Arc<Self>) {
        let mut shutdown = self.shutdown.clone();
        loop {
            if self.identity().lost.is_none() {
                tokio::select! {
                    () = self.regain_wanted.notified() => {}
                    _ = shutdown.wait_for(|down| *down) => return,
                }
                continue;
            }
            tokio::select! {
                () = self.commit.ended() => {}
                _ = shutdown.wait_for(|down| *down) => return,
            }
            let done = if self.is_founder() {
                self.regain_alone()
            } else {
                self.regain_from_founder().await
            };
            if let Err(error) = done {
                // Another reason is news.
                if self.quiet.lets(&format!("regain {error}")) {
                    tracing::warn!("no new origins yet: {error}");
                }
                tokio::select! {
                    () = tokio::time::sleep(JOIN_AGAIN) => {}
                    _ = shutdown.wait_for(|down| *down) => return,
                }
                continue;
            }
            if let (Some(origins), Some(engine)) = (self.origins(), self.engine()) {
                engine.set_origin(origins[0]);
            }
            let cluster = self.clone();
            let found = tokio::task::spawn_blocking(move || cluster.found()).await;
            if let Ok(Err(error)) = found {
                tracing::error!(%error, "the new origins cannot be written down");
            }
            self.refresh();
        }
    }

    async fn regain_from_founder(&self) -> Result<(), ClusterError> {
        let client = self
            .client
            .as_ref()
            .ok_or_else(|| ClusterError::Refused("there is no cluster secret".to_owned()))?;
        let body = serde_json::to_vec(&self.applicant())?;
        let mut last = ClusterError::Refused("no peer is known".to_owned());
        for addr in self.addresses() {
            match client.post(&addr, "/v1/members/join", body.clone()).await {
                Ok(reply) => return self.welcomed(&serde_json::from_slice(&reply.body)?),
                Err(error) => last = ClusterError::Refused(error.to_string()),
            }
        }
        Err(last)
    }

    /// The founder takes the next free numbers once it has applied everything that live peers hold: what it handed out before it
    /// lost its log stands there.
    fn regain_alone(&self) -> Result<(), ClusterError> {
        let not_yet = |why: &str| Err(ClusterError::Refused(why.to_owned()));
        let (union, live) = self.peers.held_by_live(Instant::now());
        if live == 0 {
            return not_yet("no peer is connected");
        }
        let applied = self.engine().map(|e| VersionVector::clone(&e.applied())).unwrap_or_default();
        if !applied.covers(&union) || !applied.covers(&self.target()) {
            return not_yet("still fetching what peers hold of the lost log");
        }
        let mut members = self.view().members.clone();
        let used: Vec<Origin> = union.iter().map(|(o, _)| o).collect();
        members.used(1, used.iter());
        match members.decide(&self.applicant(), &|_| None) {
            Admission::Reorigin(change) => {
                tracing::warn!(old = ?change.closed, new = ?change.origins, "the founder goes on under new origins");
                self.forget_votes()?;
                self.change_identity(|identity| {
                    identity.origins = Some(change.origins);
                    identity.lost = None;
                })?;
                Ok(())
            }
            other => not_yet(&format!("unexpected: {other:?}")),
        }
    }

    /// Addresses survive a restart.
    pub(crate) fn remember_hints(&self) {
        let hints = self.peers.hints();
        let saved = serde_json::to_vec(&hints)
            .map_err(|e| e.to_string())
            .and_then(|bytes| self.log.put_meta(HINTS, &bytes).map_err(|e| e.to_string()));
        if let Err(error) = saved
            && self.quiet.lets("hints")
        {
            tracing::warn!(%error, "peers' addresses are not saved");
        }
    }

    pub(super) fn recall_hints(&self) {
        let hints: Vec<Hint> = self
            .log
            .meta(HINTS)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        self.peers.learn(&hints, self.node_id());
    }
}
