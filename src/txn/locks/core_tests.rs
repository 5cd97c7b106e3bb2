use proptest::prelude::*;
use starling_apply::claim::Mode;

use super::*;

impl Key for u8 {
    fn group(&self) -> Option<u64> {
        (*self >= 10).then_some(u64::from(*self) / 10)
    }
    fn is_data(&self) -> bool {
        *self < 200
    }
}

const S: Mode = Mode::Shared;
const X: Mode = Mode::Exclusive;
const IS: Mode = Mode::IntentShared;
const IX: Mode = Mode::IntentExclusive;

fn want(list: &[(u8, Mode)]) -> Vec<(u8, Modes)> {
    list.iter().map(|(k, m)| (*k, Modes::from(*m))).collect()
}

fn three() -> (Core<u8>, [PartyId; 3]) {
    let mut core = Core::default();
    let ids = [1, 2, 3].map(|n| core.join(Age(n, 0), None));
    (core, ids)
}

#[test]
fn the_younger_waits_and_the_older_wounds() {
    let (mut core, [old, _, young]) = three();
    assert_eq!(core.request(old, &want(&[(1, X)]), true), Answer::Granted);
    assert_eq!(core.request(young, &want(&[(2, X), (1, X)]), true), Answer::Waiting);
    core.check();
    assert_eq!(core.request(old, &want(&[(2, S)]), true), Answer::Granted);
    core.check();
    assert!(core.is_wounded(young) && core.is_settled(young));
    assert_eq!(core.take_woken(), [young]);
    assert_eq!(core.take_wounds().len(), 1);
    assert_eq!(core.request(young, &want(&[(9, X)]), true), Answer::Wounded);
    core.leave(old);
    core.leave(young);
    assert_eq!(core.data(), 0);
}

#[test]
fn who_commits_is_waited_for() {
    let (mut core, [old, _, young]) = three();
    assert_eq!(core.request(young, &want(&[(1, X)]), true), Answer::Granted);
    assert!(core.make_firm(young));
    assert_eq!(core.request(old, &want(&[(1, X)]), true), Answer::Waiting);
    assert!(!core.is_wounded(young));
    core.leave(young);
    assert!(core.is_settled(old));
    assert_eq!(core.take_woken(), [old]);
    assert_eq!(core.held(old, &1), Modes::from(X));
}

#[test]
fn two_that_share_and_both_want_more_do_not_stand_still() {
    let (mut core, [old, middle, young]) = three();
    for id in [old, young] {
        assert_eq!(core.request(id, &want(&[(1, S)]), true), Answer::Granted);
    }
    assert_eq!(core.request(young, &want(&[(1, X)]), true), Answer::Waiting);
    assert_eq!(
        core.request(middle, &want(&[(1, S)]), true),
        Answer::Granted,
        "older than the waiter"
    );
    assert_eq!(core.request(old, &want(&[(1, X)]), true), Answer::Granted);
    assert!(core.is_wounded(young) && core.is_wounded(middle));
    core.check();
}

#[test]
fn readers_do_not_overtake_an_older_writer() {
    let (mut core, [first, writer, late]) = three();
    assert_eq!(core.request(first, &want(&[(1, S)]), true), Answer::Granted);
    assert_eq!(core.request(writer, &want(&[(1, X)]), true), Answer::Waiting);
    assert_eq!(core.request(late, &want(&[(1, S)]), true), Answer::Waiting);
    assert!(!core.is_free_here(None, &1, Modes::from(S)), "nor does a statement that only looks");
    core.leave(first);
    assert_eq!(core.take_woken(), [writer]);
    core.leave(writer);
    assert_eq!(core.take_woken(), [late]);
}

#[test]
fn a_refusal_takes_nothing_and_hurts_nobody() {
    let (mut core, [old, _, young]) = three();
    assert_eq!(core.request(young, &want(&[(1, X)]), true), Answer::Granted);
    assert_eq!(core.request(old, &want(&[(2, X), (1, X)]), false), Answer::Refused);
    assert!(!core.is_wounded(young));
    assert_eq!(core.held(old, &2), Modes::NONE);
}

#[test]
fn a_cancelled_wait_lets_others_pass() {
    let (mut core, [first, writer, late]) = three();
    core.request(first, &want(&[(1, S)]), true);
    core.request(writer, &want(&[(1, X)]), true);
    core.request(late, &want(&[(1, S)]), true);
    core.cancel(writer);
    core.check();
    assert_eq!(core.take_woken(), [late]);
    assert_eq!(core.request(writer, &want(&[(2, X)]), true), Answer::Granted);
}

