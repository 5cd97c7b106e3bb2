//! The upkeep thread: checkpoints, stored positions of idle files, memory of idle readers.
//!
//! Promises: no lane ever checkpoints on its own way; a WAL is bounded as far as open snapshots let it; a restart finds every
//! file's position close to the log's end. Must not know: what is in the files.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, select, tick};
use rusqlite::{Connection, OpenFlags};
use starling_log::VersionVector;

use super::core::{Core, Lane};
use super::file::FileSide;
use super::files::WAL_KICK_PAGES;
use crate::lane::runner::park;
use crate::materialize::FoldError;

/// The thread looks around that often.
const TICK: Duration = Duration::from_millis(250);
/// A WAL with anything in it is checkpointed after that long.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// An idle file's position is moved up that often (if there is anything to move), or after that many bytes of entries.
const BUMP_EVERY: Duration = Duration::from_secs(5);
const BUMP_BYTES: u64 = 16 << 20;
/// A WAL of that many pages (128 MiB) is cut back to nothing, for which writers wait a moment.
const WAL_CUT_PAGES: u32 = 32_768;
/// A WAL of that many pages (256 MiB) makes its lane wait for that.
pub const WAL_WAIT_PAGES: u32 = 65_536;
/// A WAL of that many pages (512 MiB) that a checkpoint could not shorten ends the oldest snapshot at rest …
const SNAPSHOT_END_PAGES: u32 = 4 * WAL_CUT_PAGES;
/// … if it was pinned that long ago.
const SNAPSHOT_AGE: Duration = Duration::from_secs(10);
/// A lane waits for a cut at most that often.
pub const CUT_EVERY: Duration = Duration::from_secs(5);
/// How long a cut waits for readers.
const CUT_WAIT: Duration = Duration::from_millis(500);

struct Upkeep {
    connections: HashMap<u64, Connection>,
    /// Pages and time of the last checkpoint, by database id.
    last: HashMap<u64, (u32, Instant)>,
    bumped: Instant,
    /// At the last bump: bytes written by then, and the applied vector.
    written: u64,
    applied: Arc<VersionVector>,
}

/// Runs until the engine is gone or `stop` is.
pub(crate) fn run(core: &Weak<Core>, kicks: &Receiver<()>, stop: &Receiver<()>) {
    let ticks = tick(TICK);
    let mut upkeep = Upkeep {
        connections: HashMap::new(),
        last: HashMap::new(),
        bumped: Instant::now(),
        written: 0,
        applied: Arc::default(),
    };
    loop {
        select! {
            recv(stop) -> _ => return,
            recv(kicks) -> _ => {}
            recv(ticks) -> _ => {}
        }
        let Some(core) = core.upgrade() else {
            return;
        };
        upkeep.round(&core);
    }
}

impl Upkeep {
    fn round(&mut self, core: &Arc<Core>) {
        let lanes = core.lanes();
        self.connections.retain(|id, _| lanes.values().any(|l| l.id == *id));
        self.last.retain(|id, _| lanes.values().any(|l| l.id == *id));
        for lane in lanes.values() {
            if let Err(error) = self.checkpoint(core, lane) {
                tracing::warn!(db = lane.name, %error, "checkpoint failed");
            }
        }
        if self.bumped.elapsed() >= BUMP_EVERY || core.written() - self.written >= BUMP_BYTES {
            // A lane at work stores positions by itself: only who lags behind the last round is idle.
            for lane in lanes.values().filter(|l| !l.stored().covers(&self.applied)) {
                bump(core, lane);
            }
            bump_system(core);
            core.pool.relax();
            self.bumped = Instant::now();
            self.written = core.written();
            self.applied = core.progress.applied();
        }
    }

    fn checkpoint(&mut self, core: &Core, lane: &Lane) -> rusqlite::Result<()> {
        let pages = core.files.wal().pages(&lane.name);
        let (before, at) = *self.last.entry(lane.id).or_insert_with(|| (0, Instant::now()));
        // Where a reader holds frames back, trying again at once would only burn fsyncs.
        let due = pages >= WAL_KICK_PAGES && (pages >= before.saturating_add(WAL_KICK_PAGES) || at.elapsed() >= Duration::from_secs(1));
        if !due && (pages == 0 || at.elapsed() < CHECKPOINT_EVERY) {
            return Ok(());
        }
        let conn = match self.connections.entry(lane.id) {
            std::collections::hash_map::Entry::Occupied(o) => o.into_mut(),
            std::collections::hash_map::Entry::Vacant(v) => v.insert(open(core, &lane.name)?),
        };
        let cut = pages >= WAL_CUT_PAGES;
        let left = checkpoint_file(conn, if cut { "TRUNCATE" } else { "PASSIVE" })?;
        core.files.wal().set(&lane.name, left);
        self.last.insert(lane.id, (left, Instant::now()));
        if left >= SNAPSHOT_END_PAGES && core.resting.end_oldest(SNAPSHOT_AGE) {
            tracing::warn!(
                db = lane.name,
                pages = left,
                "the oldest idle snapshot was ended: it kept the WAL from being cut"
            );
        }
        Ok(())
    }
}

