use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use rusqlite::types::Value as Cell;

use crate::place::{Meanwhile, Place, Ran};

/// A moment for something else to happen in.
fn breathe(milliseconds: u64) {
    SystemClock.wait(Duration::from_millis(milliseconds), &|| false);
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// All blocks are live and where they belong.
#[track_caller]
fn all_live(place: &Place, ids: &[&str]) {
    let rows = place.rows("state");
    assert_eq!(rows.keys().map(String::as_str).collect::<Vec<_>>(), ids);
    for (id, cells) in rows {
        let archived = cells.iter().find(|(name, _)| name == "archived").unwrap();
        assert_eq!(archived.1, Cell::Integer(0), "{id} was archived");
    }
}

/// A vault of some folders, large enough that a run takes a while.
fn many_notes() -> (Place, Vec<String>) {
    let place = Place::new();
    let ids: Vec<String> = (0..400).map(|n| format!("blk_{n:03}")).collect();
    for (n, id) in ids.iter().enumerate() {
        place.write(&format!("d{}/n{n:03}.md", n % 8), &[id]);
    }
    (place, ids)
}

fn borrowed(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

/// Whatever went on during the runs, none of them made up a deletion, and the next one finds everything.
#[track_caller]
fn and_then_all_is_well(place: &Place, ids: &[String]) {
    let ran = place.sync().expect(0);
    assert_eq!(ran.count("blocks_missing"), 0, "{ran:?}");
    all_live(place, &borrowed(ids));
}

#[test]
fn a_file_replaced_by_a_fifo_is_named_and_nobody_waits_for_a_writer() {
    let place = Place::new();
    place.write("a.md", &["blk_a"]);
    place.write("b.md", &["blk_b"]);
    place.sync().expect(0);
    fs::remove_file(place.note("a.md")).unwrap();
    assert!(Command::new("mkfifo").arg(place.note("a.md")).status().unwrap().success());
    let ran = place.sync().expect(3);
    assert_eq!(ran.faults(), ["error: a.md: a FIFO, not a file: move it out of the vault"]);
    assert_eq!(ran.count("blocks_missing"), 0, "{ran:?}");
    fs::remove_file(place.note("a.md")).unwrap();
    place.write("a.md", &["blk_a"]);
    place.sync().expect(0);
    all_live(&place, &["blk_a", "blk_b"]);
}

#[test]
fn a_file_that_turns_into_a_fifo_and_back_stops_no_run() {
    let (place, ids) = many_notes();
    let (note, aside) = (place.note("d3/n003.md"), place.path("aside.md"));
    fs::copy(&note, &aside).unwrap();
    let fifo = place.path("fifo");
    let turning = Meanwhile::new(move |round| {
        // Each is renamed into place, so that there is always one of the two.
        if round.is_multiple_of(2) {
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        } else {
            fs::copy(&aside, &fifo).unwrap();
        }
        fs::rename(&fifo, &note).unwrap();
        breathe(1);
    });
    for _ in 0..3 {
        let ran = place.sync();
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
    }
    drop(turning);
    let _ = fs::remove_file(place.note("d3/n003.md"));
    place.write("d3/n003.md", &["blk_003"]);
    and_then_all_is_well(&place, &ids);
}

#[test]
fn links_that_lead_in_circles_are_walked_once() {
    let mut place = Place::new();
    place.write("d/a.md", &["blk_a"]);
    symlink(".", place.note("d/self")).unwrap();
    symlink("../..", place.note("d/up")).unwrap();
    symlink("y", place.note("x")).unwrap();
    symlink("x", place.note("y")).unwrap();
    symlink("loop.md", place.note("loop.md")).unwrap();
    for job in ["", ", follow_links: true"] {
        place.job = job;
        let ran = place.sync().expect(0);
        assert_eq!((ran.count("files_scanned"), ran.count("duplicates")), (1, 0), "{ran:?}");
    }
    all_live(&place, &["blk_a"]);
}

#[test]
fn a_file_of_two_gigabytes_is_refused_by_name_and_not_read() {
    let place = Place::new();
    place.write("a.md", &["blk_a"]);
    File::create(place.note("huge.md")).unwrap().set_len(2 << 30).unwrap();
    let ran = place.sync().expect(3);
    assert_eq!(
        ran.faults(),
        [
            "error: huge.md: 2147483648 bytes are more than the 64 MiB a note may have: split it, or raise max_note_size"
        ]
    );
    assert!(ran.count("bytes_read") < 1_000, "{ran:?}");
    all_live(&place, &["blk_a"]);
}

#[test]
fn a_file_that_grows_while_it_is_read_is_left_to_the_next_run() {
    let place = Place::new();
    place.write("a.md", &["blk_a"]);
    place.write("log.md", &["blk_l"]);
    place.sync().expect(0);
    let mut log = OpenOptions::new().append(true).open(place.note("log.md")).unwrap();
    // Slowly: a note of more than `max_note_size` is refused, however long the runs take.
    let growing = Meanwhile::new(move |_| {
        log.write_all(b"and so on\n").unwrap();
        breathe(1);
    });
    for _ in 0..2 {
        let ran = place.sync().expect(0);
        assert_eq!((ran.count("errors"), ran.count("blocks_missing")), (0, 0), "{ran:?}");
    }
    drop(growing);
    let ran = place.sync().expect(0);
    assert_eq!(ran.count("files_deferred"), 0, "{ran:?}");
    all_live(&place, &["blk_a", "blk_l"]);
}

#[test]
fn a_vault_that_goes_away_during_runs_is_an_error_and_no_deletion() {
    let (place, ids) = many_notes();
    place.sync().expect(0);
    let (vault, away) = (place.vault(), place.path("away"));
    let (from, to) = (vault.clone(), away.clone());
    let moving = Meanwhile::new(move |_| {
        fs::rename(&from, &to).unwrap();
        breathe(3);
        fs::rename(&to, &from).unwrap();
        breathe(30);
    });
    let mut refused = 0;
    for _ in 0..8 {
        let ran = place.run(&["run", "vault_sync", "--json", "--full"]);
        assert!(matches!(ran.code, Some(0 | 3 | 4)), "{ran:?}");
        if ran.code == Some(4) {
            refused += 1;
            let error = ran.json()["error"].as_str().unwrap().to_owned();
            assert!(error.contains(vault.to_str().unwrap()), "{error}");
        }
    }
    drop(moving);
    eprintln!("{refused} of 8 runs met a vault that was away");
    // Away before a run begins.
    fs::rename(&vault, &away).unwrap();
    let ran = place.sync().expect(4);
    assert!(ran.stderr.contains(vault.to_str().unwrap()), "{ran:?}");
    fs::rename(&away, &vault).unwrap();
    and_then_all_is_well(&place, &ids);
}

/// Makes everything in the sandbox, and the way to it, another user's.
pub(crate) fn give_to_nobody(place: &mut Place) -> bool {
    const NOBODY: u32 = 65_534;
    let owned = Command::new("chown")
        .args(["-R", &format!("{NOBODY}:{NOBODY}")])
        .arg(place.dir.path())
        .status();
    place.user = Some(NOBODY);
    // The program may lie where that user must not look.
    let may_run = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--clear-groups",
            env!("CARGO_BIN_EXE_aclarai-scheduler"),
            "--version",
        ])
        .output();
    owned.is_ok_and(|status| status.success()) && may_run.is_ok_and(|ran| ran.status.success())
}

