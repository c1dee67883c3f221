//! What README.md shows is real, and docs/custom-jobs.md holds: its Rust is the example that is compiled, its YAML loads,
//! and its programs run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{PROGRAM, Sandbox};

/// The code blocks of the guide in that language, in order.
fn blocks(language: &str) -> Vec<String> {
    blocks_of("docs/custom-jobs.md", language)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn blocks_of(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
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

/// The example as `cargo test` builds it beside the tests; `None`, which is said, where only this test binary was asked for,
/// and the example is missing or older than its sources.
pub(crate) fn built_example(name: &str) -> Option<PathBuf> {
    let built = Path::new(PROGRAM).parent().unwrap().join("examples").join(name);
    let Ok(made) = fs::metadata(&built).and_then(|file| file.modified()) else {
        return not_built(name);
    };
    let mut folders = vec![root().join("src"), root().join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && entry.metadata().unwrap().modified().unwrap() > made
            {
                return not_built(name);
            }
        }
    }
    Some(built)
}

fn not_built(name: &str) -> Option<PathBuf> {
    say(&format!("not run: build it with `cargo build --example {name}`"));
    None
}

#[expect(clippy::print_stdout, reason = "a test that did not run says so")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Output without how long it took.
fn without_time(text: &str) -> String {
    let lines = text.lines().map(|line| line.split(" after ").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_readme_shows_what_a_sync_of_the_sample_vault_prints() {
    let sandbox = Sandbox::new("");
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(root().join("examples/vault")).arg(sandbox.path("sample"));
    assert!(copy.status().unwrap().success());
    let sync = |more: &[&str]| {
        let run = sandbox.run(&[&["run", "vault_sync", "--vault", "sample"], more].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        without_time(&run.stdout)
    };
    assert_eq!(sync(&[]), without_time(&blocks_of("README.md", "text")[0]));
    let note = sandbox.path("sample/summaries/2026-08-24-release-planning.md");
    let text = fs::read_to_string(&note).unwrap();
    fs::write(&note, text.replace("Wednesday", "Thursday")).unwrap();
    let edited =
        blocks_of("README.md", "console").into_iter().find(|block| block.contains("--explain"));
    // How many files are read again depends on how long ago they were copied.
    let lines = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("  ") || line.contains(" blocks_updated "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&sync(&["--explain"])), lines(&without_time(&edited.unwrap()))[1..]);
}

#[test]
fn the_readme_names_every_command_and_its_configuration_loads() {
    let sandbox = Sandbox::new("");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let help = sandbox.run(&["--help"]).stdout;
    let (_, commands) = help.split_once("tells more):\n").unwrap();
    let names = commands.lines().take_while(|line| !line.is_empty());
    let names: Vec<&str> = names.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(names.len() > 10, "{help}");
    for name in names {
        let rows = readme.lines().filter(|line| line.starts_with("| `"));
        let is_named =
            |row: &str| row.contains(&format!("`{name}`")) || row.contains(&format!("`{name} "));
        assert!({ rows }.any(is_named), "{name} is in no table of README.md");
    }
    sandbox.write("settings/aclarai.config.yaml", &blocks_of("README.md", "yaml")[0]);
    let jobs = sandbox.run(&["jobs", "--json"]).json(0);
    assert_eq!(
        (&jobs[0]["job_name"], &jobs[0]["runnable"]),
        (&"nightly_report".into(), &true.into())
    );
    for (code, page) in [(0, "done"), (1, "the job failed"), (130, "interrupted")] {
        assert!(readme.contains(&format!("| {code} | {page} |")), "{code}");
    }
}

#[test]
fn the_guides_rust_is_the_example_and_runs() {
    let shown =
        [include_str!("../../examples/custom_job.rs"), include_str!("../../examples/feed_job.rs")];
    assert_eq!(blocks("rust"), shown);
    assert!(include_str!("../../examples/custom_job.rs").lines().count() < 42);

    let Some(built) = built_example("custom_job") else { return };
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
    let expected = "error: scheduler.jobs.greet.names: invalid type: text, expected a sequence (";
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

/// A package like the Python service's, whose classes answer with what they were made of.
const PYTHON_SERVICE: &str = r#"
import os

def fails():
    raise ValueError("no concepts")

class Job:
    def __init__(self, config=None, graph=None):
        self.config = config or {"loaded": True}

    def run_job(self):
        print("working")
        if os.path.exists("broken"):
            fails()
        lost = ["claim 7", "claim 9"] if os.path.exists("lost") else []
        return {"success": not lost, "concepts": 3, "error_details": lost, "config": self.config}

class Greeter:
    def __init__(self, name, times=1, params=None):
        self.said = [name] * times, sorted(params)

    def run_job(self):
        return {"said": self.said}
"#;

#[test]
fn the_six_jobs_of_the_python_service_run_as_the_page_says() {
    if !has_python() {
        return;
    }
    let page = blocks_of("docs/moving-over.md", "yaml").remove(0);
    let runner = root().join("examples/python_job.py");
    let yaml = page.replace("/opt/python_job.py", runner.to_str().unwrap());
    let sandbox = Sandbox::new("");
    let yaml = yaml.replace("/opt/aclarai", sandbox.path("aclarai").to_str().unwrap());
    sandbox.configure(&yaml);
    let mut names = Vec::new();
    for line in page.lines().filter(|line| line.contains("aclarai_scheduler.")) {
        let class = line.split("aclarai_scheduler.").nth(1).unwrap().trim_end_matches(['"', ']']);
        let (module, class) = class.split_once(':').unwrap();
        let file = format!("aclarai/services/scheduler/aclarai_scheduler/{module}.py");
        sandbox.write(&file, &PYTHON_SERVICE.replace("class Job:", &format!("class {class}:")));
    }
    for line in page.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     ")) {
        names.push(line.trim().trim_end_matches(':').to_owned());
    }
    assert_eq!(names.len(), 6, "{names:?}");
    for name in &names {
        let result = sandbox.run(&["run", name, "--json"]).json(0);
        assert_eq!(
            (&result["concepts"], &result["success"]),
            (&3.into(), &true.into()),
            "{result}"
        );
        assert_eq!(result["config"], r#"{"loaded":true}"#);
    }
    sandbox.write("aclarai/lost", "");
    let result = sandbox.run(&["run", &names[0], "--json"]).json(1);
    assert_eq!((&result["concepts"], &result["success"]), (&3.into(), &false.into()), "{result}");
    assert_eq!(result["error"], "exit code 1: claim 7; claim 9");
    sandbox.write("aclarai/broken", "");
    let result = sandbox.run(&["run", &names[0], "--json"]).json(1);
    let error = result["error"].as_str().unwrap();
    assert!(
        error.contains("ValueError: no concepts\nTraceback (most recent call last):"),
        "{error}"
    );
    assert!(error.contains("concept_refresh.py") && error.contains("in fails"), "{error}");
}

#[test]
fn a_python_class_gets_the_parameters_that_it_asks_for() {
    if !has_python() {
        return;
    }
    let runner = root().join("examples/python_job.py");
    let sandbox = Sandbox::new(&format!(
        "scheduler: {{jobs: {{greet: {{command: [python3, -u, {runner:?}, 'greeting:Greeter'], name: Ada, times: 2, more: 1}}, \
         absent: {{command: [python3, -u, {runner:?}, 'nowhere:Job']}}}}}}"
    ));
    sandbox.write("greeting.py", PYTHON_SERVICE);
    let result = sandbox.run(&["run", "greet", "--json"]).json(0);
    assert_eq!(result["said"], r#"[["Ada","Ada"],["more","name","times"]]"#);
    let result = sandbox.run(&["run", "absent", "--json"]).json(1);
    let error = result["error"].as_str().unwrap();
    assert!(error.contains("ModuleNotFoundError: No module named 'nowhere'"), "{error}");
}

#[test]
fn the_readme_says_why_each_crate_is_here() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = manifest.split_once("\n[dependencies]\n").unwrap();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let crates: Vec<&str> = lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    assert!(crates.len() > 20, "{crates:?}");
    let (_, table) = readme.split_once("## Dependencies").unwrap();
    for name in &crates {
        assert!(table.contains(&format!("`{name}`")), "README.md does not say why {name} is here");
    }
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        for name in row.split('|').nth(1).unwrap().split(',') {
            let name = name.trim().trim_matches('`');
            assert!(crates.contains(&name), "README.md speaks of {name}, which is not here");
        }
    }
}
