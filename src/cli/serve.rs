//! `starling serve`: one node in this process.

use super::{Outcome, complain, daemon, misspelt};
use crate::config::{Config, Flags, LogFormat, ProcessEnvironment};
use crate::server::{self, Announcement, StartError};
use std::io::IsTerminal;
use std::time::Duration;

/// How long threads that are still busy are waited for at the end.
const LINGER: Duration = Duration::from_secs(1);

pub fn run(flags: &Flags) -> Outcome {
    let config = match Config::load(flags, &ProcessEnvironment) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return Outcome::BadUsage;
        }
    };
    if config.daemon && !daemon::is_child() {
        return daemon::launch(&config);
    }
    start_tracing(config.log_format);
    for name in misspelt() {
        tracing::warn!("the environment variable {name} is not known and has no effect");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&StartError(format!("no threads: {error}"))),
    };
    let ended = runtime.block_on(server::run(config, announce));
    // A start that was broken off may still be busy on a blocking thread: what it does is safe to cut.
    runtime.shutdown_timeout(LINGER);
    match ended {
        Ok(()) => Outcome::Done,
        Err(error) => failed(&error),
    }
}

fn failed(error: &StartError) -> Outcome {
    daemon::report(&Err(error.to_string()));
    complain(error);
    Outcome::Failed
}

fn announce(up: &Announcement) {
    let mut text = String::new();
    if let Some(password) = &up.generated_root_password {
        text = format!("GENERATED ROOT PASSWORD: {password}\n");
    }
    text.push_str(&format!(
        "Starling {} '{}' is up: MySQL on {}, HTTP on http://{}, data in {}",
        env!("CARGO_PKG_VERSION"),
        up.name,
        up.mysql_addr,
        up.http_addr,
        up.data_dir.display()
    ));
    if daemon::is_child() {
        daemon::report(&Ok(text));
    } else {
        // A closed stdout is no reason to stop serving.
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Log lines go to stderr. `STARLING_LOG` takes tracing's filters (`debug`, `starling::cluster=debug,info` …).
pub fn start_tracing(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("STARLING_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sled=warn,hyper=warn,reqwest=warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Only a second call in one process can fail, and then the first one's settings stay.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
