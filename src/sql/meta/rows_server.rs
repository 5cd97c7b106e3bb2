//! Rows of the tables that describe the server: engines, charsets, collations, clients, accounts, variables, status.

use starling_log::Value;

use super::rows_schema::{int, maybe, text};
use super::{Provider, View};
use crate::cluster::accounts::Account;
use crate::sql::vars;

type Row = Vec<Value>;

pub fn rows(table: &str, provider: &dyn Provider, view: &View) -> Option<Vec<Row>> {
    Some(match table {
        "ENGINES" => engines(),
        "CHARACTER_SETS" => CHARSETS
            .iter()
            .map(|(name, collation, description, width)| vec![text(name), text(collation), text(description), int(*width)])
            .collect(),
        "COLLATIONS" => COLLATIONS.iter().map(|(id, name)| collation(*id, name)).collect(),
        "COLLATION_CHARACTER_SET_APPLICABILITY" => COLLATIONS
            .iter()
            .map(|(_, name)| vec![text(name), text(vars::charset_of(name))])
            .collect(),
        "PROCESSLIST" => processes(provider),
        "PLUGINS" => plugins(),
        "USER_PRIVILEGES" => privileges(provider),
        "SCHEMA_PRIVILEGES" => schema_privileges(provider),
        "global_variables" => global_variables(provider),
        "session_variables" => pairs(view.variables.iter().map(|(n, v)| (n.to_string(), v.clone()))),
        "global_status" => pairs(provider.status().into_iter().map(|(n, v)| (n, Some(v)))),
        "session_status" => session_status(provider, view),
        _ => return None,
    })
}

fn pairs(all: impl Iterator<Item = (String, Option<String>)>) -> Vec<Row> {
    let mut rows: Vec<Row> = all.map(|(n, v)| vec![text(n), maybe(v)]).collect();
    rows.sort_by(|a, b| match (&a[0], &b[0]) {
        (Value::Text(a), Value::Text(b)) => a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()),
        _ => std::cmp::Ordering::Equal,
    });
    rows
}

fn engines() -> Vec<Row> {
    let row = |name: &str, support: &str, comment: &str, transactions: &str| {
        vec![
            text(name),
            text(support),
            text(comment),
            text(transactions),
            text("NO"),
            text(transactions),
        ]
    };
    vec![
        row(
            "InnoDB",
            "DEFAULT",
            "Change log and SQLite files: transactions, foreign keys, replication",
            "YES",
        ),
        row("MEMORY", "YES", "Taken as InnoDB", "YES"),
        row("MyISAM", "YES", "Taken as InnoDB", "YES"),
        row("CSV", "YES", "Taken as InnoDB", "YES"),
        row("ARCHIVE", "YES", "Taken as InnoDB", "YES"),
    ]
}

const CHARSETS: &[(&str, &str, &str, i64)] = &[
    ("ascii", "ascii_general_ci", "US ASCII", 1),
    ("binary", "binary", "Binary pseudo charset", 1),
    ("latin1", "latin1_swedish_ci", "cp1252 West European", 1),
    ("ucs2", "ucs2_general_ci", "UCS-2 Unicode", 2),
    ("utf16", "utf16_general_ci", "UTF-16 Unicode", 4),
    ("utf16le", "utf16le_general_ci", "UTF-16LE Unicode", 4),
    ("utf32", "utf32_general_ci", "UTF-32 Unicode", 4),
    ("utf8mb3", "utf8mb3_general_ci", "UTF-8 Unicode", 3),
    ("utf8mb4", "utf8mb4_0900_ai_ci", "UTF-8 Unicode", 4),
];

/// MySQL's numbers of the collations that exist here.
const COLLATIONS: &[(i64, &str)] = &[
    (5, "latin1_german1_ci"),
    (8, "latin1_swedish_ci"),
    (11, "ascii_general_ci"),
    (31, "latin1_german2_ci"),
    (33, "utf8mb3_general_ci"),
    (45, "utf8mb4_general_ci"),
    (46, "utf8mb4_bin"),
    (47, "latin1_bin"),
    (48, "latin1_general_ci"),
    (49, "latin1_general_cs"),
    (63, "binary"),
    (65, "ascii_bin"),
    (83, "utf8mb3_bin"),
    (192, "utf8mb3_unicode_ci"),
    (224, "utf8mb4_unicode_ci"),
    (246, "utf8mb4_unicode_520_ci"),
    (255, "utf8mb4_0900_ai_ci"),
    (278, "utf8mb4_0900_as_cs"),
    (305, "utf8mb4_0900_as_ci"),
    (309, "utf8mb4_0900_bin"),
];

