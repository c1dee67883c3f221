//! The address of a Neo4j server: `bolt://host:7687` and its relatives, taken apart so that a password in it is never
//! shown again.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Where Bolt listens unless told otherwise.
const BOLT_PORT: u16 = 7687;

const SCHEMES: [&str; 6] = ["bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"];
const FORM: &str =
    "write bolt://HOST:PORT or neo4j://HOST:PORT, with +s or +ssc after the scheme for TLS";

/// Where a server listens, and who is asking.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: String,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl Address {
    /// Reads a whole address. The reason for refusing one does not repeat it.
    pub(super) fn parse(uri: &str) -> Result<Address, String> {
        let (scheme, rest) = uri.trim().split_once("://").ok_or(FORM)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme.starts_with("http") {
            return Err(
                "this is the address of Neo4j's web page: write bolt://HOST:7687".to_owned()
            );
        }
        if !SCHEMES.contains(&scheme.as_str()) {
            return Err(FORM.to_owned());
        }
        // The last @: a password with an @ in it is not always written as %40.
        let (user_info, server) = rest.rsplit_once('@').map_or((None, rest), |(u, s)| (Some(u), s));
        let server = server.strip_suffix('/').unwrap_or(server);
        if server.contains(['/', '?', '#']) {
            return Err("nothing may follow the port; the database has its own setting, \
                        databases.neo4j.database"
                .to_owned());
        }
        let (host, port) = split_port(server)?;
        let (user, password) = match user_info {
            None => (None, None),
            Some(info) => {
                let (user, password) =
                    info.split_once(':').map_or((info, None), |(u, p)| (u, Some(p)));
                (Some(percent_decoded(user)?), password.map(percent_decoded).transpose()?)
            }
        };
        let known = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Address {
            scheme,
            host: checked_host(host)?,
            port,
            user: known(user),
            password: known(password),
        })
    }

    /// An address from `host` and `port`, in the scheme the other services use.
    pub(super) fn of_host(host: &str) -> Result<Address, String> {
        let host = host.trim();
        if host.contains("://") {
            return Err("a whole address belongs in databases.neo4j.uri or NEO4J_URI".to_owned());
        }
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_ipv6 = inner.unwrap_or(host).parse::<Ipv6Addr>().is_ok();
        if host.contains(':') && !is_ipv6 {
            return Err(
                "the port has its own setting, databases.neo4j.port or NEO4J_BOLT_PORT".to_owned()
            );
        }
        let host = checked_host(inner.unwrap_or(host))?;
        Ok(Address { scheme: "bolt".to_owned(), host, port: None, user: None, password: None })
    }

    /// Whether no network lies in between.
    pub(super) fn is_this_machine(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.scheme.contains('+')
    }
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { scheme, host, .. } = self;
        let port = self.port.unwrap_or(BOLT_PORT);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

fn split_port(server: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or("the [ has no ]")?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err("what is in brackets is no IPv6 address".to_owned());
            }
            (
                host,
                if behind.is_empty() { None } else { Some(behind.strip_prefix(':').ok_or(FORM)?) },
            )
        }
        None if server.matches(':').count() > 1 => {
            return Err("an IPv6 address needs brackets, as in bolt://[::1]:7687".to_owned());
        }
        None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| port.parse().ok().filter(|port| *port != 0));
    match port {
        Some(None) => Err("the port must be a number from 1 to 65535".to_owned()),
        Some(port) => Ok((host, port)),
        None => Ok((host, None)),
    }
}

fn checked_host(host: &str) -> Result<String, String> {
    let is_legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() {
        Err("the host is missing".to_owned())
    } else if host.chars().all(is_legal) {
        Ok(host.to_owned())
    } else {
        Err("this is no host name".to_owned())
    }
}

fn percent_decoded(text: &str) -> Result<String, String> {
    const FAULT: &str =
        "a % in user or password is written %25, and so on for @ (%40), : (%3A) and / (%2F)";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = digit(rest.next()).zip(digit(rest.next())).ok_or(FAULT)?;
            bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are one byte"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| FAULT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_shown_without_their_secrets() {
        let cases = [
            ("bolt://db", Ok("bolt://db:7687 - -")),
            ("bolt://db:7688/", Ok("bolt://db:7688 - -")),
            ("NEO4J+S://db.example.org", Ok("neo4j+s://db.example.org:7687 - -")),
            ("bolt+ssc://[::1]:7", Ok("bolt+ssc://[::1]:7 - -")),
            ("bolt://[2001:db8::1]", Ok("bolt://[2001:db8::1]:7687 - -")),
            ("bolt://me@db", Ok("bolt://db:7687 me -")),
            ("bolt://me:p%40ss%25@db", Ok("bolt://db:7687 me p@ss%")),
            ("bolt://me:p@s/s:x@db:1", Ok("bolt://db:1 me p@s/s:x")),
            ("bolt://:@db", Ok("bolt://db:7687 - -")),
            ("db:7687", Err(FORM)),
            ("", Err(FORM)),
            ("ftp://db", Err(FORM)),
            (
                "http://db:7474",
                Err("this is the address of Neo4j's web page: write bolt://HOST:7687"),
            ),
            ("bolt://", Err("the host is missing")),
            ("bolt://:7687", Err("the host is missing")),
            ("bolt://db:0", Err("the port must be a number from 1 to 65535")),
            ("bolt://db:http", Err("the port must be a number from 1 to 65535")),
            ("bolt://db:", Err("the port must be a number from 1 to 65535")),
            ("bolt://::1:7687", Err("an IPv6 address needs brackets, as in bolt://[::1]:7687")),
            ("bolt://[nope]", Err("what is in brackets is no IPv6 address")),
            ("bolt://[::1", Err("the [ has no ]")),
            ("bolt://a b", Err("this is no host name")),
        ];
        for (uri, expected) in cases {
            let shown = Address::parse(uri).map(|address| {
                let or_dash = |text: &Option<String>| text.clone().unwrap_or("-".to_owned());
                format!("{address} {} {}", or_dash(&address.user), or_dash(&address.password))
            });
            assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{uri}");
        }
        assert!(
            Address::parse("bolt://db:1/neo4j")
                .is_err_and(|why| why.contains("databases.neo4j.database"))
        );
        assert!(Address::parse("bolt://a:%zz@db").is_err_and(|why| why.contains("%25")));
    }

    #[test]
    fn hosts_may_be_names_or_addresses_and_nothing_more() {
        let of_host = |host| Address::of_host(host).map(|address| address.to_string());
        assert_eq!(of_host("neo4j").unwrap(), "bolt://neo4j:7687");
        assert_eq!(of_host("::1").unwrap(), "bolt://[::1]:7687");
        assert_eq!(of_host("[::1]").unwrap(), "bolt://[::1]:7687");
        assert!(of_host("db:7688").is_err_and(|why| why.contains("NEO4J_BOLT_PORT")));
        assert!(of_host("bolt://db").is_err_and(|why| why.contains("NEO4J_URI")));
        assert_eq!(of_host("").unwrap_err(), "the host is missing");
    }
}
