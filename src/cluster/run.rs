//! The tasks of a running node: a follower for every peer, fetching what no follower brings, looking after clocks and memory.
//!
//! Promises: all end at shutdown, the thread that takes entries in after it has done what was queued. Must not know: the rules
//! (they are in the modules it calls).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use starling_log::{Origin, VersionVector};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::follow::{fetch, follow};
use super::ingest::{self, Batch};
use super::links::LEARN_AFTER;
use super::members::Id;
use super::peers::needs;
use super::{Cluster, ClusterError};

/// How often it is asked whether something is missing that no stream brings.
const ROUND: Duration = Duration::from_millis(500);

/// What `run` started.
pub struct Running {
    tasks: JoinSet<()>,
    ingest: std::thread::JoinHandle<()>,
}

impl Running {
    /// After shutdown was signalled: returns when everything taken in is applied. Blocking work waits on a thread of its own.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
        let ingest = self.ingest;
        let joined = tokio::task::spawn_blocking(move || ingest.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the thread that takes entries in has failed");
        }
    }
}
/// The driver hears of what others applied or appended this often at most (of what it decided itself it hears at once).
const LOOK_EVERY: Duration = Duration::from_millis(1);
const CAUGHT_UP_EVERY: Duration = Duration::from_millis(5);

impl Cluster {
    /// Starts everything that talks to others. The engine has to be attached.
    pub fn run(self: &Arc<Self>) -> Result<Running, ClusterError> {
        let engine = self
            .engine()
            .ok_or_else(|| ClusterError::Write("the engine is not open".to_owned()))?;
        let (queue, ingest) = ingest::start(self.log.clone(), engine.clone(), self.fences.clone())
            .map_err(|e| ClusterError::Write(format!("no thread: {e}")))?;
        let mut tasks = JoinSet::new();
        if self.client.is_some() {
            tasks.spawn(manage(self.clone(), queue.clone()));
            tasks.spawn(fill_gaps(self.clone(), queue));
            tasks.spawn(watch_applied(self.clone()));
            tasks.spawn(look_after(self.clone()));
            tasks.spawn(super::gossip::run(self.clone()));
            tasks.spawn(self.clone().regain());
            let commit = Arc::clone(self.commit());
            let asked = Arc::downgrade(self);
            self.on_txn(Arc::new(move |from, message| {
                if !super::asks::is_ask(&message) {
                    commit.message(from, message);
                } else if let Some(cluster) = asked.upgrade() {
                    cluster.asked(from, message);
                }
            }));
            tasks.spawn(commits(self.clone()));
        }
        Ok(Running { tasks, ingest })
    }
}

