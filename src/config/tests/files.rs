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

    /// What is said about `--config c.yaml`, the folder's own name left out.
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
        [".env: a line that is no setting is passed over: write NAME=value (.env:4)"]
    );

    let place = Place::new(&[(".env", "A=1\nVAULT_SYNC_CRON=61 * * * *\n"), ("c.yaml", "{}")]);
    assert_eq!(
        place.fault(),
        "VAULT_SYNC_CRON: \"61 * * * *\": minute 61 is outside 0-59 (.env:2)"
    );
    fs::write(place.0.path().join(".env"), b"A=\xff").unwrap();
    assert_eq!(place.fault(), ".env: not UTF-8 at byte 2");
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
    assert_eq!(config.warnings, [""; 0]);
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
