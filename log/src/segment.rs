//! Segments: entries as they are stored and as they travel. Byte by byte in `log/README.md`.
//!
//! Promises: the checksum over a whole segment is verified before anything in it is believed; unknown versions are refused
//! by number; an entry's archive and its hash do not depend on which segment carries it. Must not know: stores, flushes.

mod v1;

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Hlc, Stamp};
use crate::entry::{Body, Entry};
use crate::value::Malformed;
use crate::varint;
use crate::vector::{Origin, Place, VersionVector};

/// Uncompressed bytes of frames in one segment, at most. sled writes a page of up to 17 values above 128 KiB into a file of its
/// own, which nothing ever syncs: 17 of ours must stay below that.
pub const BODY_MAX: usize = 7 << 10;
/// An entry's archive, at most: a transaction beyond this does not fit into memory several times over either.
pub const ENTRY_MAX: usize = 256 << 20;
/// The highest version this program reads.
pub const VERSION_MAX: u8 = v1::VERSION;

pub(crate) const MAGIC: [u8; 4] = *b"StSg";
const HEADER: usize = 40;
const SUM_AT: usize = 36;
const CODEC_RAW: u8 = 0;
const CODEC_LZ4: u8 = 1;
/// Smaller bodies are not worth the time.
const COMPRESS_FROM: usize = 3 << 10;
/// Length and time of a frame.
const FRAME_HEAD: usize = 4 + 8;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("segment version {0} is unknown")]
    Version(u8),
    #[error("damaged segment: {0}")]
    Damaged(&'static str),
}

impl From<Malformed> for SegmentError {
    fn from(_: Malformed) -> SegmentError {
        SegmentError::Damaged("malformed entry")
    }
}

/// What stands in front of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub origin: Origin,
    pub first: u64,
    /// Entries in it; 1 in every part of a large entry.
    pub count: u32,
    /// The number of the flush by which its author made it durable.
    pub flush: u64,
    /// 0 of 1, or the place among the parts of one large entry.
    pub part: u16,
    pub parts: u16,
    codec: u8,
    raw: u32,
}

impl Header {
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }
    /// Does an entry become whole with this part?
    pub fn commits(&self) -> bool {
        self.part + 1 == self.parts
    }
}

/// The archive of one entry's body, made by its author before the place and stamp are known.
pub(crate) fn encode_body(out: &mut Vec<u8>, schema: u64, body: &Body) -> Result<(), Malformed> {
    body.validate()?;
    v1::put_body(out, schema, body)
}

/// A body as it stands in segments, for what travels before it has a place: (schema version, body).
pub fn pack_body(schema: u64, body: &Body) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    encode_body(&mut out, schema, body)?;
    Ok(out)
}

/// What `pack_body` made, every byte of it checked.
pub fn unpack_body(bytes: &[u8]) -> Result<(u64, Body), Malformed> {
    v1::read_body(bytes)
}

/// One entry as a segment carries it.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub place: Place,
    pub hlc: Hlc,
    pub causes: &'a VersionVector,
    pub archive: &'a [u8],
}

impl Frame<'_> {
    /// The identity of an entry's content: the same in every segment, on every node.
    pub(crate) fn hash(&self, scratch: &mut Vec<u8>) -> u128 {
        scratch.clear();
        scratch.extend_from_slice(&self.place.origin.to_le_bytes());
        scratch.extend_from_slice(&self.place.seq.to_le_bytes());
        scratch.extend_from_slice(&self.hlc.0.to_le_bytes());
        scratch.extend_from_slice(&xxhash_rust::xxh3::xxh3_128(self.archive).to_le_bytes());
        self.causes.put(scratch);
        xxhash_rust::xxh3::xxh3_128(scratch)
    }
}

/// Builds the segments of one origin, one entry after the other.
pub(crate) struct Builder {
    origin: Origin,
    flush: u64,
    first: u64,
    count: u32,
    body: Vec<u8>,
    previous: VersionVector,
}

