//! Definitions of the system tables: names and types as MySQL 8.0 gives them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use starling_apply::catalog::DefaultValue;
use starling_apply::{BaseType, Catalog, Column, ColumnType, Database, Table};

/// Everything that belongs to the system has this collation, as in MySQL.
const COLLATION: &str = "utf8mb3_general_ci";

/// Ids of system tables: above all that places of entries make (their origin would be 65535).
const FIRST_ID: u64 = 0xffff_0000_0000_0000;

/// One table a line: `NAME column type, …`. Types: `sN` varchar(N), `t` longtext, `n` int, `i` bigint, `u` bigint unsigned,
/// `d` datetime, `y` enum as varchar; `!` behind: NOT NULL.
const INFORMATION_SCHEMA: &str = "
SCHEMATA CATALOG_NAME s64!, SCHEMA_NAME s64!, DEFAULT_CHARACTER_SET_NAME s64!, DEFAULT_COLLATION_NAME s64!, SQL_PATH s512, DEFAULT_ENCRYPTION s3!
TABLES TABLE_CATALOG s64!, TABLE_SCHEMA s64!, TABLE_NAME s64!, TABLE_TYPE s11!, ENGINE s64, VERSION n, ROW_FORMAT s10, TABLE_ROWS u, AVG_ROW_LENGTH u, DATA_LENGTH u, MAX_DATA_LENGTH u, INDEX_LENGTH u, DATA_FREE u, AUTO_INCREMENT u, CREATE_TIME d!, UPDATE_TIME d, CHECK_TIME d, TABLE_COLLATION s64, CHECKSUM i, CREATE_OPTIONS s256, TABLE_COMMENT s2048
COLUMNS TABLE_CATALOG s64!, TABLE_SCHEMA s64!, TABLE_NAME s64!, COLUMN_NAME s64, ORDINAL_POSITION n!, COLUMN_DEFAULT t, IS_NULLABLE s3!, DATA_TYPE t, CHARACTER_MAXIMUM_LENGTH i, CHARACTER_OCTET_LENGTH i, NUMERIC_PRECISION u, NUMERIC_SCALE u, DATETIME_PRECISION n, CHARACTER_SET_NAME s64, COLLATION_NAME s64, COLUMN_TYPE t!, COLUMN_KEY s3!, EXTRA s256, PRIVILEGES s154, COLUMN_COMMENT s1024!, GENERATION_EXPRESSION t!, SRS_ID n
STATISTICS TABLE_CATALOG s64!, TABLE_SCHEMA s64!, TABLE_NAME s64!, NON_UNIQUE n!, INDEX_SCHEMA s64!, INDEX_NAME s64, SEQ_IN_INDEX n!, COLUMN_NAME s64, COLLATION s1, CARDINALITY i, SUB_PART i, PACKED s1, NULLABLE s3!, INDEX_TYPE s11!, COMMENT s8!, INDEX_COMMENT s2048!, IS_VISIBLE s3!, EXPRESSION t
KEY_COLUMN_USAGE CONSTRAINT_CATALOG s64!, CONSTRAINT_SCHEMA s64!, CONSTRAINT_NAME s64, TABLE_CATALOG s64!, TABLE_SCHEMA s64!, TABLE_NAME s64!, COLUMN_NAME s64, ORDINAL_POSITION n!, POSITION_IN_UNIQUE_CONSTRAINT n, REFERENCED_TABLE_SCHEMA s64, REFERENCED_TABLE_NAME s64, REFERENCED_COLUMN_NAME s64
TABLE_CONSTRAINTS CONSTRAINT_CATALOG s64!, CONSTRAINT_SCHEMA s64!, CONSTRAINT_NAME s64, TABLE_SCHEMA s64!, TABLE_NAME s64!, CONSTRAINT_TYPE s11!, ENFORCED s3!
REFERENTIAL_CONSTRAINTS CONSTRAINT_CATALOG s64!, CONSTRAINT_SCHEMA s64!, CONSTRAINT_NAME s64, UNIQUE_CONSTRAINT_CATALOG s64!, UNIQUE_CONSTRAINT_SCHEMA s64!, UNIQUE_CONSTRAINT_NAME s64, MATCH_OPTION s7!, UPDATE_RULE s11!, DELETE_RULE s11!, TABLE_NAME s64!, REFERENCED_TABLE_NAME s64!
CHECK_CONSTRAINTS CONSTRAINT_CATALOG s64!, CONSTRAINT_SCHEMA s64!, CONSTRAINT_NAME s64!, CHECK_CLAUSE t!
ENGINES ENGINE s64!, SUPPORT s8!, COMMENT s80!, TRANSACTIONS s3, XA s3, SAVEPOINTS s3
CHARACTER_SETS CHARACTER_SET_NAME s64!, DEFAULT_COLLATE_NAME s64!, DESCRIPTION s2048!, MAXLEN n!
COLLATIONS COLLATION_NAME s64!, CHARACTER_SET_NAME s64!, ID u!, IS_DEFAULT s3!, IS_COMPILED s3!, SORTLEN n!, PAD_ATTRIBUTE s9!
COLLATION_CHARACTER_SET_APPLICABILITY COLLATION_NAME s64!, CHARACTER_SET_NAME s64!
PROCESSLIST ID u!, USER s32!, HOST s261!, DB s64, COMMAND s16!, TIME n!, STATE s64, INFO t
PLUGINS PLUGIN_NAME s64!, PLUGIN_VERSION s20!, PLUGIN_STATUS s10!, PLUGIN_TYPE s80!, PLUGIN_TYPE_VERSION s20!, PLUGIN_LIBRARY s64, PLUGIN_LIBRARY_VERSION s20, PLUGIN_AUTHOR s64, PLUGIN_DESCRIPTION t, PLUGIN_LICENSE s80, LOAD_OPTION s64!
VIEWS TABLE_CATALOG s64!, TABLE_SCHEMA s64!, TABLE_NAME s64!, VIEW_DEFINITION t, CHECK_OPTION s8, IS_UPDATABLE s3, DEFINER s288, SECURITY_TYPE s7, CHARACTER_SET_CLIENT s64!, COLLATION_CONNECTION s64!
TRIGGERS TRIGGER_CATALOG s64!, TRIGGER_SCHEMA s64!, TRIGGER_NAME s64!, EVENT_MANIPULATION s6!, EVENT_OBJECT_CATALOG s64!, EVENT_OBJECT_SCHEMA s64!, EVENT_OBJECT_TABLE s64!, ACTION_ORDER n!, ACTION_CONDITION s1, ACTION_STATEMENT t!, ACTION_ORIENTATION s3!, ACTION_TIMING s6!, ACTION_REFERENCE_OLD_TABLE s1, ACTION_REFERENCE_NEW_TABLE s1, ACTION_REFERENCE_OLD_ROW s3!, ACTION_REFERENCE_NEW_ROW s3!, CREATED d!, SQL_MODE s512!, DEFINER s288!, CHARACTER_SET_CLIENT s64!, COLLATION_CONNECTION s64!, DATABASE_COLLATION s64!
ROUTINES SPECIFIC_NAME s64!, ROUTINE_CATALOG s64!, ROUTINE_SCHEMA s64!, ROUTINE_NAME s64!, ROUTINE_TYPE s9!, DATA_TYPE t, CHARACTER_MAXIMUM_LENGTH i, CHARACTER_OCTET_LENGTH i, NUMERIC_PRECISION u, NUMERIC_SCALE u, DATETIME_PRECISION n, CHARACTER_SET_NAME s64, COLLATION_NAME s64, DTD_IDENTIFIER t, ROUTINE_BODY s8!, ROUTINE_DEFINITION t, EXTERNAL_NAME s1, EXTERNAL_LANGUAGE s64!, PARAMETER_STYLE s3!, IS_DETERMINISTIC s3!, SQL_DATA_ACCESS s17!, SQL_PATH s1, SECURITY_TYPE s7!, CREATED d!, LAST_ALTERED d!, SQL_MODE s512!, ROUTINE_COMMENT t!, DEFINER s288!, CHARACTER_SET_CLIENT s64!, COLLATION_CONNECTION s64!, DATABASE_COLLATION s64!
PARAMETERS SPECIFIC_CATALOG s64!, SPECIFIC_SCHEMA s64!, SPECIFIC_NAME s64!, ORDINAL_POSITION u!, PARAMETER_MODE s5, PARAMETER_NAME s64, DATA_TYPE t, CHARACTER_MAXIMUM_LENGTH i, CHARACTER_OCTET_LENGTH i, NUMERIC_PRECISION u, NUMERIC_SCALE i, DATETIME_PRECISION n, CHARACTER_SET_NAME s64, COLLATION_NAME s64, DTD_IDENTIFIER t!, ROUTINE_TYPE s9!
EVENTS EVENT_CATALOG s64!, EVENT_SCHEMA s64!, EVENT_NAME s64!, DEFINER s288!, TIME_ZONE s64!, EVENT_BODY s3!, EVENT_DEFINITION t!, EVENT_TYPE s9!, EXECUTE_AT d, INTERVAL_VALUE s256, INTERVAL_FIELD s20, SQL_MODE s512!, STARTS d, ENDS d, STATUS s21!, ON_COMPLETION s12!, CREATED d!, LAST_ALTERED d!, LAST_EXECUTED d, EVENT_COMMENT s2048!, ORIGINATOR n!, CHARACTER_SET_CLIENT s64!, COLLATION_CONNECTION s64!, DATABASE_COLLATION s64!
PARTITIONS TABLE_CATALOG s64!, TABLE_SCHEMA s64!, TABLE_NAME s64!, PARTITION_NAME s64, SUBPARTITION_NAME s64, PARTITION_ORDINAL_POSITION n, SUBPARTITION_ORDINAL_POSITION n, PARTITION_METHOD s13, SUBPARTITION_METHOD s13, PARTITION_EXPRESSION s2048, SUBPARTITION_EXPRESSION s2048, PARTITION_DESCRIPTION t, TABLE_ROWS u, AVG_ROW_LENGTH u, DATA_LENGTH u, MAX_DATA_LENGTH u, INDEX_LENGTH u, DATA_FREE u, CREATE_TIME d!, UPDATE_TIME d, CHECK_TIME d, CHECKSUM i, PARTITION_COMMENT t!, NODEGROUP s256, TABLESPACE_NAME s268
USER_PRIVILEGES GRANTEE s292!, TABLE_CATALOG s512!, PRIVILEGE_TYPE s64!, IS_GRANTABLE s3!
SCHEMA_PRIVILEGES GRANTEE s292!, TABLE_CATALOG s512!, TABLE_SCHEMA s64!, PRIVILEGE_TYPE s64!, IS_GRANTABLE s3!
TABLE_PRIVILEGES GRANTEE s292!, TABLE_CATALOG s512!, TABLE_SCHEMA s64!, TABLE_NAME s64!, PRIVILEGE_TYPE s64!, IS_GRANTABLE s3!
COLUMN_PRIVILEGES GRANTEE s292!, TABLE_CATALOG s512!, TABLE_SCHEMA s64!, TABLE_NAME s64!, COLUMN_NAME s64!, PRIVILEGE_TYPE s64!, IS_GRANTABLE s3!
INNODB_TRX trx_id u!, trx_state s13!, trx_started d!, trx_requested_lock_id s126, trx_wait_started d, trx_weight u!, trx_mysql_thread_id u!, trx_query s1024, trx_operation_state s64, trx_tables_in_use u!, trx_tables_locked u!, trx_lock_structs u!, trx_lock_memory_bytes u!, trx_rows_locked u!, trx_rows_modified u!, trx_concurrency_tickets u!, trx_isolation_level s16!, trx_unique_checks n!, trx_foreign_key_checks n!, trx_last_foreign_key_error s256, trx_adaptive_hash_latched n!, trx_adaptive_hash_timeout u!, trx_is_read_only n!, trx_autocommit_non_locking n!, trx_schedule_weight u
COLUMN_STATISTICS SCHEMA_NAME s64!, TABLE_NAME s64!, COLUMN_NAME s64!, HISTOGRAM t!
FILES FILE_ID i, FILE_NAME t, FILE_TYPE s256, TABLESPACE_NAME s268!, TABLE_CATALOG s1!, TABLE_SCHEMA s1, TABLE_NAME s1, LOGFILE_GROUP_NAME s256, LOGFILE_GROUP_NUMBER i, ENGINE s64!, FULLTEXT_KEYS s1, DELETED_ROWS s1, UPDATE_COUNT s1, FREE_EXTENTS i, TOTAL_EXTENTS i, EXTENT_SIZE i, INITIAL_SIZE i, MAXIMUM_SIZE i, AUTOEXTEND_SIZE i, CREATION_TIME s1, LAST_UPDATE_TIME s1, LAST_ACCESS_TIME s1, RECOVER_TIME s1, TRANSACTION_COUNTER s1, VERSION i, ROW_FORMAT s256, TABLE_ROWS s1, AVG_ROW_LENGTH s1, DATA_LENGTH s1, MAX_DATA_LENGTH s1, INDEX_LENGTH s1, DATA_FREE i, CREATE_TIME s1, UPDATE_TIME s1, CHECK_TIME s1, CHECKSUM s1, STATUS s256, EXTRA s256
";

