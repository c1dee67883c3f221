//! The program is killed at random moments while a script edits the vault; then one sync makes the graph what a
//! fresh one would be.
//!
//! `cargo test` kills it ten times. All 200 times: `ACLARAI_KILLS=200 cargo test --test vault_faults killed`. The edits and
//! the moments of the kills, as shares of a whole run, come from `ACLARAI_KILLS_SEED`, which a failure tells.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aclarai_scheduler::inside::clock::{Clock, SystemClock};
use aclarai_scheduler::inside::vault::Sample;

use crate::place::{Meanwhile, Place};
use crate::random::{Random, kills};
use crate::wait::wait_for_end;

/// How often the program is killed before it is left to do one sync in peace.
const KILLS_PER_CHECK: u64 = 5;

/// One edit, as a tool does it that counts the versions of its markers: that way a graph that saw each edit and one
/// that saw only the last of them have the same versions.
fn edit(random: &mut Random, note: &Path, away: &Path) {
    match random.below(8) {
        0 => {
            // Out of the vault for a moment, as some editors and sync programs do.
            fs::rename(note, away).unwrap();
            SystemClock.wait(Duration::from_millis(random.below(20)), &|| false);
            fs::rename(away, note).unwrap();
        }
        kind => {
            let text = fs::read_to_string(note).unwrap();
            let mut edited = String::new();
            for line in text.split_inclusive('\n') {
                match line.split_once(" ver=") {
                    Some((head, tail)) if random.below(2) == 0 => {
                        let version: u64 = tail.split(' ').next().unwrap().parse().unwrap();
                        let word = random.below(1000);
                        let head = head.replacen("end.", &format!("end. {word}"), 1);
                        edited.push_str(&format!("{head} ver={} -->\n", version + 1));
                    }
                    _ => edited.push_str(line),
                }
            }
            if kind < 4 {
                fs::write(away, edited).unwrap();
                fs::rename(away, note).unwrap();
            } else {
                // Truncated first, and empty for a moment.
                fs::write(note, "").unwrap();
                SystemClock.wait(Duration::from_millis(random.below(3)), &|| false);
                fs::write(note, edited).unwrap();
            }
        }
    }
}

#[test]
fn killed_at_any_moment_it_loses_nothing() {
    let (kills, mut random) = kills("killed_at_any_moment", 10, 200);
    let mut place = Place::new();
    // A block that two syncs miss is archived at once: a wrong burial must show.
    place.job = ", archive_after: 0s";
    let sample =
        Sample { files: 200, blocks_per_file: 6, bytes_per_file: 1_500, is_flat: false, seed: 5 };
    sample.write(&place.vault()).unwrap();
    let notes: Vec<PathBuf> =
        (0..sample.files).map(|n| place.vault().join(sample.path(n))).collect();
    let begin = SystemClock.monotonic();
    place.sync().expect(0);
    let whole_run = (SystemClock.monotonic() - begin).as_millis() as u64;

    let mut done = 0;
    let mut finished = 0;
    while done < kills {
        let seed = random.below(u64::MAX);
        let (notes, away) = (notes.clone(), place.path("away.md"));
        let mut editor = Random(seed);
        let script = Meanwhile::new(move |_| {
            let note = editor.below(notes.len() as u64) as usize;
            edit(&mut editor, &notes[note], &away);
            SystemClock.wait(Duration::from_millis(editor.below(10)), &|| false);
        });
        for _ in 0..KILLS_PER_CHECK.min(kills - done) {
            if random.below(2) == 0 {
                // Everything has to be written again, so that kills meet writes and not only reads.
                let _ = fs::remove_dir_all(place.path("state"));
            }
            let mut child = place.start();
            let moment = Duration::from_millis(whole_run * random.below(1_000) / 1_000);
            SystemClock.wait(moment, &|| false);
            finished += u64::from(child.try_wait().unwrap().is_some());
            child.kill().unwrap();
            wait_for_end(&mut child);
            done += 1;
        }
        drop(script);
        place.sync().expect(0);
        let _ = fs::remove_dir_all(place.path("fresh"));
        place.sync_in("fresh").expect(0);
        let (graph, fresh) = (place.rows("state"), place.rows("fresh"));
        assert_eq!(graph.len(), fresh.len());
        for (id, row) in fresh {
            assert_eq!(graph[&id], row, "{id} after {done} kills");
        }
    }
    eprintln!("{kills} kills, {finished} of them after the end; a whole run takes {whole_run} ms");
}
