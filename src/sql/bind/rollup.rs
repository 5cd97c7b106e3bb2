//! GROUP BY … WITH ROLLUP: one arm for each level, from all groups down to none; what a level has rolled up is NULL outside of
//! aggregates.
//!
//! Promises: super-aggregate rows follow the rows they sum up, unless ORDER BY says otherwise; GROUPING() tells them from
//! groups of NULL. Must not know: how a block is bound.

use super::Binder;
use super::expr::one_column;
use super::query::Names;
use super::select::Block;
use super::value::{Code, Ex};
use crate::sql::ast::{Call, Expr, Limit, Literal, NO_SLOT, OrderBy, Select};
use crate::sql::error::{Result, SqlError};
use crate::sql::types::Ty;

/// What the level being bound has rolled up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rolled {
    /// 0: the groups themselves.
    pub level: usize,
    /// How many blocks are open inside of its own.
    pub depth: usize,
    columns: Vec<(String, usize)>,
    shapes: Vec<String>,
    /// Positions in the select list.
    pub items: Vec<usize>,
}

impl Binder<'_> {
    pub(crate) fn rollup_block(&mut self, select: &Select, order: &[OrderBy], limit: Option<&Limit>, names: Names) -> Result<Block> {
        if self.rolled.is_some() {
            return Err(SqlError::unsupported("WITH ROLLUP within a query WITH ROLLUP"));
        }
        let ascending: Vec<OrderBy> = order
            .iter()
            .map(|o| OrderBy {
                expr: o.expr.clone(),
                descending: false,
            })
            .collect();
        let qualifiers = self.qualifiers.clone();
        let count = select.group_by.len();
        let mut groups: Vec<Ex> = Vec::new();
        let mut arms = Vec::with_capacity(count + 1);
        let mut first: Option<Block> = None;
        for level in 0..=count {
            let kept = count - level;
            self.qualifiers.clone_from(&qualifiers);
            let mut own = select.clone();
            own.rollup = false;
            own.distinct = false;
            own.group_by.truncate(kept);
            if kept == 0 {
                own.group_by.push(Expr::Literal {
                    value: Literal::Null,
                    slot: NO_SLOT,
                });
            }
            self.rolled = Some(self.rolled_up(select, &groups, first.as_ref(), kept, level));
            let bound = self.select_block(&own, &ascending, None, names);
            self.rolled = None;
            let block = bound?;
            if level == 0 {
                if !block.plain_groups {
                    return Err(SqlError::unsupported("window functions WITH ROLLUP"));
                }
                groups.clone_from(&block.groups);
            }
            arms.push(self.arm(&block, &groups, kept));
            first.get_or_insert(block);
        }
        let first = first.ok_or_else(|| SqlError::internal("no level"))?;
        self.around(select, first, &groups, arms, order, limit)
    }

    fn rolled_up(&self, select: &Select, groups: &[Ex], first: Option<&Block>, kept: usize, level: usize) -> Rolled {
        let mut out = Rolled {
            level,
            depth: self.frames.len() + 1,
            ..Rolled::default()
        };
        let Some(first) = first else { return out };
        for (ex, expr) in groups.iter().zip(&select.group_by).skip(kept) {
            if let Some((source, column)) = ex.col {
                out.columns.push((self.sources[source].qualifier.clone(), column));
            } else if !matches!(expr, Expr::Literal { .. } | Expr::Column { .. }) {
                out.shapes.push(super::group::shape(expr));
            }
            out.items.extend((0..first.items.len()).filter(|i| first.items[*i].code == ex.code));
        }
        out
    }

    /// One level's text: the items, the groups (NULL where rolled up) with their flags, the terms of ORDER BY.
    fn arm(&mut self, block: &Block, groups: &[Ex], kept: usize) -> String {
        let mut out = Vec::new();
        for (n, item) in block.items.iter().enumerate() {
            let sql = self.stored(item).0;
            out.push(format!("{} AS c{n}", self.ordered(item, &sql)));
        }
        for (n, group) in groups.iter().enumerate() {
            let sql = self.stored(group).0;
            let sql = if n < kept { self.ordered(group, &sql) } else { "NULL".into() };
            out.push(format!("{sql} AS g{n},{} AS f{n}", u8::from(n >= kept)));
        }
        for (n, term) in block.order.iter().enumerate() {
            let digits = term.bytes().take_while(u8::is_ascii_digit).count();
            let sql = if digits > 0 { "NULL" } else { term };
            out.push(format!("{sql} AS o{n}"));
        }
        format!("SELECT {}{}", out.join(","), block.rest)
    }

    fn around(
        &mut self,
        select: &Select,
        first: Block,
        groups: &[Ex],
        arms: Vec<String>,
        order: &[OrderBy],
        limit: Option<&Limit>,
    ) -> Result<Block> {
        let qualifier = self.qualifier("rollup");
        let mut terms = Vec::new();
        if first.order.len() != order.len() {
            return Err(SqlError::unsupported("ORDER BY of a constant WITH ROLLUP"));
        }
        for (n, (term, asked)) in first.order.iter().zip(order).enumerate() {
            let digits = term.bytes().take_while(u8::is_ascii_digit).count();
            let direction = if asked.descending { " DESC" } else { "" };
            terms.push(match term[..digits].parse::<usize>() {
                Ok(position) => format!("{qualifier}.c{}{}{direction}", position.saturating_sub(1), &term[digits..]),
                Err(_) => format!("{qualifier}.o{n}{direction}"),
            });
        }
        if order.is_empty() {
            for n in 0..groups.len() {
                terms.push(format!("{qualifier}.f{n}"));
                terms.push(format!("{qualifier}.g{n}"));
            }
        }
        let mut block = Block {
            distinct: select.distinct,
            collate: select.distinct,
            rest: format!(" FROM ({}) AS {qualifier}", arms.join(" UNION ALL ")),
            tail: if terms.is_empty() {
                String::new()
            } else {
                format!(" ORDER BY {}", terms.join(","))
            },
            correlated: first.correlated,
            ..Block::default()
        };
        for (n, (item, mut column)) in first.items.iter().zip(first.columns).enumerate() {
            let mut ty = item.ty.clone();
            ty.nullable = true;
            column.ty = ty.clone();
            column.origin = None;
            block.items.push(Ex::sql(format!("{qualifier}.c{n}"), ty));
            block.columns.push(column);
        }
        if let Some(limit) = limit {
            let text = self.limit_text(limit)?;
            block.tail.push_str(&text);
        }
        Ok(block)
    }

    /// The expression, or NULL where the level has rolled it up.
    pub(crate) fn unless_rolled(&mut self, expr: &Expr, ex: Ex) -> Ex {
        let Some(rolled) = &self.rolled else { return ex };
        if rolled.level == 0 || self.in_aggregate {
            return ex;
        }
        let column = ex
            .col
            .is_some_and(|(s, c)| rolled.columns.iter().any(|(q, n)| *n == c && *q == self.sources[s].qualifier));
        let own = self.frames.len() == rolled.depth;
        let shaped = own && !rolled.shapes.is_empty() && rolled.shapes.contains(&super::group::shape(expr));
        if column || shaped { null_of(&ex) } else { ex }
    }

    /// GROUPING(e, …): bits from the right, set where the level has rolled e up.
    pub(crate) fn grouping(&mut self, call: &Call) -> Result<Ex> {
        if self.rolled.is_none() || call.args.is_empty() {
            return Err(SqlError::new(1111, "Invalid use of group function"));
        }
        let mut bits = 0u64;
        for arg in &call.args {
            one_column(usize::from(!matches!(arg, Expr::Row(_))))?;
            let ex = self.bind(arg)?;
            bits = bits << 1 | u64::from(matches!(&ex.code, Code::Sql(sql) if sql == ROLLED));
        }
        Ok(Ex::sql(bits.to_string(), Ty::int(false)))
    }
}

/// A rolled-up value's text: NULL, told from others.
const ROLLED: &str = "(NULL)";

pub(crate) fn null_of(ex: &Ex) -> Ex {
    let mut ty = ex.ty.clone();
    ty.nullable = true;
    Ex::sql(ROLLED, ty)
}
