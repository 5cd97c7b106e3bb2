//! The engine's door for transactions: trials, commits of overlays, versions for votes, turns on the lanes.
//!
//! Promises: a trial leaves nothing behind but its changes in the overlay. Must not know: locks, isolation levels.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::bounded;
use parking_lot::Mutex;
use starling_log::segment::ENTRY_MAX;
use starling_log::{AppendError, Changes, VersionVector};
use tokio::sync::oneshot;

use super::core::Lane;
use super::votes::Votes;
use super::{ApplyError, Committed, Engine, WriteError, deadline};
use crate::claim::{ClaimKey, Mode, Version};
use crate::lane::Job;
use crate::lane::floor::run_here;
use crate::lane::runner::{Claim, Command, park};
use crate::lane::trial::Visit;
use crate::lane::work::{Commit, Failure, Trial, Tried, Work};
use crate::overlay::{Content, Overlay, new_token};

/// What an entry takes beside its changes, at most.
const HEAD_BYTES: u64 = 1 << 20;

/// How much a job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    #[default]
    Any,
    /// A few rows by their keys: it may run in its caller's thread.
    Point,
}

impl Engine {
    /// Runs one statement of an open transaction on the lane of `db` (lower-case name): the overlay in place, the job run
    /// captured, and all of it undone. On `Ok` its changes are in `overlay`; on `Err` the overlay is as it was. (A future that is
    /// dropped leaves the overlay as it was, too.) The lanes of databases that the overlay changed are held meanwhile.
    pub async fn trial<T: Send + 'static, E: Send + 'static>(
        &self,
        db: &str,
        wait_ms: u64,
        overlay: &mut Overlay,
        job: Job<T, E>,
    ) -> Result<T, WriteError<E>> {
        self.trial_as(Size::Any, db, wait_ms, overlay, job).await
    }
    /// The same for a job of a known size.
    pub async fn trial_as<T: Send + 'static, E: Send + 'static>(
        &self,
        size: Size,
        db: &str,
        wait_ms: u64,
        overlay: &mut Overlay,
        job: Job<T, E>,
    ) -> Result<T, WriteError<E>> {
        let content = Arc::clone(overlay.content());
        let (value, changes, catalog, token) = self.try_on(size, db, wait_ms, Some(content), job).await?;
        let mut content = overlay.content().lock();
        let size = content.bytes() + changes.bytes.len() as u64;
        if size + HEAD_BYTES > ENTRY_MAX as u64 {
            return Err(AppendError::TooLarge {
                size: usize::try_from(size).unwrap_or(usize::MAX),
                max: ENTRY_MAX,
            }
            .into());
        }
        let kept = content.append(&changes, &catalog, token, self.core.files.dir());
        kept.map_err(|e| {
            Failure::text(
                rusqlite::ErrorCode::SystemIoFailure,
                format!("a transaction cannot be spilled: {e}"),
            )
        })?;
        Ok(value)
    }

    /// An autocommit statement that is not kept: its changes come back to be proposed.
    pub async fn try_out<T: Send + 'static, E: Send + 'static>(
        &self,
        size: Size,
        db: &str,
        wait_ms: u64,
        job: Job<T, E>,
    ) -> Result<(T, Changes), WriteError<E>> {
        let (value, changes, _, _) = self.try_on(size, db, wait_ms, None, job).await?;
        Ok((value, changes))
    }

