//! What nodes ask each other beside decisions: how far a quorum is (reads that wait), and messages of named locks.
//!
//! ```text
//! message = mark u8 (0xa7) │ kind u8 │ …       1: how far are you? number u64      2: this far: number u64, count × (origin u16, seq u64)
//!                                              3: for whoever registered (named locks)
//! ```
//!
//! Promises: what [`Cluster::seen_by_quorum`] gives covers everything that was acknowledged at `QUORUM` before it was called; callers
//! that come while a question is on its way share the next one. Must not know: SQL, what locks are.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use starling_log::VersionVector;
use tokio::sync::oneshot;

use super::Cluster;
use super::links::Handler;
use super::members::Id;

/// First byte of all these messages; those of decisions begin with their version.
const MARK: u8 = 0xa7;
const ASK: u8 = 1;
const ANSWER: u8 = 2;
const OTHER: u8 = 3;
/// A question is said again after this: its stream may have ended.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Default)]
pub struct Asks {
    number: AtomicU64,
    /// Counts callers and questions, in the order in which they began.
    began: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
    /// The last question that was answered, and when it began. Held while one is on its way.
    last: tokio::sync::Mutex<Option<(u64, Arc<VersionVector>)>>,
    other: OnceLock<Handler>,
}

/// A question on its way.
struct Open {
    missing: BTreeSet<Id>,
    answers: usize,
    needed: usize,
    seen: VersionVector,
    told: Option<oneshot::Sender<VersionVector>>,
}

/// Forgets the question.
struct Asked<'a>(&'a Asks, u64);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.open.lock().remove(&self.1);
    }
}

impl Asks {
    fn answer(&self, number: u64, from: Id, seen: &VersionVector) {
        let mut open = self.open.lock();
        let Some(asked) = open.get_mut(&number) else { return };
        if !asked.missing.remove(&from) {
            return;
        }
        asked.answers += 1;
        asked.seen.merge(seen);
        if asked.answers >= asked.needed
            && let Some(told) = asked.told.take()
        {
            // Who asked may have given up.
            let _ = told.send(std::mem::take(&mut asked.seen));
        }
    }
    fn missing(&self, number: u64) -> Vec<Id> {
        let open = self.open.lock();
        open.get(&number).map(|o| o.missing.iter().copied().collect()).unwrap_or_default()
    }
}

/// Is it for this module?
pub fn is_ask(message: &Bytes) -> bool {
    message.first() == Some(&MARK)
}

fn ask(number: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(10);
    out.put_u8(MARK);
    out.put_u8(ASK);
    out.put_u64_le(number);
    out.freeze()
}

fn answer(number: u64, seen: &VersionVector) -> Bytes {
    let mut out = BytesMut::with_capacity(12 + 10 * seen.0.len());
    out.put_u8(MARK);
    out.put_u8(ANSWER);
    out.put_u64_le(number);
    for (origin, seq) in seen.iter() {
        out.put_u16_le(origin);
        out.put_u64_le(seq);
    }
    out.freeze()
}

/// Number and vector of an answer, mark and kind taken off.
fn read_answer(mut rest: Bytes) -> Option<(u64, VersionVector)> {
    if rest.len() < 8 || !(rest.len() - 8).is_multiple_of(10) {
        return None;
    }
    let number = rest.get_u64_le();
    let mut seen = VersionVector::new();
    while rest.has_remaining() {
        let origin = rest.get_u16_le();
        seen.advance(origin, rest.get_u64_le());
    }
    Some((number, seen))
}

impl Cluster {
    /// What a quorum of members holds or has voted for, together. Once all of it is applied here, a read sees everything that was
    /// acknowledged at `QUORUM` before. `Err(why)`: no quorum. Callers bound it in time.
    pub async fn seen_by_quorum(self: &Arc<Self>) -> Result<Arc<VersionVector>, String> {
        let me = self.asks.began.fetch_add(1, Ordering::SeqCst);
        let mut last = self.asks.last.lock().await;
        if let Some((began, seen)) = &*last
            && *began > me
        {
            return Ok(Arc::clone(seen));
        }
        let began = self.asks.began.fetch_add(1, Ordering::SeqCst);
        let seen = Arc::new(self.ask_quorum().await?);
        *last = Some((began, Arc::clone(&seen)));
        Ok(seen)
    }

