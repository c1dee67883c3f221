//! What comes from outside is shown, and does nothing: on standard output, in the log, and in the last line of standard
//! error.

use crate::sandbox::Sandbox;

/// Turns the reading direction, begins a control sequence in one byte and in two, breaks the line in three ways, rings.
const HOSTILE: &str = "\u{202e}\u{2066}\u{9b}2J\u{1b}]0;x\u{7}\n\r\u{2028}\u{85}\u{200b}end";
const SHOWN: &str =
    "\\u{202e}\\u{2066}\\u{9b}2J\\u{1b}]0;x\\u{7}\\n\\r\\u{2028}\\u{85}\\u{200b}end";

/// Nothing but the line ends of the program's own lines acts.
#[track_caller]
fn assert_harmless(text: &str) {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(acts), "{text:?}");
}

#[test]
fn an_argument_is_repeated_escaped_in_the_last_line() {
    let sandbox = Sandbox::new("");
    for arguments in [
        &["run", HOSTILE][..],
        &["next", HOSTILE],
        &["history", HOSTILE],
        &["next", "--cron", HOSTILE],
        &["next", "--cron", "* * * * *", "--timezone", HOSTILE],
        &["next", "--cron", "* * * * *", "--from", HOSTILE],
        &["purge", "--older-than", HOSTILE],
        &["completions", HOSTILE],
        &["jobs", "--vault", HOSTILE, "--log-level", HOSTILE],
        &["jobs", "--config", HOSTILE],
        &[HOSTILE],
    ] {
        let run = sandbox.run(arguments);
        assert_harmless(&run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}");
    }
}

#[test]
fn a_vault_whose_name_would_act_is_shown_escaped_by_every_command() {
    let sandbox = Sandbox::new("");
    let vault = sandbox.path(HOSTILE);
    std::fs::create_dir(&vault).unwrap();
    let vault = vault.to_str().unwrap();
    for (arguments, code) in [
        (&["pause"][..], 0),
        (&["resume"], 0),
        (&["status"], 4),
        (&["install", "--user", "--dry-run"], 0),
    ] {
        let run = sandbox.run(&[arguments, &["--vault", vault]].concat());
        assert_harmless(&run.stdout);
        assert_harmless(&run.stderr);
        assert_eq!(run.code, Some(code), "{run:?}");
    }
    let paused = sandbox.run(&["pause", "--vault", vault]).stdout;
    assert_eq!(paused, format!("paused: created DIR/{SHOWN}/.aclarai_pause\n"));
    let json = sandbox.run(&["status", "--json", "--vault", vault]);
    assert_harmless(&json.stdout);
    assert_eq!(json.json(4)["paused"], format!("DIR/{HOSTILE}/.aclarai_pause").as_str());
}

#[test]
fn the_output_of_a_job_and_its_statistics_do_nothing_in_the_log_or_on_the_terminal() {
    let sandbox = Sandbox::new("");
    sandbox.write(
        "say.sh",
        &format!("printf '%s\\n' '{HOSTILE}'\nprintf '{{\"note\": \"%s\"}}\\n' '\u{202e}\u{9b}'"),
    );
    sandbox.configure(
        "scheduler: {jobs: {vault_sync: {enabled: false}, say: {enabled: false, command: [sh, say.sh], working_dir: .}}}",
    );
    for format in ["text", "json"] {
        for arguments in [&["run", "say"][..], &["run", "say", "--json"]] {
            let run = sandbox.run(&[arguments, &["--log-format", format]].concat());
            assert_eq!(run.code, Some(0), "{run:?}");
            assert_harmless(&run.stdout);
            assert_harmless(&run.stderr);
        }
    }
    let run = sandbox.run(&["run", "say", "--json"]);
    assert_eq!(run.json(0)["note"], "\u{202e}\u{9b}");
}
