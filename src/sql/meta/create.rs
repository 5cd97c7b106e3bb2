//! The text of SHOW CREATE TABLE and SHOW CREATE DATABASE, and the pieces of it that other statements print.
//!
//! Promises: the text makes the same table again. Must not know: rows.

use std::fmt::Write;

use starling_apply::catalog::{DefaultValue, FkAction, ForeignKey, Index, IndexKind};
use starling_apply::{BaseType, Column, Database, Table};

use crate::sql::vars::{charset_of, default_collation};

/// A name in backquotes.
pub fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string in quotes, as MySQL escapes it.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("''"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// An expression in parentheses (one pair at least).
fn parenthesized(text: &str) -> String {
    let trimmed = text.trim();
    if is_enclosed(trimmed) {
        return trimmed.to_string();
    }
    format!("({trimmed})")
}

/// Does the first parenthesis close at the very end?
fn is_enclosed(text: &str) -> bool {
    if !text.starts_with('(') {
        return false;
    }
    let mut depth = 0;
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth -= 1;
                if depth == 0 {
                    return i + 1 == text.len();
                }
            }
            _ => {}
        }
    }
    false
}

pub fn database(database: &Database, if_not_exists: bool) -> String {
    let exists = if if_not_exists { "/*!32312 IF NOT EXISTS*/ " } else { "" };
    let charset = charset_of(&database.collation);
    let collate = if default_collation(charset) != database.collation || charset == "utf8mb4" {
        format!(" COLLATE {}", database.collation)
    } else {
        String::new()
    };
    format!(
        "CREATE DATABASE {exists}{} /*!40100 DEFAULT CHARACTER SET {charset}{collate} */ /*!80016 DEFAULT ENCRYPTION='N' */",
        name(&database.name)
    )
}

/// `next`: the next AUTO_INCREMENT number, where it is known.
pub fn table(table: &Table, next: Option<u64>) -> String {
    let mut lines: Vec<String> = table.columns.iter().map(|c| column(table, c)).collect();
    lines.extend(table.indexes.iter().map(|i| index(table, i)));
    lines.extend(table.foreign_keys.iter().map(|f| foreign_key(table, f)));
    lines.extend(table.checks.iter().map(|c| {
        let enforced = if c.enforced { "" } else { " /*!80016 NOT ENFORCED */" };
        format!("CONSTRAINT {} CHECK ({}){enforced}", name(&c.name), parenthesized(&c.expr))
    }));
    let mut out = format!(
        "CREATE TABLE {} (\n  {}\n) ENGINE={}",
        name(&table.name),
        lines.join(",\n  "),
        table.engine
    );
    if let Some(next) = next.filter(|n| *n > 1 && table.auto_column().is_some()) {
        let _ = write!(out, " AUTO_INCREMENT={next}");
    }
    let charset = charset_of(&table.collation);
    let _ = write!(out, " DEFAULT CHARSET={charset}");
    if default_collation(charset) != table.collation || charset == "utf8mb4" {
        let _ = write!(out, " COLLATE={}", table.collation);
    }
    if let Some(format) = &table.row_format {
        let _ = write!(out, " ROW_FORMAT={format}");
    }
    if !table.comment.is_empty() {
        let _ = write!(out, " COMMENT={}", string(&table.comment));
    }
    out
}

fn column(table: &Table, column: &Column) -> String {
    let mut out = format!("{} {}", name(&column.name), column.ty.sql_name());
    if let Some(collation) = &column.ty.collation {
        let charset = charset_of(collation);
        if *collation != table.collation {
            let _ = write!(out, " CHARACTER SET {charset} COLLATE {collation}");
        } else if default_collation(charset) != *collation {
            let _ = write!(out, " COLLATE {collation}");
        }
    }
    if let Some(generated) = &column.generated {
        let kind = if generated.stored { "STORED" } else { "VIRTUAL" };
        let _ = write!(out, " GENERATED ALWAYS AS {} {kind}", parenthesized(&generated.expr));
    }
    if !column.nullable {
        out.push_str(" NOT NULL");
    } else if column.ty.base == BaseType::Timestamp {
        out.push_str(" NULL");
    }
    if let Some(default) = default_clause(column) {
        let _ = write!(out, " DEFAULT {default}");
    }
    if column.on_update_now {
        let _ = write!(out, " ON UPDATE {}", current_timestamp(column));
    }
    if column.auto_increment {
        out.push_str(" AUTO_INCREMENT");
    }
    if column.invisible {
        out.push_str(" /*!80023 INVISIBLE */");
    }
    if !column.comment.is_empty() {
        let _ = write!(out, " COMMENT {}", string(&column.comment));
    }
    out
}

