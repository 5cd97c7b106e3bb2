//! What a session's transaction holds: its changes so far (an overlay), its locks, and what it reads on.
//!
//! Promises: an open transaction that does nothing holds no lane, only entries in the lock table; a statement that fails undoes
//! itself alone; inside, reads see one snapshot (REPEATABLE READ) and the transaction's own changes; a transaction that lost its
//! locks to an older one hears of it at its next statement and is over. Dropped means rolled back. Must not know: SQL text, MySQL's
//! errors.
//!
//! Reading order: [`locks`] (the lock table) → [`statement`] (one statement on the lane) → [`alone`] (autocommit; [`together`]:
//! several as one) → this page (open transactions) → [`commit`] and [`decide`] (its end, on this node and between nodes) →
//! [`schema`] (schema changes between nodes) → [`xa`] (prepared by hand); [`tables`] is LOCK TABLES, [`freeze`] keeps everybody from
//! changing anything, [`numbers`] draws blocks for AUTO_INCREMENT.

pub mod alone;
pub mod claims;
pub mod commit;
pub mod decide;
pub mod failed;
pub mod freeze;
pub mod locks;
pub mod named;
pub mod numbers;
pub mod quorum;
pub mod schema;
mod shared;
pub mod statement;
pub mod tables;
pub mod together;
pub mod xa;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use starling_apply::claim::{Claim, ClaimKey, Mode};
use starling_apply::engine::{ApplyError, Committed};
use starling_apply::overlay::{Overlay, OverlayMark};
use starling_apply::readers::{Reader, Resting};
use starling_apply::{Catalog, Table};
use starling_log::Place;

pub use decide::Level;
pub use failed::Failed;
pub use shared::{Home, Shared};
pub use statement::{Asked, Call, Work};

use claims::Claims;
use commit::Finished;
use locks::core::{Age, PartyId};
use locks::{Denied, Interrupt, Isolation, Kind, Party, Seat};
use statement::Inner;
use tables::Locked;

/// How a transaction was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub read_only: bool,
    /// Reads see the newest state, statement by statement (READ COMMITTED).
    pub newest: bool,
    /// Reads lock what they read (SERIALIZABLE).
    pub serializable: bool,
    /// A row that was changed since the snapshot is not changed on top of that (`innodb_snapshot_isolation`).
    pub strict: bool,
}

impl Options {
    pub fn isolation(&self) -> Isolation {
        match (self.serializable, self.newest) {
            (true, _) => Isolation::Serializable,
            (false, true) => Isolation::ReadCommitted,
            (false, false) => Isolation::RepeatableRead,
        }
    }
}

struct Open {
    options: Options,
    age: Age,
    /// Its first attempt.
    fresh: bool,
    /// Made when it first locks anything.
    party: Option<Seat>,
    overlay: Overlay,
    claims: Claims,
    /// Tables whose definitions it holds.
    used: Vec<u64>,
    reader: Option<Reader>,
    /// The reader between statements, when it may be ended.
    resting: Option<Resting>,
    /// The catalog of the snapshot.
    pinned: Option<Arc<Catalog>>,
    savepoints: Vec<(String, OverlayMark)>,
}

pub struct Transaction {
    home: Home,
    open: Option<Open>,
    locked: Option<Locked>,
    /// The age of one that lost its locks, for the one that tries again.
    again: Option<Age>,
    /// What it committed since somebody asked.
    places: SmallVec<[Place; 2]>,
}

/// Where a read runs.
#[expect(clippy::large_enum_variant, reason = "it lives for one statement, on the stack")]
pub enum Source<'a> {
    /// A reader of its own, back to the pool afterwards.
    Pooled(Reader),
    /// The transaction's.
    Held(&'a Reader),
}

/// Definitions shared for the length of one statement.
pub struct Using {
    _party: Option<Party>,
}

