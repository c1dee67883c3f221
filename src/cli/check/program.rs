//! Whether a program could be started, as far as that can be seen without starting it, and whether its arguments look
//! like those of a shell, which there is none of. No argument is repeated: a secret may be among them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::CommandSpec;
use crate::finding::Level;
use crate::text::visible;

/// How much of a file is looked at: the kernel reads no longer first line.
const HEAD_BYTES: usize = 256;

/// The faults of a command, the worst first.
pub(super) fn look(command: &CommandSpec) -> Vec<(Level, String)> {
    let mut found = Vec::new();
    if let Some(fault) = fault(command) {
        found.push((Level::Error, fault));
    }
    let shell = command.argv.first().is_some_and(|program| expands(program));
    if !shell && let Some((at, what)) = shell_words(&command.argv) {
        let message = format!(
            "argument {at} {what}, which only a shell understands, and there is none: write what it stands for, or \
             command: [\"sh\", \"-c\", \"...\"]"
        );
        found.push((Level::Warning, message));
    }
    for (name, value) in &command.env {
        if let Some(what) = shell_word(value) {
            let message = format!(
                "env.{} {what}, which nothing fills in here: write what it stands for",
                visible(name)
            );
            found.push((Level::Warning, message));
        }
    }
    found
}

/// Why the program could not be started.
fn fault(command: &CommandSpec) -> Option<String> {
    let folder = command.working_dir.as_deref();
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Some(format!("working_dir {}: no such folder", folder.display()));
    }
    let program = command.argv.first()?;
    let shown = visible(program);
    match find(program, command) {
        Ok(path) => unstartable(&path, command).map(|why| format!("{shown}: {why}")),
        Err(_) if command.argv.len() == 1 && program.contains(char::is_whitespace) => Some(
            "the whole command is one text, and no shell takes it apart: write the program and each argument as an \
             item of the list"
                .to_owned(),
        ),
        Err(_) if program.starts_with('~') => {
            Some(format!("not found: {shown}: ~ is no folder here: write the whole path"))
        }
        Err(why) => Some(why),
    }
}

/// The file that would be started.
fn find(program: &str, command: &CommandSpec) -> Result<PathBuf, String> {
    let shown = visible(program);
    if program.contains('/') {
        let path = command.working_dir.as_deref().unwrap_or(Path::new("")).join(program);
        return if is_program(&path) {
            Ok(path)
        } else if path.is_file() {
            Err(format!("not executable: {shown} (chmod +x it)"))
        } else if path.exists() {
            Err(format!("{shown} is no file, but a folder or a device: name the program"))
        } else {
            Err(format!("not found: {shown}"))
        };
    }
    let path = command.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"));
    let path = path.unwrap_or_default();
    let mut folders = path.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
    folders
        .find_map(|folder| Some(Path::new(folder).join(program)).filter(|path| is_program(path)))
        .ok_or_else(|| {
            format!("not found: {shown} (in no folder of PATH; write its full path in command)")
        })
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// Why the kernel would refuse an executable file. One that cannot be read may still be one that it takes.
fn unstartable(path: &Path, command: &CommandSpec) -> Option<String> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(HEAD_BYTES as u64).read_to_end(&mut head).ok()?;
    let script = match &head[..] {
        [] => return Some("the file is empty: write the program into it".to_owned()),
        [0xEF, 0xBB, 0xBF, ..] => {
            let remedy = "save the file as UTF-8 without it";
            return Some(format!(
                "it begins with a byte order mark, so that #! is not seen: {remedy}"
            ));
        }
        [b'#', b'!', script @ ..] => script,
        // Text that says nothing of who reads it. Anything else the kernel may know.
        text if !text.contains(&0) && std::str::from_utf8(text).is_ok() => {
            let remedy = "begin it with #!/bin/sh or another interpreter, or name that in command";
            return Some(format!("no #! in its first line: {remedy}"));
        }
        _ => return None,
    };
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        let remedy = "save the file with the line ends of Unix (dos2unix)";
        return Some(format!(
            "its #! line ends in CR LF, so that no interpreter has this name: {remedy}"
        ));
    }
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let Some(interpreter) = words.next() else {
        return Some("its #! names no interpreter: write one, such as #!/bin/sh".to_owned());
    };
    let missing = |name: &str| {
        Some(format!(
            "its interpreter {} is not here: install it, or correct the #! line",
            visible(name)
        ))
    };
    if !is_program(Path::new(interpreter)) {
        return missing(interpreter);
    }
    let is_env = Path::new(interpreter).file_name() == Some(OsStr::new("env"));
    let called =
        words.next().filter(|word| is_env && !word.starts_with('-') && !word.contains('='));
    called.filter(|name| find(name, command).is_err()).and_then(missing)
}

