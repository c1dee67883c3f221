//! A file's name tells whether the file is hidden, a note, or a copy of a note that some program left there.
//!
//! A *copy* is never read: a sync program, a merge tool or an editor made it, and the text in it is an old or a losing
//! one. A *likely copy* may just as well be a note of its own (`Chapter 2`), so it is read, and only gives way where it
//! shares an id with the note whose name it carries. Everything here is pure.
//!
//! The tables have one line a program. In a pattern `*` stands for any characters, `9` for one digit and `9+` for one or
//! more. A pattern without a capital letter takes letters of either case (of ASCII; an accented letter is written `*`,
//! since some file systems take it apart). A pattern is tried on the name without its `.md`, wherever that stands:
//! `note.conflict1.md` and `note.md.conflict1` are the same to it.

use std::borrow::Cow;
use std::ops::Range;

/// How a program names the copies it makes.
struct Rule {
    pattern: &'static str,
    /// Which program does so, and where that can be read.
    source: &'static str,
}

const fn rule(pattern: &'static str, source: &'static str) -> Rule {
    Rule { pattern, source }
}

/// Copies that hold one of two edits made at once.
const CONFLICTS: &[Rule] = &[
    rule("*.sync-conflict-*", "Syncthing: docs.syncthing.net, Understanding Synchronization"),
    rule(
        "*(*conflicted copy*)",
        "Nextcloud, Dropbox, Obsidian Sync: help.dropbox.com, Conflicted copy",
    ),
    rule("*'s conflicted copy*", "Dropbox, with a name behind: help.dropbox.com, Conflicted copy"),
    rule("*\u{2019}s conflicted copy*", "Dropbox, with a curly apostrophe"),
    rule("*(*competing copy*)", "Dropbox in Danish and in old versions"),
    rule("*(*konfliktkopi*)", "Dropbox and ownCloud in German, Norwegian and Danish"),
    rule("*(*in konflikt stehende kopie*)", "Dropbox in German"),
    rule("*(*copie en conflit*)", "Dropbox in French"),
    rule("*(*copia en conflicto*)", "Dropbox in Spanish"),
    rule("*(*copia conflictiva*)", "Nextcloud in Spanish"),
    rule("*(*copia in conflitto*)", "Dropbox in Italian"),
    rule("*(*conflicterende kopie*)", "Dropbox in Dutch"),
    rule("*(*pia em conflito*)", "Dropbox in Portuguese"),
    rule("*(*pia conflitante*)", "Dropbox in Brazilian Portuguese"),
    rule("*(*kopia powoduj*ca konflikt*)", "Dropbox in Polish"),
    rule("*(*motstridiga kopia*)", "Dropbox in Swedish"),
    rule("*(*motstridende kopi*)", "Dropbox in Norwegian"),
    rule("*(*modstridende kopi*)", "Dropbox in Danish"),
    rule("*(*salinan *konflik*)", "Dropbox in Indonesian"),
    rule("*(*онфликтующая копия*)", "Dropbox in Russian"),
    rule("*(*онфліктуюча копія*)", "Dropbox in Ukrainian"),
    rule("*(*競合コ*)", "Dropbox in Japanese"),
    rule("*(*冲突副本*)", "Dropbox in Chinese, simplified"),
    rule("*(*衝突複本*)", "Dropbox in Chinese, traditional"),
    rule("*(*충돌*사본*)", "Dropbox in Korean"),
    rule(
        "*(case conflict*)",
        "Dropbox, names that differ in case only: help.dropbox.com, Case conflict",
    ),
    rule("*(*s case conflict*)", "Dropbox, the same with a name"),
    rule("*(unicode encoding conflict*)", "Dropbox, names that differ in encoding only"),
    rule("*(white*space conflict*)", "Dropbox, names that differ in white space only"),
    rule("*(selective sync conflict*)", "Dropbox, a folder that was left out"),
    rule("*(conflict 9999-*)", "OneDrive plug-in of Obsidian: its issue tracker"),
    rule("*(conflict 99999999*)", "FSNotes and others with a compact date"),
    rule("*(CONFLICT *)", "FSNotes: its source, Storage"),
    rule("*(conflict * 9999-*)", "ownCloud 2.5: its release notes"),
    rule("*_conflict-99999999-*", "ownCloud up to 2.4: doc.owncloud.com, Conflict files"),
    rule("*(sfconflict *)", "Seafile: its manual, File conflicts"),
    rule("*.Conflict", "Resilio Sync: help.resilio.com, Conflicts"),
    rule("*.conflict9*", "rclone bisync, Unison: rclone.org/bisync, --conflict-suffix"),
    rule("*(copy: conflict*)", "Unison: its manual, copyonconflict"),
    rule("*..path9", "rclone bisync up to 1.65: rclone.org/bisync"),
    rule("*[conflicted]*", "pCloud: help.pcloud.com, Conflicted files"),
    rule("*_*_*-9999_Conflict*", "Synology Drive: kb.synology.com, Conflicting files"),
    rule("*_*_*-9999_CaseConflict*", "Synology Drive, names that differ in case only"),
    rule("*(# edit conflict 9999-*)", "Proton Drive: proton.me/support, Sync conflicts"),
    rule("*(# name clash 9999-*)", "Proton Drive: proton.me/support, Sync conflicts"),
    rule("*# edit conflict 9999-*#", "Proton Drive, without brackets"),
    rule("*# name clash 9999-*#", "Proton Drive, without brackets"),
    rule("*-safebackup-9999", "onedrive client for Linux: its docs, usage.md"),
    rule("*~HEAD", "git, a file where the other side has a folder: git-scm.com/docs/git-merge"),
    rule("*.BASE.9+", "git mergetool: git-scm.com/docs/git-mergetool"),
    rule("*.LOCAL.9+", "git mergetool"),
    rule("*.REMOTE.9+", "git mergetool"),
    rule("*.BACKUP.9+", "git mergetool"),
    rule("*_BASE_9+", "git mergetool since 2.9"),
    rule("*_LOCAL_9+", "git mergetool since 2.9"),
    rule("*_REMOTE_9+", "git mergetool since 2.9"),
    rule("*_BACKUP_9+", "git mergetool since 2.9"),
];

