//! The tree of SET and SHOW.

use super::{Expr, Name, TableName};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Session,
    Global,
    Persist,
    PersistOnly,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SetStatement {
    /// SET [scope] name = value; a bare word value (`ON`, `utf8mb4`, `READ-COMMITTED`) arrives as a String literal with slot u32::MAX
    System {
        scope: Option<Scope>,
        name: Name,
        value: Expr,
    },
    User {
        name: Name,
        value: Expr,
    },
    Names {
        charset: Option<Name>,
        collation: Option<Name>,
    },
    Charset(Option<Name>),
    Transaction {
        scope: Option<Scope>,
        isolation: Option<Isolation>,
        read_only: Option<bool>,
    },
    Password {
        user: Option<Account>,
        password: Vec<u8>,
    },
    Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub user: String,
    pub host: Option<String>,
}

/// LIKE 'pattern' or WHERE expr
#[derive(Clone, Debug, PartialEq)]
pub enum ShowFilter {
    Like(Vec<u8>),
    Where(Expr),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Show {
    pub kind: ShowKind,
    pub full: bool,
    pub extended: bool,
    pub filter: Option<ShowFilter>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ShowKind {
    Databases,
    Tables {
        db: Option<Name>,
    },
    TableStatus {
        db: Option<Name>,
    },
    OpenTables {
        db: Option<Name>,
    },
    Columns {
        table: TableName,
    },
    Index {
        table: TableName,
    },
    CreateTable(TableName),
    CreateView(TableName),
    CreateDatabase {
        name: Name,
        if_not_exists: bool,
    },
    CreateUser(Account),
    CreateOther(&'static str, TableName),
    Triggers {
        db: Option<Name>,
    },
    Events {
        db: Option<Name>,
    },
    ProcedureStatus,
    FunctionStatus,
    Variables(Scope),
    Status(Scope),
    Warnings {
        limit: Option<(u64, u64)>,
    },
    Errors {
        limit: Option<(u64, u64)>,
    },
    CountWarnings,
    CountErrors,
    ProcessList,
    Engines,
    EngineStatus(Name),
    CharacterSet,
    Collation,
    Grants(Option<Account>),
    Privileges,
    Plugins,
    BinaryLogs,
    BinaryLogStatus,
    ReplicaStatus,
    Replicas,
    Profiles,
    /// Anything else, by its words: refused by name
    Other(String),
}
