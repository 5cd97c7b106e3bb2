use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::*;
use crate::sql::bind::{self, Pins, Scope as BindScope, SqlMode, VarTypes};
use crate::sql::meta::View;
use crate::sql::meta::tests::Fixed;
use crate::sql::plan::Arg;
use crate::sql::session::args::literal_at;
use crate::sql::session::input::{literal_value, param_value};
use crate::sql::types::Ty;
use crate::sql::{func, vars};

struct NoVars;
impl VarTypes for NoVars {
    fn system(&self, _: Option<&str>, name: &str) -> Result<Ty> {
        Ok(vars::ty(vars::find(name)?))
    }
    fn user(&self, _: &str) -> Ty {
        Ty::null()
    }
}

/// Column names, then rows, cells joined by `|`.
fn run(sql: &str) -> Result<Vec<String>> {
    let provider: Arc<dyn Provider> = Arc::new(Fixed);
    let catalog = provider.catalog().unwrap();
    let parsed = parse::parse_one(sql.as_bytes(), LexMode::default())?;
    let scope = ShowScope {
        catalog: &catalog,
        database: Some("shop"),
        provider: provider.as_ref(),
        warnings: &[Warning {
            level: Level::Note,
            code: 1051,
            message: "Unknown table 'x'".into(),
        }],
        warning_count: 1,
        error_count: 0,
        account: "root@%",
    };
    let plan = match &parsed.statement {
        Statement::Show(show) => plan(show, &scope)?,
        Statement::Describe { table, column } => describe(table, column.as_deref(), &scope)?,
        other => panic!("{other:?}"),
    };
    match plan {
        ShowPlan::Rows(rows) => {
            let mut out = vec![rows.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join("|")];
            for row in &rows.rows {
                let cells: Vec<String> = row.iter().zip(&rows.columns).map(|(v, c)| shown(&c.ty, v)).collect();
                out.push(cells.join("|"));
            }
            Ok(out)
        }
        ShowPlan::Query { query, params } => select(&provider, &catalog, sql, &parsed, &query, &params),
    }
}

fn select(
    provider: &Arc<dyn Provider>,
    catalog: &Catalog,
    sql: &str,
    parsed: &ast::Parsed,
    query: &ast::Query,
    params: &[Param],
) -> Result<Vec<String>> {
    let types: Vec<Ty> = params
        .iter()
        .map(|p| match p {
            Param::Int(_) => Ty::int(false),
            _ => Ty::text(255, "utf8mb4_0900_ai_ci", false),
        })
        .collect();
    let scope = BindScope {
        catalog,
        database: Some("shop"),
        mode: SqlMode::default(),
        collation: "utf8mb4_0900_ai_ci",
        text: sql.as_bytes(),
        params: &types,
        vars: &NoVars,
    };
    let bound = bind::select(&scope, query, &mut Pins::default())?;
    let connection = Connection::open_in_memory().unwrap();
    func::register(&connection).unwrap();
    starling_apply::collate::register(&connection).unwrap();
    meta::register(&connection, provider).unwrap();
    let view = View {
        variables: crate::sql::vars::SessionVars::new(provider.globals().unwrap()).listing(),
        ..View::default()
    };
    let _entered = meta::enter(Arc::new(view));
    let mut statement = connection
        .prepare(&bound.lowered.sql)
        .unwrap_or_else(|e| panic!("{e}: {}", bound.lowered.sql));
    for (i, arg) in bound.lowered.args.iter().enumerate() {
        let value = match arg {
            Arg::Constant(value) => value.clone(),
            Arg::Slot { slot, ty, how } => {
                let literal = literal_at(sql.as_bytes(), &parsed.literals, *slot, LexMode::default())?;
                literal_value(&literal, ty, *how, 0)?
            }
            Arg::Param { index, ty, how } => param_value(&params[*index as usize], ty.as_ref(), *how, 0)?,
            other => panic!("{other:?}"),
        };
        let value = match value {
            Value::Int(v) => rusqlite::types::Value::Integer(v),
            Value::Text(t) => rusqlite::types::Value::Text(String::from_utf8(t).unwrap()),
            other => panic!("{other:?}"),
        };
        statement.raw_bind_parameter(i + 1, value).unwrap();
    }
    let mut out = vec![bound.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join("|")];
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().unwrap() {
        let cells: Vec<String> = (0..bound.columns.len())
            .map(|i| match row.get_ref(i).unwrap() {
                ValueRef::Null => "NULL".into(),
                ValueRef::Integer(v) => v.to_string(),
                ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        out.push(cells.join("|"));
    }
    Ok(out)
}

#[test]
fn tables_and_databases_are_named_as_in_mysql() {
    assert_eq!(run("show tables").unwrap(), ["Tables_in_shop", "Users"]);
    assert_eq!(
        run("show full tables like 'us%'").unwrap(),
        ["Tables_in_shop (us%)|Table_type", "Users|BASE TABLE"]
    );
    assert_eq!(run("show databases like 'sh%'").unwrap(), ["Database (sh%)", "shop"]);
    assert!(run("show databases").unwrap().contains(&"information_schema".to_string()));
    assert_eq!(run("show tables from nope").unwrap_err().code, 1049);
}

#[test]
fn columns_come_in_order_and_can_be_filtered() {
    assert_eq!(
        run("show columns from users").unwrap(),
        [
            "Field|Type|Null|Key|Default|Extra",
            "id|int|NO|PRI|NULL|auto_increment",
            "name|varchar(20)|YES||NULL|"
        ]
    );
    assert_eq!(run("describe Users 'na%'").unwrap().len(), 2);
    assert_eq!(
        run("show columns from users where Field = 'id' and `Null` = 'NO'").unwrap().len(),
        2
    );
    assert!(run("show full columns from users").unwrap()[0].ends_with("Privileges|Comment"));
    assert_eq!(run("desc nope").unwrap_err().code, 1146);
    let keys = run("show index from users").unwrap();
    assert!(keys[0].starts_with("Table|Non_unique|Key_name|Seq_in_index|Column_name|Collation"));
    assert!(keys[1].starts_with("Users|0|PRIMARY|1|id|A|6"));
}

#[test]
fn variables_and_status_take_like_and_where() {
    assert_eq!(
        run("show variables like 'autocommit'").unwrap(),
        ["Variable_name|Value", "autocommit|ON"]
    );
    assert_eq!(
        run("show variables where variable_name in ('version_comment', 'port')").unwrap(),
        ["Variable_name|Value", "port|0", "version_comment|Starling"]
    );
    assert_eq!(run("show global status like 'up%'").unwrap()[1], "Uptime|5");
}

#[test]
fn every_show_of_a_table_binds() {
    for sql in [
        "show table status",
        "show triggers",
        "show events",
        "show procedure status",
        "show function status like 'x'",
        "show processlist",
        "show full processlist",
        "show engines",
        "show character set like 'utf8%'",
        "show collation where Charset = 'latin1'",
        "show plugins",
        "show warnings",
        "show errors",
        "show count(*) warnings",
        "show privileges",
        "show engine innodb status",
        "show open tables",
        "show replica status",
        "show create database shop",
        "show create table information_schema.tables",
        "show columns from information_schema.columns",
    ] {
        run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    assert_eq!(run("show warnings").unwrap()[1], "Note|1051|Unknown table 'x'");
    assert_eq!(run("show binary logs").unwrap_err().code, 1381);
    assert_eq!(run("show create view users").unwrap_err().code, 1347);
}
