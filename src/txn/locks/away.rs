//! Keys that several nodes want: the lock at their home (`cluster::quorum::home`) as a party of this node's lock table.
//!
//! ```text
//!   cold ──heat──▶ Away: a party holds the key for the others; who wants it here waits behind that ──▶ Want
//!                   ▲  ▼ Had: the party leaves, the oldest that waits here goes on
//!                   │  Here: this node's sessions have it among themselves
//!                   │  ▼ Awaited(age): the party comes back, and waits for its turn as one of that age
//!                  Give ◀── Leaving
//! ```
//!
//! Promises: only rows and unique values of which conflicts were heard lately are hot, at most [`HOT_MAX`]; shared locks, NOWAIT,
//! SKIP LOCKED and writers at ONE do not wait for other nodes; a hot key that nobody else wanted for [`WARM`] is cold again. Nothing
//! rests on it: who goes on without the lock is judged by votes. Must not know: messages, who the home is.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use starling_apply::claim::{ClaimKey, Mode};
use starling_log::{Hlc, Stamp};
use tokio::time::Instant;

use super::core::{Age, Answer, PartyId, Side};
use super::mode::Modes;
use super::{LockKey, Locks, State};
use crate::cluster::commit::Homing;
use crate::cluster::quorum::{Ask, Told};

/// Hot keys at once.
const HOT_MAX: usize = 16_384;
/// A key stays hot this long after the last word of somebody else who wanted it.
const WARM: Duration = Duration::from_secs(10);
/// A lock that is not used goes back to its home after this.
const IDLE: Duration = Duration::from_millis(500);
/// Hot keys are looked through this often.
const SWEEP: Duration = Duration::from_millis(200);
/// Somebody older elsewhere waits this long for those here, or this long for those here who wait themselves.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
pub(super) const PATIENCE_STUCK: Duration = Duration::from_millis(6);

/// Asks the home; `false`: nobody will answer.
pub type Asker = Box<dyn Fn(Ask) -> bool + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// `asked`: for somebody here of this age.
    Away {
        asked: Option<Age>,
    },
    Here,
    /// `had`: with the home's lock (else it was used without).
    Leaving {
        since: Instant,
        had: bool,
    },
}

#[derive(Debug)]
struct HotKey {
    id: u128,
    standing: Standing,
    /// Stands for the other nodes, unless the key is here.
    party: Option<PartyId>,
    warm_until: Instant,
    used: Instant,
}

#[derive(Default)]
pub(super) struct Hot {
    keys: HashMap<ClaimKey, HotKey>,
    by_id: HashMap<u128, ClaimKey>,
    parties: HashMap<PartyId, ClaimKey>,
    /// To be asked when the lock table is free again: an answer may come within the call.
    asks: Vec<Ask>,
    swept: Option<Instant>,
}

/// Ages go between nodes as stamps: milliseconds, and who came first within one.
pub fn stamp_of(age: Age) -> Stamp {
    let low = age.1.min(u64::from(u16::MAX));
    Stamp {
        hlc: Hlc(Hlc::from_ms(age.0).0 | low),
        origin: 0,
    }
}

pub fn age_of(stamp: Stamp) -> Age {
    Age(stamp.hlc.ms(), stamp.hlc.0 & u64::from(u16::MAX))
}

/// In which mode other nodes have it: who only reads it is judged by votes alone.
fn modes() -> Modes {
    Modes::from(Mode::Shared)
}

impl Locks {
    /// Who asks homes; set once. Without one nothing is ever hot.
    pub fn on_hot(&self, ask: Asker) {
        let _ = self.ask.set(ask);
    }
    /// Another node had it first, or wants it: from now on it is asked for at its home.
    pub fn heat(&self, key: &ClaimKey) {
        let mut state = self.state.lock();
        self.heat_in(&mut state, key);
        self.finish(state);
    }
    /// For people and tests: is it hot?
    pub fn is_hot(&self, key: &ClaimKey) -> bool {
        self.state.lock().hot.keys.contains_key(key)
    }
    /// What its home says of a key.
    pub fn homing(&self, said: Homing) {
        if self.hot.load(Ordering::Acquire) == 0 && matches!(said, Homing::Tick) {
            return;
        }
        let mut state = self.state.lock();
        match said {
            Homing::Told(Told::Had { key, contended }) => self.had(&mut state, key, contended),
            Homing::Told(Told::Decided { key }) => {
                if let Some(key) = state.hot.by_id.get(&key).cloned() {
                    Locks::overtake(&mut state, &key);
                    self.gone_if_held(&mut state, &key);
                }
            }
            Homing::Told(Told::Awaited { key, age }) => {
                if let Some(key) = state.hot.by_id.get(&key).cloned() {
                    self.leave_by(&mut state, &key, age.map(age_of));
                }
            }
            Homing::Tick => self.tick(&mut state),
        }
        self.finish(state);
    }
    /// What is to be asked, once the table is free. What nobody answers is had: the votes decide.
    pub(super) fn asked(&self, asks: Vec<Ask>) {
        for ask in asks {
            let heard = self.ask.get().is_some_and(|asker| asker(ask));
            if let (false, Ask::Want { key, .. }) = (heard, ask) {
                self.homing(Homing::Told(Told::Had { key, contended: false }));
            }
        }
    }
    pub(super) fn take_asks(state: &mut State) -> Vec<Ask> {
        std::mem::take(&mut state.hot.asks)
    }

