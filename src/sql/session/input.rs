//! Literals and client parameters as inputs of the type conversions.

use std::borrow::Cow;

use starling_apply::types::store::Input;
use starling_log::Value;

use crate::sql::ast::Literal;
use crate::sql::error::Result;
use crate::sql::lower::args as convert;
use crate::sql::plan::How;
use crate::sql::result::Param;
use crate::sql::types::Ty;

/// Digits made for a negated literal have to live as long as the input that borrows them.
pub type Digits = String;

/// A literal (not hexadecimal, not bits), negated or not.
pub fn literal<'a>(literal: &'a Literal, negative: bool, digits: &'a mut Digits) -> Input<'a> {
    match (literal, negative) {
        (Literal::Null, _) => Input::Null,
        (Literal::Bool(v), _) => Input::Int(i64::from(*v)),
        (Literal::Integer(v), false) => unsigned(*v),
        (Literal::Integer(v), true) => match i64::try_from(*v) {
            Ok(v) => Input::Int(-v),
            Err(_) if *v == 1 << 63 => Input::Int(i64::MIN),
            Err(_) => negated(&v.to_string(), digits),
        },
        (Literal::Decimal(text), false) => Input::Decimal(text.as_bytes()),
        (Literal::Decimal(text), true) => negated(text, digits),
        (Literal::Float(v), negative) => Input::Double(if negative { -v } else { *v }),
        (Literal::String { bytes, .. } | Literal::National(bytes), _) => Input::Text(Cow::Borrowed(bytes)),
        (Literal::Hex { bytes, .. } | Literal::Bits { bytes, .. }, _) => Input::Bytes(bytes),
        (Literal::Date(text) | Literal::Timestamp(text) | Literal::Time(text), _) => Input::Text(Cow::Borrowed(text.as_bytes())),
    }
}

fn unsigned<'a>(v: u64) -> Input<'a> {
    i64::try_from(v).map_or(Input::UInt(v), Input::Int)
}

fn negated<'a>(text: &str, digits: &'a mut Digits) -> Input<'a> {
    *digits = format!("-{text}");
    Input::Decimal(digits.as_bytes())
}

/// A parameter; `characters`: bytes are meant as characters (drivers send strings as blobs, too).
pub fn param(param: &Param, characters: bool) -> Input<'_> {
    match param {
        Param::Null => Input::Null,
        Param::Int(v) => Input::Int(*v),
        Param::UInt(v) => unsigned(*v),
        Param::Float(v) => Input::Double(f64::from(*v)),
        Param::Double(v) => Input::Double(*v),
        Param::Decimal(text) => Input::Decimal(text.as_bytes()),
        Param::Text(bytes) => Input::Text(Cow::Borrowed(bytes)),
        Param::Bytes(bytes) if characters => Input::Text(Cow::Borrowed(bytes)),
        Param::Bytes(bytes) => Input::Bytes(bytes),
        Param::Date(text) | Param::DateTime(text) => Input::DateTime(text.as_bytes()),
        Param::Time(micros) => Input::Time(*micros),
    }
}

/// A literal as an argument of type `ty`.
pub fn literal_value(value: &Literal, ty: &Ty, how: How, zone: i32) -> Result<Value> {
    match value {
        Literal::Hex { bytes, .. } | Literal::Bits { bytes, .. } => convert::bits(bytes, ty, how, zone),
        other => convert::value(literal(other, false, &mut Digits::new()), ty, how, zone),
    }
}

/// A parameter as an argument of type `ty` (`None`: as it comes).
pub fn param_value(value: &Param, ty: Option<&Ty>, how: How, zone: i32) -> Result<Value> {
    match ty {
        Some(ty) => convert::value(param(value, !ty.ty.is_binary()), ty, how, zone),
        None => Ok(as_it_comes(value)),
    }
}

fn as_it_comes(value: &Param) -> Value {
    match value {
        Param::Null => Value::Null,
        Param::Int(v) => Value::Int(*v),
        Param::UInt(v) => i64::try_from(*v).map_or_else(|_| Value::Text(format!("{v:020}").into_bytes()), Value::Int),
        Param::Float(v) => Value::Real(f64::from(*v)),
        Param::Double(v) => Value::Real(*v),
        Param::Decimal(text) | Param::Date(text) | Param::DateTime(text) => Value::Text(text.clone().into_bytes()),
        Param::Text(bytes) => Value::Text(bytes.clone()),
        Param::Bytes(bytes) => Value::Blob(bytes.clone()),
        Param::Time(micros) => Value::Int(*micros),
    }
}
