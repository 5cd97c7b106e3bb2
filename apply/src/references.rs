//! References that decided entries made: for each row of a parent table, the newest entry that pointed a child row to it.
//!
//! An author who deletes a parent may not have seen a child that another node has decided on: the parent row itself has not changed,
//! so only this tells (versions of rows for exclusive claims are at least as new as it). Entries at ONE leave no mark: nobody asks
//! before them either.
//!
//! Promises: marks are written with the rows of their entry. Must not know: claims.

use rusqlite::{Connection, params};
use smallvec::SmallVec;
use starling_log::{Changes, Entry, Op, Origin, ValueRef};

use crate::catalog::Database;
use crate::inorder::Plan;
use crate::layout::{Bind, Layout, from_sql};
use crate::mapping::{Mapped, Values};
use crate::materialize::FoldError;
use crate::physical::quote;
use crate::shape::{Parent, parent};

/// Made in the file if it is not there.
pub(crate) fn create(conn: &Connection, schema: &str) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {}.__starling_references (tbl INTEGER, key, hlc INTEGER, origin INTEGER, seq INTEGER,
           PRIMARY KEY (tbl, key)) WITHOUT ROWID",
        quote(schema)
    ))
}

/// Does the origin stand for decided entries? (Of each node's two, the second does.)
pub(crate) fn is_decided(origin: Origin) -> bool {
    origin.is_multiple_of(2)
}

/// Marks the rows that the entry's rows point to from now on.
pub(crate) fn mark(
    conn: &Connection,
    schema: &str,
    database: &Database,
    entry: &Entry,
    changes: &Changes,
    plans: &[Option<Plan>],
) -> Result<(), FoldError> {
    let parents: Vec<Vec<Parent>> = plans
        .iter()
        .map(|plan| match plan {
            Some(plan) => parents_of(database, schema, &plan.layout),
            None => Vec::new(),
        })
        .collect();
    if parents.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let mut put = conn.prepare_cached(&format!(
        "INSERT INTO {}.__starling_references VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE
         SET hlc = excluded.hlc, origin = excluded.origin, seq = excluded.seq WHERE (excluded.hlc, excluded.origin) > (hlc, origin)",
        quote(schema)
    ))?;
    for change in changes.iter() {
        let (Some(Some(plan)), Some(after)) = (plans.get(change.table), change.after) else {
            continue;
        };
        let image: Values<'_> = after.iter().collect();
        let bits = change.changed.filter(|_| change.op == Op::Update);
        for parent in &parents[change.table] {
            if bits.is_some_and(|bits| !parent.columns.iter().any(|c| plan.mapping.changed(*c, bits))) {
                continue;
            }
            let values: SmallVec<[Mapped<'_>; 4]> = parent.columns.iter().map(|c| plan.mapping.value(*c, &image)).collect();
            if let Some(key) = find(conn, parent, values.iter().map(Mapped::as_ref))? {
                let hlc = entry.stamp.hlc.0.cast_signed();
                let (origin, seq) = (entry.stamp.origin, entry.place.seq.cast_signed());
                put.execute(params![parent.table.cast_signed(), key, hlc, origin, seq])?;
            }
        }
    }
    Ok(())
}

fn parents_of(database: &Database, schema: &str, layout: &Layout) -> Vec<Parent> {
    let foreign = layout.table.foreign_keys.iter();
    foreign.filter_map(|fk| parent(database, schema, &layout.columns, fk)).collect()
}

/// The key of the row that these values point to.
pub(crate) fn find<'a>(
    conn: &Connection,
    parent: &Parent,
    values: impl Iterator<Item = ValueRef<'a>> + Clone,
) -> Result<Option<crate::layout::Key>, FoldError> {
    if values.clone().any(|v| matches!(v, ValueRef::Null | ValueRef::Absent)) {
        return Ok(None);
    }
    let mut statement = conn.prepare_cached(&parent.find)?;
    for (i, v) in values.enumerate() {
        statement.raw_bind_parameter(i + 1, Bind(v))?;
    }
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    // Without checks a child may point to nothing.
    let Some(row) = rows.next()? else { return Ok(None) };
    let values: SmallVec<[_; 4]> = (0..width).map(|i| row.get_ref(i)).collect::<Result<_, _>>()?;
    Ok(Some(parent.layout.key_of(values.into_iter().map(from_sql))))
}
