//! The vault of a history: what the user did to it, on disk and as a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::block::Tier;
use crate::clock::{Clock, ManualClock};

/// The ids that a history plays with. The last two have no tier of their own: the folder decides.
pub(super) const IDS: [&str; 6] = ["blk_a", "blk_b", "clm_c", "clm_d", "note_e", "note_f"];

/// `a 2.md` is what some sync programs call a losing edit of `a.md`.
pub(super) const PATHS: [&str; 7] =
    ["t1/a.md", "t1/a 2.md", "t1/b.md", "t1/s/c.md", "t2/a.md", "t2/b.md", "t2/s/c.md"];

/// One marker and the paragraph before it. Numbers are written with four digits, so that most edits keep the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) id: usize,
    pub(super) version: i64,
    /// The line that only the second hash sees.
    pub(super) lead: u32,
    /// The line that both hashes see.
    pub(super) last: u32,
    /// A score that another service wrote before the marker, which only the first hash sees.
    pub(super) score: u32,
}

impl Text {
    /// The text behind the first hash.
    pub(super) fn v1(&self) -> String {
        match self.score {
            0 => format!("last {:04}", self.last),
            score => format!("last {:04} <!-- aclarai:score=0.{score} -->", self.last),
        }
    }

    /// The text behind the second hash.
    pub(super) fn v2(&self) -> String {
        format!("Lead {:04}, last {:04}", self.lead, self.last)
    }

    fn write(&self, out: &mut String) {
        let Text { lead, version, .. } = self;
        let (v1, id) = (self.v1(), IDS[self.id]);
        out.push_str(&format!("Lead {lead:04},\n{v1} <!-- aclarai:id={id} ver={version} -->\n\n"));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Whole,
    /// Emptied or filled with NUL, and how many syncs have completed since.
    Blank(u32),
    /// Not UTF-8.
    Garbled,
    /// A sync program has made it a conflict copy, and the note itself is gone.
    Copied,
    /// A merge of git is not resolved in it.
    Merging,
}

#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) blocks: Vec<Text>,
    pub(super) condition: Condition,
}

/// One act of a user, an editor or a sync program in the vault. Numbers pick one of the things there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    New {
        path: usize,
        id: usize,
    },
    Edit {
        pick: usize,
        how: usize,
    },
    MoveBlock {
        pick: usize,
        path: usize,
    },
    CopyBlock {
        pick: usize,
        path: usize,
    },
    DropBlock {
        pick: usize,
    },
    MoveFile {
        pick: usize,
        path: usize,
    },
    CopyFile {
        pick: usize,
        path: usize,
    },
    DropFile {
        pick: usize,
    },
    RestoreFile {
        pick: usize,
    },
    Blank {
        pick: usize,
        length: usize,
    },
    Garble {
        pick: usize,
    },
    Mend {
        pick: usize,
    },
    Touch {
        pick: usize,
    },
    MakeCopy {
        pick: usize,
    },
    TakeCopiesBack,
    /// Git merges another edit, and gives up.
    Merge {
        pick: usize,
    },
    /// A person takes one side of every merge, or the other.
    Resolve,
    Unmount,
    Mount,
    /// The mount inside of a tier is gone: its folder is there and empty.
    Detach,
    Attach,
}

/// The patterns of notes to leave out that a history changes between, and for each the beginning and the end of what it
/// matches.
pub(super) const PATTERNS: [(&str, &str, &str); 5] = [
    ("", "-", "-"),
    ("b.md", "", "/b.md"),
    ("t1/s/", INNER, ""),
    ("*2.md", "", "2.md"),
    ("t2/", "t2/", ""),
];

/// A mount inside of a tier.
const INNER: &str = "t1/s/";

