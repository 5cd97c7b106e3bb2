//! `starling status` and `starling members`.

use serde_json::Value;

use super::client::{self, Node, block_on};
use super::{Outcome, print_json};

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
    /// Take a member out: it has no vote any more, and is refused by everybody
    Remove(ChangeFlags),
    /// Let a removed member come back
    Allow(ChangeFlags),
}

#[derive(clap::Args, Debug)]
#[group(skip)]
struct ChangeFlags {
    /// Its number, name or identity
    id: String,
    #[command(flatten)]
    client: client::Flags,
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
        Some(MembersCommand::Remove(flags)) => return change(flags, "remove"),
        Some(MembersCommand::Allow(flags)) => return change(flags, "allow"),
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

fn change(flags: &ChangeFlags, action: &str) -> Outcome {
    block_on(async {
        let node = Node::new(&flags.client.http_addr, &flags.client.key)?;
        let path = format!("/v1/members/{}/{action}", client::encode(&flags.id));
        let response = node.send(reqwest::Method::POST, &path).await?;
        let member: Value = response.json().await.map_err(|e| format!("{}: {e}", node.addr))?;
        if flags.client.json {
            print_json(&member);
        } else {
            println!(
                "member {} '{}' is {} now",
                plain(&member["id"]),
                plain(&member["name"]),
                plain(&member["standing"])
            );
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
    println!(
        "{:<4}{:<16}{:<9}{:<24}{:<24}{:<11}LAG",
        "ID", "NAME", "STATE", "HTTP", "MYSQL", "LAST SEEN"
    );
    for member in members.as_array().into_iter().flatten() {
        let cell = |name: &str| plain(&member[name]);
        let seen = match (&member["self"], &member["heard_ms_ago"]) {
            (Value::Bool(true), _) => "self".to_owned(),
            (_, Value::Null) => "-".to_owned(),
            (_, ms) => format!("{ms} ms"),
        };
        println!(
            "{:<4}{:<16}{:<9}{:<24}{:<24}{:<11}{}",
            cell("id"),
            cell("name"),
            cell("state"),
            cell("http_addr"),
            cell("mysql_addr"),
            seen,
            cell("lag_entries")
        );
    }
}
