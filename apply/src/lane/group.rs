//! Autocommit jobs: those that wait run one after another in one SQLite transaction and share one fsync of the log.
//!
//! Promises: a job that fails leaves no trace and spoils no other; nobody is answered before the whole group is durable and
//! visible; if SQLite rolls the transaction back by itself, the kept jobs run again, each alone. Must not know: open transactions.

use std::sync::Arc;

use starling_log::{Body, Changes, Draft, Entry};

use super::desk::Ran;
use super::runner::Runner;
use super::work::{Failure, Work};
use crate::engine::{Committed, placed};

/// Jobs in one group at most.
const GROUP_JOBS: usize = 256;
/// A group this large takes no further job (a segment of the log holds about 100 KiB).
const GROUP_BYTES: usize = 64 << 10;

struct Member {
    work: Box<dyn Work>,
    /// Empty: it changed nothing, or failed.
    changes: Changes,
    failure: Option<Failure>,
}

#[derive(Default)]
struct Group {
    members: Vec<Member>,
    bytes: usize,
    /// Something was kept in the transaction.
    holds: bool,
}

impl Runner {
    pub(super) fn group(&mut self, first: Box<dyn Work>) {
        let mut alone = Vec::new();
        self.run_group(first, false, &mut alone);
        for work in alone {
            // What falls back alone has nobody with it who would have to run again.
            self.run_group(work, true, &mut Vec::new());
        }
    }

    fn run_group(&mut self, first: Box<dyn Work>, alone: bool, again: &mut Vec<Box<dyn Work>>) {
        if let Err(failure) = self.begin_group() {
            first.finish(Err(failure));
            return;
        }
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(work) = next {
            if !self.step(&mut group, work) {
                again.extend(group.members.into_iter().map(|m| m.work));
                return;
            }
            let full = alone || group.members.len() >= GROUP_JOBS || group.bytes >= GROUP_BYTES || self.desk_has_pins();
            next = if full { None } else { self.next_job() };
        }
        self.close_group(group);
    }

    fn begin_group(&mut self) -> Result<(), Failure> {
        self.ready()?;
        let lane = Arc::clone(&self.lane);
        self.desk()?.begin(&[lane])
    }

    /// False: the transaction is gone, and this job has its answer.
    fn step(&mut self, group: &mut Group, mut work: Box<dyn Work>) -> bool {
        let desk = match self.desk() {
            Ok(desk) => desk,
            Err(failure) => {
                work.finish(Err(failure));
                return false;
            }
        };
        match desk.run(&mut *work, !group.holds) {
            Ok(Ran::Kept) => {
                let changes = desk.take();
                group.bytes += changes.bytes.len();
                group.holds = true;
                group.members.push(Member {
                    work,
                    changes,
                    failure: None,
                });
                true
            }
            Ok(Ran::Undone(failure)) => {
                group.members.push(Member {
                    work,
                    changes: Changes::default(),
                    failure,
                });
                true
            }
            Ok(Ran::Lost) => {
                desk.rollback();
                // Its own error, if it returned one, tells more than we could.
                work.lost();
                false
            }
            Err(failure) => {
                desk.rollback();
                work.finish(Err(failure));
                false
            }
        }
    }

    fn close_group(&mut self, mut group: Group) {
        let bodies: Vec<Changes> = group.members.iter_mut().map(|m| std::mem::take(&mut m.changes)).collect();
        let changed: Vec<bool> = bodies.iter().map(|c| !c.is_empty()).collect();
        let outcome = self.commit_group(bodies);
        let mut entries = match &outcome {
            Ok(entries) => entries.iter(),
            Err(_) => [].iter(),
        };
        for (member, changed) in group.members.into_iter().zip(changed) {
            let entry = if changed { entries.next() } else { None };
            let result = match (&outcome, member.failure) {
                (_, Some(failure)) => Err(failure),
                (Err(failure), None) => Err(failure.again()),
                (Ok(_), None) => Ok(Committed {
                    placed: entry.map(|e| placed(e)),
                }),
            };
            member.work.finish(result);
        }
    }

    /// One entry for each job that changed something.
    fn commit_group(&mut self, bodies: Vec<Changes>) -> Result<Vec<Arc<Entry>>, Failure> {
        let core = Arc::clone(&self.core);
        let lane = Arc::clone(&self.lane);
        let desk = self.desk()?;
        let causes = core.progress.seen();
        let schema = desk.catalog().version;
        let drafts: Vec<Draft> = bodies
            .into_iter()
            .filter(|c| !c.is_empty())
            .map(|changes| Draft {
                causes: Arc::clone(&causes),
                schema,
                body: Body::Rows(changes),
            })
            .collect();
        if drafts.is_empty() {
            desk.finish_unchanged()?;
            return Ok(Vec::new());
        }
        let entries = match core.append(drafts) {
            Ok(entries) => entries,
            Err(error) => {
                desk.rollback();
                return Err(Failure::Append(error));
            }
        };
        if let Err(error) = desk.settle(&[Arc::clone(&lane)], &entries) {
            desk.rollback();
            core.reapply(&[lane], &entries, &error)?;
        }
        Ok(entries)
    }
}
