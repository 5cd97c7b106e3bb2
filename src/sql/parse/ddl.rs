//! CREATE, DROP, RENAME of everything but tables' inside: databases, indexes, views; and what we only know by name.
//!
//! Promises: stored programs, users, tablespaces and the like are refused by name. Must not know: the catalog.

use super::{Parser, Result, SqlError};
use crate::sql::ast::{KeyKind, Statement, TableName, TableOption};
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    pub(super) fn create(&mut self) -> Result<Statement> {
        self.bump();
        let or_replace = self.eat_all(&[Kw::OR, Kw::REPLACE]);
        match self.tok.kw {
            Kw::TABLE => {
                self.bump();
                if or_replace {
                    self.refuse("CREATE OR REPLACE TABLE")
                } else {
                    self.create_table(false)
                }
            }
            Kw::TEMPORARY => {
                self.bump();
                if or_replace {
                    return self.refuse("CREATE OR REPLACE TABLE");
                }
                self.need(Kw::TABLE)?;
                self.create_table(true)
            }
            Kw::DATABASE | Kw::SCHEMA if or_replace => self.refuse("CREATE OR REPLACE DATABASE"),
            Kw::DATABASE | Kw::SCHEMA => self.create_database(),
            Kw::INDEX | Kw::UNIQUE | Kw::FULLTEXT | Kw::SPATIAL | Kw::VECTOR => self.create_index(or_replace),
            Kw::ALGORITHM | Kw::DEFINER | Kw::SQL | Kw::VIEW => self.create_view(or_replace),
            kw => match stored(kw, "CREATE") {
                Some(name) => self.refuse_all(name),
                None => self.create_other(),
            },
        }
    }
    fn create_other(&mut self) -> Result<Statement> {
        let name = match self.tok.kw {
            Kw::USER => "CREATE USER",
            Kw::ROLE => "CREATE ROLE",
            Kw::SERVER => "CREATE SERVER",
            Kw::TABLESPACE | Kw::UNDO => "CREATE TABLESPACE",
            Kw::LOGFILE => "CREATE LOGFILE GROUP",
            Kw::RESOURCE => "CREATE RESOURCE GROUP",
            Kw::SEQUENCE => "CREATE SEQUENCE",
            Kw::AGGREGATE => "CREATE AGGREGATE FUNCTION",
            _ if self.is_word("package") => return self.refuse_all("CREATE PACKAGE"),
            _ => return Err(self.unexpected()),
        };
        self.refuse(name)
    }
    /// A stored program's body goes to the end of the text, semicolons included.
    pub(super) fn refuse_all(&mut self, name: &'static str) -> Result<Statement> {
        while !matches!(self.tok.tok, Tok::End | Tok::Bad) {
            self.bump();
        }
        Ok(Statement::Refused(name))
    }
    fn create_database(&mut self) -> Result<Statement> {
        self.bump();
        let if_not_exists = self.if_not_exists()?;
        Ok(Statement::CreateDatabase {
            if_not_exists,
            name: self.ident()?,
            options: self.database_options()?,
        })
    }
    pub(super) fn database_options(&mut self) -> Result<Vec<TableOption>> {
        let mut options = Vec::new();
        loop {
            if let Some(option) = self.charset_option()? {
                options.push(option);
                continue;
            }
            let of_default = self.is(Kw::DEFAULT) && self.peek().kw == Kw::ENCRYPTION;
            if of_default {
                self.bump();
            }
            let key = match self.tok.kw {
                Kw::ENCRYPTION => "encryption",
                Kw::COMMENT => "comment",
                Kw::READ => "read only",
                _ => return Ok(options),
            };
            self.bump();
            if key == "read only" {
                self.need(Kw::ONLY)?;
            }
            self.eat_tok(Tok::Eq);
            let value = match self.tok.tok {
                Tok::Str => self.string()?,
                _ => {
                    let value = self.source(self.tok).to_vec();
                    self.bump();
                    value
                }
            };
            options.push(TableOption { key: key.into(), value });
        }
    }
    fn create_index(&mut self, or_replace: bool) -> Result<Statement> {
        let kw = self.tok.kw;
        let kind = match kw {
            Kw::UNIQUE => KeyKind::Unique,
            Kw::FULLTEXT => KeyKind::FullText,
            Kw::SPATIAL => KeyKind::Spatial,
            Kw::VECTOR => KeyKind::Vector,
            _ => KeyKind::Plain,
        };
        if kw != Kw::INDEX {
            self.bump();
        }
        if kw == Kw::SPATIAL && self.is(Kw::REFERENCES) {
            return self.refuse("CREATE SPATIAL REFERENCE SYSTEM");
        }
        self.need(Kw::INDEX)?;
        if or_replace {
            return self.refuse("CREATE OR REPLACE INDEX");
        }
        let if_not_exists = self.if_not_exists()?;
        let name = self.ident()?;
        self.key_algorithm()?;
        self.need(Kw::ON)?;
        let table = self.table_name()?;
        let key = self.key_body(kind, Some(name), None)?;
        self.lock_options()?;
        Ok(Statement::CreateIndex { table, key, if_not_exists })
    }
    /// `[ALGORITHM [=] x] [LOCK [=] y]`
    fn lock_options(&mut self) -> Result<()> {
        while self.eat_any(&[Kw::ALGORITHM, Kw::LOCK]).is_some() {
            self.eat_tok(Tok::Eq);
            self.word_value()?;
        }
        self.wait_option()
    }
    /// Any one word (DEFAULT and other reserved ones included).
    pub(super) fn word_value(&mut self) -> Result<()> {
        if !self.at(Tok::Word) {
            return Err(self.unexpected());
        }
        self.bump();
        Ok(())
    }
    /// MariaDB's `WAIT n` and `NOWAIT`: how long to wait for a lock that we never wait for.
    pub(super) fn wait_option(&mut self) -> Result<()> {
        if !self.eat(Kw::NOWAIT) && self.eat(Kw::WAIT) {
            self.integer()?;
        }
        Ok(())
    }

    /// `[ALGORITHM=…] [DEFINER=…] [SQL SECURITY …] VIEW …` — or a stored program with a definer.
    fn create_view(&mut self, or_replace: bool) -> Result<Statement> {
        self.view_prefix()?;
        if !self.is(Kw::VIEW) {
            return match stored(self.tok.kw, "CREATE") {
                Some(name) => self.refuse_all(name),
                None => Err(self.unexpected()),
            };
        }
        self.bump();
        if self.is(Kw::IF) {
            return self.refuse("CREATE VIEW IF NOT EXISTS");
        }
        let name = self.table_name()?;
        let columns = self.name_list()?;
        self.need(Kw::AS)?;
        let start = self.tok.start;
        let query = Box::new(self.query()?);
        let text = self.span_from(start);
        let mut check_option = None;
        if self.eat(Kw::WITH) {
            check_option = Some(!self.eat(Kw::LOCAL));
            self.eat(Kw::CASCADED);
            self.need(Kw::CHECK)?;
            self.need(Kw::OPTION)?;
        }
        Ok(Statement::CreateView {
            or_replace,
            name,
            columns,
            query,
            text,
            check_option,
        })
    }
    pub(super) fn view_prefix(&mut self) -> Result<()> {
        loop {
            if self.eat(Kw::ALGORITHM) {
                self.need_tok(Tok::Eq)?;
                self.word_value()?;
            } else if self.eat(Kw::DEFINER) {
                self.need_tok(Tok::Eq)?;
                self.account()?;
            } else if self.eat(Kw::SQL) {
                if !self.eat_word("security") {
                    return Err(self.unexpected());
                }
                self.word_value()?;
            } else {
                self.eat(Kw::AGGREGATE);
                return Ok(());
            }
        }
    }

    pub(super) fn drop_statement(&mut self) -> Result<Statement> {
        self.bump();
        let kw = self.tok.kw;
        match kw {
            Kw::TABLE | Kw::TABLES => self.drop_tables(false),
            Kw::TEMPORARY => {
                self.bump();
                if !matches!(self.tok.kw, Kw::TABLE | Kw::TABLES) {
                    return Err(self.unexpected());
                }
                self.drop_tables(true)
            }
            Kw::VIEW => {
                self.bump();
                let if_exists = self.if_exists()?;
                let names = self.drop_names()?;
                Ok(Statement::DropViews { if_exists, names })
            }
            Kw::DATABASE | Kw::SCHEMA => {
                self.bump();
                let if_exists = self.if_exists()?;
                let name = self.ident()?;
                Ok(Statement::DropDatabase { name, if_exists })
            }
            Kw::INDEX => {
                self.bump();
                let if_exists = self.if_exists()?;
                let name = self.ident()?;
                self.need(Kw::ON)?;
                let table = self.table_name()?;
                self.lock_options()?;
                Ok(Statement::DropIndex { table, name, if_exists })
            }
            Kw::PREPARE => {
                self.bump();
                Ok(Statement::Deallocate(self.ident()?))
            }
            _ => match stored(kw, "DROP") {
                Some(name) => self.refuse(name),
                None => self.drop_other(),
            },
        }
    }
    fn drop_other(&mut self) -> Result<Statement> {
        let name = match self.tok.kw {
            Kw::USER => "DROP USER",
            Kw::ROLE => "DROP ROLE",
            Kw::SERVER => "DROP SERVER",
            Kw::TABLESPACE | Kw::UNDO => "DROP TABLESPACE",
            Kw::LOGFILE => "DROP LOGFILE GROUP",
            Kw::RESOURCE => "DROP RESOURCE GROUP",
            Kw::SPATIAL => "DROP SPATIAL REFERENCE SYSTEM",
            Kw::SEQUENCE => "DROP SEQUENCE",
            _ if self.is_word("package") => "DROP PACKAGE",
            _ => return Err(self.unexpected()),
        };
        self.refuse(name)
    }
    fn drop_tables(&mut self, temporary: bool) -> Result<Statement> {
        self.bump();
        let if_exists = self.if_exists()?;
        let names = self.drop_names()?;
        Ok(Statement::DropTables {
            temporary,
            if_exists,
            names,
        })
    }
    fn drop_names(&mut self) -> Result<Vec<TableName>> {
        let names = self.list(Self::table_name)?;
        self.wait_option()?;
        let _ = self.eat_any(&[Kw::RESTRICT, Kw::CASCADE]);
        Ok(names)
    }
    pub(super) fn rename(&mut self) -> Result<Statement> {
        self.bump();
        if self.is(Kw::USER) {
            return self.refuse("RENAME USER");
        }
        if !self.eat(Kw::TABLES) {
            self.need(Kw::TABLE)?;
        }
        if self.is(Kw::IF) {
            return Err(SqlError::unsupported("RENAME TABLE IF EXISTS"));
        }
        Ok(Statement::RenameTables(self.list(|p| {
            let old = p.table_name()?;
            p.wait_option()?;
            p.need(Kw::TO)?;
            Ok((old, p.table_name()?))
        })?))
    }
}

/// Stored programs, by the verb before them.
pub(super) fn stored(kw: Kw, verb: &str) -> Option<&'static str> {
    const NAMES: [(Kw, [&str; 3]); 4] = [
        (Kw::PROCEDURE, ["CREATE PROCEDURE", "ALTER PROCEDURE", "DROP PROCEDURE"]),
        (Kw::FUNCTION, ["CREATE FUNCTION", "ALTER FUNCTION", "DROP FUNCTION"]),
        (Kw::TRIGGER, ["CREATE TRIGGER", "ALTER TRIGGER", "DROP TRIGGER"]),
        (Kw::EVENT, ["CREATE EVENT", "ALTER EVENT", "DROP EVENT"]),
    ];
    let (_, names) = NAMES.iter().find(|n| n.0 == kw)?;
    names.iter().find(|n| n.starts_with(verb)).copied()
}
