//! Framing: a 3-byte length, a sequence number, at most 16 MiB - 1 of payload; longer payloads span packets.
//!
//! Promises: reading holds at most `limit` bytes of one payload and refuses a larger one before it is read; writing is
//! buffered and costs one system call for each answer.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest payload of one packet; a packet of exactly this size is continued by the next.
pub const PACKET_MAX: usize = 0xff_ffff;
const HEADER: usize = 4;
/// What an idle connection keeps of its buffers.
const IDLE_BUFFER: usize = 4 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client closed between packets.
    #[error("closed")]
    Closed,
    /// MySQL's 1153.
    #[error("packet larger than max_allowed_packet")]
    TooLarge,
    #[error("packets out of order")]
    OutOfOrder,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads whole payloads (joined from their packets).
pub struct PacketReader {
    buffer: BytesMut,
    /// The sequence number that the next packet must have.
    sequence: u8,
}

impl Default for PacketReader {
    fn default() -> PacketReader {
        PacketReader {
            buffer: BytesMut::with_capacity(IDLE_BUFFER),
            sequence: 0,
        }
    }
}

impl PacketReader {
    /// The number that an answer to the last packet carries.
    pub fn next_sequence(&self) -> u8 {
        self.sequence
    }
    /// Is a whole packet waiting already? (Pipelining clients: answers may be sent together.)
    pub fn has_packet(&self) -> bool {
        self.buffer.len() >= HEADER && self.buffer.len() >= HEADER + length_of(&self.buffer)
    }
    /// A new command: sequence numbers start again.
    pub fn start_command(&mut self) {
        self.sequence = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > 4 * IDLE_BUFFER {
            self.buffer = BytesMut::with_capacity(IDLE_BUFFER);
        }
    }
    /// During the handshake: the client answers with the number after ours.
    pub fn expect_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }
    /// The next payload, at most `limit` bytes.
    pub async fn read<R: AsyncRead + Unpin>(&mut self, source: &mut R, limit: usize) -> Result<BytesMut, ReadError> {
        let mut payload = BytesMut::new();
        loop {
            self.fill(source, HEADER, true).await?;
            let length = length_of(&self.buffer);
            if payload.len() + length > limit {
                return Err(ReadError::TooLarge);
            }
            if self.buffer[3] != self.sequence {
                return Err(ReadError::OutOfOrder);
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.fill(source, HEADER + length, false).await?;
            self.buffer.advance(HEADER);
            let part = self.buffer.split_to(length);
            if payload.is_empty() {
                payload = part;
            } else {
                payload.extend_from_slice(&part);
            }
            if length < PACKET_MAX {
                return Ok(payload);
            }
        }
    }
    async fn fill<R: AsyncRead + Unpin>(&mut self, source: &mut R, wanted: usize, between_packets: bool) -> Result<(), ReadError> {
        while self.buffer.len() < wanted {
            let missing = wanted - self.buffer.len();
            self.buffer.reserve(missing.clamp(IDLE_BUFFER / 2, 1 << 20));
            if source.read_buf(&mut self.buffer).await? == 0 {
                if between_packets && self.buffer.is_empty() {
                    return Err(ReadError::Closed);
                }
                return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }
}

fn length_of(header: &[u8]) -> usize {
    usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16
}

/// Builds packets in memory; its owner sends the bytes.
#[derive(Debug, Default)]
pub struct PacketWriter {
    out: Vec<u8>,
    /// Where the packet being built begins (its header).
    start: usize,
    sequence: u8,
}

impl PacketWriter {
    pub fn set_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }
    pub fn sequence(&self) -> u8 {
        self.sequence
    }
    /// Begins a packet and gives the buffer to append its payload to.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        self.start = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        &mut self.out
    }
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
    /// Takes the begun packet back.
    pub fn abandon(&mut self) {
        self.out.truncate(self.start);
    }
    /// Ends the packet: header filled in, split where it is too long.
    pub fn end(&mut self) {
        let length = self.out.len() - self.start - HEADER;
        if length < PACKET_MAX {
            self.header(self.start, length);
            return;
        }
        let payload = self.out.split_off(self.start + HEADER);
        self.out.truncate(self.start);
        for part in payload.chunks(PACKET_MAX) {
            self.append(part);
        }
        if payload.len().is_multiple_of(PACKET_MAX) {
            self.append(&[]);
        }
    }
    fn append(&mut self, part: &[u8]) {
        let at = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        self.out.extend_from_slice(part);
        self.header(at, part.len());
    }
    fn header(&mut self, at: usize, length: usize) {
        self.out[at..at + 3].copy_from_slice(&(length as u32).to_le_bytes()[..3]);
        self.out[at + 3] = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
    }
    /// A whole packet at once.
    pub fn packet(&mut self, payload: &[u8]) {
        self.begin().extend_from_slice(payload);
        self.end();
    }
    /// Drops all packets behind the first `length` bytes; the next one has number `sequence`.
    pub fn rewind(&mut self, length: usize, sequence: u8) {
        self.out.truncate(length);
        self.sequence = sequence;
    }
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }
    pub fn len(&self) -> usize {
        self.out.len()
    }
    /// After the bytes were sent.
    pub fn clear(&mut self) {
        self.out.clear();
        if self.out.capacity() > 8 * IDLE_BUFFER {
            self.out = Vec::with_capacity(IDLE_BUFFER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], limit: usize) -> Result<BytesMut, ReadError> {
        PacketReader::default().read(&mut &bytes[..], limit).await
    }

    async fn round_trip(length: usize) {
        let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let mut writer = PacketWriter::default();
        writer.packet(&payload);
        let mut source = writer.bytes();
        let mut reader = PacketReader::default();
        assert_eq!(&reader.read(&mut source, usize::MAX).await.expect("read")[..], &payload[..]);
        assert!(matches!(reader.read(&mut source, 1).await, Err(ReadError::Closed)));
        assert_eq!(reader.next_sequence(), writer.sequence());
    }

    #[tokio::test]
    async fn payloads_of_every_size_come_back() {
        for length in [0, 1, 4095, 5000, PACKET_MAX - 1, PACKET_MAX, PACKET_MAX + 1] {
            round_trip(length).await;
        }
    }

    #[tokio::test]
    async fn too_large_is_refused_before_it_is_read() {
        assert!(matches!(read(&[0xff, 0xff, 0xff, 0], 1000).await, Err(ReadError::TooLarge)));
    }

    #[tokio::test]
    async fn truncated_packets_are_errors() {
        assert!(matches!(read(&[5, 0, 0, 0, 1], 1000).await, Err(ReadError::Io(_))));
        assert!(matches!(read(&[1, 0, 0, 7, 1], 1000).await, Err(ReadError::OutOfOrder)));
    }
}
