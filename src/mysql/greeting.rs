//! The first two packets: what the server offers, and what the client answers.

use opensrv_mysql::CapabilityFlags as Cap;

#[cfg(test)]
use super::wire::put_lenenc_bytes;
use super::wire::{Malformed, Reader, Result};
use crate::auth::{SCRAMBLE, Scramble};

/// What we offer. Whatever is not here, a client does not use.
pub fn offered() -> Cap {
    Cap::CLIENT_LONG_PASSWORD
        | Cap::CLIENT_FOUND_ROWS
        | Cap::CLIENT_LONG_FLAG
        | Cap::CLIENT_CONNECT_WITH_DB
        | Cap::CLIENT_IGNORE_SPACE
        | Cap::CLIENT_PROTOCOL_41
        | Cap::CLIENT_INTERACTIVE
        | Cap::CLIENT_IGNORE_SIGPIPE
        | Cap::CLIENT_TRANSACTIONS
        | Cap::CLIENT_RESERVED
        | Cap::CLIENT_SECURE_CONNECTION
        | Cap::CLIENT_MULTI_STATEMENTS
        | Cap::CLIENT_MULTI_RESULTS
        | Cap::CLIENT_PS_MULTI_RESULTS
        | Cap::CLIENT_PLUGIN_AUTH
        | Cap::CLIENT_CONNECT_ATTRS
        | Cap::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | Cap::CLIENT_SESSION_TRACK
        | Cap::CLIENT_DEPRECATE_EOF
}

/// utf8mb4_0900_ai_ci, the server's default collation.
const DEFAULT_COLLATION: u8 = 255;
/// SERVER_STATUS_AUTOCOMMIT
const STATUS_AUTOCOMMIT: u16 = 2;

/// The greeting (protocol version 10).
pub fn greeting(version: &str, connection: u32, plugin: &str, scramble: &Scramble) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let capabilities = offered().bits();
    out.push(10);
    out.extend_from_slice(version.as_bytes());
    out.push(0);
    out.extend_from_slice(&connection.to_le_bytes());
    out.extend_from_slice(&scramble[..8]);
    out.push(0);
    out.extend_from_slice(&(capabilities as u16).to_le_bytes());
    out.push(DEFAULT_COLLATION);
    out.extend_from_slice(&STATUS_AUTOCOMMIT.to_le_bytes());
    out.extend_from_slice(&((capabilities >> 16) as u16).to_le_bytes());
    out.push(SCRAMBLE as u8 + 1);
    out.extend_from_slice(&[0; 10]);
    out.extend_from_slice(&scramble[8..]);
    out.push(0);
    out.extend_from_slice(plugin.as_bytes());
    out.push(0);
    out
}

/// The client's answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub capabilities: Cap,
    pub collation: u16,
    pub user: String,
    pub auth: Vec<u8>,
    pub database: Option<String>,
    pub plugin: Option<String>,
    pub attributes: Vec<(String, String)>,
}

impl Response {
    pub fn parse(payload: &[u8]) -> Result<Response> {
        let mut reader = Reader::new(payload);
        let flags = Cap::from_bits_truncate(reader.u32()?);
        if !flags.contains(Cap::CLIENT_PROTOCOL_41) {
            return Err(Malformed);
        }
        let capabilities = flags & offered();
        let _max_packet = reader.u32()?;
        let collation = u16::from(reader.u8()?);
        reader.bytes(23)?;
        let user = text(reader.nul_bytes());
        let auth = if flags.contains(Cap::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
            reader.lenenc_bytes()?.to_vec()
        } else if flags.contains(Cap::CLIENT_SECURE_CONNECTION) {
            let length = usize::from(reader.u8()?);
            reader.bytes(length)?.to_vec()
        } else {
            reader.nul_bytes().to_vec()
        };
        let database = flags
            .contains(Cap::CLIENT_CONNECT_WITH_DB)
            .then(|| text(reader.nul_bytes()))
            .filter(|d| !d.is_empty());
        let plugin = flags
            .contains(Cap::CLIENT_PLUGIN_AUTH)
            .then(|| text(reader.nul_bytes()))
            .filter(|p| !p.is_empty());
        let attributes = if flags.contains(Cap::CLIENT_CONNECT_ATTRS) {
            attributes(&mut reader)
        } else {
            Vec::new()
        };
        Ok(Response {
            capabilities,
            collation,
            user,
            auth,
            database,
            plugin,
            attributes,
        })
    }
}

