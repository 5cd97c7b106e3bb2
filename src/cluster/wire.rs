//! Frames of a stream between nodes: length, kind, codec, payload, MAC.
//!
//! ```text
//! length of payload  u32 LE │ kind u8 │ codec u8 (0 plain, 1 unpacked length u32 LE and zstd) │ payload │ MAC 16 bytes
//! MAC = first half of keyed BLAKE3 over (number of the frame u64 LE, length, kind, codec, payload)
//! ```
//!
//! Promises: a frame that is damaged, forged, left out, repeated or out of order is refused, and nothing of it is used; sizes
//! are bounded before anything is allocated. Must not know: sockets, logs.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Payload as it travels.
pub const PAYLOAD_MAX: usize = 16 << 20;
/// Payload after unpacking.
const UNPACKED_MAX: usize = 16 << 20;
/// Below this zstd does not pay.
const PACK_FROM: usize = 2048;
/// Nor here, where somebody waits for each message.
const PACK_MESSAGES_FROM: usize = 32 << 10;
const HEAD: usize = 6;
const MAC: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON: who speaks (first frame of a stream).
    Hello,
    /// Length-prefixed segments of the log.
    Segments,
    /// JSON: how far the speaker is, and its clock.
    Heartbeat,
    /// JSON: the speaker ends the stream on purpose. Without it the stream was cut.
    End,
    /// Messages of transactions ([`super::links`]).
    Txn,
    /// Messages of the failure detector.
    Gossip,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Hello => 1,
            Kind::Segments => 2,
            Kind::Heartbeat => 3,
            Kind::End => 4,
            Kind::Txn => 5,
            Kind::Gossip => 6,
        }
    }
    fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Hello,
            2 => Kind::Segments,
            3 => Kind::Heartbeat,
            4 => Kind::End,
            5 => Kind::Txn,
            6 => Kind::Gossip,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub payload: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a frame is damaged or forged")]
    Mac,
    #[error("a frame of {0} bytes is larger than allowed")]
    TooLarge(usize),
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame of unknown codec {0}")]
    Codec(u8),
    #[error("a frame does not unpack")]
    Unpack,
    #[error("a frame's contents are malformed")]
    Contents,
}

pub struct Encoder {
    key: [u8; 32],
    number: u64,
}

impl Encoder {
    pub fn new(key: [u8; 32]) -> Encoder {
        Encoder { key, number: 0 }
    }

    pub fn encode(&mut self, kind: Kind, payload: &[u8]) -> Result<Bytes, WireError> {
        let pack_from = if kind == Kind::Txn { PACK_MESSAGES_FROM } else { PACK_FROM };
        let packed = if payload.len() >= pack_from { pack(payload) } else { None };
        let (codec, body) = match &packed {
            Some(packed) => (1, packed.as_slice()),
            None => (0, payload),
        };
        if body.len() > PAYLOAD_MAX {
            return Err(WireError::TooLarge(body.len()));
        }
        let mut out = BytesMut::with_capacity(HEAD + body.len() + MAC);
        out.put_u32_le(u32::try_from(body.len()).map_err(|_| WireError::TooLarge(body.len()))?);
        out.put_u8(kind.code());
        out.put_u8(codec);
        out.put_slice(body);
        let mac = frame_mac(&self.key, self.number, &out);
        out.put_slice(&mac);
        self.number += 1;
        Ok(out.freeze())
    }
}

/// `None`: it does not pay.
fn pack(payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = u32::try_from(payload.len()).ok()?.to_le_bytes().to_vec();
    out.extend_from_slice(&zstd::bulk::compress(payload, 1).ok()?);
    (out.len() < payload.len()).then_some(out)
}

/// No more is allocated than the frame says, and it may not say more than is allowed.
fn unpack(mut body: Bytes) -> Result<Bytes, WireError> {
    if body.len() < 4 {
        return Err(WireError::Unpack);
    }
    let length = body.get_u32_le() as usize;
    if length > UNPACKED_MAX {
        return Err(WireError::TooLarge(length));
    }
    let unpacked = zstd::bulk::decompress(&body, length).map_err(|_| WireError::Unpack)?;
    if unpacked.len() != length {
        return Err(WireError::Unpack);
    }
    Ok(Bytes::from(unpacked))
}

fn frame_mac(key: &[u8; 32], number: u64, head_and_body: &[u8]) -> [u8; MAC] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&number.to_le_bytes());
    hasher.update(head_and_body);
    let mut half = [0; MAC];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..MAC]);
    half
}

/// No early exit: the time does not tell where two MACs differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

pub struct Decoder {
    key: [u8; 32],
    number: u64,
    buffer: BytesMut,
}

