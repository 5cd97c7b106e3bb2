//! One database file under the fold, as a lane would use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::ValueRef as SqlRef;
use starling_apply::catalog::Table;
use starling_apply::digest;
use starling_apply::materialize::{EntrySource, FoldError, Materializer, load_database, read_applied};
use starling_log::{Entry, Place, Value, VersionVector};

use super::model::{Cells, fold};
use super::world::{World, database};

/// The log, as far as the fold asks for it.
struct Entries(BTreeMap<Place, Arc<Entry>>);

impl EntrySource for Entries {
    fn entry(&self, place: Place) -> Result<Arc<Entry>, FoldError> {
        self.0
            .get(&place)
            .cloned()
            .ok_or_else(|| FoldError::Broken(format!("no entry at {place:?}")))
    }
    fn scan<'a>(&'a self, upto: &VersionVector) -> Box<dyn Iterator<Item = Result<Arc<Entry>, FoldError>> + 'a> {
        let mut all: Vec<_> = self.0.values().filter(|e| upto.contains(e.place)).cloned().collect();
        all.sort_by_key(|e| e.stamp);
        Box::new(all.into_iter().map(Ok))
    }
}

pub struct Replica {
    dir: tempfile::TempDir,
    log: Entries,
    conn: Connection,
    fold: Materializer,
    taken: VersionVector,
    open: bool,
}

impl Replica {
    pub fn new(world: &World) -> Replica {
        let log = Entries(world.entries.iter().map(|e| (e.place, Arc::new(e.clone()))).collect());
        let dir = tempfile::tempdir().expect("directory");
        let (conn, fold) = connect(&dir);
        Replica {
            dir,
            log,
            conn,
            fold,
            taken: VersionVector::new(),
            open: false,
        }
    }

    fn begin(&mut self) {
        if !self.open {
            self.conn.execute_batch("BEGIN").expect("begin");
            self.fold.init(&self.conn).expect("init");
            self.open = true;
        }
    }
    pub fn apply(&mut self, entry: &Entry) {
        self.begin();
        self.fold.apply(&self.conn, entry, &self.log).expect("apply");
        self.taken.advance(entry.place.origin, entry.place.seq);
    }
    pub fn commit(&mut self) {
        self.begin();
        self.fold.finish(&self.conn, &self.taken, &self.log).expect("finish");
        self.conn.execute_batch("COMMIT").expect("commit");
        self.open = false;
    }
    /// The connection goes, and with it what was not committed.
    pub fn crash(&mut self) {
        let (conn, fold) = connect(&self.dir);
        self.conn = conn;
        self.fold = fold;
        self.open = false;
        self.taken = self.applied();
    }
    pub fn applied(&self) -> VersionVector {
        read_applied(&self.conn, "shop").expect("applied")
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        let database = load_database(&self.conn, "shop").expect("definition");
        database.iter().flat_map(|d| d.tables.values().cloned()).collect()
    }
    pub fn rows(&self) -> BTreeMap<u64, Vec<String>> {
        self.tables()
            .iter()
            .map(|t| {
                let mut rows: Vec<String> = self.table_rows(t).iter().map(|c| format!("{c:?}")).collect();
                rows.sort();
                (t.id, rows)
            })
            .collect()
    }
    fn table_rows(&self, t: &Table) -> Vec<Cells> {
        let keyless = t.indexes.iter().all(|i| i.name != "i50");
        let mut ids: Vec<u32> = t.columns.iter().map(|c| c.id).collect();
        let mut names: Vec<String> = t.columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
        if keyless {
            ids.push(0);
            names.push("rowid".into());
        }
        let sql = format!("SELECT {} FROM shop.\"{}\"", names.join(", "), t.name);
        let mut stmt = self.conn.prepare(&sql).expect("select");
        let mut rows = stmt.query([]).expect("query");
        let mut out = Vec::new();
        while let Some(row) = rows.next().expect("row") {
            let cell = |(i, id): (usize, &u32)| (*id, value(row.get_ref(i).expect("cell")));
            out.push(ids.iter().enumerate().map(cell).collect());
        }
        out
    }
    pub fn dump(&self) -> String {
        let mut out = Vec::new();
        digest::dump(&self.conn, "shop", &mut out).expect("dump");
        String::from_utf8(out).expect("text")
    }
    pub fn digests(&self) -> Vec<digest::TableDigest> {
        let Some(db) = load_database(&self.conn, "shop").expect("definition") else {
            return Vec::new();
        };
        let one = |t: &Arc<Table>| digest::table(&self.conn, "shop", &db, t).expect("digest");
        db.tables.values().map(one).collect()
    }

