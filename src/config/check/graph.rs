//! `databases` with `NEO4J_*`: which store, and how to reach a server.

use std::path::Path;

use super::Checker;
use crate::config::address::Address;
use crate::config::error::{Mistake, Place};
use crate::config::given::{Findings, Given, Origin};
use crate::config::node::Lines;
use crate::config::raw;
use crate::config::section::Maybe;
use crate::config::settings::{GraphConfig, Neo4jConfig};
use crate::config::value::whole_word;

const FILE: &str = "graph.db";
const HOST: &str = "neo4j";
const DATABASE: &str = "neo4j";
const USER: &str = "neo4j";

enum Kind {
    Embedded,
    Neo4j,
}

impl Checker<'_> {
    pub(super) fn graph(&mut self, raw: raw::Databases, state_dir: &Path) -> GraphConfig {
        let asked = self.findings.checked(raw.graph, |name| match name.as_str() {
            "embedded" => Ok(Kind::Embedded),
            "neo4j" => Ok(Kind::Neo4j),
            _ => Err("write embedded or neo4j".to_owned()),
        });
        let kind = asked.unwrap_or_else(|| {
            let because = match self.variables.any_below("databases.neo4j") {
                _ if raw.neo4j.is_some() => Some("there is a section databases.neo4j".to_owned()),
                Some(name) => Some(format!("{name} is set")),
                None => None,
            };
            match because {
                Some(because) => {
                    self.notes.push(format!("databases.graph: neo4j, because {because}"));
                    Kind::Neo4j
                }
                None => Kind::Embedded,
            }
        });
        match kind {
            Kind::Neo4j => GraphConfig::Neo4j(self.neo4j(raw.neo4j.unwrap_or_default())),
            Kind::Embedded => {
                let name = raw.embedded_path.map_or_else(|| FILE.to_owned(), |given| given.value);
                GraphConfig::Embedded { path: state_dir.join(self.with_home(Path::new(&name))) }
            }
        }
    }

    fn neo4j(&mut self, raw: raw::Neo4j) -> Neo4jConfig {
        self.warn_of_secret(&raw.user, "NEO4J_USER");
        self.warn_of_secret(&raw.password, "NEO4J_PASSWORD");
        let [uri, host] = [raw.uri.clone(), raw.host.clone()];
        let without_dotenv = self.address_without_dotenv(uri, host, raw.port.clone());
        let (address, address_is_variable) = self.address(raw.uri, raw.host, raw.port);
        let database = self.findings.checked(raw.database, |name| match name.trim() {
            "" => Err("write the name of a database, or null".to_owned()),
            name => Ok(name.to_owned()),
        });
        let tls_ca = raw.tls_ca.map(|Given { value, origin }| {
            if !address.is_tls() {
                let message = "has no effect: only bolt+s:// and neo4j+s:// are encrypted with a certificate to check";
                self.findings.warn(&origin, None, message);
            }
            self.absolute(Path::new(&value))
        });
        let user = self.variables.text_for_path("databases.neo4j.user", &mut self.findings);
        let password = self.variables.text_for_path("databases.neo4j.password", &mut self.findings);
        let of_dotenv =
            |origin: &Origin| matches!(origin, Origin::Variable { dotenv_line: Some(_), .. });
        let is_moved = address.to_string() != without_dotenv && !address.is_tls();
        // One in the address itself goes where whoever wrote it meant it to go.
        let comes_along = match &password {
            Some(given) => of_dotenv(&given.origin),
            None => raw.password.is_none() || address_is_variable && address.password.is_some(),
        };
        if is_moved && !comes_along {
            let message = "moves the address to one without TLS while the password comes from elsewhere: set both in \
                           one place, or use a bolt+s:// address";
            let place = Place::File { file: ".env".to_owned(), line: None, column: None };
            let subject = "databases.neo4j".to_owned();
            self.findings.faults.push(Mistake {
                subject,
                value: None,
                message: message.to_owned(),
                place,
            });
        }
        let has_password =
            password.is_some() || raw.password.is_some() || address.password.is_some();
        if has_password && !address.is_tls() && !address.is_this_machine() {
            let message = "the password is sent there unencrypted: use bolt+s:// unless the network in between is yours";
            let origin = Origin::Key("databases.neo4j".to_owned());
            self.findings.warn(&origin, Some(address.to_string()), message);
        }
        // A setting within an address has the rank of the address; a key of its own comes before it.
        let ranked = |variable: Maybe<String>, key: Maybe<String>, in_uri: Option<String>| {
            let key = key.map(|given| given.value);
            let rest = if address_is_variable { in_uri.or(key) } else { key.or(in_uri) };
            variable.map(|given| given.value).or(rest)
        };
        Neo4jConfig {
            uri: address.to_string(),
            database: database.unwrap_or_else(|| DATABASE.to_owned()),
            tls_ca,
            user: ranked(user, raw.user, address.user).unwrap_or_else(|| USER.to_owned()),
            password: ranked(password, raw.password, address.password),
        }
    }

    /// The address of the server. An address as a whole (`uri`) outranks host and port where both are given at the
    /// same rank; a host from the environment outranks all of the file. Also says whether it is `NEO4J_URI`.
    fn address(
        &mut self,
        uri: Maybe<String>,
        host: Maybe<String>,
        port: Maybe<u32>,
    ) -> (Address, bool) {
        let path = |key: &str| format!("databases.neo4j.{key}");
        let env_uri = self.variables.text_for_path(&path("uri"), &mut self.findings);
        let env_host = self.variables.text_for_path(&path("host"), &mut self.findings);
        let env_port = self.variables.text_for_path(&path("port"), &mut self.findings);
        let env_port = self.findings.checked(env_port, |port| whole_word(1..=65_535)(port));
        let file_port = port.map(|given| given.value);

        if let Some(host) = env_host.as_ref().filter(|_| uri.is_some() && env_uri.is_none()) {
            let message = format!("outranks {} of the file", path("uri"));
            self.findings.warn(&host.origin, None, message);
        }
        let is_variable = env_uri.is_some();
        let whole = env_uri.or(if env_host.is_some() { None } else { uri });
        let mut address = match whole {
            Some(given) => self.whole_address(given),
            None => {
                let host =
                    env_host.or(host).map(|host| self.part_of_address(host, Address::of_host));
                let mut address = host.unwrap_or_else(default_address);
                address.port = file_port.map(port_number);
                address
            }
        };
        if let Some(port) = env_port.filter(|_| !is_variable) {
            address.port = Some(port_number(port));
        }
        (address, is_variable)
    }

    /// The address as it would be if there were no `.env`.
    fn address_without_dotenv(
        &mut self,
        uri: Maybe<String>,
        host: Maybe<String>,
        port: Maybe<u32>,
    ) -> String {
        let dotenv = std::mem::take(&mut self.variables.dotenv);
        let scratch = Findings::of(None, Lines::default());
        let findings = std::mem::replace(&mut self.findings, scratch);
        let (address, _) = self.address(uri, host, port);
        self.findings = findings;
        self.variables.dotenv = dotenv;
        address.to_string()
    }

    fn whole_address(&mut self, uri: Given<String>) -> Address {
        let origin = uri.origin.clone();
        let address = self.part_of_address(uri, Address::parse);
        let has_secret = address.user.is_some() || address.password.is_some();
        if has_secret && matches!(origin, Origin::Key(_)) {
            let message = "holds a user or password: take them out and set NEO4J_USER and NEO4J_PASSWORD in the \
                           environment or in .env";
            self.findings.warn(&origin, None, message);
        }
        address
    }

    /// Like [`Findings::checked`], but what may be a password is not shown.
    fn part_of_address(
        &mut self,
        Given { value, origin }: Given<String>,
        read: impl Fn(&str) -> Result<Address, String>,
    ) -> Address {
        read(&value).unwrap_or_else(|message| {
            self.findings.fault(&origin, None, message);
            default_address()
        })
    }

    fn warn_of_secret(&mut self, given: &Maybe<String>, variable: &str) {
        if let Some(Given { origin, .. }) = given {
            let message = format!(
                "does not belong in this file: set {variable} in the environment or in .env"
            );
            self.findings.warn(origin, None, message);
        }
    }
}

fn default_address() -> Address {
    Address::of_host(HOST).expect("the default host is a host")
}

fn port_number(port: u32) -> u16 {
    u16::try_from(port).expect("checked to be at most 65535")
}
