//! Workloads: transfers, counters, sets, unique values, parents and children, copies of what was written at `ONE`.

use bytes::Bytes;
use starling::cluster::quorum::{Claim, Kind, Level, Mode, Proposal, Version};
use starling_log::Stamp;

use crate::check::{Ended, Read, Txn, Write};
use crate::disk::Entry;
use crate::host::{Host, Spec, table};
use crate::rng::Rng;

pub const ACCOUNTS: u64 = 5;
pub const OPENING: i64 = 100;
const COUNTERS: u64 = 2;
const VALUES: u64 = 3;
const PARENTS: u64 = 2;
const CHILDREN: u64 = 3;
/// So long others wait for a schema change that was refused.
const PATIENCE_MS: u32 = 60;

pub const fn key(class: u64, id: u64) -> u64 {
    class << 32 | id
}
pub fn account(id: u64) -> u64 {
    key(1, id)
}
pub fn parent(id: u64) -> u64 {
    key(5, id)
}
pub fn child(parent: u64, id: u64) -> u64 {
    key(6, parent * 16 + id)
}
pub fn written_at_one(origin: u64) -> u64 {
    key(7, origin)
}
/// The definition of the table of unique values.
pub fn schema() -> u64 {
    key(10, 0)
}
pub fn is_value(key: u64) -> bool {
    key >> 32 == 4
}
pub fn copied(origin: u64, node: u64) -> u64 {
    key(8, origin * 64 + node)
}

/// A transaction as a client makes it: what it read, what it wants to write, what it is based on.
pub struct Made {
    pub txn: Txn,
    pub spec: Spec,
    pub proposal: Option<Proposal>,
}

struct Maker<'a> {
    host: &'a Host,
    id: u64,
    made: Made,
    claims: Vec<Claim>,
}

impl Maker<'_> {
    fn value(&self, key: u64) -> Option<i64> {
        self.host.tables.rows.get(&key).and_then(|row| row.value)
    }

    fn read(&mut self, key: u64) -> Option<i64> {
        let row = self.host.tables.rows.get(&key);
        if !self.made.txn.reads.iter().any(|r| r.key == key) {
            self.made.txn.reads.push(Read {
                key,
                from: row.map(|row| row.write),
                value: row.and_then(|row| row.value),
            });
        }
        self.value(key)
    }

    fn claim(&mut self, key: u64, mode: Mode) {
        let base = if mode.is_based() {
            self.host.tables.newest(key, mode)
        } else {
            Version::default()
        };
        self.claims.push(Claim {
            key: u128::from(key),
            mode,
            base,
            at: Bytes::new(),
        });
    }

    fn write(&mut self, key: u64, value: Option<i64>) {
        self.read(key);
        self.claim(key, Mode::Exclusive);
        let table = table(key);
        if !self.claims.iter().any(|c| c.key == u128::from(table)) {
            self.claim(table, Mode::IntentExclusive);
        }
        let write = self.id << 8 | self.made.spec.writes.len() as u64;
        self.made.spec.writes.push((key, write, value));
        self.made.txn.writes.push(Write { key, id: write, value });
    }

    fn refer(&mut self, key: u64) {
        self.read(key);
        self.claim(key, Mode::Reference);
        self.made.spec.references.push(key);
    }
}

fn maker<'a>(host: &'a Host, id: u64, now_ms: u64) -> Maker<'a> {
    let session = u64::from(host.seat.voter) << 32 | host.life;
    let txn = Txn {
        id,
        session,
        begin: now_ms,
        reads: Vec::new(),
        writes: Vec::new(),
        ended: Ended::Refused,
    };
    let made = Made {
        txn,
        spec: Spec::default(),
        proposal: None,
    };
    Maker {
        host,
        id,
        made,
        claims: Vec::new(),
    }
}

/// What a client of this node does next.
pub fn make(host: &Host, id: u64, now_ms: u64, rng: &mut Rng) -> Made {
    let mut m = maker(host, id, now_ms);
    match rng.below(13) {
        0..=2 => transfer(&mut m, rng),
        3 => {
            let counter = key(2, rng.below(COUNTERS));
            let value = m.read(counter).unwrap_or(0);
            m.write(counter, Some(value + 1));
        }
        4 => m.write(key(3, id), Some(1)),
        5 if id.is_multiple_of(8) => alter(&mut m),
        5 => take_value(&mut m, rng),
        6 | 7 => family(&mut m, rng),
        8..=10 => copy(&mut m, rng),
        // Everybody wants the same new name.
        11 => {
            let name = key(9, now_ms / 150);
            if m.read(name).is_none() {
                m.write(name, Some(id as i64));
            }
        }
        _ => {
            for id in 0..ACCOUNTS {
                m.read(account(id));
            }
            for id in 0..COUNTERS {
                m.read(key(2, id));
            }
        }
    }
    finish(m, rng)
}

/// A write of nobody else's key: goes through wherever a quorum is.
pub fn make_sure(host: &Host, id: u64, now_ms: u64, rng: &mut Rng) -> Made {
    let mut m = maker(host, id, now_ms);
    m.write(key(3, id), Some(2));
    let mut made = finish(m, rng);
    if let Some(proposal) = &mut made.proposal {
        proposal.level = Level::Quorum;
    }
    made
}

