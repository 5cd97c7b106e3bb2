//! SHOW and DESCRIBE: most are a SELECT over the system tables, the rest are rows made here.
//!
//! Promises: columns are called as MySQL 8.0 calls them; LIKE and WHERE work on every SHOW that MySQL lets have them. The
//! SELECT's own text holds no literals (only `?`), so the literals of a SHOW … WHERE keep the slots of the client's text.
//! Must not know: how a SELECT runs.

use starling_apply::types::text as stored_text;
use starling_apply::{BaseType, Catalog, ColumnType, Database, Table};
use starling_log::Value;

use crate::sql::ast::{self, Account, Scope, SetExpr, Show, ShowFilter, ShowKind, Statement, TableName};
use crate::sql::error::{Result, SqlError};
use crate::sql::func::context::{Level, Warning};
use crate::sql::lex::LexMode;
use crate::sql::meta::{self, Provider, create};
use crate::sql::parse;
use crate::sql::result::{Param, ResultColumn};

/// What SHOW needs to know of the session.
pub struct ShowScope<'a> {
    pub catalog: &'a Catalog,
    pub database: Option<&'a str>,
    pub provider: &'a dyn Provider,
    pub warnings: &'a [Warning],
    /// All that were counted (more than are kept, perhaps).
    pub warning_count: u64,
    pub error_count: u64,
    /// `user@host` of the account the session belongs to.
    pub account: &'a str,
}

/// What SHOW comes to.
pub enum ShowPlan {
    /// To be bound and run like any SELECT, its `?` being `params`.
    Query {
        query: Box<ast::Query>,
        params: Vec<Param>,
    },
    Rows(Rows),
}

/// A result that is no table's.
pub struct Rows {
    pub columns: Vec<ResultColumn>,
    /// In the canonical form of the columns' types.
    pub rows: Vec<Vec<Value>>,
}

pub fn plan(show: &Show, scope: &ShowScope<'_>) -> Result<ShowPlan> {
    if let Some(rows) = fixed(show, scope)? {
        return Ok(ShowPlan::Rows(rows));
    }
    let source = source(show, scope)?;
    select(source, show.filter.as_ref())
}

/// DESCRIBE t [column or pattern].
pub fn describe(table: &TableName, column: Option<&[u8]>, scope: &ShowScope<'_>) -> Result<ShowPlan> {
    let show = Show {
        kind: ShowKind::Columns { table: table.clone() },
        full: false,
        extended: false,
        filter: column.map(|c| ShowFilter::Like(c.to_vec())),
    };
    plan(&show, scope)
}

/// A SELECT over a system table: `FROM` and items, what its `?` are, and the column that LIKE means.
struct Source {
    items: String,
    from: String,
    params: Vec<Param>,
    like: String,
    /// LIKE's pattern stands in the name of the column.
    pattern_in_name: bool,
}

fn of(items: &str, from: &str, params: Vec<Param>, like: &str) -> Source {
    Source {
        items: items.to_string(),
        from: from.to_string(),
        params,
        like: like.to_string(),
        pattern_in_name: false,
    }
}

fn text(value: &str) -> Param {
    Param::Text(value.as_bytes().to_vec())
}

fn select(mut source: Source, filter: Option<&ShowFilter>) -> Result<ShowPlan> {
    let mut condition = String::new();
    if let Some(ShowFilter::Like(pattern)) = filter {
        condition = format!(" WHERE {} LIKE ?", create::name(&source.like));
        if source.pattern_in_name {
            let shown = format!("{} ({})", source.like, String::from_utf8_lossy(pattern));
            source.items = source.items.replacen(
                &format!("AS {}", create::name(&source.like)),
                &format!("AS {}", create::name(&shown)),
                1,
            );
            condition = format!(" WHERE {} LIKE ?", create::name(&shown));
        }
        source.params.push(Param::Text(pattern.clone()));
    }
    let text = format!("SELECT * FROM (SELECT {} FROM {}) AS `shown`{condition}", source.items, source.from);
    let parsed = parse::parse_one(text.as_bytes(), LexMode::default())?;
    let Statement::Query(mut query) = parsed.statement else {
        return Err(SqlError::internal("SHOW did not become a SELECT"));
    };
    if let (Some(ShowFilter::Where(expr)), SetExpr::Select(select)) = (filter, &mut query.body) {
        select.filter = Some(expr.clone());
    }
    Ok(ShowPlan::Query {
        query,
        params: source.params,
    })
}

