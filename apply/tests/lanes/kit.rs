//! What the tests share: a node with a simulated log, tables, statements.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use starling_apply::catalog::{Column, DefaultValue, Index, IndexKind, KeyPart, Table};
use starling_apply::engine::{Committed, Engine, EngineOptions, WriteError};
use starling_apply::lane::{Job, Try};
use starling_apply::schema::SchemaChange;
use starling_apply::types::{BaseType, ColumnType};
use starling_log::store::sim::SimStore;
use starling_log::{Body, Changes, Draft, Log, LogOptions, SystemTime};
use tempfile::TempDir;

pub struct Node {
    pub engine: Arc<Engine>,
    pub log: Arc<Log>,
    pub store: Arc<SimStore>,
    pub dir: Arc<TempDir>,
    pub origin: u16,
}

pub fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn open_log(store: Arc<SimStore>) -> Arc<Log> {
    Log::with_store(store, LogOptions::new("/nowhere"), Arc::new(SystemTime)).unwrap()
}

pub fn options(dir: &Path, origin: u16) -> EngineOptions {
    EngineOptions {
        dir: dir.join("db"),
        origin: Some(origin),
        on_connect: Arc::new(|_, _| Ok(())),
        full_row_image: true,
        on_progress: None,
    }
}

impl Node {
    pub fn new(origin: u16) -> Node {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Node::over(Arc::new(SimStore::new()), dir, origin)
    }
    pub fn over(store: Arc<SimStore>, dir: Arc<TempDir>, origin: u16) -> Node {
        let log = open_log(Arc::clone(&store));
        let engine = Engine::open(options(dir.path(), origin), Arc::clone(&log)).unwrap();
        Node {
            engine,
            log,
            store,
            dir,
            origin,
        }
    }
    /// Stops without a word, as a crash does (what is in the files stays), and starts again.
    pub fn restart(self) -> Node {
        self.restart_after(|_| ())
    }
    pub fn restart_after(self, meanwhile: impl FnOnce(&Path)) -> Node {
        let Node {
            engine,
            log,
            store,
            dir,
            origin,
        } = self;
        engine.close();
        drop(engine);
        drop(log);
        meanwhile(&dir.path().join("db"));
        Node::over(store, dir, origin)
    }
    /// Starts again with minimal row images.
    pub fn minimal(self) -> Node {
        let Node {
            engine,
            log,
            store,
            dir,
            origin,
        } = self;
        engine.close();
        drop((engine, log));
        let log = open_log(Arc::clone(&store));
        let mut options = options(dir.path(), origin);
        options.full_row_image = false;
        let engine = Engine::open(options, Arc::clone(&log)).unwrap();
        Node {
            engine,
            log,
            store,
            dir,
            origin,
        }
    }
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("db").join(format!("{name}.db"))
    }
    pub fn create_database(&self, name: &str) {
        let change = SchemaChange::CreateDatabase {
            name: name.into(),
            collation: "utf8mb4_0900_ai_ci".into(),
        };
        self.engine
            .alter::<()>(None, 1_000, Box::new(|_, _| Ok(Some(change.into()))))
            .unwrap();
    }
    pub fn create_table(&self, db: &str, table: Table) {
        self.alter(db, SchemaChange::CreateTable { table: Box::new(table) });
    }
    pub fn alter(&self, db: &str, change: SchemaChange) {
        self.engine
            .alter::<()>(Some(db), 1_000, Box::new(|_, _| Ok(Some(change.into()))))
            .unwrap();
    }
    /// Database `name` with table `t(id INT PRIMARY KEY, v VARCHAR)`.
    pub fn with_t(self, name: &str) -> Node {
        self.create_database(name);
        self.create_table(&name.to_lowercase(), t());
        self
    }
    pub fn write<T: Send + 'static>(&self, db: &str, job: Job<T, String>) -> Result<(T, Committed), WriteError<String>> {
        wait(self.engine.write(db, 5_000, job))
    }
    pub fn exec(&self, db: &str, sql: &str) -> Committed {
        self.write(db, statement(sql)).unwrap().1
    }
    pub fn query(&self, dbs: &[&str], sql: &str) -> String {
        show(&self.engine.reader(dbs).unwrap(), sql)
    }
    pub fn dump(&self) -> String {
        let (reader, _, catalog) = self.engine.pin_position().unwrap();
        let mut out = Vec::new();
        for name in catalog.databases.keys() {
            starling_apply::digest::dump(&reader, name, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }
    /// An entry with these changes, as if somebody had decided on it.
    pub fn log_rows(&self, changes: Changes) {
        let draft = Draft {
            causes: self.engine.applied(),
            schema: self.engine.catalog().version,
            body: Body::Rows(changes),
        };
        let placed = self.log.append(self.origin, vec![draft]).unwrap();
        let entries = self.log.read(self.origin, placed[0].place.seq, 1).unwrap();
        self.engine.apply(entries).unwrap();
    }
    /// Everything the other node's log has and this one's has not: ingested and applied.
    pub fn pull(&self, from: &Node) {
        for (origin, last) in from.log.held().iter() {
            let have = self.log.held().get(origin);
            if have < last {
                let segments = from.log.segments(origin, have + 1, usize::MAX).unwrap();
                let entries = self.log.ingest(&segments).unwrap();
                self.engine.apply(entries).unwrap();
            }
        }
    }
}

/// A job of one or more statements.
pub fn statement(sql: &str) -> Job<usize, String> {
    let sql = sql.to_owned();
    Box::new(move |t: &mut Try<'_>| run(t, &sql))
}

pub fn run(t: &mut Try<'_>, sql: &str) -> Result<usize, String> {
    let before = t.connection.total_changes();
    t.connection.execute_batch(sql).map_err(|e| e.to_string())?;
    Ok(usize::try_from(t.connection.total_changes() - before).unwrap())
}

/// Rows as `a,b;c,d`.
pub fn show(conn: &rusqlite::Connection, sql: &str) -> String {
    let mut statement = conn.prepare(sql).unwrap();
    let width = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut out: Vec<String> = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cells: Vec<String> = (0..width)
            .map(|i| match row.get_ref(i).unwrap() {
                rusqlite::types::ValueRef::Null => "NULL".into(),
                rusqlite::types::ValueRef::Integer(v) => v.to_string(),
                rusqlite::types::ValueRef::Real(v) => v.to_string(),
                rusqlite::types::ValueRef::Text(v) => String::from_utf8_lossy(v).into_owned(),
                rusqlite::types::ValueRef::Blob(v) => format!("x{v:?}"),
            })
            .collect();
        out.push(cells.join(","));
    }
    out.join(";")
}

pub fn int() -> ColumnType {
    ColumnType::new(BaseType::Int)
}

pub fn text() -> ColumnType {
    ColumnType {
        length: Some(50),
        collation: Some("utf8mb4_0900_ai_ci".into()),
        ..ColumnType::new(BaseType::VarChar)
    }
}

pub fn column(id: u32, name: &str, ty: ColumnType) -> Column {
    Column {
        id,
        name: name.into(),
        ty,
        nullable: true,
        default: DefaultValue::None,
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    }
}

pub fn index(id: u32, name: &str, kind: IndexKind, columns: &[u32]) -> Index {
    Index {
        id,
        name: name.into(),
        kind,
        parts: columns
            .iter()
            .map(|c| KeyPart {
                column: *c,
                prefix: None,
                descending: false,
            })
            .collect(),
        comment: String::new(),
        invisible: false,
    }
}

pub fn table(name: &str, columns: Vec<Column>, indexes: Vec<Index>) -> Table {
    Table {
        id: 0,
        db: 0,
        name: name.into(),
        columns,
        indexes,
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: "utf8mb4_0900_ai_ci".into(),
        engine: "InnoDB".into(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
        next_id: 200,
    }
}

pub fn primary(columns: &[u32]) -> Index {
    index(100, "PRIMARY", IndexKind::Primary, columns)
}

pub fn t() -> Table {
    table("t", vec![column(1, "id", int()), column(2, "v", text())], vec![primary(&[1])])
}
