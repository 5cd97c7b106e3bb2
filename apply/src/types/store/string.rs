//! Characters, bytes, and what is given by text: ENUM, SET, JSON, VECTOR.

use std::borrow::Cow;

use super::{Assign, Input, StoreError, Stored, input_text, shown, unsigned};
use crate::collate;
use crate::types::json;
use crate::types::{BaseType, ColumnType};

type Outcome<'a> = Result<Stored<'a>, StoreError>;

/// What a column's length counts.
enum Limit {
    Characters(usize),
    Bytes(usize),
}

fn limit(ty: &ColumnType) -> Limit {
    let given = |default: u32| ty.length.unwrap_or(default) as usize;
    match ty.base {
        BaseType::Char => Limit::Characters(given(1)),
        BaseType::VarChar => Limit::Characters(given(65535)),
        BaseType::Binary => Limit::Bytes(given(1)),
        BaseType::VarBinary => Limit::Bytes(given(65535)),
        BaseType::TinyText | BaseType::TinyBlob => Limit::Bytes(255),
        BaseType::Text | BaseType::Blob => Limit::Bytes(65535),
        BaseType::MediumText | BaseType::MediumBlob => Limit::Bytes(16_777_215),
        _ => Limit::Bytes(u32::MAX as usize),
    }
}

/// Where `text` must be cut to fit, or `None` if it fits.
fn cut(text: &[u8], limit: &Limit) -> Option<usize> {
    match *limit {
        Limit::Characters(n) => {
            if text.len() <= n {
                return None;
            }
            // a character starts at every byte that continues none
            text.iter().enumerate().filter(|(_, b)| **b & 0xC0 != 0x80).nth(n).map(|(at, _)| at)
        }
        Limit::Bytes(n) => {
            if text.len() <= n {
                return None;
            }
            let mut at = n;
            while at > 0 && text[at] & 0xC0 == 0x80 {
                at -= 1;
            }
            Some(at)
        }
    }
}

fn shorten(text: Cow<'_, [u8]>, length: usize) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(t) => Cow::Borrowed(&t[..length]),
        Cow::Owned(mut t) => {
            t.truncate(length);
            Cow::Owned(t)
        }
    }
}

fn without_trailing_blanks(text: &[u8]) -> usize {
    text.len() - text.iter().rev().take_while(|b| **b == b' ').count()
}

