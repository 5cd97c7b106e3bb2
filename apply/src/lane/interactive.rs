//! An explicit transaction: it holds its lanes from its first write to its end.
//!
//! Promises: a failed statement undoes itself alone; commit is one entry over all databases, visible at once in all of them;
//! dropped means rolled back. Must not know: how statements are made.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, unbounded};
use starling_log::{Body, Changes, Draft};
use tokio::sync::oneshot;

use super::Job;
use super::desk::Ran;
use super::runner::{Claim, Command, Parked, Runner, grant, park};
use super::work::{Ended, Failure, Task, Work};
use crate::capture::Position;
use crate::engine::core::Lane;
use crate::engine::files;
use crate::engine::{Committed, WriteError, placed};

type Reply<T> = oneshot::Sender<Result<T, Failure>>;

pub(crate) enum Act {
    /// The other lanes of the transaction, standing still. First of all acts.
    Hold(Vec<Parked>),
    Run(Box<dyn Work>),
    Savepoint(String, Reply<()>),
    RollbackTo(String, Reply<bool>),
    Release(String, Reply<bool>),
    Commit(Reply<Committed>),
    Rollback(Reply<()>),
}

/// An explicit transaction holding its lanes.
pub struct Interactive {
    acts: Sender<Act>,
}

/// Takes `lanes` in their order (by name) until `deadline`.
pub(crate) async fn begin(lanes: Vec<Arc<Lane>>, deadline: Option<Instant>) -> Result<Interactive, Failure> {
    let (first, others) = lanes.split_first().ok_or(Failure::NoDatabase)?;
    let (acts, until) = unbounded();
    let (granted, answer) = oneshot::channel();
    first.send(Command::Begin(Claim { until, granted, deadline }));
    answer.await.unwrap_or(Err(Failure::NoDatabase))?;
    let mut held = Vec::with_capacity(others.len());
    for lane in others {
        let (parked, answer) = park(lane, deadline);
        answer.await.unwrap_or(Err(Failure::NoDatabase))?;
        held.push(parked);
    }
    acts.send(Act::Hold(held)).map_err(|_| Failure::Closed)?;
    Ok(Interactive { acts })
}

impl Interactive {
    fn ask<R: Send + 'static>(&self, act: impl FnOnce(Reply<R>) -> Act) -> oneshot::Receiver<Result<R, Failure>> {
        let (reply, answer) = oneshot::channel();
        // A lane that is gone drops the reply.
        let _ = self.acts.send(act(reply));
        answer
    }
    /// Runs one statement's job inside the transaction; on `Err` the statement alone is rolled back.
    pub fn run<T: Send + 'static, E: Send + 'static>(
        &mut self,
        job: Job<T, E>,
    ) -> impl Future<Output = Result<T, WriteError<E>>> + Send + use<T, E> {
        let (reply, answer) = oneshot::channel();
        let task = Task {
            job,
            result: None,
            reply,
            deadline: None,
            _ticket: None,
        };
        let _ = self.acts.send(Act::Run(Box::new(task)));
        async move {
            let answer: Result<(T, Committed), WriteError<E>> = answer.await.unwrap_or(Err(WriteError::Closed));
            answer.map(|(value, _)| value)
        }
    }
    /// SAVEPOINT name / ROLLBACK TO name / RELEASE name.
    pub fn savepoint(&mut self, name: &str) -> impl Future<Output = Result<(), WriteError<()>>> + Send + use<> {
        let name = name.to_owned();
        answered(self.ask(|r| Act::Savepoint(name, r)))
    }
    pub fn rollback_to(&mut self, name: &str) -> impl Future<Output = Result<bool, WriteError<()>>> + Send + use<> {
        let name = name.to_owned();
        answered(self.ask(|r| Act::RollbackTo(name, r)))
    }
    pub fn release(&mut self, name: &str) -> impl Future<Output = Result<bool, WriteError<()>>> + Send + use<> {
        let name = name.to_owned();
        answered(self.ask(|r| Act::Release(name, r)))
    }
    pub fn commit(self) -> impl Future<Output = Result<Committed, WriteError<()>>> + Send + use<> {
        answered(self.ask(Act::Commit))
    }
    pub fn rollback(self) -> impl Future<Output = ()> + Send + use<> {
        let answer = self.ask(Act::Rollback);
        async move {
            // A lane that is gone has rolled back too.
            let _ = answer.await;
        }
    }
}

