//! Makes the troubleshooting page HTML for the page that the program serves, and lays out a release. Tells the
//! program when it was built, and which commit it is built from, for `--version`: `ACLARAI_COMMIT` where that is set, else
//! what a package of this crate says of itself, else what git says. Where nothing is known, the version goes without.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

fn main() {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where it builds"));
    println!("cargo::rerun-if-changed=build.rs");
    troubleshooting(&root);
    lay_out(&root);
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

/// Lays the release program out for the disk and for memory. The static build says the same in `.cargo/config.toml`.
///
/// Code that an idle daemon does not run stands apart: 0.9 MB of memory. Relocations are packed: 15,000 places that hold an
/// address are told of in a few bits each, a third of a megabyte. The system's loader understands that from glibc 2.36 on
/// (2022); a program that is built where there is an older one goes without.
fn lay_out(root: &Path) {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    let is_ours = target == "x86_64-unknown-linux-gnu" && variable("HOST") == target;
    if !is_ours || variable("PROFILE") != "release" {
        return;
    }
    let seldom = root.join(".cargo/seldom.ld");
    println!("cargo::rerun-if-changed={}", seldom.display());
    if seldom.exists() {
        println!("cargo::rustc-link-arg=-Wl,-T,{}", seldom.display());
    }
    let Ok(asked) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return };
    let version = String::from_utf8_lossy(&asked.stdout).into_owned();
    let minor = version.trim().strip_prefix("glibc 2.").and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= 36) {
        println!("cargo::rustc-link-arg=-Wl,-z,pack-relative-relocs");
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

/// `docs/troubleshooting.md` as HTML, each heading with a place to link to; and a table of the headings that quote a message,
/// with their places.
fn troubleshooting(root: &Path) {
    let file = root.join("docs/troubleshooting.md");
    println!("cargo::rerun-if-changed={}", file.display());
    let text = fs::read_to_string(&file).expect("the package holds docs/troubleshooting.md");
    let events: Vec<Event<'_>> = Parser::new_ext(&text, Options::ENABLE_TABLES).collect();
    let mut places = Vec::new();
    let mut shown = Vec::new();
    for (at, event) in events.iter().enumerate() {
        shown.push(match event {
            Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
                let words = |event: &Event<'_>| match event {
                    Event::Text(words) | Event::Code(words) => words.to_string(),
                    _ => String::new(),
                };
                let inside = events[at + 1..].iter();
                let inside =
                    inside.take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
                let heading: String = inside.map(words).collect();
                let place = anchor(&heading);
                if matches!(events.get(at + 1), Some(Event::Code(_))) {
                    places.push((heading, place.clone()));
                }
                let id = Some(CowStr::from(place));
                Event::Start(Tag::Heading {
                    level: *level,
                    id,
                    classes: classes.clone(),
                    attrs: attrs.clone(),
                })
            }
            // The other pages are not inside the program.
            Event::Start(Tag::Link { dest_url, .. }) if !dest_url.starts_with('#') => continue,
            Event::End(TagEnd::Link) if leads_elsewhere(&events[..at]) => continue,
            event => event.clone(),
        });
    }
    let mut page = String::new();
    html::push_html(&mut page, shown.into_iter());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write"));
    fs::write(out.join("troubleshooting.html"), page).expect("cargo's folder can be written");
    fs::write(out.join("troubleshooting.rs"), format!("&{places:?}"))
        .expect("cargo's folder can be written");
}

/// Whether the link that is open here leads to another page.
fn leads_elsewhere(events: &[Event<'_>]) -> bool {
    let opened = events.iter().rev().find_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url),
        _ => None,
    });
    opened.is_some_and(|target| !target.starts_with('#'))
}

/// The place of a heading, as GitHub names it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
