//! The claims of an open transaction: each key once for each mode, with the version it was first based on.
//!
//! Promises: what a later statement finds changed does not hide that an earlier one was based on something older. Must not know: locks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use starling_apply::claim::{Claim, ClaimKey, Mode, Version};

#[derive(Debug, Default)]
pub struct Claims {
    all: HashMap<(ClaimKey, Mode), Version>,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    pub fn add(&mut self, claims: Vec<Claim>) {
        for claim in claims {
            if let Entry::Vacant(slot) = self.all.entry((claim.key, claim.mode)) {
                slot.insert(claim.base);
            }
        }
    }
    /// In the order of their keys.
    pub fn into_vec(self) -> Vec<Claim> {
        let mut out: Vec<Claim> = self.all.into_iter().map(|((key, mode), base)| Claim { key, mode, base }).collect();
        out.sort_by(|a, b| (&a.key, a.mode).cmp(&(&b.key, b.mode)));
        out
    }
}

#[cfg(test)]
mod tests {
    use starling_log::Place;

    use super::*;

    #[test]
    fn the_first_base_stays() {
        let claim = |seq: u64| Claim {
            key: ClaimKey::Table { table: 1 },
            mode: Mode::Exclusive,
            base: Version {
                place: Place { origin: 1, seq },
                ..Version::default()
            },
        };
        let mut claims = Claims::default();
        claims.add(vec![claim(5)]);
        claims.add(vec![claim(9)]);
        assert_eq!(claims.into_vec(), [claim(5)]);
    }
}
