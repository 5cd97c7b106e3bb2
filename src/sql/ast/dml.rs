//! The tree of INSERT, UPDATE and DELETE.

use super::{Expr, Limit, Name, OrderBy, Query, SelectItem, TableName, TableRef, With};

#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    pub replace: bool,
    pub ignore: bool,
    pub table: TableName,
    pub columns: Option<Vec<Name>>,
    pub source: InsertSource,
    /// `AS new(a, b)`
    pub row_alias: Option<(Name, Vec<Name>)>,
    pub on_duplicate: Vec<SetItem>,
    pub returning: Vec<SelectItem>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum InsertSource {
    Values(Vec<Vec<Expr>>),
    Set(Vec<SetItem>),
    Query(Box<Query>),
}

/// `[[db.]table.]column = value`
#[derive(Clone, Debug, PartialEq)]
pub struct SetItem {
    pub db: Option<Name>,
    pub table: Option<Name>,
    pub column: Name,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub with: Option<With>,
    pub ignore: bool,
    pub from: Vec<TableRef>,
    pub set: Vec<SetItem>,
    pub filter: Option<Expr>,
    pub order_by: Vec<OrderBy>,
    pub limit: Option<Limit>,
    pub returning: Vec<SelectItem>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    pub with: Option<With>,
    pub ignore: bool,
    /// Multi-table: what to delete from (`DELETE a, b FROM …` / `DELETE FROM a, b USING …`); empty for single-table.
    pub targets: Vec<TableName>,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
    pub order_by: Vec<OrderBy>,
    pub limit: Option<Limit>,
    pub returning: Vec<SelectItem>,
}
