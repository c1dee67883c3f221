//! Files on disk: which one is read, what may be wrong with it, `.env`, and the folders of the vault.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A folder that goes away with it, and what the program sees from inside.
struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = place.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        place
    }

    fn load(
        &self,
        overrides: &Overrides,
        variables: &[(&str, &str)],
    ) -> Result<Config, ConfigErrors> {
        let home = [("HOME", "/home/me")];
        let env = Env::new(self.0.path(), home.iter().chain(variables).copied());
        load(overrides, &env, &|_| Vec::new())
    }

    /// The configuration read from `--config c.yaml`.
    fn with_text(yaml: &str) -> Result<Config, ConfigErrors> {
        Place::new(&[("c.yaml", yaml)]).load(&flag("c.yaml"), &[])
    }

    /// The message about `--config c.yaml`, without the folder's own name.
    fn fault(&self) -> String {
        let fault = self.load(&flag("c.yaml"), &[]).unwrap_err().to_string();
        fault.replace(&*self.0.path().to_string_lossy(), "DIR")
    }
}

fn flag(path: &str) -> Overrides {
    Overrides { config: Some(path.into()), ..Overrides::default() }
}

#[test]
fn the_file_is_the_one_named_else_the_usual_one() {
    let place = Place::new(&[
        ("settings/aclarai.config.yaml", "paths: {vault: /usual}"),
        ("named.yaml", "paths: {vault: /named}"),
        ("by/variable.yaml", "paths: {vault: /variable}"),
    ]);
    let seen = |overrides: &Overrides, variables: &[(&str, &str)]| {
        let config = place.load(overrides, variables).unwrap();
        (config.source.unwrap().display().to_string(), config.vault.root.display().to_string())
    };
    let pair = |source: &str, vault: &str| (source.to_owned(), vault.to_owned());
    let variable = [("ACLARAI_CONFIG", "by/variable.yaml")];
    assert_eq!(seen(&Overrides::default(), &[]), pair("settings/aclarai.config.yaml", "/usual"));
    assert_eq!(seen(&Overrides::default(), &variable), pair("by/variable.yaml", "/variable"));
    assert_eq!(seen(&flag("named.yaml"), &variable), pair("named.yaml", "/named"));
    assert_eq!(seen(&Overrides::default(), &[("ACLARAI_CONFIG", "")]).1, "/usual");
}

