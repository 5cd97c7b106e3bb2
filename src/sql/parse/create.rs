//! CREATE TABLE: columns, keys, checks, options.
//!
//! Promises: what has no effect here (COLUMN_FORMAT, USING BTREE …) is read by name, never skipped blindly.
//! Must not know: what engines and options mean.

use super::{Parser, Result, SqlError, is_ident};
use crate::sql::ast::{
    ColumnDef, ColumnOption, CreateTable, Expr, KeyDef, KeyKind, KeyPartDef, Name, RefAction, References, Statement, TableElement, UnaryOp,
};
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    /// Behind `CREATE [TEMPORARY] TABLE`.
    pub(super) fn create_table(&mut self, temporary: bool) -> Result<Statement> {
        let if_not_exists = self.if_not_exists()?;
        let mut create = CreateTable {
            temporary,
            if_not_exists,
            name: self.table_name()?,
            elements: Vec::new(),
            options: Vec::new(),
            like: None,
            query: None,
            query_ignore: false,
            query_replace: false,
            partitioned: false,
        };
        if self.eat(Kw::LIKE) {
            create.like = Some(self.table_name()?);
            return Ok(Statement::CreateTable(Box::new(create)));
        }
        if self.at(Tok::LParen) && self.peek().kw == Kw::LIKE {
            self.bump();
            self.bump();
            create.like = Some(self.table_name()?);
            self.need_tok(Tok::RParen)?;
            return Ok(Statement::CreateTable(Box::new(create)));
        }
        if self.at(Tok::LParen) && !self.paren_holds_query() {
            create.elements = self.paren_list(Self::table_element)?;
        }
        create.options = self.table_options()?;
        if self.is(Kw::PARTITION) {
            create.partitioned = true;
            self.skip_statement();
        }
        create.query_ignore = self.eat(Kw::IGNORE);
        create.query_replace = !create.query_ignore && self.eat(Kw::REPLACE);
        if self.eat(Kw::AS) || self.at_query() || self.at(Tok::LParen) {
            create.query = Some(Box::new(self.query()?));
        } else if create.query_ignore || create.query_replace || (create.elements.is_empty() && !create.partitioned) {
            return Err(self.unexpected());
        }
        Ok(Statement::CreateTable(Box::new(create)))
    }
    /// To the end of the statement.
    pub(super) fn skip_statement(&mut self) {
        while !matches!(self.tok.tok, Tok::End | Tok::Semicolon | Tok::Bad) {
            self.bump();
        }
    }

    pub(super) fn table_element(&mut self) -> Result<TableElement> {
        let mut constraint = None;
        let named = self.eat(Kw::CONSTRAINT);
        if named && self.is_ident() {
            constraint = Some(self.ident()?);
        }
        match self.tok.kw {
            Kw::PRIMARY | Kw::UNIQUE => Ok(TableElement::Key(self.key_def(constraint)?)),
            Kw::FOREIGN => self.foreign_key(constraint),
            Kw::CHECK => self.check(constraint),
            _ if named => Err(self.unexpected()),
            Kw::INDEX | Kw::KEY | Kw::FULLTEXT | Kw::SPATIAL => Ok(TableElement::Key(self.key_def(None)?)),
            Kw::VECTOR if matches!(self.peek().kw, Kw::INDEX | Kw::KEY) => Ok(TableElement::Key(self.key_def(None)?)),
            _ => Ok(TableElement::Column(self.column_def()?)),
        }
    }
    fn key_def(&mut self, constraint: Option<Name>) -> Result<KeyDef> {
        let kw = self.tok.kw;
        self.bump();
        let kind = match kw {
            Kw::PRIMARY => {
                self.need(Kw::KEY)?;
                KeyKind::Primary
            }
            Kw::UNIQUE => KeyKind::Unique,
            Kw::FULLTEXT => KeyKind::FullText,
            Kw::SPATIAL => KeyKind::Spatial,
            Kw::VECTOR => KeyKind::Vector,
            _ => KeyKind::Plain,
        };
        if matches!(kw, Kw::UNIQUE | Kw::FULLTEXT | Kw::SPATIAL | Kw::VECTOR) {
            let _ = self.eat(Kw::INDEX) || self.eat(Kw::KEY);
        }
        self.if_not_exists()?;
        let name = if self.is_ident() { Some(self.ident()?) } else { None };
        self.key_body(kind, name, constraint)
    }
    /// `[USING t] (parts) options`
    pub(super) fn key_body(&mut self, kind: KeyKind, name: Option<Name>, constraint: Option<Name>) -> Result<KeyDef> {
        let mut key = KeyDef {
            kind,
            name,
            constraint,
            parts: Vec::new(),
            comment: None,
            visible: true,
        };
        self.key_algorithm()?;
        key.parts = self.paren_list(Self::key_part)?;
        self.key_options(&mut key)?;
        Ok(key)
    }
    /// USING BTREE | HASH | RTREE
    pub(super) fn key_algorithm(&mut self) -> Result<bool> {
        if !self.eat(Kw::USING) && !self.eat(Kw::TYPE) {
            return Ok(false);
        }
        if self.eat(Kw::BTREE) || self.eat(Kw::HASH) || self.eat_word("rtree") {
            return Ok(true);
        }
        Err(self.unexpected())
    }
    fn key_part(&mut self) -> Result<KeyPartDef> {
        let (column, expr, prefix) = if self.eat_tok(Tok::LParen) {
            let expr = self.expr()?;
            self.need_tok(Tok::RParen)?;
            (String::new(), Some(expr), None)
        } else {
            (self.ident()?, None, self.optional_length()?)
        };
        let descending = self.eat(Kw::DESC);
        if !descending {
            self.eat(Kw::ASC);
        }
        Ok(KeyPartDef {
            column,
            expr,
            prefix,
            descending,
        })
    }
    pub(super) fn key_options(&mut self, key: &mut KeyDef) -> Result<()> {
        loop {
            match self.tok.kw {
                Kw::USING | Kw::TYPE => {
                    self.key_algorithm()?;
                }
                Kw::KEY_BLOCK_SIZE => {
                    self.bump();
                    self.eat_tok(Tok::Eq);
                    self.integer()?;
                }
                Kw::COMMENT => {
                    self.bump();
                    key.comment = Some(self.string()?);
                }
                Kw::WITH if self.peek().kw == Kw::PARSER => {
                    self.bump();
                    self.bump();
                    self.ident()?;
                }
                Kw::VISIBLE | Kw::INVISIBLE => {
                    key.visible = self.is(Kw::VISIBLE);
                    self.bump();
                }
                Kw::ENGINE_ATTRIBUTE | Kw::SECONDARY_ENGINE_ATTRIBUTE => {
                    self.bump();
                    self.eat_tok(Tok::Eq);
                    self.string()?;
                }
                Kw::NOT if self.key_not_ignored() => {
                    self.bump();
                    self.bump();
                }
                // MariaDB's word for an invisible index
                _ if self.is_word("ignored") => {
                    key.visible = false;
                    self.bump();
                }
                _ if key.kind == KeyKind::Vector && (self.is_word("m") || self.is_word("distance")) => {
                    return Err(SqlError::unsupported("VECTOR INDEX options"));
                }
                _ => return Ok(()),
            }
        }
    }

    fn key_not_ignored(&self) -> bool {
        self.source(self.peek()).eq_ignore_ascii_case(b"ignored")
    }
    fn foreign_key(&mut self, constraint: Option<Name>) -> Result<TableElement> {
        self.bump();
        self.need(Kw::KEY)?;
        self.if_not_exists()?;
        let name = if self.is_ident() { Some(self.ident()?) } else { None };
        let columns = self.paren_list(Self::ident)?;
        Ok(TableElement::ForeignKey {
            constraint,
            name,
            columns,
            references: self.references()?,
        })
    }
    fn references(&mut self) -> Result<References> {
        self.need(Kw::REFERENCES)?;
        let mut references = References {
            table: self.table_name()?,
            columns: self.name_list()?,
            on_delete: None,
            on_update: None,
        };
        if self.eat(Kw::MATCH) && self.eat_any(&[Kw::FULL, Kw::PARTIAL, Kw::SIMPLE]).is_none() {
            return Err(self.unexpected());
        }
        while self.is(Kw::ON) && matches!(self.peek().kw, Kw::DELETE | Kw::UPDATE) {
            if self.peek().kw == Kw::UPDATE && references.on_update.is_some() {
                break;
            }
            self.bump();
            let delete = self.is(Kw::DELETE);
            self.bump();
            let action = Some(self.ref_action()?);
            if delete {
                references.on_delete = action;
            } else {
                references.on_update = action;
            }
        }
        Ok(references)
    }
    fn ref_action(&mut self) -> Result<RefAction> {
        if self.eat(Kw::RESTRICT) {
            return Ok(RefAction::Restrict);
        }
        if self.eat(Kw::CASCADE) {
            return Ok(RefAction::Cascade);
        }
        if self.eat_all(&[Kw::NO, Kw::ACTION]) {
            return Ok(RefAction::NoAction);
        }
        self.need(Kw::SET)?;
        if self.eat(Kw::NULL) {
            return Ok(RefAction::SetNull);
        }
        self.need(Kw::DEFAULT)?;
        Ok(RefAction::SetDefault)
    }
    fn check(&mut self, name: Option<Name>) -> Result<TableElement> {
        self.bump();
        self.need_tok(Tok::LParen)?;
        let start = self.tok.start;
        let expr = self.expr()?;
        let text = self.span_from(start);
        self.need_tok(Tok::RParen)?;
        let enforced = self.enforced()?;
        Ok(TableElement::Check {
            name,
            expr,
            enforced,
            text,
        })
    }
    /// `[NOT] ENFORCED`; enforced unless said otherwise.
    pub(super) fn enforced(&mut self) -> Result<bool> {
        if self.eat_all(&[Kw::NOT, Kw::ENFORCED]) {
            return Ok(false);
        }
        self.eat(Kw::ENFORCED);
        Ok(true)
    }

    pub(super) fn column_def(&mut self) -> Result<ColumnDef> {
        let name = self.ident()?;
        self.column_rest(name)
    }
    pub(super) fn column_rest(&mut self, name: Name) -> Result<ColumnDef> {
        let mut ty = self.type_name()?;
        let mut options = Vec::new();
        if ty.name == "serial" {
            ty.name = "bigint".into();
            ty.unsigned = true;
            options.extend([ColumnOption::NotNull, ColumnOption::AutoIncrement, ColumnOption::Unique]);
        }
        while let Some(option) = self.column_option(&mut options)? {
            options.push(option);
        }
        Ok(ColumnDef { name, ty, options })
    }
    fn column_option(&mut self, before: &mut Vec<ColumnOption>) -> Result<Option<ColumnOption>> {
        let kw = self.tok.kw;
        let simple = match kw {
            Kw::NULL => ColumnOption::Null,
            Kw::AUTO_INCREMENT => ColumnOption::AutoIncrement,
            Kw::KEY => ColumnOption::PrimaryKey,
            Kw::VISIBLE => ColumnOption::Visible(true),
            Kw::INVISIBLE => ColumnOption::Visible(false),
            Kw::NOT if self.peek().kw == Kw::NULL => {
                self.bump();
                ColumnOption::NotNull
            }
            Kw::PRIMARY => {
                self.bump();
                if !self.is(Kw::KEY) {
                    return Err(self.unexpected());
                }
                ColumnOption::PrimaryKey
            }
            Kw::UNIQUE => {
                self.bump();
                self.eat(Kw::KEY);
                return Ok(Some(ColumnOption::Unique));
            }
            _ => return self.column_clause(before),
        };
        self.bump();
        Ok(Some(simple))
    }
    fn column_clause(&mut self, before: &mut Vec<ColumnOption>) -> Result<Option<ColumnOption>> {
        Ok(Some(match self.tok.kw {
            Kw::DEFAULT => self.column_default()?,
            Kw::COMMENT => {
                self.bump();
                ColumnOption::Comment(self.string()?)
            }
            Kw::COLLATE => {
                self.bump();
                ColumnOption::Collate(self.collation_name()?)
            }
            Kw::ON => {
                self.bump();
                self.need(Kw::UPDATE)?;
                ColumnOption::OnUpdateNow(self.now()?)
            }
            Kw::GENERATED | Kw::AS => self.generated()?,
            Kw::REFERENCES => ColumnOption::References(self.references()?),
            Kw::CONSTRAINT | Kw::CHECK => self.column_check()?,
            Kw::SERIAL => {
                self.bump();
                self.need(Kw::DEFAULT)?;
                self.need(Kw::VALUE)?;
                before.extend([ColumnOption::NotNull, ColumnOption::AutoIncrement]);
                ColumnOption::Unique
            }
            Kw::COLUMN_FORMAT | Kw::STORAGE => {
                self.bump();
                if self.eat_any(&[Kw::FIXED, Kw::DYNAMIC, Kw::DEFAULT, Kw::DISK, Kw::MEMORY]).is_none() {
                    return Err(self.unexpected());
                }
                ColumnOption::Ignored
            }
            Kw::ENGINE_ATTRIBUTE | Kw::SECONDARY_ENGINE_ATTRIBUTE => {
                self.bump();
                self.eat_tok(Tok::Eq);
                self.string()?;
                ColumnOption::Ignored
            }
            Kw::SRID => {
                self.bump();
                self.integer()?;
                ColumnOption::Ignored
            }
            _ => return Ok(None),
        }))
    }
    /// `DEFAULT literal | NOW | (expr)`
    fn column_default(&mut self) -> Result<ColumnOption> {
        self.bump();
        let (expr, text, parenthesized) = self.default_value()?;
        Ok(ColumnOption::Default { expr, parenthesized, text })
    }
    /// Value, source text, and whether it is an expression default.
    pub(super) fn default_value(&mut self) -> Result<(Expr, crate::sql::ast::Span, bool)> {
        let start = self.tok.start;
        if self.at(Tok::LParen) {
            self.bump();
            let inner = self.tok.start;
            let expr = self.expr()?;
            let text = self.span_from(inner);
            self.need_tok(Tok::RParen)?;
            return Ok((expr, text, true));
        }
        let expr = self.primary()?;
        // MariaDB writes functions without parentheses around them
        let constant = match &expr {
            Expr::Literal { .. } => true,
            Expr::Unary {
                op: UnaryOp::Minus | UnaryOp::Plus,
                expr,
            } => matches!(**expr, Expr::Literal { .. }),
            Expr::Function(call) => call.name == "now",
            _ => false,
        };
        if !constant && !matches!(expr, Expr::Function(_) | Expr::Cast { .. }) {
            return Err(self.syntax_at(start));
        }
        Ok((expr, self.span_from(start), !constant))
    }
    /// CURRENT_TIMESTAMP and its synonyms, with their precision.
    fn now(&mut self) -> Result<Option<u8>> {
        if !matches!(self.tok.kw, Kw::CURRENT_TIMESTAMP | Kw::LOCALTIME | Kw::LOCALTIMESTAMP | Kw::NOW) {
            return Err(self.unexpected());
        }
        self.bump();
        self.optional_decimals()
    }
    fn generated(&mut self) -> Result<ColumnOption> {
        if self.eat(Kw::GENERATED) {
            self.need(Kw::ALWAYS)?;
        }
        self.need(Kw::AS)?;
        if self.is(Kw::ROW) {
            return Err(SqlError::unsupported("SYSTEM VERSIONING"));
        }
        self.need_tok(Tok::LParen)?;
        let start = self.tok.start;
        let expr = self.expr()?;
        let text = self.span_from(start);
        self.need_tok(Tok::RParen)?;
        let stored = self.eat(Kw::STORED) || self.eat(Kw::PERSISTENT);
        if !stored {
            self.eat(Kw::VIRTUAL);
        }
        Ok(ColumnOption::Generated { expr, stored, text })
    }
    fn column_check(&mut self) -> Result<ColumnOption> {
        let mut name = None;
        if self.eat(Kw::CONSTRAINT) && is_ident(self.tok) {
            name = Some(self.ident()?);
        }
        if !self.is(Kw::CHECK) {
            return Err(self.unexpected());
        }
        match self.check(name)? {
            TableElement::Check {
                name,
                expr,
                enforced,
                text,
            } => Ok(ColumnOption::Check {
                name,
                expr,
                enforced,
                text,
            }),
            _ => Err(self.unexpected()),
        }
    }
}
