//! Where bytes become durable: ordered trees of keys and values, written and synced in two steps.
//!
//! Promises of every store: operations become visible one after the other, and after a crash a prefix of them is there (all
//! that was synced, and perhaps more); [`Store::sync`] returns when everything written is durable, by exactly one fsync. Must not know: entries, segments, stamps. One conformance suite (`tests/store.rs`)
//! examines all implementations: [`sled`] on disk, [`sim`] in memory with faults.

mod inspect;
pub mod sim;
pub mod sled;

use std::path::PathBuf;

use bytes::Bytes;
use smallvec::SmallVec;

pub type Key = SmallVec<[u8; 24]>;

/// What each holds is listed in `log/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree {
    Log,
    Pending,
    Meta,
    Merkle,
}

impl Tree {
    pub const ALL: [Tree; 4] = [Tree::Log, Tree::Pending, Tree::Meta, Tree::Merkle];

    pub fn name(self) -> &'static str {
        match self {
            Tree::Log => "log",
            Tree::Pending => "pending",
            Tree::Meta => "meta",
            Tree::Merkle => "merkle",
        }
    }
}

/// A value in two pieces, so that a record's head and its segment are put together only once, by the store.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub head: SmallVec<[u8; 24]>,
    pub body: Bytes,
}

impl Record {
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn join(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.body);
        out
    }
}

impl From<Vec<u8>> for Record {
    fn from(bytes: Vec<u8>) -> Record {
        Record {
            head: SmallVec::new(),
            body: Bytes::from(bytes),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    Put(Tree, Key, Record),
    Remove(Tree, Key),
}

impl Op {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Op::Put(_, key, record) => key.len() + record.len(),
            Op::Remove(_, key) => key.len(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Refused before anything was written.
    #[error("{0}")]
    Full(String),
    /// The disk or the file failed; what of the last operations is there is unknown.
    #[error("{0}")]
    Failed(String),
}

/// Flush numbers, kept beside the store: whatever it has forgotten of them was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// Everything up to here was synced; 0 if unknown.
    pub flush: u64,
    /// This much was there when the store was opened.
    pub base: u64,
}

pub trait Store: Send + Sync {
    /// Visible on return, durable after the next `sync`. In the order given.
    fn write(&self, ops: Vec<Op>) -> Result<(), StoreError>;
    /// Makes everything written durable.
    fn sync(&self) -> Result<(), StoreError>;
    /// `Full` when `bytes` more would not leave the reserve untouched.
    fn room(&self, bytes: usize) -> Result<(), StoreError>;
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// The greatest key below `key`.
    fn before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Key, Bytes)>, StoreError>;
    /// Keys from `from` on, below `to`, in order, until `each` says no.
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), StoreError>;
    /// What is known of it apart from the store itself.
    fn witness(&self) -> Witness {
        Witness::default()
    }
    /// Remembers it (no sync: it only has to be no greater than the truth).
    fn set_witness(&self, witness: Witness) {
        let _ = witness;
    }
    fn disk_bytes(&self) -> u64;
    /// For messages.
    fn path(&self) -> PathBuf;
}