#[test]
fn friends_do_not_hinder_each_other() {
    let mut core: Core<u8> = Core::default();
    let tables = core.join(Age(5, 0), None);
    core.request(tables, &want(&[(1, X)]), true);
    assert!(core.make_firm(tables));
    let own = core.join(Age(0, 0), Some(tables));
    let other = core.join(Age(1, 0), None);
    assert_eq!(core.request(other, &want(&[(1, X)]), true), Answer::Waiting);
    assert_eq!(core.request(own, &want(&[(1, IX)]), true), Answer::Granted);
    core.check();
}

#[test]
fn groups_are_counted_and_given_back() {
    let (mut core, [one, two, _]) = three();
    core.request(one, &want(&[(10, X), (11, X), (20, X)]), true);
    assert_eq!((core.count(one, 1), core.count(one, 2)), (2, 1));
    assert_eq!(core.request(two, &want(&[(11, S)]), true), Answer::Waiting);
    core.drop_group(one, 1);
    core.check();
    assert_eq!(core.take_woken(), [two]);
    assert_eq!((core.count(one, 1), core.count(one, 2)), (0, 1));
}

#[test]
fn a_peer_s_prepared_transaction_goes_first() {
    let (mut core, [old, firm, peer]) = three();
    core.request(old, &want(&[(1, X)]), true);
    assert!(core.force(peer, &want(&[(1, X), (2, X)])));
    assert!(core.is_wounded(old));
    assert!(!core.force(firm, &want(&[(2, S)])), "it is firm");
    core.check();
}

#[test]
fn who_comes_first_is_the_older_unless_somebody_waits_for_it() {
    let (mut core, [began, came, third]) = three();
    core.renew(came, Age(8, 0));
    assert_eq!(core.request(came, &want(&[(1, X)]), true), Answer::Granted);
    core.renew(began, Age(9, 0));
    assert_eq!(core.request(began, &want(&[(1, X)]), true), Answer::Waiting);
    assert!(!core.is_wounded(came));
    // Somebody waits for what it holds, and for nobody younger.
    core.renew(came, Age(10, 0));
    assert_eq!(core.age(came), Some(Age(8, 0)));
    core.check();
    core.leave(third);
}

fn patient() -> (Core<u8>, [PartyId; 3]) {
    let (mut core, ids) = three();
    core.patient = true;
    (core, ids)
}

#[test]
fn a_patient_table_lets_the_younger_finish_until_it_is_pressed() {
    let (mut core, [old, middle, young]) = patient();
    core.request(young, &want(&[(1, X)]), true);
    core.request(middle, &want(&[(2, X)]), true);
    assert_eq!(core.request(old, &want(&[(1, X), (2, X)]), true), Answer::Waiting);
    core.check();
    assert_eq!(core.request(young, &want(&[(3, X)]), true), Answer::Granted, "it goes on");
    assert_eq!(core.request(middle, &want(&[(3, X)]), true), Answer::Waiting);
    core.press(old, true);
    assert!(core.is_wounded(middle) && !core.is_wounded(young), "only those who wait themselves");
    core.press(old, false);
    assert!(core.is_wounded(young) && core.is_settled(old));
    core.check();
}

#[test]
fn who_closes_a_circle_has_its_youngest_wounded_at_once() {
    let (mut core, [old, middle, young]) = patient();
    core.request(old, &want(&[(1, X)]), true);
    core.request(middle, &want(&[(2, X)]), true);
    core.request(young, &want(&[(3, X)]), true);
    assert_eq!(core.request(old, &want(&[(2, X)]), true), Answer::Waiting);
    assert_eq!(core.request(middle, &want(&[(3, X)]), true), Answer::Waiting);
    assert_eq!(core.take_wounds().len(), 0);
    assert_eq!(core.request(young, &want(&[(1, X)]), true), Answer::Wounded);
    assert_eq!(core.take_wounds().len(), 1);
    assert!(core.is_settled(middle) && !core.is_settled(old));
    core.check();
}

#[test]
fn a_circle_over_the_order_of_a_queue_is_one_too() {
    let (mut core, [old, middle, young]) = patient();
    core.request(young, &want(&[(1, X)]), true);
    core.request(middle, &want(&[(2, X)]), true);
    assert_eq!(core.request(middle, &want(&[(1, X)]), true), Answer::Waiting);
    // In front of the other on the one key, behind it on the other.
    assert_eq!(core.request(old, &want(&[(1, X), (2, X)]), true), Answer::Waiting);
    assert!(core.is_wounded(middle));
    core.leave(young);
    assert!(core.is_settled(old));
    core.check();
}

