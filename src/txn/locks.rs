//! The lock table of a node: rows, unique values, tables, and definitions (metadata locks), held by transactions until they end.
//!
//! Promises: asking never blocks (so a job on a lane may ask); waiting is fair by age of first attempt, ends by [`Interrupt`], and
//! holds nobody up who needs other keys; an idle transaction younger than who needs its locks loses them after a moment. While nothing is
//! locked a statement pays two loads of an atomic for it. One mutex guards it all: a transaction of four locks takes 1.5 µs of it,
//! from one thread or four, which is far from what the lanes need. Must not know: SQL, the engine, other nodes.
//!
//! Reading order: [`mode`] → [`core`] (who gets what) → this page (the same with threads and time) → [`away`] (keys that other nodes
//! want, too) → [`view`] (for people).

pub mod away;
pub mod core;
pub mod mode;
pub mod view;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use starling_apply::claim::{ClaimKey, Mode};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::core::{Age, Answer, Core, Key, PartyId, Side};
use self::mode::Modes;

/// Row locks that one party may hold on one table; then it locks the table.
pub const ROWS_MAX: usize = 50_000;

/// What is locked here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LockKey {
    Data(ClaimKey),
    /// The definition of a table or a database: whoever uses it shares it, whoever changes it has it alone.
    Meta(ClaimKey),
}

impl LockKey {
    pub fn row_table(&self) -> Option<u64> {
        match self {
            LockKey::Data(ClaimKey::Row { table, .. }) => Some(*table),
            _ => None,
        }
    }
    pub fn definition(table: u64) -> LockKey {
        LockKey::Meta(ClaimKey::Table { table })
    }
    pub fn database(db: u64) -> LockKey {
        LockKey::Meta(ClaimKey::Schema { db })
    }
}

impl Key for LockKey {
    fn group(&self) -> Option<u64> {
        self.row_table()
    }
    fn is_data(&self) -> bool {
        matches!(self, LockKey::Data(_))
    }
}

/// One thing asked for.
pub type Wanted = (LockKey, Modes);

/// How long a statement waits for one lock, and what else ends its waiting.
#[derive(Clone, Debug)]
pub struct Patience {
    pub wait: Duration,
    pub interrupt: Arc<Interrupt>,
}

/// KILL, or a client that is gone: ends a session's waiting.
#[derive(Default)]
pub struct Interrupt {
    raised: AtomicBool,
    wake: Notify,
    gone: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt")
            .field("raised", &self.is_raised())
            .finish_non_exhaustive()
    }
}

/// How often a session that waits for locks looks whether its client is still there.
const LOOK_AFTER_CLIENT: Duration = Duration::from_millis(200);

impl Interrupt {
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.wake.notify_waiters();
    }
    pub fn clear(&self) {
        self.raised.store(false, Ordering::Release);
    }
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
    /// `gone` tells whether the client has left; asked only while the session waits.
    pub fn watch(&self, gone: impl Fn() -> bool + Send + Sync + 'static) {
        // A session has one client.
        let _ = self.gone.set(Box::new(gone));
    }
    pub async fn raised(&self) {
        loop {
            let wake = self.wake.notified();
            tokio::pin!(wake);
            wake.as_mut().enable();
            if self.is_raised() || self.gone.get().is_some_and(|gone| gone()) {
                return;
            }
            let _ = tokio::time::timeout(LOOK_AFTER_CLIENT, wake).await;
        }
    }
}

/// Why a lock was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// An older transaction needed its locks: it is over. 1213.
    Wounded,
    /// 1205.
    Timeout,
    /// Asked not to wait. 3572.
    Busy,
    /// 1317.
    Interrupted,
}

/// Who a party is, for people.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub session: u32,
    pub since: Instant,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Transaction(Isolation),
    /// An autocommit statement, while it waits.
    Statement,
    /// LOCK TABLES, FLUSH TABLES WITH READ LOCK.
    Tables,
    /// A schema change.
    Alter,
    /// Another node's transaction that is prepared here.
    Peer,
    /// A prepared branch of an XA transaction, which belongs to no session.
    Prepared,
}

/// As MySQL writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

struct Known {
    who: Who,
    /// Row changes that it made.
    rows: u64,
    wake: Arc<Notify>,
    waiting_since: Option<Instant>,
}

#[derive(Default)]
struct State {
    core: Core<LockKey>,
    known: HashMap<PartyId, Known>,
    last_wound: Option<(view::WoundSeen, Instant)>,
    wounds: u64,
    hot: away::Hot,
}

