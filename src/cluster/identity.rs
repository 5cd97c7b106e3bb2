//! Who this node is, kept in its own log: it is as durable as what it signs.
//!
//! Promises: a node's identity, cluster and origins are durable before they are used; an origin stands for one incarnation.
//! Must not know: how origins are handed out.

use serde::{Deserialize, Serialize};
use starling_log::{AppendError, Log, Origin};

use super::members::Id;

const KEY: &str = "identity";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub node: Id,
    /// `None`: not admitted anywhere yet.
    pub cluster: Option<Id>,
    pub member: Option<u32>,
    pub origins: Option<[Origin; 2]>,
    /// Which incarnation of this log the origins stand for.
    pub incarnation: Id,
    /// Origins that have lost entries here: new ones are to be had before anything is written.
    #[serde(default)]
    pub lost: Option<[Origin; 2]>,
    /// They were lost because this node was removed from its cluster.
    #[serde(default)]
    pub removed: bool,
    /// The address that peers were told last, and how often it changed: the newest one wins.
    #[serde(default)]
    pub addr: String,
    #[serde(default)]
    pub addr_version: u64,
}

impl Identity {
    /// A node that founds a cluster of its own.
    pub fn founder() -> Identity {
        Identity {
            cluster: Some(Id::random()),
            member: Some(1),
            origins: Some([1, 2]),
            ..Identity::applicant()
        }
    }

    /// A node that is going to join one.
    pub fn applicant() -> Identity {
        Identity {
            node: Id::random(),
            cluster: None,
            member: None,
            origins: None,
            incarnation: Id::random(),
            lost: None,
            removed: false,
            addr: String::new(),
            addr_version: 0,
        }
    }

    pub fn is_founder(&self) -> bool {
        self.member == Some(1)
    }

    /// The origins that may be written to.
    pub fn whole_origins(&self) -> Option<[Origin; 2]> {
        if self.lost.is_some() { None } else { self.origins }
    }

    /// `None`: this log never had an owner.
    pub fn load(log: &Log) -> Result<Option<Identity>, serde_json::Error> {
        log.meta(KEY).map(|bytes| serde_json::from_slice(&bytes)).transpose()
    }

    /// Durable on return.
    pub fn save(&self, log: &Log) -> Result<(), AppendError> {
        let bytes = serde_json::to_vec(self).map_err(|e| AppendError::Poisoned(format!("identity does not encode: {e}")))?;
        log.put_meta(KEY, &bytes)
    }

    /// Peers are told `addr` from now on. `true`: it changed.
    pub fn advertise(&mut self, addr: &str) -> bool {
        if self.addr == addr {
            return false;
        }
        self.addr = addr.to_owned();
        self.addr_version += 1;
        true
    }
}

/// PROTOCOL 2, for the sequence at `ONE`: is there a place of ours, or a flush, that others know and this log does not? (Others may
/// learn entries of the quorum sequence first: the deciding code judges that one.)
pub fn lost_entries(mine: &Holding, others: &[Holding]) -> Option<String> {
    for other in others {
        for (origin, theirs) in &other.places {
            let ours = mine.places.iter().find(|(o, _)| o == origin).map_or(0, |(_, seq)| *seq);
            if *theirs > ours {
                return Some(format!("a peer holds {theirs} entries of origin {origin}, this log only {ours}"));
            }
        }
        if other.flush > mine.flush {
            return Some(format!("a peer knows of flush {}, this log only of {}", other.flush, mine.flush));
        }
    }
    None
}

/// How much somebody holds of a node's origins, and the highest flush number it knows of that node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    pub places: Vec<(Origin, u64)>,
    pub flush: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(seq: u64, flush: u64) -> Holding {
        Holding {
            places: vec![(3, seq), (4, 0)],
            flush,
        }
    }

    #[test]
    fn amnesia_is_seen_by_places_and_by_flushes() {
        let mine = holding(10, 50);
        assert_eq!(lost_entries(&mine, &[]), None);
        assert_eq!(lost_entries(&mine, &[holding(10, 50), holding(4, 0)]), None);
        assert!(lost_entries(&mine, &[holding(4, 0), holding(11, 0)]).is_some());
        assert!(lost_entries(&mine, &[holding(10, 51)]).is_some());
        assert!(lost_entries(&Holding::default(), &[holding(1, 0)]).is_some());
    }

    #[test]
    fn a_new_address_gets_a_new_version() {
        let mut identity = Identity::founder();
        assert!(identity.advertise("a:1"));
        assert!(!identity.advertise("a:1"));
        assert!(identity.advertise("a:2"));
        assert_eq!(identity.addr_version, 2);
    }

    #[test]
    fn lost_origins_are_not_written_to() {
        let mut identity = Identity::founder();
        assert_eq!(identity.whole_origins(), Some([1, 2]));
        identity.lost = identity.origins;
        assert_eq!(identity.whole_origins(), None);
    }
}
