//! CREATE TABLE: from the syntax tree to a whole table definition.
//!
//! Must not know: how the definition gets into the log.

use starling_apply::Table;
use starling_apply::catalog::Generated;

use super::columns::{self, Built};
use super::types::collation_of;
use super::{Build, keys};
use crate::sql::ast::{CreateTable, Expr, TableElement, TableOption};
use crate::sql::error::{Result, SqlError};

const COLUMNS_MAX: usize = 1017;
const COMMENT_MAX: usize = 2048;

/// Options without effect here, as in MySQL's own engine.
const IGNORED_OPTIONS: &[&str] = &[
    "key_block_size",
    "max_rows",
    "min_rows",
    "avg_row_length",
    "checksum",
    "delay_key_write",
    "pack_keys",
    "stats_persistent",
    "stats_auto_recalc",
    "stats_sample_pages",
    "insert_method",
    "autoextend_size",
    "password",
    "secondary_engine",
    "compression",
    "page_checksum",
    "transactional",
    "page_compressed",
    "engine_attribute",
    "secondary_engine_attribute",
];
const ENGINES: &[&str] = &["InnoDB", "MyISAM", "MEMORY", "CSV", "ARCHIVE", "HEAP"];

/// The table as CREATE TABLE describes it (LIKE and SELECT aside); `extra`: columns of a SELECT, put behind its own.
pub fn table(build: &Build<'_>, ast: &CreateTable, extra: Vec<starling_apply::Column>) -> Result<Table> {
    check_table_name(&ast.name.name)?;
    if ast.partitioned {
        return Err(SqlError::unsupported("PARTITION BY"));
    }
    let mut table = empty(build, &ast.name.name);
    options(&mut table, &ast.options)?;
    let mut explicit_nulls = Vec::new();
    let mut generated = Vec::new();
    let mut built_columns: Vec<Built> = Vec::new();
    for element in &ast.elements {
        if let TableElement::Column(def) = element {
            let mut built = columns::build(build, def, &table.collation)?;
            add_column(&mut table, &mut built, None)?;
            built_columns.push(built);
        }
    }
    for column in extra {
        merge_selected(&mut table, column);
    }
    if table.columns.is_empty() {
        return Err(SqlError::new(1113, "A table must have at least 1 column"));
    }
    if table.columns.len() > COLUMNS_MAX {
        return Err(SqlError::new(1117, "Too many columns"));
    }
    let mut checks = Vec::new();
    for built in &mut built_columns {
        let name = built.column.name.clone();
        let id = table.column(&name).map_or(0, |c| c.id);
        for kind in &built.keys {
            keys::add_key(&mut table, &keys::key_of_column(*kind, &name))?;
        }
        if built.explicit_null {
            explicit_nulls.push(id);
        }
        if let Some(expr) = built.generated.take() {
            generated.push((id, expr));
        }
        checks.extend(built.checks.drain(..).map(|c| (c, Some(name.clone()))));
    }
    for element in &ast.elements {
        if let TableElement::Key(def) = element {
            keys::add_key(&mut table, def)?;
        }
    }
    keys::check_explicit_nulls(&table, &explicit_nulls)?;
    for (id, expr) in &generated {
        lower_generated(build, &mut table, *id, expr)?;
    }
    add_constraints(build, &mut table, &ast.elements)?;
    for ((name, expr, enforced, text), column) in checks {
        keys::add_check(build, &mut table, name.as_deref(), &expr, enforced, text, column.as_deref())?;
    }
    keys::check_auto(&table)?;
    Ok(table)
}

fn add_constraints(build: &Build<'_>, table: &mut Table, elements: &[TableElement]) -> Result<()> {
    for element in elements {
        match element {
            TableElement::ForeignKey {
                constraint,
                name,
                columns,
                references,
            } => keys::add_foreign_key(build, table, constraint.as_deref(), name.as_deref(), columns, references)?,
            TableElement::Check {
                name,
                expr,
                enforced,
                text,
            } => keys::add_check(build, table, name.as_deref(), expr, *enforced, build.text(*text), None)?,
            TableElement::Column(_) | TableElement::Key(_) => {}
        }
    }
    Ok(())
}

/// A column of the SELECT joins the definition; one of the same name keeps the definition's type.
fn merge_selected(table: &mut Table, mut column: starling_apply::Column) {
    if table.column(&column.name).is_none() {
        column.id = keys::take_id(table);
        table.columns.push(column);
    }
}

