//! What the deciding code asks of this node.
//!
//! Promises: versions are those of the tables at this moment (what is decided and not applied yet, the deciding code remembers by
//! itself); a key whose version cannot be read gets one that nothing is based on, so the vote is no. Must not know: messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use starling_apply::Engine;
use starling_apply::claim::ClaimKey;
use starling_apply::engine::votes::Votes;
use starling_log::{Body, Hlc, Log, Origin, Place, Stamp, VersionVector};

use super::{Bars, Guard, Wound};
use crate::cluster::quorum::message::Prepare;
use crate::cluster::quorum::{Claim, Mode, Outcome, Version, Voter, World};

pub(super) struct NodeWorld {
    pub log: Arc<Log>,
    pub engine: Arc<Engine>,
    pub votes: Votes,
    /// This node's sequence at `ONE`.
    pub one: Origin,
    pub began: Instant,
    pub wound: Option<Wound>,
    pub bars: Option<Arc<dyn Bars>>,
    /// This node's quorum sequence.
    pub me: Voter,
    /// Locks held here for transactions of other nodes.
    pub guards: BTreeMap<Place, Guard>,
}

/// No transaction is based on it.
fn unreadable() -> Version {
    Version {
        stamp: Stamp {
            hlc: Hlc(u64::MAX),
            origin: 0,
        },
        ..Version::default()
    }
}

impl World for NodeWorld {
    fn now_ms(&self) -> u64 {
        self.log.clock().now_ms()
    }
    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
    fn tick(&mut self) -> Hlc {
        self.log.clock().tick()
    }
    fn high_water(&self) -> Hlc {
        self.log.high_water()
    }

    fn newest(&mut self, claims: &[Claim], out: &mut Vec<Version>) {
        let mut keys = Vec::with_capacity(claims.len());
        let mut known = Vec::with_capacity(claims.len());
        for claim in claims {
            let key = ClaimKey::decode(&claim.at);
            known.push(key.is_some());
            if let Some(key) = key {
                keys.push((key, mode(claim.mode)));
            }
        }
        let found = self.votes.versions(&keys).unwrap_or_else(|error| {
            tracing::error!(%error, "versions of rows cannot be read: voting no");
            Vec::new()
        });
        let mut found = found.into_iter();
        for known in known {
            let version = if known {
                found.next().map_or_else(unreadable, |v| Version {
                    stamp: v.stamp,
                    place: v.place,
                })
            } else {
                Version::default()
            };
            out.push(version);
        }
    }

    fn unseen(&mut self, claim: &Claim, causes: &VersionVector) -> Option<Version> {
        let table = ClaimKey::decode(&claim.at).and_then(|key| key.table());
        // What cannot be told is not seen.
        let Some(table) = table else { return Some(unreadable()) };
        self.engine.unseen(table, causes).map(|v| Version {
            stamp: v.stamp,
            place: v.place,
        })
    }

    // Row history is kept whole until snapshots allow dropping it.
    fn dropped(&self) -> Stamp {
        Stamp::default()
    }
    fn oldest_snapshot(&self) -> Stamp {
        Stamp::default()
    }

    fn keep_above(&mut self, floor: Hlc) {
        // It trails the clock, so it is never too early.
        let _ = self.log.clock().observe(floor);
    }

    fn lowest_unapplied(&self) -> Option<Stamp> {
        // First those on their way: they leave it only when the log shows them.
        let on_the_way = self.log.on_the_way().map(|hlc| Stamp { hlc, origin: 0 });
        let next = self.engine.applied().get(self.one) + 1;
        let shown = self
            .log
            .read(self.one, next, 1)
            .ok()
            .and_then(|found| found.first().map(|e| e.stamp));
        on_the_way.into_iter().chain(shown).min()
    }

    fn outcome(&self, place: Place) -> Option<Outcome> {
        let found = self.log.read(place.origin, place.seq, 1).ok()?;
        let entry = found.first().filter(|e| e.place == place)?;
        Some(match entry.body {
            Body::Void => Outcome::Void,
            _ => Outcome::Commit,
        })
    }

    fn wound(&mut self, prepare: &Prepare) -> Result<(), u128> {
        if let Some(bars) = &self.bars
            && let Some(key) = bars.barred(&mut prepare.claims.iter().map(|c| (c.key, mode(c.mode))))
        {
            return Err(key);
        }
        // One's own transactions hold their locks themselves.
        if prepare.place.origin == self.me {
            return Ok(());
        }
        let Some(wound) = &self.wound else { return Ok(()) };
        let keys: Vec<_> = prepare
            .claims
            .iter()
            .filter_map(|c| Some((ClaimKey::decode(&c.at)?, mode(c.mode))))
            .collect();
        if let Some(guard) = wound(&keys, prepare.age) {
            self.guards.insert(prepare.place, guard);
        }
        Ok(())
    }
}

impl NodeWorld {
    /// Before what is applied is told: what it keeps for XA transactions.
    pub fn take_in(&self) {
        if let Some(bars) = &self.bars {
            bars.refresh();
        }
    }
    pub fn settle(&self) {
        if let Some(bars) = &self.bars {
            bars.settle();
        }
    }
    /// Locks of what is applied (or void) by now are given back.
    pub fn let_go(&mut self, applied: &VersionVector) {
        self.guards.retain(|place, _| !applied.contains(*place));
    }
}

fn mode(mode: Mode) -> starling_apply::claim::Mode {
    use starling_apply::claim::Mode as Local;
    match mode {
        Mode::IntentShared => Local::IntentShared,
        Mode::IntentExclusive => Local::IntentExclusive,
        Mode::Shared | Mode::Reference | Mode::Seen => Local::Shared,
        Mode::Exclusive => Local::Exclusive,
    }
}