/// A finished segment (or part), and the seqs it holds.
pub(crate) struct Built {
    pub header: Header,
    pub bytes: Bytes,
}

impl Builder {
    pub(crate) fn new(origin: Origin, flush: u64) -> Builder {
        Builder {
            origin,
            flush,
            first: 0,
            count: 0,
            body: Vec::new(),
            previous: VersionVector::new(),
        }
    }

    /// Adds an entry; what no longer fits together is handed to `done` as finished segments.
    pub(crate) fn push(&mut self, frame: Frame<'_>, done: &mut Vec<Built>) {
        let room = FRAME_HEAD + frame.archive.len() + frame.causes.0.len() * 12 + 3;
        if self.count > 0 && self.body.len() + room > BODY_MAX {
            self.finish(done);
        }
        if self.count == 0 {
            self.first = frame.place.seq;
            self.body.reserve(room);
        }
        let at = self.body.len();
        self.body.extend_from_slice(&[0; 4]);
        self.body.extend_from_slice(&frame.hlc.0.to_le_bytes());
        put_causes(&mut self.body, &self.previous, frame.causes);
        self.body.extend_from_slice(frame.archive);
        let length = (self.body.len() - at - 4) as u32;
        self.body[at..at + 4].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
        if self.previous != *frame.causes {
            self.previous.clone_from(frame.causes);
        }
        if self.body.len() > BODY_MAX {
            self.finish_parts(done);
        }
    }

    /// Closes the segment under way, if any.
    pub(crate) fn finish(&mut self, done: &mut Vec<Built>) {
        if self.count == 0 {
            return;
        }
        let body = std::mem::take(&mut self.body);
        done.push(self.build(&body, 0, 1));
        self.reset(body);
    }

    /// A single entry larger than a segment.
    fn finish_parts(&mut self, done: &mut Vec<Built>) {
        let body = std::mem::take(&mut self.body);
        let parts = body.len().div_ceil(BODY_MAX) as u16;
        for (part, piece) in body.chunks(BODY_MAX).enumerate() {
            done.push(self.build(piece, part as u16, parts));
        }
        self.reset(Vec::new());
    }

    fn reset(&mut self, mut body: Vec<u8>) {
        body.clear();
        self.body = body;
        self.count = 0;
        self.previous.0.clear();
    }

    fn build(&self, body: &[u8], part: u16, parts: u16) -> Built {
        let mut header = Header {
            origin: self.origin,
            first: self.first,
            count: self.count,
            flush: self.flush,
            part,
            parts,
            codec: CODEC_RAW,
            raw: body.len() as u32,
        };
        let packed = compress(body);
        if packed.is_some() {
            header.codec = CODEC_LZ4;
        }
        Built {
            header,
            bytes: seal(&header, packed.as_deref().unwrap_or(body)),
        }
    }
}

/// `None` where it would not save an eighth.
fn compress(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < COMPRESS_FROM {
        return None;
    }
    let packed = lz4_flex::block::compress(body);
    (packed.len() < body.len() - body.len() / 8).then_some(packed)
}

fn seal(header: &Header, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend_from_slice(&MAGIC);
    out.push(v1::VERSION);
    out.push(header.codec);
    out.extend_from_slice(&header.origin.to_le_bytes());
    out.extend_from_slice(&header.first.to_le_bytes());
    out.extend_from_slice(&header.flush.to_le_bytes());
    out.extend_from_slice(&header.count.to_le_bytes());
    out.extend_from_slice(&header.part.to_le_bytes());
    out.extend_from_slice(&header.parts.to_le_bytes());
    out.extend_from_slice(&header.raw.to_le_bytes());
    let sum = checksum(&out, body);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(body);
    Bytes::from(out)
}

/// Over everything but itself.
fn checksum(head: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), body)
}

