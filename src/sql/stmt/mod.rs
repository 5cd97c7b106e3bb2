//! Statements by kind: schema changes, SHOW, SET, and changes of rows.

pub mod ddl;
pub mod set;
