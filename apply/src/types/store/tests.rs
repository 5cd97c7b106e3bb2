use super::*;

fn ty(base: BaseType) -> ColumnType {
    ColumnType::new(base)
}
fn sized(base: BaseType, length: u32, decimals: u8) -> ColumnType {
    let mut t = ty(base);
    t.length = Some(length);
    t.decimals = Some(decimals);
    t
}
fn text(t: &str) -> Input<'_> {
    Input::Text(Cow::Borrowed(t.as_bytes()))
}
fn strict(ty: &ColumnType, input: Input<'_>) -> Result<String, u16> {
    match store(ty, input, &StoreMode::STRICT, &mut None) {
        Ok(value) => Ok(shown_value(value)),
        Err(error) => Err(error.code()),
    }
}
/// Value and code of the warning, if any.
fn lenient(ty: &ColumnType, input: Input<'_>) -> (String, Option<u16>) {
    let mut issue = None;
    let value = store(ty, input, &StoreMode::LENIENT, &mut issue).unwrap();
    (shown_value(value), issue.map(|i| i.error.code()))
}
fn shown_value(value: Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Int(v) => v.to_string(),
        Value::Real(v) => format!("{v:?}"),
        Value::Text(t) => String::from_utf8(t).unwrap(),
        Value::Blob(b) => format!("{b:?}"),
    }
}
fn ok(text: &str) -> Result<String, u16> {
    Ok(text.to_string())
}

#[test]
fn integers() {
    let tiny = ty(BaseType::TinyInt);
    assert_eq!(strict(&tiny, Input::Int(127)), ok("127"));
    assert_eq!(strict(&tiny, Input::Int(128)), Err(1264));
    assert_eq!(lenient(&tiny, Input::Int(-300)), ("-128".into(), Some(1264)));
    assert_eq!(strict(&tiny, text(" 12 ")), ok("12"));
    assert_eq!(strict(&tiny, text("1.5")), ok("2"));
    assert_eq!(strict(&tiny, text("1e1")), ok("10"));
    assert_eq!(strict(&tiny, text("abc")), Err(1366));
    assert_eq!(strict(&tiny, text("")), Err(1366));
    assert_eq!(strict(&tiny, text("12abc")), Err(1265));
    assert_eq!(lenient(&tiny, text("12abc")), ("12".into(), Some(1265)));
    assert_eq!(strict(&tiny, Input::Double(2.5)), ok("2"));
    assert_eq!(strict(&tiny, Input::Decimal(b"2.5")), ok("3"));
    let mut big = ty(BaseType::BigInt);
    assert_eq!(strict(&big, text("9223372036854775808")), Err(1264));
    big.unsigned = true;
    assert_eq!(strict(&big, text("18446744073709551615")), ok("18446744073709551615"));
    assert_eq!(strict(&big, Input::UInt(1 << 63)), ok("09223372036854775808"));
    assert_eq!(strict(&big, Input::Int(-1)), Err(1264));
    assert_eq!(strict(&big, Input::Null), ok("NULL"));
}

#[test]
fn decimals() {
    let d = sized(BaseType::Decimal, 5, 2);
    assert_eq!(strict(&d, text("1.5")), ok("1.50"));
    assert_eq!(strict(&d, Input::Int(7)), ok("7.00"));
    assert_eq!(strict(&d, text("999.99")), ok("999.99"));
    assert_eq!(strict(&d, text("1000")), Err(1264));
    assert_eq!(strict(&d, text("999.995")), Err(1264));
    assert_eq!(lenient(&d, text("-1000")), ("-999.99".into(), Some(1264)));
    assert_eq!(strict(&d, text("x")), Err(1366));
    assert_eq!(strict(&d, text("-0.00")), ok("0.00"));
    assert_eq!(strict(&d, Input::Double(1.005)), ok("1.01"));
    assert_eq!(strict(&d, text("007.1")), ok("7.10"));
    let mut issue = None;
    store(&d, text("1.234"), &StoreMode::STRICT, &mut issue).unwrap();
    assert!(issue.unwrap().note);
    let canonical = b"123.45".as_slice();
    let stored = store_ref(&d, Input::Text(Cow::Borrowed(canonical)), &StoreMode::STRICT, &mut None).unwrap();
    assert!(matches!(stored, Stored::Text(Cow::Borrowed(_))));
}

