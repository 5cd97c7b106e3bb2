//! `GET /v1/changes`: every row change and schema change, as it is applied.
//!
//! Promises: see [`feed`]. A reader that stops reading stops the feed, nothing piles up; idle feeds send heartbeats; a cursor that
//! reaches below what is kept gets 410 with the oldest one that is good. Must not know: how changes came to be.

pub mod conflicts;
pub mod event;
pub mod feed;
pub mod names;
pub mod value;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use starling_log::log::ReadError;
use starling_log::{Cursor, VersionVector};
use tokio::sync::watch;
use tokio::time::Instant;

use super::App;
use super::error::{Failure, Query};
use super::guard::Reader;
use event::Framing;
use feed::{Chunk, Feed};
use names::Filter;

/// Feeds at once.
const FEEDS_MAX: usize = 1000;
const HEARTBEAT_MS: u64 = 10_000;
const HEARTBEAT_MIN_MS: u64 = 10;
const WAIT_MAX_MS: u64 = 600_000;
/// With fewer entries to go through than this the log is read on the spot: they are in memory.
const NEAR: u64 = 64;

/// How many feeds are open.
#[derive(Default)]
pub struct Feeds(Arc<AtomicUsize>);

struct Open(Arc<AtomicUsize>);

impl Feeds {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
    fn open(&self) -> Result<Open, Failure> {
        let open = Open(self.0.clone());
        if self.0.fetch_add(1, Ordering::Relaxed) >= FEEDS_MAX {
            return Err(Failure::new(503, "busy", format!("{FEEDS_MAX} feeds are open; that is all")));
        }
        Ok(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a reader asks for.
#[derive(Debug)]
struct Asked {
    cursor: Option<Start>,
    filter: Filter,
    framing: Framing,
    limit: Option<u64>,
    heartbeat: Duration,
    follow: bool,
    wait: Duration,
}

#[derive(Debug, PartialEq)]
enum Start {
    Now,
    At(Cursor),
}

const PARAMETERS: [&str; 8] = ["cursor", "tables", "format", "limit", "heartbeat_ms", "follow", "wait_ms", "order"];

impl Asked {
    fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Asked, Failure> {
        let query = Query::parse(query, &PARAMETERS)?;
        match query.get("format").unwrap_or("native") {
            "native" | "" => {}
            "debezium" => return Err(Failure::new(501, "not_implemented", "format=debezium is not implemented yet")),
            other => return Err(Failure::bad(format!("format: '{other}' is neither native nor debezium"))),
        }
        match query.get("order").unwrap_or("arrival") {
            "arrival" | "" => {}
            "stamp" => {
                return Err(Failure::new(
                    501,
                    "not_implemented",
                    "order=stamp needs a stable stamp, which there is not yet",
                ));
            }
            other => return Err(Failure::bad(format!("order: '{other}' is neither arrival nor stamp"))),
        }
        let text = |name| headers.get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
        let server_sent = text(ACCEPT.as_str()).is_some_and(|a| a.contains("text/event-stream"));
        // A browser that reconnects says where it was; that is newer than what its address says.
        let cursor = text("last-event-id").filter(|_| server_sent).or_else(|| query.get("cursor"));
        let cursor = match cursor {
            None | Some("") => None,
            Some("now") => Some(Start::Now),
            Some(text) => {
                Some(Start::At(text.parse().map_err(|e: starling_log::vector::BadCursor| {
                    Failure::new(400, "bad_cursor", e.to_string())
                })?))
            }
        };
        let heartbeat = query.number("heartbeat_ms")?.unwrap_or(HEARTBEAT_MS).max(HEARTBEAT_MIN_MS);
        let wait = query.number("wait_ms")?;
        Ok(Asked {
            cursor,
            filter: Filter::parse(query.get("tables").unwrap_or("")).map_err(Failure::bad)?,
            framing: if server_sent { Framing::ServerSent } else { Framing::Lines },
            limit: query.number("limit")?,
            heartbeat: Duration::from_millis(heartbeat),
            // A long poll ends by itself.
            follow: query.flag("follow", wait.is_none())?,
            wait: Duration::from_millis(wait.unwrap_or(0).min(WAIT_MAX_MS)),
        })
    }
}

/// Where a feed begins; 410 when that is pruned.
fn start(asked: Option<Start>, pruned: &VersionVector, applied: &VersionVector) -> Result<Cursor, Failure> {
    let oldest = Cursor {
        vector: pruned.clone(),
        partial: None,
    };
    match asked {
        None => Ok(oldest),
        Some(Start::Now) => Ok(Cursor {
            vector: applied.clone(),
            partial: None,
        }),
        Some(Start::At(cursor)) if cursor.vector.covers(pruned) => Ok(cursor),
        Some(Start::At(_)) => Err(pruned_past(&oldest)),
    }
}

fn pruned_past(oldest: &Cursor) -> Failure {
    let message = "what follows this cursor is pruned; 'oldest' is the oldest cursor that is good";
    Failure::new(410, "pruned", message).with("oldest", oldest.to_string())
}

pub async fn changes(_: Reader, State(app): State<App>, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, Failure> {
    let asked = Asked::parse(query.as_deref(), &headers)?;
    let engine = app
        .cluster
        .engine()
        .ok_or_else(|| Failure::not_now("this node is starting"))?
        .clone();
    let cursor = start(asked.cursor, &engine.log().pruned(), &engine.applied())?;
    let open = app.feeds.open()?;
    let framing = asked.framing;
    let reading = Reading {
        grown: engine.watch(),
        shutdown: app.shutdown.clone(),
        feed: Some(Feed::new(engine, cursor, asked.filter, framing, asked.limit)),
        framing,
        follow: asked.follow,
        until: Instant::now() + asked.wait,
        heartbeat: asked.heartbeat,
        beat: Instant::now() + asked.heartbeat,
        said: false,
        ended: false,
        app,
        _open: open,
    };
    let body = futures::stream::unfold(reading, |mut reading| async move {
        let text = reading.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), reading))
    });
    let kind = match framing {
        Framing::Lines => "application/x-ndjson",
        Framing::ServerSent => "text/event-stream",
    };
    Response::builder()
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .header("x-accel-buffering", "no")
        .body(Body::from_stream(body))
        .map_err(Failure::internal)
}

/// One reader being served.
struct Reading {
    app: App,
    /// Away while a blocking thread has it.
    feed: Option<Feed>,
    framing: Framing,
    grown: watch::Receiver<u64>,
    shutdown: watch::Receiver<bool>,
    follow: bool,
    /// Until when a long poll waits for its first event.
    until: Instant,
    heartbeat: Duration,
    beat: Instant,
    said: bool,
    ended: bool,
    _open: Open,
}

enum Woken {
    Grown,
    Beat,
    End,
}

impl Reading {
    /// The next piece of the answer; `None`: its end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        while !self.ended {
            // Mark before reading: what comes in between wakes again.
            self.grown.borrow_and_update();
            let chunk = match self.step().await {
                Ok(chunk) => chunk,
                Err(text) => {
                    self.ended = true;
                    return Some(text);
                }
            };
            let full = self.feed.as_ref()?.is_full();
            self.ended = full;
            if !chunk.text.is_empty() {
                self.said = true;
                self.beat = Instant::now() + self.heartbeat;
                return Some(chunk.text);
            }
            if chunk.more || full {
                continue;
            }
            if !self.follow && (self.said || self.until <= Instant::now()) {
                self.ended = true;
                // So that a reader of nothing knows where it stands.
                return Some(self.heartbeat_text());
            }
            match self.wait().await {
                Woken::Grown => {}
                Woken::Beat => {
                    self.beat = Instant::now() + self.heartbeat;
                    return Some(self.heartbeat_text());
                }
                Woken::End => {
                    self.ended = true;
                    return Some(self.heartbeat_text());
                }
            }
        }
        None
    }

    async fn wait(&mut self) -> Woken {
        let deadline = if self.follow { self.beat } else { self.beat.min(self.until) };
        tokio::select! {
            changed = self.grown.changed() => if changed.is_ok() { Woken::Grown } else { Woken::End },
            () = tokio::time::sleep_until(deadline) => if deadline == self.beat { Woken::Beat } else { Woken::Grown },
            _ = self.shutdown.wait_for(|down| *down) => Woken::End,
        }
    }

    fn heartbeat_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(feed) = &self.feed {
            event::heartbeat(&mut text, self.framing, &feed.cursor(), self.app.cluster.log().clock().now_ms());
        }
        text
    }

    /// `Err`: the last words.
    async fn step(&mut self) -> Result<Chunk, Vec<u8>> {
        let Some(mut feed) = self.feed.take() else {
            return Ok(Chunk::default());
        };
        let (feed, stepped) = if feed.distance() <= NEAR {
            let stepped = feed.step(&self.app.names);
            (feed, stepped)
        } else {
            let app = self.app.clone();
            let job = tokio::task::spawn_blocking(move || {
                let stepped = feed.step(&app.names);
                (feed, stepped)
            });
            match job.await {
                Ok(done) => done,
                Err(_) => return Err(Vec::new()),
            }
        };
        let stepped = stepped.map_err(|error| self.last_words(&feed, &error));
        self.feed = Some(feed);
        stepped
    }

    fn last_words(&self, feed: &Feed, error: &ReadError) -> Vec<u8> {
        let failure = match error {
            ReadError::Pruned { oldest } => pruned_past(&Cursor {
                vector: oldest.clone(),
                partial: None,
            }),
            ReadError::Damaged(_) => {
                tracing::error!(%error, "a feed cannot read the log");
                Failure::internal(error)
            }
        };
        let mut text = Vec::new();
        event::failure(&mut text, self.framing, &feed.cursor(), &failure.body());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(list: &[(u16, u64)]) -> VersionVector {
        VersionVector(list.iter().copied().collect())
    }

    fn asked(query: &str) -> Result<Asked, Failure> {
        Asked::parse(Some(query), &HeaderMap::new())
    }

    #[test]
    fn parameters() {
        let plain = asked("").unwrap();
        assert!(plain.follow && plain.cursor.is_none() && plain.limit.is_none() && plain.framing == Framing::Lines);
        assert!(!asked("wait_ms=500").unwrap().follow);
        assert_eq!(asked("cursor=now").unwrap().cursor, Some(Start::Now));
        assert_eq!(asked("cursor=%21").unwrap_err().word, "bad_cursor");
        assert_eq!(asked("format=debezium").unwrap_err().status, 501);
        assert_eq!(asked("order=stamp").unwrap_err().status, 501);
        assert_eq!(asked("tables=shop").unwrap_err().status, 400);
        assert_eq!(asked("table=shop.x").unwrap_err().status, 400);
    }

    #[test]
    fn a_reconnecting_browser_goes_on_where_it_was() {
        let cursor = Cursor {
            vector: vector(&[(1, 4)]),
            partial: None,
        };
        let mut headers = HeaderMap::new();
        headers.insert("last-event-id", cursor.to_string().parse().unwrap());
        assert_eq!(Asked::parse(Some("cursor=now"), &headers).unwrap().cursor, Some(Start::Now));
        headers.insert(ACCEPT, "text/event-stream".parse().unwrap());
        let asked = Asked::parse(Some("cursor=now"), &headers).unwrap();
        assert_eq!((asked.cursor, asked.framing), (Some(Start::At(cursor)), Framing::ServerSent));
    }

    #[test]
    fn cursors_below_what_is_kept_are_gone() {
        let (pruned, applied) = (vector(&[(1, 10), (3, 2)]), vector(&[(1, 20), (3, 5)]));
        let at = |list: &[(u16, u64)]| {
            Some(Start::At(Cursor {
                vector: vector(list),
                partial: None,
            }))
        };
        assert_eq!(start(None, &pruned, &applied).unwrap().vector, pruned);
        assert_eq!(start(Some(Start::Now), &pruned, &applied).unwrap().vector, applied);
        // Ahead of this node in one origin: it waits there.
        assert!(start(at(&[(1, 10), (3, 9)]), &pruned, &applied).is_ok());
        let gone = start(at(&[(1, 12)]), &pruned, &applied).unwrap_err();
        assert_eq!(gone.status, 410);
        let oldest: Cursor = gone.more["oldest"].as_str().unwrap().parse().unwrap();
        assert_eq!(oldest.vector, pruned);
    }
}
