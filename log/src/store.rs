//! (log helper)
pub trait Store: Send + Sync {}
