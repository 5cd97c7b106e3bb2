//! Places, version vectors and cursors: how far somebody got.
//!
//! Promises: a vector maps each origin to the highest dense sequence number; `covers` and `merge` are the order and join
//! of a lattice. A cursor is opaque text that any node understands.

use std::collections::BTreeMap;

/// One incarnation of one sequence of one node's log.
pub type Origin = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub origin: Origin,
    /// 1, 2, 3 …
    pub seq: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VersionVector(pub BTreeMap<Origin, u64>);

impl VersionVector {
    pub fn new() -> Self {
        Self::default()
    }
    /// 0 for an origin not in it.
    pub fn get(&self, origin: Origin) -> u64 {
        self.0.get(&origin).copied().unwrap_or(0)
    }
    /// Raises `origin` to `seq`; never lowers.
    pub fn advance(&mut self, origin: Origin, seq: u64) {
        let slot = self.0.entry(origin).or_insert(0);
        *slot = (*slot).max(seq);
    }
    pub fn contains(&self, place: Place) -> bool {
        self.get(place.origin) >= place.seq
    }
    /// Is everything in `other` also in `self`?
    pub fn covers(&self, other: &VersionVector) -> bool {
        other.0.iter().all(|(o, s)| self.get(*o) >= *s)
    }
    /// The join (maximum by origin).
    pub fn merge(&mut self, other: &VersionVector) {
        for (o, s) in &other.0 {
            self.advance(*o, *s);
        }
    }
    pub fn iter(&self) -> impl Iterator<Item = (Origin, u64)> + '_ {
        self.0.iter().map(|(o, s)| (*o, *s))
    }
}

/// A position in a change feed: everything in `vector`, plus the first `index` changes of the entry at `partial`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub vector: VersionVector,
    /// The entry just behind `vector` for its origin, and how many of its changes were emitted.
    pub partial: Option<(Place, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: {0}")]
pub struct BadCursor(pub String);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = f;
        todo!("log helper: url-safe, versioned, compact")
    }
}

impl std::str::FromStr for Cursor {
    type Err = BadCursor;
    fn from_str(s: &str) -> Result<Cursor, BadCursor> {
        let _ = s;
        todo!("log helper")
    }
}