#[test]
fn without_any_file_the_defaults_hold_and_it_says_so() {
    let place = Place::new(&[]);
    let config = place.load(&Overrides::default(), &[]).unwrap();
    if let Some(source) = &config.source {
        println!("skipped: this machine has {}", source.display());
        return;
    }
    assert_eq!(settled(&config), settled(&good("{}", &[])));
    assert_eq!(
        config.notes,
        ["no configuration file: looked for settings/aclarai.config.yaml and \
         /etc/aclarai-scheduler/aclarai.config.yaml; all defaults are used",]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_line() {
    let place = Place::new(&[("settings/aclarai.config.yaml", "paths: 5")]);
    assert_eq!(place.fault(), "--config: \"c.yaml\": there is no such file (command line)");
    let missing = place.load(&Overrides::default(), &[("ACLARAI_CONFIG", "x/y")]).unwrap_err();
    assert_eq!(missing.to_string(), "ACLARAI_CONFIG: \"x/y\": there is no such file (environment)");

    let place = Place::new(&[("c.yaml/x", ""), ("settings/aclarai.config.yaml/x", "")]);
    assert_eq!(
        place.fault(),
        "--config: \"c.yaml\": this is a folder: name the file in it (command line)"
    );
    let usual = place.load(&Overrides::default(), &[]).unwrap_err();
    assert_eq!(
        usual.to_string(),
        "settings/aclarai.config.yaml: this is a folder: name the file in it"
    );

    let place = Place::new(&[]);
    fs::write(place.0.path().join("c.yaml"), b"a: 1\nb: \xff\n").unwrap();
    assert_eq!(
        place.fault(),
        "--config: \"c.yaml\": not UTF-8 on line 2 (byte 8): save the file as UTF-8 (command line)"
    );
    let endless = place.load(&flag("/dev/zero"), &[]).unwrap_err();
    assert_eq!(
        endless.to_string(),
        "--config: \"/dev/zero\": no ordinary file, but a pipe, a device or a socket: name a file (command line)"
    );

    // Nothing waits for a writer that never comes.
    let place = Place::new(&[]);
    let fifo = place.0.path().join("c.yaml");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let no_file = "no ordinary file, but a pipe, a device or a socket: name a file";
    assert_eq!(place.fault(), format!("--config: \"c.yaml\": {no_file} (command line)"));
    fs::remove_file(&fifo).unwrap();
    fs::write(&fifo, "#".repeat((1 << 20) + 1)).unwrap();
    let too_long = "longer than 1048576 bytes, which no configuration is: name another file";
    assert_eq!(place.fault(), format!("--config: \"c.yaml\": {too_long} (command line)"));

    let place = Place::new(&[("c.yaml", "")]);
    let file = place.0.path().join("c.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    match fs::read(&file) {
        Ok(_) => println!("skipped: root reads every file"),
        Err(_) => assert_eq!(
            place.fault(),
            "--config: \"c.yaml\": permission denied: make the file readable for this user (command line)"
        ),
    }
}

#[test]
fn dotenv_fills_in_what_the_environment_does_not_say() {
    let place = Place::new(&[
        (
            ".env",
            "VAULT_PATH=/dotenv\nLOG_LEVEL=DEBUG\nVAULT_SYNC_CRON=0 3 * * *\nnot a setting\nNEO4J_PASSWORD='pa$word'\n\
         ACLARAI_CONFIG=c.yaml\nAUTOMATION_PAUSE=yes\n",
        ),
        ("c.yaml", "logging: {level: ERROR}"),
    ]);
    let config =
        place.load(&Overrides::default(), &[("VAULT_PATH", "/real"), ("LOG_LEVEL", "")]).unwrap();
    assert_eq!(config.vault.root, PathBuf::from("/real"));
    assert_eq!(
        config.log_level,
        log::LevelFilter::Error,
        "a variable set to nothing hides that of .env"
    );
    assert_eq!(job(&config, "vault_sync").schedule.to_string(), "0 3 * * *");
    assert_eq!(neo4j(&config).required_password(), Ok("pa$word"));
    assert_eq!(
        config.warnings,
        [
            ".env: a line that is no setting is passed over: write NAME=value (.env:4)",
            "databases.neo4j: bolt://neo4j:7687: the password is sent there unencrypted: use bolt+s:// unless the network \
             in between is yours (c.yaml)"
        ]
    );

    let place = Place::new(&[(".env", "A=1\nVAULT_SYNC_CRON=61 * * * *\n"), ("c.yaml", "{}")]);
    assert_eq!(
        place.fault(),
        "VAULT_SYNC_CRON: \"61 * * * *\": minute 61 is outside 0-59 (.env:2)"
    );
    fs::write(place.0.path().join(".env"), b"A=\xff").unwrap();
    assert_eq!(place.fault(), ".env: not UTF-8 on line 1 (byte 2): save the file as UTF-8");
    let place = Place::new(&[(".env/bin/python", ""), ("c.yaml", "{}")]);
    assert!(
        place.load(&flag("c.yaml"), &[]).is_ok(),
        "a folder of that name is no business of ours"
    );
}

#[test]
fn a_tier_is_a_folder_below_the_vault() {
    let tier = |path: &str| {
        good(&format!("paths: {{vault: /v, tier1: {path}}}"), &[]).vault.tiers[0].clone()
    };
    for (written, expected) in
        [("notes", "notes"), ("./a//b/", "a/b"), (".", "."), ("./", "."), ("a/./b", "a/b")]
    {
        assert_eq!(tier(written), Some(PathBuf::from(expected)), "{written}");
    }
    assert_eq!(tier("null"), None);

    let fault = |path: &str| {
        read(&format!("paths: {{vault: /v, tier1: {path}}}"), &[]).unwrap_err().to_string()
    };
    let cases = [
        ("/v/notes", "\"/v/notes\": write it relative to paths.vault: notes"),
        ("/v", "\"/v\": write it relative to paths.vault: ."),
        ("/elsewhere", "\"/elsewhere\": outside the vault: write a folder relative to /v"),
        ("a/../../b", "\"a/../../b\": leads out of the vault: write a folder below it, without .."),
        ("''", "\"\": write . for the vault itself, or null for none"),
    ];
    for (path, message) in cases {
        assert_eq!(fault(path), format!("paths.tier1: {message} (c.yaml:1)"));
    }
    let variables =
        [("VAULT_TIER1_PATH", "t1"), ("VAULT_SUMMARIES_PATH", "t2"), ("VAULT_CONCEPTS_PATH", "t3")];
    let config = good("paths: {tier1: a, tier2: null}", &variables);
    assert_eq!(config.vault.tiers, ["t1", "t2", "t3"].map(|tier| Some(tier.into())));
}

#[test]
fn the_whole_vault_is_scanned_unless_a_tier_was_asked_for() {
    let place = Place::new(&[
        ("flat/a.md", ""),
        ("tiered/concepts/a.md", ""),
        ("tiered/b.md", ""),
        ("whole.yaml", "paths: {tier1: , tier2: ~, tier3: null}"),
        ("asked.yaml", "paths: {tier2: summaries}"),
        ("c.yaml", "{}"),
    ]);
    fs::create_dir(place.0.path().join("empty")).unwrap();
    let tiers = |file: &str, vault: &str| {
        let config =
            place.load(&Overrides { vault: Some(vault.into()), ..flag(file) }, &[]).unwrap();
        assert_eq!(config.vault.root, place.0.path().join(vault));
        (config.vault.tiers.iter().flatten().count(), config.vault.whole)
    };
    for vault in ["flat", "tiered", "empty", "absent"] {
        assert_eq!(tiers("c.yaml", vault), (3, true), "{vault}: the names only give the tier");
    }
    assert_eq!(tiers("asked.yaml", "flat"), (3, false));
    assert_eq!(tiers("whole.yaml", "tiered"), (0, true));
}

#[test]
fn the_vault_has_one_name_however_it_is_written() {
    let place = Place::new(&[("notes/x.md", ""), ("c.yaml", "{}")]);
    let real = place.0.path().canonicalize().unwrap();
    for written in ["notes", "./notes/", "notes//.", "notes/../notes"] {
        let config =
            place.load(&Overrides { vault: Some(written.into()), ..flag("c.yaml") }, &[]).unwrap();
        assert_eq!(config.vault.root.canonicalize().unwrap(), real.join("notes"));
        assert!(
            config.vault.root.ends_with("notes")
                && !config.vault.root.to_string_lossy().contains("..")
        );
    }
    assert_eq!(good("paths: {vault: ~/notes}", &[]).vault.root, PathBuf::from("/home/me/notes"));
}

/// The other services' file, in small: sections that are theirs, jobs that have no code here.
const OF_THE_OTHER_SERVICES: &str = "\
tools: {neo4j: {enabled: true, retry_attempts: 3}}
version: 0.1.0
databases:
  postgres: {host: postgres, port: 5432}
  neo4j:
    host: neo4j
    port: 7687
  rabbitmq: {host: rabbitmq, port: 5672}
paths: {vault: /vault, tier1: conversations, tier2: summaries, tier3: concepts, settings: /settings}
processing:
  temperature: 0.1
  claimify: {max_retries: 3}
  retries: {max_attempts: 3, backoff_factor: 2, max_wait_time: 60}
logging:
  level: INFO
  format: structured
  handlers: [{type: console, stream: stdout}]
scheduler:
  jobs:
    vault_sync: {enabled: true, manual_only: false, cron: '*/30 * * * *', description: Sync}
    top_concepts:
      enabled: true
      cron: 0 4 * * *
      metric: pagerank
      percent: null
      target_file: Trending - {date}.md
vault_watcher: {file_patterns: ['*.md', '.*']}
";

const ENV_OF_THE_OTHER_SERVICES: &str = "\
POSTGRES_PASSWORD=your_postgres_password_here
NEO4J_USER=neo4j
NEO4J_PASSWORD=your_neo4j_password_here
NEO4J_HOST=neo4j
NEO4J_HTTP_PORT=7474
NEO4J_BOLT_PORT=7687
VAULT_PATH=/vault
# NEO4J_HOST=host.docker.internal      # or your own
AUTOMATION_PAUSE=false
CONCEPT_EMBEDDING_REFRESH_CRON=\"0 3 * * *\"
LOG_LEVEL=INFO
";

#[track_caller]
fn the_other_services_files_load(yaml: &str, dotenv: &str) {
    let place = Place::new(&[(".env", dotenv), ("settings/aclarai.config.yaml", yaml)]);
    let config = place.load(&Overrides::default(), &[]).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(
        config.warnings,
        [
            "databases.neo4j: bolt://neo4j:7687: the password is sent there unencrypted: use bolt+s:// unless the network \
          in between is yours (settings/aclarai.config.yaml:5)"
        ]
    );
    assert_eq!(neo4j(&config).uri, "bolt://neo4j:7687");
    assert_eq!(neo4j(&config).required_password(), Ok("your_neo4j_password_here"));
    assert!(job(&config, "vault_sync").is_scheduled());
    let top = job(&config, "top_concepts");
    assert_eq!(
        (top.kind(), top.schedule.to_string().as_str(), top.enabled),
        ("top_concepts", "0 4 * * *", true)
    );
    assert!(top.params.get("metric").is_some());
}

#[test]
fn the_files_of_the_other_services_work_unchanged() {
    the_other_services_files_load(OF_THE_OTHER_SERVICES, ENV_OF_THE_OTHER_SERVICES);
    assert!(Place::with_text(OF_THE_OTHER_SERVICES).is_ok());
}

/// Gives others the right to write.
fn open_to_others(path: &std::path::Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o020)).unwrap();
}

