//! SET in all its forms: values first, all of them; then, if none is wrong, they take effect from left to right.
//!
//! Promises: a SET that fails has set nothing. What is more than a variable's value (the running transaction, user
//! variables, counters) is handed back as [`Effect`]s. Must not know: how expressions run.

use crate::sql::ast::{Expr, Isolation, Literal, Scope, SetStatement, UnaryOp};
use crate::sql::error::{Result, SqlError};
use crate::sql::vars::{self, SessionVars, VarValue, charset_of, default_collation, resolve_charset};

/// Runs an expression for its value.
pub trait Evaluate {
    /// A user variable's value, with its type.
    type User;
    fn system(&mut self, expr: &Expr) -> Result<VarValue>;
    fn user(&mut self, expr: &Expr) -> Result<Self::User>;
}

/// What SET asks of the session beside its variables.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<U> {
    User {
        name: String,
        value: U,
    },
    /// autocommit was switched (on: what is open commits).
    Autocommit(bool),
    /// For the next transaction alone; 1568 inside one.
    NextTransaction {
        isolation: Option<Isolation>,
        read_only: Option<bool>,
    },
    LastInsertId(u64),
    /// What the next AUTO_INCREMENT of this session is to be.
    InsertId(u64),
    /// A warning: code and text.
    Warning(u16, String),
}

