//! Schema statements: from the syntax tree to a `SchemaChange`, with MySQL's rules and errors.
//!
//! Promises: pure (catalog and tree in, definition out); what comes out is a whole, valid definition; nothing of the session
//! is in it. The way of a statement: [`pieces`] (one database each) → `Engine::alter` or `Engine::plan_alter`, whose check calls
//! [`change`] on the newest catalog and runs the probes. Must not know: the engine, connections (but for a probe's own).

pub mod alter;
pub mod columns;
pub mod constant;
pub mod create;
pub mod database;
pub mod keys;
pub mod probe;
pub mod tables;
pub mod types;

use std::sync::Arc;

use starling_apply::engine::Wish;
use starling_apply::schema::SchemaChange;
use starling_apply::{Catalog, Database, Table};
use starling_log::Value;

use crate::sql::ast::{AlterAction, Expr, Span, Statement, TableElement};
use crate::sql::bind::{Binder, Scope};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::Level;
use crate::sql::types::Ty;

pub use probe::Probe;

/// Databases that are not the users'.
const SYSTEM: &[&str] = &["information_schema", "performance_schema", "mysql", "sys", "starling"];

/// What a schema statement is made in: `scope.catalog` is the newest one.
pub struct DdlScope<'a> {
    pub scope: &'a Scope<'a>,
    pub foreign_key_checks: bool,
    /// `@@collation_server`
    pub server_collation: &'a str,
    pub created_ms: u64,
    /// Values of the statement's literals and arguments as SQLite literals (`Arg` → text), for expressions kept in definitions.
    pub inline: &'a dyn Fn(&crate::sql::plan::Arg) -> Result<String>,
}

/// What a schema statement comes to in one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DdlStep {
    /// `None`: nothing to change (IF EXISTS, IF NOT EXISTS).
    pub change: Option<SchemaChange>,
    pub warnings: Vec<(Level, u16, String)>,
    pub affected: u64,
    /// To be run inside the check, on a reader of the database.
    pub probes: Vec<Probe>,
    /// Tables that the probes look at.
    pub rests_on: Vec<u64>,
    /// CREATE TABLE … SELECT: the columns to fill from the query (in its order) once the table is there.
    pub fill: Option<Vec<String>>,
}

impl DdlStep {
    fn of(change: SchemaChange) -> DdlStep {
        DdlStep {
            change: Some(change),
            ..DdlStep::default()
        }
    }
    /// For the engine.
    pub fn wish(&self) -> Option<Wish> {
        self.change.clone().map(|change| Wish {
            change,
            rests_on: self.rests_on.clone(),
        })
    }
    fn note(code: u16, text: String) -> DdlStep {
        DdlStep {
            warnings: vec![(Level::Note, code, text)],
            ..DdlStep::default()
        }
    }
}

/// One database's part of a schema statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Lower-case name, for `Engine::alter`; `None`: CREATE DATABASE.
    pub db: Option<String>,
    pub statement: Statement,
}

/// Is it a schema statement (and so commits what is open)?
pub fn is_ddl(statement: &Statement) -> bool {
    use Statement::*;
    matches!(
        statement,
        CreateDatabase { .. }
            | AlterDatabase { .. }
            | DropDatabase { .. }
            | CreateTable(_)
            | AlterTable { .. }
            | DropTables { .. }
            | TruncateTable(_)
            | RenameTables(_)
            | CreateIndex { .. }
            | DropIndex { .. }
            | CreateView { .. }
            | DropViews { .. }
    )
}

