//! mysql_native_password: `*HEX(SHA1(SHA1(password)))`, and a token of SHA-1s over the scramble.

use sha1::{Digest, Sha1};

use super::{Scramble, same};

/// What `mysql.user` holds for a password (empty for none).
pub fn hash(password: &str) -> String {
    if password.is_empty() {
        return String::new();
    }
    format!("*{}", hex::encode_upper(Sha1::digest(Sha1::digest(password))))
}

/// Does `token` (the client's answer to `scramble`) prove the password behind `stored`?
pub fn verify(stored: &str, scramble: &Scramble, token: &[u8]) -> bool {
    let Some(stage2) = stored.strip_prefix('*').and_then(|h| hex::decode(h).ok()) else {
        return stored.is_empty() && token.is_empty();
    };
    if token.len() != 20 {
        return false;
    }
    let mask = Sha1::new().chain_update(scramble).chain_update(&stage2).finalize();
    let stage1: Vec<u8> = token.iter().zip(mask).map(|(t, m)| t ^ m).collect();
    same(&Sha1::digest(stage1), &stage2)
}

/// The token a client sends (tests and our own client).
pub fn token(password: &str, scramble: &Scramble) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let stage1 = Sha1::digest(password);
    let mask = Sha1::new().chain_update(scramble).chain_update(Sha1::digest(stage1)).finalize();
    stage1.iter().zip(mask).map(|(s, m)| s ^ m).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_mysqls() {
        assert_eq!(hash("password"), "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
        assert_eq!(hash(""), "");
    }

    #[test]
    fn only_the_password_verifies() {
        let scramble = super::super::scramble();
        let stored = hash("secret");
        assert!(verify(&stored, &scramble, &token("secret", &scramble)));
        assert!(!verify(&stored, &scramble, &token("Secret", &scramble)));
        assert!(!verify(&stored, &scramble, b""));
        assert!(!verify(&stored, &super::super::scramble(), &token("secret", &scramble)));
        assert!(verify("", &scramble, b""));
        assert!(!verify("", &scramble, &token("x", &scramble)));
    }
}
