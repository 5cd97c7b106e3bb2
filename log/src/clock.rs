//! The hybrid logical clock: 48 bits of milliseconds, 16 bits of counter.
//!
//! Promises: stamps of one clock only grow, over restarts too (high-water mark at most 100 ms ahead, persisted by the log);
//! a wall-clock jump beyond the drift bound is not followed until peers confirm it. Must not know: who the peers are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

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
        // A clock before 1970 counts as 1970: the high-water mark keeps stamps growing all the same.
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
    fn monotonic(&self) -> Duration {
        boot_time()
    }
}

/// Time since boot, sleep included: a machine that wakes from suspend has not jumped.
fn boot_time() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the timespec it is given and touches nothing else; on failure it stays zero.
    unsafe {
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut t);
    }
    Duration::new(t.tv_sec.max(0) as u64, t.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// What to do with a remote stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Taken over; the next stamp of this clock is later.
    Followed,
    /// Further ahead than the drift bound: hold the entry this many milliseconds (PROTOCOL rule 20).
    TooEarly { wait_ms: u64 },
}

const COUNTER_BITS: u32 = 16;
/// The largest millisecond count an [`Hlc`] can hold.
const MS_MAX: u64 = (1 << (64 - COUNTER_BITS)) - 1;

impl Hlc {
    pub fn from_ms(ms: u64) -> Hlc {
        Hlc(ms.min(MS_MAX) << COUNTER_BITS)
    }
    pub fn ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }
}

/// Shared by the log and the cluster; all methods take `&self`.
pub struct Clock {
    time: Arc<dyn TimeSource>,
    drift_ms: u64,
    /// The latest stamp given or followed. An overflowing counter carries into the milliseconds by itself.
    last: AtomicU64,
    guard: Mutex<Guard>,
}

/// Wall time as it is believed: anchored to the monotonic clock, corrected towards the peers.
struct Guard {
    /// Wall time at the anchor.
    wall_ms: u64,
    /// Monotonic time at the anchor.
    at: Duration,
    /// Added to the anchored wall time so that stamps stay within half the bound of the peers (rule 19).
    slew_ms: i64,
    /// Peers against the anchored wall time without slew; `None` without peers.
    peers_ms: Option<i64>,
}

impl Guard {
    fn anchored(&self, now: Duration) -> u64 {
        let passed = now.saturating_sub(self.at).as_millis();
        self.wall_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Beyond the bound nothing is slewed: nothing is written then either, and everybody is to see the true offset.
    fn slew(&mut self, drift_ms: u64) {
        let half = i64::try_from(drift_ms / 2).unwrap_or(i64::MAX);
        self.slew_ms = match self.peers_ms {
            Some(error) if error.unsigned_abs() > drift_ms => 0,
            Some(error) if error > half => error - half,
            Some(error) if error < -half => error + half,
            _ => 0,
        };
    }
}

impl Clock {
    /// `high_water`: as persisted (0 for a new log). `drift_ms`: usually 500.
    pub fn new(time: Arc<dyn TimeSource>, high_water: Hlc, drift_ms: u64) -> Clock {
        let wall = time.wall_ms();
        // A wall clock set back while the node was down is a jump like any other: not followed until peers confirm it.
        let wall_ms = if high_water.ms() > wall.saturating_add(drift_ms) {
            high_water.ms()
        } else {
            wall
        };
        let guard = Guard {
            wall_ms,
            at: time.monotonic(),
            slew_ms: 0,
            peers_ms: None,
        };
        Clock {
            time,
            drift_ms,
            last: AtomicU64::new(high_water.0),
            guard: Mutex::new(guard),
        }
    }

    /// The next stamp's time: later than every earlier one. (The log persists the high-water mark before it is used.)
    pub fn tick(&self) -> Hlc {
        let now = Hlc::from_ms(self.now_ms()).0;
        let next = |last: u64| now.max(last.saturating_add(1));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        Hlc(next(last.unwrap_or_else(|last| last)))
    }

