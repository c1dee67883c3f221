//! The state folder and the files in it: made where they are missing, for their owner alone.

use std::fs::File;
use std::path::Path;

use super::error::StateError;
use crate::sqlite::{self, Folder};

/// Makes the state folder where it is missing, and refuses one that is not this user's alone.
pub(super) fn create_folder(dir: &Path) -> Result<(), StateError> {
    Ok(sqlite::make_folder(dir, Folder::Private)?)
}

/// Opens a file of ours, creating it readable and writable for its owner alone.
pub(super) fn create_file(path: &Path) -> Result<File, StateError> {
    Ok(sqlite::make_file(path)?)
}
