//! Keyed requests: nothing secret on the wire, nothing replayed, answers that prove themselves.
//!
//! Promises: who does not know the cluster's secret can neither make a request, nor replay one, nor forge an answer. Time is
//! the *asked* node's own (a challenge of its boot number and its milliseconds since then), so two nodes whose clocks disagree
//! still talk: they must, to find that out. Comparisons of secrets take constant time.
//! Must not know: HTTP libraries.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use parking_lot::Mutex;

/// How old a challenge may be, and how long nonces are remembered.
pub const WINDOW_MS: u64 = 30_000;
/// Nonces remembered at once; beyond them requests are refused until the oldest leave the window.
const NONCES_MAX: usize = 200_000;

pub const HEADER_CLUSTER: &str = "starling-cluster";
pub const HEADER_NODE: &str = "starling-node";
pub const HEADER_CHALLENGE: &str = "starling-challenge";
pub const HEADER_NONCE: &str = "starling-nonce";
pub const HEADER_MAC: &str = "starling-mac";
pub const HEADER_PROOF: &str = "starling-proof";

/// The cluster of a node that has none yet.
pub const NO_CLUSTER: &str = "-";

/// Keys derived from the cluster's secret, one for each use.
#[derive(Clone)]
pub struct Secret {
    request: [u8; 32],
    answer: [u8; 32],
    stream: [u8; 32],
    token: [u8; 32],
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a bearer token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Read,
    Admin,
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Admin => "admin",
        }
    }
}

/// What a request is about; all of it is under the MAC.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub method: &'a str,
    /// With the query.
    pub path: &'a str,
    pub body: &'a [u8],
}

/// The headers of a keyed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub cluster: String,
    pub node: String,
    pub challenge: String,
    pub nonce: String,
    pub mac: String,
}

/// What an answer proves: that it is of this node, to this request.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub nonce: &'a str,
    pub status: u16,
    pub cluster: &'a str,
    pub node: &'a str,
    pub challenge: &'a str,
    pub body: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request carries no key")]
    Missing,
    #[error("the cluster secret is another one")]
    Secret,
    #[error("this node belongs to cluster {ours}, the request is for cluster {theirs}")]
    Cluster { ours: String, theirs: String },
    /// Not an accusation: the asker repeats with the challenge of the answer.
    #[error("the challenge is out of date")]
    Challenge,
    #[error("the request was seen before")]
    Replayed,
    #[error("too many requests")]
    Busy,
}

impl Refusal {
    /// The word that stands in the JSON answer.
    pub fn word(&self) -> &'static str {
        match self {
            Refusal::Missing => "unkeyed",
            Refusal::Secret => "secret",
            Refusal::Cluster { .. } => "cluster",
            Refusal::Challenge => "challenge",
            Refusal::Replayed => "replayed",
            Refusal::Busy => "busy",
        }
    }
}

impl Secret {
    pub fn new(text: &str) -> Secret {
        let derive = |context: &str| blake3::derive_key(context, text.as_bytes());
        Secret {
            request: derive("starling 1 keyed request"),
            answer: derive("starling 1 keyed answer"),
            stream: derive("starling 1 stream frames"),
            token: derive("starling 1 bearer token"),
        }
    }

    pub fn sign(&self, ask: &Ask<'_>, cluster: &str, node: &str, challenge: &str) -> Signed {
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let mac = self.request_mac(ask, cluster, node, challenge, &nonce);
        Signed {
            cluster: cluster.to_owned(),
            node: node.to_owned(),
            challenge: challenge.to_owned(),
            nonce,
            mac: mac.to_hex().to_string(),
        }
    }

    fn request_mac(&self, ask: &Ask<'_>, cluster: &str, node: &str, challenge: &str, nonce: &str) -> blake3::Hash {
        let body = blake3::hash(ask.body);
        let parts = [ask.method, ask.path, cluster, node, challenge, nonce];
        mac(
            &self.request,
            parts.iter().map(|s| s.as_bytes()).chain([body.as_bytes().as_slice()]),
        )
    }

    /// Is the request made by somebody who knows the secret? (Not yet: is it fresh.)
    pub fn knows(&self, ask: &Ask<'_>, signed: &Signed) -> bool {
        let ours = self.request_mac(ask, &signed.cluster, &signed.node, &signed.challenge, &signed.nonce);
        equal_hex(&ours, &signed.mac)
    }

    pub fn prove(&self, answer: &Answer<'_>) -> String {
        self.answer_mac(answer).to_hex().to_string()
    }

    pub fn proves(&self, answer: &Answer<'_>, proof: &str) -> bool {
        equal_hex(&self.answer_mac(answer), proof)
    }

