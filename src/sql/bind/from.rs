//! FROM: tables, derived tables and joins, as SQLite text and as the block's scope.
//!
//! Promises: joins mean what MySQL's precedence says; USING and NATURAL become plain conditions; RIGHT JOIN becomes LEFT JOIN with
//! its sides exchanged; an ON condition sees the tables of its own join only. Must not know: select lists.

use starling_apply::{Catalog, Database, Table};
use std::sync::Arc;

use super::Binder;
use super::query::Names;
use super::scope::{Aliases, Frame, Source, SourceColumn, Visible, same};
use super::value::Ex;
use crate::sql::ast::{BinaryOp, Expr, JoinKind, JoinOn, Query, TableName, TableRef};
use crate::sql::error::{Result, SqlError};
use crate::sql::lower::text::{identifier, push_identifier};

/// One operand of a join.
struct Part {
    sql: String,
    visible: Vec<Visible>,
    tables: Vec<usize>,
    /// More than one table: needs parentheses on the right of a join.
    joined: bool,
}

/// Finds a table: 1046, 1049, 1146 as MySQL says them. The flag: it is one of the server's own (no collations in SQLite).
pub(crate) fn find_table<'c>(catalog: &'c Catalog, current: Option<&str>, name: &TableName) -> Result<(Found<'c>, Arc<Table>)> {
    let Some(db) = name.db.as_deref().or(current) else {
        return Err(SqlError::no_database());
    };
    if let Some(table) = crate::sql::meta::system_table(db, &name.name) {
        return Ok((Found::System(db.to_lowercase()), table));
    }
    let Some(database) = crate::sql::meta::user_database(catalog, db) else {
        if crate::sql::meta::is_system(db) {
            return Err(SqlError::unknown_table(db, &name.name));
        }
        return Err(SqlError::unknown_database(db));
    };
    match database.table(&name.name) {
        Some(table) => Ok((Found::Database(database), Arc::clone(table))),
        None => Err(SqlError::unknown_table(db, &name.name)),
    }
}

pub(crate) enum Found<'c> {
    Database(&'c Arc<Database>),
    System(String),
}

