//! FROM: tables, derived tables, JSON_TABLE, and how joins nest.
//!
//! Promises: joins nest as MySQL's grammar nests them — the comma binds weaker than JOIN, an inner join without ON stays left-deep,
//! `a JOIN b JOIN c ON x ON y` takes its conditions from the inside out. Index hints are read and dropped.
//! Must not know: which tables exist.

use super::{Parser, Result};
use crate::sql::ast::{JoinKind, JoinOn, JsonColumn, JsonOn, Name, Query, TableName, TableRef};
use crate::sql::lex::{Kw, Tok};

/// What a pair of parentheses held in FROM.
enum Paren {
    Query(Box<Query>),
    Tables(TableRef),
}

impl Parser<'_> {
    /// One member of the comma list: a join tree.
    pub(super) fn table_ref(&mut self) -> Result<TableRef> {
        let first = self.table_factor()?;
        self.joins(first)
    }
    fn joins(&mut self, mut left: TableRef) -> Result<TableRef> {
        while self.at_join() {
            left = self.join(left)?.0;
        }
        Ok(left)
    }
    fn at_join(&self) -> bool {
        matches!(
            self.tok.kw,
            Kw::JOIN | Kw::INNER | Kw::CROSS | Kw::LEFT | Kw::RIGHT | Kw::NATURAL | Kw::STRAIGHT_JOIN
        )
    }
    /// One join, and by how many joins the left side of the tree grew.
    fn join(&mut self, left: TableRef) -> Result<(TableRef, usize)> {
        self.enter()?;
        self.link()?;
        let natural = self.eat(Kw::NATURAL);
        let kind = self.join_kind(natural)?;
        let mut right = self.table_factor()?;
        // joins that come before our own condition belong to the right side
        let mut spine = 0;
        while !natural && self.at_join() {
            let (tree, grown) = self.join(right)?;
            right = tree;
            spine += grown;
        }
        let on = if natural {
            JoinOn::Natural
        } else if self.eat(Kw::ON) {
            JoinOn::On(self.expr()?)
        } else if self.eat(Kw::USING) {
            JoinOn::Using(self.paren_list(Self::ident)?)
        } else if matches!(kind, JoinKind::Left | JoinKind::Right) {
            return Err(self.unexpected());
        } else {
            self.leave();
            return Ok((cross(left, right, kind, spine), spine + 1));
        };
        self.leave();
        Ok((joined(kind, left, right, on), 1))
    }
    fn join_kind(&mut self, natural: bool) -> Result<JoinKind> {
        let kw = self.tok.kw;
        self.bump();
        let kind = match kw {
            Kw::JOIN => return Ok(JoinKind::Inner),
            Kw::STRAIGHT_JOIN if !natural => return Ok(JoinKind::Straight),
            Kw::INNER => JoinKind::Inner,
            Kw::CROSS if !natural => JoinKind::Inner,
            Kw::LEFT | Kw::RIGHT => {
                self.eat(Kw::OUTER);
                if kw == Kw::LEFT { JoinKind::Left } else { JoinKind::Right }
            }
            _ => return Err(self.unexpected()),
        };
        self.need(Kw::JOIN)?;
        Ok(kind)
    }

    fn table_factor(&mut self) -> Result<TableRef> {
        match self.tok.kw {
            Kw::LATERAL => {
                self.bump();
                let query = self.paren_query()?;
                return self.derived(Box::new(query), true);
            }
            Kw::JSON_TABLE => return self.json_table(),
            _ => {}
        }
        match self.tok.tok {
            Tok::LParen => match self.table_paren()? {
                Paren::Query(query) => self.derived(query, false),
                Paren::Tables(tables) => Ok(tables),
            },
            Tok::LBrace => {
                self.bump();
                self.ident()?;
                let inner = self.table_ref()?;
                self.need_tok(Tok::RBrace)?;
                Ok(inner)
            }
            _ => self.base_table(),
        }
    }
    /// `(query)` or `(tables)`; a query in several parentheses is told from tables without reading twice.
    fn table_paren(&mut self) -> Result<Paren> {
        self.enter()?;
        self.need_tok(Tok::LParen)?;
        let first = if self.at_query() {
            let query = self.query()?;
            self.need_tok(Tok::RParen)?;
            self.leave();
            return Ok(Paren::Query(Box::new(query)));
        } else if self.at(Tok::LParen) {
            match self.table_paren()? {
                Paren::Query(query) => {
                    if self.at(Tok::RParen) || self.at_query_tail() {
                        let query = if self.at(Tok::RParen) {
                            query
                        } else {
                            Box::new(self.query_from(*query)?)
                        };
                        self.need_tok(Tok::RParen)?;
                        self.leave();
                        return Ok(Paren::Query(query));
                    }
                    let derived = self.derived(query, false)?;
                    self.joins(derived)?
                }
                Paren::Tables(tables) => self.joins(tables)?,
            }
        } else {
            self.table_ref()?
        };
        let mut tables = vec![first];
        while self.eat_tok(Tok::Comma) {
            tables.push(self.table_ref()?);
        }
        self.need_tok(Tok::RParen)?;
        self.leave();
        Ok(Paren::Tables(match (tables.len(), tables.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                tables.extend(last);
                TableRef::List(tables)
            }
        }))
    }
    fn derived(&mut self, query: Box<Query>, lateral: bool) -> Result<TableRef> {
        let alias = self.table_alias()?;
        let columns = if alias.is_some() { self.name_list()? } else { Vec::new() };
        Ok(TableRef::Derived {
            query,
            alias,
            columns,
            lateral,
        })
    }
    fn base_table(&mut self) -> Result<TableRef> {
        let name = self.table_name()?;
        let partitions = if self.eat(Kw::PARTITION) {
            self.paren_list(Self::ident)?
        } else {
            Vec::new()
        };
        let alias = self.table_alias()?;
        self.index_hints()?;
        Ok(TableRef::Table { name, alias, partitions })
    }
    pub(super) fn table_alias(&mut self) -> Result<Option<Name>> {
        if self.eat(Kw::AS) {
            return self.ident_or_string().map(Some);
        }
        if self.is_ident() && !self.is(Kw::RETURNING) {
            return self.ident().map(Some);
        }
        Ok(None)
    }
    /// `{USE|FORCE|IGNORE} {INDEX|KEY} [FOR …] (a, b)`: which index to take is the planner's business.
    fn index_hints(&mut self) -> Result<()> {
        while matches!(self.tok.kw, Kw::USE | Kw::FORCE | Kw::IGNORE) && matches!(self.peek().kw, Kw::INDEX | Kw::KEY) {
            self.bump();
            self.bump();
            if self.eat(Kw::FOR) && !self.eat(Kw::JOIN) {
                if self.eat_any(&[Kw::ORDER, Kw::GROUP]).is_none() {
                    return Err(self.unexpected());
                }
                self.need(Kw::BY)?;
            }
            self.need_tok(Tok::LParen)?;
            while !self.eat_tok(Tok::RParen) {
                if !self.eat(Kw::PRIMARY) {
                    self.ident()?;
                }
                if !self.at(Tok::RParen) {
                    self.need_tok(Tok::Comma)?;
                }
            }
        }
        Ok(())
    }

    fn json_table(&mut self) -> Result<TableRef> {
        self.bump();
        self.need_tok(Tok::LParen)?;
        let doc = self.expr()?;
        self.need_tok(Tok::Comma)?;
        let path = self.text_literal()?;
        let columns = self.json_columns()?;
        self.need_tok(Tok::RParen)?;
        let Some(alias) = self.table_alias()? else {
            return Err(self.unexpected());
        };
        Ok(TableRef::JsonTable { doc, path, columns, alias })
    }
    fn json_columns(&mut self) -> Result<Vec<JsonColumn>> {
        self.enter()?;
        self.need(Kw::COLUMNS)?;
        let columns = self.paren_list(Self::json_column)?;
        self.leave();
        Ok(columns)
    }
    fn json_column(&mut self) -> Result<JsonColumn> {
        if self.is(Kw::NESTED) && (self.peek().kw == Kw::PATH || self.peek().tok == Tok::Str) {
            self.bump();
            self.eat(Kw::PATH);
            let path = self.text_literal()?;
            return Ok(JsonColumn::Nested {
                path,
                columns: self.json_columns()?,
            });
        }
        let name = self.ident()?;
        if self.eat(Kw::FOR) {
            self.need(Kw::ORDINALITY)?;
            return Ok(JsonColumn::Ordinality(name));
        }
        let ty = self.type_name()?;
        let exists = self.eat(Kw::EXISTS);
        self.need(Kw::PATH)?;
        let path = self.text_literal()?;
        let (on_empty, on_error) = self.json_on()?;
        Ok(JsonColumn::Path {
            name,
            ty,
            path,
            exists,
            on_empty: on_empty.unwrap_or(JsonOn::Null),
            on_error: on_error.unwrap_or(JsonOn::Null),
        })
    }
    /// `t` or `t.*` (targets of a multi-table DELETE).
    pub(super) fn delete_target(&mut self) -> Result<TableName> {
        let first = self.ident()?;
        if !self.eat_tok(Tok::Dot) {
            return Ok(TableName { db: None, name: first });
        }
        if self.eat_tok(Tok::Star) {
            return Ok(TableName { db: None, name: first });
        }
        let name = self.ident()?;
        if self.eat_tok(Tok::Dot) {
            self.need_tok(Tok::Star)?;
        }
        Ok(TableName { db: Some(first), name })
    }
}

fn joined(kind: JoinKind, left: TableRef, right: TableRef, on: JoinOn) -> TableRef {
    TableRef::Join {
        kind,
        left: Box::new(left),
        right: Box::new(right),
        on,
    }
}

/// An inner join without a condition takes the place of the leftmost table of the joins behind it: the tree stays left-deep.
fn cross(outer: TableRef, right: TableRef, kind: JoinKind, spine: usize) -> TableRef {
    if spine == 0 {
        return joined(kind, outer, right, JoinOn::None);
    }
    match right {
        TableRef::Join {
            kind: inner_kind,
            left,
            right,
            on,
        } => TableRef::Join {
            kind: inner_kind,
            left: Box::new(cross(outer, *left, kind, spine - 1)),
            right,
            on,
        },
        other => joined(kind, outer, other, JoinOn::None),
    }
}
