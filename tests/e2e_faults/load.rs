//! Clients that move money between accounts in two databases at once, count, and collect; and write down what they saw.
//!
//! Promises: every write has an id of its own, which stands in the row; what is recorded is what the driver said, no more: an error
//! of the server before or at COMMIT is a refusal, a lost connection at COMMIT is nobody's knowledge. Must not know: faults.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts};
use rand::RngExt;

use crate::check::{Ended, History, Read, Shown, Sum, Txn, Write};

pub const ACCOUNTS: u64 = 8;
pub const COUNTERS: u64 = 4;
const MONEY: i64 = 1_000;
/// Keys of a history: accounts of the bank, the same in the ledger, counters, items.
const LEDGER: u64 = 100;
const COUNTER: u64 = 200;
const ITEM: u64 = 1_000;
/// No answer for this long: nobody knows.
const ANSWER: Duration = Duration::from_secs(20);
/// The server's farewells: the connection ends, and what was under way may or may not be.
const FAREWELLS: [u16; 2] = [1053, 1927];

pub const TABLES: &str = "CREATE DATABASE bank; CREATE DATABASE ledger;
    CREATE TABLE bank.accounts (id BIGINT PRIMARY KEY, w BIGINT NOT NULL, v BIGINT NOT NULL);
    CREATE TABLE ledger.accounts (id BIGINT PRIMARY KEY, w BIGINT NOT NULL, v BIGINT NOT NULL);
    CREATE TABLE bank.counters (id BIGINT PRIMARY KEY, w BIGINT NOT NULL, v BIGINT NOT NULL);
    CREATE TABLE bank.plain (id BIGINT PRIMARY KEY, n BIGINT NOT NULL);
    CREATE TABLE ledger.items (id BIGINT PRIMARY KEY, w BIGINT NOT NULL)";

/// Tables whose rows are keys of the history: where they begin, and what shows id, write and value.
const SHOWN: [(u64, &str); 4] = [
    (0, "SELECT id, w, v FROM bank.accounts ORDER BY id"),
    (LEDGER, "SELECT id, w, v FROM ledger.accounts ORDER BY id"),
    (COUNTER, "SELECT id, w, v FROM bank.counters ORDER BY id"),
    (ITEM, "SELECT id, w, NULL FROM ledger.items ORDER BY id"),
];

#[derive(Default)]
pub struct Load {
    txns: Mutex<Vec<Txn>>,
    next: AtomicU64,
    pub stop: AtomicBool,
    /// When which node acknowledged.
    acks: Mutex<Vec<(Instant, usize)>>,
    plain_acked: AtomicI64,
    plain_unknown: AtomicI64,
    /// Errors, by code and text.
    pub errors: Mutex<BTreeMap<String, u64>>,
}

/// What one transaction did so far.
#[derive(Default)]
struct Doing {
    begin: u64,
    reads: Vec<Read>,
    writes: Vec<Write>,
    /// COMMIT (or the statement that commits by itself) is on its way.
    committing: bool,
}

type Row = (u64, u64, Option<i64>);

impl Load {
    fn id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Money for everybody: the first transactions of the history.
    pub fn begin(&self) -> String {
        let mut text = String::new();
        for (first, table, count, value) in [
            (0, "bank.accounts", ACCOUNTS, MONEY),
            (LEDGER, "ledger.accounts", ACCOUNTS, MONEY),
            (COUNTER, "bank.counters", COUNTERS, 0),
        ] {
            let mut doing = Doing {
                begin: self.id(),
                ..Doing::default()
            };
            let mut rows = Vec::new();
            for id in 0..count {
                let write = self.id();
                doing.change(first + id, write, Some(value), None);
                rows.push(format!("({id}, {write}, {value})"));
            }
            self.record(0, doing, Ended::Ok);
            text += &format!("INSERT INTO {table} VALUES {};", rows.join(","));
        }
        text + "INSERT INTO bank.plain VALUES (1, 0)"
    }

    fn record(&self, session: u64, doing: Doing, ended: Ended) {
        let id = self.id();
        self.txns.lock().expect("no panic").push(Txn {
            id,
            session,
            begin: doing.begin,
            reads: doing.reads,
            writes: doing.writes,
            ended,
        });
    }

    pub fn acked(&self) -> usize {
        self.acks.lock().expect("no panic").len()
    }

