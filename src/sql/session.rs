//! One client's session: its variables, its transaction, and one statement's way from text to result.

use std::sync::Arc;

use starling_apply::Engine;

use super::error::Result;
use super::result::{Param, PreparedInfo, ResultColumn, Sink, Status};

/// What all sessions of the process share.
pub struct Server {
    pub engine: Arc<Engine>,
    pub cluster: Arc<crate::cluster::Cluster>,
    // stmt helper: global variables, plan cache, session registry, counters (Questions, Com_select …)
}

impl Server {
    /// Unique in the process, from 1.
    pub fn next_connection_id(&self) -> u32 {
        todo!("stmt helper")
    }
    /// `@@version`, for the greeting.
    pub fn version(&self) -> String {
        todo!("stmt helper")
    }
    /// `@@global.max_connections`.
    pub fn max_connections(&self) -> usize {
        todo!("stmt helper")
    }
}

/// Who the session belongs to, after authentication.
#[derive(Clone, Debug)]
pub struct Identity {
    pub user: String,
    /// The client's address as MySQL shows it.
    pub host: String,
    /// `user@hostpattern` of the account that matched.
    pub account: String,
    pub attributes: Vec<(String, String)>,
}

pub struct Session {
    // stmt helper
}

/// A prepared statement, owned by its connection.
pub struct Prepared {
    // stmt helper
}

impl Session {
    /// Registers it under `id` (from `Server::next_connection_id`; dropping it takes it off the list). `found_rows`: CLIENT_FOUND_ROWS;
    /// `collation`: number of the handshake.
    pub fn new(server: Arc<Server>, id: u32, identity: Identity, found_rows: bool, collation: u16) -> Session {
        let _ = (server, id, identity, found_rows, collation);
        todo!("stmt helper")
    }
    pub fn connection_id(&self) -> u32 {
        todo!("stmt helper")
    }
    /// COM_QUERY: all statements of the text (more than one only if `multi`).
    pub async fn query(&mut self, text: &[u8], multi: bool, sink: &mut dyn Sink) -> Result<()> {
        let _ = (text, multi, sink);
        todo!("stmt helper")
    }
    /// COM_STMT_PREPARE. 1295 for what cannot be prepared.
    pub fn prepare(&mut self, text: &[u8]) -> Result<(Prepared, PreparedInfo)> {
        let _ = text;
        todo!("stmt helper")
    }
    /// COM_STMT_EXECUTE.
    pub async fn execute(&mut self, prepared: &mut Prepared, params: &[Param], sink: &mut dyn Sink) -> Result<()> {
        let _ = (prepared, params, sink);
        todo!("stmt helper")
    }
    /// COM_INIT_DB.
    pub fn use_database(&mut self, name: &str) -> Result<()> {
        let _ = name;
        todo!("stmt helper")
    }
    /// COM_FIELD_LIST.
    pub fn field_list(&mut self, table: &str, wildcard: &[u8]) -> Result<Vec<ResultColumn>> {
        let _ = (table, wildcard);
        todo!("stmt helper")
    }
    /// COM_STATISTICS.
    pub fn statistics(&self) -> String {
        todo!("stmt helper")
    }
    pub fn set_multi_statements(&mut self, on: bool) {
        let _ = on;
        todo!("stmt helper")
    }
    /// COM_RESET_CONNECTION: rolls back, forgets variables and temporary things; also the first half of COM_CHANGE_USER.
    pub async fn reset(&mut self) {
        todo!("stmt helper")
    }
    /// COM_CHANGE_USER, second half.
    pub fn become_user(&mut self, identity: Identity) {
        let _ = identity;
        todo!("stmt helper")
    }
    /// Fires when the session is killed (KILL CONNECTION); cheap to clone.
    pub fn killed(&self) -> tokio_util::sync::CancellationToken {
        todo!("stmt helper")
    }
    pub fn status(&self) -> Status {
        todo!("stmt helper")
    }
    /// Charset of results on the wire (`character_set_results`; `None`: no conversion), as a charset name.
    pub fn results_charset(&self) -> Option<&str> {
        todo!("stmt helper")
    }
    pub fn max_allowed_packet(&self) -> usize {
        todo!("stmt helper")
    }
    /// Seconds an idle connection lives (`wait_timeout`).
    pub fn wait_timeout(&self) -> u64 {
        todo!("stmt helper")
    }
}
