//! Who votes and who answers: what the cluster knows of members, for the driver; and who is to be admitted.
//!
//! Promises: a member that has caught up gets its seat, one incarnation gives way to the next; only the lowest reachable voter
//! proposes it, one change at a time. Must not know: how changes are decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use starling_log::Origin;
use tokio::sync::oneshot;

use super::Verdict;
use crate::cluster::gossip::Health;
use crate::cluster::members::{Ban, Id};
use crate::cluster::quorum::{Epoch, Seat, Voter};
use crate::cluster::{Cluster, View};

/// Between two looks at who is to be admitted.
const CHANGE_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Seats {
    cluster: Arc<Cluster>,
    me: Seat,
    view: Option<Arc<View>>,
    by_voter: BTreeMap<Voter, Id>,
    silent: BTreeSet<Voter>,
    changing: Option<oneshot::Receiver<Verdict>>,
    looked: Option<Instant>,
    numbers: Closed,
}

/// A second member is proposed only where numbers are closed (`cluster::numbers`).
#[derive(Default)]
struct Closed {
    /// They were at the look before, in this epoch: what is applied here now tells how far they got.
    at: Option<u64>,
    /// A second member may have been let in by now.
    proposed: bool,
}

pub(super) struct Look {
    /// Voters reached, this node included (if it votes).
    pub reachable: usize,
    pub changed: Vec<(Voter, bool)>,
}

impl Seats {
    pub fn new(cluster: Arc<Cluster>, me: Seat) -> Seats {
        Seats {
            cluster,
            me,
            view: None,
            by_voter: BTreeMap::new(),
            silent: BTreeSet::new(),
            changing: None,
            looked: None,
            numbers: Closed::default(),
        }
    }

    /// Whose voter it is; `None`: nobody's, or an incarnation that is gone.
    pub fn identity(&mut self, voter: Voter) -> Option<Id> {
        let view = self.cluster.view();
        if !self.view.as_ref().is_some_and(|known| Arc::ptr_eq(known, &view)) {
            let present = view.members.iter().map(|m| (m.origins[1], m.identity));
            self.by_voter = present.collect();
            self.view = Some(view);
        }
        self.by_voter.get(&voter).copied()
    }

    pub fn is_quorum(&self, origin: Origin) -> bool {
        // Origins are handed out in pairs: the second is the quorum sequence.
        origin.is_multiple_of(2)
    }

    pub fn look(&mut self, epoch: &Epoch) -> Look {
        let connected = self.cluster.connected();
        let mut changed = Vec::new();
        let mut reachable = 0;
        for voter in epoch.voters() {
            let me = voter == self.me.voter;
            let health = self
                .identity(voter)
                .filter(|id| connected.contains(id))
                .map(|id| self.cluster.health(id));
            reachable += usize::from(me || health.is_some_and(|h| h != Health::Down));
            // Whoever does not answer is not waited for, long before it is taken for dead.
            let there = me || health == Some(Health::Up);
            let differs = if there {
                self.silent.remove(&voter)
            } else {
                self.silent.insert(voter)
            };
            if differs {
                changed.push((voter, !there));
            }
        }
        if self.looked.is_none_or(|l| l.elapsed() >= CHANGE_EVERY) {
            self.looked = Some(Instant::now());
            self.change(epoch, &connected, reachable);
        }
        Look { reachable, changed }
    }

    /// One change of members, if one is due and this node is the one to propose it.
    fn change(&mut self, epoch: &Epoch, connected: &BTreeSet<Id>, reachable: usize) {
        if let Some(changing) = &mut self.changing {
            match changing.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return,
                Ok(Err(refused)) => {
                    self.numbers.proposed = false;
                    tracing::debug!(%refused, "a change of members did not come about: it is tried again");
                }
                Ok(Ok(_)) | Err(oneshot::error::TryRecvError::Closed) => {}
            }
            self.changing = None;
        }
        let view = self.cluster.view();
        let leaves = |seat: &Seat| view.members.get(seat.member).is_some_and(|m| m.ban == Ban::Removed);
        let first = epoch.seats.iter().find(|s| !self.silent.contains(&s.voter) && !leaves(s));
        if first.map(|s| s.voter) != Some(self.me.voter) || reachable < epoch.quorum() {
            return;
        }
        for member in view.members.iter() {
            let seat = member.seat();
            let old = epoch.seats.iter().find(|s| s.member == seat.member);
            let asked = match old {
                Some(old) if *old == seat && !leaves(old) => continue,
                // It is to go, or its log was lost: that incarnation votes no more.
                Some(old) => self.cluster.commit().remove(old.voter),
                None if view.members.takes_part(member) && connected.contains(&member.identity) && self.caught_up(member.identity) => {
                    if epoch.len() == 1 && !self.numbers_closed(epoch.number) {
                        return;
                    }
                    self.numbers.proposed = true;
                    self.cluster.commit().admit(seat)
                }
                None => continue,
            };
            if asked.is_err() {
                self.numbers.proposed = false;
            }
            self.changing = asked.ok();
            return;
        }
        if !self.numbers.proposed
            && let Some(closed) = self.numbers.at.take()
        {
            self.cluster.reopen_numbers(closed);
        }
    }

    fn numbers_closed(&mut self, epoch: u64) -> bool {
        if self.numbers.at == Some(epoch) {
            return true;
        }
        if self.cluster.close_numbers(epoch) {
            self.numbers = Closed {
                at: Some(epoch),
                proposed: false,
            };
        }
        false
    }

    /// It has (about) all that is applied here.
    fn caught_up(&self, member: Id) -> bool {
        let applied = self.cluster.engine().map(|e| e.applied()).unwrap_or_default();
        self.cluster.peers().behind(member, &applied).is_some_and(|lag| lag < CAUGHT_UP)
    }
}

/// Entries that a member may lack when it gets its seat: it lacks those in flight always.
const CAUGHT_UP: u64 = 2_000;
