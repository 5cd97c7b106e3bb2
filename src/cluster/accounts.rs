//! Accounts, folded from control entries: who may log in, and how.

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
    pub fn find(&self, user: &str, ip: std::net::IpAddr) -> Option<&Account> {
        let _ = (user, ip);
        todo!("cluster helper")
    }
}
