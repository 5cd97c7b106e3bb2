//! One SELECT block: select list, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT.
//!
//! Promises: names mean in each clause what they mean in MySQL; result columns are named as MySQL names them.
//! Must not know: set operations, CTEs.

use super::Binder;
use super::query::{Names, OutColumn};
use super::scope::{Aliases, Frame, same};
use super::value::Ex;
use super::variable::sorts_assigning;
use crate::sql::ast::{Expr, Limit, Literal, OrderBy, Select, SelectItem, Span, TableName};
use crate::sql::error::{Result, SqlError};
use crate::sql::plan::{Arg, How};
use crate::sql::types::Ty;

/// A bound block; its select list is written when it is known which types are wanted.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub distinct: bool,
    pub items: Vec<Ex>,
    pub columns: Vec<OutColumn>,
    /// Which items hold an aggregate (trailing ones that do not may be missing).
    pub aggregates: Vec<bool>,
    /// From FROM to HAVING, with a leading space.
    pub rest: String,
    /// ORDER BY and LIMIT, with a leading space.
    pub tail: String,
    /// The terms of ORDER BY, and the expressions of GROUP BY.
    pub order: Vec<String>,
    pub groups: Vec<Ex>,
    /// Without window functions.
    pub plain_groups: bool,
    /// Never more than one row.
    pub single: bool,
    /// Quick by its shape (see `quick`).
    pub quick: bool,
    pub correlated: bool,
    /// One row of its only table, named by constants for a whole unique key.
    pub point: bool,
    /// Its rows are rows of its tables: no groups, no DISTINCT, no windows.
    pub plain: bool,
    /// Its tables: indexes into `Binder::sources`.
    pub tables: Vec<usize>,
    /// The columns whose text decides equality need their collation in the select list.
    pub collate: bool,
}

/// What is noted of the select list beside the block itself.
pub(crate) struct Items {
    names: Vec<String>,
    /// Where each item's column uses start in `Frame::bare`; one more for the end.
    pub marks: Vec<usize>,
    /// Which of `Select::items` each one comes from.
    pub written: Vec<usize>,
}

