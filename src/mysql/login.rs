//! The conversation that proves who a client is: greeting, answer, plugin switch, password.
//!
//! Promises: a client learns from a refusal only that it was refused (1045); nothing is accepted before the proof.

use std::net::IpAddr;

use crate::cluster::accounts::Account;
use crate::sql::Identity;
use crate::sql::error::SqlError;

use super::connection::{Stream, Wire};
use super::greeting::{self, Response};
use super::listen::Shared;
use crate::auth::{self, SHA2, Scramble, native, rsa, sha2};

/// The largest packet taken before authentication.
const LOGIN_PACKET_MAX: usize = 64 * 1024;
/// caching_sha2_password's signals.
const FAST_OK: u8 = 3;
const FULL_AUTH: u8 = 4;
const REQUEST_KEY: u8 = 2;

/// Who asks, from where.
pub struct Claim<'a> {
    pub user: &'a str,
    pub auth: &'a [u8],
    pub plugin: Option<&'a str>,
    pub ip: IpAddr,
}

/// How a client's address is shown and matched.
pub fn host_of(ip: IpAddr) -> String {
    if ip.to_canonical().is_loopback() {
        "localhost".to_string()
    } else {
        ip.to_canonical().to_string()
    }
}

/// Sends the greeting and reads the client's answer.
pub async fn greet<S: Stream>(wire: &mut Wire<S>, version: &str, connection: u32, scramble: &Scramble) -> Result<Response, Failure> {
    wire.out.packet(&greeting::greeting(version, connection, SHA2, scramble));
    wire.flush().await?;
    wire.input.expect_sequence(wire.out.sequence());
    let payload = wire.read(LOGIN_PACKET_MAX).await?;
    wire.out.set_sequence(wire.input.next_sequence());
    Response::parse(&payload).map_err(|_| Failure::Sql(SqlError::new(1043, "Bad handshake")))
}

/// Why a login ended.
#[derive(Debug)]
pub enum Failure {
    /// To be told to the client.
    Sql(SqlError),
    /// The connection broke.
    Gone,
}

impl From<super::packet::ReadError> for Failure {
    fn from(error: super::packet::ReadError) -> Failure {
        match error {
            super::packet::ReadError::TooLarge => Failure::Sql(too_large()),
            super::packet::ReadError::OutOfOrder => Failure::Sql(SqlError::new(1156, "Got packets out of order")),
            _ => Failure::Gone,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Failure {
        Failure::Gone
    }
}

pub fn too_large() -> SqlError {
    SqlError::new(1153, "Got a packet bigger than 'max_allowed_packet' bytes")
}

/// Authenticates `claim`; `scramble` is the one the client answered (replaced on a plugin switch).
pub async fn authenticate<S: Stream>(
    wire: &mut Wire<S>,
    shared: &Shared,
    claim: Claim<'_>,
    scramble: &mut Scramble,
) -> Result<Identity, Failure> {
    let host = host_of(claim.ip);
    let accounts = shared.server.cluster.accounts();
    let account = accounts.find(claim.user, claim.ip).cloned();
    // An unknown user goes the same way as a known one, to the same refusal.
    let decoy = Account {
        user: claim.user.to_string(),
        host: "%".to_string(),
        plugin: SHA2.to_string(),
        auth: format!("$A$005${}", ".".repeat(63)),
        databases: None,
    };
    let target = account.as_ref().unwrap_or(&decoy);
    let mut token = claim.auth.to_vec();
    // Also without a password: a client that could not load the plugin we offered waits to be told another.
    if claim.plugin.is_some_and(|p| p != target.plugin) {
        *scramble = auth::scramble();
        token = exchange(wire, &greeting::auth_switch(&target.plugin, scramble)).await?;
    }
    // Some clients end the token with a NUL.
    if token == [0] {
        token.clear();
    }
    let proved = if target.plugin == SHA2 {
        prove_sha2(wire, shared, target, scramble, &token, claim.ip.to_canonical().is_loopback()).await?
    } else {
        native::verify(&target.auth, scramble, &token)
    };
    match account {
        Some(account) if proved => Ok(Identity {
            user: claim.user.to_string(),
            host,
            account: format!("{}@{}", account.user, account.host),
            attributes: Vec::new(),
        }),
        _ => {
            let hint = accounts.hint(claim.user, claim.ip);
            Err(Failure::Sql(denied(claim.user, &host, !token.is_empty(), hint)))
        }
    }
}

/// `hint`: why, where that helps nobody to guess.
fn denied(user: &str, host: &str, password: bool, hint: Option<&str>) -> SqlError {
    let using = if password { "YES" } else { "NO" };
    let hint = hint.map(|h| format!(": {h}")).unwrap_or_default();
    SqlError::new(
        1045,
        format!("Access denied for user '{user}'@'{host}' (using password: {using}){hint}"),
    )
}

async fn exchange<S: Stream>(wire: &mut Wire<S>, question: &[u8]) -> Result<Vec<u8>, Failure> {
    wire.out.packet(question);
    wire.flush().await?;
    wire.input.expect_sequence(wire.out.sequence());
    let answer = wire.read(LOGIN_PACKET_MAX).await?;
    wire.out.set_sequence(wire.input.next_sequence());
    Ok(answer.to_vec())
}

/// A password sent as it is, with its NUL (what is encrypted has the length of the key).
fn clear_text(answer: &[u8]) -> Option<String> {
    let clear = answer.strip_suffix(&[0]).filter(|c| c.len() < rsa::CIPHER_BYTES - 1)?;
    String::from_utf8(clear.to_vec()).ok()
}

async fn prove_sha2<S: Stream>(
    wire: &mut Wire<S>,
    shared: &Shared,
    account: &Account,
    scramble: &Scramble,
    token: &[u8],
    local: bool,
) -> Result<bool, Failure> {
    if account.auth.is_empty() || token.is_empty() {
        return Ok(account.auth.is_empty() && token.is_empty());
    }
    let cache = &shared.sha2;
    if let Some(double) = cache.get(&account.auth)
        && sha2::verify_fast(&double, scramble, token)
    {
        wire.out.packet(&greeting::auth_more(&[FAST_OK]));
        return Ok(true);
    }
    let answer = exchange(wire, &greeting::auth_more(&[FULL_AUTH])).await?;
    let cipher = if answer == [REQUEST_KEY] {
        let Some(pem) = tokio::task::block_in_place(rsa::public_pem) else {
            return Err(Failure::Sql(SqlError::new(1105, "Unknown error: no RSA key pair could be made")));
        };
        exchange(wire, &greeting::auth_more(pem.as_bytes())).await?
    } else {
        answer
    };
    let stored = account.auth.clone();
    let proved = tokio::task::block_in_place(|| {
        let password = match clear_text(&cipher) {
            // Some clients take a loopback connection for as private as a socket. From elsewhere nobody's password is taken in clear.
            Some(clear) if local => clear,
            _ => rsa::decrypt(&cipher, scramble)?,
        };
        sha2::verify_clear(&stored, &password).then(|| sha2::double(&password))
    });
    if let Some(double) = proved {
        cache.put(&stored, double);
    }
    Ok(proved.is_some())
}