    /// Guarded wall time in milliseconds (anchored to the monotonic clock), without ticking.
    pub fn now_ms(&self) -> u64 {
        let mut guard = self.guard.lock();
        let now = self.time.monotonic();
        let anchored = guard.anchored(now);
        let wall = self.time.wall_ms();
        if wall.abs_diff(anchored) > self.drift_ms {
            return anchored.saturating_add_signed(guard.slew_ms);
        }
        guard.wall_ms = wall;
        guard.at = now;
        if let Some(peers) = &mut guard.peers_ms
            && wall != anchored
        {
            // What was measured was measured against the old anchor.
            *peers = peers.saturating_sub(signed_gap(wall, anchored));
            guard.slew(self.drift_ms);
        }
        wall.saturating_add_signed(guard.slew_ms)
    }

    /// The latest stamp given or followed.
    pub fn last(&self) -> Hlc {
        Hlc(self.last.load(Ordering::Acquire))
    }

    pub fn observe(&self, remote: Hlc) -> Observed {
        let limit = self.now_ms().saturating_add(self.drift_ms);
        if remote.ms() > limit {
            return Observed::TooEarly {
                wait_ms: remote.ms() - limit,
            };
        }
        self.last.fetch_max(remote.0, Ordering::AcqRel);
        Observed::Followed
    }

    /// The measured offset of the guarded wall clock to a quorum of peers (positive: peers are ahead), by which a jump is
    /// confirmed or not; `None`: there are no peers. Rule 19: beyond half the bound stamps are slewed, beyond it `may_write` says no.
    pub fn set_peer_offset(&self, offset_ms: Option<i64>) {
        let mut guard = self.guard.lock();
        let Some(offset) = offset_ms else {
            guard.peers_ms = None;
            guard.slew_ms = 0;
            return;
        };
        let error = offset.saturating_add(guard.slew_ms);
        let now = self.time.monotonic();
        let anchored = guard.anchored(now);
        let wall = self.time.wall_ms();
        let jump = signed_gap(wall, anchored);
        guard.peers_ms = Some(error);
        if jump.unsigned_abs() > self.drift_ms && error.abs_diff(jump) <= self.drift_ms {
            guard.wall_ms = wall;
            guard.at = now;
            guard.peers_ms = Some(error.saturating_sub(jump));
        }
        guard.slew(self.drift_ms);
    }

    /// `Err(why)` when the clock is off by more than the drift bound: writes are to be refused, reads go on.
    pub fn may_write(&self) -> Result<(), String> {
        let now = self.now_ms();
        let Some(error) = self.guard.lock().peers_ms else {
            return Ok(());
        };
        if error.unsigned_abs() > self.drift_ms {
            let side = if error > 0 { "behind" } else { "ahead of" };
            return Err(format!(
                "{} ms {side} its peers, {} are allowed",
                error.unsigned_abs(),
                self.drift_ms
            ));
        }
        let ahead = self.last().ms().saturating_sub(now);
        if ahead > self.drift_ms {
            return Err(format!(
                "its last stamp is {ahead} ms ahead of its peers' time, {} are allowed",
                self.drift_ms
            ));
        }
        Ok(())
    }
}

fn signed_gap(a: u64, b: u64) -> i64 {
    let gap = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { gap } else { -gap }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A clock under the test's hand.
    #[derive(Default)]
    struct Hand {
        wall: AtomicU64,
        mono: AtomicU64,
    }

    impl Hand {
        fn at(ms: u64) -> Arc<Hand> {
            let hand = Hand::default();
            hand.wall.store(ms, Ordering::SeqCst);
            Arc::new(hand)
        }
        fn pass(&self, ms: u64) {
            self.wall.fetch_add(ms, Ordering::SeqCst);
            self.mono.fetch_add(ms, Ordering::SeqCst);
        }
        fn set(&self, ms: u64) {
            self.wall.store(ms, Ordering::SeqCst);
        }
    }

    impl TimeSource for Hand {
        fn wall_ms(&self) -> u64 {
            self.wall.load(Ordering::SeqCst)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.mono.load(Ordering::SeqCst))
        }
    }

    const T: u64 = 1_700_000_000_000;

    fn clock(hand: &Arc<Hand>, high_water: Hlc) -> Clock {
        Clock::new(hand.clone(), high_water, 500)
    }

    proptest! {
        #[test]
        fn stamps_only_grow_over_jumps_and_restarts(steps in proptest::collection::vec((0u8..6, 0u64..5_000), 1..60)) {
            let hand = Hand::at(T);
            let mut clock = clock(&hand, Hlc(0));
            let mut last = Hlc(0);
            for (what, ms) in steps {
                match what {
                    0 => hand.pass(ms),
                    1 => hand.set(T + ms * 100),
                    2 => clock = self::clock(&hand, last),
                    3 => { clock.observe(Hlc::from_ms(T + ms)); }
                    4 => clock.set_peer_offset(Some(ms as i64 - 2_500)),
                    _ => clock.set_peer_offset(None),
                }
                let next = clock.tick();
                prop_assert!(next > last);
                last = next;
            }
        }
    }

