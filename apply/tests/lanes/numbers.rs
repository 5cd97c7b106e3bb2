//! AUTO_INCREMENT and hidden keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use starling_apply::catalog::Table;
use starling_apply::lane::{NoNumber, Numbering, Short, Try};
use starling_apply::numbers::Rule;
use starling_apply::schema::SchemaChange;
use starling_log::{ChangeRef, Changes, Op, Row, TableRef, ValueRef};

use crate::kit::{Node, column, int, primary, run, table, text};

fn numbered() -> Table {
    let mut columns = vec![column(1, "id", int()), column(2, "v", text())];
    columns[0].auto_increment = true;
    table("n", columns, vec![primary(&[1])])
}

fn insert(node: &Node) -> i64 {
    node.write(
        "d",
        Box::new(|t| {
            let id = t.catalog.table("d", "n").unwrap().id;
            let number = t.next_auto(id, Rule::default()).map_err(|e| format!("{e:?}"))?;
            run(t, &format!("INSERT INTO d.n VALUES({number}, 'x')"))?;
            Ok(number)
        }),
    )
    .unwrap()
    .0
}

fn insert_explicit(node: &Node, number: i64) {
    node.write(
        "d",
        Box::new(move |t| {
            let id = t.catalog.table("d", "n").unwrap().id;
            t.push_auto(id, number);
            run(t, &format!("INSERT INTO d.n VALUES({number}, 'x')"))
        }),
    )
    .unwrap();
}

fn node() -> Node {
    let node = Node::new(1);
    node.create_database("d");
    node.create_table("d", numbered());
    node
}

#[test]
fn numbers_are_dense_and_go_on_after_a_restart() {
    let node = node();
    assert_eq!((insert(&node), insert(&node), insert(&node)), (1, 2, 3));
    insert_explicit(&node, 10);
    assert_eq!(insert(&node), 11);
    node.exec("d", "DELETE FROM d.n WHERE id >= 10");
    let node = node.restart();
    assert_eq!(insert(&node), 12, "numbers of deleted rows do not come again");
    let id = node.engine.catalog().table("d", "n").unwrap().id;
    node.alter("d", SchemaChange::TruncateTable { table: id });
    assert_eq!(insert(&node), 1);
}

/// Decides as a quorum would that nobody contests: the entry of the drawer stands in everybody's log.
fn draw(node: &Node, wanted: i64, needed: i64) -> Option<(i64, i64)> {
    let id = node.engine.catalog().table("d", "n").unwrap().id;
    let draw = node.engine.plan_draw(id, wanted, needed).unwrap()?;
    let keys: Vec<_> = draw.claims.iter().map(|c| (c.key.clone(), c.mode)).collect();
    let bases: Vec<_> = draw.claims.iter().map(|c| c.base).collect();
    assert_eq!(node.engine.versions(&keys).unwrap(), bases);
    node.log_rows(draw.changes.clone());
    assert_ne!(node.engine.versions(&keys).unwrap(), bases, "the next draw has to know of this one");
    node.engine.grant(&draw);
    Some((draw.block.first, draw.block.last))
}

fn short(node: &Node) -> Short {
    let job = |t: &mut Try<'_>| {
        let id = t.catalog.table("d", "n").unwrap().id;
        match t.next_auto(id, Rule::default()) {
            Err(NoNumber::Short(short)) if t.short() == Some(short) => Ok(short),
            other => Err(format!("{other:?}")),
        }
    };
    node.write("d", Box::new(job)).unwrap().0
}

#[test]
fn numbers_of_prepared_transactions_are_not_counted_again() {
    let changes = |node: &Node, numbers: &[i64]| {
        let catalog = node.engine.catalog();
        let table = catalog.table("d", "n").unwrap();
        let mut changes = Changes::default();
        changes.tables.push(TableRef {
            db: table.db,
            table: table.id,
            columns: vec![2, 1],
            key: vec![1],
        });
        for number in numbers {
            let (key, after) = (
                Row::from_values([ValueRef::Int(*number)]),
                Row::from_values([ValueRef::Text(b"x"), ValueRef::Int(*number)]),
            );
            changes.push(ChangeRef {
                op: Op::Insert,
                table: 0,
                key: key.as_ref(),
                before: None,
                after: Some(after.as_ref()),
                changed: None,
            });
        }
        changes
    };
    let node = node();
    assert_eq!(insert(&node), 1);
    let node = node.restart();
    node.engine.keep_prepared(&changes(&node, &[3, 4, 2]));
    assert_eq!((insert(&node), insert(&node)), (5, 6));
    let node = node.restart();
    node.engine.keep_prepared(&changes(&node, &[20]));
    node.engine.close_numbers().unwrap();
    assert_eq!(short(&node).count, 1);
    assert_eq!(draw(&node, 4, 1), Some((21, 24)), "not by whoever draws next either");
}