const NO_NAME_FILTER: &str = "Name";

fn source(show: &Show, scope: &ShowScope<'_>) -> Result<Source> {
    Ok(match &show.kind {
        ShowKind::Databases => Source {
            pattern_in_name: true,
            ..of("SCHEMA_NAME AS `Database`", "information_schema.SCHEMATA", vec![], "Database")
        },
        ShowKind::Tables { db } => tables(show.full, db.as_deref(), scope)?,
        ShowKind::TableStatus { db } => {
            let db = database(db.as_deref(), scope)?;
            of(
                "TABLE_NAME AS `Name`, ENGINE AS `Engine`, VERSION AS `Version`, ROW_FORMAT AS `Row_format`, TABLE_ROWS AS `Rows`, AVG_ROW_LENGTH AS `Avg_row_length`, DATA_LENGTH AS `Data_length`, MAX_DATA_LENGTH AS `Max_data_length`, INDEX_LENGTH AS `Index_length`, DATA_FREE AS `Data_free`, `AUTO_INCREMENT` AS `Auto_increment`, CREATE_TIME AS `Create_time`, UPDATE_TIME AS `Update_time`, CHECK_TIME AS `Check_time`, TABLE_COLLATION AS `Collation`, `CHECKSUM` AS `Checksum`, CREATE_OPTIONS AS `Create_options`, TABLE_COMMENT AS `Comment`",
                "information_schema.`TABLES` WHERE TABLE_SCHEMA = ?",
                vec![text(&db)],
                NO_NAME_FILTER,
            )
        }
        ShowKind::Columns { table } => columns(show.full, table, scope)?,
        ShowKind::Index { table } => {
            let (db, table) = find(table, scope)?;
            of(
                "TABLE_NAME AS `Table`, NON_UNIQUE AS `Non_unique`, INDEX_NAME AS `Key_name`, SEQ_IN_INDEX AS `Seq_in_index`, COLUMN_NAME AS `Column_name`, `COLLATION` AS `Collation`, CARDINALITY AS `Cardinality`, SUB_PART AS `Sub_part`, PACKED AS `Packed`, NULLABLE AS `Null`, INDEX_TYPE AS `Index_type`, `COMMENT` AS `Comment`, INDEX_COMMENT AS `Index_comment`, IS_VISIBLE AS `Visible`, `EXPRESSION` AS `Expression`",
                "information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
                vec![text(&db.name), text(&table.name)],
                "Key_name",
            )
        }
        ShowKind::Variables(kind) => pairs("variables", *kind),
        ShowKind::Status(kind) => pairs("status", *kind),
        ShowKind::ProcessList => of(
            if show.full {
                "`ID` AS `Id`, `USER` AS `User`, `HOST` AS `Host`, `DB` AS `db`, `COMMAND` AS `Command`, `TIME` AS `Time`, `STATE` AS `State`, `INFO` AS `Info`"
            } else {
                "`ID` AS `Id`, `USER` AS `User`, `HOST` AS `Host`, `DB` AS `db`, `COMMAND` AS `Command`, `TIME` AS `Time`, `STATE` AS `State`, LEFT(`INFO`, ?) AS `Info`"
            },
            "information_schema.`PROCESSLIST`",
            if show.full { vec![] } else { vec![Param::Int(100)] },
            "Id",
        ),
        ShowKind::Engines => of(
            "`ENGINE` AS `Engine`, SUPPORT AS `Support`, `COMMENT` AS `Comment`, TRANSACTIONS AS `Transactions`, `XA` AS `XA`, SAVEPOINTS AS `Savepoints`",
            "information_schema.`ENGINES`",
            vec![],
            "Engine",
        ),
        ShowKind::CharacterSet => of(
            "CHARACTER_SET_NAME AS `Charset`, `DESCRIPTION` AS `Description`, DEFAULT_COLLATE_NAME AS `Default collation`, MAXLEN AS `Maxlen`",
            "information_schema.CHARACTER_SETS",
            vec![],
            "Charset",
        ),
        ShowKind::Collation => of(
            "COLLATION_NAME AS `Collation`, CHARACTER_SET_NAME AS `Charset`, `ID` AS `Id`, IS_DEFAULT AS `Default`, IS_COMPILED AS `Compiled`, SORTLEN AS `Sortlen`, PAD_ATTRIBUTE AS `Pad_attribute`",
            "information_schema.COLLATIONS",
            vec![],
            "Collation",
        ),
        ShowKind::Plugins => of(
            "PLUGIN_NAME AS `Name`, PLUGIN_STATUS AS `Status`, PLUGIN_TYPE AS `Type`, PLUGIN_LIBRARY AS `Library`, PLUGIN_LICENSE AS `License`",
            "information_schema.`PLUGINS`",
            vec![],
            NO_NAME_FILTER,
        ),
        kind => objects(kind, scope)?,
    })
}

