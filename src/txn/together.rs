//! Statements of several sessions that wait for the same rows: whoever has the rows first runs the others' behind its own, and
//! all are decided as one transaction. So a row that all want makes more than one step with every decision.
//!
//! Promises: each statement sees what those before it did; an error undoes its own statement alone, and is told only when those that
//! it ran behind are committed; nobody is taken along who holds what others wait for. Must not know: SQL, other nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use starling_apply::claim::{Claim, ClaimKey, Mode};
use starling_apply::engine::{Committed, WriteError};
use starling_apply::lane::{Job, Try};
use tokio::sync::oneshot;

use super::decide::{Level, Refused};
use super::failed::Failed;
use super::locks::{Denied, LockKey, Locks, Party, Patience, Wanted};
use super::statement::{self, Asked, Done, Inner, Shared};

/// Statements that one takes along, at most.
const RIDERS_MAX: usize = 64;
/// Who waits for more than that goes alone.
const KEYS_MAX: usize = 64;
/// Statements that stand here at once.
const ROOM_MAX: usize = 4_096;

/// What became of a statement on the lane, behind another's.
enum Ran {
    /// What it asked for beside what it changed.
    Kept(Vec<Claim>),
    /// Undone: its own error.
    Failed,
    /// Undone: it has to wait for somebody else.
    Back,
}

/// What a statement hears that was taken along.
enum Rode {
    Decided(Result<Committed, Refused>),
    /// Nothing came of it: it goes on by itself.
    Back,
}

type Run = Box<dyn FnMut(&mut Try<'_>, &Party) -> Ran + Send>;

struct Rider {
    db: String,
    level: Level,
    /// What it waits for, among others.
    keys: Vec<ClaimKey>,
    party: Arc<Party>,
    /// `None`: somebody has taken it along, or it went by itself.
    ride: Mutex<Option<(Run, oneshot::Sender<Rode>)>>,
    /// What it changes was proposed: its outcome is no longer in the hands of whoever took it along.
    proposed: AtomicBool,
}

/// Where those stand who wait.
#[derive(Default)]
pub struct Room {
    riders: Mutex<Vec<Arc<Rider>>>,
}

/// Those that one has taken along.
#[derive(Default)]
pub(super) struct Riders(Vec<(Arc<Rider>, oneshot::Sender<Rode>)>);

/// A place in the room, given back when dropped.
struct Place<'a> {
    room: &'a Room,
    rider: Arc<Rider>,
}

impl Place<'_> {
    /// `false`: it was taken along.
    fn withdraw(&self) -> bool {
        let ours = self.rider.ride.lock().take().is_some();
        self.room.riders.lock().retain(|r| !Arc::ptr_eq(r, &self.rider));
        ours
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Who waits, and for what.
pub(super) struct Waiting<'a> {
    pub db: &'a str,
    pub level: Level,
    pub party: &'a Arc<Party>,
    pub locks: &'a Arc<Locks>,
    pub wanted: &'a [Wanted],
}

impl Room {
    /// Waits for the locks, or for whoever has them to take it along. `None`: it has them now, and goes on by itself.
    pub(super) async fn wait<T: Send + 'static, E: Send + 'static>(
        &self,
        waiting: Waiting<'_>,
        work: &Shared<T, E>,
        patience: &Patience,
    ) -> Result<Option<(T, Committed)>, Failed<E>> {
        let party = Arc::clone(waiting.party);
        let result = Arc::new(Mutex::new(None));
        let (told, mut rode) = oneshot::channel();
        let Some(place) = self.enter(&waiting, run(work, &result, waiting.locks), told) else {
            return party.settled(patience).await.map(|()| None).map_err(Failed::Denied);
        };
        let rode = tokio::select! {
            rode = &mut rode => rode,
            settled = party.settled(patience) => {
                if place.withdraw() {
                    return settled.map(|()| None).map_err(Failed::Denied);
                }
                rode.await
            }
        };
        match rode {
            Ok(Rode::Decided(Ok(committed))) => match result.lock().take() {
                Some(Ok(value)) => Ok(Some((value, committed))),
                Some(Err(error)) => Err(Failed::Write(WriteError::Job(error))),
                None => Ok(None),
            },
            Ok(Rode::Decided(Err(refused))) => Err(Failed::Refused(refused)),
            Err(_) if place.rider.proposed.load(Ordering::Acquire) => Err(Failed::Refused(Refused::Unknown(
                "the session that decided it together with its own statement has ended".to_owned(),
            ))),
            Ok(Rode::Back) | Err(_) if party.is_wounded() => Err(Failed::Denied(Denied::Wounded)),
            Ok(Rode::Back) | Err(_) => Ok(None),
        }
    }

