//! Modes of locks, as sets: one holder may hold a key in several.
//!
//! Promises: two sets conflict exactly if two of their modes do. Must not know: keys, holders.

use starling_apply::claim::Mode;

const ALL: [Mode; 4] = [Mode::IntentShared, Mode::IntentExclusive, Mode::Shared, Mode::Exclusive];

/// A set of modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Modes(u8);

impl Modes {
    pub const NONE: Modes = Modes(0);

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    fn has(self, mode: Mode) -> bool {
        self.0 & bit(mode) != 0
    }
    pub fn union(self, other: Modes) -> Modes {
        Modes(self.0 | other.0)
    }
    pub fn conflicts(self, other: Modes) -> bool {
        !self.is_empty() && (blockers(self).0 & other.0) != 0
    }
    /// Does holding this give all that `other` asks for?
    pub fn covers(self, other: Modes) -> bool {
        let stronger = |m: &Mode| match m {
            Mode::IntentShared => !self.is_empty(),
            Mode::IntentExclusive => self.has(Mode::IntentExclusive) || self.has(Mode::Exclusive),
            Mode::Shared => self.has(Mode::Shared) || self.has(Mode::Exclusive),
            Mode::Exclusive => self.has(Mode::Exclusive),
        };
        ALL.iter().filter(|m| other.has(**m)).all(stronger)
    }
    pub fn is_exclusive(self) -> bool {
        self.has(Mode::Exclusive)
    }
    /// As `performance_schema.data_locks` writes it.
    pub fn text(self) -> &'static str {
        match (self.has(Mode::Exclusive), self.has(Mode::Shared), self.has(Mode::IntentExclusive)) {
            (true, _, _) => "X",
            (_, true, true) => "S,IX",
            (_, true, false) => "S",
            (_, false, true) => "IX",
            _ => "IS",
        }
    }
}

impl From<Mode> for Modes {
    fn from(mode: Mode) -> Modes {
        Modes(bit(mode))
    }
}

fn bit(mode: Mode) -> u8 {
    match mode {
        Mode::IntentShared => 1,
        Mode::IntentExclusive => 2,
        Mode::Shared => 4,
        Mode::Exclusive => 8,
    }
}

/// All modes that any mode of `held` keeps out.
fn blockers(held: Modes) -> Modes {
    const X: u8 = 8;
    const S: u8 = 4;
    const IX: u8 = 2;
    let mut out = X;
    if held.0 & S != 0 {
        out |= IX;
    }
    if held.0 & IX != 0 {
        out |= S;
    }
    if held.0 & X != 0 {
        out = 15;
    }
    Modes(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_conflict_as_their_modes_do() {
        for a in 1..16 {
            for b in 1..16 {
                let (a, b) = (Modes(a), Modes(b));
                let pair = ALL
                    .iter()
                    .any(|x| a.has(*x) && ALL.iter().any(|y| b.has(*y) && !x.is_compatible(*y)));
                assert_eq!(a.conflicts(b), pair, "{a:?} {b:?}");
                assert_eq!(a.conflicts(b), b.conflicts(a));
                // What is covered keeps nobody out that is not out already.
                if a.covers(b) {
                    assert!((1..16).map(Modes).all(|c| !b.conflicts(c) || a.conflicts(c)), "{a:?} {b:?}");
                }
            }
            assert!(!Modes(a).conflicts(Modes::NONE));
        }
    }
}
