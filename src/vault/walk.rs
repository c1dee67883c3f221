//! Lists the Markdown files of the vault. The only file that names `jwalk`.
//!
//! `jwalk` lists folders on a pool of its own, and the thread that has listed a folder looks at the files in it. Files
//! of folders too large for one thread, and those behind links, are looked at afterwards, by a few threads.
//!
//! A folder that cannot be listed is a fact, not an error: the listing names it, and whoever misses a block there
//! knows that it is not gone. The content of a note is no business of this file.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use jwalk::{Parallelism, WalkDirGeneric};
use rustix::fs::{AtFlags, Stat};

use super::fault::{FaultKind, ScanFault, VaultError, is_absence};
use super::file::{FileStat, ListedFile, other_kind};
use super::left_out::{Ignore, IgnoreRules, IgnoredBy};
use super::names::{copy_by_name, is_hidden, is_markdown, placeholder_of};
use super::root::{Neighbours, Root};
use super::threads::on_threads;
use super::write_back::is_left_over;
use crate::block::{Tier, VaultPath};
use crate::config::VaultConfig;
use crate::logging;
use crate::order;
use crate::stop::Stop;

/// A folder with more files than this is shared by several threads: `jwalk` would give all of it to one.
const FOLDER_FILES_MAX: usize = 1_024;

/// How often the stop is asked while `jwalk` works.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Everything that the folders of the vault hold.
#[derive(Debug)]
pub struct Listing {
    /// The open root folder, by which the files are read.
    pub root: Root,
    /// The files, in the order of their paths' bytes, each once.
    pub files: Vec<ListedFile>,
    /// Files and folders that could not be listed, by path.
    pub faults: Vec<ScanFault>,
    /// Copies that a sync program made of two edits at once, by path. They are not part of the vault.
    pub conflict_copies: Vec<VaultPath>,
    /// Copies that editors left (`note.md~`), by path. Nothing is said of them while their notes are there.
    pub backups: Vec<VaultPath>,
    /// Place holders of notes that lie on a server for now, by path.
    pub place_holders: Vec<VaultPath>,
    /// Configured tier folders that are not there.
    pub missing_tiers: Vec<VaultPath>,
    /// Symbolic links that were not followed: all of them, or with `follow_links` those that leave the vault, lead
    /// nowhere or lead to what is listed anyway.
    pub links_skipped: Vec<VaultPath>,
    /// Hidden files that a write-back which was cut short has left.
    pub left_overs: Vec<VaultPath>,
    /// Each pattern of what is to be left out, and how many notes it leaves out.
    pub ignored: Vec<Ignored>,
    /// Tells why a note is left out.
    pub ignore: Arc<Ignore>,
}

/// A pattern, and how many notes it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The pattern and its source.
    pub by: IgnoredBy,
    /// How many notes.
    pub notes: u64,
}

impl Listing {
    /// These files, in order, and nothing else.
    #[cfg(test)]
    pub(crate) fn of_files(root: Root, files: Vec<ListedFile>) -> Listing {
        Listing {
            root,
            files,
            faults: Vec::new(),
            conflict_copies: Vec::new(),
            backups: Vec::new(),
            place_holders: Vec::new(),
            missing_tiers: Vec::new(),
            links_skipped: Vec::new(),
            left_overs: Vec::new(),
            ignored: Vec::new(),
            ignore: Arc::new(Ignore::nothing()),
        }
    }

    /// How many notes patterns leave out.
    pub fn files_ignored(&self) -> u64 {
        self.ignored.iter().map(|ignored| ignored.notes).sum()
    }
}

/// How the vault is listed.
#[derive(Clone, Debug, Default)]
pub struct WalkOptions {
    /// Follow symbolic links that stay in the vault.
    pub follow_links: bool,
    /// How many threads list, and how many look at files.
    pub threads: usize,
    /// Which notes are to be left out.
    pub ignore: IgnoreRules,
}