/// Starts taking part in decisions as soon as this node has its origins, and tells the driver of what grew.
async fn commits(cluster: Arc<Cluster>) {
    let Some(engine) = cluster.engine().cloned() else { return };
    let (mut grown, mut applied) = (cluster.log.watch(), engine.watch());
    let mut admitted = cluster.watch_view();
    let mut shutdown = cluster.shutdown.clone();
    let mut thread: Option<std::thread::JoinHandle<()>> = None;
    let mut voter = None;
    loop {
        let now = cluster.origins().map(|o| o[1]);
        if let Some(ended) = thread.take_if(|_| now != voter) {
            // What it was votes no more.
            cluster.commit().stop();
            let _ = tokio::task::spawn_blocking(move || ended.join()).await;
        }
        if thread.is_none() {
            voter = now;
            let starting = cluster.clone();
            match tokio::task::spawn_blocking(move || starting.start_commit()).await {
                Ok(Ok(started)) => thread = started,
                Ok(Err(error)) => {
                    tracing::error!(%error, "this node takes no part in decisions");
                    return;
                }
                Err(_) => return,
            }
        }
        let grew = tokio::select! {
            _ = grown.changed() => true,
            _ = applied.changed() => true,
            _ = admitted.changed() => false,
            _ = shutdown.wait_for(|down| *down) => break,
        };
        if grew {
            cluster.commit().look();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    cluster.commit().stop();
    if let Some(thread) = thread {
        // The deciding thread ends with what it was doing.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

/// One follower for every peer that is known.
async fn manage(cluster: Arc<Cluster>, queue: mpsc::Sender<Batch>) {
    let mut shutdown = cluster.shutdown.clone();
    let mut followed: HashSet<Id> = HashSet::new();
    let mut followers = JoinSet::new();
    loop {
        let changed = cluster.peers_changed.notified();
        tokio::pin!(changed);
        // From here on a change is not missed.
        changed.as_mut().enable();
        for hint in cluster.peers.hints() {
            if followed.insert(hint.identity) {
                followers.spawn(follow(cluster.clone(), hint.identity, queue.clone()));
            }
        }
        tokio::select! {
            () = changed => {}
            _ = shutdown.wait_for(|down| *down) => break,
        }
    }
    while followers.join_next().await.is_some() {}
}

/// Anti-entropy: what somebody holds and nobody streams is fetched as ranges.
async fn fill_gaps(cluster: Arc<Cluster>, queue: mpsc::Sender<Batch>) {
    let mut shutdown = cluster.shutdown.clone();
    loop {
        let jitter = 0.8 + 0.4 * rand::random::<f64>();
        let asked = tokio::select! {
            () = tokio::time::sleep(ROUND.mul_f64(jitter)) => false,
            () = cluster.wants.asked() => true,
            _ = shutdown.wait_for(|down| *down) => return,
        };
        let missing = if asked {
            // As a rule it is on its way.
            tokio::time::sleep(LEARN_AFTER).await;
            cluster.wants.take(&cluster.log.held())
        } else {
            needs(&cluster.log.held(), &holders(&cluster))
        };
        let view = cluster.view();
        for mut need in missing {
            // PROTOCOL 18: beyond a fence nothing counts.
            need.want = view.members.fence(need.origin).map_or(need.want, |last| need.want.min(last));
            if need.want <= need.have {
                continue;
            }
            tracing::debug!(?need, "fetching a range");
            tokio::select! {
                fetched = fetch(&cluster, need, &queue) => if let Err(error) = fetched {
                    cluster.complain(&error);
                },
                _ = shutdown.wait_for(|down| *down) => return,
            }
        }
    }
}

/// Live peers, what they hold, and which sequences they stream: their present ones.
fn holders(cluster: &Cluster) -> Vec<(Id, VersionVector, Vec<Origin>)> {
    let now = Instant::now();
    let view = cluster.view();
    // This node may not know yet that one was removed, and brings nothing any more: what it says itself counts, too.
    let streams = |id: Id, said: &[Origin]| {
        let present = view.members.by_identity(id).map(|m| m.origins.to_vec()).unwrap_or_default();
        present.into_iter().filter(|o| said.contains(o)).collect()
    };
    cluster
        .peers
        .snapshot()
        .into_iter()
        .filter(|(id, peer)| peer.is_alive(now) && !view.members.is_removed(*id))
        .map(|(id, peer)| (id, peer.held, streams(id, &peer.streams)))
        .collect()
}

async fn watch_applied(cluster: Arc<Cluster>) {
    let Some(engine) = cluster.engine() else { return };
    let mut grown = engine.watch();
    let mut shutdown = cluster.shutdown.clone();
    loop {
        tokio::select! {
            changed = grown.changed() => if changed.is_err() { return },
            _ = shutdown.wait_for(|down| *down) => return,
        }
        cluster.peers.caught_up(&engine.applied());
        tokio::time::sleep(CAUGHT_UP_EVERY).await;
    }
}

/// A peer that fell silent no longer counts for the clock.
async fn look_after(cluster: Arc<Cluster>) {
    let mut shutdown = cluster.shutdown.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = shutdown.wait_for(|down| *down) => return,
        }
        cluster.log.clock().set_peer_offset(cluster.peers.quorum_offset(Instant::now()));
        if let Err(why) = cluster.log.clock().may_write()
            && cluster.quiet.lets("clock")
        {
            tracing::error!("no writes here: {why}");
        }
    }
}
