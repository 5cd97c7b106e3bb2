//! Which queries are sure to be quick: those by a whole unique key, and those without tables.
//!
//! Promises: says yes only where the plan's shape bounds the work, whatever its arguments are; never for what may wait.
//! Must not know: data.

use super::Binder;
use super::select::Block;
use super::value::{Code, fits};
use crate::sql::ast::{BinaryOp, Expr, Select, TableRef};
use crate::sql::types::Ty;
use starling_apply::catalog::IndexKind;

/// Keys looked up by one IN list (and all lists together) of a quick query.
const LOOKUPS_MAX: usize = 64;

/// A column of the only table that is held to a value, or to one of a few.
struct Held {
    column: u32,
    values: usize,
    /// To constants, not to what a block around this one gives.
    constant: bool,
}

/// One unique key, held to values.
struct Lookups {
    count: usize,
    constant: bool,
}

impl Binder<'_> {
    /// Sets `quick` and `single` of a block whose scope is still open.
    pub(crate) fn judge(&self, select: &Select, block: &mut Block) {
        let plain = self.subqueries == 0 && self.ctes.is_empty() && !self.waits;
        if select.from.is_empty() {
            block.quick = plain;
            return;
        }
        let [TableRef::Table { .. }] = select.from.as_slice() else { return };
        for lookups in self.lookups(select.filter.as_ref()) {
            block.single |= lookups.count == 1;
            block.point |= lookups.count == 1 && lookups.constant;
            block.quick |= plain && lookups.count <= LOOKUPS_MAX && lookups.constant && self.is_direct();
        }
    }

    /// Does the condition name one row of the only table in scope, by constants for a whole unique key?
    pub(crate) fn is_point(&self, filter: Option<&Expr>) -> bool {
        self.lookups(filter).iter().any(|l| l.count == 1 && l.constant)
    }

    /// The unique keys of the first table in scope that the condition holds to values.
    fn lookups(&self, filter: Option<&Expr>) -> Vec<Lookups> {
        let first = self.frames.last().and_then(|f| f.tables.first());
        let table = first.and_then(|t| self.sources[*t].table.as_ref());
        let (Some(table), Some(filter)) = (table, filter) else {
            return Vec::new();
        };
        let mut held = Vec::new();
        self.hold(filter, &mut held);
        let unique = |i: &&starling_apply::Index| matches!(i.kind, IndexKind::Primary | IndexKind::Unique);
        let mut out = Vec::new();
        for index in table.indexes.iter().filter(unique) {
            let parts: Option<Vec<&Held>> = index
                .parts
                .iter()
                .map(|p| match p.prefix {
                    None => held.iter().find(|h: &&Held| h.column == p.column),
                    Some(_) => None,
                })
                .collect();
            if let Some(parts) = parts {
                out.push(Lookups {
                    count: parts.iter().map(|h| h.values).product(),
                    constant: parts.iter().all(|h| h.constant),
                });
            }
        }
        out
    }

    fn is_direct(&self) -> bool {
        self.frames
            .last()
            .and_then(|f| f.tables.first())
            .is_some_and(|t| self.sources[*t].direct)
    }

    fn hold(&self, expr: &Expr, held: &mut Vec<Held>) {
        match expr {
            Expr::Binary {
                op: BinaryOp::And,
                left,
                right,
            } => {
                self.hold(left, held);
                self.hold(right, held);
            }
            Expr::Binary {
                op: BinaryOp::Eq,
                left,
                right,
            } => {
                for (column, value) in [(left, right), (right, left)] {
                    held.extend(self.held(column, std::slice::from_ref(value)));
                }
            }
            Expr::InList {
                expr,
                list,
                negated: false,
            } => held.extend(self.held(expr, list)),
            _ => {}
        }
    }

    /// `column` held to one of `values`, if each of them compares in the column's own form (only then its key serves, and
    /// only then a unique key means one row).
    fn held(&self, column: &Expr, values: &[Expr]) -> Option<Held> {
        let Expr::Column { db, table, name, .. } = column else {
            return None;
        };
        let (source, index) = self.find_column(db.as_deref(), table.as_deref(), name)?;
        let source = &self.sources[source];
        let id = source.table.as_ref()?.columns.get(index)?.id;
        let ty = &source.columns[index].ty;
        let mut constant = true;
        for value in values {
            match value {
                Expr::Literal { value, slot } => {
                    let code = Code::Literal {
                        value: value.clone(),
                        slot: *slot,
                    };
                    if !fits(&code, ty, true) {
                        return None;
                    }
                }
                Expr::Param(index) => {
                    let code = Code::Param(*index);
                    if !fits(&code, ty, true) || !self.agrees(&code, ty) {
                        return None;
                    }
                }
                Expr::Column { db, table, name, .. } => {
                    constant = false;
                    if !self.outer_column(db.as_deref(), table.as_deref(), name, ty) {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        Some(Held {
            column: id,
            values: values.len(),
            constant,
        })
    }

    /// Is it a column of a block around this one, of the same kind as `ty`?
    fn outer_column(&self, db: Option<&str>, table: Option<&str>, name: &str, ty: &Ty) -> bool {
        if self.find_column(db, table, name).is_some() {
            return false;
        }
        let outer = self.find_outer(db, table, name);
        outer.is_some_and(|(s, c)| {
            let other = &self.sources[s].columns[c].ty;
            other.ty == ty.ty || (other.ty.is_integer() && ty.ty.is_integer())
        })
    }
}
