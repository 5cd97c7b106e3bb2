//! Variable-length integers (seven bits a byte, low bits first), shared by rows, changes, causes and cursors.
//!
//! Promises: one number has one form; longer forms of it are refused, so that equal rows are equal bytes.

use crate::value::Malformed;

/// Bytes of the longest form of a `u64`.
const LONGEST: usize = 10;

pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number from the front of `rest`.
pub(crate) fn take(rest: &mut &[u8]) -> Result<u64, Malformed> {
    // One byte is by far the commonest: lengths of keys, table indexes, small ids.
    if let [first, tail @ ..] = *rest
        && *first < 0x80
    {
        *rest = tail;
        return Ok(u64::from(*first));
    }
    let mut value = 0u64;
    for (i, byte) in rest.iter().enumerate().take(LONGEST) {
        let bits = u64::from(byte & 0x7f);
        if i == LONGEST - 1 && bits > 1 {
            return Err(Malformed);
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            if *byte == 0 && i > 0 {
                return Err(Malformed);
            }
            *rest = &rest[i + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Takes `n` bytes from the front of `rest`.
pub(crate) fn take_bytes<'a>(rest: &mut &'a [u8], n: u64) -> Result<&'a [u8], Malformed> {
    let n = usize::try_from(n).map_err(|_| Malformed)?;
    if n > rest.len() {
        return Err(Malformed);
    }
    let (head, tail) = rest.split_at(n);
    *rest = tail;
    Ok(head)
}

/// Takes a length and as many bytes.
pub(crate) fn take_slice<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let n = take(rest)?;
    take_bytes(rest, n)
}

pub(crate) fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_comes_back(n in any::<u64>(), shift in 0u32..64, s in any::<i64>()) {
            let n = n >> shift;
            let mut out = Vec::new();
            put(&mut out, n);
            let mut rest = &out[..];
            prop_assert_eq!(take(&mut rest), Ok(n));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(unzigzag(zigzag(s)), s);
        }
    }

    #[test]
    fn longer_forms_of_a_number_are_refused() {
        for bad in [&[0x80, 0x00][..], &[0x81, 0x80, 0x00], &[0xff; 10], &[0x80], &[]] {
            assert_eq!(take(&mut &bad[..]), Err(Malformed), "{bad:?}");
        }
        assert_eq!(
            take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..]),
            Ok(u64::MAX)
        );
    }
}
