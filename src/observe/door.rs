//! The sockets that are listened on: handed over by systemd, or opened here before anything is scheduled.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::Listen;
use crate::text;
use listenfd::ListenFd;

/// A socket that waits for connections.
#[derive(Debug)]
pub(crate) enum Door {
    /// An address of the network.
    Tcp(TcpListener),
    /// A name in the file system.
    Unix(UnixListener, Option<Doorplate>),
}

/// The file of a socket that was made here; it goes with this.
#[derive(Debug)]
pub(crate) struct Doorplate {
    path: PathBuf,
    /// Device and inode.
    file: Option<(u64, u64)>,
}

impl Drop for Doorplate {
    fn drop(&mut self) {
        // Another process may have put its own there.
        if self.file.is_some() && self.file == identity(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Door {
    /// Where it is, for a person.
    pub(crate) fn place(&self) -> String {
        match self {
            Door::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.to_string(),
                Err(_) => "a socket of systemd's".to_owned(),
            },
            Door::Unix(_, Some(plate)) => format!("unix:{}", plate.path.display()),
            Door::Unix(listener, None) => match listener.local_addr() {
                Ok(address) => address
                    .as_pathname()
                    .map_or("unix:".to_owned(), |path| format!("unix:{}", path.display())),
                Err(_) => "a socket of systemd's".to_owned(),
            },
        }
    }
}

/// Why nothing can be listened on; in each case with the remedy.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {cause}: {remedy}")]
pub(crate) struct DoorError {
    place: String,
    cause: String,
    remedy: String,
}

/// The sockets that systemd hands over where it does, else the configured one.
pub(crate) fn open(listen: Option<&Listen>) -> Result<Vec<Door>, DoorError> {
    let mut handed = ListenFd::from_env();
    let mut doors = Vec::new();
    for index in 0..handed.len() {
        let door = match handed.take_tcp_listener(index) {
            Ok(listener) => listener.map(Door::Tcp),
            Err(_) => handed
                .take_unix_listener(index)
                .map_err(|error| DoorError {
                    place: format!("socket {index} of systemd's"),
                    cause: error.to_string(),
                    remedy: "the socket unit needs ListenStream= and Accept=no".to_owned(),
                })?
                .map(|listener| Door::Unix(listener, None)),
        };
        doors.extend(door);
    }
    if let (true, Some(listen)) = (doors.is_empty(), listen) {
        let failed = |error: io::Error| DoorError {
            place: text::visible(&listen.to_string()).into_owned(),
            remedy: remedy(listen, &error),
            cause: error.to_string(),
        };
        doors.push(match listen {
            Listen::Address(address) => Door::Tcp(TcpListener::bind(address).map_err(failed)?),
            Listen::All(port) => Door::Tcp(bind_all(*port).map_err(failed)?),
            Listen::Socket(path) => {
                let listener = bind_socket(path).map_err(failed)?;
                let file = identity(path);
                Door::Unix(listener, Some(Doorplate { path: path.clone(), file }))
            }
        });
    }
    Ok(doors)
}

/// All addresses of both protocols, or of the older one where the machine has the newer switched off.
fn bind_all(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Err(error)
            if !matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) =>
        {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        }
        bound => bound,
    }
}

/// Makes the socket for its owner and group alone. One that a dead process left is replaced; nothing else is.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => return Err(ErrorKind::AlreadyExists.into()),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(ErrorKind::AddrInUse.into()),
        Ok(_) => {}
    }
    // It takes its name, or that of a dead one, when it has its mode: nobody else gets in meanwhile.
    let hidden = path.with_file_name(format!(".{}.sock", std::process::id()));
    let listener = UnixListener::bind(&hidden)?;
    let named = fs::set_permissions(&hidden, Permissions::from_mode(0o660))
        .and_then(|()| fs::rename(&hidden, path));
    if let Err(error) = named {
        let _ = fs::remove_file(&hidden);
        return Err(error);
    }
    Ok(listener)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn remedy(listen: &Listen, error: &io::Error) -> String {
    if let Some(remedy) = text::shortage(error) {
        return remedy.to_owned();
    }
    let remedy = match (listen, error.kind()) {
        (Listen::Socket(_), ErrorKind::AddrInUse) => {
            "another process serves there: stop it, or name another path"
        }
        (Listen::Socket(_), ErrorKind::AlreadyExists) => {
            "it is not a socket and stays as it is: remove it, or name another path"
        }
        (Listen::Socket(_), ErrorKind::NotFound) => {
            "make its folder, as RuntimeDirectory= does in a unit, or name another path"
        }
        (Listen::Socket(_), ErrorKind::PermissionDenied) => {
            "give this user the right to write in its folder, or name another path"
        }
        (Listen::Socket(_), _) => "name another path, of at most 107 bytes, on a local disk",
        (_, ErrorKind::AddrInUse) => {
            "another program has this port: `ss -ltnp` names it; stop it, or choose another port"
        }
        (_, ErrorKind::PermissionDenied) => {
            "this user may not have this port: choose one from 1024 on, or let a socket unit of systemd's open it"
        }
        (_, ErrorKind::AddrNotAvailable) => {
            "this machine does not have this address: `ip address` shows those that it has"
        }
        _ => "choose another address",
    };
    remedy.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(listen: &Listen) -> String {
        open(Some(listen)).unwrap_err().to_string()
    }

    #[test]
    fn a_port_that_another_has_is_named_with_the_remedy() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = Listen::Address(other.local_addr().unwrap());
        let message = message(&listen);
        assert!(message.starts_with(&format!("cannot listen on {listen}: Address")), "{message}");
        assert!(message.ends_with("stop it, or choose another port"), "{message}");
        assert!(open(None).unwrap().is_empty());
    }

    #[test]
    fn a_socket_is_its_owners_and_its_groups_and_goes_with_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let listen = Listen::Socket(path.clone());
        let doors = open(Some(&listen)).unwrap();
        assert_eq!(doors[0].place(), format!("unix:{}", path.display()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(message(&listen).ends_with("stop it, or name another path"));
        drop(doors);
        assert!(!path.exists());
        // Left by a process that was killed: nobody listens on it.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(open(Some(&listen)).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(message(&listen).contains("it is not a socket and stays as it is"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let nowhere = Listen::Socket(folder.path().join("none/http.sock"));
        assert!(message(&nowhere).contains("make its folder"));
    }
}