#[test]
fn reals() {
    assert_eq!(strict(&ty(BaseType::Double), text("1.5e3")), ok("1500.0"));
    assert_eq!(strict(&ty(BaseType::Double), text("1.5x")), Err(1265));
    assert_eq!(strict(&ty(BaseType::Double), text("1e999")), Err(1264));
    assert_eq!(strict(&ty(BaseType::Float), Input::Double(0.1)), ok("0.10000000149011612"));
    assert_eq!(strict(&ty(BaseType::Float), Input::Double(1e39)), Err(1264));
    assert_eq!(strict(&sized(BaseType::Double, 5, 2), Input::Double(1.239)), ok("1.24"));
    assert_eq!(strict(&sized(BaseType::Double, 5, 2), Input::Double(1000.0)), Err(1264));
}

#[test]
fn characters() {
    let v = sized(BaseType::VarChar, 3, 0);
    assert_eq!(strict(&v, text("äöü")), ok("äöü"));
    assert_eq!(strict(&v, text("abcd")), Err(1406));
    assert_eq!(strict(&v, text("abc  ")), ok("abc"));
    assert_eq!(lenient(&v, text("äöüß")), ("äöü".into(), Some(1265)));
    assert_eq!(strict(&v, Input::Int(-12)), ok("-12"));
    assert_eq!(strict(&v, Input::Bytes(b"\xff")), Err(1366));
    let c = sized(BaseType::Char, 3, 0);
    assert_eq!(strict(&c, text("a  ")), ok("a"));
    assert_eq!(strict(&c, text("abc    ")), ok("abc"));
    assert_eq!(strict(&ty(BaseType::TinyText), text(&"x".repeat(256))), Err(1406));
    let mut latin = sized(BaseType::VarChar, 3, 0);
    latin.collation = Some("latin1_swedish_ci".into());
    assert_eq!(strict(&latin, text("é")), ok("é"));
    assert_eq!(strict(&latin, text("日")), Err(1366));
    assert_eq!(strict(&sized(BaseType::Binary, 3, 0), text("a")), ok("[97, 0, 0]"));
    assert_eq!(strict(&sized(BaseType::VarBinary, 2, 0), text("abc")), Err(1406));
}

#[test]
fn dates_and_times() {
    let date = ty(BaseType::Date);
    assert_eq!(strict(&date, text("2024-1-2")), ok("2024-01-02"));
    assert_eq!(strict(&date, Input::Int(20240229)), ok("2024-02-29"));
    assert_eq!(strict(&date, text("2023-02-29")), Err(1292));
    assert_eq!(strict(&date, text("0000-00-00")), Err(1292));
    assert_eq!(lenient(&date, text("0000-00-00")), ("0000-00-00".into(), None));
    assert_eq!(lenient(&date, text("abc")), ("0000-00-00".into(), Some(1265)));
    assert_eq!(strict(&date, text("2024-01-02 03:04:05")), ok("2024-01-02"));
    let stamp = sized(BaseType::DateTime, 0, 3);
    assert_eq!(strict(&stamp, text("2024-01-02T03:04:05.9996")), ok("2024-01-02 03:04:06.000"));
    assert_eq!(strict(&stamp, text("2024-01-02")), ok("2024-01-02 00:00:00.000"));
    assert_eq!(strict(&stamp, text("2024-01-02 03:04:05x")), Err(1292));
    let mut mode = StoreMode::STRICT;
    mode.zone_seconds = 7200;
    let stamp = ty(BaseType::Timestamp);
    let stored = store(&stamp, text("2024-01-02 01:00:00"), &mode, &mut None).unwrap();
    assert_eq!(shown_value(stored), "2024-01-01 23:00:00");
    assert_eq!(strict(&stamp, text("2038-01-19 03:14:08")), Err(1292));
    let time = ty(BaseType::Time);
    assert_eq!(strict(&time, text("10:11:12.5")), ok("36673000000"));
    assert_eq!(strict(&time, text("839:00:00")), Err(1292));
    assert_eq!(lenient(&time, text("-839:00:00")).0, "-3020399000000");
    assert_eq!(strict(&ty(BaseType::Year), text("99")), ok("1999"));
    assert_eq!(strict(&ty(BaseType::Year), text("0")), ok("2000"));
    assert_eq!(strict(&ty(BaseType::Year), Input::Int(1900)), Err(1264));
}