impl Transaction {
    pub fn new(shared: Arc<Shared>, session: u32, interrupt: Arc<Interrupt>) -> Transaction {
        let home = Home {
            shared,
            session,
            interrupt,
            tables: None,
        };
        Transaction {
            home,
            open: None,
            locked: None,
            again: None,
            places: SmallVec::new(),
        }
    }
    /// Where the commits since the last call stand.
    pub fn take_places(&mut self) -> SmallVec<[Place; 2]> {
        std::mem::take(&mut self.places)
    }
    /// Does the next read see the newest state (no snapshot is pinned)?
    pub fn reads_newest(&self) -> bool {
        self.open
            .as_ref()
            .is_none_or(|o| o.options.newest || o.options.serializable || (o.reader.is_none() && o.resting.is_none()))
    }
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
    /// How the open one was opened.
    pub fn options(&self) -> Option<Options> {
        self.open.as_ref().map(|o| o.options)
    }
    pub fn is_read_only(&self) -> bool {
        self.open.as_ref().is_some_and(|o| o.options.read_only)
    }
    /// Do plain reads lock what they read?
    pub fn locks_reads(&self) -> bool {
        self.open.as_ref().is_some_and(|o| o.options.serializable)
    }
    /// Has it changed any table? (A cheap question.)
    pub fn has_written(&self) -> bool {
        self.open.as_ref().is_some_and(|o| !o.overlay.is_empty())
    }
    /// Has it changed this one?
    pub fn has_changed(&self, table: u64) -> bool {
        self.open.as_ref().is_some_and(|o| o.overlay.touches(table))
    }
    /// Its place in the lock table.
    pub fn party(&self) -> Option<PartyId> {
        self.open.as_ref().and_then(|o| o.party.as_ref()).map(|p| p.id())
    }
    /// Opens one; an open one must have been ended before.
    pub fn begin(&mut self, options: Options) {
        let fresh = self.again.is_none();
        let age = self.again.take().unwrap_or_else(|| self.home.shared.age());
        self.open = Some(Open {
            options,
            age,
            fresh,
            party: None,
            overlay: Overlay::new(),
            claims: Claims::default(),
            used: Vec::new(),
            reader: None,
            resting: None,
            pinned: None,
            savepoints: Vec::new(),
        });
    }
    /// Pins the snapshot now (START TRANSACTION WITH CONSISTENT SNAPSHOT).
    pub fn pin(&mut self) -> Result<(), ApplyError> {
        let engine = Arc::clone(&self.home.shared.engine);
        let Some(open) = &mut self.open else { return Ok(()) };
        open.wake()?;
        while open.reader.is_none() {
            let before = engine.catalog();
            let reader = engine.snapshot()?;
            // A schema change in between: the snapshot might show what the catalog does not know yet.
            if Arc::ptr_eq(&before, &engine.catalog()) {
                open.pinned = Some(before);
                open.reader = Some(reader);
            }
        }
        Ok(())
    }

