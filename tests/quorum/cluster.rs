//! A whole simulated cluster: virtual time, a faulty network, clients, an operator, and everything that can go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use starling::cluster::quorum::codec::{decode_frame, encode_frame};
use starling::cluster::quorum::{Answer, Epoch, Frame, Input, Message, Plant, Record, RecordKey, Seat, Settings, Version, Voter, WriteNo};
use starling_log::VersionVector;

use crate::check::{Ended, History, Shown, Sum};
use crate::disk::Entry;
use crate::host::{Host, Out, Spec};
use crate::load;
use crate::rng::Rng;

/// Chaos lasts this long; then everything is healed and must come to rest.
const CHAOS_MS: u64 = 2_500;
const REST_MS: u64 = 40_000;
/// Tickets of the operator.
const OPERATOR: u64 = 1 << 60;
const TICK_MS: u64 = 20;
/// How often everybody is asked to write once all has come to rest.
const ROUNDS: u64 = 4;

#[derive(Debug)]
enum Event {
    Frame(Voter, Frame),
    Entries(Voter, Vec<Arc<Entry>>),
    Want {
        of: Voter,
        back: Voter,
        have: VersionVector,
    },
    Tick(Voter, u64),
    Flush {
        of: Voter,
        life: u64,
        ops: [usize; 2],
        upto: WriteNo,
    },
    Apply(Voter, u64),
    Client(Voter, u64),
    Launch {
        at: Voter,
        life: u64,
        txn: u64,
    },
    One(Voter, u64),
    Start(Voter),
    Crash(Voter),
    Fault,
    Operator,
    Heal,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    Remove(Voter),
    Admit(Seat),
}

/// How often what goes wrong, in thousandths; drawn for each seed.
#[derive(Debug, Default)]
struct Mix {
    lose: u64,
    double: u64,
    late: u64,
    fault_ms: u64,
    crash: u64,
    cut: u64,
    pause: u64,
    clock: u64,
    disk: u64,
    member: u64,
    blackout: u64,
    think: u64,
    slow_apply: u64,
    /// Slow flushes, slow links, crashes that lose everything unsynced and restarts at once: ballots all the time.
    storm: bool,
    slow_flush: u64,
    slow_link: u64,
    /// Members at least.
    count: u32,
    /// A node crashes right after what it said has left it.
    sudden: u64,
    /// Failure detectors are wrong.
    rumour: u64,
    /// How often somebody's writes at `ONE` are followed at once.
    follow: u64,
}

pub struct Sim {
    rng: Rng,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    pub hosts: BTreeMap<Voter, Host>,
    gone: BTreeSet<Voter>,
    cut: BTreeSet<(Voter, Voter)>,
    specs: Vec<Spec>,
    proposals: BTreeMap<u64, starling::cluster::quorum::Proposal>,
    pub history: History,
    tasks: VecDeque<Task>,
    next_member: u32,
    mix: Mix,
    settings: Settings,
    /// The newest epoch the operator has heard of.
    newest: Epoch,
    healed: bool,
    trace: bool,
    /// Writes that nothing can be in the way of, one a member, when all has come to rest.
    sure: Vec<u64>,
    rounds: u64,
    pub wrong: Vec<String>,
    pub committed: usize,
}

fn seat(member: u32) -> Seat {
    Seat {
        member,
        one: member as u16 * 2 - 1,
        voter: member as u16 * 2,
    }
}

impl Sim {
    pub fn new(seed: u64, plant: Option<Plant>, trace: bool) -> Sim {
        let mut rng = Rng::new(seed);
        let count = *rng.pick(&[3, 3, 3, 3, 4, 5, 5, 7]).unwrap_or(&3);
        let mix = Mix::draw(&mut rng);
        let count = if mix.storm { mix.count } else { count.max(mix.count) };
        // Half of all histories are full of ballots: nobody is waited for for long.
        let (vote_rounds, accept_rounds) = if seed.is_multiple_of(2) { (1, 1) } else { (10, 5) };
        let settings = Settings {
            vote_rounds,
            accept_rounds,
            // In storms others lose patience before the coordinator does: ballots against ballots.
            silent_ms: if mix.storm { 90 } else { 40 },
            recover_ms: if mix.storm { *rng.pick(&[25, 60, 120]).unwrap_or(&60) } else { 250 },
            gossip_ms: 60,
            floor_ms: *rng.pick(&[10, 150]).unwrap_or(&150),
            drift_ms: 150,
            block: rng.between(1, 6),
            seed,
            plant,
        };
        let seats: Vec<Seat> = (1..=count).map(seat).collect();
        let genesis = Epoch::new(1, seats.clone(), Version::default());
        let mut sim = Sim {
            rng,
            now_ms: 0,
            events: BTreeMap::new(),
            number: 0,
            hosts: BTreeMap::new(),
            gone: BTreeSet::new(),
            cut: BTreeSet::new(),
            specs: vec![Spec::default()],
            proposals: BTreeMap::new(),
            history: History::default(),
            tasks: VecDeque::new(),
            next_member: count + 1,
            mix,
            settings,
            newest: genesis.clone(),
            healed: false,
            trace,
            sure: Vec::new(),
            rounds: 0,
            wrong: Vec::new(),
            committed: 0,
        };
        // Transaction numbers are indexes: 0 is nobody's.
        sim.history.txns.push(nobody());
        for seat in seats {
            sim.found(seat, genesis.clone());
        }
        sim.at(50, Event::Fault);
        sim.at(60, Event::Operator);
        sim.at(CHAOS_MS, Event::Heal);
        sim
    }

