//! What a statement gives back: column metadata, rows, and the closing OK. The seam between `sql` and the wire.
//!
//! Promises: metadata come from binding, never from looking at values; rows are handed over borrowed, one by one.
//! Must not know: packets.

use starling_apply::ColumnType;
use starling_log::ValueRef;

use super::error::{Result, SqlError};

/// A result column, as MySQL describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultColumn {
    /// Schema, table (alias) and original table; empty for expressions.
    pub schema: String,
    pub table: String,
    pub org_table: String,
    pub name: String,
    pub org_name: String,
    /// Type in canonical storage form (see `starling_apply::types`); the wire derives type code, charset number, length, decimals from it.
    pub ty: ColumnType,
    /// NULL literal: MYSQL_TYPE_NULL
    pub null_type: bool,
    pub not_null: bool,
    pub primary_key: bool,
    pub unique_key: bool,
    pub multiple_key: bool,
    pub auto_increment: bool,
    pub no_default: bool,
    pub on_update_now: bool,
}

impl ResultColumn {
    /// A parameter marker as COM_STMT_PREPARE describes it.
    pub fn marker() -> ResultColumn {
        ResultColumn::named("?", ColumnType::new(starling_apply::BaseType::VarBinary))
    }
    /// A column that is an expression.
    pub fn named(name: impl Into<String>, ty: ColumnType) -> ResultColumn {
        ResultColumn {
            schema: String::new(),
            table: String::new(),
            org_table: String::new(),
            name: name.into(),
            org_name: String::new(),
            ty,
            null_type: false,
            not_null: false,
            primary_key: false,
            unique_key: false,
            multiple_key: false,
            auto_increment: false,
            no_default: false,
            on_update_now: false,
        }
    }
}

/// The end of a statement without (or after) rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    pub affected: u64,
    pub last_insert_id: u64,
    pub warnings: u16,
    /// `Rows matched: 1  Changed: 1  Warnings: 0` and the like.
    pub info: String,
    /// What changed in the session; for clients that track it.
    pub changes: Option<Box<Changes>>,
}

/// What changed in a session since its client was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub variables: Vec<(&'static str, String)>,
    /// The default database was set (to this).
    pub schema: Option<String>,
    /// Anything at all (`session_track_state_change`).
    pub state: bool,
    pub gtids: Option<String>,
    /// MySQL's eight letters of a transaction's state.
    pub transaction: Option<[u8; 8]>,
    /// The statements that open a transaction like the present one.
    pub opening: Option<String>,
}

/// Session state that travels in status flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub autocommit: bool,
    pub in_transaction: bool,
    pub read_only_transaction: bool,
    pub no_backslash_escapes: bool,
}

/// Takes one statement's result. For rows: `columns` once, `row` for each, then `done`. Without rows: `done` alone. Several statements of one
/// COM_QUERY call it in sequence (`more` tells that another result follows).
pub trait Sink: Send {
    fn columns(&mut self, columns: &[ResultColumn]) -> Result<()>;
    /// `Err` ends the statement (the client is gone, or its buffer is full and may not be waited for).
    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()>;
    fn done(&mut self, done: &Done, status: Status, more: bool) -> Result<()>;
    /// True when what is buffered should be sent before more rows come (the executor then yields to `flush_blocking`).
    fn is_full(&self) -> bool;
    /// Sends what is buffered; called only where blocking is allowed (inside block_in_place or a blocking thread).
    fn flush_blocking(&mut self) -> Result<()>;
    /// Where it stands, if it can be brought back there as long as nothing was sent.
    fn mark(&self) -> Option<Mark> {
        None
    }
    /// Forgets what came since `mark`.
    fn rewind(&mut self, mark: Mark) {
        let _ = mark;
    }
}

/// A position in a sink's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub length: usize,
    pub sequence: u8,
}

/// A typed parameter of EXECUTE.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    /// DECIMAL as text
    Decimal(String),
    /// Character string, as bytes in the connection's charset.
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    /// `YYYY-MM-DD`
    Date(String),
    /// `YYYY-MM-DD HH:MM:SS[.ffffff]`
    DateTime(String),
    /// Signed microseconds
    Time(i64),
}

/// A prepared statement's description for COM_STMT_PREPARE.
#[derive(Clone, Debug, Default)]
pub struct PreparedInfo {
    pub params: u16,
    pub columns: Vec<ResultColumn>,
}

/// Kept so that the two names stand together.
pub type SinkError = SqlError;
