//! Statements and transactions that are decided between nodes, with a decider that does as it is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use starling_apply::engine::Planned;
use starling_apply::lane::Try;
use starling_log::{Place, Placed, Stamp};

use super::*;
use crate::txn::decide::{Decided, Decider, Deciding, Proposal, Refused};
use crate::txn::locks::core::Age;
use crate::txn::{Asked, Call, Failed, Level, Options, Transaction};

#[derive(Default)]
struct Told {
    answers: Mutex<VecDeque<Option<Refused>>>,
    proposals: Mutex<Vec<Proposal>>,
}

impl Decider for Told {
    fn is_needed(&self, level: Level) -> bool {
        level != Level::One
    }
    fn decide(&self, proposal: Proposal) -> Deciding<'_> {
        self.proposals.lock().push(proposal);
        let answer = self.answers.lock().pop_front().flatten();
        Box::pin(async move {
            match answer {
                Some(refused) => Err(refused),
                None => Ok(Decided {
                    placed: Placed {
                        place: Place { origin: 2, seq: 1 },
                        stamp: Stamp::default(),
                    },
                }),
            }
        })
    }
    fn alter(&self, _: Planned, _: Age, _: Duration) -> Deciding<'_> {
        Box::pin(async { Err(Refused::Other("not asked for".to_owned())) })
    }
}

async fn world(answers: Vec<Option<Refused>>) -> (World, Arc<Told>, Transaction) {
    let mut w = World::new().await;
    w.run("create table t (id int primary key, v int)").await;
    w.run("insert into t values (1, 10)").await;
    let told = Arc::new(Told::default());
    told.answers.lock().extend(answers);
    assert!(w.server.transactions.decider.set(told.clone()).is_ok());
    let transaction = Transaction::new(w.server.transactions.clone(), 77, Arc::default());
    (w, told, transaction)
}

async fn add(transaction: &mut Transaction) -> std::result::Result<usize, Failed<rusqlite::Error>> {
    let call = Call {
        db: "shop",
        tables: &[],
        wait: Duration::from_secs(5),
        at_once: false,
        level: Level::Quorum,
        size: starling_apply::engine::Size::Any,
    };
    let job = Box::new(|lane: &mut Try<'_>, _: &mut Asked<'_>| lane.connection.execute("update shop.t set v = v + 1", []));
    transaction.run(&call, job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_loses_a_race_is_run_again() {
    let (w, told, mut transaction) = world(vec![Some(Refused::Conflict), Some(Refused::Conflict), None]).await;
    assert_eq!(add(&mut transaction).await.unwrap(), 1);
    let proposals = told.proposals.lock();
    assert_eq!(proposals.len(), 3);
    assert_eq!(proposals[0].age, proposals[2].age, "as old as at first");
    assert_eq!(proposals[2].body.count, 1);
    assert!(proposals[2].claims.iter().any(|c| c.base.place.seq > 0));
    assert!(w.server.transactions.locks.no_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_or_unknown_is_told_and_not_tried_again() {
    let no = Refused::NoQuorum("1 of 3".into());
    let (w, told, mut transaction) = world(vec![Some(no.clone()), Some(Refused::Unknown("?".into()))]).await;
    assert!(matches!(add(&mut transaction).await, Err(Failed::Refused(r)) if r == no));
    assert!(matches!(add(&mut transaction).await, Err(Failed::Refused(Refused::Unknown(_)))));
    assert_eq!(told.proposals.lock().len(), 2);
    assert!(w.server.transactions.locks.no_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_is_proposed_whole_and_keeps_its_age() {
    let (w, told, mut transaction) = world(vec![Some(Refused::Conflict), None]).await;
    for _ in 0..2 {
        transaction.begin(Options::default());
        add(&mut transaction).await.unwrap();
        add(&mut transaction).await.unwrap();
        let outcome = transaction.commit(Level::Quorum).await;
        let first = told.proposals.lock().len() == 1;
        assert_eq!(outcome.is_err_and(|e| e.lost()), first);
        assert!(!transaction.is_open());
    }
    let proposals = told.proposals.lock();
    assert_eq!(proposals[0].body.count, 2, "both statements");
    assert_eq!(proposals[0].age, proposals[1].age);
    let rows = proposals[0]
        .claims
        .iter()
        .filter(|c| c.key.table().is_some() && !c.mode.is_intent())
        .count();
    assert_eq!(rows, 1, "each key once");
    assert!(w.server.transactions.locks.no_data());
}

/// A decider that comes into play later.
#[derive(Default)]
struct Late(std::sync::atomic::AtomicBool);

impl Decider for Late {
    fn is_needed(&self, level: Level) -> bool {
        level != Level::One && self.0.load(std::sync::atomic::Ordering::Acquire)
    }
    fn decide(&self, _: Proposal) -> Deciding<'_> {
        Box::pin(async { Err(Refused::Other("never asked".into())) })
    }
    fn alter(&self, _: Planned, _: Age, _: Duration) -> Deciding<'_> {
        Box::pin(async { Err(Refused::Other("never asked".into())) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_begun_before_others_decided_is_to_be_tried_again() {
    let mut w = World::new().await;
    w.run("create table t (id int primary key, v int)").await;
    w.run("insert into t values (1, 10)").await;
    let late = Arc::new(Late::default());
    assert!(w.server.transactions.decider.set(late.clone()).is_ok());
    let mut transaction = Transaction::new(w.server.transactions.clone(), 77, Arc::default());
    transaction.begin(Options::default());
    add(&mut transaction).await.unwrap();
    late.0.store(true, std::sync::atomic::Ordering::Release);
    let outcome = transaction.commit(Level::Quorum).await;
    assert!(outcome.is_err_and(|e| e.lost()), "nobody knows what it is based on");
    assert_eq!(w.run("select v from t").await, ["10"]);
    assert!(w.server.transactions.locks.no_data());
}
