//! Messages and records as bytes: compact, versioned, never a panic on garbage.
//!
//! ```text
//! frame  = version u8 │ head │ count │ count × message          (one buffer; bodies are slices of it)
//! record = version u8 │ value          key = kind u8 │ big-endian numbers, so that keys sort by place
//! ```
//!
//! Numbers are varints (seven bits a byte, low bits first); stamps and hashes have fixed width. Promises: what was put comes back
//! equal; lengths are bounded by what is there before anything is allocated. Must not know: sockets, trees.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use starling_log::{Hlc, Place, Stamp, VersionVector};

use super::home::HomeMessage;
use super::ids::{Ballot, Epoch, Outcome, Seat, Version};
use super::message::{Change, Claim, Frame, Gossip, Head, Kind, Level, Message, Mode, No, OpenPlace, Prepare, Settled, Vote};
use super::record::{Block, Own, Peer, Record, RecordKey, State};

const FRAME_VERSION: u8 = 1;
const RECORD_VERSION: u8 = 1;
/// Room made ahead for a list, whatever its length says.
const ROOM_AHEAD: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a quorum message or record is malformed")]
    Contents,
    #[error("a quorum message or record of unknown version {0}")]
    Version(u8),
}

pub trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut Bytes) -> Result<Self, Malformed>;
}

/// The messages of one frame in one buffer.
pub fn encode_frame(head: &Head, messages: &[Message], out: &mut Vec<u8>) {
    out.push(FRAME_VERSION);
    head.put(out);
    put_number(out, messages.len() as u64);
    for message in messages {
        message.put(out);
    }
}

pub fn decode_frame(mut bytes: Bytes) -> Result<Frame, Malformed> {
    version(&mut bytes, FRAME_VERSION)?;
    let head = Head::take(&mut bytes)?;
    let messages = Vec::take(&mut bytes)?;
    finished(&bytes)?;
    Ok(Frame { head, messages })
}

pub fn encode_key(key: &RecordKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(11);
    let mut place = |kind: u8, place: &Place| {
        out.push(kind);
        out.extend_from_slice(&place.origin.to_be_bytes());
        out.extend_from_slice(&place.seq.to_be_bytes());
    };
    match key {
        RecordKey::State(at) => place(5, at),
        RecordKey::Prepare(at) => place(6, at),
        RecordKey::Own => out.push(1),
        RecordKey::Epoch(number) => {
            out.push(2);
            out.extend_from_slice(&number.to_be_bytes());
        }
        RecordKey::Fence(origin) => {
            out.push(3);
            out.extend_from_slice(&origin.to_be_bytes());
        }
        RecordKey::Peer(voter) => {
            out.push(4);
            out.extend_from_slice(&voter.to_be_bytes());
        }
    }
    out
}

/// Key and value of a record.
pub fn encode_record(record: &Record) -> (Vec<u8>, Vec<u8>) {
    let mut out = vec![RECORD_VERSION];
    record.put(&mut out);
    (encode_key(&record.key()), out)
}

pub fn decode_record(mut value: Bytes) -> Result<Record, Malformed> {
    version(&mut value, RECORD_VERSION)?;
    let record = Record::take(&mut value)?;
    finished(&value)?;
    Ok(record)
}

fn version(bytes: &mut Bytes, known: u8) -> Result<(), Malformed> {
    match byte(bytes)? {
        v if v == known => Ok(()),
        v => Err(Malformed::Version(v)),
    }
}

fn finished(rest: &Bytes) -> Result<(), Malformed> {
    if rest.is_empty() { Ok(()) } else { Err(Malformed::Contents) }
}

fn byte(from: &mut Bytes) -> Result<u8, Malformed> {
    if from.has_remaining() {
        Ok(from.get_u8())
    } else {
        Err(Malformed::Contents)
    }
}

pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_number(from: &mut Bytes) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for i in 0..10 {
        let next = byte(from)?;
        let bits = u64::from(next & 0x7f);
        if i == 9 && bits > 1 {
            return Err(Malformed::Contents);
        }
        value |= bits << (7 * i);
        if next & 0x80 == 0 {
            return if next == 0 && i > 0 { Err(Malformed::Contents) } else { Ok(value) };
        }
    }
    Err(Malformed::Contents)
}

macro_rules! numbers {
    ($($kind:ty),*) => { $(
        impl Wire for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                put_number(out, u64::from(*self));
            }
            fn take(from: &mut Bytes) -> Result<Self, Malformed> {
                <$kind>::try_from(take_number(from)?).map_err(|_| Malformed::Contents)
            }
        }
    )* };
}
numbers!(u16, u32, u64);

/// Fields one after the other.
macro_rules! fields {
    ($name:ident { $($field:ident),* }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let $name { $($field),* } = self;
                $($field.put(out);)*
            }
            fn take(from: &mut Bytes) -> Result<Self, Malformed> {
                Ok($name { $($field: Wire::take(from)?),* })
            }
        }
    };
}

