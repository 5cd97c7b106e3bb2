//! The database files and the connections to them: one in-memory main database, every file attached under its lower-case name.
//!
//! Promises: a connection is told of new and dropped databases by a generation number, outside of transactions only; a dropped
//! database's file is never confused with a later one of the same name. Must not know: what is in the files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::Sender;
use parking_lot::{Mutex, RwLock};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, OpenFlags};

use super::{OnConnect, Role};
use crate::physical::quote;

/// Prepared statements kept by each connection.
const STATEMENT_CACHE: usize = 512;
/// Databases attached to one connection at most; SQLite's own limit (compiled in) is 125.
pub const MAX_ATTACHED: usize = 120;
/// How long a statement waits for a lock that only a foreign program can hold.
const BUSY_MS: u64 = 5_000;
/// Page cache of a connection for each attached file, in KiB: a reader's, and a writer's.
const READ_CACHE_KIB: i64 = 2_048;
const WRITE_CACHE_KIB: i64 = 16_384;
/// A WAL of that many pages (32 MiB) is worth a checkpoint: random updates dirty the same pages again and again, and each
/// checkpoint costs two fsyncs (measured: at 4 MiB a fifth of the cpu went into checkpoints).
pub const WAL_KICK_PAGES: u32 = 8_192;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    pub id: u64,
    pub path: PathBuf,
}

/// Frames in each file's WAL, as the last commit saw them.
pub struct WalWatch {
    pages: Mutex<HashMap<String, u32>>,
    kick: Sender<()>,
}

impl WalWatch {
    pub fn new(kick: Sender<()>) -> Arc<WalWatch> {
        Arc::new(WalWatch {
            pages: Mutex::default(),
            kick,
        })
    }
    fn seen(&self, schema: &str, pages: u32) {
        let mut all = self.pages.lock();
        match all.get_mut(schema) {
            Some(slot) => *slot = pages,
            None => drop(all.insert(schema.to_owned(), pages)),
        }
        drop(all);
        if pages >= WAL_KICK_PAGES {
            // Full means that a kick is already on its way.
            let _ = self.kick.try_send(());
        }
    }
    pub fn pages(&self, schema: &str) -> u32 {
        self.pages.lock().get(schema).copied().unwrap_or(0)
    }
    pub fn set(&self, schema: &str, pages: u32) {
        if let Some(slot) = self.pages.lock().get_mut(schema) {
            *slot = pages;
        }
    }
}

pub struct Files {
    dir: PathBuf,
    on_connect: OnConnect,
    wal: Arc<WalWatch>,
    generation: AtomicU64,
    known: RwLock<BTreeMap<String, FileRef>>,
}

impl Files {
    pub fn new(dir: PathBuf, on_connect: OnConnect, wal: Arc<WalWatch>) -> Files {
        Files {
            dir,
            on_connect,
            wal,
            generation: AtomicU64::new(1),
            known: RwLock::default(),
        }
    }
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    pub fn wal(&self) -> &Arc<WalWatch> {
        &self.wal
    }
    /// `<dir>/<name>.db`; characters that a file name cannot safely hold are percent-encoded.
    pub fn path(&self, name: &str) -> PathBuf {
        let mut file = String::with_capacity(name.len() + 3);
        for c in name.chars() {
            if c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | ' ') {
                file.push(c);
            } else {
                let mut utf8 = [0; 4];
                for b in c.encode_utf8(&mut utf8).bytes() {
                    file.push_str(&format!("%{b:02x}"));
                }
            }
        }
        file.push_str(".db");
        self.dir.join(file)
    }
    pub fn add(&self, name: &str, id: u64) {
        let path = self.path(name);
        self.known.write().insert(name.to_owned(), FileRef { id, path });
        self.generation.fetch_add(1, Ordering::Release);
    }
    pub fn remove(&self, name: &str) {
        self.known.write().remove(name);
        self.generation.fetch_add(1, Ordering::Release);
    }
    pub fn get(&self, name: &str) -> Option<FileRef> {
        self.known.read().get(name).cloned()
    }
    pub fn names(&self) -> Vec<String> {
        self.known.read().keys().cloned().collect()
    }
    /// A connection without any file yet.
    pub fn connect(&self, role: Role) -> rusqlite::Result<Attached> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_in_memory_with_flags(flags)?;
        conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        conn.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
        // A misspelt column in double quotes must be an error, never a string.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Plans do not depend on bound values: otherwise a statement is prepared anew whenever such a value changes.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let strict = role == Role::Try;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, strict)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, role != Role::Apply)?;
        conn.execute_batch("PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY;")?;
        if role == Role::Apply {
            conn.execute_batch("PRAGMA ignore_check_constraints=ON;")?;
        }
        if role != Role::Read {
            let wal = Arc::clone(&self.wal);
            conn.wal_hook(Some(move |w: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
                if let Ok(name) = w.name().to_str() {
                    wal.seen(name, u32::try_from(pages).unwrap_or(0));
                }
                Ok(())
            }))?;
        }
        crate::collate::register(&conn)?;
        (self.on_connect)(&conn, role)?;
        Ok(Attached {
            conn,
            role,
            generation: 0,
            attached: Vec::new(),
        })
    }
}