/// Lists the files of all tiers. `stop` is asked between folders.
pub fn list(
    config: &VaultConfig,
    options: &WalkOptions,
    stop: &Stop,
) -> Result<Listing, VaultError> {
    let root = Root::open(&config.root)?;
    let tiers: Arc<[(PathBuf, Tier)]> = tiers(config)?.into();
    let ignore = Arc::new(Ignore::load(&root, &options.ignore)?);
    let mut walk = Walk {
        root: &root,
        ignore: Arc::clone(&ignore),
        tiers: Arc::clone(&tiers),
        options,
        stop,
        met: Met::default(),
        links_skipped: Vec::new(),
        reached: HashSet::new(),
    };
    let mut missing_tiers = Vec::new();
    let mut begin = Vec::new();
    for start in starts(config.whole, &tiers) {
        match check_start(&root, &start, options.follow_links) {
            Ok(real) => begin.push((real != start, real, start)),
            Err(Start::Missing) => missing_tiers.push(VaultPath::new(&start)),
            Err(Start::Fault(kind)) => {
                let fault = ScanFault { path: VaultPath::new(&start), is_folder: true, kind };
                walk.met.faults.push(fault);
            }
        }
    }
    // Folders reached without a link first: a file that both kinds of path lead to is listed by its own.
    order::sort(&mut begin);
    for (_, real, shown) in begin {
        walk.folder(&real, &shown)?;
    }
    walk.follow()?;

    let Walk { met, mut links_skipped, .. } = walk;
    let Met { files: mut folders, mut unseen, mut faults, .. } = met;
    let Met { mut conflict_copies, mut backups, mut place_holders, .. } = met;
    unseen.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    folders.push(look(&root, unseen, options, stop, &mut faults)?);
    // Each folder's files are in order. With the folders in order too, sorting has next to nothing to do.
    folders.retain(|files| !files.is_empty());
    order::sort_by(&mut folders, &|a, b| a[0].path.cmp(&b[0].path));
    let mut files = Vec::with_capacity(folders.iter().map(Vec::len).sum());
    folders.into_iter().for_each(|mut folder| files.append(&mut folder));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    order::sort_by(&mut faults, &|a, b| a.path.cmp(&b.path));
    faults.dedup_by(|a, b| a.path == b.path);
    for paths in [&mut conflict_copies, &mut backups, &mut place_holders, &mut links_skipped] {
        order::sort(paths);
    }
    root.check_in_place()?;
    let count = |by: IgnoredBy| Ignored { notes: met.ignored.get(&by).copied().unwrap_or(0), by };
    let mut ignored: Vec<Ignored> = ignore.written().into_iter().map(count).collect();
    ignored.dedup();
    Ok(Listing {
        root,
        files,
        faults,
        conflict_copies,
        backups,
        place_holders,
        missing_tiers,
        links_skipped,
        left_overs: met.left_overs,
        ignored,
        ignore,
    })
}

/// The configured tier folders, as plain relative paths.
fn tiers(config: &VaultConfig) -> Result<Vec<(PathBuf, Tier)>, VaultError> {
    let folders = config.tiers.iter().zip([Tier::One, Tier::Two, Tier::Three]);
    folders
        .filter_map(|(folder, tier)| Some((folder.as_ref()?, tier)))
        .map(|(folder, tier)| {
            let mut plain = PathBuf::new();
            for component in folder.components() {
                match component {
                    Component::Normal(name) => plain.push(name),
                    Component::CurDir => {}
                    _ => return Err(VaultError::TierOutside(folder.clone())),
                }
            }
            Ok((plain, tier))
        })
        .collect()
}

/// The folders at which to begin, none inside another unless the walk from the outer one would skip it.
fn starts(whole: bool, tiers: &[(PathBuf, Tier)]) -> Vec<PathBuf> {
    if whole || tiers.is_empty() {
        return vec![PathBuf::new()];
    }
    let mut folders: Vec<&PathBuf> = tiers.iter().map(|(folder, _)| folder).collect();
    order::sort(&mut folders);
    folders.dedup();
    let is_reached = |folder: &Path| {
        folders.iter().filter(|outer| ***outer != folder).any(|outer| {
            let below = folder.strip_prefix(outer);
            below.is_ok_and(|below| !below.iter().any(|name| is_hidden(name.as_bytes())))
        })
    };
    folders.iter().filter(|folder| !is_reached(folder)).map(|folder| (*folder).clone()).collect()
}

