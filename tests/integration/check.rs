//! What `check` finds before a run has to: commands that cannot start, places that are wrong, a vault without markers.

use std::fs;

use crate::sandbox::Sandbox;

/// All messages of `check` under one name.
fn said(sandbox: &Sandbox, arguments: &[&str], name: &str) -> Vec<String> {
    let run = sandbox.run(&[&["check", "--json"], arguments].concat());
    let lines: serde_json::Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    let of_name = lines.as_array().unwrap().iter().filter(|line| line["name"] == name);
    of_name
        .map(|line| {
            format!("{}: {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap())
        })
        .collect()
}

#[track_caller]
fn one_with(lines: &[String], part: &str) {
    assert_eq!(lines.iter().filter(|line| line.contains(part)).count(), 1, "{part} in {lines:?}");
}

#[test]
fn check_tells_which_commands_cannot_start_and_which_may_hang() {
    let sandbox = Sandbox::new(
        "scheduler:\n  jobs:\n    script: {enabled: true, command: [./script], working_dir: .}\n    whole: {command: ['echo a b']}\n    \
         fine: {enabled: true, timeout: 5 min, command: [ls, $HOME], on_failure: [no-such-mailer, x]}\n    after: {enabled: true, \
         after: fine, command: [ls], timeout: 1 h}\n",
    );
    sandbox.write("script", "#!/bin/sh\r\necho\r\n");
    let chmod = |mode| {
        fs::set_permissions(
            sandbox.path("script"),
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )
    };
    chmod(0o755).unwrap();
    one_with(&said(&sandbox, &[], "job.script"), "error: ./script: its #! line ends in CR LF");
    one_with(
        &said(&sandbox, &[], "job.script"),
        "ok: no timeout: a run that hangs keeps its worker for ever",
    );
    one_with(&said(&sandbox, &[], "job.whole"), "error: the whole command is one text");
    one_with(&said(&sandbox, &[], "job.fine"), "warning: argument 1 holds a $ with a name");
    one_with(&said(&sandbox, &[], "job.fine"), "ok: 0 2 * * *: next at ");
    one_with(&said(&sandbox, &[], "job.fine.on_failure"), "error: not found: no-such-mailer");
    assert_eq!(said(&sandbox, &[], "job.after"), ["ok: after fine"]);
}

#[test]
fn check_tells_of_places_that_cannot_be_or_should_not_be() {
    let mut sandbox = Sandbox::new("databases: {embedded: {path: FILE/deep/graph.db}}\n");
    let settings = "settings/aclarai.config.yaml";
    let text = fs::read_to_string(sandbox.path(settings)).unwrap();
    sandbox.write("a-file", "");
    sandbox.write(settings, &text.replace("FILE", &sandbox.path("a-file").display().to_string()));
    one_with(&said(&sandbox, &[], "graph"), "error: ");
    // To root even this looks writable.
    sandbox.write(settings, &text.replace("FILE/deep", "/proc/nowhere"));
    let check = sandbox.run(&["check"]);
    assert_eq!(check.code, Some(4), "{check:?}");
    assert!(check.stdout.contains("not there yet, and /proc cannot be written"), "{check:?}");
    let state = said(&sandbox, &["--state-dir", "/proc/nowhere"], "state");
    one_with(&state, "error: /proc: ");
    let inside = sandbox.path("vault/state").display().to_string();
    one_with(&said(&sandbox, &["--state-dir", &inside], "state"), "lies in the vault");
    // Each of the two is told to be moved by the setting that moves it.
    one_with(&said(&sandbox, &["--state-dir", &inside], "state"), "another place with --state-dir");
    sandbox.write(settings, &text.replace("FILE/deep", &inside));
    let graph = said(&sandbox, &[], "graph");
    assert!(
        graph.iter().any(|line| line.ends_with("place with databases.embedded.path")),
        "{graph:?}"
    );
    sandbox.variable("AUTOMATION_PAUSE", "true");
    one_with(&said(&sandbox, &[], "pause"), "take the variable out; `resume` does not reach it");
}

#[test]
fn check_shows_a_marker_to_whoever_has_none_and_counts_what_is_left_out() {
    let sandbox =
        Sandbox::new("scheduler: {jobs: {vault_sync: {ignore: ['templates/', '*.tmp.md']}}}\n");
    sandbox.write("vault/notes/a.md", "# An ordinary note\n");
    sandbox.write("vault/templates/t.md", "x\n");
    let markers = said(&sandbox, &[], "vault.markers");
    one_with(&markers, "warning: no marker in any of the 1 notes");
    one_with(&markers, "<!-- aclarai:id=blk_1 ver=1 -->");
    one_with(&markers, "docs/first-steps.md");
    one_with(&said(&sandbox, &[], "vault.ignored"), "ok: 1 note left out by `templates/`");
    sandbox.write("vault/notes/b.md", "A claim. <!-- aclarai:id=blk_1 ver=1 -->\n^blk_1\n");
    assert_eq!(said(&sandbox, &[], "vault.markers"), [""; 0]);
}
