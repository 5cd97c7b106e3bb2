//! The MySQL face: packets in, packets out. One task for each connection.
//!
//! Our own connection loop; of opensrv-mysql we use the protocol's constants, the error table and the value trait (its own
//! loop answers OK to what it does not know and hard-codes the metadata that clients rely on).
//! Promises: whatever bytes a client sends, only its own connection ends; buffers are bounded by `max_allowed_packet`; nothing
//! long blocks a runtime worker. Must not know: SQL (that is [`crate::sql`]), where rows come from.
//!
//! Reading order: [`listen`] → [`connection`] (handshake, then commands) → [`packet`], [`wire`] (framing, integers) →
//! [`greeting`], [`login`] → [`command`] (what a command's bytes mean) → [`rows`] ([`column`], [`cell`]: results; [`track`]: what changed in the session).

pub mod cell;
pub mod column;
pub mod command;
pub mod connection;
pub mod greeting;
pub mod listen;
pub mod login;
pub mod packet;
pub mod prepared;
pub mod rows;
pub mod track;
pub mod wire;

pub use listen::serve;