fn finish(m: Maker, rng: &mut Rng) -> Made {
    let (host, claims) = (m.host, m.claims);
    let mut made = m.made;
    let stable = host.up().map_or(Stamp::default(), |node| node.stable()).max(host.tables.dropped);
    let alters = made.spec.writes.iter().any(|(key, ..)| *key == schema());
    if !made.spec.writes.is_empty() {
        made.proposal = Some(Proposal {
            kind: Kind::Data,
            body: Bytes::copy_from_slice(&m.id.to_le_bytes()),
            claims,
            causes: host.tables.applied.clone(),
            stable,
            age: Stamp::default(),
            level: if rng.permille(100) { Level::All } else { Level::Quorum },
            patience_ms: if alters { PATIENCE_MS } else { 0 },
        });
    }
    made
}

fn transfer(m: &mut Maker, rng: &mut Rng) {
    let from = rng.below(ACCOUNTS);
    let to = (from + 1 + rng.below(ACCOUNTS - 1)) % ACCOUNTS;
    let amount = rng.between(1, 9) as i64;
    let (a, b) = (m.read(account(from)).unwrap_or(OPENING), m.read(account(to)).unwrap_or(OPENING));
    m.write(account(from), Some(a - amount));
    m.write(account(to), Some(b + amount));
}

/// A schema change that rests on all rows of its table.
fn alter(m: &mut Maker) {
    let version = m.read(schema()).unwrap_or(0);
    m.write(schema(), Some(version + 1));
    m.claim(table(key(4, 0)), Mode::Seen);
}

/// Of a schema change and a row change, one has seen the other.
pub fn unseen<'a>(entries: impl Iterator<Item = &'a Entry>, specs: &[Spec]) -> Option<String> {
    let (mut alters, mut writes) = (Vec::new(), Vec::new());
    for entry in entries {
        let spec = entry.txn.and_then(|id| specs.get(id as usize));
        for (key, ..) in spec.iter().flat_map(|s| &s.writes) {
            match *key {
                k if k == schema() => alters.push(entry),
                k if is_value(k) => writes.push(entry),
                _ => {}
            }
        }
    }
    let apart = |a: &&Entry, w: &&&Entry| !a.causes.contains(w.place) && !w.causes.contains(a.place);
    let found = alters
        .iter()
        .find_map(|a| writes.iter().find(|w| apart(a, w)).map(|w| (a.place, w.place)));
    found.map(|(a, w)| format!("the schema change at {a:?} and the row change at {w:?} have not seen each other"))
}

/// A unique value belongs to one row at most.
fn take_value(m: &mut Maker, rng: &mut Rng) {
    m.claim(schema(), Mode::Shared);
    let unique = key(4, rng.below(VALUES));
    match m.read(unique) {
        None => m.write(unique, Some(m.id as i64)),
        Some(_) => m.write(unique, None),
    }
}

fn family(m: &mut Maker, rng: &mut Rng) {
    let of = rng.below(PARENTS);
    let kid = child(of, rng.below(CHILDREN));
    let there = m.read(parent(of)).is_some();
    let childless = (0..CHILDREN).all(|id| m.value(child(of, id)).is_none());
    if !there {
        m.write(parent(of), Some(1));
    } else if childless && rng.permille(600) {
        m.write(parent(of), None);
    } else if m.read(kid).is_none() {
        m.write(kid, Some(1));
        m.refer(parent(of));
    } else {
        m.write(kid, None);
    }
}

/// Takes over what somebody wrote at `ONE`: wherever the copy is seen, the original is.
fn copy(m: &mut Maker, rng: &mut Rng) {
    let originals: Vec<u64> = m
        .host
        .tables
        .rows
        .range(written_at_one(0)..written_at_one(1 << 31))
        .map(|(key, _)| *key)
        .collect();
    let own = written_at_one(u64::from(m.host.seat.one));
    let picked = if originals.contains(&own) && rng.permille(600) {
        Some(own)
    } else {
        rng.pick(&originals).copied()
    };
    let Some(original) = picked else { return };
    let value = m.value(original);
    let copy = copied(original & 0xffff_ffff, u64::from(m.host.seat.member));
    m.write(copy, value);
}

/// What is wrong with one node's tables, whenever one looks.
pub fn look(host: &Host) -> Option<String> {
    let rows = &host.tables.rows;
    let value = |key: u64| rows.get(&key).and_then(|row| row.value);
    let total: i64 = (0..ACCOUNTS).map(|id| value(account(id)).unwrap_or(OPENING)).sum();
    let who = host.seat.voter;
    if total != OPENING * ACCOUNTS as i64 {
        return Some(format!("node {who} shows a total of {total}"));
    }
    for of in 0..PARENTS {
        if value(parent(of)).is_none()
            && let Some(id) = (0..CHILDREN).find(|id| value(child(of, *id)).is_some())
        {
            return Some(format!("node {who} shows child {id} of parent {of}, which is not there"));
        }
    }
    for (key, row) in rows.range(copied(0, 0)..copied(1 << 20, 0)) {
        let original = written_at_one((key & 0xffff_ffff) / 64);
        if row.value > value(original) {
            return Some(format!(
                "node {who} shows a copy ({:?}) of what it does not show ({:?})",
                row.value,
                value(original)
            ));
        }
    }
    None
}
