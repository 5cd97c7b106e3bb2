//! Rows of the tables that describe schemas: databases, tables, columns, keys, constraints.
//!
//! Must not know: sessions.

use std::sync::Arc;

use starling_apply::catalog::{DefaultValue, FkAction, Index, IndexKind};
use starling_apply::{BaseType, Catalog, Column, ColumnType, Database, Table};
use starling_log::Value;

use super::{Provider, create, define};
use crate::sql::vars::{bytes_per_char, charset_of};

type Row = Vec<Value>;

pub fn text(text: impl AsRef<str>) -> Value {
    Value::Text(text.as_ref().as_bytes().to_vec())
}

pub fn maybe(value: Option<impl AsRef<str>>) -> Value {
    value.map_or(Value::Null, text)
}

pub fn int(value: impl TryInto<i64>) -> Value {
    Value::Int(value.try_into().unwrap_or(i64::MAX))
}

fn maybe_int(value: Option<u64>) -> Value {
    value.map_or(Value::Null, int)
}

/// `None`: not a table of this kind.
pub fn rows(table: &str, provider: &dyn Provider) -> Option<Vec<Row>> {
    let make: fn(&dyn Provider, &Database, &mut Vec<Row>) = match table {
        "SCHEMATA" => schemata,
        "TABLES" => tables,
        "COLUMNS" => columns,
        "STATISTICS" => statistics,
        "KEY_COLUMN_USAGE" => key_column_usage,
        "TABLE_CONSTRAINTS" => table_constraints,
        "REFERENTIAL_CONSTRAINTS" => referential_constraints,
        "CHECK_CONSTRAINTS" => check_constraints,
        _ => return None,
    };
    let mut out = Vec::new();
    let catalog = provider.catalog().unwrap_or_else(|| Arc::new(Catalog::default()));
    for database in databases(&catalog) {
        make(provider, &database, &mut out);
    }
    Some(out)
}

