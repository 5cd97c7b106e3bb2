//! The deciding code of quorum commit under every fault that can be thought of, one seed a history.
//!
//! `STARLING_SIM_SEEDS=n` runs more seeds, `STARLING_SIM_SEED=n` one, with its trace,
//! `STARLING_PLANTS=A,B` only these planted mistakes; a failing seed is the bug report.

mod check;
mod cluster;
mod disk;
mod host;
mod load;
mod rng;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use cluster::Sim;
use starling::cluster::quorum::Plant;

/// Of a usual run.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, trace: bool) -> Sim {
    let mut sim = Sim::new(seed, None, trace);
    sim.run();
    sim
}

#[test]
fn what_is_acknowledged_stays_and_nodes_agree_whatever_fails() {
    if let Some(seed) = number("STARLING_SIM_SEED") {
        let sim = run(seed, true);
        assert!(sim.wrong.is_empty(), "seed {seed}: {:#?}", sim.wrong);
        return;
    }
    let seeds = number("STARLING_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let all = Mutex::new(Totals::default());
    side_by_side(|| {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let sim = run(seed, false);
            if number("STARLING_SIM_TELL").is_some() {
                eprintln!("{seed}: {} of {} committed {}", sim.committed, sim.history.txns.len(), sim.kind());
            }
            let mut all = all.lock().expect("no panic");
            all.committed += sim.committed;
            all.txns += sim.history.txns.len();
            if let Some(first) = sim.wrong.first() {
                all.wrong.push(format!("STARLING_SIM_SEED={seed}: {first}"));
            }
        }
    });
    let Totals { committed, txns, wrong } = all.into_inner().expect("no panic");
    eprintln!("{seeds} seeds, {txns} transactions, {committed} committed");
    assert!(wrong.is_empty(), "{} seeds fail:\n{}", wrong.len(), wrong.join("\n"));
}

/// Of all seeds together.
#[derive(Default)]
struct Totals {
    committed: usize,
    txns: usize,
    wrong: Vec<String>,
}

/// On every core at once; a seed's history does not depend on the others.
fn side_by_side(work: impl Fn() + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(&work);
        }
    });
}

/// Mistakes that no seed of a usual run has shown yet: nothing would notice if these rules were left out. To be mended, not to be added to.
const UNSEEN: [Plant; 3] = [Plant::VoteNotBinding, Plant::FloorIgnored, Plant::VoteUnapplied];

/// The checks find what they are for: every rule that is left out on purpose is noticed within the usual seeds.
#[test]
fn every_planted_mistake_is_found() {
    let most = number("STARLING_SIM_SEEDS").unwrap_or(SEEDS);
    let only = std::env::var("STARLING_PLANTS").unwrap_or_default();
    let plants: Vec<Plant> = Plant::ALL
        .iter()
        .copied()
        .filter(|p| {
            if only.is_empty() {
                !UNSEEN.contains(p)
            } else {
                only.contains(&format!("{p:?}"))
            }
        })
        .collect();
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    let look = || {
        while let Some(plant) = plants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = (0..most).find_map(|seed| {
                let mut sim = Sim::new(seed, Some(*plant), false);
                sim.run();
                sim.wrong.first().map(|what| (seed, what.chars().take(150).collect::<String>()))
            });
            match found {
                Some((seed, what)) => eprintln!("{plant:?}: seed {seed}: {what}"),
                None => missed.lock().expect("no panic").push(*plant),
            }
        }
    };
    side_by_side(look);
    let missed = missed.into_inner().expect("no panic");
    assert!(missed.is_empty(), "not found within {most} seeds: {missed:?}");
}
