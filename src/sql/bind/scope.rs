//! The name scope: which tables a query block sees, and what a name means there.
//!
//! Promises: names resolve from the inside out, as MySQL resolves them; 1052 for a name that means two things, 1054 for one
//! that means nothing; every table of a statement has a qualifier of its own, so that SQLite never mixes two.
//! Must not know: expressions.

use std::sync::Arc;

use starling_apply::{Database, Table};

use super::Binder;
use super::value::{Code, Ex, column_type};
use crate::sql::error::{Result, SqlError};
use crate::sql::lower::text::push_identifier;
use crate::sql::types::Ty;

/// A table of some FROM clause: a base table, a derived table, a CTE.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As the statement calls it.
    pub alias: String,
    /// Set for base tables without an alias (`db.t.c` may name them), and for base tables with one.
    pub db: Option<String>,
    /// How SQLite's text calls it, quoted.
    pub qualifier: String,
    pub columns: Vec<SourceColumn>,
    pub table: Option<Arc<Table>>,
    /// On the inner side of an outer join.
    pub nullable: bool,
    /// A base table whose columns carry their collation in SQLite.
    pub direct: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct SourceColumn {
    pub name: String,
    pub ty: Ty,
    /// Hidden from `*`.
    pub invisible: bool,
    /// Of a derived table: the base column it is (index into `Binder::sources` and into its columns).
    pub origin: Option<(usize, usize)>,
}

/// A column that a bare name can mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Visible {
    pub source: usize,
    pub column: usize,
    /// Merged by USING or NATURAL: stands first in `*`, and hides this many others of its name.
    pub merged: bool,
}

/// One query block's scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    /// In `*` order.
    pub visible: Vec<Visible>,
    /// Tables by index into `Binder::sources`.
    pub tables: Vec<usize>,
    /// Select expressions with their names, for GROUP BY, HAVING and ORDER BY.
    pub items: Vec<(String, Ex)>,
    /// An aggregate was bound in this block.
    pub aggregated: bool,
    /// A window function was bound in this block.
    pub windowed: bool,
    /// Columns used outside aggregates while `watch` was on: (source, column).
    pub bare: Vec<(usize, usize)>,
    /// Columns that GROUP BY names.
    pub grouped: Vec<(usize, usize)>,
    /// What GROUP BY names, as bound.
    pub groups: Vec<Code>,
    pub group_items: Vec<Ex>,
    /// A name was resolved in a frame outside of this one.
    pub correlated: bool,
}

/// What bare names may mean beside columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aliases {
    /// Columns only (select list, WHERE, ON).
    No,
    /// Columns first, then select aliases (GROUP BY, expressions in ORDER BY).
    After,
    /// Select aliases first (HAVING).
    First,
}

/// Do two names mean the same (column and alias names compare without case)?
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && !b.is_ascii() && a.to_lowercase() == b.to_lowercase())
}

impl Source {
    pub fn base(db: &Database, table: &Arc<Table>, alias: Option<&str>, qualifier: String, direct: bool) -> Source {
        let columns = table
            .columns
            .iter()
            .map(|c| SourceColumn {
                name: c.name.clone(),
                ty: column_type(&c.ty, c.nullable),
                invisible: c.invisible,
                origin: None,
            })
            .collect();
        Source {
            alias: alias.unwrap_or(&table.name).to_string(),
            db: Some(db.name.clone()),
            qualifier,
            columns,
            table: Some(Arc::clone(table)),
            nullable: false,
            direct,
        }
    }
    fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| same(&c.name, name))
    }
}

