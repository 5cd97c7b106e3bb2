//! JSON paths: `$.a."b c"[0][last-1][1 to 3].*[*]**.c`.

use starling_apply::types::json::{Json, key_order};

use crate::sql::func::context::Raised;
use crate::sql::func::run::raise;

/// A place in an array: from the front, or from the end (`last` is 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    Front(usize),
    Back(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leg {
    Member(String),
    AnyMember,
    Cell(Index),
    AnyCell,
    Range(Index, Index),
    /// `**`
    Anywhere,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(pub Vec<Leg>);

impl Index {
    /// Its number in an array of `length`; `None` before the front.
    pub fn resolve(self, length: usize) -> Option<usize> {
        match self {
            Index::Front(n) => Some(n),
            Index::Back(n) => length.checked_sub(n + 1),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }
    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }
    fn take(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }
    fn number(&mut self) -> Option<usize> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let value = self.rest()[..digits].parse().ok()?;
        self.at += digits;
        Some(value)
    }
    fn member(&mut self) -> Option<Leg> {
        self.blanks();
        if self.take("*") {
            return Some(Leg::AnyMember);
        }
        if self.rest().starts_with('"') {
            let mut stream = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
            let key = stream.next()?.ok()?;
            let used = stream.byte_offset();
            self.at += used;
            return Some(Leg::Member(key));
        }
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let length: usize = self.rest().chars().take_while(|c| word(*c)).map(char::len_utf8).sum();
        if length == 0 || self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let key = self.rest()[..length].to_string();
        self.at += length;
        Some(Leg::Member(key))
    }
    fn index(&mut self) -> Option<Index> {
        self.blanks();
        if !self.take("last") {
            return self.number().map(Index::Front);
        }
        self.blanks();
        if !self.take("-") {
            return Some(Index::Back(0));
        }
        self.blanks();
        self.number().map(Index::Back)
    }
    fn cell(&mut self) -> Option<Leg> {
        self.blanks();
        let leg = if self.take("*") {
            Leg::AnyCell
        } else {
            let from = self.index()?;
            self.blanks();
            if self.take("to ") {
                Leg::Range(from, self.index()?)
            } else {
                Leg::Cell(from)
            }
        };
        self.blanks();
        self.take("]").then_some(leg)
    }
}

impl Path {
    pub fn parse(text: &str) -> Result<Path, Raised> {
        let mut reader = Reader { text, at: 0 };
        let wrong = |at: usize| {
            raise(
                3143,
                format!("Invalid JSON path expression. The error is around character position {at}."),
            )
        };
        reader.blanks();
        if !reader.take("$") {
            return Err(wrong(reader.at + 1));
        }
        let mut legs = Vec::new();
        loop {
            reader.blanks();
            if reader.rest().is_empty() {
                break;
            }
            let leg = if reader.take("**") {
                Some(Leg::Anywhere)
            } else if reader.take(".") {
                reader.member()
            } else if reader.take("[") {
                reader.cell()
            } else {
                None
            };
            legs.push(leg.ok_or_else(|| wrong(reader.at))?);
        }
        if legs.last() == Some(&Leg::Anywhere) {
            return Err(wrong(text.len()));
        }
        Ok(Path(legs))
    }

    /// More than one value may match.
    pub fn has_wildcard(&self) -> bool {
        self.0
            .iter()
            .any(|l| matches!(l, Leg::AnyMember | Leg::AnyCell | Leg::Range(..) | Leg::Anywhere))
    }

    /// 3149 where a function takes no wildcards.
    pub fn refuse_wildcard(&self) -> Result<(), Raised> {
        if self.has_wildcard() {
            return Err(raise(
                3149,
                "In this situation, path expressions may not contain the * and ** tokens or an array range.",
            ));
        }
        Ok(())
    }

    pub fn find<'a>(&self, document: &'a Json) -> Vec<&'a Json> {
        let mut found = vec![document];
        for leg in &self.0 {
            let mut next = Vec::new();
            for value in found {
                step(value, leg, &mut next);
            }
            found = next;
        }
        found
    }

    /// The one place of a path without wildcards.
    pub fn find_mut<'a>(&self, document: &'a mut Json) -> Option<&'a mut Json> {
        let mut at = document;
        for leg in &self.0 {
            at = step_mut(at, leg)?;
        }
        Some(at)
    }

    /// The path of the parent, and the last leg; `None` for `$`.
    pub fn split(&self) -> Option<(Path, &Leg)> {
        let (last, front) = self.0.split_last()?;
        Some((Path(front.to_vec()), last))
    }
}

fn step<'a>(value: &'a Json, leg: &Leg, out: &mut Vec<&'a Json>) {
    match (leg, value) {
        (Leg::Member(key), Json::Object(members)) => out.extend(members.get(key)),
        (Leg::AnyMember, Json::Object(members)) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by(|a, b| key_order(a.0, b.0));
            out.extend(sorted.into_iter().map(|(_, v)| v));
        }
        (Leg::Cell(index), Json::Array(items)) => out.extend(index.resolve(items.len()).and_then(|i| items.get(i))),
        // a value that is no array counts as an array of itself
        (Leg::Cell(index), other) if index.resolve(1) == Some(0) => out.push(other),
        (Leg::AnyCell, Json::Array(items)) => out.extend(items),
        (Leg::Range(from, to), Json::Array(items)) => {
            let from = from.resolve(items.len()).unwrap_or(0);
            let to = to.resolve(items.len()).map_or(0, |t| (t + 1).min(items.len()));
            out.extend(items.get(from..to).unwrap_or(&[]));
        }
        (Leg::Range(from, to), other) if from.resolve(1) == Some(0) && to.resolve(1).is_some() => out.push(other),
        (Leg::Anywhere, other) => anywhere(other, out),
        _ => {}
    }
}

fn anywhere<'a>(value: &'a Json, out: &mut Vec<&'a Json>) {
    out.push(value);
    match value {
        Json::Array(items) => items.iter().for_each(|v| anywhere(v, out)),
        Json::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by(|a, b| key_order(a.0, b.0));
            sorted.into_iter().for_each(|(_, v)| anywhere(v, out));
        }
        _ => {}
    }
}

fn step_mut<'a>(value: &'a mut Json, leg: &Leg) -> Option<&'a mut Json> {
    match leg {
        Leg::Member(key) => value.as_object_mut()?.get_mut(key),
        Leg::Cell(index) => match value {
            Json::Array(items) => {
                let at = index.resolve(items.len())?;
                items.get_mut(at)
            }
            other => (index.resolve(1) == Some(0)).then_some(other),
        },
        _ => None,
    }
}
