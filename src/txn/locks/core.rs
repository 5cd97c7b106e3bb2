//! The deciding core of the lock table: who holds what, who waits behind whom, who is wounded. Pure: ages and wake-ups are values.
//!
//! Rules. A request is granted if it conflicts with no other holder and with no *older* waiter; else it waits, and every younger
//! holder in its way is **wounded**: its locks are gone at once, and it hears of it when it next asks. Who is *firm* (its commit is
//! under way, or it holds LOCK TABLES) is never wounded, and must ask for nothing more. Queues stand in order of age. So whoever waits
//! does so for an older one or a firm one, and nobody waits in a circle. A **patient** table wounds only when it is told to
//! ([`Core::press`]: most younger holders are done sooner than that), or where those who are here wait in a circle.
//!
//! Some parties stand for other nodes ([`Side`]): they are in nobody's way but that of this node's transactions.
//!
//! Promises: [`Core::check`] (tests call it after every step). Must not know: time, threads, sessions, what keys mean.

mod circle;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::mode::Modes;

/// Order of first attempts: the smaller is the older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Age(pub u64, pub u64);

/// Whoever holds or waits: a transaction, a statement, a session with LOCK TABLES.
pub type PartyId = u64;

/// Keys may belong to a group, whose members are counted for each holder (rows of a table).
pub trait Key: Clone + Eq + Hash + Ord {
    fn group(&self) -> Option<u64>;
    /// Counted in [`Core::data`].
    fn is_data(&self) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Granted,
    /// Queued; `settled` tells when it is over.
    Waiting,
    /// Not granted at once, and not to wait: nothing was taken.
    Refused,
    /// An older one took everything away.
    Wounded,
}

/// One wounding, for SHOW ENGINE STATUS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wound<K> {
    pub victim: PartyId,
    pub by: PartyId,
    pub key: K,
}

/// Whom a party stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    #[default]
    Here,
    /// A writer at ONE: asks no other node.
    Alone,
    /// A transaction of another node that is prepared here.
    Guard,
    /// A key's home lock is (to be) another node's.
    Away,
}

