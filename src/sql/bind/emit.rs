//! From a bound expression to SQLite text: constants become arguments here, in the type their place asks for.
//!
//! Promises: a literal reaches SQLite only as an argument (or pinned); TIMESTAMP values are in the session's zone wherever an
//! expression reads them. Must not know: which expression asks.

use starling_apply::BaseType;

use super::Binder;
use super::value::{Code, Ex, literal_type};
use crate::sql::ast::{Literal, NO_SLOT};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::convert::{self, Form, form};
use crate::sql::func::{Function, Kind};
use crate::sql::plan::{Arg, How};
use crate::sql::session::input::literal_value;
use crate::sql::types::{Coercibility, Ty};

impl Binder<'_> {
    /// A new argument; session values are passed once.
    pub(crate) fn arg(&mut self, arg: Arg) -> String {
        let shared = matches!(arg, Arg::Context(_) | Arg::SysVar { .. } | Arg::UserVar { .. });
        let held = if shared {
            self.out.args.iter().position(|a| *a == arg)
        } else {
            None
        };
        let index = held.unwrap_or_else(|| {
            self.out.args.push(arg);
            self.out.args.len() - 1
        });
        format!("?{}", index + 1)
    }

    pub(crate) fn pin(&mut self, slot: u32) {
        if slot != u32::MAX && !self.pins.0.contains(&slot) {
            self.pins.0.push(slot);
        }
    }

    /// A constant in the form of `ty`.
    pub(crate) fn constant(&mut self, code: &Code, ty: &Ty, how: How) -> String {
        match code {
            Code::Sql(sql) => sql.clone(),
            Code::Literal {
                value: Literal::Null,
                slot,
            } => {
                self.pin(*slot);
                "NULL".to_string()
            }
            Code::Literal {
                value: Literal::Bool(value),
                slot,
            } if matches!(form(ty), Form::Int | Form::Unsigned) => {
                self.pin(*slot);
                if *value { "1" } else { "0" }.to_string()
            }
            Code::Literal { value, slot: NO_SLOT } => self.made_up(value, ty, how),
            Code::Literal { slot, .. } => self.arg(Arg::Slot {
                slot: *slot,
                ty: ty.clone(),
                how,
            }),
            Code::Param(index) => self.arg(Arg::Param {
                index: *index,
                ty: Some(ty.clone()),
                how,
            }),
        }
    }

    /// A literal that the parser made of a keyword: part of the plan.
    fn made_up(&mut self, value: &Literal, ty: &Ty, how: How) -> String {
        if let (Literal::String { bytes, .. }, Form::Text) = (value, form(ty)) {
            return crate::sql::lower::string(&String::from_utf8_lossy(bytes));
        }
        match literal_value(value, ty, how, 0) {
            Ok(value) => self.arg(Arg::Constant(value)),
            Err(_) => "NULL".to_string(),
        }
    }

    /// The expression in the canonical form of its own type; TIMESTAMP stays in UTC.
    pub(crate) fn stored(&mut self, ex: &Ex) -> (String, Ty) {
        if let Code::Literal { value, slot } = &ex.code
            && literal_type(value, self.scope.collation).1
        {
            self.pin(*slot);
        }
        (self.constant(&ex.code, &ex.ty, How::Cast), ex.ty.clone())
    }

    /// The expression in the canonical form of its own type, as expressions read it: TIMESTAMP as DATETIME of the session's zone.
    pub(crate) fn text(&mut self, ex: &Ex) -> (String, Ty) {
        let (sql, ty) = self.stored(ex);
        if ty.ty.base != BaseType::Timestamp || ty.is_null {
            return (sql, ty);
        }
        let local = Ty::temporal(BaseType::DateTime, ty.ty.decimals.unwrap_or(0), ty.nullable);
        (format!("starling_local({sql})"), local)
    }

    /// The expression in the form of `to`.
    pub(crate) fn in_type(&mut self, ex: &Ex, to: &Ty) -> String {
        if to.is_null {
            return self.stored(ex).0;
        }
        if ex.is_constant() {
            return self.constant(&ex.code, to, How::Cast);
        }
        if to.ty.base == BaseType::Timestamp && ex.ty.ty.base == BaseType::Timestamp {
            return self.stored(ex).0;
        }
        let (sql, ty) = self.text(ex);
        convert::to_type(&sql, &ty, to)
    }

    /// The expression as a condition: true, false or NULL.
    pub(crate) fn truth(&mut self, ex: &Ex) -> String {
        let (sql, ty) = self.number_text(ex);
        convert::to_kind(&sql, &ty, Kind::Bool).0
    }

    /// An argument as arithmetic and numeric functions read it: x'…' and b'…' are numbers there.
    pub(crate) fn number_text(&mut self, ex: &Ex) -> (String, Ty) {
        if let Code::Literal {
            value: Literal::Hex { charset: None, .. } | Literal::Bits { charset: None, .. },
            ..
        } = ex.code
        {
            let ty = Ty::unsigned(false);
            return (self.constant(&ex.code, &ty, How::Cast), ty);
        }
        self.text(ex)
    }

    fn argument(&mut self, ex: &Ex, kind: Kind) -> (String, Ty) {
        if let Code::Param(index) = ex.code
            && self.scope.params.get(index as usize).is_none()
        {
            let ty = param_type(kind, self.scope.collation);
            return (self.constant(&ex.code, &ty, How::Cast), ty);
        }
        match kind {
            Kind::Int | Kind::Double | Kind::Decimal | Kind::Number | Kind::Bool => self.number_text(ex),
            _ => self.text(ex),
        }
    }

    /// A call of `function`: its arguments brought into the form it takes. 1582 for a wrong number of them.
    pub(crate) fn apply(&mut self, function: &'static Function, args: &[Ex]) -> Result<Ex> {
        if !function.takes(args.len()) {
            return Err(wrong_count(function.name));
        }
        let lowered: Vec<(String, Ty)> = args
            .iter()
            .enumerate()
            .map(|(i, ex)| self.argument(ex, function.param(i)))
            .collect();
        let texts: Vec<&Ty> = lowered
            .iter()
            .enumerate()
            .filter(|(i, _)| matches!(function.param(*i), Kind::Text | Kind::Compare | Kind::Common))
            .map(|(_, (_, ty))| ty)
            .collect();
        check_collations(&texts, function.name)?;
        let (sql, ty) = function.lower(&lowered);
        Ok(Ex::sql(sql, ty))
    }
}

