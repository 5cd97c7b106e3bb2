//! Format version 1, frozen: what stands in `fixtures/log/v1` is read for ever, and written byte for byte.
//!
//! A failure here means that logs written by released programs can no longer be read, or that two programs of one version
//! write different bytes. The answer is a new format version, never a new fixture. (A missing file is written.)

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::{draft, sim};
use starling_log::entry::{Change, Control, Schema, TableRef};
use starling_log::value::{Row, Value};
use starling_log::{Body, Changes, Draft, Log, Op, VersionVector, segment};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/log/v1").join(name)
}

fn frozen(name: &str, bytes: &[u8]) -> Bytes {
    let path = fixture(name);
    if !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    Bytes::from(std::fs::read(&path).unwrap())
}

fn row(values: &[Value]) -> Row {
    Row::from_values(values.iter().map(Value::as_ref))
}

/// One of everything.
fn bodies() -> Vec<Draft> {
    let table = TableRef {
        db: 0x0001_0000_0000_0100,
        table: 0x0001_0000_0000_0200,
        columns: vec![1, 2, 3, 70_000],
        key: vec![0, 2],
    };
    let mut changes = Changes {
        tables: vec![table.clone(), TableRef { key: vec![1], ..table }],
        ..Changes::default()
    };
    let old = row(&[Value::Int(-1), Value::Null, Value::Text("Ärger".into()), Value::Real(-0.0)]);
    let new = row(&[
        Value::Int(i64::MAX),
        Value::Blob(vec![0, 255]),
        Value::Text(Vec::new()),
        Value::Real(f64::MIN),
    ]);
    let minimal = Row(vec![2, 1, 0, 4, 6, 0xc3, 0x84, b'r', b'g', b'e', b'r', 0]);
    let key = row(&[Value::Int(-1), Value::Text("Ärger".into())]);
    let list = [
        Change {
            op: Op::Insert,
            table: 0,
            key: key.clone(),
            before: None,
            after: Some(old.clone()),
            changed: None,
        },
        Change {
            op: Op::Update,
            table: 0,
            key: key.clone(),
            before: Some(minimal),
            after: Some(new.clone()),
            changed: Some(vec![0b1111]),
        },
        Change {
            op: Op::Delete,
            table: 1,
            key: row(&[Value::Null]),
            before: Some(new),
            after: None,
            changed: None,
        },
        Change {
            op: Op::Delete,
            table: 0,
            key,
            before: None,
            after: None,
            changed: None,
        },
    ];
    list.iter().for_each(|c| changes.push(c.as_ref()));
    let bodies = [
        Body::Void,
        Body::Rows(changes),
        Body::Schema(Schema {
            db: 7,
            payload: b"{\"create\":1}".to_vec(),
        }),
        Body::Control(Control {
            kind: "member".into(),
            payload: b"{}".to_vec(),
        }),
        Body::Rows(Changes::default()),
    ];
    let causes = [
        vec![],
        vec![(2, 1), (3, 700)],
        vec![(2, 1), (3, 701)],
        vec![(3, 701)],
        vec![(9, 1 << 40)],
    ];
    let drafts = bodies.into_iter().zip(causes).enumerate().map(|(i, (body, causes))| Draft {
        causes: Arc::new(VersionVector(causes.into_iter().collect())),
        schema: i as u64 * 1000,
        body,
    });
    drafts.collect()
}

fn check(log: &Log, given: &[Draft]) {
    let read = log.read(1, 1, usize::MAX).unwrap();
    assert_eq!(read.len(), given.len());
    for (entry, draft) in read.iter().zip(given) {
        assert_eq!(
            (&entry.body, entry.schema, &entry.causes),
            (&draft.body, draft.schema, &*draft.causes)
        );
    }
}

#[test]
fn a_plain_segment_is_written_and_read_byte_for_byte() {
    let (_, log) = sim();
    log.append(1, bodies()).unwrap();
    let written = log.segments(1, 1, usize::MAX).unwrap();
    assert_eq!(written.len(), 1);
    let golden = frozen("plain.segment", &written[0]);
    assert_eq!(written[0], golden);
    let (_, other) = sim();
    other.ingest(&[golden]).unwrap();
    check(&other, &bodies());
    // The hash of the same entries is part of the format: nodes compare it.
    assert_eq!(
        format!("{:032x}", other.merkle(1).unwrap().open()),
        std::str::from_utf8(&frozen(
            "plain.hash",
            format!("{:032x}", other.merkle(1).unwrap().open()).as_bytes()
        ))
        .unwrap()
    );
}

#[test]
fn a_packed_segment_and_a_large_entry_are_read() {
    let (_, log) = sim();
    let drafts: Vec<Draft> = (0..60).map(|n| draft(n, 200)).chain([draft(60, 20_000)]).collect();
    log.append(1, drafts.clone()).unwrap();
    let written = log.segments(1, 1, usize::MAX).unwrap();
    // Another version of the compressor may choose other bytes: only reading is frozen.
    let mut file = Vec::new();
    for segment in &written {
        file.extend_from_slice(&(segment.len() as u32).to_le_bytes());
        file.extend_from_slice(segment);
    }
    let file = frozen("packed.segments", &file);
    let mut golden = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let length = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        golden.push(file.slice(at + 4..at + 4 + length));
        at += 4 + length;
    }
    assert!(golden[0].len() < 3_000, "compressed");
    assert_eq!(segment::header(golden.last().unwrap()).unwrap().parts, 3);
    let (_, other) = sim();
    other.ingest(&golden).unwrap();
    check(&other, &drafts);
}

#[test]
fn a_cursor_keeps_its_text() {
    let cursor = starling_log::Cursor {
        vector: VersionVector([(1, 5), (300, 1 << 33)].into()),
        partial: Some((starling_log::Place { origin: 1, seq: 6 }, 200)),
    };
    let text = frozen("cursor.txt", cursor.to_string().as_bytes());
    assert_eq!(std::str::from_utf8(&text).unwrap(), cursor.to_string());
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
}