/// Files that editors and sync programs leave behind while they work or when they crash.
const LEFT_OVERS: &[Rule] = &[
    rule("~syncthing~*.tmp", "Syncthing, while it copies, on Windows"),
    rule(".syncthing.*.tmp", "Syncthing, while it copies"),
    rule("*.tmp", "many programs, while they save"),
    rule("*.orig", "git mergetool, Mercurial, patch"),
    rule("~$*", "Microsoft Office, while a file is open"),
    rule("#*#", "Emacs, unsaved edits: its manual, Auto Save Files"),
    rule(".#*", "Emacs, while a file is being edited: its manual, Interlocking"),
    rule(".~lock.*#", "LibreOffice, while a file is open"),
    rule("*.~9+~", "Emacs, numbered backups: its manual, Backup Names"),
    rule("*~", "Emacs, Vim, gedit: backups"),
];

/// Names that people and file managers give to a copy, and some sync programs to a losing edit.
const LIKELY: &[Rule] = &[
    rule("* 9+", "iCloud, Finder"),
    rule("*_9+", "some exporters"),
    rule("*(9+)", "iCloud for Windows, Google Drive, browsers"),
    rule("* copy", "Finder"),
    rule("* copy 9+", "Finder"),
    rule("* (copy)", "GNOME Files"),
    rule("* (copy 9+)", "GNOME Files"),
    rule("* (another copy)", "Nautilus"),
    rule("* (9*copy)", "Nautilus: 3rd copy"),
    rule("* - copy", "Windows Explorer"),
    rule("* - copy (9+)", "Windows Explorer"),
    rule("*_copy", "some exporters"),
    rule("copy of *", "Google Drive, old Windows"),
    rule("* kopie", "Finder in German and Dutch"),
    rule("* kopie 9+", "Finder in German and Dutch"),
    rule("* - kopie", "Windows Explorer in German and Dutch"),
    rule("* - kopie (9+)", "Windows Explorer in German and Dutch"),
    rule("* (kopie)", "GNOME Files in German"),
    rule("* (kopie 9+)", "GNOME Files in German"),
    rule("kopie von *", "Google Drive in German"),
    rule("* copie", "Finder in French"),
    rule("* copie 9+", "Finder in French"),
    rule("* - copie", "Windows Explorer in French"),
    rule("* - copie (9+)", "Windows Explorer in French"),
    rule("* (copie)", "GNOME Files in French"),
    rule("copie de *", "Google Drive in French"),
    rule("* (copia)", "GNOME Files in Spanish and Italian"),
    rule("* (copia 9+)", "GNOME Files in Spanish and Italian"),
    rule("* copia", "Finder in Spanish and Italian"),
    rule("* copia 9+", "Finder in Spanish and Italian"),
    rule("* - copia", "Windows Explorer in Spanish and Italian"),
    rule("* - copia (9+)", "Windows Explorer in Spanish and Italian"),
    rule("copia de *", "Google Drive in Spanish"),
    rule("copia di *", "Google Drive in Italian"),
    rule("* - c*pia", "Windows Explorer in Portuguese"),
    rule("* - c*pia (9+)", "Windows Explorer in Portuguese"),
    rule("* - kopia", "Windows Explorer in Polish and Swedish"),
    rule("* kopia", "Finder in Polish and Swedish"),
    rule("* - копия", "Windows Explorer in Russian"),
    rule("* — копия", "Windows Explorer in Russian"),
    rule("* - 副本", "Windows Explorer in Chinese"),
    rule("* 副本", "Finder in Chinese"),
    rule("* - コピー", "Windows Explorer in Japanese"),
    rule("*のコピー", "Finder in Japanese"),
];

