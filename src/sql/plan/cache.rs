//! The bounded cache of plans.
//!
//! Promises: a hit costs one hash and one lock; a plan is found only under the very text shape, database, sql_mode, collation and
//! catalog it was made for, and only while its pinned literals read the same. Must not know: what a plan is.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::sql::bind::SqlMode;

/// Plans kept by each shard; the one unused for longest goes first.
const SHARD_PLANS: usize = 256;
const SHARDS: usize = 8;
/// Plans of one text shape that differ only in pinned literals.
const VARIANTS: usize = 16;

/// What a plan depends on besides its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// 128 bits of the token stream without its literals.
    pub fingerprint: u128,
    pub database: Option<Arc<str>>,
    pub mode: SqlMode,
    pub collation: Arc<str>,
    pub catalog: u64,
    pub sight: Sight,
}

/// What of its transaction a SELECT depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sight {
    /// Tables it reads that the transaction changed, in order.
    pub own: Option<Arc<[u64]>>,
    /// It locks what it reads (SERIALIZABLE).
    pub share: bool,
}

struct Variant<P> {
    /// (slot, raw text) of every pinned literal.
    pins: Box<[(u32, Box<[u8]>)]>,
    plan: Arc<P>,
}

struct Cached<P> {
    variants: Vec<Variant<P>>,
    used: u64,
}

/// Fingerprints are hashes already: their low bits serve as they are.
#[derive(Default)]
struct Pass(u64);

impl Hasher for Pass {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(5) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, value: u128) {
        self.0 ^= value as u64;
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = self.0.rotate_left(7) ^ value;
    }
}

type Map<P> = HashMap<Key, Cached<P>, BuildHasherDefault<Pass>>;

struct Shard<P> {
    map: Map<P>,
    clock: u64,
}

pub struct PlanCache<P> {
    shards: Vec<Mutex<Shard<P>>>,
}

impl<P> Default for PlanCache<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> PlanCache<P> {
    pub fn new() -> PlanCache<P> {
        PlanCache {
            shards: (0..SHARDS)
                .map(|_| {
                    Mutex::new(Shard {
                        map: Map::default(),
                        clock: 0,
                    })
                })
                .collect(),
        }
    }
    fn shard(&self, key: &Key) -> &Mutex<Shard<P>> {
        &self.shards[(key.fingerprint >> 64) as usize % SHARDS]
    }
    /// The plan for a text whose literal in slot `i` reads `raw(i)`.
    pub fn get<'a>(&self, key: &Key, raw: impl Fn(u32) -> Option<&'a [u8]>) -> Option<Arc<P>> {
        let mut shard = self.shard(key).lock();
        shard.clock += 1;
        let now = shard.clock;
        let cached = shard.map.get_mut(key)?;
        cached.used = now;
        let fits = |v: &&Variant<P>| v.pins.iter().all(|(slot, text)| raw(*slot) == Some(&**text));
        cached.variants.iter().find(fits).map(|v| v.plan.clone())
    }
    pub fn put(&self, key: Key, pins: Vec<(u32, Box<[u8]>)>, plan: Arc<P>) {
        let mut shard = self.shard(&key).lock();
        shard.clock += 1;
        let now = shard.clock;
        if !shard.map.contains_key(&key) && shard.map.len() >= SHARD_PLANS {
            evict(&mut shard.map);
        }
        let cached = shard.map.entry(key).or_insert_with(|| Cached {
            variants: Vec::new(),
            used: now,
        });
        if cached.variants.len() >= VARIANTS {
            cached.variants.remove(0);
        }
        cached.variants.push(Variant {
            pins: pins.into_boxed_slice(),
            plan,
        });
    }
}

/// Drops the quarter that was unused for longest: one pass for many inserts.
fn evict<P>(map: &mut Map<P>) {
    let mut used: Vec<u64> = map.values().map(|c| c.used).collect();
    used.sort_unstable();
    let limit = used.get(used.len() / 4).copied().unwrap_or(0);
    map.retain(|_, c| c.used > limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fingerprint: u128, catalog: u64) -> Key {
        Key {
            fingerprint,
            database: Some("shop".into()),
            mode: SqlMode::default(),
            collation: "utf8mb4_0900_ai_ci".into(),
            catalog,
            sight: Sight::default(),
        }
    }

    #[test]
    fn a_plan_is_found_under_its_own_key_and_pins() {
        let cache = PlanCache::new();
        cache.put(key(1, 1), vec![(0, b"5".to_vec().into())], Arc::new("five"));
        cache.put(key(1, 1), vec![(0, b"6".to_vec().into())], Arc::new("six"));
        assert_eq!(cache.get(&key(1, 1), |_| Some(b"6".as_slice())).as_deref(), Some(&"six"));
        assert_eq!(cache.get(&key(1, 1), |_| Some(b"7".as_slice())), None);
        assert_eq!(cache.get(&key(1, 2), |_| Some(b"6".as_slice())), None);
        assert_eq!(cache.get(&key(2, 1), |_| Some(b"6".as_slice())), None);
    }

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let cache = PlanCache::new();
        for i in 0..10_000u128 {
            cache.put(key(i, 1), Vec::new(), Arc::new(i));
            assert_eq!(cache.get(&key(0, 1), |_| None).as_deref(), Some(&0), "after {i}");
        }
        let kept: usize = cache.shards.iter().map(|s| s.lock().map.len()).sum();
        assert!(kept <= SHARDS * SHARD_PLANS);
    }
}