/// Splits a schema statement by database, in the order of the statement.
pub fn pieces(statement: &Statement, current: Option<&str>) -> Result<Vec<Piece>> {
    use Statement::*;
    let of = |db: &Option<String>| -> Result<String> {
        let name = db.as_deref().or(current).ok_or_else(SqlError::no_database)?;
        writable(name)
    };
    let one = |db: String| {
        Ok(vec![Piece {
            db: Some(db),
            statement: statement.clone(),
        }])
    };
    match statement {
        CreateDatabase { name, .. } => {
            database::check_name(name)?;
            writable(name)?;
            Ok(vec![Piece {
                db: None,
                statement: statement.clone(),
            }])
        }
        AlterDatabase { name, .. } => one(of(name)?),
        DropDatabase { name, .. } => one(writable(name)?),
        CreateTable(create) if create.temporary => Err(SqlError::unsupported("CREATE TEMPORARY TABLE")),
        CreateTable(create) => one(of(&create.name.db)?),
        AlterTable { name, .. } => one(of(&name.db)?),
        TruncateTable(name) => one(of(&name.db)?),
        CreateIndex { table, .. } | DropIndex { table, .. } => one(of(&table.db)?),
        DropTables { temporary: true, .. } => Err(SqlError::unsupported("DROP TEMPORARY TABLE")),
        DropTables { if_exists, names, .. } => {
            let mut out: Vec<(String, Vec<_>)> = Vec::new();
            for name in names {
                let db = of(&name.db)?;
                match out.iter_mut().find(|(d, _)| *d == db) {
                    Some((_, list)) => list.push(name.clone()),
                    None => out.push((db, vec![name.clone()])),
                }
            }
            let piece = |(db, names)| Piece {
                db: Some(db),
                statement: DropTables {
                    temporary: false,
                    if_exists: *if_exists,
                    names,
                },
            };
            Ok(out.into_iter().map(piece).collect())
        }
        RenameTables(list) => {
            let db = match list.first() {
                Some((from, _)) => of(&from.db)?,
                None => return Ok(Vec::new()),
            };
            for (from, to) in list {
                if of(&from.db)? != db || of(&to.db)? != db {
                    return Err(SqlError::unsupported("RENAME TABLE between databases"));
                }
            }
            one(db)
        }
        CreateView { .. } => Err(SqlError::unsupported("CREATE VIEW")),
        DropViews { .. } => Err(SqlError::unsupported("DROP VIEW")),
        _ => Err(SqlError::internal("not a schema statement")),
    }
}

/// The lower-case name of a database that statements may change; 1044 for the system's own.
fn writable(name: &str) -> Result<String> {
    let lower = name.to_lowercase();
    if SYSTEM.contains(&lower.as_str()) || crate::sql::meta::is_hidden(&lower) {
        return Err(SqlError::new(1044, format!("Access denied for user to database '{name}'")));
    }
    Ok(lower)
}

/// What a piece comes to on this catalog.
pub fn change(ddl: &DdlScope<'_>, piece: &Piece) -> Result<DdlStep> {
    use Statement::*;
    match &piece.statement {
        CreateDatabase {
            name,
            if_not_exists,
            options,
        } => return database::create(ddl, name, *if_not_exists, options),
        AlterDatabase { options, .. } => return database::alter(ddl, piece, options),
        DropDatabase { name, if_exists } => return database::drop(ddl, name, *if_exists),
        _ => {}
    }
    let db = piece.db.as_deref().unwrap_or_default();
    let database = ddl.scope.catalog.database(db);
    if let (
        DropTables {
            if_exists: true, names, ..
        },
        None,
    ) = (&piece.statement, database)
    {
        return Ok(tables::unknown_notes(db, names));
    }
    let database = database.ok_or_else(|| SqlError::unknown_database(db))?;
    let build = Build { ddl, database };
    match &piece.statement {
        CreateTable(create) => tables::create(&build, create),
        AlterTable { name, actions, if_exists } => tables::alter(&build, name, actions, *if_exists),
        DropTables { if_exists, names, .. } => tables::drop(&build, names, *if_exists),
        TruncateTable(name) => tables::truncate(&build, name),
        RenameTables(list) => tables::rename(&build, list),
        CreateIndex { table, key, if_not_exists } => {
            let existing = database.table(&table.name).zip(key.name.as_ref());
            if *if_not_exists && existing.is_some_and(|(t, name)| keys::find_index(t, name).is_some()) {
                return Ok(DdlStep::default());
            }
            let action = AlterAction::Add(TableElement::Key(key.clone()));
            tables::alter(&build, table, &[action], false)
        }
        DropIndex { table, name, if_exists } => {
            let action = AlterAction::DropKey {
                name: name.clone(),
                if_exists: *if_exists,
            };
            tables::alter(&build, table, &[action], false)
        }
        _ => Err(SqlError::internal("not a schema statement")),
    }
}

