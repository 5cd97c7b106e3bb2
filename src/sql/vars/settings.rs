//! The session variables that statements ask all the time, in typed form; read again after every SET.

use std::sync::Arc;

use starling_apply::numbers::{Rule, Series};

use super::{SessionVars, VarValue};
use crate::sql::bind::SqlMode;
use crate::sql::gtid::GtidSet;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Reads see what is committed when the statement starts (READ UNCOMMITTED gets it too).
    ReadCommitted,
    #[default]
    RepeatableRead,
    Serializable,
}

/// What reads wait for (`starling_read_wait`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadWait {
    #[default]
    Off,
    Session,
    Cluster,
    Stable,
}

impl ReadWait {
    pub fn name(self) -> &'static str {
        match self {
            ReadWait::Off => "OFF",
            ReadWait::Session => "SESSION",
            ReadWait::Cluster => "CLUSTER",
            ReadWait::Stable => "STABLE",
        }
    }
    fn named(name: Option<&str>) -> ReadWait {
        let all = [ReadWait::Session, ReadWait::Cluster, ReadWait::Stable];
        all.into_iter().find(|w| name == Some(w.name())).unwrap_or_default()
    }
}

/// `session_track_gtids`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackGtids {
    #[default]
    Off,
    Own,
    All,
}

/// `session_track_transaction_info`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackInfo {
    #[default]
    Off,
    State,
    Characteristics,
}

#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub mode: SqlMode,
    pub autocommit: bool,
    pub isolation: Isolation,
    pub read_only: bool,
    pub foreign_key_checks: bool,
    pub sql_safe_updates: bool,
    /// `innodb_lock_wait_timeout`
    pub lock_wait_ms: u64,
    /// `lock_wait_timeout`: for definitions (metadata locks), and LOCK TABLES.
    pub definition_wait_ms: u64,
    pub snapshot_isolation: bool,
    /// `starling_write_consistency`
    pub level: crate::txn::Level,
    /// `auto_increment_increment`, `auto_increment_offset`, `starling_auto_increment_mode`
    pub numbers: Rule,
    /// 0: no limit.
    pub max_execution_ms: u64,
    pub sql_select_limit: u64,
    pub group_concat_max_len: u64,
    pub max_allowed_packet: usize,
    pub wait_timeout: u64,
    pub collation: String,
    /// Charset of statements as they come.
    pub client_charset: String,
    /// `None`: results go out as they are.
    pub results_charset: Option<String>,
    pub time_zone: String,
    /// Microseconds since the epoch, set by `SET timestamp`.
    pub timestamp_us: Option<i64>,
    pub sql_auto_is_null: bool,
    pub sql_warnings: bool,
    pub div_precision_increment: u8,
    pub default_week_format: u8,
    pub max_error_count: usize,
    pub read_wait: ReadWait,
    /// What reads wait for besides; `None`: nothing.
    pub read_after: Option<Arc<GtidSet>>,
    pub read_wait_secs: u64,
    pub track_gtids: TrackGtids,
    pub track_info: TrackInfo,
    pub track_schema: bool,
    pub track_state: bool,
    /// Names of the variables that a client is told of, separated by commas.
    pub tracked: String,
}

