//! The lane's thread: takes commands in the order they came, one after another.
//!
//! Promises: while a visitor holds the lane, jobs wait at most as long as they asked to. Must not know:
//! what jobs do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, at, bounded, never, select};
use tokio::sync::oneshot;

use super::floor::Floor;
use super::trial::Visit;
use super::work::{Failure, Kind, Work};
use crate::engine::core::{Core, Lane};

/// A lane without work that long gives back the memory of its page caches.
const IDLE: Duration = Duration::from_secs(5);

pub(crate) enum Command {
    Job(Box<dyn Work>),
    /// Work over several lanes: this one is to run it.
    Visit(Claim<Receiver<Visit>>),
    /// A visitor (remote apply, schema change, a transaction of another lane): the lane stands still until it leaves.
    Park(Claim<Receiver<Infallible>>),
    /// A caller left something in place: the lane's thread is to look after it.
    Wake,
    /// The lane ends; what still waits is told why.
    Stop(Failure),
}

pub(crate) struct Claim<T> {
    pub until: T,
    pub granted: oneshot::Sender<Result<(), Failure>>,
    pub deadline: Option<Instant>,
}

/// A lane that stands still; goes on when this is dropped.
pub(crate) struct Parked {
    pub lane: Arc<Lane>,
    _until: Sender<Infallible>,
}

/// Asks for a lane to stand still; resolves when it does.
pub(crate) fn park(lane: &Arc<Lane>, deadline: Option<Instant>) -> (Parked, oneshot::Receiver<Result<(), Failure>>) {
    let (leave, until) = bounded(1);
    let (granted, answer) = oneshot::channel();
    lane.send(Command::Park(Claim { until, granted, deadline }));
    let parked = Parked {
        lane: Arc::clone(lane),
        _until: leave,
    };
    (parked, answer)
}

pub(crate) struct Runner {
    pub(super) core: Arc<Core>,
    pub(super) lane: Arc<Lane>,
    pub(super) queue: Receiver<Command>,
    pub(super) aside: VecDeque<Command>,
    /// The earliest deadline of what stands aside.
    next_deadline: Option<Instant>,
    pub(super) stop: Option<Failure>,
}

impl Runner {
    pub fn new(core: Arc<Core>, lane: Arc<Lane>, queue: Receiver<Command>) -> Runner {
        Runner {
            core,
            lane,
            queue,
            aside: VecDeque::new(),
            next_deadline: None,
            stop: None,
        }
    }

    pub fn run(mut self) {
        while self.stop.is_none() {
            let Some(command) = self.next() else { break };
            let lane = Arc::clone(&self.lane);
            let mut floor = lane.floor.take();
            if !floor.continues(&command) {
                floor.let_go();
            }
            if !matches!(command, Command::Wake) && !is_commit(&command) {
                floor.settle_down();
            }
            match command {
                Command::Job(work) => match work.kind() {
                    Kind::Trial(overlay) => floor.trial(&self.core, std::slice::from_ref(&lane), overlay, work),
                    Kind::Kept | Kind::Commit(_) => self.group(&lane, floor, work),
                },
                Command::Visit(claim) => self.visited(&mut floor, claim),
                Command::Park(claim) => self.parked(claim),
                Command::Wake => {}
                Command::Stop(why) => self.stop = Some(why),
            }
        }
        self.refuse_all();
    }

    fn next(&mut self) -> Option<Command> {
        if let Some(command) = self.next_of_kept() {
            return Some(command);
        }
        match self.aside.pop_front() {
            Some(command) => Some(command),
            None => self.next_command(),
        }
    }

