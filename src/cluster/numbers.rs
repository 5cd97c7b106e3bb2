//! Who counts AUTO_INCREMENT numbers: a node that is its cluster's only voter. Where several vote, numbers come from blocks that the
//! quorum decides on.
//!
//! PROTOCOL 22 asks that the entry which admits a second member carries every counter's position. Here it has them among its
//! causes: before the only voter proposes a second one it *closes* its numbers. From then on it counts none, and an entry of its own
//! says how far it got. Whoever applies the change of members has applied that entry before, and draws behind it.
//!
//! Promises: closed is durable before a second member is proposed, and stands until an epoch is known in which this node votes alone
//! again, or until the change was refused for sure. Must not know: blocks, tables.

use std::sync::Arc;

use parking_lot::Mutex;

use super::quorum::Epoch;
use super::{Cluster, View};
use starling_apply::lane::Numbering;

/// The epoch at which numbers were closed last, among the log's small values.
const KEY: &str = "numbers/closed";

/// How far closing is.
#[derive(Debug, Default)]
pub(crate) struct Closing(Mutex<State>);

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// A thread is at it.
    Under(u64),
    /// At this epoch, by this process.
    Closed(u64),
}

impl Cluster {
    /// Counted or granted, as the voters are by now.
    pub(super) fn follow_numbers(&self, view: &View) {
        let Some(engine) = self.engine() else { return };
        let epoch = view.members.epoch();
        // While it is held nobody begins to close.
        let state = self.closing.0.lock();
        let closing = matches!(*state, State::Under(_));
        let counts = !closing && self.votes_alone(&epoch) && self.closed_at() != Some(epoch.number);
        engine.set_numbering(if counts { Numbering::Counted } else { Numbering::Granted });
    }

    fn votes_alone(&self, epoch: &Epoch) -> bool {
        self.origins()
            .is_some_and(|[_, voter]| matches!(&epoch.seats[..], [seat] if seat.voter == voter))
    }

    fn closed_at(&self) -> Option<u64> {
        let bytes = self.log.meta(KEY)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The only voter of this epoch is about to propose a second one. `true`: no number is counted any more, and entries that are
    /// applied here say how far counting got. `false`: ask again. Does not block.
    pub(super) fn close_numbers(self: &Arc<Self>, epoch: u64) -> bool {
        let mut state = self.closing.0.lock();
        match *state {
            State::Closed(at) if at == epoch => return true,
            State::Under(_) => return false,
            State::Open | State::Closed(_) => {}
        }
        let cluster = Arc::clone(self);
        let close = move || {
            let closed = cluster.write_closed(epoch);
            if let Err(error) = &closed {
                tracing::warn!(error, "numbers are not closed yet, so no second member is admitted");
            }
            *cluster.closing.0.lock() = if closed.is_ok() { State::Closed(epoch) } else { State::Open };
        };
        match std::thread::Builder::new().name("close numbers".to_owned()).spawn(close) {
            Ok(_) => *state = State::Under(epoch),
            Err(error) => tracing::warn!(%error, "no thread to close numbers"),
        }
        false
    }

    fn write_closed(&self, epoch: u64) -> Result<(), String> {
        let engine = self.engine().ok_or_else(|| "the node is starting".to_owned())?;
        self.log.put_meta(KEY, &epoch.to_le_bytes()).map_err(|e| e.to_string())?;
        engine.close_numbers().map_err(|e| e.to_string())
    }

    /// The second member was refused for sure, and nobody asks any more. Blocking (for one small write).
    pub(super) fn reopen_numbers(&self, epoch: u64) {
        let mut state = self.closing.0.lock();
        if *state != State::Closed(epoch) {
            return;
        }
        match self.log.put_meta(KEY, &[]) {
            Ok(()) => *state = State::Open,
            Err(error) => tracing::warn!(%error, "numbers stay closed"),
        }
        drop(state);
        self.follow_numbers(&self.view());
    }
}
