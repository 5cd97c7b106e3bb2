//! Locking reads: which tables a query locks, and where the keys of the rows it returns are found.
//!
//! Promises: the keys stand behind the result's own columns; where a row of the result is not one row of each table (groups, DISTINCT,
//! UNION, derived tables), whole tables are locked. Must not know: the lock table.

use super::Binder;
use super::query::{Body, Bound};
use super::scope::same;
use super::value::Ex;
use crate::sql::ast::{Limit, LockWait, Locking, Query};
use crate::sql::error::{Result, SqlError};
use crate::sql::plan::{LockedTable, Locks};
use crate::sql::stmt::keys::key_list;
use crate::sql::types::Ty;

/// The locking clauses that hold for a query.
pub(crate) fn wanted(query: &Query, share: bool) -> Vec<Locking> {
    if query.locking.is_empty() && share {
        return vec![Locking {
            exclusive: false,
            of: Vec::new(),
            wait: LockWait::Wait,
        }];
    }
    query.locking.clone()
}

impl Binder<'_> {
    /// Appends the keys to the select list of `bound`.
    pub(crate) fn locking(&mut self, bound: &mut Bound, mut clauses: Vec<Locking>, phantoms: bool) -> Result<Option<Locks>> {
        let width = bound.columns.len();
        let inner = std::mem::take(&mut self.inner_locks);
        let whole = !inner.is_empty();
        clauses.extend(inner);
        if clauses.is_empty() || self.out.tables.is_empty() {
            return Ok(None);
        }
        let at_once = clauses.iter().any(|c| c.wait == LockWait::NoWait);
        let skip = clauses.iter().any(|c| c.wait == LockWait::SkipLocked);
        let mut point = false;
        let tables = match &mut bound.body {
            Body::Block(block) if block.plain && !whole && bound.wrap.is_none() && self.are_base(&block.tables) => {
                point = block.point;
                let mut at = width;
                let mut out = Vec::new();
                for index in block.tables.clone() {
                    let source = &self.sources[index];
                    let Some(table) = source.table.clone() else { continue };
                    let Some(exclusive) = mode(&clauses, &source.alias) else { continue };
                    let keys = key_list(&table, &source.qualifier);
                    let range = at..at + keys.len();
                    at = range.end;
                    block.items.extend(keys.into_iter().map(|k| Ex::sql(k, Ty::int(true))));
                    out.push(LockedTable {
                        table,
                        exclusive,
                        keys: Some(range),
                    });
                }
                self.check_names(&clauses, &block.tables)?;
                out
            }
            _ => {
                let exclusive = clauses.iter().any(|c| c.exclusive);
                if skip {
                    return Err(SqlError::unsupported(
                        "SKIP LOCKED where rows cannot be told apart (groups, DISTINCT, UNION, derived tables)",
                    ));
                }
                let all = self.out.tables.iter().cloned();
                all.map(|table| LockedTable {
                    table,
                    exclusive,
                    keys: None,
                })
                .collect()
            }
        };
        Ok(Some(Locks {
            tables,
            at_once,
            phantoms,
            point,
            skip,
            limit: self.lifted,
        }))
    }
    fn are_base(&self, tables: &[usize]) -> bool {
        tables.iter().all(|t| self.sources[*t].table.is_some())
    }
    /// FOR UPDATE OF x: x must be there.
    fn check_names(&self, clauses: &[Locking], tables: &[usize]) -> Result<()> {
        let known = |name: &str| tables.iter().any(|t| same(&self.sources[*t].alias, name));
        match clauses.iter().flat_map(|c| &c.of).find(|n| !known(n)) {
            Some(name) => Err(SqlError::new(3568, format!("Unresolved table name `{name}` in locking clause."))),
            None => Ok(()),
        }
    }
    /// LIMIT without effect, that keeps its arguments: whoever leaves rows out counts himself.
    pub(crate) fn lifted_limit(&mut self, limit: &Limit) -> Result<String> {
        let count = self.limit_number(&limit.count)?;
        let at = self.out.args.len() - 1;
        let offset = match &limit.offset {
            Some(offset) => Some((self.limit_number(offset)?, self.out.args.len() - 1)),
            None => None,
        };
        self.lifted = Some((at, offset.as_ref().map(|o| o.1)));
        let none = offset.map_or(String::new(), |o| format!(" OFFSET 0 * {}", o.0));
        Ok(format!(" LIMIT -1 - 0 * {count}{none}"))
    }
}

/// Is the table locked, and exclusively?
fn mode(clauses: &[Locking], alias: &str) -> Option<bool> {
    let named = |c: &&Locking| c.of.is_empty() || c.of.iter().any(|n| same(n, alias));
    clauses.iter().filter(named).map(|c| c.exclusive).reduce(|a, b| a || b)
}
