//! Blocks of AUTO_INCREMENT numbers: drawn by quorum ahead of need (PROTOCOL 22).
//!
//! A draw is a transaction like any other: it claims the table's counter on the version it knows, and whoever comes second plans
//! again behind the first. One draw of a table at a time; a table whose block is half used draws the next one while statements go on.
//!
//! Promises: a statement that waits for numbers holds no lane; where there is no quorum it hears so at once, and nothing else of its
//! transaction is lost. Must not know: SQL, how it is decided.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use starling_apply::ApplyError;
use starling_apply::engine::Draw;
use starling_apply::lane::Short;
use starling_apply::numbers::Demand;

use super::Failed;
use super::decide::{Decider, Level, Proposal, Refused};
use super::locks::{Denied, Party};
use super::shared::{Home, Shared};
use super::statement::Again;

/// How often a draw that comes second is planned again.
const ATTEMPTS: usize = 64;
/// After that at the latest it is planned again: the draw that came first may not be applied here yet.
const PAUSE: Duration = Duration::from_millis(50);

/// Draws of each table.
#[derive(Default)]
pub struct Numbers {
    tables: Mutex<HashMap<u64, Arc<tokio::sync::Mutex<Demand>>>>,
}

impl Numbers {
    fn table(&self, table: u64) -> Arc<tokio::sync::Mutex<Demand>> {
        Arc::clone(self.tables.lock().entry(table).or_default())
    }
}

impl Shared {
    /// From now on tables whose numbers run low draw by themselves, on this runtime.
    pub fn draw_ahead(self: &Arc<Self>, runtime: tokio::runtime::Handle) {
        let shared: Weak<Shared> = Arc::downgrade(self);
        self.engine.on_low_numbers(Box::new(move |table| {
            if let Some(shared) = shared.upgrade() {
                runtime.spawn(async move {
                    if let Err(refused) = shared.draw(Short { table, count: 0 }).await {
                        tracing::debug!(table, ?refused, "no numbers are drawn ahead");
                    }
                });
            }
        }));
    }

    /// Draws numbers for a statement that has too few, or (`count` 0) for those to come.
    pub async fn draw(&self, short: Short) -> Result<(), Refused> {
        let slot = self.numbers.table(short.table);
        let mut demand = slot.lock().await;
        // Somebody else has drawn meanwhile.
        let enough = if short.count > 0 { short.count } else { demand.half() };
        if self.engine.has_numbers(short.table, enough) {
            return Ok(());
        }
        let Some(decider) = self.decider.get() else {
            return Err(Refused::Other("nobody decides about numbers".to_owned()));
        };
        let wanted = demand.next(self.engine.log().clock().now_ms());
        let drawn = self.draw_block(&**decider, short, wanted).await;
        if drawn.is_err() {
            self.engine.not_granted(short.table);
        }
        drawn
    }

    async fn draw_block(&self, decider: &dyn Decider, short: Short, wanted: i64) -> Result<(), Refused> {
        let age = self.age();
        for _ in 0..ATTEMPTS {
            let mut applied = self.engine.watch();
            let Some(draw) = self.plan(short, wanted).await? else {
                return Ok(());
            };
            let proposal = Proposal {
                body: draw.changes.clone(),
                claims: draw.claims.clone().into(),
                age,
                level: Level::Quorum,
            };
            match decider.decide(proposal).await {
                Ok(_) => {
                    self.engine.grant(&draw);
                    return Ok(());
                }
                Err(Refused::Schema) => tokio::time::sleep(PAUSE).await,
                Err(Refused::Conflict) => {
                    // Whether it grew or not: the plan shows.
                    let _ = tokio::time::timeout(PAUSE, applied.changed()).await;
                }
                // Should it be decided yet, these numbers are a gap.
                Err(Refused::Unknown(why)) => return Err(Refused::NoQuorum(why)),
                Err(refused) => return Err(refused),
            }
        }
        Err(Refused::Conflict)
    }

    async fn plan(&self, short: Short, wanted: i64) -> Result<Option<Draw>, Refused> {
        let engine = Arc::clone(&self.engine);
        let plan = move || engine.plan_draw(short.table, wanted, short.count);
        let planned = tokio::task::spawn_blocking(plan).await;
        let planned: Result<_, ApplyError> = planned.map_err(|e| Refused::Other(e.to_string()))?;
        planned.map_err(|e| Refused::Other(e.to_string()))
    }
}

impl Home {
    /// What a job is to be run again after.
    pub(super) async fn until<E>(&self, again: Again, party: &Party, wait: Duration) -> Result<(), Failed<E>> {
        match again {
            Again::Locks(_) => Ok(party.settled(&self.patience(wait)).await?),
            Again::Numbers(short) => self.draw(short, wait).await,
        }
    }
    /// A statement of this session waits until its numbers are there.
    pub(super) async fn draw<E>(&self, short: Short, wait: Duration) -> Result<(), Failed<E>> {
        let drawn = tokio::time::timeout(wait, self.shared.draw(short));
        tokio::select! {
            drawn = drawn => match drawn {
                Ok(drawn) => drawn.map_err(Failed::NoNumbers),
                Err(_) => Err(Failed::Denied(Denied::Timeout)),
            },
            () = self.interrupt.raised() => Err(Failed::Denied(Denied::Interrupted)),
        }
    }
}
