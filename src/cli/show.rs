//! `starling status` and `starling members`.

use serde_json::Value;

use super::client::{self, Node, block_on};
use super::{Outcome, complain, print_json};

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct MembersFlags {
    #[command(subcommand)]
    command: Option<MembersCommand>,
    #[command(flatten)]
    client: client::Flags,
}

#[derive(clap::Subcommand, Debug)]
enum MembersCommand {
    /// List them (what happens without a word, too)
    List(client::Flags),
    /// Take a member out
    Remove { id: u32 },
    /// Let a removed member come back
    Allow { id: u32 },
}

pub fn status(flags: &client::Flags) -> Outcome {
    block_on(async {
        let status = Node::new(&flags.http_addr, &flags.key)?.get("/v1/status").await?;
        if flags.json {
            print_json(&status);
        } else {
            print_status(&status);
        }
        Ok(Outcome::Done)
    })
}

pub fn members(flags: &MembersFlags) -> Outcome {
    let client = match &flags.command {
        None => &flags.client,
        Some(MembersCommand::List(client)) => client,
        Some(MembersCommand::Remove { .. } | MembersCommand::Allow { .. }) => {
            complain("members cannot be removed yet: that is decided by quorum, which this version does not have");
            return Outcome::BadUsage;
        }
    };
    block_on(async {
        let members = Node::new(&client.http_addr, &client.key)?.get("/v1/members").await?;
        if client.json {
            print_json(&members);
        } else {
            print_members(&members["members"]);
        }
        Ok(Outcome::Done)
    })
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn print_status(status: &Value) {
    let at = |path: &str| plain(status.pointer(path).unwrap_or(&Value::Null));
    let yes = |flag: &str, why: &str| match status.pointer(flag) {
        Some(Value::Bool(true)) => "yes".to_owned(),
        _ => format!("no: {}", at(why)),
    };
    println!(
        "node      {} (member {}, {})",
        at("/node/name"),
        at("/node/member"),
        at("/node/identity")
    );
    println!("cluster   {}", at("/cluster"));
    println!("version   {}, up for {} ms", at("/version"), at("/uptime_ms"));
    println!("ready     {}", yes("/ready", "/why_not_ready"));
    println!("writable  {}", yes("/writable", "/why_not_writable"));
    println!("MySQL     {}", at("/node/mysql_addr"));
    println!("HTTP      {}", at("/node/http_addr"));
    println!("data      {}", at("/node/data_dir"));
    println!("held      {}", at("/log/held"));
    println!("applied   {}", at("/applied"));
    if at("/waiting/entries") != "0" {
        println!("waiting   {} entries: {}", at("/waiting/entries"), at("/waiting/why"));
    }
    println!("log       {} bytes on disk", at("/log/disk_bytes"));
    println!();
    print_members(&status["members"]);
}

fn print_members(members: &Value) {
    println!("{:<4}{:<16}{:<9}{:<24}{:<24}APPLIED", "ID", "NAME", "STATE", "HTTP", "MYSQL");
    for member in members.as_array().into_iter().flatten() {
        let cell = |name: &str| plain(&member[name]);
        println!(
            "{:<4}{:<16}{:<9}{:<24}{:<24}{}",
            cell("id"),
            cell("name"),
            cell("state"),
            cell("http_addr"),
            cell("mysql_addr"),
            cell("applied")
        );
    }
}
