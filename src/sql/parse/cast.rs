//! CAST, CONVERT and the types they take.
//!
//! Promises: charset and collation names in lower case. Must not know: conversions.

use super::{Parser, Result, SqlError};
use crate::sql::ast::{CastType, Expr, Name};
use crate::sql::lex::{Kw, Tok, Token};

impl Parser<'_> {
    pub(super) fn cast(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let expr = self.boxed()?;
        if word.kw == Kw::CONVERT && self.eat(Kw::USING) {
            let charset = self.charset_name()?;
            self.need_tok(Tok::RParen)?;
            return Ok(Expr::ConvertUsing { expr, charset });
        }
        if word.kw == Kw::CONVERT {
            self.need_tok(Tok::Comma)?;
        } else {
            self.need(Kw::AS)?;
        }
        let to = self.cast_type()?;
        if self.is(Kw::ARRAY) {
            return Err(SqlError::unsupported("CAST(... AS type ARRAY)"));
        }
        self.need_tok(Tok::RParen)?;
        Ok(Expr::Cast { expr, to })
    }
    pub(super) fn cast_type(&mut self) -> Result<CastType> {
        let (kw, start) = (self.tok.kw, self.tok.start);
        self.bump();
        Ok(match kw {
            Kw::SIGNED | Kw::UNSIGNED => {
                let _ = self.eat(Kw::INTEGER) || self.eat(Kw::INT);
                if kw == Kw::SIGNED { CastType::Signed } else { CastType::Unsigned }
            }
            Kw::INT | Kw::INTEGER => CastType::Signed,
            Kw::BINARY => CastType::Binary {
                length: self.optional_length()?,
            },
            Kw::CHAR | Kw::CHARACTER | Kw::VARCHAR => {
                if kw == Kw::CHARACTER && self.is(Kw::SET) {
                    return Err(self.unexpected());
                }
                let length = self.optional_length()?;
                return self.cast_charset(length);
            }
            Kw::NCHAR => CastType::Char {
                length: self.optional_length()?,
                charset: Some("utf8mb3".into()),
            },
            Kw::NATIONAL => {
                let _ = self.eat(Kw::CHAR) || self.eat(Kw::CHARACTER);
                CastType::Char {
                    length: self.optional_length()?,
                    charset: Some("utf8mb3".into()),
                }
            }
            Kw::DECIMAL | Kw::DEC | Kw::NUMERIC => {
                let (mut precision, mut scale) = (None, None);
                if self.eat_tok(Tok::LParen) {
                    precision = Some(self.small()?);
                    if self.eat_tok(Tok::Comma) {
                        scale = Some(self.byte()?);
                    }
                    self.need_tok(Tok::RParen)?;
                }
                CastType::Decimal { precision, scale }
            }
            Kw::FLOAT => {
                let precision = self.optional_length()?.unwrap_or(0);
                if precision > 24 { CastType::Double } else { CastType::Float }
            }
            Kw::REAL if self.mode.real_as_float => CastType::Float,
            Kw::DOUBLE | Kw::REAL => {
                self.eat(Kw::PRECISION);
                CastType::Double
            }
            Kw::DATE => CastType::Date,
            Kw::TIME => CastType::Time {
                decimals: self.optional_decimals()?,
            },
            Kw::DATETIME => CastType::DateTime {
                decimals: self.optional_decimals()?,
            },
            Kw::YEAR => CastType::Year,
            Kw::JSON => CastType::Json,
            _ => return Err(self.syntax_at(start)),
        })
    }
    pub(super) fn cast_charset(&mut self, length: Option<u32>) -> Result<CastType> {
        let mut charset = None;
        loop {
            if self.eat_all(&[Kw::CHARACTER, Kw::SET]) || self.eat_all(&[Kw::CHAR, Kw::SET]) || self.eat(Kw::CHARSET) {
                charset = Some(self.charset_name()?);
            } else if self.eat(Kw::ASCII) {
                charset = Some("latin1".into());
            } else if self.eat(Kw::UNICODE) {
                charset = Some("ucs2".into());
            } else if self.eat(Kw::BYTE) {
                return Ok(CastType::Binary { length });
            } else if !self.eat(Kw::BINARY) {
                return Ok(CastType::Char { length, charset });
            }
        }
    }
    pub(super) fn optional_length(&mut self) -> Result<Option<u32>> {
        if !self.eat_tok(Tok::LParen) {
            return Ok(None);
        }
        let length = self.small()?;
        self.need_tok(Tok::RParen)?;
        Ok(Some(length))
    }
    pub(super) fn byte(&mut self) -> Result<u8> {
        let start = self.tok.start;
        u8::try_from(self.integer()?).map_err(|_| self.syntax_at(start))
    }
    pub(super) fn optional_decimals(&mut self) -> Result<Option<u8>> {
        if !self.eat_tok(Tok::LParen) {
            return Ok(None);
        }
        let decimals = if self.at(Tok::RParen) { None } else { Some(self.byte()?) };
        self.need_tok(Tok::RParen)?;
        Ok(decimals)
    }
    /// A charset's name, lower case (`binary` is a keyword and a charset).
    pub(super) fn charset_name(&mut self) -> Result<Name> {
        self.lower_name()
    }
    pub(super) fn collation_name(&mut self) -> Result<Name> {
        self.lower_name()
    }
    pub(super) fn lower_name(&mut self) -> Result<Name> {
        let mut name = if self.is(Kw::BINARY) {
            self.bump();
            "binary".to_string()
        } else {
            self.ident_or_string()?
        };
        name.make_ascii_lowercase();
        Ok(name)
    }
}
