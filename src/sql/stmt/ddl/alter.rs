//! ALTER TABLE: the actions, one after another, on a copy of the definition.
//!
//! Promises: the result is a whole, valid definition; columns and indexes that stay keep their ids; what the rows must
//! fulfil for it is handed back as probes. Must not know: how rows are converted.

use starling_apply::catalog::{DefaultValue, ForeignKey, Index};
use starling_apply::{Column, Table};

use super::probe::Probe;
use super::types::collation_of;
use super::{Build, columns, create, keys};
use crate::sql::ast::{AlterAction, ColumnDef, Position, TableElement, TableName};
use crate::sql::error::{Result, SqlError};

/// What ALTER TABLE makes of a table.
pub struct Altered {
    pub table: Table,
    /// RENAME TO
    pub rename: Option<TableName>,
    pub probes: Vec<Probe>,
}

pub fn table(build: &Build<'_>, old: &Table, actions: &[AlterAction]) -> Result<Altered> {
    let mut out = Altered {
        table: old.clone(),
        rename: None,
        probes: Vec::new(),
    };
    for action in actions {
        apply(build, &mut out, action)?;
    }
    if out.table.columns.is_empty() {
        return Err(SqlError::new(
            1090,
            "You can't delete all columns with ALTER TABLE; use DROP TABLE instead",
        ));
    }
    keys::check_auto(&out.table)?;
    check_foreign_indexes(old, &out.table)?;
    out.probes = super::probe::between(build, old, &out.table)?;
    Ok(out)
}

fn apply(build: &Build<'_>, out: &mut Altered, action: &AlterAction) -> Result<()> {
    let table = &mut out.table;
    match action {
        AlterAction::AddColumns {
            columns,
            if_not_exists,
            position,
        } => {
            let mut position = position.clone();
            for def in columns {
                if *if_not_exists && table.column(&def.name).is_some() {
                    continue;
                }
                add_column(build, table, def, position.as_ref())?;
                position = position.map(|_| Position::After(def.name.clone()));
            }
        }
        AlterAction::Add(element) => add_element(build, table, element)?,
        AlterAction::DropColumn { name, if_exists } => drop_column(build, table, name, *if_exists)?,
        AlterAction::DropPrimary => drop_key(build, table, "PRIMARY", false)?,
        AlterAction::DropKey { name, if_exists } => drop_key(build, table, name, *if_exists)?,
        AlterAction::DropForeignKey { name, if_exists } => drop_foreign(table, name, *if_exists)?,
        AlterAction::DropConstraint { name, if_exists } => drop_constraint(build, table, name, *if_exists)?,
        AlterAction::Modify {
            column,
            position,
            if_exists,
        } => change(build, table, &column.name.clone(), column, position.as_ref(), *if_exists)?,
        AlterAction::Change {
            old,
            column,
            position,
            if_exists,
        } => change(build, table, old, column, position.as_ref(), *if_exists)?,
        AlterAction::SetDefault { name, default } => {
            let at = position_of(table, name)?;
            let value = match default {
                Some((expr, text, parenthesized)) => {
                    columns::default_value(build, &table.columns[at], expr, *parenthesized, build.text(*text))?
                }
                None => DefaultValue::None,
            };
            table.columns[at].default = value;
        }
        AlterAction::RenameColumn { old, new } => rename_column(build, table, old, new)?,
        AlterAction::RenameKey { old, new } => {
            let at = keys::find_index(table, old).ok_or_else(|| no_key(table, old))?;
            if old.to_lowercase() != new.to_lowercase() {
                keys::check_index_name(table, new)?;
            }
            table.indexes[at].name = new.clone();
        }
        AlterAction::RenameTable(name) => out.rename = Some(name.clone()),
        AlterAction::ConvertCharset { charset, collation } => convert(table, charset.as_deref(), collation.as_deref())?,
        AlterAction::Options(options) => create::options(table, options)?,
        AlterAction::KeyVisible { name, visible } => {
            let at = keys::find_index(table, name).ok_or_else(|| no_key(table, name))?;
            table.indexes[at].invisible = !visible;
        }
        AlterAction::ColumnVisible { name, visible } => {
            let at = position_of(table, name)?;
            table.columns[at].invisible = !visible;
        }
        AlterAction::EnforceCheck { name, enforced } => {
            let check = table.checks.iter_mut().find(|c| c.name.to_lowercase() == name.to_lowercase());
            check.ok_or_else(|| no_check(name))?.enforced = *enforced;
        }
        AlterAction::Ignored => {}
        AlterAction::Refused(what) => return Err(SqlError::unsupported(format!("ALTER TABLE {what}"))),
    }
    Ok(())
}

