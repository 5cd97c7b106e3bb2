//! One member's votes for named locks: who has its vote for which name, who waits for it.
//!
//! Promises: one vote for a name at a time, given to the oldest that asks; a vote that is not asked for again within its lease is given
//! to the next. Pure: time comes in, grants go out. Must not know: messages, sessions.

use std::collections::{BTreeMap, HashMap};

use crate::cluster::members::Id;

/// A session of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    pub node: Id,
    pub session: u32,
}

/// When somebody began to ask (wall milliseconds, then a count): the oldest goes first.
pub type Age = (u64, u64);

/// A vote lasts this long behind the last time it was asked for; so does a place in the queue.
pub const LEASE_MS: u64 = 5_000;

#[derive(Debug, Default)]
struct Name {
    holder: Option<Held>,
    queue: BTreeMap<(Age, Owner), u64>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    owner: Owner,
    age: Age,
    until_ms: u64,
}

/// The vote for this name went to this owner, without having been asked just now.
pub type Granted = (String, Owner);

#[derive(Debug, Default)]
pub struct Voter {
    names: HashMap<String, Name>,
    /// No votes before this: what was voted before a restart is forgotten, and may still count.
    from_ms: u64,
}

impl Voter {
    pub fn new(from_ms: u64) -> Voter {
        Voter {
            from_ms,
            ..Voter::default()
        }
    }

    /// It is the only one there is: nothing it forgot counts.
    pub fn is_alone(&mut self) {
        self.from_ms = 0;
    }

    /// Asks for the vote, or for its lease to begin anew, until `until_ms`. Gives who has it now.
    pub fn want(&mut self, name: &str, asked: (Owner, Age), now_ms: u64, until_ms: u64, out: &mut Vec<Granted>) -> Option<Owner> {
        let (owner, age) = asked;
        let entry = self.names.entry(name.to_owned()).or_default();
        entry.queue.insert((age, owner), until_ms);
        entry.expire(now_ms);
        if now_ms >= self.from_ms
            && let Some(next) = entry.grant(now_ms)
            && next != owner
        {
            out.push((name.to_owned(), next));
        }
        match &mut entry.holder {
            Some(held) if held.owner == owner => {
                held.until_ms = until_ms;
                entry.queue.retain(|(_, waiting), _| *waiting != owner);
                Some(owner)
            }
            other => other.map(|h| h.owner),
        }
    }

    /// Wants it no more.
    pub fn let_go(&mut self, name: &str, owner: Owner, now_ms: u64, out: &mut Vec<Granted>) {
        self.give_back(name, owner, now_ms, false, out);
    }

    /// Gives the vote back, and stands in the queue again: whoever is older gets it.
    pub fn later(&mut self, name: &str, owner: Owner, now_ms: u64, out: &mut Vec<Granted>) {
        self.give_back(name, owner, now_ms, true, out);
    }

    fn give_back(&mut self, name: &str, owner: Owner, now_ms: u64, again: bool, out: &mut Vec<Granted>) {
        let ready = now_ms >= self.from_ms;
        let Some(entry) = self.names.get_mut(name) else { return };
        if !again {
            entry.queue.retain(|(_, waiting), _| *waiting != owner);
        }
        if let Some(held) = entry.holder.take_if(|h| h.owner == owner) {
            if again {
                entry.queue.insert((held.age, owner), held.until_ms);
            }
            if ready && let Some(next) = entry.grant(now_ms) {
                out.push((name.to_owned(), next));
            }
        }
        if entry.is_empty() {
            self.names.remove(name);
        }
    }

    /// Time has passed: what is over goes to the next.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Granted>) {
        let ready = now_ms >= self.from_ms;
        for (name, entry) in &mut self.names {
            entry.expire(now_ms);
            if ready
                && entry.holder.is_none()
                && let Some(next) = entry.grant(now_ms)
            {
                out.push((name.clone(), next));
            }
        }
        self.names.retain(|_, entry| !entry.is_empty());
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
    pub fn holder(&self, name: &str) -> Option<Owner> {
        self.names.get(name)?.holder.map(|h| h.owner)
    }
}

