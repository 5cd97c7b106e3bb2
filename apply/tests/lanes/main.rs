//! The engine from outside: lanes, open transactions, readers, recovery, entries of other nodes.

mod capture;
mod claims;
mod kit;
mod numbers;
mod open;
mod overlays;
mod remote;
mod shadows;
mod transactions;
mod writes;
