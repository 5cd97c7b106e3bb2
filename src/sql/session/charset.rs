//! Character sets that a session takes over without a SET: from the handshake, from the database it uses.

use crate::sql::vars::{SessionVars, VarValue};
use starling_apply::collate;

/// The collation number of the handshake sets client, connection and results, as SET NAMES would. Numbers we do not know keep
/// the server's defaults, as in MySQL.
pub fn from_handshake(vars: &mut SessionVars, collation: u16) {
    let Some(info) = collate::collation_by_id(collation) else { return };
    for name in ["character_set_client", "character_set_connection", "character_set_results"] {
        vars.force(name, VarValue::text(info.charset));
    }
    vars.force("collation_connection", VarValue::text(info.name));
}

/// USE sets what `character_set_database` shows.
pub fn of_database(vars: &mut SessionVars, collation: &str) {
    let charset = collation.split('_').next().unwrap_or(collation);
    vars.force("character_set_database", VarValue::text(charset));
    vars.force("collation_database", VarValue::text(collation));
}