pub fn current_timestamp(column: &Column) -> String {
    match column.ty.decimals {
        Some(n) if n > 0 => format!("CURRENT_TIMESTAMP({n})"),
        _ => "CURRENT_TIMESTAMP".to_string(),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode_upper(bytes))
}

fn default_clause(column: &Column) -> Option<String> {
    use BaseType::*;
    match &column.default {
        DefaultValue::None => None,
        DefaultValue::Null => {
            let large = matches!(
                column.ty.base,
                TinyText | Text | MediumText | LongText | TinyBlob | Blob | MediumBlob | LongBlob
            );
            (!large && column.generated.is_none()).then(|| "NULL".to_string())
        }
        DefaultValue::Literal(text) if column.ty.base == Bit => Some(bits(text)),
        DefaultValue::Literal(text) => Some(string(text)),
        DefaultValue::Bytes(bytes) if bytes.is_empty() => Some("''".to_string()),
        DefaultValue::Bytes(bytes) => Some(hex(bytes)),
        DefaultValue::Now => Some(current_timestamp(column)),
        DefaultValue::Expr(text) => Some(parenthesized(text)),
    }
}

/// The default of a BIT column: decimal digits as `b'101'`.
pub fn bits(text: &str) -> String {
    match text.parse::<u64>() {
        Ok(v) => format!("b'{v:b}'"),
        Err(_) => text.to_string(),
    }
}

fn index(table: &Table, index: &Index) -> String {
    let parts: Vec<String> = index
        .parts
        .iter()
        .map(|p| {
            let column = table.column_by_id(p.column).map_or("?", |c| c.name.as_str());
            let prefix = p.prefix.map(|n| format!("({n})")).unwrap_or_default();
            let descending = if p.descending { " DESC" } else { "" };
            format!("{}{prefix}{descending}", name(column))
        })
        .collect();
    let parts = parts.join(",");
    let mut out = match index.kind {
        IndexKind::Primary => format!("PRIMARY KEY ({parts})"),
        IndexKind::Unique => format!("UNIQUE KEY {} ({parts})", name(&index.name)),
        IndexKind::Plain => format!("KEY {} ({parts})", name(&index.name)),
        IndexKind::FullText => format!("FULLTEXT KEY {} ({parts})", name(&index.name)),
        IndexKind::Spatial => format!("SPATIAL KEY {} ({parts})", name(&index.name)),
    };
    if !index.comment.is_empty() {
        let _ = write!(out, " COMMENT {}", string(&index.comment));
    }
    if index.invisible {
        out.push_str(" /*!80000 INVISIBLE */");
    }
    out
}

/// `CONSTRAINT … FOREIGN KEY … REFERENCES …`, as SHOW CREATE and errors 1451 and 1452 print it.
pub fn foreign_key(table: &Table, foreign: &ForeignKey) -> String {
    let columns: Vec<String> = foreign
        .columns
        .iter()
        .filter_map(|id| table.column_by_id(*id))
        .map(|c| name(&c.name))
        .collect();
    let parents: Vec<String> = foreign.parent_columns.iter().map(|c| name(c)).collect();
    let mut out = format!(
        "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({})",
        name(&foreign.name),
        columns.join(", "),
        name(&foreign.parent),
        parents.join(", ")
    );
    for (what, action) in [("DELETE", foreign.on_delete), ("UPDATE", foreign.on_update)] {
        if action != FkAction::NoAction {
            let _ = write!(out, " ON {what} {}", action_text(action));
        }
    }
    out
}

pub fn action_text(action: FkAction) -> &'static str {
    match action {
        FkAction::NoAction => "NO ACTION",
        FkAction::Restrict => "RESTRICT",
        FkAction::Cascade => "CASCADE",
        FkAction::SetNull => "SET NULL",
        FkAction::SetDefault => "SET DEFAULT",
    }
}
