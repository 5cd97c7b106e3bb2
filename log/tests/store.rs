//! The exam that every store must pass: the one on disk and its twin in memory take the same.

mod common;

use std::sync::Arc;

use starling_log::store::sim::{Faults, SimStore};
use starling_log::store::sled::SledStore;
use starling_log::store::{Key, Op, Record, Store, StoreError, Tree, Witness};

fn put(tree: Tree, key: &[u8], value: &[u8]) -> Op {
    Op::Put(tree, Key::from_slice(key), Record::from(value.to_vec()))
}

fn keys(store: &dyn Store, tree: Tree, from: &[u8], to: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut each = |key: &[u8], _| {
        out.push(key.to_vec());
        true
    };
    store.range(tree, from, to, &mut each).unwrap();
    out
}

fn exam(store: &dyn Store) {
    written_is_visible(store);
    trees_are_apart(store);
    ranges_are_ordered_and_end_when_told(store);
    removed_is_gone(store);
    large_values_come_back(store);
    assert_eq!(store.room(1 << 20), Ok(()));
}

fn written_is_visible(store: &dyn Store) {
    let record = Record {
        head: Key::from_slice(b"head "),
        body: bytes::Bytes::from_static(b"body"),
    };
    store
        .write(vec![
            put(Tree::Meta, b"a", b"1"),
            Op::Put(Tree::Meta, Key::from_slice(b"b"), record),
        ])
        .unwrap();
    assert_eq!(store.get(Tree::Meta, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(store.get(Tree::Meta, b"b").unwrap().as_deref(), Some(&b"head body"[..]));
    store.write(vec![put(Tree::Meta, b"a", b"2")]).unwrap();
    store.sync().unwrap();
    assert_eq!(store.get(Tree::Meta, b"a").unwrap().as_deref(), Some(&b"2"[..]));
}

fn trees_are_apart(store: &dyn Store) {
    for tree in Tree::ALL {
        store.write(vec![put(tree, b"same", tree.name().as_bytes())]).unwrap();
    }
    for tree in Tree::ALL {
        assert_eq!(store.get(tree, b"same").unwrap().as_deref(), Some(tree.name().as_bytes()));
    }
}

fn ranges_are_ordered_and_end_when_told(store: &dyn Store) {
    let ops = [30u8, 10, 20, 40].map(|k| put(Tree::Log, &[k], &[k]));
    store.write(ops.to_vec()).unwrap();
    assert_eq!(keys(store, Tree::Log, &[10], &[40]), [[10], [20], [30]]);
    assert_eq!(keys(store, Tree::Log, &[11], &[21]), [[20]]);
    assert!(keys(store, Tree::Log, &[41], &[50]).is_empty());
    let mut seen = 0;
    let mut twice = |_: &[u8], _| {
        seen += 1;
        seen < 2
    };
    store.range(Tree::Log, &[0], &[99], &mut twice).unwrap();
    assert_eq!(seen, 2);
    let before = |key: u8| store.before(Tree::Log, &[key]).unwrap().map(|(k, v)| (k.to_vec(), v.to_vec()));
    assert_eq!(before(10), None);
    assert_eq!(before(11), Some((vec![10], vec![10])));
    assert_eq!(before(40), Some((vec![30], vec![30])));
    assert_eq!(before(99), Some((vec![40], vec![40])));
}

fn removed_is_gone(store: &dyn Store) {
    store.write(vec![Op::Remove(Tree::Log, Key::from_slice(&[20]))]).unwrap();
    store.sync().unwrap();
    assert_eq!(store.get(Tree::Log, &[20]).unwrap(), None);
    assert_eq!(keys(store, Tree::Log, &[0], &[41]), [[10], [30], [40]]);
}

fn large_values_come_back(store: &dyn Store) {
    let value: Vec<u8> = (0..100_000u32).map(|i| i.wrapping_mul(i) as u8).collect();
    store.write(vec![put(Tree::Log, &[90], &value)]).unwrap();
    assert_eq!(store.get(Tree::Log, &[90]).unwrap().as_deref(), Some(&value[..]));
    assert!(store.disk_bytes() > 0);
}

#[test]
fn the_simulated_store_passes() {
    exam(&SimStore::new());
}

#[test]
fn the_store_on_disk_passes_and_keeps_everything_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || SledStore::open(&dir.path().join("log"), 8 << 20).unwrap();
    exam(&open());
    let store = open();
    assert_eq!(keys(&store, Tree::Log, &[0], &[99]), [[10], [30], [40], [90]]);
    assert_eq!(store.get(Tree::Meta, b"b").unwrap().as_deref(), Some(&b"head body"[..]));
}

#[test]
fn the_witness_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let open = || SledStore::open(dir.path(), 8 << 20).unwrap();
    let store = open();
    assert_eq!(store.witness(), Witness::default());
    let witness = Witness {
        flush: 0x0102_0304_0506,
        base: 0x0102_0304_0506,
    };
    store.set_witness(witness);
    drop(store);
    assert_eq!(open().witness(), witness);
    std::fs::write(dir.path().join("witness"), [9; 20]).unwrap();
    assert_eq!(open().witness(), Witness::default(), "a torn witness bears none");
}

#[test]
fn the_twin_forgets_what_was_not_synced_but_for_a_prefix() {
    let store = Arc::new(SimStore::new());
    store.write(vec![put(Tree::Log, &[1], b"synced")]).unwrap();
    store.sync().unwrap();
    store.write(vec![put(Tree::Log, &[2], b""), put(Tree::Log, &[3], b"")]).unwrap();
    assert_eq!(store.unsynced(), 2);
    assert_eq!(keys(&store.crash(0), Tree::Log, &[0], &[9]), [[1]]);
    assert_eq!(keys(&store.crash(1), Tree::Log, &[0], &[9]), [[1], [2]]);
    assert!(store.write(Vec::new()).is_err(), "a stopped machine does nothing");
}

#[test]
fn the_twin_fails_when_told() {
    let store = SimStore::new();
    store.set_faults(Faults {
        full: true,
        syncs_left: Some(1),
        ops_left: None,
    });
    assert!(matches!(store.room(1), Err(StoreError::Full(_))));
    assert_eq!(store.sync(), Ok(()));
    assert!(matches!(store.sync(), Err(StoreError::Failed(_))));
}
