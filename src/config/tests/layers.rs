//! The rank of the sources, and the defaults.

use super::*;
use crate::schedule::Zone;

#[track_caller]
fn with_flags(overrides: Overrides, yaml: &str, variables: &[(&str, &str)]) -> Config {
    from_text(yaml, NAME, &overrides, &env(variables)).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn nothing_said_is_the_documented_defaults() {
    let config = good("{}", &[]);
    assert_eq!(config.vault.root, PathBuf::from("/vault"));
    assert_eq!(
        config.vault.tiers,
        ["conversations", "summaries", "concepts"].map(|tier| Some(tier.into()))
    );
    assert_eq!(config.state_dir, PathBuf::from("/home/me/.local/state/aclarai-scheduler"));
    let GraphConfig::Embedded { path } = &config.graph else { panic!("not embedded") };
    assert_eq!(*path, config.state_dir.join("graph.db"));
    assert_eq!(config.log_level, log::LevelFilter::Info);
    assert_eq!(
        config.retries,
        RetryPolicy {
            max_attempts: 3,
            backoff_factor: 2.0,
            max_wait_time: Duration::from_secs(60)
        }
    );
    let scheduler = &config.scheduler;
    assert_eq!(
        (scheduler.timezone.clone(), scheduler.workers, scheduler.history_days),
        (Zone::UTC, 4, 90)
    );
    assert_eq!(scheduler.shutdown_grace_time, Duration::from_secs(30));
    assert_eq!(scheduler.jobs.len(), 1);
    let sync = job(&config, "vault_sync");
    assert!(sync.enabled && !sync.manual_only && sync.is_scheduled());
    assert_eq!((sync.schedule.to_string().as_str(), sync.timezone.name()), ("*/30 * * * *", "UTC"));
    assert_eq!(
        (sync.kind(), sync.description.as_str()),
        ("vault_sync", "Sync vault files with knowledge graph")
    );
    assert_eq!(sync.policy, RunPolicy::default());
    assert_eq!((config.warnings.len(), config.notes.len()), (0, 0));
}

#[test]
fn a_job_of_ones_own_is_off_and_nightly_until_it_says_otherwise() {
    let config = good(
        "scheduler: {jobs: {a: , b: {command: [x, 5], env: {N: 8080, S: t}, working_dir: rel, top: 3}}}",
        &[],
    );
    let (a, b) = (job(&config, "a"), job(&config, "b"));
    assert!(!a.enabled && !a.manual_only && a.command.is_none());
    assert_eq!(
        (a.schedule.to_string().as_str(), a.kind(), b.kind()),
        ("0 2 * * *", "a", "command")
    );
    let command = b.command.as_ref().unwrap();
    assert_eq!(command.argv, ["x", "5"]);
    assert_eq!(command.working_dir.as_deref(), Some("/nowhere/rel".as_ref()));
    assert_eq!(
        command.env,
        BTreeMap::from([("N", "8080"), ("S", "t")].map(|(k, v)| (k.to_owned(), v.to_owned())))
    );
    assert!(!format!("{command:?}").contains("8080"), "a value of env may be a secret");
    assert_eq!(b.params.to_json().to_string(), r#"{"top":3}"#);
}

#[test]
fn a_job_takes_each_key_from_itself_then_job_defaults_then_the_program() {
    let config = good(
        "scheduler:\n  timezone: Europe/Berlin\n  job_defaults:\n    misfire_grace_time: null\n    timeout: 5 min\n    \
         overlap: queue\n    jitter: 7\n    coalesce: false\n    retries: {max_attempts: 4, max_wait_time: 9}\n  jobs:\n    \
         a: {misfire_grace_time: 10, timeout: null, max_instances: 3, retries: {max_wait_time: 0.5}, timezone: Asia/Tokyo}\n    \
         b: {rerun_interrupted: true, coalesce: true}\n",
        &[],
    );
    let seconds = Duration::from_secs;
    assert_eq!(
        job(&config, "a").policy,
        RunPolicy {
            misfire_grace_time: Some(seconds(10)),
            coalesce: false,
            max_instances: 3,
            overlap: Overlap::Queue,
            jitter: seconds(7),
            timeout: None,
            retries: RetryPolicy {
                max_attempts: 4,
                backoff_factor: 2.0,
                max_wait_time: Duration::from_millis(500)
            },
            ..RunPolicy::default()
        }
    );
    assert_eq!(
        job(&config, "b").policy,
        RunPolicy {
            misfire_grace_time: None,
            coalesce: true,
            max_instances: 1,
            overlap: Overlap::Queue,
            jitter: seconds(7),
            timeout: Some(seconds(300)),
            retries: RetryPolicy {
                max_attempts: 4,
                backoff_factor: 2.0,
                max_wait_time: seconds(9)
            },
            rerun_interrupted: true,
            ..RunPolicy::default()
        }
    );
    let zones = ["a", "b"].map(|name| {
        (job(&config, name).timezone.name(), job(&config, name).schedule.zone().name())
    });
    assert_eq!(zones, [("Asia/Tokyo", "Asia/Tokyo"), ("Europe/Berlin", "Europe/Berlin")]);
    assert_eq!(config.retries.max_attempts, 3, "processing.retries is another setting");
}

#[test]
fn the_address_to_listen_on_comes_from_the_command_line_the_environment_or_the_file() {
    let yaml = "scheduler: {listen: '127.0.0.1:1', listen_hosts: [Notes.example.org, b]}";
    let listen = |config: &Config| config.scheduler.listen.as_ref().map(ToString::to_string);
    let config = good(yaml, &[]);
    assert_eq!(listen(&config).as_deref(), Some("127.0.0.1:1"));
    assert_eq!(config.scheduler.listen_hosts, ["notes.example.org", "b"]);
    assert!(good("scheduler: {listen_hosts: []}", &[]).scheduler.listen_hosts.is_empty());
    assert_eq!(config.warnings.len(), 0);
    let config = good(yaml, &[("ACLARAI_LISTEN", ":2")]);
    assert_eq!(listen(&config).as_deref(), Some(":2"));
    assert!(
        config.warnings[0].starts_with("ACLARAI_LISTEN: \":2\": anybody who reaches"),
        "{:?}",
        config.warnings
    );
    let overrides = Overrides { listen: Some("unix:/run/s".to_owned()), ..Overrides::default() };
    let env = Env::new("/nowhere", [("HOME", "/home/me"), ("ACLARAI_LISTEN", ":2")]);
    let config = crate::config::from_text(yaml, "c.yaml", &overrides, &env).unwrap();
    assert_eq!(listen(&config).as_deref(), Some("unix:/run/s"));
    assert_eq!(listen(&good("scheduler: {listen: null}", &[])), None);
    assert_eq!(listen(&good("scheduler: {}", &[("ACLARAI_LISTEN", "")])), None);
}

#[test]
fn a_job_says_who_is_told_and_what_is_kept_of_its_output() {
    let config = good(
        "scheduler:\n  watch_config: true\n  pause_file: false\n  sandbox: false\n  on_fault: [ring, 2]\n  job_defaults: \
         {on_failure: [mail, -s, failed], notify_every: 3, keep_output: never}\n  jobs:\n    a: {}\n    b: {on_failure: null, \
         on_recovery: [x], on_success: [y], notify_every: null, keep_output: always, keep_output_bytes: 100}\n",
        &[],
    );
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let scheduler = &config.scheduler;
    assert_eq!(scheduler.on_fault, words(&["ring", "2"]));
    assert_eq!(
        (scheduler.watch_config, scheduler.pause_file, scheduler.sandbox),
        (true, false, false)
    );
    let defaults = &good("{}", &[]).scheduler;
    assert_eq!((defaults.watch_config, defaults.pause_file, defaults.sandbox), (false, true, true));
    let (a, b) = (&job(&config, "a").policy, &job(&config, "b").policy);
    assert_eq!((&a.on_failure, a.notify_every), (&words(&["mail", "-s", "failed"]), Some(3)));
    assert_eq!((a.keep_output, a.keep_output_bytes), (KeepOutput::Never, 65_536));
    assert_eq!((&b.on_failure, b.notify_every), (&None, None));
    assert_eq!((&b.on_recovery, &b.on_success), (&words(&["x"]), &words(&["y"])));
    assert_eq!((b.keep_output, b.keep_output_bytes), (KeepOutput::Always, 100));
}

#[test]
fn a_job_may_follow_another() {
    let config = good(
        "scheduler:\n  jobs:\n    a: {after: vault_sync}\n    b: {after: {job: a, on: any}, cron: '5 4 * * *'}\n    c: \
         {after: {job: b, on: failure}}\n",
        &[],
    );
    let after = |name| {
        let After { job, on } = job(&config, name).after.as_ref().unwrap();
        (job.as_str(), *on)
    };
    assert_eq!(after("a"), ("vault_sync", AfterOutcome::Success));
    assert_eq!(after("b"), ("a", AfterOutcome::Any));
    assert_eq!(after("c"), ("b", AfterOutcome::Failure));
    assert_eq!(job(&config, "b").schedule.to_string(), "5 4 * * *");
    assert_eq!(job(&config, "vault_sync").after, None);
    let at = "2026-08-24T12:00:00Z".parse().unwrap();
    assert_eq!(job(&config, "a").schedule.next_after(at), None, "it has no line of its own");
}

#[test]
fn flags_outrank_variables_outrank_the_file() {
    let yaml = "paths: {vault: /file}\nlogging: {level: error}\n";
    let variables = [("VAULT_PATH", "/variable"), ("LOG_LEVEL", "debug")];
    let flags = Overrides {
        vault: Some("/flag".into()),
        log_level: Some("trace".into()),
        state_dir: Some("state".into()),
        ..Overrides::default()
    };
    let seen = |config: Config| (config.vault.root.display().to_string(), config.log_level);
    assert_eq!(seen(good(yaml, &[])), ("/file".to_owned(), log::LevelFilter::Error));
    assert_eq!(seen(good(yaml, &variables)), ("/variable".to_owned(), log::LevelFilter::Debug));
    assert_eq!(
        seen(with_flags(flags.clone(), yaml, &variables)),
        ("/flag".to_owned(), log::LevelFilter::Trace)
    );
    // Set to nothing is not set: compose files write `VAULT_PATH=${VAULT_PATH:-}`.
    assert_eq!(
        seen(good(yaml, &[("VAULT_PATH", ""), ("LOG_LEVEL", "")])),
        ("/file".to_owned(), log::LevelFilter::Error)
    );
    assert_eq!(
        with_flags(flags, yaml, &[("STATE_DIRECTORY", "/s")]).state_dir,
        PathBuf::from("/nowhere/state")
    );
}

#[test]
fn the_state_folder_is_looked_for_in_order() {
    let case = |variables: &[(&str, &str)], expected: &str| {
        let config = from_text(
            "{}",
            NAME,
            &Overrides::default(),
            &Env::new("/cwd", variables.iter().copied()),
        );
        assert_eq!(config.unwrap().state_dir, PathBuf::from(expected), "{variables:?}");
    };
    case(&[("STATE_DIRECTORY", "/s"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")], "/s");
    case(&[("STATE_DIRECTORY", "/s:/t"), ("HOME", "/h")], "/s");
    case(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")], "/x/aclarai-scheduler");
    case(&[("XDG_STATE_HOME", "x"), ("HOME", "/h")], "/h/.local/state/aclarai-scheduler");
    case(
        &[("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", ""), ("HOME", "/h")],
        "/h/.local/state/aclarai-scheduler",
    );
    let homeless = Env::new("/cwd", [("A", "b")]);
    assert_eq!(
        from_text("{}", NAME, &Overrides::default(), &homeless).unwrap_err().to_string(),
        "state folder: there is no place for it, as neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set: give \
         --state-dir PATH"
    );
}

#[test]
fn a_fault_from_outside_the_file_names_the_variable_or_the_flag() {
    let yaml = "scheduler: {jobs: {my-job.x: {cron: '0 1 * * *'}}}";
    let variables = [
        ("VAULT_SYNC_CRON", "61 * * * *"),
        ("MY_JOB_X_ENABLED", "maybe"),
        ("NEO4J_BOLT_PORT", "http"),
        ("VAULT_TIER1_PATH", "../up"),
    ];
    let overrides = Overrides {
        log_level: Some("loud".into()),
        vault: Some("".into()),
        ..Overrides::default()
    };
    let faults = from_text(yaml, NAME, &overrides, &env(&variables)).unwrap_err().to_string();
    assert_eq!(
        faults.lines().collect::<Vec<_>>(),
        [
            "--vault: \"\": write a path (command line)",
            "VAULT_TIER1_PATH: \"../up\": leads out of the vault: write a folder below it, without .. (environment)",
            "NEO4J_BOLT_PORT: \"http\": write a whole number from 1 to 65535 (environment)",
            "MY_JOB_X_ENABLED: \"maybe\": write true or false (1, yes, on, 0, no, off) (environment)",
            "VAULT_SYNC_CRON: \"61 * * * *\": minute 61 is outside 0-59 (environment)",
            "--log-level: \"loud\": write DEBUG, INFO, WARNING, ERROR or CRITICAL (command line)",
        ]
    );
}

#[test]
fn each_job_listens_to_its_two_variables() {
    let yaml = "scheduler: {jobs: {vault_sync: {cron: '0 1 * * *'}, my-job.x: {enabled: true}}}";
    let variables = [
        ("VAULT_SYNC_ENABLED", "Off"),
        ("VAULT_SYNC_CRON", "0 2 * * *"),
        ("MY_JOB_X_ENABLED", "0"),
        ("CONCEPT_EMBEDDING_REFRESH_ENABLED", "not even a flag"),
    ];
    let config = good(yaml, &variables);
    assert!(!job(&config, "vault_sync").enabled && !job(&config, "my-job.x").enabled);
    assert_eq!(job(&config, "vault_sync").schedule.to_string(), "0 2 * * *");
    assert_eq!(config.scheduler.jobs.len(), 2);
    for word in ["true", "1", "YES", "on"] {
        assert!(job(&good("{}", &[("VAULT_SYNC_ENABLED", word)]), "vault_sync").enabled, "{word}");
    }
    let config = good(
        "scheduler: {jobs: {a-b: {}, a.b: {}}}",
        &[("A_B_ENABLED", "yes"), ("AUTOMATION_PAUSE", "maybe")],
    );
    assert!(job(&config, "a-b").enabled && job(&config, "a.b").enabled);
    assert_eq!(
        config.warnings,
        [
            "A_B_ENABLED: counts for a-b and a.b: rename all but one (environment)",
            "AUTOMATION_PAUSE: \"maybe\": not understood, so nothing is paused: write true or false (environment)",
        ]
    );
}

#[test]
fn the_graph_is_neo4j_where_something_says_so() {
    let is_neo4j = |yaml: &str, variables: &[(&str, &str)]| {
        matches!(good(yaml, variables).graph, GraphConfig::Neo4j(_))
    };
    assert!(!is_neo4j("{}", &[]));
    assert!(!is_neo4j(
        "{}",
        &[("NEO4J_HTTP_PORT", "7474"), ("NEO4J_HOME", "/opt/neo4j"), ("NEO4J_URI", "")]
    ));
    assert!(!is_neo4j("databases: {postgres: {host: x}, neo4j: null}", &[]));
    assert!(!is_neo4j("databases: {graph: embedded, neo4j: {host: x}}", &[("NEO4J_HOST", "x")]));
    assert!(is_neo4j("databases: {neo4j: {}}", &[]));
    assert!(is_neo4j("databases: {graph: neo4j}", &[]));
    assert!(is_neo4j("databases: {graph: null}", &[("NEO4J_PASSWORD", "x")]));
    assert_eq!(
        good("{}", &[("NEO4J_HOST", "x")]).notes,
        ["databases.graph: neo4j, because NEO4J_HOST is set"]
    );
}

#[test]
fn the_address_of_the_server_is_put_together() {
    #[track_caller]
    fn case(section: &str, variables: &[(&str, &str)], uri: &str) {
        let config = good(&format!("databases: {{graph: neo4j, neo4j: {{{section}}}}}"), variables);
        assert_eq!(neo4j(&config).uri, uri, "{section} {variables:?}");
    }
    case("", &[], "bolt://neo4j:7687");
    case("host: db, port: 7688", &[], "bolt://db:7688");
    case("host: '::1'", &[], "bolt://[::1]:7687");
    case("uri: 'neo4j+s://a.example', host: db, port: 1", &[], "neo4j+s://a.example:7687");
    case("uri: null, host: db", &[], "bolt://db:7687");
    case("host: db, port: 7688", &[("NEO4J_HOST", "e")], "bolt://e:7688");
    case("host: db, port: 7688", &[("NEO4J_BOLT_PORT", "9")], "bolt://db:9");
    case("uri: 'bolt://a:1'", &[("NEO4J_BOLT_PORT", "9")], "bolt://a:9");
    case("uri: 'bolt://a:1', port: 3", &[("NEO4J_HOST", "e")], "bolt://e:3");
    case(
        "uri: 'bolt://a:1'",
        &[("NEO4J_URI", "bolt+s://u:2"), ("NEO4J_HOST", "e"), ("NEO4J_BOLT_PORT", "9")],
        "bolt+s://u:2",
    );
    let outranked = good("databases: {neo4j: {uri: 'bolt://a'}}", &[("NEO4J_HOST", "e")]);
    assert_eq!(
        outranked.warnings,
        ["NEO4J_HOST: outranks databases.neo4j.uri of the file (environment)"]
    );
    let rest =
        good("databases: {neo4j: {database: notes, tls_ca: ~/ca.pem, uri: 'bolt+s://a'}}", &[]);
    let rest = neo4j(&rest);
    assert_eq!((rest.database.as_str(), rest.user.as_str()), ("notes", "neo4j"));
    assert_eq!(rest.tls_ca.as_deref(), Some("/home/me/ca.pem".as_ref()));
}

#[test]
fn secrets_work_from_anywhere_belong_in_the_environment_and_are_never_shown() {
    let yaml = "databases:\n  neo4j:\n    uri: bolt://u1:hunter1@db\n    username: u2\n    password: hunter2\n";
    let who = |config: &Config| (neo4j(config).user.clone(), neo4j(config).password.clone());
    let config = good(yaml, &[]);
    assert_eq!(who(&config), ("u2".to_owned(), Some("hunter2".to_owned())));
    assert_eq!(
        config.warnings,
        [
            "databases.neo4j: bolt://db:7687: the password is sent there unencrypted: use bolt+s:// unless the network in \
             between is yours (c.yaml:2)",
            "databases.neo4j.uri: holds a user or password: take them out and set NEO4J_USER and NEO4J_PASSWORD in the \
         environment or in .env (c.yaml:3)",
            "databases.neo4j.username: does not belong in this file: set NEO4J_USER in the environment or in .env (c.yaml:4)",
            "databases.neo4j.password: does not belong in this file: set NEO4J_PASSWORD in the environment or in .env (c.yaml:5)",
        ]
    );
    assert!(!format!("{config:?}").contains("hunter"));

    let config = good(yaml, &[("NEO4J_USER", "u3"), ("NEO4J_PASSWORD", "hunter3")]);
    assert_eq!(who(&config), ("u3".to_owned(), Some("hunter3".to_owned())));
    let config = good("{}", &[("NEO4J_URI", "bolt://u4:hunter4@db")]);
    assert_eq!(who(&config), ("u4".to_owned(), Some("hunter4".to_owned())));
    assert_eq!((config.warnings.len(), neo4j(&config).uri.as_str()), (1, "bolt://db:7687"));
    let config = good(yaml, &[("NEO4J_URI", "bolt://u5:hunter5@db")]);
    assert_eq!(
        who(&config),
        ("u5".to_owned(), Some("hunter5".to_owned())),
        "a variable outranks the file"
    );
    assert!(!format!("{config:?}").contains("hunter"));

    let none = good("databases: {neo4j: {}}", &[]);
    assert_eq!(
        neo4j(&none).required_password().unwrap_err(),
        "no password for bolt://neo4j:7687: set NEO4J_PASSWORD in the environment or in .env, or databases.graph: embedded"
    );
}

#[test]
fn the_embedded_graph_lies_in_the_state_folder_unless_told_otherwise() {
    let path = |path: &str| match good(
        &format!("databases: {{embedded: {{path: {path}}}}}"),
        &[("STATE_DIRECTORY", "/s")],
    )
    .graph
    {
        GraphConfig::Embedded { path } => path,
        GraphConfig::Neo4j(_) => panic!("not embedded"),
    };
    assert_eq!(path("null"), PathBuf::from("/s/graph.db"));
    assert_eq!(path("other.db"), PathBuf::from("/s/other.db"));
    assert_eq!(path("/abs/x.db"), PathBuf::from("/abs/x.db"));
    assert_eq!(path("~/x.db"), PathBuf::from("/home/me/x.db"));
}

#[test]
fn the_log_level_has_many_names() {
    use log::LevelFilter::*;
    let cases = [
        ("DEBUG", Debug),
        ("Info", Info),
        ("warning", Warn),
        ("WARN", Warn),
        ("error", Error),
        ("CRITICAL", Error),
        ("trace", Trace),
        ("off", Off),
    ];
    for (word, level) in cases {
        assert_eq!(good("{}", &[("LOG_LEVEL", word)]).log_level, level, "{word}");
    }
}

/// PyYAML, which reads the file for the other services, takes a bare `yes` for true.
#[test]
fn a_file_of_the_python_services_may_say_yes_and_off() {
    let config = good(
        "scheduler:\n  job_defaults: {coalesce: Off}\n  jobs:\n    vault_sync: {enabled: no, manual_only: on, \
         write_back: YES}\n    other: {enabled: yes, mode: on, description: 'on'}\n",
        &[],
    );
    let sync = job(&config, "vault_sync");
    assert_eq!((sync.enabled, sync.manual_only, sync.policy.coalesce), (false, true, false));
    assert_eq!(sync.params.get("write_back").unwrap().as_flag(), Some(true));
    let other = job(&config, "other");
    assert_eq!((other.enabled, other.description.as_str()), (true, "on"));
    assert_eq!(other.params.get("mode").unwrap().as_str(), Some("on"));
}

/// `find -mtime +30` with -delete must not become `find -mtime 30`.
#[test]
fn what_is_written_for_a_program_reaches_it_as_it_is_written() {
    let yaml = "scheduler:\n  jobs:\n    a:\n      command: [find, -mtime, +30, 0o755, 0x1F, -0, .nan, 1.10, yes, \
                12345678901234567890123456789012, true, null, 5]\n      env: {UMASK: 0o022, N: +5, Y: yes, P: 8080}\n      \
                top: [+3]\n    b: {command: [x, 30, 1.5, 'x y'], on_failure: [mail, -s, +1]}\n";
    let config = good(yaml, &[]);
    let command = job(&config, "a").command.as_ref().unwrap();
    let written =
        "find -mtime +30 0o755 0x1F -0 .nan 1.10 yes 12345678901234567890123456789012 true null 5";
    assert_eq!(command.argv.join(" "), written);
    let env: Vec<String> =
        command.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["N=+5", "P=8080", "UMASK=0o022", "Y=yes"]);
    assert_eq!(job(&config, "a").params.to_json().to_string(), r#"{"top":["+3"]}"#);
    assert_eq!(
        config.notes,
        [
            "scheduler.jobs.a.command[2] and 12 other values: passed on as written, where YAML reads something else: in \
          quotes, no reader mistakes it (c.yaml:4)"
        ]
    );
    assert_eq!(
        good("scheduler: {jobs: {b: {command: [x, 30, 1.5, 'x y', '+30'], n: 3}}}", &[]).notes,
        [""; 0]
    );
}

#[test]
fn what_a_container_sets_for_others_is_passed_over_and_said() {
    let of_kubernetes = [("NEO4J_BOLT_PORT", "tcp://10.96.4.7:7687")];
    let config = good("databases: {neo4j: {uri: 'bolt://db:7687'}}", &of_kubernetes);
    assert_eq!(neo4j(&config).uri, "bolt://db:7687");
    let passed_over = "NEO4J_BOLT_PORT: set by Kubernetes for a service of this name, and not used: put the port in \
                       databases.neo4j.uri (environment)";
    assert_eq!(config.warnings, [passed_over]);
    let config = good("{}", &of_kubernetes);
    assert!(matches!(config.graph, GraphConfig::Embedded { .. }), "it asks for no Neo4j");

    let zone = |yaml: &str, tz: &str| good(yaml, &[("TZ", tz)]).warnings;
    assert_eq!(
        zone("{}", "Europe/Berlin"),
        [
            "TZ: \"Europe/Berlin\": not used: cron lines are read in UTC. To change that, set scheduler.timezone: \
          Europe/Berlin (environment)"
        ]
    );
    assert!(zone("{}", "CET-1CEST")[0].contains("set scheduler.timezone, such as Europe/Berlin"));
    for quiet in ["UTC", ":Etc/UTC", ""] {
        assert_eq!(zone("{}", quiet), [""; 0], "{quiet}");
    }
    assert_eq!(zone("scheduler: {timezone: UTC}", "Europe/Berlin"), [""; 0]);
}

#[test]
fn a_password_that_crosses_a_network_unencrypted_is_warned_of() {
    let warnings = |uri: &str, password: &str| {
        good(&format!("databases: {{neo4j: {{uri: '{uri}'}}}}"), &[("NEO4J_PASSWORD", password)])
            .warnings
    };
    for uri in ["bolt://db.example.org", "neo4j://10.0.0.5:7687", "bolt://db"] {
        let [warning] = &warnings(uri, "hunter2")[..] else { panic!("{uri}") };
        assert!(
            warning.contains("the password is sent there unencrypted")
                && !warning.contains("hunter2"),
            "{warning}"
        );
        assert_eq!(warnings(uri, ""), [""; 0], "{uri}");
    }
    for uri in [
        "bolt+s://db",
        "neo4j+ssc://db",
        "bolt://localhost",
        "bolt://127.0.0.1",
        "bolt://[::1]:7687",
    ] {
        assert_eq!(warnings(uri, "hunter2"), [""; 0], "{uri}");
    }
}

#[test]
fn a_path_of_the_command_line_may_begin_at_home() {
    let env = Env::new("/cwd", [("HOME", "/home/me")]);
    for (written, expected) in [
        ("~/x", "/home/me/x"),
        ("~", "/home/me"),
        ("x", "/cwd/x"),
        ("/x", "/x"),
        ("~you/x", "/cwd/~you/x"),
    ] {
        assert_eq!(env.path(written.as_ref()), PathBuf::from(expected), "{written}");
    }
    let flags = Overrides {
        vault: Some("~/v".into()),
        state_dir: Some("~/s".into()),
        ..Overrides::default()
    };
    let config = with_flags(flags, "{}", &[]);
    assert_eq!((config.vault.root, config.state_dir), ("/home/me/v".into(), "/home/me/s".into()));
}

#[test]
fn hosts_take_turns_by_a_graph_that_all_of_them_reach() {
    assert_eq!(good("{}", &[]).scheduler.lease, None);
    let shared = "databases: {graph: neo4j}\nscheduler: {lease: ";
    let lease = |yaml: &str| good(&format!("{shared}{yaml}}}"), &[]).scheduler.lease.unwrap();
    let usual =
        LeaseConfig { ttl: Duration::from_secs(60), name: "default".to_owned(), host: None };
    assert_eq!(lease("{}"), usual);
    let given = LeaseConfig {
        ttl: Duration::from_secs(90),
        name: "notes".to_owned(),
        host: Some("rack2".to_owned()),
    };
    assert_eq!(lease("{ttl: 90 s, name: notes, host: rack2}"), given);
    assert_eq!(good(&format!("{shared}null}}"), &[]).scheduler.lease, None);
}
