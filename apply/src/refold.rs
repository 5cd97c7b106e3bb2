//! The slow way: the rows an entry is connected with, by key or unique value, are folded anew in memory from the first moment
//! that matters, and only what comes out different is written.
//!
//! Promises: the outcome is that of folding everything in stamp order. The set of rows taken in grows until it is closed: no
//! entry folded here touches a row outside of it, no row outside ever held a unique value of a row inside, or lost one to it. Must not
//! know: how the log is stored, lanes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::Connection;
use starling_log::{Body, Entry, Op, Place, Row, Stamp, Value};

use crate::history::{Conflict, Displaced, Kind, Lost, Record, Store};
use crate::inorder::{delete_row, evaluate, insert_row, read_row};
use crate::layout::{Key, Layout};
use crate::mapping::{Mapping, Touch};
use crate::materialize::{EntrySource, FoldError};
use crate::sim::{Change, Rows, SimRow};
use crate::versions::{Versions, seen};

/// What is known of one row that is folded anew.
struct Line {
    raw: Row,
    records: Vec<Record>,
    displaced: Vec<Stamp>,
}

pub struct Refold<'a> {
    pub conn: &'a Connection,
    pub store: &'a Store,
    pub layout: &'a Layout,
    pub versions: &'a Versions,
    pub log: &'a dyn EntrySource,
    /// The entry that came.
    pub entry: &'a Entry,
    lines: BTreeMap<Key, Line>,
    fetched: HashMap<Place, Arc<Entry>>,
}

/// Either the states all rows had just before `from`, or an earlier moment at which more is known.
enum Base {
    Known(HashMap<Key, Option<SimRow>>),
    Earlier(Stamp),
    /// Beyond a change of what is unique: the table must be rebuilt.
    Rebuild,
}

/// What folding found out.
struct Folded {
    rows: HashMap<Key, Option<SimRow>>,
    displaced: Vec<Displaced>,
    conflicts: Vec<Conflict>,
    /// Unique values that came about, and the rows that held them.
    held: BTreeSet<(u32, Vec<u8>, Key)>,
    /// Entries later than the one that came took part.
    late: bool,
    last: Stamp,
}

