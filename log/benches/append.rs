//! The log's append beside a raw file and a SQLite table, in one run, as ratios; and the space sled's file takes.
//!
//! `cargo bench -p starling-log --bench append -- [throughput] [bulk] [space] [prune]` (all without an argument). Raw and SQLite
//! get the same group commit as the log: whoever comes first writes and syncs for all who wait. `STARLING_BENCH_DIR` says
//! on which disk; `STARLING_BENCH_ENTRIES` how many entries `space` appends (1,000,000).

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use starling_log::value::{Row, ValueRef};
use starling_log::{Body, ChangeRef, Changes, Draft, Log, LogOptions, Op, SystemTime, TableRef, VersionVector};

const ROUND: Duration = Duration::from_millis(400);
const ROUNDS: usize = 9;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    let dir = match std::env::var_os("STARLING_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .expect("a directory for the benchmark");
    if wanted("throughput") {
        throughput(dir.path());
    }
    if wanted("bulk") {
        bulk(dir.path());
    }
    if wanted("space") {
        space(dir.path());
    }
    if wanted("prune") {
        prune(dir.path());
    }
}

/// About 300 bytes as an entry, and no help for compression: a key, a number, a text of noise.
fn draft(n: u64, noise: &mut u64) -> Draft {
    let mut text = [0u8; 160];
    for chunk in text.chunks_mut(8) {
        *noise ^= *noise << 13;
        *noise ^= *noise >> 7;
        *noise ^= *noise << 17;
        chunk.copy_from_slice(&noise.to_le_bytes()[..chunk.len()]);
    }
    let key = Row::from_values([ValueRef::Int(n as i64)]);
    let after = Row::from_values([
        ValueRef::Int(n as i64),
        ValueRef::Int((n % 1000) as i64),
        ValueRef::Blob(&text[..120]),
        ValueRef::Blob(&text[120..]),
    ]);
    let mut changes = Changes {
        tables: vec![TableRef {
            db: 1,
            table: 2,
            columns: vec![1, 2, 3, 4],
            key: vec![0],
        }],
        ..Changes::default()
    };
    changes.push(ChangeRef {
        op: Op::Insert,
        table: 0,
        key: key.as_ref(),
        before: None,
        after: Some(after.as_ref()),
        changed: None,
    });
    Draft {
        causes: Arc::new(VersionVector::new()),
        schema: 1,
        body: Body::Rows(changes),
    }
}

/// The bytes an entry takes in a segment, uncompressed (a single one is too small to be compressed).
fn encoded_size() -> usize {
    const SEGMENT_HEADER: usize = 40;
    let store = Arc::new(starling_log::store::sim::SimStore::new());
    let log = Log::with_store(store, LogOptions::new("unused"), Arc::new(SystemTime)).expect("a log");
    log.append(1, vec![draft(1, &mut 88172645463325252)]).expect("appended");
    log.segments(1, 1, 1).expect("read")[0].len() - SEGMENT_HEADER
}

type Flush = Box<dyn FnMut(&[Vec<u8>]) + Send>;

type Slot = Arc<(Mutex<bool>, Condvar)>;

#[derive(Default)]
struct Waiting {
    jobs: Vec<(Vec<u8>, Slot)>,
    led: bool,
}

/// The log's way of committing in groups, over anything that writes and syncs.
struct Grouped {
    waiting: Mutex<Waiting>,
    flush: Mutex<Flush>,
}