    fn found(&mut self, seat: Seat, epoch: Epoch) {
        let host = Host::new(seat, epoch, self.settings.clone(), true);
        self.hosts.insert(seat.voter, host);
        self.start(seat.voter, false);
    }

    pub fn kind(&self) -> String {
        format!("{:?}", self.mix)
    }

    fn at(&mut self, ms: u64, event: Event) {
        self.number += 1;
        self.events.insert((self.now_ms + ms, self.number), event);
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>7} {}", self.now_ms, what());
        }
    }

    pub fn run(&mut self) {
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now_ms = at;
            self.happen(event);
            if !self.wrong.is_empty() {
                return;
            }
            if self.healed && self.at_rest() {
                // What was still slow when all was healed may cost one of them a ballot.
                if self.rounds < ROUNDS && (self.rounds == 0 || self.refused_sure()) {
                    self.ask_everybody();
                } else {
                    break;
                }
            }
            if at > CHAOS_MS + REST_MS {
                let why = self.unrest();
                self.wrong.push(format!("no rest: {why}"));
                return;
            }
        }
        self.finish();
    }

    fn happen(&mut self, event: Event) {
        let target = match &event {
            Event::Frame(to, _) | Event::Entries(to, _) | Event::Tick(to, _) | Event::Apply(to, _) => Some(*to),
            Event::Flush { of, .. } => Some(*of),
            Event::Want { of, .. } => Some(*of),
            _ => None,
        };
        if let Some(host) = target.and_then(|voter| self.hosts.get(&voter))
            && host.paused_until > self.now_ms
        {
            let wait = host.paused_until - self.now_ms;
            return self.at(wait, event);
        }
        match event {
            Event::Frame(to, frame) => self.with(to, |host, out| host.step(Input::Frame(frame), out)),
            Event::Entries(to, entries) => self.with(to, |host, out| host.take_entries(entries, out)),
            Event::Want { of, back, have } => {
                let entries = self.hosts.get(&of).filter(|h| h.node.is_some()).map(|h| h.entries_above(&have));
                if let Some(entries) = entries.filter(|e| !e.is_empty()) {
                    self.travel(of, back, Event::Entries(back, entries));
                }
            }
            Event::Tick(of, life) => self.tick(of, life),
            Event::Flush { of, life, ops, upto } => {
                if self.lives(of, life) {
                    self.with(of, |host, out| host.flush_done(ops, upto, out));
                }
            }
            Event::Apply(of, life) => {
                if self.lives(of, life) {
                    self.apply(of);
                }
            }
            Event::Client(at, life) => self.client(at, life),
            Event::Launch { at, life, txn } => self.launch(at, life, txn),
            Event::One(at, life) => self.write_one(at, life),
            Event::Start(voter) => {
                let ahead = self.rng.permille(300);
                self.start(voter, ahead);
            }
            Event::Crash(voter) if !self.healed => self.crash_and_restart(voter),
            Event::Crash(_) => {}
            Event::Fault => self.fault(),
            Event::Operator => self.operate(),
            Event::Heal => self.heal(),
        }
    }

    fn lives(&self, voter: Voter, life: u64) -> bool {
        self.hosts.get(&voter).is_some_and(|h| h.life == life && h.node.is_some())
    }

    fn with(&mut self, voter: Voter, act: impl FnOnce(&mut Host, &mut Vec<Out>)) {
        let mut out = Vec::new();
        if let Some(host) = self.hosts.get_mut(&voter).filter(|h| h.node.is_some()) {
            host.clock.now_ms = self.now_ms;
            act(host, &mut out);
        }
        self.carry(voter, out);
    }

    fn carry(&mut self, voter: Voter, outs: Vec<Out>) {
        let life = self.hosts.get(&voter).map_or(0, |h| h.life);
        for out in outs {
            match out {
                Out::Send(to, frame) => self.post(voter, to, frame),
                Out::Entries(to, entries) => self.travel(voter, to, Event::Entries(to, entries)),
                Out::Want { of, have } => self.travel(voter, of, Event::Want { of, back: voter, have }),
                Out::Answer(ticket, answer) => self.answered(ticket, answer),
                Out::Flush { ops, upto } => {
                    let slow = match (self.healed, self.mix.storm) {
                        (true, _) => 0,
                        (false, true) => self.mix.slow_flush,
                        (false, false) => 50,
                    };
                    let ms = if self.rng.permille(slow) {
                        self.rng.between(5, 120)
                    } else {
                        self.rng.between(1, 4)
                    };
                    self.at(
                        ms,
                        Event::Flush {
                            of: voter,
                            life,
                            ops,
                            upto,
                        },
                    );
                }
                Out::Apply => {
                    let slow = self.mix.slow_apply;
                    let ms = if self.rng.permille(slow) {
                        self.rng.between(20, 600)
                    } else {
                        self.rng.below(3)
                    };
                    self.at(ms, Event::Apply(voter, life));
                }
            }
        }
        if self.hosts.get(&voter).is_some_and(|h| h.lost && h.node.is_some()) {
            self.replace(voter);
        }
    }

    // ---- network -------------------------------------------------------------------------------------------------------------

    fn post(&mut self, from: Voter, to: Voter, frame: Frame) {
        self.say(|| format!("{from} -> {to} {:?}", frame.messages));
        let says = |m: &Message| {
            matches!(
                m,
                Message::Vote { .. } | Message::Promise { .. } | Message::Accepted { .. } | Message::Recover { .. }
            )
        };
        if !self.healed && frame.messages.iter().any(says) && self.rng.permille(self.mix.sudden) {
            let after = self.rng.between(0, 30);
            self.at(after, Event::Crash(from));
        }
        let frame = if self.rng.permille(30) { again(&frame) } else { frame };
        if !self.healed && self.rng.permille(self.mix.double) {
            self.travel(from, to, Event::Frame(to, frame.clone()));
        }
        self.travel(from, to, Event::Frame(to, frame));
    }

    fn travel(&mut self, from: Voter, to: Voter, event: Event) {
        if !self.healed && (self.cut.contains(&(from, to)) || self.rng.permille(self.mix.lose)) {
            return;
        }
        let late = !self.healed && self.rng.permille(self.mix.late);
        let ms = match (late, self.rng.below(8)) {
            (false, _) if self.mix.storm && !self.healed && self.rng.permille(self.mix.slow_link) => self.rng.between(5, 80),
            (true, 0) => self.rng.between(500, CHAOS_MS * 2),
            (true, _) => self.rng.between(20, 500),
            (false, 0) => self.rng.between(2, 15),
            _ => self.rng.between(1, 3),
        };
        self.at(ms, event);
    }

    // ---- hosts ---------------------------------------------------------------------------------------------------------------

    fn start(&mut self, voter: Voter, ahead: bool) {
        let mut out = Vec::new();
        let Some(host) = self.hosts.get_mut(&voter).filter(|h| h.node.is_none() && !h.lost) else {
            return;
        };
        host.clock.now_ms = self.now_ms;
        let shown = self.rng.permille(600);
        host.start(&self.specs, ahead, shown, &mut out);
        let life = host.life;
        self.say(|| format!("{voter} starts (life {life})"));
        self.carry(voter, out);
        if self.mix.storm && self.mix.disk == 0 && self.settings.plant != Some(Plant::NoAmnesiaCheck) {
            // No disk is ever spoiled here: the operator knows, and need not wait for the others.
            self.with(voter, |host, out| host.step(Input::Trusted, out));
        }
        let soon = self.rng.between(1, 600);
        self.at(soon, Event::Apply(voter, life));
        self.at(1, Event::Tick(voter, life));
        let first = self.rng.below(60);
        self.at(first, Event::Client(voter, life));
        self.at(first * 3, Event::One(voter, life));
    }

    fn crash(&mut self, voter: Voter) {
        let Some(host) = self.hosts.get_mut(&voter).filter(|h| h.node.is_some()) else {
            return;
        };
        let unsynced = host.disk.unsynced();
        let kept = match self.rng.below(if self.mix.storm { 2 } else { 4 }) {
            0 => [0, 0],
            1 => unsynced.map(|n| self.rng.below(n as u64 + 1) as usize),
            _ => unsynced,
        };
        host.crash(kept);
        self.say(|| format!("{voter} crashes"));
    }

    fn tick(&mut self, of: Voter, life: u64) {
        if !self.lives(of, life) {
            return;
        }
        self.with(of, |host, out| host.step(Input::Tick, out));
        if !self.healed && self.rng.permille(self.mix.rumour) {
            let voters: Vec<Voter> = self.hosts.keys().copied().filter(|v| *v != of).collect();
            let silent = self.rng.permille(500);
            if let Some(voter) = self.rng.pick(&voters).copied() {
                self.with(of, |host, out| host.step(Input::Silent { voter, silent }, out));
            }
        }
        if self.healed {
            let voters: Vec<Voter> = self.hosts.keys().copied().collect();
            for voter in voters {
                let silent = self.hosts[&voter].node.is_none();
                self.with(of, |host, out| host.step(Input::Silent { voter, silent }, out));
            }
        }
        let flush = self.rng.permille(100);
        let copy = self.rng.permille(30);
        let forget = self.rng.permille(300);
        self.with(of, |host, out| {
            host.wants_flush |= flush;
            host.want_flush(out);
            if copy {
                host.disk.copy();
            }
            if forget {
                host.drop_history();
            }
        });
        self.at(TICK_MS, Event::Tick(of, life));
        // A joiner follows somebody's log until it is in.
        let joins = self.hosts.get(&of).and_then(|h| h.up()).is_some_and(|n| !n.epoch().has(of));
        if joins && self.rng.permille(300) {
            let others: Vec<Voter> = self.hosts.keys().copied().filter(|v| *v != of).collect();
            if let (Some(peer), Some(host)) = (self.rng.pick(&others).copied(), self.hosts.get(&of)) {
                let have = host.disk.written.vector();
                self.travel(of, peer, Event::Want { of: peer, back: of, have });
            }
        }
    }

    fn apply(&mut self, of: Voter) {
        let specs = std::mem::take(&mut self.specs);
        self.with(of, |host, out| host.apply(&specs, out));
        self.specs = specs;
        if let Some(what) = self.hosts.get_mut(&of).and_then(|h| h.surprise.take()) {
            self.wrong.push(what);
        }
        if let Some(what) = self.hosts.get(&of).and_then(load::look) {
            self.wrong.push(what);
        }
    }

    // ---- clients -------------------------------------------------------------------------------------------------------------

    fn client(&mut self, at: Voter, life: u64) {
        if !self.lives(at, life) || self.healed {
            return;
        }
        let id = self.specs.len() as u64;
        let Some(host) = self.hosts.get(&at) else { return };
        if host.blank {
            return self.at(5, Event::Client(at, life));
        }
        let made = load::make(host, id, self.now_ms, &mut self.rng);
        self.keep(at, life, made);
        let next = self.rng.between(5, if self.mix.storm { 35 } else { 90 });
        self.at(next, Event::Client(at, life));
    }

    fn keep(&mut self, at: Voter, life: u64, made: load::Made) {
        let id = made.txn.id;
        self.specs.push(made.spec);
        self.history.txns.push(made.txn);
        let Some(proposal) = made.proposal else {
            self.history.txns[id as usize].ended = Ended::Ok;
            return;
        };
        if let Some(host) = self.hosts.get_mut(&at) {
            host.snapshots.insert(id, (proposal.stable, self.now_ms));
        }
        self.proposals.insert(id, proposal);
        let think = match self.rng.permille(self.mix.think) {
            true if self.rng.permille(200) => self.rng.between(200, 1500),
            true => self.rng.between(5, 200),
            false => 0,
        };
        if think == 0 {
            self.launch(at, life, id);
        } else {
            self.at(think, Event::Launch { at, life, txn: id });
        }
    }

    fn launch(&mut self, at: Voter, life: u64, id: u64) {
        let Some(proposal) = self.proposals.remove(&id).filter(|_| self.lives(at, life)) else {
            return;
        };
        self.history.txns[id as usize].ended = Ended::Unknown;
        self.say(|| format!("{at} proposes {id}"));
        let proposal = Box::new(proposal);
        self.with(at, |host, out| host.step(Input::Propose { ticket: id, proposal }, out));
    }

    fn write_one(&mut self, at: Voter, life: u64) {
        if !self.lives(at, life) || self.healed {
            return;
        }
        let id = self.specs.len() as u64;
        let host = &self.hosts[&at];
        let ready = host.up().is_some_and(|n| n.is_ready() && n.epoch().has(at));
        if ready {
            let key = load::written_at_one(u64::from(host.seat.one));
            let value = host.disk.written.end(host.seat.one) as i64 + 1;
            self.specs.push(Spec {
                writes: vec![(key, id << 8, Some(value))],
                references: Vec::new(),
            });
            let mut txn = nobody();
            txn.id = id;
            self.history.txns.push(txn);
            self.with(at, |host, out| host.write_one(id, out));
        }
        let next = self.rng.between(50, 300);
        self.at(next, Event::One(at, life));
        // Followed by everybody, as fast as the network lets them.
        let others: Vec<Voter> = self.hosts.keys().copied().filter(|v| *v != at).collect();
        for other in others {
            if self.rng.permille(self.mix.follow) && self.hosts[&other].node.is_some() {
                let have = self.hosts[&other].disk.written.vector();
                self.travel(other, at, Event::Want { of: at, back: other, have });
            }
        }
    }

    fn answered(&mut self, ticket: u64, answer: Answer) {
        self.say(|| format!("answer {ticket}: {answer:?}"));
        if ticket >= OPERATOR {
            return;
        }
        self.history.txns[ticket as usize].ended = match answer {
            Answer::Committed(_) => {
                self.committed += 1;
                if !self.healed && self.rng.permille(self.mix.sudden * 5) {
                    let voters: Vec<Voter> = self.hosts.keys().copied().collect();
                    for voter in voters {
                        let after = self.rng.below(3);
                        self.at(after, Event::Crash(voter));
                    }
                }
                Ended::Ok
            }
            Answer::Refused(_) => Ended::Refused,
            Answer::NotAll(_) => Ended::Unknown,
        };
    }

    // ---- faults --------------------------------------------------------------------------------------------------------------

    fn fault(&mut self) {
        if self.healed {
            return;
        }
        let voters: Vec<Voter> = self.hosts.keys().copied().filter(|v| !self.gone.contains(v)).collect();
        let Some(victim) = self.rng.pick(&voters).copied() else { return };
        let m = &self.mix;
        let weights = [m.crash, m.cut, m.pause, m.clock, m.disk, m.member, m.blackout];
        let mut draw = self.rng.below(weights.iter().sum::<u64>().max(1));
        let kind = weights.iter().position(|w| {
            let hit = draw < *w;
            draw = draw.saturating_sub(*w);
            hit
        });
        match kind {
            Some(0) => self.crash_and_restart(victim),
            Some(1) => self.cut_links(&voters),
            Some(2) => {
                let ms = self.rng.between(20, 800);
                if let Some(host) = self.hosts.get_mut(&victim) {
                    host.paused_until = self.now_ms + ms;
                }
                self.say(|| format!("{victim} pauses for {ms}"));
            }
            Some(3) => {
                let offset = self.rng.below(150) as i64 - 75;
                if let Some(host) = self.hosts.get_mut(&victim) {
                    host.clock.offset_ms = offset;
                }
            }
            Some(4) => self.spoil_disk(victim),
            Some(5) => self.change_members(victim),
            Some(6) => voters.iter().for_each(|v| self.crash_and_restart(*v)),
            _ => {}
        }
        let next = self.rng.between(1, self.mix.fault_ms * 2);
        self.at(next, Event::Fault);
    }

    fn crash_and_restart(&mut self, voter: Voter) {
        self.crash(voter);
        let down = if self.mix.storm {
            self.rng.between(1, 150)
        } else {
            self.rng.between(1, 700)
        };
        self.at(down, Event::Start(voter));
    }

    fn cut_links(&mut self, voters: &[Voter]) {
        self.cut.clear();
        match self.rng.below(4) {
            0 => {}
            1 => {
                let alone = self.rng.pick(voters).copied().unwrap_or(0);
                for v in voters {
                    self.cut.insert((*v, alone));
                    self.cut.insert((alone, *v));
                }
            }
            2 => {
                let side: BTreeSet<Voter> = voters.iter().copied().filter(|_| self.rng.permille(500)).collect();
                for a in voters {
                    for b in voters.iter().filter(|b| side.contains(a) != side.contains(b)) {
                        self.cut.insert((*a, *b));
                    }
                }
            }
            _ => {
                for _ in 0..voters.len() {
                    if let (Some(a), Some(b)) = (self.rng.pick(voters).copied(), self.rng.pick(voters).copied()) {
                        self.cut.insert((a, b));
                    }
                }
            }
        }
        self.say(|| format!("cut: {:?}", self.cut));
    }

    fn members(&self) -> Epoch {
        let epochs = self.hosts.values().filter_map(|h| h.up()).map(|n| n.epoch());
        let newest = epochs.max_by_key(|e| e.number).filter(|e| e.number > self.newest.number);
        newest.unwrap_or(&self.newest).clone()
    }

    /// A disk is lost, or an old copy of it is put back. One at a time: more than a minority is nobody's promise.
    fn spoil_disk(&mut self, victim: Voter) {
        let members = self.members();
        if !self.tasks.is_empty() || members.len() < 3 || !members.has(victim) {
            return;
        }
        if self.rng.permille(500) {
            self.crash(victim);
            return self.replace(victim);
        }
        let needed = members.quorum().min(members.len() - 1);
        let Some(host) = self.hosts.get(&victim) else { return };
        let found = host.disk.copies.iter().position(|copy| {
            let remembers = |h: &&Host| {
                let record = h.disk.synced.records.get(&RecordKey::Peer(victim));
                matches!(record, Some(Record::Peer(_, peer)) if peer.flush > copy.flush)
            };
            let others = self.hosts.values().filter(|h| h.seat.voter != victim && members.has(h.seat.voter));
            others.filter(remembers).count() + needed > members.len() - 1
        });
        let Some(found) = found else { return };
        self.crash(victim);
        if let Some(host) = self.hosts.get_mut(&victim) {
            let copy = host.disk.copies[found].clone();
            host.disk.restore(copy);
        }
        self.say(|| format!("{victim} gets an old copy of its disk"));
        // Until it is known to be whole or replaced, no other disk is spoiled.
        self.tasks.push_back(Task::Remove(victim));
        let seat = self.next_seat();
        self.tasks.push_back(Task::Admit(seat));
        let down = self.rng.between(1, 100);
        self.at(down, Event::Start(victim));
    }

    fn next_seat(&mut self) -> Seat {
        self.next_member += 1;
        seat(self.next_member - 1)
    }

    /// Its log is lost: it never comes back as who it was.
    fn replace(&mut self, voter: Voter) {
        self.say(|| format!("{voter} is lost {:?}", self.hosts.get(&voter).map(|h| &h.why)));
        if let Some(host) = self.hosts.get_mut(&voter) {
            host.lost = true;
            host.node = None;
            host.life += 1;
        }
        self.gone.insert(voter);
        if !self.tasks.contains(&Task::Remove(voter)) {
            self.tasks.push_back(Task::Remove(voter));
            let seat = self.next_seat();
            self.tasks.push_back(Task::Admit(seat));
        }
    }

    fn change_members(&mut self, victim: Voter) {
        let members = self.members();
        if !self.tasks.is_empty() {
            return;
        }
        if members.len() > 3 && self.rng.permille(500) && members.has(victim) {
            self.tasks.push_back(Task::Remove(victim));
        } else if members.len() < 7 {
            let seat = self.next_seat();
            self.tasks.push_back(Task::Admit(seat));
        }
    }

    // ---- operator ------------------------------------------------------------------------------------------------------------

    fn operate(&mut self) {
        let next = if self.mix.storm {
            self.rng.between(5, 40)
        } else {
            self.rng.between(30, 150)
        };
        self.at(next, Event::Operator);
        let members = self.members();
        self.newest = members.clone();
        let Some(task) = self.tasks.front().copied() else { return };
        let done = match task {
            Task::Remove(voter) => !members.has(voter),
            Task::Admit(seat) => members.has(seat.voter),
        };
        // Nobody is switched off, and no other disk is spoiled, before all have finished with the epoch before.
        let entered = |v: Voter| {
            let record = self
                .hosts
                .get(&v)
                .filter(|h| !h.lost)
                .map(|h| h.disk.synced.records.get(&RecordKey::Epoch(members.number)));
            record.is_none_or(|r| matches!(r, Some(Record::Epoch(epoch)) if epoch.words.is_some()))
        };
        if done && !members.voters().all(entered) {
            return;
        }
        if done {
            self.say(|| format!("done: {task:?}"));
            self.tasks.pop_front();
            if let Task::Remove(voter) = task {
                self.retire(voter);
            }
            return;
        }
        if let Task::Admit(seat) = task
            && !self.hosts.contains_key(&seat.voter)
        {
            self.found(seat, members.clone());
        }
        let live: Vec<Voter> = members
            .voters()
            .filter(|v| self.hosts.get(v).is_some_and(|h| h.node.is_some()))
            .collect();
        let candidates: Vec<Voter> = live.into_iter().filter(|v| task != Task::Remove(*v)).collect();
        let Some(at) = self.rng.pick(&candidates).copied() else { return };
        // PROTOCOL 2: where too few others are left to be asked, the operator answers for those whose disk was not touched.
        if members.voters().any(|v| self.gone.contains(&v)) {
            let whole = members
                .voters()
                .filter(|v| !self.gone.contains(v) && !self.tasks.contains(&Task::Remove(*v)));
            for voter in whole.collect::<Vec<_>>() {
                self.with(voter, |host, out| host.step(Input::Trusted, out));
            }
        }
        let ticket = OPERATOR + self.number;
        let input = match task {
            Task::Remove(voter) => Input::Remove { ticket, voter },
            Task::Admit(seat) => Input::Admit { ticket, seat },
        };
        self.with(at, |host, out| host.step(input, out));
    }

    /// A removed node goes on for a while, not knowing.
    fn retire(&mut self, voter: Voter) {
        self.gone.insert(voter);
        if self.rng.permille(500)
            && let Some(host) = self.hosts.get_mut(&voter)
        {
            host.node = None;
            host.lost = true;
            host.life += 1;
        }
    }

    fn heal(&mut self) {
        self.say(|| "healed".to_owned());
        self.healed = true;
        self.cut.clear();
        let voters: Vec<Voter> = self.hosts.keys().copied().collect();
        for voter in voters {
            if let Some(host) = self.hosts.get_mut(&voter) {
                host.paused_until = 0;
                host.clock.offset_ms = 0;
            }
            self.start(voter, false);
        }
    }

    fn refused_sure(&self) -> bool {
        self.sure.iter().any(|id| self.history.txns[*id as usize].ended != Ended::Ok)
    }

    fn ask_everybody(&mut self) {
        self.rounds += 1;
        self.sure.clear();
        let voters: Vec<Voter> = self.members().voters().collect();
        for voter in voters {
            let id = self.specs.len() as u64;
            let Some(host) = self.hosts.get(&voter) else { continue };
            let life = host.life;
            let made = load::make_sure(host, id, self.now_ms, &mut self.rng);
            self.sure.push(id);
            self.mix.think = 0;
            self.keep(voter, life, made);
        }
    }

    // ---- rest ----------------------------------------------------------------------------------------------------------------

    fn at_rest(&self) -> bool {
        self.number.is_multiple_of(16) && self.tasks.is_empty() && self.unrest().is_empty()
    }

    /// What is not settled yet; empty: nothing.
    fn unrest(&self) -> String {
        let members = self.members();
        let mut vector: Option<&VersionVector> = None;
        if !self.tasks.is_empty() {
            let nodes = self.hosts.values().filter_map(|h| h.up().map(|n| (h, n)));
            let each = nodes.map(|(h, n)| {
                format!(
                    "{}: {:?} epoch {} word {} words {} open {:?} applied {:?} log {:?}\n",
                    h.seat.voter,
                    n.hindrance(),
                    n.epoch().number,
                    n.word(),
                    n.epoch().words.is_some(),
                    n.open_places(),
                    h.tables.applied,
                    h.disk.written.vector()
                )
            });
            return format!("{:?} {}", self.tasks, each.collect::<String>());
        }
        for voter in members.voters() {
            let Some(host) = self.hosts.get(&voter) else {
                return format!("{voter} is nowhere");
            };
            let Some(node) = host.up() else { return format!("{voter} is down") };
            let open = node.open_places();
            if node.hindrance().is_some() || node.epoch().number != members.number || !open.is_empty() || node.holds_keys() {
                let ready = node.is_ready();
                let log = host.disk.written.vector();
                return format!(
                    "{voter}: ready {ready}, epoch {}, open {open:?}, keys {}, applied {:?}, log {log:?}",
                    node.epoch().number,
                    node.holds_keys(),
                    host.tables.applied
                );
            }
            if host.tables.applied != host.disk.written.vector() {
                return format!("{voter}: applied {:?}, log {:?}", host.tables.applied, host.disk.written.vector());
            }
            match vector {
                None => vector = Some(&host.tables.applied),
                Some(other) if *other != host.tables.applied => return format!("{voter}: {:?}, others {other:?}", host.tables.applied),
                Some(_) => {}
            }
        }
        String::new()
    }

    fn finish(&mut self) {
        let members = self.members();
        for id in &self.sure {
            if self.history.txns[*id as usize].ended != Ended::Ok {
                self.wrong
                    .push(format!("{id} does not go through although nothing is wrong any more"));
            }
        }
        for voter in members.voters() {
            let Some(host) = self.hosts.get(&voter) else { continue };
            if let Some(what) = load::look(host) {
                self.wrong.push(what);
            }
            let rows = host.tables.rows.iter().filter(|(key, _)| **key >> 32 != 7);
            self.history.finals.push(Shown {
                node: u64::from(voter),
                rows: rows.map(|(key, row)| (*key, row.write, row.value)).collect(),
            });
            self.wrong.extend(fold_differs(host, &self.specs));
            let log = host.disk.written.log.values().flatten();
            self.wrong.extend(load::unseen(log.map(|e| &**e), &self.specs));
        }
        self.history.sums.push(Sum {
            keys: (0..load::ACCOUNTS).map(load::account).collect(),
            initial: load::OPENING,
        });
        self.wrong.extend(self.history.check());
    }
}