#[test]
fn files_below_the_current_folder_are_taken_only_where_nobody_else_may_write_them() {
    let new = || {
        Place::new(&[
            ("settings/aclarai.config.yaml", "paths: {vault: /theirs}"),
            (".env", "LOG_LEVEL=DEBUG\n"),
        ])
    };
    let seen = |place: &Place| {
        let config = place.load(&Overrides::default(), &[]).unwrap();
        let is_theirs = config.vault.root.as_os_str() == "/theirs";
        (is_theirs, config.log_level == log::LevelFilter::Debug, config.warnings)
    };
    assert_eq!(seen(&new()), (true, true, Vec::new()));

    let left_out =
        |what: &str, remedy: &str| format!("{what}: left out, as others may write to {remedy}");
    let name_it = "(chmod go-w): to use it all the same, name it with --config or ACLARAI_CONFIG";
    let settings = "settings/aclarai.config.yaml";
    let place = new();
    open_to_others(&place.0.path().join(settings));
    assert_eq!(seen(&place), (false, true, vec![left_out(settings, &format!("it {name_it}"))]));
    assert!(
        place
            .load(&flag(settings), &[])
            .is_ok_and(|config| config.vault.root.as_os_str() == "/theirs")
    );
    let place = new();
    open_to_others(&place.0.path().join("settings"));
    assert_eq!(
        seen(&place),
        (false, true, vec![left_out(settings, &format!("its folder {name_it}"))])
    );

    let make_it_yours = "(chmod go-w): to use it, make it and its folder yours alone, or set its variables in the environment";
    let place = new();
    open_to_others(&place.0.path().join(".env"));
    assert_eq!(seen(&place), (true, false, vec![left_out(".env", &format!("it {make_it_yours}"))]));
    // A user who may write in the current folder may exchange both.
    let place = new();
    open_to_others(place.0.path());
    let of_both = vec![
        left_out(".env", &format!("the current folder {make_it_yours}")),
        left_out(settings, &format!("the current folder {name_it}")),
    ];
    assert_eq!(seen(&place), (false, false, of_both));
    assert_eq!(place.load(&Overrides::default(), &[]).unwrap().left_out.len(), 2);
    let place = new();
    match std::os::unix::fs::lchown(place.0.path().join(".env"), Some(12_345), None) {
        Err(_) => println!("skipped: only root gives files away"),
        Ok(()) => {
            let (_, is_read, warnings) = seen(&place);
            assert!(
                !is_read && warnings[0].contains("it belongs to another user (uid 12345)"),
                "{warnings:?}"
            );
        }
    }
}

