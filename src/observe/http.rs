//! HTTP/1.1, by hyper, on a thread of its own: connections, their bounds, and nothing of what is answered.
//!
//! ```text
//! doors -> at most 32 connections -> a request's head: at most 8 KiB, in 5 s -> answer, in 10 s -> the next head, in 30 s
//! ```
//! A slower client is cut off. When 32 are there and one more comes, the one that has been idle for longest goes, so
//! that those who hold connections and ask nothing shut nobody out. Answers that read the state folder are made on
//! threads beside this one, which end when they have nothing to do.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::asked::Asked;
use super::door::{Door, Doorplate};
use super::site::{Answer, Site};
use crate::logging;

/// So many connections at once.
const CONNECTIONS_MAX: usize = 32;

/// The head of a request has to fit; it is also the least that hyper takes.
const HEAD_MAX: usize = 8 << 10;

/// How long a head may take from its first byte, and the first one from the connection.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a request may take, from its head to the last byte of its answer.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// How long an answer may take, so that there is time left to say that it took too long.
const ANSWER_TIME: Duration = Duration::from_secs(9);

/// How long a connection may be idle between requests.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// So many answers at once are made from the state folder.
const READERS: usize = 2;

/// How far they stand behind the rest of the daemon.
const READERS_NICE: i32 = 5;

/// The running server; [`stop`](Http::stop) ends it.
#[derive(Debug)]
pub(crate) struct Http {
    /// Its other end, in the thread, sees this one go.
    closing: StdUnixStream,
    thread: JoinHandle<()>,
}

impl Http {
    /// Begins to answer at these doors, on the thread `http`.
    pub(crate) fn start(doors: Vec<Door>, site: Arc<Site>) -> io::Result<Http> {
        let (closing, closed) = StdUnixStream::pair()?;
        closed.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(READERS)
            .thread_name("http-reader")
            // A person who looks at the page, however often, waits rather than the thread that decides, or a run.
            .on_thread_start(|| _ = rustix::process::nice(READERS_NICE))
            .build()?;
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            if let Err(error) = local.block_on(&runtime, serve(doors, site, closed)) {
                logging::error!(error = error.to_string().as_str(); "page, metrics and health check are not served any more");
            }
            drop(local);
            // An answer that waits for a dead disk is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Http { closing, thread })
    }

    /// Cuts off whoever is connected, and waits for the thread.
    pub(crate) fn stop(self) {
        drop(self.closing);
        let _ = self.thread.join();
    }
}

async fn serve(doors: Vec<Door>, site: Arc<Site>, closed: StdUnixStream) -> io::Result<()> {
    let mut closed = UnixStream::from_std(closed)?;
    let lobby = Rc::new(Lobby::default());
    let mut plates: Vec<Doorplate> = Vec::new();
    for door in doors {
        let (lobby, site) = (Rc::clone(&lobby), Arc::clone(&site));
        match door {
            Door::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                tokio::task::spawn_local(async move {
                    loop {
                        let accepted = listener.accept().await;
                        admit(&lobby, &site, accepted.map(|(socket, _)| socket)).await;
                    }
                });
            }
            Door::Unix(listener, plate) => {
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                plates.extend(plate);
                tokio::task::spawn_local(async move {
                    loop {
                        let accepted = listener.accept().await;
                        admit(&lobby, &site, accepted.map(|(socket, _)| socket)).await;
                    }
                });
            }
        }
    }
    // Nothing is ever written to it: it ends when its other end is dropped.
    let _ = closed.read(&mut [0]).await;
    Ok(())
}

/// The connections there are.
#[derive(Default)]
struct Lobby {
    guests: RefCell<Vec<Guest>>,
    /// One has gone.
    gone: Notify,
}

struct Guest {
    patience: Rc<Patience>,
    connection: AbortHandle,
}

