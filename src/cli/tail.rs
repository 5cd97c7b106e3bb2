//! `starling tail`: the change feed on a terminal. A lost connection is taken up again where it was.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::client::{self, Lines, Node, block_on, encode};
use super::{Outcome, complain};

const AGAIN: Duration = Duration::from_secs(1);

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    #[command(flatten)]
    client: client::Flags,
    /// Where to begin: a cursor, or 'now' [default: the oldest change kept]
    #[arg(long, value_name = "C")]
    cursor: Option<String>,
    /// Only these (shop.*,blog.posts)
    #[arg(long, value_name = "T,…")]
    tables: Option<String>,
    /// End when there is no more, instead of waiting for more
    #[arg(long)]
    no_follow: bool,
    /// End after so many changes
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub fn run(flags: &Flags) -> Outcome {
    block_on(async {
        let node = Node::new(&flags.client.http_addr, &flags.client.key)?;
        let mut cursor = flags.cursor.clone();
        let mut left = flags.limit;
        let mut first = true;
        loop {
            let ended = once(&node, flags, &mut cursor, &mut left).await;
            match ended {
                Ok(Ended::Closed) => return Ok(Outcome::Done),
                // Only what worked once is worth another try.
                Err(trouble) if first || flags.no_follow => return Err(trouble),
                Ok(Ended::Over) if flags.no_follow || left == Some(0) => return Ok(Outcome::Done),
                Ok(Ended::Over) => {}
                Err(trouble) => complain(trouble),
            }
            first = false;
            tokio::time::sleep(AGAIN).await;
        }
    })
}

enum Ended {
    Over,
    /// Nobody reads our stdout any more.
    Closed,
}

async fn once(node: &Node, flags: &Flags, cursor: &mut Option<String>, left: &mut Option<u64>) -> Result<Ended, String> {
    let mut path = format!("/v1/changes?follow={}", !flags.no_follow);
    for (name, value) in [
        ("cursor", cursor.clone()),
        ("tables", flags.tables.clone()),
        ("limit", left.map(|l| l.to_string())),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encode(&value)));
        }
    }
    let mut lines = Lines::new(node.send(reqwest::Method::GET, &path).await?);
    while let Some(line) = lines.next().await? {
        let event: Value = serde_json::from_str(&line).map_err(|e| format!("not an event ({e}): {line}"))?;
        if let Some(at) = event["cursor"].as_str() {
            *cursor = Some(at.to_owned());
        }
        let text = match event["op"].as_str() {
            Some("heartbeat") => continue,
            Some("error") => return Err(event["message"].as_str().unwrap_or("the feed ended").to_owned()),
            _ if flags.client.json => line,
            _ => pretty(&event),
        };
        if writeln!(std::io::stdout(), "{text}").is_err() {
            return Ok(Ended::Closed);
        }
        if let Some(left) = left {
            *left = left.saturating_sub(1);
        }
    }
    Ok(Ended::Over)
}

/// `1:42 0/1  u  shop.items {"id":1}  {"label":"a"} → {"label":"b"}`
fn pretty(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let place = format!("{}:{} {}/{}", event["origin"], event["seq"], event["index"], event["count"]);
    let table = match event["table"].as_str() {
        Some(table) => format!("{}.{table}", text("db")),
        None => text("db"),
    };
    match event["op"].as_str() {
        Some("ddl") => format!("{place:<16} ddl  {table}  {}", event["ddl"]),
        Some("c") => format!("{place:<16} c    {table} {}  {}", event["key"], event["after"]),
        Some("d") => format!("{place:<16} d    {table} {}  {}", event["key"], event["before"]),
        op => format!(
            "{place:<16} {:<4} {table} {}  {} → {}",
            op.unwrap_or("?"),
            event["key"],
            event["before"],
            event["after"]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_people() {
        let event = serde_json::json!({"origin": 1, "seq": 42, "index": 0, "count": 1, "op": "u", "db": "shop", "table": "items",
            "key": {"id": 1}, "before": {"n": 1}, "after": {"n": 2}});
        assert_eq!(pretty(&event), "1:42 0/1         u    shop.items {\"id\":1}  {\"n\":1} → {\"n\":2}");
    }
}
