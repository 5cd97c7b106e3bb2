//! Numbers, strings, quoted names, variables: the tokens with a shape of their own.
//!
//! Promises: MySQL's rules for what is a number and what is a name that starts with digits. Must not know: other tokens.

use super::{Lexer, Tok, Token, is_digit, is_word};

impl Lexer<'_> {
    pub(super) fn number(&mut self) -> Token {
        let start = self.pos;
        if self.at(0) == b'0'
            && matches!(self.at(1), b'x' | b'b')
            && let Some(token) = self.prefixed_digits()
        {
            return token;
        }
        while is_digit(self.at(0)) {
            self.pos += 1;
        }
        let b = self.at(0);
        if b == b'.' {
            return self.fraction(start);
        }
        if !is_word(b) || self.pos >= self.text.len() {
            return self.literal(Tok::Integer, start, true);
        }
        if self.exponent() {
            return self.literal(Tok::Float, start, true);
        }
        self.word_from(start)
    }
    /// An identifier that began with digits.
    pub(super) fn word_from(&mut self, start: usize) -> Token {
        while is_word(self.at(0)) && self.pos < self.text.len() {
            self.pos += 1;
        }
        self.after_name = self.pos;
        self.token(Tok::Word, start)
    }
    /// At a `.`: the rest of a number.
    pub(super) fn fraction(&mut self, start: usize) -> Token {
        self.pos += 1;
        while is_digit(self.at(0)) {
            self.pos += 1;
        }
        let tok = if self.exponent() { Tok::Float } else { Tok::Decimal };
        self.literal(tok, start, true)
    }
    /// Takes `e10`, `E+5` if one stands here.
    pub(super) fn exponent(&mut self) -> bool {
        if !matches!(self.at(0), b'e' | b'E') {
            return false;
        }
        let sign = usize::from(matches!(self.at(1), b'+' | b'-'));
        if !is_digit(self.at(1 + sign)) {
            return false;
        }
        self.pos += 1 + sign;
        while is_digit(self.at(0)) {
            self.pos += 1;
        }
        true
    }
    /// 0x41, 0b01 — or nothing, where it is an identifier.
    pub(super) fn prefixed_digits(&mut self) -> Option<Token> {
        let hex = self.at(1) == b'x';
        let mut len = 2;
        while if hex {
            self.at(len).is_ascii_hexdigit()
        } else {
            matches!(self.at(len), b'0' | b'1')
        } {
            len += 1;
        }
        if len == 2 || (is_word(self.at(len)) && self.pos + len < self.text.len()) {
            return None;
        }
        let start = self.pos;
        self.pos += len;
        Some(self.literal(if hex { Tok::Hex } else { Tok::Bits }, start, true))
    }
    /// x'4142', b'01'
    pub(super) fn quoted_digits(&mut self, tok: Tok) -> Token {
        let start = self.pos;
        self.pos += 2;
        while match tok {
            Tok::Hex => self.at(0).is_ascii_hexdigit(),
            _ => matches!(self.at(0), b'0' | b'1'),
        } {
            self.pos += 1;
        }
        let digits = self.pos - start - 2;
        if self.at(0) != b'\'' || (tok == Tok::Hex && !digits.is_multiple_of(2)) {
            return self.bad(start);
        }
        self.pos += 1;
        self.literal(tok, start, true)
    }

    /// A string from its quote on, with those that stand next to it.
    pub(super) fn string(&mut self, tok: Tok, start: usize) -> Token {
        let mut plain = true;
        loop {
            match self.one_string() {
                Some(simple) => plain &= simple,
                None => return self.bad(start),
            }
            let b = self.at(0);
            if matches!(b, b',' | b')' | b';') {
                break;
            }
            let here = *self;
            let joined = self.skip_gap().is_ok() && (self.at(0) == b'\'' || (self.at(0) == b'"' && !self.mode.ansi_quotes));
            if !joined {
                let versioned = self.versioned;
                *self = here;
                self.versioned |= versioned;
                break;
            }
            plain = false;
        }
        self.literal(tok, start, plain)
    }
    /// Past one quoted string; `Some(true)` when it holds no escape, `None` when it does not end.
    pub(super) fn one_string(&mut self) -> Option<bool> {
        let quote = self.at(0);
        self.pos += 1;
        let mut plain = true;
        loop {
            let rest = &self.text[self.pos..];
            let at = if self.mode.no_backslash_escapes {
                memchr::memchr(quote, rest)?
            } else {
                memchr::memchr2(quote, b'\\', rest)?
            };
            self.pos += at;
            if self.at(0) == b'\\' && quote != b'\\' {
                plain = false;
                self.pos += 2;
                if self.pos > self.text.len() {
                    return None;
                }
            } else if self.at(1) == quote {
                plain = false;
                self.pos += 2;
            } else {
                self.pos += 1;
                return Some(plain);
            }
        }
    }
    pub(super) fn quoted(&mut self, quote: u8) -> Token {
        let start = self.pos;
        let mut plain = true;
        self.pos += 1;
        loop {
            let rest = &self.text[self.pos..];
            let Some(at) = memchr::memchr(quote, rest) else {
                return self.bad(start);
            };
            self.pos += at + 1;
            if self.at(0) != quote {
                break;
            }
            plain = false;
            self.pos += 1;
        }
        self.after_name = self.pos;
        let mut token = self.token(Tok::Quoted, start);
        token.plain = plain;
        token
    }
    pub(super) fn variable(&mut self) -> Token {
        let start = self.pos;
        match self.at(1) {
            b'@' => self.op(Tok::AtAt, 2),
            quote @ (b'\'' | b'"' | b'`') => {
                self.pos += 1;
                let plain = if quote == b'`' {
                    let token = self.quoted(quote);
                    (token.tok == Tok::Quoted).then_some(token.plain)
                } else {
                    self.one_string()
                };
                let Some(plain) = plain else {
                    return self.bad(start);
                };
                let mut token = self.token(Tok::AtName, start);
                token.plain = plain;
                token
            }
            b if is_word(b) || b == b'.' => {
                self.pos += 1;
                while self.pos < self.text.len() && (is_word(self.at(0)) || self.at(0) == b'.') {
                    self.pos += 1;
                }
                self.token(Tok::AtName, start)
            }
            _ => self.op(Tok::At, 1),
        }
    }
}