    /// The longest time without an acknowledgement of other nodes than `but` in this span.
    pub fn longest_gap(&self, but: &[usize], since: Instant, until: Instant) -> Duration {
        let acks = self.acks.lock().expect("no panic");
        let mut times: Vec<Instant> = acks.iter().filter(|(_, n)| !but.contains(n)).map(|(at, _)| *at).collect();
        times.retain(|at| *at > since && *at < until);
        times.push(until);
        times.sort();
        let mut last = since;
        let mut longest = Duration::ZERO;
        for at in times {
            longest = longest.max(at - last);
            last = at;
        }
        longest
    }

    /// A client that stays with its node.
    pub async fn client(&self, node: usize, port: u16) {
        let mut session = self.id();
        let mut conn: Option<Conn> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(mut open) = conn.take() else {
                conn = connect(port).await;
                session = self.id();
                if conn.is_none() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                continue;
            };
            let mut doing = Doing::default();
            let kind = rand::rng().random_range(0..10);
            let work = async {
                match kind {
                    0..4 => self.transfer(&mut open, &mut doing).await,
                    4..6 => self.look(&mut open, &mut doing).await,
                    6 => self.count(&mut open, &mut doing).await,
                    7..9 => self.collect(&mut open, &mut doing).await,
                    _ => self.plain(&mut open, &mut doing).await,
                }
            };
            let outcome = tokio::time::timeout(ANSWER, work).await;
            let plain = kind == 9;
            let (ended, goes_on) = match outcome {
                Ok(Ok(())) => (Ended::Ok, true),
                Ok(Err(Error::Server(e))) if !FAREWELLS.contains(&e.code) => {
                    self.note(format!("{}: {}", e.code, e.message));
                    (Ended::Refused, true)
                }
                // Before COMMIT was sent nothing can have come of it.
                Ok(Err(_)) | Err(_) if !doing.committing => (Ended::Refused, false),
                Ok(Err(_)) => (Ended::Unknown, false),
                Err(_) => {
                    self.note("no answer".to_owned());
                    (Ended::Unknown, false)
                }
            };
            match ended {
                Ended::Ok => {
                    self.acks.lock().expect("no panic").push((Instant::now(), node));
                    self.plain_acked.fetch_add(i64::from(plain), Ordering::SeqCst);
                }
                Ended::Unknown => drop(self.plain_unknown.fetch_add(i64::from(plain), Ordering::SeqCst)),
                Ended::Refused => {}
            }
            if !plain {
                self.record(session, doing, ended);
            }
            if goes_on && (ended == Ended::Ok || rollback(&mut open).await) {
                conn = Some(open);
            }
        }
    }

    fn note(&self, what: String) {
        *self.errors.lock().expect("no panic").entry(what).or_default() += 1;
    }

    async fn snapshot(&self, conn: &mut Conn, doing: &mut Doing) -> Result<(), Error> {
        conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        doing.begin = self.id();
        Ok(())
    }

    async fn commit(&self, conn: &mut Conn, doing: &mut Doing) -> Result<(), Error> {
        doing.committing = true;
        conn.query_drop("COMMIT").await
    }

    /// From one account to another, in both databases or in none.
    async fn transfer(&self, conn: &mut Conn, doing: &mut Doing) -> Result<(), Error> {
        let (from, to) = two();
        let amount = rand::rng().random_range(1..20);
        self.snapshot(conn, doing).await?;
        for (first, db) in [(0, "bank"), (LEDGER, "ledger")] {
            let sql = format!("SELECT id, w, v FROM {db}.accounts WHERE id IN ({from}, {to}) ORDER BY id");
            let rows: Vec<Row> = conn.query(sql).await?;
            for (id, w, v) in rows {
                let change = if id == from { -amount } else { amount };
                let write = self.id();
                doing.change(first + id, write, v.map(|v| v + change), Some((w, v)));
                conn.query_drop(format!("UPDATE {db}.accounts SET w = {write}, v = v + {change} WHERE id = {id}"))
                    .await?;
            }
        }
        self.commit(conn, doing).await
    }

    /// Everything in both databases, from one snapshot.
    async fn look(&self, conn: &mut Conn, doing: &mut Doing) -> Result<(), Error> {
        self.snapshot(conn, doing).await?;
        for (first, sql) in SHOWN.into_iter().take(3) {
            let rows: Vec<Row> = conn.query(sql).await?;
            doing.reads.extend(rows.into_iter().map(|(id, w, v)| Read {
                key: first + id,
                from: Some(w),
                value: v,
            }));
        }
        self.commit(conn, doing).await
    }

    async fn count(&self, conn: &mut Conn, doing: &mut Doing) -> Result<(), Error> {
        let id = rand::rng().random_range(0..COUNTERS);
        self.snapshot(conn, doing).await?;
        let row: Option<(u64, i64)> = conn.query_first(format!("SELECT w, v FROM bank.counters WHERE id = {id}")).await?;
        let Some((w, v)) = row else { return Ok(()) };
        let write = self.id();
        doing.change(COUNTER + id, write, Some(v + 1), Some((w, Some(v))));
        conn.query_drop(format!("UPDATE bank.counters SET w = {write}, v = v + 1 WHERE id = {id}"))
            .await?;
        self.commit(conn, doing).await
    }

    /// A statement that commits by itself.
    async fn collect(&self, conn: &mut Conn, doing: &mut Doing) -> Result<(), Error> {
        let (item, write) = (self.id(), self.id());
        doing.begin = self.id();
        doing.change(ITEM + item, write, None, None);
        doing.committing = true;
        conn.query_drop(format!("INSERT INTO ledger.items VALUES ({item}, {write})")).await
    }

    async fn plain(&self, conn: &mut Conn, doing: &mut Doing) -> Result<(), Error> {
        doing.committing = true;
        conn.query_drop("UPDATE bank.plain SET n = n + 1 WHERE id = 1").await
    }

    /// What every node shows in the end, and whether all that was seen fits together.
    pub async fn check(&self, ports: &[u16]) -> Vec<String> {
        let mut history = History {
            txns: self.txns.lock().expect("no panic").clone(),
            finals: Vec::new(),
            sums: [0, LEDGER]
                .map(|first| Sum {
                    keys: (first..first + ACCOUNTS).collect(),
                    initial: MONEY,
                })
                .to_vec(),
        };
        let mut wrong = Vec::new();
        for (node, port) in ports.iter().enumerate() {
            let (rows, n) = shown(*port).await;
            history.finals.push(Shown { node: node as u64, rows });
            let (acked, unknown) = (self.plain_acked.load(Ordering::SeqCst), self.plain_unknown.load(Ordering::SeqCst));
            if n < acked || n > acked + unknown {
                wrong.push(format!(
                    "node {node} counts {n}, acknowledged are {acked}, and of {unknown} nobody knows"
                ));
            }
        }
        wrong.extend(history.check());
        wrong
    }
}

