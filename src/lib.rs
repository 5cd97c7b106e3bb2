//! Starling: a leaderless, replicated SQLite that any MySQL client can use. This page is the map.
//!
//! A write travels, and the reader with it: [`mysql`] (packets, authentication) → [`sql`] (parse, bind, lower) → [`txn`]
//! (what a transaction holds) → `starling_apply::lane` (dry run, capture) → `starling_log::log` (group commit) →
//! `starling_apply::materialize` (rows on other nodes) → [`cluster`] (members, streams between nodes).
//! [`http`] shows the log to the world; [`cli`], [`config`] and [`server`] start it all and stop it in order.

pub mod auth;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod http;
pub mod mysql;
pub mod server;
pub mod sql;
pub mod txn;
