//! What nodes say to each other about named locks, as bytes: one fixed head, then the name.
//!
//! `kind u8 │ number u64 │ session u32 │ age 2 × u64 │ owner u128, u32 │ name`, little-endian. Garbage is `None`, never a panic.

use bytes::{Buf, BufMut, Bytes};

use super::voter::{Age, Owner};
use crate::cluster::members::Id;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `session` of the sender wants (or keeps) the vote; `number`: when it was sent, by the sender's clock.
    Want = 1,
    /// `session` of the receiver has it; `number`: of the Want it answers, 0 if it answers none.
    Yes = 2,
    /// `owner` has it (session 0: nobody may have it yet).
    No = 3,
    LetGo = 4,
    /// Gives it back to who is older, and waits on.
    Later = 5,
    /// Who has it? `number` comes back.
    Who = 6,
    Has = 7,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    pub number: u64,
    pub session: u32,
    pub age: Age,
    pub owner: Owner,
    pub name: String,
}

const HEAD: usize = 1 + 8 + 4 + 16 + 20;
pub const NOBODY: Owner = Owner { node: Id(0), session: 0 };

impl Message {
    pub fn new(kind: Kind, name: &str) -> Message {
        Message {
            kind,
            number: 0,
            session: 0,
            age: (0, 0),
            owner: NOBODY,
            name: name.to_owned(),
        }
    }
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.name.len());
        out.put_u8(self.kind as u8);
        out.put_u64_le(self.number);
        out.put_u32_le(self.session);
        out.put_u64_le(self.age.0);
        out.put_u64_le(self.age.1);
        out.put_u128_le(self.owner.node.0);
        out.put_u32_le(self.owner.session);
        out.put_slice(self.name.as_bytes());
        out
    }
    pub fn decode(mut bytes: Bytes) -> Option<Message> {
        if bytes.len() < HEAD {
            return None;
        }
        let kind = match bytes.get_u8() {
            1 => Kind::Want,
            2 => Kind::Yes,
            3 => Kind::No,
            4 => Kind::LetGo,
            5 => Kind::Later,
            6 => Kind::Who,
            7 => Kind::Has,
            _ => return None,
        };
        Some(Message {
            kind,
            number: bytes.get_u64_le(),
            session: bytes.get_u32_le(),
            age: (bytes.get_u64_le(), bytes.get_u64_le()),
            owner: Owner {
                node: Id(bytes.get_u128_le()),
                session: bytes.get_u32_le(),
            },
            name: String::from_utf8(bytes.to_vec()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_garbage_is_none() {
        let message = Message {
            number: 7,
            session: 3,
            age: (1, 2),
            owner: Owner { node: Id(9), session: 4 },
            ..Message::new(Kind::No, "a lock")
        };
        let bytes = Bytes::from(message.encode());
        assert_eq!(Message::decode(bytes.clone()), Some(message));
        for cut in 0..HEAD {
            assert_eq!(Message::decode(bytes.slice(..cut)), None);
        }
        let mut bad = bytes.to_vec();
        bad[0] = 99;
        assert_eq!(Message::decode(bad.into()), None);
    }
}