    fn next_command(&mut self) -> Option<Command> {
        loop {
            let until = {
                let mut floor = self.lane.floor.take();
                floor.watched = floor.retained.is_some();
                floor.retained.as_ref().map(|r| r.until)
            };
            let at = until.unwrap_or_else(|| Instant::now() + IDLE);
            match self.queue.recv_deadline(at) {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let mut floor = self.lane.floor.take();
            match &floor.retained {
                // Used meanwhile.
                Some(retained) if retained.until > Instant::now() => {}
                Some(_) => floor.let_go(),
                None if until.is_none() => {
                    if let Some(desk) = &floor.desk {
                        desk.relax();
                    }
                    drop(floor);
                    // A caller that leaves something in place says so.
                    return self.queue.recv().ok();
                }
                None => {}
            }
        }
    }

    fn refuse_all(mut self) {
        let why = self.stop.take().unwrap_or(Failure::Closed);
        // Connections go first: whoever joins this thread may remove the file.
        *self.lane.floor.take() = Floor::default();
        let rest: Vec<Command> = self.aside.drain(..).chain(self.queue.try_iter()).collect();
        for command in rest {
            refuse(command, why.again());
        }
    }

    /// The next waiting job to be kept, if one is next but for trials, which go to `later`: they may run behind it.
    pub(super) fn next_job(&mut self, later: &mut VecDeque<Command>) -> Option<Box<dyn Work>> {
        loop {
            let command = match self.aside.pop_front() {
                Some(command) => command,
                None => self.queue.try_recv().ok()?,
            };
            match command {
                Command::Job(work) if matches!(work.kind(), Kind::Trial(_)) => later.push_back(Command::Job(work)),
                Command::Job(work) => return Some(work),
                other => {
                    self.aside.push_front(other);
                    return None;
                }
            }
        }
    }
    /// These come before all that waits.
    pub(super) fn first_again(&mut self, mut commands: VecDeque<Command>) {
        commands.append(&mut self.aside);
        self.aside = commands;
    }

    fn parked(&mut self, claim: Claim<Receiver<Infallible>>) {
        if grant(claim.granted, claim.deadline) {
            let until = claim.until;
            // Ends when the visitor lets go.
            let _: Option<Infallible> = self.wait(&until);
        }
    }

    /// The next message of whoever holds the lane; `None` when it let go. Meanwhile what arrives stands aside, and what waited
    /// long enough is told so.
    pub(super) fn wait<T>(&mut self, from: &Receiver<T>) -> Option<T> {
        // A lane that is to end does not wait for whoever holds it.
        while self.stop.is_none() {
            let timeout = self.next_deadline.map_or_else(never, at);
            select! {
                recv(from) -> message => return message.ok(),
                recv(self.queue) -> command => match command {
                    Ok(command) => self.put_aside(command),
                    Err(_) => return None,
                },
                recv(timeout) -> _ => self.expire(),
            }
        }
        None
    }

    pub(super) fn put_aside(&mut self, command: Command) {
        match command {
            Command::Wake => return,
            Command::Stop(why) => {
                self.stop = Some(why);
                return;
            }
            _ => {}
        }
        if let Some(deadline) = deadline(&command) {
            self.next_deadline = Some(self.next_deadline.map_or(deadline, |d| d.min(deadline)));
        }
        self.aside.push_back(command);
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let mut stay = VecDeque::with_capacity(self.aside.len());
        self.next_deadline = None;
        for command in self.aside.drain(..) {
            match deadline(&command) {
                Some(d) if d <= now => refuse(command, Failure::Timeout),
                d => {
                    self.next_deadline = match (self.next_deadline, d) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                    stay.push_back(command);
                }
            }
        }
        self.aside = stay;
    }
}

fn is_commit(command: &Command) -> bool {
    matches!(command, Command::Job(work) if matches!(work.kind(), Kind::Commit(_)))
}

/// False: the claimer does not wait any more, or waited too long.
pub(super) fn grant(granted: oneshot::Sender<Result<(), Failure>>, deadline: Option<Instant>) -> bool {
    if deadline.is_some_and(|d| d < Instant::now()) {
        let _ = granted.send(Err(Failure::Timeout));
        return false;
    }
    granted.send(Ok(())).is_ok()
}

fn deadline(command: &Command) -> Option<Instant> {
    match command {
        Command::Job(work) => work.deadline(),
        Command::Visit(claim) => claim.deadline,
        Command::Park(claim) => claim.deadline,
        Command::Stop(_) | Command::Wake => None,
    }
}

fn refuse(command: Command, why: Failure) {
    match command {
        Command::Job(work) => work.finish(Err(why)),
        // Nobody waits any more: nothing to tell.
        Command::Visit(claim) => drop(claim.granted.send(Err(why))),
        Command::Park(claim) => drop(claim.granted.send(Err(why))),
        Command::Stop(_) | Command::Wake => {}
    }
}
