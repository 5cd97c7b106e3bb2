//! From what SET was given to what a variable takes: numbers, words, sets of words, charsets.
//!
//! Must not know: sessions.

use super::{Def, Kind, Rule, VarValue};
use crate::sql::error::{Result, SqlError};
use crate::sql::gtid::GtidSet;

/// sql_mode's words with their bits, in MySQL's order.
const SQL_MODES: &[(&str, u64)] = &[
    ("REAL_AS_FLOAT", 1),
    ("PIPES_AS_CONCAT", 2),
    ("ANSI_QUOTES", 4),
    ("IGNORE_SPACE", 8),
    ("ONLY_FULL_GROUP_BY", 32),
    ("NO_UNSIGNED_SUBTRACTION", 64),
    ("NO_DIR_IN_CREATE", 128),
    ("ANSI", 1 << 18),
    ("NO_AUTO_VALUE_ON_ZERO", 1 << 19),
    ("NO_BACKSLASH_ESCAPES", 1 << 20),
    ("STRICT_TRANS_TABLES", 1 << 21),
    ("STRICT_ALL_TABLES", 1 << 22),
    ("NO_ZERO_IN_DATE", 1 << 23),
    ("NO_ZERO_DATE", 1 << 24),
    ("ALLOW_INVALID_DATES", 1 << 25),
    ("ERROR_FOR_DIVISION_BY_ZERO", 1 << 26),
    ("TRADITIONAL", 1 << 27),
    ("HIGH_NOT_PRECEDENCE", 1 << 29),
    ("NO_ENGINE_SUBSTITUTION", 1 << 30),
    ("PAD_CHAR_TO_FULL_LENGTH", 1 << 31),
    ("TIME_TRUNCATE_FRACTIONAL", 1 << 32),
];
/// Modes that would change meaning and are not honoured.
const REFUSED_MODES: &[&str] = &["TIME_TRUNCATE_FRACTIONAL"];

/// A list of modes, in MySQL's order, with the combined ones spelled out.
pub fn parse_sql_mode(text: &str) -> Result<String> {
    let mut bits = 0;
    for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        let upper = word.to_ascii_uppercase();
        let Some((_, bit)) = SQL_MODES.iter().find(|(n, _)| *n == upper) else {
            return Err(wrong_value("sql_mode", word));
        };
        if REFUSED_MODES.contains(&upper.as_str()) {
            return Err(SqlError::unsupported(format!("sql_mode {upper}")));
        }
        bits |= bit;
    }
    Ok(mode_text(bits))
}

fn mode_text(mut bits: u64) -> String {
    let has = |bits: u64, name: &str| SQL_MODES.iter().any(|(n, b)| *n == name && bits & b != 0);
    if has(bits, "ANSI") {
        bits |= 1 | 2 | 4 | 8 | 32;
    }
    if has(bits, "TRADITIONAL") {
        bits |= (1 << 21) | (1 << 22) | (1 << 23) | (1 << 24) | (1 << 26) | (1 << 30);
    }
    let words: Vec<&str> = SQL_MODES.iter().filter(|(_, b)| bits & b != 0).map(|(n, _)| *n).collect();
    words.join(",")
}

/// Charsets that statements and results can be converted from and to.
const CHARSETS: &[(&str, &str)] = &[
    ("utf8mb4", "utf8mb4_0900_ai_ci"),
    ("utf8mb3", "utf8mb3_general_ci"),
    ("latin1", "latin1_swedish_ci"),
    ("ascii", "ascii_general_ci"),
    ("binary", "binary"),
    ("ucs2", "ucs2_general_ci"),
    ("utf16", "utf16_general_ci"),
    ("utf16le", "utf16le_general_ci"),
    ("utf32", "utf32_general_ci"),
];

/// A charset's canonical name, or 1115.
pub fn resolve_charset(name: &str) -> Result<&'static str> {
    let lower = name.to_ascii_lowercase();
    let lower = if lower == "utf8" { "utf8mb3" } else { lower.as_str() };
    CHARSETS
        .iter()
        .find(|(n, _)| *n == lower)
        .map(|(n, _)| *n)
        .ok_or_else(|| SqlError::new(1115, format!("Unknown character set: '{name}'")))
}

/// A collation's canonical name, or 1273.
pub fn resolve_collation(name: &str) -> Result<String> {
    let lower = name.to_ascii_lowercase();
    let lower = match lower.strip_prefix("utf8_") {
        Some(rest) => format!("utf8mb3_{rest}"),
        None => lower,
    };
    if known_collation(&lower) {
        return Ok(lower);
    }
    Err(SqlError::new(1273, format!("Unknown collation: '{name}'")))
}

