//! ALTER TABLE and ALTER DATABASE.
//!
//! Promises: every action in order; partition and tablespace actions are `AlterAction::Refused`. Must not know: whether a change is possible.

use super::ddl::stored;
use super::{Parser, Result};
use crate::sql::ast::{AlterAction, ColumnDef, Position, Statement, TableElement};
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    pub(super) fn alter(&mut self) -> Result<Statement> {
        self.bump();
        // MariaDB's ONLINE and IGNORE; the latter would drop rows
        if self.is(Kw::IGNORE) {
            return self.refuse("ALTER IGNORE TABLE");
        }
        self.eat_word("online");
        match self.tok.kw {
            Kw::TABLE => self.alter_table(),
            Kw::DATABASE | Kw::SCHEMA => {
                self.bump();
                let unnamed = matches!(self.tok.kw, Kw::CHARSET | Kw::COMMENT | Kw::ENCRYPTION) && self.peek().tok != Tok::End;
                let name = if self.is_ident() && !unnamed { Some(self.ident()?) } else { None };
                let options = self.database_options()?;
                if options.is_empty() {
                    return Err(self.unexpected());
                }
                Ok(Statement::AlterDatabase { name, options })
            }
            _ => self.alter_other(),
        }
    }
    fn alter_other(&mut self) -> Result<Statement> {
        if matches!(self.tok.kw, Kw::ALGORITHM | Kw::DEFINER | Kw::SQL) {
            self.view_prefix()?;
        }
        let name = match self.tok.kw {
            Kw::VIEW => "ALTER VIEW",
            Kw::USER => "ALTER USER",
            Kw::SERVER => "ALTER SERVER",
            Kw::TABLESPACE | Kw::UNDO => "ALTER TABLESPACE",
            Kw::LOGFILE => "ALTER LOGFILE GROUP",
            Kw::RESOURCE => "ALTER RESOURCE GROUP",
            Kw::INSTANCE => "ALTER INSTANCE",
            Kw::SEQUENCE => "ALTER SEQUENCE",
            kw => {
                let Some(name) = stored(kw, "ALTER") else {
                    return Err(self.unexpected());
                };
                return self.refuse_all(name);
            }
        };
        self.refuse(name)
    }
    fn alter_table(&mut self) -> Result<Statement> {
        self.bump();
        let if_exists = self.if_exists()?;
        let name = self.table_name()?;
        self.wait_option()?;
        let mut actions = Vec::new();
        if !matches!(self.tok.tok, Tok::End | Tok::Semicolon) {
            self.alter_action(&mut actions)?;
            while self.eat_tok(Tok::Comma) {
                self.alter_action(&mut actions)?;
            }
        }
        if self.is(Kw::PARTITION) || self.is(Kw::REMOVE) {
            self.skip_statement();
            actions.push(AlterAction::Refused("PARTITION BY"));
        }
        Ok(Statement::AlterTable { name, actions, if_exists })
    }
    fn alter_action(&mut self, out: &mut Vec<AlterAction>) -> Result<()> {
        let kw = self.tok.kw;
        let next = self.peek().kw;
        let action = match kw {
            Kw::ADD => return self.add(out),
            Kw::DROP => self.drop_action()?,
            Kw::MODIFY => {
                self.bump();
                self.eat(Kw::COLUMN);
                let if_exists = self.if_exists()?;
                let column = self.column_def()?;
                AlterAction::Modify {
                    column,
                    position: self.position()?,
                    if_exists,
                }
            }
            Kw::CHANGE => {
                self.bump();
                self.eat(Kw::COLUMN);
                let if_exists = self.if_exists()?;
                let old = self.ident()?;
                let column = self.column_def()?;
                AlterAction::Change {
                    old,
                    column,
                    position: self.position()?,
                    if_exists,
                }
            }
            Kw::ALTER => self.alter_part()?,
            Kw::RENAME => self.rename_action()?,
            Kw::CONVERT => self.convert()?,
            Kw::ENABLE | Kw::DISABLE => {
                self.bump();
                self.need(Kw::KEYS)?;
                AlterAction::Ignored
            }
            Kw::ALGORITHM | Kw::LOCK => {
                self.bump();
                self.eat_tok(Tok::Eq);
                self.word_value()?;
                AlterAction::Ignored
            }
            Kw::ORDER => {
                self.order_by()?;
                AlterAction::Ignored
            }
            Kw::FORCE => {
                self.bump();
                AlterAction::Ignored
            }
            Kw::WITH | Kw::WITHOUT if next == Kw::VALIDATION => {
                self.bump();
                self.bump();
                AlterAction::Ignored
            }
            _ => match refused(kw, next) {
                Some(name) => {
                    self.skip_statement();
                    AlterAction::Refused(name)
                }
                None => self.options_action()?,
            },
        };
        out.push(action);
        Ok(())
    }
    fn options_action(&mut self) -> Result<AlterAction> {
        let mut options = Vec::new();
        while let Some(option) = self.table_option()? {
            options.push(option);
        }
        if options.is_empty() {
            return Err(self.unexpected());
        }
        Ok(AlterAction::Options(options))
    }
    fn add(&mut self, out: &mut Vec<AlterAction>) -> Result<()> {
        self.bump();
        if self.is(Kw::PARTITION) {
            self.skip_statement();
            out.push(AlterAction::Refused("ADD PARTITION"));
            return Ok(());
        }
        if self.is(Kw::SYSTEM) || self.is_word("period") {
            self.skip_statement();
            out.push(AlterAction::Refused("SYSTEM VERSIONING"));
            return Ok(());
        }
        let column_said = self.eat(Kw::COLUMN);
        let if_not_exists = self.if_not_exists()?;
        if self.eat_tok(Tok::LParen) {
            let mut columns: Vec<ColumnDef> = Vec::new();
            let mut others = Vec::new();
            for element in self.list(Self::table_element)? {
                match element {
                    TableElement::Column(column) => columns.push(column),
                    other => others.push(AlterAction::Add(other)),
                }
            }
            self.need_tok(Tok::RParen)?;
            if !columns.is_empty() {
                out.push(AlterAction::AddColumns {
                    columns,
                    if_not_exists,
                    position: None,
                });
            }
            out.extend(others);
            return Ok(());
        }
        let element = if column_said {
            TableElement::Column(self.column_def()?)
        } else {
            self.table_element()?
        };
        let TableElement::Column(column) = element else {
            out.push(AlterAction::Add(element));
            return Ok(());
        };
        out.push(AlterAction::AddColumns {
            columns: vec![column],
            if_not_exists,
            position: self.position()?,
        });
        Ok(())
    }
    fn position(&mut self) -> Result<Option<Position>> {
        if self.eat(Kw::FIRST) {
            return Ok(Some(Position::First));
        }
        if self.eat(Kw::AFTER) {
            return Ok(Some(Position::After(self.ident()?)));
        }
        Ok(None)
    }
    fn drop_action(&mut self) -> Result<AlterAction> {
        self.bump();
        let kw = self.tok.kw;
        Ok(match kw {
            Kw::PRIMARY => {
                self.bump();
                self.need(Kw::KEY)?;
                AlterAction::DropPrimary
            }
            Kw::INDEX | Kw::KEY => {
                self.bump();
                let if_exists = self.if_exists()?;
                let name = self.ident()?;
                AlterAction::DropKey { name, if_exists }
            }
            Kw::FOREIGN => {
                self.bump();
                self.need(Kw::KEY)?;
                let if_exists = self.if_exists()?;
                let name = self.ident()?;
                AlterAction::DropForeignKey { name, if_exists }
            }
            Kw::CONSTRAINT | Kw::CHECK => {
                self.bump();
                let if_exists = self.if_exists()?;
                let name = self.ident()?;
                AlterAction::DropConstraint { name, if_exists }
            }
            Kw::PARTITION => {
                self.skip_statement();
                AlterAction::Refused("DROP PARTITION")
            }
            Kw::SYSTEM => {
                self.skip_statement();
                AlterAction::Refused("SYSTEM VERSIONING")
            }
            _ => {
                self.eat(Kw::COLUMN);
                let if_exists = self.if_exists()?;
                let name = self.ident()?;
                let _ = self.eat_any(&[Kw::RESTRICT, Kw::CASCADE]);
                AlterAction::DropColumn { name, if_exists }
            }
        })
    }
    /// ALTER INDEX, ALTER CHECK, ALTER [COLUMN]
    fn alter_part(&mut self) -> Result<AlterAction> {
        self.bump();
        match self.tok.kw {
            Kw::INDEX | Kw::KEY => {
                self.bump();
                self.if_exists()?;
                let name = self.ident()?;
                let visible = self.visible()?;
                return Ok(AlterAction::KeyVisible { name, visible });
            }
            Kw::CHECK | Kw::CONSTRAINT => {
                self.bump();
                let name = self.ident()?;
                if !matches!(self.tok.kw, Kw::NOT | Kw::ENFORCED) {
                    return Err(self.unexpected());
                }
                let enforced = self.enforced()?;
                return Ok(AlterAction::EnforceCheck { name, enforced });
            }
            _ => {}
        }
        self.eat(Kw::COLUMN);
        self.if_exists()?;
        let name = self.ident()?;
        if self.eat(Kw::DROP) {
            self.need(Kw::DEFAULT)?;
            return Ok(AlterAction::SetDefault { name, default: None });
        }
        self.need(Kw::SET)?;
        if self.eat(Kw::DEFAULT) {
            let default = Some(self.default_value()?);
            return Ok(AlterAction::SetDefault { name, default });
        }
        let visible = self.visible()?;
        Ok(AlterAction::ColumnVisible { name, visible })
    }
    fn visible(&mut self) -> Result<bool> {
        if self.eat(Kw::INVISIBLE) || self.eat_word("ignored") {
            return Ok(false);
        }
        if self.is(Kw::NOT) && self.peek().tok == Tok::Word {
            self.bump();
            if self.eat_word("ignored") {
                return Ok(true);
            }
            return Err(self.unexpected());
        }
        self.need(Kw::VISIBLE)?;
        Ok(true)
    }
    fn rename_action(&mut self) -> Result<AlterAction> {
        self.bump();
        match self.tok.kw {
            Kw::COLUMN => {
                self.bump();
                self.if_exists()?;
                let old = self.ident()?;
                self.need(Kw::TO)?;
                let new = self.ident()?;
                Ok(AlterAction::RenameColumn { old, new })
            }
            Kw::INDEX | Kw::KEY => {
                self.bump();
                self.if_exists()?;
                let old = self.ident()?;
                self.need(Kw::TO)?;
                let new = self.ident()?;
                Ok(AlterAction::RenameKey { old, new })
            }
            _ => {
                let _ = self.eat(Kw::TO) || self.eat(Kw::AS) || self.eat_tok(Tok::Eq);
                Ok(AlterAction::RenameTable(self.table_name()?))
            }
        }
    }
    fn convert(&mut self) -> Result<AlterAction> {
        self.bump();
        self.need(Kw::TO)?;
        if !self.eat(Kw::CHARSET) {
            if !self.eat(Kw::CHARACTER) {
                self.need(Kw::CHAR)?;
            }
            self.need(Kw::SET)?;
        }
        let charset = if self.eat(Kw::DEFAULT) { None } else { Some(self.charset_name()?) };
        let collation = if self.eat(Kw::COLLATE) {
            self.eat_tok(Tok::Eq);
            Some(self.collation_name()?)
        } else {
            None
        };
        Ok(AlterAction::ConvertCharset { charset, collation })
    }
}

