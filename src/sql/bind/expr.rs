//! Expressions: one arm for each kind of node.
//!
//! Promises: every node has a MySQL type, and SQLite text that yields the canonical form of it; text can stand inside any other
//! (operators are in parentheses). What is not supported is refused by name. Must not know: FROM.

use super::Binder;
use super::value::{Code, Ex, boolean, literal_type, open_type};
use crate::sql::ast::{BinaryOp, CastType, Expr, IntervalUnit, Literal, Query, UnaryOp};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::{self, convert};
use crate::sql::types::{Coercibility, Ty};

/// Deeper nesting ends with MySQL's 1436 rather than with the thread's stack.
pub(crate) const DEPTH_MAX: usize = 200;

/// 1241 unless the operand is a single column.
pub(crate) fn one_column(count: usize) -> Result<()> {
    if count == 1 {
        return Ok(());
    }
    Err(SqlError::new(1241, "Operand should contain 1 column(s)"))
}

impl Binder<'_> {
    pub(crate) fn bind(&mut self, expr: &Expr) -> Result<Ex> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            self.depth -= 1;
            return Err(SqlError::new(
                1436,
                "Thread stack overrun: the expression is nested too deeply. Use fewer levels of parentheses.",
            ));
        }
        let out = self.bind_node(expr);
        self.depth -= 1;
        match &self.rolled {
            Some(_) => out.map(|ex| self.unless_rolled(expr, ex)),
            None => out,
        }
    }

    fn bind_node(&mut self, expr: &Expr) -> Result<Ex> {
        match expr {
            Expr::Literal { value, slot } => Ok(self.literal(value, *slot)),
            Expr::Param(index) => Ok(self.param(*index)),
            Expr::Column { db, table, name, .. } => self.resolve(db.as_deref(), table.as_deref(), name),
            Expr::UserVar(name) => self.user_variable(name),
            Expr::SysVar { scope, name } => self.system_variable(scope.as_deref(), name),
            Expr::Assign { var, value } => self.assign_variable(var, value),
            Expr::Unary { op, expr } => self.unary(*op, expr),
            Expr::Binary { op, left, right } => self.binary(*op, left, right),
            Expr::Quantified {
                op,
                left,
                quantifier,
                query,
            } => self.quantified(*op, left, *quantifier, query),
            Expr::IsNull { expr, negated } => self.is_null(expr, *negated),
            Expr::IsTruth { expr, truth, negated } => self.is_truth(expr, *truth, *negated),
            Expr::Between { expr, low, high, negated } => self.between(expr, low, high, *negated),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::InQuery { expr, query, negated } => self.in_query(expr, query, *negated),
            Expr::Like { .. } | Expr::Regexp { .. } | Expr::SoundsLike { .. } | Expr::MemberOf { .. } => self.pattern(expr),
            Expr::Case { operand, whens, otherwise } => self.case(operand.as_deref(), whens, otherwise.as_deref()),
            Expr::Cast { expr, to } => self.cast(expr, to),
            Expr::ConvertUsing { expr, charset } => self.convert_using(expr, charset),
            Expr::Collate { expr, collation } => self.collate_as(expr, collation),
            Expr::Row(_) => Err(SqlError::new(1241, "Operand should contain 1 column(s)")),
            Expr::Exists(query) => self.exists(query),
            Expr::Subquery(query) => self.scalar(query),
            Expr::Function(call) => self.call(call),
            _ => self.special(expr),
        }
    }

    /// Nodes that name a function of their own: date arithmetic, MATCH, DEFAULT.
    fn special(&mut self, expr: &Expr) -> Result<Ex> {
        match expr {
            Expr::DateArith {
                expr,
                amount,
                unit,
                subtract,
            } => {
                let args = [self.bind(expr)?, self.bind(amount)?, unit_argument(*unit)];
                self.named(func::temporal::interval_function(*unit, *subtract), &args)
            }
            Expr::TimestampAdd { unit, amount, expr } => {
                let args = [self.bind(expr)?, self.bind(amount)?, unit_argument(*unit)];
                self.named(func::temporal::interval_function(*unit, false), &args)
            }
            Expr::TimestampDiff { unit, from, to } => {
                let args = [unit_argument(*unit), self.bind(from)?, self.bind(to)?];
                self.named("timestampdiff", &args)
            }
            Expr::Match { .. } => Err(SqlError::unsupported("MATCH … AGAINST")),
            Expr::Default(_) => Err(SqlError::unsupported("DEFAULT here")),
            Expr::Interval { .. } => Err(SqlError::unsupported("INTERVAL here")),
            Expr::Star => Err(SqlError::unsupported("* here")),
            _ => Err(SqlError::internal("an expression without a rule")),
        }
    }

    /// A function of the table, by name; 1235 when it is not there.
    pub(crate) fn named(&mut self, name: &str, args: &[Ex]) -> Result<Ex> {
        match func::lookup(name) {
            Some(function) => self.apply(function, args),
            None => Err(SqlError::unsupported(name.to_uppercase())),
        }
    }

    fn literal(&mut self, value: &Literal, slot: u32) -> Ex {
        let ty = if self.exact {
            self.seen.push(slot);
            literal_type(value, self.scope.collation).0
        } else {
            open_type(value, self.scope.collation).0
        };
        Ex {
            ty,
            code: Code::Literal {
                value: value.clone(),
                slot,
            },
            col: None,
        }
    }

    fn param(&mut self, index: u32) -> Ex {
        let ty = match self.scope.params.get(index as usize) {
            Some(ty) => ty.clone(),
            None => Ty::text(16383, self.scope.collation, true),
        };
        Ex {
            ty,
            code: Code::Param(index),
            col: None,
        }
    }

    fn is_null(&mut self, expr: &Expr, negated: bool) -> Result<Ex> {
        let ex = self.bind(expr)?;
        let sql = self.stored(&ex).0;
        let not = if negated { "NOT " } else { "" };
        Ok(Ex::boolean(format!("{sql} IS {not}NULL"), false))
    }

    fn is_truth(&mut self, expr: &Expr, truth: Option<bool>, negated: bool) -> Result<Ex> {
        let ex = self.bind(expr)?;
        let sql = self.truth(&ex);
        let not = if negated { "NOT " } else { "" };
        let what = match truth {
            Some(true) => "TRUE",
            Some(false) => "FALSE",
            None => "NULL",
        };
        Ok(Ex::boolean(format!("{sql} IS {not}{what}"), false))
    }

    fn unary(&mut self, op: UnaryOp, expr: &Expr) -> Result<Ex> {
        match op {
            UnaryOp::Plus => self.bind(expr),
            UnaryOp::Not => {
                let ex = self.bind(expr)?;
                let sql = self.truth(&ex);
                Ok(Ex::boolean(format!("NOT {sql}"), ex.ty.nullable))
            }
            UnaryOp::Minus => self.negative(expr),
            UnaryOp::BitNot => {
                let ex = self.bind(expr)?;
                self.named("~", &[ex])
            }
        }
    }

    /// `-9223372036854775808` is a BIGINT although its digits alone are not.
    fn negative(&mut self, expr: &Expr) -> Result<Ex> {
        if let Expr::Literal {
            value: Literal::Integer(value),
            slot,
        } = expr
            && *value == 1 << 63
        {
            self.pin(*slot);
            return Ok(Ex::sql("(-9223372036854775807 - 1)", Ty::int(false)));
        }
        let ex = self.bind(expr)?;
        if let Code::Literal {
            value: Literal::Integer(v),
            ..
        } = &ex.code
            && i64::try_from(*v).is_ok()
        {
            // SQLite's own minus keeps `key = -5` a constant; it cannot overflow here.
            let sql = self.stored(&ex).0;
            return Ok(Ex::sql(format!("(-{sql})"), ex.ty));
        }
        self.named("neg", &[ex])
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Ex> {
        match op {
            BinaryOp::And | BinaryOp::Or => self.chain(op, left, right),
            BinaryOp::Xor => {
                let (l, r) = (self.bind(left)?, self.bind(right)?);
                let nullable = l.ty.nullable || r.ty.nullable;
                let (l, r) = (self.truth(&l), self.truth(&r));
                Ok(Ex::boolean(format!("(NOT {l}) <> (NOT {r})"), nullable))
            }
            _ if super::compare::spelling(op).is_some() => {
                if is_row(left) || is_row(right) {
                    return self.row_compare(op, left, right);
                }
                let (l, r) = (self.bind(left)?, self.bind(right)?);
                self.compare(op, &l, &r)
            }
            _ => self.arithmetic_chain(op, left, right),
        }
    }

    /// `a + b - c …`: the left spine is walked, not recursed into.
    fn arithmetic_chain(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Ex> {
        let mut steps = vec![(op, right)];
        let mut rest = left;
        while let Expr::Binary { op, left, right } = rest
            && super::compare::spelling(*op).is_none()
            && !matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor)
        {
            steps.push((*op, right));
            rest = left;
        }
        let mut out = self.bind(rest)?;
        for (op, right) in steps.into_iter().rev() {
            let right = self.bind(right)?;
            out = self.arithmetic(op, out, right)?;
        }
        Ok(out)
    }

    /// AND and OR: long chains (generated statements have thousands) are walked, not recursed into.
    fn chain(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Ex> {
        let mut operands = vec![right];
        let mut rest = left;
        while let Expr::Binary { op: inner, left, right } = rest
            && *inner == op
        {
            operands.push(right);
            rest = left;
        }
        operands.push(rest);
        let word = if op == BinaryOp::And { " AND " } else { " OR " };
        let mut nullable = false;
        let mut out = String::new();
        for (n, operand) in operands.into_iter().rev().enumerate() {
            let ex = self.bind(operand)?;
            nullable |= ex.ty.nullable;
            if n > 0 {
                out.push_str(word);
            }
            out.push_str(&self.truth(&ex));
        }
        Ok(Ex::boolean(out, nullable))
    }

    fn case(&mut self, operand: Option<&Expr>, whens: &[(Expr, Expr)], otherwise: Option<&Expr>) -> Result<Ex> {
        let operand = operand.map(|e| self.bind(e)).transpose()?;
        let mut conditions = Vec::with_capacity(whens.len());
        let mut values = Vec::with_capacity(whens.len() + 1);
        for (when, then) in whens {
            let when = self.bind(when)?;
            conditions.push(match &operand {
                Some(operand) => {
                    let equal = self.compare(BinaryOp::Eq, operand, &when)?;
                    self.stored(&equal).0
                }
                None => self.truth(&when),
            });
            values.push(self.bind(then)?);
        }
        let fallback = otherwise.map(|e| self.bind(e)).transpose()?;
        let exhaustive = fallback.is_some();
        values.extend(fallback);
        let mut ty = self.common(&values, "case")?;
        ty.nullable |= !exhaustive;
        let mut out = String::from("CASE");
        let mut texts: Vec<String> = values.iter().map(|v| self.in_type(v, &ty)).collect();
        let last = if exhaustive { texts.pop() } else { None };
        for (condition, text) in conditions.iter().zip(&texts) {
            out.push_str(&format!(" WHEN {condition} THEN {text}"));
        }
        if let Some(last) = last {
            out.push_str(&format!(" ELSE {last}"));
        }
        out.push_str(" END");
        Ok(Ex::sql(format!("({out})"), ty))
    }

    /// The type that holds all values (CASE, UNION …); 1267 for collations that do not mix.
    pub(crate) fn common(&self, values: &[Ex], operation: &str) -> Result<Ty> {
        let types: Vec<&Ty> = values.iter().map(|v| &v.ty).collect();
        super::emit::check_collations(&types, operation)?;
        Ok(convert::common(&types))
    }

    fn cast(&mut self, expr: &Expr, to: &CastType) -> Result<Ex> {
        let ex = self.bind(expr)?;
        let to = super::cast::cast_type(to, self.scope.collation)?;
        Ok(self.cast_to(&ex, to))
    }

    fn convert_using(&mut self, expr: &Expr, charset: &str) -> Result<Ex> {
        let ex = self.bind(expr)?;
        let to = super::cast::using_type(charset)?;
        Ok(self.cast_to(&ex, to))
    }

    fn collate_as(&mut self, expr: &Expr, collation: &str) -> Result<Ex> {
        let ex = self.bind(expr)?;
        super::cast::check_collation(collation, &ex.ty)?;
        let (sql, mut ty) = self.text(&ex);
        if ty.is_null {
            return Ok(Ex::sql(sql, ty));
        }
        let sql = convert::to_kind(&sql, &ty, func::Kind::Text).0;
        if ty.ty.collation.is_none() {
            ty = convert::text_type(&ty);
        }
        ty.ty.collation = Some(collation.to_ascii_lowercase());
        ty.coercibility = Coercibility::Explicit;
        let mut out = Ex::sql(sql, ty);
        out.col = ex.col;
        Ok(out)
    }

    pub(crate) fn exists(&mut self, query: &Query) -> Result<Ex> {
        let sql = self.subquery_text(query, None, super::query::Names::Free)?.sql;
        Ok(Ex::sql(format!("EXISTS ({sql})"), boolean(false)))
    }
}

fn is_row(expr: &Expr) -> bool {
    matches!(expr, Expr::Row(_))
}

/// The unit as the function takes it: a text constant.
fn unit_argument(unit: IntervalUnit) -> Ex {
    Ex::sql(format!("'{}'", unit.name()), Ty::text(20, "utf8mb4_0900_ai_ci", false))
}
