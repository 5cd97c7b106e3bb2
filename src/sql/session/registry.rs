//! The open sessions of the process: for SHOW PROCESSLIST, KILL and the counters.
//!
//! Promises: an entry lives exactly as long as its session; killing never touches a write on its lane (it would undo what others
//! wrote in the same group): it takes effect before or after.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::txn::locks::Interrupt;

/// What others may see of a session.
pub struct Entry {
    pub id: u32,
    pub killed: CancellationToken,
    /// KILL QUERY: the running statement is to end, and its waiting for locks.
    pub interrupt: Arc<Interrupt>,
    state: Mutex<State>,
    reading: Mutex<Option<rusqlite::InterruptHandle>>,
}

#[derive(Clone, Debug)]
pub struct State {
    pub user: String,
    pub host: String,
    pub database: Option<String>,
    /// The running statement's text; `None`: asleep.
    pub statement: Option<Arc<[u8]>>,
    pub since: Instant,
}

impl Entry {
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }
    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
    }
    /// A long read begins on this connection: KILL QUERY may interrupt it until the guard is dropped.
    pub fn reading<'a>(self: &'a Arc<Self>, connection: &rusqlite::Connection) -> Reading<'a> {
        *self.reading.lock() = Some(connection.get_interrupt_handle());
        Reading(self)
    }
    fn interrupt(&self) {
        self.interrupt.raise();
        if let Some(handle) = &*self.reading.lock() {
            handle.interrupt();
        }
    }
}

pub struct Reading<'a>(&'a Entry);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        *self.0.reading.lock() = None;
    }
}

#[derive(Default)]
pub struct Registry {
    sessions: Mutex<BTreeMap<u32, Arc<Entry>>>,
    last: AtomicU32,
    most: AtomicU32,
}

impl Registry {
    pub fn next_id(&self) -> u32 {
        self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
    pub fn add(&self, id: u32, user: &str, host: &str) -> Arc<Entry> {
        let state = State {
            user: user.into(),
            host: host.into(),
            database: None,
            statement: None,
            since: Instant::now(),
        };
        let entry = Arc::new(Entry {
            id,
            killed: CancellationToken::new(),
            interrupt: Arc::default(),
            state: Mutex::new(state),
            reading: Mutex::new(None),
        });
        let mut sessions = self.sessions.lock();
        sessions.insert(id, entry.clone());
        self.most.fetch_max(sessions.len() as u32, Ordering::Relaxed);
        entry
    }
    pub fn remove(&self, id: u32) {
        self.sessions.lock().remove(&id);
    }
    pub fn list(&self) -> Vec<Arc<Entry>> {
        self.sessions.lock().values().cloned().collect()
    }
    pub fn count(&self) -> usize {
        self.sessions.lock().len()
    }
    /// How many there were at most at one time.
    pub fn most(&self) -> u32 {
        self.most.load(Ordering::Relaxed)
    }
    /// Connections ever asked for.
    pub fn total(&self) -> u32 {
        self.last.load(Ordering::Relaxed)
    }
    /// All sessions stop waiting for locks (the server ends).
    pub fn end_waits(&self) {
        for entry in self.list() {
            entry.interrupt.raise();
        }
    }
    /// `false`: there is no such session.
    pub fn kill(&self, id: u32, query_only: bool) -> bool {
        let Some(entry) = self.sessions.lock().get(&id).cloned() else {
            return false;
        };
        entry.interrupt();
        if !query_only {
            entry.killed.cancel();
        }
        true
    }
}
