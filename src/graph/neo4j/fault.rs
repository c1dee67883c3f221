//! Errors of the driver and the server, sorted by what a caller does next, each with the remedy for a person.
//!
//! The server's codes and the driver's variants are sorted here once; everything else in this room asks only for the
//! [`Verdict`].

use std::any::Any;
use std::time::Duration;

use neo4rs::{DeError, Error};

/// How the driver's bounds begin what they say (`bounds::REFUSED` there). Written here once more, because the published
/// driver, with which the package is verified, has no such name.
const REFUSED: &str = "refused an answer";

/// The next step after an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send it again: the server is busy, or two transactions met.
    Retry,
    /// Connect anew, then send it again: the connection is gone, or leads to the wrong server.
    Reconnect,
    /// Two writers made the same node at once: sent again, it finds the other's.
    Race,
    /// The statement asks too much of the server at once: send less of it.
    TooMuch,
    /// Something in it cannot be stored: find the row.
    Data,
    /// A person must mend it first.
    Person,
    /// The same: this user and this password are not known.
    Refused,
}

/// An error, sorted, with the cause and the remedy in words.
#[derive(Clone, Debug)]
pub(super) struct ServerFault {
    /// The next step.
    pub(super) verdict: Verdict,
    /// Cause and remedy.
    pub(super) message: String,
}

const CHECK_ADDRESS: &str = "check that the server is up and that databases.neo4j.uri, or NEO4J_HOST and NEO4J_BOLT_PORT, is its address";
const CHECK_PASSWORD: &str = "check NEO4J_USER and NEO4J_PASSWORD";
const WITH_TLS: &str =
    "if the server wants TLS, write bolt+s:// or neo4j+s:// in databases.neo4j.uri";
const WITHOUT_TLS: &str =
    "if the server does not speak TLS, write bolt:// or neo4j:// in databases.neo4j.uri";

const MAKE_WRITABLE: &str = "let an administrator make the database writable, or write neo4j:// in databases.neo4j.uri for a cluster";

/// How a message begins about a server that hung up.
const CLOSED: &str = "the server closed the connection";

impl ServerFault {
    fn new(verdict: Verdict, message: impl Into<String>) -> ServerFault {
        ServerFault { verdict, message: message.into() }
    }

    /// No answer within the time we give it.
    pub(super) fn silence(limit: Duration) -> ServerFault {
        ServerFault::new(
            Verdict::Reconnect,
            format!("no answer for {} s: {CHECK_ADDRESS}", limit.as_secs()),
        )
    }

    /// The server sends more than was asked for, and may never stop.
    pub(super) fn more_rows_than(most: usize) -> ServerFault {
        ServerFault::refused(&format!("{REFUSED} with more than {most} rows"))
    }

    fn refused(text: &str) -> ServerFault {
        ServerFault::new(
            Verdict::Person,
            format!(
                "{text}: this is no Neo4j, or something on the way changes what it says: {CHECK_ADDRESS}"
            ),
        )
    }

    /// No answer by the time at which it is of no use any more.
    pub(super) fn late() -> ServerFault {
        ServerFault::new(Verdict::Reconnect, format!("no answer in time: {CHECK_ADDRESS}"))
    }

    /// The driver panicked.
    pub(super) fn panicked(panic: &(dyn Any + Send)) -> ServerFault {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text =
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        ServerFault::new(Verdict::Reconnect, format!("the driver gave up: {text}"))
    }

    /// The answer is not what was asked for.
    pub(super) fn unreadable(error: &DeError) -> ServerFault {
        ServerFault::new(Verdict::Person, format!("cannot read the answer: {error}"))
    }

    /// The same fault met while connecting, where hanging up is also how a server says that it does, or does not, want
    /// TLS.
    pub(super) fn at_connecting(mut self) -> ServerFault {
        if self.message.starts_with(CLOSED) {
            let remedy =
                if self.message.contains("tls handshake") { WITHOUT_TLS } else { WITH_TLS };
            self.message = format!("{}: {remedy}", self.message);
        }
        self
    }

