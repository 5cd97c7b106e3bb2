//! (log helper)
pub struct Tree;
