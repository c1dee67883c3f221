use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use tempfile::TempDir;

use std::time::Duration;

use super::super::trust::Remembered;
use super::*;
use crate::vault::{Digest, FileStat, ListedFile, Root};

/// When the remembered run began, in seconds since 1970.
const THEN: i64 = 1_800_000_000;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

const OPTIONS: CompareOptions =
    CompareOptions { full: false, rehash_after: Duration::from_secs(7 * 86_400), parser: 1 };

/// A file that was last touched an hour before the remembered run.
const OLD: FileStat = FileStat {
    size: 100,
    mtime_ns: (THEN - 3_600) * SECOND,
    ctime_ns: (THEN - 3_600) * SECOND,
    inode: 7,
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// A file whose content and attributes were changed this many nanoseconds after the remembered run began.
fn changed(after: i64) -> FileStat {
    let time = THEN * SECOND + after;
    FileStat { mtime_ns: time, ctime_ns: time, ..OLD }
}

/// A state folder and an empty folder that stands for the vault.
struct Place {
    temp: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { temp: tempfile::tempdir().unwrap() }
    }

    fn state(&self) -> std::path::PathBuf {
        self.temp.path().join("state")
    }

    fn open(&self, seconds: i64) -> StatCache {
        StatCache::open(&self.state(), self.temp.path(), at(seconds)).unwrap()
    }

    fn open_read_only(&self, seconds: i64) -> StatCache {
        StatCache::open_read_only(&self.state(), self.temp.path(), at(seconds)).unwrap()
    }

    fn listing(&self, files: &[(&str, FileStat)]) -> Listing {
        let listed = |(path, stat): &(&str, FileStat)| ListedFile {
            path: VaultPath::new(path),
            stat: *stat,
            tier: None,
            through_link: false,
        };
        let mut files: Vec<ListedFile> = files.iter().map(listed).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Listing::of_files(Root::open(self.temp.path()).unwrap(), files)
    }

    /// A run that began at `seconds` and read these files.
    fn remember(&self, seconds: i64, files: &[(&str, FileStat)]) {
        let records = files.iter().map(|(path, stat)| record(path, *stat)).collect();
        self.commit(seconds, Changes { records, ..Changes::default() });
    }

    fn commit(&self, seconds: i64, changes: Changes) {
        let mut cache = self.open(seconds);
        cache.compare(&self.listing(&[]), OPTIONS).unwrap();
        cache.commit(&changes).unwrap();
    }

    fn compare(&self, seconds: i64, files: &[(&str, FileStat)]) -> Comparison {
        self.open(seconds).compare(&self.listing(files), OPTIONS).unwrap()
    }
}

fn record(path: &str, stat: FileStat) -> FileRecord {
    FileRecord {
        path: VaultPath::new(path),
        stat,
        digest: Digest(42),
        blocks: 3,
        ids: Some("blk_a".to_owned()),
        settled: true,
        blank_runs: 0,
    }
}

/// The verdict on a file that looked like `before` when it was remembered and looks like `now` a minute later.
fn verdict(before: FileStat, now: FileStat) -> Verdict {
    let place = Place::new();
    place.remember(THEN, &[("a.md", before)]);
    place.compare(THEN + 60, &[("a.md", now)]).verdicts[0].clone()
}

/// The verdict on an old file that looks as it did, a minute later and by these options.
fn verdict_by(options: CompareOptions) -> Verdict {
    let place = Place::new();
    place.remember(THEN, &[("a.md", OLD)]);
    let listing = place.listing(&[("a.md", OLD)]);
    place.open(THEN + 60).compare(&listing, options).unwrap().verdicts[0].clone()
}

const SKIP: Verdict = Verdict::Unchanged(3);

/// Read it; the same digest means that there is nothing to do.
fn read_it() -> Verdict {
    remembered(true)
}

/// Read it and compare it with the graph, whatever its digest.
fn compare_it() -> Verdict {
    remembered(false)
}

