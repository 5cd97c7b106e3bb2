//! What stands between operators: literals, columns, variables, parentheses, CASE.
//!
//! Promises: each literal token becomes one `Expr::Literal` with that token's slot. Must not know: functions with a syntax of their own (`func`).

use super::expr::{OR, UNARY};
use super::{Parser, Result, SqlError, is_ident, utf8};
use crate::sql::ast::{Expr, Literal, NO_SLOT, Name, Query, Span, UnaryOp};
use crate::sql::lex::{Kw, Tok, Token, decode_bits, decode_hex, decode_string, is_charset};

/// What a pair of parentheses held.
pub(super) enum Paren {
    Query(Box<Query>),
    List(Vec<Expr>),
}

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Result<Expr> {
        match self.tok.tok {
            Tok::Integer | Tok::Str | Tok::Decimal | Tok::Float | Tok::Hex | Tok::Bits | Tok::National => self.literal(),
            Tok::Word => self.word(),
            Tok::Quoted => {
                let name = self.tok;
                self.bump();
                self.named(name)
            }
            Tok::LParen => self.paren(),
            Tok::Param => {
                self.bump();
                self.params += 1;
                Ok(Expr::Param(self.params - 1))
            }
            Tok::Minus => self.unary(UnaryOp::Minus),
            Tok::Plus => self.unary(UnaryOp::Plus),
            Tok::Tilde => self.unary(UnaryOp::BitNot),
            Tok::Bang => self.unary(UnaryOp::Not),
            Tok::AtName => self.user_variable(),
            Tok::AtAt => self.system_variable(),
            Tok::LBrace => self.odbc(),
            _ => Err(self.unexpected()),
        }
    }

    /// The literal token that stands here.
    pub(super) fn literal(&mut self) -> Result<Expr> {
        let value = self.literal_value(self.tok, None)?;
        Ok(self.take_literal(value))
    }
    /// Consumes the literal token; its slot is the expression's.
    fn take_literal(&mut self, value: Literal) -> Expr {
        let slot = self.tok.slot;
        if let Some(free) = self.free.get_mut(slot as usize) {
            *free = true;
        }
        self.bump();
        Expr::Literal { value, slot }
    }
    fn literal_value(&self, token: Token, charset: Option<Name>) -> Result<Literal> {
        literal_of(token.tok, self.source(token), token.plain, charset, self.mode)
    }

    fn word(&mut self) -> Result<Expr> {
        let word = self.tok;
        if word.kw != Kw::None {
            return self.keyword(word);
        }
        self.bump();
        if matches!(self.tok.tok, Tok::Str | Tok::Hex | Tok::Bits) {
            let raw = self.source(word);
            if raw[0] == b'_' && is_charset(&raw[1..]) {
                let charset = utf8(raw[1..].to_ascii_lowercase())?;
                let value = self.literal_value(self.tok, Some(charset))?;
                let slot = self.tok.slot;
                let literal = self.take_literal(value);
                self.widen_literal(slot, word.start);
                return Ok(literal);
            }
        }
        self.named(word)
    }
    fn keyword(&mut self, word: Token) -> Result<Expr> {
        match word.kw {
            Kw::NULL => Ok(self.constant(Literal::Null)),
            Kw::TRUE => Ok(self.constant(Literal::Bool(true))),
            Kw::FALSE => Ok(self.constant(Literal::Bool(false))),
            Kw::NOT if self.mode.high_not_precedence => self.unary(UnaryOp::Not),
            Kw::CASE => self.case(),
            Kw::EXISTS => {
                self.bump();
                Ok(Expr::Exists(Box::new(self.paren_query()?)))
            }
            Kw::INTERVAL => self.interval_operand(),
            Kw::BINARY => {
                self.bump();
                self.binary_cast()
            }
            Kw::ROW => self.row(),
            Kw::DATE | Kw::TIME | Kw::TIMESTAMP if self.peek().tok == Tok::Str => {
                self.bump();
                self.temporal(word)
            }
            _ => self.function_word(word),
        }
    }
    fn constant(&mut self, value: Literal) -> Expr {
        self.bump();
        Expr::Literal { value, slot: NO_SLOT }
    }
    /// The string behind DATE, TIME, TIMESTAMP (or d, t, ts).
    fn temporal(&mut self, word: Token) -> Result<Expr> {
        let text = utf8(decode_string(self.source(self.tok), self.tok.plain, self.mode))?;
        let value = match self.source(word).to_ascii_lowercase().as_slice() {
            b"date" | b"d" => Literal::Date(text),
            b"time" | b"t" => Literal::Time(text),
            _ => Literal::Timestamp(text),
        };
        let slot = self.tok.slot;
        let literal = self.take_literal(value);
        self.widen_literal(slot, word.start);
        Ok(literal)
    }
    /// Makes a literal's span start earlier and end here.
    fn widen_literal(&mut self, slot: u32, start: u32) {
        let end = self.prev_end;
        if let Some(span) = self.literals.get_mut(slot as usize) {
            *span = Span { start, end };
        }
    }
    /// `{d '…'}`, `{t '…'}`, `{ts '…'}`, `{fn expr}`, `{anything expr}`
    fn odbc(&mut self) -> Result<Expr> {
        let start = self.tok.start;
        self.bump();
        let word = self.tok;
        if !is_ident(word) && !word.call {
            return Err(self.unexpected());
        }
        self.bump();
        let kind = self.source(word).to_ascii_lowercase();
        if self.at(Tok::Str) && matches!(kind.as_slice(), b"d" | b"t" | b"ts") {
            let slot = self.tok.slot;
            let literal = self.temporal(word)?;
            self.need_tok(Tok::RBrace)?;
            self.widen_literal(slot, start);
            return Ok(literal);
        }
        let expr = self.expr()?;
        self.need_tok(Tok::RBrace)?;
        Ok(expr)
    }
    fn row(&mut self) -> Result<Expr> {
        self.bump();
        let items = self.paren_list(Self::expr)?;
        if items.len() < 2 {
            return Err(self.syntax_at(self.prev_end.saturating_sub(1)));
        }
        Ok(Expr::Row(items))
    }
    fn case(&mut self) -> Result<Expr> {
        self.bump();
        let operand = if self.is(Kw::WHEN) { None } else { Some(self.boxed()?) };
        let mut whens = Vec::new();
        while self.eat(Kw::WHEN) {
            let when = self.expr()?;
            self.need(Kw::THEN)?;
            whens.push((when, self.expr()?));
        }
        if whens.is_empty() {
            return Err(self.unexpected());
        }
        let otherwise = if self.eat(Kw::ELSE) { Some(self.boxed()?) } else { None };
        self.need(Kw::END)?;
        Ok(Expr::Case { operand, whens, otherwise })
    }

    /// Behind a name: a column, or a call of a function by that name.
    pub(super) fn named(&mut self, first: Token) -> Result<Expr> {
        match self.tok.tok {
            Tok::LParen => self.call(first, None),
            Tok::Dot => self.dotted(first),
            _ => Ok(Expr::Column {
                db: None,
                table: None,
                name: self.name_of(first)?,
                span: self.span_from(first.start),
            }),
        }
    }
    fn dotted(&mut self, first: Token) -> Result<Expr> {
        self.bump();
        let second = self.part()?;
        if self.at(Tok::LParen) {
            let db = self.name_of(first)?;
            return self.call(second, Some((db, first.start)));
        }
        let (db, table, name) = if self.eat_tok(Tok::Dot) {
            let third = self.part()?;
            (Some(self.name_of(first)?), second, third)
        } else {
            (None, first, second)
        };
        Ok(Expr::Column {
            db,
            table: Some(self.name_of(table)?),
            name: self.name_of(name)?,
            span: self.span_from(first.start),
        })
    }
    /// A name behind a dot.
    fn part(&mut self) -> Result<Token> {
        let token = self.tok;
        if !is_ident(token) && !token.call {
            return Err(self.unexpected());
        }
        self.bump();
        Ok(token)
    }

    fn user_variable(&mut self) -> Result<Expr> {
        let var = self.name_of(self.tok)?;
        self.bump();
        if !self.eat_tok(Tok::Assign) {
            return Ok(Expr::UserVar(var));
        }
        Ok(Expr::Assign {
            var,
            value: self.boxed_bp(OR)?,
        })
    }
    /// `@@[scope.]name[.part]`
    pub(super) fn system_variable(&mut self) -> Result<Expr> {
        self.bump();
        let first = self.part()?;
        let word = self.name_of(first)?;
        if !self.eat_tok(Tok::Dot) {
            return Ok(Expr::SysVar { scope: None, name: word });
        }
        let second = self.part()?;
        let mut name = self.name_of(second)?;
        let scope = match word.to_ascii_lowercase().as_str() {
            "session" | "local" => Some("session".to_string()),
            "global" => Some("global".to_string()),
            "persist" => Some("persist".to_string()),
            "persist_only" => Some("persist_only".to_string()),
            _ => {
                name = format!("{word}.{name}");
                None
            }
        };
        if scope.is_some() && self.eat_tok(Tok::Dot) {
            let third = self.part()?;
            name = format!("{name}.{}", self.name_of(third)?);
        }
        Ok(Expr::SysVar { scope, name })
    }

    /// `(e)`, `(a, b)`, `(SELECT …)`
    pub(super) fn paren(&mut self) -> Result<Expr> {
        self.need_tok(Tok::LParen)?;
        Ok(one(self.paren_content()?))
    }
    /// A query in parentheses.
    pub(super) fn paren_query(&mut self) -> Result<Query> {
        let open = self.tok.start;
        self.need_tok(Tok::LParen)?;
        match self.paren_content()? {
            Paren::Query(query) => Ok(*query),
            Paren::List(_) => Err(self.syntax_at(open + 1)),
        }
    }
    /// Behind `IN`.
    pub(super) fn in_list(&mut self, expr: Box<Expr>, negated: bool) -> Result<Expr> {
        self.need_tok(Tok::LParen)?;
        Ok(match self.paren_content()? {
            Paren::Query(query) => Expr::InQuery { expr, query, negated },
            Paren::List(list) => Expr::InList { expr, list, negated },
        })
    }
    pub(super) fn at_query(&self) -> bool {
        match self.tok.kw {
            Kw::SELECT | Kw::WITH | Kw::TABLE => true,
            Kw::VALUES => self.peek().kw == Kw::ROW,
            _ => false,
        }
    }
    /// Behind a `(`, through its `)`. A query in several parentheses is told from an expression that starts with one
    /// without reading anything twice.
    pub(super) fn paren_content(&mut self) -> Result<Paren> {
        self.enter()?;
        let content = self.paren_content_inner()?;
        self.leave();
        Ok(content)
    }
    fn paren_content_inner(&mut self) -> Result<Paren> {
        let first = if self.at_query() {
            let query = self.query()?;
            self.need_tok(Tok::RParen)?;
            return Ok(Paren::Query(Box::new(query)));
        } else if self.eat_tok(Tok::LParen) {
            let inner = self.paren_content()?;
            if let Paren::Query(query) = inner {
                if self.eat_tok(Tok::RParen) {
                    return Ok(Paren::Query(query));
                }
                if self.at_query_tail() {
                    let query = self.query_from(*query)?;
                    self.need_tok(Tok::RParen)?;
                    return Ok(Paren::Query(Box::new(query)));
                }
                self.expr_from(Expr::Subquery(query), OR)?
            } else {
                self.expr_from(one(inner), OR)?
            }
        } else {
            self.expr()?
        };
        let mut list = vec![first];
        while self.eat_tok(Tok::Comma) {
            list.push(self.expr()?);
        }
        self.need_tok(Tok::RParen)?;
        Ok(Paren::List(list))
    }
    /// `simple_expr` of the grammar.
    pub(super) fn simple(&mut self) -> Result<Expr> {
        self.expr_bp(UNARY)
    }
}

