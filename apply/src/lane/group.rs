//! Autocommit jobs and commits of overlays: those that wait share one fsync of the log. Jobs run one after another in one SQLite
//! transaction on the try connection; overlays become entries, and are applied by the fold on the apply connection.
//!
//! Promises: a job that fails leaves no trace and spoils no other; nobody is answered before the whole group is durable and
//! visible; if SQLite rolls the transaction back by itself, the kept jobs run again, each alone. Must not know: open transactions.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::ErrorCode;
use starling_log::{Body, Changes, Draft, Entry};

use super::desk::Ran;
use super::floor::{Floor, Taken};
use super::replay::check_tables;
use super::runner::{Command, Runner};
use super::work::{Ended, Failure, Kind, Work};
use crate::catalog::Catalog;
use crate::engine::core::Lane;
use crate::engine::{Committed, placed};
use crate::overlay::Content;

/// Jobs in one group at most.
const GROUP_JOBS: usize = 256;
/// A group this large takes no further job (a segment of the log holds about 100 KiB).
const GROUP_BYTES: usize = 64 << 10;

struct Member {
    work: Box<dyn Work>,
    /// Empty: it changed nothing, or failed.
    changes: Changes,
    /// Made elsewhere (an overlay): to be applied, not in the transaction yet.
    foreign: bool,
    failure: Option<Failure>,
}

#[derive(Default)]
struct Group {
    members: Vec<Member>,
    bytes: usize,
    /// The transaction is begun.
    begun: bool,
    /// Something was kept in the transaction.
    holds: bool,
}

