//! A vault, a state folder and the program that keeps them in step.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::Value;
use tempfile::TempDir;

use crate::wait::wait_for_end;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.json()[name].as_u64().unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let log = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        log.filter(|line| line["filename.function_name"] == "execute.log_faults")
            .map(|line| {
                let level = line["level"].as_str().unwrap().to_lowercase();
                format!("{level}: {}", line["message"].as_str().unwrap())
            })
            .collect()
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

pub(crate) struct Place {
    pub(crate) dir: TempDir,
    /// Lines of the configuration below `databases:` and `scheduler:`.
    pub(crate) graph: Option<PathBuf>,
    pub(crate) job: &'static str,
    /// Run as this user, where the tests may choose one.
    pub(crate) user: Option<u32>,
}

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("vault")).unwrap();
        Place { dir, graph: None, job: "", user: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.path("vault")
    }

    pub(crate) fn note(&self, name: &str) -> PathBuf {
        self.vault().join(name)
    }

    /// A note with one block for each id.
    pub(crate) fn write(&self, name: &str, ids: &[&str]) {
        let lines: String = ids
            .iter()
            .map(|id| format!("Text of {id}. <!-- aclarai:id={id} ver=1 -->\n\n"))
            .collect();
        let path = self.note(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{lines}The end of it.\n")).unwrap();
    }

    pub(crate) fn graph_file(&self) -> PathBuf {
        self.graph.clone().unwrap_or_else(|| self.path("state/graph.db"))
    }

    /// The program with `arguments`, its state in the folder `state`.
    fn command(&self, state: &str, arguments: &[&str]) -> Command {
        let graph = match &self.graph {
            Some(path) => format!("{:?}", path.to_str().unwrap()),
            None => "null".to_owned(),
        };
        let config = format!(
            "databases: {{graph: embedded, embedded: {{path: {graph}}}}}\nscheduler: {{jobs: {{vault_sync: {{enabled: \
             true{}}}}}}}\n",
            self.job
        );
        fs::write(self.path("config.yaml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aclarai-scheduler"));
        command
            .env_clear()
            .current_dir(self.dir.path())
            .arg("--config")
            .arg(self.path("config.yaml"))
            .arg("--vault")
            .arg(self.vault())
            .arg("--state-dir")
            .arg(self.path(state))
            .args(arguments)
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    pub(crate) fn sync(&self) -> Ran {
        self.run(&["run", "vault_sync", "--json"])
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.finish(self.command("state", arguments))
    }

    /// The same with the state, and so the graph, in another folder.
    pub(crate) fn sync_in(&self, state: &str) -> Ran {
        self.finish(self.command(state, &["run", "vault_sync", "--json"]))
    }

    /// A sync by a program that runs another one, and takes it with its arguments: `prlimit`, say.
    pub(crate) fn sync_by(&self, wrapper: &[&str]) -> Ran {
        self.finish(self.wrapped(wrapper))
    }

    /// The same, and how many bytes of memory it took at most.
    pub(crate) fn sync_watched_by(&self, wrapper: &[&str]) -> (Ran, u64) {
        let most = Arc::new(AtomicU64::new(0));
        let ran = self.finish_beside(self.wrapped(wrapper), |process| {
            let most = Arc::clone(&most);
            Some(Meanwhile::new(move |_| {
                most.fetch_max(peak_of(process), Ordering::Relaxed);
                SystemClock.wait(Duration::from_millis(1), &|| false);
            }))
        });
        (ran, most.load(Ordering::Relaxed))
    }

    fn wrapped(&self, wrapper: &[&str]) -> Command {
        let program = self.command("state", &["run", "vault_sync", "--json"]);
        let mut command = Command::new(wrapper[0]);
        command
            .args(&wrapper[1..])
            .arg(program.get_program())
            .args(program.get_args())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Files that the program writes may not grow beyond this many blocks of 512 bytes.
    pub(crate) fn sync_with_small_files(&self, blocks: u32) -> Ran {
        let program = self.command("state", &["run", "vault_sync", "--json"]);
        let mut shell = Command::new("/bin/sh");
        // With the signal ignored, the write itself is refused.
        shell
            .arg("-c")
            .arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""))
            .arg(program.get_program())
            .args(program.get_args())
            .env_clear()
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        self.finish(shell)
    }

    pub(crate) fn start(&self) -> Child {
        self.command("state", &["run", "vault_sync", "--json"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn finish(&self, command: Command) -> Ran {
        self.finish_beside(command, |_| None)
    }

    /// The same, with something that is done beside the process of this number.
    fn finish_beside(
        &self,
        mut command: Command,
        beside: impl FnOnce(u32) -> Option<Meanwhile>,
    ) -> Ran {
        // Files, unlike pipes, never make the program wait for a reader.
        let (out, err) = (self.path("stdout"), self.path("stderr"));
        let mut child = command
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let beside = beside(child.id());
        let status = wait_for_end(&mut child);
        drop(beside);
        Ran {
            code: status.code(),
            stdout: fs::read_to_string(out).unwrap(),
            stderr: fs::read_to_string(err).unwrap(),
        }
    }

    /// All rows of a graph by id, without when they were written.
    pub(crate) fn rows(&self, state: &str) -> BTreeMap<String, Vec<(String, Cell)>> {
        rows(&if state == "state" { self.graph_file() } else { self.path(state).join("graph.db") })
    }
}

/// The most memory that a process has taken so far, in bytes: its own pages and those of its files.
fn peak_of(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.map_or(0, |kilobytes: u64| kilobytes << 10)
}

fn rows(graph: &Path) -> BTreeMap<String, Vec<(String, Cell)>> {
    let connection = Connection::open(graph).unwrap();
    let mut statement = connection.prepare("SELECT * FROM blocks").unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([]).unwrap();
    let mut all = BTreeMap::new();
    while let Some(row) = rows.next().unwrap() {
        let cells = names.iter().enumerate().filter(|(_, name)| *name != "last_updated");
        let cells = cells.map(|(at, name)| (name.clone(), row.get(at).unwrap())).collect();
        all.insert(row.get("id").unwrap(), cells);
    }
    all
}

/// Does something over and over beside a test, until it is dropped.
pub(crate) struct Meanwhile {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Meanwhile {
    pub(crate) fn new(mut happens: impl FnMut(u64) + Send + 'static) -> Meanwhile {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let work = move || {
            for round in 0.. {
                if asked.load(Ordering::Relaxed) {
                    return;
                }
                happens(round);
            }
        };
        let thread = std::thread::Builder::new().name("meanwhile".to_owned()).spawn(work).unwrap();
        Meanwhile { stop, thread: Some(thread) }
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "what happened meanwhile went wrong");
    }
}