fn put_causes(out: &mut Vec<u8>, previous: &VersionVector, causes: &VersionVector) {
    let changed = || causes.iter().filter(|(o, s)| previous.get(*o) != *s);
    let gone = || previous.iter().filter(|(o, _)| causes.get(*o) == 0);
    varint::put(out, (changed().count() + gone().count()) as u64);
    for (origin, seq) in changed().chain(gone().map(|(o, _)| (o, 0))) {
        varint::put(out, u64::from(origin));
        varint::put(out, seq);
    }
}

fn take_causes(rest: &mut &[u8], causes: &mut VersionVector) -> Result<(), Malformed> {
    for _ in 0..varint::take(rest)? {
        let origin = Origin::try_from(varint::take(rest)?).map_err(|_| Malformed)?;
        match varint::take(rest)? {
            0 => causes.0.remove(&origin),
            seq => causes.0.insert(origin, seq),
        };
    }
    Ok(())
}

fn le<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Reads and checks a segment's header and its checksum: from here on its bytes may be believed.
pub fn header(bytes: &[u8]) -> Result<Header, SegmentError> {
    if bytes.len() < HEADER || bytes[..4] != MAGIC {
        return Err(SegmentError::Damaged("not a segment"));
    }
    if bytes[4] == 0 || bytes[4] > VERSION_MAX {
        return Err(SegmentError::Version(bytes[4]));
    }
    if checksum(&bytes[..SUM_AT], &bytes[HEADER..]) != u32::from_le_bytes(le(bytes, SUM_AT)) {
        return Err(SegmentError::Damaged("wrong checksum"));
    }
    peek(bytes).ok_or(SegmentError::Damaged("impossible header"))
}

/// The header alone, sane but not checked against the checksum (for what is only counted, as in retention).
pub(crate) fn peek(bytes: &[u8]) -> Option<Header> {
    if bytes.len() < HEADER || bytes[..4] != MAGIC || bytes[4] == 0 || bytes[4] > VERSION_MAX {
        return None;
    }
    let header = Header {
        codec: bytes[5],
        origin: u16::from_le_bytes(le(bytes, 6)),
        first: u64::from_le_bytes(le(bytes, 8)),
        flush: u64::from_le_bytes(le(bytes, 16)),
        count: u32::from_le_bytes(le(bytes, 24)),
        part: u16::from_le_bytes(le(bytes, 28)),
        parts: u16::from_le_bytes(le(bytes, 30)),
        raw: u32::from_le_bytes(le(bytes, 32)),
    };
    let sound = header.codec <= CODEC_LZ4
        && header.first > 0
        && header.count > 0
        && header.first.checked_add(u64::from(header.count)).is_some()
        && header.part < header.parts
        && (header.parts == 1 || header.count == 1)
        && header.raw as usize <= BODY_MAX
        && (header.codec == CODEC_LZ4 || header.raw as usize == bytes.len() - HEADER);
    sound.then_some(header)
}

/// The frames of one checked segment, uncompressed; of a large entry, one part of its frame.
fn body(header: &Header, bytes: &Bytes) -> Result<Bytes, SegmentError> {
    let stored = bytes.slice(HEADER..);
    if header.codec == CODEC_RAW {
        return Ok(stored);
    }
    let raw = lz4_flex::block::decompress(&stored, header.raw as usize).map_err(|_| SegmentError::Damaged("bad compression"))?;
    if raw.len() != header.raw as usize {
        return Err(SegmentError::Damaged("bad compression"));
    }
    Ok(Bytes::from(raw))
}

/// A whole segment, or all parts of a large entry, checked and taken apart.
pub struct Decoded {
    /// Of the first part; `part` and `parts` say how many were read.
    pub header: Header,
    pub entries: Vec<Arc<Entry>>,
    /// Where each entry's archive stands in `body`.
    archives: Vec<std::ops::Range<usize>>,
    body: Bytes,
}

