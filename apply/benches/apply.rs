//! Rows per second of the fold: a table rebuilt from its entries (rows of about 190 bytes, a second index), then late entries.
//! `cargo bench -p starling-apply --bench apply`

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use starling_apply::catalog::{Column, DefaultValue, Index, IndexKind, KeyPart, Table};
use starling_apply::materialize::{EntrySource, FoldError, Materializer};
use starling_apply::schema::SchemaChange;
use starling_apply::types::{BaseType, ColumnType};
use starling_log::entry::object_id;
use starling_log::{Body, ChangeRef, Changes, Entry, Hlc, Op, Place, Row, Schema, Stamp, TableRef, ValueRef, VersionVector};

const ROWS: u64 = 300_000;
/// Rows of one entry (a bulk insert), and entries of one SQLite transaction.
const SHAPES: [(u64, u64); 2] = [(1, 500), (500, 10)];
const UPDATES: u64 = 100_000;

struct Entries(HashMap<Place, Arc<Entry>>);

impl EntrySource for Entries {
    fn entry(&self, place: Place) -> Result<Arc<Entry>, FoldError> {
        self.0.get(&place).cloned().ok_or_else(|| FoldError::Broken("no such entry".into()))
    }
    fn scan<'a>(&'a self, _: &VersionVector) -> Box<dyn Iterator<Item = Result<Arc<Entry>, FoldError>> + 'a> {
        Box::new(std::iter::empty())
    }
}

fn column(id: u32, name: &str, base: BaseType, length: Option<u32>) -> Column {
    let mut ty = ColumnType::new(base);
    ty.length = length;
    ty.collation = length.map(|_| "utf8mb4_0900_ai_ci".into());
    Column {
        id,
        name: name.into(),
        ty,
        nullable: false,
        default: DefaultValue::None,
        auto_increment: id == 1,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    }
}

fn index(id: u32, kind: IndexKind, column: u32) -> Index {
    Index {
        id,
        name: format!("i{id}"),
        kind,
        parts: vec![KeyPart {
            column,
            prefix: None,
            descending: false,
        }],
        comment: String::new(),
        invisible: false,
    }
}

fn sbtest(db: u64) -> Table {
    Table {
        id: 0,
        db,
        name: "sbtest1".into(),
        columns: vec![
            column(1, "id", BaseType::Int, None),
            column(2, "k", BaseType::Int, None),
            column(3, "c", BaseType::Char, Some(120)),
            column(4, "pad", BaseType::Char, Some(60)),
        ],
        indexes: vec![index(10, IndexKind::Primary, 1), index(11, IndexKind::Plain, 2)],
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: "utf8mb4_0900_ai_ci".into(),
        engine: "InnoDB".into(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
        next_id: 12,
    }
}

struct Author {
    origin: u16,
    seq: u64,
    clock: u64,
}

impl Author {
    fn entry(&mut self, body: Body) -> Entry {
        self.seq += 1;
        self.clock += 16;
        Entry {
            place: Place {
                origin: self.origin,
                seq: self.seq,
            },
            stamp: Stamp {
                hlc: Hlc(self.clock),
                origin: self.origin,
            },
            causes: VersionVector([(1, 2)].into_iter().filter(|(o, _)| *o != self.origin).collect()),
            schema: 2,
            body,
        }
    }
}

fn scattered(id: u64) -> i64 {
    (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).cast_signed()
}

fn row(id: u64, k: i64) -> Row {
    let digits = format!("{:011}-", id.wrapping_mul(0x9e37_79b9) % 99_999_999_999).repeat(10);
    Row::from_values([
        ValueRef::Int(id.cast_signed()),
        ValueRef::Int(k),
        ValueRef::Text(&digits.as_bytes()[..119]),
        ValueRef::Text(&digits.as_bytes()[..59]),
    ])
}

fn changes(db: u64, table: u64) -> Changes {
    Changes {
        tables: vec![TableRef {
            db,
            table,
            columns: vec![1, 2, 3, 4],
            key: vec![0],
        }],
        ..Changes::default()
    }
}

fn open(dir: &tempfile::TempDir, db: u64) -> (Connection, Materializer) {
    let conn = Connection::open_in_memory().expect("open");
    starling_apply::collate::register(&conn).expect("collations");
    let path = dir.path().join("shop.db");
    conn.execute("ATTACH ?1 AS shop", [path.to_str().expect("path")]).expect("attach");
    let pragmas = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA shop.journal_mode = WAL;
        PRAGMA shop.synchronous = NORMAL; PRAGMA shop.cache_size = -65536; PRAGMA shop.wal_autocheckpoint = 4000";
    conn.execute_batch(pragmas).expect("pragmas");
    let mut fold = Materializer::new(db, "shop");
    fold.init(&conn).expect("init");
    (conn, fold)
}

/// This thread's: what a busy machine does not blur.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn run(name: &str, conn: &Connection, fold: &mut Materializer, log: &Entries, batch: u64, entries: &[Arc<Entry>], rows: u64) {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut applied = VersionVector::new();
    for group in entries.chunks(usize::try_from(batch).expect("small")) {
        conn.execute_batch("BEGIN IMMEDIATE").expect("begin");
        for entry in group {
            fold.apply(conn, entry, log).expect("apply");
            applied.advance(entry.place.origin, entry.place.seq);
        }
        fold.finish(conn, &applied, log).expect("finish");
        conn.execute_batch("COMMIT").expect("commit");
    }
    let took = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    let rate = |seconds: f64| rows as f64 / seconds;
    println!("{name:<52} {:>9.0} rows/s, {:>9.0} per cpu second", rate(took), rate(cpu));
}

