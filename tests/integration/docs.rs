//! docs/custom-jobs.md holds: its Rust is the example that is compiled, its YAML loads, and its programs run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{PROGRAM, Sandbox};

/// The code blocks of that language, in order.
fn blocks(language: &str) -> Vec<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/custom-jobs.md");
    let text = fs::read_to_string(guide).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{language}") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push(block.join("\n") + "\n");
        }
    }
    found
}

/// Whether this machine has Python; a test that cannot run says so.
fn has_python() -> bool {
    let found =
        Command::new("python3").arg("--version").output().is_ok_and(|run| run.status.success());
    if !found {
        say("not run: there is no python3 here");
    }
    found
}

/// The example as `cargo test` builds it beside the tests; `None` where only this test binary was asked for, and the
/// example is missing or older than its sources.
fn built_example() -> Option<PathBuf> {
    let built = Path::new(PROGRAM).parent().unwrap().join("examples/custom_job");
    let made = fs::metadata(&built).and_then(|file| file.modified()).ok()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && entry.metadata().unwrap().modified().unwrap() > made
            {
                return None;
            }
        }
    }
    Some(built)
}

#[expect(clippy::print_stdout, reason = "a test that did not run says so")]
fn say(line: &str) {
    println!("{line}");
}

#[test]
fn the_guides_rust_is_the_example_and_runs() {
    assert_eq!(blocks("rust"), [include_str!("../../examples/custom_job.rs")]);
    assert!(include_str!("../../examples/custom_job.rs").lines().count() < 40);

    let Some(built) = built_example() else {
        say("not run: build it with `cargo build --example custom_job`");
        return;
    };
    let sandbox = Sandbox::new(&blocks("yaml")[1]);
    let run = |arguments: &[&str]| {
        let output = sandbox.program(built.to_str().unwrap(), arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, stdout, stderr) = run(&["run", "greet", "--json", "--log-format", "json"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains(r#""success":true"#) && stdout.contains(r#""items_processed":2"#),
        "{stdout}"
    );
    assert!(stderr.contains("good morning, Grace"), "{stderr}");
    let (code, _, stderr) = run(&["run", "greet_late", "--log-format", "json"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("hi, Edsger"), "{stderr}");

    sandbox.configure(&blocks("yaml")[1].replace("[Ada, Grace]", "Ada"));
    let (code, _, stderr) = run(&["run", "greet"]);
    let expected =
        "error: scheduler.jobs.greet.names: invalid type: string \"Ada\", expected a sequence (";
    assert!(code == Some(2) && stderr.starts_with(expected), "{stderr}");
    // A program of another crate supervises its command jobs itself.
    sandbox.configure("scheduler: {jobs: {echo: {command: [echo, '{\"n\": 1}']}}}\n");
    let (code, stdout, stderr) = run(&["run", "echo", "--json"]);
    assert!(code == Some(0) && stdout.contains(r#""n":1"#), "{stdout}{stderr}");
}

#[test]
fn the_guides_program_runs() {
    if !has_python() {
        return;
    }
    let sandbox = Sandbox::new(&blocks("yaml")[0]);
    sandbox.write("reports/report.py", &blocks("python")[0]);
    sandbox.write("vault/summaries/a.md", "text");
    sandbox.write("vault/summaries/b.txt", "text");
    let run = sandbox.run(&["run", "nightly_report", "--json"]);
    assert_eq!(run.json(0)["items_processed"], 1);
    assert!(run.stderr.contains("counted in DIR/vault"), "{}", run.stderr);
}

#[test]
fn a_job_of_the_python_service_runs_unchanged() {
    if !has_python() {
        return;
    }
    let sandbox = Sandbox::new(&blocks("yaml")[2]);
    sandbox.write("python/my_custom_job_main.py", &blocks("python")[1]);
    let job = |result: &str| {
        let code = format!(
            "class MyCustomJob:\n    def __init__(self, config=None):\n        self.config = config\n\n    \
             def run_job(self):\n        return {result}\n"
        );
        sandbox.write("python/my_custom_job.py", &code);
        // Python keeps what it compiled, and two versions of one second look the same to it.
        let _ = fs::remove_dir_all(sandbox.path("python/__pycache__"));
        sandbox.run(&["run", "my_custom_job", "--json"])
    };
    let done = job("{'success': True, 'items_processed': 42, 'duration': 2.1}").json(0);
    assert_eq!((&done["success"], &done["items_processed"]), (&true.into(), &42.into()));
    let failed = job("{'success': False, 'error': 'no such graph'}").json(1);
    assert_eq!(failed["success"], false);
    assert_eq!(failed["error"], "exit code 1: no such graph");
}
