//! One table version as the fold sees it: where each value stands, how rows are told apart, and the statements that write them.
//!
//! Promises: two rows have the same [`Key`] exactly if the primary key says so, and the same unique value exactly if the index
//! says so (collations and prefixes included). Must not know: entries' order, history.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef as SqlRef};
use serde::{Deserialize, Serialize};
use starling_log::{Row, Value, ValueRef};
use std::sync::Arc;

use crate::catalog::{Index, Table};
use crate::physical::{self, quote};
use crate::types::BaseType;

/// A row's identity: the integer itself where that is the whole key, else normalized bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    Int(i64),
    Bytes(Vec<u8>),
}

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Key::Int(i) => ToSqlOutput::Borrowed(SqlRef::Integer(*i)),
            Key::Bytes(b) => ToSqlOutput::Borrowed(SqlRef::Blob(b)),
        })
    }
}

impl rusqlite::types::FromSql for Key {
    fn column_result(value: SqlRef<'_>) -> rusqlite::types::FromSqlResult<Key> {
        match value {
            SqlRef::Integer(i) => Ok(Key::Int(i)),
            SqlRef::Blob(b) => Ok(Key::Bytes(b.to_vec())),
            _ => Err(rusqlite::types::FromSqlError::InvalidType),
        }
    }
}

/// A log value as a SQLite parameter, borrowed.
pub struct Bind<'a>(pub ValueRef<'a>);

impl ToSql for Bind<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            ValueRef::Absent | ValueRef::Null => SqlRef::Null,
            ValueRef::Int(i) => SqlRef::Integer(i),
            ValueRef::Real(r) => SqlRef::Real(r),
            ValueRef::Text(t) => SqlRef::Text(t),
            ValueRef::Blob(b) => SqlRef::Blob(b),
        }))
    }
}

/// A SQLite value as a log value.
pub fn from_sql(value: SqlRef<'_>) -> ValueRef<'_> {
    match value {
        SqlRef::Null => ValueRef::Null,
        SqlRef::Integer(i) => ValueRef::Int(i),
        SqlRef::Real(r) => ValueRef::Real(r),
        SqlRef::Text(t) => ValueRef::Text(t),
        SqlRef::Blob(b) => ValueRef::Blob(b),
    }
}

/// One column of a key: its position in the row, and how its values compare.
#[derive(Clone, Debug)]
pub struct Part {
    pub at: usize,
    prefix: Option<usize>,
    collation: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Unique {
    pub id: u32,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub struct Layout {
    pub table: Arc<Table>,
    /// Ids of the columns that rows here consist of, in order: those SQLite stores (0: the hidden key). Values of generated
    /// columns that unique indexes need follow behind them.
    pub columns: Vec<u32>,
    pub key: Vec<Part>,
    /// Is the key one integer, used as it is?
    pub int_key: bool,
    pub uniques: Vec<Unique>,
    pub auto: Option<usize>,
    pub insert: String,
    pub delete: String,
    pub select: String,
    pub select_all: String,
    /// Computes the generated columns that unique indexes need from the stored ones.
    pub evaluate: Option<String>,
    update_head: String,
    names: Vec<String>,
    key_names: Vec<String>,
}

impl Layout {
    /// `name`: the physical name (the table's own, or another during a rebuild).
    pub fn new(schema: &str, name: &str, table: &Arc<Table>) -> Result<Layout, String> {
        let hidden = table.primary().is_none();
        let mut columns: Vec<u32> = if hidden { vec![0] } else { Vec::new() };
        columns.extend(table.columns.iter().filter(|c| c.generated.is_none()).map(|c| c.id));
        let names: Vec<String> = columns.iter().map(|id| column_name(table, *id)).collect();
        let evaluated = evaluated(table);
        let position = |id: u32| {
            let all = columns.iter().chain(&evaluated);
            all.clone().position(|c| *c == id)
        };
        let key = match table.primary() {
            None => vec![plain_part(0)],
            Some(primary) => parts(table, primary, &position).ok_or_else(|| format!("the key of {} is not stored", table.name))?,
        };
        if key.iter().any(|p| p.at >= columns.len()) {
            return Err(format!("table {}: a primary key over generated columns", table.name));
        }
        let mut uniques = Vec::new();
        for index in physical::secondary_uniques(table) {
            let parts = parts(table, index, &position).ok_or_else(|| format!("index {} has an unknown column", index.name))?;
            uniques.push(Unique { id: index.id, parts });
        }
        let target = format!("{}.{}", quote(schema), quote(name));
        let marks: Vec<String> = (1..=columns.len()).map(|i| format!("?{i}")).collect();
        let key_names: Vec<String> = key.iter().map(|p| names[p.at].clone()).collect();
        let list = names.join(", ");
        let condition = condition(&key, &key_names, 1);
        Ok(Layout {
            int_key: hidden || physical::rowid_key(table).is_some(),
            auto: table.auto_column().and_then(|c| columns.iter().position(|id| *id == c.id)),
            insert: format!("INSERT INTO {target} ({list}) VALUES ({})", marks.join(", ")),
            delete: format!("DELETE FROM {target} WHERE {condition}"),
            select: format!("SELECT {list} FROM {target} WHERE {condition}"),
            select_all: format!("SELECT {list} FROM {target}"),
            evaluate: (!evaluated.is_empty()).then(|| evaluate_sql(table, &evaluated)),
            update_head: format!("UPDATE {target} SET "),
            table: table.clone(),
            columns,
            key,
            uniques,
            names,
            key_names,
        })
    }

    /// UPDATE of the columns at `set`; their values come first, then the old key's.
    pub fn update(&self, set: &[usize]) -> String {
        let mut sql = self.update_head.clone();
        for (i, at) in set.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            sql.push_str(&format!("{comma}{} = ?{}", self.names[*at], i + 1));
        }
        sql + " WHERE " + &condition(&self.key, &self.key_names, set.len() + 1)
    }

    /// The key of a row whose key values are these, in the order of `self.key`.
    pub fn key_of<'a>(&self, values: impl IntoIterator<Item = ValueRef<'a>>) -> Key {
        let mut values = values.into_iter();
        if self.int_key {
            if let Some(ValueRef::Int(i)) = values.next() {
                return Key::Int(i);
            }
            return Key::Bytes(Vec::new());
        }
        let mut out = Vec::with_capacity(32);
        for (part, value) in self.key.iter().zip(values) {
            part.put(&mut out, value);
        }
        Key::Bytes(out)
    }
    pub fn key_of_row(&self, row: &[Value]) -> Key {
        self.key_of(self.key.iter().map(|p| row[p.at].as_ref()))
    }
    /// The key's values as they stand in a row, packed (to find the row in SQLite by).
    pub fn raw_key(&self, row: &[Value]) -> Row {
        Row::from_values(self.key.iter().map(|p| row[p.at].as_ref()))
    }
}

impl Unique {
    /// The value a row holds in this index; `false`: none, because a part is NULL.
    pub fn value<'a>(&self, row: impl Fn(usize) -> ValueRef<'a>, out: &mut Vec<u8>) -> bool {
        out.clear();
        self.parts.iter().all(|p| p.put(out, row(p.at)))
    }
}

