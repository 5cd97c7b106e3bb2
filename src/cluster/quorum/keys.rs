//! Which keys prepared transactions hold, and which versions decided ones have made that no table shows yet.
//!
//! Promises: two prepared transactions never hold a key in modes that exclude each other, unless a decision came from elsewhere; a
//! decided transaction's versions are known from its decision until its entry is applied (PROTOCOL 6, 10). Must not know: ballots.

use std::collections::HashMap;

use smallvec::SmallVec;
use starling_log::{Place, Stamp, VersionVector};

use super::ids::Version;
use super::message::{Claim, Mode, Prepare};

#[derive(Clone, Copy, Debug)]
struct Holder {
    place: Place,
    stamp: Stamp,
    mode: Mode,
    decided: bool,
}

#[derive(Debug, Default)]
pub(super) struct Keys {
    map: HashMap<u128, SmallVec<[Holder; 1]>>,
}

impl Keys {
    /// `decided`: committed; else prepared.
    pub fn add(&mut self, prepare: &Prepare, decided: bool) {
        for claim in &prepare.claims {
            let holders = self.map.entry(claim.key).or_default();
            let known = holders.iter_mut().find(|h| h.place == prepare.place && h.mode == claim.mode);
            match known {
                Some(holder) => holder.decided |= decided,
                None => holders.push(Holder {
                    place: prepare.place,
                    stamp: prepare.stamp,
                    mode: claim.mode,
                    decided,
                }),
            }
        }
    }

    pub fn remove(&mut self, prepare: &Prepare) {
        for claim in &prepare.claims {
            if let Some(holders) = self.map.get_mut(&claim.key) {
                holders.retain(|h| h.place != prepare.place);
                if holders.is_empty() {
                    self.map.remove(&claim.key);
                }
            }
        }
    }

    /// Another prepared transaction that excludes this one.
    pub fn conflict(&self, prepare: &Prepare) -> Option<(u128, Place)> {
        prepare.claims.iter().find_map(|claim| {
            let holders = self.map.get(&claim.key)?;
            let other = holders
                .iter()
                .find(|h| !h.decided && h.place != prepare.place && !h.mode.is_compatible(claim.mode))?;
            Some((claim.key, other.place))
        })
    }

    /// The newest version that decided transactions made of a claim's key, not applied yet.
    pub fn newest(&self, claim: &Claim) -> Version {
        let holders = self.map.get(&claim.key).into_iter().flatten();
        let counts = |h: &&Holder| h.decided && (h.mode.writes() || (h.mode == Mode::Reference && claim.mode == Mode::Exclusive));
        let versions = holders.filter(counts).map(|h| Version {
            stamp: h.stamp,
            place: h.place,
        });
        versions.max().unwrap_or_default()
    }

    /// A decided change of the key that is not within `causes`, not applied yet.
    pub fn unseen(&self, claim: &Claim, causes: &VersionVector) -> Option<Version> {
        let mut holders = self.map.get(&claim.key).into_iter().flatten();
        let other = holders.find(|h| h.decided && h.mode.writes() && !causes.contains(h.place))?;
        Some(Version {
            stamp: other.stamp,
            place: other.place,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}
