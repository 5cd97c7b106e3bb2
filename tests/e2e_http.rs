//! The HTTP face and the commands that ask it: rights, probes, metrics, feeds in both forms, the demo.

mod support;

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Node, SECRET, cluster, free_port, get, json, lines, starling, until};

const SHOP: &str = "CREATE DATABASE shop; CREATE TABLE shop.items (id INT PRIMARY KEY, label VARCHAR(100))";

/// An address of this machine that is not loopback, if there is one.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only asks which address would be used.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

fn curl(url: &str, token: Option<&str>) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "--noproxy", "*", "-o", "-", "-w", "\n%{http_code}"]);
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.arg(url).output().expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, code) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (code.to_owned(), body.to_owned())
}

#[test]
fn from_elsewhere_a_token_is_needed() {
    let Some(ip) = outer_address() else { return };
    let under = tempfile::tempdir().unwrap();
    let token = |scope: &str| starling(&["token", scope, "--cluster-secret", SECRET]).1.trim().to_owned();
    for secret in [None, Some(SECRET)] {
        let port = free_port();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_starling"));
        serve
            .arg("serve")
            .arg("--data-dir")
            .arg(under.path().join(if secret.is_some() { "with" } else { "without" }));
        serve
            .args(["--mysql-addr", "127.0.0.1:0"])
            .env("STARLING_HTTP_ADDR", format!("0.0.0.0:{port}"));
        serve.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(secret) = secret {
            serve.env("STARLING_CLUSTER_SECRET", secret);
        }
        let mut process = Ended(serve.spawn().unwrap());
        until("it is ready", || get(port, "/readyz").is_some_and(|r| r.0 == 200));
        let url = |path: &str| format!("http://{ip}:{port}{path}");
        if secret.is_none() {
            for path in ["/v1/status", "/healthz", "/readyz", "/metrics", "/"] {
                assert_eq!(curl(&url(path), None).0, "403", "{path}");
            }
        } else {
            assert_eq!(curl(&url("/healthz"), None).0, "200");
            for path in ["/v1/status", "/metrics", "/", "/v1/changes?follow=false"] {
                assert_eq!(curl(&url(path), None).0, "401", "{path}");
                assert_eq!(curl(&url(path), Some(&token("--read"))).0, "200", "{path}");
                assert_eq!(curl(&url(path), Some(SECRET)).0, "401", "the secret is no token");
            }
            let (status, body) = curl(&url("/v1/log/stream?after="), Some(&token("--admin")));
            assert_eq!(status, "401", "streams are for nodes: {body}");
        }
        process.0.kill().unwrap();
    }
}

/// Ends with its test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn status_members_metrics_and_the_page() {
    let under = tempfile::tempdir().unwrap();
    let nodes = cluster(&["one", "two"], under.path());
    nodes[0].sql(SHOP);
    until("both are up", || {
        let members = get(nodes[0].http, "/v1/members").unwrap().1;
        json(&members, "members.1.state") == "up"
    });
    let ready = get(nodes[1].http, "/readyz?max_lag_ms=5000").unwrap();
    assert_eq!((ready.0, json(&ready.1, "quorum")), (200, true.into()), "{}", ready.1);
    until("the clocks are compared", || {
        let members = get(nodes[0].http, "/v1/members").unwrap().1;
        json(&members, "members.1.clock_offset_ms")
            .as_i64()
            .is_some_and(|ms| ms.abs() < 400)
    });
    let metrics = get(nodes[0].http, "/metrics").unwrap().1;
    for name in [
        "starling_ready 1",
        "starling_members 2",
        "starling_peer_up{peer=\"two\"} 1",
        "starling_log_flushes_total",
    ] {
        assert!(metrics.contains(name), "{name} in\n{metrics}");
    }
    assert!(get(nodes[0].http, "/").unwrap().1.contains("<h1>one</h1>"));
    assert_eq!(get(nodes[0].http, "/nowhere").unwrap().0, 404);
    let (status, text) = starling(&["status", "--http-addr", &nodes[0].http_addr()]);
    assert!(status == 0 && text.contains("ready     yes") && text.contains("two"), "{text}");
    let (status, text) = starling(&["members", "list", "--json", "--http-addr", &nodes[0].http_addr()]);
    assert_eq!((status, json(&text, "members.1.name")), (0, "two".into()));
    assert_eq!(starling(&["status", "--http-addr", "127.0.0.1:1"]).0, 1);
}

