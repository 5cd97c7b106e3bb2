//! Transactions between nodes, decided by quorum: PROTOCOL.md as a pure state machine for one voter.
//!
//! ```text
//!  Input (proposals, messages, "flushed", "applied", ticks) ──▶ Node::step ──▶ Effect (writes, sends, entries, answers)
//! ```
//!
//! Promises: no input or output, no clock, no randomness but a seed; the same inputs give the same effects. Everything a voter
//! says rests on writes that its driver makes durable first: a `Send` names the write it waits for. Must not know: SQL, rows,
//! sockets, how entries are stored.
//!
//! Reading order: [`ids`] → [`message`] → [`record`] → [`node`] (inputs, effects, the world) and what it delegates to.

pub mod codec;
pub mod home;
pub mod ids;
pub mod message;
pub mod node;
pub mod record;

pub use ids::{Ballot, Epoch, Outcome, Seat, Version, Voter, WriteNo};
pub use message::{Change, Claim, Frame, Gossip, Head, Kind, Level, Message, Mode, No, Prepare, Proposal, Settled, Vote};
pub use node::{Answer, Effect, Input, Node, Refusal, Settings, World};
pub use record::{Record, RecordKey};
