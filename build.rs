//! Tells the program when it was built, and which commit it is built from, for `--version`: `ACLARAI_COMMIT` where that is set, else what a
//! package of this crate says of itself, else what git says. Where nothing is known, the version goes without.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where it builds"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ACLARAI_COMMIT");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // A clock that shows an earlier time is certainly wrong.
    if let Some(built) = env::var("SOURCE_DATE_EPOCH").ok().or_else(|| commit_time(&root)) {
        println!("cargo::rustc-env=ACLARAI_BUILT={built}");
    }
    // In a build for development, each commit would have everything compiled anew.
    if env::var_os("ACLARAI_COMMIT").is_some() || env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    if let Some(commit) = of_package(&root).or_else(|| of_git(&root)) {
        println!("cargo::rustc-env=ACLARAI_COMMIT={commit}");
    }
}

/// `cargo package` leaves a note of the commit in what it packs.
fn of_package(root: &Path) -> Option<String> {
    let note = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = note.split_once("\"sha1\": \"")?;
    Some(rest.chars().take_while(char::is_ascii_hexdigit).take(9).collect())
}

/// Only where this folder is the top of the repository: sources that lie in somebody else's are not of its commit.
fn of_git(root: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(root).ok()? {
        return None;
    }
    // It grows with each commit and each checkout.
    let log = root.join(git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    git(&["rev-parse", "--short=9", "HEAD"])
}

/// When the last commit was made, in seconds since 1970.
fn commit_time(root: &Path) -> Option<String> {
    let output =
        Command::new("git").arg("-C").arg(root).args(["log", "-1", "--format=%ct"]).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?.trim().to_owned();
    text.parse::<i64>().is_ok().then_some(text)
}
