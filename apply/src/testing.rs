//! Definitions for unit tests.

use crate::catalog::{Column, DefaultValue, Index, IndexKind, KeyPart, Table};
use crate::types::{BaseType, ColumnType};

pub fn int() -> ColumnType {
    ColumnType::new(BaseType::Int)
}

pub fn text(collation: &str) -> ColumnType {
    ColumnType {
        length: Some(50),
        collation: Some(collation.into()),
        ..ColumnType::new(BaseType::VarChar)
    }
}

pub fn column(id: u32, name: &str, ty: ColumnType) -> Column {
    Column {
        id,
        name: name.into(),
        ty,
        nullable: true,
        default: DefaultValue::None,
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    }
}

pub fn index(id: u32, name: &str, kind: IndexKind, columns: &[u32]) -> Index {
    Index {
        id,
        name: name.into(),
        kind,
        parts: columns
            .iter()
            .map(|c| KeyPart {
                column: *c,
                prefix: None,
                descending: false,
            })
            .collect(),
        comment: String::new(),
        invisible: false,
    }
}

/// A table with a primary key over `key` (none: no primary key).
pub fn table(name: &str, columns: Vec<Column>, key: &[u32]) -> Table {
    let mut indexes = Vec::new();
    if !key.is_empty() {
        indexes.push(index(100, "PRIMARY", IndexKind::Primary, key));
    }
    Table {
        id: 0,
        db: 0,
        name: name.into(),
        columns,
        indexes,
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: "utf8mb4_0900_ai_ci".into(),
        engine: "InnoDB".into(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
        next_id: 200,
    }
}