fn no_key(table: &Table, name: &str) -> SqlError {
    SqlError::new(1176, format!("Key '{name}' doesn't exist in table '{}'", table.name))
}

fn no_check(name: &str) -> SqlError {
    SqlError::new(3821, format!("Check constraint '{name}' is not found in the table."))
}

fn cannot_drop(name: &str) -> SqlError {
    SqlError::new(1091, format!("Can't DROP '{name}'; check that column/key exists"))
}

fn position_of(table: &Table, name: &str) -> Result<usize> {
    table
        .columns
        .iter()
        .position(|c| c.name.to_lowercase() == name.to_lowercase())
        .ok_or_else(|| SqlError::unknown_column(name, &table.name))
}

/// Where a column goes: an index into the columns as they are without it.
fn place(table: &Table, position: Option<&Position>) -> Result<Option<usize>> {
    Ok(match position {
        None => None,
        Some(Position::First) => Some(0),
        Some(Position::After(name)) => Some(position_of(table, name)? + 1),
    })
}

fn add_column(build: &Build<'_>, table: &mut Table, def: &ColumnDef, position: Option<&Position>) -> Result<()> {
    let at = place(table, position)?;
    let mut built = columns::build(build, def, &table.collation)?;
    create::add_column(table, &mut built, at)?;
    let id = built.column.id;
    for kind in &built.keys {
        keys::add_key(table, &keys::key_of_column(*kind, &def.name))?;
    }
    if let Some(expr) = &built.generated {
        create::lower_generated(build, table, id, expr)?;
    }
    for (name, expr, enforced, text) in built.checks {
        keys::add_check(build, table, name.as_deref(), &expr, enforced, text, Some(&def.name))?;
    }
    Ok(())
}

fn add_element(build: &Build<'_>, table: &mut Table, element: &TableElement) -> Result<()> {
    match element {
        TableElement::Column(def) => add_column(build, table, def, None),
        TableElement::Key(def) => keys::add_key(table, def),
        TableElement::ForeignKey {
            constraint,
            name,
            columns,
            references,
        } => keys::add_foreign_key(build, table, constraint.as_deref(), name.as_deref(), columns, references),
        TableElement::Check {
            name,
            expr,
            enforced,
            text,
        } => keys::add_check(build, table, name.as_deref(), expr, *enforced, build.text(*text), None),
    }
}

/// Expressions of the table that read a column keep it from being dropped or renamed.
fn check_unused(table: &Table, column: &Column) -> Result<()> {
    let others = table.columns.iter().filter(|c| c.id != column.id);
    if others
        .filter_map(|c| c.generated.as_ref())
        .any(|g| keys::uses(&g.lowered, &column.name))
    {
        return Err(SqlError::new(
            3108,
            format!("Column '{}' has a generated column dependency.", column.name),
        ));
    }
    if let Some(check) = table.checks.iter().find(|c| keys::uses(&c.lowered, &column.name)) {
        return Err(SqlError::new(
            3959,
            format!(
                "Check constraint '{}' uses column '{}', hence column cannot be dropped or renamed.",
                check.name, column.name
            ),
        ));
    }
    Ok(())
}

/// Foreign keys of other tables of the database that point at `parent`.
pub fn referencing<'a>(build: &'a Build<'_>, parent: &str) -> Vec<(&'a Table, &'a ForeignKey)> {
    let parent = parent.to_lowercase();
    let mut found = Vec::new();
    for table in build.database.tables.values().filter(|t| t.name.to_lowercase() != parent) {
        for foreign in table.foreign_keys.iter().filter(|f| f.parent.to_lowercase() == parent) {
            found.push((table.as_ref(), foreign));
        }
    }
    found
}

