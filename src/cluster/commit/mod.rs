//! Commit between nodes: the threads around the deciding code ([`super::quorum`]).
//!
//! ```text
//!  propose ─┐                    ┌─▶ sync thread: pending records, one fsync for all that waits ──▶ "flushed"
//!  messages ┼─▶ driver: Node::step ─▶ messages to peers
//!  ticks ───┘                    └─▶ learn thread: decided entries into log and tables ──────────▶ "applied"
//! ```
//!
//! The driver has no thread of its own: whoever brings work works off all that waits, under one lock, unless somebody is at it
//! already (who then sees the new work before he leaves). A commit takes a dozen such steps; each was a thread woken.
//!
//! Promises: nothing leaves this node before the writes it rests on are durable; a proposer hears "refused" only of what is void
//! for sure, and nothing at all (its channel closes) where nobody knows (law 7). Must not know: SQL, locks of sessions.
//!
//! Reading order: this page (the door) → [`driver`] (the loop) → [`world`] (what the deciding code asks) → [`sync`], [`learn`]
//! (its effects) → [`change`] (epochs as log entries) → [`seats`] (who is to be admitted or removed).

pub mod change;
mod driver;
mod held;
mod learn;
mod seats;
mod sync;
mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use crossbeam::channel::bounded;
use parking_lot::Mutex;
use starling_apply::claim::{Claim, ClaimKey, Mode};
use starling_log::{Body, Place, Stamp, VersionVector};
use tokio::sync::{oneshot, watch};

use super::members::Id;
use super::quorum::node::Undecided;
use super::quorum::{self, Answer, Ask, Epoch, Input, Kind, Level, Refusal, Told, Version, Voter};

/// Work waiting, at most. Messages beyond it count as lost, proposals are refused.
const QUEUE: usize = 65_536;
const NOT_YET: &str = "this node does not take part in votes yet";
/// Whoever cannot vote for longer is no part of a quorum in reach: what is shorter (a start, a change of members) is waited for.
const HINDERED: std::time::Duration = std::time::Duration::from_secs(1);
/// Rounds of work for one caller, at most: the thread that ticks takes over from those who have other things to do.
const ROUNDS: usize = 4;
/// How long people are kept waiting for a list.
const UNDECIDED_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// What a transaction asks for.
#[derive(Debug)]
pub struct Proposal {
    /// The catalog version it was made under.
    pub schema: u64,
    pub body: Body,
    pub claims: Arc<Vec<Claim>>,
    /// What it has seen.
    pub causes: VersionVector,
    /// The stable stamp of its snapshot.
    pub stable: Stamp,
    /// Of its first attempt.
    pub age: Stamp,
    /// All members' yes is asked for.
    pub all: bool,
    /// Others are not let in before it for so long, once it was refused because they came and went all the time.
    pub patience: Duration,
}

/// Why nothing was committed. For sure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("node has no quorum: {0}")]
    NoQuorum(String),
    /// Another transaction was first.
    #[error("another transaction was first")]
    Conflict {
        key: Option<u128>,
        /// The one that was first, if it is known: once it is applied here (or void), the same may succeed.
        behind: Option<Place>,
    },
    #[error("{0}")]
    Other(String),
}

/// What came of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    pub version: Version,
    /// `ALL` was asked for, and not all had it in their hands.
    pub not_all: bool,
}

/// `Err` of the receiver: nobody knows yet.
pub type Verdict = Result<Decided, Refused>;

/// Holds locks for a transaction of another node until it is dropped.
pub type Guard = Box<dyn std::any::Any + Send>;
/// Local holders of these keys give way to a transaction (of that age) that is prepared here for another node. `None`: one of them
/// commits already.
pub type Wound = Arc<dyn Fn(&[(ClaimKey, Mode)], Stamp) -> Option<Guard> + Send + Sync>;

/// Keys that are kept for XA transactions which are prepared.
pub trait Bars: Send + Sync {
    /// Takes in what is applied here; called before the deciding code hears of it.
    fn refresh(&self);
    /// The same for locks on this node, once those of transactions that are applied are given back.
    fn settle(&self);
    /// A key of these that is kept, hashed: the vote is no.
    fn barred(&self, claims: &mut dyn Iterator<Item = (u128, Mode)>) -> Option<u128>;
}

/// What is said here of locks at their homes.
#[derive(Clone, Copy, Debug)]
pub enum Homing {
    Told(Told),
    /// Some milliseconds have passed.
    Tick,
}

/// Hears of locks at their homes; called by the driver, so it must not wait.
pub type OnHoming = Box<dyn Fn(Homing) + Send + Sync>;

/// Takes how far this node is.
pub type Seen = Box<dyn FnOnce(VersionVector) + Send>;

