//! A column's constant default: converted as an assignment in strict mode would, kept in MySQL's text form.

use std::borrow::Cow;

use starling_apply::Column;
use starling_apply::catalog::DefaultValue;
use starling_apply::types::store::{Input, StoreMode, store};
use starling_apply::types::temporal::DateRules;
use starling_apply::types::text;
use starling_log::Value;

use super::columns::invalid_default;
use crate::sql::ast::Literal;
use crate::sql::bind::SqlMode;
use crate::sql::error::Result;

/// The default `literal` (negated: `-literal`), or 1067.
pub fn default_text(column: &Column, literal: &Literal, negative: bool, mode: SqlMode) -> Result<DefaultValue> {
    let invalid = || invalid_default(&column.name);
    let mut owned = Vec::new();
    let input = input(literal, negative, column, &mut owned).ok_or_else(invalid)?;
    let store_mode = StoreMode {
        strict: true,
        dates: DateRules {
            no_zero_date: mode.no_zero_date,
            no_zero_in_date: mode.no_zero_in_date,
            allow_invalid: mode.allow_invalid_dates,
        },
        zone_seconds: 0,
    };
    let value = store(&column.ty, input, &store_mode, &mut None).map_err(|_| invalid())?;
    match value {
        Value::Null => Ok(DefaultValue::Null),
        Value::Blob(bytes) => Ok(DefaultValue::Bytes(bytes)),
        Value::Int(v) if column.ty.base == starling_apply::BaseType::Bit => Ok(DefaultValue::Literal(v.to_string())),
        Value::Text(t) if column.ty.base == starling_apply::BaseType::Bit => Ok(DefaultValue::Literal(text::parse_u64(&t).to_string())),
        value => {
            let mut out = Vec::new();
            text::write(&mut out, &column.ty, value.as_ref());
            Ok(DefaultValue::Literal(String::from_utf8(out).map_err(|_| invalid())?))
        }
    }
}

/// Big-endian bytes as a number.
fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.len() > 8 {
        return None;
    }
    Some(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

fn input<'a>(literal: &'a Literal, negative: bool, column: &Column, owned: &'a mut Vec<u8>) -> Option<Input<'a>> {
    let ty = &column.ty;
    let textual = ty.is_character() || ty.is_binary() || !ty.labels.is_empty();
    Some(match literal {
        Literal::Null => Input::Null,
        Literal::Bool(v) => Input::Int(i64::from(*v)),
        Literal::Integer(v) if negative => Input::Int(0i64.checked_sub_unsigned(*v)?),
        Literal::Integer(v) => Input::UInt(*v),
        Literal::Decimal(digits) => {
            if negative {
                owned.push(b'-');
            }
            owned.extend_from_slice(digits.as_bytes());
            Input::Decimal(owned)
        }
        Literal::Float(v) => Input::Double(if negative { -v } else { *v }),
        _ if negative => return None,
        Literal::String { bytes, .. } | Literal::National(bytes) => Input::Text(Cow::Borrowed(bytes)),
        Literal::Hex { bytes, .. } | Literal::Bits { bytes, .. } if ty.is_character() => Input::Text(Cow::Borrowed(bytes)),
        Literal::Hex { bytes, .. } | Literal::Bits { bytes, .. } if textual => Input::Bytes(bytes),
        Literal::Hex { bytes, .. } | Literal::Bits { bytes, .. } => Input::UInt(number(bytes)?),
        Literal::Date(t) | Literal::Timestamp(t) => Input::DateTime(t.as_bytes()),
        Literal::Time(t) => Input::Text(Cow::Borrowed(t.as_bytes())),
    })
}