impl Settings {
    pub fn read(vars: &SessionVars) -> Settings {
        let text = |name: &str| match vars.named(name) {
            VarValue::Text(t) => Some(t.to_string()),
            _ => None,
        };
        let number = |name: &str| vars.named(name).as_u64();
        let on = |name: &str| vars.named(name).is_on();
        let timestamp = match vars.named("timestamp") {
            VarValue::Real(v) if v > 0.0 => Some((v * 1e6).round() as i64),
            _ => None,
        };
        Settings {
            mode: sql_mode(&text("sql_mode").unwrap_or_default()),
            autocommit: on("autocommit"),
            isolation: match text("transaction_isolation").as_deref() {
                Some("READ-COMMITTED" | "READ-UNCOMMITTED") => Isolation::ReadCommitted,
                Some("SERIALIZABLE") => Isolation::Serializable,
                _ => Isolation::RepeatableRead,
            },
            read_only: on("transaction_read_only"),
            foreign_key_checks: on("foreign_key_checks"),
            sql_safe_updates: on("sql_safe_updates"),
            lock_wait_ms: number("innodb_lock_wait_timeout").saturating_mul(1000),
            definition_wait_ms: number("lock_wait_timeout").saturating_mul(1000),
            snapshot_isolation: on("innodb_snapshot_isolation"),
            level: match text("starling_write_consistency").as_deref() {
                Some("ONE") => crate::txn::Level::One,
                Some("ALL") => crate::txn::Level::All,
                _ => crate::txn::Level::Quorum,
            },
            numbers: Rule {
                series: Series::new(
                    number("auto_increment_increment").try_into().unwrap_or(1),
                    number("auto_increment_offset").try_into().unwrap_or(1),
                ),
                compact: text("starling_auto_increment_mode").as_deref() == Some("COMPACT"),
            },
            max_execution_ms: number("max_execution_time"),
            sql_select_limit: number("sql_select_limit"),
            group_concat_max_len: number("group_concat_max_len"),
            max_allowed_packet: usize::try_from(number("max_allowed_packet")).unwrap_or(usize::MAX),
            wait_timeout: number("wait_timeout"),
            collation: text("collation_connection").unwrap_or_else(|| "utf8mb4_0900_ai_ci".into()),
            client_charset: text("character_set_client").unwrap_or_else(|| "utf8mb4".into()),
            results_charset: text("character_set_results"),
            time_zone: text("time_zone").unwrap_or_else(|| "SYSTEM".into()),
            timestamp_us: timestamp,
            sql_auto_is_null: on("sql_auto_is_null"),
            sql_warnings: on("sql_warnings"),
            div_precision_increment: number("div_precision_increment") as u8,
            default_week_format: number("default_week_format") as u8,
            max_error_count: number("max_error_count") as usize,
            read_wait: ReadWait::named(text("starling_read_wait").as_deref()),
            // It was parsed when it was set.
            read_after: text("starling_read_after")
                .filter(|t| !t.is_empty())
                .and_then(|t| GtidSet::parse(&t).ok())
                .map(Arc::new),
            read_wait_secs: number("starling_read_wait_timeout"),
            track_gtids: match text("session_track_gtids").as_deref() {
                Some("OWN_GTID") => TrackGtids::Own,
                Some("ALL_GTIDS") => TrackGtids::All,
                _ => TrackGtids::Off,
            },
            track_info: match text("session_track_transaction_info").as_deref() {
                Some("STATE") => TrackInfo::State,
                Some("CHARACTERISTICS") => TrackInfo::Characteristics,
                _ => TrackInfo::Off,
            },
            track_schema: on("session_track_schema"),
            track_state: on("session_track_state_change"),
            tracked: text("session_track_system_variables").unwrap_or_default(),
        }
    }
}

fn sql_mode(text: &str) -> SqlMode {
    let has = |word: &str| text.split(',').any(|w| w == word);
    SqlMode {
        ansi_quotes: has("ANSI_QUOTES"),
        pipes_as_concat: has("PIPES_AS_CONCAT"),
        no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
        ignore_space: has("IGNORE_SPACE"),
        high_not_precedence: has("HIGH_NOT_PRECEDENCE"),
        real_as_float: has("REAL_AS_FLOAT"),
        only_full_group_by: has("ONLY_FULL_GROUP_BY"),
        strict: has("STRICT_TRANS_TABLES") || has("STRICT_ALL_TABLES"),
        no_zero_date: has("NO_ZERO_DATE"),
        no_zero_in_date: has("NO_ZERO_IN_DATE"),
        error_for_division_by_zero: has("ERROR_FOR_DIVISION_BY_ZERO"),
        no_auto_value_on_zero: has("NO_AUTO_VALUE_ON_ZERO"),
        no_unsigned_subtraction: has("NO_UNSIGNED_SUBTRACTION"),
        pad_char_to_full_length: has("PAD_CHAR_TO_FULL_LENGTH"),
        allow_invalid_dates: has("ALLOW_INVALID_DATES"),
    }
}