/// Takes what is undecided here, each with whether its proposer still waits to hear of it.
pub type TellUndecided = Box<dyn FnOnce(Vec<(Undecided, bool)>) + Send>;

enum Work {
    Propose(Box<quorum::Proposal>, oneshot::Sender<Verdict>),
    Admit(quorum::Seat, oneshot::Sender<Verdict>),
    Remove(Voter, oneshot::Sender<Verdict>),
    Message(Id, Bytes),
    Input(Input),
    Home(Ask),
    Seen(Seen),
    Undecided(TellUndecided),
    /// Held or applied grew, or somebody fell silent.
    Look,
    Stop,
}

/// What waits to be worked off; `open` while a driver runs.
#[derive(Default)]
struct Waiting {
    open: bool,
    work: Vec<Work>,
}

/// The door to the driver. Proposals made before it runs are refused.
pub struct Commit {
    waiting: Mutex<Waiting>,
    driver: Mutex<Option<driver::Driver>>,
    /// The thread that ticks.
    ticking: Mutex<Option<std::thread::Thread>>,
    epoch: ArcSwap<Epoch>,
    /// Voters that this node hears and that hear it, itself included.
    reachable: AtomicUsize,
    stable: watch::Sender<Stamp>,
    wound: Mutex<Option<Wound>>,
    bars: Mutex<Option<Arc<dyn Bars>>>,
    homing: OnceLock<OnHoming>,
    /// Changes of members that the log held before the driver began; `None` since then.
    early: Mutex<Option<Vec<Input>>>,
    looking: AtomicBool,
    /// What hinders this node from voting has not passed for [`HINDERED`].
    hindered: AtomicBool,
    running: AtomicBool,
    /// When a driver ran first.
    since: OnceLock<Instant>,
    /// A driver runs.
    begin: tokio::sync::Notify,
    /// The driver has ended.
    end: tokio::sync::Notify,
    counts: Counts,
}

/// Since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    pub proposed: AtomicU64,
    pub committed: AtomicU64,
    pub conflicts: AtomicU64,
    pub unknown: AtomicU64,
}

impl Default for Commit {
    fn default() -> Commit {
        Commit {
            waiting: Mutex::default(),
            driver: Mutex::new(None),
            ticking: Mutex::new(None),
            epoch: ArcSwap::default(),
            reachable: AtomicUsize::new(1),
            stable: watch::Sender::new(Stamp::default()),
            wound: Mutex::default(),
            bars: Mutex::default(),
            homing: OnceLock::new(),
            early: Mutex::new(Some(Vec::new())),
            looking: AtomicBool::new(false),
            hindered: AtomicBool::new(false),
            running: AtomicBool::new(false),
            since: OnceLock::new(),
            begin: tokio::sync::Notify::new(),
            end: tokio::sync::Notify::new(),
            counts: Counts::default(),
        }
    }
}

impl Commit {
    /// More than one member votes: `QUORUM` means something.
    pub fn is_shared(&self) -> bool {
        self.epoch.load().len() > 1
    }
    pub fn epoch(&self) -> Arc<Epoch> {
        self.epoch.load_full()
    }
    /// Nothing at or below it can appear any more.
    pub fn stable(&self) -> Stamp {
        *self.stable.borrow()
    }
    /// Wakes whenever that grew.
    pub fn watch_stable(&self) -> watch::Receiver<Stamp> {
        self.stable.subscribe()
    }
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
    /// `Err(why)`: this node is in a minority, or not ready to vote.
    pub fn has_quorum(&self) -> Result<(), String> {
        if !self.running.load(Ordering::Acquire) {
            return Err(NOT_YET.to_owned());
        }
        let epoch = self.epoch.load();
        let reachable = self.reachable.load(Ordering::Acquire);
        if reachable >= epoch.quorum() {
            return Ok(());
        }
        Err(format!(
            "it reaches {reachable} of {} members, {} are needed",
            epoch.len(),
            epoch.quorum()
        ))
    }
    /// Resolves when votes can be asked for; `Err`: not within a while.
    pub async fn begun(&self) -> Result<(), String> {
        let begin = self.begin.notified();
        tokio::pin!(begin);
        // From here on it is not missed.
        begin.as_mut().enable();
        if self.running.load(Ordering::Acquire) {
            return Ok(());
        }
        let late = tokio::time::timeout(held::START_GRACE, begin).await;
        late.map_err(|_| NOT_YET.to_owned())
    }
    /// Votes are taken here.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }
    /// At once refused is only what cannot be decided for long: a node that has just started waits for its peers first.
    pub(super) fn may_propose(&self) -> Result<(), String> {
        let fresh = self.since.get().is_some_and(|since| since.elapsed() < held::START_GRACE);
        if fresh { Ok(()) } else { self.has_quorum() }
    }
    /// Does this node take part in decisions, as far as the others should count on it?
    pub(super) fn votes(&self) -> bool {
        !self.hindered.load(Ordering::Acquire)
    }
    /// Who makes room for transactions of other nodes. Set once.
    pub fn on_wound(&self, wound: Wound) {
        *self.wound.lock() = Some(wound);
    }

