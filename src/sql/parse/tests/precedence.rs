//! MySQL's precedence table, shown by the parentheses that the printer puts around every operator.

use super::*;

fn shape(text: &str, mode: LexMode) -> String {
    match parse_expr(text.as_bytes(), mode).and_then(|e| print::expr(&e, None)) {
        Ok(printed) => printed.replace('`', ""),
        Err(e) => panic!("{text}: {e}"),
    }
}

fn check(cases: &[(&str, &str)], mode: LexMode) {
    for (text, wanted) in cases {
        assert_eq!(shape(text, mode), *wanted, "{text}");
    }
}

#[test]
fn each_level_binds_tighter_than_the_one_before() {
    check(
        &[
            ("a OR b XOR c", "(a or (b xor c))"),
            ("a XOR b AND c", "(a xor (b and c))"),
            ("a AND NOT b AND c", "(a and (not(b)) and c)"),
            ("NOT a = b", "(not((a = b)))"),
            ("NOT a IS NULL", "(not((a is null)))"),
            ("NOT a BETWEEN b AND c", "(not((a between b and c)))"),
            ("NOT a IN (b)", "(not((a in (b))))"),
            ("NOT NOT a", "(not((not(a))))"),
            ("a = b | c", "(a = (b | c))"),
            ("a | b & c", "(a | (b & c))"),
            ("a & b << c", "(a & (b << c))"),
            ("a << b + c", "(a << (b + c))"),
            ("a + b * c", "(a + (b * c))"),
            ("a - b DIV c MOD d % e / f", "(a - ((((b DIV c) % d) % e) / f))"),
            ("a * b ^ c", "(a * (b ^ c))"),
            ("-2 ^ 2", "(-2 ^ 2)"),
            ("-a ^ b", "(-(a) ^ b)"),
            ("~a + b", "(~(a) + b)"),
            ("!a = b", "((not(a)) = b)"),
            ("!a + b", "((not(a)) + b)"),
            ("! a COLLATE x", "(not((a collate x)))"),
            ("- a COLLATE x", "-((a collate x))"),
            ("BINARY a = b", "(cast(a as char charset binary) = b)"),
            ("BINARY a COLLATE x = b", "(cast((a collate x) as char charset binary) = b)"),
            ("a = b COLLATE x", "(a = (b collate x))"),
        ],
        LexMode::default(),
    );
}

#[test]
fn operators_of_one_level_go_from_left_to_right() {
    check(
        &[
            ("a - b - c", "((a - b) - c)"),
            ("a / b * c", "((a / b) * c)"),
            ("a ^ b ^ c", "((a ^ b) ^ c)"),
            ("a << b >> c", "((a << b) >> c)"),
            ("a = b = c", "((a = b) = c)"),
            ("a < b <=> c", "((a < b) <=> c)"),
            ("a IS NULL IS NOT NULL", "((a is null) is not null)"),
            ("a IS NULL = b", "((a is null) = b)"),
            ("a = b IS NULL", "((a = b) is null)"),
            ("a = b IS TRUE", "((a = b) is true)"),
            ("a OR b || c", "(a or b or c)"),
            ("@a := b OR @c := d", "(@a := (b or (@c := d)))"),
            ("1 + @a := b + c", "(1 + (@a := (b + c)))"),
        ],
        LexMode::default(),
    );
}