pub struct Locks {
    state: Mutex<State>,
    /// Keys of data that somebody holds: zero is all that most statements ever look at.
    data: AtomicUsize,
    /// Parties that have, or want, a definition for themselves.
    alone: AtomicUsize,
    /// Keys that are asked for at their homes.
    hot: AtomicUsize,
    /// Asks them.
    ask: OnceLock<away::Asker>,
    ages: AtomicU64,
    /// The latest time that an age was given out for.
    latest_ms: AtomicU64,
}

impl Default for Locks {
    fn default() -> Locks {
        let mut state = State::default();
        state.core.patient = true;
        Locks {
            state: Mutex::new(state),
            hot: AtomicUsize::new(0),
            ask: OnceLock::new(),
            data: AtomicUsize::new(0),
            alone: AtomicUsize::new(0),
            ages: AtomicU64::new(1),
            latest_ms: AtomicU64::new(0),
        }
    }
}

/// A place in the lock table; dropped, it gives back everything.
pub struct Party {
    locks: Arc<Locks>,
    id: PartyId,
    wake: Arc<Notify>,
    /// Counted in `Locks::alone`.
    alone: AtomicBool,
    /// Its age is to be that of its first asking for data.
    fresh: AtomicBool,
}

impl Locks {
    /// An age for a first attempt made now; `ms`: the node's clock.
    pub fn age(&self, ms: u64) -> Age {
        self.latest_ms.fetch_max(ms, Ordering::Relaxed);
        Age(ms, self.ages.fetch_add(1, Ordering::Relaxed))
    }
    /// Younger than everybody so far.
    fn youngest(&self) -> Age {
        Age(self.latest_ms.load(Ordering::Relaxed), self.ages.fetch_add(1, Ordering::Relaxed))
    }
    pub fn join(self: &Arc<Self>, age: Age, session: u32, kind: Kind, friend: Option<&Party>) -> Party {
        let wake = Arc::new(Notify::new());
        let mut state = self.state.lock();
        let id = state.core.join(age, friend.map(|f| f.id));
        let who = Who {
            session,
            since: Instant::now(),
            kind,
        };
        let known = Known {
            who,
            rows: 0,
            wake: Arc::clone(&wake),
            waiting_since: None,
        };
        state.known.insert(id, known);
        drop(state);
        Party {
            locks: Arc::clone(self),
            id,
            wake,
            alone: AtomicBool::new(false),
            fresh: AtomicBool::new(false),
        }
    }
    /// Nobody holds any row, value or table.
    #[inline]
    pub fn no_data(&self) -> bool {
        self.data.load(Ordering::Acquire) == 0
    }
    /// Nobody has, or wants, a definition for itself.
    #[inline]
    pub fn all_share(&self) -> bool {
        self.alone.load(Ordering::Acquire) == 0
    }
    /// Could all of it be had at once, by somebody younger than everyone? Takes nothing.
    pub fn are_free(&self, wanted: &[Wanted]) -> bool {
        let state = self.state.lock();
        wanted.iter().all(|(k, m)| state.core.is_free_here(None, k, *m))
    }
    /// Another node's transaction was prepared here: everybody in its way who does not commit already loses. `None`: somebody commits.
    pub fn force(self: &Arc<Self>, age: Age, wanted: &[Wanted], kind: Kind) -> Option<Party> {
        let party = self.join(age, 0, kind, None);
        let mut state = self.state.lock();
        state.core.set_side(party.id, Side::Guard);
        for (key, modes) in wanted.iter().filter(|(_, modes)| modes.is_exclusive()) {
            if let LockKey::Data(data) = key
                && !state.core.is_free_here(Some(party.id), key, *modes)
            {
                self.heat_in(&mut state, data);
            }
        }
        let forced = state.core.force(party.id, wanted);
        self.finish(state);
        forced.then_some(party)
    }
    /// The end of a change.
    fn finish(&self, mut state: MutexGuard<'_, State>) {
        self.after(&mut state);
        let asks = Locks::take_asks(&mut state);
        drop(state);
        self.asked(asks);
    }
    /// What follows from a change: counters, wake-ups, what is remembered of wounds.
    fn after(&self, state: &mut State) {
        self.data.store(state.core.data(), Ordering::Release);
        for wound in state.core.take_wounds() {
            state.wounds += 1;
            state.last_wound = view::seen(state, &wound).map(|seen| (seen, Instant::now()));
        }
        loop {
            let woken = state.core.take_woken();
            if woken.is_empty() {
                break;
            }
            for id in woken {
                match state.known.get_mut(&id) {
                    Some(known) => {
                        known.waiting_since = None;
                        known.wake.notify_one();
                    }
                    None => self.gone(state, id),
                }
            }
        }
    }
}

