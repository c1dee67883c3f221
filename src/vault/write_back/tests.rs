use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;
use crate::block::Tier;
use crate::block::VaultPath;

fn reading(path: &Path) -> Reading {
    let bytes = fs::read(path).unwrap();
    let stat = FileStat::new(&rustix::fs::stat(path).unwrap());
    Reading { stat, digest: digest(&bytes), read_at_ns: 0, is_blank: false }
}

struct Vault(tempfile::TempDir);

impl Vault {
    fn new(text: &[u8]) -> Vault {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.md"), text).unwrap();
        Vault(dir)
    }

    fn note(&self) -> std::path::PathBuf {
        self.0.path().join("a.md")
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
            path: VaultPath::new("a.md"),
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
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
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
    fs::write(vault.0.path().join(".a.md.aclarai-write-back"), "left by a power cut").unwrap();
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
