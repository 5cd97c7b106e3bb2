//! Own writes read: TEMP objects on a reader's connection that show tables as an open transaction sees them.
//!
//! For each table of the overlay: `__own_rows_<id>` holds the rows it wrote, `__own_gone_<id>` every key it touched, and the view
//! `__own_<id>` shows the rows of the base whose key was not touched, and the written ones behind them. Columns have the names,
//! affinities and collations of the base table, so a condition is pushed down into both arms.
//!
//! Promises: brought up to date by what was added since the last time only; after `clear` the connection holds nothing of it.
//! Must not know: snapshots. (TEMP objects live in memory: they take as much as the overlay.)

use std::sync::Arc;

use rusqlite::Connection;
use starling_log::{ChangeRef, Op};

use crate::capture::image_shape;
use crate::catalog::{Catalog, Table};
use crate::engine::ApplyError;
use crate::engine::files;
use crate::lane::replay::Plan;
use crate::layout::{Bind, Layout};
use crate::materialize::FoldError;
use crate::overlay::{Changed, Content, OverlayMark};
use crate::physical::{self, quote};
use crate::shape::{Image, bit, value};

/// Schema and name of the view that shows a table as an open transaction sees it.
pub fn shadow_name(table: u64) -> String {
    format!("\"temp\".\"__own_{table}\"")
}

/// What stands on one connection.
#[derive(Default)]
pub(crate) struct Shadow {
    overlay: u64,
    truncations: u64,
    mark: OverlayMark,
    tables: Vec<Own>,
}

struct Own {
    id: u64,
    /// Positions of the key in images.
    key: Vec<usize>,
    rows: Layout,
    at: Vec<usize>,
    gone: String,
}

impl Shadow {
    pub fn follow(&mut self, conn: &Connection, content: &Content, catalog: &Catalog) -> Result<(), ApplyError> {
        if self.overlay != content.id() || self.truncations != content.truncations() {
            self.clear(conn)?;
            self.overlay = content.id();
            self.truncations = content.truncations();
        }
        if self.mark == content.mark() {
            return Ok(());
        }
        files::run(conn, "SAVEPOINT own")?;
        let made = self.tables.len();
        let outcome = self.extend(conn, content, catalog);
        if outcome.is_err() {
            files::run(conn, "ROLLBACK TO own")?;
            self.tables.truncate(made);
        }
        files::run(conn, "RELEASE own")?;
        outcome
    }

    fn extend(&mut self, conn: &Connection, content: &Content, catalog: &Catalog) -> Result<(), ApplyError> {
        for changed in content.tables.iter().skip(self.tables.len()) {
            let now = catalog.table(&changed.schema, &changed.table.name);
            if now.is_none_or(|t| **t != *changed.table) {
                return Err(ApplyError::Changed(changed.table.name.clone()));
            }
            self.tables.push(Own::make(conn, changed)?);
        }
        let mut plans: Vec<Plan<'_>> = self.tables.iter().map(|t| Plan::new(&t.rows, &t.at)).collect();
        content.each(self.mark, |_, change| {
            let (Some(plan), Some(own)) = (plans.get_mut(change.table), self.tables.get(change.table)) else {
                return Err(FoldError::Broken("an overlay without its table".to_owned()));
            };
            own.touch(conn, &change)?;
            plan.write(conn, &change)
        })?;
        drop(plans);
        self.mark = content.mark();
        Ok(())
    }

    /// Takes all of it away.
    pub fn clear(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for own in &self.tables {
            let id = own.id;
            conn.execute_batch(&format!(
                "DROP VIEW IF EXISTS temp.__own_{id}; DROP TABLE IF EXISTS temp.__own_rows_{id}; DROP TABLE IF EXISTS temp.__own_gone_{id};"
            ))?;
        }
        *self = Shadow::default();
        Ok(())
    }
}

