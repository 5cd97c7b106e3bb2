//! Whole tables: CREATE, ALTER, DROP, TRUNCATE, RENAME over definitions.

use std::collections::BTreeSet;

use starling_apply::catalog::DefaultValue;
use starling_apply::schema::{Rename, SchemaChange};
use starling_apply::{BaseType, Column, Table};

use super::{Build, DdlStep, alter, create};
use crate::sql::ast::{AlterAction, CreateTable, TableName};
use crate::sql::bind::{Pins, source};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::Level;
use crate::sql::types::Ty;

pub fn create(build: &Build<'_>, ast: &CreateTable) -> Result<DdlStep> {
    let name = &ast.name.name;
    if build.database.table(name).is_some() {
        let text = format!("Table '{name}' already exists");
        if ast.if_not_exists {
            return Ok(DdlStep::note(1050, text));
        }
        return Err(SqlError::new(1050, text));
    }
    if let Some(like) = &ast.like {
        let db = like.db.as_deref().unwrap_or(&build.database.name);
        let from = build.catalog().table(db, &like.name);
        let from = from.ok_or_else(|| SqlError::unknown_table(db, &like.name))?;
        let table = create::like(build, name, from)?;
        return Ok(DdlStep::of(SchemaChange::CreateTable { table: Box::new(table) }));
    }
    let Some(query) = &ast.query else {
        let table = create::table(build, ast, Vec::new())?;
        return Ok(DdlStep::of(SchemaChange::CreateTable { table: Box::new(table) }));
    };
    let (_, found) = source(build.scope(), query, &mut Pins::default())?;
    let mut seen = BTreeSet::new();
    let mut columns = Vec::with_capacity(found.len());
    for (column, ty) in &found {
        if !seen.insert(column.to_lowercase()) {
            return Err(SqlError::new(1060, format!("Duplicate column name '{column}'")));
        }
        columns.push(selected(column, ty));
    }
    let table = create::table(build, ast, columns)?;
    let mut step = DdlStep::of(SchemaChange::CreateTable { table: Box::new(table) });
    step.fill = Some(found.into_iter().map(|(name, _)| name).collect());
    Ok(step)
}

/// A column of a new table out of a select expression.
fn selected(name: &str, ty: &Ty) -> Column {
    let mut column_ty = ty.ty.clone();
    if ty.is_null {
        column_ty = starling_apply::ColumnType::new(BaseType::Binary);
        column_ty.length = Some(0);
    }
    if column_ty.base == BaseType::VarChar && column_ty.length.is_some_and(|l| l > 16_383) {
        column_ty.base = BaseType::LongText;
        column_ty.length = None;
    }
    let default = if ty.nullable { DefaultValue::Null } else { DefaultValue::None };
    Column {
        id: 0,
        name: name.to_string(),
        ty: column_ty,
        nullable: ty.nullable,
        default,
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    }
}

fn find<'a>(build: &'a Build<'_>, name: &TableName) -> Result<&'a Table> {
    build
        .database
        .table(&name.name)
        .map(AsRef::as_ref)
        .ok_or_else(|| SqlError::unknown_table(&build.database.name, &name.name))
}

pub fn alter(build: &Build<'_>, name: &TableName, actions: &[AlterAction], if_exists: bool) -> Result<DdlStep> {
    let old = match find(build, name) {
        Ok(table) => table,
        Err(error) if if_exists => return Ok(DdlStep::note(error.code, error.message.into_owned())),
        Err(error) => return Err(error),
    };
    let altered = alter::table(build, old, actions)?;
    if let Some(to) = altered.rename {
        if altered.table != *old {
            return Err(SqlError::unsupported("ALTER TABLE … RENAME TO together with other changes"));
        }
        return rename(build, &[(name.clone(), to)]);
    }
    if altered.table == *old {
        return Ok(DdlStep::default());
    }
    refuse_expression_defaults(old, &altered.table)?;
    let keys: Vec<String> = altered.table.foreign_keys.iter().map(|f| f.parent.clone()).collect();
    let mut step = DdlStep::of(SchemaChange::AlterTable {
        table: Box::new(altered.table),
    });
    if !altered.probes.is_empty() {
        let parents = keys.iter().filter_map(|name| build.database.table(name));
        step.rests_on = parents.map(|t| t.id).chain([old.id]).collect();
        step.rests_on.sort_unstable();
        step.rests_on.dedup();
    }
    step.probes = altered.probes;
    Ok(step)
}