    #[test]
    fn the_counter_carries_into_the_milliseconds() {
        let hand = Hand::at(T);
        let clock = clock(&hand, Hlc(Hlc::from_ms(T).0 | 0xffff));
        assert_eq!(clock.tick(), Hlc::from_ms(T + 1));
    }

    #[test]
    fn a_jump_is_followed_only_when_peers_confirm_it() {
        let hand = Hand::at(T);
        let clock = clock(&hand, Hlc(0));
        hand.pass(10);
        hand.set(T + 3_600_000);
        assert_eq!(clock.now_ms(), T + 10);
        clock.set_peer_offset(Some(3));
        assert_eq!(clock.now_ms(), T + 10);
        clock.set_peer_offset(Some(3_600_000));
        assert_eq!(clock.now_ms(), T + 3_600_000);
        assert!(clock.may_write().is_ok());
    }

    #[test]
    fn small_steps_are_followed() {
        let hand = Hand::at(T);
        let clock = clock(&hand, Hlc(0));
        hand.set(T + 400);
        assert_eq!(clock.now_ms(), T + 400);
        hand.set(T + 100);
        assert_eq!(clock.now_ms(), T + 100);
    }

    #[test]
    fn a_node_alone_follows_a_forward_jump_after_a_restart() {
        let hand = Hand::at(T);
        let first = clock(&hand, Hlc(0));
        hand.set(T + 9_000_000);
        assert_eq!(first.now_ms(), T);
        let second = clock(&hand, first.tick());
        assert_eq!(second.now_ms(), T + 9_000_000);
        assert!(second.may_write().is_ok());
    }

    #[test]
    fn a_wall_clock_set_back_over_a_restart_does_not_stop_time() {
        let hand = Hand::at(T);
        let high = Hlc::from_ms(T);
        hand.set(T - 60_000);
        let clock = clock(&hand, high);
        assert!(clock.now_ms() >= T);
        hand.pass(50);
        assert_eq!(clock.now_ms(), T + 50);
        // Peers agree with the wall: time goes back, stamps do not, and nothing is written until time has caught up.
        clock.set_peer_offset(Some(-60_050));
        assert_eq!(clock.now_ms(), T - 59_950);
        assert!(clock.tick() > high);
        assert!(clock.may_write().is_err());
        hand.pass(59_600);
        assert!(clock.may_write().is_ok());
    }

    #[test]
    fn stamps_stay_within_half_the_bound_of_the_peers() {
        let hand = Hand::at(T);
        let clock = clock(&hand, Hlc(0));
        clock.set_peer_offset(Some(400));
        assert_eq!(clock.now_ms(), T + 150);
        // Measured again, against what is now shown: the same error, the same answer.
        clock.set_peer_offset(Some(250));
        assert_eq!(clock.now_ms(), T + 150);
        assert!(clock.may_write().is_ok());
        clock.set_peer_offset(Some(-800));
        assert!(clock.may_write().is_err());
        clock.set_peer_offset(None);
        assert!(clock.may_write().is_ok());
    }

    #[test]
    fn a_remote_stamp_too_far_ahead_does_not_move_the_clock() {
        let hand = Hand::at(T);
        let clock = clock(&hand, Hlc(0));
        assert_eq!(clock.observe(Hlc::from_ms(T + 2_000)), Observed::TooEarly { wait_ms: 1_500 });
        assert_eq!(clock.tick(), Hlc::from_ms(T));
        assert_eq!(clock.observe(Hlc::from_ms(T + 500)), Observed::Followed);
        assert!(clock.tick() > Hlc::from_ms(T + 500));
    }

    #[test]
    fn many_threads_never_get_the_same_stamp() {
        let clock = Arc::new(clock(&Hand::at(T), Hlc(0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let clock = clock.clone();
                std::thread::spawn(move || (0..1_000).map(|_| clock.tick()).collect::<Vec<_>>())
            })
            .collect();
        let mut all: Vec<Hlc> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4_000);
    }
}