/// Actions that we know by name only.
fn refused(kw: Kw, next: Kw) -> Option<&'static str> {
    Some(match (kw, next) {
        (Kw::DISCARD, _) => "DISCARD TABLESPACE",
        (Kw::IMPORT, _) => "IMPORT TABLESPACE",
        (Kw::PARTITION, _) => "PARTITION BY",
        (Kw::COALESCE, Kw::PARTITION) => "COALESCE PARTITION",
        (Kw::REORGANIZE, _) => "REORGANIZE PARTITION",
        (Kw::EXCHANGE, _) => "EXCHANGE PARTITION",
        (Kw::ANALYZE, Kw::PARTITION) => "ANALYZE PARTITION",
        (Kw::CHECK, Kw::PARTITION) => "CHECK PARTITION",
        (Kw::OPTIMIZE, Kw::PARTITION) => "OPTIMIZE PARTITION",
        (Kw::REBUILD, _) => "REBUILD PARTITION",
        (Kw::REPAIR, Kw::PARTITION) => "REPAIR PARTITION",
        (Kw::REMOVE, _) => "REMOVE PARTITIONING",
        (Kw::TRUNCATE, Kw::PARTITION) => "TRUNCATE PARTITION",
        (Kw::SECONDARY_LOAD | Kw::SECONDARY_UNLOAD, _) => "SECONDARY_LOAD",
        _ => return None,
    })
}
