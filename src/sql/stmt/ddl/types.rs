//! From a type as written to a column's type, with MySQL 8's defaults, limits and errors.
//!
//! Must not know: tables, keys, defaults.

use starling_apply::{BaseType, ColumnType};

use crate::sql::ast::TypeName;
use crate::sql::bind::SqlMode;
use crate::sql::error::{Result, SqlError};
use crate::sql::vars::{bytes_per_char, charset_of, default_collation, resolve_charset, resolve_collation};

/// Bytes of a row's columns, the bound of VARCHAR and VARBINARY.
const ROW_BYTES_MAX: u32 = 65_535;
const CHAR_MAX: u32 = 255;
const SET_LABELS_MAX: usize = 64;
const ENUM_LABELS_MAX: usize = 65_535;
/// As MariaDB and MySQL 9 take them.
const VECTOR_DIMENSIONS_MAX: u32 = 16_383;

/// A collation out of CHARACTER SET and COLLATE clauses; `None` where neither is given. 1253 where they do not agree.
pub fn collation_of(charset: Option<&str>, collation: Option<&str>) -> Result<Option<String>> {
    match (charset, collation) {
        (None, None) => Ok(None),
        (Some(charset), None) => Ok(Some(default_collation(resolve_charset(charset)?).to_string())),
        (None, Some(collation)) => Ok(Some(resolve_collation(collation)?)),
        (Some(charset), Some(collation)) => {
            let (charset, collation) = (resolve_charset(charset)?, resolve_collation(collation)?);
            if charset_of(&collation) != charset {
                return Err(SqlError::new(
                    1253,
                    format!("COLLATION '{collation}' is not valid for CHARACTER SET '{charset}'"),
                ));
            }
            Ok(Some(collation))
        }
    }
}

/// The type of column `column`; `collate`: a COLLATE among the column's options; `table_collation`: the table's default.
pub fn column_type(column: &str, ty: &TypeName, collate: Option<&str>, table_collation: &str, mode: SqlMode) -> Result<ColumnType> {
    use BaseType::*;
    let name = ty.name.as_str();
    let mut out = match name {
        "tinyint" => integer(ty, TinyInt, 3),
        "smallint" => integer(ty, SmallInt, 5),
        "mediumint" => integer(ty, MediumInt, 8),
        "int" => integer(ty, Int, 10),
        "bigint" => integer(ty, BigInt, 20),
        "decimal" => decimal(column, ty)?,
        "float" | "double" => floating(column, ty, mode)?,
        "bit" => bit(column, ty)?,
        "year" => ColumnType::new(Year),
        "date" => ColumnType::new(Date),
        "time" | "datetime" | "timestamp" => temporal(column, ty)?,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            return character(column, ty, collate, table_collation);
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => binary(column, ty)?,
        "enum" | "set" => return labelled(column, ty, collate, table_collation),
        "json" => ColumnType::new(Json),
        "vector" => vector(column, ty)?,
        other => return Err(SqlError::unsupported(format!("type {}", other.to_uppercase()))),
    };
    out.unsigned = ty.unsigned || ty.zerofill;
    out.zerofill = ty.zerofill;
    Ok(out)
}

fn integer(ty: &TypeName, base: BaseType, width: u32) -> ColumnType {
    let mut out = ColumnType::new(base);
    let given = ty.args.first().copied();
    out.length = match given {
        Some(1) if base == BaseType::TinyInt => Some(1),
        _ if ty.zerofill => Some(given.unwrap_or(width)),
        _ => None,
    };
    out
}

fn decimal(column: &str, ty: &TypeName) -> Result<ColumnType> {
    let precision = ty.args.first().copied().unwrap_or(10);
    let precision = if precision == 0 { 10 } else { precision };
    let scale = ty.args.get(1).copied().unwrap_or(0);
    check_digits(column, precision, scale, 65)?;
    let mut out = ColumnType::new(BaseType::Decimal);
    out.length = Some(precision);
    out.decimals = Some(scale as u8);
    Ok(out)
}

fn check_digits(column: &str, precision: u32, scale: u32, precision_max: u32) -> Result<()> {
    if scale > 30 {
        return Err(SqlError::new(
            1425,
            format!("Too big scale {scale} specified for column '{column}'. Maximum is 30."),
        ));
    }
    if precision > precision_max {
        return Err(too_precise(column, precision, precision_max));
    }
    if scale > precision {
        return Err(SqlError::new(
            1427,
            format!("For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '{column}')."),
        ));
    }
    Ok(())
}

fn too_precise(column: &str, precision: u32, max: u32) -> SqlError {
    SqlError::new(
        1426,
        format!("Too-big precision {precision} specified for '{column}'. Maximum is {max}."),
    )
}

