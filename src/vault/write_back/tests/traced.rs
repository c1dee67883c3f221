//! Someone saves the note between the steps of a write, or the system refuses one of them. `strace` holds the write back
//! at a step, and makes the system calls fail; what happens meanwhile is real.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::clock::{Clock, SystemClock};

const TEXT: &str =
    "One. <!-- aclarai:id=blk_a ver=1 -->\n\nA last paragraph that keeps the marker inline.\n";
const SAVED: &str = "Saved in the last moment. <!-- aclarai:id=blk_a ver=1 -->\n\nAnd more.\n";
const SAVED_AGAIN: &str = "Saved once more. <!-- aclarai:id=blk_a ver=1 -->\n\nAnd more.\n";

/// Tells the child which of the cases it is.
const CASE: &str = "ACLARAI_WRITE_BACK_CASE";

/// Hold the write back before the first exchange, and before each one, until the other thread has had time to save.
const HOLD_FIRST: &str = "renameat:delay_exit=HOLD:when=1";
const HOLD_ALL: &str = "renameat2:delay_enter=HOLD";

/// For how many microseconds: `strace` cannot wait for the other thread. Where a busy machine made it too late, the case is
/// played again with more time.
const HOLDS: [&str; 3] = ["300000", "3000000", "30000000"];

/// Runs one case in a process under `strace`. False if there is no `strace` here, or it may not trace.
#[track_caller]
fn traced(case: &str, injections: &[&str]) -> bool {
    let mut told = String::new();
    for hold in HOLDS {
        let ran = match run_traced(case, injections, hold) {
            Ok(ran) => ran,
            Err(why) => {
                eprintln!("skipped: {why}");
                return false;
            }
        };
        if ran.status.success() {
            return true;
        }
        told = format!(
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    panic!("{case}: {told}");
}

fn run_traced(case: &str, injections: &[&str], hold: &str) -> Result<Output, &'static str> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat,renameat2,fsync"]);
    for injection in injections {
        strace.args(["-e", &format!("inject={}", injection.replace("HOLD", hold))]);
    }
    let ran = strace
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "vault::write_back::tests::traced::child", "--nocapture"])
        .arg("--test-threads=1")
        .env(CASE, case)
        .output();
    let Ok(ran) = ran else { return Err("there is no strace here") };
    let told = String::from_utf8_lossy(&ran.stderr);
    if told.contains("ptrace") && told.contains("not permitted") {
        return Err("strace may not trace here");
    }
    Ok(ran)
}

/// Not for ever: a case that goes another way shall fail, not hang.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = SystemClock.monotonic() + Duration::from_secs(60);
    while !is_so() {
        assert!(SystemClock.monotonic() < deadline, "waited a minute for {what}");
        SystemClock.wait(Duration::from_millis(1), &|| false);
    }
}

/// Puts `text` in the note's place as an editor does that writes beside it and renames.
fn save(note: &Path, text: &str) {
    let beside = note.with_file_name("beside");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, note).unwrap();
}

/// An event for the note, or for this process, when the new bytes lie ready.
fn meddle(case: &str, note: &Path, hidden: &Path) {
    match case {
        "saved" | "saved, then the disk fails" => save(note, SAVED),
        "saved in place" => fs::write(note, SAVED).unwrap(),
        "saved unreadable" => {
            save(note, SAVED);
            fs::set_permissions(note, fs::Permissions::from_mode(0o000)).unwrap();
        }
        "no file may be opened" => {
            save(note, SAVED);
            let usual = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..usual }).unwrap();
        }
        "saved twice" => {
            save(note, SAVED);
            wait_until("the first save to be put aside", || {
                fs::read_to_string(hidden).is_ok_and(|text| text == SAVED)
            });
            save(note, SAVED_AGAIN);
        }
        "removed" => fs::remove_file(note).unwrap(),
        "a folder" => {
            fs::remove_file(note).unwrap();
            fs::create_dir(note).unwrap();
            fs::write(note.join("inner.md"), SAVED).unwrap();
        }
        "a FIFO" => {
            fs::remove_file(note).unwrap();
            assert!(Command::new("mkfifo").arg(note).status().unwrap().success());
        }
        "a socket" => {
            fs::remove_file(note).unwrap();
            drop(UnixListener::bind(note).unwrap());
        }
        "a link" => {
            fs::remove_file(note).unwrap();
            symlink("elsewhere.md", note).unwrap();
        }
        "exchanged, and the answer is lost" => {
            let beside = note.with_file_name("beside");
            fs::rename(note, &beside).unwrap();
            fs::rename(hidden, note).unwrap();
            fs::rename(beside, hidden).unwrap();
        }
        "saved and exchanged, and the answer is lost" => {
            save(note, SAVED);
            meddle("exchanged, and the answer is lost", note, hidden);
        }
        _ => {}
    }
}

