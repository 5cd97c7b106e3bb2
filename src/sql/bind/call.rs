//! Calls: session values, library functions, operators that are functions; aggregates and windows go on to [`super::aggregate`].
//!
//! Promises: 1305 for a function nobody knows, 1582 for a wrong number of arguments; session values are arguments, fixed for
//! the statement. Must not know: how functions compute.

use super::Binder;
use super::emit::wrong_count;
use super::value::{Code, Ex};
use crate::sql::ast::{BinaryOp, Call, Expr, Literal};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::{self, Class};
use crate::sql::lower;
use crate::sql::plan::{Arg, Context};
use crate::sql::types::{Coercibility, Ty};
use starling_apply::BaseType;

impl Binder<'_> {
    pub(crate) fn call(&mut self, call: &Call) -> Result<Ex> {
        if call.db.is_some() {
            return Err(self.no_function(call));
        }
        if call.over.is_some() {
            return self.window_call(call);
        }
        if let Some(ex) = self.session_value(call)? {
            return Ok(ex);
        }
        match call.name.as_str() {
            "values" => return self.values_of(call),
            "grouping" => return self.grouping(call),
            "count" => return self.count(call, None),
            "group_concat" => return self.group_concat(call, None),
            _ => {}
        }
        if call.returning.is_some() {
            return Err(SqlError::unsupported(format!("{}(… RETURNING)", call.name.to_uppercase())));
        }
        let Some(function) = func::lookup(&call.name) else {
            return Err(self.no_function(call));
        };
        match function.class {
            Class::Aggregate => return self.aggregate(function, call, None),
            Class::Window => {
                return Err(SqlError::new(
                    3593,
                    format!("You cannot use the window function '{}' in this context.'", call.name),
                ));
            }
            Class::Scalar => {}
        }
        if func::ask::WAITING.contains(&call.name.as_str()) {
            self.waits = true;
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.bind(arg)?);
        }
        if args.is_empty() && call.name == "unix_timestamp" {
            args.push(self.clock_value("now", 0));
        }
        self.pin_shapes(&call.name, &args);
        let out = self.apply(function, &args)?;
        match &call.charset {
            Some(charset) => Ok(self.cast_to(&out, super::cast::using_type(charset)?)),
            None => Ok(out),
        }
    }

    /// Functions whose result's type depends on a literal: ROUND(x, 2), FORMAT(x, 2) …
    fn pin_shapes(&mut self, name: &str, args: &[Ex]) {
        if !matches!(name, "round" | "truncate" | "extract" | "sec_to_time" | "maketime" | "convert_tz") {
            return;
        }
        for arg in args.iter().skip(if name == "extract" { 0 } else { 1 }) {
            if let Code::Literal { slot, .. } = arg.code {
                self.pin(slot);
            }
        }
    }

    fn no_function(&self, call: &Call) -> SqlError {
        let Some(db) = call.db.as_deref().or(self.scope.database) else {
            return SqlError::new(1305, format!("FUNCTION {} does not exist", call.name));
        };
        SqlError::new(1305, format!("FUNCTION {db}.{} does not exist", call.name))
    }

    pub(crate) fn arithmetic(&mut self, op: BinaryOp, mut left: Ex, mut right: Ex) -> Result<Ex> {
        let name = match op {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::IntDiv => "div",
            BinaryOp::Mod => "mod",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
            BinaryOp::Concat => "concat",
            BinaryOp::JsonExtract => "json_extract",
            BinaryOp::JsonUnquote => {
                let extracted = self.named("json_extract", &[left, right])?;
                return self.named("json_unquote", &[extracted]);
            }
            _ => return Err(SqlError::internal("not an arithmetic operator")),
        };
        if !matches!(op, BinaryOp::Concat | BinaryOp::JsonExtract) {
            self.type_param(&mut left, &right.ty);
            let ty = left.ty.clone();
            self.type_param(&mut right, &ty);
        }
        self.named(name, &[left, right])
    }

    /// An untyped `?` in arithmetic takes its neighbour's type where that is a number.
    fn type_param(&mut self, ex: &mut Ex, other: &Ty) {
        let Code::Param(index) = ex.code else { return };
        if self.scope.params.get(index as usize).is_some() {
            return;
        }
        let ty = if other.ty.is_integer() { Ty::int(true) } else { Ty::double(true) };
        let sql = self.constant(&ex.code, &ty, crate::sql::plan::How::Cast);
        *ex = Ex::sql(sql, ty);
    }

    /// VALUES(col) in ON DUPLICATE KEY UPDATE: the row that was to be inserted.
    fn values_of(&mut self, call: &Call) -> Result<Ex> {
        let [Expr::Column { name, .. }] = call.args.as_slice() else {
            return Err(wrong_count("values"));
        };
        let Some(source) = self.sources.iter().position(|s| super::is_excluded(&s.qualifier)) else {
            return Ok(Ex::sql("NULL", Ty::null()));
        };
        let column = self.sources[source].columns.iter().position(|c| super::scope::same(&c.name, name));
        match column {
            Some(column) => Ok(self.column_ex(source, column)),
            None => Err(SqlError::unknown_column(name, self.clause)),
        }
    }

    /// NOW() and its like: an argument, if `call` is one of them.
    fn session_value(&mut self, call: &Call) -> Result<Option<Ex>> {
        let name = call.name.as_str();
        let clock = matches!(
            name,
            "now"
                | "current_timestamp"
                | "localtime"
                | "localtimestamp"
                | "sysdate"
                | "utc_timestamp"
                | "curtime"
                | "current_time"
                | "utc_time"
        );
        if clock {
            let decimals = self.decimals_argument(call)?;
            return Ok(Some(self.clock_value(name, decimals)));
        }
        let (context, ty) = match name {
            "curdate" | "current_date" => (Context::CurDate, Ty::temporal(BaseType::Date, 0, false)),
            "utc_date" => (Context::UtcDate, Ty::temporal(BaseType::Date, 0, false)),
            "last_insert_id" if call.args.is_empty() => (Context::LastInsertId, Ty::unsigned(false)),
            "row_count" => (Context::RowCount, Ty::int(false)),
            "found_rows" => (Context::FoundRows, Ty::unsigned(false)),
            "connection_id" => (Context::ConnectionId, Ty::unsigned(false)),
            "database" | "schema" => (Context::Database, session_text(64, true)),
            "user" | "session_user" | "system_user" => (Context::User, session_text(288, false)),
            "current_user" => (Context::CurrentUser, session_text(288, false)),
            "version" => (Context::Version, session_text(60, false)),
            _ => return Ok(None),
        };
        if !call.args.is_empty() {
            return Err(wrong_count(name));
        }
        let sql = self.arg(Arg::Context(context));
        Ok(Some(Ex::sql(sql, ty)))
    }

    fn clock_value(&mut self, name: &str, decimals: u8) -> Ex {
        let (context, base) = match name {
            "utc_timestamp" => (Context::UtcNow(decimals), BaseType::DateTime),
            "curtime" | "current_time" => (Context::CurTime(decimals), BaseType::Time),
            "utc_time" => (Context::UtcTime(decimals), BaseType::Time),
            _ => (Context::Now(decimals), BaseType::DateTime),
        };
        let sql = self.arg(Arg::Context(context));
        Ex::sql(sql, Ty::temporal(base, decimals, false))
    }

    /// The fractional digits of NOW(n): part of the type, so the literal is pinned.
    fn decimals_argument(&mut self, call: &Call) -> Result<u8> {
        match call.args.as_slice() {
            [] => Ok(0),
            [
                Expr::Literal {
                    value: Literal::Integer(n),
                    slot,
                },
            ] => {
                self.pin(*slot);
                match u8::try_from(*n) {
                    Ok(n) if n <= 6 => Ok(n),
                    _ => Err(SqlError::new(
                        1426,
                        format!("Too-big precision {n} specified for '{}'. Maximum is 6.", call.name),
                    )),
                }
            }
            _ => Err(wrong_count(&call.name)),
        }
    }

    /// LIKE, REGEXP, SOUNDS LIKE, MEMBER OF: functions of the table.
    pub(crate) fn pattern(&mut self, expr: &Expr) -> Result<Ex> {
        let (ex, negated) = match expr {
            Expr::Like {
                expr,
                pattern,
                escape,
                negated,
            } => {
                let mut args = vec![self.bind(expr)?, self.bind(pattern)?];
                match escape {
                    Some(escape) => args.push(self.bind(escape)?),
                    None if self.scope.mode.no_backslash_escapes => args.push(Ex::sql("''", Ty::text(0, self.scope.collation, false))),
                    None => {}
                }
                (self.named("like", &args)?, *negated)
            }
            Expr::Regexp { expr, pattern, negated } => {
                let args = [self.bind(expr)?, self.bind(pattern)?];
                (self.named("regexp", &args)?, *negated)
            }
            Expr::SoundsLike { left, right } => {
                let (l, r) = (self.bind(left)?, self.bind(right)?);
                let (l, r) = (self.named("soundex", &[l])?, self.named("soundex", &[r])?);
                return self.compare(BinaryOp::Eq, &l, &r);
            }
            Expr::MemberOf { expr, array } => {
                let args = [self.bind(expr)?, self.bind(array)?];
                (self.named("member of", &args)?, false)
            }
            _ => return Err(SqlError::internal("not a pattern")),
        };
        if !negated {
            return Ok(ex);
        }
        let sql = self.stored(&ex).0;
        Ok(Ex::boolean(format!("NOT {sql}"), ex.ty.nullable))
    }

    /// A constant of the server's own, as text in SQLite.
    pub(crate) fn text_constant(&self, value: &str) -> Ex {
        Ex::sql(
            lower::string(value),
            Ty::text(value.chars().count() as u32, self.scope.collation, false),
        )
    }
}

/// Session values in utf8mb3, as MySQL has them: any column's collation is stronger.
fn session_text(length: u32, nullable: bool) -> Ty {
    let mut ty = Ty::text(length, "utf8mb3_general_ci", nullable);
    ty.coercibility = Coercibility::SysConst;
    ty
}
