//! A log that is in use, damaged or of a newer format is refused, by name, with nothing changed.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::draft;
use starling_log::{Log, LogOptions, OpenError, SystemTime};

fn open(dir: &Path) -> Result<Arc<Log>, OpenError> {
    Log::open(LogOptions::new(dir), Arc::new(SystemTime))
}

/// Every file, every byte.
fn image(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    let files = files.filter(|e| e.file_type().unwrap().is_file());
    files
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect()
}

fn restore(image: &BTreeMap<String, Vec<u8>>, dir: &Path) {
    std::fs::create_dir_all(dir.join("blobs")).unwrap();
    for (name, bytes) in image {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// A log of some megabytes, as another process would find it after a SIGKILL.
fn killed(entries: u64, size: usize) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    for n in 0..entries {
        log.append(1, vec![draft(n, size)]).unwrap();
    }
    image(dir.path())
}

fn expect_damaged(image_of: &BTreeMap<String, Vec<u8>>, what: &str) {
    if let Some(log) = refused(image_of, what) {
        panic!("{what}: opened, held {:?}", log.held());
    }
}

/// Refused as damaged with nothing changed, or opened.
fn refused(image_of: &BTreeMap<String, Vec<u8>>, what: &str) -> Option<Arc<Log>> {
    let dir = tempfile::tempdir().unwrap();
    restore(image_of, dir.path());
    match open(dir.path()) {
        Err(OpenError::Damaged { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(log) => return Some(log),
    }
    assert!(image(dir.path()) == *image_of, "{what}: something was changed");
    None
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_before_anything_changes() {
    let good = killed(900, 1500);
    let length = good["db"].len();
    let mut noticed = 0;
    for i in 0..16 {
        let mut bad = good.clone();
        let at = length * i / 16 + 1234 * i;
        bad.get_mut("db").unwrap()[at] ^= 0x10;
        match refused(&bad, &format!("bit at {at} of {length}")) {
            None => noticed += 1,
            // A place that sled does not use at the time.
            Some(log) => assert_eq!(log.read(1, 1, usize::MAX).unwrap().len(), 900, "bit at {at} of {length}"),
        }
    }
    assert!(noticed >= 10, "{noticed} of 16");
    let log = refused(&good, "undamaged").unwrap();
    assert_eq!(log.held().get(1), 900);
}

#[test]
fn an_acknowledged_end_that_is_gone_is_noticed() {
    let good = killed(300, 800);
    let mut cut = good.clone();
    let db = cut.get_mut("db").unwrap();
    db.truncate(db.len() - 1000);
    expect_damaged(&cut, "the last 1000 bytes cut off");
    let mut zeroed = good.clone();
    let db = zeroed.get_mut("db").unwrap();
    let from = db.len() - 16_384;
    db[from..].fill(0);
    expect_damaged(&zeroed, "the last 16 KiB zeroed");
    let mut page = good.clone();
    page.get_mut("db").unwrap()[40_960..45_056].fill(0);
    expect_damaged(&page, "a page in the middle zeroed");
}

#[test]
fn an_end_that_nobody_was_promised_is_dropped() {
    let good = killed(300, 800);
    let mut torn = good.clone();
    let db = torn.get_mut("db").unwrap();
    db.truncate(db.len() - 1000);
    // As if the machine had stopped before the last sync: the witness is older, or was never written out.
    torn.remove("witness");
    let dir = tempfile::tempdir().unwrap();
    restore(&torn, dir.path());
    let log = open(dir.path()).unwrap();
    let held = log.held().get(1);
    assert!((297..300).contains(&held), "{held}");
    assert_eq!(log.read(1, 1, usize::MAX).unwrap().len() as u64, held);
    assert_eq!(log.append(1, vec![draft(1, 1)]).unwrap()[0].place.seq, held + 1);
}

#[test]
fn a_newer_format_is_named() {
    let mut newer = killed(3, 10);
    newer.insert("FORMAT".into(), b"7\n".to_vec());
    let dir = tempfile::tempdir().unwrap();
    restore(&newer, dir.path());
    assert!(matches!(open(dir.path()), Err(OpenError::Newer { found: 7, known: 1, .. })));
    assert!(image(dir.path()) == newer);
    newer.insert("FORMAT".into(), b"seven\n".to_vec());
    expect_damaged(&newer, "no number in FORMAT");
    newer.remove("FORMAT");
    expect_damaged(&newer, "no FORMAT");
}

#[test]
fn a_log_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    log.append(1, vec![draft(1, 1)]).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))));
    log.append(1, vec![draft(2, 1)]).unwrap();
    drop(log);
    assert_eq!(open(dir.path()).unwrap().held().get(1), 2);
}

#[test]
fn nothing_is_written_where_nothing_would_sync_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    for n in 0..30 {
        log.append(1, (0..20).map(|i| draft(n * 20 + i, 7_000)).collect()).unwrap();
    }
    log.append(1, vec![draft(1, 2_000_000)]).unwrap();
    log.put_meta("big", &[7; 7 << 10]).unwrap();
    assert!(log.put_meta("bigger", &[7; 8 << 10]).is_err());
    assert_eq!(
        std::fs::read_dir(dir.path().join("blobs")).unwrap().count(),
        0,
        "sled never syncs these"
    );
}
