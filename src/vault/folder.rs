//! A folder of the vault from outside: whether anything is in it, and on which device it lies. Asked
//! where blocks are gone, because a mount that is gone leaves an empty folder behind.

use std::io;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags};

use super::root::Root;

/// A folder that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderFacts {
    /// The device it lies on.
    pub device: u64,
    /// Nothing is in it, but for hidden files.
    pub is_empty: bool,
}

impl Root {
    /// The folder's facts; an error of the kind `NotFound` where there is none.
    pub fn folder(&self, path: &Path) -> io::Result<FolderFacts> {
        let folder = self.open_folder(path)?;
        let device = rustix::fs::fstat(&folder)?.st_dev;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, ".", flags, Mode::empty())?;
        for entry in Dir::read_from(opened)? {
            if !entry?.file_name().to_bytes().starts_with(b".") {
                return Ok(FolderFacts { device, is_empty: false });
            }
        }
        Ok(FolderFacts { device, is_empty: true })
    }

    /// The device that the folder of a file lies on.
    pub fn device_of_folder(&self, path: &Path) -> io::Result<u64> {
        Ok(rustix::fs::fstat(self.open_folder(path)?)?.st_dev)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_with_nothing_but_hidden_files_counts_as_empty() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("mount/.trash")).unwrap();
        fs::create_dir(temp.path().join("full")).unwrap();
        fs::write(temp.path().join("full/a.md"), "").unwrap();
        let root = Root::open(temp.path()).unwrap();
        let is_empty = |path: &str| root.folder(Path::new(path)).map(|facts| facts.is_empty).ok();
        assert_eq!(
            ["", "mount", "full", "absent"].map(is_empty),
            [Some(false), Some(true), Some(false), None]
        );
    }
}
