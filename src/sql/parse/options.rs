//! Options of tables and databases: `ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 …`.
//!
//! Promises: only options that MySQL 8.0 or MariaDB 10.11 know; keys in lower case (`ast::TableOption`).
//! Must not know: what they do.

use super::{Parser, Result, SqlError};
use crate::sql::ast::TableOption;
use crate::sql::lex::{Kw, Tok};

impl Parser<'_> {
    pub(super) fn table_options(&mut self) -> Result<Vec<TableOption>> {
        let mut options = Vec::new();
        while let Some(option) = self.table_option()? {
            options.push(option);
            if self.at(Tok::Comma) {
                self.bump();
            }
        }
        Ok(options)
    }
    /// One option, if one stands here.
    pub(super) fn table_option(&mut self) -> Result<Option<TableOption>> {
        if let Some(option) = self.charset_option()? {
            return Ok(Some(option));
        }
        let key: &str = match self.tok.kw {
            Kw::DATA | Kw::INDEX if self.peek().kw == Kw::DIRECTORY => {
                let key = if self.is(Kw::DATA) { "data directory" } else { "index directory" };
                self.bump();
                key
            }
            Kw::UNION => return self.union_option(),
            Kw::START => {
                self.bump();
                self.need(Kw::TRANSACTION)?;
                return Ok(Some(option("start transaction", Vec::new())));
            }
            Kw::WITH if self.peek().kw == Kw::SYSTEM => return Err(SqlError::unsupported("SYSTEM VERSIONING")),
            Kw::TABLESPACE => {
                self.bump();
                self.eat_tok(Tok::Eq);
                let value = self.ident()?.into_bytes();
                if self.eat(Kw::STORAGE) && self.eat_any(&[Kw::DISK, Kw::MEMORY]).is_none() {
                    return Err(self.unexpected());
                }
                return Ok(Some(option("tablespace", value)));
            }
            Kw::STORAGE => {
                self.bump();
                if self.eat_any(&[Kw::DISK, Kw::MEMORY]).is_none() {
                    return Err(self.unexpected());
                }
                return Ok(Some(option("storage", Vec::new())));
            }
            kw if is_option(kw) => kw.name(),
            _ if is_foreign_option(self.source(self.tok)) && self.at(Tok::Word) => {
                let word = self.name_of(self.tok)?;
                self.bump();
                self.eat_tok(Tok::Eq);
                return Ok(Some(option(&word, self.option_value()?)));
            }
            _ => return Ok(None),
        };
        self.bump();
        self.eat_tok(Tok::Eq);
        Ok(Some(option(key, self.option_value()?)))
    }
    /// `[DEFAULT] {CHARACTER SET | CHARSET | COLLATE} [=] name`
    pub(super) fn charset_option(&mut self) -> Result<Option<TableOption>> {
        let word = if self.is(Kw::DEFAULT) { self.peek().kw } else { self.tok.kw };
        if !matches!(word, Kw::CHARACTER | Kw::CHAR | Kw::CHARSET | Kw::COLLATE) {
            return Ok(None);
        }
        self.eat(Kw::DEFAULT);
        self.bump();
        if matches!(word, Kw::CHARACTER | Kw::CHAR) {
            self.need(Kw::SET)?;
        }
        self.eat_tok(Tok::Eq);
        let key = if word == Kw::COLLATE { "collate" } else { "charset" };
        let value = if self.eat(Kw::DEFAULT) {
            b"default".to_vec()
        } else {
            self.charset_name()?.into_bytes()
        };
        Ok(Some(option(key, value)))
    }
    fn union_option(&mut self) -> Result<Option<TableOption>> {
        let next = self.peek();
        if !matches!(next.tok, Tok::LParen | Tok::Eq) {
            return Ok(None);
        }
        self.bump();
        self.eat_tok(Tok::Eq);
        self.need_tok(Tok::LParen)?;
        let start = self.tok.start as usize;
        if !self.at(Tok::RParen) {
            self.list(Self::table_name)?;
        }
        let value = self.text[start..self.tok.start as usize].to_vec();
        self.need_tok(Tok::RParen)?;
        Ok(Some(option("union", value)))
    }
    /// A word, number or string.
    fn option_value(&mut self) -> Result<Vec<u8>> {
        let value = match self.tok.tok {
            Tok::Str | Tok::National => return self.string(),
            Tok::Word | Tok::Integer | Tok::Decimal | Tok::Hex => self.source(self.tok).to_vec(),
            Tok::Quoted => self.name_of(self.tok)?.into_bytes(),
            _ => return Err(self.unexpected()),
        };
        self.bump();
        Ok(value)
    }
}

fn option(key: &str, value: Vec<u8>) -> TableOption {
    TableOption {
        key: key.to_ascii_lowercase(),
        value,
    }
}

fn is_option(kw: Kw) -> bool {
    use Kw::*;
    matches!(
        kw,
        AUTOEXTEND_SIZE
            | AUTO_INCREMENT
            | AVG_ROW_LENGTH
            | CHECKSUM
            | COMMENT
            | COMPRESSION
            | CONNECTION
            | DELAY_KEY_WRITE
            | ENCRYPTION
            | ENGINE
            | ENGINE_ATTRIBUTE
            | INSERT_METHOD
            | KEY_BLOCK_SIZE
            | MAX_ROWS
            | MIN_ROWS
            | PACK_KEYS
            | PAGE_CHECKSUM
            | PAGE_COMPRESSED
            | PASSWORD
            | ROW_FORMAT
            | SECONDARY_ENGINE
            | SECONDARY_ENGINE_ATTRIBUTE
            | STATS_AUTO_RECALC
            | STATS_PERSISTENT
            | STATS_SAMPLE_PAGES
            | TABLE_CHECKSUM
            | TRANSACTIONAL
            | TYPE
    )
}

/// Options of MariaDB's engines that its dumps hold.
fn is_foreign_option(word: &[u8]) -> bool {
    ["encrypted", "encryption_key_id", "page_compression_level", "ietf_quotes"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}
