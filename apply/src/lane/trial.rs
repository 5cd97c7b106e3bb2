//! Trials: a statement of an open transaction runs on top of what the transaction changed before, and is undone.
//!
//! Promises: a trial never runs on anything that is not durable, so it is answered at once; it leaves the lane free. What it
//! and its overlay changed stays in place as long as nobody else wants the lane (at most [`RETAIN`], a large one at most
//! [`RETAIN_LARGE`]): the transaction's next statement then needs no replay. A large overlay that had to be put in place keeps the
//! lane for as long as that took, so at most about half of a lane's time goes into replays, and others wait at most that
//! long for it. Must not know: locks, who waits for the result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;
use rusqlite::ErrorCode;

use super::desk::Ran;
use super::floor::Floor;
use super::runner::{Claim, Command, Parked, Runner, grant};
use super::work::{Ended, Failure, Kind, Work};
use crate::engine::core::{Core, Lane};
use crate::overlay::{Content, SPILL_ROWS, new_token};

/// How long an idle lane keeps an overlay in place.
pub(super) const RETAIN: Duration = Duration::from_millis(100);
/// The same for one that is expensive to put in place.
pub(super) const RETAIN_LARGE: Duration = Duration::from_secs(5);

/// An overlay that is in place on the try connection, in an open transaction.
pub(super) struct Retained {
    /// The state of the overlay that is in place.
    token: u64,
    overlay: u64,
    /// An idle lane lets it go then.
    pub until: Instant,
    /// Before that nobody else gets the lane.
    pub keep_until: Option<Instant>,
}

/// A visitor's work on several lanes, and those beside this one.
pub(crate) struct Visit {
    pub others: Vec<Parked>,
    pub work: Box<dyn Work>,
}

impl Retained {
    pub(super) fn is_of(&self, content: &Content) -> bool {
        self.overlay == content.id()
    }
}

impl Floor {
    /// A statement, with all lanes that it needs held (this floor is the first one's).
    pub(super) fn trial(&mut self, core: &Arc<Core>, lanes: &[Arc<Lane>], overlay: Option<Arc<Mutex<Content>>>, mut work: Box<dyn Work>) {
        let staged = match &overlay {
            Some(content) => self.stage(core, lanes, content),
            None => self.begin_over(core, lanes).map(|()| None),
        };
        let keep_until = match staged {
            Ok(keep_until) => keep_until,
            Err(failure) => {
                self.evict();
                work.finish(Err(failure));
                return;
            }
        };
        let bare = overlay.as_ref().is_none_or(|o| o.lock().rows() == 0);
        let ran = match self.desk() {
            Ok(desk) => desk.run(&mut *work, bare),
            Err(failure) => Err(failure),
        };
        match ran {
            Ok(Ran::Kept) => {
                let ended = self.tried(lanes, overlay.as_ref(), keep_until);
                work.finish(ended);
            }
            Ok(Ran::Undone(failure)) => {
                // An overlay put in place just now is nobody's to let go yet.
                if bare || self.retained.is_none() {
                    self.evict();
                }
                work.finish(failure.map_or_else(|| Ok(Ended::default()), Err));
            }
            Ok(Ran::Lost) => {
                self.evict();
                work.lost();
            }
            Err(failure) => {
                self.evict();
                work.finish(Err(failure));
            }
        }
        if lanes.len() > 1 || self.has_pins() {
            self.evict();
        }
    }

    /// What the job changed; it stays in place if it may.
    fn tried(&mut self, lanes: &[Arc<Lane>], overlay: Option<&Arc<Mutex<Content>>>, keep_until: Option<Instant>) -> Result<Ended, Failure> {
        let desk = self.desk()?;
        let changes = desk.take();
        let catalog = Arc::clone(desk.catalog());
        let mut token = new_token();
        match overlay.filter(|_| lanes.len() == 1) {
            Some(content) => {
                let content = content.lock();
                if changes.is_empty() {
                    token = content.token();
                }
                self.retain(&content, token, content.rows() + u64::from(changes.count), keep_until);
            }
            None => self.evict(),
        }
        Ok(Ended::Tried(changes, catalog, token))
    }