impl Side {
    fn ignores(self, other: Side) -> bool {
        use Side::*;
        matches!((self, other), (Guard | Away, Guard | Away) | (Alone, Away) | (Away, Alone))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Open,
    Firm,
    Wounded,
}

struct Party<K> {
    age: Age,
    /// Whose locks are no hindrance to it (and its own none to that one): a session's LOCK TABLES.
    friend: Option<PartyId>,
    side: Side,
    standing: Standing,
    held: Vec<K>,
    waits: Vec<K>,
    counts: BTreeMap<u64, usize>,
}

#[derive(Default)]
struct Lock {
    holders: Vec<(PartyId, Modes)>,
    /// Oldest first.
    queue: Vec<(Age, PartyId, Modes)>,
}

pub struct Core<K> {
    /// Wounds only when told to.
    pub patient: bool,
    locks: HashMap<K, Lock>,
    /// How many of them are data.
    data: usize,
    parties: BTreeMap<PartyId, Party<K>>,
    last: PartyId,
    woken: Vec<PartyId>,
    wounds: Vec<Wound<K>>,
}

impl<K> Default for Core<K> {
    fn default() -> Core<K> {
        Core {
            patient: false,
            locks: HashMap::new(),
            data: 0,
            parties: BTreeMap::new(),
            last: 0,
            woken: Vec::new(),
            wounds: Vec::new(),
        }
    }
}

impl Lock {
    fn modes_of(&self, id: PartyId) -> Modes {
        self.holders.iter().find(|(h, _)| *h == id).map_or(Modes::NONE, |(_, m)| *m)
    }
    fn is_unused(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }
}

impl<K: Key> Core<K> {
    pub fn join(&mut self, age: Age, friend: Option<PartyId>) -> PartyId {
        self.last += 1;
        let party = Party {
            age,
            friend,
            side: Side::Here,
            standing: Standing::Open,
            held: Vec::new(),
            waits: Vec::new(),
            counts: BTreeMap::new(),
        };
        self.parties.insert(self.last, party);
        self.last
    }
    /// Gives back everything; it does not exist any more.
    pub fn leave(&mut self, id: PartyId) {
        self.strip(id);
        self.parties.remove(&id);
    }
    pub fn is_wounded(&self, id: PartyId) -> bool {
        self.parties.get(&id).is_none_or(|p| p.standing == Standing::Wounded)
    }
    /// From now on it cannot be wounded; `false`: it was already, or it still waits.
    pub fn make_firm(&mut self, id: PartyId) -> bool {
        match self.parties.get_mut(&id) {
            Some(p) if p.standing != Standing::Wounded && p.waits.is_empty() => {
                p.standing = Standing::Firm;
                true
            }
            _ => false,
        }
    }
    /// A commit that did not come to pass (refused for sure): it may be wounded again.
    pub fn make_open(&mut self, id: PartyId) {
        if let Some(p) = self.parties.get_mut(&id)
            && p.standing == Standing::Firm
        {
            p.standing = Standing::Open;
        }
    }
    /// From now on it is that old. Only for one that holds nothing which anybody waits for (or who waits would wait for a younger one).
    pub fn renew(&mut self, id: PartyId, age: Age) {
        let Some(party) = self.parties.get(&id) else { return };
        let awaited = |key: &K| self.locks.get(key).is_some_and(|lock| !lock.queue.is_empty());
        let free = party.standing == Standing::Open && party.friend.is_none() && party.waits.is_empty();
        if !free || party.held.iter().any(awaited) {
            return;
        }
        if let Some(party) = self.parties.get_mut(&id) {
            party.age = age;
        }
    }
    /// Asks for all of `wanted`. Without `wait` it is all or nothing, and nobody is wounded for it.
    pub fn request(&mut self, id: PartyId, wanted: &[(K, Modes)], wait: bool) -> Answer {
        if self.is_wounded(id) {
            return Answer::Wounded;
        }
        if !wait {
            if wanted.iter().any(|(k, m)| !self.is_free_here(Some(id), k, *m)) {
                return Answer::Refused;
            }
            wanted.iter().for_each(|(k, m)| self.grant(id, k, *m));
            return Answer::Granted;
        }
        for (key, modes) in wanted {
            self.ask(id, key, *modes);
        }
        if !self.is_settled(id) {
            self.break_circles(id);
        }
        if self.is_wounded(id) {
            return Answer::Wounded;
        }
        if !self.is_settled(id) {
            return Answer::Waiting;
        }
        // It needs no waking: it has its answer.
        self.woken.retain(|w| *w != id);
        Answer::Granted
    }
    /// It has the key beside firm holders who need it no more, if it is the next in the queue.
    pub fn overtake(&mut self, id: PartyId, key: &K) {
        let Some(lock) = self.locks.get_mut(key) else { return };
        let modes = match lock.queue.first() {
            Some((_, first, modes)) if *first == id => *modes,
            _ => return,
        };
        let firm = |h: &PartyId| {
            self.parties
                .get(h)
                .is_none_or(|p| p.standing == Standing::Firm || p.side == Side::Guard)
        };
        if !lock.holders.iter().all(|(h, _)| firm(h)) {
            return;
        }
        lock.queue.remove(0);
        if let Some(party) = self.parties.get_mut(&id) {
            party.waits.retain(|k| k != key);
        }
        self.grant(id, key, modes);
    }
    /// All of it, if nobody at all is in the way.
    pub fn take_free(&mut self, id: PartyId, wanted: &[(K, Modes)]) -> bool {
        let free = !self.is_wounded(id) && wanted.iter().all(|(k, m)| self.is_free(id, k, *m));
        if free {
            wanted.iter().for_each(|(k, m)| self.grant(id, k, *m));
        }
        free
    }
    /// Is there nothing left that it waits for (granted, or wounded)?
    pub fn is_settled(&self, id: PartyId) -> bool {
        self.parties.get(&id).is_none_or(|p| p.waits.is_empty())
    }
    /// It waits no longer, and keeps what it holds.
    pub fn cancel(&mut self, id: PartyId) {
        let waits = match self.parties.get_mut(&id) {
            Some(party) => std::mem::take(&mut party.waits),
            None => return,
        };
        for key in waits {
            if let Some(lock) = self.locks.get_mut(&key) {
                lock.queue.retain(|(_, w, _)| *w != id);
            }
            self.advance(&key);
        }
    }
    /// Would `modes` be granted at once?
    fn is_free(&self, id: PartyId, key: &K, modes: Modes) -> bool {
        self.is_free_but(Some(id), key, modes, false)
    }
    /// Is nobody of this node in the way? `None`: of somebody who holds nothing and is younger than all.
    pub fn is_free_here(&self, id: Option<PartyId>, key: &K, modes: Modes) -> bool {
        self.is_free_but(id, key, modes, true)
    }
    fn is_free_but(&self, id: Option<PartyId>, key: &K, modes: Modes, here: bool) -> bool {
        let Some(lock) = self.locks.get(key) else { return true };
        let party = id.and_then(|id| self.parties.get(&id));
        let age = party.map_or(Age(u64::MAX, u64::MAX), |p| p.age);
        if id.is_some_and(|id| lock.modes_of(id).covers(modes)) {
            return true;
        }
        let away = |other: PartyId| here && self.side(other) == Side::Away;
        let stranger = |other: PartyId| !away(other) && id.is_none_or(|id| other != id && !self.are_friends(id, other));
        let held = lock.holders.iter().any(|(h, m)| stranger(*h) && m.conflicts(modes));
        let queued = lock.queue.iter().any(|(a, w, m)| *a < age && stranger(*w) && m.conflicts(modes));
        !held && !queued
    }
    /// Everybody who is not firm and holds a conflicting lock is wounded (a peer's prepared transaction goes before all of them).
    /// `false`: a firm one is in the way, and nothing was done.
    pub fn force(&mut self, id: PartyId, wanted: &[(K, Modes)]) -> bool {
        let mut victims = Vec::new();
        for (key, modes) in wanted {
            for other in self.in_the_way(id, key, *modes) {
                match self.parties.get(&other).map(|p| p.standing) {
                    Some(Standing::Open) => victims.push((other, key.clone())),
                    Some(Standing::Firm) => return false,
                    _ => {}
                }
            }
        }
        for (victim, key) in victims {
            self.wound(victim, id, &key);
        }
        for (key, modes) in wanted {
            self.grant(id, key, *modes);
        }
        self.make_firm(id)
    }
    /// How many keys of a group it holds.
    pub fn count(&self, id: PartyId, group: u64) -> usize {
        self.parties.get(&id).and_then(|p| p.counts.get(&group)).copied().unwrap_or(0)
    }
    /// All modes in which it holds keys of a group.
    pub fn group_modes(&self, id: PartyId, group: u64) -> Modes {
        let held = self.parties.get(&id).map_or(&[][..], |p| p.held.as_slice());
        let of_group = held.iter().filter(|k| k.group() == Some(group));
        of_group.fold(Modes::NONE, |m, k| m.union(self.held(id, k)))
    }
    /// Gives back all keys of a group (a lock on the whole stands for them now).
    pub fn drop_group(&mut self, id: PartyId, group: u64) {
        let Some(party) = self.parties.get_mut(&id) else { return };
        let (gone, kept) = std::mem::take(&mut party.held)
            .into_iter()
            .partition::<Vec<K>, _>(|k| k.group() == Some(group));
        party.held = kept;
        party.counts.remove(&group);
        for key in gone {
            self.release(id, &key);
        }
    }
    /// What it holds a key in.
    pub fn held(&self, id: PartyId, key: &K) -> Modes {
        self.locks.get(key).map_or(Modes::NONE, |l| l.modes_of(id))
    }
    /// Those to be told that their waiting is over, or that they were wounded.
    pub fn take_woken(&mut self) -> Vec<PartyId> {
        std::mem::take(&mut self.woken)
    }
    pub fn take_wounds(&mut self) -> Vec<Wound<K>> {
        std::mem::take(&mut self.wounds)
    }
    /// How many keys of data anybody holds or waits for.
    pub fn data(&self) -> usize {
        self.data
    }
    /// Every lock held (`true`) or waited for, of one party.
    pub fn of(&self, id: PartyId) -> Vec<(&K, Modes, bool)> {
        let Some(party) = self.parties.get(&id) else { return Vec::new() };
        let held = party.held.iter().map(|k| (k, self.held(id, k), true));
        let queued = |k: &K| {
            let found = self.locks.get(k)?.queue.iter().find(|(_, w, _)| *w == id)?;
            Some(found.2)
        };
        let waits = party.waits.iter().filter_map(|k| Some((k, queued(k)?, false)));
        held.chain(waits).collect()
    }
    /// Whom it waits for, and where.
    pub fn blockers(&self, id: PartyId) -> Vec<(&K, PartyId)> {
        let Some(party) = self.parties.get(&id) else { return Vec::new() };
        let mut out = Vec::new();
        for key in &party.waits {
            let Some(lock) = self.locks.get(key) else { continue };
            let Some((_, _, modes)) = lock.queue.iter().find(|(_, w, _)| *w == id) else {
                continue;
            };
            out.extend(self.in_the_way(id, key, *modes).into_iter().map(|other| (key, other)));
        }
        out
    }
    pub fn age(&self, id: PartyId) -> Option<Age> {
        self.parties.get(&id).map(|p| p.age)
    }

