//! Which changes lost: asked of the tables' own records while a chunk is rendered.
//!
//! Promises: with a single sequence nothing can lose, and nothing is asked. Readers are held for one chunk. Must not know: merging.

use std::cell::RefCell;
use std::collections::HashMap;

use starling_apply::{Engine, history, readers::Reader};
use starling_log::Place;

pub struct Conflicts<'a> {
    engine: &'a Engine,
    /// More than one sequence has entries.
    possible: bool,
    /// By database; `None`: it is gone.
    readers: RefCell<HashMap<String, Option<Reader>>>,
}

impl<'a> Conflicts<'a> {
    pub fn new(engine: &'a Engine) -> Conflicts<'a> {
        Conflicts {
            possible: engine.applied().iter().filter(|(_, seq)| *seq > 0).count() > 1,
            engine,
            readers: RefCell::default(),
        }
    }

    /// Did the change number `index` of the entry at `place` lose to a later stamp?
    pub fn lost(&self, db: &str, place: Place, index: u32) -> bool {
        if !self.possible {
            return false;
        }
        let mut readers = self.readers.borrow_mut();
        if !readers.contains_key(db) {
            let schema = db.to_lowercase();
            let reader = self.engine.reader(&[&schema]).ok();
            readers.insert(db.to_owned(), reader);
        }
        let Some(Some(reader)) = readers.get(db) else { return false };
        // A database that is gone, or too new to have records, has no losers.
        history::superseded(reader, &db.to_lowercase(), place, index).unwrap_or(false)
    }
}
