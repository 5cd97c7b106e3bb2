//! The tree of a statement, whichever it is, and what parsing gives beside it.

use super::{
    AlterAction, CreateTable, Delete, Expr, Insert, KeyDef, Name, Query, SetStatement, Show, Span, TableName, TableOption, Update, Xa,
};

#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    Query(Box<Query>),
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
    CreateDatabase {
        name: Name,
        if_not_exists: bool,
        options: Vec<TableOption>,
    },
    AlterDatabase {
        name: Option<Name>,
        options: Vec<TableOption>,
    },
    DropDatabase {
        name: Name,
        if_exists: bool,
    },
    Use(Name),
    CreateTable(Box<CreateTable>),
    AlterTable {
        name: TableName,
        actions: Vec<AlterAction>,
        if_exists: bool,
    },
    DropTables {
        temporary: bool,
        if_exists: bool,
        names: Vec<TableName>,
    },
    TruncateTable(TableName),
    RenameTables(Vec<(TableName, TableName)>),
    CreateIndex {
        table: TableName,
        key: KeyDef,
        if_not_exists: bool,
    },
    DropIndex {
        table: TableName,
        name: Name,
        if_exists: bool,
    },
    /// `text`: of the whole query
    CreateView {
        or_replace: bool,
        name: TableName,
        columns: Vec<Name>,
        query: Box<Query>,
        text: Span,
        check_option: Option<bool>,
    },
    DropViews {
        if_exists: bool,
        names: Vec<TableName>,
    },
    Begin {
        read_only: Option<bool>,
        snapshot: bool,
    },
    Commit {
        chain: bool,
        release: bool,
    },
    Rollback {
        chain: bool,
        release: bool,
    },
    Savepoint(Name),
    RollbackTo(Name),
    ReleaseSavepoint(Name),
    LockTables(Vec<(TableName, Option<Name>, bool)>),
    UnlockTables,
    Set(Vec<SetStatement>),
    Show(Box<Show>),
    /// DESCRIBE t [col]
    Describe {
        table: TableName,
        column: Option<Vec<u8>>,
    },
    Explain {
        format: Option<Name>,
        analyze: bool,
        statement: Box<Statement>,
    },
    Prepare {
        name: Name,
        source: PrepareSource,
    },
    Execute {
        name: Name,
        using: Vec<Name>,
    },
    Deallocate(Name),
    /// An empty list: a text of nothing but comments.
    Do(Vec<Expr>),
    Kill {
        query: bool,
        id: Expr,
    },
    /// ANALYZE | OPTIMIZE | REPAIR | CHECK | CHECKSUM TABLE
    TableMaintenance {
        verb: &'static str,
        names: Vec<TableName>,
    },
    Flush(String),
    /// FLUSH TABLES [names] [WITH READ LOCK]
    FlushTables {
        names: Vec<TableName>,
        read_lock: bool,
    },
    Xa(Xa),
    /// CREATE/ALTER/DROP/RENAME USER, GRANT, REVOKE, roles: issue of accounts; carried by name until then
    LoadData {
        local: bool,
        file: Vec<u8>,
        text: Span,
    },
    /// Understood as a statement of MySQL, refused by name with 1235.
    Refused(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum PrepareSource {
    Text(Vec<u8>),
    Var(Name),
}

/// One parsed statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub statement: Statement,
    /// How many `?` it has.
    pub params: u32,
    /// The literals of the text in order (index = `slot`): where they stand, with what belongs to them (`DATE '…'`, `_latin1'…'`,
    /// `{d '…'}`), so that this piece of the text alone parses to the same literal. Every literal token has a slot, also those that
    /// the grammar itself consumed (aliases, type lengths, separators).
    pub literals: Vec<Span>,
    /// The slots that are no `Expr::Literal`: whoever caches a plan pins them always.
    pub pinned: Vec<u32>,
}
