//! `starling replay`: the SQLite files of a log, built from nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use starling_apply::engine::OnConnect;
use starling_apply::{Engine, EngineOptions};
use starling_log::{Log, LogOptions};

use crate::sql::session::provider::Hooks;

use super::{Outcome, complain, print_json};

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// The data directory whose log is read (no node may be running on it)
    #[arg(long, value_name = "FROM")]
    data_dir: PathBuf,
    /// An empty directory, or one that does not exist
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(flags: &Flags) -> Outcome {
    let began = Instant::now();
    match replay(&flags.data_dir, &flags.into) {
        Ok((entries, tables)) => {
            let seconds = began.elapsed().as_secs_f64();
            if flags.json {
                print_json(&serde_json::json!({"entries": entries, "tables": tables, "seconds": seconds}));
            } else {
                println!("{entries} entries, {tables} tables in {seconds:.1} s: {}", flags.into.display());
            }
            Outcome::Done
        }
        Err(error) => {
            complain(error);
            Outcome::Failed
        }
    }
}

fn replay(from: &Path, into: &Path) -> Result<(u64, usize), String> {
    let log = open_log(from)?;
    if std::fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{} is not empty", into.display()));
    }
    std::fs::create_dir_all(into).map_err(|e| format!("cannot make {}: {e}", into.display()))?;
    let entries = log.held().iter().map(|(_, seq)| seq).sum();
    let engine = open_engine(&log, into)?;
    let tables = engine.catalog().databases.values().map(|d| d.tables.len()).sum();
    engine.close();
    Ok((entries, tables))
}

/// The log of a data directory, for commands that work beside no node.
pub fn open_log(data_dir: &Path) -> Result<Arc<Log>, String> {
    let dir = data_dir.join("log");
    if !dir.is_dir() {
        return Err(format!("{} holds no log", data_dir.display()));
    }
    Log::open(LogOptions::new(dir), Arc::new(starling_log::SystemTime)).map_err(|e| e.to_string())
}

/// Tables of a log, with progress for people on stderr.
pub fn open_engine(log: &Arc<Log>, dir: &Path) -> Result<Arc<Engine>, String> {
    let options = EngineOptions {
        dir: dir.to_owned(),
        origin: None,
        on_connect: on_connect(),
        full_row_image: true,
        on_progress: Some(progress("replaying")),
    };
    Engine::open(options, log.clone()).map_err(|e| e.to_string())
}

/// MySQL's functions for the connections of tables that no server stands behind.
pub fn on_connect() -> OnConnect {
    Hooks::new().on_connect()
}

/// Says how far it is, a few times a second at most.
pub fn progress(what: &'static str) -> Arc<dyn Fn(u64, u64) + Send + Sync> {
    let told = parking_lot::Mutex::new(Instant::now());
    Arc::new(move |done, all| {
        let mut told = told.lock();
        if told.elapsed() > Duration::from_millis(300) {
            *told = Instant::now();
            eprintln!("{what}: {done} of {all} entries");
        }
    })
}
