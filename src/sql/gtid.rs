//! Positions as MySQL writes them: one UUID for each origin, sets like `uuid:1-5:7`.
//!
//! Promises: every node gives an origin the same UUID (it is made from the cluster's identity and the origin's number); text comes back as
//! MySQL normalizes it; what MySQL calls malformed is 1772. Must not know: sessions, who waits.

use std::collections::BTreeMap;

use starling_log::{Origin, Place, VersionVector};
use uuid::Uuid;

use super::error::{Result, SqlError};
use crate::cluster::members::Id;

/// Intervals `(first, last)`, ascending, apart from each other.
type Intervals = Vec<(u64, u64)>;

/// GTIDs: numbers of UUIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet(BTreeMap<Uuid, Intervals>);

/// The UUID under which an origin's entries are known.
pub fn uuid_of(cluster: Id, origin: Origin) -> Uuid {
    let mut bytes = [0; 25];
    bytes[..7].copy_from_slice(b"gtid of");
    bytes[7..23].copy_from_slice(&cluster.0.to_be_bytes());
    bytes[23..].copy_from_slice(&origin.to_be_bytes());
    let mut hash = xxhash_rust::xxh3::xxh3_128(&bytes);
    // Version 8 (made by a rule of one's own), variant of the standard.
    hash = (hash & !(0xf << 76)) | (0x8 << 76);
    hash = (hash & !(0x3 << 62)) | (0x2 << 62);
    Uuid::from_u128(hash)
}

impl GtidSet {
    /// All that a vector covers.
    pub fn of(cluster: Id, vector: &VersionVector) -> GtidSet {
        let covered = vector.iter().filter(|(_, seq)| *seq > 0);
        GtidSet(covered.map(|(origin, seq)| (uuid_of(cluster, origin), vec![(1, seq)])).collect())
    }

    /// These alone.
    pub fn of_places(cluster: Id, places: &[Place]) -> GtidSet {
        let mut set = GtidSet::default();
        for place in places {
            set.0
                .entry(uuid_of(cluster, place.origin))
                .or_default()
                .push((place.seq, place.seq));
        }
        set.0.values_mut().for_each(join);
        set
    }

    pub fn parse(text: &str) -> Result<GtidSet> {
        let malformed = || {
            let shown: String = text.chars().take(200).collect();
            SqlError::new(1772, format!("Malformed GTID set specification '{shown}'."))
        };
        let mut set = GtidSet::default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, rest) = part.split_once(':').ok_or_else(malformed)?;
            let uuid = Uuid::try_parse(name.trim()).map_err(|_| malformed())?;
            for interval in rest.split(':') {
                let (first, last) = interval_of(interval).ok_or_else(malformed)?;
                // MySQL takes an interval that runs backwards for an empty one.
                if first <= last {
                    set.0.entry(uuid).or_default().push((first, last));
                }
            }
        }
        for intervals in set.0.values_mut() {
            join(intervals);
        }
        Ok(set)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn is_subset(&self, of: &GtidSet) -> bool {
        self.0.iter().all(|(uuid, own)| {
            let other = of.0.get(uuid).map(Vec::as_slice).unwrap_or_default();
            own.iter().all(|(first, last)| other.iter().any(|(f, l)| f <= first && last <= l))
        })
    }
    /// What is in this one and not in `other`.
    pub fn without(&self, other: &GtidSet) -> GtidSet {
        let mut left = BTreeMap::new();
        for (uuid, own) in &self.0 {
            let mut rest = own.clone();
            for taken in other.0.get(uuid).into_iter().flatten() {
                rest = rest.into_iter().flat_map(|interval| cut(interval, *taken)).collect();
            }
            if !rest.is_empty() {
                left.insert(*uuid, rest);
            }
        }
        GtidSet(left)
    }
}

impl std::fmt::Display for GtidSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (uuid, intervals)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",\n")?;
            }
            write!(f, "{uuid}")?;
            for (first, last) in intervals {
                match first == last {
                    true => write!(f, ":{first}")?,
                    false => write!(f, ":{first}-{last}")?,
                }
            }
        }
        Ok(())
    }
}

fn interval_of(text: &str) -> Option<(u64, u64)> {
    let number = |text: &str| {
        let digits = text.trim();
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // MySQL's numbers are signed.
        plain
            .then(|| digits.parse::<i64>().ok())
            .flatten()
            .and_then(|v| u64::try_from(v).ok())
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    (first > 0).then_some((first, last))
}

/// Sorts, and makes one of those that touch.
fn join(intervals: &mut Intervals) {
    intervals.sort_unstable();
    let mut joined: Intervals = Vec::with_capacity(intervals.len());
    for (first, last) in intervals.drain(..) {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    *intervals = joined;
}

/// What is left of `(first, last)`.
fn cut((first, last): (u64, u64), (from, to): (u64, u64)) -> impl Iterator<Item = (u64, u64)> {
    let below = (first < from).then(|| (first, last.min(from - 1)));
    let above = (last > to).then(|| (first.max(to + 1), last));
    below.into_iter().chain(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn sets_are_written_as_mysql_writes_them() {
        for (text, normal) in [
            (String::new(), String::new()),
            (format!("{A}:1"), format!("{A}:1")),
            (format!(" {B}:3 , {A}:5-7:1-4 "), format!("{A}:1-7,\n{B}:3")),
            (format!("{}:9:1-2:2-3", A.to_uppercase()), format!("{A}:1-3:9")),
            (format!("{A}:5-3"), String::new()),
            (format!("{A}:1,{A}:2,,"), format!("{A}:1-2")),
        ] {
            assert_eq!(set(&text).to_string(), normal, "{text}");
        }
    }

    #[test]
    fn malformed_sets_are_1772() {
        for text in [
            "x",
            A,
            "x:1",
            &format!("{A}:"),
            &format!("{A}:0"),
            &format!("{A}:1-"),
            &format!("{A}:-2"),
            &format!("{A}:1-x"),
        ] {
            assert_eq!(GtidSet::parse(text).unwrap_err().code, 1772, "{text}");
        }
    }

    #[test]
    fn subsets_and_differences() {
        let (small, large) = (set(&format!("{A}:2-3:7")), set(&format!("{A}:1-9, {B}:4")));
        assert!(small.is_subset(&large) && !large.is_subset(&small));
        assert!(set("").is_subset(&small) && !set(&format!("{A}:3-4")).is_subset(&small));
        assert_eq!(large.without(&small), set(&format!("{A}:1:4-6:8-9,{B}:4")));
        assert!(small.without(&large).is_empty());
        assert_eq!(small.without(&GtidSet::default()), small);
    }

    #[test]
    fn an_origin_has_one_uuid_everywhere() {
        let (one, other) = (Id(7), Id(8));
        assert_eq!(uuid_of(one, 1), uuid_of(one, 1));
        assert_ne!(uuid_of(one, 1), uuid_of(one, 2));
        assert_ne!(uuid_of(one, 1), uuid_of(other, 1));
        // Frozen: clients keep sets over upgrades.
        assert_eq!(uuid_of(one, 1).get_version_num(), 8);
        let vector = VersionVector([(1, 5), (2, 0), (3, 1)].into_iter().collect());
        let all = GtidSet::of(one, &vector);
        assert_eq!(all, set(&format!("{}:1-5,{}:1", uuid_of(one, 1), uuid_of(one, 3))));
    }
}
