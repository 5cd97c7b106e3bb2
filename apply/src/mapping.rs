//! From row images to rows: an image names its columns by id, and is read by the definition it was made under; the row is
//! written by the present one, through every version between (as if it had been there when those changes were made).
//!
//! Promises: no allocation for images of the present version. Must not know: SQLite, stamps.

use smallvec::SmallVec;
use starling_log::{ChangeRef, Entry, Op, Row, RowRef, TableRef, Value, ValueRef};

use crate::catalog::Column;
use crate::convert::{convert, default_stored, keeps_values};
use crate::layout::{Key, Layout};
use crate::versions::{Version, Versions};

/// Where a stored column's value comes from.
#[derive(Clone, Debug)]
enum Source {
    Image(usize),
    /// Through these conversions, in order.
    Converted(usize, Vec<(Column, Column)>),
    /// The image has no such column.
    Filled(Value),
    /// The hidden key of a table that had a primary key when the image was made.
    Hashed,
}

/// How one table's images of one entry are read.
#[derive(Clone, Debug)]
pub struct Mapping {
    sources: Vec<Source>,
    /// No conversion, nothing filled in.
    pub plain: bool,
    /// For the parts of the present key: position in the image, and in the packed key.
    key: SmallVec<[(Option<usize>, Option<usize>); 4]>,
    /// Positions of the author's key in the image.
    author_key: SmallVec<[usize; 4]>,
    /// The packed key of a change is the present key, part for part.
    same_key: bool,
}

pub type Values<'a> = SmallVec<[ValueRef<'a>; 24]>;

/// A value of the present version: borrowed from the image where it stands as it is.
pub enum Mapped<'a> {
    Borrowed(ValueRef<'a>),
    Owned(Value),
}

impl Mapped<'_> {
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Mapped::Borrowed(v) => *v,
            Mapped::Owned(v) => v.as_ref(),
        }
    }
    pub fn into_value(self) -> Value {
        match self {
            Mapped::Borrowed(v) => v.to_owned().unwrap_or(Value::Null),
            Mapped::Owned(v) => v,
        }
    }
}

impl Mapping {
    pub fn new(layout: &Layout, versions: &Versions, entry: &Entry, header: &TableRef) -> Mapping {
        let chain = &versions.all[versions.author(entry)..];
        let position = |id: u32| header.columns.iter().position(|c| *c == id);
        let sources: Vec<Source> = layout
            .columns
            .iter()
            .map(|id| match position(*id) {
                None if *id == 0 => Source::Hashed,
                at => source(*id, at, chain),
            })
            .collect();
        let packed = |at: Option<usize>| at.and_then(|at| header.key.iter().position(|k| usize::from(*k) == at));
        let key: SmallVec<_> = layout
            .key
            .iter()
            .map(|part| {
                let image = match &sources[part.at] {
                    Source::Image(i) | Source::Converted(i, _) => Some(*i),
                    Source::Filled(_) | Source::Hashed => None,
                };
                (image, packed(image))
            })
            .collect();
        let plain = sources.iter().all(|s| matches!(s, Source::Image(_)));
        let in_order = key.iter().enumerate().all(|(i, (_, packed))| *packed == Some(i));
        Mapping {
            same_key: plain && in_order && key.len() == header.key.len(),
            sources,
            plain,
            key,
            author_key: header.key.iter().map(|k| usize::from(*k)).collect(),
        }
    }

