//! Several hosts with one server: real daemons that are killed, frozen, stopped or cut off, and the file that their jobs
//! write to. Whatever happens, each instant of a job is there once, and no two hosts work at the same time.
//!
//! All kinds of trouble come at once, each to a group of its own, since most of the time goes by with waiting for a lease
//! to end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::fake::{FakeServer, Reply, Value};
use crate::link::{Link, Weather};
use crate::real::{Extra, say, server};
use crate::wait::wait_for;
use aclarai_scheduler::inside::clock::Clock;

/// The jobs are due each so many seconds.
const PERIOD: i64 = 10;

/// `note` writes when it begins and ends. `stubborn` heeds no SIGTERM and never ends by itself: one of it is alive all the
/// time, and only SIGKILL makes room for that of another host.
const JOBS: &str = r#"
    note:
      enabled: true
      cron: "@every 10s"
      coalesce: false
      max_instances: 20
      misfire_grace_time: 600
      command:
        - sh
        - -c
        - |
          line() { printf 'note %s HOST %s\n' "$ACLARAI_SCHEDULED_FOR" "$(date +%s.%N)" >>LINES; }
          line; sleep 2; line
    stubborn:
      enabled: true
      cron: "@every 10s"
      misfire_grace_time: 600
      command:
        - sh
        - -c
        - |
          trap '' TERM
          while :; do
            printf 'stubborn %s HOST %s\n' "$ACLARAI_SCHEDULED_FOR" "$(date +%s.%N)" >>LINES
            sleep 0.5
          done
"#;

/// What happens to the host that runs the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// SIGKILL.
    Killed,
    /// SIGSTOP, and SIGCONT once another host has taken over.
    Frozen,
    /// SIGTERM.
    Stopped,
    /// Its link to the server.
    Cut(Weather),
}

const TROUBLES: [Trouble; 6] = [
    Trouble::Killed,
    Trouble::Frozen,
    Trouble::Stopped,
    Trouble::Cut(Weather::Silence),
    Trouble::Cut(Weather::Slow(Duration::from_secs(12))),
    Trouble::Cut(Weather::HalfClosed),
];

/// A run of a job, as the shared file has it.
#[derive(Clone, Debug)]
struct Seen {
    job: String,
    instant: i64,
    host: String,
    /// Its first and its last line.
    from: f64,
    to: f64,
    lines: usize,
}

/// What became of all instants.
#[derive(Debug, Default)]
struct Figures {
    instants: usize,
    twice: usize,
    lost: usize,
    together: usize,
    /// The longest time from an instant to the run's first line.
    longest_wait: f64,
}

struct Host {
    name: String,
    variables: Vec<(&'static str, String)>,
    child: Option<Child>,
    link: Option<Link>,
}

/// Hosts that share a lease, in folders of one machine.
struct Group {
    name: String,
    dir: tempfile::TempDir,
    graph: Neo4jConfig,
    hosts: Vec<Host>,
}

impl Group {
    fn new(name: String, graph: &Neo4jConfig, hosts: usize, has_links: bool) -> Group {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("vault")).unwrap();
        let authority = graph.uri.split("://").nth(1).unwrap();
        let server =
            authority.to_socket_addrs().unwrap().find(|address| address.is_ipv4()).unwrap();
        let host = |number| Host {
            name: format!("host{number}"),
            variables: Vec::new(),
            child: None,
            link: has_links.then(|| Link::to(server)),
        };
        let hosts = (1..=hosts).map(host).collect();
        Group { name, dir, graph: graph.clone(), hosts }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, index: usize, jobs: &str) {
        let Host { name, link, .. } = &self.hosts[index];
        let uri = match link {
            Some(link) => format!("bolt://{}", link.address()),
            None => self.graph.uri.clone(),
        };
        let jobs =
            jobs.replace("HOST", name).replace("LINES", &self.path("lines").display().to_string());
        let config = format!(
            "databases: {{graph: neo4j, neo4j: {{uri: {uri:?}}}}}\n\
             scheduler:\n  shutdown_grace_time: 1\n  lease: {{ttl: 45 s, name: {:?}, host: {name}}}\n  jobs:\n    vault_sync: {{enabled: false}}{jobs}",
            self.name
        );
        fs::write(self.path(&format!("{name}.yaml")), config).unwrap();
    }

