//! How text and paths appear in a message.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::text::visible_bytes;

/// In quotes, control characters escaped, cut where a person has seen enough to find it.
pub(super) fn shown_text(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((cut, _)) => format!("{:?}...", &text[..cut]),
        None => format!("{text:?}"),
    }
}

/// The path of a file in a message.
pub(super) fn shown_path(path: &Path) -> String {
    visible_bytes(path.as_os_str().as_bytes()).into_owned()
}
