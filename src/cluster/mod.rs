//! The other nodes: members, streams between logs, healing. (cluster helper)

pub mod accounts;

/// This node's place in its cluster.
pub struct Cluster {
    // cluster helper
}

impl Cluster {
    /// May this node take DDL? Until schema changes go by quorum only the founder does; `Err` names it.
    pub fn may_alter(&self) -> Result<(), String> {
        todo!("cluster helper")
    }
    /// `Err(why)`: not admitted yet, or the clock is off.
    pub fn may_write(&self) -> Result<(), String> {
        todo!("cluster helper")
    }
    pub fn accounts(&self) -> std::sync::Arc<accounts::Accounts> {
        todo!("cluster helper")
    }
    pub fn node_name(&self) -> &str {
        todo!("cluster helper")
    }
    pub fn server_id(&self) -> u32 {
        todo!("cluster helper")
    }
    /// 128-bit identity of the node, as a UUID (`@@server_uuid`).
    pub fn server_uuid(&self) -> String {
        todo!("cluster helper")
    }
}
