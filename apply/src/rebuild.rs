//! One table folded from the log, for when neither way of applying a late entry can tell the outcome.
//!
//! Promises: correct by construction: every entry up to the applied vector, in stamp order, each under the definition of its
//! time. Costs a scan of the log. Must not know: why it was asked for.

use std::sync::Arc;

use rusqlite::Connection;
use starling_log::{Body, Entry, Stamp, VersionVector};

use crate::alter::change_shape;
use crate::catalog::Database;
use crate::inorder::{Plan, Writer};
use crate::layout::Layout;
use crate::mapping::Mapping;
use crate::materialize::{EntrySource, FoldError, Materializer, count_auto};
use crate::physical::quote;
use crate::refold::Refold;
use crate::reshape::{self, Shape};
use crate::schema::SchemaChange;
use crate::versions::{Version, Versions, uniqueness};

/// What happens to the table itself on the way.
enum Turn {
    Version(Version),
    Truncate,
}

struct Rebuild<'a> {
    fold: &'a mut Materializer,
    conn: &'a Connection,
    log: &'a dyn EntrySource,
    table: u64,
    /// Its physical name until it is done.
    name: String,
    /// The versions so far.
    versions: Versions,
    layout: Option<Arc<Layout>>,
}

impl Materializer {
    pub(crate) fn rebuild(&mut self, conn: &Connection, table: u64, upto: &VersionVector, log: &dyn EntrySource) -> Result<(), FoldError> {
        let Some(versions) = self.schemas.tables.get(&table).cloned() else {
            return self.forget_table(conn, table);
        };
        let mut turns: Vec<(Stamp, Turn)> = versions.all.iter().map(|v| (v.stamp, Turn::Version(v.clone()))).collect();
        for step in &self.schemas.steps {
            if matches!(step.change, SchemaChange::TruncateTable { table: t } if t == table) {
                turns.push((step.stamp, Turn::Truncate));
            }
        }
        turns.sort_by_key(|(stamp, _)| *stamp);
        tracing::info!(table = %versions.current().name, "folding a table from the log");
        reshape::drop(conn, &self.schema, &versions.current().name)?;
        self.forget_table(conn, table)?;
        let mut rebuild = Rebuild {
            conn,
            log,
            table,
            name: format!("__starling_fold_{table:x}"),
            versions: Versions {
                all: Vec::new(),
                truncated: None,
                barrier: None,
            },
            layout: None,
            fold: self,
        };
        rebuild.run(turns, upto)?;
        let name = rebuild.name;
        reshape::rename(conn, &self.schema, &name, &versions.current().name)?;
        self.layouts.remove(&table);
        self.mappings.remove(&table);
        Ok(())
    }
}

impl Rebuild<'_> {
    fn run(&mut self, turns: Vec<(Stamp, Turn)>, upto: &VersionVector) -> Result<(), FoldError> {
        let mut turns = turns.into_iter().peekable();
        let log = self.log;
        for entry in log.scan(upto) {
            let entry = entry?;
            while let Some((stamp, turn)) = turns.next_if(|(stamp, _)| *stamp < entry.stamp) {
                self.turn(stamp, turn)?;
            }
            self.rows(&entry)?;
        }
        for (stamp, turn) in turns {
            self.turn(stamp, turn)?;
        }
        Ok(())
    }

    fn turn(&mut self, stamp: Stamp, turn: Turn) -> Result<(), FoldError> {
        match turn {
            Turn::Truncate => {
                self.conn
                    .execute_batch(&format!("DELETE FROM {}.{}", quote(&self.fold.schema), quote(&self.name)))?;
                self.versions.truncated = Some(stamp);
                self.fold.forget_table(self.conn, self.table)
            }
            Turn::Version(version) => self.version(version),
        }
    }

    fn version(&mut self, version: Version) -> Result<(), FoldError> {
        let schema = self.fold.schema.clone();
        let shape = Shape {
            schema: &schema,
            name: &self.name,
            table: &version.table,
            ms: version.stamp.hlc.0 >> 16,
        };
        let mut start = version.table.auto_increment;
        match self.versions.all.last() {
            None => reshape::create(self.conn, shape)?,
            Some(last) => {
                let old = last.table.clone();
                let from = Shape { table: &old, ..shape };
                let parents = [nobody(), nobody()];
                change_shape(self.conn, &self.fold.store, from, shape, &parents, (version.stamp, version.place))?;
                if uniqueness(&old) != uniqueness(&version.table) {
                    self.versions.barrier = Some(version.stamp);
                }
                if old.auto_increment == start {
                    start = 0;
                }
            }
        }
        if start > 1 {
            let slot = self.fold.counters.entry((self.table, version.place.origin)).or_insert(0);
            *slot = (*slot).max(i64::try_from(start - 1).unwrap_or(i64::MAX));
        }
        let layout = Layout::new(&schema, &self.name, &version.table).map_err(FoldError::Broken)?;
        self.layout = Some(Arc::new(layout));
        self.versions.all.push(version);
        Ok(())
    }

    fn rows(&mut self, entry: &Entry) -> Result<(), FoldError> {
        let (Body::Rows(changes), Some(layout)) = (&entry.body, self.layout.clone()) else {
            return Ok(());
        };
        if !changes.tables.iter().any(|h| h.table == self.table) {
            return Ok(());
        }
        let plans: Vec<Option<Plan>> = changes
            .tables
            .iter()
            .map(|h| {
                (h.table == self.table).then(|| Plan {
                    layout: layout.clone(),
                    mapping: Arc::new(Mapping::new(&layout, &self.versions, entry, h)),
                })
            })
            .collect();
        self.conn.prepare_cached("SAVEPOINT starling_fold")?.execute([])?;
        let mut writer = Writer::new(self.conn, &self.fold.store, entry, &plans, true)?;
        let done = writer.write(changes)?;
        drop(writer);
        if !done {
            self.conn.prepare_cached("ROLLBACK TO starling_fold")?.execute([])?;
        }
        self.conn.prepare_cached("RELEASE starling_fold")?.execute([])?;
        if !done && !Refold::new(self.conn, &self.fold.store, &layout, &self.versions, self.log, entry).run()? {
            return Err(FoldError::Broken("an entry in stamp order asks for what came before".into()));
        }
        count_auto(entry, changes, &plans, &mut self.fold.counters);
        Ok(())
    }
}

/// Parents are not compared during a rebuild: a difference means a copy, which is right as well.
fn nobody() -> Database {
    Database {
        id: 0,
        name: String::new(),
        collation: String::new(),
        tables: Default::default(),
    }
}
