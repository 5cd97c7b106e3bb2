//! Comparisons: which form both sides take, and under which collation.
//!
//! Promises: a column beside a constant is never converted, so that its index serves; the collation is the one MySQL would
//! take, written out wherever SQLite would take another. Must not know: subqueries.

use starling_apply::BaseType;

use super::Binder;
use super::emit::check_collations;
use super::value::{Code, Ex, fits};
use crate::sql::ast::{BinaryOp, Expr};
use crate::sql::error::{Result, SqlError};
use crate::sql::func;
use crate::sql::func::convert::{self, Form, form};
use crate::sql::plan::How;
use crate::sql::types::Ty;

/// SQLite's spelling of a comparison.
pub(crate) fn spelling(op: BinaryOp) -> Option<&'static str> {
    Some(match op {
        BinaryOp::Eq => "=",
        BinaryOp::NullSafeEq => "IS",
        BinaryOp::Ne => "<>",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        _ => return None,
    })
}

fn mysql_spelling(op: BinaryOp) -> &'static str {
    if op == BinaryOp::NullSafeEq {
        "<=>"
    } else {
        spelling(op).unwrap_or("=")
    }
}

fn is_equality(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::NullSafeEq)
}

/// ` COLLATE "…"` for values of this type, or nothing.
pub(crate) fn collate(ty: &Ty) -> String {
    match form(ty) {
        Form::Decimal => " COLLATE STARLING_DECIMAL".to_string(),
        Form::Text => match &ty.ty.collation {
            Some(name) if name != "binary" => format!(" COLLATE {}", crate::sql::lower::identifier(name)),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

impl Binder<'_> {
    /// `sql` of type `ty` where its order or equality counts (GROUP BY, ORDER BY, DISTINCT): with its collation unless SQLite knows it.
    pub(crate) fn ordered(&self, ex: &Ex, sql: &str) -> String {
        if self.knows_collation(ex) {
            return sql.to_string();
        }
        let collate = collate(&ex.ty);
        if collate.is_empty() {
            return sql.to_string();
        }
        format!("{sql}{collate}")
    }

    /// Does SQLite itself compare this expression under the collation of its type?
    pub(crate) fn knows_collation(&self, ex: &Ex) -> bool {
        let Some((source, column)) = ex.col else { return false };
        let table = &self.sources[source];
        table.direct && table.columns[column].ty.ty.collation == ex.ty.ty.collation
    }

    /// `left op right`.
    pub(crate) fn compare(&mut self, op: BinaryOp, left: &Ex, right: &Ex) -> Result<Ex> {
        let Some(sqlite) = spelling(op) else {
            return Err(SqlError::internal("not a comparison"));
        };
        let nullable = op != BinaryOp::NullSafeEq && (left.ty.nullable || right.ty.nullable);
        if left.is_null() || right.is_null() {
            let (l, r) = (self.stored(left).0, self.stored(right).0);
            return Ok(Ex::boolean(format!("{l} {sqlite} {r}"), nullable));
        }
        let sides = self.sides(left, right, is_equality(op), mysql_spelling(op))?;
        let (l, r) = (&sides.left, &sides.right);
        if sides.json {
            let nulls = if op == BinaryOp::NullSafeEq {
                format!(" OR ({l} IS NULL AND {r} IS NULL)")
            } else {
                String::new()
            };
            return Ok(Ex::boolean(format!("starling_json_compare({l},{r}) {sqlite} 0{nulls}"), nullable));
        }
        Ok(Ex::boolean(format!("{l}{} {sqlite} {r}", sides.collate), nullable))
    }

    /// Both sides in the form in which they compare, and what follows the left one.
    fn sides(&mut self, left: &Ex, right: &Ex, equality: bool, operation: &str) -> Result<Sides> {
        if !left.is_constant() && fits(&right.code, &left.ty, equality) && self.agrees(&right.code, &left.ty) {
            let (l, r) = (self.stored(left).0, self.constant(&right.code, &left.ty, How::Compare));
            return Ok(Sides::new(l, r, self.suffix(left)));
        }
        if !right.is_constant() && fits(&left.code, &right.ty, equality) && self.agrees(&left.code, &right.ty) {
            let (l, r) = (self.constant(&left.code, &right.ty, How::Compare), self.stored(right).0);
            let collate = if self.knows_collation(right) {
                String::new()
            } else {
                collate(&right.ty)
            };
            return Ok(Sides::new(l, r, collate));
        }
        self.converted(left, right, operation)
    }

    /// A parameter whose client gave it a type follows the neighbour's type only where MySQL compares in that type:
    /// characters beside a number compare as numbers.
    pub(crate) fn agrees(&self, constant: &Code, other: &Ty) -> bool {
        let Code::Param(index) = constant else { return true };
        let Some(given) = self.scope.params.get(*index as usize) else {
            return true;
        };
        match form(other) {
            Form::Text => !matches!(form(given), Form::Int | Form::Unsigned | Form::Real | Form::Decimal),
            Form::Special if other.ty.base == BaseType::Bit => !matches!(form(given), Form::Text),
            _ => true,
        }
    }

    fn suffix(&self, left: &Ex) -> String {
        if self.knows_collation(left) {
            String::new()
        } else {
            collate(&left.ty)
        }
    }

    fn converted(&mut self, left: &Ex, right: &Ex, operation: &str) -> Result<Sides> {
        if left.ty.ty.base == BaseType::Timestamp && right.ty.ty.base == BaseType::Timestamp && left.ty.ty.decimals == right.ty.ty.decimals
        {
            return Ok(Sides::new(self.stored(left).0, self.stored(right).0, String::new()));
        }
        if let Some(sides) = self.stamped(left, right) {
            return Ok(sides);
        }
        let (l, lt) = self.text(left);
        let (r, rt) = self.text(right);
        let same_enum = lt.ty == rt.ty && form(&lt) == Form::Special;
        if same_enum && left.col == right.col {
            return Ok(Sides::new(l, r, String::new()));
        }
        check_collations(&[&lt, &rt], operation)?;
        let ty = self.comparison_type(&lt, &rt);
        if form(&ty) == Form::Json {
            let l = convert::to_kind(&l, &lt, func::Kind::JsonValue).0;
            let r = convert::to_kind(&r, &rt, func::Kind::JsonValue).0;
            return Ok(Sides {
                json: true,
                ..Sides::new(l, r, String::new())
            });
        }
        let suffix = match form(&ty) {
            Form::Text if self.knows_collation(left) && left.ty.ty.collation == ty.ty.collation => String::new(),
            _ => collate(&ty),
        };
        // DECIMALs compare by value, whatever their scales.
        let bring = |sql: &str, own: &Ty| match (form(own), form(&ty)) {
            (Form::Decimal, Form::Decimal) => sql.to_string(),
            _ => convert::to_type(sql, own, &ty),
        };
        let (l, r) = (bring(&l, &lt), bring(&r, &rt));
        Ok(Sides::new(l, r, suffix))
    }

    /// A TIMESTAMP column beside a date or time of no finer fraction: the other side goes to UTC, the column's index serves.
    fn stamped(&mut self, left: &Ex, right: &Ex) -> Option<Sides> {
        let digits = |ex: &Ex| ex.ty.ty.decimals.unwrap_or(0);
        let stamp = |ex: &Ex| ex.col.is_some() && ex.ty.ty.base == BaseType::Timestamp;
        let other = |ex: &Ex| matches!(ex.ty.ty.base, BaseType::Date | BaseType::DateTime) && !ex.ty.is_null;
        let (column, value) = match () {
            () if stamp(left) && other(right) && digits(right) <= digits(left) => (left, right),
            () if stamp(right) && other(left) && digits(left) <= digits(right) => (right, left),
            () => return None,
        };
        let mut local = column.ty.clone();
        local.ty.base = BaseType::DateTime;
        let value = format!("starling_utc({})", self.in_type(value, &local));
        let stored = self.stored(column).0;
        Some(if std::ptr::eq(column, left) {
            Sides::new(stored, value, String::new())
        } else {
            Sides::new(value, stored, String::new())
        })
    }

    fn comparison_type(&self, left: &Ty, right: &Ty) -> Ty {
        let mut ty = convert::comparison(&[left, right]);
        // ENUM and SET beside a number compare by their number.
        let number = |t: &Ty| matches!(form(t), Form::Int | Form::Unsigned);
        let labelled = |t: &Ty| matches!(t.ty.base, BaseType::Enum | BaseType::Set | BaseType::Bit);
        if (number(left) && labelled(right)) || (labelled(left) && number(right)) {
            ty = Ty::unsigned(ty.nullable);
        }
        ty
    }

    /// `e [NOT] BETWEEN low AND high`
    pub(crate) fn between(&mut self, expr: &Expr, low: &Expr, high: &Expr, negated: bool) -> Result<Ex> {
        let (e, lo, hi) = (self.bind(expr)?, self.bind(low)?, self.bind(high)?);
        let nullable = e.ty.nullable || lo.ty.nullable || hi.ty.nullable;
        let not = if negated { "NOT " } else { "" };
        let direct = |b: &Self, c: &Ex| !c.is_null() && fits(&c.code, &e.ty, false) && b.agrees(&c.code, &e.ty);
        if !e.is_constant() && direct(self, &lo) && direct(self, &hi) {
            let sql = self.stored(&e).0;
            let l = self.constant(&lo.code, &e.ty, How::Compare);
            let h = self.constant(&hi.code, &e.ty, How::Compare);
            return Ok(Ex::boolean(format!("{sql}{} {not}BETWEEN {l} AND {h}", self.suffix(&e)), nullable));
        }
        let above = self.compare(BinaryOp::Ge, &e, &lo)?;
        let below = self.compare(BinaryOp::Le, &e, &hi)?;
        let (above, below) = (self.stored(&above).0, self.stored(&below).0);
        let sql = if negated {
            format!("NOT ({above} AND {below})")
        } else {
            format!("{above} AND {below}")
        };
        Ok(Ex::boolean(sql, nullable))
    }

    /// `e [NOT] IN (list)`
    pub(crate) fn in_list(&mut self, expr: &Expr, list: &[Expr], negated: bool) -> Result<Ex> {
        if matches!(expr, Expr::Row(_)) {
            return self.row_in_list(expr, list, negated);
        }
        let e = self.bind(expr)?;
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            items.push(self.bind(item)?);
        }
        let nullable = e.ty.nullable || items.iter().any(|i| i.ty.nullable);
        let not = if negated { "NOT " } else { "" };
        if !e.is_constant()
            && items
                .iter()
                .all(|i| i.is_null() || (fits(&i.code, &e.ty, true) && self.agrees(&i.code, &e.ty)))
        {
            let sql = self.stored(&e).0;
            let mut out = format!("{sql}{} {not}IN (", self.suffix(&e));
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                out.push_str(&self.constant(&item.code, &e.ty, How::Compare));
            }
            out.push(')');
            return Ok(Ex::boolean(out, nullable));
        }
        let mut parts = Vec::with_capacity(items.len());
        for item in &items {
            let ex = self.compare(BinaryOp::Eq, &e, item)?;
            parts.push(self.stored(&ex).0);
        }
        Ok(Ex::boolean(format!("{not}({})", parts.join(" OR ")), nullable))
    }
}

/// Two sides ready to be compared.
struct Sides {
    left: String,
    right: String,
    /// Follows the left one.
    collate: String,
    /// Compared by starling_json_compare.
    json: bool,
}

impl Sides {
    fn new(left: String, right: String, collate: String) -> Sides {
        Sides {
            left,
            right,
            collate,
            json: false,
        }
    }
}