    fn enter(&self, waiting: &Waiting<'_>, run: Run, told: oneshot::Sender<Rode>) -> Option<Place<'_>> {
        if waiting.wanted.len() > KEYS_MAX {
            return None;
        }
        let single = waiting.wanted.iter().filter(|(_, modes)| modes.is_exclusive());
        let keys: Vec<ClaimKey> = single.filter_map(|(key, _)| row(key)).cloned().collect();
        let mut riders = self.riders.lock();
        if keys.is_empty() || riders.len() >= ROOM_MAX {
            return None;
        }
        let rider = Arc::new(Rider {
            db: waiting.db.to_owned(),
            level: waiting.level,
            keys,
            party: Arc::clone(waiting.party),
            ride: Mutex::new(Some((run, told))),
            proposed: AtomicBool::new(false),
        });
        riders.push(Arc::clone(&rider));
        Some(Place { room: self, rider })
    }

    /// Those who wait for what the claims lock, in the order they came.
    fn behind(&self, db: &str, level: Level, claims: &[Claim]) -> Vec<Arc<Rider>> {
        let riders = self.riders.lock();
        if riders.is_empty() {
            return Vec::new();
        }
        let held = |key: &ClaimKey| claims.iter().any(|c| c.mode == Mode::Exclusive && c.key == *key);
        let fits = |r: &&Arc<Rider>| r.db == db && r.level == level && r.keys.iter().any(held);
        riders.iter().filter(fits).take(RIDERS_MAX).cloned().collect()
    }
}

fn row(key: &LockKey) -> Option<&ClaimKey> {
    match key {
        LockKey::Data(key @ (ClaimKey::Row { .. } | ClaimKey::Unique { .. })) => Some(key),
        _ => None,
    }
}

/// The statement as whoever takes it along runs it.
fn run<T: Send + 'static, E: Send + 'static>(work: &Shared<T, E>, result: &Arc<Mutex<Option<Result<T, E>>>>, locks: &Arc<Locks>) -> Run {
    let (work, result, locks) = (Arc::clone(work), Arc::clone(result), Arc::clone(locks));
    Box::new(move |lane, leader| {
        let mut asked = Asked::by(leader, &locks);
        let value = match (work.lock())(lane, &mut asked) {
            Ok(value) => value,
            // Numbers have to be drawn first: by itself.
            Err(_) if lane.short().is_some() => return Ran::Back,
            Err(error) => {
                *result.lock() = Some(Err(error));
                return Ran::Failed;
            }
        };
        let asked = asked.claims;
        // What those before it changed is in it, and held already.
        let Ok(changed) = lane.claim_keys() else { return Ran::Back };
        let mut wanted = statement::data(asked.iter());
        wanted.extend(statement::keys(changed));
        if !leader.take_free(&wanted) {
            return Ran::Back;
        }
        *result.lock() = Some(Ok(value));
        Ran::Kept(asked)
    })
}

/// The job of somebody who takes others along: behind its own statement, if that has its locks.
pub(super) fn leading<T: Send + 'static, E: Send + 'static>(
    mut own: Job<Done<T>, Inner<E>>,
    room: Arc<Room>,
    (db, level): (&str, Level),
    party: &Arc<Party>,
    riders: &Arc<Mutex<Riders>>,
) -> Job<Done<T>, Inner<E>> {
    let (db, party, riders) = (db.to_owned(), Arc::clone(party), Arc::clone(riders));
    Box::new(move |lane| {
        let mut done = own(lane)?;
        let mut taken = Vec::new();
        let mut kept = false;
        for rider in room.behind(&db, level, &done.changed) {
            let Some((mut run, told)) = rider.ride.lock().take() else {
                continue;
            };
            rider.party.wait_no_more();
            let ran = lane.savepoint(|lane| {
                // As at the start of every job, whatever the one before it has set.
                if lane.set_foreign_keys(true).is_err() {
                    return Err(Ran::Back);
                }
                match run(lane, &party) {
                    Ran::Kept(asked) => Ok(asked),
                    other => Err(other),
                }
            });
            match ran {
                Ok(asked) => {
                    kept = true;
                    done.asked.extend(asked);
                    taken.push((rider, told));
                }
                Err(Ran::Failed) => taken.push((rider, told)),
                // Who went away needs no word.
                Err(_) => drop(told.send(Rode::Back)),
            }
        }
        if kept {
            done.changed = lane.claims().map_err(Inner::Claims)?;
        }
        riders.lock().0.extend(taken);
        Ok(done)
    })
}

impl Riders {
    /// From here on only the decision says what becomes of them.
    pub fn propose(&self) {
        for (rider, _) in &self.0 {
            rider.proposed.store(true, Ordering::Release);
        }
    }
    pub fn tell(self, outcome: &Result<Committed, Refused>) {
        for (_, told) in self.0 {
            let _ = told.send(Rode::Decided(outcome.clone()));
        }
    }
}
