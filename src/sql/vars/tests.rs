use super::*;

fn vars() -> SessionVars {
    SessionVars::new(Arc::new(Globals::new(&Facts::default())))
}

#[test]
fn names_are_unique_and_defaults_fit_their_types() {
    assert!(DEFS.len() > 250);
    for pair in DEFS.windows(2) {
        assert!(pair[0].name < pair[1].name, "{} twice", pair[0].name);
    }
    for def in DEFS.iter() {
        let value = convert::default_value(def);
        if !matches!(value, VarValue::Null) && !matches!(def.kind, Kind::Collation) {
            let (again, warning) = convert::accept(def, value.clone()).unwrap_or_else(|e| panic!("{}: {e}", def.name));
            assert_eq!((again, warning), (value, None), "{}", def.name);
        }
    }
}

#[test]
fn mistakes_have_mysqls_codes() {
    let mut v = vars();
    assert_eq!(find("nonsense").unwrap_err().code, 1193);
    let code = |r: Result<Option<String>>| r.unwrap_err().code;
    assert_eq!(code(v.set(find("version").unwrap(), Some(VarValue::text("9")))), 1238);
    assert_eq!(code(v.set(find("max_connections").unwrap(), Some(VarValue::Int(1)))), 1229);
    assert_eq!(code(v.set_global(find("timestamp").unwrap(), Some(VarValue::Int(1)))), 1228);
    assert_eq!(code(v.set(find("autocommit").unwrap(), Some(VarValue::Int(2)))), 1231);
    assert_eq!(code(v.set(find("wait_timeout").unwrap(), Some(VarValue::text("x")))), 1232);
    assert_eq!(code(v.set(find("sql_mode").unwrap(), Some(VarValue::text("BOGUS")))), 1231);
    assert_eq!(code(v.set(find("time_zone").unwrap(), Some(VarValue::text("Mars/Base")))), 1298);
    assert_eq!(
        code(v.set(find("character_set_client").unwrap(), Some(VarValue::text("klingon")))),
        1115
    );
}

#[test]
fn what_would_change_meaning_is_refused_by_name() {
    let mut v = vars();
    for (name, value) in [("sql_auto_is_null", VarValue::Int(1)), ("completion_type", VarValue::Int(1))] {
        let error = v.set(find(name).unwrap(), Some(value)).unwrap_err();
        assert_eq!(error.code, 1235);
        assert!(error.message.contains(name));
    }
}

#[test]
fn out_of_bounds_numbers_are_cut_with_a_warning() {
    let mut v = vars();
    let i = find("innodb_lock_wait_timeout").unwrap();
    assert!(v.set(i, Some(VarValue::Int(0))).unwrap().unwrap().contains("'0'"));
    assert_eq!(v.settings().lock_wait_ms, 1000);
}

#[test]
fn combined_modes_are_spelled_out() {
    assert_eq!(
        parse_sql_mode("ansi").unwrap(),
        "REAL_AS_FLOAT,PIPES_AS_CONCAT,ANSI_QUOTES,IGNORE_SPACE,ONLY_FULL_GROUP_BY,ANSI"
    );
    let mut v = vars();
    v.set(find("sql_mode").unwrap(), Some(VarValue::text(""))).unwrap();
    assert!(!v.settings().mode.strict);
    v.set(find("sql_mode").unwrap(), None).unwrap();
    assert!(v.settings().mode.strict);
}

#[test]
fn a_session_keeps_the_globals_it_began_with() {
    let globals = Arc::new(Globals::new(&Facts::default()));
    let mut one = SessionVars::new(globals.clone());
    let i = find("innodb_lock_wait_timeout").unwrap();
    one.set_global(i, Some(VarValue::Int(7))).unwrap();
    assert_eq!(one.session(i), VarValue::UInt(50));
    assert_eq!(one.read(Some("global"), i).unwrap(), VarValue::UInt(7));
    assert_eq!(SessionVars::new(globals).settings().lock_wait_ms, 7000);
}

#[test]
fn old_names_still_answer() {
    assert_eq!(find("tx_isolation").unwrap(), find("transaction_isolation").unwrap());
    assert_eq!(find("@@".trim_start_matches('@')).unwrap_err().code, 1193);
}