/// Triggers, events and routines: tables that are empty until there are such things.
fn objects(kind: &ShowKind, scope: &ShowScope<'_>) -> Result<Source> {
    const TAIL: &str = "CHARACTER_SET_CLIENT AS `character_set_client`, COLLATION_CONNECTION AS `collation_connection`, DATABASE_COLLATION AS `Database Collation`";
    let routines = |kind: &str| {
        of(
            &format!(
                "ROUTINE_SCHEMA AS `Db`, ROUTINE_NAME AS `Name`, ROUTINE_TYPE AS `Type`, `DEFINER` AS `Definer`, LAST_ALTERED AS `Modified`, CREATED AS `Created`, SECURITY_TYPE AS `Security_type`, ROUTINE_COMMENT AS `Comment`, {TAIL}"
            ),
            "information_schema.ROUTINES WHERE ROUTINE_TYPE = ?",
            vec![text(kind)],
            NO_NAME_FILTER,
        )
    };
    Ok(match kind {
        ShowKind::Triggers { db } => of(
            &format!(
                "TRIGGER_NAME AS `Trigger`, EVENT_MANIPULATION AS `Event`, EVENT_OBJECT_TABLE AS `Table`, ACTION_STATEMENT AS `Statement`, ACTION_TIMING AS `Timing`, CREATED AS `Created`, `SQL_MODE` AS `sql_mode`, `DEFINER` AS `Definer`, {TAIL}"
            ),
            "information_schema.`TRIGGERS` WHERE TRIGGER_SCHEMA = ?",
            vec![text(&database(db.as_deref(), scope)?)],
            "Table",
        ),
        ShowKind::Events { db } => of(
            &format!(
                "EVENT_SCHEMA AS `Db`, EVENT_NAME AS `Name`, `DEFINER` AS `Definer`, `TIME_ZONE` AS `Time zone`, EVENT_TYPE AS `Type`, EXECUTE_AT AS `Execute at`, INTERVAL_VALUE AS `Interval value`, INTERVAL_FIELD AS `Interval field`, `STARTS` AS `Starts`, `ENDS` AS `Ends`, `STATUS` AS `Status`, ORIGINATOR AS `Originator`, {TAIL}"
            ),
            "information_schema.`EVENTS` WHERE EVENT_SCHEMA = ?",
            vec![text(&database(db.as_deref(), scope)?)],
            NO_NAME_FILTER,
        ),
        ShowKind::ProcedureStatus => routines("PROCEDURE"),
        ShowKind::FunctionStatus => routines("FUNCTION"),
        ShowKind::Other(words) => return Err(SqlError::unsupported(format!("SHOW {}", words.to_uppercase()))),
        _ => return Err(SqlError::unsupported("SHOW")),
    })
}

fn pairs(what: &str, scope: Scope) -> Source {
    let kind = if scope == Scope::Global { "global" } else { "session" };
    of(
        "VARIABLE_NAME AS `Variable_name`, VARIABLE_VALUE AS `Value`",
        &format!("performance_schema.{kind}_{what}"),
        vec![],
        "Variable_name",
    )
}

/// The database a SHOW means, by its own name: 1046, 1049.
fn database(given: Option<&str>, scope: &ShowScope<'_>) -> Result<String> {
    let name = given.or(scope.database).ok_or_else(SqlError::no_database)?;
    if let Some(system) = meta::system_database(name) {
        return Ok(system.name.clone());
    }
    let found = meta::user_database(scope.catalog, name).ok_or_else(|| SqlError::unknown_database(name))?;
    Ok(found.name.clone())
}