    pub fn ints(&self, sql: &str) -> Vec<[Option<i64>; 4]> {
        let mut stmt = self.conn.prepare(sql).expect("select");
        let rows = stmt
            .query_map([], |r| Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?]))
            .expect("query");
        rows.collect::<Result<_, _>>().expect("rows")
    }
    pub fn text(&self, sql: &str) -> String {
        self.conn.query_row(sql, [], |r| r.get(0)).expect("one row")
    }
    pub fn next_auto(&mut self, table: u64) -> u64 {
        self.fold.auto_counter(&self.conn, table).expect("counter")
    }
    pub fn superseded(&self, place: Place, index: u32) -> bool {
        starling_apply::history::superseded(&self.conn, "shop", place, index).expect("query")
    }

    /// What a dry run leaves: the rows as the author then had them, written by hand; then the note.
    pub fn write_and_note(&mut self, seen: &[&Entry], entry: &Entry) {
        self.begin();
        let state = fold(seen.iter().copied().chain([entry]));
        for t in self.tables() {
            let Some(then) = state.tables.iter().find(|s| s.id == t.id) else {
                continue;
            };
            self.conn.execute(&format!("DELETE FROM shop.\"{}\"", t.name), []).expect("empty");
            for row in &then.rows {
                let mut names = Vec::new();
                let mut values = Vec::new();
                for (id, value) in &row.cells {
                    let column = t.columns.iter().find(|c| c.id == *id);
                    names.push(column.map_or("rowid".into(), |c| format!("\"{}\"", c.name)));
                    values.push(sql_value(value));
                }
                let marks = vec!["?"; names.len()].join(", ");
                let sql = format!("INSERT INTO shop.\"{}\" ({}) VALUES ({marks})", t.name, names.join(", "));
                self.conn.execute(&sql, rusqlite::params_from_iter(values)).expect("insert");
            }
        }
        self.fold.note(&self.conn, entry).expect("note");
        self.taken.advance(entry.place.origin, entry.place.seq);
    }
}

fn value(v: SqlRef<'_>) -> Value {
    match v {
        SqlRef::Null => Value::Null,
        SqlRef::Integer(i) => Value::Int(i),
        SqlRef::Real(r) => Value::Real(r),
        SqlRef::Text(t) => Value::Text(t.to_vec()),
        SqlRef::Blob(b) => Value::Blob(b.to_vec()),
    }
}

fn sql_value(v: &Value) -> rusqlite::types::Value {
    match v {
        Value::Null => rusqlite::types::Value::Null,
        Value::Int(i) => rusqlite::types::Value::Integer(*i),
        Value::Real(r) => rusqlite::types::Value::Real(*r),
        Value::Text(t) => rusqlite::types::Value::Text(String::from_utf8_lossy(t).into_owned()),
        Value::Blob(b) => rusqlite::types::Value::Blob(b.clone()),
    }
}

fn connect(dir: &tempfile::TempDir) -> (Connection, Materializer) {
    let conn = Connection::open_in_memory().expect("open");
    starling_apply::collate::register(&conn).expect("collations");
    let path = dir.path().join("shop.db");
    conn.execute("ATTACH ?1 AS shop", [path.to_str().expect("path")]).expect("attach");
    conn.execute_batch(
        "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA shop.synchronous = OFF; PRAGMA shop.journal_mode = MEMORY",
    )
    .expect("pragmas");
    (conn, Materializer::new(database(), "shop"))
}