/// The users' databases and those of the system's that dumping tools know to leave out (`mysql` and `starling` can be read, but
/// are not listed: a dump of all databases would otherwise try to make them).
fn databases(catalog: &Catalog) -> Vec<Arc<Database>> {
    let mut all: Vec<Arc<Database>> = catalog
        .databases
        .values()
        .filter(|d| !define::is_system(&d.name) && !define::is_hidden(&d.name))
        .cloned()
        .chain(define::system_databases().filter(|d| d.name.ends_with("_schema")).cloned())
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn schemata(_: &dyn Provider, database: &Database, out: &mut Vec<Row>) {
    out.push(vec![
        text("def"),
        text(&database.name),
        text(charset_of(&database.collation)),
        text(&database.collation),
        Value::Null,
        text("NO"),
    ]);
}

/// Milliseconds since the epoch as UTC `YYYY-MM-DD hh:mm:ss`.
pub fn datetime(ms: u64) -> Value {
    let seconds = i64::try_from(ms / 1000).unwrap_or(0);
    chrono::DateTime::from_timestamp(seconds, 0).map_or(Value::Null, |t| text(t.format("%Y-%m-%d %H:%M:%S").to_string()))
}

fn tables(provider: &dyn Provider, database: &Database, out: &mut Vec<Row>) {
    for table in database.tables.values() {
        let system = define::is_system(&database.name);
        let (kind, engine) = if system {
            ("SYSTEM VIEW", None)
        } else {
            ("BASE TABLE", Some(&table.engine))
        };
        let rows = (!system).then(|| provider.table_rows(&database.name, &table.name).unwrap_or(0));
        let auto = if table.auto_column().is_some() {
            provider.auto_increment(table.id)
        } else {
            None
        };
        let zero = |v: u64| if system { Value::Null } else { int(v) };
        out.push(vec![
            text("def"),
            text(&database.name),
            text(&table.name),
            text(kind),
            maybe(engine),
            int(10),
            if system { Value::Null } else { text(row_format(table)) },
            maybe_int(rows),
            zero(0),
            zero(16384),
            zero(0),
            zero(0),
            zero(0),
            maybe_int(auto),
            datetime(table.created_ms),
            Value::Null,
            Value::Null,
            if system { Value::Null } else { text(&table.collation) },
            Value::Null,
            text(""),
            text(&table.comment),
        ]);
    }
}

fn row_format(table: &Table) -> String {
    let given = table.row_format.as_deref().unwrap_or("DYNAMIC").to_ascii_lowercase();
    let mut chars = given.chars();
    chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

fn columns(_: &dyn Provider, database: &Database, out: &mut Vec<Row>) {
    for table in database.tables.values() {
        for (position, column) in (1..).zip(&table.columns) {
            out.push(column_row(database, table, position, column));
        }
    }
}

fn column_row(database: &Database, table: &Table, position: i64, column: &Column) -> Row {
    let ty = &column.ty;
    let (precision, scale) = numeric(ty);
    let (chars, octets) = lengths(ty);
    let fraction = match ty.base {
        BaseType::Time | BaseType::DateTime | BaseType::Timestamp => Some(u64::from(ty.decimals.unwrap_or(0))),
        _ => None,
    };
    vec![
        text("def"),
        text(&database.name),
        text(&table.name),
        text(&column.name),
        Value::Int(position),
        maybe(default_text(column)),
        text(if column.nullable { "YES" } else { "NO" }),
        text(ty.base_name()),
        maybe_int(chars),
        maybe_int(octets),
        maybe_int(precision),
        maybe_int(scale),
        maybe_int(fraction),
        maybe(ty.collation.as_deref().map(charset_of)),
        maybe(ty.collation.as_deref()),
        text(ty.sql_name()),
        text(column_key(table, column)),
        text(extra(column)),
        text("select,insert,update,references"),
        text(&column.comment),
        text(column.generated.as_ref().map_or("", |g| g.expr.as_str())),
        Value::Null,
    ]
}

fn default_text(column: &Column) -> Option<String> {
    match &column.default {
        DefaultValue::None | DefaultValue::Null => None,
        DefaultValue::Literal(t) if column.ty.base == BaseType::Bit => Some(create::bits(t)),
        DefaultValue::Literal(t) => Some(t.clone()),
        DefaultValue::Bytes(b) if b.is_empty() => Some(String::new()),
        DefaultValue::Bytes(b) => Some(create::hex(b)),
        DefaultValue::Now => Some(create::current_timestamp(column)),
        DefaultValue::Expr(e) => Some(e.clone()),
    }
}

/// PRI, UNI (the first column of a unique key of one column), MUL, or nothing.
pub fn column_key(table: &Table, column: &Column) -> &'static str {
    let mut key = "";
    for index in &table.indexes {
        match index.kind {
            IndexKind::Primary if index.parts.iter().any(|p| p.column == column.id) => return "PRI",
            _ if index.parts.first().is_none_or(|p| p.column != column.id) => {}
            IndexKind::Unique if index.parts.len() == 1 => key = "UNI",
            _ if key.is_empty() => key = "MUL",
            _ => {}
        }
    }
    key
}

pub fn extra(column: &Column) -> String {
    let mut words = Vec::new();
    if column.auto_increment {
        words.push("auto_increment".to_string());
    }
    if matches!(column.default, DefaultValue::Now | DefaultValue::Expr(_)) {
        words.push("DEFAULT_GENERATED".into());
    }
    if column.on_update_now {
        words.push(format!("on update {}", create::current_timestamp(column)));
    }
    match &column.generated {
        Some(g) if g.stored => words.push("STORED GENERATED".into()),
        Some(_) => words.push("VIRTUAL GENERATED".into()),
        None => {}
    }
    if column.invisible {
        words.push("INVISIBLE".into());
    }
    words.join(" ")
}

fn numeric(ty: &ColumnType) -> (Option<u64>, Option<u64>) {
    use BaseType::*;
    match ty.base {
        TinyInt => (Some(3), Some(0)),
        SmallInt => (Some(5), Some(0)),
        MediumInt => (Some(if ty.unsigned { 8 } else { 7 }), Some(0)),
        Int => (Some(10), Some(0)),
        BigInt => (Some(if ty.unsigned { 20 } else { 19 }), Some(0)),
        Decimal => (ty.length.map(u64::from), Some(u64::from(ty.decimals.unwrap_or(0)))),
        Float => (ty.length.map(u64::from).or(Some(12)), ty.decimals.map(u64::from)),
        Double => (ty.length.map(u64::from).or(Some(22)), ty.decimals.map(u64::from)),
        Bit => (ty.length.map(u64::from), None),
        _ => (None, None),
    }
}

/// Longest value in characters and in bytes.
fn lengths(ty: &ColumnType) -> (Option<u64>, Option<u64>) {
    use BaseType::*;
    let width = ty.collation.as_deref().map_or(1, |c| u64::from(bytes_per_char(charset_of(c))));
    let large = match ty.base {
        TinyText | TinyBlob => Some(255),
        Text | Blob => Some(65_535),
        MediumText | MediumBlob => Some(16_777_215),
        LongText | LongBlob => Some(4_294_967_295),
        _ => None,
    };
    match ty.base {
        Char | VarChar => {
            let n = u64::from(ty.length.unwrap_or(1));
            (Some(n), Some(n * width))
        }
        Binary | VarBinary => {
            let n = u64::from(ty.length.unwrap_or(1));
            (Some(n), Some(n))
        }
        Enum => {
            let n = ty.labels.iter().map(|l| l.chars().count() as u64).max().unwrap_or(0);
            (Some(n), Some(n * width))
        }
        Set => {
            let n: u64 = ty.labels.iter().map(|l| l.chars().count() as u64).sum();
            let n = n + (ty.labels.len() as u64).saturating_sub(1);
            (Some(n), Some(n * width))
        }
        _ => (large, large),
    }
}

fn statistics(provider: &dyn Provider, database: &Database, out: &mut Vec<Row>) {
    for table in database.tables.values().filter(|t| !t.indexes.is_empty()) {
        let rows = provider.table_rows(&database.name, &table.name).unwrap_or(0);
        for index in &table.indexes {
            for (position, part) in (1..).zip(&index.parts) {
                let Some(column) = table.column_by_id(part.column) else {
                    continue;
                };
                let unique = matches!(index.kind, IndexKind::Primary | IndexKind::Unique);
                let (collation, kind) = match index.kind {
                    IndexKind::FullText => (None, "FULLTEXT"),
                    IndexKind::Spatial => (Some("A"), "SPATIAL"),
                    _ => (Some(if part.descending { "D" } else { "A" }), "BTREE"),
                };
                out.push(vec![
                    text("def"),
                    text(&database.name),
                    text(&table.name),
                    int(i64::from(!unique)),
                    text(&database.name),
                    text(&index.name),
                    Value::Int(position),
                    text(&column.name),
                    maybe(collation),
                    int(rows),
                    maybe_int(part.prefix.map(u64::from)),
                    Value::Null,
                    text(if column.nullable { "YES" } else { "" }),
                    text(kind),
                    text(""),
                    text(&index.comment),
                    text(if index.invisible { "NO" } else { "YES" }),
                    Value::Null,
                ]);
            }
        }
    }
}

fn unique_indexes(table: &Table) -> impl Iterator<Item = &Index> {
    table
        .indexes
        .iter()
        .filter(|i| matches!(i.kind, IndexKind::Primary | IndexKind::Unique))
}

fn key_column_usage(_: &dyn Provider, database: &Database, out: &mut Vec<Row>) {
    let row = |table: &Table, constraint: &str, column: u32, position: i64, parent: Option<(&str, &str, i64)>| {
        let column = table.column_by_id(column).map_or("", |c| c.name.as_str());
        let (parent_db, parent_table, parent_column, at) = match parent {
            Some((t, c, at)) => (text(&database.name), text(t), text(c), Value::Int(at)),
            None => (Value::Null, Value::Null, Value::Null, Value::Null),
        };
        vec![
            text("def"),
            text(&database.name),
            text(constraint),
            text("def"),
            text(&database.name),
            text(&table.name),
            text(column),
            Value::Int(position),
            at,
            parent_db,
            parent_table,
            parent_column,
        ]
    };
    for table in database.tables.values() {
        for index in unique_indexes(table) {
            for (position, part) in (1..).zip(&index.parts) {
                out.push(row(table, &index.name, part.column, position, None));
            }
        }
        for foreign in &table.foreign_keys {
            for ((position, column), parent) in (1..).zip(&foreign.columns).zip(&foreign.parent_columns) {
                let parent = Some((foreign.parent.as_str(), parent.as_str(), position));
                out.push(row(table, &foreign.name, *column, position, parent));
            }
        }
    }
}

fn table_constraints(_: &dyn Provider, database: &Database, out: &mut Vec<Row>) {
    for table in database.tables.values() {
        let mut push = |name: &str, kind: &str, enforced: bool| {
            out.push(vec![
                text("def"),
                text(&database.name),
                text(name),
                text(&database.name),
                text(&table.name),
                text(kind),
                text(if enforced { "YES" } else { "NO" }),
            ]);
        };
        for index in unique_indexes(table) {
            let kind = if index.kind == IndexKind::Primary {
                "PRIMARY KEY"
            } else {
                "UNIQUE"
            };
            push(&index.name, kind, true);
        }
        for foreign in &table.foreign_keys {
            push(&foreign.name, "FOREIGN KEY", true);
        }
        for check in &table.checks {
            push(&check.name, "CHECK", check.enforced);
        }
    }
}

fn rule(action: FkAction) -> &'static str {
    create::action_text(action)
}

fn referential_constraints(_: &dyn Provider, database: &Database, out: &mut Vec<Row>) {
    for table in database.tables.values() {
        for foreign in &table.foreign_keys {
            let parent = database.table(&foreign.parent);
            let unique = parent.and_then(|p| {
                let ids: Vec<u32> = foreign.parent_columns.iter().filter_map(|c| p.column(c)).map(|c| c.id).collect();
                unique_indexes(p)
                    .find(|i| i.parts.len() == ids.len() && i.parts.iter().all(|k| ids.contains(&k.column)))
                    .map(|i| i.name.clone())
            });
            out.push(vec![
                text("def"),
                text(&database.name),
                text(&foreign.name),
                text("def"),
                text(&database.name),
                maybe(unique),
                text("NONE"),
                text(rule(foreign.on_update)),
                text(rule(foreign.on_delete)),
                text(&table.name),
                text(&foreign.parent),
            ]);
        }
    }
}

fn check_constraints(_: &dyn Provider, database: &Database, out: &mut Vec<Row>) {
    for check in database.tables.values().flat_map(|t| &t.checks) {
        out.push(vec![
            text("def"),
            text(&database.name),
            text(&check.name),
            text(format!("({})", check.expr)),
        ]);
    }
}