    /// Before a statement runs: nobody changes the definitions of the tables it uses while it does, or while the transaction is
    /// open. Waits for who is at that already.
    pub async fn using(&mut self, tables: &[Arc<Table>], wait: Duration) -> Result<Using, Failed<()>> {
        self.check_wounded()?;
        let patience = self.home.patience(wait);
        let Some(open) = &mut self.open else {
            if self.home.shared.locks.all_share() && self.home.tables.is_none() || tables.is_empty() {
                return Ok(Using { _party: None });
            }
            let party = self.home.join(self.home.shared.age(), Kind::Statement);
            party.take(&statement::definitions(tables.iter()), &patience).await?;
            return Ok(Using { _party: Some(party) });
        };
        let new: Vec<&Arc<Table>> = tables.iter().filter(|t| !open.used.contains(&t.id)).collect();
        if !new.is_empty() {
            let wanted = statement::definitions(new.iter().copied());
            let party = open.party(&self.home);
            let taken = party.take(&wanted, &patience).await;
            if taken == Err(Denied::Wounded) {
                return Err(self.lose(Failed::Denied(Denied::Wounded)));
            }
            taken?;
            open.used.extend(new.iter().map(|t| t.id));
        }
        if open.options.newest || open.options.serializable {
            return Ok(Using { _party: None });
        }
        // A snapshot shows tables as they were then.
        let known = |pinned: &Catalog, t: &Arc<Table>| pinned.table_by_id(t.id).is_some_and(|(_, then)| then == t);
        match &open.pinned {
            Some(pinned) if tables.iter().any(|t| !known(pinned, t)) => Err(Failed::Changed),
            _ => Ok(Using { _party: None }),
        }
    }
    /// The statement is over: what it read on may be ended, if it is in the way for too long.
    pub fn rest(&mut self) {
        if let Some(open) = &mut self.open
            && let Some(reader) = open.reader.take()
        {
            open.resting = Some(reader.rest());
        }
    }
    /// Where a read of `dbs` runs, and sees the transaction's own changes.
    pub fn source(&mut self, dbs: &[&str]) -> Result<Source<'_>, Failed<()>> {
        // What reads no tables (SELECT @@version, SHOW …) takes no snapshot.
        let open = self.open.as_ref().filter(|_| !dbs.is_empty());
        let open = open.map(|o| (o.options.newest, o.overlay.is_empty()));
        match open {
            None | Some((true, true)) => Ok(Source::Pooled(self.home.shared.engine.reader(dbs)?)),
            Some((newest, empty)) => match self.held(newest, empty) {
                Ok(()) => match self.open.as_ref().and_then(|o| o.reader.as_ref()) {
                    Some(reader) => Ok(Source::Held(reader)),
                    None => Err(Failed::Read(ApplyError::SnapshotEnded)),
                },
                Err(error) => Err(self.lose(Failed::Read(error))),
            },
        }
    }
    fn held(&mut self, newest: bool, empty: bool) -> Result<(), ApplyError> {
        let fresh = self.open.as_ref().is_some_and(|o| o.reader.is_none() && o.resting.is_none());
        self.pin()?;
        let catalog = self.home.shared.engine.catalog();
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some(reader) = &mut open.reader else { return Ok(()) };
        if newest && !fresh {
            reader.renew()?;
        }
        if !empty {
            reader.shadow(&open.overlay, &catalog)?;
        }
        Ok(())
    }

    /// Runs a statement that locks what it changes (or asks for): as a transaction of its own, or inside the open one, where an
    /// error undoes the statement alone.
    pub async fn run<T, E>(&mut self, call: &Call<'_>, work: Work<T, E>) -> Result<T, Failed<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        if self.open.is_none() {
            let (value, committed) = alone::run(&self.home, call, work).await?;
            self.places.extend(committed.placed.map(|p| p.place));
            return Ok(value);
        }
        match self.run_open(call, work).await {
            Err(failed) if failed.ends_transaction() => Err(self.lose(failed)),
            other => other,
        }
    }
    async fn run_open<T, E>(&mut self, call: &Call<'_>, work: Work<T, E>) -> Result<T, Failed<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let home = &self.home;
        let Some(open) = &mut self.open else {
            return Err(Failed::Write(starling_apply::WriteError::Closed));
        };
        let party = open.party(home);
        party.alone(call.level == Level::One);
        let work = Arc::new(Mutex::new(work));
        let versions = open.needs_versions(home);
        if !versions {
            open.claims.forget_versions();
        }
        loop {
            let job = statement::locking(&work, &party, &home.shared.locks, call.at_once, versions);
            match home
                .shared
                .engine
                .trial_as(call.size, call.db, call.wait_ms(), &mut open.overlay, job)
                .await
            {
                Ok(done) => {
                    // What it changed goes with the whole transaction, if it is stale.
                    if open.is_stale(call.db, &done.asked, &done.changed)? {
                        return Err(Failed::Stale);
                    }
                    if !(open.claims.add(done.asked) & open.claims.add(done.changed)) {
                        return Err(Failed::Stale);
                    }
                    party.note_rows(open.overlay.rows());
                    if let Some(table) = open.claims.too_many() {
                        open.claim_whole(home, call, table, &party).await?;
                    }
                    return Ok(done.value);
                }
                Err(error) => match Inner::into_failed(error) {
                    Ok(failed) => return Err(failed),
                    Err(again) => home.until(again, &party, call.wait).await?,
                },
            }
        }
    }

    /// Commits; nothing open is fine.
    pub async fn commit(&mut self, level: Level) -> Result<Committed, Failed<()>> {
        let Some(finished) = self.finished(level) else {
            return Ok(Committed::default());
        };
        let age = finished.age;
        let outcome = commit::commit(&self.home, finished).await;
        match &outcome {
            Ok(committed) => self.places.extend(committed.placed.map(|p| p.place)),
            Err(failed) if failed.lost() => self.again = Some(age),
            Err(_) => {}
        }
        outcome
    }
    /// What is open has nothing more to do here.
    fn finished(&mut self, level: Level) -> Option<Finished> {
        let open = self.open.take()?;
        let age = open.age();
        Some(Finished {
            overlay: open.overlay,
            claims: open.claims,
            age,
            party: open.party,
            snapshot: open.reader,
            level,
        })
    }
    pub fn rollback(&mut self) {
        self.open = None;
        self.again = None;
    }
    /// SAVEPOINT: an older one of the same name is forgotten.
    pub fn savepoint(&mut self, name: &str) -> Result<(), Failed<()>> {
        self.check_wounded()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        open.savepoints.retain(|(n, _)| !same(n, name));
        open.savepoints.push((name.to_string(), open.overlay.mark()));
        Ok(())
    }
    /// `false`: there is no such savepoint. Locks are kept.
    pub fn rollback_to(&mut self, name: &str) -> Result<bool, Failed<()>> {
        self.check_wounded()?;
        let Some(open) = &mut self.open else { return Ok(false) };
        let Some(at) = open.savepoints.iter().position(|(n, _)| same(n, name)) else {
            return Ok(false);
        };
        open.overlay.truncate(open.savepoints[at].1);
        open.savepoints.truncate(at + 1);
        Ok(true)
    }
    /// `false`: there is no such savepoint.
    pub fn release(&mut self, name: &str) -> Result<bool, Failed<()>> {
        self.check_wounded()?;
        let Some(open) = &mut self.open else { return Ok(false) };
        let found = open.savepoints.iter().position(|(n, _)| same(n, name));
        if let Some(at) = found {
            open.savepoints.truncate(at);
        }
        Ok(found.is_some())
    }

    /// An older transaction took its locks: it is over.
    fn check_wounded(&mut self) -> Result<(), Failed<()>> {
        let wounded = self.open.as_ref().and_then(|o| o.party.as_ref()).is_some_and(|p| p.is_wounded());
        if wounded {
            return Err(self.lose(Failed::Denied(Denied::Wounded)));
        }
        Ok(())
    }
    /// Rolls back; whoever lost a race keeps its age for the next attempt.
    fn lose<E>(&mut self, failed: Failed<E>) -> Failed<E> {
        if let Some(open) = self.open.take()
            && failed.lost()
        {
            self.again = Some(open.age());
        }
        failed
    }
}

