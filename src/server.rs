//! A node's life: start-up and shutdown order in one place.
//!
//! Promises: whatever can be refused is refused before anything is changed (ports, then the data directory, then the log), with one
//! line that says what to do; MySQL clients are let in only when the node has accounts to check them with; a first signal drains,
//! flushes and ends with 0, a second ends at once. Must not know: how any room works inside.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use starling_apply::engine::OnConnect;
use starling_apply::{Engine, EngineOptions};
use starling_log::{Log, LogOptions};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cluster::{Cluster, Settings};
use crate::config::Config;
use crate::http::{self, Inner, Progress};
use crate::sql::Server;
use crate::sql::session::provider::Hooks;
use crate::sql::vars::{self, Facts, SessionVars, VarValue};
use crate::txn::quorum::ClusterDecider;

/// How long open HTTP answers are waited for at shutdown.
const HTTP_DRAIN: Duration = Duration::from_secs(5);
/// People are told of a rebuild's progress this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
const BACKLOG: u32 = 1024;

/// Why the node does not start: one line, saying what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

fn failed(why: impl std::fmt::Display) -> StartError {
    StartError(why.to_string())
}

/// What people are told when the node is up, and what tests and parents read.
#[derive(Clone, Debug)]
pub struct Announcement {
    pub name: String,
    pub mysql_addr: SocketAddr,
    pub http_addr: SocketAddr,
    pub data_dir: PathBuf,
    /// Made at the first start with `MYSQL_RANDOM_ROOT_PASSWORD`.
    pub generated_root_password: Option<String>,
}

/// Runs a node until it is told to stop. `announce` is called once, when it is up.
pub async fn run(config: Config, announce: impl FnOnce(&Announcement)) -> Result<(), StartError> {
    raise_open_files();
    let shutdown = watch_signals()?;
    let sockets = Sockets::bind(&config).await?;
    let _lock = lock(&config.data_dir)?;
    let log = open_log(&config.data_dir).await?;
    let node = Node::start(&config, sockets, log, shutdown.clone());
    let mut stop = shutdown.clone();
    let node = tokio::select! {
        started = node => started?,
        // Nothing is promised to anybody yet, and what is written survives any end.
        _ = stop.wait_for(|down| *down) => return Ok(()),
    };
    let pid_file = write_pid(config.pid_file.as_deref())?;
    announce(&node.announcement);
    let _ = stop.wait_for(|down| *down).await.map(|_| ());
    tracing::info!("stopping");
    node.stop().await;
    if let Some(path) = pid_file {
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("stopped");
    Ok(())
}

/// As many open files as the system lets this process have: every lane and reader holds every database's file.
fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a whole, initialized struct of the right type, and keep none.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
        }
    };
    if !raised {
        tracing::warn!("the limit of open files could not be raised");
    }
}

/// Turns true at the first SIGTERM or SIGINT; the second one ends the process.
fn watch_signals() -> Result<watch::Receiver<bool>, StartError> {
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let (down, shutdown) = watch::channel(false);
    tokio::spawn(async move {
        for last in [false, true] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if last {
                std::process::exit(1);
            }
            let _ = down.send(true);
        }
    });
    Ok(shutdown)
}

/// Both ports, taken before anything is changed on disk.
struct Sockets {
    /// Bound, not listening: clients are refused until the node can check them.
    mysql: TcpSocket,
    http: TcpListener,
}

impl Sockets {
    async fn bind(config: &Config) -> Result<Sockets, StartError> {
        let taken = |flag: &str, addr: SocketAddr, e: std::io::Error| {
            StartError(format!("cannot listen on {addr}: {e}; choose another address with --{flag}"))
        };
        let addr = config.mysql_addr;
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let mysql = socket.map_err(failed)?;
        mysql.set_reuseaddr(true).map_err(failed)?;
        mysql.bind(addr).map_err(|e| taken("mysql-addr", addr, e))?;
        let http = TcpListener::bind(config.http_addr)
            .await
            .map_err(|e| taken("http-addr", config.http_addr, e))?;
        Ok(Sockets { mysql, http })
    }
}

