//! The deciding code of quorum commit under every fault that can be thought of, one seed a history.
//!
//! `STARLING_SIM_SEEDS=n` runs more seeds, `STARLING_SIM_SEED=n` one, with its trace; a failing seed is the bug report.

mod check;
mod cluster;
mod disk;
mod host;
mod load;
mod rng;

use cluster::Sim;

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
    let seeds = number("STARLING_SIM_SEEDS").unwrap_or(100);
    let (mut committed, mut txns, mut wrong) = (0, 0, Vec::new());
    for seed in 0..seeds {
        let sim = run(seed, false);
        committed += sim.committed;
        txns += sim.history.txns.len();
        if let Some(first) = sim.wrong.first() {
            wrong.push(format!("STARLING_SIM_SEED={seed}: {first}"));
        }
    }
    eprintln!("{seeds} seeds, {txns} transactions, {committed} committed");
    assert!(wrong.is_empty(), "{} seeds fail:\n{}", wrong.len(), wrong.join("\n"));
}
