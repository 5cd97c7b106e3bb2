//! Real clients, unmodified, against a real server: the mariadb command line, sysbench, PyMySQL, a Rust driver.

mod support;

use std::process::{Command, Stdio};

use mysql_async::prelude::Queryable;
use support::Node;

fn node(under: &std::path::Path) -> Node {
    let mut node = Node::new("clients", under);
    node.start();
    node.sql("CREATE DATABASE shop");
    node
}

#[test]
fn the_command_line_sees_mysqls_answers_and_errors() {
    let under = tempfile::tempdir().expect("a directory");
    let node = node(under.path());
    node.sql("CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20) NOT NULL, price DECIMAL(8,2), UNIQUE KEY (name))");
    node.sql("INSERT INTO shop.t (name, price) VALUES ('tea', 4.2), ('cake', 3.5)");
    assert_eq!(node.sql("SELECT * FROM shop.t ORDER BY id"), "1\ttea\t4.20\n2\tcake\t3.50\n");
    assert_eq!(node.sql("SELECT SUM(price), COUNT(*) FROM shop.t WHERE name = 'TEA'"), "4.20\t1\n");
    assert!(node.sql("SHOW CREATE TABLE shop.t").contains("AUTO_INCREMENT"));
    assert_eq!(
        node.sql("UPDATE shop.t SET price = price * 2 WHERE id = 2; SELECT ROW_COUNT(), price FROM shop.t WHERE id = 2"),
        "1\t7.00\n"
    );
    for (text, code) in [
        ("SELEC 1", "1064"),
        ("SELECT * FROM shop.missing", "1146"),
        ("SELECT missing FROM shop.t", "1054"),
        ("USE missing", "1049"),
        ("INSERT INTO shop.t (name) VALUES ('tea')", "1062"),
        ("INSERT INTO shop.t (name) VALUES (NULL)", "1048"),
        ("INSERT INTO shop.t (price) VALUES (1)", "1364"),
        ("CREATE TRIGGER x BEFORE INSERT ON shop.t FOR EACH ROW SET @a = 1", "1235"),
    ] {
        let (ok, message) = node.try_sql(text);
        assert!(!ok && message.contains(&format!("ERROR {code} ")), "{text}: {message}");
    }
    let wrong = Command::new("mariadb")
        .args([
            "--no-defaults",
            "-h127.0.0.1",
            "-uroot",
            "-pwrong",
            "-e",
            "SELECT 1",
            &format!("-P{}", node.mysql),
        ])
        .output()
        .expect("runs");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("ERROR 1045 "));
}