pub(super) struct World {
    pub(super) root: PathBuf,
    clock: Arc<ManualClock>,
    pub(super) files: BTreeMap<&'static str, File>,
    trash: Vec<(&'static str, File)>,
    /// The two folders are tiers.
    tiered: bool,
    /// The folder of the second tier is not there.
    pub(super) unmounted: bool,
    /// The folder inside of the first tier is empty.
    detached: bool,
    /// Which of the patterns leaves notes out.
    pub(super) pattern: usize,
    /// A note that is being written: its file holds the beginning of it.
    paused: Option<&'static str>,
    /// Makes every edit another one.
    count: u32,
}

impl World {
    pub(super) fn new(root: PathBuf, tiered: bool, clock: Arc<ManualClock>) -> World {
        for folder in ["t1/s", "t2/s"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        World {
            root,
            clock,
            tiered,
            files: BTreeMap::new(),
            trash: Vec::new(),
            unmounted: false,
            detached: false,
            pattern: 0,
            paused: None,
            count: 0,
        }
    }

    /// Whether the place of a file is there.
    fn is_there(&self, path: &str) -> bool {
        let is_unmounted = self.unmounted && path.starts_with("t2/");
        !is_unmounted && !self.is_detached(path)
    }

    /// Whether a file lies where the mount is gone.
    pub(super) fn is_detached(&self, path: &str) -> bool {
        self.detached && path.starts_with(INNER)
    }

    /// Whether a sync meets a file.
    pub(super) fn is_seen(&self, path: &str) -> bool {
        let (_, begin, end) = PATTERNS[self.pattern];
        self.is_there(path) && !(path.starts_with(begin) && path.ends_with(end))
    }

    /// The files that can be read as they are, in path order.
    pub(super) fn readable(&self) -> impl Iterator<Item = (&'static str, &File)> {
        self.files
            .iter()
            .filter(|(path, file)| self.is_seen(path) && file.condition == Condition::Whole)
            .map(|(path, file)| (*path, file))
    }

    /// Whether a note with an unresolved merge holds an id.
    pub(super) fn is_merging(&self, id: usize) -> bool {
        self.files.iter().any(|(path, file)| {
            self.is_seen(path)
                && file.condition == Condition::Merging
                && file.blocks.iter().any(|text| text.id == id)
        })
    }

    /// Whether a conflict copy stands in for the file at an absolute path.
    pub(super) fn is_copied(&self, place: &str) -> bool {
        self.at(place).is_some_and(|(path, file)| {
            file.condition == Condition::Copied && self.is_seen(&copy_name(path))
        })
    }

    /// The places that hold an id, in path order, the first of each file.
    pub(super) fn places(&self, id: usize) -> Vec<(&'static str, Text)> {
        let first = |file: &File| file.blocks.iter().find(|text| text.id == id).copied();
        self.readable().filter_map(|(path, file)| Some((path, first(file)?))).collect()
    }

    /// Everything that holds an id, by folder, name and offset.
    pub(super) fn occurrences(&self, id: usize) -> Vec<(&'static str, Text)> {
        let mut all: Vec<(&'static str, Text)> = self
            .readable()
            .flat_map(|(path, file)| file.blocks.iter().map(move |text| (path, *text)))
            .filter(|(_, text)| text.id == id)
            .collect();
        all.sort_by_key(|(path, _)| {
            let (folder, name) = path.rsplit_once('/').unwrap();
            (folder, name.strip_suffix(".md").unwrap())
        });
        all
    }

    pub(super) fn place(&self, path: &str) -> String {
        self.root.join(path).to_str().unwrap().to_owned()
    }

    /// The place of the file at an absolute path, if there is one.
    pub(super) fn at(&self, place: &str) -> Option<(&'static str, &File)> {
        let path = Path::new(place).strip_prefix(&self.root).ok()?.to_str()?;
        self.files.get_key_value(path).map(|(path, file)| (*path, file))
    }

    pub(super) fn tier(&self, id: usize, path: &str) -> Tier {
        match &IDS[id][..4] {
            "blk_" => Tier::One,
            "clm_" => Tier::Two,
            _ if self.tiered && path.starts_with("t2") => Tier::Two,
            _ => Tier::One,
        }
    }

    /// How many syncs have seen each blank note, to be put back with the local state that counted them.
    pub(super) fn blanks(&self) -> BTreeMap<&'static str, u32> {
        let count = |file: &File| match file.condition {
            Condition::Blank(syncs) => Some(syncs),
            _ => None,
        };
        let counted =
            |(path, file): (&&'static str, &File)| count(file).map(|syncs| (*path, syncs));
        self.files.iter().filter_map(counted).collect()
    }

    /// The local state counts from where it stood when it was kept.
    pub(super) fn put_back_blanks(&mut self, kept: &BTreeMap<&'static str, u32>) {
        for (path, file) in &mut self.files {
            if let Condition::Blank(syncs) = &mut file.condition {
                *syncs = kept.get(path).copied().unwrap_or(0).min(*syncs);
            }
        }
    }

    pub(super) fn a_sync_completed(&mut self) {
        let seen: Vec<&str> =
            self.files.keys().copied().filter(|path| self.is_seen(path)).collect();
        for (path, file) in &mut self.files {
            // A folder that is away is not seen to be empty.
            if let Condition::Blank(syncs) = &mut file.condition
                && seen.contains(path)
            {
                *syncs += 1;
            }
        }
    }

    /// A writer begins to write a note as it is anew, and pauses behind one of its markers. Answers with the note.
    pub(super) fn begin_writing(&mut self, pick: usize) -> Option<&'static str> {
        let (path, at) = self.pick_block(pick)?;
        let mut text = String::new();
        self.files[path].blocks[..=at].iter().for_each(|block| block.write(&mut text));
        self.write(path, text.trim_end().as_bytes());
        self.paused = Some(path);
        self.paused
    }

    /// The writer goes on to the end, if there is one.
    pub(super) fn finish_writing(&mut self) -> bool {
        let paused = self.paused.take();
        if let Some(path) = paused {
            self.put(path, self.files[path].clone());
        }
        paused.is_some()
    }

    pub(super) fn do_it(&mut self, deed: Deed) {
        self.finish_writing();
        self.count += 1;
        match deed {
            Deed::New { path, id } => {
                self.add(path, |count| Text { id, version: 1, lead: count, last: count, score: 0 })
            }
            Deed::Edit { pick, how } => {
                let count = self.count;
                self.change(pick, |blocks, at| edit(&mut blocks[at], how, count));
            }
            Deed::MoveBlock { pick, path } => {
                let taken = self.change(pick, |blocks, at| blocks.remove(at));
                if let Some(text) = taken {
                    self.add(path, |_| text);
                }
            }
            Deed::CopyBlock { pick, path } => {
                if let Some((file, at)) = self.pick_block(pick) {
                    let text = self.files[file].blocks[at];
                    self.add(path, |_| text);
                }
            }
            Deed::DropBlock { pick } => {
                self.change(pick, |blocks, at| blocks.remove(at));
            }
            Deed::MoveFile { pick, path } => {
                let (Some(from), Some(to)) = (self.pick_file(pick), self.pick_path(path)) else {
                    return;
                };
                if from != to {
                    self.forget_copy(to);
                    fs::rename(self.root.join(from), self.root.join(to)).unwrap();
                    let mut file = self.files.remove(from).unwrap();
                    // It may take the place of one that had blocks.
                    if matches!(file.condition, Condition::Blank(_)) {
                        file.condition = Condition::Blank(0);
                    }
                    self.files.insert(to, file);
                }
            }
            Deed::CopyFile { pick, path } => {
                if let (Some(from), Some(to)) = (self.pick_file(pick), self.pick_path(path))
                    && self.files[from].condition == Condition::Whole
                {
                    self.put(to, self.files[from].clone());
                }
            }
            Deed::DropFile { pick } => {
                if let Some(path) = self.pick_file(pick) {
                    fs::remove_file(self.root.join(path)).unwrap();
                    let file = self.files.remove(path).unwrap();
                    self.trash.push((path, file));
                }
            }
            Deed::RestoreFile { pick } => {
                if self.trash.is_empty() {
                    return;
                }
                let (path, file) = self.trash[pick % self.trash.len()].clone();
                if self.is_there(path) {
                    self.put(path, File { condition: Condition::Whole, ..file });
                }
            }
            Deed::Blank { pick, length } => {
                if let Some(path) = self.pick_file(pick) {
                    let file = self.files.get_mut(path).unwrap();
                    // Emptied again, it does not get more time.
                    if !matches!(file.condition, Condition::Blank(_)) {
                        file.condition = Condition::Blank(0);
                    }
                    self.write(path, &vec![0; length]);
                }
            }
            Deed::Garble { pick } => {
                if let Some(path) = self.pick_file(pick) {
                    self.files.get_mut(path).unwrap().condition = Condition::Garbled;
                    self.write(path, b"caf\xe9 <!-- aclarai:id=blk_a ver=1 -->\n\nThe end.\n");
                }
            }
            Deed::Mend { pick } => {
                if let Some(path) = self.pick_file(pick) {
                    let file = self.files[path].clone();
                    self.put(path, File { condition: Condition::Whole, ..file });
                }
            }
            Deed::Touch { pick } => {
                if let Some(path) = self.pick_file(pick) {
                    self.stamp(path);
                }
            }
            Deed::MakeCopy { pick } => {
                if let Some(path) = self.pick_file(pick)
                    && self.files[path].condition == Condition::Whole
                {
                    fs::rename(self.root.join(path), self.root.join(copy_name(path))).unwrap();
                    self.files.get_mut(path).unwrap().condition = Condition::Copied;
                }
            }
            Deed::TakeCopiesBack => {
                for path in self.in_condition(Condition::Copied) {
                    fs::rename(self.root.join(copy_name(path)), self.root.join(path)).unwrap();
                    self.files.get_mut(path).unwrap().condition = Condition::Whole;
                }
            }
            Deed::Merge { pick } => {
                if let Some(path) = self.pick_file(pick) {
                    let file = self.files.get_mut(path).unwrap();
                    file.condition = Condition::Merging;
                    let text = merging(&file.blocks, self.count);
                    self.write(path, text.as_bytes());
                }
            }
            Deed::Resolve => {
                for path in self.in_condition(Condition::Merging) {
                    let mut file = self.files[path].clone();
                    if let Some(first) =
                        file.blocks.first_mut().filter(|_| self.count.is_multiple_of(2))
                    {
                        edit(first, 0, self.count);
                    }
                    self.put(path, File { condition: Condition::Whole, ..file });
                }
            }
            // Without tiers a folder that is gone was deleted.
            Deed::Unmount if !self.tiered => {}
            Deed::Unmount => self.mount(false),
            Deed::Mount => self.mount(true),
            Deed::Detach => self.attach(false),
            Deed::Attach => self.attach(true),
        }
    }

    /// The files in a condition whose place is there.
    fn in_condition(&self, condition: Condition) -> Vec<&'static str> {
        let files = self.files.iter().filter(|(_, file)| file.condition == condition);
        files.map(|(path, _)| *path).filter(|path| self.is_there(path)).collect()
    }

