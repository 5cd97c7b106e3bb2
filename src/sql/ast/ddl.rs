//! The tree of CREATE TABLE and ALTER TABLE: types, columns, keys, actions.

use super::{Expr, Name, Query, Span, TableName};

/// A type as written in DDL: lower-case word(s) without arguments, then what was given.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TypeName {
    /// `int`, `varchar`, `double`, `datetime`, `enum` … (synonyms resolved: integer→int, numeric/dec/fixed→decimal,
    /// real/double precision→double, bool/boolean→tinyint with length 1, character→char, serial → see ColumnOption,
    /// national/nchar→char with charset utf8mb3, long→mediumtext, int1..int8, middleint → the sized ints)
    pub name: Name,
    pub args: Vec<u32>,
    pub labels: Vec<Vec<u8>>,
    pub unsigned: bool,
    pub zerofill: bool,
    pub charset: Option<Name>,
    pub collation: Option<Name>,
    /// CHAR(5) BINARY
    pub binary: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDef {
    pub name: Name,
    pub ty: TypeName,
    pub options: Vec<ColumnOption>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ColumnOption {
    Null,
    NotNull,
    /// `text`: its source text; parenthesized (an expression default) or not.
    Default {
        expr: Expr,
        parenthesized: bool,
        text: Span,
    },
    AutoIncrement,
    PrimaryKey,
    Unique,
    Comment(Vec<u8>),
    Collate(Name),
    OnUpdateNow(Option<u8>),
    Generated {
        expr: Expr,
        stored: bool,
        text: Span,
    },
    References(References),
    Check {
        name: Option<Name>,
        expr: Expr,
        enforced: bool,
        text: Span,
    },
    Visible(bool),
    /// COLUMN_FORMAT, STORAGE, ENGINE_ATTRIBUTE, SRID …: accepted, without effect
    Ignored,
}

#[derive(Clone, Debug, PartialEq)]
pub struct References {
    pub table: TableName,
    pub columns: Vec<Name>,
    pub on_delete: Option<RefAction>,
    pub on_update: Option<RefAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefAction {
    Restrict,
    Cascade,
    SetNull,
    NoAction,
    SetDefault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Primary,
    Unique,
    Plain,
    FullText,
    Spatial,
    Vector,
}

#[derive(Clone, Debug, PartialEq)]
pub struct KeyDef {
    pub kind: KeyKind,
    pub name: Option<Name>,
    /// CONSTRAINT symbol
    pub constraint: Option<Name>,
    pub parts: Vec<KeyPartDef>,
    pub comment: Option<Vec<u8>>,
    pub visible: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct KeyPartDef {
    /// A column, or (functional key part) an expression.
    pub column: Name,
    pub expr: Option<Expr>,
    pub prefix: Option<u32>,
    pub descending: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TableElement {
    Column(ColumnDef),
    Key(KeyDef),
    ForeignKey {
        constraint: Option<Name>,
        name: Option<Name>,
        columns: Vec<Name>,
        references: References,
    },
    Check {
        name: Option<Name>,
        expr: Expr,
        enforced: bool,
        text: Span,
    },
}

/// ENGINE=, CHARSET=, COMMENT= …: lower-case key, value as text (`default charset` → `charset`).
#[derive(Clone, Debug, PartialEq)]
pub struct TableOption {
    pub key: Name,
    pub value: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CreateTable {
    pub temporary: bool,
    pub if_not_exists: bool,
    pub name: TableName,
    pub elements: Vec<TableElement>,
    pub options: Vec<TableOption>,
    pub like: Option<TableName>,
    /// CREATE TABLE … [IGNORE|REPLACE] SELECT
    pub query: Option<Box<Query>>,
    pub query_ignore: bool,
    pub query_replace: bool,
    /// PARTITION BY given (refused by name)
    pub partitioned: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AlterAction {
    AddColumns {
        columns: Vec<ColumnDef>,
        if_not_exists: bool,
        position: Option<Position>,
    },
    /// Keys, foreign keys and checks
    Add(TableElement),
    DropColumn {
        name: Name,
        if_exists: bool,
    },
    DropPrimary,
    DropKey {
        name: Name,
        if_exists: bool,
    },
    DropForeignKey {
        name: Name,
        if_exists: bool,
    },
    /// DROP CONSTRAINT / DROP CHECK
    DropConstraint {
        name: Name,
        if_exists: bool,
    },
    Modify {
        column: ColumnDef,
        position: Option<Position>,
        if_exists: bool,
    },
    Change {
        old: Name,
        column: ColumnDef,
        position: Option<Position>,
        if_exists: bool,
    },
    /// SET DEFAULT (Some) / DROP DEFAULT (None)
    SetDefault {
        name: Name,
        default: Option<(Expr, Span, bool)>,
    },
    RenameColumn {
        old: Name,
        new: Name,
    },
    RenameKey {
        old: Name,
        new: Name,
    },
    RenameTable(TableName),
    ConvertCharset {
        charset: Option<Name>,
        collation: Option<Name>,
    },
    Options(Vec<TableOption>),
    KeyVisible {
        name: Name,
        visible: bool,
    },
    ColumnVisible {
        name: Name,
        visible: bool,
    },
    EnforceCheck {
        name: Name,
        enforced: bool,
    },
    /// ENABLE/DISABLE KEYS, ALGORITHM=, LOCK=, ORDER BY, FORCE, WITH VALIDATION: accepted, without effect
    Ignored,
    /// PARTITION things, TABLESPACE: refused by name
    Refused(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Position {
    First,
    After(Name),
}
