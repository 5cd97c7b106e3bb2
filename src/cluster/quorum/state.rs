//! One voter's state, and where each input goes.
//!
//! Promises: the same inputs give the same effects. Must not know: I/O, clocks, chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use starling_log::{Origin, Place, Stamp, VersionVector};

use super::coordinator::Attempt;
use super::home::Homes;
use super::ids::{Ballot, Epoch, Outcome, Seat, Version, Voter, WriteNo};
use super::keys::Keys;
use super::message::{Frame, Gossip, Head, Message, Prepare, Vote};
use super::node::{Answer, Effect, Input, Recovered, Refusal, Settings, Ticket, Undecided, World};
use super::plant::Plant;
use super::record::{Own, Peer, Record, RecordKey, State};
use super::recovery::Contest;
use super::reserved::Reserved;

/// Prepares that wait for causes; more are dropped, their coordinator sends them again.
const PARKED_MAX: usize = 4096;
/// Places with nothing settled are looked through this often.
const SCAN_MS: u64 = 20;

/// What this voter holds of a place that is not cleared yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Hold {
    pub prepare: Option<Arc<Prepare>>,
    pub epoch: u64,
    pub vote: Option<Vote>,
    pub promised: Ballot,
    pub accepted: Option<(Ballot, Outcome)>,
    pub decided: Option<Outcome>,
    /// The last write of its state; 0: nothing is written.
    pub saved: WriteNo,
    pub prepare_saved: bool,
    /// When it was first heard of.
    pub since_ms: u64,
    /// No ballot before this.
    pub not_before_ms: u64,
    /// The highest round seen anywhere.
    pub round: u32,
}

/// What is known of another voter; `kept` is what `Peer` records say.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerState {
    pub kept: Peer,
    pub dirty: bool,
    /// Its highest flush as remembered before its present start.
    pub before: u64,
    pub gossip: Option<Gossip>,
    /// The last floor that could be counted (PROTOCOL 16).
    pub counted: Option<Stamp>,
    pub silent: bool,
    /// It did not vote in time: it is not waited for until it does.
    pub slow: bool,
    pub fetched_ms: u64,
    pub supplied_ms: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    pub last: u64,
    pub by: Place,
    pub decided: bool,
}

/// Whether others confirmed that this log has lost nothing (PROTOCOL 2).
#[derive(Clone, Debug, Default)]
pub(super) struct Check {
    pub done: bool,
    pub lost: bool,
    /// The log's last flush as this node started.
    pub flush: u64,
    pub answers: BTreeSet<Voter>,
    pub asked_ms: Option<u64>,
}

/// One voter.
pub struct Node {
    pub(super) seat: Seat,
    pub(super) me: Voter,
    pub(super) settings: Settings,
    pub(super) own: Own,
    pub(super) own_saved: WriteNo,
    pub(super) next_seq: u64,
    pub(super) flush: u64,
    pub(super) next_write: WriteNo,
    pub(super) flushed: WriteNo,
    pub(super) now_ms: u64,
    pub(super) chance: u64,
    pub(super) epochs: BTreeMap<u64, Epoch>,
    /// The newest epoch this voter has resolved everything before (PROTOCOL 17).
    pub(super) word: u64,
    pub(super) holds: BTreeMap<Place, Hold>,
    pub(super) keys: Keys,
    /// Kept for who would starve.
    pub(super) reserved: Reserved,
    /// Dense ends of what was handed to the log.
    pub(super) logged: VersionVector,
    /// Durable in the log.
    pub(super) held: VersionVector,
    pub(super) applied: VersionVector,
    /// The log as it was at the start is to be applied before anything is voted (PROTOCOL 10).
    pub(super) target: VersionVector,
    /// Sequences whose next entry waits for its changes to be durable in `pending`.
    pub(super) unexplained: BTreeSet<Origin>,
    pub(super) parked: BTreeMap<Place, (Arc<Prepare>, Voter)>,
    /// More was handed to the log since the parked were looked at.
    pub(super) grown: bool,
    pub(super) attempts: BTreeMap<u64, Attempt>,
    pub(super) contests: BTreeMap<Place, Contest>,
    /// Decided, told when applied.
    pub(super) waiting: BTreeMap<Place, (Ticket, Answer)>,
    pub(super) peers: BTreeMap<Voter, PeerState>,
    pub(super) fences: BTreeMap<Origin, Fence>,
    pub(super) check: Check,
    pub(super) homes: Homes,
    pub(super) stable: Stamp,
    pub(super) floor: Stamp,
    /// What was applied when the floor was last looked at.
    pub(super) floor_at: VersionVector,
    pub(super) gossips: u64,
    pub(super) gossiped_ms: Option<u64>,
    pub(super) scanned_ms: u64,
    /// Messages to itself that wait for their writes.
    loopback: VecDeque<(WriteNo, Message)>,
}

