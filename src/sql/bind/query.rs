//! Whole query expressions: WITH, set operations, VALUES, TABLE, and the ORDER BY and LIMIT around them.
//!
//! Promises: every arm of a set operation yields the type that holds for all; SQLite's flat compounds keep MySQL's nesting.
//! Must not know: what stands inside a SELECT block.

use super::Binder;
use super::from::derived_columns;
use super::scope::{Frame, Source, SourceColumn, same};
use super::select::Block;
use super::value::Ex;
use crate::sql::ast::{Cte, Expr, Query, Select, SelectItem, SetExpr, SetOp, TableRef, With};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::convert;
use crate::sql::lower::text::push_identifier;
use crate::sql::types::Ty;

/// Do the names of the result's columns count?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Matter,
    /// IN, EXISTS, scalar subqueries, INSERT … SELECT
    Free,
}

#[derive(Clone, Debug)]
pub(crate) struct OutColumn {
    pub name: String,
    pub ty: Ty,
    /// The base (or derived) column it is: index into `Binder::sources` and into its columns.
    pub origin: Option<(usize, usize)>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Block(Box<Block>),
    /// VALUES ROW(…), …
    Rows(Vec<Vec<Ex>>),
    Compound {
        op: &'static str,
        left: Box<Body>,
        right: Box<Body>,
    },
    Nested(Box<Bound>),
}

/// A bound query expression.
#[derive(Debug)]
pub(crate) struct Bound {
    pub with: String,
    pub body: Body,
    pub columns: Vec<OutColumn>,
    /// ORDER BY and LIMIT over the body, with a leading space.
    pub tail: String,
    /// ORDER BY holds expressions over the result: SQLite wants it around a subquery.
    pub wrap: Option<String>,
    pub single: bool,
    pub quick: bool,
}

/// A subquery's text and columns.
pub(crate) struct Text {
    pub sql: String,
    pub columns: Vec<SourceColumn>,
}

/// A common table expression in scope.
#[derive(Debug)]
pub(crate) struct CteDef {
    pub name: String,
    pub qualifier: String,
    pub columns: Vec<SourceColumn>,
    pub used: bool,
}

