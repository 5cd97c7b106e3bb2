//! Prepared statements: parsed once, bound again only when the catalog, the modes or the parameters' types change.

use std::sync::Arc;

use starling_apply::{BaseType, ColumnType};

use crate::sql::ast::{Parsed, Statement};
use crate::sql::error::{Result, SqlError};
use crate::sql::parse;
use crate::sql::plan::Key;
use crate::sql::result::{Param, PreparedInfo, Sink};
use crate::sql::stmt;
use crate::sql::stmt::origin::{Origin, Slot};
use crate::sql::types::Ty;

use super::{Inputs, Plan, Session, args};

/// A prepared statement, owned by its connection (or by its name).
pub struct Prepared {
    pub text: Arc<[u8]>,
    parsed: Arc<Parsed>,
    /// The plan, what it was made for, and the parameters' types then.
    plan: Option<(Key, Vec<Ty>, Arc<Plan>)>,
    /// The same for a transaction that changed what it reads, or locks it.
    sighted: Slot,
}

impl Prepared {
    /// Parses and describes; 1295 for what cannot be prepared.
    pub fn new(session: &Session, text: &[u8]) -> Result<(Prepared, PreparedInfo)> {
        let mode = session.lex_mode();
        let (parsed, rest) = parse::parse_first(text, mode)?;
        session.refuse_rest(text, rest)?;
        if !preparable(&parsed.statement) {
            return Err(SqlError::new(
                1295,
                "This command is not supported in the prepared statement protocol yet",
            ));
        }
        let params = u16::try_from(parsed.params).map_err(|_| SqlError::new(1390, "Prepared statement contains too many placeholders"))?;
        let columns = stmt::describe(session, text, &parsed)?;
        let prepared = Prepared {
            text: Arc::from(text),
            parsed: Arc::new(parsed),
            plan: None,
            sighted: Slot::default(),
        };
        Ok((prepared, PreparedInfo { params, columns }))
    }
    pub fn params(&self) -> u32 {
        self.parsed.params
    }
    pub async fn run(&mut self, session: &mut Session, params: &[Param], sink: &mut dyn Sink, more: bool) -> Result<()> {
        if params.len() != self.parsed.params as usize {
            return Err(SqlError::new(1210, "Incorrect arguments to EXECUTE"));
        }
        let mode = session.lex_mode();
        let key = session.plan_key(0);
        let types: Vec<Ty> = params.iter().map(type_of).collect();
        let (text, parsed) = (self.text.clone(), self.parsed.clone());
        let literal = |slot: u32| args::literal_at(&text, &parsed.literals, slot, mode);
        let inputs = Inputs { literal: &literal, params };
        if let Some((made_for, with, plan)) = &self.plan
            && *made_for == key
            && same_types(with, &types)
        {
            let plan = plan.clone();
            let origin = Origin::prepared(&text, &parsed, &types, key, &self.sighted);
            return stmt::run_plan(session, &plan, &origin, &inputs, sink, more).await;
        }
        match stmt::plan(session, &text, &parsed, &types)? {
            Some((plan, _)) => {
                let plan = Arc::new(plan);
                self.plan = (!plan.reads_user_variables()).then(|| (key.clone(), types.clone(), plan.clone()));
                let origin = Origin::prepared(&text, &parsed, &types, key, &self.sighted);
                stmt::run_plan(session, &plan, &origin, &inputs, sink, more).await
            }
            None => stmt::run_parsed(session, &text, &parsed, None, &inputs, sink, more).await,
        }
    }
}

/// NULL fits every plan: its type says nothing.
fn same_types(made_with: &[Ty], now: &[Ty]) -> bool {
    made_with.iter().zip(now).all(|(a, b)| a == b || b.is_null)
}

/// The type a client's parameter has in expressions.
fn type_of(param: &Param) -> Ty {
    match param {
        Param::Null => Ty::null(),
        Param::Int(_) => Ty::int(true),
        Param::UInt(_) => Ty::unsigned(true),
        Param::Float(_) => Ty::of(ColumnType::new(BaseType::Float), true),
        Param::Double(_) => Ty::double(true),
        Param::Decimal(text) => {
            let digits = text.bytes().filter(u8::is_ascii_digit).count() as u32;
            let scale = text.split_once('.').map_or(0, |(_, f)| f.len().min(30) as u8);
            // A fixed shape for each scale, so that plans are not made anew for every number of digits.
            Ty::decimal(digits.max(65.min(digits + 20)).min(65), scale, true)
        }
        Param::Text(_) => Ty::text(65_535, "utf8mb4_0900_ai_ci", true),
        Param::Bytes(_) => Ty::binary(65_535, true),
        Param::Date(_) => Ty::temporal(BaseType::Date, 0, true),
        Param::DateTime(text) => Ty::temporal(BaseType::DateTime, if text.contains('.') { 6 } else { 0 }, true),
        Param::Time(micros) => Ty::temporal(BaseType::Time, if micros % 1_000_000 == 0 { 0 } else { 6 }, true),
    }
}

/// What MySQL 8.0 lets a client prepare.
fn preparable(statement: &Statement) -> bool {
    !matches!(
        statement,
        Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate(_)
            | Statement::Use(_)
            | Statement::Begin { .. }
            | Statement::LockTables(_)
            | Statement::UnlockTables
            | Statement::LoadData { .. }
            | Statement::Savepoint(_)
            | Statement::RollbackTo(_)
            | Statement::ReleaseSavepoint(_)
    )
}