impl<'a> Refold<'a> {
    pub fn new(
        conn: &'a Connection,
        store: &'a Store,
        layout: &'a Layout,
        versions: &'a Versions,
        log: &'a dyn EntrySource,
        entry: &'a Entry,
    ) -> Refold<'a> {
        Refold {
            conn,
            store,
            layout,
            versions,
            log,
            entry,
            lines: BTreeMap::new(),
            fetched: HashMap::new(),
        }
    }

    /// Folds the entry's changes of this table in. `false`: the table must be rebuilt from the log.
    pub fn run(mut self) -> Result<bool, FoldError> {
        let own = self.touched_by_entry()?;
        for (key, raw) in own {
            self.take_in(key, Some(raw))?;
        }
        let mut from = self.entry.stamp;
        loop {
            let base = match self.base(from)? {
                Base::Earlier(stamp) => {
                    from = stamp;
                    continue;
                }
                Base::Rebuild => return Ok(false),
                Base::Known(base) => base,
            };
            let before = self.lines.len();
            let folded = self.fold(from, base)?;
            if self.lines.len() == before {
                self.write(from, folded)?;
                return Ok(true);
            }
        }
    }

    fn take_in(&mut self, key: Key, raw: Option<Row>) -> Result<(), FoldError> {
        if self.lines.contains_key(&key) {
            return Ok(());
        }
        let table = self.layout.table.id;
        let (records, known) = self.store.records(self.conn, table, &key)?;
        let displaced = self.store.displacements(self.conn, table, &key)?;
        let raw = match (&key, raw.or(known)) {
            (Key::Int(i), _) => Row::from_values([starling_log::ValueRef::Int(*i)]),
            (_, Some(raw)) => raw,
            (_, None) => return Err(FoldError::Broken(format!("a row of {} has no history", self.layout.table.name))),
        };
        self.lines.insert(key, Line { raw, records, displaced });
        Ok(())
    }

    fn fetch(&mut self, place: Place) -> Result<Arc<Entry>, FoldError> {
        if let Some(entry) = self.fetched.get(&place) {
            return Ok(entry.clone());
        }
        let entry = if place == self.entry.place {
            Arc::new(self.entry.clone())
        } else {
            self.log.entry(place)?
        };
        self.fetched.insert(place, entry.clone());
        Ok(entry)
    }

    fn touched_by_entry(&mut self) -> Result<Vec<(Key, Row)>, FoldError> {
        let entry = self.fetch(self.entry.place)?;
        let mut all = Vec::new();
        self.touches(&entry, &mut |_, touch| {
            all.extend(touch.old.into_iter().chain(touch.new));
            Ok(())
        })?;
        Ok(all)
    }

    /// The entry's changes of this table, read by the present definition.
    fn touches(&self, entry: &Entry, each: &mut dyn FnMut(&Mapping, Touch<'_>) -> Result<(), FoldError>) -> Result<(), FoldError> {
        let Body::Rows(changes) = &entry.body else { return Ok(()) };
        let mappings: Vec<Option<Mapping>> = changes
            .tables
            .iter()
            .map(|h| (h.table == self.layout.table.id).then(|| Mapping::new(self.layout, self.versions, entry, h)))
            .collect();
        for (index, change) in changes.iter().enumerate() {
            if let Some(Some(mapping)) = mappings.get(change.table) {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                each(mapping, mapping.touch(self.layout, index, &change))?;
            }
        }
        Ok(())
    }

    fn base(&mut self, from: Stamp) -> Result<Base, FoldError> {
        if self.versions.barrier.is_some_and(|b| from <= b) {
            return Ok(Base::Rebuild);
        }
        let mut known = HashMap::new();
        let mut wanted = Vec::new();
        for (key, line) in &self.lines {
            let later = line.records.iter().any(|r| r.stamp >= from) || line.displaced.iter().any(|d| *d >= from);
            if !later {
                let last = line.records.last().map(|r| (r.place, r.index));
                let row = read_row(self.conn, self.layout, line.raw.as_ref())?;
                known.insert(key.clone(), row.map(|values| SimRow::base(values, last)));
                continue;
            }
            let prior: Vec<Record> = line.records.iter().take_while(|r| r.stamp < from).copied().collect();
            let displaced = line.displaced.iter().rfind(|d| **d < from);
            let Some(last) = prior.last().copied() else {
                known.insert(key.clone(), None);
                continue;
            };
            if displaced.is_some_and(|d| *d >= last.stamp) || matches!(last.kind, Kind::Delete | Kind::Left) {
                known.insert(key.clone(), None);
                continue;
            }
            wanted.push((key.clone(), last, prior));
        }
        for (key, last, prior) in wanted {
            if last.kind == Kind::Rekeyed {
                return Ok(Base::Rebuild);
            }
            let entry = self.fetch(last.place)?;
            // An insert is whole. An update's image is, if its author knew all that came before.
            let complete = match last.kind {
                Kind::Insert => true,
                Kind::Update => prior.iter().all(|r| r.place == last.place || seen(&entry, r.place)),
                _ => false,
            };
            if !complete {
                return Ok(Base::Earlier(last.stamp));
            }
            known.insert(key.clone(), self.image(&entry, &key, (last.place, last.index))?);
        }
        Ok(Base::Known(known))
    }

    /// The row an entry left at `key`.
    fn image(&self, entry: &Entry, key: &Key, last: (Place, u32)) -> Result<Option<SimRow>, FoldError> {
        let mut found = None;
        self.touches(entry, &mut |mapping, touch| {
            if let (Some((new, _)), Some(image)) = (&touch.new, &touch.after)
                && new == key
            {
                found = Some(mapping.row(image));
            }
            Ok(())
        })?;
        let Some(mut values) = found else { return Ok(None) };
        evaluate(self.conn, self.layout, &mut values)?;
        Ok(Some(SimRow::base(values, Some(last))))
    }

    /// Folds all entries from `from` on that touched a row taken in. Takes in more rows where it meets them; then its outcome
    /// does not count.
    fn fold(&mut self, from: Stamp, base: HashMap<Key, Option<SimRow>>) -> Result<Folded, FoldError> {
        let mut entries: BTreeSet<(Stamp, Place)> = BTreeSet::from([(self.entry.stamp, self.entry.place)]);
        for line in self.lines.values() {
            entries.extend(line.records.iter().filter(|r| r.stamp >= from).map(|r| (r.stamp, r.place)));
        }
        let mut more: BTreeMap<Key, Option<Row>> = BTreeMap::new();
        let mut rows = Rows::new(base, &self.layout.uniques);
        let mut held: BTreeSet<(u32, Vec<u8>, Key)> = BTreeSet::new();
        for (index, value) in rows.held() {
            // A later entry outside might have displaced it, had it been there.
            for key in self.store.holders(self.conn, self.layout.table.id, index, &value)? {
                if !self.lines.contains_key(&key) && self.store.touched_since(self.conn, self.layout.table.id, &key, from)? {
                    more.insert(key, None);
                }
            }
        }
        for winner in self.lines.keys() {
            for key in self.store.victims(self.conn, self.layout.table.id, winner)? {
                if !self.lines.contains_key(&key) {
                    more.insert(key, None);
                }
            }
        }
        let mut last = self.entry.stamp;
        for (stamp, place) in &entries {
            let entry = self.fetch(*place)?;
            let lines = &self.lines;
            let mut changes = Vec::new();
            self.touches(&entry, &mut |mapping, touch| {
                let inside = |side: &Option<(Key, Row)>| side.as_ref().is_some_and(|(k, _)| lines.contains_key(k));
                if !inside(&touch.old) && !inside(&touch.new) {
                    return Ok(());
                }
                for (key, raw) in touch.old.iter().chain(&touch.new) {
                    if !lines.contains_key(key) {
                        more.insert(key.clone(), Some(raw.clone()));
                    }
                }
                changes.push(Change::new(self.layout, mapping, &touch));
                Ok(())
            })?;
            rows.apply(&entry, &changes, |row| evaluate(self.conn, self.layout, row))?;
            for written in rows.take_written() {
                let (index, value, _) = &written;
                for key in self.store.holders(self.conn, self.layout.table.id, *index, value)? {
                    if !self.lines.contains_key(&key) {
                        more.insert(key, None);
                    }
                }
                held.insert(written);
            }
            last = last.max(*stamp);
        }
        for (key, raw) in more {
            self.take_in(key, raw)?;
        }
        let (rows, displaced, conflicts) = rows.finish();
        Ok(Folded {
            rows,
            displaced,
            conflicts,
            held,
            late: last > self.entry.stamp,
            last,
        })
    }

    fn write(&mut self, from: Stamp, folded: Folded) -> Result<(), FoldError> {
        let width = self.layout.columns.len();
        let mut fresh: Vec<&SimRow> = Vec::new();
        for (key, line) in &self.lines {
            let now = read_row(self.conn, self.layout, line.raw.as_ref())?;
            let then = folded.rows.get(key).and_then(Option::as_ref);
            let same = match (&now, then) {
                (None, None) => true,
                (Some(now), Some(then)) => same_row(&now[..width], &then.values[..width]),
                _ => false,
            };
            if same {
                continue;
            }
            if now.is_some() {
                delete_row(self.conn, self.layout, line.raw.as_ref())?;
            }
            fresh.extend(then);
        }
        for row in fresh {
            insert_row(self.conn, self.layout, &row.values)?;
        }
        self.record(&folded)?;
        let table = self.layout.table.id;
        let keys: Vec<&Key> = self.lines.keys().collect();
        self.store.put_displaced(self.conn, table, &keys, from, &folded.displaced)?;
        for (key, row) in &folded.rows {
            for place in row.iter().flat_map(SimRow::writers) {
                self.store.stands_again(self.conn, table, key, place)?;
            }
        }
        let mut conflicts = folded.conflicts.clone();
        if folded.late {
            conflicts.extend(self.lost(&folded)?);
        }
        self.store.put_conflicts(self.conn, table, &conflicts)
    }

    /// The records of the entry that came, and all unique values that came about.
    fn record(&mut self, folded: &Folded) -> Result<(), FoldError> {
        let table = self.layout.table.id;
        let mut recorder = self.store.recorder(self.conn, self.entry.stamp, self.entry.place)?;
        let entry = self.fetch(self.entry.place)?;
        self.touches(&entry, &mut |_, t| {
            let moved = matches!((&t.old, &t.new), (Some((a, _)), Some((b, _))) if a != b);
            let raw = |key: &Key, raw: &Row| matches!(key, Key::Bytes(_)).then(|| raw.0.clone());
            let (old, new) = match t.op {
                Op::Insert => (None, Some(Kind::Insert)),
                Op::Delete => (Some(Kind::Delete), None),
                Op::Update if moved => (Some(Kind::Left), Some(Kind::Came)),
                Op::Update => (None, Some(Kind::Update)),
            };
            for (side, kind) in [(&t.old, old), (&t.new, new)] {
                if let (Some((key, packed)), Some(kind)) = (side, kind) {
                    recorder.record(table, key, t.index, kind, raw(key, packed).as_deref())?;
                }
            }
            Ok(())
        })?;
        for (index, value, key) in &folded.held {
            recorder.unique(table, *index, value, key)?;
        }
        Ok(())
    }

    /// Changes of the entry that came of which nothing is left.
    fn lost(&mut self, folded: &Folded) -> Result<Vec<Conflict>, FoldError> {
        let entry = self.fetch(self.entry.place)?;
        let own = self.entry.place;
        let mut lost = Vec::new();
        self.touches(&entry, &mut |_, t| {
            let at = |side: &Option<(Key, Row)>| {
                let (key, _) = side.as_ref()?;
                folded.rows.get(key).and_then(Option::as_ref)
            };
            let (gone, side) = match t.op {
                Op::Delete => (at(&t.old).is_some(), &t.old),
                _ => (at(&t.new).is_none_or(|r| !r.has_writer(own)), &t.new),
            };
            if let Some((key, _)) = side.as_ref().filter(|_| gone) {
                lost.push(Conflict {
                    key: key.clone(),
                    loser: (own, t.index),
                    winner: folded.last,
                    why: Lost::Later,
                });
            }
            Ok(())
        })?;
        Ok(lost)
    }
}

/// Equal bit for bit.
fn same_row(a: &[Value], b: &[Value]) -> bool {
    let same = |(a, b): (&Value, &Value)| match (a, b) {
        (Value::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}
