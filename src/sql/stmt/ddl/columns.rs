//! From a column definition to a column: options, nullability, defaults; the keys and checks written inside it are handed back.
//!
//! Must not know: other columns, the table's keys.

use starling_apply::catalog::{DefaultValue, Generated};
use starling_apply::{BaseType, Column, ColumnType};

use super::Build;
use super::constant;
use super::types::column_type;
use crate::sql::ast::{ColumnDef, ColumnOption, Expr, KeyKind, Literal, UnaryOp};
use crate::sql::bind::Binder;
use crate::sql::error::{Result, SqlError};

/// A column and what its definition says about the table.
pub struct Built {
    pub column: Column,
    /// PRIMARY KEY or UNIQUE among its options.
    pub keys: Vec<KeyKind>,
    /// CHECK among its options: name, expression, enforced, text.
    pub checks: Vec<(Option<String>, Expr, bool, String)>,
    /// GENERATED ALWAYS AS: lowered when the table's columns are known.
    pub generated: Option<Expr>,
    pub explicit_null: bool,
}

/// Longest comment of a column, in characters.
const COMMENT_MAX: usize = 1024;
const NAME_MAX: usize = 64;

pub fn check_name(name: &str) -> Result<()> {
    if name.chars().count() > NAME_MAX {
        return Err(SqlError::new(1059, format!("Identifier name '{name}' is too long")));
    }
    if name.is_empty() || name.ends_with(' ') {
        return Err(SqlError::new(1166, format!("Incorrect column name '{name}'")));
    }
    Ok(())
}

pub fn invalid_default(column: &str) -> SqlError {
    SqlError::new(1067, format!("Invalid default value for '{column}'"))
}

pub fn build(build: &Build<'_>, def: &ColumnDef, table_collation: &str) -> Result<Built> {
    check_name(&def.name)?;
    let collate = def.options.iter().find_map(|o| match o {
        ColumnOption::Collate(name) => Some(name.as_str()),
        _ => None,
    });
    let ty = column_type(&def.name, &def.ty, collate, table_collation, build.scope().mode)?;
    let mut built = Built {
        column: Column {
            id: 0,
            name: def.name.clone(),
            ty,
            nullable: true,
            default: DefaultValue::None,
            auto_increment: false,
            on_update_now: false,
            comment: String::new(),
            generated: None,
            invisible: false,
        },
        keys: Vec::new(),
        checks: Vec::new(),
        generated: None,
        explicit_null: false,
    };
    let mut default = None;
    for option in &def.options {
        apply(build, &mut built, option, &mut default)?;
    }
    finish(build, &mut built, default)?;
    Ok(built)
}

type GivenDefault<'a> = Option<(&'a Expr, bool, String)>;

fn apply<'a>(build: &Build<'_>, built: &mut Built, option: &'a ColumnOption, default: &mut GivenDefault<'a>) -> Result<()> {
    let column = &mut built.column;
    match option {
        ColumnOption::Null => {
            column.nullable = true;
            built.explicit_null = true;
        }
        ColumnOption::NotNull => column.nullable = false,
        ColumnOption::Default { expr, parenthesized, text } => *default = Some((expr, *parenthesized, build.text(*text))),
        ColumnOption::AutoIncrement => column.auto_increment = true,
        ColumnOption::PrimaryKey => built.keys.push(KeyKind::Primary),
        ColumnOption::Unique => built.keys.push(KeyKind::Unique),
        ColumnOption::Comment(comment) => {
            let text = String::from_utf8_lossy(comment).into_owned();
            if text.chars().count() > COMMENT_MAX {
                return Err(SqlError::new(
                    1629,
                    format!("Comment for field '{}' is too long (max = {COMMENT_MAX})", column.name),
                ));
            }
            column.comment = text;
        }
        ColumnOption::OnUpdateNow(decimals) => {
            let fits = matches!(column.ty.base, BaseType::DateTime | BaseType::Timestamp);
            if !fits || decimals.unwrap_or(0) != column.ty.decimals.unwrap_or(0) {
                return Err(SqlError::new(
                    1294,
                    format!("Invalid ON UPDATE clause for '{}' column", column.name),
                ));
            }
            column.on_update_now = true;
        }
        ColumnOption::Generated { expr, stored, text } => {
            column.generated = Some(Generated {
                expr: build.text(*text),
                lowered: String::new(),
                stored: *stored,
            });
            built.generated = Some(expr.clone());
        }
        ColumnOption::Check {
            name,
            expr,
            enforced,
            text,
        } => built.checks.push((name.clone(), expr.clone(), *enforced, build.text(*text))),
        ColumnOption::Visible(visible) => column.invisible = !visible,
        // MySQL reads REFERENCES at a column and makes no foreign key of it
        ColumnOption::References(_) | ColumnOption::Collate(_) | ColumnOption::Ignored => {}
    }
    Ok(())
}

