//! Histories of transactions, and what may not happen in them.
//!
//! A history is what clients saw, whoever recorded it (simulations, or real processes as JSON lines): every write has an id of its
//! own, and a transaction that writes a key has read it first, so that the order of versions follows from the reads alone.
//! Promises: knows nothing of how anything was decided.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    Ok,
    Refused,
    Unknown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Read {
    pub key: u64,
    /// The id of the write that was seen; `None`: never written.
    pub from: Option<u64>,
    pub value: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Write {
    pub key: u64,
    pub id: u64,
    pub value: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Txn {
    pub id: u64,
    /// Transactions of one session see what those before them saw and did.
    pub session: u64,
    pub begin: u64,
    /// Reads of what others wrote, from one snapshot.
    pub reads: Vec<Read>,
    pub writes: Vec<Write>,
    pub ended: Ended,
}

/// What a node shows in the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    pub node: u64,
    /// Key, id of the last write, value.
    pub rows: Vec<(u64, u64, Option<i64>)>,
}

/// Keys whose values always add up, wherever all of them are read together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sum {
    pub keys: Vec<u64>,
    pub initial: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    pub txns: Vec<Txn>,
    pub finals: Vec<Shown>,
    pub sums: Vec<Sum>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Txn(Txn),
    Shown(Shown),
    Sum(Sum),
}

impl History {
    /// One JSON object a line: `{"txn":{…}}`, `{"shown":{…}}`, `{"sum":{…}}`.
    pub fn from_lines(text: &str) -> Result<History, serde_json::Error> {
        let mut history = History::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str(line)? {
                Line::Txn(txn) => history.txns.push(txn),
                Line::Shown(shown) => history.finals.push(shown),
                Line::Sum(sum) => history.sums.push(sum),
            }
        }
        Ok(history)
    }

    pub fn to_lines(&self) -> Result<String, serde_json::Error> {
        let mut out = String::new();
        let txns = self.txns.iter().cloned().map(Line::Txn);
        let finals = self.finals.iter().cloned().map(Line::Shown);
        let sums = self.sums.iter().cloned().map(Line::Sum);
        for line in txns.chain(finals).chain(sums) {
            out.push_str(&serde_json::to_string(&line)?);
            out.push('\n');
        }
        Ok(out)
    }

    /// What is wrong with it; empty: nothing.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        self.check_equal(&mut wrong);
        let index = Index::new(self, &mut wrong);
        index.check_reads(&mut wrong);
        index.check_lost(&mut wrong);
        index.check_present(&mut wrong);
        index.check_snapshots(&mut wrong);
        index.check_causes(&mut wrong);
        self.check_sums(&mut wrong);
        wrong
    }

    fn check_equal(&self, wrong: &mut Vec<String>) {
        for pair in self.finals.windows(2) {
            if pair[0].rows != pair[1].rows {
                let other: BTreeSet<_> = pair[1].rows.iter().collect();
                let only: Vec<_> = pair[0].rows.iter().filter(|row| !other.contains(row)).collect();
                wrong.push(format!("nodes {} and {} differ: {only:?}", pair[0].node, pair[1].node));
            }
        }
    }

    fn check_sums(&self, wrong: &mut Vec<String>) {
        for sum in &self.sums {
            let each = sum.initial;
            let expected = each * sum.keys.len() as i64;
            let check = |what: String, values: &BTreeMap<u64, Option<i64>>, wrong: &mut Vec<String>| {
                let seen = sum.keys.iter().map(|key| values.get(key).copied().flatten().unwrap_or(each));
                let total: i64 = seen.sum();
                if total != expected {
                    wrong.push(format!("{what} sees a total of {total}, not {expected}"));
                }
            };
            for txn in &self.txns {
                let values: BTreeMap<u64, Option<i64>> = txn.reads.iter().map(|r| (r.key, r.value)).collect();
                if sum.keys.iter().all(|key| values.contains_key(key)) {
                    check(format!("transaction {}", txn.id), &values, wrong);
                }
            }
            for shown in &self.finals {
                let values = shown.rows.iter().map(|(key, _, value)| (*key, *value)).collect();
                check(format!("node {} in the end", shown.node), &values, wrong);
            }
        }
    }
}

/// Who wrote what, and in which order.
struct Index<'a> {
    history: &'a History,
    /// Write id → transaction, key, last of the transaction's writes of that key.
    writes: BTreeMap<u64, (usize, u64, bool)>,
    /// Write id → its number in its key's order of versions (1, 2 …); those that never came to be are not in it.
    order: BTreeMap<u64, usize>,
}