impl Name {
    fn is_empty(&self) -> bool {
        self.holder.is_none() && self.queue.is_empty()
    }
    fn expire(&mut self, now_ms: u64) {
        self.holder.take_if(|h| h.until_ms < now_ms);
        self.queue.retain(|_, until| *until >= now_ms);
    }
    /// If it is free, it goes to the oldest that waits.
    fn grant(&mut self, now_ms: u64) -> Option<Owner> {
        if self.holder.is_some() {
            return None;
        }
        let ((age, owner), _) = self.queue.pop_first()?;
        self.holder = Some(Held {
            owner,
            age,
            until_ms: now_ms + LEASE_MS,
        });
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(session: u32) -> Owner {
        Owner { node: Id(1), session }
    }
    /// Its age is its number; nobody else is granted anything by it.
    fn want(voter: &mut Voter, name: &str, session: u32, now_ms: u64) -> Option<Owner> {
        let mut out = Vec::new();
        let age = (u64::from(session), 0);
        let got = voter.want(name, (owner(session), age), now_ms, now_ms + LEASE_MS, &mut out);
        assert!(out.is_empty());
        got
    }

    #[test]
    fn the_oldest_that_waits_is_next() {
        let mut voter = Voter::new(0);
        assert_eq!(want(&mut voter, "a", 1, 10), Some(owner(1)));
        assert_eq!(want(&mut voter, "a", 3, 11), Some(owner(1)));
        assert_eq!(want(&mut voter, "a", 2, 12), Some(owner(1)));
        assert_eq!(want(&mut voter, "b", 2, 12), Some(owner(2)));
        let mut granted = Vec::new();
        voter.let_go("a", owner(1), 13, &mut granted);
        assert_eq!(granted, [("a".to_owned(), owner(2))]);
        // Giving the vote back for an older one, and getting it again when there is none.
        granted.clear();
        want(&mut voter, "a", 1, 14);
        voter.later("a", owner(2), 15, &mut granted);
        voter.let_go("a", owner(1), 16, &mut granted);
        assert_eq!(granted, [("a".to_owned(), owner(1)), ("a".to_owned(), owner(2))]);
        // Whoever gives up waiting gets nothing.
        granted.clear();
        voter.let_go("a", owner(3), 17, &mut granted);
        voter.let_go("a", owner(2), 17, &mut granted);
        assert!(granted.is_empty() && voter.holder("a").is_none());
    }

    #[test]
    fn a_vote_not_asked_for_again_goes_to_the_next() {
        let mut voter = Voter::new(0);
        want(&mut voter, "a", 1, 0);
        want(&mut voter, "a", 2, LEASE_MS - 10);
        let mut granted = Vec::new();
        voter.tick(LEASE_MS, &mut granted);
        assert!(granted.is_empty());
        voter.tick(LEASE_MS + 1, &mut granted);
        assert_eq!(granted, [("a".to_owned(), owner(2))]);
        // Asked for again in time it stays.
        assert_eq!(want(&mut voter, "a", 2, 2 * LEASE_MS), Some(owner(2)));
        granted.clear();
        voter.tick(3 * LEASE_MS, &mut granted);
        assert_eq!(voter.holder("a"), Some(owner(2)));
        voter.tick(4 * LEASE_MS, &mut granted);
        assert!(voter.holder("a").is_none() && voter.names.is_empty());
    }

    #[test]
    fn nobody_gets_a_vote_while_older_votes_may_be_forgotten() {
        let mut voter = Voter::new(100);
        assert_eq!(want(&mut voter, "a", 2, 10), None);
        assert_eq!(want(&mut voter, "a", 1, 20), None);
        let mut granted = Vec::new();
        voter.tick(99, &mut granted);
        assert!(granted.is_empty());
        voter.tick(100, &mut granted);
        assert_eq!(granted, [("a".to_owned(), owner(1))]);
    }
}