    async fn try_on<T: Send + 'static, E: Send + 'static>(
        &self,
        size: Size,
        db: &str,
        wait_ms: u64,
        overlay: Option<Arc<Mutex<Content>>>,
        job: Job<T, E>,
    ) -> Result<Tried<T>, WriteError<E>> {
        self.refuse_closed()?;
        let own = self.core.lane(db).ok_or(Failure::NoDatabase)?;
        let deadline = deadline(wait_ms);
        let ticket = own.ticket().ok_or(Failure::Timeout)?;
        let mut lanes = match &overlay {
            Some(content) => self.lanes_of(content)?,
            None => Vec::new(),
        };
        if !lanes.iter().any(|l| l.id == own.id) {
            lanes.push(own);
        }
        let (reply, answer) = oneshot::channel();
        let work = Trial {
            job,
            overlay,
            result: None,
            reply,
            deadline,
            _ticket: Some(ticket),
        };
        let mut work: Box<dyn Work> = Box::new(work);
        if let (Size::Point, [lane]) = (size, lanes.as_slice()) {
            match run_here(&self.core, lane, work).await {
                Ok(()) => return answer.await.unwrap_or(Err(WriteError::Closed)),
                Err(again) => work = again,
            }
        }
        hand_over(lanes, work, deadline).await?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Commits an overlay at ONE: one entry, durable and visible when it resolves. Transactions and autocommit jobs of one lane share
    /// an fsync. An empty overlay commits nothing.
    pub async fn commit(&self, overlay: Overlay) -> Result<Committed, WriteError<()>> {
        if overlay.is_empty() {
            return Ok(Committed::default());
        }
        self.refuse_closed()?;
        let lanes = self.lanes_of(overlay.content())?;
        let ticket = lanes.first().and_then(|l| l.ticket());
        let (reply, answer) = oneshot::channel();
        let work = Commit {
            overlay: Arc::clone(overlay.content()),
            reply,
            _ticket: Some(ticket.ok_or(Failure::Timeout)?),
        };
        hand_over(lanes, Box::new(work), None).await?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Lanes of the databases that the overlay changed.
    fn lanes_of(&self, content: &Mutex<Content>) -> Result<Vec<Arc<Lane>>, Failure> {
        let content = content.lock();
        let mut ids: Vec<u64> = content.tables.iter().map(|t| t.header.db).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .map(|id| self.core.lane_by_id(id).ok_or(Failure::NoDatabase))
            .collect()
    }

    /// The newest versions of these keys for claims of these modes, as applied here, in their order. Blocking.
    pub fn versions(&self, keys: &[(ClaimKey, Mode)]) -> Result<Vec<Version>, ApplyError> {
        self.votes().versions(keys)
    }
    /// The same for whoever asks again and again.
    pub fn votes(&self) -> Votes {
        Votes::new(Arc::clone(&self.core))
    }

    /// How many entries wrote to a table since the start, each counted before it is visible, whatever its stamp. Cheap.
    pub fn arrivals(&self, table: u64) -> u64 {
        self.core.tables.arrivals(table)
    }

    /// Changes made elsewhere (or before a restart) as the overlay of a transaction that is to be committed.
    pub fn overlay(&self, changes: &Changes) -> std::io::Result<Overlay> {
        let overlay = Overlay::new();
        let (catalog, token) = (self.core.catalog(), new_token());
        overlay.content().lock().append(changes, &catalog, token, self.core.files.dir())?;
        Ok(overlay)
    }

    /// Something visible here that may have written to the table and that is not within `causes`.
    pub fn unseen(&self, table: u64, causes: &VersionVector) -> Option<Version> {
        self.core.tables.unseen(table, causes)
    }

    /// Takes a turn on the lanes of `dbs` (lower-case names) and gives it back: what ran there before has ended. Waits at most `wait_ms`.
    pub async fn pass(&self, dbs: &[String], wait_ms: u64) -> Result<(), WriteError<()>> {
        self.refuse_closed()?;
        let deadline = deadline(wait_ms);
        for lane in dbs.iter().filter_map(|n| self.core.lane(n)) {
            let (parked, answer) = park(&lane, deadline);
            answer.await.unwrap_or(Err(Failure::NoDatabase))?;
            drop(parked);
        }
        Ok(())
    }
}

/// Work for one lane stands in its queue; for several (taken in name order) the first one runs it while the others stand still.
async fn hand_over(mut lanes: Vec<Arc<Lane>>, work: Box<dyn Work>, deadline: Option<Instant>) -> Result<(), Failure> {
    lanes.sort_by(|a, b| a.name.cmp(&b.name));
    let (first, others) = lanes.split_first().ok_or(Failure::NoDatabase)?;
    if others.is_empty() {
        first.send(Command::Job(work));
        return Ok(());
    }
    let (visit, until) = bounded(1);
    let (granted, answer) = oneshot::channel();
    first.send(Command::Visit(Claim { until, granted, deadline }));
    answer.await.unwrap_or(Err(Failure::NoDatabase))?;
    let mut held = Vec::with_capacity(others.len());
    for lane in others {
        let (parked, answer) = park(lane, deadline);
        answer.await.unwrap_or(Err(Failure::NoDatabase))?;
        held.push(parked);
    }
    visit.send(Visit { others: held, work }).map_err(|_| Failure::Closed)
}
