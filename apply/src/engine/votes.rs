//! Versions for votes: what is the newest change of a key, as applied here?
//!
//! Promises: read on a pinned snapshot, so at least as new as what was published before the call; lanes are not disturbed. Must not
//! know: transactions, who asks.

use std::collections::HashMap;
use std::sync::Arc;

use super::ApplyError;
use super::core::Core;
use crate::claim::{ClaimKey, Mode, Version};
use crate::lane::claims::version_of;
use crate::newest::Newest;
use crate::readers::Reader;

pub(crate) fn versions(core: &Arc<Core>, keys: &[(ClaimKey, Mode)]) -> Result<Vec<Version>, ApplyError> {
    let catalog = core.catalog();
    let mut files: HashMap<u64, (Arc<str>, Newest)> = HashMap::new();
    let mut dbs: Vec<Option<u64>> = Vec::with_capacity(keys.len());
    for (key, _) in keys {
        let database = match key {
            ClaimKey::Schema { db } => catalog.database_by_id(*db),
            ClaimKey::Table { table } | ClaimKey::Row { table, .. } | ClaimKey::Unique { table, .. } => {
                catalog.table_by_id(*table).map(|(database, _)| database)
            }
        };
        if let Some(database) = database {
            files.entry(database.id).or_insert_with(|| {
                let name = database.name.to_lowercase();
                let newest = Newest::new(&name);
                (name.into(), newest)
            });
        }
        dbs.push(database.map(|d| d.id));
    }
    let names: Vec<&str> = files.values().map(|(name, _)| &**name).collect();
    let mut reader = Reader::unpinned(core)?;
    reader.attach(&core.files, &names)?;
    reader.pin(&core.gate, &names)?;
    let mut out = Vec::with_capacity(keys.len());
    for ((key, mode), db) in keys.iter().zip(dbs) {
        // A table or database that is not there has no version.
        let Some((_, newest)) = db.and_then(|db| files.get(&db)) else {
            out.push(Version::default());
            continue;
        };
        out.push(match key {
            ClaimKey::Schema { .. } => newest.schema(&reader)?,
            ClaimKey::Table { table } => core.tables.version(*table, || newest.file(&reader))?,
            ClaimKey::Row { .. } | ClaimKey::Unique { .. } => version_of(newest, &reader, key, *mode)?,
        });
    }
    Ok(out)
}