    /// Sorts an error.
    pub(super) fn of(error: &Error) -> ServerFault {
        use Verdict::{Data, Person, Reconnect};
        match error {
            Error::Neo4j(error) => of_server(error.code(), error.message()),
            Error::RoutingTableError((code, message)) => of_server(code, message),
            Error::AuthenticationError(message) => ServerFault::new(
                Verdict::Refused,
                format!("Neo4j refused the login: {}: {CHECK_PASSWORD}", without_stop(message)),
            ),
            Error::IOError { detail } => of_io(detail),
            Error::ProtocolMismatch(_) => ServerFault::new(
                Person,
                format!(
                    "this is not a Bolt port: {error}: {CHECK_ADDRESS} (Bolt is on 7687, HTTP on 7474)"
                ),
            ),
            Error::UnsupportedVersion(..) => ServerFault::new(
                Person,
                format!("{error}: a server that speaks Bolt 4.4 is needed, as Neo4j 4.4 and 5 do"),
            ),
            Error::UrlParseError(_)
            | Error::UnsupportedScheme(_)
            | Error::InvalidDnsName(_)
            | Error::InvalidConfig => ServerFault::new(
                Person,
                format!(
                    "{error}: databases.neo4j.uri is bolt://HOST:PORT or neo4j://HOST:PORT, with +s for TLS or +ssc \
                     for TLS without a check of the certificate"
                ),
            ),
            Error::StringTooLong
            | Error::MapTooBig
            | Error::BytesTooBig
            | Error::ListTooLong
            | Error::WriteError(_) => ServerFault::new(Data, error.to_string()),
            Error::UnexpectedMessage(text) if text.starts_with(REFUSED) => {
                ServerFault::refused(text)
            }
            Error::ConnectionTimedOut => {
                ServerFault::new(Reconnect, format!("{error}: {CHECK_ADDRESS}"))
            }
            Error::ServerUnavailableError(_) | Error::RoutingTableRefreshFailed(_) => {
                ServerFault::new(Reconnect, format!("{error}: {CHECK_ADDRESS}"))
            }
            // All the rest: an answer that makes no sense, a connection out of step. A new connection is a new start.
            _ => ServerFault::new(Reconnect, error.to_string()),
        }
    }
}

/// Sorts an error of the server's by its code, `Neo.Class.Category.Title`.
fn of_server(code: &str, message: &str) -> ServerFault {
    use Verdict::*;
    let mut parts = code.split('.').skip(1);
    let [class, category, title] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let (verdict, remedy) = match (class, category, title) {
        (_, _, "MemoryPoolOutOfMemoryError" | "OutOfMemoryError" | "StackOverFlowError") => {
            (TooMuch, "give the server more memory")
        }
        // The server's own limit, which we ask for with each statement; half of it may be done in time.
        (_, "Transaction", "TransactionTimedOut" | "TransactionTimedOutClientConfiguration") => {
            (TooMuch, "the server is too slow for it, or another transaction holds a lock")
        }
        ("TransientError", ..) => (Retry, ""),
        ("ClientError", "Transaction", "Terminated" | "LockClientStopped") => (Retry, ""),
        ("ClientError", "Security", "AuthorizationExpired") => (Reconnect, ""),
        ("ClientError", "Security", "Forbidden") => {
            (Person, "let an administrator grant NEO4J_USER reading and writing in this database")
        }
        ("ClientError", "Security", _) => (Refused, CHECK_PASSWORD),
        ("ClientError", "Cluster", "NotALeader") => {
            (Reconnect, "write neo4j:// in databases.neo4j.uri for a cluster")
        }
        ("ClientError", "General", "WriteOnReadOnlyAccessDatabase") => (Person, MAKE_WRITABLE),
        ("ClientError", "General", "ForbiddenOnReadOnlyDatabase") => (Reconnect, MAKE_WRITABLE),
        ("ClientError", "Cluster", _) => (Reconnect, ""),
        ("ClientError", "Database", "DatabaseNotFound") => (
            Person,
            "databases.neo4j.database must be a database of the server; its first one is named neo4j",
        ),
        ("ClientError", "Database" | "Request" | "Procedure", _) => (Person, ""),
        ("ClientError", "Statement", "SyntaxError") => {
            (Person, "the server must be Neo4j 4.4 or 5")
        }
        ("ClientError", "Statement", "AccessMode") => (Reconnect, ""),
        ("ClientError", "Schema", "ConstraintValidationFailed") => (Race, ""),
        ("ClientError", ..) | ("DatabaseError", "Statement", "ExecutionFailed") => (Data, ""),
        ("DatabaseError", ..) => (Retry, "look into the server's log"),
        _ => (Reconnect, ""),
    };
    let message = without_stop(message);
    let remedy = if remedy.is_empty() { String::new() } else { format!(": {remedy}") };
    ServerFault::new(verdict, format!("{message} ({code}){remedy}"))
}

