//! The other nodes: members, streams between logs, healing.
//!
//! Promises: nothing is written before this node is admitted and its log is known to be whole (PROTOCOL 1, 2); members and
//! accounts are a fold of control entries; entries of others are durable in the log before they are applied; who does not prove
//! to know the secret gets nothing. Must not know: SQL, HTTP's routing.
//!
//! Reading order: [`identity`] (who am I) → [`members`] and [`accounts`] (folds of control entries) → [`keyed`] and [`wire`]
//! (requests and frames that prove themselves) → [`client`] → [`start`] (joining, the check for lost entries) → [`admission`],
//! [`propose`] and [`admit`] (letting in, removing), [`numbers`] (who counts) → [`stream`] (what peers get) and [`links`] (messages to them), [`asks`] (questions among them), [`gossip`] (who is there) → [`follow`] and [`ingest`] (what is taken from them) → [`peers`] and
//! [`clocks`] (what is known of them) → [`run`] (the tasks of all this).

pub mod accounts;
pub mod admission;
pub mod admit;
pub mod asks;
pub mod client;
pub mod clocks;
pub mod commit;
pub mod follow;
pub mod gossip;
pub mod identity;
pub mod ingest;
pub mod keyed;
pub mod links;
pub mod members;
mod numbers;
pub mod peers;
pub mod propose;
pub mod quiet;
pub mod quorum;
pub mod run;
pub mod start;
pub mod stream;
pub mod wire;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::{Condvar, Mutex, RwLock};
use starling_apply::Engine;
use starling_log::{AppendError, Entry, Log, Origin, Place, VersionVector};
use tokio::sync::{Notify, watch};

use accounts::Accounts;
use client::Client;
use gossip::Gossip;
use identity::Identity;
use keyed::{Secret, Verifier};
use links::Links;
use members::{Id, Member, Members, Standing};
use peers::{Heartbeat, Hint, Peers};
use quiet::Quiet;

/// Why a node of this standing takes no writes, if so. (Who comes back under new origins was a member already: it may be needed.)
fn hindered(standing: Standing, member: &Member) -> Option<String> {
    match standing {
        Standing::Member => None,
        Standing::Joining if !member.closed.is_empty() => None,
        Standing::Joining => Some("this node is joining its cluster: it has no vote yet".to_owned()),
        Standing::Leaving => Some("this node is being removed from its cluster".to_owned()),
        Standing::Removed | Standing::Allowed => Some("this node was removed from its cluster".to_owned()),
    }
}

/// What the control entries say, folded. Replaced whole.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub members: Members,
    pub accounts: Arc<Accounts>,
    /// The accounts of the first start are all there.
    pub bootstrapped: bool,
}

/// What a node is told at start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub name: String,
    /// The HTTP address that peers are told.
    pub addr: String,
    /// Where MySQL clients connect, for people.
    pub mysql_addr: String,
    pub secret: Option<String>,
    pub join: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("the identity in the log does not decode ({0}): start a newer starling")]
    Identity(#[from] serde_json::Error),
    #[error("the log has entries but no identity: it is not a node's log; use an empty --data-dir")]
    Orphan,
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("the HTTP client does not start: {0}")]
    Client(String),
    #[error("cannot join: {0}")]
    Refused(String),
    #[error("{0}")]
    Write(String),
}

