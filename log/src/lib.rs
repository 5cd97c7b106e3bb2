//! Starling's change log: the one source of truth.
//!
//! Everything a cluster ever did is a set of immutable [`Entry`]s, each at its [`Place`] (origin, sequence number), each
//! with a [`Stamp`] that orders it against all others. This crate keeps them durable, hands them out by place, by stamp
//! and live, and proves that two logs are equal. It knows no SQL, no SQLite and no HTTP.
//!
//! Reading order: [`value`] (packed rows) → [`entry`] (what is logged) → [`clock`] (when) → [`vector`] (how far) →
//! [`segment`] (stored and wire form) → [`store`] (sled, or simulated) → [`log`] (group commit, reading, following) →
//! [`merkle`] (are two logs equal?).

pub mod clock;
pub mod entry;
pub mod log;
pub mod merkle;
pub mod segment;
pub mod store;
pub mod value;
mod varint;
pub mod vector;

pub use clock::{Clock, Hlc, Stamp, SystemTime, TimeSource};
pub use entry::{Body, Change, ChangeRef, Changes, Control, Entry, Op, Schema, TableRef};
pub use log::{AppendError, Draft, Log, LogOptions, OpenError, PendingOp, Placed};
pub use value::{Row, RowRef, Value, ValueRef};
pub use vector::{Cursor, Origin, Place, VersionVector};