#[test]
fn a_folder_whose_permission_is_lost_during_runs_is_named_and_hides_no_deletion() {
    let (mut place, ids) = many_notes();
    if is_root() && !give_to_nobody(&mut place) {
        eprintln!("skipped: root may read everything, and no other user can be had here");
        return;
    }
    place.sync().expect(0);
    let folder = place.note("d5");
    let set =
        |folder: &Path, mode| fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    let toggled = folder.clone();
    let toggling = Meanwhile::new(move |round| {
        set(&toggled, if round.is_multiple_of(2) { 0o000 } else { 0o755 });
        breathe(7);
    });
    for _ in 0..5 {
        let ran = place.run(&["run", "vault_sync", "--json", "--full"]);
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
        assert_eq!(ran.count("blocks_missing"), 0, "{ran:?}");
        for fault in ran.faults() {
            assert!(fault.starts_with("error: d5"), "{fault}");
        }
    }
    drop(toggling);
    set(&folder, 0o000);
    let ran = place.sync().expect(3);
    assert_eq!(ran.faults().len(), 1, "one line for a folder: {ran:?}");
    assert!(ran.faults()[0].contains("d5: cannot"), "{ran:?}");
    set(&folder, 0o755);
    and_then_all_is_well(&place, &ids);
}

/// A small file system of its own, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: PathBuf, kilobytes: u32) -> Option<SmallDisk> {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={kilobytes}k,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(&at)
            .output()
            .is_ok_and(|ran| ran.status.success());
        mounted.then(|| SmallDisk(at))
    }

    /// The same file system at another place too.
    fn show_at(&self, at: &Path) -> SmallDisk {
        let shown = Command::new("mount").arg("--bind").arg(&self.0).arg(at).status();
        assert!(shown.unwrap().success());
        SmallDisk(at.to_owned())
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_mount_that_is_gone_or_another_one_in_its_place_takes_no_block_along() {
    let mut place = Place::new();
    place.job = ", archive_after: 0s";
    place.write("home.md", &["blk_a", "blk_b", "blk_c", "blk_d"]);
    // What lies below the mount, and shows when that is gone.
    place.write("work/below.md", &["blk_below"]);
    let Some(disk) = SmallDisk::new(place.path("disk"), 1_000) else {
        eprintln!("skipped: no file system may be mounted here");
        return;
    };
    let work = place.note("work");
    let mounted = disk.show_at(&work);
    place.write("work/w.md", &["blk_w"]);
    place.write("work/deep/er.md", &["blk_deep"]);
    place.sync().expect(0);
    let waits = |what: &str| {
        for _ in 0..3 {
            let ran = place.sync().expect(3);
            assert_eq!(ran.count("blocks_archived"), 0, "{what}: {ran:?}");
            assert_eq!(ran.json()["needs_attention"], true, "{what}: {ran:?}");
            let said = ran.faults().concat();
            for note in ["work/w.md", "work/deep/er.md"] {
                let doubt = format!("{note}: 1 blocks are missing and its folder is on another");
                assert!(said.contains(&doubt), "{what}: {said}");
            }
        }
    };
    drop(mounted);
    waits("the mount is gone");
    let other = SmallDisk::new(work.clone(), 1_000).unwrap();
    place.write("work/other.md", &["blk_other"]);
    waits("another mount is there");
    drop(other);
    let mounted = disk.show_at(&work);
    let ran = place.sync().expect(0);
    assert_eq!(ran.json()["needs_attention"], false, "{ran:?}");
    // What a person deletes in a mount that is there goes as elsewhere, its folder too.
    fs::remove_dir_all(work.join("deep")).unwrap();
    for _ in 0..2 {
        place.sync().expect(0);
    }
    let rows = place.rows("state");
    let archived = |id: &str| {
        rows[id].iter().any(|(name, cell)| name == "archived" && *cell == Cell::Integer(1))
    };
    assert_eq!(["blk_deep", "blk_w", "blk_a"].map(archived), [true, false, false]);
    drop(mounted);
}

#[track_caller]
fn says_disk_full(ran: &Ran, file: &str) {
    let error = ran.json()["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(ran.code, Some(4), "{ran:#?}");
    assert!(error.contains(file) && error.contains("full"), "{ran:#?}");
}

#[test]
fn a_full_disk_under_the_graph_is_said_and_loses_nothing() {
    let (mut place, ids) = many_notes();
    let Some(disk) = SmallDisk::new(place.path("disk"), 160) else {
        eprintln!("skipped: no file system may be mounted here");
        return;
    };
    place.graph = Some(place.path("disk/graph.db"));
    says_disk_full(&place.sync(), "graph.db");
    disk.grow();
    and_then_all_is_well(&place, &ids);
}

#[test]
fn a_full_disk_under_the_state_is_said_and_loses_nothing() {
    let (mut place, ids) = many_notes();
    place.graph = Some(place.path("graph.db"));
    // Enough to open the state, too little to remember the files. How little that is differs.
    let Some(disk) = SmallDisk::new(place.path("state"), 160) else {
        eprintln!("skipped: no file system may be mounted here");
        return;
    };
    says_disk_full(&place.sync(), "state.db");
    disk.grow();
    and_then_all_is_well(&place, &ids);
}

#[test]
fn files_that_may_not_grow_end_the_run_and_lose_nothing() {
    let (place, ids) = many_notes();
    let ran = place.sync_with_small_files(256);
    // To the store this is a fault of the disk that may pass: tried again, then given up.
    assert!(matches!(ran.code, Some(1 | 4)), "{ran:#?}");
    let error = ran.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("graph.db") || error.contains("state.db"), "{error}");
    and_then_all_is_well(&place, &ids);
}

#[test]
fn the_log_of_a_run_names_each_of_many_faults() {
    let place = Place::new();
    place.write("good.md", &["blk_a"]);
    for n in 0..60 {
        fs::write(place.note(&format!("bad{n:02}.md")), b"\xff\n").unwrap();
    }
    let ran = place.sync().expect(3);
    assert_eq!((ran.faults().len(), ran.count("errors")), (60, 60), "{ran:?}");
    assert_eq!(ran.faults()[7], "error: bad07.md: not UTF-8 at byte 0: save it as UTF-8");

    let ran = place.run(&["--log-format", "text", "run", "vault_sync"]).expect(3);
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("bad")).collect();
    assert_eq!(lines.len(), 60, "{ran:#?}");
    assert!(ran.stderr.ends_with("error: vault_sync: done, but 60 errors\n"), "{ran:#?}");
}
