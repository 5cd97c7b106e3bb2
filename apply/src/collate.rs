//! MySQL's collations: order and equality of text, registered with SQLite under MySQL's names.
//!
//! Promises: equal sort keys exactly where a collation calls two texts equal; comparing two ASCII texts allocates nothing; the order of
//! a collation never changes without [`COLLATION_VERSION`] changing (indexes are built on it: a new version rebuilds them).
//!
//! How exact they are: `_bin`, `binary` and ASCII text: exactly as MySQL (but for the places of ^ and ` in `*_unicode_*`). `*_0900_*` and `*_unicode_*` follow the Unicode Collation Algorithm
//! with CLDR's root order of today, MySQL's with the tables of Unicode 9, 4 and 5.2: letters agree, some symbols and later
//! scripts sort elsewhere, and `unicode_ci` here tells characters beyond the BMP apart. `general_ci` and the latin1 ones weigh
//! single characters as MySQL does, its whole BMP.
//! Must not know: columns, SQL.

use std::cmp::Ordering;

mod charset;
mod register;
mod simple;
mod uca;

pub use register::register;

pub use charset::{CHARSETS, Charset, charset_info, charset_of, has_character};

use crate::types::decimal;

/// Of the orders below, all together.
pub const COLLATION_VERSION: u32 = 1;

/// Numeric order of DECIMAL's canonical text.
pub const DECIMAL: &str = "STARLING_DECIMAL";

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Bytes,
    /// Letters alone (`ai_ci`).
    UcaPrimary,
    /// Letters and accents (`as_ci`).
    UcaSecondary,
    /// Letters, accents and case (`as_cs`).
    UcaTertiary,
    General,
    Swedish,
    Latin1General,
    AsciiGeneral,
}

/// A row of SHOW COLLATION.
#[derive(Debug)]
pub struct CollationInfo {
    pub id: u16,
    pub name: &'static str,
    pub charset: &'static str,
    pub pad_space: bool,
    /// The default of its charset.
    pub is_default: bool,
    rule: Rule,
}

const fn row(id: u16, name: &'static str, charset: &'static str, pad_space: bool, rule: Rule) -> CollationInfo {
    CollationInfo {
        id,
        name,
        charset,
        pad_space,
        is_default: false,
        rule,
    }
}

const fn default(mut info: CollationInfo) -> CollationInfo {
    info.is_default = true;
    info
}

/// All collations, in the order of SHOW COLLATION.
pub const COLLATIONS: &[CollationInfo] = &[
    row(65, "ascii_bin", "ascii", true, Rule::Bytes),
    default(row(11, "ascii_general_ci", "ascii", true, Rule::AsciiGeneral)),
    default(row(63, "binary", "binary", false, Rule::Bytes)),
    row(47, "latin1_bin", "latin1", true, Rule::Bytes),
    row(48, "latin1_general_ci", "latin1", true, Rule::Latin1General),
    default(row(8, "latin1_swedish_ci", "latin1", true, Rule::Swedish)),
    row(83, "utf8mb3_bin", "utf8mb3", true, Rule::Bytes),
    default(row(33, "utf8mb3_general_ci", "utf8mb3", true, Rule::General)),
    row(214, "utf8mb3_unicode_520_ci", "utf8mb3", true, Rule::UcaPrimary),
    row(192, "utf8mb3_unicode_ci", "utf8mb3", true, Rule::UcaPrimary),
    default(row(255, "utf8mb4_0900_ai_ci", "utf8mb4", false, Rule::UcaPrimary)),
    row(305, "utf8mb4_0900_as_ci", "utf8mb4", false, Rule::UcaSecondary),
    row(278, "utf8mb4_0900_as_cs", "utf8mb4", false, Rule::UcaTertiary),
    row(309, "utf8mb4_0900_bin", "utf8mb4", false, Rule::Bytes),
    row(46, "utf8mb4_bin", "utf8mb4", true, Rule::Bytes),
    row(45, "utf8mb4_general_ci", "utf8mb4", true, Rule::General),
    row(246, "utf8mb4_unicode_520_ci", "utf8mb4", true, Rule::UcaPrimary),
    row(224, "utf8mb4_unicode_ci", "utf8mb4", true, Rule::UcaPrimary),
];

