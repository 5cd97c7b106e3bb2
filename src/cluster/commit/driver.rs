//! The driver: inputs in, effects out.
//!
//! Promises: effects are carried out in order; a message leaves when the write it rests on is durable, at once if it rests on none;
//! messages to one peer share a frame. While a flush is under way, work goes on. Whoever calls it must hold no lock that what it
//! calls may want (of sessions' locks: none). Must not know: what messages mean, whose thread it runs on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::Sender;
use starling_apply::Engine;
use starling_log::VersionVector;
use starling_log::log::PendingOp;
use tokio::sync::oneshot;

use super::held::{self, Held};
use super::learn::{self, Learned};
use super::seats::Seats;
use super::sync::{self, Batch};
use super::world::NodeWorld;
use super::{Commit, HINDERED, Homing, Verdict, Work, verdict};
use crate::cluster::members::Id;
use crate::cluster::quorum::node::{Recovered, Settings, Ticket, Undecided};
use crate::cluster::quorum::{Answer, Effect, Epoch, Input, Message, Node, Plant, Proposal, Record, Refusal, Seat, Voter, WriteNo, codec};
use crate::cluster::{Cluster, ClusterError};

/// The deciding code hears of the time this often.
const TICK: Duration = Duration::from_millis(5);
/// What has been open for this long is explained, this often.
const EXPLAIN_AFTER_MS: u64 = 150;
const EXPLAIN_EVERY: Duration = Duration::from_millis(100);
/// Inputs handled before effects are carried out.
const AT_ONCE: usize = 512;
/// Proposals that were on their way when the quorum was lost stay unanswered this long, then nobody knows.
const UNKNOWN_AFTER: Duration = Duration::from_secs(2);

pub(super) struct Driver {
    cluster: Arc<Cluster>,
    commit: Arc<Commit>,
    node: Node,
    world: NodeWorld,
    /// Room for the work that comes in while the last is worked off.
    spare: Vec<Work>,
    sync: Sender<Batch>,
    learn: Sender<Learned>,
    grown: tokio::sync::watch::Receiver<u64>,
    effects: Vec<Effect>,
    waiting: HashMap<Ticket, oneshot::Sender<Verdict>>,
    held: Held,
    next_ticket: Ticket,
    flushed: WriteNo,
    /// Messages whose writes are not durable yet, by those.
    held_back: VecDeque<(WriteNo, Voter, Message)>,
    outbox: BTreeMap<Voter, Vec<Message>>,
    seats: Seats,
    applied: Arc<VersionVector>,
    /// Since when too few others are reached.
    lonely: Option<Instant>,
    /// Since when this node cannot vote.
    hindered: Option<Instant>,
    last_tick: Instant,
    explained: Instant,
    stopped: bool,
}

impl Cluster {
    /// Starts the driver of a node that is admitted, if none runs.
    pub(in crate::cluster) fn start_commit(self: &Arc<Self>) -> Result<Option<std::thread::JoinHandle<()>>, ClusterError> {
        let (Some(origins), Some(engine)) = (self.origins(), self.engine()) else {
            return Ok(None);
        };
        if self.commit.driver.lock().is_some() {
            return Ok(None);
        }
        let seat = Seat {
            member: self.identity().member.unwrap_or(0),
            voter: origins[1],
            one: origins[0],
        };
        let no_thread = |e: std::io::Error| ClusterError::Write(format!("no thread: {e}"));
        let commit = Arc::clone(&self.commit);
        let (sync, syncing) = sync::start(Arc::clone(&self.log), Arc::clone(&commit)).map_err(no_thread)?;
        let (learn, learning) = learn::start(Arc::clone(&self.log), Arc::clone(engine), Arc::clone(&commit)).map_err(no_thread)?;
        let driver = self.driver(engine, seat, sync, learn)?;
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || {
                commit.begin(driver);
                commit.tick_until_stopped([syncing, learning]);
            })
            .map_err(no_thread)?;
        Ok(Some(thread))
    }

    fn driver(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        me: Seat,
        sync: Sender<Batch>,
        learn: Sender<Learned>,
    ) -> Result<Driver, ClusterError> {
        let mut records = Vec::new();
        for (_, value) in self.log.pending(&[]).map_err(|e| ClusterError::Write(e.to_string()))? {
            match codec::decode_record(value) {
                Ok(record) => records.push(record),
                Err(error) => return Err(ClusterError::Write(format!("a pending record does not decode: {error}"))),
            }
        }
        let first = !records.iter().any(|r| matches!(r, Record::Own(_)));
        let applied = engine.applied();
        let recovered = Recovered {
            me,
            records,
            epoch: self.view().members.epoch(),
            held: self.log.held(),
            applied: VersionVector::clone(&applied),
            flush: self.log.flush_number(),
            first,
        };
        let mut world = NodeWorld {
            log: Arc::clone(&self.log),
            engine: Arc::clone(engine),
            votes: engine.votes(),
            one: me.one,
            began: Instant::now(),
            wound: self.commit.wound.lock().clone(),
            bars: self.commit.bars.lock().clone(),
            me: me.voter,
            guards: BTreeMap::new(),
        };
        world.take_in();
        let mut effects = Vec::new();
        let settings = Settings {
            seed: rand::random(),
            plant: planted(),
            ..Settings::default()
        };
        let node = Node::new(settings, recovered, &mut world, &mut effects);
        let seats = Seats::new(Arc::clone(self), me);
        Ok(Driver {
            grown: self.log.watch(),
            commit: Arc::clone(&self.commit),
            cluster: Arc::clone(self),
            node,
            world,
            spare: Vec::new(),
            sync,
            learn,
            effects,
            waiting: HashMap::new(),
            held: Held::default(),
            next_ticket: 1,
            flushed: 0,
            held_back: VecDeque::new(),
            outbox: BTreeMap::new(),
            seats,
            applied,
            lonely: None,
            hindered: None,
            last_tick: Instant::now(),
            explained: Instant::now(),
            stopped: false,
        })
    }
}

