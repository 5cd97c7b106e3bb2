//! System variables: names, scopes, types, defaults and rules of MySQL 8.0, the process' global values and one session's own.
//!
//! Promises: an unknown name is 1193, a wrong value 1231 or 1232, a wrong scope 1228 or 1229, a read-only one 1238; a value
//! that would change what statements mean and is not honoured is refused by name (1235). Values of `SET GLOBAL` live until
//! the process ends. Must not know: statements, SQLite.

mod convert;
mod defs_engine;
mod defs_server;
mod defs_session;
mod settings;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use starling_log::Value;

use super::error::{Result, SqlError};
use super::types::Ty;

pub use convert::{
    bytes_per_char, charset_of, check_client_charset, default_collation, parse_sql_mode, resolve_charset, resolve_collation,
};
pub use settings::{Isolation, ReadWait, Settings, TrackGtids, TrackInfo};

/// Where a variable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Global,
    Session,
    Both,
}

/// What a variable takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Bool,
    Int(i64, i64),
    UInt(u64, u64),
    Real(f64, f64),
    Enum(&'static [&'static str]),
    /// A comma-separated set of words.
    Flags(&'static [&'static str]),
    Text,
    SqlMode,
    Charset,
    Collation,
    TimeZone,
}

/// What SET may do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// 1238.
    ReadOnly,
    /// Changes nothing that a client could observe in results: any value is taken.
    Free,
    /// Takes effect.
    Honoured,
    /// Only the default value is possible here; others are refused by name.
    Fixed,
}

#[derive(Clone, Copy, Debug)]
pub struct Def {
    pub name: &'static str,
    pub reach: Reach,
    pub kind: Kind,
    pub rule: Rule,
    /// In the text form of SHOW VARIABLES; `\0`: NULL.
    pub default: &'static str,
}

/// A variable's value.
#[derive(Clone, Debug, PartialEq)]
pub enum VarValue {
    Null,
    Int(i64),
    UInt(u64),
    Real(f64),
    Text(Arc<str>),
}

impl VarValue {
    pub fn text(text: &str) -> VarValue {
        VarValue::Text(Arc::from(text))
    }
    pub fn as_u64(&self) -> u64 {
        match self {
            VarValue::Int(v) => u64::try_from(*v).unwrap_or(0),
            VarValue::UInt(v) => *v,
            VarValue::Real(v) => *v as u64,
            _ => 0,
        }
    }
    pub fn as_str(&self) -> &str {
        match self {
            VarValue::Text(v) => v,
            _ => "",
        }
    }
    pub fn is_on(&self) -> bool {
        match self {
            VarValue::Int(v) => *v != 0,
            VarValue::UInt(v) => *v != 0,
            _ => false,
        }
    }
}

/// All definitions, sorted by name.
pub static DEFS: LazyLock<Vec<Def>> = LazyLock::new(|| {
    let mut all: Vec<Def> = [defs_server::DEFS, defs_session::DEFS, defs_engine::DEFS].concat();
    all.sort_by_key(|d| d.name);
    all
});

static BY_NAME: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| DEFS.iter().enumerate().map(|(i, d)| (d.name, i)).collect());

/// Other names of the same variable.
fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "tx_isolation" => "transaction_isolation".into(),
        "tx_read_only" => "transaction_read_only".into(),
        _ => name,
    }
}

/// Index of a variable, or 1193.
pub fn find(name: &str) -> Result<usize> {
    BY_NAME
        .get(name)
        .or_else(|| BY_NAME.get(canonical(name).as_str()))
        .copied()
        .ok_or_else(|| SqlError::new(1193, format!("Unknown system variable '{name}'")))
}

/// The type of `@@name`.
pub fn ty(index: usize) -> Ty {
    match DEFS[index].kind {
        Kind::Bool | Kind::Int(..) => Ty::int(false),
        Kind::UInt(..) => Ty::unsigned(false),
        Kind::Real(..) => Ty::double(false),
        _ => Ty::text(1024, "utf8mb3_general_ci", true),
    }
}

/// The value in the canonical storage form of its type.
pub fn stored(value: &VarValue) -> Value {
    match value {
        VarValue::Null => Value::Null,
        VarValue::Int(v) => Value::Int(*v),
        VarValue::UInt(v) => match i64::try_from(*v) {
            Ok(v) => Value::Int(v),
            Err(_) => Value::Text(format!("{v:020}").into_bytes()),
        },
        VarValue::Real(v) => Value::Real(*v),
        VarValue::Text(v) => Value::Text(v.as_bytes().to_vec()),
    }
}

/// As SHOW VARIABLES prints it.
pub fn shown(index: usize, value: &VarValue) -> Option<String> {
    Some(match (DEFS[index].kind, value) {
        (_, VarValue::Null) => return None,
        (Kind::Bool, v) => if v.is_on() { "ON" } else { "OFF" }.into(),
        (_, VarValue::Int(v)) => v.to_string(),
        (_, VarValue::UInt(v)) => v.to_string(),
        (_, VarValue::Real(v)) => format!("{v:.6}"),
        (_, VarValue::Text(v)) => v.to_string(),
    })
}

