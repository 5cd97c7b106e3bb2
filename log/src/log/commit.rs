//! Group commit: whoever comes first leads, and one flush serves all who are waiting.
//!
//! Promises: stamps and places are given under the leader's lock, so that stamp order is place order in every origin; the
//! clock's high-water mark is written in the same flush, before the entries; nothing is visible or acknowledged before the
//! sync returned, except work that asks for none (`settle`: decided elsewhere, explained by synced records), which is written while a
//! sync is under way and waits for none; after a failed write or sync nothing is acknowledged ever again. The queue is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::pending::{Journal, PendingOp};
use super::{AppendError, Draft, IngestError, Log, Placed};
use crate::clock::{Hlc, Observed, Stamp};
use crate::entry::Entry;
use crate::segment::{self, BODY_MAX, Decoded, ENTRY_MAX};
use crate::store::{Key, Op, StoreError, Witness};
use crate::vector::{Origin, Place, VersionVector};

use super::round::{Finished, Round};

/// Bytes waiting for a flush, at most (a single larger transaction is let in alone).
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Bytes written without a sync, at most: with more the next piece of work is synced whether it asks for it or not. It bounds what a
/// power cut takes away, and keeps the unsynced tail within one of sled's own segments.
const LAZY_BYTES_MAX: usize = 256 << 10;

/// Where an origin ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub seq: u64,
    pub hlc: Hlc,
    /// The Merkle chain behind the last whole leaf.
    pub open_leaf: u128,
    /// The author's flush number of its last entry.
    pub author_flush: u64,
}

/// What only those who write touch.
#[derive(Default)]
pub(super) struct Committer {
    pub tails: BTreeMap<Origin, Tail>,
    /// The Merkle leaves of each origin's last block, as stored.
    pub blocks: BTreeMap<Origin, Vec<u8>>,
    /// The number of the last flush that is written (and perhaps not synced yet).
    pub flush: u64,
    /// The flush number at the start.
    pub base: u64,
    /// No stamp above it has been given out durably.
    pub mark: Hlc,
    /// How many the last flush served, and how long it took.
    pub last_jobs: usize,
    pub last_sync: Duration,
    /// Written since the last sync began.
    pub lazy_bytes: usize,
    /// Whose entries are written and shown only after the sync under way.
    pub unshown: Vec<Origin>,
    /// Prepared transactions, votes and outcomes.
    pub pending: Journal,
}

impl Committer {
    pub(super) fn flush_of(&self, origin: Origin) -> u64 {
        self.tails.get(&origin).map_or(0, |t| t.author_flush)
    }
}

/// A draft made ready in its author's thread: all but place and stamp.
pub(super) struct Prepared {
    pub entry: Arc<Entry>,
    /// Where its archive ends in `archives`.
    pub end: usize,
}

pub(super) enum Work {
    Append {
        origin: Origin,
        prepared: Vec<Prepared>,
        archives: Vec<u8>,
    },
    Ingest(Vec<Incoming>),
    Meta(Key, Vec<u8>),
    Settle(Settle),
}

/// Pending records, and entries that were decided elsewhere, made ready in their caller's thread.
pub(super) struct Settle {
    pub ops: Vec<PendingOp>,
    pub learned: Vec<Prepared>,
    pub archives: Vec<u8>,
    pub sync: bool,
}

/// A segment of another node, taken apart, and its parts as they travelled.
pub(super) struct Incoming {
    pub decoded: Decoded,
    pub parts: Vec<Bytes>,
}

pub(super) enum Done {
    Placed(Vec<Placed>),
    Entries(Vec<Arc<Entry>>),
    Meta,
    /// And the number of the flush that makes it durable.
    Settled(Vec<Arc<Entry>>, u64),
}

pub(super) type Answer = Result<Done, IngestError>;

struct Job {
    work: Work,
    bytes: usize,
    slot: Arc<Slot>,
}

/// What a round wrote, and what is true once it is synced.
struct Written {
    flush: u64,
    base: u64,
    mark: Hlc,
    /// All that the sync makes durable.
    bytes: usize,
    early: Vec<Arc<Entry>>,
    entries: Vec<Arc<Entry>>,
    lazy_are_shown: bool,
}

/// Where a follower waits for its answer.
#[derive(Default)]
struct Slot {
    answer: Mutex<Option<Answer>>,
    ready: Condvar,
}