/// Not a test by itself: one case, in the process that `strace` holds.
#[test]
fn child() {
    let Ok(case) = std::env::var(CASE) else { return };
    let vault = Vault::new(TEXT.as_bytes());
    let (note, hidden) = (vault.note(), vault.hidden(".aclarai-swap-"));
    let seen = reading(&note);
    let written = thread::scope(|scope| {
        scope.spawn(|| {
            if !case.starts_with("the disk") {
                wait_until("the new bytes", || fs::symlink_metadata(&hidden).is_ok());
                meddle(&case, &note, &hidden);
            }
        });
        vault.write(&seen, 2)
    });
    if case == "no file may be opened" {
        // Enough again for the removal of what this test made.
        let few = getrlimit(Resource::Nofile);
        assert_eq!(few.current, Some(3));
        setrlimit(Resource::Nofile, Rlimit { current: few.maximum, ..few }).unwrap();
        // Nothing could be listed then; the names were looked at one by one.
        assert_eq!(written, Ok(WriteBack::Left("it was saved in the same moment")));
        assert_eq!(fs::metadata(&note).unwrap().len(), SAVED.len() as u64);
        assert!(fs::symlink_metadata(&hidden).is_err());
        return;
    }
    let names = vault.names();
    let visible: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !name.starts_with('.')).collect();
    let text = |name: &str| fs::read_to_string(vault.0.path().join(name)).unwrap();
    assert_eq!(names.len(), visible.len(), "nothing stays under a hidden name: {names:?}");
    match case.as_str() {
        "saved" | "saved in place" | "saved unreadable" => {
            assert_eq!(written, Ok(WriteBack::Left("it was saved in the same moment")));
            assert_eq!(visible, ["a.md"]);
            fs::set_permissions(&note, fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(text("a.md"), SAVED);
        }
        "saved twice" => {
            assert!(matches!(written, Ok(WriteBack::Kept(_))), "{written:?}");
            assert_eq!(visible, ["a.md", "a.sync-conflict-aclarai-1.md"]);
            assert_eq!(text("a.md"), SAVED_AGAIN);
            assert_eq!(text("a.sync-conflict-aclarai-1.md"), SAVED);
        }
        "saved, then the disk fails" => {
            let Ok(WriteBack::Kept(why)) = written else { panic!("{written:?}") };
            assert!(why.contains("kept as a.sync-conflict-aclarai-1.md"), "{why}");
            assert_eq!(text("a.sync-conflict-aclarai-1.md"), SAVED);
            assert_eq!(text("a.md"), TEXT.replace("ver=1", "ver=2"));
        }
        "exchanged, and the answer is lost" => {
            assert_eq!(written, Ok(WriteBack::Done));
            assert_eq!((visible, text("a.md")), (vec!["a.md"], TEXT.replace("ver=1", "ver=2")));
        }
        "saved and exchanged, and the answer is lost" => {
            assert_eq!(written, Ok(WriteBack::Left("it was saved in the same moment")));
            assert_eq!((visible, text("a.md")), (vec!["a.md"], SAVED.to_owned()));
        }
        "removed" => {
            assert_eq!(written, Ok(WriteBack::Left("it was removed in the same moment")));
            assert!(visible.is_empty());
        }
        "the disk fails before the exchange" | "the disk fails after the exchange" => {
            assert!(written.is_err(), "{written:?}");
            assert_eq!((visible, text("a.md")), (vec!["a.md"], TEXT.to_owned()));
        }
        "the disk cannot exchange" => {
            assert!(
                matches!(written, Ok(WriteBack::Left(why)) if why.contains("cannot exchange")),
                "{written:?}"
            );
            assert_eq!((visible, text("a.md")), (vec!["a.md"], TEXT.to_owned()));
        }
        thing => {
            assert_eq!(written, Ok(WriteBack::Left("it was saved in the same moment")));
            assert_eq!(visible, ["a.md"]);
            let kind = fs::symlink_metadata(&note).unwrap().file_type();
            assert!(!kind.is_file(), "{thing} is in its place again");
            if thing == "a folder" {
                assert_eq!(text("a.md/inner.md"), SAVED);
            }
        }
    }
}

#[test]
fn whatever_takes_the_notes_place_in_the_same_moment_is_in_its_place_afterwards() {
    for case in [
        "saved",
        "saved in place",
        "saved unreadable",
        "no file may be opened",
        "removed",
        "a folder",
        "a FIFO",
        "a socket",
        "a link",
    ] {
        if !traced(case, &[HOLD_FIRST]) {
            return;
        }
    }
}

#[test]
fn of_two_saves_the_second_is_in_place_and_the_first_is_kept_beside_it() {
    traced("saved twice", &[HOLD_ALL]);
}

#[test]
fn a_save_that_cannot_be_put_back_gets_a_visible_name() {
    traced("saved, then the disk fails", &[HOLD_FIRST, "renameat2:error=EIO:when=2+"]);
}

/// As a file system may that lies on another machine, or in another process.
#[test]
fn an_exchange_that_happens_and_is_said_to_have_failed_loses_nothing() {
    let lost = "renameat2:error=EIO:delay_enter=300000:when=1";
    for case in ["exchanged, and the answer is lost", "saved and exchanged, and the answer is lost"]
    {
        if !traced(case, &[lost]) {
            return;
        }
    }
}

#[test]
fn a_disk_that_fails_or_is_full_leaves_the_note_as_it_was() {
    for error in ["EIO", "ENOSPC"] {
        // The first is that of the new bytes, the second that of the folder.
        let before = format!("fsync:error={error}:when=1");
        let after = format!("fsync:error={error}:when=2");
        if !traced("the disk fails before the exchange", &[&before])
            || !traced("the disk fails after the exchange", &[&after])
        {
            return;
        }
    }
    traced("the disk cannot exchange", &["renameat2:error=EINVAL"]);
    traced("the disk fails before the exchange", &["renameat2:error=EIO:when=1"]);
}
