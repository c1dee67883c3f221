//! A server that speaks just enough Bolt 4.4 to misbehave on demand, over TLS too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the server does with a statement.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with these values, one a row.
    Rows(Vec<Value>),
    /// Refuses it at once, with this code.
    Refuse(&'static str),
    /// Takes it, and fails at the end of the stream, with this code.
    FailAtEnd(&'static str),
    /// Takes it, does it, and hangs up before the answer.
    HangUp,
    /// Takes it and never answers.
    Silence,
    /// Answers with bytes that are no message.
    Garbage,
    /// Answers with this message.
    Message(Vec<u8>),
    /// Answers with this row, over and over, and never says that it was the last.
    EndlessRows(Value),
    /// Answers with this row some thousand times, and that there are more, however often more is asked for.
    AlwaysMore(Value),
}

/// What a row may hold.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<Value>),
}

/// How the server greets whoever comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Greeting {
    /// As Neo4j 4.4 does.
    Welcome,
    /// Refuses user and password.
    WrongPassword,
    /// Answers the handshake as a web server would.
    Http,
    /// Speaks none of the versions offered.
    NoVersion,
    /// Answers the login with this message.
    Message(fn() -> Vec<u8>),
    /// Answers the login with a message that does not end.
    Endless,
    /// Answers the login with empty chunks, which mean only that it is still there.
    EmptyChunks,
    /// Answers the login byte by byte, and never to the end.
    Drip,
}

/// What the script is told of each statement: its text, and how many connections had been made when it came.
pub(crate) struct Statement<'a> {
    pub(crate) text: &'a str,
    pub(crate) connection: usize,
}

