use chrono::{DateTime, Utc};

use super::*;
use crate::config::JobName;
use crate::job::{RunRecord, RunState};
use crate::scheduler::Status;

fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:00Z".parse().unwrap()
}

fn record(job: &str, state: RunState) -> RunRecord {
    RunRecord {
        state,
        started_at: Some(noon()),
        finished_at: Some(noon()),
        lateness_s: 0.25,
        queue_wait_s: Some(0.5),
        duration_s: Some(2.5),
        ..RunRecord::queued(&JobName::new(job), noon())
    }
}

#[test]
fn a_file_is_replaced_in_one_step_and_others_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aclarai.prom");
    // A link where the temporary file will be, laid by somebody else.
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let temporary = folder.path().join(format!(".aclarai.prom.{}.tmp", std::process::id()));
    std::os::unix::fs::symlink(&victim, &temporary).unwrap();
    write_file(&path, "first\n").unwrap();
    let reader = fs::File::open(&path).unwrap();
    write_file(&path, "second\n").unwrap();
    assert_eq!(io::read_to_string(reader).unwrap(), "first\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a.prom")).unwrap();
    assert!(write_file(&folder.path().join("a.prom"), "text").is_err());
    assert!(write_file(&folder.path().join("none/a.prom"), "text").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_last_file_says_that_the_daemon_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.prom");
    let clock = Arc::new(crate::clock::ManualClock::at(noon()));
    let counters = Shared::new(Counters::new(noon()));
    let metrics = MetricsFile::start(&path, counters.clone(), clock).unwrap();
    let wake = metrics.wake();
    counters.lock().count(&record("vault_sync", RunState::Succeeded));
    wake();
    counters.lock().observe(&Status { queued: 1, ..Status::default() });
    drop(wake);
    metrics.stop();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\naclarai_scheduler_up 0\n"), "{text}");
    assert!(text.contains("\naclarai_scheduler_queued_runs 1\n"), "{text}");
    assert!(text.contains("outcome=\"succeeded\"} 1\n"), "{text}");
}

/// Root could put a file in the place of a device, and the machine would not be the same.
#[test]
fn nothing_but_a_regular_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for (name, target) in
        [("to_null", "/dev/null"), ("to_pipe", "pipe"), ("to_nothing", "none"), ("to_folder", ".")]
    {
        std::os::unix::fs::symlink(target, at(name)).unwrap();
    }
    for name in ["pipe", "socket", "to_null", "to_pipe", "to_nothing", "to_folder"] {
        let before = fs::symlink_metadata(at(name)).unwrap().file_type();
        assert!(write_file(&at(name), "text").is_err(), "{name}");
        assert_eq!(fs::symlink_metadata(at(name)).unwrap().file_type(), before, "{name}");
    }
    assert!(write_file(Path::new("/dev/null"), "text").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
}

#[test]
fn a_link_stays_and_its_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("real.prom"), folder.path().join("link.prom"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink("real.prom", &link).unwrap();
    write_file(&link, "new").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("real.prom"));
}