impl Slot {
    fn give(&self, answer: Answer) {
        *self.answer.lock() = Some(answer);
        self.ready.notify_one();
    }
    fn wait(&self) -> Answer {
        let mut answer = self.answer.lock();
        loop {
            if let Some(answer) = answer.take() {
                return answer;
            }
            self.ready.wait(&mut answer);
        }
    }
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    bytes: usize,
    /// Somebody is on the way to lead the jobs that wait.
    led: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Signalled when the queue was emptied.
    room: Condvar,
}

impl Queue {
    /// Returns whether the caller is to lead.
    fn push(&self, job: Job) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.bytes > 0 && waiting.bytes + job.bytes > QUEUE_BYTES_MAX {
            self.room.wait(&mut waiting);
        }
        waiting.bytes += job.bytes;
        waiting.jobs.push(job);
        !std::mem::replace(&mut waiting.led, true)
    }

    fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock();
        waiting.led = false;
        waiting.bytes = 0;
        self.room.notify_all();
        std::mem::take(&mut waiting.jobs)
    }
}

/// Parts of large entries that arrived without their last one, by origin.
pub(super) type Partial = BTreeMap<Origin, Vec<Bytes>>;

pub(super) fn mismatch() -> AppendError {
    AppendError::Poisoned("an answer of the wrong kind".into())
}

pub(super) fn plain(error: IngestError) -> AppendError {
    match error {
        IngestError::Append(error) => error,
        other => AppendError::Poisoned(other.to_string()),
    }
}

