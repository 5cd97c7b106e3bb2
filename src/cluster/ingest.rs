//! Taking others' entries in: one thread, one queue, as much per batch as is waiting.
//!
//! Promises: entries are durable in the log before they are applied; one sync serves everything that waited; the queue is bounded,
//! so a slow disk slows the streams down instead of filling the memory. Must not know: where segments come from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use starling_apply::Engine;
use starling_log::log::IngestError;
use starling_log::{AppendError, Entry, Log, Origin, segment};
use tokio::sync::{mpsc, oneshot};

use super::quiet::Quiet;

/// Batches waiting; each is one frame.
pub const QUEUE: usize = 16;
/// Bytes taken into one batch, about.
const BATCH_BYTES: usize = 8 << 20;
/// Entries applied at once when catching up with the own log.
const APPLY_CHUNK: usize = 2_000;
/// Entries that may wait for their causes in memory. With more of them waiting, entries stay in the log until they can be applied.
const WAITING_MAX: usize = 20_000;
const RETRY: Duration = Duration::from_millis(500);

/// Sequences of former members, and the last places of theirs that count (PROTOCOL 18): nothing beyond is taken.
#[derive(Default)]
pub struct Fences(RwLock<BTreeMap<Origin, u64>>);

impl Fences {
    /// `None`: it did not come to be.
    pub fn set(&self, origin: Origin, last: Option<u64>) {
        // Waits for what is just being taken in.
        let mut map = self.0.write();
        match last {
            Some(last) => map.insert(origin, last),
            None => map.remove(&origin),
        };
    }

    /// What of these segments counts. Anything that is no segment is left for the log to refuse.
    fn within(fences: &BTreeMap<Origin, u64>, segments: &[Bytes]) -> Vec<Bytes> {
        let cut = |segment: &Bytes| {
            let Ok(header) = segment::header(segment) else {
                return Some(segment.clone());
            };
            match fences.get(&header.origin) {
                Some(last) if header.first > *last => None,
                Some(last) if header.last() > *last => segment::prefix(segment, last + 1 - header.first).ok(),
                _ => Some(segment.clone()),
            }
        };
        segments.iter().filter_map(cut).collect()
    }
}

/// One frame's segments.
pub struct Batch {
    pub segments: Vec<Bytes>,
    /// Set when they were not taken: the stream they came by has to begin again from what is held.
    pub failed: Arc<AtomicBool>,
    /// Told when they are in (`true`) or not.
    pub done: Option<oneshot::Sender<bool>>,
}

pub struct Ingest {
    log: Arc<Log>,
    engine: Arc<Engine>,
    quiet: Quiet,
    waiting_max: usize,
    /// Entries are applied from the log, in the order of their stamps, instead of as they come.
    behind: AtomicBool,
    fences: Arc<Fences>,
}

/// Starts the thread; it ends when all senders are gone.
pub fn start(
    log: Arc<Log>,
    engine: Arc<Engine>,
    fences: Arc<Fences>,
) -> std::io::Result<(mpsc::Sender<Batch>, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let ingest = Ingest {
        log,
        engine,
        quiet: Quiet::default(),
        waiting_max: WAITING_MAX,
        behind: AtomicBool::new(false),
        fences,
    };
    let thread = std::thread::Builder::new()
        .name("ingest".to_owned())
        .spawn(move || ingest.run(receiver))?;
    Ok((sender, thread))
}

