//! Statements run on SQLite, with the functions and collations they call.
