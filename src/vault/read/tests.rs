use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;

use super::*;
use crate::block::VaultPath;
use crate::clock::{Alarm, ManualClock, SystemClock};
use crate::config::VaultConfig;
use crate::stop::{Stop, after_looks};
use crate::vault::{Listing, WalkOptions, list};

/// A clock that does not wait: it notes how long it was asked to and lets something happen meanwhile.
struct Meanwhile<'a> {
    happens: &'a (dyn Fn(usize) + Sync),
    waits: Mutex<Vec<u64>>,
}

impl fmt::Debug for Meanwhile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Clock for Meanwhile<'_> {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::hours(1)
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    fn boottime(&self) -> Duration {
        SystemClock.boottime()
    }

    fn alarm(&self, at: DateTime<Utc>) -> Alarm {
        SystemClock.alarm(at)
    }

    fn wait(&self, duration: Duration, ended: &dyn Fn() -> bool) -> bool {
        let mut waits = self.waits.lock().unwrap();
        (self.happens)(waits.len());
        waits.push(u64::try_from(duration.as_millis()).unwrap());
        ended()
    }
}

struct Vault {
    temp: TempDir,
}

impl Vault {
    fn new(files: &[(&str, &[u8])]) -> Vault {
        let temp = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::create_dir_all(temp.path().join(name).parent().unwrap()).unwrap();
            fs::write(temp.path().join(name), content).unwrap();
        }
        Vault { temp }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.temp.path().join(name)
    }

    fn list(&self) -> Listing {
        let config = VaultConfig {
            root: self.temp.path().to_owned(),
            tiers: [None, None, None],
            whole: true,
        };
        list(
            &config,
            &WalkOptions { follow_links: true, threads: 2, ..WalkOptions::default() },
            &Stop::new(),
        )
        .unwrap()
    }
}

/// Reads the first file of a listing, while `happens` happens at each wait; returns how long was waited as well.
fn read_first(listing: &Listing, happens: &(dyn Fn(usize) + Sync)) -> (ReadOutcome, Vec<u64>) {
    let clock = Meanwhile { happens, waits: Mutex::default() };
    let options = ReadOptions {
        max_note_size: NOTE_BYTES_MAX,
        parse: ParseOptions::default(),
        threads: 2,
        clock: &clock,
        times: &ReadTimes::default(),
        stop: &Stop::new(),
    };
    let file = ToRead { file: &listing.files[0], known: None, expected: None };
    let outcome = Reader::new(&listing.root, &options).read(&file);
    (outcome, clock.waits.into_inner().unwrap())
}

fn parsed(outcome: ReadOutcome) -> (Reading, ParsedFile) {
    match outcome {
        ReadOutcome::Parsed(reading, parsed) => (reading, parsed),
        other => panic!("not parsed: {other:?}"),
    }
}

fn append(path: &Path) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

#[test]
fn a_quiet_file_is_read_at_once() {
    let vault = Vault::new(&[("sub/a.md", b"Text. <!-- aclarai:id=blk_a -->")]);
    let listing = vault.list();
    let (outcome, waits) = read_first(&listing, &|_| {});
    let (reading, file) = parsed(outcome);
    assert_eq!(file.block(0).text(), "Text.");
    assert_eq!((reading.stat, reading.is_blank, waits.len()), (listing.files[0].stat, false, 0));
    assert_eq!(reading.digest, Digest(xxh3_128(b"Text. <!-- aclarai:id=blk_a -->")));
    assert!(!reading.is_recent(), "the clock is an hour ahead of the file");
}

#[test]
fn a_reading_counts_only_if_nothing_changed() {
    let stat = FileStat { size: 5, mtime_ns: 1, ctime_ns: 2, inode: 3 };
    assert!(is_whole(stat, stat, stat, 5));
    for other in [
        FileStat { size: 6, ..stat },
        FileStat { mtime_ns: 0, ..stat },
        FileStat { ctime_ns: 3, ..stat },
        FileStat { inode: 4, ..stat },
    ] {
        assert!(!is_whole(stat, other, other, 5), "{other:?}");
        assert!(!is_whole(stat, stat, other, 5), "{other:?}");
    }
    assert!(!is_whole(stat, stat, stat, 4) && !is_whole(stat, stat, stat, 6));
}