    fn answer_mac(&self, answer: &Answer<'_>) -> blake3::Hash {
        let status = answer.status.to_le_bytes();
        let body = blake3::hash(answer.body);
        let parts: [&[u8]; 6] = [
            answer.nonce.as_bytes(),
            &status,
            answer.cluster.as_bytes(),
            answer.node.as_bytes(),
            answer.challenge.as_bytes(),
            body.as_bytes(),
        ];
        mac(&self.answer, parts.into_iter())
    }

    /// The key of one stream's frames: bound to the request's nonce and to the answer's proof.
    pub fn stream_key(&self, nonce: &str, proof: &str) -> [u8; 32] {
        *mac(&self.stream, [nonce.as_bytes(), proof.as_bytes()].into_iter()).as_bytes()
    }

    /// The bearer token of a scope: derived from the secret, which it does not reveal.
    pub fn token(&self, scope: Scope) -> String {
        format!(
            "starling-{}-{}",
            scope.name(),
            mac(&self.token, [scope.name().as_bytes()].into_iter()).to_hex()
        )
    }

    /// What a bearer token allows, if it is one of ours.
    pub fn scope_of(&self, token: &str) -> Option<Scope> {
        // Hashing both makes the comparison independent of where they differ.
        let given = blake3::keyed_hash(&self.token, token.as_bytes());
        [Scope::Read, Scope::Admin]
            .into_iter()
            .find(|scope| blake3::keyed_hash(&self.token, self.token(*scope).as_bytes()) == given)
    }
}

/// Every part is preceded by its length, so no two lists of parts look alike.
fn mac<'a>(key: &[u8; 32], parts: impl Iterator<Item = &'a [u8]>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

fn equal_hex(ours: &blake3::Hash, given: &str) -> bool {
    // blake3 compares hashes in constant time.
    blake3::Hash::from_hex(given).is_ok_and(|given| given == *ours)
}

/// The asked side: which requests are fresh. `now_ms` is this process's monotonic time.
pub struct Verifier {
    boot: u64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    nonces: HashMap<String, ()>,
    order: VecDeque<(u64, String)>,
}

impl Default for Verifier {
    fn default() -> Self {
        Verifier::new(rand::random())
    }
}

impl Verifier {
    pub fn new(boot: u64) -> Verifier {
        Verifier {
            boot,
            seen: Mutex::new(Seen::default()),
        }
    }

    /// What an asker has to sign now.
    pub fn challenge(&self, now_ms: u64) -> String {
        format!("{:016x}.{now_ms}", self.boot)
    }

    /// `ours`: this node's cluster. A node without a cluster may ask (it wants to join); `any_cluster` says where that is legal.
    pub fn check(
        &self,
        secret: &Secret,
        ask: &Ask<'_>,
        signed: &Signed,
        ours: &str,
        any_cluster: bool,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        if !secret.knows(ask, signed) {
            return Err(Refusal::Secret);
        }
        let other = signed.cluster != ours && !(any_cluster && signed.cluster == NO_CLUSTER);
        if other {
            return Err(Refusal::Cluster {
                ours: ours.to_owned(),
                theirs: signed.cluster.clone(),
            });
        }
        let at = parse_challenge(&signed.challenge)
            .filter(|(boot, _)| *boot == self.boot)
            .map(|(_, ms)| ms)
            .ok_or(Refusal::Challenge)?;
        if at.abs_diff(now_ms) > WINDOW_MS {
            return Err(Refusal::Challenge);
        }
        self.seen.lock().note(&signed.nonce, now_ms)
    }
}

impl Seen {
    fn note(&mut self, nonce: &str, now_ms: u64) -> Result<(), Refusal> {
        // A challenge is good for the window on either side of now, so a nonce must outlive two of them.
        while self.order.front().is_some_and(|(at, _)| at + 2 * WINDOW_MS < now_ms) {
            if let Some((_, old)) = self.order.pop_front() {
                self.nonces.remove(&old);
            }
        }
        if self.nonces.contains_key(nonce) {
            return Err(Refusal::Replayed);
        }
        if self.nonces.len() >= NONCES_MAX {
            return Err(Refusal::Busy);
        }
        self.nonces.insert(nonce.to_owned(), ());
        self.order.push_back((now_ms, nonce.to_owned()));
        Ok(())
    }
}

fn parse_challenge(text: &str) -> Option<(u64, u64)> {
    let (boot, ms) = text.split_once('.')?;
    Some((u64::from_str_radix(boot, 16).ok()?, ms.parse().ok()?))
}

/// The asking side's memory of one node's challenge: its boot number and how far its time is from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    boot: u64,
    ahead_ms: i64,
}