#[test]
fn predicates_stand_between_comparisons_and_bits() {
    check(
        &[
            ("a = b IN (c)", "(a = (b in (c)))"),
            ("a IN (b) = c", "((a in (b)) = c)"),
            ("a = b LIKE c", "(a = (b like c))"),
            ("a LIKE b = c", "((a like b) = c)"),
            ("a NOT LIKE b AND c", "((not((a like b))) and c)"),
            ("a | b IN (c)", "((a | b) in (c))"),
            ("a BETWEEN b AND c AND d", "((a between b and c) and d)"),
            ("a BETWEEN b + 1 AND c | d OR e", "((a between (b + 1) and (c | d)) or e)"),
            ("a BETWEEN b AND c BETWEEN d AND e", "(a between b and (c between d and e))"),
            ("a NOT BETWEEN b AND c = d", "((a not between b and c) = d)"),
            ("a = b BETWEEN c AND d", "(a = (b between c and d))"),
            ("a REGEXP b || c", "(regexp_like(a,b) or c)"),
            ("a LIKE b ESCAPE c AND d", "((a like b escape c) and d)"),
            ("a NOT IN (1, 2) OR b", "((a not in (1,2)) or b)"),
            ("CASE a WHEN b THEN c END + 1", "((case a when b then c end) + 1)"),
        ],
        LexMode::default(),
    );
    for text in [
        "a IN (b) IN (c)",
        "a LIKE b LIKE c",
        "a IS TRUE IS TRUE",
        "a IS TRUE = b",
        "a = NOT b",
        "1 + NOT b",
        "NOT a IN (b) IN (c)",
        "a + ",
        "a b",
        "(a, b",
    ] {
        assert!(parse_expr(text.as_bytes(), LexMode::default()).is_err(), "{text}");
    }
}

#[test]
fn intervals() {
    check(
        &[
            (
                "a + INTERVAL 1 DAY - INTERVAL b + 1 SECOND",
                "((a + interval 1 day) - interval (b + 1) second)",
            ),
            ("INTERVAL 1 DAY + a", "(a + interval 1 day)"),
            ("a * b + INTERVAL 1 DAY", "((a * b) + interval 1 day)"),
            ("a = b + INTERVAL 1 DAY", "(a = (b + interval 1 day))"),
            ("INTERVAL(a, b, c) + 1", "(interval(a,b,c) + 1)"),
            ("a + INTERVAL(b, c) * 2", "(a + (interval(b,c) * 2))"),
            ("a + INTERVAL (b) + c DAY", "(a + interval (b + c) day)"),
            ("DATE_SUB(a, INTERVAL -1 YEAR_MONTH)", "(a - interval -1 year_month)"),
            ("ADDDATE(a, 5)", "(a + interval 5 day)"),
        ],
        LexMode::default(),
    );
}

