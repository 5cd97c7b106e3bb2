//! Entries of other nodes: held until their causes are here, then applied in batches.
//!
//! Promises: an entry is applied after all its causes and after its origin's earlier entries (law 6); one that is too early for
//! the clock waits for its time (PROTOCOL rule 20); a batch over several databases becomes visible in all at once. Must not know:
//! where entries come from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, select};
use parking_lot::MutexGuard;
use starling_log::clock::Observed;
use starling_log::{Body, Entry, Log, Origin, VersionVector};

use super::core::{Core, Lane};
use super::file::FileSide;
use super::{ApplyError, ddl};
use crate::lane::desk::progress_after;
use crate::lane::runner::{Parked, park};
use crate::materialize::FoldError;

/// A batch takes no further entry beyond that much memory, or that many entries.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_ENTRIES: usize = 8_192;
/// Held entries are tried again that often.
const RETRY_EVERY: Duration = Duration::from_millis(5);

#[derive(Default)]
pub(crate) struct Intake {
    /// By origin and sequence number, not yet applied.
    waiting: BTreeMap<Origin, BTreeMap<u64, Arc<Entry>>>,
    /// Why the first of them waits.
    why: Option<String>,
}

impl Intake {
    pub fn add(&mut self, entry: Arc<Entry>) {
        self.waiting.entry(entry.place.origin).or_default().insert(entry.place.seq, entry);
    }
    fn held(&self) -> (usize, Option<String>) {
        (self.waiting.values().map(BTreeMap::len).sum(), self.why.clone())
    }
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn drop_applied(&mut self, applied: &VersionVector) {
        self.waiting.retain(|origin, queue| {
            *queue = queue.split_off(&(applied.get(*origin) + 1));
            !queue.is_empty()
        });
    }

    /// The next entries that may be applied, in stamp order as far as their causes allow. Schema and control entries come alone.
    fn batch(&self, applied: &VersionVector, log: &Log) -> (Vec<Arc<Entry>>, Option<String>) {
        let mut done = applied.clone();
        let mut batch = Vec::new();
        let mut bytes = 0;
        loop {
            let mut best: Option<&Arc<Entry>> = None;
            let mut why = None;
            for (origin, queue) in &self.waiting {
                let next = done.get(*origin) + 1;
                let Some(entry) = queue.get(&next) else {
                    let first = queue.keys().find(|s| **s >= next);
                    why = why.or_else(|| first.map(|s| format!("entry {s} of origin {origin} waits for entry {next}")));
                    continue;
                };
                match blocked(entry, &done, log) {
                    Some(reason) => why = why.or(Some(reason)),
                    None if best.is_none_or(|b| entry.stamp < b.stamp) => best = Some(entry),
                    None => {}
                }
            }
            let Some(entry) = best else {
                return (batch, why);
            };
            let alone = matches!(entry.body, Body::Schema(_) | Body::Control(_));
            if (alone && !batch.is_empty()) || bytes >= BATCH_BYTES || batch.len() >= BATCH_ENTRIES {
                return (batch, None);
            }
            done.advance(entry.place.origin, entry.place.seq);
            bytes += entry.weight();
            batch.push(Arc::clone(entry));
            if alone {
                return (batch, None);
            }
        }
    }
}

/// Why an entry that is next of its origin cannot be applied.
pub(crate) fn missing_cause(entry: &Entry, done: &VersionVector) -> Option<String> {
    let own = entry.place.origin;
    let missing = entry.causes.iter().find(|(origin, seq)| *origin != own && done.get(*origin) < *seq);
    missing.map(|(origin, seq)| {
        format!(
            "entry {} of origin {own} waits for its cause, entry {seq} of origin {origin}",
            entry.place.seq
        )
    })
}

fn blocked(entry: &Entry, done: &VersionVector, log: &Log) -> Option<String> {
    missing_cause(entry, done).or_else(|| match log.clock().observe(entry.stamp.hlc) {
        Observed::Followed => None,
        Observed::TooEarly { wait_ms } => Some(format!(
            "entry {} of origin {} is {wait_ms} ms too early for this node's clock",
            entry.place.seq, entry.place.origin
        )),
    })
}