/// Rows that are there already would not get the expression's value: every node fills a new column by itself, from the definition.
fn refuse_expression_defaults(old: &Table, new: &Table) -> Result<()> {
    let filled = |c: &&starling_apply::Column| matches!(c.default, DefaultValue::Expr(_)) && old.column_by_id(c.id).is_none();
    match new.columns.iter().find(filled) {
        Some(column) => Err(SqlError::unsupported(format!("ADD COLUMN {} DEFAULT (expression)", column.name))),
        None => Ok(()),
    }
}

/// DROP TABLE IF EXISTS where the whole database is unknown.
pub fn unknown_notes(db: &str, names: &[TableName]) -> DdlStep {
    DdlStep {
        warnings: names
            .iter()
            .map(|n| (Level::Note, 1051, format!("Unknown table '{db}.{}'", n.name)))
            .collect(),
        ..DdlStep::default()
    }
}

pub fn drop(build: &Build<'_>, names: &[TableName], if_exists: bool) -> Result<DdlStep> {
    let mut step = DdlStep::default();
    let mut ids = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match build.database.table(&name.name) {
            Some(table) if ids.contains(&table.id) => {
                return Err(SqlError::new(1066, format!("Not unique table/alias: '{}'", name.name)));
            }
            Some(table) => ids.push(table.id),
            None => missing.push(format!("{}.{}", build.database.name, name.name)),
        }
    }
    if !missing.is_empty() && !if_exists {
        return Err(SqlError::new(1051, format!("Unknown table '{}'", missing.join(","))));
    }
    for name in missing {
        step.warnings.push((Level::Note, 1051, format!("Unknown table '{name}'")));
    }
    if build.ddl.foreign_key_checks {
        for table in build.database.tables.values().filter(|t| ids.contains(&t.id)) {
            let child = alter::referencing(build, &table.name)
                .into_iter()
                .find(|(c, _)| !ids.contains(&c.id));
            if let Some((child, foreign)) = child {
                return Err(SqlError::new(
                    3730,
                    format!(
                        "Cannot drop table '{}' referenced by a foreign key constraint '{}' on table '{}'.",
                        table.name, foreign.name, child.name
                    ),
                ));
            }
        }
    }
    if !ids.is_empty() {
        step.change = Some(SchemaChange::DropTables { tables: ids });
    }
    Ok(step)
}

pub fn truncate(build: &Build<'_>, name: &TableName) -> Result<DdlStep> {
    let table = find(build, name)?;
    if build.ddl.foreign_key_checks
        && let Some((child, foreign)) = alter::referencing(build, &table.name).first()
    {
        return Err(SqlError::new(
            1701,
            format!(
                "Cannot truncate a table referenced in a foreign key constraint (`{}`.`{}`, CONSTRAINT `{}`)",
                build.database.name, child.name, foreign.name
            ),
        ));
    }
    Ok(DdlStep::of(SchemaChange::TruncateTable { table: table.id }))
}

/// RENAME TABLE a TO b, b TO c …: from left to right over the names as they become.
pub fn rename(build: &Build<'_>, list: &[(TableName, TableName)]) -> Result<DdlStep> {
    let mut names: Vec<(String, u64)> = build.database.tables.values().map(|t| (t.name.clone(), t.id)).collect();
    for (from, to) in list {
        create::check_table_name(&to.name)?;
        if to
            .db
            .as_ref()
            .is_some_and(|db| db.to_lowercase() != build.database.name.to_lowercase())
        {
            return Err(SqlError::unsupported("RENAME TABLE between databases"));
        }
        let at = names.iter().position(|(n, _)| n.to_lowercase() == from.name.to_lowercase());
        let at = at.ok_or_else(|| SqlError::unknown_table(&build.database.name, &from.name))?;
        let taken = names
            .iter()
            .enumerate()
            .any(|(i, (n, _))| i != at && n.to_lowercase() == to.name.to_lowercase());
        if taken {
            return Err(SqlError::new(1050, format!("Table '{}' already exists", to.name)));
        }
        names[at].0 = to.name.clone();
    }
    let renames: Vec<Rename> = names
        .into_iter()
        .filter(|(name, id)| build.database.tables.values().any(|t| t.id == *id && t.name != *name))
        .map(|(to_name, table)| Rename {
            table,
            to_db: build.database.id,
            to_name,
        })
        .collect();
    if renames.is_empty() {
        return Ok(DdlStep::default());
    }
    let parents = renames.iter().any(|r| {
        let old = build.database.tables.values().find(|t| t.id == r.table);
        old.is_some_and(|t| !alter::referencing(build, &t.name).is_empty())
    });
    if parents {
        return Err(SqlError::unsupported("RENAME TABLE of a table that foreign keys point to"));
    }
    Ok(DdlStep::of(SchemaChange::RenameTables { renames }))
}
