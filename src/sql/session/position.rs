//! How far this node is, in MySQL's words, and reads that wait until it is far enough (`starling_read_wait`).
//!
//! | | a read waits until this node shows |
//! |---|---|
//! | `OFF` | nothing: it shows what is applied |
//! | `SESSION` | what this session wrote or saw here (always so), and `starling_read_after` |
//! | `CLUSTER` | also everything that was acknowledged at `QUORUM` anywhere before the read began: one question to a quorum, shared by all who wait |
//! | `STABLE` | also everything, of any level, with a stamp up to the read's start: nothing can come in before it any more |
//!
//! Why `STABLE` waits instead of reading at the stable stamp: a SQLite file shows its newest state, or a snapshot that somebody held
//! open; not a chosen moment of the past. So the read waits until the stable stamp, which trails the clocks by about a second, has passed its
//! own start. Whatever it sees from before its start no later read anywhere will miss, in any order of arrival.

use std::sync::Arc;
use std::time::Duration;

use starling_log::{Hlc, Stamp, VersionVector};

use super::{Server, Session};
use crate::sql::error::{Result, SqlError};
use crate::sql::gtid::GtidSet;
use crate::sql::vars::{ReadWait, VarValue};

impl Server {
    fn gtids(&self, vector: &VersionVector) -> GtidSet {
        let cluster = self.cluster.cluster_id();
        cluster.map(|id| GtidSet::of(id, vector)).unwrap_or_default()
    }
    /// `@@gtid_executed`: what is applied here.
    pub fn executed(&self) -> GtidSet {
        self.gtids(&self.engine.applied())
    }
    /// Variables whose values are looked up, not stored.
    pub fn live(&self, name: &str) -> Option<VarValue> {
        let set = match name {
            "gtid_executed" => self.executed(),
            "gtid_purged" => self.gtids(&self.engine.log().pruned()),
            _ => return None,
        };
        Some(VarValue::text(&set.to_string()))
    }
    /// Resolves when all of it is applied here.
    pub async fn has_executed(&self, set: &GtidSet) {
        self.applied(|applied| set.is_subset(&self.gtids(applied))).await;
    }
    async fn applied(&self, enough: impl Fn(&VersionVector) -> bool) {
        let mut grown = self.engine.watch();
        while !enough(&self.engine.applied()) {
            if grown.changed().await.is_err() {
                // The engine has ended, and with it this wait's session.
                return std::future::pending().await;
            }
        }
    }

    /// Resolves when all that was acknowledged at QUORUM before is applied here.
    async fn caught_up(&self) -> Result<()> {
        if !self.cluster.has_others() {
            return Ok(());
        }
        let seen = self.cluster.seen_by_quorum().await.map_err(no_quorum)?;
        self.applied(|applied| applied.covers(&seen)).await;
        Ok(())
    }

    /// Resolves when nothing with a stamp up to now can appear here any more.
    async fn stable(&self) -> Result<()> {
        if !self.cluster.has_others() {
            return Ok(());
        }
        let commit = self.cluster.commit();
        commit.has_quorum().map_err(no_quorum)?;
        let clock = self.engine.log().clock();
        let start = Stamp {
            hlc: Hlc::from_ms(clock.now_ms()).max(clock.last()),
            origin: u16::MAX,
        };
        let mut stable = commit.watch_stable();
        match stable.wait_for(|stable| *stable >= start).await {
            Ok(_) => Ok(()),
            Err(_) => Err(SqlError::new(1053, "Server shutdown in progress")),
        }
    }
}

fn no_quorum(why: String) -> SqlError {
    SqlError::new(1047, format!("node has no quorum ({why})"))
}

impl Session {
    /// Waits until all that was acknowledged at QUORUM anywhere before is applied here: for statements that must not miss anything.
    pub async fn catch_up(&mut self) -> Result<()> {
        let at_most = Duration::from_secs(self.settings().read_wait_secs);
        let (server, interrupt) = (Arc::clone(&self.server), Arc::clone(&self.entry.interrupt));
        tokio::select! {
            done = tokio::time::timeout(at_most, server.caught_up()) => done.unwrap_or_else(|_| Err(late(ReadWait::Cluster, at_most))),
            () = interrupt.raised() => Err(SqlError::new(1317, "Query execution was interrupted")),
        }
    }
    /// Before a read of tables: waits as `starling_read_wait` says. Inside a transaction only as long as no snapshot is pinned.
    pub async fn before_read(&mut self) -> Result<()> {
        let settings = self.settings();
        if settings.read_wait == ReadWait::Off || !self.transaction.reads_newest() {
            return Ok(());
        }
        let (how, after) = (settings.read_wait, settings.read_after.clone());
        let at_most = Duration::from_secs(settings.read_wait_secs);
        let server = Arc::clone(&self.server);
        let waited = async {
            if let Some(after) = after {
                server.has_executed(&after).await;
            }
            match how {
                ReadWait::Off | ReadWait::Session => Ok(()),
                ReadWait::Cluster => server.caught_up().await,
                ReadWait::Stable => server.stable().await,
            }
        };
        let interrupt = Arc::clone(&self.entry.interrupt);
        tokio::select! {
            done = tokio::time::timeout(at_most, waited) => done.unwrap_or_else(|_| Err(late(how, at_most))),
            () = interrupt.raised() => Err(SqlError::new(1317, "Query execution was interrupted")),
        }
    }
}

fn late(how: ReadWait, at_most: Duration) -> SqlError {
    let (secs, how) = (at_most.as_secs(), how.name());
    SqlError::new(
        1205,
        format!(
            "starling_read_wait = {how}: this node has not applied what the read waits for within {secs} s (starling_read_wait_timeout); try again, read at another node, or set starling_read_wait lower"
        ),
    )
}
