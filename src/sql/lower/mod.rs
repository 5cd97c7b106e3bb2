//! Lower: pieces of SQLite text, and the values that go into its arguments.
//!
//! Promises: every identifier is quoted; literals and parameters reach SQLite as arguments in the canonical storage form of
//! the type that `bind` asked for. Must not know: name resolution.
//!
//! [`text`] (identifiers, string constants) · [`args`] (literals and parameters into canonical values at run time).
//! Conversions between types inside SQL are `func::convert`'s.

pub mod args;
pub mod text;

pub use text::{identifier, string};
