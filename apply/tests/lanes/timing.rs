//! What trials and commits cost. For people: `cargo test --release -p starling-apply --test lanes timing -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use starling_apply::lane::{Job, Try};
use starling_apply::overlay::Overlay;

use crate::kit::{Node, wait};
use crate::overlays::evict;

const ROWS: i64 = 100_000;
const TIMES: u32 = 2_000;

fn update(id: i64, value: u32, claims: bool) -> Job<usize, String> {
    Box::new(move |t: &mut Try<'_>| {
        let mut statement = t
            .connection
            .prepare_cached("UPDATE a.t SET v = ?2 WHERE id = ?1")
            .map_err(|e| e.to_string())?;
        let changed = statement.execute((id, value.to_string())).map_err(|e| e.to_string())?;
        let found = if claims { t.claims().map_err(|e| e.to_string())?.len() } else { 0 };
        Ok(changed + found)
    })
}

fn trial(node: &Node, overlay: &mut Overlay, id: i64, value: u32, claims: bool) {
    wait(node.engine.trial("a", 1_000, overlay, update(id, value, claims))).unwrap();
}

/// The median and the best tenth: on a busy machine means say little.
fn report(what: &str, mut each: Vec<Duration>) {
    each.sort_unstable();
    let at = |part: usize| each[each.len() / part].as_secs_f64() * 1e6;
    println!("{what}: median {:.1} µs, best tenth {:.1} µs", at(2), at(10));
}

fn timed(times: u32, mut f: impl FnMut(u32)) -> Vec<Duration> {
    let one = |i| {
        let start = Instant::now();
        f(i);
        start.elapsed()
    };
    (0..times).map(one).collect()
}

#[test]
#[ignore = "figures for people"]
fn trials_and_commits() {
    let node = Node::new(1).with_t("a");
    node.exec(
        "a",
        &format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) INSERT INTO a.t SELECT i, 'v' FROM n"),
    );
    let spread = |i: u32| i64::from(i) * 7_919 % ROWS + 1;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for claims in [false, true] {
        let each = timed(TIMES, |i| trial(&node, &mut Overlay::new(), spread(i), i, claims));
        report(&format!("a one-row update, empty overlay, claims {claims}"), each);
        let mut open = Overlay::new();
        let each = timed(TIMES, |i| trial(&node, &mut open, spread(i % 4), i, claims));
        report(&format!("… on an overlay in place, claims {claims}"), each);
        let mut open = Overlay::new();
        (0..3).for_each(|i| trial(&node, &mut open, spread(i), 1_000_000, claims));
        let mark = open.mark();
        let mut each = Vec::new();
        for i in 0..TIMES {
            evict(&node, "a");
            each.extend(timed(1, |_| trial(&node, &mut open, spread(i), i, claims)));
            open.truncate(mark);
        }
        report(&format!("… on an evicted overlay of three rows, claims {claims}"), each);
    }
    let each = timed(TIMES, |i| {
        let _ = wait(node.engine.write("a", 1_000, update(spread(i), i, false))).unwrap();
    });
    report("an autocommit update, alone, simulated log", each);
    let rounds = TIMES / 8;
    let mut each = Vec::new();
    for i in 0..rounds {
        let open: Vec<Overlay> = (0..8)
            .map(|k| {
                let mut open = Overlay::new();
                trial(&node, &mut open, spread(i * 8 + k), 2_000_000 + i, false);
                open
            })
            .collect();
        let start = Instant::now();
        runtime.block_on(async {
            let commits: Vec<_> = open
                .into_iter()
                .map(|o| {
                    let engine = std::sync::Arc::clone(&node.engine);
                    async move { engine.commit(o).await.unwrap() }
                })
                .collect();
            let mut set = tokio::task::JoinSet::new();
            commits.into_iter().for_each(|c| drop(set.spawn(c)));
            while let Some(done) = set.join_next().await {
                done.unwrap();
            }
        });
        each.push(start.elapsed() / 8);
    }
    report("a commit of a one-row overlay, eight at once, simulated log", each);
}