/// Law 2: the tables are the fold of the log in stamp order.
fn fold_differs(host: &Host, specs: &[Spec]) -> Option<String> {
    let mut entries: Vec<&Arc<Entry>> = host.disk.written.log.values().flatten().filter(|e| e.txn.is_some()).collect();
    entries.sort_by_key(|e| e.stamp);
    let mut fold: BTreeMap<u64, (u64, Option<i64>)> = BTreeMap::new();
    for entry in entries {
        for (key, write, value) in entry.txn.and_then(|id| specs.get(id as usize)).iter().flat_map(|s| &s.writes) {
            fold.insert(*key, (*write, *value));
        }
    }
    let shown: BTreeMap<u64, (u64, Option<i64>)> = host.tables.rows.iter().map(|(k, r)| (*k, (r.write, r.value))).collect();
    (fold != shown).then(|| format!("node {} does not show the fold of its log", host.seat.voter))
}

fn nobody() -> crate::check::Txn {
    crate::check::Txn {
        id: 0,
        session: 0,
        begin: 0,
        reads: Vec::new(),
        writes: Vec::new(),
        ended: Ended::Refused,
    }
}

/// Over the wire and back.
fn again(frame: &Frame) -> Frame {
    let mut bytes = Vec::new();
    encode_frame(&frame.head, &frame.messages, &mut bytes);
    let back = decode_frame(bytes.into()).expect("decodes");
    assert_eq!(&back, frame);
    back
}