fn floating(column: &str, ty: &TypeName, mode: SqlMode) -> Result<ColumnType> {
    let mut base = if ty.name == "float" { BaseType::Float } else { BaseType::Double };
    if ty.name == "double" && mode.real_as_float && ty.args.is_empty() && ty.binary {
        base = BaseType::Float;
    }
    match ty.args.as_slice() {
        [] => Ok(ColumnType::new(base)),
        // FLOAT(p): p only chooses between the two widths
        [p] if base == BaseType::Float => match p {
            0..=24 => Ok(ColumnType::new(BaseType::Float)),
            25..=53 => Ok(ColumnType::new(BaseType::Double)),
            _ => Err(SqlError::new(1063, format!("Incorrect column specifier for column '{column}'"))),
        },
        args => {
            let (precision, scale) = (args[0], args.get(1).copied().unwrap_or(0));
            check_digits(column, precision, scale, 255)?;
            let mut out = ColumnType::new(base);
            out.length = Some(precision);
            out.decimals = Some(scale as u8);
            Ok(out)
        }
    }
}

fn bit(column: &str, ty: &TypeName) -> Result<ColumnType> {
    let bits = ty.args.first().copied().unwrap_or(1);
    match bits {
        0 => Err(SqlError::new(3013, format!("Invalid size for column '{column}'."))),
        1..=64 => {
            let mut out = ColumnType::new(BaseType::Bit);
            out.length = Some(bits);
            Ok(out)
        }
        _ => Err(SqlError::new(
            1439,
            format!("Display width out of range for column '{column}' (max = 64)"),
        )),
    }
}

fn temporal(column: &str, ty: &TypeName) -> Result<ColumnType> {
    let decimals = ty.args.first().copied().unwrap_or(0);
    if decimals > 6 {
        return Err(too_precise(column, decimals, 6));
    }
    let mut out = ColumnType::new(match ty.name.as_str() {
        "time" => BaseType::Time,
        "datetime" => BaseType::DateTime,
        _ => BaseType::Timestamp,
    });
    out.decimals = Some(decimals as u8);
    Ok(out)
}

fn too_long(column: &str, max: u32) -> SqlError {
    SqlError::new(
        1074,
        format!("Column length too big for column '{column}' (max = {max}); use BLOB or TEXT instead"),
    )
}

/// The smallest of the four TEXT or BLOB sizes that holds `bytes`.
fn sized(bytes: u64, text: bool) -> BaseType {
    use BaseType::*;
    let rank = match bytes {
        0..=255 => 0,
        256..=65_535 => 1,
        65_536..=16_777_215 => 2,
        _ => 3,
    };
    if text {
        [TinyText, Text, MediumText, LongText][rank]
    } else {
        [TinyBlob, Blob, MediumBlob, LongBlob][rank]
    }
}

fn type_collation(ty: &TypeName, collate: Option<&str>, table_collation: &str) -> Result<String> {
    let given = collation_of(ty.charset.as_deref(), collate.or(ty.collation.as_deref()))?;
    let collation = given.unwrap_or_else(|| table_collation.to_string());
    if !ty.binary || collation == "binary" {
        return Ok(collation);
    }
    let charset = charset_of(&collation);
    Ok(format!("{charset}_bin"))
}

fn character(column: &str, ty: &TypeName, collate: Option<&str>, table_collation: &str) -> Result<ColumnType> {
    use BaseType::*;
    let collation = type_collation(ty, collate, table_collation)?;
    if collation == "binary" {
        let mut bytes = ty.clone();
        bytes.name = match ty.name.as_str() {
            "char" => "binary".into(),
            "varchar" => "varbinary".into(),
            other => other.replace("text", "blob"),
        };
        return binary(column, &bytes);
    }
    let width = bytes_per_char(charset_of(&collation));
    let mut out = match ty.name.as_str() {
        "char" => {
            let length = ty.args.first().copied().unwrap_or(1);
            if length > CHAR_MAX {
                return Err(too_long(column, CHAR_MAX));
            }
            let mut out = ColumnType::new(Char);
            out.length = Some(length);
            out
        }
        "varchar" => {
            let max = ROW_BYTES_MAX / width;
            let length = ty.args.first().copied().unwrap_or(0);
            if length > max {
                return Err(too_long(column, max));
            }
            let mut out = ColumnType::new(VarChar);
            out.length = Some(length);
            out
        }
        "text" => match ty.args.first() {
            Some(n) if *n > 0 => ColumnType::new(sized(u64::from(*n) * u64::from(width), true)),
            _ => ColumnType::new(Text),
        },
        "tinytext" => ColumnType::new(TinyText),
        "mediumtext" => ColumnType::new(MediumText),
        _ => ColumnType::new(LongText),
    };
    out.collation = Some(collation);
    Ok(out)
}

