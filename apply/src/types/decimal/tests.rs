use super::*;

fn d(text: &str) -> Decimal {
    Decimal::parse(text.as_bytes()).unwrap()
}

#[test]
fn arithmetic_is_exact() {
    assert_eq!(d("0.1").add(&d("0.2")).to_string(), "0.3");
    assert_eq!(d("1.10").sub(&d("2")).to_string(), "-0.90");
    assert_eq!(d("-1.5").mul(&d("1.50")).to_string(), "-2.250");
    assert_eq!(d("2").div(&d("3"), 4).unwrap().to_string(), "0.6667");
    assert_eq!(d("-1").div(&d("8"), 2).unwrap().to_string(), "-0.13");
    assert_eq!(d("10.5").rem(&d("-3")).unwrap().to_string(), "1.5");
    assert_eq!(d("-10.5").div_integer(&d("3")).unwrap().to_string(), "-3");
    assert!(d("1").div(&d("0.00"), 4).is_none());
    let nines = "9".repeat(64);
    assert_eq!(d(&nines).add(&d("1")).to_string(), format!("1{}", "0".repeat(64)));
    assert_eq!(d(&nines).mul(&d("10")).to_string(), format!("{nines}0"));
    assert_eq!(d(&nines).sub(&d(&nines)).to_string(), "0");
}

#[test]
fn rounding_is_half_away_from_zero() {
    assert_eq!(d("2.5").round(0).to_string(), "3");
    assert_eq!(d("-2.5").round(0).to_string(), "-3");
    assert_eq!(d("1.005").round(2).to_string(), "1.01");
    assert_eq!(d("-0.004").round(2).to_string(), "0.00");
    assert_eq!(d("1.5").round(3).to_string(), "1.500");
    assert_eq!(d("155.5").round_places(-1, false).to_string(), "160");
    assert_eq!(d("155.5").round_places(-3, false).to_string(), "0");
    assert_eq!(d("1.999").round_places(1, true).to_string(), "1.9");
    assert_eq!(d("-1.5").to_integer(false).to_string(), "-2");
    assert_eq!(d("-1.5").to_integer(true).to_string(), "-1");
    assert_eq!(d("1.5").to_integer(true).to_string(), "2");
}

#[test]
fn reading_is_lenient() {
    assert_eq!(d(" 1e3 ").to_string(), "1000");
    assert_eq!(d("1.5e-2").to_string(), "0.015");
    assert_eq!(d(".5").to_string(), "0.5");
    assert_eq!(d("5.").to_string(), "5");
    assert_eq!(d("-007.10").to_string(), "-7.10");
    assert!(Decimal::parse(b"abc").is_none());
    assert!(Decimal::parse(b"1x").is_none());
    assert_eq!(Decimal::parse_prefix(b"1e").used, 1);
    assert_eq!(Decimal::from_f64(0.1).to_string(), "0.1");
    assert_eq!(Decimal::from_f64(1e22).to_string(), "10000000000000000000000");
}

#[test]
fn bounds() {
    assert_eq!(d("1234.567").fit(5, 2).0.to_string(), "999.99");
    assert!(d("1234.567").fit(5, 2).1);
    assert_eq!(d("999.994").fit(5, 2).0.to_string(), "999.99");
    assert!(!d("999.994").fit(5, 2).1);
    assert!(d("999.995").fit(5, 2).1);
    assert!(!d("0.5").fit(1, 1).1);
}

#[test]
fn text_order_is_numeric_order() {
    let sorted = [
        "-10",
        "-9.5",
        "-0.01",
        "0",
        "0.00",
        "0.001",
        "1",
        "1.5",
        "2",
        "10",
        "09223372036854775808",
    ];
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            let expected = if d(a).compare(&d(b)).is_eq() { Ordering::Equal } else { i.cmp(&j) };
            assert_eq!(compare_text(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
    assert_eq!(compare_text(b"-0.0", b"0"), Ordering::Equal);
    assert_eq!(compare_text(b"1.50", b"1.5"), Ordering::Equal);
}