impl Party {
    /// A first attempt is as old as its first asking for data: where all want one row, who comes first to it has it, and nobody loses
    /// it to one that began earlier and came later.
    pub fn first_attempt(self) -> Party {
        self.fresh.store(true, Ordering::Relaxed);
        self
    }
    /// Never blocks. `Waiting`: it stands in the queues; [`Party::settled`] waits for the end of it. More than [`ROWS_MAX`] rows of a
    /// table become the table.
    pub fn request(&self, wanted: &[Wanted], wait: bool) -> Answer {
        let mut state = self.locks.state.lock();
        if self.fresh.load(Ordering::Relaxed) && wanted.iter().any(|(key, _)| key.is_data()) {
            self.fresh.store(false, Ordering::Relaxed);
            state.core.renew(self.id, self.locks.youngest());
        }
        let escalated = escalate(&state.core, self.id, wanted);
        let wanted = escalated.as_ref().map_or(wanted, |e| e.0.as_slice());
        if wanted.iter().any(|(k, m)| matches!(k, LockKey::Meta(_)) && m.is_exclusive()) {
            self.count_alone();
        }
        let answer = state.core.request(self.id, wanted, wait);
        if answer == Answer::Granted {
            for table in escalated.iter().flat_map(|e| &e.1) {
                state.core.drop_group(self.id, *table);
            }
        }
        if self.locks.hot.load(Ordering::Relaxed) > 0 {
            self.locks.note_use(&mut state, wanted);
        }
        if answer == Answer::Waiting {
            if let Some(known) = state.known.get_mut(&self.id) {
                known.waiting_since = Some(Instant::now());
            }
            self.locks.waits_now(&mut state, self.id);
        }
        self.locks.finish(state);
        answer
    }
    fn count_alone(&self) {
        if !self.alone.swap(true, Ordering::AcqRel) {
            self.locks.alone.fetch_add(1, Ordering::AcqRel);
        }
    }
    /// Waits until all that was asked for is had. Giving up keeps what it holds already. Younger ones in its way have a while to come
    /// to their end, then they lose.
    pub async fn settled(&self, patience: &Patience) -> Result<(), Denied> {
        let began = Instant::now();
        let deadline = began.checked_add(patience.wait);
        let mut presses = [(away::PATIENCE_STUCK, true), (away::PATIENCE, false)].into_iter().peekable();
        loop {
            {
                let state = self.locks.state.lock();
                if state.core.is_wounded(self.id) {
                    return Err(Denied::Wounded);
                }
                if state.core.is_settled(self.id) {
                    return Ok(());
                }
            }
            // Whoever waits for less has its say before it gives up.
            let press = presses.peek().map(|(after, _)| began + (*after).min(patience.wait));
            let late = async {
                match press.or(deadline) {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let denied = tokio::select! {
                // One permit is kept for whoever comes late: no wake-up is lost.
                () = self.wake.notified() => continue,
                () = patience.interrupt.raised() => Denied::Interrupted,
                () = late => match presses.next() {
                    Some((_, stuck)) => {
                        self.press(stuck);
                        continue;
                    }
                    None => Denied::Timeout,
                },
            };
            if self.cancel() {
                return Err(denied);
            }
        }
    }
    fn press(&self, stuck: bool) {
        let mut state = self.locks.state.lock();
        state.core.press(self.id, stuck);
        self.locks.finish(state);
    }
    /// It asks no other node (its writes are at ONE).
    pub fn alone(&self, alone: bool) {
        if self.locks.hot.load(Ordering::Relaxed) > 0 {
            let side = if alone { Side::Alone } else { Side::Here };
            self.locks.state.lock().core.set_side(self.id, side);
        }
    }
    /// Takes all of it, if nobody at all is in the way.
    pub fn take_free(&self, wanted: &[Wanted]) -> bool {
        let mut state = self.locks.state.lock();
        let free = state.core.take_free(self.id, wanted);
        self.locks.finish(state);
        free
    }
    /// Somebody else looks after what it waits for.
    pub fn wait_no_more(&self) {
        self.cancel();
    }
    /// Asks and waits.
    pub async fn take(&self, wanted: &[Wanted], patience: &Patience) -> Result<(), Denied> {
        match self.request(wanted, true) {
            Answer::Granted => Ok(()),
            Answer::Wounded => Err(Denied::Wounded),
            Answer::Refused => Err(Denied::Busy),
            Answer::Waiting => self.settled(patience).await,
        }
    }
    /// `false`: there was nothing left to wait for.
    fn cancel(&self) -> bool {
        let mut state = self.locks.state.lock();
        if state.core.is_wounded(self.id) || state.core.is_settled(self.id) {
            return false;
        }
        state.core.cancel(self.id);
        if let Some(known) = state.known.get_mut(&self.id) {
            known.waiting_since = None;
        }
        self.locks.finish(state);
        true
    }
    pub fn is_wounded(&self) -> bool {
        self.locks.state.lock().core.is_wounded(self.id)
    }
    /// Its commit begins: nobody may take its locks any more. `false`: somebody did.
    pub fn make_firm(&self) -> bool {
        self.locks.state.lock().core.make_firm(self.id)
    }
    pub fn make_open(&self) {
        self.locks.state.lock().core.make_open(self.id);
    }
    /// For people: how many row changes it holds.
    pub fn note_rows(&self, rows: u64) {
        if let Some(known) = self.locks.state.lock().known.get_mut(&self.id) {
            known.rows = rows;
        }
    }
    /// Its session has prepared it, and goes on without it.
    pub fn make_prepared(&self) {
        if let Some(known) = self.locks.state.lock().known.get_mut(&self.id) {
            known.who.kind = Kind::Prepared;
            known.who.session = 0;
        }
    }
    /// Which of these could be had at once.
    pub fn free(&self, wanted: &[Wanted]) -> Vec<bool> {
        let state = self.locks.state.lock();
        wanted.iter().map(|(k, m)| state.core.is_free_here(Some(self.id), k, *m)).collect()
    }
    pub fn holds(&self, key: &LockKey) -> Modes {
        self.locks.state.lock().core.held(self.id, key)
    }
    pub fn age(&self) -> Age {
        self.locks.state.lock().core.age(self.id).unwrap_or_default()
    }
    pub fn id(&self) -> PartyId {
        self.id
    }
}

impl Party {
    /// Gives back everything now. Whoever still asks in its name is told that it lost its locks.
    pub fn leave(&self) {
        let mut state = self.locks.state.lock();
        if state.known.remove(&self.id).is_none() {
            return;
        }
        state.core.leave(self.id);
        self.locks.finish(state);
        if self.alone.load(Ordering::Acquire) {
            self.locks.alone.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whose party it is: jobs on a lane may still have it in their hands when the owner is done, and gives everything back.
pub struct Seat(Arc<Party>);

impl Seat {
    pub fn new(party: Party) -> Seat {
        Seat(Arc::new(party))
    }
}

impl std::ops::Deref for Seat {
    type Target = Arc<Party>;
    fn deref(&self) -> &Arc<Party> {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// The same with tables in place of too many of their rows, and those tables. `None`: nothing to change.
fn escalate(core: &Core<LockKey>, id: PartyId, wanted: &[Wanted]) -> Option<(Vec<Wanted>, Vec<u64>)> {
    let mut rows: HashMap<u64, (usize, bool)> = HashMap::new();
    for (key, modes) in wanted {
        if let Some(table) = key.row_table() {
            let (count, exclusive) = rows.entry(table).or_insert((0, false));
            *count += 1;
            *exclusive |= modes.is_exclusive();
        }
    }
    let whole = |table: u64| LockKey::Data(ClaimKey::Table { table });
    let full: HashMap<u64, bool> = rows
        .into_iter()
        .filter_map(|(table, (new, exclusive))| {
            let held = core.held(id, &whole(table));
            let enough = held.covers(Modes::from(if exclusive { Mode::Exclusive } else { Mode::Shared }));
            (enough || core.count(id, table) + new > ROWS_MAX).then_some((table, exclusive))
        })
        .collect();
    if full.is_empty() {
        return None;
    }
    let kept = wanted.iter().filter(|(k, _)| k.row_table().is_none_or(|t| !full.contains_key(&t)));
    let mut out: Vec<Wanted> = kept.cloned().collect();
    for (table, exclusive) in &full {
        let exclusive = *exclusive || core.group_modes(id, *table).is_exclusive();
        out.push((whole(*table), Modes::from(if exclusive { Mode::Exclusive } else { Mode::Shared })));
    }
    Some((out, full.into_keys().collect()))
}

/// A claim as a lock.
pub fn wanted(claim: &starling_apply::claim::Claim) -> Wanted {
    (LockKey::Data(claim.key.clone()), Modes::from(claim.mode))
}

#[cfg(test)]
mod tests;