    /// Puts the overlay in place, if it is not. Tells until when nobody else gets the lane.
    fn stage(&mut self, core: &Arc<Core>, lanes: &[Arc<Lane>], content: &Mutex<Content>) -> Result<Option<Instant>, Failure> {
        let content = content.lock();
        let catalog = core.catalog();
        if let Some(retained) = &self.retained
            && retained.token == content.token()
            && lanes.len() == 1
            && self.desk.as_ref().is_some_and(|d| Arc::ptr_eq(&catalog, d.catalog()))
        {
            return Ok(retained.keep_until);
        }
        self.begin_over(core, lanes)?;
        if content.rows() == 0 {
            return Ok(None);
        }
        let start = Instant::now();
        self.desk()?.replay(&content)?;
        let took = start.elapsed();
        let keep_until = (content.rows() > SPILL_ROWS).then(|| Instant::now() + took);
        // Should the statement fail, this is what is left.
        self.retain(&content, content.token(), content.rows(), keep_until);
        Ok(keep_until)
    }

    fn retain(&mut self, content: &Content, token: u64, rows: u64, keep_until: Option<Instant>) {
        let idle = if rows > SPILL_ROWS { RETAIN_LARGE } else { RETAIN };
        self.retained = Some(Retained {
            token,
            overlay: content.id(),
            until: Instant::now() + idle,
            keep_until,
        });
    }

    fn begin_over(&mut self, core: &Arc<Core>, lanes: &[Arc<Lane>]) -> Result<(), Failure> {
        self.evict();
        let (first, others) = lanes.split_first().ok_or(Failure::NoDatabase)?;
        core.ready(first)?;
        for lane in others {
            core.catch_up(lane)?;
        }
        self.open(core)?.begin(lanes)
    }

    /// Is the command the next one of the transaction whose overlay is in place?
    pub(super) fn continues(&self, command: &Command) -> bool {
        let Some(retained) = &self.retained else { return false };
        match command {
            Command::Job(work) => match work.kind() {
                Kind::Trial(Some(content)) => content.lock().id() == retained.overlay,
                // A commit lets it go when its entry is applied.
                Kind::Commit(_) => true,
                Kind::Trial(None) | Kind::Kept => false,
            },
            Command::Wake => true,
            _ => false,
        }
    }
    /// Does the command end the transaction whose overlay is in place?
    fn ends(&self, command: &Command) -> bool {
        let Some(retained) = &self.retained else { return false };
        matches!(command, Command::Job(work) if matches!(work.kind(), Kind::Commit(c) if c.lock().id() == retained.overlay))
    }
    /// Is it one that may come while a large overlay keeps the lane?
    fn lets_in(&self, command: &Command) -> bool {
        self.ends(command) || matches!(command, Command::Job(work) if matches!(work.kind(), Kind::Trial(_)) && self.continues(command))
    }
}

impl Runner {
    /// While a large overlay keeps the lane: its next command, if one comes in time.
    pub(super) fn next_of_kept(&mut self) -> Option<Command> {
        loop {
            let floor = self.lane.floor.take();
            let until = floor.retained.as_ref()?.keep_until.filter(|u| *u > Instant::now())?;
            let next = (0..self.aside.len()).find(|i| floor.lets_in(&self.aside[*i]));
            drop(floor);
            if let Some(at) = next {
                return self.aside.remove(at);
            }
            match self.queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(command) => self.put_aside(command),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if self.stop.is_some() {
                return None;
            }
        }
    }

    /// Work over several lanes: this one runs it, the others stand still.
    pub(super) fn visited(&mut self, floor: &mut Floor, claim: Claim<Receiver<Visit>>) {
        if !grant(claim.granted, claim.deadline) {
            return;
        }
        let Some(Visit { others, work }) = self.wait(&claim.until) else {
            return;
        };
        let mut lanes = vec![Arc::clone(&self.lane)];
        lanes.extend(others.iter().map(|p| Arc::clone(&p.lane)));
        match work.kind() {
            Kind::Trial(overlay) => floor.trial(&self.core, &lanes, overlay, work),
            Kind::Commit(overlay) => self.commit_alone(&lanes, &overlay, work),
            Kind::Kept => work.finish(Err(Failure::text(
                ErrorCode::Unknown,
                "a kept job over several databases is not supported",
            ))),
        }
    }
}