impl Decoder {
    pub fn new(key: [u8; 32]) -> Decoder {
        Decoder {
            key,
            number: 0,
            buffer: BytesMut::new(),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None`: more bytes are needed. After an error the stream is of no more use.
    pub fn take(&mut self) -> Result<Option<Frame>, WireError> {
        if self.buffer.len() < HEAD {
            return Ok(None);
        }
        let length = u32::from_le_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]) as usize;
        let (kind, codec) = (self.buffer[4], self.buffer[5]);
        if length > PAYLOAD_MAX {
            return Err(WireError::TooLarge(length));
        }
        let whole = HEAD + length + MAC;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(whole).freeze();
        let mac = frame.split_off(HEAD + length);
        if !same(&frame_mac(&self.key, self.number, &frame), &mac) {
            return Err(WireError::Mac);
        }
        self.number += 1;
        let kind = Kind::from_code(kind).ok_or(WireError::Kind(kind))?;
        let body = frame.slice(HEAD..);
        let payload = match codec {
            0 => body,
            1 => unpack(body)?,
            other => return Err(WireError::Codec(other)),
        };
        Ok(Some(Frame { kind, payload }))
    }
}

/// Segments in groups that make a frame each: a large entry has more parts than one frame takes.
pub fn groups(segments: &[Bytes], bytes_max: usize) -> impl Iterator<Item = &[Bytes]> {
    let mut rest = segments;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fit = rest.iter().take_while(|s| {
            bytes += s.len() + 4;
            bytes <= bytes_max
        });
        let (group, left) = rest.split_at_checked(fit.count().max(1))?;
        rest = left;
        Some(group)
    })
}

/// Several segments as one payload.
pub fn pack_segments(segments: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(segments.iter().map(|s| s.len() + 4).sum());
    for segment in segments {
        out.extend_from_slice(&(segment.len() as u32).to_le_bytes());
        out.extend_from_slice(segment);
    }
    out
}

/// Without copying.
pub fn unpack_segments(mut payload: Bytes) -> Result<Vec<Bytes>, WireError> {
    let mut segments = Vec::new();
    while !payload.is_empty() {
        if payload.len() < 4 {
            return Err(WireError::Contents);
        }
        let length = payload.get_u32_le() as usize;
        if payload.len() < length {
            return Err(WireError::Contents);
        }
        segments.push(payload.split_to(length));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, WireError> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.take()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn frames_come_back_from_any_cut() {
        let mut encoder = Encoder::new(KEY);
        let long = b"starling ".repeat(1000);
        let mut bytes = Vec::new();
        for (kind, payload) in [
            (Kind::Hello, &b"{}"[..]),
            (Kind::Segments, &long),
            (Kind::Heartbeat, b""),
            (Kind::End, b"x"),
        ] {
            bytes.extend_from_slice(&encoder.encode(kind, payload).unwrap());
        }
        assert!(bytes.len() < long.len() / 2, "long payloads are packed");
        for step in [1, 7, bytes.len()] {
            let mut decoder = Decoder::new(KEY);
            let mut frames = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.push(piece);
                frames.extend(all(&mut decoder).unwrap());
            }
            assert_eq!(frames.len(), 4);
            assert_eq!(frames[1].payload, long);
            assert_eq!(frames[3].kind, Kind::End);
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let good = Encoder::new(KEY).encode(Kind::Heartbeat, b"payload").unwrap();
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x10;
            let mut decoder = Decoder::new(KEY);
            decoder.push(&bad);
            // A longer length only waits for more; every other change is an error.
            assert!(!matches!(decoder.take(), Ok(Some(_))), "byte {at}");
        }
    }

    #[test]
    fn repeated_left_out_and_foreign_frames_are_refused() {
        let mut encoder = Encoder::new(KEY);
        let (first, second) = (
            encoder.encode(Kind::Hello, b"1").unwrap(),
            encoder.encode(Kind::Hello, b"2").unwrap(),
        );
        let mut decoder = Decoder::new(KEY);
        decoder.push(&first);
        decoder.push(&first);
        assert!(decoder.take().unwrap().is_some());
        assert_eq!(decoder.take(), Err(WireError::Mac));
        let mut decoder = Decoder::new(KEY);
        decoder.push(&second);
        assert_eq!(decoder.take(), Err(WireError::Mac));
        let mut decoder = Decoder::new([8; 32]);
        decoder.push(&first);
        assert_eq!(decoder.take(), Err(WireError::Mac));
    }

    #[test]
    fn a_huge_length_is_refused_before_it_is_allocated() {
        let mut decoder = Decoder::new(KEY);
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 1, 0]);
        assert!(matches!(decoder.take(), Err(WireError::TooLarge(_))));
    }

    #[test]
    fn groups_keep_order_and_leave_nothing_out() {
        let segments: Vec<Bytes> = [3usize, 3, 3, 50, 1].iter().map(|n| Bytes::from(vec![0; *n])).collect();
        let sizes: Vec<Vec<usize>> = groups(&segments, 14).map(|g| g.iter().map(Bytes::len).collect()).collect();
        assert_eq!(sizes, [vec![3, 3], vec![3], vec![50], vec![1]]);
        assert_eq!(groups(&[], 14).count(), 0);
    }

    #[test]
    fn segments_survive_packing() {
        let segments = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"three")];
        let packed = Bytes::from(pack_segments(&segments));
        assert_eq!(unpack_segments(packed.clone()).unwrap(), segments);
        assert_eq!(unpack_segments(packed.slice(..packed.len() - 1)), Err(WireError::Contents));
    }
}