    /// Who knows of keys that are kept. Set once, before [`Commit`] runs.
    pub fn on_bars(&self, bars: Arc<dyn Bars>) {
        *self.bars.lock() = Some(bars);
    }
    /// Who hears of locks at their homes. Set once.
    pub fn on_homing(&self, homing: OnHoming) {
        let _ = self.homing.set(homing);
    }
    /// Asks for a lock at its home, or gives it back. `false`: nobody will answer.
    pub fn home(&self, ask: Ask) -> bool {
        self.running.load(Ordering::Acquire) && self.enter(Work::Home(ask)).is_ok()
    }

    /// Resolves when the transaction is decided and applied here.
    pub fn propose(&self, proposal: Proposal) -> Result<oneshot::Receiver<Verdict>, Refused> {
        self.may_propose().map_err(Refused::NoQuorum)?;
        let is_schema = matches!(proposal.body, Body::Schema(_));
        let body = starling_log::segment::pack_body(proposal.schema, &proposal.body)
            .map_err(|_| Refused::Other("the transaction is too large or malformed".to_owned()))?;
        let proposal = quorum::Proposal {
            kind: Kind::Data,
            body: Bytes::from(body),
            claims: proposal.claims.iter().map(|c| claim(c, is_schema)).collect(),
            causes: proposal.causes,
            stable: proposal.stable,
            age: proposal.age,
            level: if proposal.all { Level::All } else { Level::Quorum },
            patience_ms: u32::try_from(proposal.patience.as_millis()).unwrap_or(u32::MAX),
        };
        let (told, verdict) = oneshot::channel();
        self.counts.proposed.fetch_add(1, Ordering::Relaxed);
        self.enter(Work::Propose(Box::new(proposal), told))?;
        Ok(verdict)
    }
    pub fn admit(&self, seat: quorum::Seat) -> Result<oneshot::Receiver<Verdict>, Refused> {
        let (told, verdict) = oneshot::channel();
        self.enter(Work::Admit(seat, told))?;
        Ok(verdict)
    }
    pub fn remove(&self, voter: Voter) -> Result<oneshot::Receiver<Verdict>, Refused> {
        let (told, verdict) = oneshot::channel();
        self.enter(Work::Remove(voter, told))?;
        Ok(verdict)
    }

    /// Tells, behind all that came in before, what this node holds or has a copy of: whatever it may have helped to commit. Not at
    /// all if the queue is full.
    pub(super) fn seen(&self, tell: Seen) {
        let _ = self.enter(Work::Seen(tell));
    }

    /// Transactions whose outcome is not known here (yet), each with whether its proposer still waits to hear of it. Blocking, a moment.
    pub fn undecided(&self) -> Vec<(Undecided, bool)> {
        if !self.running.load(Ordering::Acquire) {
            return Vec::new();
        }
        let (tell, told) = bounded(1);
        let work = Work::Undecided(Box::new(move |list| {
            // Who asked may have given up.
            let _ = tell.send(list);
        }));
        if self.enter(work).is_err() {
            return Vec::new();
        }
        told.recv_timeout(UNDECIDED_WAIT).unwrap_or_default()
    }

    /// Proposals and messages: bounded.
    fn enter(&self, work: Work) -> Result<(), Refused> {
        {
            let mut waiting = self.waiting.lock();
            if !waiting.open {
                return Err(Refused::Other("the node is stopping".to_owned()));
            }
            if waiting.work.len() >= QUEUE {
                return Err(Refused::Other("too many transactions are waiting".to_owned()));
            }
            waiting.work.push(work);
        }
        self.work_off();
        Ok(())
    }
    /// What must not get lost.
    fn insist(&self, work: Work) {
        {
            let mut waiting = self.waiting.lock();
            if !waiting.open {
                return;
            }
            waiting.work.push(work);
        }
        self.work_off();
    }

    /// The same from a thread that has more to do: the one that ticks takes it.
    fn leave(&self, work: Work) {
        {
            let mut waiting = self.waiting.lock();
            if !waiting.open {
                return;
            }
            waiting.work.push(work);
        }
        self.wake_ticking();
    }

