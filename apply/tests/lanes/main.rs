//! The engine from outside: lanes, open transactions, readers, recovery, entries of other nodes.

mod capture;
mod kit;
mod numbers;
mod open;
mod remote;
mod transactions;
mod writes;
