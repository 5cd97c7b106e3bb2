//! Which database files can be trusted: made from this log, whole, and what else lies in the directory.
//!
//! Promises: looking changes nothing. Must not know: the log's entries.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::file::{FileSide, Identity};
use super::files::{self, Files};
use super::system::SYSTEM;
use crate::materialize::{FoldError, load_database};

/// Exists beside a file that was found damaged while running.
pub fn damage_mark(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-damaged");
    PathBuf::from(name)
}

/// Whose file it is, without changing anything.
pub fn peek(path: &Path) -> Result<Identity, String> {
    let mut head = [0; 16];
    let mut file = std::fs::File::open(path).map_err(|_| "it is missing".to_owned())?;
    file.read_exact(&mut head).map_err(|_| "it is cut off".to_owned())?;
    if &head != b"SQLite format 3\0" {
        return Err("it is not a database".to_owned());
    }
    drop(file);
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = rusqlite::Connection::open_with_flags(path, flags).map_err(|e| e.to_string())?;
    let found = conn
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .and_then(|_| Identity::read(&conn, "main"));
    match found {
        Ok(Some(identity)) => Ok(identity),
        Ok(None) => Err("it does not say whose it is".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// Is every table of the catalog there? (SQLite reads its whole schema for that, and finds a damaged one.)
pub fn check_structure(file: &FileSide, name: &str) -> Result<(), String> {
    let Some(database) = load_database(file.connection(), name).map_err(|e| e.to_string())? else {
        return Err("it holds no definition".to_owned());
    };
    let sql = format!(
        "SELECT name FROM {}.sqlite_schema WHERE type = 'table'",
        crate::physical::quote(name)
    );
    let names = || -> rusqlite::Result<Vec<String>> {
        let mut statement = file.connection().prepare(&sql)?;
        let rows = statement.query_map([], |r| r.get(0))?;
        rows.collect()
    };
    let names = names().map_err(|e| e.to_string())?;
    match database.tables.values().find(|t| !names.contains(&t.name)) {
        Some(table) => Err(format!("its table {} is missing", table.name)),
        None => Ok(()),
    }
}

pub fn remove_file(path: &Path) -> Result<(), FoldError> {
    files::delete(path).map_err(|e| FoldError::Broken(format!("cannot remove {}: {e}", path.display())))
}

/// Database files that belong to no known database.
pub fn stray_files(files: &Files, is_known: impl Fn(&Path) -> bool) -> Vec<(PathBuf, String)> {
    let Ok(dir) = std::fs::read_dir(files.dir()) else {
        return Vec::new();
    };
    let mut strays = Vec::new();
    for path in dir.flatten().map(|e| e.path()) {
        let (Some(stem), Some("db")) = (path.file_stem().and_then(OsStr::to_str), path.extension().and_then(OsStr::to_str)) else {
            continue;
        };
        if stem != SYSTEM && !is_known(&path) {
            strays.push((path.clone(), decoded(stem)));
        }
    }
    strays
}

/// The name that `Files::path` made the stem from.
fn decoded(stem: &str) -> String {
    let mut bytes = Vec::with_capacity(stem.len());
    let mut rest = stem.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
