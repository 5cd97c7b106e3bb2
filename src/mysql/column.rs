//! Column definitions: what a result column's type, charset, length, decimals and flags are on the wire.

use opensrv_mysql::{ColumnFlags as Flag, ColumnType as Code};
use starling_apply::{BaseType, ColumnType};

use crate::sql::result::ResultColumn;

use super::wire::put_lenenc_bytes;

/// The binary pseudo-charset's collation.
const BINARY: u16 = 63;
/// "Not fixed": the decimals of floating-point columns.
const NOT_FIXED: u8 = 31;

/// A column as the wire describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    pub code: Code,
    pub charset: u16,
    pub length: u32,
    pub decimals: u8,
    pub flags: Flag,
}

/// The charset of results for a session: its default collation's number and its widest character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultCharset {
    /// `None`: columns keep their own.
    pub collation: Option<u16>,
    pub max_bytes: u32,
}

impl ResultCharset {
    /// By the value of `character_set_results`.
    pub fn named(name: Option<&str>) -> ResultCharset {
        let (collation, max_bytes) = match name {
            None | Some("binary") => (None, 4),
            Some("utf8mb3" | "utf8") => (Some(33), 3),
            Some("latin1") => (Some(8), 1),
            Some("ascii") => (Some(11), 1),
            Some(_) => (Some(255), 4),
        };
        ResultCharset { collation, max_bytes }
    }
}

pub fn describe(column: &ResultColumn, charset: ResultCharset) -> Described {
    let ty = &column.ty;
    if column.null_type {
        return Described {
            code: Code::MYSQL_TYPE_NULL,
            charset: BINARY,
            length: 0,
            decimals: 0,
            flags: Flag::BINARY_FLAG,
        };
    }
    let character = ty.is_character() || matches!(ty.base, BaseType::Enum | BaseType::Set);
    let (collation, max_bytes) = if character { character_set(ty, charset) } else { (BINARY, 1) };
    Described {
        code: code(ty),
        charset: collation,
        length: length(ty, max_bytes),
        decimals: decimals(ty),
        flags: flags(column, character && collation != BINARY),
    }
}

fn character_set(ty: &ColumnType, charset: ResultCharset) -> (u16, u32) {
    let own = if ty.collation.as_deref() == Some("binary") { BINARY } else { 255 };
    (charset.collation.unwrap_or(own), charset.max_bytes)
}

pub fn code(ty: &ColumnType) -> Code {
    use BaseType::*;
    match ty.base {
        TinyInt => Code::MYSQL_TYPE_TINY,
        SmallInt => Code::MYSQL_TYPE_SHORT,
        MediumInt => Code::MYSQL_TYPE_INT24,
        Int => Code::MYSQL_TYPE_LONG,
        BigInt => Code::MYSQL_TYPE_LONGLONG,
        Float => Code::MYSQL_TYPE_FLOAT,
        Double => Code::MYSQL_TYPE_DOUBLE,
        Decimal => Code::MYSQL_TYPE_NEWDECIMAL,
        Bit => Code::MYSQL_TYPE_BIT,
        Year => Code::MYSQL_TYPE_YEAR,
        Date => Code::MYSQL_TYPE_DATE,
        Time => Code::MYSQL_TYPE_TIME,
        DateTime => Code::MYSQL_TYPE_DATETIME,
        Timestamp => Code::MYSQL_TYPE_TIMESTAMP,
        Char | Binary | Enum | Set => Code::MYSQL_TYPE_STRING,
        VarChar | VarBinary => Code::MYSQL_TYPE_VAR_STRING,
        TinyText | Text | MediumText | LongText | TinyBlob | Blob | MediumBlob | LongBlob | Vector => Code::MYSQL_TYPE_BLOB,
        Json => Code::MYSQL_TYPE_JSON,
    }
}

/// Display length in bytes, as MySQL computes it.
fn length(ty: &ColumnType, max_bytes: u32) -> u32 {
    use BaseType::*;
    let fraction = || u32::from(ty.decimals.unwrap_or(0));
    let with_fraction = |base: u32| base + if fraction() > 0 { 1 + fraction() } else { 0 };
    let signed = |signed: u32, unsigned: u32| if ty.unsigned { unsigned } else { signed };
    match ty.base {
        TinyInt => ty.length.unwrap_or(signed(4, 3)),
        SmallInt => ty.length.unwrap_or(signed(6, 5)),
        MediumInt => ty.length.unwrap_or(signed(9, 8)),
        Int => ty.length.unwrap_or(signed(11, 10)),
        BigInt => ty.length.unwrap_or(20),
        Float => ty.length.unwrap_or(12),
        Double => ty.length.unwrap_or(22),
        Decimal => ty.length.unwrap_or(10) + u32::from(fraction() > 0) + u32::from(!ty.unsigned),
        Bit => ty.length.unwrap_or(1),
        Year => 4,
        Date => 10,
        Time => with_fraction(10),
        DateTime | Timestamp => with_fraction(19),
        Char | VarChar => ty.length.unwrap_or(1).saturating_mul(max_bytes),
        Binary | VarBinary => ty.length.unwrap_or(1),
        TinyText => 255 * max_bytes,
        Text => 65_535 * max_bytes,
        MediumText => 16_777_215 * max_bytes,
        TinyBlob => 255,
        Blob => 65_535,
        MediumBlob => 16_777_215,
        LongText | LongBlob | Json => u32::MAX,
        Vector => ty.length.unwrap_or(2048) * 4,
        Enum => ty.labels.iter().map(|l| l.chars().count() as u32).max().unwrap_or(0) * max_bytes,
        Set => {
            ty.labels
                .iter()
                .map(|l| l.chars().count() as u32 + 1)
                .sum::<u32>()
                .saturating_sub(1)
                * max_bytes
        }
    }
}

