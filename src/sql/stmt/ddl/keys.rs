//! Keys, foreign keys and checks of a table in the making: names as MySQL gives them, rules and errors.
//!
//! Promises: index names are unique without case; every foreign key has an index on its columns. Must not know: SQLite.

use starling_apply::catalog::{Check, FkAction, ForeignKey, Index, IndexKind, KeyPart};
use starling_apply::{BaseType, Table};

use super::Build;
use super::columns::{is_large, primary_null};
use crate::sql::ast::{Expr, KeyDef, KeyKind, KeyPartDef, RefAction, References};
use crate::sql::error::{Result, SqlError};

/// Columns of one key.
const KEY_PARTS_MAX: usize = 16;
const KEYS_MAX: usize = 64;

fn missing_column(name: &str) -> SqlError {
    SqlError::new(1072, format!("Key column '{name}' doesn't exist in table"))
}

pub fn key_of_column(kind: KeyKind, column: &str) -> KeyDef {
    KeyDef {
        kind,
        name: None,
        constraint: None,
        parts: vec![KeyPartDef {
            column: column.to_string(),
            expr: None,
            prefix: None,
            descending: false,
        }],
        comment: None,
        visible: true,
    }
}

/// Adds one key to the table.
pub fn add_key(table: &mut Table, def: &KeyDef) -> Result<()> {
    let kind = match def.kind {
        KeyKind::Primary => IndexKind::Primary,
        KeyKind::Unique => IndexKind::Unique,
        KeyKind::Plain => IndexKind::Plain,
        KeyKind::FullText => IndexKind::FullText,
        KeyKind::Spatial => return Err(SqlError::unsupported("SPATIAL INDEX")),
        KeyKind::Vector => return Err(SqlError::unsupported("VECTOR INDEX")),
    };
    if kind == IndexKind::Primary && table.primary().is_some() {
        return Err(SqlError::new(1068, "Multiple primary key defined"));
    }
    if table.indexes.len() >= KEYS_MAX {
        return Err(SqlError::new(1069, format!("Too many keys specified; max {KEYS_MAX} keys allowed")));
    }
    if def.parts.len() > KEY_PARTS_MAX {
        return Err(SqlError::new(
            1070,
            format!("Too many key parts specified; max {KEY_PARTS_MAX} parts allowed"),
        ));
    }
    let mut parts: Vec<KeyPart> = Vec::with_capacity(def.parts.len());
    for part in &def.parts {
        let made = key_part(table, kind, part)?;
        if parts.iter().any(|p| p.column == made.column) {
            return Err(SqlError::new(1060, format!("Duplicate column name '{}'", part.column)));
        }
        parts.push(made);
    }
    let name = match (kind, def.name.as_ref().or(def.constraint.as_ref())) {
        (IndexKind::Primary, _) => "PRIMARY".to_string(),
        (_, Some(name)) => {
            check_index_name(table, name)?;
            name.clone()
        }
        (_, None) => generated_name(table, &def.parts[0].column),
    };
    if kind == IndexKind::Primary {
        for part in &parts {
            if let Some(column) = table.columns.iter_mut().find(|c| c.id == part.column) {
                column.nullable = false;
                if column.default == starling_apply::catalog::DefaultValue::Null {
                    column.default = starling_apply::catalog::DefaultValue::None;
                }
            }
        }
    }
    let id = take_id(table);
    let index = Index {
        id,
        name,
        kind,
        parts,
        comment: def
            .comment
            .as_ref()
            .map(|c| String::from_utf8_lossy(c).into_owned())
            .unwrap_or_default(),
        invisible: !def.visible,
    };
    insert_in_order(table, index);
    Ok(())
}

/// The primary key first, then unique keys, then others: the order in which MySQL lists them.
fn insert_in_order(table: &mut Table, index: Index) {
    let rank = |i: &Index| match i.kind {
        IndexKind::Primary => 0,
        IndexKind::Unique => 1,
        IndexKind::Plain | IndexKind::Spatial => 2,
        IndexKind::FullText => 3,
    };
    let at = table
        .indexes
        .iter()
        .position(|i| rank(i) > rank(&index))
        .unwrap_or(table.indexes.len());
    table.indexes.insert(at, index);
}

