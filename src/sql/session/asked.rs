//! What functions ask of their session: named locks, and waiting for a position. Runs where blocking is allowed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::registry::Entry;
use super::{Server, Session};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::ask::{Asked, Interrupted};
use crate::sql::gtid::GtidSet;
use crate::txn::named::Unlocked;

/// How often a waiting function looks whether its statement was interrupted in SQLite (`max_execution_time`).
const LOOK: Duration = Duration::from_millis(50);

struct Asking {
    server: Arc<Server>,
    entry: Arc<Entry>,
}

impl Session {
    pub fn asked(&self) -> Arc<dyn Asked> {
        Arc::new(Asking {
            server: self.server.clone(),
            entry: self.entry.clone(),
        })
    }
}

fn interruption() -> SqlError {
    SqlError::new(1317, "Query execution was interrupted")
}

/// Waits on this thread.
fn wait<T>(interrupted: Interrupted<'_>, work: impl Future<Output = T>) -> Result<T> {
    let looking = async {
        while !interrupted() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::runtime::Handle::current().block_on(async {
        tokio::select! {
            done = work => Ok(done),
            () = looking => Err(interruption()),
        }
    })
}

fn unlocked(error: Unlocked) -> SqlError {
    match error {
        Unlocked::NoQuorum(why) => SqlError::new(1047, format!("node has no quorum ({why})")),
        Unlocked::Deadlock => SqlError::new(
            3058,
            "Deadlock found when trying to get user-level lock; try rolling back transaction/releasing locks and restarting lock acquisition.",
        ),
        Unlocked::Interrupted => interruption(),
    }
}

impl Asked for Asking {
    fn get_lock(&self, name: &str, patience: Option<Duration>, interrupted: Interrupted<'_>) -> Result<bool> {
        let taken = self.server.named.take(self.entry.id, name, patience, &self.entry.interrupt);
        wait(interrupted, taken)?.map_err(unlocked)
    }
    fn release_lock(&self, name: &str) -> Result<Option<bool>> {
        let released = self.server.named.release(self.entry.id, name);
        wait(&|| false, released)?.map_err(unlocked)
    }
    fn release_all_locks(&self) -> u64 {
        self.server.named.release_all(self.entry.id)
    }
    fn lock_holder(&self, name: &str) -> Result<Option<u32>> {
        let holder = wait(&|| false, self.server.named.holder(name))?.map_err(unlocked)?;
        Ok(holder.map(|h| h.session))
    }
    fn wait_for(&self, set: &GtidSet, patience: Option<Duration>, interrupted: Interrupted<'_>) -> Result<bool> {
        let applied = self.server.has_executed(set);
        let bounded = async {
            match patience {
                Some(patience) => tokio::time::timeout(patience, applied).await.is_ok(),
                None => {
                    applied.await;
                    true
                }
            }
        };
        let waited = async {
            tokio::select! {
                done = bounded => Ok(done),
                () = self.entry.interrupt.raised() => Err(interruption()),
            }
        };
        wait(interrupted, waited)?
    }
}
