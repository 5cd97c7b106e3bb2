//! The name of a branch of a distributed transaction.
//!
//! Promises: two branches are the same exactly if all three parts are. Must not know: SQL, who prepared it.

/// Bytes of a global or a branch part, at most.
pub const PART_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid {
    pub gtrid: Vec<u8>,
    pub bqual: Vec<u8>,
    pub format: i64,
}

impl Xid {
    /// As the key of its record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.gtrid.len() + self.bqual.len());
        out.extend_from_slice(&self.format.to_be_bytes());
        // A part has 64 bytes at most.
        out.push(self.gtrid.len() as u8);
        out.extend_from_slice(&self.gtrid);
        out.extend_from_slice(&self.bqual);
        out
    }
    pub fn decode(bytes: &[u8]) -> Option<Xid> {
        let (format, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (gtrid, bqual) = rest.split_at_checked(usize::from(*length))?;
        Some(Xid {
            gtrid: gtrid.to_vec(),
            bqual: bqual.to_vec(),
            format: i64::from_be_bytes(*format),
        })
    }
    /// Both parts, as XA RECOVER shows them.
    pub fn data(&self) -> Vec<u8> {
        [self.gtrid.as_slice(), &self.bqual].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_tells_branches_apart() {
        let xid = |gtrid: &[u8], bqual: &[u8], format| Xid {
            gtrid: gtrid.to_vec(),
            bqual: bqual.to_vec(),
            format,
        };
        let all = [
            xid(b"ab", b"c", 1),
            xid(b"a", b"bc", 1),
            xid(b"a", b"bc", 2),
            xid(b"", b"abc", 1),
            xid(&[0xff; 64], &[0; 64], -1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert_eq!(Xid::decode(&a.encode()).as_ref(), Some(a));
            assert!(all[i + 1..].iter().all(|b| a.encode() != b.encode()));
        }
        assert_eq!(Xid::decode(&[0; 8]), None);
        assert_eq!(Xid::decode(&[0, 0, 0, 0, 0, 0, 0, 1, 9, 1]), None);
    }
}
