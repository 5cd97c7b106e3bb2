//! The fold: log entries into the rows of one database file, last writer wins.
//!
//! Promises: after any sequence of `apply`/`note` calls closed by `finish`, the tables equal the fold of those entries in stamp
//! order (law 2; the merge rule stands in `apply/README.md`), whatever order they came in. Nothing is kept outside the caller's
//! open transaction: progress and rows commit together (law 5). After a rollback the caller says `rolled_back`.
//! Must not know: lanes, the network, SQL of clients. Foreign keys and triggers are off on the connection given, and
//! `ignore_check_constraints` on (their effects are in the entries already).
//!
//! An entry goes the fast way (`inorder`) when nothing it touches is touched by later stamps, else the slow way (`refold`);
//! where even that cannot tell (unique indexes came or went meanwhile), its table is folded from the log (`rebuild`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::Connection;
use starling_log::{Body, Changes, Entry, Op, Origin, Place, Stamp, TableRef, VersionVector};

use crate::catalog::Database;
use crate::drawn;
use crate::history::Store;
use crate::inorder::{Counters, Plan, Writer};
use crate::layout::Layout;
use crate::mapping::Mapping;
use crate::numbers::counted;
use crate::references;
use crate::refold::Refold;
use crate::schema::SchemaChange;
use crate::versions::{Schemas, Step};

/// Statements kept prepared on a connection: a handful for each table in use.
const STATEMENTS: usize = 512;

/// Where a late entry's neighbours are fetched from: the log.
pub trait EntrySource {
    /// The entry at a place that has been applied here before (so it is held).
    fn entry(&self, place: Place) -> Result<Arc<Entry>, FoldError>;
    /// All entries covered by `upto`, in stamp order.
    fn scan<'a>(&'a self, upto: &VersionVector) -> Box<dyn Iterator<Item = Result<Arc<Entry>, FoldError>> + 'a>;
}

#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    #[error("sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Read(#[from] starling_log::log::ReadError),
    #[error("a spilled transaction: {0}")]
    Spill(#[from] std::io::Error),
    /// `note` of an entry that is older than something already in the file: roll back and `apply` it instead.
    #[error("an entry whose effects were kept is older than what is in the file")]
    NotNewest,
    /// An entry that cannot be understood, or a file that contradicts the log: the file must be rebuilt.
    #[error("{0}")]
    Broken(String),
}

/// What one entry did to this database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Row changes of this database in the entry.
    pub rows: u32,
    /// It came behind a later stamp.
    pub late: bool,
    /// The database's definition changed: `load_database` anew.
    pub schema_changed: bool,
    /// The database was dropped: the caller removes the file after its commit.
    pub dropped: bool,
}

/// The fold's state for one database file on one connection.
pub struct Materializer {
    pub(crate) db: u64,
    pub(crate) schema: String,
    pub(crate) store: Store,
    /// Everything below is read from the file on first use, and again after a rollback.
    loaded: bool,
    moved_on: bool,
    pub(crate) schemas: Schemas,
    pub(crate) layouts: HashMap<u64, Arc<Layout>>,
    /// How images of the present definition are read: most entries of a table have the same header.
    pub(crate) mappings: HashMap<u64, (TableRef, Arc<Mapping>)>,
    stored: VersionVector,
    applied: VersionVector,
    pub(crate) newest: Stamp,
    stored_newest: Stamp,
    pub(crate) counters: Counters,
    stored_counters: Counters,
    /// Tables to be folded from the log at `finish`.
    pub(crate) dirty: BTreeSet<u64>,
}

impl Materializer {
    /// `schema`: the name under which the file is attached (the database's lower-case name).
    pub fn new(db: u64, schema: &str) -> Materializer {
        Materializer {
            db,
            schema: schema.to_owned(),
            store: Store::new(schema),
            loaded: false,
            moved_on: false,
            schemas: Schemas::default(),
            layouts: HashMap::new(),
            mappings: HashMap::new(),
            stored: VersionVector::new(),
            applied: VersionVector::new(),
            newest: Stamp::default(),
            stored_newest: Stamp::default(),
            counters: Counters::new(),
            stored_counters: Counters::new(),
            dirty: BTreeSet::new(),
        }
    }
    pub fn db(&self) -> u64 {
        self.db
    }
    pub fn schema(&self) -> &str {
        &self.schema
    }
    /// Creates the internal tables where they are missing. Call once per connection, inside a transaction.
    pub fn init(&mut self, conn: &Connection) -> Result<(), FoldError> {
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        if !self.store.exists(conn)? {
            self.store.create(conn)?;
        }
        references::create(conn, &self.schema)?;
        drawn::create(conn, &self.schema)?;
        self.loaded = false;
        Ok(())
    }

