//! Running SET: expressions are evaluated over the session, the effects that are more than variables carried out.

use starling_log::Value;

use crate::sql::ast::{Expr, SetStatement};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::{self, Level};
use crate::sql::result::Done;
use crate::sql::session::{Inputs, Session};
use crate::sql::types::Ty;
use crate::sql::vars::VarValue;

use super::admin::{value_of, variable_value};
use super::select;
use super::set::{self, Effect, Evaluate};
use super::transaction;

struct Over<'a> {
    session: &'a Session,
    text: &'a [u8],
    inputs: &'a Inputs<'a>,
    effects: Vec<context::Effects>,
}

impl Evaluate for Over<'_> {
    type User = (Value, Ty);
    fn system(&mut self, expr: &Expr) -> Result<VarValue> {
        let (value, ty) = self.user(expr)?;
        Ok(variable_value(&value, &ty))
    }
    fn user(&mut self, expr: &Expr) -> Result<(Value, Ty)> {
        let value = value_of(self.session, self.text, expr, self.inputs)?;
        self.effects.push(context::take_effects());
        Ok(value)
    }
}

/// Names of variables that hold the answers of subqueries while a SET runs; no client can write them.
const ANSWER: char = '\u{1}';

/// Values with subqueries are read as queries are (in their transaction), and stand as variables in the statement then.
async fn answered(session: &mut Session, text: &[u8], list: &[SetStatement], inputs: &Inputs<'_>) -> Result<Vec<SetStatement>> {
    let mut list = list.to_vec();
    for (n, item) in list.iter_mut().enumerate() {
        let (SetStatement::User { value, .. } | SetStatement::System { value, .. }) = item else {
            continue;
        };
        let shape = format!("{value:?}");
        if ["Subquery(", "Exists(", "InQuery {", "Quantified {"]
            .iter()
            .any(|q| shape.contains(q))
        {
            let answer = select::value_by_query(session, text, value, inputs).await?;
            let name = format!("{ANSWER}{n}");
            session.user_vars.insert(name.clone(), answer);
            *value = Expr::UserVar(name);
        }
    }
    Ok(list)
}

pub async fn run(session: &mut Session, text: &[u8], list: &[SetStatement], inputs: &Inputs<'_>) -> Result<Done> {
    let mut vars = session.vars.clone();
    let list = answered(session, text, list, inputs).await?;
    let (effects, inner) = {
        let mut over = Over {
            session,
            text,
            inputs,
            effects: Vec::new(),
        };
        (set::apply(&list, &mut vars, &mut over)?, over.effects)
    };
    inner.into_iter().for_each(|e| session.keep(e));
    session.user_vars.retain(|name, _| !name.starts_with(ANSWER));
    session.vars = vars;
    session.refresh();
    session.track.set(&list);
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