/// This node's place in its cluster.
pub struct Cluster {
    pub(crate) log: Arc<Log>,
    engine: OnceLock<Arc<Engine>>,
    pub(crate) settings: Settings,
    identity: RwLock<Identity>,
    server_uuid: String,
    server_id: u32,
    view: ArcSwap<View>,
    view_version: watch::Sender<u64>,
    /// Control entries that the view has in it.
    folded: Mutex<VersionVector>,
    folded_more: Condvar,
    pub(crate) peers: Peers,
    wants: peers::Wants,
    pub(crate) links: Links,
    pub(crate) gossip: Gossip,
    pub(crate) fences: Arc<ingest::Fences>,
    commit: Arc<commit::Commit>,
    asks: Arc<asks::Asks>,
    pub(crate) peers_changed: Notify,
    /// Why nothing may be written here now; read before every write.
    hindrance: ArcSwapOption<String>,
    /// What was found out too late to start without: others hold entries of ours that this log does not.
    late_amnesia: ArcSwapOption<String>,
    pub(crate) secret: Option<Secret>,
    pub(crate) verifier: Verifier,
    pub(crate) client: Option<Client>,
    /// What others held when this node started: it is ready when it has applied that.
    target: Mutex<VersionVector>,
    started: Instant,
    pub(crate) quiet: Quiet,
    admitting: tokio::sync::Mutex<()>,
    closing: numbers::Closing,
    pub(crate) regain_wanted: Notify,
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl Cluster {
    /// Reads this node's identity from the log, or makes one: a founder's, or (with `join`) an applicant's.
    pub fn open(log: Arc<Log>, settings: Settings, shutdown: watch::Receiver<bool>) -> Result<Arc<Cluster>, ClusterError> {
        let mut identity = match Identity::load(&log)? {
            Some(identity) => identity,
            None if log.held().iter().any(|(_, seq)| seq > 0) => return Err(ClusterError::Orphan),
            None => {
                let identity = if settings.join.is_empty() {
                    Identity::founder()
                } else {
                    Identity::applicant()
                };
                identity.save(&log)?;
                identity
            }
        };
        if identity.advertise(&settings.addr) {
            identity.save(&log)?;
        }
        let secret = settings.secret.as_deref().map(Secret::new);
        let client = match &secret {
            Some(secret) => {
                let client = Client::new(secret.clone(), identity.node, identity.cluster);
                Some(client.map_err(|e| ClusterError::Client(e.to_string()))?)
            }
            None => None,
        };
        let cluster = Cluster {
            engine: OnceLock::new(),
            settings,
            server_uuid: identity.node.uuid(),
            // 0 is "not set" to MySQL's tools.
            server_id: identity.member.unwrap_or(0).max(1),
            identity: RwLock::new(identity),
            view: ArcSwap::default(),
            view_version: watch::channel(0).0,
            folded: Mutex::new(VersionVector::new()),
            folded_more: Condvar::new(),
            peers: Peers::default(),
            wants: peers::Wants::default(),
            links: Links::default(),
            gossip: Gossip::default(),
            fences: Arc::default(),
            commit: Arc::default(),
            asks: Arc::default(),
            peers_changed: Notify::new(),
            hindrance: ArcSwapOption::new(Some(Arc::new("this node is starting".to_owned()))),
            late_amnesia: ArcSwapOption::empty(),
            secret,
            verifier: Verifier::default(),
            client,
            target: Mutex::new(VersionVector::new()),
            started: Instant::now(),
            quiet: Quiet::default(),
            admitting: tokio::sync::Mutex::new(()),
            closing: numbers::Closing::default(),
            regain_wanted: Notify::new(),
            shutdown,
            log,
        };
        cluster.recall_hints();
        Ok(Arc::new(cluster))
    }

    /// A cluster of this node alone, admitted and without a secret: for tests of other rooms. Root has no password. Blocking.
    pub fn alone(engine: &Arc<Engine>) -> Result<Arc<Cluster>, ClusterError> {
        let settings = Settings {
            name: "alone".to_owned(),
            ..Settings::default()
        };
        let (keep, shutdown) = watch::channel(false);
        // Nobody is going to send: the channel only has to stay open.
        std::mem::forget(keep);
        let cluster = Cluster::open(engine.log().clone(), settings, shutdown)?;
        cluster.attach(engine.clone())?;
        cluster.bootstrap(&crate::config::Bootstrap::default(), "")?;
        Ok(cluster)
    }

    /// The engine is open: folds the control entries so far, and follows those to come. A founder makes sure that it stands among them.
    pub fn attach(self: &Arc<Self>, engine: Arc<Engine>) -> Result<(), ClusterError> {
        if let Some(origins) = self.origins() {
            engine.set_origin(origins[0]);
        }
        let (entries, more) = engine.controls();
        self.fold(&entries);
        if self.engine.set(engine).is_err() {
            return Err(ClusterError::Write("the engine is attached already".to_owned()));
        }
        let cluster = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("controls".to_owned())
            .spawn(move || {
                while let Ok(entry) = more.recv() {
                    match cluster.upgrade() {
                        Some(cluster) => cluster.fold(&[entry]),
                        None => break,
                    }
                }
            })
            .map_err(|e| ClusterError::Write(format!("no thread: {e}")))?;
        self.found()?;
        self.refresh();
        Ok(())
    }

    pub(crate) fn fold(&self, entries: &[Arc<Entry>]) {
        let mut view = View::clone(&self.view.load());
        let mut accounts = Accounts::clone(&view.accounts);
        for entry in entries {
            let starling_log::Body::Control(control) = &entry.body else {
                continue;
            };
            if control.kind == commit::change::KIND {
                let made = quorum::Version {
                    stamp: entry.stamp,
                    place: entry.place,
                };
                match commit::change::parse(&control.payload, made) {
                    Ok(change) => {
                        change
                            .fences
                            .iter()
                            .for_each(|(origin, last)| self.fences.set(*origin, Some(*last)));
                        view.members.change(change.clone());
                        self.commit.changed(made, entry.causes.clone(), change);
                    }
                    Err(error) => tracing::error!(place = ?entry.place, %error, "a change of members does not decode"),
                }
            }
            let folded = view.members.fold(control).and_then(|_| accounts.fold(control));
            if let Err(error) = folded {
                tracing::error!(kind = %control.kind, place = ?entry.place, %error, "a control entry does not decode");
            }
            view.bootstrapped |= control.kind == accounts::BOOTSTRAPPED;
        }
        view.accounts = Arc::new(accounts);
        self.view.store(Arc::new(view));
        self.notice_removal();
        self.refresh();
        self.view_version.send_modify(|v| *v += 1);
        let mut folded = self.folded.lock();
        for entry in entries {
            folded.advance(entry.place.origin, entry.place.seq);
        }
        self.folded_more.notify_all();
    }

    /// Blocks until the control entry at `place` is in the view (a thread of its own folds them in).
    fn wait_folded(&self, place: Place, at_most: Duration) -> Result<(), ClusterError> {
        let mut folded = self.folded.lock();
        let late = self
            .folded_more
            .wait_while_for(&mut folded, |folded| !folded.contains(place), at_most)
            .timed_out();
        if late {
            return Err(ClusterError::Write("a control entry is written but not applied yet".to_owned()));
        }
        Ok(())
    }

    /// Works out anew whether this node may write.
    pub(crate) fn refresh(&self) {
        let identity = self.identity.read().clone();
        let view = self.view.load();
        let why = if let Some(late) = self.late_amnesia.load_full() {
            Some(String::clone(&late))
        } else if identity.removed {
            let member = identity.member.unwrap_or_default();
            Some(format!(
                "this node was removed from its cluster; 'starling members allow {member}' on a member lets it in again"
            ))
        } else if identity.lost.is_some() {
            Some("the log of this node has lost entries; it writes again under new origins, which the founding node hands out".to_owned())
        } else {
            match view.members.by_identity(identity.node) {
                Some(member) if Some(member.origins) == identity.origins && member.incarnation == identity.incarnation => {
                    hindered(view.members.standing(member), member)
                }
                _ => Some("this node is not admitted to its cluster yet".to_owned()),
            }
        };
        // Before anybody may write.
        self.follow_numbers(&view);
        self.hindrance.store(why.map(Arc::new));
    }

    /// May this node change schemas and control entries now? Where several members vote that takes a quorum; a sole voter does it alone.
    pub fn may_alter(&self) -> Result<(), commit::Refused> {
        self.may_write().map_err(commit::Refused::Other)?;
        if self.commit.is_shared() {
            return self.commit.has_quorum().map_err(commit::Refused::NoQuorum);
        }
        let votes = self.origins().is_some_and(|origins| self.commit.epoch().has(origins[1]));
        if votes || self.is_founder() {
            return Ok(());
        }
        Err(commit::Refused::Other("this node has no vote in its cluster yet".to_owned()))
    }

    /// `Err(why)`: not admitted yet, or the clock is off.
    pub fn may_write(&self) -> Result<(), String> {
        match self.hindrance.load().as_ref() {
            Some(why) => Err(String::clone(why)),
            None => self.log.clock().may_write(),
        }
    }

    pub fn accounts(&self) -> Arc<Accounts> {
        self.view.load().accounts.clone()
    }
    pub fn node_name(&self) -> &str {
        &self.settings.name
    }
    pub fn server_id(&self) -> u32 {
        self.server_id
    }
    /// 128-bit identity of the node, as a UUID (`@@server_uuid`).
    pub fn server_uuid(&self) -> String {
        self.server_uuid.clone()
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }
    /// `None` while the node starts.
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.engine.get()
    }
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }
    pub fn watch_view(&self) -> watch::Receiver<u64> {
        self.view_version.subscribe()
    }
    pub fn identity(&self) -> Identity {
        self.identity.read().clone()
    }
    pub fn node_id(&self) -> Id {
        self.identity.read().node
    }
    pub fn cluster_id(&self) -> Option<Id> {
        self.identity.read().cluster
    }
    pub fn is_founder(&self) -> bool {
        self.identity.read().is_founder()
    }
    /// The origins this node writes to; `None`: it has none, or they have lost entries.
    pub fn origins(&self) -> Option<[Origin; 2]> {
        self.identity.read().whole_origins()
    }
    /// For people.
    pub(crate) fn name_of(&self, node: Id) -> String {
        match self.view.load().members.by_identity(node) {
            Some(member) => member.name.clone(),
            None => node.to_string(),
        }
    }
    pub fn gossip(&self) -> &Gossip {
        &self.gossip
    }
    /// The door to commits between nodes.
    pub fn commit(&self) -> &Arc<commit::Commit> {
        &self.commit
    }
    /// There are other members: what is promised of the whole cluster takes a quorum.
    pub fn has_others(&self) -> bool {
        self.commit.is_shared() || self.view.load().members.len() > 1
    }
    pub fn peers(&self) -> &Peers {
        &self.peers
    }
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }
    /// Milliseconds of this process: what challenges are made of.
    pub fn process_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
    /// What this node sets out to apply before it calls itself ready.
    pub fn target(&self) -> VersionVector {
        self.target.lock().clone()
    }
    pub(crate) fn raise_target(&self, held: &VersionVector) {
        self.target.lock().merge(held);
    }

    /// Durable on return.
    pub(crate) fn change_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<Identity, AppendError> {
        let mut slot = self.identity.write();
        let mut identity = slot.clone();
        change(&mut identity);
        if identity != *slot {
            identity.save(&self.log)?;
            *slot = identity.clone();
        }
        drop(slot);
        self.refresh();
        self.view_version.send_modify(|v| *v += 1);
        Ok(identity)
    }

    /// How this node is to be reached.
    pub fn own_hint(&self) -> Hint {
        let identity = self.identity.read();
        Hint {
            identity: identity.node,
            name: self.settings.name.clone(),
            addr: identity.addr.clone(),
            mysql_addr: self.settings.mysql_addr.clone(),
            version: identity.addr_version,
        }
    }

    /// What peer `to` is told next.
    pub(crate) fn heartbeat(&self, to: Id) -> Heartbeat {
        let mut hints = self.peers.hints();
        hints.push(self.own_hint());
        let applied = self.engine.get().map(|e| e.applied());
        Heartbeat {
            now_ms: self.log.clock().now_ms(),
            held: peers::list(&self.log.held()),
            applied: applied.map(|a| peers::list(&a)).unwrap_or_default(),
            flush: self.log.flush_number(),
            votes: self.commit.votes(),
            echo: self.peers.echo(to),
            hints,
        }
    }

    /// Peer `from` said this.
    pub(crate) fn heard(self: &Arc<Self>, from: Id, heartbeat: &Heartbeat) {
        let applied = self.engine.get().map(|e| e.applied()).unwrap_or_default();
        let now = Instant::now();
        self.peers.note(from, heartbeat, self.log.clock().now_ms(), now, &applied);
        if self.peers.learn(&heartbeat.hints, self.node_id()) {
            self.peers_changed.notify_waiters();
            let cluster = self.clone();
            tokio::task::spawn_blocking(move || cluster.remember_hints());
        }
        self.correct_address(&heartbeat.hints);
        self.log.clock().set_peer_offset(self.peers.quorum_offset(now));
        self.check_late_amnesia(from, heartbeat);
        if let Some([_, quorum]) = self.origins() {
            let held = heartbeat.held.iter().find(|(o, _)| *o == quorum).map_or(0, |(_, seq)| *seq);
            self.links.reported(from, Some(held), now);
        }
    }

    /// Others have another address of this node with a version as high (its directory was put back from a backup): the present one
    /// has to win.
    fn correct_address(self: &Arc<Self>, hints: &[Hint]) {
        let own = self.own_hint();
        let other = hints
            .iter()
            .filter(|h| h.identity == own.identity && h.addr != own.addr)
            .map(|h| h.version)
            .max();
        let Some(version) = other.filter(|v| *v >= own.version) else {
            return;
        };
        let cluster = self.clone();
        tokio::task::spawn_blocking(move || {
            let corrected = cluster.change_identity(|identity| identity.addr_version = identity.addr_version.max(version + 1));
            if let Err(error) = corrected {
                tracing::warn!(%error, "this node's address is not saved");
            }
        });
    }

    /// Others know of votes or entries of this node that its log does not hold: it goes on as another voter. Blocking.
    pub(crate) fn lost_entries(&self, why: &str) {
        if self.identity().lost.is_some() {
            return;
        }
        tracing::error!("this log has lost what others remember of it ({why}): the node comes back under new origins");
        let closed = self.change_identity(|identity| {
            identity.lost = identity.origins;
            identity.incarnation = Id::random();
        });
        if let Err(error) = closed {
            tracing::error!(%error, "that is not written down");
        }
        self.regain_wanted.notify_one();
    }

    /// Somebody holds more of this node's own sequence than this node: places would be given out twice.
    fn check_late_amnesia(&self, from: Id, heartbeat: &Heartbeat) {
        // A decided entry may well be learned elsewhere first: the quorum sequence is judged by its reservation, not by this log.
        let Some([one, _]) = self.origins() else { return };
        let held = self.log.held_of(one);
        let ahead = heartbeat.held.iter().find(|(o, seq)| *o == one && *seq > held);
        if let Some((origin, seq)) = ahead
            && self.late_amnesia.load().is_none()
        {
            let why = format!("a peer holds {seq} entries of this node's origin {origin}, its own log has fewer; restart this node");
            tracing::error!(peer = %from, "{why}");
            self.late_amnesia.store(Some(Arc::new(why)));
            self.refresh();
        }
    }
}
