//! A node's own side: which keys it has asked their homes for, and which it has.
//!
//! Promises: a lock is had only once the version it came with is applied here; an answer to a question that is over gives the lock
//! back; a home that does not answer is done without. Must not know: who waits here, what keys mean.

use std::collections::HashMap;

use starling_log::{Stamp, VersionVector};

use super::super::ids::{Version, Voter};
use super::{HomeMessage, RequestNo, Said, Told};

/// A question is said again after this.
const AGAIN_MS: u64 = 30;
/// A home that has said nothing for this long is done without: the votes decide.
pub const GIVE_UP_MS: u64 = 120;
/// As long as this a lock waits for the version it came with.
const SHOWN_MS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Asked {
        sent_ms: u64,
        /// The last word of its home (at first: when it was asked).
        heard_ms: u64,
    },
    /// Granted, but its newest version is not shown here yet.
    Behind {
        since_ms: u64,
    },
    Had,
}

#[derive(Clone, Copy, Debug)]
struct Claimed {
    request: RequestNo,
    home: Voter,
    age: Stamp,
    standing: Standing,
    newest: Version,
    contended: bool,
    /// The oldest that waits elsewhere.
    awaited: Option<Stamp>,
}

/// What came with a lock.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    pub newest: Version,
    pub contended: bool,
    /// The version is applied here.
    pub shown: bool,
}

#[derive(Debug, Default)]
pub struct Desk {
    keys: HashMap<u128, Claimed>,
    last: RequestNo,
}

impl Desk {
    pub fn is_idle(&self) -> bool {
        self.keys.is_empty()
    }

    /// `first`: numbers of requests of this start are above it.
    pub fn want(&mut self, key: u128, age: Stamp, home: Voter, first: RequestNo, now_ms: u64, said: &mut Vec<Said>) {
        match self.keys.get_mut(&key) {
            None => {
                self.last = self.last.max(first) + 1;
                let claimed = Claimed {
                    request: self.last,
                    home,
                    age,
                    standing: Standing::Asked {
                        sent_ms: now_ms,
                        heard_ms: now_ms,
                    },
                    newest: Version::default(),
                    contended: false,
                    awaited: None,
                };
                self.keys.insert(key, claimed);
                claimed.ask(key, said);
            }
            Some(claimed) => match &mut claimed.standing {
                Standing::Asked { sent_ms, .. } if age < claimed.age => {
                    *sent_ms = now_ms;
                    claimed.age = age;
                    claimed.ask(key, said);
                }
                Standing::Asked { .. } | Standing::Behind { .. } => {}
                Standing::Had => claimed.tell(key, said),
            },
        }
    }

    pub fn give(&mut self, key: u128, said: &mut Vec<Said>) {
        if let Some(claimed) = self.keys.remove(&key) {
            said.push(release(claimed.home, claimed.request, key, claimed.newest));
        }
    }

    pub fn queued(&mut self, from: Voter, request: RequestNo, key: u128, now_ms: u64) {
        if let Some(claimed) = self.keys.get_mut(&key).filter(|c| c.request == request && c.home == from)
            && let Standing::Asked { heard_ms, .. } = &mut claimed.standing
        {
            *heard_ms = now_ms;
        }
    }

    pub fn granted(&mut self, from: Voter, request: RequestNo, key: u128, granted: Granted, now_ms: u64, said: &mut Vec<Said>) {
        let Some(claimed) = self.keys.get_mut(&key).filter(|c| c.request == request && c.home == from) else {
            // It is over, or was never asked: somebody else may have it.
            return said.push(release(from, request, key, Version::default()));
        };
        if !matches!(claimed.standing, Standing::Asked { .. }) {
            return;
        }
        claimed.contended = granted.contended;
        claimed.newest = granted.newest;
        if granted.shown {
            claimed.standing = Standing::Had;
            claimed.tell(key, said);
        } else {
            claimed.standing = Standing::Behind { since_ms: now_ms };
        }
    }

    pub fn awaited(&mut self, from: Voter, request: RequestNo, key: u128, age: Stamp, said: &mut Vec<Said>) {
        let Some(claimed) = self.keys.get_mut(&key).filter(|c| c.request == request && c.home == from) else {
            return said.push(release(from, request, key, Version::default()));
        };
        claimed.awaited = Some(age);
        said.push(Said::Mail(from, HomeMessage::Queued { request, key }));
        if claimed.standing == Standing::Had {
            said.push(Said::Told(Told::Awaited { key, age: Some(age) }));
        }
    }

    /// Its holder made a new version of it.
    pub fn decided(&mut self, key: u128, version: Version, said: &mut Vec<Said>) {
        if let Some(claimed) = self.keys.get_mut(&key) {
            claimed.newest = claimed.newest.max(version);
            if claimed.standing == Standing::Had && claimed.awaited.is_some() {
                said.push(Said::Told(Told::Decided { key }));
            }
        }
    }

    pub fn applied(&mut self, applied: &VersionVector, said: &mut Vec<Said>) {
        for (key, claimed) in &mut self.keys {
            if matches!(claimed.standing, Standing::Behind { .. }) && applied.contains(claimed.newest.place) {
                claimed.standing = Standing::Had;
                claimed.tell(*key, said);
            }
        }
    }

    pub fn tick(&mut self, now_ms: u64, home_of: impl Fn(u128) -> Option<Voter>, said: &mut Vec<Said>) {
        for (key, claimed) in &mut self.keys {
            let home = home_of(*key);
            match &mut claimed.standing {
                Standing::Asked { sent_ms, heard_ms } => {
                    let moved = home.is_some_and(|h| h != claimed.home);
                    if home.is_none() || now_ms.saturating_sub(*heard_ms) >= GIVE_UP_MS {
                        claimed.standing = Standing::Had;
                        claimed.tell(*key, said);
                    } else if moved || now_ms.saturating_sub(*sent_ms) >= AGAIN_MS {
                        *sent_ms = now_ms;
                        claimed.home = home.unwrap_or(claimed.home);
                        claimed.ask(*key, said);
                    }
                }
                Standing::Behind { since_ms } => {
                    if now_ms.saturating_sub(*since_ms) >= SHOWN_MS {
                        claimed.standing = Standing::Had;
                        claimed.tell(*key, said);
                    }
                }
                Standing::Had => {
                    if home.is_some_and(|h| h != claimed.home) {
                        said.push(Said::Told(Told::Awaited { key: *key, age: None }));
                    }
                }
            }
        }
    }
}

impl Claimed {
    fn ask(&self, key: u128, said: &mut Vec<Said>) {
        let (request, age) = (self.request, self.age);
        said.push(Said::Mail(self.home, HomeMessage::Lock { request, key, age }));
    }
    fn tell(&self, key: u128, said: &mut Vec<Said>) {
        let contended = self.contended;
        said.push(Said::Told(Told::Had { key, contended }));
        if let Some(age) = self.awaited {
            said.push(Said::Told(Told::Awaited { key, age: Some(age) }));
        }
    }
}

fn release(to: Voter, request: RequestNo, key: u128, newest: Version) -> Said {
    Said::Mail(to, HomeMessage::Release { request, key, newest })
}