#[test]
fn dotenv_never_says_which_code_a_job_loads() {
    let place = Place::new(&[(
        ".env",
        "LD_PRELOAD=/tmp/x.so\nPATH=/tmp\nPYTHONPATH=/tmp\nBASH_ENV=x\nIFS=x\nA=1\nB=2\nNODE_OPTIONS=x\n",
    )]);
    let env = Env::new(place.0.path(), [("HOME", "/home/me"), ("B", "real")]);
    assert_eq!(env.dotenv(), BTreeMap::from([("A".to_owned(), "1".to_owned())]));
    let config = load(&Overrides::default(), &env, &|_| Vec::new()).unwrap();
    assert_eq!(config.warnings.len(), 6);
    assert_eq!(
        config.warnings[0],
        ".env: LD_PRELOAD is not taken from here: set it in env of a job (.env:1)"
    );
    assert!(config.notes.contains(&".env: sets A".to_owned()), "{:?}", config.notes);
}

#[test]
fn dotenv_does_not_move_a_password_to_an_address_without_tls() {
    let case = |dotenv: &str, yaml: &str, variables: &[(&str, &str)]| {
        let place = Place::new(&[(".env", dotenv), ("c.yaml", yaml)]);
        place
            .load(&flag("c.yaml"), variables)
            .map(|config| neo4j(&config).uri.clone())
            .map_err(|faults| faults.to_string())
    };
    let refused = Err("databases.neo4j: moves the address to one without TLS while the password comes from elsewhere: set \
                       both in one place, or use a bolt+s:// address (.env)"
        .to_owned());
    let password = [("NEO4J_PASSWORD", "secret")];
    let tls = "databases: {neo4j: {uri: 'bolt+s://db'}}";
    for dotenv in ["NEO4J_URI=bolt://evil\n", "NEO4J_HOST=evil\n"] {
        assert_eq!(case(dotenv, tls, &password), refused, "{dotenv}");
        assert_eq!(
            case(dotenv, "databases: {neo4j: {password: secret}}", &[]),
            refused,
            "{dotenv}"
        );
        assert!(case(&format!("{dotenv}NEO4J_PASSWORD=own\n"), tls, &[]).is_ok(), "{dotenv}");
    }
    assert_eq!(case("NEO4J_BOLT_PORT=1\n", "databases: {neo4j: {host: db}}", &password), refused);
    assert_eq!(
        case("NEO4J_URI=bolt+s://other\n", tls, &password),
        Ok("bolt+s://other:7687".to_owned())
    );
    assert_eq!(
        case("NEO4J_HOST=db\n", "databases: {neo4j: {host: db}}", &password),
        Ok("bolt://db:7687".to_owned())
    );
}

