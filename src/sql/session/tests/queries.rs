//! Queries through a whole session: what leaves something behind, and what the binder's own tests cannot see.

use super::World;

async fn shop() -> World {
    let mut world = World::new().await;
    world
        .run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, g INT, name VARCHAR(40), price DECIMAL(10,2), KEY (name), KEY (g))")
        .await;
    world
        .run("INSERT INTO t VALUES (1,1,'Apple',1.50),(2,1,'banana',20.00),(3,2,'cherry',3.25),(4,2,'date',7.00),(5,NULL,'apple pie',0.5)")
        .await;
    world
}

/// Statements in order; of each the rows (or the OK), joined by `;`. An error is its code.
async fn check(world: &mut World, cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let found = match world.try_run(sql).await {
            Ok(lines) => lines.join(";"),
            Err(error) => error.code.to_string(),
        };
        if found != *expected {
            wrong.push(format!("{sql}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_assigned_inside_of_expressions() {
    let mut world = shop().await;
    check(
        &mut world,
        &[
            ("SET @a = 5", "ok 0 0"),
            ("SELECT @a := @a + 1, @a", "6|6"),
            (
                "SELECT @n := @n + 1, x.price FROM (SELECT id, price FROM t) x, (SELECT @n := 0) y",
                "1|1.50;2|20.00;3|3.25;4|7.00;5|0.50",
            ),
            ("SET @n = 0", "ok 0 0"),
            (
                "SELECT @n := @n + 1 AS n, name FROM t ORDER BY price DESC",
                "1|banana;2|date;3|cherry;4|Apple;5|apple pie",
            ),
            ("SET @sum = 0", "ok 0 0"),
            ("SELECT @sum := @sum + price FROM t ORDER BY id LIMIT 2", "1.50;21.50"),
            (
                "SELECT rn FROM (SELECT @k := @k + 1 AS rn FROM t, (SELECT @k := 0) z) x WHERE rn > 3 ORDER BY rn",
                "4;5",
            ),
            ("SET @c = 0", "ok 0 0"),
            (
                "UPDATE t SET g = (@c := @c + 1) ORDER BY id DESC",
                "ok 4 0 Rows matched: 5  Changed: 4  Warnings: 0",
            ),
            ("SELECT @c, GROUP_CONCAT(g ORDER BY id) FROM t", "5|5,4,3,2,1"),
            ("DO @z := 'x'", "ok 0 0"),
            ("SELECT @z", "x"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_reads_queries_as_its_transaction_sees_them() {
    let mut world = shop().await;
    check(
        &mut world,
        &[
            ("BEGIN", "ok 0 0"),
            ("INSERT INTO t (id, name) VALUES (9, 'x')", "ok 1 9"),
            ("SET @n = (SELECT COUNT(*) FROM t), @m = 7", "ok 0 0"),
            ("SELECT @n, @m", "6|7"),
            ("SELECT id, name INTO @i, @s FROM t WHERE id = 9", "ok 1 0"),
            ("ROLLBACK", "ok 0 0"),
            ("SELECT @i, @s", "9|x"),
            ("SELECT id INTO @i FROM t", "1172"),
            ("SELECT id, g INTO @i FROM t", "1222"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_beyond_the_limit_and_ids_are_given() {
    let mut world = shop().await;
    check(
        &mut world,
        &[
            ("SELECT SQL_CALC_FOUND_ROWS id FROM t ORDER BY id LIMIT 2", "1;2"),
            ("SELECT FOUND_ROWS()", "5"),
            ("SELECT SQL_CALC_FOUND_ROWS id FROM t WHERE g = 1 LIMIT 0", ""),
            ("SELECT FOUND_ROWS()", "2"),
            ("SELECT id FROM t ORDER BY id LIMIT 2", "1;2"),
            ("SELECT FOUND_ROWS()", "2"),
            ("SELECT 1 UNION SELECT SQL_CALC_FOUND_ROWS 2", "1234"),
            (
                "UPDATE t SET g = LAST_INSERT_ID(g + 10) WHERE id = 1",
                "ok 1 11 Rows matched: 1  Changed: 1  Warnings: 0",
            ),
            ("SELECT LAST_INSERT_ID()", "11"),
            (
                "INSERT INTO t (id) VALUES (3) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), g = 4",
                "ok 2 3",
            ),
            ("SELECT LAST_INSERT_ID(), LAST_INSERT_ID(77)", "3|77"),
            ("SELECT LAST_INSERT_ID()", "77"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_rolled_up() {
    let mut world = shop().await;
    check(
        &mut world,
        &[
            (
                "SELECT g, COUNT(*), SUM(price) FROM t GROUP BY g WITH ROLLUP",
                "NULL|1|0.50;1|2|21.50;2|2|10.25;NULL|5|32.25",
            ),
            (
                "SELECT g, name, COUNT(*) FROM t WHERE g IS NOT NULL GROUP BY g, name WITH ROLLUP",
                "1|Apple|1;1|banana|1;1|NULL|2;2|cherry|1;2|date|1;2|NULL|2;NULL|NULL|4",
            ),
            (
                "SELECT IFNULL(g, 'all') k, COUNT(*) n FROM t GROUP BY g WITH ROLLUP HAVING n > 1",
                "1|2;2|2;all|5",
            ),
            (
                "SELECT g, GROUPING(g), SUM(id) FROM t GROUP BY g WITH ROLLUP",
                "NULL|0|5;1|0|3;2|0|7;NULL|1|15",
            ),
            (
                "SELECT id % 2 AS odd, MAX(id) FROM t GROUP BY odd WITH ROLLUP ORDER BY 2 DESC, odd LIMIT 2",
                "NULL|5;1|5",
            ),
            ("SELECT g + 1, COUNT(*) FROM t GROUP BY g + 1 WITH ROLLUP", "NULL|1;2|2;3|2;NULL|5"),
            ("SELECT g, SUM(g) FROM t GROUP BY g WITH ROLLUP", "NULL|NULL;1|2;2|4;NULL|6"),
            (
                "SELECT x.g, COUNT(*) FROM (SELECT g, id FROM t) x GROUP BY 1 WITH ROLLUP",
                "NULL|1;1|2;2|2;NULL|5",
            ),
            ("SELECT g, COUNT(*) FROM t WHERE id > 100 GROUP BY g WITH ROLLUP", ""),
            ("SELECT g, name FROM t GROUP BY g WITH ROLLUP", "1055"),
            ("SELECT GROUPING(g) FROM t GROUP BY g", "1111"),
        ],
    )
    .await;
}
