//! `/metrics` in Prometheus' text form. Names begin with `starling_` and end with their unit.
//!
//! Must not know: who scrapes.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::App;
use super::guard::Reader;
use super::status::unready;

/// Adds what other rooms measure (statements, sessions).
pub type More = Arc<dyn Fn(&mut Text) + Send + Sync>;

/// Text under construction.
#[derive(Default)]
pub struct Text(String);

impl Text {
    /// A metric: its help and type once, then its samples.
    pub fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
    pub fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            self.0.push('{');
            for (i, (label, value)) in labels.iter().enumerate() {
                let value = value.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = write!(self.0, "{}{label}=\"{value}\"", if i > 0 { "," } else { "" });
            }
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, "gauge", help);
        self.sample(name, &[], value);
    }
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, "counter", help);
        self.sample(name, &[], value);
    }
}

pub async fn metrics(_: Reader, State(app): State<App>) -> Response {
    let mut text = Text::default();
    node(&app, &mut text);
    sequences(&app, &mut text);
    peers(&app, &mut text);
    messages(&app, &mut text);
    (app.more_metrics)(&mut text);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}

fn node(app: &App, text: &mut Text) {
    let cluster = &app.cluster;
    let log = cluster.log();
    text.metric("starling_info", "gauge", "What runs here.");
    text.sample(
        "starling_info",
        &[("version", &env!("CARGO_PKG_VERSION")), ("node", &cluster.node_name())],
        1,
    );
    text.gauge(
        "starling_uptime_seconds",
        "Since the process started.",
        cluster.uptime().as_secs_f64(),
    );
    text.gauge("starling_ready", "1 when /readyz says so.", u8::from(unready(app, None).is_none()));
    text.gauge(
        "starling_writable",
        "1 when this node takes writes.",
        u8::from(cluster.may_write().is_ok()),
    );
    text.gauge(
        "starling_log_poisoned",
        "1 after a sync failed: nothing is acknowledged.",
        u8::from(log.poisoned().is_some()),
    );
    text.gauge("starling_log_disk_bytes", "Size of the log on disk.", log.disk_bytes());
    text.counter(
        "starling_log_flushes_total",
        "Durable flushes in the log's life.",
        log.flush_number(),
    );
    text.gauge("starling_feeds", "Open change feeds.", app.feeds.count());
    if let Some(engine) = cluster.engine() {
        text.gauge(
            "starling_entries_waiting",
            "Entries held back (causes missing, or too early).",
            engine.held().0,
        );
        text.gauge("starling_catalog_version", "Schema entries applied.", engine.catalog().version);
    }
    if let Some(kib) = resident_kib() {
        text.gauge("starling_resident_memory_bytes", "Memory of the process.", kib * 1024);
    }
}

fn sequences(app: &App, text: &mut Text) {
    text.metric("starling_log_held", "counter", "Highest dense place held, by origin.");
    for (origin, seq) in app.cluster.log().held().iter() {
        text.sample("starling_log_held", &[("origin", &origin)], seq);
    }
    if let Some(engine) = app.cluster.engine() {
        text.metric("starling_applied", "counter", "Highest place that readers see, by origin.");
        for (origin, seq) in engine.applied().iter() {
            text.sample("starling_applied", &[("origin", &origin)], seq);
        }
    }
}

fn peers(app: &App, text: &mut Text) {
    let now = Instant::now();
    let view = app.cluster.view();
    let peers = app.cluster.peers().snapshot();
    text.gauge("starling_members", "Members of the cluster that vote.", view.members.voters().len());
    text.gauge(
        "starling_members_epoch",
        "How often who votes has changed.",
        view.members.epoch().number,
    );
    let name = |id| view.members.by_identity(id).map_or_else(|| "?".to_owned(), |m| m.name.clone());
    text.metric("starling_peer_up", "gauge", "1 when the peer's stream flows.");
    for (id, peer) in &peers {
        text.sample("starling_peer_up", &[("peer", &name(*id))], u8::from(peer.is_alive(now)));
    }
    text.metric(
        "starling_peer_behind_seconds",
        "gauge",
        "For how long this node has not shown all that the peer holds.",
    );
    for (id, peer) in &peers {
        let behind = peer.behind_since.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
        text.sample("starling_peer_behind_seconds", &[("peer", &name(*id))], behind);
    }
    text.metric(
        "starling_peer_clock_offset_seconds",
        "gauge",
        "How far the peer's clock is ahead of this one.",
    );
    for (id, peer) in &peers {
        if let Some(offset) = peer.offset.offset_ms() {
            text.sample(
                "starling_peer_clock_offset_seconds",
                &[("peer", &name(*id))],
                offset as f64 / 1000.0,
            );
        }
    }
}

fn messages(app: &App, text: &mut Text) {
    let counts = app.cluster.message_counts();
    let load = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
    text.counter(
        "starling_messages_sent_total",
        "Messages of transactions to peers.",
        load(&counts.sent),
    );
    text.counter(
        "starling_message_frames_sent_total",
        "Frames that carried them.",
        load(&counts.frames),
    );
    text.counter(
        "starling_messages_dropped_total",
        "Messages lost on this side: no stream, or its outbox was full.",
        load(&counts.dropped),
    );
    text.counter(
        "starling_messages_received_total",
        "Messages of transactions from peers.",
        load(&counts.received),
    );
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.metric("starling_x", "gauge", "Help.");
        text.sample("starling_x", &[("a", &"q\"\\"), ("b", &1)], 2.5);
        assert_eq!(
            text.0,
            "# HELP starling_x Help.\n# TYPE starling_x gauge\nstarling_x{a=\"q\\\"\\\\\",b=\"1\"} 2.5\n"
        );
    }
}