impl Own {
    fn make(conn: &Connection, changed: &Changed) -> Result<Own, ApplyError> {
        let table = &changed.table;
        let id = table.id;
        let (rows, gone) = (format!("__own_rows_{id}"), format!("__own_gone_{id}"));
        let mut plain = Table::clone(table);
        plain.foreign_keys.clear();
        plain.checks.clear();
        plain.indexes.retain(|i| i.kind == crate::catalog::IndexKind::Primary);
        create(conn, &rows, &plain)?;
        let plain = Arc::new(plain);
        let layout = Layout::new("temp", &rows, &plain).map_err(FoldError::Broken)?;
        let (header, _) = image_shape(table);
        let position = |id: &u32| header.columns.iter().position(|c| c == id);
        let at: Option<Vec<usize>> = layout.columns.iter().map(position).collect();
        let key: Vec<usize> = header.key.iter().map(|k| usize::from(*k)).collect();
        let mut keys = Table::clone(&plain);
        keys.columns.retain(|c| table.key_columns().contains(&c.id));
        if keys.columns.is_empty() {
            conn.execute_batch(&format!("CREATE TABLE temp.{gone} (k INTEGER PRIMARY KEY)"))?;
        } else {
            create(conn, &gone, &keys)?;
        }
        let (names, same) = key_terms(table);
        let marks: Vec<String> = (1..=key.len()).map(|i| format!("?{i}")).collect();
        let mut columns: Vec<String> = table.columns.iter().map(|c| quote(&c.name)).collect();
        if table.primary().is_none() {
            let hidden = physical::hidden_key(table);
            columns.push(format!("{hidden} AS {}", quote(hidden)));
        }
        let columns = columns.join(", ");
        conn.execute_batch(&format!(
            "CREATE TEMP VIEW __own_{id} AS
             SELECT {columns} FROM {}.{} AS b WHERE NOT EXISTS (SELECT 1 FROM temp.{gone} AS g WHERE {same})
             UNION ALL SELECT {columns} FROM temp.{rows}",
            quote(&changed.schema),
            quote(&table.name),
        ))?;
        Ok(Own {
            id,
            key,
            rows: layout,
            at: at.ok_or_else(|| FoldError::Broken(format!("images of {} lack a column", table.name)))?,
            gone: format!(
                "INSERT OR IGNORE INTO temp.{gone} ({}) VALUES ({})",
                names.join(", "),
                marks.join(", ")
            ),
        })
    }

    /// Rows of the base under the keys of a change are not seen any more.
    fn touch(&self, conn: &Connection, change: &ChangeRef<'_>) -> Result<(), FoldError> {
        let mut statement = conn.prepare_cached(&self.gone)?;
        for (i, part) in change.key.iter().enumerate() {
            statement.raw_bind_parameter(i + 1, Bind(part))?;
        }
        statement.raw_execute()?;
        let moved = change.changed.is_some_and(|bits| self.key.iter().any(|k| bit(bits, *k)));
        if let Some(after) = change.after.filter(|_| moved && change.op == Op::Update) {
            let image: Image<'_> = after.iter().collect();
            for (i, k) in self.key.iter().enumerate() {
                statement.raw_bind_parameter(i + 1, Bind(value(&image, *k)))?;
            }
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// Names of the key columns in the table of keys, and when such a key `g` is that of a row `b`.
fn key_terms(table: &Table) -> (Vec<String>, String) {
    let Some(primary) = table.primary() else {
        return (vec!["k".to_owned()], format!("g.k = b.{}", physical::hidden_key(table)));
    };
    let (mut names, mut terms) = (Vec::new(), Vec::new());
    for part in &primary.parts {
        let Some(column) = table.column_by_id(part.column) else { continue };
        let name = quote(&column.name);
        terms.push(match physical::prefix(table, part) {
            None => format!("g.{name} = b.{name}"),
            Some(n) => {
                let collate = physical::collation(&column.ty).map_or(String::new(), |c| format!(" COLLATE {}", quote(c)));
                format!("substr(g.{name}, 1, {n}){collate} = substr(b.{name}, 1, {n}){collate}")
            }
        });
        names.push(name);
    }
    (names, terms.join(" AND "))
}

fn create(conn: &Connection, name: &str, table: &Table) -> rusqlite::Result<()> {
    conn.execute_batch(&physical::create_sql("temp", name, table))?;
    let Some(primary) = table.primary() else { return Ok(()) };
    // Where the key is an index of its own: named after this copy, of which there are two.
    let mut index = primary.clone();
    index.id = if name.starts_with("__own_rows") { 1 } else { 2 };
    if !physical::is_stored(table, primary) {
        return Ok(());
    }
    match physical::index_sql("temp", name, table, &index) {
        Some(sql) => conn.execute_batch(&sql),
        None => Ok(()),
    }
}
