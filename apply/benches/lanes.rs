//! Lanes over a real log on disk: durable single-row inserts by waiting threads, point reads, replay of a log into new files.
//!
//! `cargo bench -p starling-apply --bench lanes [-- seconds]`; run with `chrt -r 1` where the cores are shared.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use starling_apply::catalog::{Column, DefaultValue, Index, IndexKind, KeyPart, Table};
use starling_apply::engine::EngineOptions;
use starling_apply::schema::SchemaChange;
use starling_apply::{BaseType, ColumnType, Engine};
use starling_log::{Body, Control, Draft, Log, LogOptions, SystemTime};

fn column(id: u32, name: &str, base: BaseType) -> Column {
    let character = base == BaseType::Char;
    Column {
        id,
        name: name.into(),
        ty: ColumnType {
            length: character.then_some(120),
            collation: character.then(|| "utf8mb4_0900_ai_ci".into()),
            ..ColumnType::new(base)
        },
        nullable: false,
        default: DefaultValue::None,
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    }
}

/// sysbench's table: two integers (one indexed) and two strings, about 190 bytes.
fn sbtest() -> Table {
    let index = |id, name: &str, kind, column| Index {
        id,
        name: name.into(),
        kind,
        parts: vec![KeyPart {
            column,
            prefix: None,
            descending: false,
        }],
        comment: String::new(),
        invisible: false,
    };
    Table {
        id: 0,
        db: 0,
        name: "sbtest".into(),
        columns: vec![
            column(1, "id", BaseType::Int),
            column(2, "k", BaseType::Int),
            column(3, "c", BaseType::Char),
            column(4, "pad", BaseType::Char),
        ],
        indexes: vec![index(5, "PRIMARY", IndexKind::Primary, 1), index(6, "k", IndexKind::Plain, 2)],
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: "utf8mb4_0900_ai_ci".into(),
        engine: "InnoDB".into(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
        next_id: 7,
    }
}

fn open(dir: &Path) -> Arc<Engine> {
    let log = Log::open(LogOptions::new(dir.join("log")), Arc::new(SystemTime)).expect("log");
    let options = EngineOptions {
        dir: dir.join("db"),
        origin: Some(1),
        on_connect: Arc::new(|_, _| Ok(())),
        full_row_image: true,
        on_progress: None,
    };
    Engine::open(options, log).expect("engine")
}

fn prepare(engine: &Engine) {
    let create = SchemaChange::CreateDatabase {
        name: "bench".into(),
        collation: "utf8mb4_0900_ai_ci".into(),
    };
    engine
        .alter::<()>(None, 1_000, Box::new(|_, _| Ok(Some(create.into()))))
        .expect("database");
    let table = SchemaChange::CreateTable { table: Box::new(sbtest()) };
    engine
        .alter::<()>(Some("bench"), 1_000, Box::new(|_, _| Ok(Some(table.into()))))
        .expect("table");
}

const C: &str = "68487932199-96439406143-93774651418-41631865787-96406072701-20604855487-25459966574-28203206787-41238978918-19503783441";
const PAD: &str = "22195207048-70116052123-74140395089-76317954521-98694025897";
static NEXT: AtomicU64 = AtomicU64::new(1);

fn insert(t: &mut starling_apply::lane::Try<'_>, id: u64) -> rusqlite::Result<usize> {
    let mut statement = t
        .connection
        .prepare_cached("INSERT INTO \"bench\".\"sbtest\"(id, k, c, pad) VALUES(?1, ?2, ?3, ?4)")?;
    statement.execute(rusqlite::params![
        id.cast_signed(),
        (id.wrapping_mul(2_654_435_761) % 100_000).cast_signed(),
        C,
        PAD
    ])
}

fn inserts(engine: &Arc<Engine>, threads: usize, time: Duration) {
    let stop = AtomicBool::new(false);
    let count = AtomicU64::new(0);
    let start = Instant::now();
    let groups = engine.log().flush_number();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
                while !stop.load(Ordering::Relaxed) {
                    let id = NEXT.fetch_add(1, Ordering::Relaxed);
                    let done = runtime.block_on(engine.write("bench", 1_000, Box::new(move |t| insert(t, id))));
                    done.expect("insert");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    let done = count.load(Ordering::Relaxed) as f64;
    let groups = (engine.log().flush_number() - groups) as f64;
    println!(
        "inserts, {threads:>2} waiting: {:>8.0}/s, {:.1} a group",
        done / start.elapsed().as_secs_f64(),
        done / groups.max(1.0)
    );
}

/// The log alone, one waiting: what a lane cannot be faster than.
fn append(engine: &Engine, time: Duration) {
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < time {
        let draft = Draft {
            causes: engine.applied(),
            schema: 1,
            body: Body::Control(Control {
                kind: "bench".into(),
                payload: vec![7; 200],
            }),
        };
        engine.log().append(9, vec![draft]).expect("append");
        count += 1;
    }
    println!("log append, 1 waiting: {:>8.0}/s", f64::from(count) / start.elapsed().as_secs_f64());
}

fn bulk(engine: &Arc<Engine>, rows: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let start = Instant::now();
    let mut left = rows;
    while left > 0 {
        let first = NEXT.fetch_add(1_000, Ordering::Relaxed);
        let job = move |t: &mut starling_apply::lane::Try<'_>| (first..first + 1_000).try_for_each(|id| insert(t, id).map(drop));
        runtime.block_on(engine.write("bench", 1_000, Box::new(job))).expect("bulk");
        left = left.saturating_sub(1_000);
    }
    println!("bulk insert:           {:>8.0} rows/s", rows as f64 / start.elapsed().as_secs_f64());
}

fn reads(engine: &Arc<Engine>, time: Duration) {
    let start = Instant::now();
    let mut count = 0_u64;
    let last = NEXT.load(Ordering::Relaxed);
    while start.elapsed() < time {
        for _ in 0..64 {
            let reader = engine.reader(&["bench"]).expect("reader");
            let mut statement = reader
                .prepare_cached("SELECT c FROM \"bench\".\"sbtest\" WHERE id = ?1")
                .expect("statement");
            count += 1;
            let id = (count.wrapping_mul(2_654_435_761) % last).cast_signed();
            let mut rows = statement.query([id]).expect("query");
            let _ = rows.next().expect("row");
        }
    }
    println!("point reads:           {:>8.0}/s", count as f64 / start.elapsed().as_secs_f64());
}

fn replay(dir: &Path) {
    let rows = NEXT.load(Ordering::Relaxed) as f64;
    std::fs::remove_dir_all(dir.join("db")).expect("db");
    let start = Instant::now();
    let engine = open(dir);
    let took = start.elapsed().as_secs_f64();
    println!("replay:                {:>8.0} rows/s", rows / took);
    drop(engine);
    let start = Instant::now();
    drop(open(dir));
    println!("open and close again:  {:>8.1} ms", start.elapsed().as_secs_f64() * 1e3);
}

/// `KILLED=dir MB=n`: fills a log of about n MB and dies without a word; the next run with the same `KILLED` opens it again.
fn killed(dir: &Path) {
    let start = Instant::now();
    let fresh = !dir.exists();
    let engine = open(dir);
    let log = engine.log().disk_bytes() >> 20;
    println!("open with {log} MiB of log: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    if !fresh {
        return;
    }
    prepare(&engine);
    let other = SchemaChange::CreateDatabase {
        name: "idle".into(),
        collation: "utf8mb4_0900_ai_ci".into(),
    };
    engine
        .alter::<()>(None, 1_000, Box::new(|_, _| Ok(Some(other.into()))))
        .expect("database");
    let megabytes: u64 = std::env::var("MB").ok().and_then(|m| m.parse().ok()).unwrap_or(1_024);
    while engine.log().disk_bytes() >> 20 < megabytes {
        bulk(&engine, 100_000);
    }
    std::process::abort();
}

fn main() {
    if let Some(dir) = std::env::var_os("KILLED") {
        return killed(Path::new(&dir));
    }
    let only: Option<usize> = std::env::var("THREADS").ok().and_then(|t| t.parse().ok());
    let seconds = std::env::args().filter_map(|a| a.parse::<f64>().ok()).next().unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let dir = tempfile::tempdir_in(".").expect("dir");
    let engine = open(dir.path());
    prepare(&engine);
    if let Some(threads) = only {
        return inserts(&engine, threads, time);
    }
    append(&engine, time / 2);
    for threads in [1, 4, 16, 64] {
        inserts(&engine, threads, time);
    }
    bulk(&engine, 200_000);
    reads(&engine, time / 2);
    drop(engine);
    replay(dir.path());
}
