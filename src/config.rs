//! Configuration: flag > environment > file > default, and the `MYSQL_…` variables of the usual images.
//!
//! Promises: a key of the file that is not known is refused by name; an option never changes its meaning silently; everything is
//! checked before anything is opened. Must not know: what the values are used for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub const DEFAULT_DATA_DIR: &str = "./starling-data";
pub const DEFAULT_MYSQL_ADDR: &str = "127.0.0.1:3306";
pub const DEFAULT_HTTP_ADDR: &str = "127.0.0.1:8080";

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("cannot read {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{path}: {reason}")]
    Syntax { path: PathBuf, reason: String },
    #[error("{name}: {reason}")]
    Value { name: String, reason: String },
    #[error("{0} and {0}_FILE are both set: keep one of them")]
    BothForms(String),
    #[error("--join needs --cluster-secret: the secret of the cluster to join")]
    JoinWithoutSecret,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The flags of `starling serve`; clap reads the environment where a flag is missing.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Where everything is kept [default: ./starling-data]
    #[arg(long, env = "STARLING_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A TOML file with these same names as keys
    #[arg(long, env = "STARLING_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A label for people [default: the host's name]
    #[arg(long, env = "STARLING_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where MySQL clients connect [default: 127.0.0.1:3306]
    #[arg(long, env = "STARLING_MYSQL_ADDR", value_name = "IP:PORT")]
    pub mysql_addr: Option<String>,
    /// Where peers and HTTP clients connect [default: 127.0.0.1:8080]
    #[arg(long, env = "STARLING_HTTP_ADDR", value_name = "IP:PORT")]
    pub http_addr: Option<String>,
    /// The HTTP address that peers are told [default: that of --http-addr]
    #[arg(long, env = "STARLING_ADVERTISE_ADDR", value_name = "HOST:PORT")]
    pub advertise_addr: Option<String>,
    /// HTTP addresses of members of the cluster to join (matters only the first time)
    #[arg(long, env = "STARLING_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    pub join: Vec<String>,
    /// The secret that all members share; without one no node joins and HTTP answers only on loopback
    #[arg(long, env = "STARLING_CLUSTER_SECRET", value_name = "S", hide_env_values = true)]
    pub cluster_secret: Option<String>,
    /// Go to the background once started
    #[arg(long, env = "STARLING_DAEMON", num_args = 0..=1, default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    pub daemon: Option<bool>,
    /// Write the process id there
    #[arg(long, env = "STARLING_PID_FILE", value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// How log lines look [default: text]
    #[arg(long, env = "STARLING_LOG_FORMAT", value_name = "text|json")]
    pub log_format: Option<LogFormat>,
}

/// The same as keys of the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileKeys {
    #[serde(alias = "data_dir")]
    data_dir: Option<PathBuf>,
    #[serde(alias = "node_name")]
    node_name: Option<String>,
    #[serde(alias = "mysql_addr")]
    mysql_addr: Option<String>,
    #[serde(alias = "http_addr")]
    http_addr: Option<String>,
    #[serde(alias = "advertise_addr")]
    advertise_addr: Option<String>,
    join: Option<OneOrMany>,
    #[serde(alias = "cluster_secret")]
    cluster_secret: Option<String>,
    daemon: Option<bool>,
    #[serde(alias = "pid_file")]
    pid_file: Option<PathBuf>,
    #[serde(alias = "log_format")]
    log_format: Option<LogFormat>,
    /// Global server variables (`[variables]`, MySQL's names).
    #[serde(default)]
    variables: BTreeMap<String, toml::Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The resolved configuration of a node.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    pub node_name: String,
    pub mysql_addr: SocketAddr,
    pub http_addr: SocketAddr,
    /// What peers are told; `None`: made from the HTTP address once it is bound.
    pub advertise_addr: Option<String>,
    pub join: Vec<String>,
    pub cluster_secret: Option<String>,
    pub daemon: bool,
    pub pid_file: Option<PathBuf>,
    pub log_format: LogFormat,
    pub variables: Vec<(String, String)>,
    pub bootstrap: Bootstrap,
}

/// What the `MYSQL_…` variables ask for at the first start of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bootstrap {
    pub root_password: Option<String>,
    pub root_host: Option<String>,
    pub random_root_password: bool,
    pub allow_empty_password: bool,
    pub database: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
}

