//! LIKE and regular expressions.
//!
//! Promises: LIKE compares character by character in the operands' collation (as MySQL does: no expansions, trailing spaces count);
//! regular expressions are linear in time, compiled once per statement. Syntax of the `regex` crate: ICU's, without
//! look-around and back references (3685, 3692 by MySQL's numbers when a pattern cannot be compiled).

use regex::{Regex, RegexBuilder};
use rusqlite::types::{Value, ValueRef};
use starling_apply::collate::CollationInfo;

use super::context::Raised;
use super::rule;
use super::run::{Args, Body, NULL, Outcome, boolean, int, raise, text};
use super::string::search::collation;
use super::{Extra, Family, Function, Kind};
use crate::sql::types::Ty;

use Kind::*;

const fn row(name: &'static str, args: (u8, u8), params: &'static [Kind], result: fn(&[Ty]) -> Ty, sqlite: &'static str) -> Function {
    Function::new(name, Family::String, args, params, result, sqlite).extra(Extra::Collation)
}

pub const FUNCTIONS: &[Function] = &[
    row("like", (2, 3), &[Text], rule::boolean, "starling_like"),
    row("regexp", (2, 2), &[Text], rule::boolean, "starling_regexp"),
    row("regexp_like", (2, 3), &[Text], rule::boolean, "starling_regexp"),
    row(
        "regexp_instr",
        (2, 6),
        &[Text, Text, Int, Int, Int, Text],
        rule::int,
        "starling_regexp_instr",
    ),
    row(
        "regexp_substr",
        (2, 5),
        &[Text, Text, Int, Int, Text],
        substring_type,
        "starling_regexp_substr",
    ),
    row(
        "regexp_replace",
        (3, 6),
        &[Text, Text, Text, Int, Int, Text],
        rule::longtext,
        "starling_regexp_replace",
    ),
];

pub const BODIES: &[Body] = &[
    Body::new("starling_like", like),
    Body::new("starling_regexp", regexp),
    Body::new("starling_regexp_instr", regexp_instr),
    Body::new("starling_regexp_substr", regexp_substr),
    Body::new("starling_regexp_replace", regexp_replace),
];

/// A pattern may not compile into more than this.
const REGEX_BYTES_MAX: usize = 8 << 20;

fn substring_type(args: &[Ty]) -> Ty {
    rule::sized(&args[..1.min(args.len())], args.first().map_or(0, rule::chars), true)
}

/// One step of a LIKE pattern.
enum Step {
    Many,
    One,
    Char(char),
}

fn steps(pattern: &str, escape: Option<char>) -> Vec<Step> {
    let mut out = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            c if Some(c) == escape => Step::Char(chars.next().unwrap_or(c)),
            '%' => Step::Many,
            '_' => Step::One,
            c => Step::Char(c),
        });
    }
    out
}

/// starling_like(text, pattern[, escape], collation)
fn like(args: &Args<'_, '_>) -> Outcome {
    let last = args.len() - 1;
    let (Some(subject), Some(pattern)) = (args.bytes(0), args.bytes(1)) else {
        return NULL;
    };
    let escape = match last {
        3 => args.text(2).and_then(|e| e.chars().next()),
        _ => Some('\\'),
    };
    let rule = if args.is_blob(0) || args.is_blob(1) {
        None
    } else {
        collation(args, last)
    };
    let bytes_only = rule.is_none_or(CollationInfo::is_binary);
    if rule.is_none() && (std::str::from_utf8(&subject).is_err() || std::str::from_utf8(&pattern).is_err()) {
        // bytes: each stands for one character
        let widen = |b: &[u8]| b.iter().map(|b| char::from(*b)).collect::<String>();
        return boolean(matches(&widen(&subject), &steps(&widen(&pattern), escape), &|a, b| a == b));
    }
    let (subject, pattern) = (String::from_utf8_lossy(&subject), String::from_utf8_lossy(&pattern));
    let steps = steps(&pattern, escape);
    if bytes_only {
        return boolean(matches(&subject, &steps, &|a, b| a == b));
    }
    let sensitive = rule.is_some_and(|r| r.name.ends_with("_cs"));
    let equal = |a: char, b: char| {
        a == b
            || match (a.is_ascii() && b.is_ascii(), rule) {
                (true, _) => !sensitive && a.eq_ignore_ascii_case(&b),
                (false, Some(rule)) => rule.equal(a.encode_utf8(&mut [0; 4]), b.encode_utf8(&mut [0; 4])),
                (false, None) => false,
            }
    };
    boolean(matches(&subject, &steps, &equal))
}

/// Greedy with one point to come back to: the last `%`.
fn matches(subject: &str, steps: &[Step], equal: &dyn Fn(char, char) -> bool) -> bool {
    let mut rest = subject.chars();
    let mut at = 0;
    let mut back: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let before = rest.clone();
        let matched = match steps.get(at) {
            Some(Step::Many) => {
                at += 1;
                if at == steps.len() {
                    return true;
                }
                back = Some((at, rest.clone()));
                continue;
            }
            Some(Step::One) => rest.next().is_some(),
            Some(Step::Char(c)) => rest.next().is_some_and(|s| equal(s, *c)),
            None => rest.clone().next().is_none(),
        };
        if matched && at == steps.len() {
            return true;
        }
        if matched {
            at += 1;
            continue;
        }
        if before.clone().next().is_none() && at < steps.len() && back.is_none() {
            return false;
        }
        let Some((resume, from)) = &mut back else { return false };
        if from.next().is_none() {
            return false;
        }
        at = *resume;
        rest = from.clone();
    }
}