/// A number for the variant, then its fields.
macro_rules! variants {
    ($name:ident { $($tag:literal $variant:ident $( ( $($x:ident),* ) )? $( { $($f:ident),* } )?;)* }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($name::$variant $( ( $($x),* ) )? $( { $($f),* } )? => {
                        out.push($tag);
                        $( $($x.put(out);)* )?
                        $( $($f.put(out);)* )?
                    })*
                }
            }
            fn take(from: &mut Bytes) -> Result<Self, Malformed> {
                Ok(match byte(from)? {
                    $($tag => {
                        $( $(let $x = Wire::take(from)?;)* )?
                        $( $(let $f = Wire::take(from)?;)* )?
                        $name::$variant $( ( $($x),* ) )? $( { $($f),* } )?
                    })*
                    _ => return Err(Malformed::Contents),
                })
            }
        }
    };
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        match byte(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Contents),
        }
    }
}

impl Wire for u128 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        if from.remaining() < 16 {
            return Err(Malformed::Contents);
        }
        Ok(from.get_u128_le())
    }
}

impl Wire for Hlc {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        if from.remaining() < 8 {
            return Err(Malformed::Contents);
        }
        Ok(Hlc(from.get_u64_le()))
    }
}

impl Wire for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.len() as u64);
        out.extend_from_slice(self);
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        let n = usize::try_from(take_number(from)?).map_err(|_| Malformed::Contents)?;
        if n > from.remaining() {
            return Err(Malformed::Contents);
        }
        Ok(from.split_to(n))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        Ok(if bool::take(from)? { Some(T::take(from)?) } else { None })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.len() as u64);
        for item in self {
            item.put(out);
        }
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        let count = take_number(from)?;
        // Every item has a byte at least.
        if count > from.remaining() as u64 {
            return Err(Malformed::Contents);
        }
        let mut out = Vec::with_capacity((count as usize).min(ROOM_AHEAD));
        for _ in 0..count {
            out.push(T::take(from)?);
        }
        Ok(out)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        Ok((A::take(from)?, B::take(from)?))
    }
}

impl<T: Wire> Wire for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        T::take(from).map(Arc::new)
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        T::take(from).map(Box::new)
    }
}

impl Wire for VersionVector {
    fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.0.len() as u64);
        for (origin, seq) in &self.0 {
            origin.put(out);
            seq.put(out);
        }
    }
    fn take(from: &mut Bytes) -> Result<Self, Malformed> {
        let list: Vec<(u16, u64)> = Vec::take(from)?;
        // Ascending only: one vector has one form.
        if list.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(Malformed::Contents);
        }
        Ok(VersionVector(list.into_iter().collect()))
    }
}

fields!(Stamp { hlc, origin });
fields!(Place { origin, seq });
fields!(Version { stamp, place });
fields!(Ballot { round, voter });
fields!(Seat { member, voter, one });
fields!(Epoch {
    number,
    seats,
    made,
    causes,
    words
});
fields!(Claim { key, mode, base, at });
fields!(Change { epoch, fences });
fields!(OpenPlace { seq, epoch });
fields!(Prepare {
    place,
    start,
    epoch,
    stamp,
    stable,
    age,
    level,
    open,
    causes,
    claims,
    kind,
    body,
    patience_ms
});
fields!(Gossip {
    start,
    number,
    epoch,
    word,
    words,
    floor,
    applied,
    held,
    seen,
    oldest
});
fields!(Head {
    from,
    start,
    flush,
    settled_below
});
fields!(Block { from, to, epoch });
fields!(Own {
    voter,
    start,
    blocks,
    floor,
    admitted
});
fields!(Peer {
    flush,
    start,
    settled_below
});
fields!(State {
    epoch,
    vote,
    promised,
    accepted
});
variants!(Outcome { 0 Commit; 1 Void; });
variants!(Mode { 0 IntentShared; 1 IntentExclusive; 2 Shared; 3 Reference; 4 Exclusive; 5 Seen; });
variants!(Level { 0 Quorum; 1 All; });
variants!(Kind { 0 Data; 1 Change(change); });
variants!(Vote { 0 Yes; 1 No(no); });
variants!(No {
    0 Held { key, by };
    1 Changed { key, newest };
    2 QueueAtHome { key };
    3 Restamp { above };
    4 Dropped { below };
    5 Early { ms };
    6 Epoch { now };
    7 Start { now };
    8 Fenced { last };
    9 Final { origin, held };
});
variants!(Settled { 0 Known(outcome); 1 Pruned; });
variants!(HomeMessage {
    0 Lock { request, key, age };
    1 Granted { request, key, newest, contended };
    2 Awaited { request, key, age };
    3 Release { request, key, newest };
    4 Queued { request, key };
});
variants!(Message {
    0 Prepare(prepare);
    1 Vote { place, vote };
    2 Parked { place, have };
    3 Accept { place, epoch, ballot, outcome, prepare };
    4 Accepted { place, ballot };
    5 Recover { place, epoch, ballot, want };
    6 Promise { place, ballot, vote, accepted, prepare };
    7 Refused { place, promised };
    8 Learn { place, outcome, prepare };
    9 Ask { place, want };
    10 Settled { place, settled };
    11 Gossip(gossip);
    12 Check { flush };
    13 CheckAnswer { flush, quorum, one };
    14 Home(message);
});
variants!(Record {
    0 Own(own);
    1 Epoch(epoch);
    2 Fence { origin, last, by, decided };
    3 Peer(voter, peer);
    4 State(place, state);
    5 Prepare(prepare);
});
