use rusqlite::Connection;

use super::*;

fn order(collation: &str, left: &str, right: &str) -> Ordering {
    let by_text = compare(collation, left, right);
    let by_key = sort_key(collation, left).cmp(&sort_key(collation, right));
    assert_eq!(by_text.is_eq(), by_key.is_eq(), "{collation}: {left:?} {right:?}");
    by_text
}
fn equal(collation: &str, left: &str, right: &str) -> bool {
    order(collation, left, right).is_eq()
}

#[test]
fn accents_and_case() {
    let ai = "utf8mb4_0900_ai_ci";
    for (a, b) in [("résumé", "RESUME"), ("ß", "ss"), ("Ё", "е"), ("Ά", "α"), ("ﬁ", "fi"), ("æ", "Æ")] {
        assert!(equal(ai, a, b), "{a} {b}");
    }
    assert!(!equal(ai, "a", "a "));
    assert!(!equal(ai, "а", "a"));
    assert!(!equal("utf8mb4_0900_as_ci", "e", "é"));
    assert!(equal("utf8mb4_0900_as_ci", "É", "é"));
    assert_eq!(order("utf8mb4_0900_as_cs", "a", "A"), Ordering::Less);
    assert_eq!(order("utf8mb4_0900_as_cs", "A", "b"), Ordering::Less);
    assert_eq!(order(ai, "_", "a"), Ordering::Less);
    assert_eq!(order(ai, "Z", "é"), Ordering::Greater);
    assert!(equal("utf8mb4_unicode_ci", "ä  ", "A"));
}

#[test]
fn general_ci_weighs_characters() {
    let g = "utf8mb4_general_ci";
    for (a, b) in [
        ("é", "E"),
        ("ß", "s"),
        ("Ä", "a"),
        ("ё", "Е"),
        ("ά", "Α"),
        ("😀", "🎉"),
        ("a  ", "A"),
        ("ǖ", "u"),
    ] {
        assert!(equal(g, a, b), "{a} {b}");
    }
    for (a, b) in [
        ("ß", "ss"),
        ("æ", "ae"),
        ("ø", "o"),
        ("đ", "d"),
        ("ł", "l"),
        ("a", "b"),
        ("й", "и"),
        ("ა", "Ა"),
    ] {
        assert!(!equal(g, a, b), "{a} {b}");
    }
}

#[test]
fn latin1() {
    let s = "latin1_swedish_ci";
    assert!(equal(s, "é", "E") && equal(s, "ü", "y") && equal(s, "Ä", "æ"));
    assert_eq!(order(s, "å", "z"), Ordering::Greater);
    assert_eq!(order(s, "ö", "ä"), Ordering::Greater);
    assert!(!equal("latin1_general_ci", "é", "e"));
    assert_eq!(order("latin1_general_ci", "é", "f"), Ordering::Less);
    assert!(equal("latin1_general_ci", "É", "é"));
    assert_eq!(order("latin1_general_ci", "ÿ", "z"), Ordering::Less);
    assert_eq!(order("latin1_general_ci", "þ", "z"), Ordering::Greater);
}

#[test]
fn padding() {
    assert!(equal("utf8mb4_bin", "a", "a  "));
    assert!(!equal("utf8mb4_0900_bin", "a", "a "));
    assert_eq!(compare("utf8mb4_bin", "a\t", "a"), Ordering::Less);
    assert_eq!(compare("binary", "a\t", "a"), Ordering::Greater);
    assert!(!equal("utf8mb4_bin", "a", "A"));
}

#[test]
fn the_ascii_path_agrees_with_the_full_algorithm() {
    let texts = [
        "", "a", "A", "ab", "aB", "Ab", "a b", "a-b", "a_b", "1", "10", "2", "a\u{1}b", "~", "`a", "$x", "zz", "Z",
    ];
    for name in ["utf8mb4_0900_ai_ci", "utf8mb4_0900_as_ci", "utf8mb4_0900_as_cs"] {
        let info = collation_info(name).unwrap();
        for a in texts {
            for b in texts {
                let by_key = info.sort_key(a).cmp(&info.sort_key(b));
                assert_eq!(info.compare(a, b), by_key, "{name} {a:?} {b:?}");
            }
        }
    }
}

#[test]
fn fast_keys_are_the_full_ones() {
    let same = |text: &str| {
        let full = uca::full_key(uca::Strength::Primary, text);
        assert_eq!(uca::sort_key(uca::Strength::Primary, text), full, "{text:?}");
    };
    for a in 0u8..128 {
        for b in 0u8..128 {
            same(&format!("{}{}", a as char, b as char));
        }
    }
    // a fixed sequence of texts of all lengths
    let mut seed = 1u32;
    for length in 0..200 {
        let text: String = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 25) as u8 as char
            })
            .collect();
        same(&text);
    }
}

#[test]
fn sqlite_uses_them() {
    let connection = Connection::open_in_memory().unwrap();
    register(&connection).unwrap();
    let one = |sql: &str| connection.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!(one("SELECT 'É' = 'e' COLLATE utf8mb4_0900_ai_ci"), 1);
    assert_eq!(one("SELECT 'a ' = 'A' COLLATE utf8_general_ci"), 1);
    assert_eq!(one("SELECT '9.5' < '10.00' COLLATE STARLING_DECIMAL"), 1);
    assert_eq!(sort_key(DECIMAL, "1.50"), sort_key(DECIMAL, "1.5"));
}

#[test]
fn names() {
    assert_eq!(collation_info("UTF8_general_ci").unwrap().id, 33);
    assert_eq!(collation_info("utf8mb4_0900_ai_ci").unwrap().id, 255);
    assert!(collation_info("nonsense").is_none());
    assert_eq!(charset_of("utf8_bin"), "utf8mb3");
    assert_eq!(COLLATIONS.iter().filter(|c| c.is_default).count(), CHARSETS.len());
}
