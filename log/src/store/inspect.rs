//! Reads sled's file before sled does, and changes nothing.
//!
//! What for: sled 0.34, when it opens a file with a damaged message, wipes what stands behind it, and only then (if at all)
//! notices. A damaged log is to be refused with nothing changed, so that it can still be examined or repaired.
//! Promises: never calls a file damaged that a crash can leave. Must not know: entries. The file's format (fixed with
//! sled's version, `=0.34.7`) is told in `log/README.md`, section "sled's file", as far as it is needed here.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Witness;

const SEGMENT: usize = 512 << 10;
const SEGMENT_HEADER: usize = 20;
/// No message begins in the last bytes of a segment.
const RED_ZONE: usize = 32;
const KIND_CAP: u8 = 2;
const KIND_LAST: u8 = 11;
/// Readers of the file at once: startup is to take as long as the disk does.
const READERS: usize = 4;

/// What one of sled's segments looks like.
struct Found {
    lsn: u64,
    stable: u64,
    /// Where the first unreadable message stands, and whether it was once whole.
    bad: Option<(usize, bool)>,
    /// The highest flush number in front of it.
    flush: u64,
}

enum Segment {
    Unused,
    BadHeader,
    Used(Found),
}

/// `Err(why)` if the file was damaged other than by a crash.
pub(super) fn inspect(dir: &Path, witness: Witness) -> Result<(), String> {
    let Ok(file) = File::open(dir.join("db")) else { return Ok(()) };
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let count = usize::try_from(length.div_ceil(SEGMENT as u64)).map_err(|e| e.to_string())?;
    let from = snapshot_lsn(dir) / SEGMENT as u64 * SEGMENT as u64;
    let mut order = BTreeMap::new();
    for (index, segment) in read_all(&file, count, from)? {
        match segment {
            Segment::Unused => {}
            Segment::BadHeader => return Err(format!("the header at byte {} of its file", index * SEGMENT)),
            Segment::Used(found) => {
                order.insert(found.lsn, (index, found));
            }
        }
    }
    judge(&order, from, witness)
}

fn judge(order: &BTreeMap<u64, (usize, Found)>, from: u64, witness: Witness) -> Result<(), String> {
    let stable = order.values().map(|(_, f)| f.stable).max().unwrap_or(0).max(from);
    // What was not yet stable may be torn; all before was written and synced long ago.
    let tail = stable / SEGMENT as u64 * SEGMENT as u64;
    for (index, found) in order.range(..tail).map(|(_, f)| f) {
        if let Some((at, true)) = found.bad {
            return Err(format!("byte {} of its file", index * SEGMENT + at));
        }
    }
    // sled reads the tail up to the first message or segment that is missing.
    let mut expected = tail;
    let mut torn = None;
    let mut flush = witness.base;
    for (lsn, (index, found)) in order.range(tail..) {
        if *lsn != expected {
            break;
        }
        expected += SEGMENT as u64;
        flush = flush.max(found.flush);
        if let Some((at, _)) = found.bad {
            torn = Some(index * SEGMENT + at);
            break;
        }
    }
    let Some(at) = torn else { return Ok(()) };
    // The last flush may stand in front of the tail.
    for (_, (_, found)) in order.range(..tail).rev() {
        if flush >= witness.flush {
            break;
        }
        flush = flush.max(found.flush);
    }
    if flush < witness.flush {
        return Err(format!(
            "byte {at} of its file: flush {} was acknowledged, readable are {flush}",
            witness.flush
        ));
    }
    Ok(())
}

/// sled knows everything up to here without reading it again: the number in its snapshot's name.
fn snapshot_lsn(dir: &Path) -> u64 {
    let Ok(names) = std::fs::read_dir(dir) else { return 0 };
    let number = |name: &str| u64::from_str_radix(name.strip_prefix("snap.")?, 16).ok();
    let lsns = names.flatten().filter_map(|e| number(e.file_name().to_str()?));
    lsns.max().unwrap_or(0)
}

/// All segments, by a few readers at once.
fn read_all(file: &File, count: usize, from: u64) -> Result<Vec<(usize, Segment)>, String> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Segment)>, String> {
        let mut buffer = vec![0; SEGMENT];
        let mut found = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(found);
            }
            let segment = read_segment(file, index, from, &mut buffer).map_err(|e| e.to_string())?;
            found.push((index, segment));
        }
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS.min(count)).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(count);
        for reader in readers {
            all.extend(reader.join().map_err(|_| "it cannot be read".to_owned())??);
        }
        Ok::<_, String>(all)
    })
}