fn collation(id: i64, name: &str) -> Row {
    let charset = vars::charset_of(name);
    let default = CHARSETS.iter().any(|(_, c, _, _)| *c == name);
    let pad = if name.contains("_0900_") || name == "binary" {
        "NO PAD"
    } else {
        "PAD SPACE"
    };
    let sort = if name.contains("_0900_") && name.ends_with("_ci") { 0 } else { 1 };
    vec![
        text(name),
        text(charset),
        int(id),
        text(if default { "Yes" } else { "" }),
        text("Yes"),
        int(sort),
        text(pad),
    ]
}

fn processes(provider: &dyn Provider) -> Vec<Row> {
    let mut all = provider.processes();
    all.sort_by_key(|p| p.id);
    all.into_iter()
        .map(|p| {
            vec![
                int(p.id),
                text(p.user),
                text(p.host),
                maybe(p.db),
                text(p.command),
                int(p.seconds),
                text(p.state),
                maybe(p.info),
            ]
        })
        .collect()
}

fn plugins() -> Vec<Row> {
    let row = |name: &str, kind: &str, description: &str| {
        vec![
            text(name),
            text("1.0"),
            text("ACTIVE"),
            text(kind),
            text("1.0"),
            Value::Null,
            Value::Null,
            text("Starling"),
            text(description),
            text("MIT OR Apache-2.0"),
            text("FORCE"),
        ]
    };
    vec![
        row("mysql_native_password", "AUTHENTICATION", "Native MySQL authentication"),
        row("caching_sha2_password", "AUTHENTICATION", "Caching sha2 authentication"),
        row("InnoDB", "STORAGE ENGINE", "Change log and SQLite files"),
    ]
}

/// Static privileges, in the order in which SHOW PRIVILEGES and grants list them.
pub const PRIVILEGES: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "RELOAD",
    "SHUTDOWN",
    "PROCESS",
    "FILE",
    "REFERENCES",
    "INDEX",
    "ALTER",
    "SHOW DATABASES",
    "SUPER",
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
    "EXECUTE",
    "REPLICATION SLAVE",
    "REPLICATION CLIENT",
    "CREATE VIEW",
    "SHOW VIEW",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "CREATE USER",
    "EVENT",
    "TRIGGER",
];

fn privileges(provider: &dyn Provider) -> Vec<Row> {
    let mut rows = Vec::new();
    for account in provider.accounts().iter().filter(|a| a.databases.is_none()) {
        for privilege in PRIVILEGES {
            rows.push(vec![text(grantee(account)), text("def"), text(privilege), text("YES")]);
        }
    }
    rows
}

fn grantee(account: &Account) -> String {
    format!("'{}'@'{}'", account.user, account.host)
}

fn schema_privileges(provider: &dyn Provider) -> Vec<Row> {
    let mut rows = Vec::new();
    for account in provider.accounts() {
        for database in account.databases.iter().flatten() {
            for privilege in PRIVILEGES {
                rows.push(vec![
                    text(grantee(&account)),
                    text("def"),
                    text(database),
                    text(privilege),
                    text("NO"),
                ]);
            }
        }
    }
    rows
}

fn global_variables(provider: &dyn Provider) -> Vec<Row> {
    let Some(globals) = provider.globals() else {
        return Vec::new();
    };
    pairs(globals.listing().into_iter().map(|(n, v)| (n.to_string(), v)))
}

fn session_status(provider: &dyn Provider, view: &View) -> Vec<Row> {
    let mut all = provider.status();
    for (name, value) in &view.status {
        match all.iter_mut().find(|(n, _)| n == name) {
            Some(slot) => slot.1.clone_from(value),
            None => all.push((name.clone(), value.clone())),
        }
    }
    pairs(all.into_iter().map(|(n, v)| (n, Some(v))))
}
