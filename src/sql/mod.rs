//! MySQL's language on SQLite: parse → bind → lower → run.
//!
//! Reading order: [`ast`] ← [`lex`] ← [`parse`] → [`bind`] (names, types) → [`lower`] (SQLite SQL) → [`plan`] (cache) →
//! [`stmt`] (INSERT, DDL, SET, SHOW …, by kind) → [`session`] (one client's state, one statement's way).

pub mod ast;
pub mod bind;
pub mod error;
pub mod fingerprint;
pub mod func;
pub mod gtid;
pub mod lex;
pub mod lower;
pub mod meta;
pub mod parse;
pub mod plan;
pub mod result;
pub mod session;
pub mod stmt;
pub mod types;
pub mod vars;

pub use error::SqlError;
pub use session::{Identity, Prepared, Server, Session};
