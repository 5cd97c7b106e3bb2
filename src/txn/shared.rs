//! What all transactions of a node share, and what each of them knows of its session.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use starling_apply::Engine;
use starling_apply::engine::ApplyError;

use super::decide::{Decider, Level};
use super::freeze::Gate;
use super::locks::core::Age;
use super::locks::{Interrupt, Kind, Locks, Party, Patience};
use super::numbers::Numbers;
use super::together::Room;
use super::xa::Held;

pub struct Shared {
    pub engine: Arc<Engine>,
    pub locks: Arc<Locks>,
    /// Statements that wait for rows, and may be taken along by whoever has them.
    pub room: Arc<Room>,
    /// Set where transactions can be decided between nodes.
    pub decider: OnceLock<Arc<dyn Decider>>,
    /// Prepared branches of XA transactions.
    pub xa: Arc<Held>,
    pub gate: Arc<Gate>,
    pub(super) numbers: Numbers,
}

impl Shared {
    pub fn new(engine: Arc<Engine>) -> Arc<Shared> {
        Arc::new(Shared {
            engine,
            locks: Arc::default(),
            room: Arc::default(),
            decider: OnceLock::new(),
            xa: Arc::default(),
            gate: Arc::default(),
            numbers: Numbers::default(),
        })
    }
    /// After a start: the branches that are prepared get their locks back. Blocking.
    pub fn recall(&self) -> Result<(), ApplyError> {
        self.xa.refresh(&self.engine)?;
        self.xa.settle(&self.engine, &self.locks);
        Ok(())
    }
    /// After a start, behind [`Shared::recall`]: numbers that prepared branches generated are not counted again. Blocking.
    pub fn keep_numbers(&self) -> Result<(), ApplyError> {
        for branch in self.xa.list() {
            if let Some((_, changes)) = super::xa::changes(&self.engine, &branch.xid)? {
                self.engine.keep_prepared(&changes);
            }
        }
        Ok(())
    }
    /// Is anything decided between nodes, as things are now?
    pub fn decides(&self) -> bool {
        self.decider.get().is_some_and(|d| d.is_needed(Level::Quorum))
    }
    /// An age for a first attempt made now.
    pub fn age(&self) -> Age {
        self.locks.age(self.engine.log().clock().now_ms())
    }
}

/// A session's side of it.
#[derive(Clone)]
pub struct Home {
    pub shared: Arc<Shared>,
    pub session: u32,
    /// Ends the session's waiting.
    pub interrupt: Arc<Interrupt>,
    /// LOCK TABLES of this session.
    pub tables: Option<Arc<Party>>,
}

impl Home {
    pub fn patience(&self, wait: Duration) -> Patience {
        Patience {
            wait,
            interrupt: Arc::clone(&self.interrupt),
        }
    }
    /// A party of this session's. Who has LOCK TABLES goes before all others, as others may wait for its tables.
    pub fn join(&self, age: Age, kind: Kind) -> Party {
        let friend = self.tables.as_deref();
        let age = if friend.is_some() { Age(0, age.1) } else { age };
        self.shared.locks.join(age, self.session, kind, friend)
    }
}
