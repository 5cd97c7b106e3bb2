//! `starling demo`: three nodes on this machine, each a process of its own that can be killed and started again.
//!
//! Promises: the settings of each node stand in a file beside its data, so that `starling serve --config FILE` starts it again just as it
//! was; all nodes that this command started end with it. Must not know: anything but the command line.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Key, Node, block_on};
use super::{Outcome, complain, print_json};

const NODES: usize = 3;
const MYSQL_FROM: u16 = 3307;
const HTTP_FROM: u16 = 8081;
const START: Duration = Duration::from_secs(60);
/// How long a node may take to end before it is killed.
const END: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(200);

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Where the nodes keep their data; what is there is gone on with
    #[arg(long, value_name = "DIR", default_value = "./starling-demo")]
    data_dir: PathBuf,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// One node of the demo.
struct Member {
    name: String,
    config: PathBuf,
    dir: PathBuf,
    mysql: u16,
    http: u16,
    process: Option<Child>,
}

/// The parts of a node's file that are read again.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Saved {
    mysql_addr: std::net::SocketAddr,
    http_addr: std::net::SocketAddr,
}

pub fn run(flags: &Flags) -> Outcome {
    let done = prepare(&flags.data_dir).and_then(|members| live(flags, members));
    match done {
        Ok(()) => Outcome::Done,
        Err(error) => {
            complain(error);
            Outcome::Failed
        }
    }
}

/// Files and ports of the three nodes: those of last time, or new ones.
fn prepare(dir: &Path) -> Result<Vec<Member>, String> {
    std::fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let dir = dir.canonicalize().map_err(|e| e.to_string())?;
    let secret = hex::encode(rand::random::<[u8; 16]>());
    let (mut mysql, mut http) = (MYSQL_FROM, HTTP_FROM);
    let mut members: Vec<Member> = Vec::new();
    for number in 1..=NODES {
        let name = format!("node{number}");
        let config = dir.join(format!("{name}.toml"));
        let data = dir.join(&name);
        if let Ok(text) = std::fs::read_to_string(&config) {
            let saved: Saved = toml::from_str(&text).map_err(|e| format!("{}: {e}", config.display()))?;
            members.push(member(name, config, data, saved.mysql_addr.port(), saved.http_addr.port()));
            continue;
        }
        mysql = free_port(mysql)?;
        http = free_port(http)?;
        write_config(&config, &name, &data, mysql, http, members.first().map(|m| m.http), &secret)?;
        members.push(member(name, config, data, mysql, http));
        (mysql, http) = (mysql + 1, http + 1);
    }
    Ok(members)
}

fn member(name: String, config: PathBuf, dir: PathBuf, mysql: u16, http: u16) -> Member {
    Member {
        name,
        config,
        dir,
        mysql,
        http,
        process: None,
    }
}

fn free_port(from: u16) -> Result<u16, String> {
    (from..from.saturating_add(1000))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| format!("no free port from {from} on"))
}

fn write_config(path: &Path, name: &str, data: &Path, mysql: u16, http: u16, join: Option<u16>, secret: &str) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut table = toml::Table::new();
    let mut put = |key: &str, value: String| table.insert(key.to_owned(), value.into());
    put("node-name", name.to_owned());
    put("data-dir", data.display().to_string());
    put("mysql-addr", format!("127.0.0.1:{mysql}"));
    put("http-addr", format!("127.0.0.1:{http}"));
    put("cluster-secret", secret.to_owned());
    if let Some(join) = join {
        put("join", format!("127.0.0.1:{join}"));
    }
    let cannot = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    // The secret in it is nobody else's business.
    let mut file = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(cannot)?;
    file.write_all(table.to_string().as_bytes()).map_err(cannot)
}

fn live(flags: &Flags, mut members: Vec<Member>) -> Result<(), String> {
    let stopped = signals()?;
    for index in 0..members.len() {
        if let Err(error) = start(&mut members[index], &stopped) {
            end(&mut members);
            return Err(error);
        }
        if stopped() {
            end(&mut members);
            return Ok(());
        }
    }
    tell(flags, &members)?;
    while !stopped() {
        std::thread::park_timeout(LOOK);
        for member in &mut members {
            if let Some(status) = ended(member) {
                eprintln!(
                    "{} has ended ({}); start it again with: {}",
                    member.name,
                    how(status),
                    restart(member)?
                );
            }
        }
    }
    end(&mut members);
    Ok(())
}

