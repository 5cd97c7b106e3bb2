//! Desks and tables of several nodes over a network that loses, doubles and swaps messages.

use std::collections::BTreeMap;

use proptest::prelude::*;
use starling_log::{Hlc, VersionVector};

use super::desk::GIVE_UP_MS;
use super::*;

const KEY: u128 = 7;
/// Who is whose home.
const HOME: Voter = 1;

fn age(n: u64) -> Stamp {
    Stamp { hlc: Hlc(n), origin: 0 }
}

/// A node as the deciding code sees it, without the rest.
#[derive(Default)]
struct Peer {
    homes: Homes,
    /// Since when it has the key.
    has: Option<u64>,
    /// The age of the oldest that waits elsewhere.
    awaited: Option<Stamp>,
    /// Ages of those who wait here, and when they began to.
    waits: Vec<(u64, u64)>,
    served: Vec<u64>,
}

struct World {
    now: u64,
    peers: BTreeMap<Voter, Peer>,
    /// When, from, to, what.
    mail: Vec<(u64, Voter, Voter, HomeMessage)>,
    rng: u64,
    faulty: bool,
    gone: Option<Voter>,
    /// Order in which ages were served.
    order: Vec<u64>,
}

impl World {
    fn new(nodes: u16, seed: u64, faulty: bool) -> World {
        World {
            now: 1,
            peers: (1..=nodes).map(|v| (v, Peer::default())).collect(),
            mail: Vec::new(),
            rng: seed | 1,
            faulty,
            gone: None,
            order: Vec::new(),
        }
    }
    fn below(&mut self, n: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng % n
    }
    fn act(&mut self, of: Voter, act: impl FnOnce(&mut Homes, u64, &mut Vec<Said>)) {
        if self.gone == Some(of) {
            return;
        }
        let mut said = Vec::new();
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&of) {
            act(&mut peer.homes, now, &mut said);
        }
        for said in said {
            match said {
                Said::Mail(to, message) => {
                    let copies = if self.faulty { [1, 1, 1, 0, 2][self.below(5) as usize] } else { 1 };
                    for _ in 0..copies {
                        let delay = 1 + if self.faulty { self.below(8) } else { 0 };
                        self.mail.push((self.now + delay, of, to, message.clone()));
                    }
                }
                Said::Told(Told::Had { .. }) => {
                    let now = self.now;
                    let peer = self.peers.get_mut(&of).unwrap();
                    peer.has.get_or_insert(now);
                }
                Said::Told(Told::Decided { .. }) => {}
                Said::Told(Told::Awaited { age, .. }) => self.peers.get_mut(&of).unwrap().awaited = age.or(Some(Stamp::default())),
            }
        }
    }
    fn want(&mut self, of: Voter, n: u64) {
        let now = self.now;
        self.peers.get_mut(&of).unwrap().waits.push((n, now));
        self.ask(of);
    }
    fn ask(&mut self, of: Voter) {
        let Some((oldest, _)) = self.peers[&of].waits.iter().min().copied() else {
            return;
        };
        let home = if self.gone == Some(HOME) { 2 } else { HOME };
        self.act(of, |h, now, said| h.desk.want(KEY, age(oldest), home, 0, now, said));
    }
    fn step(&mut self) {
        self.now += 1;
        let now = self.now;
        let (due, rest) = std::mem::take(&mut self.mail).into_iter().partition(|(at, ..)| *at <= now);
        self.mail = rest;
        let due: Vec<(u64, Voter, Voter, HomeMessage)> = due;
        for (_, from, to, message) in due {
            self.deliver(from, to, message);
        }
        let voters: Vec<Voter> = self.peers.keys().copied().collect();
        for voter in voters {
            if self.gone == Some(voter) {
                continue;
            }
            self.serve(voter);
            if now.is_multiple_of(5) {
                let (gone, home) = (self.gone, if self.gone == Some(HOME) { 2 } else { HOME });
                self.act(voter, |h, now, said| {
                    h.desk.tick(now, |_| Some(home), said);
                    h.table.tick(now, |v| gone != Some(v), said);
                });
            }
        }
    }
    fn deliver(&mut self, from: Voter, to: Voter, message: HomeMessage) {
        self.act(to, |h, now, said| match message {
            HomeMessage::Lock { request, key, age } => h.table.lock(from, request, key, age, now, said),
            HomeMessage::Release { request, key, newest } => h.table.release(from, request, key, newest, now, said),
            HomeMessage::Queued { request, key } => {
                h.desk.queued(from, request, key, now);
                h.table.holding(from, request, key, now);
            }
            HomeMessage::Granted {
                request,
                key,
                newest,
                contended,
            } => {
                let granted = Granted {
                    newest,
                    contended,
                    shown: true,
                };
                h.desk.granted(from, request, key, granted, now, said);
            }
            HomeMessage::Awaited { request, key, age } => h.desk.awaited(from, request, key, age, said),
        });
    }
    /// Serves its own, oldest first, a step each; gives the key away when somebody older waits elsewhere, or nobody here does.
    fn serve(&mut self, of: Voter) {
        let peer = self.peers.get_mut(&of).unwrap();
        if peer.has.is_none() {
            return;
        }
        peer.waits.sort_unstable();
        let own = peer.waits.first().copied();
        let older = own.is_some_and(|(n, _)| peer.awaited.is_none_or(|a| age(n) < a));
        if older {
            let (n, _) = peer.waits.remove(0);
            peer.served.push(n);
            self.order.push(n);
        } else if peer.awaited.take().is_some() {
            peer.has = None;
            self.act(of, |h, _, said| h.desk.give(KEY, said));
            self.ask(of);
        }
    }
    fn holders(&self) -> usize {
        self.peers.iter().filter(|(v, p)| p.has.is_some() && self.gone != Some(**v)).count()
    }
    fn waiting(&self) -> usize {
        let there = self.peers.iter().filter(|(v, _)| self.gone != Some(**v));
        there.map(|(_, p)| p.waits.len()).sum()
    }
}