/// Takes in entries that are durable in the log, and applies what can be applied.
pub(crate) fn apply(core: &Arc<Core>, entries: Vec<Arc<Entry>>) -> Result<(), ApplyError> {
    let mut intake = core.intake.lock();
    for entry in entries {
        intake.add(entry);
    }
    let outcome = pump(core, &mut intake);
    if !intake.is_empty() {
        // Full means that the retrying thread knows already.
        let _ = core.held_wake.try_send(());
    }
    outcome
}

/// Tries held entries again as long as there are any: their causes may be this node's own entries in flight, or their time has come.
pub(crate) fn retry(core: &Weak<Core>, wakes: &Receiver<()>, stop: &Receiver<()>) {
    loop {
        select! {
            recv(stop) -> _ => return,
            recv(wakes) -> wake => if wake.is_err() {
                return;
            },
        }
        while retry_once(core) {
            if stop.recv_timeout(RETRY_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}

/// True: entries are still held.
fn retry_once(core: &Weak<Core>) -> bool {
    let Some(core) = core.upgrade() else {
        return false;
    };
    let mut intake = core.intake.lock();
    // An error stands in the status as the reason for holding.
    let _ = pump(&core, &mut intake);
    !intake.is_empty()
}

/// Applies what can be applied by now.
fn pump(core: &Arc<Core>, intake: &mut MutexGuard<'_, Intake>) -> Result<(), ApplyError> {
    let outcome = pump_all(core, intake);
    *core.held.lock() = intake.held();
    outcome
}

fn pump_all(core: &Arc<Core>, intake: &mut MutexGuard<'_, Intake>) -> Result<(), ApplyError> {
    loop {
        let applied = core.progress.applied();
        intake.drop_applied(&applied);
        let (batch, why) = intake.batch(&applied, &core.log);
        if batch.is_empty() {
            if why.is_some() && intake.why != why {
                tracing::info!(why, "entries are held");
            }
            intake.why = why;
            return Ok(());
        }
        if let Err(error) = apply_batch(core, &batch) {
            intake.why = Some(error.to_string());
            return Err(error);
        }
    }
}

fn apply_batch(core: &Arc<Core>, batch: &[Arc<Entry>]) -> Result<(), ApplyError> {
    if let [entry] = batch {
        match &entry.body {
            Body::Schema(_) => {
                let _ddl = core.ddl.lock();
                return ddl::apply_schema(core, entry, &[]);
            }
            Body::Control(_) => return ddl::apply_control(core, entry),
            Body::Void | Body::Rows(_) => {}
        }
    }
    apply_rows(core, batch)
}

/// The databases that an entry changes.
pub(crate) fn databases(entry: &Entry) -> BTreeSet<u64> {
    match &entry.body {
        Body::Rows(changes) => changes.tables.iter().map(|t| t.db).collect(),
        Body::Schema(schema) => BTreeSet::from([schema.db]),
        Body::Void | Body::Control(_) => BTreeSet::new(),
    }
}

fn apply_rows(core: &Arc<Core>, batch: &[Arc<Entry>]) -> Result<(), ApplyError> {
    let ids: BTreeSet<u64> = batch.iter().flat_map(|e| databases(e)).collect();
    let mut lanes: Vec<Arc<Lane>> = ids.into_iter().filter_map(|id| core.lane_by_id(id)).collect();
    lanes.sort_by(|a, b| a.name.cmp(&b.name));
    let _parked = park_all(core, &lanes)?;
    let mut places = VersionVector::new();
    for entry in batch {
        places.advance(entry.place.origin, entry.place.seq);
    }
    let mut applied = VersionVector::clone(&core.progress.applied());
    applied.merge(&places);
    let mut open: Vec<(&Arc<Lane>, MutexGuard<'_, FileSide>)> = Vec::with_capacity(lanes.len());
    for lane in &lanes {
        open.push((lane, lane.file()));
    }
    let outcome = open.iter_mut().try_for_each(|(lane, file)| fill(core, lane, file, batch, &applied));
    let outcome = outcome.and_then(|()| {
        core.progress.announce(&places);
        Ok(switch(core, &mut open, batch)?)
    });
    if let Err(error) = outcome {
        for (_, file) in &mut open {
            file.rollback();
        }
        return Err(error);
    }
    for (lane, file) in &mut open {
        let mut stored = lane.stored();
        stored.merge(&applied);
        let epoch = lane.committed(&stored);
        file.set_epoch(epoch);
    }
    let mut autos = core.autos.lock();
    for entry in batch {
        if let Body::Rows(changes) = &entry.body {
            changes.tables.iter().for_each(|t| autos.distrust(t.table));
        }
    }
    Ok(())
}

/// Applies this node's own entries, just appended, whose effects are in no file yet. The caller holds the lanes of all databases they
/// change, and is done with their try connections.
pub(crate) fn apply_own(core: &Core, lanes: &[Arc<Lane>], entries: &[Arc<Entry>]) -> Result<(), FoldError> {
    let applied = progress_after(&core.progress.applied(), entries);
    let mut open: Vec<(&Arc<Lane>, MutexGuard<'_, FileSide>)> = Vec::with_capacity(lanes.len());
    for lane in lanes {
        open.push((lane, lane.file()));
    }
    let outcome = open.iter_mut().try_for_each(|(lane, file)| {
        file.begin(lane.epoch())?;
        entries.iter().try_for_each(|e| file.apply(e, core).map(drop))?;
        let moved = core.meet(lane, entries, |table, origin| file.counted(table, origin));
        file.raise_auto_counters(&moved);
        let mut after = lane.stored();
        after.merge(&applied);
        file.finish(&after, core)
    });
    if let Err(error) = outcome.and_then(|()| switch(core, &mut open, entries)) {
        for (_, file) in &mut open {
            file.rollback();
        }
        return Err(error);
    }
    for (lane, file) in &mut open {
        let mut after = lane.stored();
        after.merge(&applied);
        let epoch = lane.committed(&after);
        file.set_epoch(epoch);
    }
    Ok(())
}

fn fill(core: &Core, lane: &Arc<Lane>, file: &mut FileSide, batch: &[Arc<Entry>], applied: &VersionVector) -> Result<(), ApplyError> {
    file.begin(lane.epoch())?;
    let stored = lane.stored();
    for entry in batch {
        if databases(entry).contains(&lane.id) && !stored.contains(entry.place) {
            file.apply(entry, core).inspect_err(|e| core.note_damage(&lane.name, e))?;
        }
    }
    let mut after = stored;
    after.merge(applied);
    Ok(file.finish(&after, core)?)
}

/// Commits all files and publishes.
fn switch(core: &Core, open: &mut [(&Arc<Lane>, MutexGuard<'_, FileSide>)], batch: &[Arc<Entry>]) -> Result<(), FoldError> {
    core.count(batch);
    let places = batch.iter().map(|e| e.place);
    if open.len() > 1 {
        let _gate = core.gate.exclusive();
        open.iter_mut().try_for_each(|(_, file)| file.commit())?;
        core.progress.complete(places);
    } else {
        let _gate = core.gate.shared();
        open.iter_mut().try_for_each(|(_, file)| file.commit())?;
        core.progress.complete(places);
    }
    Ok(())
}

/// Has all these lanes (in name order) stand still, and brings their files up to date with the log first.
pub(crate) fn park_all(core: &Core, lanes: &[Arc<Lane>]) -> Result<Vec<Parked>, ApplyError> {
    let mut parked = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let (guard, answer) = park(lane, None);
        match answer.blocking_recv() {
            Ok(Ok(())) => {}
            _ => return Err(ApplyError::Other(format!("database {} is closing", lane.name))),
        }
        core.catch_up(lane).map_err(|f| ApplyError::Other(format!("{f:?}")))?;
        parked.push(guard);
    }
    Ok(parked)
}
