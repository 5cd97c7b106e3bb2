//! Large transactions: spilled, kept in place, one entry in the end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use starling_apply::overlay::{Overlay, SPILL_ROWS};

use crate::kit::{Node, run, statement, wait};
use crate::overlays::{commit, evict, exec, seen};

fn fill(node: &Node, open: &mut Overlay, from: u64, to: u64) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to} - 1) INSERT INTO a.t SELECT i, 'row number ' || i FROM n"
    );
    exec(node, open, "a", &sql).unwrap();
}

const COUNT: &str = "SELECT count(*), sum(id), count(DISTINCT v) FROM a.t";

#[test]
fn a_spilled_overlay_is_what_it_was() {
    let node = Node::new(1).with_t("a");
    let mut open = Overlay::new();
    fill(&node, &mut open, 0, 4_000);
    let early = open.mark();
    for i in 1..10 {
        fill(&node, &mut open, i * 4_000, (i + 1) * 4_000);
    }
    assert_eq!(open.rows(), 40_000);
    assert!(open.rows() > SPILL_ROWS);
    let hidden = std::fs::read_dir(node.dir.path().join("db")).unwrap().flatten();
    let left = hidden.filter(|f| f.file_name().to_string_lossy().contains("overlay"));
    assert_eq!(left.count(), 0, "the file has no name");
    let late = open.mark();
    exec(&node, &mut open, "a", "UPDATE a.t SET v = 'x' WHERE id % 2 = 0").unwrap();
    evict(&node, "a");
    assert_eq!(seen(&node, &mut open, "a", "SELECT count(*) FROM a.t WHERE v = 'x'"), "20000");
    open.truncate(late);
    assert_eq!(seen(&node, &mut open, "a", COUNT), "40000,799980000,40000");
    // Into the middle of the file, and on from there.
    open.truncate(early);
    assert_eq!(seen(&node, &mut open, "a", COUNT), "4000,7998000,4000");
    for i in 1..5 {
        fill(&node, &mut open, i * 4_000, (i + 1) * 4_000);
    }
    exec(&node, &mut open, "a", "DELETE FROM a.t WHERE id = 7").unwrap();
    evict(&node, "a");
    let before = node.log.held().get(1);
    assert_eq!(seen(&node, &mut open, "a", COUNT), "19999,199989993,19999");
    commit(&node, open);
    assert_eq!(node.log.held().get(1), before + 1, "one entry");
    assert_eq!(node.query(&["a"], COUNT), "19999,199989993,19999");
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("a.db")).unwrap());
    assert_eq!(node.query(&["a"], COUNT), "19999,199989993,19999");
}

/// Others write all the time; a large transaction that is at it goes on all the same, and so do they.
#[test]
fn a_large_transaction_and_others_share_the_lane() {
    let node = Node::new(1).with_t("a");
    let mut open = Overlay::new();
    fill(&node, &mut open, 1_000_000, 1_030_000);
    let (stop, others) = (AtomicBool::new(false), AtomicUsize::new(0));
    let statements = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut id = 0;
            while !stop.load(Ordering::Acquire) {
                wait(
                    node.engine
                        .write("a", 60_000, statement(&format!("INSERT INTO a.t VALUES({id}, 'o')"))),
                )
                .unwrap();
                id += 1;
                others.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (start, mut statements) = (Instant::now(), 0);
        // The other one always waits: without its turn kept, each statement would put all rows in place again.
        while start.elapsed() < Duration::from_secs(3) {
            exec(&node, &mut open, "a", "UPDATE a.t SET v = 'u' WHERE id = 1000001").unwrap();
            statements += 1;
        }
        stop.store(true, Ordering::Release);
        statements
    });
    let others = others.load(Ordering::Relaxed);
    assert!(others > 2, "others wrote {others} times");
    assert!(statements > 20, "{statements} statements");
    commit(&node, open);
    assert_eq!(node.query(&["a"], "SELECT count(*) FROM a.t WHERE id >= 1000000"), "30000");
}

#[test]
fn more_than_an_entry_takes_is_refused_and_the_transaction_goes_on() {
    let node = Node::new(1).with_t("a");
    let mut open = Overlay::new();
    let piece = |from: u64| {
        Box::new(move |t: &mut starling_apply::lane::Try<'_>| {
            run(
                t,
                &format!(
                    "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {from} + 14) INSERT INTO a.t SELECT i, zeroblob(6000000) FROM n"
                ),
            )
        })
    };
    let mut rows = 0;
    let refused = loop {
        match wait(node.engine.trial("a", 60_000, &mut open, piece(rows))) {
            Ok(_) => rows += 15,
            Err(error) => break error,
        }
        assert!(rows < 60);
    };
    assert!(
        matches!(
            refused,
            starling_apply::WriteError::Append(starling_log::AppendError::TooLarge { .. })
        ),
        "{refused}"
    );
    assert_eq!(seen(&node, &mut open, "a", "SELECT count(*) FROM a.t"), rows.to_string());
}