    fn load(&mut self, conn: &Connection) -> Result<(), FoldError> {
        if self.loaded {
            return if self.moved_on { self.load_position(conn) } else { Ok(()) };
        }
        self.load_position(conn)?;
        let mut steps = Vec::new();
        for (stamp, place, payload) in self.store.steps(conn)? {
            let change = SchemaChange::from_payload(&payload).map_err(|e| FoldError::Broken(format!("a schema entry in the file: {e}")))?;
            steps.push(Step { stamp, place, change });
        }
        self.schemas = Schemas::fold(steps);
        self.layouts.clear();
        self.mappings.clear();
        self.dirty.clear();
        self.loaded = true;
        Ok(())
    }

    fn load_position(&mut self, conn: &Connection) -> Result<(), FoldError> {
        self.stored = self.store.applied(conn)?;
        self.applied = self.stored.clone();
        self.newest = self.store.newest(conn)?;
        self.stored_newest = self.newest;
        self.counters = self.store.counters(conn)?;
        self.stored_counters = self.counters.clone();
        self.moved_on = false;
        Ok(())
    }

    /// Folds the entry's part for this database in. Its effects are complete only after `finish`. The entry must be in `log`.
    pub fn apply(&mut self, conn: &Connection, entry: &Entry, log: &dyn EntrySource) -> Result<Outcome, FoldError> {
        self.load(conn)?;
        if self.applied.contains(entry.place) {
            return Ok(Outcome::default());
        }
        let mut outcome = match &entry.body {
            Body::Rows(changes) => Outcome {
                rows: self.apply_rows(conn, entry, changes, log)?,
                ..Outcome::default()
            },
            Body::Schema(schema) => self.apply_schema(conn, entry, schema)?,
            Body::Void | Body::Control(_) => Outcome::default(),
        };
        outcome.late = entry.stamp < self.newest;
        self.went(entry);
        Ok(outcome)
    }

    fn went(&mut self, entry: &Entry) {
        self.applied.advance(entry.place.origin, entry.place.seq);
        self.newest = self.newest.max(entry.stamp);
    }

    /// The entry's effects are in the tables already (a dry run that was kept): history, stamps and counters only.
    pub fn note(&mut self, conn: &Connection, entry: &Entry) -> Result<(), FoldError> {
        self.load(conn)?;
        if entry.stamp < self.newest {
            return Err(FoldError::NotNewest);
        }
        if let Body::Rows(changes) = &entry.body {
            let (plans, _) = self.plans(entry, changes)?;
            let mut writer = Writer::new(conn, &self.store, entry, &plans, false)?;
            if !writer.write(changes)? {
                return Err(FoldError::NotNewest);
            }
            writer.count(entry.place.origin, &mut self.counters);
        }
        self.went(entry);
        Ok(())
    }

    /// Before every COMMIT that applied or noted something: settles what was put off, and stores `applied` with the rows.
    pub fn finish(&mut self, conn: &Connection, applied: &VersionVector, log: &dyn EntrySource) -> Result<(), FoldError> {
        self.load(conn)?;
        self.applied.merge(applied);
        let upto = self.applied.clone();
        while let Some(table) = self.dirty.pop_first() {
            self.rebuild(conn, table, &upto, log)?;
        }
        self.store.put_applied(conn, &self.stored, &self.applied)?;
        self.stored.clone_from(&self.applied);
        if self.newest != self.stored_newest {
            self.store.put_newest(conn, self.newest)?;
            self.stored_newest = self.newest;
        }
        if self.counters != self.stored_counters {
            for ((table, origin), value) in &self.counters {
                if self.stored_counters.get(&(*table, *origin)) != Some(value) {
                    self.store.put_counter(conn, *table, *origin, *value)?;
                }
            }
            self.stored_counters.clone_from(&self.counters);
        }
        Ok(())
    }
    /// Another connection committed rows to the file (no schema change): position and counters are read again.
    pub fn moved_on(&mut self) {
        self.moved_on = true;
    }
    /// The caller's transaction (or a savepoint around `apply`/`note`) was rolled back: forget what was cached.
    pub fn rolled_back(&mut self) {
        self.loaded = false;
    }
    /// The next AUTO_INCREMENT number of a table (1 for one without rows), behind all that was drawn.
    pub fn auto_counter(&mut self, conn: &Connection, table: u64) -> Result<u64, FoldError> {
        self.load(conn)?;
        let used = self.counters.iter().filter(|((t, _), _)| *t == table).map(|(_, v)| *v).max();
        let (drawn, _) = drawn::of(conn, &self.schema, table)?;
        Ok(used.unwrap_or(0).max(drawn).max(0).cast_unsigned() + 1)
    }
    /// The highest number that entries of this origin wrote.
    pub fn counted(&self, table: u64, origin: Origin) -> Option<i64> {
        self.counters.get(&(table, origin)).copied()
    }
    /// Raises a table's AUTO_INCREMENT high-water (numbers handed out and not used count as well); kept with `finish`.
    pub fn raise_auto_counter(&mut self, table: u64, next: u64) {
        // Origin 0 is nobody's: what this node handed out.
        let used = i64::try_from(next.saturating_sub(1)).unwrap_or(i64::MAX);
        let slot = self.counters.entry((table, 0)).or_insert(0);
        *slot = (*slot).max(used);
    }