/// What a step works with besides the node.
pub(super) struct Cx<'a> {
    pub world: &'a mut dyn World,
    pub out: &'a mut Vec<Effect>,
}

impl Node {
    pub fn new(settings: Settings, recovered: Recovered, world: &mut dyn World, out: &mut Vec<Effect>) -> Node {
        let now_ms = world.monotonic_ms();
        let mut node = Node {
            me: recovered.me.voter,
            seat: recovered.me,
            chance: settings.seed | 1,
            settings,
            own: Own {
                voter: recovered.me.voter,
                ..Own::default()
            },
            own_saved: 0,
            next_seq: 1,
            flush: recovered.flush,
            next_write: 0,
            flushed: 0,
            now_ms,
            epochs: BTreeMap::from([(recovered.epoch.number, recovered.epoch)]),
            word: 0,
            holds: BTreeMap::new(),
            keys: Keys::default(),
            reserved: Reserved::default(),
            logged: recovered.held.clone(),
            target: recovered.held.clone(),
            held: recovered.held,
            applied: recovered.applied,
            unexplained: BTreeSet::new(),
            parked: BTreeMap::new(),
            grown: false,
            attempts: BTreeMap::new(),
            contests: BTreeMap::new(),
            waiting: BTreeMap::new(),
            peers: BTreeMap::new(),
            fences: BTreeMap::new(),
            check: Check {
                done: recovered.first,
                flush: recovered.flush,
                ..Check::default()
            },
            homes: Homes::default(),
            stable: Stamp::default(),
            floor: Stamp::default(),
            floor_at: VersionVector::new(),
            gossips: 0,
            gossiped_ms: None,
            scanned_ms: 0,
            loopback: VecDeque::new(),
        };
        let mut cx = Cx { world, out };
        for record in recovered.records {
            node.recover_record(record);
        }
        node.begin(&mut cx);
        node
    }

    pub fn step(&mut self, input: Input, world: &mut dyn World, out: &mut Vec<Effect>) {
        self.now_ms = world.monotonic_ms();
        let cx = &mut Cx { world, out };
        match input {
            Input::Propose { ticket, proposal } => self.propose(ticket, *proposal, cx),
            Input::Admit { ticket, seat } => self.admit(ticket, seat, cx),
            Input::Remove { ticket, voter } => self.remove(ticket, voter, cx),
            Input::Frame(frame) => self.on_frame(frame, cx),
            Input::Flushed { upto, flush } => {
                self.flushed = self.flushed.max(upto);
                self.flush = self.flush.max(flush);
                self.on_flushed(cx);
            }
            Input::Held(vector) => self.on_held(&vector, cx),
            Input::Applied(vector) => self.on_applied(&vector, cx),
            Input::Changed { version, causes, change } => self.changed(version, &causes, &change, cx),
            Input::Silent { voter, silent } => self.peers.entry(voter).or_default().silent = silent,
            Input::Trusted => self.check.done = !self.check.lost,
            Input::Home(ask) => self.ask_home(ask, cx),
            Input::Tick => self.tick(cx),
        }
        self.own_messages(cx);
        // What waits for causes is voted on as soon as they are here.
        if std::mem::take(&mut self.grown) && !self.parked.is_empty() {
            self.tick_parked(cx);
            self.own_messages(cx);
        }
    }

    fn on_frame(&mut self, frame: Frame, cx: &mut Cx) {
        self.note_head(&frame.head);
        for message in frame.messages {
            self.on_message(frame.head.from, message, cx);
        }
    }

    fn own_messages(&mut self, cx: &mut Cx) {
        while let Some((after, _)) = self.loopback.front()
            && *after <= self.flushed
            && let Some((_, message)) = self.loopback.pop_front()
        {
            self.on_message(self.me, message, cx);
        }
    }