/// The tier whose folder holds `path`: the innermost, then the first.
fn tier_of(tiers: &[(PathBuf, Tier)], path: &Path) -> Option<Tier> {
    let holds = tiers.iter().filter(|(folder, _)| path.starts_with(folder));
    let depth = |folder: &Path| folder.components().count();
    holds
        .min_by_key(|(folder, tier)| (std::cmp::Reverse(depth(folder)), *tier))
        .map(|(_, tier)| *tier)
}

/// Why a walk cannot begin at a tier folder.
enum Start {
    Missing,
    Fault(FaultKind),
}

/// The path without links at which to begin.
fn check_start(root: &Root, start: &Path, follow_links: bool) -> Result<PathBuf, Start> {
    let error = match root.open_folder(start) {
        Ok(_) => return Ok(start.to_owned()),
        Err(error) => error,
    };
    let path = root.path().join(start);
    match (error.kind(), fs::canonicalize(&path)) {
        (io::ErrorKind::NotFound, _) => Err(Start::Missing),
        // Refused because of a link: the kernel says "too many levels", or "not a folder" for the last name.
        (_, Ok(real)) if is_link_on(root, start) => match real.strip_prefix(root.real()) {
            Ok(inside) if follow_links && real.is_dir() => Ok(inside.to_owned()),
            _ => Err(Start::Fault(FaultKind::Link)),
        },
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(Start::Missing),
        (io::ErrorKind::NotADirectory, _) => {
            Err(Start::Fault(FaultKind::WrongKind("a file", "a folder")))
        }
        _ => Err(Start::Fault(FaultKind::io("open", &error))),
    }
}

/// Whether a part of `path` is a symbolic link.
fn is_link_on(root: &Root, path: &Path) -> bool {
    path.ancestors().any(|part| {
        fs::symlink_metadata(root.path().join(part))
            .is_ok_and(|m| m.is_symlink() && part != Path::new(""))
    })
}

/// A walk in progress.
struct Walk<'a> {
    root: &'a Root,
    ignore: Arc<Ignore>,
    tiers: Arc<[(PathBuf, Tier)]>,
    options: &'a WalkOptions,
    stop: &'a Stop,
    met: Met,
    links_skipped: Vec<VaultPath>,
    /// Folders and files listed so far, by their paths without links: the guard against loops, and against listing a
    /// file twice. Empty unless links are followed.
    reached: HashSet<PathBuf>,
}

/// The finds of `jwalk`'s threads.
#[derive(Debug, Default)]
struct Met {
    /// Files that were looked at, by folder, each in order.
    files: Vec<Vec<ListedFile>>,
    /// Files that are still to be looked at.
    unseen: Vec<ListedFile>,
    faults: Vec<ScanFault>,
    conflict_copies: Vec<VaultPath>,
    backups: Vec<VaultPath>,
    place_holders: Vec<VaultPath>,
    links: Vec<VaultPath>,
    left_overs: Vec<VaultPath>,
    /// How many notes each pattern leaves out.
    ignored: BTreeMap<IgnoredBy, u64>,
}

impl Met {
    fn append(&mut self, other: &mut Met) {
        self.files.append(&mut other.files);
        self.unseen.append(&mut other.unseen);
        self.faults.append(&mut other.faults);
        self.conflict_copies.append(&mut other.conflict_copies);
        self.backups.append(&mut other.backups);
        self.place_holders.append(&mut other.place_holders);
        self.links.append(&mut other.links);
        self.left_overs.append(&mut other.left_overs);
        for (by, notes) in std::mem::take(&mut other.ignored) {
            *self.ignored.entry(by).or_default() += notes;
        }
    }
}

