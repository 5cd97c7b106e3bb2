//! Keys and record heads in the store's trees, as `log/README.md` lists them.

use smallvec::SmallVec;

use crate::store::{Key, Record};
use crate::vector::Origin;

/// The clock's high-water mark: 8 bytes.
pub(super) const CLOCK: &[u8] = b"i/clock";
/// The number of the last flush that carried no segment: its mark, 8 bytes.
pub(super) const FLUSH: &[u8] = b"i/flush";
/// By it the number is found in a file that cannot be opened.
pub(crate) const FLUSH_MARK: &[u8] = b"StFl";
/// What was pruned, and the tails there.
pub(super) const PRUNED: &[u8] = b"i/pruned";

pub(super) fn user(key: &str) -> Key {
    let mut out = Key::from_slice(b"u/");
    out.extend_from_slice(key.as_bytes());
    out
}

pub(super) fn segment(origin: Origin, first: u64, part: u16) -> Key {
    let mut out = Key::new();
    out.extend_from_slice(&origin.to_be_bytes());
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&part.to_be_bytes());
    out
}

/// (origin, first, part) of a key of the log tree.
pub(super) fn parse_segment(key: &[u8]) -> Option<(Origin, u64, u16)> {
    let (origin, rest) = key.split_first_chunk::<2>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let part: [u8; 2] = rest.try_into().ok()?;
    Some((u16::from_be_bytes(*origin), u64::from_be_bytes(*first), u16::from_be_bytes(part)))
}

/// A block of Merkle leaves.
pub(super) fn leaves(origin: Origin, block: u64) -> Key {
    let mut out = Key::new();
    out.extend_from_slice(&origin.to_be_bytes());
    out.extend_from_slice(&block.to_be_bytes());
    out
}

/// Bytes before the segment in a record of the log tree.
pub(crate) const HEAD: usize = 24;

/// This node's flush number, and the Merkle accumulator behind the segment's last entry.
pub(super) fn record(flush: u64, open_leaf: u128, segment: bytes::Bytes) -> Record {
    let mut head = SmallVec::new();
    head.extend_from_slice(&flush.to_le_bytes());
    head.extend_from_slice(&open_leaf.to_le_bytes());
    Record { head, body: segment }
}

pub(super) fn set_record_flush(record: &mut Record, flush: u64) {
    if let Some(at) = record.head.get_mut(..8) {
        at.copy_from_slice(&flush.to_le_bytes());
    }
}

pub(super) fn record_head(record: &[u8]) -> Option<(u64, u128)> {
    let (flush, rest) = record.split_first_chunk::<8>()?;
    let (leaf, _) = rest.split_first_chunk::<16>()?;
    Some((u64::from_le_bytes(*flush), u128::from_le_bytes(*leaf)))
}

/// A chunk of pending records.
pub(super) fn chunk(number: u64) -> Key {
    let mut out = Key::from_slice(b"j");
    out.extend_from_slice(&number.to_be_bytes());
    out
}

pub(super) fn parse_chunk(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(b"j")?.try_into().ok()?))
}

/// A part of a large pending value.
pub(super) fn blob(number: u64, part: u32) -> Key {
    let mut out = Key::from_slice(b"b");
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&part.to_be_bytes());
    out
}

pub(super) fn parse_blob(key: &[u8]) -> Option<(u64, u32)> {
    let (number, part) = key.strip_prefix(b"b")?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u32::from_be_bytes(part.try_into().ok()?)))
}
