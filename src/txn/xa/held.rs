//! The prepared branches that this node knows of: their locks here, and the keys that votes are to keep for them.
//!
//! Promises: while a branch's record is in the tables its locks are held in this node's lock table, by the party of the session that
//! prepared it or, on other nodes and after a restart, by one of their own; and whoever is not its end is told that its keys are taken.
//! Both begin before anybody can learn that the record is applied here. Must not know: how branches are decided.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use starling_apply::Engine;
use starling_apply::claim::{ClaimKey, Mode};
use starling_apply::engine::ApplyError;

use super::Xid;
use super::record::{self, Lock, Record};
use crate::txn::locks::mode::Modes;
use crate::txn::locks::{Kind, LockKey, Locks, Party, Seat, Wanted};

#[derive(Default)]
pub struct Held {
    state: Mutex<State>,
    /// One reads the tables at a time: what an earlier look showed never replaces what a later one did.
    reading: Mutex<()>,
    /// Branches that bar anything: zero is all that most votes ever look at.
    barring: AtomicUsize,
    /// Branches whose locks somebody who commits still has.
    unlocked: AtomicUsize,
    /// The tables could not be read: until they are, any key may be a branch's.
    blind: AtomicBool,
}

#[derive(Default)]
struct State {
    /// At work in a session here, not prepared yet.
    active: HashSet<Xid>,
    /// Being committed or rolled back by a session here.
    ending: HashSet<Xid>,
    branches: HashMap<Xid, Branch>,
    /// By hash of the key.
    bars: HashMap<u128, Vec<(u64, Mode)>>,
    /// So many changes of the records' table are in here.
    seen: Option<u64>,
    last: u64,
}

struct Branch {
    number: u64,
    record: Record,
    /// Hash of the record's own key: whoever has it exclusively is the branch's end.
    row: Option<u128>,
    seat: Option<Holder>,
    /// Its record was seen in the table.
    shown: bool,
}

enum Holder {
    /// Of the session that prepared it.
    Own(#[expect(dead_code, reason = "held until it is dropped")] Seat),
    Stand(#[expect(dead_code, reason = "held until it is dropped")] Party),
}

/// A name that is taken until this is dropped.
pub struct Taken {
    held: Arc<Held>,
    xid: Xid,
    ending: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.held.state.lock();
        let names = if self.ending { &mut state.ending } else { &mut state.active };
        names.remove(&self.xid);
    }
}

impl Held {
    /// A new branch; `None`: there is one of that name.
    pub fn start(self: &Arc<Self>, xid: &Xid) -> Option<Taken> {
        let mut state = self.state.lock();
        let fresh = !state.branches.contains_key(xid) && state.active.insert(xid.clone());
        fresh.then(|| self.taken(xid, false))
    }
    /// A branch is to be ended; `None`: somebody is at that.
    pub fn end(self: &Arc<Self>, xid: &Xid) -> Option<Taken> {
        let fresh = self.state.lock().ending.insert(xid.clone());
        fresh.then(|| self.taken(xid, true))
    }
    fn taken(self: &Arc<Self>, xid: &Xid, ending: bool) -> Taken {
        Taken {
            held: Arc::clone(self),
            xid: xid.clone(),
            ending,
        }
    }
    /// Is there a prepared branch of that name, as far as this node knows?
    pub fn knows(&self, xid: &Xid) -> bool {
        self.state.lock().branches.contains_key(xid)
    }
    /// Sorted by name.
    pub fn list(&self) -> Vec<Record> {
        let state = self.state.lock();
        let mut all: Vec<Record> = state.branches.values().map(|b| b.record.clone()).collect();
        all.sort_by(|a, b| a.xid.cmp(&b.xid));
        all
    }
    /// A session's branch is prepared, visibly; it leaves its locks here. Somebody else may have ended it already: the next
    /// [`Held::refresh`] decides. Blocking.
    pub(super) fn put(&self, engine: &Engine, record: Record, seat: Seat) {
        seat.make_prepared();
        // A look that began before its record was visible does not take it for one that is gone.
        let _reading = self.reading.lock();
        let row = row_of(engine, &record.xid);
        let mut state = self.state.lock();
        let branch = state.branch(record, row);
        let was_unlocked = branch.seat.is_none() && branch.shown;
        branch.seat = Some(Holder::Own(seat));
        branch.shown = true;
        state.seen = None;
        if was_unlocked {
            self.unlocked.fetch_sub(1, Ordering::AcqRel);
        }
        self.barring.store(state.branches.len(), Ordering::Release);
    }
    /// It has ended, visibly.
    pub(super) fn remove(&self, xid: &Xid) {
        let mut state = self.state.lock();
        self.forget(&mut state, xid);
    }
    fn forget(&self, state: &mut State, xid: &Xid) {
        let Some(branch) = state.branches.remove(xid) else { return };
        for (key, _) in barred(&branch.record.locks) {
            if let Some(bars) = state.bars.get_mut(&key) {
                bars.retain(|(number, _)| *number != branch.number);
                if bars.is_empty() {
                    state.bars.remove(&key);
                }
            }
        }
        if branch.seat.is_none() && branch.shown {
            self.unlocked.fetch_sub(1, Ordering::AcqRel);
        }
        self.barring.store(state.branches.len(), Ordering::Release);
    }