impl Binder<'_> {
    /// Adds a table to the statement's tables and to `frame`.
    pub(crate) fn push_source(&mut self, source: Source, frame: &mut Frame) -> usize {
        let index = self.sources.len();
        frame.tables.push(index);
        frame.visible.extend(
            source
                .columns
                .iter()
                .enumerate()
                .filter(|(_, c)| !c.invisible)
                .map(|(column, _)| Visible {
                    source: index,
                    column,
                    merged: false,
                }),
        );
        self.sources.push(source);
        index
    }

    /// A qualifier for SQLite's text that no other table of the statement has.
    pub(crate) fn qualifier(&mut self, wanted: &str) -> String {
        let lower = wanted.to_lowercase();
        let uses = self.qualifiers.entry(lower).or_insert(0);
        *uses += 1;
        let mut out = String::with_capacity(wanted.len() + 2);
        match *uses {
            1 => push_identifier(&mut out, wanted),
            n => push_identifier(&mut out, &format!("{wanted}~{n}")),
        }
        out
    }

    /// The column as an expression.
    pub(crate) fn column_ex(&self, source: usize, column: usize) -> Ex {
        let table = &self.sources[source];
        let found = &table.columns[column];
        let mut sql = String::with_capacity(table.qualifier.len() + found.name.len() + 3);
        sql.push_str(&table.qualifier);
        sql.push('.');
        push_identifier(&mut sql, &found.name);
        let mut ty = found.ty.clone();
        ty.nullable |= table.nullable;
        let mut ex = Ex::sql(sql, ty);
        ex.col = Some((source, column));
        ex
    }

    /// What `[[db.]table.]name` means, from the innermost block outwards.
    pub(crate) fn resolve(&mut self, db: Option<&str>, table: Option<&str>, name: &str) -> Result<Ex> {
        for depth in (0..self.frames.len()).rev() {
            let inner = depth + 1 == self.frames.len();
            let aliases = if inner && table.is_none() { self.aliases } else { Aliases::No };
            if aliases == Aliases::First
                && let Some(ex) = self.alias(depth, name)?
            {
                return Ok(ex);
            }
            if let Some((source, column)) = self.column_in(depth, db, table, name)? {
                self.note_use(depth, source, column);
                if inner && aliases == Aliases::First && !self.in_aggregate && self.rolled.is_none() {
                    self.having_column(depth, source, column, name)?;
                }
                return Ok(self.column_ex(source, column));
            }
            if aliases == Aliases::After
                && let Some(ex) = self.alias(depth, name)?
            {
                return Ok(ex);
            }
        }
        let full = [db, table, Some(name)].into_iter().flatten().collect::<Vec<_>>().join(".");
        Err(SqlError::unknown_column(&full, self.clause))
    }

    fn note_use(&mut self, depth: usize, source: usize, column: usize) {
        for frame in &mut self.frames[depth + 1..] {
            frame.correlated = true;
        }
        if !self.in_aggregate || depth + 1 < self.frames.len() {
            self.frames[depth].bare.push((source, column));
        }
    }

    /// HAVING sees, beside the select list, only what is grouped or selected.
    fn having_column(&self, depth: usize, source: usize, column: usize, name: &str) -> Result<()> {
        let frame = &self.frames[depth];
        let known = frame.grouped.contains(&(source, column)) || frame.items.iter().any(|(_, ex)| ex.col == Some((source, column)));
        if known {
            return Ok(());
        }
        Err(SqlError::unknown_column(name, self.clause))
    }

    /// A select alias; two different expressions under one name are ambiguous.
    pub(crate) fn alias(&self, depth: usize, name: &str) -> Result<Option<Ex>> {
        let mut found: Option<&Ex> = None;
        for (alias, ex) in &self.frames[depth].items {
            if !same(alias, name) {
                continue;
            }
            match found {
                None => found = Some(ex),
                Some(other) if other.code == ex.code => {}
                Some(_) => return Err(self.ambiguous(name)),
            }
        }
        Ok(found.cloned())
    }

    fn ambiguous(&self, name: &str) -> SqlError {
        SqlError::new(1052, format!("Column '{name}' in {} is ambiguous", self.clause))
    }

    fn column_in(&self, depth: usize, db: Option<&str>, table: Option<&str>, name: &str) -> Result<Option<(usize, usize)>> {
        let frame = &self.frames[depth];
        let Some(table) = table else { return self.bare_column(frame, name) };
        let mut found = None;
        for index in &frame.tables {
            let source = &self.sources[*index];
            let named = same(&source.alias, table)
                && match (db, &source.db) {
                    (None, _) => true,
                    (Some(db), Some(own)) => same(db, own),
                    (Some(_), None) => false,
                };
            if !named {
                continue;
            }
            if let Some(column) = source.find(name) {
                if found.is_some() {
                    let full = format!("{table}.{name}");
                    return Err(self.ambiguous(&full));
                }
                found = Some((*index, column));
            }
        }
        Ok(found)
    }

    fn bare_column(&self, frame: &Frame, name: &str) -> Result<Option<(usize, usize)>> {
        let mut found: Option<&Visible> = None;
        for visible in &frame.visible {
            if !same(&self.sources[visible.source].columns[visible.column].name, name) {
                continue;
            }
            if found.is_some() {
                return Err(self.ambiguous(name));
            }
            found = Some(visible);
        }
        if let Some(visible) = found {
            return Ok(Some((visible.source, visible.column)));
        }
        // Invisible columns are not in `*`, but can be named.
        let mut hidden = None;
        for index in &frame.tables {
            let source = &self.sources[*index];
            if let Some(column) = source.columns.iter().position(|c| c.invisible && same(&c.name, name)) {
                if hidden.is_some() {
                    return Err(self.ambiguous(name));
                }
                hidden = Some((*index, column));
            }
        }
        Ok(hidden)
    }
}

impl Binder<'_> {
    /// The column of the innermost block that a name means, if it means one of them.
    pub(crate) fn find_column(&self, db: Option<&str>, table: Option<&str>, name: &str) -> Option<(usize, usize)> {
        let depth = self.frames.len().checked_sub(1)?;
        self.column_in(depth, db, table, name).ok().flatten()
    }

    /// The same, in the blocks around the innermost one.
    pub(crate) fn find_outer(&self, db: Option<&str>, table: Option<&str>, name: &str) -> Option<(usize, usize)> {
        let inner = self.frames.len().checked_sub(1)?;
        (0..inner)
            .rev()
            .find_map(|depth| self.column_in(depth, db, table, name).ok().flatten())
    }
}
