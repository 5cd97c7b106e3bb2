//! What changed in a session since its client was told (MySQL's session trackers): variables, the default database, GTIDs, the
//! transaction's state.
//!
//! Promises: nothing is gathered for clients that did not ask for it (CLIENT_SESSION_TRACK); what a failed statement changed is told with
//! the next OK. Must not know: packets.

use std::collections::BTreeSet;

use starling_log::Place;

use super::Session;
use crate::sql::ast::{Scope, SetStatement};
use crate::sql::gtid::GtidSet;
use crate::sql::result::Changes;
use crate::sql::vars::{self, Isolation, TrackGtids, TrackInfo, shown};

/// No transaction, no tables locked.
const NOTHING: [u8; 8] = *b"________";

#[derive(Debug)]
pub struct Track {
    on: bool,
    variables: BTreeSet<usize>,
    schema: bool,
    state: bool,
    /// Committed since the client was told.
    places: Vec<Place>,
    open: Open,
    told: [u8; 8],
    told_opening: String,
}

/// The open transaction, as its client is told of it.
#[derive(Debug, Default)]
struct Open {
    explicit: bool,
    read: bool,
    wrote: bool,
    sent: bool,
    /// The statements that open one like it.
    opening: String,
}

impl Default for Track {
    fn default() -> Track {
        Track {
            on: false,
            variables: BTreeSet::new(),
            schema: false,
            state: false,
            places: Vec::new(),
            open: Open::default(),
            told: NOTHING,
            told_opening: String::new(),
        }
    }
}

impl Track {
    /// The client understands what it is told.
    pub fn turn_on(&mut self) {
        self.on = true;
    }
    pub fn is_on(&self) -> bool {
        self.on
    }
    /// The session begins anew.
    pub fn reset(&mut self) {
        let (on, told) = (self.on, self.told);
        *self = Track {
            on,
            told,
            told_opening: std::mem::take(&mut self.told_opening),
            ..Track::default()
        };
    }
    pub fn used(&mut self) {
        self.schema = true;
        self.state = true;
    }
    pub fn prepared(&mut self) {
        self.state = true;
    }
    pub fn committed(&mut self, place: Option<Place>) {
        if self.on {
            self.places.extend(place);
        }
    }
    /// SET took effect.
    pub fn set(&mut self, list: &[SetStatement]) {
        if !self.on {
            return;
        }
        self.state = true;
        let mut note = |name: &str| {
            if let Ok(index) = vars::find(name) {
                self.variables.insert(index);
            }
        };
        for one in list {
            match one {
                SetStatement::System {
                    scope: None | Some(Scope::Session),
                    name,
                    ..
                } => note(name),
                SetStatement::Names { .. } | SetStatement::Charset(_) => {
                    ["character_set_client", "character_set_connection", "character_set_results"]
                        .iter()
                        .for_each(|n| note(n));
                }
                _ => {}
            }
        }
    }
    /// A transaction was opened; `opening`: the statements that open one like it.
    pub fn opened(&mut self, explicit: bool, opening: String) {
        self.open = Open {
            explicit,
            opening,
            ..Open::default()
        };
    }
    pub fn read(&mut self, rows: u64) {
        self.open.read = true;
        self.open.sent |= rows > 0;
    }
    pub fn wrote(&mut self) {
        self.open.wrote = true;
    }
}

fn set_isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; ",
        Isolation::RepeatableRead => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; ",
        Isolation::Serializable => "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; ",
    }
}

fn access(read_only: bool) -> &'static str {
    if read_only { "READ ONLY" } else { "READ WRITE" }
}

impl Session {
    /// The statements that open a transaction like the one that opens now.
    pub fn opening(&self, read_only: Option<bool>, snapshot: bool) -> String {
        if !self.track.is_on() {
            return String::new();
        }
        let next = &self.next_transaction;
        let mut text = next.isolation.map(set_isolation).unwrap_or_default().to_string();
        text.push_str("START TRANSACTION");
        let access = read_only.or(next.read_only).map(access);
        match (snapshot, access) {
            (true, Some(access)) => text.push_str(&format!(" WITH CONSISTENT SNAPSHOT, {access}")),
            (true, None) => text.push_str(" WITH CONSISTENT SNAPSHOT"),
            (false, Some(access)) => text.push_str(&format!(" {access}")),
            (false, None) => {}
        }
        text.push(';');
        text
    }

    /// What changed since the last call, for the next OK. `None`: nothing.
    pub fn take_changes(&mut self) -> Option<Box<Changes>> {
        let own = self.transaction.take_places();
        if !self.track.on {
            return None;
        }
        self.track.places.extend(own);
        let changes = Changes {
            variables: self.changed_variables(),
            schema: self.changed_schema(),
            state: std::mem::take(&mut self.track.state) && self.settings().track_state,
            gtids: self.new_gtids(),
            transaction: self.changed_transaction(),
            opening: self.changed_opening(),
        };
        (changes != Changes::default()).then(|| Box::new(changes))
    }

    fn changed_variables(&mut self) -> Vec<(&'static str, String)> {
        let touched = std::mem::take(&mut self.track.variables);
        let tracked = &self.settings().tracked;
        let wanted = |name: &str| tracked.split(',').any(|t| t.trim() == "*" || t.trim().eq_ignore_ascii_case(name));
        let touched = touched.into_iter().map(|index| (index, vars::DEFS[index].name));
        let touched = touched.filter(|(_, name)| wanted(name));
        touched
            .map(|(index, name)| (name, shown(index, &self.vars.session(index)).unwrap_or_default()))
            .collect()
    }
    fn changed_schema(&mut self) -> Option<String> {
        let used = std::mem::take(&mut self.track.schema) && self.settings().track_schema;
        used.then(|| self.database.as_deref().unwrap_or_default().to_owned())
    }
    fn new_gtids(&mut self) -> Option<String> {
        let places = std::mem::take(&mut self.track.places);
        match self.settings().track_gtids {
            TrackGtids::Own if !places.is_empty() => {
                let cluster = self.server.cluster.cluster_id()?;
                Some(GtidSet::of_places(cluster, &places).to_string())
            }
            TrackGtids::All if !self.transaction.is_open() => Some(self.server.executed().to_string()),
            _ => None,
        }
    }
    fn changed_transaction(&mut self) -> Option<[u8; 8]> {
        if self.settings().track_info == TrackInfo::Off {
            return None;
        }
        let mut state = NOTHING;
        let open = &self.track.open;
        if self.transaction.is_open() {
            state[0] = if open.explicit { b'T' } else { b'I' };
            for (at, set, letter) in [(2, open.read, b'R'), (4, open.wrote, b'W'), (6, open.sent, b'S')] {
                if set {
                    state[at] = letter;
                }
            }
        }
        if self.transaction.has_locked_tables() {
            state[7] = b'L';
        }
        (std::mem::replace(&mut self.track.told, state) != state).then_some(state)
    }
    fn changed_opening(&mut self) -> Option<String> {
        if self.settings().track_info != TrackInfo::Characteristics {
            return None;
        }
        let opening = if self.transaction.is_open() {
            self.track.open.opening.clone()
        } else {
            let next = &self.next_transaction;
            let mut text = next.isolation.map(set_isolation).unwrap_or_default().to_string();
            if let Some(read_only) = next.read_only {
                text.push_str(&format!("SET TRANSACTION {};", access(read_only)));
            }
            text.trim_end().to_string()
        };
        let told = std::mem::replace(&mut self.track.told_opening, opening.clone());
        (told != opening).then_some(opening)
    }
}
