//! A plan's arguments become values: literals and parameters converted, variables read, the session's clock looked at once.

use rusqlite::types::ToSqlOutput;
use rusqlite::types::ValueRef as SqliteRef;
use starling_log::Value;

use crate::sql::ast::{Expr, Literal, Span};
use crate::sql::error::{Result, SqlError};
use crate::sql::lex::LexMode;
use crate::sql::parse;
use crate::sql::plan::{Arg, Context};
use crate::sql::vars;

use super::{Inputs, Session, input};

/// The literal in `slot` of a text that was parsed (not scanned): read again from where it stands.
pub fn literal_at(text: &[u8], spans: &[Span], slot: u32, mode: LexMode) -> Result<Literal> {
    let span = spans.get(slot as usize).ok_or_else(|| SqlError::internal("a literal is missing"))?;
    match parse::parse_expr(&text[span.start as usize..span.end as usize], mode)? {
        Expr::Literal { value, .. } => Ok(value),
        _ => Err(SqlError::internal("a literal is not one")),
    }
}

/// The values of `args`, in order.
pub fn values(session: &Session, args: &[Arg], inputs: &Inputs<'_>) -> Result<Vec<Value>> {
    let mut moment = None;
    args.iter().map(|arg| value(session, arg, inputs, &mut moment)).collect()
}

fn value(session: &Session, arg: &Arg, inputs: &Inputs<'_>, moment: &mut Option<Moment>) -> Result<Value> {
    match arg {
        Arg::Constant(value) => Ok(value.clone()),
        Arg::Slot { slot, ty, how } => input::literal_value(&(inputs.literal)(*slot)?, ty, *how, zone_of(session)),
        Arg::Param { index, ty, how } => {
            let param = inputs
                .params
                .get(*index as usize)
                .ok_or_else(|| SqlError::new(1210, "Incorrect arguments to EXECUTE"))?;
            input::param_value(param, ty.as_ref(), *how, zone_of(session))
        }
        Arg::UserVar { name, .. } => Ok(session.user_vars.get(&name.to_lowercase()).map_or(Value::Null, |(v, _)| v.clone())),
        Arg::SysVar { scope, name, .. } => Ok(vars::stored(&session.vars.read(scope.as_deref(), vars::find(name)?)?)),
        Arg::Context(context) => Ok(context_value(session, context, moment)),
    }
}

fn zone_of(session: &Session) -> i32 {
    zone_seconds(&session.settings().time_zone) as i32
}

/// One statement's time, taken once.
#[derive(Clone, Copy)]
pub struct Moment {
    utc_us: i64,
    zone_us: i64,
}

impl Moment {
    pub fn now(session: &Session) -> Moment {
        let clock_us = session.server.engine.log().clock().now_ms() as i64 * 1000;
        Moment {
            utc_us: session.settings().timestamp_us.unwrap_or(clock_us),
            zone_us: zone_seconds(&session.settings().time_zone) * 1_000_000,
        }
    }
    /// DATETIME text with `decimals` digits of fraction.
    fn datetime(self, utc: bool, decimals: u8) -> Vec<u8> {
        datetime_text(self.utc_us + if utc { 0 } else { self.zone_us }, decimals).into_bytes()
    }
    fn time(self, utc: bool, decimals: u8) -> i64 {
        let micros = (self.utc_us + if utc { 0 } else { self.zone_us }).rem_euclid(86_400_000_000);
        let unit = 10i64.pow(6 - u32::from(decimals.min(6)));
        micros / unit * unit
    }
}

/// Seconds east of UTC of a `time_zone` value (`SYSTEM` is UTC: nodes agree on it).
pub fn zone_seconds(zone: &str) -> i64 {
    let sign = match zone.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return 0,
    };
    let mut parts = zone[1..].split(':').map(|p| p.parse::<i64>().unwrap_or(0));
    sign * (parts.next().unwrap_or(0) * 3600 + parts.next().unwrap_or(0) * 60)
}

/// `YYYY-MM-DD HH:MM:SS[.f]` of microseconds since the epoch.
pub fn datetime_text(micros: i64, decimals: u8) -> String {
    use chrono::{DateTime, Timelike};
    let moment = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let mut text = moment.format("%Y-%m-%d %H:%M:%S").to_string();
    if decimals > 0 {
        let fraction = format!(".{:06}", moment.nanosecond() / 1000);
        text.push_str(&fraction[..1 + usize::from(decimals.min(6))]);
    }
    text
}

fn context_value(session: &Session, context: &Context, moment: &mut Option<Moment>) -> Value {
    let now = *moment.get_or_insert_with(|| Moment::now(session));
    let text = |t: &str| Value::Text(t.as_bytes().to_vec());
    match context {
        Context::Now(f) => Value::Text(now.datetime(false, *f)),
        Context::UtcNow(f) => Value::Text(now.datetime(true, *f)),
        Context::CurDate => Value::Text(now.datetime(false, 0)[..10].to_vec()),
        Context::UtcDate => Value::Text(now.datetime(true, 0)[..10].to_vec()),
        Context::CurTime(f) => Value::Int(now.time(false, *f)),
        Context::UtcTime(f) => Value::Int(now.time(true, *f)),
        Context::LastInsertId => vars::stored(&vars::VarValue::UInt(session.last_insert_id)),
        Context::RowCount => Value::Int(session.row_count),
        Context::FoundRows => Value::Int(session.rows_found as i64),
        Context::ConnectionId => Value::Int(i64::from(session.entry.id)),
        Context::Database => session.database.as_deref().map_or(Value::Null, text),
        Context::User => text(&format!("{}@{}", session.identity.user, session.identity.host)),
        Context::CurrentUser => text(&session.identity.account),
        Context::Version => text(&session.server.version()),
    }
}

/// A value as SQLite binds it, without copying.
pub struct Bind<'a>(pub &'a Value);

impl rusqlite::ToSql for Bind<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => SqliteRef::Null,
            Value::Int(v) => SqliteRef::Integer(*v),
            Value::Real(v) => SqliteRef::Real(*v),
            Value::Text(v) => SqliteRef::Text(v),
            Value::Blob(v) => SqliteRef::Blob(v),
        }))
    }
}

/// Binds all values to a statement's parameters.
pub fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> rusqlite::Result<()> {
    // Pieces of one statement share its arguments: a piece takes those it knows (they are numbered explicitly).
    for (i, value) in values.iter().take(statement.parameter_count()).enumerate() {
        statement.raw_bind_parameter(i + 1, Bind(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_text_of_their_precision() {
        assert_eq!(datetime_text(0, 0), "1970-01-01 00:00:00");
        assert_eq!(datetime_text(1_500_000, 3), "1970-01-01 00:00:01.500");
        assert_eq!(zone_seconds("+05:30"), 19_800);
        assert_eq!(zone_seconds("-01:00"), -3_600);
        assert_eq!(zone_seconds("SYSTEM"), 0);
    }
}