fn remembered(current: bool) -> Verdict {
    let remembered = Remembered { digest: Digest(42), blocks: 3, current, blank_runs: 0 };
    Verdict::Read(Some(Box::new(remembered)))
}

#[test]
fn a_file_that_looks_as_it_did_is_skipped_and_any_difference_is_read() {
    let differs = |change: fn(&mut FileStat)| {
        let mut stat = OLD;
        change(&mut stat);
        verdict(OLD, stat)
    };
    assert_eq!(verdict(OLD, OLD), SKIP);
    assert_eq!(differs(|stat| stat.size += 1), read_it(), "grown");
    assert_eq!(differs(|stat| stat.size -= 1), read_it(), "shrunk");
    assert_eq!(differs(|stat| stat.mtime_ns += 1), read_it(), "edited");
    // A backup put back, or `touch -d`: older than what is remembered, and still another content.
    assert_eq!(differs(|stat| stat.mtime_ns -= 1), read_it(), "mtime set back");
    // An edit that put its mtime back cannot put back its ctime.
    assert_eq!(differs(|stat| stat.ctime_ns += 1), read_it(), "ctime alone");
    assert_eq!(differs(|stat| stat.ctime_ns -= 1), read_it(), "ctime alone, backwards");
    // Another file renamed into its place, times and size copied.
    assert_eq!(differs(|stat| stat.inode += 1), read_it(), "another inode");
    // The file was deleted and a new one was given its inode number.
    assert_eq!(differs(|stat| (stat.mtime_ns, stat.ctime_ns) = (1, 2)), read_it(), "inode reused");
}

#[test]
fn a_stat_taken_soon_after_the_last_change_proves_nothing() {
    // Two edits of the same size within one tick of the file system's clock leave the same stat. The first one was
    // read, so a stat that was young when it was read is never believed.
    for young in [-3 * SECOND + 1, -SECOND, 0] {
        assert_eq!(verdict(changed(young), changed(young)), read_it(), "changed {young} ns after");
    }
    assert_eq!(verdict(changed(-3 * SECOND), changed(-3 * SECOND)), SKIP);
    // Only one of the two times is young, as after a chmod, or with an mtime that was set.
    let young_ctime = FileStat { ctime_ns: THEN * SECOND, ..OLD };
    assert_eq!(verdict(young_ctime, young_ctime), read_it());
    let young_mtime = FileStat { mtime_ns: THEN * SECOND, ..OLD };
    assert_eq!(verdict(young_mtime, young_mtime), read_it());
}

#[test]
fn a_time_in_the_future_is_never_believed() {
    for ahead in [1, SECOND, DAY * SECOND, i64::MAX / 2] {
        let ctime = FileStat { ctime_ns: (THEN * SECOND).saturating_add(ahead), ..OLD };
        let mtime = FileStat { mtime_ns: (THEN * SECOND).saturating_add(ahead), ..OLD };
        assert_eq!(
            (verdict(ctime, ctime), verdict(mtime, mtime)),
            (read_it(), read_it()),
            "{ahead} ns"
        );
    }
}

#[test]
fn a_young_file_is_skipped_once_it_has_been_read_again_in_peace() {
    let place = Place::new();
    let file = [("a.md", changed(-SECOND))];
    place.remember(THEN, &file);
    assert_eq!(place.compare(THEN + 60, &file).verdicts, [read_it()]);
    place.remember(THEN + 60, &file);
    assert_eq!(place.compare(THEN + 120, &file).verdicts, [SKIP]);
}

#[test]
fn every_file_is_read_again_after_a_while() {
    let place = Place::new();
    let file = [("a.md", OLD)];
    place.remember(THEN, &file);
    assert_eq!(place.compare(THEN + 7 * DAY, &file).verdicts, [SKIP]);
    assert_eq!(place.compare(THEN + 7 * DAY + 1, &file).verdicts, [read_it()]);
    let daily = CompareOptions { rehash_after: Duration::from_secs(86_400), ..OPTIONS };
    let listing = place.listing(&file);
    let verdict = |seconds| place.open(seconds).compare(&listing, daily).unwrap().verdicts;
    assert_eq!((verdict(THEN + DAY), verdict(THEN + DAY + 1)), (vec![SKIP], vec![read_it()]));
    let always = CompareOptions { rehash_after: Duration::ZERO, ..OPTIONS };
    assert_eq!(place.open(THEN + 1).compare(&listing, always).unwrap().verdicts, [read_it()]);
    let never = CompareOptions { rehash_after: Duration::MAX, ..OPTIONS };
    assert_eq!(place.open(THEN + 999 * DAY).compare(&listing, never).unwrap().verdicts, [SKIP]);
}