/// Takes a connection in, once there is room for it.
async fn admit<S>(lobby: &Rc<Lobby>, site: &Arc<Site>, accepted: io::Result<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let Ok(socket) = accepted else {
        // No file handle is left, or the peer has gone already: no reason to ask again at full speed.
        return sleep(Duration::from_millis(100)).await;
    };
    lobby.make_room().await;
    let patience = Rc::new(Patience::default());
    let (entered, guests) = (Rc::clone(&patience), Rc::clone(lobby));
    let site = Arc::clone(site);
    let connection = tokio::task::spawn_local(async move {
        // However the conversation ends: its place is free then.
        let leaving = Leaving { lobby: guests, patience };
        converse(socket, &leaving.patience, site).await;
    });
    let connection = connection.abort_handle();
    lobby.guests.borrow_mut().push(Guest { patience: entered, connection });
}

struct Leaving {
    lobby: Rc<Lobby>,
    patience: Rc<Patience>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut guests = self.lobby.guests.borrow_mut();
        guests.retain(|guest| !Rc::ptr_eq(&guest.patience, &self.patience));
        self.lobby.gone.notify_one();
    }
}

impl Lobby {
    /// Returns when one more may come in: at once, unless each of those who are there is being answered.
    async fn make_room(&self) {
        loop {
            {
                let mut guests = self.guests.borrow_mut();
                if guests.len() < CONNECTIONS_MAX {
                    return;
                }
                let idle =
                    guests.iter().enumerate().filter(|(_, guest)| !guest.patience.is_answering());
                if let Some((longest, _)) = idle.min_by_key(|(_, guest)| guest.patience.since.get())
                {
                    guests.swap_remove(longest).connection.abort();
                    return;
                }
            }
            self.gone.notified().await;
        }
    }
}

/// The event that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The rest of a head.
    Head,
    /// The answer.
    Answer,
    /// That the answer is taken.
    Taking,
    /// The next head.
    Idle,
}

/// How long a connection is waited for.
struct Patience {
    phase: Cell<Phase>,
    /// When this phase began.
    since: Cell<Instant>,
    until: Cell<Instant>,
}

impl Default for Patience {
    fn default() -> Patience {
        let now = Instant::now();
        Patience {
            phase: Cell::new(Phase::Head),
            since: Cell::new(now),
            until: Cell::new(now + HEAD_TIME),
        }
    }
}

impl Patience {
    fn enter(&self, phase: Phase) {
        let now = Instant::now();
        self.phase.set(phase);
        self.since.set(now);
        match phase {
            Phase::Head => self.until.set(now + HEAD_TIME),
            Phase::Answer => self.until.set(now + REQUEST_TIME),
            // Within the time of the whole request.
            Phase::Taking => {}
            Phase::Idle => self.until.set(now + IDLE_TIME),
        }
    }

    fn is_answering(&self) -> bool {
        matches!(self.phase.get(), Phase::Answer | Phase::Taking)
    }
}

/// Answers on one connection until it ends, or patience does.
async fn converse<S>(socket: S, patience: &Rc<Patience>, site: Arc<Site>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (site, patience) = (Arc::clone(&site), Rc::clone(patience));
        async move {
            patience.enter(Phase::Answer);
            let answer = answer(&site, asked(&request)).await;
            patience.enter(Phase::Taking);
            Ok::<_, Infallible>(response(answer))
        }
    });
    let line = Line { socket, patience: Rc::clone(patience) };
    let mut connection = pin!(
        http1::Builder::new()
            .max_buf_size(HEAD_MAX)
            .half_close(true)
            .serve_connection(line, service)
    );
    let mut end = pin!(sleep_until(patience.until.get()));
    poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if end.deadline() != patience.until.get() {
            end.as_mut().reset(patience.until.get());
        }
        end.as_mut().poll(cx)
    })
    .await;
}