/// One assignment, its value known.
enum Step<U> {
    User {
        name: String,
        value: U,
    },
    System {
        global: bool,
        index: usize,
        value: Option<VarValue>,
    },
    Next {
        isolation: Option<Isolation>,
        read_only: Option<bool>,
    },
    /// SET NAMES and SET CHARACTER SET: variables of the session set together.
    Charset(Vec<(&'static str, VarValue)>),
}

pub fn apply<E: Evaluate>(list: &[SetStatement], vars: &mut SessionVars, eval: &mut E) -> Result<Vec<Effect<E::User>>> {
    let mut steps = Vec::with_capacity(list.len());
    for one in list {
        plan(one, vars, eval, &mut steps)?;
    }
    for step in &steps {
        if let Step::System { global, index, value } = step {
            vars.check(*global, *index, value.as_ref())?;
        }
    }
    let mut effects = Vec::new();
    for step in steps {
        take_effect(step, vars, &mut effects)?;
    }
    Ok(effects)
}

fn plan<E: Evaluate>(one: &SetStatement, vars: &SessionVars, eval: &mut E, steps: &mut Vec<Step<E::User>>) -> Result<()> {
    match one {
        SetStatement::User { name, value } => {
            let value = eval.user(value)?;
            steps.push(Step::User { name: name.clone(), value });
        }
        SetStatement::System { scope, name, value } => steps.push(system(*scope, name, value, vars, eval)?),
        SetStatement::Names { charset, collation } => steps.push(Step::Charset(names(charset.as_deref(), collation.as_deref(), vars)?)),
        SetStatement::Charset(charset) => steps.push(Step::Charset(character_set(charset.as_deref(), vars)?)),
        SetStatement::Transaction {
            scope,
            isolation,
            read_only,
        } => transaction(*scope, *isolation, *read_only, steps)?,
        SetStatement::Password { .. } => return Err(SqlError::unsupported("SET PASSWORD")),
        SetStatement::Role => return Err(SqlError::unsupported("SET ROLE")),
    }
    Ok(())
}

fn system<E: Evaluate>(scope: Option<Scope>, name: &str, value: &Expr, vars: &SessionVars, eval: &mut E) -> Result<Step<E::User>> {
    let global = match scope {
        Some(Scope::Persist | Scope::PersistOnly) => return Err(SqlError::unsupported("SET PERSIST")),
        Some(Scope::Global) => true,
        Some(Scope::Session) | None => false,
    };
    let index = vars::find(name)?;
    let value = constant(value, vars, eval)?;
    // without a scope these are of the next transaction alone
    if scope.is_none() {
        match (vars::DEFS[index].name, &value) {
            ("transaction_isolation", Some(given)) => {
                let isolation = isolation_of(&vars.accepted(index, given.clone())?);
                return Ok(Step::Next {
                    isolation,
                    read_only: None,
                });
            }
            ("transaction_read_only", Some(given)) => {
                return Ok(Step::Next {
                    isolation: None,
                    read_only: Some(vars.accepted(index, given.clone())?.is_on()),
                });
            }
            _ => {}
        }
    }
    Ok(Step::System { global, index, value })
}

fn isolation_of(value: &VarValue) -> Option<Isolation> {
    Some(match value.as_str() {
        "READ-UNCOMMITTED" => Isolation::ReadUncommitted,
        "READ-COMMITTED" => Isolation::ReadCommitted,
        "SERIALIZABLE" => Isolation::Serializable,
        "REPEATABLE-READ" => Isolation::RepeatableRead,
        _ => return None,
    })
}

pub fn isolation_text(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadUncommitted => "READ-UNCOMMITTED",
        Isolation::ReadCommitted => "READ-COMMITTED",
        Isolation::RepeatableRead => "REPEATABLE-READ",
        Isolation::Serializable => "SERIALIZABLE",
    }
}

/// The value of a system variable's right side; `None`: DEFAULT. What is written out is taken without running anything.
fn constant<E: Evaluate>(expr: &Expr, vars: &SessionVars, eval: &mut E) -> Result<Option<VarValue>> {
    Ok(Some(match expr {
        Expr::Default(None) => return Ok(None),
        Expr::Literal { value, .. } => match value {
            Literal::Null => VarValue::Null,
            Literal::Bool(v) => VarValue::Int(i64::from(*v)),
            Literal::Integer(v) => VarValue::UInt(*v),
            Literal::Decimal(v) => VarValue::Real(v.parse().unwrap_or(0.0)),
            Literal::Float(v) => VarValue::Real(*v),
            Literal::String { bytes, .. } | Literal::National(bytes) => VarValue::text(&String::from_utf8_lossy(bytes)),
            _ => eval.system(expr)?,
        },
        Expr::Unary {
            op: UnaryOp::Minus,
            expr: inner,
        } => match inner.as_ref() {
            Expr::Literal {
                value: Literal::Integer(v),
                ..
            } => match 0i64.checked_sub_unsigned(*v) {
                Some(v) => VarValue::Int(v),
                None => eval.system(expr)?,
            },
            _ => eval.system(expr)?,
        },
        Expr::SysVar { scope, name } => vars.read(scope.as_deref(), vars::find(name)?)?,
        // a name that is no column anywhere: MySQL takes it as a word
        Expr::Column {
            db: None,
            table: None,
            name,
            ..
        } => VarValue::text(name),
        _ => eval.system(expr)?,
    }))
}

/// SET NAMES: client, connection and results.
fn names(charset: Option<&str>, collation: Option<&str>, vars: &SessionVars) -> Result<Vec<(&'static str, VarValue)>> {
    let globals = vars.globals();
    let (charset, collation) = match charset {
        None => (
            globals.named("character_set_client").as_str().to_string(),
            globals.named("collation_connection").as_str().to_string(),
        ),
        Some(charset) => {
            let charset = resolve_charset(charset)?;
            let collation = match collation {
                None => default_collation(charset).to_string(),
                Some(given) => {
                    let resolved = vars::resolve_collation(given)?;
                    if charset_of(&resolved) != charset {
                        return Err(SqlError::new(
                            1253,
                            format!("COLLATION '{given}' is not valid for CHARACTER SET '{charset}'"),
                        ));
                    }
                    resolved
                }
            };
            (charset.to_string(), collation)
        }
    };
    vars::check_client_charset(&charset)?;
    let value = VarValue::text(&charset);
    Ok(vec![
        ("character_set_client", value.clone()),
        ("character_set_connection", value.clone()),
        ("character_set_results", value),
        ("collation_connection", VarValue::text(&collation)),
    ])
}

/// SET CHARACTER SET: client and results; the connection takes the database's.
fn character_set(charset: Option<&str>, vars: &SessionVars) -> Result<Vec<(&'static str, VarValue)>> {
    let charset = match charset {
        None => vars.globals().named("character_set_client").as_str().to_string(),
        Some(charset) => resolve_charset(charset)?.to_string(),
    };
    vars::check_client_charset(&charset)?;
    let value = VarValue::text(&charset);
    Ok(vec![
        ("character_set_client", value.clone()),
        ("character_set_results", value),
        ("character_set_connection", vars.named("character_set_database")),
        ("collation_connection", vars.named("collation_database")),
    ])
}

fn transaction<U>(scope: Option<Scope>, isolation: Option<Isolation>, read_only: Option<bool>, steps: &mut Vec<Step<U>>) -> Result<()> {
    let Some(scope) = scope else {
        steps.push(Step::Next { isolation, read_only });
        return Ok(());
    };
    let global = scope == Scope::Global;
    if let Some(isolation) = isolation {
        steps.push(Step::System {
            global,
            index: vars::find("transaction_isolation")?,
            value: Some(VarValue::text(isolation_text(isolation))),
        });
    }
    if let Some(read_only) = read_only {
        steps.push(Step::System {
            global,
            index: vars::find("transaction_read_only")?,
            value: Some(VarValue::Int(i64::from(read_only))),
        });
    }
    Ok(())
}

fn take_effect<U>(step: Step<U>, vars: &mut SessionVars, effects: &mut Vec<Effect<U>>) -> Result<()> {
    match step {
        Step::User { name, value } => effects.push(Effect::User { name, value }),
        Step::Next { isolation, read_only } => effects.push(Effect::NextTransaction { isolation, read_only }),
        Step::Charset(list) => {
            for (name, value) in list {
                vars.force(name, value);
            }
        }
        Step::System { global, index, value } => {
            let before = vars.settings().autocommit;
            let warning = if global {
                vars.set_global(index, value)?
            } else {
                vars.set(index, value)?
            };
            if let Some(text) = warning {
                effects.push(Effect::Warning(1292, text));
            }
            if global {
                return Ok(());
            }
            let after = vars.settings().autocommit;
            match vars::DEFS[index].name {
                "autocommit" if before != after => effects.push(Effect::Autocommit(after)),
                "last_insert_id" | "identity" => effects.push(Effect::LastInsertId(vars.session(index).as_u64())),
                "insert_id" => effects.push(Effect::InsertId(vars.session(index).as_u64())),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sql::ast::NO_SLOT;
    use crate::sql::vars::{Facts, Globals};

    struct Never;
    impl Evaluate for Never {
        type User = ();
        fn system(&mut self, _: &Expr) -> Result<VarValue> {
            Err(SqlError::internal("not asked for"))
        }
        fn user(&mut self, _: &Expr) -> Result<()> {
            Ok(())
        }
    }

    fn word(text: &str) -> Expr {
        Expr::Literal {
            value: Literal::String {
                bytes: text.into(),
                charset: None,
            },
            slot: NO_SLOT,
        }
    }
    fn one(name: &str, value: Expr) -> SetStatement {
        SetStatement::System {
            scope: None,
            name: name.into(),
            value,
        }
    }
    fn vars() -> SessionVars {
        SessionVars::new(Arc::new(Globals::new(&Facts::default())))
    }

    #[test]
    fn a_set_that_fails_has_set_nothing() {
        let mut v = vars();
        let list = [one("innodb_lock_wait_timeout", word("7")), one("nonsense", word("1"))];
        assert_eq!(apply(&list, &mut v, &mut Never).unwrap_err().code, 1193);
        let list = [one("sql_notes", word("OFF")), one("autocommit", word("perhaps"))];
        assert_eq!(apply(&list, &mut v, &mut Never).unwrap_err().code, 1231);
        assert!(v.named("sql_notes").is_on());
    }

    #[test]
    fn autocommit_is_told_when_it_changes() {
        let mut v = vars();
        let off = [one("autocommit", word("OFF"))];
        assert_eq!(apply(&off, &mut v, &mut Never).unwrap(), [Effect::Autocommit(false)]);
        assert_eq!(apply(&off, &mut v, &mut Never).unwrap(), []);
    }

    #[test]
    fn names_set_all_three_and_the_collation() {
        let mut v = vars();
        let list = [SetStatement::Names {
            charset: Some("latin1".into()),
            collation: None,
        }];
        apply(&list, &mut v, &mut Never).unwrap();
        assert_eq!(v.named("character_set_results").as_str(), "latin1");
        assert_eq!(v.named("collation_connection").as_str(), "latin1_swedish_ci");
        let bad = [SetStatement::Names {
            charset: Some("utf16".into()),
            collation: None,
        }];
        assert_eq!(apply(&bad, &mut v, &mut Never).unwrap_err().code, 1231);
    }

    #[test]
    fn isolation_without_scope_is_for_the_next_transaction() {
        let mut v = vars();
        let list = [one("transaction_isolation", word("read-committed"))];
        let effects = apply(&list, &mut v, &mut Never).unwrap();
        assert_eq!(
            effects,
            [Effect::NextTransaction {
                isolation: Some(Isolation::ReadCommitted),
                read_only: None
            }]
        );
        assert_eq!(v.named("transaction_isolation").as_str(), "REPEATABLE-READ");
    }
}