    /// Makes everything readable again, files that were emptied excepted.
    pub(super) fn settle(&mut self) {
        self.mount(true);
        self.attach(true);
        self.do_it(Deed::TakeCopiesBack);
        self.do_it(Deed::Resolve);
        let garbled = |file: &File| file.condition == Condition::Garbled;
        while let Some(pick) = self.files.values().position(garbled) {
            self.do_it(Deed::Mend { pick });
        }
    }

    fn mount(&mut self, mount: bool) {
        if mount == self.unmounted {
            let (there, away) = (self.root.join("t2"), self.root.join(".t2"));
            let (from, to) = if mount { (away, there) } else { (there, away) };
            fs::rename(from, to).unwrap();
            self.unmounted = !mount;
        }
    }

    fn attach(&mut self, attach: bool) {
        if attach == self.detached {
            let (there, away) = (self.root.join(INNER), self.root.join("t1/.s"));
            if attach {
                fs::remove_dir(&there).unwrap();
                fs::rename(away, there).unwrap();
            } else {
                fs::rename(&there, away).unwrap();
                fs::create_dir(there).unwrap();
            }
            self.detached = !attach;
        }
    }

    fn pick_file(&self, pick: usize) -> Option<&'static str> {
        let paths: Vec<&'static str> = self
            .files
            .iter()
            .filter(|(path, file)| self.is_there(path) && file.condition != Condition::Copied)
            .map(|(path, _)| *path)
            .collect();
        (!paths.is_empty()).then(|| paths[pick % paths.len()])
    }

