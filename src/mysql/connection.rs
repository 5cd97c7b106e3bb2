//! One client's connection: handshake, then command after command, until it leaves or errs.
//!
//! Promises: every command gets its answer in order; what is unknown is 1047; an error inside a statement is an ERR packet and the
//! connection goes on; a broken packet ends this connection and no other.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use opensrv_mysql::{CapabilityFlags as Cap, StatusFlags};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use crate::auth::{self, Scramble};
use crate::sql::Session;
use crate::sql::error::SqlError;
use crate::sql::result::{Changes, Done, ResultColumn, Status};

use super::column::{ResultCharset, describe, put_definition};
use super::command::Command;
use super::greeting::{ChangeUser, Response};
use super::listen::{Shared, stopped};
use super::login::{self, Claim, Failure};
use super::packet::{PacketReader, PacketWriter, ReadError};
use super::prepared::{Statements, unknown};
use super::rows::{Rows, flags, put_eof, put_error, put_ok};
use super::wire::Reader;

/// How long a client may take to log in (MySQL's connect_timeout).
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers to pipelined commands are sent together up to this size.
const PIPELINE_BYTES: usize = 16 * 1024;

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection's bytes: the stream, what was read ahead, what waits to be sent.
pub struct Wire<S> {
    pub stream: S,
    pub input: PacketReader,
    pub out: PacketWriter,
    pub capabilities: Cap,
    /// The session's status as of the last answer (for packets inside a result).
    pub status: Status,
    /// Writing failed: nothing more will reach the client.
    pub broken: bool,
    /// What changed in the session, and could not be told behind rows.
    pub untold: Option<Box<Changes>>,
}

impl<S: Stream> Wire<S> {
    pub fn new(stream: S) -> Wire<S> {
        Wire {
            stream,
            input: PacketReader::default(),
            out: PacketWriter::default(),
            capabilities: Cap::empty(),
            status: Status {
                autocommit: true,
                ..Status::default()
            },
            broken: false,
            untold: None,
        }
    }
    /// An OK packet.
    pub fn ok(&mut self, header: u8, done: &Done, flags: StatusFlags) {
        let untold = self.untold.take();
        let tracks = self.capabilities.contains(Cap::CLIENT_SESSION_TRACK);
        let changes = done.changes.as_deref().or(untold.as_deref()).filter(|_| tracks);
        put_ok(&mut self.out, header, done, flags, changes);
    }
    pub async fn read(&mut self, limit: usize) -> Result<BytesMut, ReadError> {
        self.input.read(&mut self.stream, limit).await
    }
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.out.is_empty() {
            self.stream.write_all(self.out.bytes()).await?;
            self.out.clear();
        }
        Ok(())
    }
}

/// What follows a command.
enum Next {
    Go,
    Close,
}

pub struct Connection<S> {
    wire: Wire<S>,
    shared: Arc<Shared>,
    ip: IpAddr,
    scramble: Scramble,
    session: Session,
    statements: Statements,
}

/// Serves one client from greeting to end. `gone`: has it closed its side?
pub async fn run<S: Stream>(
    stream: S,
    ip: IpAddr,
    shared: Arc<Shared>,
    mut shutdown: watch::Receiver<bool>,
    gone: impl Fn() -> bool + Send + Sync + 'static,
) {
    let mut wire = Wire::new(stream);
    let mut scramble = auth::scramble();
    let login = tokio::time::timeout(LOGIN_TIMEOUT, log_in(&mut wire, &shared, ip, &mut scramble));
    let session = match login.await {
        Ok(Ok(session)) => session,
        Ok(Err(Failure::Sql(error))) => {
            tracing::debug!(%ip, %error, "login refused");
            put_error(&mut wire.out, &error);
            let _ = wire.flush().await;
            return;
        }
        Ok(Err(Failure::Gone)) | Err(_) => return,
    };
    session.entry.interrupt.watch(gone);
    let mut connection = Connection {
        wire,
        shared,
        ip,
        scramble,
        session,
        statements: Statements::default(),
    };
    connection.serve(&mut shutdown).await;
    connection.session.reset().await;
}

async fn log_in<S: Stream>(wire: &mut Wire<S>, shared: &Arc<Shared>, ip: IpAddr, scramble: &mut Scramble) -> Result<Session, Failure> {
    let id = shared.server.next_connection_id();
    let response: Response = login::greet(wire, &shared.server.version(), id, scramble).await?;
    wire.capabilities = response.capabilities;
    let claim = Claim {
        user: &response.user,
        auth: &response.auth,
        plugin: response.plugin.as_deref(),
        ip,
    };
    let mut identity = login::authenticate(wire, shared, claim, scramble).await?;
    identity.attributes = response.attributes;
    let found_rows = response.capabilities.contains(Cap::CLIENT_FOUND_ROWS);
    let mut session = Session::new(shared.server.clone(), id, identity, found_rows, response.collation);
    if response.capabilities.contains(Cap::CLIENT_SESSION_TRACK) {
        session.track.turn_on();
    }
    if let Some(database) = &response.database {
        session.use_database(database).map_err(Failure::Sql)?;
    }
    wire.status = session.status();
    let done = Done {
        changes: session.take_changes(),
        ..Done::default()
    };
    wire.ok(0, &done, flags(wire.status, false));
    wire.flush().await?;
    Ok(session)
}