#[test]
fn another_parser_and_a_full_run_compare_everything() {
    assert_eq!(verdict_by(OPTIONS), SKIP);
    assert_eq!(verdict_by(CompareOptions { parser: 2, ..OPTIONS }), compare_it());
    assert_eq!(verdict_by(CompareOptions { full: true, ..OPTIONS }), compare_it());
}

#[test]
fn a_file_with_something_open_is_compared_in_every_run() {
    let place = Place::new();
    let open = FileRecord { settled: false, blank_runs: 1, ..record("a.md", OLD) };
    place.commit(THEN, Changes { records: vec![open], ..Changes::default() });
    let verdicts = place.compare(THEN + 60, &[("a.md", OLD)]).verdicts;
    let [Verdict::Read(Some(remembered))] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((remembered.current, remembered.blank_runs), (false, 1));
}

#[test]
fn a_clock_set_back_makes_every_file_read_once() {
    let place = Place::new();
    let file = [("a.md", OLD)];
    place.remember(THEN, &file);
    let comparison = place.compare(THEN - 60, &file);
    assert_eq!(comparison.verdicts, [read_it()]);
    assert_eq!(comparison.remarks.len(), 1, "{:?}", comparison.remarks);
    place.remember(THEN - 60, &file);
    let comparison = place.compare(THEN - 59, &file);
    assert_eq!((comparison.verdicts, comparison.remarks.len()), (vec![SKIP], 0));
}

#[test]
fn listed_and_remembered_files_are_put_side_by_side() {
    let place = Place::new();
    // Bytewise: `.` (2e) before `/` (2f) before letters, and letters beyond ASCII last.
    place.remember(THEN, &[("a.md", OLD), ("a/b.md", OLD), ("b.md", OLD), ("é.md", OLD)]);
    let comparison = place.compare(
        THEN + 60,
        &[("0.md", OLD), ("a.md", OLD), ("a/c.md", OLD), ("b.md", changed(0)), ("ö.md", OLD)],
    );
    let new = Verdict::Read(None);
    assert_eq!(comparison.verdicts, [new.clone(), SKIP, new.clone(), read_it(), new]);
    assert_eq!(comparison.gone, [VaultPath::new("a/b.md"), VaultPath::new("é.md")]);
}

/// Files of which the first `churned` look the same but for their ctime.
fn churned(files: usize, churned: usize) -> (Vec<String>, Vec<FileStat>) {
    let names = (0..files).map(|n| format!("{n:03}.md")).collect();
    let stat = |n| FileStat { ctime_ns: OLD.ctime_ns + i64::from(n < churned), ..OLD };
    (names, (0..files).map(stat).collect())
}

fn pairs<'a>(names: &'a [String], stats: &[FileStat]) -> Vec<(&'a str, FileStat)> {
    names.iter().map(String::as_str).zip(stats.iter().copied()).collect()
}

#[test]
fn when_most_files_differ_in_ctime_only_ctime_is_given_up_and_that_is_said() {
    for (files, changed, given_up) in
        [(39, 20, true), (40, 20, false), (20, 20, true), (19, 19, false), (0, 0, false)]
    {
        let place = Place::new();
        let (names, stats) = churned(files, changed);
        place.remember(THEN, &pairs(&names, &vec![OLD; files]));
        let comparison = place.compare(THEN + 60, &pairs(&names, &stats));
        let skipped = comparison.verdicts.iter().filter(|verdict| **verdict == SKIP).count();
        let expected = if given_up { files } else { files - changed };
        assert_eq!(
            (skipped, comparison.remarks.len()),
            (expected, usize::from(given_up)),
            "{changed} of {files}"
        );
        // Remembered, and said once.
        let again = place.compare(THEN + 120, &pairs(&names, &stats));
        assert_eq!((again.verdicts, again.remarks.len()), (comparison.verdicts, 0));
    }
}