impl Binder<'_> {
    /// Binds and writes a subquery; `rename`: the column names given behind its alias.
    pub(crate) fn subquery_text(&mut self, query: &Query, rename: Option<&[String]>, names: Names) -> Result<Text> {
        let mut bound = self.query(query, names)?;
        self.subqueries += 1;
        if let Some(rename) = rename {
            rename_columns(&mut bound.columns, rename)?;
        }
        let columns = if names == Names::Matter {
            derived_columns(&bound.columns)?
        } else {
            Vec::new()
        };
        let sql = self.write(&bound, None, names == Names::Matter);
        Ok(Text { sql, columns })
    }

    pub(crate) fn query(&mut self, query: &Query, names: Names) -> Result<Bound> {
        self.depth += 1;
        if self.depth > super::expr::DEPTH_MAX {
            return Err(SqlError::new(1436, "Thread stack overrun: the query is nested too deeply."));
        }
        let ctes = self.ctes.len();
        if self.depth > 1 {
            self.inner_locks.extend(query.locking.iter().cloned());
        }
        let out = self.query_inside(query, names);
        self.ctes.truncate(ctes);
        self.depth -= 1;
        out
    }

    fn query_inside(&mut self, query: &Query, names: Names) -> Result<Bound> {
        let with = match &query.with {
            Some(with) => self.with(with)?,
            None => String::new(),
        };
        let mut bound = match &query.body {
            SetExpr::Select(select) => {
                let block = self.select_block(select, &query.order_by, query.limit.as_ref(), names)?;
                return Ok(whole(with, block));
            }
            SetExpr::Table(name) => {
                let select = all_of(name.clone());
                let block = self.select_block(&select, &query.order_by, query.limit.as_ref(), names)?;
                return Ok(whole(with, block));
            }
            SetExpr::Query(inner) if query.order_by.is_empty() && query.limit.is_none() && with.is_empty() => {
                return self.query(inner, names);
            }
            SetExpr::Query(inner) => {
                let inner = self.query(inner, names)?;
                Bound {
                    columns: inner.columns.clone(),
                    single: inner.single,
                    quick: false,
                    with: String::new(),
                    tail: String::new(),
                    wrap: None,
                    body: Body::Nested(Box::new(inner)),
                }
            }
            body => self.body(body, names)?,
        };
        bound.with = with;
        self.tail(query, &mut bound)?;
        Ok(bound)
    }

    /// ORDER BY and LIMIT over a set operation: names and positions go to SQLite as positions; anything else goes around it.
    fn tail(&mut self, query: &Query, bound: &mut Bound) -> Result<()> {
        self.clause = "order clause";
        let columns = bound.columns.clone();
        let simple = query.order_by.iter().all(|term| match &term.expr {
            Expr::Literal { .. } => true,
            Expr::Column { table: None, name, .. } => columns.iter().any(|c| same(&c.name, name)),
            _ => false,
        });
        let terms = if simple {
            self.order_by_terms(&query.order_by, &columns, &[])?
        } else {
            let qualifier = self.qualifier("result");
            let source = Source {
                alias: String::new(),
                db: None,
                qualifier: qualifier.clone(),
                columns: derived_columns(&columns)?,
                table: None,
                nullable: false,
                direct: false,
            };
            let mut frame = Frame::default();
            self.push_source(source, &mut frame);
            self.frames.push(frame);
            let terms = self.order_by_terms(&query.order_by, &columns, &[]);
            self.pop_frame();
            bound.wrap = Some(qualifier);
            terms?
        };
        if !terms.is_empty() {
            bound.tail = format!(" ORDER BY {}", terms.join(","));
        }
        if let Some(limit) = &query.limit {
            let text = self.limit_text(limit)?;
            bound.tail.push_str(&text);
        }
        Ok(())
    }

    fn body(&mut self, body: &SetExpr, names: Names) -> Result<Bound> {
        match body {
            SetExpr::Select(select) => Ok(whole(String::new(), self.select_block(select, &[], None, names)?)),
            SetExpr::Table(name) => {
                let select = all_of(name.clone());
                Ok(whole(String::new(), self.select_block(&select, &[], None, names)?))
            }
            SetExpr::Query(query) => self.query(query, names),
            SetExpr::Values(rows) => self.values(rows, names),
            SetExpr::SetOp { op, all, left, right } => {
                let left = self.body(left, names)?;
                let right = self.body(right, names)?;
                self.set_operation(*op, *all, left, right)
            }
        }
    }

    pub(crate) fn set_operation(&mut self, op: SetOp, all: bool, left: Bound, right: Bound) -> Result<Bound> {
        if left.columns.len() != right.columns.len() {
            return Err(SqlError::new(1222, "The used SELECT statements have a different number of columns"));
        }
        let mut columns = Vec::with_capacity(left.columns.len());
        for (l, r) in left.columns.iter().zip(&right.columns) {
            super::emit::check_collations(&[&l.ty, &r.ty], "UNION")?;
            columns.push(OutColumn {
                name: l.name.clone(),
                ty: convert::common(&[&l.ty, &r.ty]),
                origin: None,
            });
        }
        let op = match (op, all) {
            (SetOp::Union, true) => "UNION ALL",
            (SetOp::Union, false) => "UNION",
            (SetOp::Intersect, false) => "INTERSECT",
            (SetOp::Except, false) => "EXCEPT",
            (SetOp::Intersect, true) => return Err(SqlError::unsupported("INTERSECT ALL")),
            (SetOp::Except, true) => return Err(SqlError::unsupported("EXCEPT ALL")),
        };
        Ok(Bound {
            with: String::new(),
            body: Body::Compound {
                op,
                left: Box::new(nested(left, true)),
                right: Box::new(nested(right, false)),
            },
            columns,
            tail: String::new(),
            wrap: None,
            single: false,
            quick: false,
        })
    }

    fn values(&mut self, rows: &[Vec<Expr>], names: Names) -> Result<Bound> {
        let outside = std::mem::replace(&mut self.exact, names == Names::Matter);
        let seen = self.seen.len();
        let bound = self.value_rows(rows);
        self.exact = outside;
        for slot in self.seen.split_off(seen) {
            self.pin(slot);
        }
        let bound = bound?;
        let width = bound.first().map_or(0, Vec::len);
        let mut columns = Vec::with_capacity(width);
        for index in 0..width {
            let types: Vec<&Ty> = bound.iter().map(|row| &row[index].ty).collect();
            columns.push(OutColumn {
                name: format!("column_{index}"),
                ty: convert::common(&types),
                origin: None,
            });
        }
        let single = bound.len() == 1;
        Ok(Bound {
            with: String::new(),
            body: Body::Rows(bound),
            columns,
            tail: String::new(),
            wrap: None,
            single,
            quick: false,
        })
    }

    fn value_rows(&mut self, rows: &[Vec<Expr>]) -> Result<Vec<Vec<Ex>>> {
        self.clause = "field list";
        let mut bound: Vec<Vec<Ex>> = Vec::with_capacity(rows.len());
        for row in rows {
            let mut out = Vec::with_capacity(row.len());
            for expr in row {
                out.push(self.bind(expr)?);
            }
            if bound.first().is_some_and(|first| first.len() != out.len()) {
                return Err(SqlError::new(
                    1136,
                    format!("Column count doesn't match value count at row {}", bound.len() + 1),
                ));
            }
            bound.push(out);
        }
        Ok(bound)
    }

    fn with(&mut self, with: &With) -> Result<String> {
        let mut parts = Vec::with_capacity(with.ctes.len());
        for (index, cte) in with.ctes.iter().enumerate() {
            if with.ctes[..index].iter().any(|c| same(&c.name, &cte.name)) {
                return Err(SqlError::new(1066, format!("Not unique table/alias: '{}'", cte.name)));
            }
            // A CTE does not see the tables of the block it stands before.
            let part = match &cte.query.body {
                SetExpr::SetOp { op, all, left, right } if with.recursive && *op == SetOp::Union => {
                    self.recursive(cte, *all, left, right)?
                }
                _ => self.plain_cte(cte)?,
            };
            parts.push(part);
        }
        let word = if with.recursive { "WITH RECURSIVE " } else { "WITH " };
        Ok(format!("{word}{} ", parts.join(", ")))
    }

    fn plain_cte(&mut self, cte: &Cte) -> Result<String> {
        let rename = Some(cte.columns.as_slice());
        let text = self.subquery_text(&cte.query, rename, Names::Matter)?;
        let qualifier = self.qualifier(&cte.name);
        let out = format!("{qualifier} AS ({})", text.sql);
        self.ctes.push(CteDef {
            name: cte.name.clone(),
            qualifier,
            columns: text.columns,
            used: false,
        });
        Ok(out)
    }

    /// The first part gives the types; the second may name the CTE.
    fn recursive(&mut self, cte: &Cte, all: bool, left: &SetExpr, right: &SetExpr) -> Result<String> {
        if !cte.query.order_by.is_empty() {
            return Err(SqlError::unsupported("ORDER BY over a recursive Common Table Expression"));
        }
        let mut anchor = self.body(left, Names::Matter)?;
        self.subqueries += 1;
        rename_columns(&mut anchor.columns, &cte.columns)?;
        for column in &mut anchor.columns {
            column.ty.nullable = true;
        }
        let columns = derived_columns(&anchor.columns)?;
        let qualifier = self.qualifier(&cte.name);
        self.ctes.push(CteDef {
            name: cte.name.clone(),
            qualifier: qualifier.clone(),
            columns,
            used: false,
        });
        let step = self.body(right, Names::Matter)?;
        if step.columns.len() != anchor.columns.len() {
            return Err(SqlError::new(1222, "The used SELECT statements have a different number of columns"));
        }
        let types: Vec<Ty> = anchor.columns.iter().map(|c| c.ty.clone()).collect();
        let names: Vec<String> = anchor.columns.iter().map(|c| c.name.clone()).collect();
        let op = if all { "UNION ALL" } else { "UNION" };
        let first = self.write_body(&nested(anchor, true), Some(&types), Some(&names), !all);
        let second = self.write_body(&nested(step, false), Some(&types), None, !all);
        let tail = match &cte.query.limit {
            Some(limit) => self.limit_text(limit)?,
            None => String::new(),
        };
        Ok(format!("{qualifier} AS ({first} {op} {second}{tail})"))
    }

    /// The query's text. `target`: the types its columns shall have (`None`: their own).
    pub(crate) fn write(&mut self, bound: &Bound, target: Option<&[Ty]>, named: bool) -> String {
        let names: Option<Vec<String>> = (named || bound.wrap.is_some()).then(|| bound.columns.iter().map(|c| c.name.clone()).collect());
        self.write_as(bound, target, names.as_deref())
    }

    fn write_as(&mut self, bound: &Bound, target: Option<&[Ty]>, names: Option<&[String]>) -> String {
        let own: Vec<Ty>;
        let types = match (target, &bound.body) {
            (Some(types), _) => Some(types),
            (None, Body::Block(_)) => None,
            (None, _) => {
                own = bound.columns.iter().map(|c| c.ty.clone()).collect();
                Some(own.as_slice())
            }
        };
        let body = self.write_body(&bound.body, types, names, false);
        match &bound.wrap {
            Some(qualifier) => format!("{}SELECT * FROM ({body}) AS {qualifier}{}", bound.with, bound.tail),
            None => format!("{}{body}{}", bound.with, bound.tail),
        }
    }

    fn write_body(&mut self, body: &Body, types: Option<&[Ty]>, names: Option<&[String]>, collate: bool) -> String {
        match body {
            Body::Block(block) => self.write_block(block, types, names, collate),
            Body::Rows(rows) => {
                let mut parts = Vec::with_capacity(rows.len());
                for (index, row) in rows.iter().enumerate() {
                    let names = if index == 0 { names } else { None };
                    let items = self.write_items(row, types, names, collate);
                    parts.push(format!("SELECT {items}"));
                }
                parts.join(" UNION ALL ")
            }
            Body::Compound { op, left, right } => {
                if *op == "UNION" && types.is_some_and(|t| t.iter().any(|t| !super::compare::collate(t).is_empty())) {
                    // SQLite's UNION shows the last of several equal texts ('a', 'A'), MySQL and DISTINCT the first.
                    let l = self.write_body(left, types, names, true);
                    let r = self.write_body(right, types, None, true);
                    return format!("SELECT DISTINCT * FROM ({l} UNION ALL {r})");
                }
                let distinct = *op != "UNION ALL";
                let l = self.write_body(left, types, names, collate || distinct);
                let r = self.write_body(right, types, None, collate || distinct);
                format!("{l} {op} {r}")
            }
            Body::Nested(bound) => {
                let wanted: Option<Vec<String>> = match (names, &bound.wrap) {
                    (Some(names), _) => Some(names.to_vec()),
                    (None, Some(_)) => Some(bound.columns.iter().map(|c| c.name.clone()).collect()),
                    (None, None) => None,
                };
                let inner = self.write_as(bound, types, wanted.as_deref());
                format!("SELECT * FROM ({inner})")
            }
        }
    }

    fn write_block(&mut self, block: &Block, types: Option<&[Ty]>, names: Option<&[String]>, collate: bool) -> String {
        let items = self.write_items(&block.items, types, names, collate || block.collate);
        let distinct = if block.distinct { "DISTINCT " } else { "" };
        format!("SELECT {distinct}{items}{}{}", block.rest, block.tail)
    }

    fn write_items(&mut self, items: &[Ex], types: Option<&[Ty]>, names: Option<&[String]>, collate: bool) -> String {
        let mut out = String::new();
        for (index, ex) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            let ty = types.and_then(|t| t.get(index));
            let sql = match ty {
                Some(ty) => self.in_type(ex, ty),
                None => self.stored(ex).0,
            };
            let text = if collate && !(self.knows_collation(ex) && ty.is_none_or(|t| t.ty.collation == ex.ty.ty.collation)) {
                format!("{sql}{}", super::compare::collate(ty.unwrap_or(&ex.ty)))
            } else {
                sql
            };
            out.push_str(&text);
            if let Some(name) = names.and_then(|n| n.get(index)) {
                out.push_str(" AS ");
                push_identifier(&mut out, name);
            }
        }
        out
    }
}