    /// Takes in what the tables show by now; [`Held::settle`] is to follow. Cheap if the records' table was not written to. Where it fails,
    /// every vote is no until it succeeds. Blocking.
    pub fn refresh(&self, engine: &Engine) -> Result<(), ApplyError> {
        // Whoever fails is not made to see again by somebody who looked earlier.
        let _reading = self.reading.lock();
        let outcome = self.take_in(engine);
        self.blind.store(outcome.is_err(), Ordering::Release);
        outcome
    }
    pub fn is_blind(&self) -> bool {
        self.blind.load(Ordering::Acquire)
    }
    fn take_in(&self, engine: &Engine) -> Result<(), ApplyError> {
        let catalog = engine.catalog();
        let Some(table) = record::table(&catalog) else { return Ok(()) };
        let arrivals = engine.arrivals(table.id);
        if self.state.lock().seen == Some(arrivals) {
            return Ok(());
        }
        let applied = engine.applied();
        let found = record::list(engine)?;
        let mut state = self.state.lock();
        let names: HashSet<&Xid> = found.iter().map(|r| &r.xid).collect();
        let gone: Vec<Xid> = state
            .branches
            .values()
            .filter(|b| b.shown && !names.contains(&b.record.xid))
            .map(|b| b.record.xid.clone())
            .collect();
        for xid in gone {
            self.forget(&mut state, &xid);
        }
        for record in found {
            let row = record::key(table, &record.xid).map(|key| key.hash128());
            let branch = state.branch(record, row);
            if !branch.shown && branch.seat.is_none() {
                self.unlocked.fetch_add(1, Ordering::AcqRel);
            }
            branch.shown = true;
        }
        self.barring.store(state.branches.len(), Ordering::Release);
        // It is told of changes before they are visible: those not seen yet are looked for again.
        state.seen = engine.unseen(table.id, &applied).is_none().then_some(arrivals);
        Ok(())
    }

