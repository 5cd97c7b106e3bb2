//! Merkle trees over the entries of one origin: are two logs equal, and if not, where?
//!
//! Promises: equal entries give equal trees, however they were cut into segments; an append costs one hash and, every
//! [`LEAF_ENTRIES`] entries, one small record; nothing is hashed again at a restart; leaves of pruned entries stay.
//! Must not know: stores, networks. Two nodes find their differences by asking for nodes level by level ([`differing`]).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::vector::Origin;

/// Entries under one leaf.
pub const LEAF_ENTRIES: u64 = 256;
/// Leaves stored in one value, rewritten as it fills. One value for each leaf would be a page that never changes again in
/// every other segment of sled's file, and keep sled from ever using those segments again after a prune.
pub(crate) const BLOCK_LEAVES: u64 = 64;
/// Children of one node.
pub const FAN_OUT: u64 = 16;

pub type Hash = u128;

/// The running hash of a leaf: a chain over its entries' hashes, beginning at 0.
pub(crate) fn chain(open: Hash, entry: Hash) -> Hash {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&open.to_le_bytes());
    both[16..].copy_from_slice(&entry.to_le_bytes());
    xxhash_rust::xxh3::xxh3_128(&both)
}

/// The leaf that ends with entry `seq`, if one does.
pub(crate) fn completes(seq: u64) -> Option<u64> {
    (seq > 0 && seq.is_multiple_of(LEAF_ENTRIES)).then(|| seq / LEAF_ENTRIES - 1)
}

/// Nodes of one level, at most; a node is there only when all entries below it are.
type Level = Vec<Hash>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    pub origin: Origin,
    /// Entries it covers: 1 to `held`.
    pub held: u64,
    /// Level 0: leaves. Shared with the log's cache.
    levels: Arc<Vec<Level>>,
    /// The chain over the entries behind the last whole leaf.
    open: Hash,
}

/// Whole nodes by origin, as far as they were ever asked for.
#[derive(Default)]
pub(crate) struct Cache(BTreeMap<Origin, Arc<Vec<Level>>>);

impl Cache {
    pub(crate) fn leaves(&self, origin: Origin) -> u64 {
        self.0.get(&origin).and_then(|l| l.first()).map_or(0, |l| l.len() as u64)
    }

    pub(crate) fn extend(&mut self, origin: Origin, leaves: impl IntoIterator<Item = Hash>) {
        let levels = Arc::make_mut(self.0.entry(origin).or_default());
        for leaf in leaves {
            push(levels, leaf);
        }
    }

    pub(crate) fn tree(&mut self, origin: Origin, held: u64, open: Hash) -> Tree {
        Tree {
            origin,
            held,
            levels: self.0.entry(origin).or_default().clone(),
            open,
        }
    }
}

/// Adds a leaf, and every node above that became whole with it.
fn push(levels: &mut Vec<Level>, leaf: Hash) {
    let mut hash = leaf;
    for level in 0.. {
        if levels.len() == level {
            levels.push(Level::new());
        }
        levels[level].push(hash);
        let count = levels[level].len();
        if !count.is_multiple_of(FAN_OUT as usize) {
            return;
        }
        hash = parent(&levels[level][count - FAN_OUT as usize..]);
    }
}

fn parent(children: &[Hash]) -> Hash {
    let mut all = Vec::with_capacity(children.len() * 16);
    children.iter().for_each(|c| all.extend_from_slice(&c.to_le_bytes()));
    xxhash_rust::xxh3::xxh3_128(&all)
}

impl Tree {
    /// One hash for everything it covers.
    pub fn root(&self) -> Hash {
        let mut all = self.held.to_le_bytes().to_vec();
        for level in self.levels.iter() {
            // Only what is not yet part of a node above.
            let loose = level.len() % FAN_OUT as usize;
            level[level.len() - loose..]
                .iter()
                .for_each(|h| all.extend_from_slice(&h.to_le_bytes()));
        }
        all.extend_from_slice(&self.open.to_le_bytes());
        xxhash_rust::xxh3::xxh3_128(&all)
    }

    /// Number of levels; level 0 holds the leaves.
    pub fn levels(&self) -> u8 {
        self.levels.len() as u8
    }

    /// Whole nodes of a level, by index range; shorter where there are no more.
    pub fn nodes(&self, level: u8, indexes: std::ops::Range<u64>) -> &[Hash] {
        let Some(nodes) = self.levels.get(usize::from(level)) else {
            return &[];
        };
        let clip = |i: u64| usize::try_from(i).map_or(nodes.len(), |i| i.min(nodes.len()));
        let (from, to) = (clip(indexes.start), clip(indexes.end));
        if from < to { &nodes[from..to] } else { &[] }
    }

    /// The chain behind the last whole leaf: comparable between trees of the same `held`.
    pub fn open(&self) -> Hash {
        self.open
    }

