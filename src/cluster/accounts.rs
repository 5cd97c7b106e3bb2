//! Accounts, folded from control entries: who may log in, and how.
//!
//! Promises: the most specific host pattern wins, as in MySQL; a root without a password is let in from loopback only unless that
//! was allowed by name. Must not know: the wire protocol.

use std::net::IpAddr;

use starling_log::Control;

use crate::config::Bootstrap;

pub const ACCOUNT: &str = "account";
/// Says that the accounts of the first start are all there.
pub const BOOTSTRAPPED: &str = "bootstrapped";

/// One account; `auth` is the authentication string as MySQL stores it in `mysql.user`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Account {
    pub user: String,
    /// `%`, `localhost`, an address or a pattern.
    pub host: String,
    /// `caching_sha2_password` or `mysql_native_password`.
    pub plugin: String,
    /// `$A$005$…` (caching_sha2_password), `*HEX` (mysql_native_password), or empty (no password).
    pub auth: String,
    /// Databases it may use (`None`: all); kept until grants come.
    pub databases: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub list: Vec<Account>,
}

impl Accounts {
    /// The account for `user` connecting from `ip`: the most specific host pattern wins, as in MySQL.
    pub fn find(&self, user: &str, ip: IpAddr) -> Option<&Account> {
        let ip = ip.to_canonical();
        self.list
            .iter()
            .filter(|a| (a.user == user || a.user.is_empty()) && host_matches(&a.host, ip))
            // The host decides first, the named user before the anonymous one.
            .max_by_key(|a| (specificity(&a.host), !a.user.is_empty()))
    }

    /// Why nobody was found, where that can be told without helping a guesser.
    pub fn hint(&self, user: &str, ip: IpAddr) -> Option<&'static str> {
        let local_only = user == "root" && !ip.to_canonical().is_loopback() && self.find(user, ip).is_none();
        local_only.then_some("root has no password and is let in from this machine only; set MYSQL_ROOT_PASSWORD at the first start")
    }

    /// Folds one control entry in. `false`: nothing changed.
    pub fn fold(&mut self, control: &Control) -> Result<bool, serde_json::Error> {
        if control.kind != ACCOUNT {
            return Ok(false);
        }
        let account: Account = serde_json::from_slice(&control.payload)?;
        match self.list.iter_mut().find(|a| a.user == account.user && a.host == account.host) {
            Some(slot) => *slot = account,
            None => self.list.push(account),
        }
        Ok(true)
    }
}

/// Loopback addresses are `localhost`: names of other machines are not looked up (`skip_name_resolve`).
fn host_matches(pattern: &str, ip: IpAddr) -> bool {
    let pattern = pattern.to_lowercase();
    if pattern.is_empty() || pattern == "%" {
        return true;
    }
    if pattern == "localhost" {
        return ip.is_loopback();
    }
    if let Some((net, mask)) = pattern.split_once('/') {
        return in_network(net, mask, ip);
    }
    match pattern.parse::<IpAddr>() {
        Ok(exact) => exact.to_canonical() == ip,
        Err(_) => like(pattern.as_bytes(), ip.to_string().as_bytes()),
    }
}

/// `198.51.100.0/255.255.255.0` and `198.51.100.0/24`.
fn in_network(net: &str, mask: &str, ip: IpAddr) -> bool {
    match (net.parse::<IpAddr>(), ip) {
        (Ok(IpAddr::V4(net)), IpAddr::V4(ip)) => {
            let mask = match (mask.parse::<std::net::Ipv4Addr>(), mask.parse::<u32>()) {
                (Ok(mask), _) => u32::from(mask),
                (_, Ok(bits)) if bits <= 32 => u32::MAX.checked_shl(32 - bits).unwrap_or(0),
                _ => return false,
            };
            u32::from(ip) & mask == u32::from(net)
        }
        (Ok(IpAddr::V6(net)), IpAddr::V6(ip)) => match mask.parse::<u32>() {
            Ok(bits) if bits <= 128 => u128::from(ip) & u128::MAX.checked_shl(128 - bits).unwrap_or(0) == u128::from(net),
            _ => false,
        },
        _ => false,
    }
}

/// SQL's LIKE with `%` and `_`.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'%', rest)) => (0..=text.len()).any(|skip| like(rest, &text[skip..])),
        Some((b'_', rest)) => !text.is_empty() && like(rest, &text[1..]),
        Some((byte, rest)) => text.first() == Some(byte) && like(rest, &text[1..]),
    }
}

/// MySQL's order: literal hosts before networks before patterns (by how late the first wildcard stands), `%` last but one, '' last.
fn specificity(host: &str) -> usize {
    const NETWORK: usize = 100_000;
    match host {
        "" => 0,
        "%" => 1,
        _ if host.contains('/') => NETWORK,
        _ => match host.find(['%', '_']) {
            Some(at) => 2 + at.min(NETWORK - 3),
            None => NETWORK + 1,
        },
    }
}