fn drop_column(build: &Build<'_>, table: &mut Table, name: &str, if_exists: bool) -> Result<()> {
    let Some(column) = table.column(name).cloned() else {
        return if if_exists { Ok(()) } else { Err(cannot_drop(name)) };
    };
    // a check over this column alone goes with it
    let alone = |lowered: &str| {
        keys::uses(lowered, &column.name) && !table.columns.iter().any(|c| c.id != column.id && keys::uses(lowered, &c.name))
    };
    let kept: Vec<_> = table.checks.iter().filter(|c| !alone(&c.lowered)).cloned().collect();
    table.checks = kept;
    check_unused(table, &column)?;
    if let Some(foreign) = table.foreign_keys.iter().find(|f| f.columns.contains(&column.id)) {
        return Err(needed(&column.name, &foreign.name));
    }
    let parent_of = referencing(build, &table.name)
        .into_iter()
        .find(|(_, f)| f.parent_columns.iter().any(|c| c.to_lowercase() == column.name.to_lowercase()));
    if let Some((child, foreign)) = parent_of {
        return Err(SqlError::new(
            1829,
            format!(
                "Cannot drop column '{}': needed in a foreign key constraint '{}' of table '{}'",
                column.name, foreign.name, child.name
            ),
        ));
    }
    for index in &mut table.indexes {
        index.parts.retain(|p| p.column != column.id);
    }
    table.indexes.retain(|i| !i.parts.is_empty());
    table.columns.retain(|c| c.id != column.id);
    Ok(())
}

fn needed(column: &str, foreign: &str) -> SqlError {
    SqlError::new(
        1828,
        format!("Cannot drop column '{column}': needed in a foreign key constraint '{foreign}'"),
    )
}

fn drop_key(build: &Build<'_>, table: &mut Table, name: &str, if_exists: bool) -> Result<()> {
    let Some(at) = keys::find_index(table, name) else {
        return if if_exists { Ok(()) } else { Err(cannot_drop(name)) };
    };
    let index = table.indexes.remove(at);
    for (_, foreign) in referencing(build, &table.name) {
        let columns: Vec<u32> = foreign
            .parent_columns
            .iter()
            .filter_map(|c| table.column(c))
            .map(|c| c.id)
            .collect();
        if covers(&index, &columns) && !table.indexes.iter().any(|i| covers(i, &columns)) {
            return Err(index_needed(&index.name));
        }
    }
    Ok(())
}

fn index_needed(name: &str) -> SqlError {
    SqlError::new(1553, format!("Cannot drop index '{name}': needed in a foreign key constraint"))
}

fn covers(index: &Index, columns: &[u32]) -> bool {
    index.parts.len() >= columns.len()
        && columns
            .iter()
            .all(|c| index.parts.iter().take(columns.len()).any(|p| p.column == *c))
}

/// A foreign key that stays needs an index on its columns.
fn check_foreign_indexes(old: &Table, new: &Table) -> Result<()> {
    for foreign in &new.foreign_keys {
        if new.indexes.iter().any(|i| covers(i, &foreign.columns)) {
            continue;
        }
        if let Some(index) = old.indexes.iter().find(|i| covers(i, &foreign.columns)) {
            return Err(index_needed(&index.name));
        }
    }
    Ok(())
}

fn drop_foreign(table: &mut Table, name: &str, if_exists: bool) -> Result<()> {
    let before = table.foreign_keys.len();
    table.foreign_keys.retain(|f| f.name.to_lowercase() != name.to_lowercase());
    if table.foreign_keys.len() == before && !if_exists {
        return Err(cannot_drop(name));
    }
    Ok(())
}

