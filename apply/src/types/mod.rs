//! MySQL's column types, and how their values are stored in SQLite and in the log ("canonical form").
//!
//! | type | canonical storage |
//! |---|---|
//! | signed integers, BIGINT UNSIGNED up to 2^63-1, YEAR, BOOL | INTEGER |
//! | BIGINT UNSIGNED, BIT, SET from 2^63 on | TEXT of 20 digits (`09223372036854775808`): sorts behind all INTEGERs, so order holds |
//! | DECIMAL(p,s) | TEXT, exactly s decimals (`-12.50`), collation STARLING_DECIMAL |
//! | FLOAT, DOUBLE | REAL (FLOAT rounded to 32 bits) |
//! | DATE | TEXT `YYYY-MM-DD` (zero dates legal) |
//! | DATETIME(f), TIMESTAMP(f) | TEXT `YYYY-MM-DD HH:MM:SS[.f digits]`; TIMESTAMP in UTC |
//! | TIME(f) | INTEGER microseconds, signed |
//! | CHAR, VARCHAR, TEXT | TEXT in UTF-8, whatever the declared charset (CHAR without trailing spaces) |
//! | BINARY, VARBINARY, BLOB | BLOB (BINARY padded with zero bytes) |
//! | ENUM | INTEGER, 1-based index (0: the invalid value '') |
//! | SET, BIT | INTEGER bitmask |
//! | JSON | TEXT, normalized as MySQL prints it |
//! | VECTOR(n) | BLOB of little-endian f32 |
//!
//! An INTEGER is accepted wherever a DECIMAL or DOUBLE is read.
//! Must not know: expressions, sessions.

use serde::{Deserialize, Serialize};

pub mod decimal;
pub mod json;
pub mod store;
pub mod temporal;
pub mod text;

/// `decimals` of a computed TIME or DATETIME (never of a column) whose fraction is known only value by value: six digits where there is one,
/// else none (MySQL's NOT_FIXED_DEC).
pub const FLEXIBLE: u8 = 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BaseType {
    TinyInt,
    SmallInt,
    MediumInt,
    Int,
    BigInt,
    Float,
    Double,
    Decimal,
    Bit,
    Year,
    Date,
    Time,
    DateTime,
    Timestamp,
    Char,
    VarChar,
    Binary,
    VarBinary,
    TinyText,
    Text,
    MediumText,
    LongText,
    TinyBlob,
    Blob,
    MediumBlob,
    LongBlob,
    Enum,
    Set,
    Json,
    Vector,
}

/// A column's type. Character types carry a collation name (`utf8mb4_0900_ai_ci`; the charset is its prefix), others `None`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnType {
    pub base: BaseType,
    #[serde(default)]
    pub unsigned: bool,
    #[serde(default)]
    pub zerofill: bool,
    /// Characters for CHAR/VARCHAR, bytes for BINARY/VARBINARY, bits for BIT, digits for DECIMAL, display width for integers
    /// where one was given (only TINYINT(1) and ZEROFILL keep it, as in MySQL 8), dimensions for VECTOR.
    #[serde(default)]
    pub length: Option<u32>,
    /// Scale of DECIMAL, fractional seconds of TIME/DATETIME/TIMESTAMP, decimals of FLOAT(m,d)/DOUBLE(m,d).
    #[serde(default)]
    pub decimals: Option<u8>,
    #[serde(default)]
    pub collation: Option<String>,
    /// ENUM and SET labels.
    #[serde(default)]
    pub labels: Vec<String>,
}

impl ColumnType {
    pub fn new(base: BaseType) -> ColumnType {
        ColumnType {
            base,
            unsigned: false,
            zerofill: false,
            length: None,
            decimals: None,
            collation: None,
            labels: Vec::new(),
        }
    }
    pub fn is_integer(&self) -> bool {
        use BaseType::*;
        matches!(self.base, TinyInt | SmallInt | MediumInt | Int | BigInt)
    }
    pub fn is_character(&self) -> bool {
        use BaseType::*;
        matches!(self.base, Char | VarChar | TinyText | Text | MediumText | LongText)
    }
    pub fn is_binary(&self) -> bool {
        use BaseType::*;
        matches!(self.base, Binary | VarBinary | TinyBlob | Blob | MediumBlob | LongBlob)
    }
    pub fn is_temporal(&self) -> bool {
        use BaseType::*;
        matches!(self.base, Year | Date | Time | DateTime | Timestamp)
    }
}
