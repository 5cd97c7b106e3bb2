//! One simulated node: a voter, its disk, its tables, and the smallest driver that keeps the contract between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use starling::cluster::quorum::{
    Answer, Claim, Effect, Epoch, Frame, Input, Kind, Message, Mode, Node, Outcome, Prepare, Recovered, Seat, Settings, Ticket, Version,
    Voter, World, WriteNo,
};
use starling_log::{Hlc, Origin, Place, Stamp, VersionVector};

use crate::disk::{Disk, Entry, Op};

/// What a transaction writes, and what it points to.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Key, id of the write, value.
    pub writes: Vec<(u64, u64, Option<i64>)>,
    pub references: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    pub write: u64,
    pub value: Option<i64>,
    pub version: Version,
}

/// What SQLite is in a real node.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub rows: BTreeMap<u64, Row>,
    pub marks: BTreeMap<u64, Version>,
    /// The last writes of each table, by origin.
    pub touched: BTreeMap<u64, BTreeMap<Origin, (u64, Stamp)>>,
    pub applied: VersionVector,
    pub dropped: Stamp,
}

#[derive(Clone, Debug, Default)]
pub struct Clock {
    pub now_ms: u64,
    pub offset_ms: i64,
    pub last: u64,
    pub high: u64,
}

/// Virtual time 0 on the wall.
const EPOCH_MS: u64 = 1_000_000;
/// Row history is kept for snapshots no older than this.
const SNAPSHOT_MS: u64 = 300;

pub struct Host {
    pub seat: Seat,
    pub disk: Disk,
    pub node: Option<Node>,
    pub tables: Tables,
    pub clock: Clock,
    /// Counts starts and crashes: what was meant for an earlier life is dropped.
    pub life: u64,
    pub paused_until: u64,
    pub flushed: WriteNo,
    pub written: WriteNo,
    pub flushing: bool,
    pub wants_flush: bool,
    waiting: VecDeque<(WriteNo, Voter, Message)>,
    /// Entries of places that may not be shown before they are durable.
    unexplained: Vec<Place>,
    pub fences: BTreeMap<Origin, u64>,
    /// Final numbers that are decided.
    pub voided: BTreeMap<Origin, u64>,
    pub lost: bool,
    pub why: String,
    pub first: bool,
    pub joined_at: Epoch,
    pub settings: Settings,
    /// Open snapshots: ticket → stable stamp, and when it was opened.
    pub snapshots: BTreeMap<Ticket, (Stamp, u64)>,
    /// Everything it has ever shown.
    ever: VersionVector,
    pub surprise: Option<String>,
    /// Its tables are being made anew: nobody reads them.
    pub blank: bool,
}

/// What a host wants done outside.
#[derive(Debug)]
pub enum Out {
    Send(Voter, Frame),
    Entries(Voter, Vec<Arc<Entry>>),
    Want { of: Voter, have: VersionVector },
    Answer(Ticket, Answer),
    Flush { ops: [usize; 2], upto: WriteNo },
    Apply,
}

struct View<'a> {
    clock: &'a mut Clock,
    tables: &'a Tables,
    disk: &'a Disk,
    one: Origin,
    oldest: Stamp,
}

impl Clock {
    pub fn wall(&self) -> u64 {
        (self.now_ms + EPOCH_MS).saturating_add_signed(self.offset_ms)
    }
    pub fn tick(&mut self) -> Hlc {
        self.last = (self.last + 1).max(Hlc::from_ms(self.wall()).0);
        self.high = self.high.max(self.last + (100 << 16));
        Hlc(self.last)
    }
}

impl World for View<'_> {
    fn now_ms(&self) -> u64 {
        self.clock.wall()
    }
    fn monotonic_ms(&self) -> u64 {
        self.clock.now_ms
    }
    fn tick(&mut self) -> Hlc {
        self.clock.tick()
    }
    fn high_water(&self) -> Hlc {
        Hlc(self.clock.high.max(Hlc::from_ms(self.clock.wall()).0))
    }
    fn newest(&mut self, claims: &[Claim], out: &mut Vec<Version>) {
        out.extend(claims.iter().map(|claim| self.tables.newest(claim.key as u64, claim.mode)));
    }
    fn unseen(&mut self, claim: &Claim, causes: &VersionVector) -> Option<Version> {
        let mut last = self.tables.touched.get(&(claim.key as u64))?.iter();
        let (origin, (seq, stamp)) = last.find(|(origin, (seq, _))| causes.get(**origin) < *seq)?;
        Some(Version {
            stamp: *stamp,
            place: Place {
                origin: *origin,
                seq: *seq,
            },
        })
    }
    fn dropped(&self) -> Stamp {
        self.tables.dropped
    }
    fn oldest_snapshot(&self) -> Stamp {
        self.oldest
    }
    fn keep_above(&mut self, floor: Hlc) {
        self.clock.last = self.clock.last.max(floor.0);
    }
    fn lowest_unapplied(&self) -> Option<Stamp> {
        let next = Place {
            origin: self.one,
            seq: self.tables.applied.get(self.one) + 1,
        };
        self.disk.written.entry(next).map(|entry| entry.stamp)
    }
    fn outcome(&self, place: Place) -> Option<Outcome> {
        let entry = self.disk.written.entry(place)?;
        Some(if entry.txn.is_some() || entry.change.is_some() {
            Outcome::Commit
        } else {
            Outcome::Void
        })
    }
    fn wound(&mut self, _prepare: &Prepare) -> Result<(), u128> {
        Ok(())
    }
}

