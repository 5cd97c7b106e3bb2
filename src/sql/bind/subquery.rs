//! Subqueries inside expressions: scalar, IN, ANY and ALL, rows.
//!
//! Promises: a scalar subquery with a second row is MySQL's 1242; three-valued logic of IN, ANY and ALL; both sides in one form,
//! under one collation. Must not know: how the inner query is built.

use super::Binder;
use super::compare::{collate, spelling};
use super::expr::one_column;
use super::query::{Bound, Names};
use super::value::{Ex, fits};
use crate::sql::ast::{BinaryOp, Expr, Quantifier, Query};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::convert::{self, Form, form};
use crate::sql::plan::How;
use crate::sql::types::Ty;
use starling_apply::BaseType;

fn columns(count: usize) -> SqlError {
    SqlError::new(1241, format!("Operand should contain {count} column(s)"))
}

impl Binder<'_> {
    fn inner(&mut self, query: &Query) -> Result<Bound> {
        // What a select list shows is described exactly, through a scalar subquery as well.
        let names = if self.exact { Names::Matter } else { Names::Free };
        let bound = self.query(query, names)?;
        self.subqueries += 1;
        Ok(bound)
    }

    fn inner_set(&mut self, query: &Query) -> Result<Bound> {
        if query.limit.is_some() {
            return Err(SqlError::unsupported("LIMIT & IN/ALL/ANY/SOME subquery"));
        }
        self.inner(query)
    }

    /// `(SELECT one column, at most one row)`
    pub(crate) fn scalar(&mut self, query: &Query) -> Result<Ex> {
        let bound = self.inner(query)?;
        one_column(bound.columns.len())?;
        let mut ty = bound.columns[0].ty.clone();
        ty.nullable = true;
        let mut bound = bound;
        bound.columns[0].name = "value".into();
        let sql = self.write(&bound, None, !bound.single);
        Ok(Ex::sql(guarded(&sql, bound.single), ty))
    }

    /// `e [NOT] IN (query)`
    pub(crate) fn in_query(&mut self, expr: &Expr, query: &Query, negated: bool) -> Result<Ex> {
        let left = match expr {
            Expr::Row(items) => items.iter().map(|e| self.bind(e)).collect::<Result<Vec<_>>>()?,
            one => vec![self.bind(one)?],
        };
        let bound = self.inner_set(query)?;
        if bound.columns.len() != left.len() {
            return Err(columns(left.len()));
        }
        let (lefts, targets) = self.aligned(&left, &bound)?;
        let nullable = left.iter().any(|l| l.ty.nullable) || bound.columns.iter().any(|c| c.ty.nullable);
        let sql = self.write(&bound, Some(&targets), false);
        let side = if lefts.len() == 1 {
            lefts[0].clone()
        } else {
            format!("({})", lefts.join(","))
        };
        let not = if negated { "NOT " } else { "" };
        Ok(Ex::boolean(format!("{side} {not}IN ({sql})"), nullable))
    }

    /// The left sides and the types of the query's columns, so that each pair compares.
    fn aligned(&mut self, left: &[Ex], bound: &Bound) -> Result<(Vec<String>, Vec<Ty>)> {
        let mut lefts = Vec::with_capacity(left.len());
        let mut targets = Vec::with_capacity(left.len());
        for (ex, column) in left.iter().zip(&bound.columns) {
            if fits(&ex.code, &column.ty, true) {
                let sql = self.constant(&ex.code, &column.ty, How::Compare);
                lefts.push(format!("{sql}{}", collate(&column.ty)));
                targets.push(column.ty.clone());
                continue;
            }
            let stamps = ex.ty.ty.base == BaseType::Timestamp && ex.ty.ty == column.ty.ty;
            if stamps || (ex.ty.ty == column.ty.ty && self.knows_collation(ex)) {
                lefts.push(self.stored(ex).0);
                targets.push(column.ty.clone());
                continue;
            }
            super::emit::check_collations(&[&ex.ty, &column.ty], "IN")?;
            let (sql, from) = self.text(ex);
            let mut read = column.ty.clone();
            if read.ty.base == BaseType::Timestamp {
                read.ty.base = BaseType::DateTime;
            }
            let ty = convert::comparison(&[&from, &read]);
            if form(&ty) == Form::Json {
                return Err(SqlError::unsupported("comparison of JSON with a subquery"));
            }
            lefts.push(format!("{}{}", convert::to_type(&sql, &from, &ty), collate(&ty)));
            targets.push(ty);
        }
        Ok((lefts, targets))
    }

    /// `e op ANY|ALL (query)`
    pub(crate) fn quantified(&mut self, op: BinaryOp, left: &Expr, quantifier: Quantifier, query: &Query) -> Result<Ex> {
        match (op, quantifier) {
            (BinaryOp::Eq, Quantifier::Any) => return self.in_query(left, query, false),
            (BinaryOp::Ne, Quantifier::All) => return self.in_query(left, query, true),
            _ => {}
        }
        let left = self.bind(left)?;
        let bound = self.inner_set(query)?;
        one_column(bound.columns.len())?;
        let mut bound = bound;
        bound.columns[0].name = "value".into();
        let ty = bound.columns[0].ty.clone();
        let sql = self.write(&bound, None, true);
        let table = self.qualifier("any");
        let value = Ex::sql(format!("{table}.\"value\""), ty);
        let test = self.compare(op, &left, &value)?;
        let test = self.stored(&test).0;
        let found = |truth: &str| format!("max({test} IS {truth})");
        let (decisive, verdict, other) = match quantifier {
            Quantifier::Any => (found("1"), "1", "0"),
            Quantifier::All => (found("0"), "0", "1"),
        };
        let unknown = found("NULL");
        Ok(Ex::boolean(
            format!("SELECT CASE WHEN {decisive} THEN {verdict} WHEN {unknown} THEN NULL ELSE {other} END FROM ({sql}) AS {table}"),
            true,
        ))
    }

    /// `(a, b) op (c, d)`, `(a, b) op (SELECT …)`
    pub(crate) fn row_compare(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Ex> {
        match (left, right) {
            (Expr::Row(l), Expr::Row(r)) => {
                if l.len() != r.len() {
                    return Err(columns(l.len()));
                }
                self.rows(op, l, r)
            }
            (Expr::Row(l), Expr::Subquery(query)) => self.row_query(op, l, query),
            (Expr::Subquery(query), Expr::Row(r)) => self.row_query(flipped(op), r, query),
            (Expr::Row(l), _) => Err(columns(l.len())),
            _ => Err(columns(1)),
        }
    }

    fn rows(&mut self, op: BinaryOp, left: &[Expr], right: &[Expr]) -> Result<Ex> {
        let mut pairs = Vec::with_capacity(left.len());
        for (l, r) in left.iter().zip(right) {
            if let (Expr::Row(l), Expr::Row(r)) = (l, r) {
                if l.len() != r.len() {
                    return Err(columns(l.len()));
                }
                return Err(SqlError::unsupported("rows within rows"));
            }
            pairs.push((self.bind(l)?, self.bind(r)?));
        }
        match op {
            BinaryOp::Eq | BinaryOp::NullSafeEq => self.all_of(op, &pairs),
            BinaryOp::Ne => {
                let equal = self.all_of(BinaryOp::Eq, &pairs)?;
                let nullable = equal.ty.nullable;
                let sql = self.stored(&equal).0;
                Ok(Ex::boolean(format!("NOT {sql}"), nullable))
            }
            _ => self.lexicographic(op, &pairs),
        }
    }

    fn all_of(&mut self, op: BinaryOp, pairs: &[(Ex, Ex)]) -> Result<Ex> {
        let mut parts = Vec::with_capacity(pairs.len());
        let mut nullable = false;
        for (l, r) in pairs {
            let ex = self.compare(op, l, r)?;
            nullable |= ex.ty.nullable;
            parts.push(self.stored(&ex).0);
        }
        Ok(Ex::boolean(parts.join(" AND "), nullable))
    }

    /// a < x OR (a = x AND (b < y …))
    fn lexicographic(&mut self, op: BinaryOp, pairs: &[(Ex, Ex)]) -> Result<Ex> {
        let strict = match op {
            BinaryOp::Le => BinaryOp::Lt,
            BinaryOp::Ge => BinaryOp::Gt,
            other => other,
        };
        let Some(((l, r), rest)) = pairs.split_first() else {
            return Err(columns(1));
        };
        if rest.is_empty() {
            return self.compare(op, l, r);
        }
        let first = self.compare(strict, l, r)?;
        let equal = self.compare(BinaryOp::Eq, l, r)?;
        let rest = self.lexicographic(op, rest)?;
        let (first, equal, rest) = (self.stored(&first).0, self.stored(&equal).0, self.stored(&rest).0);
        Ok(Ex::boolean(format!("{first} OR ({equal} AND {rest})"), true))
    }

    fn row_query(&mut self, op: BinaryOp, row: &[Expr], query: &Query) -> Result<Ex> {
        let Some(sqlite) = spelling(op) else {
            return Err(SqlError::internal("not a comparison"));
        };
        let left = row.iter().map(|e| self.bind(e)).collect::<Result<Vec<_>>>()?;
        let bound = self.inner(query)?;
        if bound.columns.len() != left.len() {
            return Err(columns(left.len()));
        }
        let (lefts, targets) = self.aligned(&left, &bound)?;
        let sql = self.write(&bound, Some(&targets), false);
        if !bound.single {
            // A row value cannot be guarded from inside: count first.
            let guard = format!("(SELECT CASE WHEN count(*) > 1 THEN {RAISE} ELSE 1 END FROM (SELECT 1 FROM ({sql}) LIMIT 2))");
            return Ok(Ex::boolean(format!("{guard} AND ({}) {sqlite} ({sql})", lefts.join(",")), true));
        }
        Ok(Ex::boolean(format!("({}) {sqlite} ({sql})", lefts.join(",")), true))
    }

    /// `(a, b) IN ((1, 2), (3, 4))`
    pub(crate) fn row_in_list(&mut self, expr: &Expr, list: &[Expr], negated: bool) -> Result<Ex> {
        let Expr::Row(left) = expr else { return Err(columns(1)) };
        let mut parts = Vec::with_capacity(list.len());
        for item in list {
            let Expr::Row(right) = item else { return Err(columns(left.len())) };
            if right.len() != left.len() {
                return Err(columns(left.len()));
            }
            let ex = self.rows(BinaryOp::Eq, left, right)?;
            parts.push(self.stored(&ex).0);
        }
        let not = if negated { "NOT " } else { "" };
        Ok(Ex::boolean(format!("{not}({})", parts.join(" OR ")), true))
    }
}

/// MySQL's 1242, raised from inside a running statement.
const RAISE: &str = "starling_raise(1242,'Subquery returns more than 1 row')";

/// A scalar subquery that may have a second row is read through a guard.
fn guarded(sql: &str, single: bool) -> String {
    if single {
        return format!("({sql})");
    }
    format!("(SELECT CASE WHEN count(*) > 1 THEN {RAISE} ELSE max(\"value\") END FROM (SELECT * FROM ({sql}) LIMIT 2))")
}

fn flipped(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::Le => BinaryOp::Ge,
        BinaryOp::Ge => BinaryOp::Le,
        other => other,
    }
}
