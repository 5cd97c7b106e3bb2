//! A writer killed at any moment: what it had acknowledged is there, and the log opens without complaint.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::draft;
use starling_log::{Log, LogOptions, SystemTime, VersionVector};

const DIR: &str = "STARLING_KILL_DIR";
/// More with `STARLING_KILLS=200`.
const KILLS: u64 = 12;

fn open(dir: &Path) -> Arc<Log> {
    Log::open(LogOptions::new(dir), Arc::new(SystemTime)).unwrap()
}

/// Not a test: the process that is killed. Says what was acknowledged, line by line.
#[test]
#[ignore = "started by the other test"]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let log = open(Path::new(&dir));
    for origin in 1..=3u16 {
        let log = log.clone();
        std::thread::spawn(move || {
            for n in 0u64.. {
                let size = if n % 50 == 49 { 40_000 } else { 200 };
                let placed = log.append(origin, vec![draft(n, size), draft(n, 10)]).unwrap();
                let seq = placed[1].place.seq;
                // One write: lines of several threads do not mix.
                std::io::stdout()
                    .write_all(format!("\nack {origin} {seq} {}\n", log.flush_number()).as_bytes())
                    .unwrap();
                if origin == 1 && seq.is_multiple_of(500) {
                    log.prune(&VersionVector([(1, seq - 200), (2, seq / 2)].into())).unwrap();
                }
            }
        });
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_killed_writer_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = VersionVector::new();
    let kills = std::env::var("STARLING_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writer", "--exact", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            let mut seen: Vec<(u16, u64, u64)> = Vec::new();
            for line in lines.map_while(Result::ok) {
                let mut words = line.split(' ');
                if let (Some("ack"), Some(o), Some(s), Some(f)) = (words.next(), words.next(), words.next(), words.next())
                    && let (Ok(o), Ok(s), Ok(f)) = (o.parse(), s.parse(), f.parse())
                {
                    seen.push((o, s, f));
                }
            }
            seen
        });
        std::thread::sleep(Duration::from_millis(150 + kill * 37 % 230));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut flush = 0;
        for (origin, seq, number) in reader.join().unwrap() {
            acked.advance(origin, seq);
            flush = flush.max(number);
        }
        let log = open(dir.path());
        assert!(
            log.held().covers(&acked),
            "kill {kill}: held {:?}, acknowledged {acked:?}",
            log.held()
        );
        assert!(log.flush_number() >= flush);
        let mut next = log.pruned();
        for entry in log.scan(&log.pruned(), &log.held()) {
            let place = entry.unwrap().place;
            assert_eq!(place.seq, next.get(place.origin) + 1, "dense");
            next.advance(place.origin, place.seq);
        }
        assert_eq!(next, log.held());
    }
    assert!(acked.get(1) > 0, "the writer wrote");
}