impl Walk<'_> {
    /// Walks the folder `real`, which is listed as `shown`: another path if a link leads there.
    fn folder(&mut self, real: &Path, shown: &Path) -> Result<(), VaultError> {
        let start = self.root.path().join(real);
        let met = Arc::new(Mutex::new(Met::default()));
        let sorter = Sorter {
            root: self.root.clone(),
            ignore: Arc::clone(&self.ignore),
            tiers: Arc::clone(&self.tiers),
            start: start.clone(),
            shown: shown.to_owned(),
            through_link: real != shown,
            // Files reached twice are left out before any is looked at.
            looks: real == shown && !self.options.follow_links,
            met: Arc::clone(&met),
        };
        let reached = self.reached.clone();
        let root = self.root.path().to_owned();
        let parallelism = parallelism(self.options.threads);
        // Without threads of its own it works while it is asked for entries.
        let is_serial = matches!(parallelism, Parallelism::Serial);
        let (working, done) = bounded::<()>(0);
        let walk = WalkDirGeneric::<((), ())>::new(&start)
            .skip_hidden(false)
            .follow_links(false)
            .parallelism(parallelism)
            .process_read_dir(move |depth, folder, (), entries| {
                let _ = &working;
                // Without a depth, the one entry is the start itself.
                if depth.is_some() {
                    sorter.sort(folder, entries);
                }
                if !reached.is_empty() {
                    for entry in entries.iter_mut().flatten() {
                        let path = entry.path();
                        if path.strip_prefix(&root).is_ok_and(|path| reached.contains(path)) {
                            entry.read_children = None;
                        }
                    }
                }
            })
            .into_iter();
        // `jwalk`'s iterator waits for its threads by spinning, which took a fifth of the time of two processors. So it
        // is asked when they are done: they have dropped the callback then, and `working` with it.
        while !is_serial && done.recv_timeout(ASK_EVERY) == Err(RecvTimeoutError::Timeout) {
            if self.stop.is_told() {
                return Err(VaultError::Interrupted);
            }
        }
        for entry in walk {
            if self.stop.is_told() {
                return Err(VaultError::Interrupted);
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(&start).to_owned();
                    self.list_fault(&start, shown, &path, &error);
                    continue;
                }
            };
            let Some(children) = &entry.read_children else { continue };
            let path = entry.path();
            if self.options.follow_links {
                let path = path.strip_prefix(self.root.path()).unwrap_or(&path);
                self.reached.insert(path.to_owned());
            }
            if let Some(error) = children.error() {
                self.list_fault(&start, shown, &path, error);
            }
        }
        let mut met = std::mem::take(&mut *met.lock().unwrap_or_else(PoisonError::into_inner));
        if self.options.follow_links {
            met.unseen.retain(|file| {
                let path = file.path.as_path();
                self.reached.insert(real.join(path.strip_prefix(shown).unwrap_or(path)))
            });
        }
        self.met.append(&mut met);
        Ok(())
    }

    fn list_fault(&mut self, start: &Path, shown: &Path, path: &Path, error: &jwalk::Error) {
        let kind = match error.io_error() {
            // A folder that went after its parent was listed is as absent as a file that did.
            Some(error) if path != start && is_absence(error) => return,
            Some(error) => FaultKind::io("list", error),
            None => FaultKind::io("list", &io::Error::other(error.to_string())),
        };
        let path = VaultPath::new(moved(path, start, shown));
        // Nothing in there is wanted.
        if self.ignore.folder(path.as_path()).is_some() {
            return;
        }
        self.met.faults.push(ScanFault { path, is_folder: true, kind });
    }

    /// Looks where the links lead that were met.
    fn follow(&mut self) -> Result<(), VaultError> {
        while !self.met.links.is_empty() {
            let mut links = std::mem::take(&mut self.met.links);
            order::sort(&mut links);
            for link in links {
                if self.stop.is_told() {
                    return Err(VaultError::Interrupted);
                }
                self.follow_one(link)?;
            }
        }
        Ok(())
    }

    fn follow_one(&mut self, link: VaultPath) -> Result<(), VaultError> {
        let is_markdown = is_markdown(link.as_bytes());
        let target = fs::canonicalize(link.below(self.root.path()))
            .and_then(|target| Ok((fs::metadata(&target)?.is_dir(), target)));
        let Ok((is_folder, target)) = target else {
            // The link leads nowhere, in a circle, or where this user may not look.
            if is_markdown {
                self.links_skipped.push(link);
            }
            return Ok(());
        };
        if !is_folder && !is_markdown {
            return Ok(());
        }
        if !is_folder && let Some(by) = self.ignore.why(&link) {
            *self.met.ignored.entry(by).or_default() += 1;
            return Ok(());
        }
        let inside = target.strip_prefix(self.root.real()).ok().map(Path::to_owned);
        match inside.filter(|target| self.options.follow_links && !self.reached.contains(target)) {
            None => self.links_skipped.push(link),
            Some(_) if !is_folder && is_copy(&link) => {
                self.met.conflict_copies.push(link);
            }
            Some(target) if is_folder => self.folder(&target, link.as_path())?,
            Some(target) => {
                self.reached.insert(target);
                let tier = tier_of(&self.tiers, link.as_path());
                let stat = FileStat::default();
                self.met.unseen.push(ListedFile { path: link, stat, tier, through_link: true });
            }
        }
        Ok(())
    }
}