pub fn take_id(table: &mut Table) -> u32 {
    let id = table.next_id;
    table.next_id += 1;
    id
}

pub fn check_index_name(table: &Table, name: &str) -> Result<()> {
    if name.eq_ignore_ascii_case("PRIMARY") || name.is_empty() {
        return Err(SqlError::new(1280, format!("Incorrect index name '{name}'")));
    }
    if find_index(table, name).is_some() {
        return Err(SqlError::new(1061, format!("Duplicate key name '{name}'")));
    }
    Ok(())
}

pub fn find_index(table: &Table, name: &str) -> Option<usize> {
    table.indexes.iter().position(|i| i.name.to_lowercase() == name.to_lowercase())
}

/// The first column's name, or that with `_2`, `_3` …
fn generated_name(table: &Table, column: &str) -> String {
    let base = table.column(column).map_or_else(|| column.to_string(), |c| c.name.clone());
    if !base.eq_ignore_ascii_case("PRIMARY") && find_index(table, &base).is_none() {
        return base;
    }
    let mut n = 2;
    loop {
        let name = format!("{base}_{n}");
        if find_index(table, &name).is_none() {
            return name;
        }
        n += 1;
    }
}

fn key_part(table: &Table, kind: IndexKind, part: &KeyPartDef) -> Result<KeyPart> {
    if part.expr.is_some() {
        return Err(SqlError::unsupported("functional key parts"));
    }
    let column = table.column(&part.column).ok_or_else(|| missing_column(&part.column))?;
    if column.ty.base == BaseType::Json {
        return Err(SqlError::new(
            3152,
            format!(
                "JSON column '{}' supports indexing only via generated columns on a specified JSON path.",
                column.name
            ),
        ));
    }
    if column.ty.base == BaseType::Vector {
        return Err(SqlError::unsupported("VECTOR column in a key"));
    }
    if kind == IndexKind::FullText {
        if !column.ty.is_character() {
            return Err(SqlError::new(
                1283,
                format!("Column '{}' cannot be part of FULLTEXT index", column.name),
            ));
        }
        return Ok(KeyPart {
            column: column.id,
            prefix: None,
            descending: false,
        });
    }
    let is_string = column.ty.is_character() || column.ty.is_binary();
    let prefix = match part.prefix {
        Some(0) => {
            return Err(SqlError::new(1391, format!("Key part '{}' length cannot be 0", column.name)));
        }
        Some(n) => {
            let full = column.ty.length.filter(|_| !is_large(&column.ty));
            if !is_string || full.is_some_and(|full| n > full) {
                return Err(SqlError::new(
                    1089,
                    "Incorrect prefix key; the used key part isn't a string, the used length is longer than the key part, or the storage engine doesn't support unique prefix keys",
                ));
            }
            (full != Some(n)).then_some(n)
        }
        None if is_large(&column.ty) => {
            return Err(SqlError::new(
                1170,
                format!("BLOB/TEXT column '{}' used in key specification without a key length", column.name),
            ));
        }
        None => None,
    };
    if kind == IndexKind::Primary {
        if column.generated.as_ref().is_some_and(|g| !g.stored) {
            return Err(SqlError::new(
                3106,
                "'Defining a virtual generated column as primary key' is not supported for generated columns.",
            ));
        }
        if prefix.is_some() {
            return Err(SqlError::unsupported("prefix length in a primary key"));
        }
    }
    Ok(KeyPart {
        column: column.id,
        prefix,
        descending: part.descending,
    })
}

/// PRIMARY KEY over a column that says NULL.
pub fn check_explicit_nulls(table: &Table, explicit: &[u32]) -> Result<()> {
    match table.primary() {
        Some(primary) if primary.parts.iter().any(|p| explicit.contains(&p.column)) => Err(primary_null()),
        _ => Ok(()),
    }
}

/// The one AUTO_INCREMENT column must lead a key.
pub fn check_auto(table: &Table) -> Result<()> {
    let mut autos = table.columns.iter().filter(|c| c.auto_increment);
    let Some(auto) = autos.next() else {
        return Ok(());
    };
    let leads = table
        .indexes
        .iter()
        .any(|i| i.kind != IndexKind::FullText && i.parts.first().is_some_and(|p| p.column == auto.id));
    if autos.next().is_some() || !leads {
        return Err(SqlError::new(
            1075,
            "Incorrect table definition; there can be only one auto column and it must be defined as a key",
        ));
    }
    Ok(())
}