#[test]
fn a_file_that_is_longer_than_it_says_is_tried_four_times_and_deferred() {
    // A file that the kernel makes up has no length until it is read, like a file that grows under the reader.
    let root = Root::open(Path::new("/proc/self")).unwrap();
    let path = VaultPath::new("status");
    let file = ListedFile { path, stat: FileStat::default(), tier: None, through_link: false };
    let clock = Meanwhile { happens: &|_| {}, waits: Mutex::default() };
    let options = ReadOptions {
        max_note_size: NOTE_BYTES_MAX,
        parse: ParseOptions::default(),
        threads: 1,
        clock: &clock,
        times: &ReadTimes::default(),
        stop: &Stop::new(),
    };
    let to_read = ToRead { file: &file, known: None, expected: None };
    let outcome = Reader::new(&root, &options).read(&to_read);
    assert!(matches!(outcome, ReadOutcome::Deferred(Deferral::BeingWritten)), "{outcome:?}");
    assert_eq!(*clock.waits.lock().unwrap(), [20, 80, 320]);
}

#[test]
fn tries_end_as_soon_as_the_file_holds_still() {
    #[track_caller]
    fn case(tries: Vec<Result<u8, Failed>>, expected: &str, waits: &[u64]) {
        let vault = Vault::new(&[]);
        let root = Root::open(vault.temp.path()).unwrap();
        let clock = Meanwhile { happens: &|_| {}, waits: Mutex::default() };
        let stop = Stop::new();
        let options = ReadOptions {
            max_note_size: NOTE_BYTES_MAX,
            parse: ParseOptions::default(),
            threads: 1,
            clock: &clock,
            times: &ReadTimes::default(),
            stop: &stop,
        };
        let mut tries = tries.into_iter();
        let result = Reader::new(&root, &options).until_still(|_| tries.next().unwrap());
        let found = match result {
            Ok(n) => format!("read {n}"),
            Err(Failed::Torn) => "torn".to_owned(),
            Err(Failed::Gone) => "gone".to_owned(),
            Err(Failed::Fault(kind)) => kind.to_string(),
        };
        assert_eq!((found.as_str(), clock.waits.lock().unwrap().as_slice()), (expected, waits));
    }
    use Failed::{Gone, Torn};
    let fault = || Err(Failed::Fault(FaultKind::TooLarge { bytes: 1 << 40, most: 1 << 26 }));
    case(vec![Ok(1)], "read 1", &[]);
    case(vec![Err(Gone)], "gone", &[]);
    case(vec![Err(Torn), Ok(2)], "read 2", &[20]);
    case(vec![Err(Torn), Err(Gone), Ok(3)], "read 3", &[20, 80]);
    case(vec![Err(Torn), Err(Gone), Err(Gone), Err(Gone)], "gone", &[20, 80, 320]);
    case(vec![Err(Torn), Err(Torn), Err(Torn), Ok(4)], "read 4", &[20, 80, 320]);
    let too_large = "1099511627776 bytes are more than the 64 MiB a note may have: split it, or raise max_note_size";
    case(vec![Err(Torn), fault()], too_large, &[20]);
}

#[test]
fn what_took_the_place_of_a_listed_file_is_not_followed_and_does_not_block() {
    let vault = Vault::new(&[("a.md", b"Text."), ("b.txt", b"Other.")]);
    let listing = vault.list();
    let outcome = || format!("{:?}", read_first(&listing, &|_| {}).0);
    let path = vault.at("a.md");

    fs::remove_file(&path).unwrap();
    assert_eq!(outcome(), "Vanished");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert!(outcome().starts_with("Fault"), "{}", outcome());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(outcome(), "Vanished");
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("b.txt", &path).unwrap();
    assert_eq!(outcome(), "Vanished");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "New.").unwrap();
    assert!(outcome().starts_with("Parsed"), "{}", outcome());
}