fn plain_part(at: usize) -> Part {
    Part {
        at,
        prefix: None,
        collation: None,
    }
}

fn column_name(table: &Table, id: u32) -> String {
    match table.column_by_id(id) {
        Some(c) => quote(&c.name),
        None => physical::hidden_key(table).to_owned(),
    }
}

fn parts(table: &Table, index: &Index, position: &dyn Fn(u32) -> Option<usize>) -> Option<Vec<Part>> {
    let part = |p: &crate::catalog::KeyPart| {
        let column = table.column_by_id(p.column)?;
        Some(Part {
            at: position(p.column)?,
            prefix: physical::prefix(table, p).map(|n| n as usize),
            collation: physical::collation(&column.ty).map(str::to_owned),
        })
    };
    index.parts.iter().map(part).collect()
}

/// Generated columns that unique indexes need.
fn evaluated(table: &Table) -> Vec<u32> {
    let mut ids: Vec<u32> = physical::secondary_uniques(table)
        .flat_map(|i| i.parts.iter().map(|p| p.column))
        .filter(|id| table.column_by_id(*id).is_some_and(|c| c.generated.is_some()))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The stored columns as a one-row subquery with their affinities and collations, then one layer for each generated column
/// (they may build on each other).
fn evaluate_sql(table: &Table, wanted: &[u32]) -> String {
    let offset = usize::from(table.primary().is_none());
    let mut inner = Vec::new();
    for (i, c) in table.columns.iter().filter(|c| c.generated.is_none()).enumerate() {
        let affinity = match c.ty.base {
            BaseType::Bit | BaseType::Set | BaseType::BigInt if physical::declared(&c.ty) == "BLOB" => None,
            _ => Some(physical::declared(&c.ty)),
        };
        let mark = format!("?{}", i + 1 + offset);
        let value = affinity.map_or(mark.clone(), |a| format!("CAST({mark} AS {a})"));
        let collate = physical::collation(&c.ty).map_or(String::new(), |n| format!(" COLLATE {}", quote(n)));
        inner.push(format!("{value}{collate} AS {}", quote(&c.name)));
    }
    let mut from = format!("SELECT {}", inner.join(", "));
    for c in &table.columns {
        if let Some(g) = &c.generated {
            from = format!("SELECT *, ({}) AS {} FROM ({from})", g.lowered, quote(&c.name));
        }
    }
    let names: Vec<String> = wanted.iter().map(|id| column_name(table, *id)).collect();
    format!("SELECT {} FROM ({from})", names.join(", "))
}

fn condition(key: &[Part], names: &[String], first: usize) -> String {
    let mut terms = Vec::with_capacity(key.len());
    for (i, (part, name)) in key.iter().zip(names).enumerate() {
        let mark = first + i;
        terms.push(match part.prefix {
            None => format!("{name} = ?{mark}"),
            Some(n) => {
                let collate = part.collation.as_ref().map_or(String::new(), |c| format!(" COLLATE {}", quote(c)));
                format!("substr({name}, 1, {n}){collate} = substr(?{mark}, 1, {n})")
            }
        });
    }
    terms.join(" AND ")
}

impl Part {
    /// Appends the value so that equal bytes mean equal under the part's comparison; `false` for NULL.
    fn put(&self, out: &mut Vec<u8>, value: ValueRef<'_>) -> bool {
        match value {
            ValueRef::Absent | ValueRef::Null => {
                out.push(0);
                return false;
            }
            ValueRef::Int(i) => {
                out.push(1);
                out.extend_from_slice(&i.to_be_bytes());
            }
            ValueRef::Real(r) => {
                // -0.0 and 0.0 are equal.
                out.push(2);
                out.extend_from_slice(&(r + 0.0).to_bits().to_be_bytes());
            }
            ValueRef::Text(t) => {
                let t = self.prefix.map_or(t, |n| chars(t, n));
                out.push(3);
                framed(out, |out| match &self.collation {
                    Some(name) => out.extend_from_slice(&crate::collate::sort_key(name, &String::from_utf8_lossy(t))),
                    None => out.extend_from_slice(t),
                });
            }
            ValueRef::Blob(b) => {
                let b = self.prefix.map_or(b, |n| &b[..b.len().min(n)]);
                out.push(4);
                framed(out, |out| out.extend_from_slice(b));
            }
        }
        true
    }
}

/// Length before content, so that neighbours in a composite value cannot run together.
fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn chars(text: &[u8], n: usize) -> &[u8] {
    let mut seen = 0;
    for (i, b) in text.iter().enumerate() {
        if b & 0xc0 != 0x80 {
            if seen == n {
                return &text[..i];
            }
            seen += 1;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Generated, IndexKind};
    use crate::testing::{column, index, int, table, text};

    #[test]
    fn statements_of_a_plain_table() {
        let t = Arc::new(table("t", vec![column(1, "id", int()), column(2, "b", int())], &[1]));
        let l = Layout::new("s", "t", &t).expect("layout");
        assert_eq!(l.insert, r#"INSERT INTO "s"."t" ("id", "b") VALUES (?1, ?2)"#);
        assert_eq!(l.update(&[1]), r#"UPDATE "s"."t" SET "b" = ?1 WHERE "id" = ?2"#);
        assert_eq!(l.key_of([ValueRef::Int(5)]), Key::Int(5));
    }

    #[test]
    fn without_a_key_the_hidden_one_comes_first() {
        let t = Arc::new(table("t", vec![column(1, "rowid", int())], &[]));
        let l = Layout::new("s", "t", &t).expect("layout");
        assert_eq!(l.insert, r#"INSERT INTO "s"."t" (_rowid_, "rowid") VALUES (?1, ?2)"#);
        assert_eq!(l.columns, [0, 1]);
    }

    #[test]
    fn composite_values_do_not_run_together() {
        let mut t = table(
            "t",
            vec![
                column(1, "id", int()),
                column(2, "a", text("utf8mb4_bin")),
                column(3, "b", text("utf8mb4_bin")),
            ],
            &[1],
        );
        t.indexes.push(index(7, "u", IndexKind::Unique, &[2, 3]));
        let l = Layout::new("s", "t", &Arc::new(t)).expect("layout");
        let value = |a: &str, b: &str| {
            let row = [Value::Int(1), Value::Text(a.into()), Value::Text(b.into())];
            let mut out = Vec::new();
            l.uniques[0].value(|i| row[i].as_ref(), &mut out).then_some(out)
        };
        assert_ne!(value("ab", "c"), value("a", "bc"));
        assert_eq!(value("ab", "c"), value("ab", "c"));
    }

    #[test]
    fn generated_columns_of_unique_indexes_are_computed() {
        let mut t = table("t", vec![column(1, "id", int()), column(2, "g", int())], &[1]);
        t.columns[1].generated = Some(Generated {
            expr: "id + 1".into(),
            lowered: "\"id\" + 1".into(),
            stored: false,
        });
        t.indexes.push(index(7, "u", IndexKind::Unique, &[2]));
        let l = Layout::new("s", "t", &Arc::new(t)).expect("layout");
        assert_eq!((l.columns.len(), l.uniques[0].parts[0].at), (1, 1));
        let conn = rusqlite::Connection::open_in_memory().expect("memory");
        let sql = l.evaluate.expect("evaluate");
        assert_eq!(conn.query_row(&sql, [4], |r| r.get::<_, i64>(0)), Ok(5));
    }
}