#[test]
fn other_nodes_are_in_the_way_of_those_here_only() {
    let (mut core, [away, here, alone]) = patient();
    core.set_side(away, Side::Away);
    core.set_side(alone, Side::Alone);
    assert_eq!(core.request(away, &want(&[(1, S)]), true), Answer::Granted);
    assert!(core.make_firm(away));
    assert_eq!(core.request(here, &want(&[(1, S)]), true), Answer::Granted, "who reads asks nobody");
    assert_eq!(core.request(here, &want(&[(1, X)]), true), Answer::Waiting);
    assert!(core.waiters(&1).eq([here]));
    core.cancel(here);
    assert_eq!(
        core.request(here, &want(&[(1, X)]), false),
        Answer::Granted,
        "NOWAIT does not wait for others"
    );
    core.leave(here);
    assert_eq!(core.request(alone, &want(&[(1, X)]), true), Answer::Granted);
    let guard = core.join(Age(9, 0), None);
    core.set_side(guard, Side::Guard);
    core.leave(alone);
    assert!(core.force(guard, &want(&[(1, X)])));
    assert!(!core.is_wounded(away));
}

/// One random transaction: batches of locks, one after another.
type Script = Vec<Vec<(u8, u8)>>;

fn mode(n: u8) -> Mode {
    [IS, IX, S, X][usize::from(n % 4)]
}

/// Runs scripts step by step in the order that `turns` gives; first attempts are renewed before their second batch, wounded ones
/// start again at their age. Returns the steps it took.
fn play(scripts: &[Script], turns: &[usize], patient: bool) -> usize {
    let mut core: Core<u8> = Core {
        patient,
        ..Core::default()
    };
    let mut ids: Vec<Option<PartyId>> = vec![None; scripts.len()];
    let mut at = vec![0; scripts.len()];
    let mut done = vec![false; scripts.len()];
    let mut firm = vec![false; scripts.len()];
    let mut ages: Vec<Age> = (0..scripts.len()).map(|i| Age(i as u64, 0)).collect();
    let mut fresh = vec![true; scripts.len()];
    let limit = 200 * scripts.len() * (1 + scripts.iter().map(Vec::len).sum::<usize>());
    for step in 0..limit {
        if done.iter().all(|d| *d) {
            return step;
        }
        let can_run = |i: &usize| !done[*i] && ids[*i].is_none_or(|id| core.is_settled(id));
        let open: Vec<usize> = (0..scripts.len()).filter(can_run).collect();
        assert!(!open.is_empty(), "all wait");
        let i = open[turns.get(step % turns.len().max(1)).copied().unwrap_or(step) % open.len()];
        let id = *ids[i].get_or_insert_with(|| core.join(ages[i], None));
        if core.is_wounded(id) {
            core.leave(id);
            (ids[i], at[i], fresh[i]) = (None, 0, false);
        } else if core.is_settled(id) {
            if let Some(batch) = scripts[i].get(at[i]) {
                let wanted: Vec<_> = batch.iter().map(|(k, m)| (*k, Modes::from(mode(*m)))).collect();
                if at[i] == 1 && std::mem::take(&mut fresh[i]) {
                    core.renew(id, Age(scripts.len() as u64, step as u64));
                    ages[i] = core.age(id).unwrap();
                }
                core.request(id, &wanted, true);
                at[i] += 1;
            } else if !firm[i] {
                firm[i] = core.make_firm(id);
                assert!(firm[i]);
            } else {
                core.leave(id);
                done[i] = true;
            }
        }
        core.check();
    }
    panic!("they never finish");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_schedule_ends(
        scripts in prop::collection::vec(prop::collection::vec(prop::collection::vec((0_u8..6, 0_u8..4), 1..4), 0..5), 1..7),
        turns in prop::collection::vec(0_usize..100, 1..60),
    ) {
        play(&scripts, &turns, false);
        // All circles are here: nobody has to be pressed.
        play(&scripts, &turns, true);
    }
}

/// The oldest of all is never wounded, whatever the others do: it gets through.
#[test]
fn the_oldest_always_gets_through() {
    let (mut core, [old, middle, young]) = three();
    core.request(young, &want(&[(1, X), (2, X), (3, X)]), true);
    core.request(middle, &want(&[(1, S), (4, X)]), true);
    for key in 1..6 {
        assert_eq!(core.request(old, &want(&[(key, X)]), true), Answer::Granted);
        core.check();
    }
    assert!(!core.is_wounded(old));
}