impl Ingest {
    fn run(&self, mut queue: mpsc::Receiver<Batch>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = size(&first);
            let mut batches = vec![first];
            while bytes < BATCH_BYTES
                && let Ok(next) = queue.try_recv()
            {
                bytes += size(&next);
                batches.push(next);
            }
            self.take(batches);
        }
    }

    fn take(&self, mut batches: Vec<Batch>) {
        let mut all: Vec<Bytes> = batches.iter().flat_map(|b| b.segments.iter().cloned()).collect();
        let taken = {
            let fences = self.fences.0.read();
            if !fences.is_empty() {
                all = Fences::within(&fences, &all);
            }
            self.log.ingest(&all)
        };
        match taken {
            Ok(entries) => {
                self.apply(entries);
                for batch in batches {
                    batch.tell(true);
                }
            }
            // One bad frame must not keep the others out.
            Err(_) if batches.len() > 1 => {
                self.catch_up();
                for batch in batches.drain(..) {
                    self.take(vec![batch]);
                }
            }
            Err(error) => {
                self.complain(&error);
                self.catch_up();
                for batch in batches {
                    batch.tell(false);
                }
            }
        }
    }

    fn complain(&self, error: &IngestError) {
        let subject = match error {
            // Normal after a reconnect: the stream begins again where the log ends.
            IngestError::Gap { .. } => return,
            IngestError::Damaged(_) => "damaged",
            IngestError::Version(_) => "version",
            IngestError::Append(AppendError::DiskFull(_)) => "disk full",
            IngestError::Append(_) => "append",
        };
        if self.quiet.lets(subject) {
            tracing::error!("entries of a peer are not taken: {error}");
        }
    }

    fn apply(&self, entries: Vec<Arc<Entry>>) {
        if entries.is_empty() {
            return;
        }
        if self.behind.load(Ordering::Relaxed) {
            return self.advance();
        }
        if let Err(error) = self.engine.apply(entries) {
            tracing::error!(%error, "entries are not applied; trying again from the log");
            self.catch_up();
        }
        if self.engine.held().0 > self.waiting_max {
            self.behind.store(true, Ordering::Relaxed);
        }
    }

    /// One stream is far ahead of another whose entries it builds on: what can be applied stands first in the order of stamps.
    fn advance(&self) {
        loop {
            let (before, held) = (self.engine.applied(), self.log.held());
            if before.covers(&held) {
                return self.behind.store(false, Ordering::Relaxed);
            }
            let chunk: Result<Vec<_>, _> = self.log.scan(&before, &held).take(self.waiting_max).collect();
            let applied = chunk
                .map_err(|e| e.to_string())
                .and_then(|c| self.engine.apply(c).map_err(|e| e.to_string()));
            if let Err(error) = applied {
                tracing::error!("entries are not applied: {error}");
                return self.catch_up();
            }
            if self.engine.applied() == before {
                return;
            }
        }
    }

    /// Whatever the log holds and the tables do not show is applied from the log.
    fn catch_up(&self) {
        loop {
            let (applied, held) = (self.engine.applied(), self.log.held());
            if applied.covers(&held) {
                return;
            }
            match self.replay(&applied, &held) {
                Ok(()) => return,
                Err(error) => {
                    if self.quiet.lets("replay") {
                        tracing::error!("the log is ahead of the tables, and applying it fails: {error}");
                    }
                    std::thread::park_timeout(RETRY);
                }
            }
            if self.log.poisoned().is_some() {
                return;
            }
        }
    }

    fn replay(&self, applied: &starling_log::VersionVector, held: &starling_log::VersionVector) -> Result<(), String> {
        let mut chunk = Vec::new();
        for entry in self.log.scan(applied, held) {
            chunk.push(entry.map_err(|e| e.to_string())?);
            if chunk.len() >= APPLY_CHUNK {
                self.engine.apply(std::mem::take(&mut chunk)).map_err(|e| e.to_string())?;
            }
        }
        if chunk.is_empty() {
            return Ok(());
        }
        self.engine.apply(chunk).map_err(|e| e.to_string())
    }
}

fn size(batch: &Batch) -> usize {
    batch.segments.iter().map(Bytes::len).sum()
}