/// The process environment, or a map in tests.
pub trait Environment {
    fn get(&self, name: &str) -> Option<String>;
    fn names(&self) -> Vec<String>;
}

pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }
}

impl Config {
    pub fn load(flags: &Flags, environment: &dyn Environment) -> Result<Config, ConfigError> {
        let file = match &flags.config {
            Some(path) => read_file(path)?,
            None => FileKeys::default(),
        };
        let mut config = merge(flags, file)?;
        config.bootstrap = Bootstrap::from_environment(environment)?;
        if !config.join.is_empty() && config.cluster_secret.is_none() {
            return Err(ConfigError::JoinWithoutSecret);
        }
        Ok(config)
    }
}

/// The secret for a command that only talks to a node (flag, environment or file).
pub fn secret_of(secret: Option<&String>, file: Option<&Path>) -> Result<Option<String>, ConfigError> {
    if let Some(secret) = secret.filter(|s| !s.is_empty()) {
        return Ok(Some(secret.clone()));
    }
    Ok(match file {
        Some(path) => read_file(path)?.cluster_secret.filter(|s| !s.is_empty()),
        None => None,
    })
}

/// Variables named `STARLING_…` that no flag knows: probably misspelt, so they are warned about.
pub fn unknown_variables(environment: &dyn Environment, known: &[String]) -> Vec<String> {
    environment
        .names()
        .into_iter()
        .filter(|name| name.starts_with("STARLING_") && !known.contains(name))
        .collect()
}

fn read_file(path: &Path) -> Result<FileKeys, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError::File {
        path: path.to_owned(),
        reason: e.to_string(),
    })?;
    toml::from_str(&text).map_err(|e| ConfigError::Syntax {
        path: path.to_owned(),
        reason: e.to_string().trim_end().to_owned(),
    })
}

/// An empty string counts as not set: that is how compose files leave variables out.
fn text(flag: &Option<String>, file: Option<String>) -> Option<String> {
    flag.clone().filter(|s| !s.is_empty()).or_else(|| file.filter(|s| !s.is_empty()))
}

fn path(flag: &Option<PathBuf>, file: Option<PathBuf>) -> Option<PathBuf> {
    flag.clone()
        .filter(|p| !p.as_os_str().is_empty())
        .or_else(|| file.filter(|p| !p.as_os_str().is_empty()))
}

fn merge(flags: &Flags, file: FileKeys) -> Result<Config, ConfigError> {
    let given: Vec<String> = flags.join.iter().filter(|s| !s.trim().is_empty()).cloned().collect();
    let join = match (given.is_empty(), file.join) {
        (false, _) => given,
        (true, Some(OneOrMany::One(list))) => list.split(',').map(str::to_owned).collect(),
        (true, Some(OneOrMany::Many(list))) => list,
        (true, None) => Vec::new(),
    };
    let join = join
        .iter()
        .map(|s| s.trim())
        .filter(|s| !s.is_empty())
        .map(|s| host_port("join", s))
        .collect::<Result<Vec<_>, _>>()?;
    let advertise_addr = text(&flags.advertise_addr, file.advertise_addr)
        .map(|s| host_port("advertise-addr", &s))
        .transpose()?;
    Ok(Config {
        data_dir: path(&flags.data_dir, file.data_dir).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)),
        node_name: text(&flags.node_name, file.node_name).unwrap_or_else(host_name),
        mysql_addr: socket("mysql-addr", text(&flags.mysql_addr, file.mysql_addr), DEFAULT_MYSQL_ADDR)?,
        http_addr: socket("http-addr", text(&flags.http_addr, file.http_addr), DEFAULT_HTTP_ADDR)?,
        advertise_addr,
        join,
        cluster_secret: text(&flags.cluster_secret, file.cluster_secret),
        daemon: flags.daemon.or(file.daemon).unwrap_or(false),
        pid_file: path(&flags.pid_file, file.pid_file),
        log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        variables: file.variables.into_iter().map(variable).collect::<Result<_, _>>()?,
        bootstrap: Bootstrap::default(),
    })
}