    fn on_message(&mut self, from: Voter, message: Message, cx: &mut Cx) {
        match message {
            Message::Prepare(prepare) => self.on_prepare(from, prepare, cx),
            Message::Vote { place, vote } => self.on_vote(from, place, vote, cx),
            Message::Parked { place, have } => self.on_parked(from, place, have, cx),
            Message::Accept {
                place,
                epoch,
                ballot,
                outcome,
                prepare,
            } => self.on_accept(from, place, epoch, (ballot, outcome), prepare, cx),
            Message::Accepted { place, ballot } => self.on_accepted(from, place, ballot, cx),
            Message::Recover {
                place,
                epoch,
                ballot,
                want,
            } => self.on_recover(from, place, epoch, ballot, want, cx),
            Message::Promise { .. } => self.on_promise(from, message, cx),
            Message::Refused { place, promised } => self.on_refused(place, promised),
            Message::Learn { place, outcome, prepare } => self.on_learn(from, place, outcome, prepare, cx),
            Message::Ask { place, want } => self.on_ask(from, place, want, cx),
            Message::Settled { place, settled } => self.on_settled(from, place, settled, cx),
            Message::Gossip(gossip) => self.on_gossip(from, *gossip, cx),
            Message::Check { flush } => self.on_check(from, flush, cx),
            Message::CheckAnswer { flush, quorum, one } => self.on_check_answer(from, flush, quorum, one, cx),
            Message::Home(message) => self.on_home(from, message, cx),
        }
    }

    fn tick(&mut self, cx: &mut Cx) {
        self.tick_check(cx);
        if self.now_ms.saturating_sub(self.scanned_ms) >= SCAN_MS {
            self.scanned_ms = self.now_ms;
            self.tick_word(cx);
            self.tick_attempts(cx);
            self.tick_holds(cx);
            self.tick_contests(cx);
            self.tick_parked(cx);
            self.tick_home(cx);
        }
        self.tick_gossip(cx);
    }

    // ---- effects -------------------------------------------------------------------------------------------------------------

    pub(super) fn plant(&self, plant: Plant) -> bool {
        self.settings.plant == Some(plant)
    }

    pub(super) fn write(&mut self, record: Record, cx: &mut Cx) -> WriteNo {
        self.next_write += 1;
        cx.out.push(Effect::Write {
            no: self.next_write,
            record,
        });
        self.next_write
    }

    /// To itself too: then it comes back when it is durable.
    pub(super) fn send(&mut self, to: Voter, message: Message, after: WriteNo, cx: &mut Cx) {
        if to == self.me {
            self.loopback.push_back((after, message));
        } else {
            cx.out.push(Effect::Send { to, message, after });
        }
    }

    /// Writes what this voter said about a place; what it says next may rest on it.
    pub(super) fn save(&mut self, place: Place, cx: &mut Cx) -> WriteNo {
        let Some(hold) = self.holds.get(&place) else { return 0 };
        let state = State {
            epoch: hold.epoch,
            vote: hold.vote.clone(),
            promised: hold.promised,
            accepted: hold.accepted,
        };
        let changes = hold.prepare.clone().filter(|_| !hold.prepare_saved);
        if let Some(prepare) = changes {
            self.write(Record::Prepare(prepare), cx);
        }
        let no = self.write(Record::State(place, state), cx);
        if let Some(hold) = self.holds.get_mut(&place) {
            hold.prepare_saved |= hold.prepare.is_some();
            hold.saved = no;
        }
        no
    }

    pub(super) fn save_own(&mut self, cx: &mut Cx) -> WriteNo {
        self.own_saved = self.write(Record::Own(self.own.clone()), cx);
        self.own_saved
    }

    pub(super) fn answer(&mut self, ticket: Option<Ticket>, answer: Answer, cx: &mut Cx) {
        if let Some(ticket) = ticket {
            cx.out.push(Effect::Answer { ticket, answer });
        }
    }

    pub(super) fn refuse(&mut self, ticket: Ticket, why: &'static str, cx: &mut Cx) {
        self.answer(Some(ticket), Answer::Refused(Refusal::NotReady(why)), cx);
    }

    // ---- small questions -----------------------------------------------------------------------------------------------------

    /// The newest epoch known.
    pub fn epoch(&self) -> &Epoch {
        // There is one from the first moment on.
        self.epochs.last_key_value().map_or(&EMPTY, |(_, epoch)| epoch)
    }

    pub(super) fn hold(&mut self, place: Place, epoch: u64) -> &mut Hold {
        let now_ms = self.now_ms;
        self.holds.entry(place).or_insert_with(|| Hold {
            epoch,
            since_ms: now_ms,
            ..Hold::default()
        })
    }

