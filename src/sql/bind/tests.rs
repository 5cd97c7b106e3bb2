//! Golden texts and executed statements: what binding and lowering promise, seen from MySQL's side.

mod errors;
mod golden;
mod run;

use std::sync::Arc;

use starling_apply::catalog::{Index, IndexKind, KeyPart};
use starling_apply::{BaseType, Catalog, Column, ColumnType, Database, Table};

use super::{Pins, Scope, SqlMode, VarTypes};
use crate::sql::ast::{Parsed, Statement};
use crate::sql::error::{Result, SqlError};
use crate::sql::parse::{LexMode, parse_one};
use crate::sql::plan::SelectPlan;
use crate::sql::types::Ty;

const COLLATION: &str = "utf8mb4_0900_ai_ci";

struct Vars;

impl VarTypes for Vars {
    fn system(&self, _: Option<&str>, name: &str) -> Result<Ty> {
        match name {
            "autocommit" => Ok(Ty::int(false)),
            "version_comment" => Ok(Ty::text(64, COLLATION, false)),
            _ => Err(SqlError::new(1193, format!("Unknown system variable '{name}'"))),
        }
    }
    fn user(&self, name: &str) -> Ty {
        if name == "n" {
            Ty::int(true)
        } else {
            Ty::text(64, COLLATION, true)
        }
    }
}

fn column(id: u32, name: &str, base: BaseType) -> Column {
    let mut ty = ColumnType::new(base);
    if ty.is_character() || matches!(base, BaseType::Enum | BaseType::Set) {
        ty.collation = Some(COLLATION.into());
    }
    match base {
        BaseType::Char | BaseType::VarChar | BaseType::VarBinary => ty.length = Some(50),
        BaseType::Decimal => (ty.length, ty.decimals) = (Some(10), Some(2)),
        BaseType::Enum => ty.labels = vec!["red".into(), "green".into()],
        _ => {}
    }
    Column {
        id,
        name: name.into(),
        ty,
        nullable: id != 1,
        default: Default::default(),
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    }
}

fn table(id: u64, name: &str, columns: &[(&str, BaseType)]) -> (String, Arc<Table>) {
    let columns: Vec<Column> = columns.iter().enumerate().map(|(i, (n, b))| column(i as u32 + 1, n, *b)).collect();
    let next_id = columns.len() as u32 + 2;
    let part = KeyPart {
        column: 1,
        prefix: None,
        descending: false,
    };
    let primary = Index {
        id: next_id - 1,
        name: "PRIMARY".into(),
        kind: IndexKind::Primary,
        parts: vec![part],
        comment: String::new(),
        invisible: false,
    };
    let table = Table {
        id,
        db: 1,
        name: name.into(),
        columns,
        indexes: vec![primary],
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: COLLATION.into(),
        engine: "InnoDB".into(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
        next_id,
    };
    (name.to_lowercase(), Arc::new(table))
}

fn catalog() -> Catalog {
    use BaseType::*;
    let tables = [
        table(1, "sbtest1", &[("id", Int), ("k", Int), ("c", Char), ("pad", Char)]),
        table(
            2,
            "t",
            &[
                ("id", Int),
                ("name", VarChar),
                ("price", Decimal),
                ("day", Date),
                ("at", DateTime),
                ("color", Enum),
                ("bin", VarBinary),
                ("big", BigInt),
                ("stamp", Timestamp),
                ("x", Double),
            ],
        ),
        table(3, "u", &[("id", Int), ("t_id", Int), ("name", VarChar), ("n", Int)]),
    ];
    let database = Database {
        id: 1,
        name: "shop".into(),
        collation: COLLATION.into(),
        tables: tables.into_iter().collect(),
    };
    let mut catalog = Catalog::default();
    catalog.databases.insert("shop".into(), Arc::new(database));
    catalog
}

fn plan_of(text: &str, params: &[Ty]) -> Result<(SelectPlan, Pins, Parsed)> {
    let parsed = parse_one(text.as_bytes(), LexMode::default())?;
    let catalog = catalog();
    let scope = Scope {
        catalog: &catalog,
        database: Some("shop"),
        mode: SqlMode {
            only_full_group_by: true,
            strict: true,
            ..SqlMode::default()
        },
        collation: COLLATION,
        text: text.as_bytes(),
        params,
        vars: &Vars,
    };
    let mut pins = Pins::default();
    let Statement::Query(query) = &parsed.statement else {
        return Err(SqlError::internal("not a query"));
    };
    let plan = super::select(&scope, query, &mut pins)?;
    Ok((plan, pins, parsed))
}

fn lowered(text: &str) -> String {
    match plan_of(text, &[]) {
        Ok((plan, ..)) => plan.lowered.sql,
        Err(error) => format!("{} {}", error.code, error.message),
    }
}

fn code(text: &str) -> u16 {
    plan_of(text, &[]).map(|_| 0).unwrap_or_else(|e| e.code)
}
