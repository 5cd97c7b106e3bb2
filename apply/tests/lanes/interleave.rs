//! Open transactions side by side, at random: against serial execution, and against the reference fold.

use proptest::prelude::*;
use starling_apply::catalog::IndexKind;
use starling_apply::overlay::Overlay;
use starling_log::{Body, Draft, VersionVector};

use crate::kit::{Node, column, index, int, primary, show, table, text};
use crate::model::fold;
use crate::overlays::{commit, evict, exec};

/// `w(id PRIMARY KEY, v, u UNIQUE)`
fn node(origin: u16) -> Node {
    let node = Node::new(origin);
    node.create_database("a");
    let columns = vec![column(1, "id", int()), column(2, "v", text()), column(3, "u", int())];
    node.create_table(
        "a",
        table("w", columns, vec![primary(&[1]), index(7, "u", IndexKind::Unique, &[3])]),
    );
    node
}

const ALL: &str = "SELECT * FROM a.w ORDER BY id";

#[derive(Clone, Debug)]
enum Step {
    Exec(usize, String),
    /// Autocommit.
    Kept(String),
    Mark(usize),
    Back(usize),
    Commit(usize),
    Drop(usize),
    Evict,
    /// The other node writes; each takes what the other has.
    Other(String),
    Pull,
    Push,
}

/// A statement about rows of `who` alone (`id % 4 = who`, `u % 4 = who`).
fn own(who: i32) -> impl Strategy<Value = String> {
    (0..4_i32, 0..4_i32, 0..6_u8).prop_map(move |(n, m, kind)| {
        let (id, to) = (n * 4 + who, m * 4 + who);
        match kind {
            0 | 1 => format!("INSERT INTO a.w VALUES({id}, 'i{m}', {to})"),
            2 => format!("INSERT OR REPLACE INTO a.w VALUES({id}, 'r{m}', {to})"),
            3 => format!("UPDATE a.w SET v = v || '{m}' WHERE id % 4 = {who} AND id >= {id}"),
            4 => format!("UPDATE a.w SET id = {to}, u = u + 4 WHERE id = {id}"),
            _ => format!("DELETE FROM a.w WHERE id % 4 = {who} AND u >= {to}"),
        }
    })
}

fn any_statement() -> impl Strategy<Value = String> {
    (0..4).prop_flat_map(own)
}

fn apart() -> impl Strategy<Value = Step> {
    let statement = (0..3_usize).prop_flat_map(|who| own(i32::try_from(who).unwrap()).prop_map(move |sql| Step::Exec(who, sql)));
    prop_oneof![
        12 => statement,
        3 => own(3).prop_map(Step::Kept),
        1 => (0..3_usize).prop_map(Step::Mark),
        1 => (0..3_usize).prop_map(Step::Back),
        2 => (0..3_usize).prop_map(Step::Commit),
        1 => (0..3_usize).prop_map(Step::Drop),
        4 => Just(Step::Evict),
    ]
}

fn together() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..3_usize, any_statement()).prop_map(|(who, sql)| Step::Exec(who, sql)),
        3 => any_statement().prop_map(Step::Kept),
        4 => any_statement().prop_map(Step::Other),
        3 => (0..3_usize).prop_map(Step::Commit),
        2 => Just(Step::Evict),
        2 => Just(Step::Pull),
        2 => Just(Step::Push),
    ]
}

/// One transaction: on the node, and as the statements that it consists of.
#[derive(Default)]
struct Open {
    overlay: Overlay,
    done: Vec<String>,
    mark: Option<(starling_apply::overlay::OverlayMark, usize)>,
}

/// The same, one after another on plain SQLite.
struct Serial(rusqlite::Connection);

