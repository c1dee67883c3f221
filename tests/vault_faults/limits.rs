//! Systems that refuse what others give: no `openat2`, as old kernels and some sandboxes, and no further threads.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::faults::{give_to_nobody, is_root};
use crate::place::{Meanwhile, Place};

/// `strace` that makes `openat2` unknown to a program, where it may trace.
fn without_openat2() -> Option<Vec<&'static str>> {
    let strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"];
    let inject = ["-e", "trace=openat2", "-e", "inject=openat2:error=ENOSYS"];
    let wrapper = [&strace[..], &inject].concat();
    let may = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    may.is_ok_and(|ran| ran.status.success()).then_some(wrapper)
}

#[test]
fn a_folder_flipped_against_a_link_never_brings_notes_from_outside() {
    let mut place = Place::new();
    for n in 0..40 {
        place.write(&format!("d/n{n}.md"), &[&format!("blk_in_{n}")]);
        let outside = place.path("outside");
        fs::create_dir_all(&outside).unwrap();
        let text =
            format!("Secret. <!-- aclarai:id=blk_out_{n} -->\n\nA paragraph that follows.\n");
        fs::write(outside.join(format!("n{n}.md")), text).unwrap();
    }
    symlink("../outside", place.note("link")).unwrap();
    symlink("d", place.note("inner")).unwrap();
    let (d, link, away) = (place.note("d"), place.note("link"), place.note("away"));
    let flipping = Meanwhile::new(move |_| {
        fs::rename(&d, &away).unwrap();
        fs::rename(&link, &d).unwrap();
        fs::rename(&d, &link).unwrap();
        fs::rename(&away, &d).unwrap();
    });
    for job in ["", ", follow_links: true"] {
        place.job = job;
        for round in 0..6 {
            let ran = match without_openat2().filter(|_| round % 2 == 1) {
                Some(wrapper) => place.sync_by(&wrapper),
                None => place.sync(),
            };
            assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
            let ids: Vec<String> = place.rows("state").into_keys().collect();
            assert!(ids.iter().all(|id| id.starts_with("blk_in_")), "{ids:?}");
        }
    }
    drop(flipping);
}

#[test]
fn a_system_that_refuses_threads_gets_a_result_or_an_error_and_no_panic() {
    let mut place = Place::new();
    for n in 0..20 {
        place.write(&format!("d{n}/a.md"), &[&format!("blk_{n}")]);
    }
    if !is_root() || !give_to_nobody(&mut place) {
        eprintln!("skipped: no user can be had here who has no other processes");
        return;
    }
    let mut done = 0;
    for limit in 1..12 {
        let ran = place.sync_by(&["prlimit", &format!("--nproc={limit}")]);
        assert!(!ran.stderr.contains("panicked"), "{limit}: {ran:#?}");
        assert!(matches!(ran.code, Some(0 | 1 | 4)), "{limit}: {ran:#?}");
        done += u64::from(ran.code == Some(0));
    }
    assert!(done > 0, "a dozen threads are enough");
}
