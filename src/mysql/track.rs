//! What changed in a session, as OK packets carry it (protocol's "session state information").
//!
//! One entry for each change: a type, a length, and what the type says. Order as MySQL sends them. Must not know: sessions.

use super::wire::{put_lenenc, put_lenenc_bytes};
use crate::sql::result::Changes;

const SYSTEM_VARIABLE: u8 = 0;
const SCHEMA: u8 = 1;
const STATE: u8 = 2;
const GTIDS: u8 = 3;
const TRANSACTION_CHARACTERISTICS: u8 = 4;
const TRANSACTION_STATE: u8 = 5;
/// How GTIDs are written: as text.
const GTIDS_AS_TEXT: u8 = 0;

/// All entries, one behind the other.
pub fn encode(changes: &Changes) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    for (name, value) in &changes.variables {
        entry(&mut out, SYSTEM_VARIABLE, |data| {
            put_lenenc_bytes(data, name.as_bytes());
            put_lenenc_bytes(data, value.as_bytes());
        });
    }
    if let Some(schema) = &changes.schema {
        entry(&mut out, SCHEMA, |data| put_lenenc_bytes(data, schema.as_bytes()));
    }
    if changes.state {
        entry(&mut out, STATE, |data| data.push(b'1'));
    }
    if let Some(gtids) = &changes.gtids {
        entry(&mut out, GTIDS, |data| {
            data.push(GTIDS_AS_TEXT);
            put_lenenc_bytes(data, gtids.as_bytes());
        });
    }
    if let Some(state) = &changes.transaction {
        entry(&mut out, TRANSACTION_STATE, |data| put_lenenc_bytes(data, state));
    }
    if let Some(opening) = &changes.opening {
        entry(&mut out, TRANSACTION_CHARACTERISTICS, |data| {
            put_lenenc_bytes(data, opening.as_bytes())
        });
    }
    out
}

fn entry(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut data = Vec::new();
    fill(&mut data);
    out.push(kind);
    put_lenenc(out, data.len() as u64);
    out.extend_from_slice(&data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_as_the_manual_shows_them() {
        let one = |changes: Changes| encode(&changes);
        let variables = vec![("autocommit", "OFF".to_owned())];
        assert_eq!(
            one(Changes {
                variables,
                ..Changes::default()
            }),
            b"\x00\x0f\x0aautocommit\x03OFF"
        );
        let schema = Some("test".to_owned());
        assert_eq!(
            one(Changes {
                schema,
                ..Changes::default()
            }),
            b"\x01\x05\x04test"
        );
        assert_eq!(
            one(Changes {
                state: true,
                ..Changes::default()
            }),
            b"\x02\x011"
        );
        let gtids = Some("u:1".to_owned());
        assert_eq!(
            one(Changes {
                gtids,
                ..Changes::default()
            }),
            b"\x03\x05\x00\x03u:1"
        );
        let both = Changes {
            transaction: Some(*b"T_______"),
            opening: Some(String::new()),
            ..Changes::default()
        };
        assert_eq!(one(both), b"\x05\x09\x08T_______\x04\x01\x00");
    }
}
