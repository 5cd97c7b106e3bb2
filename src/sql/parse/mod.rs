//! The parser: one statement's text to its tree, by MySQL 8.0's grammar and precedence.
//!
//! Promises: literals are numbered as `fingerprint` numbers them; errors are MySQL's 1064 with the text from the offending token on;
//! no text can overflow the stack. Must not know: the catalog, types, what a statement does.

use super::ast::{Expr, Parsed};
use super::error::{Result, SqlError};
pub use super::lex::LexMode;

/// The first statement of a text, and where the rest begins (behind its `;`; the text's length when nothing follows).
pub fn parse_first(text: &[u8], mode: LexMode) -> Result<(Parsed, usize)> {
    let _ = (text, mode);
    Err(SqlError::internal("parser"))
}

/// A text that is one statement.
pub fn parse_one(text: &[u8], mode: LexMode) -> Result<Parsed> {
    parse_first(text, mode).map(|p| p.0)
}

/// A text that is one expression.
pub fn parse_expr(text: &[u8], mode: LexMode) -> Result<Expr> {
    let _ = (text, mode);
    Err(SqlError::internal("parser"))
}