/// How many folders are listed at once. Where the system refuses threads, one after the other.
fn parallelism(threads: usize) -> Parallelism {
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => Parallelism::RayonExistingPool { pool: Arc::new(pool), busy_timeout: None },
        Err(error) => {
            logging::debug!("threads to list folders were refused: {error}");
            Parallelism::Serial
        }
    }
}

/// `path`, which lies in the folder `from` or is it, as it is called when that folder is called `to`.
fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        // Joining an empty path would leave a slash at the end.
        Ok(below) if !below.as_os_str().is_empty() => to.join(below),
        _ => to.to_owned(),
    }
}

/// Sorts the entries of each folder into those that matter, and looks at its files, on the threads of `jwalk`.
struct Sorter {
    root: Root,
    ignore: Arc<Ignore>,
    tiers: Arc<[(PathBuf, Tier)]>,
    start: PathBuf,
    shown: PathBuf,
    through_link: bool,
    /// Whether files are looked at.
    looks: bool,
    met: Arc<Mutex<Met>>,
}

impl Sorter {
    /// Leaves only folders in `entries`.
    fn sort(&self, folder: &Path, entries: &mut Vec<jwalk::Result<jwalk::DirEntry<((), ())>>>) {
        let shown = moved(folder, &self.start, &self.shown);
        let tier = tier_of(&self.tiers, &shown);
        let mut path = shown.as_os_str().as_bytes().to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        let folder_len = path.len();
        let mut path_of = |name: &OsStr| {
            path.truncate(folder_len);
            path.extend_from_slice(name.as_bytes());
            VaultPath::from_bytes(&path)
        };
        let ignores = !self.ignore.is_empty();
        let folder_ignored = if ignores { self.ignore.folder(&shown) } else { None };
        let ignored_by = |path: &VaultPath| match &folder_ignored {
            Some(by) => Some(by.clone()),
            None if ignores => self.ignore.note(path),
            None => None,
        };
        let mut met = Met { unseen: Vec::with_capacity(entries.len()), ..Met::default() };
        entries.retain(|entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let error = error.io_error().filter(|error| !is_absence(error));
                    if let Some(error) = error.filter(|_| folder_ignored.is_none()) {
                        let kind = FaultKind::io("list", error);
                        let path = VaultPath::new(&shown);
                        met.faults.push(ScanFault { path, is_folder: true, kind });
                    }
                    return false;
                }
            };
            let name = &entry.file_name;
            if is_hidden(name.as_bytes()) {
                if is_left_over(name.as_bytes()) {
                    met.left_overs.push(path_of(name));
                } else if placeholder_of(name.as_bytes()).is_some() && folder_ignored.is_none() {
                    met.place_holders.push(path_of(name));
                }
                return false;
            }
            if entry.file_type.is_dir() {
                return true;
            }
            if entry.file_type.is_symlink() {
                if folder_ignored.is_none() {
                    met.links.push(path_of(name));
                }
            } else if is_markdown(name.as_bytes()) {
                let path = path_of(name);
                if let Some(by) = ignored_by(&path) {
                    *met.ignored.entry(by).or_default() += 1;
                } else if copy_by_name(name.as_bytes()).is_some() {
                    met.conflict_copies.push(path);
                } else {
                    // Whether it is a regular file is seen when it is looked at.
                    let (stat, through_link) = (FileStat::default(), self.through_link);
                    met.unseen.push(ListedFile { path, stat, tier, through_link });
                }
            } else if placeholder_of(name.as_bytes()).is_some() && folder_ignored.is_none() {
                met.place_holders.push(path_of(name));
            } else if let Some(copy) = copy_by_name(name.as_bytes()) {
                // `note.md.conflict1` or `note.md~`, say.
                let path = path_of(name);
                if ignored_by(&path).is_none() {
                    let copies = match copy.is_conflict {
                        true => &mut met.conflict_copies,
                        false => &mut met.backups,
                    };
                    copies.push(path);
                }
            }
            false
        });
        // `jwalk` keeps the list until the walk is over: without its files it should be small.
        entries.shrink_to_fit();
        met.unseen.shrink_to_fit();
        if self.looks && (1..=FOLDER_FILES_MAX).contains(&met.unseen.len()) {
            self.look(&shown, folder_len, &mut met);
        }
        self.met.lock().unwrap_or_else(PoisonError::into_inner).append(&mut met);
    }

    /// Looks at the files of a folder, whose names begin at `name_start` of their paths.
    fn look(&self, folder: &Path, name_start: usize, met: &mut Met) {
        // A fault of the folder is told when each file is looked at for itself.
        let Ok(folder) = self.root.open_folder(folder) else { return };
        // In order, neighbours in the kernel's tables are found one after the other.
        met.unseen.sort_unstable_by(|a, b| {
            a.path.as_bytes()[name_start..].cmp(&b.path.as_bytes()[name_start..])
        });
        let mut files = std::mem::take(&mut met.unseen);
        files.retain_mut(|file| {
            let name = OsStr::from_bytes(&file.path.as_bytes()[name_start..]);
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
            note(file, stat.map_err(io::Error::from), &mut met.faults)
        });
        met.files.push(files);
    }
}