const PERFORMANCE_SCHEMA: &str = "
global_variables VARIABLE_NAME s64!, VARIABLE_VALUE s1024
session_variables VARIABLE_NAME s64!, VARIABLE_VALUE s1024
global_status VARIABLE_NAME s64!, VARIABLE_VALUE s1024
session_status VARIABLE_NAME s64!, VARIABLE_VALUE s1024
data_locks ENGINE s32!, ENGINE_LOCK_ID s128!, ENGINE_TRANSACTION_ID u, THREAD_ID u, EVENT_ID u, OBJECT_SCHEMA s64, OBJECT_NAME s64, PARTITION_NAME s64, SUBPARTITION_NAME s64, INDEX_NAME s64, OBJECT_INSTANCE_BEGIN u!, LOCK_TYPE s32!, LOCK_MODE s32!, LOCK_STATUS s32!, LOCK_DATA s8192
data_lock_waits ENGINE s32!, REQUESTING_ENGINE_LOCK_ID s128!, REQUESTING_ENGINE_TRANSACTION_ID u, REQUESTING_THREAD_ID u, REQUESTING_EVENT_ID u, REQUESTING_OBJECT_INSTANCE_BEGIN u!, BLOCKING_ENGINE_LOCK_ID s128!, BLOCKING_ENGINE_TRANSACTION_ID u, BLOCKING_THREAD_ID u, BLOCKING_EVENT_ID u, BLOCKING_OBJECT_INSTANCE_BEGIN u!
metadata_locks OBJECT_TYPE s64!, OBJECT_SCHEMA s64, OBJECT_NAME s64, COLUMN_NAME s64, OBJECT_INSTANCE_BEGIN u!, LOCK_TYPE s32!, LOCK_DURATION s32!, LOCK_STATUS s32!, SOURCE s64, OWNER_THREAD_ID u, OWNER_EVENT_ID u
";

