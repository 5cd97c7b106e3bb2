//! Running SET: expressions are evaluated over the session, the effects that are more than variables carried out.

use starling_log::Value;

use crate::sql::ast::{Expr, SetStatement};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::Level;
use crate::sql::result::Done;
use crate::sql::session::{Inputs, Session};
use crate::sql::types::Ty;
use crate::sql::vars::VarValue;

use super::admin::{value_of, variable_value};
use super::set::{self, Effect, Evaluate};
use super::transaction;

struct Over<'a> {
    session: &'a Session,
    text: &'a [u8],
    inputs: &'a Inputs<'a>,
}

impl Evaluate for Over<'_> {
    type User = (Value, Ty);
    fn system(&mut self, expr: &Expr) -> Result<VarValue> {
        let (value, ty) = value_of(self.session, self.text, expr, self.inputs)?;
        Ok(variable_value(&value, &ty))
    }
    fn user(&mut self, expr: &Expr) -> Result<(Value, Ty)> {
        value_of(self.session, self.text, expr, self.inputs)
    }
}

pub async fn run(session: &mut Session, text: &[u8], list: &[SetStatement], inputs: &Inputs<'_>) -> Result<Done> {
    let mut vars = session.vars.clone();
    let effects = set::apply(list, &mut vars, &mut Over { session, text, inputs })?;
    session.vars = vars;
    session.refresh();
    for effect in effects {
        match effect {
            Effect::User { name, value } => {
                session.user_vars.insert(name.to_lowercase(), value);
            }
            Effect::Autocommit(true) => transaction::end(session).await?,
            Effect::Autocommit(false) => {}
            Effect::NextTransaction { isolation, read_only } => transaction::set(session, isolation, read_only)?,
            Effect::LastInsertId(id) => session.last_insert_id = id,
            Effect::InsertId(_) => return Err(SqlError::unsupported("SET insert_id")),
            Effect::Warning(code, message) => session.diagnostics.push(Level::Warning, code, message),
        }
    }
    Ok(Done::default())
}
