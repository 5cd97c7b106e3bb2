//! CREATE, ALTER and DROP DATABASE.

use starling_apply::schema::SchemaChange;

use super::types::collation_of;
use super::{DdlScope, DdlStep, Piece};
use crate::sql::ast::TableOption;
use crate::sql::error::{Result, SqlError};

pub fn check_name(name: &str) -> Result<()> {
    if name.chars().count() > 64 {
        return Err(SqlError::new(1059, format!("Identifier name '{name}' is too long")));
    }
    let bad = |c: char| c == '\0' || c == '/' || c == '\\' || c == '.';
    // SQLite's own schemas
    let reserved = name.eq_ignore_ascii_case("main") || name.eq_ignore_ascii_case("temp");
    if name.is_empty() || name.ends_with(' ') || name.contains(bad) {
        return Err(SqlError::new(1102, format!("Incorrect database name '{name}'")));
    }
    if reserved {
        return Err(SqlError::unsupported(format!("database name {name}")));
    }
    Ok(())
}

fn collation(options: &[TableOption]) -> Result<Option<String>> {
    let mut charset = None;
    let mut collate = None;
    for option in options {
        let value = String::from_utf8_lossy(&option.value).into_owned();
        match option.key.as_str() {
            "charset" | "character set" if value.eq_ignore_ascii_case("default") => {}
            "charset" | "character set" => charset = Some(value),
            "collate" => collate = Some(value),
            "encryption" if value.eq_ignore_ascii_case("n") => {}
            "comment" => {}
            "read only" | "read_only" if value == "0" || value.eq_ignore_ascii_case("default") => {}
            other => return Err(SqlError::unsupported(format!("database option {}", other.to_uppercase()))),
        }
    }
    collation_of(charset.as_deref(), collate.as_deref())
}

pub fn create(ddl: &DdlScope<'_>, name: &str, if_not_exists: bool, options: &[TableOption]) -> Result<DdlStep> {
    let collation = collation(options)?.unwrap_or_else(|| ddl.server_collation.to_string());
    if ddl.scope.catalog.database(name).is_some() {
        let text = format!("Can't create database '{name}'; database exists");
        if !if_not_exists {
            return Err(SqlError::new(1007, text));
        }
        let mut step = DdlStep::note(1007, text);
        step.affected = 1;
        return Ok(step);
    }
    let mut step = DdlStep::of(SchemaChange::CreateDatabase {
        name: name.to_string(),
        collation,
    });
    step.affected = 1;
    Ok(step)
}

pub fn alter(ddl: &DdlScope<'_>, piece: &Piece, options: &[TableOption]) -> Result<DdlStep> {
    let db = piece.db.as_deref().unwrap_or_default();
    let database = ddl.scope.catalog.database(db).ok_or_else(|| SqlError::unknown_database(db))?;
    let mut step = match collation(options)? {
        Some(collation) if collation != database.collation => DdlStep::of(SchemaChange::AlterDatabase { collation }),
        _ => DdlStep::default(),
    };
    step.affected = 1;
    Ok(step)
}

pub fn drop(ddl: &DdlScope<'_>, name: &str, if_exists: bool) -> Result<DdlStep> {
    match ddl.scope.catalog.database(name) {
        Some(database) => {
            let mut step = DdlStep::of(SchemaChange::DropDatabase);
            step.affected = database.tables.len() as u64;
            Ok(step)
        }
        None => {
            let text = format!("Can't drop database '{name}'; database doesn't exist");
            if if_exists {
                return Ok(DdlStep::note(1008, text));
            }
            Err(SqlError::new(1008, text))
        }
    }
}
