//! Notes that are likely copies of another note: they are read, and give way where they share an id with it.

use std::path::Path;

use crate::block::{IdDigest, VaultPath};
use crate::job::JobError;
use crate::vault;

use super::books::Books;
use super::claim::FileState;
use super::fault::state_error;
use super::seen::FileIndex;
use super::survey::Survey;

/// Whether the name of a file makes it a likely copy of a note in the same folder that holds one of its ids too; if so,
/// that is noted in the books.
pub(super) fn find_original(
    survey: &Survey<'_>,
    books: &mut Books<'_>,
    file: FileIndex,
    ids: &[(IdDigest, usize)],
) -> Result<bool, JobError> {
    if ids.is_empty() {
        return Ok(false);
    }
    for original in originals(survey, survey.path(file)) {
        let shares = match books.claims.files[original as usize] {
            FileState::Vouched => {
                let mut shares = false;
                for (id, _) in ids {
                    shares |= books.cache.holds(survey.path(original), *id).map_err(state_error)?;
                }
                shares
            }
            _ => ids.iter().any(|(id, _)| books.claims.holds(original, *id)),
        };
        if shares {
            books.likely_copies.insert(file, original);
            return Ok(true);
        }
    }
    Ok(false)
}

/// The listed notes of which the file at `path` may be a copy, as its name tells.
fn originals(survey: &Survey<'_>, path: &VaultPath) -> Vec<FileIndex> {
    let path = path.as_path();
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { return Vec::new() };
    let folder = path.parent().unwrap_or(Path::new(""));
    vault::likely_copy_of(stem)
        .into_iter()
        .filter_map(|plain| survey.listed(&VaultPath::new(folder.join(format!("{plain}.md")))))
        .collect()
}