    fn pick_path(&self, path: usize) -> Option<&'static str> {
        Some(PATHS[path]).filter(|path| self.is_there(path))
    }

    fn pick_block(&self, pick: usize) -> Option<(&'static str, usize)> {
        let blocks: Vec<(&'static str, usize)> = self
            .readable()
            .flat_map(|(path, file)| (0..file.blocks.len()).map(move |at| (path, at)))
            .collect();
        (!blocks.is_empty()).then(|| blocks[pick % blocks.len()])
    }

    fn change<T>(
        &mut self,
        pick: usize,
        change: impl FnOnce(&mut Vec<Text>, usize) -> T,
    ) -> Option<T> {
        let (path, at) = self.pick_block(pick)?;
        let result = change(&mut self.files.get_mut(path)?.blocks, at);
        self.put(path, self.files[path].clone());
        Some(result)
    }

    /// Adds a block to the file at a path, as its first or last one.
    fn add(&mut self, path: usize, text: impl FnOnce(u32) -> Text) {
        let Some(path) = self.pick_path(path) else { return };
        let mut file = self
            .files
            .get(path)
            .filter(|file| file.condition == Condition::Whole)
            .cloned()
            .unwrap_or(File { blocks: Vec::new(), condition: Condition::Whole });
        let at = if self.count.is_multiple_of(2) { 0 } else { file.blocks.len() };
        file.blocks.insert(at, text(self.count));
        self.put(path, file);
    }

    fn put(&mut self, path: &'static str, file: File) {
        let mut text = String::new();
        for block in &file.blocks {
            block.write(&mut text);
        }
        text.push_str("The end of it.\n");
        self.forget_copy(path);
        self.files.insert(path, file);
        self.write(path, text.as_bytes());
    }

    /// A note in its place settles what becomes of a conflict copy.
    fn forget_copy(&self, path: &str) {
        if self.files.get(path).is_some_and(|file| file.condition == Condition::Copied) {
            fs::remove_file(self.root.join(copy_name(path))).unwrap();
        }
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.root.join(path), bytes).unwrap();
        self.stamp(path);
    }

    /// Files get the times of the clock that is moved by hand: what is done without moving it falls into one tick.
    fn stamp(&self, path: &str) {
        let file = fs::File::options().write(true).open(self.root.join(path)).unwrap();
        file.set_modified(SystemTime::from(self.clock.now())).unwrap();
    }
}