impl Batch {
    fn tell(self, good: bool) {
        if !good {
            self.failed.store(true, Ordering::Release);
        }
        if let Some(done) = self.done {
            // Who asked may be gone.
            let _ = done.send(good);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_apply::EngineOptions;
    use starling_log::LogOptions;

    fn node(dir: &std::path::Path, name: &str, origin: Option<Origin>) -> Arc<Engine> {
        let log = Log::open(LogOptions::new(dir.join(name).join("log")), Arc::new(starling_log::SystemTime)).unwrap();
        let options = EngineOptions {
            dir: dir.join(name).join("db"),
            origin,
            on_connect: Arc::new(|_, _| Ok(())),
            full_row_image: true,
            on_progress: None,
        };
        Engine::open(options, log).unwrap()
    }

    fn write(engine: &Engine, count: usize) {
        for _ in 0..count {
            engine.control::<String>("test", b"{}".to_vec()).unwrap();
        }
    }

    fn segments(engine: &Engine, origin: Origin) -> Vec<Bytes> {
        engine.log().segments(origin, 1, usize::MAX).unwrap()
    }

    fn batch(segments: &[Bytes]) -> Batch {
        Batch {
            segments: segments.to_vec(),
            failed: Arc::new(AtomicBool::new(false)),
            done: None,
        }
    }

    fn ingest(node: &Arc<Engine>, waiting_max: usize) -> Ingest {
        Ingest {
            log: node.log().clone(),
            engine: node.clone(),
            quiet: Quiet::default(),
            waiting_max,
            behind: AtomicBool::new(false),
            fences: Arc::default(),
        }
    }

    #[test]
    fn a_stream_far_ahead_of_its_causes_waits_in_the_log_and_gets_through() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second, third) = (
            node(dir.path(), "a", Some(1)),
            node(dir.path(), "b", Some(3)),
            node(dir.path(), "c", None),
        );
        write(&first, 30);
        second.apply(second.log().ingest(&segments(&first, 1)).unwrap()).unwrap();
        write(&second, 60);
        let ingest = ingest(&third, 10);
        for one in segments(&second, 3) {
            ingest.take(vec![batch(&[one])]);
        }
        assert!(ingest.behind.load(Ordering::Relaxed));
        assert!(third.held().0 <= 30, "{:?}", third.held());
        assert_eq!(third.log().held().get(3), 60, "all of it is durable");
        for one in segments(&first, 1) {
            ingest.take(vec![batch(&[one])]);
        }
        assert_eq!((third.applied().get(1), third.applied().get(3)), (30, 60));
        assert!(!ingest.behind.load(Ordering::Relaxed));
        for engine in [first, second, third] {
            engine.close();
        }
    }

    #[test]
    fn a_bad_frame_keeps_no_other_out() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (node(dir.path(), "a", Some(1)), node(dir.path(), "b", None));
        write(&first, 3);
        let ingest = ingest(&second, 10);
        let (good, bad) = (batch(&segments(&first, 1)), batch(&[Bytes::from_static(b"no segment")]));
        let (good_failed, bad_failed) = (good.failed.clone(), bad.failed.clone());
        ingest.take(vec![bad, good]);
        assert!(bad_failed.load(Ordering::Relaxed) && !good_failed.load(Ordering::Relaxed));
        assert_eq!(second.applied().get(1), 3);
        for engine in [first, second] {
            engine.close();
        }
    }

    #[test]
    fn nothing_beyond_a_fence_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (node(dir.path(), "a", Some(1)), node(dir.path(), "b", None));
        write(&first, 5);
        let ingest = ingest(&second, 10);
        ingest.fences.set(1, Some(3));
        let all = batch(&segments(&first, 1));
        let failed = all.failed.clone();
        ingest.take(vec![all]);
        assert_eq!((second.applied().get(1), failed.load(Ordering::Relaxed)), (3, false));
        ingest.fences.set(1, None);
        ingest.take(vec![batch(&segments(&first, 1))]);
        assert_eq!(second.applied().get(1), 5);
        for engine in [first, second] {
            engine.close();
        }
    }
}