impl Open {
    fn party(&mut self, home: &Home) -> Arc<Party> {
        let (age, fresh, options) = (self.age, self.fresh, self.options);
        let party = self.party.get_or_insert_with(|| {
            let party = home.join(age, Kind::Transaction(options.isolation()));
            Seat::new(if fresh { party.first_attempt() } else { party })
        });
        Arc::clone(party)
    }
    /// Of its first attempt.
    fn age(&self) -> Age {
        self.party.as_ref().map_or(self.age, |p| p.age())
    }
    fn wake(&mut self) -> Result<(), ApplyError> {
        if let Some(resting) = self.resting.take() {
            match resting.wake() {
                Ok(reader) => self.reader = Some(reader),
                // The newest state is there for whoever reads by it.
                Err(ApplyError::SnapshotEnded) if self.options.newest => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
    /// So many rows are claimed as their table, exclusively. Its newest version is taken first; then all rows must still be as they
    /// were claimed: from there on the claim on the table answers for them.
    async fn claim_whole<E>(&mut self, home: &Home, call: &Call<'_>, table: u64, party: &Arc<Party>) -> Result<(), Failed<E>>
    where
        E: Send + 'static,
    {
        let work: Work<(), E> = Box::new(|_, _| Ok(()));
        let work = Arc::new(Mutex::new(work));
        let claim = loop {
            let job = statement::claiming(&work, party, &home.shared.locks, table);
            match home.shared.engine.trial(call.db, call.wait_ms(), &mut self.overlay, job).await {
                Ok(mut done) => break done.asked.pop(),
                Err(error) => match Inner::into_failed(error) {
                    Ok(failed) => return Err(failed),
                    Err(again) => home.until(again, party, call.wait).await?,
                },
            }
        };
        let Some(claim) = claim else { return Ok(()) };
        let rows = self.claims.of_table(table);
        let keys: Vec<(ClaimKey, Mode)> = rows.iter().map(|c| (c.key.clone(), c.mode)).collect();
        let engine = &home.shared.engine;
        let newest = tokio::task::block_in_place(|| engine.versions(&keys))?;
        if self.claims.are_versioned() && rows.iter().zip(&newest).any(|(row, now)| row.base != *now) {
            return Err(Failed::Stale);
        }
        self.claims.make_whole(table, claim);
        Ok(())
    }
    /// Does anybody ask what its changes are based on: whoever decides between nodes, or its own snapshot?
    fn needs_versions(&self, home: &Home) -> bool {
        let snapshot = self.reader.is_some() || self.resting.is_some();
        let compares = self.options.strict && !self.options.newest && !self.options.serializable && snapshot;
        compares || home.shared.decides()
    }
    /// REPEATABLE READ: what it changes must be what its snapshot shows. (Parents of foreign keys need only be there.)
    fn is_stale(&mut self, db: &str, asked: &[Claim], changed: &[Claim]) -> Result<bool, ApplyError> {
        if !self.options.strict || self.options.newest || self.options.serializable {
            return Ok(false);
        }
        self.wake()?;
        let Some(reader) = &mut self.reader else { return Ok(false) };
        let own = |c: &&Claim| matches!(c.key, ClaimKey::Row { .. } | ClaimKey::Unique { .. });
        let exclusive = changed.iter().filter(|c| c.mode == Mode::Exclusive);
        for claim in asked.iter().chain(exclusive).filter(own) {
            let place = claim.base.place;
            if place.seq > 0 && !reader.snapshot_contains(db, place)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}
