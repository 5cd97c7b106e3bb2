//! Keys kept for a transaction that everybody else is in the way of: a schema change among row changes that never end.
//!
//! Promises: what is reserved is refused to others (but for an older one that asks for patience too) until its owner commits or its
//! patience ends; then it is the others' turn for a while, so neither side starves. In memory only, and no decision ever rests on it.
//! Must not know: votes, ballots.

use starling_log::{Origin, Place, Stamp};

use super::message::{Mode, Prepare};

/// Reservations at once; beyond them nobody gets another one.
const MOST: usize = 256;
/// After a commit nothing is kept for the next one for so long: everybody else had to wait.
const TURN_MS: u64 = 100;

#[derive(Debug)]
struct Reservation {
    /// Its coordinator, and its age, which stays the same over all attempts.
    owner: (Origin, Stamp),
    /// Of its last attempt.
    place: Place,
    keys: Vec<(u128, Mode)>,
    until_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Reserved {
    list: Vec<Reservation>,
    /// Keys that are the others' turn, until when.
    turns: Vec<(u128, u64)>,
}

fn owner(prepare: &Prepare) -> (Origin, Stamp) {
    (prepare.place.origin, prepare.age)
}

impl Reservation {
    fn conflict(&self, prepare: &Prepare) -> Option<u128> {
        let claims = prepare.claims.iter();
        let mut met = claims.filter(|c| self.keys.iter().any(|(key, mode)| *key == c.key && !mode.is_compatible(c.mode)));
        met.next().map(|c| c.key)
    }
    /// An older one that is patient too goes first.
    fn gives_way(&self, prepare: &Prepare) -> bool {
        prepare.patience_ms > 0 && (prepare.age, prepare.place.origin) < (self.owner.1, self.owner.0)
    }
}

impl Reserved {
    /// A key of this prepare that is kept for another one, and that one's last place.
    pub fn in_the_way(&mut self, prepare: &Prepare, now_ms: u64) -> Option<(u128, Place)> {
        if self.list.is_empty() {
            return None;
        }
        self.list.retain(|r| r.until_ms > now_ms);
        let mut others = self.list.iter().filter(|r| r.owner != owner(prepare) && !r.gives_way(prepare));
        others.find_map(|r| r.conflict(prepare).map(|key| (key, r.place)))
    }

    /// From now on it is waited for, as long as its patience lasts.
    pub fn keep(&mut self, prepare: &Prepare, now_ms: u64) {
        if prepare.patience_ms == 0 || self.in_the_way(prepare, now_ms).is_some() {
            return;
        }
        self.turns.retain(|(_, until)| *until > now_ms);
        if prepare.claims.iter().any(|c| self.turns.iter().any(|(key, _)| *key == c.key)) {
            return;
        }
        // Younger ones in its way ask again.
        self.list.retain(|r| r.owner != owner(prepare) && r.conflict(prepare).is_none());
        if self.list.len() < MOST {
            self.list.push(Reservation {
                owner: owner(prepare),
                place: prepare.place,
                keys: prepare.claims.iter().map(|c| (c.key, c.mode)).collect(),
                until_ms: now_ms + u64::from(prepare.patience_ms),
            });
        }
    }

    /// It is committed.
    pub fn end(&mut self, prepare: &Prepare, now_ms: u64) {
        if prepare.patience_ms == 0 {
            return;
        }
        let until = now_ms + TURN_MS;
        for ended in self.list.extract_if(.., |r| r.owner == owner(prepare)) {
            self.turns.extend(ended.keys.iter().map(|(key, _)| (*key, until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use starling_log::{Hlc, VersionVector};

    use super::super::ids::Version;
    use super::super::message::{Claim, Kind, Level};
    use super::*;

    fn prepare(origin: Origin, age: u64, mode: Mode, patience_ms: u32) -> Prepare {
        let stamp = |hlc| Stamp { hlc: Hlc(hlc), origin: 0 };
        Prepare {
            place: Place { origin, seq: 1 },
            start: 1,
            epoch: 1,
            stamp: stamp(9),
            stable: stamp(0),
            age: stamp(age),
            level: Level::Quorum,
            open: Vec::new(),
            causes: VersionVector::new(),
            claims: vec![Claim {
                key: 7,
                mode,
                base: Version::default(),
                at: Bytes::new(),
            }],
            kind: Kind::Data,
            body: Bytes::new(),
            patience_ms,
        }
    }

    #[test]
    fn others_wait_until_the_patience_ends_or_the_owner_commits() {
        let mut reserved = Reserved::default();
        let (change, row) = (prepare(2, 5, Mode::Exclusive, 100), prepare(4, 1, Mode::Shared, 0));
        reserved.keep(&row, 0);
        assert!(reserved.in_the_way(&change, 0).is_none(), "nothing is kept for who has no patience");
        reserved.keep(&change, 0);
        assert!(reserved.in_the_way(&change, 50).is_none(), "it is its own");
        assert_eq!(reserved.in_the_way(&row, 50), Some((7, change.place)), "however old");
        assert!(reserved.in_the_way(&row, 100).is_none());
        reserved.keep(&change, 200);
        reserved.end(&change, 200);
        assert!(reserved.in_the_way(&row, 200).is_none());
        // The next one waits its turn.
        let next = prepare(6, 7, Mode::Exclusive, 100);
        reserved.keep(&next, 200 + TURN_MS - 1);
        assert!(reserved.in_the_way(&row, 200 + TURN_MS - 1).is_none());
        reserved.keep(&next, 200 + TURN_MS);
        assert!(reserved.in_the_way(&row, 200 + TURN_MS).is_some());
    }

    #[test]
    fn of_two_the_older_goes_first_wherever_they_meet() {
        let (older, younger) = (prepare(4, 5, Mode::Exclusive, 100), prepare(2, 6, Mode::Exclusive, 100));
        for order in [[&older, &younger], [&younger, &older]] {
            let mut reserved = Reserved::default();
            order.iter().for_each(|p| reserved.keep(p, 0));
            assert!(reserved.in_the_way(&older, 1).is_none());
            assert_eq!(reserved.in_the_way(&younger, 1), Some((7, older.place)));
        }
    }
}
