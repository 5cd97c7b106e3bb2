//! Clock offsets between nodes (PROTOCOL 19): four times of a heartbeat and its echo, and what a quorum says.
//!
//! Promises: pure. Offsets are positive when the peer is ahead. A single wrong clock among three moves nobody else.
//! Must not know: streams.

use std::collections::VecDeque;

/// Round trips kept per peer: the shortest of them is believed.
const SAMPLES: usize = 8;

/// A heartbeat of ours that a peer echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Echo {
    /// Our clock when we sent it.
    pub sent_ms: u64,
    /// The peer's clock when it came.
    pub received_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    offset_ms: i64,
    round_trip_ms: i64,
}

/// What is known of one peer's clock.
#[derive(Clone, Debug, Default)]
pub struct Offset {
    samples: VecDeque<Sample>,
}

impl Offset {
    /// `peer_sent_ms`: the peer's clock when it sent the heartbeat with this echo; `now_ms`: ours when it came.
    pub fn note(&mut self, echo: Echo, peer_sent_ms: u64, now_ms: u64) {
        let (t1, t2, t3, t4) = (signed(echo.sent_ms), signed(echo.received_ms), signed(peer_sent_ms), signed(now_ms));
        let round_trip_ms = (t4 - t1) - (t3 - t2);
        // A clock was set in between: not a measurement.
        if round_trip_ms < 0 {
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            offset_ms: ((t2 - t1) + (t3 - t4)) / 2,
            round_trip_ms,
        });
    }

    /// The offset of the shortest of the last round trips (a slow one is lopsided).
    pub fn offset_ms(&self) -> Option<i64> {
        self.samples.iter().min_by_key(|s| s.round_trip_ms).map(|s| s.offset_ms)
    }

    pub fn forget(&mut self) {
        self.samples.clear();
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// The offset within which a quorum of those measured is, oneself (offset 0) counted: the n/2+1-nearest. `None`: nobody was measured.
pub fn quorum_offset(peers: &[i64]) -> Option<i64> {
    if peers.is_empty() {
        return None;
    }
    let mut all: Vec<i64> = peers.to_vec();
    all.push(0);
    all.sort_by_key(|offset| offset.unsigned_abs());
    all.get(all.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_free_of_the_way() {
        let mut offset = Offset::default();
        // Peer 1000 ms ahead, 3 ms each way, 200 ms held at the peer.
        offset.note(
            Echo {
                sent_ms: 10_000,
                received_ms: 11_003,
            },
            11_203,
            10_206,
        );
        assert_eq!(offset.offset_ms(), Some(1000));
        // A lopsided slow round trip does not replace it.
        offset.note(
            Echo {
                sent_ms: 20_000,
                received_ms: 21_900,
            },
            21_900,
            20_900,
        );
        assert_eq!(offset.offset_ms(), Some(1000));
    }

    #[test]
    fn impossible_round_trips_are_left_out() {
        let mut offset = Offset::default();
        offset.note(
            Echo {
                sent_ms: 500,
                received_ms: 100,
            },
            400,
            600,
        );
        assert_eq!(offset.offset_ms(), None);
    }

    #[test]
    fn one_wrong_clock_among_three_moves_nobody_else() {
        assert_eq!(quorum_offset(&[]), None);
        assert_eq!(quorum_offset(&[1, 10_000]), Some(1));
        assert_eq!(quorum_offset(&[-10_000, -9_999]), Some(-9_999));
        // Of two, neither is a quorum: both see the difference.
        assert_eq!(quorum_offset(&[10_000]), Some(10_000));
        assert_eq!(quorum_offset(&[0, 0, 10_000]), Some(0));
    }
}