    /// The value of the stored column at `at`.
    pub fn value<'a>(&self, at: usize, image: &[ValueRef<'a>]) -> Mapped<'a> {
        let get = |i: usize| image.get(i).copied().unwrap_or(ValueRef::Absent);
        match &self.sources[at] {
            Source::Image(i) => Mapped::Borrowed(get(*i)),
            Source::Converted(i, steps) => Mapped::Owned(through(get(*i), steps)),
            Source::Filled(value) => Mapped::Owned(value.clone()),
            Source::Hashed => Mapped::Owned(hidden_from(self.author_key.iter().map(|i| get(*i)))),
        }
    }
    pub fn row(&self, image: &[ValueRef<'_>]) -> Vec<Value> {
        (0..self.sources.len()).map(|at| self.value(at, image).into_value()).collect()
    }
    /// Did the update change the stored column at `at`?
    pub fn changed(&self, at: usize, bits: &[u8]) -> bool {
        match &self.sources[at] {
            Source::Image(i) | Source::Converted(i, _) => bit(bits, *i),
            Source::Filled(_) => false,
            Source::Hashed => self.author_key.iter().any(|i| bit(bits, *i)),
        }
    }
    /// Does an update with these changed columns leave the key alone?
    pub fn keeps_key(&self, layout: &Layout, bits: &[u8]) -> bool {
        layout.key.iter().all(|p| !self.changed(p.at, bits))
    }

    /// The values of the old key of an update or delete under the present definition; `None` where the entry does not tell
    /// (its author had another primary key, and a minimal image).
    pub fn old_key<'a>(&self, layout: &Layout, change: &ChangeRef<'a>) -> Option<SmallVec<[Mapped<'a>; 4]>> {
        if self.same_key {
            return Some(change.key.iter().map(Mapped::Borrowed).collect());
        }
        let key: Values<'_> = change.key.iter().collect();
        let before: Values<'_> = change.before.map_or_else(SmallVec::new, |b| b.iter().collect());
        let after: Values<'_> = change.after.map_or_else(SmallVec::new, |a| a.iter().collect());
        let mut out = SmallVec::new();
        for (part, (image, packed)) in layout.key.iter().zip(&self.key) {
            let Some(image) = *image else {
                out.push(match &self.sources[part.at] {
                    Source::Hashed => Mapped::Owned(hidden_from(key.iter().copied())),
                    _ => self.value(part.at, &[]),
                });
                continue;
            };
            let unchanged = change.op == Op::Update && change.changed.is_some_and(|bits| !bit(bits, image));
            let given = packed.and_then(|p| key.get(p)).or_else(|| before.get(image));
            let given = given.filter(|v| **v != ValueRef::Absent);
            let value = given.or_else(|| after.get(image).filter(|_| unchanged))?;
            out.push(match &self.sources[part.at] {
                Source::Converted(_, steps) => Mapped::Owned(through(*value, steps)),
                _ => Mapped::Borrowed(*value),
            });
        }
        Some(out)
    }
    pub fn new_key(&self, layout: &Layout, image: &[ValueRef<'_>]) -> Key {
        let parts: SmallVec<[Mapped<'_>; 4]> = layout.key.iter().map(|p| self.value(p.at, image)).collect();
        layout.key_of(parts.iter().map(Mapped::as_ref))
    }
}

/// What a change does to the rows of one table, by key.
pub struct Touch<'a> {
    pub op: Op,
    /// Position in the entry.
    pub index: u32,
    /// The row that goes or changes, and its key's values.
    pub old: Option<(Key, Row)>,
    pub new: Option<(Key, Row)>,
    pub after: Option<Values<'a>>,
    pub changed: Option<&'a [u8]>,
}

impl Mapping {
    pub fn touch<'a>(&self, layout: &Layout, index: u32, change: &ChangeRef<'a>) -> Touch<'a> {
        let old = match change.op {
            Op::Insert => None,
            _ => self.old_key(layout, change).map(|parts| {
                let key = layout.key_of(parts.iter().map(Mapped::as_ref));
                (key, Row::from_values(parts.iter().map(Mapped::as_ref)))
            }),
        };
        let after: Option<Values<'a>> = change.after.map(|a: RowRef<'a>| a.iter().collect());
        let new = after.as_ref().map(|image| {
            let parts: SmallVec<[Mapped<'_>; 4]> = layout.key.iter().map(|p| self.value(p.at, image)).collect();
            let key = layout.key_of(parts.iter().map(Mapped::as_ref));
            (key, Row::from_values(parts.iter().map(Mapped::as_ref)))
        });
        Touch {
            op: change.op,
            index,
            old,
            new,
            after,
            changed: change.changed,
        }
    }
}

/// A table that loses its primary key gives each row a hidden key made of its last one: negative, where generated ones are not.
pub fn hidden_from<'a>(key: impl IntoIterator<Item = ValueRef<'a>>) -> Value {
    let packed = Row::from_values(key);
    let hash = xxhash_rust::xxh3::xxh3_64(&packed.0);
    Value::Int(-1 - i64::try_from(hash >> 1).unwrap_or(0))
}

fn bit(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|b| b >> (at % 8) & 1 == 1)
}

fn through(value: ValueRef<'_>, steps: &[(Column, Column)]) -> Value {
    let mut owned = value.to_owned().unwrap_or(Value::Null);
    for (from, to) in steps {
        owned = convert(owned.as_ref(), from, to);
    }
    owned
}

fn source(id: u32, image: Option<usize>, chain: &[Version]) -> Source {
    let mut column: Option<&Column> = None;
    let mut steps = Vec::new();
    let mut filled = None;
    for version in chain {
        let Some(next) = version.table.column_by_id(id) else { continue };
        match column {
            None if image.is_none() => filled = Some(default_stored(next, version.stamp.hlc.0 >> 16)),
            Some(from) if !is_same(from, next) => match &mut filled {
                Some(value) => *value = convert(value.as_ref(), from, next),
                None => steps.push((from.clone(), next.clone())),
            },
            _ => {}
        }
        column = Some(next);
    }
    match (image, filled) {
        (None, value) => Source::Filled(value.unwrap_or(Value::Null)),
        (Some(i), _) if steps.is_empty() => Source::Image(i),
        (Some(i), _) => Source::Converted(i, steps),
    }
}

/// Is every value of the one a value of the other?
pub fn is_same(from: &Column, to: &Column) -> bool {
    keeps_values(&from.ty, &to.ty) && (to.nullable || !from.nullable)
}
