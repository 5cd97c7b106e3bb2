//! The floor of a lane: its desk, and what is in place on it. Whoever has it writes.
//!
//! Promises: a short trial runs in its caller's thread as soon as nobody else has the floor (handing it over and back costs more than
//! most statements take); the lane's thread goes before callers. Must not know: queues, groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::desk::Desk;
use super::runner::Command;
use super::trial::Retained;
use super::work::{Failure, Kind, Work};
use crate::engine::core::{Core, Lane};

/// How often a caller is told that the floor is free and comes too late, before it stands in the queue.
const ROUNDS_MAX: usize = 64;

/// What is on the floor.
#[derive(Default)]
pub(crate) struct Floor {
    pub(super) desk: Option<Desk>,
    /// The overlay that is in place on the desk.
    pub(super) retained: Option<Retained>,
    /// The lane's thread looks after what is retained: it wakes up in time to let it go.
    pub(super) watched: bool,
}

/// A lane's floor, and who waits for it.
#[derive(Default)]
pub(crate) struct FloorLock {
    floor: Mutex<Floor>,
    /// The lane's thread waits for it.
    wanted: AtomicBool,
    /// The lane's thread has it for something that may take long: callers stand in the queue.
    long: AtomicBool,
    /// Somebody has given it back.
    freed: Notify,
}

/// Has the floor; whoever waits hears of its end.
pub(crate) struct Taken<'a> {
    // Before `wake`: the floor is free when others are told.
    floor: MutexGuard<'a, Floor>,
    wake: Wake<'a>,
}

struct Wake<'a>(&'a FloorLock);

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        self.0.long.store(false, Ordering::Release);
        self.0.freed.notify_one();
    }
}

impl std::ops::Deref for Taken<'_> {
    type Target = Floor;
    fn deref(&self) -> &Floor {
        &self.floor
    }
}

impl std::ops::DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Floor {
        &mut self.floor
    }
}

impl Taken<'_> {
    /// It may take long.
    pub fn settle_down(&self) {
        self.wake.0.long.store(true, Ordering::Release);
        self.wake.0.freed.notify_waiters();
    }
}

impl FloorLock {
    /// For the lane's thread alone.
    pub fn take(&self) -> Taken<'_> {
        self.wanted.store(true, Ordering::Release);
        let floor = self.floor.lock();
        self.wanted.store(false, Ordering::Release);
        Taken { floor, wake: Wake(self) }
    }
    /// For callers: `None`: somebody else has it, or is to have it first.
    fn try_take(&self) -> Option<Taken<'_>> {
        if self.wanted.load(Ordering::Acquire) {
            return None;
        }
        let floor = self.floor.try_lock()?;
        Some(Taken { floor, wake: Wake(self) })
    }
}

/// Runs a short trial in its caller's thread, as soon as the floor is free; `Err`: it is to stand in the lane's queue.
pub(crate) async fn run_here(core: &Arc<Core>, lane: &Arc<Lane>, mut work: Box<dyn Work>) -> Result<(), Box<dyn Work>> {
    for _ in 0..ROUNDS_MAX {
        let freed = lane.floor.freed.notified();
        tokio::pin!(freed);
        work = match try_here(core, lane, work) {
            Here::Done => return Ok(()),
            Here::Never(work) => return Err(work),
            Here::Busy(work) => work,
        };
        freed.as_mut().enable();
        if lane.floor.long.load(Ordering::Acquire) {
            break;
        }
        freed.await;
    }
    // What woke us may have been meant for others as well.
    lane.floor.freed.notify_one();
    Err(work)
}

enum Here {
    Done,
    /// Somebody else has the floor.
    Busy(Box<dyn Work>),
    Never(Box<dyn Work>),
}

fn try_here(core: &Arc<Core>, lane: &Arc<Lane>, work: Box<dyn Work>) -> Here {
    let Kind::Trial(overlay) = work.kind() else {
        return Here::Never(work);
    };
    let Some(mut floor) = lane.floor.try_take() else {
        return Here::Busy(work);
    };
    // Opening files, waiting for a checkpoint, catching up: not here.
    if floor.desk.is_none() || !core.is_ready(lane) {
        return Here::Never(work);
    }
    let own = |r: &Retained| overlay.as_ref().is_some_and(|o| r.is_of(&o.lock()));
    if let Some(retained) = &floor.retained
        && retained.keep_until.is_some_and(|u| u > Instant::now())
        && !own(retained)
    {
        return Here::Never(work);
    }
    floor.trial(core, std::slice::from_ref(lane), overlay, work);
    if floor.retained.is_some() && !std::mem::replace(&mut floor.watched, true) {
        lane.send(Command::Wake);
    }
    Here::Done
}

impl Floor {
    pub(super) fn desk(&mut self) -> Result<&mut Desk, Failure> {
        self.desk.as_mut().ok_or(Failure::Closed)
    }
    /// The desk; it is opened at its first use.
    pub(super) fn open(&mut self, core: &Arc<Core>) -> Result<&mut Desk, Failure> {
        if self.desk.is_none() {
            self.desk = Some(Desk::open(core)?);
        }
        self.desk()
    }
    pub(super) fn has_pins(&self) -> bool {
        self.desk.as_ref().is_some_and(Desk::has_pins)
    }
    /// Undoes what is in place.
    pub(super) fn evict(&mut self) {
        self.retained = None;
        if let Some(desk) = &mut self.desk {
            desk.rollback();
        }
    }
    /// The same, if anything is.
    pub(super) fn let_go(&mut self) {
        if self.retained.is_some() || self.desk.as_ref().is_some_and(|d| !d.connection().is_autocommit()) {
            self.evict();
        }
    }
}