/// The type of an untyped `?` in a place of this kind.
fn param_type(kind: Kind, collation: &str) -> Ty {
    match kind {
        Kind::Int | Kind::Bool => Ty::int(true),
        Kind::Number | Kind::Double => Ty::double(true),
        Kind::Decimal => Ty::decimal(65, 30, true),
        Kind::Date => Ty::temporal(BaseType::Date, 0, true),
        Kind::DateTime | Kind::Temporal => Ty::temporal(BaseType::DateTime, 6, true),
        Kind::Time => Ty::temporal(BaseType::Time, 6, true),
        _ => Ty::text(16383, collation, true),
    }
}

pub(crate) fn wrong_count(name: &str) -> SqlError {
    SqlError::new(1582, format!("Incorrect parameter count in the call to native function '{name}'"))
}

fn strength_name(c: Coercibility) -> &'static str {
    match c {
        Coercibility::Explicit => "EXPLICIT",
        Coercibility::None => "NONE",
        Coercibility::Implicit => "IMPLICIT",
        Coercibility::SysConst => "SYSCONST",
        Coercibility::Coercible => "COERCIBLE",
        Coercibility::Numeric => "NUMERIC",
        Coercibility::Ignorable => "IGNORABLE",
    }
}

fn charset(collation: &str) -> &str {
    collation.split('_').next().unwrap_or(collation)
}

/// 1267 where MySQL cannot say which of two collations holds.
pub(crate) fn check_collations(types: &[&Ty], operation: &str) -> Result<()> {
    let mut held: Option<(&str, Coercibility)> = None;
    for ty in types.iter().filter(|t| !t.is_null) {
        let Some(collation) = ty.ty.collation.as_deref() else { continue };
        match held {
            Some((other, strength)) if strength == ty.coercibility && other != collation => {
                let explicit = strength == Coercibility::Explicit;
                let one_charset = charset(other) == charset(collation);
                let settled = !explicit && (!one_charset || other.ends_with("_bin") || collation.ends_with("_bin"));
                if !settled && strength <= Coercibility::Implicit {
                    let (a, b) = (strength_name(strength), strength_name(ty.coercibility));
                    return Err(SqlError::new(
                        1267,
                        format!("Illegal mix of collations ({other},{a}) and ({collation},{b}) for operation '{operation}'"),
                    ));
                }
            }
            Some((_, strength)) if strength <= ty.coercibility => {}
            _ => held = Some((collation, ty.coercibility)),
        }
    }
    Ok(())
}