/// Whether `$` and the like mean something to a program.
fn expands(program: &str) -> bool {
    const NAMES: [&str; 21] = [
        "sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "busybox", "awk", "gawk", "mawk", "sed",
        "perl", "ruby", "jq", "envsubst", "ssh", "make", "php", "node", "grep",
    ];
    let name = Path::new(program).file_name().unwrap_or_default();
    NAMES.iter().any(|known| name == OsStr::new(known))
}

/// The first argument that only a shell would understand, counted from 1, and what is in it.
fn shell_words(argv: &[String]) -> Option<(usize, &'static str)> {
    argv.iter().enumerate().skip(1).find_map(|(at, word)| Some((at, shell_word(word)?)))
}

fn shell_word(word: &str) -> Option<&'static str> {
    let names_variable = |(at, _): (usize, &str)| {
        let behind = word[at + 1..].chars().next();
        behind.is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '('))
    };
    if word == "~" || word.starts_with("~/") {
        Some("begins with ~")
    } else if word.match_indices('$').any(names_variable) {
        Some("holds a $ with a name")
    } else if ["|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1"].contains(&word) {
        Some("is a sign of a shell")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn said(argv: &[&str], env: &[(&str, &str)]) -> Vec<String> {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let command = CommandSpec {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            working_dir: None,
            env: env.iter().map(text).collect::<BTreeMap<_, _>>(),
        };
        look(&command).into_iter().map(|(_, message)| message).collect()
    }

    #[test]
    fn a_script_that_the_kernel_would_refuse_is_told_why() {
        let folder = tempfile::tempdir().unwrap();
        let script = |text: &[u8], mode| {
            let path = folder.path().join("script");
            let _ = fs::remove_file(&path);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let path = path.display().to_string();
            let by_path = said(&[&path], &[]);
            let place = folder.path().display().to_string();
            let by_name = said(&["script"], &[("PATH", &format!("/none:{place}"))]);
            match (&by_path[..], &by_name[..]) {
                ([], []) => "nothing".to_owned(),
                ([one], [other]) if mode & 0o100 != 0 => {
                    assert_eq!(one.replace(&path, "script"), *other);
                    other.clone()
                }
                _ => by_path.join(" "),
            }
        };
        for (text, expected) in [
            (&b"echo hi\n"[..], "script: no #! in its first line"),
            (b"#!/bin/sh\r\necho hi\r\n", "script: its #! line ends in CR LF"),
            (b"#!/no/such\n", "script: its interpreter /no/such is not here"),
            (
                b"#!/usr/bin/env no-such-program\n",
                "script: its interpreter no-such-program is not here",
            ),
            (b"\xef\xbb\xbf#!/bin/sh\n", "script: it begins with a byte order mark"),
            (b"", "script: the file is empty"),
            (b"#!\n", "script: its #! names no interpreter"),
            (b"#! /bin/sh -e\necho hi\n", "nothing"),
            (b"\x7fELF\0\0", "nothing"),
        ] {
            let found = script(text, 0o755);
            assert!(found.starts_with(expected), "{expected}: {found}");
        }
        assert!(script(b"#!/bin/sh\n", 0o644).contains("not executable"));
    }

    #[test]
    fn a_command_line_of_a_shell_is_recognised_and_not_repeated() {
        let one = |argv: &[&str], expected: &str| {
            let found = said(argv, &[]);
            assert!(matches!(&found[..], [line] if line.contains(expected)), "{argv:?}: {found:?}");
            assert!(!found[0].contains("hunter2"), "{found:?}");
        };
        one(&["echo a hunter2"], "the whole command is one text");
        one(&["~/bin/report"], "~ is no folder here");
        one(&["/bin/ls", "~/notes"], "argument 1 begins with ~");
        one(&["/bin/ls", "-l", "$HOME/hunter2"], "argument 2 holds a $ with a name");
        one(&["/bin/ls", "${HOME}"], "argument 1 holds a $");
        one(&["/bin/ls", "hunter2", "|", "wc"], "argument 2 is a sign of a shell");
        one(&["no-such-program"], "in no folder of PATH");
        for quiet in [&["/bin/sh", "-c", "echo $HOME | wc"][..], &["/bin/ls", "a$", "$1", "x~y"]] {
            assert_eq!(said(quiet, &[]), [""; 0], "{quiet:?}");
        }
        let of_env = said(&["/bin/ls"], &[("PATH", "$PATH:/opt/bin")]);
        assert!(of_env[0].contains("env.PATH holds a $ with a name"), "{of_env:?}");
    }
}