async fn answered<R>(answer: oneshot::Receiver<Result<R, Failure>>) -> Result<R, WriteError<()>> {
    Ok(answer.await.unwrap_or(Err(Failure::Closed))?)
}

/// A savepoint of the client's. SQLite's name for it is made from the number, so that the client's may be anything.
struct Named {
    number: u64,
    name: String,
    position: Position,
}

impl Named {
    fn sqlite(&self) -> String {
        format!("u{}", self.number)
    }
}

/// The lane's side of an open transaction.
struct Open {
    lanes: Vec<Arc<Lane>>,
    /// Let go when the transaction ends.
    _others: Vec<Parked>,
    savepoints: Vec<Named>,
    /// SQLite rolled it back by itself: nothing but ROLLBACK works any more.
    lost: bool,
}

impl Runner {
    pub(super) fn interactive(&mut self, claim: Claim<Receiver<Act>>) {
        if !grant(claim.granted, claim.deadline) {
            return;
        }
        let acts = claim.until;
        let Some(Act::Hold(others)) = self.wait(&acts) else {
            return;
        };
        let mut lanes = vec![Arc::clone(&self.lane)];
        lanes.extend(others.iter().map(|p| Arc::clone(&p.lane)));
        let mut open = Open {
            lanes,
            _others: others,
            savepoints: Vec::new(),
            lost: false,
        };
        let begun = self.begin_open(&open.lanes);
        if let Err(failure) = begun {
            self.refuse_acts(&acts, &failure);
            return;
        }
        while let Some(act) = self.wait(&acts) {
            if self.act(&mut open, act) {
                return;
            }
        }
        if let Ok(desk) = self.desk() {
            desk.rollback();
        }
    }

    fn begin_open(&mut self, lanes: &[Arc<Lane>]) -> Result<(), Failure> {
        self.ready()?;
        for lane in lanes {
            self.core.catch_up(lane)?;
        }
        self.desk()?.begin(lanes)
    }

    /// The transaction could not begin: every act is told why until the session lets go.
    fn refuse_acts(&mut self, acts: &Receiver<Act>, failure: &Failure) {
        while let Some(act) = self.wait(acts) {
            match act {
                Act::Hold(_) => {}
                Act::Run(work) => work.finish(Err(failure.again())),
                Act::Savepoint(_, reply) | Act::Rollback(reply) => drop(reply.send(Err(failure.again()))),
                Act::RollbackTo(_, reply) | Act::Release(_, reply) => drop(reply.send(Err(failure.again()))),
                Act::Commit(reply) => drop(reply.send(Err(failure.again()))),
            }
        }
    }

    /// True: the transaction is over.
    fn act(&mut self, open: &mut Open, act: Act) -> bool {
        match act {
            Act::Hold(_) => false,
            Act::Run(work) => {
                self.statement(open, work);
                false
            }
            Act::Savepoint(name, reply) => {
                let _ = reply.send(self.set_savepoint(open, name));
                false
            }
            Act::RollbackTo(name, reply) => {
                let _ = reply.send(self.back_to_savepoint(open, &name, true));
                false
            }
            Act::Release(name, reply) => {
                let _ = reply.send(self.back_to_savepoint(open, &name, false));
                false
            }
            Act::Commit(reply) => {
                let outcome = self.commit_open(open);
                let _ = reply.send(outcome);
                true
            }
            Act::Rollback(reply) => {
                let outcome = self.desk().map(|desk| desk.rollback());
                let _ = reply.send(outcome);
                true
            }
        }
    }

