//! What all sessions of the process share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use starling_apply::{Engine, Table};

use crate::cluster::Cluster;
use crate::sql::plan::{Arg, PlanCache, SelectPlan};
use crate::sql::stmt::write::WritePlan;
use crate::sql::vars::{Facts, Globals};

use crate::txn;

use super::registry::Registry;

/// What a cached plan is.
#[derive(Debug)]
pub enum Plan {
    Select(SelectPlan),
    Write(WritePlan),
}

impl Plan {
    /// All base tables it uses.
    pub fn tables(&self) -> Vec<Arc<Table>> {
        match self {
            Plan::Select(select) => select.lowered.tables.clone(),
            Plan::Write(write) => write.used(),
        }
    }
    /// Their types stand in the plan, and may change from one run to the next.
    pub fn reads_user_variables(&self) -> bool {
        let args = match self {
            Plan::Select(select) => &select.lowered.args,
            Plan::Write(write) => return write.args().any(is_user_variable),
        };
        args.iter().any(is_user_variable)
    }
}

fn is_user_variable(arg: &Arg) -> bool {
    matches!(arg, Arg::UserVar { .. })
}

pub struct Server {
    pub engine: Arc<Engine>,
    pub cluster: Arc<Cluster>,
    pub globals: Arc<Globals>,
    pub plans: PlanCache<Plan>,
    pub registry: Registry,
    pub counters: Counters,
    pub started: Instant,
    /// The lock table, and who decides between nodes.
    pub transactions: Arc<txn::Shared>,
    /// GET_LOCK.
    pub named: Arc<txn::named::Named>,
}

/// Counted for SHOW STATUS and the metrics.
#[derive(Default)]
pub struct Counters {
    pub questions: AtomicU64,
    pub selects: AtomicU64,
    pub inserts: AtomicU64,
    pub updates: AtomicU64,
    pub deletes: AtomicU64,
    pub commits: AtomicU64,
    pub rollbacks: AtomicU64,
    pub begins: AtomicU64,
    pub others: AtomicU64,
    pub errors: AtomicU64,
    pub prepares: AtomicU64,
    pub executes: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Server {
    pub fn new(engine: Arc<Engine>, cluster: Arc<Cluster>, facts: &Facts) -> Arc<Server> {
        Arc::new_cyclic(|server: &Weak<Server>| Server {
            transactions: txn::Shared::new(Arc::clone(&engine)),
            named: txn::named::Named::new(Arc::clone(&cluster)),
            engine,
            cluster,
            globals: Arc::new(Globals::new(facts).with_live({
                let server = server.clone();
                Box::new(move |name| server.upgrade()?.live(name))
            })),
            plans: PlanCache::new(),
            registry: Registry::default(),
            counters: Counters::default(),
            started: Instant::now(),
        })
    }
    /// Unique in the process, from 1.
    pub fn next_connection_id(&self) -> u32 {
        self.registry.next_id()
    }
    /// `@@version`, for the greeting.
    pub fn version(&self) -> String {
        self.globals.named("version").as_str().to_string()
    }
    /// `@@global.max_connections`.
    pub fn max_connections(&self) -> usize {
        usize::try_from(self.globals.named("max_connections").as_u64()).unwrap_or(usize::MAX)
    }
}