pub fn default_collation(charset: &str) -> &'static str {
    CHARSETS
        .iter()
        .find(|(n, _)| *n == charset)
        .map_or("utf8mb4_0900_ai_ci", |(_, c)| c)
}

pub fn charset_of(collation: &str) -> &str {
    collation.split('_').next().unwrap_or(collation)
}

/// The widest character of a charset, in bytes.
pub fn bytes_per_char(charset: &str) -> u32 {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" => 4,
        "utf8mb3" => 3,
        "ucs2" => 2,
        _ => 1,
    }
}

pub fn wrong_value(name: &str, value: &str) -> SqlError {
    SqlError::new(1231, format!("Variable '{name}' can't be set to the value of '{value}'"))
}

fn wrong_type(name: &str) -> SqlError {
    SqlError::new(1232, format!("Incorrect argument type to variable '{name}'"))
}

/// The default in the variable's own type.
pub fn default_value(def: &Def) -> VarValue {
    if def.default == "\0" {
        return VarValue::Null;
    }
    match def.kind {
        Kind::Bool => VarValue::Int(i64::from(def.default == "ON")),
        Kind::Int(..) => VarValue::Int(def.default.parse().unwrap_or(0)),
        Kind::UInt(..) => VarValue::UInt(def.default.parse().unwrap_or(0)),
        Kind::Real(..) => VarValue::Real(def.default.parse().unwrap_or(0.0)),
        _ => VarValue::text(def.default),
    }
}

/// The value as the variable takes it, and a warning where it was cut to the variable's bounds.
pub fn accept(def: &Def, value: VarValue) -> Result<(VarValue, Option<String>)> {
    let plain = |v| Ok((v, None));
    match def.kind {
        Kind::Bool => plain(VarValue::Int(i64::from(boolean(def, &value)?))),
        Kind::Int(min, max) => integer(def, &value, i128::from(min), i128::from(max)),
        Kind::UInt(min, max) => integer(def, &value, i128::from(min), i128::from(max)),
        Kind::Real(min, max) => {
            let v = match value {
                VarValue::Int(v) => v as f64,
                VarValue::UInt(v) => v as f64,
                VarValue::Real(v) => v,
                _ => return Err(wrong_type(def.name)),
            };
            let cut = v.clamp(min, max);
            let warning = (cut != v).then(|| truncated(def.name, &v.to_string()));
            Ok((VarValue::Real(cut), warning))
        }
        Kind::Enum(words) => plain(VarValue::text(word(def, words, &value)?)),
        Kind::Flags(words) => plain(VarValue::text(&flags(def, words, &value)?)),
        Kind::SqlMode => match &value {
            VarValue::Text(text) => plain(VarValue::text(&parse_sql_mode(text)?)),
            VarValue::Null => Err(wrong_value(def.name, "NULL")),
            bits => plain(VarValue::text(&parse_sql_mode(&mode_text(bits.as_u64()))?)),
        },
        Kind::Charset => match &value {
            VarValue::Text(text) => plain(VarValue::text(resolve_charset(text)?)),
            VarValue::Null if def.name == "character_set_results" => plain(VarValue::Null),
            VarValue::Null => Err(wrong_value(def.name, "NULL")),
            _ => Err(wrong_type(def.name)),
        },
        Kind::Collation => match &value {
            VarValue::Text(text) => plain(VarValue::text(&resolve_collation(text)?)),
            VarValue::Null => Err(wrong_value(def.name, "NULL")),
            _ => Err(wrong_type(def.name)),
        },
        Kind::TimeZone => match &value {
            VarValue::Text(text) => plain(VarValue::text(&time_zone(text)?)),
            VarValue::Null => Err(wrong_value(def.name, "NULL")),
            _ => Err(wrong_type(def.name)),
        },
        Kind::Text => match value {
            VarValue::Text(_) | VarValue::Null => plain(value),
            _ => Err(wrong_type(def.name)),
        },
    }
}

fn truncated(name: &str, value: &str) -> String {
    format!("Truncated incorrect {name} value: '{value}'")
}

fn display(value: &VarValue) -> String {
    match value {
        VarValue::Null => "NULL".into(),
        VarValue::Int(v) => v.to_string(),
        VarValue::UInt(v) => v.to_string(),
        VarValue::Real(v) => v.to_string(),
        VarValue::Text(v) => v.to_string(),
    }
}