/// A file that is a copy of a note by its name, and is never read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCopy {
    /// Which program or programs name copies so.
    pub program: &'static str,
    /// Whether it holds one of two edits made at once, which a person has to merge. Else it is what a program left
    /// behind or is working on.
    pub is_conflict: bool,
    /// The name of the note that it is a copy of, as far as the name tells.
    pub of: Option<Vec<u8>>,
}

/// Dot-files and dot-folders: `.obsidian`, `.trash`, `.git`, and the temporary files of a write-back.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

/// Whether a name ends in `.md`. Of an editor's left-overs (`*~`, `*.tmp`, `*.orig`) most do not.
pub(super) fn is_markdown(name: &[u8]) -> bool {
    name.last_chunk::<3>().is_some_and(|end| end.eq_ignore_ascii_case(b".md"))
}

/// The note that a place holder stands for, which lies on a server for now: `.note.md.icloud` of iCloud, `note.md.nextcloud`
/// and `note.md.owncloud` of the clients for Linux.
pub fn placeholder_of(name: &[u8]) -> Option<&[u8]> {
    let note = match name.strip_prefix(b".") {
        Some(hidden) => hidden.strip_suffix(b".icloud")?,
        None => name.strip_suffix(b".nextcloud").or_else(|| name.strip_suffix(b".owncloud"))?,
    };
    is_markdown(note).then_some(note)
}

/// Whether the file of this name (without its folder) is a copy of a note. Takes any name; one that does not have `.md`
/// in it is none.
pub fn copy_by_name(name: &[u8]) -> Option<NamedCopy> {
    let (stem, extension) = without_extension(name)?;
    if !may_match(&stem) {
        return None;
    }
    let found = |rules: &'static [Rule]| {
        rules.iter().find_map(|rule| Some((rule.source, captured(rule.pattern, &stem)?)))
    };
    let (is_conflict, (source, of)) = match found(CONFLICTS) {
        Some(found) => (true, found),
        None => (false, found(LEFT_OVERS)?),
    };
    let program = source.split([':', ',']).next().unwrap_or(source);
    let of = stem[of].trim_ascii_end();
    if of.is_empty() {
        return Some(NamedCopy { program, is_conflict, of: None });
    }
    let of = [of, extension].concat();
    // A copy of a copy is one of the note too.
    let root = copy_by_name(&of).map(|copy| copy.of);
    Some(NamedCopy { program, is_conflict, of: root.unwrap_or(Some(of)) })
}

