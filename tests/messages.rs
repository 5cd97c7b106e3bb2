//! Nodes within one process: messages between them over their streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use starling::cluster::gossip::Health;
use starling::cluster::{Cluster, Settings};
use starling::http::{self, Inner, Progress};
use starling_apply::{Engine, EngineOptions};
use starling_log::{Body, Entry, Hlc, Log, LogOptions, Place, Stamp, SystemTime};
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
    stop: watch::Sender<bool>,
    running: starling::cluster::run::Running,
    received: mpsc::UnboundedReceiver<(starling::cluster::members::Id, Bytes, Instant)>,
    addr: String,
}

async fn node(dir: &std::path::Path, name: &str, join: &[String]) -> Node {
    let (stop, shutdown) = watch::channel(false);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let log = Log::open(LogOptions::new(dir.join(name).join("log")), Arc::new(SystemTime)).unwrap();
    let settings = Settings {
        name: name.to_owned(),
        addr: addr.clone(),
        secret: Some("secret".to_owned()),
        join: join.to_vec(),
        ..Settings::default()
    };
    let cluster = Cluster::open(log.clone(), settings, shutdown.clone()).unwrap();
    let (sender, received) = mpsc::unbounded_channel();
    cluster.on_txn(Arc::new(move |from, message| {
        let _ = sender.send((from, message, Instant::now()));
    }));
    let app = Inner {
        cluster: cluster.clone(),
        progress: Arc::new(Progress::default()),
        shutdown,
        data_dir: dir.to_owned(),
        mysql_addr: "127.0.0.1:1".parse().unwrap(),
        names: Default::default(),
        feeds: Default::default(),
        on_connect: Arc::new(|_, _| Ok(())),
        more_metrics: Arc::new(|_| {}),
    };
    http::serve(listener, Arc::new(app));
    cluster.settle().await.unwrap();
    let options = EngineOptions {
        dir: dir.join(name).join("db"),
        origin: cluster.origins().map(|o| o[0]),
        on_connect: Arc::new(|_, _| Ok(())),
        full_row_image: true,
        on_progress: None,
    };
    let opened = tokio::task::spawn_blocking({
        let cluster = cluster.clone();
        move || {
            let engine = Engine::open(options, log).unwrap();
            cluster.attach(engine.clone()).unwrap();
            engine
        }
    });
    let engine = opened.await.unwrap();
    let running = cluster.run().unwrap();
    Node {
        cluster,
        engine,
        stop,
        running,
        received,
        addr,
    }
}

impl Node {
    async fn end(self) {
        let _ = self.stop.send(true);
        self.running.ended().await;
        let engine = self.engine;
        tokio::task::spawn_blocking(move || engine.close()).await.unwrap();
    }
}

async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn pair(dir: &std::path::Path) -> (Node, Node) {
    let one = node(dir, "one", &[]).await;
    let two = node(dir, "two", std::slice::from_ref(&one.addr)).await;
    let (a, b) = (one.cluster.clone(), two.cluster.clone());
    until("both see each other", || {
        a.connected().contains(&b.node_id()) && b.connected().contains(&a.node_id())
    })
    .await;
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_both_ways_in_order_and_nowhere_when_nobody_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (one, mut two) = pair(dir.path()).await;
    let (a, b) = (one.cluster.node_id(), two.cluster.node_id());
    let began = Instant::now();
    let mut padding = vec![0; 4_000];
    for n in 0..4000u32 {
        padding[..4].copy_from_slice(&n.to_le_bytes());
        assert!(one.cluster.send(b, Bytes::copy_from_slice(&padding)));
    }
    for n in 0..4000u32 {
        let (from, message, _) = two.received.recv().await.unwrap();
        assert_eq!((from, &message[..4]), (a, &n.to_le_bytes()[..]));
    }
    // Nothing waits for a heartbeat: they come four times a second.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!one.cluster.send(a, Bytes::new()), "there is no stream to oneself");
    two.end().await;
    until("the stream is gone", || !one.cluster.send(b, Bytes::new())).await;
    assert!(one.cluster.connected().is_empty());
    one.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_there_is_known_and_who_ends_is_down_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = pair(dir.path()).await;
    let three = node(dir.path(), "three", std::slice::from_ref(&one.addr)).await;
    let ids = [&one, &two, &three].map(|n| n.cluster.node_id());
    for node in [&one, &two, &three] {
        until("everybody is up", || ids.iter().all(|id| node.cluster.health(*id) == Health::Up)).await;
    }
    let began = Instant::now();
    three.end().await;
    for node in [&one, &two] {
        until("it is down", || node.cluster.health(ids[2]) == Health::Down).await;
        assert_eq!(node.cluster.health(ids[0]), Health::Up);
        assert_eq!(node.cluster.health(ids[1]), Health::Up);
    }
    assert!(began.elapsed() < Duration::from_millis(1_000), "{:?}", began.elapsed());
    let again = node(dir.path(), "three", &[]).await;
    for node in [&one, &two] {
        until("it is back", || node.cluster.health(ids[2]) == Health::Up).await;
    }
    for node in [again, one, two] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_stream_is_never_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = pair(dir.path()).await;
    let since = |node: &Node, of: &Node| node.cluster.peers().get(of.cluster.node_id()).and_then(|p| p.connected);
    let before = since(&two, &one);
    // Entries and messages through several heartbeats.
    let engine = one.engine.clone();
    let writer = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1_500) {
            engine.control::<String>("test", b"{}".to_vec()).unwrap();
        }
    });
    while !writer.is_finished() {
        assert!(one.cluster.send(two.cluster.node_id(), Bytes::from_static(b"message")));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.await.unwrap();
    let (a, b) = (one.cluster.clone(), two.cluster.clone());
    until("all of it is there", || b.log().held_of(1) == a.log().held_of(1)).await;
    assert_eq!(since(&two, &one), before, "the stream was opened anew");
    one.end().await;
    two.end().await;
}

