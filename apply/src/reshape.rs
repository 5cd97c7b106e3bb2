//! How a table's shape in SQLite becomes another: natively where SQLite can, else by copying its rows into a new table.
//!
//! Promises: whichever way is taken, rows and column order are the same afterwards (columns stand in catalog order); values are
//! converted exactly as images of older versions are (`mapping`). Must not know: entries, stamps.

use rusqlite::Connection;
use starling_log::{Row, Value, ValueRef};

use crate::catalog::{Column, Database, ForeignKey, Index, IndexKind, Table};
use crate::convert::{convert, default_stored};
use crate::layout::{Bind, from_sql};
use crate::mapping::{hidden_from, is_same};
use crate::physical::{self, column_sql, create_sql, declared, index_name, index_sql, quote};

/// A table in SQLite: its schema, its physical name, its definition.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    pub schema: &'a str,
    pub name: &'a str,
    pub table: &'a Table,
    /// When it came to be, milliseconds since the epoch (what CURRENT_TIMESTAMP is for a new column's old rows).
    pub ms: u64,
}

/// Later rows win where a new definition lets only one of several rows be: a row's rank in time.
pub type Rank<'a> = &'a mut dyn FnMut(&[Value]) -> rusqlite::Result<(u64, u16, u32)>;

pub fn create(conn: &Connection, shape: Shape<'_>) -> rusqlite::Result<()> {
    conn.execute_batch(&create_sql(shape.schema, shape.name, shape.table))?;
    create_indexes(conn, shape)
}

pub fn drop(conn: &Connection, schema: &str, name: &str) -> rusqlite::Result<()> {
    conn.execute_batch(&format!("DROP TABLE IF EXISTS {}.{}", quote(schema), quote(name)))
}

/// Foreign keys and column references follow, as the catalog's do.
pub fn rename(conn: &Connection, schema: &str, from: &str, to: &str) -> rusqlite::Result<()> {
    conn.execute_batch(&format!("ALTER TABLE {}.{} RENAME TO {}", quote(schema), quote(from), quote(to)))
}

fn create_indexes(conn: &Connection, shape: Shape<'_>) -> rusqlite::Result<()> {
    for index in &shape.table.indexes {
        if let Some(sql) = index_sql(shape.schema, shape.name, shape.table, index) {
            conn.execute_batch(&sql)?;
        }
    }
    Ok(())
}

/// Changes `old` into `new` under the same physical name. `rank`: rows that exclude each other under `new` go in this order, the
/// later displacing the earlier; without it they are a constraint error.
pub fn reshape(conn: &Connection, old: Shape<'_>, new: Shape<'_>, parents: &[Database; 2], rank: Option<Rank<'_>>) -> rusqlite::Result<()> {
    match rank {
        None if !needs_copy(old.table, new, parents) => natively(conn, old, new),
        rank => copy(conn, old, new, rank),
    }
}

/// What SQLite cannot change in place.
fn needs_copy(old: &Table, shape: Shape<'_>, parents: &[Database; 2]) -> bool {
    let new = shape.table;
    let kept = |c: &Column| new.column_by_id(c.id).is_some_and(|n| same_shape(c, n));
    let order: Vec<u32> = new.columns.iter().map(|c| c.id).collect();
    let old_order: Vec<u32> = old.columns.iter().map(|c| c.id).collect();
    let key = |t: &Table| {
        t.primary()
            .map(|p| (p.parts.clone(), physical::without_rowid(t), physical::rowid_key(t)))
    };
    !old.columns.iter().all(kept)
        || !order.starts_with(&old_order)
        || new.columns[old.columns.len()..].iter().any(|c| !addable(c, shape.ms))
        || key(old) != key(new)
        || old.checks != new.checks
        || foreign(old, &parents[0]) != foreign(new, &parents[1])
}

fn same_shape(old: &Column, new: &Column) -> bool {
    is_same(old, new)
        && old.nullable == new.nullable
        && old.generated == new.generated
        && declared(&old.ty) == declared(&new.ty)
        && physical::collation(&old.ty) == physical::collation(&new.ty)
}

fn addable(column: &Column, ms: u64) -> bool {
    match &column.generated {
        Some(g) => !g.stored && column.nullable,
        None => column.nullable || !matches!(default_stored(column, ms), Value::Null),
    }
}

