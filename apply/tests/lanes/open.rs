//! Opening: what is trusted, what is rebuilt.

use std::sync::Arc;

use starling_apply::schema::SchemaChange;
use starling_log::store::sim::SimStore;

use crate::kit::{Node, column, int, primary, table};

fn filled() -> Node {
    let node = Node::new(1).with_t("a").with_t("b");
    for i in 0..20 {
        node.exec("a", &format!("INSERT INTO a.t VALUES({i}, 'a{i}')"));
        node.exec("b", &format!("INSERT INTO b.t VALUES({i}, 'b{i}')"));
    }
    node.exec("a", "DELETE FROM a.t WHERE id % 3 = 0");
    node
}

#[test]
fn everything_is_there_after_a_restart() {
    let node = filled();
    let dump = node.dump();
    let applied = node.engine.applied();
    let version = node.engine.catalog().version;
    let node = node.restart();
    assert_eq!(node.dump(), dump);
    assert_eq!(node.engine.applied(), applied);
    assert_eq!(node.engine.catalog().version, version);
    node.exec("a", "INSERT INTO a.t VALUES(100, 'new')");
}

#[test]
fn deleted_files_come_back_equal() {
    for gone in [
        &["a.db"][..],
        &["starling.db"],
        &["a.db", "starling.db"],
        &["a.db", "b.db", "starling.db"],
    ] {
        let node = filled();
        let dump = node.dump();
        let node = node.restart_after(|dir| {
            for file in gone {
                for suffix in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(dir.join(format!("{file}{suffix}")));
                }
            }
        });
        assert_eq!(node.dump(), dump, "{gone:?}");
        node.exec("b", "INSERT INTO b.t VALUES(100, 'new')");
    }
}

#[test]
fn a_file_that_is_ahead_of_the_log_is_rebuilt() {
    let node = filled();
    // A log that lost its tail: a copy of an earlier state.
    let kept = node.dump();
    let earlier = Arc::new(node.store.crash(usize::MAX));
    let Node { engine, dir, .. } = node;
    drop(engine);
    let again = Node::over(Arc::clone(&earlier), Arc::clone(&dir), 1);
    let old = Arc::new(again.store.crash(0));
    drop(again);
    let node = Node::over(Arc::clone(&old), Arc::clone(&dir), 1);
    let back = Arc::new(node.store.crash(0));
    let later = Node::over(Arc::new(node_copy(&back)), Arc::clone(&dir), 1);
    later.exec("a", "INSERT INTO a.t VALUES(500, 'lost')");
    later.engine.close();
    drop(later);
    drop(node);
    let node = Node::over(back, dir, 1);
    assert_eq!(node.dump(), kept, "what the log does not hold is not there");
}

fn node_copy(store: &SimStore) -> SimStore {
    store.crash(0)
}

#[test]
fn damaged_files_are_rebuilt() {
    let damage: [fn(&std::path::Path); 4] = [
        |file| std::fs::write(file, b"rubbish").unwrap(),
        |file| {
            let mut bytes = std::fs::read(file).unwrap();
            bytes[..200].fill(0xff);
            std::fs::write(file, bytes).unwrap();
        },
        |file| {
            let conn = rusqlite::Connection::open(file).unwrap();
            conn.execute_batch("DROP TABLE t").unwrap();
        },
        |file| std::fs::write(file.with_extension("db-damaged"), b"").unwrap(),
    ];
    for damage in damage {
        let node = filled();
        let dump = node.dump();
        let node = node.restart_after(|dir| damage(&dir.join("a.db")));
        assert_eq!(node.dump(), dump);
        assert!(!node.file("a").with_extension("db-damaged").exists());
    }
}

#[test]
fn files_of_another_log_are_not_trusted() {
    let node = filled();
    let Node { engine, dir, .. } = node;
    drop(engine);
    let node = Node::over(Arc::new(SimStore::new()), dir, 1);
    assert_eq!(node.dump(), "");
    assert!(!node.file("a").exists(), "files of databases that do not exist are removed");
}

#[test]
fn schema_changes_survive_and_drop_removes_the_file() {
    let node = filled();
    let wide = table("w", vec![column(1, "id", int()), column(2, "n", int())], vec![primary(&[1])]);
    node.create_table("a", wide);
    node.exec("a", "INSERT INTO a.w VALUES(1, 2)");
    node.alter("b", SchemaChange::DropDatabase);
    assert!(!node.file("b").exists());
    assert!(node.engine.catalog().database("b").is_none());
    assert!(node.engine.reader(&["b"]).is_err());
    let node = node.with_t("B");
    node.exec("b", "INSERT INTO b.t VALUES(7, 'second life')");
    let dump = node.dump();
    let node = node.restart();
    assert_eq!(node.dump(), dump);
    let node = node.restart_after(|dir| {
        std::fs::remove_file(dir.join("starling.db")).unwrap();
        std::fs::remove_file(dir.join("b.db")).unwrap();
    });
    assert_eq!(node.dump(), dump);
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("starling.db")).unwrap());
    assert_eq!(node.dump(), dump);
    assert_eq!(node.query(&["b"], "SELECT * FROM b.t"), "7,second life");
}

#[test]
fn a_reader_of_a_dropped_database_keeps_its_snapshot() {
    let node = filled();
    let snapshot = node.engine.snapshot().unwrap();
    node.alter("b", SchemaChange::DropDatabase);
    let node = node.with_t("b");
    assert_eq!(crate::kit::show(&snapshot, "SELECT count(*) FROM b.t"), "20");
    drop(snapshot);
    assert_eq!(node.query(&["b"], "SELECT count(*) FROM b.t"), "0");
}

#[test]
fn control_entries_are_kept_in_order_and_fed() {
    let node = filled();
    let (before, feed) = node.engine.controls();
    assert!(before.is_empty());
    node.engine.control::<()>("members", b"1".to_vec()).unwrap();
    node.engine.control::<()>("accounts", b"2".to_vec()).unwrap();
    assert_eq!(feed.len(), 2);
    let node = node.restart();
    let (kept, _) = node.engine.controls();
    assert_eq!(kept.len(), 2);
    assert!(kept[0].stamp < kept[1].stamp);
    let node = node.restart_after(|dir| std::fs::remove_file(dir.join("starling.db")).unwrap());
    assert_eq!(node.engine.controls().0, kept);
}

#[test]
fn a_restart_reads_only_the_tail() {
    let node = filled();
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let Node {
        engine, store, dir, log, ..
    } = node;
    engine.close();
    drop((engine, log));
    let mut options = crate::kit::options(dir.path(), 1);
    let seen = Arc::clone(&count);
    options.on_progress = Some(Arc::new(move |done, _| seen.store(done, std::sync::atomic::Ordering::Release)));
    let engine = starling_apply::Engine::open(options, crate::kit::open_log(store)).unwrap();
    assert_eq!(count.load(std::sync::atomic::Ordering::Acquire), 0);
    drop(engine);
}
