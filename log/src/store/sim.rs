//! The store's twin in memory: what was written and what was synced are two images, and faults come when a test says so.
//!
//! Promises: the same as every store, plus: after [`SimStore::crash`] a new store holds what was synced and any prefix of
//! the operations written since, as a real disk might. Used by tests of this crate and of those above it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Key, Op, Store, StoreError, Tree};

type Image = BTreeMap<(Tree, Vec<u8>), Bytes>;

#[derive(Default)]
struct State {
    written: Image,
    synced: Image,
    /// Since the last sync.
    tail: Vec<Op>,
    syncs: u64,
    faults: Faults,
    dead: bool,
}

/// What is to go wrong, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The disk takes nothing more.
    pub full: bool,
    /// This many more syncs succeed, then they fail.
    pub syncs_left: Option<u64>,
    /// This many more operations are written, then the machine stops (in the middle of a write, if it comes so).
    pub ops_left: Option<u64>,
}

#[derive(Default)]
pub struct SimStore {
    state: Mutex<State>,
}

fn apply(image: &mut Image, op: &Op) {
    match op {
        Op::Put(tree, key, record) => image.insert((*tree, key.to_vec()), Bytes::from(record.join())),
        Op::Remove(tree, key) => image.remove(&(*tree, key.to_vec())),
    };
}

impl SimStore {
    pub fn new() -> SimStore {
        SimStore::default()
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Power off: the store another process would find, with what was synced and the first `kept` operations after it.
    pub fn crash(&self, kept: usize) -> SimStore {
        let mut state = self.state.lock();
        state.dead = true;
        let mut image = state.synced.clone();
        state.tail.iter().take(kept).for_each(|op| apply(&mut image, op));
        let state = State {
            written: image.clone(),
            synced: image,
            ..State::default()
        };
        SimStore { state: Mutex::new(state) }
    }

    /// Operations written since the last sync.
    pub fn unsynced(&self) -> usize {
        self.state.lock().tail.len()
    }

    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Changes stored bytes behind the log's back.
    pub fn damage(&self, tree: Tree, change: impl Fn(&[u8], &mut Vec<u8>)) {
        let mut state = self.state.lock();
        let State { written, synced, .. } = &mut *state;
        for image in [written, synced] {
            for ((_, key), value) in image.iter_mut().filter(|((t, _), _)| *t == tree) {
                let mut bytes = value.to_vec();
                change(key, &mut bytes);
                *value = Bytes::from(bytes);
            }
        }
    }
}

fn dead() -> StoreError {
    StoreError::Failed("the machine has stopped".into())
}

impl Store for SimStore {
    fn write(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(dead());
        }
        for op in ops {
            if let Some(left) = &mut state.faults.ops_left {
                if *left == 0 {
                    state.dead = true;
                    return Err(dead());
                }
                *left -= 1;
            }
            apply(&mut state.written, &op);
            state.tail.push(op);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(dead());
        }
        if let Some(left) = &mut state.faults.syncs_left {
            if *left == 0 {
                return Err(StoreError::Failed("fdatasync: injected failure".into()));
            }
            *left -= 1;
        }
        let State { synced, tail, .. } = &mut *state;
        tail.drain(..).for_each(|op| apply(synced, &op));
        state.syncs += 1;
        Ok(())
    }

    fn room(&self, bytes: usize) -> Result<(), StoreError> {
        match self.state.lock().faults.full {
            true => Err(StoreError::Full(format!("no room for {bytes} bytes"))),
            false => Ok(()),
        }
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state.lock().written.get(&(tree, key.to_vec())).cloned())
    }

    fn before(&self, tree: Tree, key: &[u8]) -> Result<Option<(Key, Bytes)>, StoreError> {
        let state = self.state.lock();
        let found = state.written.range((tree, Vec::new())..(tree, key.to_vec())).next_back();
        Ok(found.map(|((_, k), v)| (Key::from_slice(k), v.clone())))
    }

    fn range(&self, tree: Tree, from: &[u8], to: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        // Copied out: `each` may call the store again.
        let found: Vec<_> = {
            let state = self.state.lock();
            let range = state.written.range((tree, from.to_vec())..(tree, to.to_vec()));
            range.map(|((_, k), v)| (k.clone(), v.clone())).collect()
        };
        for (key, value) in found {
            if !each(&key, value) {
                break;
            }
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.state.lock().written.values().map(|v| v.len() as u64).sum()
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("(memory)")
    }
}
