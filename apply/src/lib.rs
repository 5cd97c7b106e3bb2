//! The appliers: the change log materialized into SQLite.
//!
//! One file per database, one writing lane per file, one catalog over all. Depends on the log; knows no network and no
//! MySQL syntax (MySQL's *types* it knows: they are what the catalog is about).
//!
//! Reading order: [`types`] (MySQL types and how values are stored) → [`catalog`] (schemas as data) → [`schema`] (schema
//! changes, as they stand in entries) → [`physical`] (the shape in SQLite) → [`capture`] (row changes of a dry run) →
//! [`numbers`] (AUTO_INCREMENT) → [`lane`] (the one writer) → [`materialize`] and [`history`] (the fold: entries into rows, last writer wins) →
//! [`claim`] (what a transaction locks) and [`overlay`]
//! (what an open one changed) → [`readers`] (snapshots) → [`digest`] (are two copies equal?) → [`engine`] (all of it behind one door).

pub mod alter;
pub mod budget;
pub mod capture;
pub mod catalog;
pub mod claim;
pub mod collate;
pub mod convert;
pub mod digest;
mod drawn;
pub mod engine;
pub mod history;
pub mod inorder;
pub mod lane;
pub mod layout;
pub mod mapping;
pub mod materialize;
mod newest;
pub mod numbers;
pub mod overlay;
pub mod physical;
pub mod readers;
pub mod rebuild;
mod references;
pub mod refold;
pub mod reshape;
pub mod schema;
mod shadow;
mod shape;
pub mod sim;
#[cfg(test)]
mod testing;
pub mod types;
pub mod versions;

pub use catalog::{Catalog, Column, Database, Index, Table};
pub use engine::{ApplyError, Engine, EngineOptions, OpenError, WriteError};
pub use types::{BaseType, ColumnType};
