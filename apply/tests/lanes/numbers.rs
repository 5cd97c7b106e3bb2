//! AUTO_INCREMENT and hidden keys.

use starling_apply::catalog::Table;
use starling_apply::schema::SchemaChange;

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
            let number = t.next_auto(id);
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

#[test]
fn two_nodes_never_give_the_same_number() {
    let founder = node();
    founder.engine.share_numbers();
    let other = Node::new(3);
    other.pull(&founder);
    let a: Vec<i64> = (0..3).map(|_| insert(&founder)).collect();
    let b: Vec<i64> = (0..3).map(|_| insert(&other)).collect();
    assert_eq!(a, [1, 2, 3]);
    assert_eq!(b, [1 << 30, (1 << 30) + 1, (1 << 30) + 2]);
    founder.pull(&other);
    other.pull(&founder);
    assert_eq!(insert(&founder), 4, "rows of the other node do not push the founder's counter");
    assert_eq!(insert(&other), (1 << 30) + 3);
    other.pull(&founder);
    founder.pull(&other);
    assert_eq!(founder.dump(), other.dump());
    let other = other.restart();
    assert_eq!(insert(&other), (1 << 30) + 4);
}