impl Mix {
    fn draw(rng: &mut Rng) -> Mix {
        let mut some = |of: u64, most: u64| if rng.permille(of) { rng.below(most) + 1 } else { 0 };
        Mix {
            lose: some(500, 120),
            double: some(500, 150),
            late: some(600, 150),
            crash: some(700, 10),
            cut: some(700, 10),
            pause: some(500, 10),
            clock: some(500, 10),
            disk: some(350, 6),
            member: some(350, 6),
            blackout: some(300, 3),
            think: some(600, 400),
            slow_apply: some(500, 200),
            fault_ms: 30 + some(1000, 300),
            storm: false,
            slow_flush: [50, 200, 500][some(1000, 3) as usize - 1],
            slow_link: [50, 200, 400][some(1000, 3) as usize - 1],
            count: 3,
            sudden: 0,
            rumour: some(300, 30),
            follow: [50, 700][some(1000, 2) as usize - 1],
        }
        .special(rng)
    }

    /// Every fourth seed is about crashes and ballots, every fourth about members and disks.
    fn special(self, rng: &mut Rng) -> Mix {
        match rng.below(4) {
            0 => Mix {
                storm: true,
                double: 200,
                crash: 10,
                cut: 4,
                pause: 5,
                blackout: rng.below(3),
                disk: 0,
                member: rng.below(3),
                rumour: rng.below(60),
                count: 3,
                sudden: rng.below(6),
                fault_ms: rng.between(60, 200),
                ..self
            },
            1 => Mix {
                disk: 5,
                member: 8,
                crash: 4,
                cut: 4,
                pause: 4,
                count: 3 + rng.below(3) as u32,
                storm: rng.permille(500),
                rumour: rng.below(60),
                fault_ms: rng.between(30, 120),
                ..self
            },
            _ => self,
        }
    }
}
