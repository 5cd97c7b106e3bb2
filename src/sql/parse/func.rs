//! Function calls: the plain ones, and which of the others is which (`special`, `cast`).
//!
//! Promises: names arrive in lower case, synonyms of the grammar under one name (`ast::Expr::Function`).
//! Must not know: which functions exist, what they do.

use super::{Parser, Result, SqlError, is_ident};
use crate::sql::ast::{Call, Expr, Literal, NO_SLOT, Name, Over, WindowSpec};
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
    pub(super) fn without_paren(&mut self, word: Token) -> Result<Expr> {
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
    pub(super) fn missing_function(&mut self, word: Token) -> Result<Expr> {
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
    pub(super) fn plain_call(&self, name: Name, args: Vec<Expr>, start: u32) -> Call {
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
    pub(super) fn made_up(&self, text: &str) -> Expr {
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
    pub(super) fn call_as(&mut self, word: Token, db: Option<(Name, u32)>, name: &str) -> Result<Expr> {
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
        self.need_tok(Tok::RParen)?;
        let start = db.as_ref().map_or(word.start, |d| d.1);
        let mut call = self.plain_call(name.to_string(), args, start);
        call.db = db.map(|d| d.0);
        call.distinct = distinct;
        let call = self.over(call)?;
        self.leave();
        Ok(call)
    }
    /// What may follow a call: `[FROM FIRST] [RESPECT NULLS] [OVER …]`.
    pub(super) fn over(&mut self, mut call: Call) -> Result<Expr> {
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
                Over::Spec(Box::new(self.window_spec()?))
            } else {
                Over::Named(self.ident()?)
            });
            call.span.end = self.prev_end;
        }
        Ok(Expr::Function(Box::new(call)))
    }
    pub(super) fn window_spec(&mut self) -> Result<WindowSpec> {
        self.enter()?;
        self.need_tok(Tok::LParen)?;
        let mut spec = WindowSpec::default();
        if self.is_ident() {
            spec.base = Some(self.ident()?);
        }
        if self.eat(Kw::PARTITION) {
            self.need(Kw::BY)?;
            spec.partition_by = self.list(Self::expr)?;
        }
        spec.order_by = self.order_by()?;
        spec.frame = self.frame()?;
        self.need_tok(Tok::RParen)?;
        self.leave();
        Ok(spec)
    }

    pub(super) fn niladic(&mut self, name: &str, word: Token) -> Result<Expr> {
        self.bump();
        self.need_tok(Tok::RParen)?;
        Ok(self.simple_call(name, Vec::new(), word.start))
    }
    /// NOW(), NOW(6)
    pub(super) fn clock(&mut self, name: &str, word: Token) -> Result<Expr> {
        self.bump();
        let mut args = Vec::new();
        if !self.at(Tok::RParen) {
            args.push(self.expr()?);
        }
        self.need_tok(Tok::RParen)?;
        Ok(self.simple_call(name, args, word.start))
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