/// Foreign keys with parents by id, so that a parent's rename is no difference (SQLite follows it by itself).
fn foreign(table: &Table, database: &Database) -> Vec<String> {
    let one = |fk: &ForeignKey| {
        let parent = database.table(&fk.parent);
        let columns: Vec<String> = fk
            .parent_columns
            .iter()
            .map(|name| {
                let id = parent.and_then(|p| p.column(name)).map(|c| c.id);
                id.map_or_else(|| name.clone(), |id| id.to_string())
            })
            .collect();
        let target = parent.map_or_else(|| fk.parent.clone(), |p| p.id.to_string());
        format!(
            "{} {:?} {target} {columns:?} {:?} {:?}",
            fk.name, fk.columns, fk.on_delete, fk.on_update
        )
    };
    table.foreign_keys.iter().map(one).collect()
}

fn natively(conn: &Connection, old: Shape<'_>, new: Shape<'_>) -> rusqlite::Result<()> {
    let target = format!("{}.{}", quote(new.schema), quote(new.name));
    let stands = |index: &Index| {
        let same = new
            .table
            .indexes
            .iter()
            .find(|n| n.id == index.id && n.kind == index.kind && n.parts == index.parts);
        same.is_some_and(|n| index.kind == IndexKind::Plain || prefixes(old.table, index) == prefixes(new.table, n))
    };
    for index in old.table.indexes.iter().filter(|i| physical::is_stored(old.table, i) && !stands(i)) {
        conn.execute_batch(&format!(
            "DROP INDEX IF EXISTS {}.{}",
            quote(old.schema),
            quote(&index_name(old.table, index))
        ))?;
    }
    rename_columns(conn, &target, old.table, new.table)?;
    for column in &new.table.columns[old.table.columns.len()..] {
        let default = match default_stored(column, new.ms) {
            Value::Null => String::new(),
            _ if column.generated.is_some() => String::new(),
            value => format!(" DEFAULT {}", literal(&value)),
        };
        conn.execute_batch(&format!(
            "ALTER TABLE {target} ADD COLUMN {}{default}",
            column_sql(new.table, column)
        ))?;
    }
    for index in &new.table.indexes {
        let stood = old.table.indexes.iter().any(|o| o.id == index.id && stands(o));
        if let Some(sql) = index_sql(new.schema, new.name, new.table, index).filter(|_| !stood) {
            conn.execute_batch(&sql)?;
        }
    }
    Ok(())
}

fn prefixes(table: &Table, index: &Index) -> Vec<Option<u32>> {
    index.parts.iter().map(|p| physical::prefix(table, p)).collect()
}

/// Over temporary names, because names may be swapped.
fn rename_columns(conn: &Connection, target: &str, old: &Table, new: &Table) -> rusqlite::Result<()> {
    let renamed: Vec<(&Column, &Column)> = old.columns.iter().zip(&new.columns).filter(|(a, b)| a.name != b.name).collect();
    let rename = |from: &str, to: &str| conn.execute_batch(&format!("ALTER TABLE {target} RENAME COLUMN {} TO {}", quote(from), quote(to)));
    for (from, _) in &renamed {
        rename(&from.name, &format!("__starling_{}", from.id))?;
    }
    for (_, to) in &renamed {
        rename(&format!("__starling_{}", to.id), &to.name)?;
    }
    Ok(())
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Int(i) => i.to_string(),
        Value::Real(r) => format!("{r:?}"),
        Value::Text(t) => format!("'{}'", String::from_utf8_lossy(t).replace('\'', "''")),
        Value::Blob(b) => format!("x'{}'", hex::encode(b)),
    }
}

fn copy(conn: &Connection, old: Shape<'_>, new: Shape<'_>, rank: Option<Rank<'_>>) -> rusqlite::Result<()> {
    let schema = quote(new.schema);
    let temporary = format!("__starling_new_{:x}", new.table.id);
    let fresh = Shape { name: &temporary, ..new };
    conn.execute_batch(&create_sql(fresh.schema, fresh.name, fresh.table))?;
    match rank {
        None => copy_rows(conn, old, fresh, None)?,
        Some(rank) => {
            // Unique indexes first, so that the later row displaces the earlier one. Their names are free: the old table's go now.
            for index in old.table.indexes.iter().filter(|i| physical::is_stored(old.table, i)) {
                conn.execute_batch(&format!("DROP INDEX IF EXISTS {schema}.{}", quote(&index_name(old.table, index))))?;
            }
            create_indexes(conn, fresh)?;
            copy_rows(conn, old, fresh, Some(rank))?;
        }
    }
    // The children's foreign keys name this table and shall go on naming it: no rewriting of references here.
    conn.execute_batch("PRAGMA legacy_alter_table = ON")?;
    let swapped = drop(conn, old.schema, old.name).and_then(|()| rename(conn, new.schema, &temporary, new.name));
    conn.execute_batch("PRAGMA legacy_alter_table = OFF")?;
    swapped?;
    for index in &new.table.indexes {
        if let Some(sql) = index_sql(new.schema, new.name, new.table, index) {
            conn.execute_batch(&sql.replacen("INDEX", "INDEX IF NOT EXISTS", 1))?;
        }
    }
    Ok(())
}