/// Tells whether a signal to stop has come.
fn signals() -> Result<impl Fn() -> bool, String> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let flag = Arc::new(AtomicBool::new(false));
    let (seen, main) = (flag.clone(), std::thread::current());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let _guard = runtime.enter();
    let kind = tokio::signal::unix::SignalKind::terminate();
    let (mut term, mut int) = (
        tokio::signal::unix::signal(kind).map_err(|e| e.to_string())?,
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(|e| e.to_string())?,
    );
    drop(_guard);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        });
        seen.store(true, Ordering::Release);
        main.unpark();
    });
    Ok(move || flag.load(Ordering::Acquire))
}

fn start(member: &mut Member, stopped: &impl Fn() -> bool) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let log = member.dir.with_extension("log");
    let out = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg("--config")
        .arg(&member.config)
        .stdin(Stdio::null())
        .stdout(out.try_clone().map_err(|e| e.to_string())?)
        .stderr(out)
        // Ctrl-C on the terminal is for this command alone, which then ends the nodes in order.
        .process_group(0);
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("STARLING_")) {
        command.env_remove(name);
    }
    // SAFETY: prctl is async-signal-safe; the child ends when this process is gone, however that came about.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    member.process = Some(command.spawn().map_err(|e| e.to_string())?);
    let began = Instant::now();
    loop {
        if is_ready(member) || stopped() {
            return Ok(());
        }
        if let Some(status) = ended(member) {
            return Err(format!("{} did not start ({}); see {}", member.name, how(status), log.display()));
        }
        if began.elapsed() > START {
            return Err(format!(
                "{} is not ready after {} s; see {}",
                member.name,
                START.as_secs(),
                log.display()
            ));
        }
        std::thread::park_timeout(LOOK);
    }
}

fn is_ready(member: &Member) -> bool {
    let addr = format!("127.0.0.1:{}", member.http);
    let asked = block_on(async {
        let answer = Node::new(&addr, &Key::default())?.probe("/readyz").await;
        Ok(if answer { Outcome::Done } else { Outcome::Failed })
    });
    asked == Outcome::Done
}

/// Has it ended by itself? Told once.
fn ended(member: &mut Member) -> Option<ExitStatus> {
    let status = member.process.as_mut()?.try_wait().ok()??;
    member.process = None;
    Some(status)
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn restart(member: &Member) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    Ok(format!("{} serve --config {}", quoted(&program), quoted(&member.config)))
}

fn tell(flags: &Flags, members: &[Member]) -> Result<(), String> {
    if flags.json {
        let list = members
            .iter()
            .map(|m| {
                Ok(json!({
                    "name": m.name,
                    "pid": m.process.as_ref().map(Child::id),
                    "mysql_addr": format!("127.0.0.1:{}", m.mysql),
                    "http_addr": format!("127.0.0.1:{}", m.http),
                    "data_dir": m.dir,
                    "restart": restart(m)?,
                }))
            })
            .collect::<Result<Vec<_>, String>>()?;
        print_json(&json!({ "nodes": list }));
        return Ok(());
    }
    println!("three nodes are up; Ctrl-C ends them");
    for m in members {
        let pid = m.process.as_ref().map_or(0, Child::id);
        println!();
        println!(
            "{}  MySQL 127.0.0.1:{}  HTTP http://127.0.0.1:{}  pid {pid}",
            m.name, m.mysql, m.http
        );
        println!("       data     {}", m.dir.display());
        println!("       connect  mysql -h127.0.0.1 -P{} -uroot", m.mysql);
        println!("       kill     kill -9 {pid}");
        println!("       restart  {}", restart(m)?);
    }
    println!();
    if let Some(first) = members.first() {
        println!("changes: curl -N http://127.0.0.1:{}/v1/changes", first.http);
        println!("verify:  starling verify --http-addr 127.0.0.1:{}", first.http);
    }
    Ok(())
}

/// All at once are told to end, then waited for.
fn end(members: &mut [Member]) {
    for member in members.iter() {
        if let Some(process) = &member.process
            && let Ok(pid) = libc::pid_t::try_from(process.id())
        {
            // SAFETY: a signal to a child of ours that was not waited for: its number cannot be another's yet.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
    let deadline = Instant::now() + END;
    for member in members {
        while member.process.is_some() && ended(member).is_none() {
            if Instant::now() > deadline {
                if let Some(process) = &mut member.process {
                    let _ = process.kill();
                    let _ = process.wait();
                }
                member.process = None;
                break;
            }
            std::thread::park_timeout(LOOK);
        }
    }
}