#[test]
fn labels_bits_and_json() {
    let mut e = ty(BaseType::Enum);
    e.labels = vec!["red".into(), "green".into()];
    assert_eq!(strict(&e, text("GREEN ")), ok("2"));
    assert_eq!(strict(&e, text("1")), ok("1"));
    assert_eq!(strict(&e, text("blue")), Err(1265));
    assert_eq!(lenient(&e, text("blue")), ("0".into(), Some(1265)));
    assert_eq!(strict(&e, Input::Int(3)), Err(1265));
    e.base = BaseType::Set;
    assert_eq!(strict(&e, text("green,red")), ok("3"));
    assert_eq!(strict(&e, text("")), ok("0"));
    assert_eq!(strict(&e, text("red,blue")), Err(1265));
    assert_eq!(strict(&e, Input::Int(4)), Err(1265));
    let bit = sized(BaseType::Bit, 4, 0);
    assert_eq!(strict(&bit, Input::Int(15)), ok("15"));
    assert_eq!(strict(&bit, Input::Int(16)), Err(1406));
    assert_eq!(strict(&bit, Input::Bytes(&[5])), ok("5"));
    let json = ty(BaseType::Json);
    assert_eq!(strict(&json, text("{\"b\":1,\"a\":[]}")), ok("{\"a\": [], \"b\": 1}"));
    assert_eq!(strict(&json, text("x")), Err(3140));
    assert_eq!(strict(&json, Input::Bytes(b"{}")), Err(3144));
}

#[test]
fn messages_are_mysqls() {
    let error = StoreError::Incorrect {
        what: "integer",
        value: "abc".into(),
    };
    assert_eq!(error.message("a", 2), "Incorrect integer value: 'abc' for column 'a' at row 2");
    assert_eq!(StoreError::TooLong.message("a", 1), "Data too long for column 'a' at row 1");
}

#[test]
fn changing_a_type_never_fails() {
    let varchar = sized(BaseType::VarChar, 20, 0);
    let int = ty(BaseType::Int);
    assert_eq!(convert_stored(ValueRef::Text(b"12x"), &varchar, &int), Value::Int(12));
    assert_eq!(convert_stored(ValueRef::Int(5), &int, &varchar), Value::Text(b"5".to_vec()));
    assert_eq!(
        convert_stored(ValueRef::Text(b"2024-01-02 10:00:00"), &ty(BaseType::DateTime), &ty(BaseType::Date)),
        Value::Text(b"2024-01-02".to_vec())
    );
    assert_eq!(convert_stored(ValueRef::Text(b"x"), &varchar, &ty(BaseType::Json)), Value::Null);
    let mut e = ty(BaseType::Enum);
    e.labels = vec!["red".into()];
    assert_eq!(convert_stored(ValueRef::Int(1), &e, &varchar), Value::Text(b"red".to_vec()));
    assert_eq!(convert_stored(ValueRef::Int(1), &e, &int), Value::Int(1));
}