/// The history of one run: what creates and fills the table, updates in order, and updates that come late.
struct History {
    inserts: Vec<Arc<Entry>>,
    updates: Vec<Arc<Entry>>,
    late: Vec<Arc<Entry>>,
}

fn fill(author: &mut Author, db: u64, table: u64, rows: u64) -> Vec<Arc<Entry>> {
    let schema = |db: u64, change: SchemaChange| {
        Body::Schema(Schema {
            db,
            payload: change.to_payload(),
        })
    };
    let create = SchemaChange::CreateDatabase {
        name: "shop".into(),
        collation: "utf8mb4_0900_ai_ci".into(),
    };
    let made = SchemaChange::CreateTable {
        table: Box::new(sbtest(db)),
    };
    let mut inserts = vec![author.entry(schema(0, create)), author.entry(schema(db, made))];
    let mut id = 0;
    while id < ROWS {
        let mut all = changes(db, table);
        for _ in 0..rows {
            id += 1;
            let key = Row::from_values([ValueRef::Int(id.cast_signed())]);
            all.push(ChangeRef {
                op: Op::Insert,
                table: 0,
                key: key.as_ref(),
                before: None,
                after: Some(row(id, scattered(id)).as_ref()),
                changed: None,
            });
        }
        inserts.push(author.entry(Body::Rows(all)));
    }
    inserts.into_iter().map(Arc::new).collect()
}

fn update(author: &mut Author, db: u64, table: u64, id: u64, k: i64) -> Arc<Entry> {
    let mut all = changes(db, table);
    let key = Row::from_values([ValueRef::Int(id.cast_signed())]);
    all.push(ChangeRef {
        op: Op::Update,
        table: 0,
        key: key.as_ref(),
        before: Some(row(id, scattered(id)).as_ref()),
        after: Some(row(id, k).as_ref()),
        changed: Some(&[2]),
    });
    Arc::new(author.entry(Body::Rows(all)))
}

fn history(db: u64, table: u64, rows: u64) -> History {
    let mut author = Author {
        origin: 1,
        seq: 0,
        clock: 1 << 40,
    };
    let inserts = fill(&mut author, db, table, rows);
    let mut other = Author {
        origin: 2,
        seq: 0,
        clock: author.clock + 8,
    };
    let (mut updates, mut late) = (Vec::new(), Vec::new());
    for i in 0..UPDATES {
        let id = 1 + i.wrapping_mul(7919) % ROWS;
        updates.push(update(&mut author, db, table, id, i.cast_signed()));
        // Behind the first author's newest stamp; every eighth meets a row that has a later one.
        let id = if i % 8 == 0 { id } else { 1 + (id + ROWS / 2) % ROWS };
        late.push(update(&mut other, db, table, id, i.cast_signed()));
    }
    History { inserts, updates, late }
}

fn main() {
    let db = object_id(Place { origin: 1, seq: 1 }, 0);
    let table = object_id(Place { origin: 1, seq: 2 }, 0);
    for (rows, batch) in SHAPES {
        let h = history(db, table, rows);
        let all = h.inserts.iter().chain(&h.updates).chain(&h.late);
        let log = Entries(all.map(|e| (e.place, e.clone())).collect());
        let dir = tempfile::tempdir().expect("directory");
        let (conn, mut fold) = open(&dir, db);
        let shape = format!("{rows} rows/entry, {batch} entries/transaction");
        run(&format!("insert, {shape}"), &conn, &mut fold, &log, batch, &h.inserts, ROWS);
        run(
            &format!("update of the indexed column, {batch} in one"),
            &conn,
            &mut fold,
            &log,
            batch,
            &h.updates,
            UPDATES,
        );
        run(
            &format!("late update, one in eight refolds, {batch} in one"),
            &conn,
            &mut fold,
            &log,
            batch,
            &h.late,
            UPDATES,
        );
    }
}
