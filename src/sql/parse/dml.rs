//! INSERT, REPLACE, UPDATE, DELETE, in all their forms.
//!
//! Promises: a VALUES row costs one `Vec` and its values (this is the way of bulk loads).
//! Must not know: columns, defaults, keys.

use super::{Parser, Result};
use crate::sql::ast::{Delete, Expr, Insert, InsertSource, Name, SelectItem, SetItem, Statement, TableRef, Update, With};
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    /// INSERT and REPLACE.
    pub(super) fn insert(&mut self) -> Result<Statement> {
        let replace = self.is(Kw::REPLACE);
        self.bump();
        let _ = self.eat_any(&[Kw::LOW_PRIORITY, Kw::DELAYED, Kw::HIGH_PRIORITY]);
        let ignore = !replace && self.eat(Kw::IGNORE);
        self.eat(Kw::INTO);
        let table = self.table_name()?;
        if self.eat(Kw::PARTITION) {
            return Err(super::SqlError::unsupported("INSERT ... PARTITION"));
        }
        let mut insert = Insert {
            replace,
            ignore,
            table,
            columns: None,
            source: InsertSource::Set(Vec::new()),
            row_alias: None,
            on_duplicate: Vec::new(),
            returning: Vec::new(),
        };
        if self.at(Tok::LParen) && !self.paren_holds_query() {
            insert.columns = Some(self.insert_columns()?);
        }
        insert.source = self.insert_source()?;
        if !replace && !matches!(insert.source, InsertSource::Query(_)) && self.eat(Kw::AS) {
            let name = self.ident()?;
            insert.row_alias = Some((name, self.name_list()?));
        }
        if !replace && self.eat(Kw::ON) {
            self.need(Kw::DUPLICATE)?;
            self.need(Kw::KEY)?;
            self.need(Kw::UPDATE)?;
            insert.on_duplicate = self.set_list()?;
        }
        insert.returning = self.returning()?;
        Ok(Statement::Insert(Box::new(insert)))
    }
    /// At a `(`: does a query stand in it (through further parentheses)?
    pub(super) fn paren_holds_query(&self) -> bool {
        let mut ahead = self.lex;
        loop {
            let token = ahead.next_token();
            if token.tok != Tok::LParen {
                return matches!(token.kw, Kw::SELECT | Kw::WITH | Kw::TABLE | Kw::VALUES);
            }
        }
    }
    fn insert_columns(&mut self) -> Result<Vec<Name>> {
        self.bump();
        if self.eat_tok(Tok::RParen) {
            return Ok(Vec::new());
        }
        let columns = self.list(|p| {
            let mut name = p.ident()?;
            while p.eat_tok(Tok::Dot) {
                name = p.ident()?;
            }
            Ok(name)
        })?;
        self.need_tok(Tok::RParen)?;
        Ok(columns)
    }
    fn insert_source(&mut self) -> Result<InsertSource> {
        match self.tok.kw {
            Kw::VALUES if self.peek().kw != Kw::ROW => {
                self.bump();
                Ok(InsertSource::Values(self.value_rows()?))
            }
            Kw::VALUE => {
                self.bump();
                Ok(InsertSource::Values(self.value_rows()?))
            }
            Kw::SET => {
                self.bump();
                Ok(InsertSource::Set(self.set_list()?))
            }
            _ if self.at(Tok::LParen) || self.at_query() => Ok(InsertSource::Query(Box::new(self.query()?))),
            _ => Err(self.unexpected()),
        }
    }
    fn value_rows(&mut self) -> Result<Vec<Vec<Expr>>> {
        let mut rows = vec![self.value_row()?];
        while self.eat_tok(Tok::Comma) {
            let width = rows.last().map_or(0, Vec::len);
            rows.push(self.row_of(width)?);
        }
        Ok(rows)
    }
    /// `(v, v, …)` or `()`
    pub(super) fn value_row(&mut self) -> Result<Vec<Expr>> {
        self.row_of(1)
    }
    fn row_of(&mut self, width: usize) -> Result<Vec<Expr>> {
        self.need_tok(Tok::LParen)?;
        let mut row = Vec::with_capacity(width);
        if self.eat_tok(Tok::RParen) {
            return Ok(row);
        }
        loop {
            row.push(self.value()?);
            if self.eat_tok(Tok::RParen) {
                return Ok(row);
            }
            self.need_tok(Tok::Comma)?;
        }
    }
    /// An expression; lone literals take a short way.
    fn value(&mut self) -> Result<Expr> {
        if !self.tok.tok.is_literal() {
            return self.expr();
        }
        let literal = self.literal()?;
        if matches!(self.tok.tok, Tok::Comma | Tok::RParen) {
            return Ok(literal);
        }
        self.expr_from(literal, super::expr::OR)
    }
    /// `a = 1, t.b = DEFAULT`
    pub(super) fn set_list(&mut self) -> Result<Vec<SetItem>> {
        self.list(|p| {
            let mut parts = vec![p.ident()?];
            while parts.len() < 3 && p.eat_tok(Tok::Dot) {
                parts.push(p.ident()?);
            }
            if !p.eat_tok(Tok::Assign) {
                p.need_tok(Tok::Eq)?;
            }
            let value = p.expr()?;
            let column = parts.pop().unwrap_or_default();
            Ok(SetItem {
                table: parts.pop(),
                db: parts.pop(),
                column,
                value,
            })
        })
    }
    fn returning(&mut self) -> Result<Vec<SelectItem>> {
        if !self.eat(Kw::RETURNING) {
            return Ok(Vec::new());
        }
        self.list(Self::select_item)
    }

    pub(super) fn update(&mut self, with: Option<With>) -> Result<Statement> {
        self.bump();
        self.eat(Kw::LOW_PRIORITY);
        let ignore = self.eat(Kw::IGNORE);
        let from = self.list(Self::table_ref)?;
        self.need(Kw::SET)?;
        let set = self.set_list()?;
        let filter = self.filter()?;
        Ok(Statement::Update(Box::new(Update {
            with,
            ignore,
            from,
            set,
            filter,
            order_by: self.order_by()?,
            limit: self.limit()?,
            returning: self.returning()?,
        })))
    }
    fn filter(&mut self) -> Result<Option<Expr>> {
        if self.eat(Kw::WHERE) { self.expr().map(Some) } else { Ok(None) }
    }

    pub(super) fn delete(&mut self, with: Option<With>) -> Result<Statement> {
        self.bump();
        let mut ignore = false;
        while let Some(word) = self.eat_any(&[Kw::LOW_PRIORITY, Kw::QUICK, Kw::IGNORE]) {
            ignore |= word == Kw::IGNORE;
        }
        let mut delete = Delete {
            with,
            ignore,
            targets: Vec::new(),
            from: Vec::new(),
            filter: None,
            order_by: Vec::new(),
            limit: None,
            returning: Vec::new(),
        };
        if self.eat(Kw::FROM) {
            self.delete_from(&mut delete)?;
        } else {
            delete.targets = self.list(Self::delete_target)?;
            self.need(Kw::FROM)?;
            delete.from = self.list(Self::table_ref)?;
        }
        delete.filter = self.filter()?;
        if delete.targets.is_empty() {
            delete.order_by = self.order_by()?;
            delete.limit = self.limit()?;
            delete.returning = self.returning()?;
        }
        Ok(Statement::Delete(Box::new(delete)))
    }
    /// `DELETE FROM t …` or `DELETE FROM a, b USING …`
    fn delete_from(&mut self, delete: &mut Delete) -> Result<()> {
        let targets = self.list(Self::delete_target)?;
        if self.eat(Kw::USING) {
            delete.targets = targets;
            delete.from = self.list(Self::table_ref)?;
            return Ok(());
        }
        let mut targets = targets.into_iter();
        let (Some(name), None) = (targets.next(), targets.next()) else {
            return Err(self.unexpected());
        };
        let mut alias = self.table_alias()?;
        let partitions = if self.eat(Kw::PARTITION) {
            self.paren_list(Self::ident)?
        } else {
            Vec::new()
        };
        if alias.is_none() {
            alias = self.table_alias()?;
        }
        delete.from = vec![TableRef::Table { name, alias, partitions }];
        Ok(())
    }
}