#[test]
fn rows_of_several_tables_change_as_mysql_changes_them() {
    let under = tempfile::tempdir().expect("a directory");
    let node = node(under.path());
    node.sql(
        "CREATE TABLE shop.a (id INT PRIMARY KEY, x INT, both_have INT); CREATE TABLE shop.b (id INT PRIMARY KEY, y INT, both_have INT)",
    );
    node.sql("INSERT INTO shop.a VALUES (1, 0, 0), (2, 0, 0); INSERT INTO shop.b VALUES (1, 0, 0)");
    node.sql("UPDATE shop.a JOIN shop.b ON a.id = b.id SET a.x = 1, b.y = 2");
    assert_eq!(node.sql("SELECT x FROM shop.a ORDER BY id; SELECT y FROM shop.b"), "1\n0\n2\n");
    let refused = node.try_sql("UPDATE shop.a JOIN shop.b ON a.id = b.id SET both_have = 1, typo = 2");
    assert!(!refused.0 && refused.1.contains("ERROR 1052"), "{}", refused.1);
    let refused = node.try_sql("UPDATE shop.a JOIN shop.b ON a.id = b.id SET x = 1, typo = 2");
    assert!(!refused.0 && refused.1.contains("ERROR 1054"), "{}", refused.1);
    node.sql("CREATE DATABASE other; CREATE TABLE other.c (id INT PRIMARY KEY); INSERT INTO other.c SELECT id FROM shop.a");
    assert_eq!(node.sql("SELECT COUNT(*) FROM other.c"), "2\n");
    // What IGNORE passes over is not in the log either.
    node.sql(
        "CREATE TABLE shop.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES a (id)); INSERT INTO shop.child VALUES (1, 1)",
    );
    node.sql("UPDATE IGNORE shop.child SET p = 99");
    assert_eq!(node.sql("SELECT p FROM shop.child"), "1\n");
    let (code, text) = support::starling(&["verify", "--against-log", "--http-addr", &node.http_addr()]);
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn a_prepared_for_update_really_locks() {
    let under = tempfile::tempdir().expect("a directory");
    let node = node(under.path());
    node.sql("CREATE TABLE shop.n (id INT PRIMARY KEY, v INT); INSERT INTO shop.n VALUES (1, 0)");
    let add = |url: String| async move {
        let mut connection = mysql_async::Conn::from_url(url).await.expect("connects");
        for _ in 0..20 {
            connection.query_drop("BEGIN").await.expect("begins");
            let v: Option<i32> = connection
                .exec_first("SELECT v FROM n WHERE id = ? FOR UPDATE", (1,))
                .await
                .expect("reads");
            let v = v.expect("the row");
            connection
                .exec_drop("UPDATE n SET v = ? WHERE id = 1", (v + 1,))
                .await
                .expect("writes");
            connection.query_drop("COMMIT").await.expect("commits");
        }
    };
    tokio::join!(add(node.url("shop")), add(node.url("shop")));
    assert_eq!(node.sql("SELECT v FROM shop.n"), "40\n");
}

#[test]
fn passwords_of_both_kinds_are_checked() {
    let under = tempfile::tempdir().expect("a directory");
    let mut node = Node::new("passwords", under.path())
        .env("MYSQL_ROOT_PASSWORD", "rüt secret")
        .env("MYSQL_DATABASE", "app")
        .env("MYSQL_USER", "ann")
        .env("MYSQL_PASSWORD", "ann's");
    node.start();
    let ask = |user: &str, password: &str| {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "-h127.0.0.1", "-N", "-B", "-e", "SELECT CURRENT_USER()", "app"])
            .args([format!("-P{}", node.mysql), format!("-u{user}"), format!("-p{password}")])
            .output()
            .expect("runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Twice: the full path, then the fast one.
    for _ in 0..2 {
        assert!(ask("root", "rüt secret").0);
        assert_eq!(ask("ann", "ann's"), (true, "ann@%\n".to_string()));
    }
    assert!(!ask("root", "other").0);
    assert!(!ask("nobody", "x").0);
}

#[test]
fn sysbench_runs_its_workloads() {
    let under = tempfile::tempdir().expect("a directory");
    let node = node(under.path());
    let run = |workload: &str, step: &str| {
        let output = Command::new("sysbench")
            .args([
                "--db-driver=mysql",
                "--mysql-host=127.0.0.1",
                "--mysql-user=root",
                "--mysql-db=shop",
            ])
            .args(["--tables=2", "--table-size=500", "--threads=4", "--time=1"])
            .args([&format!("--mysql-port={}", node.mysql), workload, step])
            .output()
            .expect("sysbench is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !text.contains("FATAL"), "{workload} {step}: {text}");
    };
    run("oltp_read_write", "prepare");
    for workload in [
        "oltp_point_select",
        "oltp_read_only",
        "oltp_write_only",
        "oltp_read_write",
        "oltp_delete",
    ] {
        run(workload, "run");
    }
}

const PYTHON: &str = r#"
import sys, datetime, decimal, pymysql
c = pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root", database="shop", autocommit=False)
k = c.cursor()
k.execute("CREATE TABLE p (id BIGINT PRIMARY KEY, t TEXT, b BLOB, d DATETIME(6), n DECIMAL(20,5), u BIGINT UNSIGNED, j JSON)")
row = (1, "naïve ☃", bytes(range(256)), datetime.datetime(2026, 11, 22, 1, 2, 3, 4), decimal.Decimal("-1.50000"), 2**64 - 1, '{"a": [1, null]}')
k.execute("INSERT INTO p VALUES (%s, %s, _binary %s, %s, %s, %s, %s)", row)
c.commit()
k.execute("SELECT * FROM p")
assert k.fetchone() == row, "the row came back otherwise"
k.execute("INSERT INTO p (id) VALUES (2)"); c.rollback()
k.execute("SELECT COUNT(*) FROM p"); assert k.fetchone() == (1,)
try:
    k.execute("INSERT INTO p (id) VALUES (1)"); raise SystemExit("a duplicate was taken")
except pymysql.err.IntegrityError as e:
    assert e.args[0] == 1062, e
k.executemany("INSERT INTO p (id, t) VALUES (%s, %s)", [(i, "x" * i) for i in range(10, 40)])
c.commit()
k.execute("SELECT id, LENGTH(t) FROM p WHERE id BETWEEN 10 AND 12"); assert k.fetchall() == ((10, 10), (11, 11), (12, 12))
print("fine")
"#;

#[test]
fn pymysql_reads_what_it_wrote() {
    let under = tempfile::tempdir().expect("a directory");
    let node = node(under.path());
    let output = Command::new("/usr/bin/python3")
        .args(["-c", PYTHON, &node.mysql.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("python runs");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.starts_with("fine"), "{text}");
}

#[tokio::test]
async fn a_rust_driver_prepares_and_binds() {
    let under = tempfile::tempdir().expect("a directory");
    let node = node(under.path());
    let mut connection = mysql_async::Conn::from_url(node.url("shop")).await.expect("connects");
    connection
        .query_drop("CREATE TABLE r (id INT PRIMARY KEY, x DOUBLE, s VARCHAR(50))")
        .await
        .expect("creates");
    for i in 0..50 {
        connection
            .exec_drop("INSERT INTO r VALUES (?, ?, ?)", (i, f64::from(i) / 4.0, format!("row {i}")))
            .await
            .expect("inserts");
    }
    let rows: Vec<(i32, f64, Option<String>)> = connection
        .exec(
            "SELECT id, x, s FROM r WHERE id >= ? AND s LIKE ? ORDER BY id LIMIT ?",
            (47, "row%", 2),
        )
        .await
        .expect("selects");
    assert_eq!(rows, [(47, 11.75, Some("row 47".into())), (48, 12.0, Some("row 48".into()))]);
    let error = connection
        .exec_drop("INSERT INTO r VALUES (?, NULL, NULL)", (1,))
        .await
        .expect_err("a duplicate");
    assert!(matches!(error, mysql_async::Error::Server(e) if e.code == 1062));
}

#[test]
fn garbage_ends_only_its_own_connection() {
    use std::io::Write;
    let under = tempfile::tempdir().expect("a directory");
    let node = node(under.path());
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 1], &[5, 0, 0, 1, 1]] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", node.mysql)).expect("listens");
        let _ = stream.write_all(bytes);
    }
    assert_eq!(node.sql("SELECT 1"), "1\n");
}