    pub(super) fn is_settled(&self, place: Place) -> bool {
        self.logged.contains(place)
    }

    /// Everybody who is to learn of a transaction: its epoch's members and today's.
    pub(super) fn audience(&self, epoch: u64) -> Vec<Voter> {
        let own = self.epochs.get(&epoch).into_iter().flat_map(Epoch::voters);
        let all: BTreeSet<Voter> = own.chain(self.epoch().voters()).filter(|v| *v != self.me).collect();
        all.into_iter().collect()
    }

    /// Members of an epoch, oneself included.
    pub(super) fn voters(&self, epoch: u64) -> Vec<Voter> {
        self.epochs.get(&epoch).map(|e| e.voters().collect()).unwrap_or_default()
    }

    /// xorshift: for back-off only.
    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % below.max(1)
    }

    /// What goes in front of every frame. Until its log is known to be whole a node says nothing of its flushes (PROTOCOL 2).
    pub fn head(&self) -> Head {
        Head {
            from: self.me,
            start: self.own.start,
            flush: if self.check.done { self.flush } else { 0 },
            settled_below: self.settled_below(),
        }
    }

    /// Its log is known to be whole, and applied: it may issue and vote.
    pub fn is_ready(&self) -> bool {
        self.check.done && !self.check.lost && self.may_vote_unapplied()
    }

    /// Why it may not issue and vote; for people.
    pub fn hindrance(&self) -> Option<&'static str> {
        if self.check.lost {
            Some("its log has lost entries")
        } else if !self.check.done {
            Some("too few members have confirmed that its log is whole")
        } else if !self.may_vote_unapplied() {
            Some("it has not applied its log yet")
        } else if !self.epoch().has(self.me) {
            Some("it is not a member")
        } else if self.word < self.epoch().number {
            Some("it resolves what is open of an earlier epoch")
        } else {
            None
        }
    }

    fn may_vote_unapplied(&self) -> bool {
        // PROTOCOL 10: a node applies its log before it votes.
        self.plant(Plant::VoteUnapplied) || self.applied.covers(&self.target)
    }

    /// Nothing at or below it can appear any more (PROTOCOL 16).
    pub fn stable(&self) -> Stamp {
        self.stable
    }

    /// The newest epoch everything before which is resolved and applied here (PROTOCOL 17).
    pub fn word(&self) -> u64 {
        self.word
    }

    /// Places whose outcome is not known here: for status and tests.
    pub fn open_places(&self) -> Vec<Place> {
        let open = self.holds.iter().filter(|(_, hold)| hold.decided.is_none());
        open.map(|(place, _)| *place).collect()
    }

    /// The same with what is known of them.
    pub fn undecided(&self) -> Vec<Undecided> {
        let open = self.holds.iter().filter(|(_, hold)| hold.decided.is_none());
        open.map(|(place, hold)| Undecided {
            place: *place,
            ms: self.now_ms.saturating_sub(hold.since_ms),
            keys: hold.prepare.as_ref().map_or(0, |p| p.claims.len()),
            yes: hold.vote.as_ref().map(|vote| *vote == Vote::Yes),
            ticket: self
                .attempts
                .get(&place.seq)
                .filter(|_| place.origin == self.me)
                .and_then(|attempt| attempt.ticket),
        })
        .collect()
    }

    /// The highest places, by origin, whose changes it has and has not cleared: what may be committed without standing in the log here.
    pub fn prepared(&self) -> VersionVector {
        let mut all = VersionVector::new();
        for (place, _) in self.holds.iter().filter(|(_, hold)| hold.prepare.is_some()) {
            all.advance(place.origin, place.seq);
        }
        all
    }

    /// Do prepared or unapplied transactions hold any key?
    pub fn holds_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(super) fn park(&mut self, prepare: Arc<Prepare>, from: Voter) {
        if self.parked.len() < PARKED_MAX {
            self.parked.insert(prepare.place, (prepare, from));
        }
    }

    pub(super) fn erase(&mut self, key: RecordKey, cx: &mut Cx) {
        cx.out.push(Effect::Erase(key));
    }
}

static EMPTY: Epoch = Epoch {
    number: 0,
    seats: Vec::new(),
    causes: VersionVector(BTreeMap::new()),
    words: None,
    made: Version {
        stamp: Stamp {
            hlc: starling_log::Hlc(0),
            origin: 0,
        },
        place: Place { origin: 0, seq: 0 },
    },
};
