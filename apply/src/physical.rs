//! The shape of a catalog table in SQLite.
//!
//! Promises: declared types keep canonical storage exact (SQLite derives a column's affinity from substrings of its declared
//! type, so only the four plain names are ever declared); the statements made here depend on nothing but the definitions.
//! How one shape becomes another is `reshape`'s. Must not know: entries, stamps.

use std::fmt::Write as _;

use crate::catalog::{Column, FkAction, ForeignKey, Index, IndexKind, KeyPart, Table};
use crate::types::{BaseType, ColumnType};

/// A character or binary column longer than this makes a table too wide for WITHOUT ROWID (SQLite keeps whole rows in the
/// inner pages of such a table).
const WIDE_COLUMN: u32 = 768;

/// The name by which the hidden key of a table without PRIMARY KEY is addressed (`rowid`, unless a column has that name).
pub fn hidden_key(table: &Table) -> &'static str {
    ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|n| table.column(n).is_none())
        .unwrap_or("rowid")
}

/// An identifier in double quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Is the primary key SQLite's rowid (one integer column that fits 64 signed bits)?
pub fn rowid_key(table: &Table) -> Option<u32> {
    let [part] = table.primary()?.parts.as_slice() else { return None };
    let column = table.column_by_id(part.column)?;
    let wide = column.ty.base == BaseType::BigInt && column.ty.unsigned;
    (column.ty.is_integer() && !wide && column.generated.is_none()).then_some(column.id)
}

/// The four storage affinities.
pub fn declared(ty: &ColumnType) -> &'static str {
    use BaseType::*;
    match ty.base {
        BigInt if ty.unsigned => "BLOB",
        TinyInt | SmallInt | MediumInt | Int | BigInt | Year | Time | Enum => "INTEGER",
        Float | Double => "REAL",
        Bit | Set | Binary | VarBinary | TinyBlob | Blob | MediumBlob | LongBlob | Vector => "BLOB",
        Decimal | Date | DateTime | Timestamp | Char | VarChar | TinyText | Text | MediumText | LongText | Json => "TEXT",
    }
}

/// The name of the SQLite collation that a column's values compare by (`None`: bytes or numbers).
pub fn collation(ty: &ColumnType) -> Option<&str> {
    match ty.base {
        BaseType::Decimal => Some("STARLING_DECIMAL"),
        _ if ty.is_character() => ty.collation.as_deref(),
        _ => None,
    }
}

/// The part's prefix where it is shorter than its column.
pub fn prefix(table: &Table, part: &KeyPart) -> Option<u32> {
    let column = table.column_by_id(part.column)?;
    part.prefix
        .filter(|p| column.ty.length.is_none_or(|l| *p < l) || is_long(column.ty.base))
}

fn is_long(base: BaseType) -> bool {
    use BaseType::*;
    matches!(
        base,
        TinyText | Text | MediumText | LongText | TinyBlob | Blob | MediumBlob | LongBlob | Json
    )
}

pub fn is_wide(ty: &ColumnType) -> bool {
    is_long(ty.base) || ty.base == BaseType::Vector || ((ty.is_character() || ty.is_binary()) && ty.length.is_some_and(|l| l > WIDE_COLUMN))
}

/// Is the table stored as a WITHOUT ROWID tree of its primary key?
pub fn without_rowid(table: &Table) -> bool {
    table.primary().is_some_and(|p| {
        rowid_key(table).is_none()
            && p.parts.iter().all(|k| prefix(table, k).is_none())
            && p.parts
                .iter()
                .all(|k| table.column_by_id(k.column).is_some_and(|c| c.generated.is_none()))
            && !table.columns.iter().any(|c| is_wide(&c.ty))
    })
}

/// Does the primary key stand inside CREATE TABLE (else it is a unique index of its own, as for one over prefixes)?
fn inline_key(table: &Table) -> bool {
    rowid_key(table).is_some() || without_rowid(table)
}

/// `"name" TYPE COLLATE … NOT NULL GENERATED …`, as it stands in CREATE TABLE and ADD COLUMN.
pub fn column_sql(table: &Table, column: &Column) -> String {
    let mut sql = format!("{} {}", quote(&column.name), declared(&column.ty));
    if rowid_key(table) == Some(column.id) {
        sql.push_str(" PRIMARY KEY NOT NULL");
        return sql;
    }
    if let Some(name) = collation(&column.ty) {
        let _ = write!(sql, " COLLATE {}", quote(name));
    }
    let key = table.primary().is_some_and(|p| p.parts.iter().any(|k| k.column == column.id));
    if key || !column.nullable {
        sql.push_str(" NOT NULL");
    }
    if let Some(g) = &column.generated {
        let kind = if g.stored { "STORED" } else { "VIRTUAL" };
        let _ = write!(sql, " GENERATED ALWAYS AS ({}) {kind}", g.lowered);
    }
    sql
}

/// CREATE TABLE under the physical name `name`.
pub fn create_sql(schema: &str, name: &str, table: &Table) -> String {
    let mut parts: Vec<String> = table.columns.iter().map(|c| column_sql(table, c)).collect();
    if let Some(primary) = table.primary().filter(|_| without_rowid(table)) {
        parts.push(format!("PRIMARY KEY ({})", names(table, primary.parts.iter().map(|k| k.column))));
    }
    for check in table.checks.iter().filter(|c| c.enforced) {
        parts.push(format!("CONSTRAINT {} CHECK ({})", quote(&check.name), check.lowered));
    }
    parts.extend(table.foreign_keys.iter().map(|fk| foreign_sql(table, fk)));
    let tail = if without_rowid(table) { " WITHOUT ROWID" } else { "" };
    format!("CREATE TABLE {}.{} ({}){tail}", quote(schema), quote(name), parts.join(", "))
}