impl Binder<'_> {
    /// The FROM clause's text (empty without tables); its tables come into `frame`.
    pub(crate) fn bind_from(&mut self, from: &[TableRef], frame: &mut Frame) -> Result<String> {
        let mut sql = String::new();
        for table in from {
            let part = self.part(table)?;
            self.check_unique(&frame.tables, &part.tables)?;
            if !sql.is_empty() {
                sql.push_str(", ");
            }
            sql.push_str(&part.sql);
            frame.visible.extend(part.visible);
            frame.tables.extend(part.tables);
        }
        Ok(sql)
    }

    /// 1066: two tables of one name.
    fn check_unique(&self, left: &[usize], right: &[usize]) -> Result<()> {
        for l in left {
            for r in right {
                let (a, b) = (&self.sources[*l], &self.sources[*r]);
                if same(&a.alias, &b.alias) && a.db == b.db {
                    return Err(SqlError::new(1066, format!("Not unique table/alias: '{}'", b.alias)));
                }
            }
        }
        Ok(())
    }

    fn part(&mut self, table: &TableRef) -> Result<Part> {
        match table {
            TableRef::Table { name, alias, partitions } => {
                if !partitions.is_empty() {
                    return Err(SqlError::unsupported("PARTITION"));
                }
                self.table_part(name, alias.as_deref())
            }
            TableRef::Derived {
                query,
                alias,
                columns,
                lateral,
            } => {
                if *lateral {
                    return Err(SqlError::unsupported("LATERAL"));
                }
                self.derived(query, alias.as_deref(), columns)
            }
            TableRef::Join { kind, left, right, on } => {
                let (left, right) = (self.part(left)?, self.part(right)?);
                self.check_unique(&left.tables, &right.tables)?;
                self.join(*kind, left, right, on)
            }
            TableRef::List(list) => self.list(list),
            TableRef::JsonTable { .. } => Err(SqlError::unsupported("JSON_TABLE")),
        }
    }

    fn list(&mut self, list: &[TableRef]) -> Result<Part> {
        let mut out: Option<Part> = None;
        for table in list {
            let part = self.part(table)?;
            out = Some(match out {
                None => part,
                Some(left) => {
                    self.check_unique(&left.tables, &part.tables)?;
                    self.join(JoinKind::Inner, left, part, &JoinOn::None)?
                }
            });
        }
        out.ok_or_else(|| SqlError::internal("an empty table list"))
    }

    fn source_part(&mut self, source: Source, sql: String) -> Part {
        let mut frame = Frame::default();
        self.push_source(source, &mut frame);
        Part {
            sql,
            visible: frame.visible,
            tables: frame.tables,
            joined: false,
        }
    }

    fn table_part(&mut self, name: &TableName, alias: Option<&str>) -> Result<Part> {
        if name.db.is_none()
            && let Some(part) = self.cte_part(&name.name, alias)
        {
            return Ok(part);
        }
        let scope = self.scope;
        let (found, table) = find_table(scope.catalog, scope.database, name)?;
        let qualifier = self.qualifier(alias.unwrap_or(&table.name));
        let (schema, source) = match found {
            Found::Database(db) => (db.name.to_lowercase(), Source::base(db, &table, alias, qualifier.clone(), true)),
            Found::System(db) => {
                let owner = Database {
                    id: 0,
                    name: db.clone(),
                    collation: String::new(),
                    tables: Default::default(),
                };
                (db, Source::base(&owner, &table, alias, qualifier.clone(), false))
            }
        };
        if !self.out.dbs.contains(&schema) {
            self.out.dbs.push(schema.clone());
        }
        if source.direct && !self.out.tables.iter().any(|t| t.id == table.id) {
            self.out.tables.push(Arc::clone(&table));
        }
        let mut sql = String::with_capacity(64);
        let own = if source.direct && self.own.contains(&table.id) {
            sql.push_str(&starling_apply::readers::shadow_name(table.id));
            String::new()
        } else {
            push_identifier(&mut sql, &schema);
            sql.push('.');
            identifier(&table.name)
        };
        sql.push_str(&own);
        if own != qualifier {
            sql.push_str(" AS ");
            sql.push_str(&qualifier);
        }
        Ok(self.source_part(source, sql))
    }

    fn cte_part(&mut self, name: &str, alias: Option<&str>) -> Option<Part> {
        let cte = self.ctes.iter_mut().rev().find(|c| same(&c.name, name))?;
        cte.used = true;
        let (own, columns) = (cte.qualifier.clone(), cte.columns.clone());
        let qualifier = self.qualifier(alias.unwrap_or(name));
        let sql = format!("{own} AS {qualifier}");
        let source = Source {
            alias: alias.unwrap_or(name).to_string(),
            db: None,
            qualifier,
            columns,
            table: None,
            nullable: false,
            direct: false,
        };
        Some(self.source_part(source, sql))
    }

    fn derived(&mut self, query: &Query, alias: Option<&str>, columns: &[String]) -> Result<Part> {
        let Some(alias) = alias else {
            return Err(SqlError::new(1248, "Every derived table must have its own alias"));
        };
        let mut bound = self.subquery_text(query, Some(columns), Names::Matter)?;
        let qualifier = self.qualifier(alias);
        if bound.sql.contains("starling_assign(") {
            // Computed once for each row, used or not: neither merged nor thinned out. DISTINCT has SQLite compute columns that
            // nobody reads; where there are tables it would merge equal rows.
            let distinct = if bound.sql.contains(" FROM ") { "" } else { "DISTINCT " };
            bound.sql = format!("SELECT {distinct}* FROM ({} LIMIT -1 OFFSET 0)", bound.sql);
        }
        let sql = format!("({}) AS {qualifier}", bound.sql);
        let source = Source {
            alias: alias.to_string(),
            db: None,
            qualifier,
            columns: bound.columns,
            table: None,
            nullable: false,
            direct: false,
        };
        Ok(self.source_part(source, sql))
    }

    fn join(&mut self, kind: JoinKind, left: Part, right: Part, on: &JoinOn) -> Result<Part> {
        let (condition, visible) = match on {
            JoinOn::None => (String::new(), None),
            JoinOn::On(expr) => (self.on(&left, &right, expr)?, None),
            JoinOn::Using(names) => {
                let (condition, visible) = self.using(kind, &left, &right, names)?;
                (condition, Some(visible))
            }
            JoinOn::Natural => {
                let names = self.common_names(&left, &right);
                let (condition, visible) = self.using(kind, &left, &right, &names)?;
                (condition, Some(visible))
            }
        };
        let outer = match kind {
            JoinKind::Left => &right.tables[..],
            JoinKind::Right => &left.tables[..],
            JoinKind::Inner | JoinKind::Straight => &[],
        };
        for index in outer {
            self.sources[*index].nullable = true;
        }
        let visible = visible.unwrap_or_else(|| left.visible.iter().chain(&right.visible).cloned().collect());
        let tables = left.tables.iter().chain(&right.tables).copied().collect();
        let (word, first, second) = match kind {
            JoinKind::Inner => (" JOIN ", left, right),
            JoinKind::Straight => (" CROSS JOIN ", left, right),
            JoinKind::Left => (" LEFT JOIN ", left, right),
            JoinKind::Right => (" LEFT JOIN ", right, left),
        };
        let mut sql = first.sql;
        sql.push_str(word);
        if second.joined {
            sql.push_str(&format!("({})", second.sql));
        } else {
            sql.push_str(&second.sql);
        }
        if !condition.is_empty() {
            sql.push_str(" ON ");
            sql.push_str(&condition);
        }
        Ok(Part {
            sql,
            visible,
            tables,
            joined: true,
        })
    }

    fn on(&mut self, left: &Part, right: &Part, expr: &Expr) -> Result<String> {
        let frame = Frame {
            visible: left.visible.iter().chain(&right.visible).cloned().collect(),
            tables: left.tables.iter().chain(&right.tables).copied().collect(),
            ..Frame::default()
        };
        self.frames.push(frame);
        let clause = std::mem::replace(&mut self.clause, "on clause");
        let allowed = std::mem::replace(&mut self.aggregates_allowed, false);
        let aliases = std::mem::replace(&mut self.aliases, Aliases::No);
        let bound = self.bind(expr);
        let sql = bound.map(|ex| self.truth(&ex));
        self.clause = clause;
        self.aggregates_allowed = allowed;
        self.aliases = aliases;
        self.pop_frame();
        sql
    }

    fn common_names(&self, left: &Part, right: &Part) -> Vec<String> {
        let name = |v: &Visible| self.sources[v.source].columns[v.column].name.clone();
        left.visible
            .iter()
            .map(name)
            .filter(|n| right.visible.iter().any(|r| same(&name(r), n)))
            .collect()
    }

    /// USING: its conditions, and what `*` and bare names see: the common columns once, in front.
    fn using(&mut self, kind: JoinKind, left: &Part, right: &Part, names: &[String]) -> Result<(String, Vec<Visible>)> {
        let mut conditions = Vec::with_capacity(names.len());
        let mut merged = Vec::with_capacity(names.len());
        let mut gone = Vec::with_capacity(names.len() * 2);
        for name in names {
            let (l, r) = (self.one_of(&left.visible, name)?, self.one_of(&right.visible, name)?);
            let (le, re) = (self.column_ex(l.source, l.column), self.column_ex(r.source, r.column));
            let equal: Ex = self.compare(BinaryOp::Eq, &le, &re)?;
            conditions.push(self.stored(&equal).0);
            let keep = if kind == JoinKind::Right { r.clone() } else { l.clone() };
            merged.push(Visible { merged: true, ..keep });
            gone.push((l.source, l.column));
            gone.push((r.source, r.column));
        }
        let rest = left
            .visible
            .iter()
            .chain(&right.visible)
            .filter(|v| !gone.contains(&(v.source, v.column)))
            .cloned();
        merged.extend(rest);
        Ok((conditions.join(" AND "), merged))
    }

    fn one_of(&self, visible: &[Visible], name: &str) -> Result<Visible> {
        let mut found = visible
            .iter()
            .filter(|v| same(&self.sources[v.source].columns[v.column].name, name));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            (None, _) => Err(SqlError::unknown_column(name, "from clause")),
            (Some(_), Some(_)) => Err(SqlError::new(1052, format!("Column '{name}' in from clause is ambiguous"))),
        }
    }

    /// Leaves a block's scope.
    pub(crate) fn pop_frame(&mut self) -> Frame {
        self.frames.pop().unwrap_or_default()
    }
}

/// The columns of a derived table or CTE; 1060 for two of one name.
pub(crate) fn derived_columns(columns: &[super::query::OutColumn]) -> Result<Vec<SourceColumn>> {
    let mut out: Vec<SourceColumn> = Vec::with_capacity(columns.len());
    for column in columns {
        if out.iter().any(|c| same(&c.name, &column.name)) {
            return Err(SqlError::new(1060, format!("Duplicate column name '{}'", column.name)));
        }
        let mut ty = column.ty.clone();
        if ty.ty.collation.is_some() {
            ty.coercibility = ty.coercibility.min(crate::sql::types::Coercibility::Implicit);
        }
        out.push(SourceColumn {
            name: column.name.clone(),
            ty,
            invisible: false,
            origin: column.origin,
        });
    }
    Ok(out)
}