fn tables(full: bool, db: Option<&str>, scope: &ShowScope<'_>) -> Result<Source> {
    let db = database(db, scope)?;
    let column = format!("Tables_in_{db}");
    let kind = if full { ", TABLE_TYPE AS `Table_type`" } else { "" };
    Ok(Source {
        pattern_in_name: true,
        ..of(
            &format!("TABLE_NAME AS {}{kind}", create::name(&column)),
            "information_schema.`TABLES` WHERE TABLE_SCHEMA = ?",
            vec![text(&db)],
            &column,
        )
    })
}

fn columns(full: bool, table: &TableName, scope: &ShowScope<'_>) -> Result<Source> {
    let (db, table) = find(table, scope)?;
    let (collation, rest) = if full {
        (
            "COLLATION_NAME AS `Collation`, ",
            ", `PRIVILEGES` AS `Privileges`, COLUMN_COMMENT AS `Comment`",
        )
    } else {
        ("", "")
    };
    Ok(of(
        &format!(
            "COLUMN_NAME AS `Field`, COLUMN_TYPE AS `Type`, {collation}IS_NULLABLE AS `Null`, COLUMN_KEY AS `Key`, COLUMN_DEFAULT AS `Default`, `EXTRA` AS `Extra`{rest}"
        ),
        "information_schema.`COLUMNS` WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
        vec![text(&db.name), text(&table.name)],
        "Field",
    ))
}

/// A table, and the database it is in: 1046, 1049, 1146.
fn find(name: &TableName, scope: &ShowScope<'_>) -> Result<(std::sync::Arc<Database>, std::sync::Arc<Table>)> {
    let db = name.db.as_deref().or(scope.database).ok_or_else(SqlError::no_database)?;
    let database = meta::system_database(db).or_else(|| meta::user_database(scope.catalog, db).cloned());
    let database = database.ok_or_else(|| SqlError::unknown_database(db))?;
    let table = database.table(&name.name).cloned();
    let table = table.ok_or_else(|| SqlError::unknown_table(&database.name, &name.name))?;
    Ok((database, table))
}

fn column(name: &str, length: u32) -> ResultColumn {
    let mut ty = ColumnType::new(if length > 16_383 { BaseType::LongText } else { BaseType::VarChar });
    if length <= 16_383 {
        ty.length = Some(length);
    }
    ty.collation = Some("utf8mb3_general_ci".into());
    ResultColumn::named(name, ty)
}

fn number(name: &str) -> ResultColumn {
    ResultColumn::named(name, ColumnType::new(BaseType::BigInt))
}

fn value(text: impl AsRef<str>) -> Value {
    Value::Text(text.as_ref().as_bytes().to_vec())
}

fn rows(columns: Vec<ResultColumn>, rows: Vec<Vec<Value>>) -> Rows {
    Rows { columns, rows }
}

/// The kinds that are no SELECT.
fn fixed(show: &Show, scope: &ShowScope<'_>) -> Result<Option<Rows>> {
    Ok(Some(match &show.kind {
        ShowKind::CreateTable(table) => {
            let (_, table) = find(table, scope)?;
            let next = scope.provider.auto_increment(table.id);
            rows(
                vec![column("Table", 64), column("Create Table", u32::MAX)],
                vec![vec![value(&table.name), value(create::table(&table, next))]],
            )
        }
        ShowKind::CreateDatabase { name, if_not_exists } => {
            let found = meta::system_database(name).or_else(|| meta::user_database(scope.catalog, name).cloned());
            let found = found.ok_or_else(|| SqlError::unknown_database(name))?;
            rows(
                vec![column("Database", 64), column("Create Database", 1024)],
                vec![vec![value(&found.name), value(create::database(&found, *if_not_exists))]],
            )
        }
        ShowKind::CreateView(name) => {
            let (db, table) = find(name, scope)?;
            return Err(SqlError::new(1347, format!("'{}.{}' is not VIEW", db.name, table.name)));
        }
        ShowKind::CreateUser(_) => return Err(SqlError::unsupported("SHOW CREATE USER")),
        ShowKind::CreateOther(kind, name) => return Err(missing(kind, &name.name)),
        ShowKind::Warnings { limit } => diagnostics(scope, *limit, |_| true),
        ShowKind::Errors { limit } => diagnostics(scope, *limit, |w| w.level == Level::Error),
        ShowKind::CountWarnings => count("@@session.warning_count", scope.warning_count),
        ShowKind::CountErrors => count("@@session.error_count", scope.error_count),
        ShowKind::Grants(account) => grants(account.as_ref(), scope)?,
        ShowKind::Privileges => privileges(),
        ShowKind::EngineStatus(name) => engine_status(name, scope)?,
        ShowKind::OpenTables { .. } => rows(
            vec![column("Database", 64), column("Table", 64), number("In_use"), number("Name_locked")],
            Vec::new(),
        ),
        ShowKind::BinaryLogs => return Err(SqlError::new(1381, "You are not using binary logging")),
        ShowKind::BinaryLogStatus => log_status(&show.kind, scope),
        ShowKind::ReplicaStatus | ShowKind::Replicas | ShowKind::Profiles => nothing(&show.kind),
        _ => return Ok(None),
    }))
}

