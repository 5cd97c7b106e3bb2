//! GROUP BY, and what ONLY_FULL_GROUP_BY lets stand beside it.
//!
//! Promises: 1056, 1055 and 1140 where MySQL gives them for base tables; what depends on a grouped key, or on a constant, is
//! accepted. Of derived tables, whose keys are not known here, a column is accepted beside any grouped one.
//! Must not know: how groups are computed.

use super::Binder;
use super::scope::Aliases;
use super::select::{Block, Items, position};
use super::value::Ex;
use crate::sql::ast::{BinaryOp, Expr, JoinKind, JoinOn, Literal, Select, SelectItem, TableRef};
use crate::sql::error::{Result, SqlError};
use starling_apply::catalog::IndexKind;

type Column = (usize, usize);

/// What WHERE and ON say of columns.
#[derive(Default)]
struct Facts {
    constant: Vec<Column>,
    equal: Vec<(Column, Column)>,
}

impl Binder<'_> {
    /// The GROUP BY list's text.
    pub(crate) fn group_by(&mut self, list: &[Expr], block: &Block) -> Result<Vec<String>> {
        self.clause = "group statement";
        self.aliases = Aliases::After;
        let allowed = std::mem::replace(&mut self.aggregates_allowed, false);
        let uses = self.frames.last().map_or(0, |f| f.bare.len());
        let mut out = Vec::with_capacity(list.len());
        let bound = self.group_terms(list, block, &mut out);
        if let Some(frame) = self.frames.last_mut() {
            frame.bare.truncate(uses);
        }
        self.aggregates_allowed = allowed;
        self.aliases = Aliases::No;
        bound.map(|()| out)
    }

    fn group_terms(&mut self, list: &[Expr], block: &Block, out: &mut Vec<String>) -> Result<()> {
        for expr in list {
            let ex = match expr {
                Expr::Literal {
                    value: Literal::Integer(n),
                    slot,
                } => {
                    self.pin(*slot);
                    let index = position(*n, block.items.len(), self.clause)?;
                    self.group_item(block, index)?
                }
                _ => {
                    let ex = self.bind(expr)?;
                    let aliased = block.items.iter().position(|i| !i.is_constant() && i.code == ex.code);
                    match aliased {
                        Some(index) => self.group_item(block, index)?,
                        None => ex,
                    }
                }
            };
            if let Some(frame) = self.frames.last_mut() {
                frame.grouped.extend(ex.col);
                frame.groups.push(ex.code.clone());
                frame.group_items.push(ex.clone());
            }
            if ex.is_constant() {
                // A bare number would be a position to SQLite.
                out.push("NULL".into());
                continue;
            }
            let sql = self.stored(&ex).0;
            out.push(self.ordered(&ex, &sql));
        }
        Ok(())
    }

    fn group_item(&self, block: &Block, index: usize) -> Result<Ex> {
        if block.aggregates.get(index).copied().unwrap_or(false) {
            return Err(SqlError::new(1056, format!("Can't group on '{}'", block.columns[index].name)));
        }
        Ok(block.items[index].clone())
    }

    /// 1055 and 1140.
    pub(crate) fn full_group_by(&mut self, select: &Select, block: &Block, items: &Items) -> Result<()> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let uses: Vec<Column> = frame.bare.clone();
        let grouped = frame.grouped.clone();
        if uses.iter().all(|u| grouped.contains(u)) {
            return Ok(());
        }
        let groups: Vec<String> = select.group_by.iter().map(shape).collect();
        let mut determined = grouped;
        let mut facts = Facts::default();
        if let Some(filter) = &select.filter {
            self.facts(filter, &mut facts);
        }
        for table in &select.from {
            self.join_facts(table, &mut facts);
        }
        determined.extend(&facts.constant);
        self.close(&mut determined, &facts);
        for index in 0..block.items.len() {
            if self.frames.last().is_some_and(|f| f.groups.contains(&block.items[index].code)) {
                continue;
            }
            let written = items.written.get(index).and_then(|i| select.items.get(*i));
            if let Some(SelectItem::Expr { expr, .. }) = written {
                let own = shape(expr);
                if groups.iter().any(|g| own.contains(g.as_str())) {
                    continue;
                }
            }
            let (from, to) = (items.marks[index], items.marks[index + 1]);
            let free = uses
                .get(from..to)
                .unwrap_or_default()
                .iter()
                .find(|c| !self.accepted(**c, &determined));
            if let Some(column) = free {
                return Err(self.not_grouped(index + 1, *column, select.group_by.is_empty()));
            }
        }
        Ok(())
    }

    fn accepted(&self, column: Column, determined: &[Column]) -> bool {
        let derived = self.sources[column.0].table.is_none();
        determined.contains(&column) || (derived && determined.iter().any(|d| d.0 == column.0))
    }

    fn not_grouped(&self, number: usize, column: Column, no_groups: bool) -> SqlError {
        let source = &self.sources[column.0];
        let mut name = format!("{}.{}", source.alias, source.columns[column.1].name);
        if let Some(db) = &source.db {
            name = format!("{db}.{name}");
        }
        if no_groups {
            return SqlError::new(
                1140,
                format!(
                    "In aggregated query without GROUP BY, expression #{number} of SELECT list contains nonaggregated column '{name}'; this is incompatible with sql_mode=only_full_group_by"
                ),
            );
        }
        SqlError::new(
            1055,
            format!(
                "Expression #{number} of SELECT list is not in GROUP BY clause and contains nonaggregated column '{name}' which is not functionally dependent on columns in GROUP BY clause; this is incompatible with sql_mode=only_full_group_by"
            ),
        )
    }

    /// Adds what follows from equalities and keys until nothing more does.
    fn close(&self, determined: &mut Vec<Column>, facts: &Facts) {
        loop {
            let before = determined.len();
            for (a, b) in &facts.equal {
                if determined.contains(a) && !determined.contains(b) {
                    determined.push(*b);
                }
                if determined.contains(b) && !determined.contains(a) {
                    determined.push(*a);
                }
            }
            let tables = self.frames.last().map(|f| f.tables.clone()).unwrap_or_default();
            for source in tables {
                if self.key_determined(source, determined) {
                    let all = (0..self.sources[source].columns.len()).map(|c| (source, c));
                    let new: Vec<Column> = all.filter(|c| !determined.contains(c)).collect();
                    determined.extend(new);
                }
            }
            if determined.len() == before {
                return;
            }
        }
    }

    fn key_determined(&self, source: usize, determined: &[Column]) -> bool {
        let Some(table) = &self.sources[source].table else { return false };
        table.indexes.iter().any(|index| {
            let unique = matches!(index.kind, IndexKind::Primary | IndexKind::Unique);
            unique
                && index.parts.iter().all(|part| {
                    let position = table.columns.iter().position(|c| c.id == part.column);
                    part.prefix.is_none() && position.is_some_and(|p| !table.columns[p].nullable && determined.contains(&(source, p)))
                })
        })
    }

    fn column_of(&self, expr: &Expr) -> Option<Column> {
        let Expr::Column { db, table, name, .. } = expr else { return None };
        self.find_column(db.as_deref(), table.as_deref(), name)
    }

    fn facts(&self, expr: &Expr, facts: &mut Facts) {
        let Expr::Binary { op, left, right } = expr else { return };
        match op {
            BinaryOp::And => {
                self.facts(left, facts);
                self.facts(right, facts);
            }
            BinaryOp::Eq => match (self.column_of(left), self.column_of(right)) {
                (Some(a), Some(b)) => facts.equal.push((a, b)),
                (Some(a), None) if constant(right) => facts.constant.push(a),
                (None, Some(b)) if constant(left) => facts.constant.push(b),
                _ => {}
            },
            _ => {}
        }
    }

    fn join_facts(&self, table: &TableRef, facts: &mut Facts) {
        match table {
            TableRef::Join { kind, left, right, on } => {
                self.join_facts(left, facts);
                self.join_facts(right, facts);
                if let (JoinOn::On(expr), JoinKind::Inner | JoinKind::Straight | JoinKind::Left | JoinKind::Right) = (on, kind) {
                    self.facts(expr, facts);
                }
            }
            TableRef::List(list) => list.iter().for_each(|t| self.join_facts(t, facts)),
            _ => {}
        }
    }
}

fn constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal { .. } | Expr::Param(_) | Expr::UserVar(_) | Expr::SysVar { .. })
}

/// An expression's form without the places where it stands: equal for equal expressions.
pub(crate) fn shape(expr: &Expr) -> String {
    let text = format!("{expr:?}");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = ["slot: ", "start: ", "end: "]
        .iter()
        .filter_map(|k| rest.find(k).map(|i| i + k.len()))
        .min()
    {
        out.push_str(&rest[..at]);
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    out
}
