//! The rounds of a feed: from where the reader is to what this node shows, again and again.
//!
//! Promises: every change beyond the cursor exactly once, whichever node the cursor is from: what the cursor covers is left out, what
//! this node does not show yet is waited for. Within a round the order is that of the stamps, so no effect comes before its cause.
//! Memory is bounded by a chunk and one entry. Must not know: HTTP.

use std::sync::Arc;

use starling_apply::Engine;
use starling_log::log::{ReadError, Scan};
use starling_log::{Cursor, VersionVector};

use super::conflicts::Conflicts;
use super::event::{Budget, Framing, Renderer, Rest, Stop};
use super::names::{Filter, Names};

/// Text made before it is sent, about.
const CHUNK_BYTES: usize = 256 << 10;
/// Entries looked at in one go, though all be filtered away: then the runtime gets its thread back.
const CHUNK_ENTRIES: usize = 10_000;

pub struct Feed {
    engine: Arc<Engine>,
    filter: Filter,
    framing: Framing,
    vector: VersionVector,
    /// Changes of the next entry of that origin that are out already.
    partial: Option<(starling_log::Place, u32)>,
    round: Option<(Scan, Arc<VersionVector>)>,
    rest: Option<Rest>,
    /// Events still wanted.
    left: u64,
}

/// What one step gave.
#[derive(Debug, Default)]
pub struct Chunk {
    pub text: Vec<u8>,
    /// More can be had at once.
    pub more: bool,
}

impl Feed {
    pub fn new(engine: Arc<Engine>, cursor: Cursor, filter: Filter, framing: Framing, limit: Option<u64>) -> Feed {
        Feed {
            engine,
            filter,
            framing,
            vector: cursor.vector,
            partial: cursor.partial,
            round: None,
            rest: None,
            left: limit.unwrap_or(u64::MAX),
        }
    }

    /// Just behind what is out.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            vector: self.vector.clone(),
            partial: self.rest.as_ref().map(|r| (r.entry.place, r.from)).or(self.partial),
        }
    }

    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// How many entries are to be gone through (as far as is known now).
    pub fn distance(&self) -> u64 {
        let applied = self.engine.applied();
        applied
            .iter()
            .map(|(origin, seq)| seq.saturating_sub(self.vector.get(origin)))
            .sum()
    }

    /// The next piece. Reads the log: off the runtime's workers, unless little is to be read.
    pub fn step(&mut self, names: &Names) -> Result<Chunk, ReadError> {
        let engine = self.engine.clone();
        let catalog = engine.catalog();
        let conflicts = Conflicts::new(&engine);
        let lost = |db: &str, place, index| conflicts.lost(db, place, index);
        let mut chunk = Chunk::default();
        let mut entries = 0;
        loop {
            if self.left == 0 {
                return Ok(chunk);
            }
            if chunk.text.len() >= CHUNK_BYTES || entries >= CHUNK_ENTRIES {
                chunk.more = true;
                return Ok(chunk);
            }
            let Some(Rest { entry, from }) = self.next()? else {
                return Ok(chunk);
            };
            entries += 1;
            let renderer = Renderer {
                catalog: &catalog,
                names,
                filter: &self.filter,
                framing: self.framing,
                lost: &lost,
            };
            let mut budget = Budget {
                bytes: CHUNK_BYTES,
                events: self.left,
            };
            let stop = renderer.entry(&mut chunk.text, &entry, from, &self.vector, &mut budget);
            self.left = budget.events;
            match stop {
                Stop::Done => self.vector.advance(entry.place.origin, entry.place.seq),
                Stop::At(from) => self.rest = Some(Rest { entry, from }),
            }
        }
    }

    /// The entry to go on with; `None`: everything that is shown here is out.
    fn next(&mut self) -> Result<Option<Rest>, ReadError> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        loop {
            if let Some((scan, upto)) = &mut self.round {
                match scan.next() {
                    Some(entry) => {
                        let entry = entry?;
                        let from = match self.partial {
                            Some((place, out)) if place == entry.place => {
                                self.partial = None;
                                out
                            }
                            _ => 0,
                        };
                        return Ok(Some(Rest { entry, from }));
                    }
                    None => {
                        let upto = upto.clone();
                        self.vector.merge(&upto);
                        self.round = None;
                    }
                }
            }
            let applied = self.engine.applied();
            if self.vector.covers(&applied) {
                return Ok(None);
            }
            self.round = Some((self.engine.log().scan(&self.vector, &applied), applied));
        }
    }
}