fn variable((name, value): (String, toml::Value)) -> Result<(String, String), ConfigError> {
    let value = match value {
        toml::Value::String(s) => s,
        toml::Value::Integer(n) => n.to_string(),
        toml::Value::Float(n) => n.to_string(),
        toml::Value::Boolean(b) => if b { "ON" } else { "OFF" }.to_owned(),
        other => {
            return Err(ConfigError::Value {
                name: format!("variables.{name}"),
                reason: format!("a {} cannot be the value of a server variable", other.type_str()),
            });
        }
    };
    Ok((name, value))
}

fn socket(name: &str, given: Option<String>, default: &str) -> Result<SocketAddr, ConfigError> {
    let given = given.unwrap_or_else(|| default.to_owned());
    given.parse().map_err(|_| ConfigError::Value {
        name: name.to_owned(),
        reason: format!("'{given}' is not IP:PORT"),
    })
}

/// `HOST:PORT`, with or without `http://` before and a slash behind.
pub fn host_port(name: &str, given: &str) -> Result<String, ConfigError> {
    let bare = given.trim().trim_start_matches("http://").trim_end_matches('/');
    let good = bare
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok());
    if !good {
        return Err(ConfigError::Value {
            name: name.to_owned(),
            reason: format!("'{given}' is not HOST:PORT"),
        });
    }
    Ok(bare.to_owned())
}

fn host_name() -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: the buffer outlives the call and its length is passed with it.
    let failed = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) } != 0;
    let name = buffer.split(|b| *b == 0).next().unwrap_or_default();
    match std::str::from_utf8(name) {
        Ok(name) if !failed && !name.is_empty() => name.to_owned(),
        _ => "starling".to_owned(),
    }
}

impl Bootstrap {
    pub fn from_environment(environment: &dyn Environment) -> Result<Bootstrap, ConfigError> {
        let bootstrap = Bootstrap {
            root_password: secret_variable(environment, "MYSQL_ROOT_PASSWORD")?,
            root_host: secret_variable(environment, "MYSQL_ROOT_HOST")?,
            random_root_password: is_set(environment, "MYSQL_RANDOM_ROOT_PASSWORD"),
            allow_empty_password: is_set(environment, "MYSQL_ALLOW_EMPTY_PASSWORD"),
            database: secret_variable(environment, "MYSQL_DATABASE")?,
            user: secret_variable(environment, "MYSQL_USER")?,
            password: secret_variable(environment, "MYSQL_PASSWORD")?,
        };
        bootstrap.check()?;
        Ok(bootstrap)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |name: &str, reason: &str| {
            Err(ConfigError::Value {
                name: name.to_owned(),
                reason: reason.to_owned(),
            })
        };
        match (&self.user, &self.password) {
            (Some(user), _) if user == "root" => wrong("MYSQL_USER", "root exists anyway: use MYSQL_ROOT_PASSWORD"),
            (Some(_), None) => wrong("MYSQL_USER", "needs MYSQL_PASSWORD as well"),
            (None, Some(_)) => wrong("MYSQL_PASSWORD", "needs MYSQL_USER as well"),
            _ if self.random_root_password && self.root_password.is_some() => {
                wrong("MYSQL_RANDOM_ROOT_PASSWORD", "cannot stand beside MYSQL_ROOT_PASSWORD")
            }
            _ => Ok(()),
        }
    }
}

/// `NAME`, or the contents of the file that `NAME_FILE` names (one trailing newline taken off).
fn secret_variable(environment: &dyn Environment, name: &str) -> Result<Option<String>, ConfigError> {
    let direct = environment.get(name).filter(|s| !s.is_empty());
    let file = environment.get(&format!("{name}_FILE")).filter(|s| !s.is_empty());
    match (direct, file) {
        (Some(_), Some(_)) => Err(ConfigError::BothForms(name.to_owned())),
        (Some(value), None) => Ok(Some(value)),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path).map_err(|e| ConfigError::File {
                path: PathBuf::from(&path),
                reason: format!("{e} (from {name}_FILE)"),
            })?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()).filter(|s| !s.is_empty()))
        }
        (None, None) => Ok(None),
    }
}

/// The images take any non-empty value as yes; what plainly says no is taken as no.
fn is_set(environment: &dyn Environment, name: &str) -> bool {
    environment
        .get(name)
        .is_some_and(|v| !matches!(v.to_lowercase().as_str(), "" | "0" | "no" | "false" | "off"))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