fn without_stop(message: &str) -> &str {
    message.trim_end_matches(['.', '\n', ' '])
}

/// Sorts a failure of the system's: no connection, or none that is safe. The TLS library reports everything it dislikes
/// as invalid data and names its reason in the text.
fn of_io(error: &std::io::Error) -> ServerFault {
    use std::io::ErrorKind;
    let message = error.to_string();
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            ServerFault::new(Verdict::Reconnect, format!("{CLOSED}: {message}"))
        }
        ErrorKind::InvalidData => {
            let (what, remedy) = if message.contains("InvalidContentType") {
                ("the server does not speak TLS on this port", WITHOUT_TLS)
            } else if message.contains("CaUsedAsEndEntity") {
                (
                    "the server's certificate is that of a certificate authority",
                    "give the server a certificate with basicConstraints CA:FALSE, or, without any check of it, write \
                     bolt+ssc:// or neo4j+ssc:// in databases.neo4j.uri",
                )
            } else if message.to_lowercase().contains("notvalidforname")
                || message.contains("not valid for name")
            {
                (
                    "the server's certificate is for another name",
                    "write that name in databases.neo4j.uri",
                )
            } else if message.contains("certificate expired") {
                (
                    "the server's certificate has expired",
                    "renew it on the server, and see that the clock of this machine is right",
                )
            } else if message.contains("certificate not valid yet") {
                (
                    "the server's certificate is not valid yet",
                    "see that the clocks of the server and of this machine are right",
                )
            } else if message.contains("certificate") {
                (
                    "the server's certificate is not trusted",
                    "name the PEM file of its certificate authority in databases.neo4j.tls_ca",
                )
            } else {
                ("no agreement on TLS", CHECK_ADDRESS)
            };
            ServerFault::new(Verdict::Person, format!("{what}: {message}: {remedy}"))
        }
        _ => ServerFault::new(Verdict::Reconnect, format!("{message}: {CHECK_ADDRESS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_the_driver_are_known_by_their_words() {
        assert_eq!(REFUSED, neo4rs::bounds::REFUSED);
    }

    #[test]
    fn each_dislike_of_a_certificate_has_its_own_remedy() {
        // The words of the TLS library; `neo4j_faults` meets some of them from a real server.
        for (words, remedy) in [
            (
                "invalid peer certificate: certificate expired: verification time 2 (UNIX), but certificate is not \
                 valid after 1 (1 seconds ago)",
                "renew it on the server",
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 1 (UNIX), but certificate is \
                 not valid before 2 (1 seconds in future)",
                "the clocks of the server and of this machine",
            ),
            ("invalid peer certificate: UnknownIssuer", "databases.neo4j.tls_ca"),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for b",
                "write that name in databases.neo4j.uri",
            ),
        ] {
            let fault = of_io(&std::io::Error::new(std::io::ErrorKind::InvalidData, words));
            assert!(fault.message.contains(remedy), "{}", fault.message);
            assert_eq!(fault.verdict, Verdict::Person);
            let others = ["tls_ca", "renew it", "clocks of", "write that name"];
            let named = others.iter().filter(|other| fault.message.contains(**other)).count();
            assert_eq!(named, 1, "{}", fault.message);
        }
    }
}