#[test]
fn a_feed_follows_waits_and_speaks_to_browsers() {
    let under = tempfile::tempdir().unwrap();
    let mut node = Node::new("one", under.path());
    node.start();
    node.sql(SHOP);
    let port = node.http;
    let follower = std::thread::spawn(move || {
        let events = lines(port, "/v1/changes?cursor=now&heartbeat_ms=50").map(|l| serde_json::from_str::<Value>(&l).unwrap());
        events.skip_while(|e| e["op"] == "heartbeat").take(2).collect::<Vec<_>>()
    });
    let poll = std::thread::spawn(move || get(port, "/v1/changes?cursor=now&wait_ms=20000&tables=shop.items").unwrap());
    // Both have to be listening before anything happens.
    until("both feeds are open", || json(&get(port, "/v1/status").unwrap().1, "feeds") == 2);
    node.sql("INSERT INTO shop.items VALUES (1, 'a'), (2, 'b')");
    let events = follower.join().unwrap();
    assert_eq!((&events[0]["after"]["label"], &events[1]["count"]), (&"a".into(), &2.into()));
    let (status, body) = poll.join().unwrap();
    assert_eq!((status, body.matches("\"op\":\"c\"").count()), (200, 2), "{body}");
    let output = Command::new("curl")
        .args(["-s", "--noproxy", "*", "-N", "-H", "Accept: text/event-stream"])
        .args(["-H", &format!("Last-Event-ID: {}", events[0]["cursor"].as_str().unwrap())])
        .arg(format!("http://127.0.0.1:{port}/v1/changes?follow=false"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("id: ") && text.contains("\nevent: change\ndata: {") && text.contains("\"label\":\"b\""),
        "{text}"
    );
    assert!(!text.contains("\"label\":\"a\""), "{text}");
    let (status, text) = starling(&["tail", "--no-follow", "--http-addr", &node.http_addr(), "--tables", "shop.items"]);
    assert!(status == 0 && text.contains("shop.items {\"id\":2}"), "{text}");
}

#[test]
fn the_demo_runs_three_nodes_and_ends_them() {
    let under = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_starling"))
        .args(["demo", "--json", "--data-dir"])
        .arg(under.path().join("demo"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(demo.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let nodes = json(&line, "nodes");
    let ports: Vec<u16> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["http_addr"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap())
        .collect();
    assert_eq!(ports.len(), 3);
    assert!(ports.iter().all(|p| get(*p, "/readyz").is_some_and(|r| r.0 == 200)));
    // One is killed and started again with the command that was printed.
    let pid = nodes[1]["pid"].as_i64().unwrap();
    // SAFETY: the pid is that of a node of this demo.
    unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) };
    until("it is gone", || get(ports[1], "/readyz").is_none());
    let restart: Vec<String> = nodes[1]["restart"].as_str().unwrap().split(' ').map(str::to_owned).collect();
    let mut again = Ended(
        Command::new(&restart[0])
            .args(&restart[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until("it is back", || get(ports[1], "/readyz").is_some_and(|r| r.0 == 200));
    again.0.kill().unwrap();
    // SAFETY: the pid is that of the demo started above.
    unsafe { libc::kill(i32::try_from(demo.id()).unwrap(), libc::SIGINT) };
    assert!(demo.wait().unwrap().success());
    assert!(ports.iter().all(|p| get(*p, "/healthz").is_none()));
}