/// What the process knows about itself; fills read-only variables.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub version: String,
    pub hostname: String,
    pub port: u16,
    pub datadir: String,
    pub bind_address: String,
    pub server_id: u32,
    pub server_uuid: String,
    pub max_connections: u32,
}

/// Looks up a variable whose value is not stored; `None`: it is.
pub type Live = Box<dyn Fn(&str) -> Option<VarValue> + Send + Sync>;

/// The global values.
pub struct Globals {
    values: ArcSwap<Vec<VarValue>>,
    live: Option<Live>,
    /// Serializes SET GLOBAL (readers never wait).
    writing: parking_lot::Mutex<()>,
}

impl Globals {
    pub fn new(facts: &Facts) -> Globals {
        let mut values: Vec<VarValue> = DEFS.iter().map(convert::default_value).collect();
        let mut put = |name: &str, value: VarValue| {
            if let Some(i) = BY_NAME.get(name) {
                values[*i] = value;
            }
        };
        if !facts.version.is_empty() {
            put("version", VarValue::text(&facts.version));
        }
        put("hostname", VarValue::text(&facts.hostname));
        put("port", VarValue::UInt(u64::from(facts.port)));
        put("datadir", VarValue::text(&facts.datadir));
        put("bind_address", VarValue::text(&facts.bind_address));
        put("server_id", VarValue::UInt(u64::from(facts.server_id)));
        put("server_uuid", VarValue::text(&facts.server_uuid));
        if facts.max_connections > 0 {
            put("max_connections", VarValue::UInt(u64::from(facts.max_connections)));
        }
        Globals {
            values: ArcSwap::from_pointee(values),
            live: None,
            writing: parking_lot::Mutex::new(()),
        }
    }
    pub fn with_live(mut self, live: Live) -> Globals {
        self.live = Some(live);
        self
    }
    pub fn get(&self, index: usize) -> VarValue {
        self.live(index).unwrap_or_else(|| self.values.load()[index].clone())
    }
    fn live(&self, index: usize) -> Option<VarValue> {
        let name = DEFS[index].name;
        if !name.starts_with("gtid_") {
            return None;
        }
        self.live.as_ref()?(name)
    }
    /// By a name known to exist (NULL otherwise).
    pub fn named(&self, name: &str) -> VarValue {
        BY_NAME.get(name).map_or(VarValue::Null, |i| self.get(*i))
    }
    /// Sets without asking the rules (the process' own facts).
    pub fn put(&self, index: usize, value: VarValue) {
        let _writing = self.writing.lock();
        let mut next = Vec::clone(&self.values.load());
        next[index] = value;
        self.values.store(Arc::new(next));
    }
    /// All global variables as SHOW GLOBAL VARIABLES lists them.
    pub fn listing(&self) -> Vec<(&'static str, Option<String>)> {
        let values = self.values.load();
        let all = DEFS.iter().zip(values.iter()).enumerate();
        all.filter(|(_, (d, _))| d.reach != Reach::Session)
            .map(|(i, (d, v))| (d.name, shown(i, self.live(i).as_ref().unwrap_or(v))))
            .collect()
    }
    fn snapshot(&self) -> Arc<Vec<VarValue>> {
        self.values.load_full()
    }
}

/// One session's values: the globals as they were when it began, and what it set itself.
#[derive(Clone)]
pub struct SessionVars {
    globals: Arc<Globals>,
    base: Arc<Vec<VarValue>>,
    own: HashMap<usize, VarValue>,
    settings: Settings,
}