    /// Ranges of seqs in which two trees differ, as far as both reach.
    pub fn diff(&self, other: &Tree) -> Vec<RangeInclusive<u64>> {
        let fetch = |level: u8, indexes: std::ops::Range<u64>| Ok::<_, std::convert::Infallible>(other.nodes(level, indexes).to_vec());
        match differing(self, other.held, other.open, fetch) {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }
}

/// Compares a tree with another's, whose nodes `fetch` (level, indexes) brings, asking only below nodes that differ. Ranges
/// of seqs are returned in order, neighbours joined.
pub fn differing<E>(
    tree: &Tree,
    other_held: u64,
    other_open: Hash,
    mut fetch: impl FnMut(u8, std::ops::Range<u64>) -> Result<Vec<Hash>, E>,
) -> Result<Vec<RangeInclusive<u64>>, E> {
    let shared_leaves = tree.held.min(other_held) / LEAF_ENTRIES;
    let mut found: Vec<RangeInclusive<u64>> = Vec::new();
    // Node ranges still to compare; the highest level first, then what no whole node above covers.
    let mut todo: Vec<(u8, std::ops::Range<u64>)> = Vec::new();
    let mut covered = 0;
    for level in (0..tree.levels()).rev() {
        let width = FAN_OUT.pow(u32::from(level));
        let end = shared_leaves / width;
        if covered / width < end {
            todo.push((level, covered / width..end));
            covered = end * width;
        }
    }
    todo.reverse();
    while let Some((level, indexes)) = todo.pop() {
        let theirs = fetch(level, indexes.clone())?;
        let ours = tree.nodes(level, indexes.clone());
        let unequal = |i: u64| {
            let at = (i - indexes.start) as usize;
            ours.get(at) != theirs.get(at)
        };
        for index in indexes.clone().filter(|i| unequal(*i)).collect::<Vec<_>>().into_iter().rev() {
            if level == 0 {
                found.push(index * LEAF_ENTRIES + 1..=(index + 1) * LEAF_ENTRIES);
            } else {
                todo.push((level - 1, index * FAN_OUT..(index + 1) * FAN_OUT));
            }
        }
    }
    let tail = shared_leaves * LEAF_ENTRIES + 1;
    if tree.held == other_held && tail <= tree.held && tree.open != other_open {
        found.push(tail..=tree.held);
    }
    Ok(join(found))
}

fn join(mut ranges: Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    ranges.sort_by_key(|r| *r.start());
    let mut out: Vec<RangeInclusive<u64>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if *last.end() + 1 >= *range.start() => *last = *last.start()..=*range.end(),
            _ => out.push(range),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tree over made-up entry hashes; those at `changed` differ.
    fn tree(held: u64, changed: &[u64]) -> Tree {
        let mut cache = Cache::default();
        let mut open = 0;
        for seq in 1..=held {
            let salt = if changed.contains(&seq) { 1 << 64 } else { 0 };
            open = chain(open, u128::from(seq) | salt);
            if completes(seq).is_some() {
                cache.extend(1, [open]);
                open = 0;
            }
        }
        cache.tree(1, held, open)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn differences_are_found_and_nothing_else(held in 0u64..20_000, more in 0u64..600, changed in proptest::collection::vec(1u64..20_000, 0..4)) {
            let (ours, theirs) = (tree(held, &[]), tree(held + more, &changed));
            let found = ours.diff(&theirs);
            let compared = if more == 0 { held } else { held / LEAF_ENTRIES * LEAF_ENTRIES };
            for seq in changed.iter().filter(|s| **s <= compared) {
                prop_assert!(found.iter().any(|r| r.contains(seq)), "{} not in {:?}", seq, found);
            }
            for range in &found {
                let leaves = (range.start() - 1) / LEAF_ENTRIES..=(range.end() - 1) / LEAF_ENTRIES;
                for leaf in leaves {
                    prop_assert!(changed.iter().any(|s| (s - 1) / LEAF_ENTRIES == leaf), "{:?} without a reason", range);
                }
            }
            prop_assert_eq!(ours.root() == theirs.root(), more == 0 && changed.iter().all(|s| *s > held));
        }
    }

    #[test]
    fn only_what_differs_is_asked_for() {
        let (ours, theirs) = (tree(300_000, &[]), tree(300_000, &[123_456]));
        let mut asked = 0;
        let found = differing(&ours, theirs.held, theirs.open(), |level, indexes| {
            let nodes = theirs.nodes(level, indexes);
            asked += nodes.len();
            Ok::<_, ()>(nodes.to_vec())
        });
        assert_eq!(found, Ok(vec![123_393..=123_648]));
        assert!(asked < 100, "{asked} nodes for one difference among 1171 leaves");
    }
}