/// Whether a file is a copy of a note by its name.
fn is_copy(path: &VaultPath) -> bool {
    path.as_path().file_name().is_some_and(|name| copy_by_name(name.as_bytes()).is_some())
}

/// Looks at each file on a few threads, leaving out those that are gone and naming those that cannot be looked at.
fn look(
    root: &Root,
    files: Vec<ListedFile>,
    options: &WalkOptions,
    stop: &Stop,
    faults: &mut Vec<ScanFault>,
) -> Result<Vec<ListedFile>, VaultError> {
    let mut files: Vec<Option<ListedFile>> = files.into_iter().map(Some).collect();
    let found_faults = Mutex::new(Vec::new());
    // Large enough that most of a chunk lies in one folder, small enough that no thread is left with all the rest.
    let chunks = Mutex::new(files.chunks_mut(256));
    on_threads("vault-look", options.threads, &|| {
        let mut neighbours = Neighbours::new(root);
        loop {
            let chunk = chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(chunk) = chunk.filter(|_| !stop.is_told()) else { return };
            let mut faults = Vec::new();
            for slot in chunk {
                slot.take_if(|file| {
                    let stat = stat_of(root, &mut neighbours, file);
                    !note(file, stat, &mut faults)
                });
            }
            found_faults.lock().unwrap_or_else(PoisonError::into_inner).append(&mut faults);
        }
    });
    faults.append(&mut found_faults.into_inner().unwrap_or_else(PoisonError::into_inner));
    if stop.is_told() {
        return Err(VaultError::Interrupted);
    }
    Ok(files.into_iter().flatten().collect())
}

fn stat_of(root: &Root, neighbours: &mut Neighbours<'_>, file: &ListedFile) -> io::Result<Stat> {
    if file.through_link {
        return root.stat_through_links(&file.path);
    }
    let (folder, name) = neighbours.folder_of(&file.path)?;
    Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Notes what a look at a file has shown. `false`: it is not part of the vault, because it is gone or cannot be looked
/// at.
fn note(file: &mut ListedFile, stat: io::Result<Stat>, faults: &mut Vec<ScanFault>) -> bool {
    let fault = |kind| ScanFault { path: file.path.clone(), is_folder: false, kind };
    match stat {
        Ok(stat) => match other_kind(&stat) {
            None => {
                file.stat = FileStat::new(&stat);
                return true;
            }
            // A file that became a folder or a link since it was listed is no longer there as a file.
            Some("a folder" | "a symbolic link") => {}
            Some(kind) => faults.push(fault(FaultKind::WrongKind(kind, "a file"))),
        },
        Err(error) if is_absence(&error) => {}
        // A folder that may be listed but not entered refuses each of its files: one fault says it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let folder = file.path.as_path().parent().unwrap_or(Path::new(""));
            let kind = FaultKind::io("enter", &error);
            faults.push(ScanFault { path: VaultPath::new(folder), is_folder: true, kind });
        }
        Err(error) => faults.push(fault(FaultKind::io("look at", &error))),
    }
    false
}

#[cfg(test)]
mod tests;
