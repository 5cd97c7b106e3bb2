//! What tables are called in a feed: the present catalog by ids, and what is remembered of tables that are gone.
//!
//! Promises: a table is found by its id, so a rename never hides its changes. A table that was dropped before this process saw it
//! is called by its id. Must not know: rows.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use starling_apply::{Catalog, Table};

#[derive(Clone, Debug)]
pub struct Named {
    pub db: String,
    pub table: String,
    /// `None`: gone, and never seen.
    pub definition: Option<Arc<Table>>,
}

#[derive(Default)]
pub struct Names {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    version: Option<u64>,
    tables: HashMap<u64, Named>,
    databases: HashMap<u64, String>,
}

impl Names {
    pub fn table(&self, catalog: &Catalog, db: u64, table: u64) -> Named {
        let mut seen = self.seen.lock();
        seen.learn(catalog);
        match seen.tables.get(&table) {
            Some(named) => named.clone(),
            None => Named {
                db: seen.databases.get(&db).cloned().unwrap_or_else(|| format!("#{db}")),
                table: format!("#{table}"),
                definition: None,
            },
        }
    }

    pub fn database(&self, catalog: &Catalog, db: u64) -> String {
        let mut seen = self.seen.lock();
        seen.learn(catalog);
        seen.databases.get(&db).cloned().unwrap_or_else(|| format!("#{db}"))
    }
}

impl Seen {
    fn learn(&mut self, catalog: &Catalog) {
        if self.version == Some(catalog.version) {
            return;
        }
        self.version = Some(catalog.version);
        for database in catalog.databases.values() {
            self.databases.insert(database.id, database.name.clone());
            for table in database.tables.values() {
                let named = Named {
                    db: database.name.clone(),
                    table: table.name.clone(),
                    definition: Some(table.clone()),
                };
                self.tables.insert(table.id, named);
            }
        }
    }
}

/// Which tables are asked for: `shop.*`, `db.table`, `*.*`; names compare without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Empty: everything.
    patterns: Vec<(String, String)>,
}

impl Filter {
    pub fn parse(text: &str) -> Result<Filter, String> {
        let mut patterns = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            match part.split_once('.') {
                Some((db, table)) if !db.is_empty() && !table.is_empty() => patterns.push((db.to_lowercase(), table.to_lowercase())),
                _ => return Err(format!("tables: '{part}' is not DATABASE.TABLE (with * for all)")),
            }
        }
        Ok(Filter { patterns })
    }

    /// `table`: `None` for what concerns a whole database, which any filter on that database lets through.
    pub fn lets(&self, db: &str, table: Option<&str>) -> bool {
        // Records of prepared transactions are nobody's changes.
        if db.eq_ignore_ascii_case(crate::txn::xa::record::DATABASE) {
            return false;
        }
        let fits = |pattern: &str, name: &str| pattern == "*" || pattern == name.to_lowercase();
        self.patterns.is_empty()
            || self
                .patterns
                .iter()
                .any(|(d, t)| fits(d, db) && table.is_none_or(|table| fits(t, table)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let filter = Filter::parse("shop.*, Blog.posts").unwrap();
        assert!(filter.lets("Shop", Some("x")) && filter.lets("blog", Some("Posts")) && filter.lets("blog", None));
        assert!(!filter.lets("blog", Some("users")) && !filter.lets("other", None));
        assert!(Filter::default().lets("any", Some("thing")));
        assert!(Filter::parse("shop").is_err());
    }
}
