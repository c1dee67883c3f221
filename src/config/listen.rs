//! The address that the page, the metrics and the health check are served on, as it is written.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The forms that an address is taken in, for messages.
const FORM: &str = "write 127.0.0.1:9464, [::1]:9464, :9464 for all addresses, or unix:/run/aclarai-scheduler/http.sock";

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One address of this machine.
    Address(SocketAddr),
    /// All addresses of this machine.
    All(u16),
    /// A socket in the file system, for a proxy on this machine.
    Socket(PathBuf),
}

impl Listen {
    /// Reads what is written; `None` for nothing. An `Err` says what to write.
    pub(super) fn parse(text: &str) -> Result<Option<Listen>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let is_file = path.is_absolute() && path.file_name().is_some();
            return match is_file {
                true => Ok(Some(Listen::Socket(path))),
                false => Err(format!(
                    "the socket's path must begin with / and end with its name: {FORM}"
                )),
            };
        }
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| FORM.to_owned())?;
            return Ok(Some(Listen::All(port)));
        }
        let address: SocketAddr = text.parse().map_err(|_| match text.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() && !name.contains(':') => {
                format!("{name:?} is a name, and an address is needed: {FORM}")
            }
            _ => FORM.to_owned(),
        })?;
        Ok(Some(match address.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Listen::All(address.port()),
            _ => Listen::Address(address),
        }))
    }

    /// Whether others than this machine may reach it.
    pub fn is_open_to_others(&self) -> bool {
        match self {
            Listen::Address(address) => !address.ip().is_loopback(),
            Listen::All(_) => true,
            Listen::Socket(_) => false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Address(address) => write!(f, "{address}"),
            Listen::All(port) => write!(f, ":{port}"),
            Listen::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A name that requests may call this program by. Ports and addresses are no part of it.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > 253 || !text.chars().all(is_name) {
        return Err(format!("{text:?}: write the name alone, such as notes.example.org"));
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_in_four_forms() {
        let case = |text: &str, shown: &str, is_open: bool| {
            let listen = Listen::parse(text).unwrap().unwrap();
            assert_eq!((listen.to_string().as_str(), listen.is_open_to_others()), (shown, is_open));
        };
        case("127.0.0.1:9464", "127.0.0.1:9464", false);
        case("[::1]:9464", "[::1]:9464", false);
        case(" 192.168.1.5:0 ", "192.168.1.5:0", true);
        case(":9464", ":9464", true);
        case("[::]:9464", ":9464", true);
        case("0.0.0.0:9464", "0.0.0.0:9464", true);
        case("unix:/run/a/http.sock", "unix:/run/a/http.sock", false);
        assert_eq!(Listen::parse(""), Ok(None));
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for text in
            ["9464", ":", ":65536", "::1:9464x", "127.0.0.1", "unix:http.sock", "unix:/", "unix:"]
        {
            let message = Listen::parse(text).unwrap_err();
            assert!(message.ends_with(FORM), "{text}: {message}");
        }
        let message = Listen::parse("localhost:9464").unwrap_err();
        assert!(message.starts_with("\"localhost\" is a name, and an address is needed: write "));
        for name in ["", "a b", "a:80", "[::1]", "http://a"] {
            assert!(host_name(name).is_err(), "{name}");
        }
        assert_eq!(host_name("Notes.Example.org").unwrap(), "notes.example.org");
    }
}
