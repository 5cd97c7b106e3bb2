//! Errors as MySQL clients know them: code, SQLSTATE, message. The one table of them.
//!
//! Promises: every error that leaves `sql` has the code that MySQL 8.0 gives for the same mistake, or 1235 (not supported,
//! by name) or 1105 (unknown: ours). Must not know: how errors travel on the wire.

use std::borrow::Cow;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERROR {code} ({}): {message}", std::str::from_utf8(.state).unwrap_or("HY000"))]
pub struct SqlError {
    pub code: u16,
    pub state: [u8; 5],
    pub message: Cow<'static, str>,
}

pub type Result<T> = std::result::Result<T, SqlError>;

impl SqlError {
    pub fn new(code: u16, message: impl Into<Cow<'static, str>>) -> SqlError {
        SqlError {
            code,
            state: *state_of(code),
            message: message.into(),
        }
    }
    /// 1064, in MySQL's words; `near`: the text from the offending token on, `line` from 1.
    pub fn syntax(near: &[u8], line: usize) -> SqlError {
        let near = String::from_utf8_lossy(&near[..near.len().min(80)]).into_owned();
        SqlError::new(
            1064,
            format!(
                "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near '{near}' at line {line}"
            ),
        )
    }
    pub fn unsupported(what: impl std::fmt::Display) -> SqlError {
        SqlError::new(1235, format!("This version of MySQL doesn't yet support '{what}'"))
    }
    pub fn no_database() -> SqlError {
        SqlError::new(1046, "No database selected")
    }
    pub fn unknown_database(db: &str) -> SqlError {
        SqlError::new(1049, format!("Unknown database '{db}'"))
    }
    pub fn unknown_table(db: &str, table: &str) -> SqlError {
        SqlError::new(1146, format!("Table '{db}.{table}' doesn't exist"))
    }
    /// `clause`: `field list`, `where clause`, `on clause`, `order clause`, `group statement`, `having clause`
    pub fn unknown_column(name: &str, clause: &str) -> SqlError {
        SqlError::new(1054, format!("Unknown column '{name}' in '{clause}'"))
    }
    /// What became of the write is not known: the client must hear nothing (its connection is closed).
    pub fn unknown_outcome(why: impl std::fmt::Display) -> SqlError {
        SqlError {
            code: 0,
            state: *b"HY000",
            message: format!("outcome unknown: {why}").into(),
        }
    }
    pub fn is_unknown_outcome(&self) -> bool {
        self.code == 0
    }
    pub fn internal(what: impl std::fmt::Display) -> SqlError {
        SqlError::new(1105, format!("Unknown error: {what}"))
    }
}

/// SQLSTATE of a MySQL error code (those not listed: HY000).
pub fn state_of(code: u16) -> &'static [u8; 5] {
    match code {
        1022 | 1048 | 1052 | 1062 | 1169 | 1216 | 1217 | 1364 | 1451 | 1452 | 1557 | 1586 | 1761 | 1762 | 1859 => b"23000",
        1037 | 1038 => b"HY001",
        1040 | 1043 | 1047 | 1053 | 1080 | 1081 | 1152..=1161 | 1184 | 1189 | 1190 | 1218 => b"08S01",
        1044 | 1049 | 1142 | 1143 | 1203 | 1226 | 1227 | 1370 | 1461 | 3100 => b"42000",
        1045 | 1698 | 1862 => b"28000",
        1046 => b"3D000",
        1050 => b"42S01",
        1051 | 1109 | 1146 => b"42S02",
        1054 | 1247 => b"42S22",
        1055..=1061
        | 1063..=1075
        | 1083
        | 1084
        | 1090
        | 1091
        | 1101..=1104
        | 1106
        | 1107
        | 1110
        | 1112..=1121
        | 1131..=1133
        | 1138..=1141
        | 1144..=1150
        | 1162..=1164
        | 1166..=1168
        | 1170..=1173
        | 1176
        | 1177
        | 1178
        | 1191
        | 1221
        | 1230
        | 1231
        | 1232
        | 1234
        | 1235
        | 1239
        | 1248
        | 1252
        | 1253
        | 1280
        | 1281
        | 1286
        | 1304
        | 1305
        | 1318
        | 1327
        | 1330
        | 1331
        | 1332
        | 1333
        | 1407
        | 1410
        | 1413
        | 1414
        | 1425
        | 1426
        | 1427
        | 1437
        | 1439
        | 1453
        | 1458
        | 1460
        | 1463
        | 1582
        | 1583
        | 1584
        | 1630
        | 3121 => match code {
            1060 => b"42S21",
            1061 | 1072 | 1091 => b"42000",
            1058 | 1136 => b"21S01",
            1138 => b"22004",
            _ => b"42000",
        },
        1082 => b"42S12",
        1136 | 1222 => b"21000",
        1241 | 1242 => b"21000",
        1179 | 1568 => b"25001",
        1205 => b"HY000",
        1213 => b"40001",
        1210 | 1243 => b"HY000",
        1264 | 1690 => b"22003",
        1265 => b"01000",
        1292 | 1411 => b"22007",
        1365 => b"22012",
        1366 => b"HY000",
        1367 => b"22007",
        1406 => b"22001",
        1303 => b"2F003",
        1317 | 3024 => b"70100",
        1325 => b"24000",
        1326 => b"24000",
        1336 => b"0A000",
        1338..=1340 => b"42000",
        1397 => b"XAE04",
        1398 => b"XAE05",
        1399 => b"XAE07",
        1400 => b"XAE09",
        1401 => b"XAE03",
        1402 => b"XA100",
        1440 => b"XAE08",
        1613 => b"XA106",
        1614 => b"XA102",
        1792 => b"25006",
        3140 | 3141 | 3143 | 3144 => b"22032",
        _ => b"HY000",
    }
}
