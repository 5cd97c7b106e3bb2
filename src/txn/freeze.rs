//! FLUSH TABLES WITH READ LOCK: nobody on this node changes anything until it is given back.
//!
//! Promises: once it is granted no statement that changes rows or definitions runs here, and no commit; those that come later wait, as
//! long as they like to. Statements go first: while it waits for those under way, open transactions may still commit, so that whoever
//! waits for their locks gets on. While nobody asks for it, a statement pays a few atomic operations. Must not know: other nodes (their
//! changes go on coming in), tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::locks::{Denied, Patience};

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// A statement that changes something (and, in autocommit mode, its commit).
    Statement,
    /// The commit of an open transaction.
    Commit,
}

/// Statements wait.
const CLOSING: u8 = 1;
/// Commits too.
const CLOSED: u8 = 2;

#[derive(Default)]
pub struct Gate {
    mode: AtomicU8,
    statements: AtomicUsize,
    commits: AtomicUsize,
    wanted: Mutex<Wanted>,
    changed: Notify,
}

#[derive(Default)]
struct Wanted {
    closing: usize,
    closed: usize,
}

/// Something is under way until this is dropped.
pub struct Passing {
    gate: Arc<Gate>,
    pass: Pass,
}

/// Nothing is changed here until this is dropped.
pub struct Frozen {
    gate: Arc<Gate>,
    closed: bool,
}

impl Gate {
    pub async fn pass(self: &Arc<Self>, pass: Pass, patience: &Patience) -> Result<Passing, Denied> {
        let until = Until::new(patience);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is not missed.
            changed.as_mut().enable();
            if let Some(passing) = self.try_pass(pass) {
                return Ok(passing);
            }
            until.wait(changed, patience).await?;
        }
    }
    fn try_pass(self: &Arc<Self>, pass: Pass) -> Option<Passing> {
        let least = match pass {
            Pass::Statement => CLOSING,
            Pass::Commit => CLOSED,
        };
        if self.mode.load(Ordering::SeqCst) >= least {
            return None;
        }
        // Counted first, looked then; who closes looks at the counts after closing: one of the two sees the other.
        self.count(pass).fetch_add(1, Ordering::SeqCst);
        let passing = Passing {
            gate: Arc::clone(self),
            pass,
        };
        (self.mode.load(Ordering::SeqCst) < least).then_some(passing)
    }
    fn count(&self, pass: Pass) -> &AtomicUsize {
        match pass {
            Pass::Statement => &self.statements,
            Pass::Commit => &self.commits,
        }
    }
    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.wanted.lock();
        change(&mut wanted);
        let mode = match (wanted.closing, wanted.closed) {
            (0, 0) => 0,
            (_, 0) => CLOSING,
            _ => CLOSED,
        };
        self.mode.store(mode, Ordering::SeqCst);
        drop(wanted);
        self.changed.notify_waiters();
    }

    /// Waits for what is under way.
    pub async fn freeze(self: &Arc<Self>, patience: &Patience) -> Result<Frozen, Denied> {
        let until = Until::new(patience);
        self.want(|w| w.closing += 1);
        let mut frozen = Frozen {
            gate: Arc::clone(self),
            closed: false,
        };
        self.drained(Pass::Statement, &until, patience).await?;
        self.want(|w| {
            w.closing -= 1;
            w.closed += 1;
        });
        frozen.closed = true;
        self.drained(Pass::Commit, &until, patience).await?;
        Ok(frozen)
    }
    async fn drained(&self, pass: Pass, until: &Until, patience: &Patience) -> Result<(), Denied> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.count(pass).load(Ordering::SeqCst) == 0 {
                return Ok(());
            }
            until.wait(changed, patience).await?;
        }
    }
}

/// When waiting ends in vain.
struct Until(Option<Instant>);

impl Until {
    fn new(patience: &Patience) -> Until {
        Until(Instant::now().checked_add(patience.wait))
    }
    async fn wait(&self, changed: impl Future<Output = ()>, patience: &Patience) -> Result<(), Denied> {
        let late = async {
            match self.0 {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => Ok(()),
            () = patience.interrupt.raised() => Err(Denied::Interrupted),
            () = late => Err(Denied::Timeout),
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.gate.count(self.pass).fetch_sub(1, Ordering::SeqCst);
        if self.gate.mode.load(Ordering::SeqCst) > 0 {
            self.gate.changed.notify_waiters();
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let closed = self.closed;
        self.gate.want(|w| {
            let count = if closed { &mut w.closed } else { &mut w.closing };
            *count -= 1;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn patience(ms: u64) -> Patience {
        Patience {
            wait: Duration::from_millis(ms),
            interrupt: Arc::default(),
        }
    }

    #[tokio::test]
    async fn it_waits_for_what_is_under_way_and_keeps_out_what_comes() {
        let (gate, long, short) = (Arc::new(Gate::default()), patience(60_000), patience(20));
        let statement = gate.pass(Pass::Statement, &long).await.unwrap();
        assert!(matches!(gate.freeze(&short).await, Err(Denied::Timeout)));
        let again = gate.pass(Pass::Statement, &short).await.expect("nobody asks any more");
        drop(again);
        let freezing = tokio::spawn({
            let (gate, long) = (gate.clone(), long.clone());
            async move { gate.freeze(&long).await }
        });
        while gate.mode.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(gate.pass(Pass::Statement, &short).await.is_err(), "it is asked for");
        // Somebody whose locks the statement waits for.
        drop(gate.pass(Pass::Commit, &short).await.expect("not closed yet"));
        drop(statement);
        let frozen = freezing.await.unwrap().unwrap();
        assert!(gate.pass(Pass::Commit, &short).await.is_err());
        let second = gate.freeze(&short).await.expect("two may hold it");
        drop(frozen);
        assert!(gate.pass(Pass::Statement, &short).await.is_err(), "one still does");
        let waiting = tokio::spawn({
            let (gate, long) = (gate.clone(), long.clone());
            async move { gate.pass(Pass::Statement, &long).await.is_ok() }
        });
        drop(second);
        assert!(waiting.await.unwrap());
        assert_eq!(gate.statements.load(Ordering::SeqCst), 0);
    }
}