/// Syncthing's name for the losing one of two edits.
fn copy_name(path: &str) -> String {
    path.replace(".md", ".sync-conflict-20260101-120000-ABCDEFG.md")
}

/// A note in which git has left both sides of its first block, in one of git's styles.
fn merging(blocks: &[Text], count: u32) -> String {
    let (mut ours, mut theirs, mut rest) = (String::new(), String::new(), String::new());
    if let Some((first, others)) = blocks.split_first() {
        let mut other = *first;
        edit(&mut other, 0, count);
        first.write(&mut ours);
        other.write(&mut theirs);
        others.iter().for_each(|block| block.write(&mut rest));
    }
    let base = ["", "||||||| 1a2b3c4\nThe base.\n"][count as usize % 2];
    let text = format!(
        "<<<<<<< HEAD\n{ours}{base}=======\n{theirs}>>>>>>> origin/main\n{rest}The end of it.\n"
    );
    if count.is_multiple_of(3) { text.replace('\n', "\r\n") } else { text }
}

fn edit(text: &mut Text, how: usize, count: u32) {
    match how {
        0 => text.last = count,
        1 => text.lead = count,
        2 => text.score = count % 9 + 1,
        3 => text.version += 1,
        4 => text.version = (text.version - 1).max(0),
        5 => (text.version, text.last) = (text.version + 1, count),
        _ => (text.version, text.last) = ((text.version - 1).max(0), count),
    }
}
