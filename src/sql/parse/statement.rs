//! Which statement it is, by its first words; and the short ones.
//!
//! Promises: what MySQL knows and Starling does not is `Refused` by name, never 1064. Must not know: the long statements' grammar.

use super::{Parser, Result};
use crate::sql::ast::{PrepareSource, Statement};
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    pub(super) fn statement(&mut self) -> Result<Statement> {
        match self.tok.kw {
            Kw::SELECT | Kw::VALUES | Kw::TABLE => self.query_statement(),
            Kw::WITH => self.with_statement(),
            Kw::INSERT | Kw::REPLACE => self.insert(),
            Kw::UPDATE => self.update(None),
            Kw::DELETE => self.delete(None),
            Kw::SET => self.set(),
            Kw::SHOW => self.show(),
            Kw::DESCRIBE | Kw::DESC | Kw::EXPLAIN => self.explain(),
            Kw::CREATE => self.create(),
            Kw::ALTER => self.alter(),
            Kw::DROP => self.drop_statement(),
            Kw::TRUNCATE => {
                self.bump();
                self.eat(Kw::TABLE);
                Ok(Statement::TruncateTable(self.table_name()?))
            }
            Kw::RENAME => self.rename(),
            Kw::USE => {
                self.bump();
                Ok(Statement::Use(self.ident()?))
            }
            Kw::BEGIN | Kw::START | Kw::COMMIT | Kw::ROLLBACK | Kw::SAVEPOINT | Kw::RELEASE => self.transaction(),
            Kw::PREPARE | Kw::EXECUTE | Kw::DEALLOCATE => self.prepared(),
            Kw::DO => {
                self.bump();
                Ok(Statement::Do(
                    self.list(|p| Ok(select_expr(p.select_item()?)))?.into_iter().flatten().collect(),
                ))
            }
            _ if self.at(Tok::LParen) => self.query_statement(),
            _ => self.admin(),
        }
    }
    fn query_statement(&mut self) -> Result<Statement> {
        Ok(Statement::Query(Box::new(self.query()?)))
    }
    /// WITH before SELECT, UPDATE or DELETE.
    fn with_statement(&mut self) -> Result<Statement> {
        let with = self.with()?;
        match self.tok.kw {
            Kw::UPDATE => self.update(with),
            Kw::DELETE => self.delete(with),
            _ => Ok(Statement::Query(Box::new(self.query_with(with)?))),
        }
    }
    /// A statement that we know by name only.
    pub(super) fn refuse(&mut self, name: &'static str) -> Result<Statement> {
        self.skip_statement();
        Ok(Statement::Refused(name))
    }

    fn transaction(&mut self) -> Result<Statement> {
        let kw = self.tok.kw;
        let next = self.peek().kw;
        match kw {
            Kw::START if matches!(next, Kw::REPLICA | Kw::SLAVE) => return self.refuse("START REPLICA"),
            Kw::START if next != Kw::TRANSACTION => return self.refuse("START GROUP_REPLICATION"),
            Kw::BEGIN if next == Kw::NOT => return self.refuse("BEGIN NOT ATOMIC"),
            _ => self.bump(),
        }
        Ok(match kw {
            Kw::BEGIN => {
                self.eat(Kw::WORK);
                Statement::Begin {
                    read_only: None,
                    snapshot: false,
                }
            }
            Kw::START => return self.start_transaction(),
            Kw::SAVEPOINT => Statement::Savepoint(self.ident()?),
            Kw::RELEASE => {
                self.need(Kw::SAVEPOINT)?;
                Statement::ReleaseSavepoint(self.ident()?)
            }
            Kw::COMMIT => {
                let (chain, release) = self.completion()?;
                Statement::Commit { chain, release }
            }
            _ => {
                self.eat(Kw::WORK);
                if self.eat(Kw::TO) {
                    self.eat(Kw::SAVEPOINT);
                    return Ok(Statement::RollbackTo(self.ident()?));
                }
                let (chain, release) = self.completion()?;
                Statement::Rollback { chain, release }
            }
        })
    }
    fn start_transaction(&mut self) -> Result<Statement> {
        self.bump();
        let (mut read_only, mut snapshot) = (None, false);
        loop {
            if self.eat_all(&[Kw::READ, Kw::ONLY]) {
                read_only = Some(true);
            } else if self.eat_all(&[Kw::READ, Kw::WRITE]) {
                read_only = Some(false);
            } else if self.eat_all(&[Kw::WITH, Kw::CONSISTENT, Kw::SNAPSHOT]) {
                snapshot = true;
            } else {
                break;
            }
            if !self.eat_tok(Tok::Comma) {
                break;
            }
        }
        Ok(Statement::Begin { read_only, snapshot })
    }
    /// `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]`
    fn completion(&mut self) -> Result<(bool, bool)> {
        self.eat(Kw::WORK);
        let mut chain = false;
        if self.eat(Kw::AND) {
            chain = !self.eat(Kw::NO);
            self.need(Kw::CHAIN)?;
        }
        if self.eat(Kw::NO) {
            self.need(Kw::RELEASE)?;
            return Ok((chain, false));
        }
        Ok((chain, self.eat(Kw::RELEASE)))
    }

    fn prepared(&mut self) -> Result<Statement> {
        let kw = self.tok.kw;
        self.bump();
        Ok(match kw {
            Kw::PREPARE => {
                let name = self.ident()?;
                self.need(Kw::FROM)?;
                let source = if self.at(Tok::AtName) {
                    let var = self.name_of(self.tok)?;
                    self.bump();
                    PrepareSource::Var(var)
                } else {
                    PrepareSource::Text(self.string()?)
                };
                Statement::Prepare { name, source }
            }
            Kw::EXECUTE => {
                if self.is(Kw::IMMEDIATE) {
                    return self.refuse("EXECUTE IMMEDIATE");
                }
                let name = self.ident()?;
                let using = if self.eat(Kw::USING) {
                    self.list(Self::user_var_name)?
                } else {
                    Vec::new()
                };
                Statement::Execute { name, using }
            }
            _ => {
                self.need(Kw::PREPARE)?;
                Statement::Deallocate(self.ident()?)
            }
        })
    }
    pub(super) fn user_var_name(&mut self) -> Result<String> {
        if !self.at(Tok::AtName) {
            return Err(self.unexpected());
        }
        let name = self.name_of(self.tok)?;
        self.bump();
        Ok(name)
    }
}

fn select_expr(item: crate::sql::ast::SelectItem) -> Option<crate::sql::ast::Expr> {
    match item {
        crate::sql::ast::SelectItem::Expr { expr, .. } => Some(expr),
        _ => None,
    }
}