impl Serial {
    fn new() -> Serial {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        conn.execute_batch("ATTACH ':memory:' AS a; CREATE TABLE a.w(id INTEGER PRIMARY KEY, v TEXT, u INTEGER UNIQUE)")
            .unwrap();
        Serial(conn)
    }
    fn run(&self, statements: &[String]) {
        for sql in statements {
            self.0.execute_batch(sql).unwrap();
        }
    }
    /// Would the statement work behind these?
    fn allows(&self, before: &[String], sql: &str) -> bool {
        self.0.execute_batch("BEGIN").unwrap();
        self.run(before);
        let works = self.0.execute_batch(sql).is_ok();
        self.0.execute_batch("ROLLBACK").unwrap();
        works
    }
}

fn step_apart(node: &Node, serial: &Serial, open: &mut [Open; 3], step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Exec(who, sql) => {
            let mine = &mut open[who];
            let works = exec(node, &mut mine.overlay, "a", &sql).is_ok();
            prop_assert_eq!(works, serial.allows(&mine.done, &sql), "{}", &sql);
            if works {
                mine.done.push(sql);
            }
        }
        Step::Kept(sql) => {
            let works = node.write("a", crate::kit::statement(&sql)).is_ok();
            prop_assert_eq!(works, serial.allows(&[], &sql), "{}", &sql);
            if works {
                serial.run(&[sql]);
            }
        }
        Step::Mark(who) => open[who].mark = Some((open[who].overlay.mark(), open[who].done.len())),
        Step::Back(who) => {
            if let Some((mark, done)) = open[who].mark {
                open[who].overlay.truncate(mark);
                open[who].done.truncate(done);
            }
        }
        Step::Commit(who) => {
            let mine = std::mem::take(&mut open[who]);
            serial.run(&mine.done);
            commit(node, mine.overlay);
            prop_assert_eq!(node.query(&["a"], ALL), show(&serial.0, ALL));
        }
        Step::Drop(who) => open[who] = Open::default(),
        Step::Evict => evict(node, "a"),
        Step::Other(_) | Step::Pull | Step::Push => {}
    }
    Ok(())
}

/// The log's entries, folded by the reference.
fn reference(node: &Node) -> String {
    let entries: Vec<_> = node.log.scan(&VersionVector::new(), &node.log.held()).map(Result::unwrap).collect();
    let state = fold(entries.iter().map(|e| &**e));
    let mut rows: Vec<(i64, String)> = state.tables[0]
        .rows
        .iter()
        .map(|r| {
            let cell = |id| match &r.cells[&id] {
                starling_log::Value::Null => "NULL".to_owned(),
                starling_log::Value::Int(i) => i.to_string(),
                starling_log::Value::Text(t) => String::from_utf8(t.clone()).unwrap(),
                other => panic!("{other:?}"),
            };
            (cell(1).parse().unwrap(), format!("{},{},{}", cell(1), cell(2), cell(3)))
        })
        .collect();
    rows.sort();
    let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
    rows.join(";")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Disjoint rows: what each transaction does is what it would do alone, evicted or not, whatever the others do.
    #[test]
    fn transactions_apart_are_as_if_serial(steps in prop::collection::vec(apart(), 1..60)) {
        let node = node(1);
        let serial = Serial::new();
        let mut open: [Open; 3] = Default::default();
        for step in steps {
            step_apart(&node, &serial, &mut open, step)?;
        }
        for who in 0..3 {
            step_apart(&node, &serial, &mut open, Step::Commit(who))?;
        }
        prop_assert_eq!(reference(&node), node.query(&["a"], ALL));
    }

    /// No locks at all, and another node at ONE: the tables are the fold of the log, on both nodes.
    #[test]
    fn whatever_is_committed_the_tables_are_the_fold(steps in prop::collection::vec(together(), 1..60)) {
        let one = node(1);
        let other = Node::new(3);
        other.pull(&one);
        let mut open: [Open; 3] = Default::default();
        for step in steps {
            match step {
                // Refused for a taken value: as good as not tried.
                Step::Exec(who, sql) => drop(exec(&one, &mut open[who].overlay, "a", &sql)),
                Step::Kept(sql) => drop(one.write("a", crate::kit::statement(&sql))),
                Step::Other(sql) => drop(other.write("a", crate::kit::statement(&sql))),
                Step::Commit(who) => drop(commit(&one, std::mem::take(&mut open[who]).overlay)),
                Step::Evict => evict(&one, "a"),
                Step::Pull => one.pull(&other),
                Step::Push => other.pull(&one),
                Step::Mark(_) | Step::Back(_) | Step::Drop(_) => {}
            }
        }
        for mine in open {
            commit(&one, mine.overlay);
        }
        one.pull(&other);
        other.pull(&one);
        prop_assert_eq!(reference(&one), one.query(&["a"], ALL));
        prop_assert_eq!(one.dump(), other.dump());
        let dump = one.dump();
        let one = one.restart_after(|dir| std::fs::remove_file(dir.join("a.db")).unwrap());
        prop_assert_eq!(one.dump(), dump);
    }
}