fn foreign_sql(table: &Table, fk: &ForeignKey) -> String {
    let parents: Vec<String> = fk.parent_columns.iter().map(|c| quote(c)).collect();
    format!(
        "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE {} ON UPDATE {}",
        quote(&fk.name),
        names(table, fk.columns.iter().copied()),
        quote(&fk.parent),
        parents.join(", "),
        action(fk.on_delete),
        action(fk.on_update),
    )
}

fn action(action: FkAction) -> &'static str {
    match action {
        FkAction::NoAction => "NO ACTION",
        FkAction::Restrict => "RESTRICT",
        FkAction::Cascade => "CASCADE",
        FkAction::SetNull => "SET NULL",
        FkAction::SetDefault => "SET DEFAULT",
    }
}

fn names(table: &Table, ids: impl Iterator<Item = u32>) -> String {
    let quoted: Vec<String> = ids.filter_map(|id| table.column_by_id(id)).map(|c| quote(&c.name)).collect();
    quoted.join(", ")
}

/// Index names are unique in a SQLite schema, MySQL's only in their table: so they are made of ids.
pub fn index_name(table: &Table, index: &Index) -> String {
    format!("ix_{:x}_{}", table.id, index.id)
}

/// Does SQLite hold a tree for this index beside the table itself?
pub fn is_stored(table: &Table, index: &Index) -> bool {
    match index.kind {
        IndexKind::Primary => !inline_key(table),
        IndexKind::Unique | IndexKind::Plain => true,
        IndexKind::FullText | IndexKind::Spatial => false,
    }
}

/// CREATE INDEX for one index; `None` where SQLite needs none.
pub fn index_sql(schema: &str, name: &str, table: &Table, index: &Index) -> Option<String> {
    if !is_stored(table, index) {
        return None;
    }
    let unique = index.kind != IndexKind::Plain;
    let parts: Option<Vec<String>> = index.parts.iter().map(|p| part_sql(table, p, unique)).collect();
    Some(format!(
        "CREATE {}INDEX {}.{} ON {} ({})",
        if unique { "UNIQUE " } else { "" },
        quote(schema),
        quote(&index_name(table, index)),
        quote(name),
        parts?.join(", ")
    ))
}

/// A prefix matters for uniqueness; a plain index holds the whole column instead, because SQLite could not use an index over
/// `substr()` for a comparison of the column.
fn part_sql(table: &Table, part: &KeyPart, unique: bool) -> Option<String> {
    let column = table.column_by_id(part.column)?;
    let mut sql = quote(&column.name);
    if let Some(n) = prefix(table, part).filter(|_| unique) {
        sql = format!("substr({sql}, 1, {n})");
        if let Some(name) = collation(&column.ty) {
            let _ = write!(sql, " COLLATE {}", quote(name));
        }
    }
    if part.descending {
        sql.push_str(" DESC");
    }
    Some(sql)
}

/// Unique indexes other than the key by which rows are found.
pub fn secondary_uniques(table: &Table) -> impl Iterator<Item = &Index> {
    table.indexes.iter().filter(|i| i.kind == IndexKind::Unique)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{column, index, int, table, text};

    #[test]
    fn an_integer_key_is_the_rowid() {
        let t = table("t", vec![column(1, "id", int()), column(2, "b", text("utf8mb4_bin"))], &[1]);
        assert_eq!(
            create_sql("shop", "t", &t),
            r#"CREATE TABLE "shop"."t" ("id" INTEGER PRIMARY KEY NOT NULL, "b" TEXT COLLATE "utf8mb4_bin")"#
        );
        let mut wide = t.clone();
        wide.columns[0].ty = ColumnType {
            unsigned: true,
            ..ColumnType::new(BaseType::BigInt)
        };
        assert_eq!(rowid_key(&wide), None);
        assert!(create_sql("shop", "t", &wide).contains(r#""id" BLOB NOT NULL"#));
    }

    #[test]
    fn keys_without_wide_columns_are_the_tree() {
        let mut t = table("t", vec![column(1, "a", int()), column(2, "b", text("x"))], &[1, 2]);
        assert!(create_sql("s", "t", &t).ends_with(r#"PRIMARY KEY ("a", "b")) WITHOUT ROWID"#));
        t.columns.push(column(3, "long", ColumnType::new(BaseType::LongText)));
        assert!(!without_rowid(&t));
        let primary = t.indexes[0].clone();
        assert_eq!(
            index_sql("s", "t", &t, &primary).as_deref(),
            Some(r#"CREATE UNIQUE INDEX "s"."ix_0_100" ON "t" ("a", "b")"#)
        );
    }

    #[test]
    fn prefixes_count_for_uniqueness_only() {
        let mut t = table("t", vec![column(1, "id", int()), column(2, "b", text("ci"))], &[1]);
        let mut unique = index(5, "u", IndexKind::Unique, &[2]);
        unique.parts[0].prefix = Some(10);
        unique.parts[0].descending = true;
        let mut plain = unique.clone();
        plain.kind = IndexKind::Plain;
        t.indexes.push(unique.clone());
        assert_eq!(
            index_sql("s", "t", &t, &unique).as_deref(),
            Some(r#"CREATE UNIQUE INDEX "s"."ix_0_5" ON "t" (substr("b", 1, 10) COLLATE "ci" DESC)"#)
        );
        assert_eq!(
            index_sql("s", "t", &t, &plain).as_deref(),
            Some(r#"CREATE INDEX "s"."ix_0_5" ON "t" ("b" DESC)"#)
        );
    }
}
