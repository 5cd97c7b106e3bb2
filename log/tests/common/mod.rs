//! What the log's tests share: drafts, a clock under the test's hand, logs over either store.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use starling_log::store::sim::SimStore;
use starling_log::value::{Row, ValueRef};
use starling_log::{Body, ChangeRef, Changes, Draft, Entry, Log, LogOptions, Op, TableRef, TimeSource, VersionVector};

pub const T: u64 = 1_700_000_000_000;

/// A clock under the test's hand.
#[derive(Default)]
pub struct Hand(AtomicU64);

impl Hand {
    pub fn new() -> Arc<Hand> {
        Arc::new(Hand(AtomicU64::new(T)))
    }
    pub fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl TimeSource for Hand {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A transaction of one row: an integer key and `size` bytes of text.
pub fn draft(n: u64, size: usize) -> Draft {
    let text: Vec<u8> = (0..size).map(|i| b'a' + ((n as usize * 7 + i * i) % 26) as u8).collect();
    let mut changes = Changes {
        tables: vec![TableRef {
            db: 1,
            table: 2,
            columns: vec![1, 2],
            key: vec![0],
        }],
        ..Changes::default()
    };
    let key = Row::from_values([ValueRef::Int(n as i64)]);
    let after = Row::from_values([ValueRef::Int(n as i64), ValueRef::Text(&text)]);
    changes.push(ChangeRef {
        op: Op::Insert,
        table: 0,
        key: key.as_ref(),
        before: None,
        after: Some(after.as_ref()),
        changed: None,
    });
    Draft {
        causes: Arc::new(VersionVector([(9, n + 1)].into())),
        schema: 3,
        body: Body::Rows(changes),
    }
}

pub fn options() -> LogOptions {
    LogOptions::new("unused")
}

/// Without entries in memory: every read goes to the store.
pub fn forgetful() -> LogOptions {
    LogOptions {
        recent_bytes: 0,
        ..options()
    }
}

pub fn sim() -> (Arc<SimStore>, Arc<Log>) {
    let store = Arc::new(SimStore::new());
    let log = Log::with_store(store.clone(), forgetful(), Hand::new()).unwrap();
    (store, log)
}

pub fn reopen(store: SimStore) -> (Arc<SimStore>, Arc<Log>) {
    let store = Arc::new(store);
    let log = Log::with_store(store.clone(), forgetful(), Hand::new()).unwrap();
    (store, log)
}

pub fn all(log: &Arc<Log>) -> Vec<Arc<Entry>> {
    log.scan(&log.pruned(), &log.held()).map(|e| e.unwrap()).collect()
}
