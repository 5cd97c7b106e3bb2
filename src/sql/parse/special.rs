//! Functions with a syntax of their own: dates, EXTRACT, TRIM, GROUP_CONCAT, JSON_VALUE, MATCH …
//!
//! Promises: they arrive in the tree as `ast::Expr` says. Must not know: what they compute.

use super::expr::BIT_OR;
use super::{Parser, Result, SqlError, is_ident};
use crate::sql::ast::{CastType, Expr, IntervalUnit, JsonOn, MatchMode};
use crate::sql::lex::{Kw, Tok, Token};

impl Parser<'_> {
    pub(super) fn date_arith(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let expr = self.boxed()?;
        self.need_tok(Tok::Comma)?;
        let days = matches!(word.kw, Kw::ADDDATE | Kw::SUBDATE);
        let second = if self.is(Kw::INTERVAL) {
            self.interval()?
        } else if days {
            self.expr()?
        } else {
            return Err(self.unexpected());
        };
        let (amount, unit) = match second {
            Expr::Interval { amount, unit } => (amount, unit),
            amount if days => (Box::new(amount), IntervalUnit::Day),
            _ => return Err(self.unexpected()),
        };
        self.need_tok(Tok::RParen)?;
        Ok(Expr::DateArith {
            expr,
            amount,
            unit,
            subtract: matches!(word.kw, Kw::DATE_SUB | Kw::SUBDATE),
        })
    }
    pub(super) fn timestamp_arith(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let unit = self.interval_unit()?;
        self.need_tok(Tok::Comma)?;
        let first = self.boxed()?;
        self.need_tok(Tok::Comma)?;
        let second = self.boxed()?;
        self.need_tok(Tok::RParen)?;
        Ok(if word.kw == Kw::TIMESTAMPADD {
            Expr::TimestampAdd {
                unit,
                amount: first,
                expr: second,
            }
        } else {
            Expr::TimestampDiff {
                unit,
                from: first,
                to: second,
            }
        })
    }
    pub(super) fn interval_unit(&mut self) -> Result<IntervalUnit> {
        let word = self.source(self.tok).to_ascii_uppercase();
        let name = word.strip_prefix(b"SQL_TSI_").unwrap_or(&word);
        let unit = std::str::from_utf8(name).ok().and_then(IntervalUnit::parse);
        match unit {
            Some(unit) if self.at(Tok::Word) => {
                self.bump();
                Ok(unit)
            }
            _ => Err(self.unexpected()),
        }
    }
    pub(super) fn extract(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let unit = self.interval_unit()?;
        self.need(Kw::FROM)?;
        let expr = self.expr()?;
        self.need_tok(Tok::RParen)?;
        let unit = self.made_up(unit.name());
        Ok(self.simple_call("extract", vec![unit, expr], word.start))
    }
    pub(super) fn substring(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let mut args = vec![self.expr()?];
        if self.eat(Kw::FROM) {
            args.push(self.expr()?);
            if self.eat(Kw::FOR) {
                args.push(self.expr()?);
            }
        } else {
            self.need_tok(Tok::Comma)?;
            args.push(self.expr()?);
            if self.eat_tok(Tok::Comma) {
                args.push(self.expr()?);
            }
        }
        self.need_tok(Tok::RParen)?;
        Ok(self.simple_call("substring", args, word.start))
    }
    pub(super) fn trim(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let side = match self.eat_any(&[Kw::LEADING, Kw::TRAILING, Kw::BOTH]) {
            Some(Kw::LEADING) => "trim_leading",
            Some(Kw::TRAILING) => "trim_trailing",
            Some(_) => "trim_both",
            None => "trim",
        };
        let args = if side != "trim" && self.eat(Kw::FROM) {
            vec![self.expr()?]
        } else {
            let first = self.expr()?;
            if self.eat(Kw::FROM) {
                vec![self.expr()?, first]
            } else if side == "trim" {
                vec![first]
            } else {
                return Err(self.unexpected());
            }
        };
        self.need_tok(Tok::RParen)?;
        let name = if args.len() == 2 && side == "trim" { "trim_both" } else { side };
        Ok(self.simple_call(name, args, word.start))
    }
    pub(super) fn position_of(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let needle = self.expr_bp(BIT_OR)?;
        self.need(Kw::IN)?;
        let hay = self.expr()?;
        self.need_tok(Tok::RParen)?;
        Ok(self.simple_call("locate", vec![needle, hay], word.start))
    }
    pub(super) fn get_format(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let Some(kind) = self.eat_any(&[Kw::DATE, Kw::TIME, Kw::DATETIME, Kw::TIMESTAMP]) else {
            return Err(self.unexpected());
        };
        self.need_tok(Tok::Comma)?;
        let format = self.expr()?;
        self.need_tok(Tok::RParen)?;
        let kind = self.made_up(kind.name());
        Ok(self.simple_call("get_format", vec![kind, format], word.start))
    }
    pub(super) fn weight_string(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let expr = self.expr()?;
        let mut returning = None;
        if self.eat(Kw::AS) {
            let kind = self.eat_any(&[Kw::CHAR, Kw::BINARY]);
            self.need_tok(Tok::LParen)?;
            let length = Some(self.small()?);
            self.need_tok(Tok::RParen)?;
            returning = Some(match kind {
                Some(Kw::CHAR) => CastType::Char { length, charset: None },
                Some(_) => CastType::Binary { length },
                None => return Err(self.unexpected()),
            });
        }
        self.need_tok(Tok::RParen)?;
        let mut call = self.plain_call("weight_string".into(), vec![expr], word.start);
        call.returning = returning;
        Ok(Expr::Function(Box::new(call)))
    }
    /// CHAR(65, 66 USING utf8mb4)
    pub(super) fn char_function(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let args = self.list(Self::expr)?;
        let charset = if self.eat(Kw::USING) { Some(self.charset_name()?) } else { None };
        self.need_tok(Tok::RParen)?;
        let mut call = self.plain_call("char".into(), args, word.start);
        call.charset = charset;
        Ok(Expr::Function(Box::new(call)))
    }
    pub(super) fn group_concat(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let distinct = self.eat(Kw::DISTINCT);
        let args = self.list(Self::expr)?;
        let order_by = self.order_by()?;
        let separator = if self.eat(Kw::SEPARATOR) {
            Some(self.text_literal()?)
        } else {
            None
        };
        if self.is(Kw::LIMIT) {
            return Err(SqlError::unsupported("GROUP_CONCAT(... LIMIT ...)"));
        }
        self.need_tok(Tok::RParen)?;
        let mut call = self.plain_call("group_concat".into(), args, word.start);
        call.distinct = distinct;
        call.order_by = order_by;
        call.separator = separator;
        self.over(call)
    }
    /// A string, hexadecimal or bit literal where the grammar wants constant text.
    pub(super) fn text_literal(&mut self) -> Result<Vec<u8>> {
        match self.tok.tok {
            Tok::Hex | Tok::Bits => {
                let raw = self.source(self.tok);
                let bytes = if self.at(Tok::Hex) {
                    crate::sql::lex::decode_hex(raw)
                } else {
                    crate::sql::lex::decode_bits(raw)
                };
                self.bump();
                Ok(bytes)
            }
            _ => self.string(),
        }
    }
    pub(super) fn json_value(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let doc = self.expr()?;
        self.need_tok(Tok::Comma)?;
        let path = self.expr()?;
        let mut call = self.plain_call("json_value".into(), vec![doc, path], word.start);
        if self.eat(Kw::RETURNING) {
            call.returning = Some(self.cast_type()?);
        }
        (call.on_empty, call.on_error) = self.json_on()?;
        self.need_tok(Tok::RParen)?;
        call.span = self.span_from(word.start);
        Ok(Expr::Function(Box::new(call)))
    }
    /// `[{NULL|ERROR|DEFAULT v} ON EMPTY] [… ON ERROR]`
    pub(super) fn json_on(&mut self) -> Result<(Option<JsonOn>, Option<JsonOn>)> {
        let (mut on_empty, mut on_error) = (None, None);
        while let Some(kw) = self.eat_any(&[Kw::NULL, Kw::ERROR, Kw::DEFAULT]) {
            let on = match kw {
                Kw::NULL => JsonOn::Null,
                Kw::ERROR => JsonOn::Error,
                _ => JsonOn::Default(self.signed_text()?),
            };
            self.need(Kw::ON)?;
            if on_empty.is_none() && on_error.is_none() && self.eat(Kw::EMPTY) {
                on_empty = Some(on);
            } else if on_error.is_none() {
                self.need(Kw::ERROR)?;
                on_error = Some(on);
            } else {
                return Err(self.unexpected());
            }
        }
        Ok((on_empty, on_error))
    }
    /// A literal as text (JSON_VALUE's and JSON_TABLE's defaults).
    pub(super) fn signed_text(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        if self.eat_tok(Tok::Minus) {
            out.push(b'-');
        }
        if matches!(self.tok.tok, Tok::Integer | Tok::Decimal | Tok::Float) {
            out.extend(self.source(self.tok));
            self.bump();
        } else {
            out.extend(self.string()?);
        }
        Ok(out)
    }
    pub(super) fn default_of(&mut self) -> Result<Expr> {
        self.bump();
        let mut name = self.ident()?;
        while self.eat_tok(Tok::Dot) {
            name = self.ident()?;
        }
        self.need_tok(Tok::RParen)?;
        Ok(Expr::Default(Some(name)))
    }
    /// MATCH (a, b) AGAINST (e [mode]); behind MATCH.
    pub(super) fn match_against(&mut self) -> Result<Expr> {
        let paren = self.eat_tok(Tok::LParen);
        let columns = self.list(|p| {
            let first = p.tok;
            if !is_ident(first) {
                return Err(p.unexpected());
            }
            p.bump();
            p.named(first)
        })?;
        if paren {
            self.need_tok(Tok::RParen)?;
        }
        self.need(Kw::AGAINST)?;
        self.need_tok(Tok::LParen)?;
        let against = self.boxed_bp(BIT_OR)?;
        let mut mode = MatchMode::Natural;
        if self.eat(Kw::IN) {
            if self.eat(Kw::BOOLEAN) {
                mode = MatchMode::Boolean;
            } else {
                self.need(Kw::NATURAL)?;
                self.need(Kw::LANGUAGE)?;
            }
            self.need(Kw::MODE)?;
        }
        if mode == MatchMode::Natural && self.eat(Kw::WITH) {
            self.need(Kw::QUERY)?;
            self.need(Kw::EXPANSION)?;
            mode = MatchMode::NaturalExpansion;
        }
        self.need_tok(Tok::RParen)?;
        Ok(Expr::Match { columns, against, mode })
    }
}