/// The key of a row's table.
pub fn table(key: u64) -> u64 {
    key >> 32 << 32 | 0xffff_ffff
}

impl Tables {
    pub fn newest(&self, key: u64, mode: Mode) -> Version {
        let row = self.rows.get(&key).map(|row| row.version).unwrap_or_default();
        let mark = self
            .marks
            .get(&key)
            .copied()
            .filter(|_| mode == Mode::Exclusive)
            .unwrap_or_default();
        let newest = row.max(mark);
        if newest.stamp <= self.dropped { Version::default() } else { newest }
    }

    pub fn show(&mut self, entry: &Entry, specs: &[Spec]) {
        let version = Version {
            stamp: entry.stamp,
            place: entry.place,
        };
        if let Some(spec) = entry.txn.and_then(|id| specs.get(id as usize)) {
            for (key, write, value) in &spec.writes {
                let last = self.touched.entry(table(*key)).or_default().entry(entry.place.origin).or_default();
                *last = (*last).max((entry.place.seq, entry.stamp));
                let row = self.rows.entry(*key).or_default();
                if row.version.stamp < version.stamp {
                    *row = Row {
                        write: *write,
                        value: *value,
                        version,
                    };
                }
            }
            for key in &spec.references {
                let mark = self.marks.entry(*key).or_default();
                *mark = (*mark).max(version);
            }
        }
        self.applied.advance(entry.place.origin, entry.place.seq);
    }
}

impl Host {
    pub fn new(seat: Seat, joined_at: Epoch, settings: Settings, first: bool) -> Host {
        Host {
            seat,
            disk: Disk::default(),
            node: None,
            tables: Tables::default(),
            clock: Clock::default(),
            life: 0,
            paused_until: 0,
            flushed: 0,
            written: 0,
            flushing: false,
            wants_flush: false,
            waiting: VecDeque::new(),
            unexplained: Vec::new(),
            fences: BTreeMap::new(),
            voided: BTreeMap::new(),
            lost: false,
            why: String::new(),
            first,
            joined_at,
            settings,
            snapshots: BTreeMap::new(),
            ever: VersionVector::new(),
            surprise: None,
            blank: false,
        }
    }