impl Remembered {
    pub fn from_challenge(challenge: &str, now_ms: u64) -> Option<Remembered> {
        let (boot, ms) = parse_challenge(challenge)?;
        Some(Remembered {
            boot,
            ahead_ms: i64::try_from(ms).ok()? - i64::try_from(now_ms).ok()?,
        })
    }
    /// The challenge to sign now.
    pub fn challenge(&self, now_ms: u64) -> String {
        format!("{:016x}.{}", self.boot, now_ms.saturating_add_signed(self.ahead_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask<'static> = Ask {
        method: "POST",
        path: "/v1/x?a=1",
        body: b"body",
    };

    fn signed(secret: &Secret, verifier: &Verifier, now: u64) -> Signed {
        secret.sign(&ASK, "c1", "n1", &verifier.challenge(now))
    }

    #[test]
    fn a_good_request_passes_once() {
        let (secret, verifier) = (Secret::new("s"), Verifier::new(7));
        let request = signed(&secret, &verifier, 100);
        assert_eq!(verifier.check(&secret, &ASK, &request, "c1", false, 150), Ok(()));
        assert_eq!(verifier.check(&secret, &ASK, &request, "c1", false, 151), Err(Refusal::Replayed));
    }

    #[test]
    fn any_change_of_the_request_is_seen() {
        let (secret, verifier) = (Secret::new("s"), Verifier::new(7));
        let request = signed(&secret, &verifier, 100);
        for ask in [
            Ask { method: "GET", ..ASK },
            Ask { path: "/v1/x?a=2", ..ASK },
            Ask { body: b"bodz", ..ASK },
        ] {
            assert_eq!(verifier.check(&secret, &ask, &request, "c1", false, 100), Err(Refusal::Secret));
        }
        let mut other = request.clone();
        other.node = "n2".into();
        assert_eq!(verifier.check(&secret, &ASK, &other, "c1", false, 100), Err(Refusal::Secret));
        let wrong = signed(&Secret::new("t"), &verifier, 100);
        assert_eq!(verifier.check(&secret, &ASK, &wrong, "c1", false, 100), Err(Refusal::Secret));
    }

    #[test]
    fn old_challenges_and_those_of_another_boot_are_renewed() {
        let (secret, verifier) = (Secret::new("s"), Verifier::new(7));
        let request = signed(&secret, &verifier, 100);
        let late = 100 + WINDOW_MS + 1;
        assert_eq!(verifier.check(&secret, &ASK, &request, "c1", false, late), Err(Refusal::Challenge));
        let rebooted = Verifier::new(8);
        assert_eq!(rebooted.check(&secret, &ASK, &request, "c1", false, 100), Err(Refusal::Challenge));
        let first = secret.sign(&ASK, "c1", "n1", "-");
        assert_eq!(verifier.check(&secret, &ASK, &first, "c1", false, 100), Err(Refusal::Challenge));
    }

    #[test]
    fn another_cluster_is_refused_but_none_may_join() {
        let (secret, verifier) = (Secret::new("s"), Verifier::new(7));
        let request = signed(&secret, &verifier, 100);
        assert!(matches!(
            verifier.check(&secret, &ASK, &request, "c2", true, 100),
            Err(Refusal::Cluster { .. })
        ));
        let fresh = secret.sign(&ASK, NO_CLUSTER, "n1", &verifier.challenge(100));
        assert!(verifier.check(&secret, &ASK, &fresh, "c2", false, 100).is_err());
        assert_eq!(verifier.check(&secret, &ASK, &fresh, "c2", true, 100), Ok(()));
    }

    #[test]
    fn answers_prove_themselves() {
        let secret = Secret::new("s");
        let answer = Answer {
            nonce: "n",
            status: 200,
            cluster: "c",
            node: "a",
            challenge: "1.2",
            body: b"yes",
        };
        let proof = secret.prove(&answer);
        assert!(secret.proves(&answer, &proof));
        for forged in [
            Answer { body: b"no", ..answer },
            Answer { status: 403, ..answer },
            Answer { nonce: "m", ..answer },
            Answer { node: "b", ..answer },
        ] {
            assert!(!secret.proves(&forged, &proof));
        }
        assert!(!Secret::new("t").proves(&answer, &proof));
    }

    #[test]
    fn a_remembered_challenge_moves_on_with_time() {
        let verifier = Verifier::new(7);
        let remembered = Remembered::from_challenge(&verifier.challenge(5_000), 90_000).unwrap();
        assert_eq!(remembered.challenge(100_000), verifier.challenge(15_000));
    }

    #[test]
    fn tokens_have_scopes_and_do_not_fit_another_secret() {
        let secret = Secret::new("s");
        assert_eq!(secret.scope_of(&secret.token(Scope::Read)), Some(Scope::Read));
        assert_eq!(secret.scope_of(&secret.token(Scope::Admin)), Some(Scope::Admin));
        assert_eq!(secret.scope_of("s"), None);
        assert_eq!(Secret::new("t").scope_of(&secret.token(Scope::Read)), None);
        assert!(!secret.token(Scope::Read).contains(&secret.token(Scope::Admin)[15..]));
    }
}
