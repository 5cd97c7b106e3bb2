//! t
use super::Function;
use super::run::Body;
pub const FUNCTIONS: &[Function] = &[];
pub const BODIES: &[&[Body]] = &[];
