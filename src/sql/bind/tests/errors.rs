//! What MySQL refuses, by code.

use super::{code, lowered};

#[test]
fn names_that_mean_nothing_or_two_things() {
    for (text, expected) in [
        ("SELECT nope FROM t", 1054),
        ("SELECT t.nope FROM t", 1054),
        ("SELECT id FROM t, u", 1052),
        ("SELECT 1 FROM nope", 1146),
        ("SELECT 1 FROM nope.t", 1049),
        ("SELECT 1 FROM t, t", 1066),
        ("SELECT 1 FROM t a JOIN u a ON 1", 1066),
        ("SELECT x.* FROM t", 1051),
        ("SELECT *", 1096),
        ("SELECT id FROM t ORDER BY 3", 1054),
        ("SELECT nope(1)", 1305),
        ("SELECT IFNULL(1)", 1582),
        ("SELECT a.id FROM t a, t b JOIN u ON a.id = u.id", 1054),
    ] {
        assert_eq!(code(text), expected, "{text}: {}", lowered(text));
    }
}

#[test]
fn messages_name_the_clause() {
    for (text, expected) in [
        ("SELECT nope FROM t", "1054 Unknown column 'nope' in 'field list'"),
        ("SELECT 1 FROM t WHERE a.b = 1", "1054 Unknown column 'a.b' in 'where clause'"),
        ("SELECT id FROM t, u", "1052 Column 'id' in field list is ambiguous"),
        ("SELECT 1 FROM t ORDER BY nope", "1054 Unknown column 'nope' in 'order clause'"),
        ("SELECT nope()", "1305 FUNCTION shop.nope does not exist"),
        ("SELECT 1 FROM nope", "1146 Table 'shop.nope' doesn't exist"),
    ] {
        assert_eq!(lowered(text), expected);
    }
}

#[test]
fn shapes_that_do_not_fit() {
    for (text, expected) in [
        ("SELECT 1 UNION SELECT 1, 2", 1222),
        ("SELECT (SELECT 1, 2)", 1241),
        ("SELECT 1 = (1, 2)", 1241),
        ("SELECT (1, 2) = (1, 2, 3)", 1241),
        ("SELECT 1 IN (SELECT 1, 2)", 1241),
        ("SELECT * FROM (SELECT 1)", 1248),
        ("SELECT * FROM (SELECT 1 a, 2 a) d", 1060),
        ("SELECT 1 FROM t WHERE COUNT(*) > 1", 1111),
        ("SELECT COUNT(COUNT(*)) FROM t", 1111),
        ("SELECT name, COUNT(*) FROM t", 1140),
        ("SELECT name, price, COUNT(*) FROM t GROUP BY name", 1055),
        ("SELECT COUNT(*) c FROM t GROUP BY c", 1056),
        ("SELECT id FROM t HAVING nope = 1", 1054),
        ("SELECT id FROM t HAVING price = 1", 1054),
        ("SELECT name COLLATE latin1_bin FROM t", 1253),
        ("SELECT id FROM t WHERE id IN (SELECT id FROM u LIMIT 1)", 1235),
    ] {
        assert_eq!(code(text), expected, "{text}: {}", lowered(text));
    }
}

#[test]
fn groups_that_determine_what_is_shown() {
    for text in [
        "SELECT id, name, COUNT(*) FROM t GROUP BY id",
        "SELECT name, COUNT(*) FROM t WHERE name = 'x'",
        "SELECT t.name, COUNT(*) FROM t JOIN u ON u.t_id = t.id GROUP BY u.t_id",
        "SELECT name n, COUNT(*) FROM t GROUP BY n HAVING COUNT(*) > 1",
        "SELECT id + 1, COUNT(*) FROM t GROUP BY id + 1",
    ] {
        assert_eq!(code(text), 0, "{text}: {}", lowered(text));
    }
}
