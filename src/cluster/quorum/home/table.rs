//! The home member's side: who has a key, and who waits for it, oldest first.
//!
//! Promises: one holder at a time, the oldest waiter next; saying a thing twice changes nothing; keys that nobody wants any more take
//! no memory for long. Must not know: who its home is, what the lock is for.

use std::collections::HashMap;

use starling_log::Stamp;

use super::super::ids::{Version, Voter};
use super::{HomeMessage, RequestNo, Said};

/// Keys looked after at once; beyond that a lock is given without being remembered.
pub const KEYS_MAX: usize = 65_536;
/// A holder is told again that somebody waits.
const AGAIN_MS: u64 = 30;
/// A holder that others wait for and that says nothing for this long (stopped, perhaps) has it no more.
const LEASE_MS: u64 = 250;
/// A key that nobody wants is forgotten after this long.
const KEEP_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
struct Waiter {
    age: Stamp,
    voter: Voter,
    request: RequestNo,
}

#[derive(Debug, Default)]
struct Lock {
    holder: Option<(Voter, RequestNo)>,
    /// Oldest first.
    queue: Vec<Waiter>,
    newest: Version,
    /// What the holder was told of, and when.
    told: Option<(Stamp, u64)>,
    /// The last word of its holder since others wait.
    heard_ms: u64,
    used_ms: u64,
}

#[derive(Debug, Default)]
pub struct Table {
    locks: HashMap<u128, Lock>,
}

impl Table {
    pub fn is_idle(&self) -> bool {
        self.locks.is_empty()
    }

    pub fn lock(&mut self, from: Voter, request: RequestNo, key: u128, age: Stamp, now_ms: u64, said: &mut Vec<Said>) {
        if self.locks.len() >= KEYS_MAX && !self.locks.contains_key(&key) {
            return said.push(granted(from, request, key, Version::default(), false));
        }
        let lock = self.locks.entry(key).or_default();
        lock.used_ms = now_ms;
        if let Some((holder, held)) = lock.holder.filter(|(holder, _)| *holder == from) {
            if held == request {
                return said.push(granted(holder, request, key, lock.newest, false));
            }
            if held > request {
                return;
            }
            // It asks anew, so it has it no more: that it said so was lost.
            lock.holder = None;
        }
        if lock.queue.iter().any(|w| w.voter == from && w.request > request) {
            return;
        }
        lock.queue.retain(|w| w.voter != from);
        let waiter = Waiter { age, voter: from, request };
        if lock.queue.is_empty() {
            lock.heard_ms = now_ms;
        }
        let at = lock.queue.partition_point(|w| (w.age, w.voter) < (age, from));
        lock.queue.insert(at, waiter);
        let free = lock.holder.is_none();
        lock.advance(key, now_ms, said);
        if !(free && lock.holder == Some((from, request))) {
            said.push(Said::Mail(from, HomeMessage::Queued { request, key }));
        }
    }

    pub fn release(&mut self, from: Voter, request: RequestNo, key: u128, newest: Version, now_ms: u64, said: &mut Vec<Said>) {
        let Some(lock) = self.locks.get_mut(&key) else { return };
        lock.newest = lock.newest.max(newest);
        lock.queue.retain(|w| (w.voter, w.request) != (from, request));
        if lock.holder == Some((from, request)) {
            lock.holder = None;
        }
        lock.used_ms = now_ms;
        lock.advance(key, now_ms, said);
    }

    /// The holder is there, and uses it.
    pub fn holding(&mut self, from: Voter, request: RequestNo, key: u128, now_ms: u64) {
        if let Some(lock) = self.locks.get_mut(&key).filter(|l| l.holder == Some((from, request))) {
            lock.heard_ms = now_ms;
        }
    }

    pub fn tick(&mut self, now_ms: u64, is_there: impl Fn(Voter) -> bool, said: &mut Vec<Said>) {
        self.locks.retain(|key, lock| {
            let late = !lock.queue.is_empty() && now_ms.saturating_sub(lock.heard_ms) >= LEASE_MS;
            if late || lock.holder.is_some_and(|(voter, _)| !is_there(voter)) {
                lock.holder = None;
            }
            lock.queue.retain(|w| is_there(w.voter));
            if lock.told.is_some_and(|(_, at)| now_ms.saturating_sub(at) >= AGAIN_MS) {
                lock.told = None;
            }
            lock.advance(*key, now_ms, said);
            lock.holder.is_some() || now_ms.saturating_sub(lock.used_ms) < KEEP_MS
        });
    }
}

impl Lock {
    /// The next one has it if nobody does; whoever has it hears who waits.
    fn advance(&mut self, key: u128, now_ms: u64, said: &mut Vec<Said>) {
        if self.holder.is_none() && !self.queue.is_empty() {
            let next = self.queue.remove(0);
            self.holder = Some((next.voter, next.request));
            self.told = None;
            self.heard_ms = now_ms;
            // Whoever comes first to a key that nobody wanted lately meets no contention.
            let contended = self.newest != Version::default() || !self.queue.is_empty();
            said.push(granted(next.voter, next.request, key, self.newest, contended));
        }
        if let (Some((holder, request)), Some(first)) = (self.holder, self.queue.first())
            && self.told.is_none_or(|(age, _)| first.age < age)
        {
            self.told = Some((first.age, now_ms));
            let age = first.age;
            said.push(Said::Mail(holder, HomeMessage::Awaited { request, key, age }));
        }
    }
}

fn granted(to: Voter, request: RequestNo, key: u128, newest: Version, contended: bool) -> Said {
    Said::Mail(
        to,
        HomeMessage::Granted {
            request,
            key,
            newest,
            contended,
        },
    )
}