    pub(crate) fn forget_counters(&mut self, conn: &Connection, table: u64) -> Result<(), FoldError> {
        self.store.forget_counters(conn, table)?;
        self.counters.retain(|(t, _), _| *t != table);
        self.stored_counters.retain(|(t, _), _| *t != table);
        Ok(())
    }
    pub(crate) fn forget_table(&mut self, conn: &Connection, table: u64) -> Result<(), FoldError> {
        self.store.forget(conn, table)?;
        self.forget_counters(conn, table)?;
        self.layouts.remove(&table);
        self.mappings.remove(&table);
        Ok(())
    }

    pub(crate) fn layout(&mut self, table: u64) -> Result<Option<Arc<Layout>>, FoldError> {
        if let Some(layout) = self.layouts.get(&table) {
            return Ok(Some(layout.clone()));
        }
        let Some(versions) = self.schemas.tables.get(&table) else {
            return Ok(None);
        };
        let definition = versions.current();
        let layout = Layout::new(&self.schema, &definition.name, definition).map_err(FoldError::Broken)?;
        let layout = Arc::new(layout);
        self.layouts.insert(table, layout.clone());
        Ok(Some(layout))
    }

    /// Which tables of the entry are written here, and how; and how many of its headers are this database's.
    fn plans(&mut self, entry: &Entry, changes: &Changes) -> Result<(Vec<Option<Plan>>, u32), FoldError> {
        let late = entry.stamp < self.newest;
        let mut plans = Vec::with_capacity(changes.tables.len());
        let mut ours = 0;
        for header in &changes.tables {
            if header.db != self.db {
                plans.push(None);
                continue;
            }
            ours += 1;
            let Some(layout) = self.layout(header.table)?.filter(|_| !self.dirty.contains(&header.table)) else {
                plans.push(None);
                continue;
            };
            let versions = &self.schemas.tables[&header.table];
            if late && versions.truncated.is_some_and(|t| entry.stamp < t) {
                plans.push(None);
                continue;
            }
            if late && versions.barrier.is_some_and(|b| entry.stamp < b) {
                self.dirty.insert(header.table);
                plans.push(None);
                continue;
            }
            let mapping = match self.mappings.get(&header.table) {
                Some((known, mapping)) if known == header && versions.is_current(entry) => mapping.clone(),
                _ => Arc::new(Mapping::new(&layout, versions, entry, header)),
            };
            if !self.mappings.contains_key(&header.table) && versions.is_current(entry) {
                self.mappings.insert(header.table, (header.clone(), mapping.clone()));
            }
            plans.push(Some(Plan { layout, mapping }));
        }
        Ok((plans, ours))
    }

    fn apply_rows(&mut self, conn: &Connection, entry: &Entry, changes: &Changes, log: &dyn EntrySource) -> Result<u32, FoldError> {
        let (plans, ours) = self.plans(entry, changes)?;
        if ours == 0 {
            return Ok(0);
        }
        drawn::apply(conn, &self.schema, self.db, entry, changes, |table| {
            let versions = self.schemas.tables.get(&table);
            versions.is_some_and(|v| v.truncated.is_none_or(|t| entry.stamp > t))
        })?;
        let rows = changes
            .iter()
            .filter(|c| changes.tables.get(c.table).is_some_and(|h| h.db == self.db))
            .count();
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        if plans.iter().all(Option::is_none) {
            return Ok(rows);
        }
        if let Some(database) = self
            .schemas
            .database
            .as_ref()
            .filter(|_| references::is_decided(entry.place.origin))
        {
            references::mark(conn, &self.schema, database, entry, changes, &plans)?;
        }
        let simple = entry.stamp > self.newest || self.is_quiet(conn, entry, changes, &plans)?;
        if simple && self.write_simply(conn, entry, changes, &plans)? {
            return Ok(rows);
        }
        let tables: BTreeSet<u64> = plans.iter().flatten().map(|p| p.layout.table.id).collect();
        for table in tables {
            let Some(layout) = self.layout(table)? else { continue };
            let versions = &self.schemas.tables[&table];
            if !Refold::new(conn, &self.store, &layout, versions, log, entry).run()? {
                self.dirty.insert(table);
            }
        }
        count_auto(entry, changes, &plans, &mut self.counters);
        Ok(rows)
    }

