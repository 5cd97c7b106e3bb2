//! Content digests: are two copies of the tables equal, and if not, which row differs?

use serde::{Deserialize, Serialize};

/// Digests of all tables at one applied vector. Order of rows does not matter to a table's digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The applied vector, as (origin, seq).
    pub at: Vec<(u16, u64)>,
    pub tables: Vec<TableDigest>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDigest {
    pub db: String,
    pub table: String,
    pub rows: u64,
    /// Hex.
    pub digest: String,
}
