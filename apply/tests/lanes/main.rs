//! The engine from outside: lanes, open transactions, readers, recovery, entries of other nodes.

mod capture;
mod claims;
mod floor;
mod interleave;
mod kit;
mod large;
#[allow(dead_code)]
#[path = "../reference/model.rs"]
mod model;
mod numbers;
mod open;
mod overlays;
mod remote;
mod shadows;
mod timing;
mod writes;
