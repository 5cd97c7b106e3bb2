//! Function calls: the plain ones, and those with a syntax of their own (CAST, TRIM, EXTRACT, GROUP_CONCAT …).
//!
//! Promises: names arrive in lower case, synonyms of the grammar under one name (`ast::Expr::Function`).
//! Must not know: which functions exist, what they do.

use super::expr::BIT_OR;
use super::{Parser, Result, SqlError, is_ident};
use crate::sql::ast::{Call, CastType, Expr, IntervalUnit, JsonOn, Literal, MatchMode, NO_SLOT, Name, Over, WindowSpec};
use crate::sql::lex::{Kw, Tok, Token};

impl Parser<'_> {
    /// A keyword that starts an operand: a function, or (not reserved) a name.
    pub(super) fn function_word(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let paren = self.at(Tok::LParen);
        if word.kw.needs_paren() && !word.call {
            // `count (x)` is no built-in function: MySQL looks for a stored one
            if paren {
                return self.missing_function(word);
            }
            return self.named(word);
        }
        if !paren {
            return self.without_paren(word);
        }
        match word.kw {
            Kw::CAST | Kw::CONVERT => self.cast(word),
            Kw::CURRENT_DATE | Kw::CURDATE => self.niladic("curdate", word),
            Kw::CURRENT_TIME | Kw::CURTIME => self.clock("curtime", word),
            Kw::CURRENT_TIMESTAMP | Kw::LOCALTIME | Kw::LOCALTIMESTAMP | Kw::NOW => self.clock("now", word),
            Kw::SYSDATE => self.clock("sysdate", word),
            Kw::UTC_DATE => self.niladic("utc_date", word),
            Kw::UTC_TIME => self.clock("utc_time", word),
            Kw::UTC_TIMESTAMP => self.clock("utc_timestamp", word),
            Kw::CURRENT_USER => self.niladic("current_user", word),
            Kw::SCHEMA => self.niladic("database", word),
            Kw::USER | Kw::SESSION_USER | Kw::SYSTEM_USER => self.niladic("user", word),
            Kw::DATE_ADD | Kw::DATE_SUB | Kw::ADDDATE | Kw::SUBDATE => self.date_arith(word),
            Kw::TIMESTAMPADD | Kw::TIMESTAMPDIFF => self.timestamp_arith(word),
            Kw::EXTRACT => self.extract(word),
            Kw::SUBSTRING | Kw::SUBSTR | Kw::MID => self.substring(word),
            Kw::TRIM => self.trim(word),
            Kw::POSITION => self.position_of(word),
            Kw::GET_FORMAT => self.get_format(word),
            Kw::WEIGHT_STRING => self.weight_string(word),
            Kw::CHAR => self.char_function(word),
            Kw::GROUP_CONCAT => self.group_concat(word),
            Kw::JSON_VALUE => self.json_value(word),
            Kw::DEFAULT => self.default_of(),
            Kw::MATCH => self.match_against(),
            Kw::STD | Kw::STDDEV | Kw::STDDEV_POP => self.call_as(word, None, "stddev_pop"),
            Kw::VARIANCE | Kw::VAR_POP => self.call_as(word, None, "var_pop"),
            kw if !kw.is_reserved() || is_function(kw) => self.call(word, None),
            _ => Err(self.syntax_at(word.start)),
        }
    }
    fn without_paren(&mut self, word: Token) -> Result<Expr> {
        let name = match word.kw {
            Kw::CURRENT_DATE => "curdate",
            Kw::CURRENT_TIME => "curtime",
            Kw::CURRENT_TIMESTAMP | Kw::LOCALTIME | Kw::LOCALTIMESTAMP => "now",
            Kw::UTC_DATE => "utc_date",
            Kw::UTC_TIME => "utc_time",
            Kw::UTC_TIMESTAMP => "utc_timestamp",
            Kw::CURRENT_USER => "current_user",
            Kw::DEFAULT => return Ok(Expr::Default(None)),
            Kw::MATCH => return self.match_against(),
            _ if is_ident(word) => return self.named(word),
            _ => return Err(self.syntax_at(word.start)),
        };
        Ok(self.simple_call(name, Vec::new(), word.start))
    }
    #[cold]
    fn missing_function(&mut self, word: Token) -> Result<Expr> {
        if self.peek().tok == Tok::Star {
            self.bump();
            return Err(self.unexpected());
        }
        Err(SqlError::new(
            1630,
            format!(
                "FUNCTION {} does not exist. Check the 'Function Name Parsing and Resolution' section in the Reference Manual",
                String::from_utf8_lossy(self.source(word))
            ),
        ))
    }

    pub(super) fn simple_call(&self, name: &str, args: Vec<Expr>, start: u32) -> Expr {
        Expr::Function(Box::new(self.plain_call(name.to_string(), args, start)))
    }
    fn plain_call(&self, name: Name, args: Vec<Expr>, start: u32) -> Call {
        Call {
            db: None,
            name,
            args,
            distinct: false,
            order_by: Vec::new(),
            separator: None,
            charset: None,
            over: None,
            returning: None,
            on_empty: None,
            on_error: None,
            span: self.span_from(start),
        }
    }
    /// A literal that the text does not hold as one: names of units and formats.
    fn made_up(&self, text: &str) -> Expr {
        Expr::Literal {
            value: Literal::String {
                bytes: text.as_bytes().to_vec(),
                charset: None,
            },
            slot: NO_SLOT,
        }
    }

    /// `name(args) [OVER …]`, aggregates included. At the `(`.
    pub(super) fn call(&mut self, name: Token, db: Option<(Name, u32)>) -> Result<Expr> {
        let mut text = self.name_of(name)?;
        text.make_ascii_lowercase();
        self.call_as(name, db, &text)
    }
    fn call_as(&mut self, word: Token, db: Option<(Name, u32)>, name: &str) -> Result<Expr> {
        self.enter()?;
        self.bump();
        let mut distinct = false;
        let mut args = Vec::new();
        if self.at(Tok::Star) && word.kw == Kw::COUNT {
            self.bump();
            args.push(Expr::Star);
        } else if !self.at(Tok::RParen) {
            if is_aggregate(name) {
                distinct = self.eat(Kw::DISTINCT) || self.eat(Kw::DISTINCTROW);
                if !distinct {
                    self.eat(Kw::ALL);
                }
            }
            args.push(self.expr()?);
            while self.eat_tok(Tok::Comma) {
                args.push(self.expr()?);
            }
        }
        self.expect_tok(Tok::RParen)?;
        let start = db.as_ref().map_or(word.start, |d| d.1);
        let mut call = self.plain_call(name.to_string(), args, start);
        call.db = db.map(|d| d.0);
        call.distinct = distinct;
        let call = self.over(call)?;
        self.leave();
        Ok(call)
    }
    /// What may follow a call: `[FROM FIRST] [RESPECT NULLS] [OVER …]`.
    fn over(&mut self, mut call: Call) -> Result<Expr> {
        if self.is(Kw::FROM) && call.name == "nth_value" {
            match self.peek().kw {
                Kw::FIRST => {
                    self.bump();
                    self.bump();
                }
                Kw::LAST => return Err(SqlError::unsupported("FROM LAST")),
                _ => {}
            }
        }
        if self.is(Kw::IGNORE) && self.peek().kw == Kw::NULLS {
            return Err(SqlError::unsupported("IGNORE NULLS"));
        }
        self.eat_all(&[Kw::RESPECT, Kw::NULLS]);
        if self.eat(Kw::OVER) {
            call.over = Some(if self.at(Tok::LParen) {
                Over::Spec(self.window_spec()?)
            } else {
                Over::Named(self.ident()?)
            });
            call.span.end = self.prev_end;
        }
        Ok(Expr::Function(Box::new(call)))
    }
    pub(super) fn window_spec(&mut self) -> Result<WindowSpec> {
        self.enter()?;
        self.expect_tok(Tok::LParen)?;
        let mut spec = WindowSpec::default();
        if self.is_ident() {
            spec.base = Some(self.ident()?);
        }
        if self.eat(Kw::PARTITION) {
            self.expect(Kw::BY)?;
            spec.partition_by = self.list(Self::expr)?;
        }
        spec.order_by = self.order_by()?;
        spec.frame = self.frame()?;
        self.expect_tok(Tok::RParen)?;
        self.leave();
        Ok(spec)
    }

    fn niladic(&mut self, name: &str, word: Token) -> Result<Expr> {
        self.bump();
        self.expect_tok(Tok::RParen)?;
        Ok(self.simple_call(name, Vec::new(), word.start))
    }
    /// NOW(), NOW(6)
    fn clock(&mut self, name: &str, word: Token) -> Result<Expr> {
        self.bump();
        let mut args = Vec::new();
        if !self.at(Tok::RParen) {
            args.push(self.expr()?);
        }
        self.expect_tok(Tok::RParen)?;
        Ok(self.simple_call(name, args, word.start))
    }
    fn cast(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let expr = self.boxed()?;
        if word.kw == Kw::CONVERT && self.eat(Kw::USING) {
            let charset = self.charset_name()?;
            self.expect_tok(Tok::RParen)?;
            return Ok(Expr::ConvertUsing { expr, charset });
        }
        if word.kw == Kw::CONVERT {
            self.expect_tok(Tok::Comma)?;
        } else {
            self.expect(Kw::AS)?;
        }
        let to = self.cast_type()?;
        if self.is(Kw::ARRAY) {
            return Err(SqlError::unsupported("CAST(... AS type ARRAY)"));
        }
        self.expect_tok(Tok::RParen)?;
        Ok(Expr::Cast { expr, to })
    }
    fn date_arith(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let expr = self.boxed()?;
        self.expect_tok(Tok::Comma)?;
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
        self.expect_tok(Tok::RParen)?;
        Ok(Expr::DateArith {
            expr,
            amount,
            unit,
            subtract: matches!(word.kw, Kw::DATE_SUB | Kw::SUBDATE),
        })
    }
    fn timestamp_arith(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let unit = self.interval_unit()?;
        self.expect_tok(Tok::Comma)?;
        let first = self.boxed()?;
        self.expect_tok(Tok::Comma)?;
        let second = self.boxed()?;
        self.expect_tok(Tok::RParen)?;
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
    fn extract(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let unit = self.interval_unit()?;
        self.expect(Kw::FROM)?;
        let expr = self.expr()?;
        self.expect_tok(Tok::RParen)?;
        let unit = self.made_up(unit.name());
        Ok(self.simple_call("extract", vec![unit, expr], word.start))
    }
    fn substring(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let mut args = vec![self.expr()?];
        if self.eat(Kw::FROM) {
            args.push(self.expr()?);
            if self.eat(Kw::FOR) {
                args.push(self.expr()?);
            }
        } else {
            self.expect_tok(Tok::Comma)?;
            args.push(self.expr()?);
            if self.eat_tok(Tok::Comma) {
                args.push(self.expr()?);
            }
        }
        self.expect_tok(Tok::RParen)?;
        Ok(self.simple_call("substring", args, word.start))
    }
    fn trim(&mut self, word: Token) -> Result<Expr> {
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
        self.expect_tok(Tok::RParen)?;
        let name = if args.len() == 2 && side == "trim" { "trim_both" } else { side };
        Ok(self.simple_call(name, args, word.start))
    }
    fn position_of(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let needle = self.expr_bp(BIT_OR)?;
        self.expect(Kw::IN)?;
        let hay = self.expr()?;
        self.expect_tok(Tok::RParen)?;
        Ok(self.simple_call("locate", vec![needle, hay], word.start))
    }
    fn get_format(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let Some(kind) = self.eat_any(&[Kw::DATE, Kw::TIME, Kw::DATETIME, Kw::TIMESTAMP]) else {
            return Err(self.unexpected());
        };
        self.expect_tok(Tok::Comma)?;
        let format = self.expr()?;
        self.expect_tok(Tok::RParen)?;
        let kind = self.made_up(kind.name());
        Ok(self.simple_call("get_format", vec![kind, format], word.start))
    }
    fn weight_string(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let expr = self.expr()?;
        let mut returning = None;
        if self.eat(Kw::AS) {
            let kind = self.eat_any(&[Kw::CHAR, Kw::BINARY]);
            self.expect_tok(Tok::LParen)?;
            let length = Some(self.small()?);
            self.expect_tok(Tok::RParen)?;
            returning = Some(match kind {
                Some(Kw::CHAR) => CastType::Char { length, charset: None },
                Some(_) => CastType::Binary { length },
                None => return Err(self.unexpected()),
            });
        }
        self.expect_tok(Tok::RParen)?;
        let mut call = self.plain_call("weight_string".into(), vec![expr], word.start);
        call.returning = returning;
        Ok(Expr::Function(Box::new(call)))
    }
    /// CHAR(65, 66 USING utf8mb4)
    fn char_function(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let args = self.list(Self::expr)?;
        let charset = if self.eat(Kw::USING) { Some(self.charset_name()?) } else { None };
        self.expect_tok(Tok::RParen)?;
        let mut call = self.plain_call("char".into(), args, word.start);
        call.charset = charset;
        Ok(Expr::Function(Box::new(call)))
    }
    fn group_concat(&mut self, word: Token) -> Result<Expr> {
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
        self.expect_tok(Tok::RParen)?;
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
    fn json_value(&mut self, word: Token) -> Result<Expr> {
        self.bump();
        let doc = self.expr()?;
        self.expect_tok(Tok::Comma)?;
        let path = self.expr()?;
        let mut call = self.plain_call("json_value".into(), vec![doc, path], word.start);
        if self.eat(Kw::RETURNING) {
            call.returning = Some(self.cast_type()?);
        }
        (call.on_empty, call.on_error) = self.json_on()?;
        self.expect_tok(Tok::RParen)?;
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
            self.expect(Kw::ON)?;
            if on_empty.is_none() && on_error.is_none() && self.eat(Kw::EMPTY) {
                on_empty = Some(on);
            } else if on_error.is_none() {
                self.expect(Kw::ERROR)?;
                on_error = Some(on);
            } else {
                return Err(self.unexpected());
            }
        }
        Ok((on_empty, on_error))
    }
    /// A literal as text (JSON_VALUE's and JSON_TABLE's defaults).
    fn signed_text(&mut self) -> Result<Vec<u8>> {
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
    fn default_of(&mut self) -> Result<Expr> {
        self.bump();
        let mut name = self.ident()?;
        while self.eat_tok(Tok::Dot) {
            name = self.ident()?;
        }
        self.expect_tok(Tok::RParen)?;
        Ok(Expr::Default(Some(name)))
    }
    /// MATCH (a, b) AGAINST (e [mode]); behind MATCH.
    fn match_against(&mut self) -> Result<Expr> {
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
            self.expect_tok(Tok::RParen)?;
        }
        self.expect(Kw::AGAINST)?;
        self.expect_tok(Tok::LParen)?;
        let against = self.boxed_bp(BIT_OR)?;
        let mut mode = MatchMode::Natural;
        if self.eat(Kw::IN) {
            if self.eat(Kw::BOOLEAN) {
                mode = MatchMode::Boolean;
            } else {
                self.expect(Kw::NATURAL)?;
                self.expect(Kw::LANGUAGE)?;
            }
            self.expect(Kw::MODE)?;
        }
        if mode == MatchMode::Natural && self.eat(Kw::WITH) {
            self.expect(Kw::QUERY)?;
            self.expect(Kw::EXPANSION)?;
            mode = MatchMode::NaturalExpansion;
        }
        self.expect_tok(Tok::RParen)?;
        Ok(Expr::Match { columns, against, mode })
    }

    pub(super) fn cast_type(&mut self) -> Result<CastType> {
        let kw = self.tok.kw;
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
                    self.expect_tok(Tok::RParen)?;
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
            _ => return Err(self.syntax_at(self.prev_end.min(self.tok.start))),
        })
    }
    fn cast_charset(&mut self, length: Option<u32>) -> Result<CastType> {
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
        self.expect_tok(Tok::RParen)?;
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
        self.expect_tok(Tok::RParen)?;
        Ok(decimals)
    }
    /// A charset's name, lower case (`binary` is a keyword and a charset).
    pub(super) fn charset_name(&mut self) -> Result<Name> {
        self.lower_name()
    }
    pub(super) fn collation_name(&mut self) -> Result<Name> {
        self.lower_name()
    }
    fn lower_name(&mut self) -> Result<Name> {
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

/// Reserved words that are functions when `(` follows.
fn is_function(kw: Kw) -> bool {
    use Kw::*;
    matches!(
        kw,
        CUME_DIST
            | DATABASE
            | DENSE_RANK
            | FIRST_VALUE
            | GROUPING
            | IF
            | INSERT
            | LAG
            | LAST_VALUE
            | LEAD
            | LEFT
            | MOD
            | NTH_VALUE
            | NTILE
            | PERCENT_RANK
            | RANK
            | REPEAT
            | REPLACE
            | RIGHT
            | ROW_NUMBER
            | VALUES
    )
}

fn is_aggregate(name: &str) -> bool {
    matches!(
        name,
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "bit_and"
            | "bit_or"
            | "bit_xor"
            | "stddev_pop"
            | "stddev_samp"
            | "var_pop"
            | "var_samp"
            | "json_arrayagg"
            | "json_objectagg"
            | "st_collect"
    )
}
