//! LOCK TABLES: whole tables that a session holds until it gives them back, in the same lock table as everything else.
//!
//! Promises: once it is granted, and who wrote before has ended, nobody else on this node changes a locked table (nor, for a write lock,
//! uses it at all). They are taken all at once, and nobody takes them away. Must not know: other nodes, names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use starling_apply::claim::{ClaimKey, Mode};

use super::locks::mode::Modes;
use super::locks::{Denied, Kind, LockKey, Party, Wanted};
use super::{Failed, Transaction};

/// One table to lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub table: u64,
    pub db: u64,
    pub write: bool,
    /// Asked for by name (not only as the parent of a foreign key).
    pub named: bool,
}

/// What a session may do with a table under its LOCK TABLES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Free,
    /// It locked tables, but not this one: 1100.
    NotLocked,
    /// It locked this one for reading: 1099.
    ReadOnly,
}

pub(super) struct Locked {
    tables: HashMap<u64, bool>,
}

fn wanted(table: &Table) -> Vec<Wanted> {
    let data = LockKey::Data(ClaimKey::Table { table: table.table });
    let definition = LockKey::definition(table.table);
    let database = (LockKey::database(table.db), Modes::from(Mode::IntentShared));
    let (d, m) = match (table.named, table.write) {
        (true, true) => (Mode::Exclusive, Mode::Exclusive),
        (true, false) => (Mode::Shared, Mode::Shared),
        (false, _) => (Mode::IntentShared, Mode::Shared),
    };
    vec![(data, Modes::from(d)), (definition, Modes::from(m)), database]
}

impl Transaction {
    /// Takes all of them, once whoever holds them lets go; older locks of the session were given back before. `dbs`: the lanes
    /// (lower-case names of databases) that may still be writing.
    pub async fn lock_tables(&mut self, list: &[Table], dbs: &[String], wait: Duration) -> Result<(), Failed<()>> {
        self.unlock_tables();
        let wanted: Vec<Wanted> = list.iter().flat_map(wanted).collect();
        let patience = self.home.patience(wait);
        let age = self.home.shared.age();
        let party = loop {
            let party = self.home.join(age, Kind::Tables);
            match party.take(&wanted, &patience).await {
                Ok(()) if party.make_firm() => break party,
                // An older one was in between; nothing was done yet: again.
                Ok(()) | Err(Denied::Wounded) => {}
                Err(denied) => return Err(denied.into()),
            }
        };
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        // Who found the table free is on its lane already: it ends first.
        self.home.shared.engine.pass(dbs, ms).await.map_err(Failed::Write)?;
        let mut tables = HashMap::new();
        for table in list.iter().filter(|t| t.named) {
            *tables.entry(table.table).or_insert(false) |= table.write;
        }
        self.home.tables = Some(Arc::new(party));
        self.locked = Some(Locked { tables });
        Ok(())
    }
    pub fn unlock_tables(&mut self) {
        self.home.tables = None;
        self.locked = None;
    }
    pub fn has_locked_tables(&self) -> bool {
        self.locked.is_some()
    }
    pub fn access(&self, table: u64, write: bool) -> Access {
        let Some(locked) = &self.locked else { return Access::Free };
        match locked.tables.get(&table) {
            None => Access::NotLocked,
            Some(false) if write => Access::ReadOnly,
            Some(_) => Access::Free,
        }
    }
    /// A schema change: these definitions (tables, or whole databases) for itself alone, until the guard is dropped.
    pub async fn alter(&mut self, keys: &[LockKey], wait: Duration) -> Result<Party, Failed<()>> {
        let wanted: Vec<Wanted> = keys.iter().map(|k| (k.clone(), Modes::from(Mode::Exclusive))).collect();
        let patience = self.home.patience(wait);
        let age = self.home.shared.age();
        loop {
            let party = self.home.join(age, Kind::Alter);
            match party.take(&wanted, &patience).await {
                Ok(()) if party.make_firm() => return Ok(party),
                Ok(()) | Err(Denied::Wounded) => {}
                Err(denied) => return Err(denied.into()),
            }
        }
    }
}