fn decimals(ty: &ColumnType) -> u8 {
    match ty.base {
        BaseType::Float | BaseType::Double => ty.decimals.unwrap_or(NOT_FIXED),
        BaseType::Decimal | BaseType::Time | BaseType::DateTime | BaseType::Timestamp => ty.decimals.unwrap_or(0),
        _ => 0,
    }
}

fn flags(column: &ResultColumn, character: bool) -> Flag {
    use BaseType::*;
    let ty = &column.ty;
    let blob = matches!(
        ty.base,
        TinyText | Text | MediumText | LongText | TinyBlob | Blob | MediumBlob | LongBlob | Json | Vector
    );
    let key = column.primary_key || column.unique_key || column.multiple_key;
    let binary_collation = ty.collation.as_deref().is_some_and(|c| c.ends_with("_bin"));
    let numeric = ty.is_integer() || matches!(ty.base, Float | Double | Decimal | Year);
    [
        (column.not_null, Flag::NOT_NULL_FLAG),
        (column.primary_key, Flag::PRI_KEY_FLAG),
        (column.unique_key, Flag::UNIQUE_KEY_FLAG),
        (column.multiple_key, Flag::MULTIPLE_KEY_FLAG),
        (key, Flag::PART_KEY_FLAG),
        (blob, Flag::BLOB_FLAG),
        (ty.unsigned || matches!(ty.base, Bit | Year), Flag::UNSIGNED_FLAG),
        (ty.zerofill || ty.base == Year, Flag::ZEROFILL_FLAG),
        (!numeric && ty.base != Bit && (!character || binary_collation), Flag::BINARY_FLAG),
        (ty.base == Enum, Flag::ENUM_FLAG),
        (ty.base == Set, Flag::SET_FLAG),
        (column.auto_increment, Flag::AUTO_INCREMENT_FLAG),
        (ty.base == Timestamp, Flag::TIMESTAMP_FLAG),
        (column.no_default, Flag::NO_DEFAULT_VALUE_FLAG),
        (column.on_update_now, Flag::ON_UPDATE_NOW_FLAG),
        (numeric, Flag::NUM_FLAG),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(Flag::empty(), |all, (_, flag)| all | flag)
}

/// Appends a column definition (protocol 4.1).
pub fn put_definition(out: &mut Vec<u8>, column: &ResultColumn, described: &Described) {
    put_lenenc_bytes(out, b"def");
    for text in [&column.schema, &column.table, &column.org_table, &column.name, &column.org_name] {
        put_lenenc_bytes(out, text.as_bytes());
    }
    out.push(0x0c);
    out.extend_from_slice(&described.charset.to_le_bytes());
    out.extend_from_slice(&described.length.to_le_bytes());
    out.push(described.code as u8);
    out.extend_from_slice(&described.flags.bits().to_le_bytes());
    out.push(described.decimals);
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(ty: ColumnType) -> ResultColumn {
        ResultColumn {
            schema: "shop".into(),
            table: "t".into(),
            org_table: "t".into(),
            name: "c".into(),
            org_name: "c".into(),
            ty,
            null_type: false,
            not_null: true,
            primary_key: false,
            unique_key: false,
            multiple_key: false,
            auto_increment: false,
            no_default: false,
            on_update_now: false,
        }
    }

    fn described(ty: ColumnType) -> Described {
        describe(&column(ty), ResultCharset::named(Some("utf8mb4")))
    }

    #[test]
    fn binary_columns_say_charset_63() {
        let mut ty = ColumnType::new(BaseType::VarBinary);
        ty.length = Some(20);
        let d = described(ty);
        assert_eq!((d.charset, d.length), (63, 20));
        assert!(d.flags.contains(Flag::BINARY_FLAG));
    }

    #[test]
    fn character_columns_count_bytes() {
        let mut ty = ColumnType::new(BaseType::VarChar);
        ty.length = Some(20);
        ty.collation = Some("utf8mb4_0900_ai_ci".into());
        let d = described(ty);
        assert_eq!((d.code, d.charset, d.length), (Code::MYSQL_TYPE_VAR_STRING, 255, 80));
        assert!(!d.flags.contains(Flag::BINARY_FLAG));
    }

    #[test]
    fn decimals_keep_their_scale() {
        let mut ty = ColumnType::new(BaseType::Decimal);
        (ty.length, ty.decimals) = (Some(10), Some(2));
        let d = described(ty);
        assert_eq!((d.length, d.decimals, d.code), (12, 2, Code::MYSQL_TYPE_NEWDECIMAL));
    }
}