    pub fn up(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// `ahead`: the tables kept what the log has lost (PROTOCOL 11).
    /// `shown`: the log is applied before anything else happens.
    pub fn start(&mut self, specs: &[Spec], ahead: bool, shown: bool, out: &mut Vec<Out>) {
        self.life += 1;
        self.clock.last = self.clock.last.max(self.clock.high);
        self.flushed = 1;
        self.written = 1;
        if !ahead {
            self.tables = Tables {
                dropped: self.tables.dropped,
                ..Tables::default()
            };
        }
        if shown {
            self.show_all(specs);
        }
        let recovered = Recovered {
            me: self.seat,
            records: self.disk.synced.records.values().cloned().collect(),
            epoch: self.joined_at.clone(),
            held: self.disk.synced.vector(),
            applied: self.tables.applied.clone(),
            flush: self.disk.synced.flush,
            first: self.first,
        };
        self.first = false;
        let mut settings = self.settings.clone();
        settings.seed = settings.seed.wrapping_mul(31).wrapping_add(self.life);
        let mut effects = Vec::new();
        let mut view = View {
            clock: &mut self.clock,
            tables: &self.tables,
            disk: &self.disk,
            one: self.seat.one,
            oldest: Stamp::default(),
        };
        let node = Node::new(settings, recovered, &mut view, &mut effects);
        self.node = Some(node);
        self.act(effects, out);
        let changes: Vec<Arc<Entry>> = self
            .disk
            .synced
            .log
            .values()
            .flatten()
            .filter(|e| e.change.is_some())
            .cloned()
            .collect();
        for entry in changes {
            self.say_changed(&entry, out);
        }
    }

    pub fn crash(&mut self, kept: [usize; 2]) {
        self.life += 1;
        self.node = None;
        self.waiting.clear();
        self.unexplained.clear();
        self.flushing = false;
        self.wants_flush = false;
        self.fences.clear();
        self.snapshots.clear();
        self.disk.crash(kept);
    }

    fn say_changed(&mut self, entry: &Entry, out: &mut Vec<Out>) {
        if let Some(change) = &entry.change {
            let version = Version {
                stamp: entry.stamp,
                place: entry.place,
            };
            let (change, causes) = (change.clone(), entry.causes.clone());
            self.step(Input::Changed { version, causes, change }, out);
        }
    }

    pub fn step(&mut self, input: Input, out: &mut Vec<Out>) {
        let Some(node) = &mut self.node else { return };
        let mut effects = Vec::new();
        let own = oldest(&self.snapshots, self.clock.now_ms).unwrap_or_else(|| node.stable());
        let mut view = View {
            clock: &mut self.clock,
            tables: &self.tables,
            disk: &self.disk,
            one: self.seat.one,
            oldest: own,
        };
        node.step(input, &mut view, &mut effects);
        self.act(effects, out);
    }

    fn act(&mut self, effects: Vec<Effect>, out: &mut Vec<Out>) {
        for effect in effects {
            match effect {
                Effect::Write { no, record } => {
                    self.disk.write(Op::Put(record));
                    self.written = no;
                    self.wants_flush = true;
                }
                Effect::Erase(key) => self.disk.write(Op::Erase(key)),
                Effect::Send { to, message, after } => {
                    if after <= self.flushed {
                        self.send(to, message, out);
                    } else {
                        self.waiting.push_back((after, to, message));
                    }
                }
                Effect::Learn { place, prepare } => {
                    self.disk.write(Op::Append(Arc::new(learned(place, prepare.as_deref()))));
                    if let Some(prepare) = prepare {
                        self.observe(prepare.stamp.hlc);
                    }
                    out.push(Out::Apply);
                }
                Effect::Supply { to, have } => out.push(Out::Entries(to, self.entries_above(&have))),
                Effect::Fetch { from, .. } | Effect::TakeSnapshot { from } => out.push(Out::Want {
                    of: from,
                    have: self.disk.written.vector(),
                }),
                Effect::Answer { ticket, answer } => {
                    self.snapshots.remove(&ticket);
                    out.push(Out::Answer(ticket, answer));
                }
                Effect::Home(_) => {}
                Effect::Fence { origin, last, decided } => self.fence(origin, last, decided, out),
                Effect::Epoch(_) => {}
                Effect::Amnesia(why) => {
                    self.lost = true;
                    self.why = why;
                }
            }
        }
        self.want_flush(out);
    }

    fn fence(&mut self, origin: Origin, last: Option<u64>, decided: bool, out: &mut Vec<Out>) {
        match last {
            Some(last) => {
                self.fences.insert(origin, last);
                if decided {
                    self.voided.insert(origin, last);
                    out.push(Out::Apply);
                }
                if decided && self.disk.written.end(origin) > last {
                    self.disk.write(Op::Drop(origin, last));
                    self.blank = true;
                    self.tables = Tables {
                        dropped: self.tables.dropped,
                        ..Tables::default()
                    };
                    out.push(Out::Apply);
                }
            }
            None => {
                self.fences.remove(&origin);
            }
        }
    }

    fn send(&self, to: Voter, message: Message, out: &mut Vec<Out>) {
        let Some(node) = &self.node else { return };
        let frame = Frame {
            head: node.head(),
            messages: vec![message],
        };
        out.push(Out::Send(to, frame));
    }

    fn observe(&mut self, hlc: Hlc) {
        if hlc.ms() <= self.clock.wall() + self.settings.drift_ms {
            self.clock.last = self.clock.last.max(hlc.0);
        }
    }

    pub fn want_flush(&mut self, out: &mut Vec<Out>) {
        if self.wants_flush && !self.flushing && self.disk.unsynced() != [0, 0] {
            self.flushing = true;
            self.wants_flush = false;
            out.push(Out::Flush {
                ops: self.disk.unsynced(),
                upto: self.written,
            });
        }
    }

    pub fn flush_done(&mut self, ops: [usize; 2], upto: WriteNo, out: &mut Vec<Out>) {
        self.flushing = false;
        self.disk.flush(ops);
        self.flushed = upto;
        let flush = self.disk.synced.flush;
        self.step(Input::Flushed { upto, flush }, out);
        let held = self.disk.synced.vector();
        self.unexplained.retain(|place| !held.contains(*place));
        self.step(Input::Held(held), out);
        while self.waiting.front().is_some_and(|(after, ..)| *after <= self.flushed)
            && let Some((_, to, message)) = self.waiting.pop_front()
        {
            self.send(to, message, out);
        }
        out.push(Out::Apply);
        self.want_flush(out);
    }

    /// What a peer with this vector lacks of what is durable here.
    pub fn entries_above(&self, have: &VersionVector) -> Vec<Arc<Entry>> {
        let log = self.disk.synced.log.iter();
        log.flat_map(|(origin, list)| list.iter().skip(have.get(*origin) as usize))
            .cloned()
            .collect()
    }

    pub fn take_entries(&mut self, entries: Vec<Arc<Entry>>, out: &mut Vec<Out>) {
        for entry in entries {
            let place = entry.place;
            let fenced = self.fences.get(&place.origin).is_some_and(|last| place.seq > *last);
            if self.node.is_none() || fenced || self.disk.written.end(place.origin) + 1 != place.seq {
                continue;
            }
            self.disk.write(Op::Append(entry.clone()));
            // Entries of others are durable before they are shown.
            self.unexplained.push(place);
            self.wants_flush = true;
            self.observe(entry.stamp.hlc);
            self.say_changed(&entry, out);
        }
        self.want_flush(out);
    }

    /// Writes at `ONE`: durable here, then streamed.
    pub fn write_one(&mut self, txn: u64, out: &mut Vec<Out>) {
        let entry = Entry {
            place: Place {
                origin: self.seat.one,
                seq: self.disk.written.end(self.seat.one) + 1,
            },
            stamp: Stamp {
                hlc: self.clock.tick(),
                origin: self.seat.one,
            },
            causes: self.tables.applied.clone(),
            txn: Some(txn),
            change: None,
            by_quorum: false,
        };
        self.unexplained.push(entry.place);
        self.disk.write(Op::Append(Arc::new(entry)));
        self.wants_flush = true;
        self.want_flush(out);
    }

    fn show_all(&mut self, specs: &[Spec]) -> bool {
        let mut news = false;
        loop {
            let mut more = false;
            let origins: Vec<Origin> = self.disk.written.log.keys().copied().collect();
            for origin in origins {
                let place = Place {
                    origin,
                    seq: self.tables.applied.get(origin) + 1,
                };
                let Some(entry) = self.disk.written.entry(place).cloned() else {
                    continue;
                };
                // What lies beyond a fence is void, and nothing waits for it.
                let clipped = |origin: Origin, seq: u64| self.voided.get(&origin).map_or(seq, |last| seq.min(*last));
                let caused = entry.causes.iter().all(|(o, s)| self.tables.applied.get(o) >= clipped(o, s));
                if caused && !self.unexplained.contains(&place) {
                    let stable = self.node.as_ref().map_or(Stamp::default(), |n| n.stable());
                    let counts = entry.txn.is_some() && !self.ever.contains(place);
                    if counts && entry.stamp <= stable {
                        self.surprise = Some(format!(
                            "node {} shows {place:?} at {:?} below the stable stamp {stable:?}",
                            self.seat.voter, entry.stamp
                        ));
                    }
                    self.ever.advance(place.origin, place.seq);
                    self.tables.show(&entry, specs);
                    more = true;
                }
            }
            if !more {
                return news;
            }
            news = true;
        }
    }

    pub fn apply(&mut self, specs: &[Spec], out: &mut Vec<Out>) {
        self.blank = false;
        if self.node.is_some() && self.show_all(specs) {
            self.step(Input::Applied(self.tables.applied.clone()), out);
        }
    }

    /// Row stamps that no open snapshot needs any more are dropped.
    pub fn drop_history(&mut self) {
        let Some(node) = &self.node else { return };
        let own = oldest(&self.snapshots, self.clock.now_ms).unwrap_or_else(|| node.stable());
        let below = node.oldest_snapshot(own).min(node.stable());
        self.tables.dropped = self.tables.dropped.max(below);
    }
}

/// The oldest snapshot that is not too old to count (PROTOCOL 16).
fn oldest(snapshots: &BTreeMap<Ticket, (Stamp, u64)>, now_ms: u64) -> Option<Stamp> {
    let young = snapshots.values().filter(|(_, since)| now_ms - since < SNAPSHOT_MS);
    young.map(|(stable, _)| *stable).min()
}

fn learned(place: Place, prepare: Option<&Prepare>) -> Entry {
    let txn = |p: &Prepare| p.body.as_ref().try_into().ok().map(u64::from_le_bytes);
    Entry {
        place,
        stamp: prepare.map(|p| p.stamp).unwrap_or_default(),
        causes: prepare.map(|p| p.causes.clone()).unwrap_or_default(),
        txn: prepare.and_then(txn),
        change: prepare.and_then(|p| match &p.kind {
            Kind::Change(change) => Some(change.clone()),
            Kind::Data => None,
        }),
        by_quorum: true,
    }
}
