//! The parser: one statement's text to its tree, by MySQL 8.0's grammar and precedence.
//!
//! Promises: literals are numbered as `fingerprint` numbers them; errors are MySQL's 1064 with the text from the offending token on;
//! no text can overflow the stack, neither of the parser nor of who walks the tree (`MAX_DEPTH`, `MAX_HEIGHT`).
//! Must not know: the catalog, types, what a statement does.

mod admin;
mod alter;
mod cast;
mod create;
mod ddl;
mod dml;
mod expr;
mod from;
mod func;
mod options;
mod primary;
pub mod print;
mod query;
mod set;
mod show;
mod special;
mod statement;
mod types;
mod xa;

use super::ast::{Expr, Name, Parsed, Span, Statement, TableName};
use super::error::{Result, SqlError};
pub use super::lex::LexMode;
use super::lex::{Kw, Lexer, Tok, Token, decode_ident, decode_string};
pub(in crate::sql) use primary::literal_of;

/// How deep expressions and queries may nest (each level costs the parser some stack).
const MAX_DEPTH: u32 = 200;
/// And how much stack the parser itself may take for it, in any build: its callers, and who walks the tree, run on the same one.
const MAX_STACK: usize = 768 << 10;
/// How high a tree may grow, left-deep chains (`1+1+1…`) included: whoever walks it recurses so deep.
const MAX_HEIGHT: u32 = 400;
/// How many joins and set operations one statement may hold (they nest to the left without recursion here, but not elsewhere).
const MAX_LINKS: u32 = 2000;

/// The first statement of a text, and where the rest begins (behind its `;`; the text's length when nothing follows).
pub fn parse_first(text: &[u8], mode: LexMode) -> Result<(Parsed, usize)> {
    if u32::try_from(text.len()).is_err() {
        return Err(SqlError::new(1153, "Got a packet bigger than 'max_allowed_packet' bytes"));
    }
    let mut parser = Parser::new(text, mode);
    let empty = matches!(parser.tok.tok, Tok::End | Tok::Semicolon);
    if empty && !parser.lex.commented {
        return Err(SqlError::new(1065, "Query was empty"));
    }
    // as in MySQL, a comment alone succeeds (dumps hold comments for other versions)
    let statement = if empty { Statement::Do(Vec::new()) } else { parser.statement()? };
    if !matches!(parser.tok.tok, Tok::End | Tok::Semicolon) {
        return Err(parser.unexpected());
    }
    let rest = parser.rest();
    Ok((parser.finish(statement), rest))
}

/// A text that is one statement (a `;` may end it).
pub fn parse_one(text: &[u8], mode: LexMode) -> Result<Parsed> {
    let (parsed, rest) = parse_first(text, mode)?;
    if rest < text.len() {
        let line = 1 + memchr::memchr_iter(b'\n', &text[..rest]).count();
        return Err(SqlError::syntax(&text[rest..], line));
    }
    Ok(parsed)
}

/// A text that is one expression (a default, a check, a generated column as the catalog keeps it).
pub fn parse_expr(text: &[u8], mode: LexMode) -> Result<Expr> {
    let mut parser = Parser::new(text, mode);
    let expr = parser.expr()?;
    parser.need_tok(Tok::End)?;
    Ok(expr)
}

struct Parser<'a> {
    text: &'a [u8],
    mode: LexMode,
    lex: Lexer<'a>,
    tok: Token,
    /// Where the token before `tok` ended.
    prev_end: u32,
    literals: Vec<Span>,
    /// By slot: it became an `Expr::Literal`.
    free: Vec<bool>,
    params: u32,
    depth: u32,
    /// Greatest height of the expressions finished within the current one.
    height: u32,
    /// Joins and set operations so far.
    links: u32,
    /// Where the stack stood when parsing began.
    stack_base: usize,
}

