//! The fold against a slow reference: random histories of several origins, in any order of arrival, with duplicates, crashes,
//! and from the log alone, give the reference's rows.
//!
//! `STARLING_FOLD_CASES=5000 cargo nextest run -p starling-apply --test reference` is the long form; a failure prints its seed.

#[path = "reference/model.rs"]
mod model;
#[path = "reference/replica.rs"]
#[allow(dead_code)]
mod replica;
#[path = "reference/world.rs"]
#[allow(dead_code)]
mod world;

use model::fold;
use proptest::prelude::*;
use replica::Replica;
use world::{Dice, World, rows_of};

fn cases() -> u32 {
    std::env::var("STARLING_FOLD_CASES")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(150)
}

fn check(seed: u64, steps: usize, run: impl Fn(&World, &mut Dice, &mut Replica)) {
    let world = World::history(seed, steps);
    let expected = rows_of(&fold(&world.entries));
    let mut dice = Dice(seed ^ 0x5eed);
    let mut replica = Replica::new(&world);
    run(&world, &mut dice, &mut replica);
    assert_eq!(replica.rows(), expected, "seed {seed} steps {steps}");
}

fn in_any_order(world: &World, dice: &mut Dice, replica: &mut Replica) {
    for entry in world.arrival(dice) {
        if std::env::var("STARLING_FOLD_SEED").is_ok() {
            eprintln!("{}", world::describe(entry));
        }
        replica.apply(entry);
        // Transactions of one or more entries; duplicates now and then.
        if dice.roll(4) == 0 {
            replica.apply(entry);
        }
        if dice.roll(3) == 0 {
            replica.commit();
        }
    }
    replica.commit();
}

fn with_crashes(world: &World, dice: &mut Dice, replica: &mut Replica) {
    let order = world.arrival(dice);
    let (mut at, mut crashes) = (0, 0);
    while at < order.len() {
        replica.apply(order[at]);
        at += 1;
        match dice.roll(6) {
            0 if crashes < 10 => {
                crashes += 1;
                replica.crash();
                let applied = replica.applied();
                at = order.iter().position(|e| !applied.contains(e.place)).unwrap_or(order.len());
            }
            1 | 2 => replica.commit(),
            _ => {}
        }
    }
    replica.commit();
}

fn from_the_log(world: &World, dice: &mut Dice, replica: &mut Replica) {
    for entry in world.arrival(dice) {
        replica.apply(entry);
        replica.commit();
    }
    let mut fresh = Replica::new(world);
    let mut sorted: Vec<_> = world.entries.iter().collect();
    sorted.sort_by_key(|e| e.stamp);
    for entry in sorted {
        fresh.apply(entry);
    }
    fresh.commit();
    assert_eq!(replica.dump(), fresh.dump(), "canonical dumps");
    assert_eq!(replica.digests(), fresh.digests());
}

/// This node is the author of origin 2: it writes when it has seen just what the author had.
fn as_an_author(world: &World, dice: &mut Dice, replica: &mut Replica) {
    let mut seen = Vec::new();
    for entry in world.authored_order(2, dice) {
        if entry.place.origin == 2 {
            replica.write_and_note(&seen, entry);
        } else {
            replica.apply(entry);
        }
        seen.push(entry);
        replica.commit();
    }
}

/// Replays one failing case: `STARLING_FOLD_SEED=seed,steps`.
#[test]
fn a_given_seed_is_replayed() {
    let Ok(given) = std::env::var("STARLING_FOLD_SEED") else { return };
    let mut parts = given.split(',').map(|p| p.parse::<u64>().expect("seed,steps"));
    let (Some(seed), Some(steps)) = (parts.next(), parts.next()) else {
        panic!("seed,steps")
    };
    let steps = usize::try_from(steps).expect("steps");
    for entry in &World::history(seed, steps).entries {
        eprintln!("{}", world::describe(entry));
    }
    for run in [in_any_order, with_crashes, from_the_log, as_an_author] {
        check(seed, steps, run);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_order_gives_the_reference_fold(seed in any::<u64>(), steps in 5..60usize) {
        check(seed, steps, in_any_order);
    }

    #[test]
    fn crashes_between_any_two_steps_change_nothing(seed in any::<u64>(), steps in 5..60usize) {
        check(seed, steps, with_crashes);
    }

    #[test]
    fn the_log_alone_rebuilds_the_same_dump(seed in any::<u64>(), steps in 5..60usize) {
        check(seed, steps, from_the_log);
    }

    #[test]
    fn effects_kept_from_dry_runs_are_noted(seed in any::<u64>(), steps in 5..60usize) {
        check(seed, steps, as_an_author);
    }
}