fn read_segment(file: &File, index: usize, from: u64, buffer: &mut [u8]) -> std::io::Result<Segment> {
    let at = (index * SEGMENT) as u64;
    let mut head = [0; SEGMENT_HEADER];
    if read_at_most(file, &mut head, at)? < SEGMENT_HEADER || head == [0; SEGMENT_HEADER] {
        return Ok(Segment::Unused);
    }
    let number = |at: usize| head[at..at + 8].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let plain = |n: u64| n ^ 0x7fff_ffff_ffff_ffff;
    if crc32(&[&head[4..]]) ^ u32::MAX != u32::from_le_bytes([head[0], head[1], head[2], head[3]]) {
        return Ok(Segment::BadHeader);
    }
    let lsn = plain(number(4));
    if lsn < from || lsn > i64::MAX as u64 {
        return Ok(Segment::Unused);
    }
    let length = read_at_most(file, buffer, at)?;
    let (bad, flush) = read_messages(&buffer[..length], lsn / SEGMENT as u64);
    // Nothing has been stable yet in a new file: its stable number is the largest there is.
    let stable = Some(plain(number(12))).filter(|n| *n <= i64::MAX as u64).unwrap_or(0);
    Ok(Segment::Used(Found { lsn, stable, bad, flush }))
}

fn read_at_most(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// (the first unreadable message and whether it was once whole, the highest flush number before it)
fn read_messages(bytes: &[u8], number: u64) -> (Option<(usize, bool)>, u64) {
    let mut at = SEGMENT_HEADER;
    while at + RED_ZONE <= SEGMENT {
        match message(bytes, at, number) {
            Message::Whole { kind: KIND_CAP, .. } => break,
            Message::Whole { end, .. } => at = end,
            unreadable => {
                // A segment that is being used anew holds other numbers there; a message of this one, broken or further
                // on, shows that it was all there.
                let was_whole = matches!(unreadable, Message::Broken) || later(bytes, at + 1, number);
                return (Some((at, was_whole)), highest_flush(&bytes[..at]));
            }
        }
    }
    (None, highest_flush(bytes))
}

enum Message {
    Whole {
        kind: u8,
        end: usize,
    },
    /// Its head is that of a message of this segment, its checksum is wrong.
    Broken,
    None,
}

fn message(bytes: &[u8], at: usize, number: u64) -> Message {
    let Some(&[a, b, c, d, kind]) = bytes.get(at..at + 5) else {
        return Message::None;
    };
    if kind == 0 || kind > KIND_LAST {
        return Message::None;
    }
    let mut head = at + 5;
    let mut field = || {
        let (value, size) = sled_varint(bytes.get(head..)?)?;
        head += size;
        Some(value)
    };
    let (Some(length), Some(segment), Some(_page)) = (field(), field(), field()) else {
        return Message::None;
    };
    let end = usize::try_from(length)
        .ok()
        .and_then(|n| head.checked_add(n))
        .filter(|end| *end <= SEGMENT);
    let Some(end) = end.filter(|_| segment == number) else {
        return Message::None;
    };
    let Some(body) = bytes.get(head..end) else { return Message::None };
    if crc32(&[body, &bytes[at + 4..head]]) ^ u32::MAX == u32::from_le_bytes([a, b, c, d]) {
        Message::Whole { kind, end }
    } else {
        Message::Broken
    }
}

fn later(bytes: &[u8], from: usize, number: u64) -> bool {
    (from..bytes.len().saturating_sub(RED_ZONE)).any(|at| matches!(message(bytes, at, number), Message::Whole { .. }))
}

/// sled's own variable-length numbers.
fn sled_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let little = |n: usize| -> Option<u64> { Some(bytes.get(1..=n)?.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))) };
    Some(match first {
        0..=240 => (u64::from(first), 1),
        241..=248 => (240 + 256 * (u64::from(first) - 241) + little(1)?, 2),
        249 => (2288 + 256 * little(1)? + u64::from(*bytes.get(2)?), 3),
        _ => (little(usize::from(first) - 247)?, usize::from(first) - 246),
    })
}

fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|p| hasher.update(p));
    hasher.finalize()
}

/// Flush numbers stand in front of every segment of the log, and behind a mark of their own where a flush carried none.
fn highest_flush(bytes: &[u8]) -> u64 {
    let number = |at: usize| {
        bytes
            .get(at..at + 8)
            .map(|n| n.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b)))
    };
    let segments =
        memchr::memmem::find_iter(bytes, &crate::segment::MAGIC).filter_map(|at| number(at.checked_sub(crate::log::keys::HEAD)?));
    let marks =
        memchr::memmem::find_iter(bytes, crate::log::keys::FLUSH_MARK).filter_map(|at| number(at + crate::log::keys::FLUSH_MARK.len()));
    // Text that only looks like it: no log has had that many flushes.
    const ABSURD: u64 = 1 << 56;
    segments.chain(marks).filter(|n| *n < ABSURD).max().unwrap_or(0)
}
