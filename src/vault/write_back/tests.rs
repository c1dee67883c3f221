use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::XattrFlags;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::super::read::Digest;
use super::*;

mod traced;

use crate::block::Tier;
use crate::block::VaultPath;

fn reading(path: &Path) -> Reading {
    let bytes = fs::read(path).unwrap();
    let stat = FileStat::new(&rustix::fs::stat(path).unwrap());
    Reading { stat, digest: Digest(xxh3_128(&bytes)), read_at_ns: 0, is_blank: false }
}

/// A folder with one note, and the note's name.
struct Vault(tempfile::TempDir, String);

impl Vault {
    fn new(text: &[u8]) -> Vault {
        Vault::named("a.md", text)
    }

    fn named(name: &str, text: &[u8]) -> Vault {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), text).unwrap();
        Vault(dir, name.to_owned())
    }

    fn note(&self) -> std::path::PathBuf {
        self.0.path().join(&self.1)
    }

    /// The hidden name of the note that begins with `begin`.
    fn hidden(&self, begin: &str) -> std::path::PathBuf {
        self.0.path().join(format!("{begin}{:016x}", xxh3_64(self.1.as_bytes())))
    }

    fn recover(&self) -> Option<VaultPath> {
        let hidden = self.hidden(".aclarai-swap-");
        let left_over = VaultPath::new(hidden.file_name().unwrap());
        recover(&Root::open(self.0.path()).unwrap(), &left_over, ParseOptions::default()).unwrap()
    }

    /// Writes `version` into each marker.
    fn write(&self, reading: &Reading, version: i64) -> Result<WriteBack, ScanFault> {
        let parsed = parse_bytes(fs::read(self.note()).unwrap(), ParseOptions::default()).unwrap();
        let edits: Vec<VersionEdit> = parsed
            .blocks()
            .filter_map(|block| Some(VersionEdit { digits: block.version_digits()?, version }))
            .collect();
        self.write_edits(reading, &edits)
    }

    fn write_edits(
        &self,
        reading: &Reading,
        edits: &[VersionEdit],
    ) -> Result<WriteBack, ScanFault> {
        let file = ListedFile {
            path: VaultPath::new(&self.1),
            stat: reading.stat,
            tier: Some(Tier::One),
            through_link: false,
        };
        write_back(
            &Root::open(self.0.path()).unwrap(),
            &file,
            reading,
            edits,
            ParseOptions::default(),
        )
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn only_the_digits_change() {
    let tail = "\r\n\r\nA last paragraph that keeps the markers inline, and no final line break.";
    let before = format!(
        "\u{feff}One.\r\n<!-- aclarai:id=blk_a ver=9 -->\r\nTwo. <!-- aclarai:id=blk_b -->{tail}"
    );
    let vault = Vault::new(before.as_bytes());
    fs::set_permissions(vault.note(), fs::Permissions::from_mode(0o640)).unwrap();
    let owner =
        (fs::metadata(vault.note()).unwrap().uid(), fs::metadata(vault.note()).unwrap().gid());
    let attribute = rustix::fs::setxattr(vault.note(), "user.mood", b"calm", XattrFlags::empty());
    assert_eq!(vault.write(&reading(&vault.note()), 10), Ok(WriteBack::Done));
    let after = fs::read_to_string(vault.note()).unwrap();
    assert_eq!(after, before.replace("ver=9", "ver=10"));
    let metadata = fs::metadata(vault.note()).unwrap();
    assert_eq!((metadata.mode() & 0o7777, (metadata.uid(), metadata.gid())), (0o640, owner));
    if attribute.is_ok() {
        let mut value = [0; 8];
        assert_eq!(rustix::fs::getxattr(vault.note(), "user.mood", &mut value), Ok(4));
        assert_eq!(&value[..4], b"calm");
    }
    assert_eq!(vault.names(), ["a.md"]);
}

#[test]
fn a_note_that_changed_is_left_alone() {
    let text =
        "One. <!-- aclarai:id=blk_a ver=1 -->\n\nA last paragraph that keeps the marker inline.\n";
    let vault = Vault::new(text.as_bytes());
    let seen = reading(&vault.note());
    let edited = text.replace("One", "Two");
    fs::write(vault.note(), &edited).unwrap();
    assert_eq!(vault.write(&seen, 2), Ok(WriteBack::Left("it changed since it was read")));
    assert_eq!(fs::read_to_string(vault.note()).unwrap(), edited);
    assert_eq!(vault.names(), ["a.md"]);
}

#[test]
fn a_hard_link_is_not_broken_and_a_left_over_is_replaced() {
    let text =
        "One. <!-- aclarai:id=blk_a ver=1 -->\n\nA last paragraph that keeps the marker inline.\n";
    let vault = Vault::new(text.as_bytes());
    fs::hard_link(vault.note(), vault.0.path().join("b.md")).unwrap();
    assert_eq!(
        vault.write(&reading(&vault.note()), 2),
        Ok(WriteBack::Left("it has several hard links"))
    );
    fs::remove_file(vault.0.path().join("b.md")).unwrap();
    fs::write(vault.hidden(".aclarai-new-"), "left by a power cut").unwrap();
    assert_eq!(vault.write(&reading(&vault.note()), 2), Ok(WriteBack::Done));
    assert_eq!(vault.names(), ["a.md"]);
}

#[test]
fn an_edit_that_would_change_more_than_a_number_is_refused() {
    let text = "One 1. <!-- aclarai:id=blk_a ver=1 -->\n\nA last paragraph that keeps the marker inline.\n";
    let vault = Vault::new(text.as_bytes());
    let seen = reading(&vault.note());
    let wrong = [VersionEdit { digits: 4..5, version: 2 }];
    let left = WriteBack::Left("the new numbers would change more than numbers");
    assert_eq!(vault.write_edits(&seen, &wrong), Ok(left));
    assert_eq!(fs::read_to_string(vault.note()).unwrap(), text);
}

#[test]
fn a_note_whose_last_block_holds_the_markers_before_it_is_written() {
    let text = "One.\n<!-- aclarai:id=blk_a ver=1 -->\n^blk_a\n\nTwo.\n<!-- aclarai:id=blk_b ver=1 -->\n^blk_b\n";
    let vault = Vault::new(text.as_bytes());
    assert_eq!(vault.write(&reading(&vault.note()), 12), Ok(WriteBack::Done));
    assert_eq!(fs::read_to_string(vault.note()).unwrap(), text.replace("ver=1", "ver=12"));
}

#[test]
fn the_longest_names_have_room_for_the_hidden_one() {
    let text =
        "One. <!-- aclarai:id=blk_a ver=1 -->\n\nA last paragraph that keeps the marker inline.\n";
    for length in [240, 255] {
        let name = format!("{}.md", "n".repeat(length - 3));
        let vault = Vault::named(&name, text.as_bytes());
        assert_eq!(vault.write(&reading(&vault.note()), 2), Ok(WriteBack::Done));
        assert_eq!(vault.names(), [name]);
    }
}

#[test]
fn two_runs_do_not_write_in_one_folder() {
    let text =
        "One. <!-- aclarai:id=blk_a ver=1 -->\n\nA last paragraph that keeps the marker inline.\n";
    let vault = Vault::new(text.as_bytes());
    let other = fs::File::open(vault.0.path()).unwrap();
    other.lock().unwrap();
    let left = WriteBack::Left("another run writes in its folder");
    assert_eq!(vault.write(&reading(&vault.note()), 2), Ok(left));
}

#[test]
fn what_a_power_cut_left_is_kept_unless_the_note_holds_it() {
    let text =
        "One. <!-- aclarai:id=blk_a ver=1 -->\n\nA last paragraph that keeps the marker inline.\n";
    let vault = Vault::new(text.as_bytes());
    let hidden = vault.hidden(".aclarai-swap-");
    fs::write(&hidden, text.replace("ver=1", "ver=7")).unwrap();
    let left = WriteBack::Left(
        "an earlier write to it was cut short: the next run looks after that first",
    );
    assert_eq!(vault.write(&reading(&vault.note()), 2), Ok(left));
    assert_eq!(vault.recover(), None);
    assert_eq!(vault.names(), ["a.md"]);

    let saved = text.replace("last paragraph", "newer paragraph");
    fs::write(&hidden, &saved).unwrap();
    assert_eq!(vault.recover(), Some(VaultPath::new("a.sync-conflict-aclarai-1.md")));
    fs::create_dir(&hidden).unwrap();
    assert_eq!(vault.recover(), Some(VaultPath::new("a.sync-conflict-aclarai-2.md")));
    assert_eq!(
        vault.names(),
        ["a.md", "a.sync-conflict-aclarai-1.md", "a.sync-conflict-aclarai-2.md"]
    );
    let kept = vault.0.path().join("a.sync-conflict-aclarai-1.md");
    assert_eq!(fs::read_to_string(kept).unwrap(), saved);
    assert_eq!(fs::read_to_string(vault.note()).unwrap(), text);
}
