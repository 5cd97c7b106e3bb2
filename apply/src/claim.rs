//! Claims: what a transaction locks, and on which version of it the transaction is based.
//!
//! Promises: a key has one stable encoding on every node (`hash128`), so nodes agree on what conflicts. Must not know: how
//! claims are found (`lane::claims`), who holds which lock.

use serde::{Deserialize, Serialize};
use starling_log::{Hlc, Origin, Place, Stamp};
use xxhash_rust::xxh3::xxh3_128;

use crate::layout::Key;

/// What can be locked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClaimKey {
    /// The definition of a database.
    Schema {
        db: u64,
    },
    Table {
        table: u64,
    },
    Row {
        table: u64,
        key: Key,
    },
    /// A value of a unique index other than the primary key, hashed as the history keeps it.
    Unique {
        table: u64,
        index: u32,
        value: [u8; 16],
    },
    /// How far a table's AUTO_INCREMENT numbers are drawn.
    Counter {
        table: u64,
    },
    /// The name of a database (lower case): who makes or drops one of that name.
    Database {
        name: String,
    },
    /// Control entries of one kind.
    Control {
        kind: String,
    },
}

/// How it is locked. The intents stand on tables (and schemas) only: their holder locks rows in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    IntentShared,
    IntentExclusive,
    Shared,
    Exclusive,
}

/// The newest change of a key that is known; the default stands for one never seen (absent, or long stable).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Plain", into = "Plain")]
pub struct Version {
    pub stamp: Stamp,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub key: ClaimKey,
    pub mode: Mode,
    /// What it is based on; the default for intents, which are based on nothing.
    pub base: Version,
}

/// A version in numbers.
#[derive(Serialize, Deserialize)]
struct Plain {
    hlc: u64,
    by: Origin,
    origin: Origin,
    seq: u64,
}

impl From<Plain> for Version {
    fn from(plain: Plain) -> Version {
        Version {
            stamp: Stamp {
                hlc: Hlc(plain.hlc),
                origin: plain.by,
            },
            place: Place {
                origin: plain.origin,
                seq: plain.seq,
            },
        }
    }
}

impl From<Version> for Plain {
    fn from(version: Version) -> Plain {
        Plain {
            hlc: version.stamp.hlc.0,
            by: version.stamp.origin,
            origin: version.place.origin,
            seq: version.place.seq,
        }
    }
}

impl Default for Version {
    fn default() -> Version {
        Version {
            stamp: Stamp::default(),
            place: Place { origin: 0, seq: 0 },
        }
    }
}

impl Mode {
    /// May two transactions hold the same key in these modes?
    pub fn is_compatible(self, other: Mode) -> bool {
        use Mode::*;
        match (self, other) {
            (Exclusive, _) | (_, Exclusive) => false,
            (Shared, IntentExclusive) | (IntentExclusive, Shared) => false,
            (IntentShared | IntentExclusive | Shared, IntentShared | IntentExclusive | Shared) => true,
        }
    }
    /// Is it an announcement only?
    pub fn is_intent(self) -> bool {
        matches!(self, Mode::IntentShared | Mode::IntentExclusive)
    }
}

impl ClaimKey {
    /// The same on every node, and in every version of the program.
    pub fn hash128(&self) -> u128 {
        xxh3_128(&self.encode())
    }
    /// Its stable encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        let mut head = |kind: u8, id: u64| {
            out.push(kind);
            out.extend_from_slice(&id.to_be_bytes());
        };
        match self {
            ClaimKey::Schema { db } => head(1, *db),
            ClaimKey::Table { table } => head(2, *table),
            ClaimKey::Row { table, key: Key::Int(i) } => {
                head(3, *table);
                out.extend_from_slice(&i.to_be_bytes());
            }
            ClaimKey::Row {
                table,
                key: Key::Bytes(bytes),
            } => {
                head(4, *table);
                out.extend_from_slice(bytes);
            }
            ClaimKey::Unique { table, index, value } => {
                head(5, *table);
                out.extend_from_slice(&index.to_be_bytes());
                out.extend_from_slice(value);
            }
            ClaimKey::Counter { table } => head(8, *table),
            ClaimKey::Database { name } => {
                head(6, name.len() as u64);
                out.extend_from_slice(name.as_bytes());
            }
            ClaimKey::Control { kind } => {
                head(7, kind.len() as u64);
                out.extend_from_slice(kind.as_bytes());
            }
        }
        out
    }
    /// What `encode` made; `None`: something else did.
    pub fn decode(bytes: &[u8]) -> Option<ClaimKey> {
        let (kind, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_first_chunk::<8>()?;
        let id = u64::from_be_bytes(*id);
        Some(match (kind, rest) {
            (1, []) => ClaimKey::Schema { db: id },
            (2, []) => ClaimKey::Table { table: id },
            (3, rest) => ClaimKey::Row {
                table: id,
                key: Key::Int(i64::from_be_bytes(rest.try_into().ok()?)),
            },
            (4, rest) => ClaimKey::Row {
                table: id,
                key: Key::Bytes(rest.to_vec()),
            },
            (5, rest) => {
                let (index, value) = rest.split_first_chunk::<4>()?;
                ClaimKey::Unique {
                    table: id,
                    index: u32::from_be_bytes(*index),
                    value: value.try_into().ok()?,
                }
            }
            (8, []) => ClaimKey::Counter { table: id },
            (6, name) => ClaimKey::Database {
                name: String::from_utf8(name.to_vec()).ok()?,
            },
            (7, kind) => ClaimKey::Control {
                kind: String::from_utf8(kind.to_vec()).ok()?,
            },
            _ => return None,
        })
    }
    /// The table it belongs to.
    pub fn table(&self) -> Option<u64> {
        match self {
            ClaimKey::Schema { .. } | ClaimKey::Database { .. } | ClaimKey::Control { .. } => None,
            ClaimKey::Table { table } | ClaimKey::Counter { table } | ClaimKey::Row { table, .. } | ClaimKey::Unique { table, .. } => {
                Some(*table)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_look_alike_hash_apart() {
        let keys = [
            ClaimKey::Schema { db: 7 },
            ClaimKey::Table { table: 7 },
            ClaimKey::Row {
                table: 7,
                key: Key::Int(1),
            },
            ClaimKey::Row {
                table: 7,
                key: Key::Bytes(1_i64.to_be_bytes().to_vec()),
            },
            ClaimKey::Unique {
                table: 7,
                index: 1,
                value: [0; 16],
            },
            ClaimKey::Counter { table: 7 },
            ClaimKey::Database { name: "7".to_owned() },
            ClaimKey::Control { kind: "7".to_owned() },
        ];
        let mut hashes: Vec<u128> = keys.iter().map(ClaimKey::hash128).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), keys.len());
        for key in keys {
            assert_eq!(ClaimKey::decode(&key.encode()).as_ref(), Some(&key));
            assert_eq!(ClaimKey::decode(&key.encode()[..8]), None);
        }
    }

    #[test]
    fn claims_go_through_json_unchanged() {
        let claim = Claim {
            key: ClaimKey::Row {
                table: 9,
                key: Key::Bytes(vec![1, 2]),
            },
            mode: Mode::Exclusive,
            base: Version {
                stamp: Stamp { hlc: Hlc(77), origin: 3 },
                place: Place { origin: 3, seq: 8 },
            },
        };
        let text = serde_json::to_string(&claim).expect("json");
        assert_eq!(serde_json::from_str::<Claim>(&text).expect("back"), claim);
    }
}