#[test]
fn without_ctime_every_other_difference_still_counts() {
    let place = Place::new();
    let (names, mut stats) = churned(30, 30);
    place.remember(THEN, &pairs(&names, &[OLD; 30]));
    stats[3].mtime_ns -= 1;
    stats[4].size += 1;
    stats[5].inode += 1;
    let comparison = place.compare(THEN + 60, &pairs(&names, &stats));
    let read: Vec<usize> = (0..30).filter(|index| comparison.verdicts[*index] != SKIP).collect();
    assert_eq!((read, comparison.remarks.len()), (vec![3, 4, 5], 1));
}

#[test]
fn a_dry_run_meets_ctime_churn_and_remembers_nothing_of_it() {
    let place = Place::new();
    let (names, stats) = churned(30, 30);
    place.remember(THEN, &pairs(&names, &[OLD; 30]));
    for _ in 0..2 {
        let mut cache = place.open_read_only(THEN + 60);
        let listing = place.listing(&pairs(&names, &stats));
        let comparison = cache.compare(&listing, OPTIONS).unwrap();
        assert_eq!((comparison.verdicts, comparison.remarks.len()), (vec![SKIP; 30], 1));
    }
}

/// Everything that can be remembered, once.
fn everything() -> Changes {
    let missing = MissingBlock {
        id: "blk_m".to_owned(),
        path: VaultPath::new("gone.md"),
        first_missing_at: at(THEN),
        boot: BootTime::default(),
        scans: 1,
    };
    Changes {
        records: vec![record("a.md", OLD)],
        missing: vec![missing],
        token: Some("token".to_owned()),
        full_scan_at: Some(at(THEN)),
        ..Changes::default()
    }
}

/// The content of a cache, in short: files, ids of `a.md`, missing blocks, token, full scan.
fn known(place: &Place, cache: &mut StatCache) -> (usize, usize, usize, bool, bool) {
    let gone = cache.compare(&place.listing(&[]), OPTIONS).unwrap().gone.len();
    (
        gone,
        cache.ids(&VaultPath::new("a.md")).unwrap().len(),
        cache.missing().unwrap().len(),
        cache.token().unwrap().is_some(),
        cache.full_scan_at().unwrap().is_some(),
    )
}

const ALL: (usize, usize, usize, bool, bool) = (1, 1, 1, true, true);
const NOTHING: (usize, usize, usize, bool, bool) = (0, 0, 0, false, false);

#[test]
fn what_was_remembered_of_another_vault_is_forgotten_once_this_one_is_adopted() {
    let place = Place::new();
    place.commit(THEN, everything());
    assert_eq!(known(&place, &mut place.open(THEN + 60)), ALL);
    let other = Path::new("/another/vault");
    // To a dry run on another vault nothing is known; what is known of the first stays.
    let mut dry = StatCache::open_read_only(&place.state(), other, at(THEN + 60)).unwrap();
    assert_eq!(known(&place, &mut dry), NOTHING);
    assert_eq!(known(&place, &mut place.open(THEN + 60)), ALL);
    let mut real = StatCache::open(&place.state(), other, at(THEN + 60)).unwrap();
    assert_eq!(known(&place, &mut real), NOTHING);
    assert_eq!(known(&place, &mut place.open(THEN + 60)), ALL);
    real.adopt().unwrap();
    assert_eq!(known(&place, &mut real), NOTHING);
    assert_eq!(known(&place, &mut place.open(THEN + 60)), NOTHING);
}

