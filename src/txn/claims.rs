//! The claims of an open transaction: each key once for each mode, with the version it was first based on.
//!
//! Promises: what a later statement finds changed does not hide that an earlier one was based on something older. Must not know: locks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use starling_apply::claim::{Claim, ClaimKey, Mode, Version};

/// Rows of one table that a transaction claims one by one.
pub const ROWS_MAX: usize = super::locks::ROWS_MAX;

#[derive(Debug, Default)]
pub struct Claims {
    all: HashMap<(ClaimKey, Mode), Version>,
    /// Rows and unique values of each table.
    counts: HashMap<u64, usize>,
    /// Tables that are claimed as a whole.
    whole: Vec<u64>,
    /// Some of the versions are not known.
    unversioned: bool,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    /// What is added next is claimed without versions: nobody asked for them.
    pub fn forget_versions(&mut self) {
        self.unversioned = true;
    }
    /// `false`: it is not known what all of it is based on, so nobody can decide on it between nodes.
    pub fn are_versioned(&self) -> bool {
        !self.unversioned
    }
    /// `false`: somebody changed a row between two statements that claim it; the transaction is based on both versions.
    pub fn add(&mut self, claims: Vec<Claim>) -> bool {
        let mut agree = true;
        let compare = !self.unversioned;
        for claim in claims {
            let table = single(&claim.key);
            if table.is_some_and(|t| self.whole.contains(&t)) {
                continue;
            }
            let is_row = matches!(claim.key, ClaimKey::Row { .. });
            match self.all.entry((claim.key, claim.mode)) {
                Entry::Vacant(slot) => {
                    slot.insert(claim.base);
                    if let Some(table) = table {
                        *self.counts.entry(table).or_insert(0) += 1;
                    }
                }
                Entry::Occupied(slot) => agree &= !compare || !is_row || claim.mode != Mode::Exclusive || *slot.get() == claim.base,
            }
        }
        agree
    }
    /// A table of which it claims too many rows.
    pub fn too_many(&self) -> Option<u64> {
        self.counts.iter().find(|(_, n)| **n > ROWS_MAX).map(|(t, _)| *t)
    }
    /// All single claims on a table.
    pub fn of_table(&self, table: u64) -> Vec<Claim> {
        let own = self.all.iter().filter(|((key, _), _)| single(key) == Some(table));
        own.map(|((key, mode), base)| Claim {
            key: key.clone(),
            mode: *mode,
            base: *base,
        })
        .collect()
    }
    /// One claim on the whole table in place of all of them, which are known to be based on nothing newer.
    pub fn make_whole(&mut self, table: u64, claim: Claim) {
        self.all.retain(|(key, _), _| single(key) != Some(table));
        self.counts.remove(&table);
        self.whole.push(table);
        self.add(vec![claim]);
    }
    /// In the order of their keys.
    pub fn into_vec(self) -> Vec<Claim> {
        let mut out: Vec<Claim> = self.all.into_iter().map(|((key, mode), base)| Claim { key, mode, base }).collect();
        out.sort_by(|a, b| (&a.key, a.mode).cmp(&(&b.key, b.mode)));
        out
    }
}

fn single(key: &ClaimKey) -> Option<u64> {
    match key {
        ClaimKey::Row { table, .. } | ClaimKey::Unique { table, .. } => Some(*table),
        ClaimKey::Schema { .. }
        | ClaimKey::Table { .. }
        | ClaimKey::Counter { .. }
        | ClaimKey::Database { .. }
        | ClaimKey::Control { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn where_nobody_asked_for_versions_none_are_compared() {
        let mut claims = Claims::default();
        let row = |seq: u64| Claim {
            key: ClaimKey::Table { table: 1 },
            mode: Mode::Exclusive,
            base: Version {
                place: Place { origin: 1, seq },
                ..Version::default()
            },
        };
        assert!(claims.are_versioned());
        claims.forget_versions();
        assert!(claims.add(vec![row(0)]) && claims.add(vec![row(7)]));
        assert!(!claims.are_versioned(), "nor can anybody decide on them between nodes");
    }

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
