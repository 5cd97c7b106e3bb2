//! The hybrid logical clock: 48 bits of milliseconds, 16 bits of counter.
//!
//! Promises: stamps of one clock only grow, over restarts too (high-water mark at most 100 ms ahead, persisted by the log);
//! a wall-clock jump beyond the drift bound is not followed until peers confirm it. Must not know: who the peers are.

use std::time::Duration;

use crate::vector::Origin;

/// 48 bits of milliseconds since the epoch, 16 bits of counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

/// Total order of entries: time first, then origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    pub hlc: Hlc,
    pub origin: Origin,
}

/// The one seam to the machine's clocks.
pub trait TimeSource: Send + Sync + 'static {
    /// Milliseconds since the epoch.
    fn wall_ms(&self) -> u64;
    /// Monotonic time since an arbitrary start.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTime;

impl TimeSource for SystemTime {
    fn wall_ms(&self) -> u64 {
        todo!("log helper")
    }
    fn monotonic(&self) -> Duration {
        todo!("log helper")
    }
}

/// What to do with a remote stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Taken over; the next stamp of this clock is later.
    Followed,
    /// Further ahead than the drift bound: hold the entry this many milliseconds (PROTOCOL rule 20).
    TooEarly { wait_ms: u64 },
}

/// Shared by the log and the cluster; all methods take `&self`.
pub struct Clock {
    // log helper: fields
}

impl Clock {
    /// `high_water`: as persisted (0 for a new log). `drift_ms`: usually 500.
    pub fn new(time: std::sync::Arc<dyn TimeSource>, high_water: Hlc, drift_ms: u64) -> Clock {
        let _ = (time, high_water, drift_ms);
        todo!("log helper")
    }
    /// The next stamp's time: later than every earlier one. (The log persists the high-water mark before it is used.)
    pub fn tick(&self) -> Hlc {
        todo!("log helper")
    }
    /// Guarded wall time in milliseconds (anchored to the monotonic clock), without ticking.
    pub fn now_ms(&self) -> u64 {
        todo!("log helper")
    }
    pub fn observe(&self, remote: Hlc) -> Observed {
        let _ = remote;
        todo!("log helper")
    }
    /// The measured offset of the guarded wall clock to a quorum of peers (positive: peers are ahead), by which a jump is
    /// confirmed or not; `None`: there are no peers. Rule 19: beyond half the bound stamps are slewed, beyond it `may_write` says no.
    pub fn set_peer_offset(&self, offset_ms: Option<i64>) {
        let _ = offset_ms;
        todo!("log helper")
    }
    /// `Err(why)` when the clock is off by more than the drift bound: writes are to be refused, reads go on.
    pub fn may_write(&self) -> Result<(), String> {
        todo!("log helper")
    }
}