    pub(super) fn heat_in(&self, state: &mut State, key: &ClaimKey) {
        let single = matches!(key, ClaimKey::Row { .. } | ClaimKey::Unique { .. });
        if !single || self.ask.get().is_none() {
            return;
        }
        let now = Instant::now();
        if let Some(hot) = state.hot.keys.get_mut(key) {
            hot.warm_until = now + WARM;
            return;
        }
        if state.hot.keys.len() >= HOT_MAX {
            return;
        }
        let id = key.hash128();
        let hot = HotKey {
            id,
            standing: Standing::Here,
            party: None,
            warm_until: now + WARM,
            used: now,
        };
        state.hot.keys.insert(key.clone(), hot);
        state.hot.by_id.insert(id, key.clone());
        self.hot.store(state.hot.keys.len(), Ordering::Release);
        // Whoever has it here goes on; those who wait stand behind the other nodes.
        let lock = LockKey::Data(key.clone());
        let here = state.core.holders(&lock).any(|id| state.core.side(id) == Side::Here);
        let age = if here { self.youngest() } else { Age(0, 0) };
        self.stand_in(state, key, age, false);
    }

    /// A party for the other nodes takes the key, or waits for it.
    fn stand_in(&self, state: &mut State, key: &ClaimKey, age: Age, had: bool) {
        let party = state.core.join(age, None);
        state.core.set_side(party, Side::Away);
        state.hot.parties.insert(party, key.clone());
        if let Some(hot) = state.hot.keys.get_mut(key) {
            hot.party = Some(party);
            let since = Instant::now();
            hot.standing = Standing::Leaving { since, had };
        }
        let answer = state.core.request(party, &[(LockKey::Data(key.clone()), modes())], true);
        if answer == Answer::Granted {
            self.gone(state, party);
        }
    }

    /// The party for the other nodes has the key.
    pub(super) fn gone(&self, state: &mut State, party: PartyId) {
        let Some(key) = state.hot.parties.get(&party).cloned() else {
            return;
        };
        state.core.make_firm(party);
        let Some(hot) = state.hot.keys.get_mut(&key) else { return };
        let had = matches!(hot.standing, Standing::Leaving { had: true, .. });
        hot.standing = Standing::Away { asked: None };
        hot.used = Instant::now();
        if had {
            state.hot.asks.push(Ask::Give { key: hot.id });
        }
        self.want(state, &key);
    }

    /// Its holder here is decided, and only waits to be shown: whoever is next elsewhere need not wait for that.
    fn overtake(state: &mut State, key: &ClaimKey) {
        let Some(hot) = state.hot.keys.get(key) else { return };
        if let (Some(party), Standing::Leaving { had: true, .. }) = (hot.party, hot.standing) {
            state.core.overtake(party, &LockKey::Data(key.clone()));
        }
    }
    fn gone_if_held(&self, state: &mut State, key: &ClaimKey) {
        let Some(party) = state.hot.keys.get(key).and_then(|hot| hot.party) else {
            return;
        };
        let leaving = state
            .hot
            .keys
            .get(key)
            .is_some_and(|hot| matches!(hot.standing, Standing::Leaving { .. }));
        if leaving && state.core.is_settled(party) {
            self.gone(state, party);
        }
    }

    /// Asks for a key that is away, if somebody here waits for it.
    fn want(&self, state: &mut State, key: &ClaimKey) {
        let waiters = state.core.waiters(&LockKey::Data(key.clone()));
        let Some(oldest) = waiters.filter_map(|id| state.core.age(id)).min() else {
            return;
        };
        let Some(hot) = state.hot.keys.get_mut(key) else { return };
        let Standing::Away { asked } = hot.standing else { return };
        if asked.is_some_and(|asked| asked <= oldest) {
            return;
        }
        hot.standing = Standing::Away { asked: Some(oldest) };
        hot.used = Instant::now();
        let id = hot.id;
        let want = Ask::Want {
            key: id,
            age: stamp_of(oldest),
        };
        state.hot.asks.push(want);
    }

