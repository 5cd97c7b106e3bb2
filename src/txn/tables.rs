//! LOCK TABLES: read and write locks that sessions of this node hold on whole tables until they give them back.
//!
//! Promises: once [`TableLocks::lock`] and a barrier on the lanes have passed, no other session of this node changes a table
//! that is locked (nor, for a write lock, begins to read in its database). Nobody pays for it while nobody locks. Writers ask
//! from inside their job on the lane, so that none slips through between asking and writing.
//! Must not know: other nodes (their changes arrive as they do under any `ONE` write), names.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One table to lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub table: u64,
    /// Lower-case name of its database.
    pub db: String,
    pub write: bool,
}

/// May a session write to a table?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Free,
    /// Another session holds it.
    Held,
    /// It locked tables, but not this one: 1100.
    NotLocked,
    /// It locked this one for reading: 1099.
    ReadOnly,
}

#[derive(Debug, Default)]
struct Holders {
    db: String,
    readers: Vec<u32>,
    writer: Option<u32>,
}

impl Holders {
    fn allows(&self, session: u32, write: bool) -> bool {
        let foreign_writer = self.writer.is_some_and(|w| w != session);
        let foreign_reader = self.readers.iter().any(|r| *r != session);
        !(foreign_writer || write && foreign_reader)
    }
}

#[derive(Debug, Default)]
pub struct TableLocks {
    /// How many tables are locked: zero is all that most statements ever look at.
    count: AtomicUsize,
    tables: Mutex<HashMap<u64, Holders>>,
    changed: Notify,
}

impl TableLocks {
    pub fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
    /// All of `wanted` at once, or (after `wait`) none.
    pub async fn lock(&self, session: u32, wanted: &[Wanted], wait: Duration) -> bool {
        self.until(wait, || self.try_lock(session, wanted)).await
    }
    fn try_lock(&self, session: u32, wanted: &[Wanted]) -> bool {
        let mut tables = self.tables.lock();
        let allowed = |w: &Wanted| tables.get(&w.table).is_none_or(|h| h.allows(session, w.write));
        if !wanted.iter().all(allowed) {
            return false;
        }
        for w in wanted {
            let holders = tables.entry(w.table).or_default();
            holders.db.clone_from(&w.db);
            if w.write {
                holders.writer = Some(session);
            } else if !holders.readers.contains(&session) {
                holders.readers.push(session);
            }
        }
        self.count.store(tables.len(), Ordering::Release);
        true
    }
    /// Everything the session holds.
    pub fn release(&self, session: u32) {
        if self.is_idle() {
            return;
        }
        let mut tables = self.tables.lock();
        for holders in tables.values_mut() {
            holders.readers.retain(|r| *r != session);
            holders.writer = holders.writer.filter(|w| *w != session);
        }
        tables.retain(|_, h| h.writer.is_some() || !h.readers.is_empty());
        self.count.store(tables.len(), Ordering::Release);
        drop(tables);
        self.changed.notify_waiters();
    }
    pub fn for_write(&self, session: u32, table: u64) -> Access {
        if self.is_idle() {
            return Access::Free;
        }
        let tables = self.tables.lock();
        let mine = |h: &Holders| h.writer == Some(session) || h.readers.contains(&session);
        match tables.get(&table) {
            Some(holders) if holders.writer == Some(session) => Access::Free,
            Some(holders) if mine(holders) => Access::ReadOnly,
            _ if tables.values().any(mine) => Access::NotLocked,
            Some(holders) if !holders.allows(session, true) => Access::Held,
            _ => Access::Free,
        }
    }
    /// Nobody else holds a write lock in these databases.
    pub fn may_read(&self, session: u32, dbs: &[&str]) -> bool {
        self.is_idle()
            || !self
                .tables
                .lock()
                .values()
                .any(|h| dbs.contains(&h.db.as_str()) && !h.allows(session, false))
    }
    /// Nobody else holds any lock in this database (schema changes).
    pub fn may_alter(&self, session: u32, db: &str) -> bool {
        self.is_idle() || !self.tables.lock().values().any(|h| h.db == db && !h.allows(session, true))
    }
    /// Waits until `ready`; `false`: not within `wait`.
    pub async fn until(&self, wait: Duration, ready: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + wait;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if ready() {
                return true;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn wanted(table: u64, write: bool) -> Wanted {
        Wanted {
            table,
            db: "shop".into(),
            write,
        }
    }
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn readers_share_and_writers_do_not() {
        let locks = TableLocks::default();
        assert!(locks.lock(1, &[wanted(7, false)], SHORT).await);
        assert!(locks.lock(2, &[wanted(7, false)], SHORT).await);
        assert!(!locks.lock(3, &[wanted(8, true), wanted(7, true)], SHORT).await);
        assert_eq!(locks.for_write(3, 8), Access::Free);
        assert_eq!(locks.for_write(3, 7), Access::Held);
        assert_eq!(locks.for_write(1, 7), Access::ReadOnly);
        assert_eq!(locks.for_write(1, 8), Access::NotLocked);
        assert!(locks.may_read(3, &["shop"]));
        locks.release(1);
        locks.release(2);
        assert!(locks.is_idle());
    }

    #[tokio::test]
    async fn a_release_wakes_who_waits() {
        let locks = Arc::new(TableLocks::default());
        assert!(locks.lock(1, &[wanted(7, true)], SHORT).await);
        assert!(!locks.may_read(2, &["shop"]));
        assert!(locks.may_read(2, &["other"]));
        let waiting = tokio::spawn({
            let locks = locks.clone();
            async move { locks.lock(2, &[wanted(7, true)], Duration::from_secs(10)).await }
        });
        tokio::task::yield_now().await;
        locks.release(1);
        assert!(waiting.await.unwrap());
        assert_eq!(locks.for_write(2, 7), Access::Free);
    }
}