#[test]
fn a_start_that_cannot_be_is_refused_in_one_line() {
    let under = tempfile::tempdir().expect("a directory");
    let mut first = Node::new("first", under.path());
    first.start();
    let refuse = |node: &Node, word: &str| {
        let output = node.command().stderr(Stdio::piped()).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(word), "{text}");
    };
    let mut same_directory = Node::new("second", under.path());
    same_directory.dir = first.dir.clone();
    refuse(&same_directory, "in use");
    let mut same_port = Node::new("third", under.path());
    same_port.mysql = first.mysql;
    refuse(&same_port, "--mysql-addr");
    assert!(!same_port.dir.exists(), "a refused start changed something");
    assert!(first.term().success(), "SIGTERM ends with 0");
}

#[test]
fn what_lost_between_nodes_is_listed() {
    let under = tempfile::tempdir().expect("a directory");
    let mut nodes = support::cluster(&["one", "two"], under.path());
    nodes[0].sql("CREATE DATABASE shop; CREATE TABLE shop.u (id INT PRIMARY KEY, name VARCHAR(9) UNIQUE)");
    let there = |node: &Node, text: &str, wanted: &str| support::until(text, || node.try_sql(text) == (true, wanted.to_string()));
    there(&nodes[1], "SELECT COUNT(*) FROM shop.u", "0\n");
    // Each writes while the other is away: both take the same unique value.
    nodes[0].term();
    nodes[1].sql_at_one("INSERT INTO shop.u VALUES (1, 'x')");
    nodes[1].term();
    nodes[0].start();
    nodes[0].sql_at_one("INSERT INTO shop.u VALUES (2, 'x')");
    nodes[1].start();
    for node in &nodes {
        there(node, "SELECT id FROM shop.u", "2\n");
        there(
            node,
            "SELECT table_name, row_key, reason FROM starling.conflicts",
            "u\t1\ta later row of the same unique value\n",
        );
        assert_eq!(node.sql("SELECT id, name FROM starling.members ORDER BY id"), "1\tone\n2\ttwo\n");
        assert_eq!(node.sql("SELECT value FROM starling.status WHERE name = 'writable'"), "yes\n");
    }
    let (ok, message) = nodes[0].try_sql("ALTER TABLE shop.u ADD COLUMN t VARCHAR(40) DEFAULT (UUID())");
    assert!(!ok && message.contains("ERROR 1235"), "{message}");
    assert_eq!(support::verify(&[&nodes[0], &nodes[1]]).0, 0);
}

/// PyMySQL hands over what stands behind an OK's numbers as it is.
const TRACKING: &str = r#"
import sys, pymysql
c = pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root", database="shop", autocommit=True, client_flag=1 << 23)
k = c.cursor()
def told(sql):
    c.query(sql)
    return c._result.message or b""
assert told("USE shop") == b"\x00\x07\x01\x05\x04shop", told("USE shop")
assert told("SET autocommit = 1") == b"\x00\x10\x00\x0e\x0aautocommit\x02ON"
assert told("CREATE TABLE g (id INT PRIMARY KEY)") == b""
told("SET session_track_gtids = OWN_GTID")
own = told("INSERT INTO g VALUES (1)")
k.execute("SELECT @@gtid_executed"); executed = k.fetchone()[0]
assert own[2:3] == b"\x03" and own[4:5] == b"\x00", own
own = own[6:].decode()
k.execute("SELECT GTID_SUBSET(%s, %s), WAIT_FOR_EXECUTED_GTID_SET(%s, 1)", (own, executed, own)); assert k.fetchone() == (1, 0), (own, executed)
assert told("BEGIN") == b"" and told("INSERT INTO g VALUES (2)") == b"" and b"\x03" in told("COMMIT")
k.execute("SELECT GET_LOCK('a', 1), IS_FREE_LOCK('a')"); assert k.fetchone() == (1, 0)
print("fine")
"#;

#[test]
fn a_client_that_tracks_its_session_gets_the_gtids_of_its_commits() {
    let under = tempfile::tempdir().expect("a directory");
    let node = node(under.path());
    let output = Command::new("/usr/bin/python3")
        .args(["-c", TRACKING, &node.mysql.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("python runs");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.ends_with("fine\n"), "{text}");
}