const STARLING: &str = "
conflicts db s64!, table_name s64!, row_key t!, origin u!, seq u!, change_index u!, reason s64!, winner_origin u!, winner_at s32!
members id u!, name s64!, state s16!, http_address s256!, mysql_address s256!, origin u!, last_seen_ms u, lag_entries u
status name s64!, value t
transactions id s160!, state s16!, since d!, coordinator u, keys_locked u!, rows_changed u, session u
";

struct System {
    databases: BTreeMap<&'static str, Arc<Database>>,
}

static ALL: LazyLock<System> = LazyLock::new(|| {
    let mut databases = BTreeMap::new();
    let all = [
        ("information_schema", INFORMATION_SCHEMA),
        ("performance_schema", PERFORMANCE_SCHEMA),
        ("mysql", ""),
        ("starling", STARLING),
    ];
    for (n, (name, text)) in (1..).zip(all) {
        databases.insert(name, Arc::new(database(FIRST_ID + n * 256, name, text)));
    }
    System { databases }
});

fn database(id: u64, name: &str, text: &str) -> Database {
    let mut tables = BTreeMap::new();
    for (n, line) in (1..).zip(text.lines().filter(|l| !l.is_empty())) {
        let (table, columns) = line.split_once(' ').unwrap_or((line, ""));
        tables.insert(table.to_lowercase(), Arc::new(define(id, id + n, table, columns)));
    }
    Database {
        id,
        name: name.to_string(),
        collation: COLLATION.to_string(),
        tables,
    }
}

