//! Which queries are sure to be quick: those by a whole unique key, and those without tables.
//!
//! Promises: says yes only where the plan's shape bounds the work, whatever its arguments are; never for what may wait.
//! Must not know: data.

use super::Binder;
use super::select::Block;
use crate::sql::ast::{BinaryOp, Expr, Select, TableRef};
use starling_apply::catalog::IndexKind;

/// Keys looked up by one IN list (and all lists together) of a quick query.
const LOOKUPS_MAX: usize = 64;

/// Columns of the only table that are held to constants: how many values each may have.
type Held = Vec<(u32, usize)>;

impl Binder<'_> {
    /// Sets `quick` and `single` of a block whose scope is still open.
    pub(crate) fn judge(&self, select: &Select, block: &mut Block) {
        let plain = self.subqueries == 0 && self.ctes.is_empty() && !self.waits;
        if select.from.is_empty() {
            block.quick = plain;
            return;
        }
        let [TableRef::Table { .. }] = select.from.as_slice() else { return };
        let Some(table) = self
            .frames
            .last()
            .and_then(|f| f.tables.first())
            .and_then(|t| self.sources[*t].table.as_ref())
        else {
            return;
        };
        let mut held = Held::new();
        if let Some(filter) = &select.filter {
            self.hold(filter, &mut held);
        }
        for index in &table.indexes {
            if !matches!(index.kind, IndexKind::Primary | IndexKind::Unique) {
                continue;
            }
            let counts: Option<Vec<usize>> = index
                .parts
                .iter()
                .map(|p| match p.prefix {
                    None => held.iter().find(|(c, _)| *c == p.column).map(|(_, n)| *n),
                    Some(_) => None,
                })
                .collect();
            let Some(counts) = counts else { continue };
            let lookups: usize = counts.iter().product();
            block.single |= lookups == 1;
            block.quick |= plain && lookups <= LOOKUPS_MAX && self.is_direct();
        }
    }

    fn is_direct(&self) -> bool {
        self.frames
            .last()
            .and_then(|f| f.tables.first())
            .is_some_and(|t| self.sources[*t].direct)
    }

    fn hold(&self, expr: &Expr, held: &mut Held) {
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
                    if constant(value)
                        && let Some(id) = self.column_id(column)
                    {
                        held.push((id, 1));
                    }
                }
            }
            Expr::InList {
                expr,
                list,
                negated: false,
            } if list.iter().all(constant) => {
                if let Some(id) = self.column_id(expr) {
                    held.push((id, list.len()));
                }
            }
            _ => {}
        }
    }

    fn column_id(&self, expr: &Expr) -> Option<u32> {
        let Expr::Column { db, table, name, .. } = expr else { return None };
        let (source, column) = self.find_column(db.as_deref(), table.as_deref(), name)?;
        let table = self.sources[source].table.as_ref()?;
        table.columns.get(column).map(|c| c.id)
    }
}

fn constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal { .. } | Expr::Param(_))
}
