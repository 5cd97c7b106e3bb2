//! Places, version vectors and cursors: how far somebody got.
//!
//! Promises: a vector maps each origin to the highest dense sequence number; `covers` and `merge` are the order and join
//! of a lattice. A cursor is opaque text that any node understands.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use crate::value::Malformed;
use crate::varint;

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

/// First byte of a cursor's binary form.
const CURSOR_VERSION: u8 = 1;
/// Nobody has more origins than this (origins are 16 bits): longer text is not a cursor, and is not decoded.
const CURSOR_TEXT_MAX: usize = 1 << 20;

impl VersionVector {
    /// Count, then origin and seq of each in ascending order; components of 0 are left out.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.iter().filter(|(_, seq)| *seq > 0).count() as u64);
        for (origin, seq) in self.iter().filter(|(_, seq)| *seq > 0) {
            varint::put(out, u64::from(origin));
            varint::put(out, seq);
        }
    }

    pub(crate) fn take(rest: &mut &[u8]) -> Result<VersionVector, Malformed> {
        let count = varint::take(rest)?;
        let mut vector = VersionVector::new();
        let mut previous = None;
        for _ in 0..count {
            let origin = take_origin(rest)?;
            let seq = varint::take(rest)?;
            if seq == 0 || previous.is_some_and(|p| p >= origin) {
                return Err(Malformed);
            }
            previous = Some(origin);
            vector.0.insert(origin, seq);
        }
        Ok(vector)
    }
}

fn take_origin(rest: &mut &[u8]) -> Result<Origin, Malformed> {
    Origin::try_from(varint::take(rest)?).map_err(|_| Malformed)
}

impl Cursor {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![CURSOR_VERSION];
        self.vector.put(&mut out);
        if let Some((place, index)) = self.partial {
            varint::put(&mut out, u64::from(place.origin));
            varint::put(&mut out, place.seq);
            varint::put(&mut out, u64::from(index));
        }
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    fn from_body(mut rest: &[u8]) -> Result<Cursor, Malformed> {
        let vector = VersionVector::take(&mut rest)?;
        let mut partial = None;
        if !rest.is_empty() {
            let origin = take_origin(&mut rest)?;
            let seq = varint::take(&mut rest)?;
            let index = u32::try_from(varint::take(&mut rest)?).map_err(|_| Malformed)?;
            partial = Some((Place { origin, seq }, index));
        }
        if rest.is_empty() {
            Ok(Cursor { vector, partial })
        } else {
            Err(Malformed)
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.to_bytes()))
    }
}

impl std::str::FromStr for Cursor {
    type Err = BadCursor;
    fn from_str(s: &str) -> Result<Cursor, BadCursor> {
        let bad = |why: &str| BadCursor(why.to_owned());
        if s.len() > CURSOR_TEXT_MAX {
            return Err(bad("too long"));
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(s).map_err(|_| bad("not base64url text"))?;
        let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
            return Err(bad("too short"));
        };
        let Some((version, rest)) = body.split_first() else {
            return Err(bad("too short"));
        };
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(bad("wrong checksum"));
        }
        if *version != CURSOR_VERSION {
            return Err(BadCursor(format!("version {version} is unknown")));
        }
        Cursor::from_body(rest).map_err(|_| bad("malformed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_vector() -> impl Strategy<Value = VersionVector> {
        proptest::collection::btree_map(any::<u16>(), 1u64.., 0..6).prop_map(VersionVector)
    }

    fn any_cursor() -> impl Strategy<Value = Cursor> {
        let partial = proptest::option::of((any::<u16>(), 1u64.., any::<u32>()));
        (any_vector(), partial).prop_map(|(vector, partial)| Cursor {
            vector,
            partial: partial.map(|(origin, seq, index)| (Place { origin, seq }, index)),
        })
    }

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(cursor in any_cursor()) {
            let text = cursor.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(text.parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn a_changed_character_is_noticed(cursor in any_cursor(), at in any::<prop::sample::Index>()) {
            let mut text = cursor.to_string().into_bytes();
            let i = at.index(text.len());
            text[i] = if text[i] == b'A' { b'B' } else { b'A' };
            prop_assert!(String::from_utf8(text).unwrap().parse::<Cursor>().is_err());
        }

        #[test]
        fn merge_is_the_least_vector_covering_both(a in any_vector(), b in any_vector()) {
            let mut joined = a.clone();
            joined.merge(&b);
            prop_assert!(joined.covers(&a) && joined.covers(&b));
            for (origin, seq) in joined.iter() {
                prop_assert_eq!(seq, a.get(origin).max(b.get(origin)));
            }
            let mut again = joined.clone();
            again.merge(&a);
            prop_assert_eq!(again, joined);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
            let _ = text.parse::<Cursor>();
        }
    }

    #[test]
    fn a_cursor_of_a_later_version_is_named() {
        let mut bytes = vec![9u8, 0];
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(text.parse::<Cursor>(), Err(BadCursor("version 9 is unknown".into())));
    }
}