    /// Locks for the branches that have none here yet, from everybody who does not commit already.
    pub fn settle(&self, engine: &Engine, locks: &Arc<Locks>) {
        if self.unlocked.load(Ordering::Acquire) == 0 {
            return;
        }
        let catalog = engine.catalog();
        let mut state = self.state.lock();
        for branch in state.branches.values_mut().filter(|b| b.seat.is_none()) {
            let mut wanted: Vec<Wanted> = Vec::with_capacity(branch.record.locks.len() + 4);
            let mut tables: Vec<u64> = branch.record.locks.iter().filter_map(|(key, _)| key.table()).collect();
            tables.sort_unstable();
            tables.dedup();
            for (database, table) in tables.iter().filter_map(|t| catalog.table_by_id(*t)) {
                wanted.push((LockKey::definition(table.id), Modes::from(Mode::Shared)));
                wanted.push((LockKey::database(database.id), Modes::from(Mode::IntentShared)));
            }
            let data = branch
                .record
                .locks
                .iter()
                .filter(|(key, _)| !matches!(key, ClaimKey::Schema { .. }));
            wanted.extend(data.map(|(key, mode)| (LockKey::Data(key.clone()), Modes::from(*mode))));
            if let Some(party) = locks.force(locks.age(branch.record.at_ms), &wanted, Kind::Prepared) {
                branch.seat = Some(Holder::Stand(party));
                self.unlocked.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// A key of these that a prepared branch holds against whoever is not its end.
    pub fn barred(&self, claims: &mut dyn Iterator<Item = (u128, Mode)>) -> Option<u128> {
        if self.is_blind() {
            return claims.next().map(|(key, _)| key);
        }
        if self.barring.load(Ordering::Acquire) == 0 {
            return None;
        }
        let state = self.state.lock();
        let (mut rows, mut against) = (HashSet::new(), Vec::new());
        for (key, mode) in claims {
            if mode == Mode::Exclusive {
                rows.insert(key);
            }
            let bars = state.bars.get(&key).into_iter().flatten();
            against.extend(bars.filter(|(_, m)| !m.is_compatible(mode)).map(|(number, _)| (*number, key)));
        }
        let is_end = |number: u64| {
            let branch = state.branches.values().find(|b| b.number == number);
            branch.and_then(|b| b.row).is_some_and(|row| rows.contains(&row))
        };
        against.into_iter().find(|(number, _)| !is_end(*number)).map(|(_, key)| key)
    }
}

impl State {
    fn branch(&mut self, record: Record, row: Option<u128>) -> &mut Branch {
        let State { branches, bars, last, .. } = self;
        branches.entry(record.xid.clone()).or_insert_with(|| {
            *last += 1;
            for (key, mode) in barred(&record.locks) {
                bars.entry(key).or_default().push((*last, mode));
            }
            Branch {
                number: *last,
                record,
                row,
                seat: None,
                shown: false,
            }
        })
    }
}

fn row_of(engine: &Engine, xid: &Xid) -> Option<u128> {
    let catalog = engine.catalog();
    let table = record::table(&catalog)?;
    Some(record::key(table, xid)?.hash128())
}

/// The key of its database's definitions too: schema changes there wait for the branch's end.
fn barred(locks: &[Lock]) -> impl Iterator<Item = (u128, Mode)> {
    locks.iter().map(|(key, mode)| (key.hash128(), *mode))
}

#[cfg(test)]
mod tests {
    use starling_apply::layout::Key;

    use super::*;

    fn row(table: u64, key: i64) -> ClaimKey {
        ClaimKey::Row { table, key: Key::Int(key) }
    }

    fn put(held: &Held, name: &str, locks: &[Lock], row: u128) {
        let record = Record {
            xid: Xid {
                gtrid: name.into(),
                bqual: Vec::new(),
                format: 1,
            },
            member: 1,
            at_ms: 0,
            locks: locks.to_vec(),
        };
        let mut state = held.state.lock();
        state.branch(record, Some(row));
        held.barring.store(state.branches.len(), Ordering::Release);
    }

    #[test]
    fn votes_keep_a_branch_s_keys_for_its_end() {
        let held = Held::default();
        let asks = |claims: &[(u128, Mode)]| held.barred(&mut claims.iter().copied());
        let key = |n| row(7, n).hash128();
        let table = ClaimKey::Table { table: 7 }.hash128();
        assert_eq!(asks(&[(key(1), Mode::Exclusive)]), None);
        let locks = [
            (ClaimKey::Schema { db: 1 }, Mode::Shared),
            (ClaimKey::Table { table: 7 }, Mode::IntentExclusive),
            (row(7, 1), Mode::Exclusive),
            (row(7, 2), Mode::Shared),
        ];
        let (one, two) = (row(9, 1).hash128(), row(9, 2).hash128());
        put(&held, "one", &locks, one);
        put(&held, "two", &[(row(7, 2), Mode::Shared), (row(7, 3), Mode::Exclusive)], two);
        for (key, mode, kept) in [
            (key(1), Mode::Exclusive, true),
            (key(1), Mode::Shared, true),
            (key(2), Mode::Shared, false),
            (key(2), Mode::Exclusive, true),
            (table, Mode::IntentExclusive, false),
            (table, Mode::Shared, true),
            (table, Mode::Exclusive, true),
            (key(4), Mode::Exclusive, false),
            (ClaimKey::Schema { db: 1 }.hash128(), Mode::Shared, false),
            (ClaimKey::Schema { db: 1 }.hash128(), Mode::Exclusive, true),
        ] {
            assert_eq!(asks(&[(key, mode)]), kept.then_some(key), "{mode:?}");
        }
        let end = [(key(1), Mode::Exclusive), (table, Mode::IntentExclusive), (one, Mode::Exclusive)];
        assert_eq!(asks(&end), None, "its own end");
        assert_eq!(
            asks(&[(key(1), Mode::Exclusive), (two, Mode::Exclusive)]),
            Some(key(1)),
            "the end of another"
        );
        assert_eq!(asks(&[(key(1), Mode::Exclusive), (one, Mode::Shared)]), Some(key(1)));
        let xid = held.list()[0].xid.clone();
        held.remove(&xid);
        assert_eq!(asks(&[(key(1), Mode::Exclusive)]), None);
        assert_eq!(asks(&[(key(2), Mode::Exclusive)]), Some(key(2)), "the other one is there still");
        held.blind.store(true, Ordering::Release);
        assert_eq!(asks(&[(key(8), Mode::IntentShared)]), Some(key(8)), "nobody knows");
    }
}