/// A collation by name, in any case; `utf8_…` stands for `utf8mb3_…`.
pub fn collation_info(name: &str) -> Option<&'static CollationInfo> {
    let find = |name: &str| COLLATIONS.iter().find(|c| c.name.eq_ignore_ascii_case(name));
    find(name).or_else(|| match name.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case("utf8_") => find(&format!("utf8mb3_{}", &name[5..])),
        _ => None,
    })
}

pub fn collation_by_id(id: u16) -> Option<&'static CollationInfo> {
    COLLATIONS.iter().find(|c| c.id == id)
}

impl CollationInfo {
    /// No two different texts are equal (but for trailing spaces).
    pub fn is_binary(&self) -> bool {
        self.rule == Rule::Bytes
    }
    pub fn compare(&self, left: &str, right: &str) -> Ordering {
        let (mut left, mut right) = (left, right);
        if self.pad_space && self.rule != Rule::Bytes {
            left = left.trim_end_matches(' ');
            right = right.trim_end_matches(' ');
        }
        match self.rule {
            Rule::Bytes => compare_bytes(left.as_bytes(), right.as_bytes(), self.pad_space),
            Rule::UcaPrimary | Rule::UcaSecondary | Rule::UcaTertiary => uca::compare(self.strength(), left, right),
            rule => simple::compare(weight(rule), left, right),
        }
    }
    pub fn equal(&self, left: &str, right: &str) -> bool {
        left == right || self.compare(left, right).is_eq()
    }
    /// Equal keys exactly for equal texts; keys sort as the texts do.
    pub fn sort_key(&self, text: &str) -> Vec<u8> {
        let text = if self.pad_space { text.trim_end_matches(' ') } else { text };
        match self.rule {
            Rule::Bytes => text.as_bytes().to_vec(),
            Rule::UcaPrimary | Rule::UcaSecondary | Rule::UcaTertiary => uca::sort_key(self.strength(), text),
            rule => simple::sort_key(weight(rule), text),
        }
    }
    fn strength(&self) -> uca::Strength {
        match self.rule {
            Rule::UcaSecondary => uca::Strength::Secondary,
            Rule::UcaTertiary => uca::Strength::Tertiary,
            _ => uca::Strength::Primary,
        }
    }
}

fn weight(rule: Rule) -> fn(char) -> u32 {
    match rule {
        Rule::Swedish => simple::swedish,
        Rule::Latin1General => simple::latin1_general,
        Rule::AsciiGeneral => simple::ascii,
        _ => simple::general,
    }
}

fn compare_bytes(left: &[u8], right: &[u8], pad_space: bool) -> Ordering {
    let common = left.len().min(right.len());
    left[..common].cmp(&right[..common]).then_with(|| {
        if !pad_space {
            return left.len().cmp(&right.len());
        }
        // the shorter one goes on with spaces
        let (rest, sign) = if left.len() > common {
            (&left[common..], Ordering::Greater)
        } else {
            (&right[common..], Ordering::Less)
        };
        match rest.iter().find(|b| **b != b' ') {
            None => Ordering::Equal,
            Some(b) if *b > b' ' => sign,
            Some(_) => sign.reverse(),
        }
    })
}

/// Order of two texts; an unknown collation compares bytes.
pub fn compare(collation: &str, left: &str, right: &str) -> Ordering {
    match collation_info(collation) {
        Some(info) => info.compare(left, right),
        None => left.cmp(right),
    }
}

/// See [`CollationInfo::sort_key`]; an unknown collation gives the bytes. For `STARLING_DECIMAL` equal numbers give equal keys (which do
/// not sort).
pub fn sort_key(collation: &str, text: &str) -> Vec<u8> {
    if collation == DECIMAL {
        return decimal_key(text);
    }
    match collation_info(collation) {
        Some(info) => info.sort_key(text),
        None => text.as_bytes().to_vec(),
    }
}

fn decimal_key(text: &str) -> Vec<u8> {
    let Some(value) = decimal::Decimal::parse(text.as_bytes()) else {
        return text.as_bytes().to_vec();
    };
    let mut key = value.to_bytes();
    if key.contains(&b'.') {
        while key.last() == Some(&b'0') {
            key.pop();
        }
        if key.last() == Some(&b'.') {
            key.pop();
        }
    }
    key
}

#[cfg(test)]
mod tests;
