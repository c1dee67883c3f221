//! The messages about a wrong file, word for word.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn case(yaml: &str, expected: &[&str]) {
    let found = match read(yaml, &[]) {
        Ok(_) => "nothing wrong".to_owned(),
        Err(faults) => faults.to_string(),
    };
    assert_eq!(found, expected.join("\n"), "in\n{yaml}");
}

/// One setting, found on line 1 as the files here are.
#[track_caller]
fn one(path: &str, value: &str, message: &str) {
    let mut yaml: String = path.split('.').map(|key| format!("{{{key}: ")).collect();
    yaml += value;
    yaml += &"}".repeat(path.split('.').count());
    case(&yaml, &[&format!("{path}: {message} (c.yaml:1)")]);
}

#[test]
fn every_fault_is_named_at_once_from_top_to_bottom() {
    case(
        "paths:\n  vault: 5\nscheduler:\n  workers: 0\n  jobs:\n    vault_sync:\n      cron: \"61 * * * *\"\n      \
         enabled: \"yes\"\n    other:\n      timeout: -1\n      retries: {max_atempts: 2}\nlogging: {level: loud}\n",
        &[
            "paths.vault: 5: write text; here it needs quotes (c.yaml:2)",
            "scheduler.workers: 0: write a whole number from 1 to 64 (c.yaml:4)",
            "scheduler.jobs.vault_sync.cron: \"61 * * * *\": minute 61 is outside 0-59 (c.yaml:7)",
            "scheduler.jobs.vault_sync.enabled: \"yes\": write true or false, without quotes (c.yaml:8)",
            "scheduler.jobs.other.timeout: -1: time cannot be negative (c.yaml:10)",
            "scheduler.jobs.other.retries.max_atempts: there is no such setting: did you mean max_attempts? (c.yaml:11)",
            "logging.level: \"loud\": write DEBUG, INFO, WARNING, ERROR or CRITICAL (c.yaml:12)",
        ],
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_told_what_to_be() {
    one("paths", "[1]", "a list: write a mapping: one `key: value` a line, indented");
    one("paths.vault", "[/vault]", "a list: write text");
    one("paths.vault", "''", "\"\": write a path");
    one("paths.vault", "true", "true: write text; here it needs quotes");
    one("paths.vault", "\"a\\0b\"", "\"a\\0b\": take out the NUL character");
    one("databases.graph", "sqlite", "\"sqlite\": write embedded or neo4j");
    one("databases.neo4j.port", "\"7687\"", "\"7687\": write a whole number from 1 to 65535");
    one("databases.neo4j.port", "70000", "70000: write a whole number from 1 to 65535");
    one("databases.neo4j.database", "' '", "\" \": write the name of a database, or null");
    one("databases.neo4j.password", "[hunter2]", "write text");
    one("databases.neo4j.password", "123", "write text; here it needs quotes");
    one("databases.neo4j.host", "[db]", "a list: write text");
    one(
        "databases.neo4j.host",
        "'db:7688'",
        "the port has its own setting, databases.neo4j.port or NEO4J_BOLT_PORT",
    );
    one("databases.neo4j.uri", "'bolt://db:x'", "the port must be a number from 1 to 65535");
    one(
        "scheduler.timezone",
        "Europe/Berlim",
        "unknown time zone \"Europe/Berlim\": did you mean \"Europe/Berlin\"?",
    );
    one("scheduler.workers", "2.5", "2.5: write a whole number from 1 to 64");
    one(
        "scheduler.workers",
        "99999999999999999999999",
        "99999999999999999999999: write a whole number from 1 to 64",
    );
    one("scheduler.workers", "-1", "-1: write a whole number from 1 to 64");
    one("scheduler.shutdown_grace_time", "1e300", "1e300: at most 3153600000 seconds (100 years)");
    one(
        "scheduler.shutdown_grace_time",
        "soon",
        "\"soon\": write seconds (300) or a number with a unit (5 min, 1.5 h, 7 d)",
    );
    one(
        "scheduler.shutdown_grace_time",
        "!!binary xx",
        "\"xx\": write seconds (300) or a number with a unit (5 min, 1.5 h, 7 d)",
    );
    one("scheduler.history_days", "36501", "36501: write a whole number from 0 to 36500");
    one("scheduler.job_defaults.coalesce", "'yes'", "\"yes\": write true or false, without quotes");
    one("scheduler.job_defaults.coalesce", "1", "1: write true or false");
    one("scheduler.job_defaults.max_instances", "0", "0: write a whole number from 1 to 1000");
    one("scheduler.job_defaults.overlap", "wait", "\"wait\": write skip or queue");
    one("scheduler.job_defaults.jitter", "0.5", "0.5: write whole seconds");
    one("scheduler.job_defaults.timeout", "0", "0: write more than 0, or null for no limit");
    one("scheduler.job_defaults.retries.backoff_factor", "-2", "-2: write a number from 0 to 1000");
    one("processing.retries.max_attempts", "0", "0: write a whole number from 1 to 1000");
    one("logging.level", "!level INFO", "a value tagged !level: write text");
}

#[test]
fn a_job_is_told_what_to_be() {
    let one = |key: &str, value: &str, message: &str| {
        one(&format!("scheduler.jobs.a.{key}"), value, message)
    };
    one("cron", "5", "5: write text; here it needs quotes");
    one("cron", "'61 * * * *'", "\"61 * * * *\": minute 61 is outside 0-59");
    one(
        "command",
        "python3 -u report.py",
        "one line of text, and no shell takes it apart here: write the program and its arguments as a list, such as \
         [\"python3\", \"report.py\", \"--quiet\"]",
    );
    one(
        "command",
        "[]",
        "a list: the list is empty: write the program and its arguments as a list, such as [\"python3\", \"report.py\", \"--quiet\"]",
    );
    one(
        "command",
        "['']",
        "a list: the program has no name: write the program and its arguments as a list, such as [\"python3\", \"report.py\", \"--quiet\"]",
    );
    one("command", "[sleep, !x 1.5]", "a list: item 2: write text");
    one("command", "[echo, [hunter2]]", "a list: item 2: write text");
    one("env", "[API_KEY=hunter2]", "a list: write a mapping: one `key: value` a line, indented");
    one("env.API_KEY", "", "nothing is written: write \"\" for an empty text");
    one("env.API_KEY", "[1]", "write text");
    one("env.A=B", "x", "this cannot be the name of a variable");
    one("working_dir", "''", "\"\": write a path");
    case(
        "scheduler: {jobs: [a]}",
        &["scheduler.jobs: a list: write a mapping: one `key: value` a line, indented (c.yaml:1)"],
    );
    case(
        "scheduler:\n  jobs:\n    7: {}\n    'a b': {}\n    -n: {}\n    '': {}\n    \"a\\nb\": {}\n    \"a\\eb\": {}\n",
        &[
            "scheduler.jobs.7: a job's name is text: put it in quotes (c.yaml:3)",
            "scheduler.jobs.a b: a job's name has no white space: write _ instead (c.yaml:4)",
            "scheduler.jobs.-n: a job's name cannot begin with -, which begins an option on the command line (c.yaml:5)",
            "scheduler.jobs.: a job needs a name (c.yaml:6)",
            "scheduler.jobs.a\\nb: a job's name has no white space: write _ instead (c.yaml:7)",
            "scheduler.jobs.a\\u{1b}b: a job's name has no control characters: take them out (c.yaml:8)",
        ],
    );
}

#[test]
fn a_job_follows_one_that_there_is_and_not_itself() {
    case(
        "scheduler:\n  jobs:\n    a: {after: b}\n    b: {after: {job: c}}\n    c: {after: a}\n    d: {after: d}\n    e: \
         {after: vault_snyc}\n    f: {after: nobody}\n    g: {after: a}\n    h: {after: {job: a, on: end}}\n    i: {after: \
         [a, b]}\n    j: {after: {jobs: a}}\n",
        &[
            "scheduler.jobs.a.after: a circle, which never starts: a after b after c after a (c.yaml:3)",
            "scheduler.jobs.b.after: a circle, which never starts: b after c after a after b (c.yaml:4)",
            "scheduler.jobs.c.after: a circle, which never starts: c after a after b after c (c.yaml:5)",
            "scheduler.jobs.d.after: a circle, which never starts: d after d (c.yaml:6)",
            "scheduler.jobs.e.after: \"vault_snyc\": there is no such job: did you mean vault_sync? (c.yaml:7)",
            "scheduler.jobs.f.after: \"nobody\": there is no such job: write the name of a job in scheduler.jobs (c.yaml:8)",
            "scheduler.jobs.h.after: a mapping: on: write success, failure or any (c.yaml:10)",
            "scheduler.jobs.i.after: a list: write the name of a job, or {job: NAME, on: success} (c.yaml:11)",
            "scheduler.jobs.j.after: a mapping: write the name of a job, or {job: NAME, on: success} (c.yaml:12)",
        ],
    );
}

#[test]
fn an_unknown_key_of_ours_is_refused() {
    case(
        "scheduler:\n  worker: 3\n  Timezone: UTC\n  colour: red\n",
        &[
            "scheduler.worker: there is no such setting: did you mean workers? (c.yaml:2)",
            "scheduler.Timezone: there is no such setting: did you mean timezone? (c.yaml:3)",
            "scheduler.colour: there is no such setting; there are timezone, workers, shutdown_grace_time, history_days, \
         watch_config, on_fault, pause_file, sandbox, listen, listen_hosts, lease, job_defaults, jobs (c.yaml:4)",
        ],
    );
    // A job's own parameters are the job's business, but this is none of vault_sync.
    assert!(read("scheduler: {jobs: {vault_sync: {enabeld: true, colour: red}}}", &[]).is_ok());
    case(
        "scheduler: {job_defaults: {enabled: true, 5: 6}}",
        &[
            "scheduler.job_defaults.enabled: there is no such setting; there are misfire_grace_time, coalesce, \
         max_instances, overlap, jitter, timeout, retries, rerun_interrupted, on_failure, on_recovery, on_success, notify_every, \
         keep_output, keep_output_bytes (c.yaml:1)",
            "scheduler.job_defaults.5: there is no such setting; there are misfire_grace_time, coalesce, max_instances, \
         overlap, jitter, timeout, retries, rerun_interrupted, on_failure, on_recovery, on_success, notify_every, keep_output, \
         keep_output_bytes (c.yaml:1)",
        ],
    );
}

#[test]
fn a_key_given_twice_is_refused_where_it_is_ours() {
    case(
        "scheduler:\n  jobs:\n    a: {cron: '0 1 * * *'}\n    b: {}\n    a: {cron: '0 24 * * *'}\n  workers: 0\n",
        &[
            "scheduler.jobs.a: given twice, on lines 3 and 5: keep one (c.yaml:5)",
            "scheduler.jobs.a.cron: \"0 24 * * *\": hour 24 is outside 0-23 (c.yaml:5)",
            "scheduler.workers: 0: write a whole number from 1 to 64 (c.yaml:6)",
        ],
    );
    case(
        "paths: {}\npaths: {vault: /a}\n",
        &["paths: given twice, on lines 1 and 2: keep one (c.yaml:2)"],
    );
    let foreign = "plugins: {a: 1, a: 2}\nplugins: 3\ndatabases: {postgres: {host: a, host: b}}\nmodel: !x {1: 2}\n\
                   paths: {settings: 1, settings: 2}\n";
    case(foreign, &["paths.settings: given twice, on lines 5 and 5: keep one (c.yaml:5)"]);
}

#[test]
fn text_that_is_no_yaml_is_one_line_with_line_and_column() {
    let broken = |yaml: &str, place: &str, what: &str| {
        case(yaml, &[&format!("c.yaml:{place}: broken YAML: {what}")]);
    };
    broken(
        "a: b: c\n",
        "1:5",
        "mapping values are not allowed in this context: put a value that holds a colon in quotes",
    );
    broken(
        "a:\n\tb: 1\n",
        "2:2",
        "tabs disallowed within this context (block indentation): indent with spaces, not tabs",
    );
    let unknown = "while parsing node, found unknown anchor: put the value in quotes";
    broken("scheduler:\n  jobs:\n    a:\n      cron: */30 * * * *\n", "4:13", unknown);
    broken("a: *nobody\n", "1:4", unknown);
    broken(
        "scheduler:\n  jobs:\n    a:\n      cron: @daily\n",
        "4:13",
        "unexpected character: `@': put the value in quotes",
    );
    broken(
        "a:\n  b: 1\n c: 2\n",
        "3:2",
        "while parsing a block mapping, did not find expected key: indent the keys of one section alike",
    );
    broken("a: [1,\nb: 'x\n", "2:1", "invalid indentation in flow construct");
    broken("a: 1\nb: \u{1}\n", "2:4", "control character U+0001: take it out");
    broken("a: 1\nb: x\0\nc: d\n", "2:5", "control character U+0000: take it out");
    broken("a: &a [*a]\n", "1:8", "an alias of the very thing it stands in: take it out");
    broken("a: 1\n---\nb: 2\n", "2:1", "a second document: keep one, without --- between settings");
    case("- paths\n", &["c.yaml:1:1: a list: write sections, such as paths: and scheduler:"]);
    case(
        "NEO4J_PASSWORD=hunter2\n",
        &["c.yaml:1:1: text: write sections, such as paths: and scheduler:"],
    );
    case("5", &["c.yaml:1:1: 5: write sections, such as paths: and scheduler:"]);
}

#[test]
fn anchors_and_merges_are_followed_and_their_faults_found_where_they_are_written() {
    let config = good(
        "x-nightly: &nightly {cron: '5 1 * * *', enabled: true, top: 3}\n\
         scheduler:\n  jobs:\n    a: *nightly\n    b: {<<: *nightly, enabled: false}\n    c: {<<: [*nightly, {manual_only: true}]}\n",
        &[],
    );
    assert_eq!(config.warnings, [""; 0]);
    for name in ["a", "b", "c"] {
        let job = job(&config, name);
        assert_eq!(job.schedule.to_string(), "5 1 * * *");
        assert_eq!((job.enabled, job.manual_only), (name != "b", name == "c"));
        assert_eq!(job.params.to_json().to_string(), r#"{"top":3}"#);
    }
    case(
        "x: &x\n  cron: 0 24 * * *\nscheduler:\n  jobs:\n    a: *x\n    b:\n      <<: *x\n    c:\n      <<: 5\n",
        &[
            "scheduler.jobs.a.cron: \"0 24 * * *\": hour 24 is outside 0-23 (c.yaml:2)",
            "scheduler.jobs.b.cron: \"0 24 * * *\": hour 24 is outside 0-23 (c.yaml:2)",
            "scheduler.jobs.c.<<: 5: write an alias of a mapping, such as *defaults (c.yaml:9)",
        ],
    );
    assert!(read("plugins: {<<: 5}\ndatabases: {postgres: {<<: 5}}\n", &[]).is_ok());
}

#[test]
fn aliases_that_multiply_end_soon() {
    let mut yaml = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..30 {
        let tenfold = vec![format!("*a{}", i - 1); 10].join(",");
        yaml += &format!("a{i}: &a{i} [{tenfold}]\n");
    }
    case(
        &(yaml + "scheduler: {jobs: {a: {p: *a29}}}\n"),
        &["c.yaml:5:38: broken YAML: aliases that multiply beyond all measure: write fewer"],
    );
    let too_deep = "broken YAML: values nested deeper than 100 levels: this is no configuration";
    for opening in ["[", "{a: ", "[{a: ["] {
        let faults = read(&opening.repeat(100_000), &[]).unwrap_err().to_string();
        assert!(faults.ends_with(too_deep) && faults.lines().count() == 1, "{faults}");
    }
    // Each alias stands 30 levels below the one before.
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(30), "]".repeat(30));
    let mut yaml = format!("a0: &a0 {}\n", nested("x"));
    for i in 1..5 {
        yaml += &format!("a{i}: &a{i} {}\n", nested(&format!("*a{}", i - 1)));
    }
    let faults = read(&yaml, &[]).unwrap_err().to_string();
    assert!(faults.starts_with("c.yaml:4:") && faults.ends_with(too_deep), "{faults}");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let case =
        |yaml: &str, expected: &[&str]| assert_eq!(good(yaml, &[]).warnings, expected, "{yaml}");
    case("", &["c.yaml: holds no settings: all defaults are used"]);
    case("# nothing\n", &["c.yaml: holds no settings: all defaults are used"]);
    case(
        "schedular: {jobs: 5}\nmodel: 5\n",
        &["schedular: not read, as no setting has this name: did you mean scheduler? (c.yaml:1)"],
    );
    case(
        "jobs:\n  a: {command: [x]}\nvault_sync: {enabled: false}\n",
        &[
            "jobs: not read here: indent it below scheduler (c.yaml:1)",
            "vault_sync: not read here: indent it below scheduler.jobs (c.yaml:3)",
        ],
    );
    case(
        "scheduler: {jobs: {a: {cron: '*/90 * * * *'}}}\n",
        &[
            "scheduler.jobs.a.cron: \"*/90 * * * *\": the step of the minute is as long as the field, so that it comes once an \
           hour: for a length of time write @every (c.yaml:1)",
        ],
    );
    case(
        "paths: {valt: /v, settings: /s}\n",
        &["paths.valt: not read, as no setting has this name: did you mean vault? (c.yaml:1)"],
    );
    case(
        "databases:\n  neo4j:\n    pasword: hunter2\n",
        &[
            "databases.neo4j.pasword: not read, as no setting has this name: did you mean password? (c.yaml:3)",
        ],
    );
    case(
        "processing: {retries: {max_atempts: 1, jitter: 2}, claimify: {max_retries: 3}}\n",
        &[
            "processing.retries.max_atempts: not read, as no setting has this name: did you mean max_attempts? (c.yaml:1)",
        ],
    );
    case(
        "scheduler: {jobs: {a: {enabeld: true, count: 3, metric: x}}}\n",
        &[
            "scheduler.jobs.a.enabeld: taken as a parameter of the job: did you mean enabled? (c.yaml:1)",
        ],
    );
    case(
        "scheduler:\n  jobs:\n    a:\n      working_dir: /\n      env: {A: b}\n",
        &[
            "scheduler.jobs.a.working_dir: has no effect without command (c.yaml:4)",
            "scheduler.jobs.a.env: has no effect without command (c.yaml:5)",
        ],
    );
    case(
        "databases: {neo4j: {tls_ca: /ca.pem}}\n",
        &[
            "databases.neo4j.tls_ca: has no effect: only bolt+s:// and neo4j+s:// are encrypted with a certificate to \
         check (c.yaml:1)",
        ],
    );
}

#[test]
fn a_fault_found_when_a_job_is_built_is_found_in_the_file() {
    let config = good("scheduler:\n  jobs:\n    vault_sync:\n      on_missing: delete\n", &[]);
    let name = JobName::new("vault_sync");
    let faults = vec![
        config.job_fault(&name, "on_missing", None, "write archive or ignore"),
        config.job_fault(&name, "", None, "something about all of it"),
    ];
    assert_eq!(
        ConfigErrors::check(faults).unwrap_err().to_string(),
        "scheduler.jobs.vault_sync: something about all of it (c.yaml:3)\n\
         scheduler.jobs.vault_sync.on_missing: write archive or ignore (c.yaml:4)"
    );
    assert!(ConfigErrors::check(Vec::new()).is_ok());
}

#[test]
fn a_secret_is_never_repeated() {
    const SECRET: &str = "hunter2";
    let files = [
        "NEO4J_PASSWORD=hunter2",
        "scheduler: hunter2",
        "databases: {neo4j: hunter2}",
        "databases: {neo4j: {password: hunter2}}",
        "databases: {neo4j: {pasword: hunter2}}",
        "databases: {neo4j: {password: [hunter2]}}",
        "databases: {neo4j: {password: !secret hunter2}}",
        "databases: {neo4j: {<<: hunter2}}",
        "scheduler: {jobs: {a: {command: 'curl -u me:hunter2'}}}",
        "scheduler: {jobs: {a: {command: hunter2}}}",
        "scheduler: {jobs: {a: {command: [curl, [hunter2]]}}}",
        "scheduler: {jobs: {a: {command: [curl, !x hunter2]}}}",
        "scheduler: {on_fault: 'curl -u me:hunter2'}",
        "scheduler: {job_defaults: {on_failure: 'curl -u me:hunter2'}}",
        "scheduler: {jobs: {a: {on_success: 'curl -u me:hunter2'}}}",
        "scheduler: {jobs: {a: {command: [a], token: hunter2, enabeld: hunter2}}}",
        "databases: {neo4j: {uri: hunter2}}",
        "databases: {neo4j: {uri: [hunter2]}}",
        "databases: {neo4j: {uri: 'bolt://me:hunter2'}}",
        "databases: {neo4j: {uri: 'bolt://me:hunter2@'}}",
        "databases: {neo4j: {uri: 'bolt://me:hunter2@db'}}",
        "databases: {neo4j: {uri: 'bolt://me:hunter2@db:x'}}",
        "databases: {neo4j: {uri: 'bolt://me:%hunter2@db'}}",
        "databases: {neo4j: {host: 'me:hunter2@db'}}",
        "databases: {neo4j: {host: 'bolt://me:hunter2@db'}}",
        "scheduler: {jobs: {a: {command: [a], env: hunter2}}}",
        "scheduler: {jobs: {a: {command: [a], env: [KEY=hunter2]}}}",
        "scheduler: {jobs: {a: {command: [a], env: {KEY: hunter2}}}}",
        "scheduler: {jobs: {a: {command: [a], env: {KEY: [hunter2]}}}}",
        "scheduler: {jobs: {a: {command: [a], env: {KEY: hunter2, KEY: hunter2}}}}",
    ];
    let variables = [
        "hunter2",
        "bolt://me:hunter2",
        "bolt://me:hunter2@",
        "bolt://me:hunter2@db",
        "bolt://me:hunter2@db/x",
    ];
    let of_files = files.iter().map(|yaml| read(yaml, &[]));
    let of_variables = variables.iter().flat_map(|value| {
        ["NEO4J_URI", "NEO4J_PASSWORD"]
            .map(|name| read("databases: {neo4j: {uri: 'bolt://a'}}", &[(name, value)]))
    });
    for (i, outcome) in of_files.chain(of_variables).enumerate() {
        let said = match outcome {
            Ok(config) => format!("{config:?}"),
            Err(faults) => format!("{faults} {faults:?}"),
        };
        assert!(!said.contains(SECRET), "case {i}: {said}");
    }
}

/// Pieces that make up nearly right files, so that chance gets beyond the YAML reader.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "paths",
        "databases",
        "scheduler",
        "jobs",
        "vault_sync",
        "cron",
        "env",
        "retries",
        "neo4j",
        "uri",
        "<<",
        "~",
        "1",
        "-5",
        "1e99",
        ".nan",
        "true",
        "\"*/5 * * * *\"",
        "\"bolt://a:b@[::1]:1\"",
        "*a",
        "&a ",
        "? ",
        "- ",
        ": ",
        ":\n ",
        "\n",
        "\n  ",
        "\n    ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "!t ",
        "|\n",
        "'",
        "\"",
        "#",
        "\u{feff}",
        "\u{85}",
        "é",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A byte order mark in front of a key used to pass for a document of its own.
#[test]
fn a_byte_order_mark_is_passed_over() {
    for yaml in
        ["\u{feff}scheduler: {workers: 3}", "\u{feff}# why\r\nscheduler:\r\n  workers: 3\r\n"]
    {
        assert_eq!(good(yaml, &[]).scheduler.workers, 3, "{yaml:?}");
    }
    assert_eq!(
        read("\u{feff}scheduler: {workers: 0}", &[]).unwrap_err().to_string(),
        "scheduler.workers: 0: write a whole number from 1 to 64 (c.yaml:1)"
    );
}

#[test]
fn a_lease_needs_a_shared_graph_and_time_to_stop_in() {
    case(
        "scheduler: {lease: {}}",
        &[
            "scheduler.lease: hosts take turns by a Neo4j server that all of them reach: set databases.graph: neo4j, or \
           lease: null (c.yaml:1)",
        ],
    );
    case(
        "databases: {graph: neo4j}\nscheduler:\n  lease:\n    ttl: 44 s\n    name: \"\"\n    hots: a\n",
        &[
            "scheduler.lease.ttl: \"44 s\": write 45 s to 1 h (c.yaml:4)",
            "scheduler.lease.name: \"\": write a name of 1 to 100 characters (c.yaml:5)",
            "scheduler.lease.hots: there is no such setting: did you mean host? (c.yaml:6)",
        ],
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_every_fault_is_one_line(yaml in prop_oneof![any::<String>(), soup()]) {
        if let Err(faults) = read(&yaml, &[]) {
            prop_assert!(!faults.faults().is_empty());
            prop_assert_eq!(faults.to_string().lines().count(), faults.faults().len());
        }
    }

    #[test]
    fn no_variable_makes_it_panic(value in any::<String>(), name in 0..env::VARIABLES.len()) {
        let (name, _) = env::VARIABLES[name];
        let _ = read("scheduler: {jobs: {a: {}}}", &[(name, &value), ("A_CRON", &value), ("A_ENABLED", &value)]);
    }
}