/// Adds a CHECK. `column`: the column it is written at.
pub fn add_check(
    build: &Build<'_>,
    table: &mut Table,
    name: Option<&str>,
    expr: &Expr,
    enforced: bool,
    text: String,
    column: Option<&str>,
) -> Result<()> {
    let name = match name {
        Some(name) => {
            let taken = build
                .database
                .tables
                .values()
                .filter(|t| t.id != table.id)
                .any(|t| has_check(t, name));
            if taken || has_check(table, name) {
                return Err(SqlError::new(3822, format!("Duplicate check constraint name '{name}'.")));
            }
            name.to_string()
        }
        None => (1..)
            .map(|n| format!("{}_chk_{n}", table.name))
            .find(|n| !has_check(table, n))
            .unwrap_or_default(),
    };
    let lowered = build.lower_condition(table, expr)?;
    if let Some(column) = column {
        let others = table
            .columns
            .iter()
            .any(|c| !c.name.eq_ignore_ascii_case(column) && uses(&lowered, &c.name));
        if others {
            return Err(SqlError::new(
                3813,
                format!("Column check constraint '{name}' references other column."),
            ));
        }
    }
    table.checks.push(Check {
        name,
        expr: text,
        lowered,
        enforced,
    });
    Ok(())
}

fn has_check(table: &Table, name: &str) -> bool {
    table.checks.iter().any(|c| c.name.to_lowercase() == name.to_lowercase())
}

/// Does a lowered expression read this column?
pub fn uses(lowered: &str, column: &str) -> bool {
    lowered.contains(&format!("\"{}\"", column.replace('"', "\"\"")))
}

/// Adds a foreign key and, where its columns have no index yet, that index.
pub fn add_foreign_key(
    build: &Build<'_>,
    table: &mut Table,
    constraint: Option<&str>,
    index_name: Option<&str>,
    columns: &[String],
    references: &References,
) -> Result<()> {
    let other_db = references
        .table
        .db
        .as_ref()
        .is_some_and(|db| db.to_lowercase() != build.database.name.to_lowercase());
    if other_db {
        return Err(SqlError::unsupported("foreign keys across databases"));
    }
    let mut ids = Vec::with_capacity(columns.len());
    for name in columns {
        ids.push(table.column(name).ok_or_else(|| missing_column(name))?.id);
    }
    if columns.len() != references.columns.len() {
        let shown = constraint.unwrap_or("foreign key without name");
        return Err(SqlError::new(
            1239,
            format!("Incorrect foreign key definition for '{shown}': Key reference and table reference don't match"),
        ));
    }
    let name = foreign_key_name(build, table, constraint)?;
    let foreign = ForeignKey {
        name,
        columns: ids,
        parent: references.table.name.clone(),
        parent_columns: references.columns.clone(),
        on_delete: action(references.on_delete)?,
        on_update: action(references.on_update)?,
    };
    check_set_null(table, &foreign)?;
    check_parent(build, table, &foreign)?;
    index_for(table, &foreign, constraint, index_name);
    table.foreign_keys.push(foreign);
    Ok(())
}

fn foreign_key_name(build: &Build<'_>, table: &Table, constraint: Option<&str>) -> Result<String> {
    let has = |t: &Table, name: &str| t.foreign_keys.iter().any(|f| f.name.to_lowercase() == name.to_lowercase());
    match constraint {
        Some(name) => {
            let taken = build.database.tables.values().filter(|t| t.id != table.id).any(|t| has(t, name));
            if taken || has(table, name) {
                return Err(SqlError::new(1826, format!("Duplicate foreign key constraint name '{name}'")));
            }
            Ok(name.to_string())
        }
        None => Ok((1..)
            .map(|n| format!("{}_ibfk_{n}", table.name))
            .find(|n| !has(table, n))
            .unwrap_or_default()),
    }
}

