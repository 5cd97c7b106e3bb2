//! Variables: `@@x`, `@x`, and `@x := e` inside of expressions.
//!
//! Promises: a statement that assigns a variable reads its own assignments, in one type that holds for all of them and for what
//! the session had before. Must not know: how values reach the session.

use super::Binder;
use super::value::Ex;
use crate::sql::ast::{Expr, OrderBy};
use crate::sql::error::Result;
use crate::sql::func::convert;
use crate::sql::plan::Arg;
use crate::sql::types::{Coercibility, Ty};

impl Binder<'_> {
    pub(crate) fn system_variable(&mut self, scope: Option<&str>, name: &str) -> Result<Ex> {
        let mut ty = self.scope.vars.system(scope, name)?;
        ty.coercibility = ty.coercibility.max(Coercibility::SysConst);
        let sql = self.arg(Arg::SysVar {
            scope: scope.map(str::to_string),
            name: name.to_string(),
            ty: ty.clone(),
        });
        Ok(Ex::sql(sql, ty))
    }

    pub(crate) fn user_variable(&mut self, name: &str) -> Result<Ex> {
        let own = self.scope.vars.user(name);
        let sql = self.arg(Arg::UserVar {
            name: name.to_string(),
            ty: own.clone(),
        });
        if !assigns(self.scope.text, name) {
            return Ok(Ex::sql(sql, own));
        }
        self.waits = true;
        let ty = self.read_type(name);
        let before = self.in_type(&Ex::sql(sql, own), &ty);
        let name = convert::literal(&name.to_lowercase());
        Ok(Ex::sql(format!("starling_variable({name},{before})"), ty))
    }

    /// The type in which a variable that the statement assigns is read: of what it held and of all assignments known.
    fn read_type(&self, name: &str) -> Ty {
        let own = self.scope.vars.user(name);
        let known = self.assigned.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, ty)| ty);
        let mut types: Vec<&Ty> = vec![&own];
        types.extend(known);
        let mut ty = convert::common(&types);
        if ty.is_null {
            ty = Ty::text(16383, self.scope.collation, true);
        }
        ty.nullable = true;
        ty
    }

    /// `@x := e`
    pub(crate) fn assign_variable(&mut self, name: &str, value: &Expr) -> Result<Ex> {
        let ex = self.bind(value)?;
        let (sql, mut ty) = self.text(&ex);
        if ty.ty.is_integer() {
            // A variable holds the widest integer.
            ty = if ty.ty.unsigned {
                Ty::unsigned(ty.nullable)
            } else {
                Ty::int(ty.nullable)
            };
        }
        self.waits = true;
        if !self.assigned.iter().any(|(n, t)| n.eq_ignore_ascii_case(name) && *t == ty) {
            self.assigned.push((name.to_string(), ty.clone()));
        }
        let to = self.read_type(name);
        let read = if ty.is_null {
            sql.clone()
        } else {
            convert::to_type(&sql, &ty, &to)
        };
        let (name, spec) = (convert::literal(&name.to_lowercase()), convert::literal(&convert::spec(&ty.ty)));
        let sql = if read == sql {
            format!("starling_assign({name},{spec},{sql})")
        } else {
            // Computed once: it may assign something itself.
            let read = convert::to_type("v", &ty, &to);
            format!("(SELECT starling_assign({name},{spec},v,{read}) FROM (SELECT {sql} AS v LIMIT -1 OFFSET 0))")
        };
        let mut out = Ex::sql(sql, ty);
        out.ty.nullable = true;
        Ok(out)
    }

    /// Select expressions that assign are computed in the order in which rows are shown, as MySQL does: the rows are sorted first,
    /// in a query of their own. Gives the block's new FROM, or nothing where the order asks for what is assigned.
    pub(crate) fn sorted_first(&mut self, items: &mut [Ex], order: &[String], rest: &str) -> Option<String> {
        if rest.contains("starling_assign(") {
            // FROM and WHERE assign too, and would not be done before the first row is shown.
            return None;
        }
        let mut terms = Vec::with_capacity(order.len());
        for term in order {
            let digits = term.bytes().take_while(u8::is_ascii_digit).count();
            let position = term[..digits].parse::<usize>().ok();
            let text = match position {
                Some(n) => {
                    let item = items.get(n.checked_sub(1)?)?.clone();
                    let sql = self.stored(&item).0;
                    format!("{}{}", self.ordered(&item, &sql), &term[digits..])
                }
                None => term.clone(),
            };
            if text.contains("starling_assign(") {
                return None;
            }
            terms.push(text);
        }
        let mut used = self.frames.last()?.bare.clone();
        used.sort_unstable();
        used.dedup();
        let qualifier = self.qualifier("sorted");
        let mut columns = Vec::with_capacity(used.len());
        for (n, (source, column)) in used.iter().enumerate() {
            let old = match self.column_ex(*source, *column).code {
                super::value::Code::Sql(sql) => sql,
                _ => return None,
            };
            for item in items.iter_mut() {
                if let super::value::Code::Sql(sql) = &mut item.code {
                    *sql = sql.replace(&old, &format!("{qualifier}.c{n}"));
                }
                item.col = None;
            }
            columns.push(format!("{old} AS c{n}"));
        }
        if columns.is_empty() {
            columns.push("1".into());
        }
        Some(format!(
            " FROM (SELECT {}{rest} ORDER BY {} LIMIT -1 OFFSET 0) AS {qualifier}",
            columns.join(","),
            terms.join(",")
        ))
    }
}

/// Is there an ORDER BY, and an item that assigns?
pub(crate) fn sorts_assigning(items: &[Ex], order: &[OrderBy]) -> bool {
    !order.is_empty()
        && items
            .iter()
            .any(|i| matches!(&i.code, super::value::Code::Sql(sql) if sql.contains("starling_assign(")))
}

/// Does the text assign this variable anywhere? (More than it does harms nothing.)
fn assigns(text: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    text.windows(2).enumerate().filter(|(_, w)| w == b":=").any(|(at, _)| {
        let before = text[..at].trim_ascii_end();
        let before = match before.last() {
            Some(b'`' | b'\'' | b'"') => &before[..before.len() - 1],
            _ => before,
        };
        before.len() >= name.len() && before[before.len() - name.len()..].eq_ignore_ascii_case(name)
    })
}

#[cfg(test)]
mod tests {
    use super::assigns;

    #[test]
    fn assignments_are_seen_in_the_text() {
        assert!(assigns(b"SELECT @a := 1", "a"));
        assert!(assigns(b"SELECT @`A b`:= 1", "a b"));
        assert!(!assigns(b"SELECT @b := @a", "a"));
    }
}