    fn had(&self, state: &mut State, id: u128, contended: bool) {
        let known = state.hot.by_id.get(&id).cloned();
        let Some(hot) = known.and_then(|key| state.hot.keys.get_mut(&key)) else {
            // It is cold by now.
            state.hot.asks.push(Ask::Give { key: id });
            return;
        };
        let now = Instant::now();
        if contended {
            hot.warm_until = now + WARM;
        }
        if matches!(hot.standing, Standing::Away { .. }) {
            hot.standing = Standing::Here;
            hot.used = now;
            let party = hot.party.take();
            self.drop_party(state, party);
        }
    }

    fn drop_party(&self, state: &mut State, party: Option<PartyId>) {
        if let Some(party) = party {
            state.hot.parties.remove(&party);
            state.core.leave(party);
        }
    }

    /// Somebody elsewhere wants what is here: when those before it are done, it goes.
    fn leave_by(&self, state: &mut State, key: &ClaimKey, age: Option<Age>) {
        let Some(hot) = state.hot.keys.get_mut(key) else { return };
        if age.is_some() {
            hot.warm_until = Instant::now() + WARM;
        }
        let age = age.unwrap_or_else(|| self.youngest());
        match hot.standing {
            Standing::Here => self.stand_in(state, key, age, true),
            // An older one came to wait, too.
            Standing::Leaving { had, .. } => {
                let party = hot.party;
                if party.and_then(|id| state.core.age(id)).is_some_and(|known| age < known) {
                    self.drop_party(state, party);
                    self.stand_in(state, key, age, had);
                }
            }
            Standing::Away { .. } => {}
        }
    }

    fn tick(&self, state: &mut State) {
        let now = Instant::now();
        let leaving = state.hot.keys.values().filter_map(|hot| match hot.standing {
            Standing::Leaving { since, .. } => Some((hot.party?, now.duration_since(since))),
            _ => None,
        });
        let late: Vec<(PartyId, Duration)> = leaving.filter(|(_, waited)| *waited >= PATIENCE_STUCK).collect();
        for (party, waited) in late {
            state.core.press(party, waited < PATIENCE);
        }
        if state.hot.swept.is_none_or(|at| now.duration_since(at) >= SWEEP) {
            state.hot.swept = Some(now);
            self.sweep(state, now);
        }
    }

    /// What is not used goes home; what nobody else wanted for long is cold.
    fn sweep(&self, state: &mut State, now: Instant) {
        let unused: Vec<ClaimKey> = state
            .hot
            .keys
            .iter()
            .filter(|(key, hot)| {
                let lock = LockKey::Data((*key).clone());
                let here = state.core.holders(&lock).any(|id| state.core.side(id) == Side::Here);
                let free = !here && state.core.waiters(&lock).next().is_none();
                free && now.duration_since(hot.used) >= IDLE && !matches!(hot.standing, Standing::Leaving { .. })
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in unused {
            let Some(hot) = state.hot.keys.get(&key) else { continue };
            let (cold, here, id, party) = (hot.warm_until <= now, hot.standing == Standing::Here, hot.id, hot.party);
            if cold {
                self.drop_party(state, party);
                state.hot.keys.remove(&key);
                state.hot.by_id.remove(&id);
                if here {
                    state.hot.asks.push(Ask::Give { key: id });
                }
            } else if here {
                self.stand_in(state, &key, Age(0, 0), true);
            }
        }
        self.hot.store(state.hot.keys.len(), Ordering::Release);
    }

    /// Somebody here waits: for keys that are away they are asked for; where another node's transaction is in the way, the key is hot.
    pub(super) fn waits_now(&self, state: &mut State, id: PartyId) {
        if self.ask.get().is_none() {
            return;
        }
        let waits: Vec<ClaimKey> = state
            .core
            .waits(id)
            .iter()
            .filter_map(|key| match key {
                LockKey::Data(key) => Some(key.clone()),
                LockKey::Meta(_) => None,
            })
            .collect();
        for key in waits {
            if state.hot.keys.contains_key(&key) {
                self.want(state, &key);
                continue;
            }
            let lock = LockKey::Data(key.clone());
            let guarded = state.core.holders(&lock).any(|id| state.core.side(id) == Side::Guard);
            if guarded {
                self.heat_in(state, &key);
            }
        }
    }

    /// They were used just now, or somebody waits: counted from here.
    pub(super) fn note_use(&self, state: &mut State, keys: &[super::Wanted]) {
        if state.hot.keys.is_empty() {
            return;
        }
        let now = Instant::now();
        for (key, _) in keys {
            if let LockKey::Data(key) = key
                && let Some(hot) = state.hot.keys.get_mut(key)
            {
                hot.used = now;
            }
        }
    }
}