#[test]
fn a_folder_that_became_a_link_does_not_lead_out_of_the_vault() {
    let outside = Vault::new(&[("a.md", b"Secret.")]);
    let vault = Vault::new(&[("sub/a.md", b"Text.")]);
    let listing = vault.list();
    fs::rename(vault.at("sub"), vault.at("moved")).unwrap();
    std::os::unix::fs::symlink(outside.temp.path(), vault.at("sub")).unwrap();
    assert!(matches!(read_first(&listing, &|_| {}).0, ReadOutcome::Vanished));
}

#[test]
fn a_link_that_is_followed_is_read_only_while_it_stays_in_the_vault() {
    let outside = Vault::new(&[("a.md", b"Secret.")]);
    let vault = Vault::new(&[("attic/.hidden/a.md", b"Text.")]);
    let link = vault.at("a.md");
    for target in [Path::new("attic/.hidden/a.md"), &vault.at("attic/.hidden/a.md")] {
        std::os::unix::fs::symlink(target, &link).unwrap();
        let listing = vault.list();
        let (reading, file) = parsed(read_first(&listing, &|_| {}).0);
        assert_eq!((file.source(), reading.stat), ("Text.", listing.files[0].stat));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(outside.at("a.md"), &link).unwrap();
        let outcome = read_first(&listing, &|_| {}).0;
        assert!(matches!(outcome, ReadOutcome::Fault(_)), "{outcome:?}");
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn a_file_too_large_to_be_a_note_is_a_fault_and_takes_no_memory() {
    let vault = Vault::new(&[]);
    File::create(vault.at("sparse.md")).unwrap().set_len(2 << 30).unwrap();
    let (outcome, _) = read_first(&vault.list(), &|_| {});
    let ReadOutcome::Fault(fault) = outcome else { panic!("{outcome:?}") };
    assert_eq!(
        fault.to_string(),
        "sparse.md: 2147483648 bytes are more than the 64 MiB a note may have: split it, or raise max_note_size"
    );
}

#[test]
fn a_file_that_is_no_text_is_a_fault_with_the_offset() {
    let vault = Vault::new(&[("a.md", b"Text \xed\xa0\x80")]);
    let (outcome, _) = read_first(&vault.list(), &|_| {});
    let ReadOutcome::Fault(fault) = outcome else { panic!("{outcome:?}") };
    assert_eq!(fault.to_string(), "a.md: not UTF-8 at byte 5: save it as UTF-8");
}

#[test]
fn blank_files_are_told() {
    for (content, expected) in
        [(&b""[..], true), (&[0; 5000], true), (b"\0\0x", false), (b"\n", false)]
    {
        let vault = Vault::new(&[("a.md", content)]);
        let (reading, _) = parsed(read_first(&vault.list(), &|_| {}).0);
        assert_eq!(reading.is_blank, expected, "{content:?}");
    }
}

#[test]
fn recent_is_two_seconds_or_in_the_future() {
    let second = 1_000_000_000;
    for (changed, expected) in [(100, true), (99, true), (98, false), (97, false), (200, true)] {
        let stat =
            FileStat { mtime_ns: changed * second, ctime_ns: 50 * second, ..FileStat::default() };
        let reading =
            Reading { stat, digest: Digest(0), read_at_ns: 100 * second, is_blank: false };
        assert_eq!(reading.is_recent(), expected, "{changed}");
    }
}

#[test]
fn a_second_look_finds_what_changed_since_the_first() {
    let vault = Vault::new(&[("a.md", b"One.")]);
    let listing = vault.list();
    let (reading, _) = parsed(read_first(&listing, &|_| {}).0);
    let look = |known, expected| {
        let options = ReadOptions {
            max_note_size: NOTE_BYTES_MAX,
            parse: ParseOptions::default(),
            threads: 1,
            clock: &SystemClock,
            times: &ReadTimes::default(),
            stop: &Stop::new(),
        };
        Reader::new(&listing.root, &options).read(&ToRead {
            file: &listing.files[0],
            known,
            expected,
        })
    };
    let expected = || Some(Box::new((reading.stat, reading.digest)));
    assert!(matches!(look(None, expected()), ReadOutcome::Parsed(..)));
    assert!(matches!(look(Some(reading.digest), expected()), ReadOutcome::Same(_)));
    append(&vault.at("a.md"));
    assert!(matches!(look(None, expected()), ReadOutcome::Deferred(Deferral::StillChanging)));
    assert!(matches!(look(Some(reading.digest), None), ReadOutcome::Parsed(..)));
}

/// Reads all files of a vault; returns each path with the length of its text, in the order they came.
fn read_all_of(
    listing: &Listing,
    threads: usize,
    stop_after: usize,
) -> (Vec<(String, usize)>, Result<(), VaultError>) {
    let clock = ManualClock::at("2026-08-24T12:00:00Z".parse().unwrap());
    let options = ReadOptions {
        max_note_size: NOTE_BYTES_MAX,
        parse: ParseOptions::default(),
        threads,
        clock: &clock,
        times: &ReadTimes::default(),
        stop: &Stop::new(),
    };
    let to_read: Vec<ToRead<'_>> =
        listing.files.iter().map(|file| ToRead { file, known: None, expected: None }).collect();
    let mut seen = Vec::new();
    let result = read_in_order(&listing.root, &to_read, &options, &mut |file, outcome| {
        seen.push((file.file.path.to_string(), parsed(outcome).1.source().len()));
        if seen.len() == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (seen, result)
}

#[test]
fn files_come_back_in_path_order_whatever_their_sizes() {
    let big = vec![b'x'; (16 * WINDOW_BYTES + 1) as usize];
    let names: Vec<String> = (0..500).map(|n| format!("{}/{n:03}.md", n % 7)).collect();
    let sizes = |n: usize| if n == 250 { big.len() } else { (n * 7919) % 40_000 };
    let files: Vec<(&str, &[u8])> =
        names.iter().enumerate().map(|(n, name)| (name.as_str(), &big[..sizes(n)])).collect();
    let vault = Vault::new(&files);
    let listing = vault.list();
    let mut expected: Vec<(String, usize)> =
        names.iter().enumerate().map(|(n, name)| (name.clone(), sizes(n))).collect();
    expected.sort();
    for threads in [1, 2, 5] {
        let (seen, result) = read_all_of(&listing, threads, usize::MAX);
        result.unwrap();
        assert_eq!(seen, expected, "{threads} threads");
    }
    for stop_after in [1, 40, 499] {
        let (seen, result) = read_all_of(&listing, 2, stop_after);
        result.unwrap();
        assert_eq!(seen, expected[..stop_after]);
    }
}

#[test]
fn reading_stops_when_told_and_leaves_no_file_out_silently() {
    let names: Vec<String> = (0..300).map(|n| format!("{n:03}.md")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    let vault = Vault::new(&files);
    let listing = vault.list();
    let to_read: Vec<ToRead<'_>> =
        listing.files.iter().map(|file| ToRead { file, known: None, expected: None }).collect();
    for allowed in [0, 1, 10, 250] {
        let stop = after_looks(allowed);
        let options = ReadOptions {
            max_note_size: NOTE_BYTES_MAX,
            parse: ParseOptions::default(),
            threads: 2,
            clock: &SystemClock,
            times: &ReadTimes::default(),
            stop: &stop,
        };
        let mut seen = 0;
        let result = read_in_order(&listing.root, &to_read, &options, &mut |file, _| {
            assert_eq!(file.file.path.to_string(), names[seen]);
            seen += 1;
            ControlFlow::Continue(())
        });
        assert!(matches!(result, Err(VaultError::Interrupted)), "{allowed}: {seen} seen");
    }
}

/// A vault in which the folder `d` turns into a link to a folder outside and back, again and again, while it is listed
/// and read. Returns what was read.
fn read_while_a_folder_is_flipped(
    follow_links: bool,
    is_kernel_old: bool,
    link_to: &str,
) -> Vec<String> {
    let temp = tempfile::tempdir().unwrap();
    let (vault, outside) = (temp.path().join("vault"), temp.path().join("outside"));
    for (folder, text) in [(&vault.join("d/e"), "inside"), (&outside.join("e"), "outside")] {
        fs::create_dir_all(folder).unwrap();
        for name in ["a.md", "e/b.md"] {
            let path = folder.parent().unwrap().join(name);
            fs::write(
                path,
                format!("{text} <!-- aclarai:id=blk_a -->\n\nA paragraph that follows.\n"),
            )
            .unwrap();
        }
    }
    std::os::unix::fs::symlink("d", vault.join("l")).unwrap();
    std::os::unix::fs::symlink(link_to, vault.join("link")).unwrap();
    let root = Root::open(&vault).unwrap();
    let root = if is_kernel_old { root.on_an_old_kernel() } else { root };
    // Also when the test fails, or it would never end.
    struct StopAtEnd<'a>(&'a AtomicBool);
    impl Drop for StopAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, flips) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut texts = Vec::new();
    thread::scope(|scope| {
        let _stopping = StopAtEnd(&stop);
        scope.spawn(|| {
            let (d, link, away) = (vault.join("d"), vault.join("link"), vault.join("away"));
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&d, &away).unwrap();
                fs::rename(&link, &d).unwrap();
                fs::rename(&d, &link).unwrap();
                fs::rename(&away, &d).unwrap();
                flips.fetch_add(1, Ordering::Relaxed);
            }
        });
        let clock = ManualClock::at(SystemClock.now() + TimeDelta::hours(1));
        let options = ReadOptions {
            max_note_size: NOTE_BYTES_MAX,
            parse: ParseOptions::default(),
            threads: 1,
            clock: &clock,
            times: &ReadTimes::default(),
            stop: &Stop::new(),
        };
        while flips.load(Ordering::Relaxed) < 500 || texts.len() < 50 {
            let through_link = |path: &str| path.starts_with("l/") || follow_links;
            let listed = ["d/a.md", "d/e/b.md", "l/a.md", "l/e/b.md"].map(|path| ListedFile {
                path: VaultPath::new(path),
                stat: FileStat::default(),
                tier: None,
                through_link: through_link(path),
            });
            let files = listed.each_ref().map(|file| ToRead { file, known: None, expected: None });
            read_in_order(&root, &files, &options, &mut |_, outcome| {
                if let ReadOutcome::Parsed(_, parsed) = outcome {
                    texts.push(parsed.source().to_owned());
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        }
    });
    texts
}

#[test]
fn a_folder_that_turns_into_a_link_and_back_never_leads_out_of_the_vault() {
    for link_to in ["../outside", "ABSOLUTE"] {
        for is_kernel_old in [false, true] {
            for follow_links in [false, true] {
                let absolute = tempfile::tempdir().unwrap();
                let link_to = match link_to {
                    "ABSOLUTE" => {
                        fs::create_dir(absolute.path().join("e")).unwrap();
                        for name in ["a.md", "e/b.md"] {
                            fs::write(absolute.path().join(name), "outside\n").unwrap();
                        }
                        absolute.path().to_str().unwrap()
                    }
                    relative => relative,
                };
                let texts = read_while_a_folder_is_flipped(follow_links, is_kernel_old, link_to);
                let outside = texts.iter().filter(|text| text.starts_with("outside")).count();
                assert_eq!(outside, 0, "of {} readings, old kernel: {is_kernel_old}", texts.len());
            }
        }
    }
}
