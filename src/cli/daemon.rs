//! `--daemon`: the node goes on in a process of its own once it is up.
//!
//! The parent starts the same command again in a session of its own, with its log lines in `<data-dir>/starling.log`, and waits for one
//! report over a pipe: what to tell people, and whether it worked. Must not know: what a node does.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::{Outcome, complain};
use crate::config::Config;

/// Set in the process that is to serve.
pub const CHILD: &str = "STARLING_DAEMON_CHILD";

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

pub fn launch(config: &Config) -> Outcome {
    match start(config) {
        Ok(lines) => {
            println!("{lines}");
            Outcome::Done
        }
        Err(error) => {
            complain(error);
            Outcome::Failed
        }
    }
}

fn start(config: &Config) -> Result<String, String> {
    let log = config.data_dir.join("starling.log");
    std::fs::create_dir_all(&config.data_dir).map_err(|e| format!("cannot use the data directory {}: {e}", config.data_dir.display()))?;
    let log_file = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command
        .args(std::env::args_os().skip(1))
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file);
    // SAFETY: setsid is async-signal-safe and touches nothing of ours.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let report = child.stdout.take().ok_or("no pipe to the started process")?;
    let mut lines = Vec::new();
    for line in BufReader::new(report).lines().map_while(Result::ok) {
        if line == "up" {
            return Ok(lines.join("\n"));
        }
        lines.push(line);
    }
    let _ = child.wait();
    Err(if lines.is_empty() {
        format!("the node did not start; see {}", log.display())
    } else {
        lines.join("\n")
    })
}

/// In the child: tells the parent how it went, once. Without a parent: nothing.
pub fn report(result: &Result<String, String>) {
    if !is_child() {
        return;
    }
    let text = match result {
        Ok(text) => format!("{text}\nup\n"),
        Err(text) => format!("{text}\n"),
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}