/// COM_CHANGE_USER carries the same, in another order.
#[derive(Clone, Debug)]
pub struct ChangeUser {
    pub user: String,
    pub auth: Vec<u8>,
    pub database: Option<String>,
    pub collation: u16,
    pub plugin: Option<String>,
    pub attributes: Vec<(String, String)>,
}

impl ChangeUser {
    pub fn parse(payload: &[u8], capabilities: Cap) -> Result<ChangeUser> {
        let mut reader = Reader::new(payload);
        let user = text(reader.nul_bytes());
        let length = usize::from(reader.u8()?);
        let auth = reader.bytes(length)?.to_vec();
        let database = Some(text(reader.nul_bytes())).filter(|d| !d.is_empty());
        let collation = if reader.is_empty() { 0 } else { reader.u16()? };
        let plugin = (capabilities.contains(Cap::CLIENT_PLUGIN_AUTH) && !reader.is_empty()).then(|| text(reader.nul_bytes()));
        let attributes = if capabilities.contains(Cap::CLIENT_CONNECT_ATTRS) {
            attributes(&mut reader)
        } else {
            Vec::new()
        };
        Ok(ChangeUser {
            user,
            auth,
            database,
            collation,
            plugin,
            attributes,
        })
    }
}

/// Connection attributes are informational: what does not parse is left out.
fn attributes(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let Ok(block) = reader.lenenc_bytes() else { return list };
    let mut reader = Reader::new(block);
    while let (Ok(key), Ok(value)) = (reader.lenenc_bytes(), reader.lenenc_bytes()) {
        list.push((text(key), text(value)));
    }
    list
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// AuthSwitchRequest: "use this plugin, with this scramble".
pub fn auth_switch(plugin: &str, scramble: &Scramble) -> Vec<u8> {
    let mut out = vec![0xfe];
    out.extend_from_slice(plugin.as_bytes());
    out.push(0);
    out.extend_from_slice(scramble);
    out.push(0);
    out
}

/// AuthMoreData.
pub fn auth_more(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x01];
    out.extend_from_slice(data);
    out
}

/// A handshake response as a client sends it (tests).
#[cfg(test)]
pub fn response_bytes(user: &str, auth: &[u8], database: Option<&str>, plugin: &str) -> Vec<u8> {
    let mut flags = offered();
    if database.is_none() {
        flags.remove(Cap::CLIENT_CONNECT_WITH_DB);
    }
    let mut out = Vec::new();
    out.extend_from_slice(&flags.bits().to_le_bytes());
    out.extend_from_slice(&(16u32 << 20).to_le_bytes());
    out.push(255);
    out.extend_from_slice(&[0; 23]);
    out.extend_from_slice(user.as_bytes());
    out.push(0);
    put_lenenc_bytes(&mut out, auth);
    if let Some(database) = database {
        out.extend_from_slice(database.as_bytes());
        out.push(0);
    }
    out.extend_from_slice(plugin.as_bytes());
    out.push(0);
    let mut block = Vec::new();
    put_lenenc_bytes(&mut block, b"_client_name");
    put_lenenc_bytes(&mut block, b"test");
    put_lenenc_bytes(&mut out, &block);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_whole() {
        let bytes = response_bytes("ann", &[7; 20], Some("shop"), "mysql_native_password");
        let response = Response::parse(&bytes).expect("parses");
        assert_eq!(response.user, "ann");
        assert_eq!(response.auth, vec![7; 20]);
        assert_eq!(response.database.as_deref(), Some("shop"));
        assert_eq!(response.plugin.as_deref(), Some("mysql_native_password"));
        assert_eq!(response.attributes, vec![("_client_name".to_string(), "test".to_string())]);
    }

    #[test]
    fn no_truncation_of_a_response_panics() {
        let bytes = response_bytes("ann", &[7; 20], Some("shop"), "mysql_native_password");
        for cut in 0..bytes.len() {
            let _ = Response::parse(&bytes[..cut]);
            let _ = ChangeUser::parse(&bytes[..cut], offered());
        }
    }
}