fn finish(build: &Build<'_>, built: &mut Built, default: GivenDefault<'_>) -> Result<()> {
    if built.keys.contains(&KeyKind::Primary) {
        if built.explicit_null {
            return Err(primary_null());
        }
        built.column.nullable = false;
    }
    let column = &mut built.column;
    let incorrect = |column: &Column| SqlError::new(1063, format!("Incorrect column specifier for column '{}'", column.name));
    if column.auto_increment {
        let fits = column.ty.is_integer() || matches!(column.ty.base, BaseType::Float | BaseType::Double);
        if !fits || column.generated.is_some() {
            return Err(incorrect(column));
        }
        if default.is_some() {
            return Err(invalid_default(&column.name));
        }
        column.nullable = false;
        return Ok(());
    }
    if column.generated.is_some() {
        if default.is_some() || column.on_update_now {
            return Err(SqlError::new(1221, "Incorrect usage of DEFAULT and generated column"));
        }
        return Ok(());
    }
    column.default = match default {
        Some((expr, parenthesized, text)) => default_value(build, column, expr, parenthesized, text)?,
        None if column.nullable => DefaultValue::Null,
        None => DefaultValue::None,
    };
    Ok(())
}

pub fn primary_null() -> SqlError {
    SqlError::new(
        1171,
        "All parts of a PRIMARY KEY must be NOT NULL; if you need NULL in a key, use UNIQUE instead",
    )
}

/// DEFAULT …, checked against the column's type.
pub fn default_value(build: &Build<'_>, column: &Column, expr: &Expr, parenthesized: bool, text: String) -> Result<DefaultValue> {
    if parenthesized {
        check_expression(build, expr)?;
        return Ok(DefaultValue::Expr(text));
    }
    let (negative, literal) = match expr {
        Expr::Literal { value, .. } => (false, value),
        Expr::Unary { op: UnaryOp::Minus, expr } => match expr.as_ref() {
            Expr::Literal { value, .. } => (true, value),
            _ => return Err(invalid_default(&column.name)),
        },
        Expr::Unary { op: UnaryOp::Plus, expr } => match expr.as_ref() {
            Expr::Literal { value, .. } => (false, value),
            _ => return Err(invalid_default(&column.name)),
        },
        Expr::Function(call) if call.name == "now" => {
            let decimals = match call.args.as_slice() {
                [] => 0,
                [
                    Expr::Literal {
                        value: Literal::Integer(n),
                        ..
                    },
                ] => *n,
                _ => return Err(invalid_default(&column.name)),
            };
            let fits = matches!(column.ty.base, BaseType::DateTime | BaseType::Timestamp);
            if !fits || decimals != u64::from(column.ty.decimals.unwrap_or(0)) {
                return Err(invalid_default(&column.name));
            }
            return Ok(DefaultValue::Now);
        }
        _ => return Err(invalid_default(&column.name)),
    };
    if *literal == Literal::Null {
        if !column.nullable {
            return Err(invalid_default(&column.name));
        }
        return Ok(DefaultValue::Null);
    }
    if is_large(&column.ty) {
        return Err(SqlError::new(
            1101,
            format!("BLOB, TEXT, GEOMETRY or JSON column '{}' can't have a default value", column.name),
        ));
    }
    constant::default_text(column, literal, negative, build.scope().mode)
}

/// An expression default must mean something now, and without a row: it is run before the row is there.
fn check_expression(build: &Build<'_>, expr: &Expr) -> Result<()> {
    match Binder::new(build.scope()).expr(expr, "default value expression") {
        Ok(_) => Ok(()),
        Err(error) if error.code == 1054 => Err(SqlError::unsupported("DEFAULT (expression over other columns)")),
        Err(error) => Err(error),
    }
}

/// Types that take no constant default, and no key without a prefix length.
pub fn is_large(ty: &ColumnType) -> bool {
    use BaseType::*;
    matches!(
        ty.base,
        TinyText | Text | MediumText | LongText | TinyBlob | Blob | MediumBlob | LongBlob | Json
    )
}