#[test]
fn one_has_it_and_the_oldest_is_next() {
    let mut world = World::new(3, 1, false);
    world.want(2, 50);
    for _ in 0..5 {
        world.step();
    }
    assert_eq!(world.order, [50]);
    // It stays where it is until somebody asks; then by age.
    world.want(3, 70);
    world.want(1, 60);
    world.want(2, 65);
    for _ in 0..40 {
        world.step();
        assert!(world.holders() <= 1);
    }
    assert_eq!(world.order[0], 50);
    assert_eq!(world.waiting(), 0);
    let at = |n: u64| world.order.iter().position(|o| *o == n).unwrap();
    assert!(at(60) < at(70), "{:?}", world.order);
}

#[test]
fn a_home_that_is_gone_is_done_without_and_the_next_one_takes_over() {
    let mut world = World::new(3, 1, false);
    world.want(2, 10);
    for _ in 0..5 {
        world.step();
    }
    world.gone = Some(HOME);
    world.want(3, 20);
    for _ in 0..GIVE_UP_MS + 60 {
        world.step();
    }
    assert_eq!(world.waiting(), 0, "nobody waits for the dead");
}

#[test]
fn the_lock_of_a_node_that_is_gone_goes_on() {
    let mut world = World::new(3, 1, false);
    world.want(2, 10);
    for _ in 0..5 {
        world.step();
    }
    world.gone = Some(2);
    world.want(3, 20);
    for _ in 0..20 {
        world.step();
    }
    assert_eq!(world.order, [10, 20]);
}

#[test]
fn a_holder_that_stands_still_has_it_no_more() {
    let mut table = Table::default();
    let mut said = Vec::new();
    table.lock(2, 1, KEY, age(1), 0, &mut said);
    table.lock(3, 9, KEY, age(2), 1_000, &mut said);
    table.holding(2, 1, KEY, 1_200);
    table.tick(1_400, |_| true, &mut said);
    let has = |said: &[Said], who: Voter| {
        let granted = |s: &Said| matches!(s, Said::Mail(to, HomeMessage::Granted { .. }) if *to == who);
        said.iter().any(granted)
    };
    assert!(!has(&said, 3), "it has said so just now");
    table.tick(1_500, |_| true, &mut said);
    assert!(has(&said, 3));
}

#[test]
fn a_version_that_is_not_shown_yet_is_waited_for() {
    let mut desk = Desk::default();
    let mut said = Vec::new();
    desk.want(KEY, age(1), HOME, 0, 0, &mut said);
    let Some(Said::Mail(HOME, HomeMessage::Lock { request, .. })) = said.pop() else {
        panic!("it asks");
    };
    let place = starling_log::Place { origin: 2, seq: 5 };
    let newest = Version { stamp: age(9), place };
    let granted = Granted {
        newest,
        contended: true,
        shown: false,
    };
    desk.granted(HOME, request, KEY, granted, 1, &mut said);
    assert_eq!(said, []);
    let mut applied = VersionVector::new();
    applied.advance(2, 5);
    desk.applied(&applied, &mut said);
    assert_eq!(said, [Said::Told(Told::Had { key: KEY, contended: true })]);
    said.clear();
    let later = Version {
        stamp: age(10),
        place: starling_log::Place { origin: 3, seq: 1 },
    };
    desk.decided(KEY, later, &mut said);
    assert_eq!(said, [], "nobody waits elsewhere");
    desk.awaited(HOME, request, KEY, age(3), &mut said);
    let there = said.iter().any(|s| matches!(s, Said::Mail(HOME, HomeMessage::Queued { .. })));
    assert!(there, "it says that it is there");
    desk.decided(KEY, newest, &mut said);
    assert_eq!(said.pop(), Some(Said::Told(Told::Decided { key: KEY })));
    said.clear();
    desk.give(KEY, &mut said);
    assert!(matches!(said[..], [Said::Mail(HOME, HomeMessage::Release { newest: n, .. })] if n == later));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Whatever the network does, everybody is served, and nobody is overtaken for ever: an age is served before all that began to
    /// wait long after it.
    #[test]
    fn everybody_is_served(seed in 1_u64..u64::MAX, nodes in 2_u16..6, count in 1_usize..40, pause in 0_u64..12) {
        let mut world = World::new(nodes, seed, true);
        for n in 0..count as u64 {
            let at = 1 + world.below(u64::from(nodes)) as Voter;
            let now = world.now;
            world.want(at, now * 100 + n);
            for _ in 0..pause {
                world.step();
            }
        }
        for _ in 0..60 * 60 * count {
            if world.waiting() == 0 {
                break;
            }
            world.step();
        }
        prop_assert_eq!(world.waiting(), 0);
        prop_assert_eq!(world.order.len(), count);
        for (i, n) in world.order.iter().enumerate() {
            let overtaken = world.order[..i].iter().filter(|other| **other / 100 > n / 100 + 1_000).count();
            prop_assert_eq!(overtaken, 0, "{} was overtaken: {:?}", n, world.order);
        }
    }
}