pub fn empty(build: &Build<'_>, name: &str) -> Table {
    Table {
        id: 0,
        db: build.database.id,
        name: name.to_string(),
        columns: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: build.database.collation.clone(),
        engine: "InnoDB".into(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: build.ddl.created_ms,
        next_id: 1,
    }
}

pub fn check_table_name(name: &str) -> Result<()> {
    if name.chars().count() > 64 {
        return Err(SqlError::new(1059, format!("Identifier name '{name}' is too long")));
    }
    if name.is_empty() || name.ends_with(' ') || name.contains('\0') {
        return Err(SqlError::new(1103, format!("Incorrect table name '{name}'")));
    }
    if name.to_lowercase().starts_with("__starling_") || name.to_lowercase().starts_with("sqlite_") {
        return Err(SqlError::unsupported(format!(
            "table name {name} (names with this prefix belong to the storage)"
        )));
    }
    Ok(())
}

/// Puts a column in (`at`: its position; `None`: last) and gives it its id.
pub fn add_column(table: &mut Table, built: &mut Built, at: Option<usize>) -> Result<()> {
    if table.column(&built.column.name).is_some() {
        return Err(SqlError::new(1060, format!("Duplicate column name '{}'", built.column.name)));
    }
    built.column.id = keys::take_id(table);
    let at = at.unwrap_or(table.columns.len());
    table.columns.insert(at, built.column.clone());
    Ok(())
}

pub fn lower_generated(build: &Build<'_>, table: &mut Table, id: u32, expr: &Expr) -> Result<()> {
    let lowered = build.lower_value(table, expr, id)?;
    if let Some(column) = table.columns.iter_mut().find(|c| c.id == id)
        && let Some(Generated { lowered: slot, .. }) = &mut column.generated
    {
        *slot = lowered;
    }
    Ok(())
}

/// Table options into the definition.
pub fn options(table: &mut Table, options: &[TableOption]) -> Result<()> {
    let mut charset = None;
    let mut collation = None;
    for option in options {
        let value = String::from_utf8_lossy(&option.value).into_owned();
        match option.key.as_str() {
            "engine" | "type" => {
                let known = ENGINES.iter().find(|e| e.eq_ignore_ascii_case(&value));
                table.engine = known
                    .ok_or_else(|| SqlError::new(1286, format!("Unknown storage engine '{value}'")))?
                    .to_string();
            }
            "charset" | "character set" => {
                if !value.eq_ignore_ascii_case("default") {
                    charset = Some(value);
                }
            }
            "collate" => collation = Some(value),
            "comment" => {
                if value.chars().count() > COMMENT_MAX {
                    return Err(SqlError::new(
                        1628,
                        format!("Comment for table '{}' is too long (max = {COMMENT_MAX})", table.name),
                    ));
                }
                table.comment = value;
            }
            "auto_increment" => {
                let start = value.trim().parse().unwrap_or(0);
                // 0 and 1 mean the same; that it was said shows in a difference.
                let low = u64::from(table.auto_increment == 0);
                table.auto_increment = if start > 1 { start } else { low };
            }
            "row_format" => {
                table.row_format = (!value.eq_ignore_ascii_case("default")).then(|| value.to_ascii_uppercase());
            }
            key if IGNORED_OPTIONS.contains(&key) => {}
            "encryption" if value.eq_ignore_ascii_case("n") => {}
            other => return Err(SqlError::unsupported(format!("table option {}", other.to_uppercase()))),
        }
    }
    if let Some(collation) = collation_of(charset.as_deref(), collation.as_deref())? {
        table.collation = collation;
    }
    Ok(())
}

/// CREATE TABLE … LIKE: the same columns and keys (names kept), without foreign keys.
pub fn like(build: &Build<'_>, name: &str, source: &Table) -> Result<Table> {
    check_table_name(name)?;
    let mut table = source.clone();
    table.id = 0;
    table.db = build.database.id;
    table.foreign_keys.clear();
    table.auto_increment = 0;
    table.created_ms = build.ddl.created_ms;
    for (i, check) in table.checks.iter_mut().enumerate() {
        check.name = format!("{name}_chk_{}", i + 1);
    }
    table.name = name.to_string();
    Ok(table)
}
