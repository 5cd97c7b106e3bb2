//! Errors as HTTP clients see them: a status, a word, a sentence, as JSON.
//!
//! Must not know: why.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// What the handler could not do.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub status: u16,
    /// For programs: stable.
    pub word: &'static str,
    /// For people.
    pub message: String,
    /// More for programs (`oldest` …).
    pub more: Map<String, Value>,
}

impl Failure {
    pub fn new(status: u16, word: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            status,
            word,
            message: message.into(),
            more: Map::new(),
        }
    }
    pub fn bad(message: impl Into<String>) -> Failure {
        Failure::new(400, "bad_request", message)
    }
    pub fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(404, "not_found", message)
    }
    pub fn not_now(message: impl Into<String>) -> Failure {
        Failure::new(503, "not_now", message)
    }
    pub fn internal(message: impl std::fmt::Display) -> Failure {
        Failure::new(500, "internal", message.to_string())
    }
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Failure {
        self.more.insert(key.to_owned(), value.into());
        self
    }
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("error".to_owned(), self.word.into());
        body.insert("message".to_owned(), self.message.as_str().into());
        body.extend(self.more.clone());
        Value::Object(body)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.body())).into_response()
    }
}

/// The parameters of a query, each by name; unknown ones are refused, so a misspelt filter never shows everything.
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub fn parse(query: Option<&str>, known: &[&str]) -> Result<Query, Failure> {
        let mut pairs = Vec::new();
        for pair in query.unwrap_or("").split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                return Err(Failure::bad(format!("unknown parameter '{name}'; known are {}", known.join(", "))));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs })
    }
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    pub fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Failure::bad(format!("{name}: '{text}' is not a whole number")))
        };
        self.get(name).filter(|t| !t.is_empty()).map(parse).transpose()
    }
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Failure> {
        match self.get(name) {
            None => Ok(default),
            Some("true" | "1" | "yes" | "") => Ok(true),
            Some("false" | "0" | "no") => Ok(false),
            Some(other) => Err(Failure::bad(format!("{name}: '{other}' is neither true nor false"))),
        }
    }
}

/// Percent-decoding, and `+` for a space.
fn decode(text: &str) -> Result<String, Failure> {
    let bad = || Failure::bad("the query is not well encoded");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                out.push((high * 16 + low) as u8);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_unknown_names_refused() {
        let query = Query::parse(Some("tables=shop.%2A,a+b&limit=5&follow=false"), &["tables", "limit", "follow"]).unwrap();
        assert_eq!(query.get("tables"), Some("shop.*,a b"));
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert!(!query.flag("follow", true).unwrap());
        assert!(query.flag("tables", true).is_err());
        let refused = Query::parse(Some("tabels=x"), &["tables"]);
        assert!(refused.is_err_and(|f| f.status == 400 && f.message.contains("tabels")));
        assert!(Query::parse(Some("tables=%2"), &["tables"]).is_err());
    }

    #[test]
    fn failures_carry_a_word_and_more() {
        let failure = Failure::new(410, "pruned", "gone").with("oldest", "C");
        let expected = serde_json::json!({"error": "pruned", "message": "gone", "oldest": "C"});
        assert_eq!(failure.body(), expected);
    }
}