impl Runner {
    pub(super) fn group<'l>(&mut self, lane: &'l Arc<Lane>, floor: Taken<'l>, first: Box<dyn Work>) {
        let mut alone = Vec::new();
        let mut later = VecDeque::new();
        self.run_group(lane, floor, first, Some(&mut later), &mut alone);
        for work in alone {
            // What falls back alone has nobody with it who would have to run again.
            let floor = lane.floor.take();
            self.run_group(lane, floor, work, None, &mut Vec::new());
        }
        self.first_again(later);
    }

    /// `later`: where trials go that stand between jobs to be kept; `None`: the group takes no further job.
    fn run_group<'l>(
        &mut self,
        lane: &'l Arc<Lane>,
        mut floor: Taken<'l>,
        first: Box<dyn Work>,
        mut later: Option<&mut VecDeque<Command>>,
        again: &mut Vec<Box<dyn Work>>,
    ) {
        if let Err(failure) = self.core.ready(lane) {
            drop(floor);
            first.finish(Err(failure));
            return;
        }
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(work) = next {
            if matches!(work.kind(), Kind::Kept) {
                floor.settle_down();
            }
            if !self.step(&mut floor, &mut group, work) {
                again.extend(group.members.into_iter().map(|m| m.work));
                return;
            }
            let full = group.members.len() >= GROUP_JOBS || group.bytes >= GROUP_BYTES || floor.has_pins();
            next = match &mut later {
                Some(later) if !full => self.next_job(later),
                _ => None,
            };
        }
        self.close_group(lane, floor, group);
    }

    /// False: the transaction is gone, and this job has its answer.
    fn step(&mut self, floor: &mut Floor, group: &mut Group, work: Box<dyn Work>) -> bool {
        match work.kind() {
            Kind::Commit(overlay) => {
                self.join(group, &overlay, work);
                true
            }
            Kind::Kept => self.step_kept(floor, group, work),
            Kind::Trial(_) => {
                work.finish(Err(Failure::text(ErrorCode::Unknown, "a trial in a group")));
                true
            }
        }
    }

    /// An overlay that is to be committed.
    fn join(&mut self, group: &mut Group, overlay: &Mutex<Content>, work: Box<dyn Work>) {
        let body = body(overlay, &self.core.catalog());
        let (changes, failure) = match body {
            Ok(changes) => (changes, None),
            Err(failure) => (Changes::default(), Some(failure)),
        };
        group.bytes += changes.bytes.len();
        group.members.push(Member {
            work,
            changes,
            foreign: true,
            failure,
        });
    }

    fn step_kept(&mut self, floor: &mut Floor, group: &mut Group, mut work: Box<dyn Work>) -> bool {
        let ran = self
            .begin_group(floor, group)
            .and_then(|()| floor.desk()?.run(&mut *work, !group.holds));
        let desk = match floor.desk() {
            Ok(desk) => desk,
            Err(failure) => {
                work.finish(Err(failure));
                return false;
            }
        };
        match ran {
            Ok(Ran::Kept) => {
                let changes = desk.take();
                group.bytes += changes.bytes.len();
                group.holds = true;
                group.members.push(Member {
                    work,
                    changes,
                    foreign: false,
                    failure: None,
                });
                true
            }
            Ok(Ran::Undone(failure)) => {
                group.members.push(Member {
                    work,
                    changes: Changes::default(),
                    foreign: false,
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

    fn begin_group(&mut self, floor: &mut Floor, group: &mut Group) -> Result<(), Failure> {
        if !group.begun {
            floor.let_go();
            floor.open(&self.core)?.begin(std::slice::from_ref(&self.lane))?;
            group.begun = true;
        }
        Ok(())
    }

    fn close_group<'l>(&mut self, lane: &'l Arc<Lane>, floor: Taken<'l>, mut group: Group) {
        // What was kept comes first: what is applied behind it is younger.
        group.members.sort_by_key(|m| m.foreign);
        let foreign = group.members.partition_point(|m| !m.foreign);
        let changed: Vec<bool> = group.members.iter().map(|m| !m.changes.is_empty()).collect();
        let mut kept: Vec<Changes> = group.members.iter_mut().map(|m| std::mem::take(&mut m.changes)).collect();
        let overlays = kept.split_off(foreign);
        let outcome = self.commit_group(lane, floor, kept, overlays, group.begun);
        let mut entries = match &outcome {
            Ok(entries) => entries.iter(),
            Err(_) => [].iter(),
        };
        for (member, changed) in group.members.into_iter().zip(changed) {
            let entry = if changed { entries.next() } else { None };
            let result = match (&outcome, member.failure) {
                (_, Some(failure)) => Err(failure),
                (Err(failure), None) => Err(failure.again()),
                (Ok(_), None) => Ok(Ended::Committed(Committed {
                    placed: entry.map(|e| placed(e)),
                })),
            };
            member.work.finish(result);
        }
    }

    /// One entry for each job or overlay that changed something: one append for all of them, then what was kept is committed where it
    /// is, and the overlays are applied behind it. While only overlays wait for their fsync the floor is free: trials run on what is
    /// there already, and what they would want of the overlays is still locked.
    fn commit_group<'l>(
        &mut self,
        lane: &'l Arc<Lane>,
        mut floor: Taken<'l>,
        kept: Vec<Changes>,
        overlays: Vec<Changes>,
        begun: bool,
    ) -> Result<Vec<Arc<Entry>>, Failure> {
        let core = Arc::clone(&self.core);
        let lanes = std::slice::from_ref(lane);
        let drafts = |bodies: Vec<Changes>| -> Vec<Draft> {
            let (causes, schema) = (core.progress.seen(), core.catalog().version);
            let draft = |changes| Draft {
                causes: Arc::clone(&causes),
                schema,
                body: Body::Rows(changes),
            };
            bodies.into_iter().filter(|c| !c.is_empty()).map(draft).collect()
        };
        let mut all = drafts(kept);
        let ours = all.len();
        all.extend(drafts(overlays));
        if ours == 0 && begun {
            floor.desk()?.finish_unchanged()?;
        }
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let (appended, mut floor) = if ours > 0 {
            (core.append(all), floor)
        } else {
            drop(floor);
            (core.append(all), lane.floor.take())
        };
        let entries = match appended {
            Ok(entries) => entries,
            Err(error) => {
                if ours > 0 {
                    floor.desk()?.rollback();
                }
                return Err(Failure::Append(error));
            }
        };
        let (kept, applied) = entries.split_at(ours);
        if ours > 0 {
            let desk = floor.desk()?;
            if let Err(error) = desk.settle(lanes, kept) {
                desk.rollback();
                core.reapply(lanes, kept, &error).inspect_err(|_| core.put_behind(lanes, applied))?;
            }
        }
        if !applied.is_empty() {
            floor.let_go();
        }
        core.apply_own(lanes, applied)?;
        Ok(entries)
    }

    /// An overlay over several databases, whose lanes are held.
    pub(super) fn commit_alone(&mut self, lanes: &[Arc<Lane>], overlay: &Mutex<Content>, work: Box<dyn Work>) {
        let outcome = self.commit_over(lanes, overlay);
        work.finish(outcome.map(Ended::Committed));
    }

    fn commit_over(&mut self, lanes: &[Arc<Lane>], overlay: &Mutex<Content>) -> Result<Committed, Failure> {
        let core = Arc::clone(&self.core);
        for lane in lanes {
            core.wait_for_wal(lane);
            core.catch_up(lane)?;
        }
        let catalog = core.catalog();
        let draft = Draft {
            causes: core.progress.seen(),
            schema: catalog.version,
            body: Body::Rows(body(overlay, &catalog)?),
        };
        let entries = core.append(vec![draft]).map_err(Failure::Append)?;
        core.apply_own(lanes, &entries)?;
        Ok(Committed {
            placed: entries.first().map(|e| placed(e)),
        })
    }
}

/// An overlay as an entry's body. Its tables must be what they were: an entry's images are read by the definitions that its author
/// had when it was appended.
fn body(overlay: &Mutex<Content>, catalog: &Catalog) -> Result<Changes, Failure> {
    let content = overlay.lock();
    check_tables(&content, catalog)?;
    let changes = content.whole();
    changes.map_err(|e| Failure::text(ErrorCode::SystemIoFailure, format!("a spilled transaction cannot be read: {e}")))
}
