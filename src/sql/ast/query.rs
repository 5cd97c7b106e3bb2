//! The tree of queries: SELECT, set operations, FROM.

use super::{Expr, Name, OrderBy, Span, TableName, TypeName, WindowSpec};

/// A whole query expression: WITH … body ORDER BY … LIMIT … locking
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub with: Option<With>,
    pub body: SetExpr,
    pub order_by: Vec<OrderBy>,
    pub limit: Option<Limit>,
    pub locking: Vec<Locking>,
    /// INTO @a, @b | INTO OUTFILE … | INTO DUMPFILE …
    pub into: Option<Into>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct With {
    pub recursive: bool,
    pub ctes: Vec<Cte>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cte {
    pub name: Name,
    pub columns: Vec<Name>,
    pub query: Query,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SetExpr {
    Select(Box<Select>),
    /// Parenthesized, with its own ORDER BY and LIMIT
    Query(Box<Query>),
    SetOp {
        op: SetOp,
        all: bool,
        left: Box<SetExpr>,
        right: Box<SetExpr>,
    },
    /// VALUES ROW(1, 2), ROW(…)
    Values(Vec<Vec<Expr>>),
    /// TABLE t
    Table(TableName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOp {
    Union,
    Intersect,
    Except,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Select {
    pub distinct: bool,
    pub straight_join: bool,
    pub calc_found_rows: bool,
    pub items: Vec<SelectItem>,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
    pub group_by: Vec<Expr>,
    pub rollup: bool,
    pub having: Option<Expr>,
    pub windows: Vec<(Name, WindowSpec)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SelectItem {
    /// `*`
    Wildcard,
    /// `t.*`, `db.t.*`
    TableWildcard(TableName),
    Expr {
        expr: Expr,
        alias: Option<Name>,
        text: Span,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum TableRef {
    Table {
        name: TableName,
        alias: Option<Name>,
        partitions: Vec<Name>,
    },
    Derived {
        query: Box<Query>,
        alias: Option<Name>,
        columns: Vec<Name>,
        lateral: bool,
    },
    Join {
        kind: JoinKind,
        left: Box<TableRef>,
        right: Box<TableRef>,
        on: JoinOn,
    },
    /// (t1, t2) — a parenthesized comma list
    List(Vec<TableRef>),
    JsonTable {
        doc: Expr,
        path: Vec<u8>,
        columns: Vec<JsonColumn>,
        alias: Name,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum JsonColumn {
    Ordinality(Name),
    Path {
        name: Name,
        ty: TypeName,
        path: Vec<u8>,
        exists: bool,
        on_empty: JsonOn,
        on_error: JsonOn,
    },
    Nested {
        path: Vec<u8>,
        columns: Vec<JsonColumn>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum JsonOn {
    Null,
    Error,
    Default(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Straight,
}

#[derive(Clone, Debug, PartialEq)]
pub enum JoinOn {
    None,
    On(Expr),
    Using(Vec<Name>),
    Natural,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Literal or Param.
    pub count: Expr,
    pub offset: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Locking {
    /// true: FOR UPDATE; false: FOR SHARE / LOCK IN SHARE MODE
    pub exclusive: bool,
    pub of: Vec<Name>,
    pub wait: LockWait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    Wait,
    NoWait,
    SkipLocked,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Into {
    Vars(Vec<Name>),
    Outfile(Vec<u8>),
    Dumpfile(Vec<u8>),
}
