//! Statements about the server rather than about data: KILL, FLUSH, LOCK TABLES, maintenance; and those refused by their first word.
//!
//! Promises: no statement of MySQL gives 1064 for its first word. Must not know: what they would do.

use super::{Parser, Result};
use crate::sql::ast::Statement;
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    pub(super) fn admin(&mut self) -> Result<Statement> {
        let next = self.peek().kw;
        match self.tok.kw {
            Kw::KILL => self.kill(),
            Kw::FLUSH => self.flush(),
            Kw::XA => self.xa(),
            Kw::LOCK if matches!(next, Kw::TABLE | Kw::TABLES) => self.lock_tables(),
            Kw::UNLOCK if matches!(next, Kw::TABLE | Kw::TABLES) => {
                self.bump();
                self.bump();
                Ok(Statement::UnlockTables)
            }
            Kw::LOAD if next == Kw::DATA => self.load_data(),
            Kw::ANALYZE | Kw::OPTIMIZE | Kw::REPAIR | Kw::CHECK | Kw::CHECKSUM => self.maintenance(),
            kw => match self.refused_word(kw, next) {
                Some(name) => self.refuse_all(name),
                None => Err(self.unexpected()),
            },
        }
    }
    fn refused_word(&self, kw: Kw, next: Kw) -> Option<&'static str> {
        Some(match kw {
            Kw::CALL => "CALL",
            Kw::GRANT => "GRANT",
            Kw::REVOKE => "REVOKE",
            Kw::HANDLER => "HANDLER",
            Kw::HELP => "HELP",
            Kw::LOAD if next == Kw::XML => "LOAD XML",
            Kw::LOAD if next == Kw::INDEX => "LOAD INDEX INTO CACHE",
            Kw::LOCK | Kw::UNLOCK if next == Kw::INSTANCE => "LOCK INSTANCE",
            Kw::PURGE => "PURGE BINARY LOGS",
            Kw::CHANGE => "CHANGE REPLICATION SOURCE",
            Kw::RESET => "RESET",
            Kw::STOP => "STOP REPLICA",
            Kw::INSTALL => "INSTALL",
            Kw::UNINSTALL => "UNINSTALL",
            Kw::SIGNAL => "SIGNAL",
            Kw::RESIGNAL => "RESIGNAL",
            Kw::GET => "GET DIAGNOSTICS",
            Kw::CACHE => "CACHE INDEX",
            Kw::CLONE => "CLONE",
            Kw::IMPORT => "IMPORT TABLE",
            Kw::RESTART => "RESTART",
            Kw::SHUTDOWN => "SHUTDOWN",
            Kw::BINLOG => "BINLOG",
            Kw::BACKUP => "BACKUP",
            _ => return None,
        })
    }
    /// `KILL [CONNECTION | QUERY] id`
    fn kill(&mut self) -> Result<Statement> {
        self.bump();
        let query = self.eat(Kw::QUERY);
        if !query {
            self.eat(Kw::CONNECTION);
        }
        Ok(Statement::Kill { query, id: self.expr()? })
    }
    fn flush(&mut self) -> Result<Statement> {
        self.bump();
        let _ = self.eat_any(&[Kw::NO_WRITE_TO_BINLOG, Kw::LOCAL]);
        if !self.at(Tok::Word) {
            return Err(self.unexpected());
        }
        if matches!(self.tok.kw, Kw::TABLE | Kw::TABLES) {
            return self.flush_tables();
        }
        let mut words: Vec<String> = Vec::new();
        while !matches!(self.tok.tok, Tok::End | Tok::Semicolon | Tok::Bad) {
            words.push(String::from_utf8_lossy(self.source(self.tok)).to_ascii_uppercase());
            self.bump();
        }
        Ok(Statement::Flush(words.join(" ")))
    }
    /// `TABLES [names] [WITH READ LOCK | FOR EXPORT]`
    fn flush_tables(&mut self) -> Result<Statement> {
        self.bump();
        let done = |p: &Self| matches!(p.tok.tok, Tok::End | Tok::Semicolon);
        let names = if done(self) || matches!(self.tok.kw, Kw::WITH | Kw::FOR) {
            Vec::new()
        } else {
            self.list(Self::table_name)?
        };
        if self.is(Kw::FOR) {
            return self.refuse("FLUSH TABLES ... FOR EXPORT");
        }
        let read_lock = self.eat_all(&[Kw::WITH, Kw::READ, Kw::LOCK]);
        Ok(Statement::FlushTables { names, read_lock })
    }
    fn lock_tables(&mut self) -> Result<Statement> {
        self.bump();
        self.bump();
        let locks = self.list(|p| {
            let table = p.table_name()?;
            let alias = p.table_alias()?;
            if p.eat(Kw::READ) {
                p.eat(Kw::LOCAL);
                return Ok((table, alias, false));
            }
            let _ = p.eat_any(&[Kw::LOW_PRIORITY, Kw::CONCURRENT]);
            p.need(Kw::WRITE)?;
            Ok((table, alias, true))
        })?;
        self.wait_option()?;
        Ok(Statement::LockTables(locks))
    }
    /// LOAD DATA: as far as the file's name, the rest as text.
    fn load_data(&mut self) -> Result<Statement> {
        let start = self.tok.start;
        self.bump();
        self.bump();
        let _ = self.eat_any(&[Kw::LOW_PRIORITY, Kw::CONCURRENT]);
        let local = self.eat(Kw::LOCAL);
        self.need(Kw::INFILE)?;
        let file = self.string()?;
        self.skip_statement();
        Ok(Statement::LoadData {
            local,
            file,
            text: self.span_from(start),
        })
    }
    fn maintenance(&mut self) -> Result<Statement> {
        let kw = self.tok.kw;
        self.bump();
        let _ = self.eat_any(&[Kw::NO_WRITE_TO_BINLOG, Kw::LOCAL]);
        if !matches!(self.tok.kw, Kw::TABLE | Kw::TABLES) {
            return match kw {
                // MariaDB's form of EXPLAIN ANALYZE
                Kw::ANALYZE
                    if self.at_query() || matches!(self.tok.kw, Kw::FORMAT | Kw::INSERT | Kw::UPDATE | Kw::DELETE | Kw::REPLACE) =>
                {
                    self.refuse("ANALYZE statement")
                }
                Kw::CHECK | Kw::REPAIR if self.is(Kw::VIEW) => self.refuse("CHECK VIEW"),
                _ => Err(self.unexpected()),
            };
        }
        self.bump();
        let names = self.list(Self::table_name)?;
        if matches!(self.tok.kw, Kw::UPDATE | Kw::DROP) || self.is(Kw::PERSISTENT) {
            return self.refuse("ANALYZE TABLE ... UPDATE HISTOGRAM");
        }
        while self
            .eat_any(&[
                Kw::FOR,
                Kw::UPGRADE,
                Kw::QUICK,
                Kw::FAST,
                Kw::MEDIUM,
                Kw::EXTENDED,
                Kw::CHANGED,
                Kw::USE_FRM,
            ])
            .is_some()
        {}
        self.wait_option()?;
        Ok(Statement::TableMaintenance { verb: kw.name(), names })
    }
}
