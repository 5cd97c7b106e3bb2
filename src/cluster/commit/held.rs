//! Proposals that cannot be made yet: this node has just started, or changes epochs.
//!
//! Promises: what passes soon is waited for, so that clients hear nothing of it; who has no quorum is told at once; nobody waits for
//! longer than a while. Must not know: why a node is not ready.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::quorum::Proposal;
use crate::cluster::quorum::node::Ticket;

/// A node that has just started is given this long to find its peers.
pub const START_GRACE: Duration = Duration::from_secs(2);
/// A node that reaches a quorum is given this long to be ready.
const READY_WAIT: Duration = Duration::from_secs(5);

/// Refusals for reasons that pass, of one proposal, before the proposer hears of it.
const AGAIN_MAX: u32 = 16;

#[derive(Default)]
pub(super) struct Held {
    waiting: VecDeque<(Instant, Ticket, Box<Proposal>)>,
    /// Proposals that were refused before, and how often.
    again: HashMap<Ticket, u32>,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn push(&mut self, ticket: Ticket, proposal: Box<Proposal>) {
        self.waiting.push_back((Instant::now(), ticket, proposal));
    }

    /// It was refused for a reason that passes; `false`: too often.
    pub fn again(&mut self, ticket: Ticket, proposal: Box<Proposal>) -> bool {
        let times = self.again.entry(ticket).or_default();
        *times += 1;
        let room = *times <= AGAIN_MAX;
        if room {
            self.push(ticket, proposal);
        }
        room
    }

    /// It has its answer.
    pub fn forget(&mut self, ticket: Ticket) {
        if !self.again.is_empty() {
            self.again.remove(&ticket);
        }
    }

    /// All of them, in their order.
    pub fn take(&mut self) -> impl Iterator<Item = (Ticket, Box<Proposal>)> + use<> {
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|(_, ticket, proposal)| (ticket, proposal))
    }

    /// Those that have waited for too long. `reached`: a quorum answers, or still may.
    pub fn expired(&mut self, reached: bool) -> Vec<Ticket> {
        let expired = |since: &Instant| !reached || since.elapsed() > READY_WAIT;
        let until = self
            .waiting
            .iter()
            .position(|(since, ..)| !expired(since))
            .unwrap_or(self.waiting.len());
        self.waiting.drain(..until).map(|(_, ticket, _)| ticket).collect()
    }
}

#[cfg(test)]
mod tests {
    use starling_log::{Stamp, VersionVector};

    use super::*;
    use crate::cluster::quorum::{Kind, Level};

    #[test]
    fn without_a_quorum_nobody_waits() {
        let mut held = Held::default();
        for ticket in 1..=2 {
            let proposal = Proposal {
                kind: Kind::Data,
                body: bytes::Bytes::new(),
                claims: Vec::new(),
                causes: VersionVector::new(),
                stable: Stamp::default(),
                age: Stamp::default(),
                level: Level::Quorum,
                patience_ms: 0,
            };
            held.push(ticket, Box::new(proposal));
        }
        assert!(held.expired(true).is_empty());
        assert_eq!(held.expired(false), vec![1, 2]);
        assert!(held.is_empty());
    }
}