/// The names of which `stem` may be a copy, all without extension. Where a note of such a name lies in the same folder
/// and shares an id, this one gives way.
pub fn likely_copy_of(stem: &str) -> Vec<&str> {
    let rules = if may_be_likely(stem.as_bytes()) { LIKELY } else { &[] };
    let by_rule = rules.iter().filter_map(|rule| captured(rule.pattern, stem.as_bytes()));
    // The Linux client of OneDrive adds the name of the computer, which may have hyphens of its own.
    let by_word = stem.rmatch_indices('-').map(|(at, _)| 0..at).take_while(|plain| {
        let word = &stem[plain.end + 1..];
        !word.is_empty() && !word.contains(' ')
    });
    let mut names = Vec::new();
    for plain in by_rule.chain(by_word) {
        let name = stem[plain].trim_end();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A name without its `.md`, and the `.md`. The text behind the `.md` belongs to the first.
fn without_extension(name: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    const LEN: usize = ".md".len();
    let at = name.windows(LEN).rposition(|end| end.eq_ignore_ascii_case(b".md"))?;
    let (stem, extension) = (&name[..at], &name[at..at + LEN]);
    Some(match &name[at + LEN..] {
        [] => (Cow::Borrowed(stem), extension),
        rest => (Cow::Owned([stem, rest].concat()), extension),
    })
}

/// Whether a pattern for copies could match at all: a quick look that spares most names the table, in which each pattern
/// has one of these characters, with one of these beginnings of a word behind a dot or an underscore.
fn may_match(stem: &[u8]) -> bool {
    let begins = |at: usize, words: &[&[u8; 3]]| {
        let next = stem[at + 1..]
            .first_chunk::<3>()
            .map(|next| next.map(|byte| byte.to_ascii_lowercase()));
        next.is_some_and(|next| words.contains(&&next))
    };
    stem.iter().enumerate().any(|(at, byte)| match byte {
        b'(' | b'[' | b'~' | b'#' | b'\'' => true,
        b'.' => {
            stem.get(at + 1) == Some(&b'.')
                || begins(at, &[b"syn", b"con", b"tmp", b"ori", b"bas", b"bac", b"loc", b"rem"])
        }
        b'_' => begins(at, &[b"con", b"cas", b"bas", b"bac", b"loc", b"rem"]),
        // A curly apostrophe.
        0xE2 => stem[at..].starts_with("\u{2019}".as_bytes()),
        b'-' => begins(at, &[b"saf"]),
        _ => false,
    })
}

/// The same for the patterns of likely copies, which end in a number, a bracket, a word for copy or a letter beyond ASCII,
/// or begin with such a word.
fn may_be_likely(stem: &[u8]) -> bool {
    let ends = |word: &[u8]| {
        stem.len().checked_sub(word.len()).is_some_and(|at| stem[at..].eq_ignore_ascii_case(word))
    };
    let begins = |word: &[u8; 3]| {
        stem.first_chunk::<3>().is_some_and(|first| first.eq_ignore_ascii_case(word))
    };
    stem.last().is_some_and(|last| last.is_ascii_digit() || *last == b')' || !last.is_ascii())
        || ends(b"copy")
        || ends(b"opie")
        || ends(b"pia")
        || begins(b"cop")
        || begins(b"kop")
}

/// The range of `text` that the first `*` of a pattern stands for, if the pattern matches: the longest possible.
fn captured(pattern: &str, text: &[u8]) -> Option<Range<usize>> {
    let pattern = pattern.as_bytes();
    if !matches(pattern, text) {
        return None;
    }
    match pattern.iter().position(|byte| *byte == b'*')? {
        0 => (0..=text.len()).rev().find(|at| matches(&pattern[1..], &text[*at..])).map(|at| 0..at),
        // No pattern of this kind has another `*`.
        star => Some(star..text.len() - (pattern.len() - star - 1)),
    }
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let any_case = !pattern.iter().any(u8::is_ascii_uppercase);
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not match: one byte further.
    let mut again = None;
    loop {
        let step = match pattern.get(p) {
            None if t == text.len() => return true,
            None => None,
            Some(b'*') => {
                p += 1;
                again = Some((p, t));
                continue;
            }
            Some(b'9') => {
                let digits = text[t..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                match pattern.get(p + 1) {
                    _ if digits == 0 => None,
                    Some(b'+') => Some((2, digits)),
                    _ => Some((1, 1)),
                }
            }
            Some(wanted) => text
                .get(t)
                .filter(|byte| *byte == wanted || any_case && byte.to_ascii_lowercase() == *wanted)
                .map(|_| (1, 1)),
        };
        match (step, again) {
            (Some((in_pattern, in_text)), _) => (p, t) = (p + in_pattern, t + in_text),
            (None, Some((from, at))) if at < text.len() => {
                (p, t) = (from, at + 1);
                again = Some((p, t));
            }
            (None, _) => return false,
        }
    }
}

#[cfg(test)]
mod tests;