/// The accounts of a cluster's first start. `hash` makes the stored form of a password (caching_sha2_password).
pub fn first_accounts(bootstrap: &Bootstrap, root_password: &str, hash: impl Fn(&str) -> String) -> Vec<Account> {
    let account = |user: &str, host: &str, password: &str, databases: Option<Vec<String>>| Account {
        user: user.to_owned(),
        host: host.to_owned(),
        plugin: "caching_sha2_password".to_owned(),
        auth: if password.is_empty() { String::new() } else { hash(password) },
        databases,
    };
    let mut list = vec![account("root", "localhost", root_password, None)];
    // Without a password root stays on this machine, unless that was waived by name.
    if !root_password.is_empty() || bootstrap.allow_empty_password {
        let host = bootstrap.root_host.as_deref().unwrap_or("%");
        if host != "localhost" {
            list.push(account("root", host, root_password, None));
        }
    }
    if let (Some(user), Some(password)) = (&bootstrap.user, &bootstrap.password) {
        let databases = bootstrap.database.iter().cloned().collect();
        list.push(account(user, "%", password, Some(databases)));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(list: &[(&str, &str)]) -> Accounts {
        let list = list
            .iter()
            .map(|(user, host)| Account {
                user: (*user).to_owned(),
                host: (*host).to_owned(),
                plugin: "caching_sha2_password".to_owned(),
                auth: String::new(),
                databases: None,
            })
            .collect();
        Accounts { list }
    }

    fn host<'a>(accounts: &'a Accounts, user: &str, ip: &str) -> Option<&'a str> {
        accounts.find(user, ip.parse().unwrap()).map(|a| a.host.as_str())
    }

    #[test]
    fn the_most_specific_host_wins() {
        let accounts = accounts(&[
            ("u", "%"),
            ("u", "10.0.%"),
            ("u", "10.0.0.%"),
            ("u", "10.0.0.7"),
            ("u", "localhost"),
        ]);
        assert_eq!(host(&accounts, "u", "10.0.0.7"), Some("10.0.0.7"));
        assert_eq!(host(&accounts, "u", "10.0.0.8"), Some("10.0.0.%"));
        assert_eq!(host(&accounts, "u", "10.0.9.8"), Some("10.0.%"));
        assert_eq!(host(&accounts, "u", "9.9.9.9"), Some("%"));
        assert_eq!(host(&accounts, "u", "127.0.0.1"), Some("localhost"));
        assert_eq!(host(&accounts, "u", "::1"), Some("localhost"));
        assert_eq!(host(&accounts, "v", "127.0.0.1"), None);
    }

    #[test]
    fn a_specific_host_of_the_anonymous_user_beats_a_wide_one_of_the_named() {
        let accounts = accounts(&[("u", "%"), ("", "10.0.0.7")]);
        assert_eq!(accounts.find("u", "10.0.0.7".parse().unwrap()).map(|a| a.user.as_str()), Some(""));
        assert_eq!(host(&accounts, "u", "10.0.0.8"), Some("%"));
    }

    #[test]
    fn networks_and_mapped_addresses() {
        let accounts = accounts(&[("u", "198.51.100.0/255.255.255.0"), ("v", "10.1.0.0/16")]);
        assert_eq!(host(&accounts, "u", "198.51.100.9"), Some("198.51.100.0/255.255.255.0"));
        assert_eq!(host(&accounts, "u", "198.51.101.9"), None);
        assert_eq!(host(&accounts, "v", "::ffff:10.1.2.3"), Some("10.1.0.0/16"));
        assert_eq!(host(&accounts, "v", "10.2.2.3"), None);
    }

    #[test]
    fn a_root_without_password_stays_at_home() {
        let hash = |p: &str| format!("hash of {p}");
        let hosts = |list: &[Account]| list.iter().map(|a| format!("{}@{}", a.user, a.host)).collect::<Vec<_>>();
        let bare = first_accounts(&Bootstrap::default(), "", hash);
        assert_eq!(hosts(&bare), ["root@localhost"]);
        assert_eq!(bare[0].auth, "");
        let here = Accounts { list: bare };
        assert!(here.find("root", "127.0.0.1".parse().unwrap()).is_some());
        assert!(here.hint("root", "10.0.0.1".parse().unwrap()).is_some());
        let open = Bootstrap {
            allow_empty_password: true,
            ..Bootstrap::default()
        };
        assert_eq!(hosts(&first_accounts(&open, "", hash)), ["root@localhost", "root@%"]);
        let full = Bootstrap {
            database: Some("shop".into()),
            user: Some("app".into()),
            password: Some("pw".into()),
            ..Bootstrap::default()
        };
        let list = first_accounts(&full, "geheim", hash);
        assert_eq!(hosts(&list), ["root@localhost", "root@%", "app@%"]);
        assert_eq!((list[1].auth.as_str(), list[2].auth.as_str()), ("hash of geheim", "hash of pw"));
        assert_eq!(list[2].databases, Some(vec!["shop".to_owned()]));
    }

    #[test]
    fn later_entries_of_an_account_replace_earlier_ones() {
        let mut accounts = accounts(&[("u", "%")]);
        let mut changed = accounts.list[0].clone();
        changed.auth = "new".into();
        let control = Control {
            kind: ACCOUNT.into(),
            payload: serde_json::to_vec(&changed).unwrap(),
        };
        assert!(accounts.fold(&control).unwrap());
        assert_eq!(accounts.list, [changed]);
    }
}
