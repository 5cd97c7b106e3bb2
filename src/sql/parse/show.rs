//! SHOW, DESCRIBE, EXPLAIN.
//!
//! Promises: a SHOW that MySQL has and we do not is `ShowKind::Other` with its words. Must not know: results.

use super::{Parser, Result};
use crate::sql::ast::{Name, Scope, Show, ShowFilter, ShowKind, Statement};
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    pub(super) fn show(&mut self) -> Result<Statement> {
        self.bump();
        let mut show = Show {
            kind: ShowKind::Databases,
            full: false,
            extended: false,
            filter: None,
        };
        show.extended = self.eat(Kw::EXTENDED);
        show.full = self.eat(Kw::FULL);
        let start = self.tok.start;
        show.kind = self.show_kind(start)?;
        if self.eat(Kw::LIKE) {
            show.filter = Some(ShowFilter::Like(self.string()?));
        } else if self.eat(Kw::WHERE) {
            show.filter = Some(ShowFilter::Where(self.expr()?));
        }
        Ok(Statement::Show(Box::new(show)))
    }
    fn show_kind(&mut self, start: u32) -> Result<ShowKind> {
        let kw = self.tok.kw;
        if !self.at(Tok::Word) {
            return Err(self.unexpected());
        }
        self.bump();
        Ok(match kw {
            Kw::DATABASES | Kw::SCHEMAS => ShowKind::Databases,
            Kw::TABLES => ShowKind::Tables { db: self.of_db()? },
            Kw::TABLE => {
                self.need(Kw::STATUS)?;
                ShowKind::TableStatus { db: self.of_db()? }
            }
            Kw::OPEN => {
                self.need(Kw::TABLES)?;
                ShowKind::OpenTables { db: self.of_db()? }
            }
            Kw::COLUMNS | Kw::FIELDS => ShowKind::Columns { table: self.of_table()? },
            Kw::INDEX | Kw::INDEXES | Kw::KEYS => ShowKind::Index { table: self.of_table()? },
            Kw::CREATE => self.show_create()?,
            Kw::TRIGGERS => ShowKind::Triggers { db: self.of_db()? },
            Kw::EVENTS => ShowKind::Events { db: self.of_db()? },
            Kw::PROCEDURE if self.eat(Kw::STATUS) => ShowKind::ProcedureStatus,
            Kw::FUNCTION if self.eat(Kw::STATUS) => ShowKind::FunctionStatus,
            Kw::GLOBAL | Kw::SESSION | Kw::LOCAL => {
                let scope = if kw == Kw::GLOBAL { Scope::Global } else { Scope::Session };
                if self.eat(Kw::VARIABLES) {
                    ShowKind::Variables(scope)
                } else {
                    self.need(Kw::STATUS)?;
                    ShowKind::Status(scope)
                }
            }
            Kw::VARIABLES => ShowKind::Variables(Scope::Session),
            Kw::STATUS => ShowKind::Status(Scope::Session),
            Kw::WARNINGS => ShowKind::Warnings { limit: self.numbers()? },
            Kw::ERRORS => ShowKind::Errors { limit: self.numbers()? },
            Kw::COUNT => {
                self.need_tok(Tok::LParen)?;
                self.need_tok(Tok::Star)?;
                self.need_tok(Tok::RParen)?;
                match self.eat_any(&[Kw::WARNINGS, Kw::ERRORS]) {
                    Some(Kw::WARNINGS) => ShowKind::CountWarnings,
                    Some(_) => ShowKind::CountErrors,
                    None => return Err(self.unexpected()),
                }
            }
            Kw::PROCESSLIST => ShowKind::ProcessList,
            Kw::ENGINES => ShowKind::Engines,
            Kw::STORAGE if self.eat(Kw::ENGINES) => ShowKind::Engines,
            Kw::ENGINE => self.engine(start)?,
            Kw::CHARSET => ShowKind::CharacterSet,
            Kw::CHARACTER | Kw::CHAR => {
                self.need(Kw::SET)?;
                ShowKind::CharacterSet
            }
            Kw::COLLATION => ShowKind::Collation,
            Kw::GRANTS => self.grants()?,
            Kw::PRIVILEGES => ShowKind::Privileges,
            Kw::PLUGINS => ShowKind::Plugins,
            Kw::PROFILES => ShowKind::Profiles,
            _ => self.show_servers(kw, start)?,
        })
    }
    fn show_servers(&mut self, kw: Kw, start: u32) -> Result<ShowKind> {
        Ok(match kw {
            Kw::BINARY if self.eat_all(&[Kw::LOG, Kw::STATUS]) => ShowKind::BinaryLogStatus,
            Kw::BINARY | Kw::MASTER if self.eat(Kw::LOGS) => ShowKind::BinaryLogs,
            Kw::MASTER if self.eat(Kw::STATUS) => ShowKind::BinaryLogStatus,
            Kw::REPLICA | Kw::SLAVE if self.eat(Kw::STATUS) => {
                if self.eat(Kw::FOR) {
                    self.need(Kw::CHANNEL)?;
                    self.string()?;
                }
                ShowKind::ReplicaStatus
            }
            Kw::REPLICAS => ShowKind::Replicas,
            Kw::SLAVE if self.eat(Kw::HOSTS) => ShowKind::Replicas,
            Kw::None if !is_foreign(self.text, start) => return Err(self.syntax_at(start)),
            _ => {
                self.skip_statement();
                let words = &self.text[start as usize..self.prev_end as usize];
                ShowKind::Other(String::from_utf8_lossy(words).into_owned())
            }
        })
    }
    fn of_db(&mut self) -> Result<Option<Name>> {
        if self.eat(Kw::FROM) || self.eat(Kw::IN) {
            self.ident().map(Some)
        } else {
            Ok(None)
        }
    }
    /// `FROM t [FROM db]`
    fn of_table(&mut self) -> Result<crate::sql::ast::TableName> {
        if !self.eat(Kw::FROM) {
            self.need(Kw::IN)?;
        }
        let mut table = self.table_name()?;
        if let Some(db) = self.of_db()? {
            table.db = Some(db);
        }
        Ok(table)
    }
    fn show_create(&mut self) -> Result<ShowKind> {
        let word = self.tok;
        let kw = word.kw;
        self.bump();
        Ok(match kw {
            Kw::TABLE => ShowKind::CreateTable(self.table_name()?),
            Kw::VIEW => ShowKind::CreateView(self.table_name()?),
            Kw::DATABASE | Kw::SCHEMA => {
                let if_not_exists = self.if_not_exists()?;
                ShowKind::CreateDatabase {
                    name: self.ident()?,
                    if_not_exists,
                }
            }
            Kw::USER => ShowKind::CreateUser(self.account()?),
            Kw::PROCEDURE => ShowKind::CreateOther("PROCEDURE", self.table_name()?),
            Kw::FUNCTION => ShowKind::CreateOther("FUNCTION", self.table_name()?),
            Kw::TRIGGER => ShowKind::CreateOther("TRIGGER", self.table_name()?),
            Kw::EVENT => ShowKind::CreateOther("EVENT", self.table_name()?),
            Kw::SEQUENCE => ShowKind::CreateOther("SEQUENCE", self.table_name()?),
            _ => return Err(self.syntax_at(word.start)),
        })
    }
    fn numbers(&mut self) -> Result<Option<(u64, u64)>> {
        if !self.eat(Kw::LIMIT) {
            return Ok(None);
        }
        let first = self.integer()?;
        if self.eat_tok(Tok::Comma) {
            return Ok(Some((first, self.integer()?)));
        }
        if self.eat(Kw::OFFSET) {
            return Ok(Some((self.integer()?, first)));
        }
        Ok(Some((0, first)))
    }
    fn engine(&mut self, start: u32) -> Result<ShowKind> {
        let name = if self.eat(Kw::ALL) { "all".into() } else { self.ident_or_string()? };
        if self.eat(Kw::STATUS) {
            return Ok(ShowKind::EngineStatus(name));
        }
        self.show_servers(Kw::ENGINE, start)
    }
    fn grants(&mut self) -> Result<ShowKind> {
        if !self.eat(Kw::FOR) {
            return Ok(ShowKind::Grants(None));
        }
        let account = self.account()?;
        if self.eat(Kw::USING) {
            self.skip_statement();
        }
        Ok(ShowKind::Grants(Some(account)))
    }

    /// DESCRIBE, DESC and EXPLAIN: a table's columns, or how a statement would run.
    pub(super) fn explain(&mut self) -> Result<Statement> {
        self.bump();
        let option = self.is(Kw::EXTENDED) || self.is(Kw::PARTITIONS) || (self.is(Kw::FORMAT) && self.peek().tok == Tok::Eq);
        if self.is_ident() && !option {
            let table = self.table_name()?;
            let column = if self.at(Tok::Str) {
                Some(self.string()?)
            } else if self.is_ident() {
                Some(self.ident()?.into_bytes())
            } else {
                None
            };
            return Ok(Statement::Describe { table, column });
        }
        let analyze = self.eat(Kw::ANALYZE);
        let _ = self.eat_any(&[Kw::EXTENDED, Kw::PARTITIONS]);
        let format = if self.eat(Kw::FORMAT) {
            self.need_tok(Tok::Eq)?;
            Some(self.ident_or_string()?)
        } else {
            None
        };
        if self.is(Kw::FOR) {
            return self.refuse("EXPLAIN FOR CONNECTION");
        }
        let start = self.tok.start;
        let statement = match self.tok.kw {
            Kw::SELECT | Kw::WITH | Kw::TABLE | Kw::VALUES | Kw::INSERT | Kw::REPLACE | Kw::UPDATE | Kw::DELETE => self.statement()?,
            _ if self.at(Tok::LParen) => self.statement()?,
            _ => return Err(self.syntax_at(start)),
        };
        Ok(Statement::Explain {
            format,
            analyze,
            statement: Box::new(statement),
        })
    }
}

/// Kinds of SHOW that are no words of MySQL's grammar elsewhere, or MariaDB's.
fn is_foreign(text: &[u8], start: u32) -> bool {
    const WORDS: [&[u8]; 10] = [
        b"authors",
        b"contributors",
        b"locales",
        b"package",
        b"explain",
        b"client_statistics",
        b"user_statistics",
        b"table_statistics",
        b"index_statistics",
        b"parse_tree",
    ];
    let rest = &text[start as usize..];
    WORDS
        .iter()
        .any(|w| rest.len() >= w.len() && rest[..w.len()].eq_ignore_ascii_case(w))
}