impl SessionVars {
    pub fn new(globals: Arc<Globals>) -> SessionVars {
        let base = globals.snapshot();
        let mut vars = SessionVars {
            globals,
            base,
            own: HashMap::new(),
            settings: Settings::default(),
        };
        vars.refresh();
        vars
    }
    /// What statements ask all the time, in typed form.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    pub fn globals(&self) -> &Arc<Globals> {
        &self.globals
    }
    /// The session's value (a global-only variable's: the global one).
    pub fn session(&self, index: usize) -> VarValue {
        if DEFS[index].reach == Reach::Global {
            return self.globals.get(index);
        }
        if let Some(live) = self.globals.live(index) {
            return live;
        }
        self.own.get(&index).unwrap_or(&self.base[index]).clone()
    }
    /// All variables as SHOW VARIABLES lists them.
    pub fn listing(&self) -> Vec<(&'static str, Option<String>)> {
        let all = DEFS.iter().enumerate();
        all.map(|(i, d)| (d.name, shown(i, &self.session(i)))).collect()
    }
    /// `@@[scope.]name`; 1238 where the scope does not fit.
    pub fn read(&self, scope: Option<&str>, index: usize) -> Result<VarValue> {
        check_read_scope(scope, index)?;
        Ok(match scope {
            Some("global" | "persist" | "persist_only") => self.globals.get(index),
            _ => self.session(index),
        })
    }
    pub fn named(&self, name: &str) -> VarValue {
        BY_NAME.get(name).map_or(VarValue::Null, |i| self.session(*i))
    }
    /// `SET [SESSION] name = value`; `Ok(Some(text))`: a warning 1292 about a value cut to its bounds. `None`: DEFAULT.
    pub fn set(&mut self, index: usize, value: Option<VarValue>) -> Result<Option<String>> {
        let def = &DEFS[index];
        if def.rule == Rule::ReadOnly {
            return Err(read_only(def.name));
        }
        check_reach(def, false)?;
        let (value, warning) = match value {
            Some(value) => convert::accept(def, value)?,
            None if def.reach == Reach::Session => (convert::default_value(def), None),
            None => (self.globals.get(index), None),
        };
        convert::check_rule(def, &value)?;
        self.own.insert(index, value);
        self.link(index);
        self.refresh();
        Ok(warning)
    }
    /// `SET GLOBAL name = value`.
    pub fn set_global(&mut self, index: usize, value: Option<VarValue>) -> Result<Option<String>> {
        let def = &DEFS[index];
        if def.rule == Rule::ReadOnly {
            return Err(read_only(def.name));
        }
        check_reach(def, true)?;
        let (value, warning) = match value {
            Some(value) => convert::accept(def, value)?,
            None => (convert::default_value(def), None),
        };
        convert::check_rule(def, &value)?;
        self.globals.put(index, value);
        self.refresh();
        Ok(warning)
    }
    /// What `set` and `set_global` would say, without setting.
    pub fn check(&self, global: bool, index: usize, value: Option<&VarValue>) -> Result<()> {
        let def = &DEFS[index];
        if def.rule == Rule::ReadOnly {
            return Err(read_only(def.name));
        }
        check_reach(def, global)?;
        match value {
            Some(value) => convert::check_rule(def, &convert::accept(def, value.clone())?.0),
            None => Ok(()),
        }
    }
    /// The value as the variable would take it.
    pub fn accepted(&self, index: usize, value: VarValue) -> Result<VarValue> {
        Ok(convert::accept(&DEFS[index], value)?.0)
    }
    /// Sets by name without asking the rules (statements that imply variables: SET NAMES, USE, BEGIN …).
    pub fn force(&mut self, name: &str, value: VarValue) {
        if let Some(index) = BY_NAME.get(name) {
            self.own.insert(*index, value);
            self.refresh();
        }
    }
    /// Charset and collation variables follow each other.
    fn link(&mut self, index: usize) {
        let value = self.session(index);
        let mut follow = |name: &str, text: &str| {
            if let Some(i) = BY_NAME.get(name) {
                self.own.insert(*i, VarValue::text(text));
            }
        };
        match DEFS[index].name {
            "character_set_connection" => follow("collation_connection", convert::default_collation(value.as_str())),
            "collation_connection" => follow("character_set_connection", convert::charset_of(value.as_str())),
            "character_set_database" => follow("collation_database", convert::default_collation(value.as_str())),
            "collation_database" => follow("character_set_database", convert::charset_of(value.as_str())),
            "character_set_server" => follow("collation_server", convert::default_collation(value.as_str())),
            "collation_server" => follow("character_set_server", convert::charset_of(value.as_str())),
            _ => {}
        }
    }
    fn refresh(&mut self) {
        self.settings = Settings::read(self);
    }
}

fn read_only(name: &str) -> SqlError {
    SqlError::new(1238, format!("Variable '{name}' is a read only variable"))
}

/// 1229 and 1228.
fn check_reach(def: &Def, global: bool) -> Result<()> {
    let name = def.name;
    match (def.reach, global) {
        (Reach::Global, false) => Err(SqlError::new(
            1229,
            format!("Variable '{name}' is a GLOBAL variable and should be set with SET GLOBAL"),
        )),
        (Reach::Session, true) => Err(SqlError::new(
            1228,
            format!("Variable '{name}' is a SESSION variable and can't be used with SET GLOBAL"),
        )),
        _ => Ok(()),
    }
}

/// 1238 where `@@global.x` names a session variable, or `@@session.x` a global one.
pub fn check_read_scope(scope: Option<&str>, index: usize) -> Result<()> {
    let def = &DEFS[index];
    let wrong = match scope {
        Some("global" | "persist" | "persist_only") => (def.reach == Reach::Session).then_some("SESSION"),
        Some("session" | "local") => (def.reach == Reach::Global).then_some("GLOBAL"),
        _ => None,
    };
    match wrong {
        Some(kind) => Err(SqlError::new(1238, format!("Variable '{}' is a {kind} variable", def.name))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