impl Assign<'_> {
    pub(super) fn characters<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let mut text = match input {
            Input::Text(t) => t,
            other => input_text(&other),
        };
        if let Err(error) = std::str::from_utf8(&text) {
            text = self.not_utf8(text, error.valid_up_to())?;
        }
        if !text.is_ascii() {
            self.representable(ty, &text)?;
        }
        if let Some(at) = cut(&text, &limit(ty)) {
            let only_blanks = text[at..].iter().all(|b| *b == b' ');
            match (only_blanks, ty.base) {
                (true, BaseType::Char) => {}
                (true, BaseType::VarChar) => self.note(),
                _ => self.complain(StoreError::TooLong)?,
            }
            text = shorten(text, at);
        }
        if ty.base == BaseType::Char && text.last() == Some(&b' ') {
            let length = without_trailing_blanks(&text);
            text = shorten(text, length);
        }
        Ok(Stored::Text(text))
    }

    /// Strict: 1366 naming the bytes; else the text up to them.
    fn not_utf8<'a>(&mut self, text: Cow<'a, [u8]>, valid: usize) -> Result<Cow<'a, [u8]>, StoreError> {
        let bad: String = text[valid..]
            .iter()
            .take(6)
            .map(|b| {
                if b.is_ascii_graphic() {
                    (*b as char).to_string()
                } else {
                    format!("\\x{b:02X}")
                }
            })
            .collect();
        let dots = if text.len() - valid > 6 { "..." } else { "" };
        self.complain(StoreError::Incorrect {
            what: "string",
            value: format!("{bad}{dots}"),
        })?;
        Ok(shorten(text, valid))
    }

    /// Characters that the declared charset does not have.
    fn representable(&mut self, ty: &ColumnType, text: &[u8]) -> Result<(), StoreError> {
        let charset = ty.collation.as_deref().map_or("utf8mb4", collate::charset_of);
        if charset == "utf8mb4" {
            return Ok(());
        }
        let text = String::from_utf8_lossy(text);
        let Some((at, c)) = text.char_indices().find(|(_, c)| !collate::has_character(charset, *c)) else {
            return Ok(());
        };
        let value: String = text[at..at + c.len_utf8()].bytes().map(|b| format!("\\x{b:02X}")).collect();
        self.complain(StoreError::Incorrect { what: "string", value })
    }

    pub(super) fn bytes<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let mut bytes = match input {
            Input::Text(t) => t,
            Input::Bytes(b) => Cow::Borrowed(b),
            other => input_text(&other),
        };
        let Limit::Bytes(max) = limit(ty) else {
            return Ok(Stored::Blob(bytes));
        };
        if bytes.len() > max {
            self.complain(StoreError::TooLong)?;
            bytes = shorten(bytes, max);
        }
        if ty.base == BaseType::Binary && bytes.len() < max {
            bytes.to_mut().resize(max, 0);
        }
        Ok(Stored::Blob(bytes))
    }

    pub(super) fn enumeration<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let count = ty.labels.len() as i64;
        let index = match &input {
            Input::Int(v) => Some(*v).filter(|v| (1..=count).contains(v)),
            Input::UInt(v) => i64::try_from(*v).ok().filter(|v| (1..=count).contains(v)),
            Input::Double(v) => Some(v.round() as i64).filter(|v| (1..=count).contains(v)),
            other => {
                let text = input_text(other);
                let text = &text[..without_trailing_blanks(&text)];
                label_index(ty, text).or_else(|| numeric_index(text, count))
            }
        };
        match index {
            Some(index) => Ok(Stored::Int(index)),
            None => {
                self.complain(StoreError::Truncated)?;
                Ok(Stored::Int(0))
            }
        }
    }

    pub(super) fn set<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let all = if ty.labels.len() >= 64 {
            u64::MAX
        } else {
            (1u64 << ty.labels.len()) - 1
        };
        let bits = match &input {
            Input::Int(v) => *v as u64,
            Input::UInt(v) => *v,
            other => {
                let text = input_text(other);
                let mut bits = 0u64;
                let mut unknown = false;
                for part in text.split(|b| *b == b',').filter(|_| !text.is_empty()) {
                    let part = &part[..without_trailing_blanks(part)];
                    match label_index(ty, part) {
                        Some(index) => bits |= 1 << (index - 1),
                        None => unknown = true,
                    }
                }
                match std::str::from_utf8(&text).ok().and_then(|t| t.parse::<u64>().ok()) {
                    Some(number) if unknown && number <= all => bits = number,
                    _ if unknown => self.complain(StoreError::Truncated)?,
                    _ => {}
                }
                bits
            }
        };
        if bits & !all != 0 {
            self.complain(StoreError::Truncated)?;
        }
        Ok(unsigned(bits & all))
    }

    pub(super) fn json<'a>(&mut self, input: Input<'a>) -> Outcome<'a> {
        let text = match input {
            Input::Json(t) => return Ok(Stored::Text(Cow::Borrowed(t))),
            Input::Bytes(_) => return Err(StoreError::BinaryJson),
            Input::Text(t) => t,
            Input::DateTime(_) | Input::Time(_) => {
                let mut out = Vec::new();
                json::write_string(&mut out, &String::from_utf8_lossy(&input_text(&input)));
                return Ok(Stored::Text(Cow::Owned(out)));
            }
            other => return Ok(Stored::Text(input_text(&other))),
        };
        match json::normalize(&text) {
            Ok(normalized) if normalized == *text => Ok(Stored::Text(text)),
            Ok(normalized) => Ok(Stored::Text(Cow::Owned(normalized))),
            // not even non-strict mode stores what is no JSON
            Err(error) => Err(StoreError::InvalidJson {
                message: error.message,
                position: error.position,
            }),
        }
    }

    pub(super) fn vector<'a>(&mut self, ty: &ColumnType, input: Input<'a>) -> Outcome<'a> {
        let bytes = match input {
            Input::Bytes(b) => Cow::Borrowed(b),
            Input::Text(t) => t,
            other => input_text(&other),
        };
        let dimensions = ty.length.unwrap_or(2048) as usize;
        if bytes.is_empty() || bytes.len() % 4 != 0 || bytes.len() / 4 > dimensions {
            return Err(StoreError::Incorrect {
                what: "vector",
                value: shown(&bytes),
            });
        }
        Ok(Stored::Blob(bytes))
    }
}

/// 1-based number of a label, compared in the column's collation.
fn label_index(ty: &ColumnType, text: &[u8]) -> Option<i64> {
    let exact = ty.labels.iter().position(|l| l.as_bytes() == text);
    let found = exact.or_else(|| {
        let collation = ty.collation.as_deref().unwrap_or("utf8mb4_0900_ai_ci");
        let text = std::str::from_utf8(text).ok()?;
        ty.labels.iter().position(|l| collate::compare(collation, l, text).is_eq())
    });
    found.map(|index| index as i64 + 1)
}

/// `'2'` stands for the second label.
fn numeric_index(text: &[u8], count: i64) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (1..=count).contains(&number).then_some(number)
}