/// The pattern (argument 1), compiled with the match type (`i`, `c`, `m`, `n`, `u`) and the collation's sensitivity.
fn compiled(args: &Args<'_, '_>, flags: Option<&str>) -> Result<std::sync::Arc<Regex>, Raised> {
    let rule = collation(args, args.len() - 1);
    let mut insensitive = rule.is_some_and(|r| !r.is_binary() && !r.name.ends_with("_cs"));
    let (mut multi_line, mut dot_all) = (false, false);
    for flag in flags.unwrap_or("").chars() {
        match flag {
            'i' => insensitive = true,
            'c' => insensitive = false,
            'm' => multi_line = true,
            'n' => dot_all = true,
            'u' => {}
            _ => return Err(raise(1210, "Incorrect arguments to regexp_like")),
        }
    }
    args.cached(1, |value| {
        let pattern = match value {
            ValueRef::Text(t) | ValueRef::Blob(t) => String::from_utf8_lossy(t).into_owned(),
            _ => String::new(),
        };
        if pattern.is_empty() {
            return Err(raise(3685, "Illegal argument to a regular expression."));
        }
        RegexBuilder::new(&pattern)
            .case_insensitive(insensitive)
            .multi_line(multi_line)
            .dot_matches_new_line(dot_all)
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|e| describe(&e))
    })
}

fn describe(error: &regex::Error) -> Raised {
    let message = error.to_string();
    if message.contains("unclosed group") || message.contains("unopened group") {
        return raise(3691, "Mismatched parenthesis in regular expression.");
    }
    if message.contains("unclosed character class") {
        return raise(3696, "The regular expression contains an unclosed bracket expression.");
    }
    if message.contains("look-around") || message.contains("backreferences") {
        return raise(
            1235,
            "This version of MySQL doesn't yet support 'look-around and back references in regular expressions'",
        );
    }
    raise(
        3692,
        "Incorrect description of a {min,max} interval or other syntax error in regular expression.",
    )
}

fn regexp(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let flags = if args.len() == 4 { args.text(2) } else { None };
    let regex = compiled(args, flags.as_deref())?;
    boolean(args.text(0).is_some_and(|t| regex.is_match(&t)))
}

/// What REGEXP_INSTR, _SUBSTR and _REPLACE search: the text, from a character position, for the n-th match.
struct Search {
    text: String,
    start: usize,
    occurrence: usize,
}

fn search(args: &Args<'_, '_>, position: Option<i64>, occurrence: Option<i64>) -> Result<Search, Raised> {
    let text = args.text(0).unwrap_or_default().into_owned();
    let position = position.unwrap_or(1);
    let characters = text.chars().count() as i64;
    if position < 1 || position > characters + 1 {
        return Err(raise(3686, "Index out of bounds in regular expression search."));
    }
    let start = text.char_indices().nth(position as usize - 1).map_or(text.len(), |(at, _)| at);
    Ok(Search {
        text,
        start,
        occurrence: occurrence.unwrap_or(1).max(0) as usize,
    })
}

/// An argument that is there (the collation, last, does not count).
fn given(args: &Args<'_, '_>, index: usize) -> Option<usize> {
    (index + 1 < args.len()).then_some(index)
}

fn regexp_instr(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let number = |i| given(args, i).and_then(|i| args.int(i));
    let flags = given(args, 5).and_then(|i| args.text(i));
    let regex = compiled(args, flags.as_deref())?;
    let search = search(args, number(2), number(3))?;
    let found = regex.find_iter(&search.text[search.start..]).nth(search.occurrence.max(1) - 1);
    int(found.map_or(0, |m| {
        let end = if number(4) == Some(1) { m.end() } else { m.start() };
        search.text[..search.start + end].chars().count() as i64 + 1
    }))
}

fn regexp_substr(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let number = |i| given(args, i).and_then(|i| args.int(i));
    let flags = given(args, 4).and_then(|i| args.text(i));
    let regex = compiled(args, flags.as_deref())?;
    let search = search(args, number(2), number(3))?;
    let found = regex.find_iter(&search.text[search.start..]).nth(search.occurrence.max(1) - 1);
    Ok(found.map_or(Value::Null, |m| Value::Text(m.as_str().to_string())))
}

fn regexp_replace(args: &Args<'_, '_>) -> Outcome {
    if args.any_null() {
        return NULL;
    }
    let number = |i| given(args, i).and_then(|i| args.int(i));
    let flags = given(args, 5).and_then(|i| args.text(i));
    let regex = compiled(args, flags.as_deref())?;
    // REGEXP_REPLACE's default is every match
    let search = search(args, number(3), Some(number(4).unwrap_or(0)))?;
    let replacement = replacement(&args.text(2).unwrap_or_default());
    let (head, tail) = search.text.split_at(search.start);
    let mut out = String::from(head);
    let mut done = 0;
    for (index, captures) in regex.captures_iter(tail).enumerate() {
        let Some(whole) = captures.get(0) else { continue };
        if search.occurrence != 0 && index + 1 != search.occurrence {
            continue;
        }
        out.push_str(&tail[done..whole.start()]);
        captures.expand(&replacement, &mut out);
        done = whole.end();
    }
    out.push_str(&tail[done..]);
    text(out)
}

/// ICU writes `$1` and escapes with a backslash; the regex crate wants `${1}` and `$$`.
fn replacement(icu: &str) -> String {
    let mut out = String::new();
    let mut chars = icu.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => {}
            },
            '$' if chars.peek().is_some_and(char::is_ascii_digit) => {
                out.push_str("${");
                if let Some(digit) = chars.next() {
                    out.push(digit);
                }
                out.push('}');
            }
            '$' => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out
}

/// LIKE on plain text, byte for byte (JSON_SEARCH).
pub fn like_text(subject: &str, pattern: &str, escape: char) -> bool {
    matches(subject, &steps(pattern, Some(escape)), &|a, b| a == b)
}
