//! Passwords: the two plugins, their hashes as MySQL stores them, and what proves that a client knows the password.
//!
//! Promises: comparisons of secrets take the same time whatever differs; scrambles are random and hold no NUL.
//! Must not know: packets (see `mysql::login` for the conversation).

pub mod native;
pub mod rsa;
pub mod sha2;

pub use sha2::caching_sha2_hash;

/// Bytes of a scramble.
pub const SCRAMBLE: usize = 20;
pub type Scramble = [u8; SCRAMBLE];

pub const NATIVE: &str = "mysql_native_password";
pub const SHA2: &str = "caching_sha2_password";

/// A fresh scramble: printable, as MySQL's are (some clients read it as a C string).
pub fn scramble() -> Scramble {
    let mut bytes: Scramble = rand::random();
    for byte in &mut bytes {
        *byte = 33 + *byte % 94;
    }
    bytes
}

/// Equal, in time that depends on the length alone.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrambles_are_printable_and_differ() {
        let (a, b) = (scramble(), scramble());
        assert!(a.iter().all(|c| (33..127).contains(c)));
        assert_ne!(a, b);
    }

    #[test]
    fn same_compares_all() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"ab"));
    }
}
