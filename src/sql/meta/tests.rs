use super::*;
use starling_apply::catalog::{DefaultValue, Index, IndexKind, KeyPart};
use starling_apply::{BaseType, Column, ColumnType};

pub struct Fixed;

impl Provider for Fixed {
    fn catalog(&self) -> Option<Arc<Catalog>> {
        let column = |id: u32, name: &str, ty: ColumnType, nullable: bool| Column {
            id,
            name: name.into(),
            ty,
            nullable,
            default: if nullable { DefaultValue::Null } else { DefaultValue::None },
            auto_increment: id == 1,
            on_update_now: false,
            comment: String::new(),
            generated: None,
            invisible: false,
        };
        let mut c = ColumnType::new(BaseType::VarChar);
        c.length = Some(20);
        c.collation = Some("utf8mb4_0900_ai_ci".into());
        let table = Table {
            id: 9,
            db: 1,
            name: "Users".into(),
            columns: vec![column(1, "id", ColumnType::new(BaseType::Int), false), column(2, "name", c, true)],
            indexes: vec![Index {
                id: 3,
                name: "PRIMARY".into(),
                kind: IndexKind::Primary,
                parts: vec![KeyPart {
                    column: 1,
                    prefix: None,
                    descending: false,
                }],
                comment: String::new(),
                invisible: false,
            }],
            foreign_keys: vec![],
            checks: vec![],
            collation: "utf8mb4_0900_ai_ci".into(),
            engine: "InnoDB".into(),
            comment: String::new(),
            auto_increment: 0,
            row_format: None,
            created_ms: 0,
            next_id: 4,
        };
        let mut catalog = Catalog::default();
        catalog.databases.insert(
            "shop".into(),
            Arc::new(Database {
                id: 1,
                name: "shop".into(),
                collation: "utf8mb4_0900_ai_ci".into(),
                tables: [("users".to_string(), Arc::new(table))].into(),
            }),
        );
        Some(Arc::new(catalog))
    }
    fn globals(&self) -> Option<Arc<Globals>> {
        Some(Arc::new(Globals::new(&crate::sql::vars::Facts::default())))
    }
    fn status(&self) -> Vec<(String, String)> {
        vec![("Uptime".into(), "5".into())]
    }
    fn processes(&self) -> Vec<Process> {
        Vec::new()
    }
    fn auto_increment(&self, _: u64) -> Option<u64> {
        Some(7)
    }
    fn table_rows(&self, _: &str, _: &str) -> Option<u64> {
        Some(6)
    }
    fn accounts(&self) -> Vec<crate::cluster::accounts::Account> {
        Vec::new()
    }
    fn starling(&self, _: &str) -> Vec<Vec<Value>> {
        Vec::new()
    }
}

fn connection() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    let provider: Arc<dyn Provider> = Arc::new(Fixed);
    register(&connection, &provider).unwrap();
    connection
}

fn all(sql: &str) -> Vec<String> {
    let connection = connection();
    let _entered = enter(Arc::new(View::default()));
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |r| r.get::<_, String>(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn system_tables_answer_under_their_schema_without_attach() {
    let tables = all(r#"SELECT "TABLE_NAME" FROM "information_schema"."TABLES" AS t WHERE t."TABLE_SCHEMA" = 'shop'"#);
    assert_eq!(tables, ["Users"]);
    let joined = all(
        r#"SELECT c."COLUMN_NAME" FROM "information_schema"."TABLES" t JOIN "information_schema"."COLUMNS" c
           ON c."TABLE_NAME" = t."TABLE_NAME" WHERE t."TABLE_SCHEMA" = 'shop' ORDER BY c."ORDINAL_POSITION""#,
    );
    assert_eq!(joined, ["id", "name"]);
    let on = all(r#"SELECT "VARIABLE_VALUE" FROM "performance_schema"."global_variables" WHERE "VARIABLE_NAME" = 'autocommit'"#);
    assert_eq!(on, ["ON"]);
}

#[test]
fn every_row_has_its_tables_columns() {
    for database in system_databases() {
        for table in database.tables.values() {
            for row in rows(database, table, &Fixed, &View::default()) {
                assert_eq!(row.len(), table.columns.len(), "{}", table.name);
            }
        }
    }
}

#[test]
fn show_create_prints_what_mysql_prints() {
    let catalog = Fixed.catalog().unwrap();
    let table = catalog.table("shop", "users").unwrap();
    assert_eq!(
        create::table(table, Some(7)),
        "CREATE TABLE `Users` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `name` varchar(20) DEFAULT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
    );
    assert_eq!(create::string("it's\n"), "'it''s\\n'");
}
