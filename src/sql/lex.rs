//! The lexer: MySQL 8.0's tokens, over bytes (a statement may hold anything inside its strings).
//!
//! Promises: tokens carry byte spans; every literal token has a slot, numbered from 0 in order of appearance (the fingerprint numbers by
//! the same lexer, so both agree); adjacent strings are one token. Allocates nothing.
//! Must not know: the grammar.

pub mod keywords;
mod literal;
mod scan;

pub use keywords::Kw;
pub use literal::{decode_bits, decode_hex, decode_ident, decode_string, is_charset};

use super::bind::SqlMode;

/// Executable comments (`/*!80013 …*/`) up to this version are part of the statement.
pub const VERSION: u32 = 80040;

/// The parts of sql_mode that change how text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LexMode {
    pub ansi_quotes: bool,
    pub pipes_as_concat: bool,
    pub no_backslash_escapes: bool,
    pub ignore_space: bool,
    pub high_not_precedence: bool,
    pub real_as_float: bool,
}

impl From<SqlMode> for LexMode {
    fn from(mode: SqlMode) -> LexMode {
        LexMode {
            ansi_quotes: mode.ansi_quotes,
            pipes_as_concat: mode.pipes_as_concat,
            no_backslash_escapes: mode.no_backslash_escapes,
            ignore_space: mode.ignore_space,
            high_not_precedence: mode.high_not_precedence,
            real_as_float: mode.real_as_float,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tok {
    End,
    /// Nothing MySQL knows: an unclosed string or comment, a stray byte.
    Bad,
    /// An unquoted word (see `Token::kw`)
    Word,
    /// A quoted identifier
    Quoted,
    Str,
    /// N'…'
    National,
    /// x'…' and 0x…
    Hex,
    /// b'…' and 0b…
    Bits,
    Integer,
    Decimal,
    Float,
    /// `@name`, `@'name'`
    AtName,
    /// `@@`
    AtAt,
    /// A lone `@`
    At,
    Param,
    Semicolon,
    LParen,
    RParen,
    LBrace,
    RBrace,
    Comma,
    Dot,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Caret,
    Tilde,
    Bang,
    Amp,
    AmpAmp,
    Pipe,
    PipePipe,
    Shl,
    Shr,
    Eq,
    NullEq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Assign,
    Arrow,
    LongArrow,
    Colon,
}

impl Tok {
    /// Tokens that take a slot.
    pub fn is_literal(self) -> bool {
        matches!(
            self,
            Tok::Str | Tok::National | Tok::Hex | Tok::Bits | Tok::Integer | Tok::Decimal | Tok::Float
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub tok: Tok,
    pub kw: Kw,
    /// A word that is a function here because `(` follows (see `Kw::needs_paren`).
    pub call: bool,
    /// Strings and quoted names: between the quotes stands the value itself (no escapes, one part).
    pub plain: bool,
    pub start: u32,
    pub end: u32,
    /// Literals: their number.
    pub slot: u32,
}

impl Token {
    pub fn bytes<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start as usize..self.end as usize]
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Lexer<'a> {
    text: &'a [u8],
    pos: usize,
    mode: LexMode,
    /// Keywords are looked up (the fingerprint does without).
    words: bool,
    /// Inside `/*! … */`
    executable: bool,
    /// The token before was a `.` right before this byte.
    after_dot: usize,
    /// The token before was a name that ended right before this byte.
    after_name: usize,
    slots: u32,
    /// A comment of any kind was met.
    pub commented: bool,
    /// An executable comment was met (run or skipped).
    pub versioned: bool,
}

const NONE: usize = usize::MAX;

/// Class of a byte: 1 part of an identifier, 2 digit, 4 space.
const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut class = [0u8; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        if c.is_ascii_alphanumeric() || c == b'_' || c == b'$' || c >= 0x80 {
            class[b] |= 1;
        }
        if c.is_ascii_digit() {
            class[b] |= 2;
        }
        if matches!(c, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) {
            class[b] |= 4;
        }
        b += 1;
    }
    class
}

fn is_word(b: u8) -> bool {
    CLASS[b as usize] & 1 != 0
}

fn is_digit(b: u8) -> bool {
    CLASS[b as usize] & 2 != 0
}

fn is_space(b: u8) -> bool {
    CLASS[b as usize] & 4 != 0
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8], mode: LexMode) -> Lexer<'a> {
        Lexer {
            text,
            pos: 0,
            mode,
            words: true,
            executable: false,
            after_dot: NONE,
            after_name: NONE,
            slots: 0,
            commented: false,
            versioned: false,
        }
    }
    /// Tells words, but not which: for the fingerprint.
    pub fn without_keywords(text: &'a [u8], mode: LexMode) -> Lexer<'a> {
        Lexer {
            words: false,
            ..Lexer::new(text, mode)
        }
    }
    pub fn position(&self) -> usize {
        self.pos
    }
    /// The byte at `pos + ahead`; 0 past the end.
    fn at(&self, ahead: usize) -> u8 {
        self.text.get(self.pos + ahead).copied().unwrap_or(0)
    }
    fn token(&self, tok: Tok, start: usize) -> Token {
        Token {
            tok,
            kw: Kw::None,
            call: false,
            plain: true,
            start: start as u32,
            end: self.pos as u32,
            slot: 0,
        }
    }
    fn op(&mut self, tok: Tok, len: usize) -> Token {
        let start = self.pos;
        self.pos += len;
        self.token(tok, start)
    }
    fn bad(&mut self, start: usize) -> Token {
        self.pos = self.text.len();
        let mut token = self.token(Tok::Bad, start);
        token.end = self.text.len() as u32;
        token
    }
    fn literal(&mut self, tok: Tok, start: usize, plain: bool) -> Token {
        let mut token = self.token(tok, start);
        token.plain = plain;
        token.slot = self.slots;
        self.slots += 1;
        token
    }

    /// Skips spaces and comments. `Err`: where an unclosed comment starts.
    fn skip_gap(&mut self) -> Result<(), usize> {
        loop {
            let b = self.at(0);
            if is_space(b) {
                self.pos += 1;
                continue;
            }
            match b {
                b'#' => self.skip_line(),
                b'-' if self.at(1) == b'-' && (self.pos + 2 >= self.text.len() || is_space(self.at(2)) || self.at(2) < 0x20) => {
                    self.skip_line();
                }
                b'/' if self.at(1) == b'*' => self.comment()?,
                b'*' if self.executable && self.at(1) == b'/' => {
                    self.executable = false;
                    self.pos += 2;
                }
                _ => return Ok(()),
            }
        }
    }
    fn skip_line(&mut self) {
        self.commented = true;
        let rest = &self.text[self.pos..];
        self.pos += memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
    }
    fn comment(&mut self) -> Result<(), usize> {
        let start = self.pos;
        self.commented = true;
        if self.at(2) != b'!' {
            self.pos += 2;
            return self.skip_comment(start, false);
        }
        self.versioned = true;
        let digits = (0..6).take_while(|n| is_digit(self.at(3 + n))).count();
        let (version, len) = match digits {
            0..=4 => (0, 0),
            _ => {
                let text = &self.text[self.pos + 3..self.pos + 3 + digits];
                (text.iter().fold(0u32, |v, d| v * 10 + u32::from(d - b'0')), digits)
            }
        };
        self.pos += 3 + len;
        if version > VERSION {
            return self.skip_comment(start, true);
        }
        self.executable = true;
        Ok(())
    }
    /// To behind the closing `*/`; `nested`: comments inside are passed over.
    fn skip_comment(&mut self, start: usize, nested: bool) -> Result<(), usize> {
        loop {
            let rest = &self.text[self.pos.min(self.text.len())..];
            let Some(at) = memchr::memchr2(b'*', b'/', rest) else {
                return Err(start);
            };
            self.pos += at;
            if self.at(0) == b'*' && self.at(1) == b'/' {
                self.pos += 2;
                return Ok(());
            }
            if nested && self.at(0) == b'/' && self.at(1) == b'*' {
                let inner = self.pos;
                self.pos += 2;
                self.skip_comment(inner, false)?;
            } else {
                self.pos += 1;
            }
        }
    }

    /// The next token; `End` for ever at the end.
    pub fn next_token(&mut self) -> Token {
        if let Err(start) = self.skip_gap() {
            return self.bad(start);
        }
        let start = self.pos;
        let Some(&b) = self.text.get(start) else {
            if self.executable {
                return self.bad(start);
            }
            return self.token(Tok::End, start);
        };
        let after_dot = self.after_dot == start;
        self.after_dot = NONE;
        if is_digit(b) && !after_dot {
            return self.number();
        }
        if is_word(b) {
            return self.word(after_dot);
        }
        self.punctuation(b)
    }

    fn punctuation(&mut self, b: u8) -> Token {
        let (b1, b2) = (self.at(1), self.at(2));
        let (tok, len) = match b {
            b'\'' => return self.string(Tok::Str, self.pos),
            b'"' if !self.mode.ansi_quotes => return self.string(Tok::Str, self.pos),
            b'"' | b'`' => return self.quoted(b),
            b'.' if is_digit(b1) && self.after_name != self.pos => return self.fraction(self.pos),
            b'.' => {
                self.after_dot = self.pos + 1;
                (Tok::Dot, 1)
            }
            b'@' => return self.variable(),
            b'(' => (Tok::LParen, 1),
            b')' => (Tok::RParen, 1),
            b',' => (Tok::Comma, 1),
            b';' => (Tok::Semicolon, 1),
            b'?' => (Tok::Param, 1),
            b'{' => (Tok::LBrace, 1),
            b'}' => (Tok::RBrace, 1),
            b'+' => (Tok::Plus, 1),
            b'-' if b1 == b'>' && b2 == b'>' => (Tok::LongArrow, 3),
            b'-' if b1 == b'>' => (Tok::Arrow, 2),
            b'-' => (Tok::Minus, 1),
            b'*' => (Tok::Star, 1),
            b'/' => (Tok::Slash, 1),
            b'%' => (Tok::Percent, 1),
            b'^' => (Tok::Caret, 1),
            b'~' => (Tok::Tilde, 1),
            b'&' if b1 == b'&' => (Tok::AmpAmp, 2),
            b'&' => (Tok::Amp, 1),
            b'|' if b1 == b'|' => (Tok::PipePipe, 2),
            b'|' => (Tok::Pipe, 1),
            b'<' if b1 == b'=' && b2 == b'>' => (Tok::NullEq, 3),
            b'<' if b1 == b'=' => (Tok::Le, 2),
            b'<' if b1 == b'>' => (Tok::Ne, 2),
            b'<' if b1 == b'<' => (Tok::Shl, 2),
            b'<' => (Tok::Lt, 1),
            b'>' if b1 == b'=' => (Tok::Ge, 2),
            b'>' if b1 == b'>' => (Tok::Shr, 2),
            b'>' => (Tok::Gt, 1),
            b'=' => (Tok::Eq, 1),
            b'!' if b1 == b'=' => (Tok::Ne, 2),
            b'!' => (Tok::Bang, 1),
            b':' if b1 == b'=' => (Tok::Assign, 2),
            b':' => (Tok::Colon, 1),
            _ => return self.bad(self.pos),
        };
        self.op(tok, len)
    }

    /// A word, or what starts like one: N'…', x'…', b'…'.
    fn word(&mut self, after_dot: bool) -> Token {
        let start = self.pos;
        if self.at(1) == b'\'' && !after_dot {
            match self.at(0) {
                b'n' | b'N' => {
                    self.pos += 1;
                    return self.string(Tok::National, start);
                }
                b'x' | b'X' => return self.quoted_digits(Tok::Hex),
                b'b' | b'B' => return self.quoted_digits(Tok::Bits),
                _ => {}
            }
        }
        while is_word(self.at(0)) && self.pos < self.text.len() {
            self.pos += 1;
        }
        self.after_name = self.pos;
        let mut token = self.token(Tok::Word, start);
        // a word around a dot is a name, whatever it says
        if self.words && !after_dot && !(self.at(0) == b'.' && is_word(self.at(1))) {
            token.kw = Kw::lookup(token.bytes(self.text));
            token.call = token.kw.needs_paren() && self.paren_follows();
        }
        token
    }
    fn paren_follows(&self) -> bool {
        let mut ahead = 0;
        if self.mode.ignore_space {
            while is_space(self.at(ahead)) {
                ahead += 1;
            }
        }
        self.at(ahead) == b'('
    }
}

#[cfg(test)]
mod tests;