impl<'a> Index<'a> {
    fn new(history: &'a History, wrong: &mut Vec<String>) -> Index<'a> {
        let mut writes = BTreeMap::new();
        for (number, txn) in history.txns.iter().enumerate() {
            for (i, write) in txn.writes.iter().enumerate() {
                let last = !txn.writes[i + 1..].iter().any(|w| w.key == write.key);
                writes.insert(write.id, (number, write.key, last));
            }
        }
        let mut index = Index {
            history,
            writes,
            order: BTreeMap::new(),
        };
        if let Some(shown) = history.finals.first() {
            for (key, id, _) in &shown.rows {
                index.walk_back(*key, *id, wrong);
            }
        }
        index
    }

    /// The versions of a key, from the last one back by what each writer had read.
    fn walk_back(&mut self, key: u64, last: u64, wrong: &mut Vec<String>) {
        let mut chain = Vec::new();
        let mut at = Some(last);
        while let Some(id) = at {
            let Some((txn, of, _)) = self.writes.get(&id) else {
                wrong.push(format!("key {key} has a value nobody wrote ({id})"));
                break;
            };
            if *of != key || chain.contains(&id) {
                wrong.push(format!("the versions of key {key} run in a circle at {id}"));
                break;
            }
            chain.push(id);
            at = self.before(*txn, key);
        }
        for (i, id) in chain.iter().rev().enumerate() {
            self.order.insert(*id, i + 1);
        }
    }

    fn before(&self, txn: usize, key: u64) -> Option<u64> {
        self.history.txns[txn].reads.iter().find(|r| r.key == key).and_then(|r| r.from)
    }

    fn number(&self, from: Option<u64>) -> Option<usize> {
        match from {
            None => Some(0),
            Some(id) => self.order.get(&id).copied(),
        }
    }

    /// Dirty, aborted, intermediate reads; reads of what is gone.
    fn check_reads(&self, wrong: &mut Vec<String>) {
        for txn in &self.history.txns {
            for read in &txn.reads {
                let Some(id) = read.from else { continue };
                match self.writes.get(&id) {
                    None => wrong.push(format!("transaction {} read {id}, which nobody wrote", txn.id)),
                    Some((writer, key, last)) => {
                        let writer = &self.history.txns[*writer];
                        if writer.ended == Ended::Refused {
                            wrong.push(format!("transaction {} read key {key} of {}, which was refused", txn.id, writer.id));
                        }
                        if !last {
                            wrong.push(format!("transaction {} read an intermediate value of {}", txn.id, writer.id));
                        }
                        if !self.order.contains_key(&id) && !self.history.finals.is_empty() {
                            wrong.push(format!("transaction {} read key {key} of {}, which is gone", txn.id, writer.id));
                        }
                    }
                }
            }
        }
    }

    /// Two that came to be wrote a key on the same version of it.
    fn check_lost(&self, wrong: &mut Vec<String>) {
        let mut on: BTreeMap<(u64, Option<u64>), u64> = BTreeMap::new();
        for (number, txn) in self.history.txns.iter().enumerate() {
            let present = txn.writes.iter().any(|w| self.order.contains_key(&w.id));
            if txn.ended != Ended::Ok && !present {
                continue;
            }
            let keys: BTreeSet<u64> = txn.writes.iter().map(|w| w.key).collect();
            for key in keys {
                if let Some(other) = on.insert((key, self.before(number, key)), txn.id) {
                    wrong.push(format!(
                        "lost update of key {key}: {other} and {} wrote on the same version",
                        txn.id
                    ));
                }
            }
        }
    }

    /// Acknowledged but absent, refused but present, half present.
    fn check_present(&self, wrong: &mut Vec<String>) {
        if self.history.finals.is_empty() {
            return;
        }
        for txn in &self.history.txns {
            let last = txn
                .writes
                .iter()
                .filter(|w| self.writes.get(&w.id).is_some_and(|(_, _, last)| *last));
            let (present, absent): (Vec<&Write>, Vec<&Write>) = last.partition(|w| self.order.contains_key(&w.id));
            match txn.ended {
                Ended::Ok if !absent.is_empty() => wrong.push(format!(
                    "{} was acknowledged, and its write of key {} is absent",
                    txn.id, absent[0].key
                )),
                Ended::Refused if !present.is_empty() => {
                    wrong.push(format!("{} was refused, and key {} has its write", txn.id, present[0].key))
                }
                Ended::Unknown if !present.is_empty() && !absent.is_empty() => wrong.push(format!("half of {} is there", txn.id)),
                _ => {}
            }
        }
    }

    /// Fractured reads: one key of a transaction seen, another not.
    fn check_snapshots(&self, wrong: &mut Vec<String>) {
        for txn in &self.history.txns {
            for read in &txn.reads {
                let Some((writer, ..)) = read.from.and_then(|id| self.writes.get(&id)) else {
                    continue;
                };
                for write in &self.history.txns[*writer].writes {
                    let seen = txn.reads.iter().find(|r| r.key == write.key).and_then(|r| self.number(r.from));
                    if let (Some(seen), Some(written)) = (seen, self.order.get(&write.id))
                        && seen < *written
                    {
                        let id = self.history.txns[*writer].id;
                        wrong.push(format!("{} saw key {} of {id}, and not its key {}", txn.id, read.key, write.key));
                    }
                }
            }
        }
    }

    /// An effect seen, and then not its cause; a session that goes back.
    fn check_causes(&self, wrong: &mut Vec<String>) {
        let mut order: Vec<usize> = (0..self.history.txns.len()).collect();
        order.sort_by_key(|i| (self.history.txns[*i].begin, self.history.txns[*i].id));
        let mut pasts: BTreeMap<usize, BTreeMap<u64, usize>> = BTreeMap::new();
        let mut sessions: BTreeMap<u64, BTreeMap<u64, usize>> = BTreeMap::new();
        for number in order {
            let txn = &self.history.txns[number];
            let mut past = sessions.get(&txn.session).cloned().unwrap_or_default();
            for read in &txn.reads {
                let writer = read.from.and_then(|id| self.writes.get(&id)).map(|(writer, ..)| *writer);
                if let Some(cause) = writer.and_then(|w| pasts.get(&w)) {
                    raise_all(&mut past, cause);
                }
                if let Some(seen) = self.number(read.from) {
                    raise(&mut past, read.key, seen);
                }
            }
            for read in &txn.reads {
                let (seen, needed) = (self.number(read.from), past.get(&read.key).copied().unwrap_or(0));
                if seen.is_some_and(|seen| seen < needed) {
                    wrong.push(format!(
                        "{} saw an effect without its cause: key {} is older than what it follows",
                        txn.id, read.key
                    ));
                }
            }
            sessions.insert(txn.session, past.clone());
            for write in &txn.writes {
                if let Some(number) = self.order.get(&write.id) {
                    raise(&mut past, write.key, *number);
                }
            }
            pasts.insert(number, past);
        }
    }
}

fn raise(past: &mut BTreeMap<u64, usize>, key: u64, number: usize) {
    let slot = past.entry(key).or_insert(0);
    *slot = (*slot).max(number);
}

fn raise_all(past: &mut BTreeMap<u64, usize>, other: &BTreeMap<u64, usize>) {
    for (key, number) in other {
        raise(past, *key, *number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(id: u64, reads: &[(u64, Option<u64>)], writes: &[(u64, u64)], ended: Ended) -> Txn {
        Txn {
            id,
            session: id,
            begin: id,
            reads: reads
                .iter()
                .map(|(key, from)| Read {
                    key: *key,
                    from: *from,
                    value: None,
                })
                .collect(),
            writes: writes
                .iter()
                .map(|(key, id)| Write {
                    key: *key,
                    id: *id,
                    value: None,
                })
                .collect(),
            ended,
        }
    }

    fn history(txns: Vec<Txn>, rows: &[(u64, u64)]) -> History {
        let rows: Vec<_> = rows.iter().map(|(key, id)| (*key, *id, None)).collect();
        History {
            txns,
            finals: vec![Shown { node: 1, rows }],
            sums: Vec::new(),
        }
    }

    fn says(history: &History, word: &str) {
        let wrong = history.check();
        assert!(wrong.iter().any(|w| w.contains(word)), "{word}: {wrong:?}");
    }

    #[test]
    fn a_sound_history_is_sound_also_as_lines() {
        use Ended::*;
        let txns = vec![
            txn(1, &[(7, None)], &[(7, 10)], Ok),
            txn(2, &[(7, Some(10))], &[(7, 20)], Ok),
            txn(3, &[(7, Some(10))], &[(7, 30)], Refused),
        ];
        let sound = history(txns, &[(7, 20)]);
        assert_eq!(sound.check(), Vec::<String>::new());
        let again = History::from_lines(&sound.to_lines().unwrap()).unwrap();
        assert_eq!(again.check(), Vec::<String>::new());
        assert_eq!(again.txns.len(), 3);
    }

    #[test]
    fn each_wrong_is_named() {
        use Ended::*;
        let first = || txn(1, &[(7, None), (8, None)], &[(7, 10), (8, 11)], Ok);
        says(
            &history(vec![first(), txn(2, &[(7, None)], &[(7, 20)], Ok)], &[(7, 20), (8, 11)]),
            "lost update",
        );
        says(&history(vec![first()], &[(7, 10)]), "absent");
        says(
            &history(vec![txn(1, &[(7, None)], &[(7, 10)], Refused)], &[(7, 10)]),
            "refused, and key",
        );
        says(
            &history(vec![txn(1, &[], &[(7, 10)], Refused), txn(2, &[(7, Some(10))], &[], Ok)], &[]),
            "which was refused",
        );
        says(
            &history(vec![first(), txn(2, &[(7, Some(10)), (8, None)], &[], Ok)], &[(7, 10), (8, 11)]),
            "and not its key",
        );
        let twice = txn(1, &[(7, None)], &[(7, 10), (7, 12)], Ok);
        says(&history(vec![twice, txn(2, &[(7, Some(10))], &[], Ok)], &[(7, 12)]), "intermediate");
        let effect = txn(2, &[(7, Some(10)), (9, None)], &[(9, 20)], Ok);
        let blind = txn(3, &[(9, Some(20)), (8, None)], &[], Ok);
        says(
            &history(vec![first(), effect, blind], &[(7, 10), (8, 11), (9, 20)]),
            "without its cause",
        );
        let mut two = history(vec![first()], &[(7, 10), (8, 11)]);
        two.finals.push(Shown { node: 2, rows: vec![] });
        says(&two, "differ");
    }
}