impl Log {
    pub(super) fn submit_append(&self, origin: Origin, drafts: Vec<Draft>) -> Result<Vec<Placed>, AppendError> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let work = prepare(origin, drafts)?;
        match self.submit(work).map_err(plain)? {
            Done::Placed(placed) => Ok(placed),
            _ => Err(mismatch()),
        }
    }

    pub(super) fn submit_meta(&self, key: Key, value: Vec<u8>) -> Result<(), AppendError> {
        if value.len() > BODY_MAX {
            return Err(AppendError::TooLarge {
                size: value.len(),
                max: BODY_MAX,
            });
        }
        self.submit(Work::Meta(key, value)).map(drop).map_err(plain)
    }

    pub(super) fn submit_ingest(&self, segments: &[Bytes]) -> Result<Vec<Arc<Entry>>, IngestError> {
        let incoming = self.assemble(segments)?;
        if incoming.is_empty() {
            return Ok(Vec::new());
        }
        match self.submit(Work::Ingest(incoming))? {
            Done::Entries(entries) => Ok(entries),
            _ => Err(mismatch().into()),
        }
    }

    /// Checks and decodes what came, joining the parts of large entries.
    fn assemble(&self, segments: &[Bytes]) -> Result<Vec<Incoming>, IngestError> {
        let mut incoming = Vec::with_capacity(segments.len());
        for bytes in segments {
            let header = segment::header(bytes)?;
            if header.parts == 1 {
                let decoded = segment::decode(std::slice::from_ref(bytes))?;
                incoming.push(Incoming {
                    decoded,
                    parts: vec![bytes.clone()],
                });
                continue;
            }
            let mut partial = self.partial.lock();
            let parts = partial.entry(header.origin).or_default();
            if header.part == 0 {
                parts.clear();
            }
            if parts.len() != usize::from(header.part) {
                parts.clear();
                return Err(IngestError::Damaged("a part of a large entry is missing".into()));
            }
            parts.push(bytes.clone());
            if header.commits() {
                let parts = std::mem::take(parts);
                let decoded = segment::decode(&parts)?;
                incoming.push(Incoming { decoded, parts });
            }
        }
        Ok(incoming)
    }

    /// Waits in the queue, leads or follows, and brings back the answer.
    pub(super) fn submit(&self, work: Work) -> Answer {
        self.check_poison()?;
        let work = match self.submit_lazily(work) {
            Ok(answer) => return answer,
            Err(work) => work,
        };
        let slot = Arc::new(Slot::default());
        let job = Job {
            bytes: work.bytes(),
            work,
            slot: slot.clone(),
        };
        if self.queue.push(job) {
            self.lead();
        }
        slot.wait()
    }

    /// Work that needs no sync is written at once, beside the sync that may be under way. `Err`: it is to wait in the queue, because too
    /// much is unsynced already, or because entries before its own are not shown yet.
    fn submit_lazily(&self, work: Work) -> Result<Answer, Work> {
        let Work::Settle(settle) = &work else { return Err(work) };
        if settle.sync {
            return Err(work);
        }
        let mut committer = self.committer.lock();
        let unshown = &committer.unshown;
        let hidden = settle.learned.iter().any(|p| unshown.contains(&p.entry.place.origin));
        let bytes = work.bytes();
        if hidden || committer.lazy_bytes + bytes > LAZY_BYTES_MAX {
            return Err(work);
        }
        if let Err(error) = self.check_poison().and_then(|()| self.room(bytes)) {
            return Ok(Err(error.into()));
        }
        let mut round = Round::new(&self.clock, &mut committer, false);
        let answer = round.take_in(work, &Ok(()));
        let Some(finished) = round.finish() else { return Ok(answer) };
        Ok(self.write(finished).map_err(IngestError::from).and_then(|written| {
            self.show(written.early, false);
            answer
        }))
    }

    fn lead(&self) {
        let turn = self.flushing.lock();
        let (expected, patience) = {
            let committer = self.committer.lock();
            (committer.last_jobs, committer.last_sync / 2)
        };
        self.gather(expected, patience);
        let jobs = self.queue.take();
        let (works, slots): (Vec<Work>, Vec<Arc<Slot>>) = jobs.into_iter().map(|j| (j.work, j.slot)).unzip();
        let answers = self.commit(works, &slots);
        // The next leader goes on while the followers of this one are woken.
        drop(turn);
        for (slot, answer) in slots.iter().zip(answers) {
            if let Some(answer) = answer {
                slot.give(answer);
            }
        }
    }

    /// Those whom the last flush has just woken usually come back at once: leaving without them would make every second flush
    /// nearly empty. Nobody waits where nobody is expected, and nobody who needs no flush.
    fn gather(&self, expected: usize, patience: Duration) {
        let start = Instant::now();
        loop {
            {
                let waiting = self.queue.waiting.lock();
                if waiting.jobs.len() * 2 >= expected || !waiting.jobs.iter().any(|j| j.work.syncs()) {
                    return;
                }
            }
            if start.elapsed() >= patience {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn check_poison(&self) -> Result<(), AppendError> {
        match self.poison.get() {
            Some(why) => Err(AppendError::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn poison_with(&self, error: &StoreError) -> AppendError {
        let why = self.poison.get_or_init(|| {
            tracing::error!(%error, "the log failed: nothing is acknowledged until the node is restarted");
            error.to_string()
        });
        AppendError::Poisoned(why.clone())
    }

    fn room(&self, bytes: usize) -> Result<(), AppendError> {
        self.store.room(bytes).map_err(|error| match error {
            StoreError::Full(why) => AppendError::DiskFull(why),
            error => self.poison_with(&error),
        })
    }

    /// One flush for all of `works`; one answer for each (`None`: given already, because it needed no sync).
    fn commit(&self, works: Vec<Work>, slots: &[Arc<Slot>]) -> Vec<Option<Answer>> {
        let count = works.len();
        let bytes = works.iter().map(Work::bytes).sum();
        if let Err(error) = self.check_poison().and_then(|()| self.room(bytes)) {
            return (0..count).map(|_| Some(Err(error.clone().into()))).collect();
        }
        let lazy: Vec<bool> = works.iter().map(|w| !w.syncs()).collect();
        let syncing = lazy.iter().filter(|lazy| !**lazy).count();
        let may_write = self.clock.may_write();
        let mut committer = self.committer.lock();
        let sync = syncing > 0 || committer.lazy_bytes + bytes > LAZY_BYTES_MAX;
        if sync {
            committer.last_jobs = syncing;
        }
        self.on_the_way.store(self.clock.last().0.max(1), Ordering::SeqCst);
        let mut round = Round::new(&self.clock, &mut committer, sync);
        let mut answers: Vec<Option<Answer>> = works.into_iter().map(|w| Some(round.take_in(w, &may_write))).collect();
        let flushed = match round.finish().map(|finished| self.write(finished)) {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(mut written)) => {
                committer.unshown = written.entries.iter().map(|e| e.place.origin).collect();
                self.show(std::mem::take(&mut written.early), false);
                drop(committer);
                if written.lazy_are_shown {
                    for ((answer, slot), _) in answers.iter_mut().zip(slots).zip(&lazy).filter(|(_, lazy)| **lazy) {
                        if let Some(answer) = answer.take() {
                            slot.give(answer);
                        }
                    }
                }
                self.flush_written(written, sync)
            }
        };
        self.on_the_way.store(0, Ordering::SeqCst);
        match flushed {
            Ok(()) => answers,
            Err(error) => answers.into_iter().map(|a| a.map(|a| a.and(Err(error.clone().into())))).collect(),
        }
    }

    /// Into the store; durable with the next sync.
    fn write(&self, finished: Finished<'_>) -> Result<Written, AppendError> {
        let Finished {
            committer,
            ops,
            mark,
            tails,
            blocks,
            early,
            lazy_are_shown,
            entries,
            sync,
        } = finished;
        let bytes: usize = ops.iter().map(Op::bytes).sum();
        self.store.write(ops).map_err(|e| self.unknown(&e))?;
        committer.lazy_bytes += bytes;
        committer.mark = committer.mark.max(mark);
        committer.tails.extend(tails);
        committer.blocks.extend(blocks);
        if sync {
            committer.flush += 1;
        }
        Ok(Written {
            flush: committer.flush,
            base: committer.base,
            mark: committer.mark,
            bytes: committer.lazy_bytes,
            early,
            entries,
            lazy_are_shown,
        })
    }

    fn unknown(&self, error: &StoreError) -> AppendError {
        self.poison_with(error);
        AppendError::Unknown(error.to_string())
    }

    /// Syncs (where asked) what was written, and shows it. Work that needs no sync is written meanwhile.
    fn flush_written(&self, written: Written, sync: bool) -> Result<(), AppendError> {
        let Written { flush, base, mark, .. } = written;
        let start = Instant::now();
        if sync {
            self.store.sync().map_err(|e| self.unknown(&e))?;
            self.flush.store(flush, Ordering::Release);
            self.mark.store(mark.0, Ordering::Release);
            self.store.set_witness(Witness { flush, base });
        }
        self.show(written.entries, true);
        let mut committer = self.committer.lock();
        committer.unshown.clear();
        if sync {
            committer.last_sync = start.elapsed();
            committer.lazy_bytes -= written.bytes;
        }
        Ok(())
    }

    /// Makes entries visible: durable ones, and decided ones that are written.
    fn show(&self, entries: Vec<Arc<Entry>>, tell: bool) {
        if entries.is_empty() {
            return;
        }
        {
            let mut visible = self.visible.write();
            for entry in entries {
                visible.held.advance(entry.place.origin, entry.place.seq);
                visible.recent.push(entry);
            }
        }
        // Whoever settles entries knows of them, and so do the others, each by itself: a dozen tasks need not wake for each.
        if tell {
            self.grown.send_modify(|n| *n += 1);
        }
    }

    /// The clock follows what others did, as far as it is within the drift bound.
    pub(super) fn follow(clock: &crate::clock::Clock, entries: &[Arc<Entry>]) {
        let Some(latest) = entries.iter().map(|e| e.stamp.hlc).max() else {
            return;
        };
        if clock.observe(latest) != Observed::Followed {
            for entry in entries {
                clock.observe(entry.stamp.hlc);
            }
        }
    }
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Work::Append { prepared, archives, .. } => archives.len() + prepared.len() * 32,
            Work::Ingest(incoming) => incoming.iter().flat_map(|i| &i.parts).map(Bytes::len).sum(),
            Work::Meta(key, value) => key.len() + value.len(),
            Work::Settle(settle) => {
                settle.archives.len() + settle.learned.len() * 32 + settle.ops.iter().map(PendingOp::bytes).sum::<usize>()
            }
        }
    }

    /// Does its answer wait for a sync?
    fn syncs(&self) -> bool {
        match self {
            Work::Settle(settle) => settle.sync,
            Work::Append { .. } | Work::Ingest(_) | Work::Meta(..) => true,
        }
    }
}

/// In the author's own thread: check, archive, allocate. What is left for the leader is to number and to copy.
fn prepare(origin: Origin, drafts: Vec<Draft>) -> Result<Work, AppendError> {
    let mut archives = Vec::new();
    let mut prepared = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let start = archives.len();
        segment::encode_body(&mut archives, draft.schema, &draft.body).map_err(|_| AppendError::Malformed)?;
        let size = archives.len() - start;
        if size > ENTRY_MAX {
            return Err(AppendError::TooLarge { size, max: ENTRY_MAX });
        }
        let entry = Entry {
            place: Place { origin, seq: 0 },
            stamp: Stamp { hlc: Hlc(0), origin },
            causes: without(&draft.causes, origin),
            schema: draft.schema,
            body: draft.body,
        };
        prepared.push(Prepared {
            entry: Arc::new(entry),
            end: archives.len(),
        });
    }
    Ok(Work::Append {
        origin,
        prepared,
        archives,
    })
}

pub(super) fn without(causes: &VersionVector, origin: Origin) -> VersionVector {
    VersionVector(
        causes
            .0
            .iter()
            .filter(|(o, s)| **o != origin && **s > 0)
            .map(|(o, s)| (*o, *s))
            .collect(),
    )
}
