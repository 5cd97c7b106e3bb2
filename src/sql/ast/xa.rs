//! XA statements.

pub use crate::txn::xa::Xid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Xa {
    Start {
        xid: Xid,
        join: bool,
        resume: bool,
    },
    /// `suspend`: with or without FOR MIGRATE.
    End {
        xid: Xid,
        suspend: bool,
    },
    Prepare(Xid),
    Commit {
        xid: Xid,
        one_phase: bool,
    },
    Rollback(Xid),
    Recover {
        convert: bool,
    },
}