/// SHOW CREATE of what cannot exist yet.
fn missing(kind: &str, name: &str) -> SqlError {
    match kind {
        "TRIGGER" => SqlError::new(1360, "Trigger does not exist"),
        "EVENT" => SqlError::new(1539, format!("Unknown event '{name}'")),
        kind => SqlError::new(1305, format!("{kind} {name} does not exist")),
    }
}

/// There is no file to read on from; what tells a moment is the set. (Dumping tools ask for a file's name and give up without one.)
fn log_status(kind: &ShowKind, scope: &ShowScope<'_>) -> Rows {
    let set = scope.provider.globals().map(|g| g.named("gtid_executed").as_str().to_string());
    let set = set.unwrap_or_default();
    let ends = set
        .split(',')
        .filter_map(|part| part.rsplit([':', '-']).next()?.trim().parse::<i64>().ok());
    let position = Value::Int(ends.sum());
    let mut out = nothing(kind);
    out.rows = vec![vec![value("starling-log"), position, value(""), value(""), value(&set)]];
    out
}

/// Results that have columns and, here, never rows.
fn nothing(kind: &ShowKind) -> Rows {
    let columns = match kind {
        ShowKind::Profiles => vec![number("Query_ID"), number("Duration"), column("Query", 300)],
        ShowKind::BinaryLogStatus => vec![
            column("File", 255),
            number("Position"),
            column("Binlog_Do_DB", 255),
            column("Binlog_Ignore_DB", 255),
            column("Executed_Gtid_Set", 255),
        ],
        ShowKind::Replicas => vec![
            number("Server_Id"),
            column("Host", 60),
            number("Port"),
            number("Source_Id"),
            column("Replica_UUID", 36),
        ],
        _ => vec![
            column("Replica_IO_State", 64),
            column("Source_Host", 255),
            column("Source_User", 96),
            number("Source_Port"),
            column("Replica_IO_Running", 3),
            column("Replica_SQL_Running", 3),
            number("Seconds_Behind_Source"),
        ],
    };
    rows(columns, Vec::new())
}

fn diagnostics(scope: &ShowScope<'_>, limit: Option<(u64, u64)>, wanted: fn(&Warning) -> bool) -> Rows {
    let (skip, take) = limit.unwrap_or((0, u64::MAX));
    let level = |w: &Warning| match w.level {
        Level::Note => "Note",
        Level::Warning => "Warning",
        Level::Error => "Error",
    };
    let found = scope.warnings.iter().filter(|w| wanted(w));
    let found = found.skip(usize::try_from(skip).unwrap_or(usize::MAX));
    let found = found.take(usize::try_from(take).unwrap_or(usize::MAX));
    rows(
        vec![column("Level", 7), number("Code"), column("Message", 512)],
        found
            .map(|w| vec![value(level(w)), Value::Int(i64::from(w.code)), value(&w.message)])
            .collect(),
    )
}

fn count(name: &str, count: u64) -> Rows {
    rows(vec![number(name)], vec![vec![Value::Int(i64::try_from(count).unwrap_or(i64::MAX))]])
}

