//! Decided entries: into the log at their places, then into the tables.
//!
//! Promises: entries of an origin come in place order; the log has them before the tables do; no fsync of their own (the pending
//! records explain what a crash takes away). Must not know: how they were decided.

use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, unbounded};
use starling_apply::Engine;
use starling_log::{Body, Entry, Log, Place};

use super::{Commit, change};
use crate::cluster::quorum::Kind;
use crate::cluster::quorum::message::Prepare;

/// Entries waiting, and a little more: then no more work is taken.
pub(super) const QUEUE: usize = 8_192;
/// Entries taken in at once.
const BATCH: usize = 1_024;

pub(super) struct Learned {
    pub place: Place,
    /// `None`: void.
    pub prepare: Option<Arc<Prepare>>,
}

pub(super) fn start(
    log: Arc<Log>,
    engine: Arc<Engine>,
    commit: Arc<Commit>,
) -> std::io::Result<(Sender<Learned>, std::thread::JoinHandle<()>)> {
    let (sender, learned) = unbounded();
    let thread = std::thread::Builder::new()
        .name("commit learn".to_owned())
        .spawn(move || run(&log, &engine, &commit, &learned))?;
    Ok((sender, thread))
}

fn run(log: &Log, engine: &Engine, commit: &Commit, learned: &Receiver<Learned>) {
    while let Ok(first) = learned.recv() {
        let batch = std::iter::once(first).chain(learned.try_iter().take(BATCH - 1));
        let entries: Result<Vec<Entry>, String> = batch.map(entry).collect();
        let outcome = entries.and_then(|entries| {
            let (entries, _) = log.settle(Vec::new(), entries, false).map_err(|e| e.to_string())?;
            engine.apply(entries).map_err(|e| e.to_string())
        });
        if let Err(error) = outcome {
            // What is in the log is tried again by the engine; what is not is asked for again by the deciding code after a restart.
            tracing::error!(%error, "decided entries cannot be taken in");
        }
        commit.look_from(!learned.is_empty());
    }
}

fn entry(learned: Learned) -> Result<Entry, String> {
    let Some(prepare) = learned.prepare else {
        return Ok(Entry::void(learned.place));
    };
    let (schema, body) = match &prepare.kind {
        Kind::Data => starling_log::segment::unpack_body(&prepare.body).map_err(|_| "a decided body does not decode".to_owned())?,
        Kind::Change(change) => (0, Body::Control(change::control(change).map_err(|e| e.to_string())?)),
    };
    let mut causes = prepare.causes.clone();
    causes.0.remove(&learned.place.origin);
    Ok(Entry {
        place: learned.place,
        stamp: prepare.stamp,
        causes,
        schema,
        body,
    })
}
