//! The tree lints itself: module docs, sizes, direction of dependencies, forbidden calls.
//!
//! A rule is broken for a stated reason only: the allow-lists below name each exception.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines a file may have.
const FILE_LINES: usize = 600;
/// Lines a function may have.
const FUNCTION_LINES: usize = 80;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[(
    "src/sql/ast.rs",
    "one type for each construct of the language; nothing to follow but names",
)];

/// Functions that may be longer (`file: name`), and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[("src/sql/error.rs: state_of", "one table: the SQLSTATE of each error code")];

/// `(folder, what its files must not name, why)`.
const DIRECTIONS: &[(&str, &[&str], &str)] = &[
    (
        "log/src",
        &["rusqlite", "starling_apply", "axum", "reqwest"],
        "the log knows no SQL, no SQLite, no HTTP",
    ),
    (
        "apply/src",
        &["axum", "reqwest", "opensrv_mysql", "tokio::net"],
        "appliers know no network and no wire",
    ),
    (
        "src/auth",
        &["crate::mysql", "crate::sql", "crate::http", "crate::cluster"],
        "passwords know nothing else",
    ),
    (
        "src/cluster",
        &["crate::mysql", "crate::sql", "crate::http", "crate::txn"],
        "the cluster lies below sql and txn",
    ),
    (
        "src/txn",
        &["crate::mysql", "crate::sql", "crate::http"],
        "transactions lie below sql",
    ),
    ("src/sql", &["crate::mysql", "crate::http"], "nothing imports the faces"),
    (
        "src/http",
        &["crate::mysql", "crate::sql"],
        "http calls txn, cluster and the crates only",
    ),
];

/// `(call, files or folders where it is allowed)`; tests are always free.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("SystemTime::now", &["log/src/clock.rs"]),
    (".unwrap()", &[]),
    (".expect(\"", &[]),
    ("panic!(", &[]),
    ("todo!(", &[]),
    ("unimplemented!(", &[]),
    ("dbg!(", &[]),
    ("println!(", &["src/cli", "src/main.rs", "src/server.rs"]),
    ("thread::sleep", &[]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["src", "log/src", "apply/src"] {
        walk(&root().join(folder), &mut files);
    }
    files.sort();
    assert!(files.len() > 50, "the tree was not found");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("readable"))
    };
    files.into_iter().map(read).collect()
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("/testing.rs")
}

/// Lines (numbered from 1) without comments and without `#[cfg(test)]` items.
fn production(text: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let mut skip_until = None;
    let mut pending = false;
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if let Some(end) = skip_until {
            if indent == end && code.starts_with('}') {
                skip_until = None;
            }
        } else if code.starts_with("#[cfg(test)]") {
            pending = true;
        } else if pending {
            if !code.starts_with("#[") {
                pending = false;
                skip_until = code.ends_with('{').then_some(indent);
            }
        } else if !code.starts_with("//") {
            out.push((number + 1, line));
        }
    }
    out
}

fn report(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn every_module_says_what_it_is_for() {
    let bare = sources()
        .into_iter()
        .filter(|(name, text)| !is_test_file(name) && !text.starts_with("//! "))
        .map(|(name, _)| name);
    report("a module opens with `//!`", bare.collect());
}

#[test]
fn files_stay_small() {
    let allowed = |name: &str| LONG_FILES.iter().any(|(f, _)| *f == name);
    let long = sources()
        .into_iter()
        .filter(|(name, text)| text.lines().count() > FILE_LINES && !allowed(name));
    report(
        "a file is short",
        long.map(|(name, text)| format!("{name}: {}", text.lines().count())).collect(),
    );
}

#[test]
fn functions_stay_small() {
    let mut found = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !is_test_file(name)) {
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            match &open {
                Some((start, at, title)) if indent == *at && code.starts_with('}') => {
                    let key = format!("{name}: {title}");
                    let allowed = LONG_FUNCTIONS.iter().any(|(f, _)| *f == key);
                    if number - start + 1 > FUNCTION_LINES && !allowed {
                        found.push(format!("{key} ({} lines)", number - start + 1));
                    }
                    open = None;
                }
                None if is_function(code) && !line.ends_with(';') && !line.ends_with('}') => {
                    let title = code.split("fn ").nth(1).unwrap_or("").split(['(', '<']).next().unwrap_or("");
                    open = Some((number, indent, title.to_string()));
                }
                _ => {}
            }
        }
    }
    report("a function is short", found);
}

/// Does a line begin a function?
fn is_function(code: &str) -> bool {
    const BEFORE: [&str; 5] = ["const", "async", "unsafe", "extern", "\"C\""];
    let Some((head, _)) = code.split_once("fn ") else {
        return false;
    };
    head.split_whitespace().all(|w| w.starts_with("pub") || BEFORE.contains(&w))
}

#[test]
fn dependencies_point_one_way() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (folder, words, why) in DIRECTIONS {
            if !name.starts_with(&format!("{folder}/")) {
                continue;
            }
            for (number, line) in production(&text) {
                if let Some(word) = words.iter().find(|w| line.contains(*w)) {
                    found.push(format!("{name}:{number} names {word} ({why})"));
                }
            }
        }
    }
    report("dependencies point one way", found);
}

#[test]
fn forbidden_calls_are_not_made() {
    let mut found = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !is_test_file(name)) {
        for (number, line) in production(&text) {
            for (call, allowed) in FORBIDDEN {
                if line.contains(call) && !allowed.iter().any(|a| name.starts_with(a)) {
                    found.push(format!("{name}:{number} calls {call}"));
                }
            }
        }
    }
    report("these calls are forbidden", found);
}