fn grants(account: Option<&Account>, scope: &ShowScope<'_>) -> Result<Rows> {
    let (user, host) = match account {
        Some(account) if !account.user.is_empty() => (account.user.clone(), account.host.clone().unwrap_or_else(|| "%".into())),
        _ => {
            let (user, host) = scope.account.rsplit_once('@').unwrap_or((scope.account, "%"));
            (user.to_string(), host.to_string())
        }
    };
    let accounts = scope.provider.accounts();
    let found = accounts.iter().find(|a| a.user == user && a.host.eq_ignore_ascii_case(&host));
    let found = found.ok_or_else(|| SqlError::new(1141, format!("There is no such grant defined for user '{user}' on host '{host}'")))?;
    let who = format!("{}@{}", create::name(&user), create::name(&host));
    let mut lines = Vec::new();
    match &found.databases {
        None => lines.push(format!("GRANT ALL PRIVILEGES ON *.* TO {who} WITH GRANT OPTION")),
        Some(databases) => {
            lines.push(format!("GRANT USAGE ON *.* TO {who}"));
            for db in databases {
                lines.push(format!("GRANT ALL PRIVILEGES ON {}.* TO {who}", create::name(db)));
            }
        }
    }
    Ok(rows(
        vec![column(&format!("Grants for {user}@{host}"), 1024)],
        lines.into_iter().map(|l| vec![value(l)]).collect(),
    ))
}

fn privileges() -> Rows {
    const ALL: &[(&str, &str, &str)] = &[
        ("Alter", "Tables", "To alter the table"),
        ("Create", "Databases,Tables,Indexes", "To create new databases and tables"),
        ("Delete", "Tables", "To delete existing rows"),
        ("Drop", "Databases,Tables", "To drop databases, tables, and views"),
        ("Index", "Tables", "To create or drop indexes"),
        ("Insert", "Tables", "To insert data into tables"),
        ("References", "Databases,Tables", "To have references on tables"),
        ("Select", "Tables", "To retrieve rows from table"),
        ("Update", "Tables", "To update existing rows"),
        ("Usage", "Server Admin", "No privileges - allow connect only"),
    ];
    rows(
        vec![column("Privilege", 32), column("Context", 64), column("Comment", 128)],
        ALL.iter().map(|(p, c, t)| vec![value(p), value(c), value(t)]).collect(),
    )
}

fn engine_status(name: &str, scope: &ShowScope<'_>) -> Result<Rows> {
    let columns = vec![column("Type", 10), column("Name", 512), column("Status", u32::MAX)];
    match name.to_ascii_lowercase().as_str() {
        "innodb" | "all" => {
            let mut lines: Vec<String> = scope.provider.status().into_iter().map(|(n, v)| format!("{n} {v}")).collect();
            if let Some((locks, _)) = scope.provider.locks() {
                lines.push(meta::rows_locks::engine_status(&locks, scope.catalog));
            }
            Ok(rows(columns, vec![vec![value("InnoDB"), value(""), value(lines.join("\n"))]]))
        }
        _ => Err(SqlError::new(1286, format!("Unknown storage engine '{name}'"))),
    }
}

/// ANALYZE, OPTIMIZE, REPAIR, CHECK TABLE: there is nothing to do, and they say so; CHECKSUM is refused.
pub fn maintenance(verb: &str, names: &[TableName], scope: &ShowScope<'_>) -> Result<Rows> {
    let verb = verb.to_ascii_lowercase();
    if verb == "checksum" {
        return Err(SqlError::unsupported("CHECKSUM TABLE"));
    }
    let mut out = Vec::new();
    for name in names {
        let db = name.db.as_deref().or(scope.database).ok_or_else(SqlError::no_database)?;
        let shown = format!("{db}.{}", name.name);
        let mut push = |kind: &str, message: &str| out.push(vec![value(&shown), value(&verb), value(kind), value(message)]);
        if find(name, scope).is_err() {
            push("Error", &format!("Table '{shown}' doesn't exist"));
            push("status", "Operation failed");
        } else if verb == "repair" {
            push("note", "The storage engine for the table doesn't support repair");
        } else {
            push("status", "OK");
        }
    }
    Ok(rows(
        vec![
            column("Table", 128),
            column("Op", 10),
            column("Msg_type", 10),
            column("Msg_text", 393_216),
        ],
        out,
    ))
}

/// A stored value in MySQL's text form (for results that are all text).
pub fn shown(ty: &ColumnType, value: &Value) -> String {
    let mut out = Vec::new();
    stored_text::write(&mut out, ty, value.as_ref());
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