    fn command(&self, index: usize, arguments: &[&str]) -> Command {
        let Host { name, variables, .. } = &self.hosts[index];
        let mut command = Command::new(env!("CARGO_BIN_EXE_aclarai-scheduler"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("NEO4J_USER", &self.graph.user)
            .env("NEO4J_PASSWORD", self.graph.password.as_deref().unwrap_or_default())
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .current_dir(self.dir.path())
            .args(["--config", &format!("{name}.yaml"), "--vault", "vault", "--state-dir", name])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn start(&mut self, index: usize) {
        let file = self.path(&format!("{}.log", self.hosts[index].name));
        let log = File::options().create(true).append(true).open(file).unwrap();
        let mut command = self.command(index, &["serve"]);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.hosts[index].child = Some(child);
    }

    fn signal(&self, index: usize, signal: Signal) {
        kill_process(Pid::from_child(self.hosts[index].child.as_ref().unwrap()), signal).unwrap();
    }

    fn end(&mut self, index: usize, signal: Signal) {
        self.signal(index, signal);
        self.wait_for_end(index);
    }

    fn wait_for_end(&mut self, index: usize) {
        wait_for_end(self.hosts[index].child.as_mut().unwrap());
        self.hosts[index].child = None;
    }

    fn log(&self, index: usize) -> String {
        fs::read_to_string(self.path(&format!("{}.log", self.hosts[index].name)))
            .unwrap_or_default()
    }

    /// The runs in the shared file, in the order in which they began.
    fn seen(&self) -> Vec<Seen> {
        let text = fs::read_to_string(self.path("lines")).unwrap_or_default();
        let mut seen: Vec<Seen> = Vec::new();
        // The last line may be on its way.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [job, instant, host, at] = words[..] else { panic!("a torn line: {line:?}") };
            let instant = instant.parse::<DateTime<Utc>>().unwrap().timestamp();
            let at: f64 = at.parse().unwrap();
            let is_same =
                |run: &&mut Seen| run.job == job && run.instant == instant && run.host == host;
            match seen.iter_mut().rev().find(is_same) {
                Some(run) => (run.to, run.lines) = (at, run.lines + 1),
                None => {
                    let (job, host) = (job.to_owned(), host.to_owned());
                    seen.push(Seen { job, instant, host, from: at, to: at, lines: 1 });
                }
            }
        }
        seen
    }

    fn notes(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|run| run.job == "note").collect()
    }

    /// Waits until the note of another instant than any before is there, by a host that `fits`.
    fn wait_for_note(&self, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let last = self.notes().iter().map(|run| run.instant).max();
        wait_for(&format!("{what} in {}", self.name), || {
            self.notes().into_iter().find(|run| Some(run.instant) > last && fits(run))
        })
    }

    fn index_of(&self, run: &Seen) -> usize {
        self.hosts.iter().position(|host| host.name == run.host).unwrap()
    }

    /// Waits until the newest instant has run, none before it waits, and the next one is not near: a run whose claim is
    /// under way when its host or the server dies may be lost, which is the price of never running twice.
    fn wait_between_runs(&self) -> Seen {
        wait_for(&format!("a moment between two runs in {}", self.name), || {
            let now = SystemClock.now().timestamp();
            let is_calm = (1..PERIOD - 2).contains(&(now % PERIOD));
            let newest = self.notes().into_iter().find(|run| run.instant == now - now % PERIOD);
            newest.filter(|_| is_calm && self.figures().lost == 0)
        })
    }

    /// Puts the holder into trouble, waits until another host has taken over, and puts things right again.
    fn endure(&mut self, trouble: Trouble) {
        let run = self.wait_between_runs();
        let holder = self.index_of(&run);
        match trouble {
            Trouble::Killed => self.end(holder, Signal::KILL),
            Trouble::Stopped => self.end(holder, Signal::TERM),
            Trouble::Frozen => self.signal(holder, Signal::STOP),
            Trouble::Cut(weather) => self.hosts[holder].link.as_ref().unwrap().turn(weather),
        }
        self.wait_for_note("a run on another host", |other| other.host != run.host);
        match trouble {
            Trouble::Killed | Trouble::Stopped => self.start(holder),
            Trouble::Frozen => self.signal(holder, Signal::CONT),
            Trouble::Cut(_) => self.hosts[holder].link.as_ref().unwrap().turn(Weather::Fair),
        }
    }

    fn figures(&self) -> Figures {
        let seen = self.seen();
        let notes = || seen.iter().filter(|run| run.job == "note");
        let mut by_instant: BTreeMap<i64, usize> = BTreeMap::new();
        let mut figures = Figures::default();
        for run in notes() {
            // One run writes two lines at most.
            *by_instant.entry(run.instant).or_default() += run.lines.div_ceil(2);
            figures.longest_wait = figures.longest_wait.max(run.from - run.instant as f64);
        }
        figures.instants = by_instant.len();
        figures.twice = by_instant.values().filter(|runs| **runs > 1).count();
        let (first, last) = (by_instant.keys().next(), by_instant.keys().next_back());
        let all = (*first.unwrap()..=*last.unwrap()).step_by(PERIOD as usize);
        figures.lost = all.filter(|instant| !by_instant.contains_key(instant)).count();
        let overlap = |a: &Seen, b: &Seen| a.host < b.host && a.from <= b.to && b.from <= a.to;
        let pairs = seen.iter().flat_map(|a| seen.iter().map(move |b| (a, b)));
        figures.together = pairs.filter(|(a, b)| overlap(a, b)).count();
        figures
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in self.hosts.iter_mut().filter_map(|host| host.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for index in 0..self.hosts.len() {
                say(&format!("{} {}:\n{}", self.name, self.hosts[index].name, self.log(index)));
            }
        }
    }
}

/// Plays all troubles so many times, each in a group of so many hosts, and then lets the server restart as often.
fn endure_all(hosts: usize, times: u32) {
    if server().is_none() {
        return;
    }
    let extra = Extra::start("bolt", "WRITABLE");
    let mut groups: Vec<(Trouble, Group)> = Vec::new();
    for (number, trouble) in TROUBLES.into_iter().enumerate() {
        let has_links = matches!(trouble, Trouble::Cut(_));
        let mut group = Group::new(format!("group{number}"), &extra.config(), hosts, has_links);
        for index in 0..hosts {
            group.configure(index, JOBS);
            group.start(index);
        }
        groups.push((trouble, group));
    }
    std::thread::scope(|scope| {
        for (trouble, group) in &mut groups {
            scope.spawn(|| {
                for _ in 0..times {
                    group.endure(*trouble);
                }
                group.wait_between_runs();
            });
        }
    });
    let before: Vec<Figures> = groups.iter().map(|(_, group)| group.figures()).collect();
    for time in 0..times {
        groups.iter().for_each(|(_, group)| drop(group.wait_between_runs()));
        extra.must("kill");
        SystemClock.wait(Duration::from_secs(u64::from(time % 10) * 3), &|| false);
        extra.must("start");
    }
    groups.iter().for_each(|(_, group)| drop(group.wait_between_runs()));
    for (_, group) in &groups {
        (0..hosts).for_each(|index| group.signal(index, Signal::TERM));
    }
    for ((trouble, group), before) in groups.iter_mut().zip(before) {
        (0..hosts).for_each(|index| group.wait_for_end(index));
        let figures = group.figures();
        say(&format!("{trouble:?}: {before:?}; with the server's restarts {figures:?}"));
        let Figures { twice, lost, together, .. } = figures;
        let notes: Vec<String> = group.notes().iter().map(|run| format!("{run:?}\n")).collect();
        assert_eq!((twice, lost, together), (0, 0, 0), "{trouble:?}: {}", notes.concat());
    }
}

#[test]
fn whatever_ends_a_holder_another_host_goes_on_and_nothing_runs_twice_or_never() {
    endure_all(2, 1);
}

#[test]
#[ignore = "takes half an hour: cargo test --test neo4j_faults -- --ignored --nocapture ten_times"]
fn the_same_ten_times_over_with_three_hosts() {
    endure_all(3, 10);
}

/// The jobs of a standby that the holder does not have run nowhere.
#[test]
fn hosts_of_one_lease_with_different_jobs_name_them() {
    if server().is_none() {
        return;
    }
    let extra = Extra::start("bolt", "WRITABLE");
    let mut group = Group::new("different".to_owned(), &extra.config(), 2, false);
    let job = |name: &str| {
        format!("\n    {name}: {{enabled: true, cron: '@every 10s', command: ['true']}}\n")
    };
    group.configure(0, &job("only_here"));
    group.start(0);
    wait_until("the first one to hold the lease", || group.log(0).contains("lease is held"));
    group.configure(1, &job("only_there"));
    group.start(1);
    wait_until("the standby to name the jobs", || {
        let log = group.log(1);
        let line = |with: &str| log.lines().find(|line| line.contains(with)).map(str::to_owned);
        let missing = line("no host runs them");
        let unknown = line("had jobs that are not scheduled here");
        missing.is_some_and(|line| line.contains("only_there") && line.contains("host1"))
            && unknown.is_some_and(|line| line.contains("only_here"))
    });
    // What a person sees there.
    let shown = |arguments: &[&str]| {
        let output = group.command(1, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let standby = "standby: host1 holds the lease since ";
    wait_until("status to say whose the lease is", || shown(&["status"]).contains(standby));
    let jobs: serde_json::Value = serde_json::from_str(&shown(&["jobs", "--json"])).unwrap();
    let only_there = jobs.as_array().unwrap().iter().find(|job| job["job_name"] == "only_there");
    let held_back = only_there.unwrap()["held_back_by"][0].as_str().unwrap();
    assert!(held_back.starts_with(standby), "{held_back}");
    assert!(shown(&["check"]).contains("host1 holds it since "));
    // Once it leads, it names those that nobody runs any more.
    group.end(0, Signal::TERM);
    wait_until("the second one to hold the lease", || group.log(1).contains("lease is held"));
    wait_until("it to name the jobs that are left", || {
        group.log(1).matches("had jobs that are not scheduled here").count() == 2
    });
    group.end(1, Signal::TERM);
}

/// Without the right to write nobody has the lease. The daemon lives, and says what is missing.
#[test]
fn a_host_that_may_not_write_to_the_server_waits_and_says_why() {
    let refused = |of: &'static str, code: &'static str| {
        move |text: &str| text.starts_with(of).then_some(Reply::Refuse(code))
    };
    let cases = [
        (refused("CREATE (", "Neo.ClientError.Security.Forbidden"), "grant NEO4J_USER"),
        (
            refused("CREATE (", "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase"),
            "make the database writable",
        ),
        (
            refused("CREATE CONSTRAINT", "Neo.ClientError.Security.Forbidden"),
            "let an administrator run: CREATE CONSTRAINT scheduler_lease_unique",
        ),
    ];
    for (refused, remedy) in cases {
        let server = FakeServer::start(move |statement| {
            let found = statement.text.contains("SHOW CONSTRAINTS").then(|| vec![Value::Number(0)]);
            refused(statement.text).unwrap_or(Reply::Rows(found.unwrap_or_default()))
        });
        let graph = config(format!("bolt://{}", server.address()));
        let mut group = Group::new("no rights".to_owned(), &graph, 1, false);
        group.configure(0, JOBS);
        group.start(0);
        wait_until(&format!("the daemon to say: {remedy}"), || {
            let log = group.log(0);
            let line = log.lines().find(|line| line.contains("lease cannot be asked for"));
            line.is_some_and(|line| line.contains(remedy))
        });
        wait_until("status to say the same", || {
            let output = group.command(0, &["status"]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            output.status.code() == Some(0)
                && text.contains("standby: the lease cannot be asked for")
        });
        group.end(0, Signal::TERM);
        assert!(group.seen().is_empty());
    }
}

/// Clocks of hosts are compared with nothing: who leads does not depend on them. A job waits until this host's clock shows
/// what another one has run.
#[test]
fn hosts_whose_clocks_are_hours_apart_take_turns_and_run_nothing_twice() {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let Some(library) = files.find(|file| file.exists()) else {
        say("skipped: hosts with different clocks, as libfaketime is not installed");
        return;
    };
    if server().is_none() {
        return;
    }
    let extra = Extra::start("bolt", "WRITABLE");
    let mut group = Group::new("clocks".to_owned(), &extra.config(), 2, false);
    group.hosts[0].variables = vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", "+3h".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
    ];
    for index in 0..2 {
        group.configure(index, JOBS);
    }
    group.start(0);
    let ahead = group.wait_for_note("a run", |_| true);
    assert!(ahead.instant > SystemClock.now().timestamp() + 10_000);
    group.start(1);
    let standby = "standby: another host holds the lease";
    wait_until("the second one to be on standby", || group.log(1).contains(standby));
    group.end(0, Signal::TERM);
    wait_until("the second one to say that its clock is behind", || {
        group.log(1).contains("other hosts have run this job for times that are still to come here")
    });
    group.start(0);
    wait_until("the first one to be on standby", || group.log(0).contains(standby));
    group.end(1, Signal::TERM);
    // It goes on where it left off.
    group.wait_for_note("a later run", |run| run.host == "host1");
    group.end(0, Signal::TERM);
    assert_eq!(group.figures().twice, 0);
    assert!(group.seen().iter().all(|run| run.host == "host1"), "{:?}", group.notes());
}