/// What building one table's definition needs.
pub struct Build<'a> {
    pub ddl: &'a DdlScope<'a>,
    pub database: &'a Database,
}

/// How the table under definition is called while its expressions are lowered; taken out again afterwards.
const SELF: &str = "\"~self\"";

impl<'a> Build<'a> {
    pub fn scope(&self) -> &'a Scope<'a> {
        self.ddl.scope
    }
    pub fn catalog(&self) -> &'a Catalog {
        self.ddl.scope.catalog
    }
    /// The statement's text at `span`.
    pub fn text(&self, span: Span) -> String {
        let text = self.ddl.scope.text;
        let bytes = text.get(span.start as usize..span.end as usize).unwrap_or_default();
        String::from_utf8_lossy(bytes).trim().to_string()
    }

    /// A condition over the table's own columns as SQLite text with nothing left open.
    pub fn lower_condition(&self, table: &Table, expr: &Expr) -> Result<String> {
        let mut binder = self.binder(table);
        let sql = binder.condition(expr, "check constraint expression")?;
        self.close(&binder, &sql)
    }

    /// The same for a generated column: converted to the column's type.
    pub fn lower_value(&self, table: &Table, expr: &Expr, column: u32) -> Result<String> {
        let mut binder = self.binder(table);
        let (sql, ty): (String, Ty) = binder.expr(expr, "generated column function")?;
        let to = table
            .column_by_id(column)
            .ok_or_else(|| SqlError::internal("generated column without a column"))?;
        let sql = binder.assign(&sql, &ty, to)?;
        self.close(&binder, &sql)
    }

    fn binder<'b>(&'b self, table: &Table) -> Binder<'b> {
        let mut binder = Binder::new(self.ddl.scope);
        binder.add_table(self.database, &Arc::new(table.clone()), None, SELF);
        binder
    }

    fn close(&self, binder: &Binder<'_>, sql: &str) -> Result<String> {
        if !binder.out.dbs.is_empty() {
            return Err(SqlError::new(3102, "Expression contains a disallowed function or subquery."));
        }
        let sql = inline(sql, &binder.out.args, self.ddl.inline)?;
        Ok(sql.replace(&format!("{SELF}."), ""))
    }
}

/// Puts arguments in place of `?N`; quoted names and strings are passed over.
fn inline(sql: &str, args: &[crate::sql::plan::Arg], text_of: &dyn Fn(&crate::sql::plan::Arg) -> Result<String>) -> Result<String> {
    let mut out = String::with_capacity(sql.len());
    let mut quote = None;
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '?') => {
                let mut n = 0;
                while let Some(d) = chars.peek().and_then(|d| d.to_digit(10)) {
                    n = n * 10 + d as usize;
                    chars.next();
                }
                let arg = n.checked_sub(1).and_then(|i| args.get(i));
                out.push_str(&text_of(arg.ok_or_else(|| SqlError::internal("unknown argument"))?)?);
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    Ok(out)
}

/// A value as SQLite text, for [`DdlScope::inline`].
pub fn literal_text(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_string(),
        Value::Int(v) => v.to_string(),
        Value::Real(v) => format!("{v:?}"),
        Value::Text(t) => format!("'{}'", String::from_utf8_lossy(t).replace('\'', "''")),
        Value::Blob(b) => format!("x'{}'", hex::encode(b)),
    }
}

#[cfg(test)]
mod tests;
