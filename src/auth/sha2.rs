//! caching_sha2_password: a slow salted hash at rest, a fast proof once the password was seen.
//!
//! At rest: `$A$005$` + 20 bytes of salt + 43 characters of SHA-256-crypt with 5,000 rounds (MySQL's variant keeps a salt of 20).
//! Fast: the client sends SHA256(p) XOR SHA256(SHA256(SHA256(p)) ‖ scramble); we need SHA256(SHA256(p)), kept in memory only.

use std::collections::HashMap;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{Scramble, same};

const PREFIX: &str = "$A$005$";
const ROUNDS: usize = 5000;
const SALT: usize = 20;
/// Accounts whose proof is kept in memory.
const CACHE_MAX: usize = 10_000;

/// The authentication string for a password (empty for none). `salt`: any bytes but NUL and `$`.
pub fn caching_sha2_hash(password: &str, salt: &[u8; SALT]) -> String {
    if password.is_empty() {
        return String::new();
    }
    let salt: Vec<u8> = salt
        .iter()
        .map(|b| if matches!(b, 33..=126 if *b != b'$') { *b } else { b'a' + *b % 26 })
        .collect();
    format!("{PREFIX}{}{}", String::from_utf8_lossy(&salt), crypt(password.as_bytes(), &salt))
}

/// Is this the password (in clear) behind `stored`? Costs milliseconds: call where blocking is allowed.
pub fn verify_clear(stored: &str, password: &str) -> bool {
    if stored.is_empty() {
        return password.is_empty();
    }
    let Some(rest) = stored.strip_prefix(PREFIX).map(str::as_bytes) else {
        return false;
    };
    if rest.len() <= SALT {
        return false;
    }
    let (salt, digest) = rest.split_at(SALT);
    same(crypt(password.as_bytes(), salt).as_bytes(), digest)
}

/// SHA256(SHA256(password)): what the fast path needs.
pub fn double(password: &str) -> [u8; 32] {
    Sha256::digest(Sha256::digest(password)).into()
}

/// Does `token` prove the password whose double hash is `double`?
pub fn verify_fast(double: &[u8; 32], scramble: &Scramble, token: &[u8]) -> bool {
    if token.len() != 32 {
        return false;
    }
    let mask = Sha256::new().chain_update(double).chain_update(scramble).finalize();
    let single: Vec<u8> = token.iter().zip(mask).map(|(t, m)| t ^ m).collect();
    same(&Sha256::digest(single), double)
}

/// The token a client sends.
pub fn token(password: &str, scramble: &Scramble) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let single = Sha256::digest(password);
    let mask = Sha256::new().chain_update(Sha256::digest(single)).chain_update(scramble).finalize();
    single.iter().zip(mask).map(|(s, m)| s ^ m).collect()
}

/// Double hashes of passwords seen in full, by the authentication string they proved (so a changed password misses).
#[derive(Default)]
pub struct Cache {
    map: Mutex<HashMap<String, [u8; 32]>>,
}

impl Cache {
    pub fn get(&self, stored: &str) -> Option<[u8; 32]> {
        self.map.lock().get(stored).copied()
    }
    pub fn put(&self, stored: &str, double: [u8; 32]) {
        let mut map = self.map.lock();
        if map.len() >= CACHE_MAX {
            map.clear();
        }
        map.insert(stored.to_string(), double);
    }
}

/// SHA-256-crypt (Drepper's specification) with a fixed number of rounds; only the 43 characters of the digest.
fn crypt(password: &[u8], salt: &[u8]) -> String {
    let alternate = Sha256::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut first = Sha256::new().chain_update(password).chain_update(salt);
    first.update(repeat(&alternate, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            first.update(alternate)
        } else {
            first.update(password)
        }
        bits >>= 1;
    }
    let mut digest: [u8; 32] = first.finalize().into();

    let mut p_hash = Sha256::new();
    (0..password.len()).for_each(|_| p_hash.update(password));
    let p = repeat(&p_hash.finalize(), password.len());
    let mut s_hash = Sha256::new();
    (0..16 + usize::from(digest[0])).for_each(|_| s_hash.update(salt));
    let s = repeat(&s_hash.finalize(), salt.len());

    for round in 0..ROUNDS {
        let mut hash = Sha256::new();
        if round & 1 == 1 {
            hash.update(&p)
        } else {
            hash.update(digest)
        }
        if round % 3 != 0 {
            hash.update(&s);
        }
        if round % 7 != 0 {
            hash.update(&p);
        }
        if round & 1 == 1 {
            hash.update(digest)
        } else {
            hash.update(&p)
        }
        digest = hash.finalize().into();
    }
    encode(&digest)
}

/// `length` bytes of `block` repeated.
fn repeat(block: &[u8], length: usize) -> Vec<u8> {
    block.iter().copied().cycle().take(length).collect()
}

/// Bytes of the digest, three at a time, in crypt's own order.
const ORDER: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

/// crypt's own base 64.
fn encode(digest: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = String::with_capacity(43);
    let mut put = |a: u8, b: u8, c: u8, count: usize| {
        let mut word = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        for _ in 0..count {
            out.push(char::from(ALPHABET[(word & 0x3f) as usize]));
            word >>= 6;
        }
    };
    for [a, b, c] in ORDER {
        put(digest[a], digest[b], digest[c], 4);
    }
    put(0, digest[31], digest[30], 3);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crypt_follows_the_specification() {
        assert_eq!(crypt(b"Hello world!", b"saltstring"), "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
    }

    #[test]
    fn only_the_password_verifies() {
        let stored = caching_sha2_hash("secret", &rand::random());
        assert_eq!(stored.len(), PREFIX.len() + SALT + 43);
        assert!(verify_clear(&stored, "secret"));
        assert!(!verify_clear(&stored, "Secret"));
        assert!(!verify_clear("$A$005$", "secret"));
        assert!(verify_clear("", ""));
        let scramble = super::super::scramble();
        assert!(verify_fast(&double("secret"), &scramble, &token("secret", &scramble)));
        assert!(!verify_fast(&double("secret"), &scramble, &token("other", &scramble)));
        assert!(!verify_fast(&double("secret"), &scramble, b""));
    }
}