/// The part of a request that counts.
fn asked(request: &Request<Incoming>) -> Asked {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = |name| request.headers().get_all(name).iter().map(text).collect::<Vec<String>>();
    let target = request.uri();
    // A target with a host outranks the header, as for a proxy.
    let hosts = match target.authority() {
        Some(authority) => vec![authority.as_str().to_owned()],
        None => headers(header::HOST),
    };
    Asked {
        method: request.method().as_str().to_owned(),
        is_old: request.version() == Version::HTTP_10,
        hosts,
        path: target.path().to_owned(),
        query: target.query().unwrap_or_default().to_owned(),
        accept: headers(header::ACCEPT).join(","),
    }
}

/// The answer of the site, or that there is none in time.
async fn answer(site: &Arc<Site>, asked: Asked) -> Answer {
    if Site::is_at_hand(&asked) {
        return site.answer(&asked);
    }
    let site = Arc::clone(site);
    let read = tokio::task::spawn_blocking(move || site.answer(&asked));
    match timeout(ANSWER_TIME, read).await {
        Ok(Ok(answer)) => answer,
        // A fault of the program, which has said itself in the log.
        Ok(Err(_)) => Answer::text(500, "this could not be answered: the daemon's log says why"),
        Err(_) => Answer::text(
            503,
            "no answer within 9 s: the disk of the state folder or the vault does not answer",
        ),
    }
}

fn response(answer: Answer) -> Response<Whole> {
    let Answer { status, kind, headers, body } = answer;
    let mut response = Response::new(Whole(Some(Bytes::from(body))));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// A body that is there as a whole.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(
            self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// A socket as hyper wants it, which tells [`Patience`] what comes and goes.
struct Line<S> {
    socket: S,
    patience: Rc<Patience>,
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room = [0; 2048];
        let room_len = room.len().min(into.remaining());
        let mut read = ReadBuf::new(&mut room[..room_len]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
        if !read.filled().is_empty() && self.patience.phase.get() == Phase::Idle {
            self.patience.enter(Phase::Head);
        }
        into.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        // The head and the body are flushed together.
        if self.patience.phase.get() == Phase::Taking {
            self.patience.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a connection may go on from now, by what was heard of it last.
    fn rest(patience: &Patience) -> Duration {
        patience.until.get() - patience.since.get()
    }

    #[test]
    fn a_connection_has_five_seconds_for_a_head_ten_for_a_request_and_thirty_between_them() {
        let patience = Patience::default();
        assert_eq!(rest(&patience), Duration::from_secs(5), "connected");
        for (phase, seconds) in [(Phase::Answer, 10), (Phase::Idle, 30), (Phase::Head, 5)] {
            patience.enter(phase);
            assert_eq!(rest(&patience), Duration::from_secs(seconds), "{phase:?}");
        }
        // A request's time is that of its answer and of those who take it.
        patience.enter(Phase::Answer);
        let until = patience.until.get();
        patience.enter(Phase::Taking);
        assert_eq!(patience.until.get(), until);
    }

    #[test]
    fn whoever_has_been_idle_for_longest_makes_room_and_whoever_is_answered_stays() {
        let lobby = Lobby::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let guests: Vec<Rc<Patience>> = tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut guests = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                let patience = Rc::new(Patience::default());
                let connection = tokio::task::spawn_local(std::future::pending::<()>());
                let connection = connection.abort_handle();
                guests.push(Rc::clone(&patience));
                lobby.guests.borrow_mut().push(Guest { patience, connection });
            }
            // The first to come is being answered, and the second one has just asked something.
            guests[0].enter(Phase::Answer);
            guests[1].enter(Phase::Idle);
            lobby.make_room().await;
            guests
        });
        let left = lobby.guests.borrow();
        let is_there =
            |guest: &Rc<Patience>| left.iter().any(|left| Rc::ptr_eq(&left.patience, guest));
        assert_eq!(left.len(), CONNECTIONS_MAX - 1);
        assert!(is_there(&guests[0]) && is_there(&guests[1]) && !is_there(&guests[2]));
    }
}
