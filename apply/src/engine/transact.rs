//! The engine's door for transactions: trials, commits of overlays, versions for votes, turns on the lanes.
//!
//! Promises: a trial leaves nothing behind but its changes in the overlay. Must not know: locks, isolation levels.

use starling_log::Changes;

use super::{ApplyError, Committed, Engine, WriteError};
use crate::claim::{ClaimKey, Version};
use crate::lane::Job;
use crate::lane::work::Failure;
use crate::overlay::Overlay;

fn not_yet(what: &str) -> Failure {
    Failure::text(rusqlite::ErrorCode::Unknown, format!("{what}: not built yet"))
}

impl Engine {
    /// Runs one statement of an open transaction on the lane of `db` (lower-case name): the overlay in place, the job run
    /// captured, and all of it undone. On `Ok` its changes are in `overlay`; on `Err` the overlay is as it was.
    pub async fn trial<T: Send + 'static, E: Send + 'static>(
        &self,
        db: &str,
        wait_ms: u64,
        overlay: &mut Overlay,
        job: Job<T, E>,
    ) -> Result<T, WriteError<E>> {
        let _ = (db, wait_ms, overlay, job);
        Err(not_yet("trials").into())
    }
    /// Commits an overlay at ONE: one entry, durable and visible when it resolves.
    pub async fn commit(&self, overlay: Overlay) -> Result<Committed, WriteError<()>> {
        let _ = overlay;
        Err(not_yet("commit of overlays").into())
    }
    /// An autocommit statement that is not kept: its changes come back to be proposed.
    pub async fn try_out<T: Send + 'static, E: Send + 'static>(
        &self,
        db: &str,
        wait_ms: u64,
        job: Job<T, E>,
    ) -> Result<(T, Changes), WriteError<E>> {
        let _ = (db, wait_ms, job);
        Err(not_yet("trials").into())
    }
    /// The newest versions of these keys, as applied here (for votes), in their order. Blocking.
    pub fn versions(&self, keys: &[ClaimKey]) -> Result<Vec<Version>, ApplyError> {
        let _ = keys;
        Err(ApplyError::Other("versions: not built yet".to_owned()))
    }
    /// Takes a turn on the lanes of `dbs` (lower-case names) and gives it back: what ran there before has ended. Waits at most `wait_ms`.
    pub async fn pass(&self, dbs: &[String], wait_ms: u64) -> Result<(), WriteError<()>> {
        let turn = self.begin(dbs, wait_ms).await?;
        turn.rollback().await;
        Ok(())
    }
}