fn boolean(def: &Def, value: &VarValue) -> Result<bool> {
    let found = match value {
        VarValue::Int(v @ (0 | 1)) => Some(*v == 1),
        VarValue::UInt(v @ (0 | 1)) => Some(*v == 1),
        VarValue::Text(t) if t.eq_ignore_ascii_case("on") || t.eq_ignore_ascii_case("true") => Some(true),
        VarValue::Text(t) if t.eq_ignore_ascii_case("off") || t.eq_ignore_ascii_case("false") => Some(false),
        VarValue::Real(_) => return Err(wrong_type(def.name)),
        _ => None,
    };
    found.ok_or_else(|| wrong_value(def.name, &display(value)))
}

fn integer(def: &Def, value: &VarValue, min: i128, max: i128) -> Result<(VarValue, Option<String>)> {
    let v = match value {
        VarValue::Int(v) => i128::from(*v),
        VarValue::UInt(v) => i128::from(*v),
        VarValue::Null if def.default == "\0" => return Ok((VarValue::Null, None)),
        _ => return Err(wrong_type(def.name)),
    };
    let cut = v.clamp(min, max);
    let warning = (cut != v).then(|| truncated(def.name, &v.to_string()));
    let value = match def.kind {
        Kind::Int(..) => VarValue::Int(cut as i64),
        _ => VarValue::UInt(cut as u64),
    };
    Ok((value, warning))
}

fn word(def: &Def, words: &'static [&'static str], value: &VarValue) -> Result<&'static str> {
    let found = match value {
        VarValue::Text(t) => words.iter().find(|w| w.eq_ignore_ascii_case(t)).copied(),
        VarValue::Int(v) => usize::try_from(*v).ok().and_then(|i| words.get(i)).copied(),
        VarValue::UInt(v) => usize::try_from(*v).ok().and_then(|i| words.get(i)).copied(),
        VarValue::Real(_) => return Err(wrong_type(def.name)),
        VarValue::Null => None,
    };
    found.ok_or_else(|| wrong_value(def.name, &display(value)))
}

fn flags(def: &Def, words: &'static [&'static str], value: &VarValue) -> Result<String> {
    let VarValue::Text(text) = value else {
        return Err(wrong_type(def.name));
    };
    let mut chosen = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match words.iter().find(|w| w.eq_ignore_ascii_case(part)) {
            Some(word) => chosen.push(*word),
            None => return Err(wrong_value(def.name, part)),
        }
    }
    Ok(words.iter().filter(|w| chosen.contains(w)).copied().collect::<Vec<_>>().join(","))
}

/// `SYSTEM`, `±hh:mm` or UTC; named zones need tables that are not there (1298).
fn time_zone(text: &str) -> Result<String> {
    let unknown = || SqlError::new(1298, format!("Unknown or incorrect time zone: '{text}'"));
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("system") {
        return Ok("SYSTEM".into());
    }
    if trimmed.eq_ignore_ascii_case("utc") || trimmed.eq_ignore_ascii_case("gmt") {
        return Ok("UTC".into());
    }
    let (sign, rest) = match trimmed.as_bytes().first() {
        Some(b'+') => ('+', &trimmed[1..]),
        Some(b'-') => ('-', &trimmed[1..]),
        _ => return Err(unknown()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(unknown)?;
    let digits = |s: &str| !s.is_empty() && s.len() <= 2 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return Err(unknown());
    }
    let (h, m): (u32, u32) = (hours.parse().map_err(|_| unknown())?, minutes.parse().map_err(|_| unknown())?);
    let total = h * 60 + m;
    if m > 59 || total > 14 * 60 || (sign == '-' && total > 13 * 60 + 59) {
        return Err(unknown());
    }
    Ok(format!("{sign}{h:02}:{m:02}"))
}

/// 1231 for charsets in which statements cannot come.
pub fn check_client_charset(charset: &str) -> Result<()> {
    if matches!(charset, "ucs2" | "utf16" | "utf16le" | "utf32") {
        return Err(wrong_value("character_set_client", charset));
    }
    Ok(())
}

/// Refuses what would change meaning and is not honoured.
pub fn check_rule(def: &Def, value: &VarValue) -> Result<()> {
    let refused = || Err(SqlError::unsupported(format!("{} = {}", def.name, display(value))));
    if def.rule == Rule::Fixed && *value != default_value(def) {
        return refused();
    }
    match def.name {
        "starling_read_after" => GtidSet::parse(value.as_str()).map(|_| ()),
        "character_set_client" => check_client_charset(value.as_str()),
        _ => Ok(()),
    }
}

fn known_collation(name: &str) -> bool {
    name == "binary" || CHARSETS.iter().any(|(charset, _)| charset_of(name) == *charset)
}