fn binary(column: &str, ty: &TypeName) -> Result<ColumnType> {
    use BaseType::*;
    let length = ty.args.first().copied();
    Ok(match ty.name.as_str() {
        "binary" => {
            let length = length.unwrap_or(1);
            if length > CHAR_MAX {
                return Err(too_long(column, CHAR_MAX));
            }
            let mut out = ColumnType::new(Binary);
            out.length = Some(length);
            out
        }
        "varbinary" => {
            let length = length.unwrap_or(0);
            if length > ROW_BYTES_MAX {
                return Err(too_long(column, ROW_BYTES_MAX));
            }
            let mut out = ColumnType::new(VarBinary);
            out.length = Some(length);
            out
        }
        "blob" => match length {
            Some(n) if n > 0 => ColumnType::new(sized(u64::from(n), false)),
            _ => ColumnType::new(Blob),
        },
        "tinyblob" => ColumnType::new(TinyBlob),
        "mediumblob" => ColumnType::new(MediumBlob),
        _ => ColumnType::new(LongBlob),
    })
}

fn labelled(column: &str, ty: &TypeName, collate: Option<&str>, table_collation: &str) -> Result<ColumnType> {
    let is_set = ty.name == "set";
    let (kind, max) = if is_set {
        ("SET", SET_LABELS_MAX)
    } else {
        ("ENUM", ENUM_LABELS_MAX)
    };
    if ty.labels.len() > max {
        return Err(SqlError::new(1097, format!("Too many strings for column {column} and {kind}")));
    }
    let mut out = ColumnType::new(if is_set { BaseType::Set } else { BaseType::Enum });
    let collation = type_collation(ty, collate, table_collation)?;
    for label in &ty.labels {
        let text = String::from_utf8_lossy(label).trim_end_matches(' ').to_string();
        if is_set && text.contains(',') {
            return Err(SqlError::new(1367, format!("Illegal set '{text}' value found during parsing")));
        }
        let same = |other: &String| {
            if collation.ends_with("_bin") || collation.ends_with("_cs") || collation == "binary" {
                *other == text
            } else {
                other.to_lowercase() == text.to_lowercase()
            }
        };
        if out.labels.iter().any(same) {
            return Err(SqlError::new(
                1291,
                format!("Column '{column}' has duplicated value '{text}' in {kind}"),
            ));
        }
        out.labels.push(text);
    }
    out.collation = Some(collation);
    Ok(out)
}

fn vector(column: &str, ty: &TypeName) -> Result<ColumnType> {
    let dimensions = ty.args.first().copied().unwrap_or(2048);
    if dimensions == 0 || dimensions > VECTOR_DIMENSIONS_MAX {
        return Err(SqlError::new(
            1074,
            format!("Column length too big for column '{column}' (max = {VECTOR_DIMENSIONS_MAX}); use BLOB or TEXT instead"),
        ));
    }
    let mut out = ColumnType::new(BaseType::Vector);
    out.length = Some(dimensions);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, args: &[u32]) -> Result<ColumnType> {
        let ty = TypeName {
            name: name.into(),
            args: args.to_vec(),
            ..TypeName::default()
        };
        column_type("c", &ty, None, "utf8mb4_0900_ai_ci", SqlMode::default())
    }

    #[test]
    fn limits_have_mysqls_errors() {
        assert_eq!(of("varchar", &[16_384]).unwrap_err().code, 1074);
        assert_eq!(of("varchar", &[16_383]).unwrap().length, Some(16_383));
        assert_eq!(of("char", &[256]).unwrap_err().code, 1074);
        assert_eq!(of("decimal", &[66]).unwrap_err().code, 1426);
        assert_eq!(of("decimal", &[5, 31]).unwrap_err().code, 1425);
        assert_eq!(of("decimal", &[5, 6]).unwrap_err().code, 1427);
        assert_eq!(of("datetime", &[7]).unwrap_err().code, 1426);
        assert_eq!(of("bit", &[65]).unwrap_err().code, 1439);
        assert_eq!(of("geometry", &[]).unwrap_err().code, 1235);
    }

    #[test]
    fn sizes_choose_the_type() {
        assert_eq!(of("text", &[100]).unwrap().base, BaseType::Text);
        assert_eq!(of("text", &[20_000]).unwrap().base, BaseType::MediumText);
        assert_eq!(of("blob", &[10]).unwrap().base, BaseType::TinyBlob);
        assert_eq!(of("float", &[30]).unwrap().base, BaseType::Double);
        assert_eq!(of("int", &[11]).unwrap().length, None);
        assert_eq!(of("tinyint", &[1]).unwrap().length, Some(1));
    }

    #[test]
    fn charset_and_collation_must_agree() {
        assert_eq!(collation_of(Some("latin1"), Some("utf8mb4_bin")).unwrap_err().code, 1253);
        assert_eq!(collation_of(Some("UTF8"), None).unwrap().as_deref(), Some("utf8mb3_general_ci"));
    }
}