fn open(core: &Core, name: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(core.files.path(name), flags)?;
    conn.busy_timeout(CUT_WAIT)?;
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let mut on = 1;
    conn.file_control(Some("main"), rusqlite::FileControl::PersistWal(&mut on))?;
    conn.execute_batch("PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=NORMAL;")?;
    Ok(conn)
}

/// Frames of the WAL that are not in the database file yet.
fn checkpoint_file(conn: &Connection, mode: &str) -> rusqlite::Result<u32> {
    let (frames, done): (i64, i64) = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |r| Ok((r.get(1)?, r.get(2)?)))?;
    let left = if done >= frames { 0 } else { frames };
    Ok(u32::try_from(left).unwrap_or(0))
}

/// A lane whose WAL is beyond its bound waits here for a cut (as long as a cut waits for readers).
pub(crate) fn shorten(core: &Core, name: &str) {
    match open(core, name).and_then(|conn| checkpoint_file(&conn, "TRUNCATE")) {
        Ok(0) => core.files.wal().set(name, 0),
        Ok(left) => tracing::warn!(db = name, frames = left, "the WAL is beyond its bound, an open snapshot keeps it"),
        Err(error) => tracing::warn!(db = name, %error, "the WAL is beyond its bound and cannot be cut"),
    }
}

/// Stores how far everything got in a file that nothing was written to: a restart then need not read the log from there.
fn bump(core: &Arc<Core>, lane: &Arc<Lane>) {
    let applied = core.progress.applied();
    if lane.stored().covers(&applied) {
        return;
    }
    let (_parked, answer) = park(lane, Some(Instant::now() + TICK));
    // An open transaction may hold the lane for long: then another time. Dropping the answer takes the request back.
    let granted = wait_a_little(answer);
    if granted && let Err(error) = store_position(core, lane, &mut lane.file()) {
        tracing::warn!(db = lane.name, %error, "the position of an idle file could not be stored");
    }
}

fn wait_a_little(mut answer: tokio::sync::oneshot::Receiver<Result<(), crate::lane::work::Failure>>) -> bool {
    let until = Instant::now() + TICK;
    loop {
        match answer.try_recv() {
            Ok(result) => return result.is_ok(),
            Err(tokio::sync::oneshot::error::TryRecvError::Closed) => return false,
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) if Instant::now() >= until => {
                answer.close();
                // Granted in the very last moment?
                return matches!(answer.try_recv(), Ok(Ok(())));
            }
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => std::thread::park_timeout(Duration::from_millis(1)),
        }
    }
}

pub(crate) fn store_position(core: &Core, lane: &Lane, file: &mut FileSide) -> Result<(), FoldError> {
    let mut applied = lane.stored();
    applied.merge(&core.progress.applied());
    if !file.behind.is_empty() || applied == lane.stored() {
        return Ok(());
    }
    file.begin(lane.epoch())?;
    let outcome = file.finish(&applied, core).and_then(|()| file.commit());
    if outcome.is_err() {
        file.rollback();
        return outcome;
    }
    let epoch = lane.committed(&applied);
    file.set_epoch(epoch);
    Ok(())
}

fn bump_system(core: &Core) {
    let applied = core.progress.applied();
    let mut system = core.system.lock();
    if !system.applied().covers(&applied)
        && let Err(error) = system.apply(&[], &applied)
    {
        tracing::warn!(%error, "the position of the system file could not be stored");
    }
}

/// All files whole and their WALs empty: for a clean stop. The lanes are stopped.
pub(crate) fn close_files(core: &Core) {
    core.pool.clear();
    for lane in core.lanes().values() {
        let mut file = lane.file();
        let outcome = store_position(core, lane, &mut file).map_err(|e| e.to_string());
        let outcome = outcome.and_then(|()| {
            let conn = open(core, &lane.name).map_err(|e| e.to_string())?;
            checkpoint_file(&conn, "TRUNCATE").map_err(|e| e.to_string())
        });
        if let Err(error) = outcome {
            tracing::warn!(db = lane.name, error, "the last checkpoint failed");
        }
    }
    bump_system(core);
    let system = core.system.lock();
    if let Err(error) = system.checkpoint() {
        tracing::warn!(%error, "the last checkpoint of the system file failed");
    }
}