/// How one new column is made of an old row.
enum From<'a> {
    Old(usize),
    Converted(usize, &'a Column, &'a Column),
    Default(Value),
    HiddenKey,
}

fn stored(table: &Table) -> Vec<u32> {
    let hidden = table.primary().is_none().then_some(0);
    hidden
        .into_iter()
        .chain(table.columns.iter().filter(|c| c.generated.is_none()).map(|c| c.id))
        .collect()
}

fn name_of(table: &Table, id: u32) -> String {
    table
        .column_by_id(id)
        .map_or_else(|| physical::hidden_key(table).to_owned(), |c| quote(&c.name))
}

fn origins<'a>(old: &'a Table, new: &'a Table, ms: u64) -> Vec<From<'a>> {
    let columns = stored(old);
    let position = |id: u32| columns.iter().position(|c| *c == id);
    let one = |id: u32| match (position(id), old.column_by_id(id), new.column_by_id(id)) {
        (Some(at), None, None) => From::Old(at),
        (None, _, None) => From::HiddenKey,
        (Some(at), Some(a), Some(b)) if is_same(a, b) => From::Old(at),
        (Some(at), Some(a), Some(b)) => From::Converted(at, a, b),
        (_, _, Some(b)) => From::Default(default_stored(b, ms)),
        (Some(at), Some(_), None) => From::Old(at),
    };
    stored(new).into_iter().map(one).collect()
}

fn copy_rows(conn: &Connection, old: Shape<'_>, new: Shape<'_>, rank: Option<Rank<'_>>) -> rusqlite::Result<()> {
    let columns = stored(old.table);
    let list: Vec<String> = columns.iter().map(|id| name_of(old.table, *id)).collect();
    let into: Vec<String> = stored(new.table).iter().map(|id| name_of(new.table, *id)).collect();
    let marks: Vec<String> = (1..=into.len()).map(|i| format!("?{i}")).collect();
    let select = format!("SELECT {} FROM {}.{}", list.join(", "), quote(old.schema), quote(old.name));
    let verb = if rank.is_some() { "INSERT OR REPLACE" } else { "INSERT" };
    let target = format!("{}.{}", quote(new.schema), quote(new.name));
    let insert = format!("{verb} INTO {target} ({}) VALUES ({})", into.join(", "), marks.join(", "));
    let origins = origins(old.table, new.table, new.ms);
    let key: Vec<usize> = old
        .table
        .key_columns()
        .iter()
        .filter_map(|id| columns.iter().position(|c| c == id))
        .collect();
    let mut source = conn.prepare(&select)?;
    let mut sink = conn.prepare(&insert)?;
    let mut rows = source.query([])?;
    let Some(rank) = rank else {
        while let Some(row) = rows.next()? {
            put(&mut sink, &origins, &key, |i| row.get_ref(i).map(from_sql))?;
        }
        return Ok(());
    };
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let values: rusqlite::Result<Vec<Value>> = (0..columns.len())
            .map(|i| Ok(from_sql(row.get_ref(i)?).to_owned().unwrap_or(Value::Null)))
            .collect();
        let values = values?;
        let key = Row::from_values(key.iter().map(|i| values[*i].as_ref()));
        all.push((rank(&values)?, key, values));
    }
    all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    for (_, _, values) in &all {
        put(&mut sink, &origins, &key, |i| Ok(values[i].as_ref()))?;
    }
    Ok(())
}

fn put<'v>(
    sink: &mut rusqlite::Statement<'_>,
    origins: &[From<'_>],
    key: &[usize],
    get: impl Fn(usize) -> rusqlite::Result<ValueRef<'v>>,
) -> rusqlite::Result<()> {
    for (i, origin) in origins.iter().enumerate() {
        match origin {
            From::Old(at) => sink.raw_bind_parameter(i + 1, Bind(get(*at)?))?,
            From::Converted(at, a, b) => sink.raw_bind_parameter(i + 1, Bind(convert(get(*at)?, a, b).as_ref()))?,
            From::Default(value) => sink.raw_bind_parameter(i + 1, Bind(value.as_ref()))?,
            From::HiddenKey => {
                let parts: rusqlite::Result<Vec<ValueRef<'v>>> = key.iter().map(|at| get(*at)).collect();
                sink.raw_bind_parameter(i + 1, Bind(hidden_from(parts?).as_ref()))?;
            }
        }
    }
    sink.raw_execute()?;
    Ok(())
}
