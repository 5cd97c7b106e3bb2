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
    let kept = node.dump();
    let Node { engine, store, dir, .. } = node;
    engine.close();
    drop(engine);
    // Two logs with the same entries: the files go on with one of them, and are then opened beside the other.
    let image = store.crash(usize::MAX);
    let node = Node::over(Arc::new(image.crash(usize::MAX)), Arc::clone(&dir), 1);
    node.exec("a", "INSERT INTO a.t VALUES(500, 'lost')");
    node.engine.close();
    drop(node);
    let node = Node::over(Arc::new(image.crash(usize::MAX)), dir, 1);
    assert_eq!(node.dump(), kept, "what the log does not hold is not there");
    assert_eq!(node.engine.applied(), Arc::new(node.log.held()));
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

/// The files as they are at this moment, beside the log as it is at the end.
fn copy_files(node: &Node) -> Arc<tempfile::TempDir> {
    let copy = tempfile::tempdir().unwrap();
    let into = copy.path().join("db");
    std::fs::create_dir(&into).unwrap();
    for file in std::fs::read_dir(node.dir.path().join("db")).unwrap() {
        let file = file.unwrap();
        // The shared-memory file dies with a machine.
        if !file.file_name().to_str().unwrap().ends_with("-shm") {
            std::fs::copy(file.path(), into.join(file.file_name())).unwrap();
        }
    }
    Arc::new(copy)
}

#[test]
fn files_of_any_earlier_moment_catch_up_with_the_log() {
    let node = Node::new(1).with_t("a");
    let mut copies = vec![copy_files(&node)];
    node.exec("a", "INSERT INTO a.t VALUES(1,'x'),(2,'y')");
    copies.push(copy_files(&node));
    let node = node.with_t("b");
    copies.push(copy_files(&node));
    node.exec("b", "INSERT INTO b.t VALUES(1,'x')");
    node.engine.control::<()>("members", b"{}".to_vec()).unwrap();
    copies.push(copy_files(&node));
    let id = node.engine.catalog().table("a", "t").unwrap().id;
    node.alter("a", SchemaChange::TruncateTable { table: id });
    node.exec("a", "INSERT INTO a.t VALUES(3,'z')");
    copies.push(copy_files(&node));
    node.alter("b", SchemaChange::DropDatabase);
    let node = node.with_t("b");
    node.exec("b", "INSERT INTO b.t VALUES(9,'new')");
    copies.push(copy_files(&node));
    let (dump, applied, controls) = (node.dump(), node.engine.applied(), node.engine.controls().0);
    for (i, dir) in copies.into_iter().enumerate() {
        let store = Arc::new(node.store.crash(usize::MAX));
        let again = Node::over(store, dir, 1);
        assert_eq!(again.dump(), dump, "copy {i}");
        assert_eq!(again.engine.applied(), applied, "copy {i}");
        assert_eq!(again.engine.controls().0, controls, "copy {i}");
        again.exec("b", "INSERT INTO b.t VALUES(10,'more')");
    }
}

#[test]
fn files_of_different_moments_catch_up_together() {
    let node = Node::new(1).with_t("a").with_t("b");
    for i in 0..5 {
        node.exec("a", &format!("INSERT INTO a.t VALUES({i},'a')"));
        node.exec("b", &format!("INSERT INTO b.t VALUES({i},'b')"));
    }
    let early = copy_files(&node);
    let mut open = starling_apply::overlay::Overlay::new();
    for db in ["a", "b"] {
        crate::overlays::exec(&node, &mut open, db, &format!("UPDATE {db}.t SET v = 'both'")).unwrap();
    }
    crate::overlays::commit(&node, open);
    let late = copy_files(&node);
    // Database a as it was before, b as it was after.
    for suffix in ["", "-wal"] {
        let name = format!("db/a.db{suffix}");
        std::fs::copy(early.path().join(&name), late.path().join(&name)).unwrap();
    }
    let dump = node.dump();
    let again = Node::over(Arc::new(node.store.crash(usize::MAX)), late, 1);
    assert_eq!(again.dump(), dump);
}