impl Commit {
    /// From here on there is a driver, and work is taken.
    fn begin(&self, mut driver: Driver) {
        let mut slot = self.driver.lock();
        self.waiting.lock().open = true;
        // What the log says of members is said again at every start: the pending records may not have it yet.
        let early = self.early.lock().take().unwrap_or_default();
        for change in early {
            driver.step(change);
        }
        driver.show_epoch();
        driver.carry_out();
        self.since.get_or_init(Instant::now);
        self.running.store(true, Ordering::Release);
        *slot = Some(driver);
        self.begin.notify_waiters();
    }

    /// Keeps the time until the driver is to stop; then another may begin (as another voter, perhaps).
    fn tick_until_stopped(&self, threads: [std::thread::JoinHandle<()>; 2]) {
        *self.ticking.lock() = Some(std::thread::current());
        let driver = loop {
            std::thread::park_timeout(TICK);
            self.looking.store(false, Ordering::Release);
            let mut slot = self.driver.lock();
            if let Some(driver) = slot.as_mut() {
                match driver.is_backed_up() {
                    true => driver.keep_time(),
                    false => driver.work_off(),
                }
            }
            if slot.as_ref().is_none_or(|d| d.stopped) {
                break slot.take();
            }
            drop(slot);
            // Work may have come in while the driver was held here.
            self.work_off();
        };
        // Channels of proposals close: nobody knows.
        let rest = {
            let mut waiting = self.waiting.lock();
            waiting.open = false;
            std::mem::take(&mut waiting.work)
        };
        drop(rest);
        // Its threads end with what they were given.
        drop(driver);
        for thread in threads {
            let _ = thread.join();
        }
        self.running.store(false, Ordering::Release);
        self.end.notify_waiters();
    }
}

impl Driver {
    /// All that waits, and the time if it is due.
    pub(super) fn work_off(&mut self) {
        self.guarded(Self::all_that_waits);
    }
    fn keep_time(&mut self) {
        self.guarded(Self::what_is_due);
    }