fn action(action: Option<RefAction>) -> Result<FkAction> {
    Ok(match action {
        None | Some(RefAction::NoAction) => FkAction::NoAction,
        Some(RefAction::Restrict) => FkAction::Restrict,
        Some(RefAction::Cascade) => FkAction::Cascade,
        Some(RefAction::SetNull) => FkAction::SetNull,
        Some(RefAction::SetDefault) => return Err(SqlError::unsupported("foreign key action SET DEFAULT")),
    })
}

fn check_set_null(table: &Table, foreign: &ForeignKey) -> Result<()> {
    if foreign.on_delete != FkAction::SetNull && foreign.on_update != FkAction::SetNull {
        return Ok(());
    }
    for column in foreign.columns.iter().filter_map(|id| table.column_by_id(*id)) {
        if !column.nullable {
            return Err(SqlError::new(
                1830,
                format!(
                    "Column '{}' cannot be NOT NULL: needed in a foreign key constraint '{}' SET NULL",
                    column.name, foreign.name
                ),
            ));
        }
    }
    Ok(())
}

/// The parent must be there (unless `foreign_key_checks = 0`), with a unique key on the columns, of the same types.
fn check_parent(build: &Build<'_>, table: &Table, foreign: &ForeignKey) -> Result<()> {
    let itself = foreign.parent.to_lowercase() == table.name.to_lowercase();
    let parent: &Table = match build.database.table(&foreign.parent) {
        _ if itself => table,
        Some(parent) => parent,
        None if !build.ddl.foreign_key_checks => return Ok(()),
        None => {
            return Err(SqlError::new(
                1824,
                format!("Failed to open the referenced table '{}'", foreign.parent),
            ));
        }
    };
    let mut ids = Vec::new();
    for (name, child) in foreign.parent_columns.iter().zip(&foreign.columns) {
        let column = parent.column(name).ok_or_else(|| {
            SqlError::new(
                3734,
                format!(
                    "Failed to add the foreign key constraint. Missing column '{name}' for constraint '{}' in the referenced table '{}'",
                    foreign.name, foreign.parent
                ),
            )
        })?;
        if let Some(child) = table.column_by_id(*child) {
            let (a, b) = (&child.ty, &column.ty);
            let strings = (a.is_character() && b.is_character()) || (a.is_binary() && b.is_binary());
            let same = a.base == b.base && a.unsigned == b.unsigned && a.collation == b.collation && a.decimals == b.decimals;
            if !(same || strings && a.collation == b.collation) {
                return Err(SqlError::new(
                    3780,
                    format!(
                        "Referencing column '{}' and referenced column '{}' in foreign key constraint '{}' are incompatible.",
                        child.name, column.name, foreign.name
                    ),
                ));
            }
        }
        ids.push(column.id);
    }
    let unique = parent.indexes.iter().any(|i| {
        matches!(i.kind, IndexKind::Primary | IndexKind::Unique)
            && i.parts.len() == ids.len()
            && i.parts.iter().all(|p| p.prefix.is_none() && ids.contains(&p.column))
    });
    if !unique {
        return Err(SqlError::new(
            6125,
            format!(
                "Failed to add the foreign key constraint. Missing unique key for constraint '{}' in the referenced table '{}'",
                foreign.name, foreign.parent
            ),
        ));
    }
    Ok(())
}

fn index_for(table: &mut Table, foreign: &ForeignKey, constraint: Option<&str>, index_name: Option<&str>) {
    let covered = table.indexes.iter().any(|i| {
        i.kind != IndexKind::FullText
            && i.parts.len() >= foreign.columns.len()
            && i.parts
                .iter()
                .zip(&foreign.columns)
                .all(|(p, c)| p.column == *c && p.prefix.is_none())
    });
    if covered {
        return;
    }
    let first = table.column_by_id(foreign.columns[0]).map(|c| c.name.clone()).unwrap_or_default();
    let name = match constraint.or(index_name) {
        Some(name) if find_index(table, name).is_none() => name.to_string(),
        _ => generated_name(table, &first),
    };
    let id = take_id(table);
    let index = Index {
        id,
        name,
        kind: IndexKind::Plain,
        parts: foreign
            .columns
            .iter()
            .map(|c| KeyPart {
                column: *c,
                prefix: None,
                descending: false,
            })
            .collect(),
        comment: String::new(),
        invisible: false,
    };
    insert_in_order(table, index);
}
