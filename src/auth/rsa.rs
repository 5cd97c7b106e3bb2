//! The key pair by which a client without TLS sends a password for the full path of caching_sha2_password.
//!
//! Made when it is first needed (most clients never ask); lives as long as the process, as clients ask for it each time.

use std::sync::OnceLock;

use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::rand_core::OsRng;
use rsa::{Oaep, RsaPrivateKey, RsaPublicKey};

use super::Scramble;

const BITS: usize = 2048;
/// Length of what is encrypted with the key.
pub const CIPHER_BYTES: usize = BITS / 8;

struct Pair {
    private: RsaPrivateKey,
    public_pem: String,
}

static PAIR: OnceLock<Option<Pair>> = OnceLock::new();

fn pair() -> Option<&'static Pair> {
    PAIR.get_or_init(|| {
        let private = RsaPrivateKey::new(&mut OsRng, BITS).ok()?;
        let public_pem = RsaPublicKey::from(&private).to_public_key_pem(LineEnding::LF).ok()?;
        Some(Pair { private, public_pem })
    })
    .as_ref()
}

/// The public key as PEM. Slow the first time: call where blocking is allowed.
pub fn public_pem() -> Option<&'static str> {
    pair().map(|p| p.public_pem.as_str())
}

/// The password inside a client's encrypted answer (XORed with the scramble, NUL-terminated).
pub fn decrypt(cipher: &[u8], scramble: &Scramble) -> Option<String> {
    let clear = pair()?.private.decrypt(Oaep::new::<sha1::Sha1>(), cipher).ok()?;
    let bytes: Vec<u8> = clear.iter().zip(scramble.iter().cycle()).map(|(c, s)| c ^ s).collect();
    String::from_utf8(bytes.strip_suffix(&[0])?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::pkcs8::DecodePublicKey;

    #[test]
    fn a_password_travels_encrypted() {
        let scramble = super::super::scramble();
        let key = RsaPublicKey::from_public_key_pem(public_pem().expect("pem")).expect("key");
        let clear: Vec<u8> = b"secret\0".iter().zip(scramble.iter().cycle()).map(|(c, s)| c ^ s).collect();
        let cipher = key.encrypt(&mut OsRng, Oaep::new::<sha1::Sha1>(), &clear).expect("encrypts");
        assert_eq!(decrypt(&cipher, &scramble).as_deref(), Some("secret"));
        assert_eq!(decrypt(&cipher[1..], &scramble), None);
    }
}