    fn statement(&mut self, open: &mut Open, mut work: Box<dyn Work>) {
        if open.lost {
            work.finish(Err(Failure::aborted()));
            return;
        }
        let ran = match self.desk() {
            Ok(desk) => desk.run(&mut *work, false),
            Err(failure) => Err(failure),
        };
        match ran {
            Ok(Ran::Kept | Ran::Undone(None)) => work.finish(Ok(Ended::default())),
            Ok(Ran::Undone(Some(failure))) => work.finish(Err(failure)),
            Ok(Ran::Lost) => {
                self.lose(open);
                work.lost();
            }
            Err(failure) => {
                self.lose(open);
                work.finish(Err(failure));
            }
        }
    }

    fn lose(&mut self, open: &mut Open) {
        open.lost = true;
        if let Ok(desk) = self.desk() {
            desk.rollback();
        }
    }

    fn set_savepoint(&mut self, open: &mut Open, name: String) -> Result<(), Failure> {
        if open.lost {
            return Err(Failure::aborted());
        }
        let desk = self.desk()?;
        // A savepoint of the same name is replaced, as in MySQL.
        if let Some(at) = find(&open.savepoints, &name) {
            open.savepoints.remove(at);
        }
        let named = Named {
            number: open.savepoints.last().map_or(0, |n| n.number + 1),
            name,
            position: desk.position(),
        };
        files::run(desk.connection(), &format!("SAVEPOINT {}", named.sqlite()))?;
        open.savepoints.push(named);
        Ok(())
    }

    /// False: there is no such savepoint.
    fn back_to_savepoint(&mut self, open: &mut Open, name: &str, undo: bool) -> Result<bool, Failure> {
        if open.lost {
            return Err(Failure::aborted());
        }
        let Some(at) = find(&open.savepoints, name) else {
            return Ok(false);
        };
        let desk = self.desk()?;
        let named = &open.savepoints[at];
        if undo {
            files::run(desk.connection(), &format!("ROLLBACK TO {}", named.sqlite()))?;
            desk.truncate(named.position);
            open.savepoints.truncate(at + 1);
        } else {
            files::run(desk.connection(), &format!("RELEASE {}", named.sqlite()))?;
            open.savepoints.truncate(at);
        }
        Ok(true)
    }

    fn commit_open(&mut self, open: &mut Open) -> Result<Committed, Failure> {
        if open.lost {
            return Err(Failure::aborted());
        }
        let core = Arc::clone(&self.core);
        let desk = self.desk()?;
        let changes = desk.take();
        if changes.is_empty() {
            desk.finish_unchanged()?;
            return Ok(Committed::default());
        }
        let changed = changed_lanes(&open.lanes, &changes);
        let draft = Draft {
            causes: core.progress.seen(),
            schema: desk.catalog().version,
            body: Body::Rows(changes),
        };
        let entries = match core.append(vec![draft]) {
            Ok(entries) => entries,
            Err(error) => {
                desk.rollback();
                return Err(Failure::Append(error));
            }
        };
        if let Err(error) = desk.settle(&changed, &entries) {
            desk.rollback();
            core.reapply(&changed, &entries, &error)?;
        }
        Ok(Committed {
            placed: entries.first().map(|e| placed(e)),
        })
    }
}

fn changed_lanes(lanes: &[Arc<Lane>], changes: &Changes) -> Vec<Arc<Lane>> {
    let touched = |lane: &&Arc<Lane>| changes.tables.iter().any(|t| t.db == lane.id);
    lanes.iter().filter(touched).cloned().collect()
}

fn find(savepoints: &[Named], name: &str) -> Option<usize> {
    savepoints.iter().rposition(|n| n.name.to_lowercase() == name.to_lowercase())
}
