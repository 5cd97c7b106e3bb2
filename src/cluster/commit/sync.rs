//! Pending records on their way to disk: one fsync for all that waits.
//!
//! Promises: writes and removals become durable in the order they were asked for; "flushed" is said only of what is; after a failed
//! write nothing is said any more. Must not know: what records mean.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use starling_log::log::PendingOp;
use starling_log::{Log, VersionVector};

use super::Commit;
use crate::cluster::quorum::{Input, WriteNo};

/// Batches waiting, and a little more: then no more work is taken.
pub(super) const QUEUE: usize = 256;
/// Entries that were written without an fsync get one after this long at the latest.
const LAZY: Duration = Duration::from_millis(20);

pub(super) struct Batch {
    pub ops: Vec<PendingOp>,
    /// The last write in it; `None`: nobody waits for it.
    pub upto: Option<WriteNo>,
}

pub(super) fn start(log: Arc<Log>, commit: Arc<Commit>) -> std::io::Result<(Sender<Batch>, std::thread::JoinHandle<()>)> {
    let (sender, batches) = unbounded();
    let thread = std::thread::Builder::new()
        .name("commit sync".to_owned())
        .spawn(move || run(&log, &commit, &batches))?;
    Ok((sender, thread))
}

fn run(log: &Log, commit: &Commit, batches: &Receiver<Batch>) {
    let mut durable = VersionVector::new();
    loop {
        let first = match batches.recv_timeout(LAZY) {
            Ok(batch) => Some(batch),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let held = log.held();
        if first.is_none() && held == durable {
            continue;
        }
        let mut upto = None;
        let mut ops = Vec::new();
        for batch in first.into_iter().chain(batches.try_iter()) {
            upto = upto.max(batch.upto);
            ops.extend(batch.ops);
        }
        // Without writes that somebody waits for, removals go along with the next flush.
        let sync = upto.is_some() || held != durable;
        match log.settle(ops, Vec::new(), sync) {
            Ok((_, flush)) => {
                if sync {
                    durable = held;
                    commit.input_from(true, Input::Held(durable.clone()));
                }
                if let Some(upto) = upto {
                    commit.input_from(!batches.is_empty(), Input::Flushed { upto, flush });
                }
            }
            Err(error) => {
                tracing::error!(%error, "votes cannot be written: this node takes no part in decisions until it is restarted");
                commit.stop();
                return;
            }
        }
    }
}