fn rename_columns(columns: &mut [OutColumn], names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    if names.len() != columns.len() {
        return Err(SqlError::new(
            1353,
            "In definition of view, derived table or common table expression, SELECT list and column names list have different column counts",
        ));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name.clone();
    }
    Ok(())
}

/// TABLE t
fn all_of(name: crate::sql::ast::TableName) -> Select {
    Select {
        items: vec![SelectItem::Wildcard],
        from: vec![TableRef::Table {
            name,
            alias: None,
            partitions: Vec::new(),
        }],
        ..Select::default()
    }
}

fn whole(with: String, block: Block) -> Bound {
    Bound {
        with,
        columns: block.columns.clone(),
        single: block.single,
        quick: block.quick,
        body: Body::Block(Box::new(block)),
        tail: String::new(),
        wrap: None,
    }
}

/// An arm of a compound: SQLite's are flat, associate to the left, and have no ORDER BY or LIMIT of their own.
fn nested(bound: Bound, left: bool) -> Body {
    let flat = match &bound.body {
        Body::Block(block) => block.tail.is_empty(),
        Body::Compound { .. } => left,
        Body::Rows(rows) => left || rows.len() == 1,
        Body::Nested(_) => true,
    };
    if flat && bound.with.is_empty() && bound.tail.is_empty() && bound.wrap.is_none() {
        return bound.body;
    }
    Body::Nested(Box::new(bound))
}
