//! The type of an expression: what `bind` gives every node, and what functions are declared with.

use starling_apply::{BaseType, ColumnType};

/// How strongly an expression's collation holds (MySQL's coercibility: lower wins).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coercibility {
    Explicit = 0,
    None = 1,
    Implicit = 2,
    SysConst = 3,
    Coercible = 4,
    Numeric = 5,
    Ignorable = 6,
}

/// Type, nullability and collation strength of an expression. Values of it are in the canonical storage form of `ty`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ty {
    pub ty: ColumnType,
    pub nullable: bool,
    pub coercibility: Coercibility,
    /// The NULL literal (MYSQL_TYPE_NULL).
    pub is_null: bool,
}

impl Ty {
    pub fn of(ty: ColumnType, nullable: bool) -> Ty {
        let coercibility = if ty.collation.is_some() {
            Coercibility::Coercible
        } else {
            Coercibility::Numeric
        };
        Ty {
            ty,
            nullable,
            coercibility,
            is_null: false,
        }
    }
    pub fn null() -> Ty {
        Ty {
            ty: ColumnType::new(BaseType::Binary),
            nullable: true,
            coercibility: Coercibility::Ignorable,
            is_null: true,
        }
    }
    pub fn int(nullable: bool) -> Ty {
        Ty::of(ColumnType::new(BaseType::BigInt), nullable)
    }
    pub fn unsigned(nullable: bool) -> Ty {
        let mut ty = ColumnType::new(BaseType::BigInt);
        ty.unsigned = true;
        Ty::of(ty, nullable)
    }
    pub fn double(nullable: bool) -> Ty {
        Ty::of(ColumnType::new(BaseType::Double), nullable)
    }
    pub fn decimal(precision: u32, scale: u8, nullable: bool) -> Ty {
        let mut ty = ColumnType::new(BaseType::Decimal);
        ty.length = Some(precision);
        ty.decimals = Some(scale);
        Ty::of(ty, nullable)
    }
    /// A character string of at most `length` characters.
    pub fn text(length: u32, collation: &str, nullable: bool) -> Ty {
        let mut ty = ColumnType::new(BaseType::VarChar);
        ty.length = Some(length);
        ty.collation = Some(collation.to_string());
        Ty::of(ty, nullable)
    }
    pub fn binary(length: u32, nullable: bool) -> Ty {
        let mut ty = ColumnType::new(BaseType::VarBinary);
        ty.length = Some(length);
        Ty::of(ty, nullable)
    }
    /// DATE, TIME(f), DATETIME(f).
    pub fn temporal(base: BaseType, decimals: u8, nullable: bool) -> Ty {
        let mut ty = ColumnType::new(base);
        ty.decimals = Some(decimals);
        Ty::of(ty, nullable)
    }
    pub fn json(nullable: bool) -> Ty {
        Ty::of(ColumnType::new(BaseType::Json), nullable)
    }
}