#[test]
fn sql_mode_changes_the_table() {
    let pipes = LexMode {
        pipes_as_concat: true,
        ..LexMode::default()
    };
    check(
        &[
            ("a || b = c", "(concat(a,b) = c)"),
            ("a + b || c", "(a + concat(b,c))"),
            ("a ^ b || c", "(a ^ concat(b,c))"),
            ("-a || b", "concat(-(a),b)"),
            ("a || b COLLATE x", "concat(a,(b collate x))"),
            ("a LIKE b || c", "(a like concat(b,c))"),
        ],
        pipes,
    );
    let high = LexMode {
        high_not_precedence: true,
        ..LexMode::default()
    };
    check(
        &[
            ("NOT a BETWEEN b AND c", "((not(a)) between b and c)"),
            ("NOT a = b", "((not(a)) = b)"),
            ("a NOT IN (b)", "(a not in (b))"),
        ],
        high,
    );
    let ansi = LexMode {
        ansi_quotes: true,
        ..LexMode::default()
    };
    check(&[(r#""a b" = 'c'"#, "(a b = 'c')")], ansi);
    check(&[(r#""a b" = 'c'"#, "('a b' = 'c')")], LexMode::default());
}

#[test]
fn what_is_printed_parses_to_the_same() {
    for text in [
        "concat(a, 'it''s', _latin1'x', x'4142', N'y', 1.50, 1e5, -1, NULL, TRUE)",
        "substring(a, 1, 2) + mod(b, 3) + extract(day from c)",
        "trim(leading 'x' from a) = trim(b)",
        "a->>'$.b' = json_value(a, '$.c' returning signed default '1' on empty error on error)",
        "cast(a as decimal(10, 2)) + cast(b as char(5) charset latin1) + convert(c using utf8mb4)",
        "DATE '2020-01-01' + interval 1 day < now(6) and timestampdiff(hour, a, b) > 1",
        "case when a then b else c end is not unknown",
        "char(65, 66 using utf8mb4) like 'a%' escape '!'",
        "if(a, b, ifnull(c, d)) in (1, 2, 3) and not exists_in(1)",
        "~a | -b ^ +c",
        "`we``ird`.`x y` = 'new\\nline\\\\'",
    ] {
        let once = parse_expr(text.as_bytes(), LexMode::default())
            .and_then(|e| print::expr(&e, Some("utf8mb4")))
            .unwrap();
        let twice = parse_expr(once.as_bytes(), LexMode::default())
            .and_then(|e| print::expr(&e, Some("utf8mb4")))
            .unwrap();
        assert_eq!(once, twice, "{text}");
    }
    let shown = |text: &str| print::expr(&parse_expr(text.as_bytes(), LexMode::default()).unwrap(), Some("utf8mb4")).unwrap();
    assert_eq!(shown("a > 0 AND b IN ('x')"), "((`a` > 0) and (`b` in (_utf8mb4'x')))");
    assert_eq!(shown("CONCAT(a, ' ', b)"), "concat(`a`,_utf8mb4' ',`b`)");
}

#[test]
fn long_chains_stay_low_and_deep_nesting_is_an_error() {
    fn height(expr: &Expr) -> usize {
        match expr {
            Expr::Binary { left, right, .. } => 1 + height(left).max(height(right)),
            _ => 1,
        }
    }
    let ors = vec!["a = 1"; 20_000].join(" OR ");
    let tree = parse_expr(ors.as_bytes(), LexMode::default()).unwrap();
    assert!(height(&tree) < 60, "{}", height(&tree));
    let sum = vec!["1"; 100_000].join(" + ");
    assert_eq!(parse_expr(sum.as_bytes(), LexMode::default()).unwrap_err().code, 1436);
    assert!(parse_expr(vec!["1"; 300].join(" + ").as_bytes(), LexMode::default()).is_ok());
    for (open, close) in [
        ("(", ")"),
        ("-", ""),
        ("!", ""),
        ("f(", ")"),
        ("NOT ", ""),
        ("CASE WHEN ", " THEN 1 END"),
        ("(SELECT ", ")"),
        ("((SELECT ", ") + 1)"),
        ("EXISTS (SELECT 1 FROM t WHERE ", ")"),
        ("1 + (", ")"),
        ("a = b IN (", ")"),
        ("@a := ", ""),
        ("INTERVAL (", ") DAY + x"),
        ("a BETWEEN 1 AND ", ""),
        ("(SELECT * FROM (", ") t)"),
        ("{fn ", "}"),
    ] {
        let text = format!("SELECT {}1{}", open.repeat(3000), close.repeat(3000));
        let code = error(&text).code;
        assert!(code == 1436 || code == 1064, "{open}: {code}");
        let text = format!("SELECT {}1{}", open.repeat(3000), "");
        error(&text);
    }
    for link in [" JOIN t ON 1", ", t", " JOIN t", " NATURAL JOIN t", " UNION SELECT 1 FROM t"] {
        let _ = parse_one(format!("SELECT 1 FROM t{}", link.repeat(100_000)).as_bytes(), LexMode::default());
    }
    // two limits together: chains within parentheses at their left end
    let mut nested = "1".to_string();
    for _ in 0..150 {
        nested = format!("({nested}){}", " + 1".repeat(100));
    }
    assert_eq!(error(&format!("SELECT {nested}")).code, 1436);
}

#[test]
fn the_deepest_nesting_that_is_allowed_needs_little_stack() {
    // a worker thread's stack is 2 MiB; the parser must leave most of it to its callers
    let run = || {
        for (open, close) in [
            ("(", ")"),
            ("f(", ")"),
            ("(SELECT ", ")"),
            ("CASE WHEN ", " THEN 1 END"),
            ("-(", ")"),
        ] {
            for depth in [40, 60, 90, 190] {
                let text = format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth));
                let _ = parse_one(text.as_bytes(), LexMode::default());
            }
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}
