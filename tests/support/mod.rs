//! Real `starling` processes for tests: started on free ports of loopback over fresh directories, ended with their test.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub const SECRET: &str = "a-secret-for-tests-of-32-characters";
/// Generous: a debug build on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A port nobody listens on. (Another process may take it meanwhile: tests of this kind run one at a time.)
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// Asks again and again until `ready` says so; panics with `what` when it takes too long.
pub fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub struct Node {
    pub name: String,
    pub mysql: u16,
    pub http: u16,
    pub dir: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    child: Option<Child>,
}

impl Node {
    /// A node that is not started yet.
    pub fn new(name: &str, under: &Path) -> Node {
        Node {
            name: name.to_string(),
            mysql: free_port(),
            http: free_port(),
            dir: under.join(name),
            args: Vec::new(),
            env: Vec::new(),
            child: None,
        }
    }
    pub fn args(mut self, args: &[&str]) -> Node {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }
    pub fn env(mut self, key: &str, value: &str) -> Node {
        self.env.push((key.to_string(), value.to_string()));
        self
    }
    pub fn http_addr(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.dir)
            .args(["--node-name", &self.name])
            .args(["--mysql-addr", &format!("127.0.0.1:{}", self.mysql)])
            .args(["--http-addr", &self.http_addr()])
            .args(&self.args)
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
    /// Starts it; its log goes to a file beside its directory. Does not wait.
    pub fn spawn(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("log file");
        let child = self.command().stderr(log).spawn().expect("starts");
        self.child = Some(child);
    }
    pub fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
    /// Starts it and waits until it says that it is ready.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }
    pub fn wait_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if get(self.http, "/readyz").is_some_and(|r| r.0 == 200) {
                return;
            }
            let ended = self.child.as_mut().and_then(|c| c.try_wait().expect("waits"));
            assert!(
                ended.is_none(),
                "{} ended ({ended:?}) instead of getting ready:\n{}",
                self.name,
                self.log()
            );
            assert!(Instant::now() < deadline, "{} is not ready:\n{}", self.name, self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).expect("running")
    }
    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
    /// SIGTERM, and how it ended.
    pub fn term(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("running");
        // SAFETY: the pid is our own living child's.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        child.wait().expect("ends")
    }
    /// For mysql_async.
    pub fn url(&self, db: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{db}", self.mysql)
    }
    /// Runs SQL through the mariadb command line (batch mode); its output.
    pub fn sql(&self, text: &str) -> String {
        let output = self.try_sql(text);
        assert!(output.0, "{text}\n{}\n{}", output.1, self.log());
        output.1
    }
    /// The same at consistency `ONE`: for nodes whose peers are away, or that are to differ for a while.
    pub fn sql_at_one(&self, text: &str) -> String {
        self.sql(&format!("SET starling_write_consistency = 'ONE'; {text}"))
    }
    pub fn try_sql(&self, text: &str) -> (bool, String) {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "-h127.0.0.1", "-uroot", "-N", "-B"])
            .arg(format!("-P{}", self.mysql))
            .args(["-e", text])
            .output()
            .expect("the mariadb client is installed");
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.name, self.log());
        }
        self.kill();
    }
}

/// Three nodes (or as many as named), the first one the founder.
pub fn cluster(names: &[&str], under: &Path) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for name in names {
        let mut node = Node::new(name, under).args(&["--cluster-secret", SECRET]);
        if let Some(first) = nodes.first() {
            node = node.args(&["--join", &first.http_addr()]);
        }
        node.start();
        nodes.push(node);
    }
    nodes
}

/// Runs a client command of the binary.
pub fn starling(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_starling")).args(args).output().expect("runs");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

/// `starling verify` over these nodes.
pub fn verify(nodes: &[&Node]) -> (i32, String) {
    let list: Vec<String> = nodes.iter().map(|n| n.http_addr()).collect();
    starling(&["verify", "--http-addr", &list.join(",")])
}

/// An HTTP GET: status and body; `None` when nobody answers.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split_whitespace().nth(1)?.parse().ok()?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, b)| b).to_string();
    Some((status, body))
}

/// Lines of a streaming GET, as they come.
pub fn lines(port: u16, path: &str) -> impl Iterator<Item = String> + use<> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("socket");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("sends");
    let mut reader = BufReader::new(stream).lines().map_while(Result::ok);
    for line in reader.by_ref() {
        if line.is_empty() {
            break;
        }
    }
    reader
}

/// A value of a JSON text by path (`a.b.0`).
pub fn json(text: &str, path: &str) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"));
    for part in path.split('.').filter(|p| !p.is_empty()) {
        value = match part.parse::<usize>() {
            Ok(at) => value[at].take(),
            Err(_) => value[part].take(),
        };
    }
    value
}
