//! The command line.
//!
//! Promises: exit status 0 means done, 1 failed or different, 2 bad usage; with `--json` the result is JSON on stdout; what is for
//! people while something runs goes to stderr. Must not know: how anything is done, only whom to ask.

pub mod client;
pub mod daemon;
pub mod demo;
pub mod replay;
pub mod serve;
pub mod show;
pub mod tail;
pub mod token;
pub mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Flags, ProcessEnvironment, unknown_variables};

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Failed, or different.
    Failed,
    BadUsage,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        match outcome {
            Outcome::Done => ExitCode::SUCCESS,
            Outcome::Failed => ExitCode::from(1),
            Outcome::BadUsage => ExitCode::from(2),
        }
    }
}

#[derive(Parser, Debug)]
#[command(
    name = "starling",
    version,
    about = "A leaderless, replicated SQLite that any MySQL client can use",
    long_about = "A leaderless, replicated SQLite that any MySQL client can use.\n\nWithout a command a node is served. Every flag is also \
                  an environment variable STARLING_… and a key of the file given by --config; a flag beats the environment, the \
                  environment the file. MYSQL_ROOT_PASSWORD, MYSQL_DATABASE, MYSQL_USER and MYSQL_PASSWORD (or …_FILE) work as in the usual \
                  MySQL images, at the first start of a cluster.",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(flatten)]
    serve: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a node (what happens without a command, too)
    Serve(Box<Flags>),
    /// Run three nodes on this machine, to try things out
    Demo(demo::Flags),
    /// How a node is
    Status(client::Flags),
    /// Print changes as they happen
    Tail(tail::Flags),
    /// The members of the cluster
    Members(show::MembersFlags),
    /// Are the tables of all nodes equal? Or a node's tables what its log says?
    Verify(verify::Flags),
    /// A bearer token for HTTP requests from other machines
    Token(token::Flags),
    /// Build the SQLite files from a log, into an empty directory
    Replay(replay::Flags),
}

/// Parses, runs, and says how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(flags)) => serve::run(&flags),
        Some(Command::Demo(flags)) => demo::run(&flags),
        Some(Command::Status(flags)) => show::status(&flags),
        Some(Command::Tail(flags)) => tail::run(&flags),
        Some(Command::Members(flags)) => show::members(&flags),
        Some(Command::Verify(flags)) => verify::run(&flags),
        Some(Command::Token(flags)) => token::run(&flags),
        Some(Command::Replay(flags)) => replay::run(&flags),
    };
    outcome.into()
}

/// One line on stderr.
pub fn complain(what: impl std::fmt::Display) {
    eprintln!("starling: {what}");
}

/// Prints JSON for programs.
pub fn print_json(value: &serde_json::Value) {
    println!("{value}");
}

/// Misspelt `STARLING_…` variables of this process.
pub fn misspelt() -> Vec<String> {
    let mut known: Vec<String> = vec!["STARLING_TOKEN".to_owned(), daemon::CHILD.to_owned(), "STARLING_LOG".to_owned()];
    if cfg!(debug_assertions) {
        known.push("STARLING_TEST_PLANT".to_owned());
    }
    let command = Cli::command();
    let all = command
        .get_arguments()
        .chain(command.get_subcommands().flat_map(|c| c.get_arguments()));
    known.extend(all.filter_map(|a| a.get_env()).map(|e| e.to_string_lossy().into_owned()));
    unknown_variables(&ProcessEnvironment, &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_what_happens_without_a_command() {
        let plain = parse("starling --data-dir d --join a:1,b:2 --cluster-secret s").unwrap();
        assert!(plain.command.is_none());
        assert_eq!(plain.serve.join, ["a:1", "b:2"]);
        let named = parse("starling serve --mysql-addr 127.0.0.1:1").unwrap();
        assert!(matches!(named.command, Some(Command::Serve(f)) if f.mysql_addr.as_deref() == Some("127.0.0.1:1")));
        assert_eq!(
            parse("starling serve --daemon")
                .map(|c| matches!(c.command, Some(Command::Serve(f)) if f.daemon == Some(true)))
                .ok(),
            Some(true)
        );
    }

    #[test]
    fn bad_usage_is_told_from_help() {
        assert_eq!(parse("starling --no-such-flag").unwrap_err().exit_code(), 2);
        assert_eq!(parse("starling verfy").unwrap_err().exit_code(), 2);
        assert_eq!(parse("starling replay").unwrap_err().exit_code(), 2);
        assert_eq!(parse("starling token --read --admin").unwrap_err().exit_code(), 2);
        assert_eq!(parse("starling --help").unwrap_err().exit_code(), 0);
    }
}