    fn are_friends(&self, a: PartyId, b: PartyId) -> bool {
        let says = |one: PartyId, other: PartyId| self.parties.get(&one).is_some_and(|p| p.friend == Some(other));
        says(a, b) || says(b, a) || self.side(a).ignores(self.side(b))
    }
    pub fn side(&self, id: PartyId) -> Side {
        self.parties.get(&id).map_or(Side::Here, |p| p.side)
    }
    pub fn set_side(&mut self, id: PartyId, side: Side) {
        if let Some(party) = self.parties.get_mut(&id) {
            party.side = side;
        }
    }
    /// Conflicting holders.
    fn in_the_way(&self, id: PartyId, key: &K, modes: Modes) -> Vec<PartyId> {
        let Some(lock) = self.locks.get(key) else { return Vec::new() };
        let conflicting = lock.holders.iter().filter(|(h, m)| *h != id && m.conflicts(modes));
        conflicting.map(|(h, _)| *h).filter(|h| !self.are_friends(id, *h)).collect()
    }
    fn ask(&mut self, id: PartyId, key: &K, modes: Modes) {
        if self.is_free(id, key, modes) {
            self.grant(id, key, modes);
            return;
        }
        let Some(age) = self.age(id) else { return };
        // In the queue before others lose their locks: what they give back is not for the younger ones behind.
        self.enqueue(id, age, key, modes);
        if !self.patient {
            self.press_for(id, key, false);
        }
        self.advance(key);
    }
    /// It has waited for long enough: younger holders in its way are wounded (`stuck`: only those who wait themselves).
    pub fn press(&mut self, id: PartyId, stuck: bool) {
        for key in self.parties.get(&id).map(|p| p.waits.clone()).unwrap_or_default() {
            self.press_for(id, &key, stuck);
            self.advance(&key);
        }
    }
    fn press_for(&mut self, id: PartyId, key: &K, stuck: bool) {
        let Some(modes) = self.queued(id, key) else { return };
        let Some(age) = self.age(id) else { return };
        for other in self.in_the_way(id, key, modes) {
            let gives_way = |p: &Party<K>| p.standing == Standing::Open && p.age > age && (!stuck || !p.waits.is_empty());
            if self.parties.get(&other).is_some_and(gives_way) {
                self.wound(other, id, key);
            }
        }
    }
    fn queued(&self, id: PartyId, key: &K) -> Option<Modes> {
        let lock = self.locks.get(key)?;
        lock.queue.iter().find(|(_, w, _)| *w == id).map(|(_, _, modes)| *modes)
    }
    /// Who waits for a key, but for parties that stand for other nodes.
    pub fn waiters(&self, key: &K) -> impl Iterator<Item = PartyId> + '_ {
        let queue = self.locks.get(key).into_iter().flat_map(|lock| &lock.queue);
        queue.map(|(_, id, _)| *id).filter(|id| self.side(*id) == Side::Here)
    }
    /// Who holds it.
    pub fn holders(&self, key: &K) -> impl Iterator<Item = PartyId> + '_ {
        self.locks.get(key).into_iter().flat_map(|lock| &lock.holders).map(|(id, _)| *id)
    }
    /// What it waits for.
    pub fn waits(&self, id: PartyId) -> &[K] {
        self.parties.get(&id).map_or(&[], |p| p.waits.as_slice())
    }
    fn enqueue(&mut self, id: PartyId, age: Age, key: &K, modes: Modes) {
        let lock = self.lock_of(key);
        let known = match lock.queue.iter_mut().find(|(_, w, _)| *w == id) {
            Some(waiter) => {
                waiter.2 = waiter.2.union(modes);
                true
            }
            None => {
                let at = lock.queue.partition_point(|(a, _, _)| *a <= age);
                lock.queue.insert(at, (age, id, modes));
                false
            }
        };
        if !known && let Some(party) = self.parties.get_mut(&id) {
            party.waits.push(key.clone());
        }
    }
    fn lock_of(&mut self, key: &K) -> &mut Lock {
        if !self.locks.contains_key(key) && key.is_data() {
            self.data += 1;
        }
        self.locks.entry(key.clone()).or_default()
    }
    fn grant(&mut self, id: PartyId, key: &K, modes: Modes) {
        let lock = self.lock_of(key);
        if let Some((_, held)) = lock.holders.iter_mut().find(|(h, _)| *h == id) {
            *held = held.union(modes);
            return;
        }
        lock.holders.push((id, modes));
        if let Some(party) = self.parties.get_mut(&id) {
            party.held.push(key.clone());
            if let Some(group) = key.group() {
                *party.counts.entry(group).or_insert(0) += 1;
            }
        }
    }
    /// Grants what can be, oldest first.
    fn advance(&mut self, key: &K) {
        let Some(lock) = self.locks.get(key) else { return };
        let waiting: Vec<(PartyId, Modes)> = lock.queue.iter().map(|(_, w, m)| (*w, *m)).collect();
        for (id, modes) in waiting {
            if !self.is_free(id, key, modes) {
                continue;
            }
            if let Some(lock) = self.locks.get_mut(key) {
                lock.queue.retain(|(_, w, _)| *w != id);
            }
            self.grant(id, key, modes);
            let Some(party) = self.parties.get_mut(&id) else { continue };
            party.waits.retain(|k| k != key);
            if party.waits.is_empty() {
                self.woken.push(id);
            }
        }
        if self.locks.get(key).is_some_and(Lock::is_unused) {
            self.locks.remove(key);
            self.data -= usize::from(key.is_data());
        }
    }
    fn release(&mut self, id: PartyId, key: &K) {
        if let Some(lock) = self.locks.get_mut(key) {
            lock.holders.retain(|(h, _)| *h != id);
        }
        self.advance(key);
    }
    fn wound(&mut self, victim: PartyId, by: PartyId, key: &K) {
        let Some(party) = self.parties.get_mut(&victim) else { return };
        if party.standing != Standing::Open || party.side == Side::Away {
            return;
        }
        party.standing = Standing::Wounded;
        self.wounds.push(Wound {
            victim,
            by,
            key: key.clone(),
        });
        self.strip(victim);
        self.woken.push(victim);
    }
    /// Takes away all that it holds and waits for.
    fn strip(&mut self, id: PartyId) {
        self.cancel(id);
        let Some(party) = self.parties.get_mut(&id) else { return };
        party.counts.clear();
        for key in std::mem::take(&mut party.held) {
            self.release(id, &key);
        }
    }

    /// What must hold between any two steps.
    #[cfg(test)]
    pub fn check(&self) {
        assert_eq!(self.data, self.locks.keys().filter(|k| k.is_data()).count());
        for (key, lock) in &self.locks {
            assert!(!lock.is_unused(), "an unused lock is kept");
            assert!(lock.queue.is_sorted_by_key(|(a, _, _)| *a), "a queue out of order");
            for (i, (a, m)) in lock.holders.iter().enumerate() {
                assert!(self.parties[a].held.contains(key));
                assert_ne!(self.parties[a].standing, Standing::Wounded);
                for (b, n) in &lock.holders[i + 1..] {
                    assert!(!m.conflicts(*n) || self.are_friends(*a, *b), "two hold what excludes each other");
                }
            }
            for (age, waiter, modes) in &lock.queue {
                assert!(self.parties[waiter].waits.contains(key));
                assert!(!self.is_free(*waiter, key, *modes), "it waits for nothing");
                for holder in self.in_the_way(*waiter, key, *modes) {
                    let party = &self.parties[&holder];
                    let fine = self.patient || party.standing == Standing::Firm || party.age < *age;
                    assert!(fine, "it waits for a younger one");
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
