//! Statements that are transactions of their own (autocommit).
//!
//! Promises: at ONE they hold no locks unless they had to wait for one, and then only until they are done; a lost race is run again
//! here, not by the client. Must not know: SQL.

use std::sync::Arc;

use parking_lot::Mutex;
use starling_apply::engine::{Committed, WriteError};

use super::decide::{Decider, Proposal, Refused};
use super::failed::Failed;
use super::locks::{Denied, Kind, Party, Seat};
use super::schema::Pauses;
use super::shared::Home;
use super::statement::{self, Again, Call, Inner, Shared, Work};
use super::together::{self, Riders, Waiting};

/// How often a statement that loses races between nodes is run again before the client hears of it.
const ATTEMPTS: usize = 32;

/// What the work gave, and where it stands.
type Alone<T> = (T, Committed);

/// Runs the work as a transaction of its own.
pub async fn run<T: Send + 'static, E: Send + 'static>(home: &Home, call: &Call<'_>, work: Work<T, E>) -> Result<Alone<T>, Failed<E>> {
    let work: Shared<T, E> = Arc::new(Mutex::new(work));
    match home.shared.decider.get() {
        Some(decider) if decider.is_needed(call.level) => decided(home, call, &work, &**decider).await,
        _ => kept(home, call, &work).await,
    }
}

/// At ONE: the lane keeps what the job did.
async fn kept<T: Send + 'static, E: Send + 'static>(home: &Home, call: &Call<'_>, work: &Shared<T, E>) -> Result<Alone<T>, Failed<E>> {
    let (engine, locks) = (&home.shared.engine, &home.shared.locks);
    let tables = statement::definitions(call.tables.iter());
    let blocked = if home.tables.is_some() {
        tables.clone()
    } else {
        loop {
            let job = statement::looking(work, locks, tables.clone(), call.at_once);
            match engine.write(call.db, call.wait_ms(), job).await {
                Ok(done) => return Ok(done),
                Err(error) => match Inner::into_failed(error) {
                    Ok(failed) => return Err(failed),
                    Err(Again::Locks(blocked)) => break blocked,
                    Err(Again::Numbers(short)) => home.draw(short, call.wait).await?,
                },
            }
        }
    };
    let age = home.shared.age();
    let mut queue = [tables, blocked].concat();
    loop {
        let party = Seat::new(home.join(age, Kind::Statement));
        party.alone(true);
        match in_turn(home, call, work, &party, std::mem::take(&mut queue)).await {
            // Somebody older was in between: again, and older than most by now.
            Err(Failed::Denied(Denied::Wounded)) => queue = statement::definitions(call.tables.iter()),
            other => return other,
        }
    }
}

/// With a place in the lock table.
async fn in_turn<T: Send + 'static, E: Send + 'static>(
    home: &Home,
    call: &Call<'_>,
    work: &Shared<T, E>,
    party: &Arc<Party>,
    queue: Vec<super::locks::Wanted>,
) -> Result<Alone<T>, Failed<E>> {
    let patience = home.patience(call.wait);
    party.take(&queue, &patience).await?;
    loop {
        let mut job = statement::locking(work, party, &home.shared.locks, call.at_once, false);
        let firm = Arc::clone(party);
        // What the lane keeps is committed: from here on nobody may take the locks.
        let job = Box::new(move |lane: &mut starling_apply::lane::Try<'_>| {
            let done = job(lane)?;
            if firm.make_firm() { Ok(done) } else { Err(Inner::Wounded) }
        });
        match home.shared.engine.write(call.db, call.wait_ms(), job).await {
            Ok((done, committed)) => return Ok((done.value, committed)),
            Err(error) => match Inner::into_failed(error) {
                Ok(failed) => return Err(failed),
                Err(again) => home.until(again, party, call.wait).await?,
            },
        }
    }
}

/// At QUORUM and ALL: tried out, proposed, and run again if another transaction was first.
async fn decided<T: Send + 'static, E: Send + 'static>(
    home: &Home,
    call: &Call<'_>,
    work: &Shared<T, E>,
    decider: &dyn Decider,
) -> Result<Alone<T>, Failed<E>> {
    let mut party = Seat::new(home.join(home.shared.age(), Kind::Statement).first_attempt());
    let mut pauses = Pauses::new(call.wait);
    let mut lost = 0;
    while lost < ATTEMPTS {
        let outcome = propose(home, call, work, decider, &party).await;
        let age = party.age();
        match outcome {
            // A schema change is waited for, with nothing locked that it may wait for.
            Err(Failed::Refused(Refused::Schema)) => {
                drop(party);
                pauses.pause(&home.interrupt).await?;
            }
            Err(failed) if failed.lost() => {
                lost += 1;
                drop(party);
            }
            other => return other,
        }
        party = Seat::new(home.join(age, Kind::Statement));
    }
    Err(Failed::Refused(Refused::Conflict))
}

async fn propose<T: Send + 'static, E: Send + 'static>(
    home: &Home,
    call: &Call<'_>,
    work: &Shared<T, E>,
    decider: &dyn Decider,
    party: &Arc<Party>,
) -> Result<Alone<T>, Failed<E>> {
    let patience = home.patience(call.wait);
    party.take(&statement::definitions(call.tables.iter()), &patience).await?;
    loop {
        let own = statement::locking(work, party, &home.shared.locks, call.at_once, true);
        let riders = Arc::new(Mutex::new(Riders::default()));
        // What is let through for LOCK TABLES is not for others.
        let job = match home.tables {
            None => together::leading(own, Arc::clone(&home.shared.room), (call.db, call.level), party, &riders),
            Some(_) => own,
        };
        let (done, body) = match home.shared.engine.try_out(call.size, call.db, call.wait_ms(), job).await {
            Ok(tried) => tried,
            Err(error) => match Inner::into_failed(error) {
                Ok(failed) => return Err(failed),
                Err(Again::Locks(wanted)) => {
                    let waiting = Waiting {
                        db: call.db,
                        level: call.level,
                        party,
                        locks: &home.shared.locks,
                        wanted: &wanted,
                    };
                    match home.shared.room.wait(waiting, work, &home.patience(call.wait)).await? {
                        Some(done) => return Ok(done),
                        None => continue,
                    }
                }
                Err(again) => {
                    home.until(again, party, call.wait).await?;
                    continue;
                }
            },
        };
        let riders = std::mem::take(&mut *riders.lock());
        if body.is_empty() {
            riders.tell(&Ok(Committed::default()));
            return Ok((done.value, Committed::default()));
        }
        if !party.make_firm() {
            return Err(Failed::Denied(Denied::Wounded));
        }
        let proposal = Proposal {
            body,
            claims: Arc::new([done.asked, done.changed].concat()),
            age: party.age(),
            level: call.level,
        };
        riders.propose();
        let outcome = decider.decide(proposal).await.map(|decided| Committed {
            placed: Some(decided.placed),
        });
        riders.tell(&outcome);
        return match outcome {
            Ok(committed) => Ok((done.value, committed)),
            Err(refused) => Err(Failed::Refused(refused)),
        };
    }
}

impl<E> From<WriteError<E>> for Failed<E> {
    fn from(error: WriteError<E>) -> Failed<E> {
        Failed::Write(error)
    }
}
