//! SET in all its forms.
//!
//! Promises: a bare word as value is a string literal without slot; scopes are as written (`@@x` and `x`: none).
//! Must not know: which variables exist.

use super::{Parser, Result, SqlError};
use crate::sql::ast::{Account, Expr, Isolation, Literal, NO_SLOT, Scope, SetStatement, Statement};
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    pub(super) fn set(&mut self) -> Result<Statement> {
        self.bump();
        let next = self.peek();
        match self.tok.kw {
            Kw::TRANSACTION => return self.set_transaction(None),
            Kw::GLOBAL | Kw::SESSION | Kw::LOCAL if next.kw == Kw::TRANSACTION => {
                let scope = self.scope();
                return self.set_transaction(scope);
            }
            Kw::PASSWORD if next.tok == Tok::Eq || next.kw == Kw::FOR || next.kw == Kw::TO => return self.set_password(),
            Kw::ROLE => {
                self.skip_statement();
                return Ok(Statement::Set(vec![SetStatement::Role]));
            }
            Kw::DEFAULT if next.kw == Kw::ROLE => return self.refuse("SET DEFAULT ROLE"),
            Kw::RESOURCE => return self.refuse("SET RESOURCE GROUP"),
            _ if self.is_word("statement") => return self.refuse("SET STATEMENT"),
            _ => {}
        }
        Ok(Statement::Set(self.list(Self::set_one)?))
    }
    fn scope(&mut self) -> Option<Scope> {
        let scope = match self.tok.kw {
            Kw::GLOBAL => Scope::Global,
            Kw::SESSION | Kw::LOCAL => Scope::Session,
            Kw::PERSIST => Scope::Persist,
            Kw::PERSIST_ONLY => Scope::PersistOnly,
            _ => return None,
        };
        self.bump();
        Some(scope)
    }
    fn set_one(&mut self) -> Result<SetStatement> {
        match self.tok.tok {
            Tok::AtName => {
                let name = self.name_of(self.tok)?;
                self.bump();
                self.assign()?;
                return Ok(SetStatement::User { name, value: self.expr()? });
            }
            Tok::AtAt => return self.set_at(),
            _ => {}
        }
        if self.is(Kw::NAMES) && self.peek().tok != Tok::Eq {
            return self.names();
        }
        if self.is(Kw::CHARSET) || (matches!(self.tok.kw, Kw::CHARACTER | Kw::CHAR) && self.peek().kw == Kw::SET) {
            if !self.eat(Kw::CHARSET) {
                self.bump();
                self.bump();
            }
            return Ok(SetStatement::Charset(self.charset_or_default()?));
        }
        let scope = match self.peek().tok {
            Tok::Word | Tok::Quoted => self.scope(),
            _ => None,
        };
        self.set_system(scope)
    }
    fn set_at(&mut self) -> Result<SetStatement> {
        let Expr::SysVar { scope, name } = self.system_variable()? else {
            return Err(self.unexpected());
        };
        let scope = match scope.as_deref() {
            Some("global") => Some(Scope::Global),
            Some("session") => Some(Scope::Session),
            Some("persist") => Some(Scope::Persist),
            Some(_) => Some(Scope::PersistOnly),
            None => None,
        };
        self.assign()?;
        Ok(SetStatement::System {
            scope,
            name,
            value: self.set_value()?,
        })
    }
    fn set_system(&mut self, scope: Option<Scope>) -> Result<SetStatement> {
        let mut name = self.ident()?;
        while self.eat_tok(Tok::Dot) {
            name = format!("{name}.{}", self.ident()?);
        }
        self.assign()?;
        Ok(SetStatement::System {
            scope,
            name,
            value: self.set_value()?,
        })
    }
    fn assign(&mut self) -> Result<()> {
        if self.eat_tok(Tok::Assign) {
            Ok(())
        } else {
            self.need_tok(Tok::Eq)
        }
    }
    /// An expression, DEFAULT, or a word that stands for itself.
    fn set_value(&mut self) -> Result<Expr> {
        let next = self.peek().tok;
        if self.at(Tok::Word) && matches!(next, Tok::End | Tok::Comma | Tok::Semicolon) {
            let word = match self.tok.kw {
                Kw::ON | Kw::ALL | Kw::BINARY | Kw::ROW | Kw::SYSTEM => true,
                Kw::DEFAULT | Kw::NULL | Kw::TRUE | Kw::FALSE => false,
                kw => !kw.is_reserved(),
            };
            if word {
                let bytes = self.source(self.tok).to_vec();
                self.bump();
                return Ok(bare(bytes));
            }
        }
        self.expr()
    }
    fn charset_or_default(&mut self) -> Result<Option<String>> {
        if self.eat(Kw::DEFAULT) {
            Ok(None)
        } else {
            self.charset_name().map(Some)
        }
    }
    fn names(&mut self) -> Result<SetStatement> {
        self.bump();
        let charset = self.charset_or_default()?;
        let collation = if self.eat(Kw::COLLATE) { self.charset_or_default()? } else { None };
        Ok(SetStatement::Names { charset, collation })
    }
    fn set_transaction(&mut self, scope: Option<Scope>) -> Result<Statement> {
        self.bump();
        let (mut isolation, mut read_only) = (None, None);
        loop {
            if isolation.is_none() && self.eat_all(&[Kw::ISOLATION, Kw::LEVEL]) {
                isolation = Some(self.isolation()?);
            } else if read_only.is_none() && self.eat(Kw::READ) {
                read_only = Some(self.eat(Kw::ONLY));
                if read_only == Some(false) {
                    self.need(Kw::WRITE)?;
                }
            } else {
                return Err(self.unexpected());
            }
            if !self.eat_tok(Tok::Comma) {
                break;
            }
        }
        Ok(Statement::Set(vec![SetStatement::Transaction {
            scope,
            isolation,
            read_only,
        }]))
    }
    fn isolation(&mut self) -> Result<Isolation> {
        if self.eat(Kw::SERIALIZABLE) {
            return Ok(Isolation::Serializable);
        }
        if self.eat_all(&[Kw::REPEATABLE, Kw::READ]) {
            return Ok(Isolation::RepeatableRead);
        }
        self.need(Kw::READ)?;
        if self.eat(Kw::COMMITTED) {
            return Ok(Isolation::ReadCommitted);
        }
        self.need(Kw::UNCOMMITTED)?;
        Ok(Isolation::ReadUncommitted)
    }
    fn set_password(&mut self) -> Result<Statement> {
        self.bump();
        let user = if self.eat(Kw::FOR) { Some(self.account()?) } else { None };
        if self.eat(Kw::TO) {
            return Err(SqlError::unsupported("SET PASSWORD TO RANDOM"));
        }
        self.assign()?;
        let password = if self.eat(Kw::PASSWORD) {
            self.need_tok(Tok::LParen)?;
            let text = self.string()?;
            self.need_tok(Tok::RParen)?;
            text
        } else {
            self.string()?
        };
        Ok(Statement::Set(vec![SetStatement::Password { user, password }]))
    }
    /// `user[@host]`
    pub(super) fn account(&mut self) -> Result<Account> {
        if self.eat(Kw::CURRENT_USER) {
            if self.eat_tok(Tok::LParen) {
                self.need_tok(Tok::RParen)?;
            }
            return Ok(Account {
                user: String::new(),
                host: None,
            });
        }
        let user = self.ident_or_string()?;
        let host = if self.at(Tok::AtName) {
            let host = self.name_of(self.tok)?;
            self.bump();
            Some(host)
        } else if self.eat_tok(Tok::At) {
            Some(self.ident_or_string()?)
        } else {
            None
        };
        Ok(Account { user, host })
    }
}

fn bare(bytes: Vec<u8>) -> Expr {
    Expr::Literal {
        value: Literal::String { bytes, charset: None },
        slot: NO_SLOT,
    }
}