fn drop_constraint(build: &Build<'_>, table: &mut Table, name: &str, if_exists: bool) -> Result<()> {
    let lower = name.to_lowercase();
    let checks = table.checks.iter().filter(|c| c.name.to_lowercase() == lower).count();
    let foreign = table.foreign_keys.iter().filter(|f| f.name.to_lowercase() == lower).count();
    let unique = keys::find_index(table, name).filter(|i| {
        let kind = table.indexes[*i].kind;
        kind != starling_apply::catalog::IndexKind::Plain && kind != starling_apply::catalog::IndexKind::FullText
    });
    match (checks, foreign, unique) {
        (0, 0, None) if if_exists => Ok(()),
        (0, 0, None) => Err(SqlError::new(3940, format!("Constraint '{name}' does not exist."))),
        (1, 0, None) => {
            table.checks.retain(|c| c.name.to_lowercase() != lower);
            Ok(())
        }
        (0, 1, None) => drop_foreign(table, name, false),
        (0, 0, Some(_)) => drop_key(build, table, name, false),
        _ => Err(SqlError::new(
            3939,
            format!("Table has multiple constraints with the name '{name}'. Please use constraint specific 'DROP' clause."),
        )),
    }
}

/// MODIFY and CHANGE: a new definition for the column `old`, which keeps its id.
fn change(build: &Build<'_>, table: &mut Table, old: &str, def: &ColumnDef, position: Option<&Position>, if_exists: bool) -> Result<()> {
    if if_exists && table.column(old).is_none() {
        return Ok(());
    }
    let at = position_of(table, old)?;
    let before = table.columns[at].clone();
    let renamed = before.name.to_lowercase() != def.name.to_lowercase();
    if renamed {
        if table.column(&def.name).is_some() {
            return Err(SqlError::new(1060, format!("Duplicate column name '{}'", def.name)));
        }
        check_unused(table, &before)?;
    }
    let mut built = columns::build(build, def, &table.collation)?;
    built.column.id = before.id;
    let in_primary = table.primary().is_some_and(|p| p.parts.iter().any(|k| k.column == before.id));
    if in_primary {
        if built.explicit_null {
            return Err(columns::primary_null());
        }
        built.column.nullable = false;
        if built.column.default == DefaultValue::Null {
            built.column.default = DefaultValue::None;
        }
    }
    table.columns.remove(at);
    let to = place(table, position)?.unwrap_or(at);
    table.columns.insert(to, built.column.clone());
    for kind in &built.keys {
        keys::add_key(table, &keys::key_of_column(*kind, &def.name))?;
    }
    if let Some(expr) = &built.generated {
        create::lower_generated(build, table, before.id, expr)?;
    }
    for (name, expr, enforced, text) in built.checks {
        keys::add_check(build, table, name.as_deref(), &expr, enforced, text, Some(&def.name))?;
    }
    check_parts(table, before.id)
}

/// A prefix must fit the new type; a large type needs one.
fn check_parts(table: &mut Table, id: u32) -> Result<()> {
    let Some(column) = table.column_by_id(id).cloned() else {
        return Ok(());
    };
    let large = columns::is_large(&column.ty);
    let string = column.ty.is_character() || column.ty.is_binary();
    for index in &mut table.indexes {
        for part in index.parts.iter_mut().filter(|p| p.column == id) {
            if large && part.prefix.is_none() && index.kind != starling_apply::catalog::IndexKind::FullText {
                return Err(SqlError::new(
                    1170,
                    format!("BLOB/TEXT column '{}' used in key specification without a key length", column.name),
                ));
            }
            let too_long = part.prefix.is_some_and(|p| column.ty.length.is_some_and(|l| p >= l));
            if !string || (!large && too_long) {
                part.prefix = None;
            }
        }
    }
    Ok(())
}

fn rename_column(_build: &Build<'_>, table: &mut Table, old: &str, new: &str) -> Result<()> {
    columns::check_name(new)?;
    let at = position_of(table, old)?;
    if old.to_lowercase() != new.to_lowercase() {
        if table.column(new).is_some() {
            return Err(SqlError::new(1060, format!("Duplicate column name '{new}'")));
        }
        check_unused(table, &table.columns[at].clone())?;
    }
    table.columns[at].name = new.to_string();
    Ok(())
}

fn convert(table: &mut Table, charset: Option<&str>, collation: Option<&str>) -> Result<()> {
    let Some(collation) = collation_of(charset, collation)? else {
        return Ok(());
    };
    for column in &mut table.columns {
        if column.ty.collation.is_some() {
            column.ty.collation = Some(collation.clone());
        }
    }
    table.collation = collation;
    Ok(())
}