fn define(db: u64, id: u64, name: &str, columns: &str) -> Table {
    let columns: Vec<Column> = (1..).zip(columns.split(", ")).map(|(n, c)| column(n, c)).collect();
    Table {
        id,
        db,
        name: name.to_string(),
        next_id: columns.len() as u32 + 1,
        columns,
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        collation: COLLATION.to_string(),
        engine: "InnoDB".to_string(),
        comment: String::new(),
        auto_increment: 0,
        row_format: None,
        created_ms: 0,
    }
}

fn column(id: u32, text: &str) -> Column {
    let (name, code) = text.split_once(' ').unwrap_or((text, "t"));
    let nullable = !code.ends_with('!');
    let code = code.trim_end_matches('!');
    let mut ty = ColumnType::new(match code.as_bytes().first() {
        Some(b's') => BaseType::VarChar,
        Some(b'n') => BaseType::Int,
        Some(b'i' | b'u') => BaseType::BigInt,
        Some(b'd') => BaseType::DateTime,
        _ => BaseType::LongText,
    });
    match ty.base {
        BaseType::VarChar => {
            ty.length = code[1..].parse().ok();
            ty.collation = Some(COLLATION.to_string());
        }
        BaseType::LongText => ty.collation = Some(COLLATION.to_string()),
        BaseType::DateTime => ty.decimals = Some(0),
        _ => ty.unsigned = code == "u",
    }
    Column {
        id,
        name: name.to_string(),
        ty,
        nullable,
        default: if nullable { DefaultValue::Null } else { DefaultValue::None },
        auto_increment: false,
        on_update_now: false,
        comment: String::new(),
        generated: None,
        invisible: false,
    }
}

/// Is this (in any case) the name of a database of the system?
pub fn is_system(database: &str) -> bool {
    ALL.databases.contains_key(database.to_lowercase().as_str())
}

/// A database that nobody is to see or use by its name.
pub fn is_hidden(database: &str) -> bool {
    database.eq_ignore_ascii_case(crate::txn::xa::record::DATABASE)
}

/// One of the users' databases.
pub fn user_database<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c Arc<Database>> {
    catalog.database(name).filter(|d| !is_hidden(&d.name))
}

pub fn system_database(name: &str) -> Option<Arc<Database>> {
    ALL.databases.get(name.to_lowercase().as_str()).cloned()
}

pub fn system_databases() -> impl Iterator<Item = &'static Arc<Database>> {
    ALL.databases.values()
}

/// A system table by the names of its database and its own, without case.
pub fn system_table(database: &str, name: &str) -> Option<Arc<Table>> {
    ALL.databases.get(database.to_lowercase().as_str())?.table(name).cloned()
}