#[test]
fn a_crash_between_append_and_apply_loses_nothing() {
    let node = node(1);
    node.exec("a", "INSERT INTO a.w VALUES(1,'x',1),(2,'y',2)");
    let mut open = Overlay::new();
    exec(
        &node,
        &mut open,
        "a",
        "UPDATE a.w SET v = 'z' WHERE id = 1; DELETE FROM a.w WHERE id = 2",
    )
    .unwrap();
    exec(&node, &mut open, "a", "INSERT INTO a.w VALUES(3,'n',2)").unwrap();
    let draft = Draft {
        causes: node.engine.applied(),
        schema: node.engine.catalog().version,
        body: Body::Rows(open.changes().unwrap()),
    };
    node.log.append(1, vec![draft]).unwrap();
    assert_eq!(node.query(&["a"], ALL), "1,x,1;2,y,2");
    let node = node.restart();
    assert_eq!(node.query(&["a"], ALL), "1,z,1;3,n,2");
}

#[test]
fn a_commit_that_cannot_be_applied_is_applied_later() {
    let node = node(1);
    let mut open = Overlay::new();
    exec(&node, &mut open, "a", "INSERT INTO a.w VALUES(1,'x',1)").unwrap();
    evict(&node, "a");
    let foreign = rusqlite::Connection::open(node.file("a")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcome = crate::kit::wait(node.engine.commit(open));
    assert!(matches!(outcome, Err(starling_apply::WriteError::Unapplied(_))), "{outcome:?}");
    foreign.execute_batch("ROLLBACK").unwrap();
    node.exec("a", "INSERT INTO a.w VALUES(2,'y',2)");
    assert_eq!(node.query(&["a"], ALL), "1,x,1;2,y,2");
    assert_eq!(reference(&node), node.query(&["a"], ALL));
}

#[test]
fn entries_of_the_own_second_origin_are_applied_like_others() {
    let node = node(1);
    node.exec("a", "INSERT INTO a.w VALUES(1,'x',1)");
    let (_, changes) = crate::kit::wait(node.engine.try_out(
        starling_apply::engine::Size::Any,
        "a",
        1_000,
        crate::kit::statement("UPDATE a.w SET v = 'decided' WHERE id = 1"),
    ))
    .unwrap();
    let draft = Draft {
        causes: node.engine.applied(),
        schema: node.engine.catalog().version,
        body: Body::Rows(changes),
    };
    // Whoever decides puts the entry into the log, and has it applied then.
    let placed = node.log.append(2, vec![draft]).unwrap();
    let entries = node.log.read(2, 1, usize::MAX).unwrap();
    node.engine.apply(entries).unwrap();
    assert_eq!(node.query(&["a"], ALL), "1,decided,1");
    assert!(node.engine.applied().contains(placed[0].place));
    let mut reader = node.engine.snapshot().unwrap();
    assert!(reader.snapshot_contains("a", placed[0].place).unwrap());
    drop(reader);
    node.exec("a", "UPDATE a.w SET v = v || '!'");
    let node = node.restart();
    assert_eq!(node.query(&["a"], ALL), "1,decided!,1");
    assert_eq!(reference(&node), node.query(&["a"], ALL));
}