/// A connection and the files attached to it.
pub struct Attached {
    conn: Connection,
    role: Role,
    generation: u64,
    attached: Vec<(String, u64)>,
}

impl std::ops::Deref for Attached {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.conn
    }
}

impl Attached {
    /// Detaches what is gone. Only outside of a transaction.
    pub fn refresh(&mut self, files: &Files) -> rusqlite::Result<()> {
        let generation = files.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return Ok(());
        }
        let known = files.known.read();
        let (stay, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.attached)
            .into_iter()
            .partition(|(name, id)| known.get(name).is_some_and(|f| f.id == *id));
        drop(known);
        self.attached = stay;
        for (name, id) in gone {
            if let Err(error) = self.conn.execute("DETACH ?1", [&name]) {
                self.attached.push((name, id));
                return Err(error);
            }
        }
        self.generation = generation;
        Ok(())
    }

    /// As `refresh`, and attaches everything there is (up to the limit).
    pub fn refresh_all(&mut self, files: &Files) -> rusqlite::Result<()> {
        if files.generation.load(Ordering::Acquire) == self.generation {
            return Ok(());
        }
        self.refresh(files)?;
        for name in files.names() {
            if self.attached.len() < MAX_ATTACHED {
                self.need(files, &name)?;
            }
        }
        Ok(())
    }

    pub fn has(&self, name: &str) -> bool {
        self.attached.iter().any(|(n, _)| n == name)
    }

    /// Attaches one database if it is not; false: there is no such database.
    pub fn need(&mut self, files: &Files, name: &str) -> rusqlite::Result<bool> {
        if self.attached.iter().any(|(n, _)| n == name) {
            return Ok(true);
        }
        let Some(file) = files.get(name) else {
            return Ok(false);
        };
        if self.attached.len() >= MAX_ATTACHED && self.conn.is_autocommit() {
            let (oldest, _) = self.attached.remove(0);
            self.conn.execute("DETACH ?1", [&oldest])?;
        }
        self.attach(name, &file)?;
        Ok(true)
    }

    fn attach(&mut self, name: &str, file: &FileRef) -> rusqlite::Result<()> {
        let mode = if self.role == Role::Read { "ro" } else { "rw" };
        let uri = format!("file:{}?mode={mode}", uri_path(&file.path));
        self.conn.execute("ATTACH ?1 AS ?2", [uri.as_str(), name])?;
        self.attached.push((name.to_owned(), file.id));
        let schema = quote(name);
        let cache = if self.role == Role::Read { READ_CACHE_KIB } else { WRITE_CACHE_KIB };
        // Set for each attached file: the default would be an fsync on every commit.
        self.conn
            .execute_batch(&format!("PRAGMA {schema}.synchronous=NORMAL; PRAGMA {schema}.cache_size=-{cache};"))?;
        if self.role != Role::Read {
            // Who closes last must not delete the WAL by its path: a new database may have that name by then.
            let mut on = 1;
            self.conn.file_control(Some(name), FileControl::PersistWal(&mut on))?;
        }
        Ok(())
    }
}

/// Opens a read transaction on one attached database (inside BEGIN).
pub fn touch(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(&format!("SELECT 1 FROM {}.sqlite_schema LIMIT 1", quote(name)))?;
    statement.query([])?.next()?;
    Ok(())
}

/// Runs a parameterless statement out of the statement cache.
pub fn run(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.raw_execute().map(drop)
}

/// Creates an empty file in WAL mode.
pub fn create(path: &Path) -> rusqlite::Result<()> {
    let conn = Connection::open(path)?;
    conn.execute_batch("PRAGMA journal_mode=WAL;")
}

/// Removes a database file and what belongs to it.
pub fn delete(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn uri_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut out = String::new();
    for b in absolute.as_os_str().as_bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(*b));
        } else {
            out.push_str(&format!("%{b:02x}"));
        }
    }
    out
}