    async fn ask_quorum(self: &Arc<Self>) -> Result<VersionVector, String> {
        self.commit.begun().await?;
        self.commit.may_propose()?;
        let number = self.asks.number.fetch_add(1, Ordering::Relaxed);
        let (told, mut answered) = oneshot::channel();
        let open = Open {
            missing: self.voters(),
            answers: 0,
            needed: self.commit.epoch().quorum(),
            seen: VersionVector::new(),
            told: Some(told),
        };
        self.asks.open.lock().insert(number, open);
        let _asked = Asked(&self.asks, number);
        let me = self.node_id();
        loop {
            for voter in self.asks.missing(number) {
                if voter == me {
                    let asks = Arc::clone(&self.asks);
                    self.commit.seen(Box::new(move |seen| asks.answer(number, me, &seen)));
                } else {
                    // Not taken means lost: it is said again.
                    self.send(voter, ask(number));
                }
            }
            match tokio::time::timeout(AGAIN, &mut answered).await {
                Ok(Ok(seen)) => return Ok(seen),
                Ok(Err(_)) => return Err("this node is stopping".to_owned()),
                Err(_) => self.commit.may_propose()?,
            }
        }
    }

    /// Who votes now, this node included if it does.
    pub fn voters(&self) -> BTreeSet<Id> {
        let view = self.view();
        let epoch = self.commit.epoch();
        let known = epoch.voters().filter_map(|v| view.members.by_origin(v));
        known.map(|m| m.identity).collect()
    }

    /// A message that begins with this module's mark. Does not block.
    pub(super) fn asked(self: &Arc<Self>, from: Id, mut message: Bytes) {
        if message.len() < 2 {
            return;
        }
        message.advance(1);
        match message.get_u8() {
            ASK if message.len() == 8 => {
                let number = message.get_u64_le();
                let cluster = Arc::clone(self);
                self.commit.seen(Box::new(move |seen| {
                    cluster.send(from, answer(number, &seen));
                }));
            }
            ANSWER => {
                if let Some((number, seen)) = read_answer(message) {
                    self.asks.answer(number, from, &seen);
                }
            }
            OTHER => {
                if let Some(handler) = self.asks.other.get() {
                    handler(from, message);
                }
            }
            kind => tracing::debug!(kind, "a message of a kind that this version does not know"),
        }
    }

    /// Who takes messages sent by [`Cluster::tell`]; it must not block. Set once.
    pub fn on_told(&self, handler: Handler) -> bool {
        self.asks.other.set(handler).is_ok()
    }

    /// Sends to whoever registered there; `false`: it is lost.
    pub fn tell(&self, to: Id, payload: &[u8]) -> bool {
        let mut out = BytesMut::with_capacity(2 + payload.len());
        out.put_u8(MARK);
        out.put_u8(OTHER);
        out.put_slice(payload);
        self.send(to, out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(list: &[(u16, u64)]) -> VersionVector {
        VersionVector(list.iter().copied().collect())
    }

    #[test]
    fn a_quorum_of_different_members_answers_with_the_union() {
        let asks = Asks::default();
        let (told, mut answered) = oneshot::channel();
        let open = Open {
            missing: [Id(1), Id(2), Id(3)].into(),
            answers: 0,
            needed: 2,
            seen: VersionVector::new(),
            told: Some(told),
        };
        asks.open.lock().insert(7, open);
        asks.answer(7, Id(1), &vector(&[(1, 5), (2, 1)]));
        asks.answer(7, Id(1), &vector(&[(1, 6)]));
        asks.answer(7, Id(9), &vector(&[(1, 6)]));
        asks.answer(8, Id(2), &vector(&[(1, 6)]));
        assert!(answered.try_recv().is_err());
        assert_eq!(asks.missing(7), [Id(2), Id(3)]);
        asks.answer(7, Id(3), &vector(&[(2, 4)]));
        assert_eq!(answered.try_recv(), Ok(vector(&[(1, 5), (2, 4)])));
        drop(Asked(&asks, 7));
        assert!(asks.open.lock().is_empty());
    }

    #[test]
    fn answers_come_back_as_sent_and_garbage_is_dropped() {
        let seen = vector(&[(1, 5), (300, u64::MAX)]);
        let message = answer(9, &seen);
        assert!(is_ask(&message) && is_ask(&ask(1)));
        assert_eq!(read_answer(message.slice(2..)), Some((9, seen)));
        for cut in 0..28 {
            if cut != 8 && cut != 18 {
                assert_eq!(read_answer(message.slice(2..2 + cut)), None);
            }
        }
    }
}
