//! A link between a program and a server that a test may disturb: a proxy on a port of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::*;
use aclarai_scheduler::inside::clock::Clock;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It arrives.
    Fair,
    /// It is lost both ways, and nobody is told. What was connected then is never heard of again.
    Silence,
    /// It arrives, so much later.
    Slow(Duration),
    /// The server's end says that nothing more will come, and goes on to listen.
    HalfClosed,
}

/// A link to `server`, until it is dropped.
pub(crate) struct Link {
    address: SocketAddr,
    weather: Arc<Mutex<Option<Weather>>>,
}

impl Link {
    pub(crate) fn to(server: SocketAddr) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let weather = Arc::new(Mutex::new(Some(Weather::Fair)));
        let seen = Arc::clone(&weather);
        spawn(move || {
            for client in listener.incoming().flatten() {
                if look(&seen).is_none() {
                    return;
                }
                // A server that is away is a client that is hung up on.
                let Ok(server) = TcpStream::connect(server) else { continue };
                carry(&client, &server, &seen, false);
                carry(&server, &client, &seen, true);
            }
        });
        Link { address, weather }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn turn(&self, weather: Weather) {
        *self.weather.lock().unwrap() = Some(weather);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // The one that waits for a client looks once more.
        let _ = TcpStream::connect(self.address);
    }
}

fn look(weather: &Mutex<Option<Weather>>) -> Option<Weather> {
    *weather.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Such a thread ends soon after the link is dropped.
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("link".to_owned()).spawn(work).unwrap();
}

/// Carries one way, on a thread of its own.
fn carry(
    from: &TcpStream,
    to: &TcpStream,
    weather: &Arc<Mutex<Option<Weather>>>,
    is_answers: bool,
) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let weather = Arc::clone(weather);
    from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    spawn(move || {
        let mut bytes = [0; 16 * 1024];
        let mut is_lost = false;
        loop {
            let read = from.read(&mut bytes);
            let weather = look(&weather);
            match weather {
                None => break,
                Some(Weather::Silence) => is_lost = true,
                Some(Weather::HalfClosed) if is_answers && !is_lost => {
                    let _ = to.shutdown(Shutdown::Write);
                    is_lost = true;
                }
                Some(_) => {}
            }
            let count = match read {
                Ok(0) if is_lost => return,
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            };
            if let Some(Weather::Slow(by)) = weather {
                SystemClock.wait(by, &|| false);
            }
            if !is_lost && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