impl Binder<'_> {
    pub(crate) fn select_block(&mut self, select: &Select, order: &[OrderBy], limit: Option<&Limit>, names: Names) -> Result<Block> {
        if !std::mem::take(&mut self.first) && select.calc_found_rows {
            return Err(SqlError::new(1234, "Incorrect usage/placement of 'SQL_CALC_FOUND_ROWS'"));
        }
        if select.rollup {
            return self.rollup_block(select, order, limit, names);
        }
        let state = self.enter_block();
        let out = self.block_inside(select, order, limit, names);
        let frame = self.leave_block(state);
        let mut block = out?;
        block.correlated = frame.correlated;
        block.plain &= !frame.windowed;
        block.plain_groups = !frame.windowed;
        block.groups = frame.group_items;
        block.tables = frame.tables;
        Ok(block)
    }

    fn enter_block(&mut self) -> State {
        let depth = self.frames.len();
        State {
            depth,
            windows: self.windows.len(),
            clause: self.clause,
            exact: std::mem::replace(&mut self.exact, false),
            aliases: std::mem::replace(&mut self.aliases, Aliases::No),
            in_aggregate: std::mem::replace(&mut self.in_aggregate, false),
            aggregates_allowed: std::mem::replace(&mut self.aggregates_allowed, false),
            windows_allowed: std::mem::replace(&mut self.windows_allowed, false),
        }
    }

    fn leave_block(&mut self, state: State) -> Frame {
        let frame = if self.frames.len() > state.depth {
            self.pop_frame()
        } else {
            Frame::default()
        };
        self.frames.truncate(state.depth);
        self.windows.truncate(state.windows);
        self.clause = state.clause;
        self.exact = state.exact;
        self.aliases = state.aliases;
        self.in_aggregate = state.in_aggregate;
        self.aggregates_allowed = state.aggregates_allowed;
        self.windows_allowed = state.windows_allowed;
        frame
    }

    fn block_inside(&mut self, select: &Select, order: &[OrderBy], limit: Option<&Limit>, names: Names) -> Result<Block> {
        let mut frame = Frame::default();
        // FROM and WHERE see rows, not groups.
        let rolled = self.rolled.take();
        let from = self.bind_from(&select.from, &mut frame)?;
        self.frames.push(frame);
        let mut block = Block {
            distinct: select.distinct,
            collate: select.distinct,
            ..Block::default()
        };
        let mut filter = self.filter(select)?;
        self.rolled = rolled;
        let listed = self.list_items(select, names, &mut block)?;
        let group = self.group_by(&select.group_by, &block)?;
        let having = self.having(select)?;
        let aggregated = self.frames.last().is_some_and(|f| f.aggregated);
        let grouped = aggregated || !select.group_by.is_empty();
        let mut order_text = self.block_order(order, &block)?;
        if grouped
            && self.scope.mode.only_full_group_by
            && self.rolled.as_ref().is_none_or(|r| r.level == 0 || r.depth != self.frames.len())
        {
            self.full_group_by(select, &block, &listed)?;
        }
        block.single = (aggregated && select.group_by.is_empty()) || select.from.is_empty();
        self.judge(select, &mut block);
        block.plain = !grouped && !select.distinct;
        let mut rest = if from.is_empty() { String::new() } else { format!(" FROM {from}") };
        let mut having = having;
        if !grouped && let Some(condition) = having.take() {
            // Without groups HAVING filters rows; SQLite knows it behind GROUP BY only.
            filter = Some(match filter {
                Some(filter) => format!("{filter} AND {condition}"),
                None => condition,
            });
        }
        if let Some(filter) = filter {
            rest.push_str(&format!(" WHERE {filter}"));
        }
        if !group.is_empty() {
            rest.push_str(&format!(" GROUP BY {}", group.join(",")));
        }
        if let Some(having) = having {
            rest.push_str(&format!(" HAVING {having}"));
        }
        if !grouped && !block.distinct && sorts_assigning(&block.items, order) {
            let terms = std::mem::take(&mut order_text);
            match self.sorted_first(&mut block.items, &terms, &rest) {
                Some(from) => rest = from,
                None => order_text = terms,
            }
        }
        block.rest = rest;
        block.tail = order_clause(&order_text);
        block.order = order_text;
        if let Some(limit) = limit {
            let text = if self.lifts_limit && self.depth == 1 {
                self.lifted_limit(limit)?
            } else {
                self.limit_text(limit)?
            };
            block.tail.push_str(&text);
            block.single |= self.limit_one(limit);
        }
        Ok(block)
    }

    fn filter(&mut self, select: &Select) -> Result<Option<String>> {
        let Some(filter) = &select.filter else { return Ok(None) };
        self.clause = "where clause";
        let ex = self.bind(filter)?;
        Ok(Some(self.truth(&ex)))
    }

    fn list_items(&mut self, select: &Select, names: Names, block: &mut Block) -> Result<Items> {
        self.clause = "field list";
        self.aggregates_allowed = true;
        self.windows_allowed = true;
        for (name, spec) in &select.windows {
            let window = self.window(spec)?;
            self.windows.push((name.clone(), window));
        }
        let mut out = Items {
            names: Vec::new(),
            marks: Vec::new(),
            written: Vec::new(),
        };
        for (index, item) in select.items.iter().enumerate() {
            self.list_item(item, names, block, &mut out)?;
            out.written.resize(out.names.len(), index);
        }
        out.marks.push(self.frames.last().map_or(0, |f| f.bare.len()));
        self.windows_allowed = false;
        let pairs = out.names.iter().cloned().zip(block.items.iter().cloned()).collect();
        if let Some(frame) = self.frames.last_mut() {
            frame.items = pairs;
        }
        Ok(out)
    }

    fn list_item(&mut self, item: &SelectItem, names: Names, block: &mut Block, out: &mut Items) -> Result<()> {
        match item {
            SelectItem::Wildcard => {
                let visible = self.frames.last().map(|f| f.visible.clone()).unwrap_or_default();
                if self.frames.last().is_none_or(|f| f.tables.is_empty()) {
                    return Err(SqlError::new(1096, "No tables used"));
                }
                for v in visible {
                    self.push_column(v.source, v.column, block, out);
                }
            }
            SelectItem::TableWildcard(table) => {
                for source in self.named_tables(table)? {
                    let count = self.sources[source].columns.len();
                    for column in (0..count)
                        .filter(|c| !self.sources[source].columns[*c].invisible)
                        .collect::<Vec<_>>()
                    {
                        self.push_column(source, column, block, out);
                    }
                }
            }
            SelectItem::Expr { expr, alias, text } => {
                let (bare, seen) = (self.frames.last().map_or(0, |f| f.bare.len()), self.seen.len());
                let before = self.set_aggregated(false);
                let outside = std::mem::replace(&mut self.exact, names == Names::Matter);
                let bound = self.bind(expr);
                self.exact = outside;
                let mut ex = bound?;
                if self
                    .rolled
                    .as_ref()
                    .is_some_and(|r| r.depth == self.frames.len() && r.items.contains(&block.items.len()))
                {
                    ex = super::rollup::null_of(&ex);
                }
                let aggregate = self.set_aggregated(before);
                if aggregate {
                    self.set_aggregated(true);
                }
                for slot in self.seen.split_off(seen) {
                    self.pin(slot);
                }
                let name = match alias {
                    Some(alias) => alias.clone(),
                    None => self.item_name(expr, *text),
                };
                out.marks.push(bare);
                self.push_item(ex, name, block, out);
                block.aggregates.resize(block.items.len() - 1, false);
                block.aggregates.push(aggregate);
            }
        }
        Ok(())
    }

    fn set_aggregated(&mut self, to: bool) -> bool {
        self.frames.last_mut().is_some_and(|f| std::mem::replace(&mut f.aggregated, to))
    }

    /// The name of a select expression without alias: its own text, a column's name, a string's value.
    fn item_name(&self, expr: &Expr, text: Span) -> String {
        match expr {
            Expr::Column { name, .. } => name.clone(),
            Expr::Literal {
                value: Literal::String { bytes, .. },
                ..
            } => String::from_utf8_lossy(bytes)
                .trim_start_matches(|c: char| c.is_whitespace() || c.is_control())
                .to_string(),
            _ => {
                let bytes = self.scope.text.get(text.start as usize..text.end as usize).unwrap_or_default();
                String::from_utf8_lossy(bytes).trim().to_string()
            }
        }
    }

    fn named_tables(&self, table: &TableName) -> Result<Vec<usize>> {
        let frame = self.frames.last();
        let found: Vec<usize> = frame
            .map(|f| f.tables.as_slice())
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(|i| {
                let source = &self.sources[*i];
                let db = match (&table.db, &source.db) {
                    (None, _) => true,
                    (Some(db), Some(own)) => same(db, own),
                    (Some(_), None) => false,
                };
                db && same(&source.alias, &table.name)
            })
            .collect();
        if found.is_empty() {
            return Err(SqlError::new(1051, format!("Unknown table '{}'", table.name)));
        }
        Ok(found)
    }

    fn push_column(&mut self, source: usize, column: usize, block: &mut Block, out: &mut Items) {
        let ex = self.column_ex(source, column);
        if let Some(frame) = self.frames.last_mut() {
            out.marks.push(frame.bare.len());
            frame.bare.push((source, column));
        }
        let name = self.sources[source].columns[column].name.clone();
        self.push_item(ex, name, block, out);
    }

    fn push_item(&mut self, ex: Ex, name: String, block: &mut Block, out: &mut Items) {
        block.columns.push(OutColumn {
            name: name.clone(),
            ty: ex.ty.clone(),
            origin: ex.col,
        });
        block.items.push(ex);
        out.names.push(name);
    }

    fn having(&mut self, select: &Select) -> Result<Option<String>> {
        let Some(having) = &select.having else { return Ok(None) };
        self.clause = "having clause";
        self.aliases = Aliases::First;
        let ex = self.bind(having)?;
        self.aliases = Aliases::No;
        Ok(Some(self.truth(&ex)))
    }

    fn block_order(&mut self, order: &[OrderBy], block: &Block) -> Result<Vec<String>> {
        self.clause = "order clause";
        self.windows_allowed = true;
        self.aliases = Aliases::After;
        let terms = self.order_by_terms(order, &block.columns, &block.items);
        self.aliases = Aliases::No;
        self.windows_allowed = false;
        terms
    }

    /// ORDER BY over a select list: positions, names of it, else expressions.
    pub(crate) fn order_by_terms(&mut self, order: &[OrderBy], columns: &[OutColumn], items: &[Ex]) -> Result<Vec<String>> {
        let mut out = Vec::with_capacity(order.len());
        for term in order {
            let direction = if term.descending { " DESC" } else { "" };
            let position = match &term.expr {
                Expr::Literal {
                    value: Literal::Integer(n),
                    slot,
                } => {
                    self.pin(*slot);
                    Some(position(*n, columns.len(), self.clause)?)
                }
                Expr::Column {
                    db: None,
                    table: None,
                    name,
                    ..
                } => self.item_named(name, columns, items)?,
                _ => None,
            };
            if let Some(index) = position {
                let item = items.get(index);
                if item.is_some_and(Ex::is_constant) {
                    continue;
                }
                let known = item.is_some_and(|ex| self.knows_collation(ex));
                let collate = if known {
                    String::new()
                } else {
                    super::compare::collate(&columns[index].ty)
                };
                out.push(format!("{}{collate}{direction}", index + 1));
                continue;
            }
            let ex = self.bind(&term.expr)?;
            if ex.is_constant() {
                continue;
            }
            let sql = self.stored(&ex).0;
            let text = self.ordered(&ex, &sql);
            out.push(format!("{text}{direction}"));
        }
        Ok(out)
    }

    /// The select expression of this name; 1052 when two different ones have it.
    fn item_named(&self, name: &str, columns: &[OutColumn], items: &[Ex]) -> Result<Option<usize>> {
        let mut found: Option<usize> = None;
        for (index, column) in columns.iter().enumerate() {
            if !same(&column.name, name) {
                continue;
            }
            match found {
                None => found = Some(index),
                Some(other) if items.get(other).map(|e| &e.code) == items.get(index).map(|e| &e.code) => {}
                Some(_) => {
                    return Err(SqlError::new(1052, format!("Column '{name}' in {} is ambiguous", self.clause)));
                }
            }
        }
        Ok(found)
    }

    pub(crate) fn limit_text(&mut self, limit: &Limit) -> Result<String> {
        let count = self.limit_number(&limit.count)?;
        Ok(match &limit.offset {
            Some(offset) => format!(" LIMIT {count} OFFSET {}", self.limit_number(offset)?),
            None => format!(" LIMIT {count}"),
        })
    }

    /// A count of rows: numbers from 2^63 on (the usual "all") are text in canonical form, and so greater than the bound.
    pub(crate) fn limit_number(&mut self, expr: &Expr) -> Result<String> {
        let ty = Ty::unsigned(false);
        let how = How::Cast;
        let arg = match expr {
            Expr::Literal {
                value: Literal::Integer(_),
                slot,
            } => self.arg(Arg::Slot { slot: *slot, ty, how }),
            Expr::Param(index) => self.arg(Arg::Param {
                index: *index,
                ty: Some(ty),
                how,
            }),
            _ => return Err(SqlError::new(1210, "Incorrect arguments to LIMIT")),
        };
        Ok(format!("min({arg},9223372036854775807)"))
    }

    fn limit_one(&mut self, limit: &Limit) -> bool {
        if let Expr::Literal {
            value: Literal::Integer(0 | 1),
            slot,
        } = limit.count
        {
            self.pin(slot);
            return true;
        }
        false
    }
}

fn order_clause(terms: &[String]) -> String {
    if terms.is_empty() {
        return String::new();
    }
    format!(" ORDER BY {}", terms.join(","))
}

/// What a block saves of the block around it.
struct State {
    depth: usize,
    windows: usize,
    clause: &'static str,
    exact: bool,
    aliases: Aliases,
    in_aggregate: bool,
    aggregates_allowed: bool,
    windows_allowed: bool,
}

/// A position in the select list, from 1.
pub(crate) fn position(n: u64, count: usize, clause: &str) -> Result<usize> {
    match usize::try_from(n) {
        Ok(n) if (1..=count).contains(&n) => Ok(n - 1),
        _ => Err(SqlError::unknown_column(&n.to_string(), clause)),
    }
}
