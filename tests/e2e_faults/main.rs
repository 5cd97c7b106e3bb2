//! Whole clusters under faults: processes killed, paused and stopped, networks cut, torn, slow and silent, while clients move money
//! between two databases, count and collect. What the clients saw is checked as the simulator's histories are.
//!
//! `STARLING_TEST_LONG=1` makes faults for ten minutes.

#[path = "../quorum/check/mod.rs"]
#[allow(dead_code)]
mod check;
mod load;
mod proxy;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use load::{Load, TABLES};
use proxy::{Fault, Proxy};
use rand::RngExt;
use support::{Node, SECRET, until};

/// After a fault the others go on within this time. (500 ms is the promise of a release build on a quiet machine.)
const GAP: Duration = Duration::from_secs(5);

struct World {
    nodes: Vec<Node>,
    proxies: Vec<Proxy>,
    load: Arc<Load>,
    clients: Vec<tokio::task::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
    _under: tempfile::TempDir,
}

fn signal(node: &Node, signal: i32) {
    // SAFETY: the pid is our own living child's.
    unsafe { libc::kill(node.pid() as i32, signal) };
}

/// Time for faults to do what they do.
fn pass(ms: u64) {
    let end = Instant::now() + Duration::from_millis(ms);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

impl World {
    /// A cluster of this many nodes, each behind a proxy, and two clients of each.
    fn start(count: usize, env: &[(&str, &str)]) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let under = tempfile::tempdir().expect("a directory");
        let mut world = World {
            nodes: Vec::new(),
            proxies: Vec::new(),
            load: Arc::default(),
            clients: Vec::new(),
            runtime,
            _under: under,
        };
        for number in 0..count {
            world.add(number, env);
        }
        world.nodes[0].sql(TABLES);
        world.nodes[0].sql(&world.load.begin());
        for node in &world.nodes {
            until("the tables are everywhere", || {
                node.try_sql("SELECT n FROM bank.plain").1.trim() == "0" && voters(node) == count as u64
            });
        }
        world.work();
        world
    }

    fn add(&mut self, number: usize, env: &[(&str, &str)]) {
        let mut node = Node::new(&format!("n{number}"), self._under.path());
        let proxy = self.runtime.block_on(Proxy::start(node.http));
        node = node.args(&["--cluster-secret", SECRET, "--advertise-addr", &proxy.addr()]);
        if let Some(first) = self.proxies.first() {
            node = node.args(&["--join", &first.addr()]);
        }
        for (key, value) in env {
            node = node.env(key, value);
        }
        node.start();
        self.nodes.push(node);
        self.proxies.push(proxy);
    }

    fn work(&mut self) {
        for (number, node) in self.nodes.iter().enumerate() {
            for _ in 0..2 {
                let (load, port) = (self.load.clone(), node.mysql);
                let client = self.runtime.spawn(async move { load.client(number, port).await });
                self.clients.push(client);
            }
        }
        self.goes_on(&[]);
    }

    /// Somebody else than these acknowledges something.
    fn goes_on(&self, but: &[usize]) {
        let began = Instant::now();
        until("work goes on", || {
            self.load.longest_gap(but, began, Instant::now()) < began.elapsed()
        });
    }

    /// Does something to these nodes; the others go on all the time.
    fn fault(&mut self, what: &str, victims: &[usize], act: impl FnOnce(&mut World)) {
        let began = Instant::now();
        act(self);
        self.goes_on(victims);
        let gap = self.load.longest_gap(victims, began, Instant::now());
        println!(
            "{what} {victims:?}: the others were silent for {gap:?}, {} acknowledged",
            self.load.acked()
        );
        assert!(gap < GAP, "{what} {victims:?}: no acknowledgement for {gap:?}");
    }

    fn kill(&mut self, victim: usize) {
        self.fault("SIGKILL", &[victim], |world| {
            world.nodes[victim].kill();
            pass(500);
            world.nodes[victim].start();
        });
    }

    fn pause(&mut self, victim: usize, ms: u64) {
        self.fault("SIGSTOP", &[victim], |world| {
            signal(&world.nodes[victim], libc::SIGSTOP);
            pass(ms);
            signal(&world.nodes[victim], libc::SIGCONT);
            world.nodes[victim].wait_ready();
        });
    }

    fn term(&mut self, victim: usize) {
        self.fault("SIGTERM", &[victim], |world| {
            let status = world.nodes[victim].term();
            assert!(status.success(), "a clean stop ends with 0: {status:?}");
            world.nodes[victim].start();
        });
    }

    /// The others do not hear this node (it hears them).
    fn muted(&mut self, victim: usize, fault: Fault, ms: u64) {
        self.fault(&format!("{fault:?} before"), &[victim], |world| {
            world.proxies[victim].set("", Some(fault));
            pass(ms);
            world.proxies[victim].heal();
        });
    }

    /// Nothing passes between these nodes and the others.
    fn apart(&mut self, some: &[usize], fault: Fault, ms: u64) {
        self.fault(&format!("{fault:?} around"), some, |world| {
            let addrs: Vec<String> = world.proxies.iter().map(Proxy::addr).collect();
            for (number, proxy) in world.proxies.iter().enumerate() {
                for (other, addr) in addrs.iter().enumerate() {
                    if some.contains(&number) != some.contains(&other) {
                        proxy.set(addr, Some(fault));
                    }
                }
            }
            pass(ms);
            world.proxies.iter().for_each(Proxy::heal);
        });
    }

    /// Stops the clients, and looks at everything.
    fn end(&mut self) -> Vec<String> {
        self.load.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            self.runtime.block_on(client).expect("no panic");
        }
        let ports: Vec<u16> = self.nodes.iter().map(|n| n.mysql).collect();
        until("all nodes show the same", || {
            let shown: Vec<_> = ports.iter().map(|p| self.runtime.block_on(load::shown(*p))).collect();
            shown.windows(2).all(|pair| pair[0] == pair[1])
        });
        println!(
            "{} acknowledged; {:?}",
            self.load.acked(),
            self.load.errors.lock().expect("no panic")
        );
        self.runtime.block_on(self.load.check(&ports))
    }

    fn is_sound(&mut self) {
        let wrong = self.end();
        if !wrong.is_empty() {
            let changes = support::get(self.nodes[0].http, "/v1/changes?follow=false&limit=100000").unwrap_or_default();
            println!("what happened, says {}:\n{}", self.nodes[0].name, changes.1);
        }
        assert!(wrong.is_empty(), "{} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    }
}

fn voters(node: &Node) -> u64 {
    let text = support::get(node.http, "/v1/members").map(|r| r.1).unwrap_or_default();
    let members = support::json(&text, "members");
    let states = members.as_array().into_iter().flatten().filter(|m| m["state"] == "up");
    states.count() as u64
}

fn is_long() -> bool {
    std::env::var("STARLING_TEST_LONG").is_ok_and(|v| v == "1")
}

#[test]
fn three_nodes_killed_paused_and_stopped_lose_nothing() {
    let mut world = World::start(3, &[]);
    world.kill(1);
    world.pause(2, 1_500);
    world.term(0);
    world.kill(0);
    world.is_sound();
}

#[test]
fn five_nodes_behind_a_broken_network_lose_nothing() {
    let mut world = World::start(5, &[]);
    world.muted(1, Fault::Silent, 1_000);
    world.muted(2, Fault::Torn, 500);
    world.muted(3, Fault::Slow(20_000), 1_000);
    world.muted(4, Fault::Delay(Duration::from_millis(150)), 1_000);
    world.apart(&[0, 1], Fault::Cut, 1_500);
    world.apart(&[3, 4], Fault::Silent, 1_500);
    world.fault("SIGKILL of two", &[1, 3], |world| {
        world.nodes[1].kill();
        world.nodes[3].kill();
        pass(500);
        world.nodes[1].start();
        world.nodes[3].start();
    });
    world.is_sound();
}

#[test]
fn alone_a_node_refuses_at_once_and_with_another_it_goes_on() {
    let mut world = World::start(3, &[]);
    world.nodes[1].kill();
    world.nodes[2].kill();
    let refused = |node: &Node| node.try_sql("UPDATE bank.plain SET n = n WHERE id = 2; INSERT INTO ledger.items VALUES (1, 1)");
    until("the one that is left refuses", || refused(&world.nodes[0]).1.contains("1047"));
    let began = Instant::now();
    let (done, text) = refused(&world.nodes[0]);
    assert!(!done && text.contains("1047"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(1), "not at once: {:?}", began.elapsed());
    assert_eq!(
        world.nodes[0].sql("SELECT COUNT(*) FROM bank.accounts").trim(),
        load::ACCOUNTS.to_string()
    );
    let began = Instant::now();
    world.nodes[1].start();
    world.goes_on(&[]);
    println!("work goes on {:?} after one of two came back", began.elapsed());
    world.nodes[2].start();
    world.is_sound();
}

/// These tests can fail: with a rule left out, the same clients see what must not be.
#[test]
#[cfg(debug_assertions)]
fn a_planted_mistake_is_found() {
    let mut world = World::start(3, &[("STARLING_TEST_PLANT", "NoConflicts")]);
    pass(6_000);
    let wrong = world.end();
    println!("{:#?}", &wrong[..wrong.len().min(5)]);
    assert!(wrong.iter().any(|w| w.contains("lost update")), "nothing found");
}

#[test]
fn ten_minutes_of_faults_when_asked_for() {
    if !is_long() {
        return;
    }
    let end = Instant::now() + Duration::from_mins(10);
    let mut world = World::start(5, &[]);
    while Instant::now() < end {
        let victim = rand::rng().random_range(0..5);
        let other = (victim + 1) % 5;
        match rand::rng().random_range(0..9) {
            0 => world.kill(victim),
            1 => world.pause(victim, 2_000),
            2 => world.term(victim),
            3 => world.muted(victim, Fault::Silent, 3_000),
            4 => world.muted(victim, Fault::Torn, 500),
            5 => world.muted(victim, Fault::Slow(50_000), 2_000),
            6 => world.muted(victim, Fault::Delay(Duration::from_millis(100)), 2_000),
            7 => world.apart(&[victim, other], Fault::Cut, 3_000),
            _ => world.apart(&[victim, other], Fault::Silent, 3_000),
        }
    }
    world.is_sound();
}