/// A decided entry as the coordinator's driver would place it.
fn decided(origin: u16, seq: u64, hlc: Hlc) -> Entry {
    Entry {
        place: Place { origin, seq },
        stamp: Stamp { hlc, origin },
        causes: Default::default(),
        schema: 0,
        body: Body::Control(starling_log::Control {
            kind: "test".to_owned(),
            payload: b"{}".to_vec(),
        }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quorum_entries_travel_only_to_who_did_not_learn_them() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = pair(dir.path()).await;
    let origin = one.cluster.origins().unwrap()[1];
    let hlc = |n| Hlc::from_ms(one.cluster.log().clock().now_ms() + n);
    // Known to the coordinator alone: the stream heals it.
    until("both vote", || one.cluster.view().members.voters().len() == 2).await;
    let first = one.cluster.log().held_of(origin) + 1;
    let lone = decided(origin, first, hlc(0));
    // Before it is written: the log shows it a moment earlier than it says so.
    let began = Instant::now();
    one.cluster.log().settle(Vec::new(), vec![lone.clone()], false).unwrap();
    until("it came by the stream", || two.cluster.log().held_of(origin) == first).await;
    assert!(began.elapsed() >= Duration::from_millis(50), "it had its time to be learned");
    assert_eq!(*two.cluster.log().read(origin, first, 1).unwrap()[0], lone);
    // Learned elsewhere before its own node has it: no reason to doubt that node.
    two.cluster
        .log()
        .settle(Vec::new(), vec![decided(origin, first + 1, hlc(1))], false)
        .unwrap();
    until("it comes back to its own node", || one.cluster.log().held_of(origin) == first + 1).await;
    assert_eq!(one.cluster.may_write(), Ok(()));
    one.end().await;
    two.end().await;
}

fn cpu() -> Duration {
    // SAFETY: a zeroed rusage is valid, and the call fills it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let of = |t: libc::timeval| Duration::from_micros(t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// `cargo test --release --test messages -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn how_long_a_message_takes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut two) = pair(dir.path()).await;
    let (a, b) = (one.cluster.node_id(), two.cluster.node_id());
    let body = Bytes::from(vec![1u8; 400]);
    let began_cpu = cpu();
    let mut times = Vec::new();
    for _ in 0..5_000 {
        let start = Instant::now();
        one.cluster.send(b, body.clone());
        let (_, message, at) = two.received.recv().await.unwrap();
        times.push(at - start);
        two.cluster.send(a, message);
        one.received.recv().await.unwrap();
    }
    let used = cpu() - began_cpu;
    times.sort();
    println!(
        "one way p50 {:?} p99 {:?}, CPU {:?} a message",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        used / 10_000
    );
    let (began, began_cpu) = (Instant::now(), cpu());
    let count = 50_000;
    for n in 0..count {
        while !one.cluster.send(b, body.clone()) {
            tokio::task::yield_now().await;
        }
        if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..count {
        two.received.recv().await.unwrap();
    }
    println!(
        "{:.0} messages/s, CPU {:?} a message",
        f64::from(count) / began.elapsed().as_secs_f64(),
        (cpu() - began_cpu) / count
    );
    one.end().await;
    two.end().await;
}