impl Decoded {
    pub(crate) fn frame(&self, index: usize) -> Option<Frame<'_>> {
        let entry = self.entries.get(index)?;
        Some(Frame {
            place: entry.place,
            hlc: entry.stamp.hlc,
            causes: &entry.causes,
            archive: &self.body[self.archives.get(index)?.clone()],
        })
    }
}

/// Takes apart `parts`: one whole segment, or every part of one large entry in order.
pub fn decode(parts: &[Bytes]) -> Result<Decoded, SegmentError> {
    let first = parts.first().ok_or(SegmentError::Damaged("no segment"))?;
    let head = header(first)?;
    if usize::from(head.parts) != parts.len() || head.part != 0 {
        return Err(SegmentError::Damaged("parts missing"));
    }
    let mut whole = body(&head, first)?;
    if parts.len() > 1 {
        let mut joined = Vec::with_capacity(parts.len() * BODY_MAX);
        joined.extend_from_slice(&whole);
        for (i, part) in parts.iter().enumerate().skip(1) {
            let h = header(part)?;
            if (h.origin, h.first, h.parts, usize::from(h.part)) != (head.origin, head.first, head.parts, i) {
                return Err(SegmentError::Damaged("parts do not belong together"));
            }
            joined.extend_from_slice(&body(&h, part)?);
        }
        whole = Bytes::from(joined);
    }
    let mut decoded = Decoded {
        header: head,
        entries: Vec::with_capacity(head.count.min(BODY_MAX as u32) as usize),
        archives: Vec::new(),
        body: whole.clone(),
    };
    read_frames(&mut decoded, &whole)?;
    Ok(decoded)
}

/// The first `count` entries of a segment, as a segment of their own.
pub fn prefix(segment: &Bytes, count: u64) -> Result<Bytes, SegmentError> {
    let decoded = decode(std::slice::from_ref(segment))?;
    let mut builder = Builder::new(decoded.header.origin, decoded.header.flush);
    let mut done = Vec::new();
    let frames = (0..decoded.entries.len()).filter_map(|i| decoded.frame(i));
    frames
        .take(usize::try_from(count).unwrap_or(usize::MAX))
        .for_each(|f| builder.push(f, &mut done));
    builder.finish(&mut done);
    done.pop().map(|built| built.bytes).ok_or(SegmentError::Damaged("no entries"))
}

fn read_frames(decoded: &mut Decoded, whole: &[u8]) -> Result<(), SegmentError> {
    let head = decoded.header;
    let mut rest = whole;
    let mut causes = VersionVector::new();
    for i in 0..u64::from(head.count) {
        if rest.len() < FRAME_HEAD {
            return Err(SegmentError::Damaged("truncated frame"));
        }
        let length = u32::from_le_bytes(le(rest, 0));
        let hlc = Hlc(u64::from_le_bytes(le(rest, 4)));
        rest = &rest[4..];
        let mut frame = varint::take_bytes(&mut rest, u64::from(length))?;
        frame = frame.get(8..).ok_or(SegmentError::Damaged("truncated frame"))?;
        take_causes(&mut frame, &mut causes)?;
        let (schema, body) = v1::read_body(frame)?;
        let at = whole.len() - rest.len();
        decoded.archives.push(at - frame.len()..at);
        decoded.entries.push(Arc::new(Entry {
            place: Place {
                origin: head.origin,
                seq: head.first + i,
            },
            stamp: Stamp { hlc, origin: head.origin },
            causes: causes.clone(),
            schema,
            body,
        }));
    }
    // A void repeats the stamp of the entry before it.
    let follows = |w: &[Arc<Entry>]| w[0].stamp < w[1].stamp || (w[0].stamp == w[1].stamp && w[1].body == Body::Void);
    let ordered = decoded.entries.windows(2).all(follows);
    match (rest.is_empty(), ordered) {
        (true, true) => Ok(()),
        (false, _) => Err(SegmentError::Damaged("bytes left over")),
        (_, false) => Err(SegmentError::Damaged("stamps out of order")),
    }
}