    /// Works off what waits. Returns at once where somebody is at it: he looks again after letting go of the driver.
    fn work_off(&self) {
        for _ in 0..ROUNDS {
            if self.waiting.lock().work.is_empty() {
                return;
            }
            let Some(mut slot) = self.driver.try_lock() else { return };
            // What is backed up waits for the next tick.
            let Some(driver) = slot.as_mut().filter(|d| !d.is_backed_up()) else {
                return;
            };
            driver.work_off();
        }
        self.wake_ticking();
    }
    fn wake_ticking(&self) {
        if let Some(ticking) = self.ticking.lock().as_ref() {
            ticking.unpark();
        }
    }
    /// At most `QUEUE` and a little more; the vector given is left in its place.
    fn take(&self, empty: Vec<Work>) -> Vec<Work> {
        std::mem::replace(&mut self.waiting.lock().work, empty)
    }

    /// A message of a peer. A full queue counts as a lost message.
    pub(super) fn message(&self, from: Id, message: Bytes) {
        let _ = self.enter(Work::Message(from, message));
    }
    pub(super) fn input(&self, input: Input) {
        self.insist(Work::Input(input));
    }
    /// From a thread that others wait for if `busy`.
    pub(super) fn input_from(&self, busy: bool, input: Input) {
        match busy {
            true => self.leave(Work::Input(input)),
            false => self.input(input),
        }
    }
    /// An entry that changes epochs or fences is applied.
    pub(super) fn changed(&self, version: Version, causes: VersionVector, change: quorum::Change) {
        let input = Input::Changed { version, causes, change };
        match self.early.lock().as_mut() {
            Some(early) => early.push(input),
            // Whoever applies entries holds locks that the driver may want.
            None => self.leave(Work::Input(input)),
        }
    }
    /// Has the driver look at what is held and applied; many calls are one.
    pub(super) fn look(&self) {
        self.look_from(false);
    }
    pub(super) fn look_from(&self, busy: bool) {
        if !self.looking.swap(true, Ordering::AcqRel) {
            match busy {
                true => self.leave(Work::Look),
                false => self.insist(Work::Look),
            }
        }
    }
    pub(super) fn stop(&self) {
        self.insist(Work::Stop);
    }
    /// Returns when no driver runs.
    pub(super) async fn ended(&self) {
        let end = self.end.notified();
        tokio::pin!(end);
        // From here on it is not missed.
        end.as_mut().enable();
        if self.running.load(Ordering::Acquire) {
            end.await;
        }
    }
}

/// A claim as the deciding code sees it. A row that is only read may be the parent of a foreign key: such a claim leaves its mark. A
/// schema change looks at whole tables.
fn claim(claim: &Claim, is_schema: bool) -> quorum::Claim {
    let mode = match (claim.mode, &claim.key) {
        (Mode::IntentShared, _) => quorum::Mode::IntentShared,
        (Mode::IntentExclusive, _) => quorum::Mode::IntentExclusive,
        (Mode::Shared, ClaimKey::Row { .. }) => quorum::Mode::Reference,
        (Mode::Shared, ClaimKey::Table { .. }) if is_schema => quorum::Mode::Seen,
        (Mode::Shared, _) => quorum::Mode::Shared,
        (Mode::Exclusive, _) => quorum::Mode::Exclusive,
    };
    let at = claim.key.encode();
    quorum::Claim {
        key: xxhash_rust::xxh3::xxh3_128(&at),
        mode,
        base: Version {
            stamp: claim.base.stamp,
            place: claim.base.place,
        },
        at: if mode.is_based() { Bytes::from(at) } else { Bytes::new() },
    }
}

/// What the proposer is told.
fn verdict(answer: Answer) -> Verdict {
    use quorum::No;
    match answer {
        Answer::Committed(version) => Ok(Decided { version, not_all: false }),
        Answer::NotAll(version) => Ok(Decided { version, not_all: true }),
        Answer::Refused(Refusal::NotReady(why)) => Err(Refused::NoQuorum(why.to_owned())),
        Answer::Refused(Refusal::Ballot | Refusal::Again(_)) => Err(conflict(None, None)),
        Answer::Refused(Refusal::No(no)) => Err(match no {
            No::Held { key, by } => conflict(Some(key), Some(by)),
            No::Changed { key, newest } => conflict(Some(key), Some(newest.place)),
            No::QueueAtHome { key } => conflict(Some(key), None),
            No::Restamp { .. } | No::Dropped { .. } | No::Epoch { .. } | No::Start { .. } => conflict(None, None),
            No::Early { ms } => Refused::Other(format!("the clock of this node is {ms} ms ahead of a member's")),
            No::Fenced { .. } | No::Final { .. } => Refused::Other("this node is being removed from the cluster".to_owned()),
        }),
    }
}

fn conflict(key: Option<u128>, behind: Option<Place>) -> Refused {
    Refused::Conflict { key, behind }
}
