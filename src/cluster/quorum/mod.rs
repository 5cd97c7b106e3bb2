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
//! Reading order: [`ids`] → [`message`] → [`record`] → [`node`] (inputs, effects, the world) → `state` (one voter) → `coordinator`
//! (its own transactions) → `acceptor` (everybody's) → `reserved` (who must not starve) → `recovery` (ballots) → `settle` (decided:
//! log, tables, clearing) → `floors` → `epochs` → `start` (what others remember); [`home`] (locks of hot rows: nothing rests on them).

mod acceptor;
pub mod codec;
mod coordinator;
mod epochs;
mod explain;
mod floors;
pub mod home;
pub mod ids;
mod keys;
pub mod message;
pub mod node;
pub mod plant;
pub mod record;
mod recovery;
mod reserved;
mod settle;
mod start;
mod state;

pub use home::{Ask, HomeMessage, Told};
pub use ids::{Ballot, Epoch, Outcome, Seat, Version, Voter, WriteNo};
pub use message::{Change, Claim, Frame, Gossip, Head, Kind, Level, Message, Mode, No, Prepare, Proposal, Settled, Vote};
pub use node::{Answer, Effect, Input, Recovered, Refusal, Settings, Ticket, World};
pub use plant::Plant;
pub use record::{Record, RecordKey};
pub use state::Node;