    /// `false`: nothing was written.
    fn write_simply(&mut self, conn: &Connection, entry: &Entry, changes: &Changes, plans: &[Option<Plan>]) -> Result<bool, FoldError> {
        // A single statement undoes itself when it fails; a savepoint costs microseconds.
        let guarded = changes.count > 1;
        if guarded {
            conn.prepare_cached("SAVEPOINT starling_fold")?.execute([])?;
        }
        let mut writer = Writer::new(conn, &self.store, entry, plans, true)?;
        let done = writer.write(changes)?;
        if done {
            writer.count(entry.place.origin, &mut self.counters);
        }
        drop(writer);
        if guarded {
            if !done {
                conn.prepare_cached("ROLLBACK TO starling_fold")?.execute([])?;
            }
            conn.prepare_cached("RELEASE starling_fold")?.execute([])?;
        }
        Ok(done)
    }

    /// A late entry: is everything it touches, and every row that ever held a unique value it writes, older than it? Then the
    /// present rows are those it met.
    fn is_quiet(&self, conn: &Connection, entry: &Entry, changes: &Changes, plans: &[Option<Plan>]) -> Result<bool, FoldError> {
        let mut value = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let Some(plan) = plans.get(change.table).and_then(Option::as_ref) else {
                continue;
            };
            let (layout, mapping) = (&*plan.layout, &*plan.mapping);
            let table = layout.table.id;
            let touch = mapping.touch(layout, u32::try_from(index).unwrap_or(u32::MAX), &change);
            for (key, _) in touch.old.iter().chain(&touch.new) {
                if self.store.touched_since(conn, table, key, entry.stamp)? {
                    return Ok(false);
                }
            }
            let Some(image) = touch.after.as_ref().filter(|_| !layout.uniques.is_empty()) else {
                continue;
            };
            if layout.evaluate.is_some() {
                return Ok(false);
            }
            let bits = touch.changed.filter(|_| change.op == Op::Update);
            let row = mapping.row(image);
            for unique in &layout.uniques {
                let changed = unique
                    .parts
                    .iter()
                    .filter(|p| bits.is_none_or(|b| mapping.changed(p.at, b)))
                    .count();
                if changed == 0 {
                    continue;
                }
                if changed < unique.parts.len() {
                    return Ok(false);
                }
                if !unique.value(|at| row[at].as_ref(), &mut value) {
                    continue;
                }
                for key in self.store.holders(conn, table, unique.id, &value)? {
                    if self.store.touched_since(conn, table, &key, entry.stamp)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

pub(crate) fn count_auto(entry: &Entry, changes: &Changes, plans: &[Option<Plan>], counters: &mut Counters) {
    for change in changes.iter() {
        let Some(plan) = plans.get(change.table).and_then(Option::as_ref) else {
            continue;
        };
        let (Some(at), Some(after)) = (plan.layout.auto, change.after) else {
            continue;
        };
        let image: crate::mapping::Values<'_> = after.iter().collect();
        if let Some(value) = counted(plan.mapping.value(at, &image).as_ref()) {
            let slot = counters.entry((plan.layout.table.id, entry.place.origin)).or_insert(0);
            *slot = (*slot).max(value);
        }
    }
}

/// How far the file got; empty for a file without our tables.
pub fn read_applied(conn: &Connection, schema: &str) -> Result<VersionVector, FoldError> {
    let store = Store::new(schema);
    if store.exists(conn)? {
        store.applied(conn)
    } else {
        Ok(VersionVector::new())
    }
}

/// The database's definition with all its tables, as the file holds it; `None` for a file that holds none yet.
pub fn load_database(conn: &Connection, schema: &str) -> Result<Option<Arc<Database>>, FoldError> {
    let store = Store::new(schema);
    if !store.exists(conn)? {
        return Ok(None);
    }
    let Some(json) = store.meta(conn, "database")? else {
        return Ok(None);
    };
    serde_json::from_slice(&json)
        .map(|d| Some(Arc::new(d)))
        .map_err(|e| FoldError::Broken(format!("the definition in the file: {e}")))
}