impl<S: Stream> Connection<S> {
    async fn serve(&mut self, shutdown: &mut watch::Receiver<bool>) {
        loop {
            self.wire.input.start_command();
            let payload = match self.next_command(shutdown).await {
                Ok(payload) => payload,
                Err(goodbye) => {
                    if let Some(error) = goodbye {
                        put_error(&mut self.wire.out, &error);
                        let _ = self.wire.flush().await;
                    }
                    return;
                }
            };
            self.wire.out.set_sequence(self.wire.input.next_sequence());
            let next = self.command(Command::parse(&payload)).await;
            drop(payload);
            let pipelined = self.wire.input.has_packet() && self.wire.out.len() < PIPELINE_BYTES;
            if !pipelined && self.wire.flush().await.is_err() {
                return;
            }
            if matches!(next, Next::Close) {
                return;
            }
        }
    }

    /// The next command's bytes; `Err(Some(..))`: to be told before the connection closes.
    async fn next_command(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<BytesMut, Option<SqlError>> {
        let limit = self.session.max_allowed_packet().saturating_add(1);
        let idle = Duration::from_secs(self.session.wait_timeout());
        let killed = self.session.killed();
        tokio::select! {
            biased;
            read = tokio::time::timeout(idle, self.wire.read(limit)) => match read {
                Ok(Ok(payload)) => Ok(payload),
                Ok(Err(ReadError::TooLarge)) => Err(Some(login::too_large())),
                Ok(Err(ReadError::OutOfOrder)) => Err(Some(SqlError::new(1156, "Got packets out of order"))),
                Ok(Err(_)) => Err(None),
                Err(_) => Err(Some(SqlError::new(
                    4031,
                    "The client was disconnected by the server because of inactivity. See wait_timeout and interactive_timeout for configuring this behavior.",
                ))),
            },
            () = killed.cancelled() => Err(Some(SqlError::new(1317, "Query execution was interrupted"))),
            () = stopped(shutdown) => Err(Some(SqlError::new(1053, "Server shutdown in progress"))),
        }
    }

    async fn command(&mut self, command: Command<'_>) -> Next {
        let result = match command {
            Command::Quit => return Next::Close,
            Command::Ping | Command::Debug => {
                self.ok();
                Ok(())
            }
            Command::Query(text) => self.query(text).await,
            Command::InitDb(name) => self.init_db(name),
            Command::FieldList { table, wildcard } => self.field_list(table, wildcard),
            Command::Statistics => {
                let text = self.session.statistics();
                self.wire.out.packet(text.as_bytes());
                Ok(())
            }
            // RESET REPLICA and RESET MASTER are among its bits.
            Command::Refresh(what) if what & 0xc0 != 0 => Err(SqlError::unsupported("RESET")),
            Command::Refresh(_) => self.query(b"FLUSH STATUS").await,
            Command::ProcessKill(id) => self.query(format!("KILL {id}").as_bytes()).await,
            Command::ChangeUser(body) => return self.change_user(body).await,
            Command::Prepare(text) => self.prepare(text),
            Command::Execute(body) => self.execute(body).await,
            Command::LongData { statement, param, data } => {
                self.statements.long_data(statement, param, data, self.session.max_allowed_packet());
                Ok(())
            }
            Command::CloseStatement(id) => {
                self.statements.close(id);
                Ok(())
            }
            Command::ResetStatement(id) => self.statements.reset(id).map(|()| self.ok()),
            Command::SetOption(option) => self.set_option(option),
            Command::Fetch { statement, .. } => Err(unknown(statement, "mysqld_stmt_fetch")),
            Command::ResetConnection => {
                self.session.reset().await;
                self.statements.clear();
                self.ok();
                Ok(())
            }
            Command::Unknown(_) => Err(SqlError::new(1047, "Unknown command")),
            Command::Malformed => Err(SqlError::new(1835, "Malformed communication packet")),
        };
        match result {
            Ok(()) => Next::Go,
            Err(error) => self.fail(&error),
        }
    }

    fn ok(&mut self) {
        self.wire.status = self.session.status();
        let done = Done {
            changes: self.session.take_changes(),
            ..Done::default()
        };
        self.wire.ok(0, &done, flags(self.wire.status, false));
    }

    fn fail(&mut self, error: &SqlError) -> Next {
        // An outcome nobody knows is told by silence: the client takes a lost connection as unknown.
        if error.is_unknown_outcome() {
            tracing::warn!(connection = self.session.connection_id(), %error, "closed without an answer");
            return Next::Close;
        }
        put_error(&mut self.wire.out, error);
        if self.wire.broken { Next::Close } else { Next::Go }
    }

    async fn query(&mut self, text: &[u8]) -> Result<(), SqlError> {
        let multi = self.wire.capabilities.contains(Cap::CLIENT_MULTI_STATEMENTS);
        let results = self.session.results_charset().map(str::to_string);
        let mut rows = Rows::new(&mut self.wire, false, results.as_deref());
        self.session.query(text, multi, &mut rows).await
    }

    fn init_db(&mut self, name: &[u8]) -> Result<(), SqlError> {
        self.session.use_database(&String::from_utf8_lossy(name))?;
        self.ok();
        Ok(())
    }

    fn field_list(&mut self, table: &[u8], wildcard: &[u8]) -> Result<(), SqlError> {
        let columns = self.session.field_list(&String::from_utf8_lossy(table), wildcard)?;
        let charset = ResultCharset::named(self.session.results_charset());
        for column in &columns {
            put_definition(self.wire.out.begin(), column, &describe(column, charset));
            // The default value, which we leave out: clients ignore it.
            self.wire.out.payload().push(0xfb);
            self.wire.out.end();
        }
        put_eof(&mut self.wire.out, 0, flags(self.session.status(), false));
        Ok(())
    }

    fn prepare(&mut self, text: &[u8]) -> Result<(), SqlError> {
        let (prepared, info) = self.session.prepare(text)?;
        let id = self.statements.add(prepared, info.params)?;
        self.wire.status = self.session.status();
        let out = self.wire.out.begin();
        out.push(0);
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&(info.columns.len() as u16).to_le_bytes());
        out.extend_from_slice(&info.params.to_le_bytes());
        out.extend_from_slice(&[0, 0, 0]);
        self.wire.out.end();
        let charset = ResultCharset::named(self.session.results_charset());
        let markers = vec![ResultColumn::marker(); usize::from(info.params)];
        definitions(&mut self.wire, &markers, charset);
        definitions(&mut self.wire, &info.columns, charset);
        Ok(())
    }