impl Grouped {
    fn new(flush: Flush) -> Grouped {
        Grouped {
            waiting: Mutex::default(),
            flush: Mutex::new(flush),
        }
    }
    fn commit(&self, bytes: Vec<u8>) {
        let slot = Arc::new((Mutex::new(false), Condvar::new()));
        let lead = {
            let mut waiting = self.waiting.lock();
            waiting.jobs.push((bytes, slot.clone()));
            !std::mem::replace(&mut waiting.led, true)
        };
        if lead {
            let mut flush = self.flush.lock();
            let jobs = {
                let mut waiting = self.waiting.lock();
                waiting.led = false;
                std::mem::take(&mut waiting.jobs)
            };
            let (bytes, slots): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
            flush(&bytes);
            drop(flush);
            for slot in slots {
                *slot.0.lock() = true;
                slot.1.notify_one();
            }
        }
        let mut done = slot.0.lock();
        while !*done {
            slot.1.wait(&mut done);
        }
    }
}

fn raw(dir: &Path) -> Grouped {
    let mut file = File::create(dir.join("raw")).expect("a file");
    Grouped::new(Box::new(move |jobs| {
        let mut out = Vec::with_capacity(jobs.iter().map(Vec::len).sum::<usize>() + 8);
        jobs.iter().for_each(|j| out.extend_from_slice(j));
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        file.write_all(&out).expect("written");
        file.sync_data().expect("synced");
    }))
}

fn sqlite(dir: &Path) -> Grouped {
    let db = rusqlite::Connection::open(dir.join("table.db")).expect("a database");
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE log (id INTEGER PRIMARY KEY, entry BLOB);")
        .expect("a table");
    Grouped::new(Box::new(move |jobs| {
        db.execute_batch("BEGIN IMMEDIATE").expect("begun");
        for job in jobs {
            db.prepare_cached("INSERT INTO log (entry) VALUES (?1)")
                .expect("prepared")
                .execute([job])
                .expect("inserted");
        }
        db.execute_batch("COMMIT").expect("committed");
    }))
}

/// Commits in a loop on `waiters` threads; how many a second.
fn race(waiters: usize, commit: impl Fn(u64, &mut u64) + Sync) -> f64 {
    let count = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for waiter in 0..waiters {
            let (count, commit) = (&count, &commit);
            scope.spawn(move || {
                let mut noise = 88172645463325252 + 1_000_003 * waiter as u64;
                while start.elapsed() < ROUND {
                    commit(count.fetch_add(1, Ordering::Relaxed), &mut noise);
                }
            });
        }
    });
    count.into_inner() as f64 / start.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn throughput(dir: &Path) {
    let size = encoded_size();
    println!("append, durable entries a second (median of {ROUNDS} interleaved rounds), {size} bytes each");
    let log = Log::open(LogOptions::new(dir.join("log")), Arc::new(SystemTime)).expect("a log");
    let (raw, sqlite) = (raw(dir), sqlite(dir));
    for waiters in [1, 8, 64] {
        let mut rates: [Vec<f64>; 3] = Default::default();
        let mut per_flush = 0.0;
        for _ in 0..ROUNDS {
            rates[0].push(race(waiters, |n, _| raw.commit(vec![n as u8; size])));
            let (flushes, held) = (log.flush_number(), log.held().get(1));
            rates[1].push(race(waiters, |n, noise| {
                log.append(1, vec![draft(n, noise)]).expect("appended");
            }));
            per_flush = (log.held().get(1) - held) as f64 / (log.flush_number() - flushes) as f64;
            rates[2].push(race(waiters, |n, _| sqlite.commit(vec![n as u8; size])));
        }
        let [raw, log, sqlite] = rates.map(median);
        println!(
            "{waiters:>3} waiting: raw {raw:>8.0}  log {log:>8.0} ({per_flush:.1} a flush)  SQLite FULL {sqlite:>8.0}   log/raw {:.2}  log/SQLite {:.2}",
            log / raw,
            log / sqlite
        );
    }
}