#[test]
fn a_read_only_cache_knows_all_and_writes_nothing() {
    let place = Place::new();
    let mut cache = place.open_read_only(THEN);
    assert_eq!(known(&place, &mut cache), NOTHING);
    cache.commit(&everything()).unwrap();
    assert!(!place.state().exists(), "a dry run before the first run leaves no trace");

    place.commit(THEN, everything());
    let mut cache = place.open_read_only(THEN + 60);
    assert_eq!(known(&place, &mut cache), ALL);
    let removed = vec![VaultPath::new("a.md")];
    let found = vec!["blk_m".to_owned()];
    cache.commit(&Changes { removed, found, ..Changes::default() }).unwrap();
    drop(cache);
    assert_eq!(known(&place, &mut place.open(THEN + 60)), ALL);
}

#[test]
fn a_commit_is_kept_whole_or_not_at_all() {
    let place = Place::new();
    place.commit(THEN, Changes::default());
    let mut cache = place.open(THEN);
    // The last table written refuses, as a full disk would.
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON missing_blocks BEGIN SELECT RAISE(ABORT, 'full'); END";
    State::open(&place.state()).unwrap().connection().execute_batch(refuse).unwrap();
    let error = cache.commit(&everything()).unwrap_err().to_string();
    assert!(error.contains("state.db") && error.contains("full"), "{error}");
    assert_eq!(known(&place, &mut cache), NOTHING);
    State::open(&place.state()).unwrap().connection().execute_batch("DROP TRIGGER refuse").unwrap();
    cache.commit(&everything()).unwrap();
    assert_eq!(known(&place, &mut cache), ALL);
}

#[test]
fn the_ids_of_a_file_come_back_as_they_were() {
    let place = Place::new();
    let path = VaultPath::new(OsStr::from_bytes(b"n\xffte.md"));
    let ids: Vec<String> =
        ["blk_a", "clm_é", "ключ", "id%_'\"\\", "blk_a"].map(str::to_owned).to_vec();
    let with = |ids| {
        let record = FileRecord { path: path.clone(), ids, ..record("", OLD) };
        place.commit(THEN, Changes { records: vec![record], ..Changes::default() });
        place.open(THEN)
    };
    assert_eq!(with(Some(ids.join("\n"))).ids(&path).unwrap(), ids);
    // Known to be the same ones.
    let mut cache = with(None);
    assert_eq!(cache.ids(&path).unwrap(), ids);
    let holds = |cache: &mut StatCache, id: &str| cache.holds(&path, IdDigest::of(id)).unwrap();
    assert!(holds(&mut cache, "ключ") && holds(&mut cache, "blk_a"));
    assert!(!holds(&mut cache, "blk_b") && !holds(&mut cache, ""));
    assert!(!cache.holds(&VaultPath::new("other.md"), IdDigest::of("blk_a")).unwrap());
    // An answer from before a commit is not given from memory after it.
    let removed = Changes { removed: vec![path.clone()], ..Changes::default() };
    assert!(holds(&mut cache, "blk_a"));
    cache.commit(&removed).unwrap();
    assert!(!holds(&mut cache, "blk_a"));
    assert_eq!(with(Some(String::new())).ids(&path).unwrap(), [""; 0]);
}

#[test]
fn missing_blocks_keep_when_they_were_first_missed() {
    let place = Place::new();
    let first = MissingBlock {
        id: "blk_é".to_owned(),
        path: VaultPath::new(OsStr::from_bytes(b"d/\xff.md")),
        first_missing_at: at(THEN),
        boot: BootTime::default(),
        scans: 1,
    };
    let second = MissingBlock { scans: 2, first_missing_at: at(THEN + 600), ..first.clone() };
    let missing = |missing| Changes { missing, ..Changes::default() };
    place.commit(THEN, missing(vec![first.clone()]));
    place.commit(THEN + 600, missing(vec![second]));
    let known = place.open(THEN + 660).missing().unwrap();
    assert_eq!(known, [MissingBlock { scans: 2, ..first.clone() }]);
    // Missed and found in one run: found.
    let found = vec![first.id.clone()];
    place.commit(THEN + 660, Changes { found, ..missing(vec![first]) });
    assert_eq!(place.open(THEN + 660).missing().unwrap(), []);
}