    async fn execute(&mut self, body: &[u8]) -> Result<(), SqlError> {
        let mut reader = Reader::new(body);
        let head = (|| Ok::<_, super::wire::Malformed>((reader.u32()?, reader.u8()?, reader.u32()?)))();
        let Ok((id, _cursor, _iterations)) = head else {
            return Err(SqlError::new(1835, "Malformed communication packet"));
        };
        let statement = self.statements.get(id, "mysqld_stmt_execute")?;
        let params = statement.bind(reader.rest())?;
        let results = self.session.results_charset().map(str::to_string);
        let mut rows = Rows::new(&mut self.wire, true, results.as_deref());
        self.session.execute(&mut statement.prepared, &params, &mut rows).await
    }

    fn set_option(&mut self, option: u16) -> Result<(), SqlError> {
        match option {
            0 => self.wire.capabilities.insert(Cap::CLIENT_MULTI_STATEMENTS),
            1 => self.wire.capabilities.remove(Cap::CLIENT_MULTI_STATEMENTS),
            _ => return Err(SqlError::new(1047, "Unknown command")),
        }
        put_eof(&mut self.wire.out, 0, flags(self.session.status(), false));
        Ok(())
    }

    /// Everything starts anew under another name; a refusal ends the connection.
    async fn change_user(&mut self, body: &[u8]) -> Next {
        let Ok(request) = ChangeUser::parse(body, self.wire.capabilities) else {
            return self.fail(&SqlError::new(1043, "Bad handshake"));
        };
        self.session.reset().await;
        self.statements.clear();
        let claim = Claim {
            user: &request.user,
            auth: &request.auth,
            plugin: request.plugin.as_deref(),
            ip: self.ip,
        };
        match login::authenticate(&mut self.wire, &self.shared, claim, &mut self.scramble).await {
            Ok(mut identity) => {
                identity.attributes = request.attributes;
                self.session.become_user(identity);
            }
            Err(Failure::Sql(error)) => {
                put_error(&mut self.wire.out, &error);
                return Next::Close;
            }
            Err(Failure::Gone) => return Next::Close,
        }
        if let Some(database) = &request.database
            && let Err(error) = self.session.use_database(database)
        {
            put_error(&mut self.wire.out, &error);
            return Next::Close;
        }
        self.ok();
        Next::Go
    }
}

/// Column definitions with the EOF that older clients expect behind them (nothing at all for none).
fn definitions<S: Stream>(wire: &mut Wire<S>, columns: &[ResultColumn], charset: ResultCharset) {
    if columns.is_empty() {
        return;
    }
    for column in columns {
        put_definition(wire.out.begin(), column, &describe(column, charset));
        wire.out.end();
    }
    if !wire.capabilities.contains(Cap::CLIENT_DEPRECATE_EOF) {
        put_eof(&mut wire.out, 0, flags(wire.status, false));
    }
}
