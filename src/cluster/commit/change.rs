//! A change of members as it stands in the log: a control entry of its own kind.
//!
//! Promises: the same change gives the same bytes on every node (each writes the entry from its own prepared copy). Must not know:
//! who asked for it.

use serde::{Deserialize, Serialize};
use starling_log::{Control, Origin};

use crate::cluster::quorum::{Change, Epoch, Seat, Version, Voter};

/// The kind of such control entries.
pub const KIND: &str = "epoch";

#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    epoch: Option<EpochPayload>,
    fences: Vec<(Origin, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EpochPayload {
    number: u64,
    seats: Vec<SeatPayload>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SeatPayload {
    member: u32,
    voter: Voter,
    one: Origin,
}

/// The entry's body.
pub fn control(change: &Change) -> Result<Control, serde_json::Error> {
    let payload = Payload {
        epoch: change.epoch.as_ref().map(|epoch| EpochPayload {
            number: epoch.number,
            seats: epoch
                .seats
                .iter()
                .map(|s| SeatPayload {
                    member: s.member,
                    voter: s.voter,
                    one: s.one,
                })
                .collect(),
        }),
        fences: change.fences.clone(),
    };
    Ok(Control {
        kind: KIND.to_owned(),
        payload: serde_json::to_vec(&payload)?,
    })
}

/// `made`: the entry that it stands in.
pub fn parse(payload: &[u8], made: Version) -> Result<Change, serde_json::Error> {
    let payload: Payload = serde_json::from_slice(payload)?;
    let epoch = payload.epoch.map(|epoch| {
        let seats = epoch.seats.into_iter().map(|s| Seat {
            member: s.member,
            voter: s.voter,
            one: s.one,
        });
        Epoch::new(epoch.number, seats.collect(), made)
    });
    Ok(Change {
        epoch,
        fences: payload.fences,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back_from_its_entry() {
        let seat = |member: u32| Seat {
            member,
            voter: member as Voter * 2,
            one: member as Origin * 2 - 1,
        };
        let change = Change {
            epoch: Some(Epoch::new(3, vec![seat(2), seat(1)], Version::default())),
            fences: vec![(5, 70)],
        };
        let control = control(&change).unwrap();
        assert_eq!(control.kind, KIND);
        assert_eq!(parse(&control.payload, Version::default()).unwrap(), change);
        assert!(parse(b"{", Version::default()).is_err());
    }
}