type Script = Box<dyn FnMut(Statement<'_>) -> Reply + Send>;

/// An address that refuses connections as long as this lives: its port is one end of a connection, so that nobody else can
/// listen there.
pub(crate) struct Closed(TcpStream, #[expect(dead_code, reason = "the other end")] TcpListener);

impl Closed {
    pub(crate) fn new() -> Closed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Closed(TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// A server at work until it is dropped.
pub(crate) struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Script>,
    greeting: Greeting,
    statements: Mutex<Vec<String>>,
    over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl FakeServer {
    /// A server that answers statements as `script` says.
    pub(crate) fn start(script: impl FnMut(Statement<'_>) -> Reply + Send + 'static) -> FakeServer {
        FakeServer::greeting(Greeting::Welcome, script)
    }

    /// The same, with a greeting of its own.
    pub(crate) fn greeting(
        greeting: Greeting,
        script: impl FnMut(Statement<'_>) -> Reply + Send + 'static,
    ) -> FakeServer {
        FakeServer::listening(greeting, None, script)
    }

    /// The same over TLS, with the certificate of `tests/fixtures/tls`.
    pub(crate) fn over_tls(
        greeting: Greeting,
        script: impl FnMut(Statement<'_>) -> Reply + Send + 'static,
    ) -> FakeServer {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
        let certificate = CertificateDer::from_pem_file(folder.join("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        FakeServer::listening(greeting, Some(Arc::new(config)), script)
    }

    fn listening(
        greeting: Greeting,
        tls: Option<Arc<ServerConfig>>,
        script: impl FnMut(Statement<'_>) -> Reply + Send + 'static,
    ) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            greeting,
            statements: Mutex::default(),
            over: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let listen = move || {
            let mut workers = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let stream = stream.unwrap();
                if serving.over.load(Ordering::Acquire) {
                    break;
                }
                serving.open.lock().unwrap().push(stream.try_clone().unwrap());
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                // An error means that one side hung up, as both may.
                let serve = move || {
                    let hang_up = stream.try_clone().unwrap();
                    let stream: Box<dyn Both> = match tls {
                        Some(config) => Box::new(StreamOwned::new(
                            ServerConnection::new(config).unwrap(),
                            stream,
                        )),
                        None => Box::new(stream),
                    };
                    let _ = Connection { stream, shared, number }.serve(address);
                    let _ = hang_up.shutdown(std::net::Shutdown::Both);
                };
                workers.push(
                    std::thread::Builder::new().name("fake-bolt".into()).spawn(serve).unwrap(),
                );
            }
            for worker in workers {
                worker.join().unwrap();
            }
        };
        let listener =
            std::thread::Builder::new().name("fake-server".into()).spawn(listen).unwrap();
        FakeServer { address, shared, listener: Some(listener) }
    }

    /// Where it listens, without a scheme.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many statements with `part` in their text it was sent.
    pub(crate) fn count(&self, part: &str) -> usize {
        let statements = self.shared.statements.lock().unwrap();
        statements.iter().filter(|statement| statement.contains(part)).count()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
    }
}

/// Both directions of a connection.
trait Both: Read + Write {}

impl<T: Read + Write> Both for T {}

struct Connection {
    stream: Box<dyn Both>,
    shared: Arc<Shared>,
    number: usize,
}

const SUCCESS: u8 = 0x70;
const RECORD: u8 = 0x71;
const IGNORED: u8 = 0x7e;
const FAILURE: u8 = 0x7f;

impl Connection {
    fn serve(mut self, address: SocketAddr) -> std::io::Result<()> {
        let mut handshake = [0; 20];
        self.stream.read_exact(&mut handshake)?;
        match self.shared.greeting {
            Greeting::Http => return self.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Greeting::NoVersion => return self.stream.write_all(&[0; 4]),
            _ => self.stream.write_all(&[0, 0, 4, 4])?,
        }
        let mut pending = None;
        let mut failed = false;
        loop {
            let message = self.receive()?;
            match message[1] {
                0x01 if matches!(self.shared.greeting, Greeting::WrongPassword) => {
                    self.fail("Neo.ClientError.Security.Unauthorized")?
                }
                0x01 if matches!(self.shared.greeting, Greeting::Message(_)) => {
                    let Greeting::Message(message) = self.shared.greeting else { unreachable!() };
                    self.send(&message())?;
                }
                0x01 if matches!(self.shared.greeting, Greeting::Endless) => loop {
                    self.stream.write_all(&u16::MAX.to_be_bytes())?;
                    self.stream.write_all(&[0x91; u16::MAX as usize])?;
                },
                0x01 if matches!(self.shared.greeting, Greeting::EmptyChunks) => loop {
                    self.stream.write_all(&[0; 4096])?;
                },
                0x01 if matches!(self.shared.greeting, Greeting::Drip) => {
                    self.stream.write_all(&[0xff, 0xff, 0xb1, 0x70])?;
                    while !self.shared.over.load(Ordering::Acquire) {
                        self.stream.write_all(&[0x91])?;
                        SystemClock.wait(Duration::from_millis(50), &|| false);
                    }
                    return Ok(());
                }
                0x01 => self.succeed(&[
                    ("server", Value::Text("Neo4j/4.4.0".into())),
                    ("connection_id", Value::Text("bolt-1".into())),
                ])?,
                0x02 => return Ok(()),
                0x0f => {
                    (pending, failed) = (None, false);
                    self.succeed(&[])?;
                }
                _ if failed => self.send(&[0xb0, IGNORED])?,
                0x10 => {
                    let text = first_text(&message[2..]);
                    self.shared.statements.lock().unwrap().push(text.clone());
                    let statement = Statement { text: &text, connection: self.number };
                    let reply = self.shared.script.lock().unwrap()(statement);
                    match reply {
                        Reply::Refuse(code) => {
                            failed = true;
                            self.fail(code)?;
                        }
                        Reply::Silence => {}
                        Reply::HangUp => return Ok(()),
                        Reply::Message(message) => self.send(&message)?,
                        Reply::Garbage => self.send(b"\xb1\x70\xff\xff\xff")?,
                        reply => {
                            pending = Some(reply);
                            self.succeed(&[(
                                "fields",
                                Value::List(vec![Value::Text("r".into())]),
                            )])?;
                        }
                    }
                }
                // PULL and DISCARD.
                0x3f | 0x2f => match pending.take() {
                    Some(Reply::FailAtEnd(code)) => {
                        failed = true;
                        self.fail(code)?;
                    }
                    Some(Reply::EndlessRows(row)) => loop {
                        self.send_row(&row)?;
                    },
                    Some(Reply::AlwaysMore(row)) => {
                        for _ in 0..5_000 {
                            self.send_row(&row)?;
                        }
                        self.succeed(&[("has_more", Value::Flag(true))])?;
                        pending = Some(Reply::AlwaysMore(row));
                    }
                    Some(Reply::Rows(rows)) => {
                        if message[1] == 0x3f {
                            for row in &rows {
                                self.send_row(row)?;
                            }
                        }
                        self.succeed(&[
                            ("type", Value::Text("w".into())),
                            ("t_last", Value::Number(1)),
                            ("db", Value::Text("neo4j".into())),
                        ])?;
                    }
                    _ => {}
                },
                0x66 => self.route(address)?,
                // BEGIN, COMMIT, ROLLBACK.
                _ => self.succeed(&[])?,
            }
        }
    }

    /// The routing table of a cluster with one member.
    fn route(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let mut message = vec![0xb1, SUCCESS, 0xa1];
        encode(&Value::Text("rt".into()), &mut message);
        message.push(0xa3);
        for (key, value) in [("ttl", Value::Number(300)), ("db", Value::Text("neo4j".into()))] {
            encode(&Value::Text(key.into()), &mut message);
            encode(&value, &mut message);
        }
        encode(&Value::Text("servers".into()), &mut message);
        message.push(0x93);
        for role in ["READ", "WRITE", "ROUTE"] {
            message.push(0xa2);
            encode(&Value::Text("addresses".into()), &mut message);
            encode(&Value::List(vec![Value::Text(address.to_string())]), &mut message);
            encode(&Value::Text("role".into()), &mut message);
            encode(&Value::Text(role.into()), &mut message);
        }
        self.send(&message)
    }

    fn send_row(&mut self, row: &Value) -> std::io::Result<()> {
        let mut record = vec![0xb1, RECORD];
        encode(&Value::List(vec![row.clone()]), &mut record);
        self.send(&record)
    }

    fn succeed(&mut self, fields: &[(&str, Value)]) -> std::io::Result<()> {
        self.summary(SUCCESS, fields)
    }

    fn fail(&mut self, code: &str) -> std::io::Result<()> {
        let fields =
            [("code", Value::Text(code.into())), ("message", Value::Text("As told.".into()))];
        self.summary(FAILURE, &fields)
    }

    fn summary(&mut self, tag: u8, fields: &[(&str, Value)]) -> std::io::Result<()> {
        let mut message = vec![0xb1, tag, 0xa0 | fields.len() as u8];
        for (key, value) in fields {
            encode(&Value::Text((*key).into()), &mut message);
            encode(value, &mut message);
        }
        self.send(&message)
    }

    fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        for chunk in message.chunks(60_000) {
            self.stream.write_all(&(chunk.len() as u16).to_be_bytes())?;
            self.stream.write_all(chunk)?;
        }
        self.stream.write_all(&[0, 0])
    }

    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let mut length = [0; 2];
            self.stream.read_exact(&mut length)?;
            let length = usize::from(u16::from_be_bytes(length));
            if length == 0 && !message.is_empty() {
                return Ok(message);
            }
            let start = message.len();
            message.resize(start + length, 0);
            self.stream.read_exact(&mut message[start..])?;
        }
    }
}

/// The beginning of an answer that has one field, `x`.
pub(crate) fn answer_with(value: &[u8]) -> Vec<u8> {
    [b"\xb1\x70\xa1\x81x", value].concat()
}

/// Writes a value as PackStream has it.
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Flag(flag) => out.push(if *flag { 0xc3 } else { 0xc2 }),
        Value::Number(number) => {
            out.push(0xcb);
            out.extend(number.to_be_bytes());
        }
        Value::Text(text) => {
            out.push(0xd2);
            out.extend((text.len() as u32).to_be_bytes());
            out.extend(text.as_bytes());
        }
        Value::List(values) => {
            out.push(0xd6);
            out.extend((values.len() as u32).to_be_bytes());
            for value in values {
                encode(value, out);
            }
        }
    }
}

/// The text a message begins with.
fn first_text(bytes: &[u8]) -> String {
    let (length, start) = match bytes[0] {
        tiny @ 0x80..=0x8f => (usize::from(tiny & 0x0f), 1),
        0xd0 => (usize::from(bytes[1]), 2),
        0xd1 => (usize::from(u16::from_be_bytes([bytes[1], bytes[2]])), 3),
        0xd2 => (u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize, 5),
        other => panic!("no text begins with {other:#x}"),
    };
    String::from_utf8(bytes[start..start + length].to_vec()).unwrap()
}