#[test]
fn a_file_like_a_bomb_or_a_pipe_is_no_dotenv() {
    let place = Place::new(&[("c.yaml", "{}")]);
    let dotenv = place.0.path().join(".env");
    let mut text = format!("A0={}\n", "x".repeat(100));
    for i in 1..9 {
        text += &format!("A{i}={}\n", format!("${{A{}}}", i - 1).repeat(10));
    }
    fs::write(&dotenv, text).unwrap();
    let bomb = ".env: ${...} makes this value longer than 64 kB: write it out (.env:4)";
    assert_eq!(place.fault(), bomb);
    fs::remove_file(&dotenv).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &dotenv, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert_eq!(
        place.fault(),
        ".env: no ordinary file, but a pipe, a device or a socket: name a file"
    );
}

#[test]
fn a_configuration_in_force_does_not_give_way_to_nothing() {
    let place = Place::new(&[("settings/aclarai.config.yaml", "paths: {vault: /v}")]);
    let file = place.0.path().join("settings/aclarai.config.yaml");
    let in_force = Some(PathBuf::from("settings/aclarai.config.yaml"));
    let reload = || {
        let overrides = Overrides { in_force: in_force.clone(), ..Overrides::default() };
        place.load(&overrides, &[]).map(|_| ()).map_err(|faults| faults.to_string())
    };
    assert_eq!(reload(), Ok(()));
    let holds_nothing =
        "holds no settings any more: put them back, or remove the file and start anew";
    for text in [
        "",
        "# being written\n",
        "{}",
        "---\n",
        "paths:\nscheduler: {}\n",
        "other: {a: 1}\n",
        "scheduler:\n  jobs:\n",
        "scheduler: {jobs: {}, timezone: ~}\n",
    ] {
        fs::write(&file, text).unwrap();
        let fault = reload().unwrap_err();
        assert_eq!(fault, format!("settings/aclarai.config.yaml: {holds_nothing}"), "{text:?}");
    }
    fs::write(&file, "scheduler: {jobs: {a: }}\n").unwrap();
    assert_eq!(reload(), Ok(()));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let left_out = "read before, and now left out, as others may write to it (chmod go-w): to use it all the same, name it \
                    with --config or ACLARAI_CONFIG";
    assert_eq!(reload(), Err(format!("settings/aclarai.config.yaml: {left_out}")));
    fs::remove_file(&file).unwrap();
    let gone = "read before, and now there is no such file: put it back";
    assert_eq!(reload(), Err(format!("settings/aclarai.config.yaml: {gone}")));
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    let dangling = "settings/aclarai.config.yaml: a link that leads nowhere: mend or remove it";
    assert_eq!(reload(), Err(dangling.to_owned()));
    assert_eq!(
        place.load(&Overrides::default(), &[]).unwrap_err().to_string(),
        dangling,
        "also at the start"
    );
}