    /// Whoever's thread this is: a fault here is not his, and nothing is decided by a state that is half changed.
    fn guarded(&mut self, work: fn(&mut Self)) {
        if !self.stopped && catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!("the deciding code failed: this node takes no part in decisions until it is restarted");
            self.stopped = true;
        }
    }

    fn all_that_waits(&mut self) {
        let mut work = self.commit.take(std::mem::take(&mut self.spare));
        for (at, work) in work.drain(..).enumerate() {
            if self.stopped {
                return;
            }
            self.handle(work);
            if at % AT_ONCE == AT_ONCE - 1 {
                self.carry_out();
            }
        }
        self.spare = work;
        self.what_is_due();
    }

    fn what_is_due(&mut self) {
        if self.last_tick.elapsed() >= TICK {
            self.tick();
        }
        self.carry_out();
    }

    /// The disk or the tables do not follow: no more work is taken until they do. (Their queues have no bound of their own, because
    /// the very threads that empty them may be working here.)
    pub(super) fn is_backed_up(&self) -> bool {
        self.sync.len() > sync::QUEUE || self.learn.len() > learn::QUEUE
    }

    fn step(&mut self, input: Input) {
        self.node.step(input, &mut self.world, &mut self.effects);
    }

    fn handle(&mut self, work: Work) {
        match work {
            Work::Propose(proposal, told) => {
                let ticket = self.ticket(told);
                self.propose(ticket, proposal);
            }
            Work::Admit(seat, told) => {
                let ticket = self.ticket(told);
                self.step(Input::Admit { ticket, seat });
            }
            Work::Remove(voter, told) => {
                let ticket = self.ticket(told);
                self.step(Input::Remove { ticket, voter });
            }
            Work::Message(from, message) => self.message(from, message),
            Work::Input(Input::Flushed { upto, flush }) => {
                self.flushed = self.flushed.max(upto);
                self.step(Input::Flushed { upto, flush });
                self.release();
            }
            Work::Input(input) => self.step(input),
            Work::Home(ask) => self.step(Input::Home(ask)),
            Work::Seen(tell) => {
                let mut seen = self.cluster.log.held();
                seen.merge(&self.node.prepared());
                tell(seen);
            }
            Work::Undecided(tell) => {
                let waits = |u: &Undecided| u.ticket.is_some_and(|t| self.waiting.contains_key(&t));
                let list = self.node.undecided().into_iter();
                tell(
                    list.map(|u| {
                        let w = waits(&u);
                        (u, w)
                    })
                    .collect(),
                );
            }
            Work::Look => self.look(),
            Work::Stop => self.stopped = true,
        }
    }

    fn propose(&mut self, ticket: Ticket, proposal: Box<Proposal>) {
        match self.node.hindrance() {
            None => self.step(Input::Propose { ticket, proposal }),
            Some(_) => self.held.push(ticket, proposal),
        }
    }

    /// What could not be proposed before.
    fn propose_held(&mut self, reachable: usize) {
        if self.held.is_empty() {
            return;
        }
        let Some(why) = self.node.hindrance() else {
            for (ticket, proposal) in self.held.take() {
                self.propose(ticket, proposal);
            }
            return;
        };
        let fresh = self.world.began.elapsed() < held::START_GRACE;
        for ticket in self.held.expired(fresh || reachable >= self.node.epoch().quorum()) {
            self.answer(ticket, Answer::Refused(Refusal::NotReady(why)));
        }
    }

    fn ticket(&mut self, told: oneshot::Sender<Verdict>) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.insert(ticket, told);
        ticket
    }

    fn message(&mut self, from: Id, message: Bytes) {
        match codec::decode_frame(message) {
            Ok(frame) if self.seats.identity(frame.head.from) == Some(from) => self.step(Input::Frame(frame)),
            Ok(frame) => tracing::debug!(peer = %from, voter = frame.head.from, "a message in the name of another voter is dropped"),
            Err(error) => tracing::warn!(peer = %from, %error, "a message of a member does not decode"),
        }
    }

    /// What grew since the last time.
    fn look(&mut self) {
        self.commit.looking.store(false, Ordering::Release);
        if self.grown.has_changed().unwrap_or(false) {
            self.grown.borrow_and_update();
            // Sequences for `ONE` are shown only once they are durable; what the others' durable parts are, the sync thread says.
            let held = self.cluster.log.held();
            let plain = held.iter().filter(|(origin, _)| !self.seats.is_quorum(*origin));
            self.step(Input::Held(VersionVector(plain.collect())));
        }
        let applied = self.world.engine.applied();
        if !Arc::ptr_eq(&applied, &self.applied) {
            self.world.take_in();
            self.step(Input::Applied(VersionVector::clone(&applied)));
            self.world.let_go(&applied);
            self.applied = applied;
        }
        self.world.settle();
    }

    fn tick(&mut self) {
        self.last_tick = Instant::now();
        self.world.votes.rest();
        self.look();
        self.step(Input::Tick);
        self.homing(Homing::Tick);
        let stable = self.node.stable();
        self.commit
            .stable
            .send_if_modified(|known| std::mem::replace(known, stable) != stable);
        self.explain();
        match self.node.hindrance() {
            None => self.hindered = None,
            Some(_) => drop(self.hindered.get_or_insert_with(Instant::now)),
        }
        let hindered = self.hindered.is_some_and(|since| since.elapsed() > HINDERED);
        self.commit.hindered.store(hindered, Ordering::Release);
        let now = self.seats.look(self.node.epoch());
        self.commit.reachable.store(now.reachable, Ordering::Release);
        for (voter, silent) in now.changed {
            self.step(Input::Silent { voter, silent });
        }
        self.propose_held(now.reachable);
        if now.reachable >= self.node.epoch().quorum() {
            self.lonely = None;
        } else if self.lonely.get_or_insert_with(Instant::now).elapsed() > UNKNOWN_AFTER && !self.waiting.is_empty() {
            let unknown = self.waiting.len() as u64;
            self.commit.counts.unknown.fetch_add(unknown, Ordering::Relaxed);
            self.waiting.clear();
        }
    }

    /// Something takes long: the log says what it waits for.
    fn explain(&mut self) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && self.explained.elapsed() >= EXPLAIN_EVERY
            && let Some(why) = self.node.delayed(EXPLAIN_AFTER_MS)
        {
            self.explained = Instant::now();
            tracing::debug!("{why}");
        }
    }

    fn carry_out(&mut self) {
        let mut ops = Vec::new();
        let mut upto = None;
        // Sending or answering never makes new effects.
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Write { no, record } => {
                    let (key, value) = codec::encode_record(&record);
                    ops.push(PendingOp::Put(key, value));
                    upto = Some(no);
                }
                Effect::Erase(key) => ops.push(PendingOp::Remove(codec::encode_key(&key))),
                Effect::Send { to, message, after } if after <= self.flushed => self.outbox.entry(to).or_default().push(message),
                Effect::Send { to, message, after } => self.held_back.push_back((after, to, message)),
                Effect::Learn { place, prepare } => {
                    if self.learn.send(Learned { place, prepare }).is_err() {
                        self.stopped = true;
                    }
                }
                Effect::Answer { ticket, answer } => self.answer(ticket, answer),
                Effect::Home(told) => self.homing(Homing::Told(told)),
                Effect::Epoch(epoch) => self.new_epoch(&epoch),
                Effect::Supply { to, .. } => tracing::debug!(voter = to, "a member lacks entries: its stream brings them"),
                Effect::Fetch { from, upto } => self.fetch(from, &upto),
                Effect::Fence { origin, last, decided } => {
                    tracing::info!(origin, ?last, decided, "a sequence of a former member ends");
                    self.cluster.fences.set(origin, last);
                }
                Effect::Amnesia(why) => self.cluster.lost_entries(&why),
                Effect::TakeSnapshot { from } => {
                    tracing::error!(
                        voter = from,
                        "the logs of the others no longer reach back to what this node lacks: join it anew"
                    );
                }
            }
        }
        if !ops.is_empty() && self.sync.send(Batch { ops, upto }).is_err() {
            self.stopped = true;
        }
        self.deliver();
    }

    /// Entries are missing here: what does not come by itself is fetched as ranges.
    fn fetch(&mut self, from: Voter, upto: &VersionVector) {
        if let Some(from) = self.seats.identity(from) {
            self.cluster.wants.ask(from, upto);
        }
    }

    /// Messages whose writes became durable. They stand about in the order of their writes; one behind a later write leaves with that.
    fn release(&mut self) {
        while self.held_back.front().is_some_and(|(after, ..)| *after <= self.flushed) {
            if let Some((_, to, message)) = self.held_back.pop_front() {
                self.outbox.entry(to).or_default().push(message);
            }
        }
    }

    fn deliver(&mut self) {
        let head = self.node.head();
        for (voter, messages) in &mut self.outbox {
            if messages.is_empty() {
                continue;
            }
            if let Some(to) = self.seats.identity(*voter) {
                let mut frame = Vec::with_capacity(256);
                codec::encode_frame(&head, messages, &mut frame);
                // Not taken means lost, and lost messages are said again.
                self.cluster.send(to, Bytes::from(frame));
            }
            messages.clear();
        }
    }

    fn homing(&self, said: Homing) {
        if let Some(homing) = self.commit.homing.get() {
            homing(said);
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let answer = match answer {
            Answer::Refused(Refusal::Again(proposal)) => match self.held.again(ticket, proposal) {
                true => return,
                false => Answer::Refused(Refusal::Ballot),
            },
            answer => answer,
        };
        self.held.forget(ticket);
        let counts = &self.commit.counts;
        match &answer {
            Answer::Committed(_) | Answer::NotAll(_) => counts.committed.fetch_add(1, Ordering::Relaxed),
            Answer::Refused(_) => counts.conflicts.fetch_add(1, Ordering::Relaxed),
        };
        if let Some(told) = self.waiting.remove(&ticket) {
            // A session that went away needs no answer.
            let _ = told.send(verdict(answer));
        }
    }

    fn new_epoch(&mut self, epoch: &Epoch) {
        tracing::info!(epoch = epoch.number, members = epoch.len(), "the cluster has a new set of voters");
        self.show_epoch();
    }
    fn show_epoch(&mut self) {
        self.commit.epoch.store(Arc::new(self.node.epoch().clone()));
    }
}

/// A rule to leave out, so that tests of whole processes can show that they would notice. No release has this switch.
fn planted() -> Option<Plant> {
    let wanted = std::env::var("STARLING_TEST_PLANT").ok().filter(|_| cfg!(debug_assertions))?;
    Plant::ALL.iter().copied().find(|plant| wanted == format!("{plant:?}"))
}