/// One process per data directory.
fn lock(data_dir: &Path) -> Result<File, StartError> {
    let path = data_dir.join("starling.lock");
    let cannot = |e: std::io::Error| StartError(format!("cannot use the data directory {}: {e}", data_dir.display()));
    std::fs::create_dir_all(data_dir).map_err(cannot)?;
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(StartError(format!(
                "the data directory {} is in use by another process ({}); stop it, or choose another with --data-dir",
                data_dir.display(),
                pid.trim()
            )));
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(cannot(e)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(cannot)?;
    Ok(file)
}

async fn open_log(data_dir: &Path) -> Result<Arc<Log>, StartError> {
    let options = LogOptions::new(data_dir.join("log"));
    tokio::task::spawn_blocking(move || Log::open(options, Arc::new(starling_log::SystemTime)))
        .await
        .map_err(failed)?
        .map_err(failed)
}

fn write_pid(path: Option<&Path>) -> Result<Option<PathBuf>, StartError> {
    let Some(path) = path else { return Ok(None) };
    std::fs::write(path, format!("{}\n", std::process::id()))
        .map_err(|e| StartError(format!("cannot write --pid-file {}: {e}", path.display())))?;
    Ok(Some(path.to_owned()))
}

/// A node that is up.
struct Node {
    announcement: Announcement,
    engine: Arc<Engine>,
    cluster_tasks: crate::cluster::run::Running,
    mysql: tokio::task::JoinHandle<()>,
    http: tokio::task::JoinHandle<()>,
}

impl Node {
    async fn start(config: &Config, sockets: Sockets, log: Arc<Log>, shutdown: watch::Receiver<bool>) -> Result<Node, StartError> {
        let mysql_addr = sockets.mysql.local_addr().map_err(failed)?;
        let http_addr = sockets.http.local_addr().map_err(failed)?;
        let settings = Settings {
            name: config.node_name.clone(),
            addr: config
                .advertise_addr
                .clone()
                .unwrap_or_else(|| advertised(http_addr, &config.node_name)),
            mysql_addr: mysql_addr.to_string(),
            secret: config.cluster_secret.clone(),
            join: config.join.clone(),
        };
        let cluster = Cluster::open(log.clone(), settings, shutdown.clone()).map_err(failed)?;
        if cluster.secret().is_none() && !http_addr.ip().is_loopback() {
            tracing::warn!("without --cluster-secret HTTP on {http_addr} answers only on loopback");
        }
        let progress = Arc::new(Progress::default());
        let hooks = Hooks::new();
        let counted = Arc::new(OnceLock::new());
        let app = Arc::new(Inner {
            cluster: cluster.clone(),
            progress: progress.clone(),
            shutdown: shutdown.clone(),
            data_dir: config.data_dir.clone(),
            mysql_addr,
            names: Default::default(),
            feeds: Default::default(),
            on_connect: Hooks::new().on_connect(),
            more_metrics: statements(counted.clone()),
        });
        let http = http::serve(sockets.http, app);
        cluster.settle().await.map_err(failed)?;
        let engine = open_engine(&config.data_dir, &cluster, progress.clone(), hooks.on_connect()).await?;
        let generated = attach(config, &cluster, &engine).await?;
        // Votes ask it for locks: it is there before the first one.
        let server = sql_server(config, &engine, &cluster, mysql_addr)?;
        let cluster_tasks = cluster.run().map_err(failed)?;
        hooks.attach(&server);
        counted.set(Arc::downgrade(&server)).map_err(|_| failed("two servers"))?;
        admitted(&cluster).await;
        let listener = sockets.mysql.listen(BACKLOG).map_err(|e| {
            StartError(format!(
                "cannot listen on {mysql_addr}: {e}; choose another address with --mysql-addr"
            ))
        })?;
        let mysql = crate::mysql::serve(listener, server, shutdown);
        progress.serve();
        Ok(Node {
            announcement: Announcement {
                name: config.node_name.clone(),
                mysql_addr,
                http_addr,
                data_dir: config.data_dir.clone(),
                generated_root_password: generated,
            },
            engine,
            cluster_tasks,
            mysql,
            http,
        })
    }

    /// Clients first, then the streams between nodes, then the tables; the log needs no closing.
    async fn stop(self) {
        if let Err(error) = self.mysql.await {
            tracing::error!(%error, "MySQL has not ended well");
        }
        if tokio::time::timeout(HTTP_DRAIN, self.http).await.is_err() {
            tracing::warn!("HTTP answers were cut off");
        }
        self.cluster_tasks.ended().await;
        let engine = self.engine;
        if tokio::task::spawn_blocking(move || engine.close()).await.is_err() {
            tracing::error!("the tables were not closed well; they are brought up to date from the log at the next start");
        }
    }
}

/// An address on all interfaces is no address to give away.
fn advertised(bound: SocketAddr, host: &str) -> String {
    if bound.ip().is_unspecified() {
        format!("{host}:{}", bound.port())
    } else {
        bound.to_string()
    }
}

async fn open_engine(
    data_dir: &Path,
    cluster: &Arc<Cluster>,
    progress: Arc<Progress>,
    on_connect: OnConnect,
) -> Result<Arc<Engine>, StartError> {
    let began = Instant::now();
    let told = parking_lot::Mutex::new(began);
    let on_progress = move |done: u64, all: u64| {
        progress.set(done, all);
        let mut told = told.lock();
        if told.elapsed() >= PROGRESS_EVERY {
            *told = Instant::now();
            tracing::info!(done, all, "rebuilding tables from the log");
        }
    };
    let options = EngineOptions {
        dir: data_dir.join("db"),
        origin: cluster.origins().map(|o| o[0]),
        on_connect,
        full_row_image: true,
        on_progress: Some(Arc::new(on_progress)),
    };
    let log = cluster.log().clone();
    let engine = tokio::task::spawn_blocking(move || Engine::open(options, log))
        .await
        .map_err(failed)?
        .map_err(failed)?;
    tracing::debug!(took_ms = began.elapsed().as_millis() as u64, "tables are open");
    Ok(engine)
}

/// What all MySQL sessions share, with the `[variables]` of the configuration as global values.
fn sql_server(config: &Config, engine: &Arc<Engine>, cluster: &Arc<Cluster>, mysql_addr: SocketAddr) -> Result<Arc<Server>, StartError> {
    let facts = Facts {
        hostname: config.node_name.clone(),
        port: mysql_addr.port(),
        datadir: config.data_dir.display().to_string(),
        bind_address: mysql_addr.ip().to_string(),
        server_id: cluster.server_id(),
        server_uuid: cluster.server_uuid(),
        ..Facts::default()
    };
    let server = Server::new(engine.clone(), cluster.clone(), &facts);
    let transactions = &server.transactions;
    // Before anybody can ask for what branches hold that are prepared.
    transactions.recall().map_err(failed)?;
    transactions.keep_numbers().map_err(failed)?;
    let decider = ClusterDecider::new(cluster.clone(), transactions);
    if transactions.decider.set(decider).is_err() {
        return Err(failed("two deciders"));
    }
    transactions.draw_ahead(tokio::runtime::Handle::current());
    let mut globals = SessionVars::new(server.globals.clone());
    for (name, value) in &config.variables {
        let typed = match (value.parse::<u64>(), value.parse::<i64>()) {
            (Ok(number), _) => VarValue::UInt(number),
            (_, Ok(number)) => VarValue::Int(number),
            _ => VarValue::text(value),
        };
        let set = vars::find(name).and_then(|index| globals.set_global(index, Some(typed)));
        set.map_err(|e| StartError(format!("variables.{name}: {}", e.message)))?;
    }
    Ok(server)
}

/// Statements in the metrics; the server comes to be after HTTP.
fn statements(server: Arc<OnceLock<Weak<Server>>>) -> http::metrics::More {
    Arc::new(move |text| {
        let Some(server) = server.get().and_then(Weak::upgrade) else {
            return;
        };
        let counters = &server.counters;
        text.metric("starling_statements_total", "counter", "Statements, by kind.");
        for (kind, counter) in [
            ("select", &counters.selects),
            ("insert", &counters.inserts),
            ("update", &counters.updates),
            ("delete", &counters.deletes),
            ("begin", &counters.begins),
            ("commit", &counters.commits),
            ("rollback", &counters.rollbacks),
            ("other", &counters.others),
        ] {
            text.sample("starling_statements_total", &[("kind", &kind)], counter.load(Ordering::Relaxed));
        }
        text.counter(
            "starling_questions_total",
            "Statements that clients sent.",
            counters.questions.load(Ordering::Relaxed),
        );
        text.counter(
            "starling_statement_errors_total",
            "Statements answered with an error.",
            counters.errors.load(Ordering::Relaxed),
        );
        text.gauge("starling_connections", "MySQL clients connected.", server.registry.list().len());
    })
}

/// Members and accounts; returns the root password if one was made up.
async fn attach(config: &Config, cluster: &Arc<Cluster>, engine: &Arc<Engine>) -> Result<Option<String>, StartError> {
    let (cluster, engine, bootstrap) = (cluster.clone(), engine.clone(), config.bootstrap.clone());
    let attached = tokio::task::spawn_blocking(move || {
        cluster.attach(engine)?;
        let first = cluster.is_founder() && !cluster.view().bootstrapped;
        let generated = (first && bootstrap.random_root_password).then(random_password);
        let password = generated.clone().or_else(|| bootstrap.root_password.clone()).unwrap_or_default();
        cluster.bootstrap(&bootstrap, &password)?;
        Ok::<_, crate::cluster::ClusterError>(generated)
    });
    attached.await.map_err(failed)?.map_err(failed)
}

fn random_password() -> String {
    hex::encode(rand::random::<[u8; 12]>())
}

/// Until this node sees its own admission: it has replayed everything before it by then, the accounts included.
async fn admitted(cluster: &Arc<Cluster>) {
    let mut changed = cluster.watch_view();
    let me = cluster.node_id();
    while cluster.view().members.by_identity(me).is_none() {
        if changed.changed().await.is_err() {
            return;
        }
    }
}