#[test]
fn compact_numbers_that_ran_ahead_of_the_clock_do_not_come_again_after_a_restart() {
    let compact = |t: &mut Try<'_>| {
        let id = t.catalog.table("d", "n").unwrap().id;
        let rule = Rule {
            compact: true,
            ..Rule::default()
        };
        t.next_auto(id, rule).map_err(|e| format!("{e:?}"))
    };
    let mut node = node();
    let mut last = 0;
    for _ in 0..3 {
        // Numbers of 5 s, in a transaction that nothing is heard of yet: nothing of them is in the file.
        let many = move |t: &mut Try<'_>| (1..40_000).try_fold(compact(t)?, |_, _| compact(t));
        let (first, then) = node.write("d", Box::new(move |t| Ok((compact(t)?, many(t)?)))).unwrap().0;
        assert!(last < first && first < then, "{last} {first} {then}");
        last = then;
        node = node.restart_after(|dir| std::fs::remove_file(dir.join("d.db")).unwrap());
    }
}

#[test]
fn blocks_follow_each_other_on_all_nodes() {
    let founder = node();
    assert_eq!((insert(&founder), insert(&founder)), (1, 2));
    founder.engine.close_numbers().unwrap();
    let other = Node::new(3);
    other.engine.set_numbering(Numbering::Granted);
    other.pull(&founder);
    assert_eq!(short(&other).count, 1);
    assert_eq!(draw(&other, 4, 1), Some((3, 6)), "behind what the founder counted");
    founder.pull(&other);
    assert_eq!(short(&founder).count, 1);
    assert_eq!(draw(&founder, 8, 1), Some((7, 14)));
    assert_eq!((insert(&founder), insert(&other)), (7, 3));
    founder.pull(&other);
    other.pull(&founder);
    assert_eq!((insert(&founder), insert(&other)), (8, 4), "rows of others push nobody's block");
    insert_explicit(&other, 40);
    assert_eq!(short(&other).count, 1, "one's own explicit number does");
    assert_eq!(draw(&other, 4, 1), Some((41, 44)));
    founder.pull(&other);
    other.pull(&founder);
    assert_eq!(founder.dump(), other.dump());
    let other = other.restart();
    other.engine.set_numbering(Numbering::Granted);
    assert_eq!(short(&other).count, 1, "a restart drops what was left");
    assert_eq!(draw(&other, 4, 1), Some((45, 48)));
}

#[test]
fn positions_are_written_once_and_replayed() {
    let founder = node();
    assert_eq!(insert(&founder), 1);
    let unsaved = |t: &mut Try<'_>| {
        let id = t.catalog.table("d", "n").unwrap().id;
        t.next_auto(id, Rule::default()).map(drop).map_err(|e| format!("{e:?}"))
    };
    founder.write("d", Box::new(unsaved)).unwrap();
    founder.engine.close_numbers().unwrap();
    let held = founder.log.held();
    founder.engine.close_numbers().unwrap();
    assert_eq!(founder.log.held(), held);
    let other = Node::new(3);
    other.engine.set_numbering(Numbering::Granted);
    other.pull(&founder);
    assert_eq!(short(&other).count, 1);
    assert_eq!(draw(&other, 4, 1), Some((3, 6)), "2 was handed out, if never used");
    let other = other.restart_after(|dir| std::fs::remove_file(dir.join("d.db")).unwrap());
    other.engine.set_numbering(Numbering::Granted);
    assert_eq!(short(&other).count, 1);
    assert_eq!(draw(&other, 4, 1), Some((7, 10)), "the log alone tells what was drawn");
    other.engine.set_numbering(Numbering::Counted);
    assert_eq!(insert(&other), 11, "alone again: behind all blocks");
}

#[test]
fn a_block_of_before_a_truncate_is_not_taken_in() {
    let node = node();
    node.engine.set_numbering(Numbering::Granted);
    let id = node.engine.catalog().table("d", "n").unwrap().id;
    assert_eq!(short(&node).count, 1);
    let late = node.engine.plan_draw(id, 4, 1).unwrap().unwrap();
    node.alter("d", SchemaChange::TruncateTable { table: id });
    node.engine.grant(&late);
    assert_eq!(short(&node).count, 1);
    assert_eq!(draw(&node, 4, 1), Some((1, 4)));
}

#[test]
fn a_statement_gets_its_numbers_in_a_row() {
    let node = node();
    node.engine.set_numbering(Numbering::Granted);
    assert_eq!(short(&node).count, 1);
    draw(&node, 4, 1);
    assert_eq!(insert(&node), 1);
    let many = |t: &mut Try<'_>| {
        let id = t.catalog.table("d", "n").unwrap().id;
        match t.reserve_auto(id, 10, Rule::default()) {
            Err(NoNumber::Short(short)) => Ok(short.count),
            other => Err(format!("{other:?}")),
        }
    };
    assert_eq!(node.write("d", Box::new(many)).unwrap().0, 10);
    assert_eq!(draw(&node, 4, 10), Some((5, 14)));
    let id = node.engine.catalog().table("d", "n").unwrap().id;
    assert!(node.engine.has_numbers(id, 13), "blocks that touch are one");
    assert!(!node.engine.has_numbers(id, 14));
}

#[test]
fn whoever_runs_low_is_told_once() {
    let node = node();
    let told = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&told);
    node.engine.on_low_numbers(Box::new(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
    }));
    node.engine.set_numbering(Numbering::Granted);
    assert_eq!(short(&node).count, 1);
    draw(&node, 8, 1);
    for i in 1..=8 {
        assert_eq!(insert(&node), i);
        assert_eq!(told.load(Ordering::SeqCst), u64::from(i >= 4), "at {i}");
    }
}