/// A place to return to.
struct Mark<'a> {
    lex: Lexer<'a>,
    tok: Token,
    prev_end: u32,
    params: u32,
    depth: u32,
    height: u32,
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8], mode: LexMode) -> Parser<'a> {
        let mut lex = Lexer::new(text, mode);
        let tok = lex.next_token();
        let mut parser = Parser {
            text,
            mode,
            lex,
            tok,
            prev_end: 0,
            literals: Vec::new(),
            free: Vec::new(),
            params: 0,
            depth: 0,
            height: 0,
            links: 0,
            stack_base: stack_address(),
        };
        parser.count_literal();
        parser
    }
    fn finish(self, statement: Statement) -> Parsed {
        let pinned = (0u32..).zip(&self.free).filter(|(_, free)| !**free).map(|(slot, _)| slot).collect();
        Parsed {
            statement,
            params: self.params,
            literals: self.literals,
            pinned,
        }
    }
    /// Where the next statement starts.
    fn rest(&self) -> usize {
        if self.tok.tok == Tok::End {
            return self.text.len();
        }
        let behind = self.tok.end as usize;
        let mut ahead = self.lex;
        if ahead.next_token().tok == Tok::End {
            self.text.len()
        } else {
            behind
        }
    }

    fn bump(&mut self) {
        self.prev_end = self.tok.end;
        self.tok = self.lex.next_token();
        self.count_literal();
    }
    fn count_literal(&mut self) {
        if self.tok.tok.is_literal() {
            let slot = self.tok.slot as usize;
            self.literals.truncate(slot);
            self.free.truncate(slot);
            self.literals.push(Span {
                start: self.tok.start,
                end: self.tok.end,
            });
            self.free.push(false);
        }
    }
    fn mark(&self) -> Mark<'a> {
        Mark {
            lex: self.lex,
            tok: self.tok,
            prev_end: self.prev_end,
            params: self.params,
            depth: self.depth,
            height: self.height,
        }
    }
    fn reset(&mut self, mark: &Mark<'a>) {
        self.lex = mark.lex;
        self.tok = mark.tok;
        self.prev_end = mark.prev_end;
        self.params = mark.params;
        self.depth = mark.depth;
        self.height = mark.height;
        self.count_literal();
    }
    fn peek(&self) -> Token {
        let mut ahead = self.lex;
        ahead.next_token()
    }
    fn peek2(&self) -> (Token, Token) {
        let mut ahead = self.lex;
        let first = ahead.next_token();
        (first, ahead.next_token())
    }

    fn is(&self, kw: Kw) -> bool {
        self.tok.kw == kw
    }
    fn at(&self, tok: Tok) -> bool {
        self.tok.tok == tok
    }
    fn eat(&mut self, kw: Kw) -> bool {
        let hit = self.is(kw);
        if hit {
            self.bump();
        }
        hit
    }
    fn eat_tok(&mut self, tok: Tok) -> bool {
        let hit = self.at(tok);
        if hit {
            self.bump();
        }
        hit
    }
    /// Takes all of these words, or none of them.
    fn eat_all(&mut self, words: &[Kw]) -> bool {
        if words.first() != Some(&self.tok.kw) {
            return false;
        }
        let mark = self.mark();
        for word in words {
            if !self.eat(*word) {
                self.reset(&mark);
                return false;
            }
        }
        true
    }
    fn eat_any(&mut self, words: &[Kw]) -> Option<Kw> {
        let kw = self.tok.kw;
        if kw == Kw::None || !words.contains(&kw) {
            return None;
        }
        self.bump();
        Some(kw)
    }
    fn need(&mut self, kw: Kw) -> Result<()> {
        if self.eat(kw) { Ok(()) } else { Err(self.unexpected()) }
    }
    fn need_tok(&mut self, tok: Tok) -> Result<()> {
        if self.eat_tok(tok) { Ok(()) } else { Err(self.unexpected()) }
    }
    /// 1064 at the current token.
    #[cold]
    fn unexpected(&self) -> SqlError {
        self.syntax_at(self.tok.start)
    }
    #[cold]
    fn syntax_at(&self, start: u32) -> SqlError {
        let start = start as usize;
        SqlError::syntax(&self.text[start..], 1 + memchr::memchr_iter(b'\n', &self.text[..start]).count())
    }
    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        let used = self.stack_base.abs_diff(stack_address());
        if self.depth > MAX_DEPTH || used > MAX_STACK {
            return Err(too_deep());
        }
        Ok(())
    }
    fn link(&mut self) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS { Err(too_deep()) } else { Ok(()) }
    }
    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Bytes of a token.
    fn source(&self, token: Token) -> &'a [u8] {
        token.bytes(self.text)
    }
    fn is_word(&self, word: &str) -> bool {
        self.tok.tok == Tok::Word && self.source(self.tok).eq_ignore_ascii_case(word.as_bytes())
    }
    fn eat_word(&mut self, word: &str) -> bool {
        let hit = self.is_word(word);
        if hit {
            self.bump();
        }
        hit
    }
    fn is_ident(&self) -> bool {
        is_ident(self.tok)
    }
    fn ident(&mut self) -> Result<Name> {
        if !self.is_ident() {
            return Err(self.unexpected());
        }
        let name = self.name_of(self.tok)?;
        self.bump();
        Ok(name)
    }
    /// The name that a word, quoted or string token gives.
    fn name_of(&self, token: Token) -> Result<Name> {
        let raw = self.source(token);
        let bytes = match token.tok {
            Tok::Quoted => decode_ident(raw, token.plain),
            Tok::Str | Tok::National => decode_string(raw, token.plain, self.mode),
            Tok::AtName => match raw.get(1) {
                Some(b'`') => decode_ident(&raw[1..], token.plain),
                Some(b'\'' | b'"') => decode_string(&raw[1..], token.plain, self.mode),
                _ => raw[1..].to_vec(),
            },
            _ => raw.to_vec(),
        };
        utf8(bytes)
    }
    fn ident_or_string(&mut self) -> Result<Name> {
        if self.at(Tok::Str) {
            let name = self.name_of(self.tok)?;
            self.bump();
            return Ok(name);
        }
        self.ident()
    }
    fn string(&mut self) -> Result<Vec<u8>> {
        if !matches!(self.tok.tok, Tok::Str | Tok::National) {
            return Err(self.unexpected());
        }
        let bytes = decode_string(self.source(self.tok), self.tok.plain, self.mode);
        self.bump();
        Ok(bytes)
    }
    /// Unsigned digits.
    fn integer(&mut self) -> Result<u64> {
        let digits = self.source(self.tok);
        if !self.at(Tok::Integer) {
            return Err(self.unexpected());
        }
        let value = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
        let value = value.ok_or_else(|| self.unexpected())?;
        self.bump();
        Ok(value)
    }
    fn small(&mut self) -> Result<u32> {
        let error = self.unexpected_lazily();
        u32::try_from(self.integer()?).map_err(|_| self.syntax_at(error))
    }
    fn unexpected_lazily(&self) -> u32 {
        self.tok.start
    }
    fn table_name(&mut self) -> Result<TableName> {
        let first = self.ident()?;
        if self.eat_tok(Tok::Dot) {
            return Ok(TableName {
                db: Some(first),
                name: self.ident()?,
            });
        }
        Ok(TableName { db: None, name: first })
    }
    /// One or more, separated by commas.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut out = vec![one(self)?];
        while self.eat_tok(Tok::Comma) {
            out.push(one(self)?);
        }
        Ok(out)
    }
    fn paren_list<T>(&mut self, one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.need_tok(Tok::LParen)?;
        let out = self.list(one)?;
        self.need_tok(Tok::RParen)?;
        Ok(out)
    }
    fn if_exists(&mut self) -> Result<bool> {
        if !self.eat(Kw::IF) {
            return Ok(false);
        }
        self.need(Kw::EXISTS)?;
        Ok(true)
    }
    fn if_not_exists(&mut self) -> Result<bool> {
        if !self.eat(Kw::IF) {
            return Ok(false);
        }
        self.need(Kw::NOT)?;
        self.need(Kw::EXISTS)?;
        Ok(true)
    }
    fn span_from(&self, start: u32) -> Span {
        Span { start, end: self.prev_end }
    }
}

/// A word that may be a name here, or a quoted name.
fn is_ident(token: Token) -> bool {
    match token.tok {
        Tok::Word => !token.kw.is_reserved() && !token.call,
        Tok::Quoted => true,
        _ => false,
    }
}

pub(in crate::sql) fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let shown: String = e.as_bytes().iter().take(6).map(|b| format!("\\x{b:02X}")).collect();
        SqlError::new(1300, format!("Invalid utf8mb4 character string: '{shown}'"))
    })
}

/// About where the stack stands.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

#[cold]
fn too_deep() -> SqlError {
    SqlError::new(1436, "Thread stack overrun: the statement is nested too deeply")
}

#[cfg(test)]
mod tests;
