//! What open places wait for, in words: for logs.
//!
//! Promises: changes nothing. Must not know: who reads it.

use std::fmt::Write;

use super::message::Vote;
use super::state::Node;

impl Node {
    /// The lowest place of every sequence that has been open for this long, and why; and the own place that has.
    pub fn delayed(&self, ms: u64) -> Option<String> {
        let mut text = String::new();
        let mut origin = None;
        let mut open = 0;
        for (place, hold) in &self.holds {
            let old = self.now_ms.saturating_sub(hold.since_ms) >= ms;
            open += usize::from(hold.decided.is_none());
            if !old || origin == Some(place.origin) || (hold.decided.is_some() && self.logged.contains(*place)) {
                continue;
            }
            origin = Some(place.origin);
            let vote = match &hold.vote {
                None => "no vote".to_owned(),
                Some(Vote::Yes) => "yes".to_owned(),
                Some(Vote::No(no)) => format!("{no:?}"),
            };
            let _ = write!(
                text,
                "{}:{} for {} ms: prepare {}, {vote}, promised {:?}, accepted {:?}, decided {:?}, logged {}, saved {} of {}, contest {}; ",
                place.origin,
                place.seq,
                self.now_ms.saturating_sub(hold.since_ms),
                hold.prepare.is_some(),
                hold.promised,
                hold.accepted,
                hold.decided,
                self.logged.get(place.origin),
                hold.saved,
                self.flushed,
                self.contests.contains_key(place),
            );
        }
        for (place, (prepare, from)) in self.parked.iter().take(2) {
            let lacks: Vec<_> = prepare.causes.iter().filter(|(o, s)| self.logged.get(*o) < *s).collect();
            let _ = write!(
                text,
                "parked {}:{} from {from}: lacks {lacks:?}, open {:?}; ",
                place.origin, place.seq, prepare.open
            );
        }
        if let Some((seq, attempt)) = self.attempts.first_key_value()
            && self.now_ms.saturating_sub(attempt.sent_ms) >= ms / 2
        {
            let _ = write!(
                text,
                "own {seq}: votes {:?}, parked {:?}, accepting {}, accepted {:?}; ",
                attempt.votes, attempt.parked, attempt.accepting, attempt.accepted
            );
        }
        (!text.is_empty()).then(|| {
            let silent: Vec<_> = self.peers.iter().filter(|(_, p)| p.silent).map(|(v, _)| *v).collect();
            format!(
                "{text}{open} open, {} own, {} waiting, silent {silent:?}, ready {}, epoch {}, word {}",
                self.attempts.len(),
                self.waiting.len(),
                self.is_ready(),
                self.epoch().number,
                self.word
            )
        })
    }
}