impl Doing {
    fn change(&mut self, key: u64, id: u64, value: Option<i64>, seen: Option<(u64, Option<i64>)>) {
        self.reads.push(Read {
            key,
            from: seen.map(|(w, _)| w),
            value: seen.and_then(|(_, v)| v),
        });
        self.writes.push(Write { key, id, value });
    }
}

fn two() -> (u64, u64) {
    let mut rng = rand::rng();
    let from = rng.random_range(0..ACCOUNTS);
    (from, (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS)
}

pub async fn connect(port: u16) -> Option<Conn> {
    let opts = Opts::from_url(&format!("mysql://root@127.0.0.1:{port}/")).expect("an address");
    let open = tokio::time::timeout(Duration::from_secs(5), Conn::new(opts)).await;
    open.ok()?.ok()
}

async fn rollback(conn: &mut Conn) -> bool {
    let done = tokio::time::timeout(ANSWER, conn.query_drop("ROLLBACK")).await;
    matches!(done, Ok(Ok(())))
}

/// Keys, writes and values of a node, and what it counts without ids.
pub async fn shown(port: u16) -> (Vec<Row>, i64) {
    let mut conn = connect(port).await.expect("the node answers");
    let mut all = Vec::new();
    for (first, sql) in SHOWN {
        let rows: Vec<Row> = conn.query(sql).await.expect("reads");
        all.extend(rows.into_iter().map(|(id, w, v)| (first + id, w, v)));
    }
    let n = conn.query_first("SELECT n FROM bank.plain").await.expect("reads");
    (all, n.unwrap_or_default())
}