/// Large transactions: what a bulk load does.
fn bulk(dir: &Path) {
    let log = Log::open(LogOptions::new(dir.join("bulk")), Arc::new(SystemTime)).expect("a log");
    let mut noise = 88172645463325252;
    let mut large = draft(0, &mut noise);
    if let Body::Rows(changes) = &mut large.body {
        for n in 1..1000 {
            let Body::Rows(one) = draft(n, &mut noise).body else { continue };
            one.iter().for_each(|c| changes.push(c));
        }
    }
    let start = Instant::now();
    for _ in 0..200 {
        log.append(1, vec![large.clone()]).expect("appended");
    }
    let bytes: usize = log.segments(1, 1, usize::MAX).expect("read").iter().map(|s| s.len()).sum();
    let rate = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
    let file = log.disk_bytes() as f64 / bytes as f64;
    println!(
        "bulk: 200 transactions of 1000 rows, {:.1} MB: {rate:.0} MB/s, file {file:.2} x",
        bytes as f64 / 1e6
    );
}

fn space(dir: &Path) {
    let entries: u64 = std::env::var("STARLING_BENCH_ENTRIES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let encoded = entries * encoded_size() as u64;
    let path = dir.join("space");
    let mut log = Some(Log::open(LogOptions::new(&path), Arc::new(SystemTime)).expect("a log"));
    let start = Instant::now();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let (next, log) = (&next, log.as_ref().expect("open"));
            scope.spawn(move || {
                let mut noise = 88172645463325252 + 1_000_003 * writer;
                while next.fetch_add(1, Ordering::Relaxed) < entries {
                    log.append(1, vec![draft(writer, &mut noise)]).expect("appended");
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let open = log.as_ref().expect("open");
    println!(
        "space: {entries} entries by 16 writers, {:.1} MB encoded, file {:.1} MB = {:.2} x ({:.0} entries/s, {:.1} a flush)",
        encoded as f64 / 1e6,
        open.disk_bytes() as f64 / 1e6,
        open.disk_bytes() as f64 / encoded as f64,
        entries as f64 / seconds,
        entries as f64 / open.flush_number() as f64,
    );
    // What a new process would find after a SIGKILL.
    let killed = dir.join("killed");
    copy(&path, &killed);
    for (how, path) in [("killed", &killed), ("closed", &path)] {
        if how == "closed" {
            drop(log.take());
        }
        let start = Instant::now();
        let log = Log::open(LogOptions::new(path), Arc::new(SystemTime)).expect("a log");
        let opened = start.elapsed();
        let start = Instant::now();
        let count = log.scan(&VersionVector::new(), &log.held()).filter(|e| e.is_ok()).count();
        println!(
            "       {how} and opened again in {:.0} ms; scanned: {:.0} entries/s",
            opened.as_secs_f64() * 1e3,
            count as f64 / start.elapsed().as_secs_f64()
        );
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("blobs")).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        if entry.file_type().is_ok_and(|t| t.is_file()) {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

fn prune(dir: &Path) {
    const WINDOW: u64 = 50_000;
    const CYCLES: u64 = 60;
    let size = encoded_size() as u64;
    let log = Log::open(LogOptions::new(dir.join("prune")), Arc::new(SystemTime)).expect("a log");
    let mut most = 0.0f64;
    for cycle in 0..CYCLES {
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for writer in 0..16 {
                let (next, log) = (&next, &log);
                scope.spawn(move || {
                    let mut noise = 88172645463325252 + 1_000_003 * (writer + cycle * 16);
                    while next.fetch_add(1, Ordering::Relaxed) < WINDOW / 2 {
                        log.append(1, vec![draft(writer, &mut noise)]).expect("appended");
                    }
                });
            }
        });
        let held = log.held().get(1);
        log.prune(&VersionVector([(1, held.saturating_sub(WINDOW))].into()))
            .expect("pruned");
        most = most.max(log.disk_bytes() as f64 / (WINDOW * size) as f64);
    }
    println!(
        "prune: after {CYCLES} half windows of {WINDOW} entries ({:.1} MB): file {:.1} MB, at most {most:.2} x the window",
        (WINDOW * size) as f64 / 1e6,
        log.disk_bytes() as f64 / 1e6
    );
}
