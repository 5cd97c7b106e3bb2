//! The merge rule itself, on rows in memory: entries in stamp order, each in two passes (`apply/README.md`).
//!
//! Promises: pure but for the evaluation of generated columns. Must not know: SQLite, history, the log.

use std::collections::{BTreeMap, HashMap, HashSet};

use starling_log::{Entry, Op, Place, Value, ValueRef};

use crate::history::{Conflict, Displaced, Lost};
use crate::layout::{Key, Layout, Unique};
use crate::mapping::{Mapping, Touch};
use crate::materialize::FoldError;

#[derive(Clone, Debug)]
pub struct SimRow {
    /// Stored columns, then the generated ones that unique indexes need.
    pub values: Vec<Value>,
    /// Who wrote each stored column last (`None`: before the beginning).
    writers: Vec<Option<Place>>,
    /// The change that wrote the row last.
    last: Option<(Place, u32)>,
}

impl SimRow {
    pub fn base(values: Vec<Value>, last: Option<(Place, u32)>) -> SimRow {
        SimRow {
            // Whoever wrote the row last has something in it; who else, is not known.
            writers: vec![last.map(|(place, _)| place); values.len()],
            values,
            last,
        }
    }
    pub fn has_writer(&self, place: Place) -> bool {
        self.writers.contains(&Some(place))
    }
    /// All whose writing stands in it.
    pub fn writers(&self) -> HashSet<Place> {
        self.writers.iter().flatten().copied().collect()
    }
    /// The unique values it holds, by index id.
    pub fn uniques(&self, uniques: &[Unique]) -> Vec<(u32, Vec<u8>)> {
        let mut out = Vec::new();
        for unique in uniques {
            let mut value = Vec::new();
            // A generated value not computed yet counts as NULL: such a row holds nothing so far.
            let at = |at: usize| self.values.get(at).map_or(ValueRef::Null, Value::as_ref);
            if unique.value(at, &mut value) {
                out.push((unique.id, value));
            }
        }
        out
    }
}

/// One change, owned, under the present definition.
pub struct Change {
    op: Op,
    index: u32,
    old: Option<Key>,
    new: Option<Key>,
    after: Vec<Value>,
    changed: Vec<bool>,
}

impl Change {
    pub fn new(layout: &Layout, mapping: &Mapping, touch: &Touch<'_>) -> Change {
        let bits = touch.changed.unwrap_or_default();
        Change {
            op: touch.op,
            index: touch.index,
            old: touch.old.as_ref().map(|(k, _)| k.clone()),
            new: touch.new.as_ref().map(|(k, _)| k.clone()),
            after: touch.after.as_ref().map(|image| mapping.row(image)).unwrap_or_default(),
            changed: (0..layout.columns.len()).map(|at| mapping.changed(at, bits)).collect(),
        }
    }
}

pub struct Rows<'a> {
    uniques: &'a [Unique],
    rows: HashMap<Key, Option<SimRow>>,
    /// Which row holds a unique value.
    holders: HashMap<(u32, Vec<u8>), Key>,
    written: Vec<(u32, Vec<u8>, Key)>,
    displaced: Vec<Displaced>,
    conflicts: Vec<Conflict>,
}

pub type Finished = (HashMap<Key, Option<SimRow>>, Vec<Displaced>, Vec<Conflict>);

impl<'a> Rows<'a> {
    pub fn new(base: HashMap<Key, Option<SimRow>>, uniques: &'a [Unique]) -> Rows<'a> {
        let mut holders = HashMap::new();
        for (key, row) in &base {
            for held in row.iter().flat_map(|r| r.uniques(uniques)) {
                holders.insert(held, key.clone());
            }
        }
        Rows {
            uniques,
            rows: base,
            holders,
            written: Vec::new(),
            displaced: Vec::new(),
            conflicts: Vec::new(),
        }
    }
    /// Unique values held now.
    pub fn held(&self) -> Vec<(u32, Vec<u8>)> {
        self.holders.keys().cloned().collect()
    }
    /// Unique values written since the last call, and by which row.
    pub fn take_written(&mut self) -> Vec<(u32, Vec<u8>, Key)> {
        std::mem::take(&mut self.written)
    }
    pub fn finish(self) -> Finished {
        (self.rows, self.displaced, self.conflicts)
    }

    /// One entry: first all its changes in their order, by key alone; then each row it leaves behind takes its unique values,
    /// in the order of their last change, from whichever row has them.
    pub fn apply(
        &mut self,
        entry: &Entry,
        changes: &[Change],
        mut evaluate: impl FnMut(&mut Vec<Value>) -> Result<(), FoldError>,
    ) -> Result<(), FoldError> {
        let mut order: BTreeMap<u32, Key> = BTreeMap::new();
        let mut own: HashSet<Key> = HashSet::new();
        for change in changes {
            if let Some(old) = &change.old {
                order.retain(|_, k| k != old);
            }
            if let Some(key) = self.touch(entry, change, &own) {
                order.retain(|_, k| *k != key);
                own.insert(key.clone());
                order.insert(change.index, key);
            }
        }
        for key in order.values() {
            let Some(Some(row)) = self.rows.get_mut(key) else { continue };
            row.values.truncate(row.writers.len());
            evaluate(&mut row.values)?;
            let held = row.uniques(self.uniques);
            self.take_values(entry, key, held);
        }
        Ok(())
    }

    fn take_values(&mut self, entry: &Entry, key: &Key, held: Vec<(u32, Vec<u8>)>) {
        for value in held {
            if let Some(other) = self.holders.get(&value).filter(|k| *k != key).cloned() {
                if let Some(loser) = self.remove(&other) {
                    self.conflict(entry, &other, &loser, Lost::Unique);
                }
                self.displaced.push(Displaced {
                    key: other,
                    stamp: entry.stamp,
                    winner: Some(key.clone()),
                });
            }
            self.written.push((value.0, value.1.clone(), key.clone()));
            self.holders.insert(value, key.clone());
        }
    }

    /// Applies one change by key; returns the key of the row it leaves.
    fn touch(&mut self, entry: &Entry, change: &Change, own: &HashSet<Key>) -> Option<Key> {
        let base = change.old.as_ref().and_then(|old| self.remove(old));
        let new = change.new.clone()?;
        let width = change.after.len();
        if change.op == Op::Delete {
            return None;
        }
        if let Some(other) = self.remove(&new).filter(|_| !own.contains(&new)) {
            self.conflict(entry, &new, &other, Lost::Key);
        }
        let place = entry.place;
        let mut row = match base {
            Some(mut row) => {
                for (at, value) in change.after.iter().enumerate().filter(|(at, _)| change.changed[*at]) {
                    row.values[at] = value.clone();
                    row.writers[at] = Some(place);
                }
                row
            }
            None => SimRow {
                values: change.after.clone(),
                writers: vec![Some(place); width],
                last: None,
            },
        };
        row.writers.truncate(width);
        row.last = Some((place, change.index));
        self.rows.insert(new.clone(), Some(row));
        Some(new)
    }

    fn remove(&mut self, key: &Key) -> Option<SimRow> {
        let row = self.rows.insert(key.clone(), None).flatten()?;
        for held in row.uniques(self.uniques) {
            if self.holders.get(&held) == Some(key) {
                self.holders.remove(&held);
            }
        }
        Some(row)
    }

    fn conflict(&mut self, entry: &Entry, key: &Key, loser: &SimRow, why: Lost) {
        if let Some(last) = loser.last {
            self.conflicts.push(Conflict {
                key: key.clone(),
                loser: last,
                winner: entry.stamp,
                why,
            });
        }
    }
}