fn one(content: Paren) -> Expr {
    match content {
        Paren::Query(query) => Expr::Subquery(query),
        Paren::List(mut list) => match (list.len(), list.pop()) {
            (1, Some(expr)) => expr,
            (_, Some(last)) => {
                list.push(last);
                Expr::Row(list)
            }
            (_, None) => Expr::Row(list),
        },
    }
}

/// What a literal token means.
pub(in crate::sql) fn literal_of(
    tok: Tok,
    raw: &[u8],
    plain: bool,
    charset: Option<Name>,
    mode: crate::sql::lex::LexMode,
) -> Result<Literal> {
    let digits = || String::from_utf8_lossy(raw).into_owned();
    Ok(match tok {
        Tok::Integer => match parse_u64(raw) {
            Some(value) => Literal::Integer(value),
            None => Literal::Decimal(digits()),
        },
        Tok::Decimal => Literal::Decimal(digits()),
        Tok::Float => {
            let text = digits();
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Literal::Float(value),
                _ => return Err(SqlError::new(1367, format!("Illegal double '{text}' value found during parsing"))),
            }
        }
        Tok::Hex => Literal::Hex {
            bytes: decode_hex(raw),
            charset,
        },
        Tok::Bits => Literal::Bits {
            bytes: decode_bits(raw),
            charset,
        },
        Tok::National => Literal::National(decode_string(raw, plain, mode)),
        _ => Literal::String {
            bytes: decode_string(raw, plain, mode),
            charset,
        },
    })
}

fn parse_u64(digits: &[u8]) -> Option<u64> {
    if digits.len() < 20 {
        return Some(digits.iter().fold(0u64, |v, d| v * 10 + u64::from(d - b'0')));
    }
    digits
        .iter()
        .try_fold(0u64, |v, d| v.checked_mul(10)?.checked_add(u64::from(d - b'0')))
}
